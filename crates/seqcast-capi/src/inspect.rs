//! Inspects a segment without taking part in it.

pub mod claims;

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::time::Duration;

use seqcast::inspect::{self, Inspector, Seen, SeenEvent, Tail};
use seqcast::{Missed, Origin};

use crate::argument::{copy_text, nanoseconds, place, text};
use crate::delivery::seqcast_missed_reason;
use crate::failure::{Result, call};
use crate::handle::{Kind, Table};
use crate::options::{Options, read, start};
use crate::seat::retained::{list, seqcast_retained_list};
use crate::stats::{keep, seqcast_stats};

/// A read-only view of a segment. It takes no seat and does not affect the workers.
pub struct seqcast_inspector(());

/// A reader of all events that takes no seat, for one thread at a time. It may miss events, because writers never wait
/// for it.
pub struct seqcast_tail(());

static INSPECTORS: Table<Inspector> = Table::new(Kind::Inspector);
static TAILS: Table<Watched> = Table::new(Kind::Tail);

/// Options of a tail. Set all bytes to zero, then set `size` and the options that you need.
#[repr(C)]
pub struct seqcast_tail_options {
    /// `sizeof(seqcast_tail_options)`.
    pub size: usize,
    /// For `SEQCAST_START_AT` and `SEQCAST_START_AFTER`.
    pub start_id: u64,
    /// For `SEQCAST_START_RESUME`.
    pub start_position: *const c_char,
    /// Bytes of `start_position`.
    pub start_position_len: usize,
    /// How long to wait at a reserved id before skipping it, in nanoseconds. 0 means 500 milliseconds.
    pub patience_ns: u64,
    /// A `seqcast_start_at`.
    pub start: i32,
    /// If not 0, payloads are copied and shown.
    pub payloads: i32,
}

// SAFETY: numbers and pointers after the size, and no padding: the 4-byte fields come last and in pairs.
unsafe impl Options for seqcast_tail_options {
    const NAME: &'static str = "seqcast_tail_options";
}

/// The kind of a step of a tail.
#[repr(C)]
pub enum seqcast_seen_kind {
    /// There is nothing new.
    SEQCAST_SEEN_NOTHING = 0,
    /// An event.
    SEQCAST_SEEN_EVENT = 1,
    /// `missed` ids from `id` on were overwritten before they were read.
    SEQCAST_SEEN_GAP = 2,
    /// An id that was reserved and never became an event.
    SEQCAST_SEEN_VOID = 3,
    /// A reserved id without a payload in time. It may still become an event.
    SEQCAST_SEEN_PASSED_OVER = 4,
    /// The last fragment of an event whose beginning was missed.
    SEQCAST_SEEN_HEADLESS = 5,
    /// The content at `id` was not written by seqcast.
    SEQCAST_SEEN_UNREADABLE = 6,
    /// A kind that this interface does not know.
    SEQCAST_SEEN_OTHER = 7,
    /// `missed` events were lost between hosts, as the relay reports at `id`; 0 if the number is not known.
    SEQCAST_SEEN_MISSED = 8,
}

/// A step of a tail. The library fills it. Later versions add fields at its end. It and the memory that it points to
/// are valid until the next call with the tail. No pointer in it is null. Texts have no zero at their end.
#[repr(C)]
pub struct seqcast_seen {
    /// A `seqcast_seen_kind`.
    pub kind: i32,
    /// 1 if the event came in fragments.
    pub fragmented: i32,
    /// 1 if the event has a unique key.
    pub unique: i32,
    /// The process id of the sender, in its own pid namespace.
    pub pid: u32,
    /// The number of the sender's seat.
    pub seat: u32,
    /// 1 if the event was posted with a type tag.
    pub typed: i32,
    /// The id.
    pub id: u64,
    /// How many ids were missed.
    pub missed: u64,
    /// The source of the event. It may be any bytes.
    pub source: *const c_char,
    /// Bytes of `source`.
    pub source_len: usize,
    /// The name of the event. It may be any bytes.
    pub event: *const c_char,
    /// Bytes of `event`.
    pub event_len: usize,
    /// The size of the event's payload in bytes.
    pub len: u64,
    /// The payload, if `payloads` was set.
    pub payload: *const c_void,
    /// Bytes at `payload`. 0 if `payloads` was not set.
    pub payload_len: usize,
    /// 1 if the payload is in a large block.
    pub large: i32,
    /// 0.
    pub reserved: i32,
    /// The key of a retained event. It may be any bytes.
    pub retained_key: *const c_char,
    /// Bytes of `retained_key`. 0 if the event is retained by its topic alone.
    pub retained_key_len: usize,
    /// How long the event is retained or, if it is unique, how long its key is held, in nanoseconds. 0 without an end,
    /// and for other events.
    pub ttl_ns: u64,
    /// 1 if the event is retained, or clears what was retained.
    pub retained: i32,
    /// 1 if the event clears what was retained under its topic and `retained_key`.
    pub clears: i32,
    /// 1 if this is a request to the relay for an event on all hosts. No seat gets it.
    pub request: i32,
    /// For `SEQCAST_SEEN_MISSED`, a `seqcast_missed_reason`.
    pub missed_reason: i32,
    /// 1 if a relay has posted the event: the fields below are set. For `SEQCAST_SEEN_MISSED`, 1 if `origin` is set.
    pub has_origin: i32,
    /// 0.
    pub reserved_2: i32,
    /// The host that posted the event, as `seqcast_bus_origin` returns it there.
    pub origin: u64,
    /// The event's id on that host.
    pub origin_id: u64,
    /// The number of the timeline of the order that all hosts share.
    pub cluster_timeline: u64,
    /// The event's place in this timeline.
    pub cluster_n: u64,
}

