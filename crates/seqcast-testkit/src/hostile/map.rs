//! The layout of a segment, in words, for code that writes to it directly. Made from the public tables of regions and
//! fields.

use std::ops::Range;

use seqcast::inspect::{Inspector, Region};

/// Words of a block before its payload: stamp, cell, version, meta.
pub const HEAD_WORDS: usize = 4;
/// The word that describes the payload.
pub const META: usize = 3;

/// The spans of a segment's parts.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    pub capacity: u64,
    pub block_words: u64,
    pub seats: u64,
    pub buckets: u64,
    pub bucket_words: u64,
    seat_words: u64,
    seats_at: u64,
    cells_at: u64,
    blocks_at: u64,
    claim_cells_at: u64,
    buckets_at: u64,
    /// Slots of retained events; 0 if the segment has none.
    pub slots: u64,
    pub slot_words: u64,
    slots_at: u64,
    values_at: u64,
    announced_at: u64,
    must_at: u64,
    /// Cells of the large ring; 0 if the segment has none.
    pub large: u64,
    pub large_words: u64,
    large_at: u64,
    large_blocks_at: u64,
    relay_at: u64,
    relay_words: u64,
    /// Places in the relay's table of hosts; 0 if the segment cannot have a relay.
    pub origins: u64,
    origin_words: u64,
    origins_at: u64,
    end: u64,
}

impl Map {
    /// The map of a segment.
    pub fn of(inspector: &Inspector) -> Map {
        let regions = inspector.regions();
        let region = |name| find(&regions, name);
        let (seats, ring, blocks) = (region("seats"), region("ring"), region("blocks"));
        let (claims, buckets) = (region("claims"), region("buckets"));
        // A segment may have no slots.
        let optional = |name| regions.iter().find(|region: &&Region| region.name == name);
        let at = |name| optional(name).map_or(0, |region| region.offset / 8);
        Map {
            capacity: ring.count,
            block_words: blocks.stride / 8,
            seats: seats.count,
            buckets: claims.count,
            bucket_words: buckets.stride / 8,
            seat_words: seats.stride / 8,
            seats_at: seats.offset / 8,
            cells_at: ring.offset / 8,
            blocks_at: blocks.offset / 8,
            claim_cells_at: claims.offset / 8,
            buckets_at: buckets.offset / 8,
            slots: optional("slots").map_or(0, |slots| slots.count),
            slot_words: optional("values").map_or(0, |values| values.stride / 8),
            slots_at: at("slots"),
            values_at: at("values"),
            announced_at: at("announced"),
            must_at: region("must").offset / 8,
            large: optional("large").map_or(0, |large| large.count),
            large_words: optional("large_blocks").map_or(0, |blocks| blocks.stride / 8),
            large_at: at("large"),
            large_blocks_at: at("large_blocks"),
            relay_at: region("relay").offset / 8,
            relay_words: region("relay").bytes() / 8,
            origins: optional("origins").map_or(0, |origins| origins.count),
            origin_words: optional("origins").map_or(0, |origins| origins.stride / 8),
            origins_at: at("origins"),
            end: inspector.sizes().size / 8,
        }
    }

    /// Returns the word of a field of the header.
    pub fn header(name: &str) -> usize {
        field("header", name, 0)
    }

    /// Returns the word of a seat's field.
    pub fn seat(&self, seat: u64, name: &str) -> usize {
        self.in_seat(seat, field("seat", name, 0))
    }

    /// Returns the first word (own, prev, attempt) of the hand with which a seat posts.
    pub fn ring_hand(&self, seat: u64) -> usize {
        self.in_seat(seat, field("seat", "hand", 0))
    }

    /// Returns the first word of the hand with which it claims.
    pub fn claim_hand(&self, seat: u64) -> usize {
        self.in_seat(seat, field("seat", "hand", 1))
    }

    fn in_seat(&self, seat: u64, word: usize) -> usize {
        (self.seats_at + seat % self.seats * self.seat_words) as usize + word
    }

