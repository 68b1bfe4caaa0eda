//! Polling: from the ring and the local queue to the handlers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_utils::Backoff;

use super::{Hot, Inner, Polled};
use crate::claim::Claim;
use crate::error::Result;
use crate::event::wire::{Head, UniqueKey};
use crate::event::{Data, Event, Origin};
use crate::os::futex::SharedFutex;
use crate::os::locks::lock;
use crate::os::sys;
use crate::protocol::claims::{At, Decision, Token};
use crate::protocol::ring::{AtMark, Look};
use crate::protocol::thread_lock::{Lock, Locked};
use crate::protocol::wake;
use crate::protocol::word::Mark;
use crate::seat::claim::Claimer;
use crate::seat::is_of_process;
use crate::seat::read::{Gate, Message, Pending, Reader, Step};
use crate::seat::report::{Report, Trouble};
use crate::seat::tenure::Tenure;
use crate::segment::layout::{header_word, seat_word};
use crate::worker::handlers::{Registry, Routes, dispatch_local};

/// What only the polling thread uses.
pub(super) struct Reading {
    reader: Reader,
    routes: Routes,
    /// The hold on the seat, until the worker has given it up.
    tenure: Option<Tenure>,
}

impl Reading {
    pub(super) fn new(reader: Reader, tenure: Tenure) -> Reading {
        Reading { reader, routes: Routes::new(), tenure: Some(tenure) }
    }

    /// Gives the seat back.
    pub(super) fn end_tenure(&mut self) {
        self.tenure = None;
    }

    /// Forgets the routes found so far. They are to be dropped where users' code may run.
    #[must_use = "a route may own a handler, which may do anything when it is dropped"]
    pub(super) fn take_routes(&mut self) -> Routes {
        std::mem::replace(&mut self.routes, Routes::new())
    }
}

/// Counts of one poll.
#[derive(Default)]
struct Tally {
    delivered: u64,
    missed: u64,
    failed: u64,
    /// Whether anything was read at all, be it for us or not.
    read: bool,
    /// The reserved id that reading stopped at.
    reserved: Option<Pending>,
}

/// In `Hot::reserved_since`: the id is the worker's own, which it waits for without an end.
pub(super) const OWN: u64 = u64::MAX;

/// How long a poll waits at reserved ids.
#[derive(Clone, Copy)]
pub(super) enum Wait<'a> {
    /// Not at all.
    Never,
    /// For `wait_max`, all waits of the poll together.
    Bounded,
    /// The same, until it is set.
    BoundedUntil(&'a AtomicBool),
}

impl Wait<'_> {
    fn is_stopped(self) -> bool {
        match self {
            Wait::Never | Wait::Bounded => false,
            // Acquire: as elsewhere for the word, which is not ours.
            Wait::BoundedUntil(stop) => stop.load(Ordering::Acquire),
        }
    }
}

/// What a poll has left of its `wait_max`.
struct Patience<'a> {
    wait: Wait<'a>,
    left_ns: u64,
    /// Since when it waits, if it does.
    waits_since: Option<u64>,
}

impl Patience<'_> {
    fn of(wait: Wait<'_>, wait_max_ns: u64) -> Patience<'_> {
        let left_ns = if matches!(wait, Wait::Never) { 0 } else { wait_max_ns };
        Patience { wait, left_ns, waits_since: None }
    }

    /// How long it may wait from `now` on.
    fn waits(&mut self, now: u64) -> u64 {
        let since = *self.waits_since.get_or_insert(now);
        self.left_ns.saturating_sub(now.saturating_sub(since))
    }

    /// Says that it does not wait any more.
    #[inline]
    fn goes_on(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.left_ns = self.left_ns.saturating_sub(sys::boottime_ns().saturating_sub(since));
        }
    }
}

/// One delivery: says "somebody polls" while it lives, and stores what came of it when it ends, also if it ends in a
/// panic.
pub(super) struct Delivery<'a> {
    inner: &'a Inner,
    reading: Locked<'a, Reading>,
    tally: Tally,
    /// When it began, as the worker's coarse clock says.
    began: u64,
    /// Dropped last, after the lock.
    _end: PollEnd<'a>,
}

/// Wakes the threads that wait for the end of a poll, when it is dropped.
struct PollEnd<'a>(&'a Inner);

impl Drop for PollEnd<'_> {
    #[inline]
    fn drop(&mut self) {
        // No fence, which every poll would pay for: a thread that was about to sleep meanwhile looks again soon (`wait`).
        wake::notify(&self.0.bell.poll_ended, &SharedFutex);
    }
}

