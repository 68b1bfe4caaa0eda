//! Looks up retained events, lists and clears them.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};

use seqcast::{EventBuilder, Publisher, Retained};

use super::{SEATS, seqcast_seat};
use crate::argument::{bytes, nanoseconds, place, topic};
use crate::failure::{Result, call};
use crate::handle::{Kind, Table};

/// A retained event: the last one of its topic and key. The library fills it. Later versions add fields at its end. No
/// pointer in it is null. Texts have no zero at their end.
#[repr(C)]
pub struct seqcast_retained {
    /// The event's id.
    pub id: u64,
    /// The sender's tag for the type of the payload. 0 for bytes.
    pub type_tag: u64,
    /// The time that was left of its ttl, in nanoseconds. `UINT64_MAX` if it has no ttl.
    pub left_ns: u64,
    /// The source of the event, in UTF-8.
    pub source: *const c_char,
    /// Bytes of `source`.
    pub source_len: usize,
    /// The name of the event, in UTF-8.
    pub event: *const c_char,
    /// Bytes of `event`.
    pub event_len: usize,
    /// The key that the event is retained under. It may be any bytes.
    pub key: *const c_char,
    /// Bytes of `key`. 0 if the event is retained by its topic alone.
    pub key_len: usize,
    /// The payload.
    pub payload: *const c_void,
    /// Bytes of `payload`.
    pub payload_len: usize,
    /// The process id of the sender, in its own pid namespace.
    pub pid: u32,
    /// The number of the sender's seat.
    pub seat: u32,
}

impl seqcast_retained {
    fn of(event: &Retained) -> seqcast_retained {
        let left = event.left().map(|left| nanoseconds(left).min(u64::MAX - 1));
        seqcast_retained {
            id: event.id(),
            type_tag: event.type_tag(),
            left_ns: left.unwrap_or(u64::MAX),
            source: event.source().as_ptr().cast(),
            source_len: event.source().len(),
            event: event.event().as_ptr().cast(),
            event_len: event.event().len(),
            key: event.key().as_ptr().cast(),
            key_len: event.key().len(),
            payload: event.bytes().as_ptr().cast(),
            payload_len: event.bytes().len(),
            pid: event.pid(),
            seat: event.seat(),
        }
    }
}

/// An event and what the caller sees of it.
struct Pair {
    view: seqcast_retained,
    event: Retained,
}

/// A retained event for the caller, in its own allocation: the caller reads it while the seat or the list is in use.
pub(crate) struct Shown(NonNull<Pair>);

const _: () = {
    const fn may_be_shared<T: Send + Sync>() {}
    may_be_shared::<Retained>();
};

// SAFETY: it owns the pair, and the view points into the event of the same pair.
unsafe impl Send for Shown {}
// SAFETY: after `new`, nothing writes to the pair.
unsafe impl Sync for Shown {}

impl Shown {
    fn new(event: Retained) -> Shown {
        let view = seqcast_retained::of(&event);
        let place = NonNull::from(Box::leak(Box::new(Pair { view, event })));
        // Again: a move may have changed the addresses.
        // SAFETY: the pair was just made, and the view and the event do not overlap.
        unsafe { (*place.as_ptr()).view = seqcast_retained::of(&(*place.as_ptr()).event) };
        Shown(place)
    }

    fn view(&self) -> *const seqcast_retained {
        // SAFETY: the pair lives as long as `self`, and no reference to it is made.
        unsafe { &raw const (*self.0.as_ptr()).view }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // SAFETY: `new` leaked it from a box, and it is freed only here.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A list of retained events. It does not change, and any number of threads may read it at the same time.
pub struct seqcast_retained_list(());

static LISTS: Table<Vec<Shown>> = Table::new(Kind::RetainedList);

/// Stores the handle of a list in `out`.
///
/// # Safety
///
/// `out` is as [`place`] requires.
pub(crate) unsafe fn list(
    out: *mut *mut seqcast_retained_list,
    make: impl FnOnce() -> Result<Vec<Retained>>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let out = unsafe { place(out, "out") }?;
    *out = ptr::null_mut();
    *out = LISTS.insert(make()?.into_iter().map(Shown::new).collect())?;
    Ok(0)
}

/// Looks up the retained event of a topic and a key. `key` may be null if `key_len` is 0, for an event that is retained
/// by its topic alone. Returns 1, and `*out` is the event. Returns 0, and `*out` is null, if no event is retained
/// there: none was posted, it was cleared, or its ttl has ended.
///
/// The event is a private copy. It is valid until the next call of `seqcast_seat_get` or `_free` with the seat. Posts
/// and deliveries do not change it. On a segment that retains no events the call gives `SEQCAST_E_OPTION`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_get(
    seat: *mut seqcast_seat,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    key: *const c_char,
    key_len: usize,
    out: *mut *const seqcast_retained,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (out, topic, key) = unsafe {
            let topic = topic((source, source_len), (event, event_len))?;
            (place(out, "out")?, topic, bytes(key.cast(), key_len, "key")?)
        };
        let found = SEATS.with(seat, |seat| {
            seat.found = seat.publisher()?.get_key(topic, key)?.map(Shown::new);
            Ok(seat.found.as_ref().map(Shown::view))
        })?;
        *out = found.unwrap_or(ptr::null());
        Ok(c_int::from(found.is_some()))
    })
}

