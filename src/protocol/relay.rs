//! What the relay of a host keeps in the segment, so that its successor goes on where it was killed.
//!
//! Only the holder of the relay's lock writes these words. It may be killed after any store; its successor reads them
//! after it has taken the lock from the dead one. Inspectors read them at any time.
//!
//! ```text
//! position   [ version ] [ copy 0: 4 words ] [ copy 1: 4 words ]      how far the relay has read the stream
//!            version    63 ....... 2  1   0      copy: the one that counts
//!                       [ number: 62 ][ I ][copy]   I: there is a position
//! intent     [ set ] [ origin ] [ id ] [ end ]                        the event that is being posted
//! table      [ origin ] [ next ] for each origin                      its ids below `next` are not posted again
//!
//! once       E1   id < next of the origin: it was posted or passed over before. End
//!            E2   find the origin's place in the table, or a free one. If there is none, nothing is posted
//!            E3   intent: origin, id, end of the ring; then set
//!            E4   post                                       THE EVENT EXISTS NOW
//!            E5   table: origin, then next = id + 1
//!            E6   intent: not set
//!
//! recover    F1   the intent is not set: end
//!            F2   look for the event of the intent in the ring, from `end` on
//!            F3   it is there: E5
//!            F4   E6
//! ```
//!
//! A kill before E4 leaves nothing of the event, and its successor gets it from the stream again. Between E4 and E5 the
//! ring is the witness that the event exists. From E5 on the table is. F2 gives no answer if the ring was lapped
//! between E3 and the recovery.

use super::load_acquire;
use crate::sync::{AtomicU64, Ordering, Words, fence};

/// Words of a position.
pub(crate) const POSITION_WORDS: usize = 4;
/// Words of all that is not the table.
pub(crate) const RELAY_WORDS: usize = 1 + 2 * POSITION_WORDS + 4;
/// Words of an entry of the table.
pub(crate) const ORIGIN_WORDS: usize = 2;

const VERSION: usize = 0;
const COPIES: usize = 1;
const SET: usize = COPIES + 2 * POSITION_WORDS;
const INTENT_ORIGIN: usize = SET + 1;
const INTENT_ID: usize = SET + 2;
const INTENT_END: usize = SET + 3;

/// In the version of the position.
const COPY: u64 = 1;
const IS_SET: u64 = 2;
const NUMBER: u64 = 4;

/// How often a reader of the position tries again if it changes meanwhile.
const LOOKS: usize = 64;

/// An event that is being posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) origin: u64,
    pub(crate) id: u64,
    /// The id at which the ring ended before the post.
    pub(crate) end: u64,
}

/// An event of an origin, with its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    origin: u64,
    id: u64,
    place: usize,
}

/// The result of E1 and E2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The event is new.
    New(Entry),
    /// It was posted or passed over before.
    Seen,
    /// It is of an origin for which the table has no place.
    Full,
}

/// What the ring says about the event of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    Posted,
    NotPosted,
    /// The ring does not hold all events since the intent.
    Lapped,
}

/// The words of the relay.
#[derive(Clone)]
pub(crate) struct RelayWords {
    words: Words,
    table: Words,
}

impl RelayWords {
    /// `words` are [`RELAY_WORDS`]; `table` has [`ORIGIN_WORDS`] for each origin.
    pub(crate) fn new(words: Words, table: Words) -> RelayWords {
        RelayWords { words, table }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.words.at(at)
    }

    // ---- position ----

    /// Returns the position, if there is one.
    pub(crate) fn position(&self) -> Option<[u64; POSITION_WORDS]> {
        for _ in 0..LOOKS {
            // Acquire: pairs with the release of `set_position`, so that the copy is complete.
            let version = load_acquire(self.word(VERSION));
            if version & IS_SET == 0 {
                return None;
            }
            let from = COPIES + (version & COPY) as usize * POSITION_WORDS;
            // Relaxed: between the two looks at the version.
            let copy = std::array::from_fn(|at| self.word(from + at).load(Ordering::Relaxed));
            // Acquire fence: the copy is read before the second look.
            fence(Ordering::Acquire);
            if self.word(VERSION).load(Ordering::Relaxed) == version {
                return Some(copy);
            }
        }
        None
    }

    /// Stores a position in the copy that does not count, and then makes it count.
    pub(crate) fn set_position(&self, position: Option<[u64; POSITION_WORDS]>) {
        // Relaxed: no other process stores to these words.
        let version = self.word(VERSION).load(Ordering::Relaxed);
        let next = (version & !(NUMBER - 1)).wrapping_add(NUMBER) | (version ^ COPY) & COPY;
        let Some(position) = position else {
            self.word(VERSION).store(next, Ordering::Release);
            return;
        };
        // Release fence: an inspector that reads a word stored below sees the version before it.
        fence(Ordering::Release);
        let to = COPIES + (next & COPY) as usize * POSITION_WORDS;
        for (at, value) in position.into_iter().enumerate() {
            self.word(to + at).store(value, Ordering::Relaxed);
        }
        // Release: with the copy.
        self.word(VERSION).store(next | IS_SET, Ordering::Release);
    }

