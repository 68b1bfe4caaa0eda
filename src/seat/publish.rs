//! The posting half of a seat.

use std::fmt;
use std::sync::Arc;

use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::missed::Gap;
use crate::event::wire::{FRAGMENT_HEAD_BYTES, Keyed, Kind, Meta, Prefix, Travel};
use crate::event::{Died, Topic, library};
use crate::protocol::bytes::{self, LEAST_STREAMED, Way};
use crate::protocol::large::LargeHand;
use crate::protocol::pool::{Block, Hand, Tries};
use crate::protocol::retained::Keeper;
use crate::protocol::ring::{Fate, Ring, Stop};
use crate::protocol::room::{Limit, Musts};
use crate::protocol::word::Where;
use crate::seat::adopt::PostingHands;
use crate::seat::copy::SMALL;
use crate::seat::draft::Lent;
use crate::seat::fragmented::{Fragment, Fragmented};
use crate::seat::placement::Placement;
use crate::seat::retain::Settler;
use crate::seat::room::Posting;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::{header_word, seat_word};
use crate::sync::{AtomicU64, Ordering};

/// An event to be posted.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: Topic<'a>,
    pub(crate) type_tag: u64,
    pub(crate) keyed: Keyed<'a>,
    pub(crate) travel: Travel<'a>,
    pub(crate) payload: &'a [u8],
    /// `true` for an event of another segment that a bridge posts.
    pub(crate) bridged: bool,
}

impl<'a> Outgoing<'a> {
    /// An event of bytes, without a key.
    pub(crate) fn plain(topic: Topic<'a>, payload: &'a [u8]) -> Outgoing<'a> {
        let (keyed, travel) = (Keyed::Nothing, Travel::Local);
        Outgoing { topic, type_tag: 0, keyed, travel, payload, bridged: false }
    }
}

pub struct Writer {
    pub(super) segment: Arc<Segment>,
    pub(super) ring: Ring,
    pub(super) hand: Hand,
    /// The seat's part in the table of retained events, if the segment has one.
    pub(super) keeper: Option<Keeper>,
    /// The seat's part in the large ring, if the segment has one.
    pub(super) large: Option<LargeHand>,
    pub(super) seat: SeatWords,
    pub(super) placement: Placement,
    /// The readers that must read.
    pub(super) musts: Musts,
    /// The first id that must not be posted before a look at them.
    pub(super) limit: Limit,
    pid: u32,
    incarnation: u32,
    block_bytes: usize,
    /// What is lent to a draft, which users' code writes.
    pub(super) lent: Lent,
}

