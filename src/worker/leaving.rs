//! Leaving: what a worker gives up, and when.
//!
//! ```text
//! seated ----> left ----> given up
//! ```
//!
//! `left` is set under the locks of writer and claimer, so that nothing is posted or claimed after it; a poll that runs
//! goes on to its end. Whoever then has the lock of the reading half is the last to be inside: it gives up the seat
//! and the handlers. That is the one that leaves, or, if a poll was running, the thread that polls, at the end of the
//! poll.

use std::collections::VecDeque;
use std::fmt;
use std::hint::spin_loop;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::polling::Delivery;
use super::{Inner, Worker};
use crate::error::{ErrorKind, Result};
use crate::os::locks::lock;

/// Looks for the end of a poll that is just ending. It looks for us after it has given the lock back, but that store
/// may not be visible yet, for some nanoseconds: then neither would see the other.
const LOOKS: u32 = 1000;

impl Inner {
    /// Gives up all that a worker which has left still has: what it has claimed, by running it; its seat; and
    /// everything of the users' that may own a clone of the worker: handlers, local events, the reporter.
    ///
    /// Does nothing if a poll is running: it comes here at its end. Any later poll or wait comes here too.
    #[cold]
    pub(super) fn retire(&self) -> Result<()> {
        let mut looks = 0;
        let delivery = loop {
            // Relaxed: set before anybody could come here, and cleared under the lock.
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
        // If it is held, it is by somebody who comes here too.
        let Some(mut reading) = self.reading.try_lock() else { return Ok(()) };
        if !self.seated.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let routes = reading.take_routes();
        // Nobody is inside: posts and claims find that the worker has left, and polls need the lock that we hold.
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
        // No lock is held: what they own may do anything when it is dropped, also fork and return in the child.
        drop((routes, handlers, local, options));
        Ok(self.guard.check()?)
    }

    /// As [`check`](Inner::check), and sees to it that a worker which has left gives everything up.
    #[inline]
    pub(super) fn check_or_retire(&self) -> Result<()> {
        let checked = self.check();
        if checked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Left) {
            self.retire()?;
        }
        checked
    }
}

impl Worker {
    /// A handle that does not keep this worker alive, for its own handlers.
    ///
    /// ```
    /// # let name = format!("doc-weak-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// let worker = bus.join()?;
    /// let weak = worker.downgrade();
    /// worker.on(seqcast::Scope::source("ping"), move |event: &seqcast::Event<'_>| {
    ///     match weak.upgrade() {
    ///         Some(worker) => worker.post(("pong", event.event()), event.bytes()).map(drop),
    ///         None => Ok(()),
    ///     }
    /// })?;
    /// # let weak = worker.downgrade();
    /// # drop(worker);
    /// # assert!(weak.upgrade().is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn downgrade(&self) -> WeakWorker {
        WeakWorker { inner: Arc::downgrade(&self.inner) }
    }
}

/// A handle on a [`Worker`] that does not keep it alive; made by [`Worker::downgrade`].
///
/// A handler is owned by its worker. One that owns a clone of the worker in turn keeps it, and its seat, until
/// [`Worker::leave`] is called; one that owns this keeps nothing.
#[derive(Clone)]
pub struct WeakWorker {
    inner: Weak<Inner>,
}

impl WeakWorker {
    /// The worker, unless its last clone has been dropped. A worker that has left is still given: its calls then return
    /// [`ErrorKind::Left`].
    pub fn upgrade(&self) -> Option<Worker> {
        self.inner.upgrade().map(|inner| Worker { inner })
    }
}

impl fmt::Debug for WeakWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakWorker").field("alive", &(self.inner.strong_count() > 0)).finish()
    }
}
