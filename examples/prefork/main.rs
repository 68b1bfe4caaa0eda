//! A prefork HTTP server whose workers hear each other.
//!
//! ```text
//! cargo run --release --example prefork              drives itself for six seconds and says what came of it
//! cargo run --release --example prefork -- --serve   stays up, to be tried with curl
//! ```
//!
//! A master forks workers that share one listening socket. Each has its own cache of pages and its own table of
//! upstreams; seqcast keeps them in step. Where to read on:
//!
//! - `events.rs`: what the workers tell each other. Start here.
//! - `site.rs`: one worker's memory, and the handlers that keep it in step with the others'.
//! - `routes.rs`: HTTP requests that read that memory and post events.
//! - `server.rs`: the life of a worker: joining the bus after the fork, polling in the background, leaving.
//! - `master.rs`: forks, replaces the dead, ends all in order.
//!
//! The rest is the demonstration's proof. Every worker folds what it handled into a running hash (`ledger.rs`) that it
//! reports to the master (`report.rs`), who listens on the same bus and compares (`audit.rs`), while `driver.rs` sends
//! real requests and checks that what it told one worker shows in all.

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

/// Errors here end the process; nobody tells them apart.
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
