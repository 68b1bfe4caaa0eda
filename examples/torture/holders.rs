//! Rounds of processes that claim jobs until they end, renew and complete them, while they are killed and stopped, some
//! of them next to an atomic instruction.
//!
//! The winner of a job writes its name on the board. If another name is there, its process must be dead: no two hold a
//! job at a time, also if one of them is stopped. After a kill the job is won by another, without its ttl, which is an
//! hour. What was completed is won by nobody. At the end everything that is not completed is free.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Claim, ClaimOptions, Claimed, Error, ErrorKind, Publisher, SegmentOptions, WorkerOptions};
use seqcast_testkit::process::{Child, shared_words};

use crate::disturb::{Disturbed, Victims};
use crate::rng::Rng;
use crate::sums::sums;

const PROCESSES: usize = 5;
/// Jobs at a time. When one is completed, the next one is in its place.
const JOBS: u64 = 4;
/// What is completed is held until the end of the round, so there must be room for it.
const MOST_COMPLETED: u64 = 500;
const HOUR: Duration = Duration::from_secs(3600);
/// A job that nobody wins for so long after its holder was killed is not taken over.
const LONG: Duration = Duration::from_secs(120);

sums! {
    /// Sums over all rounds.
    pub struct Held {
        pub won,
        pub renewed,
        pub completed,
        pub taken_over,
        pub kills,
        pub stops,
        /// Faults: two holders, jobs that are held for the dead or done twice, claims that are lost by the living.
        pub wrong,
    }
}

/// Memory that all processes share, apart from the bus.
#[derive(Clone, Copy)]
struct Board(&'static [AtomicU64]);

impl Board {
    const OF_ALL: usize = 6;

    fn new() -> Board {
        Board(shared_words(Board::OF_ALL + 2 * JOBS as usize))
    }

    fn count(self, what: Count) -> &'static AtomicU64 {
        &self.0[what as usize]
    }

    fn counted(self, what: Count) -> u64 {
        self.count(what).load(Ordering::Relaxed)
    }

    /// 1 when all processes must end.
    fn over(self) -> &'static AtomicU64 {
        &self.0[Board::OF_ALL - 1]
    }

    /// The job in this place that a process has, and the process: see [`name`]. 0 if there is none.
    fn holder(self, place: u64) -> &'static AtomicU64 {
        &self.0[Board::OF_ALL + 2 * place as usize]
    }

    /// How many jobs of this place were completed: the number of the current one.
    fn done(self, place: u64) -> &'static AtomicU64 {
        &self.0[Board::OF_ALL + 2 * place as usize + 1]
    }
}

#[derive(Clone, Copy)]
enum Count {
    Won,
    Renewed,
    Completed,
    TakenOver,
    Wrong,
}

/// Tortures holders of claims for `length`.
pub fn run(seed: u64, number: u64, length: Duration) -> Held {
    let name = format!("/seqcast-torture-{}-holders-{number}", std::process::id());
    let options = SegmentOptions::new().capacity(16).block_size(64).seats(2 * PROCESSES as u64).claims(8192);
    let options = options.unlink_on_drop(true);
    match options.create(&name).and_then(|bus| conduct(&bus, Rng::of(&[seed, number, 0x401d]), length)) {
        Ok(seen) => seen,
        Err(error) => {
            eprintln!("torture: holders: {error}");
            Held { wrong: 1, ..Held::default() }
        }
    }
}

fn conduct(bus: &Bus, mut rng: Rng, length: Duration) -> Result<Held, Error> {
    let board = Board::new();
    let start = |_, seed| {
        Child::fork(move || {
            if let Err(error) = live(bus, board, Rng::of(&[seed])) {
                panic!("{error}");
            }
        })
    };
    let victims = Victims { name: "holders", count: PROCESSES, start: &start, longest_stop: |_| 3000 };
    let (processes, Disturbed { kills, stops }) =
        victims.disturb(&mut rng, length, || board.counted(Count::Wrong) == 0);
    board.over().store(1, Ordering::Release);
    let ended_well = processes.into_iter().map(Child::ended_well).filter(|&well| well).count();
    let wrong = u64::from(ended_well != PROCESSES) + judge(bus, board)?;
    Ok(Held {
        won: board.counted(Count::Won),
        renewed: board.counted(Count::Renewed),
        completed: board.counted(Count::Completed),
        taken_over: board.counted(Count::TakenOver),
        kills,
        stops,
        wrong: wrong + board.counted(Count::Wrong),
    })
}