impl<'a> Delivery<'a> {
    /// `None` if another goes on, or the worker has given its seat up.
    #[inline]
    pub(super) fn begin(inner: &'a Inner, began: u64) -> Option<Delivery<'a>> {
        let reading = inner.reading.try_lock()?;
        // Relaxed: cleared under the lock.
        if !inner.seated.load(Ordering::Relaxed) {
            return None;
        }
        // Relaxed: the lock decides; this says so to those who find nothing new and do not try it.
        inner.hot.polling.store(sys::this_thread(), Ordering::Relaxed);
        inner.hot.mark.store(Mark::NONE.bits(), Ordering::Relaxed);
        Some(Delivery { inner, reading, tally: Tally::default(), began, _end: PollEnd(inner) })
    }
}

impl Drop for Delivery<'_> {
    #[inline]
    fn drop(&mut self) {
        let Delivery { inner, reading, tally, began, .. } = self;
        let reader = &reading.reader;
        let hot = &*inner.hot;
        if inner.guard.is_forked() || hot.incarnation.is_over() {
            // A child that a handler forked and that returned from it, or a worker that was displaced meanwhile: what follows
            // is for the holder of the seat to store.
            hot.polling.store(0, Ordering::Relaxed);
            return;
        }
        // Stored after each step, too. Release: with the cells that were seen, for the writing half.
        hot.next.store(reader.next(), Ordering::Release);
        let mark = match tally.reserved {
            Some(Pending { id, since_ns }) => {
                hot.reserved_since.store(since_ns.unwrap_or(OWN), Ordering::Relaxed);
                inner.ring.mark_reserved(id)
            }
            None if reader.has_ahead() => Mark::NONE,
            None => inner.ring.mark_empty(reader.next()),
        };
        // Release: with the time that belongs to it.
        hot.mark.store(mark.bits(), Ordering::Release);
        let seat = reader.seat();
        seat.add(seat_word!(reading.delivered), tally.delivered);
        let mut failed = tally.failed;
        if inner.reporters_failed.load(Ordering::Relaxed) > 0 {
            failed += inner.reporters_failed.swap(0, Ordering::Relaxed);
        }
        seat.add(seat_word!(reading.failed), failed);
        if tally.read {
            seat.set(seat_word!(reading.last_poll), *began);
        }
        // Release: with the mark. Before the lock is given back: who takes it next stores its own number at once.
        hot.polling.store(0, Ordering::Release);
    }
}

impl Inner {
    /// Whether a poll would find something.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        // Acquire: with the local event that was counted.
        if self.hot.local.load(Ordering::Acquire) > 0 {
            return true;
        }
        // Acquire: with the time that belongs to it, or a later one.
        match self.ring.at_mark(Mark::from_bits(self.hot.mark.load(Ordering::Acquire))) {
            AtMark::Empty => false,
            AtMark::Reserved => self.due_in().is_zero(),
            AtMark::News => true,
        }
    }

    /// How long the reserved id that the last poll stopped at is still waited for, if it stopped at one.
    pub(super) fn due_in(&self) -> Duration {
        // Acquire: as in `has_news`.
        let mark = Mark::from_bits(self.hot.mark.load(Ordering::Acquire));
        let since = self.hot.reserved_since.load(Ordering::Relaxed);
        if !mark.is_reserved() || since == OWN {
            return Duration::MAX;
        }
        self.left_of_wait_max(since, sys::boottime_ns())
    }

    /// How much of `wait_max` is left for an id that was met at `since`.
    fn left_of_wait_max(&self, since: u64, now: u64) -> Duration {
        let waited = now.saturating_sub(since);
        Duration::from_nanos(self.tuning.wait_max.load(Ordering::Relaxed).saturating_sub(waited))
    }

    /// Whether a thread polls, this one included.
    #[inline]
    pub(super) fn is_polled(&self) -> bool {
        // Acquire: who sees the end of a poll sees the mark that it left.
        self.hot.polling.load(Ordering::Acquire) != 0
    }

    /// Whether a handler of this worker runs on this thread.
    pub(super) fn is_in_handler(&self) -> bool {
        // Relaxed: only this thread stores its own number.
        self.hot.polling.load(Ordering::Relaxed) == sys::this_thread()
    }

    /// What a poll answers that did not get its turn.
    fn refusal(&self) -> Polled {
        if self.is_in_handler() { Polled::Recursive } else { Polled::Busy }
    }

    /// Whether a poll would find nothing and say so. All it costs is a few loads, so that it is for the many polls of
    /// which this is all.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        let Hot { mark, local, incarnation, .. } = &*self.hot;
        !self.guard.is_forked()
            && !self.left.load(Ordering::Relaxed)
            && !incarnation.is_over()
            // Acquire: with the local event that was counted.
            && local.load(Ordering::Acquire) == 0
            // Relaxed: a mark of an earlier poll is one of an id that is taken by now.
            && self.ring.is_empty_by(Mark::from_bits(mark.load(Ordering::Relaxed)))
    }

    #[inline(never)]
    pub(super) fn poll(&self, most: u64, wait: Wait<'_>) -> Result<Polled> {
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
    pub(super) fn deliver_claimed(&self) -> Result<()> {
        // If it is held, one of our handlers leaves; the poll that runs it comes to them.
        let Some(delivery) = Delivery::begin(self, self.clock.coarse_ns()) else { return Ok(()) };
        self.deliver_claimed_by(delivery)
    }

    /// The same, for one that has the right to.
    pub(super) fn deliver_claimed_by(&self, mut delivery: Delivery<'_>) -> Result<()> {
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
    fn report_here(&self, report: &Report<'_>) -> Result<()> {
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

struct WorkerGate<'a> {
    inner: &'a Inner,
    registry: &'a Registry,
    routes: &'a mut Routes,
    claimer: &'a Lock<Claimer>,
}

impl Gate for WorkerGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        self.routes.find(self.registry, head, prefix).is_some_and(|route| route.is_wanted())
    }

    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>> {
        let decision = self.claimer.lock().claim(unique.key, unique.ttl_ns, Some(at))?;
        let trouble = match decision {
            Decision::Won(token) => return Ok(Some(token)),
            Decision::Held { .. } | Decision::Decided => return Ok(None),
            Decision::Full => Trouble::ClaimsFull,
            Decision::Late => Trouble::ClaimLate,
        };
        // Before the reader goes on to store what it has read.
        self.inner.report_here(&Report { source: "", event: "", id: Some(at.place - 1), trouble })?;
        Ok(None)
    }
}
