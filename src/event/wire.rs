//! The payload of a block: an event, or a fragment of one.
//!
//! ```text
//! event      63 ...... 48 47 ......... 24 23 .. 16 15 .. 8 7 .. 0
//!        w0  [ seat:16 ][ pid: 24      ][event:8][source:8][flags]   lengths of the names in bytes
//!        w1  [ type tag, 0 for bytes                               ]
//!        w2  [ key 0 ] w3 [ key 1 ] w4 [ ttl in ns ] w5 [ 0 ]          only with the flag UNIQUE
//!        w2  [ key 0 ] w3 [ key 1 ] w4 [ ttl in ns ] w5 [ where ]      only with the flag RETAIN; ttl 0: none
//!            [ origin ] [ id there ] [ timeline ] [ number in it ]     next, only with the flag RELAYED
//!            source, event and key of a retained event, padded to 16 bytes
//!            payload; none with the flag CLEAR
//!            the flag BRIDGED changes nothing else
//!
//! fragment   w0  [ seat:16 ][ number of the fragment: 48 ]
//!            w1  [ incarnation of the seat: 32 ][ message: 32 ]
//!            w2  [ length of the whole event in bytes ]
//!            w3  [ id of the first fragment, if this is not it ]
//!                the event's bytes from `number` times the chunk size on
//!            of a retained event, w2 to w5 are those of the event, w6 and w7 what w2 and w3 are above
//!
//! large      an event as above, but behind its head, in place of the payload:
//!            [ large id ]
//!            [ length of the payload in bytes ]
//!            the block of the large id has the payload and nothing else
//!
//! gap        four words: see `missed`
//!
//! meta       [ 0: 24 ][ kind: 8 ][ length in bytes: 32 ]
//! ```
//!
//! An event with the flag ORDERED is a request to a relay, and no event to all others. If it has the flag RETAIN, its
//! key is the user's alone: the event that comes of it is retained, and not the request.

use std::ops::Range;

use super::Topic;
use crate::identity::{ClusterId, Origin};
use crate::os::pack::{three_in_16_bytes, up_to_7_bytes, up_to_16_bytes};
use crate::protocol::word::Where;
pub(crate) use crate::segment::geometry::{FRAGMENT_HEAD_BYTES, LARGE_NAME_BYTES, RETAINED_FRAGMENT_HEAD_BYTES};

/// The largest length of a source or event name, in bytes.
pub(crate) const MOST_NAME: usize = 255;
/// The largest length of a user's key of a retained event, in bytes.
pub(crate) const MOST_KEY: usize = 255;
/// Bytes of an event before its names, without a key, and with the words of one.
const HEAD_BYTES: usize = 16;
const KEYED_HEAD_BYTES: usize = 48;
const UNIQUE: u8 = 1;
const RETAIN: u8 = 2;
const CLEAR: u8 = 4;
/// The event came over a bridge. The highest bit, beside what an event is: other marks of that kind take the next ones.
const BRIDGED: u8 = 1 << 7;
/// It came from another host, or from this one through the stream.
const RELAYED: u8 = 8;
/// It is a request to the relay of this host.
const ORDERED: u8 = 16;
/// The flags that say which words of a key there are.
const KEYS: u8 = UNIQUE | RETAIN | CLEAR;
/// Bytes of the words of a relayed event.
pub(crate) const VIA_BYTES: usize = 32;
/// The word of a retained event that says where it is kept, and how long the user's key is.
pub(crate) const WHERE_AT: usize = 5;
/// Words before the payload of a retained event with a short key and short names.
pub(crate) const SHORT_KEPT_WORDS: usize = 8;
/// Payloads begin at a multiple of this, so archived values can be accessed in place.
pub(crate) const PAYLOAD_ALIGN: usize = 16;

/// The content of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Event = 1,
    Fragment = 2,
    /// Of a retained event.
    RetainedFragment = 3,
    /// In the ring, an event whose payload is in a large block. In the large ring, such a payload.
    Large = 4,
    /// Events that were lost on their way from another host.
    Gap = 5,
}

