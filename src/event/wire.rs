//! The payload of a block: an event, or a fragment of one.
//!
//! ```text
//! event      63 ...... 48 47 ......... 24 23 .. 16 15 .. 8 7 .. 0
//!        w0  [ seat:16 ][ pid: 24      ][event:8][source:8][flags]   lengths of the names in bytes
//!        w1  [ type tag, 0 for bytes                               ]
//!        w2  [ key 0 ] w3 [ key 1 ] w4 [ ttl in ns ] w5 [ 0 ]          only with the flag UNIQUE
//!            source and event, padded to 16 bytes
//!            payload
//!
//! fragment   w0  [ seat:16 ][ number of the fragment: 48 ]
//!            w1  [ incarnation of the seat: 32 ][ message: 32 ]
//!            w2  [ length of the whole event in bytes ]
//!            w3  [ id of the first fragment, if this is not it ]
//!                the event's bytes from `number` times the chunk size on
//!
//! meta       [ 0: 24 ][ kind: 8 ][ length in bytes: 32 ]
//! ```

use std::ops::Range;

use super::Topic;
pub(crate) use crate::segment::geometry::FRAGMENT_HEAD_BYTES;

/// The largest length of a source or event name, in bytes.
pub(crate) const MOST_NAME: usize = 255;
/// Bytes of an event before its names, without and with a unique key.
const HEAD_BYTES: usize = 16;
const UNIQUE_HEAD_BYTES: usize = 48;
const UNIQUE: u8 = 1;
/// Payloads begin at a multiple of this, so archived values can be accessed in place.
pub(crate) const PAYLOAD_ALIGN: usize = 16;

/// The content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Event = 1,
    Fragment = 2,
}

/// The word of a block that describes its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) kind: Kind,
    pub(crate) len: usize,
}

impl Meta {
    pub(crate) const fn bits(self) -> u64 {
        (self.kind as u64) << 32 | self.len as u64
    }

    /// Returns `None` for a word that no writer of this layout stores in blocks of `block_bytes`.
    #[inline]
    pub(crate) fn from_bits(bits: u64, block_bytes: usize) -> Option<Meta> {
        let kind = match bits >> 32 {
            1 => Kind::Event,
            2 => Kind::Fragment,
            _ => return None,
        };
        let len = (bits & u64::from(u32::MAX)) as usize;
        (len <= block_bytes).then_some(Meta { kind, len })
    }
}

/// A unique event's key and ttl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    pub(crate) key: [u64; 2],
    pub(crate) ttl_ns: u64,
}

/// The head of an event, as read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seat: u16,
    pub(crate) pid: u32,
    pub(crate) type_tag: u64,
    pub(crate) unique: Option<UniqueKey>,
    source_len: u8,
    event_len: u8,
}

impl Head {
    /// Returns the number of bytes that [`Head::parse`] needs, given the first 8 of them.
    #[inline]
    pub(crate) fn prefix_len(first: u64) -> usize {
        let [flags, source, event, ..] = first.to_le_bytes();
        (fixed_len(flags) + usize::from(source) + usize::from(event)).next_multiple_of(PAYLOAD_ALIGN)
    }

    /// Parses a head from the first bytes of an event. Returns `None` if it is not valid.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        let (words, _) = bytes.as_chunks::<8>();
        let first = u64::from_ne_bytes(*words.first()?);
        let [flags, source_len, event_len, ..] = first.to_le_bytes();
        if flags & !UNIQUE != 0 || source_len == 0 || event_len == 0 || bytes.len() < Head::prefix_len(first) {
            return None;
        }
        let word = |i: usize| u64::from_ne_bytes(words[i]);
        let unique = (flags & UNIQUE != 0).then(|| UniqueKey { key: [word(2), word(3)], ttl_ns: word(4) });
        Some(Head {
            seat: (first >> 48) as u16,
            pid: (first >> 24) as u32 & PID_MASK,
            type_tag: word(1),
            unique,
            source_len,
            event_len,
        })
    }

    fn names_at(&self) -> usize {
        fixed_len(if self.unique.is_some() { UNIQUE } else { 0 })
    }

    fn source_range(&self) -> Range<usize> {
        let start = self.names_at();
        start..start + usize::from(self.source_len)
    }

    fn event_range(&self) -> Range<usize> {
        let start = self.source_range().end;
        start..start + usize::from(self.event_len)
    }

    /// Returns source and event, concatenated, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn names<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.source_range().start..self.event_range().end]
    }

    /// Returns where the payload begins.
    #[inline]
    pub(crate) fn payload_at(&self) -> usize {
        self.event_range().end.next_multiple_of(PAYLOAD_ALIGN)
    }

    /// Returns the source, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn source<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.source_range()]
    }

    /// Returns the event's name, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn event<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.event_range()]
    }
}

