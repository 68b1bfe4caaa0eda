//! The content, size and memory of a segment's file.

use rustix::fs;
use rustix::io::retry_on_intr;

use crate::error::{Cause, Error, Result};
use crate::os::descriptor::Descriptor;
use crate::os::sys;

/// Reads into `bytes` from offset `at` on. Returns the number of bytes read.
pub(super) fn read_at(name: &str, file: &Descriptor, bytes: &mut [u8], at: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(file, &mut *bytes, at)).map_err(|errno| Error::system(name, "pread", errno))
}

pub(super) fn file_size(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Returns the free bytes of the file system of `file`.
pub(super) fn free_space(file: &Descriptor) -> u64 {
    let memory = sys::available_memory().unwrap_or(u64::MAX);
    match fs::fstatvfs(file) {
        // The file system of anonymous files has no limit.
        Ok(of) if of.f_blocks == 0 => memory,
        Ok(of) => of.f_bavail.saturating_mul(of.f_frsize).min(memory),
        Err(_) => 0,
    }
}

/// Returns the bytes that are allocated to `file`.
pub(super) fn allocated_bytes(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512))
}

/// Returns the number of hard links of a file.
#[allow(clippy::useless_conversion, reason = "the system's number has 32 bits on some processors")]
pub(super) fn links(stat: &fs::Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// Returns an error if the first `end` bytes of a file are not all allocated. The first access to a missing page may
/// raise SIGBUS.
pub(super) fn check_holes(name: &str, file: &Descriptor, end: u64) -> Result<()> {
    // Another file system may compress, and then the number of blocks means nothing. A tmpfs counts the allocated
    // pages, including those that are swapped out.
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
