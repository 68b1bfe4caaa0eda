//! The lock-free core under loom: every race as one test, named after the race.
//!
//! `protocol` is the crate's own source, compiled a second time; `sync` gives it loom's atomics.

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code, unused_imports)]
mod protocol;
mod sync;

#[path = "../common/doubled.rs"]
mod doubled;
#[path = "../common/life.rs"]
mod life;
#[path = "../common/log.rs"]
mod log;
mod race;
#[path = "../common/region.rs"]
mod region;
mod room;
#[path = "../common/table.rs"]
#[allow(dead_code)]
mod table;
#[path = "../common/world.rs"]
mod world;

mod adopt_races;
mod bell_races;
mod bridge_races;
mod claim_races;
mod large_races;
mod life_races;
mod lock_races;
mod mark_races;
mod post_races;
mod reserve_races;
mod retained_races;
mod room_races;
mod wake_races;
