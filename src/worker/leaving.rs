//! Leaving: what a worker gives up, and when.
//!
//! ```text
//! seated ----> left ----> given up
//! ```
//!
//! `left` is set under the locks of writer and claimer, so that nothing is posted or claimed after it. A poll that runs
//! goes on to its end. The thread that then has the lock of the reading half is the last inside: it gives up the seat
//! and the handlers. That is the thread that leaves or, if a poll was running, the thread that polls, at the end of its
//! poll.

use std::collections::VecDeque;
use std::hint::spin_loop;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::default_report::Until;
use super::handle::Worker;
use super::inner::Inner;
use super::polling::delivery::Delivery;
use crate::error::{ErrorKind, Result};
use crate::event::library;
use crate::os::locks::lock;

/// Looks for the end of a poll that is just ending. The thread that polls looks for us after it has given the lock
/// back, but that store may not be visible for some nanoseconds: then neither would see the other.
const LOOKS: u32 = 1000;

impl Worker {
    /// Leaves the bus. Afterwards every call on any clone returns [`ErrorKind::Left`].
    ///
    /// In this order: the unique events that this worker has claimed already, while it waited for a reserved id, are
    /// delivered, since no other worker will run them; [`STOPPING`](library::STOPPING) is posted; a reservation is
    /// given up; the seat is free, and the handlers are dropped with what they own. The number of clones does not
    /// matter.
    ///
    /// If a poll is running, on this thread or another one, it delivers nothing but those claimed events, and the seat
    /// and the handlers are given up at its end.
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
        // Dropped after the locks: it may be the last owner of a reporter, which may do anything then.
        let options = self.options();
        // What uses one of the two has ended, or finds that the worker has left: nothing is posted, reserved or claimed
        // after the last reservation is given up.
        let (mut writer, claimer) = (self.writer.lock(), self.claimer.lock());
        if self.left.load(Ordering::Relaxed) {
            // By one of the handlers above, or by another thread.
            drop((writer, claimer));
            return self.retire();
        }
        // The handlers may have taken their time.
        self.check_displaced()?;
        // Acquire: with the cells that the reading half has seen.
        writer.know(self.hot.next.load(Ordering::Acquire));
        let announced = self.announce(&mut writer, &options, library::STOPPING);
        let abandoned = writer.abandon();
        self.left.store(true, Ordering::Relaxed);
        drop((writer, claimer));
        self.end_waits();
        let retired = self.retire();
        announced.and(abandoned).and(retired)
    }

    /// Gives up all that a worker which has left still has: what it has claimed, by running it; its seat; and all that
    /// may own a clone of the worker: handlers, local events, the reporter.
    ///
    /// Does nothing while a poll is running, which calls this at its end. Any later poll or wait calls it, too.
    #[cold]
    pub(super) fn retire(&self) -> Result<()> {
        let mut looks = 0;
        let delivery = loop {
            // Relaxed: set before any thread can come here, and cleared under the lock.
            if !self.seated.load(Ordering::Relaxed) || looks == LOOKS {
                return Ok(());
            }
            if let Some(delivery) = Delivery::begin(self, self.clock.coarse_ns()) {
                break delivery;
            }
            looks += 1;
            spin_loop();
        };
        // Nothing is claimed after this: polls read nothing more. What came of it is stored by now.
        self.deliver_claimed_by(delivery)?;
        // If it is held, then by a thread that comes here, too.
        let Some(mut reading) = self.reading.try_lock() else { return Ok(()) };
        if !self.seated.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let routes = reading.take_routes();
        // No thread is inside: posts and claims find that the worker has left, and polls need the lock that we hold.
        reading.end_tenure();
        drop(reading);
        let handlers = self.registry.close();
        let mut queue = lock(&self.local);
        let local: VecDeque<_> = mem::take(&mut *queue);
        self.hot.local.store(0, Ordering::Release);
        drop(queue);
        let mut options = (*self.options()).clone();
        options.reporter = None;
        let options = self.replace_options(Arc::new(options));
        // No lock is held: what they own may do anything when it is dropped, even fork and return in the child.
        drop((routes, handlers, local, options));
        Ok(self.guard.check()?)
    }

    /// [`check`](Inner::check) that makes a worker that has left give everything up.
    #[inline]
    pub(super) fn check_or_retire(&self) -> Result<()> {
        let checked = self.check();
        if checked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Left) {
            self.retire()?;
        }
        checked
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In a forked child all this belongs to the parent; only our copies of memory and descriptors go.
        match self.check() {
            // No caller is there to return an error to.
            Ok(()) => drop(self.leave()),
            // Usually that is done already; see `retire`.
            Err(error) if error.kind() == ErrorKind::Left => drop(self.retire()),
            Err(_) => {}
        }
        if !self.guard.is_forked() {
            self.tell_left_out_reports_until(Until::End);
        }
    }
}
