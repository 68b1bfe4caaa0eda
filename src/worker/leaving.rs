//! How a worker leaves the bus.
//!
//! ```text
//! seated ----> left ----> given up
//! ```
//!
//! `left` is set under the locks of writer and claimer, so nothing is posted or claimed after it. A poll that runs
//! continues to its end. The thread that then has the lock of the poll state gives up the seat and the handlers: the
//! thread that leaves or, if a poll was running, the thread that polls, at the end of its poll.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::default_report::Until;
use super::handle::Worker;
use super::inner::Inner;
use super::polling::turn::Turn;
use crate::error::{ErrorKind, Result};
use crate::event::library;
use crate::os::locks::lock;

/// The number of attempts to get the lock of a poll that is ending. The polling thread checks `left` after it has
/// released the lock, but its release may become visible some nanoseconds later: with one attempt, neither thread might
/// see the other.
const LOOKS: u32 = 1000;

impl Worker {
    /// Leaves the bus, whatever the number of clones. Afterwards every call on any clone returns [`ErrorKind::Left`].
    ///
    /// 1. The worker delivers the unique events that it has claimed while it waited at a reserved id. No other worker
    ///    would run them.
    /// 2. It posts [`STOPPING`](library::STOPPING), and gives up a reservation.
    /// 3. It frees the seat and drops the handlers.
    ///
    /// If a poll is running, on this thread or another one, that poll delivers only the claimed events, and frees the
    /// seat and drops the handlers at its end.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let worker = bus.join()?;
    /// let clone = worker.clone();
    /// worker.leave()?;
    /// assert!(clone.post(("cache", "stale"), "user:42").is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post).
    pub fn leave(self) -> Result<()> {
        self.inner.check()?;
        self.inner.leave()
    }
}

impl Inner {
    fn leave(&self) -> Result<()> {
        self.deliver_claimed()?;
        // Dropped after the locks: this may drop a reporter, which is the application's code.
        let options = self.options();
        // A call that uses one of the two has ended, or finds that the worker has left. So nothing is posted, reserved
        // or claimed after the last reservation is given up.
        let (mut writer, claimer) = (self.writer.lock(), self.claimer.lock());
        if self.left.load(Ordering::Relaxed) {
            // One of the handlers above, or another thread, has left.
            drop((writer, claimer));
            return self.retire();
        }
        // The handlers may have taken their time.
        self.check_displaced()?;
        // Acquire: with the cells that the reader has seen.
        writer.know(self.hot.next.load(Ordering::Acquire));
        let announced = self.announce(&mut writer, &options, library::STOPPING);
        let abandoned = writer.abandon();
        self.left.store(true, Ordering::Relaxed);
        // A poll that still runs reads nothing more.
        self.segment.leave_must(self.seat);
        drop((writer, claimer));
        self.end_waits();
        let retired = self.retire();
        announced.and(abandoned).and(retired)
    }

    /// Gives up what a worker that has left still holds. It runs the claimed events, frees the seat, and drops
    /// everything that may own a clone of the worker: handlers, local events, the reporter.
    ///
    /// Does nothing while a poll is running, because the poll calls this at its end. Any later poll or wait calls it,
    /// too.
    #[cold]
    pub(super) fn retire(&self) -> Result<()> {
        let mut looks = 0;
        let turn = loop {
            // Relaxed: set before any thread gets here, and cleared under the lock.
            if !self.seated.load(Ordering::Relaxed) || looks == LOOKS {
                return Ok(());
            }
            if let Some(turn) = Turn::begin(self, self.clock.coarse_ns()) {
                break turn;
            }
            looks += 1;
            spin_loop();
        };
        // Nothing is claimed after this, because polls read nothing more.
        self.deliver_claimed_by(turn)?;
        // If another thread holds it, that thread gets here, too.
        let Some(mut state) = self.poll_state.try_lock() else { return Ok(()) };
        if !self.seated.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let routes = state.take_routes();
        // No thread uses the seat: posts and claims find that the worker has left, and polls need the lock that we
        // hold.
        state.end_tenure();
        drop(state);
        let handlers = self.handlers.close();
        let mut queue = lock(&self.local);
        let local: VecDeque<_> = mem::take(&mut *queue);
        self.hot.local.store(0, Ordering::Release);
        drop(queue);
        let mut options = (*self.options()).clone();
        options.reporter = None;
        let options = self.replace_options(Arc::new(options));
        // No lock is held: these drops are the application's code, which may even fork and return in the child.
        drop((routes, handlers, local, options));
        Ok(self.guard.check()?)
    }

    /// [`check`](Inner::check) that also [retires](Inner::retire) a worker that has left.
    #[inline]
    pub(super) fn check_or_retire(&self) -> Result<()> {
        self.check().or_else(|error| {
            if error.kind() == ErrorKind::Left {
                self.retire()?;
            }
            Err(error)
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In a forked child the seat belongs to the parent. Only the child's copies of memory and descriptors are
        // freed.
        match self.check() {
            // There is no caller to return an error to.
            Ok(()) => drop(self.leave()),
            // Usually this is done already.
            Err(error) if error.kind() == ErrorKind::Left => drop(self.retire()),
            Err(_) => {}
        }
        if !self.guard.is_forked() {
            self.tell_left_out_reports_until(Until::End);
        }
    }
}
