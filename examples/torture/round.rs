//! The parameters of a round.

use std::time::Duration;

use seqcast::SegmentOptions;

use crate::content::Lengths;
use crate::rng::Rng;

pub const WAIT_MAX: Duration = Duration::from_millis(10);
pub const WAIT_INTERVAL: Duration = Duration::from_millis(1);
pub const LONG_TTL: Duration = Duration::from_secs(2);
/// The number of keys for claims without an event.
pub const CLAIM_KEYS: u64 = 8;
/// The time that a step may take beyond the documented bounds: the host is shared, and no process here sees its
/// hypervisor's theft.
const SLACK: Duration = Duration::from_millis(250);

/// One segment's life.
#[derive(Clone, Debug)]
pub struct Round {
    pub seed: u64,
    pub number: u64,
    pub name: String,
    pub workers: usize,
    /// Tiny, so that laps and races are frequent; in some rounds with room for messages of many fragments.
    pub capacity: u64,
    /// `true` if all processes pause after each action, so that reserved ids are not lapped but waited for.
    pub slow: bool,
    pub seats: u64,
    block_size: u64,
    claims: u64,
    /// The number of large blocks, for a share of the long events; 0 for none.
    large: u64,
    /// Known once the segment exists.
    pub largest: usize,
    pub block: usize,
}

/// The bytes of a large block. Longer events are posted in fragments.
const LARGE_BYTES: u64 = 1500;

impl Round {
    pub fn new(seed: u64, number: u64, workers: usize, slots: u64) -> Round {
        let mut rng = Rng::of(&[seed, number]);
        Round {
            seed: rng.next(),
            number,
            name: format!("/seqcast-torture-{}-{number}", std::process::id()),
            workers,
            capacity: slots * [1, 64, 1, 8][(number % 4) as usize],
            slow: number % 4 == 1,
            // A worker and a publisher for each, and not one more: a lost seat would show.
            seats: 2 * workers as u64,
            block_size: rng.pick(&[64, 288, 700]),
            claims: rng.pick(&[4, 256, 8192]),
            large: rng.pick(&[0, 2, 16]),
            largest: 0,
            block: 0,
        }
    }

    pub fn options(&self) -> SegmentOptions {
        let options = SegmentOptions::new().capacity(self.capacity).block_size(self.block_size).unlink_on_drop(true);
        let options = options.seats(self.seats).claims(self.claims);
        if self.large > 0 { options.large(self.large, LARGE_BYTES) } else { options }
    }

    /// The name of a segment that children create and unlink.
    pub fn other_name(&self, number: u64) -> String {
        format!("{}-other-{number}", self.name)
    }

    pub fn lengths(&self) -> Lengths {
        Lengths { block: self.block, largest: self.largest }
    }

    /// How long a unique key that no other event has is held. The event must not run twice, whatever the ttl.
    pub fn fresh_ttl(&self) -> Duration {
        Duration::from_micros(if self.number.is_multiple_of(2) { 50 } else { 5000 })
    }

    /// One in this many deliveries forks, in each process.
    pub fn fork_every(&self) -> u64 {
        if self.slow { 256 } else { 4096 }
    }

    /// The longest time of one step of a process, whatever the others do and whatever is done to them: a poll waits for
    /// `wait_max` in all, however many ids are reserved.
    pub fn bound_ns(&self) -> u64 {
        (WAIT_MAX + SLACK).as_nanos() as u64
    }
}

pub fn claim_ttl_ns(key: u64) -> u64 {
    (key + 1) * 2_000_000
}
