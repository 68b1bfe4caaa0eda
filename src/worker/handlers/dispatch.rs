//! Calling the handlers of an event.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::registry::{Callback, HandlerEntry, Registry};
use crate::error::{ErrorKind, Result};
use crate::event::{Content, Event, LocalEvent, Missed};
use crate::os::fork::ForkGuard;
use crate::seat::report::{HandlerError, HandlerPanic, Report, Trouble};
use crate::worker::panics::catch_panic;

/// The result of calling the handlers of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dispatched {
    /// Handlers that were called.
    pub(crate) called: u64,
    /// The number of these that failed.
    pub(crate) failed: u64,
    /// `true` if the visitor panicked, and nothing more is to be delivered.
    pub(crate) stopped: bool,
}

/// The result of a handler.
pub(super) type Returned = std::result::Result<(), HandlerError>;

/// A poll calls it with every event, after the handlers. It returns `Break` after a panic.
pub(crate) type Visitor<'a> = dyn FnMut(&Event<'_>) -> ControlFlow<(), Returned> + 'a;

/// Calls `handlers`, then `visitor`.
///
/// # Errors
///
/// [`ErrorKind::Forked`] in a child that returned from a handler that forked it.
// Always: one call for each event delivered, and its result would be moved.
#[inline(always)]
pub(super) fn dispatch(
    handlers: &[Arc<HandlerEntry>],
    visitor: Option<&mut Visitor<'_>>,
    event: &Event<'_>,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<Dispatched> {
    let mut dispatched = Dispatched::default();
    for entry in handlers {
        // Relaxed: a handler that unregisters another one runs on this thread. Other threads are not ordered.
        if !entry.live.load(Ordering::Relaxed) {
            continue;
        }
        let result = match &entry.callback {
            Callback::Strong(handler) => catch_panic(|| handler.handle(event)),
            Callback::Weak(handler) => match handler.upgrade() {
                // The closure owns it, so that a drop of the last owner is also inside.
                Some(handler) => catch_panic(move || handler.handle(event)),
                None => continue,
            },
            Callback::InPlace(handler) => catch_panic(|| handler.handle(event)),
            Callback::Gone => continue,
        };
        dispatched.called += 1;
        // Only the parent continues with the event.
        guard.check()?;
        if let Ok(Ok(())) = result {
            continue;
        }
        dispatched.failed += 1;
        report_failure(result, event, guard, report)?;
    }
    let Some(visitor) = visitor else { return Ok(dispatched) };
    let visited = visitor(event);
    dispatched.called += 1;
    guard.check()?;
    match visited {
        ControlFlow::Continue(Ok(())) => {}
        ControlFlow::Continue(failed) => {
            dispatched.failed += 1;
            report_failure(Ok(failed), event, guard, report)?;
        }
        ControlFlow::Break(()) => {
            dispatched.failed += 1;
            dispatched.stopped = true;
        }
    }
    Ok(dispatched)
}

/// Reports a handler that failed, and drops its result.
#[cold]
pub(super) fn report_failure(
    result: std::result::Result<Returned, HandlerPanic>,
    event: &Event<'_>,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<()> {
    let report = |trouble: Trouble<'_>| {
        report(&Report { source: event.source(), event: event.event(), id: event.id(), trouble })
    };
    match &result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => report(match error.error().downcast_ref::<crate::error::Error>() {
            Some(error) if error.kind() == ErrorKind::Payload => Trouble::Mistyped(error),
            _ => Trouble::Failed(error),
        })?,
        Err(panic) => report(Trouble::Panicked(panic))?,
    }
    // The drop of the error is users' code.
    let dropped = catch_panic(|| drop(result));
    guard.check()?;
    match dropped {
        Ok(()) => Ok(()),
        Err(panic) => report(Trouble::Panicked(&panic)),
    }
}

/// Calls the handlers of missed events, in the order of their registration.
///
/// # Errors
///
/// As [`Route::dispatch`](super::routes::Route::dispatch).
pub(crate) fn dispatch_missed(
    registry: &Registry,
    missed: &Missed,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<Dispatched> {
    // An event without names carries it to the handlers, so that one code calls all handlers.
    let event = Event { source: "", event: "", content: Content::Missed(missed) };
    dispatch(&registry.handlers_of("", ""), None, &event, guard, report)
}

/// Calls the handlers of a local event.
///
/// # Errors
///
/// As [`Route::dispatch`].
pub(crate) fn dispatch_local(
    registry: &Registry,
    visitor: Option<&mut Visitor<'_>>,
    event: LocalEvent,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<Dispatched> {
    let mut dispatched =
        dispatch(&registry.handlers_of(&event.source, &event.event), visitor, &event.as_event(), guard, report)?;
    let LocalEvent { source, event, data } = event;
    // The drop of the value is users' code.
    let dropped = catch_panic(|| drop(data));
    guard.check()?;
    let Err(panic) = dropped else { return Ok(dispatched) };
    report(&Report { source: &source, event: &event, id: None, trouble: Trouble::Panicked(&panic) })?;
    dispatched.failed += 1;
    Ok(dispatched)
}
