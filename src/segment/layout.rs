//! The segment's layout: what is where, and nothing else.
//!
//! ```text
//! 0        header      who made it and with what geometry; the event id; the wake words
//! 1024     records     one of 512 bytes for each worker
//!          ring        capacity cells of 8 bytes
//!          blocks      capacity + records blocks, 64-byte aligned, an odd number of lines apart
//!          claims      one cell of 8 bytes for each bucket
//!          buckets     buckets + records blocks, likewise
//! ```
//!
//! Every region begins on a 128-byte boundary. Words are 64 bits in the machine's byte order.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crossbeam_utils::CachePadded;
use memoffset::span_of;

use crate::error::{Error, Result};
use crate::protocol::word::CellWord;
use crate::protocol::{claims, pool, record, ring};

/// Version of the layout below. Raise it with every change that an older binary would misread.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// The upper 48 bits of a finished segment's first word; the lower 16 are the layout version.
const MAGIC: u64 = 0x7365_7163_6173_0000; // "seqcas"
/// First word of a segment in creation.
pub(crate) const FORMING: u64 = 0x7365_7143_4153_7e7e;

/// The first word of a finished segment of this layout.
pub(crate) const fn magic() -> u64 {
    MAGIC | LAYOUT_VERSION as u64
}

/// The layout version that a first word names, if it is a seqcast segment's.
pub(crate) const fn layout_version(magic: u64) -> Option<u32> {
    if magic & !0xffff == MAGIC { Some((magic & 0xffff) as u32) } else { None }
}

/// Where a line of the processor's cache begins, and blocks with it.
pub(crate) const LINE: usize = 64;
/// Where regions and records begin: two lines, since processors fetch them in pairs.
pub(crate) const REGION_ALIGN: usize = 128;

/// The beginning of a segment. Only `tail` and the wake words are written after creation.
#[repr(C)]
pub(crate) struct Header {
    /// [`magic`], stored last.
    pub(crate) magic: AtomicU64,
    /// [`fingerprint`] of the creator.
    pub(crate) fingerprint: AtomicU64,
    /// Random, to tell this segment from any other of the same name.
    pub(crate) nonce: [AtomicU64; 2],
    /// The host's boot id at creation.
    pub(crate) boot_id: [AtomicU64; 2],
    /// Random key under which unique values are hashed.
    pub(crate) hash_key: [AtomicU64; 2],
    /// Size of the segment in bytes.
    pub(crate) size: AtomicU64,
    pub(crate) capacity: AtomicU64,
    /// Bytes from block to block.
    pub(crate) block_stride: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) buckets: AtomicU64,
    /// Bytes from bucket block to bucket block.
    pub(crate) bucket_stride: AtomicU64,
    pub(crate) creator_pid: AtomicU64,
    /// Nanoseconds of the wall clock at creation.
    pub(crate) created_at: AtomicU64,
    /// The global event id: the next id to try.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// Sleepers who wait for any event.
    pub(crate) wake: CachePadded<AtomicU32>,
    /// Sleepers who wait for a reserved id's payload.
    pub(crate) wake_reserved: CachePadded<AtomicU32>,
}

/// What one worker writes and the others read.
#[repr(C, align(128))]
pub(crate) struct Record {
    pub(crate) posting: Posting,
    pub(crate) reading: Reading,
    pub(crate) claiming: Claiming,
    pub(crate) identity: Identity,
}

/// The part of a record that posting writes.
#[repr(C, align(128))]
pub(crate) struct Posting {
    pub(crate) hand: [AtomicU64; record::HAND_WORDS],
    pub(crate) reserved: AtomicU64,
    /// Messages posted, fragmented ones counted once.
    pub(crate) posted: AtomicU64,
    /// Fragments posted.
    pub(crate) fragments: AtomicU64,
    pub(crate) reservations: AtomicU64,
    pub(crate) committed: AtomicU64,
    /// Posts that found somebody asleep and made the system call.
    pub(crate) wakes: AtomicU64,
    /// Number of the last message of fragments.
    pub(crate) message: AtomicU64,
}

