//! Real processes that post, read, reserve, claim, wait, join and leave, while this one kills, stops and replaces them.
//! An oracle checks everything that they saw against the guarantees.
//!
//! ```text
//! cargo run --release --example torture -- --seconds 60 [--workers N] [--slots N] [--seed N] [--round N]
//! ```
//!
//! The last line is the verdict. If it contains anything but zeros, the exit code is 1, and the seed and a trace are
//! printed. The seed decides what each process tries to do and which signals it gets; the kernel decides the
//! interleaving. `--round` repeats one round of a seed.

mod aim;
mod bells;
mod child;
mod conductor;
mod content;
mod copies;
mod descriptors;
mod disturb;
mod holders;
mod log;
mod must;
mod oracle;
mod participant;
mod probe;
mod rng;
mod round;
mod state;
mod sums;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::builder::RangedU64ValueParser;
use clap::{Parser, value_parser};

use crate::bells::Watched;
use crate::conductor::Tally;
use crate::holders::Held;
use crate::must::Waited;
use crate::oracle::{Archive, Seen, Violations};
use crate::round::Round;
use crate::state::Kept;

/// The time that one segment is tortured before the next one.
const ROUND: Duration = Duration::from_secs(5);

/// One of this many parts of a round is for event loops that sleep on their bells.
const BELLS: u32 = 8;
/// The share of a round that is for retained events: one part in this many.
const STATE: u32 = 5;
/// The share of a round that is for claims that end with their holder, likewise.
const HOLDERS: u32 = 8;
/// The share of a round that is for readers that posts wait for, likewise.
const MUST_READ: u32 = 8;

/// Kills, stops and replaces processes that use a bus, and checks all that they saw.
#[derive(Parser)]
#[command(name = "torture", max_term_width = 100)]
struct Arguments {
    /// How long to run, in seconds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many processes
    #[arg(long, value_name = "N", default_value = "6", value_parser = workers())]
    workers: usize,
    /// Cells of the ring, a power of two from 8 to 4096; some rounds take a multiple
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = cells)]
    slots: u64,
    /// The seed of each process's actions [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Repeat this round of the seed
    #[arg(long, value_name = "N")]
    round: Option<u64>,
}

fn workers() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(2..=64)
}

fn cells(text: &str) -> Result<u64, &'static str> {
    let cells = text.parse().ok().filter(|cells: &u64| cells.is_power_of_two() && (8..=4096).contains(cells));
    cells.ok_or("a power of two from 8 to 4096")
}

fn main() -> ExitCode {
    let Arguments { seconds, workers, slots, seed, round: repeated } = Arguments::parse();
    let seed = seed.unwrap_or_else(log::boottime_ns);
    eprintln!("torture: {workers} processes, {slots} slots, {seconds} s, seed {seed}");
    conductor::take_interrupts();
    conductor::take_orphans();
    let mut archive = Archive::new();
    let mut tally = Tally::default();
    let (mut watched, mut kept, mut held) = (Watched::default(), Kept::default(), Held::default());
    let mut waited = Waited::default();
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    for number in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        let wrong = tally.violations.total() + watched.lost + kept.wrong + held.wrong + waited.wrong;
        if left.is_zero() || wrong > 0 || conductor::is_interrupted() {
            break;
        }
        let round = Round::new(seed, repeated.unwrap_or(number), workers, slots);
        // A very short round at the end would test nothing.
        let length = if left < ROUND * 3 / 2 { left } else { ROUND };
        let (with_bells, with_state, with_holders) = (length / BELLS, length / STATE, length / HOLDERS);
        let with_must = length / MUST_READ;
        watched.add(&bells::run(seed, number, with_bells));
        kept.add(&state::run(seed, number, with_state));
        held.add(&holders::run(seed, number, with_holders));
        waited.add(&must::run(seed, number, with_must));
        let rest = length - with_bells - with_state - with_holders - with_must;
        conductor::run(round, rest, &mut archive, &mut tally);
    }
    // Less than requested, if a signal ended it.
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
        "torture: unique: ran={unique_runs} ignored={unique_ignored} of_the_gone={unique_of_the_gone} \
         excused={unique_excused} full={claims_full} late={claims_late}; claims won={claims_won}; \
         too_old_to_judge={stale}"
    );
    let Watched { watches, posts, wakes, kills: rung_kills, stops: rung_stops, lost } = watched;
    println!(
        "torture: bells: watches={watches} posts={posts} wake-ups={wakes} kills={rung_kills} stops={rung_stops} \
         lost={lost}"
    );
    let Kept { watches, retained, cleared, full, laps, resets, kills: state_kills, stops: state_stops, wrong } = kept;
    println!(
        "torture: state: watches={watches} retained={retained} cleared={cleared} full={full} laps={laps} \
         resets={resets} kills={state_kills} stops={state_stops} wrong={wrong}"
    );
    let Held { won, renewed, completed, taken_over, kills: held_kills, stops: held_stops, wrong: held_wrong } = held;
    println!(
        "torture: holders: won={won} renewed={renewed} completed={completed} taken_over={taken_over} \
         kills={held_kills} stops={held_stops} wrong={held_wrong}"
    );
    let Waited { posted, full, read, cut_off, kills: must_kills, stops: must_stops, wrong: must_wrong } = waited;
    println!(
        "torture: must read: posted={posted} full={full} read={read} cut_off={cut_off} kills={must_kills} \
         stops={must_stops} wrong={must_wrong}"
    );
    let Seen { standard, closed, replaced, forked, .. } = seen;
    println!("torture: descriptors: closed={closed} replaced={replaced} without_some_of_0_to_2={standard}");
    // Every run tries these.
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
        "torture: seconds={seconds} events={events} kills={kills} stops={stops} closed={closed} forked={forked} \
         torn={torn} conflicting={conflicting} missing={missing} double={double} leaked={leaked}"
    );
    if violations.total() + lost + wrong + held_wrong + must_wrong == 0 && complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
