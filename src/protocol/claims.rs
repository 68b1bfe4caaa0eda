//! Unique keys. A bucket is one block, and the exchange of [`super::pool`] replaces it as a whole: there are no
//! tombstones, no key is in two places, and no entry is half written.
//!
//! ```text
//! bucket   [floor] then entries [key0][key1][deadline][first][last][token][since]
//! ```
//!
//! Events are identified by their *place*, which is their id plus one, so that 0 means "none". Every event of an
//! entry's key with a place in `first..=last` is decided. `floor` is the highest place that the bucket has forgotten. A
//! decision is therefore in an entry, or at or below the floor, and no event runs twice, regardless of the clock and of
//! laps of the ring.

use super::bucket::{
    Ask, At, BUCKET_HEAD_WORDS, Bucket, Decision, ENTRY_WORDS, Entry, Extended, Extension, Key, Ruling, Term, Token,
    write_bucket,
};
use super::pool::{Exchange, Hand, Pool, Tries};
use super::seat_words::{ATTEMPT, CLAIM_HAND, CLAIMS_BEFORE, WORDS};
use super::word::{CellWord, Phase};
use super::{Fault, TRIES, load_acquire};
use crate::sync::{AtomicU64, Ordering, Words};

/// The clock of claims, in nanoseconds that never go back.
pub(crate) trait Clock {
    /// Returns the time.
    fn now(&mut self) -> u64;

    /// Returns the time until `deadline`, or slightly more, if this costs less than reading the clock. Returns `None`
    /// otherwise, for example when `deadline` is near or over.
    fn left_until_far(&mut self, deadline: u64) -> Option<u64>;
}

/// The locks that are the holds on seats.
pub(crate) trait SeatLocks {
    /// Returns `true` if the lock of `seat`, which need not exist, was free at some moment of this call. The kernel
    /// takes it from the dead. Returns `false` if that is not known.
    fn is_free(&self, seat: u16) -> bool;
}

/// The claims region.
#[derive(Clone)]
pub(crate) struct Claims {
    pool: Pool,
    /// The pool's first cells. The others are not of claims.
    buckets: usize,
    seats: Words,
    tail: Words,
    capacity: u64,
}

/// Floor and entries of a bucket, in place.
type InPlace<'a> = (&'a AtomicU64, &'a [[AtomicU64; ENTRY_WORDS]]);

/// The result of a look for a key.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    bucket: usize,
    seen: CellWord,
    /// The key's entry, if there is one.
    entry: Option<usize>,
}

impl Claims {
    /// Creates claims over the first `buckets` cells of `pool`, for the holders of `seats`, and for the ring with this
    /// tail and capacity.
    pub(crate) fn new(pool: Pool, buckets: usize, seats: Words, tail: Words, capacity: u64) -> Claims {
        debug_assert!(buckets.is_power_of_two() && buckets <= pool.cells());
        Claims { pool, buckets, seats, tail, capacity }
    }

    pub(crate) fn buckets(&self) -> usize {
        self.buckets
    }

    /// Returns the number of entries that a bucket can hold.
    pub(crate) fn entries_per_bucket(&self) -> usize {
        (self.pool.payload_words() - BUCKET_HEAD_WORDS) / ENTRY_WORDS
    }

    pub(crate) fn bucket_of(&self, key: Key) -> usize {
        key.0[0] as usize & (self.buckets() - 1)
    }

    /// Ends the tenure of the last holder of `seat`, which is proven dead, or has left: what it has won is of an
    /// earlier tenure from now on. The caller has the lock of the seat.
    pub(crate) fn end_tenure(&self, seat: u16) {
        let words = usize::from(seat) * WORDS;
        // Relaxed: stored by the last holder, whose lock the kernel has given to the caller.
        let won_before = self.seats.at(words + CLAIM_HAND + ATTEMPT).load(Ordering::Relaxed);
        // Relaxed: attempts only grow, so that the word says all that there is to know.
        self.seats.at(words + CLAIMS_BEFORE).store(won_before, Ordering::Relaxed); // T
    }

