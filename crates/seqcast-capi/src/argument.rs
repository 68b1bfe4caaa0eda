//! What callers pass: texts, bytes, places for results.

use std::ffi::{c_char, c_int, c_void};
use std::slice;

use seqcast::Topic;

use crate::failure::seqcast_error::{SEQCAST_E_NULL, SEQCAST_E_OPTION, SEQCAST_E_TEXT};
use crate::failure::{Failure, Result};

#[cold]
pub(crate) fn null(what: &str) -> Failure {
    Failure::new(SEQCAST_E_NULL, format!("{what} is null"))
}

#[cold]
fn too_long(len: usize, what: &str) -> Failure {
    Failure::new(SEQCAST_E_OPTION, format!("{what} is {len} bytes long: no memory is so large"))
}

#[cold]
fn no_text(at: usize, len: usize, what: &str) -> Failure {
    Failure::new(SEQCAST_E_TEXT, format!("{what} is not UTF-8 at byte {at} of {len}: names are UTF-8 texts"))
}

/// Returns the bytes of an argument. Null is no bytes if the length is 0.
///
/// # Safety
///
/// `pointer` is null or leads to `len` bytes that stay as they are.
// Always: a result that is handed on costs as much as the check.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(pointer: *const c_void, len: usize, what: &str) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    if isize::try_from(len).is_err() {
        return Err(too_long(len, what));
    }
    // SAFETY: not null, not too long, and as the caller promises.
    Ok(unsafe { slice::from_raw_parts(pointer.cast(), len) })
}

/// Returns the text of an argument.
///
/// # Safety
///
/// As [`bytes`].
// Always: a result that is handed on costs as much as the check.
#[inline(always)]
pub(crate) unsafe fn text<'a>(pointer: *const c_char, len: usize, what: &str) -> Result<&'a str> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes(pointer.cast(), len, what) }?;
    str::from_utf8(bytes).map_err(|error| no_text(error.valid_up_to(), len, what))
}

/// Returns the topic of two arguments.
///
/// # Safety
///
/// As [`bytes`], for both.
// Always: a result that is handed on costs as much as the check.
#[inline(always)]
pub(crate) unsafe fn topic<'a>(
    (source, source_len): (*const c_char, usize),
    (event, event_len): (*const c_char, usize),
) -> Result<Topic<'a>> {
    // SAFETY: as the caller promises.
    let (source, event) = unsafe { (text(source, source_len, "source")?, text(event, event_len, "event")?) };
    Ok(Topic::from((source, event)))
}

/// Returns the place for a result, which must be there.
///
/// # Safety
///
/// `pointer` is null or leads to a `T` that may be written, and that nothing else uses meanwhile.
#[inline]
pub(crate) unsafe fn place<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// Copies `text` and a zero into the buffer, as much as fits. Returns the length of the whole text.
///
/// # Safety
///
/// `buffer` is null or leads to `capacity` bytes that may be written.
pub(crate) unsafe fn copy_text(text: &str, buffer: *mut c_char, capacity: usize) -> Result<c_int> {
    if let Some(most) = capacity.checked_sub(1) {
        if buffer.is_null() {
            return Err(null("buffer"));
        }
        let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        // SAFETY: `end` is less than `capacity`; the caller's buffer is none of ours.
        unsafe {
            buffer.copy_from_nonoverlapping(text.as_ptr().cast(), end);
            *buffer.add(end) = 0;
        }
    }
    Ok(c_int::try_from(text.len()).unwrap_or(c_int::MAX))
}
