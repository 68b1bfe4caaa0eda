//! Deliveries of a seat.

use std::ffi::{c_char, c_int, c_void};

use seqcast::{Claim, Delivery, Event, Missed, MissedReason, Origin, Undecided};

use seqcast_kind::{
    SEQCAST_CLEARED, SEQCAST_EVENT, SEQCAST_LAGGED, SEQCAST_MISSED, SEQCAST_NOTHING, SEQCAST_OTHER, SEQCAST_RESERVED,
    SEQCAST_RESET, SEQCAST_UNDECIDED, SEQCAST_UNREADABLE, SEQCAST_UP_TO_DATE,
};

/// The kind of a delivery.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum seqcast_kind {
    /// There is nothing new.
    SEQCAST_NOTHING = 0,
    /// An event.
    SEQCAST_EVENT = 1,
    /// `missed` ids from `id` on were overwritten before this seat read them. State that is built from events must be
    /// rebuilt. `cut_off` is set if posts had waited for this seat.
    SEQCAST_LAGGED = 2,
    /// The next id, `id`, is reserved and its payload is not visible yet. Later events are delivered after it. No
    /// action is needed: call again later, or wait.
    SEQCAST_RESERVED = 3,
    /// A unique event at `id` that is not delivered to this seat, because it is unknown if another seat has run it.
    /// `reason` tells why.
    SEQCAST_UNDECIDED = 4,
    /// The content at `id` was not written by seqcast. It is skipped.
    SEQCAST_UNREADABLE = 5,
    /// A kind that this interface does not know. No action is needed.
    SEQCAST_OTHER = 6,
    /// No event is retained under this topic and `retained_key` any more: it was cleared, or its ttl has ended. Only a
    /// seat that is being brought up to date is told that a ttl has ended. There is no payload.
    SEQCAST_CLEARED = 7,
    /// Everything that this seat knows of retained events is void. All retained events follow, and then
    /// `SEQCAST_UP_TO_DATE`. Live events continue at `id`.
    SEQCAST_RESET = 8,
    /// This seat has received every retained event that it lacked, after it joined with `SEQCAST_START_RETAINED`, or
    /// after it missed events and has `resync`. Live events continue at `id`.
    SEQCAST_UP_TO_DATE = 9,
    /// `missed` events were lost between hosts, as the relay reports at `id`; 0 if the number is not known. State that
    /// is built from events must be rebuilt. `missed_reason` tells why, and `origin` of which host they were, if
    /// `has_origin` is set.
    SEQCAST_MISSED = 10,
}

/// Why events were lost between hosts.
#[repr(C)]
pub enum seqcast_missed_reason {
    /// The reason is unknown, or nothing was lost between hosts.
    SEQCAST_MISSED_OTHER = 0,
    /// The stream between the hosts was trimmed before this host's relay read it.
    SEQCAST_MISSED_TRIMMED = 2,
    /// The events were overwritten in the ring of their own host before its relay read them.
    SEQCAST_MISSED_ORIGIN_LAPPED = 3,
    /// This host's relay had been away for so long that it went to the end of the stream.
    SEQCAST_MISSED_CATCH_UP = 4,
    /// The engine between the hosts has lost data.
    SEQCAST_MISSED_ENGINE_LOST = 5,
    /// A unique request waited for longer than its ttl, and no host ran it.
    SEQCAST_MISSED_UNDECIDED = 6,
    /// An event was larger than what a relay sends or a segment takes.
    SEQCAST_MISSED_TOO_LARGE = 7,
    /// An event had a format that this host does not read.
    SEQCAST_MISSED_FORMAT = 8,
}

impl seqcast_missed_reason {
    pub(crate) fn of(missed: &Missed) -> seqcast_missed_reason {
        match missed.reason {
            MissedReason::Trimmed => seqcast_missed_reason::SEQCAST_MISSED_TRIMMED,
            MissedReason::OriginLapped => seqcast_missed_reason::SEQCAST_MISSED_ORIGIN_LAPPED,
            MissedReason::CatchUp => seqcast_missed_reason::SEQCAST_MISSED_CATCH_UP,
            MissedReason::EngineLost => seqcast_missed_reason::SEQCAST_MISSED_ENGINE_LOST,
            MissedReason::Undecided => seqcast_missed_reason::SEQCAST_MISSED_UNDECIDED,
            MissedReason::TooLarge => seqcast_missed_reason::SEQCAST_MISSED_TOO_LARGE,
            MissedReason::Format => seqcast_missed_reason::SEQCAST_MISSED_FORMAT,
            _ => seqcast_missed_reason::SEQCAST_MISSED_OTHER,
        }
    }
}