/// The part of a record that reading writes.
#[repr(C, align(128))]
pub(crate) struct Reading {
    /// The next id to be delivered.
    pub(crate) cursor: AtomicU64,
    /// Nanoseconds of `HostClock::coarse_ns` when something was last read.
    pub(crate) last_poll: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// Events that this worker has no handler for.
    pub(crate) skipped: AtomicU64,
    /// Ids missed by being lapped.
    pub(crate) missed: AtomicU64,
    /// Times of being lapped.
    pub(crate) lagged: AtomicU64,
    /// Reserved ids given up by this reader.
    pub(crate) voided: AtomicU64,
    /// Reserved ids that this reader had to wait for.
    pub(crate) waited: AtomicU64,
    /// Times of being woken from sleep.
    pub(crate) wakeups: AtomicU64,
    /// Records that could not be read for what they should be.
    pub(crate) corrupt: AtomicU64,
    /// Handlers that failed or panicked, and reporters that panicked.
    pub(crate) failed: AtomicU64,
    /// Unique events that this worker had claimed, and whose handlers were gone when it came to them.
    pub(crate) orphaned: AtomicU64,
}

/// The part of a record that claiming writes.
#[repr(C, align(128))]
pub(crate) struct Claiming {
    pub(crate) hand: [AtomicU64; record::HAND_WORDS],
    pub(crate) won: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) released: AtomicU64,
}

/// The part of a record that says who holds it.
#[repr(C, align(128))]
pub(crate) struct Identity {
    /// Zero when the last holder left in order.
    pub(crate) pid: AtomicU64,
    /// The holder's start, in clock ticks since boot, as in `/proc/PID/stat`.
    pub(crate) start_time: AtomicU64,
    /// Inode number of the holder's pid namespace, 0 if it is not known.
    pub(crate) pid_namespace: AtomicU64,
    /// Random, of the program that the holder's process ran: another after `exec`.
    pub(crate) program: AtomicU64,
    /// Nanoseconds of the wall clock at the time of joining.
    pub(crate) joined_at: AtomicU64,
    /// How often this record was taken.
    pub(crate) incarnation: AtomicU64,
    /// How often it was taken over from a holder that had died.
    pub(crate) adopted: AtomicU64,
    /// UTF-8, filled up with zeros.
    pub(crate) label: [AtomicU64; LABEL_WORDS],
}

/// Words of a label.
pub(crate) const LABEL_WORDS: usize = 6;
/// The longest label in bytes; longer ones are cut off.
pub(crate) const LABEL_BYTES: usize = LABEL_WORDS * 8;

/// The word that holds a field of [`Header`].
macro_rules! header_word {
    ($field:ident) => {
        core::mem::offset_of!($crate::layout::Header, $field) / 8
    };
}
/// The word of a record that holds a field of one of its parts: `record_word!(reading.cursor)`.
macro_rules! record_word {
    ($($path:ident).+) => {
        core::mem::offset_of!($crate::layout::Record, $($path).+) / 8
    };
}
pub(crate) use {header_word, record_word};

const _: () = {
    assert!(size_of::<Record>() == record::WORDS * 8);
    assert!(record_word!(posting.hand) == record::RING_HAND);
    assert!(record_word!(posting.reserved) == record::RESERVED);
    assert!(record_word!(claiming.hand) == record::CLAIM_HAND);
    assert!(size_of::<Header>() <= HEADER_BYTES);
    assert!(align_of::<Header>() <= 4096 && align_of::<Record>() == REGION_ALIGN);
    assert!(usize::BITS == 64, "seqcast needs a 64-bit target");
};

/// Bytes set aside for the header.
pub(crate) const HEADER_BYTES: usize = 1024;

