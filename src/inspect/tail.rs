//! Reading all events without a seat.
//!
//! The same looks and copies as a worker's reader makes, without its cursor, its counters, its claims and its right to
//! give up a reserved id: what is not there yet is waited for or passed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claims::{self, ClaimEntry, Decided, KeyHash};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::Buffer;
use crate::event::wire::{FragmentHead, Head, UniqueKey};
use crate::protocol::ring::{Look, Ring};
use crate::protocol::word::CellWord;
use crate::seat::copy::{Copied, Published};
use crate::seat::fragments::{Assembled, Fragments};
use crate::seat::options::Start;
use crate::segment::Segment;
use crate::segment::fault::InSegment;

/// How long a reserved id is waited for, if the caller does not say: as long as workers do by default.
const PATIENCE: Duration = Duration::from_millis(500);

/// Something a [`Tail`] came upon, in the order of ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Seen {
    /// An event.
    Event(SeenEvent),
    /// Ids that were overwritten before they were read.
    #[non_exhaustive]
    Gap {
        /// The first of them.
        from: u64,
        /// How many.
        missed: u64,
    },
    /// An id that was reserved and never became an event.
    #[non_exhaustive]
    Void {
        /// The id.
        id: u64,
    },
    /// An id that is reserved, and whose payload did not come while this tail was willing to wait. It may still become
    /// an event for the workers.
    #[non_exhaustive]
    PassedOver {
        /// The id.
        id: u64,
        /// The seat that reserved it, if one still says so.
        seat: Option<u32>,
    },
    /// The last fragment of an event whose beginning was missed, or was before this tail's.
    #[non_exhaustive]
    Headless {
        /// The id.
        id: u64,
    },
    /// An id whose seat is not one that this crate writes.
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
    /// Its id; that of its last fragment if it came in several.
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
    /// Whether it came in fragments.
    pub fragmented: bool,
    /// Whether it was posted as a value of a type.
    pub typed: bool,
    /// Its unique key, if it has one.
    pub unique: Option<SeenUnique>,
    /// Its payload, if [`Tail::payloads`] asked for it.
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
            .finish_non_exhaustive()
    }
}

/// The unique key of an event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeenUnique {
    /// Its hash.
    pub key: KeyHash,
    /// For how long it is held once it is won.
    pub ttl: Duration,
    /// What was decided when the event was seen.
    pub state: UniqueState,
}

/// What is decided about a unique event.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum UniqueState {
    /// No worker has reached it.
    Open,
    /// It was run, or ignored because its key was held: the segment does not keep which.
    Decided(Box<ClaimEntry>),
    /// So long ago that its key is forgotten.
    Forgotten,
}

/// A reader of all events that takes no seat; made by [`Inspector::tail`](super::Inspector::tail).
#[must_use = "a tail reads nothing until `next` is called"]
pub struct Tail {
    segment: Arc<Segment>,
    ring: Ring,
    next: u64,
    fragments: Fragments,
    payloads: bool,
    /// The names of events that are still in fragments, by the seat of the sender.
    names: BTreeMap<u16, (String, String)>,
    patience: Duration,
    /// Since when the reserved id `next` is waited for.
    waiting_since: Option<Instant>,
    buffer: Buffer,
}

fn names_of(head: &Head, prefix: &[u8]) -> (String, String) {
    let (source, event) = head.names(prefix).split_at(head.source(prefix).len());
    (String::from_utf8_lossy(source).into_owned(), String::from_utf8_lossy(event).into_owned())
}

/// What was met at one id.
enum Met {
    Seen(Seen),
    Nothing,
    Lapped,
}

