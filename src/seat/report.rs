//! What a worker reports: handlers that failed, events that could not be read or decided.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;

use crate::error::Error;
use crate::error::{Difference, DifferenceList};
use crate::os::text::printable;

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
        write!(f, "{:?}", self.error)?;
        match captured(&self.backtrace) {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// A backtrace that is one, and not the remark that backtraces are disabled.
fn captured(backtrace: &Backtrace) -> Option<&Backtrace> {
    (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace)
}

/// A panic in a handler.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerPanic {
    /// What it said, if it said a text.
    pub message: String,
    /// File, line and column. Known only with [`install_panic_hook`](crate::process::install_panic_hook).
    pub location: Option<String>,
    /// Where it came from. Known only with [`install_panic_hook`](crate::process::install_panic_hook), and if
    /// `RUST_BACKTRACE` asks for backtraces.
    pub backtrace: Option<Backtrace>,
}

/// What a panic said, and where.
pub(crate) struct What<'a>(&'a HandlerPanic);

impl HandlerPanic {
    pub(crate) fn what(&self) -> What<'_> {
        What(self)
    }
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.location {
            Some(location) => write!(f, ", at {location}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HandlerPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a handler panicked: {}", self.what())?;
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

/// Something a worker has to report. Never carries a payload.
///
/// `Display` writes a line: the event, and what happened, with names of events [escaped](crate::inspect::printable).
/// Text of an error or a panic of the application follows as it is, and may have several lines. A backtrace follows on
/// lines of its own, if there is one.
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
///
/// `Display` writes what happened, without the event and without a backtrace.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble<'a> {
    /// A handler returned an error.
    Failed(&'a HandlerError),
    /// A handler panicked, or what it was given or returned panicked when it was dropped.
    Panicked(&'a HandlerPanic),
    /// A typed handler got something else.
    Mistyped(&'a Error),
    /// The seat at this id is not one that this crate writes. It was left out.
    Unreadable,
    /// Events were overwritten before this worker read them.
    #[non_exhaustive]
    Lagged {
        /// How many ids, from the report's on.
        missed: u64,
    },
    /// Nobody ran a unique event, because the claims have no room for its key.
    ClaimsFull,
    /// This worker came to a unique event so late that it cannot know whether another ran it, and did not.
    ClaimLate,
    /// Nobody ran a unique event. This worker had claimed it and came to it after all of its handlers were unregistered
    /// or dropped. Its key is free again.
    Orphaned,
    /// The segment exists with other options than those that were set when it was opened, and keeps its own. Reported
    /// by the first worker of a process that joins, at no event.
    OptionsDiffer(&'a [Difference]),
    /// The function given to [`on_report`](crate::WorkerOptions::on_report) panicked. What it was to report has been
    /// reported in the default way, and so is this.
    ReporterPanicked(&'a HandlerPanic),
    /// A [`Poller`](crate::Poller) ended by itself, because of this error. Nothing is polled until another is started.
    PollerEnded(&'a Error),
    /// A [`Bell`](crate::Bell) was made that posts do not ring, for this reason. It looks at an interval instead. Reported
    /// at no event.
    Unheard(&'a Error),
}

impl Trouble<'_> {
    /// A short stable name of the kind of trouble, for logs and metrics: the variant's name in lower case, with `_`
    /// between words.
    ///
    /// ```
    /// use seqcast::Trouble;
    ///
    /// assert_eq!(Trouble::ClaimsFull.name(), "claims_full");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Trouble::Failed(_) => "failed",
            Trouble::Panicked(_) => "panicked",
            Trouble::Mistyped(_) => "mistyped",
            Trouble::Unreadable => "unreadable",
            Trouble::Lagged { .. } => "lagged",
            Trouble::ClaimsFull => "claims_full",
            Trouble::ClaimLate => "claim_late",
            Trouble::Orphaned => "orphaned",
            Trouble::OptionsDiffer(_) => "options_differ",
            Trouble::ReporterPanicked(_) => "reporter_panicked",
            Trouble::PollerEnded(_) => "poller_ended",
            Trouble::Unheard(_) => "unheard",
        }
    }

    /// Where it came from, if that was captured.
    pub(crate) fn backtrace(&self) -> Option<&Backtrace> {
        match self {
            Trouble::Failed(error) => captured(error.backtrace()),
            Trouble::Panicked(panic) | Trouble::ReporterPanicked(panic) => panic.backtrace.as_ref(),
            _ => None,
        }
    }

    /// Returns how many ids were missed, if that is the trouble.
    pub fn missed(&self) -> Option<u64> {
        match self {
            Trouble::Lagged { missed } => Some(*missed),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Failed(error) => write!(f, "a handler failed: {error}"),
            Trouble::Panicked(panic) => write!(f, "a handler panicked: {}", panic.what()),
            Trouble::Mistyped(error) => write!(f, "a typed handler was left out: {error}"),
            Trouble::Unreadable => {
                write!(f, "its seat is malformed and was left out: somebody else writes to the segment")
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
                DifferenceList(differences)
            ),
            Trouble::ClaimLate => {
                write!(
                    f,
                    "not run here: too late to know whether another worker ran it; poll more often or raise the ttl"
                )
            }
            Trouble::ReporterPanicked(panic) => write!(f, "the function given to on_report panicked: {}", panic.what()),
            Trouble::PollerEnded(error) => write!(f, "the poller ended: {error}"),
            Trouble::Unheard(error) => write!(f, "{error}"),
        }
    }
}

impl Report<'_> {
    /// Writes which event it is about.
    pub(crate) fn write_topic(&self, f: &mut impl fmt::Write) -> fmt::Result {
        let (source, event) = (printable(self.source), printable(self.event));
        match (&self.id, self.source.is_empty()) {
            (Some(id), false) => write!(f, "{source}/{event} (id {id}): "),
            (None, false) => write!(f, "{source}/{event} (local): "),
            (Some(id), true) => write!(f, "event id {id}: "),
            (None, true) => Ok(()),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_topic(f)?;
        write!(f, "{}", self.trouble)?;
        match self.trouble.backtrace() {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Cause;

    #[test]
    fn each_kind_of_trouble_has_a_name_of_its_own() {
        let (error, left) = (HandlerError::msg("no luck"), Error::from(Cause::Left));
        let panic = crate::worker::panics::catch_panic(|| panic!("no luck")).unwrap_err();
        let troubles = [
            Trouble::Failed(&error),
            Trouble::Panicked(&panic),
            Trouble::Mistyped(&left),
            Trouble::Unreadable,
            Trouble::Lagged { missed: 1 },
            Trouble::ClaimsFull,
            Trouble::ClaimLate,
            Trouble::Orphaned,
            Trouble::OptionsDiffer(&[]),
            Trouble::ReporterPanicked(&panic),
            Trouble::PollerEnded(&left),
            Trouble::Unheard(&left),
        ];
        let names: Vec<&str> = troubles.iter().map(Trouble::name).collect();
        let [first, rest] = [
            "failed panicked mistyped unreadable lagged claims_full claim_late",
            "orphaned options_differ reporter_panicked poller_ended unheard",
        ];
        assert_eq!(names.join(" "), format!("{first} {rest}"));
    }
}