impl Kind {
    /// Returns the bytes of a fragment before its chunk of the event.
    pub(crate) const fn fragment_head(self) -> usize {
        match self {
            Kind::Event | Kind::Fragment | Kind::Large | Kind::Gap => FRAGMENT_HEAD_BYTES,
            Kind::RetainedFragment => RETAINED_FRAGMENT_HEAD_BYTES,
        }
    }
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
            3 => Kind::RetainedFragment,
            4 => Kind::Large,
            5 => Kind::Gap,
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

/// How an event is retained, or that it clears what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The hash of source, event and the user's key.
    pub(crate) key: [u64; 2],
    /// 0 for none.
    pub(crate) ttl_ns: u64,
    /// `true` if nothing is retained under the key from this event on.
    pub(crate) clears: bool,
}

/// Where a relayed event comes from, and its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) origin: Origin,
    /// Its id on its own host.
    pub(crate) id: u64,
    pub(crate) place: ClusterId,
}

impl Via {
    /// Returns the words of the event that say this.
    pub(crate) fn bytes(self) -> [u8; VIA_BYTES] {
        let Via { origin, id, place: ClusterId { timeline, n } } = self;
        let mut bytes = [0; VIA_BYTES];
        for (slot, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip([origin.bits(), id, timeline, n]) {
            *slot = word.to_ne_bytes();
        }
        bytes
    }

    /// Returns what the words of a relayed event say.
    pub(crate) fn of_bytes(bytes: &[u8; VIA_BYTES]) -> Via {
        let word = |at: usize| u64::from_ne_bytes(bytes.as_chunks::<8>().0[at]);
        let place = ClusterId { timeline: word(2), n: word(3) };
        Via { origin: Origin::from_bits(word(0)), id: word(1), place }
    }
}

/// The head of an event, as read: its first word, the length of its key, and where its payload begins. Everything else
/// stays in the bytes that the head was read from: a reader moves the head of each event, and not every event needs the
/// rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    first: u64,
    key_len: u32,
    payload_at: u32,
}

impl Head {
    /// Returns the number of bytes that [`Head::parse`] needs. `word` returns a word of the event. Returns `None` if it
    /// does not return one of those that say.
    #[inline]
    pub(crate) fn prefix_len(word: impl Fn(usize) -> Option<u64>) -> Option<usize> {
        Some(Head::of(word)?.payload_at())
    }

