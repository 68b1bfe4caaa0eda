//! Sleeping until there is something to poll.

use std::hint::spin_loop;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::Inner;
use crate::error::Result;
use crate::os::futex::SharedFutex;
use crate::protocol::wake::{self, Futex};
use crate::segment::layout::{header_word, seat_word};

/// Looks before sleep, with a pause of the processor's after each: well under a microsecond in all. Longer would delay
/// the very process that is waited for, where it runs on the same core.
const SPINS: u32 = 3;

/// The first nap while another thread polls, each further one is twice as long. The end of a poll costs that thread no
/// fence, so that it may miss a thread which is just about to sleep. That one looks again after this.
const FIRST_NAP: Duration = Duration::from_millis(1);

impl Inner {
    /// Sleeps by `futex` until there is news or `stop` says so, at most `timeout`. Returns whether there is news.
    pub(super) fn wait(&self, timeout: Duration, futex: &impl Futex, stop: impl Fn() -> bool) -> Result<bool> {
        self.check_or_retire()?;
        if self.is_in_handler() {
            return Ok(false);
        }
        // While another thread polls, what is new is its.
        let is_news = || !self.is_polled() && self.has_news();
        let is_ended = || stop() || self.has_left() || self.hot.incarnation.is_over();
        let over = || is_news() || is_ended();
        for _ in 0..SPINS {
            if over() {
                self.check_displaced()?;
                return Ok(is_news());
            }
            spin_loop();
        }
        let began = Instant::now();
        // Longer than the clock can say is for ever.
        let deadline = began.checked_add(timeout);
        let mut left = timeout;
        let mut slept = false;
        let mut nap = FIRST_NAP;
        self.bell.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: with the one in `Bell::ring`.
        fence(Ordering::SeqCst);
        // Looked at before each announcement: who is awake and has news does not ask to be woken for more.
        while !over() && !left.is_zero() {
            if self.is_polled() {
                wake::nap(&self.bell.poll_ended, futex, left.min(nap), || is_ended() || !self.is_polled());
                nap = nap.saturating_mul(2);
            } else {
                let is_for_us = || over() || self.is_polled();
                wake::nap(self.segment.wake_word(header_word!(wake)), futex, left.min(self.due_in()), is_for_us);
                nap = FIRST_NAP;
            }
            // In a signal handler the process may have forked, and returned in the child.
            self.guard.check()?;
            slept = true;
            self.tell_left_out_reports()?;
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
        self.bell.sleepers.fetch_sub(1, Ordering::Relaxed);
        self.check_displaced()?;
        let news = is_news();
        // The lock: the seat is another's when the worker has left.
        if slept
            && news
            && let Ok(_writer) = self.writer()
        {
            self.words.add(seat_word!(reading.wakeups), 1);
        }
        Ok(news)
    }

    /// Ends the sleep of this process's threads in `wait`, for something that they do not learn from the segment.
    pub(super) fn wake_own(&self) {
        self.bell.ring();
    }

    /// Has this process's threads look again that wait for anything: in `wait`, for the end of a poll, at a reserved
    /// id.
    pub(super) fn end_waits(&self) {
        self.wake_own();
        wake::notify(self.segment.wake_word(header_word!(wake_reserved)), &SharedFutex);
    }
}
