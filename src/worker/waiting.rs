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

/// The number of looks before the sleep, with a pause of the processor after each: much less than a microsecond. A
/// longer spin would delay a process on the same core, which may be the very poster.
const SPINS: u32 = 3;

/// The first nap while another thread polls; each further one is twice as long. The end of a poll has no fence, so it
/// may miss a thread that is about to sleep. That thread looks again after the nap.
const FIRST_NAP: Duration = Duration::from_millis(1);

/// The reason why [`Worker::wait_interruptible`] returned.
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
#[must_use = "a signal may have left work to do"]
#[non_exhaustive]
pub enum Waited {
    /// There is something to poll.
    News,
    /// The timeout is over, and there is nothing to poll.
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
    /// A [`Waker`](crate::Waker) ends the wait early, from a signal handler or another thread. A signal ends only
    /// [`wait_interruptible`](Worker::wait_interruptible).
    ///
    /// While another thread polls, that thread gets the new events: this call sleeps until the poll is over, then waits
    /// again. Inside a handler it returns `false` at once, because a handler cannot poll.
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
    ///     // ... the work of every second ...
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

    /// [`wait`](Worker::wait) that also ends when a signal handler has run on this thread. Returns the reason why it
    /// ended. It is for runtimes such as Python's and Ruby's, which handle signals between calls:
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
    /// A signal does not end the wait if its handler runs on another thread, or ran just before the sleep began. A
    /// handler that must end the wait in any case calls [`Waker::wake`](crate::Waker::wake). Inside a handler of this
    /// worker, the call returns at once.
    ///
    /// If there are several reasons, this returns the first of: signal, waker, news. The next call returns a waker or
    /// news, but not the signal.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], also in a child that a signal handler has forked; [`ErrorKind::Displaced`];
    /// [`ErrorKind::Left`], also if the worker leaves during the wait.
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

    /// Makes the waiting threads of this process check again, in [`wait`](Worker::wait) and at a reserved id.
    pub(crate) fn end_waits(&self) {
        self.inner.end_waits();
    }
}

impl Inner {
    /// Sleeps on `futex` until there is news or `stop` returns `true`, for at most `timeout`. Returns `true` if there
    /// is news.
    pub(super) fn wait(&self, timeout: Duration, futex: &impl Futex, stop: impl Fn() -> bool) -> Result<bool> {
        self.check_or_retire()?;
        if self.is_in_handler() {
            return Ok(false);
        }
        // While another thread polls, it gets the new events.
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
        // `None` if the clock cannot represent the end: such a wait has no deadline.
        let deadline = began.checked_add(timeout);
        let mut left = timeout;
        let mut slept = false;
        let mut nap = FIRST_NAP;
        self.own_wakes.sleepers.fetch_add(1, Ordering::Relaxed);
        // SeqCst: with the one in `OwnWakes::rouse`.
        fence(Ordering::SeqCst);
        // Checked before each nap: a thread with news does not ask to be woken.
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
        // Under the lock: when the worker has left, the seat may belong to another.
        if slept
            && news
            && let Ok(_writer) = self.writer()
        {
            self.words.add(seat_word!(reading.wakeups), 1);
        }
        Ok(news)
    }

    /// Wakes the threads of this process that sleep in `wait`, for news that are not in the segment.
    pub(super) fn wake_own(&self) {
        self.own_wakes.rouse();
    }

    /// Makes all waiting threads of this process check again: in `wait`, for the end of a poll, and at a reserved id.
    pub(super) fn end_waits(&self) {
        self.wake_own();
        wake::wake_sleepers(self.segment.wake_word(header_word!(wake_reserved)), &SharedFutex);
    }
}
