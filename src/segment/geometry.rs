//! The sizes of a segment, and the offsets of its regions.

use std::time::Duration;

use super::layout::{HEADER_BYTES, LINE, REGION_ALIGN, RELAY_BYTES};
use super::pools::{POOL_COUNT, POOLS, PoolId, PoolSpec};
use crate::error::{Cause, Error, Result};
use crate::protocol::relay::ORIGIN_WORDS;
use crate::protocol::retained::{PLACES, SLOT_HEAD_WORDS};
use crate::protocol::word::CellWord;
use crate::protocol::{pool, seat_words};

/// Bytes of a fragment's head, before its part of the event.
pub(crate) const FRAGMENT_HEAD_BYTES: usize = 32;
/// The same for a retained event, which states in each fragment where it is kept.
pub(crate) const RETAINED_FRAGMENT_HEAD_BYTES: usize = 64;

/// The sizes that determine where everything is, and the bounds that hold for all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) seats: u64,
    /// The longest patience of a post with a reader, in nanoseconds.
    pub(crate) most_patience: u64,
    /// Places for the origins of other hosts. 0 if there can be no relay.
    pub(crate) relay_hosts: u64,
    /// In the order of [`POOLS`].
    pub(crate) pools: [PoolSize; POOL_COUNT],
}

/// The size of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSize {
    /// The number of cells, without those of the index. 0 if the segment does not have the pool.
    pub(crate) cells: u64,
    /// The distance between two blocks, in bytes.
    pub(crate) stride: u64,
}

/// Offsets of the regions, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) seats: usize,
    /// In the order of [`POOLS`].
    pub(crate) pools: [PoolRegions; POOL_COUNT],
    /// One word for each seat, if there are slots.
    pub(crate) announced: usize,
    /// One word for each seat.
    pub(crate) must: usize,
    /// What the relay of this host keeps.
    pub(crate) relay: usize,
    /// Its table of origins.
    pub(crate) origins: usize,
    /// Size of the segment.
    pub(crate) end: usize,
}

/// Offsets of a pool's regions, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolRegions {
    pub(crate) cells: usize,
    pub(crate) blocks: usize,
}

/// The number of blocks that a cell can name. The largest capacity is this number minus the seats' own blocks.
pub(crate) const MOST_BLOCKS: u64 = CellWord::BLOCKS;
/// The number of seats that a stamp can name.
pub(crate) const MOST_SEATS: u64 = 1 << 16;
pub(crate) const LEAST_CAPACITY: u64 = 8;
/// The least payload bytes of a block: a fragment's head and as many bytes again.
pub(crate) const LEAST_BLOCK: u64 = 64;
pub(crate) const MOST_BLOCK: u64 = 1 << 20;
/// The smallest number of public large blocks: the payload of an event is not overwritten by the next one.
pub(crate) const LEAST_LARGE_BLOCKS: u64 = 2;
/// The most payload bytes of a large block.
pub(crate) const MOST_LARGE_BLOCK: u64 = 1 << 26;
/// Bytes of an event's block that name a large block, behind the head of the event.
pub(crate) const LARGE_NAME_BYTES: usize = 16;
/// Bytes of a bucket block: 19 lines, 21 entries, or the places of 64 slots.
pub(crate) const BUCKET_STRIDE: u64 = 19 * LINE as u64;
/// The largest number of origins that a relay can remember.
pub(crate) const MOST_RELAY_HOSTS: u64 = 1 << 16;
/// The largest number of keys of retained events.
pub(crate) const MOST_RETAINED: u64 = 1 << 18;
/// The largest bound for the patience of posts.
pub(crate) const MOST_PATIENCE: Duration = Duration::from_secs(3600);

/// Average keys in a bucket of 21 entries. With four, one bucket in 10^10 has more keys than entries (Poisson).
pub(super) const KEYS_PER_BUCKET: u64 = 4;

/// Returns the number of buckets for `keys` keys.
pub(super) const fn buckets_for(keys: u64) -> u64 {
    keys.div_ceil(KEYS_PER_BUCKET).next_power_of_two()
}

/// Returns the stride, in bytes, of blocks that hold `payload` bytes: an odd number of cache lines, so that blocks
/// spread over the sets of a cache.
pub(crate) const fn stride_for(payload: u64) -> u64 {
    let lines = (payload + pool::HEAD_WORDS as u64 * 8).div_ceil(LINE as u64);
    (lines | 1) * LINE as u64
}