    /// Returns the word of a cell, by its number or by an id.
    pub fn cell(&self, cell: u64) -> usize {
        (self.cells_at + cell % self.capacity) as usize
    }

    /// Returns the words of a block of the ring.
    pub fn block(&self, block: u64) -> Range<usize> {
        let at = self.blocks_at + block % (self.capacity + self.seats) * self.block_words;
        at as usize..(at + self.block_words) as usize
    }

    pub fn claim_cell(&self, bucket: u64) -> usize {
        (self.claim_cells_at + bucket % self.buckets) as usize
    }

    /// Returns the words of a block of the claims.
    pub fn bucket(&self, block: u64) -> Range<usize> {
        let at = self.buckets_at + block % (self.buckets + self.seats) * self.bucket_words;
        at as usize..(at + self.bucket_words) as usize
    }

    /// Returns the first word of a seat's hand for retained events.
    pub fn slot_hand(&self, seat: u64) -> usize {
        self.seat(seat, "slot_hand")
    }

    /// Returns the word of a slot's cell. The segment must have slots.
    pub fn slot_cell(&self, slot: u64) -> usize {
        (self.slots_at + slot % self.slots) as usize
    }

    /// Returns the words of a slot block. The segment must have slots.
    pub fn value(&self, block: u64) -> Range<usize> {
        let at = self.values_at + block % (self.slots + self.seats) * self.slot_words;
        at as usize..(at + self.slot_words) as usize
    }

    /// Returns the word in which a seat announces a retained event. The segment must have slots.
    pub fn announced(&self, seat: u64) -> usize {
        (self.announced_at + seat % self.seats) as usize
    }

    /// Returns the word that says if posts wait for a seat's reader.
    pub fn must(&self, seat: u64) -> usize {
        (self.must_at + seat % self.seats) as usize
    }

    /// Returns the first word of a seat's hand for large blocks.
    pub fn large_hand(&self, seat: u64) -> usize {
        self.seat(seat, "large_hand")
    }

    /// Returns the word of a cell of the large ring. The segment must have one.
    pub fn large_cell(&self, cell: u64) -> usize {
        (self.large_at + cell % self.large) as usize
    }

    /// Returns the words of a large block. The segment must have large blocks.
    pub fn large_block(&self, block: u64) -> Range<usize> {
        let at = self.large_blocks_at + block % (self.large + self.seats) * self.large_words;
        at as usize..(at + self.large_words) as usize
    }

    /// Returns the words that the relay keeps of itself.
    pub fn relay(&self) -> Range<usize> {
        self.relay_at as usize..(self.relay_at + self.relay_words) as usize
    }

    /// Returns the words of a place in the relay's table of hosts. The segment must have one.
    pub fn origin(&self, place: u64) -> Range<usize> {
        let at = self.origins_at + place % self.origins * self.origin_words;
        at as usize..(at + self.origin_words) as usize
    }

    /// Returns the number of words in the whole segment.
    pub fn words(&self) -> usize {
        self.end as usize
    }
}

fn find<'a>(regions: &'a [Region], name: &str) -> &'a Region {
    regions.iter().find(|region| region.name == name).unwrap_or_else(|| panic!("no region {name}"))
}

/// Returns the word at which the `nth` field of that name begins.
fn field(region: &str, name: &str, nth: usize) -> usize {
    let fields = seqcast::inspect::fields();
    let named = fields.iter().filter(|field| field.region == region && field.name == name).nth(nth);
    named.unwrap_or_else(|| panic!("no field {name} in the {region}")).offset / 8
}

/// A cell's word.
pub fn cell_word(version: u64, phase: u64, block: u64) -> u64 {
    version << 22 | (phase & 3) << 20 | block & 0xf_ffff
}

/// Returns the version in a cell's word.
pub fn version_of(word: u64) -> u64 {
    word >> 22
}

/// Returns the block in a cell's word.
pub fn block_of(word: u64) -> u64 {
    word & 0xf_ffff
}
