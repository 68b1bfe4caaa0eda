//! Events: their names, their payload, and their form in a block.

mod builder;
mod died;
mod forward;
mod local;
pub(crate) mod missed;
mod payload;
pub(crate) mod scope;
mod sink;
mod topic;
#[cfg(feature = "typed")]
mod typed;
pub(crate) mod wire;
mod words;

use std::any::Any;
use std::fmt;

pub use self::builder::EventBuilder;
pub(crate) use self::builder::{NoRoom, Requested, Sender, Special};
pub use self::died::Died;
pub(crate) use self::forward::Forwarded;
pub(crate) use self::local::{LocalData, LocalEvent};
pub use self::missed::{Missed, MissedReason, Whence};
pub(crate) use self::payload::Buffer;
pub use self::payload::{Payload, Tagged};
pub(crate) use self::payload::{Put, agree_on_format, with_buffer, with_encoded};
pub use self::scope::Scope;
pub use self::sink::Sink;
pub(crate) use self::topic::check_topic;
pub use self::topic::{Topic, library};
#[cfg(feature = "typed")]
pub(crate) use self::typed::check_format;
#[cfg(feature = "typed")]
pub use self::typed::{Typed, TypedEvent, archive_format};
use self::wire::{Head, Kept, Via};
pub use self::words::{WordIter, Words};
use crate::claim::Claim;
use crate::identity::{ClusterId, Origin};
use crate::segment::Segment;
use crate::sync::Ordering;

/// An event, as handlers receive it.
///
/// Its `Debug` output shows everything except the payload.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// # worker.poll()?;
/// worker.on(("cache", "stale"), |event| {
///     let key = String::from_utf8_lossy(event.bytes());
///     println!("{}: {key}, from process {:?}, at {:?}", event.topic(), event.pid(), event.id());
/// })?;
/// worker.post(("cache", "stale"), "user:42")?;
/// assert_eq!(worker.poll()?.delivered(), 1);
/// # Ok::<(), seqcast::Error>(())
/// ```
pub struct Event<'a> {
    pub(crate) source: &'a str,
    pub(crate) event: &'a str,
    pub(crate) content: Content<'a>,
}

/// What an event consists of, beside its topic.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Posted(PostedEvent<'a>),
    /// A local event: any value.
    Value(&'a (dyn Any + Send + Sync)),
    /// A local event: a typed value.
    Archived {
        type_tag: u64,
        bytes: &'a [u8],
    },
    /// No event, but what the handlers of missed events get.
    Missed(&'a Missed),
}

/// An event as it was read. Nothing is looked up before a handler asks for it.
#[derive(Clone, Copy)]
pub(crate) struct PostedEvent<'a> {
    pub(crate) id: u64,
    /// By reference, like the rest: reading what was just written in other parts stalls the processor.
    pub(crate) head: &'a Head,
    /// The bytes that `head` was read from, up to the end of the payload.
    pub(crate) wire: &'a [u8],
    pub(crate) claim: Option<&'a Claim>,
    pub(crate) home: Home<'a>,
    /// `true` if this process has posted it, or the relay did.
    pub(crate) own: bool,
    /// `true` if it comes from the table of retained events.
    pub(crate) handed_over: bool,
    /// `true` if its payload is visited in place, and not here.
    pub(crate) visited: bool,
}

/// Where an event was read.
#[derive(Clone, Copy)]
pub(crate) enum Home<'a> {
    Segment(&'a Segment),
    /// It was looked up on a bus whose typed values have this format.
    #[cfg(feature = "typed")]
    Format(u64),
}

impl<'a> PostedEvent<'a> {
    fn via(&self) -> Option<Via> {
        self.head.via(self.wire).map(Via::of_bytes)
    }

    fn data(&self) -> Data<'a> {
        if self.visited {
            return Data::Visited;
        }
        let type_tag = self.head.type_tag(self.wire);
        match self.home {
            Home::Segment(segment) => Data::posted(segment, type_tag, self.payload()),
            #[cfg(feature = "typed")]
            Home::Format(format) => Data::Bytes { type_tag, format, bytes: self.payload() },
        }
    }

    #[inline]
    fn payload(&self) -> &'a [u8] {
        if self.visited { &[] } else { self.head.payload(self.wire) }
    }

    /// Returns how it was posted, if it is retained, or clears what is.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.head.kept(self.wire)
    }

    /// Returns the user's key of a retained event.
    pub(crate) fn key(&self) -> &'a [u8] {
        self.head.key(self.wire)
    }
}

/// The payload of an event.
#[derive(Clone, Copy)]
pub(crate) enum Data<'a> {
    Bytes {
        type_tag: u64,
        /// The format of the bus's typed values. 0 if there is none, and for payloads that are not typed.
        format: u64,
        bytes: &'a [u8],
    },
    /// A value of this process.
    Value,
    /// It is visited in place, and not here.
    Visited,
}

