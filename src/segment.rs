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
        memory.mapping.populate();
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
        remove_if(&self.name, self.inode)
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
    let (_, inode) = open_ours(&name)?;
    remove_if(&name, inode)
}

/// Opens what `name` leads to, if it is a segment of seqcast's, finished or not.
fn open_ours(name: &str) -> Result<(OwnedFd, Inode)> {
    let file = match open_file(name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(Error::NotFound { name: name.to_owned() }),
        Err(errno) => return Err(open_error(name, errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| Error::system(name, "fstat", errno))?;
    check_type(name, stat.st_mode)?;
    match State::of(name, &file)? {
        State::Foreign(found) => Err(Error::Foreign { name: name.to_owned(), found }),
        _ => Ok((file, Inode::of(&stat))),
    }
}

/// Removes the name, if it leads to `inode`.
fn remove_if(name: &str, inode: Inode) -> Result<()> {
    match Inode::of_name(name)? {
        None => Err(Error::NotFound { name: name.to_owned() }),
        Some(found) if found != inode => Err(Error::Replaced { name: name.to_owned() }),
        Some(_) => remove(name),
    }
}

/// The hold on records, by locks that the kernel takes from the dead.
///
/// The locks belong to an open file description and end with the last descriptor of it: at exit, at SIGKILL. Dropping
/// this only closes, and never unlocks: a forked child shares the description, and would unlock its parent's. As long as
/// a child that never joined lives, it holds its dead parent's record; that costs a record and harms nobody. A holder
/// that leaves in order [releases](RecordLock::release) the record, children or not.
#[derive(Debug)]
pub(crate) struct RecordLock {
    file: OwnedFd,
}

impl RecordLock {
    fn try_take(&self, record: u16) -> io::Result<bool> {
        sys::try_lock_byte(&self.file, record_byte(record))
    }

    /// Gives `record` back. Only for its holder itself, not for a child forked off it, and only as the last thing that it
    /// does with the record.
    pub(crate) fn release(&self, record: u16) {
        // If it fails, closing does the same as soon as no child shares the description.
        let _ = sys::unlock_byte(&self.file, record_byte(record));
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
        memory.mapping.populate();
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
mod tests;
