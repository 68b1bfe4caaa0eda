//! Where reports go by default: to `tracing` or standard error, and not without end.
//!
//! Troubles come in crowds: a handler that fails for one event fails for the next. Of each kind of trouble with each
//! event the first few are reported, and the others are counted and told at the end of a period.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use super::panics::catch_panic;
use crate::os::locks::DroppedUnlessHeld;
use crate::os::stderr;
use crate::os::text::printable;
use crate::seat::report::{HandlerPanic, Report};

/// How long a period is, in nanoseconds. It begins with the first report.
const PERIOD_NS: u64 = 10_000_000_000;
/// Reports of one kind and one event in a period.
const MOST_REPORTS: u64 = 5;
/// Events that are told apart in a period. Others are counted together, by kind, so that event names that never repeat
/// take neither memory nor the log.
const MOST_EVENTS: usize = 32;

/// The default reports of one worker.
pub(super) struct DefaultReports {
    /// Only ever tried: another thread may have held it at a fork, or be interrupted under it. Nothing is written
    /// under it.
    limits: DroppedUnlessHeld<Mutex<Limits>>,
    /// When something that was left out is to be told next; `u64::MAX` for never.
    due: AtomicU64,
}

impl DefaultReports {
    pub(super) fn new() -> DefaultReports {
        DefaultReports { limits: DroppedUnlessHeld::new(Mutex::default()), due: AtomicU64::new(u64::MAX) }
    }

    /// Reports, or counts the report where there were enough of its like. Returns how many panics there were in that:
    /// of the text of the user's error, or of a subscriber of `tracing`.
    pub(super) fn report(&self, report: &Report<'_>, seat: u16, now: u64) -> u64 {
        let Some((admitted, over)) = self.with_limits(|limits| limits.admit(report, now)) else {
            return emit_report(report, seat);
        };
        let panics: u64 = over.iter().map(|left_out| emit_left_out(left_out, seat)).sum();
        panics + if admitted { emit_report(report, seat) } else { 0 }
    }

    /// Returns `true` if something that was left out is to be told. It costs one load, as polls ask often.
    #[inline]
    pub(super) fn is_due(&self, now: impl FnOnce() -> u64) -> bool {
        // Relaxed: a thread that sees it late tells it late.
        match self.due.load(Ordering::Relaxed) {
            u64::MAX => false,
            due => due <= now(),
        }
    }

    /// Tells what was left out: in periods that are over, or in all. Returns
    /// how many panics there were in that.
    pub(super) fn tell_left_out(&self, seat: u16, now: u64, until: Until) -> u64 {
        let over = self.with_limits(|limits| limits.take_over(now, until)).unwrap_or_default();
        over.iter().map(|left_out| emit_left_out(left_out, seat)).sum()
    }

    fn with_limits<R>(&self, run: impl FnOnce(&mut Limits) -> R) -> Option<R> {
        let mut limits = match self.limits.try_lock() {
            Ok(limits) => limits,
            // Nothing of the user's runs under it.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let result = run(&mut limits);
        self.due.store(limits.due(), Ordering::Relaxed);
        Some(result)
    }
}

/// Up to when what was left out is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// In the periods that are over.
    Now,
    /// In all of them: there will be no more reports.
    End,
}

/// What was reported in the present periods.
#[derive(Default)]
struct Limits(Vec<Period>);

/// Reports of one kind and one event.
struct Period {
    kind: &'static str,
    source: Box<str>,
    event: Box<str>,
    /// `true` if it stands for all events that have none of their own.
    of_others: bool,
    began: u64,
    reported: u64,
    left_out: u64,
    /// Ids missed, of what was left out.
    missed: u64,
}

/// What was left out in a period.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    kind: &'static str,
    source: Box<str>,
    event: Box<str>,
    of_others: bool,
    count: u64,
    missed: Option<u64>,
    seconds: u64,
}

impl Limits {
    /// Returns `true` if it is to be reported, and what was left out in periods that are over.
    fn admit(&mut self, report: &Report<'_>, now: u64) -> (bool, Vec<LeftOut>) {
        let over = self.take_over(now, Until::Now);
        let kind = report.trouble.name();
        let own = |period: &Period| {
            !period.of_others
                && period.kind == kind
                && *period.source == *report.source
                && *period.event == *report.event
        };
        let others = |period: &Period| period.of_others && period.kind == kind;
        let at = self.0.iter().position(own).or_else(|| {
            let of_others = self.0.iter().filter(|period| !period.of_others).count() >= MOST_EVENTS;
            if of_others && let Some(at) = self.0.iter().position(others) {
                return Some(at);
            }
            let (source, event) = if of_others { ("", "") } else { (report.source, report.event) };
            self.0.push(Period {
                kind,
                source: source.into(),
                event: event.into(),
                of_others,
                began: now,
                reported: 0,
                left_out: 0,
                missed: 0,
            });
            self.0.len().checked_sub(1)
        });
        let Some(period) = at.and_then(|at| self.0.get_mut(at)) else { return (true, over) };
        let admitted = period.reported < MOST_REPORTS;
        if admitted {
            period.reported += 1;
        } else {
            period.left_out += 1;
            period.missed = period.missed.saturating_add(report.trouble.missed().unwrap_or(0));
        }
        (admitted, over)
    }

