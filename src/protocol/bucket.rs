//! The rule of unique keys: what a claim, a renewal and a release make of a bucket.
//!
//! A bucket is a private copy here, and nothing in this file is shared with other processes: [`super::claims`] reads
//! the copy, and exchanges the changed one for it.

use super::word::Stamp;
use crate::sync::{AtomicU64, Ordering};

/// Words of an entry.
pub(crate) const ENTRY_WORDS: usize = 7;
/// Words before a bucket's entries.
pub(crate) const BUCKET_HEAD_WORDS: usize = 1;

/// The hash of a unique value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u64; 2]);

/// The winner of a claim and its attempt: never the same twice.
///
/// ```text
/// 63 ............ 17 16 .. 1  0
/// [ attempt: 47  ][seat:16][E]             E: the claim ends with its holder
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(crate) u64);

impl Token {
    pub(crate) fn new(attempt: u64, seat: u16, ends: Ends) -> Token {
        Token(Stamp::new(attempt, seat).bits() | ends as u64)
    }

    pub(crate) fn seat(self) -> u16 {
        Stamp::from_bits(self.0).seat()
    }

    pub(crate) fn attempt(self) -> u64 {
        Stamp::from_bits(self.0).attempt()
    }

    #[inline]
    pub(crate) fn ends_with_holder(self) -> bool {
        self.0 & Ends::WithHolder as u64 != 0
    }

    /// Returns `true` if both are of one win. A completed claim no longer ends with its holder, and is the same win.
    pub(crate) fn is_same_win(self, other: Token) -> bool {
        self.outliving().0 == other.outliving().0
    }

    /// Returns the token of the same win, of a claim that outlives its holder.
    fn outliving(self) -> Token {
        Token(self.0 & !(Ends::WithHolder as u64))
    }
}

/// The end of a claim that is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    AtDeadline = 0,
    /// At the deadline or, if that is earlier, with the tenure in which it was won.
    WithHolder = 1,
}

/// How long a key is to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// In nanoseconds.
    pub(crate) ttl: u64,
    pub(crate) ends: Ends,
}

/// What to do with a claim that was won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Hold the key for so many nanoseconds from now on.
    Renew(u64),
    /// The same, and let the claim outlive its holder.
    Complete(u64),
}

