//! Claims.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use seqcast::{Claim, ClaimOptions, Claimed, Publisher, Winner};

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, copy_text, field, nanoseconds, null, place};
use crate::bus::{BUSES, seqcast_bus};
use crate::delivery::seqcast_claim;
use crate::failure::{Result, call};

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

/// Claims a key and stores the result.
///
/// # Safety
///
/// The pointers are as `seqcast_seat_claim` requires.
unsafe fn claim(
    seat: *mut seqcast_seat,
    (key, key_len): (*const c_char, usize),
    options: &ClaimOptions,
    claim: *mut seqcast_claim,
    left_ns: *mut u64,
    holder: *mut u32,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let (claim, key) = unsafe { (place(claim, "claim")?, bytes(key.cast(), key_len, "key")?) };
    // SAFETY: as the caller promises.
    let (left_ns, holder) = unsafe { (left_ns.as_mut(), holder.as_mut()) };
    let (outcome, left, by) = match SEATS.with(seat, |seat| Ok(seat.publisher()?.claim_with(key, options)?))? {
        Claimed::Won(won) => {
            *claim = won.into();
            (seqcast_claimed::SEQCAST_CLAIM_WON, Duration::ZERO, 0)
        }
        Claimed::Held { seat, left, .. } => (seqcast_claimed::SEQCAST_CLAIM_HELD, left, seat),
        _ => (seqcast_claimed::SEQCAST_CLAIM_FULL, Duration::ZERO, 0),
    };
    if let Some(place) = left_ns {
        *place = nanoseconds(left);
    }
    if let Some(place) = holder {
        *place = by;
    }
    Ok(outcome as c_int)
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
    let options = ClaimOptions::new(Duration::from_nanos(ttl_ns));
    // SAFETY: as the caller promises.
    call(|| unsafe { self::claim(seat, (key, key_len), &options, claim, left_ns, holder) })
}

/// Like `seqcast_seat_claim`, but the claim also ends with its holder: when the process has ended, even by SIGKILL, or
/// the seat has left or was freed, the next claim of the key wins without waiting for the ttl.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_claim_for_life(
    seat: *mut seqcast_seat,
    key: *const c_char,
    key_len: usize,
    ttl_ns: u64,
    claim: *mut seqcast_claim,
    left_ns: *mut u64,
    holder: *mut u32,
) -> c_int {
    let options = ClaimOptions::new(Duration::from_nanos(ttl_ns)).ends_with_holder(true);
    // SAFETY: as the caller promises.
    call(|| unsafe { self::claim(seat, (key, key_len), &options, claim, left_ns, holder) })
}

/// Runs `change` with the publisher of a seat and a claim.
///
/// # Safety
///
/// `claim` is null or leads to a claim.
unsafe fn with_claim<R>(
    seat: *mut seqcast_seat,
    claim: *const seqcast_claim,
    change: impl FnOnce(&mut Publisher, &Claim) -> seqcast::Result<R>,
) -> Result<R> {
    // SAFETY: as the caller promises.
    let claim = unsafe { claim.as_ref() }.copied().ok_or_else(|| null("claim"))?;
    SEATS.with(seat, |seat| Ok(change(seat.publisher()?, &claim.into())?))
}

/// Holds the key of a claim for `ttl_ns` nanoseconds from now on. Returns 0. `SEQCAST_E_CLAIM_LOST` means that the
/// claim has ended: stop the work that it protects. The text says which seat and process hold the key now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_renew(
    seat: *mut seqcast_seat,
    claim: *const seqcast_claim,
    ttl_ns: u64,
) -> c_int {
    let ttl = Duration::from_nanos(ttl_ns);
    // SAFETY: as the caller promises.
    call(|| unsafe { with_claim(seat, claim, |publisher, claim| publisher.renew(claim, ttl)) }.map(|()| 0))
}

/// Completes a claim, when its work is done: the key stays held for `ttl_ns` nanoseconds from now on, even if its
/// holder ends. Returns 0. Errors are those of `seqcast_seat_renew`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_complete(
    seat: *mut seqcast_seat,
    claim: *const seqcast_claim,
    ttl_ns: u64,
) -> c_int {
    let ttl = Duration::from_nanos(ttl_ns);
    // SAFETY: as the caller promises.
    call(|| unsafe { with_claim(seat, claim, |publisher, claim| publisher.complete(claim, ttl)) }.map(|()| 0))
}

