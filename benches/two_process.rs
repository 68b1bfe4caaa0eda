//! seqcast between processes: one way by size, throughput, several writers and readers, request and reply, waking a
//! sleeper, starting up. The raw hand-over of cache lines is measured around every batch.
//!
//! ```text
//! cargo bench --bench two_process -- [--quick] [--only SCENARIO] [--batches N] [--json FILE] [--nice N] [--realtime]
//! ```
//!
//! Prints a Markdown table. `--json` appends the figures to a file, one object per line.

#[path = "two_process/growth.rs"]
mod growth;
#[path = "two_process/request.rs"]
mod request;
#[path = "two_process/startup.rs"]
mod startup;
mod support;

use std::time::Duration;

use support::batch::{Length, Wake, flow, one_way, wake};
use support::bus::{OnBus, Pulled, Visited};
use support::series::{Key, Lab, Limit};
use support::table::{Arguments, finish};

const SIZES: [usize; 7] = [8, 64, 256, 1024, 4096, 16_384, 65_536];
/// In large blocks only: a block of the ring cannot be so large.
const MEBIBYTE: usize = 1 << 20;

fn main() {
    let arguments = Arguments::from_command_line();
    let length = Length { rounds: 10_000, time: Duration::from_millis(20) };
    let flow_time = Duration::from_millis(40);
    let wakes = 60;
    let mut lab = Lab::new(Length { rounds: 3000, time: Duration::from_millis(10) }, wakes, arguments.wanted_cores());
    for _ in 0..arguments.batches(15, 3) {
        if arguments.wants("one way") {
            for size in SIZES {
                lab.measure(Key::new("one way", "seqcast", size), Limit::Lines(size), |board| {
                    one_way(board, &OnBus::for_size(size), size, length)
                });
            }
            for size in SIZES {
                lab.measure(Key::new("one way", "seqcast, by a subscriber", size), Limit::Lines(size), |board| {
                    one_way(board, &Pulled(OnBus::for_size(size)), size, length)
                });
            }
            for size in [16_384, 65_536, MEBIBYTE] {
                lab.measure(Key::new("one way", "seqcast, visited in place", size), Limit::Lines(size), |board| {
                    one_way(board, &Visited(OnBus::with_large(size)), size, length)
                });
            }
            for size in [1024, 4096, 16_384, 65_536] {
                lab.measure(Key::new("one way", "seqcast, in fragments", size), Limit::Lines(size), |board| {
                    one_way(board, &OnBus::by_default(), size, length)
                });
            }
            for size in [1024, 4096, 16_384, 65_536, MEBIBYTE] {
                lab.measure(Key::new("one way", "seqcast, in large blocks", size), Limit::Lines(size), |board| {
                    one_way(board, &OnBus::with_large(size), size, length)
                });
            }
        }
        if arguments.wants("throughput") {
            for size in SIZES {
                lab.measure(Key::new("throughput", "seqcast", size), Limit::Lines(size), |board| {
                    flow(board, &OnBus::for_size(size), size, 1, 1, flow_time)
                });
            }
            for size in SIZES {
                lab.measure(Key::new("throughput", "seqcast, by a subscriber", size), Limit::Lines(size), |board| {
                    flow(board, &Pulled(OnBus::for_size(size)), size, 1, 1, flow_time)
                });
            }
            for size in [16_384, 65_536] {
                lab.measure(Key::new("throughput", "seqcast, in large blocks", size), Limit::Lines(size), |board| {
                    flow(board, &OnBus::with_large(size), size, 1, 1, flow_time)
                });
            }
        }
        if arguments.wants("writers and readers") {
            for (writers, readers) in [(1, 0), (1, 1), (1, 2), (1, 4), (2, 0), (2, 1)] {
                let key = Key::new("writers and readers", "seqcast", 64).with(writers, readers);
                lab.measure(key, Limit::Lines(64), |board| {
                    flow(board, &OnBus::by_default(), 64, writers, readers, flow_time)
                });
            }
        }
        if arguments.wants("request and reply") {
            lab.measure(Key::new("request and reply", "seqcast, typed", 64), Limit::Lines(64), |board| {
                request::round_trips(board, length)
            });
        }
        if arguments.wants("wake-up") {
            for (scenario, place) in
                [("wake-up on one core", Wake::OneCore), ("wake-up of the other core", Wake::TwoCores)]
            {
                lab.measure(Key::new(scenario, "seqcast", 8), Limit::Futex(place), |board| {
                    wake(board, &OnBus::small(), place, wakes)
                });
            }
        }
        if arguments.wants("start-up") {
            lab.measure(Key::new("start-up", "seqcast, open and join", 0), Limit::Lines(64), startup::times);
        }
        if arguments.wants("growth") {
            growth::measure(&mut lab, flow_time);
        }
    }
    finish("seqcast between processes", &lab, &arguments);
}