/// Returns the number of slots for `keys` keys of retained events: one for each key, if one bucket of the index has
/// places for all. Otherwise there are twice as many slots, so that a bucket overflows with a probability of less than
/// 10^-6.
pub(super) const fn slots_for(keys: u64) -> u64 {
    if keys <= PLACES as u64 { keys } else { (2 * keys).next_power_of_two() }
}

/// Returns the number of keys for which there are `slots` slots.
pub(crate) const fn keys_of_slots(slots: u64) -> u64 {
    if slots <= PLACES as u64 { slots } else { slots / 2 }
}

/// Returns `true` if a segment may have `slots` slots.
pub(super) const fn are_slots(slots: u64) -> bool {
    slots <= PLACES as u64 || slots.is_power_of_two()
}

/// Returns the bytes from slot block to slot block for events of `event` bytes.
pub(crate) const fn slot_stride_for(event: u64) -> u64 {
    stride_for(SLOT_HEAD_WORDS as u64 * 8 + event)
}

impl Geometry {
    /// Returns the size of one pool.
    pub(crate) fn pool(&self, pool: PoolId) -> PoolSize {
        self.pools[pool as usize]
    }

    /// Returns the number of events that the ring holds.
    pub(crate) fn capacity(&self) -> u64 {
        self.pool(PoolId::Ring).cells
    }

    /// Returns the pools that the segment has.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &'static PoolSpec> {
        const { &POOLS }.iter().filter(|spec| self.pool(spec.id).cells > 0)
    }

    /// Returns `true` if the segment has a table of retained events.
    pub(crate) fn has_table(&self) -> bool {
        self.pool(PoolId::Slots).cells > 0
    }

    /// Returns the cells of one pool, including those of the index.
    pub(crate) fn cells(&self, pool: PoolId) -> u64 {
        let index = if pool == PoolId::Claims { self.pool(PoolId::Slots).cells.div_ceil(PLACES as u64) } else { 0 };
        self.pool(pool).cells + index
    }

    /// Returns the number of blocks of one pool.
    pub(crate) fn blocks(&self, pool: PoolId) -> u64 {
        match self.cells(pool) {
            0 => 0,
            cells => cells + self.seats,
        }
    }

    /// Returns the payload bytes of a block of the ring.
    pub(crate) fn block_bytes(&self) -> usize {
        self.pool(PoolId::Ring).stride as usize - pool::HEAD_WORDS * 8
    }

    /// Returns the number of keys that can have a retained event at the same time.
    pub(crate) fn retained_keys(&self) -> u64 {
        keys_of_slots(self.pool(PoolId::Slots).cells)
    }

    /// Returns the bytes of the largest retained event: the bytes that a slot holds, or 0 if there are no slots.
    pub(crate) fn retained_bytes(&self) -> usize {
        let head = (pool::HEAD_WORDS + SLOT_HEAD_WORDS) * 8;
        (self.pool(PoolId::Slots).stride as usize).saturating_sub(head)
    }

    /// Returns the bytes of the largest retained event: it must fit in a slot, and in the ring as a message or in a
    /// large block.
    pub(crate) fn largest_retained(&self) -> usize {
        let most = self.largest_with(RETAINED_FRAGMENT_HEAD_BYTES).max(self.large_bytes());
        self.retained_bytes().min(most)
    }

    /// Returns the number of large blocks that are public. 0 if the segment has none.
    pub(crate) fn large_blocks(&self) -> u64 {
        self.pool(PoolId::Large).cells
    }

    /// Returns the bytes of the largest payload of a large block, or 0 if there are none.
    pub(crate) fn large_bytes(&self) -> usize {
        (self.pool(PoolId::Large).stride as usize).saturating_sub(pool::HEAD_WORDS * 8)
    }

    /// Returns `true` if the head of an event of `head_bytes` leaves room in a block for the name of a large block.
    #[inline]
    pub(crate) fn names_large(&self, head_bytes: usize) -> bool {
        self.large_blocks() > 0 && head_bytes + LARGE_NAME_BYTES <= self.block_bytes()
    }

    /// Returns the number of the last seat. There are 1 to 65,536 seats.
    pub(crate) fn last_seat(&self) -> u16 {
        (self.seats - 1) as u16
    }

    /// Returns the bytes of the largest event that is posted at any time: a quarter of what the ring holds, or a large
    /// block.
    pub(crate) fn largest_message(&self) -> usize {
        self.largest_with(FRAGMENT_HEAD_BYTES).max(self.large_bytes())
    }

    /// Returns the bytes of the largest message with a head of `head` bytes in each fragment.
    pub(crate) fn largest_with(&self, head_bytes: usize) -> usize {
        self.block_bytes().max(self.capacity() as usize / 4 * (self.block_bytes() - head_bytes))
    }

    /// Returns the regions of a segment with these sizes, or why the sizes are impossible. The sizes may be hostile.
    pub(crate) fn check(&self) -> std::result::Result<Regions, &'static str> {
        if !(1..=MOST_SEATS).contains(&self.seats) {
            return Err("its number of seats is impossible");
        }
        if u128::from(self.most_patience) > MOST_PATIENCE.as_nanos() {
            return Err("its bound for the patience of posts is impossible");
        }
        if self.relay_hosts > MOST_RELAY_HOSTS {
            return Err("its number of hosts is impossible");
        }
        for (size, spec) in self.pools.iter().zip(&POOLS) {
            size.check(spec)?;
        }
        // The sums do not overflow: each pool has at most 2^63 cells, or `check` has refused it.
        if POOLS.iter().any(|spec| self.pool(spec.id).cells >= MOST_BLOCKS || self.blocks(spec.id) > MOST_BLOCKS) {
            return Err("it has more blocks than its cells can tell apart");
        }
        let mut end = HEADER_BYTES as u64;
        let mut region = |bytes: u64| {
            let start = end;
            end = (start + bytes).next_multiple_of(REGION_ALIGN as u64);
            start as usize
        };
        // No overflow: each pool has at most 2^20 blocks of about 2^26 bytes.
        let seats = region(self.seats * seat_words::WORDS as u64 * 8);
        let pools = POOLS.each_ref().map(|spec| PoolRegions {
            cells: region(self.cells(spec.id) * 8),
            blocks: region(self.blocks(spec.id) * self.pool(spec.id).stride),
        });
        let announced = region(if self.has_table() { self.seats * 8 } else { 0 });
        let must = region(self.seats * 8);
        let relay = region(RELAY_BYTES as u64);
        let origins = region(self.relay_hosts * ORIGIN_WORDS as u64 * 8);
        Ok(Regions { seats, pools, announced, must, relay, origins, end: end as usize })
    }
}

