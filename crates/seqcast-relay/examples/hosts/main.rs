//! Hosts with relays over real servers, while everything is killed, stopped, cut, wiped and failed over at random; an
//! oracle compares what each host has delivered with what was posted.
//!
//! ```sh
//! cargo run --release -p seqcast-relay --example hosts -- --seconds 60
//! ```
//!
//! It needs `redis-server` (see `crates/seqcast-relay/tests/run`). The last line has the figures. The exit code is 1 if
//! an event was lost silently, doubled or out of order.

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::host::Host;
use common::proxy::{Mode, Proxy};
use common::run::{judge, post_while};
use common::server::{Folder, Server};
use seqcast::relay::RelayOptions;
use seqcast::{Bus, SegmentOptions};
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
    #[arg(long, default_value_t = 2)]
    hosts: usize,
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
    if let [_, role, name, url] = &words[..]
        && role == "relay"
    {
        return relay(name, url);
    }
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("hosts: seed {seed}");
    run(&args, seed)
}

/// The process of a relay: this program, started again.
fn relay(name: &str, url: &str) -> ExitCode {
    let bus = Bus::open(name).expect("the segment is there");
    let relay = match bus.relay(&RelayOptions::new()) {
        Ok(relay) => relay,
        Err(_) => return ExitCode::from(3),
    };
    let redis = Redis::new(Address::parse(url, Secrets::default()).expect("a URL"), "test", 100_000);
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

/// Two servers, of which the second copies the first over a link that can be held.
struct Engine {
    servers: [Server; 2],
    /// For each server, the link over which the other copies it.
    links: [Proxy; 2],
    master: usize,
}

impl Engine {
    fn start() -> Engine {
        let port = fastrand::u16(20_000..50_000);
        let start = |port: u16| {
            let port = port.to_string();
            Server::start_with(&[
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--repl-diskless-sync-delay",
                "0",
                "--repl-ping-replica-period",
                "1",
            ])
        };
        let servers = [start(port), start(port + 1)];
        let link = |number: u16| Proxy::start_tcp(port + 10 + number, port + number);
        let engine = Engine { servers, links: [link(0), link(1)], master: 0 };
        engine.copy();
        engine
    }

    fn master(&self) -> &Server {
        &self.servers[self.master]
    }

    fn replica(&self) -> &Server {
        &self.servers[1 - self.master]
    }

    /// The server that is not the master copies it.
    fn copy(&self) {
        let port = self.links[self.master].port();
        self.replica().run_command(&format!("REPLICAOF 127.0.0.1 {port}"));
    }

    fn wait_for_copy(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let info: String = self.replica().ask("INFO replication");
            if info.contains("master_link_status:up") {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Faults, by name. Those that make the server lose what it has acknowledged are marked.
const FAULTS: [(&str, bool); 16] = [
    ("relay killed", false),
    ("relay stopped", false),
    ("relay doubled", false),
    ("all relays killed", false),
    ("link cut", false),
    ("link refused", false),
    ("link held", false),
    ("link deaf", false),
    ("server killed", false),
    ("server stopped", false),
    ("scripts flushed", false),
    ("stream trimmed", false),
    ("server flushed", true),
    ("stream deleted", true),
    ("failover", true),
    ("split brain", true),
];

fn run(args: &Args, seed: u64) -> ExitCode {
    fastrand::seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Folder::new();
    let mut engine = Engine::start();
    let options = SegmentOptions::new().capacity(args.capacity).claims(65536).seats(16);
    let socket = engine.master().socket();
    let new = |_| Host::new(launch, folder.path(), &socket, &options);
    let mut hosts: Vec<Host> = (0..args.hosts).map(new).collect();
    hosts.iter_mut().for_each(Host::start_relay);
    hosts.iter().for_each(Host::wait_for_relay);
    let faults: Vec<(&str, bool)> = FAULTS.into_iter().filter(|(name, _)| name.starts_with(&args.only)).collect();
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    let mut loses = Vec::new();
    let start = Instant::now();
    let posted = post_while(&mut hosts, args.rate / 2, |hosts| {
        while start.elapsed() < Duration::from_secs(args.seconds) {
            let pause = Duration::from_millis(random.u64(300..2500));
            thread::sleep(pause.min(Duration::from_secs(args.seconds).saturating_sub(start.elapsed())));
            let (name, loses_data) = faults[random.usize(..faults.len())];
            println!("{:6.1} s  {name}", start.elapsed().as_secs_f64());
            fault(name, hosts, &mut engine, &mut random);
            *happened.entry(name).or_default() += 1;
            if loses_data && !loses.contains(&name) {
                loses.push(name);
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
    let reason = match (verdict.unique_twice, &loses[..]) {
        (0, _) => String::new(),
        (_, []) => " (without a reason)".into(),
        (_, names) => format!(" (the server lost claims: {})", names.join(", ")),
    };
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
    let is_good = verdict.is_clean() && (verdict.unique_twice == 0 || !loses.is_empty());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fault(name: &str, hosts: &mut [Host], engine: &mut Engine, random: &mut fastrand::Rng) {
    let mut sleep = |millis: std::ops::Range<u64>| thread::sleep(Duration::from_millis(random.u64(millis)));
    let chosen = fastrand::usize(..hosts.len());
    let host = &mut hosts[chosen];
    match name {
        "relay killed" => {
            for _ in 0..3 {
                host.kill_relay();
                host.start_relay();
                sleep(5..100);
            }
        }
        "relay stopped" => {
            host.signal_relay(libc::SIGSTOP);
            sleep(100..1500);
            host.signal_relay(libc::SIGCONT);
        }
        "relay doubled" => {
            host.signal_relay(libc::SIGSTOP);
            let code = host.command().status().expect("it starts").code();
            assert_eq!(code, Some(3), "a second relay was not refused");
            host.signal_relay(libc::SIGCONT);
        }
        "all relays killed" => {
            hosts.iter_mut().for_each(Host::kill_relay);
            sleep(1..200);
            hosts.iter_mut().for_each(Host::start_relay);
        }
        "link cut" => host.proxy.cut(),
        "link refused" => {
            host.proxy.refuse(true);
            sleep(50..800);
            host.proxy.refuse(false);
        }
        "link held" => {
            host.proxy.set(Mode::Hole);
            sleep(50..1500);
            host.proxy.set(Mode::Pass);
        }
        "link deaf" => {
            host.proxy.set(Mode::Deaf);
            sleep(20..400);
            host.proxy.cut();
            host.proxy.set(Mode::Pass);
        }
        "server killed" => {
            let master = &mut engine.servers[engine.master];
            master.kill();
            sleep(1..300);
            master.run();
            engine.wait_for_copy();
        }
        "server stopped" => {
            engine.master().signal(libc::SIGSTOP);
            sleep(100..1500);
            engine.master().signal(libc::SIGCONT);
        }
        "scripts flushed" => engine.master().run_command("SCRIPT FLUSH"),
        "stream trimmed" => engine.master().run_command("XTRIM {test}:s MAXLEN 5"),
        "server flushed" => engine.master().run_command("FLUSHALL"),
        "stream deleted" => engine.master().run_command("DEL {test}:s"),
        "failover" => {
            engine.wait_for_copy();
            // The replica falls behind, and then is the master.
            engine.links[engine.master].set(Mode::Hole);
            sleep(50..1200);
            engine.servers[engine.master].kill();
            promote(engine, hosts);
            let old = 1 - engine.master;
            engine.servers[old].run();
            engine.copy();
            engine.wait_for_copy();
        }
        "split brain" => {
            engine.wait_for_copy();
            // Some hosts go to the new master, and the others stay with the old one, until that is discarded.
            let (half, _) = hosts.split_at_mut(fastrand::usize(1..=hosts.len().max(2) / 2));
            promote(engine, half);
            sleep(200..1700);
            engine.copy();
            hosts.iter().for_each(|host| host.proxy.lead_to(&engine.master().socket()));
            engine.wait_for_copy();
        }
        _ => unreachable!("{name} is no fault"),
    }
}

/// The replica becomes the master, and these hosts are led to it.
fn promote(engine: &mut Engine, hosts: &mut [Host]) {
    engine.replica().run_command("REPLICAOF NO ONE");
    engine.links[engine.master].cut();
    engine.links[engine.master].set(Mode::Pass);
    engine.master = 1 - engine.master;
    hosts.iter().for_each(|host| host.proxy.lead_to(&engine.master().socket()));
}