/// One row of the layout table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// `"header"` or `"record"`.
    pub region: &'static str,
    /// The field's name.
    pub name: &'static str,
    /// Offset in bytes from the region's (the record's) beginning.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
    /// Who stores to it: `"creator"`, `"anyone"`, `"poster"`, `"reader"`, `"claimer"` or `"holder"`, the last four being
    /// halves of the worker that holds the record.
    pub writer: &'static str,
}

/// The fields of header and record as this build lays them out, in order of their offset.
pub fn fields() -> Vec<Field> {
    let mut rows = Vec::new();
    macro_rules! rows {
        ($region:literal, $base:expr, $type:ty, $writer:literal: $($field:ident)+) => {
            $({
                let span = span_of!($type, $field);
                rows.push(Field {
                    region: $region,
                    name: stringify!($field),
                    offset: $base + span.start,
                    len: span.end - span.start,
                    writer: $writer,
                });
            })+
        };
    }
    rows!("header", 0, Header, "creator": magic fingerprint nonce boot_id hash_key size capacity block_stride records
        buckets bucket_stride creator_pid created_at);
    rows!("header", 0, Header, "anyone": tail wake wake_reserved);
    let part = span_of!(Record, posting).start;
    rows!("record", part, Posting, "poster": hand reserved posted fragments reservations committed wakes message);
    let part = span_of!(Record, reading).start;
    rows!("record", part, Reading, "reader": cursor last_poll delivered skipped missed lagged voided waited wakeups
        corrupt failed orphaned);
    let part = span_of!(Record, claiming).start;
    rows!("record", part, Claiming, "claimer": hand won lost full late released);
    let part = span_of!(Record, identity).start;
    rows!("record", part, Identity, "holder": pid start_time pid_namespace program joined_at incarnation adopted label);
    rows
}

/// A hash of everything that decides how this build reads and writes a segment: the spans of all fields, the padding of
/// this target, byte order, block heads, and the format that rkyv was compiled for.
pub(crate) fn fingerprint() -> u64 {
    let mut hash = Fnv::new();
    for field in fields() {
        hash.bytes(field.name.as_bytes());
        hash.number(field.offset as u64);
        hash.number(field.len as u64);
    }
    for number in [
        size_of::<CachePadded<AtomicU64>>(),
        HEADER_BYTES,
        REGION_ALIGN,
        pool::HEAD_WORDS,
        claims::ENTRY_WORDS,
        claims::BUCKET_HEAD_WORDS,
        ring::LONGEST_STRETCH as usize,
        ring::FEWEST_STRETCHES as usize,
        CellWord::BLOCKS as usize,
        size_of::<rkyv::Archived<usize>>(),
        align_of::<rkyv::Archived<u64>>(),
        size_of::<rkyv::Archived<String>>(),
    ] {
        hash.number(number as u64);
    }
    hash.bytes(&0x0102_0304_0506_0708_u64.to_ne_bytes());
    let archived = rkyv::Archived::<u32>::from(0x0102_0304_u32);
    if let Ok(bytes) = rkyv::to_bytes::<rkyv::rancor::Failure>(&archived.to_native()) {
        hash.bytes(&bytes);
    }
    hash.finish()
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): for fingerprints and type tags, where nobody gains by a collision.
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) const fn bytes(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            self.0 = (self.0 ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
            i += 1;
        }
    }

    pub(crate) const fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(crate) const fn finish(&self) -> u64 {
        self.0
    }
}

/// The sizes that decide where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) capacity: u64,
    pub(crate) block_stride: u64,
    pub(crate) records: u64,
    pub(crate) buckets: u64,
    pub(crate) bucket_stride: u64,
}

/// Offsets of the regions, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) records: usize,
    pub(crate) cells: usize,
    pub(crate) blocks: usize,
    pub(crate) claim_cells: usize,
    pub(crate) bucket_blocks: usize,
    /// Size of the segment.
    pub(crate) end: usize,
}

