//! Polling: from the ring and the local queue to the handlers.

pub(super) mod delivery;
mod gate;
mod idle;
mod patience;
pub(crate) mod polled;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_utils::Backoff;

use self::delivery::{Delivery, Reading, Tally};
use self::gate::WorkerGate;
use self::patience::{Patience, Wait};
use self::polled::Polled;
use super::handle::Worker;
use super::handlers::{Routes, dispatch_local};
use super::inner::Inner;
use crate::claim::Claim;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::{Data, Event, Origin};
use crate::os::futex::SharedFutex;
use crate::os::locks::lock;
use crate::os::sys;
use crate::protocol::ring::Look;
use crate::protocol::wake;
use crate::seat::is_of_process;
use crate::seat::read::{Message, Pending, Reader, Step};
use crate::seat::report::{Report, Trouble};
use crate::segment::layout::{header_word, seat_word};

impl Worker {
    /// Hands everything there is to the handlers: local events first, then the segment's, until nothing is new; what
    /// handlers post is delivered in the same poll, after what was there already. With nothing new it costs a few loads
    /// of lines that stay in this processor's cache, and no system call.
    ///
    /// Where others post without a pause it goes on without one; [`poll_at_most`](Worker::poll_at_most) bounds the
    /// events that it delivers.
    ///
    /// At an id that is reserved it waits until the payload is there. All such waiting of one poll together is bounded
    /// by `wait_max`, however many ids are reserved one after the other; then it returns [`Polled::Reserved`], and a
    /// later poll goes on. It never waits for an id of this worker's own. [`poll_now`](Worker::poll_now) does not wait
    /// at all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`]. What was delivered before stays delivered.
    #[inline]
    pub fn poll(&self) -> Result<Polled> {
        self.poll_at_most(u64::MAX)
    }

    /// [`poll`](Worker::poll) that stops after `events` were delivered.
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    #[inline]
    pub fn poll_at_most(&self, events: u64) -> Result<Polled> {
        let inner = &*self.inner;
        if inner.is_idle() {
            return Ok(Polled::Done { delivered: 0, missed: 0 });
        }
        inner.poll(events, Wait::Bounded)
    }

    /// [`poll`](Worker::poll) that never sleeps: at an id that is reserved it returns [`Polled::Reserved`]. For event
    /// loops, which have other things to do meanwhile.
    ///
    /// [`wait`](Worker::wait) then sleeps until the id is decided, or until it is due to be given up. A loop with its
    /// own sleep polls again when it is woken, and after `left` at the latest:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seqcast::Polled;
    /// # let name = format!("doc-poll-now-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
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
        let inner = &*self.inner;
        if inner.is_idle() {
            return Ok(Polled::Done { delivered: 0, missed: 0 });
        }
        inner.poll(u64::MAX, Wait::Never)
    }

    /// [`poll`](Worker::poll) that ends early when `stop` is set and [`end_waits`](Worker::end_waits) was called.
    pub(crate) fn poll_until(&self, stop: &AtomicBool) -> Result<Polled> {
        self.inner.poll(u64::MAX, Wait::BoundedUntil(stop))
    }
}

impl Inner {
    #[inline(never)]
    pub(crate) fn poll(&self, most: u64, wait: Wait<'_>) -> Result<Polled> {
        self.check_or_retire()?;
        if self.is_polled() {
            return Ok(self.refusal());
        }
        // What takes its time meanwhile: the lines of the first event are on their way.
        self.ring.prefetch_event(self.hot.next.load(Ordering::Relaxed));
        let now = self.clock.coarse_ns();
        let Some(mut delivery) = Delivery::begin(self, now) else {
            self.check()?;
            return Ok(self.refusal());
        };
        let Delivery { reading, tally, .. } = &mut delivery;
        let wait_max = self.tuning.wait_max.load(Ordering::Relaxed);
        reading.reader.set_wait_max(wait_max);
        let result = self.deliver_all(reading, tally, most, &mut Patience::of(wait, wait_max));
        // A child that a handler forked and that returned from it ends here: what follows is the parent's to store.
        self.guard.check()?;
        // Nor may one whose handlers took their time store to a seat that another has by now.
        self.check_displaced()?;
        self.note_handled(&reading.reader);
        let Tally { delivered, missed, reserved, .. } = delivery.tally;
        drop(delivery);
        self.tell_left_out_reports()?;
        if self.has_left() {
            // By a handler, or by another thread, which could not do it while we were at it.
            self.retire()?;
        }
        result?;
        Ok(match reserved {
            Some(Pending { id, since_ns }) => {
                let left = since_ns.map(|since| self.left_of_wait_max(since, sys::boottime_ns()));
                Polled::Reserved { id, left, delivered, missed }
            }
            None => Polled::Done { delivered, missed },
        })
    }