    /// Ends periods. Returns what was left out in them.
    fn take_over(&mut self, now: u64, until: Until) -> Vec<LeftOut> {
        let is_over = |period: &mut Period| until == Until::End || now.saturating_sub(period.began) >= PERIOD_NS;
        let over = self.0.extract_if(.., is_over);
        over.filter(|period| period.left_out > 0)
            .map(|period| LeftOut {
                kind: period.kind,
                source: period.source,
                event: period.event,
                of_others: period.of_others,
                count: period.left_out,
                missed: (period.missed > 0).then_some(period.missed),
                seconds: now.saturating_sub(period.began).div_ceil(1_000_000_000),
            })
            .collect()
    }

    /// When the first period ends that leaves something to tell.
    fn due(&self) -> u64 {
        let telling = self.0.iter().filter(|period| period.left_out > 0);
        telling.map(|period| period.began.saturating_add(PERIOD_NS)).min().unwrap_or(u64::MAX)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_others {
            f.write_str("other events: ")?;
        } else if !self.source.is_empty() {
            write!(f, "{}/{}: ", printable(&self.source), printable(&self.event))?;
        }
        write!(f, "{}: and {} more like it in the last {} s", self.kind, self.count, self.seconds)?;
        match self.missed {
            Some(missed) => write!(f, ", with {missed} events missed"),
            None => Ok(()),
        }
    }
}

#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "the seat is a field of tracing events"))]
fn emit_report(report: &Report<'_>, seat: u16) -> u64 {
    let emitted = catch_panic(|| {
        #[cfg(feature = "tracing")]
        if traced::is_listening() {
            return traced::report(report, seat);
        }
        write_lines(report);
    });
    let Err(panic) = emitted else { return 0 };
    write_lines(&Unsaid { report, panic });
    1
}

#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "the seat is a field of tracing events"))]
fn emit_left_out(left_out: &LeftOut, seat: u16) -> u64 {
    let emitted = catch_panic(|| {
        #[cfg(feature = "tracing")]
        if traced::is_listening() {
            return traced::left_out(left_out, seat);
        }
        write_lines(left_out);
    });
    if emitted.is_ok() {
        return 0;
    }
    write_lines(left_out);
    1
}

/// A report whose text cannot be had.
struct Unsaid<'a> {
    report: &'a Report<'a>,
    panic: HandlerPanic,
}

impl fmt::Display for Unsaid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.report.write_topic(f)?;
        write!(f, "{}, and reporting it panicked: {}", self.report.trouble.name(), self.panic.what())
    }
}

/// Writes to standard error. Each line says where it comes from, those of a text of several lines that they go on.
fn write_lines(text: &impl fmt::Display) {
    let mut lines = String::from("seqcast: ");
    // A `String` takes everything; an error of the text's own leaves what there is of it.
    let _ = write!(Continued(&mut lines), "{text}");
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    stderr::write(lines.as_bytes());
}

/// Begins each line after the first with a mark.
struct Continued<'a>(&'a mut String);

impl fmt::Write for Continued<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            if self.0.ends_with('\n') {
                self.0.push_str("seqcast: | ");
            }
            self.0.push_str(part);
        }
        Ok(())
    }
}

#[cfg(feature = "tracing")]
mod traced {
    use std::fmt::Display;

    use tracing::dispatcher;
    use tracing::subscriber::NoSubscriber;

    use super::LeftOut;
    use crate::os::text::printable;
    use crate::seat::report::{Report, Trouble};

