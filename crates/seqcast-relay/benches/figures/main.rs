//! Figures of the relay, beside Redis and NATS used directly.
//!
//! ```sh
//! cargo bench -p seqcast-relay --bench figures                  # about five minutes; --quick: some seconds
//! nice -n -15 cargo bench -p seqcast-relay --bench figures      # on a machine with other users, as root
//! ```
//!
//! It starts `redis-server` on a Unix socket, and `nats-server` if it is installed (Debian has both), with their files
//! in temporary folders, two segments and two relays. It prints tables in Markdown.
//! Rows that are compared are measured alternately; compare their ratios, which hold on other machines as well.

mod bench;
mod board;
mod cpu;
mod crowd;
mod pair;
mod sections;
mod servers;
mod table;
mod way;

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fs;
use std::process::Command;
use std::time::Duration;

use bench::{Bench, Size};
use clap::Parser;

/// Measures the relay beside Redis and NATS used directly, and prints tables.
#[derive(Debug, Parser)]
struct Args {
    /// Some seconds, to see that it works.
    #[arg(long)]
    quick: bool,
    /// Only sections whose name begins so: way, throughput, rate, take-over, catch-up, readers, idle.
    #[arg(long, default_value = "")]
    only: String,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let args = Args::parse();
    // `cargo test` runs benches, too, and shows that they work.
    let is_quick = args.quick || !args.bench;
    cpu::allow_many_descriptors();
    let (rounds, millis) = if is_quick { (1, 50) } else { (10, 400) };
    let mut bench = Bench::start(Size { is_quick, rounds, batch: Duration::from_millis(millis) });
    machine(&bench);
    let is_wanted = |name: &str| name.starts_with(&args.only);
    if is_wanted("way") {
        sections::one_way(&bench);
    }
    if is_wanted("throughput") {
        sections::throughput(&bench);
    }
    if is_wanted("rate") {
        sections::at_a_rate(&bench);
    }
    if is_wanted("idle") {
        sections::idle(&bench);
    }
    if is_wanted("take-over") {
        sections::take_over(&mut bench);
    }
    if is_wanted("catch-up") {
        sections::catch_up(&bench);
    }
    if is_wanted("readers") {
        sections::readers(&mut bench);
    }
}

fn machine(bench: &Bench) {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().map(|made| made.stdout).unwrap_or_default();
    let info = bench.server.ask::<String>("INFO server");
    let fact =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown").trim().to_owned();
    println!(
        "{}, {cores} processors, Linux {}, redis-server {} on a Unix socket without persistence, {}, {}, \
         load {} at the start.\n",
        model.trim_start_matches(['\t', ' ', ':']).trim(),
        read("/proc/sys/kernel/osrelease").trim(),
        fact("redis_version:"),
        bench.nats.as_ref().map_or("no nats-server".into(), |nats| format!("nats-server {}", nats.version)),
        String::from_utf8_lossy(&date).trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("unknown"),
    );
}
