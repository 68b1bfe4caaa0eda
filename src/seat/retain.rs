//! Posts retained events and clears.

use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::Topic;
use crate::event::wire::{Kept, Keyed, Kind, MOST_KEY, Prefix, SHORT_KEPT_WORDS, WHERE_AT};
use crate::os::clock::HostClock;
use crate::protocol::Fault;
use crate::protocol::bucket::Key;
use crate::protocol::bytes;
use crate::protocol::pool::{Block, Hand, Tries};
use crate::protocol::retained::{Absent, Keeper, NEVER, Retention, TOMBSTONE, Table};
use crate::protocol::ring::{Ring, Settle, Stop};
use crate::protocol::word::{CellWord, Where};
use crate::seat::claim::Claimer;
use crate::seat::publish::{Outgoing, Writer, set_meta, write_prefix};
use crate::seat::room::Posting;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::{header_word, seat_word};
use crate::sync::{AtomicU64, Ordering};

/// Returns an error for a user's key that is too long.
#[inline]
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() <= MOST_KEY { Ok(()) } else { Err(long_key(key)) }
}

#[cold]
fn long_key(key: &[u8]) -> Error {
    let rule = format!("the key of a retained event has at most {MOST_KEY} bytes");
    Error::option("key", format_args!("{} bytes", key.len()), rule)
}

/// Returns the hash that an event is retained under. Names and key have at most 255 bytes.
#[inline]
pub(crate) fn hash(segment: &Segment, topic: Topic<'_>, key: &[u8]) -> [u64; 2] {
    segment.unique_hash().hash_retained([topic.source().as_bytes(), topic.event().as_bytes(), key])
}

/// Returns how an event of `topic` is retained.
#[inline]
pub(crate) fn kept(segment: &Segment, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
    topic.check()?;
    check_key(key)?;
    Ok(Kept { key: hash(segment, topic, key), ttl_ns, clears })
}

/// Returns what is left of the ttl of the event at `id`, which was retained as `kept` says: 0 if it has no ttl, and at
/// least a nanosecond if it has one.
pub(crate) fn left_of_ttl(segment: &Segment, id: u64, kept: &Kept) -> Result<u64> {
    if kept.ttl_ns == 0 {
        return Ok(0);
    }
    let Some(table) = segment.table() else { return Ok(kept.ttl_ns) };
    let held = table.held_of(Key(kept.key)).in_segment(segment)?;
    let deadline = held.filter(|held| held.place == id.saturating_add(1)).map(|held| held.deadline);
    Ok(match deadline {
        Some(NEVER) => 0,
        Some(deadline) => deadline.saturating_sub(HostClock::of_this_process().boottime_ns()).max(1),
        // A later event of the key has taken its place, or it was just posted and is not settled.
        None => kept.ttl_ns,
    })
}

/// The error of a call for retained events on a segment without a table.
#[cold]
pub(crate) fn no_table(segment: &Segment) -> Error {
    let rule = format!("segment {} retains no events: create it with .retained(keys)", segment.name());
    Error::option("retained", 0, rule)
}

/// Settles the events that a seat displaces, and counts them.
pub(super) struct Settler<'a> {
    pub(super) keeper: &'a mut Option<Keeper>,
    pub(super) seat: &'a SeatWords,
}

impl Settle for Settler<'_> {
    #[cold]
    fn settle(&mut self, id: u64, seen: CellWord) -> std::result::Result<(), Fault> {
        self.keeper.settle(id, seen)?;
        if let Some(keeper) = self.keeper {
            count_settled(keeper, self.seat);
        }
        Ok(())
    }
}

/// Counts the events that `keeper` has settled for other seats.
#[inline]
fn count_settled(keeper: &mut Keeper, seat: &SeatWords) {
    match keeper.take_helped() {
        0 => {}
        helped => seat.add(seat_word!(posting.settled), helped),
    }
}

/// An event that is about to be posted. Its key has a place.
pub(super) struct Placed<'p, 'a> {
    pub(super) prefix: &'p Prefix<'a>,
    pub(super) payload: &'a [u8],
    /// The words of the prefix, if it is short.
    short: Option<[u64; SHORT_KEPT_WORDS]>,
    retained: Retention,
}

/// The result of an attempt to post a retained event.
pub(super) enum Attempt {
    Posted(u64),
    /// Its key has no place.
    NoPlace,
    /// It has stopped before an id, and needs room for `room` ids to continue.
    Stopped {
        stop: Stop,
        room: u64,
    },
}