/// Blocks that cells can tell apart, less the records' own, is the greatest capacity.
pub(crate) const MOST_BLOCKS: u64 = CellWord::BLOCKS;
/// Records that a stamp can tell apart.
pub(crate) const MOST_RECORDS: u64 = 1 << 16;
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

/// Bytes from block to block for blocks that hold `payload` bytes: an odd number of lines, so that blocks spread over the
/// sets of a cache.
pub(crate) const fn stride_for(payload: u64) -> u64 {
    let lines = (payload + pool::HEAD_WORDS as u64 * 8).div_ceil(LINE as u64);
    (lines | 1) * LINE as u64
}

impl Geometry {
    /// Payload bytes of a block.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_stride as usize - pool::HEAD_WORDS * 8
    }

    /// The number of the last record; there is at least one, and at most 65,536.
    pub(crate) fn last_record(&self) -> u16 {
        (self.records - 1) as u16
    }

    /// Bytes of the largest message: a quarter of what the ring holds.
    pub(crate) fn largest_message(&self) -> usize {
        self.block_bytes()
            .max(self.capacity as usize / 4 * (self.block_bytes() - crate::event::wire::FRAGMENT_HEAD_BYTES))
    }

    /// Whether these can be a segment's sizes, whoever wrote them. The text says what is wrong.
    pub(crate) fn check(&self) -> std::result::Result<Regions, &'static str> {
        let Geometry { capacity, block_stride, records, buckets, bucket_stride } = *self;
        let odd_lines = |stride: u64| stride.is_multiple_of(LINE as u64) && stride / LINE as u64 % 2 == 1;
        if !capacity.is_power_of_two() || capacity < LEAST_CAPACITY {
            return Err("its capacity is not a power of two of at least 8");
        }
        // No overflow in the sums: powers of two, and few records.
        if records == 0 || records > MOST_RECORDS || capacity + records > MOST_BLOCKS {
            return Err("its capacity and records exceed what cells can tell apart");
        }
        if !buckets.is_power_of_two() || buckets + records > MOST_BLOCKS {
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
        let records_at = region(records * record::WORDS as u64 * 8);
        let cells = region(capacity * 8);
        let blocks = region((capacity + records) * block_stride);
        let claim_cells = region(buckets * 8);
        let bucket_blocks = region((buckets + records) * bucket_stride);
        Ok(Regions { records: records_at, cells, blocks, claim_cells, bucket_blocks, end: end as usize })
    }
}

/// What a new segment is to be like, and what an existing one must be like to be opened.
///
/// The defaults suit four workers with small events and make a segment of about 5 MiB. Sizes count when a segment is
/// created; an existing one keeps its own. That it differs is told, or refused: see [`strict`](Options::strict).
///
/// ```
/// let options = seqcast::Options::new().capacity(1024).records(32).mode(0o660);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a segment is made or opened with them"]
pub struct Options {
    pub(super) capacity: u64,
    pub(super) block_size: u64,
    pub(super) claims: u64,
    pub(super) records: u64,
    pub(crate) mode: u32,
    pub(crate) owner: Option<(u32, u32)>,
    pub(super) asked: Asked,
    pub(super) strict: bool,
    pub(crate) unlink_on_drop: bool,
    pub(crate) creation_timeout: std::time::Duration,
    pub(crate) dump: bool,
}

