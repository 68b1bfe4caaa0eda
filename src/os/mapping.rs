//! Maps a segment into this process. No other module maps shared memory or uses `shared_memory`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};
use rustix::shm;
use shared_memory::{ShmemConf, ShmemError};

use crate::os::descriptor::{Descriptor, Fillers};

/// Shared memory, mapped for as long as this value lives.
///
/// It is page-aligned and accessed only as atomics. A process that can write to the file can also truncate it, and then
/// an access beyond its new end is SIGBUS: only the file's owner and mode protect against that.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and no method here changes it after construction.
unsafe impl Send for Mapping {}
// SAFETY: as above; the memory itself is touched through atomics only.
unsafe impl Sync for Mapping {}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("base", &self.base).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `of_fd` or `named` mapped exactly this span, and pointers into it keep `self` alive.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl Mapping {
    /// Maps the whole file that `name` leads to now, for reading and writing. The caller must check that it is the
    /// intended file, because the name may lead to another file by now.
    pub(crate) fn named(name: &str) -> io::Result<Mapping> {
        // `shared_memory` opens a descriptor of its own, on any free number.
        let _fillers = Fillers::hold()?;
        let shmem = ShmemConf::new().os_id(name).open().map_err(io_error)?;
        let len = shmem.len();
        // It would keep that descriptor for as long as the mapping lives, and then close the number, whatever it leads
        // to by then. Therefore this maps the same pages a second time, and `shmem` ends here.
        // SAFETY: the mapping is shared and alive, and with an old size of 0 it stays as it is. The second mapping is
        // at an address of the kernel's choice and so touches no existing memory.
        match unsafe { rustix::mm::mremap(shmem.as_ptr().cast(), 0, len, MremapFlags::MAYMOVE) } {
            Ok(base) => Ok(Mapping { base: NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?, len }),
            Err(Errno::INVAL) => Mapping::opened(name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Does the same where a mapping cannot be mapped a second time: valgrind does not support that.
    fn opened(name: &str) -> io::Result<Mapping> {
        let file = Descriptor::of(|| shm::open(name, shm::OFlags::RDWR, Mode::empty()))?;
        let len = usize::try_from(rustix::fs::fstat(&file)?.st_size).map_err(|_| io::ErrorKind::InvalidData)?;
        Mapping::of_fd(file.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps the first `len` bytes of an anonymous file.
    pub(crate) fn anonymous(file: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Mapping::of_fd(file, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps the first `len` bytes of a file read-only. A store to them is SIGSEGV.
    pub(crate) fn read_only(file: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Mapping::of_fd(file, len, ProtFlags::READ)
    }

    fn of_fd(file: BorrowedFd<'_>, len: usize, protection: ProtFlags) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { rustix::mm::mmap(null_mut(), len, protection, MapFlags::SHARED, file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Mapping { base, len })
    }

    /// Gives every page its memory now. The kernel clears a page that was only allocated (`fallocate`) at the first
    /// touch of any process, and does not map it together with its neighbours before that: each first post of a lap
    /// would take a page fault of a microsecond or two. Linux before 5.14 cannot do this in advance, and takes the page
    /// faults.
    pub(crate) fn populate(&self) {
        // SAFETY: the span is exactly the mapping. Its pages are allocated already, and their bytes stay as they are.
        let _ = unsafe { rustix::mm::madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxPopulateWrite) };
    }

    /// Excludes the mapping from core dumps, in forked children too. A kernel without this feature dumps what
    /// `/proc/PID/coredump_filter` selects.
    pub(crate) fn keep_out_of_dumps(&self) {
        // SAFETY: the span is exactly the mapping, and the advice changes none of its bytes.
        let _ = unsafe { rustix::mm::madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxDontDump) };
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the 32-bit word `offset` bytes into the mapping, or `None` if it is not inside.
    #[inline]
    pub(crate) fn word32(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = offset.is_multiple_of(4) && offset.checked_add(4)? <= self.len;
        // SAFETY: the word lies inside the mapping, which `self` keeps, and it is aligned, because the mapping is
        // page-aligned. Any bit pattern is a valid `AtomicU32`.
        fits.then(|| unsafe { self.base.add(offset).cast().as_ref() })
    }

    /// Returns the 64-bit word `offset` bytes into the mapping, or `None` if it is not inside.
    #[inline]
    pub(crate) fn word64(&self, offset: usize) -> Option<&AtomicU64> {
        let fits = offset.is_multiple_of(8) && offset.checked_add(8)? <= self.len;
        // SAFETY: as for `word32`.
        fits.then(|| unsafe { self.base.add(offset).cast().as_ref() })
    }
}

/// One page of an open file, without the right to read or write it. As long as it is mapped, the open file description
/// and its locks live, whatever happens to its descriptors. Forked children do not have the page.
///
/// Dropping it does nothing, because in a forked child another mapping may be at the address: see
/// [`unmap`](HoldingPage::unmap).
#[derive(Debug)]
pub(crate) struct HoldingPage(NonNull<u8>);

// SAFETY: an address of this process that no code reads or writes.
unsafe impl Send for HoldingPage {}
// SAFETY: as above.
unsafe impl Sync for HoldingPage {}

impl HoldingPage {
    pub(crate) fn of(file: BorrowedFd<'_>) -> io::Result<HoldingPage> {
        let len = rustix::param::page_size();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
        let at = unsafe { rustix::mm::mmap(null_mut(), len, ProtFlags::empty(), MapFlags::SHARED, file, 0) }?;
        let page = HoldingPage(NonNull::new(at.cast()).ok_or(io::ErrorKind::InvalidData)?);
        // SAFETY: the advice is for the page just mapped.
        if let Err(errno) = unsafe { rustix::mm::madvise(at, len, Advice::LinuxDontFork) } {
            page.unmap();
            return Err(errno.into());
        }
        Ok(page)
    }

    /// Returns the address of the mapping.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Unmaps the page. Call it only in the process that mapped it: in another process the address may hold another
    /// mapping.
    pub(crate) fn unmap(&self) {
        // SAFETY: the page is still mapped, because its owner calls this once, and there are no pointers to it.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), rustix::param::page_size()) };
    }
}

/// Returns the system error behind an error of opening and mapping.
fn io_error(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapOpenFailed(errno) | ShmemError::UnknownOsError(errno) => {
            io::Error::from_raw_os_error(errno as i32)
        }
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(name: &str, len: usize) -> std::os::fd::OwnedFd {
        let file = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, len as u64).unwrap();
        file
    }

    /// Returns how much memory the mapping of the file `name` has according to the system, if the file is mapped.
    fn resident(name: &str) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, of_file) = maps.split_once(&format!("/memfd:{name} "))?;
        of_file.lines().find_map(|line| line.strip_prefix("Rss:")).map(|rss| rss.trim().to_owned())
    }

    #[test]
    fn a_mapping_is_there_for_as_long_as_it_lives() {
        const NAME: &str = "seqcast-mapped";
        let file = memory(NAME, 1 << 20);
        let mapping = Mapping::anonymous(file.as_fd(), 1 << 20).unwrap();
        assert_eq!(resident(NAME).unwrap(), "0 kB");
        mapping.populate();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let can_populate = (numbers.next(), numbers.next()) >= (Some(5), Some(14));
        assert_eq!(resident(NAME).unwrap(), if can_populate { "1024 kB" } else { "0 kB" });
        drop(mapping);
        assert_eq!(resident(NAME), None);
    }

    #[test]
    fn a_mapping_by_name_is_the_same_in_both_ways() {
        let name = seqcast_testkit::Name::new();
        let made = shm::open(&*name, shm::OFlags::CREATE | shm::OFlags::RDWR, Mode::from(0o600)).unwrap();
        rustix::fs::ftruncate(&made, 8192).unwrap();
        let mappings = [Mapping::named(&name).unwrap(), Mapping::opened(&name).unwrap()];
        for (mapping, value) in mappings.iter().zip([7, 8]) {
            assert_eq!(mapping.len(), 8192);
            mapping.word32(4096).unwrap().store(value, std::sync::atomic::Ordering::Relaxed);
            for other in &mappings {
                assert_eq!(other.word32(4096).unwrap().load(std::sync::atomic::Ordering::Relaxed), value);
            }
        }
    }

    #[test]
    fn g10_a_word_is_inside_the_mapping_and_aligned() {
        let file = memory("seqcast-words", 4096);
        let mapping = Mapping::anonymous(file.as_fd(), 4096).unwrap();
        for (offset, is_there) in [(0, true), (4, true), (4092, true), (4094, false), (2, false), (4096, false)] {
            assert_eq!(mapping.word32(offset).is_some(), is_there, "{offset}");
        }
        assert!(mapping.word32(usize::MAX - 3).is_none());
        for (offset, is_there) in [(0, true), (8, true), (4088, true), (4092, false), (4, false), (4096, false)] {
            assert_eq!(mapping.word64(offset).is_some(), is_there, "{offset}");
        }
        assert!(mapping.word64(usize::MAX - 7).is_none());
    }
}