    /// Hands over the unique events that were claimed and are not run yet, as nobody else will ever run them. For a
    /// worker that leaves.
    pub(crate) fn deliver_claimed(&self) -> Result<()> {
        // If it is held, one of our handlers leaves; the poll that runs it comes to them.
        let Some(delivery) = Delivery::begin(self, self.clock.coarse_ns()) else { return Ok(()) };
        self.deliver_claimed_by(delivery)
    }

    /// The same, for one that has the right to.
    pub(crate) fn deliver_claimed_by(&self, mut delivery: Delivery<'_>) -> Result<()> {
        let Delivery { reading, tally, .. } = &mut delivery;
        let Reading { reader, routes, .. } = &mut **reading;
        for message in reader.take_claimed() {
            self.deliver(&message, routes, tally)?;
        }
        self.drop_stale(routes)
    }

    fn deliver_all(
        &self,
        reading: &mut Reading,
        tally: &mut Tally,
        most: u64,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
        loop {
            self.deliver_local(tally, most)?;
            self.deliver_posted(reading, tally, most, patience)?;
            self.drop_stale(&mut reading.routes)?;
            let local_left = self.hot.local.load(Ordering::Acquire) > 0;
            if tally.delivered >= most || !local_left || self.has_left() || patience.wait.is_stopped() {
                return Ok(());
            }
        }
    }

    /// Drops routes that are out of date, and with them handlers that were unregistered.
    fn drop_stale(&self, routes: &mut Routes) -> Result<()> {
        // Like every other call of users' code it may fork and return in the child.
        if routes.drop_stale() {
            self.guard.check()?;
        }
        Ok(())
    }

    /// Reports from within a poll.
    pub(super) fn report_here(&self, report: &Report<'_>) -> Result<()> {
        self.report(report);
        Ok(self.guard.check()?)
    }

    fn deliver_local(&self, tally: &mut Tally, most: u64) -> Result<()> {
        while tally.delivered < most && self.hot.local.load(Ordering::Acquire) > 0 && !self.has_left() {
            let mut local = lock(&self.local);
            let Some(event) = local.pop_front() else { return Ok(()) };
            self.hot.local.store(local.len(), Ordering::Release);
            drop(local);
            tally.delivered += 1;
            let report = |report: &Report<'_>| self.report_here(report);
            tally.failed += dispatch_local(&self.registry, event, &self.guard, &report)?.failed;
        }
        Ok(())
    }

