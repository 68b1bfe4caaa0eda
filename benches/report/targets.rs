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
const PULLED: &str = "seqcast, by a subscriber";
const VISITED: &str = "seqcast, visited in place";
const MPMC: &str = "ringfire, many producers";
const BLOBS: &str = "ringfire, one producer, byte strings";
const ICEORYX: &str = "iceoryx2";
const ORBIT: &str = "orbit-core";
const LOOP: &str = "event loop on one core";
const OTHER_LOOP: &str = "event loop on the other core";
const MEBIBYTE: u64 = 1 << 20;

/// Every target is a ratio to what was measured beside: a peer, the raw hand-over, or a single operation. The absolute
/// targets of the first release are in its report.
pub fn targets(figures: &Figures) -> Vec<Target> {
    let p50 = |subject: &str, size: u64| figures.one("one way", subject, size).and_then(|row| number(row, "p50_ns"));
    let to_limit = |scenario: &str, subject: &str, size: u64| {
        figures.one(scenario, subject, size).and_then(|row| number(row, "to_limit"))
    };
    // The hand-over of a flag and 64 bytes is two lines.
    let two_lines = figures.one("one way", BUS, 64).and_then(|row| number(row, "raw_limit_ns"));
    let ratio_256 = ratio(p50(PULLED, 256), two_lines);
    let received = |subject: &str, size: u64| {
        figures.one("throughput", subject, size).and_then(|row| number(row, "received_per_s"))
    };
    let per_post = |readers: u64| {
        let of = "writers and readers";
        let row = figures.of(of).find(|row| row["writers"] == 1 && row["readers"] == readers);
        row.and_then(|row| number(row, "ns_per_post"))
    };
    let criterion = |name: &str| figures.median_of(name);
    let to_single = |name: &str, single: &str| ratio(criterion(name), criterion(single));
    let in_loop =
        |scenario: &str, subject: &str| figures.one(scenario, subject, 8).and_then(|row| number(row, "p50_ns"));
    let to_eventfd = |scenario: &str| ratio(in_loop(scenario, BUS), in_loop(scenario, "raw eventfd"));
    const EXCHANGE: &str = "single/compare-exchange";
    const CLOCK: &str = "single/clock read";
    vec![
        at_most(
            "one way, 64 B, by a subscriber, to the raw hand-over of two lines",
            1.4,
            to_limit("one way", PULLED, 64),
        ),
        at_most("one way, 64 B, by handlers, to the same", 2.0, to_limit("one way", BUS, 64)),
        at_most("one way, 256 B, by a subscriber, to the same", 2.6, ratio_256),
        below("one way, 64 B, below ringfire with many producers", p50(PULLED, 64), p50(MPMC, 64)),
        below("one way, 64 B, by handlers, below iceoryx2", p50(BUS, 64), p50(ICEORYX, 64)),
        below("one way, 4 KiB, by handlers, below iceoryx2", p50(BUS, 4096), p50(ICEORYX, 4096)),
        below("one way, 16 KiB, by handlers, below iceoryx2", p50(BUS, 16_384), p50(ICEORYX, 16_384)),
        below(
            "one way, 16 KiB, by a subscriber, below ringfire's byte strings",
            p50(PULLED, 16_384),
            p50(BLOBS, 16_384),
        ),
        at_most(
            "one way, 16 KiB, by handlers, to the raw hand-over of as many lines",
            1.1,
            to_limit("one way", BUS, 16_384),
        ),
        below("one way, 64 KiB, by handlers, below iceoryx2", p50(BUS, 65_536), p50(ICEORYX, 65_536)),
        below(
            "one way, 64 KiB, by a subscriber, below ringfire's byte strings",
            p50(PULLED, 65_536),
            p50(BLOBS, 65_536),
        ),
        at_most(
            "one way, 64 KiB, by handlers, to the raw hand-over of as many lines",
            1.1,
            to_limit("one way", BUS, 65_536),
        ),
        below("one way, 1 MiB, visited in place, below iceoryx2", p50(VISITED, MEBIBYTE), p50(ICEORYX, MEBIBYTE)),
        at_least(
            "received, 64 B, by a subscriber, to ringfire with many producers",
            2.0,
            ratio(received(PULLED, 64), received(MPMC, 64)),
        ),
        at_least("received, 64 B, by handlers, to the same", 2.0, ratio(received(BUS, 64), received(MPMC, 64))),
        at_least(
            "received, 256 B, by a subscriber, to ringfire with many producers",
            1.0,
            ratio(received(PULLED, 256), received(MPMC, 256)),
        ),
        at_least("received, 256 B, by handlers, to the same", 1.0, ratio(received(BUS, 256), received(MPMC, 256))),
        at_least("received, 16 KiB, to iceoryx2", 1.0, ratio(received(BUS, 16_384), received(ICEORYX, 16_384))),
        at_least(
            "received, 16 KiB, to ringfire's byte strings",
            1.0,
            ratio(received(BUS, 16_384), received(BLOBS, 16_384)),
        ),
        at_least(
            "received, 16 KiB, by a subscriber, to the same",
            1.0,
            ratio(received(PULLED, 16_384), received(BLOBS, 16_384)),
        ),
        at_least("received, 64 KiB, to iceoryx2", 1.0, ratio(received(BUS, 65_536), received(ICEORYX, 65_536))),
        at_least(
            "received, 64 KiB, to ringfire's byte strings",
            1.0,
            ratio(received(BUS, 65_536), received(BLOBS, 65_536)),
        ),
        at_most("four readers to one, for the writer", 1.2, ratio(per_post(4), per_post(1))),
        at_most("idle poll, to a compare-exchange", 1.0, to_single("idle/poll", EXCHANGE)),
        at_most("post of 64 B by a publisher, to a clock read", 2.0, to_single("post by a poster/64", CLOCK)),
        at_most(
            "post of a typed event, to one of 64 B",
            3.0,
            to_single("post typed/plain fields", "post/0 readers/64"),
        ),
        at_most("claim won, to a clock read", 4.5, to_single("claim/won", CLOCK)),
        at_most("claim lost, to a clock read", 2.0, to_single("claim/lost", CLOCK)),
        at_most(
            "poll of an event of 64 KiB, to a copy",
            1.5,
            to_single("poll/1 readers/65536", "single/copy of 64 KiB"),
        ),
        at_most("waking a sleeper, to the raw futex, one core", 1.3, to_limit("wake-up on one core", BUS, 8)),
        at_most("waking a sleeper, other core", 1.3, to_limit("wake-up of the other core", BUS, 8)),
        at_most("waking an event loop, to a raw eventfd, one core", 1.5, to_eventfd(LOOP)),
        at_most("waking an event loop, other core", 1.1, to_eventfd(OTHER_LOOP)),
        below("waking an event loop, one core, below iceoryx2", in_loop(LOOP, BUS), in_loop(LOOP, ICEORYX)),
        below("waking an event loop, one core, below orbit-core", in_loop(LOOP, BUS), in_loop(LOOP, ORBIT)),
    ]
}

fn ratio(found: Option<f64>, other: Option<f64>) -> Option<f64> {
    found.zip(other).map(|(found, other)| found / other)
}

fn at_most(what: &'static str, most: f64, found: Option<f64>) -> Target {
    within(what, format!("at most {most} times"), found, |found| found <= most)
}

fn at_least(what: &'static str, least: f64, found: Option<f64>) -> Target {
    within(what, format!("at least {least} times"), found, |found| found >= least)
}

fn within(what: &'static str, wanted: String, found: Option<f64>, is_reached: impl Fn(f64) -> bool) -> Target {
    Target { what, wanted, found: times(found), reached: found.map(is_reached) }
}

fn times(found: Option<f64>) -> String {
    found.map_or_else(|| "not measured".to_owned(), |found| format!("{found:.2} times"))
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
