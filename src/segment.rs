//! The segment: made, found, checked, locked and removed.
//!
//! ```text
//!          O_CREAT|O_EXCL         pwrite              store of the magic
//! no name ----------------> empty --------> forming --------------------> finished ----> no name
//!                            ^                 |                                  unlink
//!                            +--- whoever has the lock on CREATION_BYTE goes on
//! ```
//!
//! Whoever has that lock is the only one to change a file that is not finished, and the kernel takes it from the dead. A
//! finished file needs no lock. A creator writes [`FORMING`] before it gives the file a size, so that one killed at any
//! step leaves a file that is empty or forming, and the next one starts again from there. Nobody ever makes a file
//! smaller: somebody may have mapped it.
//!
//! NOT promised: a name that leads to the same segment for ever. Anybody with the right to may remove it, and who has it
//! open then works on, on a segment that nobody else will find.

mod file;
mod unheld;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{self, FallocateFlags, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Result};
use crate::layout::{
    FORMING, Geometry, HEADER_BYTES, LAYOUT_VERSION, Options, Regions, fingerprint, header_word, layout_version, magic,
};
use crate::mapping::Mapping;
use crate::protocol::claims::Claims;
use crate::protocol::pool::Pool;
use crate::protocol::record;
use crate::protocol::ring::Ring;
use crate::sync::{AtomicU32, Ordering, Words, fence};
use crate::sys::{self, ForkGuard};

pub use self::file::FileFacts;
pub(crate) use self::file::file_names;
pub(crate) use self::unheld::unlink_unheld;

const NAME_RULE: &str = "after a leading slash, which may be left out, it must be 1 to 200 of the characters A-Z a-z 0-9 . _ - \
                         and neither . nor ..";
const MOST_NAME_BYTES: usize = 200;
/// Characters of a bad name that an error repeats.
const SHOWN_NAME_CHARS: usize = 64;
const ANONYMOUS: &str = "(anonymous)";
/// Where the system keeps named shared memory.
const SHM_DIR: &str = "/dev/shm";

/// The byte whose lock is the right to finish a file. Locks may lie beyond a file's end, and these do.
const CREATION_BYTE: u64 = 1 << 62;
/// The byte whose lock is the hold on record 0; the other records' follow.
const RECORD_BYTES: u64 = 1 << 61;

/// How often a call starts again because the name was removed or given away under its hands.
const ROUNDS: u32 = 1000;
/// How long to sleep before asking again whether another creator is done.
const CREATION_NAP: Duration = Duration::from_millis(1);
/// Bytes allocated at once: few enough that signals do not keep interrupting it.
const ALLOCATION_STEP: u64 = 16 << 20;

/// A segment, mapped and open.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    /// Never locked: its description is shared with forked children.
    file: OwnedFd,
    inode: Inode,
    memory: Memory,
    hash_key: [u64; 2],
    created: bool,
    unlinker: Option<ForkGuard>,
}

impl Segment {
    /// Makes the segment `name`, or finishes one that was left unfinished.
    pub(crate) fn create(name: &str, options: &Options) -> Result<Segment> {
        Call::new(name, options, Intent::Create)?.run()
    }

    /// Opens the segment `name`.
    pub(crate) fn open(name: &str, options: &Options) -> Result<Segment> {
        Call::new(name, options, Intent::Open)?.run()
    }

    /// Opens the segment `name`, or makes or finishes it.
    pub(crate) fn open_or_create(name: &str, options: &Options) -> Result<Segment> {
        Call::new(name, options, Intent::OpenOrCreate)?.run()
    }

    /// Opens the segment `name` for looking at. A store to its words is SIGSEGV.
    pub(crate) fn read_only(name: &str, options: &Options) -> Result<Segment> {
        Call::new(name, options, Intent::Inspect)?.run()
    }

    /// Makes a segment without a name, for this process and those forked off it.
    pub(crate) fn anonymous(options: &Options) -> Result<Segment> {
        let geometry = options.geometry()?;
        let draft = Draft { name: ANONYMOUS, options, geometry, regions: regions(ANONYMOUS, &geometry)? };
        let file = anonymous_file()?;
        draft.set_access(&file, Mode::from_raw_mode(options.mode & 0o666))?;
        draft.allocate(&file)?;
        // Nobody can cut it off under the mapping then. A kernel without seals is as good as any file.
        let _ = fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL);
        let mapping = Mapping::anonymous(file.as_fd(), draft.regions.end)
            .map_err(|error| Error::system(ANONYMOUS, "mmap", error))?;
        let memory = Memory { mapping: Arc::new(mapping), geometry, regions: draft.regions };
        let birth = Birth::now(ANONYMOUS)?;
        memory.format(&birth);
        let inode = Inode::of_file(ANONYMOUS, &file)?;
        Ok(Segment {
            name: ANONYMOUS.to_owned(),
            file,
            inode,
            memory,
            hash_key: birth.hash_key,
            created: true,
            unlinker: None,
        })
    }

    /// The name with its slash, or `"(anonymous)"`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The sizes, as they were when the segment was opened.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.memory.geometry
    }

    /// Bytes of the segment.
    pub(crate) fn size(&self) -> usize {
        self.memory.regions.end
    }

    /// The random key under which unique values are hashed.
    pub(crate) fn hash_key(&self) -> [u64; 2] {
        self.hash_key
    }

    /// Whether the call that gave this made the segment, and did not find it.
    pub(crate) fn was_created(&self) -> bool {
        self.created
    }

    /// The words of the header that only the creator writes; see [`header_word`].
    pub(crate) fn header(&self) -> Words {
        self.memory.header()
    }

    /// The word of the global event id.
    pub(crate) fn tail(&self) -> Words {
        self.memory.tail()
    }

    /// The words of all records.
    pub(crate) fn records(&self) -> Words {
        self.memory.records()
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(self.memory.ring_pool(), self.tail(), self.records())
    }

    pub(crate) fn claims(&self) -> Claims {
        Claims::new(self.memory.claim_pool(), self.tail(), self.geometry().capacity)
    }

    /// The wake word at a word of the header: `header_word!(wake)` or `header_word!(wake_reserved)`.
    #[inline]
    pub(crate) fn wake_word(&self, header_word: usize) -> &AtomicU32 {
        self.memory.mapping.word32(header_word * 8).expect("the header lies inside the mapping")
    }

    /// An open file description of the same file that nobody else shares, in a forked child too.
    pub(crate) fn own_description(&self) -> Result<OwnedFd> {
        reopen(&self.name, &self.file, self.inode)
    }

    /// Takes the first record that nobody holds.
    pub(crate) fn take_free_record(&self) -> Result<Option<(u16, RecordLock)>> {
        let lock = RecordLock { file: self.own_description()? };
        for record in 0..=u16::MAX {
            if u64::from(record) >= self.geometry().records {
                break;
            }
            if lock.try_take(record).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))? {
                return Ok(Some((record, lock)));
            }
        }
        Ok(None)
    }

    /// Takes `record`, unless somebody holds it.
    pub(crate) fn take_record(&self, record: u16) -> Result<Option<RecordLock>> {
        let lock = RecordLock { file: self.own_description()? };
        let taken = lock.try_take(record).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))?;
        Ok(taken.then_some(lock))
    }

    /// Whether the name still leads to this segment.
    pub(crate) fn is_current(&self) -> Result<bool> {
        Ok(Inode::of_name(&self.name)? == Some(self.inode))
    }

    /// Device and number of the segment's file.
    pub(crate) fn inode(&self) -> (u64, u64) {
        (self.inode.device, self.inode.number)
    }

    /// Where everything is.
    pub(crate) fn regions(&self) -> &Regions {
        &self.memory.regions
    }

    /// Whether anybody, this process included, holds `record`.
    pub(crate) fn is_record_held(&self, record: u16) -> Result<bool> {
        // The segment's own description never has a lock, so that all of them are others'.
        sys::is_byte_locked(&self.file, record_byte(record)).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Removes the name, if it still leads to this segment.
    pub(crate) fn unlink(&self) -> Result<()> {
        match Inode::of_name(&self.name)? {
            None => Err(Error::NotFound { name: self.name.clone() }),
            Some(inode) if inode != self.inode => Err(Error::Replaced { name: self.name.clone() }),
            Some(_) => remove(&self.name),
        }
    }

    fn system(&self, call: &'static str, error: io::Error) -> Error {
        Error::system(&self.name, call, error)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // Not in a child that merely inherited it.
        if self.unlinker.as_ref().is_some_and(|maker| !maker.is_forked()) {
            // Gone or replaced is as wanted, and a drop has nobody to tell of more.
            let _ = self.unlink();
        }
    }
}

