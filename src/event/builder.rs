//! The builder of events.

use std::fmt;
use std::time::Duration;

use super::{Payload, Topic};
use crate::claim::Unique;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// An event before it is posted: unique, with a ttl, or local. Every handle that posts returns one:
/// [`Worker::event`](crate::Worker::event), [`Publisher::event`](crate::Publisher::event), and
/// [`Reservation::event`](crate::Reservation::event) for an event at a reserved id.
///
/// ```
/// # use std::time::Duration;
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// // One worker refreshes the users, and none does so again within ten seconds.
/// let ttl = Duration::from_secs(10);
/// worker.event(("refresh", "users")).unique("users").ttl(ttl).post("")?;
/// bus.publisher()?.event(("refresh", "users")).unique("users").ttl(ttl).post("")?;
/// worker.reserve()?.event(("refresh", "users")).unique("users").ttl(ttl).post("")?;
/// // For this worker only.
/// worker.event(("cache", "stale")).local("user:42")?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "nothing is posted before `post`"]
pub struct EventBuilder<'a, S> {
    pub(crate) sender: S,
    pub(crate) topic: Topic<'a>,
    pub(crate) unique: Option<Unique<'a>>,
    pub(crate) ttl: Option<Duration>,
}

/// A handle that posts events. The trait is sealed.
pub trait Sender {
    /// Posts an event.
    #[doc(hidden)]
    fn send(self, topic: Topic<'_>, unique: Option<Unique<'_>>, payload: impl Payload) -> Result<u64>;
}

impl<'a, S: Sender> EventBuilder<'a, S> {
    pub(crate) fn new(sender: S, topic: Topic<'a>) -> EventBuilder<'a, S> {
        EventBuilder { sender, topic, unique: None, ttl: None }
    }

    /// Makes the event unique: at most one worker runs it, and no worker runs a later event with the same key until the
    /// ttl ends. The first worker that reaches the event decides for all.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.on(("refresh", "users"), |_| println!("only one of the workers gets here"))?;
    /// worker.event(("refresh", "users")).unique("users").post("")?;
    /// worker.event(("refresh", "users")).unique("users").post("")?;
    /// assert_eq!(worker.poll()?.delivered(), 1, "the key is held when the second event is reached");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn unique(mut self, key: impl Into<Unique<'a>>) -> EventBuilder<'a, S> {
        self.unique = Some(key.into());
        self
    }

    /// Sets how long the key of a unique event is held after the first worker has reached the event. Default: the
    /// worker's [`timeout`](crate::WorkerOptions::timeout).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # use std::time::Duration;
    /// worker.event(("mail", "nightly")).unique("mail").ttl(Duration::from_secs(3600)).post("")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> EventBuilder<'a, S> {
        self.ttl = Some(ttl);
        self
    }

    /// Posts the event. Returns its id.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let id = worker.event(("refresh", "users")).unique("users").post("all of them")?;
    /// assert_eq!(bus.next_id(), id + 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::post`](crate::Worker::post) or, for a reservation,
    /// [`Reservation::commit`](crate::Reservation::commit); and [`ErrorKind::Option`] for an empty key, a
    /// ttl of zero, or a ttl without a key.
    pub fn post(self, payload: impl Payload) -> Result<u64> {
        let unique = match (self.unique, self.ttl) {
            (None, Some(ttl)) => {
                let rule = "only a unique event has a ttl: add .unique(key)";
                return Err(Error::option("ttl", format!("{ttl:?}"), rule));
            }
            (unique, None) => unique,
            (unique, Some(ttl)) => unique.map(|unique| unique.ttl(ttl)),
        };
        self.sender.send(self.topic, unique, payload)
    }
}

impl<S> fmt::Debug for EventBuilder<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBuilder")
            .field("topic", &self.topic)
            .field("unique", &self.unique)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
