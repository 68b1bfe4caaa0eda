//! The last event of each key, beside the ring.
//!
//! A retained event is posted like any other, but in the phase *keep*. Then it is *settled*: it is brought into the
//! slot of its key, and its cell is marked as published. Any seat may settle it. A seat that is about to reuse its cell
//! must.
//!
//! ```text
//! slot      a cell of a pool of its own; its block: [key 0][key 1][id + 1][deadline] event
//! index     cells of the claims' pool, behind the claims' own: see `index`
//! announced one word for each seat: the key that the seat is about to post under
//! event     in a block of the ring, words 2 to 5 of its payload: [key 0][key 1][ttl][where]
//! ```
//!
//! The value is written to the private slot block *before* the event is posted. A seat that settles for another
//! therefore copies it from there, a value may be larger than a block of the ring, and no copy is made between the post
//! and the exchange of the slot.
//!
//! A seat announces the key from before it looks for the key's place until the event is settled. The key has its place
//! for that long, so all seats that settle events of one key contend for one slot. The ids in a slot only grow.

mod index;

#[allow(unused_imports, reason = "not every model uses all of it")]
pub(crate) use self::index::{Held, INDEX_WORDS, Index, NEVER, PLACES, PlaceSet, Plan, Span, TOMBSTONE, announcement};
use super::bucket::Key;
use super::bytes;
use super::pool::{Block, Exchange, Hand, Pool, Tries};
use super::ring::{NoTable, Ring, Settle, Stop};
use super::word::{CellWord, Phase, Where};
use super::{Fault, TRIES, load_acquire};
use crate::sync::{AtomicU64, Ordering, Words, fence};

/// Words of a slot's payload before its event.
pub(crate) const SLOT_HEAD_WORDS: usize = 4;
/// The first word of the payload of a retained event in the ring that says what it is retained under.
pub(crate) const NOTE_AT: usize = 2;
/// The number of these words.
pub(crate) const NOTE_WORDS: usize = 4;

/// In a slot's payload, behind the two words of the key.
const ID: usize = 2;
const DEADLINE: usize = 3;

/// The table of retained events: index and slots.
#[derive(Clone)]
pub(crate) struct Table {
    ring: Ring,
    slots: Pool,
    index: Pool,
    /// The first cell of the index in its pool.
    first: usize,
    announced: Words,
    /// The places of a bucket: [`PLACES`], or one for each slot if there are fewer slots.
    all: PlaceSet,
    places: usize,
    buckets: usize,
}

/// What to do for a key without a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Give it one.
    Take,
    /// Leave it without.
    Leave,
}

/// What an event in the ring says about how it is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    /// The seat that posted it.
    seat: u16,
    key: Key,
    slot: u32,
    /// The slot block that its value was written to.
    block: u32,
}

/// A look at a slot. What is read from it counts only if [`unchanged`](SlotLook::unchanged) returns `true` afterwards.
#[derive(Clone, Copy)]
pub(crate) struct SlotLook<'a> {
    slots: &'a Pool,
    slot: usize,
    seen: CellWord,
    block: Block<'a>,
}

impl<'a> SlotLook<'a> {
    /// Returns what the slot holds.
    #[inline]
    pub(crate) fn held(&self) -> Held {
        let words = self.block.payload();
        // Relaxed: between the two looks of the seqlock.
        let word = |at: usize| words[at].load(Ordering::Relaxed);
        Held { key: Key([word(0), word(1)]), place: word(ID), deadline: word(DEADLINE) }
    }

    /// Returns the word that describes the event to the layer above.
    #[inline]
    pub(crate) fn meta(&self) -> u64 {
        // Relaxed: as above.
        self.block.meta().load(Ordering::Relaxed)
    }

    /// Returns the words of the event, and the words behind it.
    #[inline]
    pub(crate) fn event(&self) -> &'a [AtomicU64] {
        &self.block.payload()[SLOT_HEAD_WORDS..]
    }

    /// Returns `true` if the slot still holds what was read.
    #[inline]
    pub(crate) fn unchanged(&self) -> bool {
        self.slots.unchanged(self.slot, self.seen)
    }
}