    /// Returns `true` if this thread has a subscriber. Another thread's is of no use.
    pub(super) fn is_listening() -> bool {
        dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>())
    }

    /// The text of a name, if there is one.
    fn named(name: &str) -> Option<String> {
        (!name.is_empty()).then(|| printable(name).to_string())
    }

    pub(super) fn report(report: &Report<'_>, seat: u16) {
        let Report { source, event, id, trouble } = report;
        let (kind, missed) = (trouble.name(), trouble.missed());
        let (source, event) = (named(source), named(event));
        let backtrace = trouble.backtrace().map(ToString::to_string);
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(
                    target: "seqcast",
                    kind,
                    source = source.as_deref(),
                    event = event.as_deref(),
                    id = *id,
                    missed,
                    seat,
                    backtrace = backtrace.as_deref(),
                    "{trouble}"
                )
            };
        }
        match trouble {
            Trouble::Lagged { .. } | Trouble::ClaimLate | Trouble::OptionsDiffer(_) => emit!(warn),
            _ => emit!(error),
        }
    }

    pub(super) fn left_out(left_out: &LeftOut, seat: u16) {
        let LeftOut { kind, source, event, count, missed, .. } = left_out;
        let (source, event) = (named(source), named(event));
        let text: &dyn Display = left_out;
        tracing::warn!(
            target: "seqcast",
            kind,
            source = source.as_deref(),
            event = event.as_deref(),
            left_out = count,
            missed = *missed,
            seat,
            "{text}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::report::Trouble;

    const SECOND: u64 = 1_000_000_000;

    fn unreadable<'a>(source: &'a str, event: &'a str) -> Report<'a> {
        Report { source, event, id: Some(7), trouble: Trouble::Unreadable }
    }

    fn texts(left_out: &[LeftOut]) -> Vec<String> {
        left_out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_crowd_is_counted_and_told_when_its_period_is_over() {
        let mut limits = Limits::default();
        // As found in the field: 499 in six seconds.
        let admitted = (0..499).filter(|i| limits.admit(&unreadable("s", "e"), SECOND + i * SECOND / 83).0).count();
        assert_eq!(admitted, 5);
        assert_eq!(limits.due(), 11 * SECOND);
        assert_eq!(limits.take_over(11 * SECOND - 1, Until::Now), []);
        let told = limits.take_over(11 * SECOND, Until::Now);
        assert_eq!(texts(&told), ["s/e: unreadable: and 494 more like it in the last 10 s"]);
        assert_eq!(limits.due(), u64::MAX);
        assert!(limits.admit(&unreadable("s", "e"), 12 * SECOND).0, "a new period");
    }

    #[test]
    fn what_was_left_out_is_told_before_the_next_report() {
        let mut limits = Limits::default();
        for _ in 0..7 {
            let (_, over) = limits.admit(&unreadable("s", "e"), 0);
            assert_eq!(over, []);
        }
        let (admitted, over) = limits.admit(&unreadable("other", "e"), 25 * SECOND);
        assert!(admitted);
        assert_eq!(texts(&over), ["s/e: unreadable: and 2 more like it in the last 25 s"]);
    }

    #[test]
    fn kinds_and_events_are_told_apart() {
        let mut limits = Limits::default();
        for _ in 0..9 {
            limits.admit(&unreadable("s", "e"), 0);
        }
        assert!(!limits.admit(&unreadable("s", "e"), 1).0);
        assert!(limits.admit(&unreadable("s", "other"), 1).0);
        assert!(limits.admit(&unreadable("other", "e"), 1).0);
        assert!(limits.admit(&Report { trouble: Trouble::ClaimLate, ..unreadable("s", "e") }, 1).0);
    }

    #[test]
    fn missed_events_are_summed_up() {
        let mut limits = Limits::default();
        for missed in 1..=8 {
            let trouble = Trouble::Lagged { missed };
            limits.admit(&Report { source: "", event: "", id: Some(missed), trouble }, 0);
        }
        let told = limits.take_over(SECOND / 2, Until::End);
        assert_eq!(texts(&told), ["lagged: and 3 more like it in the last 1 s, with 21 events missed"]);
        assert_eq!(limits.take_over(SECOND, Until::End), [], "told once");
    }

    #[test]
    fn names_that_never_repeat_take_neither_memory_nor_the_log() {
        let mut limits = Limits::default();
        let names = (0..100_000).map(|i| format!("event-{i}"));
        let admitted = names.filter(|name| limits.admit(&unreadable("s", name), 0).0).count();
        assert_eq!(admitted, MOST_EVENTS + MOST_REPORTS as usize);
        assert_eq!(limits.0.len(), MOST_EVENTS + 1);
        let told = limits.take_over(10 * SECOND, Until::Now);
        assert_eq!(texts(&told), ["other events: unreadable: and 99963 more like it in the last 10 s"]);
        assert_eq!(limits.0.len(), 0);
    }

    #[test]
    fn each_line_of_a_text_says_where_it_is_from() {
        let mut lines = String::from("seqcast: ");
        for part in ["one\ntwo", "\n\nfour", "\n"] {
            Continued(&mut lines).write_str(part).unwrap();
        }
        assert_eq!(lines, "seqcast: one\nseqcast: | two\nseqcast: | \nseqcast: | four\n");
    }

    #[test]
    fn names_of_what_was_left_out_are_escaped() {
        let mut limits = Limits::default();
        for _ in 0..6 {
            limits.admit(&unreadable("s\n", "\u{202e}e"), 0);
        }
        let told = limits.take_over(10 * SECOND, Until::Now);
        assert_eq!(texts(&told), ["s\\n/\\u{202e}e: unreadable: and 1 more like it in the last 10 s"]);
    }

    #[test]
    fn a_held_lock_holds_up_no_report() {
        let reports = DefaultReports::new();
        let _held = reports.limits.lock().unwrap();
        assert_eq!(reports.report(&unreadable("test", "of-a-held-lock"), 0, 0), 0);
        assert_eq!(reports.tell_left_out(0, 0, Until::End), 0);
    }
}
