//! Finds or creates a named segment, checks it, and finishes it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::differences::differences;
use super::draft::Draft;
use super::file::{check_type, create_file, map_named, not_found, open_error, open_file, reopen};
use super::geometry::Geometry;
use super::header::HeaderCopy;
use super::layout::{FORMING, LAYOUT_VERSION, header_word, layout_version};
use super::locks::{ByteLock, CREATION_BYTE};
use super::memory::{Birth, Memory};
use super::names::{SHM_DIR, checked_name};
use super::options::SegmentOptions;
use super::remove::{Unlinker, remove};
use super::storage::{check_holes, file_size, links, read_at};
use super::{Segment, fork_guard};
use crate::error::{Cause, Difference, Error, Result};
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::mapping::Mapping;
use crate::os::sys;
use crate::sync::{Ordering, fence};

/// How often a call starts again because the name was removed or replaced during the call.
const ROUNDS: u32 = 1000;

/// The sleep between two checks of another creator's progress.
const CREATION_NAP: Duration = Duration::from_millis(1);

/// The state of a file, by its first word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileState {
    /// Empty or forming.
    Unfinished,
    /// A segment of this layout.
    Finished,
    /// A segment of another layout.
    Layout(u32),
    /// Not a segment of seqcast. The text describes the content.
    Foreign(String),
}

