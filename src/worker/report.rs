//! What a worker reports: handlers that failed, events that could not be read or decided.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::error::Error;
use crate::segment::{Difference, Listed};

/// What a handler returns when it failed: any error, with a backtrace of where `?` or `into` met it (if
/// `RUST_BACKTRACE` asks for backtraces).
///
/// What the error's text says is printed as it is: leave payloads out of it.
pub struct HandlerError {
    error: Box<dyn std::error::Error + Send + Sync>,
    backtrace: Backtrace,
}

impl HandlerError {
    /// An error that says `message`.
    pub fn msg(message: impl Into<String>) -> HandlerError {
        HandlerError { error: message.into().into(), backtrace: Backtrace::capture() }
    }

    /// Where it came up.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }

    /// What came up.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> HandlerError {
        HandlerError { error: error.into(), backtrace: Backtrace::capture() }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}\n{}", self.error, self.backtrace)
    }
}

/// Something a worker has to report. Never carries a payload.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// The event's source; empty if it is not known.
    pub source: &'a str,
    /// The event's name; empty if it is not known.
    pub event: &'a str,
    /// The event's id, or that of the first of several; `None` for local events.
    pub id: Option<u64>,
    /// What happened.
    pub trouble: Trouble<'a>,
}

/// What a worker has to report of an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble<'a> {
    /// A handler returned an error.
    Failed(&'a HandlerError),
    /// A handler panicked.
    Panicked(&'a HandlerPanic),
    /// A typed handler got something else.
    Mistyped(&'a Error),
    /// The record at this id is not one that this crate writes. It was left out.
    Unreadable,
    /// Events were overwritten before this worker read them.
    Lagged {
        /// How many ids, from the report's on.
        missed: u64,
    },
    /// Nobody ran a unique event, because the claims have no room for its key.
    ClaimsFull,
    /// This worker came to a unique event so late that it cannot know whether another ran it, and did not.
    ClaimLate,
    /// Nobody ran a unique event. This worker had claimed it and came to it after all of its handlers were unregistered or
    /// dropped. Its key is free again.
    Orphaned,
    /// The segment exists with other options than those that were set when it was opened, and keeps its own. Reported by the
    /// first worker of a process that joins, at no event.
    OptionsDiffer(&'a [Difference]),
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.id, self.source.is_empty()) {
            (Some(id), false) => write!(f, "{}/{} (id {id}): ", self.source, self.event)?,
            (None, false) => write!(f, "{}/{} (local): ", self.source, self.event)?,
            (Some(id), true) => write!(f, "event id {id}: ")?,
            (None, true) => {}
        }
        match &self.trouble {
            Trouble::Failed(error) => write!(f, "a handler failed: {error}\n{}", error.backtrace()),
            Trouble::Panicked(panic) => panic.fmt(f),
            Trouble::Mistyped(error) => write!(f, "a typed handler was left out: {error}"),
            Trouble::Unreadable => {
                write!(f, "its record is malformed and was left out: somebody else writes to the segment")
            }
            Trouble::Lagged { missed } => {
                write!(f, "{missed} events were overwritten before they were read: poll more often or raise capacity")
            }
            Trouble::ClaimsFull => write!(f, "nobody ran this unique event: the claims are full, raise .claims()"),
            Trouble::Orphaned => write!(
                f,
                "nobody ran this unique event: its handlers were unregistered or dropped after this worker had claimed it"
            ),
            Trouble::OptionsDiffer(differences) => write!(
                f,
                "the segment exists with other options than those that were set, and keeps them: {}; unlink it when its \
                 workers are gone, or set what it has",
                Listed(differences)
            ),
            Trouble::ClaimLate => {
                write!(
                    f,
                    "not run here: too late to know whether another worker ran it; poll more often or raise the ttl"
                )
            }
        }
    }
}

/// A panic in a handler.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerPanic {
    /// What it said, if it said a text.
    pub message: String,
    /// File, line and column, if known.
    pub location: Option<String>,
    /// Where it came from.
    pub backtrace: Option<Backtrace>,
}

impl fmt::Display for HandlerPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a handler panicked: {}", self.message)?;
        if let Some(location) = &self.location {
            write!(f, ", at {location}")?;
        }
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// The default way to report: a `tracing` event with the feature of that name, if the process has a subscriber; otherwise
/// a line on standard error.
pub(crate) fn report_by_default(report: &Report<'_>) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        match report.trouble {
            Trouble::Lagged { .. } | Trouble::ClaimLate | Trouble::OptionsDiffer(_) => {
                tracing::warn!(target: "seqcast", "{report}")
            }
            _ => tracing::error!(target: "seqcast", "{report}"),
        }
        return;
    }
    // Not `eprintln!`, which panics when standard error is closed.
    let _ = writeln!(std::io::stderr(), "seqcast: {report}");
}

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
    static LAST_PANIC: RefCell<Option<HandlerPanic>> = const { RefCell::new(None) };
}

/// Runs a handler. A panic in it ends here, with where it came from.
///
/// A backtrace can only be taken where the panic begins, in the process's panic hook: the first call puts ours before
/// the one that is there, which goes on to get the panics of everything but handlers.
pub(crate) fn catch_panic<R>(run: impl FnOnce() -> R) -> Result<R, HandlerPanic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| match IN_HANDLER.get() {
            true => remember(info),
            false => others(info),
        }));
    });
    let outer = IN_HANDLER.replace(true);
    // The handler's own state is its author's affair; ours is not touched while it runs.
    let result = panic::catch_unwind(panic::AssertUnwindSafe(run));
    IN_HANDLER.set(outer);
    result.map_err(|payload| {
        let remembered = LAST_PANIC.take();
        // Dropping the payload may itself panic; it is a handler's value.
        let message = message_of(&*payload);
        std::mem::forget(payload);
        remembered.unwrap_or(HandlerPanic { message, location: None, backtrace: None })
    })
}

fn remember(info: &PanicHookInfo<'_>) {
    let panic = HandlerPanic {
        message: message_of(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Some(Backtrace::force_capture()),
    };
    LAST_PANIC.set(Some(panic));
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "(no text)".to_owned()),
    }
}
