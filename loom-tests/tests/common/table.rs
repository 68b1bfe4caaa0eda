//! A tiny ring with a table of retained events, the seats that use it, and the assertions at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::protocol::bucket::Key;
use crate::protocol::pool::{Block, HEAD_WORDS, Hand, Pool};
use crate::protocol::retained::{
    Absent, Held, INDEX_WORDS, Index, Keeper, NEVER, NOTE_AT, NOTE_WORDS, PLACES, Retention, SLOT_HEAD_WORDS, SlotCopy,
    SlotLook, Span, TOMBSTONE, Table,
};
use crate::protocol::ring::{Look, Ring, Settle};
use crate::protocol::seat_words::{self, CLAIM_HAND, HAND_WORDS, RING_HAND};
use crate::protocol::word::{CellWord, Phase};
use crate::sync::{AtomicU64, Mode, Ordering, Words};

/// The first of the slots' three words of a seat.
const SLOT_HAND: usize = 4;
/// The word of a block that says what kind of payload it holds.
const META: usize = HEAD_WORDS - 1;
/// An event of the ring: the seat, an unused word, the note, the value.
const VALUE_AT: usize = NOTE_AT + NOTE_WORDS;
const EVENT_STRIDE: usize = HEAD_WORDS + VALUE_AT + 1;
const SLOT_STRIDE: usize = HEAD_WORDS + SLOT_HEAD_WORDS + 1;
const INDEX_STRIDE: usize = HEAD_WORDS + INDEX_WORDS;
/// The content of a clear.
pub(crate) const CLEAR: u64 = 1 << 32;
/// The time, which does not advance.
const NOW: u64 = 1;

pub(crate) const KEY: Key = Key([2 << 32, 1]);
pub(crate) const OTHER: Key = Key([4 << 32, 2]);
pub(crate) const THIRD: Key = Key([6 << 32, 3]);
/// The greatest number of places in an index.
const MOST_PLACES: usize = 3;

/// Returns the second word of a content.
fn second(content: u64) -> u64 {
    content.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A ring and its table, and a log of what happened.
#[derive(Clone)]
pub(crate) struct Tabled {
    pub(crate) ring: Ring,
    pub(crate) table: Table,
    event_pool: Pool,
    index_pool: Pool,
    cells: Words,
    event_blocks: Words,
    slots: Words,
    slot_blocks: Words,
    index: Words,
    seats: Words,
    announced: Words,
    log: Arc<Mutex<Log>>,
}

/// By key, the greatest known id.
type Known = BTreeMap<[u64; 2], u64>;

fn know(known: &mut Known, key: Key, id: u64) {
    let last = known.entry(key.0).or_insert(id);
    *last = id.max(*last);
}

/// The results of posts and reads.
#[derive(Debug, Default)]
struct Log {
    /// By id: the key, if the event is retained, and the content.
    events: BTreeMap<u64, (Option<[u64; 2]>, u64)>,
    known: Known,
    /// Keys for which a clear has begun.
    clears: BTreeSet<[u64; 2]>,
}

impl Log {
    fn event(&mut self, id: u64, key: Option<Key>, content: u64) {
        let event = (key.map(|key| key.0), content);
        let before = self.events.insert(id, event);
        assert!(before.is_none_or(|before| before == event), "id {id} is {before:?} and {event:?}");
        if let Some(key) = key {
            know(&mut self.known, key, id);
        }
    }
}

/// A seat's holder, which uses the ring and its table.
pub(crate) struct Sitter {
    ring_hand: Hand,
    claim_hand: Hand,
    keeper: Option<Keeper>,
    /// The events that it has posted or read itself.
    known: Known,
}

impl Sitter {
    pub(crate) fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("the segment has a table")
    }
}

/// A value from the table: its id and content.
pub(crate) type Value = (u64, u64);

