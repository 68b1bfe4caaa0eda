//! A tiny segment with a large ring beside its ring, its users, and the assertions at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::log::Log;
use crate::protocol::large::{LargeHand, LargeRead, LargeRing};
use crate::protocol::pool::{Block, HEAD_WORDS, Hand, Pool};
use crate::protocol::ring::{Fate, Look, NoTable, Ring, Stop};
use crate::protocol::seat_words::{self, HAND_WORDS, LARGE_HAND, RING_HAND};
use crate::protocol::word::CellWord;
use crate::sync::{Mode, Ordering, Words};

/// An event has one word: the large id that it names. A payload has one word, too, which follows from its content. The
/// word of a block that describes its payload is the content.
const STRIDE: usize = HEAD_WORDS + 1;

/// The word of a payload.
fn word_of(content: u64) -> u64 {
    content.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn write(content: u64, word: u64) -> impl FnOnce(Block<'_>) {
    move |block| {
        block.meta().store(content, Ordering::Relaxed);
        block.payload()[0].store(word, Ordering::Relaxed);
    }
}

fn copy(block: Block<'_>) -> (u64, u64) {
    (block.meta().load(Ordering::Relaxed), block.payload()[0].load(Ordering::Relaxed))
}

/// The cells and blocks of one ring.
#[derive(Clone)]
struct Half {
    pool: Pool,
    cells: Words,
    /// The first word of its hand in a seat.
    hand: usize,
    tail: Words,
}

/// A segment with two rings, and a log of what happened to its events.
#[derive(Clone)]
pub(crate) struct Doubled {
    pub(crate) ring: Ring,
    large: LargeRing,
    halves: [Half; 2],
    seats: Words,
    count: u16,
    log: Arc<Mutex<Log>>,
}

/// A seat's holder.
pub(crate) struct Poster {
    pub(crate) hand: Hand,
    large: LargeHand,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Empty,
    Event(u64),
    /// The payload was overwritten.
    Missed,
    Reserved,
    Void,
    Lapped,
}

impl Doubled {
    /// Creates a segment whose rings have so many cells, in one stretch each, and one hand in each for every seat.
    pub(crate) fn new(mode: Mode, cells: usize, large_cells: usize, seats: u16) -> Doubled {
        let seat_word = |word: usize| {
            let word = word % seat_words::WORDS;
            let is_hand = [RING_HAND, LARGE_HAND].iter().any(|&hand| (hand..hand + HAND_WORDS).contains(&word));
            (is_hand || word == seat_words::RESERVED).then_some(mode)
        };
        let words = Words::new(usize::from(seats) * seat_words::WORDS, seat_word);
        let half = |cells: usize, hand: usize| {
            // As in `World`.
            let block_word =
                |word: usize| Some(if word.is_multiple_of(STRIDE) { mode.of_exchanged() } else { Mode::Plain });
            let blocks = Words::new((cells + usize::from(seats)) * STRIDE, block_word);
            let cells = Words::new(cells, |_| Some(mode));
            let pool = Pool::new(cells.clone(), blocks, STRIDE);
            Half { pool, cells, hand, tail: Words::new(1, |_| Some(mode)) }
        };
        let halves = [half(cells, RING_HAND), half(large_cells, LARGE_HAND)];
        let [events, payloads] = halves.clone();
        let doubled = Doubled {
            ring: Ring::new(events.pool, events.tail, words.clone(), cells as u64),
            large: LargeRing::new(payloads.pool, payloads.tail, words.clone(), large_cells as u64),
            halves,
            seats: words,
            count: seats,
            log: Arc::default(),
        };
        for half in &doubled.halves {
            let hands: Vec<Words> = (0..seats).map(|seat| doubled.hand_words(half, seat)).collect();
            half.pool.format(&hands);
        }
        doubled
    }

    fn hand_words(&self, half: &Half, seat: u16) -> Words {
        self.seats.sub(usize::from(seat) * seat_words::WORDS + half.hand, HAND_WORDS)
    }

    /// Adopts `seat`, whose holder is dead or never existed.
    pub(crate) fn sit(&self, seat: u16) -> Poster {
        let [events, payloads] = &self.halves;
        let hand = Hand::adopt(&events.pool, self.hand_words(events, seat), seat).expect("a sound seat");
        let large = LargeHand::adopt(self.large.clone(), self.hand_words(payloads, seat), seat).expect("a sound seat");
        self.ring.forget_reservation(seat);
        Poster { hand, large }
    }

    /// Posts an event with a large payload.
    pub(crate) fn post(&self, poster: &mut Poster, content: u64) -> u64 {
        let Poster { hand, large } = poster;
        let posted = large
            .post(write(content, word_of(content)), |large| self.ring.post(hand, &mut NoTable, write(content, large)));
        let id = posted.expect("a post");
        self.log.lock().unwrap().posted(id, content);
        id
    }

    /// Publishes a payload whose event finds no room, and takes it back. Returns `false` if it was overwritten.
    pub(crate) fn recall(&self, poster: &mut Poster, content: u64) -> bool {
        let mut named = None;
        let stopped = poster.large.post(write(content, word_of(content)), |large| {
            named = Some(large);
            Err::<u64, _>(Stop::NoRoom { id: 0 })
        });
        assert!(matches!(stopped, Err(Stop::NoRoom { .. })), "{stopped:?}");
        match poster.large.recall(named.expect("a large id"), copy).expect("a sound large ring") {
            LargeRead::Whole(payload) => {
                assert_eq!(payload, (content, word_of(content)), "another payload was taken back");
                true
            }
            LargeRead::Overwritten => false,
            LargeRead::Absent => panic!("the payload is not there"),
        }
    }

    /// Commits an event with a large payload at the reserved `id`.
    pub(crate) fn commit(&self, poster: &mut Poster, id: u64, content: u64) -> Fate {
        let Poster { hand, large } = poster;
        let fate = large
            .post(write(content, word_of(content)), |large| Ok(self.ring.commit(hand, id, write(content, large))?))
            .expect("a commit");
        let mut log = self.log.lock().unwrap();
        match fate {
            Fate::Decided => log.posted(id, content),
            Fate::TooLate => log.never(content),
        }
        fate
    }

    /// The reader's step at `id`, as on the bus.
    pub(crate) fn poll(&self, id: u64) -> Found {
        let seen = match self.ring.look(id).expect("a sound ring") {
            Look::Empty => return Found::Empty,
            Look::Lapped => return Found::Lapped,
            Look::Void => {
                self.log.lock().unwrap().void(id);
                return Found::Void;
            }
            Look::Reserved(_) => return Found::Reserved,
            Look::Published(seen) => seen,
        };
        let (content, large) = copy(self.ring.block(seen).expect("a sound cell"));
        if !self.ring.unchanged(id, seen) {
            return Found::Lapped;
        }
        match self.large.read(large, copy).expect("a sound large ring") {
            LargeRead::Whole(payload) => {
                // G3, and that the payload is the one of this event.
                assert_eq!(payload, (content, word_of(content)), "id {id} has another payload");
                self.log.lock().unwrap().read(id, content);
                Found::Event(content)
            }
            LargeRead::Overwritten => Found::Missed,
            LargeRead::Absent => panic!("id {id} names a payload that is not there"),
        }
    }

    /// Polls from id 0 on, at most `polls` times, until there is nothing more. Returns what it found.
    pub(crate) fn follow(&self, polls: u64) -> String {
        let mut story = vec![];
        for id in 0..polls {
            story.push(match self.poll(id) {
                Found::Event(content) => content.to_string(),
                Found::Missed => "missed".to_owned(),
                Found::Lapped => "lapped".to_owned(),
                Found::Empty => break,
                other => panic!("{other:?}"),
            });
        }
        story.join(" ")
    }

    /// Returns `true` if an actor posted or read `content`.
    pub(crate) fn is_known(&self, content: u64) -> bool {
        let log = self.log.lock().unwrap();
        log.posted.values().chain(log.read.values()).any(|&other| other == content)
    }

    /// Checks the final state: each block of both rings is in one place. Every seat has a holder.
    pub(crate) fn judge(&self) {
        for half in &self.halves {
            let named = half.cells.as_slice().iter().map(|cell| u64::from(CellWord::from_bits(cell.at_rest()).block()));
            let held = (0..self.count).map(|seat| self.hand_words(half, seat).at(seat_words::OWN).at_rest());
            let places: Vec<u64> = named.chain(held).collect();
            let distinct: BTreeSet<u64> = places.iter().copied().collect();
            let count = half.cells.as_slice().len() + usize::from(self.count);
            assert_eq!(distinct.len(), count, "blocks are in the places {places:?}");
        }
    }
}