    /// Parses a head from the first bytes of an event. Returns `None` if it is not valid.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| words.get(at).copied().map(u64::from_ne_bytes);
        let head = Head::of(word)?;
        let is_valid = are_flags(head.flags() & !BRIDGED)
            && head.source_len() != 0
            && head.event_len() != 0
            && head.payload_at() <= bytes.len();
        is_valid.then_some(head)
    }

    #[inline]
    fn of(word: impl Fn(usize) -> Option<u64>) -> Option<Head> {
        let first = word(0)?;
        let flags = first as u8;
        let key_len = if flags & RETAIN == 0 { 0 } else { u32::from(Where::from_bits(word(WHERE_AT)?).key_len()) };
        let (source_len, event_len) = (u32::from((first >> 8) as u8), u32::from((first >> 16) as u8));
        let names_at = fixed_len(flags) as u32;
        let payload_at = (names_at + source_len + event_len + key_len).next_multiple_of(PAYLOAD_ALIGN as u32);
        Some(Head { first, key_len, payload_at })
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.first as u8
    }

    #[inline]
    pub(crate) fn source_len(&self) -> usize {
        usize::from((self.first >> 8) as u8)
    }

    /// Returns the lengths of source and event in one word.
    #[inline]
    pub(crate) fn name_lens(&self) -> u16 {
        (self.first >> 8) as u16
    }

    #[inline]
    fn event_len(&self) -> usize {
        usize::from((self.first >> 16) as u8)
    }

    /// Returns the seat of the poster.
    #[inline]
    pub(crate) fn seat(&self) -> u16 {
        (self.first >> 48) as u16
    }

    /// Returns the process of the poster.
    #[inline]
    pub(crate) fn pid(&self) -> u32 {
        (self.first >> 24) as u32 & PID_MASK
    }

    #[inline]
    pub(crate) fn is_unique(&self) -> bool {
        self.flags() & UNIQUE != 0
    }

    /// Returns `true` for a retained event, and for one that clears what is retained.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.flags() & RETAIN != 0
    }

    /// Returns `true` for an event that a bridge has posted.
    #[inline]
    pub(crate) fn is_bridged(&self) -> bool {
        self.flags() & BRIDGED != 0
    }

    /// Returns `true` for a request to the relay, which is no event to others.
    #[inline]
    pub(crate) fn is_request(&self) -> bool {
        self.flags() & ORDERED != 0
    }

    /// Returns `true` for an event that a relay has posted.
    #[inline]
    pub(crate) fn is_relayed(&self) -> bool {
        self.flags() & RELAYED != 0
    }

    /// Returns the words that say where a relayed event comes from, in the bytes that this head was read from. `None`
    /// for other events.
    #[inline]
    pub(crate) fn via<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8; VIA_BYTES]> {
        if !self.is_relayed() {
            return None;
        }
        bytes[self.names_at() - VIA_BYTES..].first_chunk()
    }

    /// Returns `true` for an event that clears what is retained under its key.
    #[inline]
    pub(crate) fn clears(&self) -> bool {
        self.flags() & CLEAR != 0
    }

    /// Returns the tag of the payload's type, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn type_tag(&self, bytes: &[u8]) -> u64 {
        bytes.as_chunks::<8>().0.get(1).copied().map_or(0, u64::from_ne_bytes)
    }

    /// Returns the key of a unique event, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn unique(&self, bytes: &[u8]) -> Option<UniqueKey> {
        let (key, ttl_ns) = self.is_unique().then(|| key_words(bytes)).flatten()?;
        Some(UniqueKey { key, ttl_ns })
    }

    /// Returns how the event is retained, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn kept(&self, bytes: &[u8]) -> Option<Kept> {
        let (key, ttl_ns) = self.is_kept().then(|| key_words(bytes)).flatten()?;
        Some(Kept { key, ttl_ns, clears: self.clears() })
    }

    #[inline]
    fn names_at(&self) -> usize {
        fixed_len(self.flags())
    }

    /// Returns the head of an event that, if `is_over`, clears what is retained.
    pub(crate) fn cleared_if(mut self, is_over: bool) -> Head {
        if is_over && self.is_kept() {
            self.first |= u64::from(CLEAR);
        }
        self
    }

    #[inline]
    fn key_range(&self) -> Range<usize> {
        let start = self.event_range().end;
        start..start + self.key_len as usize
    }

    #[inline]
    fn source_range(&self) -> Range<usize> {
        let start = self.names_at();
        start..start + self.source_len()
    }

    #[inline]
    fn event_range(&self) -> Range<usize> {
        let start = self.source_range().end;
        start..start + self.event_len()
    }

    /// Returns source and event, concatenated, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn names<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.source_range().start..self.event_range().end]
    }

    /// Returns the words from the names to the payload, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn padded_names<'a>(&self, bytes: &'a [u8]) -> &'a [[u8; 8]] {
        bytes[self.names_at()..self.payload_at()].as_chunks::<8>().0
    }

    /// Returns the words of the names of an event without a key, if there are two, as of most events. `bytes` are those
    /// that this head was read from.
    #[inline]
    pub(crate) fn two_words_of_names(&self, bytes: &[u8]) -> Option<[u64; 2]> {
        // The names of other events begin further behind.
        const { assert!(KEYED_HEAD_BYTES > HEAD_BYTES + 2 * 8) };
        if self.payload_at as usize != HEAD_BYTES + 2 * 8 {
            return None;
        }
        let (words, _) = bytes.get(HEAD_BYTES..)?.as_chunks::<8>();
        let [first, second] = *words.first_chunk()?;
        Some([u64::from_ne_bytes(first), u64::from_ne_bytes(second)])
    }

    /// Returns source and event, in the bytes that this head was read from, if they are UTF-8.
    // Always: the names of most events are short and ASCII, and then this is a few instructions.
    #[inline(always)]
    pub(crate) fn texts<'a>(&self, bytes: &'a [u8]) -> Option<[&'a str; 2]> {
        let is_ascii = match self.two_words_of_names(bytes) {
            Some([first, second]) => (first | second) & NOT_ASCII == 0,
            None => self.are_longer_names_ascii(bytes),
        };
        match (bytes.get(self.source_range()), bytes.get(self.event_range())) {
            (Some(source), Some(event)) if is_ascii => {
                // SAFETY: both slices are in the words from the names to the payload, whose bytes are all ASCII. The
                // bytes are borrowed, so they do not change.
                Some(unsafe { [str::from_utf8_unchecked(source), str::from_utf8_unchecked(event)] })
            }
            _ => self.other_texts(bytes),
        }
    }

    /// Returns `true` if all bytes from the names to the payload are ASCII. The key behind the names may be anything.
    #[inline(never)]
    fn are_longer_names_ascii(&self, bytes: &[u8]) -> bool {
        self.padded_names(bytes).iter().all(|word| u64::from_ne_bytes(*word) & NOT_ASCII == 0)
    }

    #[inline(never)]
    fn other_texts<'a>(&self, bytes: &'a [u8]) -> Option<[&'a str; 2]> {
        Some([str::from_utf8(self.source(bytes)).ok()?, str::from_utf8(self.event(bytes)).ok()?])
    }

    /// Returns where the payload begins.
    #[inline]
    pub(crate) fn payload_at(&self) -> usize {
        self.payload_at as usize
    }

    /// Returns the payload, in the bytes that this head was read from, which end with it.
    #[inline]
    pub(crate) fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        // A clear has no payload, even if there are bytes behind its head: a hostile process may write them.
        if self.clears() { &[] } else { bytes.get(self.payload_at()..).unwrap_or_default() }
    }

    /// Returns the user's key of a retained event, in the bytes that this head was read from.
    #[inline]
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key_range()]
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