/// When all processes have ended: what is not completed is free, and what is completed is not.
fn judge(bus: &Bus, board: Board) -> Result<u64, Error> {
    let mut publisher = bus.publisher_with(&quiet())?;
    let mut wrong = 0;
    for place in 0..JOBS {
        let current = board.done(place).load(Ordering::Acquire);
        if publisher.claim_with(key(place, current), &for_life())?.won().is_none() {
            // A holder that was killed after it had completed the job, and before it said so.
            let held = bus.held(key(place, current))?;
            if held.is_none_or(|held| held.ends_with_holder) {
                eprintln!("torture: holders: job {place}.{current} is held by nobody, and not free");
                wrong += 1;
            }
        }
        if current > 0 && publisher.claim_with(key(place, current - 1), &for_life())?.won().is_some() {
            eprintln!("torture: holders: job {place}.{} was completed, and is free", current - 1);
            wrong += 1;
        }
    }
    Ok(wrong)
}

fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false)
}

fn for_life() -> ClaimOptions {
    ClaimOptions::new(HOUR).ends_with_holder(true)
}

/// Returns what process `pid` writes on the board when it has won job `number` of a place.
fn name(number: u64, pid: u32) -> u64 {
    number << 32 | u64::from(pid)
}

fn key(place: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&place.to_le_bytes());
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

fn live(bus: &Bus, board: Board, rng: Rng) -> Result<(), Error> {
    let mut process = Process { bus, board, publisher: bus.publisher_with(&quiet())?, rng };
    let mut begun = Instant::now();
    while board.over().load(Ordering::Acquire) == 0 {
        let place = process.rng.below(JOBS);
        let number = board.done(place).load(Ordering::Acquire);
        match process.publisher.claim_with(key(place, number), &for_life())? {
            Claimed::Won(claim) => {
                begun = Instant::now();
                process.work(place, number, &claim)?;
            }
            _ if begun.elapsed() > LONG => {
                process.is_wrong(&format!("nobody has given up a job for {LONG:?}"));
                break;
            }
            _ => process.pass_over(place, number)?,
        }
    }
    Ok(())
}

struct Process<'a> {
    bus: &'a Bus,
    board: Board,
    publisher: Publisher,
    rng: Rng,
}

impl Process<'_> {
    fn count(&self, what: Count) {
        self.board.count(what).fetch_add(1, Ordering::Relaxed);
    }

    fn is_wrong(&self, what: &str) {
        eprintln!("torture: holders: process {}: {what}", std::process::id());
        self.count(Count::Wrong);
    }

    /// The claim of job `number` of this place is won.
    fn work(&mut self, place: u64, number: u64, claim: &Claim) -> Result<(), Error> {
        let own = name(number, std::process::id());
        let before = self.board.holder(place).swap(own, Ordering::AcqRel);
        self.count(Count::Won);
        // The holder of an earlier job may be about to strike its name out.
        if before != 0 && before >> 32 == number {
            if dies(before as u32) {
                self.count(Count::TakenOver);
            } else {
                self.is_wrong(&format!("job {place}.{number} was won, and process {} has it", before as u32));
            }
        }
        if self.board.done(place).load(Ordering::Acquire) != number {
            self.is_wrong(&format!("job {place}.{number} was won after it was completed"));
        }
        for _ in 0..self.rng.below(4) {
            self.publisher.renew(claim, HOUR).inspect_err(|error| self.is_wrong(&error.to_string()))?;
            self.count(Count::Renewed);
            if self.publisher.left(claim)? < HOUR / 2 {
                self.is_wrong("a renewed claim has less than half of its ttl left");
            }
            if self.board.holder(place).load(Ordering::Acquire) != own {
                self.is_wrong(&format!("another process has job {place}.{number}, too"));
            }
        }
        if self.rng.one_in(8) && self.board.counted(Count::Completed) < MOST_COMPLETED {
            self.publisher.complete(claim, HOUR).inspect_err(|error| self.is_wrong(&error.to_string()))?;
            self.count(Count::Completed);
            self.strike_out(place, own);
            self.next_job(place, number);
            return Ok(());
        }
        self.strike_out(place, own);
        if !self.publisher.release(claim)? {
            self.is_wrong("a claim ended while its holder lived");
        }
        match self.publisher.renew(claim, HOUR) {
            Err(error) if error.kind() == ErrorKind::ClaimLost => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                self.is_wrong("a released claim was renewed");
                Ok(())
            }
        }
    }

    /// Takes a name off the board, unless the winner of a later job has written over it.
    fn strike_out(&self, place: u64, name: u64) {
        let _ = self.board.holder(place).compare_exchange(name, 0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Job `number` of this place is completed.
    fn next_job(&self, place: u64, number: u64) {
        let done = self.board.done(place);
        let _ = done.compare_exchange(number, number + 1, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The job is held. If it is completed, and its holder was killed before it said so, the next one is in its place.
    fn pass_over(&mut self, place: u64, number: u64) -> Result<(), Error> {
        let held = self.bus.held(key(place, number))?;
        if held.is_some_and(|held| !held.ends_with_holder) {
            self.next_job(place, number);
        }
        Ok(())
    }
}

/// Returns `true` if a process is dead, or is so soon. Its locks are free slightly before the system says so.
fn dies(pid: u32) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name of the program, which is in parentheses.
        match stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()) {
            None | Some('Z' | 'X') => return true,
            Some(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    false
}