use seqcast_seen_kind::*;

impl seqcast_seen {
    const fn of(kind: seqcast_seen_kind, id: u64) -> seqcast_seen {
        seqcast_seen {
            kind: kind as i32,
            fragmented: 0,
            unique: 0,
            pid: 0,
            seat: 0,
            typed: 0,
            id,
            missed: 0,
            source: c"".as_ptr(),
            source_len: 0,
            event: c"".as_ptr(),
            event_len: 0,
            len: 0,
            payload: c"".as_ptr().cast(),
            payload_len: 0,
            large: 0,
            reserved: 0,
            retained_key: c"".as_ptr(),
            retained_key_len: 0,
            ttl_ns: 0,
            retained: 0,
            clears: 0,
            request: 0,
            missed_reason: 0,
            has_origin: 0,
            reserved_2: 0,
            origin: 0,
            origin_id: 0,
            cluster_timeline: 0,
            cluster_n: 0,
        }
    }

    fn of_missed(missed: &Missed) -> seqcast_seen {
        seqcast_seen {
            missed: missed.count.unwrap_or(0),
            missed_reason: seqcast_missed_reason::of(missed) as i32,
            has_origin: i32::from(missed.origin.is_some()),
            origin: missed.origin.map_or(0, Origin::bits),
            ..seqcast_seen::of(SEQCAST_SEEN_MISSED, missed.first_id)
        }
    }

    fn of_event(event: &SeenEvent) -> seqcast_seen {
        let payload = event.payload.as_deref().unwrap_or_default();
        let (retained, relayed) = (event.retained.as_ref(), event.relayed.as_ref());
        let key = retained.map_or(&[][..], |retained| &retained.key);
        let ttl = event.unique.as_ref().map(|unique| unique.ttl).or_else(|| retained?.ttl);
        seqcast_seen {
            fragmented: i32::from(event.fragmented),
            unique: i32::from(event.unique.is_some()),
            pid: event.pid,
            seat: event.seat,
            typed: i32::from(event.typed),
            source: event.source.as_ptr().cast(),
            source_len: event.source.len(),
            event: event.event.as_ptr().cast(),
            event_len: event.event.len(),
            len: event.len,
            payload: payload.as_ptr().cast(),
            payload_len: payload.len(),
            large: i32::from(event.large),
            retained_key: key.as_ptr().cast(),
            retained_key_len: key.len(),
            ttl_ns: ttl.map_or(0, nanoseconds),
            retained: i32::from(retained.is_some()),
            clears: i32::from(retained.is_some_and(|retained| retained.clears)),
            request: i32::from(event.request),
            has_origin: i32::from(relayed.is_some()),
            origin: relayed.map_or(0, |relayed| relayed.origin.bits()),
            origin_id: relayed.map_or(0, |relayed| relayed.id),
            cluster_timeline: relayed.map_or(0, |relayed| relayed.place.timeline),
            cluster_n: relayed.map_or(0, |relayed| relayed.place.n),
            ..seqcast_seen::of(SEQCAST_SEEN_EVENT, event.id)
        }
    }
}

/// A tail and its last step.
struct Watched {
    tail: Tail,
    event: Option<SeenEvent>,
    seen: Box<seqcast_seen>,
}

// SAFETY: the pointers in `seen` point into the heap memory of `event`, which moves with it.
unsafe impl Send for Watched {}

