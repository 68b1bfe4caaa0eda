//! Segments' files, as the file system shows them.

use std::io;

use rustix::fs::{self, AtFlags, CWD, OFlags};
use rustix::io::Errno;

use super::file::{check_type, not_found, open_file};
use super::layout::layout_version;
use super::names::{SHM_DIR, checked_name, path};
use super::storage::{links, read_at};
use crate::error::{Error, Result};

/// A segment's file, as the file system shows it, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// Its size in bytes.
    pub size: u64,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// How many hard links it has. A segment has one.
    pub links: u64,
    /// The device that it is on.
    pub device: u64,
    /// Its inode number on that device.
    pub inode: u64,
}

impl FileFacts {
    /// Returns the name with its slash, and the facts of the file.
    pub(crate) fn of(name: &str) -> Result<(String, FileFacts)> {
        let name = checked_name(name)?;
        let stat = match fs::statat(CWD, path(&name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(not_found(&name)),
            Err(errno) => return Err(Error::system(&name, "stat", errno)),
        };
        check_type(&name, stat.st_mode)?;
        let facts = FileFacts {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            links: links(&stat),
            device: stat.st_dev,
            inode: stat.st_ino,
        };
        Ok((name, facts))
    }
}

/// Returns the names of all files that could be segments by their name, with their slash, sorted.
pub(crate) fn file_names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(SHM_DIR)? {
        names.extend(entry?.file_name().to_str().and_then(|name| checked_name(name).ok()));
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the names of all files that begin like a finished segment of any layout, with their slash, sorted. Maps
/// nothing, so a file that is truncated in the meantime does no harm.
pub(crate) fn segment_names() -> io::Result<Vec<String>> {
    let mut names = file_names()?;
    names.retain(|name| first_word(name).and_then(layout_version).is_some());
    Ok(names)
}

fn first_word(name: &str) -> Option<u64> {
    let file = open_file(name, OFlags::RDONLY).ok()?;
    let mut word = [0; 8];
    let len = read_at(name, &file, &mut word, 0).ok()?;
    (len == word.len()).then_some(u64::from_ne_bytes(word))
}
