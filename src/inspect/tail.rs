//! A reader of all events that takes no seat.
//!
//! It reads cells and copies blocks as a worker's reader does. It has no cursor, counters or claims in the segment, and
//! cannot give up a reserved id: it waits for the payload, or passes over the id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claims::{self, ClaimEntry};
use crate::claim::KeyHash;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::wire::{FragmentHead, Head, Kept, Kind, UniqueKey, Via};
use crate::event::{Buffer, Missed};
use crate::identity::{ClusterId, Origin};
use crate::protocol::large::LargeRing;
use crate::protocol::ring::{Look, Ring};
use crate::protocol::word::CellWord;
use crate::seat::copy::{Copied, CopyInto, Published};
use crate::seat::fragments::{Assembled, Fragments};
use crate::seat::options::Start;
use crate::segment::Segment;
use crate::segment::fault::InSegment;

/// The default wait at a reserved id, the same as for workers.
const PATIENCE: Duration = Duration::from_millis(500);

/// An event, or another state of the next id, as a [`Tail`] found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Seen {
    /// An event.
    Event(SeenEvent),
    /// Ids that were overwritten before they were read, or an id whose payload was overwritten in its large block.
    #[non_exhaustive]
    Gap {
        /// The first of them.
        from: u64,
        /// The number of ids.
        missed: u64,
    },
    /// Events were lost between hosts, as a relay reports it at this id.
    Missed(Missed),
    /// An id that was reserved and never became an event.
    #[non_exhaustive]
    Void {
        /// The id.
        id: u64,
    },
    /// An id that was still reserved when the tail's [`patience`](Tail::patience) ended. It may still become an event
    /// for the workers.
    #[non_exhaustive]
    PassedOver {
        /// The id.
        id: u64,
        /// The seat that reserved it, if that is known.
        seat: Option<u32>,
    },
    /// The last fragment of an event whose first fragments were missed, or come before the tail's start.
    #[non_exhaustive]
    Headless {
        /// The id.
        id: u64,
    },
    /// An id whose block does not contain a valid event.
    #[non_exhaustive]
    Unreadable {
        /// The id.
        id: u64,
    },
}

/// An event, seen by a [`Tail`].
#[derive(Clone)]
#[non_exhaustive]
pub struct SeenEvent {
    /// Its id. An event in fragments has the id of its last fragment.
    pub id: u64,
    /// Its source.
    pub source: String,
    /// Its name.
    pub event: String,
    /// The seat that posted it.
    pub seat: u32,
    /// The process id of the poster, in its own pid namespace.
    pub pid: u32,
    /// Length of its payload in bytes.
    pub len: u64,
    /// `true` if it was posted in fragments.
    pub fragmented: bool,
    /// `true` if its payload is in a large block.
    pub large: bool,
    /// `true` if it was posted as a typed value.
    pub typed: bool,
    /// Its unique key, if it has one.
    pub unique: Option<SeenUnique>,
    /// How it is retained, if it is.
    pub retained: Option<SeenRetained>,
    /// `true` if it is a request to the relay, by [`post_cluster`](crate::Worker::post_cluster): no worker gets it. The
    /// relay posts the event that comes of it.
    pub request: bool,
    /// Where it comes from, if a relay has posted it.
    pub relayed: Option<SeenRelayed>,
    /// Its payload, if [`Tail::payloads`] is set.
    pub payload: Option<Vec<u8>>,
}

impl std::fmt::Debug for SeenEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the payload.
        f.debug_struct("SeenEvent")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("event", &self.event)
            .field("seat", &self.seat)
            .field("pid", &self.pid)
            .field("len", &self.len)
            .field("unique", &self.unique)
            .field("request", &self.request)
            .field("relayed", &self.relayed)
            .finish_non_exhaustive()
    }
}

/// How an event is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRetained {
    /// The key that it is retained under; empty if it is retained by its topic alone.
    pub key: Vec<u8>,
    /// For how long; `None` without an end.
    pub ttl: Option<Duration>,
    /// `true` if it clears what was retained under the key.
    pub clears: bool,
}

/// Where an event comes from that a relay has posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenRelayed {
    /// The host that posted it.
    pub origin: Origin,
    /// Its id there.
    pub id: u64,
    /// Its place in the order that all hosts share.
    pub place: ClusterId,
}

/// The unique key of an event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeenUnique {
    /// Its hash.
    pub key: KeyHash,
    /// The time for which it is held after it is won.
    pub ttl: Duration,
    /// The state of the event when it was read.
    pub state: UniqueState,
}

