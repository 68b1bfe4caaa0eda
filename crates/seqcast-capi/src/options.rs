//! Options structs. Each begins with its size, and zero is the default of every field.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use seqcast::{Cause, Error, SegmentOptions, Start, WorkerOptions};

use crate::argument::text;
use crate::failure::seqcast_error::SEQCAST_E_SIZE;
use crate::failure::{Failure, Result};

/// No options struct will ever be larger. A larger size was not set by the caller.
const MOST_SIZE: usize = 4096;

/// Options to create or open a segment. Set all bytes to zero, then set `size` and the options that you need.
///
/// Sizes are used when a segment is created. An existing segment keeps its own: see `strict` and
/// `seqcast_bus_differences`.
#[repr(C)]
pub struct seqcast_bus_options {
    /// `sizeof(seqcast_bus_options)`.
    pub size: usize,
    /// How many events the ring holds: a power of two from 8 to 524,288. 0 means 8192.
    pub capacity: u64,
    /// Bytes of a block: the size of the largest event that is not fragmented, from 64 to 1,048,576. 0 means 288.
    pub block_size: u64,
    /// How many unique keys can be held at once: at most 1,048,576. 0 means 8192.
    pub claims: u64,
    /// How many seats there are: at most 65,536. Choose at least twice the expected number of workers, because old and
    /// new workers are on the bus together during a reload. 0 means 64.
    pub seats: u64,
    /// How long to wait for another process that is creating the segment, in nanoseconds. 0 means 5 seconds.
    pub creation_timeout_ns: u64,
    /// Permission bits of a new segment, and the widest that an existing one may have. 0 means 0600.
    pub mode: u32,
    /// If not 0, a new segment is given to `owner_uid` and `owner_gid`, and an existing one may belong to that user,
    /// too.
    pub set_owner: i32,
    /// The user id for `set_owner`.
    pub owner_uid: u32,
    /// The group id for `set_owner`.
    pub owner_gid: u32,
    /// If not 0, opening an existing segment with other options than those set here fails with
    /// `SEQCAST_E_OPTIONS_DIFFER`.
    pub strict: i32,
    /// If not 0, the name is unlinked when the bus that created the segment is freed in the process that created it.
    pub unlink_on_free: i32,
    /// If not 0, this process's core dumps contain the segment.
    pub dump: i32,
    /// Must be 0.
    pub reserved: i32,
    /// How many keys can have a retained event at the same time: at most 262,144. 0 means 64. -1 means none: no event
    /// can be retained.
    pub retained_keys: i64,
    /// Bytes of the largest retained event, with its names, its key and 48 bytes more: from 64 to 1,048,576. 0 means
    /// the block size.
    pub retained_size: u64,
    /// How many large blocks there are, for payloads that do not fit in a block: a power of two from 2 to 524,288. 0
    /// means none.
    pub large_blocks: u64,
    /// Bytes of the largest payload of a large block, from 64 to 67,108,864. Must be set if `large_blocks` is.
    pub large_size: u64,
    /// The longest time for which a seat may have posts wait for it, in nanoseconds: at most an hour. See
    /// `must_read_ns` of `seqcast_seat_options`. 0 means 1 second. -1 means that posts wait for no seat.
    pub most_patience_ns: i64,
    /// Of how many hosts a relay can remember what has come from them: at most 65,536. 0 means 256. -1 means none:
    /// there can be no relay.
    pub relay_hosts: i64,
}

/// Where a seat or a tail begins to read.
#[repr(C)]
pub enum seqcast_start_at {
    /// At the event that is posted next.
    SEQCAST_START_NOW = 0,
    /// At the oldest event that the ring still holds.
    SEQCAST_START_OLDEST = 1,
    /// At the event id `start_id`.
    SEQCAST_START_AT = 2,
    /// After the event id `start_id`, to continue where a reader of the same bus stopped.
    SEQCAST_START_AFTER = 3,
    /// At the position `start_position`, which `seqcast_seat_position` copied.
    SEQCAST_START_RESUME = 4,
    /// As `SEQCAST_START_NOW`, but the seat first gets the last retained event of every key, in the order of their ids,
    /// and then a delivery of the kind `SEQCAST_UP_TO_DATE`. A tail gets none of these.
    SEQCAST_START_RETAINED = 5,
}

