//! The command line.

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum, value_parser};

/// A prefork HTTP server whose workers hear each other.
#[derive(Debug, Parser)]
#[command(name = "prefork", max_term_width = 100)]
pub struct Args {
    /// Stay up until Ctrl-C, to be tried with curl, instead of a demonstration of some seconds
    #[arg(long)]
    pub serve: bool,
    /// Listen on this port of 127.0.0.1 [default: any free port; 8080 with --serve]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// How many workers to fork
    #[arg(long, value_name = "N", default_value = "4", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub workers: usize,
    /// How long the demonstration lasts, in seconds
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// About how many requests per second it sends
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub rate: u64,
    /// Name the segment, to look at it meanwhile with `seqcast top NAME`
    #[arg(long)]
    pub name: Option<String>,
    /// Let worker 0 report wrongly, to see that the master notices
    #[arg(long, value_name = "KIND")]
    pub fault: Option<Fault>,
}

impl Args {
    /// Returns the port to listen on, or 0 for any.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.serve { 8080 } else { 0 })
    }
}

/// What worker 0 does wrong when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// It leaves one event out
    Lose,
    /// It takes two events in the wrong order
    Swap,
    /// It runs a unique event twice
    Twice,
    /// It takes a unique event and does not run it
    Never,
}