/// Why it is unknown if a unique event has run.
#[repr(C)]
pub enum seqcast_reason {
    /// The reason is unknown.
    SEQCAST_REASON_OTHER = 0,
    /// The claims have no room for its key. Raise `claims`.
    SEQCAST_REASON_CLAIMS_FULL = 1,
    /// This seat reached the event too late to know if another seat has run it. Read more often, or raise the ttl.
    SEQCAST_REASON_LATE = 2,
}

/// The right to run a unique key until its ttl ends. It is plain data: it may be copied and stored.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct seqcast_claim {
    /// Opaque to the caller.
    pub words: [u64; 3],
}

/// A delivery. The library fills it. Later versions add fields at its end.
///
/// It and the memory that it points to are valid until the next call of `seqcast_seat_next`, `_next_before`, `_leave`
/// or `_free` with the seat. Posts and claims do not change them. No pointer in it is null. Texts have no zero at their
/// end.
#[repr(C)]
pub struct seqcast_delivery {
    /// A `seqcast_kind`.
    pub kind: i32,
    /// 1 if this process posted the event or, for `SEQCAST_RESERVED`, if this seat reserved the id. Otherwise 0.
    pub own: i32,
    /// The process id of the sender, in its own pid namespace.
    pub pid: u32,
    /// The number of the sender's seat.
    pub seat: u32,
    /// The event's id, which is its place in the total order. For other kinds, the id that they report.
    pub id: u64,
    /// How many ids were missed.
    pub missed: u64,
    /// The sender's tag for the type of the payload. 0 for bytes.
    pub type_tag: u64,
    /// The source of the event, in UTF-8.
    pub source: *const c_char,
    /// Bytes of `source`.
    pub source_len: usize,
    /// The name of the event, in UTF-8.
    pub event: *const c_char,
    /// Bytes of `event`.
    pub event_len: usize,
    /// The payload.
    pub payload: *const c_void,
    /// Bytes of `payload`.
    pub payload_len: usize,
    /// 1 if the event is unique: only this seat runs it, and `claim` is its claim.
    pub unique: i32,
    /// For `SEQCAST_UNDECIDED`, a `seqcast_reason`.
    pub reason: i32,
    /// The claim of a unique event. `seqcast_seat_release` releases it, so that the next event with the same key can
    /// run before the ttl ends.
    pub claim: seqcast_claim,
    /// The key of a retained event or, for `SEQCAST_CLEARED`, the key that was cleared. It may be any bytes.
    pub retained_key: *const c_char,
    /// Bytes of `retained_key`. 0 if the event is retained by its topic alone.
    pub retained_key_len: usize,
    /// 1 if the event was posted with `retain` or, for `SEQCAST_CLEARED`, is no longer retained.
    pub retained: i32,
    /// 1 if the event was not delivered when it was posted, but is the last of its key for a seat that has joined or
    /// missed events.
    pub handed_over: i32,
    /// For `SEQCAST_LAGGED`, 1 if this seat must read, and a post had waited for it for all of its patience.
    pub cut_off: i32,
    /// For `SEQCAST_MISSED`, a `seqcast_missed_reason`.
    pub missed_reason: i32,
    /// 1 if a relay has posted the event: `origin`, `cluster_timeline` and `cluster_n` are set. For `SEQCAST_MISSED`, 1
    /// if `origin` is set.
    pub has_origin: i32,
    /// 1 if a bridge has carried the event from another segment.
    pub bridged: i32,
    /// The host that posted the event, as `seqcast_bus_origin` returns it there.
    pub origin: u64,
    /// The number of the timeline of the order that all hosts share.
    pub cluster_timeline: u64,
    /// The event's place in this timeline. Timeline and place together can be passed to a resource as a fencing token:
    /// of two unique events with one key, the later one has the greater pair, unless the engine between the hosts has
    /// lost data.
    pub cluster_n: u64,
}

impl From<Claim> for seqcast_claim {
    fn from(claim: Claim) -> seqcast_claim {
        let bytes = claim.to_bytes();
        let chunks = bytes.as_chunks().0;
        seqcast_claim { words: std::array::from_fn(|index| u64::from_ne_bytes(chunks[index])) }
    }
}

impl From<seqcast_claim> for Claim {
    fn from(claim: seqcast_claim) -> Claim {
        let mut bytes = [0; 24];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(claim.words) {
            *chunk = word.to_ne_bytes();
        }
        Claim::from_bytes(bytes)
    }
}

