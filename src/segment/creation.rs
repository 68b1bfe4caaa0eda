//! How a segment comes to be: found or made, checked, finished.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::fs::{self, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::differences::differences;
use super::{
    Birth, BusId, ByteLock, Memory, OWNER_ALONE, SHM_DIR, Segment, allocated_bytes, check_holes, check_type,
    checked_name, create_file, file_size, free_space, is_any_seat_held, links, map_named, native_words, not_found,
    open_error, open_file, read_at, regions, remove, reopen,
};
use crate::error::{Cause, Difference, Error, Result};
use crate::os::cgroup::{self, Bound};
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::mapping::Mapping;
use crate::os::sys;
use crate::segment::fingerprint::fingerprint;
use crate::segment::geometry::{Geometry, PoolSize, Regions};
use crate::segment::layout::{FORMING, HEADER_BYTES, LAYOUT_VERSION, header_word, layout_version, magic};
use crate::segment::options::SegmentOptions;
use crate::segment::pools::{POOLS, PoolSpec};
use crate::segment::unique_hash::UniqueHash;
use crate::sync::{Ordering, fence};

/// The byte whose lock is the right to finish a file. Locks may lie beyond a file's end, and these do.
pub(super) const CREATION_BYTE: u64 = 1 << 62;

/// How often a call starts again because the name was removed or given away under its hands.
const ROUNDS: u32 = 1000;

/// How long to sleep before asking again whether another creator is done.
const CREATION_NAP: Duration = Duration::from_millis(1);

/// Bytes allocated at once: few enough that signals do not keep interrupting it.
const ALLOCATION_STEP: u64 = 16 << 20;

/// Bytes allocated at once where signals interrupt it nevertheless: a page, which nothing interrupts on the way.
pub(super) const LEAST_ALLOCATION_STEP: u64 = 4096;

/// How long signals may interrupt an allocation, if the creation's timeout is shorter.
const LEAST_PATIENCE_WITH_SIGNALS: Duration = Duration::from_millis(100);

/// How far a file has come, by its first word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Empty or forming.
    Unfinished,
    /// A segment of this layout.
    Finished,
    /// A segment of another layout.
    Layout(u32),
    /// Not seqcast's. The text says what is there.
    Foreign(String),
}

