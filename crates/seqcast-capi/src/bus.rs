//! A process's handle on a segment.

use std::ffi::{c_char, c_int};
use std::ptr;

use seqcast::{Bus, SegmentOptions};

use crate::argument::{copy_text, place, text};
use crate::failure::{Result, call};
use crate::handle::{Kind, Table};
use crate::options::{read, seqcast_bus_options};

/// A process's handle on a segment. Any number of threads may use it at the same time, and so may a forked child.
pub struct seqcast_bus(());

pub(crate) static BUSES: Table<Bus> = Table::new(Kind::Bus);

/// Makes a bus with the options, and stores its handle.
///
/// # Safety
///
/// The pointers are as the functions of the header ask.
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

/// As [`make`], of a segment with a name.
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

/// Creates the segment `name` and opens it. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`; a leading slash
/// is added. `options` may be null. Returns 0.
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

/// Opens the segment `name`, or creates it if there is none. All callers at the same time get the same segment.
/// Returns 0; `seqcast_bus_was_created` tells which it was.
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

/// Creates a segment without a name, for this process and the processes that it forks. It is gone when the last of them
/// ends. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_anonymous(
    options: *const seqcast_bus_options,
    out: *mut *mut seqcast_bus,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { make(options, out, SegmentOptions::anonymous) })
}

/// Frees the handle. The segment stays, unless `unlink_on_free` was set; seats that were taken on the bus stay, too.
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

/// Copies the identity of the bus: 32 hexadecimal digits, others for each segment that is ever created.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_id(bus: *const seqcast_bus, buffer: *mut c_char, capacity: usize) -> c_int {
    // SAFETY: as the caller promises.
    call(|| BUSES.share(bus, |bus| unsafe { copy_text(&bus.id().to_string(), buffer, capacity) }))
}

/// Copies what `seqcast_bus_open_or_create` was asked for and the existing segment does not have, such as
/// `capacity is 1024, not 4096`, with commas between. Returns 0 if there is nothing.
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

/// Returns 1 if the call that made this handle created the segment, 0 if it opened an existing one.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_was_created(bus: *const seqcast_bus) -> c_int {
    call(|| BUSES.share(bus, |bus| Ok(c_int::from(bus.was_created()))))
}

/// Returns 1 if the name still leads to this segment, 0 if it was unlinked, and perhaps created again, since.
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

/// Stores the events that the ring holds. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_capacity(bus: *const seqcast_bus, events: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let events = unsafe { place(events, "events") }?;
        *events = BUSES.share(bus, |bus| Ok(bus.capacity()))?;
        Ok(0)
    })
}

/// Stores the bytes of the largest event, with its names and up to 63 bytes more. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_largest_event(bus: *const seqcast_bus, bytes: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let bytes = unsafe { place(bytes, "bytes") }?;
        *bytes = BUSES.share(bus, |bus| Ok(bus.largest_event() as u64))?;
        Ok(0)
    })
}

/// Removes the segment's name. Processes that have it open go on; no other can open it any more. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_bus_unlink(bus: *const seqcast_bus) -> c_int {
    call(|| {
        BUSES.share(bus, |bus| {
            bus.unlink()?;
            Ok(0)
        })
    })
}

/// Removes the name `name`, if it leads to a segment of seqcast's. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_unlink(name: *const c_char, name_len: usize) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        seqcast::unlink(unsafe { text(name, name_len, "name") }?)?;
        Ok(0)
    })
}

/// Removes the segment `name` if it is proven that no process has it open for writing: to clean up after processes that
/// died. Returns 1 if it was removed, 0 if it is in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_unlink_unheld(name: *const c_char, name_len: usize) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let removed = seqcast::inspect::unlink_unheld(unsafe { text(name, name_len, "name") }?)?;
        Ok(c_int::from(removed))
    })
}
