//! Tells which seat holds a key, and if its holder lives.

use std::time::Duration;

use crate::claim::{HeldKey, KeyHash, Winner};
use crate::error::{Holder, Result};
use crate::os::clock::HostClock;
use crate::protocol::bucket::{Bucket, Entry, Key, Token};
use crate::protocol::claims::{Claims, SeatLocks};
use crate::seat::holder::Hold;
use crate::seat::label_of;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;
use crate::segment::unique_hash::Domain;

/// The locks of the seats of a segment.
pub(crate) struct KernelLocks<'a> {
    pub(crate) segment: &'a Segment,
    /// The caller's own seat, which is locked.
    pub(crate) own: Option<u16>,
}

impl SeatLocks for KernelLocks<'_> {
    /// A lock that was lost while its holder lives does not count as free. If the system does not tell, the claim lasts
    /// until its deadline.
    fn is_free(&self, seat: u16) -> bool {
        let is_others = self.own != Some(seat) && seat <= self.segment.geometry().last_seat();
        is_others && Hold::of(self.segment, seat).is_ok_and(|hold| !hold.is_alive())
    }
}

/// Returns `true` if it is proven that the tenure in which a claim was won is over, for the holder of seat `own`.
pub(crate) fn is_over(segment: &Segment, by: Token, own: u16) -> bool {
    let is_nobodys = by.seat() > segment.geometry().last_seat();
    is_nobodys || segment.claims().is_over(by, &KernelLocks { segment, own: Some(own) })
}

/// Returns the state of the seat that won the claim of `token`.
pub(crate) fn winner_of(segment: &Segment, token: Token) -> Result<Winner> {
    let seat = token.seat();
    if seat > segment.geometry().last_seat() {
        return Err(segment.corrupt("a claim names a seat that does not exist"));
    }
    let hold = Hold::of(segment, seat)?;
    // After the check of the lock: if another process has taken the seat meanwhile, the lock is not the winner's.
    if segment.claims().is_of_earlier_tenure(token) {
        return Ok(Winner::Gone);
    }
    Ok(match hold {
        Hold::Locked | Hold::Unlocked => Winner::Alive,
        Hold::Dead => Winner::Dead,
        Hold::Free => Winner::Gone,
    })
}

/// Returns pid and label of the holder that won a claim, or nothing if it is gone.
pub(crate) fn identity_of(segment: &Segment, seat: u16, winner: Winner) -> Option<(u32, String)> {
    let words = (winner != Winner::Gone).then(|| SeatWords::of(&segment.seats(), seat))?;
    Some((words.get(seat_word!(identity.pid)) as u32, label_of(&words)))
}

/// Returns how long the claim of `entry` is still held at the time `now`, or `None` if it has ended, by its ttl or with
/// its holder.
pub(crate) fn left_of(segment: &Segment, claims: &Claims, entry: &Entry, now: u64) -> Option<Duration> {
    let left = entry.deadline.checked_sub(now).filter(|&left| left > 0)?;
    let has_ended = claims.has_ended_with_holder(entry, &KernelLocks { segment, own: None });
    (!has_ended).then(|| Duration::from_nanos(left))
}

/// Looks up a key without claiming it. Returns `None` if it is free.
pub(crate) fn held(segment: &Segment, domain: Domain, key: &[u8]) -> Result<Option<HeldKey>> {
    let key = Key(segment.unique_hash().hash(domain, key)?);
    let claims = segment.claims();
    let mut bucket = Bucket::default();
    claims.snapshot(claims.bucket_of(key), &mut bucket).in_segment(segment)?;
    let Some(entry) = bucket.find(key).map(|e| bucket.entries()[e]) else { return Ok(None) };
    let now = HostClock::of_this_process().boottime_ns();
    let Some(left) = left_of(segment, &claims, &entry, now) else { return Ok(None) };
    let (seat, winner) = (entry.token.seat(), winner_of(segment, entry.token)?);
    let identity = identity_of(segment, seat, winner);
    Ok(Some(HeldKey {
        seat: u32::from(seat),
        winner,
        pid: identity.as_ref().map(|(pid, _)| *pid),
        label: identity.map(|(_, label)| label).unwrap_or_default(),
        since: Duration::from_nanos(now.saturating_sub(entry.since)),
        left,
        ends_with_holder: entry.token.ends_with_holder(),
    }))
}

/// Returns the holder of the claim of `token`, for an error.
pub(crate) fn holder_of(segment: &Segment, token: Token) -> Result<Holder> {
    let (seat, winner) = (token.seat(), winner_of(segment, token)?);
    let (pid, label) = identity_of(segment, seat, winner).unwrap_or_default();
    let unlocked = winner == Winner::Alive && Hold::of(segment, seat)? == Hold::Unlocked;
    Ok(Holder { seat: u32::from(seat), pid, label, unlocked })
}

/// Returns the keys that the last holder of `seat` has claimed without an event and whose ttl has not ended at the time
/// `now`. The seat was not taken since.
pub(crate) fn keys_of(segment: &Segment, seat: u16, now: u64) -> Result<Vec<KeyHash>> {
    let claims = segment.claims();
    let mut bucket = Bucket::default();
    let mut keys = Vec::new();
    for index in 0..claims.buckets() {
        claims.snapshot(index, &mut bucket).in_segment(segment)?;
        let of_seat = |entry: &&Entry| {
            let is_held = entry.deadline > now && entry.last == 0;
            is_held && entry.token.seat() == seat && !claims.is_of_earlier_tenure(entry.token)
        };
        keys.extend(bucket.entries().iter().filter(of_seat).map(|entry| KeyHash(entry.key.0)));
    }
    Ok(keys)
}
