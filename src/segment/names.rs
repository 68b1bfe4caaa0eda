//! Names of segments, and the files that they lead to.

use rustix::fs;
use rustix::io::Errno;

use crate::error::{Cause, Error, Result};
use crate::os::descriptor::Inode;

pub(super) const NAME_RULE: &str = "after a leading slash, which may be left out, it must be 1 to 200 of the \
                         characters A-Z a-z 0-9 . _ - and neither . nor ..";
pub(super) const MOST_NAME_BYTES: usize = 200;
/// How many characters of a bad name an error shows.
pub(super) const SHOWN_NAME_CHARS: usize = 64;
pub(super) const ANONYMOUS: &str = "(anonymous)";
/// The directory of named shared memory.
pub(super) const SHM_DIR: &str = "/dev/shm";

/// Checks a name, and returns it with its slash.
pub(super) fn checked_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=MOST_NAME_BYTES).contains(&bare.len()) && bare.bytes().all(allowed) && !matches!(bare, "." | "..");
    if good {
        return Ok(format!("/{bare}"));
    }
    Err(Error::from(Cause::Name { name: name.chars().take(SHOWN_NAME_CHARS).collect(), rule: NAME_RULE }))
}

pub(super) fn path(name: &str) -> String {
    format!("{SHM_DIR}{name}")
}

impl Inode {
    /// Returns the file that `name` leads to now.
    pub(super) fn of_name(name: &str) -> Result<Option<Inode>> {
        match fs::lstat(path(name)) {
            Ok(stat) => Ok(Some(Inode::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system(name, "lstat", errno)),
        }
    }

    /// Returns `true` if `name` leads to this file now.
    pub(super) fn has_name(self, name: &str) -> bool {
        matches!(Inode::of_name(name), Ok(Some(now)) if now == self)
    }
}
