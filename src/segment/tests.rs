//! Creation, opening and locks, with real processes.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::fs::{self, Mode, SealFlags};
use rustix::io::Errno;
use seqcast_testkit::assert_error;
use seqcast_testkit::process::{Child, eventually};
use seqcast_testkit::ptrace::{Traced, at_every_system_call};

use super::creation::*;
use super::draft::LEAST_ALLOCATION_STEP;
use super::file::*;
use super::header::HeaderCopy;
use super::locks::*;
use super::names::*;
use super::storage::*;
use super::*;
use crate::error::Cause;
use crate::os::fork::ForkGuard;
use crate::os::sys;
use crate::protocol::seat_words;
use crate::segment::fingerprint::fingerprint;
use crate::segment::layout::{FORMING, HEADER_BYTES, header_word, magic};
use crate::segment::pools::POOLS;

/// A user other than the one that runs the tests.
const NOBODY: u32 = 65_534;

const HOUR: Duration = Duration::from_secs(3600);
/// A group other than that of the user that runs the tests.
const NOGROUP: u32 = 65_534;

/// A segment name for one test. The file is removed before and after the test, also when the test fails.
struct Name(String);

impl Name {
    fn new(test: &str) -> Name {
        let name = Name(format!("/seqcast-test-{test}-{}", sys::pid()));
        name.clear();
        name
    }

    fn clear(&self) {
        let path = path(self);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }

    fn exists(&self) -> bool {
        Inode::of_name(self).unwrap().is_some()
    }

    /// Creates the file with these bytes and a mode that is accepted.
    fn write(&self, bytes: &[u8]) {
        std::fs::write(path(self), bytes).unwrap();
        std::fs::set_permissions(path(self), Permissions::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> File {
        File::options().read(true).write(true).open(path(self)).unwrap()
    }

    fn set_word(&self, word: usize, value: u64) {
        self.file().write_all_at(&value.to_ne_bytes(), word as u64 * 8).unwrap();
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.clear();
    }
}

fn small() -> SegmentOptions {
    SegmentOptions::new().capacity(8).block_size(64).seats(4).claims(4).creation_timeout(Duration::from_secs(10))
}

fn descriptor(file: File) -> Descriptor {
    Descriptor::of(|| Ok(file.try_clone().unwrap().into())).unwrap()
}

impl Segment {
    /// Takes the first seat that is not locked.
    fn take_any(&self) -> Result<Option<(u16, SeatLock)>> {
        self.take_free_seat(ForkGuard::new().unwrap(), |_| false, |_| true)
    }
}

fn impatient() -> SegmentOptions {
    small().creation_timeout(Duration::from_millis(20))
}

/// Counts a process that has opened this segment. Returns `true` if the segment is well formed, and mapped from the
/// file that is open.
fn sign(segment: &Segment) -> bool {
    segment.tail().at(0).fetch_add(1, Ordering::Relaxed);
    let in_file = HeaderCopy::read(segment.name(), &segment.file).unwrap().pair(header_word!(nonce));
    segment.memory.has_nonce(in_file) && is_new_or_signed(segment)
}

fn signatures(segment: &Segment) -> u64 {
    segment.tail().at(0).load(Ordering::Relaxed)
}

/// Returns `true` if everything except the tail is as a creator leaves it.
fn is_new_or_signed(segment: &Segment) -> bool {
    let (capacity, seats) = (segment.geometry().capacity(), segment.geometry().seats);
    let all = Words::of(&segment.memory.mapping, 0, segment.size() / 8).unwrap();
    let word = |offset: usize| all.at(offset / 8).load(Ordering::Relaxed);
    let (geometry, ring) = (segment.geometry(), segment.regions().pools[PoolId::Ring as usize]);
    let all_blocks = geometry.blocks(PoolId::Ring) * geometry.pool(PoolId::Ring).stride;
    let blocks = ring.blocks..ring.blocks + all_blocks as usize;
    let hands: HashSet<u64> = (0..seats as u16)
        .map(|seat| segment.hand(PoolId::Ring, seat).at(seat_words::OWN).load(Ordering::Relaxed))
        .collect();
    blocks.step_by(8).all(|offset| word(offset) == 0) && hands == HashSet::from_iter(capacity..capacity + seats)
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: it needs root");
    }
    root
}

/// Returns the metadata of the file, if it exists.
fn metadata(name: &str) -> Option<std::fs::Metadata> {
    std::fs::symlink_metadata(path(name)).ok()
}

/// Runs `body` in a child, stops it before and after each system call, and calls `look` at each stop.
fn look_at_every_system_call(body: impl FnOnce() -> bool, mut look: impl FnMut(usize)) -> usize {
    let mut stepped = Traced::fork_amid_threads(body);
    for stop in 1.. {
        stepped = match stepped.system_calls(1) {
            Ok(stepped) => stepped,
            Err(status) => {
                assert!(status.success(), "the child failed: {status}");
                return stop - 1;
            }
        };
        look(stop);
    }
    unreachable!()
}

/// Gives up root's privileges. For a forked child.
fn drop_privileges() {
    // SAFETY: system calls without pointers, in a child with one thread.
    let dropped =
        unsafe { libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0 };
    assert!(dropped);
}

/// Returns a child that holds the creation lock of the file `name` until `gun` is signed, and then calls `last`.
fn lock_holder(name: &str, gun: &Segment, last: impl FnOnce() -> bool) -> Child {
    let ready = Segment::anonymous(&small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        let options = small();
        let call = Call::new(name, &options, Intent::Create).unwrap();
        let found = call.open_or_make().unwrap().unwrap();
        let _lock = call.lock_creation(&found.file).unwrap();
        sign(&ready);
        eventually("the gun is fired", || signatures(gun) > 0);
        last()
    });
    eventually("the creation lock is held", || signatures(&ready) > 0);
    child
}

/// Asserts that the error's text contains `parts`. Returns `true`.
fn says(error: &Error, parts: &[&str]) -> bool {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    true
}

/// Mounts an empty file system at `at`, which only the calling process sees. For a forked child. Returns `false` if
/// that is not permitted.
fn mount_own(at: &std::ffi::CStr, options: &std::ffi::CStr) -> bool {
    let (none, tmpfs) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: system calls on C strings; they change what this child sees and nothing else.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
            && libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, options.as_ptr().cast()) == 0
    };
    if !done {
        eprintln!("skipped: no mount namespace here: {}", io::Error::last_os_error());
    }
    done
}

mod access;
mod creating;
mod host;
mod naming;
mod opening;
mod seats;
