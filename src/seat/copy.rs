//! Copies the block of a published cell, of the ring or of the table of retained events. All readers use this code.
//!
//! ```text
//! first look    the cell names the block        Ring::look, Table::get, Table::walk
//! copy          relaxed loads, into private memory
//! second look   the cell is as it was           Original::is_unchanged
//! ```
//!
//! The payload in a large block is copied in the same way, after the event that names it: see `protocol::large`.
//!
//! The words may be overwritten while they are copied, and may then have any value. Nothing is trusted before the
//! second look: until then a length is only a bound on what is copied.

use crate::event::missed::Gap;
use crate::event::wire::{Head, Kind, LARGE_NAME_BYTES, LargeName, Meta};
use crate::event::{Buffer, Words};
use crate::protocol::Fault;
use crate::protocol::bytes;
use crate::protocol::large::{LargeRead, LargeRing};
use crate::protocol::pool::Block;
use crate::protocol::retained::SlotLook;
use crate::protocol::ring::Ring;
use crate::protocol::word::CellWord;
use crate::seat::fragments::Fragments;
use crate::seat::visit::{Choice, Choose, LEAST_VISITED};
use crate::sync::{AtomicU64, Ordering};

/// Events of up to this many bytes (the content of two cache lines) are copied whole before it is known if they are
/// wanted. Of longer events, this many bytes are copied first.
pub(super) const SMALL: usize = 96;

/// The words that an event is copied from. They may be overwritten meanwhile.
trait Original {
    /// Returns the word that describes the event.
    fn meta_bits(&self) -> u64;
    /// Returns the words of the event, and the words behind it.
    fn words(&self) -> &[AtomicU64];
    /// The second look. Returns `true` if the words that were copied before are those that were published.
    fn is_unchanged(&self) -> bool;

    /// Returns the kind and length that the block states, or `None` if no writer stores them. The length is at most
    /// that of a block.
    #[inline]
    fn meta(&self) -> Option<Meta> {
        Meta::from_bits(self.meta_bits(), self.words().len() * 8)
    }

    /// Copies words from byte `at` of the event on. Returns `true` if they are those that were published.
    // Always: as `Published::copy_out`.
    #[inline(always)]
    fn copy(&self, at: usize, into: &mut [u8]) -> bool {
        bytes::load_bytes(&self.words()[at / 8..], into);
        self.is_unchanged()
    }

    /// Returns [`Copied::Unreadable`] if the malformed content was published so.
    #[cold]
    fn unreadable(&self) -> Copied {
        if self.is_unchanged() { Copied::Unreadable } else { Copied::Lapped }
    }

    /// Copies an event of `len` bytes into `into`, whose buffer grows as needed. Copies the payload only if `choose`
    /// chooses so, or if the event is small.
    // Always: as `Published::copy_out`.
    #[inline(always)]
    fn copy_event(&self, len: usize, into: CopyInto<'_>, choose: &mut impl Choose) -> Copied {
        if len >= LEAST_VISITED {
            return self.copy_in_parts(len, into, choose);
        }
        match self.copy_short(len, CopyInto { head: &mut *into.head, buffer: &mut *into.buffer }, choose) {
            Short::Event => Copied::Event { len },
            Short::NotWanted => Copied::NotWanted { len },
            Short::Lapped => Copied::Lapped,
            Short::Unreadable => Copied::Unreadable,
            Short::LongHead => self.copy_in_parts(len, into, choose),
        }
    }

