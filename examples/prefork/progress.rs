//! What a person is shown while it runs.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// Time between two progress lines.
const EVERY: Duration = Duration::from_secs(1);

/// Prints lines with the time in front, and every second one on how it goes.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    /// When the last progress line was printed, and the next event then.
    last: (Instant, u64),
    latency: Histogram,
    latency_in_all: Histogram,
}

impl Progress {
    pub fn new() -> Progress {
        let now = Instant::now();
        let (latency, latency_in_all) = Default::default();
        Progress { start: now, last: (now, 0), latency, latency_in_all }
    }

    /// Prints a line.
    pub fn say(&self, what: &str) {
        println!("{:6.2} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// Takes in latencies that a worker has measured.
    pub fn add_latency(&mut self, buckets: &[(u16, u32)]) {
        self.latency.merge(buckets);
        self.latency_in_all.merge(buckets);
    }

    /// Begins to count anew.
    pub fn restart(&mut self, next: u64) {
        self.last = (Instant::now(), next);
        self.latency = Histogram::default();
    }

    /// Prints a progress line if it is time for one and there was something to see.
    pub fn tick(&mut self, workers: usize, next: u64) {
        let (at, before) = self.last;
        if at.elapsed() < EVERY {
            return;
        }
        if next > before {
            let rate = (next - before) as f64 / at.elapsed().as_secs_f64();
            let latency = latency(&self.latency);
            self.say(&format!("{workers} workers, event id {next}: {rate:.0} events/s, {latency}"));
        }
        self.restart(next);
    }

    /// The latencies of the whole run, in words.
    pub fn latency_in_all(&self) -> String {
        latency(&self.latency_in_all)
    }
}

fn latency(histogram: &Histogram) -> String {
    let us = |share| match histogram.quantile(share) {
        Some(latency) => format!("{:.0} us", latency.as_secs_f64() * 1e6),
        None => "-".to_owned(),
    };
    format!("post to handler p50 {}, p99 {}", us(0.5), us(0.99))
}
