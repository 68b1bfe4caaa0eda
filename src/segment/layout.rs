//! The segment's layout.
//!
//! ```text
//! 0        header      the creator, the sizes, the event id, the wake words
//! 2048     seats       one of 640 bytes for each worker
//!          ring        capacity cells of 8 bytes
//!          blocks      capacity + seats blocks, 64-byte aligned, an odd number of lines apart
//!          claims      one cell of 8 bytes for each bucket
//!                      and one for each 64 slots: the index of retained events
//!          buckets     as many blocks, and one for each seat, likewise
//!          slots       one cell of 8 bytes for each slot of a retained event
//!          values      slots + seats blocks, likewise
//!          large       one cell of 8 bytes for each large block that is public
//!          large_blocks  as many blocks, and one for each seat, likewise
//!          announced   one word for each seat
//!          must        one word for each seat
//!          relay       what the relay of this host keeps
//!          origins     two words for each host: its origin, and which of its events come next
//! ```
//!
//! A segment that retains nothing has no index, slots, values and announced. A segment without large blocks has no
//! large and large_blocks.
//!
//! Every region begins on a 128-byte boundary. Words are 64 bits in the machine's byte order.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crossbeam_utils::CachePadded;
use memoffset::span_of;

use crate::protocol::bridge::BRIDGE_WORDS;
use crate::protocol::{relay, seat_words};

/// Version of the layout below. Raise it with every change that an older binary would misread.
pub(crate) const LAYOUT_VERSION: u32 = 6;
/// The upper 48 bits of a finished segment's first word; the lower 16 are the layout version.
const MAGIC: u64 = 0x7365_7163_6173_0000; // "seqcas"
/// The first word of a segment during its creation.
pub(crate) const FORMING: u64 = 0x7365_7143_4153_7e7e;

/// Returns the first word of a finished segment of this layout.
pub(crate) const fn magic() -> u64 {
    MAGIC | LAYOUT_VERSION as u64
}

/// Returns the layout version in a first word, if it is that of a seqcast segment.
pub(crate) const fn layout_version(magic: u64) -> Option<u32> {
    if magic & !0xffff == MAGIC { Some((magic & 0xffff) as u32) } else { None }
}

/// The size of a cache line, and the alignment of blocks.
pub(crate) const LINE: usize = 64;
/// The alignment of regions and seats: two cache lines, because processors fetch them in pairs.
pub(crate) const REGION_ALIGN: usize = 128;

/// The beginning of a segment. Only `typed_format`, `tail`, the wake words and `bridge` are written after
/// creation.
#[repr(C)]
pub(crate) struct HeaderLayout {
    /// [`magic`], stored last.
    pub(crate) magic: AtomicU64,
    /// The [fingerprint](super::fingerprint) of the creator.
    pub(crate) fingerprint: AtomicU64,
    /// Random. Distinguishes this segment from any other with the same name.
    pub(crate) nonce: [AtomicU64; 2],
    /// The host's boot id at creation.
    pub(crate) boot_id: [AtomicU64; 2],
    /// Random key for the hashes of unique values.
    pub(crate) hash_key: [AtomicU64; 2],
    /// Size of the segment in bytes.
    pub(crate) size: AtomicU64,
    pub(crate) capacity: AtomicU64,
    /// The distance between two blocks, in bytes.
    pub(crate) block_stride: AtomicU64,
    pub(crate) seats: AtomicU64,
    pub(crate) buckets: AtomicU64,
    /// The distance between two bucket blocks, in bytes.
    pub(crate) bucket_stride: AtomicU64,
    /// Slots of retained events; 0 if nothing is retained.
    pub(crate) slots: AtomicU64,
    /// Bytes from slot block to slot block.
    pub(crate) slot_stride: AtomicU64,
    /// Cells of the large ring; 0 if there is none.
    pub(crate) large: AtomicU64,
    /// Bytes from large block to large block.
    pub(crate) large_stride: AtomicU64,
    /// The longest time, in nanoseconds, for which a reader may have posts wait for it. 0 if posts wait for none.
    pub(crate) most_patience: AtomicU64,
    /// Places for the origins of other hosts; 0 if there can be no relay.
    pub(crate) relay_hosts: AtomicU64,
    pub(crate) creator_pid: AtomicU64,
    /// Wall-clock time of the creation, in nanoseconds.
    pub(crate) created_at: AtomicU64,
    /// The format of the bus's typed values. 0 until a program uses typed values. Stored once.
    pub(crate) typed_format: CachePadded<AtomicU64>,
    /// The global event id: the next id to try.
    pub(crate) tail: CachePadded<AtomicU64>,
    /// The next large id to try.
    pub(crate) large_tail: CachePadded<AtomicU64>,
    /// Wakes sleepers that wait for any event.
    pub(crate) wake: CachePadded<AtomicU32>,
    /// Wakes sleepers that wait for a reserved id's payload.
    pub(crate) wake_reserved: CachePadded<AtomicU32>,
    /// The bridge that reads this segment: see [`crate::protocol::bridge`].
    pub(crate) bridge: CachePadded<[AtomicU64; BRIDGE_WORDS]>,
    /// Wakes posts that wait for a reader.
    pub(crate) wake_room: CachePadded<AtomicU32>,
}