    // ---- table ----

    /// Returns the number of places.
    pub(crate) fn places(&self) -> usize {
        self.table.as_slice().len() / ORIGIN_WORDS
    }

    /// Returns an entry: the origin, and its lowest id that may be posted. Such an id of 0 says that the place is free.
    pub(crate) fn entry(&self, place: usize) -> (u64, u64) {
        // Acquire: with the origin, which was stored before.
        let next = load_acquire(self.table.at(place * ORIGIN_WORDS + 1));
        (self.table.at(place * ORIGIN_WORDS).load(Ordering::Relaxed), next)
    }

    /// Returns the place of `origin`. Looks at `hint` first.
    pub(crate) fn place_of(&self, origin: u64, hint: usize) -> Option<usize> {
        let is_of = |place: usize| matches!(self.entry(place), (of, next) if of == origin && next > 0);
        if hint < self.places() && is_of(hint) {
            return Some(hint);
        }
        (0..self.places()).find(|&place| is_of(place))
    }

    /// E1 and E2.
    pub(crate) fn admit(&self, origin: u64, id: u64, hint: usize) -> Admission {
        let place = match self.place_of(origin, hint) {
            Some(place) if id < self.entry(place).1 => return Admission::Seen,
            Some(place) => place,
            None => match (0..self.places()).find(|&place| self.entry(place).1 == 0) {
                Some(place) => place,
                None => return Admission::Full,
            },
        };
        Admission::New(Entry { origin, id, place })
    }

    /// E5.
    fn note(&self, entry: Entry) {
        let at = entry.place * ORIGIN_WORDS;
        // The origin first: a place without a next id is free, whatever its origin is.
        self.table.at(at).store(entry.origin, Ordering::Relaxed);
        // Release: with the origin, and after the event.
        self.table.at(at + 1).store(entry.id.saturating_add(1), Ordering::Release);
    }

    /// Notes an event that is not posted. Returns its place.
    pub(crate) fn pass(&self, entry: Entry) -> usize {
        self.note(entry);
        entry.place
    }

    /// Frees the place of an origin. Returns `false` if it has none.
    pub(crate) fn forget(&self, origin: u64) -> bool {
        let Some(place) = self.place_of(origin, 0) else { return false };
        self.table.at(place * ORIGIN_WORDS + 1).store(0, Ordering::Release);
        true
    }

    // ---- intent ----

    /// E3 to E6. `end` is an id below which every id is taken. After an error of `post` no event exists, and the table
    /// is as before. Returns the place of the origin.
    pub(crate) fn once<E>(&self, entry: Entry, end: u64, post: impl FnOnce() -> Result<(), E>) -> Result<usize, E> {
        // Relaxed: before the release.
        self.word(INTENT_ORIGIN).store(entry.origin, Ordering::Relaxed);
        self.word(INTENT_ID).store(entry.id, Ordering::Relaxed);
        self.word(INTENT_END).store(end, Ordering::Relaxed);
        // Release: with the words above. The event is published by a stronger exchange, after this store.
        self.word(SET).store(1, Ordering::Release); // E3
        let posted = post(); // E4
        if posted.is_ok() {
            self.note(entry); // E5
        }
        self.end_intent(); // E6
        posted.map(|()| entry.place)
    }

    fn end_intent(&self) {
        // Release: after the table.
        self.word(SET).store(0, Ordering::Release);
    }

    /// Returns the event that a dead relay was posting.
    pub(crate) fn intent(&self) -> Option<Intent> {
        // Acquire: with the words of the intent.
        if load_acquire(self.word(SET)) != 1 {
            return None;
        }
        let word = |at: usize| self.word(at).load(Ordering::Relaxed);
        Some(Intent { origin: word(INTENT_ORIGIN), id: word(INTENT_ID), end: word(INTENT_END) })
    }

    /// F1 to F4. `look` finds out if the event of an intent is in the ring. Returns what it was asked and what it
    /// found.
    pub(crate) fn recover<E>(
        &self,
        look: impl FnOnce(Intent) -> Result<Witness, E>,
    ) -> Result<Option<(Intent, Witness)>, E> {
        let Some(intent) = self.intent() else { return Ok(None) }; // F1
        let witness = look(intent)?; // F2
        if witness == Witness::Posted
            && let Admission::New(entry) = self.admit(intent.origin, intent.id, 0)
        {
            self.note(entry); // F3
        }
        self.end_intent(); // F4
        Ok(Some((intent, witness)))
    }
}
