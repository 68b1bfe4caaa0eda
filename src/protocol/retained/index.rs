//! The places of keys, and the decisions about them, made on a private copy of an index bucket.
//!
//! ```text
//! bucket   [floor][used: 64 bits][closing: 64 bits] [key 0 of places 0..64] [key 1 of places 0..64]
//! ```
//!
//! Place `j` of bucket `i` names slot `64 i + j` and no other. A bucket is replaced as a whole by the exchange of
//! [`super::super::pool`], so a key has one place. The place of an event in the total order is its id plus one, so that
//! 0 means "none".

use super::super::bucket::Key;
use crate::sync::{AtomicU64, Ordering};

/// Places in a bucket.
pub(crate) const PLACES: usize = 64;
const FLOOR: usize = 0;
const USED: usize = 1;
const CLOSING: usize = 2;
const KEYS_0: usize = 3;
const KEYS_1: usize = KEYS_0 + PLACES;
/// Words of a bucket.
pub(crate) const INDEX_WORDS: usize = KEYS_1 + PLACES;

/// A set of places of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceSet(u64);

impl PlaceSet {
    pub(crate) const EMPTY: PlaceSet = PlaceSet(0);

    /// Returns the set of the first `places` places.
    pub(crate) const fn first(places: usize) -> PlaceSet {
        PlaceSet(if places < PLACES { (1 << places) - 1 } else { u64::MAX })
    }

    pub(crate) const fn from_bits(bits: u64) -> PlaceSet {
        PlaceSet(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    pub(crate) const fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    pub(crate) const fn remove(&mut self, place: usize) {
        self.0 &= !(1 << place);
    }

    pub(crate) const fn union(self, other: PlaceSet) -> PlaceSet {
        PlaceSet(self.0 | other.0)
    }

    pub(crate) const fn intersection(self, other: PlaceSet) -> PlaceSet {
        PlaceSet(self.0 & other.0)
    }

    pub(crate) const fn without(self, other: PlaceSet) -> PlaceSet {
        PlaceSet(self.0 & !other.0)
    }

    /// Returns the places from `home` on, and then the places before it.
    #[inline]
    pub(crate) fn starting_at(self, home: usize) -> impl Iterator<Item = usize> {
        let home = home % PLACES;
        PlaceSet(self.0.rotate_right(home as u32)).iter().map(move |place| (place + home) % PLACES)
    }

    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let place = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(place)
        })
    }
}

/// The word with which a seat announces the key that it is about to post under. Two keys may share it. Then a place is
/// kept longer than necessary.
pub(crate) const fn announcement(key: Key) -> u64 {
    key.0[0] | 1
}

/// What a slot holds, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) key: Key,
    /// The event's id plus one; 0 if the slot never held an event.
    pub(crate) place: u64,
    /// The end of its ttl, in nanoseconds of the clock given to [`super::Table::place`]: [`TOMBSTONE`] for a clear,
    /// [`NEVER`] without a ttl.
    pub(crate) deadline: u64,
}

/// The deadline of an event without a ttl.
pub(crate) const NEVER: u64 = u64::MAX;
/// The deadline of a clear.
pub(crate) const TOMBSTONE: u64 = 0;

impl Held {
    /// Returns `true` if the slot holds event `id` of `key` or a later event of the key.
    #[inline]
    pub(crate) fn has(&self, key: Key, id: u64) -> bool {
        self.key == key && self.place > id
    }

    /// Returns the deadline of the event of `key`, if the slot holds one.
    #[inline]
    pub(crate) fn deadline_of(&self, key: Key) -> Option<u64> {
        (self.key == key && self.place != 0).then_some(self.deadline)
    }

    /// Returns `true` if a look-up of `key` at the time `now` finds nothing.
    pub(crate) fn is_dead(&self, key: Key, now: u64) -> bool {
        self.deadline_of(key).is_none_or(|deadline| deadline <= now)
    }

    /// Returns the floor of a bucket that forgets what the slot holds of `key`.
    pub(crate) fn floor_without(&self, key: Key) -> u64 {
        if self.key == key { self.place } else { 0 }
    }
}

/// What gives a key an open place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing: the key has an open place.
    Stays(usize),
    /// The key's place is closing and must be opened again.
    Reopen(usize),
    /// The key has no place. This one is free.
    Take(usize),
    /// The key has no place, and no place is free.
    Crowded,
}

/// A private copy of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// The greatest place of an event that was cleared or has expired and that the bucket has forgotten.
    pub(crate) floor: u64,
    pub(crate) used: PlaceSet,
    /// The used places that may be taken away.
    pub(crate) closing: PlaceSet,
    keys: [Key; PLACES],
}

impl Default for Index {
    fn default() -> Index {
        Index { floor: 0, used: PlaceSet::EMPTY, closing: PlaceSet::EMPTY, keys: [Key::default(); PLACES] }
    }
}

impl Index {
    /// Returns the key at a used place.
    pub(crate) fn key(&self, place: usize) -> Key {
        self.keys[place]
    }

