//! A seat that only posts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rkyv::util::AlignedVec;

use crate::claimer::hash_unique;
use crate::error::Result;
use crate::event::{Postable, archive, type_tag};
use crate::layout::record_word;
use crate::message::PAYLOAD_ALIGN;
use crate::seat::Seat;
use crate::segment::Segment;
use crate::worker::{Claim, Claimed};
use crate::worker_options::{Unique, WorkerOptions};
use crate::writer::Draft;

/// A seat that only posts, for one thread: no lock is around its posts. Dropping it frees the seat.
#[must_use = "a poster frees its seat when it is dropped"]
pub struct Poster {
    seat: Seat,
    timeout: Duration,
    buffer: AlignedVec<PAYLOAD_ALIGN>,
}

impl Poster {
    pub(crate) fn join(segment: &Arc<Segment>, options: &WorkerOptions) -> Result<Poster> {
        options.check_to_join(segment)?;
        let seat = Seat::take(segment, &options.label)?;
        Ok(Poster { seat, timeout: options.timeout, buffer: AlignedVec::new() })
    }

    /// Posts an event to all workers. Returns its id.
    ///
    /// # Errors
    ///
    /// As [`Worker::post`](crate::Worker::post).
    #[inline]
    pub fn post(&mut self, source: &str, event: &str, data: impl AsRef<[u8]>) -> Result<u64> {
        self.post_draft(&Draft { source, event, type_tag: 0, unique: None, payload: data.as_ref() })
    }

    /// Posts an event that one worker runs at most.
    ///
    /// # Errors
    ///
    /// As [`Worker::post_unique`](crate::Worker::post_unique).
    pub fn post_unique<'a>(
        &mut self,
        source: &str,
        event: &str,
        data: impl AsRef<[u8]>,
        unique: impl Into<Unique<'a>>,
    ) -> Result<u64> {
        let unique = hash_unique(self.seat.segment.unique_hash(), unique.into(), self.timeout)?;
        self.post_draft(&Draft { source, event, type_tag: 0, unique: Some(unique), payload: data.as_ref() })
    }

    /// Posts a value under its type's source and event.
    ///
    /// # Errors
    ///
    /// As [`Worker::post_typed`](crate::Worker::post_typed).
    #[inline]
    pub fn post_typed<T: Postable>(&mut self, value: &T) -> Result<u64> {
        self.check()?;
        self.buffer = archive(value, std::mem::take(&mut self.buffer))?;
        let type_tag = const { type_tag::<T>() };
        let draft = Draft { source: T::SOURCE, event: T::EVENT, type_tag, unique: None, payload: &self.buffer };
        // Archiving was users' code: it may have forked, and returned in the child.
        self.seat.guard.check()?;
        self.seat.writer.post(&draft)
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

    /// The number of this poster's worker record.
    pub fn record(&self) -> u32 {
        u32::from(self.seat.record)
    }

    #[inline]
    fn post_draft(&mut self, draft: &Draft<'_>) -> Result<u64> {
        self.check()?;
        self.seat.writer.post(draft)
    }

    #[inline]
    fn check(&self) -> Result<()> {
        self.seat.guard.check()
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        if self.check().is_ok() {
            self.seat.words.set(record_word!(identity.pid), 0);
            self.seat.lock.release(self.seat.record);
        }
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster")
            .field("segment", &self.seat.segment.name())
            .field("record", &self.seat.record)
            .finish_non_exhaustive()
    }
}
