//! Posts requests to the relay: events that are delivered on all hosts, at one place in one order.

use std::time::Duration;

use crate::claim::ttl_ns;
use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::wire::{Kept, Keyed, Travel, UniqueKey};
use crate::event::{NoRoom, Payload, Requested, Topic, with_encoded};
use crate::seat::post::Posts;
use crate::seat::publish::Outgoing;
use crate::seat::relay::poster::NOWHERE;
use crate::seat::relay::region::{RelayRegion, State};
use crate::seat::retain::{check_key, no_table};
use crate::seat::room::with_room;
use crate::segment::Segment;
use crate::segment::unique_hash::hash_for_cluster;

/// The error of a request that no relay would read.
#[cold]
fn no_relay(segment: &Segment) -> Error {
    Error::from(Cause::NoRelay { name: segment.name().to_owned() })
}

/// Posts a request. Returns its id. Calls `posted` with the id while no other thread posts.
pub(crate) fn send_request(
    mut handle: impl Posts,
    topic: Topic<'_>,
    requested: Requested<'_>,
    payload: &impl Payload,
    no_room: NoRoom,
    posted: impl Fn(u64),
) -> Result<u64> {
    handle.check()?;
    topic.check_to_post()?;
    let timeout = handle.timeout();
    let (keyed, limit) = handle.with_writer(|writer| keyed(writer.segment(), requested, timeout))?;
    with_encoded(topic, payload, |type_tag, bytes| {
        let event = |travel| Outgoing { topic, type_tag, keyed, travel, payload: bytes, bridged: false };
        with_room(&mut handle, no_room, |handle, posting| {
            // Archiving runs the user's code, which may have forked and returned in the child.
            handle.with_writer(|writer| {
                payload.check_format(writer.segment().typed_format())?;
                // It comes back with more words than it goes.
                writer.check(&event(Travel::Relayed(&NOWHERE)), limit)?;
                if RelayRegion::of(writer.segment()).state() != State::Here {
                    return Err(no_relay(writer.segment()));
                }
                writer.post(&event(Travel::Request), posting).inspect(|&id| posted(id))
            })
        })
    })
}

/// Returns the words of the request's key, and the limit on its size.
fn keyed<'a>(segment: &Segment, requested: Requested<'a>, timeout: Duration) -> Result<(Keyed<'a>, SizeLimit)> {
    let kept = |key: &'a [u8], ttl_ns: u64, clears: bool| {
        check_key(key)?;
        if !segment.geometry().has_table() {
            return Err(no_table(segment));
        }
        // The hash is of this segment, and the event is retained when it comes back.
        let kept = Kept { key: [0; 2], ttl_ns, clears };
        Ok((Keyed::Kept { kept, text: key }, SizeLimit::Retained))
    };
    match requested {
        Requested::Plain => Ok((Keyed::Nothing, SizeLimit::Ring)),
        Requested::Unique(unique) => {
            let ttl_ns = ttl_ns(unique.ttl.unwrap_or(timeout))?;
            let cluster_key = RelayRegion::of(segment).cluster_key().ok_or_else(|| no_relay(segment))?;
            let key = hash_for_cluster(cluster_key, unique.key)?;
            Ok((Keyed::Unique(UniqueKey { key, ttl_ns }), SizeLimit::Ring))
        }
        Requested::Retained { key, ttl } => kept(key, ttl.map(ttl_ns).transpose()?.unwrap_or(0), false),
        Requested::Clear { key } => kept(key, 0, true),
    }
}
