//! From an empty file to a finished segment: its access, its memory, its content.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{self, FallocateFlags, Mode, SealFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::creation::NamedFile;
use super::file::{OWNER_ALONE, map_named};
use super::geometry::{Geometry, Regions};
use super::layout::{FORMING, header_word};
use super::memory::{Birth, Memory};
use super::names::SHM_DIR;
use super::options::SegmentOptions;
use super::remove::remove;
use super::storage::{allocated_bytes, file_size, free_space};
use crate::error::{Cause, Error, Result};
use crate::os::cgroup::{self, Bound};
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::mapping::Mapping;

/// Bytes allocated by one call: few enough that signals rarely interrupt it.
const ALLOCATION_STEP: u64 = 16 << 20;

/// The least bytes allocated by one call, after signals have interrupted longer ones: a page, whose allocation cannot
/// be interrupted.
pub(super) const LEAST_ALLOCATION_STEP: u64 = 4096;

/// The least time for which signals may interrupt an allocation, also if the creation's timeout is shorter.
const LEAST_PATIENCE_WITH_SIGNALS: Duration = Duration::from_millis(100);

/// A segment that is being created.
pub(super) struct Draft<'a> {
    pub(super) name: &'a str,
    pub(super) options: &'a SegmentOptions,
    /// When the creating call began.
    pub(super) started: Instant,
    pub(super) geometry: Geometry,
    pub(super) regions: Regions,
}

