//! What one entry of the stream holds: a batch of events of one origin, version 1.
//!
//! ```text
//! batch    [version u8 = 1][flags u8 = 0][count u16][reserved u32 = 0][origin u64]                    16 bytes
//! event    [len u32][kind u8][source len u8][event len u8][key len u8][id u64]                        16 bytes
//!          TYPED     [type tag u64][format u32][reserved u32]
//!          UNIQUE    [ttl in ms u32][reserved u32]
//!          RETAINED  [ttl in ms u64]                      u64::MAX: without a ttl. A clear has the bit CLEARS
//!          source, event, key of a retained event, payload (`len` bytes)
//! kind     7 6 5 4      3        2      1     0
//!          [ base  ][CLEARS][RETAINED][UNIQUE][TYPED]     base: 1 spread, 2 ordered, 3 gap
//! gap      no names; its payload is [reason u8][known u8][reserved 6 bytes][count u64], its id the last missed one
//! ```
//!
//! Numbers are little-endian. Ids grow strictly. A unique event is alone in its batch, because the server decides about
//! it; so is a retained one. [`Batch::parse`] checks every length before it believes it, and copies nothing.

use std::fmt;
use std::time::Duration;

/// The version that this module writes and reads.
pub const VERSION: u8 = 1;
/// The largest number of events in a batch.
pub const MOST_EVENTS: usize = 128;
/// The largest batch in bytes, unless it has only one event.
pub const MOST_BYTES: usize = 64 << 10;

pub(crate) const BATCH_HEAD: usize = 16;
const EVENT_HEAD: usize = 16;
const GAP_BYTES: usize = 16;
const MOST_NAME: usize = 255;
/// The longest key of a retained event.
pub const MOST_KEY: usize = 255;
const NO_TTL: u64 = u64::MAX;

mod bit {
    pub const TYPED: u8 = 1;
    pub const UNIQUE: u8 = 1 << 1;
    pub const RETAINED: u8 = 1 << 2;
    pub const CLEARS: u8 = 1 << 3;
    pub const BASE_SHIFT: u32 = 4;
}

/// Whose order an event is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Delivered on its own host already; others get it from the stream.
    Spread,
    /// Delivered on all hosts from the stream.
    Ordered,
}

/// Why events are missing. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The origin's ring was overwritten before its relay had read it.
    OriginLapped = 1,
    /// A unique event was not decided in time.
    Undecided = 2,
    /// An event was larger than the relay may send.
    TooLarge = 3,
    /// The receiver cannot read the event.
    Format = 4,
}

impl Reason {
    fn of(number: u8) -> Option<Reason> {
        [Reason::OriginLapped, Reason::Undecided, Reason::TooLarge, Reason::Format]
            .into_iter()
            .find(|reason| *reason as u8 == number)
    }
}

/// How an event is retained.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept<'a> {
    /// The user's key.
    pub key: &'a [u8],
    /// How long it is kept. `None`: until it is cleared.
    pub ttl: Option<Duration>,
    /// `true` if nothing is kept any more.
    pub clears: bool,
}

/// Does not show the key.
impl fmt::Debug for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kept { key, ttl, clears } = self;
        f.debug_struct("Kept").field("key_len", &key.len()).field("ttl", ttl).field("clears", clears).finish()
    }
}

/// One event of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// An event.
    Event(Event<'a>),
    /// A report that events are missing.
    Gap {
        /// The last of the missing ids.
        id: u64,
        /// The largest possible number of missing events. `None`: unknown.
        count: Option<u64>,
        /// Why.
        reason: Reason,
    },
}

/// An event as it travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The id in the ring of its origin.
    pub id: u64,
    /// Whose order it is in.
    pub kind: Kind,
    /// The source.
    pub source: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// The tag of the payload's type. 0: bytes.
    pub type_tag: u64,
    /// The format of typed values. 0: none.
    pub format: u32,
    /// The ttl of a unique event.
    pub unique: Option<Duration>,
    /// How it is retained.
    pub kept: Option<Kept<'a>>,
    /// The payload.
    pub bytes: &'a [u8],
}

impl Item<'_> {
    /// The id, by which a batch is in order.
    pub fn id(&self) -> u64 {
        match self {
            Item::Event(event) => event.id,
            Item::Gap { id, .. } => *id,
        }
    }
}

/// Shows no payload and no key.
impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Event(event) => event.fmt(f),
            Item::Gap { id, count, reason } => {
                f.debug_struct("Gap").field("id", id).field("count", count).field("reason", reason).finish()
            }
        }
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Event");
        shown.field("id", &self.id).field("kind", &self.kind).field("source", &self.source).field("event", &self.event);
        shown.field("unique", &self.unique.is_some()).field("retained", &self.kept.is_some());
        shown.field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Why bytes are not a batch of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchError {
    /// Another version.
    Version(u8),
    /// The bytes end before the batch does, at this offset.
    Short(usize),
    /// Bytes follow the last event.
    Long(usize),
    /// A field has a value that the format does not know.
    Field {
        /// The field.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The offset of its event.
        at: usize,
    },
    /// A name is empty, too long, or no UTF-8.
    Name {
        /// The offset of its event.
        at: usize,
    },
    /// Ids do not grow.
    Order {
        /// The id.
        id: u64,
        /// The id before it.
        before: u64,
    },
}

