//! Cheap checks for something to poll.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::polled::Polled;
use super::turn::OWN;
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

    /// Returns the remaining wait for the reserved id at which the last poll stopped. It is `Duration::MAX` if the poll
    /// did not stop at one, or the worker has reserved it itself.
    pub(crate) fn due_in(&self) -> Duration {
        // Acquire: as in `has_news`.
        let mark = Mark::from_bits(self.hot.mark.load(Ordering::Acquire));
        let since = self.hot.reserved_since.load(Ordering::Relaxed);
        if !mark.is_reserved() || since == OWN {
            return Duration::MAX;
        }
        self.left_of_wait_max(since, sys::boottime_ns())
    }

    /// Returns what is left of `wait_max` for an id whose wait began at `since`.
    pub(super) fn left_of_wait_max(&self, since: u64, now: u64) -> Duration {
        let waited = now.saturating_sub(since);
        Duration::from_nanos(self.tuning.wait_max.load(Ordering::Relaxed).saturating_sub(waited))
    }

    /// Returns `true` if a thread polls, this one included.
    #[inline]
    pub(crate) fn is_polled(&self) -> bool {
        // Acquire: a thread that sees the end of a poll sees its mark.
        self.hot.polling.load(Ordering::Acquire) != 0
    }

    /// Returns `true` if a handler of this worker runs on this thread.
    pub(crate) fn is_in_handler(&self) -> bool {
        // Relaxed: only this thread stores its own number.
        self.hot.polling.load(Ordering::Relaxed) == sys::this_thread()
    }

    /// Returns the result of a poll that did not get a turn.
    pub(super) fn refusal(&self) -> Polled {
        if self.is_in_handler() { Polled::Recursive } else { Polled::Busy }
    }

    /// Returns `true` if a poll would find nothing. It costs only a few loads, and most polls do nothing else.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        let Hot { mark, local, incarnation, .. } = &*self.hot;
        !self.guard.is_forked()
            && !self.left.load(Ordering::Relaxed)
            && !incarnation.is_over()
            // Acquire: with the local event that was counted.
            && local.load(Ordering::Acquire) == 0
            // Relaxed: with the mark of an earlier poll, the ring is not empty.
            && self.ring.is_empty_by(Mark::from_bits(mark.load(Ordering::Relaxed)))
    }
}