    /// I1. `all` are the places of the bucket; the search begins at `home`.
    pub(crate) fn plan(&self, key: Key, all: PlaceSet, home: usize) -> Plan {
        if let Some(place) = self.used.starting_at(home).find(|&place| self.keys[place] == key) {
            return if self.closing.contains(place) { Plan::Reopen(place) } else { Plan::Stays(place) };
        }
        all.without(self.used).starting_at(home).next().map_or(Plan::Crowded, Plan::Take)
    }

    /// Opens `place` again.
    pub(crate) fn reopen(&mut self, place: usize) {
        self.closing.remove(place);
    }

    /// Gives the free `place` to `key`.
    pub(crate) fn take(&mut self, place: usize, key: Key) {
        self.used.insert(place);
        self.keys[place] = key;
    }

    /// I2: marks the `dead` places as closing. Returns `false` if all of them were.
    pub(crate) fn close(&mut self, dead: PlaceSet) -> bool {
        let open = dead.without(self.closing);
        self.closing = self.closing.union(dead);
        !open.is_empty()
    }

    /// I3: returns the places of `dead` with keys that no seat announces. `announced` are the words of all seats.
    pub(crate) fn unannounced(&self, dead: PlaceSet, announced: impl Iterator<Item = u64>) -> PlaceSet {
        let mut gone = dead;
        for word in announced.filter(|&word| word != 0) {
            for place in dead.iter().filter(|&place| announcement(self.keys[place]) == word) {
                gone.remove(place);
            }
        }
        gone
    }

    /// Takes the places `gone` away, raises the floor to `floor`, and gives the first of the places to `key`. Returns
    /// that place. If `gone` is empty, it changes nothing and returns `None`.
    pub(crate) fn replace(&mut self, gone: PlaceSet, floor: u64, key: Key) -> Option<usize> {
        let place = gone.iter().next()?;
        self.used = self.used.without(gone);
        self.closing = self.closing.without(gone);
        self.floor = self.floor.max(floor);
        self.take(place, key);
        Some(place)
    }

    /// Relaxed, like all loads and stores of a bucket: between the two looks of a seqlock, or before the exchange.
    pub(super) fn load(&mut self, words: &[AtomicU64], all: PlaceSet) {
        self.floor = words[FLOOR].load(Ordering::Relaxed);
        self.used = used(words, all);
        self.closing = closing(words).intersection(self.used);
        for place in self.used.iter() {
            self.keys[place] = key(words, place);
        }
    }

    pub(super) fn store(&self, words: &[AtomicU64]) {
        words[FLOOR].store(self.floor, Ordering::Relaxed);
        words[USED].store(self.used.bits(), Ordering::Relaxed);
        words[CLOSING].store(self.closing.bits(), Ordering::Relaxed);
        for place in self.used.iter() {
            let Key([key_0, key_1]) = self.keys[place];
            words[KEYS_0 + place].store(key_0, Ordering::Relaxed);
            words[KEYS_1 + place].store(key_1, Ordering::Relaxed);
        }
    }
}

/// Returns the used places of a bucket in its block.
#[inline]
pub(super) fn used(words: &[AtomicU64], all: PlaceSet) -> PlaceSet {
    PlaceSet::from_bits(words[USED].load(Ordering::Relaxed)).intersection(all)
}

/// Returns the closing places of a bucket in its block.
#[inline]
pub(super) fn closing(words: &[AtomicU64]) -> PlaceSet {
    PlaceSet::from_bits(words[CLOSING].load(Ordering::Relaxed))
}

/// Returns the key at a used place of a bucket in its block.
#[inline]
pub(super) fn key(words: &[AtomicU64], place: usize) -> Key {
    Key([words[KEYS_0 + place].load(Ordering::Relaxed), words[KEYS_1 + place].load(Ordering::Relaxed)])
}

/// Returns `true` if `wanted` is the key at a used place of a bucket in its block.
#[inline]
pub(super) fn has_key(words: &[AtomicU64], place: usize, wanted: Key) -> bool {
    let is_at = |at: usize, half: u64| words[at + place].load(Ordering::Relaxed) == half;
    is_at(KEYS_0, wanted.0[0]) && is_at(KEYS_1, wanted.0[1])
}

/// The ids that a reader is brought up to date with: from the id at which it was lapped to the id at which it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// 0 for a joiner.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// `true` if nothing that the reader knows is valid: the table has forgotten clears and expiries that the reader
    /// has missed.
    pub(crate) reset: bool,
}

impl Span {
    /// J3: takes the floor of a bucket into account.
    pub(crate) fn meet(&mut self, floor: u64) {
        self.reset |= floor > self.from;
    }

    /// J3: returns `true` if what a slot holds is handed over. `key` is the key of the slot's place.
    pub(crate) fn takes(&self, held: &Held, key: Key) -> bool {
        let Some(id) = held.place.checked_sub(1) else { return false };
        held.key == key && id < self.to && (self.reset || id >= self.from)
    }
}