/// Removes the segment `name`, finished or not.
pub(crate) fn unlink(name: &str) -> Result<()> {
    let name = checked_name(name)?;
    let file = match open_file(&name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(Error::NotFound { name }),
        Err(errno) => return Err(open_error(&name, errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| Error::system(&name, "fstat", errno))?;
    check_type(&name, stat.st_mode)?;
    if let State::Foreign(found) = State::of(&name, &file)? {
        return Err(Error::Foreign { name, found });
    }
    match Inode::of_name(&name)? {
        None => Err(Error::NotFound { name }),
        Some(inode) if inode != Inode::of(&stat) => Err(Error::Replaced { name }),
        Some(_) => remove(&name),
    }
}

/// The hold on records, by locks that the kernel takes from the dead.
///
/// The locks belong to an open file description and end with the last descriptor of it: at drop, at exit, at SIGKILL. They
/// are never unlocked, only closed: a forked child shares the description, and would unlock its parent's. As long as a
/// child that never joined lives, it holds its dead parent's record; that costs a record and harms nobody.
#[derive(Debug)]
pub(crate) struct RecordLock {
    file: OwnedFd,
}

impl RecordLock {
    fn try_take(&self, record: u16) -> io::Result<bool> {
        sys::try_lock_byte(&self.file, record_byte(record))
    }

    /// Whether somebody else holds `record`. One's own record is nobody else's.
    pub(crate) fn is_held_by_another(&self, record: u16) -> io::Result<bool> {
        sys::is_byte_locked(&self.file, record_byte(record))
    }
}

fn record_byte(record: u16) -> u64 {
    RECORD_BYTES + u64::from(record)
}

/// The record, there be it or not, whose lock is on the byte.
pub(crate) fn record_of_byte(byte: u64) -> Option<u64> {
    byte.checked_sub(RECORD_BYTES).filter(|_| byte < CREATION_BYTE)
}

/// The mapped bytes and where everything is in them.
#[derive(Debug)]
struct Memory {
    mapping: Arc<Mapping>,
    geometry: Geometry,
    regions: Regions,
}

impl Memory {
    fn words(&self, offset: usize, len: u64) -> Words {
        Words::of(&self.mapping, offset, len as usize).expect("the regions lie inside the mapping")
    }

    fn header(&self) -> Words {
        self.words(0, header_word!(tail) as u64)
    }

    fn tail(&self) -> Words {
        self.words(header_word!(tail) * 8, 1)
    }

    fn records(&self) -> Words {
        self.words(self.regions.records, self.geometry.records * record::WORDS as u64)
    }

    fn ring_pool(&self) -> Pool {
        let Geometry { capacity, records, block_stride, .. } = self.geometry;
        let cells = self.words(self.regions.cells, capacity);
        let blocks = self.words(self.regions.blocks, (capacity + records) * (block_stride / 8));
        Pool::new(cells, blocks, block_stride as usize / 8)
    }

    fn claim_pool(&self) -> Pool {
        let Geometry { buckets, records, bucket_stride, .. } = self.geometry;
        let cells = self.words(self.regions.claim_cells, buckets);
        let blocks = self.words(self.regions.bucket_blocks, (buckets + records) * (bucket_stride / 8));
        Pool::new(cells, blocks, bucket_stride as usize / 8)
    }

    /// Makes zeroed memory a finished segment.
    fn format(&self, birth: &Birth) {
        let hands = |first_word: usize| -> Vec<Words> {
            let records = self.records();
            let hand = |record| records.sub(record * record::WORDS + first_word, record::HAND_WORDS);
            (0..self.geometry.records as usize).map(hand).collect()
        };
        self.ring_pool().format(&hands(record::RING_HAND));
        self.claim_pool().format(&hands(record::CLAIM_HAND));
        let header = self.header();
        let Geometry { capacity, block_stride, records, buckets, bucket_stride } = self.geometry;
        let boot_id = sys::boot_id();
        for (word, value) in [
            (header_word!(fingerprint), fingerprint()),
            (header_word!(nonce), birth.nonce[0]),
            (header_word!(nonce) + 1, birth.nonce[1]),
            (header_word!(boot_id), boot_id[0]),
            (header_word!(boot_id) + 1, boot_id[1]),
            (header_word!(hash_key), birth.hash_key[0]),
            (header_word!(hash_key) + 1, birth.hash_key[1]),
            (header_word!(size), self.regions.end as u64),
            (header_word!(capacity), capacity),
            (header_word!(block_stride), block_stride),
            (header_word!(records), records),
            (header_word!(buckets), buckets),
            (header_word!(bucket_stride), bucket_stride),
            (header_word!(creator_pid), u64::from(sys::pid())),
            (header_word!(created_at), sys::wall_ns()),
        ] {
            // Relaxed: nobody looks before the magic is there.
            header.at(word).store(value, Ordering::Relaxed);
        }
        // Release: whoever reads the magic reads everything stored before it.
        header.at(header_word!(magic)).store(magic(), Ordering::Release);
    }

    /// Whether these are the bytes of the file in which `nonce` was read.
    fn has_nonce(&self, nonce: [u64; 2]) -> bool {
        // Relaxed: written long before the file was found finished, or by this process.
        let word = |word| self.header().at(word).load(Ordering::Relaxed);
        [word(header_word!(nonce)), word(header_word!(nonce) + 1)] == nonce
    }
}

/// What is random about a segment.
struct Birth {
    nonce: [u64; 2],
    hash_key: [u64; 2],
}

impl Birth {
    fn now(name: &str) -> Result<Birth> {
        let mut bytes = [0; 32];
        // So few bytes come all at once, or not at all while the host boots.
        retry_on_intr(|| rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()))
            .map_err(|errno| Error::system(name, "getrandom", errno))?;
        let words = native_words::<4>(&bytes);
        Ok(Birth { nonce: [words[0], words[1]], hash_key: [words[2], words[3]] })
    }
}

/// Which file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Inode {
    fn of(stat: &fs::Stat) -> Inode {
        Inode { device: stat.st_dev, number: stat.st_ino }
    }

    fn of_file(name: &str, file: &OwnedFd) -> Result<Inode> {
        fs::fstat(file).map(|stat| Inode::of(&stat)).map_err(|errno| Error::system(name, "fstat", errno))
    }

    /// What `name` leads to now.
    fn of_name(name: &str) -> Result<Option<Inode>> {
        match fs::lstat(path(name)) {
            Ok(stat) => Ok(Some(Inode::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system(name, "lstat", errno)),
        }
    }
}

/// How far a file has come, by its first word.
#[derive(Debug, PartialEq, Eq)]
enum State {
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
    fn of(name: &str, file: &OwnedFd) -> Result<State> {
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
enum Intent {
    Create,
    Open,
    OpenOrCreate,
    Inspect,
}

/// One call that shall end with a named segment.
struct Call<'a> {
    name: String,
    options: &'a Options,
    intent: Intent,
    started: Instant,
}

impl<'a> Call<'a> {
    fn new(name: &str, options: &'a Options, intent: Intent) -> Result<Call<'a>> {
        Ok(Call { name: checked_name(name)?, options, intent, started: Instant::now() })
    }

    fn run(&self) -> Result<Segment> {
        if self.may_create() {
            // Whether or not it will be made: an option that is wrong is wrong every time.
            self.options.geometry()?;
        }
        for _ in 0..ROUNDS {
            if let Some(segment) = self.attempt()? {
                return Ok(segment);
            }
        }
        Err(Error::Replaced { name: self.name.clone() })
    }

    fn may_create(&self) -> bool {
        matches!(self.intent, Intent::Create | Intent::OpenOrCreate)
    }

    /// `None` if the name was removed or given away meanwhile: all must begin again.
    fn attempt(&self) -> Result<Option<Segment>> {
        let Some(found) = self.open_or_make()? else { return Ok(None) };
        let inode = self.check_access(&found.file)?;
        let mut state = State::of(&self.name, &found.file)?;
        let mut lock = None;
        if state != State::Finished {
            if self.may_create() {
                lock = Some(self.lock_creation(&found.file, inode)?);
                state = State::of(&self.name, &found.file)?;
            } else {
                state = self.outwait_creator(&found.file)?;
            }
        }
        let name = self.name.clone();
        match state {
            State::Finished if self.intent == Intent::Create => Err(Error::Exists { name }),
            State::Finished => {
                drop(lock);
                self.open_finished(found.file)
            }
            State::Unfinished if Inode::of_name(&name)? != Some(inode) => Ok(None),
            State::Unfinished if self.may_create() => self.finish(found, inode),
            State::Unfinished => Err(Error::Unfinished { name }),
            State::Layout(found) => Err(Error::Layout { name, found, expected: LAYOUT_VERSION }),
            State::Foreign(found) => Err(Error::Foreign { name, found }),
        }
    }

    fn open_or_make(&self) -> Result<Option<Found>> {
        let access = if self.intent == Intent::Inspect { OFlags::RDONLY } else { OFlags::RDWR };
        // Without O_CREAT first: with it, fs.protected_regular refuses what another user made in a sticky directory.
        match open_file(&self.name, access) {
            Ok(file) => return Ok(Some(Found { file, made: false })),
            Err(Errno::NOENT) if self.may_create() => {}
            Err(Errno::NOENT) => return Err(Error::NotFound { name: self.name.clone() }),
            // Somebody has a lease on it, to unlink what nobody has open (`unheld`).
            Err(Errno::WOULDBLOCK) => {
                self.nap()?;
                return Ok(None);
            }
            Err(errno) => return Err(open_error(&self.name, errno)),
        }
        match open_file(&self.name, access | OFlags::CREATE | OFlags::EXCL) {
            Ok(file) => Ok(Some(Found { file, made: true })),
            Err(Errno::EXIST) => Ok(None),
            Err(errno) => Err(open_error(&self.name, errno)),
        }
    }

    /// Whether the file is one that this caller trusts.
    fn check_access(&self, file: &OwnedFd) -> Result<Inode> {
        let name = || self.name.clone();
        let stat = fs::fstat(file).map_err(|errno| Error::system(&self.name, "fstat", errno))?;
        check_type(&self.name, stat.st_mode)?;
        let mut accepted = vec![rustix::process::geteuid().as_raw()];
        accepted.extend(self.options.owner.map(|(uid, _)| uid));
        if !accepted.contains(&stat.st_uid) {
            return Err(Error::Owner { name: name(), found: stat.st_uid, accepted });
        }
        let mode = stat.st_mode & 0o7777;
        if mode & !self.options.mode != 0 {
            return Err(Error::Mode { name: name(), found: mode, accepted: self.options.mode });
        }
        Ok(Inode::of(&stat))
    }

    fn lock_creation(&self, file: &OwnedFd, inode: Inode) -> Result<CreationLock> {
        let own = reopen(&self.name, file, inode)?;
        loop {
            match sys::try_lock_byte(&own, CREATION_BYTE) {
                Ok(true) => return Ok(CreationLock(own)),
                Ok(false) => self.nap()?,
                Err(error) => return Err(Error::system(&self.name, "fcntl(F_OFD_SETLK)", error)),
            }
        }
    }

    /// Waits until no creator is at work on `file`. Takes no lock, so that an opener that is stopped holds up no creator.
    fn outwait_creator(&self, file: &OwnedFd) -> Result<State> {
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

    fn nap(&self) -> Result<()> {
        let waited = self.started.elapsed();
        let Some(left) = self.options.creation_timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(Error::Busy { name: self.name.clone(), waited });
        };
        std::thread::sleep(left.min(CREATION_NAP));
        Ok(())
    }

    fn open_finished(&self, file: OwnedFd) -> Result<Option<Segment>> {
        // Acquire: the header is read after the magic, and the creator stored the magic after the header.
        fence(Ordering::Acquire);
        // Again, since its creator may have changed them while we waited for it.
        let inode = self.check_access(&file)?;
        let header = HeaderCopy::read(&self.name, &file)?;
        let geometry = header.check(&self.name)?;
        let regions = regions(&self.name, &geometry)?;
        let size = file_size(&self.name, &file)?;
        if size < regions.end as u64 {
            return Err(Error::Truncated { name: self.name.clone(), size, expected: regions.end as u64 });
        }
        if header.word(header_word!(size)) != regions.end as u64 {
            return Err(Error::Corrupt { name: self.name.clone(), what: "its size is not that of its parts" });
        }
        let mapping = if self.intent == Intent::Inspect {
            let mapping = Mapping::read_only(file.as_fd(), regions.end);
            Some(mapping.map_err(|error| Error::system(&self.name, "mmap", error))?)
        } else {
            map_named(&self.name, regions.end)?
        };
        let Some(mapping) = mapping else { return Ok(None) };
        let memory = Memory { mapping: Arc::new(mapping), geometry, regions };
        if !memory.has_nonce(header.pair(header_word!(nonce))) {
            return Ok(None);
        }
        Ok(Some(Segment {
            name: self.name.clone(),
            file,
            inode,
            memory,
            hash_key: header.pair(header_word!(hash_key)),
            created: false,
            unlinker: None,
        }))
    }

    /// Makes an unfinished file a segment. The caller has the creation lock.
    fn finish(&self, found: Found, inode: Inode) -> Result<Option<Segment>> {
        let geometry = self.options.geometry()?;
        let regions = regions(&self.name, &geometry)?;
        let draft = Draft { name: &self.name, options: self.options, geometry, regions };
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
            inode,
            memory,
            hash_key: birth.hash_key,
            created: true,
            unlinker,
        }))
    }

    fn unlinker(&self) -> Result<Option<ForkGuard>> {
        self.options.unlink_on_drop.then(|| ForkGuard::new(&self.name)).transpose()
    }
}

