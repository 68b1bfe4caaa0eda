//! The claiming half of a seat.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claim::{Claim, ClaimOptions, Claimed, Unique, ttl_ns};
use crate::error::{Cause, Error, Result};
use crate::event::wire::UniqueKey;
use crate::os::clock::HostClock;
use crate::protocol::bucket::{At, Bucket, Decision, Ends, Extended, Extension, Key, Term, Token};
use crate::protocol::claims::{Claims, Clock, Lookup};
use crate::protocol::pool::Hand;
use crate::protocol::retained::{Absent, Index, Keeper};
use crate::protocol::thread_lock::Lend;
use crate::seat::claim_clock::Tick;
use crate::seat::holding::{KernelLocks, holder_of};
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;
use crate::segment::unique_hash::{Domain, UniqueHash};

/// Returns the hashed key and the ttl of a unique event. A key without a ttl gets `timeout`.
pub(crate) fn hash_unique(
    hash: &UniqueHash,
    unique: Unique<'_>,
    timeout: impl FnOnce() -> Duration,
) -> Result<UniqueKey> {
    let key = hash.hash(Domain::Events, unique.key)?;
    Ok(UniqueKey { key, ttl_ns: ttl_ns(unique.ttl.unwrap_or_else(timeout))? })
}

/// Returns the result of a claim without an event.
#[inline]
fn claimed(key: [u64; 2], decision: Decision) -> Claimed {
    match decision {
        Decision::Won(token) => Claimed::Won(Claim { key, token }),
        Decision::Held { by, left } => Claimed::Held { seat: u32::from(by.seat()), left: Duration::from_nanos(left) },
        // `Decided` and `Late` occur only for events.
        Decision::Full | Decision::Decided | Decision::Late => Claimed::Full,
    }
}

pub struct Claimer {
    segment: Arc<Segment>,
    claims: Claims,
    hand: Hand,
    scratch: Bucket,
    index: Index,
    seat: SeatWords,
    tick: Tick,
}

/// It lends nothing.
impl Lend for Claimer {}

impl Claimer {
    pub(crate) fn new(segment: Arc<Segment>, hand: Hand, seat: SeatWords, clock: HostClock) -> Claimer {
        let (claims, tick) = (segment.claims(), Tick::new(clock));
        Claimer { claims, segment, hand, scratch: Bucket::default(), index: Index::default(), seat, tick }
    }

    /// Announces `key` for `keeper`, and returns the slot of its place in the index of retained events, which is behind
    /// the claims. Returns `None` if there is no place. Then nothing is announced.
    pub(crate) fn place(&mut self, keeper: &Keeper, key: Key, absent: Absent) -> Result<Option<u32>> {
        let Claimer { hand, index, tick, .. } = self;
        keeper.begin(hand, index, key, absent, || tick.now()).in_segment(&self.segment)
    }

    /// Returns the time of the clock that ends claims and retained events.
    pub(crate) fn now(&mut self) -> u64 {
        self.tick.now()
    }

    /// Decides for all workers if the caller runs the event `at`.
    #[inline]
    pub(crate) fn claim_event(&mut self, key: [u64; 2], ttl_ns: u64, at: At) -> Result<Decision> {
        self.claim(key, Term { ttl: ttl_ns, ends: Ends::AtDeadline }, Some(at))
    }

    /// Decides for all workers if the caller runs the event `at` or, without an event, if it gets the key.
    // Always inlined, as `Claims::claim`.
    #[inline(always)]
    fn claim(&mut self, key: [u64; 2], term: Term, at: Option<At>) -> Result<Decision> {
        let locks = KernelLocks { segment: &self.segment, own: Some(self.hand.seat()) };
        let decision = self
            .claims
            .claim(&mut self.hand, &mut self.scratch, Key(key), term, at, &mut self.tick, &locks)
            .in_segment(&self.segment)?;
        Ok(self.count(decision))
    }

    #[inline]
    fn count(&self, decision: Decision) -> Decision {
        let counter = match decision {
            Decision::Won(_) => seat_word!(claiming.won),
            Decision::Held { .. } | Decision::Decided => seat_word!(claiming.lost),
            Decision::Full => seat_word!(claiming.full),
            Decision::Late => seat_word!(claiming.late),
        };
        self.seat.add(counter, 1);
        decision
    }