    /// Returns `true` if the seat that won the claim `by` has been taken again since.
    pub(crate) fn is_of_earlier_tenure(&self, by: Token) -> bool {
        let before = self.seats.as_slice().get(usize::from(by.seat()) * WORDS + CLAIMS_BEFORE);
        // Relaxed: an older value says less. If this one says that the tenure is over, it is.
        before.is_some_and(|before| by.attempt() <= before.load(Ordering::Relaxed)) // D1
    }

    /// Returns `true` if it is proven that the tenure in which the claim `by` was won is over. `by` was read before,
    /// from its bucket, so the tenure had begun by then: if the lock is free afterwards, the tenure has ended.
    pub(crate) fn is_over(&self, by: Token, locks: &impl SeatLocks) -> bool {
        self.is_of_earlier_tenure(by) || locks.is_free(by.seat()) // D2
    }

    /// Returns `true` if `entry`, which was read from its bucket, ended with its holder.
    pub(crate) fn has_ended_with_holder(&self, entry: &Entry, locks: &impl SeatLocks) -> bool {
        entry.has_ended_with_holder(|by| self.is_over(by, locks))
    }

    /// Claims `key` for `term`, for the event `at` or without an event.
    // Always inlined: its result is wide, and each copy of it from call to call takes 3 ns.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the caller's hand, what it asks, and what is outside")]
    pub(crate) fn claim(
        &self,
        hand: &mut Hand,
        scratch: &mut Bucket,
        key: Key,
        term: Term,
        at: Option<At>,
        clock: &mut impl Clock,
        locks: &impl SeatLocks,
    ) -> Result<Decision, Fault> {
        let Term { ttl, ends } = term;
        let index = self.bucket_of(key);
        let mut tries = Tries::new();
        loop {
            tries.another()?;
            let seen = self.snapshot(index, scratch)?;
            let bucket = &mut *scratch;
            if let Some(decision) = at.and_then(|at| bucket.known(key, at)) {
                return Ok(decision);
            }
            // Both are read after the snapshot is known to be good: an entry that they end must not have been renewed
            // since.
            let now = clock.now();
            let oldest = self.tail.at(0).load(Ordering::Acquire).saturating_sub(self.capacity) + 1;
            let (token, limit) = (Token::new(hand.next_attempt()?, hand.seat(), ends), self.entries_per_bucket());
            let is_over = |by| self.is_over(by, locks);
            let decision = match bucket.decide(limit, Ask { key, ttl, at, token }, now, oldest, is_over) {
                Ruling::Stands(decision) => return Ok(decision),
                Ruling::IfExchanged(decision) => decision,
            };
            if self.replace(hand, index, seen, bucket)? == Exchange::Done {
                return Ok(decision);
            }
        }
    }

    /// Looks for `key` in its bucket, in place.
    #[inline]
    pub(crate) fn look_for(&self, key: Key) -> Lookup {
        let bucket = self.bucket_of(key);
        // Acquire: as for a reader of the ring.
        let seen = CellWord::from_bits(self.pool.cell(bucket).load(Ordering::Acquire));
        // Relaxed, like all reads in place: the exchange, or else the seqlock's second look, tells whether they are
        // valid.
        let has_key = |[key0, key1, ..]: &[AtomicU64; ENTRY_WORDS]| {
            key0.load(Ordering::Relaxed) == key.0[0] && key1.load(Ordering::Relaxed) == key.0[1]
        };
        let in_place = self.in_place(seen).ok().flatten();
        Lookup { bucket, seen, entry: in_place.and_then(|(_, slots)| slots.iter().position(has_key)) }
    }

