//! A tiny segment, its users, and the oracle that knows the guarantees.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::log::Log;
use crate::protocol::pool::{Block, HEAD_WORDS, Hand, Pool};
use crate::protocol::ring::{Fate, Look, NoTable, Ring};
use crate::protocol::seat_words::{self, HAND_WORDS};
use crate::protocol::word::{CellWord, Phase};
use crate::sync::{Mode, Ordering, Words};

/// The word of the pool that describes a payload.
const META: usize = HEAD_WORDS - 1;
/// A payload is one word. Together with the block's meta word it makes two words that must belong together.
const STRIDE: usize = HEAD_WORDS + 1;

/// A segment with a ring, and a log of what happened to it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) ring: Ring,
    pool: Pool,
    seats: Words,
    count: u16,
    cells: Words,
    blocks: Words,
    pub(crate) log: Arc<Mutex<Log>>,
}

/// The form of a content in a block: two words, each of which follows from the other.
fn pair(content: u64) -> (u64, u64) {
    (content, content.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn write(content: u64) -> impl FnOnce(Block<'_>) {
    move |block| {
        let (meta, payload) = pair(content);
        block.meta().store(meta, Ordering::Relaxed);
        block.payload()[0].store(payload, Ordering::Relaxed);
    }
}

impl World {
    /// Creates a formatted segment with `capacity` cells in one stretch, so that the tail lags as much as it can, and
    /// one hand for each of `seats` seats.
    pub(crate) fn new(mode: Mode, capacity: usize, seats: u16) -> World {
        World::over(mode, capacity, capacity as u64, seats, Words::new(1, |_| Some(mode)))
    }

    /// Creates the same with a `stretch` of this many ids, and a `tail` that others read too.
    pub(crate) fn over(mode: Mode, capacity: usize, stretch: u64, seats: u16, tail: Words) -> World {
        let control = |_| Some(mode);
        // Only the stamp of a block is contended; its other words are plain, see `sync`.
        let block_word =
            |word: usize| Some(if word.is_multiple_of(STRIDE) { mode.of_exchanged() } else { Mode::Plain });
        let seat_word = |word: usize| (word % seat_words::WORDS <= seat_words::RESERVED).then_some(mode);
        let cells = Words::new(capacity, control);
        let blocks = Words::new((capacity + usize::from(seats)) * STRIDE, block_word);
        let words = Words::new(usize::from(seats) * seat_words::WORDS, seat_word);
        let pool = Pool::new(cells.clone(), blocks.clone(), STRIDE);
        let world = World {
            ring: Ring::new(pool.clone(), tail, words.clone(), stretch),
            pool,
            seats: words,
            count: seats,
            cells,
            blocks,
            log: Arc::default(),
        };
        let hands: Vec<Words> = (0..seats).map(|seat| world.hand_words(seat)).collect();
        world.pool.format(&hands);
        world
    }

    fn hand_words(&self, seat: u16) -> Words {
        self.seats.sub(usize::from(seat) * seat_words::WORDS + seat_words::RING_HAND, HAND_WORDS)
    }

    /// Adopts `seat`, whose holder is dead or never existed.
    pub(crate) fn adopt(&self, seat: u16) -> Hand {
        let hand = Hand::adopt(&self.pool, self.hand_words(seat), seat).expect("a sound seat");
        self.ring.forget_reservation(seat);
        hand
    }

    pub(crate) fn post(&self, hand: &mut Hand, content: u64) -> u64 {
        let id = self.ring.post(hand, &mut NoTable, write(content)).expect("a post");
        self.log.lock().unwrap().posted(id, content);
        id
    }

    /// Commits `content` as the reserved `id`.
    pub(crate) fn commit(&self, hand: &mut Hand, id: u64, content: u64) -> Fate {
        let fate = self.ring.commit(hand, id, write(content)).expect("a commit");
        let mut log = self.log.lock().unwrap();
        match fate {
            Fate::Decided => log.posted(id, content),
            Fate::TooLate => log.never(content),
        }
        fate
    }

    /// The reader's step at `next`, as on the bus.
    pub(crate) fn poll(&self, next: u64) -> Poll {
        match self.ring.look(next).expect("a sound ring") {
            Look::Empty => Poll::Empty,
            Look::Lapped => {
                assert!(self.ring.confirms_lap(next), "the event id denies that {next} was lapped");
                Poll::Lapped
            }
            Look::Void => {
                self.log.lock().unwrap().void(next);
                Poll::Void
            }
            Look::Reserved(seen) => Poll::Reserved(seen),
            Look::Published(seen) => self.copy(next, seen),
        }
    }

    /// The first look of that step, after which a reader looks again if it finds no event.
    pub(crate) fn take(&self, next: u64) -> Option<Poll> {
        self.ring.published(next).map(|seen| self.copy(next, seen))
    }

    fn copy(&self, id: u64, seen: CellWord) -> Poll {
        let block = self.ring.block(seen).expect("a sound cell");
        let meta = block.meta().load(Ordering::Relaxed);
        let payload = block.payload()[0].load(Ordering::Relaxed);
        if !self.ring.unchanged(id, seen) {
            return Poll::Lapped;
        }
        // G3.
        assert_eq!((meta, payload), pair(meta), "id {id} is torn");
        self.log.lock().unwrap().read(id, meta);
        Poll::Event(meta)
    }

    /// Polls from `next` on, at most `polls` times, until there is nothing more. Returns what it found: the events'
    /// contents, `void`, `lapped`, `reserved`.
    pub(crate) fn follow(&self, next: u64, polls: u64) -> Vec<String> {
        let mut story = vec![];
        for id in next..next + polls {
            match self.poll(id) {
                Poll::Event(content) => story.push(content.to_string()),
                Poll::Void => story.push("void".to_owned()),
                Poll::Empty => break,
                Poll::Lapped => {
                    story.push("lapped".to_owned());
                    break;
                }
                Poll::Reserved(_) => {
                    story.push("reserved".to_owned());
                    break;
                }
            }
        }
        story
    }

    /// Checks the final state: each block is in one place, and each cell agrees with the reports about its id. Every
    /// seat has a holder: if one died, its seat was adopted.
    pub(crate) fn judge(&self) {
        let mut log = self.log.lock().unwrap();
        let mut places = BTreeSet::new();
        let capacity = self.cells.as_slice().len();
        for (index, cell) in self.cells.as_slice().iter().enumerate() {
            let cell = CellWord::from_bits(cell.at_rest());
            assert!(places.insert(u64::from(cell.block())), "cell {index} names a block that another one names");
            let Some(lap) = cell.version().checked_sub(1) else { continue };
            let id = lap * capacity as u64 + index as u64;
            match cell.phase() {
                Phase::Published => {
                    let block = self.blocks.sub(cell.block() as usize * STRIDE, STRIDE);
                    let (meta, payload) = (block.at(META).at_rest(), block.at(HEAD_WORDS).at_rest());
                    assert_eq!((meta, payload), pair(meta), "id {id} is torn at the end");
                    log.event(id, meta);
                }
                Phase::Void => log.void(id),
                Phase::Reserved => assert!(!log.posted.contains_key(&id) && !log.read.contains_key(&id)),
                Phase::Keep => panic!("nothing is retained here"),
            }
        }
        for seat in 0..self.count {
            let own = self.hand_words(seat).at(seat_words::OWN).at_rest();
            assert!(places.insert(own), "block {own} of seat {seat} is somewhere else too");
        }
        assert_eq!(places.len(), capacity + usize::from(self.count), "a block was lost");
    }
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    Empty,
    Event(u64),
    Void,
    Reserved(CellWord),
    Lapped,
}
