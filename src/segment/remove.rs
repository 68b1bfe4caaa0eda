//! Removes a segment's name, unconditionally or only if the segment is unused.
//!
//! Free seats do not prove that a segment is unused: a master that has not forked yet has the segment open and holds no
//! seat. A read lease (`F_SETLEASE`) proves it. The kernel grants one only if no open file description can write to the
//! file, including those of mappings, in all processes and namespaces. While the lease lasts, no process can open the
//! file for writing. Processes that only read do not count.

use std::sync::Arc;

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::Segment;
use super::creation::FileState;
use super::file::{check_type, denied, not_found, open_error, open_file};
use super::names::{ANONYMOUS, checked_name, path};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::sys;

/// Removes a segment's name when it is dropped, in the process that created the segment.
#[derive(Debug)]
pub(super) struct Unlinker {
    pub(super) name: String,
    pub(super) inode: Inode,
    pub(super) guard: ForkGuard,
}

impl Drop for Unlinker {
    fn drop(&mut self) {
        // Not in a child that inherited it.
        if !self.guard.is_forked() {
            // A name that is gone or replaced needs no removal, and a drop cannot report other errors.
            let _ = remove_if(&self.name, self.inode);
        }
    }
}

/// Removes the segment `name`, finished or not.
pub(crate) fn unlink(name: &str) -> Result<()> {
    let name = checked_name(name)?;
    let file = open_ours(&name)?;
    remove_if(&name, file.inode())
}

/// Opens the file `name` if it is a segment of seqcast, finished or not.
fn open_ours(name: &str) -> Result<Descriptor> {
    let file = match open_file(name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(not_found(name)),
        Err(errno) => return Err(open_error(name, errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| Error::system(name, "fstat", errno))?;
    check_type(name, stat.st_mode)?;
    match FileState::of(name, &file)? {
        FileState::Foreign(found) => Err(Error::from(Cause::Foreign { name: name.to_owned(), found })),
        _ => Ok(file),
    }
}

/// Removes the name if it leads to `inode`.
pub(super) fn remove_if(name: &str, inode: Inode) -> Result<()> {
    match Inode::of_name(name)? {
        None => Err(Error::from(Cause::NotFound { name: name.to_owned() })),
        Some(found) if found != inode => Err(Error::from(Cause::Replaced { name: name.to_owned() })),
        Some(_) => remove(name),
    }
}

/// Removes the segment `name`, finished or not, if no process has it open for writing. Returns `false` if a process
/// has.
pub(crate) fn unlink_unheld(name: &str) -> Result<bool> {
    let name = checked_name(name)?;
    remove_unheld(&name, &open_ours(&name)?)
}

fn remove_unheld(name: &str, file: &Descriptor) -> Result<bool> {
    if !sys::try_lease(file).map_err(|error| Error::system(name, "fcntl(F_SETLEASE)", error))? {
        return Ok(false);
    }
    // The lease ends with `file`, after the name is removed. A process that opens the file in between gets
    // `EWOULDBLOCK` and tries again.
    remove_if(name, file.inode()).map(|()| true)
}

/// Drops a segment, and removes its name if no process has it open for writing any more. Returns `false` if a process
/// has, or if the name does not lead to this segment.
pub(crate) fn unlink_if_last(segment: Arc<Segment>) -> Result<bool> {
    let (name, inode) = (segment.name().to_owned(), segment.file.inode());
    drop(segment);
    if name == ANONYMOUS {
        return Ok(false);
    }
    let removed =
        open_ours(&name).and_then(|file| if file.inode() == inode { remove_unheld(&name, &file) } else { Ok(false) });
    match removed {
        // Another process that also is the last may be ahead of this one at each step.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Replaced | ErrorKind::Foreign) => {
            Ok(false)
        }
        removed => removed,
    }
}

pub(super) fn remove(name: &str) -> Result<()> {
    match fs::unlink(path(name)) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(Error::from(Cause::NotFound { name: name.to_owned() })),
        Err(Errno::ACCESS | Errno::PERM) => Err(denied(name)),
        Err(Errno::ROFS) => Err(Error::from(Cause::ReadOnly { name: name.to_owned() })),
        Err(errno) => Err(Error::system(name, "unlink", errno)),
    }
}