pub(super) const PID_MASK: u32 = (1 << 24) - 1;

/// The bits of a word that no ASCII text has.
const NOT_ASCII: u64 = u64::from_ne_bytes([0x80; 8]);

const RETAIN_AND_CLEAR: u8 = RETAIN | CLEAR;

/// Returns the key and the ttl of an event that has the words of one.
#[inline]
fn key_words(bytes: &[u8]) -> Option<([u64; 2], u64)> {
    let words = bytes.as_chunks::<8>().0;
    let word = |at: usize| words.get(at).copied().map(u64::from_ne_bytes);
    Some(([word(2)?, word(3)?], word(4)?))
}

/// Returns `true` for flags that a writer of this layout stores.
#[inline]
const fn are_flags(flags: u8) -> bool {
    // Most events have none.
    flags == 0
        || (matches!(flags & KEYS, 0 | UNIQUE | RETAIN | RETAIN_AND_CLEAR)
            && matches!(flags & !KEYS, 0 | RELAYED | ORDERED))
}

/// Returns the bytes of an event before its names.
#[inline]
const fn fixed_len(flags: u8) -> usize {
    let keyed = if flags & (UNIQUE | RETAIN) == 0 { HEAD_BYTES } else { KEYED_HEAD_BYTES };
    if flags & RELAYED == 0 { keyed } else { keyed + VIA_BYTES }
}

/// How an event travels between hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Travel<'a> {
    /// It is an event of this host.
    #[default]
    Local,
    /// It is a request to the relay.
    Request,
    /// It came from the stream: see [`Via::bytes`].
    Relayed(&'a [u8; VIA_BYTES]),
}

