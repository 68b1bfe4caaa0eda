//! The contents of the events. Everything follows from a tag, so that a reader can tell whether an event is complete.

use rkyv::{Archive, Serialize};
use seqcast::rkyv;

use crate::rng::{Rng, mix};

pub const SOURCE: &str = "t";

/// The sender of an event, its number among the sender's events, and its kind.
///
/// ```text
/// 63 .. 56 55 ... 36 35 .. 4 3 .. 0
/// [slot: 8][incarnation: 20][seq: 32][kind: 4]
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Fragmented,
    Typed,
    /// Unique under a key that no other event has.
    Fresh,
    FreshTyped,
    /// Unique under one of a few keys.
    Shared,
    Committed,
    /// `started` and `stopping`.
    Announced,
    /// Larger than can be posted: no process may ever see one.
    Oversized,
}

const KINDS: [Kind; 9] = [
    Kind::Plain,
    Kind::Fragmented,
    Kind::Typed,
    Kind::Fresh,
    Kind::FreshTyped,
    Kind::Shared,
    Kind::Committed,
    Kind::Announced,
    Kind::Oversized,
];

impl Kind {
    pub fn event(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Fragmented => "long",
            Kind::Typed | Kind::FreshTyped => Typed::NAME,
            Kind::Fresh => "fresh",
            Kind::Shared => "shared",
            Kind::Committed => "late",
            Kind::Announced => "",
            Kind::Oversized => "huge",
        }
    }

    pub fn is_unique(self) -> bool {
        self.is_fresh() || self == Kind::Shared
    }

    pub fn is_fresh(self) -> bool {
        matches!(self, Kind::Fresh | Kind::FreshTyped)
    }

    /// Returns `true` if every worker that reads the id must get it.
    pub fn is_for_all(self) -> bool {
        matches!(self, Kind::Plain | Kind::Typed | Kind::Committed | Kind::Announced)
    }
}

/// Keys that [`Kind::Shared`] events have.
pub const SHARED_KEYS: u64 = 6;
pub const SHARED_TTL_NS: u64 = 4_000_000;
/// The number of the first event of an incarnation, `started`.
pub const FIRST_SEQ: u32 = 0;
/// The number of its last event, `stopping`.
pub const LAST_SEQ: u32 = u32::MAX;

impl Tag {
    pub fn new(slot: usize, incarnation: u64, seq: u32, kind: Kind) -> Tag {
        let kind = KINDS.iter().position(|&k| k == kind).unwrap_or(0) as u64;
        Tag((slot as u64) << 56 | (incarnation & 0xf_ffff) << 36 | u64::from(seq) << 4 | kind)
    }

    pub fn slot(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub fn incarnation(self) -> u64 {
        self.0 >> 36 & 0xf_ffff
    }

    pub fn kind(self) -> Option<Kind> {
        KINDS.get((self.0 & 0xf) as usize).copied()
    }

    /// Increases from event to event of a slot.
    pub fn rank(self) -> u64 {
        self.0 >> 4 & 0xf_ffff_ffff_ffff
    }

    pub fn shared_key(self) -> u64 {
        mix(self.0) % SHARED_KEYS
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind().map_or("?".to_owned(), |kind| format!("{kind:?}"));
        write!(f, "{}.{}.{} {kind}", self.slot(), self.incarnation(), (self.0 >> 4) as u32)
    }
}

/// The lengths of payloads of each kind in one round.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    pub block: usize,
    pub largest: usize,
}

impl Lengths {
    pub fn of(&self, tag: Tag) -> usize {
        let (least, most) = match tag.kind() {
            // The longest names and heads take 80 bytes of a block.
            Some(Kind::Fragmented) => (self.block, self.largest - 64),
            Some(Kind::Oversized) => (self.largest + 1, self.largest + 1),
            _ => (8, self.block - 80),
        };
        least + (mix(tag.0 ^ 1) % (most - least + 1) as u64) as usize
    }

    /// The payload of an event that is not typed.
    pub fn write(&self, tag: Tag, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&tag.0.to_le_bytes());
        let len = self.of(tag);
        let mut rng = Rng::new(tag.0);
        while into.len() < len {
            into.extend_from_slice(&rng.next().to_le_bytes());
        }
        into.truncate(len);
    }

    /// Returns the tag of a payload that is complete.
    pub fn read(&self, bytes: &[u8]) -> Option<Tag> {
        let tag = Tag(u64::from_le_bytes(*bytes.first_chunk()?));
        tag.kind()?;
        let mut rng = Rng::new(tag.0);
        let whole = bytes.len() == self.of(tag)
            && bytes[8..].chunks(8).all(|chunk| chunk == &rng.next().to_le_bytes()[..chunk.len()]);
        whole.then_some(tag)
    }
}

#[derive(Archive, Serialize)]
pub struct Typed {
    tag: u64,
    flag: bool,
    text: String,
    numbers: Vec<u32>,
}

impl seqcast::TypedEvent for Typed {
    const TOPIC: seqcast::Topic<'static> = seqcast::Topic::new(SOURCE, Typed::NAME);
}

impl Typed {
    const NAME: &'static str = "typed";

    pub fn new(tag: Tag) -> Typed {
        let hash = mix(tag.0);
        Typed {
            tag: tag.0,
            flag: hash & 1 == 1,
            text: format!("{hash:x}")[..(hash % 8) as usize].to_owned(),
            numbers: (0..(hash >> 8) % 4).map(|i| mix(hash ^ i) as u32).collect(),
        }
    }
}

impl ArchivedTyped {
    /// Returns the tag of a value that is complete.
    pub fn read(&self) -> Option<Tag> {
        let tag = Tag(self.tag.to_native());
        let expected = Typed::new(tag);
        let whole = self.flag == expected.flag
            && self.text == expected.text
            && self.numbers.iter().map(|number| number.to_native()).eq(expected.numbers);
        whole.then_some(tag)
    }
}

pub fn label(slot: usize, incarnation: u64) -> String {
    format!("{slot}.{incarnation}")
}

/// Returns the tag of an announcement, from its payload.
pub fn read_announcement(event: &str, payload: &[u8]) -> Option<Tag> {
    let (slot, incarnation) = str::from_utf8(payload).ok()?.split_once('.')?;
    let seq = if event == seqcast::library::STARTED.event() {
        FIRST_SEQ
    } else if event == seqcast::library::STOPPING.event() {
        LAST_SEQ
    } else {
        return None;
    };
    Some(Tag::new(slot.parse().ok()?, incarnation.parse().ok()?, seq, Kind::Announced))
}
