//! From a topic and a payload to the writer: the common path of all handles that post.

use std::time::Duration;

use crate::claim::{Unique, ttl_ns};
use crate::error::Result;
use crate::event::wire::{Kept, Keyed, Travel, UniqueKey};
use crate::event::{
    Event, Forwarded, Home, NoRoom, Payload, PostedEvent, Put, Sender, Special, Topic, with_buffer, with_encoded,
};
use crate::seat::claim::Claimer;
use crate::seat::draft::{Draft, Drafted};
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::relay::request::send_request;
use crate::seat::retain::left_of_ttl;
use crate::seat::room::{Posting, with_room};

/// A handle on a seat that posts. The trait is sealed.
pub trait Posts {
    /// Returns an error if the handle can no longer post.
    #[doc(hidden)]
    fn check(&self) -> Result<()>;

    /// Returns the hashed key and the ttl of a unique event. A key without a ttl gets the seat's timeout.
    #[doc(hidden)]
    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey>;

    /// Checks the handle and calls `run` with the writer, which no other thread uses during the call.
    #[doc(hidden)]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R>;

    /// Does the same for a draft: what is lent to it stays lent, unless another post has needed it.
    #[doc(hidden)]
    fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R>;

    /// Does the same as [`with_writer`](Posts::with_writer), and also passes the claimer.
    #[doc(hidden)]
    fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R>;

    /// Returns the longest sleep between two looks for room.
    #[doc(hidden)]
    fn wait_interval(&self) -> Duration;

    /// Returns how an event of `topic` is retained under `key`, or how a clear is posted.
    #[doc(hidden)]
    fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept>;

    /// Returns how long a unique key is held if the post sets no ttl.
    #[doc(hidden)]
    fn timeout(&self) -> Duration;
}

impl<P: Posts> Posts for &mut P {
    #[inline]
    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
        (**self).unique_key(unique)
    }

    #[inline]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        (**self).with_writer(run)
    }

    fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        (**self).with_lender(run)
    }

    #[inline]
    fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R> {
        (**self).with_halves(run)
    }

    fn wait_interval(&self) -> Duration {
        (**self).wait_interval()
    }

    fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
        (**self).kept(topic, key, ttl_ns, clears)
    }

    fn timeout(&self) -> Duration {
        (**self).timeout()
    }
}