/// Options of a seat. Set all bytes to zero, then set `size` and the options that you need.
#[repr(C)]
pub struct seqcast_seat_options {
    /// `sizeof(seqcast_seat_options)`.
    pub size: usize,
    /// A name that `seqcast top` and figures show. It is truncated to 48 bytes. Null means none.
    pub label: *const c_char,
    /// Bytes of `label`.
    pub label_len: usize,
    /// For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
    pub start_id: u64,
    /// For `SEQCAST_START_RESUME`.
    pub start_position: *const c_char,
    /// Bytes of `start_position`.
    pub start_position_len: usize,
    /// The sleep between two checks of a reserved id, in nanoseconds. 0 means 10 milliseconds.
    pub wait_interval_ns: u64,
    /// How long to wait for a reserved id before giving it up for all seats, in nanoseconds. 0 means 500 milliseconds.
    pub wait_max_ns: u64,
    /// How long a unique key is held if the post sets no ttl, in nanoseconds. 0 means 2 seconds.
    pub timeout_ns: u64,
    /// A `seqcast_start_at`.
    pub start: i32,
    /// If not 0, the events `seqcast/started` and `seqcast/stopping` are not posted.
    pub silent: i32,
    /// If not 0, the seat is brought up to date after it has missed events: after `SEQCAST_LAGGED` it gets the last
    /// retained event of every key of which it has missed that, and what was cleared, and then `SEQCAST_UP_TO_DATE`. If
    /// it is no longer known what was cleared, `SEQCAST_RESET` comes first, and then the last event of every key.
    pub resync: i32,
    /// Must be 0.
    pub reserved: i32,
    /// If not 0, posts of other seats wait for this seat, each for at most this time, in nanoseconds: no event is
    /// overwritten before this seat has read it. At most `most_patience_ns` of the segment, and longer than
    /// `wait_max_ns`. 0 means that this seat misses events if it falls a whole ring behind.
    ///
    /// A post that has waited for this long cuts the seat off: it may miss events, and is told so by `SEQCAST_LAGGED`
    /// with `cut_off`. From its next read on, posts wait for it again. A dead holder delays no post, and a stopped one
    /// delays the others once. Posts of this seat itself never wait: without room they give `SEQCAST_E_FULL` at once,
    /// and it has to read first.
    pub must_read_ns: u64,
}

/// Options of a post. Set all bytes to zero, then set `size` and the options that you need.
#[repr(C)]
pub struct seqcast_post_options {
    /// `sizeof(seqcast_post_options)`.
    pub size: usize,
    /// The type of the payload, for readers that know the tag. 0 means bytes.
    pub type_tag: u64,
    /// If not null, the event is unique: at most one worker runs it, and no worker runs a later event with this key
    /// until the ttl ends. A key has at least 1 byte.
    pub key: *const c_char,
    /// Bytes of `key`.
    pub key_len: usize,
    /// How long the key is held, in nanoseconds, from when the first worker reaches the event. 0 means the seat's
    /// timeout. For a retained event, how long it is retained. 0 means without an end.
    pub ttl_ns: u64,
    /// The key of a retained event, of at most 255 bytes: one event is retained for each topic and key. Null means
    /// none.
    pub retain_key: *const c_char,
    /// Bytes of `retain_key`.
    pub retain_key_len: usize,
    /// If not 0, the event is retained: it is kept as the last one of its topic and `retain_key`, until a later one
    /// takes its place, `seqcast_seat_clear` clears it, or its ttl ends. It cannot be unique. It cannot be committed
    /// at a reserved id.
    pub retain: i32,
    /// Must be 0.
    pub reserved: i32,
    /// If not 0, the event is delivered on all hosts of the cluster, this one included, at one place in one order that
    /// all of them share. A unique event then runs on one seat of the cluster, and a retained one is retained on every
    /// host. The stored id is that of the request to the relay; the event gets another one when it is delivered.
    /// Without a relay on this host the post gives `SEQCAST_E_NO_RELAY`. It cannot be committed at a reserved id.
    pub cluster: i32,
    /// Must be 0.
    pub reserved_2: i32,
}

/// A struct of plain fields that begins with its size.
///
/// # Safety
///
/// It is `repr(C)`, its first field is `size: usize`, and all bytes of its other fields may have any value. It has no
/// padding: a caller need not set padding to 0, and a later version might use it for a field.
pub(crate) unsafe trait Options: Sized {
    const NAME: &'static str;
}

// SAFETY: numbers and pointers after the size, and no padding: the 4-byte fields come last and in pairs.
unsafe impl Options for seqcast_bus_options {
    const NAME: &'static str = "seqcast_bus_options";
}
// SAFETY: as above.
unsafe impl Options for seqcast_seat_options {
    const NAME: &'static str = "seqcast_seat_options";
}
// SAFETY: as above.
unsafe impl Options for seqcast_post_options {
    const NAME: &'static str = "seqcast_post_options";
}

