//! The output while it runs.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::latency;

/// Time between two progress lines.
const EVERY: Duration = Duration::from_secs(1);

/// Prints lines with the time in front, and a progress line every second.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    /// The time of the last progress line, and the next event at that time.
    last: (Instant, u64),
    latency: Histogram<u64>,
    latency_in_all: Histogram<u64>,
}

impl Progress {
    pub fn new() -> Progress {
        let now = Instant::now();
        Progress { start: now, last: (now, 0), latency: latency::none(), latency_in_all: latency::none() }
    }

    /// Prints a line.
    pub fn say(&self, what: &str) {
        println!("{:6.2} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// Adds latencies that a worker has measured.
    pub fn add_latency(&mut self, latencies: &[(u64, u64)]) {
        latency::add(&mut self.latency, latencies);
        latency::add(&mut self.latency_in_all, latencies);
    }

    /// Starts counting again.
    pub fn restart(&mut self, next: u64) {
        self.last = (Instant::now(), next);
        self.latency.reset();
    }

    /// Prints a progress line if it is time for one and there were events.
    pub fn tick(&mut self, workers: usize, next: u64) {
        let (at, before) = self.last;
        if at.elapsed() < EVERY {
            return;
        }
        if next > before {
            let rate = (next - before) as f64 / at.elapsed().as_secs_f64();
            let latency = latency::describe(&self.latency);
            self.say(&format!("{workers} workers, event id {next}: {rate:.0} events/s, {latency}"));
        }
        self.restart(next);
    }

    /// Describes the latencies of the whole run.
    pub fn latency_in_all(&self) -> String {
        latency::describe(&self.latency_in_all)
    }
}
