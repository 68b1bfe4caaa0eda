//! The regions of a segment, and the fields of what they hold.

use crate::protocol::bucket::{BUCKET_HEAD_WORDS, ENTRY_WORDS};
use crate::protocol::relay::ORIGIN_WORDS;
use crate::protocol::retained::{PLACES, SLOT_HEAD_WORDS};
use crate::protocol::{pool, seat_words};
use crate::segment::Segment;
use crate::segment::layout::{self, Field, HEADER_BYTES, RELAY_BYTES};

/// A part of a segment: a number of items of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// `"header"`, `"seats"`, `"ring"`, `"blocks"`, `"claims"`, `"buckets"`, `"must"` or `"relay"`; if the segment
    /// retains events, also `"slots"`, `"values"` or `"announced"`; if it has large blocks, also `"large"` or
    /// `"large_blocks"`; if it can have a relay, also `"origins"`.
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
    for spec in geometry.pools() {
        let (at, stride) = (at.pools[spec.id as usize], geometry.pool(spec.id).stride);
        let (cells, blocks) = (geometry.cells(spec.id), geometry.blocks(spec.id));
        regions.push(Region::new(spec.cells_region, at.cells, cells, 8, &[]));
        regions.push(Region::new(spec.blocks_region, at.blocks, blocks, stride, spec.block_parts));
    }
    if geometry.has_table() {
        regions.push(Region::new("announced", at.announced, geometry.seats, 8, &[]));
    }
    regions.push(Region::new("must", at.must, geometry.seats, 8, &[]));
    regions.push(Region::new("relay", at.relay, 1, RELAY_BYTES as u64, &["relay"]));
    if geometry.relay_hosts > 0 {
        regions.push(Region::new("origins", at.origins, geometry.relay_hosts, ORIGIN_WORDS as u64 * 8, &["origin"]));
    }
    regions
}

/// The words of `protocol::pool` and `protocol::claims`. The lengths make a missing name an error.
const BLOCK_HEAD: [&str; pool::HEAD_WORDS] = ["stamp", "cell", "version", "meta"];
const BUCKET_HEAD: [&str; BUCKET_HEAD_WORDS] = ["floor"];
const SLOT: [&str; SLOT_HEAD_WORDS] = ["key0", "key1", "place", "deadline"];
const ORIGIN: [&str; ORIGIN_WORDS] = ["origin", "next"];
const ENTRY: [&str; ENTRY_WORDS] = ["key0", "key1", "deadline", "first", "last", "token", "since"];

/// Returns the layout of this build: the fields of the header, of a seat, of the relay's region, of a block, of a
/// bucket and of a bucket's entry, of an index bucket, of a slot's head and of an origin. Offsets count from the
/// beginning of the header, the seat, the block, the payload of the bucket or slot, or the entry.
pub fn fields() -> Vec<Field> {
    let mut rows = layout::fields();
    let mut words = |region, names: &[&'static str], writer| {
        rows.extend(names.iter().enumerate().map(|(i, &name)| Field { region, name, offset: i * 8, len: 8, writer }));
    };
    words("block", &BLOCK_HEAD, "poster");
    words("bucket", &BUCKET_HEAD, "claimer");
    words("entry", &ENTRY, "claimer");
    words("slot", &SLOT, "poster");
    words("origin", &ORIGIN, "relay down");
    // A block of the claims' pool holds a bucket, or the places of 64 slots.
    let index = [("floor", 1), ("used", 1), ("closing", 1), ("keys0", PLACES), ("keys1", PLACES)];
    let mut offset = 0;
    for (name, len) in index {
        rows.push(Field { region: "index", name, offset, len: len * 8, writer: "claimer" });
        offset += len * 8;
    }
    rows
}
