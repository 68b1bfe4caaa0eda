//! Rounds of processes of which some must read every event, while they are killed and stopped, some of them next to an
//! atomic instruction.
//!
//! Each process posts a run of numbers, and reads those of all others. A reader that must read has no gap, unless it
//! was cut off and told so; any other reader has a gap only where it was told that it lagged. What was refused is seen
//! by nobody, and no post waits for the dead or for one that was cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Delivery, Error, ErrorKind, Event, SegmentOptions, Subscriber, Topic, WorkerOptions};
use seqcast_testkit::process::{Child, shared_words};

use crate::disturb::{Disturbed, Victims};
use crate::rng::Rng;
use crate::sums::sums;

const PROCESSES: usize = 5;
/// The processes with lower numbers must read.
const MUST_READ: usize = 2;
const PATIENCE: Duration = Duration::from_millis(8);
/// A post that takes longer waits for a reader that does not count any more.
const LONG: Duration = Duration::from_secs(120);
const NUMBER: Topic<'_> = Topic::new("must", "number");

sums! {
    /// Sums over all rounds.
    pub struct Waited {
        pub posted,
        /// Posts that found no room.
        pub full,
        pub read,
        pub cut_off,
        pub kills,
        pub stops,
        /// Faults: gaps that a reader was not told of, laps without a cut-off, events that were refused, seen twice or
        /// out of order, and endless waits.
        pub wrong,
    }
}

/// Memory that all processes share, apart from the bus.
#[derive(Clone, Copy)]
struct Board(&'static [AtomicU64]);

#[derive(Clone, Copy)]
enum Count {
    Posted,
    Full,
    Read,
    CutOff,
    Wrong,
}

impl Board {
    const WORDS: usize = 6;

    fn count(self, what: Count) -> &'static AtomicU64 {
        &self.0[what as usize]
    }

    fn counted(self, what: Count) -> u64 {
        self.count(what).load(Ordering::Relaxed)
    }

    /// 1 when all processes must end.
    fn over(self) -> &'static AtomicU64 {
        &self.0[Board::WORDS - 1]
    }
}

/// Tortures readers that posts wait for, for `length`.
pub fn run(seed: u64, number: u64, length: Duration) -> Waited {
    let name = format!("/seqcast-torture-{}-must-{number}", std::process::id());
    let mut rng = Rng::of(&[seed, number, 0x3057]);
    // Both are small, so that there is no room most of the time, and events of several blocks are frequent.
    let options = SegmentOptions::new().capacity(1 << (5 + rng.below(4))).block_size(64).seats(2 * PROCESSES as u64);
    match options.unlink_on_drop(true).create(&name).map(|bus| conduct(&bus, rng, length)) {
        Ok(seen) => seen,
        Err(error) => {
            eprintln!("torture: must read: {error}");
            Waited { wrong: 1, ..Waited::default() }
        }
    }
}

fn conduct(bus: &Bus, mut rng: Rng, length: Duration) -> Waited {
    let board = Board(shared_words(Board::WORDS));
    let start = |number, name| {
        Child::fork(move || {
            if let Err(error) = live(bus, board, number, name) {
                panic!("{error}");
            }
        })
    };
    // Sometimes for longer than the patience of posts.
    let longest_stop = |rng: &mut Rng| if rng.one_in(4) { 4 * PATIENCE.as_micros() as u64 } else { 2000 };
    let victims = Victims { name: "must read", count: PROCESSES, start: &start, longest_stop };
    let (processes, Disturbed { kills, stops }) =
        victims.disturb(&mut rng, length, || board.counted(Count::Wrong) == 0);
    board.over().store(1, Ordering::Release);
    let ended_well = processes.into_iter().map(Child::ended_well).filter(|&well| well).count();
    Waited {
        posted: board.counted(Count::Posted),
        full: board.counted(Count::Full),
        read: board.counted(Count::Read),
        cut_off: board.counted(Count::CutOff),
        kills,
        stops,
        wrong: board.counted(Count::Wrong) + u64::from(ended_well != PROCESSES),
    }
}

