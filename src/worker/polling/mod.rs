//! Polling: delivers events to the handlers.

mod deliver;
mod gate;
mod idle;
pub(crate) mod patience;
pub(crate) mod polled;
mod request;
pub(super) mod turn;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicBool;

use self::patience::Wait;
use self::polled::Polled;
use super::handle::Worker;
use super::handlers::handler::Outcome;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::Event;

impl Worker {
    /// Delivers events to the handlers until nothing is new: local events first, then those of the segment. Events that
    /// handlers post are delivered in the same poll, after those that were there before.
    ///
    /// When it returns, the handlers have run: later answers of the process take these events into account.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.on(("cache", "stale"), |event| println!("{event:?}"))?;
    /// worker.post(("cache", "stale"), "user:42")?;
    /// let polled = worker.poll()?;
    /// assert_eq!((polled.delivered(), polled.missed()), (1, 0));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// A poll with nothing new costs a few loads of lines that stay in this processor's cache, and no system call.
    /// While other workers post without a pause, a poll does not end; [`poll_at_most`](Worker::poll_at_most) does.
    ///
    /// At a reserved id it waits for the payload. All waits of one poll together last at most `wait_max`. Then the poll
    /// returns [`Polled::Reserved`], and a later poll continues. It never waits at an id that this worker has reserved.
    /// [`poll_now`](Worker::poll_now) never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`]. Events that were delivered before the error are not delivered again.
    #[inline]
    pub fn poll(&self) -> Result<Polled> {
        self.poll_at_most(u64::MAX)
    }

    /// [`poll`](Worker::poll) that ends after it has delivered `events`.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.on(("job", "done"), |event| println!("{event:?}"))?;
    /// for job in 0..3 {
    ///     worker.post(("job", "done"), job.to_string())?;
    /// }
    /// assert_eq!(worker.poll_at_most(2)?.delivered(), 2);
    /// assert_eq!(worker.poll_at_most(2)?.delivered(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    #[inline]
    pub fn poll_at_most(&self, events: u64) -> Result<Polled> {
        self.inner.poll_unless_idle(events, Wait::Bounded, None)
    }

    /// [`poll`](Worker::poll) that never sleeps, for event loops: at a reserved id it returns [`Polled::Reserved`].
    ///
    /// [`wait`](Worker::wait) then sleeps until the id is decided or due to be given up. A loop with its own sleep
    /// polls again when it is woken, and after `left` at the latest. A [`Bell`](crate::Bell) is a descriptor that wakes
    /// such a loop.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seqcast::Polled;
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # let other = bus.join()?;
    /// # worker.poll()?;
    /// let mut reservation = other.reserve()?;
    /// let sleep_at_most = match worker.poll_now()? {
    ///     Polled::Reserved { left: Some(left), .. } => left,
    ///     _ => Duration::from_secs(1),
    /// };
    /// assert!(sleep_at_most <= Duration::from_millis(500), "longer than `wait_max`");
    /// reservation.commit(("s", "e"), b"")?;
    /// assert!(matches!(worker.poll_now()?, Polled::Done { .. }));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    #[inline]
    pub fn poll_now(&self) -> Result<Polled> {
        self.inner.poll_unless_idle(u64::MAX, Wait::Never, None)
    }

    /// [`poll`](Worker::poll) that calls `visit` with every event, for one thread that owns its state. `visit` may
    /// borrow that state and change it. It is not registered, and is used for this call only.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::collections::HashMap;
    ///
    /// let worker = bus.join()?;
    /// let mut cache = HashMap::from([("user:42".to_owned(), "Ada")]);
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.poll_with(|event| {
    ///     if event.source() == "cache" {
    ///         cache.remove(&*String::from_utf8_lossy(event.bytes()));
    ///     }
    /// })?;
    /// assert!(cache.is_empty());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// - **Handlers.** `visit` gets every event, including local ones, after the handlers that are registered for the
    ///   event. So no event is skipped, and this worker claims all unique events. A [`Subscriber`](crate::Subscriber)
    ///   has a filter.
    /// - **Reserved ids.** It waits at them as `poll` does. While it waits, it reads ahead and claims unique events for
    ///   `visit`. So use either `poll_with` or the other polls on one worker: if a later `poll` finds no handler for an
    ///   event that was claimed for `visit`, the event is reported as [`Trouble::Orphaned`](crate::Trouble::Orphaned).
    /// - **Missed events.** They are reported, and counted in the result. `visit` does not learn where they were.
    /// - **Errors.** `visit` may return what a handler may return. Its errors are reported, and the next event follows.
    /// - **Panics.** A panic in `visit` is not reported. It goes on to the caller, because `visit` may have left the
    ///   caller's state half changed. The event counts as delivered and failed. The next poll continues after it.
    /// - **Inside `visit`.** It may use the worker. As in a handler, a poll returns [`Polled::Recursive`].
    ///
    /// If another thread polls, this returns [`Polled::Busy`] and does not call `visit`.
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    ///
    /// # Panics
    ///
    /// If `visit` does.
    pub fn poll_with<F, R>(&self, visit: F) -> Result<Polled>
    where
        F: FnMut(&Event<'_>) -> R,
        R: Outcome,
    {
        self.poll_visiting(Wait::Bounded, visit)
    }

    /// [`poll_with`](Worker::poll_with) with a bound for its waits at reserved ids.
    pub(super) fn poll_visiting<F, R>(&self, wait: Wait<'_>, mut visit: F) -> Result<Polled>
    where
        F: FnMut(&Event<'_>) -> R,
        R: Outcome,
    {
        let mut panicked = None;
        // The panic is resumed after the end of the poll. Until then `visit` is not called again.
        let mut visitor = |event: &Event<'_>| match catch_unwind(AssertUnwindSafe(|| visit(event).into_result())) {
            Ok(returned) => ControlFlow::Continue(returned),
            Err(payload) => {
                panicked = Some(payload);
                ControlFlow::Break(())
            }
        };
        let polled = self.inner.poll_unless_idle(u64::MAX, wait, Some(&mut visitor));
        match panicked {
            Some(payload) => resume_unwind(payload),
            None => polled,
        }
    }

    /// [`poll`](Worker::poll) that ends early when `stop` is set and [`end_waits`](Worker::end_waits) was called.
    pub(crate) fn poll_until(&self, stop: &AtomicBool) -> Result<Polled> {
        self.inner.poll(u64::MAX, Wait::BoundedUntil(stop), None)
    }
}
