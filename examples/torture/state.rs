//! Rounds of processes that post retained events and clears and keep a table of them, while they are killed and
//! stopped, some of them next to an atomic instruction.
//!
//! A look-up is never older than any event that a process has received before. After a while, stopped processes are
//! continued and all processes pause. Then the table of each process equals the retained events of the segment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Cause, Delivery, Error, Event, Publisher, SegmentOptions, Start, Subscriber, Topic, WorkerOptions};
use seqcast_testkit::process::{Child, shared_words};

use crate::aim;
use crate::rng::{Rng, mix};
use crate::sums::sums;

const PROCESSES: usize = 5;
/// The number of keys. The first ones are never cleared.
const KEYS: u64 = 7;
const KEPT: u64 = 2;
/// Fewer places than keys, so that cleared keys lose their places.
const PLACES: u64 = 5;
const CAPACITY: u64 = 16;
/// A process that has not ended after this time hangs.
const LONG: Duration = Duration::from_secs(120);

const STATE: Topic<'_> = Topic::new("state", "of");
const OTHER: Topic<'_> = Topic::new("state", "other");

sums! {
    /// Sums over all watches.
    pub struct Kept {
        pub watches,
        pub retained,
        pub cleared,
        pub full,
        pub laps,
        pub resets,
        pub kills,
        pub stops,
        /// Faults: old, torn, missing or extra events, and processes that hang.
        pub wrong,
    }
}

/// Memory that all processes share, apart from the bus.
#[derive(Clone, Copy)]
struct Board(&'static [AtomicU64]);

impl Board {
    const OF_ALL: usize = 7 + KEYS as usize;
    const OF_EACH: usize = 3;

    fn new() -> Board {
        Board(shared_words(Board::OF_ALL + Board::OF_EACH * PROCESSES))
    }

    /// Even while the processes work, odd while they must pause.
    fn watch(self) -> &'static AtomicU64 {
        &self.0[0]
    }

    fn count(self, what: Count) -> &'static AtomicU64 {
        &self.0[1 + what as usize]
    }

    /// The greatest id of an event of `key` that any process has received, plus one.
    fn known(self, key: u64) -> &'static AtomicU64 {
        &self.0[7 + key as usize]
    }

    fn of(self, process: usize) -> &'static [AtomicU64] {
        &self.0[Board::OF_ALL + Board::OF_EACH * process..][..Board::OF_EACH]
    }

    /// 1 once the process has joined.
    fn joined(self, process: usize) -> &'static AtomicU64 {
        &self.of(process)[0]
    }

    /// The watch in which it pauses, and its table then.
    fn still(self, process: usize) -> (&'static AtomicU64, &'static AtomicU64) {
        (&self.of(process)[1], &self.of(process)[2])
    }
}

#[derive(Clone, Copy)]
enum Count {
    Retained,
    Cleared,
    Full,
    Laps,
    Resets,
    Wrong,
}

struct Watcher<'a> {
    bus: &'a Bus,
    board: Board,
    publisher: Publisher,
    processes: Vec<Option<Child>>,
    stopped: Vec<bool>,
    rng: Rng,
    lives: u64,
    seen: Kept,
}

/// Watches for `length`.
pub fn run(seed: u64, number: u64, length: Duration) -> Kept {
    let name = format!("/seqcast-torture-{}-state-{number}", std::process::id());
    let options = SegmentOptions::new().capacity(CAPACITY).block_size(64).seats(2 * PROCESSES as u64).claims(4);
    let options = options.retained(PLACES).retained_size(500).unlink_on_drop(true);
    match options.create(&name).and_then(|bus| watch(&bus, Rng::of(&[seed, number, 0x57a7]), length)) {
        Ok(seen) => seen,
        Err(error) => {
            eprintln!("torture: {error}");
            Kept { wrong: 1, ..Kept::default() }
        }
    }
}

fn watch(bus: &Bus, rng: Rng, length: Duration) -> Result<Kept, Error> {
    let mut watcher = Watcher {
        bus,
        board: Board::new(),
        publisher: bus.publisher_with(&quiet())?,
        processes: (0..PROCESSES).map(|_| None).collect(),
        stopped: vec![false; PROCESSES],
        rng,
        lives: 0,
        seen: Kept::default(),
    };
    let end = Instant::now() + length;
    while Instant::now() < end && watcher.seen.wrong == 0 && !crate::conductor::is_interrupted() {
        watcher.watch()?;
    }
    let count = |what| watcher.board.count(what).load(Ordering::Relaxed);
    let mut seen = Kept {
        retained: count(Count::Retained),
        cleared: count(Count::Cleared),
        full: count(Count::Full),
        laps: count(Count::Laps),
        resets: count(Count::Resets),
        ..watcher.seen
    };
    drop(watcher);
    // The next join takes over the seats of killed processes.
    drop((0..2 * PROCESSES).map(|_| bus.publisher_with(&quiet())).collect::<Result<Vec<_>, _>>()?);
    if !bus.audit()?.is_clean() || bus.stats()?.retaining > 0 {
        eprintln!("torture: state: {:?}, {} announced", bus.audit()?, bus.stats()?.retaining);
        seen.wrong += 1;
    }
    Ok(seen)
}

