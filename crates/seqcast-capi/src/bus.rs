//! A process's handle on a segment.

use std::ffi::{c_char, c_int};
use std::ptr;

use seqcast::{Bus, SegmentOptions};

use crate::argument::{copy_text, place, text};
use crate::failure::{Result, call};
use crate::handle::{Kind, Table};
use crate::options::{read, seqcast_bus_options};

/// A process's handle on a segment. Any number of threads may use it at the same time. A forked child may use it, too.
pub struct seqcast_bus(());

pub(crate) static BUSES: Table<Bus> = Table::new(Kind::Bus);

/// Makes a bus with the options, and stores its handle in `out`.
///
/// # Safety
///
/// The pointers are as the header requires.
unsafe fn make(
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
    make: impl FnOnce(&SegmentOptions) -> seqcast::Result<Bus>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let (out, options) = unsafe { (place(out, "out")?, read(options)?) };
    *out = ptr::null_mut();
    let options = options.map_or_else(SegmentOptions::new, |options| options.to_segment_options());
    *out = BUSES.insert(make(&options)?)?;
    Ok(0)
}

/// As [`make`], for a segment with a name.
///
/// # Safety
///
/// As [`make`].
unsafe fn make_named(
    (name, name_len): (*const c_char, usize),
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
    open: impl FnOnce(&SegmentOptions, &str) -> seqcast::Result<Bus>,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe {
        let name = text(name, name_len, "name")?;
        make(options, out, |options| open(options, name))
    })
}

/// Creates the segment `name` and opens it. A name consists of 1 to 200 of the characters `A-Z a-z 0-9 . _ -`, with or
/// without a leading slash. `options` may be null. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_create(
    name: *const c_char,
    name_len: usize,
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { make_named((name, name_len), options, out, SegmentOptions::create) }
}

/// Opens the segment `name`. Only the options `mode`, `set_owner`, `creation_timeout_ns` and `dump` are used.
/// Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_open(
    name: *const c_char,
    name_len: usize,
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { make_named((name, name_len), options, out, SegmentOptions::open) }
}

/// Opens the segment `name`, or creates it if there is none. Concurrent callers all get the same segment. Returns 0.
/// `seqcast_bus_was_created` tells if this call created it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_open_or_create(
    name: *const c_char,
    name_len: usize,
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { make_named((name, name_len), options, out, SegmentOptions::open_or_create) }
}

/// Creates a segment without a name, for this process and the processes that it forks. It ends with the last of them.
/// Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_anonymous(
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { make(options, out, SegmentOptions::anonymous) })
}

/// Frees the handle. The segment stays, unless `unlink_on_free` was set. Seats that were taken on the bus stay valid.
/// Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_free(bus: *mut seqcast_bus) -> c_int {
    call(|| BUSES.remove(bus))
}

/// Copies the segment's name, with its slash.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_name(bus: *const seqcast_bus, buffer: *mut c_char, capacity: usize) -> c_int {
    // SAFETY: as the caller promises.
    call(|| BUSES.share(bus, |bus| unsafe { copy_text(bus.name(), buffer, capacity) }))
}

/// Copies the identity of the bus: 32 hexadecimal digits, which are different for each segment ever created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_id(bus: *const seqcast_bus, buffer: *mut c_char, capacity: usize) -> c_int {
    // SAFETY: as the caller promises.
    call(|| BUSES.share(bus, |bus| unsafe { copy_text(&bus.id().to_string(), buffer, capacity) }))
}

/// Stores the segment's name among the hosts of a cluster, as deliveries and lost events report it. Its text form is 16
/// hexadecimal digits, which are the first of those that `seqcast_bus_id` copies. A segment that was created again has
/// another origin. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_origin(bus: *const seqcast_bus, origin: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let origin = unsafe { place(origin, "origin") }?;
        *origin = BUSES.share(bus, |bus| Ok(bus.origin().bits()))?;
        Ok(0)
    })
}

/// Copies the options in which the existing segment differs from those given to `seqcast_bus_open_or_create`, such as
/// `capacity is 1024, not 4096`, separated by commas. Returns 0 if there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_differences(
    bus: *const seqcast_bus,
    buffer: *mut c_char,
    capacity: usize,
) -> c_int {
    let copy = |bus: &Bus| {
        let differences: Vec<String> = bus.differences().iter().map(ToString::to_string).collect();
        // SAFETY: as the caller promises.
        unsafe { copy_text(&differences.join(", "), buffer, capacity) }
    };
    call(|| BUSES.share(bus, copy))
}

/// Returns 1 if the call that returned this handle created the segment, 0 if it opened an existing one.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_was_created(bus: *const seqcast_bus) -> c_int {
    call(|| BUSES.share(bus, |bus| Ok(c_int::from(bus.was_created()))))
}

/// Returns 1 if the name still leads to this segment, 0 if the segment was unlinked, even if one with this name was
/// created again.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_is_current(bus: *const seqcast_bus) -> c_int {
    call(|| BUSES.share(bus, |bus| Ok(c_int::from(bus.is_current()?))))
}

/// Stores the next id to be posted. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_next_id(bus: *const seqcast_bus, id: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let id = unsafe { place(id, "id") }?;
        *id = BUSES.share(bus, |bus| Ok(bus.next_id()))?;
        Ok(0)
    })
}

/// Stores how many events the ring holds. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_capacity(bus: *const seqcast_bus, events: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let events = unsafe { place(events, "events") }?;
        *events = BUSES.share(bus, |bus| Ok(bus.capacity()))?;
        Ok(0)
    })
}

/// Stores the size of the largest event in bytes, which includes its names and up to 63 bytes
/// more. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_largest_event(bus: *const seqcast_bus, bytes: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let bytes = unsafe { place(bytes, "bytes") }?;
        *bytes = BUSES.share(bus, |bus| Ok(bus.largest_event() as u64))?;
        Ok(0)
    })
}

/// Removes the segment's name. Processes that have it open continue to use it. Other processes can no longer open it.
/// Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_unlink(bus: *const seqcast_bus) -> c_int {
    call(|| {
        BUSES.share(bus, |bus| {
            bus.unlink()?;
            Ok(0)
        })
    })
}

/// Frees the handle, and removes the segment's name if no handle on it is left in any process. Independent processes
/// that each call this at their end leave no segment behind. Returns 1 if this call removed the name. Returns 0 if the
/// name stays, because the segment is in use or the name leads to another one.
///
/// Bus handles and seats count as handles, also those that a forked child has inherited: free them first. Inspectors
/// and tails do not count, nor do the handles of a killed process. Only the segment's owner and root can remove a name
/// this way. Another user gets an error. Every error frees the handle, except for `SEQCAST_E_IN_USE`.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_unlink_if_last(bus: *mut seqcast_bus) -> c_int {
    call(|| {
        // Without a value, the handle was inherited by fork, and the parent has the segment open.
        let Some(bus) = BUSES.take(bus)? else { return Ok(0) };
        Ok(c_int::from(bus.unlink_if_last()?))
    })
}

/// Removes the name `name` if it leads to a segment of seqcast. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_unlink(name: *const c_char, name_len: usize) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        seqcast::unlink(unsafe { text(name, name_len, "name") }?)?;
        Ok(0)
    })
}

/// Removes the segment `name` if no process has it open for writing. Use it to clean up after processes that died.
/// Returns 1 if it was removed, 0 if it is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_unlink_unheld(name: *const c_char, name_len: usize) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let removed = seqcast::inspect::unlink_unheld(unsafe { text(name, name_len, "name") }?)?;
        Ok(c_int::from(removed))
    })
}