impl Placed<'_, '_> {
    /// Writes the whole event into `words` of a block: into the slot block, or with `place` into one of the ring.
    #[inline]
    fn write(&self, block: Block<'_>, words: &[AtomicU64], place: Where) {
        set_meta(block, Kind::Event, self.prefix.len() + self.payload.len());
        if let Some(short) = &self.short
            && let Some((head, rest)) = words.split_first_chunk::<SHORT_KEPT_WORDS>()
        {
            // Relaxed: before the exchanges of ring and slot.
            for (slot, word) in head.iter().zip(short) {
                slot.store(*word, Ordering::Relaxed);
            }
            head[WHERE_AT].store(short[WHERE_AT] | place.bits(), Ordering::Relaxed);
            bytes::store(rest, self.payload);
            return;
        }
        bytes::store(write_prefix(words, self.prefix, place), self.payload);
    }

    /// Posts the event. `write` writes it into the block of the ring.
    #[inline]
    pub(super) fn post(
        &self,
        keeper: &mut Keeper,
        ring: &Ring,
        hand: &mut Hand,
        write: impl Fn(Block<'_>, Where),
    ) -> std::result::Result<u64, Stop> {
        keeper.post(ring, hand, self.retained, |block, words| self.write(block, words, Where::NONE), write)
    }
}

impl Writer {
    /// The table of retained events, if the segment has one.
    pub(crate) fn table(&self) -> Option<&Table> {
        self.keeper.as_ref().map(Keeper::table)
    }

    /// Posts an event that is retained. Returns the id at which it is visible.
    #[inline]
    pub(crate) fn retain<'a>(
        &mut self,
        claimer: &mut Claimer,
        event: &Outgoing<'a>,
        posting: &mut Posting<'a>,
    ) -> Result<u64> {
        match self.post_kept(claimer, event, Absent::Take, posting)? {
            Some(id) => Ok(id),
            None => Err(self.retained_full(event)),
        }
    }

    #[cold]
    fn retained_full(&self, event: &Outgoing<'_>) -> Error {
        self.seat.add(seat_word!(posting.retained_full), 1);
        Error::from(Cause::RetainedFull {
            source: event.topic.source().to_owned(),
            event: event.topic.event().to_owned(),
            keys: self.segment.geometry().retained_keys(),
        })
    }

