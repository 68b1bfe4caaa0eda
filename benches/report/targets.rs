//! The project's targets, and the results of this run.

use crate::figures::{Figures, number};

/// A target, as a line of the report.
pub struct Target {
    pub what: &'static str,
    pub wanted: String,
    pub found: String,
    /// Returns `None` if this run did not measure it.
    pub reached: Option<bool>,
}

const BUS: &str = "seqcast";
const MPMC: &str = "ringfire, many producers";
const ICEORYX: &str = "iceoryx2";
const ORBIT: &str = "orbit-core";
const LOOP: &str = "event loop on one core";
const OTHER_LOOP: &str = "event loop on the other core";

pub fn targets(figures: &Figures) -> Vec<Target> {
    let p50 = |subject: &str, size: u64| figures.one("one way", subject, size).and_then(|row| number(row, "p50_ns"));
    let to_limit = |scenario: &str, subject: &str, size: u64| {
        figures.one(scenario, subject, size).and_then(|row| number(row, "to_limit"))
    };
    // The hand-over of a flag and 64 bytes is two lines. It is the limit for the targets of all sizes.
    let two_lines = figures.one("one way", BUS, 64).and_then(|row| number(row, "raw_limit_ns"));
    let ratio_256 = p50(BUS, 256).zip(two_lines).map(|(ns, line)| ns / line);
    let received = |subject: &str| figures.one("throughput", subject, 64).and_then(|row| number(row, "received_per_s"));
    let per_post = |readers: u64| {
        let of = "writers and readers";
        let row = figures.of(of).find(|row| row["writers"] == 1 && row["readers"] == readers);
        row.and_then(|row| number(row, "ns_per_post"))
    };
    let four_to_one = per_post(4).zip(per_post(1)).map(|(four, one)| four / one);
    let criterion = |name: &str| figures.median_of(name);
    let start = figures.one("start-up", "seqcast, open and join", 0).and_then(|row| number(row, "p50_ns"));
    let in_loop =
        |scenario: &str, subject: &str| figures.one(scenario, subject, 8).and_then(|row| number(row, "p50_ns"));
    let to_eventfd = |scenario: &str| {
        let both = in_loop(scenario, BUS).zip(in_loop(scenario, "raw eventfd"));
        both.map(|(bell, eventfd)| bell / eventfd)
    };
    vec![
        at_most("one way, 64 B, to the raw hand-over of two lines", 2.0, "times", to_limit("one way", BUS, 64)),
        below("one way, 64 B, below ringfire with many producers", p50(BUS, 64), p50(MPMC, 64)),
        below("one way, 64 B, below iceoryx2", p50(BUS, 64), p50(ICEORYX, 64)),
        at_most("one way, 256 B, to the raw hand-over of two lines", 2.6, "times", ratio_256),
        below("one way, 4 KiB, below iceoryx2", p50(BUS, 4096), p50(ICEORYX, 4096)),
        at_most("idle poll", 2.0, "ns", criterion("idle/poll")),
        at_most("post of 64 B, alone", 22.0, "ns", criterion("post by a poster/64").or(criterion("post/0 readers/64"))),
        at_most("typed post with source and event", 70.0, "ns", criterion("post typed/plain fields")),
        at_most("dispatch of a typed event to its handler", 60.0, "ns", criterion("dispatch typed/plain fields")),
        at_least("one writer, one reader, 64 B: received", 15.0, received(BUS).map(|rate| rate / 1e6)),
        at_least_times("the same, to ringfire with many producers", 2.0, received(BUS), received(MPMC)),
        at_most("four readers to one, for the writer", 1.2, "times", four_to_one),
        at_most("claim won", 60.0, "ns", criterion("claim/won")),
        at_most("claim lost", 30.0, "ns", criterion("claim/lost")),
        at_most("waking a sleeper, to the raw futex, one core", 1.3, "times", to_limit("wake-up on one core", BUS, 8)),
        at_most("waking a sleeper, other core", 1.3, "times", to_limit("wake-up of the other core", BUS, 8)),
        at_most("waking an event loop, to a raw eventfd, one core", 1.5, "times", to_eventfd(LOOP)),
        at_most("waking an event loop, other core", 1.1, "times", to_eventfd(OTHER_LOOP)),
        below("waking an event loop, one core, below iceoryx2", in_loop(LOOP, BUS), in_loop(LOOP, ICEORYX)),
        below("waking an event loop, one core, below orbit-core", in_loop(LOOP, BUS), in_loop(LOOP, ORBIT)),
        at_most("start-up of a worker", 200.0, "us", start.map(|ns| ns / 1000.0)),
    ]
}

fn at_most(what: &'static str, most: f64, unit: &str, found: Option<f64>) -> Target {
    Target {
        what,
        wanted: format!("at most {most} {unit}"),
        found: found.map_or_else(|| "not measured".to_owned(), |found| format!("{found:.2} {unit}")),
        reached: found.map(|found| found <= most),
    }
}

fn at_least(what: &'static str, least: f64, found: Option<f64>) -> Target {
    Target {
        what,
        wanted: format!("at least {least} M/s"),
        found: found.map_or_else(|| "not measured".to_owned(), |found| format!("{found:.2} M/s")),
        reached: found.map(|found| found >= least),
    }
}

fn at_least_times(what: &'static str, least: f64, found: Option<f64>, other: Option<f64>) -> Target {
    let ratio = found.zip(other).map(|(found, other)| found / other);
    Target {
        what,
        wanted: format!("more than {least} times"),
        found: ratio.map_or_else(|| "not measured".to_owned(), |ratio| format!("{ratio:.2} times")),
        reached: ratio.map(|ratio| ratio > least),
    }
}

fn below(what: &'static str, found: Option<f64>, other: Option<f64>) -> Target {
    let both = found.zip(other);
    Target {
        what,
        wanted: other.map_or_else(|| "less".to_owned(), |other| format!("less than {other:.0} ns")),
        found: both.map_or_else(|| "not measured".to_owned(), |(found, _)| format!("{found:.0} ns")),
        reached: both.map(|(found, other)| found < other),
    }
}
