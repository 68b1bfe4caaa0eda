//! Replaces a segment by a larger one under load. `cargo run --release --example reload`
//!
//! A generation of workers works on a segment whose ring has 1,024 events. The master creates a segment of 8,192 with
//! the same unique keys, forks a second generation on it, and bridges the two. Both generations post, 2,000 events a
//! second in total, answer requests, and post a unique event for each tick. Then the old workers stop posting, receive
//! what is on its way, and leave; the bridge finishes, and the new ones go on alone. Its last line is
//!
//! ```text
//! reload: generations=2 workers=8+8 events=<n> requests=<n> carried=<n>+<n> ticks=<n> lost=0 doubled=0
//!     order=per-generation unique=once
//! ```
//!
//! (in one line). *events*: posts by the workers. *requests*: requests that the workers answered. *carried*: events
//! that the bridge posted in the new segment and in the old one. *lost*, *doubled*: events that a worker did not
//! receive, or received again, counted for each worker. *order*: all workers of a generation received the same event at
//! each id, in increasing order. *unique*: each tick ran once, although all workers of both generations had posted it.

mod board;
mod master;
#[allow(dead_code)] // The example prefork uses all of it.
#[path = "../prefork/process.rs"]
mod process;
mod worker;

use clap::{Parser, value_parser};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Two generations of workers on two segments, and a bridge between them
#[derive(Clone, Debug, Parser)]
#[command(name = "reload", max_term_width = 100)]
struct Args {
    /// How many workers a generation has
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u64).range(1..=16))]
    workers: u64,
    /// How many events all workers together post in a second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = value_parser!(u64).range(100..=100_000))]
    rate: u64,
    /// How long both generations work, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = value_parser!(u64).range(200..=3_600_000))]
    both_ms: u64,
}

fn main() -> Result<()> {
    master::run(&Args::parse())
}