impl BatchError {
    /// A short, stable name, for a metric.
    pub fn name(&self) -> &'static str {
        match self {
            BatchError::Version(_) => "version",
            BatchError::Short(_) | BatchError::Long(_) => "length",
            BatchError::Field { .. } => "field",
            BatchError::Name { .. } => "name",
            BatchError::Order { .. } => "order",
        }
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchError::Version(version) => write!(
                f,
                "the batch has version {version}, and this relay reads {VERSION}: run the same release on all hosts"
            ),
            BatchError::Short(at) => write!(f, "the batch ends at byte {at}, in the middle of an event"),
            BatchError::Long(more) => write!(f, "{more} bytes follow the last event of the batch"),
            BatchError::Field { name, value, at } => {
                write!(f, "the event at byte {at} of the batch has {name} {value}, which is not in this format")
            }
            BatchError::Name { at } => write!(f, "the event at byte {at} of the batch has a name that is not valid"),
            BatchError::Order { id, before } => write!(f, "the batch has id {id} after id {before}"),
        }
    }
}

impl std::error::Error for BatchError {}

/// Appends the event `item` to `record`.
///
/// # Panics
///
/// If a name or key is longer than 255 bytes, or the payload than 4 GiB. The bus permits neither.
pub fn encode(item: &Item<'_>, record: &mut Vec<u8>) {
    match item {
        Item::Event(event) => encode_event(event, record),
        Item::Gap { id, count, reason } => {
            put_head(record, GAP_BYTES, 3 << bit::BASE_SHIFT, ["", "", ""].map(str::len), *id);
            record.extend([*reason as u8, u8::from(count.is_some()), 0, 0, 0, 0, 0, 0]);
            record.extend(count.unwrap_or(0).to_le_bytes());
        }
    }
}

fn encode_event(event: &Event<'_>, record: &mut Vec<u8>) {
    let base: u8 = match event.kind {
        Kind::Spread => 1,
        Kind::Ordered => 2,
    };
    let mut kind = base << bit::BASE_SHIFT;
    kind |= if event.type_tag == 0 { 0 } else { bit::TYPED };
    kind |= if event.unique.is_some() { bit::UNIQUE } else { 0 };
    kind |= if event.kept.is_some() { bit::RETAINED } else { 0 };
    kind |= if event.kept.is_some_and(|kept| kept.clears) { bit::CLEARS } else { 0 };
    let key = event.kept.map_or(&[][..], |kept| kept.key);
    put_head(record, event.bytes.len(), kind, [event.source.len(), event.event.len(), key.len()], event.id);
    if event.type_tag != 0 {
        record.extend(event.type_tag.to_le_bytes());
        record.extend(event.format.to_le_bytes());
        record.extend([0; 4]);
    }
    if let Some(ttl) = event.unique {
        record.extend(u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend([0; 4]);
    }
    if let Some(kept) = event.kept {
        let ttl = kept.ttl.map_or(NO_TTL, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(NO_TTL));
        record.extend(ttl.to_le_bytes());
    }
    for part in [event.source.as_bytes(), event.event.as_bytes(), key, event.bytes] {
        record.extend_from_slice(part);
    }
}

fn put_head(record: &mut Vec<u8>, payload: usize, kind: u8, names: [usize; 3], id: u64) {
    record.extend(u32::try_from(payload).expect("a payload has less than 4 GiB").to_le_bytes());
    record.push(kind);
    record.extend(names.map(|len| u8::try_from(len).expect("names and keys have at most 255 bytes")));
    record.extend(id.to_le_bytes());
}

/// The head of a batch of `count` events, which follow it.
pub fn head(origin: u64, count: usize) -> [u8; BATCH_HEAD] {
    let mut head = [0; BATCH_HEAD];
    head[0] = VERSION;
    head[2..4].copy_from_slice(&u16::try_from(count).expect("a batch has at most 128 events").to_le_bytes());
    head[8..16].copy_from_slice(&origin.to_le_bytes());
    head
}

/// A batch whose bytes were checked.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The origin of the events.
    pub origin: u64,
    /// The events, in the order of their ids. There is at least one.
    pub items: Vec<Item<'a>>,
}

