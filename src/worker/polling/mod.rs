//! Polling: what hands events to the handlers.

mod deliver;
pub(super) mod delivery;
mod gate;
mod idle;
pub(crate) mod patience;
pub(crate) mod polled;
mod request;

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
    /// Delivers everything there is to the handlers until nothing is new: local events first, then those of the
    /// segment. What handlers post is delivered in the same poll, after what was there already.
    ///
    /// When it returns, the handlers have run. An answer that is computed after it is as new as the events are.
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
    /// With nothing new it costs a few loads of lines that stay in this processor's cache, and no system call. If other
    /// workers post without a pause, it does not end; [`poll_at_most`](Worker::poll_at_most) does.
    ///
    /// At a reserved id it waits for the payload. All waits of one poll together last `wait_max` at most; then it
    /// returns [`Polled::Reserved`], and a later poll goes on. It never waits for an id that this worker has reserved.
    /// [`poll_now`](Worker::poll_now) never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`]. What was delivered before stays delivered.
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

    /// [`poll`](Worker::poll) that never sleeps: at a reserved id it returns [`Polled::Reserved`]. It is for event
    /// loops, which have other things to do meanwhile.
    ///
    /// [`wait`](Worker::wait) then sleeps until the id is decided or due to be given up. A loop with its own sleep
    /// polls again when it is woken, and after `left` at the latest. A [`Bell`](crate::Bell) is a descriptor that wakes
    /// it.
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

    /// [`poll`](Worker::poll) that calls `visit` with every event, for one thread that keeps its state to itself.
    /// `visit` may borrow that state and change it. It is registered nowhere and ends with the call.
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
    /// - **Handlers.** `visit` gets every event, local ones too, each after the handlers that are registered for it. So
    ///   none is skipped, and this worker takes part in all unique events. A [`Subscriber`](crate::Subscriber) has a
    ///   filter.
    /// - **Reserved ids.** It waits at them as `poll` does. While it waits it reads ahead, and claims unique events,
    ///   for `visit`. So use either `poll_with` or the other polls on one worker: an event that was claimed for `visit`
    ///   and that a later `poll` finds without a handler is reported as
    ///   [`Trouble::Orphaned`](crate::Trouble::Orphaned).
    /// - **Missed events.** They are reported, and counted in what this returns. `visit` is not told where they were.
    /// - **Errors.** What `visit` may return, and what becomes of its errors, is as for a handler: they are reported,
    ///   and the next event follows.
    /// - **Panics.** A panic in `visit` is not reported, and goes on to the caller, who owns the state that it may have
    ///   left half changed. The event counts as delivered and failed. The next poll goes on after it.
    /// - **Inside `visit`.** It may use the worker. A poll there returns [`Polled::Recursive`] and calls nothing, as in
    ///   a handler.
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

    /// [`poll_with`](Worker::poll_with) that waits at reserved ids as `wait` says.
    pub(super) fn poll_visiting<F, R>(&self, wait: Wait<'_>, mut visit: F) -> Result<Polled>
    where
        F: FnMut(&Event<'_>) -> R,
        R: Outcome,
    {
        let mut panicked = None;
        // The poll ends in order before the panic goes on. Until then `visit` is not called again.
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