    /// Posts a clear. If no event is retained under its key, posts nothing and returns `None`.
    pub(crate) fn clear<'a>(
        &mut self,
        claimer: &mut Claimer,
        event: &Outgoing<'a>,
        posting: &mut Posting<'a>,
    ) -> Result<Option<u64>> {
        let (Some(table), Keyed::Kept { kept, .. }) = (self.table(), event.keyed) else {
            return Err(no_table(&self.segment));
        };
        let key = Key(kept.key);
        // In this order: an event whose announcement has ended is settled.
        if !table.is_announced(key) {
            let held = table.held_of(key).in_segment(&self.segment)?;
            if held.is_none_or(|held| held.deadline == TOMBSTONE) {
                return Ok(None);
            }
        }
        self.post_kept(claimer, event, Absent::Leave, posting)
    }

    /// B1 to B5. Returns `None` if the key has no place.
    #[inline]
    fn post_kept<'a>(
        &mut self,
        claimer: &mut Claimer,
        event: &Outgoing<'a>,
        absent: Absent,
        posting: &mut Posting<'a>,
    ) -> Result<Option<u64>> {
        match self.try_post_kept(claimer, event, absent, posting)? {
            Attempt::Posted(id) => Ok(Some(id)),
            Attempt::NoPlace => Ok(None),
            Attempt::Stopped { stop, room } => self.post_kept_in_room(claimer, event, absent, posting, stop, room),
        }
    }

    /// Makes room for `room` ids and posts, after a post that has stopped.
    #[cold]
    fn post_kept_in_room<'a>(
        &mut self,
        claimer: &mut Claimer,
        event: &Outgoing<'a>,
        absent: Absent,
        posting: &mut Posting<'a>,
        stop: Stop,
        room: u64,
    ) -> Result<Option<u64>> {
        let (mut stop, mut room, mut tries) = (stop, room, Tries::new());
        loop {
            // The announcement is taken back: the key may lose its place during the wait.
            if let Err(full) = self.make_room(stop, room, posting) {
                // By the end of a wait the payload may be overwritten.
                posting.named = None;
                return Err(full);
            }
            match self.try_post_kept(claimer, event, absent, posting)? {
                Attempt::Posted(id) => return Ok(Some(id)),
                Attempt::NoPlace => return Ok(None),
                Attempt::Stopped { stop: again, room: wanted } => (stop, room) = (again, wanted),
            }
            tries.another().in_segment(&self.segment)?;
        }
    }

    // Always: the event of most posts is in registers, and a result wider than one waits in memory.
    #[inline(always)]
    fn try_post_kept<'a>(
        &mut self,
        claimer: &mut Claimer,
        event: &Outgoing<'a>,
        absent: Absent,
        posting: &mut Posting<'a>,
    ) -> Result<Attempt> {
        let (Some(_), Keyed::Kept { kept, .. }) = (&self.keeper, event.keyed) else {
            return Err(no_table(&self.segment));
        };
        let prefix = self.prefix(event, SizeLimit::Retained)?;
        self.make_room_for_next(posting)?;
        let (Some(keeper), key) = (&self.keeper, Key(kept.key)) else { return Err(no_table(&self.segment)) };
        let Some(slot) = claimer.place(keeper, key, absent)? else { return Ok(Attempt::NoPlace) };
        let deadline = match kept {
            Kept { clears: true, .. } => TOMBSTONE,
            Kept { ttl_ns: 0, .. } => NEVER,
            // A deadline that the clock never reaches counts as no ttl.
            Kept { ttl_ns, .. } => claimer.now().saturating_add(ttl_ns),
        };
        let (payload, short) = (event.payload, prefix.short_kept_words());
        let placed = Placed { prefix: &prefix, payload, short, retained: Retention { key, slot, deadline } };
        let posted = if self.fits_block(&prefix, event.payload) {
            self.post_placed(&placed)?
        } else if self.fits_large(prefix.len(), event.payload.len()) {
            self.post_placed_large(&placed, &mut posting.named)?
        } else {
            self.post_placed_fragments(&placed, posting)?
        };
        let Attempt::Posted(id) = posted else { return Ok(posted) };
        self.seat.add(seat_word!(posting.retained), 1);
        self.seat.add(seat_word!(posting.posted), 1);
        self.notify(header_word!(wake));
        Ok(Attempt::Posted(id))
    }

    /// B3 to B5, for an event that fits in a block.
    #[inline]
    fn post_placed(&mut self, placed: &Placed<'_, '_>) -> Result<Attempt> {
        let posted = self.with_keeper(|keeper, ring, hand| {
            placed.post(keeper, ring, hand, |block, place| placed.write(block, block.payload(), place))
        })?;
        Ok(match posted {
            Ok(id) => Attempt::Posted(id),
            Err(stop) => Attempt::Stopped { stop, room: 1 },
        })
    }

    /// B3 to B5, for a larger event: all fragments except the last are posted like any other, and the last one in the
    /// phase keep.
    #[cold]
    fn post_placed_fragments<'a>(&mut self, placed: &Placed<'_, 'a>, posting: &mut Posting<'a>) -> Result<Attempt> {
        let mut message = self.cut(placed.prefix, placed.payload, posting)?;
        loop {
            let (fragment, room) = (message.fragment(), message.room());
            self.want(room);
            let is_last = fragment.is_last;
            let posted = if is_last {
                self.with_keeper(|keeper, ring, hand| {
                    placed.post(keeper, ring, hand, |block, place| fragment.write(block, place))
                })?
            } else {
                let Writer { ring, hand, keeper, seat, .. } = self;
                let place = Where::new(placed.retained.slot, 0);
                let posted = ring.post(hand, &mut Settler { keeper, seat }, |block| fragment.write(block, place));
                if posted.is_err()
                    && let Some(keeper) = &self.keeper
                {
                    keeper.end();
                }
                posted
            };
            match posted {
                Ok(id) => message.posted_at(id),
                Err(stop) => {
                    posting.message = Some(message);
                    return Ok(Attempt::Stopped { stop, room });
                }
            }
            if let (true, Ok(id)) = (is_last, posted) {
                self.seat.add(seat_word!(posting.fragments), message.posted());
                return Ok(Attempt::Posted(id));
            }
        }
    }

    /// Settles the unsettled events below `to`, an id below which every id is taken.
    pub(crate) fn settle_below(&mut self, to: u64) -> Result<()> {
        self.with_keeper(|keeper, _, _| keeper.settle_below(to))?.in_segment(&self.segment)
    }

    /// Settles all unsettled events.
    pub(crate) fn settle_all(&mut self) -> Result<()> {
        self.with_keeper(|keeper, _, _| keeper.settle_all())?.in_segment(&self.segment)
    }

    #[inline]
    pub(super) fn with_keeper<R>(&mut self, run: impl FnOnce(&mut Keeper, &Ring, &mut Hand) -> R) -> Result<R> {
        let Some(keeper) = &mut self.keeper else { return Err(no_table(&self.segment)) };
        let done = run(keeper, &self.ring, &mut self.hand);
        count_settled(keeper, &self.seat);
        Ok(done)
    }
}
