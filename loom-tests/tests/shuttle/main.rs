//! Cases that are too large for loom, under a random scheduler: four writers and three readers on four cells, with
//! reservations, unique events and deaths.
//!
//! The models' oracle judges every schedule. A failure prints a schedule that shuttle can replay.

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code)]
mod protocol;
mod sync;

#[path = "../common/life.rs"]
mod life;
#[path = "../common/log.rs"]
mod log;
#[path = "../common/region.rs"]
#[allow(dead_code)]
mod region;
#[path = "../common/world.rs"]
#[allow(dead_code)]
mod world;

mod crowd;
mod report;
mod sleepers;

/// Runs `scenario` under this many random schedules: some thousands in CI, a million in a deep run. Half of them
/// preempt at random at any point, the other half only at a few points, which finds other faults.
fn explore(name: &str, scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let deep = std::env::var("SEQCAST_MODEL_DEPTH").is_ok_and(|depth| depth == "deep");
    let schedules = if deep { 1_000_000 } else { 4_000 };
    report::row(name, schedules, || {
        shuttle::check_random(scenario, schedules / 2);
        shuttle::check_pct(scenario, schedules / 2, 3);
    });
}