/// Builds an event from the arguments, and calls `publish` with it.
#[inline]
pub(crate) fn send<R>(
    handle: impl Posts,
    topic: Topic<'_>,
    unique: Option<Unique<'_>>,
    payload: &impl Payload,
    no_room: NoRoom,
    publish: impl for<'a> Fn(&mut Writer, &Outgoing<'a>, &mut Posting<'a>) -> Result<R>,
) -> Result<R> {
    match unique {
        None => send_keyed(handle, topic, |_| Ok(Keyed::Nothing), payload, no_room, publish),
        Some(unique) => {
            let keyed = |key: &dyn Fn(Unique<'_>) -> Result<UniqueKey>| Ok(Keyed::Unique(key(unique)?));
            send_keyed(handle, topic, keyed, payload, no_room, publish)
        }
    }
}

/// Posts a value that is archived for that: in a buffer, or in the private block if it is long. Calls `posted` with the
/// id while no other thread posts.
#[inline]
fn send_archived<H: Posts, P: Payload>(
    mut handle: H,
    topic: Topic<'_>,
    unique: Option<Unique<'_>>,
    payload: &P,
    no_room: NoRoom,
    posted: impl Fn(u64),
) -> Result<u64> {
    handle.check()?;
    topic.check_to_post()?;
    let keyed = match unique {
        None => Keyed::Nothing,
        Some(unique) => Keyed::Unique(handle.unique_key(unique)?),
    };
    let check = |writer: &Writer| payload.check_format(writer.segment().typed_format());
    let posted = &posted;
    // Archiving runs the user's code, which may have forked and returned in the child. So the handle is checked again.
    let post = |handle: &mut H, type_tag, bytes: &[u8]| {
        let event = Outgoing { topic, type_tag, keyed, travel: Travel::Local, payload: bytes, bridged: false };
        with_room(handle, no_room, move |handle, posting| {
            handle.with_writer(|writer| {
                check(writer)?;
                writer.post(&event, posting).inspect(|&id| posted(id))
            })
        })
    };
    with_buffer(|buffer| {
        let mut draft = Draft::new(&mut handle, topic, keyed);
        let (type_tag, rest) = payload.encode(topic, buffer, Some(&mut draft))?;
        if draft.is_empty() {
            drop(draft);
            return post(&mut handle, type_tag, rest);
        }
        if !rest.is_empty() {
            draft.put(rest, 0)?;
        }
        match draft.post(type_tag, no_room, check, posted)? {
            Drafted::Posted(id) => Ok(id),
            Drafted::Buffer(whole) => post(&mut handle, type_tag, &whole),
        }
    })
}

/// As [`send`]. `keyed` is called with what returns the hashed key and the ttl of a unique event.
// Always: for an event without a key, everything about keys goes away.
#[inline(always)]
fn send_keyed<R>(
    mut handle: impl Posts,
    topic: Topic<'_>,
    keyed: impl FnOnce(&dyn Fn(Unique<'_>) -> Result<UniqueKey>) -> Result<Keyed<'static>>,
    payload: &impl Payload,
    no_room: NoRoom,
    publish: impl for<'a> Fn(&mut Writer, &Outgoing<'a>, &mut Posting<'a>) -> Result<R>,
) -> Result<R> {
    handle.check()?;
    topic.check_to_post()?;
    let keyed = keyed(&|unique| handle.unique_key(unique))?;
    with_encoded(topic, payload, |type_tag, bytes| {
        let publish = &publish;
        // By value, so that the event need not be in memory for the first attempt.
        with_room(&mut handle, no_room, move |handle, posting| {
            // Archiving runs the user's code, which may have forked and returned in the child. So the handle is checked
            // again.
            handle.with_writer(|writer| {
                payload.check_format(writer.segment().typed_format())?;
                let travel = Travel::Local;
                publish(writer, &Outgoing { topic, type_tag, keyed, travel, payload: bytes, bridged: false }, posting)
            })
        })
    })
}

/// Posts an event as `special` says. Returns its id. Calls `posted` with the id while no other thread posts.
#[inline]
pub(crate) fn send_special<P: Payload>(
    handle: impl Posts,
    topic: Topic<'_>,
    special: Special<'_>,
    payload: &P,
    no_room: NoRoom,
    posted: impl Fn(u64),
) -> Result<u64> {
    let unique = match special {
        Special::Nothing => None,
        Special::Unique(unique) => Some(unique),
        Special::Retained { key, ttl } => {
            let ttl_ns = ttl.map(ttl_ns).transpose()?.unwrap_or(0);
            return send_retained(handle, topic, key, ttl_ns, payload, no_room, &posted);
        }
        Special::Cluster(requested) => return send_request(handle, topic, requested, payload, no_room, posted),
    };
    if P::BUFFERED {
        return send_archived(handle, topic, unique, payload, no_room, posted);
    }
    send(handle, topic, unique, payload, no_room, |writer, event, posting| {
        writer.post(event, posting).inspect(|&id| posted(id))
    })
}

/// Posts an event of another bus. Returns its id.
pub(crate) fn forward(handle: impl Sender, event: &Event<'_>) -> Result<u64> {
    let forwarded = Forwarded::of(event)?;
    let (key, posted) = (forwarded.key(), event.posted());
    let special = match (&key, posted.and_then(PostedEvent::kept)) {
        (Some(key), _) => Special::Unique(Unique::from(key)),
        (None, None) => Special::Nothing,
        (None, Some(kept)) => {
            let left = match posted.map(|posted| (posted.home, posted.id)) {
                Some((Home::Segment(segment), id)) => left_of_ttl(segment, id, &kept)?,
                _ => kept.ttl_ns,
            };
            Special::Retained {
                key: posted.map(PostedEvent::key).unwrap_or_default(),
                ttl: (left > 0).then(|| Duration::from_nanos(left)),
            }
        }
    };
    handle.send(event.topic(), special, forwarded, NoRoom::Wait)
}

/// Posts a retained event. Returns its id.
fn send_retained(
    mut handle: impl Posts,
    topic: Topic<'_>,
    key: &[u8],
    ttl_ns: u64,
    payload: &impl Payload,
    no_room: NoRoom,
    posted: impl Fn(u64),
) -> Result<u64> {
    handle.check()?;
    topic.check_to_post()?;
    let keyed = Keyed::Kept { kept: handle.kept(topic, key, ttl_ns, false)?, text: key };
    with_encoded(topic, payload, |type_tag, bytes| {
        let travel = Travel::Local;
        let event = Outgoing { topic, type_tag, keyed, travel, payload: bytes, bridged: false };
        with_room(&mut handle, no_room, |handle, posting| {
            // As in `send`.
            handle.with_halves(|writer, claimer| {
                payload.check_format(writer.segment().typed_format())?;
                writer.retain(claimer, &event, posting).inspect(|&id| posted(id))
            })
        })
    })
}

/// Clears the event retained under `topic` and `key`. Returns the id of the clear.
pub(crate) fn clear(
    mut handle: impl Posts,
    topic: Topic<'_>,
    key: &[u8],
    no_room: NoRoom,
    posted: impl Fn(u64),
) -> Result<Option<u64>> {
    handle.check()?;
    topic.check_to_post()?;
    let keyed = Keyed::Kept { kept: handle.kept(topic, key, 0, true)?, text: key };
    let travel = Travel::Local;
    let event = Outgoing { topic, type_tag: 0, keyed, travel, payload: &[], bridged: false };
    with_room(&mut handle, no_room, |handle, posting| {
        handle.with_halves(|writer, claimer| {
            let cleared = writer.clear(claimer, &event, posting)?;
            if let Some(id) = cleared {
                posted(id);
            }
            Ok(cleared)
        })
    })
}
