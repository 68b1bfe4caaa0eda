//! Compares what hosts have delivered with what was posted.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use seqcast::{ClusterId, Missed, Origin, Whence};

/// Whose order an event is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Spread,
    Ordered,
    Unique,
}

/// A sequence of events that must arrive in order and once: those of one kind of one sender.
pub type Sequence = (u32, Kind);

/// One thing that a host has delivered.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    Event { sequence: Sequence, number: u64, place: Option<ClusterId>, when: Instant },
    Missed(Missed),
}

/// The payload of a numbered event, with as many more bytes.
pub fn payload((sender, kind): Sequence, number: u64, more: usize) -> Vec<u8> {
    let mut bytes = sender.to_le_bytes().to_vec();
    bytes.push(match kind {
        Kind::Spread => 0,
        Kind::Ordered => 1,
        Kind::Unique => 2,
    });
    bytes.extend(number.to_le_bytes());
    // A part that was lost on the way would show.
    bytes.extend((0..more).map(|at| (at as u64 ^ number) as u8));
    bytes
}

/// Reads a payload, and checks all of it.
pub fn read(bytes: &[u8]) -> (Sequence, u64) {
    let sender = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let kind = [Kind::Spread, Kind::Ordered, Kind::Unique][usize::from(bytes[4])];
    let number = u64::from_le_bytes(bytes[5..13].try_into().unwrap());
    assert!(bytes == payload((sender, kind), number, bytes.len() - 13), "an event was changed on its way");
    ((sender, kind), number)
}

/// A unique event that ran more than once in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice {
    pub number: u64,
    /// When it ran last.
    pub last: Instant,
}

/// A fault that makes the server forget what it has acknowledged, and when it began and ended.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub name: &'static str,
    pub begin: Instant,
    pub end: Instant,
}

/// The loss because of which a unique event ran again that was posted then: the last one that began before it ran, and
/// ended after it was posted. If there is none, the relays have decided it twice.
pub fn cause(twice: &Twice, posted: Instant, losses: &[Loss]) -> Option<usize> {
    losses.iter().rposition(|loss| loss.begin <= twice.last && posted <= loss.end)
}

/// What a host's log shows, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub delivered: u64,
    /// Missing, without a report before the next event of the same sender.
    pub silent: u64,
    /// Missing, with a report.
    pub told: u64,
    pub doubled: u64,
    /// After a later event of the same sender, or an ordered event at an earlier place than the one before it.
    pub reordered: u64,
    /// Unique events that ran more than once in the cluster.
    pub unique_twice: u64,
    /// Which they were.
    pub twice: Vec<Twice>,
    /// Places with two contents, of which no host was told.
    pub forked: u64,
    /// The first of what is not as it should be, for people.
    pub notes: Vec<String>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.silent == 0 && self.doubled == 0 && self.reordered == 0 && self.forked == 0
    }

    fn add(&mut self, other: &Verdict) {
        self.delivered += other.delivered;
        self.silent += other.silent;
        self.told += other.told;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.notes.extend(other.notes.iter().cloned());
    }

    fn note(&mut self, log: &Log, at: usize, what: &str) {
        if self.notes.len() < 8 {
            let around = &log.seen[at.saturating_sub(4)..log.seen.len().min(at + 3)];
            self.notes.push(format!("host {} at {at} of {}: {what}: {around:?}", log.origin, log.seen.len()));
        }
    }
}

/// What a host has delivered, and what it is.
#[derive(Debug)]
pub struct Log {
    pub origin: Origin,
    pub seen: Vec<Seen>,
}

/// Judges all hosts. `posted`: the number of events of each sequence, which were numbered from 0. `home`: the origin of
/// each sender.
pub fn judge(logs: &[Log], posted: &HashMap<Sequence, u64>, home: &HashMap<u32, Origin>) -> Verdict {
    let mut verdict = Verdict::default();
    let mut runs: HashMap<u64, (u32, Instant)> = HashMap::new();
    for log in logs {
        verdict.add(&judge_one(log, posted, home, &mut runs));
    }
    let twice = runs.iter().filter(|(_, (runs, _))| *runs > 1);
    verdict.twice = twice.map(|(number, (_, last))| Twice { number: *number, last: *last }).collect();
    verdict.unique_twice = verdict.twice.len() as u64;
    verdict.forked = forked(logs);
    verdict
}

