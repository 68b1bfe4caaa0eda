//! Segments' files, as the file system shows them.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::OFlags;

use super::file::{check_type, not_found, open_file};
use super::layout::layout_version;
use super::names::{SHM_DIR, checked_name, path};
use super::storage::read_at;
use crate::error::{Error, Result};

/// Returns the name with its slash, and what the file system says about the segment's file.
pub(crate) fn file_of(name: &str) -> Result<(String, Metadata)> {
    let name = checked_name(name)?;
    match std::fs::symlink_metadata(path(&name)) {
        Ok(file) => check_type(&name, file.mode()).map(|()| (name, file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(not_found(&name))
        }
        Err(error) => Err(Error::system(&name, "stat", error)),
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
