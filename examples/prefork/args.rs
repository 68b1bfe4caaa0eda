//! The command line.

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum, value_parser};

/// A prefork HTTP server with workers that exchange events.
#[derive(Debug, Parser)]
#[command(name = "prefork", max_term_width = 100)]
pub struct Args {
    /// Keep running until Ctrl-C, for requests with curl, instead of a demonstration
    #[arg(long)]
    pub serve: bool,
    /// Listen on this port of 127.0.0.1 [default: any free port; 8080 with --serve]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Number of workers to fork
    #[arg(long, value_name = "N", default_value = "4", value_parser = workers())]
    pub workers: usize,
    /// Duration of the demonstration, in seconds
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Approximate number of requests per second
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Name the segment, to watch it with `seqcast top NAME`
    #[arg(long)]
    pub name: Option<String>,
    /// Let worker 0 report wrongly, to check that the master notices
    #[arg(long, value_name = "KIND")]
    pub fault: Option<Fault>,
}

impl Args {
    /// Returns the port to listen on, or 0 for any.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.serve { 8080 } else { 0 })
    }
}

fn workers() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=64)
}

/// A fault of worker 0, on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// It skips one event
    Lose,
    /// It handles two events in the wrong order
    Swap,
    /// It runs a unique event twice
    Twice,
    /// It claims a unique event and does not run it
    Never,
}