impl Writer {
    pub(crate) fn new(segment: Arc<Segment>, hands: PostingHands, seat: SeatWords, pid: u32) -> Writer {
        let PostingHands { ring: mut hand, keeper, large } = hands;
        let incarnation = seat.get(seat_word!(identity.incarnation)) as u32;
        let limit = Limit::default();
        hand.stop_at(limit.end());
        Writer {
            ring: segment.ring(),
            musts: segment.musts(),
            limit,
            placement: Placement::new(segment.seats(), hand.seat()),
            block_bytes: segment.geometry().block_bytes(),
            segment,
            hand,
            keeper,
            large,
            seat,
            pid,
            incarnation,
            lent: Lent::Nothing,
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

    /// Posts an event. Returns the id at which it is visible. If there is no room, `posting` says so.
    #[inline]
    pub(crate) fn post<'a>(&mut self, event: &Outgoing<'a>, posting: &mut Posting<'a>) -> Result<u64> {
        let prefix = self.prefix(event, SizeLimit::Ring)?;
        let id = if self.fits_block(&prefix, event.payload) {
            let way = self.way_of(event.payload.len());
            let write = |block: Block<'_>| write_event(block, &prefix, way, event.payload);
            match self.ring_post(write) {
                Ok(id) => {
                    // The next event is probably as large as this one.
                    if prefix.len() + event.payload.len() <= SMALL {
                        self.ring.prefetch_private(&self.hand);
                    }
                    id
                }
                Err(stop) => self.post_event_in_room(stop, prefix, event.payload, posting)?,
            }
        } else if self.fits_large(prefix.len(), event.payload.len()) {
            self.post_large(prefix, event.payload, posting)?
        } else {
            self.post_fragments(prefix, event.payload, posting)?
        };
        Ok(self.has_posted(id))
    }

    /// Counts the event at `id`, and wakes readers. Returns the id.
    #[inline]
    pub(super) fn has_posted(&self, id: u64) -> u64 {
        self.seat.add(seat_word!(posting.posted), 1);
        self.notify(header_word!(wake));
        id
    }

    /// Returns an error if an event cannot be posted because of its names or its size.
    pub(crate) fn check(&self, event: &Outgoing<'_>, limit: SizeLimit) -> Result<()> {
        self.prefix(event, limit).map(drop)
    }

    /// Returns the way in which a payload of `len` bytes is stored.
    #[inline]
    pub(super) fn way_of(&mut self, len: usize) -> Way {
        if len < LEAST_STREAMED * 8 { Way::Cached } else { self.way_of_large() }
    }

    #[inline(never)]
    fn way_of_large(&mut self) -> Way {
        self.placement.next_way(self.hand.known().saturating_sub(self.ring.capacity()))
    }

    /// Posts what `write` writes into a block. Stops where there may be no room.
    #[inline(always)]
    fn ring_post(&mut self, write: impl FnOnce(Block<'_>)) -> std::result::Result<u64, Stop> {
        self.ring.post(&mut self.hand, &mut Settler { keeper: &mut self.keeper, seat: &self.seat }, write)
    }

    /// Posts what `write` writes into a block, and makes room for `room` ids first if there is none.
    #[inline]
    pub(super) fn post_block(
        &mut self,
        room: u64,
        posting: &mut Posting<'_>,
        write: impl Fn(Block<'_>),
    ) -> Result<u64> {
        match self.ring_post(&write) {
            Ok(id) => Ok(id),
            Err(stop) => self.post_in_room(stop, room, posting, write),
        }
    }

    /// Makes room and posts, after a post of an event in one block has stopped.
    // `prefix` by value, as for `post_fragments`.
    #[cold]
    fn post_event_in_room(
        &mut self,
        stop: Stop,
        prefix: Prefix<'_>,
        payload: &[u8],
        posting: &mut Posting<'_>,
    ) -> Result<u64> {
        let way = self.way_of(payload.len());
        self.post_in_room(stop, 1, posting, |block| write_event(block, &prefix, way, payload))
    }

    /// Makes room for `count` ids and posts the first of them, after a post that has stopped.
    #[cold]
    fn post_in_room(
        &mut self,
        stop: Stop,
        count: u64,
        posting: &mut Posting<'_>,
        write: impl Fn(Block<'_>),
    ) -> Result<u64> {
        let (mut stop, mut tries) = (stop, Tries::new());
        loop {
            self.make_room(stop, count, posting)?;
            // Other seats may have taken the room meanwhile.
            match self.ring_post(&write) {
                Ok(id) => return Ok(id),
                Err(again) => stop = again,
            }
            tries.another().in_segment(&self.segment)?;
        }
    }

    /// Posts the event that reports that a seat was taken over from a dead holder, if there is room.
    #[cold]
    pub(crate) fn post_death(&mut self, died: &Died) -> Result<()> {
        let text = died.to_text(self.segment.geometry().largest_with(FRAGMENT_HEAD_BYTES));
        self.post_if_room(&Outgoing::plain(library::DIED, text.as_bytes())).map(drop)
    }

    /// Posts a record of events that were lost between hosts. Returns its id. The caller does not have to set the seat
    /// and the process.
    #[cold]
    pub(crate) fn post_gap(&mut self, gap: &Gap, posting: &mut Posting<'_>) -> Result<u64> {
        let gap = Gap { seat: self.hand.seat(), pid: self.pid, ..*gap };
        let write = |block: Block<'_>| {
            set_meta(block, Kind::Gap, Gap::BYTES);
            for (slot, word) in block.payload().iter().zip(gap.words()) {
                // Relaxed: before the exchange that publishes the block.
                slot.store(word, Ordering::Relaxed);
            }
        };
        let id = self.post_block(1, posting, write)?;
        self.notify(header_word!(wake));
        Ok(id)
    }

    #[inline]
    pub(super) fn fits_block(&self, prefix: &Prefix<'_>, payload: &[u8]) -> bool {
        prefix.len() + payload.len() <= self.block_bytes
    }

    #[inline]
    pub(super) fn prefix<'a>(&self, event: &Outgoing<'a>, limit: SizeLimit) -> Result<Prefix<'a>> {
        let Outgoing { topic, type_tag, keyed, travel, payload, bridged } = *event;
        debug_assert!(topic.check().is_ok(), "checked where the topic was given");
        let prefix = Prefix { seat: self.hand.seat(), pid: self.pid, topic, type_tag, keyed, travel, bridged };
        let len = prefix.len().saturating_add(payload.len());
        if len > self.block_bytes || limit == SizeLimit::Retained {
            self.check_len(prefix.len(), len, limit)?;
        }
        Ok(prefix)
    }

    /// Returns the bytes of a block's payload.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Posts an event that does not fit into a block as several fragments. Its id is that of the last fragment. If one
    /// fragment cannot be posted, readers never see the last one and drop the others.
    // `prefix` by value, so that it need not be in memory for an event in one block.
    #[cold]
    fn post_fragments<'a>(&mut self, prefix: Prefix<'a>, payload: &[u8], posting: &mut Posting<'a>) -> Result<u64> {
        let mut message = self.cut(&prefix, payload, posting)?;
        loop {
            let fragment = message.fragment();
            let posted = self.post_fragment(&fragment, message.room(), posting);
            let is_last = fragment.is_last;
            let Ok(id) = posted else {
                posting.message = Some(message);
                return posted;
            };
            message.posted_at(id);
            if is_last {
                self.seat.add(seat_word!(posting.fragments), message.posted());
                return Ok(id);
            }
        }
    }

