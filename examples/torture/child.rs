//! The actions of one process until it is killed or told to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use seqcast::{
    BellOptions, Bus, Cause, Claimed, Error, ErrorKind, Event, Publisher, Report, Scope, SegmentOptions, Start, Topic,
    Trouble, TypedEvent, Unique, WorkerOptions,
};

use crate::bells;
use crate::content::{Kind, LAST_SEQ, SHARED_TTL_NS, SOURCE, Tag, Typed, label, read_announcement};
use crate::copies;
use crate::descriptors::{Other, Standard, close_from_3};
use crate::log::{Entry, How, Odd, Op, Phase, Shared, Slot, boottime_ns};
use crate::participant::{AnyBell, Held, Participant, Reads};
use crate::rng::{Rng, mix};
use crate::round::{CLAIM_KEYS, LONG_TTL, Round, WAIT_INTERVAL, WAIT_MAX, claim_ttl_ns};

/// The largest number of live copies of one process.
const MOST_COPIES: u64 = 2;

/// Exit codes that the parent knows.
pub const DONE: i32 = 0;
pub const FAILED: i32 = 1;

/// The life of a child. Returns its exit code.
pub fn run(round: &Round, bus: &Bus, shared: &'static Shared, slot: usize, life: u64) -> i32 {
    let probe: &'static Probe = Box::leak(Box::new(Probe::new(shared.slot(slot), slot, round.clone())));
    // Standard error may be closed.
    std::panic::set_hook(Box::new(|info| probe.slot.say(&info.to_string())));
    let mut rng = Rng::of(&[round.seed, slot as u64, life]);
    let standard = if rng.one_in(3) {
        probe.push(Entry::Descriptors { how: How::Standard });
        Standard::close(&mut rng)
    } else {
        Standard::all_open()
    };
    let mut child = Child { round, bus, shared, probe, rng, standard, other: None };
    loop {
        let session = child.session();
        if probe.is_copy() {
            copies::check_outcome(probe, session.err().as_ref());
            copies::end(child.rng);
        }
        match session {
            Ok(Next::Rejoin) => {}
            Ok(Next::Exit) => return DONE,
            Err(error) => {
                let (op, _) = probe.slot.current_op();
                if matches!(error.cause(), Cause::NoSeat { .. }) {
                    probe.push(Entry::Reported { id: 0, what: Odd::NoSeat });
                }
                probe.fault(op, &error.to_string());
                return FAILED;
            }
        }
    }
}

/// State that handlers and reporters need, too.
pub struct Probe {
    pub slot: &'static Slot,
    number: usize,
    round: Round,
    /// The first incarnation of this process.
    first_incarnation: u64,
    /// The end of the last step.
    stepped: AtomicU64,
    /// The earliest time at which a claim for the current delivery can have been won.
    claims_since: AtomicU64,
    /// The time without a processor in `/proc/self/schedstat`, and the time of its reading.
    unserved: AtomicU64,
    unserved_at: AtomicU64,
    /// `true` if this process was forked in the middle of a handler.
    is_copy: AtomicBool,
    /// The number of copies of this process that it has not reaped yet.
    copies: AtomicU64,
}

impl Probe {
    fn new(slot: &'static Slot, number: usize, round: Round) -> Probe {
        let first_incarnation = slot.last_incarnation() + 1;
        let now = boottime_ns();
        Probe {
            slot,
            number,
            round,
            first_incarnation,
            stepped: AtomicU64::new(now),
            claims_since: AtomicU64::new(now),
            unserved: AtomicU64::new(unserved_ns()),
            unserved_at: AtomicU64::new(now),
            is_copy: AtomicBool::new(false),
            copies: AtomicU64::new(0),
        }
    }

    pub fn is_copy(&self) -> bool {
        self.is_copy.load(Ordering::Relaxed)
    }

    /// Adds an entry. Its duration does not count as a delay.
    pub fn push(&self, entry: Entry) {
        if self.is_copy() {
            copies::fail(self, &format!("a child that returned from a handler would say: {entry:?}"));
        }
        if self.slot.push(entry) {
            self.stepped.store(boottime_ns(), Ordering::Relaxed);
        }
    }

    /// Records an error that should not occur.
    fn fault(&self, op: Op, what: &str) {
        self.slot.say(what);
        self.push(Entry::Fault { op });
    }