/// A file that the name led to.
struct Found {
    file: OwnedFd,
    /// Whether this call gave the name to it.
    made: bool,
}

/// The right to finish a file.
struct CreationLock(OwnedFd);

impl Drop for CreationLock {
    fn drop(&mut self) {
        // Unlike a record's, this lock is unlocked: a child forked off meanwhile would keep it from the next creator, and
        // no child ever uses it, since the one call that has it goes on in the parent only.
        let _ = sys::unlock_byte(&self.0, CREATION_BYTE);
    }
}

/// A segment to be.
struct Draft<'a> {
    name: &'a str,
    options: &'a Options,
    geometry: Geometry,
    regions: Regions,
}

impl Draft<'_> {
    /// From empty or forming to finished. `None` if the name leads elsewhere by now.
    fn form(&self, file: &OwnedFd) -> Result<Option<(Memory, Birth)>> {
        // First of all: from here on the file is known for an unfinished segment, whatever size it has.
        self.write_at(file, FORMING, header_word!(magic))?;
        self.wipe(file)?;
        self.set_access(file, Mode::from_raw_mode(self.options.mode))?;
        self.allocate(file)?;
        let birth = Birth::now(self.name)?;
        self.write_at(file, birth.nonce[0], header_word!(nonce))?;
        self.write_at(file, birth.nonce[1], header_word!(nonce) + 1)?;
        let Some(mapping) = map_named(self.name, self.regions.end)? else { return Ok(None) };
        let memory = Memory { mapping: Arc::new(mapping), geometry: self.geometry, regions: self.regions };
        if !memory.has_nonce(birth.nonce) {
            return Ok(None);
        }
        memory.format(&birth);
        Ok(Some((memory, birth)))
    }

    /// Takes back what a failed `form` did.
    fn undo(&self, found: &Found, inode: Inode) {
        // The error that led here is the one to report.
        if !found.made {
            let _ = self.wipe(&found.file);
        } else if matches!(Inode::of_name(self.name), Ok(Some(now)) if now == inode) {
            let _ = remove(self.name);
        }
    }

    /// Zeroes all but the first word, and gives its memory back.
    fn wipe(&self, file: &OwnedFd) -> Result<()> {
        let size = file_size(self.name, file)?;
        if size <= 8 {
            return Ok(());
        }
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        retry_on_intr(|| fs::fallocate(file, punch, 8, size - 8))
            .map_err(|errno| Error::system(self.name, "fallocate(FALLOC_FL_PUNCH_HOLE)", errno))
    }

    fn set_access(&self, file: &OwnedFd, mode: Mode) -> Result<()> {
        fs::fchmod(file, mode).map_err(|errno| Error::system(self.name, "fchmod", errno))?;
        let Some((uid, gid)) = self.options.owner else { return Ok(()) };
        let stat = fs::fstat(file).map_err(|errno| Error::system(self.name, "fstat", errno))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        let (user, group) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
        fs::fchown(file, Some(user), Some(group)).map_err(|errno| {
            let source = match errno {
                Errno::PERM => io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    format!(
                        "user {} may not give it to user {uid}, group {gid}: create it as root before dropping \
                         privileges, or leave out .owner()",
                        rustix::process::geteuid().as_raw(),
                    ),
                ),
                other => other.into(),
            };
            Error::system(self.name, "fchown", source)
        })
    }

    /// Gives the file its size and all of its memory: a page that is missing when it is first touched is SIGBUS.
    fn allocate(&self, file: &OwnedFd) -> Result<()> {
        let end = self.regions.end as u64;
        // Now, since afterwards a part of it is ours.
        let free = free_space(file);
        // Before a byte is taken: where the file system is as large as the memory, the kernel ends processes before it
        // says that there is no more.
        if end.saturating_sub(allocated_bytes(self.name, file)?) > free {
            return Err(Error::NoSpace { name: self.name.to_owned(), size: end, free });
        }
        if file_size(self.name, file)? < end {
            retry_on_intr(|| fs::ftruncate(file, end)).map_err(|errno| self.space_error(free, "ftruncate", errno))?;
        }
        let mut at = 0;
        while at < end {
            let step = ALLOCATION_STEP.min(end - at);
            retry_on_intr(|| fs::fallocate(file, FallocateFlags::empty(), at, step))
                .map_err(|errno| self.space_error(free, "fallocate", errno))?;
            at += step;
        }
        Ok(())
    }

    fn write_at(&self, file: &OwnedFd, value: u64, word: usize) -> Result<()> {
        let written = retry_on_intr(|| rustix::io::pwrite(file, &value.to_ne_bytes(), word as u64 * 8))
            .map_err(|errno| self.space_error(free_space(file), "pwrite", errno))?;
        if written == 8 { Ok(()) } else { Err(Error::system(self.name, "pwrite", io::ErrorKind::WriteZero)) }
    }

    fn space_error(&self, free: u64, call: &'static str, errno: Errno) -> Error {
        match errno {
            Errno::NOSPC | Errno::FBIG | Errno::DQUOT | Errno::NOMEM => {
                Error::NoSpace { name: self.name.to_owned(), size: self.regions.end as u64, free }
            }
            other => Error::system(self.name, call, other),
        }
    }
}

