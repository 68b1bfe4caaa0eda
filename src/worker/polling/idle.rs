//! Looks for something to poll that cost a few loads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::delivery::OWN;
use super::polled::Polled;
use crate::os::sys;
use crate::protocol::ring::AtMark;
use crate::protocol::word::Mark;
use crate::worker::inner::{Hot, Inner};

impl Inner {
    /// Returns `true` if a poll would find something.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        // Acquire: with the local event that was counted.
        if self.hot.local.load(Ordering::Acquire) > 0 {
            return true;
        }
        // Acquire: with the time that belongs to it, or a later one.
        match self.ring.at_mark(Mark::from_bits(self.hot.mark.load(Ordering::Acquire))) {
            AtMark::Empty => false,
            AtMark::Reserved => self.due_in().is_zero(),
            AtMark::News => true,
        }
    }

    /// How long the reserved id that the last poll stopped at is still waited for, if it stopped at one.
    pub(crate) fn due_in(&self) -> Duration {
        // Acquire: as in `has_news`.
        let mark = Mark::from_bits(self.hot.mark.load(Ordering::Acquire));
        let since = self.hot.reserved_since.load(Ordering::Relaxed);
        if !mark.is_reserved() || since == OWN {
            return Duration::MAX;
        }
        self.left_of_wait_max(since, sys::boottime_ns())
    }

    /// How much of `wait_max` is left for an id that was met at `since`.
    pub(super) fn left_of_wait_max(&self, since: u64, now: u64) -> Duration {
        let waited = now.saturating_sub(since);
        Duration::from_nanos(self.tuning.wait_max.load(Ordering::Relaxed).saturating_sub(waited))
    }

    /// Returns `true` if a thread polls, this one included.
    #[inline]
    pub(crate) fn is_polled(&self) -> bool {
        // Acquire: a thread that sees the end of a poll sees the mark that it left.
        self.hot.polling.load(Ordering::Acquire) != 0
    }

    /// Returns `true` if a handler of this worker runs on this thread.
    pub(crate) fn is_in_handler(&self) -> bool {
        // Relaxed: only this thread stores its own number.
        self.hot.polling.load(Ordering::Relaxed) == sys::this_thread()
    }

    /// What a poll answers that did not get its turn.
    pub(super) fn refusal(&self) -> Polled {
        if self.is_in_handler() { Polled::Recursive } else { Polled::Busy }
    }

    /// Returns `true` if a poll would find nothing and say so. It costs only a few loads, for the many polls of
    /// which this is all.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        let Hot { mark, local, incarnation, .. } = &*self.hot;
        !self.guard.is_forked()
            && !self.left.load(Ordering::Relaxed)
            && !incarnation.is_over()
            // Acquire: with the local event that was counted.
            && local.load(Ordering::Acquire) == 0
            // Relaxed: a mark of an earlier poll is one of an id that is taken by now.
            && self.ring.is_empty_by(Mark::from_bits(mark.load(Ordering::Relaxed)))
    }
}
