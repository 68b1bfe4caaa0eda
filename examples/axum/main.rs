//! An HTTP service of independent processes that listen on one port (`SO_REUSEPORT`). Each has its own cache, which
//! events keep up to date: `cargo run --release --features tokio --example axum`
//!
//! A change is acknowledged after its event is posted, and each request polls before it reads the cache. So a request
//! that begins after an acknowledgement sees the change in every worker. The bell wakes an idle worker, without a
//! thread or a timer.
//!
//! The program starts the workers, puts them under load, restarts one of them during the load, and compares every
//! answer with the acknowledged changes. Its last line is `axum: workers=<n> requests=<n> stale=0 missed=0
//! idle_wakeups_per_s=<x>`.

mod client;
mod database;
mod fleet;
mod load;
mod server;
mod site;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, value_parser};

use self::fleet::Fleet;
use self::load::Load;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An HTTP service of independent processes with caches that events keep up to date
#[derive(Clone, Debug, Parser)]
#[command(name = "axum", max_term_width = 100)]
struct Args {
    /// How many workers to start
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u64).range(1..=64))]
    workers: u64,
    /// How long the load lasts, in seconds
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u64).range(2..=3600))]
    seconds: u64,
    /// Let the workers poll only by a timer, and not before each request, to see that the load finds stale answers
    #[arg(long)]
    careless: bool,
    /// Run as the worker with this number
    #[arg(long, hide = true)]
    worker: Option<u64>,
    /// The address that all workers listen on
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The name of the segment
    #[arg(long, hide = true, default_value = "")]
    segment: String,
    /// The folder that is used as the database
    #[arg(long, hide = true, default_value = ".")]
    database: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.worker {
        Some(number) => runtime.block_on(server::run(number, &args)),
        None => runtime.block_on(demonstrate(&args)),
    }
}

async fn demonstrate(args: &Args) -> Result<()> {
    let mut fleet = Fleet::start(args.workers, args.careless)?;
    let load = Load::new(fleet.address(), Duration::from_secs(args.seconds));
    let loading = tokio::spawn(load.run());
    // After half of the time, one worker is told to end, finishes its requests, and is replaced.
    tokio::time::sleep(Duration::from_secs(args.seconds) / 2).await;
    fleet.restart(0).await?;
    let tally = loading.await??;
    let idle_wakeups = fleet.idle_wakeups_per_second(Duration::from_secs(2)).await?;
    let missed = fleet.stop().await?;

    for finding in &tally.findings {
        println!("{finding}");
    }
    println!("answers by worker: {:?}, from the cache: {}", tally.by_worker, tally.hits);
    println!(
        "axum: workers={} requests={} stale={} missed={missed} idle_wakeups_per_s={idle_wakeups:.1}",
        args.workers, tally.requests, tally.stale
    );
    let is_good = tally.stale == 0 && missed == 0 && tally.by_worker.len() as u64 == args.workers && tally.hits > 0;
    if is_good { Ok(()) } else { Err("a check failed".into()) }
}