impl State {
    /// While a creator is at work the answer may be any but a wrong `Finished`: the word is not read in one piece.
    pub(super) fn of(name: &str, file: &Descriptor) -> Result<State> {
        let mut word = [0; 8];
        let len = read_at(name, file, &mut word, 0)?;
        let first = u64::from_ne_bytes(word);
        Ok(match (len, layout_version(first)) {
            (0, _) => State::Unfinished,
            (1..8, _) => State::Foreign(format!("{len} bytes")),
            (_, Some(LAYOUT_VERSION)) => State::Finished,
            (_, Some(other)) => State::Layout(other),
            (_, None) if first == FORMING => State::Unfinished,
            (_, None) => State::Foreign(format!("its first word is {first:#018x}")),
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

/// One call that shall end with a named segment.
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
            // Whether or not it will be made: an option that is wrong is wrong every time.
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

    /// `None` if the name was removed or given away meanwhile: all must begin again.
    pub(super) fn attempt(&self) -> Result<Option<Segment>> {
        let Some(found) = self.open_or_make()? else { return Ok(None) };
        let checked = self.check(&found.file);
        if found.made && checked.is_err() {
            self.give_up(&found.file);
        }
        let (inode, state, lock) = checked?;
        let name = self.name.clone();
        match state {
            State::Finished if self.intent == Intent::Create => Err(Error::from(Cause::Exists { name })),
            State::Finished => {
                drop(lock);
                self.open_finished(found.file)
            }
            State::Unfinished if Inode::of_name(&name)? != Some(inode) => Ok(None),
            State::Unfinished if self.may_create() => self.finish(found, inode),
            State::Unfinished => Err(Error::from(Cause::Unfinished { name })),
            State::Layout(found) => Err(Error::from(Cause::Layout { name, found, expected: LAYOUT_VERSION })),
            State::Foreign(found) => Err(Error::from(Cause::Foreign { name, found })),
        }
    }

    /// What the file is and how far it has come, with the right to finish it if it is unfinished and may be finished.
    fn check(&self, file: &Descriptor) -> Result<(Inode, State, Option<ByteLock>)> {
        let inode = self.check_access(file)?;
        let state = State::of(&self.name, file)?;
        if state == State::Finished {
            return Ok((inode, state, None));
        }
        if !self.may_create() {
            return Ok((inode, self.outwait_creator(file)?, None));
        }
        let lock = self.lock_creation(file)?;
        Ok((inode, State::of(&self.name, file)?, Some(lock)))
    }

    /// Takes back the name that this call has just given to `file`, unless another creator has begun with it.
    pub(super) fn give_up(&self, file: &Descriptor) {
        // On the description that made it, since there may be no descriptor left for one of its own. The error that led
        // here is the one to report.
        if !matches!(sys::try_lock_byte(file, CREATION_BYTE), Ok(true)) {
            return;
        }
        let is_unused = matches!(State::of(&self.name, file), Ok(State::Unfinished));
        if is_unused && file.inode().has_name(&self.name) {
            let _ = remove(&self.name);
        }
        let _ = sys::unlock_byte(file, CREATION_BYTE);
    }

    pub(super) fn open_or_make(&self) -> Result<Option<Found>> {
        let access = if self.intent == Intent::Inspect { OFlags::RDONLY } else { OFlags::RDWR };
        // Without O_CREAT first: with it, fs.protected_regular refuses what another user made in a sticky directory.
        match open_file(&self.name, access) {
            Ok(file) => return Ok(Some(Found { file, made: false })),
            Err(Errno::NOENT) if self.may_create() => {}
            Err(Errno::NOENT) => return Err(not_found(&self.name)),
            // Somebody has a lease on it, to unlink what nobody has open (`unheld`).
            Err(Errno::WOULDBLOCK) => {
                self.nap()?;
                return Ok(None);
            }
            Err(errno) => return Err(open_error(&self.name, errno)),
        }
        match create_file(&self.name) {
            Ok(file) => Ok(Some(Found { file, made: true })),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(self.making_error(errno)),
        }
    }

    /// Why there cannot be a new file.
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
                    let size = self.options.geometry().and_then(|sizes| regions(&self.name, &sizes));
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

    /// Whether the file is one that this caller trusts.
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
        // None is one that was just unlinked.
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

    /// Waits until no creator is at work on `file`. Takes no lock, so that an opener that is stopped holds up no
    /// creator.
    pub(super) fn outwait_creator(&self, file: &Descriptor) -> Result<State> {
        loop {
            let locked = sys::is_byte_locked(file, CREATION_BYTE)
                .map_err(|error| Error::system(&self.name, "fcntl(F_OFD_GETLK)", error))?;
            // After the look at the lock, since a creator unlocks last.
            let state = State::of(&self.name, file)?;
            if !locked || state == State::Finished {
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
        // Again, since its creator may have changed them while we waited for it.
        self.check_access(&file)?;
        let header = HeaderCopy::read(&self.name, &file)?;
        let geometry = header.check(&self.name, &file)?;
        let regions = regions(&self.name, &geometry)?;
        let size = file_size(&self.name, &file)?;
        if size < regions.end as u64 {
            return Err(Error::from(Cause::Truncated { name: self.name.clone(), size, expected: regions.end as u64 }));
        }
        if header.word(header_word!(size)) != regions.end as u64 {
            return Err(Error::from(Cause::Corrupt {
                name: self.name.clone(),
                what: "its size is not that of its parts",
            }));
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
        if !memory.has_nonce(header.pair(header_word!(nonce))) {
            return Ok(None);
        }
        Ok(Some(Segment {
            name: self.name.clone(),
            file,
            id: BusId::of_nonce(header.pair(header_word!(nonce))),
            memory,
            unique_hash: UniqueHash::new(header.pair(header_word!(hash_key))),
            created: false,
            differences,
            differences_reported: AtomicBool::new(false),
            unlinker: None,
        }))
    }

    /// What this call wants of a segment that it would create, and `file` is not. Who merely opens takes it as it is.
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

    /// Makes an unfinished file a segment. The caller has the creation lock.
    pub(super) fn finish(&self, found: Found, inode: Inode) -> Result<Option<Segment>> {
        let geometry = self.options.geometry()?;
        let regions = regions(&self.name, &geometry)?;
        let draft = Draft { name: &self.name, options: self.options, started: self.started, geometry, regions };
        let formed = self.unlinker().and_then(|unlinker| {
            let formed = draft.form(&found.file)?;
            Ok(formed.map(|(memory, birth)| (memory, birth, unlinker)))
        });
        if formed.is_err() {
            draft.undo(&found, inode);
        }
        // Under its name others find it from now on, if the name still leads here.
        let Some((memory, birth, unlinker)) = formed? else { return Ok(None) };
        if Inode::of_name(&self.name)? != Some(inode) {
            return Ok(None);
        }
        Ok(Some(Segment {
            name: self.name.clone(),
            file: found.file,
            id: BusId::of_nonce(birth.nonce),
            memory,
            unique_hash: UniqueHash::new(birth.hash_key),
            created: true,
            differences: Vec::new(),
            differences_reported: AtomicBool::new(false),
            unlinker,
        }))
    }

    pub(super) fn unlinker(&self) -> Result<Option<ForkGuard>> {
        let guard = || ForkGuard::new().map_err(|failed| Error::system(&self.name, failed.call, failed.source));
        self.options.unlink_on_drop.then(guard).transpose()
    }
}

/// A file that the name led to.
pub(super) struct Found {
    pub(super) file: Descriptor,
    /// Whether this call gave the name to it.
    pub(super) made: bool,
}

/// A segment to be.
pub(super) struct Draft<'a> {
    pub(super) name: &'a str,
    pub(super) options: &'a SegmentOptions,
    /// When the call began that makes it.
    pub(super) started: Instant,
    pub(super) geometry: Geometry,
    pub(super) regions: Regions,
}

impl Draft<'_> {
    /// From empty or forming to finished. `None` if the name leads elsewhere by now.
    pub(super) fn form(&self, file: &Descriptor) -> Result<Option<(Memory, Birth)>> {
        self.check_limits(file)?;
        // From here on the file is known for an unfinished segment, whatever size it has.
        self.write_at(file, FORMING, header_word!(magic))?;
        self.wipe(file)?;
        self.set_access(file, self.options.mode)?;
        self.allocate(file)?;
        let birth = Birth::now(self.name)?;
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

    /// Takes back what a failed `form` did.
    pub(super) fn undo(&self, found: &Found, inode: Inode) {
        // The error that led here is the one to report.
        if !found.made {
            let _ = self.wipe(&found.file);
        } else if inode.has_name(self.name) {
            let _ = remove(self.name);
        }
    }

    /// Zeroes all but the first word, and gives its memory back.
    pub(super) fn wipe(&self, file: &Descriptor) -> Result<()> {
        let size = file_size(self.name, file)?;
        if size <= 8 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        retry_on_intr(|| fs::fallocate(file, punch, 8, size - 8))
            .map_err(|errno| self.space_error(free_space(file), "fallocate(FALLOC_FL_PUNCH_HOLE)", errno))
    }

    /// Gives the file its group, then its mode, then its user.
    ///
    /// In this order nobody gets a right by the way: the mode never counts for a group that the file does not stay
    /// with. The user comes last, since only a file's owner may change its mode: root without `CAP_FOWNER` is no
    /// exception.
    pub(super) fn set_access(&self, file: &Descriptor, mode: u32) -> Result<()> {
        let stat = fs::fstat(file).map_err(|errno| Error::system(self.name, "fstat", errno))?;
        let (uid, gid) = self.options.owner.unwrap_or((stat.st_uid, stat.st_gid));
        let now = stat.st_mode & 0o7777;
        if (stat.st_uid, stat.st_gid, now) == (uid, gid, mode) {
            return Ok(());
        }
        if stat.st_gid != gid {
            // One that a dead creator left may be open to its group.
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

    /// Refuses what the host does not have or allow, before a byte is taken.
    pub(super) fn check_limits(&self, file: &Descriptor) -> Result<()> {
        let (name, size) = (|| self.name.to_owned(), self.regions.end as u64);
        let wanted = size.saturating_sub(allocated_bytes(self.name, file)?);
        // Where the file system is as large as the memory, the kernel ends processes before it says that there is no more.
        let free = free_space(file);
        if wanted > free {
            return Err(Error::from(Cause::NoSpace { name: name(), size, free }));
        }
        // So it does where a control group is full.
        if let Some(Bound { limit, left, file }) = cgroup::memory_bound()
            && wanted > left
        {
            return Err(Error::from(Cause::MemoryLimit { name: name(), size, left, limit, file }));
        }
        // A file that grows beyond it is SIGXFSZ, which ends a process that knows nothing of it.
        match getrlimit(Resource::Fsize).current {
            Some(limit) if limit < size => Err(Error::from(Cause::FileLimit { name: name(), size, limit })),
            _ => Ok(()),
        }
    }

    /// Gives the file its size and all of its memory: a page that is missing when it is first touched is SIGBUS.
    pub(super) fn allocate(&self, file: &Descriptor) -> Result<()> {
        let end = self.regions.end as u64;
        // Now, since afterwards a part of it is ours.
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
                // Nothing of the step is left then, so that the next one must be shorter than the signals are apart. Kernels
                // of today hear fatal signals only.
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

    /// An error once signals have kept the call for longer than others wait for it.
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
                found: format!("the file system of {SHM_DIR} cannot set memory aside ({call}), as a ramfs cannot"),
            }),
            Errno::ROFS => Error::from(Cause::ReadOnly { name: self.name.to_owned() }),
            other => Error::system(self.name, call, other),
        }
    }
}

/// A header as it was read once: what was checked is what is used.
pub(super) struct HeaderCopy([u64; HEADER_BYTES / 8]);

impl HeaderCopy {
    pub(super) fn read(name: &str, file: &Descriptor) -> Result<HeaderCopy> {
        let mut bytes = [0; HEADER_BYTES];
        let len = read_at(name, file, &mut bytes, 0)?;
        if len < HEADER_BYTES {
            return Err(Error::from(Cause::Truncated {
                name: name.to_owned(),
                size: file_size(name, file)?,
                expected: HEADER_BYTES as u64,
            }));
        }
        Ok(HeaderCopy(native_words(&bytes)))
    }

    pub(super) fn word(&self, word: usize) -> u64 {
        self.0[word]
    }

    pub(super) fn pair(&self, word: usize) -> [u64; 2] {
        [self.0[word], self.0[word + 1]]
    }

    /// Whether this build can use the segment `file` with this header. Returns its sizes.
    pub(super) fn check(&self, name: &str, file: &Descriptor) -> Result<Geometry> {
        let name = || name.to_owned();
        if self.word(header_word!(magic)) != magic() {
            return Err(Error::from(Cause::Corrupt { name: name(), what: "its first word changes while it is read" }));
        }
        let (found, expected) = (self.word(header_word!(fingerprint)), fingerprint());
        if found != expected {
            return Err(Error::from(Cause::Fingerprint { name: name(), found, expected }));
        }
        // Either may be unknown: in a container without /proc, say.
        let (then, now) = (self.pair(header_word!(boot_id)), sys::boot_id());
        let may_be_stale = then != now && then != [0; 2] && now != [0; 2];
        // A container may be shown a boot id of its own. The locks are the kernel's: who has one lives in this boot.
        if may_be_stale && !is_any_seat_held(&name(), file)? {
            let number = |[high, low]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
            return Err(Error::from(Cause::OtherBoot { name: name(), found: number(then), expected: number(now) }));
        }
        let size =
            |spec: &PoolSpec| PoolSize { cells: self.word(spec.cells_word), stride: self.word(spec.stride_word) };
        Ok(Geometry { seats: self.word(header_word!(seats)), pools: POOLS.each_ref().map(size) })
    }
}