fn live(bus: &Bus, board: Board, number: usize, name: u64) -> Result<(), Error> {
    let must_read = number < MUST_READ;
    let options = WorkerOptions::new().announce(false).on_report(|_| {});
    let options = if must_read {
        options.must_read(PATIENCE).wait_max(PATIENCE / 2).wait_interval(PATIENCE / 8)
    } else {
        options
    };
    let mut process = Process {
        board,
        subscriber: bus.subscribe_with(&options)?,
        rng: Rng::of(&[name]),
        must_read,
        name,
        next: 0,
        others: HashMap::new(),
        laps: 0,
        resumed: None,
    };
    while board.over().load(Ordering::Acquire) == 0 {
        for _ in 0..process.rng.below(6) {
            process.post()?;
        }
        for _ in 0..process.rng.below(24) {
            if !process.read()? {
                break;
            }
        }
        if process.rng.one_in(4096) {
            // As if it had much to do.
            std::thread::sleep(PATIENCE * 2);
        }
    }
    Ok(())
}

struct Process {
    board: Board,
    subscriber: Subscriber,
    rng: Rng,
    must_read: bool,
    /// Differs from those of all others.
    name: u64,
    /// The number that it posts next.
    next: u64,
    /// By name: the last number, and how often this process had lagged by then.
    others: HashMap<u64, (u64, u64)>,
    /// How often it has lagged.
    laps: u64,
    /// Where it read on after it was last cut off.
    resumed: Option<u64>,
}

impl Process {
    fn count(&self, what: Count) {
        self.board.count(what).fetch_add(1, Ordering::Relaxed);
    }

    fn is_wrong(&self, what: &str) {
        let kind = if self.must_read { "that must read" } else { "that may lag" };
        eprintln!("torture: must read: process {} {kind}: {what}", std::process::id());
        self.count(Count::Wrong);
    }

    fn post(&mut self) -> Result<(), Error> {
        // Some need several blocks.
        let mut payload = vec![0; if self.rng.one_in(8) { 150 } else { 16 }];
        payload[..8].copy_from_slice(&self.name.to_le_bytes());
        payload[8..16].copy_from_slice(&self.next.to_le_bytes());
        let begun = Instant::now();
        let publisher = self.subscriber.publisher();
        let posted =
            if self.rng.one_in(4) { publisher.try_post(NUMBER, &payload) } else { publisher.post(NUMBER, &payload) };
        if begun.elapsed() > LONG {
            self.is_wrong("a post has waited without end");
        }
        match posted {
            Ok(_) => {
                self.next += 1;
                self.count(Count::Posted);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Full => {
                self.count(Count::Full);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns `false` if there is nothing to read.
    fn read(&mut self) -> Result<bool, Error> {
        let found = match self.subscriber.try_next()? {
            Some(Delivery::Event(event)) => Found::of(&event),
            Some(Delivery::Lagged { first, missed, cut_off, .. }) => Found::Lagged { first, missed, cut_off },
            Some(_) => Found::Other,
            None => return Ok(false),
        };
        match found {
            Found::Number { name, number } => self.check(name, number),
            Found::Lagged { first, missed, cut_off } => {
                self.laps += 1;
                if cut_off {
                    self.count(Count::CutOff);
                    self.resumed = Some(first + missed);
                } else if self.must_read && !(missed == 1 && self.resumed.is_some()) {
                    // One id may be the end of an event in several blocks that began before a cut-off. Its poster may
                    // have stopped in the middle.
                    let resumed = self.resumed;
                    self.is_wrong(&format!("{missed} missed from {first} on, not cut off, last resumed {resumed:?}"));
                }
            }
            Found::Torn => self.is_wrong("an event is torn"),
            Found::Other => {}
        }
        Ok(true)
    }

    fn check(&mut self, name: u64, number: u64) {
        self.count(Count::Read);
        if let Some((last, laps)) = self.others.insert(name, (number, self.laps)) {
            if number <= last {
                self.is_wrong(&format!("number {number} after {last}"));
            } else if number > last + 1 && laps == self.laps {
                self.is_wrong(&format!("number {number} after {last}, and it has not lagged"));
            }
        }
    }
}

enum Found {
    Lagged {
        first: u64,
        missed: u64,
        cut_off: bool,
    },
    Number {
        name: u64,
        number: u64,
    },
    Torn,
    /// News of the library.
    Other,
}

impl Found {
    fn of(event: &Event<'_>) -> Found {
        if event.topic() != NUMBER {
            return Found::Other;
        }
        match event.bytes().as_chunks::<8>().0 {
            [name, number, rest @ ..] if rest.iter().all(|word| *word == [0; 8]) => {
                Found::Number { name: u64::from_le_bytes(*name), number: u64::from_le_bytes(*number) }
            }
            _ => Found::Torn,
        }
    }
}