const PID_MASK: u32 = (1 << 24) - 1;

#[inline]
const fn fixed_len(flags: u8) -> usize {
    if flags & UNIQUE == 0 { HEAD_BYTES } else { UNIQUE_HEAD_BYTES }
}

/// Everything before an event's payload, for writing.
#[derive(Clone, Copy)]
pub(crate) struct Prefix<'a> {
    pub(crate) seat: u16,
    pub(crate) pid: u32,
    /// Already validated.
    pub(crate) topic: Topic<'a>,
    pub(crate) type_tag: u64,
    pub(crate) unique: Option<UniqueKey>,
}

impl Prefix<'_> {
    fn flags(&self) -> u8 {
        if self.unique.is_some() { UNIQUE } else { 0 }
    }

    /// Returns its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (fixed_len(self.flags()) + self.topic.source().len() + self.topic.event().len()).next_multiple_of(PAYLOAD_ALIGN)
    }

    /// Passes its words to `emit`, one after the other.
    #[inline]
    pub(crate) fn for_each_word(&self, mut emit: impl FnMut(u64)) {
        emit(
            u64::from(self.seat) << 48
                | u64::from(self.pid & PID_MASK) << 24
                | (self.topic.event().len() as u64) << 16
                | (self.topic.source().len() as u64) << 8
                | u64::from(self.flags()),
        );
        emit(self.type_tag);
        if let Some(UniqueKey { key: [key0, key1], ttl_ns }) = self.unique {
            for word in [key0, key1, ttl_ns, 0] {
                emit(word);
            }
        }
        let mut packer = Packer { emit, word: 0, filled: 0, emitted: 0 };
        packer.push(self.topic.source().as_bytes());
        packer.push(self.topic.event().as_bytes());
        packer.finish();
    }
}

/// Packs bytes into words.
struct Packer<F> {
    emit: F,
    /// The current word: its first `filled` bytes, in the memory order of a little-endian machine.
    word: u64,
    filled: u32,
    emitted: u32,
}

impl<F: FnMut(u64)> Packer<F> {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        for chunk in whole {
            self.push_up_to_8(u64::from_le_bytes(*chunk), 8);
        }
        self.push_up_to_8(up_to_7_bytes(rest), rest.len() as u32);
    }

    /// Adds the lower `len` bytes of `bytes`; the other bytes are 0.
    #[inline]
    fn push_up_to_8(&mut self, bytes: u64, len: u32) {
        self.word |= bytes << (8 * self.filled);
        self.filled += len;
        if self.filled >= 8 {
            self.emit_word();
            self.filled -= 8;
            // The rest: the upper `filled` of the `len` bytes.
            self.word = if self.filled == 0 { 0 } else { bytes >> (8 * (len - self.filled)) };
        }
    }

    #[inline]
    fn emit_word(&mut self) {
        (self.emit)(u64::from_ne_bytes(self.word.to_le_bytes()));
        self.emitted += 1;
        self.word = 0;
    }

    /// Pads to a multiple of 16 bytes.
    #[inline]
    fn finish(mut self) {
        if self.filled > 0 {
            self.emit_word();
        }
        if !self.emitted.is_multiple_of(2) {
            self.emit_word();
        }
    }
}

/// Reads at most 7 bytes as a little-endian number, without a call of `memcpy` for a length known only at run time.
#[inline]
fn up_to_7_bytes(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two loads overlap in equal bytes.
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
    }
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The head of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentHead {
    pub(crate) seat: u16,
    pub(crate) number: u64,
    pub(crate) incarnation: u32,
    pub(crate) message: u32,
    /// The length of the whole event in bytes.
    pub(crate) total: u64,
    /// The id of the message's first fragment; not used in the first one.
    pub(crate) first_id: u64,
}

