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

use super::pool::{Exchange, Hand, Pool, Tries};
use super::word::{CellWord, Phase, Stamp};
use super::{Fault, TRIES, load_acquire};
use crate::sync::{AtomicU64, Ordering, Words};

/// Words of an entry.
pub(crate) const ENTRY_WORDS: usize = 7;
/// Words before a bucket's entries.
pub(crate) const BUCKET_HEAD_WORDS: usize = 1;

/// The hash of a unique value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u64; 2]);

/// The winner of a claim and its attempt: never the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    pub(crate) fn seat(self) -> u16 {
        Stamp::from_bits(self.0).seat()
    }
}

/// The event of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Its id plus one.
    pub(crate) place: u64,
    /// The place from which on the claiming worker has read every event: its start, or the end of its last gap.
    pub(crate) since: u64,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The caller holds the key until the ttl ends.
    Won(Token),
    /// The key is held for `left` nanoseconds more. This decides the caller's event: no worker runs it.
    Held { by: Token, left: u64 },
    /// Another worker has already decided this event.
    Decided,
    /// The bucket has forgotten too much to know. With this answer no worker may run the event.
    Late,
    /// Every entry of the bucket is held.
    Full,
}

/// A request to a bucket: hold `key` for `ttl` nanoseconds, for the event `at` if there is one, with `token`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    pub(crate) ttl: u64,
    pub(crate) at: Option<At>,
    pub(crate) token: Token,
}

/// How a decision takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ruling {
    /// At once: it changes nothing.
    Stands(Decision),
    /// When the changed bucket has replaced the one that was read.
    IfExchanged(Decision),
}

/// A held or remembered key, for inspection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// End of the ttl, in nanoseconds of the clock given to [`Claims::claim`].
    pub(crate) deadline: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) token: Token,
    /// The time of the win, by the same clock. For inspection only.
    pub(crate) since: u64,
}

impl Entry {
    /// Relaxed, like all loads and stores of entries: between the two looks of a seqlock, or before the exchange.
    #[inline]
    fn load(slot: &[AtomicU64; ENTRY_WORDS]) -> Entry {
        let [key0, key1, deadline, first, last, token, since] =
            slot.each_ref().map(|word| word.load(Ordering::Relaxed));
        Entry { key: Key([key0, key1]), deadline, first, last, token: Token(token), since }
    }

    fn store(&self, slot: &[AtomicU64; ENTRY_WORDS]) {
        let Entry { key: Key([key0, key1]), deadline, first, last, token: Token(token), since } = *self;
        for (word, value) in slot.iter().zip([key0, key1, deadline, first, last, token, since]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Returns `true` if the event at `place` was already decided, provided that it has this entry's key.
    pub(crate) fn decides(&self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }

    /// Returns the answer to a request for the key at the time `now`, if the key is held.
    fn held_at(&self, now: u64) -> Option<Decision> {
        let left = self.deadline.checked_sub(now).filter(|&left| left > 0)?;
        Some(Decision::Held { by: self.token, left })
    }

    /// Returns first and last extended to the event at `place`, unless the event lies so far before them that there may
    /// be an undecided one in between.
    fn range_with(&self, place: u64) -> (u64, u64) {
        let first = if place.saturating_add(1) == self.first { place } else { self.first };
        (first, self.last.max(place))
    }
}

/// The clock of claims, in nanoseconds that never go back.
pub(crate) trait Clock {
    /// Returns the time.
    fn now(&mut self) -> u64;

    /// Returns the time until `deadline`, or slightly more, if this costs less than reading the clock. Returns `None`
    /// otherwise, for example when `deadline` is near or over.
    fn left_until_far(&mut self, deadline: u64) -> Option<u64>;
}

/// The claims region.
#[derive(Clone)]
pub(crate) struct Claims {
    pool: Pool,
    /// The pool's first cells. The others are not of claims.
    buckets: usize,
    tail: Words,
    capacity: u64,
}

/// A private copy of a bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    floor: u64,
    entries: Vec<Entry>,
}

impl Bucket {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the highest place that the bucket has forgotten.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    fn raise_floor(&mut self, place: u64) {
        self.floor = self.floor.max(place);
    }

