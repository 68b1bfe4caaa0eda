//! Looks up retained events.

use std::fmt;
use std::time::Duration;

use crate::error::Result;
use crate::event::Topic;
use crate::event::wire::{Kept, Via};
#[cfg(feature = "typed")]
use crate::event::{Content, Event, Home, PostedEvent};
use crate::os::clock::HostClock;
use crate::protocol::bucket::Key;
use crate::protocol::retained::{Held, NEVER, SlotLook, Span, TOMBSTONE, Table};
use crate::seat::catch_up::copy_slot;
use crate::seat::publisher::Publisher;
use crate::seat::read::Message;
use crate::seat::retain::{check_key, hash, no_table};
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::sync::Ordering;

/// The last event of a key, as a look-up returns it: a private copy, which no other process can change.
///
/// Its `Debug` output shows everything except the payload.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// let id = worker.event(("upstream", "state")).retain_key("17").post("down")?;
/// let state = worker.get_key(("upstream", "state"), "17")?.expect("it is retained");
/// assert_eq!((state.id(), state.key(), state.bytes(), state.left()), (id, &b"17"[..], &b"down"[..], None));
/// # Ok::<(), seqcast::Error>(())
/// ```
pub struct Retained {
    /// Its names are text, as was checked.
    message: Message,
    /// The format of the bus's typed values.
    #[cfg_attr(not(feature = "typed"), expect(dead_code, reason = "only typed values have a format"))]
    format: u64,
    left: Option<Duration>,
}

impl Retained {
    /// Returns the event of a slot, with `held`, at the time `now`, which has no effect if the event has no ttl.
    // Always: a wide value that is moved waits for the stores that have just made it.
    #[inline(always)]
    fn of(segment: &Segment, held: &Held, message: Message, now: u64) -> Result<Retained> {
        let Message { head, bytes, .. } = &message;
        if head.texts(bytes).is_none() {
            return Err(segment.corrupt("the names of a retained event are not text"));
        }
        // Relaxed: as in `Data::posted`.
        let format = if message.type_tag() == 0 { 0 } else { segment.typed_format().load(Ordering::Relaxed) };
        let left = (held.deadline != NEVER).then(|| Duration::from_nanos(held.deadline.saturating_sub(now)));
        Ok(Retained { message, format, left })
    }

    /// Returns where the event comes from, if a relay has posted it.
    pub(crate) fn via(&self) -> Option<Via> {
        self.message.via().map(Via::of_bytes)
    }

    /// Returns the event's source.
    pub fn source(&self) -> &str {
        str::from_utf8(self.message.head.source(&self.message.bytes)).unwrap_or_default()
    }

    /// Returns the event's name.
    pub fn event(&self) -> &str {
        str::from_utf8(self.message.head.event(&self.message.bytes)).unwrap_or_default()
    }

    /// Returns source and event together.
    pub fn topic(&self) -> Topic<'_> {
        Topic::of_event(self.source(), self.event())
    }

    /// Returns the key that it is retained under. It is empty if the event was posted without a key.
    pub fn key(&self) -> &[u8] {
        self.message.head.key(&self.message.bytes)
    }

    /// Returns the event's id.
    pub fn id(&self) -> u64 {
        self.message.id
    }

    /// Returns the process id of the sender, in its own pid namespace.
    pub fn pid(&self) -> u32 {
        self.message.head.pid()
    }

    /// Returns the seat of the sender.
    pub fn seat(&self) -> u32 {
        u32::from(self.message.head.seat())
    }

    /// Returns the payload.
    pub fn bytes(&self) -> &[u8] {
        self.message.payload()
    }

    /// Returns the tag of the payload's type: 0 for bytes and text.
    pub fn type_tag(&self) -> u64 {
        self.message.type_tag()
    }

    /// Returns how it was posted.
    pub(crate) fn posted(&self) -> Option<Kept> {
        self.message.head.kept(&self.message.bytes)
    }

    pub(crate) fn is_bridged(&self) -> bool {
        self.message.head.is_bridged()
    }

    /// Returns the time that is left of its ttl, or `None` if it has no ttl.
    pub fn left(&self) -> Option<Duration> {
        self.left
    }

    /// Returns the value that was posted as a `T`, validated and in place.
    ///
    /// ```
    /// # use seqcast::rkyv::{Archive, Serialize};
    /// # use seqcast::{Topic, TypedEvent};
    /// # #[derive(Archive, Serialize)]
    /// # #[rkyv(crate = seqcast::rkyv)]
    /// # struct Upstream {
    /// #     port: u16,
    /// # }
    /// # impl TypedEvent for Upstream {
    /// #     const TOPIC: Topic<'static> = Topic::new("upstream", "state");
    /// # }
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(Upstream::TOPIC).retain_key("17").post(&Upstream { port: 8080 })?;
    /// let state = worker.get_key(Upstream::TOPIC, "17")?.expect("it is retained");
    /// assert_eq!(state.typed::<Upstream>()?.port, 8080);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Event::typed`].
    #[cfg(feature = "typed")]
    pub fn typed<T: crate::event::TypedEvent>(&self) -> Result<&T::Archived> {
        self.as_event().typed::<T>()
    }

    /// Returns the event as a worker's handlers get it.
    #[cfg(feature = "typed")]
    fn as_event(&self) -> Event<'_> {
        let posted = PostedEvent { handed_over: true, ..self.message.posted(Home::Format(self.format), false) };
        Event { source: self.source(), event: self.event(), content: Content::Posted(posted) }
    }
}