impl<'a> Data<'a> {
    /// Returns the payload of an event on the bus of `segment`.
    #[inline]
    pub(crate) fn posted(segment: &Segment, type_tag: u64, bytes: &'a [u8]) -> Data<'a> {
        // Relaxed: the reader of a typed value has acquired its cell, and the format was stored before.
        let format = if type_tag == 0 { 0 } else { segment.typed_format().load(Ordering::Relaxed) };
        Data::Bytes { type_tag, format, bytes }
    }
}

impl<'a> Event<'a> {
    pub(crate) fn posted(&self) -> Option<&PostedEvent<'a>> {
        match &self.content {
            Content::Posted(posted) => Some(posted),
            _ => None,
        }
    }

    pub(crate) fn data(&self) -> Data<'a> {
        match self.content {
            Content::Posted(posted) => posted.data(),
            Content::Archived { type_tag, bytes } => Data::Bytes { type_tag, format: 0, bytes },
            Content::Value(_) | Content::Missed(_) => Data::Value,
        }
    }

    /// Returns the source: what the event is about.
    pub fn source(&self) -> &'a str {
        self.source
    }

    /// Returns the event's name: what happened.
    pub fn event(&self) -> &'a str {
        self.event
    }

    /// Returns the topic: source and event.
    pub fn topic(&self) -> Topic<'a> {
        Topic::of_event(self.source, self.event)
    }

    /// Returns the event's position in the order that all workers share. `None` for local events.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// let mut ids = Vec::new();
    /// let posted = worker.post(("cache", "stale"), "user:42")?;
    /// worker.event(("cache", "stale")).local("user:42")?;
    /// worker.poll_with(|event| ids.push(event.id()))?;
    /// assert_eq!(ids, [None, Some(posted)]);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn id(&self) -> Option<u64> {
        match &self.content {
            Content::Posted(posted) => Some(posted.id),
            Content::Missed(missed) => Some(missed.first_id),
            Content::Value(_) | Content::Archived { .. } => None,
        }
    }

    /// Returns the process id of the sender, in its own pid namespace. `None` for local events. The sender of an event
    /// from [another host](Event::origin) is this host's relay.
    pub fn pid(&self) -> Option<u32> {
        self.posted().map(|posted| posted.head.pid())
    }

    /// Returns the seat of the sender. `None` for local events.
    pub fn seat(&self) -> Option<u32> {
        self.posted().map(|posted| u32::from(posted.head.seat()))
    }

    /// Returns `true` if this process posted the event. Returns `false` if the worker that posted it has left and
    /// another process has taken its seat since, and for every event that came [through a relay](Event::origin).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.on(("cache", "stale"), |event| {
    ///     if !event.is_own() {
    ///         println!("another process has changed something");
    ///     }
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn is_own(&self) -> bool {
        self.posted().is_none_or(|posted| posted.own && !posted.head.is_relayed())
    }

    /// Returns the host that posted the event, if it came through a relay. `None` for events that were posted on this
    /// host with [`post`](crate::Worker::post). What was posted here with
    /// [`post_cluster`](crate::Worker::post_cluster) comes through the relay, too, and has this host's
    /// [origin](crate::Bus::origin).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.on(("cache", "stale"), |event| match event.origin() {
    ///     Some(origin) => println!("from host {origin}, at {:?}", event.cluster_id()),
    ///     None => println!("from this host"),
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn origin(&self) -> Option<Origin> {
        self.via().map(|via| via.origin)
    }

    /// Returns the event's place in the order that all hosts share, if it came through a relay.
    ///
    /// It can be passed to a resource as a fencing token: of two unique events with one key, the later one has the
    /// greater place, unless the engine between the hosts has lost data. A unique event that the relay of this host has
    /// [decided alone](crate::relay::RelayPoster::post_alone) has none.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.via().map(|via| via.place).filter(|place| place.timeline != 0)
    }

    fn via(&self) -> Option<Via> {
        self.posted()?.via()
    }

    /// Returns `true` if the event was posted to this worker only.
    pub fn is_local(&self) -> bool {
        matches!(self.content, Content::Value(_) | Content::Archived { .. })
    }

    /// Returns `true` if a [`Bridge`](crate::Bridge) has posted the event, which another segment's worker had posted
    /// there. Its [`pid`](Event::pid) and [`seat`](Event::seat) are those of the bridge.
    pub fn is_bridged(&self) -> bool {
        self.posted().is_some_and(|posted| posted.head.is_bridged())
    }

    /// Returns the claim on the key of a unique event, which this worker has won. If it is released, the next event
    /// with the same key can run before the ttl is over.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// let weak = worker.downgrade();
    /// worker.on(("refresh", "users"), move |event| {
    ///     // ... it failed: another worker may try when the next such event is posted.
    ///     match (weak.upgrade(), event.claim()) {
    ///         (Some(worker), Some(claim)) => worker.release(&claim).map(drop),
    ///         _ => Ok(()),
    ///     }
    /// })?;
    /// for _ in 0..2 {
    ///     worker.event(("refresh", "users")).unique("users").post("")?;
    /// }
    /// assert_eq!(worker.poll()?.delivered(), 2);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn claim(&self) -> Option<Claim> {
        self.posted()?.claim.copied()
    }

    /// Returns the key of a [retained](EventBuilder::retain) event: empty if it is retained by its topic alone. `None`
    /// for events that are not retained.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// worker.poll_with(|event| {
    ///     if let Some(key) = event.retained_key() {
    ///         println!("upstream {} is {}", String::from_utf8_lossy(key), String::from_utf8_lossy(event.bytes()));
    ///     }
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn retained_key(&self) -> Option<&'a [u8]> {
        self.posted().filter(|posted| posted.head.is_kept()).map(PostedEvent::key)
    }

    /// Returns `true` if the event was not delivered when it was posted, but is the last of its key for a worker that
    /// has joined or missed events.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// bus.publisher()?.event(("upstream", "state")).retain_key("17").post("down")?;
    /// let late = bus.join_with(&WorkerOptions::new().start(Start::Retained))?;
    /// late.on(("upstream", "state"), |event| assert!(event.is_retained()))?;
    /// assert_eq!(late.poll()?.delivered(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn is_retained(&self) -> bool {
        self.posted().is_some_and(|posted| posted.handed_over)
    }

    /// Returns `true` if nothing is retained under the event's key any more. The event has no payload. Handlers of
    /// [`Worker::on_cleared`](crate::Worker::on_cleared) get such events, and the closure of
    /// [`Worker::poll_with`](crate::Worker::poll_with) does; other handlers do not.
    pub fn is_cleared(&self) -> bool {
        self.posted().is_some_and(|posted| posted.head.clears())
    }

    /// Returns the event without its payload, as the functions get it that visit the payload in place.
    pub(crate) fn without_payload(&self) -> Event<'a> {
        let content = match self.content {
            Content::Posted(posted) => Content::Posted(PostedEvent { visited: true, ..posted }),
            content => content,
        };
        Event { content, ..*self }
    }

    /// Returns the payload's bytes. For a value of [`post_local`](crate::Worker::post_local) these are the bytes of a
    /// vector, string or static slice; for any other value there are none.
    ///
    /// The bytes of a posted event are a private copy, which no other process can change.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.poll_with(|event| assert_eq!(event.bytes(), b"user:42"))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        match &self.content {
            Content::Posted(posted) => posted.payload(),
            Content::Value(value) => bytes_of_value(*value),
            Content::Archived { bytes, .. } => bytes,
            Content::Missed(_) => &[],
        }
    }

    /// Returns the tag of the payload's type: 0 for bytes and text, and for values of
    /// [`post_local`](crate::Worker::post_local). See [`Tagged`].
    pub fn type_tag(&self) -> u64 {
        match &self.content {
            Content::Posted(posted) => posted.head.type_tag(posted.wire),
            Content::Archived { type_tag, .. } => *type_tag,
            Content::Value(_) | Content::Missed(_) => 0,
        }
    }

    /// Returns the value that was posted with [`Worker::post_local`](crate::Worker::post_local), if it is a `T`.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.post_local(("upstream", "weights"), vec![3, 1, 1])?;
    /// worker.poll_with(|event| assert_eq!(event.local::<Vec<i32>>(), Some(&vec![3, 1, 1])))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn local<T: Any>(&self) -> Option<&'a T> {
        match self.content {
            Content::Posted(_) | Content::Archived { .. } => None,
            Content::Value(value) => value.downcast_ref(),
            Content::Missed(missed) => (missed as &dyn Any).downcast_ref(),
        }
    }
}