impl Tabled {
    /// Creates a ring of `capacity` cells in a single stretch, with `places` for keys and `seats` seats.
    pub(crate) fn new(mode: Mode, capacity: usize, places: usize, seats: u16) -> Tabled {
        let count = usize::from(seats);
        let control = |_| Some(mode);
        let stamp = mode.of_exchanged();
        let block_word = |stride: usize, is_used: fn(usize) -> bool| {
            move |word: usize| match word % stride {
                0 => Some(stamp),
                word => is_used(word).then_some(Mode::Plain),
            }
        };
        let is_hand = |word: usize| {
            [RING_HAND, SLOT_HAND, CLAIM_HAND].iter().any(|hand| (*hand..hand + HAND_WORDS).contains(&word))
                || word == seat_words::RESERVED
        };
        let seats_words =
            Words::new(count * seat_words::WORDS, |word| is_hand(word % seat_words::WORDS).then_some(mode));
        let pool = |cells: usize, stride: usize, is_used: fn(usize) -> bool| {
            let cell_words = Words::new(cells, control);
            let blocks = Words::new((cells + count) * stride, block_word(stride, is_used));
            (cell_words.clone(), blocks.clone(), Pool::new(cell_words, blocks, stride))
        };
        let (cells, event_blocks, events) = pool(capacity, EVENT_STRIDE, |word| word != HEAD_WORDS + 1);
        let (slots, slot_blocks, slot_pool) = pool(places, SLOT_STRIDE, |_| true);
        // The floor, the used and closing sets, and the keys of the first places.
        let (index, _, index_pool) = pool(1, INDEX_STRIDE, |word| {
            let keys = HEAD_WORDS + 3;
            word < keys + MOST_PLACES || (keys + PLACES..keys + PLACES + MOST_PLACES).contains(&word)
        });
        let hands = |from: usize| -> Vec<Words> {
            (0..count).map(|seat| seats_words.sub(seat * seat_words::WORDS + from, HAND_WORDS)).collect()
        };
        events.format(&hands(RING_HAND));
        slot_pool.format(&hands(SLOT_HAND));
        index_pool.format(&hands(CLAIM_HAND));
        let tail = Words::new(1, control);
        let announced = Words::new(count, control);
        let ring = Ring::new(events.clone(), tail, seats_words.clone(), capacity as u64);
        let table = Table::new(ring.clone(), slot_pool, index_pool.clone(), 0, announced.clone());
        Tabled {
            ring,
            table,
            event_pool: events,
            index_pool,
            cells,
            event_blocks,
            slots,
            slot_blocks,
            index,
            seats: seats_words,
            announced,
            log: Arc::default(),
        }
    }

    fn hand_words(&self, seat: u16, hand: usize) -> Words {
        self.seats.sub(usize::from(seat) * seat_words::WORDS + hand, HAND_WORDS)
    }

    /// Takes over `seat`, whose holder is dead or never existed.
    pub(crate) fn sit(&self, seat: u16) -> Sitter {
        let ring_hand = Hand::adopt(&self.event_pool, self.hand_words(seat, RING_HAND), seat).expect("a sound seat");
        let claim_hand = Hand::adopt(&self.index_pool, self.hand_words(seat, CLAIM_HAND), seat).expect("a sound seat");
        let keeper = Keeper::adopt(self.table.clone(), self.hand_words(seat, SLOT_HAND), seat).expect("a sound seat");
        self.ring.forget_reservation(seat);
        Sitter { ring_hand, claim_hand, keeper: Some(keeper), known: Known::new() }
    }

    // ---- posting ----

    /// B1, B2.
    pub(crate) fn begin(&self, sitter: &mut Sitter, key: Key, absent: Absent) -> Option<u32> {
        let Sitter { claim_hand, keeper, .. } = sitter;
        let keeper = keeper.as_mut().expect("the segment has a table");
        keeper.begin(claim_hand, &mut Index::default(), key, absent, || NOW).expect("a sound table")
    }