/// Reads an options struct of this or another version. Fields that an older caller does not have are zero. Additional
/// fields of a newer caller must be zero. Returns `None` for null.
///
/// # Safety
///
/// `pointer` is null or points to a `size`. If the size is plausible, it points to a struct of that size.
#[inline]
pub(crate) unsafe fn read<T: Options>(pointer: *const T) -> Result<Option<T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the struct begins with its size.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > MOST_SIZE {
        return Err(no_size::<T>(size));
    }
    let mut options = MaybeUninit::<T>::zeroed();
    // SAFETY: both the caller's struct and ours have at least as many bytes as are copied.
    unsafe { pointer.cast::<u8>().copy_to_nonoverlapping(options.as_mut_ptr().cast(), size.min(size_of::<T>())) };
    for at in size_of::<T>()..size {
        // SAFETY: within the caller's struct.
        if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
            return Err(unknown::<T>(size, at));
        }
    }
    // SAFETY: all bytes are set, and may have any value.
    Ok(Some(unsafe { options.assume_init() }))
}

#[cold]
fn no_size<T: Options>(size: usize) -> Failure {
    let (name, own) = (T::NAME, size_of::<T>());
    Failure::new(SEQCAST_E_SIZE, format!("{name}.size is {size}: set it to sizeof({name}), which is {own} here"))
}

#[cold]
fn unknown<T: Options>(size: usize, at: usize) -> Failure {
    let (name, own) = (T::NAME, size_of::<T>());
    Failure::new(
        SEQCAST_E_SIZE,
        format!(
            "{name} has {size} bytes, and byte {at} is not 0, but this library ({}) knows only {own} bytes: leave \
             newer options at 0, or use the library that belongs to the header",
            env!("CARGO_PKG_VERSION")
        ),
    )
}

pub(crate) fn set<O, V>(options: O, value: Option<V>, with: impl FnOnce(O, V) -> O) -> O {
    match value {
        Some(value) => with(options, value),
        None => options,
    }
}

/// Returns the value, or `None` for 0.
fn given<N: Default + PartialEq>(value: N) -> Option<N> {
    (value != N::default()).then_some(value)
}

pub(crate) fn duration(ns: u64) -> Option<Duration> {
    given(ns).map(Duration::from_nanos)
}

impl seqcast_bus_options {
    pub(crate) fn to_segment_options(&self) -> SegmentOptions {
        let mut options = SegmentOptions::new()
            .strict(self.strict != 0)
            .unlink_on_drop(self.unlink_on_free != 0)
            .dump(self.dump != 0);
        options = set(options, given(self.capacity), SegmentOptions::capacity);
        options = set(options, given(self.block_size), SegmentOptions::block_size);
        options = set(options, given(self.claims), SegmentOptions::claims);
        options = set(options, given(self.seats), SegmentOptions::seats);
        options = set(options, given(self.mode), SegmentOptions::mode);
        // Negative means none.
        let keys = given(self.retained_keys).map(|keys| u64::try_from(keys).unwrap_or(0));
        options = set(options, keys, SegmentOptions::retained);
        options = set(options, given(self.retained_size), SegmentOptions::retained_size);
        let large = given((self.large_blocks, self.large_size));
        options = set(options, large, |options, (blocks, bytes)| options.large(blocks, bytes));
        let patience = given(self.most_patience_ns).map(|ns| Duration::from_nanos(u64::try_from(ns).unwrap_or(0)));
        options = set(options, patience, SegmentOptions::most_patience);
        let hosts = given(self.relay_hosts).map(|hosts| u64::try_from(hosts).unwrap_or(0));
        options = set(options, hosts, SegmentOptions::relay_hosts);
        options = set(options, duration(self.creation_timeout_ns), SegmentOptions::creation_timeout);
        set(options, given(self.set_owner), |options, _| options.owner(self.owner_uid, self.owner_gid))
    }
}

