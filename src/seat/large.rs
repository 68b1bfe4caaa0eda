//! Posts events whose payload goes into a large block.
//!
//! An event that fits in a block of the ring goes there. Any other goes into a large block if its payload fits in one,
//! also if it needed only two fragments. It then takes two publications, which is not more than the fragments take.
//! Readers need not assemble it, and its sizes alone tell where it goes.

use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::wire::{FRAGMENT_HEAD_BYTES, Keyed, Kind, LargeName, Prefix, RETAINED_FRAGMENT_HEAD_BYTES};
use crate::protocol::Fault;
use crate::protocol::bytes::{self, Way};
use crate::protocol::pool::{Block, Hand};
use crate::protocol::retained::Keeper;
use crate::protocol::ring::{Fate, Ring, Stop};
use crate::protocol::word::Where;
use crate::seat::publish::{Writer, set_meta, write_prefix};
use crate::seat::retain::{Attempt, Placed, Settler};
use crate::seat::room::Posting;
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;

/// What the event that names a large block is posted with.
struct Small<'a> {
    ring: &'a Ring,
    hand: &'a mut Hand,
    keeper: &'a mut Option<Keeper>,
    seat: &'a SeatWords,
}

impl Writer {
    /// Returns an error if an event of `len` bytes exceeds `limit`. `prefix_len` is the length of what
    /// comes before its payload.
    #[cold]
    pub(super) fn check_len(&self, prefix_len: usize, len: usize, limit: SizeLimit) -> Result<()> {
        let geometry = self.segment.geometry();
        let in_large = if self.names_large(prefix_len) { prefix_len + geometry.large_bytes() } else { 0 };
        let max = match limit {
            SizeLimit::Ring => geometry.largest_with(FRAGMENT_HEAD_BYTES).max(in_large),
            SizeLimit::Block => geometry.block_bytes().max(in_large),
            SizeLimit::Retained => {
                geometry.retained_bytes().min(geometry.largest_with(RETAINED_FRAGMENT_HEAD_BYTES).max(in_large))
            }
        };
        if len > max { Err(Error::from(Cause::PayloadTooLarge { len, max, limit })) } else { Ok(()) }
    }

    /// Returns an error if an event has too many fragments: since its length was checked, a worker may have joined for
    /// which large blocks are not allowed.
    pub(super) fn check_fragments(&self, prefix: &Prefix<'_>, payload: &[u8]) -> Result<()> {
        let (head_bytes, limit) = match prefix.keyed {
            Keyed::Kept { .. } => (RETAINED_FRAGMENT_HEAD_BYTES, SizeLimit::Retained),
            _ => (FRAGMENT_HEAD_BYTES, SizeLimit::Ring),
        };
        let (len, max) = (prefix.len() + payload.len(), self.segment.geometry().largest_with(head_bytes));
        if len > max { Err(Error::from(Cause::PayloadTooLarge { len, max, limit })) } else { Ok(()) }
    }

    /// Returns `true` if an event with `prefix_len` bytes before its payload can name a large block.
    fn names_large(&self, prefix_len: usize) -> bool {
        self.segment.geometry().names_large(prefix_len) && self.large_is_allowed()
    }

    /// Returns `true` if the payload of an event that does not fit in a block goes into a large block.
    pub(super) fn fits_large(&self, prefix_len: usize, len: usize) -> bool {
        len <= self.segment.geometry().large_bytes() && self.names_large(prefix_len)
    }

    /// Returns `true` if no worker has joined that must read every event. The large ring has no limits of its own, and
    /// would overwrite payloads that such a worker has not read. A worker that has died need not read.
    pub(super) fn large_is_allowed(&self) -> bool {
        self.musts.joined().all(|(seat, must)| self.bury_dead(seat, must))
    }

    /// Posts an event whose payload fits in a large block.
    // `prefix` by value, as for `post_fragments`.
    pub(super) fn post_large(&mut self, prefix: Prefix<'_>, payload: &[u8], posting: &mut Posting<'_>) -> Result<u64> {
        self.make_room_for_next(posting)?;
        let way = self.way_of(payload.len());
        match self.post_large_by(&prefix, payload.len(), store(way, payload))? {
            Ok(id) => Ok(id),
            // Other seats have taken the room meanwhile.
            Err((stop, name)) => {
                self.make_room(stop, 1, posting)?;
                self.post_named(&prefix, name, posting)
            }
        }
    }

