//! Posts, reservations and reads, each with what it adds to the log.

use std::sync::atomic::Ordering;
use std::time::Duration;

use seqcast::{Cause, Error, Topic, TypedEvent, Unique};

use crate::child::Session;
use crate::content::{Kind, LAST_SEQ, SHARED_TTL_NS, SOURCE, Tag, Typed};
use crate::log::{Entry, Op};
use crate::participant::Reads;
use crate::probe::Probe;

impl Session {
    pub(super) fn next_tag(&mut self, probe: &Probe, kind: Kind) -> Tag {
        self.seq += 1;
        assert!(self.seq < LAST_SEQ);
        Tag::new(probe.number, self.incarnation, self.seq, kind)
    }

    pub(super) fn post(&mut self, probe: &Probe, kind: Kind) -> Result<(), Error> {
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

    pub(super) fn reserve(&mut self, probe: &Probe) -> Result<(), Error> {
        self.reserved_at = probe.begin(Op::Reserve);
        let tag = self.next_tag(probe, Kind::Committed);
        self.reservation = Some((self.participant.reserve()?, tag));
        probe.step();
        Ok(())
    }

    pub(super) fn post_typed(&mut self, probe: &Probe, kind: Kind) -> Result<(), Error> {
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
    pub(super) fn post_oversized(&mut self, probe: &Probe) -> Result<(), Error> {
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

    pub(super) fn read(&mut self, probe: &Probe, reads: Reads<'_>) -> Result<(), Error> {
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

    pub(super) fn read_all(&mut self, probe: &Probe) -> Result<(), Error> {
        self.read(probe, Reads::Waiting { most: u64::MAX })
    }
}
