//! Sleeping until there is something to poll.

use std::hint::spin_loop;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::Inner;
use crate::error::Result;
use crate::layout::{header_word, record_word};
use crate::protocol::wake::{self, Futex};

/// Looks before sleep, with a pause of the processor's after each: well under a microsecond in all. Longer would delay the
/// very process that is waited for, where it runs on the same core.
const SPINS: u32 = 3;

impl Inner {
    /// Sleeps by `futex` until there is news or `stop` says so, at most `timeout`. Returns whether there is news.
    pub(super) fn wait(&self, timeout: Duration, futex: &impl Futex, stop: impl Fn() -> bool) -> Result<bool> {
        self.check_or_retire()?;
        let over = || self.has_news() || stop() || self.has_left();
        for _ in 0..SPINS {
            if over() {
                return Ok(self.has_news());
            }
            spin_loop();
        }
        let began = Instant::now();
        // Longer than the clock can say is for ever.
        let deadline = began.checked_add(timeout);
        let mut left = timeout;
        let mut slept = false;
        self.bell.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: with the one in `Bell::ring`.
        fence(Ordering::SeqCst);
        // Looked at before each announcement: who is awake and has news does not ask to be woken for more.
        while !over() && !left.is_zero() {
            wake::nap(self.segment.wake_word(header_word!(wake)), futex, left, over);
            // In a signal handler the process may have forked, and returned in the child.
            self.guard.check()?;
            slept = true;
            self.tell_left_out_reports()?;
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
        self.bell.sleepers.fetch_sub(1, Ordering::Relaxed);
        let news = self.has_news();
        // The lock: the record is another's when the worker has left.
        if slept
            && news
            && let Ok(_writer) = self.writer()
        {
            self.words.add(record_word!(reading.wakeups), 1);
        }
        Ok(news)
    }

    /// Ends the sleep of this process's threads in `wait`.
    pub(super) fn wake_own(&self) {
        self.bell.ring();
    }
}