impl Travel<'_> {
    #[inline]
    const fn flags(self) -> u8 {
        match self {
            Travel::Local => 0,
            Travel::Request => ORDERED,
            Travel::Relayed(_) => RELAYED,
        }
    }
}

/// What goes with an event beside its topic and payload.
#[derive(Clone, Copy)]
pub(crate) enum Keyed<'a> {
    Nothing,
    Unique(UniqueKey),
    /// It is retained, or clears what is, under a key with this text.
    Kept {
        kept: Kept,
        text: &'a [u8],
    },
}

impl<'a> Keyed<'a> {
    #[inline]
    fn flags(&self) -> u8 {
        match self {
            Keyed::Nothing => 0,
            Keyed::Unique(_) => UNIQUE,
            Keyed::Kept { kept, .. } if kept.clears => RETAIN_AND_CLEAR,
            Keyed::Kept { .. } => RETAIN,
        }
    }

    /// Returns the user's key of a retained event.
    #[inline]
    fn text(&self) -> &'a [u8] {
        match *self {
            Keyed::Kept { text, .. } => text,
            _ => &[],
        }
    }
}

/// Everything before an event's payload, for writing.
#[derive(Clone, Copy)]
pub(crate) struct Prefix<'a> {
    pub(crate) seat: u16,
    pub(crate) pid: u32,
    /// Already validated.
    pub(crate) topic: Topic<'a>,
    pub(crate) type_tag: u64,
    pub(crate) keyed: Keyed<'a>,
    /// `true` for an event of another segment that a bridge posts.
    pub(crate) bridged: bool,
    pub(crate) travel: Travel<'a>,
}

impl Prefix<'_> {
    #[inline]
    fn flags(&self) -> u8 {
        self.keyed.flags() | self.travel.flags() | if self.bridged { BRIDGED } else { 0 }
    }

    /// Returns its length in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let names = self.topic.source().len() + self.topic.event().len() + self.keyed.text().len();
        (fixed_len(self.flags()) + names).next_multiple_of(PAYLOAD_ALIGN)
    }

    #[inline]
    fn first_word(&self) -> u64 {
        u64::from(self.seat) << 48
            | u64::from(self.pid & PID_MASK) << 24
            | u64::from(name_lens(self.topic.source(), self.topic.event())) << 8
            | u64::from(self.flags())
    }

    /// Returns its words if there is no key and the names fit into two words: faster than
    /// [`for_each_word`](Prefix::for_each_word), and the case of most events.
    #[inline]
    pub(crate) fn short_words(&self) -> Option<[u64; 4]> {
        let (source, event) = (self.topic.source().as_bytes(), self.topic.event().as_bytes());
        let has_more_words = !matches!(self.keyed, Keyed::Nothing) || matches!(self.travel, Travel::Relayed(_));
        if has_more_words || source.is_empty() || source.len() + event.len() > 16 {
            return None;
        }
        // The event has at least one byte, so the source has at most 15, and no bit is shifted out.
        let names = up_to_16_bytes(source) | up_to_16_bytes(event) << (8 * source.len());
        let word = |bits: u128| u64::from_ne_bytes((bits as u64).to_le_bytes());
        Some([self.first_word(), self.type_tag, word(names), word(names >> 64)])
    }

    /// Returns its words if it is the one of a retained event of this host whose names and key fit into two words. The
    /// word at [`WHERE_AT`] says nothing of a place.
    #[inline]
    pub(crate) fn short_kept_words(&self) -> Option<[u64; SHORT_KEPT_WORDS]> {
        let (Keyed::Kept { kept, text }, false) = (&self.keyed, matches!(self.travel, Travel::Relayed(_))) else {
            return None;
        };
        let names = three_in_16_bytes([self.topic.source().as_bytes(), self.topic.event().as_bytes(), text])?;
        let [key_0, key_1, ttl, place] = kept.words(Where::NONE, text);
        let word = |bits: u128| u64::from_ne_bytes((bits as u64).to_le_bytes());
        Some([self.first_word(), self.type_tag, key_0, key_1, ttl, place, word(names), word(names >> 64)])
    }

    /// Passes its words to `emit`, one after the other. A retained event says with `place` where it is kept.
    #[inline]
    pub(crate) fn for_each_word(&self, place: Where, mut emit: impl FnMut(u64)) {
        emit(self.first_word());
        emit(self.type_tag);
        let key_words = match self.keyed {
            Keyed::Nothing => None,
            Keyed::Unique(UniqueKey { key: [key0, key1], ttl_ns }) => Some([key0, key1, ttl_ns, 0]),
            Keyed::Kept { kept, text } => Some(kept.words(place, text)),
        };
        for word in key_words.into_iter().flatten() {
            emit(word);
        }
        if let Travel::Relayed(via) = self.travel {
            via.as_chunks::<8>().0.iter().for_each(|word| emit(u64::from_ne_bytes(*word)));
        }
        let mut packer = Packer { emit, word: 0, filled: 0, emitted: 0 };
        packer.push(self.topic.source().as_bytes());
        packer.push(self.topic.event().as_bytes());
        packer.push(self.keyed.text());
        packer.finish();
    }
}