/// Which options the caller has set. One that was left at its default is no wish.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) capacity: bool,
    pub(super) block_size: bool,
    pub(super) claims: bool,
    pub(super) records: bool,
    pub(super) mode: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            capacity: 8192,
            block_size: 288,
            claims: 8192,
            records: 64,
            mode: 0o600,
            owner: None,
            asked: Asked::default(),
            strict: false,
            unlink_on_drop: false,
            creation_timeout: std::time::Duration::from_secs(5),
            dump: false,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// How many events the ring holds: a power of two from 8 to 524,288. Default 8192.
    ///
    /// A worker that falls behind by more misses events, and is told how many.
    pub fn capacity(mut self, events: u64) -> Options {
        self.capacity = events;
        self.asked.capacity = true;
        self
    }

    /// Bytes of a block: the largest event that travels in one piece, with its source, its name and 16 bytes more; 64 to
    /// 1,048,576, rounded up to an odd number of cache lines less 32. Default 288. Larger events travel as several.
    pub fn block_size(mut self, bytes: u64) -> Options {
        self.block_size = bytes;
        self.asked.block_size = true;
        self
    }

    /// How many unique keys are held at once: keys per ttl, and unique events in the ring. At most 1,048,576.
    /// Default 8192.
    pub fn claims(mut self, keys: u64) -> Options {
        self.claims = keys;
        self.asked.claims = true;
        self
    }

    /// How many workers can be on the bus at once: 1 to 65,536; at least twice what is expected, since a reload has old
    /// and new side by side. Default 64.
    pub fn records(mut self, workers: u64) -> Options {
        self.records = workers;
        self.asked.records = true;
        self
    }

    /// Permission bits of a new segment, and the widest that an existing one may have. Default `0o600`.
    ///
    /// Whoever may write to a segment can spoil it for all. Whoever may only read it sees all payloads, and can keep
    /// workers from joining, by read locks on the bytes whose locks are the workers' seats; those who have joined go on.
    /// `seqcast doctor` names the process that does so. Give no right to users who are not to be trusted with that.
    pub fn mode(mut self, mode: u32) -> Options {
        self.mode = mode;
        self.asked.mode = true;
        self
    }

    /// User and group that a new segment is given to, for workers that drop their privileges; and the user that, beside
    /// the caller's own, an existing one may belong to. Default: the caller's own.
    pub fn owner(mut self, uid: u32, gid: u32) -> Options {
        self.owner = Some((uid, gid));
        self
    }

    /// Whether [`Bus::open_or_create`](crate::Bus::open_or_create) refuses an existing segment in which an option that was
    /// set here is otherwise, with [`Error::OptionsDiffer`]: of `capacity`, `block_size`, `claims`, `records`, `mode` and
    /// `owner`. Default: no; it is opened as it is, and the difference is reported. See
    /// [`Bus::differences`](crate::Bus::differences).
    pub fn strict(mut self, yes: bool) -> Options {
        self.strict = yes;
        self
    }

    /// Whether the name is unlinked when the [`Bus`](crate::Bus) that created it is dropped, in the process that created
    /// it. Default: no.
    pub fn unlink_on_drop(mut self, yes: bool) -> Options {
        self.unlink_on_drop = yes;
        self
    }

    /// Whether the segment is a part of this process's core dumps, as far as `/proc/PID/coredump_filter` admits it.
    /// Default: no. It holds the events of all workers, also such as a crash report should not carry away, and makes the
    /// dump of each worker larger by its size. A copy of the file under `/dev/shm` shows the same.
    pub fn dump(mut self, yes: bool) -> Options {
        self.dump = yes;
        self
    }

    /// How long to wait for another process that is just creating the segment; zero does not wait. It also bounds how long
    /// signals can interrupt the creation. Default 5 s.
    pub fn creation_timeout(mut self, timeout: std::time::Duration) -> Options {
        self.creation_timeout = timeout;
        self
    }

    /// The sizes of a segment made with these options.
    pub(crate) fn geometry(&self) -> Result<Geometry> {
        let Options { capacity, block_size, claims, records, mode, .. } = *self;
        let most_capacity = MOST_BLOCKS / 2;
        if !capacity.is_power_of_two() || !(LEAST_CAPACITY..=most_capacity).contains(&capacity) {
            let rule = format!("it must be a power of two from {LEAST_CAPACITY} to {most_capacity}");
            return Err(Error::option("capacity", capacity, rule));
        }
        if !(1..=MOST_RECORDS).contains(&records) {
            return Err(Error::option("records", records, format!("it must be 1 to {MOST_RECORDS}")));
        }
        if !(LEAST_BLOCK..=MOST_BLOCK).contains(&block_size) {
            let rule = format!("it must be {LEAST_BLOCK} to {MOST_BLOCK} bytes");
            return Err(Error::option("block_size", block_size, rule));
        }
        let most_claims = MOST_BLOCKS;
        if !(1..=most_claims).contains(&claims) {
            return Err(Error::option("claims", claims, format!("it must be 1 to {most_claims}")));
        }
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 {
            let rule = "it must be permission bits with read and write for the owner, as 0o600 or 0o660";
            return Err(Error::option("mode", format_args!("{mode:#o}"), rule));
        }
        let (block_stride, buckets) = (stride_for(block_size), buckets_for(claims));
        let geometry = Geometry { capacity, block_stride, records, buckets, bucket_stride: BUCKET_STRIDE };
        match geometry.check() {
            Ok(_) => Ok(geometry),
            Err(what) => {
                let value = format!("{capacity} with records = {records} and claims = {claims}");
                Err(Error::option("capacity", value, what))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writers_share_a_pair_of_lines() {
        let fields = fields();
        for (i, a) in fields.iter().enumerate() {
            for b in &fields[i + 1..] {
                let same_writer = a.writer == b.writer && a.writer != "anyone";
                let apart = a.region != b.region
                    || same_writer
                    || (a.offset + a.len - 1) / REGION_ALIGN < b.offset / REGION_ALIGN;
                assert!(apart, "{a:?} and {b:?} share a pair of lines");
            }
        }
    }

    #[test]
    fn the_table_has_no_overlap_and_covers_the_record_parts() {
        for pair in fields().windows(2) {
            let [a, b] = pair else { unreachable!() };
            assert!(a.region != b.region || a.offset + a.len <= b.offset, "{a:?} overlaps {b:?}");
        }
    }

    #[test]
    fn the_default_segment_is_small() {
        let regions = Options::new().geometry().unwrap().check().unwrap();
        assert!(regions.end < 8 << 20, "{} bytes", regions.end);
    }

    #[test]
    fn g10_sizes_are_checked_at_their_limits() {
        let ok = |change: &dyn Fn(&mut Geometry)| {
            let mut geometry = Options::new().geometry().unwrap();
            change(&mut geometry);
            geometry.check().is_ok()
        };
        for (capacity, good) in [(0, false), (4, false), (8, true), (12, false), (1 << 19, true), (1 << 20, false)] {
            assert_eq!(ok(&|sizes| sizes.capacity = capacity), good, "capacity {capacity}");
            assert_eq!(ok(&|sizes| (sizes.capacity, sizes.records) = (capacity, 1 << 16)), good, "capacity {capacity}");
        }
        for (records, good) in [(0, false), (1, true), (1 << 16, true), ((1 << 16) + 1, false), (u64::MAX, false)] {
            assert_eq!(ok(&|sizes| sizes.records = records), good, "{records} records");
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

    /// Whoever changes the layout finds this test, and raises [`LAYOUT_VERSION`] once there are releases.
    #[cfg(all(target_arch = "x86_64", target_endian = "little"))]
    #[test]
    fn g11_the_layout_is_the_one_of_its_version() {
        assert_eq!((LAYOUT_VERSION, fingerprint()), (2, 0x239e_9eb7_9301_f161));
        assert_eq!(layout_version(magic()), Some(2));
        assert_eq!([layout_version(0), layout_version(FORMING)], [None; 2]);
    }

    #[test]
    fn strides_are_an_odd_number_of_lines() {
        for payload in LEAST_BLOCK..4096 {
            let stride = stride_for(payload);
            assert_eq!(stride / LINE as u64 % 2, 1);
            assert!(stride - 32 >= payload && stride <= payload + 32 + 2 * LINE as u64);
        }
    }
}