/// A seat: the words that one worker writes and others read.
#[repr(C, align(128))]
pub(crate) struct SeatLayout {
    pub(crate) posting: PostingLayout,
    pub(crate) reading: ReadingLayout,
    pub(crate) claiming: ClaimingLayout,
    pub(crate) identity: IdentityLayout,
}

/// The part of a seat that posting writes.
#[repr(C, align(128))]
pub(crate) struct PostingLayout {
    pub(crate) hand: [AtomicU64; seat_words::HAND_WORDS],
    pub(crate) reserved: AtomicU64,
    pub(crate) slot_hand: [AtomicU64; seat_words::HAND_WORDS],
    pub(crate) large_hand: [AtomicU64; seat_words::HAND_WORDS],
    /// Events posted. A fragmented event counts once.
    pub(crate) posted: AtomicU64,
    /// Fragments posted.
    pub(crate) fragments: AtomicU64,
    pub(crate) reservations: AtomicU64,
    pub(crate) committed: AtomicU64,
    /// Posts that found sleepers to wake and made the system call.
    pub(crate) wakes: AtomicU64,
    /// The number of the last fragmented event.
    pub(crate) message: AtomicU64,
    /// Retained events posted, and clears.
    pub(crate) retained: AtomicU64,
    /// Retained events of others brought into the table.
    pub(crate) settled: AtomicU64,
    /// Retained events that were not posted because there was no place for their key.
    pub(crate) retained_full: AtomicU64,
    /// Events posted with their payload in a large block.
    pub(crate) large: AtomicU64,
    /// Posts that waited for a reader that must read.
    pub(crate) waits: AtomicU64,
    /// How long they waited, in nanoseconds.
    pub(crate) waited_ns: AtomicU64,
    /// Posts that were refused because they would have lapped a reader.
    pub(crate) refused: AtomicU64,
}

/// The part of a seat that reading writes.
#[repr(C, align(128))]
pub(crate) struct ReadingLayout {
    /// The next id to be delivered.
    pub(crate) cursor: AtomicU64,
    /// The first id that is not copied out, of a reader that posts wait for.
    pub(crate) need: AtomicU64,
    /// How long a post waits for this reader, in nanoseconds.
    pub(crate) patience: AtomicU64,
    /// Time of the last poll that read something, by `HostClock::coarse_ns`.
    pub(crate) last_poll: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// Events that this worker has no handler for.
    pub(crate) skipped: AtomicU64,
    /// Ids missed because the worker was lapped.
    pub(crate) missed: AtomicU64,
    /// How often the worker was lapped.
    pub(crate) lagged: AtomicU64,
    /// Reserved ids given up by this reader.
    pub(crate) voided: AtomicU64,
    /// Reserved ids that this reader had to wait for.
    pub(crate) waited: AtomicU64,
    /// How often the worker was woken from sleep.
    pub(crate) wakeups: AtomicU64,
    /// Malformed events.
    pub(crate) corrupt: AtomicU64,
    /// Handlers that failed or panicked, and reporters that panicked.
    pub(crate) failed: AtomicU64,
    /// Unique events that this worker had claimed but no longer had a handler for at delivery.
    pub(crate) orphaned: AtomicU64,
    /// Times that the worker was reset: everything that it knew of retained events was void.
    pub(crate) resets: AtomicU64,
    /// How often a post gave up waiting for this reader.
    pub(crate) cut_off: AtomicU64,
}