impl Kept {
    /// Returns the words that say how an event with a user's key of `text` is retained, for where it is kept.
    #[inline]
    pub(crate) fn words(&self, place: Where, text: &[u8]) -> [u64; 4] {
        let [key_0, key_1] = self.key;
        [key_0, key_1, self.ttl_ns, place.with_key_len(text.len() as u8).bits()]
    }
}

/// Returns the lengths of source and event in one word, as [`Head::name_lens`].
#[inline]
pub(crate) fn name_lens(source: &str, event: &str) -> u16 {
    (event.len() as u16) << 8 | source.len() as u16
}

/// Returns the words that an event without a key has between its first words and its payload.
pub(crate) fn padded_names(source: &str, event: &str) -> Vec<u64> {
    let mut words = Vec::new();
    let mut packer = Packer { emit: |word| words.push(word), word: 0, filled: 0, emitted: 0 };
    packer.push(source.as_bytes());
    packer.push(event.as_bytes());
    packer.finish();
    words
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

/// The name of a payload in a large block, in the event that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeName {
    /// The large id.
    pub(crate) id: u64,
    /// The length of the payload in bytes.
    pub(crate) len: u64,
}

impl LargeName {
    pub(crate) fn bytes(self) -> [u8; LARGE_NAME_BYTES] {
        let mut bytes = [0; LARGE_NAME_BYTES];
        for (slot, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip([self.id, self.len]) {
            *slot = word.to_ne_bytes();
        }
        bytes
    }

    /// Returns `None` if there are not exactly as many bytes as a name has.
    pub(crate) fn parse(bytes: &[u8]) -> Option<LargeName> {
        let (&[id, len], []) = bytes.as_chunks::<8>() else { return None };
        Some(LargeName { id: u64::from_ne_bytes(id), len: u64::from_ne_bytes(len) })
    }
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
    /// Returns its words. `kept` are those of a retained event.
    pub(crate) fn words(self, kept: Option<[u64; 4]>) -> impl Iterator<Item = u64> {
        let begin =
            [u64::from(self.seat) << 48 | self.number, u64::from(self.incarnation) << 32 | u64::from(self.message)];
        begin.into_iter().chain(kept.into_iter().flatten()).chain([self.total, self.first_id])
    }

    /// Returns `None` if there are too few bytes.
    pub(crate) fn parse(kind: Kind, bytes: &[u8]) -> Option<FragmentHead> {
        let words = bytes.get(..kind.fragment_head())?.as_chunks::<8>().0;
        let word = |index: usize| words.get(index).copied().map(u64::from_ne_bytes);
        let end = words.len() - 2;
        let (first, second) = (word(0)?, word(1)?);
        Some(FragmentHead {
            seat: (first >> 48) as u16,
            number: first & ((1 << 48) - 1),
            incarnation: (second >> 32) as u32,
            message: second as u32,
            total: word(end)?,
            first_id: word(end + 1)?,
        })
    }

    /// Returns the hash of the key of a retained event, from the bytes of one of its fragments.
    pub(crate) fn retained_key(bytes: &[u8]) -> Option<[u64; 2]> {
        let words = bytes.as_chunks::<8>().0;
        Some([u64::from_ne_bytes(*words.get(2)?), u64::from_ne_bytes(*words.get(3)?)])
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
    fn g10_names_are_texts_only_if_they_are_utf_8() {
        let key = Keyed::Kept { kept: Kept { key: [3, 4], ttl_ns: 5, clears: false }, text: &[0xff, 0x80] };
        let names = [("é", "b"), ("a", "ü"), ("a", "b"), ("a name of more than", "sixteen bytes, with ö")];
        for (keyed, (source, event)) in [Keyed::Nothing, key].into_iter().flat_map(|key| names.map(|both| (key, both)))
        {
            let (topic, travel) = (Topic::new(source, event), Travel::Local);
            let prefix = Prefix { seat: 1, pid: 2, topic, type_tag: 0, keyed, travel, bridged: false };
            let mut bytes = Vec::new();
            prefix.for_each_word(Where::new(9, 11), |word| bytes.extend(word.to_ne_bytes()));
            let head = Head::parse(&bytes).unwrap();
            assert_eq!(head.texts(&bytes), Some([source, event]));
            let at = bytes.windows(source.len()).position(|window| window == source.as_bytes()).unwrap();
            for broken in [at, at + source.len()] {
                let mut bytes = bytes.clone();
                bytes[broken] = 0xff;
                assert_eq!(head.texts(&bytes), None, "{source} {event}, byte {broken}");
            }
        }
    }

    #[test]
    fn a_prefix_is_read_as_written() {
        let unique = UniqueKey { key: [3, 4], ttl_ns: 5 };
        let text = "abcdefghijklmnopqrstuvwxyz".repeat(10);
        let kept =
            |clears, len| Keyed::Kept { kept: Kept { key: [3, 4], ttl_ns: 5, clears }, text: &text.as_bytes()[..len] };
        let place = Where::new(9, 11);
        let via = Via { origin: Origin::from_bits(6), id: 7, place: ClusterId { timeline: 8, n: u64::MAX } };
        let keys =
            [Keyed::Nothing, Keyed::Unique(unique), kept(false, 0), kept(false, 255), kept(true, 1), kept(true, 9)];
        let via_bytes = via.bytes();
        let travels = [Travel::Local, Travel::Request, Travel::Relayed(&via_bytes)];
        for (keyed, travel) in keys.into_iter().flat_map(|keyed| travels.map(|travel| (keyed, travel))) {
            for (source_len, event_len) in
                (1..40).flat_map(|a| (1..40).map(move |b| (a, b))).chain([(255, 255), (255, 1)])
            {
                let (source, event) = (&text[..source_len], &text[3..3 + event_len]);
                let topic = Topic::new(source, event);
                let bridged = event_len % 2 == 0;
                let prefix = Prefix { seat: 65535, pid: 4_194_303, topic, type_tag: 77, keyed, travel, bridged };
                let mut bytes = Vec::new();
                prefix.for_each_word(place, |word| bytes.extend(word.to_ne_bytes()));
                let bytes = &bytes[..];
                assert_eq!(prefix.len(), bytes.len());
                if let Some(words) = prefix.short_words() {
                    assert_eq!(words.map(u64::to_ne_bytes).concat(), bytes);
                }
                let is_plain = matches!(keyed, Keyed::Nothing) && !matches!(travel, Travel::Relayed(_));
                let is_short = is_plain && source_len + event_len <= 16;
                assert_eq!(prefix.short_words().is_some(), is_short);
                if let Some(mut words) = prefix.short_kept_words() {
                    words[WHERE_AT] |= place.bits();
                    assert_eq!(words.map(u64::to_ne_bytes).concat(), bytes);
                }
                let is_kept_here = matches!(keyed, Keyed::Kept { .. }) && !matches!(travel, Travel::Relayed(_));
                let is_short = is_kept_here && source_len + event_len + keyed.text().len() <= 16;
                assert_eq!(prefix.short_kept_words().is_some(), is_short);
                let word = |at: usize| bytes.as_chunks::<8>().0.get(at).copied().map(u64::from_ne_bytes);
                assert_eq!(Head::prefix_len(word), Some(bytes.len()));
                let head = Head::parse(bytes).unwrap();
                assert_eq!((head.seat(), head.pid(), head.type_tag(bytes)), (65535, 4_194_303, 77));
                assert_eq!(head.is_bridged(), bridged);
                let keys = (head.unique(bytes), head.kept(bytes));
                match keyed {
                    Keyed::Nothing => assert_eq!(keys, (None, None)),
                    Keyed::Unique(unique) => assert_eq!(keys, (Some(unique), None)),
                    Keyed::Kept { kept, text } => {
                        assert_eq!((keys, head.key(bytes)), ((None, Some(kept)), text));
                        let stored = Where::from_bits(word(WHERE_AT).unwrap());
                        assert_eq!((stored.slot(), stored.block()), (place.slot(), place.block()));
                    }
                }
                assert_eq!(
                    [head.is_request(), head.is_relayed()],
                    [Travel::Request, Travel::Relayed(&via_bytes)].map(|t| t == travel)
                );
                assert_eq!(head.via(bytes).map(Via::of_bytes), head.is_relayed().then_some(via));
                assert_eq!(head.texts(bytes), Some([source, event]));
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
        assert!(head(one_and_one | 2).is_none(), "shorter than where it is kept");
        for (first, what) in [(one_and_one | 32, "an unknown flag"), (1 << 16, "no source"), (1 << 8, "no event")] {
            assert!(head(first).is_none(), "{what}");
        }
        let long = |flags: u64| Head::parse(&[(one_and_one | flags).to_ne_bytes(), [0; 8]].concat().repeat(4));
        assert!([2, 6, 0x80, 0x81, 0x82, 0x86].into_iter().all(|flags| long(flags).is_some()));
        assert!(long(3).is_none(), "unique and retained");
        assert!(long(4).is_none() && long(5).is_none(), "a clear of nothing");
        assert!(
            head(one_and_one | u64::from(ORDERED)).is_some() && head(one_and_one | u64::from(RELAYED)).is_none(),
            "no room for via"
        );
        assert!(long(u64::from(RELAYED)).is_some() && long(u64::from(ORDERED) | 6).is_some());
        assert!(long(u64::from(RELAYED) | u64::from(ORDERED)).is_none(), "a request that is relayed");
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
    fn the_name_of_a_large_block_is_read_as_written() {
        for (id, len) in [(0, 0), (1, 2), (u64::MAX, 1 << 40)] {
            let bytes = LargeName { id, len }.bytes();
            assert_eq!(LargeName::parse(&bytes), Some(LargeName { id, len }));
            assert_eq!(LargeName::parse(&bytes[..15]), None);
            assert_eq!(LargeName::parse(&[bytes, bytes].concat()), None);
        }
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
        for (kind, kept) in [(Kind::Fragment, None), (Kind::RetainedFragment, Some([1, 2, 3, 4]))] {
            let bytes: Vec<u8> = head.words(kept).flat_map(u64::to_ne_bytes).collect();
            assert_eq!(bytes.len(), kind.fragment_head());
            assert_eq!(FragmentHead::parse(kind, &bytes), Some(head));
            assert_eq!(FragmentHead::parse(kind, &bytes[1..]), None);
        }
        let bytes: Vec<u8> = head.words(Some([1, 2, 3, 4])).flat_map(u64::to_ne_bytes).collect();
        assert_eq!(FragmentHead::retained_key(&bytes), Some([1, 2]));
    }
}
