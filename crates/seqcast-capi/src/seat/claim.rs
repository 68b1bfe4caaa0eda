//! Claims.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use seqcast::Claimed;

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, null, place};
use crate::delivery::seqcast_claim;
use crate::failure::call;

/// Results of `seqcast_seat_claim`.
#[repr(C)]
pub enum seqcast_claimed {
    /// Another seat holds the key.
    SEQCAST_CLAIM_HELD = 0,
    /// This seat has claimed the key.
    SEQCAST_CLAIM_WON = 1,
    /// The claims have no room for the key. Raise `claims`.
    SEQCAST_CLAIM_FULL = 2,
}

/// Claims `key` among all seats for `ttl_ns` nanoseconds. Returns a `seqcast_claimed`; compare it with
/// `SEQCAST_CLAIM_WON`.
///
/// If the claim is won, `*claim` is set, to release it. If the key is held, `*left_ns` is set to the time until the key
/// is free, and `*holder` to the number of the holder's seat. `left_ns` and `holder` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_claim(
    seat: *mut seqcast_seat,
    key: *const c_char,
    key_len: usize,
    ttl_ns: u64,
    claim: *mut seqcast_claim,
    left_ns: *mut u64,
    holder: *mut u32,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (claim, key) = unsafe { (place(claim, "claim")?, bytes(key.cast(), key_len, "key")?) };
        // SAFETY: as the caller promises.
        let (left_ns, holder) = unsafe { (left_ns.as_mut(), holder.as_mut()) };
        let ttl = Duration::from_nanos(ttl_ns);
        let (outcome, left, by) = match SEATS.with(seat, |seat| Ok(seat.publisher()?.claim(key, ttl)?))? {
            Claimed::Won(won) => {
                *claim = won.into();
                (seqcast_claimed::SEQCAST_CLAIM_WON, Duration::ZERO, 0)
            }
            Claimed::Held { seat, left, .. } => (seqcast_claimed::SEQCAST_CLAIM_HELD, left, seat),
            _ => (seqcast_claimed::SEQCAST_CLAIM_FULL, Duration::ZERO, 0),
        };
        if let Some(place) = left_ns {
            *place = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        }
        if let Some(place) = holder {
            *place = by;
        }
        Ok(outcome as c_int)
    })
}

/// Ends a claim, also that of a unique event, before its ttl does. Any seat of the bus may do so. Returns 1, or 0 if
/// the claim had already ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_release(seat: *mut seqcast_seat, claim: *const seqcast_claim) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let claim = unsafe { claim.as_ref() }.copied().ok_or_else(|| null("claim"))?;
        SEATS.with(seat, |seat| Ok(c_int::from(seat.publisher()?.release(&claim.into())?)))
    })
}