impl Tail {
    pub(super) fn new(segment: &Arc<Segment>, start: Start) -> Result<Tail> {
        let ring = segment.ring();
        let begin = start.begin(segment)?;
        Ok(Tail {
            fragments: Fragments::beginning(segment.geometry(), &ring, begin),
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

    /// Whether payloads are copied out, too. Default: no.
    pub fn payloads(mut self, yes: bool) -> Tail {
        self.payloads = yes;
        self
    }

    /// How long to wait at a reserved id before it is passed over. Default 500 ms.
    pub fn patience(mut self, patience: Duration) -> Tail {
        self.patience = patience;
        self
    }

    /// The id that is looked at next.
    pub fn next_id(&self) -> u64 {
        self.next
    }

    /// The reserved id that is waited for.
    pub fn waiting_for(&self) -> Option<u64> {
        self.waiting_since.is_some().then_some(self.next)
    }

    /// What comes next, or `None` if there is nothing new or the next id is reserved. Never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends with its first `None`, and this goes on after it"
    )]
    pub fn next(&mut self) -> Result<Option<Seen>> {
        loop {
            let id = self.next;
            match self.ring.look(id).in_segment(&self.segment)? {
                Look::Empty => return Ok(None),
                Look::Published(cell) => match self.copy(id, cell)? {
                    Met::Lapped => return Ok(Some(self.lapped())),
                    Met::Nothing => self.go_on(id.saturating_add(1)),
                    Met::Seen(seen) => {
                        self.go_on(id.saturating_add(1));
                        return Ok(Some(seen));
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
        // Always further: a cell's version, of 42 bits, is at most that of ids far below the greatest number.
        self.go_on(self.ring.resume_after_lap(from));
        Seen::Gap { from, missed: self.next.saturating_sub(from) }
    }

    fn reserver_of(&self, id: u64) -> Option<u32> {
        (0..=self.segment.geometry().last_seat()).find(|&seat| self.ring.reserved_by(seat) == Some(id)).map(u32::from)
    }

    fn copy(&mut self, id: u64, cell: CellWord) -> Result<Met> {
        let published = Published::of(&self.ring, id, cell).in_segment(&self.segment)?;
        let copied = published.copy_out(&mut self.buffer, &mut self.fragments, |_, _| self.payloads);
        let (head, len, payload) = match copied {
            Copied::Event { head, len } => (head, len, Some(self.buffer[head.payload_at()..len].to_vec())),
            Copied::NotWanted { head, len } => (head, len, None),
            Copied::Fragment { len } => return self.assemble(id, len),
            Copied::Lapped => return Ok(Met::Lapped),
            Copied::Unreadable => return Ok(Met::Seen(Seen::Unreadable { id })),
        };
        let names = names_of(&head, &self.buffer);
        self.seen(id, &head, names, (len - head.payload_at()) as u64, false, payload)
    }

    /// Adds the fragment in the fragments' buffer to its event.
    fn assemble(&mut self, id: u64, len: usize) -> Result<Met> {
        let Some(FragmentHead { seat, total, .. }) = self.fragments.buffered(len).and_then(FragmentHead::parse) else {
            return Ok(Met::Seen(Seen::Unreadable { id }));
        };
        let wants = |head: &Head, prefix: &[u8]| {
            self.names.insert(seat, names_of(head, prefix));
            self.payloads
        };
        let (head, payload) = match self.fragments.add(len, wants) {
            Assembled::More => return Ok(Met::Nothing),
            Assembled::Headless | Assembled::BeforeOurTime => return Ok(Met::Seen(Seen::Headless { id })),
            Assembled::Malformed => return Ok(Met::Seen(Seen::Unreadable { id })),
            Assembled::NotWanted { head } => (head, None),
            Assembled::Whole { head, bytes } => {
                let payload = bytes.get(head.payload_at()..).unwrap_or_default().to_vec();
                (head, Some(payload))
            }
        };
        let names = self.names.remove(&seat).unwrap_or_default();
        let Some(payload_len) = total.checked_sub(head.payload_at() as u64) else {
            return Ok(Met::Seen(Seen::Unreadable { id }));
        };
        self.seen(id, &head, names, payload_len, true, payload)
    }

    fn seen(
        &self,
        id: u64,
        head: &Head,
        (source, event): (String, String),
        len: u64,
        fragmented: bool,
        payload: Option<Vec<u8>>,
    ) -> Result<Met> {
        let unique = match head.unique {
            None => None,
            Some(UniqueKey { key, ttl_ns }) => Some(SeenUnique {
                key: KeyHash(key),
                ttl: Duration::from_nanos(ttl_ns),
                state: match claims::decided(&self.segment, key, id.saturating_add(1))? {
                    Decided::Not => UniqueState::Open,
                    Decided::By(entry) => UniqueState::Decided(entry),
                    Decided::Forgotten => UniqueState::Forgotten,
                },
            }),
        };
        Ok(Met::Seen(Seen::Event(SeenEvent {
            id,
            source,
            event,
            seat: u32::from(head.seat),
            pid: head.pid,
            len,
            fragmented,
            typed: head.type_tag != 0,
            unique,
            payload,
        })))
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("name", &self.segment.name()).field("next", &self.next).finish_non_exhaustive()
    }
}
