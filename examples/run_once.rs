//! One of several processes does the nightly job: `cargo run --example run_once`
//!
//! All of them wake up at the same time and want to do it. A claim selects one of them.

use std::process::Command;
use std::time::Duration;

use seqcast::{Bus, Claimed, SegmentOptions};

const PROCESSES: usize = 4;
/// No process does the job again within this time. It is longer than the difference between the processes' clocks.
const HELD_FOR: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(name) = std::env::args().nth(1) {
        return Ok(wake_up(&name)?);
    }
    // The first process creates the segment and unlinks its name at the end. Processes without a common parent would
    // use `Bus::open_or_create` and keep the name.
    let name = format!("seqcast-run-once-{}", std::process::id());
    let _bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;

    let program = std::env::current_exe()?;
    let processes: Result<Vec<_>, _> = (0..PROCESSES).map(|_| Command::new(&program).arg(&name).spawn()).collect();
    for mut process in processes? {
        process.wait()?;
    }
    Ok(())
}

fn wake_up(name: &str) -> seqcast::Result<()> {
    let pid = std::process::id();
    let worker = Bus::open(name)?.join()?;
    match worker.claim("nightly-mail", HELD_FOR)? {
        // If the job fails, `worker.release(&claim)` lets another process try.
        Claimed::Won(_claim) => println!("{pid}: sends the mail"),
        Claimed::Held { left, .. } => {
            println!("{pid}: another process does it; next chance in {:.0} s", left.as_secs_f64())
        }
        // The segment has no room for another key.
        _ => println!("{pid}: no room for the key, skips the job"),
    }
    Ok(())
}