/// The result of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    Done,
    /// The claim has ended. If another one holds the key now, this is its token.
    Lost(Option<Token>),
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
    /// In nanoseconds.
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
    pub(super) fn load(slot: &[AtomicU64; ENTRY_WORDS]) -> Entry {
        let [key0, key1, deadline, first, last, token, since] =
            slot.each_ref().map(|word| word.load(Ordering::Relaxed));
        Entry { key: Key([key0, key1]), deadline, first, last, token: Token(token), since }
    }

    pub(super) fn store(&self, slot: &[AtomicU64; ENTRY_WORDS]) {
        let Entry { key: Key([key0, key1]), deadline, first, last, token: Token(token), since } = *self;
        for (word, value) in slot.iter().zip([key0, key1, deadline, first, last, token, since]) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Returns `true` if the event at `place` was already decided, provided that it has this entry's key.
    pub(crate) fn decides(&self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }

    /// Returns `true` if the claim ends with its holder, and that tenure `is_over`, which is asked for no other claim.
    pub(crate) fn has_ended_with_holder(&self, is_over: impl Fn(Token) -> bool) -> bool {
        self.token.ends_with_holder() && is_over(self.token)
    }

    /// Returns the answer to a request for the key at the time `now`, if the key is held.
    pub(super) fn held_at(&self, now: u64) -> Option<Decision> {
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

/// A private copy of a bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    pub(super) floor: u64,
    pub(super) entries: Vec<Entry>,
}

impl Bucket {
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the highest place that the bucket has forgotten.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn find(&self, key: Key) -> Option<usize> {
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
    fn make_room(&mut self, limit: usize, now: u64, is_over: impl Fn(Token) -> bool) -> bool {
        if self.entries.len() < limit {
            return true;
        }
        let ended = self.entries.iter().enumerate().filter(|(_, entry)| entry.deadline <= now);
        let oldest = ended.min_by_key(|(_, entry)| entry.last).map(|(index, _)| index);
        let of_dead = || self.entries.iter().position(|entry| entry.has_ended_with_holder(&is_over));
        match oldest.or_else(of_dead) {
            Some(index) => {
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
    /// time and `oldest` the first place that the ring still holds. Both must be read after this bucket. `is_over`
    /// returns `true` if the tenure in which a claim was won is over. It never changes back.
    pub(crate) fn decide(
        &mut self,
        limit: usize,
        ask: Ask,
        now: u64,
        oldest: u64,
        is_over: impl Fn(Token) -> bool,
    ) -> Ruling {
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
            && !entry.has_ended_with_holder(&is_over)
        {
            let Some(at) = at else { return Ruling::Stands(held) };
            (entry.first, entry.last) = entry.range_with(at.place);
            return Ruling::IfExchanged(held);
        }
        let before = found.map(|e| self.entries.swap_remove(e));
        self.sweep(now, oldest);
        if !self.make_room(limit, now, &is_over) {
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

    /// Returns the entry of the claim that was won with `token`, if that claim holds `key` at the time `now`.
    fn holding(&self, key: Key, token: Token, now: u64, is_over: impl Fn(Token) -> bool) -> Option<usize> {
        let e = self.find(key)?;
        let entry = &self.entries[e];
        if !entry.token.is_same_win(token) || entry.deadline <= now || entry.has_ended_with_holder(is_over) {
            return None;
        }
        Some(e)
    }

    /// Ends the ttl of the claim that was won with `token`, at the time `now`. Returns `false` if it is no longer held.
    pub(crate) fn end(&mut self, key: Key, token: Token, now: u64, is_over: impl Fn(Token) -> bool) -> bool {
        let Some(e) = self.holding(key, token, now, is_over) else { return false };
        let entry = &mut self.entries[e];
        if entry.last == 0 {
            self.entries.swap_remove(e);
        } else {
            // Decided events stay decided.
            entry.deadline = 0;
        }
        true
    }

    /// Extends the claim that was won with `token`, at the time `now`. One that has ended stays ended, also if no other
    /// worker has claimed the key since.
    pub(crate) fn extend(
        &mut self,
        key: Key,
        token: Token,
        extension: Extension,
        now: u64,
        is_over: impl Fn(Token) -> bool,
    ) -> Extended {
        let Some(e) = self.holding(key, token, now, &is_over) else {
            return Extended::Lost(self.holder(key, now, is_over));
        };
        let entry = &mut self.entries[e];
        let ttl = match extension {
            Extension::Renew(ttl) => ttl,
            Extension::Complete(ttl) => {
                entry.token = entry.token.outliving();
                ttl
            }
        };
        entry.deadline = now.saturating_add(ttl);
        Extended::Done
    }

    /// Returns the token of the claim that holds `key` at the time `now`.
    fn holder(&self, key: Key, now: u64, is_over: impl Fn(Token) -> bool) -> Option<Token> {
        let entry = &self.entries[self.find(key)?];
        (entry.deadline > now && !entry.has_ended_with_holder(is_over)).then_some(entry.token)
    }

    /// Returns how long the claim that was won with `token` is held after the time `now`; 0 if it is no longer held.
    pub(crate) fn left(&self, key: Key, token: Token, now: u64, is_over: impl Fn(Token) -> bool) -> u64 {
        self.holding(key, token, now, is_over).map_or(0, |e| self.entries[e].deadline - now)
    }
}

/// Relaxed stores throughout: the exchange comes after.
pub(super) fn write_bucket(payload: &[AtomicU64], meta: &AtomicU64, bucket: &Bucket) {
    let (head, rest) = payload.split_at(BUCKET_HEAD_WORDS);
    let (slots, _) = rest.as_chunks::<ENTRY_WORDS>();
    meta.store(bucket.entries.len() as u64, Ordering::Relaxed);
    head[0].store(bucket.floor, Ordering::Relaxed);
    for (slot, entry) in slots.iter().zip(&bucket.entries) {
        entry.store(slot);
    }
}
