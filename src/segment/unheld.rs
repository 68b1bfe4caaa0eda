//! Removing a segment that is proven to be nobody's.
//!
//! No record being held is not that proof: a master that has yet to fork has the segment open and holds no record. The
//! kernel knows better. It gives a read lease (`F_SETLEASE`) only on a file that no open file description can write to,
//! a mapping's included, in whatever process and namespace; and while the lease lasts nobody can open it for writing.
//! Those who only look do not count.

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::{Inode, State, check_type, checked_name, open_error, open_file, remove};
use crate::error::{Error, Result};
use crate::sys;

/// Removes the segment `name`, finished or not, if no process has it open for writing. `false` if one has.
pub(crate) fn unlink_unheld(name: &str) -> Result<bool> {
    let name = checked_name(name)?;
    let file = match open_file(&name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(Error::NotFound { name }),
        Err(errno) => return Err(open_error(&name, errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| Error::system(&name, "fstat", errno))?;
    check_type(&name, stat.st_mode)?;
    if let State::Foreign(found) = State::of(&name, &file)? {
        return Err(Error::Foreign { name, found });
    }
    if !sys::try_lease(&file).map_err(|error| Error::system(&name, "fcntl(F_SETLEASE)", error))? {
        return Ok(false);
    }
    // The lease ends with `file`, after the name is gone. Who comes meanwhile is told to try again.
    match Inode::of_name(&name)? {
        None => Err(Error::NotFound { name }),
        Some(inode) if inode != Inode::of(&stat) => Err(Error::Replaced { name }),
        Some(_) => remove(&name).map(|()| true),
    }
}