    /// Posts a fragment, if there is room for `room` ids.
    fn post_fragment(&mut self, fragment: &Fragment<'_>, room: u64, posting: &mut Posting<'_>) -> Result<u64> {
        self.want(room);
        self.post_block(room, posting, |block| fragment.write(block, Where::NONE))
    }

    /// Cuts an event into fragments. Continues with those that an earlier attempt has left. If the seat has begun
    /// another such event since, readers have dropped this one, and it begins again.
    pub(super) fn cut<'a>(
        &self,
        prefix: &Prefix<'a>,
        payload: &[u8],
        posting: &mut Posting<'a>,
    ) -> Result<Fragmented<'a>> {
        self.check_fragments(prefix, payload)?;
        let last = self.seat.get(seat_word!(posting.message));
        if let Some(begun) = posting.message.take().filter(|begun| begun.is_number(last as u32)) {
            return Ok(begun);
        }
        let message = last.wrapping_add(1);
        self.seat.set(seat_word!(posting.message), message);
        Ok(Fragmented::new(prefix, payload, self.block_bytes, self.incarnation, message as u32))
    }

    /// Takes an id for an event that is committed later.
    pub(crate) fn reserve(&mut self, posting: &mut Posting<'_>) -> Result<u64> {
        // A previous reservation that was forgotten would make readers wait.
        self.abandon()?;
        let mut tries = Tries::new();
        let id = loop {
            let Writer { ring, hand, keeper, seat, .. } = self;
            match ring.reserve(hand, &mut Settler { keeper, seat }) {
                Ok(id) => break id,
                Err(stop) => self.make_room(stop, 1, posting)?,
            }
            tries.another().in_segment(&self.segment)?;
        };
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
        let fate = if self.fits_block(&prefix, event.payload) {
            let way = self.way_of(event.payload.len());
            let write = |block: Block<'_>| write_event(block, &prefix, way, event.payload);
            self.ring.commit(&mut self.hand, id, write).in_segment(&self.segment)?
        } else {
            self.commit_large(id, &prefix, event.payload)?
        };
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
    pub(super) fn notify(&self, word: usize) {
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
pub(super) fn set_meta(block: Block<'_>, kind: Kind, len: usize) {
    block.meta().store(Meta { kind, len }.bits(), Ordering::Relaxed);
}

#[inline]
fn write_event(block: Block<'_>, prefix: &Prefix<'_>, way: Way, payload: &[u8]) {
    set_meta(block, Kind::Event, prefix.len() + payload.len());
    bytes::store_by(way, write_prefix(block.payload(), prefix, Where::NONE), payload);
}

/// Stores the words before the payload of an event with short names.
#[inline]
fn store_short(head: &[AtomicU64; 4], words: [u64; 4]) {
    for (slot, word) in head.iter().zip(words) {
        slot.store(word, Ordering::Relaxed);
    }
}

/// Writes what comes before the payload of an event into the words of a block. A retained event states with `place`
/// where it is kept. Returns the words for the payload.
#[inline]
pub(super) fn write_prefix<'b>(words: &'b [AtomicU64], prefix: &Prefix<'_>, place: Where) -> &'b [AtomicU64] {
    if let Some(stored) = prefix.short_words()
        && let Some((head, rest)) = words.split_first_chunk()
    {
        store_short(head, stored);
        return rest;
    }
    let (head, rest) = words.split_at(prefix.len() / 8);
    let mut words = head.iter();
    prefix.for_each_word(place, |word| {
        if let Some(slot) = words.next() {
            slot.store(word, Ordering::Relaxed);
        }
    });
    rest
}
