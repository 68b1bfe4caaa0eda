//! An event id that was taken for an event still to come.

use std::fmt;

use super::handle::Worker;
use super::posting::with_encoded;
use crate::claim::Unique;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::event::{EventBuilder, Payload, Sender, Topic};
use crate::seat::publish::Outgoing;

impl Worker {
    /// Takes the next event id now, for an event whose payload comes later; until then, or until their `wait_max`, the
    /// readers wait at it. A reservation that this worker has not committed is given up first: it can hold one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    pub fn reserve(&self) -> Result<Reservation> {
        let id = self.inner.writer_for_next()?.reserve()?;
        Ok(Reservation { worker: self.clone(), id, open: true })
    }
}

/// An event id taken for an event that is still to come. Dropped, it is given up.
#[must_use = "a reservation that is dropped is given up"]
pub struct Reservation {
    worker: Worker,
    id: u64,
    open: bool,
}

impl Reservation {
    /// The id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Makes the event visible at the reserved id. After an error other than [`ErrorKind::TooLate`] the reservation
    /// stands and can be committed again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLate`] if the readers have given the id up, and then nobody has seen the event;
    /// [`ErrorKind::PayloadTooLarge`] if it does not fit one block; otherwise as [`Worker::post`].
    #[inline]
    pub fn commit<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), None, payload)
    }

    /// Begins an event about which more is said than topic and payload, to be committed at the reserved id.
    pub fn event<'a>(&'a mut self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a mut Reservation> {
        EventBuilder::new(self, topic.into())
    }
}

impl Sender for &mut Reservation {
    fn send(self, topic: Topic<'_>, unique: Option<Unique<'_>>, payload: impl Payload) -> Result<u64> {
        let inner = &*self.worker.inner;
        inner.check()?;
        topic.check_to_post()?;
        let unique = inner.unique_key(unique)?;
        let committed = with_encoded(topic, &payload, |type_tag, payload| {
            // One lock around the check and the commit: another thread of this worker may reserve at any time.
            let mut writer = inner.writer()?;
            if self.open {
                writer.commit(self.id, &Outgoing { topic, type_tag, unique, payload })
            } else {
                Err(Error::from(Cause::TooLate { id: self.id }))
            }
        });
        if committed.as_ref().map_or_else(|error| error.kind() == ErrorKind::TooLate, |()| true) {
            self.open = false;
        }
        committed.map(|()| self.id)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open
            && let Ok(mut writer) = self.worker.inner.writer()
            && writer.reserved() == Some(self.id)
        {
            // If the segment is corrupt there is nobody to give it up for.
            let _ = writer.abandon();
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("id", &self.id).field("open", &self.open).finish_non_exhaustive()
    }
}
