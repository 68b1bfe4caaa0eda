//! What goes from host to host, as the relay sees it.

use std::fmt;
use std::time::Duration;

use crate::event::wire::Via;
use crate::identity::{ClusterId, Origin};

/// How far a relay has read the stream between the hosts. The segment keeps it: see
/// [`RelayPoster::set_position`](crate::relay::RelayPoster::set_position).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// The timeline of the last entry that was read.
    pub timeline: u64,
    /// The number of that entry in its timeline.
    pub seq: u64,
    /// The hash of everything up to that entry.
    pub chain: u64,
    /// The number of the next event in the timeline.
    pub n: u64,
}

impl StreamPosition {
    pub(super) fn words(self) -> [u64; 4] {
        let StreamPosition { timeline, seq, chain, n } = self;
        [timeline, seq, chain, n]
    }

    pub(crate) fn of_words([timeline, seq, chain, n]: [u64; 4]) -> StreamPosition {
        StreamPosition { timeline, seq, chain, n }
    }
}

/// How an event is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The key that it is retained under; empty if it is retained by its topic alone.
    pub key: &'a [u8],
    /// For how long; `None` without an end.
    pub ttl: Option<Duration>,
    /// `true` if it clears what is retained under the key.
    pub clears: bool,
}

/// The unique key of an event that goes to other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutgoingUnique {
    /// The hash of the key. For a request it is the same on all hosts with one cluster key.
    pub key: [u64; 2],
    /// How long the key is held.
    pub ttl: Duration,
}

/// How an event was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutgoingKind {
    /// With [`post`](crate::Worker::post): the workers of this host have it, and it may be sent to others.
    Local,
    /// With [`post_cluster`](crate::Worker::post_cluster): no worker has it. It is delivered on all hosts when it comes
    /// back from the stream.
    Ordered,
}

/// An event that is read to be sent to other hosts.
///
/// Its `Debug` output shows everything except the payload.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct OutgoingEvent<'a> {
    /// Its id in this host's ring.
    pub id: u64,
    /// How it was posted.
    pub kind: OutgoingKind,
    /// Its source.
    pub source: &'a str,
    /// Its name.
    pub event: &'a str,
    /// The type tag of its payload. 0 for bytes.
    pub type_tag: u64,
    /// The format of typed values on this bus. 0 if there is none, and for bytes.
    pub format: u32,
    /// Its payload.
    pub bytes: &'a [u8],
    /// Its unique key, if it has one.
    pub unique: Option<OutgoingUnique>,
    /// How it is retained, if it is.
    pub retained: Option<Kept<'a>>,
}

impl fmt::Debug for OutgoingEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingEvent")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("source", &self.source)
            .field("event", &self.event)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The next thing to send to other hosts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// An event.
    Event(OutgoingEvent<'a>),
    /// Ids that were overwritten before they were read, or that have no readable content.
    #[non_exhaustive]
    Missed {
        /// The last of them.
        last: u64,
        /// How many ids.
        count: u64,
    },
}

/// An event that has come from the stream.
///
/// Its `Debug` output shows everything except the payload.
#[derive(Clone, Copy)]
#[must_use = "it does nothing until it is posted"]
pub struct Foreign<'a> {
    pub(super) origin: Origin,
    pub(super) id: u64,
    pub(super) place: ClusterId,
    pub(super) source: &'a str,
    pub(super) event: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) type_tag: u64,
    pub(super) format: u32,
    pub(super) unique: Option<Duration>,
    pub(super) retained: Option<Kept<'a>>,
}

impl<'a> Foreign<'a> {
    /// Returns an event that `origin` has posted as its event `id`, and that has this place in the stream.
    pub fn new(
        origin: Origin,
        id: u64,
        place: ClusterId,
        source: &'a str,
        event: &'a str,
        bytes: &'a [u8],
    ) -> Foreign<'a> {
        let (type_tag, format, unique, retained) = (0, 0, None, None);
        Foreign { origin, id, place, source, event, bytes, type_tag, format, unique, retained }
    }

    /// Sets the type tag of the payload, and the format of the typed values of the bus that it comes from. A format of
    /// 0 is not compared with that of this bus.
    pub fn type_tag(mut self, type_tag: u64, format: u32) -> Foreign<'a> {
        (self.type_tag, self.format) = (type_tag, format);
        self
    }

    /// Makes it a unique event: one worker of this host runs it. Its key here is its own, and is held for `ttl`.
    pub fn unique(mut self, ttl: Duration) -> Foreign<'a> {
        self.unique = Some(ttl);
        self
    }

    /// Makes it a retained event, or a clear of one.
    pub fn retained(mut self, kept: Kept<'a>) -> Foreign<'a> {
        self.retained = Some(kept);
        self
    }

    pub(super) fn via(&self) -> Via {
        Via { origin: self.origin, id: self.id, place: self.place }
    }
}

impl fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign")
            .field("origin", &self.origin)
            .field("id", &self.id)
            .field("place", &self.place)
            .field("source", &self.source)
            .field("event", &self.event)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What a relay has found when it took the place of its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The predecessor was not posting when it ended, or there was none.
    Nothing,
    /// It was killed before it had posted this event. The event comes again from the stream.
    #[non_exhaustive]
    NotPosted {
        /// The host that the event comes from.
        origin: Origin,
        /// Its id there.
        id: u64,
    },
    /// It was killed after it had posted this event, which is noted now.
    #[non_exhaustive]
    Posted {
        /// The host that the event comes from.
        origin: Origin,
        /// Its id there.
        id: u64,
    },
    /// It was killed while it posted this event, and the ring no longer shows if it had. The event comes again from the
    /// stream, and may then be posted twice.
    #[non_exhaustive]
    Unknown {
        /// The host that the event comes from.
        origin: Origin,
        /// Its id there.
        id: u64,
    },
}
