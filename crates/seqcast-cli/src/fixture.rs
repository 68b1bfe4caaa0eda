//! The fixtures of the unit tests.

use seqcast::inspect::Inspector;
use seqcast::{Bus, SegmentOptions, Worker, WorkerOptions, WorkerStats};

/// A small segment with a name of its own. Dropping the returned value removes it, also when the test fails.
pub fn bus(what: &str) -> Bus {
    let name = format!("/seqcast-bin-{}-{what}", std::process::id());
    SegmentOptions::new().capacity(64).seats(32).claims(16).unlink_on_drop(true).create(&name).unwrap()
}

/// A worker that has posted no event and prints no report.
pub fn worker(bus: &Bus, label: &str) -> Worker {
    bus.join_with(&WorkerOptions::new().announce(false).on_report(|_| {}).label(label)).unwrap()
}

pub fn inspector(bus: &Bus) -> Inspector {
    Inspector::open_any(bus.name()).unwrap()
}

/// Statistics of a worker, as a template for other values.
pub fn worker_stats(bus: &Bus) -> WorkerStats {
    let _worker = worker(bus, "web");
    bus.stats().unwrap().workers.pop().unwrap()
}