impl<'a> Batch<'a> {
    /// Checks and reads a batch.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly one batch of this format.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let mut rest = Rest { bytes, at: 0 };
        let version = rest.take::<1>()?[0];
        if version != VERSION {
            return Err(BatchError::Version(version));
        }
        let flags = rest.take::<1>()?[0];
        let count = usize::from(u16::from_le_bytes(rest.take()?));
        let reserved = u32::from_le_bytes(rest.take()?);
        let origin = u64::from_le_bytes(rest.take()?);
        known("flags", flags.into(), flags == 0, 0)?;
        known("reserved", reserved.into(), reserved == 0, 0)?;
        known("count", count as u64, (1..=MOST_EVENTS).contains(&count), 0)?;
        let mut items = Vec::with_capacity(count);
        let mut before = None;
        for _ in 0..count {
            let at = rest.at;
            let item = rest.item()?;
            if let Some(before) = before.filter(|before| *before >= item.id()) {
                return Err(BatchError::Order { id: item.id(), before });
            }
            let alone = matches!(item, Item::Event(Event { unique, kept, .. }) if unique.is_some() || kept.is_some());
            known("count", count as u64, !alone || count == 1, at)?;
            before = Some(item.id());
            items.push(item);
        }
        match rest.bytes.len() {
            0 => Ok(Batch { origin, items }),
            more => Err(BatchError::Long(more)),
        }
    }

    /// The id of the last event.
    pub fn last(&self) -> u64 {
        self.items.last().map_or(0, Item::id)
    }
}

fn known(name: &'static str, value: u64, is_known: bool, at: usize) -> Result<(), BatchError> {
    if is_known { Ok(()) } else { Err(BatchError::Field { name, value, at }) }
}

/// The bytes that were not read yet.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let (slice, rest) = self.bytes.split_at_checked(len).ok_or(BatchError::Short(self.at + self.bytes.len()))?;
        self.bytes = rest;
        self.at += len;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        self.slice(N).map(|slice| slice.try_into().expect("it has this length"))
    }

    fn name(&mut self, len: u8, at: usize) -> Result<&'a str, BatchError> {
        let bytes = self.slice(len.into())?;
        std::str::from_utf8(bytes).ok().filter(|name| !name.is_empty()).ok_or(BatchError::Name { at })
    }

    fn item(&mut self) -> Result<Item<'a>, BatchError> {
        let at = self.at;
        let len = u32::from_le_bytes(self.take()?) as usize;
        let [kind, source_len, event_len, key_len] = self.take()?;
        let id = u64::from_le_bytes(self.take()?);
        known("id", id, id < u64::MAX, at)?;
        let has = |bit: u8| kind & bit != 0;
        let base = kind >> bit::BASE_SHIFT;
        if base == 3 {
            let plain = kind == 3 << bit::BASE_SHIFT && [source_len, event_len, key_len] == [0; 3];
            known("kind", kind.into(), plain && len == GAP_BYTES, at)?;
            return self.gap(id, at);
        }
        known("kind", kind.into(), matches!(base, 1 | 2), at)?;
        // The server decides about unique events, so they are ordered; a retained one is kept by all hosts alike.
        known("kind", kind.into(), base == 2 || !has(bit::UNIQUE | bit::RETAINED), at)?;
        known("kind", kind.into(), !(has(bit::UNIQUE) && has(bit::RETAINED)), at)?;
        known("kind", kind.into(), has(bit::RETAINED) || (!has(bit::CLEARS) && key_len == 0), at)?;
        let (mut type_tag, mut format) = (0, 0);
        if has(bit::TYPED) {
            type_tag = u64::from_le_bytes(self.take()?);
            format = u32::from_le_bytes(self.take()?);
            known("type tag", type_tag, type_tag != 0 && self.take()? == [0; 4], at)?;
        }
        let mut unique = None;
        if has(bit::UNIQUE) {
            let ttl = u32::from_le_bytes(self.take()?);
            known("ttl", ttl.into(), ttl != 0 && self.take()? == [0; 4], at)?;
            unique = Some(Duration::from_millis(ttl.into()));
        }
        let mut ttl = NO_TTL;
        if has(bit::RETAINED) {
            ttl = u64::from_le_bytes(self.take()?);
        }
        let (source, event) = (self.name(source_len, at)?, self.name(event_len, at)?);
        let key = self.slice(key_len.into())?;
        let kept = has(bit::RETAINED).then_some(Kept {
            key,
            ttl: Some(ttl).filter(|ttl| *ttl != NO_TTL).map(Duration::from_millis),
            clears: has(bit::CLEARS),
        });
        let bytes = self.slice(len)?;
        let kind = if base == 1 { Kind::Spread } else { Kind::Ordered };
        Ok(Item::Event(Event { id, kind, source, event, type_tag, format, unique, kept, bytes }))
    }

    fn gap(&mut self, id: u64, at: usize) -> Result<Item<'a>, BatchError> {
        let [reason, is_known, reserved @ ..] = self.take::<8>()?;
        let count = u64::from_le_bytes(self.take()?);
        known("reserved", reserved[0].into(), reserved == [0; 6], at)?;
        known("known", is_known.into(), is_known == 1 || is_known == 0 && count == 0, at)?;
        let reason = Reason::of(reason).ok_or(BatchError::Field { name: "reason", value: reason.into(), at })?;
        Ok(Item::Gap { id, count: (is_known == 1).then_some(count), reason })
    }
}

const _: () = assert!(MOST_NAME == u8::MAX as usize && MOST_KEY == MOST_NAME && EVENT_HEAD == BATCH_HEAD);

#[cfg(test)]
mod tests;