/// The state of a unique event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UniqueState {
    /// No worker has reached it. A request stays so: whether it runs is decided between the hosts.
    Open,
    /// A worker ran it, or ignored it because its key was held. The segment does not record which.
    Decided(Box<ClaimEntry>),
    /// It was decided so long ago that the segment has forgotten its key.
    Forgotten,
}

/// A reader of all events that takes no seat, from [`Inspector::tail`](super::Inspector::tail).
#[must_use = "a tail reads nothing until `try_next` is called"]
pub struct Tail {
    segment: Arc<Segment>,
    ring: Ring,
    /// The ring of large blocks, if the segment has one.
    large: Option<LargeRing>,
    next: u64,
    fragments: Fragments,
    payloads: bool,
    /// The names of incomplete events, by the seat of the sender.
    names: BTreeMap<u16, Names>,
    patience: Duration,
    /// When the wait for the reserved id `next` began.
    waiting_since: Option<Instant>,
    buffer: Buffer,
}

/// The names of an event, its type, and its key if it is unique or retained.
#[derive(Default)]
struct Names {
    source: String,
    event: String,
    type_tag: u64,
    unique: Option<UniqueKey>,
    kept: Option<Kept>,
    /// The user's key of a retained event.
    key: Vec<u8>,
    via: Option<Via>,
}

impl Names {
    fn of(head: &Head, prefix: &[u8]) -> Names {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Names {
            source: text(head.source(prefix)),
            event: text(head.event(prefix)),
            type_tag: head.type_tag(prefix),
            unique: head.unique(prefix),
            kept: head.kept(prefix),
            key: head.key(prefix).to_vec(),
            via: head.via(prefix).map(Via::of_bytes),
        }
    }
}

/// Where the payload of an event is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Block,
    Large,
    Fragments,
}

/// The result of reading one published id.
enum Met {
    // An event has many fields.
    Seen(Box<Seen>),
    Nothing,
    Lapped,
}

impl Met {
    fn seen(seen: Seen) -> Met {
        Met::Seen(Box::new(seen))
    }
}

impl Tail {
    pub(super) fn new(segment: &Arc<Segment>, start: Start) -> Result<Tail> {
        let ring = segment.ring();
        let begin = start.begin(segment)?;
        Ok(Tail {
            fragments: Fragments::beginning(segment.geometry(), &ring, begin),
            large: segment.large(),
            segment: Arc::clone(segment),
            ring,
            next: begin.first,
            payloads: false,
            names: BTreeMap::new(),
            patience: PATIENCE,
            waiting_since: None,
            buffer: Buffer::new(),
        })
    }

    /// Sets whether events are returned with their payloads. Default: no.
    pub fn payloads(mut self, yes: bool) -> Tail {
        self.payloads = yes;
        self
    }

    /// Sets how long the tail waits at a reserved id before it passes over the id. Default: 500 ms.
    pub fn patience(mut self, patience: Duration) -> Tail {
        self.patience = patience;
        self
    }

    /// Returns the id that is read next.
    pub fn next_id(&self) -> u64 {
        self.next
    }

    /// Returns the reserved id at which the tail waits.
    pub fn waiting_for(&self) -> Option<u64> {
        self.waiting_since.is_some().then_some(self.next)
    }

    /// Returns what is at the next id, or `None` if nothing is new or the next id is reserved. Does not sleep: call it
    /// again later.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`].
    pub fn try_next(&mut self) -> Result<Option<Seen>> {
        loop {
            let id = self.next;
            match self.ring.look(id).in_segment(&self.segment)? {
                Look::Empty => return Ok(None),
                Look::Published(cell) => match self.copy(id, cell)? {
                    Met::Lapped => return Ok(Some(self.lapped())),
                    Met::Nothing => self.go_on(id.saturating_add(1)),
                    Met::Seen(seen) => {
                        self.go_on(id.saturating_add(1));
                        return Ok(Some(*seen));
                    }
                },
                Look::Reserved(_) => {
                    if self.waiting_since.get_or_insert_with(Instant::now).elapsed() < self.patience {
                        return Ok(None);
                    }
                    self.go_on(id.saturating_add(1));
                    return Ok(Some(Seen::PassedOver { id, seat: self.reserver_of(id) }));
                }
                Look::Void => {
                    self.go_on(id.saturating_add(1));
                    return Ok(Some(Seen::Void { id }));
                }
                Look::Lapped => return Ok(Some(self.lapped())),
            }
        }
    }

    fn go_on(&mut self, next: u64) {
        self.next = next;
        self.waiting_since = None;
    }

    fn lapped(&mut self) -> Seen {
        let from = self.next;
        // Greater than `from`: versions have 42 bits, so the id that a cell names is far from overflow.
        self.go_on(self.ring.resume_after_lap(from));
        Seen::Gap { from, missed: self.next.saturating_sub(from) }
    }

