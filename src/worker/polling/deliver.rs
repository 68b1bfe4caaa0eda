//! Delivers events of the ring and of the local queue to the handlers.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::Backoff;

use super::gate::{Routed, WorkerGate};
use super::patience::{Patience, Wait};
use super::polled::Polled;
use super::request::PollRequest;
use super::turn::{PollState, Tally, Turn};
use crate::error::Result;
use crate::event::{Buffer, Content, Event, Home, LocalData, LocalEvent, Missed, Topic, library};
use crate::os::futex::SharedFutex;
use crate::os::locks::lock;
use crate::os::sys;
use crate::protocol::ring::Look;
use crate::protocol::wake;
use crate::seat::is_of_process;
use crate::seat::read::{Message, Pending, Reader, Step};
use crate::seat::report::{Report, Trouble};
use crate::segment::layout::{header_word, seat_word};
use crate::worker::handlers::{AllRoutes, Dispatched, Route, Visited, Visitor, dispatch_local, dispatch_missed};
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
            return Ok(Polled::Done { delivered: 0, missed: 0, missed_elsewhere: 0 });
        }
        self.poll(most, wait, visitor)
    }

    #[inline(never)]
    pub(crate) fn poll(&self, most: u64, wait: Wait<'_>, visitor: Option<&mut Visitor<'_>>) -> Result<Polled> {
        self.check_or_retire()?;
        if self.is_polled() {
            return Ok(self.refusal());
        }
        // Early: the lines of the first event arrive during what follows.
        self.ring.prefetch_event(self.hot.next.load(Ordering::Relaxed));
        let now = self.clock.coarse_ns();
        let mut turn = Turn::begin(self, now);
        // In place: moving a value of this size right after it was written stalls the processor.
        let Some(Turn { state, tally, .. }) = &mut turn else {
            self.check()?;
            return Ok(self.refusal());
        };
        let wait_max = self.tuning.wait_max.load(Ordering::Relaxed);
        state.reader.set_wait_max(wait_max);
        state.reader.set_resync(self.tuning.resync.load(Ordering::Relaxed));
        state.reader.set_must_read(self.tuning.must_read.load(Ordering::Relaxed));
        let mut request = PollRequest { most, patience: Patience::of(wait, wait_max), visitor };
        let result = self.deliver_all(state, tally, &mut request);
        // Not in a child that returned from a handler that forked it: only the parent may store what follows.
        self.guard.check()?;
        // Nor if another process has taken the seat while the handlers ran.
        self.check_displaced()?;
        self.note_handled(&state.reader);
        state.reader.rest();
        if request.visitor.is_some() && self.has_left() {
            // The events that were claimed for the visitor, which `retire` below does not have.
            self.deliver_claimed_to(state, tally, request.visitor.take())?;
        }
        let (delivered, missed, missed_elsewhere) = (tally.delivered, tally.missed, tally.missed_elsewhere);
        let reserved = tally.reserved();
        drop(turn);
        self.tell_left_out_reports()?;
        if self.has_left() {
            // A handler or another thread has left, and could not retire the worker during this poll.
            self.retire()?;
        }
        result?;
        Ok(match reserved {
            Some(Pending { id, since_ns }) => {
                let left = since_ns.map(|since| self.left_of_wait_max(since, sys::boottime_ns()));
                Polled::Reserved { id, left, delivered, missed, missed_elsewhere }
            }
            None => Polled::Done { delivered, missed, missed_elsewhere },
        })
    }

    /// Delivers the unique events that were claimed and have not run, for a worker that leaves. No other worker would
    /// run them.
    pub(crate) fn deliver_claimed(&self) -> Result<()> {
        // If this thread is in a poll, a handler leaves, and that poll delivers them.
        let Some(turn) = Turn::begin(self, self.clock.coarse_ns()) else { return Ok(()) };
        self.deliver_claimed_by(turn)
    }

    /// The same, in a turn that has begun.
    pub(crate) fn deliver_claimed_by(&self, mut turn: Turn<'_>) -> Result<()> {
        let Turn { state, tally, .. } = &mut turn;
        self.deliver_claimed_to(state, tally, None)
    }

    fn deliver_claimed_to(
        &self,
        state: &mut PollState,
        tally: &mut Tally,
        mut visitor: Option<&mut Visitor<'_>>,
    ) -> Result<()> {
        let PollState { reader, routes, .. } = state;
        for message in reader.take_claimed() {
            if self.deliver(&message, Routed::NONE, routes, tally, visitor.as_deref_mut())? {
                visitor = None;
            }
        }
        self.drop_stale(routes)
    }

    fn deliver_all(&self, state: &mut PollState, tally: &mut Tally, request: &mut PollRequest<'_, '_>) -> Result<()> {
        loop {
            self.deliver_local(tally, request)?;
            self.deliver_posted(state, tally, request)?;
            self.drop_stale(&mut state.routes)?;
            let local_left = self.hot.local.load(Ordering::Acquire) > 0;
            if !local_left || self.is_over(tally, request) {
                return Ok(());
            }
        }
    }

    /// Returns `true` if the poll is to deliver nothing more.
    #[inline]
    fn is_over(&self, tally: &Tally, request: &PollRequest<'_, '_>) -> bool {
        tally.delivered >= request.most || self.has_left() || request.patience.wait.is_stopped()
    }

    /// Drops stale routes, and with them perhaps handlers that were unregistered.
    #[inline]
    fn drop_stale(&self, routes: &mut AllRoutes) -> Result<()> {
        if routes.has_stale() {
            routes.drop_stale();
            // The drop of a handler may fork and return in the child.
            self.guard.check()?;
        }
        Ok(())
    }

    /// Reports during a poll.
    pub(super) fn report_here(&self, report: &Report<'_>) -> Result<()> {
        self.report(report);
        Ok(self.guard.check()?)
    }

    fn deliver_local(&self, tally: &mut Tally, request: &mut PollRequest<'_, '_>) -> Result<()> {
        while tally.delivered < request.most && self.hot.local.load(Ordering::Acquire) > 0 && !self.has_left() {
            let mut local = lock(&self.local);
            let Some(event) = local.pop_front() else { return Ok(()) };
            self.hot.local.store(local.len(), Ordering::Release);
            drop(local);
            tally.delivered += 1;
            let report = |report: &Report<'_>| self.report_here(report);
            let visitor = request.visitor.as_deref_mut();
            let dispatched = dispatch_local(&self.handlers.events, visitor, event, &self.guard, &report)?;
            tally.failed += dispatched.failed;
            if dispatched.stopped {
                request.stop();
            }
        }
        Ok(())
    }

    /// Delivers a local event of the library's own.
    #[cold]
    fn deliver_library(&self, topic: Topic<'_>, tally: &mut Tally, request: &mut PollRequest<'_, '_>) -> Result<()> {
        let data = LocalData::Archived { type_tag: 0, bytes: Buffer::new() };
        let event = LocalEvent { source: topic.source().into(), event: topic.event().into(), data };
        let report = |report: &Report<'_>| self.report_here(report);
        let visitor = request.visitor.as_deref_mut();
        let dispatched = dispatch_local(&self.handlers.events, visitor, event, &self.guard, &report)?;
        tally.delivered += u64::from(dispatched.called > 0);
        tally.failed += dispatched.failed;
        if dispatched.stopped {
            request.stop();
        }
        Ok(())
    }

    /// Delivers the events of the segment until nothing is new. If local events arrive, it ends with the events that
    /// were posted before them.
    fn deliver_posted(
        &self,
        state: &mut PollState,
        tally: &mut Tally,
        request: &mut PollRequest<'_, '_>,
    ) -> Result<()> {
        let PollState { reader, routes, .. } = state;
        let backoff = Backoff::new();
        // The next id is read only if necessary, because posters write its line.
        let mut end = None;
        let mut visited = None;
        while !self.is_over(tally, request) {
            self.drop_stale(routes)?;
            if end.is_none() && self.hot.local.load(Ordering::Acquire) > 0 {
                end = Some(self.ring.newest().min(self.hot.first_own_post.load(Ordering::Relaxed)));
            }
            if end.is_some_and(|end| reader.next() >= end) && !reader.has_ahead() {
                return Ok(());
            }
            // After each event, because its handlers may take long.
            self.check_displaced()?;
            self.note_handled(reader);
            let mut gate = WorkerGate {
                inner: self,
                routes: &mut *routes,
                claimer: &self.claimer,
                wants_all: request.visitor.is_some(),
                routed: Routed::NONE,
                visited: &mut visited,
            };
            let step = reader.read(&mut gate);
            let routed = gate.routed;
            // Also after an error. Release: with the cells that were seen, for the writer.
            self.hot.next.store(reader.next(), Ordering::Release);
            // An event first, and without a move of the step.
            if matches!(step, Ok(Step::Event)) {
                tally.read = true;
                tally.reserved = None;
                request.patience.goes_on();
                if end.is_none() {
                    self.hot.first_own_post.store(u64::MAX, Ordering::Relaxed);
                }
                if reader.current().visited {
                    self.deliver_visited(reader.current(), visited.take(), routes, tally)?;
                } else if self.deliver(reader.current(), routed, routes, tally, request.visitor.as_deref_mut())? {
                    request.stop();
                }
                if reader.is_at_end() {
                    return Ok(());
                }
            } else if self.handle_step(step?, reader, tally, request, &backoff)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Handles a step that is no event. Returns `Break` if the poll ends with it.
    #[inline(never)]
    fn handle_step(
        &self,
        step: Step,
        reader: &Reader,
        tally: &mut Tally,
        request: &mut PollRequest<'_, '_>,
        backoff: &Backoff,
    ) -> Result<ControlFlow<()>> {
        tally.read = true;
        if let Step::Pending(pending) = step {
            tally.reserved = Some(pending);
            if !self.wait_at(pending, &mut request.patience, backoff) {
                return Ok(ControlFlow::Break(()));
            }
            // During the sleep a signal handler may have forked and returned in the child.
            self.guard.check()?;
            return Ok(ControlFlow::Continue(()));
        }
        tally.reserved = None;
        request.patience.goes_on();
        match step {
            Step::Lagged { first, missed, cut_off } => {
                tally.missed += missed;
                let trouble = Trouble::Lagged { missed, cut_off };
                self.report_here(&Report { source: "", event: "", id: Some(first), trouble })?;
                self.tell_missed(&Missed::lapped(first, missed), tally)?;
            }
            Step::Gap { id } => {
                let missed = reader.gap();
                // The count is what a relay of any host has stored.
                tally.missed_elsewhere = tally.missed_elsewhere.saturating_add(missed.at_least_one());
                let trouble = Trouble::Missed(&missed);
                self.report_here(&Report { source: "", event: "", id: Some(id), trouble })?;
                self.tell_missed(&missed, tally)?;
            }
            Step::Unreadable { id } => {
                self.report_here(&Report { source: "", event: "", id: Some(id), trouble: Trouble::Unreadable })?;
            }
            Step::Reset { .. } => self.deliver_library(library::RESET, tally, request)?,
            Step::UpToDate { .. } => self.deliver_library(library::UP_TO_DATE, tally, request)?,
            Step::Empty | Step::Pending(_) | Step::Event => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Calls the handlers of missed events.
    #[cold]
    fn tell_missed(&self, missed: &Missed, tally: &mut Tally) -> Result<()> {
        let dispatched =
            dispatch_missed(&self.handlers.missed, missed, &self.guard, &|report| self.report_here(report))?;
        tally.failed += dispatched.failed;
        Ok(())
    }

    /// Waits a little at a reserved id. Returns `false` if this poll must not wait for it any more.
    fn wait_at(&self, pending: Pending, patience: &mut Patience<'_>, backoff: &Backoff) -> bool {
        let Some(since) = pending.since_ns else { return false };
        let now = sys::boottime_ns();
        let due_in = self.left_of_wait_max(since, now);
        if due_in.is_zero() {
            // The next read gives it up.
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

    /// Stores the position up to which all events are handled. Not called while a handler runs.
    #[inline]
    fn note_handled(&self, reader: &Reader) {
        // Release: with what the handlers did.
        self.hot.unhandled.store(reader.handled_below(), Ordering::Release);
    }

    /// Calls the handlers of a message, then `visitor`. Returns `true` if the visitor panicked.
    fn deliver(
        &self,
        message: &Message,
        routed: Routed,
        routes: &mut AllRoutes,
        tally: &mut Tally,
        visitor: Option<&mut Visitor<'_>>,
    ) -> Result<bool> {
        let route = if routed.is_of(message) {
            routes.latest(&message.head)
        } else {
            routes.find(&self.handlers, &message.head, &message.bytes)
        };
        let Some(route) = route else { return Ok(false) };
        let event = self.event_of(message, route);
        let dispatched = route.dispatch(visitor, &event, &self.guard, &|report| self.report_here(report))?;
        if dispatched.called == 0 {
            self.not_handled(&event)?;
            return Ok(false);
        }
        tally.delivered += 1;
        tally.failed += dispatched.failed;
        Ok(dispatched.stopped)
    }

    /// Returns the event of `message`, whose names are the route's.
    #[inline(always)]
    fn event_of<'a>(&'a self, message: &'a Message, route: &'a Route) -> Event<'a> {
        let own = is_of_process(&self.seats, &message.head, self.pid, self.seat);
        let content = Content::Posted(message.posted(Home::Segment(&self.segment), own));
        Event { source: route.source(), event: route.event(), content }
    }

    /// Delivers a message whose payload was visited in place, after the verdict.
    #[inline(never)]
    fn deliver_visited(
        &self,
        message: &Message,
        visited: Option<Visited>,
        routes: &mut AllRoutes,
        tally: &mut Tally,
    ) -> Result<()> {
        let Some(route) = routes.find(&self.handlers, &message.head, &message.bytes) else { return Ok(()) };
        let event = self.event_of(message, route).without_payload();
        let dispatched = match visited {
            Some(visited) => visited.dispatch(&event, &self.guard, &|report| self.report_here(report))?,
            None => Dispatched::default(),
        };
        if dispatched.called == 0 {
            return self.not_handled(&event);
        }
        tally.delivered += 1;
        tally.failed += dispatched.failed;
        Ok(())
    }

    /// Counts an event whose handlers were removed after it was copied out. If it was claimed, releases and reports it.
    #[cold]
    fn not_handled(&self, event: &Event<'_>) -> Result<()> {
        let Some(claim) = event.claim() else {
            self.words.add(seat_word!(reading.skipped), 1);
            return Ok(());
        };
        // The event stays decided, so no worker runs it. But the next event with its key does not wait for the ttl. If
        // the segment is corrupt, the next call returns that error.
        let _ = self.claimer.lock().release(&claim);
        self.words.add(seat_word!(reading.orphaned), 1);
        self.report_here(&Report {
            source: event.source(),
            event: event.event(),
            id: event.id(),
            trouble: Trouble::Orphaned,
        })
    }
}
