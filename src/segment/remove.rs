//! Removing a segment that is proven to be nobody's.
//!
//! No seat being held is not that proof: a master that has yet to fork has the segment open and holds no seat. The
//! kernel knows better. It gives a read lease (`F_SETLEASE`) only on a file that no open file description can write to,
//! a mapping's included, in whatever process and namespace; and while the lease lasts nobody can open it for writing.
//! Those who only look do not count.

use super::{checked_name, open_ours, remove_if};
use crate::error::{Error, Result};
use crate::os::sys;

/// Removes the segment `name`, finished or not, if no process has it open for writing. `false` if one has.
pub(crate) fn unlink_unheld(name: &str) -> Result<bool> {
    let name = checked_name(name)?;
    let file = open_ours(&name)?;
    if !sys::try_lease(&file).map_err(|error| Error::system(&name, "fcntl(F_SETLEASE)", error))? {
        return Ok(false);
    }
    // The lease ends with `file`, after the name is gone. Who comes meanwhile is told to try again.
    remove_if(&name, file.inode()).map(|()| true)
}
