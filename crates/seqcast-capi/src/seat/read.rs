//! Reads events.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use seqcast::{Cause, Error, Scope};

use super::{SEATS, Seat, seqcast_seat};
use crate::argument::{copy_text, null, place, text};
use crate::delivery::seqcast_delivery;
use crate::failure::{Result, call};

/// A topic: a source and the name of an event.
#[repr(C)]
pub struct seqcast_topic {
    /// The source.
    pub source: *const c_char,
    /// Bytes of `source`.
    pub source_len: usize,
    /// The name of the event.
    pub event: *const c_char,
    /// Bytes of `event`.
    pub event_len: usize,
}

/// A text.
#[repr(C)]
pub struct seqcast_text {
    /// Its bytes.
    pub data: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

/// Takes the next delivery. If there is nothing new, waits for at most `timeout_ns` nanoseconds: 0 never waits,
/// `UINT64_MAX` waits without limit. Signals do not end the wait.
///
/// Returns 1 if there is something to handle, 0 if not. `*out` is the delivery; see its `kind`. Also returns 0 at a
/// reserved id, so that `while ((result = seqcast_seat_next(seat, 0, &delivery)) > 0)` ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_next(
    seat: *mut seqcast_seat,
    timeout_ns: u64,
    out: *mut *const seqcast_delivery,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        let (outcome, delivery) = SEATS.with(seat, |seat| {
            seat.deliver(|subscriber| match timeout_ns {
                0 => subscriber.try_next(),
                _ => subscriber.next(Duration::from_nanos(timeout_ns)),
            })
        })?;
        *out = delivery;
        Ok(outcome)
    })
}

/// As `seqcast_seat_next` with the timeout 0, but takes only deliveries with an id less than `end`, and those that
/// bring the seat up to date. If `end` is the next id of the bus before a loop, the loop ends however fast other
/// workers post, and does not deliver what its own handlers post.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_next_before(
    seat: *mut seqcast_seat,
    end: u64,
    out: *mut *const seqcast_delivery,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        let (outcome, delivery) = SEATS.with(seat, |seat| {
            // Not the cursor: a seat that is being brought up to date gets events below it.
            seat.deliver(|subscriber| if subscriber.position().next() < end { subscriber.try_next() } else { Ok(None) })
        })?;
        *out = delivery;
        Ok(outcome)
    })
}

/// Sleeps until `seqcast_seat_next` may return something else than before, for at most `timeout_ns` nanoseconds.
/// Returns 1 if there is something new, 0 if not. Signals do not end the wait.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_wait(seat: *mut seqcast_seat, timeout_ns: u64) -> c_int {
    call(|| {
        let wait = |seat: &mut Seat| Ok(seat.subscriber()?.wait(Duration::from_nanos(timeout_ns))?);
        SEATS.with(seat, wait).map(c_int::from)
    })
}

/// Sets how long the seat waits for a reserved id before it gives the id up for all seats, in nanoseconds. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_set_wait_max(seat: *mut seqcast_seat, wait_max_ns: u64) -> c_int {
    call(|| {
        SEATS.with(seat, |seat| {
            seat.subscriber()?.set_wait_max(Duration::from_nanos(wait_max_ns));
            Ok(0)
        })
    })
}

/// Delivers only events of `topics` from now on. Payloads of other events are not copied, and other unique events are
/// left to other seats. A topic without an event name means all events of its source, and a topic that is all zero
/// means every event. If `count` is 0, no event is delivered. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_only(
    seat: *mut seqcast_seat,
    topics: *const seqcast_topic,
    count: usize,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let topics = unsafe { array(topics, count, "topics") }?;
        let scope = |topic: &seqcast_topic| {
            let (source, event) = ((topic.source, topic.source_len), (topic.event, topic.event_len));
            // SAFETY: as the caller promises.
            let topic = unsafe { crate::argument::topic(source, event) }?;
            Ok(match (topic.source(), topic.event()) {
                ("", "") => Scope::All,
                (source, "") => Scope::source(source),
                _ => Scope::from(topic),
            })
        };
        let scopes: Vec<Scope> = topics.iter().map(scope).collect::<Result<_>>()?;
        SEATS.with(seat, |seat| {
            seat.subscriber()?.only_scopes(scopes)?;
            Ok(0)
        })
    })
}

/// Delivers only events of `sources` from now on, as `seqcast_seat_only` does for topics. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_only_sources(
    seat: *mut seqcast_seat,
    sources: *const seqcast_text,
    count: usize,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let sources = unsafe { array(sources, count, "sources") }?;
        // SAFETY: as the caller promises.
        let source = |source: &seqcast_text| unsafe { text(source.data, source.len, "source") };
        let sources: Vec<&str> = sources.iter().map(source).collect::<Result<_>>()?;
        SEATS.with(seat, |seat| {
            seat.subscriber()?.only_sources(sources)?;
            Ok(0)
        })
    })
}

/// Returns the elements of an argument.
///
/// # Safety
///
/// `pointer` is null or points to `count` elements that do not change.
unsafe fn array<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    if count.checked_mul(size_of::<T>()).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        let (value, rule) = (count.to_string(), "it exceeds any memory".to_owned());
        return Err(Error::from(Cause::Option { option: "count", value, rule }).into());
    }
    // SAFETY: not null, not too long, and as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// Stores the next id to be delivered. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_cursor(seat: *mut seqcast_seat, id: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let id = unsafe { place(id, "id") }?;
        *id = SEATS.with(seat, |seat| Ok(seat.subscriber()?.cursor()))?;
        Ok(0)
    })
}

/// Copies the seat's position, to continue there later with `SEQCAST_START_RESUME`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_position(seat: *mut seqcast_seat, buffer: *mut c_char, capacity: usize) -> c_int {
    call(|| {
        let position = SEATS.with(seat, |seat| Ok(seat.subscriber()?.position().to_string()))?;
        // SAFETY: as the caller promises.
        unsafe { copy_text(&position, buffer, capacity) }
    })
}
