//! What a segment's file holds: bytes, sizes, memory.

use rustix::fs;
use rustix::io::retry_on_intr;

use crate::error::{Cause, Error, Result};
use crate::os::descriptor::Descriptor;
use crate::os::sys;

/// Fills `bytes` from `at` on; returns how many there were.
pub(super) fn read_at(name: &str, file: &Descriptor, bytes: &mut [u8], at: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(file, &mut *bytes, at)).map_err(|errno| Error::system(name, "pread", errno))
}

pub(super) fn file_size(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Bytes that the file system of `file` has left.
pub(super) fn free_space(file: &Descriptor) -> u64 {
    let memory = sys::available_memory().unwrap_or(u64::MAX);
    match fs::fstatvfs(file) {
        // The one that anonymous files are on has no limit of its own.
        Ok(of) if of.f_blocks == 0 => memory,
        Ok(of) => of.f_bavail.saturating_mul(of.f_frsize).min(memory),
        Err(_) => 0,
    }
}

/// Bytes that `file` has been given already.
pub(super) fn allocated_bytes(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512))
}

/// How many names a file has.
#[allow(clippy::useless_conversion, reason = "the system's number has 32 bits on some processors")]
pub(super) fn links(stat: &fs::Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// Refuses a file that has not all the memory of its first `end` bytes. A page that is missing is found or not found
/// when it is first touched, and not found is SIGBUS.
pub(super) fn check_holes(name: &str, file: &Descriptor, end: u64) -> Result<()> {
    // Another file system may compress, and then the number of blocks says nothing. A tmpfs counts the pages it has
    // given, those that are swapped out included.
    const TMPFS_MAGIC: fs::FsWord = 0x0102_1994;
    if fs::fstatfs(file).is_ok_and(|of| of.f_type != TMPFS_MAGIC) {
        return Ok(());
    }
    let allocated = allocated_bytes(name, file)?;
    if allocated < end {
        Err(Error::from(Cause::Holes { name: name.to_owned(), size: end, allocated }))
    } else {
        Ok(())
    }
}

pub(super) fn native_words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*chunk);
    }
    words
}
