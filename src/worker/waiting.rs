//! Sleeping until there is something to poll.

use std::hint::spin_loop;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::os::futex::{InterruptibleFutex, SharedFutex};
use crate::protocol::wake::{self, Futex};
use crate::segment::layout::{header_word, seat_word};

/// Looks before sleep, with a pause of the processor's after each: well under a microsecond in all. Longer would delay
/// the very process that is waited for, where it runs on the same core.
const SPINS: u32 = 3;

/// The first nap while another thread polls, each further one is twice as long. The end of a poll costs that thread no
/// fence, so that it may miss a thread which is just about to sleep. That one looks again after this.
const FIRST_NAP: Duration = Duration::from_millis(1);

/// Why [`Worker::wait_interruptible`] returned.
///
/// ```
/// # use std::time::Duration;
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// # worker.poll()?;
/// use seqcast::Waited;
///
/// assert_eq!(worker.wait_interruptible(Duration::ZERO)?, Waited::TimedOut);
/// worker.waker().wake();
/// assert_eq!(worker.wait_interruptible(Duration::from_secs(60))?, Waited::Woken);
/// worker.post(("cache", "stale"), "user:42")?;
/// assert_eq!(worker.wait_interruptible(Duration::from_secs(60))?, Waited::News);
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it may ask for what the signal's handler has left to do"]
#[non_exhaustive]
pub enum Waited {
    /// There is something to poll.
    News,
    /// Nothing came in time.
    TimedOut,
    /// A [`Waker`](crate::Waker) has ended the wait. There may be something to poll, too.
    Woken,
    /// The thread has run a signal handler. There may be something to poll, too.
    Interrupted,
}

impl Worker {
    /// Sleeps until there is something to poll, for at most `timeout`. Returns `true` if there is. It spins for less
    /// than a microsecond before it sleeps.
    ///
    /// A [`Waker`](crate::Waker) ends it early, from a signal handler or another thread. A signal alone does not,
    /// unless the wait is [`wait_interruptible`](Worker::wait_interruptible).
    ///
    /// While another thread polls, what is new is for that thread: this one sleeps until the poll is over, then waits
    /// on. Inside a handler it returns `false` at once, since nothing can be polled there.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # let other = bus.join()?;
    /// # other.post(("cache", "stale"), "user:42")?;
    /// use std::time::Duration;
    ///
    /// # for _ in 0..1 {
    /// # /*
    /// loop {
    /// # */
    ///     if worker.wait(Duration::from_secs(1))? {
    ///         worker.poll()?;
    ///     }
    ///     // ... what is to be done every second ...
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`].
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let wakes = self.inner.own_wakes.listen();
        let news = self.inner.wait(timeout, &SharedFutex, || wakes.any())?;
        wakes.answer();
        Ok(news)
    }

    /// [`wait`](Worker::wait) that is also ended by a signal, once the process's handler has run on this thread.
    /// Returns why it ended. It is for runtimes that do the work of signals between calls, as Python and Ruby do:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seqcast::Waited;
    /// # fn check_signals() {}
    /// # fn run(worker: &seqcast::Worker) -> seqcast::Result<()> {
    /// loop {
    ///     match worker.wait_interruptible(Duration::from_secs(1))? {
    ///         Waited::Interrupted => check_signals(),
    ///         _ => drop(worker.poll()?),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// A signal does not end it if its handler ran just before the sleep began, or runs on another thread. Such a
    /// signal is noticed after `timeout` at the latest; a handler that must end the wait at once calls
    /// [`Waker::wake`](crate::Waker::wake). Inside a handler of this worker it returns at once.
    ///
    /// If there are several reasons, it returns the first of these: a signal, a waker, news. The next call returns the
    /// others, but not a signal.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], also in a child that a signal handler has forked; [`ErrorKind::Displaced`];
    /// [`ErrorKind::Left`], also if the worker leaves meanwhile.
    pub fn wait_interruptible(&self, timeout: Duration) -> Result<Waited> {
        let wakes = self.inner.own_wakes.listen();
        let futex = InterruptibleFutex::default();
        let news = self.inner.wait(timeout, &futex, || futex.was_interrupted() || wakes.any())?;
        self.inner.check()?;
        Ok(if futex.was_interrupted() {
            Waited::Interrupted
        } else if wakes.answer() {
            Waited::Woken
        } else if news {
            Waited::News
        } else {
            Waited::TimedOut
        })
    }

    pub(crate) fn wait_until(&self, timeout: Duration, stop: impl Fn() -> bool) -> Result<bool> {
        self.inner.wait(timeout, &SharedFutex, stop)
    }

    /// Has this process's threads that wait look again, in [`wait`](Worker::wait) and at a reserved id.
    pub(crate) fn end_waits(&self) {
        self.inner.end_waits();
    }
}

impl Inner {
    /// Sleeps by `futex` until there is news or `stop` says so, for at most `timeout`. Returns `true` if there is news.
    pub(super) fn wait(&self, timeout: Duration, futex: &impl Futex, stop: impl Fn() -> bool) -> Result<bool> {
        self.check_or_retire()?;
        if self.is_in_handler() {
            return Ok(false);
        }
        // While another thread polls, what is new is its.
        let is_news = || !self.is_polled() && self.has_news();
        let is_ended = || stop() || self.has_left() || self.hot.incarnation.is_over();
        let over = || is_news() || is_ended();
        for _ in 0..SPINS {
            if over() {
                self.check_displaced()?;
                return Ok(is_news());
            }
            spin_loop();
        }
        let began = Instant::now();
        // A timeout beyond what the clock can say never ends.
        let deadline = began.checked_add(timeout);
        let mut left = timeout;
        let mut slept = false;
        let mut nap = FIRST_NAP;
        self.own_wakes.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: with the one in `OwnWakes::rouse`.
        fence(Ordering::SeqCst);
        // Looked at before each announcement: a thread that is awake and has news does not ask to be woken for more.
        while !over() && !left.is_zero() {
            if self.is_polled() {
                wake::nap(&self.own_wakes.poll_ended, futex, left.min(nap), || is_ended() || !self.is_polled());
                nap = nap.saturating_mul(2);
            } else {
                let is_for_us = || over() || self.is_polled();
                wake::nap(self.segment.wake_word(header_word!(wake)), futex, left.min(self.due_in()), is_for_us);
                nap = FIRST_NAP;
            }
            // In a signal handler the process may have forked, and returned in the child.
            self.guard.check()?;
            slept = true;
            self.tell_left_out_reports()?;
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
        self.own_wakes.sleepers.fetch_sub(1, Ordering::Relaxed);
        self.check_displaced()?;
        let news = is_news();
        // The lock: the seat is another's when the worker has left.
        if slept
            && news
            && let Ok(_writer) = self.writer()
        {
            self.words.add(seat_word!(reading.wakeups), 1);
        }
        Ok(news)
    }

    /// Ends the sleep of this process's threads in `wait`, for something that they do not learn from the segment.
    pub(super) fn wake_own(&self) {
        self.own_wakes.rouse();
    }

    /// Has this process's threads look again that wait for anything: in `wait`, for the end of a poll, at a reserved
    /// id.
    pub(super) fn end_waits(&self) {
        self.wake_own();
        wake::wake_sleepers(self.segment.wake_word(header_word!(wake_reserved)), &SharedFutex);
    }
}