/// The result of copying an event from a slot.
#[derive(Debug)]
pub(crate) enum SlotCopy<T> {
    /// The copy.
    Taken(T),
    /// The event is not wanted.
    Passed,
    /// The slot was exchanged meanwhile.
    Changed,
}

/// How an event is to be retained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    pub(crate) key: Key,
    pub(crate) slot: u32,
    /// As in [`Held::deadline`].
    pub(crate) deadline: u64,
}

impl Table {
    /// Creates a table over `slots`, beside `ring`, with its index in the cells of `index` from `first` on, and with
    /// one word of `announced` for each seat.
    pub(crate) fn new(ring: Ring, slots: Pool, index: Pool, first: usize, announced: Words) -> Table {
        let places = slots.cells().min(PLACES);
        let buckets = slots.cells() / places;
        debug_assert!(buckets.is_power_of_two() && buckets * places == slots.cells());
        debug_assert!(first + buckets <= index.cells() && index.payload_words() >= INDEX_WORDS);
        Table { ring, slots, index, first, announced, all: PlaceSet::first(places), places, buckets }
    }

    #[inline]
    fn bucket_of(&self, key: Key) -> usize {
        key.0[1] as usize & (self.buckets - 1)
    }

    /// Returns the place at which the search for a key begins, in a bucket with all places.
    #[inline]
    fn home_of(&self, key: Key) -> usize {
        (key.0[0] >> 32) as usize % PLACES
    }

    fn slot_of(&self, bucket: usize, place: usize) -> usize {
        bucket * self.places + place
    }

    // ---- announcements ----

    /// B1: announces that `seat` is about to post under `key`.
    #[inline]
    pub(crate) fn announce(&self, seat: u16, key: Key) {
        self.announced.at(seat.into()).store(announcement(key), Ordering::Relaxed);
        // SeqCst fence: pairs with the one in `make_room`. Of a seat that announces and then looks for its place, and a
        // seat that closes the place and then looks for announcements, at least one sees what the other did.
        fence(Ordering::SeqCst);
    }

    /// B5: takes back the announcement of `seat`.
    #[inline]
    pub(crate) fn withdraw(&self, seat: u16) {
        // Release: a seat that finds no announcement finds the event settled.
        self.announced.at(seat.into()).store(0, Ordering::Release);
    }

    /// Returns the announcements of all seats.
    #[inline]
    fn announcements(&self) -> impl Iterator<Item = u64> {
        // Acquire, of each: pairs with the release of `withdraw`.
        self.announced.as_slice().iter().map(load_acquire)
    }

    /// Returns `true` if a seat is about to post a retained event, or has posted one that may be unsettled.
    pub(crate) fn is_any_announced(&self) -> bool {
        self.announcements().any(|word| word != 0)
    }

    /// Returns `true` if a seat is about to post under `key`, or has posted an event under it that may be unsettled.
    #[inline]
    pub(crate) fn is_announced(&self, key: Key) -> bool {
        let wanted = announcement(key);
        // By the line, without a branch for each word. Acquire, of each: as in `announcements`.
        let is_in =
            |words: &[AtomicU64]| words.iter().fold(false, |is_in, word| is_in | (load_acquire(word) == wanted));
        let (lines, rest) = self.announced.as_slice().as_chunks::<8>();
        lines.iter().any(|line| is_in(line)) || is_in(rest)
    }

    /// Returns how many seats announce a key.
    pub(crate) fn count_announced(&self) -> usize {
        self.announcements().filter(|&word| word != 0).count()
    }

    // ---- places ----

    /// B2: finds the slot of `key`, which the caller has announced, so that the key keeps its place until the
    /// announcement is taken back. `now` returns the time in nanoseconds; it is called only if something has to make
    /// room. Returns `None` if there is no room, or if the key has no place and `absent` says to leave it so.
    #[inline]
    pub(crate) fn place(
        &self,
        hand: &mut Hand,
        scratch: &mut Index,
        key: Key,
        absent: Absent,
        now: impl FnMut() -> u64,
    ) -> Result<Option<u32>, Fault> {
        match self.find(key)? {
            Some((place, true)) => Ok(Some(self.slot_of(self.bucket_of(key), place) as u32)),
            _ => self.take_place(hand, scratch, key, absent, now),
        }
    }