    /// In the middle of a handler or a reporter: sometimes forks, and the child returns like its parent.
    fn fork_at(&self, id: u64) {
        let number = mix(id ^ self.round.seed ^ (self.number as u64) << 56);
        // Code that runs while a worker leaves is rare.
        let every = if self.slot.current_op().0 == Op::Leave { 4 } else { self.round.fork_every() };
        if !number.is_multiple_of(every) || self.copies.load(Ordering::Relaxed) >= MOST_COPIES {
            return;
        }
        match copies::fork() {
            Some(0) => self.is_copy.store(true, Ordering::Relaxed),
            Some(_) => {
                self.copies.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Reaps the copies that have ended.
    fn reap_copies(&self) {
        while self.copies.load(Ordering::Relaxed) > 0
            && let Some(status) = copies::reap()
        {
            self.copies.fetch_sub(1, Ordering::Relaxed);
            self.push(Entry::Copy { status });
        }
    }

    fn begin(&self, op: Op) -> u64 {
        if self.is_copy() {
            copies::fail(self, &format!("a child that returned from a handler continues with {op:?}"));
        }
        let now = boottime_ns();
        self.slot.begin(op, now);
        self.stepped.store(now, Ordering::Relaxed);
        if now - self.unserved_at.load(Ordering::Relaxed) > 20_000_000 {
            self.unserved_at.store(now, Ordering::Relaxed);
            self.unserved.store(unserved_ns(), Ordering::Relaxed);
        }
        now
    }

    /// Ends a step that is bounded by the guarantees.
    fn step(&self) -> u64 {
        let now = boottime_ns();
        let since = self.stepped.swap(now, Ordering::Relaxed);
        if now - since > self.round.bound_ns() {
            let unserved = unserved_ns().saturating_sub(self.unserved.load(Ordering::Relaxed));
            let (op, _) = self.slot.current_op();
            self.push(Entry::Slow { op, since, until: now, unserved });
        }
        now
    }

    pub fn on_event(&self, event: &Event<'_>) {
        let now = self.step();
        let Some(id) = event.id() else { return };
        if event.topic() == seqcast::library::DIED {
            // Posted by whichever process takes over a seat, which writes nothing of it down.
            if seqcast::Died::of(event).is_none() {
                self.push(Entry::Reported { id, what: Odd::Torn });
            }
            return;
        }
        let tag = if event.source() == seqcast::library::SOURCE {
            read_announcement(event.event(), event.bytes())
        } else if event.event() == Kind::Typed.event() {
            event.typed::<Typed>().ok().and_then(|value| value.read())
        } else {
            self.round.lengths().read(event.bytes())
        };
        let Some(tag) = tag else {
            return self.push(Entry::Reported { id, what: Odd::Torn });
        };
        let kind = tag.kind().unwrap_or(Kind::Oversized);
        let named_right = event.source() == seqcast::library::SOURCE || event.event() == kind.event();
        let ours = tag.slot() == self.number && tag.incarnation() >= self.first_incarnation;
        // Another process may have taken a sender's seat since. Then its event no longer counts as its own.
        let wrongly_ours = event.is_own() && !ours;
        if wrongly_ours || event.claim().is_some() != kind.is_unique() || !named_right {
            self.push(Entry::Reported { id, what: Odd::Misattributed });
        }
        let since = if kind.is_unique() { self.claims_since.load(Ordering::Relaxed) } else { 0 };
        self.push(Entry::Delivered { id, tag, since, until: now });
        self.fork_at(id);
    }

    pub fn on_lagged(&self, first: u64, missed: u64) {
        let at = self.step();
        self.push(Entry::Lagged { first, missed, at });
        self.fork_at(!first);
    }

    pub fn on_odd(&self, id: u64, what: Odd) {
        self.step();
        self.push(Entry::Reported { id, what });
    }

    fn on_report(&self, report: &Report<'_>) {
        let id = report.id.unwrap_or(u64::MAX);
        let what = match report.trouble {
            Trouble::Lagged { missed, .. } => return self.on_lagged(id, missed),
            Trouble::ClaimsFull => Odd::ClaimsFull,
            Trouble::ClaimLate => Odd::ClaimLate,
            Trouble::Unreadable => Odd::Unreadable,
            // Too many inotify instances of this user.
            Trouble::Unheard(_) => return,
            _ => Odd::HandlerTrouble,
        };
        if !matches!(what, Odd::ClaimsFull | Odd::ClaimLate) {
            self.slot.say(&report.to_string());
        }
        self.on_odd(id, what);
    }
}

/// Returns the time that this process was ready to run but did not run, since its start.
fn unserved_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

enum Next {
    Rejoin,
    Exit,
}

struct Child<'a> {
    round: &'a Round,
    bus: &'a Bus,
    shared: &'static Shared,
    probe: &'static Probe,
    rng: Rng,
    standard: Standard,
    /// The file on the descriptor numbers that this process has replaced.
    other: Option<Other>,
}

/// A worker and its resources.
pub struct Session {
    bus: Bus,
    pub participant: Participant,
    pub poster: Option<Publisher>,
    pub reservation: Option<(Held, Tag)>,
    pub bell: Option<AnyBell>,
    /// `true` if the process has closed or replaced descriptors since it made the bell.
    bell_may_be_closed: bool,
    /// `true` if its reads never wait.
    reads_now: bool,
    /// The time of its creation.
    reserved_at: u64,
    incarnation: u64,
    seq: u32,
    buffer: Vec<u8>,
    /// The time since which polls have ended before everything was delivered.
    undrained_since: Option<u64>,
}

impl Child<'_> {
    fn session(&mut self) -> Result<Next, Error> {
        let mut session = self.join()?;
        loop {
            match self.shared.phase() {
                Phase::Run => {}
                Phase::Still | Phase::Drain => return self.finish(session),
            }
            let act = self.act(&mut session);
            if self.probe.is_copy() {
                copies::check_outcome(self.probe, act.err().as_ref());
                copies::try_everything(self.probe, &mut session);
                if self.rng.one_in(2) {
                    drop(session);
                }
                copies::end(self.rng.clone());
            }
            if let Some(next) = act? {
                self.leave(session)?;
                return Ok(next);
            }
            self.probe.reap_copies();
            if self.round.slow {
                std::thread::sleep(Duration::from_micros(self.rng.below(4000)));
            }
        }
    }

    fn join(&mut self) -> Result<Session, Error> {
        self.probe.begin(Op::Join);
        let incarnation = self.probe.slot.next_incarnation();
        let newest = self.bus.next_id();
        let start = match self.rng.below(4) {
            0 => Start::Oldest,
            1 => Start::At(newest.saturating_sub(self.rng.below(self.round.capacity * 2))),
            _ => Start::Now,
        };
        let probe = self.probe;
        let options = WorkerOptions::new()
            .label(label(probe.number, incarnation))
            .start(start)
            .wait_max(WAIT_MAX)
            .wait_interval(WAIT_INTERVAL)
            .timeout(LONG_TTL)
            .on_report(move |report| probe.on_report(report));
        // Through the inherited handle, or by the name.
        let opened;
        let bus = if self.rng.one_in(2) {
            self.bus
        } else {
            opened = Bus::open(self.bus.name())?;
            &opened
        };
        let seat = if self.rng.one_in(4) {
            Participant::Pulled(Box::new(bus.subscribe_with(&options)?))
        } else {
            Participant::Pushed(bus.join_with(&options)?)
        };
        self.probe.step();
        self.probe.push(Entry::Joined { incarnation, start: seat.cursor() });
        self.probe.slot.set_seat(Some((incarnation, seat.seat())));
        if let Participant::Pushed(worker) = &seat {
            worker.on(Scope::All, move |event: &Event<'_>| probe.on_event(event))?;
        }
        let bell = if self.rng.one_in(2) { Some(seat.bell(&self.bell_options())?) } else { None };
        self.probe.step();
        let done_to_descriptors = self.rng.below(16);
        match done_to_descriptors {
            0 => self.close_descriptors(),
            1 => self.replace_descriptors(),
            _ => {}
        }
        let bus = self.bus.clone();
        Ok(Session {
            bus,
            participant: seat,
            poster: None,
            reservation: None,
            bell,
            bell_may_be_closed: done_to_descriptors < 2,
            reads_now: self.rng.one_in(3),
            reserved_at: 0,
            incarnation,
            seq: 0,
            buffer: Vec::new(),
            undrained_since: None,
        })
    }

    fn bell_options(&mut self) -> BellOptions {
        BellOptions::new().thread(self.rng.one_in(8))
    }

    /// Acts like a process that becomes a daemon.
    fn close_descriptors(&mut self) {
        self.probe.begin(Op::Descriptors);
        self.check_descriptors();
        self.other = None;
        close_from_3();
        self.probe.push(Entry::Descriptors { how: How::Closed });
    }

    /// Acts like a process that uses numbers that it does not own.
    fn replace_descriptors(&mut self) {
        self.probe.begin(Op::Descriptors);
        self.check_descriptors();
        if let Some(before) = self.other.take() {
            before.close();
        }
        self.other = Other::put();
        if self.other.is_some() {
            self.probe.push(Entry::Descriptors { how: How::Replaced });
        }
    }

    fn check_descriptors(&self) {
        if let Some(number) = self.standard.write() {
            self.probe.fault(Op::Descriptors, &format!("descriptor {number} was closed, and leads to a file"));
        }
        if self.other.as_ref().is_some_and(|other| !other.is_untouched()) {
            self.probe.fault(Op::Descriptors, "a file that replaced another was closed, written to or locked");
        }
    }

    fn leave(&mut self, mut session: Session) -> Result<(), Error> {
        let at = self.probe.begin(Op::Leave);
        self.probe.slot.set_seat(None);
        self.probe.push(Entry::Leaving { id: session.participant.cursor(), at });
        if let Some((reservation, _)) = session.reservation.take() {
            let id = reservation.id();
            let is_left_to_its_seat = self.rng.one_in(2);
            match &session.participant {
                Participant::Pushed(worker) if is_left_to_its_seat => worker.clone().leave()?,
                // The subscriber gives it up when it leaves.
                Participant::Pulled(_) if is_left_to_its_seat => {}
                _ => session.participant.give_up(reservation),
            }
            self.probe.push(Entry::Void { id });
        }
        // It is a handle of the worker.
        session.bell = None;
        let Session { participant: seat, poster, undrained_since, .. } = session;
        // A dropped subscriber does not run events that it has claimed ahead.
        let may_drop = matches!(seat, Participant::Pushed(_)) || undrained_since.is_none();
        seat.leave(self.probe, may_drop && self.rng.one_in(2))?;
        if self.probe.is_copy() {
            // A worker was dropped, without an event.
            return Err(Error::from(Cause::Forked));
        }
        drop(poster);
        self.probe.step();
        self.probe.push(Entry::Left { newest: self.bus.next_id() });
        self.check_descriptors();
        Ok(())
    }

    /// The orderly end of a round: reads all remaining events.
    fn finish(&mut self, mut session: Session) -> Result<Next, Error> {
        self.probe.begin(Op::Drain);
        session.poster = None;
        if let Some((reservation, _)) = session.reservation.take() {
            let id = reservation.id();
            session.participant.give_up(reservation);
            self.probe.push(Entry::Void { id });
        }
        self.probe.slot.set_quiet(true);
        while self.shared.phase() != Phase::Drain {
            session.read_all(self.probe)?;
            self.probe.reap_copies();
            std::thread::sleep(Duration::from_millis(1));
        }
        session.read_all(self.probe)?;
        self.leave(session)?;
        Ok(Next::Exit)
    }

    /// Does one action, chosen at random.
    fn act(&mut self, session: &mut Session) -> Result<Option<Next>, Error> {
        let probe = self.probe;
        match self.rng.below(1003) {
            0..300 => {
                probe.begin(Op::Post);
                for _ in 0..=self.rng.below(12) {
                    session.post(probe, Kind::Plain)?;
                }
            }
            300..360 => {
                probe.begin(Op::Post);
                session.post_typed(probe, Kind::Typed)?;
            }
            360..430 => {
                probe.begin(Op::Long);
                session.post(probe, Kind::Fragmented)?;
            }
            430..435 => {
                probe.begin(Op::Long);
                session.post_oversized(probe)?;
            }
            435..490 => {
                probe.begin(Op::Post);
                session.post(probe, Kind::Fresh)?;
            }
            490..510 => {
                probe.begin(Op::Post);
                session.post_typed(probe, Kind::FreshTyped)?;
            }
            510..560 => {
                probe.begin(Op::Post);
                session.post(probe, Kind::Shared)?;
            }
            560..590 => self.use_poster(session)?,
            590..660 => self.reserve_or_decide(session)?,
            660..920 => {
                let most = match self.rng.below(8) {
                    0 => 1,
                    1..4 => 8,
                    _ => 256,
                };
                let reads = if session.reads_now { Reads::Now { most } } else { Reads::Waiting { most } };
                session.read(probe, reads)?;
            }
            920..970 => self.claim(session)?,
            970..980 => self.run_loop(session)?,
            980..990 => {
                probe.begin(Op::Wait);
                let timeout = Duration::from_micros(self.rng.below(3000));
                session.participant.wait(timeout)?;
                probe.step();
            }
            990..992 => self.use_another_segment()?,
            992..998 => return Ok(Some(Next::Rejoin)),
            998 => return Ok(Some(Next::Exit)),
            1000 => {
                self.close_descriptors();
                session.bell_may_be_closed = true;
            }
            1001 => {
                self.replace_descriptors();
                session.bell_may_be_closed = true;
            }
            1002 => self.hold(session)?,
            _ => std::thread::sleep(Duration::from_micros(self.rng.below(2000))),
        }
        Ok(None)
    }

    /// One turn of an event loop, after some sleep on its bell. Replaces a bell whose descriptors are gone.
    fn run_loop(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        let Some(bell) = session.bell.take() else {
            probe.begin(Op::Wait);
            session.bell = Some(session.participant.bell(&self.bell_options())?);
            session.bell_may_be_closed = false;
            probe.step();
            return Ok(());
        };
        probe.begin(Op::Wait);
        bells::sleep_on(&bell, Duration::from_micros(self.rng.below(3000)));
        probe.step();
        let read = session.read(probe, Reads::Rung { bell: &bell, most: 1 + self.rng.below(256) });
        match read {
            Err(error) if error.kind() == ErrorKind::BellClosed && session.bell_may_be_closed => Ok(()),
            other => {
                session.bell = Some(bell);
                other
            }
        }
    }

    fn use_poster(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        probe.begin(Op::Post);
        if session.poster.is_none() {
            session.poster = Some(session.participant.publisher(&session.bus)?);
        }
        let Some(mut poster) = session.poster.take() else { return Ok(()) };
        probe.step();
        for _ in 0..4 {
            let tag = session.next_tag(probe, Kind::Plain);
            probe.round.lengths().write(tag, &mut session.buffer);
            let id = poster.post((SOURCE, Kind::Plain.event()), &session.buffer)?;
            probe.step();
            probe.push(Entry::Posted { id, tag, before: id });
        }
        // Sometimes its seat is free for another process to take.
        if !self.rng.one_in(8) {
            session.poster = Some(poster);
        }
        Ok(())
    }

    fn reserve_or_decide(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        let Some((mut reservation, tag)) = session.reservation.take() else {
            session.reserve(probe)?;
            return Ok(());
        };
        let (id, reserved_at) = (reservation.id(), session.reserved_at);
        match self.rng.below(8) {
            0 => {
                // Forgotten for a new one, so the old one is given up first.
                session.reserve(probe)?;
                probe.push(Entry::Void { id });
                let late = session.participant.commit(&mut reservation, Topic::new(SOURCE, "late"), b"");
                if !matches!(late.as_ref().map_err(|error| error.cause()), Err(Cause::TooLate { .. })) {
                    probe.fault(Op::Commit, &format!("{late:?} after another reservation"));
                }
                Ok(())
            }
            1 => {
                probe.begin(Op::Abandon);
                session.participant.give_up(reservation);
                probe.step();
                probe.push(Entry::Void { id });
                Ok(())
            }
            _ => {
                probe.begin(Op::Commit);
                probe.round.lengths().write(tag, &mut session.buffer);
                let topic = Topic::new(SOURCE, Kind::Committed.event());
                let result = session.participant.commit(&mut reservation, topic, &session.buffer);
                let now = probe.step();
                match result {
                    Ok(id) => probe.push(Entry::Posted { id, tag, before: id }),
                    Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => {
                        let lapped = session.bus.next_id() > id + self.round.capacity;
                        if !lapped && now - reserved_at < WAIT_MAX.as_nanos() as u64 {
                            probe.push(Entry::Reported { id, what: Odd::GivenUpEarly });
                        }
                        probe.push(Entry::Void { id });
                    }
                    Err(error) => return Err(error),
                }
                Ok(())
            }
        }
    }

    /// Holds reservations repeatedly, as buggy workers do. No other poll may wait longer than for one of them.
    fn hold(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        let nap = if self.round.slow { WAIT_MAX / 2 } else { Duration::from_micros(self.rng.below(300)) };
        for _ in 0..2 + self.rng.below(if self.round.slow { 100 } else { 30 }) {
            if self.shared.phase() != Phase::Run {
                break;
            }
            if self.rng.one_in(8) {
                self.reserve_or_decide(session)?;
                continue;
            }
            let before = session.reservation.take();
            session.reserve(probe)?;
            if let Some((before, _)) = before {
                probe.push(Entry::Void { id: before.id() });
            }
            std::thread::sleep(nap);
        }
        Ok(())
    }

    fn claim(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        let number = self.rng.below(CLAIM_KEYS + 1);
        let since = probe.begin(Op::Claim);
        if number == CLAIM_KEYS {
            return self.claim_fresh(session);
        }
        let ttl_ns = claim_ttl_ns(number);
        let claimed = session.participant.claim(number.to_le_bytes(), Duration::from_nanos(ttl_ns))?;
        let until = probe.step();
        match claimed {
            Claimed::Won(claim) => {
                probe.push(Entry::Won { key: number, since, until });
                if self.rng.one_in(2) {
                    self.release(session, &claim, number, since + ttl_ns)?;
                }
            }
            Claimed::Held { seat, left, .. }
                if left.as_nanos() as u64 > ttl_ns || u64::from(seat) >= self.round.seats =>
            {
                probe.push(Entry::Reported { id: number, what: Odd::FalseHolder });
            }
            // Held by another process; or there is no room, which the worker counts itself.
            _ => {}
        }
        Ok(())
    }

    fn release(&mut self, session: &mut Session, claim: &seqcast::Claim, number: u64, ends: u64) -> Result<(), Error> {
        let probe = self.probe;
        if self.rng.one_in(4) {
            std::thread::sleep(Duration::from_micros(self.rng.below(4000)));
        }
        let at = probe.begin(Op::Release);
        probe.push(Entry::Releases { key: number, at });
        let released = session.participant.release(claim)?;
        let now = probe.step();
        if !released && now < ends {
            probe.push(Entry::Reported { id: number, what: Odd::LostClaim });
        }
        Ok(())
    }

    /// Claims a key that no other process uses: it must be won, and is held from then on.
    fn claim_fresh(&mut self, session: &mut Session) -> Result<(), Error> {
        let probe = self.probe;
        let key = session.next_tag(probe, Kind::Oversized).0.to_le_bytes();
        let since = boottime_ns();
        match session.participant.claim(key, Duration::from_millis(50))? {
            Claimed::Held { .. } => probe.push(Entry::Reported { id: 0, what: Odd::FalseHolder }),
            Claimed::Won(claim) => {
                let again = session.participant.claim(key, Duration::from_millis(50))?;
                let held = matches!(again, Claimed::Held { seat, .. } if seat == session.participant.seat());
                if !held && boottime_ns() < since + 50_000_000 {
                    probe.push(Entry::Reported { id: 0, what: Odd::LostClaim });
                }
                if self.rng.one_in(2) {
                    session.participant.release(&claim)?;
                }
            }
            _ => {}
        }
        probe.step();
        Ok(())
    }

    /// Creates, joins, leaves and unlinks a segment, concurrently with others.
    fn use_another_segment(&mut self) -> Result<(), Error> {
        self.probe.begin(Op::Segments);
        let name = self.round.other_name(self.rng.below(2));
        let options = SegmentOptions::new().capacity(8).block_size(64).seats(16).claims(4);
        let options = options.creation_timeout(Duration::from_millis(50));
        if self.rng.one_in(3) {
            let gone = seqcast::unlink(&name);
            self.probe.step();
            return allow_gone(gone);
        }
        let bus = match self.rng.below(3) {
            0 => options.create(&name),
            1 => options.open(&name),
            _ => options.open_or_create(&name),
        };
        self.probe.step();
        let bus = match bus {
            Ok(bus) => bus,
            Err(error) => return allow_gone(Err(error)),
        };
        let worker = match bus.join_with(&WorkerOptions::new().on_report(|_| {})) {
            Ok(worker) => worker,
            // The name may belong to another process by now, which is fine; 16 seats may be taken at once.
            Err(error) if matches!(error.cause(), Cause::NoSeat { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let first = worker.post((SOURCE, "other"), b"1")?;
        let second = worker.post((SOURCE, "other"), b"2")?;
        let _ = worker.poll_at_most(16)?;
        if second <= first {
            self.probe.fault(Op::Segments, &format!("posted {second} after {first}"));
        }
        drop(worker);
        let result = if self.rng.one_in(2) { bus.unlink() } else { Ok(()) };
        self.probe.step();
        allow_gone(result)
    }
}

/// Checks the result for a name that others create and unlink, and whose creator may be stopped or killed.
fn allow_gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::Replaced | ErrorKind::Exists | ErrorKind::Unfinished | ErrorKind::Busy
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

impl Session {
    fn next_tag(&mut self, probe: &Probe, kind: Kind) -> Tag {
        self.seq += 1;
        assert!(self.seq < LAST_SEQ);
        Tag::new(probe.number, self.incarnation, self.seq, kind)
    }

    fn post(&mut self, probe: &Probe, kind: Kind) -> Result<(), Error> {
        let tag = self.next_tag(probe, kind);
        probe.round.lengths().write(tag, &mut self.buffer);
        let before = if kind == Kind::Fragmented { self.bus.next_id() } else { 0 };
        let id = match kind {
            Kind::Fresh => {
                let key = tag.0.to_le_bytes();
                let unique = Unique::key(&key).ttl(probe.round.fresh_ttl());
                self.participant.post_unique(Topic::new(SOURCE, kind.event()), unique, &self.buffer)?
            }
            Kind::Shared => {
                let key = tag.shared_key().to_le_bytes();
                let unique = Unique::key(&key).ttl(Duration::from_nanos(SHARED_TTL_NS));
                self.participant.post_unique(Topic::new(SOURCE, kind.event()), unique, &self.buffer)?
            }
            _ => self.participant.post(kind.event(), &self.buffer)?,
        };
        probe.step();
        probe.push(Entry::Posted { id, tag, before });
        Ok(())
    }

    fn reserve(&mut self, probe: &Probe) -> Result<(), Error> {
        self.reserved_at = probe.begin(Op::Reserve);
        let tag = self.next_tag(probe, Kind::Committed);
        self.reservation = Some((self.participant.reserve()?, tag));
        probe.step();
        Ok(())
    }

    fn post_typed(&mut self, probe: &Probe, kind: Kind) -> Result<(), Error> {
        let tag = self.next_tag(probe, kind);
        let value = Typed::new(tag);
        let id = if kind.is_unique() {
            let key = tag.0.to_le_bytes();
            let unique = Unique::key(&key).ttl(probe.round.fresh_ttl());
            self.participant.post_unique(Typed::TOPIC, unique, &value)?
        } else {
            self.participant.post_typed(&value)?
        };
        probe.step();
        probe.push(Entry::Posted { id, tag, before: 0 });
        Ok(())
    }

    /// After an error no worker sees the event.
    fn post_oversized(&mut self, probe: &Probe) -> Result<(), Error> {
        let tag = self.next_tag(probe, Kind::Oversized);
        probe.round.lengths().write(tag, &mut self.buffer);
        let refused = self.participant.post(Kind::Oversized.event(), &self.buffer);
        probe.step();
        match refused {
            Err(error) if matches!(error.cause(), Cause::PayloadTooLarge { .. }) => Ok(()),
            Ok(id) => {
                probe.push(Entry::Posted { id, tag, before: 0 });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, probe: &Probe, reads: Reads<'_>) -> Result<(), Error> {
        let now = probe.begin(Op::Poll);
        if self.undrained_since.is_none() {
            self.undrained_since = Some(now);
            probe.claims_since.store(now, Ordering::Relaxed);
            probe.push(Entry::Polls { at: now });
        }
        let drained = self.participant.read(probe, reads)?;
        let at = probe.step();
        probe.push(Entry::Cursor { id: self.participant.cursor(), at });
        if drained && self.reservation.is_none() {
            self.undrained_since = None;
        }
        Ok(())
    }

    fn read_all(&mut self, probe: &Probe) -> Result<(), Error> {
        self.read(probe, Reads::Waiting { most: u64::MAX })
    }
}
