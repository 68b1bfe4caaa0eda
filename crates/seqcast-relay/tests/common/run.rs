//! Runs posters on some hosts while something happens to them, and judges what was delivered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use seqcast::Origin;

use super::host::{Host, Poster, patience};
use super::oracle::{self, Kind, Seen, Sequence, Verdict};

/// What was posted in a run, and by whom.
#[derive(Debug, Default)]
pub struct Posted {
    pub counts: HashMap<Sequence, u64>,
    pub home: HashMap<u32, Origin>,
    /// When the first sender posted each unique event.
    pub unique: HashMap<u64, Instant>,
}

impl Posted {
    pub fn events(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Keeps posters from overwriting in a ring what a relay or a worker has not read, also if one of them gets no
/// processor for seconds.
struct Pace {
    names: Vec<String>,
    capacity: u64,
    /// Events that are not unique.
    posted: AtomicU64,
    delivered: Vec<Arc<AtomicU64>>,
}

impl Pace {
    fn of(hosts: &[Host]) -> Pace {
        let names = hosts.iter().map(|host| host.bus.name().to_owned()).collect();
        let capacity = hosts.iter().map(|host| host.bus.capacity()).min().unwrap();
        let delivered = hosts.iter().map(|host| host.reader.delivered()).collect();
        Pace { names, capacity, posted: AtomicU64::new(0), delivered }
    }

    /// Every host has got nearly all of what was posted.
    fn has_room(&self) -> bool {
        let delivered = self.delivered.iter().map(|delivered| delivered.load(Ordering::Relaxed)).min().unwrap();
        // Some take several places in the ring.
        self.posted.load(Ordering::Relaxed).saturating_sub(delivered) < self.capacity / 8
    }
}

/// Two posters for each host post until `work` returns, each at most about `rate` events per second. They wait for
/// relays and workers that stay behind, so nothing is overwritten in a ring before it was read.
pub fn post_gently(hosts: &mut [Host], rate: u32, work: impl FnOnce(&mut [Host])) -> Posted {
    let pace = Pace::of(hosts);
    post_with(hosts, rate, Some(&pace), work)
}

/// Two posters for each host post until `work` returns, each about `rate` events per second.
pub fn post_while(hosts: &mut [Host], rate: u32, work: impl FnOnce(&mut [Host])) -> Posted {
    post_with(hosts, rate, None, work)
}

fn post_with(hosts: &mut [Host], rate: u32, pace: Option<&Pace>, work: impl FnOnce(&mut [Host])) -> Posted {
    let ends = AtomicBool::new(false);
    let mut posted = Posted::default();
    let mut posters = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        for sender in 0..2 {
            let sender = (number * 2 + sender) as u32;
            posted.home.insert(sender, host.bus.origin());
            posters.push(Poster::new(&host.bus, sender));
        }
    }
    let done: Vec<Poster> = thread::scope(|threads| {
        let running: Vec<_> =
            posters.into_iter().map(|poster| threads.spawn(|| post(poster, rate, pace, &ends))).collect();
        // Also if `work` panics.
        let end = EndAtDrop(&ends);
        work(hosts);
        drop(end);
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for poster in done {
        posted.counts.extend(poster.posted);
        for (number, when) in (0..).zip(poster.unique) {
            let first = posted.unique.entry(number).or_insert(when);
            *first = when.min(*first);
        }
    }
    posted
}

struct EndAtDrop<'a>(&'a AtomicBool);

impl Drop for EndAtDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn post(mut poster: Poster, rate: u32, pace: Option<&Pace>, ends: &AtomicBool) -> Poster {
    let start = Instant::now();
    let mut count = 0;
    let open = |name: &String| seqcast::inspect::Inspector::open(name).unwrap();
    let segments: Vec<_> = pace.iter().flat_map(|pace| &pace.names).map(open).collect();
    while !ends.load(Ordering::Relaxed) {
        let backlog = segments.iter().filter_map(|segment| segment.relay().unwrap().backlog).max();
        let is_behind = pace.is_some_and(|pace| backlog > Some(pace.capacity / 2));
        let is_due = |count| f64::from(count) < start.elapsed().as_secs_f64() * f64::from(rate);
        let has_room = || !is_behind && pace.is_none_or(Pace::has_room);
        while is_due(count) && has_room() && !ends.load(Ordering::Relaxed) {
            let kind = poster.post_next();
            if let Some(pace) = pace.filter(|_| kind != Kind::Unique) {
                pace.posted.fetch_add(1, Ordering::Relaxed);
            }
            count += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    poster
}

/// Waits until everything has arrived, and nothing arrives any more, and judges.
pub fn judge(hosts: &mut [Host], posted: &Posted) -> Verdict {
    settle(hosts, posted);
    let logs: Vec<_> = hosts.iter_mut().map(Host::log).collect();
    oracle::judge(&logs, &posted.counts, &posted.home)
}

/// Waits until every reader has everything, or was told that something is missing, and until nothing arrives any more.
pub fn settle(hosts: &[Host], posted: &Posted) {
    let start = Instant::now();
    while !is_whole(hosts, posted) && start.elapsed() < patience() {
        thread::sleep(Duration::from_millis(50));
    }
    let mut quiet = Instant::now();
    let mut before = Vec::new();
    // What comes then comes too often, and the judge would see it.
    while quiet.elapsed() < Duration::from_secs(4) {
        assert!(start.elapsed() < patience() * 2, "events arrive without end");
        thread::sleep(Duration::from_millis(50));
        let now: Vec<usize> = hosts.iter().map(|host| host.reader.len()).collect();
        if now != before {
            (before, quiet) = (now, Instant::now());
        }
    }
}

/// Returns `true` if every host has the last event of each sequence, or a report behind the last that it has, and if
/// each unique event has run, or a report is anywhere.
fn is_whole(hosts: &[Host], posted: &Posted) -> bool {
    let (mut ran, mut is_told) = (HashSet::new(), false);
    let has_all = |host: &Host| {
        host.reader.with(|seen| {
            let mut ended: HashMap<Sequence, bool> = HashMap::new();
            for seen in seen {
                match seen {
                    Seen::Missed(_) => {
                        is_told = true;
                        ended = posted.counts.keys().map(|sequence| (*sequence, true)).collect();
                    }
                    Seen::Event { sequence: (_, Kind::Unique), number, .. } => drop(ran.insert(*number)),
                    Seen::Event { sequence, number, .. } => {
                        ended.insert(*sequence, posted.counts.get(sequence) == Some(&(number + 1)));
                    }
                }
            }
            let mut others = posted.counts.keys().filter(|(_, kind)| *kind != Kind::Unique);
            others.all(|sequence| ended.get(sequence) == Some(&true))
        })
    };
    hosts.iter().all(has_all) && (is_told || posted.unique.keys().all(|number| ran.contains(number)))
}