    /// Returns floor and entries of the bucket that `seen` names, in place. Returns `None` if the bucket claims more
    /// entries than fit.
    #[inline]
    fn in_place(&self, seen: CellWord) -> Result<Option<InPlace<'_>>, Fault> {
        let block = self.pool.block(seen.block())?;
        let count = block.meta().load(Ordering::Relaxed);
        let (head, rest) = block.payload().split_at(BUCKET_HEAD_WORDS);
        let (slots, _) = rest.as_chunks::<ENTRY_WORDS>();
        let entries = usize::try_from(count).ok().and_then(|count| slots.get(..count));
        Ok(entries.map(|entries| (&head[0], entries)))
    }

    /// Returns the holder and the remaining time of a key, if the remaining time is so long that the cheap time of
    /// `clock` is exact enough. Most claims are lost, and most lost claims end here.
    #[inline]
    pub(crate) fn held_for_long(&self, found: Lookup, clock: &mut impl Clock) -> Option<Decision> {
        let Lookup { bucket, seen, entry } = found;
        let entry = entry?;
        let (_, slots) = self.in_place(seen).ok()??;
        let entry = Entry::load(slots.get(entry)?);
        if entry.token.ends_with_holder() {
            return None;
        }
        // The answer is at most the ttl of the claim.
        let left = clock.left_until_far(entry.deadline)?.min(entry.deadline.saturating_sub(entry.since));
        self.pool.unchanged(bucket, seen).then_some(Decision::Held { by: entry.token, left })
    }

    /// [`Claims::claim`] for a claim without an event, in the simple case: it needs no copy of the bucket. Returns
    /// `None` in all other cases, also if the key's claim may have ended with its holder, and if the bucket was
    /// replaced meanwhile.
    ///
    /// The words read from the bucket are valid if the exchange succeeds: a process that writes to its block has
    /// replaced the bucket before.
    pub(crate) fn claim_in_place(
        &self,
        hand: &mut Hand,
        found: Lookup,
        key: Key,
        term: Term,
        clock: &mut impl Clock,
    ) -> Result<Option<Decision>, Fault> {
        let Lookup { bucket, seen, entry: own } = found;
        let Some((floor, slots)) = self.in_place(seen)? else { return Ok(None) };
        let block = hand.begin(&self.pool)?;
        let (head, rest) = block.payload().split_at(BUCKET_HEAD_WORDS);
        let ([own_slot, free @ ..], _) = rest.as_chunks::<ENTRY_WORDS>() else { return Ok(None) };
        // Everything that does not depend on the time: these stores are complete by the time the clock is read.
        head[0].store(floor.load(Ordering::Relaxed), Ordering::Relaxed);
        let token = Token::new(hand.next_attempt()?, hand.seat(), term.ends);
        Entry { key, deadline: 0, first: 0, last: 0, token, since: 0 }.store(own_slot);
        // After the cell was loaded: an entry that it ends must not have been renewed since.
        let now = clock.now();
        let mut kept = 0;
        for (e, slot) in slots.iter().enumerate() {
            let entry = Entry::load(slot);
            if let Some(held) = entry.held_at(now) {
                if own == Some(e) {
                    if entry.token.ends_with_holder() {
                        return Ok(None);
                    }
                    return Ok(self.pool.unchanged(bucket, seen).then_some(held));
                }
                let Some(slot) = free.get(kept) else { return Ok(None) };
                entry.store(slot);
                kept += 1;
            } else if entry.last != 0 {
                // The entry decided events, which the rule may have to remember.
                return Ok(None);
            }
        }
        let [_, _, deadline, _, _, _, since] = own_slot;
        deadline.store(now.saturating_add(term.ttl), Ordering::Relaxed);
        since.store(now, Ordering::Relaxed);
        block.meta().store(kept as u64 + 1, Ordering::Relaxed);
        Ok(match self.publish(hand, bucket, seen)? {
            Exchange::Done => Some(Decision::Won(token)),
            Exchange::Moved => None,
        })
    }

    /// Ends the ttl of the claim that was won with `token`. Returns `false` if it is no longer held.
    pub(crate) fn release(
        &self,
        hand: &mut Hand,
        scratch: &mut Bucket,
        key: Key,
        token: Token,
        clock: &mut impl Clock,
        locks: &impl SeatLocks,
    ) -> Result<bool, Fault> {
        let index = self.bucket_of(key);
        let mut tries = Tries::new();
        loop {
            tries.another()?;
            let seen = self.snapshot(index, scratch)?;
            let bucket = &mut *scratch;
            if !bucket.end(key, token, clock.now(), |by| self.is_over(by, locks)) {
                return Ok(false);
            }
            if self.replace(hand, index, seen, bucket)? == Exchange::Done {
                return Ok(true);
            }
        }
    }

    /// Extends the claim that was won with `token`, if it has not ended. The exchange fails if another worker has won
    /// the key since the bucket was read, so that no claim is extended after that.
    #[expect(clippy::too_many_arguments, reason = "the caller's hand, what it asks, and what is outside")]
    pub(crate) fn extend(
        &self,
        hand: &mut Hand,
        scratch: &mut Bucket,
        key: Key,
        token: Token,
        extension: Extension,
        clock: &mut impl Clock,
        locks: &impl SeatLocks,
    ) -> Result<Extended, Fault> {
        let index = self.bucket_of(key);
        let mut tries = Tries::new();
        loop {
            tries.another()?;
            let seen = self.snapshot(index, scratch)?;
            let bucket = &mut *scratch;
            let lost = bucket.extend(key, token, extension, clock.now(), |by| self.is_over(by, locks));
            if lost != Extended::Done {
                return Ok(lost);
            }
            if self.replace(hand, index, seen, bucket)? == Exchange::Done {
                return Ok(Extended::Done);
            }
        }
    }

    /// Returns for how many nanoseconds more the claim that was won with `token` is held; 0 if it is no longer held.
    pub(crate) fn left(
        &self,
        scratch: &mut Bucket,
        key: Key,
        token: Token,
        clock: &mut impl Clock,
        locks: &impl SeatLocks,
    ) -> Result<u64, Fault> {
        self.snapshot(self.bucket_of(key), scratch)?;
        Ok(scratch.left(key, token, clock.now(), |by| self.is_over(by, locks)))
    }

    /// Copies the whole bucket `index`. Returns the word that its cell held.
    pub(crate) fn snapshot(&self, index: usize, into: &mut Bucket) -> Result<CellWord, Fault> {
        let Bucket { floor, entries } = into;
        for _ in 0..TRIES {
            // Acquire: as for a reader of the ring.
            let seen = CellWord::from_bits(load_acquire(self.pool.cell(index)));
            entries.clear();
            *floor = 0;
            if seen.version() == 0 {
                return Ok(seen);
            }
            // Relaxed, like all loads that follow: between the two looks of the seqlock.
            let in_place = self.in_place(seen)?;
            if let Some((from, slots)) = in_place {
                *floor = from.load(Ordering::Relaxed);
                entries.extend(slots.iter().map(Entry::load));
            }
            if !self.pool.unchanged(index, seen) {
                continue;
            }
            if in_place.is_none() {
                return Err(Fault::Corrupt("a bucket of claims names more entries than fit"));
            }
            return Ok(seen);
        }
        Err(Fault::Corrupt("a bucket of claims changed during every read"))
    }

    fn replace(&self, hand: &mut Hand, index: usize, seen: CellWord, bucket: &Bucket) -> Result<Exchange, Fault> {
        let block = hand.begin(&self.pool)?;
        write_bucket(block.payload(), block.meta(), bucket);
        self.publish(hand, index, seen)
    }

    /// Exchanges bucket `index` for the one that `hand` has written.
    // Always inlined, for the same reason as `Claims::claim`.
    #[inline(always)]
    fn publish(&self, hand: &mut Hand, index: usize, seen: CellWord) -> Result<Exchange, Fault> {
        let version = seen.version() + 1;
        if version > CellWord::LAST_VERSION {
            return Err(Fault::Exhausted("the versions of a bucket of claims"));
        }
        hand.exchange(&self.pool, index, seen, version, Phase::Published)
    }
}
