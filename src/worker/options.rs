//! A worker's options, and changing them while the worker runs.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::os::locks::lock;
use crate::os::sys;
use crate::protocol::word::Mark;
use crate::seat::options::WorkerOptions;
use crate::seat::set_label;

/// Copies of the options that polls read, in nanoseconds. Reading them costs one load.
pub(crate) struct Tuning {
    pub(super) wait_interval: AtomicU64,
    pub(super) wait_max: AtomicU64,
    pub(super) resync: AtomicBool,
    pub(super) must_read: AtomicU64,
}

impl Tuning {
    pub(super) fn of(options: &WorkerOptions) -> Tuning {
        let tuning = Tuning {
            wait_interval: AtomicU64::new(0),
            wait_max: AtomicU64::new(0),
            resync: AtomicBool::new(false),
            must_read: AtomicU64::new(0),
        };
        tuning.set(options);
        tuning
    }

    pub(super) fn set(&self, options: &WorkerOptions) {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.wait_interval.store(ns(options.wait_interval), Ordering::Relaxed);
        self.wait_max.store(ns(options.wait_max), Ordering::Relaxed);
        self.resync.store(options.resync, Ordering::Relaxed);
        self.must_read.store(ns(options.must_read), Ordering::Relaxed);
    }
}

/// The turns of threads that change the options. The application's code runs in a turn, so only other changes wait for
/// one.
#[derive(Default)]
pub(crate) struct Changing {
    turn: Mutex<()>,
    /// The thread that has the turn, 0 for none.
    thread: AtomicUsize,
}

/// The turn of a thread that changes the options.
pub(crate) struct ChangeTurn<'a>(&'a Changing, #[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

impl Changing {
    pub(super) fn begin(&self) -> Result<ChangeTurn<'_>> {
        let here = sys::this_thread();
        // Relaxed: only this thread stores its own number.
        if self.thread.load(Ordering::Relaxed) == here {
            let rule = "a change of options cannot be made inside another: make both in one";
            return Err(Error::option("reconfigure", "a call from inside its own closure", rule));
        }
        let turn = lock(&self.turn);
        self.thread.store(here, Ordering::Relaxed);
        Ok(ChangeTurn(self, turn))
    }
}

impl Drop for ChangeTurn<'_> {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
    }
}

impl Worker {
    /// Changes options while the worker runs. They take effect at once, and together. `start` cannot be changed.
    ///
    /// Concurrent calls take turns, so `change` gets the options that the previous call has set. Nothing else waits for
    /// `change`. It may use the worker, except for this method.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.reconfigure(|options| {
    ///     let patient = options.get_wait_max() * 2;
    ///     options.wait_max(patient)
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`], also for a call from inside `change`; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Left`]. The options are then as before.
    pub fn reconfigure(&self, change: impl FnOnce(WorkerOptions) -> WorkerOptions) -> Result<()> {
        self.inner.check()?;
        let _turn = self.inner.changing.begin()?;
        let before = self.options();
        let after = change((*before).clone());
        // `change` may have forked and returned in the child.
        self.inner.check()?;
        after.check_for(&self.inner.segment)?;
        if after.start != before.start {
            let value = format!("{:?}", after.start);
            return Err(Error::option("start", value, "a worker that has joined cannot start again: join again"));
        }
        self.inner.set_options(after)?;
        self.end_waits();
        // The drop of the previous reporter may have forked.
        Ok(self.inner.guard.check()?)
    }

    /// Returns the present options. In a forked child these are the parent's options at the fork or, if another thread
    /// was changing them at that moment, those that the parent joined with.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// assert_eq!(worker.options().get_wait_max().as_millis(), 500);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn options(&self) -> Arc<WorkerOptions> {
        self.inner.options()
    }
}

impl Inner {
    pub(super) fn options(&self) -> Arc<WorkerOptions> {
        if self.guard.is_forked() {
            return match self.options.try_read() {
                Ok(options) => Arc::clone(&options),
                Err(TryLockError::Poisoned(poisoned)) => Arc::clone(&poisoned.into_inner()),
                // The thread that holds it is not in this process.
                Err(TryLockError::WouldBlock) => Arc::clone(&self.joined_with),
            };
        }
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the options. The caller holds a [`ChangeTurn`].
    pub(super) fn set_options(&self, after: WorkerOptions) -> Result<()> {
        let after = Arc::new(after);
        // Under the lock: once the worker has left, the seat may belong to another, and no reporter may be set.
        let writer = self.writer()?;
        set_label(&self.words, &after.label);
        self.tuning.set(&after);
        let must_read = after.must_read;
        let before = self.replace_options(after);
        if before.must_read != must_read {
            // The next poll is not idle, and applies the change.
            self.hot.mark.store(Mark::NONE.bits(), Ordering::Relaxed);
        }
        drop(writer);
        // Without the locks: the drop of a reporter is the application's code.
        drop(before);
        Ok(())
    }

    pub(super) fn replace_options(&self, after: Arc<WorkerOptions>) -> Arc<WorkerOptions> {
        mem::replace(&mut *self.options.write().unwrap_or_else(PoisonError::into_inner), after)
    }
}