impl Geometry {
    /// Returns the regions of the segment `name`, which has these sizes.
    pub(super) fn regions(&self, name: &str) -> Result<Regions> {
        self.check().map_err(|what| Error::from(Cause::Corrupt { name: name.to_owned(), what }))
    }
}

impl PoolSize {
    fn check(&self, spec: &PoolSpec) -> std::result::Result<(), &'static str> {
        let PoolSize { cells, stride } = *self;
        if !(spec.may_have)(cells) {
            return Err(spec.bad_cells);
        }
        if cells == 0 {
            return if stride == 0 { Ok(()) } else { Err(spec.bad_stride) };
        }
        let [least, most] = spec.strides;
        let is_odd_lines = stride.is_multiple_of(LINE as u64) && stride / LINE as u64 % 2 == 1;
        if !is_odd_lines || !(least..=most).contains(&stride) { Err(spec.bad_stride) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn g10_sizes_are_checked_at_their_limits() {
        let ok = |change: &dyn Fn(&mut Geometry)| {
            let mut geometry = SegmentOptions::new().geometry().unwrap();
            change(&mut geometry);
            geometry.check().is_ok()
        };
        const RING: usize = PoolId::Ring as usize;
        const CLAIMS: usize = PoolId::Claims as usize;
        for (seats, good) in [(0, false), (1, true), (1 << 16, true), ((1 << 16) + 1, false), (u64::MAX, false)] {
            assert_eq!(ok(&|sizes| sizes.seats = seats), good, "{seats} seats");
        }
        for (ns, good) in [(0, true), (3_600_000_000_000, true), (3_600_000_000_001, false), (u64::MAX, false)] {
            assert_eq!(ok(&|sizes| sizes.most_patience = ns), good, "{ns} ns");
        }
        for (hosts, good) in [(0, true), (1 << 16, true), ((1 << 16) + 1, false), (u64::MAX, false)] {
            assert_eq!(ok(&|sizes| sizes.relay_hosts = hosts), good, "{hosts} hosts");
        }
        let cells =
            [(0, false), (3, false), (4, true), (12, false), (1 << 19, true), (1 << 20, false), (1 << 63, false)];
        for (pool, least) in [(RING, 8), (CLAIMS, 1)] {
            for (cells, good) in cells.into_iter().chain([(1, true), (8, true)]) {
                let good = good && cells >= least;
                assert_eq!(ok(&|sizes| sizes.pools[pool].cells = cells), good, "{cells} cells of {pool}");
                let with_all_seats = |sizes: &mut Geometry| (sizes.pools[pool].cells, sizes.seats) = (cells, 1 << 16);
                assert_eq!(ok(&with_all_seats), good, "{cells} cells of {pool}");
            }
        }
        let (least, most) = (stride_for(LEAST_BLOCK), stride_for(MOST_BLOCK));
        for stride in [least - 128, least + 64, least + 1, most - 64, most + 128, 0, u64::MAX - 63] {
            assert!(!ok(&|sizes| sizes.pools[RING].stride = stride), "block stride {stride}");
        }
        assert!([least, least + 128, most].iter().all(|&stride| ok(&|sizes| sizes.pools[RING].stride = stride)));
        assert!(!ok(&|sizes| sizes.pools[CLAIMS].stride -= 128) && !ok(&|sizes| sizes.pools[CLAIMS].stride = 0));
        const SLOTS: usize = PoolId::Slots as usize;
        let slots = |cells, stride| ok(&move |sizes| sizes.pools[SLOTS] = PoolSize { cells, stride });
        let [least, most] = [slot_stride_for(LEAST_BLOCK), slot_stride_for(MOST_BLOCK)];
        for cells in [1, 63, 64, 128, 1 << 19] {
            assert!(slots(cells, least) && slots(cells, most), "{cells} slots");
            assert!(!slots(cells, 0) && !slots(cells, least - 128) && !slots(cells, least + 64), "{cells} slots");
        }
        for cells in [65, 96, 1 << 20, 1 << 63, u64::MAX] {
            assert!(!slots(cells, least), "{cells} slots");
        }
        assert!(slots(0, 0) && !slots(0, least), "a table without slots");
        const LARGE: usize = PoolId::Large as usize;
        let large = |cells, stride| ok(&move |sizes| sizes.pools[LARGE] = PoolSize { cells, stride });
        let [least, most] = [stride_for(LEAST_BLOCK), stride_for(MOST_LARGE_BLOCK)];
        for cells in [2, 4, 1 << 19] {
            assert!(large(cells, least) && large(cells, most), "{cells} large blocks");
            assert!(
                !large(cells, 0) && !large(cells, least - 128) && !large(cells, most + 128),
                "{cells} large blocks"
            );
        }
        for cells in [1, 3, 1 << 20, 1 << 63, u64::MAX] {
            assert!(!large(cells, least), "{cells} large blocks");
        }
        assert!(large(0, 0) && !large(0, least), "large blocks of none");
    }

    #[test]
    fn strides_are_an_odd_number_of_lines() {
        for payload in LEAST_BLOCK..4096 {
            let stride = stride_for(payload);
            assert_eq!(stride / LINE as u64 % 2, 1);
            assert!(stride - 32 >= payload && stride <= payload + 32 + 2 * LINE as u64);
        }
    }

    #[test]
    fn g15_there_are_slots_for_all_keys() {
        for keys in 0..=MOST_RETAINED {
            let slots = slots_for(keys);
            assert!(are_slots(slots) && slots >= keys && keys_of_slots(slots) >= keys, "{keys} keys");
        }
        assert_eq!([0, 1, 64, 65, 1000].map(slots_for), [0, 1, 64, 256, 2048]);
    }

    #[test]
    fn the_default_segment_is_small() {
        let regions = SegmentOptions::new().geometry().unwrap().check().unwrap();
        assert!(regions.end < 8 << 20, "{} bytes", regions.end);
    }
}
