//! The life of one process until it is killed or told to stop.

mod actions;
mod session;

use std::time::Duration;

use seqcast::{BellOptions, Bus, Cause, Error, Event, Publisher, Scope, Start, WorkerOptions};

use crate::content::{Kind, Tag, label};
use crate::copies;
use crate::descriptors::{Other, Standard, close_from_3};
use crate::log::{Entry, How, Odd, Op, Phase, Shared};
use crate::participant::{AnyBell, Held, Participant, Reads};
use crate::probe::Probe;
use crate::rng::Rng;
use crate::round::{LONG_TTL, Round, WAIT_INTERVAL, WAIT_MAX};

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
}