    /// Copies a short event of `len` bytes: a small one whole, and of a larger one the first bytes. Then asks `choose`,
    /// and copies the rest.
    // Always: as `Published::copy_out`.
    #[inline(always)]
    fn copy_short(&self, len: usize, into: CopyInto<'_>, choose: &mut impl Choose) -> Short {
        let CopyInto { head, buffer } = into;
        let whole = len.next_multiple_of(8);
        let first = whole.min(SMALL);
        grow(buffer, first);
        let copy = &mut buffer[..first];
        if !self.copy(0, copy) {
            return Short::Lapped;
        }
        let Some(parsed) = Head::parse(&copy[..len.min(SMALL)]) else {
            return if len > SMALL { Short::LongHead } else { Short::Unreadable };
        };
        *head = parsed;
        match choose.choose(head, &copy[..parsed.payload_at()]) {
            Choice::Pass => return Short::NotWanted,
            // Too short for a visit.
            Choice::Visit | Choice::Copy => {}
        }
        if len > SMALL {
            grow(buffer, whole);
            if !self.copy(SMALL, &mut buffer[SMALL..whole]) {
                return Short::Lapped;
            }
        }
        Short::Event
    }

    /// Copies the bytes before the payload of an event of `len` bytes, and the payload only if `choose` chooses so.
    #[inline]
    fn copy_in_parts(&self, len: usize, into: CopyInto<'_>, choose: &mut impl Choose) -> Copied {
        let CopyInto { head, buffer } = into;
        // Relaxed: before the second look, like all loads of the copy.
        let word = |at: usize| self.words().get(at).map(|word| word.load(Ordering::Relaxed));
        let Some(prefix_len) = Head::prefix_len(word).filter(|&prefix_len| prefix_len <= len) else {
            return self.unreadable();
        };
        let whole = len.next_multiple_of(8);
        // Not more, because the payload may be visited.
        grow(buffer, prefix_len);
        if !self.copy(0, &mut buffer[..prefix_len]) {
            return Copied::Lapped;
        }
        let prefix = &buffer[..prefix_len];
        let Some(parsed) = Head::parse(prefix) else { return Copied::Unreadable };
        *head = parsed;
        match choose.choose(head, prefix) {
            Choice::Pass => return Copied::NotWanted { len },
            Choice::Visit if len - prefix_len >= LEAST_VISITED => {
                choose.visit(head, prefix, Words::shared(&self.words()[prefix_len / 8..], len - prefix_len));
                return if self.is_unchanged() { Copied::Visited { len: prefix_len } } else { Copied::Lapped };
            }
            Choice::Visit | Choice::Copy => {}
        }
        grow(buffer, whole);
        if !self.copy(prefix_len, &mut buffer[prefix_len..whole]) {
            return Copied::Lapped;
        }
        Copied::Event { len }
    }
}

/// Makes `buffer` at least `len` bytes long.
#[inline]
pub(super) fn grow(buffer: &mut Buffer, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
}

impl Original for SlotLook<'_> {
    #[inline]
    fn meta_bits(&self) -> u64 {
        self.meta()
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.event()
    }

    #[inline]
    fn is_unchanged(&self) -> bool {
        self.unchanged()
    }
}

/// Copies the event in a slot, as [`Published::copy_out`] does.
#[inline]
pub(crate) fn copy_retained(
    slot: &SlotLook<'_>,
    into: CopyInto<'_>,
    mut wants: impl FnMut(&Head, &[u8]) -> bool,
) -> Copied {
    match Original::meta(slot) {
        Some(Meta { kind: Kind::Event, len }) => slot.copy_event(len, into, &mut wants),
        _ => slot.unreadable(),
    }
}

/// An id whose cell was found published.
pub(crate) struct Published<'a> {
    ring: &'a Ring,
    id: u64,
    cell: CellWord,
    block: Block<'a>,
}

/// Where an event is copied to. The head is not in [`Copied`], so that it is written once.
pub(crate) struct CopyInto<'a> {
    pub(crate) head: &'a mut Head,
    pub(crate) buffer: &'a mut Buffer,
}

