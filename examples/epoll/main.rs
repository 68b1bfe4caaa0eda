//! A prefork server. Each worker runs one epoll loop: connections, a timer, signals and the bell of the bus are
//! descriptors of the same loop. `cargo run --release --example epoll`
//!
//! Each worker keeps the whole table of values in memory. A `set` is answered after its event is posted, and each `get`
//! polls first, so in every worker it sees all acknowledged values. Twenty times a second, each worker posts the same
//! unique event, and one of them runs it.
//!
//! The master forks the workers and runs clients against them. In the meantime it kills a worker and forks another. At
//! the end it stops all workers with SIGTERM. Its last line is `epoll: workers=<n> requests=<n> stale=0 killed=1
//! ticks=<n> doubled=0`.

mod client;
mod connection;
mod master;
#[allow(dead_code)] // `prefork` uses the rest of it.
#[path = "../prefork/process.rs"]
mod process;
mod worker;

use clap::{Parser, value_parser};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A prefork server in which each worker runs one epoll loop
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
