//! The segments of this host.

use std::fs::Metadata;
use std::time::Duration;

use super::inspector::Inspector;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::segment::{file_names, file_of, segment_names};

/// A segment of this host, readable or not.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its name, with its slash.
    pub name: String,
    /// Its file, as the file system describes it.
    pub file: Metadata,
    /// The opened segment, or the reason why it cannot be opened.
    pub opened: Result<Inspector>,
}

impl Listed {
    /// Returns the segment `name`, with any owner and any mode. Does not wait: if another process is creating the
    /// segment, `opened` is [`ErrorKind::Busy`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Name`]; [`ErrorKind::NotFound`]; [`ErrorKind::Foreign`] if it is not a segment;
    /// [`ErrorKind::Denied`]; [`ErrorKind::System`]. Any other error is in `opened`.
    pub fn named(name: &str) -> Result<Listed> {
        let listed = Listed::of(name)?;
        match listed.opened {
            Err(error) if is_unreadable(error.kind()) => Err(error),
            _ => Ok(listed),
        }
    }

    fn of(name: &str) -> Result<Listed> {
        let (name, file) = file_of(name)?;
        let opened = Inspector::open_within(&name, Duration::ZERO);
        Ok(Listed { name, file, opened })
    }

    /// Returns `true` if the file is a segment, readable or not.
    fn is_segment(&self) -> bool {
        match &self.opened {
            Ok(_) => true,
            // Any program may have made an empty file.
            Err(error) if error.kind() == ErrorKind::Unfinished => self.file.len() > 0,
            Err(error) => matches!(
                error.cause(),
                Cause::Busy { .. }
                    | Cause::Layout { .. }
                    | Cause::Fingerprint { .. }
                    | Cause::OtherBoot { .. }
                    | Cause::Truncated { .. }
                    | Cause::Holes { .. }
                    | Cause::Corrupt { .. }
            ),
        }
    }
}

fn is_unreadable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Foreign | ErrorKind::Denied | ErrorKind::System)
}

/// Returns the names, with their slash and sorted, of all finished segments that this user may read, of any layout.
///
/// Unlike [`list`], it maps nothing.
///
/// # Errors
///
/// [`ErrorKind::System`] if shared memory cannot be listed.
///
/// ```
/// # use seqcast::SegmentOptions;
/// # let name = format!("/doc-names-{}", std::process::id());
/// let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// assert!(seqcast::inspect::names()?.contains(&name));
/// # Ok::<(), seqcast::Error>(())
/// ```
pub fn names() -> Result<Vec<String>> {
    segment_names().map_err(|error| Error::system("/dev/shm", "readdir", error))
}

/// Returns the segments of this host, sorted by name, including unused segments and those that this build cannot read.
/// Does not wait: a segment that another process is creating is [`ErrorKind::Busy`].
///
/// Files that this user may not read, files of other programs and empty files are left out.
///
/// # Errors
///
/// [`ErrorKind::System`] if shared memory cannot be listed.
///
/// ```
/// # let name = format!("/doc-list-{}", std::process::id());
/// # let _bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// for listed in seqcast::inspect::list()? {
///     match listed.opened {
///         Ok(inspector) => println!("{}: next id {}", listed.name, inspector.next_id()),
///         Err(error) => println!("{}: {error}", listed.name),
///     }
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
pub fn list() -> Result<Vec<Listed>> {
    let names = file_names().map_err(|error| Error::system("/dev/shm", "readdir", error))?;
    // A file that is removed meanwhile is no segment any more.
    Ok(names.iter().filter_map(|name| Listed::of(name).ok()).filter(Listed::is_segment).collect())
}
