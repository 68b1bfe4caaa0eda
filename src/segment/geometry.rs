//! The sizes of a segment, and what follows from them.

use super::layout::{HEADER_BYTES, LINE, REGION_ALIGN};
use crate::protocol::word::CellWord;
use crate::protocol::{pool, seat_words};

/// Bytes of a fragment before its chunk of the event.
pub(crate) const FRAGMENT_HEAD_BYTES: usize = 32;

/// The sizes that decide where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: u64,
    pub(crate) block_stride: u64,
    pub(crate) seats: u64,
    pub(crate) buckets: u64,
    pub(crate) bucket_stride: u64,
}

/// Offsets of the regions, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) seats: usize,
    pub(crate) cells: usize,
    pub(crate) blocks: usize,
    pub(crate) claim_cells: usize,
    pub(crate) bucket_blocks: usize,
    /// Size of the segment.
    pub(crate) end: usize,
}

/// Blocks that cells can tell apart, less the seats' own, is the greatest capacity.
pub(crate) const MOST_BLOCKS: u64 = CellWord::BLOCKS;
/// Seats that a stamp can tell apart.
pub(crate) const MOST_SEATS: u64 = 1 << 16;
pub(crate) const LEAST_CAPACITY: u64 = 8;
/// Payload bytes of a block: at least a fragment's head and as much again.
pub(crate) const LEAST_BLOCK: u64 = 64;
pub(crate) const MOST_BLOCK: u64 = 1 << 20;
/// Bytes of a bucket block: 19 lines, 21 entries.
pub(crate) const BUCKET_STRIDE: u64 = 19 * LINE as u64;

/// Four keys to a bucket of 21 on average: then one bucket in 10^10 has more keys than entries (Poisson).
pub(super) const KEYS_PER_BUCKET: u64 = 4;

/// Buckets for so many keys.
pub(super) const fn buckets_for(keys: u64) -> u64 {
    keys.div_ceil(KEYS_PER_BUCKET).next_power_of_two()
}

/// Bytes from block to block for blocks that hold `payload` bytes: an odd number of lines, so that blocks spread over
/// the sets of a cache.
pub(crate) const fn stride_for(payload: u64) -> u64 {
    let lines = (payload + pool::HEAD_WORDS as u64 * 8).div_ceil(LINE as u64);
    (lines | 1) * LINE as u64
}

impl Geometry {
    /// Payload bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_stride as usize - pool::HEAD_WORDS * 8
    }

    /// The number of the last seat; there is at least one, and at most 65,536.
    pub(crate) fn last_seat(&self) -> u16 {
        (self.seats - 1) as u16
    }

    /// Bytes of the largest message: a quarter of what the ring holds.
    pub(crate) fn largest_message(&self) -> usize {
        self.block_bytes().max(self.capacity as usize / 4 * (self.block_bytes() - FRAGMENT_HEAD_BYTES))
    }

    /// Whether these can be a segment's sizes, whoever wrote them. The text says what is wrong.
    pub(crate) fn check(&self) -> std::result::Result<Regions, &'static str> {
        let Geometry { capacity, block_stride, seats, buckets, bucket_stride } = *self;
        let odd_lines = |stride: u64| stride.is_multiple_of(LINE as u64) && stride / LINE as u64 % 2 == 1;
        if !capacity.is_power_of_two() || capacity < LEAST_CAPACITY {
            return Err("its capacity is not a power of two of at least 8");
        }
        // No overflow in the sums: powers of two, and few seats.
        if seats == 0 || seats > MOST_SEATS || capacity + seats > MOST_BLOCKS {
            return Err("its capacity and seats exceed what cells can tell apart");
        }
        if !buckets.is_power_of_two() || buckets + seats > MOST_BLOCKS {
            return Err("its number of claim buckets is impossible");
        }
        if block_stride < stride_for(LEAST_BLOCK) || block_stride > stride_for(MOST_BLOCK) || !odd_lines(block_stride) {
            return Err("its block size is impossible");
        }
        if bucket_stride != BUCKET_STRIDE {
            return Err("its bucket size is impossible");
        }
        let mut end = HEADER_BYTES as u64;
        let mut region = |bytes: u64| {
            let start = end;
            end = (start + bytes).next_multiple_of(REGION_ALIGN as u64);
            start as usize
        };
        // No overflow: at most 2^20 blocks of about 2^20 bytes each, twice.
        let seats_at = region(seats * seat_words::WORDS as u64 * 8);
        let cells = region(capacity * 8);
        let blocks = region((capacity + seats) * block_stride);
        let claim_cells = region(buckets * 8);
        let bucket_blocks = region((buckets + seats) * bucket_stride);
        Ok(Regions { seats: seats_at, cells, blocks, claim_cells, bucket_blocks, end: end as usize })
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
        for (capacity, good) in [(0, false), (4, false), (8, true), (12, false), (1 << 19, true), (1 << 20, false)] {
            assert_eq!(ok(&|sizes| sizes.capacity = capacity), good, "capacity {capacity}");
            assert_eq!(ok(&|sizes| (sizes.capacity, sizes.seats) = (capacity, 1 << 16)), good, "capacity {capacity}");
        }
        for (seats, good) in [(0, false), (1, true), (1 << 16, true), ((1 << 16) + 1, false), (u64::MAX, false)] {
            assert_eq!(ok(&|sizes| sizes.seats = seats), good, "{seats} seats");
        }
        for (buckets, good) in [(0, false), (1, true), (3, false), (1 << 19, true), (1 << 20, false), (1 << 63, false)]
        {
            assert_eq!(ok(&|sizes| sizes.buckets = buckets), good, "{buckets} buckets");
        }
        assert!(!ok(&|sizes| sizes.capacity = 1 << 63));
        let (least, most) = (stride_for(LEAST_BLOCK), stride_for(MOST_BLOCK));
        for stride in [least - 128, least + 64, least + 1, most - 64, most + 128, 0, u64::MAX - 63] {
            assert!(!ok(&|sizes| sizes.block_stride = stride), "block stride {stride}");
        }
        assert!([least, least + 128, most].iter().all(|&stride| ok(&|sizes| sizes.block_stride = stride)));
        assert!(!ok(&|sizes| sizes.bucket_stride -= 128) && !ok(&|sizes| sizes.bucket_stride = 0));
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
    fn the_default_segment_is_small() {
        let regions = SegmentOptions::new().geometry().unwrap().check().unwrap();
        assert!(regions.end < 8 << 20, "{} bytes", regions.end);
    }
}