impl seqcast_delivery {
    /// An empty delivery. Its pointers are not null and have no bytes.
    pub(crate) const NOTHING: seqcast_delivery = seqcast_delivery {
        kind: SEQCAST_NOTHING as i32,
        own: 0,
        pid: 0,
        seat: 0,
        id: 0,
        missed: 0,
        type_tag: 0,
        source: c"".as_ptr(),
        source_len: 0,
        event: c"".as_ptr(),
        event_len: 0,
        payload: c"".as_ptr().cast(),
        payload_len: 0,
        unique: 0,
        reason: 0,
        claim: seqcast_claim { words: [0; 3] },
        retained_key: c"".as_ptr(),
        retained_key_len: 0,
        retained: 0,
        handed_over: 0,
        cut_off: 0,
        missed_reason: 0,
        has_origin: 0,
        bridged: 0,
        origin: 0,
        cluster_timeline: 0,
        cluster_n: 0,
    };

    /// Stores what was delivered. Returns the result for the caller: 1 if there is something to handle.
    #[inline]
    pub(crate) fn set(&mut self, found: Option<&Delivery<'_>>) -> c_int {
        let of = |kind: seqcast_kind, id| seqcast_delivery { kind: kind as i32, id, ..seqcast_delivery::NOTHING };
        let Some(delivery) = found else {
            if self.kind != SEQCAST_NOTHING as i32 {
                *self = seqcast_delivery::NOTHING;
            }
            return 0;
        };
        *self = match *delivery {
            Delivery::Event(ref event) => seqcast_delivery::of_event(event),
            Delivery::Cleared(ref event) => {
                seqcast_delivery { kind: SEQCAST_CLEARED as i32, ..seqcast_delivery::of_event(event) }
            }
            Delivery::Reset { id, .. } => of(SEQCAST_RESET, id),
            Delivery::UpToDate { id, .. } => of(SEQCAST_UP_TO_DATE, id),
            Delivery::Lagged { first, missed, cut_off, .. } => {
                seqcast_delivery { missed, cut_off: i32::from(cut_off), ..of(SEQCAST_LAGGED, first) }
            }
            Delivery::Missed(ref missed) => seqcast_delivery {
                missed: missed.count.unwrap_or(0),
                missed_reason: seqcast_missed_reason::of(missed) as i32,
                has_origin: i32::from(missed.origin.is_some()),
                origin: missed.origin.map_or(0, Origin::bits),
                ..of(SEQCAST_MISSED, missed.first_id)
            },
            Delivery::Reserved { id, own, .. } => {
                *self = seqcast_delivery { own: i32::from(own), ..of(SEQCAST_RESERVED, id) };
                return 0;
            }
            Delivery::Undecided { id, reason, .. } => {
                let reason = match reason {
                    Undecided::ClaimsFull => seqcast_reason::SEQCAST_REASON_CLAIMS_FULL,
                    Undecided::Late => seqcast_reason::SEQCAST_REASON_LATE,
                    _ => seqcast_reason::SEQCAST_REASON_OTHER,
                };
                seqcast_delivery { reason: reason as i32, ..of(SEQCAST_UNDECIDED, id) }
            }
            Delivery::Unreadable { id, .. } => of(SEQCAST_UNREADABLE, id),
            _ => of(SEQCAST_OTHER, 0),
        };
        1
    }

    #[inline]
    pub(crate) fn of_event(event: &Event<'_>) -> seqcast_delivery {
        let claim = event.claim();
        let key = event.retained_key();
        let place = event.cluster_id();
        seqcast_delivery {
            kind: SEQCAST_EVENT as i32,
            own: i32::from(event.is_own()),
            pid: event.pid().unwrap_or(0),
            seat: event.seat().unwrap_or(0),
            id: event.id().unwrap_or(0),
            missed: 0,
            type_tag: event.type_tag(),
            source: event.source().as_ptr().cast(),
            source_len: event.source().len(),
            event: event.event().as_ptr().cast(),
            event_len: event.event().len(),
            payload: event.bytes().as_ptr().cast(),
            payload_len: event.bytes().len(),
            unique: i32::from(claim.is_some()),
            reason: 0,
            claim: claim.map(seqcast_claim::from).unwrap_or_default(),
            retained_key: key.map_or(c"".as_ptr(), |key| key.as_ptr().cast()),
            retained_key_len: key.map_or(0, <[u8]>::len),
            retained: i32::from(key.is_some()),
            handed_over: i32::from(event.is_retained()),
            cut_off: 0,
            missed_reason: 0,
            has_origin: i32::from(place.is_some()),
            bridged: i32::from(event.is_bridged()),
            origin: event.origin().map_or(0, Origin::bits),
            cluster_timeline: place.map_or(0, |place| place.timeline),
            cluster_n: place.map_or(0, |place| place.n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_the_same_after_a_way_through_c() {
        let bytes = std::array::from_fn(|index| index as u8);
        let claim = Claim::from_bytes(bytes);
        assert_eq!(Claim::from(seqcast_claim::from(claim)).to_bytes(), bytes);
    }
}
