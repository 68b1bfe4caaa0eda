//! The pools of a segment, as a table. A pool is a region of cells, a region of blocks, and one hand in each seat.
//!
//! Formatting, checking, mapping, adoption, the audit and the inspector go through this table. A new pool is one row
//! here, and the words that the row names in `layout`.

use super::geometry::{
    BUCKET_STRIDE, LEAST_BLOCK, LEAST_CAPACITY, LEAST_LARGE_BLOCKS, MOST_BLOCK, MOST_LARGE_BLOCK, are_slots,
    slot_stride_for, stride_for,
};
use super::layout::{header_word, seat_word};

/// A pool, as an index into [`POOLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolId {
    /// Events.
    Ring,
    /// Unique keys, and behind them the index of retained events.
    Claims,
    /// The slots of retained events. A segment may have none.
    Slots,
    /// The payloads that do not fit in a block of the ring. A segment may have none.
    Large,
}

/// The number of pools of a segment.
pub(crate) const POOL_COUNT: usize = 4;

/// The parameters of one pool.
#[derive(Debug)]
pub(crate) struct PoolSpec {
    pub(crate) id: PoolId,
    /// Its name in audits.
    pub(crate) name: &'static str,
    /// The names of its regions.
    pub(crate) cells_region: &'static str,
    pub(crate) blocks_region: &'static str,
    /// The parts of its blocks, as regions of [`fields`](crate::inspect::fields).
    pub(crate) block_parts: &'static [&'static str],
    /// The first word of its hand in a seat.
    pub(crate) hand: usize,
    /// The header words with the number of its cells and with the stride of its blocks.
    pub(crate) cells_word: usize,
    pub(crate) stride_word: usize,
    /// Returns `true` if the pool may have `cells` cells. It never has more than 2^63.
    pub(crate) may_have: fn(cells: u64) -> bool,
    /// Returns the error for a number of cells that it may not have.
    pub(crate) bad_cells: &'static str,
    /// Its smallest and largest stride, if it has cells.
    pub(crate) strides: [u64; 2],
    /// The error for another stride.
    pub(crate) bad_stride: &'static str,
}

/// The pools, in the order of their regions.
pub(crate) const POOLS: [PoolSpec; POOL_COUNT] = [
    PoolSpec {
        id: PoolId::Ring,
        name: "ring",
        cells_region: "ring",
        blocks_region: "blocks",
        block_parts: &["block"],
        hand: seat_word!(posting.hand),
        cells_word: header_word!(capacity),
        stride_word: header_word!(block_stride),
        may_have: |cells| cells.is_power_of_two() && cells >= LEAST_CAPACITY,
        bad_cells: "its capacity is not a power of two of at least 8",
        strides: [stride_for(LEAST_BLOCK), stride_for(MOST_BLOCK)],
        bad_stride: "its block size is impossible",
    },
    PoolSpec {
        id: PoolId::Claims,
        name: "claims",
        cells_region: "claims",
        blocks_region: "buckets",
        block_parts: &["block", "bucket", "entry", "index"],
        hand: seat_word!(claiming.hand),
        cells_word: header_word!(buckets),
        stride_word: header_word!(bucket_stride),
        may_have: u64::is_power_of_two,
        bad_cells: "its number of claim buckets is not a power of two",
        strides: [BUCKET_STRIDE, BUCKET_STRIDE],
        bad_stride: "its bucket size is impossible",
    },
    PoolSpec {
        id: PoolId::Slots,
        name: "slots",
        cells_region: "slots",
        blocks_region: "values",
        block_parts: &["block", "slot"],
        hand: seat_word!(posting.slot_hand),
        cells_word: header_word!(slots),
        stride_word: header_word!(slot_stride),
        may_have: are_slots,
        bad_cells: "its number of slots of retained events is impossible",
        strides: [slot_stride_for(LEAST_BLOCK), slot_stride_for(MOST_BLOCK)],
        bad_stride: "its size of retained events is impossible",
    },
    PoolSpec {
        id: PoolId::Large,
        name: "large",
        cells_region: "large",
        blocks_region: "large_blocks",
        block_parts: &["block"],
        hand: seat_word!(posting.large_hand),
        cells_word: header_word!(large),
        stride_word: header_word!(large_stride),
        may_have: |cells| cells == 0 || cells.is_power_of_two() && cells >= LEAST_LARGE_BLOCKS,
        bad_cells: "its number of large blocks is not a power of two of at least 2",
        strides: [stride_for(LEAST_BLOCK), stride_for(MOST_LARGE_BLOCK)],
        bad_stride: "its size of large blocks is impossible",
    },
];

const _: () = {
    let mut at = 0;
    while at < POOL_COUNT {
        assert!(POOLS[at].id as usize == at, "a row stands where its id says");
        at += 1;
    }
};

impl PoolId {
    /// Returns the pool's row.
    pub(crate) fn spec(self) -> &'static PoolSpec {
        const { &POOLS }.get(self as usize).expect("each pool has a row")
    }
}
