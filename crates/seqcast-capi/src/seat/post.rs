//! Posting.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use seqcast::{Publisher, Tagged, Topic, Unique};

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, topic};
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
    #[inline]
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

    #[inline]
    fn post(self, publisher: &mut Publisher) -> seqcast::Result<u64> {
        if self.unique.is_none() && self.ttl.is_none() {
            return publisher.post(self.topic, self.payload);
        }
        let mut event = publisher.event(self.topic);
        if let Some(unique) = self.unique {
            event = event.unique(unique);
        }
        if let Some(ttl) = self.ttl {
            event = event.ttl(ttl);
        }
        event.post(self.payload)
    }
}

/// Posts an event to all seats. `options` may be null, and so may `payload` if `payload_len` is 0. If `id` is not null the
/// event's id is stored there. Returns 0; after an error no seat sees the event.
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
        let new = SEATS.with(seat, |seat| Ok(posted.post(seat.publisher()?)?))?;
        // SAFETY: as the caller promises.
        if let Some(id) = unsafe { id.as_mut() } {
            *id = new;
        }
        Ok(0)
    })
}
