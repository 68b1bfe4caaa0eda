//! A seat that only posts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claim::{Claim, Claimed, Unique};
use crate::error::Result;
#[cfg(feature = "typed")]
use crate::event::TypedEvent;
use crate::event::{Buffer, EventBuilder, Payload, Sender, Topic};
use crate::seat::Seat;
use crate::seat::claim::hash_unique;
use crate::seat::options::WorkerOptions;
use crate::seat::publish::Outgoing;
use crate::segment::Segment;

/// A seat that only posts, for one thread: no lock is around its posts. Dropping it frees the seat.
#[must_use = "a poster frees its seat when it is dropped"]
pub struct Publisher {
    pub(super) seat: Seat,
    timeout: Duration,
    buffer: Buffer,
}

impl Publisher {
    pub(crate) fn join(segment: &Arc<Segment>, options: &WorkerOptions) -> Result<Publisher> {
        options.check_to_join(segment)?;
        let seat = Seat::take(segment, &options.label)?;
        Ok(Publisher { seat, timeout: options.timeout, buffer: Buffer::new() })
    }

    /// Posts an event to all workers. Returns its id.
    ///
    /// # Errors
    ///
    /// As [`Worker::post`](crate::Worker::post).
    #[inline]
    pub fn post<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), None, payload)
    }

    /// Posts a value under its type's topic. Returns the event's id.
    ///
    /// # Errors
    ///
    /// As [`Worker::post_typed`](crate::Worker::post_typed).
    #[cfg(feature = "typed")]
    #[inline]
    pub fn post_typed<T: TypedEvent>(&mut self, value: &T) -> Result<u64> {
        self.send(T::TOPIC, None, value)
    }

    /// Begins an event about which more is said than topic and payload: see [`EventBuilder`].
    pub fn event<'a>(&'a mut self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a mut Publisher> {
        EventBuilder::new(self, topic.into())
    }

    /// Claims `key` among all workers for `ttl`, as [`Worker::claim`](crate::Worker::claim) does.
    ///
    /// # Errors
    ///
    /// As [`Worker::claim`](crate::Worker::claim).
    pub fn claim(&mut self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claimed> {
        let key = key.as_ref();
        self.check()?;
        self.seat.claimer.claim_alone(key, ttl)
    }

    /// Ends a claim before its ttl does. `false` if it had ended.
    ///
    /// # Errors
    ///
    /// As [`Worker::release`](crate::Worker::release).
    pub fn release(&mut self, claim: &Claim) -> Result<bool> {
        self.check()?;
        self.seat.claimer.release(claim.key, claim.token)
    }

    /// The number of this poster's seat.
    pub fn seat(&self) -> u32 {
        u32::from(self.seat.number)
    }

    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        self.seat.check()
    }

    /// Posts an event of the library's own.
    pub(super) fn announce(&mut self, topic: Topic<'static>, label: &str) -> Result<()> {
        let event = Outgoing { topic, type_tag: 0, unique: None, payload: label.as_bytes() };
        self.seat.writer.post(&event).map(drop)
    }
}

impl Sender for &mut Publisher {
    #[inline]
    fn send(self, topic: Topic<'_>, unique: Option<Unique<'_>>, payload: impl Payload) -> Result<u64> {
        self.check()?;
        topic.check_to_post()?;
        let unique = match unique {
            Some(unique) => Some(hash_unique(self.seat.segment.unique_hash(), unique, self.timeout)?),
            None => None,
        };
        let (type_tag, payload) = payload.encode(topic, &mut self.buffer)?;
        // Archiving was users' code: it may have forked, and returned in the child, or taken its time.
        self.seat.check()?;
        self.seat.writer.post(&Outgoing { topic, type_tag, unique, payload })
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("segment", &self.seat.segment.name())
            .field("seat", &self.seat.number)
            .finish_non_exhaustive()
    }
}
