//! The builder of events.

use std::fmt;
use std::time::Duration;

use super::{Payload, Sink, Topic};
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
    /// The key to retain it under; empty for none but the topic.
    pub(crate) retain: Option<&'a [u8]>,
    pub(crate) ttl: Option<Duration>,
    /// `true` if it is to be delivered on all hosts.
    pub(crate) cluster: bool,
}

/// What an event is asked to be beyond its topic and payload.
#[derive(Clone, Copy, Debug)]
pub enum Special<'a> {
    Nothing,
    Unique(Unique<'a>),
    Retained { key: &'a [u8], ttl: Option<Duration> },
    Cluster(Requested<'a>),
}

/// What a relay is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Requested<'a> {
    Plain,
    Unique(Unique<'a>),
    Retained { key: &'a [u8], ttl: Option<Duration> },
    Clear { key: &'a [u8] },
}

impl<'a> Special<'a> {
    /// Returns the request for such an event on all hosts.
    fn for_all_hosts(self) -> Special<'a> {
        Special::Cluster(match self {
            Special::Nothing => Requested::Plain,
            Special::Unique(unique) => Requested::Unique(unique),
            Special::Retained { key, ttl } => Requested::Retained { key, ttl },
            Special::Cluster(requested) => requested,
        })
    }
}

/// What a post does if it would lap a worker that must read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// It waits, unless it comes from such a worker itself.
    Wait,
    /// It returns an error.
    Refuse,
}

/// A handle that posts events. The trait is sealed.
pub trait Sender {
    /// Posts an event.
    #[doc(hidden)]
    fn send(self, topic: Topic<'_>, special: Special<'_>, payload: impl Payload, no_room: NoRoom) -> Result<u64>;

    /// Posts an event whose payload `fill` writes.
    #[doc(hidden)]
    fn send_with(
        self,
        topic: Topic<'_>,
        special: Special<'_>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64>;

    /// Clears what is retained.
    #[doc(hidden)]
    fn clear(self, topic: Topic<'_>, key: &[u8], no_room: NoRoom) -> Result<Option<u64>>;
}

impl<'a, S: Sender> EventBuilder<'a, S> {
    pub(crate) fn new(sender: S, topic: Topic<'a>) -> EventBuilder<'a, S> {
        EventBuilder { sender, topic, unique: None, retain: None, ttl: None, cluster: false }
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

    /// Retains the event: it is delivered like any other, and kept as the last one of its topic until another retained
    /// event of the topic takes its place, until it is [cleared](EventBuilder::clear), or until its
    /// [ttl](EventBuilder::ttl) ends. To keep one for each of several things, use
    /// [`retain_key`](EventBuilder::retain_key).
    ///
    /// [`Worker::get`](crate::Worker::get) looks it up. A worker that joins with
    /// [`Start::Retained`](crate::Start::Retained) gets it, and so does one that has missed it and has
    /// [`resync`](crate::WorkerOptions::resync) on. No kill or stop loses it: once the post has
    /// returned, or any worker has got the event, every later look finds it or a later one of its key.
    ///
    /// The segment has room for as many keys as [`SegmentOptions::retained`](crate::SegmentOptions::retained) says, and
    /// for events as large as [`retained_size`](crate::SegmentOptions::retained_size).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("config", "changed")).retain().post("workers = 4")?;
    /// worker.event(("config", "changed")).retain().post("workers = 8")?;
    /// assert_eq!(worker.get(("config", "changed"))?.expect("it is retained").bytes(), b"workers = 8");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn retain(mut self) -> EventBuilder<'a, S> {
        self.retain = Some(&[]);
        self
    }

    /// [Retains](EventBuilder::retain) the event as the last one of its topic and `key`, which has at most 255 bytes.
    /// An empty key is none.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// worker.event(("upstream", "state")).retain_key("18").post("up")?;
    /// assert_eq!(worker.get_key(("upstream", "state"), "17")?.expect("it is retained").bytes(), b"down");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn retain_key<K: AsRef<[u8]> + ?Sized>(mut self, key: &'a K) -> EventBuilder<'a, S> {
        self.retain = Some(key.as_ref());
        self
    }

    /// Sets how long the key of a unique event is held after the first worker has reached the event. Default: the
    /// worker's [`timeout`](crate::WorkerOptions::timeout). Of a retained event, sets how long it is retained. Default:
    /// without an end.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # use std::time::Duration;
    /// worker.event(("mail", "nightly")).unique("mail").ttl(Duration::from_secs(3600)).post("")?;
    /// worker.event(("upstream", "state")).retain_key("17").ttl(Duration::from_secs(60)).post("down")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> EventBuilder<'a, S> {
        self.ttl = Some(ttl);
        self
    }

    /// Has the event delivered on all hosts of the cluster, this one included, at one place in one order that all of
    /// them share. See [`Worker::post_cluster`](crate::Worker::post_cluster). The id that
    /// [`post`](EventBuilder::post) returns is that of the request; the event gets another id when it is delivered.
    ///
    /// A [unique](EventBuilder::unique) event is run by one worker of the cluster: a worker of this host, unless
    /// another host holds the key. A [retained](EventBuilder::retain) event is retained on every host, the last one of
    /// the shared order everywhere.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # let relay = bus.relay(&seqcast::relay::RelayOptions::new())?;
    /// worker.event(("config", "changed")).cluster().retain().post("workers = 8")?;
    /// worker.event(("mail", "nightly")).cluster().unique("mail").ttl(Duration::from_secs(3600)).post("")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn cluster(mut self) -> EventBuilder<'a, S> {
        self.cluster = true;
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
    /// [`Reservation::commit`](crate::Reservation::commit); and [`ErrorKind::Option`] for an empty unique key, a ttl of
    /// zero, a ttl of an event that is neither unique nor retained, or an event that is both.
    ///
    /// If the event is retained: [`ErrorKind::RetainedFull`] if there is no place for its key;
    /// [`ErrorKind::PayloadTooLarge`] if it is larger than what is kept of a key; [`ErrorKind::Option`] for a key of
    /// more than 255 bytes, on a segment that retains nothing, and at a reserved id. After an error nothing was posted.
    ///
    /// For the [cluster](EventBuilder::cluster): [`ErrorKind::NoRelay`]; [`ErrorKind::Option`] at a reserved id.
    pub fn post(self, payload: impl Payload) -> Result<u64> {
        self.post_or(NoRoom::Wait, payload)
    }

    /// [`post`](EventBuilder::post) that does not wait for workers that [must
    /// read](crate::WorkerOptions::must_read). At a reserved id it is the same as `post`, because the id is taken.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::{ErrorKind, WorkerOptions};
    ///
    /// let slow = bus.subscribe_with(&WorkerOptions::new().must_read(Duration::from_secs(1)).announce(false))?;
    /// let mut publisher = bus.publisher()?;
    /// for load in 0..8 {
    ///     publisher.event(("load", "is")).retain().try_post(load.to_string())?;
    /// }
    /// let full = publisher.event(("load", "is")).retain().try_post("8").unwrap_err();
    /// assert_eq!(full.kind(), ErrorKind::Full);
    /// # drop(slow);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](EventBuilder::post); and [`ErrorKind::Full`] instead of a wait.
    pub fn try_post(self, payload: impl Payload) -> Result<u64> {
        self.post_or(NoRoom::Refuse, payload)
    }

    fn post_or(self, no_room: NoRoom, payload: impl Payload) -> Result<u64> {
        let special = self.special()?;
        self.sender.send(self.topic, special, payload, no_room)
    }

    /// Posts an event whose payload, of `len` bytes, `fill` writes to its place: see
    /// [`Publisher::post_with`](crate::Publisher::post_with). Returns its id. A retained event, one at a reserved id
    /// and one of a [`Worker`](crate::Worker) are written to a private buffer first.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// publisher.event(("refresh", "users")).unique("users").post_with(3, |sink| sink.put(b"all"))?;
    /// publisher.event(("users", "all")).retain().post_with(4, |sink| sink.put(&7_u32.to_le_bytes()))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](EventBuilder::post), and [`ErrorKind::Option`] if `fill` writes fewer bytes than `len`, or more; and
    /// the errors that `fill` returns. After an error nothing was posted.
    pub fn post_with(self, len: usize, fill: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> Result<u64> {
        let special = self.special()?;
        self.sender.send_with(self.topic, special, len, fill)
    }

    /// Returns what the event is asked to be beyond its topic and payload.
    fn special(&self) -> Result<Special<'a>> {
        let special = match (self.unique, self.retain, self.ttl) {
            (Some(_), Some(_), _) => {
                let rule = "a unique event runs once, and cannot be retained: leave out one of the two";
                return Err(Error::option("retain", "set with unique", rule));
            }
            (None, None, Some(ttl)) => {
                let rule = "only a unique or retained event has a ttl: add .unique(key) or .retain()";
                return Err(Error::option("ttl", format!("{ttl:?}"), rule));
            }
            (None, None, None) => Special::Nothing,
            (None, Some(key), ttl) => Special::Retained { key, ttl },
            (Some(unique), None, None) => Special::Unique(unique),
            (Some(unique), None, Some(ttl)) => Special::Unique(unique.ttl(ttl)),
        };
        Ok(if self.cluster { special.for_all_hosts() } else { special })
    }

    /// Clears what is retained under the topic and the [key](EventBuilder::retain_key), by an event without a payload
    /// that tells all workers so: see [`Worker::on_cleared`](crate::Worker::on_cleared). Returns its id, or `None` if
    /// nothing is retained there; then nothing was posted. For the [cluster](EventBuilder::cluster), returns the id of
    /// the request, whatever is retained here.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// assert!(worker.event(("upstream", "state")).retain_key("17").clear()?.is_some());
    /// assert!(worker.get_key(("upstream", "state"), "17")?.is_none());
    /// assert!(worker.event(("upstream", "state")).retain_key("17").clear()?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](EventBuilder::post) for a retained event; [`ErrorKind::Option`] with a ttl or a unique key.
    pub fn clear(self) -> Result<Option<u64>> {
        self.clear_or(NoRoom::Wait)
    }

    /// [`clear`](EventBuilder::clear) that does not wait for workers that [must
    /// read](crate::WorkerOptions::must_read).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// assert!(worker.event(("upstream", "state")).retain_key("17").try_clear()?.is_some());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`clear`](EventBuilder::clear); and [`ErrorKind::Full`] instead of a wait.
    pub fn try_clear(self) -> Result<Option<u64>> {
        self.clear_or(NoRoom::Refuse)
    }

    fn clear_or(self, no_room: NoRoom) -> Result<Option<u64>> {
        if self.unique.is_some() || self.ttl.is_some() {
            let rule = "nothing is retained by a clear: leave out .unique and .ttl";
            return Err(Error::option("clear", "with unique or ttl", rule));
        }
        let key = self.retain.unwrap_or_default();
        if self.cluster {
            let special = Special::Cluster(Requested::Clear { key });
            return self.sender.send(self.topic, special, "", no_room).map(Some);
        }
        self.sender.clear(self.topic, key, no_room)
    }
}

impl<S> fmt::Debug for EventBuilder<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBuilder")
            .field("topic", &self.topic)
            .field("unique", &self.unique)
            .field("retain", &self.retain.map(<[u8]>::len))
            .field("ttl", &self.ttl)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