    /// Publishes such an event at the reserved `id`. If it is too late, no event names the payload.
    pub(super) fn commit_large(&mut self, id: u64, prefix: &Prefix<'_>, payload: &[u8]) -> Result<Fate> {
        let way = self.way_of(payload.len());
        let committed = self.with_large(payload.len(), store(way, payload), |Small { ring, hand, .. }, name| {
            match ring.commit(hand, id, |block| write_named(block, prefix, Where::NONE, name))? {
                Fate::Decided => Ok(Fate::Decided),
                // As an error: no event with a large block is counted.
                Fate::TooLate => Err(Stop::NoRoom { id }),
            }
        })?;
        match committed {
            Ok(fate) => Ok(fate),
            Err(Stop::Fault(fault)) => Err(self.segment.fault(fault)),
            // A commit takes no id, so it needs no room.
            Err(Stop::NoRoom { .. }) => Ok(Fate::TooLate),
        }
    }

    /// Posts such an event as a retained one. If it stops, `named` is the payload's name for the next attempt.
    pub(super) fn post_placed_large(
        &mut self,
        placed: &Placed<'_, '_>,
        named: &mut Option<LargeName>,
    ) -> Result<Attempt> {
        let post = |keeper: &mut Keeper, ring: &Ring, hand: &mut Hand, name| {
            placed.post(keeper, ring, hand, |block, place| write_named(block, placed.prefix, place, name))
        };
        let posted = match *named {
            Some(name) => {
                let posted = self.with_keeper(|keeper, ring, hand| post(keeper, ring, hand, name));
                self.seat.add(seat_word!(posting.large), u64::from(matches!(posted, Ok(Ok(_)))));
                posted
            }
            None => {
                let len = placed.payload.len();
                let write = store(self.way_of(len), placed.payload);
                self.with_large(len, write, |Small { ring, hand, keeper, .. }, name| match keeper {
                    Some(keeper) => post(keeper, ring, hand, *named.insert(name)),
                    None => Err(Fault::Corrupt("an event is to be retained, and the segment has no table").into()),
                })
            }
        };
        if !matches!(posted, Ok(Ok(_)))
            && let Some(keeper) = &self.keeper
        {
            keeper.end();
        }
        Ok(match posted? {
            Ok(id) => Attempt::Posted(id),
            Err(stop) => Attempt::Stopped { stop, room: 1 },
        })
    }

    /// Posts an event whose payload of `len` bytes `write` puts into the private large block. If there is no room for
    /// the event, the payload is published all the same, and the result has its name.
    pub(super) fn post_large_by(
        &mut self,
        prefix: &Prefix<'_>,
        len: usize,
        write: impl FnOnce(Block<'_>),
    ) -> Result<std::result::Result<u64, (Stop, LargeName)>> {
        let mut named = None;
        let posted = self.with_large(len, write, |Small { ring, hand, keeper, seat }, name| {
            let name = &*named.insert(name);
            ring.post(hand, &mut Settler { keeper, seat }, |block| write_named(block, prefix, Where::NONE, *name))
        })?;
        match (posted, named) {
            (Ok(id), _) => Ok(Ok(id)),
            (Err(Stop::Fault(fault)), _) => Err(self.segment.fault(fault)),
            (Err(stop), Some(name)) => Ok(Err((stop, name))),
            (Err(_), None) => Err(self.segment.corrupt("a large block was not published, and nothing says why")),
        }
    }

    /// Posts the event that names a payload in a large block.
    pub(super) fn post_named(
        &mut self,
        prefix: &Prefix<'_>,
        name: LargeName,
        posting: &mut Posting<'_>,
    ) -> Result<u64> {
        let id = self.post_block(1, posting, |block| write_named(block, prefix, Where::NONE, name))?;
        self.seat.add(seat_word!(posting.large), 1);
        Ok(id)
    }

    /// Publishes the payload of `len` bytes that `write` puts into a large block, and then posts by `post` the event
    /// that names it.
    fn with_large<R>(
        &mut self,
        len: usize,
        write: impl FnOnce(Block<'_>),
        post: impl FnOnce(Small<'_>, LargeName) -> std::result::Result<R, Stop>,
    ) -> Result<std::result::Result<R, Stop>> {
        let Writer { segment, ring, hand, keeper, large, seat, .. } = self;
        let Some(large) = large else { return Err(segment.corrupt("the segment has no large blocks")) };
        let len = len as u64;
        let posted = large.post(write, |id| post(Small { ring, hand, keeper, seat }, LargeName { id, len }));
        seat.add(seat_word!(posting.large), u64::from(posted.is_ok()));
        Ok(posted)
    }
}

/// Stores a payload in a large block.
fn store(way: Way, payload: &[u8]) -> impl FnOnce(Block<'_>) {
    move |block| {
        set_meta(block, Kind::Large, payload.len());
        bytes::store_by(way, block.payload(), payload);
    }
}

/// Writes an event that names a payload in a large block. A retained event states with `place` where it is kept.
fn write_named(block: Block<'_>, prefix: &Prefix<'_>, place: Where, name: LargeName) {
    let name = name.bytes();
    set_meta(block, Kind::Large, prefix.len() + name.len());
    bytes::store(write_prefix(block.payload(), prefix, place), &name);
}
