//! The claiming half of a seat.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::{Claim, Claimed, Unique};
use crate::error::{Error, Result};
use crate::event::wire::UniqueKey;
use crate::os::clock::HostClock;
use crate::protocol::claims::{At, Bucket, Claims, Decision, Key, Lookup, Token};
use crate::protocol::pool::Hand;
use crate::seat::claim_clock::Tick;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;
use crate::segment::unique_hash::{Domain, UniqueHash};

/// Returns a ttl in nanoseconds. A ttl that does not fit becomes the largest one, which never ends.
#[inline]
pub(crate) fn ttl_ns(ttl: Duration) -> Result<u64> {
    match ttl.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(ttl.subsec_nanos())) {
        0 => Err(Error::option("ttl", "0", "a key's ttl must be greater than 0")),
        ns => Ok(ns),
    }
}

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

pub(crate) struct Claimer {
    segment: Arc<Segment>,
    claims: Claims,
    hand: Hand,
    scratch: Bucket,
    seat: SeatWords,
    tick: Tick,
}

impl Claimer {
    pub(crate) fn new(segment: Arc<Segment>, hand: Hand, seat: SeatWords, clock: HostClock) -> Claimer {
        Claimer { claims: segment.claims(), segment, hand, scratch: Bucket::default(), seat, tick: Tick::new(clock) }
    }

    /// Decides for all workers if the caller runs the event `at` or, without an event, if it gets the key.
    // Always inlined, as `Claims::claim`.
    #[inline(always)]
    pub(crate) fn claim(&mut self, key: [u64; 2], ttl_ns: u64, at: Option<At>) -> Result<Decision> {
        let decision = self
            .claims
            .claim(&mut self.hand, &mut self.scratch, Key(key), ttl_ns, at, &mut self.tick)
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
    pub(crate) fn claim_alone(&mut self, key: &[u8], ttl: Duration) -> Result<Claimed> {
        let ttl = ttl_ns(ttl)?;
        let key = self.segment.unique_hash().hash(Domain::Alone, key)?;
        let found = self.claims.look_for(Key(key));
        if let Some(held) = self.claims.held_for_long(found, &mut self.tick) {
            return Ok(claimed(key, self.count(held)));
        }
        self.claim_free(found, key, ttl)
    }

    /// As [`claim_alone`](Claimer::claim_alone), for a key that is free or may be free.
    #[inline(never)]
    fn claim_free(&mut self, found: Lookup, key: [u64; 2], ttl: u64) -> Result<Claimed> {
        let in_place = self.claims.claim_in_place(&mut self.hand, found, Key(key), ttl, &mut self.tick);
        let decision = match in_place.in_segment(&self.segment)? {
            Some(decision) => self.count(decision),
            None => self.claim(key, ttl, None)?,
        };
        Ok(claimed(key, decision))
    }

    /// Ends a claim before its ttl does. Returns `false` if it had already ended.
    pub(crate) fn release(&mut self, key: [u64; 2], token: Token) -> Result<bool> {
        let released = self
            .claims
            .release(&mut self.hand, &mut self.scratch, Key(key), token, &mut self.tick)
            .in_segment(&self.segment)?;
        if released {
            self.seat.add(seat_word!(claiming.released), 1);
        }
        Ok(released)
    }
}
