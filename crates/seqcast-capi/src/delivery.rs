//! What a seat is given, as the callers see it.

use std::ffi::{c_char, c_int, c_void};

use seqcast::{Claim, Delivery, Event, Undecided};

use seqcast_kind::{
    SEQCAST_EVENT, SEQCAST_LAGGED, SEQCAST_NOTHING, SEQCAST_OTHER, SEQCAST_RESERVED, SEQCAST_UNDECIDED,
    SEQCAST_UNREADABLE,
};

/// What a delivery is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum seqcast_kind {
    /// There is nothing new.
    SEQCAST_NOTHING = 0,
    /// An event.
    SEQCAST_EVENT = 1,
    /// `missed` ids from `id` on were overwritten before this seat read them: rebuild what depends on them.
    SEQCAST_LAGGED = 2,
    /// The next id, `id`, is reserved and its payload is not there yet. What follows it is delivered after it. Nothing
    /// is to be done: call again later, or wait.
    SEQCAST_RESERVED = 3,
    /// A unique event at `id` that this seat did not run, for `reason`: it cannot be known whether it was run before.
    SEQCAST_UNDECIDED = 4,
    /// What is at `id` was not written by seqcast, and was left out.
    SEQCAST_UNREADABLE = 5,
    /// Something that this interface does not know. Nothing is to be done.
    SEQCAST_OTHER = 6,
}

/// Why a unique event was not run.
#[repr(C)]
pub enum seqcast_reason {
    /// It is not known.
    SEQCAST_REASON_OTHER = 0,
    /// The claims have no room for its key: raise `claims`.
    SEQCAST_REASON_CLAIMS_FULL = 1,
    /// This seat reached it too late to know whether another ran it: read more often, or raise the ttl.
    SEQCAST_REASON_LATE = 2,
}

/// The right to run a unique key until its ttl is over. Plain data: it may be copied and kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct seqcast_claim {
    /// What the library knows it by.
    pub words: [u64; 3],
}

/// What a seat is given. The library fills it; later versions add fields at its end.
///
/// It and what it leads to are valid until the next call of `seqcast_seat_next`, `_next_before`, `_leave` or `_free`
/// with the seat; a post or a claim leaves them alone. No pointer in it is null. Texts do not end with a zero.
#[repr(C)]
pub struct seqcast_delivery {
    /// A `seqcast_kind`.
    pub kind: i32,
    /// 1 if this process posted the event; of `SEQCAST_RESERVED`: if this seat reserved the id. Otherwise 0.
    pub own: i32,
    /// The process id of the sender, in its own pid namespace.
    pub pid: u32,
    /// The number of the sender's seat.
    pub seat: u32,
    /// The event's place in the order that all share; of other kinds, the id that they are about.
    pub id: u64,
    /// How many ids were missed.
    pub missed: u64,
    /// What the payload is, as the sender said; 0 for bytes.
    pub type_tag: u64,
    /// What the event is about: UTF-8.
    pub source: *const c_char,
    /// Bytes of `source`.
    pub source_len: usize,
    /// What happened: UTF-8.
    pub event: *const c_char,
    /// Bytes of `event`.
    pub event_len: usize,
    /// The payload.
    pub payload: *const c_void,
    /// Bytes of `payload`.
    pub payload_len: usize,
    /// 1 if the event is unique, and this seat is the only one to run it. Then `claim` is its claim.
    pub unique: i32,
    /// Of `SEQCAST_UNDECIDED`: a `seqcast_reason`.
    pub reason: i32,
    /// By it `seqcast_seat_release` lets the next event with the same key run before the ttl is over.
    pub claim: seqcast_claim,
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
    /// Nothing, with pointers that lead to nothing and are not null.
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
    };

    /// Takes over what was delivered. Returns what the caller is told: 1 if there is something to handle.
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
            Delivery::Lagged { first, missed, .. } => seqcast_delivery { missed, ..of(SEQCAST_LAGGED, first) },
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