    fn reserver_of(&self, id: u64) -> Option<u32> {
        (0..=self.segment.geometry().last_seat()).find(|&seat| self.ring.reserved_by(seat) == Some(id)).map(u32::from)
    }

    fn copy(&mut self, id: u64, cell: CellWord) -> Result<Met> {
        let published = Published::of(&self.ring, id, cell).in_segment(&self.segment)?;
        let place = if published.is_large() { Place::Large } else { Place::Block };
        let mut head = Head::default();
        let into = CopyInto { head: &mut head, buffer: &mut self.buffer };
        let mut wants = |_: &Head, _: &[u8]| self.payloads;
        let copied = published.copy_out(into, &mut self.fragments, self.large.as_ref(), &mut wants);
        let (len, payload) = match copied {
            Copied::Event { len } => (len, Some(self.buffer[head.payload_at()..len].to_vec())),
            // The tail visits nothing.
            Copied::NotWanted { len } | Copied::Visited { len } => (len, None),
            Copied::Fragment { kind, len } => return self.assemble(id, kind, len),
            Copied::Gap(gap) => return Ok(Met::seen(Seen::Missed(gap.missed(id)))),
            Copied::Lapped => return Ok(Met::Lapped),
            Copied::Overwritten => return Ok(Met::seen(Seen::Gap { from: id, missed: 1 })),
            Copied::Unreadable => return Ok(Met::seen(Seen::Unreadable { id })),
        };
        let names = Names::of(&head, &self.buffer);
        self.seen(id, &head, names, (len - head.payload_at()) as u64, place, payload)
    }

    /// Adds the fragment in the fragments' buffer to its event.
    fn assemble(&mut self, id: u64, kind: Kind, len: usize) -> Result<Met> {
        let head = self.fragments.buffered(len).and_then(|bytes| FragmentHead::parse(kind, bytes));
        let Some(FragmentHead { seat, total, .. }) = head else {
            return Ok(Met::seen(Seen::Unreadable { id }));
        };
        let wants = |head: &Head, prefix: &[u8]| {
            self.names.insert(seat, Names::of(head, prefix));
            self.payloads
        };
        let (head, payload) = match self.fragments.add(kind, len, wants) {
            Assembled::More => return Ok(Met::Nothing),
            Assembled::Headless | Assembled::BeforeOurTime => return Ok(Met::seen(Seen::Headless { id })),
            Assembled::Malformed => return Ok(Met::seen(Seen::Unreadable { id })),
            Assembled::NotWanted { head } => (head, None),
            Assembled::Whole { head, bytes } => {
                let payload = bytes.get(head.payload_at()..).unwrap_or_default().to_vec();
                (head, Some(payload))
            }
        };
        let names = self.names.remove(&seat).unwrap_or_default();
        let Some(payload_len) = total.checked_sub(head.payload_at() as u64) else {
            return Ok(Met::seen(Seen::Unreadable { id }));
        };
        self.seen(id, &head, names, payload_len, Place::Fragments, payload)
    }

    fn seen(
        &self,
        id: u64,
        head: &Head,
        Names { source, event, type_tag, unique, kept, key, via }: Names,
        len: u64,
        place: Place,
        payload: Option<Vec<u8>>,
    ) -> Result<Met> {
        let unique = match unique {
            None => None,
            // Its key is hashed for all hosts, and no claim of this segment is about it.
            Some(UniqueKey { key, ttl_ns }) if head.is_request() => {
                Some(SeenUnique { key: KeyHash(key), ttl: Duration::from_nanos(ttl_ns), state: UniqueState::Open })
            }
            Some(UniqueKey { key, ttl_ns }) => Some(SeenUnique {
                key: KeyHash(key),
                ttl: Duration::from_nanos(ttl_ns),
                state: claims::state_of(&self.segment, key, id.saturating_add(1))?,
            }),
        };
        let retained = kept.map(|kept| SeenRetained {
            key,
            ttl: (kept.ttl_ns > 0).then(|| Duration::from_nanos(kept.ttl_ns)),
            clears: kept.clears,
        });
        Ok(Met::seen(Seen::Event(SeenEvent {
            id,
            source,
            event,
            seat: u32::from(head.seat()),
            pid: head.pid(),
            len,
            fragmented: place == Place::Fragments,
            large: place == Place::Large,
            typed: type_tag != 0,
            unique,
            retained,
            request: head.is_request(),
            relayed: via.map(|Via { origin, id, place }| SeenRelayed { origin, id, place }),
            payload,
        })))
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("name", &self.segment.name()).field("next", &self.next).finish_non_exhaustive()
    }
}
