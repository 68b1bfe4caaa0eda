//! Lists the keys that are held.

use std::ffi::{c_char, c_int};
use std::ptr;

use seqcast::inspect::{ClaimEntry, ClaimKind};

use super::{INSPECTORS, seqcast_inspector};
use crate::argument::{field, nanoseconds, place};
use crate::delivery::seqcast_claim;
use crate::failure::call;
use crate::handle::{Kind, Table};
use crate::seat::claim::seqcast_winner;

/// The kind of a claim. Each kind has keys of its own.
#[repr(C)]
pub enum seqcast_claim_kind {
    /// A claim without an event, by `seqcast_seat_claim`.
    SEQCAST_CLAIM_ALONE = 0,
    /// A claim for unique events.
    SEQCAST_CLAIM_EVENT = 1,
    /// A kind that this interface does not know.
    SEQCAST_CLAIM_OTHER = 2,
}

/// A key that is held, or whose last decision the segment remembers. The library fills it. Later versions add fields at
/// its end.
#[repr(C)]
pub struct seqcast_claim_entry {
    /// The hash of the key, in 32 hexadecimal digits and a zero: see `seqcast_bus_key_hash`.
    pub key_hash: [c_char; 40],
    /// The time until the key is free. 0 if it is free: its ttl is over, it was released, or it ended with its holder.
    pub left_ns: u64,
    /// The time since the key was won.
    pub since_ns: u64,
    /// The first id of the key's events that are decided. 0 for a claim without an event.
    pub first_id: u64,
    /// The last id of the key's events that are decided. 0 for a claim without an event.
    pub last_id: u64,
    /// The claim. If the holder is dead, `seqcast_seat_release` releases it in its place. If the key has been claimed
    /// again since, that does nothing.
    pub claim: seqcast_claim,
    /// A `seqcast_claim_kind`.
    pub kind: i32,
    /// A `seqcast_winner`.
    pub winner: i32,
    /// The seat that won the key.
    pub seat: u32,
    /// The process id of the seat's holder, in its own pid namespace; 0 if the winner is gone.
    pub pid: u32,
    /// 1 if the claim ends with its holder, possibly before `left_ns`.
    pub ends_with_holder: i32,
    /// 0.
    pub reserved: i32,
    /// The label of the seat, with a zero at its end; empty if the winner is gone.
    pub label: [c_char; 56],
}

impl seqcast_claim_entry {
    fn of(entry: &ClaimEntry) -> seqcast_claim_entry {
        let kind = match entry.kind {
            ClaimKind::Alone => seqcast_claim_kind::SEQCAST_CLAIM_ALONE,
            ClaimKind::Event => seqcast_claim_kind::SEQCAST_CLAIM_EVENT,
            _ => seqcast_claim_kind::SEQCAST_CLAIM_OTHER,
        };
        let (first_id, last_id) = entry.decided.unwrap_or_default();
        seqcast_claim_entry {
            key_hash: field(&entry.key.to_string()),
            left_ns: entry.left.map_or(0, nanoseconds),
            since_ns: nanoseconds(entry.since),
            first_id,
            last_id,
            claim: entry.claim().into(),
            kind: kind as i32,
            winner: seqcast_winner::of(entry.winner) as i32,
            seat: entry.seat,
            pid: entry.pid.unwrap_or(0),
            ends_with_holder: i32::from(entry.ends_with_holder),
            reserved: 0,
            label: field(&entry.label),
        }
    }
}

/// A list of claims. It does not change, and any number of threads may read it at the same time.
pub struct seqcast_claim_list(());

static LISTS: Table<Box<[seqcast_claim_entry]>> = Table::new(Kind::ClaimList);

/// Lists the keys that are held, and those whose last decision the segment remembers, in no particular order. Stores
/// the handle of the list. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_inspector_claims(
    inspector: *const seqcast_inspector,
    out: *mut *mut seqcast_claim_list,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        *out = ptr::null_mut();
        let claims = INSPECTORS.share(inspector, |inspector| Ok(inspector.claims()?))?;
        *out = LISTS.insert(claims.iter().map(seqcast_claim_entry::of).collect())?;
        Ok(0)
    })
}

/// Returns the number of claims of a list.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_claim_list_count(list: *const seqcast_claim_list) -> c_int {
    call(|| LISTS.share(list, |list| Ok(c_int::try_from(list.len()).unwrap_or(c_int::MAX))))
}

/// Stores claim `index` of a list, counted from 0. It is valid until the list is freed. Returns 1, or 0 if there are no
/// more claims.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_claim_list_at(
    list: *const seqcast_claim_list,
    index: usize,
    out: *mut *const seqcast_claim_entry,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        let found = LISTS.share(list, |list| Ok(list.get(index).map(ptr::from_ref)))?;
        let Some(entry) = found else { return Ok(0) };
        *out = entry;
        Ok(1)
    })
}

/// Frees a list. Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_claim_list_free(list: *mut seqcast_claim_list) -> c_int {
    call(|| LISTS.remove(list))
}
