//! Opens and creates a segment's file.

use rustix::fs::{self, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

use super::names::{ANONYMOUS, SHM_DIR, path};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::mapping::Mapping;

/// The mode of a file during its creation.
pub(super) const OWNER_ALONE: u32 = 0o600;

pub(super) fn open_file(name: &str, access: OFlags) -> std::result::Result<Descriptor, Errno> {
    // O_NOFOLLOW: a symbolic link in a directory that every user may write to may be a trap. O_NONBLOCK: so may a pipe.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Descriptor::of(|| fs::open(path(name), flags, Mode::from_raw_mode(OWNER_ALONE)))
}

/// Creates the file `name`. Only its owner can read and write it until the creator sets its mode. Returns `EEXIST` if
/// the name exists already.
pub(super) fn create_file(name: &str) -> std::result::Result<Descriptor, Errno> {
    // Created without a name first: the process's umask may deny the owner access, and a creator that is killed before
    // it sets the mode would leave a file that only root can open.
    if let Ok(file) = unnamed_file() {
        let found = format!("/proc/self/fd/{}", file.number());
        match fs::linkat(CWD, found, CWD, path(name), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(file),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            // There is no /proc, or links are forbidden.
            Err(_) => {}
        }
    }
    let file = open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    // If this fails, the creation fails when it opens the file again.
    let _ = fs::fchmod(&file, Mode::from_raw_mode(OWNER_ALONE));
    Ok(file)
}

/// Creates a file without a name in the directory of segments. Not every file system supports that.
pub(super) fn unnamed_file() -> std::result::Result<Descriptor, Errno> {
    let mode = Mode::from_raw_mode(OWNER_ALONE);
    let file = Descriptor::of(|| fs::open(SHM_DIR, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode))?;
    fs::fchmod(&file, mode)?;
    Ok(file)
}

pub(super) fn open_error(name: &str, errno: Errno) -> Error {
    let foreign = |found: &str| Error::from(Cause::Foreign { name: name.to_owned(), found: found.to_owned() });
    match errno {
        Errno::ACCESS | Errno::PERM => denied(name),
        Errno::ISDIR => foreign("a directory"),
        Errno::LOOP => foreign("a symbolic link"),
        Errno::NXIO => foreign("a socket or device"),
        Errno::NOTDIR => not_found(name),
        Errno::ROFS => Error::from(Cause::ReadOnly { name: name.to_owned() }),
        other => Error::system(name, "open", other),
    }
}

/// Returns why the name leads to no file.
pub(super) fn not_found(name: &str) -> Error {
    let name = name.to_owned();
    match fs::stat(SHM_DIR) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Error::from(Cause::NotFound { name })
        }
        Ok(_) => Error::from(Cause::NoSharedMemory { name, found: format!("{SHM_DIR} is not a directory") }),
        Err(_) => {
            Error::from(Cause::NoSharedMemory { name, found: format!("there is no {SHM_DIR} as this process sees it") })
        }
    }
}

pub(super) fn denied(name: &str) -> Error {
    Error::from(Cause::Denied { name: name.to_owned(), uid: rustix::process::geteuid().as_raw() })
}

pub(super) fn check_type(name: &str, mode: u32) -> Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Error::from(Cause::Foreign { name: name.to_owned(), found: format!("a file of type {other:?}") })),
    }
}

/// Opens a new description of the file that `file` was opened on, for reading and writing.
pub(super) fn reopen(name: &str, file: &Descriptor) -> Result<Descriptor> {
    if file.is_ours() {
        let found = format!("/proc/self/fd/{}", file.number());
        match Descriptor::of(|| fs::open(&*found, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())) {
            Ok(own) if own.inode() == file.inode() => return Ok(own),
            // If there is no /proc, or if the number was just reused, the name remains.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(open_error(name, errno)),
        }
    }
    match open_by_name(name, file.inode(), OFlags::RDWR) {
        // The descriptor is valid, but there is no way to open a second one.
        Err(error) if error.kind() == ErrorKind::Descriptor && file.is_ours() => Err(match name {
            ANONYMOUS => open_error(name, Errno::NOENT),
            name => match not_found(name) {
                // A process that has called chroot has neither /proc nor the name.
                error if error.kind() == ErrorKind::NotFound => Cause::Replaced { name: name.to_owned() }.into(),
                other => other,
            },
        }),
        opened => opened,
    }
}

/// Opens the file `inode` by the segment's name, without a descriptor of it.
pub(super) fn open_by_name(name: &str, inode: Inode, access: OFlags) -> Result<Descriptor> {
    let lost = |why| Error::from(Cause::Descriptor { name: name.to_owned(), why });
    if name == ANONYMOUS {
        return Err(lost("it has no name to open it by again"));
    }
    match open_file(name, access) {
        Ok(own) if own.inode() == inode => Ok(own),
        Ok(_) | Err(Errno::NOENT) => Err(lost("its name no longer leads to it")),
        Err(errno) => Err(open_error(name, errno)),
    }
}

pub(super) fn anonymous_file() -> Result<Descriptor> {
    let create = |more| Descriptor::of(|| fs::memfd_create("seqcast", MemfdFlags::CLOEXEC | more));
    // Some hosts refuse a file that could be executed. Kernels before 6.3 do not know the flag that excludes it.
    create(MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| create(MemfdFlags::ALLOW_SEALING))
        .map_err(|errno| Error::system(ANONYMOUS, "memfd_create", errno))
}

/// Maps the file `name`. Returns `None` if it is gone or has fewer than `len` bytes, and so is not the file that was
/// checked.
pub(super) fn map_named(name: &str, len: usize) -> Result<Option<Mapping>> {
    match Mapping::named(name) {
        Ok(mapping) if mapping.len() >= len => Ok(Some(mapping)),
        Ok(_) => Ok(None),
        // Removed, or replaced by a file that is still empty.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        Err(error) => Err(Error::system(name, "mmap", error)),
    }
}
