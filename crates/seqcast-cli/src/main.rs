//! `seqcast`: inspects the segments of this host, and posts and claims by hand.
//!
//! Commands that only read map a segment read-only and take no seat; see `seqcast::inspect`. Each command is a separate
//! file. `docs/cli.md` describes the JSON output.

mod args;
mod claim;
mod claims;
mod doctor;
mod exit;
#[cfg(test)]
mod fixture;
mod generate;
mod inspect;
mod ls;
mod manual;
mod metrics;
mod output;
mod post;
mod processes;
mod relay;
mod release;
mod retained;
mod rm;
mod segments;
mod signals;
mod tail;
mod top;
mod units;

use std::process::ExitCode;

use clap::FromArgMatches;
use seqcast::Cause;

use self::args::{Args, Command};
use self::exit::{Exit, Failure};
use self::output::Output;

fn main() -> ExitCode {
    generate::complete();
    // Wrong usage exits here, with code 2.
    let args = Args::from_arg_matches(&manual::command().get_matches()).unwrap_or_else(|error| error.exit());
    let mut output = Output::new(args.format);
    signals::explain_sigbus();
    match run(&args, &mut output).and_then(|exit| output.flush().map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(failure) => output.fail(&failure).into(),
    }
}

fn run(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    carry_out(args, output).map_err(|failure| match failure {
        // Other segments may exist.
        Failure::Bus(error) => match error.cause() {
            Cause::NotFound { name } => Failure::NoSegment { name: name.clone(), others: segments::names() },
            _ => Failure::Bus(error),
        },
        failure => failure,
    })
}

fn carry_out(args: &Args, output: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        Command::Ls => ls::run(output),
        Command::Inspect(args) => inspect::run(args, output),
        Command::Top(args) => top::run(args, output),
        Command::Tail(args) => tail::run(args, output),
        Command::Post(args) => post::run(args, output),
        Command::Claim(args) => claim::run(args, output),
        Command::Claims(args) => claims::run(args, output),
        Command::Release(args) => release::run(args, output),
        Command::Retained(args) => retained::run(args, output),
        Command::Doctor(args) => doctor::run(args, output),
        Command::Rm(args) => rm::run(args, output),
        Command::Metrics(args) => metrics::run(args, output),
        Command::Relay(args) => relay::run(args),
        Command::Completions(args) => generate::completions(args, output),
        Command::Man(args) => generate::man(args, output),
    }
}
