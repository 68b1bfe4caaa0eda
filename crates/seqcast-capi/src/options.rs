//! Options structs: each begins with its size, and zero is the default of every field.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use seqcast::{Cause, Error, SegmentOptions, Start, WorkerOptions};

use crate::argument::text;
use crate::failure::seqcast_error::SEQCAST_E_SIZE;
use crate::failure::{Failure, Result};

/// No options struct is or will be so large: a size above it was never set.
const MOST_SIZE: usize = 4096;

/// How a segment is made, and what an existing one must be like. Set everything to zero, then `size`, then what
/// matters.
///
/// Sizes count when a segment is created. An existing one keeps its own: see `strict` and `seqcast_bus_differences`.
#[repr(C)]
pub struct seqcast_bus_options {
    /// `sizeof(seqcast_bus_options)`.
    pub size: usize,
    /// Events that the ring holds: a power of two from 8 to 524,288. 0: 8192.
    pub capacity: u64,
    /// Bytes of a block, which is the largest event in one piece: 64 to 1,048,576. 0: 288.
    pub block_size: u64,
    /// Unique keys that can be held at once: up to 1,048,576. 0: 8192.
    pub claims: u64,
    /// Seats: up to 65,536; at least twice what is expected, since a reload has old and new workers. 0: 64.
    pub seats: u64,
    /// How long to wait for another process that is creating the segment, in nanoseconds. 0: 5 seconds.
    pub creation_timeout_ns: u64,
    /// Permission bits of a new segment, and the widest that an existing one may have. 0: 0600.
    pub mode: u32,
    /// Not 0: a new segment is given to `owner_uid` and `owner_gid`, and an existing one may belong to that user too.
    pub set_owner: i32,
    /// The user id for `set_owner`.
    pub owner_uid: u32,
    /// The group id for `set_owner`.
    pub owner_gid: u32,
    /// Not 0: opening an existing segment with other options than those set here is `SEQCAST_E_OPTIONS_DIFFER`.
    pub strict: i32,
    /// Not 0: the name is unlinked when the bus that created the segment is freed, in the process that created it.
    pub unlink_on_free: i32,
    /// Not 0: the segment is a part of this process's core dumps.
    pub dump: i32,
    /// 0.
    pub reserved: i32,
}

/// Where a seat or a tail begins to read.
#[repr(C)]
pub enum seqcast_start_at {
    /// At what is posted next.
    SEQCAST_START_NOW = 0,
    /// At the oldest event that the ring still holds.
    SEQCAST_START_OLDEST = 1,
    /// At the event id `start_id`.
    SEQCAST_START_AT = 2,
    /// After the event id `start_id`: to go on where a reader was, on the same bus.
    SEQCAST_START_AFTER = 3,
    /// Where a reader was, as `seqcast_seat_position` said it: `start_position`.
    SEQCAST_START_RESUME = 4,
}

/// How a seat behaves. Set everything to zero, then `size`, then what matters.
#[repr(C)]
pub struct seqcast_seat_options {
    /// `sizeof(seqcast_seat_options)`.
    pub size: usize,
    /// A name for tools that look at the segment; what is beyond 48 bytes is cut off. Null: none.
    pub label: *const c_char,
    /// Bytes of `label`.
    pub label_len: usize,
    /// For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
    pub start_id: u64,
    /// For `SEQCAST_START_RESUME`.
    pub start_position: *const c_char,
    /// Bytes of `start_position`.
    pub start_position_len: usize,
    /// How long to sleep between two looks at a reserved id, in nanoseconds. 0: 10 milliseconds.
    pub wait_interval_ns: u64,
    /// How long to wait for a reserved id before it is given up for all, in nanoseconds. 0: 500 milliseconds.
    pub wait_max_ns: u64,
    /// How long a unique key is held if the post does not say, in nanoseconds. 0: 2 seconds.
    pub timeout_ns: u64,
    /// A `seqcast_start_at`.
    pub start: i32,
    /// Not 0: the events `seqcast/started` and `seqcast/stopping` are not posted.
    pub silent: i32,
}

/// What more is said of an event than its names and payload. Set everything to zero, then `size`, then what matters.
#[repr(C)]
pub struct seqcast_post_options {
    /// `sizeof(seqcast_post_options)`.
    pub size: usize,
    /// The type of the payload, for readers that know the tag. 0: bytes.
    pub type_tag: u64,
    /// Not null: the event is unique. At most one worker runs it, and none runs a later one with this key until the
    /// ttl is over. It has at least 1 byte.
    pub key: *const c_char,
    /// Bytes of `key`.
    pub key_len: usize,
    /// How long the key is held, in nanoseconds, from when the first worker reaches the event. 0: the seat's timeout.
    pub ttl_ns: u64,
}

/// A struct of plain fields that begins with its size.
///
/// # Safety
///
/// It is `repr(C)`, its first field is `size: usize`, and all bytes of its other fields may have any value. There is no
/// padding, which a caller would not set to 0, and a later version might take for a field.
pub(crate) unsafe trait Options: Sized {
    const NAME: &'static str;
}

// SAFETY: each is as the trait says: numbers and pointers behind a size, the small ones last and in pairs.
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

/// Reads an options struct of this version or another: what an older caller does not have is zero, and what a newer one
/// has more must be zero. Null is `None`.
///
/// # Safety
///
/// `pointer` is null, or leads to a `size`, and if that is plausible to a struct of so many bytes.
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
    // SAFETY: the caller's struct has `size` bytes, and ours as many as are copied.
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
            "{name} has {size} bytes and byte {at} is set, this library ({}) knows {own} of them: leave newer options \
             at 0, or use the library that belongs to the header",
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

/// A value that is not 0.
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
        options = set(options, duration(self.creation_timeout_ns), SegmentOptions::creation_timeout);
        set(options, given(self.set_owner), |options, _| options.owner(self.owner_uid, self.owner_gid))
    }
}

impl seqcast_seat_options {
    /// # Safety
    ///
    /// The texts are as [`text`] asks.
    pub(crate) unsafe fn to_worker_options(&self) -> Result<WorkerOptions> {
        // SAFETY: as the caller promises.
        let label = unsafe { text(self.label, self.label_len, "label") }?;
        // SAFETY: as the caller promises.
        let position = unsafe { text(self.start_position, self.start_position_len, "start_position") }?;
        let start = start(self.start, self.start_id, position)?;
        let mut options = WorkerOptions::new().label(label).start(start).announce(self.silent == 0);
        options = set(options, duration(self.wait_interval_ns), WorkerOptions::wait_interval);
        options = set(options, duration(self.wait_max_ns), WorkerOptions::wait_max);
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
        other => {
            let (value, rule) = (other.to_string(), "it must be a seqcast_start_at, 0 to 4".to_owned());
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
        seqcast_post_options { size, type_tag: 7, key: std::ptr::null(), key_len: 0, ttl_ns: 9 }
    }

    fn read_ok<T: Options>(options: &T) -> Option<T> {
        // SAFETY: a whole struct.
        unsafe { read(options) }.unwrap()
    }

    #[test]
    fn an_older_struct_leaves_what_it_does_not_have_at_its_default() {
        let old = read_ok(&post_options(16)).unwrap();
        assert_eq!((old.type_tag, old.ttl_ns), (7, 0));
        let new = read_ok(&post_options(size_of::<seqcast_post_options>())).unwrap();
        assert_eq!((new.type_tag, new.ttl_ns), (7, 9));
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
