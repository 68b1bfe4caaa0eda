//! The actions of a process that take more than one call.

use std::time::Duration;

use seqcast::{Cause, Claimed, Error, ErrorKind, SegmentOptions, Topic, WorkerOptions};

use crate::bells;
use crate::child::{Child, Session};
use crate::content::{Kind, SOURCE};
use crate::log::{Entry, Odd, Op, Phase, boottime_ns};
use crate::participant::Reads;
use crate::round::{CLAIM_KEYS, WAIT_MAX, claim_ttl_ns};

impl Child<'_> {
    /// One turn of an event loop, after some sleep on its bell. Replaces a bell whose descriptors are gone.
    pub(super) fn run_loop(&mut self, session: &mut Session) -> Result<(), Error> {
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

    pub(super) fn use_poster(&mut self, session: &mut Session) -> Result<(), Error> {
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

    pub(super) fn reserve_or_decide(&mut self, session: &mut Session) -> Result<(), Error> {
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
    pub(super) fn hold(&mut self, session: &mut Session) -> Result<(), Error> {
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

    pub(super) fn claim(&mut self, session: &mut Session) -> Result<(), Error> {
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
    pub(super) fn use_another_segment(&mut self) -> Result<(), Error> {
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
