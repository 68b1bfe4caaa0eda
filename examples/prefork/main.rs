//! A prefork HTTP server with workers that exchange events.
//!
//! ```text
//! cargo run --release --example prefork              drives itself for six seconds and prints the results
//! cargo run --release --example prefork -- --serve   keeps running, for requests with curl
//! ```
//!
//! A master forks workers that share one listening socket. Each has its own cache of pages and its own table of
//! upstreams; seqcast keeps them in step. Suggested reading order:
//!
//! - `events.rs`: the events of the workers. Start here.
//! - `site.rs`: one worker's memory, and the handlers that keep it in step with the other workers.
//! - `routes.rs`: HTTP requests that read that memory and post events.
//! - `server.rs`: the life of a worker: joining the bus after the fork, polling in the background, leaving.
//! - `master.rs`: forks, replaces dead workers, shuts down in order.
//!
//! The other files prove that it works. Every worker folds the events that it handled into a running hash (`ledger.rs`)
//! and reports it to the master (`report.rs`). The master listens on the same bus and compares (`audit.rs`). Meanwhile
//! `driver.rs` sends real requests and checks that a change in one worker appears in all.

mod args;
mod audit;
mod child;
mod driver;
mod events;
mod fold;
mod lane;
mod latency;
mod ledger;
mod master;
mod observer;
mod process;
mod progress;
mod report;
mod routes;
mod server;
mod site;
mod upstreams;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;

/// Errors here end the process; no code distinguishes them.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match master::run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("prefork: {error}");
            ExitCode::FAILURE
        }
    }
}
