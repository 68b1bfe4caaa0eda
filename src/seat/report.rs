//! What a worker reports: handlers that failed, events that could not be read or decided.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;

use crate::error::Error;
use crate::error::{Difference, DifferenceList};
use crate::os::text::printable;

/// The error of a handler. Every error and every text converts into it. It has a backtrace of where that happened, by
/// `?` or `into`, if `RUST_BACKTRACE` asks for backtraces.
///
/// Its text is written to logs: leave payloads out of it.
///
/// ```
/// use seqcast::{Event, HandlerError};
///
/// fn changed(event: &Event<'_>) -> Result<(), HandlerError> {
///     let workers: u32 = std::str::from_utf8(event.bytes())?.parse()?;
///     match workers {
///         0 => Err(HandlerError::msg("no workers")),
///         _ => Ok(()),
///     }
/// }
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # bus.join()?.on(("config", "changed"), changed)?;
/// # Ok::<(), seqcast::Error>(())
/// ```
pub struct HandlerError {
    error: Box<dyn std::error::Error + Send + Sync>,
    backtrace: Backtrace,
}

impl HandlerError {
    /// Returns an error with this text.
    pub fn msg(message: impl Into<String>) -> HandlerError {
        HandlerError { error: message.into().into(), backtrace: Backtrace::capture() }
    }

    /// Returns where the error became a `HandlerError`.
    pub fn backtrace(&self) -> &Backtrace {
        &self.backtrace
    }

    /// Returns the error.
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

/// Returns the backtrace if it was captured, and not disabled.
fn captured(backtrace: &Backtrace) -> Option<&Backtrace> {
    (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace)
}

/// A panic in a handler.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{Trouble, WorkerOptions};
///
/// let options = WorkerOptions::new().on_report(|report| {
///     if let Trouble::Panicked(panic) = &report.trouble {
///         eprintln!("{} panicked: {} ({:?})", report.event, panic.message, panic.location);
///     }
/// });
/// let worker = bus.join_with(&options)?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerPanic {
    /// The text of the panic, or `(no text)`.
    pub message: String,
    /// File, line and column. Known only with [`install_panic_hook`](crate::process::install_panic_hook).
    pub location: Option<String>,
    /// The backtrace. Known only with [`install_panic_hook`](crate::process::install_panic_hook), and if
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

/// What a worker reports. It never carries a payload.
///
/// [`WorkerOptions::on_report`](crate::WorkerOptions::on_report) sets the function that gets it.
///
/// `Display` writes a line: the event and what happened, with the names of events [escaped](crate::inspect::printable).
/// Text of an error or a panic of the application follows as it is, and may have several lines. A backtrace, if there
/// is one, follows on lines of its own.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use std::sync::mpsc;
/// use seqcast::WorkerOptions;
///
/// let (sender, reports) = mpsc::channel();
/// let options = WorkerOptions::new().on_report(move |report| sender.send(report.to_string()).unwrap_or_default());
/// let worker = bus.join_with(&options)?;
/// worker.on(("config", "changed"), |_| Err::<(), _>("the file is not there"))?;
/// worker.post(("config", "changed"), "")?;
/// worker.poll()?;
/// let report = reports.recv().unwrap();
/// assert!(report.starts_with("config/changed (id 1): a handler failed: the file is not there"), "{report}");
/// # Ok::<(), seqcast::Error>(())
/// ```
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

/// What happened, in a [`Report`].
///
/// `Display` writes it without the event and without a backtrace.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{Trouble, WorkerOptions};
///
/// let options = WorkerOptions::new().on_report(|report| match &report.trouble {
///     Trouble::Lagged { missed, .. } => println!("missed {missed} events: build the state again"),
///     trouble => eprintln!("{}: {report}", trouble.name()),
/// });
/// let worker = bus.join_with(&options)?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble<'a> {
    /// A handler returned an error.
    Failed(&'a HandlerError),
    /// A handler panicked, or a value that it got or returned panicked when it was dropped.
    Panicked(&'a HandlerPanic),
    /// A typed handler got an event that is not of its type.
    Mistyped(&'a Error),
    /// What stands at this id was not written by this crate. It was left out.
    Unreadable,
    /// Events were overwritten before this worker read them.
    #[non_exhaustive]
    Lagged {
        /// How many ids, from the report's id on.
        missed: u64,
    },
    /// No worker ran a unique event, because the claims have no room for its key.
    ClaimsFull,
    /// This worker reached a unique event so late that it cannot know if another ran it, and did not run it.
    ClaimLate,
    /// No worker ran a unique event. This worker had claimed it, and delivered it when no handler for it was left. Its
    /// key is free again.
    Orphaned,
    /// The segment exists with other options than those that were set when it was opened, and keeps its own. The first
    /// worker of a process that joins reports it, without an event.
    OptionsDiffer(&'a [Difference]),
    /// The function given to [`on_report`](crate::WorkerOptions::on_report) panicked. Its report was reported in the
    /// default way, and so is this.
    ReporterPanicked(&'a HandlerPanic),
    /// A [`Poller`](crate::Poller) ended because of this error. Nothing is polled until another one is started.
    PollerEnded(&'a Error),
    /// A [`Bell`](crate::Bell) was made that posts do not ring, for this reason. It looks at an interval instead.
    /// Reported at no event.
    Unheard(&'a Error),
}

impl Trouble<'_> {
    /// Returns a short stable name, for logs and metrics: that of the variant in lower case, with `_` between words.
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

    /// Returns the backtrace, if there is one.
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
                write!(f, "its bytes are malformed and were left out: something else writes to the segment")
            }
            Trouble::Lagged { missed } => {
                write!(f, "{missed} events were overwritten before they were read: poll more often or raise capacity")
            }
            Trouble::ClaimsFull => write!(f, "no worker ran this unique event: the claims are full, raise .claims()"),
            Trouble::Orphaned => write!(
                f,
                "no worker ran this unique event: its handlers were unregistered or dropped after this worker had \
                 claimed it"
            ),
            Trouble::OptionsDiffer(differences) => write!(
                f,
                "the segment exists with other options than those that were set, and keeps them: {}; unlink it when \
                 its workers are gone, or set what it has",
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
