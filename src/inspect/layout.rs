//! The regions of a segment, and the fields of what they hold.

use crate::protocol::bucket::{BUCKET_HEAD_WORDS, ENTRY_WORDS};
use crate::protocol::{pool, seat_words};
use crate::segment::Segment;
use crate::segment::layout::{self, Field, HEADER_BYTES};
use crate::segment::pools::POOLS;

/// A part of a segment: a number of items of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// `"header"`, `"seats"`, `"ring"`, `"blocks"`, `"claims"` or `"buckets"`.
    pub name: &'static str,
    /// Bytes before it in the segment.
    pub offset: u64,
    /// The number of items.
    pub count: u64,
    /// Bytes from one item to the next.
    pub stride: u64,
    /// The parts of an item, by the region names of [`fields`]. Empty if an item is one word.
    pub parts: &'static [&'static str],
}

impl Region {
    fn new(name: &'static str, offset: usize, count: u64, stride: u64, parts: &'static [&'static str]) -> Region {
        Region { name, offset: offset as u64, count, stride, parts }
    }

    /// Returns its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.count * self.stride
    }
}

pub(super) fn regions(segment: &Segment) -> Vec<Region> {
    let (geometry, at) = (segment.geometry(), segment.regions());
    let mut regions = vec![
        Region::new("header", 0, 1, HEADER_BYTES as u64, &["header"]),
        Region::new("seats", at.seats, geometry.seats, seat_words::WORDS as u64 * 8, &["seat"]),
    ];
    for (spec, at) in POOLS.iter().zip(&at.pools) {
        let (size, blocks) = (geometry.pool(spec.id), geometry.blocks(spec.id));
        regions.push(Region::new(spec.cells_region, at.cells, size.cells, 8, &[]));
        regions.push(Region::new(spec.blocks_region, at.blocks, blocks, size.stride, spec.block_parts));
    }
    regions
}

/// The words of `protocol::pool` and `protocol::claims`. The lengths make a missing name an error.
const BLOCK_HEAD: [&str; pool::HEAD_WORDS] = ["stamp", "cell", "version", "meta"];
const BUCKET_HEAD: [&str; BUCKET_HEAD_WORDS] = ["floor"];
const ENTRY: [&str; ENTRY_WORDS] = ["key0", "key1", "deadline", "first", "last", "token", "since"];

/// Returns the layout of this build: the fields of the header, of a seat, of a block, of a bucket and of a bucket's
/// entry. Offsets count from the beginning of the header, the seat, the block, the bucket's payload or the entry.
pub fn fields() -> Vec<Field> {
    let mut rows = layout::fields();
    let mut words = |region, names: &[&'static str], writer| {
        rows.extend(names.iter().enumerate().map(|(i, &name)| Field { region, name, offset: i * 8, len: 8, writer }));
    };
    words("block", &BLOCK_HEAD, "poster");
    words("bucket", &BUCKET_HEAD, "claimer");
    words("entry", &ENTRY, "claimer");
    rows
}