fn judge_one(
    log: &Log,
    posted: &HashMap<Sequence, u64>,
    home: &HashMap<u32, Origin>,
    runs: &mut HashMap<u64, (u32, Instant)>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut next: HashMap<Sequence, u64> = HashMap::new();
    let mut had: HashSet<(Sequence, u64)> = HashSet::new();
    // For each sequence: whether its hole is told by a report since its last event.
    let mut told_since: HashMap<Sequence, bool> = HashMap::new();
    let mut place: Option<ClusterId> = None;
    for (index, seen) in log.seen.iter().enumerate() {
        match seen {
            Seen::Missed(missed) => {
                for sequence in posted.keys() {
                    let concerns = missed.whence == Whence::Ring
                        || missed.origin.is_none_or(|origin| home.get(&sequence.0) == Some(&origin));
                    if concerns {
                        told_since.insert(*sequence, true);
                    }
                }
                place = None;
            }
            Seen::Event { sequence: (_, Kind::Unique), number, when, .. } => {
                verdict.delivered += 1;
                let (runs, last) = runs.entry(*number).or_insert((0, *when));
                (*runs, *last) = (*runs + 1, (*last).max(*when));
            }
            Seen::Event { sequence, number, place: at, .. } => {
                verdict.delivered += 1;
                let expected = next.get(sequence).copied().unwrap_or(0);
                if !had.insert((*sequence, *number)) {
                    verdict.doubled += 1;
                    verdict.note(log, index, "doubled");
                } else if *number < expected {
                    verdict.reordered += 1;
                    verdict.note(log, index, "after a later event of its sender");
                }
                if *number > expected {
                    let hole = number - expected;
                    if told_since.get(sequence) == Some(&true) {
                        verdict.told += hole;
                    } else {
                        verdict.silent += hole;
                        verdict.note(log, index, &format!("{hole} before it were lost"));
                    }
                }
                if *number >= expected {
                    next.insert(*sequence, number + 1);
                    told_since.insert(*sequence, false);
                }
                if let (Kind::Ordered, Some(at)) = (sequence.1, at) {
                    if place.is_some_and(|place| place >= *at) {
                        verdict.reordered += 1;
                        verdict.note(log, index, "not after the place before it");
                    }
                    place = Some(*at);
                }
            }
        }
    }
    for (sequence, count) in posted.iter().filter(|((_, kind), _)| *kind != Kind::Unique) {
        let missing = count - next.get(sequence).copied().unwrap_or(0).min(*count);
        if told_since.get(sequence) == Some(&true) {
            verdict.told += missing;
        } else {
            verdict.silent += missing;
            if missing > 0 {
                verdict.note(log, log.seen.len(), &format!("{missing} of {sequence:?} are not there at the end"));
            }
        }
    }
    verdict
}

/// Places with two contents, unless a host that delivered one was told of a break afterwards.
fn forked(logs: &[Log]) -> u64 {
    let mut contents: HashMap<ClusterId, (Sequence, u64, bool)> = HashMap::new();
    let mut forked = 0;
    for log in logs {
        let last_break =
            log.seen.iter().rposition(|seen| matches!(seen, Seen::Missed(missed) if missed.count.is_none()));
        for (at, seen) in log.seen.iter().enumerate() {
            let Seen::Event { sequence, number, place: Some(place), .. } = seen else { continue };
            let is_told = last_break.is_some_and(|last| last > at);
            let (other, count, other_told) = *contents.entry(*place).or_insert((*sequence, *number, is_told));
            if (other, count) != (*sequence, *number) && !is_told && !other_told {
                forked += 1;
            }
        }
    }
    forked
}
