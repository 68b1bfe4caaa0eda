//! From the ring and the local queue to the handlers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::Backoff;

use super::delivery::{Delivery, Reading, Tally};
use super::gate::WorkerGate;
use super::patience::{Patience, Wait};
use super::polled::Polled;
use super::request::Request;
use crate::claim::Claim;
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
use crate::worker::handlers::{Routes, Visitor, dispatch_local};
use crate::worker::inner::Inner;

impl Inner {
    #[inline]
    pub(crate) fn poll_unless_idle(
        &self,
        most: u64,
        wait: Wait<'_>,
        visitor: Option<&mut Visitor<'_>>,
    ) -> Result<Polled> {
        if self.is_idle() {
            return Ok(Polled::Done { delivered: 0, missed: 0 });
        }
        self.poll(most, wait, visitor)
    }

    #[inline(never)]
    pub(crate) fn poll(&self, most: u64, wait: Wait<'_>, visitor: Option<&mut Visitor<'_>>) -> Result<Polled> {
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
        let mut request = Request { most, patience: Patience::of(wait, wait_max), visitor };
        let result = self.deliver_all(reading, tally, &mut request);
        // A child that a handler forked and that returned from it ends here: what follows is the parent's to store.
        self.guard.check()?;
        // Nor may one whose handlers took their time store to a seat that another has by now.
        self.check_displaced()?;
        self.note_handled(&reading.reader);
        if request.visitor.is_some() && self.has_left() {
            // What was claimed for the visitor. `retire` below has none.
            self.deliver_claimed_to(reading, tally, request.visitor.take())?;
        }
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

    /// Delivers the unique events that were claimed and have not run, since no other worker will run them. For a worker
    /// that leaves.
    pub(crate) fn deliver_claimed(&self) -> Result<()> {
        // If it is held, one of our handlers leaves; the poll that runs it comes to them.
        let Some(delivery) = Delivery::begin(self, self.clock.coarse_ns()) else { return Ok(()) };
        self.deliver_claimed_by(delivery)
    }

    /// The same, for one that has the right to.
    pub(crate) fn deliver_claimed_by(&self, mut delivery: Delivery<'_>) -> Result<()> {
        let Delivery { reading, tally, .. } = &mut delivery;
        self.deliver_claimed_to(reading, tally, None)
    }

    fn deliver_claimed_to(
        &self,
        reading: &mut Reading,
        tally: &mut Tally,
        mut visitor: Option<&mut Visitor<'_>>,
    ) -> Result<()> {
        let Reading { reader, routes, .. } = reading;
        for message in reader.take_claimed() {
            if self.deliver(&message, routes, tally, visitor.as_deref_mut())? {
                visitor = None;
            }
        }
        self.drop_stale(routes)
    }

    fn deliver_all(&self, reading: &mut Reading, tally: &mut Tally, request: &mut Request<'_, '_>) -> Result<()> {
        loop {
            self.deliver_local(tally, request)?;
            self.deliver_posted(reading, tally, request)?;
            self.drop_stale(&mut reading.routes)?;
            let local_left = self.hot.local.load(Ordering::Acquire) > 0;
            if !local_left || self.is_over(tally, request) {
                return Ok(());
            }
        }
    }

    /// Returns `true` if the poll is to deliver nothing more.
    #[inline]
    fn is_over(&self, tally: &Tally, request: &Request<'_, '_>) -> bool {
        tally.delivered >= request.most || self.has_left() || request.patience.wait.is_stopped()
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

    fn deliver_local(&self, tally: &mut Tally, request: &mut Request<'_, '_>) -> Result<()> {
        while tally.delivered < request.most && self.hot.local.load(Ordering::Acquire) > 0 && !self.has_left() {
            let mut local = lock(&self.local);
            let Some(event) = local.pop_front() else { return Ok(()) };
            self.hot.local.store(local.len(), Ordering::Release);
            drop(local);
            tally.delivered += 1;
            let report = |report: &Report<'_>| self.report_here(report);
            let visitor = request.visitor.as_deref_mut();
            let dispatched = dispatch_local(&self.registry, visitor, event, &self.guard, &report)?;
            tally.failed += dispatched.failed;
            if dispatched.stopped {
                request.stop();
            }
        }
        Ok(())
    }

    /// Delivers what was posted, until nothing is left; or, if there are local events again, what was there when they
    /// came.
    fn deliver_posted(&self, reading: &mut Reading, tally: &mut Tally, request: &mut Request<'_, '_>) -> Result<()> {
        let Reading { reader, routes, .. } = reading;
        let backoff = Backoff::new();
        // The event id is looked at only if need be: its line is the posters'.
        let mut end = None;
        while !self.is_over(tally, request) {
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
            let mut gate = WorkerGate {
                inner: self,
                routes: &mut *routes,
                registry: &self.registry,
                claimer: &self.claimer,
                wants_all: request.visitor.is_some(),
            };
            let step = reader.read(&mut gate);
            // Also after an error. Release: with the cells that were seen, for the writing half.
            self.hot.next.store(reader.next(), Ordering::Release);
            let step = step?;
            tally.read = true;
            if let Step::Pending(pending) = step {
                tally.reserved = Some(pending);
                if !self.wait_at(pending, &mut request.patience, &backoff) {
                    return Ok(());
                }
                // While it slept a signal handler may have forked, and returned in the child.
                self.guard.check()?;
                continue;
            }
            tally.reserved = None;
            request.patience.goes_on();
            match step {
                Step::Event => {
                    if end.is_none() {
                        self.hot.first_own_post.store(u64::MAX, Ordering::Relaxed);
                    }
                    if self.deliver(reader.current(), routes, tally, request.visitor.as_deref_mut())? {
                        request.stop();
                    }
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

    /// Calls the handlers of a message, then `visitor`. Returns `true` if the visitor panicked.
    fn deliver(
        &self,
        message: &Message,
        routes: &mut Routes,
        tally: &mut Tally,
        visitor: Option<&mut Visitor<'_>>,
    ) -> Result<bool> {
        let head = &message.head;
        let Some(route) = routes.find(&self.registry, head, &message.bytes) else { return Ok(false) };
        let claim = message.claim();
        let (id, pid, seat) = (message.id, head.pid, head.seat);
        let origin =
            Origin::Posted { id, pid, seat, own: is_of_process(&self.seats, head, self.pid, self.seat), claim };
        let data = Data::posted(&self.segment, head.type_tag, message.payload());
        let event = Event { source: route.source(), event: route.event(), origin, data };
        let dispatched = route.dispatch(visitor, &event, &self.guard, &|report| self.report_here(report))?;
        if dispatched.called == 0 {
            self.not_handled(&event, claim)?;
            return Ok(false);
        }
        tally.delivered += 1;
        tally.failed += dispatched.failed;
        Ok(dispatched.stopped)
    }

    /// Says of an event that was copied out for handlers which are gone by now what became of it.
    #[cold]
    fn not_handled(&self, event: &Event<'_>, claim: Option<Claim>) -> Result<()> {
        let Some(claim) = claim else {
            self.words.add(seat_word!(reading.skipped), 1);
            return Ok(());
        };
        // The event stays decided, so that no worker runs it, but the next one with its key need not wait for the ttl.
        // If the segment is corrupt, the next call says so.
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
