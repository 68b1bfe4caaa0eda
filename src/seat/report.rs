//! Reports of a worker: failed handlers, and events that could not be read or decided.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;

use crate::error::Difference;
use crate::error::Error;
use crate::error::text::DifferenceList;
use crate::event::Missed;
use crate::os::text::printable;

/// The error of a handler. Every error type and every string converts into it with `?` or `into`. The conversion
/// captures a backtrace if `RUST_BACKTRACE` enables backtraces.
///
/// Its text is written to logs. Do not put payloads into it.
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
    /// Returns an error with the text `message`.
    pub fn msg(message: impl Into<String>) -> HandlerError {
        HandlerError { error: message.into().into(), backtrace: Backtrace::capture() }
    }

    /// Returns the backtrace of the conversion into a `HandlerError`.
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

/// Returns the backtrace if one was captured.
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
    /// The panic message, or `(no text)`.
    pub message: String,
    /// File, line and column. Known only with [`install_panic_hook`](crate::process::install_panic_hook).
    pub location: Option<String>,
    /// The backtrace. Known only with [`install_panic_hook`](crate::process::install_panic_hook), and if
    /// `RUST_BACKTRACE` enables backtraces.
    pub backtrace: Option<Backtrace>,
}

/// The message and the location of a panic, for `Display`.
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

/// A report of a worker. It never contains a payload.
///
/// [`WorkerOptions::on_report`](crate::WorkerOptions::on_report) sets the function that gets the reports.
///
/// `Display` writes one line with the event and what happened. Names of events are
/// [escaped](crate::inspect::printable). The text of an application's error or panic is not escaped and may have
/// several lines. A backtrace, if there is one, follows on its own lines.
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
    /// The event's id, or the first of several ids. `None` for local events.
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
    /// A handler panicked, or a value that it received or returned panicked when it was dropped.
    Panicked(&'a HandlerPanic),
    /// A typed handler got an event that is not of its type.
    Mistyped(&'a Error),
    /// The content at this id was not written by this crate. It was skipped.
    Unreadable,
    /// Events were overwritten before this worker read them.
    #[non_exhaustive]
    Lagged {
        /// How many ids were missed, from the report's id on.
        missed: u64,
        /// `true` if posts have waited for this worker, which [must read](crate::WorkerOptions::must_read), for all of
        /// its patience.
        cut_off: bool,
    },
    /// Events were lost between hosts. The report has no event, and the id of the record in the ring.
    Missed(&'a Missed),
    /// No worker ran a unique event, because the claims have no room for its key.
    ClaimsFull,
    /// This worker reached a unique event too late to know if another worker ran it, and did not run it.
    ClaimLate,
    /// No worker ran a unique event. This worker had claimed it, but had no handler for it any more when it was
    /// delivered. Its key is free again.
    Orphaned,
    /// The segment exists with other options than those that were set when it was opened, and keeps its own. The first
    /// worker of a process that joins reports this. The report has no event.
    OptionsDiffer(&'a [Difference]),
    /// The function given to [`on_report`](crate::WorkerOptions::on_report) panicked. The report that it was called
    /// with, and this one, are reported in the default way.
    ReporterPanicked(&'a HandlerPanic),
    /// A [`Poller`](crate::Poller) ended because of this error. Nothing polls until another poller is started.
    PollerEnded(&'a Error),
    /// A [`Bell`](crate::Bell) cannot be rung by posts, for this reason. It becomes readable at an interval instead.
    /// The report has no event.
    Unheard(&'a Error),
}

impl Trouble<'_> {
    /// Returns a short, stable name for logs and metrics: the name of the variant in snake case.
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
            Trouble::Missed(_) => "missed",
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

    /// Returns how many ids were missed, or `None` if this is not [`Lagged`](Trouble::Lagged).
    pub fn missed(&self) -> Option<u64> {
        match self {
            Trouble::Lagged { missed, .. } => Some(*missed),
            _ => None,
        }
    }
}

impl fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Failed(error) => write!(f, "a handler failed: {error}"),
            Trouble::Panicked(panic) => write!(f, "a handler panicked: {}", panic.what()),
            Trouble::Mistyped(error) => write!(f, "a typed handler was skipped: {error}"),
            Trouble::Unreadable => {
                write!(f, "its bytes are malformed and were skipped: something else writes to the segment")
            }
            Trouble::Lagged { missed, cut_off: true } => write!(
                f,
                "{missed} events were overwritten before they were read, although posts have waited: poll more often, \
                 or raise must_read or capacity"
            ),
            Trouble::Lagged { missed, cut_off: false } => {
                write!(f, "{missed} events were overwritten before they were read: poll more often or raise capacity")
            }
            Trouble::Missed(missed) => {
                write!(f, "{missed}: build again what depends on them, and see if the relay and its engine are well")
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
    /// Writes the event that the report is about.
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
        let lapped = Missed::lapped(0, 1);
        let (error, left) = (HandlerError::msg("no luck"), Error::from(Cause::Left));
        let panic = crate::worker::panics::catch_panic(|| panic!("no luck")).unwrap_err();
        let troubles = [
            Trouble::Failed(&error),
            Trouble::Panicked(&panic),
            Trouble::Mistyped(&left),
            Trouble::Unreadable,
            Trouble::Lagged { missed: 1, cut_off: false },
            Trouble::Missed(&lapped),
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
            "failed panicked mistyped unreadable lagged missed claims_full claim_late",
            "orphaned options_differ reporter_panicked poller_ended unheard",
        ];
        assert_eq!(names.join(" "), format!("{first} {rest}"));
    }
}