    /// Forgets entry `index`.
    fn forget(&mut self, index: usize) {
        let entry = self.entries.swap_remove(index);
        self.raise_floor(entry.last);
    }

    /// Forgets entries that no reader can ask for any more: they have ended, and their events left the ring.
    fn sweep(&mut self, now: u64, oldest: u64) {
        while let Some(index) = self.entries.iter().position(|entry| entry.deadline <= now && entry.last < oldest) {
            self.forget(index);
        }
    }

    /// Makes room for an entry. Returns `false` if every entry is held.
    fn make_room(&mut self, limit: usize, now: u64) -> bool {
        if self.entries.len() < limit {
            return true;
        }
        let ended = self.entries.iter().enumerate().filter(|(_, entry)| entry.deadline <= now);
        match ended.min_by_key(|(_, entry)| entry.last) {
            Some((index, _)) => {
                self.forget(index);
                true
            }
            None => false,
        }
    }

    /// Returns the earlier decision about the event `at`, if there is one.
    pub(crate) fn known(&self, key: Key, at: At) -> Option<Decision> {
        let of_key = self.entries.iter().find(|entry| entry.key == key);
        if of_key.is_some_and(|entry| entry.decides(at.place)) {
            Some(Decision::Decided)
        } else if at.place <= self.floor {
            Some(Decision::Late)
        } else {
            None
        }
    }

    /// The rule. Decides an event that is not [`Bucket::known`]. `limit` is the largest number of entries, `now` the
    /// time and `oldest` the first place that the ring still holds. Both must be read after this bucket.
    pub(crate) fn decide(&mut self, limit: usize, ask: Ask, now: u64, oldest: u64) -> Ruling {
        let Ask { key, ttl, at, token } = ask;
        let found = self.find(key);
        if let (Some(at), Some(e)) = (at, found) {
            let Entry { first, last, .. } = self.entries[e];
            if at.place > last && at.since > last.saturating_add(1) {
                // The asker has not read the events in between; some of them may be undecided events of this key.
                self.raise_floor(last);
                self.entries[e].first = at.since;
            } else if at.place.saturating_add(1) < first {
                // No worker has read the events in between for this entry either; the asker has yet to read them. The
                // floor records that this event is decided.
                self.raise_floor(at.place);
            }
        }
        if let Some(entry) = found.map(|e| &mut self.entries[e])
            && let Some(held) = entry.held_at(now)
        {
            let Some(at) = at else { return Ruling::Stands(held) };
            (entry.first, entry.last) = entry.range_with(at.place);
            return Ruling::IfExchanged(held);
        }
        let before = found.map(|e| self.entries.swap_remove(e));
        self.sweep(now, oldest);
        if !self.make_room(limit, now) {
            return Ruling::Stands(Decision::Full);
        }
        let (first, last) = match (at, before) {
            (None, _) => (0, 0),
            (Some(at), Some(before)) => before.range_with(at.place),
            (Some(at), None) => (at.since.max(self.floor.saturating_add(1)), at.place),
        };
        self.entries.push(Entry { key, deadline: now.saturating_add(ttl), first, last, token, since: now });
        Ruling::IfExchanged(Decision::Won(token))
    }