    /// I1 to I4, for a key that has no open place.
    #[inline(never)]
    fn take_place(
        &self,
        hand: &mut Hand,
        scratch: &mut Index,
        key: Key,
        absent: Absent,
        mut now: impl FnMut() -> u64,
    ) -> Result<Option<u32>, Fault> {
        let bucket = self.bucket_of(key);
        let mut tries = Tries::new();
        loop {
            tries.another()?;
            let seen = self.snapshot(bucket, scratch)?;
            let place = match scratch.plan(key, self.all, self.home_of(key)) {
                Plan::Stays(place) => return Ok(Some(self.slot_of(bucket, place) as u32)),
                Plan::Reopen(place) => {
                    scratch.reopen(place);
                    place
                }
                Plan::Take(_) | Plan::Crowded if absent == Absent::Leave => return Ok(None),
                Plan::Take(place) => {
                    scratch.take(place, key);
                    place
                }
                Plan::Crowded => match self.make_room(hand, bucket, seen, scratch, key, &mut now)? {
                    Room::At(place) => place,
                    Room::Closed => continue,
                    Room::None => return Ok(None),
                },
            };
            if self.publish(hand, bucket, seen, scratch)? == Exchange::Done {
                return Ok(Some(self.slot_of(bucket, place) as u32));
            }
        }
    }

    /// I2 to I4, for a bucket that was copied to `index` when its cell held `seen`. A place is taken away in two steps:
    /// a seat that finds it closing must open it again, which makes the exchange for this copy fail; a seat that found
    /// it open had announced its key before.
    fn make_room(
        &self,
        hand: &mut Hand,
        bucket: usize,
        seen: CellWord,
        index: &mut Index,
        key: Key,
        now: &mut impl FnMut() -> u64,
    ) -> Result<Room, Fault> {
        let (dead, _) = self.dead_among(bucket, index, index.used, now())?; // I2
        if dead.is_empty() {
            return Ok(Room::None);
        }
        if index.close(dead) {
            self.publish(hand, bucket, seen, index)?;
            return Ok(Room::Closed);
        }
        // SeqCst fence: pairs with the one in `announce`.
        fence(Ordering::SeqCst);
        let gone = index.unannounced(dead, self.announcements()); // I3
        // Again: since I2 a value may have come, and its announcement may have been taken back.
        let (gone, floor) = self.dead_among(bucket, index, gone, now())?; // I4
        Ok(index.replace(gone, floor, key).map_or(Room::None, Room::At))
    }

    /// Returns the dead places among `among`, and the floor of the bucket without them.
    fn dead_among(&self, bucket: usize, index: &Index, among: PlaceSet, now: u64) -> Result<(PlaceSet, u64), Fault> {
        let (mut dead, mut floor) = (PlaceSet::EMPTY, 0);
        for place in among.iter() {
            let (key, (_, held)) = (index.key(place), self.held(self.slot_of(bucket, place))?);
            if held.is_dead(key, now) {
                dead.insert(place);
                floor = floor.max(held.floor_without(key));
            }
        }
        Ok((dead, floor))
    }

    /// Looks for the place of `key` without copying the bucket. Returns it, and `true` if it is open.
    // Always: a result wider than a register waits in memory.
    #[inline(always)]
    fn find(&self, key: Key) -> Result<Option<(usize, bool)>, Fault> {
        let cell = self.first + self.bucket_of(key);
        for _ in 0..TRIES {
            // Acquire: as for a reader of the ring.
            let seen = CellWord::from_bits(load_acquire(self.index.cell(cell)));
            if seen.version() == 0 {
                return Ok(None);
            }
            let words = self.index.block(seen.block())?.payload();
            let used = index::used(words, self.all);
            let place = used.starting_at(self.home_of(key)).find(|&place| index::has_key(words, place, key));
            let found = place.map(|place| (place, !index::closing(words).contains(place)));
            if self.index.unchanged(cell, seen) {
                return Ok(found);
            }
        }
        Err(Fault::Corrupt("the index of retained events never stood still"))
    }