impl FragmentHead {
    pub(crate) fn to_bytes(self) -> [u8; FRAGMENT_HEAD_BYTES] {
        let words = [
            u64::from(self.seat) << 48 | self.number,
            u64::from(self.incarnation) << 32 | u64::from(self.message),
            self.total,
            self.first_id,
        ];
        let mut bytes = [0; FRAGMENT_HEAD_BYTES];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// Returns `None` if there are too few bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Option<FragmentHead> {
        let words = bytes.as_chunks::<8>().0.first_chunk::<4>()?.map(u64::from_ne_bytes);
        Some(FragmentHead {
            seat: (words[0] >> 48) as u16,
            number: words[0] & ((1 << 48) - 1),
            incarnation: (words[1] >> 32) as u32,
            message: words[1] as u32,
            total: words[2],
            first_id: words[3],
        })
    }
}

/// Returns the number of payload bytes in fragment number `number` of an event of `total` bytes, in fragments of at
/// most `chunk` bytes. Returns `None` if there is no such fragment.
pub(crate) fn chunk_len(total: u64, number: u64, chunk: u64) -> Option<u64> {
    let start = number.checked_mul(chunk)?;
    let left = total.checked_sub(start)?;
    (left > 0).then(|| left.min(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_read_as_written() {
        let unique = UniqueKey { key: [3, 4], ttl_ns: 5 };
        let text = "abcdefghijklmnopqrstuvwxyz".repeat(10);
        for unique in [None, Some(unique)] {
            for (source_len, event_len) in
                (1..40).flat_map(|a| (1..40).map(move |b| (a, b))).chain([(255, 255), (255, 1)])
            {
                let (source, event) = (&text[..source_len], &text[3..3 + event_len]);
                let prefix =
                    Prefix { seat: 65535, pid: 4_194_303, topic: Topic::new(source, event), type_tag: 77, unique };
                let mut bytes = Vec::new();
                prefix.for_each_word(|word| bytes.extend(word.to_ne_bytes()));
                let bytes = &bytes[..];
                assert_eq!(prefix.len(), bytes.len());
                let first = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(Head::prefix_len(first), bytes.len());
                let head = Head::parse(bytes).unwrap();
                assert_eq!((head.seat, head.pid, head.type_tag, head.unique), (65535, 4_194_303, 77, unique));
                assert_eq!(head.source(bytes), source.as_bytes());
                assert_eq!(head.names(bytes), [source, event].concat().as_bytes());
                assert_eq!(head.payload_at(), bytes.len());
                assert!(Head::parse(&bytes[..bytes.len() - 1]).is_none(), "a prefix cut short was accepted");
            }
        }
    }

    #[test]
    fn g10_bytes_that_no_writer_writes_are_no_head() {
        let head = |first: u64| Head::parse(&[first.to_ne_bytes(), [0; 8], [0; 8], [0; 8]].concat());
        let (one_and_one, unique) = (1 << 16 | 1 << 8, 1);
        assert!(head(one_and_one).is_some());
        assert!(head(one_and_one | unique).is_none(), "shorter than its key");
        for (first, what) in [(one_and_one | 2, "an unknown flag"), (1 << 16, "no source"), (1 << 8, "no event")] {
            assert!(head(first).is_none(), "{what}");
        }
    }

    #[test]
    fn fragments_cover_an_event_exactly() {
        for total in 1..100_u64 {
            for chunk in 1..20 {
                let lens: Vec<u64> = (0..).map_while(|n| chunk_len(total, n, chunk)).collect();
                assert_eq!(lens.iter().sum::<u64>(), total);
                assert!(lens[..lens.len() - 1].iter().all(|&len| len == chunk));
            }
        }
        assert_eq!(chunk_len(10, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn a_fragment_head_is_read_as_written() {
        let head = FragmentHead {
            seat: u16::MAX,
            number: (1 << 48) - 1,
            incarnation: u32::MAX,
            message: 7,
            total: u64::MAX,
            first_id: 9,
        };
        assert_eq!(FragmentHead::parse(&head.to_bytes()), Some(head));
        assert_eq!(FragmentHead::parse(&[0; 31]), None);
    }
}
