//! What a handler is, and what it may return.

use crate::event::Event;
use crate::seat::report::HandlerError;

/// Something that is called with events. Every `Fn(&Event)` that returns nothing or a `Result` is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is a closure `|event: &Event<'_>| ..` that returns `()` or `Result<(), E>`, or a type that \
            implements `Handler`"
)]
pub trait Handler: Send + Sync {
    /// Handles an event. An error is reported; the handlers after this one run all the same.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
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

/// What a handler may return: nothing, or a `Result` whose error converts into a [`HandlerError`]. The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "a handler returns `()` or `Result<(), E>`: end its last expression with `;`"
)]
pub trait Outcome: IntoOutcome {}

impl<R: IntoOutcome> Outcome for R {}

/// How an outcome becomes a result.
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