    /// Ends the ttl of the claim that was won with `token`, at the time `now`. Returns `false` if it is no longer held.
    pub(crate) fn end(&mut self, key: Key, token: Token, now: u64) -> bool {
        let Some(e) = self.find(key) else { return false };
        let entry = &mut self.entries[e];
        if entry.token != token || entry.deadline <= now {
            return false;
        }
        if entry.last == 0 {
            self.entries.swap_remove(e);
        } else {
            // Decided events stay decided.
            entry.deadline = 0;
        }
        true
    }
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
    /// Creates claims over the first `buckets` cells of `pool`, for the ring with this tail and capacity.
    pub(crate) fn new(pool: Pool, buckets: usize, tail: Words, capacity: u64) -> Claims {
        debug_assert!(buckets.is_power_of_two() && buckets <= pool.cells());
        Claims { pool, buckets, tail, capacity }
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

    /// Claims `key` for `ttl` nanoseconds, for the event `at` or without an event.
    // Always inlined: its result is wide, and each copy of it from call to call takes 3 ns.
    #[inline(always)]
    pub(crate) fn claim(
        &self,
        hand: &mut Hand,
        scratch: &mut Bucket,
        key: Key,
        ttl: u64,
        at: Option<At>,
        clock: &mut impl Clock,
    ) -> Result<Decision, Fault> {
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
            let token = Token(Stamp::new(hand.next_attempt()?, hand.seat()).bits());
            let decision = match bucket.decide(self.entries_per_bucket(), Ask { key, ttl, at, token }, now, oldest) {
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
        // The answer is at most the ttl of the claim.
        let left = clock.left_until_far(entry.deadline)?.min(entry.deadline.saturating_sub(entry.since));
        self.pool.unchanged(bucket, seen).then_some(Decision::Held { by: entry.token, left })
    }

    /// [`Claims::claim`] for a claim without an event, in the simple case: it needs no copy of the bucket. Returns
    /// `None` in all other cases, and if the bucket was replaced meanwhile.
    ///
    /// The words read from the bucket are valid if the exchange succeeds: a process that writes to its block has
    /// replaced the bucket before.
    pub(crate) fn claim_in_place(
        &self,
        hand: &mut Hand,
        found: Lookup,
        key: Key,
        ttl: u64,
        clock: &mut impl Clock,
    ) -> Result<Option<Decision>, Fault> {
        let Lookup { bucket, seen, entry: own } = found;
        let Some((floor, slots)) = self.in_place(seen)? else { return Ok(None) };
        let block = hand.begin(&self.pool)?;
        let (head, rest) = block.payload().split_at(BUCKET_HEAD_WORDS);
        let ([own_slot, free @ ..], _) = rest.as_chunks::<ENTRY_WORDS>() else { return Ok(None) };
        // Everything that does not depend on the time: these stores are complete by the time the clock is read.
        head[0].store(floor.load(Ordering::Relaxed), Ordering::Relaxed);
        let token = Token(Stamp::new(hand.next_attempt()?, hand.seat()).bits());
        Entry { key, deadline: 0, first: 0, last: 0, token, since: 0 }.store(own_slot);
        // After the cell was loaded: an entry that it ends must not have been renewed since.
        let now = clock.now();
        let mut kept = 0;
        for (e, slot) in slots.iter().enumerate() {
            let entry = Entry::load(slot);
            if let Some(held) = entry.held_at(now) {
                if own == Some(e) {
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
        deadline.store(now.saturating_add(ttl), Ordering::Relaxed);
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
    ) -> Result<bool, Fault> {
        let index = self.bucket_of(key);
        let mut tries = Tries::new();
        loop {
            tries.another()?;
            let seen = self.snapshot(index, scratch)?;
            let bucket = &mut *scratch;
            if !bucket.end(key, token, clock.now()) {
                return Ok(false);
            }
            if self.replace(hand, index, seen, bucket)? == Exchange::Done {
                return Ok(true);
            }
        }
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

/// Relaxed stores throughout: the exchange comes after.
fn write_bucket(payload: &[AtomicU64], meta: &AtomicU64, bucket: &Bucket) {
    let (head, rest) = payload.split_at(BUCKET_HEAD_WORDS);
    let (slots, _) = rest.as_chunks::<ENTRY_WORDS>();
    meta.store(bucket.entries.len() as u64, Ordering::Relaxed);
    head[0].store(bucket.floor, Ordering::Relaxed);
    for (slot, entry) in slots.iter().zip(&bucket.entries) {
        entry.store(slot);
    }
}
