//! A thread that polls.

use std::cell::Cell;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::os::signals::NoSignals;
use crate::worker::Worker;
use crate::worker::panics::{catch_panic, into_message};

/// A thread that polls a worker: at once when something is posted, and after
/// [`interval`](crate::WorkerOptions::interval) at the latest. Dropping it stops the thread and waits for its end.
///
/// The thread does not survive a fork; a child joins and starts its own. If a handler on this thread forks, and the
/// child returns from the handler, the child ends with exit status 0.
///
/// Keep it for as long as it shall poll:
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// let poller = worker.start_poller()?;
/// // ... the handlers run ...
/// poller.stop()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// A poller that is dropped at once never polls. The compiler warns; here the warning is an error:
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
    /// Starts a thread that polls this worker.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// worker.on(("job", "done"), move |event| sender.send(event.id()))?;
    /// let poller = worker.start_poller()?;
    /// let id = worker.post(("job", "done"), "7")?;
    /// assert_eq!(receiver.recv().unwrap(), Some(id));
    /// poller.stop()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// All signals are blocked on the thread, except those that its own instructions raise, such as SIGSEGV. So signal
    /// handlers run on the other threads of the process, and interrupt what they are meant to interrupt. A program that
    /// a handler of this thread starts inherits the mask: unblock the signals in it (`pthread_sigmask`), or start it on
    /// another thread.
    ///
    /// Do not fork while a thread of the process starts or ends. The thread may hold a lock of the standard library,
    /// which then stays locked in the child: a poller that the child starts delivers nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the worker's `interval` is zero, which means that the application polls;
    /// [`ErrorKind::System`] if no thread can be started; [`ErrorKind::Forked`], [`ErrorKind::Left`].
    pub fn start_poller(&self) -> Result<Poller> {
        self.check()?;
        if self.options().interval.is_zero() {
            return Err(Error::option("interval", "0", "it must be greater than zero for a poller"));
        }
        self.start_thread(poll_until)
    }

    fn start_thread(&self, poll: impl FnOnce(&Worker, &AtomicBool) -> Result<()> + Send + 'static) -> Result<Poller> {
        let stop = Arc::new(AtomicBool::new(false));
        let (worker, stopped) = (self.clone(), Arc::clone(&stop));
        let run = move || {
            STOPPED_BY.set(Arc::as_ptr(&stopped));
            let result = catch_panic(|| poll(&worker, &stopped))
                .unwrap_or_else(|panic| Err(Cause::PollerPanicked { message: panic.what().to_string() }.into()));
            match &result {
                Ok(()) => {}
                // The worker left, or this is a forked child: nothing to report.
                Err(error) if matches!(error.kind(), ErrorKind::Left | ErrorKind::Forked) => {}
                Err(error) => worker.report_poller_ended(error),
            }
            result
        };
        // The thread begins with this one's mask.
        let no_signals = NoSignals::begin();
        let thread = thread::Builder::new().name("seqcast-poller".to_owned()).spawn(run);
        drop(no_signals);
        let thread = thread.map_err(|error| Error::system(self.segment_name(), "thread", error))?;
        Ok(Poller { worker: self.clone(), stop, thread: Some(thread) })
    }
}

thread_local! {
    /// The flag that stops this thread, if it is a poller's. It is not `thread::current()`, which panics once the
    /// thread's locals are destroyed: a poller may be dropped at that time.
    static STOPPED_BY: Cell<*const AtomicBool> = const { Cell::new(ptr::null()) };
}

fn poll_until(worker: &Worker, stop: &AtomicBool) -> Result<()> {
    // An interval that is set to zero while the thread runs ends it, too.
    let stopped = || stop.load(Ordering::Acquire) || worker.options().interval.is_zero();
    while !stopped() {
        worker.wait_until(worker.options().interval, stopped)?;
        if stopped() {
            break;
        }
        // If another thread polls, the next wait is for the end of that poll.
        let _ = worker.poll_until(stop)?;
    }
    Ok(())
}

impl Poller {
    /// Stops the thread and waits for its end. A handler that runs is not interrupted. The thread does not wait for
    /// anything else, not even at a reserved id.
    ///
    /// # Errors
    ///
    /// The error that ended the thread before; [`ErrorKind::PollerPanicked`] if it panicked; [`ErrorKind::Forked`].
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// Returns `true` while the thread polls. The thread ends by itself if the worker leaves, if its `interval` is set
    /// to zero, and after an error, such as that of a corrupt segment. The error is reported as
    /// [`Trouble::PollerEnded`](crate::Trouble::PollerEnded), and returned by [`stop`](Poller::stop).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let poller = worker.start_poller()?;
    /// assert!(poller.is_running());
    /// poller.stop()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn is_running(&self) -> bool {
        !self.worker.is_forked() && self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn end(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if self.worker.is_forked() {
            // The thread is in the parent only.
            std::mem::forget(thread);
            return Err(Error::from(Cause::Forked));
        }
        self.stop.store(true, Ordering::Release);
        self.worker.end_waits();
        if STOPPED_BY.get() == Arc::as_ptr(&self.stop) {
            // Dropped by a handler on this very thread, which ends after the handler.
            return Ok(());
        }
        // Panics are caught in the thread, except those of its locals' destructors.
        thread.join().unwrap_or_else(|payload| Err(Cause::PollerPanicked { message: into_message(payload) }.into()))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // Only `stop` returns the error.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use seqcast_testkit::assert_error;

    use super::*;
    use crate::{SegmentOptions, WorkerOptions};

    #[test]
    fn a_poller_that_ends_by_itself_says_so() {
        let bus = SegmentOptions::new().capacity(8).claims(8).seats(2).anonymous().unwrap();
        let reports: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&reports);
        let options = WorkerOptions::new().on_report(move |report| noted.lock().unwrap().push(report.to_string()));
        let worker = bus.join_with(&options).unwrap();
        let poller = worker.start_thread(|_, _| panic!("out of luck")).unwrap();
        while poller.is_running() {
            thread::yield_now();
        }
        let error = poller.stop().unwrap_err();
        assert!(matches!(error.cause(), Cause::PollerPanicked { message } if message == "out of luck"), "{error:?}");
        assert_eq!(*reports.lock().unwrap(), [format!("the poller ended: {error}")]);
        let poller = worker
            .start_thread(|_, _| Err(Cause::Corrupt { name: "/name".to_owned(), what: "a test" }.into()))
            .unwrap();
        assert_error!(poller.stop(), Cause::Corrupt { .. });
        assert!(reports.lock().unwrap()[1].starts_with("the poller ended: segment /name is corrupt"));
        assert_error!(worker.start_thread(|_, _| Err(Cause::Left.into())).unwrap().stop(), Cause::Left);
        assert_eq!(reports.lock().unwrap().len(), 2, "leaving is no trouble");
    }

    #[test]
    fn a_thread_that_ends_in_a_panic_of_its_own_says_so() {
        let bus = SegmentOptions::new().capacity(8).claims(8).seats(2).anonymous().unwrap();
        let worker = bus.join().unwrap();
        let mut poller = worker.start_thread(|_, _| Ok(())).unwrap();
        poller.end().unwrap();
        poller.thread = Some(thread::spawn(|| std::panic::resume_unwind(Box::new("out of luck"))));
        let error = poller.stop().unwrap_err();
        assert!(matches!(error.cause(), Cause::PollerPanicked { message } if message == "out of luck"), "{error:?}");
    }
}
