//! A relay that is killed before each of its writes, and its successor before each of its own: every event of the
//! stream is in the ring once, in the order of its host.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use crate::interrupt::interrupted_at;
use crate::life::{about_to_write, killed_at};
use crate::protocol::relay::{Admission, Intent, ORIGIN_WORDS, RELAY_WORDS, RelayWords, Witness};
use crate::sync::{Mode, Words};

const A: u64 = 1;
const B: u64 = 2;
/// A host that was forgotten. Its events begin again.
const C: u64 = 3;

/// An event of the stream: its host, its id there, and whether this host wants it.
type Event = (u64, u64, bool);

/// The stream, in batches. The position moves after each.
const STREAM: &[&[Event]] = &[
    &[(A, 7, true), (A, 8, false), (B, 0, true)],
    &[(A, 9, true), (C, 1, true), (B, 1, true)],
    &[(B, 1, true), (A, 12, true)],
];

#[derive(Clone)]
struct World {
    words: RelayWords,
    ring: Rc<RefCell<Vec<(u64, u64)>>>,
}

impl World {
    fn new() -> World {
        let words = Words::new(RELAY_WORDS, |_| Some(Mode::Plain));
        let table = Words::new(3 * ORIGIN_WORDS, |_| Some(Mode::Plain));
        let world = World { words: RelayWords::new(words, table), ring: Rc::default() };
        world.pass(C, 5);
        assert!(world.words.forget(C));
        world
    }

    fn pass(&self, origin: u64, id: u64) {
        if let Admission::New(entry) = self.words.admit(origin, id, 0) {
            self.words.pass(entry);
        }
    }

    fn post(&self, origin: u64, id: u64) {
        let end = self.ring.borrow().len() as u64;
        let post = || {
            // The exchange that publishes it.
            about_to_write();
            self.ring.borrow_mut().push((origin, id));
            Ok::<(), Infallible>(())
        };
        match self.words.admit(origin, id, 0) {
            Admission::New(entry) => _ = self.words.once(entry, end, post),
            Admission::Seen => {}
            Admission::Full => panic!("three hosts have three places"),
        }
    }

    fn witness(&self, intent: Intent) -> Result<Witness, Infallible> {
        let ring = self.ring.borrow();
        let is_there = ring[intent.end as usize..].contains(&(intent.origin, intent.id));
        Ok(if is_there { Witness::Posted } else { Witness::NotPosted })
    }

    /// How many batches were read.
    fn position(&self) -> u64 {
        match self.words.position() {
            None => 0,
            Some([batches, second, third, fourth]) => {
                assert_eq!([second, third, fourth], [batches + 10, batches + 20, batches + 30], "a torn position");
                batches
            }
        }
    }

    fn set_position(&self, batches: u64) {
        self.words.set_position(Some([batches, batches + 10, batches + 20, batches + 30]));
    }

    /// The life of a relay: it recovers, and reads the stream from its position on.
    fn relay(&self) {
        let Ok(_) = self.words.recover(|intent| self.witness(intent));
        assert_eq!(self.words.intent(), None, "an intent that is over is looked for again");
        for (batch, events) in STREAM.iter().enumerate().skip(self.position() as usize) {
            for &(origin, id, is_wanted) in *events {
                if is_wanted { self.post(origin, id) } else { self.pass(origin, id) }
            }
            self.set_position(batch as u64 + 1);
        }
    }

    fn judge(&self) {
        let mut expected: Vec<(u64, u64)> = Vec::new();
        for &(origin, id, is_wanted) in STREAM.iter().copied().flatten() {
            if is_wanted && !expected.contains(&(origin, id)) {
                expected.push((origin, id));
            }
        }
        assert_eq!(*self.ring.borrow(), expected);
        assert_eq!(self.position(), STREAM.len() as u64);
        for (origin, last) in [(A, 12), (B, 1), (C, 1)] {
            let place = self.words.place_of(origin, 0).expect("it was posted");
            assert_eq!(self.words.entry(place), (origin, last + 1));
        }
    }
}

#[test]
fn a_relay_and_its_successor_are_killed() {
    let mut kills = 0;
    for first in 0.. {
        let mut was_killed = false;
        for second in 0.. {
            let world = World::new();
            was_killed = killed_at(first, || world.relay()).is_none();
            let again = killed_at(second, || world.relay()).is_none();
            world.relay();
            world.judge();
            kills += 1;
            if !again {
                break;
            }
        }
        if !was_killed {
            break;
        }
    }
    assert!(kills > 1_000, "only {kills} lives were tried");
}

#[test]
fn an_inspector_reads_the_position_while_the_relay_moves_it() {
    for moves in 1..=4 {
        for access in 0.. {
            let world = World::new();
            world.set_position(1);
            let other = world.clone();
            let interruption = move || (2..2 + moves).for_each(|batches| other.set_position(batches));
            let read = interrupted_at(access, interruption, || world.position());
            let (read, is_last) = match read {
                Ok(read) => (read, false),
                Err(read) => (read, true),
            };
            assert!((1..=1 + moves).contains(&read), "{read}");
            if is_last {
                break;
            }
        }
    }
}
