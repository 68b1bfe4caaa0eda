//! Real processes that post, read, reserve, claim, wait, join and leave, while this one kills, stops and replaces them,
//! and an oracle that holds everything they saw against the guarantees.
//!
//! ```text
//! cargo run --release --example torture -- --seconds 60 [--workers N] [--slots N] [--seed N] [--round N]
//! ```
//!
//! The last line is the verdict; with anything but zeros in it the exit code is 1, and the seed and a trace are printed.
//! The seed decides what each process tries to do and which signals it is sent; the interleaving is the kernel's. `--round`
//! repeats one round of a seed again and again.

mod aim;
mod child;
mod conductor;
mod content;
mod copies;
mod descriptors;
mod log;
mod oracle;
mod participant;
mod rng;
mod round;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::conductor::Tally;
use crate::oracle::{Archive, Seen, Violations};
use crate::round::Round;

/// How long a segment is tortured before the next one.
const ROUND: Duration = Duration::from_secs(5);

struct Arguments {
    seconds: u64,
    workers: usize,
    slots: u64,
    seed: u64,
    round: Option<u64>,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = std::env::args().skip(1);
    let mut arguments = Arguments { seconds: 20, workers: 6, slots: 8, seed: log::boottime_ns(), round: None };
    while let Some(option) = given.next() {
        let value = given.next().and_then(|value| value.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{option}: a number must follow"))?;
        match option.as_str() {
            "--seconds" => arguments.seconds = value.max(1),
            "--workers" if (2..=64).contains(&value) => arguments.workers = value as usize,
            "--slots" if value.is_power_of_two() && (8..=4096).contains(&value) => arguments.slots = value,
            "--seed" => arguments.seed = value,
            "--round" => arguments.round = Some(value),
            "--workers" => return Err("--workers: 2 to 64".to_owned()),
            "--slots" => return Err("--slots: a power of two from 8 to 4096".to_owned()),
            _ => return Err(format!("{option}: unknown")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let Arguments { seconds, workers, slots, seed, round: repeated } = match arguments() {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("{what}\nusage: torture [--seconds N] [--workers N] [--slots N] [--seed N] [--round N]");
            return ExitCode::from(2);
        }
    };
    eprintln!("torture: {workers} processes, {slots} slots, {seconds} s, seed {seed}");
    conductor::take_interrupts();
    conductor::take_orphans();
    let mut archive = Archive::new();
    let mut tally = Tally::default();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    for number in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || tally.violations.total() > 0 || conductor::is_interrupted() {
            break;
        }
        let round = Round::new(seed, repeated.unwrap_or(number), workers, slots);
        // No crumb of a round at the end.
        let length = if left < ROUND * 3 / 2 { left } else { ROUND };
        conductor::run(round, length, &mut archive, &mut tally);
    }
    // Less than was asked for, if something ended it.
    let seconds = begin.elapsed().as_secs().min(seconds);
    let Tally { events, kills, stops, violations, seen } = tally;
    let Seen { delivered, missed, laps, nothing, void, joins, stale, .. } = seen;
    let Seen {
        unique_runs,
        unique_ignored,
        unique_excused,
        unique_of_the_gone,
        claims_full,
        claims_late,
        claims_won,
        ..
    } = seen;
    println!("torture: delivered={delivered} missed={missed} laps={laps} nothing={nothing} void={void} joins={joins}");
    println!(
        "torture: unique: ran={unique_runs} ignored={unique_ignored} of_the_gone={unique_of_the_gone} excused={unique_excused} \
         full={claims_full} late={claims_late}; claims won={claims_won}; too_old_to_judge={stale}"
    );
    let Seen { standard, closed, replaced, forked, .. } = seen;
    println!("torture: descriptors: closed={closed} replaced={replaced} without_some_of_0_to_2={standard}");
    // What every run tries.
    let closed = closed + replaced;
    let complete = closed > 0 && forked > 0;
    if !complete {
        eprintln!("torture: the run was too short to close descriptors and to fork in handlers");
    }
    let Violations { torn, conflicting, missing, double, leaked, delayed, faults } = violations;
    if violations.total() > 0 {
        println!(
            "torture: delayed={delayed} faults={faults}; again with --seed {seed} --workers {workers} --slots {slots}"
        );
    }
    println!(
        "torture: seconds={seconds} events={events} kills={kills} stops={stops} closed={closed} forked={forked} torn={torn} \
         conflicting={conflicting} missing={missing} double={double} leaked={leaked}"
    );
    if violations.total() == 0 && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