impl<'a> Draft<'a> {
    pub(super) fn new(name: &'a str, options: &'a SegmentOptions, started: Instant) -> Result<Draft<'a>> {
        let geometry = options.geometry()?;
        Ok(Draft { name, options, started, regions: geometry.regions(name)?, geometry })
    }

    /// Makes a finished segment in `file`, which has no name.
    pub(super) fn form_anonymous(&self, file: &Descriptor) -> Result<(Memory, Birth)> {
        self.check_limits(file)?;
        self.set_access(file, self.options.mode & 0o666)?;
        self.allocate(file)?;
        // So that no process can truncate the file under the mapping. Without seals, the file is like a named one.
        let _ = fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL);
        let mapping = Mapping::anonymous(file.as_fd(), self.regions.end)
            .map_err(|error| Error::system(self.name, "mmap", error))?;
        let memory = Memory::of(mapping, self.geometry, self.regions, self.options);
        let birth = Birth::now(self.name, self.options.keys_of)?;
        memory.mapping.populate();
        memory.format(&birth);
        Ok((memory, birth))
    }

    /// Finishes an empty or forming file. Returns `None` if the name leads to another file now.
    pub(super) fn form(&self, file: &Descriptor) -> Result<Option<(Memory, Birth)>> {
        self.check_limits(file)?;
        // From here on, the file is recognized as an unfinished segment, whatever its size.
        self.write_at(file, FORMING, header_word!(magic))?;
        self.wipe(file)?;
        self.set_access(file, self.options.mode)?;
        self.allocate(file)?;
        let birth = Birth::now(self.name, self.options.keys_of)?;
        self.write_at(file, birth.nonce[0], header_word!(nonce))?;
        self.write_at(file, birth.nonce[1], header_word!(nonce) + 1)?;
        let Some(mapping) = map_named(self.name, self.regions.end)? else { return Ok(None) };
        let memory = Memory::of(mapping, self.geometry, self.regions, self.options);
        if !memory.has_nonce(birth.nonce) {
            return Ok(None);
        }
        memory.mapping.populate();
        memory.format(&birth);
        Ok(Some((memory, birth)))
    }

    /// Undoes a failed `form`.
    pub(super) fn undo(&self, found: &NamedFile, inode: Inode) {
        // The error that led here is the one to report.
        if !found.made {
            let _ = self.wipe(&found.file);
        } else if inode.has_name(self.name) {
            let _ = remove(self.name);
        }
    }

    /// Zeroes everything but the first word, and frees the memory.
    pub(super) fn wipe(&self, file: &Descriptor) -> Result<()> {
        let size = file_size(self.name, file)?;
        if size <= 8 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        retry_on_intr(|| fs::fallocate(file, punch, 8, size - 8))
            .map_err(|errno| self.space_error(free_space(file), "fallocate(FALLOC_FL_PUNCH_HOLE)", errno))
    }

    /// Sets the file's group, then its mode, then its user.
    ///
    /// In this order, no user gets a right for a moment only: the mode never applies to a group that the file does not
    /// keep. The user is set last, because only a file's owner may change its mode, and root needs `CAP_FOWNER` for it.
    pub(super) fn set_access(&self, file: &Descriptor, mode: u32) -> Result<()> {
        let stat = fs::fstat(file).map_err(|errno| Error::system(self.name, "fstat", errno))?;
        let (uid, gid) = self.options.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let now = stat.st_mode & 0o7777;
        if (stat.st_uid, stat.st_gid, now) == (uid, gid, mode) {
            return Ok(());
        }
        if stat.st_gid != gid {
            // A file that a dead creator left may be accessible to its group.
            if now & !OWNER_ALONE != 0 {
                self.change_mode(file, OWNER_ALONE)?;
            }
            self.change_owner(file, None, Some(gid))?;
        }
        self.change_mode(file, mode)?;
        if stat.st_uid == uid { Ok(()) } else { self.change_owner(file, Some(uid), None) }
    }

    fn change_mode(&self, file: &Descriptor, mode: u32) -> Result<()> {
        fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|errno| Error::system(self.name, "fchmod", errno))
    }

    fn change_owner(&self, file: &Descriptor, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (user, group) = (uid.map(rustix::process::Uid::from_raw), gid.map(rustix::process::Gid::from_raw));
        fs::fchown(file, user, group).map_err(|errno| {
            let to = match (uid, gid) {
                (Some(uid), _) => format!("user {uid}"),
                (None, gid) => format!("group {}", gid.unwrap_or(0)),
            };
            let source = match errno {
                Errno::PERM => io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "user {} may not give it to {to}: create it as root before dropping privileges, or leave out \
                         .owner()",
                        rustix::process::geteuid().as_raw(),
                    ),
                ),
                other => other.into(),
            };
            Error::system(self.name, "fchown", source)
        })
    }

    /// Returns an error if the host does not have or allow the memory, before any is allocated.
    pub(super) fn check_limits(&self, file: &Descriptor) -> Result<()> {
        let (name, size) = (|| self.name.to_owned(), self.regions.end as u64);
        let wanted = size.saturating_sub(allocated_bytes(self.name, file)?);
        // If the file system's limit is as large as the memory, the kernel kills processes before it returns an error.
        let free = free_space(file);
        if wanted > free {
            return Err(Error::from(Cause::NoSpace { name: name(), size, free }));
        }
        // The same happens if a control group is full.
        if let Some(Bound { limit, left, file }) = cgroup::memory_bound()
            && wanted > left
        {
            return Err(Error::from(Cause::MemoryLimit { name: name(), size, left, limit, file }));
        }
        // Growing a file beyond this limit raises SIGXFSZ, which kills a process that does not handle it.
        match getrlimit(Resource::Fsize).current {
            Some(limit) if limit < size => Err(Error::from(Cause::FileLimit { name: name(), size, limit })),
            _ => Ok(()),
        }
    }

    /// Sets the file's size and allocates all of its memory: the first access to a page that cannot be allocated raises
    /// SIGBUS.
    pub(super) fn allocate(&self, file: &Descriptor) -> Result<()> {
        let end = self.regions.end as u64;
        // Queried first, because the allocation itself reduces it.
        let free = free_space(file);
        if file_size(self.name, file)? < end {
            retry_on_intr(|| fs::ftruncate(file, end)).map_err(|errno| self.space_error(free, "ftruncate", errno))?;
        }
        let mut at = 0;
        let (mut step, mut interruptions) = (ALLOCATION_STEP, 0);
        while at < end {
            let len = step.min(end - at);
            match fs::fallocate(file, FallocateFlags::empty(), at, len) {
                Ok(()) => at += len,
                // The kernel has undone the step, so the next one must be shorter than the time between two signals.
                // Current kernels react to fatal signals only.
                Err(Errno::INTR) => {
                    interruptions += 1;
                    step = (step / 2).max(LEAST_ALLOCATION_STEP);
                    self.bear_with_signals(interruptions)?;
                }
                Err(errno) => return Err(self.space_error(free, "fallocate", errno)),
            }
        }
        Ok(())
    }

    /// Returns an error if signals have delayed the call for longer than other processes wait for it.
    fn bear_with_signals(&self, times: u64) -> Result<()> {
        let waited = self.started.elapsed();
        if waited < self.options.creation_timeout.max(LEAST_PATIENCE_WITH_SIGNALS) {
            return Ok(());
        }
        Err(Error::from(Cause::Interrupted { name: self.name.to_owned(), times, waited }))
    }

    pub(super) fn write_at(&self, file: &Descriptor, value: u64, word: usize) -> Result<()> {
        let written = retry_on_intr(|| rustix::io::pwrite(file, &value.to_ne_bytes(), word as u64 * 8))
            .map_err(|errno| self.space_error(free_space(file), "pwrite", errno))?;
        if written == 8 { Ok(()) } else { Err(Error::system(self.name, "pwrite", io::ErrorKind::WriteZero)) }
    }

    pub(super) fn space_error(&self, free: u64, call: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::NOSPC | Errno::FBIG | Errno::DQUOT | Errno::NOMEM => {
                Error::from(Cause::NoSpace { name: self.name.to_owned(), size: self.regions.end as u64, free })
            }
            Errno::OPNOTSUPP | Errno::NOSYS => Error::from(Cause::NoSharedMemory {
                name: self.name.to_owned(),
                found: format!("the file system of {SHM_DIR} cannot allocate memory in advance ({call}), like a ramfs"),
            }),
            Errno::ROFS => Error::from(Cause::ReadOnly { name: self.name.to_owned() }),
            other => Error::system(self.name, call, other),
        }
    }
}