    /// B3 to B5, with the slot that `begin` returned.
    pub(crate) fn finish(&self, sitter: &mut Sitter, key: Key, slot: u32, content: u64) -> u64 {
        let seat = sitter.ring_hand.seat();
        let deadline = if content == CLEAR { TOMBSTONE } else { NEVER };
        let write = |block: Block<'_>, value: &AtomicU64| {
            block.meta().store(content, Ordering::Relaxed);
            value.store(second(content), Ordering::Relaxed);
        };
        let Sitter { ring_hand, keeper, .. } = sitter;
        let keeper = keeper.as_mut().expect("the segment has a table");
        let id = keeper
            .post(
                &self.ring,
                ring_hand,
                Retention { key, slot, deadline },
                |block, event| write(block, &event[0]),
                |block, place| {
                    let words = block.payload();
                    words[0].store(u64::from(seat) << 48, Ordering::Relaxed);
                    for (word, value) in words[NOTE_AT..].iter().zip([key.0[0], key.0[1], 0, place.bits()]) {
                        word.store(value, Ordering::Relaxed);
                    }
                    write(block, &words[VALUE_AT]);
                },
            )
            .expect("a post");
        know(&mut sitter.known, key, id);
        self.log.lock().unwrap().event(id, Some(key), content);
        id
    }

    /// Posts `content` under `key`. Returns `None` if there is no place for it.
    pub(crate) fn retain(&self, sitter: &mut Sitter, key: Key, content: u64) -> Option<u64> {
        let slot = self.begin(sitter, key, Absent::Take)?;
        Some(self.finish(sitter, key, slot, content))
    }

    /// Clears `key`. Returns `None` if it has no place.
    pub(crate) fn clear(&self, sitter: &mut Sitter, key: Key) -> Option<u64> {
        self.log.lock().unwrap().clears.insert(key.0);
        let slot = self.begin(sitter, key, Absent::Leave)?;
        Some(self.finish(sitter, key, slot, CLEAR))
    }

    /// Posts an event that is not retained.
    pub(crate) fn post(&self, sitter: &mut Sitter, content: u64) -> u64 {
        let Sitter { ring_hand, keeper, .. } = sitter;
        let write = |block: Block<'_>| {
            block.meta().store(content, Ordering::Relaxed);
            block.payload()[0].store(u64::from(u16::MAX) << 48, Ordering::Relaxed);
            // These words cannot be a note.
            for word in &block.payload()[NOTE_AT..VALUE_AT] {
                word.store(u64::MAX, Ordering::Relaxed);
            }
            block.payload()[VALUE_AT].store(second(content), Ordering::Relaxed);
        };
        let id = self.ring.post(ring_hand, keeper, write).expect("a post");
        self.log.lock().unwrap().event(id, None, content);
        id
    }

    /// Settles event `id`, if it is unsettled.
    pub(crate) fn settle(&self, sitter: &mut Sitter, id: u64) {
        if let Some(seen) = self.ring.unsettled(id) {
            sitter.keeper().settle(id, seen).expect("a sound table");
        }
    }

    /// Takes an id.
    pub(crate) fn reserve(&self, sitter: &mut Sitter) -> u64 {
        self.ring.reserve(&mut sitter.ring_hand, &mut sitter.keeper).expect("a reservation")
    }

    // ---- reading ----

    /// Returns what a reader finds at `next`. `Err` says why there is no event.
    pub(crate) fn poll(&self, sitter: &mut Sitter, next: u64) -> Result<u64, &'static str> {
        match self.ring.look(next).expect("a sound ring") {
            Look::Empty => Err("empty"),
            Look::Lapped => Err("lapped"),
            Look::Void => Err("void"),
            Look::Reserved(_) => Err("reserved"),
            Look::Published(seen) => {
                let block = self.ring.block(seen).expect("a sound cell");
                let words = block.payload();
                let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
                let (content, value) = (load(block.meta()), load(&words[VALUE_AT]));
                let is_retained = load(&words[0]) >> 48 != u64::from(u16::MAX);
                let key = is_retained.then(|| Key([load(&words[NOTE_AT]), load(&words[NOTE_AT + 1])]));
                if !self.ring.unchanged(next, seen) {
                    return Err("lapped");
                }
                // G3.
                assert_eq!(value, second(content), "id {next} is torn");
                if let Some(key) = key {
                    know(&mut sitter.known, key, next);
                }
                self.log.lock().unwrap().event(next, key, content);
                Ok(content)
            }
        }
    }

    /// Copies the event from a slot.
    fn copy(look: &SlotLook<'_>) -> SlotCopy<u64> {
        let (content, value) = (look.meta(), look.event()[0].load(Ordering::Relaxed));
        if !look.unchanged() {
            return SlotCopy::Changed;
        }
        // G13: the copy is whole.
        assert_eq!(value, second(content), "what is retained is torn");
        SlotCopy::Taken(content)
    }

    /// Returns the event retained under `key`: its id and content.
    pub(crate) fn get(&self, sitter: &mut Sitter, key: Key) -> Option<Value> {
        if self.table.is_announced(key) {
            sitter.keeper().settle_all().expect("a sound table");
        }
        let found = self.table.get(key, || NOW, Tabled::copy).expect("a sound table");
        assert!(found.is_none_or(|(held, _)| held.key == key), "another key's value was found");
        let value = found.map(|(held, content)| (held.place - 1, content));
        // G13: the event is not older than the last one that the seat knows of.
        if let Some(&known) = sitter.known.get(&key.0) {
            let may_be_gone = self.log.lock().unwrap().clears.contains(&key.0);
            let is_good = value.map_or(may_be_gone, |(id, _)| id >= known);
            assert!(is_good, "{value:?} was found by one that knows of {known}");
        }
        value
    }

    /// J2 to J4, for a reader that has read everything before `from` and continues at `to`. Returns `true` if
    /// everything it knows is void, and the events that it is handed.
    pub(crate) fn catch_up(&self, sitter: &mut Sitter, from: u64, to: u64) -> (bool, Vec<(Key, Value)>) {
        if self.table.is_any_announced() {
            sitter.keeper().settle_below(to).expect("a sound table");
        }
        let mut span = Span { from, to, reset: false };
        let copies = self.table.walk(&mut span, Tabled::copy).expect("a sound table");
        let handed = |(held, content): (Held, u64)| (held.key, (held.place - 1, content));
        (span.reset && from > 0, copies.into_iter().map(handed).collect())
    }

    /// Reads all events in the ring.
    pub(crate) fn poll_all(&self, sitter: &mut Sitter) {
        for id in 0..self.ring.newest() {
            let _ = self.poll(sitter, id);
        }
    }

    /// G14, at the end: a reader that continues at `to` was handed the last event of each key below `to`, or the key
    /// has an event at or after `to`.
    pub(crate) fn judge_handed(&self, to: u64, handed: &[(Key, Value)]) {
        assert!(handed.is_sorted_by(|(_, (a, _)), (_, (b, _))| a < b), "{handed:?} are not in order");
        let log = self.log.lock().unwrap();
        for &key in log.known.keys() {
            let of_key = |(&id, &(of, _)): (&u64, &(Option<[u64; 2]>, u64))| (of == Some(key)).then_some(id);
            let last = log.events.range(..to).filter_map(of_key).next_back();
            let was_handed = handed.iter().find(|(of, _)| of.0 == key).map(|(_, (id, _))| *id);
            let comes_live = self.at_end(Key(key)).is_some_and(|(id, _)| id >= to);
            assert!(was_handed >= last || comes_live, "{was_handed:?} of {key:?} was handed, and not {last:?}");
            assert!(was_handed.is_none_or(|id| id < to), "what comes live was handed: {was_handed:?}");
        }
    }

    // ---- the end ----

    /// Returns the last event of `key` at the end: id and content. It is in the table, or unsettled: a look-up would
    /// settle it.
    pub(crate) fn at_end(&self, key: Key) -> Option<Value> {
        let mut last = None;
        for slot in self.slots.as_slice() {
            let block = CellWord::from_bits(slot.at_rest()).block() as usize * SLOT_STRIDE;
            let word = |word: usize| self.slot_blocks.at(block + word).at_rest();
            let place = word(HEAD_WORDS + 2);
            if place > 0 && [word(HEAD_WORDS), word(HEAD_WORDS + 1)] == key.0 {
                let content = word(META);
                assert_eq!(word(HEAD_WORDS + SLOT_HEAD_WORDS), second(content), "what is retained is torn at the end");
                last = last.max(Some((place - 1, content)));
            }
        }
        for (index, cell) in self.cells.as_slice().iter().enumerate() {
            let cell = CellWord::from_bits(cell.at_rest());
            if cell.phase() != Phase::Keep {
                continue;
            }
            let block = cell.block() as usize * EVENT_STRIDE;
            let word = |word: usize| self.event_blocks.at(block + word).at_rest();
            if [word(HEAD_WORDS + NOTE_AT), word(HEAD_WORDS + NOTE_AT + 1)] == key.0 {
                let id = (cell.version() - 1) * self.cells.as_slice().len() as u64 + index as u64;
                last = last.max(Some((id, word(META))));
            }
        }
        last
    }

    /// Returns `true` if no seat announces a key.
    pub(crate) fn is_quiet(&self) -> bool {
        self.announced.as_slice().iter().all(|word| word.at_rest() == 0)
    }

    /// G15: a value in the table is at the place of its key. Returns the index's floor.
    fn judge_places(&self) -> u64 {
        let mut index = Index::default();
        self.table.snapshot(0, &mut index).expect("a sound index");
        for (slot, cell) in self.slots.as_slice().iter().enumerate() {
            let block = CellWord::from_bits(cell.at_rest()).block() as usize * SLOT_STRIDE + HEAD_WORDS;
            let [key_0, key_1, place, deadline] = [0, 1, 2, 3].map(|word| self.slot_blocks.at(block + word).at_rest());
            let is_value = place > 0 && deadline != TOMBSTONE;
            let is_at_its_place = index.used.contains(slot) && index.key(slot) == Key([key_0, key_1]);
            assert!(!is_value || is_at_its_place, "slot {slot} holds a value of a key that has not its place");
        }
        index.floor
    }

    /// The assertions after the last actor has ended: each block is in one place, and the table has the last event of
    /// each key that any seat knows of, or a later one.
    pub(crate) fn judge(&self) {
        let count = self.announced.as_slice().len();
        for (cells, hand) in [(&self.cells, RING_HAND), (&self.slots, SLOT_HAND), (&self.index, CLAIM_HAND)] {
            let named = cells.as_slice().iter().map(|cell| u64::from(CellWord::from_bits(cell.at_rest()).block()));
            let held = (0..count).map(|seat| self.hand_words(seat as u16, hand).at(seat_words::OWN).at_rest());
            let places: Vec<u64> = named.chain(held).collect();
            let distinct: BTreeSet<u64> = places.iter().copied().collect();
            assert_eq!(distinct.len(), cells.as_slice().len() + count, "blocks are in the places {places:?}");
        }
        for cell in self.cells.as_slice() {
            let cell = CellWord::from_bits(cell.at_rest());
            let seat = self.event_blocks.at(cell.block() as usize * EVENT_STRIDE + HEAD_WORDS);
            let is_announced = || self.announced.at((seat.at_rest() >> 48) as usize).at_rest() != 0;
            assert!(cell.phase() != Phase::Keep || is_announced(), "an event is unsettled and no seat announces it");
        }
        let floor = self.judge_places();
        let log = self.log.lock().unwrap();
        for (&key, &known) in &log.known {
            let kept = self.at_end(Key(key));
            // A cleared event may be gone. Then the floor is above it, and no older event is there.
            let is_kept = kept.map_or(floor > known, |(id, _)| id >= known);
            assert!(is_kept, "event {known} of {key:?} is lost: {kept:?} {log:?}");
            if let Some((id, content)) = kept
                && let Some(&event) = log.events.get(&id)
            {
                assert_eq!(event, (Some(key), content), "event {id} is kept as another one");
            }
        }
    }
}
