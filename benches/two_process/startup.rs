//! The cost of a new worker process before its first poll: opening the segment by name, joining, registering a handler.

use seqcast::{Bus, Event, Scope, SegmentOptions};

use crate::support::batch::Batch;
use crate::support::board::Board;
use crate::support::bus::quiet;
use crate::support::clock::{granule_ns, ns_per_tick, ticks};
use crate::support::cpu::core_of;
use crate::support::team::{self, Role};

/// The starts of a batch, each in a separate process.
const STARTS: usize = 20;

pub fn times(board: &Board) -> Result<Batch, String> {
    let name = format!("seqcast-bench-startup-{}", std::process::id());
    let made = SegmentOptions::new().unlink_on_drop(true).create(&name).map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let start = || {
            let before = ticks();
            let bus = Bus::open(&name).expect("the segment");
            let worker = bus.join_with(&quiet().announce(true)).expect("a seat");
            worker.on(Scope::All, |_: &Event<'_>| ()).expect("a handler");
            let _ = worker.poll().expect("polled");
            board.sample(0, ticks() - before);
            board.set_samples(1);
        };
        team::run(board, &[Role::new(core_of(0), start)])?;
        times.extend(board.samples().map(|ticks| ticks as f64 * ns_per_tick()));
    }
    drop(made);
    Ok(Batch::Times(times, granule_ns()))
}
