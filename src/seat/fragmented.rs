//! An event that does not fit in a block, cut into fragments for posting.

use crate::event::wire::{FragmentHead, Keyed, Kind, Prefix, Travel, chunk_len};
use crate::protocol::bytes;
use crate::protocol::pool::Block;
use crate::protocol::word::Where;
use crate::seat::publish::set_meta;
use crate::sync::Ordering;

/// An event that is being posted in fragments.
pub(crate) struct Fragmented<'a> {
    whole: Vec<u8>,
    keyed: Keyed<'a>,
    kind: Kind,
    /// The most bytes of the event that a fragment holds.
    full: u64,
    /// The offset of the next fragment.
    head: FragmentHead,
}

/// One fragment.
pub(crate) struct Fragment<'a> {
    keyed: Keyed<'a>,
    kind: Kind,
    head: FragmentHead,
    chunk: &'a [u8],
    pub(crate) is_last: bool,
}

impl<'a> Fragmented<'a> {
    /// Cuts an event for blocks of `block_bytes`. `incarnation` and `message` distinguish it from all other events of
    /// its seat.
    pub(crate) fn new(
        prefix: &Prefix<'a>,
        payload: &[u8],
        block_bytes: usize,
        incarnation: u32,
        message: u32,
    ) -> Fragmented<'a> {
        let mut whole = Vec::with_capacity(prefix.len() + payload.len());
        prefix.for_each_word(Where::NONE, |word| whole.extend(word.to_ne_bytes()));
        whole.extend_from_slice(payload);
        let (kind, keyed) = match prefix.keyed {
            // A request is not retained.
            keyed @ Keyed::Kept { .. } if prefix.travel != Travel::Request => (Kind::RetainedFragment, keyed),
            _ => (Kind::Fragment, Keyed::Nothing),
        };
        let (seat, total) = (prefix.seat, whole.len() as u64);
        let head = FragmentHead { seat, number: 0, incarnation, message, total, first_id: 0 };
        Fragmented { whole, keyed, kind, full: (block_bytes - kind.fragment_head()) as u64, head }
    }

    /// Returns the fragment to post next. After the last one, returns it again.
    pub(crate) fn fragment(&self) -> Fragment<'_> {
        let Fragmented { keyed, kind, full, head, .. } = *self;
        let start = (head.number * full) as usize;
        let len = chunk_len(head.total, head.number, full).unwrap_or(0) as usize;
        let is_last = chunk_len(head.total, head.number + 1, full).is_none();
        Fragment { keyed, kind, head, chunk: &self.whole[start..start + len], is_last }
    }

    /// Continues with the next fragment, after this one was posted at `id`.
    pub(crate) fn posted_at(&mut self, id: u64) {
        if self.head.number == 0 {
            self.head.first_id = id;
        }
        self.head.number += 1;
    }

    /// Returns `true` if this is event number `message` of its seat.
    pub(crate) fn is_number(&self, message: u32) -> bool {
        self.head.message == message
    }

    /// Returns the number of ids for which there must be room before the next fragment: for all fragments before the
    /// first one. Other seats may take that room afterwards.
    pub(crate) fn room(&self) -> u64 {
        if self.head.number == 0 { self.head.total.div_ceil(self.full).max(1) } else { 1 }
    }

    /// Returns the number of fragments that were posted.
    pub(crate) fn posted(&self) -> u64 {
        self.head.number
    }
}

impl Fragment<'_> {
    /// Writes the fragment into a block of the ring. A fragment of a retained event states with `place` where the event
    /// is kept.
    pub(crate) fn write(&self, block: Block<'_>, place: Where) {
        set_meta(block, self.kind, self.kind.fragment_head() + self.chunk.len());
        let kept = match self.keyed {
            Keyed::Kept { kept, text } => Some(kept.words(place, text)),
            _ => None,
        };
        let (head, rest) = block.payload().split_at(self.kind.fragment_head() / 8);
        // Relaxed: before the exchange that publishes the block.
        for (slot, word) in head.iter().zip(self.head.words(kept)) {
            slot.store(word, Ordering::Relaxed);
        }
        bytes::store(rest, self.chunk);
    }
}
