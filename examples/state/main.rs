//! State that workers share, kept in retained events. `cargo run --release --example state`
//!
//! Each worker keeps a table of upstreams in memory, and changes it by retained events, with the upstream as the key.
//! It joins with `Start::Retained`, so it begins with the table of the other workers, and with `resync`, so it has that
//! table again after it has missed events. Worker 0 must read every event: posts wait for it, until it is cut off.
//!
//! The master kills workers and forks others in their place, and stops workers for many laps of the ring. Several times
//! a second it pauses the workers and compares their tables with the retained events of the segment. Its last line is
//!
//! ```text
//! state: workers=4 events=<n> kills=<n> laps=<n> late=<n> agree=yes stale=0 lost=0 waited_max_ms=<x>
//! ```
//!
//! *laps*: how often a worker had missed events and was brought up to date. *late*: workers that joined while the
//! others worked. *stale*: how often a worker had, or looked up, an entry older than a post that had returned before.
//! *lost*: entries that a worker lacked, or had and should not have, during a pause, and laps of worker 0 that was not
//! cut off. *waited_max_ms*: the longest time that a post took, with its wait for worker 0.

mod board;
mod master;
#[allow(dead_code)] // The example prefork uses all of it.
#[path = "../prefork/process.rs"]
mod process;
mod random;
mod worker;

use clap::{Parser, value_parser};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Workers that share a table in retained events
#[derive(Debug, Parser)]
#[command(name = "state", max_term_width = 100)]
struct Args {
    /// How many workers to fork
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u64).range(2..=16))]
    workers: u64,
    /// How many upstreams the table can have
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = value_parser!(u64).range(1..=64))]
    upstreams: u64,
    /// How long the workers run, in seconds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u64).range(2..=3600))]
    seconds: u64,
    /// Seed of the random actions [default: the process id]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

fn main() -> Result<()> {
    master::run(&Args::parse())
}