impl seqcast_seat_options {
    /// # Safety
    ///
    /// The texts are as [`text`] requires.
    pub(crate) unsafe fn to_worker_options(&self) -> Result<WorkerOptions> {
        // SAFETY: as the caller promises.
        let label = unsafe { text(self.label, self.label_len, "label") }?;
        // SAFETY: as the caller promises.
        let position = unsafe { text(self.start_position, self.start_position_len, "start_position") }?;
        let start = start(self.start, self.start_id, position)?;
        let mut options =
            WorkerOptions::new().label(label).start(start).announce(self.silent == 0).resync(self.resync != 0);
        options = set(options, duration(self.wait_interval_ns), WorkerOptions::wait_interval);
        options = set(options, duration(self.wait_max_ns), WorkerOptions::wait_max);
        options = set(options, duration(self.must_read_ns), WorkerOptions::must_read);
        Ok(set(options, duration(self.timeout_ns), WorkerOptions::timeout))
    }
}

pub(crate) fn start(start: i32, id: u64, position: &str) -> Result<Start> {
    Ok(match start {
        0 => Start::Now,
        1 => Start::Oldest,
        2 => Start::At(id),
        3 => Start::After(id),
        4 => Start::Resume(position.parse()?),
        5 => Start::Retained,
        other => {
            let (value, rule) = (other.to_string(), "it must be a seqcast_start_at, 0 to 5".to_owned());
            return Err(Error::from(Cause::Option { option: "start", value, rule }).into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::call;

    #[repr(C)]
    struct Newer {
        known: seqcast_post_options,
        more: u64,
    }

    fn post_options(size: usize) -> seqcast_post_options {
        seqcast_post_options {
            size,
            type_tag: 7,
            key: std::ptr::null(),
            key_len: 0,
            ttl_ns: 9,
            retain_key: std::ptr::null(),
            retain_key_len: 0,
            retain: 1,
            reserved: 0,
            cluster: 1,
            reserved_2: 0,
        }
    }

    fn read_ok<T: Options>(options: &T) -> Option<T> {
        // SAFETY: a whole struct.
        unsafe { read(options) }.unwrap()
    }

    #[test]
    fn zero_is_the_default_of_a_segment_and_minus_one_is_none() {
        // SAFETY: zero is a value of every option.
        let mut options = unsafe { std::mem::zeroed::<seqcast_bus_options>() };
        let (made, defaults) = (options.to_segment_options(), SegmentOptions::new());
        assert_eq!(made.get_most_patience(), defaults.get_most_patience());
        assert_eq!((made.get_relay_hosts(), made.get_large()), (defaults.get_relay_hosts(), None));
        (options.most_patience_ns, options.relay_hosts) = (7, 9);
        (options.large_blocks, options.large_size) = (2, 64);
        let made = options.to_segment_options();
        assert_eq!((made.get_most_patience(), made.get_relay_hosts()), (Duration::from_nanos(7), 9));
        assert_eq!(made.get_large(), Some((2, 64)));
        (options.most_patience_ns, options.relay_hosts, options.retained_keys) = (-1, -1, -1);
        let made = options.to_segment_options();
        assert_eq!((made.get_most_patience(), made.get_relay_hosts(), made.get_retained()), (Duration::ZERO, 0, 0));
    }

    #[test]
    fn an_older_struct_leaves_what_it_does_not_have_at_its_default() {
        let old = read_ok(&post_options(16)).unwrap();
        assert_eq!((old.type_tag, old.ttl_ns), (7, 0));
        let without_retain = read_ok(&post_options(40)).unwrap();
        assert_eq!((without_retain.ttl_ns, without_retain.retain), (9, 0));
        let without_cluster = read_ok(&post_options(64)).unwrap();
        assert_eq!((without_cluster.retain, without_cluster.cluster), (1, 0));
        let new = read_ok(&post_options(size_of::<seqcast_post_options>())).unwrap();
        assert_eq!((new.type_tag, new.ttl_ns, new.retain, new.cluster), (7, 9, 1, 1));
        // SAFETY: null.
        assert!(unsafe { read::<seqcast_post_options>(std::ptr::null()) }.unwrap().is_none());
    }

    #[test]
    fn a_newer_struct_is_refused_only_if_it_asks_for_what_is_not_known() {
        let mut newer = Newer { known: post_options(size_of::<Newer>()), more: 0 };
        // SAFETY: the struct has as many bytes as its size says.
        let result =
            |newer: &Newer| call(|| unsafe { read((&raw const *newer).cast::<seqcast_post_options>()) }.map(|_| 0));
        assert_eq!(result(&newer), 0);
        newer.more = 1 << 40;
        assert_eq!(result(&newer), SEQCAST_E_SIZE as i32);
        for size in [0, 7, MOST_SIZE + 1, usize::MAX] {
            newer.known.size = size;
            assert_eq!(result(&newer), SEQCAST_E_SIZE as i32, "{size}");
        }
    }
}