fn bytes_of_value(value: &(dyn Any + Send + Sync)) -> &[u8] {
    if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
        bytes
    } else if let Some(text) = value.downcast_ref::<String>() {
        text.as_bytes()
    } else if let Some(text) = value.downcast_ref::<&'static str>() {
        text.as_bytes()
    } else if let Some(bytes) = value.downcast_ref::<&'static [u8]>() {
        bytes
    } else {
        &[]
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut event = f.debug_struct("Event");
        event.field("source", &self.source).field("event", &self.event);
        if let Some(PostedEvent { id, head, claim, .. }) = self.posted() {
            event.field("id", id).field("pid", &head.pid()).field("seat", &head.seat());
            event.field("unique", &claim.is_some());
        }
        if let Some(Via { origin, id, place }) = self.via() {
            event.field("origin", &origin).field("id_there", &id).field("place", &place);
        }
        if let Some(key) = self.retained_key() {
            event.field("key_len", &key.len()).field("cleared", &self.is_cleared());
            event.field("retained", &self.is_retained());
        }
        match self.data() {
            Data::Bytes { bytes, .. } => event.field("len", &bytes.len()),
            Data::Value => event.field("local", &true),
            Data::Visited => event.field("in_place", &true),
        };
        event.finish_non_exhaustive()
    }
}
