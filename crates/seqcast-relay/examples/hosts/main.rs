//! Hosts with relays over real servers, while everything is killed, stopped, cut, wiped and failed over at random; an
//! oracle compares what each host has delivered with what was posted.
//!
//! ```sh
//! cargo run --release -p seqcast-relay --example hosts -- --seconds 60
//! ```
//!
//! Hosts find their server in turn over a Unix socket, by a sentinel, and with `--features tls` over TLS. It needs
//! `redis-server`, and for TLS `openssl` (see `crates/seqcast-relay/tests/run`). The last line has the figures.
//!
//! The exit code is 1 if an event was lost silently, doubled or out of order, or if a unique event ran twice and none
//! of the faults is the reason.

#[path = "../../tests/common/mod.rs"]
mod common;
mod engine;
mod faults;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::host::Host;
use common::oracle::Loss;
use common::run::{judge, post_while};
use common::server::Folder;
use engine::{Engine, Way};
use faults::FAULTS;
use seqcast::relay::RelayOptions;
use seqcast::{Bus, ErrorKind, SegmentOptions};
use seqcast_relay::context::{Context, Options};
use seqcast_relay::engine::redis::{Address, Redis, Secrets};
use seqcast_relay::log::Log;

/// Runs hosts with relays under faults, and judges what they delivered.
#[derive(Debug, Parser)]
struct Args {
    /// How long posters post.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of the faults. Default: another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// The number of hosts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=20))]
    hosts: u8,
    /// Events per second and host.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Events in a host's ring.
    #[arg(long, default_value_t = 16384)]
    capacity: u64,
    /// Only faults whose name begins so.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, name, url, more @ ..] = &words[..]
        && role == "relay"
    {
        return relay(name, url, more);
    }
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("hosts: seed {seed}");
    run(&args, seed)
}

/// The process of a relay: this program, started again.
fn relay(name: &str, url: &str, more: &[String]) -> ExitCode {
    #[cfg(feature = "tls")]
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bus = Bus::open(name).expect("the segment is there");
    let relay = loop {
        match bus.relay(&RelayOptions::new()) {
            Ok(relay) => break relay,
            Err(error) if more.iter().any(|word| word == engine::STANDBY) && error.kind() == ErrorKind::RelayTaken => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return ExitCode::from(3),
        }
    };
    let authority = more.iter().find(|word| *word != engine::STANDBY);
    let authorities = authority.map(|file| std::fs::read(file).expect("the authority's certificate"));
    let secrets = Secrets { authorities, ..Secrets::default() };
    let redis = Redis::new(Address::parse(url, secrets).expect("a URL"), "test", 100_000);
    let options = Options { sources: vec!["cache".parse().expect("a pattern")], ..Options::default() };
    let context = Arc::new(Context::new(options, Log::stderr()));
    let end = seqcast_relay::run(&bus, relay, &redis, &context, || {});
    eprintln!("relay of {name}: {end}");
    ExitCode::from(4)
}

fn launch(name: &str, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program's path"));
    command.args(["relay", name, url]);
    command
}

fn run(args: &Args, seed: u64) -> ExitCode {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Folder::new();
    let mut engine = Engine::start();
    let options = SegmentOptions::new().capacity(args.capacity).claims(65536).seats(16);
    let socket = engine.master().socket();
    let new = |number: usize| {
        let mut host = Host::new(launch, folder.path(), &socket, &options);
        engine.connect(&mut host, number);
        println!("hosts: host {number} over {}", Way::of(number).name());
        host
    };
    let mut hosts: Vec<Host> = (0..usize::from(args.hosts)).map(new).collect();
    hosts.iter_mut().for_each(Host::start_relay);
    hosts.iter().for_each(Host::wait_for_relay);
    let faults: Vec<(&str, bool)> = FAULTS.into_iter().filter(|(name, _)| name.starts_with(&args.only)).collect();
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    let mut losses: Vec<Loss> = Vec::new();
    let start = Instant::now();
    let posted = post_while(&mut hosts, args.rate / 2, |hosts| {
        while start.elapsed() < Duration::from_secs(args.seconds) {
            let pause = Duration::from_millis(random.u64(300..2500));
            thread::sleep(pause.min(Duration::from_secs(args.seconds).saturating_sub(start.elapsed())));
            let (name, loses_data) = faults[random.usize(..faults.len())];
            println!("{:6.1} s  {name}", start.elapsed().as_secs_f64());
            let begin = Instant::now();
            faults::happen(name, hosts, &mut engine, &mut random);
            *happened.entry(name).or_default() += 1;
            if loses_data {
                losses.push(Loss { name, begin, end: Instant::now() });
            }
        }
    });
    let seconds = start.elapsed().as_secs();
    let count = hosts.len();
    let verdict = judge(&mut hosts, &posted);
    for host in &hosts {
        // A thread that panicked would be no fault of the servers.
        assert!(!host.said().contains("panicked"), "{}", host.said());
    }
    for (name, times) in &happened {
        println!("{times:6} times {name}");
    }
    if !verdict.is_clean() {
        println!("{}", hosts[0].said());
        verdict.notes.iter().for_each(|note| println!("{note}"));
    }
    let (of_loss, without) = faults::reasons(&verdict, &posted, &losses);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (loss, count) in losses.iter().zip(of_loss).filter(|(_, count)| *count > 0) {
        let at = loss.begin.duration_since(start).as_secs_f64();
        println!("{count:6} unique events ran twice: {} at {at:.1} s", loss.name);
        *reasons.entry(loss.name).or_default() += count;
    }
    if without > 0 {
        println!("{without:6} unique events ran twice without a reason");
        reasons.insert("without a reason", without);
    }
    let reasons: Vec<String> = reasons.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    let reason = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    println!(
        "hosts: seconds={seconds} hosts={count} events={} faults={} lost_silently={} doubled={} reordered={} told={} \
         unique_twice={}{reason}",
        posted.events(),
        happened.values().sum::<u64>(),
        verdict.silent,
        verdict.doubled,
        verdict.reordered + verdict.forked,
        verdict.told,
        verdict.unique_twice
    );
    let is_good = verdict.is_clean() && without == 0;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