/// The part of a seat that claiming writes.
#[repr(C, align(128))]
pub(crate) struct ClaimingLayout {
    pub(crate) hand: [AtomicU64; seat_words::HAND_WORDS],
    /// The attempts of all earlier holders of the seat.
    pub(crate) before: AtomicU64,
    pub(crate) won: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) released: AtomicU64,
}

/// The part of a seat that identifies its holder.
#[repr(C, align(128))]
pub(crate) struct IdentityLayout {
    /// 0 if the last holder has left.
    pub(crate) pid: AtomicU64,
    /// Start time of the holder's process, in clock ticks since boot, as in `/proc/PID/stat`.
    pub(crate) start_time: AtomicU64,
    /// Inode number of the holder's pid namespace, or 0 if it is unknown.
    pub(crate) pid_namespace: AtomicU64,
    /// Random number of the program that the holder's process runs. It changes with `exec`.
    pub(crate) program: AtomicU64,
    /// Wall-clock time of the join, in nanoseconds.
    pub(crate) joined_at: AtomicU64,
    /// How often this seat was taken.
    pub(crate) incarnation: AtomicU64,
    /// How often this seat was taken over from a dead holder.
    pub(crate) adopted: AtomicU64,
    /// UTF-8, padded with zeros.
    pub(crate) label: [AtomicU64; LABEL_WORDS],
}

/// What the relay of this host keeps. Its two halves write at the same time.
#[repr(C, align(128))]
pub(crate) struct RelayLayout {
    pub(crate) holder: RelayHolderLayout,
    pub(crate) down: RelayDownLayout,
    pub(crate) up: RelayUpLayout,
}

/// The part that a relay writes when it begins and when it ends. Every cluster post reads it.
#[repr(C, align(128))]
pub(crate) struct RelayHolderLayout {
    /// If there is a relay: see `relay::region`.
    pub(crate) state: AtomicU64,
    /// The key under which unique keys are hashed for all hosts.
    pub(crate) cluster_key: [AtomicU64; 2],
    /// How often the relay's place was taken.
    pub(crate) incarnation: AtomicU64,
    /// The seat of the relay plus one, and its incarnation.
    pub(crate) seat: AtomicU64,
    pub(crate) seat_incarnation: AtomicU64,
}

/// The part of the half that posts what comes from other hosts.
#[repr(C, align(128))]
pub(crate) struct RelayDownLayout {
    /// See `protocol::relay`.
    pub(crate) once: [AtomicU64; relay::RELAY_WORDS],
    /// Time of the last sign of life, by `HostClock::boottime_ns`.
    pub(crate) beat: AtomicU64,
    /// What the relay says of itself: see `relay::Health`.
    pub(crate) health: AtomicU64,
    /// Events posted.
    pub(crate) posted: AtomicU64,
    /// Events that were passed over.
    pub(crate) passed: AtomicU64,
    /// Records of missed events posted.
    pub(crate) gaps: AtomicU64,
    /// Events that may have been posted twice.
    pub(crate) possible_duplicates: AtomicU64,
}

/// The part of the half that reads what goes to other hosts.
#[repr(C, align(128))]
pub(crate) struct RelayUpLayout {
    /// The next id that the engine has not acknowledged, plus one; 0 if it is not known.
    pub(crate) sent: AtomicU64,
    /// The id at which the first relay of the segment began to read, plus one; 0 before it.
    pub(crate) first: AtomicU64,
    /// As [`RelayDownLayout::beat`].
    pub(crate) beat: AtomicU64,
}

/// Words of a label.
pub(crate) const LABEL_WORDS: usize = 6;
/// The longest label in bytes. Longer labels are truncated.
pub(crate) const LABEL_BYTES: usize = LABEL_WORDS * 8;

/// The index of the word that holds a field of [`HeaderLayout`].
macro_rules! header_word {
    ($field:ident) => {
        core::mem::offset_of!($crate::segment::layout::HeaderLayout, $field) / 8
    };
}
/// The index of the word of a seat that holds a field of one of its parts: `seat_word!(reading.cursor)`.
macro_rules! seat_word {
    ($($path:ident).+) => {
        core::mem::offset_of!($crate::segment::layout::SeatLayout, $($path).+) / 8
    };
}
/// The index of the word of the relay's region that holds a field of one of its parts: `relay_word!(up.sent)`.
macro_rules! relay_word {
    ($($path:ident).+) => {
        core::mem::offset_of!($crate::segment::layout::RelayLayout, $($path).+) / 8
    };
}
pub(crate) use {header_word, relay_word, seat_word};

