//! The pools of a segment, as a table. A pool is a region of cells, a region of blocks, and one hand in each seat.
//!
//! Formatting, checking, mapping, adoption, the audit and the inspector go through this table. A new pool is one row
//! here, and the words that the row names in `layout`.

use super::geometry::{BUCKET_STRIDE, LEAST_BLOCK, LEAST_CAPACITY, MOST_BLOCK, stride_for};
use super::layout::{header_word, seat_word};

/// A pool, as an index into [`POOLS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolId {
    /// Events.
    Ring,
    /// Unique keys.
    Claims,
}

/// The number of pools of a segment.
pub(crate) const POOL_COUNT: usize = 2;

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
    /// Its least number of cells, a power of two.
    pub(crate) least_cells: u64,
    /// The error for fewer cells, or for a number that is not a power of two.
    pub(crate) bad_cells: &'static str,
    /// Its least and greatest stride.
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
        least_cells: LEAST_CAPACITY,
        bad_cells: "its capacity is not a power of two of at least 8",
        strides: [stride_for(LEAST_BLOCK), stride_for(MOST_BLOCK)],
        bad_stride: "its block size is impossible",
    },
    PoolSpec {
        id: PoolId::Claims,
        name: "claims",
        cells_region: "claims",
        blocks_region: "buckets",
        block_parts: &["block", "bucket", "entry"],
        hand: seat_word!(claiming.hand),
        cells_word: header_word!(buckets),
        stride_word: header_word!(bucket_stride),
        least_cells: 1,
        bad_cells: "its number of claim buckets is not a power of two",
        strides: [BUCKET_STRIDE, BUCKET_STRIDE],
        bad_stride: "its bucket size is impossible",
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
