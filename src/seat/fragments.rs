//! Reassembles events from fragments. Each sender has at most one event in progress.

use std::collections::BTreeMap;

use crate::event::Buffer;
use crate::event::wire::{FRAGMENT_HEAD_BYTES, FragmentHead, Head, Kind, chunk_len};
use crate::protocol::ring::{Look, Ring};
use crate::seat::copy::{Copied, Published};
use crate::seat::options::Begin;
use crate::segment::geometry::Geometry;

pub(crate) struct Fragments {
    /// By seat of the sender.
    partial: BTreeMap<u16, Partial>,
    /// The fragment just copied out.
    buffer: Buffer,
    block_bytes: usize,
    largest: u64,
    seats: u64,
    /// The reader does not deliver events that began before this id.
    since: u64,
}

struct Partial {
    incarnation: u32,
    message: u32,
    total: u64,
    /// Number of the fragment that must come next.
    next: u64,
    bytes: Buffer,
    /// `None` until the head is complete.
    head: Option<Head>,
    wanted: bool,
}

/// The result of adding a fragment.
pub(crate) enum Assembled {
    /// More fragments follow.
    More,
    /// It was the last fragment of an event that is wanted.
    Whole { head: Head, bytes: Buffer },
    /// It was the last fragment of an event that is not wanted.
    NotWanted { head: Head },
    /// It was the last fragment of an event of which a part was missed.
    Headless,
    /// It was the last fragment of an event that began before the reader did.
    BeforeOurTime,
    /// No writer of this crate stores it.
    Malformed,
}

impl Fragments {
    /// Returns the fragments of a reader that begins on `ring` at `begin`.
    pub(crate) fn beginning(geometry: &Geometry, ring: &Ring, begin: Begin) -> Fragments {
        let mut fragments = Fragments {
            partial: BTreeMap::new(),
            buffer: Buffer::new(),
            block_bytes: geometry.block_bytes(),
            largest: geometry.largest_with(FRAGMENT_HEAD_BYTES) as u64,
            seats: geometry.seats,
            since: if begin.gathers { 0 } else { begin.first },
        };
        if begin.gathers {
            fragments.gather(ring, begin.first);
        }
        fragments
    }

    /// Gathers the fragments before `end` of events that may end after it. Starts at the oldest id in the ring: an
    /// event has at most a quarter of the ring's ids, but ids of other events may lie between them.
    ///
    /// Skips what is malformed, reserved or overwritten. If a part of an event is lost that way, its last fragment
    /// shows it.
    fn gather(&mut self, ring: &Ring, end: u64) {
        // Not further back than a lap, also if the event id is hostile and was greater when `end` was found valid.
        let mut id = ring.oldest().max(end.saturating_sub(ring.capacity()));
        while id < end {
            id = match self.gather_at(ring, id) {
                Some(()) => id + 1,
                // Lapped. Skip no more than necessary: what is skipped here is lost.
                None => ring.oldest().max(id + 1),
            };
        }
    }