    /// Delivers what was posted, until nothing is left; or, if there are local events again, what was there when they
    /// came.
    fn deliver_posted(
        &self,
        reading: &mut Reading,
        tally: &mut Tally,
        most: u64,
        patience: &mut Patience<'_>,
    ) -> Result<()> {
        let Reading { reader, routes, .. } = reading;
        let backoff = Backoff::new();
        // The event id is looked at only if need be: its line is the posters'.
        let mut end = None;
        while tally.delivered < most && !self.has_left() && !patience.wait.is_stopped() {
            self.drop_stale(routes)?;
            if end.is_none() && self.hot.local.load(Ordering::Acquire) > 0 {
                end = Some(self.ring.newest().min(self.hot.first_own_post.load(Ordering::Relaxed)));
            }
            if end.is_some_and(|end| reader.next() >= end) && !reader.has_ahead() {
                return Ok(());
            }
            // After each event, as its handler may have taken its time.
            self.check_displaced()?;
            self.note_handled(reader);
            let mut gate =
                WorkerGate { inner: self, routes: &mut *routes, registry: &self.registry, claimer: &self.claimer };
            let step = reader.read(&mut gate);
            // Also after an error. Release: with the cells that were seen, for the writing half.
            self.hot.next.store(reader.next(), Ordering::Release);
            let step = step?;
            tally.read = true;
            if let Step::Pending(pending) = step {
                tally.reserved = Some(pending);
                if !self.wait_at(pending, patience, &backoff) {
                    return Ok(());
                }
                // While it slept a signal handler may have forked, and returned in the child.
                self.guard.check()?;
                continue;
            }
            tally.reserved = None;
            patience.goes_on();
            match step {
                Step::Event => {
                    if end.is_none() {
                        self.hot.first_own_post.store(u64::MAX, Ordering::Relaxed);
                    }
                    self.deliver(reader.current(), routes, tally)?;
                    if reader.is_at_end() {
                        return Ok(());
                    }
                }
                Step::Lagged { first, missed } => {
                    tally.missed += missed;
                    let trouble = Trouble::Lagged { missed };
                    self.report_here(&Report { source: "", event: "", id: Some(first), trouble })?;
                }
                Step::Unreadable { id } => {
                    self.report_here(&Report { source: "", event: "", id: Some(id), trouble: Trouble::Unreadable })?;
                }
                Step::Empty | Step::Pending(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits a little at a reserved id. `false` if this poll is not to wait for it any more.
    fn wait_at(&self, pending: Pending, patience: &mut Patience<'_>, backoff: &Backoff) -> bool {
        let Some(since) = pending.since_ns else { return false };
        let now = sys::boottime_ns();
        let due_in = self.left_of_wait_max(since, now);
        if due_in.is_zero() {
            // The next step gives it up.
            return true;
        }
        let may_wait = patience.waits(now);
        let is_over = || patience.wait.is_stopped() || self.has_left();
        if may_wait == 0 || is_over() {
            return false;
        }
        if backoff.is_completed() {
            let settled = || is_over() || !matches!(self.ring.look(pending.id), Ok(Look::Reserved(_)));
            let wait_interval = self.tuning.wait_interval.load(Ordering::Relaxed);
            let nap = Duration::from_nanos(wait_interval.min(may_wait)).min(due_in);
            wake::nap(self.segment.wake_word(header_word!(wake_reserved)), &SharedFutex, nap, settled);
        } else {
            backoff.snooze();
        }
        true
    }

    /// Says how far all is handled. Not while an event is.
    #[inline]
    fn note_handled(&self, reader: &Reader) {
        // Release: with what the handlers did.
        self.hot.unhandled.store(reader.cursor(), Ordering::Release);
    }

    fn deliver(&self, message: &Message, routes: &mut Routes, tally: &mut Tally) -> Result<()> {
        let head = &message.head;
        let Some(route) = routes.find(&self.registry, head, &message.bytes) else { return Ok(()) };
        let claim = message.claim();
        let (id, pid, seat) = (message.id, head.pid, head.seat);
        let origin =
            Origin::Posted { id, pid, seat, own: is_of_process(&self.seats, head, self.pid, self.seat), claim };
        let data = Data::Bytes { type_tag: head.type_tag, bytes: message.payload() };
        let event = Event { source: route.source(), event: route.event(), origin, data };
        let dispatched = route.dispatch(&event, &self.guard, &|report| self.report_here(report))?;
        if dispatched.called == 0 {
            return self.not_handled(&event, claim);
        }
        tally.delivered += 1;
        tally.failed += dispatched.failed;
        Ok(())
    }

    /// Says of an event that was copied out for handlers which are gone by now what became of it.
    #[cold]
    fn not_handled(&self, event: &Event<'_>, claim: Option<Claim>) -> Result<()> {
        let Some(claim) = claim else {
            self.words.add(seat_word!(reading.skipped), 1);
            return Ok(());
        };
        // The event stays decided, so that nobody runs it; but the next one with its key need not wait for the ttl. If
        // the segment is corrupt, the next call says so.
        let _ = self.claimer.lock().release(claim.key, claim.token);
        self.words.add(seat_word!(reading.orphaned), 1);
        self.report_here(&Report {
            source: event.source(),
            event: event.event(),
            id: event.id(),
            trouble: Trouble::Orphaned,
        })
    }
}