/// The result of a copy.
pub(crate) enum Copied {
    /// An event that is wanted, in the first `len` bytes of the buffer.
    Event { len: usize },
    /// An event of `len` bytes that is not wanted. The buffer has at least the bytes before its payload.
    NotWanted { len: usize },
    /// An event that was visited. The first `len` bytes of the buffer are those before its payload.
    Visited { len: usize },
    /// A fragment, in the first `len` bytes of the fragments' buffer.
    Fragment { kind: Kind, len: usize },
    /// A record of events that were lost between hosts.
    Gap(Box<Gap>),
    /// The id was overwritten.
    Lapped,
    /// The payload of a wanted event was overwritten in its large block.
    Overwritten,
    /// No writer of this crate stores what is there.
    Unreadable,
}

/// The result of a copy of a short event. It fits into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    Event,
    NotWanted,
    Lapped,
    Unreadable,
    /// The bytes before its payload are more than are copied first, or they are malformed.
    LongHead,
}

impl<'a> Published<'a> {
    /// Returns the id whose cell held `cell` at the first look.
    #[inline]
    pub(crate) fn of(ring: &'a Ring, id: u64, cell: CellWord) -> Result<Published<'a>, Fault> {
        let block = ring.block(cell)?;
        block.prefetch_second_line();
        Ok(Published { ring, id, cell, block })
    }

    /// Returns the length of the event if it is short, as most are: shorter than what is visited. Then
    /// [`copy_short`](Published::copy_short) does the same as [`copy_out`](Published::copy_out), unless the head is
    /// long. The length counts if the copy does.
    #[inline]
    pub(crate) fn short_len(&self) -> Option<usize> {
        let len = self.meta_bits().wrapping_sub(Meta { kind: Kind::Event, len: 0 }.bits());
        let most = (LEAST_VISITED - 1).min(self.words().len() * 8);
        usize::try_from(len).ok().filter(|&len| len <= most)
    }

    /// Copies a short event of `len` bytes into `into`, whose buffer grows as needed.
    #[inline(always)]
    pub(crate) fn copy_short(&self, len: usize, into: CopyInto<'_>, choose: &mut impl Choose) -> Short {
        Original::copy_short(self, len, into, choose)
    }

    /// Returns the length that the block states, for a guess about the next ones.
    #[inline]
    pub(crate) fn stated_len(&self) -> usize {
        self.meta().map_or(0, |meta| meta.len)
    }

    /// Returns `true` if the payload is in a large block. It counts if a copy that is made afterwards does.
    pub(crate) fn is_large(&self) -> bool {
        self.meta().is_some_and(|meta| meta.kind == Kind::Large)
    }

    #[inline]
    fn copy_fragment(&self, kind: Kind, len: usize, fragments: &mut Fragments) -> Copied {
        if self.copy(0, fragments.buffer(len)) { Copied::Fragment { kind, len } } else { Copied::Lapped }
    }

    /// Copies an event into `into`, whose buffer grows as needed, or a fragment into the buffer of `fragments`. Copies
    /// the payload of an event only if `choose` chooses so, or if the event is small.
    ///
    /// `large` is the ring of large blocks, if the segment has one.
    // Always: one call for each event read, and the caller's match on the outcome goes into it.
    #[inline(always)]
    pub(crate) fn copy_out(
        &self,
        into: CopyInto<'_>,
        fragments: &mut Fragments,
        large: Option<&LargeRing>,
        choose: &mut impl Choose,
    ) -> Copied {
        match self.meta() {
            Some(Meta { kind: Kind::Event, len }) => self.copy_event(len, into, choose),
            Some(Meta { kind: Kind::Large, len }) => self.copy_large(len, into, large, choose),
            Some(Meta { kind: Kind::Gap, len }) => self.copy_gap(len),
            Some(Meta { kind, len }) => self.copy_fragment(kind, len, fragments),
            None => self.unreadable(),
        }
    }

    /// Copies an event of which the block has `len` bytes, and a large block the payload.
    #[inline(never)]
    fn copy_large(
        &self,
        len: usize,
        into: CopyInto<'_>,
        large: Option<&LargeRing>,
        choose: &mut impl Choose,
    ) -> Copied {
        let CopyInto { head, buffer } = into;
        let whole = len.next_multiple_of(8);
        grow(buffer, whole);
        if !self.copy(0, &mut buffer[..whole]) {
            return Copied::Lapped;
        }
        // From here on, the large id is the one that was published with the event.
        let parts = len.checked_sub(LARGE_NAME_BYTES).map(|start| buffer[..len].split_at(start));
        let Some((prefix, name)) = parts else { return Copied::Unreadable };
        let (Some(parsed), Some(name), Some(large)) = (Head::parse(prefix), LargeName::parse(name), large) else {
            return Copied::Unreadable;
        };
        let start = parsed.payload_at();
        if start != prefix.len() || name.len > large.payload_bytes() as u64 {
            return Copied::Unreadable;
        }
        *head = parsed;
        let payload_len = name.len as usize;
        let len = start + payload_len;
        let choice = choose.choose(head, prefix);
        // Relaxed: before the second look.
        let is_named = |block: Block<'_>| {
            block.meta().load(Ordering::Relaxed) == Meta { kind: Kind::Large, len: payload_len }.bits()
        };
        let (read, whole) = match choice {
            Choice::Pass => return Copied::NotWanted { len },
            Choice::Visit => {
                let read = large.read(name.id, |block| {
                    choose.visit(head, prefix, Words::shared(block.payload(), payload_len));
                    is_named(block)
                });
                (read, Copied::Visited { len: start })
            }
            Choice::Copy => {
                let whole = len.next_multiple_of(8);
                grow(buffer, whole);
                let read = large.read(name.id, |block| {
                    bytes::load_bytes(block.payload(), &mut buffer[start..whole]);
                    is_named(block)
                });
                (read, Copied::Event { len })
            }
        };
        match read {
            Ok(LargeRead::Whole(true)) => whole,
            Ok(LargeRead::Overwritten) => Copied::Overwritten,
            // No writer of this crate posts an event that names such a payload.
            Ok(LargeRead::Whole(false) | LargeRead::Absent) | Err(_) => Copied::Unreadable,
        }
    }