/// Clears what is retained under a topic and a key, by `clear`.
///
/// # Safety
///
/// The pointers are as `seqcast_seat_clear` requires.
unsafe fn clear(
    seat: *mut seqcast_seat,
    (source, event): ((*const c_char, usize), (*const c_char, usize)),
    (key, key_len): (*const c_char, usize),
    id: *mut u64,
    clear: impl FnOnce(EventBuilder<'_, &mut Publisher>) -> seqcast::Result<Option<u64>>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let (topic, key, id) = unsafe { (topic(source, event)?, bytes(key.cast(), key_len, "key")?, id.as_mut()) };
    let cleared = SEATS.with(seat, |seat| Ok(clear(seat.publisher()?.event(topic).retain_key(key))?))?;
    if let (Some(id), Some(cleared)) = (id, cleared) {
        *id = cleared;
    }
    Ok(c_int::from(cleared.is_some()))
}

/// Clears the retained event of a topic and a key, by an event that tells all seats so: `SEQCAST_CLEARED`. `key` may be
/// null if `key_len` is 0. Returns 1. If `id` is not null, the id of that event is stored there. Returns 0 if no event
/// is retained there; then nothing is posted. Waits for seats that must read, as `seqcast_seat_post` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_clear(
    seat: *mut seqcast_seat,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    key: *const c_char,
    key_len: usize,
    id: *mut u64,
) -> c_int {
    let topic = ((source, source_len), (event, event_len));
    // SAFETY: as the caller promises.
    call(|| unsafe { clear(seat, topic, (key, key_len), id, |event| event.clear()) })
}

/// As `seqcast_seat_clear`, but never waits for seats that must read: gives `SEQCAST_E_FULL` instead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_try_clear(
    seat: *mut seqcast_seat,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    key: *const c_char,
    key_len: usize,
    id: *mut u64,
) -> c_int {
    let topic = ((source, source_len), (event, event_len));
    // SAFETY: as the caller promises.
    call(|| unsafe { clear(seat, topic, (key, key_len), id, |event| event.try_clear()) })
}

/// Clears the retained event of a topic and a key on all hosts of the cluster, by a request to this host's relay,
/// whatever is retained here. Returns 1. If `id` is not null, the id of the request is stored there. Without a relay
/// it gives `SEQCAST_E_NO_RELAY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_clear_cluster(
    seat: *mut seqcast_seat,
    source: *const c_char,
    source_len: usize,
    event: *const c_char,
    event_len: usize,
    key: *const c_char,
    key_len: usize,
    id: *mut u64,
) -> c_int {
    let topic = ((source, source_len), (event, event_len));
    // SAFETY: as the caller promises.
    call(|| unsafe { clear(seat, topic, (key, key_len), id, |event| event.cluster().clear()) })
}

/// Lists the retained event of every topic and key, in the order of their ids, and stores the handle of the list.
/// Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_retained(seat: *mut seqcast_seat, out: *mut *mut seqcast_retained_list) -> c_int {
    // SAFETY: as the caller promises.
    call(|| unsafe { list(out, || SEATS.with(seat, |seat| Ok(seat.publisher()?.retained()?))) })
}

/// Returns the number of events of a list.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_retained_list_count(list: *const seqcast_retained_list) -> c_int {
    call(|| LISTS.share(list, |list| Ok(c_int::try_from(list.len()).unwrap_or(c_int::MAX))))
}

/// Stores event `index` of a list, counted from 0. It is valid until the list is freed. Returns 1, or 0 if there are no
/// more events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_retained_list_at(
    list: *const seqcast_retained_list,
    index: usize,
    out: *mut *const seqcast_retained,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let out = unsafe { place(out, "out") }?;
        let Some(view) = LISTS.share(list, |list| Ok(list.get(index).map(Shown::view)))? else { return Ok(0) };
        *out = view;
        Ok(1)
    })
}

/// Frees a list. Returns 0, also for null.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_retained_list_free(list: *mut seqcast_retained_list) -> c_int {
    call(|| LISTS.remove(list))
}
