//! The turn of a thread that polls: what only it uses, what it counts, and what it leaves behind.

use std::sync::atomic::Ordering;

use crate::os::sys;
use crate::protocol::thread_lock::Locked;
use crate::protocol::word::Mark;
use crate::seat::read::{Pending, Reader};
use crate::seat::tenure::Tenure;
use crate::segment::layout::seat_word;
use crate::worker::handlers::Routes;
use crate::worker::inner::Inner;

/// What only the polling thread uses.
pub(crate) struct Reading {
    pub(super) reader: Reader,
    pub(super) routes: Routes,
    /// The hold on the seat, until the worker has given it up.
    tenure: Option<Tenure>,
}

impl Reading {
    pub(crate) fn new(reader: Reader, tenure: Tenure) -> Reading {
        Reading { reader, routes: Routes::new(), tenure: Some(tenure) }
    }

    /// Gives the seat back.
    pub(crate) fn end_tenure(&mut self) {
        self.tenure = None;
    }

    /// Forgets the routes found so far. They are to be dropped where users' code may run.
    #[must_use = "a route may own a handler, which may do anything when it is dropped"]
    pub(crate) fn take_routes(&mut self) -> Routes {
        std::mem::replace(&mut self.routes, Routes::new())
    }
}

/// Counts of one poll.
#[derive(Default)]
pub(crate) struct Tally {
    pub(super) delivered: u64,
    pub(super) missed: u64,
    pub(super) failed: u64,
    /// `true` if anything was read, wanted or not.
    pub(super) read: bool,
    /// The reserved id that reading stopped at.
    pub(super) reserved: Option<Pending>,
}

/// In `Hot::reserved_since`: the id is the worker's own, which it waits for without an end.
pub(crate) const OWN: u64 = u64::MAX;

/// One delivery. It says that a thread polls while it lives, and stores its outcome when it ends, also if it ends in a
/// panic.
pub(crate) struct Delivery<'a> {
    inner: &'a Inner,
    pub(super) reading: Locked<'a, Reading>,
    pub(super) tally: Tally,
    /// When it began, as the worker's coarse clock says.
    began: u64,
    /// Dropped last, after the lock.
    _end: PollEnd<'a>,
}

/// Wakes the threads that wait for the end of a poll, when it is dropped.
struct PollEnd<'a>(&'a Inner);

impl Drop for PollEnd<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.own_wakes.end_poll();
    }
}

impl<'a> Delivery<'a> {
    /// `None` if another goes on, or the worker has given its seat up.
    #[inline]
    pub(crate) fn begin(inner: &'a Inner, began: u64) -> Option<Delivery<'a>> {
        let reading = inner.reading.try_lock()?;
        // Relaxed: cleared under the lock.
        if !inner.seated.load(Ordering::Relaxed) {
            return None;
        }
        // Relaxed: the lock decides; this is for threads that find nothing new and do not try it.
        inner.hot.polling.store(sys::this_thread(), Ordering::Relaxed);
        inner.hot.mark.store(Mark::NONE.bits(), Ordering::Relaxed);
        Some(Delivery { inner, reading, tally: Tally::default(), began, _end: PollEnd(inner) })
    }
}

impl Drop for Delivery<'_> {
    #[inline]
    fn drop(&mut self) {
        let Delivery { inner, reading, tally, began, .. } = self;
        let reader = &reading.reader;
        let hot = &*inner.hot;
        if inner.guard.is_forked() || hot.incarnation.is_over() {
            // A child that a handler forked and that returned from it, or a worker that was displaced meanwhile: what
            // follows is for the holder of the seat to store.
            hot.polling.store(0, Ordering::Relaxed);
            return;
        }
        // Stored after each step, too. Release: with the cells that were seen, for the writing half.
        hot.next.store(reader.next(), Ordering::Release);
        let mark = match tally.reserved {
            Some(Pending { id, since_ns }) => {
                hot.reserved_since.store(since_ns.unwrap_or(OWN), Ordering::Relaxed);
                inner.ring.mark_reserved(id)
            }
            None if reader.has_ahead() => Mark::NONE,
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
        // Release: with the mark. Before the lock is given back: the thread that takes it next stores its own number at
        // once.
        hot.polling.store(0, Ordering::Release);
    }
}
