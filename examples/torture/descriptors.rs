//! Actions of hosts on descriptors: close the standard ones, close all others, put other files on their numbers.

use std::mem::MaybeUninit;

use crate::rng::Rng;

/// A child does not use numbers from here on.
const MOST: i32 = 64;

/// The descriptors 0 to 2 that this process has closed.
#[derive(Clone, Copy)]
pub struct Standard(u64);

impl Standard {
    pub fn all_open() -> Standard {
        Standard(0)
    }

    /// Closes some of them, at least one.
    pub fn close(rng: &mut Rng) -> Standard {
        let closed = Standard(1 + rng.below(7));
        for number in closed.numbers() {
            close(number);
        }
        closed
    }

    fn numbers(self) -> impl Iterator<Item = i32> {
        (0..3).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// Writes to those that are closed, as every program does to its standard error. Returns the number of one that is
    /// open.
    pub fn write(self) -> Option<i32> {
        // SAFETY: the bytes exist, and the number is written to deliberately, wherever it leads.
        self.numbers().find(|&number| unsafe { libc::write(number, b"overwritten".as_ptr().cast(), 11) } >= 0)
    }
}

/// Closes every descriptor from 3 on.
pub fn close_from_3() {
    // SAFETY: this process uses no descriptor of its own beyond a call.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if done != 0 {
        (3..1024).for_each(close);
    }
}

/// Another file, on every number that was open.
pub struct Other {
    inode: u64,
    numbers: Vec<i32>,
}

impl Other {
    /// Puts it there. Returns `None` if there is no such file.
    pub fn put() -> Option<Other> {
        // SAFETY: the name is a C string; a new descriptor has no other owner.
        let lowest = unsafe { libc::memfd_create(c"torture".as_ptr(), libc::MFD_CLOEXEC) };
        // The lowest number may be one of 0 to 2, which stay closed.
        // SAFETY: a system call without pointers.
        let file = unsafe { libc::fcntl(lowest, libc::F_DUPFD_CLOEXEC, 3) };
        close(lowest);
        let inode = inode_of(file)?;
        let mut numbers: Vec<_> = (3..MOST).filter(|&number| number != file && is_open(number)).collect();
        for &number in &numbers {
            // SAFETY: deliberately replaces the file on the number.
            unsafe { libc::dup2(file, number) };
        }
        numbers.push(file);
        Some(Other { inode, numbers })
    }

    /// Returns `true` if every number still leads to it, and no process has written to it or locked it.
    pub fn is_untouched(&self) -> bool {
        let there = self.numbers.iter().all(|&number| inode_of(number) == Some(self.inode));
        there && self.numbers.first().is_none_or(|&number| !is_locked(number))
    }

    pub fn close(self) {
        self.numbers.into_iter().for_each(close);
    }
}

fn close(number: i32) {
    // SAFETY: closed deliberately; a number that is not open is only an error.
    unsafe { libc::close(number) };
}

fn is_open(number: i32) -> bool {
    // SAFETY: a system call without pointers.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Returns the number of the empty file that a descriptor leads to.
fn inode_of(number: i32) -> Option<u64> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the call fills `stat` if it returns 0, and only then it is read.
    let stat = unsafe { (libc::fstat(number, stat.as_mut_ptr()) == 0).then(|| stat.assume_init()) }?;
    (stat.st_size == 0).then_some(stat.st_ino)
}

/// Returns `true` if a process holds a lock on the file by the description of `number`.
fn is_locked(number: i32) -> bool {
    use std::os::fd::AsRawFd;
    let Ok(another) = std::fs::File::options().read(true).write(true).open(format!("/proc/self/fd/{number}")) else {
        return false;
    };
    // SAFETY: zeros are a lock of the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the call reads and fills `lock`.
    let asked = unsafe { libc::fcntl(another.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    asked == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
}