impl fmt::Debug for Retained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retained")
            .field("source", &self.source())
            .field("event", &self.event())
            .field("id", &self.id())
            .field("pid", &self.pid())
            .field("seat", &self.seat())
            .field("key_len", &self.key().len())
            .field("len", &self.bytes().len())
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The table of retained events, for look-ups.
#[derive(Clone, Copy)]
pub(crate) struct TableLookup<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) table: Option<&'a Table>,
    pub(crate) clock: HostClock,
}

impl TableLookup<'_> {
    /// Looks up the last event of `topic` and `key`. `settle` settles all unsettled events.
    #[inline]
    pub(crate) fn get(
        self,
        topic: Topic<'_>,
        key: &[u8],
        settle: impl FnOnce() -> Result<()>,
    ) -> Result<Option<Retained>> {
        let TableLookup { segment, table, clock } = self;
        topic.check()?;
        check_key(key)?;
        let Some(table) = table else { return Err(no_table(segment)) };
        let hash = Key(hash(segment, topic, key));
        if table.is_announced(hash) {
            settle()?; // G1
        }
        let mut now = 0;
        let clock = || {
            now = clock.boottime_ns();
            now
        };
        let copy = |slot: &SlotLook<'_>| copy_slot(slot, TOMBSTONE, |_, _| true);
        match table.get(hash, clock, copy).in_segment(segment)? {
            Some((held, event)) => Retained::of(segment, &held, event.at(&held), now).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the last event of every key, in order of their ids. `settle` settles the unsettled events below an id.
    pub(crate) fn all(self, settle: impl FnOnce(u64) -> Result<()>) -> Result<Vec<Retained>> {
        let TableLookup { segment, table, clock } = self;
        let Some(table) = table else { return Err(no_table(segment)) };
        let mut span = Span { from: 0, to: segment.ring().newest(), reset: false };
        if table.is_any_announced() {
            settle(span.to)?;
        }
        let now = clock.boottime_ns();
        let copy = |slot: &SlotLook<'_>| copy_slot(slot, now, |head, _| !head.clears());
        let copied = table.walk(&mut span, copy).in_segment(segment)?;
        copied.into_iter().map(|(held, event)| Retained::of(segment, &held, event.at(&held), now)).collect()
    }
}

impl Publisher {
    /// Looks up the last [retained](crate::EventBuilder::retain) event of `topic`, as
    /// [`Worker::get`](crate::Worker::get) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// publisher.event(("config", "changed")).retain().post("workers = 4")?;
    /// assert_eq!(publisher.get(("config", "changed"))?.expect("it is retained").bytes(), b"workers = 4");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::get`](crate::Worker::get).
    pub fn get<'a>(&mut self, topic: impl Into<Topic<'a>>) -> Result<Option<Retained>> {
        self.get_key(topic, "")
    }

    /// Looks up the last retained event of `topic` and `key`, as [`Worker::get_key`](crate::Worker::get_key) does.
    ///
    /// # Errors
    ///
    /// As [`Worker::get`](crate::Worker::get).
    pub fn get_key<'a>(&mut self, topic: impl Into<Topic<'a>>, key: impl AsRef<[u8]>) -> Result<Option<Retained>> {
        let (topic, key) = (topic.into(), key.as_ref());
        self.check()?;
        let lookup = TableLookup { segment: &self.seat.segment, table: self.table.as_ref(), clock: self.seat.clock };
        lookup.get(topic, key, || self.seat.writer.settle_all())
    }

    /// Returns the last retained event of every key, as [`Worker::retained`](crate::Worker::retained) does.
    ///
    /// # Errors
    ///
    /// As [`Worker::get`](crate::Worker::get).
    pub fn retained(&mut self) -> Result<Vec<Retained>> {
        self.check()?;
        let lookup = TableLookup { segment: &self.seat.segment, table: self.table.as_ref(), clock: self.seat.clock };
        lookup.all(|to| self.seat.writer.settle_below(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn g13_a_look_up_sees_the_announcement_of_every_seat() {
        const SEATS: u16 = 21;
        let options = SegmentOptions::new().capacity(8).claims(8).seats(SEATS.into());
        let segment = Segment::anonymous(&options).unwrap();
        let table = segment.table().unwrap();
        let (key, other) = (Key([2, 3]), Key([4, 3]));
        for seat in 0..SEATS {
            table.announce(seat, key);
            assert!(table.is_announced(key) && !table.is_announced(other), "seat {seat}");
            table.withdraw(seat);
            assert!(!table.is_announced(key), "seat {seat}");
        }
    }
}
