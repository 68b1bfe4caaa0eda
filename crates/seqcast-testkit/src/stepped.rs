//! Children that run from change to change of segments' memory: see `tests/kill`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::{io, ptr};

use crate::name::Name;
use crate::ptrace::{Breakpoints, Traced, Until};

/// The bytes of segments, read from outside while no process writes to them.
pub struct Memory {
    mapped: Vec<Mapped>,
}

struct Mapped {
    at: *const libc::c_void,
    before: Vec<u8>,
}

impl Memory {
    pub fn of(names: &[&Name]) -> Memory {
        Memory { mapped: names.iter().map(|name| Mapped::of(name)).collect() }
    }

    /// Returns `true` if any of them has changed since the last call.
    pub fn has_changed(&mut self) -> bool {
        // All, so that each is compared with its last content.
        self.mapped.iter_mut().fold(false, |changed, mapped| mapped.has_changed() | changed)
    }
}

impl Mapped {
    fn of(name: &Name) -> Mapped {
        let file = File::open(name.path()).unwrap();
        let len = file.metadata().unwrap().len() as usize;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let mut mapped = Mapped { at, before: vec![0; len] };
        mapped.has_changed();
        mapped
    }

    fn has_changed(&mut self) -> bool {
        let len = self.before.len();
        // SAFETY: both are `len` bytes, and the only process that writes to the mapping is stopped. C's function,
        // because it is also fast in debug builds.
        unsafe {
            let changed = libc::memcmp(self.at, self.before.as_ptr().cast(), len) != 0;
            libc::memcpy(self.before.as_mut_ptr().cast(), self.at, len);
            changed
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping that `of` made, with no other pointers to it.
        unsafe { libc::munmap(self.at.cast_mut(), self.before.len()) };
    }
}

/// A child that runs from change to change of the segment's memory.
pub struct Stepped {
    pub child: Traced,
    memory: Memory,
    /// After the instructions that change it.
    breaks: Breakpoints,
}

/// Resumes the child until it stops. Returns `None` if it has ended instead.
fn resume(child: Traced, until: Until) -> Option<Traced> {
    match child.go_on(until) {
        Ok((child, signal)) => {
            assert_eq!(signal, libc::SIGTRAP, "the child crashed");
            Some(child)
        }
        Err(status) => {
            assert!(status.success(), "the child failed: {status}");
            None
        }
    }
}

impl Stepped {
    pub fn of(child: Traced, memory: Memory, breaks: Breakpoints) -> Stepped {
        Stepped { child, memory, breaks }
    }

    /// Runs to the child's end by single instructions. Returns its position after each change.
    pub fn learn(self) -> Vec<u64> {
        let Stepped { mut child, mut memory, .. } = self;
        let mut places = Vec::new();
        while let Some(stopped) = resume(child, Until::Instruction) {
            if memory.has_changed() {
                places.push(stopped.tracee().instruction_pointer());
            }
            child = stopped;
        }
        places
    }

    /// Runs to the next change. Returns `None` if the child has ended before.
    pub fn next_change(self) -> Option<Stepped> {
        let Stepped { mut child, mut memory, breaks } = self;
        loop {
            // Past the instruction that a breakpoint may hide here.
            breaks.take_away(child.tracee());
            child = resume(child, Until::Instruction)?;
            if memory.has_changed() {
                break;
            }
            breaks.put(child.tracee());
            child = resume(child, Until::Signal)?;
            Breakpoints::step_back(child.tracee());
            if memory.has_changed() {
                break;
            }
        }
        Some(Stepped { child, memory, breaks })
    }

    /// Lets the child run by itself, to its end.
    pub fn let_go(self) {
        self.breaks.take_away(self.child.tracee());
        assert!(self.child.ended_well(), "G8: the woken child failed");
    }
}
