//! The default reports, to `tracing` or standard error, with a limit.
//!
//! A handler that fails for one event often fails for the next. In each period, the first few reports of one kind and
//! one event are written. The others are counted, and their number is written when the period is over.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use super::panics::catch_panic;
use crate::os::locks::DroppedUnlessHeld;
use crate::os::stderr;
use crate::os::text::printable;
use crate::seat::report::{HandlerPanic, Report};

/// The length of a period in nanoseconds. A period begins with its first report.
const PERIOD_NS: u64 = 10_000_000_000;
/// The most reports of one kind and one event in a period.
const MOST_REPORTS: u64 = 5;
/// The most events with a count of their own in a period. Others are counted together, by kind, so that ever-new event
/// names fill neither memory nor the log.
const MOST_EVENTS: usize = 32;

/// The default reports of one worker.
pub(super) struct DefaultReports {
    /// Only `try_lock` is used: another thread may have held it at a fork, or been interrupted while it held it.
    /// Nothing is written under it.
    limits: DroppedUnlessHeld<Mutex<Limits>>,
    /// The time to write the next number of omitted reports; `u64::MAX` for never.
    due: AtomicU64,
}

impl DefaultReports {
    pub(super) fn new() -> DefaultReports {
        DefaultReports { limits: DroppedUnlessHeld::new(Mutex::default()), due: AtomicU64::new(u64::MAX) }
    }

    /// Writes the report, or counts it if the limit is reached. Returns the number of panics in the user's code that
    /// this called: the text of an error, or a subscriber of `tracing`.
    pub(super) fn report(&self, report: &Report<'_>, seat: u16, now: u64) -> u64 {
        let Some((admitted, over)) = self.with_limits(|limits| limits.admit(report, now)) else {
            return emit_report(report, seat);
        };
        let panics: u64 = over.iter().map(|left_out| emit_left_out(left_out, seat)).sum();
        panics + if admitted { emit_report(report, seat) } else { 0 }
    }

    /// Returns `true` if a number of omitted reports is due. It costs one load, because every poll asks.
    #[inline]
    pub(super) fn is_due(&self, now: impl FnOnce() -> u64) -> bool {
        // Relaxed: a thread that sees it late writes late.
        match self.due.load(Ordering::Relaxed) {
            u64::MAX => false,
            due => due <= now(),
        }
    }

    /// Writes the numbers of omitted reports. Returns the number of panics, as [`report`](DefaultReports::report) does.
    pub(super) fn tell_left_out(&self, seat: u16, now: u64, until: Until) -> u64 {
        let over = self.with_limits(|limits| limits.take_over(now, until)).unwrap_or_default();
        over.iter().map(|left_out| emit_left_out(left_out, seat)).sum()
    }

    fn with_limits<R>(&self, run: impl FnOnce(&mut Limits) -> R) -> Option<R> {
        let mut limits = match self.limits.try_lock() {
            Ok(limits) => limits,
            // No code of the user runs under it.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let result = run(&mut limits);
        self.due.store(limits.due(), Ordering::Relaxed);
        Some(result)
    }
}

/// The periods for which omitted reports are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Those that are over.
    Now,
    /// All: the worker ends.
    End,
}

/// The present periods.
#[derive(Default)]
struct Limits(Vec<Period>);

/// Reports of one kind and one event.
struct Period {
    kind: &'static str,
    source: Box<str>,
    event: Box<str>,
    /// `true` if it counts all events without a period of their own.
    of_others: bool,
    began: u64,
    reported: u64,
    left_out: u64,
    /// Missed ids in omitted reports.
    missed: u64,
}

/// The omitted reports of a period.
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
    /// Returns `true` if the report is within the limit, and the omitted reports of periods that are over.
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

    /// Ends periods, and returns their omitted reports.
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

    /// Returns the end of the first period with omitted reports.
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

/// A report whose text could not be made.
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

/// Writes to standard error. Every line has the prefix `seqcast: `; further lines of one text have a mark after it.
fn write_lines(text: &impl fmt::Display) {
    let mut lines = String::from("seqcast: ");
    // Writing to a `String` does not fail. If the text itself returns an error, its beginning is written.
    let _ = write!(Continued(&mut lines), "{text}");
    if !lines.ends_with('\n') {
        lines.push('\n');
    }
    stderr::write(lines.as_bytes());
}

/// A writer that begins each line after the first with a mark.
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

    /// Returns `true` if this thread has a subscriber.
    pub(super) fn is_listening() -> bool {
        dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>())
    }

    /// Returns the name in printable form, or `None` if it is empty.
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
    fn omitted_reports_are_counted_and_written_when_their_period_is_over() {
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
    fn omitted_reports_are_written_before_the_next_report() {
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
            let trouble = Trouble::Lagged { missed, cut_off: false };
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
