//! The segment: made, found, checked, locked and removed.
//!
//! ```text
//!         O_TMPFILE, linkat       pwrite              store of the magic
//! no name ----------------> empty --------> forming --------------------> finished ----> no name
//!                            ^                 |                                  unlink
//!                            +--- whoever has the lock on CREATION_BYTE goes on
//! ```
//!
//! Whoever has that lock is the only one to change a file that is not finished, and the kernel takes it from the dead. A
//! finished file needs no lock. A creator writes `FORMING` before it gives the file a size, so that one killed at any
//! step leaves a file that is empty or forming, and the next one starts again from there. Nobody ever makes a file
//! smaller: somebody may have mapped it. A new file gets its name when its owner can open it, whatever the umask is; where
//! that cannot be done, it is made under its name (`O_CREAT|O_EXCL`).
//!
//! NOT promised: a name that leads to the same segment for ever. Anybody with the right to may remove it, and who has it
//! open then works on, on a segment that nobody else will find.

mod creation;
mod differences;
mod file;
mod identity;
pub(crate) mod layout;
mod unheld;
pub(crate) mod unique_hash;

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rustix::fs::{self, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Result};
use crate::layout::{Geometry, MOST_RECORDS, Options, Regions, fingerprint, header_word, magic};
use crate::mapping::Mapping;
use crate::os::fork::ForkGuard;
use crate::protocol::claims::Claims;
use crate::protocol::pool::Pool;
use crate::protocol::record;
use crate::protocol::ring::{Ring, stretch_for};
use crate::protocol::wake;
use crate::sync::{AtomicU32, Ordering, Words};
use crate::sys::{self, SharedFutex};
use crate::unique_hash::UniqueHash;

use self::creation::{CREATION_BYTE, Call, Draft, Intent, State};
pub use self::differences::Difference;
pub(crate) use self::differences::Listed;
pub use self::file::FileFacts;
pub(crate) use self::file::{file_names, segment_names};
pub use self::identity::{BusId, Position};
pub(crate) use self::unheld::unlink_unheld;

const NAME_RULE: &str = "after a leading slash, which may be left out, it must be 1 to 200 of the characters A-Z a-z 0-9 . _ - \
                         and neither . nor ..";
const MOST_NAME_BYTES: usize = 200;
/// Characters of a bad name that an error repeats.
const SHOWN_NAME_CHARS: usize = 64;
const ANONYMOUS: &str = "(anonymous)";
/// Where the system keeps named shared memory.
const SHM_DIR: &str = "/dev/shm";
/// The mode of a file in creation.
const OWNER_ALONE: u32 = 0o600;

/// The byte whose lock is the hold on record 0; the other records' follow.
const RECORD_BYTES: u64 = 1 << 61;

