//! Polling in the background, for those who ask for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::os::signals::NoSignals;
use crate::worker::{Polled, Worker};

/// A thread that polls a worker: at once when something is posted, and every
/// [`interval`](crate::WorkerOptions::interval) at the latest. Dropping it stops the thread and waits for its end.
///
/// The thread does not survive a fork; a child starts its own after joining. A child that is forked by a handler on this
/// thread, and returns from that handler, ends with exit status 0.
///
/// Keep it for as long as the worker is to be polled:
///
/// ```
/// # let name = format!("doc-poller-{}", std::process::id());
/// # let bus = seqcast::Bus::create(&name, &seqcast::Options::new().unlink_on_drop(true))?;
/// # let worker = bus.join()?;
/// let poller = worker.start_poller()?;
/// // ... the handlers run ...
/// poller.stop()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// A poller that is not kept stops at once, which is a warning (here it is made an error):
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # fn poll(worker: &seqcast::Worker) -> seqcast::Result<()> {
/// worker.start_poller()?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a poller that is dropped stops: keep it for as long as the worker is to be polled"]
pub struct Poller {
    worker: Worker,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Worker {
    /// Starts a thread that polls this worker. Nothing else in this crate starts threads.
    ///
    /// All signals are blocked on the thread, so that the process's handlers run on the process's own threads and interrupt
    /// what they are meant to interrupt; all but those that a thread raises by its own instructions, such as SIGSEGV. A program
    /// that a handler starts inherits that: unblock them in it (`pthread_sigmask`), or start it on another thread.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] if the worker's `interval` is zero, which means that it is polled by hand; [`Error::System`] if
    /// no thread can be had; [`Error::Forked`], [`Error::Left`].
    pub fn start_poller(&self) -> Result<Poller> {
        self.check()?;
        if self.options().interval.is_zero() {
            return Err(Error::option("interval", "0", "it must be longer than nothing for a poller"));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (worker, stopped) = (self.clone(), Arc::clone(&stop));
        // The thread begins with this one's mask.
        let no_signals = NoSignals::begin();
        let thread =
            thread::Builder::new().name("seqcast-poller".to_owned()).spawn(move || poll_until(&worker, &stopped));
        drop(no_signals);
        let thread = thread.map_err(|error| Error::system(self.segment_name(), "thread", error))?;
        Ok(Poller { worker: self.clone(), stop, thread: Some(thread) })
    }
}

fn poll_until(worker: &Worker, stop: &AtomicBool) -> Result<()> {
    // An interval that is taken away while the thread runs ends it, too: zero means that there is to be no poller.
    let stopped = || stop.load(Ordering::Acquire) || worker.options().interval.is_zero();
    while !stopped() {
        worker.wait_until(worker.options().interval, stopped)?;
        if stopped() {
            break;
        }
        if worker.poll()? == Polled::Recursive {
            // Another thread is at it; the news that woke us are its.
            thread::yield_now();
        }
    }
    Ok(())
}

impl Poller {
    /// Stops the thread and waits for its end. A handler that is running is let finish.
    ///
    /// # Errors
    ///
    /// What ended the polling before.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Whether the thread still polls. It ends by itself if the worker leaves, its `interval` is made zero, or the segment
    /// is corrupt.
    pub fn is_running(&self) -> bool {
        !self.worker.is_forked() && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if self.worker.is_forked() {
            // The thread is the parent's; here there is none to join.
            std::mem::forget(thread);
            return Err(Error::Forked);
        }
        self.stop.store(true, Ordering::Release);
        self.worker.wake_own();
        if thread.thread().id() == thread::current().id() {
            // Dropped by a handler that this very thread runs: it ends after it.
            return Ok(());
        }
        // Handlers' panics are caught, so that the thread does not end in one.
        thread.join().unwrap_or(Ok(()))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // What ended the polling was for `stop` to ask.
        let _ = self.end();
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("worker", &self.worker)
            .field("running", &self.is_running())
            .finish_non_exhaustive()
    }
}
