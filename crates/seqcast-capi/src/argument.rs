//! Arguments: texts, bytes, pointers to results.

use std::ffi::{c_char, c_int, c_void};
use std::slice;
use std::time::Duration;

use seqcast::Topic;

use crate::failure::seqcast_error::{SEQCAST_E_NULL, SEQCAST_E_OPTION, SEQCAST_E_TEXT};
use crate::failure::{Failure, Result};

#[cold]
pub(crate) fn null(what: &str) -> Failure {
    Failure::new(SEQCAST_E_NULL, format!("{what} is null"))
}

#[cold]
fn too_long(len: usize, what: &str) -> Failure {
    Failure::new(SEQCAST_E_OPTION, format!("{what} is {len} bytes long, which is more than any memory"))
}

#[cold]
fn no_text(at: usize, len: usize, what: &str) -> Failure {
    Failure::new(SEQCAST_E_TEXT, format!("{what} is not UTF-8 at byte {at} of {len}: names must be UTF-8"))
}

/// Returns the bytes of an argument. The pointer may be null if the length is 0.
///
/// # Safety
///
/// `pointer` is null or points to `len` bytes that do not change.
// Always inlined: returning the result would cost as much as the check.
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
// Always inlined: returning the result would cost as much as the check.
#[inline(always)]
pub(crate) unsafe fn text<'a>(pointer: *const c_char, len: usize, what: &str) -> Result<&'a str> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { bytes(pointer.cast(), len, what) }?;
    str::from_utf8(bytes).map_err(|error| no_text(error.valid_up_to(), len, what))
}

/// Returns the topic of two texts.
///
/// # Safety
///
/// As [`bytes`], for both.
// Always inlined: returning the result would cost as much as the check.
#[inline(always)]
pub(crate) unsafe fn topic<'a>(
    (source, source_len): (*const c_char, usize),
    (event, event_len): (*const c_char, usize),
) -> Result<Topic<'a>> {
    // SAFETY: as the caller promises.
    let (source, event) = unsafe { (text(source, source_len, "source")?, text(event, event_len, "event")?) };
    Ok(Topic::from((source, event)))
}

/// Returns a reference to the caller's result, or an error if the pointer is null.
///
/// # Safety
///
/// `pointer` is null or points to a `T` that may be written and that no other code uses in the meantime.
#[inline]
pub(crate) unsafe fn place<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// Returns how many bytes of `text` fit into `most` bytes without a part of a character.
fn fitting(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0)
}

/// Copies as much of `text` as fits, with a zero at its end, into the buffer. Returns the length of the whole text.
///
/// # Safety
///
/// `buffer` is null or points to `capacity` bytes that may be written.
pub(crate) unsafe fn copy_text(text: &str, buffer: *mut c_char, capacity: usize) -> Result<c_int> {
    if let Some(most) = capacity.checked_sub(1) {
        if buffer.is_null() {
            return Err(null("buffer"));
        }
        let end = fitting(text, most);
        // SAFETY: `end` is less than `capacity`, and the caller's buffer does not overlap with `text`.
        unsafe {
            buffer.copy_from_nonoverlapping(text.as_ptr().cast(), end);
            *buffer.add(end) = 0;
        }
    }
    Ok(c_int::try_from(text.len()).unwrap_or(c_int::MAX))
}

/// Returns a text as a field of a struct, with a zero at its end. A longer text is cut.
pub(crate) fn field<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    let end = fitting(text, N - 1);
    for (to, &from) in field.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = from as c_char;
    }
    field
}

/// Returns a time in nanoseconds.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
