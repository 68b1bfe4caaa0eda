//! Descriptors: never one of the three standard ones, and never closed or used once the number leads to another file.
//!
//! A process's descriptors are not a library's alone. Hosts start with 0 to 2 closed, and then write their messages to
//! whatever gets these numbers; they close all numbers from 3 on to become a daemon; they close a number twice, or put
//! another file on it. So every descriptor that the crate keeps for longer than a read of `/proc` is a [`Descriptor`].
//!
//! NOT promised: anything about a number that another thread closes or reuses between the check and the call that comes
//! right after it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{self, Mode, OFlags, Stat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};

/// Standard error. Programs write to it without asking where it leads to.
const LAST_STANDARD: RawFd = 2;

/// Which file, whatever its name.
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

/// A descriptor above the three standard ones, which knows the file that it led to when it was opened.
#[derive(Debug)]
pub(crate) struct Descriptor {
    number: AtomicI32,
    inode: Inode,
}

impl Descriptor {
    /// The descriptor that `open` opens, above the standard ones.
    pub(crate) fn of(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<Descriptor, Errno> {
        let _fillers = Fillers::hold()?;
        let opened = Descriptor::known(retry_on_intr(open)?)?;
        if opened.number() > LAST_STANDARD {
            return Ok(opened);
        }
        // Another thread closes the standard ones meanwhile.
        Descriptor::known(fcntl_dupfd_cloexec(&opened, LAST_STANDARD + 1)?)
    }

    fn known(opened: OwnedFd) -> Result<Descriptor, Errno> {
        let inode = Inode::of(&fs::fstat(&opened)?);
        Ok(Descriptor { number: AtomicI32::new(opened.into_raw_fd()), inode })
    }

    /// The number. It may lead to another file by now.
    pub(crate) fn number(&self) -> RawFd {
        // Relaxed: whether the number is good is asked of the kernel.
        self.number.load(Ordering::Relaxed)
    }

    /// The file that was opened.
    pub(crate) fn inode(&self) -> Inode {
        self.inode
    }

    /// Whether the number still leads to the file that was opened.
    pub(crate) fn is_ours(&self) -> bool {
        fs::fstat(self).is_ok_and(|stat| Inode::of(&stat) == self.inode)
    }

    /// Takes the place of the number `lost`, which leads elsewhere by now, by that of `other`, which leads to the same file.
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
        // SAFETY: the number was opened by us, is never -1, and is closed by us only when `self` is dropped. If somebody
        // else has closed or reused it, system calls on it fail or say which file it is, as `is_ours` asks them to.
        unsafe { BorrowedFd::borrow_raw(self.number()) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: it leads to the file that this has opened, and nobody borrows it any longer.
            drop(unsafe { OwnedFd::from_raw_fd(self.number()) });
        }
    }
}

/// Holds those standard numbers that are free, so that what is opened meanwhile gets none of them.
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
            // What is there always, and can be neither read nor written.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let filler = Descriptor::known(retry_on_intr(|| fs::open("/", flags, Mode::empty()))?)?;
            if filler.as_fd().as_raw_fd() > LAST_STANDARD {
                return Ok(Fillers { _held: held });
            }
            held.push(filler);
        }
    }
}