    /// Copies a whole bucket. Returns the word that its cell held.
    pub(crate) fn snapshot(&self, bucket: usize, into: &mut Index) -> Result<CellWord, Fault> {
        let cell = self.first + bucket;
        for _ in 0..TRIES {
            // Acquire: as for a reader of the ring.
            let seen = CellWord::from_bits(load_acquire(self.index.cell(cell)));
            if seen.version() == 0 {
                *into = Index::default();
                return Ok(seen);
            }
            into.load(self.index.block(seen.block())?.payload(), self.all);
            if self.index.unchanged(cell, seen) {
                return Ok(seen);
            }
        }
        Err(Fault::Corrupt("the index of retained events never stood still"))
    }

    fn publish(&self, hand: &mut Hand, bucket: usize, seen: CellWord, index: &Index) -> Result<Exchange, Fault> {
        index.store(hand.begin(&self.index)?.payload());
        exchange(hand, &self.index, self.first + bucket, seen)
    }

    // ---- slots ----

    /// Begins a look at a slot.
    // Always: as `find`.
    #[inline(always)]
    fn look(&self, slot: usize) -> Result<SlotLook<'_>, Fault> {
        // Acquire: as for a reader of the ring.
        let seen = CellWord::from_bits(load_acquire(self.slots.cell(slot)));
        Ok(SlotLook { slots: &self.slots, slot, seen, block: self.slots.block(seen.block())? })
    }

    /// Returns the word of a slot's cell, and what the slot holds.
    // Always: as `find`.
    #[inline(always)]
    fn held(&self, slot: usize) -> Result<(CellWord, Held), Fault> {
        for _ in 0..TRIES {
            let look = self.look(slot)?;
            let held = look.held();
            if look.unchanged() {
                return Ok((look.seen, held));
            }
        }
        Err(Fault::Corrupt("a slot of retained events never stood still"))
    }

    // ---- settling ----

    /// Returns the note of event `id`, whose cell held `seen`. Returns `None` if the cell holds another word by now.
    fn note(&self, id: u64, seen: CellWord) -> Result<Option<Note>, Fault> {
        // Relaxed: between the two looks of the seqlock.
        let words = self.ring.block(seen)?.payload();
        let Some((head, note)) = words.first().zip(words.get(NOTE_AT..NOTE_AT + NOTE_WORDS)) else {
            return Err(Fault::Corrupt("a block of the ring has no room for a retained event"));
        };
        let head = head.load(Ordering::Relaxed);
        let [key_0, key_1, _, place] = [0, 1, 2, 3].map(|word: usize| note[word].load(Ordering::Relaxed));
        if !self.ring.holds(id, seen) {
            return Ok(None);
        }
        let place = Where::from_bits(place);
        if place.slot() as usize >= self.slots.cells() {
            return Err(Fault::Corrupt("a retained event names a slot that does not exist"));
        }
        let (key, seat) = (Key([key_0, key_1]), (head >> 48) as u16);
        Ok(Some(Note { seat, key, slot: place.slot(), block: place.block() }))
    }

    /// Brings event `id`, whose cell held `seen`, into the table, unless it or a later event of its key is there.
    /// Returns `true` if this call brought it there. `hand` is the seat's hand in the slots.
    pub(crate) fn settle(&self, hand: &mut Hand, id: u64, seen: CellWord) -> Result<bool, Fault> {
        match self.note(id, seen)? {
            Some(note) => self.settle_noted(hand, id, seen, note),
            None => Ok(false),
        }
    }

    // Always: a poster settles its own event once for each post, and everything about it is in registers.
    #[inline(always)]
    fn settle_noted(&self, hand: &mut Hand, id: u64, seen: CellWord, note: Note) -> Result<bool, Fault> {
        let slot = note.slot as usize;
        let mut tries = Tries::new();
        let done = loop {
            tries.another()?;
            let (word, held) = self.held(slot)?; // S2
            if held.has(note.key, id) {
                break false;
            }
            let own = hand.begin(&self.slots)?;
            if note.block != hand.own() {
                copy(self.slots.block(note.block)?, own); // S3
            }
            own.payload()[ID].store(id + 1, Ordering::Relaxed);
            // After the slot was read: while the event is unsettled, nothing later of its key has been there.
            if !self.ring.holds(id, seen) {
                return Ok(false); // S4
            }
            if exchange(hand, &self.slots, slot, word)? == Exchange::Done {
                break true; // S5
            }
        };
        self.ring.mark_settled(id, seen); // S6
        Ok(done)
    }

    /// Settles the unsettled events from id `from` to id `to`, below which every id is taken. Returns how many of them
    /// this call brought into the table.
    fn settle_between(&self, hand: &mut Hand, from: u64, to: u64) -> Result<u64, Fault> {
        let mut done = 0;
        for id in from.max(to.saturating_sub(self.ring.capacity()))..to {
            if let Some(seen) = self.ring.unsettled(id) {
                done += u64::from(self.settle(hand, id, seen)?);
            }
        }
        Ok(done)
    }

    /// Settles the event that the last holder of `hand`'s seat has left unsettled, if there is one, and takes back its
    /// announcement. For a seat that has just adopted `hand`, before it uses the hand for anything else: the hand's
    /// block may hold the event's value.
    fn adopt(&self, hand: &mut Hand) -> Result<(), Fault> {
        let seat = hand.seat();
        if load_acquire(self.announced.at(seat.into())) == 0 {
            return Ok(());
        }
        let newest = self.ring.newest();
        for id in newest.saturating_sub(self.ring.capacity())..newest {
            let Some(seen) = self.ring.unsettled(id) else { continue };
            // The question is who posted it, not which block it names: if the dead holder had exchanged the slot
            // already, the hand holds another block.
            let Some(note) = self.note(id, seen)?.filter(|note| note.seat == seat) else { continue };
            self.settle_noted(hand, id, seen, note)?;
            break;
        }
        self.withdraw(seat);
        Ok(())
    }

    // ---- looking up ----

    /// Returns what the slot of `key` holds of the key, a tombstone too. An unsettled event is not found.
    pub(crate) fn held_of(&self, key: Key) -> Result<Option<Held>, Fault> {
        let Some((place, _)) = self.find(key)? else { return Ok(None) };
        let (_, held) = self.held(self.slot_of(self.bucket_of(key), place))?;
        Ok(held.deadline_of(key).map(|_| held))
    }

    /// G2, G3: looks up what is retained under `key`, if its ttl has not ended at the time `now`. `copy` copies the
    /// event; it is called again if the slot was exchanged meanwhile. An unsettled event is not found: see
    /// [`Keeper::settle_all`].
    // Always: as `find`.
    #[inline(always)]
    pub(crate) fn get<T>(
        &self,
        key: Key,
        mut now: impl FnMut() -> u64,
        copy: impl FnMut(&SlotLook<'_>) -> SlotCopy<T>,
    ) -> Result<Option<(Held, T)>, Fault> {
        let Some((place, _)) = self.find(key)? else { return Ok(None) };
        let has_value =
            |held: &Held| held.deadline_of(key).is_some_and(|deadline| deadline == NEVER || deadline > now());
        self.take_copy(self.slot_of(self.bucket_of(key), place), has_value, copy)
    }

    /// Copies the event in a slot, with what the slot holds. Returns `None` if `is_wanted` says so of what it holds, or
    /// `copy` of the event. Both are called again if the slot was exchanged meanwhile.
    // Always: as `find`.
    #[inline(always)]
    fn take_copy<T>(
        &self,
        slot: usize,
        mut is_wanted: impl FnMut(&Held) -> bool,
        mut copy: impl FnMut(&SlotLook<'_>) -> SlotCopy<T>,
    ) -> Result<Option<(Held, T)>, Fault> {
        for _ in 0..TRIES {
            let look = self.look(slot)?;
            let held = look.held();
            if !is_wanted(&held) {
                if look.unchanged() {
                    return Ok(None);
                }
                continue;
            }
            match copy(&look) {
                SlotCopy::Taken(event) => return Ok(Some((held, event))),
                SlotCopy::Passed => return Ok(None),
                SlotCopy::Changed => {}
            }
        }
        Err(Fault::Corrupt("a slot of retained events never stood still"))
    }

    /// J3: copies the events that a reader is brought up to date with, in order of their ids. `copy` copies the event
    /// of one slot.
    pub(crate) fn walk<T>(
        &self,
        span: &mut Span,
        mut copy: impl FnMut(&SlotLook<'_>) -> SlotCopy<T>,
    ) -> Result<Vec<(Held, T)>, Fault> {
        let mut scratch = Index::default();
        loop {
            let (begin, mut copies) = (*span, Vec::new());
            for bucket in 0..self.buckets {
                self.walk_bucket(bucket, &mut scratch, span, &mut copies, &mut copy)?;
            }
            // A reset hands over all events, also those of the buckets before the one that asked for it. A joiner gets
            // all events in any case.
            if span.reset == begin.reset || self.buckets == 1 || span.from == 0 {
                copies.sort_unstable_by_key(|(held, _)| held.place);
                return Ok(copies);
            }
        }
    }

    fn walk_bucket<T>(
        &self,
        bucket: usize,
        index: &mut Index,
        span: &mut Span,
        copies: &mut Vec<(Held, T)>,
        copy: &mut impl FnMut(&SlotLook<'_>) -> SlotCopy<T>,
    ) -> Result<(), Fault> {
        let before = copies.len();
        for _ in 0..TRIES {
            copies.truncate(before);
            let seen = self.snapshot(bucket, index)?;
            span.meet(index.floor);
            for place in index.used.iter() {
                let (slot, key) = (self.slot_of(bucket, place), index.key(place));
                copies.extend(self.take_copy(slot, |held| span.takes(held, key), &mut *copy)?);
            }
            // Otherwise a key may have been swept and its slot given to another key. The new floor says so.
            if self.index.unchanged(self.first + bucket, seen) {
                return Ok(());
            }
        }
        Err(Fault::Corrupt("the index of retained events never stood still"))
    }
}

/// The result of making room in a bucket.
enum Room {
    /// The key's place, once the changed bucket has replaced the one that was read.
    At(usize),
    /// Dead places are closing now; the bucket has to be read again.
    Closed,
    /// There is no room.
    None,
}

/// Exchanges cell `index` of `pool`, which held `seen`, for the block that `hand` has written.
fn exchange(hand: &mut Hand, pool: &Pool, index: usize, seen: CellWord) -> Result<Exchange, Fault> {
    let version = seen.version() + 1;
    if version > CellWord::LAST_VERSION {
        return Err(Fault::Exhausted("the versions of the table of retained events"));
    }
    hand.exchange(pool, index, seen, version, Phase::Published)
}

/// S3: copies a slot block. Relaxed: the copy counts only if the exchange of the slot succeeds, and that fails if the
/// original was rewritten meanwhile.
fn copy(from: Block<'_>, to: Block<'_>) {
    to.meta().store(from.meta().load(Ordering::Relaxed), Ordering::Relaxed);
    bytes::copy(from.payload(), to.payload());
}

/// A seat's part in the table: the table, and the seat's hand in the slots.
pub(crate) struct Keeper {
    table: Table,
    hand: Hand,
    /// No id below it is an unsettled event, or ever will be.
    settled_below: u64,
    /// Events of others that this seat has brought into the table.
    helped: u64,
}

impl Keeper {
    /// Takes over the part of a seat whose last holder is proven dead or has left.
    pub(crate) fn adopt(table: Table, hand: Words, seat: u16) -> Result<Keeper, Fault> {
        let mut hand = Hand::adopt(&table.slots, hand, seat)?;
        table.adopt(&mut hand)?;
        Ok(Keeper { table, hand, settled_below: 0, helped: 0 })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// B1, B2: announces `key` and finds the slot of its place. Returns `None` if there is none; then nothing is
    /// announced.
    #[inline]
    pub(crate) fn begin(
        &self,
        claim_hand: &mut Hand,
        scratch: &mut Index,
        key: Key,
        absent: Absent,
        now: impl FnMut() -> u64,
    ) -> Result<Option<u32>, Fault> {
        self.table.announce(self.hand.seat(), key);
        let place = self.table.place(claim_hand, scratch, key, absent, now);
        if !matches!(place, Ok(Some(_))) {
            self.end();
        }
        place
    }

    /// B3 to B5: posts the event for which [`begin`](Keeper::begin) has found the slot, and settles it. `value` writes
    /// the event into the slot block; `event` writes it into the ring's block, with where it is kept. Returns its id.
    #[inline]
    pub(crate) fn post(
        &mut self,
        ring: &Ring,
        ring_hand: &mut Hand,
        retained: Retention,
        value: impl Fn(Block<'_>, &[AtomicU64]),
        event: impl Fn(Block<'_>, Where),
    ) -> Result<u64, Stop> {
        let posted = self.post_and_settle(ring, ring_hand, retained, value, event);
        self.end();
        posted
    }

    #[inline(always)]
    fn post_and_settle(
        &mut self,
        ring: &Ring,
        ring_hand: &mut Hand,
        retained: Retention,
        value: impl Fn(Block<'_>, &[AtomicU64]),
        event: impl Fn(Block<'_>, Where),
    ) -> Result<u64, Stop> {
        let Retention { key, slot, deadline } = retained;
        let (id, posted) = ring.post_retained(ring_hand, self, |ring_block, keeper| {
            let block = keeper.hand.begin(&keeper.table.slots)?;
            let (head, words) = block.payload().split_at(SLOT_HEAD_WORDS);
            // Relaxed: before the exchanges of ring and slot.
            for (word, value) in head.iter().zip([key.0[0], key.0[1], 0, deadline]) {
                word.store(value, Ordering::Relaxed);
            }
            value(block, words);
            event(ring_block, Where::new(slot, keeper.hand.own()));
            Ok(())
        })?;
        let note = Note { seat: self.hand.seat(), key, slot, block: self.hand.own() };
        self.table.settle_noted(&mut self.hand, id, posted, note)?;
        Ok(id)
    }

    /// B5: takes back the announcement without a post. [`post`](Keeper::post) takes it back itself.
    #[inline]
    pub(crate) fn end(&self) {
        self.table.withdraw(self.hand.seat());
    }

    /// J2: settles the unsettled events below `to`, an id below which every id is taken.
    pub(crate) fn settle_below(&mut self, to: u64) -> Result<(), Fault> {
        self.helped += self.table.settle_between(&mut self.hand, self.settled_below, to)?;
        self.settled_below = self.settled_below.max(to);
        Ok(())
    }

    /// G1: settles the events that are unsettled now.
    pub(crate) fn settle_all(&mut self) -> Result<(), Fault> {
        self.settle_below(self.table.ring.newest())
    }

    /// Returns how many events of others this seat has brought into the table since the last call.
    #[inline]
    pub(crate) fn take_helped(&mut self) -> u64 {
        std::mem::take(&mut self.helped)
    }
}

/// The part of a seat in a segment that may have no table.
impl Settle for Option<Keeper> {
    fn settle(&mut self, id: u64, seen: CellWord) -> Result<(), Fault> {
        match self {
            Some(keeper) => keeper.settle(id, seen),
            None => NoTable.settle(id, seen),
        }
    }
}

impl Settle for Keeper {
    fn settle(&mut self, id: u64, seen: CellWord) -> Result<(), Fault> {
        self.helped += u64::from(self.table.settle(&mut self.hand, id, seen)?);
        Ok(())
    }
}
