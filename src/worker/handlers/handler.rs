//! The traits of handlers and of their results.

use crate::event::Event;
use crate::seat::report::HandlerError;

/// Something that is called with events.
///
/// Every `Fn(&Event)` that returns `()` or a `Result<(), E>` is a handler: pass closures to
/// [`Worker::on`](crate::Worker::on). A type with its own state implements the trait, and is registered with
/// [`Worker::register`](crate::Worker::register).
///
/// A handler that panics or returns an error is reported, and the next handler is called. Change state in the handler,
/// and send to other threads only what may lag: see [Handlers](crate#handlers).
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use seqcast::{Event, Handler, HandlerError};
///
/// #[derive(Default)]
/// struct Cache {
///     entries: Mutex<HashMap<String, Vec<u8>>>,
/// }
///
/// impl Handler for Cache {
///     fn handle(&self, event: &Event<'_>) -> Result<(), HandlerError> {
///         let key = std::str::from_utf8(event.bytes())?;
///         self.entries.lock().unwrap().remove(key);
///         Ok(())
///     }
/// }
/// # let _ = Cache::default();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is a closure `|event: &Event<'_>| ..` that returns `()` or `Result<(), E>`, or a type that \
            implements `Handler`"
)]
pub trait Handler: Send + Sync {
    /// Handles an event.
    ///
    /// # Errors
    ///
    /// Any error. It is reported as [`Trouble::Failed`](crate::Trouble::Failed), or as
    /// [`Trouble::Mistyped`](crate::Trouble::Mistyped) if [`Event::typed`] returned it.
    fn handle(&self, event: &Event<'_>) -> std::result::Result<(), HandlerError>;
}

impl<F, R> Handler for F
where
    F: Fn(&Event<'_>) -> R + Send + Sync,
    R: Outcome,
{
    fn handle(&self, event: &Event<'_>) -> std::result::Result<(), HandlerError> {
        self(event).into_result()
    }
}

/// The result of a handler: `()`, or a `Result` with an error that converts into a [`HandlerError`], as every
/// [`Error`](std::error::Error) and every text does. The trait is sealed.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// worker.on(("config", "changed"), |event| {
///     let workers: u32 = std::str::from_utf8(event.bytes())?.parse()?;
///     if workers == 0 {
///         return Err("no workers".into());
///     }
///     Ok::<(), seqcast::HandlerError>(())
/// })?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "a handler returns `()` or `Result<(), E>`: end its last expression with `;`"
)]
pub trait Outcome: IntoOutcome {}

impl<R: IntoOutcome> Outcome for R {}

/// The conversion of an outcome to a result.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "a handler returns `()` or `Result<(), E>`: end its last expression with `;`"
)]
pub trait IntoOutcome {
    /// Returns the outcome as a result.
    #[doc(hidden)]
    fn into_result(self) -> std::result::Result<(), HandlerError>;
}

impl IntoOutcome for () {
    fn into_result(self) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> IntoOutcome for std::result::Result<(), E> {
    fn into_result(self) -> std::result::Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}
