//! Posting, at once or at an id that was reserved before.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use seqcast::{Cause, Error, Publisher, Reservation, Tagged, Topic, Unique};

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, place, topic};
use crate::failure::{Result, call};
use crate::options::{read, seqcast_post_options};

/// An event as the caller passed it.
struct Posted<'a> {
    topic: Topic<'a>,
    payload: Tagged<'a>,
    unique: Option<Unique<'a>>,
    ttl: Option<Duration>,
}

impl<'a> Posted<'a> {
    /// # Safety
    ///
    /// The options are as [`read`] asks, and the key as [`bytes`].
    // Always: as for the arguments.
    #[inline(always)]
    unsafe fn new(topic: Topic<'a>, payload: &'a [u8], options: *const seqcast_post_options) -> Result<Posted<'a>> {
        let plain = Posted { topic, payload: Tagged { type_tag: 0, bytes: payload }, unique: None, ttl: None };
        // SAFETY: as the caller promises.
        let Some(options) = unsafe { read(options) }? else { return Ok(plain) };
        // SAFETY: as the caller promises.
        let key = unsafe { bytes(options.key.cast(), options.key_len, "key") }?;
        Ok(Posted {
            payload: Tagged { type_tag: options.type_tag, bytes: payload },
            unique: (!options.key.is_null()).then(|| Unique::key(key)),
            ttl: (options.ttl_ns > 0).then(|| Duration::from_nanos(options.ttl_ns)),
            ..plain
        })
    }
}

/// Sends `posted` by what `event` makes of its topic: two types that have no common name.
macro_rules! send {
    ($posted:expr, $sender:expr) => {{
        let Posted { topic, payload, unique, ttl } = $posted;
        let mut event = $sender.event(topic);
        if let Some(unique) = unique {
            event = event.unique(unique);
        }
        if let Some(ttl) = ttl {
            event = event.ttl(ttl);
        }
        event.post(payload)
    }};
}

/// Posts an event to all seats. `options` may be null, and so may `payload` if `payload_len` is 0. If `id` is not null
/// the event's id is stored there. Returns 0; after an error no seat sees the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_post(
    seat: *mut seqcast_seat,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    payload: *const c_void,
    payload_len: usize,
    options: *const seqcast_post_options,
    id: *mut u64,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let posted = unsafe {
            let topic = topic((source, source_len), (event, event_len))?;
            Posted::new(topic, bytes(payload, payload_len, "payload")?, options)?
        };
        let new = SEATS.with(seat, |seat| Ok(send!(posted, seat.publisher()?)?))?;
        // SAFETY: as the caller promises.
        if let Some(id) = unsafe { id.as_mut() } {
            *id = new;
        }
        Ok(0)
    })
}

/// Takes the next event id now and stores it, for an event whose payload comes later. Readers that reach it wait, for
/// their `wait_max_ns` at most; what is posted after it is delivered after it. A seat holds one reservation: one that
/// it has not committed is given up first, as when it leaves. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_reserve(seat: *mut seqcast_seat, id: *mut u64) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let id = unsafe { place(id, "id") }?;
        *id = SEATS.with(seat, |seat| Ok(seat.publisher()?.reserve()?.keep()))?;
        Ok(0)
    })
}

/// Makes the event visible at the reserved id. It must fit one block. Returns 0. `SEQCAST_E_TOO_LATE` says that the id
/// was given up before, and no seat sees the event; after another error the reservation stands and can be committed
/// again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_commit(
    seat: *mut seqcast_seat,
    id: u64,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    payload: *const c_void,
    payload_len: usize,
    options: *const seqcast_post_options,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let posted = unsafe {
            let topic = topic((source, source_len), (event, event_len))?;
            Posted::new(topic, bytes(payload, payload_len, "payload")?, options)?
        };
        SEATS.with(seat, |seat| {
            let committed = match reservation(seat.publisher()?, id)? {
                Some(mut reservation) => {
                    let committed = send!(posted, reservation);
                    // If it is committed or too late there is nothing left to keep.
                    reservation.keep();
                    committed
                }
                None => Err(Error::from(Cause::TooLate { id })),
            };
            committed?;
            Ok(0)
        })
    })
}

/// Gives a reserved id up. Returns 1, or 0 if it was not reserved any more.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_abandon(seat: *mut seqcast_seat, id: u64) -> c_int {
    call(|| SEATS.with(seat, |seat| Ok(c_int::from(reservation(seat.publisher()?, id)?.is_some()))))
}

/// Returns what the seat has reserved, if it is `id`. Dropped, it is given up.
fn reservation(publisher: &mut Publisher, id: u64) -> Result<Option<Reservation<&mut Publisher>>> {
    let Some(reservation) = publisher.reserved()? else { return Ok(None) };
    if reservation.id() == id {
        return Ok(Some(reservation));
    }
    reservation.keep();
    Ok(None)
}
