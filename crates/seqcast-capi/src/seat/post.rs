//! Posts events, at the next id or at a reserved id.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use seqcast::{Cause, Error, Publisher, Reservation, Tagged, Topic, Unique};

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, place, topic};
use crate::failure::{Failure, Result, call};
use crate::options::{read, seqcast_post_options};

/// An event with the caller's arguments.
struct Posted<'a> {
    topic: Topic<'a>,
    payload: Tagged<'a>,
    unique: Option<Unique<'a>>,
    /// The key of a retained event, empty if it has none.
    retain: Option<&'a [u8]>,
    ttl: Option<Duration>,
    cluster: bool,
}

impl<'a> Posted<'a> {
    /// # Safety
    ///
    /// The options are as [`read`] requires, and the key as [`bytes`] requires.
    // Always inlined, as the functions for arguments.
    #[inline(always)]
    unsafe fn new(topic: Topic<'a>, payload: &'a [u8], options: *const seqcast_post_options) -> Result<Posted<'a>> {
        let payload = Tagged { type_tag: 0, bytes: payload };
        let plain = Posted { topic, payload, unique: None, retain: None, ttl: None, cluster: false };
        // SAFETY: as the caller promises.
        let Some(options) = unsafe { read(options) }? else { return Ok(plain) };
        // SAFETY: as the caller promises.
        let (key, retain_key) = unsafe {
            (
                bytes(options.key.cast(), options.key_len, "key")?,
                bytes(options.retain_key.cast(), options.retain_key_len, "retain_key")?,
            )
        };
        if options.retain == 0 && !retain_key.is_empty() {
            return Err(retain_key_alone(retain_key.len()));
        }
        Ok(Posted {
            payload: Tagged { type_tag: options.type_tag, ..plain.payload },
            unique: (!options.key.is_null()).then(|| Unique::key(key)),
            retain: (options.retain != 0).then_some(retain_key),
            ttl: (options.ttl_ns > 0).then(|| Duration::from_nanos(options.ttl_ns)),
            cluster: options.cluster != 0,
            ..plain
        })
    }
}

#[cold]
fn retain_key_alone(len: usize) -> Failure {
    let (value, rule) = (format!("{len} bytes"), "only a retained event has this key: set retain".to_owned());
    Error::from(Cause::Option { option: "retain_key", value, rule }).into()
}

/// Sends `$posted` by the method `$post` of the builder that `$sender.event` returns. A macro, because the builders
/// have different types.
macro_rules! send {
    ($posted:expr, $sender:expr, $post:ident) => {{
        let Posted { topic, payload, unique, retain, ttl, cluster } = $posted;
        let mut event = $sender.event(topic);
        if let Some(unique) = unique {
            event = event.unique(unique);
        }
        if let Some(key) = retain {
            event = event.retain_key(key);
        }
        if let Some(ttl) = ttl {
            event = event.ttl(ttl);
        }
        if cluster {
            event = event.cluster();
        }
        event.$post(payload)
    }};
}

/// Posts an event at the next id, by `send`.
///
/// # Safety
///
/// The pointers are as `seqcast_seat_post` requires.
#[inline(always)]
unsafe fn post(
    seat: *mut seqcast_seat,
    (source, event): ((*const c_char, usize), (*const c_char, usize)),
    (payload, payload_len): (*const c_void, usize),
    options: *const seqcast_post_options,
    id: *mut u64,
    send: impl FnOnce(Posted<'_>, &mut Publisher) -> seqcast::Result<u64>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let posted = unsafe { Posted::new(topic(source, event)?, bytes(payload, payload_len, "payload")?, options)? };
    let new = SEATS.with(seat, |seat| Ok(send(posted, seat.publisher()?)?))?;
    // SAFETY: as the caller promises.
    if let Some(id) = unsafe { id.as_mut() } {
        *id = new;
    }
    Ok(0)
}

/// Posts an event to all seats. `options` may be null. `payload` may be null if `payload_len` is 0. If `id` is not
/// null, the event's id is stored there. Returns 0. After an error, no seat sees the event.
///
/// For a retained event, `SEQCAST_E_RETAINED_FULL` means that its key has no place, and `SEQCAST_E_OPTION` that the
/// segment retains no events.
///
/// If there are seats that must read, the call waits until there is room, for at most the patience of the slowest.
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
        let (topic, payload) = (((source, source_len), (event, event_len)), (payload, payload_len));
        // SAFETY: as the caller promises.
        unsafe { post(seat, topic, payload, options, id, |posted, publisher| send!(posted, publisher, post)) }
    })
}

/// As `seqcast_seat_post`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead. For event loops.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_try_post(
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
        let (topic, payload) = (((source, source_len), (event, event_len)), (payload, payload_len));
        // SAFETY: as the caller promises.
        unsafe { post(seat, topic, payload, options, id, |posted, publisher| send!(posted, publisher, try_post)) }
    })
}

/// Takes an id by `reserve`, and stores it.
///
/// # Safety
///
/// `id` is as [`place`] requires.
unsafe fn take_id(
    seat: *mut seqcast_seat,
    id: *mut u64,
    reserve: impl FnOnce(&mut Publisher) -> seqcast::Result<Reservation<&mut Publisher>>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let id = unsafe { place(id, "id") }?;
    *id = SEATS.with(seat, |seat| Ok(reserve(seat.publisher()?)?.keep()))?;
    Ok(0)
}

/// Takes the next event id and stores it, for an event whose payload is not known yet. Readers that reach the id wait
/// for at most their `wait_max_ns`, and deliver later events after it. A seat holds one reservation: a second call
/// gives the first id up, and so does leaving. Waits for seats that must read, as `seqcast_seat_post` does. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_reserve(seat: *mut seqcast_seat, id: *mut u64) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { take_id(seat, id, Publisher::reserve) })
}

/// As `seqcast_seat_reserve`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_try_reserve(seat: *mut seqcast_seat, id: *mut u64) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { take_id(seat, id, Publisher::try_reserve) })
}

/// Makes the event visible at the reserved id. It must fit into one block or one large block. Returns 0.
/// `SEQCAST_E_TOO_LATE` means that the id was given up, and no seat sees the event. After another error the id stays
/// reserved, and the call can be repeated.
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
                    let committed = send!(posted, reservation, post);
                    // After a commit, or if it is too late, this has no effect.
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

/// Gives up a reserved id. Returns 1, or 0 if the id was no longer reserved.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_abandon(seat: *mut seqcast_seat, id: u64) -> c_int {
    call(|| SEATS.with(seat, |seat| Ok(c_int::from(reservation(seat.publisher()?, id)?.is_some()))))
}

/// Returns the seat's reservation if it is for `id`. Dropping it gives the id up.
fn reservation(publisher: &mut Publisher, id: u64) -> Result<Option<Reservation<&mut Publisher>>> {
    let Some(reservation) = publisher.reserved()? else { return Ok(None) };
    if reservation.id() == id {
        return Ok(Some(reservation));
    }
    reservation.keep();
    Ok(None)
}
