//! One of the two segments of a bridge: the seat on it, and what came into it.

use std::collections::HashMap;

use crate::error::Result;
use crate::protocol::bridge::BridgeWords;
use crate::protocol::bucket::Bucket;
use crate::seat::bell::pull::PullBell;
use crate::seat::publisher::Publisher;
use crate::seat::subscriber::Subscriber;
use crate::segment::fault::InSegment;

pub(super) struct Side {
    pub(super) subscriber: Subscriber,
    words: BridgeWords,
    bell: Option<PullBell>,
    /// By the hash of a key: the id of the last retained event of the key that this bridge has posted here. Only those
    /// matter that are not before the reader.
    came: HashMap<[u64; 2], u64>,
    /// `true` while all retained events are read again, because clears may have been missed.
    pub(super) was_reset: bool,
}

impl Side {
    pub(super) fn new(subscriber: Subscriber) -> Side {
        Side { words: subscriber.segment().bridge(), subscriber, bell: None, came: HashMap::new(), was_reset: false }
    }

    pub(super) fn publisher(&mut self) -> &mut Publisher {
        &mut self.subscriber.publisher
    }

    pub(super) fn name(&self) -> &str {
        self.subscriber.segment().name()
    }

    pub(super) fn check(&self) -> Result<()> {
        self.subscriber.check()
    }

    /// Returns what this segment knows of the bridge.
    pub(super) fn words(&self) -> &BridgeWords {
        &self.words
    }

    pub(super) fn newest(&self) -> u64 {
        self.subscriber.segment().ring().newest()
    }

    pub(super) fn capacity(&self) -> u64 {
        self.subscriber.segment().geometry().capacity()
    }

    /// Returns `true` if every event below `end` is handled.
    pub(super) fn is_past(&self, end: u64) -> bool {
        self.subscriber.position().next() >= end
    }

    pub(super) fn bell(&mut self) -> Result<&PullBell> {
        let bell = match self.bell.take() {
            Some(bell) => bell,
            None => self.subscriber.bell()?,
        };
        Ok(self.bell.insert(bell))
    }

    pub(super) fn arm(&mut self) -> Result<bool> {
        self.bell()?;
        self.bell.as_ref().map_or(Ok(true), |bell| bell.arm(&self.subscriber))
    }

    /// Notes that an event of the key with this hash was posted here.
    pub(super) fn note_came(&mut self, key: [u64; 2], id: u64) {
        const MANY: usize = 1024;
        if self.came.len() >= MANY {
            let read = self.subscriber.cursor();
            self.came.retain(|_, &mut came| came >= read);
        }
        self.came.insert(key, id);
    }

    /// Returns `true` if an event of the key with this hash came into this segment after its own event `id`.
    pub(super) fn is_superseded(&self, key: [u64; 2], id: u64) -> bool {
        self.came.get(&key).is_some_and(|&came| came > id)
    }

    /// Stores how far this side is read, for a bridge that comes after this one.
    pub(super) fn note_position(&self) {
        let read = self.subscriber.position().next();
        // While the retained events of the beginning are carried, it is 0: the next bridge begins again.
        if read > 0 || !self.subscriber.reader.is_catching_up() {
            self.words().set_next(read);
        }
    }

    /// Holds in `to` the keys that are held here by claims that do not end with their holder, for as long. Returns
    /// their number.
    pub(super) fn copy_claims_to(&mut self, to: &mut Side) -> Result<u64> {
        let seat = &self.subscriber.publisher.seat;
        let (segment, now) = (&seat.segment, seat.clock.boottime_ns());
        let (claims, mut bucket, mut copied) = (segment.claims(), Bucket::default(), 0);
        for index in 0..claims.buckets() {
            claims.snapshot(index, &mut bucket).in_segment(segment)?;
            for entry in bucket.entries() {
                let left = entry.deadline.saturating_sub(now);
                if left > 0 && !entry.token.ends_with_holder() {
                    copied += u64::from(to.publisher().seat.claimer.hold(entry.key.0, left)?);
                }
            }
        }
        Ok(copied)
    }
}