impl Watched {
    fn next(&mut self) -> Result<(c_int, *const seqcast_seen)> {
        let found = self.tail.try_next()?;
        let outcome = c_int::from(found.is_some());
        *self.seen = match found {
            None => seqcast_seen::of(SEQCAST_SEEN_NOTHING, 0),
            Some(Seen::Event(event)) => seqcast_seen::of_event(self.event.insert(event)),
            Some(Seen::Gap { from, missed, .. }) => seqcast_seen { missed, ..seqcast_seen::of(SEQCAST_SEEN_GAP, from) },
            Some(Seen::Missed(missed)) => seqcast_seen::of_missed(&missed),
            Some(Seen::Void { id, .. }) => seqcast_seen::of(SEQCAST_SEEN_VOID, id),
            Some(Seen::PassedOver { id, seat, .. }) => {
                seqcast_seen { seat: seat.unwrap_or(0), ..seqcast_seen::of(SEQCAST_SEEN_PASSED_OVER, id) }
            }
            Some(Seen::Headless { id, .. }) => seqcast_seen::of(SEQCAST_SEEN_HEADLESS, id),
            Some(Seen::Unreadable { id, .. }) => seqcast_seen::of(SEQCAST_SEEN_UNREADABLE, id),
            Some(_) => seqcast_seen::of(SEQCAST_SEEN_OTHER, 0),
        };
        Ok((outcome, &raw const *self.seen))
    }
}

/// Opens the segment `name` for inspection, with any owner and mode. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_inspector_open(
    name: *const c_char,
    name_len: usize,
    out: *mut *mut seqcast_inspector,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (out, name) = unsafe { (place(out, "out")?, text(name, name_len, "name")?) };
        *out = ptr::null_mut();
        *out = INSPECTORS.insert(Inspector::open_any(name)?)?;
        Ok(0)
    })
}

/// Frees an inspector. Its tails stay valid. Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_inspector_free(inspector: *mut seqcast_inspector) -> c_int {
    call(|| INSPECTORS.remove(inspector))
}

/// Stores a snapshot of the segment's figures. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_inspector_stats(
    inspector: *const seqcast_inspector,
    out: *mut *mut seqcast_stats,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { keep(out, || INSPECTORS.share(inspector, |inspector| Ok(inspector.stats()?))) })
}

/// Returns 1 if the name still leads to this segment, 0 if not.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_inspector_is_current(inspector: *const seqcast_inspector) -> c_int {
    call(|| INSPECTORS.share(inspector, |inspector| Ok(c_int::from(inspector.is_current()?))))
}

/// Makes a tail. `options` may be null. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_inspector_tail(
    inspector: *const seqcast_inspector,
    options: *const seqcast_tail_options,
    out: *mut *mut seqcast_tail,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (out, options) = unsafe { (place(out, "out")?, read(options)?) };
        *out = ptr::null_mut();
        // SAFETY: all bytes zero is a valid value.
        let options = options.unwrap_or_else(|| unsafe { std::mem::zeroed::<seqcast_tail_options>() });
        // SAFETY: as the caller promises.
        let position = unsafe { text(options.start_position, options.start_position_len, "start_position") }?;
        let start = start(options.start, options.start_id, position)?;
        let tail = INSPECTORS.share(inspector, |inspector| Ok(inspector.tail(start)?))?;
        let mut tail = tail.payloads(options.payloads != 0);
        if options.patience_ns > 0 {
            tail = tail.patience(Duration::from_nanos(options.patience_ns));
        }
        let seen = Box::new(seqcast_seen::of(SEQCAST_SEEN_NOTHING, 0));
        *out = TAILS.insert(Watched { tail, event: None, seen })?;
        Ok(0)
    })
}

/// Lists the retained events of the segment, as `seqcast_seat_retained` does. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_inspector_retained(
    inspector: *const seqcast_inspector,
    out: *mut *mut seqcast_retained_list,
) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { list(out, || INSPECTORS.share(inspector, |inspector| Ok(inspector.retained()?))) })
}

/// Takes the next step. Never waits. Returns 1 if there is something new. Returns 0 if there is nothing new or the next
/// id is reserved. `*out` is the step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_tail_next(tail: *mut seqcast_tail, out: *mut *const seqcast_seen) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        let (outcome, seen) = TAILS.with(tail, Watched::next)?;
        *out = seen;
        Ok(outcome)
    })
}

/// Frees a tail. Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_tail_free(tail: *mut seqcast_tail) -> c_int {
    call(|| TAILS.remove(tail))
}

/// Copies the names of all segments of this host that this user may read, with their slash, separated by newlines.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_names(buffer: *mut c_char, capacity: usize) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { copy_text(&inspect::names()?.join("\n"), buffer, capacity) })
}
