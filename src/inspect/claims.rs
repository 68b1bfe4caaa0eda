//! Unique keys, and which seats won them.

use std::time::Duration;

use super::tail::UniqueState;
use crate::claim::{Claim, KeyHash, Winner};
use crate::error::Result;
use crate::os::clock::HostClock;
use crate::protocol::bucket::{Bucket, Entry, Key, Token};
use crate::seat::holding::{identity_of, left_of, winner_of};
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::unique_hash::Domain;

/// The kind of a claim. Each kind has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimKind {
    /// A claim for unique events.
    Event,
    /// A claim without an event, made by [`Worker::claim`](crate::Worker::claim).
    Alone,
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
    /// The time until the key is free. `None` if it is free already: its ttl is over, it was released, or it ended with
    /// its holder.
    pub left: Option<Duration>,
    /// `true` if the claim ends with its holder.
    pub ends_with_holder: bool,
    /// The first and the last id of the key's events that are decided. `None` for claims without an event.
    pub decided: Option<(u64, u64)>,
    token: Token,
}

impl ClaimEntry {
    fn of(segment: &Segment, entry: &Entry, clock: HostClock) -> Result<ClaimEntry> {
        let now = clock.boottime_ns();
        let seat = entry.token.seat();
        let winner = winner_of(segment, entry.token)?;
        let identity = identity_of(segment, seat, winner);
        // Places are ids plus one. Place 0 is no event's.
        let decided = (entry.last > 0).then(|| (entry.first.saturating_sub(1), entry.last - 1));
        Ok(ClaimEntry {
            key: KeyHash(entry.key.0),
            kind: if decided.is_some() { ClaimKind::Event } else { ClaimKind::Alone },
            seat: u32::from(seat),
            winner,
            pid: identity.as_ref().map(|(pid, _)| *pid),
            label: identity.map(|(_, label)| label).unwrap_or_default(),
            since: Duration::from_nanos(now.saturating_sub(entry.since)),
            left: left_of(segment, &segment.claims(), entry, now),
            ends_with_holder: entry.token.ends_with_holder(),
            decided,
            token: entry.token,
        })
    }

    /// Returns the claim, to be released in place of a holder that has died.
    ///
    /// If the key has been claimed again since, releasing it does nothing. Releasing the claim of a holder that lives
    /// lets another process do what it is doing.
    ///
    /// ```
    /// # let name = format!("doc-entry-claim-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// use std::time::Duration;
    /// use seqcast::Winner;
    /// use seqcast::inspect::{ClaimKind, Inspector};
    ///
    /// # let worker = bus.join()?;
    /// # let _claim = worker.claim("nightly-mail", Duration::from_secs(3600))?;
    /// let entry = Inspector::open(&name)?.claim_on(ClaimKind::Alone, b"nightly-mail")?.expect("it is held");
    /// if entry.winner != Winner::Alive {
    ///     bus.publisher()?.release(&entry.claim())?;
    /// }
    /// # assert_eq!(entry.winner, Winner::Alive);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn claim(&self) -> Claim {
        Claim { key: self.key.0, token: self.token }
    }
}

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