/// A header as it was read once: what was checked is what is used.
struct HeaderCopy([u64; HEADER_BYTES / 8]);

impl HeaderCopy {
    fn read(name: &str, file: &OwnedFd) -> Result<HeaderCopy> {
        let mut bytes = [0; HEADER_BYTES];
        let len = read_at(name, file, &mut bytes, 0)?;
        if len < HEADER_BYTES {
            return Err(Error::Truncated {
                name: name.to_owned(),
                size: file_size(name, file)?,
                expected: HEADER_BYTES as u64,
            });
        }
        Ok(HeaderCopy(native_words(&bytes)))
    }

    fn word(&self, word: usize) -> u64 {
        self.0[word]
    }

    fn pair(&self, word: usize) -> [u64; 2] {
        [self.0[word], self.0[word + 1]]
    }

    /// Whether this build can use a segment with this header. Returns its sizes.
    fn check(&self, name: &str) -> Result<Geometry> {
        let name = || name.to_owned();
        if self.word(header_word!(magic)) != magic() {
            return Err(Error::Corrupt { name: name(), what: "its first word changes while it is read" });
        }
        let (found, expected) = (self.word(header_word!(fingerprint)), fingerprint());
        if found != expected {
            return Err(Error::Fingerprint { name: name(), found, expected });
        }
        // Either may be unknown: in a container without /proc, say.
        let (then, now) = (self.pair(header_word!(boot_id)), sys::boot_id());
        if then != now && then != [0; 2] && now != [0; 2] {
            return Err(Error::OtherBoot { name: name() });
        }
        Ok(Geometry {
            capacity: self.word(header_word!(capacity)),
            block_stride: self.word(header_word!(block_stride)),
            records: self.word(header_word!(records)),
            buckets: self.word(header_word!(buckets)),
            bucket_stride: self.word(header_word!(bucket_stride)),
        })
    }
}

fn regions(name: &str, geometry: &Geometry) -> Result<Regions> {
    geometry.check().map_err(|what| Error::Corrupt { name: name.to_owned(), what })
}

/// The name with its slash.
fn checked_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=MOST_NAME_BYTES).contains(&bare.len()) && bare.bytes().all(allowed) && !matches!(bare, "." | "..");
    if good {
        return Ok(format!("/{bare}"));
    }
    Err(Error::Name { name: name.chars().take(SHOWN_NAME_CHARS).collect(), rule: NAME_RULE })
}

fn path(name: &str) -> String {
    format!("{SHM_DIR}{name}")
}

fn open_file(name: &str, access: OFlags) -> std::result::Result<OwnedFd, Errno> {
    // O_NOFOLLOW: a symbolic link in a directory that all may write to is a trap. O_NONBLOCK: so is a pipe.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // The owner alone, until the creator says otherwise.
    retry_on_intr(|| fs::open(path(name), flags, Mode::RUSR | Mode::WUSR))
}

fn open_error(name: &str, errno: Errno) -> Error {
    let foreign = |found: &str| Error::Foreign { name: name.to_owned(), found: found.to_owned() };
    match errno {
        Errno::ACCESS | Errno::PERM => denied(name),
        Errno::ISDIR => foreign("a directory"),
        Errno::LOOP => foreign("a symbolic link"),
        Errno::NXIO => foreign("a socket or device"),
        other => Error::system(name, "open", other),
    }
}

fn denied(name: &str) -> Error {
    Error::Denied { name: name.to_owned(), uid: rustix::process::geteuid().as_raw() }
}

fn check_type(name: &str, mode: u32) -> Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Error::Foreign { name: name.to_owned(), found: format!("a file of type {other:?}") }),
    }
}

/// A new open file description of `file`, for reading and writing.
fn reopen(name: &str, file: &OwnedFd, inode: Inode) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let own = match fs::open(format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty()) {
        // Without /proc there is still the name.
        Err(Errno::NOENT) if name != ANONYMOUS => match open_file(name, OFlags::RDWR) {
            Err(Errno::NOENT) => return Err(Error::Replaced { name: name.to_owned() }),
            opened => opened,
        },
        opened => opened,
    };
    let own = own.map_err(|errno| open_error(name, errno))?;
    if Inode::of_file(name, &own)? == inode { Ok(own) } else { Err(Error::Replaced { name: name.to_owned() }) }
}

fn anonymous_file() -> Result<OwnedFd> {
    let create = |more| fs::memfd_create("seqcast", MemfdFlags::CLOEXEC | more);
    // Some hosts refuse a file that could be executed; kernels before 6.3 do not know how to say that it cannot.
    create(MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| create(MemfdFlags::ALLOW_SEALING))
        .map_err(|errno| Error::system(ANONYMOUS, "memfd_create", errno))
}

/// Maps at least `len` bytes of what `name` leads to. `None` if that cannot be the file that was meant.
fn map_named(name: &str, len: usize) -> Result<Option<Mapping>> {
    match Mapping::named(name) {
        Ok(mapping) if mapping.len() >= len => Ok(Some(mapping)),
        Ok(_) => Ok(None),
        // Removed, or replaced by something still empty.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        Err(error) => Err(Error::system(name, "mmap", error)),
    }
}

fn remove(name: &str) -> Result<()> {
    match fs::unlink(path(name)) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(Error::NotFound { name: name.to_owned() }),
        Err(Errno::ACCESS | Errno::PERM) => Err(denied(name)),
        Err(errno) => Err(Error::system(name, "unlink", errno)),
    }
}

/// Fills `bytes` from `at` on; returns how many there were.
fn read_at(name: &str, file: &OwnedFd, bytes: &mut [u8], at: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(file, &mut *bytes, at)).map_err(|errno| Error::system(name, "pread", errno))
}

fn file_size(name: &str, file: &OwnedFd) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Bytes that the file system of `file` has left.
fn free_space(file: &OwnedFd) -> u64 {
    let memory = sys::available_memory().unwrap_or(u64::MAX);
    match fs::fstatvfs(file) {
        // The one that anonymous files are on has no limit of its own.
        Ok(of) if of.f_blocks == 0 => memory,
        Ok(of) => of.f_bavail.saturating_mul(of.f_frsize).min(memory),
        Err(_) => 0,
    }
}

/// Bytes that `file` has been given already.
fn allocated_bytes(name: &str, file: &OwnedFd) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512))
}