/// Bytes of the relay's region.
pub(crate) const RELAY_BYTES: usize = size_of::<RelayLayout>();

const _: () = {
    assert!(size_of::<SeatLayout>() == seat_words::WORDS * 8);
    assert!(seat_word!(posting.hand) == seat_words::RING_HAND);
    assert!(seat_word!(posting.reserved) == seat_words::RESERVED);
    // Joining sets the counters that follow to zero.
    assert!(seat_word!(posting.slot_hand) < seat_word!(posting.posted));
    assert!(seat_word!(posting.large_hand) < seat_word!(posting.posted));
    assert!(seat_word!(posting.large_hand) == seat_words::LARGE_HAND);
    assert!(seat_word!(reading.need) == seat_words::NEED);
    assert!(seat_word!(reading.patience) == seat_words::PATIENCE);
    assert!(seat_word!(claiming.hand) == seat_words::CLAIM_HAND);
    assert!(seat_word!(claiming.before) == seat_words::CLAIMS_BEFORE);
    assert!(size_of::<HeaderLayout>() <= HEADER_BYTES);
    assert!(align_of::<HeaderLayout>() <= 4096 && align_of::<SeatLayout>() == REGION_ALIGN);
    assert!(usize::BITS == 64, "seqcast needs a 64-bit target");
};

/// Bytes of the header's region.
pub(crate) const HEADER_BYTES: usize = 2048;

/// One row of the layout table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// `"header"`, `"seat"`, `"relay"`, `"block"`, `"bucket"`, `"entry"`, `"index"`, `"slot"` or `"origin"`.
    pub region: &'static str,
    /// The field's name.
    pub name: &'static str,
    /// Bytes before it in the header, the seat, the block, the bucket's payload or the entry.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
    /// The writer: `"creator"`, `"anyone"`, `"poster"`, `"reader"`, `"claimer"` or `"holder"`. The last four are parts
    /// of the worker that holds the seat. Or a part of the relay: `"relay"`, `"relay down"` or `"relay up"`.
    pub writer: &'static str,
}

/// Returns the fields of the header, of a seat and of the relay in this build's layout, in order of their offsets.
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
    rows!("header", 0, HeaderLayout, "creator": magic fingerprint nonce boot_id hash_key size capacity block_stride
        seats buckets bucket_stride slots slot_stride large large_stride most_patience relay_hosts creator_pid
        created_at);
    rows!("header", 0, HeaderLayout, "anyone": typed_format tail large_tail wake wake_reserved bridge wake_room);
    let part = span_of!(SeatLayout, posting).start;
    rows!("seat", part, PostingLayout, "poster": hand reserved slot_hand large_hand posted fragments reservations
        committed wakes message retained settled retained_full large waits waited_ns refused);
    let part = span_of!(SeatLayout, reading).start;
    rows!("seat", part, ReadingLayout, "reader": cursor need patience last_poll delivered skipped missed lagged voided
        waited wakeups corrupt failed orphaned resets cut_off);
    let part = span_of!(SeatLayout, claiming).start;
    rows!("seat", part, ClaimingLayout, "claimer": hand before won lost full late released);
    let part = span_of!(SeatLayout, identity).start;
    rows!("seat", part, IdentityLayout, "holder": pid start_time pid_namespace program joined_at incarnation
        adopted label);
    let part = span_of!(RelayLayout, holder).start;
    rows!("relay", part, RelayHolderLayout, "relay": state cluster_key incarnation seat seat_incarnation);
    let part = span_of!(RelayLayout, down).start;
    rows!("relay", part, RelayDownLayout, "relay down": once beat health posted passed gaps possible_duplicates);
    let part = span_of!(RelayLayout, up).start;
    rows!("relay", part, RelayUpLayout, "relay up": sent first beat);
    rows
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
    fn the_table_has_no_overlap_and_covers_the_seat_parts() {
        for pair in fields().windows(2) {
            let [a, b] = pair else { unreachable!() };
            assert!(a.region != b.region || a.offset + a.len <= b.offset, "{a:?} overlaps {b:?}");
        }
    }
}
