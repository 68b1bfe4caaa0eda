//! Unique keys, and which seats won them.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::tail::UniqueState;
use crate::error::Result;
use crate::os::clock::HostClock;
use crate::protocol::claims::{Bucket, Entry, Key};
use crate::seat::holder::Hold;
use crate::seat::label_of;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;
use crate::segment::unique_hash::Domain;

/// The hash of a unique key, keyed by a random number of the segment. It is displayed as 32 hexadecimal digits. The
/// segment does not contain the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub(super) [u64; 2]);

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

/// The kind of a claim. Each kind has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimKind {
    /// A claim for unique events.
    Event,
    /// A claim without an event, made by [`Worker::claim`](crate::Worker::claim).
    Alone,
}

/// The state of the worker that won a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Winner {
    /// It lives, running or stopped.
    Alive,
    /// It died, and no other worker has taken its seat since.
    Dead,
    /// It left, or another worker has taken its seat since.
    Gone,
}

/// A key that is held, or whose last decision the segment remembers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaimEntry {
    /// The key's hash.
    pub key: KeyHash,
    /// The kind of the claim.
    pub kind: ClaimKind,
    /// The seat that won it.
    pub seat: u32,
    /// The state of the worker that won it.
    pub winner: Winner,
    /// The winner's process id, in its own pid namespace. `None` if the winner is gone.
    pub pid: Option<u32>,
    /// The winner's label. Empty if the winner is gone.
    pub label: String,
    /// The time since the key was won.
    pub since: Duration,
    /// The time until the key is free. `None` if it is free already: its ttl is over, or it was released.
    pub left: Option<Duration>,
    /// The first and the last id of the key's events that are decided. `None` for claims without an event.
    pub decided: Option<(u64, u64)>,
}

impl ClaimEntry {
    fn of(segment: &Segment, entry: &Entry, clock: HostClock) -> Result<ClaimEntry> {
        let now = clock.boottime_ns();
        let seat = entry.token.seat();
        let since = Duration::from_nanos(now.saturating_sub(entry.since));
        let winner = winner_of(segment, seat, since)?;
        let known = winner != Winner::Gone;
        let words = known.then(|| SeatWords::of(&segment.seats(), seat));
        // Places are ids plus one. Place 0 is no event's.
        let decided = (entry.last > 0).then(|| (entry.first.saturating_sub(1), entry.last - 1));
        Ok(ClaimEntry {
            key: KeyHash(entry.key.0),
            kind: if decided.is_some() { ClaimKind::Event } else { ClaimKind::Alone },
            seat: u32::from(seat),
            winner,
            pid: words.as_ref().map(|words| words.get(seat_word!(identity.pid)) as u32),
            label: words.as_ref().map(label_of).unwrap_or_default(),
            since,
            left: entry.deadline.checked_sub(now).filter(|&left| left > 0).map(Duration::from_nanos),
            decided,
        })
    }
}

/// Returns the state of the worker that held `seat` that long ago.
fn winner_of(segment: &Segment, seat: u16, since: Duration) -> Result<Winner> {
    if seat > segment.geometry().last_seat() {
        return Err(segment.corrupt("a claim names a seat that does not exist"));
    }
    let words = SeatWords::of(&segment.seats(), seat);
    let joined_at = SystemTime::UNIX_EPOCH + Duration::from_nanos(words.get(seat_word!(identity.joined_at)));
    let won_at = SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH);
    // A worker that joined after the key was won did not win it. The two times are of different clocks, so the result
    // is wrong if the wall clock was set in between. It is for display only.
    let is_another = joined_at.duration_since(won_at).is_ok_and(|by| by > CLOCK_SLACK);
    Ok(match Hold::of(segment, seat)? {
        _ if is_another => Winner::Gone,
        Hold::Locked | Hold::Unlocked => Winner::Alive,
        Hold::Dead => Winner::Dead,
        Hold::Free => Winner::Gone,
    })
}

/// The most time between the two readings of the clocks.
const CLOCK_SLACK: Duration = Duration::from_millis(1);

pub(super) fn all(segment: &Segment) -> Result<Vec<ClaimEntry>> {
    let claims = segment.claims();
    let mut bucket = Bucket::default();
    let (mut all, clock) = (Vec::new(), HostClock::of_this_process());
    for index in 0..claims.buckets() {
        claims.snapshot(index, &mut bucket).in_segment(segment)?;
        for entry in bucket.entries() {
            all.push(ClaimEntry::of(segment, entry, clock)?);
        }
    }
    Ok(all)
}

pub(super) fn on(segment: &Segment, kind: ClaimKind, key: &[u8]) -> Result<Option<ClaimEntry>> {
    let domain = match kind {
        ClaimKind::Event => Domain::Events,
        ClaimKind::Alone => Domain::Alone,
    };
    let key = Key(segment.unique_hash().hash(domain, key)?);
    let bucket = bucket_of(segment, key)?;
    match bucket.entries().iter().find(|entry| entry.key == key) {
        Some(entry) => ClaimEntry::of(segment, entry, HostClock::of_this_process())
            .map(|entry| Some(entry).filter(|entry| entry.left.is_some())),
        None => Ok(None),
    }
}

/// Returns the state of the unique event at `place`.
pub(super) fn state_of(segment: &Segment, key: [u64; 2], place: u64) -> Result<UniqueState> {
    let bucket = bucket_of(segment, Key(key))?;
    let entry = bucket.entries().iter().find(|entry| entry.key == Key(key));
    match entry.filter(|entry| entry.decides(place)) {
        Some(entry) => ClaimEntry::of(segment, entry, HostClock::of_this_process())
            .map(|entry| UniqueState::Decided(Box::new(entry))),
        None if place <= bucket.floor() => Ok(UniqueState::Forgotten),
        None => Ok(UniqueState::Open),
    }
}

fn bucket_of(segment: &Segment, key: Key) -> Result<Bucket> {
    let claims = segment.claims();
    let mut bucket = Bucket::default();
    claims.snapshot(claims.bucket_of(key), &mut bucket).in_segment(segment)?;
    Ok(bucket)
}