fn native_words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*chunk);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs::{File, Permissions};
    use std::io::Write;
    use std::ops::Deref;
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

    use super::*;

    /// Another user than the one who runs the tests.
    const NOBODY: u32 = 65_534;

    /// A name of this test's own; what it leads to is removed before and after, also when the test fails.
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

        /// Puts a file of these bytes there, with a mode that would be accepted.
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

    fn small() -> Options {
        Options::new().capacity(8).block_size(64).records(4).claims(4).creation_timeout(Duration::from_secs(10))
    }

    fn impatient() -> Options {
        small().creation_timeout(Duration::from_millis(20))
    }

    /// Marks that somebody has come to this segment. Returns whether it is good, and mapped from the file it is open on.
    fn sign(segment: &Segment) -> bool {
        segment.tail().at(0).fetch_add(1, Ordering::Relaxed);
        let in_file = HeaderCopy::read(segment.name(), &segment.file).unwrap().pair(header_word!(nonce));
        segment.memory.has_nonce(in_file) && is_new_or_signed(segment)
    }

    fn signatures(segment: &Segment) -> u64 {
        segment.tail().at(0).load(Ordering::Relaxed)
    }

    /// Whether everything is as a creator leaves it, but for the tail.
    fn is_new_or_signed(segment: &Segment) -> bool {
        let Geometry { capacity, records, .. } = *segment.geometry();
        let all = Words::of(&segment.memory.mapping, 0, segment.size() / 8).unwrap();
        let word = |offset: usize| all.at(offset / 8).load(Ordering::Relaxed);
        let blocks = segment.memory.regions.blocks..segment.memory.regions.claim_cells;
        let hands: HashSet<u64> = (0..records as usize)
            .map(|at| segment.records().at(at * record::WORDS + record::RING_HAND).load(Ordering::Relaxed))
            .collect();
        blocks.step_by(8).all(|offset| word(offset) == 0) && hands == HashSet::from_iter(capacity..capacity + records)
    }

    /// A forked child, killed and buried at the end of the test.
    struct Child(libc::pid_t);

    impl Child {
        /// Forks a child that does `body` and nothing else; it exits with 0 if that says so.
        fn spawn(body: impl FnOnce() -> bool) -> Child {
            // SAFETY: the child runs `body` on this thread's stack and exits without returning to the test harness. glibc
            // makes its allocator usable in a forked child.
            match unsafe { libc::fork() } {
                0 => {
                    // A thread that panicked while we forked may have held a lock that we need now.
                    // SAFETY: a system call without pointers.
                    unsafe { libc::alarm(30) };
                    // Past the harness's capture, which ends with the child.
                    std::panic::set_hook(Box::new(|panic| {
                        let stderr = File::options().append(true).open("/dev/stderr");
                        let _ = stderr.and_then(|mut stderr| writeln!(stderr, "in a forked child: {panic}"));
                    }));
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                    // SAFETY: plain exit, without the harness's exit handlers.
                    unsafe { libc::_exit(done.map_or(101, |good| i32::from(!good))) }
                }
                pid => {
                    assert!(pid > 0, "fork failed");
                    Child(pid)
                }
            }
        }

        fn signal(&self, signal: libc::c_int) {
            // SAFETY: our own child, not buried yet.
            assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
        }

        fn wait_status(&self) -> libc::c_int {
            let mut status = 0;
            // SAFETY: `status` is writable for the call.
            assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, libc::__WALL) }, self.0);
            status
        }

        /// Waits for the end and buries; whether it exited with 0.
        fn ended_well(self) -> bool {
            let status = self.wait_status();
            std::mem::forget(self);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }

        /// Waits until the child is dead, but leaves it a zombie.
        fn await_zombie(&self) {
            let stat = || std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
            eventually("the child is a zombie", || stat().rsplit_once(')').unwrap().1.starts_with(" Z"));
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            self.signal(libc::SIGKILL);
            while !matches!(self.wait_status(), status if !libc::WIFSTOPPED(status)) {}
        }
    }

    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// A child that stops before and after each of its system calls.
    struct Stepped(Child);

    impl Stepped {
        fn spawn(body: impl FnOnce() -> bool) -> Stepped {
            let child = Child::spawn(|| {
                // SAFETY: asks to be traced by the parent, which waits for the stop that follows.
                let traced =
                    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0 && libc::raise(libc::SIGSTOP) == 0 };
                assert!(traced, "ptrace is not permitted here");
                body()
            });
            assert!(libc::WIFSTOPPED(child.wait_status()), "ptrace is not permitted here");
            Stepped(child)
        }

        /// Lets the child go on to its `stops`th stop. `Err` with its end if it ends before.
        fn advance(self, stops: usize) -> std::result::Result<Stepped, bool> {
            for _ in 0..stops {
                self.request(libc::PTRACE_SYSCALL);
                let status = self.0.wait_status();
                if !libc::WIFSTOPPED(status) {
                    std::mem::forget(self.0);
                    return Err(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
                }
            }
            Ok(self)
        }

        fn request(&self, request: libc::c_uint) {
            // SAFETY: our own traced child, stopped.
            assert_eq!(unsafe { libc::ptrace(request, self.0.0, 0, 0) }, 0);
        }

        /// Lets the child run to its end.
        fn ended_well(self) -> bool {
            self.request(libc::PTRACE_DETACH);
            self.0.ended_well()
        }
    }

    /// Does `at_stop` with the child of `body` stopped at each of its stops in turn, a new child for each. Returns their
    /// number.
    fn at_every_system_call(
        body: impl Fn() -> bool,
        mut at_stop: impl FnMut(usize, Stepped),
        before: impl Fn(),
    ) -> usize {
        for stops in 1.. {
            before();
            match Stepped::spawn(&body).advance(stops) {
                Ok(stepped) => at_stop(stops, stepped),
                Err(good) => {
                    assert!(good, "the child failed when nobody disturbed it");
                    return stops - 1;
                }
            }
        }
        unreachable!()
    }

    macro_rules! assert_error {
        ($result:expr, $pattern:pat $(if $guard:expr)?) => {
            match $result {
                Err($pattern) $(if $guard)? => {}
                other => panic!("{other:?} instead of {}", stringify!($pattern $(if $guard)?)),
            }
        };
    }

    #[test]
    fn names_get_a_slash_and_bad_ones_are_refused() {
        let longest = "x".repeat(MOST_NAME_BYTES);
        for good in ["a", "/a", "...", ".a", "A-z_0.9", &longest, &format!("/{longest}")] {
            assert_eq!(checked_name(good).unwrap(), format!("/{}", good.trim_start_matches('/')));
        }
        let too_long = "x".repeat(MOST_NAME_BYTES + 1);
        for bad in ["", "/", "//a", ".", "..", "/..", "a/b", "../a", "a b", "a\0", "ä", "a\n", &too_long] {
            assert_error!(checked_name(bad), Error::Name { name, .. } if name.chars().count() <= 64);
            assert_error!(Segment::open_or_create(bad, &small()), Error::Name { .. });
            assert_error!(unlink(bad), Error::Name { .. });
        }
    }

    #[test]
    fn create_then_open_is_the_same_segment() {
        let name = Name::new("create");
        assert_error!(Segment::open(&name, &small()), Error::NotFound { .. });
        assert_error!(Segment::read_only(&name, &small()), Error::NotFound { .. });
        assert_error!(unlink(&name), Error::NotFound { .. });
        let made = Segment::create(&name, &small()).unwrap();
        assert_error!(Segment::create(&name, &small()), Error::Exists { .. });
        // Without the slash, and with other sizes: an existing segment keeps its own.
        let opened = Segment::open(&name[1..], &Options::new()).unwrap();
        let again = Segment::open_or_create(&name, &Options::new()).unwrap();
        let inspected = Segment::read_only(&name, &Options::new()).unwrap();
        assert!(made.was_created() && is_new_or_signed(&made));
        for other in [&opened, &again, &inspected] {
            assert!(!other.was_created());
            assert_eq!(other.name(), made.name());
            assert_eq!(other.geometry(), made.geometry());
            assert_eq!(other.hash_key(), made.hash_key());
            assert_eq!(other.inode, made.inode);
            assert_eq!(signatures(other), 0);
        }
        assert!(sign(&made));
        assert!([&opened, &again, &inspected].into_iter().all(|other| signatures(other) == 1));
        assert_eq!(std::fs::metadata(path(&name)).unwrap().mode() & 0o7777, 0o600);
        let creator = made.header().at(header_word!(creator_pid)).load(Ordering::Relaxed);
        assert_eq!(creator, u64::from(sys::pid()));
    }

    #[test]
    fn two_segments_have_different_keys() {
        let (one, two) = (Name::new("key-1"), Name::new("key-2"));
        let key = |name: &str| Segment::create(name, &small()).unwrap().hash_key();
        assert_ne!(key(&one), key(&two));
    }

    #[test]
    fn all_of_the_memory_is_there_from_the_beginning() {
        let name = Name::new("allocated");
        let segment = Segment::create(&name, &Options::new()).unwrap();
        let stat = std::fs::metadata(path(&name)).unwrap();
        assert!(stat.blocks() * 512 >= segment.size() as u64, "{} blocks", stat.blocks());
    }

    #[test]
    fn what_seqcast_did_not_make_is_left_alone() {
        let name = Name::new("foreign");
        let refused = || {
            assert_error!(Segment::create(&name, &small()), Error::Foreign { .. });
            assert_error!(Segment::open(&name, &small()), Error::Foreign { .. });
            assert_error!(Segment::open_or_create(&name, &small()), Error::Foreign { .. });
            assert_error!(Segment::read_only(&name, &small()), Error::Foreign { .. });
            assert_error!(unlink(&name), Error::Foreign { .. });
        };
        for bytes in [&b"x"[..], b"1234567", b"somebody's bytes", &[0; 8], &[0; 1 << 20]] {
            name.write(bytes);
            refused();
            assert_eq!(std::fs::read(path(&name)).unwrap(), bytes, "changed");
        }
        name.clear();
        std::fs::create_dir(path(&name)).unwrap();
        refused();
        name.clear();
        // A link, even to a good segment.
        let elsewhere = Name::new("foreign-target");
        drop(Segment::create(&elsewhere, &small()).unwrap());
        std::os::unix::fs::symlink(path(&elsewhere), path(&name)).unwrap();
        refused();
        name.clear();
        // A pipe, which a careless open would wait on.
        let path = std::ffi::CString::new(path(&name)).unwrap();
        // SAFETY: the path is a C string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        refused();
    }

    #[test]
    fn a_segment_cut_off_is_refused_before_it_is_mapped() {
        let name = Name::new("truncated");
        let size = Segment::create(&name, &small()).unwrap().size() as u64;
        for (cut, least) in [(size - 1, size), (size / 2, size), (HEADER_BYTES as u64, size), (1023, 1024), (8, 1024)] {
            name.file().set_len(cut).unwrap();
            let truncated = |error: &Error| matches!(error, Error::Truncated { size, expected, .. } if (*size, *expected) == (cut, least));
            assert!(truncated(&Segment::open(&name, &small()).unwrap_err()), "{cut}");
            assert!(truncated(&Segment::open_or_create(&name, &small()).unwrap_err()), "{cut}");
            assert!(truncated(&Segment::read_only(&name, &small()).unwrap_err()), "{cut}");
        }
        unlink(&name).unwrap();
    }

    #[test]
    fn what_a_dead_creator_left_is_finished_by_the_next() {
        let name = Name::new("half-made");
        let forming = FORMING.to_ne_bytes();
        let mut with_rubbish = forming.to_vec();
        with_rubbish.resize(1 << 20, 0xa5);
        for left in [&[][..], &forming, &with_rubbish] {
            for make in [Segment::create, Segment::open_or_create] {
                name.clear();
                name.write(left);
                assert_error!(Segment::open(&name, &small()), Error::Unfinished { .. });
                assert_error!(Segment::read_only(&name, &small()), Error::Unfinished { .. });
                let made = make(&name, &small()).unwrap();
                assert!(made.was_created() && signatures(&made) == 0 && is_new_or_signed(&made));
                assert!(sign(&Segment::open(&name, &small()).unwrap()));
                assert_eq!(signatures(&made), 1);
            }
            name.clear();
            name.write(left);
            unlink(&name).unwrap();
            assert!(!name.exists());
        }
    }

    #[test]
    fn other_builds_and_boots_are_told_apart() {
        let name = Name::new("builds");
        let made = Segment::create(&name, &small()).unwrap();
        let open = || Segment::open(&name, &small());

        name.set_word(header_word!(magic), magic() - 1);
        assert_error!(open(), Error::Layout { found, expected, .. } if found == expected - 1);
        assert_error!(Segment::create(&name, &small()), Error::Layout { .. });
        name.set_word(header_word!(magic), magic());

        name.set_word(header_word!(fingerprint), 7);
        assert_error!(open(), Error::Fingerprint { found: 7, expected, .. } if expected == fingerprint());
        name.set_word(header_word!(fingerprint), fingerprint());

        name.set_word(header_word!(boot_id), 7);
        assert_error!(open(), Error::OtherBoot { .. });
        name.set_word(header_word!(boot_id), 0);
        name.set_word(header_word!(boot_id) + 1, 0);
        assert!(open().is_ok(), "an unknown boot id is no other boot");
        // Whatever layout it has, it is ours to remove.
        name.set_word(header_word!(magic), magic() - 1);
        unlink(&name).unwrap();
        drop(made);
    }

    #[test]
    fn g10_hostile_sizes_are_refused_and_never_read_again() {
        let name = Name::new("hostile");
        let made = Segment::create(&name, &small()).unwrap();
        let before = *made.geometry();
        let words = [
            header_word!(size),
            header_word!(capacity),
            header_word!(block_stride),
            header_word!(records),
            header_word!(buckets),
            header_word!(bucket_stride),
        ];
        for word in words {
            let good = made.header().at(word).load(Ordering::Relaxed);
            for shift in 0..64 {
                for hostile in [1 << shift, (1 << shift) - 1, u64::MAX - (1 << shift), good ^ (1 << shift)] {
                    if hostile == good {
                        continue;
                    }
                    name.set_word(word, hostile);
                    assert_error!(Segment::open(&name, &small()), Error::Corrupt { .. } | Error::Truncated { .. });
                    // Who has it open already goes on by the sizes that it checked.
                    assert_eq!(*made.geometry(), before);
                    assert_eq!(made.ring().capacity(), before.capacity);
                }
            }
            name.set_word(word, good);
        }
        assert!(Segment::open(&name, &small()).is_ok());
    }

    #[test]
    fn a_wider_mode_or_another_owner_is_refused() {
        let name = Name::new("mode");
        let group = small().mode(0o660);
        drop(Segment::create(&name, &group).unwrap());
        assert_eq!(std::fs::metadata(path(&name)).unwrap().mode() & 0o7777, 0o660, "whatever the umask is");
        assert_error!(Segment::open(&name, &small()), Error::Mode { found: 0o660, accepted: 0o600, .. });
        assert!(Segment::open(&name, &group).is_ok());
        if rustix::process::geteuid().as_raw() != 0 {
            return println!("skipped the rest: giving files away needs root");
        }
        std::os::unix::fs::chown(path(&name), Some(NOBODY), None).unwrap();
        assert_error!(Segment::open(&name, &group), Error::Owner { found: NOBODY, accepted, .. } if accepted == [0]);
        assert_error!(Segment::open_or_create(&name, &group), Error::Owner { .. });
        assert!(Segment::open_or_create(&name, &group.clone().owner(NOBODY, NOBODY)).is_ok());
    }

    /// Makes the calling process, a forked child, an ordinary user.
    fn drop_privileges() {
        // SAFETY: system calls without pointers, in a child with one thread.
        let dropped = unsafe {
            libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0
        };
        assert!(dropped);
    }

    #[test]
    fn workers_that_drop_their_privileges_need_the_owner_option() {
        if rustix::process::geteuid().as_raw() != 0 {
            return println!("skipped: dropping privileges needs root");
        }
        let name = Name::new("privileges");
        let roots = Segment::create(&name, &small()).unwrap();
        let refused = Child::spawn(|| {
            drop_privileges();
            let denied = |error: Option<Error>| matches!(error, Some(Error::Denied { uid: NOBODY, .. }));
            denied(Segment::open_or_create(&name, &small()).err())
                && denied(roots.own_description().err())
                && denied(roots.unlink().err())
        });
        assert!(refused.ended_well());
        unlink(&name).unwrap();

        let given = small().owner(NOBODY, NOBODY);
        let roots = Segment::create(&name, &given).unwrap();
        let accepted = Child::spawn(|| {
            drop_privileges();
            sign(&Segment::open_or_create(&name, &given).unwrap()) && roots.take_free_record().unwrap().is_some()
        });
        assert!(accepted.ended_well());
        assert_eq!(signatures(&roots), 1);
    }

    #[test]
    fn giving_a_segment_away_without_the_right_to_leaves_nothing_behind() {
        if rustix::process::geteuid().as_raw() != 0 {
            return println!("skipped: dropping privileges needs root");
        }
        let name = Name::new("give-away");
        let refused = Child::spawn(|| {
            drop_privileges();
            let error = Segment::create(&name, &small().owner(0, 0)).unwrap_err();
            matches!(error, Error::System { call: "fchown", .. })
                && error.to_string().contains(".owner()")
                && !name.exists()
        });
        assert!(refused.ended_well());
    }

    #[test]
    fn unlink_leaves_what_took_the_name_since() {
        let name = Name::new("unlink");
        let first = Segment::create(&name, &small()).unwrap();
        unlink(&name).unwrap();
        assert_error!(first.unlink(), Error::NotFound { .. });
        let second = Segment::create(&name, &small()).unwrap();
        assert_error!(first.unlink(), Error::Replaced { .. });
        assert!(name.exists());
        second.unlink().unwrap();
        assert!(!name.exists());
    }

    #[test]
    fn g12_only_the_maker_unlinks_on_drop() {
        let name = Name::new("unlink-on-drop");
        let unlinking = small().unlink_on_drop(true);
        let made = Segment::create(&name, &unlinking).unwrap();
        drop(Segment::open(&name, &unlinking).unwrap());
        assert!(name.exists(), "removed by one that only opened it");
        let mut made = Some(made);
        let child = Child::spawn(|| {
            drop(made.take());
            true
        });
        assert!(child.ended_well());
        assert!(name.exists(), "removed by a forked child");
        drop(made);
        assert!(!name.exists());
        drop(Segment::create(&name, &small()).unwrap());
        assert!(name.exists(), "removed without being asked to");
    }

    #[test]
    fn g7_a_creator_killed_at_any_system_call_blocks_nobody() {
        let name = Name::new("killed");
        let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
        let kill = |stops, stepped: Stepped| {
            drop(stepped);
            let next = Segment::open_or_create(&name, &impatient())
                .unwrap_or_else(|error| panic!("{error} after {stops} stops"));
            let signed = signatures(&next);
            assert!(signed <= 1 && is_new_or_signed(&next), "{stops} stops");
            assert!(signed == 0 || !next.was_created(), "{stops} stops");
        };
        let stops = at_every_system_call(create, kill, || name.clear());
        assert!(stops > 40, "only {stops} stops");
    }

    #[test]
    fn g7_a_creator_killed_at_any_moment_blocks_nobody() {
        let name = Name::new("killed-anytime");
        let options = Options::new().creation_timeout(Duration::from_secs(10));
        let (mut finished, mut unfinished) = (0, 0);
        for round in 0..150_u64 {
            name.clear();
            let child = Child::spawn(|| Segment::open_or_create(&name, &options).is_ok());
            std::thread::sleep(Duration::from_micros(round * 97 % 6000));
            drop(child);
            let next = Segment::open_or_create(&name, &options).unwrap();
            assert!(is_new_or_signed(&next));
            *if next.was_created() { &mut unfinished } else { &mut finished } += 1;
        }
        assert!(finished > 0 && unfinished > 0, "{finished} finished, {unfinished} not: the delays miss the point");
    }

    #[test]
    fn g8_a_creator_stopped_at_any_system_call_ends_on_the_same_segment() {
        let name = Name::new("stopped");
        let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
        let (mut busy, mut came) = (0, 0);
        let other_comes = |stops, stepped: Stepped| {
            let other = match Segment::open_or_create(&name, &impatient()) {
                Ok(segment) => Some(segment),
                Err(Error::Busy { waited, .. }) => {
                    assert!(waited >= Duration::from_millis(20));
                    assert_error!(Segment::open(&name, &impatient()), Error::Busy { .. });
                    None
                }
                Err(error) => panic!("{error} after {stops} stops"),
            };
            assert!(stepped.ended_well(), "{stops} stops");
            let after = Segment::open(&name, &small()).unwrap();
            assert!(signatures(&after) == 1 && is_new_or_signed(&after), "{stops} stops");
            match other {
                Some(other) => came += usize::from(other.inode == after.inode),
                None => busy += 1,
            }
        };
        let stops = at_every_system_call(create, other_comes, || name.clear());
        assert_eq!(came + busy, stops, "some ended on another segment");
        assert!(came > 10 && busy > 10, "{came} came, {busy} busy");
    }

    #[test]
    fn a_creator_whose_name_is_given_away_ends_on_the_new_segment() {
        let name = Name::new("given-away");
        let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
        let replace = |stops, stepped: Stepped| {
            let done = name.exists() && State::of(&name, &OwnedFd::from(name.file())).unwrap() == State::Finished;
            name.clear();
            let new = Segment::create(&name, &impatient()).unwrap();
            sign(&new);
            assert!(stepped.ended_well(), "{stops} stops");
            let signed = signatures(&new);
            assert!(signed == 2 || done && signed == 1, "{stops} stops: signed {signed} times");
            let key = new.header().at(header_word!(hash_key)).load(Ordering::Relaxed);
            assert!(key == new.hash_key()[0] && is_new_or_signed(&new), "{stops} stops: formatted what is not its own");
        };
        at_every_system_call(create, replace, || name.clear());
    }

    #[test]
    fn an_opener_never_maps_another_file_than_it_checked() {
        let name = Name::new("swapped");
        let open = || sign(&Segment::open(&name, &small()).unwrap());
        let renew = || {
            name.clear();
            drop(Segment::create(&name, &small()).unwrap());
        };
        let replace = |stops, stepped: Stepped| {
            renew();
            assert!(stepped.ended_well(), "{stops} stops");
        };
        at_every_system_call(open, replace, renew);
        // The same with rubbish in its place: an error, not a wrong segment.
        let open = || match Segment::open(&name, &impatient()) {
            Ok(segment) => sign(&segment),
            Err(Error::Foreign { .. }) => true,
            Err(error) => panic!("{error}"),
        };
        let rubbish = |stops, stepped: Stepped| {
            name.clear();
            name.write(&[0xa5; 1 << 20]);
            assert!(stepped.ended_well(), "{stops} stops");
        };
        at_every_system_call(open, rubbish, renew);
    }

    #[test]
    fn two_creators_and_an_opener_at_once_end_on_one_segment() {
        let name = Name::new("at-once");
        for round in 0..200 {
            name.clear();
            let gun = Segment::anonymous(&small()).unwrap();
            let meet = || {
                sign(&gun);
                while signatures(&gun) < 3 {
                    std::hint::spin_loop();
                }
            };
            let creator = || {
                meet();
                sign(&Segment::open_or_create(&name, &small()).unwrap())
            };
            let opener = || {
                meet();
                loop {
                    match Segment::open(&name, &small()) {
                        Ok(segment) => return sign(&segment),
                        Err(Error::NotFound { .. } | Error::Unfinished { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            let children = [Child::spawn(creator), Child::spawn(opener), Child::spawn(creator)];
            assert!(children.into_iter().all(Child::ended_well), "round {round}");
            assert_eq!(signatures(&Segment::open(&name, &small()).unwrap()), 3, "round {round}");
        }
    }

    #[test]
    fn of_two_creators_one_is_told_that_it_exists() {
        let name = Name::new("create-twice");
        for round in 0..100 {
            name.clear();
            let ledger = Segment::anonymous(&small()).unwrap();
            let create = || match Segment::create(&name, &small()) {
                Ok(_) => sign(&ledger),
                Err(Error::Exists { .. }) => true,
                Err(error) => panic!("{error}"),
            };
            let children = [Child::spawn(create), Child::spawn(create)];
            assert!(children.into_iter().all(Child::ended_well), "round {round}");
            assert_eq!(signatures(&ledger), 1, "round {round}");
        }
    }

    #[test]
    fn a_name_removed_again_and_again_fails_nobody() {
        let name = Name::new("removed");
        let come = || (0..300).all(|_| sign(&Segment::open_or_create(&name, &small()).unwrap()));
        let remover = Child::spawn(|| {
            loop {
                name.clear();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        let children = [Child::spawn(come), Child::spawn(come)];
        assert!(children.into_iter().all(Child::ended_well));
        drop(remover);
    }

    #[test]
    fn g6_a_stopped_creator_costs_the_timeout_and_a_dead_one_nothing() {
        let name = Name::new("busy");
        name.write(&[]);
        let gun = Segment::anonymous(&small()).unwrap();
        let creator = lock_holder(&name, &gun, || true);
        creator.signal(libc::SIGSTOP);
        let start = Instant::now();
        for call in [Segment::create, Segment::open_or_create, Segment::open, Segment::read_only] {
            assert_error!(call(&name, &impatient()), Error::Busy { .. });
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(5), "{took:?}");
        creator.signal(libc::SIGKILL);
        creator.await_zombie();
        assert!(Segment::create(&name, &impatient()).unwrap().was_created());
    }

    /// A child that holds the creation lock of the file that `name` leads to until `gun` is signed, then does `last`.
    fn lock_holder(name: &str, gun: &Segment, last: impl FnOnce() -> bool) -> Child {
        let ready = Segment::anonymous(&small()).unwrap();
        let child = Child::spawn(|| {
            let options = small();
            let call = Call::new(name, &options, Intent::Create).unwrap();
            let found = call.open_or_make().unwrap().unwrap();
            let _lock = call.lock_creation(&found.file, call.check_access(&found.file).unwrap()).unwrap();
            sign(&ready);
            eventually("the gun is fired", || signatures(gun) > 0);
            last()
        });
        eventually("the creation lock is held", || signatures(&ready) > 0);
        child
    }

    #[test]
    fn an_opener_that_waits_ends_on_what_took_the_name_meanwhile() {
        let name = Name::new("waits");
        name.write(&[]);
        let gun = Segment::anonymous(&small()).unwrap();
        let holder = lock_holder(&name, &gun, || {
            name.clear();
            Segment::create(&name, &small()).is_ok()
        });
        let opener = Child::spawn(|| {
            sign(&gun);
            sign(&Segment::open(&name, &small()).unwrap())
        });
        assert!(opener.ended_well() && holder.ended_well());
    }

    #[test]
    fn an_opener_that_waits_sees_the_end_of_the_creation() {
        let name = Name::new("sees");
        for stops in 1..60 {
            name.clear();
            name.write(&[]);
            let gun = Segment::anonymous(&small()).unwrap();
            let holder = lock_holder(&name, &gun, || {
                let file = OwnedFd::from(name.file());
                let options = small();
                let geometry = options.geometry().unwrap();
                let regions = geometry.check().unwrap();
                Draft { name: &name, options: &options, geometry, regions }.form(&file).unwrap().is_some()
            });
            let opener = Stepped::spawn(|| sign(&Segment::open(&name, &small()).unwrap())).advance(stops).unwrap();
            sign(&gun);
            assert!(holder.ended_well());
            assert!(opener.ended_well(), "{stops} stops");
        }
    }

    #[test]
    fn g6_a_stopped_opener_holds_up_no_creator() {
        let name = Name::new("stopped-opener");
        let open = || matches!(Segment::open(&name, &small()), Ok(_) | Err(Error::Unfinished { .. }));
        let create = |stops, stepped: Stepped| {
            assert!(Segment::create(&name, &impatient()).is_ok(), "{stops} stops");
            assert!(stepped.ended_well(), "{stops} stops");
        };
        let before = || {
            name.clear();
            name.write(&[]);
        };
        at_every_system_call(open, create, before);
    }

    #[test]
    fn a_child_forked_off_during_creation_does_not_keep_the_lock() {
        let name = Name::new("forked-creation");
        name.write(&[]);
        let options = small();
        let call = Call::new(&name, &options, Intent::Create).unwrap();
        let found = call.open_or_make().unwrap().unwrap();
        let lock = call.lock_creation(&found.file, call.check_access(&found.file).unwrap()).unwrap();
        let idler = Child::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        drop(lock);
        assert!(Segment::create(&name, &impatient()).is_ok());
        drop(idler);
    }

    /// Makes the calling process, a forked child, see an empty file system of its own at `at`. `false` if that is not
    /// permitted.
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

    #[test]
    fn a_full_dev_shm_is_an_error_that_leaves_nothing_behind() {
        let name = Name::new("full");
        let child = Child::spawn(|| {
            if !mount_own(c"/dev/shm", c"size=20m") {
                return true;
            }
            // More than is allocated at once.
            let large = Options::new().capacity(1 << 16);
            let size = large.geometry().unwrap().check().unwrap().end as u64;
            let full = |result| matches!(result, Err(Error::NoSpace { size: needs, free, .. }) if needs == size && free > 19 << 20 && free < size);
            assert!(full(Segment::create(&name, &large)));
            assert!(!name.exists(), "left behind");
            // Begun by somebody else, it stays as unfinished as it was, without the memory.
            name.write(&FORMING.to_ne_bytes());
            assert!(full(Segment::open_or_create(&name, &large)));
            assert_error!(Segment::open(&name, &large), Error::Unfinished { .. });
            assert!(std::fs::metadata(path(&name)).unwrap().blocks() * 512 <= 64 << 10, "memory kept");
            sign(&Segment::open_or_create(&name, &small()).unwrap())
        });
        assert!(child.ended_well());
    }

    #[test]
    fn no_page_at_all_is_an_error_that_leaves_nothing_behind() {
        let name = Name::new("no-page");
        let child = Child::spawn(|| {
            if !mount_own(c"/dev/shm", c"size=64k") {
                return true;
            }
            let filler = path("/filler");
            let _ = std::fs::write(&filler, vec![1; 1 << 20]);
            assert_error!(Segment::create(&name, &small()), Error::NoSpace { .. });
            assert!(!name.exists(), "left behind");
            std::fs::remove_file(filler).unwrap();
            sign(&Segment::create(&name, &small()).unwrap())
        });
        assert!(child.ended_well());
    }

    #[test]
    fn a_record_is_held_through_a_stop_and_freed_by_death() {
        let name = Name::new("record");
        let segment = Segment::create(&name, &small()).unwrap();
        let inspector = Segment::read_only(&name, &small()).unwrap();
        let holder = Child::spawn(|| {
            let (record, _lock) = segment.take_free_record().unwrap().unwrap();
            assert_eq!(record, 0);
            sign(&segment);
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        eventually("the holder has its record", || signatures(&segment) == 1);
        let probe = |expected: u64| {
            let held = |of: &Segment| of.is_record_held(0).unwrap();
            assert!(held(&segment) && held(&inspector));
            let child = Child::spawn(|| {
                let (record, lock) = segment.take_free_record().unwrap().unwrap();
                // One's own record is live by definition, and its lock is no other's.
                u64::from(record) == expected
                    && lock.is_held_by_another(0).unwrap()
                    && !lock.is_held_by_another(record).unwrap()
                    && segment.is_record_held(record).unwrap()
                    // Asking does not take.
                    && !lock.is_held_by_another(3).unwrap()
                    && !segment.is_record_held(3).unwrap()
            });
            assert!(child.ended_well());
        };
        probe(1);
        holder.signal(libc::SIGSTOP);
        probe(1);
        holder.signal(libc::SIGKILL);
        holder.await_zombie();
        assert!(!segment.is_record_held(0).unwrap() && !inspector.is_record_held(0).unwrap());
        let heir = Child::spawn(|| segment.take_free_record().unwrap().is_some_and(|(record, _)| record == 0));
        assert!(heir.ended_well());
    }

    #[test]
    fn records_run_out() {
        let name = Name::new("records");
        let segment = Segment::create(&name, &small()).unwrap();
        let child = Child::spawn(|| {
            let taken: Vec<_> = (0..4).map(|_| segment.take_free_record().unwrap().unwrap()).collect();
            taken.iter().map(|(record, _)| *record).eq(0..4) && segment.take_free_record().unwrap().is_none()
        });
        assert!(child.ended_well());
    }

    #[test]
    fn g12_a_child_that_drops_what_it_inherited_frees_no_record() {
        let name = Name::new("inherited");
        let segment = Segment::create(&name, &small()).unwrap();
        let child = Child::spawn(|| {
            let mut taken = segment.take_free_record().unwrap();
            let grandchild = Child::spawn(|| {
                drop(taken.take());
                true
            });
            grandchild.ended_well() && segment.is_record_held(0).unwrap()
        });
        assert!(child.ended_well());
    }

    #[test]
    fn g12_a_forked_child_opens_a_description_of_its_own() {
        let name = Name::new("description");
        let segment = Segment::create(&name, &small()).unwrap();
        segment.unlink().unwrap();
        let child = Child::spawn(|| {
            let (record, _lock) = segment.take_free_record().unwrap().unwrap();
            let sibling =
                Child::spawn(|| segment.take_free_record().unwrap().is_some_and(|(next, _)| next == record + 1));
            sibling.ended_well()
        });
        assert!(child.ended_well());
    }

    #[test]
    fn without_proc_a_description_is_opened_by_name() {
        let name = Name::new("no-proc");
        let segment = Segment::create(&name, &small()).unwrap();
        let without_proc = |expected: fn(Result<OwnedFd>) -> bool| {
            let child = Child::spawn(|| !mount_own(c"/proc", c"size=64k") || expected(segment.own_description()));
            assert!(child.ended_well());
        };
        without_proc(|own| own.is_ok());
        name.clear();
        without_proc(|own| matches!(own, Err(Error::Replaced { .. })));
        drop(Segment::create(&name, &small()).unwrap());
        without_proc(|own| matches!(own, Err(Error::Replaced { .. })));
    }

    #[test]
    fn an_anonymous_segment_is_shared_by_fork_alone() {
        let segment = Segment::anonymous(&small()).unwrap();
        assert!(segment.was_created() && is_new_or_signed(&segment));
        let child = Child::spawn(|| sign(&segment) && segment.take_free_record().unwrap().is_some());
        assert!(child.ended_well());
        assert_eq!(signatures(&segment), 1);
        assert_error!(segment.unlink(), Error::NotFound { .. });
        assert!(fs::ftruncate(&segment.file, 0).is_err(), "it can be cut off");
    }

    #[test]
    fn no_descriptor_survives_exec() {
        let name = Name::new("cloexec");
        let segment = Segment::create(&name, &small()).unwrap();
        let child = Child::spawn(|| {
            let _taken = segment.take_free_record().unwrap();
            let listed = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap().stdout;
            let listed = String::from_utf8(listed).unwrap();
            listed.contains("->") && !listed.contains(&*name)
        });
        assert!(child.ended_well());
    }

    #[test]
    fn a_store_through_an_inspector_is_stopped_by_the_processor() {
        let name = Name::new("read-only");
        drop(Segment::create(&name, &small()).unwrap());
        let inspector = Segment::read_only(&name, &small()).unwrap();
        let child = Child::spawn(|| {
            inspector.tail().at(0).store(1, Ordering::Relaxed);
            true
        });
        let status = child.wait_status();
        std::mem::forget(child);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV);
    }
}
