//! Shared code of the two-process harnesses: `benches/two_process.rs` and the package `benches/peers` compile the same
//! files.
//!
//! One *batch* is: fork the processes, pin each to its core, synchronise them, warm up, measure, exit. Batches of the
//! bus, of its peers and of the raw hand-over of cache lines alternate in one run, so that a figure and its physical
//! limit come from the same seconds of the same machine.
//!
//! | file | what |
//! |---|---|
//! | [`clock`] | the processor's time stamp counter |
//! | [`cpu`] | the cores and the machine |
//! | [`board`] | memory that the processes of a batch share: synchronisation and results |
//! | [`team`] | forking, pinning, waiting for the processes of a batch |
//! | [`channel`] | the measured subjects, as a trait; the sink that reads every arriving byte |
//! | [`raw`] | the physical limits: cache lines and futexes by hand |
//! | [`bus`] | seqcast as a channel |
//! | [`batch`] | the scenarios: one way, throughput, waking a sleeper |
//! | [`series`] | batches to figures: placement of the cores, medians, ratios |
//! | [`table`] | arguments, Markdown, JSON |

#![allow(dead_code, missing_docs)] // Two programs use parts of it.

pub mod batch;
pub mod board;
pub mod bus;
pub mod channel;
pub mod clock;
pub mod cpu;
pub mod raw;
pub mod series;
pub mod table;
pub mod team;
