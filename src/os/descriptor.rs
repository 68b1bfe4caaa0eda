//! Descriptors: never one of the three standard ones, and never closed or used once the number leads to another file.
//!
//! A library does not own a process's descriptors. Hosts start with 0 to 2 closed, and then write their messages to the
//! files that get these numbers. They close all numbers from 3 on to become a daemon. They close a number twice, or put
//! another file on it. Therefore every descriptor that the crate keeps for longer than a read of `/proc` is a
//! [`Descriptor`].
//!
//! NOT promised: anything about a number that another thread closes or reuses between the check and the call right
//! after it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{self, Mode, OFlags, Stat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};

/// Standard error. Programs write to it without checking where it leads.
pub(super) const LAST_STANDARD: RawFd = 2;

/// Identifies a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Inode {
    pub(crate) fn of(stat: &Stat) -> Inode {
        Inode { device: stat.st_dev, number: stat.st_ino }
    }
}

/// A descriptor above the three standard ones that knows its original file.
#[derive(Debug)]
pub(crate) struct Descriptor {
    number: AtomicI32,
    inode: Inode,
}

impl Descriptor {
    /// Returns the descriptor from `open`, moved above the standard ones.
    pub(crate) fn of(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<Descriptor, Errno> {
        let _fillers = Fillers::hold()?;
        let opened = Descriptor::known(retry_on_intr(open)?)?;
        if opened.number() > LAST_STANDARD {
            return Ok(opened);
        }
        // Another thread has closed the standard ones meanwhile.
        Descriptor::known(fcntl_dupfd_cloexec(&opened, LAST_STANDARD + 1)?)
    }

    fn known(opened: OwnedFd) -> Result<Descriptor, Errno> {
        let inode = Inode::of(&fs::fstat(&opened)?);
        Ok(Descriptor { number: AtomicI32::new(opened.into_raw_fd()), inode })
    }

    /// Returns the number. It may lead to another file by now.
    pub(crate) fn number(&self) -> RawFd {
        // Relaxed: the kernel is asked whether the number is valid.
        self.number.load(Ordering::Relaxed)
    }

    /// Returns the identity of the original file.
    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// Returns `true` if the number still leads to the original file.
    pub(crate) fn is_ours(&self) -> bool {
        fs::fstat(self).is_ok_and(|stat| Inode::of(&stat) == self.inode)
    }

    /// Replaces the number `lost`, which leads elsewhere by now, by that of `other`, which leads to the same file.
    pub(crate) fn replace(&self, lost: RawFd, other: Descriptor) {
        let found = other.number();
        // Relaxed: as in `number`. If another thread was faster, `other` is closed.
        if self.number.compare_exchange(lost, found, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            std::mem::forget(other);
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: we opened the number, it is never -1, and we close it only when `self` is dropped. If other code has
        // closed or reused it, system calls on it fail or report the actual file, as `is_ours` requests.
        unsafe { BorrowedFd::borrow_raw(self.number()) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: it leads to the file that this has opened, and no code borrows it any longer.
            drop(unsafe { OwnedFd::from_raw_fd(self.number()) });
        }
    }
}

/// Occupies the free standard numbers, so that a file opened meanwhile gets none of them.
#[derive(Debug)]
pub(crate) struct Fillers {
    _held: Vec<Descriptor>,
}

impl Fillers {
    pub(crate) fn hold() -> Result<Fillers, Errno> {
        let mut held = Vec::new();
        // SAFETY: a system call without pointers; a number that is not open is an error.
        let is_open = |number| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
        if (0..=LAST_STANDARD).all(is_open) {
            return Ok(Fillers { _held: held });
        }
        loop {
            // A file that always exists, and can be neither read nor written.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let filler = Descriptor::known(retry_on_intr(|| fs::open("/", flags, Mode::empty()))?)?;
            if filler.as_fd().as_raw_fd() > LAST_STANDARD {
                return Ok(Fillers { _held: held });
            }
            held.push(filler);
        }
    }
}