    /// Claims a key without an event.
    #[inline]
    pub(crate) fn claim_alone(&mut self, key: &[u8], options: &ClaimOptions) -> Result<Claimed> {
        let term = options.term()?;
        let key = self.segment.unique_hash().hash(Domain::Alone, key)?;
        let found = self.claims.look_for(Key(key));
        if let Some(held) = self.claims.held_for_long(found, &mut self.tick) {
            return Ok(claimed(key, self.count(held)));
        }
        self.claim_free(found, key, term)
    }

    /// As [`claim_alone`](Claimer::claim_alone), for a key that is free or may be free.
    #[inline(never)]
    fn claim_free(&mut self, found: Lookup, key: [u64; 2], term: Term) -> Result<Claimed> {
        let in_place = self.claims.claim_in_place(&mut self.hand, found, Key(key), term, &mut self.tick);
        let decision = match in_place.in_segment(&self.segment)? {
            Some(decision) => self.count(decision),
            None => self.claim(key, term, None)?,
        };
        Ok(claimed(key, decision))
    }

    /// Claims the key with the hash `key` for as long as this seat has its holder.
    pub(crate) fn claim_for_life(&mut self, key: [u64; 2]) -> Result<Claimed> {
        self.claim_free(self.claims.look_for(Key(key)), key, Term { ttl: u64::MAX, ends: Ends::WithHolder })
    }

    /// Holds the key with the hash `key` for `ttl` nanoseconds. Returns `false` if it is held already, or if there is
    /// no room.
    pub(crate) fn hold(&mut self, key: [u64; 2], ttl: u64) -> Result<bool> {
        let found = self.claims.look_for(Key(key));
        Ok(self.claim_free(found, key, Term { ttl, ends: Ends::AtDeadline })?.won().is_some())
    }

    /// Ends a claim before its ttl does. Returns `false` if it had already ended.
    pub(crate) fn release(&mut self, claim: &Claim) -> Result<bool> {
        let locks = KernelLocks { segment: &self.segment, own: Some(self.hand.seat()) };
        let released = self
            .claims
            .release(&mut self.hand, &mut self.scratch, Key(claim.key), claim.token, &mut self.tick, &locks)
            .in_segment(&self.segment)?;
        if released {
            self.seat.add(seat_word!(claiming.released), 1);
        }
        Ok(released)
    }

    /// Holds the key of a claim for `ttl` from now on.
    pub(crate) fn renew(&mut self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.extend(claim, Extension::Renew(ttl_ns(ttl)?))
    }

    /// Holds the key of a claim for `ttl` from now on, even if its holder dies.
    pub(crate) fn complete(&mut self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.extend(claim, Extension::Complete(ttl_ns(ttl)?))
    }

    fn extend(&mut self, claim: &Claim, extension: Extension) -> Result<()> {
        let locks = KernelLocks { segment: &self.segment, own: Some(self.hand.seat()) };
        let (hand, scratch, key) = (&mut self.hand, &mut self.scratch, Key(claim.key));
        let extended = self.claims.extend(hand, scratch, key, claim.token, extension, &mut self.tick, &locks);
        match extended.in_segment(&self.segment)? {
            Extended::Done => Ok(()),
            Extended::Lost(by) => Err(self.lost(by)),
        }
    }

    #[cold]
    fn lost(&self, by: Option<Token>) -> Error {
        match by.map(|by| holder_of(&self.segment, by)).transpose() {
            Ok(holder) => Error::from(Cause::ClaimLost { name: self.segment.name().to_owned(), holder }),
            Err(error) => error,
        }
    }

    /// Returns how long a claim is still held, or zero if it has ended.
    pub(crate) fn left(&mut self, claim: &Claim) -> Result<Duration> {
        let locks = KernelLocks { segment: &self.segment, own: Some(self.hand.seat()) };
        let left = self.claims.left(&mut self.scratch, Key(claim.key), claim.token, &mut self.tick, &locks);
        left.in_segment(&self.segment).map(Duration::from_nanos)
    }
}

impl fmt::Debug for Claimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimer").field("seat", &self.hand.seat()).finish_non_exhaustive()
    }
}