impl FileState {
    /// While a creator is at work, any result is possible except a wrong `Finished`: the word is not read atomically.
    pub(super) fn of(name: &str, file: &Descriptor) -> Result<FileState> {
        let mut word = [0; 8];
        let len = read_at(name, file, &mut word, 0)?;
        let first = u64::from_ne_bytes(word);
        Ok(match (len, layout_version(first)) {
            (0, _) => FileState::Unfinished,
            (1..8, _) => FileState::Foreign(format!("{len} bytes")),
            (_, Some(LAYOUT_VERSION)) => FileState::Finished,
            (_, Some(other)) => FileState::Layout(other),
            (_, None) if first == FORMING => FileState::Unfinished,
            (_, None) => FileState::Foreign(format!("its first word is {first:#018x}")),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Create,
    Open,
    OpenOrCreate,
    Inspect,
}

/// One call that opens or creates a named segment.
pub(super) struct Call<'a> {
    name: String,
    options: &'a SegmentOptions,
    intent: Intent,
    started: Instant,
}

impl<'a> Call<'a> {
    pub(super) fn new(name: &str, options: &'a SegmentOptions, intent: Intent) -> Result<Call<'a>> {
        Ok(Call { name: checked_name(name)?, options, intent, started: Instant::now() })
    }

    pub(super) fn run(&self) -> Result<Segment> {
        if self.may_create() {
            // Also if the segment exists already: a wrong option is always an error.
            self.options.geometry()?;
        }
        for _ in 0..ROUNDS {
            if let Some(segment) = self.attempt()? {
                return Ok(segment);
            }
        }
        Err(Error::from(Cause::Replaced { name: self.name.clone() }))
    }

    pub(super) fn may_create(&self) -> bool {
        matches!(self.intent, Intent::Create | Intent::OpenOrCreate)
    }

    /// Returns `None` if the name was removed or replaced in the meantime. The caller starts again.
    pub(super) fn attempt(&self) -> Result<Option<Segment>> {
        let Some(found) = self.open_or_make()? else { return Ok(None) };
        let checked = self.check(&found.file);
        if found.made && checked.is_err() {
            self.give_up(&found.file);
        }
        let (inode, state, lock) = checked?;
        let name = self.name.clone();
        match state {
            FileState::Finished if self.intent == Intent::Create => Err(Error::from(Cause::Exists { name })),
            FileState::Finished => {
                drop(lock);
                self.open_finished(found.file)
            }
            FileState::Unfinished if Inode::of_name(&name)? != Some(inode) => Ok(None),
            FileState::Unfinished if self.may_create() => self.finish(found, inode),
            FileState::Unfinished => Err(Error::from(Cause::Unfinished { name })),
            FileState::Layout(found) => Err(Error::from(Cause::Layout { name, found, expected: LAYOUT_VERSION })),
            FileState::Foreign(found) => Err(Error::from(Cause::Foreign { name, found })),
        }
    }

    /// Returns the file's identity and state. If the file is not finished and this call may create, also returns the
    /// creation lock.
    fn check(&self, file: &Descriptor) -> Result<(Inode, FileState, Option<ByteLock>)> {
        let inode = self.check_access(file)?;
        let state = FileState::of(&self.name, file)?;
        if state == FileState::Finished {
            return Ok((inode, state, None));
        }
        if !self.may_create() {
            return Ok((inode, self.outwait_creator(file)?, None));
        }
        let lock = self.lock_creation(file)?;
        Ok((inode, FileState::of(&self.name, file)?, Some(lock)))
    }

    /// Removes the name that this call has just given to `file`, unless another creator has begun to use it.
    pub(super) fn give_up(&self, file: &Descriptor) {
        // Uses the existing description, because there may be no descriptor left for a new one. Errors are ignored: the
        // error that led here is the one to report.
        if !matches!(sys::try_lock_byte(file, CREATION_BYTE), Ok(true)) {
            return;
        }
        let is_unused = matches!(FileState::of(&self.name, file), Ok(FileState::Unfinished));
        if is_unused && file.inode().has_name(&self.name) {
            let _ = remove(&self.name);
        }
        let _ = sys::unlock_byte(file, CREATION_BYTE);
    }

    pub(super) fn open_or_make(&self) -> Result<Option<NamedFile>> {
        let access = if self.intent == Intent::Inspect { OFlags::RDONLY } else { OFlags::RDWR };
        // Without O_CREAT first: with it, fs.protected_regular refuses what another user made in a sticky directory.
        match open_file(&self.name, access) {
            Ok(file) => return Ok(Some(NamedFile { file, made: false })),
            Err(Errno::NOENT) if self.may_create() => {}
            Err(Errno::NOENT) => return Err(not_found(&self.name)),
            // Another process has a lease on the file, to unlink a segment that no process has open (`unlink_unheld`).
            Err(Errno::WOULDBLOCK) => {
                self.nap()?;
                return Ok(None);
            }
            Err(errno) => return Err(open_error(&self.name, errno)),
        }
        match create_file(&self.name) {
            Ok(file) => Ok(Some(NamedFile { file, made: true })),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(self.making_error(errno)),
        }
    }

    /// Returns why a new file cannot be created.
    fn making_error(&self, errno: Errno) -> Error {
        let name = || self.name.clone();
        match errno {
            Errno::NOENT | Errno::NOTDIR => not_found(&self.name),
            Errno::ACCESS | Errno::PERM => {
                let user = rustix::process::geteuid().as_raw();
                let mode = fs::stat(SHM_DIR).map_or(0, |stat| stat.st_mode & 0o7777);
                let found = format!("user {user} may not make files in {SHM_DIR}, which has mode {mode:04o}");
                Error::from(Cause::NoSharedMemory { name: name(), found })
            }
            Errno::NOSPC | Errno::DQUOT => match fs::statvfs(SHM_DIR) {
                Ok(of) if of.f_files > 0 && of.f_favail == 0 => {
                    Error::from(Cause::NoInodes { name: name(), inodes: of.f_files })
                }
                of => {
                    let free = of.map_or(0, |of| of.f_bavail.saturating_mul(of.f_frsize));
                    let size = self.options.geometry().and_then(|sizes| sizes.regions(&self.name));
                    Error::from(Cause::NoSpace {
                        name: name(),
                        size: size.map_or(0, |regions| regions.end as u64),
                        free,
                    })
                }
            },
            other => open_error(&self.name, other),
        }
    }

    /// Returns an error if the caller does not accept the file's type, owner, mode or number of links.
    pub(super) fn check_access(&self, file: &Descriptor) -> Result<Inode> {
        let name = || self.name.clone();
        let stat = fs::fstat(file).map_err(|errno| Error::system(&self.name, "fstat", errno))?;
        check_type(&self.name, stat.st_mode)?;
        let mut accepted = vec![rustix::process::geteuid().as_raw()];
        accepted.extend(self.options.owner.map(|(uid, _)| uid));
        if !accepted.contains(&stat.st_uid) {
            return Err(Error::from(Cause::Owner { name: name(), found: stat.st_uid, accepted }));
        }
        let mode = stat.st_mode & 0o7777;
        if mode & !self.options.mode != 0 {
            return Err(Error::from(Cause::Mode { name: name(), found: mode, accepted: self.options.mode }));
        }
        // A file without links was just unlinked.
        if stat.st_nlink > 1 && self.intent != Intent::Inspect {
            return Err(Error::from(Cause::Linked { name: name(), links: links(&stat) }));
        }
        Ok(Inode::of(&stat))
    }

    pub(super) fn lock_creation(&self, file: &Descriptor) -> Result<ByteLock> {
        let own = reopen(&self.name, file)?;
        loop {
            match sys::try_lock_byte(&own, CREATION_BYTE) {
                Ok(true) => return Ok(ByteLock { file: own, byte: CREATION_BYTE }),
                Ok(false) => self.nap()?,
                Err(error) => return Err(Error::system(&self.name, "fcntl(F_OFD_SETLK)", error)),
            }
        }
    }

    /// Waits until no creator is at work on `file`. Takes no lock, so a stopped opener never delays a creator.
    pub(super) fn outwait_creator(&self, file: &Descriptor) -> Result<FileState> {
        loop {
            let locked = sys::is_byte_locked(file, CREATION_BYTE)
                .map_err(|error| Error::system(&self.name, "fcntl(F_OFD_GETLK)", error))?;
            // Read after the check of the lock, because a creator unlocks last.
            let state = FileState::of(&self.name, file)?;
            if !locked || state == FileState::Finished {
                return Ok(state);
            }
            self.nap()?;
        }
    }

    pub(super) fn nap(&self) -> Result<()> {
        if self.options.creation_timeout.is_zero() {
            return Err(Error::from(Cause::Busy { name: self.name.clone(), waited: Duration::ZERO }));
        }
        let waited = self.started.elapsed();
        let Some(left) = self.options.creation_timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(Error::from(Cause::Busy { name: self.name.clone(), waited }));
        };
        std::thread::sleep(left.min(CREATION_NAP));
        Ok(())
    }

    pub(super) fn open_finished(&self, file: Descriptor) -> Result<Option<Segment>> {
        // Acquire: the header is read after the magic, and the creator stored the magic after the header.
        fence(Ordering::Acquire);
        // Again: the creator may have changed owner and mode during the wait.
        self.check_access(&file)?;
        let header = HeaderCopy::read(&self.name, &file)?;
        let geometry = header.check(&self.name, &file)?;
        let regions = geometry.regions(&self.name)?;
        let size = file_size(&self.name, &file)?;
        if size < regions.end as u64 {
            return Err(Error::from(Cause::Truncated { name: self.name.clone(), size, expected: regions.end as u64 }));
        }
        if header.word(header_word!(size)) != regions.end as u64 {
            let what = "its size is not that of its parts";
            return Err(Error::from(Cause::Corrupt { name: self.name.clone(), what }));
        }
        check_holes(&self.name, &file, regions.end as u64)?;
        let mapping = if self.intent == Intent::Inspect {
            let mapping = Mapping::read_only(file.as_fd(), regions.end);
            Some(mapping.map_err(|error| Error::system(&self.name, "mmap", error))?)
        } else {
            map_named(&self.name, regions.end)?
        };
        let Some(mapping) = mapping else { return Ok(None) };
        let differences = self.differences(&file, &geometry)?;
        let memory = Memory::of(mapping, geometry, regions, self.options);
        let birth = Birth { nonce: header.pair(header_word!(nonce)), hash_key: header.pair(header_word!(hash_key)) };
        if !memory.has_nonce(birth.nonce) {
            return Ok(None);
        }
        Ok(Some(Segment { differences, ..Segment::found(&self.name, file, memory, &birth) }))
    }

    /// Returns the options in which `file` differs from this call's options. A call that only opens accepts every
    /// difference.
    fn differences(&self, file: &Descriptor, geometry: &Geometry) -> Result<Vec<Difference>> {
        if self.intent != Intent::OpenOrCreate {
            return Ok(Vec::new());
        }
        let stat = fs::fstat(file).map_err(|errno| Error::system(&self.name, "fstat", errno))?;
        let differences = differences(self.options, geometry, &stat);
        if self.options.strict && !differences.is_empty() {
            return Err(Error::from(Cause::OptionsDiffer { name: self.name.clone(), differences }));
        }
        Ok(differences)
    }

    /// Turns an unfinished file into a segment. The caller holds the creation lock.
    pub(super) fn finish(&self, found: NamedFile, inode: Inode) -> Result<Option<Segment>> {
        let draft = Draft::new(&self.name, self.options, self.started)?;
        let formed = self.unlinking_process().and_then(|guard| {
            let formed = draft.form(&found.file)?;
            Ok(formed.map(|(memory, birth)| (memory, birth, guard)))
        });
        if formed.is_err() {
            draft.undo(&found, inode);
        }
        // From now on, other processes find it by its name, if the name still leads to this file.
        let Some((memory, birth, guard)) = formed? else { return Ok(None) };
        if Inode::of_name(&self.name)? != Some(inode) {
            return Ok(None);
        }
        let unlinker = guard.map(|guard| Unlinker { name: self.name.clone(), inode, guard });
        Ok(Some(Segment { _unlinker: unlinker, ..Segment::made(&self.name, found.file, memory, &birth) }))
    }

    /// Returns a guard of this process if it is to unlink the segment's name.
    fn unlinking_process(&self) -> Result<Option<ForkGuard>> {
        self.options.unlink_on_drop.then(|| fork_guard(&self.name)).transpose()
    }
}

/// A file that the name led to.
pub(super) struct NamedFile {
    pub(super) file: Descriptor,
    /// `true` if this call gave the name to it.
    pub(super) made: bool,
}