/// Returns 1 if a claim still holds its key, and stores the nanoseconds that are left. Returns 0 if it has ended.
/// `left_ns` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_claim_left(
    seat: *mut seqcast_seat,
    claim: *const seqcast_claim,
    left_ns: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let left = unsafe { with_claim(seat, claim, |publisher, claim| publisher.left(claim)) }?;
        // SAFETY: as the caller promises.
        if let Some(place) = unsafe { left_ns.as_mut() } {
            *place = nanoseconds(left);
        }
        Ok(c_int::from(!left.is_zero()))
    })
}

/// The state of the seat that won a key.
#[repr(C)]
pub enum seqcast_winner {
    /// A process that runs or is stopped holds the seat.
    SEQCAST_WINNER_ALIVE = 0,
    /// The holder has died, and no process has taken the seat since.
    SEQCAST_WINNER_DEAD = 1,
    /// The holder has left, or another process has the seat since.
    SEQCAST_WINNER_GONE = 2,
}

impl seqcast_winner {
    pub(crate) fn of(winner: Winner) -> seqcast_winner {
        match winner {
            Winner::Alive => seqcast_winner::SEQCAST_WINNER_ALIVE,
            Winner::Dead => seqcast_winner::SEQCAST_WINNER_DEAD,
            _ => seqcast_winner::SEQCAST_WINNER_GONE,
        }
    }
}

/// A key that is held.
#[repr(C)]
pub struct seqcast_held {
    /// The time for which it is still held.
    pub left_ns: u64,
    /// The time since it was won.
    pub since_ns: u64,
    /// The seat that won it.
    pub seat: u32,
    /// The process id of the seat's holder, in its own pid namespace; 0 if the winner is gone.
    pub pid: u32,
    /// A `seqcast_winner`.
    pub winner: i32,
    /// 1 if the claim ends with its holder, possibly before `left_ns`.
    pub ends_with_holder: i32,
    /// The label of the seat, with a zero at its end; empty if the winner is gone.
    pub label: [c_char; 56],
    /// Zero.
    pub reserved: [u64; 4],
}

/// Looks up a key that is claimed without an event, and claims nothing. Returns 1 if it is held, and fills `held`,
/// which may be null. Returns 0 if it is free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_held(
    bus: *const seqcast_bus,
    key: *const c_char,
    key_len: usize,
    held: *mut seqcast_held,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (key, place) = unsafe { (bytes(key.cast(), key_len, "key")?, held.as_mut()) };
        let Some(held) = BUSES.share(bus, |bus| Ok(bus.held(key)?))? else { return Ok(0) };
        let Some(place) = place else { return Ok(1) };
        *place = seqcast_held {
            left_ns: nanoseconds(held.left),
            since_ns: nanoseconds(held.since),
            seat: held.seat,
            pid: held.pid.unwrap_or(0),
            winner: seqcast_winner::of(held.winner) as i32,
            ends_with_holder: i32::from(held.ends_with_holder),
            label: field(&held.label),
            reserved: [0; 4],
        };
        Ok(1)
    })
}

/// Copies the hash of a key that is claimed without an event: 32 hexadecimal digits, as a list of claims and the event
/// `seqcast/died` name it. The segment does not contain the key itself, and each segment has other hashes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_key_hash(
    bus: *const seqcast_bus,
    key: *const c_char,
    key_len: usize,
    buffer: *mut c_char,
    capacity: usize,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let key = unsafe { bytes(key.cast(), key_len, "key") }?;
        let hash = BUSES.share(bus, |bus| Ok(bus.key_hash(key)?))?;
        // SAFETY: as the caller promises.
        unsafe { copy_text(&hash.to_string(), buffer, capacity) }
    })
}

/// Ends a claim before its ttl, also the claim of a unique event. Any seat of the bus may do so. Returns 1, or 0 if the
/// claim had already ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_release(seat: *mut seqcast_seat, claim: *const seqcast_claim) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { with_claim(seat, claim, Publisher::release) }.map(c_int::from))
}
