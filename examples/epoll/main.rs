//! A prefork server whose workers run one epoll loop each: connections, a timer, signals, and the bell of the bus are
//! descriptors of the same loop. `cargo run --release --example epoll`
//!
//! Each worker keeps the whole table of values in memory. `set` is answered after its event is posted, and each `get`
//! polls first, so that it never sees a value older than one that was acknowledged, in whichever worker. Twenty times a
//! second each worker posts the same unique event; one of them runs it.
//!
//! The master forks the workers, runs clients against them, kills one meanwhile and forks another, and ends all by
//! SIGTERM. Its last line is `epoll: workers=<n> requests=<n> stale=0 killed=1 ticks=<n> doubled=0`.

mod client;
mod connection;
mod master;
#[allow(dead_code)] // It does more for prefork.
#[path = "../prefork/process.rs"]
mod process;
mod worker;

use clap::{Parser, value_parser};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A prefork server whose workers run one epoll loop each
#[derive(Debug, Parser)]
#[command(name = "epoll", max_term_width = 100)]
struct Args {
    /// How many workers to fork
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u64).range(2..=64))]
    workers: u64,
    /// How long the clients run, in seconds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u64).range(2..=3600))]
    seconds: u64,
}

fn main() -> Result<()> {
    master::run(&Args::parse())
}
