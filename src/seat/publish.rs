//! The posting half of a seat.

use std::fmt;
use std::sync::Arc;

use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::wire::{FRAGMENT_HEAD_BYTES, FragmentHead, Kind, Meta, Prefix, UniqueKey, chunk_len};
use crate::event::{Died, Topic, library};
use crate::protocol::bytes;
use crate::protocol::pool::{Block, Hand};
use crate::protocol::ring::{Fate, NoTable, Ring};
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::{header_word, seat_word};
use crate::sync::Ordering;

/// An event to be posted.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: Topic<'a>,
    pub(crate) type_tag: u64,
    pub(crate) unique: Option<UniqueKey>,
    pub(crate) payload: &'a [u8],
}

pub struct Writer {
    segment: Arc<Segment>,
    ring: Ring,
    hand: Hand,
    seat: SeatWords,
    pid: u32,
    incarnation: u32,
    block_bytes: usize,
    largest: usize,
}

impl Writer {
    pub(crate) fn new(segment: Arc<Segment>, hand: Hand, seat: SeatWords, pid: u32) -> Writer {
        let incarnation = seat.get(seat_word!(identity.incarnation)) as u32;
        Writer {
            ring: segment.ring(),
            block_bytes: segment.geometry().block_bytes(),
            largest: segment.geometry().largest_message(),
            segment,
            hand,
            seat,
            pid,
            incarnation,
        }
    }