/// A segment, mapped and open.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    /// Never locked: its description is shared with forked children.
    file: OwnedFd,
    inode: Inode,
    id: BusId,
    memory: Memory,
    unique_hash: UniqueHash,
    created: bool,
    differences: Vec<Difference>,
    /// Whether a worker of this process has reported them.
    differences_reported: AtomicBool,
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
        let regions = regions(ANONYMOUS, &geometry)?;
        let draft = Draft { name: ANONYMOUS, options, started: Instant::now(), geometry, regions };
        let file = anonymous_file()?;
        draft.check_limits(&file)?;
        draft.set_access(&file, options.mode & 0o666)?;
        draft.allocate(&file)?;
        // Nobody can cut it off under the mapping then. A kernel without seals is as good as any file.
        let _ = fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL);
        let mapping = Mapping::anonymous(file.as_fd(), draft.regions.end)
            .map_err(|error| Error::system(ANONYMOUS, "mmap", error))?;
        let memory = Memory::of(mapping, geometry, draft.regions, options);
        let birth = Birth::now(ANONYMOUS)?;
        memory.mapping.populate();
        memory.format(&birth);
        let inode = Inode::of_file(ANONYMOUS, &file)?;
        Ok(Segment {
            name: ANONYMOUS.to_owned(),
            file,
            inode,
            id: BusId::of_nonce(birth.nonce),
            memory,
            unique_hash: UniqueHash::new(birth.hash_key),
            created: true,
            differences: Vec::new(),
            differences_reported: AtomicBool::new(false),
            unlinker: None,
        })
    }

    /// The name with its slash, or `"(anonymous)"`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What tells this segment from all others, as it was when the segment was opened.
    pub(crate) fn id(&self) -> BusId {
        self.id
    }

    /// The sizes, as they were when the segment was opened.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.memory.geometry
    }

    /// Bytes of the segment.
    pub(crate) fn size(&self) -> usize {
        self.memory.regions.end
    }

    /// How unique values are hashed in this segment.
    pub(crate) fn unique_hash(&self) -> &UniqueHash {
        &self.unique_hash
    }

    /// Whether the call that gave this made the segment, and did not find it.
    pub(crate) fn was_created(&self) -> bool {
        self.created
    }

    /// What was asked of the segment and it is not, for the call that gave this.
    pub(crate) fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// The same for who reports it: once only.
    pub(crate) fn differences_to_report(&self) -> Option<&[Difference]> {
        // Relaxed: nothing else depends on it.
        let any = !self.differences.is_empty() && !self.differences_reported.swap(true, Ordering::Relaxed);
        any.then_some(&self.differences)
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
        Ring::new(self.memory.ring_pool(), self.tail(), self.records(), stretch_for(self.geometry().capacity))
    }

    pub(crate) fn claims(&self) -> Claims {
        Claims::new(self.memory.claim_pool(), self.tail(), self.geometry().capacity)
    }

    /// The mapped bytes, which stay for as long as somebody has this.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.memory.mapping
    }

    /// The wake word at a word of the header: `header_word!(wake)` or `header_word!(wake_reserved)`.
    #[inline]
    pub(crate) fn wake_word(&self, header_word: usize) -> &AtomicU32 {
        self.memory.mapping.word32(header_word * 8).expect("the header lies inside the mapping")
    }

    /// Wakes all who wait for a reserved id that was just decided: the readers that have met it, and the sleepers to whom
    /// its fate is news. Returns on how many words somebody slept.
    pub(crate) fn wake_for_decided(&self) -> u64 {
        let words = [header_word!(wake_reserved), header_word!(wake)];
        words.into_iter().map(|word| u64::from(wake::notify(self.wake_word(word), &SharedFutex))).sum()
    }

    /// An open file description of the same file that nobody else shares, in a forked child too.
    pub(crate) fn own_description(&self) -> Result<OwnedFd> {
        reopen(&self.name, &self.file, self.inode)
    }

    /// Takes the first record that nobody holds and that `is_usable` allows.
    pub(crate) fn take_free_record(&self, is_usable: impl Fn(u16) -> bool) -> Result<Option<(u16, RecordLock)>> {
        let lock = RecordLock { file: self.own_description()? };
        for record in 0..=u16::MAX {
            if u64::from(record) >= self.geometry().records {
                break;
            }
            let taken = || lock.try_take(record).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error));
            if is_usable(record) && taken()? {
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

    /// Whether the name still leads to this segment. A segment without a name is found by nobody, and so always the
    /// one that is meant.
    pub(crate) fn is_current(&self) -> Result<bool> {
        if self.name == ANONYMOUS {
            return Ok(true);
        }
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
        Err(Errno::NOENT) => return Err(not_found(name)),
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

/// Whether anybody, this process included, holds a record, be it one that `file` has or not.
fn is_any_record_held(name: &str, file: &OwnedFd) -> Result<bool> {
    sys::is_any_byte_locked(file, RECORD_BYTES, MOST_RECORDS)
        .map_err(|error| Error::system(name, "fcntl(F_OFD_GETLK)", error))
}

/// The byte whose lock is the hold on the record.
pub(crate) fn record_byte(record: impl Into<u64>) -> u64 {
    RECORD_BYTES + record.into()
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
    fn of(mapping: Mapping, geometry: Geometry, regions: Regions, options: &Options) -> Memory {
        if !options.dump {
            mapping.keep_out_of_dumps();
        }
        Memory { mapping: Arc::new(mapping), geometry, regions }
    }

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

    /// Whether `name` is known to lead to this file now.
    fn has_name(self, name: &str) -> bool {
        matches!(Inode::of_name(name), Ok(Some(now)) if now == self)
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
    retry_on_intr(|| fs::open(path(name), flags, Mode::from_raw_mode(OWNER_ALONE)))
}

/// Makes the file that `name` shall lead to, readable and writable by its owner alone until the creator says otherwise.
/// `EEXIST` if the name leads to one already.
fn create_file(name: &str) -> std::result::Result<OwnedFd, Errno> {
    // Without its name at first: the process's umask may forbid the owner to read and write, and a creator killed before
    // it has set that right would leave a file that only root can open.
    if let Ok(file) = unnamed_file() {
        let found = format!("/proc/self/fd/{}", file.as_raw_fd());
        match fs::linkat(CWD, found, CWD, path(name), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(file),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            // No /proc, or links are forbidden here.
            Err(_) => {}
        }
    }
    let file = open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
    // If it fails the creation says so, as soon as it opens the file again.
    let _ = fs::fchmod(&file, Mode::from_raw_mode(OWNER_ALONE));
    Ok(file)
}

/// A file in the directory of segments that has no name yet. Not every file system can do that.
fn unnamed_file() -> std::result::Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(OWNER_ALONE);
    let file = retry_on_intr(|| fs::open(SHM_DIR, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode))?;
    fs::fchmod(&file, mode)?;
    Ok(file)
}

fn open_error(name: &str, errno: Errno) -> Error {
    let foreign = |found: &str| Error::Foreign { name: name.to_owned(), found: found.to_owned() };
    match errno {
        Errno::ACCESS | Errno::PERM => denied(name),
        Errno::ISDIR => foreign("a directory"),
        Errno::LOOP => foreign("a symbolic link"),
        Errno::NXIO => foreign("a socket or device"),
        Errno::NOTDIR => not_found(name),
        Errno::ROFS => Error::ReadOnly { name: name.to_owned() },
        other => Error::system(name, "open", other),
    }
}

/// Why the name leads nowhere.
fn not_found(name: &str) -> Error {
    let name = name.to_owned();
    match fs::stat(SHM_DIR) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Error::NotFound { name },
        Ok(_) => Error::NoSharedMemory { name, found: format!("{SHM_DIR} is not a directory") },
        Err(_) => Error::NoSharedMemory { name, found: format!("there is no {SHM_DIR} as this process sees it") },
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
            // A process that has called chroot has neither.
            Err(Errno::NOENT) => {
                return Err(match not_found(name) {
                    Error::NotFound { name } => Error::Replaced { name },
                    other => other,
                });
            }
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
        Err(Errno::ROFS) => Err(Error::ReadOnly { name: name.to_owned() }),
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

/// How many names a file has.
#[allow(clippy::useless_conversion, reason = "the system's number has 32 bits on some processors")]
fn links(stat: &fs::Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// Refuses a file that has not all the memory of its first `end` bytes. A page that is missing is found or not found when
/// it is first touched, and not found is SIGBUS.
fn check_holes(name: &str, file: &OwnedFd, end: u64) -> Result<()> {
    // Another file system may compress, and then the number of blocks says nothing. A tmpfs counts the pages it has given,
    // those that are swapped out included.
    const TMPFS_MAGIC: fs::FsWord = 0x0102_1994;
    if fs::fstatfs(file).is_ok_and(|of| of.f_type != TMPFS_MAGIC) {
        return Ok(());
    }
    let allocated = allocated_bytes(name, file)?;
    if allocated < end { Err(Error::Holes { name: name.to_owned(), size: end, allocated }) } else { Ok(()) }
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