    /// Adds the fragment at `id`, if there is one. Returns `None` if it was overwritten.
    fn gather_at(&mut self, ring: &Ring, id: u64) -> Option<()> {
        let seen = match ring.look(id) {
            Ok(Look::Published(seen)) => seen,
            Ok(Look::Lapped) => return None,
            _ => return Some(()),
        };
        let Ok(published) = Published::of(ring, id, seen) else { return Some(()) };
        ring.prefetch_after(id);
        match published.copy_fragment_out(self) {
            Some(Copied::Lapped) => None,
            Some(Copied::Fragment { kind, len }) => {
                // An event that is complete here is dropped. Whether the others are wanted is decided later.
                self.add_with(kind, len, Partial::keep);
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Returns the buffer for a fragment of `len` bytes, rounded up to whole words.
    pub(crate) fn buffer(&mut self, len: usize) -> &mut [u8] {
        self.buffer.resize(len.next_multiple_of(8), 0);
        &mut self.buffer
    }

    /// Returns the first `len` bytes of the buffer.
    pub(crate) fn buffered(&self, len: usize) -> Option<&[u8]> {
        self.buffer.get(..len)
    }

    /// Adds the fragment of `len` bytes in the buffer.
    pub(crate) fn add(&mut self, kind: Kind, len: usize, wants: impl FnOnce(&Head, &[u8]) -> bool) -> Assembled {
        self.add_with(kind, len, |partial, chunk| partial.add(chunk, wants))
    }

    /// As [`add`](Fragments::add). `add` appends the fragment's bytes to its event, and returns `false` if they are
    /// malformed.
    fn add_with(&mut self, kind: Kind, len: usize, add: impl FnOnce(&mut Partial, &[u8]) -> bool) -> Assembled {
        let Some(head) = FragmentHead::parse(kind, &self.buffer[..len]) else { return Assembled::Malformed };
        let chunk = &self.buffer[kind.fragment_head()..len];
        let full = (self.block_bytes - kind.fragment_head()) as u64;
        let plausible = u64::from(head.seat) < self.seats
            && head.total <= self.largest
            && chunk_len(head.total, head.number, full) == Some(chunk.len() as u64);
        if !plausible {
            self.partial.remove(&head.seat);
            return Assembled::Malformed;
        }
        let is_last = chunk_len(head.total, head.number + 1, full).is_none();
        if head.number == 0 {
            self.partial.insert(head.seat, Partial::begin(&head));
        }
        let Some(partial) = self.partial.get_mut(&head.seat).filter(|partial| partial.continues_with(&head)) else {
            self.partial.remove(&head.seat);
            return if !is_last {
                Assembled::More
            } else if head.first_id < self.since {
                Assembled::BeforeOurTime
            } else {
                Assembled::Headless
            };
        };
        if !add(partial, chunk) {
            self.partial.remove(&head.seat);
            return Assembled::Malformed;
        }
        if !is_last {
            return Assembled::More;
        }
        match self.partial.remove(&head.seat) {
            Some(Partial { head: Some(head), wanted: true, bytes, .. }) => Assembled::Whole { head, bytes },
            Some(Partial { head: Some(head), .. }) => Assembled::NotWanted { head },
            _ => Assembled::Malformed,
        }
    }
}

impl Partial {
    fn begin(head: &FragmentHead) -> Partial {
        let FragmentHead { incarnation, message, total, .. } = *head;
        Partial { incarnation, message, total, next: 0, bytes: Buffer::new(), head: None, wanted: true }
    }

    fn continues_with(&self, head: &FragmentHead) -> bool {
        let FragmentHead { incarnation, message, total, number, .. } = *head;
        (self.incarnation, self.message, self.total, self.next) == (incarnation, message, total, number)
    }

    /// Adds a fragment without parsing the event's head. The next [`add`](Partial::add) parses it.
    fn keep(&mut self, chunk: &[u8]) -> bool {
        self.next += 1;
        self.bytes.extend_from_slice(chunk);
        true
    }

    /// Adds a fragment. Returns `false` if the event's head is malformed.
    fn add(&mut self, chunk: &[u8], wants: impl FnOnce(&Head, &[u8]) -> bool) -> bool {
        self.next += 1;
        if !self.wanted {
            return true;
        }
        self.bytes.extend_from_slice(chunk);
        if self.head.is_none() {
            let words = self.bytes.as_chunks::<8>().0;
            // Each fragment except the last holds the words that say it.
            let Some(prefix_len) = Head::prefix_len(|at| words.get(at).copied().map(u64::from_ne_bytes)) else {
                return false;
            };
            if prefix_len as u64 > self.total {
                return false;
            }
            let Some(prefix) = self.bytes.get(..prefix_len) else { return true };
            let Some(head) = Head::parse(prefix) else { return false };
            self.wanted = wants(&head, prefix);
            self.head = Some(head);
            if self.wanted {
                // The length was checked against the largest possible event.
                self.bytes.reserve(self.total as usize - self.bytes.len());
            } else {
                self.bytes = Buffer::new();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Segment;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn g10_a_reader_begins_at_once_where_the_event_id_has_gone_back_since_its_place_was_checked() {
        let segment = Segment::anonymous(&SegmentOptions::new().capacity(64).claims(8).seats(2)).unwrap();
        // Gathers a lap at most, and not every id since the first one.
        let begin = Begin { first: 1 << 50, gathers: true, with_retained: false };
        let fragments = Fragments::beginning(segment.geometry(), &segment.ring(), begin);
        assert!(fragments.partial.is_empty());
    }
}