    /// Tells the writer that every id below `id` is taken, as this thread has seen. The search for the next id begins
    /// there.
    #[inline]
    pub(crate) fn know(&mut self, id: u64) {
        self.hand.know(id);
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Posts an event. Returns the id at which it is visible.
    #[inline]
    pub(crate) fn post(&mut self, event: &Outgoing<'_>) -> Result<u64> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let len = prefix.len() + event.payload.len();
        let id = if len <= self.block_bytes {
            let write = |block: Block<'_>| write_event(block, &prefix, event.payload);
            self.ring.post(&mut self.hand, &mut NoTable, write).in_segment(&self.segment)?
        } else {
            self.post_fragments(&prefix, event.payload)?
        };
        self.seat.add(seat_word!(posting.posted), 1);
        self.notify(header_word!(wake));
        Ok(id)
    }

    /// Posts the event that reports that a seat was taken over from a dead holder.
    #[cold]
    pub(crate) fn post_death(&mut self, died: &Died) -> Result<()> {
        let text = died.to_text(self.largest);
        self.post(&Outgoing { topic: library::DIED, type_tag: 0, unique: None, payload: text.as_bytes() }).map(drop)
    }

    #[inline]
    fn prefix<'a>(&self, event: &Outgoing<'a>, limit: SizeLimit) -> Result<Prefix<'a>> {
        let Outgoing { topic, type_tag, unique, payload } = *event;
        topic.check()?;
        let prefix = Prefix { seat: self.hand.seat(), pid: self.pid, topic, type_tag, unique };
        let len = prefix.len().saturating_add(payload.len());
        let max = match limit {
            SizeLimit::Ring => self.largest,
            SizeLimit::Block => self.block_bytes,
        };
        if len > max {
            return Err(Error::from(Cause::PayloadTooLarge { len, max, limit }));
        }
        Ok(prefix)
    }

    /// Posts an event that does not fit into a block as several fragments. Its id is that of the last fragment. If one
    /// fragment cannot be posted, readers never see the last one and drop the others.
    #[cold]
    fn post_fragments(&mut self, prefix: &Prefix<'_>, payload: &[u8]) -> Result<u64> {
        let chunk = (self.block_bytes - FRAGMENT_HEAD_BYTES) as u64;
        let mut whole = Vec::with_capacity(prefix.len() + payload.len());
        prefix.for_each_word(|word| whole.extend(word.to_ne_bytes()));
        whole.extend_from_slice(payload);
        let message = self.seat.get(seat_word!(posting.message)).wrapping_add(1);
        self.seat.set(seat_word!(posting.message), message);
        let mut head = FragmentHead {
            seat: self.hand.seat(),
            number: 0,
            incarnation: self.incarnation,
            message: message as u32,
            total: whole.len() as u64,
            first_id: 0,
        };
        let mut last_id = 0;
        let mut rest = &whole[..];
        while let Some(len) = chunk_len(head.total, head.number, chunk) {
            let (now, later) = rest.split_at(len as usize);
            let head_bytes = head.to_bytes();
            let write = |block: Block<'_>| {
                set_meta(block, Kind::Fragment, FRAGMENT_HEAD_BYTES + now.len());
                let at = bytes::store(block.payload(), &head_bytes);
                bytes::store(&block.payload()[at..], now);
            };
            last_id = self.ring.post(&mut self.hand, &mut NoTable, write).in_segment(&self.segment)?;
            if head.number == 0 {
                head.first_id = last_id;
            }
            head.number += 1;
            rest = later;
        }
        self.seat.add(seat_word!(posting.fragments), head.number);
        Ok(last_id)
    }

    /// Takes an id for an event that is committed later.
    pub(crate) fn reserve(&mut self) -> Result<u64> {
        // A previous reservation that was forgotten would make readers wait.
        self.abandon()?;
        let id = self.ring.reserve(&mut self.hand, &mut NoTable).in_segment(&self.segment)?;
        self.seat.add(seat_word!(posting.reservations), 1);
        // Sleeping readers must start their wait for the payload.
        self.notify(header_word!(wake));
        Ok(id)
    }

    /// Publishes the event at a reserved id.
    pub(crate) fn commit(&mut self, id: u64, event: &Outgoing<'_>) -> Result<()> {
        if self.reserved() != Some(id) {
            return Err(Error::from(Cause::TooLate { id }));
        }
        let prefix = self.prefix(event, SizeLimit::Block)?;
        let write = |block: Block<'_>| write_event(block, &prefix, event.payload);
        let fate = self.ring.commit(&mut self.hand, id, write).in_segment(&self.segment)?;
        // Also if a lap decided it: the lapping post does not wake readers that wait for a reserved id.
        self.wake_for_decided();
        match fate {
            Fate::Decided => {
                self.seat.add(seat_word!(posting.committed), 1);
                self.seat.add(seat_word!(posting.posted), 1);
                Ok(())
            }
            Fate::TooLate => Err(Error::from(Cause::TooLate { id })),
        }
    }

    /// Gives up the reserved id, if there is one.
    pub(crate) fn abandon(&mut self) -> Result<()> {
        let abandoned = self.ring.abandon(self.hand.seat()).in_segment(&self.segment)?;
        if abandoned.is_some() {
            self.wake_for_decided();
        }
        Ok(())
    }

    fn wake_for_decided(&self) {
        self.seat.add(seat_word!(posting.wakes), self.segment.wake_for_decided());
    }

    /// Returns the id that is reserved and that this seat has not decided yet.
    pub(crate) fn reserved(&self) -> Option<u64> {
        self.ring.reserved_by(self.hand.seat())
    }

    #[inline]
    fn notify(&self, word: usize) {
        if self.segment.notify(word) {
            self.seat.add(seat_word!(posting.wakes), 1);
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("seat", &self.hand.seat()).finish_non_exhaustive()
    }
}

#[inline]
fn set_meta(block: Block<'_>, kind: Kind, len: usize) {
    block.meta().store(Meta { kind, len }.bits(), Ordering::Relaxed);
}

#[inline]
fn write_event(block: Block<'_>, prefix: &Prefix<'_>, payload: &[u8]) {
    set_meta(block, Kind::Event, prefix.len() + payload.len());
    let (head, rest) = block.payload().split_at(prefix.len() / 8);
    let mut words = head.iter();
    prefix.for_each_word(|word| {
        if let Some(slot) = words.next() {
            slot.store(word, Ordering::Relaxed);
        }
    });
    bytes::store(rest, payload);
}