    #[cold]
    fn copy_gap(&self, len: usize) -> Copied {
        let mut bytes = [0; Gap::BYTES];
        if len != Gap::BYTES {
            return self.unreadable();
        }
        if !self.copy(0, &mut bytes) {
            return Copied::Lapped;
        }
        Gap::parse(&bytes).map_or(Copied::Unreadable, |gap| Copied::Gap(Box::new(gap)))
    }

    /// As [`copy_out`](Published::copy_out), for fragments only. Returns `None` if there is no fragment.
    pub(crate) fn copy_fragment_out(&self, fragments: &mut Fragments) -> Option<Copied> {
        match self.meta()? {
            Meta { kind: Kind::Event | Kind::Large | Kind::Gap, .. } => None,
            Meta { kind, len } => Some(self.copy_fragment(kind, len, fragments)),
        }
    }
}

impl Original for Published<'_> {
    #[inline]
    fn meta_bits(&self) -> u64 {
        // Relaxed: before the second look.
        self.block.meta().load(Ordering::Relaxed)
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.block.payload()
    }

    #[inline]
    fn is_unchanged(&self) -> bool {
        self.ring.unchanged(self.id, self.cell)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Topic;
    use crate::protocol::ring::Look;
    use crate::seat::Seat;
    use crate::seat::options::Start;
    use crate::seat::publish::Outgoing;
    use crate::seat::room::Posting;
    use crate::segment::Segment;
    use crate::segment::options::SegmentOptions;

    const CAPACITY: u64 = 8;

    struct Posted {
        seat: Seat,
        ring: Ring,
        cell: CellWord,
    }

    impl Posted {
        /// Makes a bus with one event, which has id 0.
        fn of(payload: &[u8]) -> Posted {
            Posted::with_blocks(288, payload)
        }

        fn with_blocks(size: u64, payload: &[u8]) -> Posted {
            Posted::with_topic(size, Topic::new("s", "e"), payload)
        }

        fn with_topic(size: u64, topic: Topic<'_>, payload: &[u8]) -> Posted {
            let options = SegmentOptions::new().capacity(CAPACITY).block_size(size).claims(8).seats(2);
            let segment = Arc::new(Segment::anonymous(&options).unwrap());
            let mut seat = Seat::take(&segment, "").unwrap();
            post(&mut seat, topic, payload);
            let ring = segment.ring();
            let Ok(Look::Published(cell)) = ring.look(0) else { panic!("it was posted") };
            Posted { seat, ring, cell }
        }

        fn fragments(&self) -> Fragments {
            let segment = &self.seat.segment;
            Fragments::beginning(segment.geometry(), &self.ring, Start::Oldest.begin(segment).unwrap())
        }

        /// Copies out id 0. Posts a lap before, or inside the call of `wants`, if asked to.
        fn copy(&mut self, lap_before: bool, lap_meanwhile: bool, is_wanted: bool) -> (Copied, Head, Buffer) {
            let (mut head, mut buffer, mut fragments) = (Head::default(), Buffer::new(), self.fragments());
            if lap_before {
                lap(&mut self.seat);
            }
            let published = Published::of(&self.ring, 0, self.cell).unwrap();
            let into = CopyInto { head: &mut head, buffer: &mut buffer };
            let mut wants = |_: &Head, _: &[u8]| {
                if lap_meanwhile {
                    lap(&mut self.seat);
                }
                is_wanted
            };
            let copied = published.copy_out(into, &mut fragments, None, &mut wants);
            (copied, head, buffer)
        }
    }

    fn post(seat: &mut Seat, topic: Topic<'_>, payload: &[u8]) {
        seat.writer.post(&Outgoing::plain(topic, payload), &mut Posting::default()).unwrap();
    }

    fn lap(seat: &mut Seat) {
        (0..CAPACITY).for_each(|_| post(seat, Topic::new("s", "e"), b"later"));
    }

    #[test]
    fn g3_what_is_overwritten_while_it_is_copied_is_lapped() {
        let names = "n".repeat(120);
        let (short_names, long_names) = (Topic::new("s", "e"), Topic::new(&names, "e"));
        let block = 2 * LEAST_VISITED as u64;
        // A small event, a short one, one with a long head, and one that is too long for the short path.
        let cases = [(short_names, 8), (short_names, 200), (long_names, 200), (short_names, LEAST_VISITED)];
        for (topic, len) in cases {
            let payload = vec![1; len];
            let posted = || Posted::with_topic(block, topic, &payload);
            for is_wanted in [true, false] {
                let (copied, head, buffer) = posted().copy(false, false, is_wanted);
                match copied {
                    Copied::Event { len } if is_wanted => assert_eq!(buffer[head.payload_at()..len], *payload),
                    Copied::NotWanted { len } if !is_wanted => assert_eq!(len - head.payload_at(), payload.len()),
                    _ => panic!("{len} bytes, wanted: {is_wanted}"),
                }
                let (copied, ..) = posted().copy(true, false, is_wanted);
                assert!(matches!(copied, Copied::Lapped), "{len} bytes: a later event");
            }
            let (copied, ..) = posted().copy(false, true, true);
            if len <= SMALL {
                // It was copied whole before `wants` was called.
                assert!(matches!(copied, Copied::Event { .. }));
            } else {
                assert!(matches!(copied, Copied::Lapped), "{len} bytes: the head of one event, the payload of another");
            }
        }
    }

    /// Visits every event. Posts a lap after it has read the first byte, if asked to.
    struct Visits<'a> {
        seat: &'a mut Seat,
        lap_in_visit: bool,
        met: Vec<Vec<u8>>,
    }

    impl Choose for Visits<'_> {
        fn choose(&mut self, _: &Head, _: &[u8]) -> Choice {
            Choice::Visit
        }

        fn visit(&mut self, head: &Head, prefix: &[u8], words: Words<'_>) {
            assert_eq!((head.source(prefix), head.event(prefix)), (&b"s"[..], &b"e"[..]));
            let first = words.byte_at(0);
            if self.lap_in_visit {
                lap(self.seat);
            }
            let mut seen = words.to_vec();
            seen[0] = first.expect("a byte");
            self.met.push(seen);
        }
    }

    #[test]
    fn g3_a_visit_of_what_is_overwritten_does_not_count() {
        let least = LEAST_VISITED;
        let cases =
            [(8, false), (least - 1, false), (least, false), (least + 8, false), (least + 7, true), (least, true)];
        for (len, lap_in_visit) in cases {
            let payload = vec![1; len];
            let mut posted = Posted::with_blocks(2 * least as u64, &payload);
            let (mut head, mut buffer, mut fragments) = (Head::default(), Buffer::new(), posted.fragments());
            let published = Published::of(&posted.ring, 0, posted.cell).unwrap();
            let into = CopyInto { head: &mut head, buffer: &mut buffer };
            let mut visits = Visits { seat: &mut posted.seat, lap_in_visit, met: Vec::new() };
            let copied = published.copy_out(into, &mut fragments, None, &mut visits);
            match copied {
                // A small one is copied.
                Copied::Event { len } if payload.len() < least => assert_eq!(buffer[head.payload_at()..len], payload),
                Copied::Visited { len } if !lap_in_visit => {
                    assert_eq!((len, &visits.met), (head.payload_at(), &vec![payload]));
                }
                Copied::Lapped if lap_in_visit => assert_eq!(visits.met.len(), 1),
                _ => panic!("{len} bytes, a lap in the visit: {lap_in_visit}"),
            }
        }
    }

    #[test]
    fn g3_a_fragment_that_is_overwritten_is_lapped() {
        let whole = [1; 400];
        let mut posted = Posted::of(&whole);
        assert!(matches!(posted.copy(false, false, true).0, Copied::Fragment { .. }));
        assert!(matches!(posted.copy(true, false, true).0, Copied::Lapped));
        let posted = Posted::of(&whole);
        let mut fragments = posted.fragments();
        let Posted { mut seat, ring, cell } = posted;
        let published = Published::of(&ring, 0, cell).unwrap();
        assert!(matches!(published.copy_fragment_out(&mut fragments), Some(Copied::Fragment { .. })));
        lap(&mut seat);
        assert!(!matches!(published.copy_fragment_out(&mut fragments), Some(Copied::Fragment { .. })));
    }

    #[test]
    fn g10_a_malformed_head_is_unreadable_in_an_event_of_any_size() {
        // No names; names that are longer than the event.
        for first in [0, 0xff_ff00] {
            for len in [8, 96, 104, 288] {
                let mut posted = Posted::of(&[1; 8]);
                let block = posted.ring.block(posted.cell).unwrap();
                block.meta().store(Meta { kind: Kind::Event, len }.bits(), Ordering::Relaxed);
                block.payload()[0].store(first, Ordering::Relaxed);
                assert!(matches!(posted.copy(false, false, true).0, Copied::Unreadable), "{first:#x}, {len} bytes");
            }
        }
    }

    #[test]
    fn g10_what_no_writer_stores_is_unreadable_unless_it_was_overwritten() {
        for meta in [0, u64::MAX, 1 << 32 | 289, 1 << 32 | 8, 4 << 32 | 64, 5 << 32 | 64, 6 << 32 | 64] {
            let mut posted = Posted::of(&[1; 8]);
            posted.ring.block(posted.cell).unwrap().meta().store(meta, Ordering::Relaxed);
            assert!(matches!(posted.copy(false, false, true).0, Copied::Unreadable), "meta {meta:#x}");
            // The block is private now, and was filled again.
            lap(&mut posted.seat);
            posted.ring.block(posted.cell).unwrap().meta().store(meta, Ordering::Relaxed);
            assert!(matches!(posted.copy(false, false, true).0, Copied::Lapped), "meta {meta:#x}");
        }
    }
}