impl Watcher<'_> {
    fn watch(&mut self) -> Result<(), Error> {
        for process in 0..PROCESSES {
            if self.processes[process].is_none() {
                self.start(process);
            }
        }
        let work = 2 * self.seen.watches + 2;
        self.board.watch().store(work, Ordering::Release);
        for _ in 0..self.rng.below(6) {
            std::thread::sleep(Duration::from_micros(self.rng.below(1500)));
            self.disturb();
        }
        std::thread::sleep(Duration::from_micros(self.rng.below(1500)));
        for process in 0..PROCESSES {
            if std::mem::take(&mut self.stopped[process])
                && let Some(child) = &self.processes[process]
            {
                child.go_on();
            }
        }
        // Twice: the last posts are made in the first pass.
        for still in [work + 1, work + 3] {
            self.board.watch().store(still, Ordering::Release);
            for process in 0..PROCESSES {
                let (reached, _) = self.board.still(process);
                if self.processes[process].is_some() {
                    self.eventually(|| reached.load(Ordering::Acquire) == still, "a process hangs");
                }
            }
        }
        let retained = self.publisher.retained()?;
        let expected = fingerprint(retained.iter().map(|event| (key_of(event.key()), event.id())));
        for process in 0..PROCESSES {
            let is_there = self.processes[process].is_some();
            if is_there && self.board.still(process).1.load(Ordering::Relaxed) != expected {
                self.is_wrong(&format!("the table of process {process} is not what is retained"));
            }
        }
        self.seen.watches += 2;
        self.seen.wrong += self.board.count(Count::Wrong).load(Ordering::Relaxed);
        Ok(())
    }

    fn start(&mut self, process: usize) {
        let (board, bus) = (self.board, self.bus);
        board.joined(process).store(0, Ordering::Relaxed);
        self.lives += 1;
        let rng = Rng::of(&[self.rng.next(), self.lives]);
        let child = Child::fork(move || {
            let ended = live(bus, board, process, rng);
            panic!("{ended:?}");
        });
        self.processes[process] = Some(child);
        self.eventually(|| board.joined(process).load(Ordering::Acquire) == 1, "a process does not join");
    }

    /// Kills or stops a random process.
    fn disturb(&mut self) {
        let process = self.rng.below(PROCESSES as u64) as usize;
        let is_aimed = self.rng.one_in(3) && !self.stopped[process];
        let is_kill = self.rng.one_in(2);
        let Some(child) = self.processes[process].take() else { return };
        let held = is_aimed.then(|| aim::hold(&child, &mut self.rng));
        if let Some(Err(status)) = held {
            child.buried();
            return self.is_wrong(&format!("process {process} has ended: {status}"));
        }
        if is_kill {
            child.kill();
            self.seen.kills += 1;
            self.stopped[process] = false;
            return;
        }
        match held {
            // When it is released, it stops at once.
            Some(Ok(held)) => held.detach(libc::SIGSTOP),
            _ => child.signal(libc::SIGSTOP),
        }
        self.seen.stops += 1;
        self.stopped[process] = true;
        self.processes[process] = Some(child);
    }

    fn is_wrong(&mut self, what: &str) {
        eprintln!("torture: state: {what}, in watch {}", self.seen.watches + 1);
        self.seen.wrong += 1;
    }

    fn eventually(&mut self, is_so: impl Fn() -> bool, otherwise: &str) {
        let begin = Instant::now();
        while !is_so() {
            if begin.elapsed() > LONG {
                return self.is_wrong(otherwise);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false)
}

/// By key: the id of the event that is retained.
type Table = BTreeMap<u64, u64>;

fn fingerprint(entries: impl Iterator<Item = (u64, u64)>) -> u64 {
    entries.fold(1, |sum, (key, id)| sum ^ mix(mix(key) ^ id))
}

fn key_of(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

/// Returns a value of `len` words that identifies itself.
fn value(key: u64, seed: u64, len: u64) -> Vec<u8> {
    [key, seed].into_iter().chain((2..len).map(|word| mix(key ^ seed ^ word))).flat_map(u64::to_le_bytes).collect()
}

fn is_whole(key: u64, bytes: &[u8]) -> bool {
    let seed = bytes.get(8..16).map_or(0, key_of);
    bytes.len() >= 16 && value(key, seed, bytes.len() as u64 / 8) == bytes
}

struct Process {
    board: Board,
    number: usize,
    subscriber: Subscriber,
    table: Table,
    rng: Rng,
}

fn live(bus: &Bus, board: Board, number: usize, rng: Rng) -> Result<(), Error> {
    let subscriber = bus.subscribe_with(&quiet().start(Start::Retained).resync(true))?;
    board.joined(number).store(1, Ordering::Release);
    let mut process = Process { board, number, subscriber, table: Table::new(), rng };
    let mut answered = 0;
    loop {
        let watch = board.watch().load(Ordering::Acquire);
        if watch.is_multiple_of(2) {
            process.act()?;
        } else if watch == answered {
            std::thread::sleep(Duration::from_micros(50));
        } else {
            process.read()?;
            let (reached, has) = board.still(number);
            has.store(fingerprint(process.table.iter().map(|(&key, &id)| (key, id))), Ordering::Relaxed);
            reached.store(watch, Ordering::Release);
            answered = watch;
        }
    }
}

impl Process {
    fn count(&self, what: Count) {
        self.board.count(what).fetch_add(1, Ordering::Relaxed);
    }

    fn is_wrong(&self, what: &str) {
        eprintln!("torture: state: process {}: {what}", self.number);
        self.count(Count::Wrong);
    }

    fn act(&mut self) -> Result<(), Error> {
        let key = self.rng.below(KEYS);
        let bytes = key.to_le_bytes();
        match self.rng.below(12) {
            0..5 => {
                // Up to as large as a retained event can be in a ring of this capacity.
                let value = value(key, self.rng.next(), 2 + self.rng.below(39));
                let event = self.subscriber.publisher().event(STATE).retain_key(&bytes);
                match event.post(value) {
                    Ok(id) => {
                        self.know(key, id);
                        self.count(Count::Retained);
                    }
                    Err(error) if matches!(error.cause(), Cause::RetainedFull { .. }) => self.count(Count::Full),
                    Err(error) => return Err(error),
                }
            }
            5 | 6 if key >= KEPT => {
                if let Some(id) = self.subscriber.publisher().event(STATE).retain_key(&bytes).clear()? {
                    self.know(key, id);
                    self.count(Count::Cleared);
                }
            }
            7 => {
                self.subscriber.publisher().post(OTHER, "")?;
            }
            8 | 9 => self.look_up(key)?,
            _ => self.read()?,
        }
        Ok(())
    }

    /// Tells the other processes that it has received an event.
    fn know(&self, key: u64, id: u64) {
        if key < KEYS {
            self.board.known(key).fetch_max(id + 1, Ordering::AcqRel);
        }
    }

    /// G13: a look-up is not older than any event that a process has received.
    fn look_up(&mut self, key: u64) -> Result<(), Error> {
        let before = self.board.known(key).load(Ordering::Acquire);
        let found = self.subscriber.publisher().get_key(STATE, key.to_le_bytes())?;
        match &found {
            Some(found) if found.id() + 1 < before => {
                self.is_wrong(&format!("key {key}: found {}, and {} is known", found.id(), before - 1));
            }
            Some(found) if !is_whole(key, found.bytes()) => self.is_wrong(&format!("key {key}: torn")),
            None if key < KEPT && before > 0 => {
                self.is_wrong(&format!("key {key}: nothing, and {} is known", before - 1))
            }
            _ => {}
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Error> {
        loop {
            let told = match self.subscriber.try_next()? {
                None => return Ok(()),
                Some(Delivery::Event(event)) if event.topic() == STATE => Told::Set(Change::of(&event)),
                Some(Delivery::Cleared(event)) => Told::Gone(Change::of(&event)),
                Some(Delivery::Lagged { .. }) => Told::Lagged,
                Some(Delivery::Reset { .. }) => Told::Void,
                Some(Delivery::Event(_) | Delivery::UpToDate { .. }) => continue,
                Some(other) => Told::Odd(format!("{other:?}")),
            };
            self.take(told);
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Set(Change { key, id, is_whole }) => {
                if !is_whole {
                    self.is_wrong(&format!("key {key}: torn at id {id}"));
                }
                if self.table.insert(key, id).is_some_and(|before| before >= id) {
                    self.is_wrong(&format!("key {key}: id {id} comes late"));
                }
                self.know(key, id);
            }
            Told::Gone(Change { key, id, .. }) => {
                if self.table.remove(&key).is_some_and(|before| before > id) {
                    self.is_wrong(&format!("key {key}: the clear {id} comes late"));
                }
                self.know(key, id);
            }
            Told::Lagged => self.count(Count::Laps),
            Told::Void => {
                self.table.clear();
                self.count(Count::Resets);
            }
            Told::Odd(what) => self.is_wrong(&what),
        }
    }
}

/// A delivery, without the borrow of its subscriber.
enum Told {
    Set(Change),
    Gone(Change),
    Lagged,
    Void,
    Odd(String),
}

struct Change {
    key: u64,
    id: u64,
    is_whole: bool,
}

impl Change {
    fn of(event: &Event<'_>) -> Change {
        let key = event.retained_key().map_or(u64::MAX, key_of);
        Change { key, id: event.id().unwrap_or(0), is_whole: is_whole(key, event.bytes()) }
    }
}
