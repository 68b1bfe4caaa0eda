//! The turn of a thread that polls. It stores its results when it ends.

use std::sync::atomic::Ordering;

use crate::os::sys;
use crate::protocol::thread_lock::Locked;
use crate::protocol::word::Mark;
use crate::seat::read::{Pending, Reader};
use crate::seat::tenure::Tenure;
use crate::segment::layout::seat_word;
use crate::worker::handlers::AllRoutes;
use crate::worker::inner::Inner;

/// The state of polls. Only the polling thread uses it.
pub(crate) struct PollState {
    pub(super) reader: Reader,
    pub(super) routes: AllRoutes,
    /// The hold on the seat. `None` once the worker has given it up.
    tenure: Option<Tenure>,
}

impl PollState {
    pub(crate) fn new(reader: Reader, tenure: Tenure) -> PollState {
        PollState { reader, routes: AllRoutes::new(), tenure: Some(tenure) }
    }

    /// Gives up the seat.
    pub(crate) fn end_tenure(&mut self) {
        self.tenure = None;
    }

    /// Takes the routes. Drop them where users' code may run.
    #[must_use = "a route may own a handler, whose drop is users' code"]
    pub(crate) fn take_routes(&mut self) -> AllRoutes {
        std::mem::replace(&mut self.routes, AllRoutes::new())
    }
}

/// Counts of one poll.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) delivered: u64,
    pub(super) missed: u64,
    pub(super) missed_elsewhere: u64,
    pub(super) failed: u64,
    /// `true` if anything was read, wanted or not.
    pub(super) read: bool,
    /// The reserved id at which reading stopped.
    pub(super) reserved: Option<Pending>,
}

impl Tally {
    /// Returns the reserved id at which reading stopped. Only the poll that has one pays for the copy.
    #[inline]
    pub(super) fn reserved(&self) -> Option<Pending> {
        #[cold]
        #[inline(never)]
        fn copied(reserved: &Option<Pending>) -> Option<Pending> {
            *reserved
        }
        if self.reserved.is_some() { copied(&self.reserved) } else { None }
    }
}

/// In `Hot::reserved_since`: the worker has reserved the id itself, and never gives it up.
pub(crate) const OWN: u64 = u64::MAX;

/// The turn of one thread. While it exists, `Hot::polling` names the thread. Its drop stores the results, even after a
/// panic.
pub(crate) struct Turn<'a> {
    inner: &'a Inner,
    pub(super) state: Locked<'a, PollState>,
    pub(super) tally: Tally,
    /// When it began, by the worker's coarse clock.
    began: u64,
    /// Dropped last, after the lock.
    _end: PollEnd<'a>,
}

/// Its drop wakes the threads that wait for the end of a poll.
struct PollEnd<'a>(&'a Inner);

impl Drop for PollEnd<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.own_wakes.end_poll();
    }
}

impl<'a> Turn<'a> {
    /// Returns `None` if another thread polls, or the worker has given up its seat.
    #[inline]
    pub(crate) fn begin(inner: &'a Inner, began: u64) -> Option<Turn<'a>> {
        let state = inner.poll_state.try_lock()?;
        // Relaxed: cleared under the lock.
        if !inner.seated.load(Ordering::Relaxed) {
            return None;
        }
        // Relaxed: the lock decides. This is for threads that find nothing new and do not try the lock.
        inner.hot.polling.store(sys::this_thread(), Ordering::Relaxed);
        inner.hot.mark.store(Mark::NONE.bits(), Ordering::Relaxed);
        Some(Turn { inner, state, tally: Tally::default(), began, _end: PollEnd(inner) })
    }
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        let Turn { inner, state, tally, began, .. } = self;
        let reader = &state.reader;
        let hot = &*inner.hot;
        if inner.guard.is_forked() || hot.incarnation.is_over() {
            // A child that returned from a handler that forked it, or a displaced worker: only the holder of the seat
            // may store what follows.
            hot.polling.store(0, Ordering::Relaxed);
            return;
        }
        // Stored after each step, too. Release: with the cells that were seen, for the writer.
        hot.next.store(reader.next(), Ordering::Release);
        let mark = match tally.reserved {
            Some(Pending { id, since_ns }) => {
                hot.reserved_since.store(since_ns.unwrap_or(OWN), Ordering::Relaxed);
                inner.ring.mark_reserved(id)
            }
            // A change of options that came during the poll is applied by the next one.
            None if reader.has_ahead() || reader.must_read_ns() != inner.tuning.must_read.load(Ordering::Relaxed) => {
                Mark::NONE
            }
            None => inner.ring.mark_empty(reader.next()),
        };
        // Release: with the time that belongs to it.
        hot.mark.store(mark.bits(), Ordering::Release);
        let seat = reader.seat();
        seat.add(seat_word!(reading.delivered), tally.delivered);
        let mut failed = tally.failed;
        if inner.reporters_failed.load(Ordering::Relaxed) > 0 {
            failed += inner.reporters_failed.swap(0, Ordering::Relaxed);
        }
        seat.add(seat_word!(reading.failed), failed);
        if tally.read {
            seat.set(seat_word!(reading.last_poll), *began);
        }
        // Release: with the mark. Before the lock is released, because the next thread that takes it stores its own
        // number at once.
        hot.polling.store(0, Ordering::Release);
    }
}
