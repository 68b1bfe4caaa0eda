//! Runs posters on some hosts while something happens to them, and judges what was delivered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use seqcast::Origin;

use super::host::{Host, Poster};
use super::oracle::{self, Sequence, Verdict};

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

/// Two posters for each host post until `work` returns, each about `rate` events per second.
pub fn post_while(hosts: &mut [Host], rate: u32, work: impl FnOnce(&mut [Host])) -> Posted {
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
        let running: Vec<_> = posters.into_iter().map(|poster| threads.spawn(|| post(poster, rate, &ends))).collect();
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

fn post(mut poster: Poster, rate: u32, ends: &AtomicBool) -> Poster {
    let start = Instant::now();
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        while f64::from(count) < start.elapsed().as_secs_f64() * f64::from(rate) && !ends.load(Ordering::Relaxed) {
            poster.post_next();
            count += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    poster
}

/// Waits until nothing arrives any more at any host, and judges.
pub fn judge(hosts: &mut [Host], posted: &Posted) -> Verdict {
    settle(hosts);
    let logs: Vec<_> = hosts.iter_mut().map(Host::log).collect();
    oracle::judge(&logs, &posted.counts, &posted.home)
}

/// Waits until every relay has sent and read everything, and every reader has it.
pub fn settle(hosts: &[Host]) {
    let start = Instant::now();
    let mut quiet = Instant::now();
    let mut before = Vec::new();
    // Relays send and read within milliseconds once they are connected, and connect again within 2.5 s.
    while quiet.elapsed() < Duration::from_secs(4) {
        assert!(start.elapsed() < Duration::from_secs(120), "events arrive without end");
        thread::sleep(Duration::from_millis(50));
        let now: Vec<usize> = hosts.iter().map(|host| host.reader.len()).collect();
        if now != before {
            (before, quiet) = (now, Instant::now());
        }
    }
}
