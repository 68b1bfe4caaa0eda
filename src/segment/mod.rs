//! The segment: made, found, checked, locked and removed.
//!
//! ```text
//!         O_TMPFILE, linkat       pwrite              store of the magic
//! no name ----------------> empty --------> forming --------------------> finished ----> no name
//!                            ^                 |                                  unlink
//!                            +--- whoever has the lock on CREATION_BYTE goes on
//! ```
//!
//! Whoever has that lock is the only one to change a file that is not finished, and the kernel takes it from the dead.
//! A finished file needs no lock. A creator writes `FORMING` before it gives the file a size, so that one killed at any
//! step leaves a file that is empty or forming, and the next one starts again from there. Nobody ever makes a file
//! smaller: somebody may have mapped it. A new file gets its name when its owner can open it, whatever the umask is;
//! where that cannot be done, it is made under its name (`O_CREAT|O_EXCL`).
//!
//! NOT promised: a name that leads to the same segment for ever. Anybody with the right to may remove it, and who has
//! it open then works on, on a segment that nobody else will find.

mod creation;
mod differences;
pub(crate) mod fault;
mod file;
pub(crate) mod fingerprint;
pub(crate) mod geometry;
pub(crate) mod layout;
mod memory;
pub(crate) mod options;
pub(crate) mod pools;
mod remove;
pub(crate) mod unique_hash;

use std::io;
use std::mem;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, CWD, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Cause, Difference, Error, ErrorKind, Result};
use crate::identity::BusId;
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::futex::SharedFutex;
use crate::os::mapping::{HoldingPage, Mapping};
use crate::os::sys;
use crate::protocol::claims::Claims;
use crate::protocol::pool::Pool;
use crate::protocol::ring::{Ring, stretch_for};
use crate::protocol::wake;
use crate::segment::geometry::{Geometry, MOST_SEATS, Regions};
use crate::segment::layout::header_word;
use crate::segment::options::SegmentOptions;
use crate::segment::pools::PoolId;
use crate::segment::unique_hash::UniqueHash;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Words};

use self::creation::{CREATION_BYTE, Call, Draft, Intent, State};
pub use self::file::FileFacts;
pub(crate) use self::file::{file_names, segment_names};
use self::memory::{Birth, Memory};
pub(crate) use self::remove::unlink_unheld;

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

/// The byte whose lock is the hold on seat 0; the other seats' follow.
const SEAT_BYTES: u64 = 1 << 61;
/// The first of the bytes that are locked to prove that a lock is kept, and for nothing else.
const PROOF_BYTES: u64 = CREATION_BYTE + (1 << 61);

/// How many seats joining tries whatever they look like: so few locks are asked for faster than what seats look like.
const TRIED_FIRST: u16 = 64;
/// How often joining tries again seats that look free and are locked, so that it ends though their locker is stopped.
const RETRIES: u32 = 50;
/// How long it waits before each time: several times what a locker needs.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// A segment, mapped and open.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    /// Never locked: its description is shared with forked children. Its number may have been closed or reused by
    /// others of this process: see [`file`](Segment::file).
    file: Descriptor,
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
    pub(crate) fn create(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Create)?.run()
    }

    /// Opens the segment `name`.
    pub(crate) fn open(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Open)?.run()
    }

    /// Opens the segment `name`, or makes or finishes it.
    pub(crate) fn open_or_create(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::OpenOrCreate)?.run()
    }

    /// Opens the segment `name` for looking at. A store to its words is SIGSEGV.
    pub(crate) fn read_only(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Inspect)?.run()
    }

    /// Makes a segment without a name, for this process and those forked off it.
    pub(crate) fn anonymous(options: &SegmentOptions) -> Result<Segment> {
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
        Ok(Segment {
            name: ANONYMOUS.to_owned(),
            file,
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

    /// The words of all seats.
    pub(crate) fn seats(&self) -> Words {
        self.memory.seats()
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(self.pool(PoolId::Ring), self.tail(), self.seats(), stretch_for(self.geometry().capacity()))
    }

    pub(crate) fn claims(&self) -> Claims {
        Claims::new(self.pool(PoolId::Claims), self.tail(), self.geometry().capacity())
    }

    /// The cells and blocks of a pool.
    pub(crate) fn pool(&self, pool: PoolId) -> Pool {
        self.memory.pool(pool)
    }

    /// The words of the hand that `seat` has in a pool.
    pub(crate) fn hand(&self, pool: PoolId, seat: u16) -> Words {
        self.memory.hand(pool, seat)
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

    /// Wakes all who wait for a reserved id that was just decided: the readers that have met it, and the sleepers to
    /// whom its fate is news. Returns on how many words somebody slept.
    pub(crate) fn wake_for_decided(&self) -> u64 {
        let words = [header_word!(wake_reserved), header_word!(wake)];
        words.into_iter().map(|word| u64::from(wake::notify(self.wake_word(word), &SharedFutex))).sum()
    }

    /// The segment's own descriptor. If its number was closed, or another file was put on it, the file is opened again
    /// by the segment's name.
    fn file(&self) -> Result<&Descriptor> {
        let number = self.file.number();
        if !self.file.is_ours() {
            self.file.replace(number, open_by_name(&self.name, self.file.inode(), OFlags::RDONLY)?);
        }
        Ok(&self.file)
    }

    /// An open file description of the same file that nobody else shares, in a forked child too.
    pub(crate) fn own_description(&self) -> Result<Descriptor> {
        reopen(&self.name, &self.file)
    }

    /// Takes a seat that nobody holds and `is_free` says yes to, which is asked while the seat is locked.
    ///
    /// The kernel keeps the locks of a file in a list that it walks for each question, so that asking for every seat takes
    /// time that grows with the square of their number. Therefore the first [`TRIED_FIRST`] seats are tried, in order, and
    /// then those that `looks_free` says yes to, which need not be true. If none can be had, all others are tried as well: a
    /// free seat is found, whatever it looks like.
    ///
    /// A seat that looks free and is locked may be so for a moment only: another process joins or leaves with it, or frees
    /// it from its dead holder. Such seats are tried again, at most [`RETRIES`] times, [`RETRY_AFTER`] apart. If nothing
    /// looks free there is no waiting.
    pub(crate) fn take_free_seat(
        &self,
        guard: ForkGuard,
        mut looks_free: impl FnMut(u16) -> bool,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Result<Option<(u16, SeatLock)>> {
        let keeps = self.keeps_locks_of_pages()?;
        let mut file = self.own_description()?;
        let (mut others, mut locked) = (Vec::new(), Vec::new());
        let first = (0..=self.geometry().last_seat()).filter(|&seat| {
            let is_first = seat < TRIED_FIRST || looks_free(seat);
            if !is_first {
                others.push(seat);
            }
            is_first
        });
        let mut taken = self.take_one_of(&file, first, &mut is_free, &mut locked)?;
        if taken.is_none() {
            taken = self.take_one_of(&file, others, &mut is_free, &mut locked)?;
        }
        for _ in 0..RETRIES {
            if taken.is_some() {
                break;
            }
            locked.retain(|&seat| looks_free(seat));
            if locked.is_empty() {
                break;
            }
            // A child that another thread forks while this one sleeps would share the description.
            drop(file);
            thread::sleep(RETRY_AFTER);
            file = self.own_description()?;
            taken = self.take_one_of(&file, mem::take(&mut locked), &mut is_free, &mut locked)?;
        }
        let Some(seat) = taken else { return Ok(None) };
        let inode = file.inode().number;
        let page = keeps.then(|| HoldingPage::of(file.as_fd()).ok()).flatten();
        // With a page the descriptor is closed here.
        let hold = page.map_or_else(|| Hold::Descriptor(file), Hold::Page);
        Ok(Some((seat, SeatLock { guard, inode, seat, hold })))
    }

    /// Locks the first of `seats` that nobody has locked and `is_free` says yes to. Those that others have go to `locked`.
    fn take_one_of(
        &self,
        file: &Descriptor,
        seats: impl IntoIterator<Item = u16>,
        is_free: &mut impl FnMut(u16) -> bool,
        locked: &mut Vec<u16>,
    ) -> Result<Option<u16>> {
        for seat in seats {
            if !self.try_lock(file, seat)? {
                locked.push(seat);
            } else if is_free(seat) {
                return Ok(Some(seat));
            } else {
                let _ = sys::unlock_byte(file, seat_byte(seat));
            }
        }
        Ok(None)
    }

    /// Takes `seat` for the length of a call, unless somebody holds it.
    pub(crate) fn take_seat(&self, seat: u16) -> Result<Option<ByteLock>> {
        let file = self.own_description()?;
        let taken = self.try_lock(&file, seat)?;
        Ok(taken.then_some(ByteLock { file, byte: seat_byte(seat) }))
    }

    fn try_lock(&self, file: &Descriptor, seat: u16) -> Result<bool> {
        sys::try_lock_byte(file, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))
    }

    /// Whether a lock outlives the last descriptor of its description where a page of it is mapped. That is found out
    /// once, by the lock of a byte that nobody else uses.
    fn keeps_locks_of_pages(&self) -> Result<bool> {
        let device = self.file.inode().device;
        if let Some(keeps) = LockKeeping::known(device) {
            return Ok(keeps);
        }
        let (file, byte) = (self.own_description()?, proof_byte(&self.name)?);
        // False if a reader has locked all bytes there are, or there is no memory for a page: nothing is learned by it.
        if !sys::try_lock_byte(&file, byte).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))? {
            return Ok(false);
        }
        let Ok(page) = HoldingPage::of(file.as_fd()) else { return Ok(false) };
        drop(file);
        let keeps = self.file().map(|own| sys::is_byte_locked(own, byte));
        page.unmap();
        let keeps = keeps?.map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))?;
        LockKeeping::learn(device, keeps);
        Ok(keeps)
    }

    /// Whether the name still leads to this segment. A segment without a name is found by nobody, and so always the
    /// one that is meant.
    pub(crate) fn is_current(&self) -> Result<bool> {
        if self.name == ANONYMOUS {
            return Ok(true);
        }
        Ok(Inode::of_name(&self.name)? == Some(self.file.inode()))
    }

    /// Device and number of the segment's file.
    pub(crate) fn inode(&self) -> (u64, u64) {
        (self.file.inode().device, self.file.inode().number)
    }

    /// Where everything is.
    pub(crate) fn regions(&self) -> &Regions {
        &self.memory.regions
    }

    /// Whether anybody, this process included, holds one of `seats`.
    pub(crate) fn is_any_seat_held_of(&self, seats: RangeInclusive<u16>) -> Result<bool> {
        let (first, count) = (seat_byte(*seats.start()), seats.len() as u64);
        sys::is_any_byte_locked(self.file()?, first, count).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Whether anybody, this process included, holds `seat`.
    pub(crate) fn is_seat_held(&self, seat: u16) -> Result<bool> {
        // The segment's own description never has a lock, so that all of them are others'.
        sys::is_byte_locked(self.file()?, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Removes the name, if it still leads to this segment.
    pub(crate) fn unlink(&self) -> Result<()> {
        remove_if(&self.name, self.file.inode())
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
    let file = open_ours(&name)?;
    remove_if(&name, file.inode())
}

/// Opens what `name` leads to, if it is a segment of seqcast's, finished or not.
fn open_ours(name: &str) -> Result<Descriptor> {
    let file = match open_file(name, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Err(not_found(name)),
        Err(errno) => return Err(open_error(name, errno)),
    };
    let stat = fs::fstat(&file).map_err(|errno| Error::system(name, "fstat", errno))?;
    check_type(name, stat.st_mode)?;
    match State::of(name, &file)? {
        State::Foreign(found) => Err(Error::from(Cause::Foreign { name: name.to_owned(), found })),
        _ => Ok(file),
    }
}

/// Removes the name, if it leads to `inode`.
fn remove_if(name: &str, inode: Inode) -> Result<()> {
    match Inode::of_name(name)? {
        None => Err(Error::from(Cause::NotFound { name: name.to_owned() })),
        Some(found) if found != inode => Err(Error::from(Cause::Replaced { name: name.to_owned() })),
        Some(_) => remove(name),
    }
}

/// The hold on a seat, by a lock that the kernel takes from the dead.
///
/// The lock belongs to an open file description that nobody else has, and ends when that does: at exit, at SIGKILL, at
/// exec. What keeps the description is not a descriptor, which any code of the process may close, but a page mapped
/// from it (see [`HoldingPage`]). Children do not have that page, so that none keeps a dead parent's seat.
///
/// Two exceptions. A child forked by another thread in the microseconds in which the lock is taken has the descriptor
/// or the page as well, and keeps the seat until it ends. And where the kernel does not keep a description for a
/// mapping, or there is no room for one, the descriptor stays: then closing it frees the seat, and children that live
/// on keep it. Such a holder is still told when another has taken its seat (`Error::from(Cause::Displaced)`).
#[derive(Debug)]
pub(crate) struct SeatLock {
    guard: ForkGuard,
    inode: u64,
    seat: u16,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Page(HoldingPage),
    Descriptor(Descriptor),
    Over,
}

impl SeatLock {
    /// Gives the seat back, as the last thing that its holder does with it. In a child forked off the holder this
    /// does nothing: there it is not the child's to give.
    pub(crate) fn release(&mut self) {
        let hold = std::mem::replace(&mut self.hold, Hold::Over);
        if self.guard.is_forked() {
            return;
        }
        match hold {
            Hold::Page(page) => page.unmap(),
            Hold::Descriptor(file) if file.is_ours() => {
                // If it fails, closing does the same as soon as no child shares the description.
                let _ = sys::unlock_byte(&file, seat_byte(self.seat));
            }
            Hold::Descriptor(_) | Hold::Over => {}
        }
    }

    /// For a holder whose seat another has taken: its lock is lost, and where its page was there may be somebody
    /// else's.
    pub(crate) fn abandon(&mut self) {
        if let Hold::Page(page) = std::mem::replace(&mut self.hold, Hold::Over)
            && !self.guard.is_forked()
            && sys::inode_mapped_at(page.address()) == Some(self.inode)
        {
            page.unmap();
        }
    }
}

impl Drop for SeatLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// A lock on one byte, for the length of a call.
#[derive(Debug)]
pub(crate) struct ByteLock {
    file: Descriptor,
    byte: u64,
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        // Unlike a holder's, this lock is unlocked: a child forked off meanwhile would keep it, and no child ever uses it,
        // since the one call that has it goes on in the parent only. Not on a file that was put on its number meanwhile.
        if self.file.is_ours() {
            let _ = sys::unlock_byte(&self.file, self.byte);
        }
    }
}

/// Whether the locks of an open file description outlive its last descriptor where a page of it is mapped, as it was
/// found out for one device: the device's number plus one, and the answer in the lowest bit. 0 if nothing is known.
struct LockKeeping;

impl LockKeeping {
    const KEEPS: u64 = 1;

    fn word() -> &'static AtomicU64 {
        static KNOWN: AtomicU64 = AtomicU64::new(0);
        &KNOWN
    }

    fn of(device: u64) -> u64 {
        device.wrapping_add(1) << 1
    }

    fn known(device: u64) -> Option<bool> {
        // Relaxed: a fact about the kernel, found out again where it is not seen.
        let known = LockKeeping::word().load(Ordering::Relaxed);
        (known & !LockKeeping::KEEPS == LockKeeping::of(device)).then_some(known & LockKeeping::KEEPS != 0)
    }

    fn learn(device: u64, keeps: bool) {
        LockKeeping::word().store(LockKeeping::of(device) | u64::from(keeps), Ordering::Relaxed);
    }
}

/// A byte far from all others, at random: two processes meet in one less often than once in the life of a universe.
fn proof_byte(name: &str) -> Result<u64> {
    let mut bytes = [0; 8];
    retry_on_intr(|| rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()))
        .map_err(|errno| Error::system(name, "getrandom", errno))?;
    Ok(PROOF_BYTES + (u64::from_ne_bytes(bytes) >> 4))
}

/// Whether anybody, this process included, holds a seat, be it one that `file` has or not.
fn is_any_seat_held(name: &str, file: &Descriptor) -> Result<bool> {
    sys::is_any_byte_locked(file, SEAT_BYTES, MOST_SEATS)
        .map_err(|error| Error::system(name, "fcntl(F_OFD_GETLK)", error))
}

/// The byte whose lock is the hold on the seat.
pub(crate) fn seat_byte(seat: impl Into<u64>) -> u64 {
    SEAT_BYTES + seat.into()
}

/// The seat, there be it or not, whose lock is on the byte.
pub(crate) fn seat_of_byte(byte: u64) -> Option<u64> {
    byte.checked_sub(SEAT_BYTES).filter(|_| byte < CREATION_BYTE)
}

impl Inode {
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
    geometry.check().map_err(|what| Error::from(Cause::Corrupt { name: name.to_owned(), what }))
}

/// The name with its slash.
fn checked_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=MOST_NAME_BYTES).contains(&bare.len()) && bare.bytes().all(allowed) && !matches!(bare, "." | "..");
    if good {
        return Ok(format!("/{bare}"));
    }
    Err(Error::from(Cause::Name { name: name.chars().take(SHOWN_NAME_CHARS).collect(), rule: NAME_RULE }))
}

fn path(name: &str) -> String {
    format!("{SHM_DIR}{name}")
}

fn open_file(name: &str, access: OFlags) -> std::result::Result<Descriptor, Errno> {
    // O_NOFOLLOW: a symbolic link in a directory that all may write to is a trap. O_NONBLOCK: so is a pipe.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Descriptor::of(|| fs::open(path(name), flags, Mode::from_raw_mode(OWNER_ALONE)))
}

/// Makes the file that `name` shall lead to, readable and writable by its owner alone until the creator says otherwise.
/// `EEXIST` if the name leads to one already.
fn create_file(name: &str) -> std::result::Result<Descriptor, Errno> {
    // Without its name at first: the process's umask may forbid the owner to read and write, and a creator killed before
    // it has set that right would leave a file that only root can open.
    if let Ok(file) = unnamed_file() {
        let found = format!("/proc/self/fd/{}", file.number());
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
fn unnamed_file() -> std::result::Result<Descriptor, Errno> {
    let mode = Mode::from_raw_mode(OWNER_ALONE);
    let file = Descriptor::of(|| fs::open(SHM_DIR, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode))?;
    fs::fchmod(&file, mode)?;
    Ok(file)
}

fn open_error(name: &str, errno: Errno) -> Error {
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

/// Why the name leads nowhere.
fn not_found(name: &str) -> Error {
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

fn denied(name: &str) -> Error {
    Error::from(Cause::Denied { name: name.to_owned(), uid: rustix::process::geteuid().as_raw() })
}

fn check_type(name: &str, mode: u32) -> Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Error::from(Cause::Foreign { name: name.to_owned(), found: format!("a file of type {other:?}") })),
    }
}

/// A new open file description of the file that `file` was opened on, for reading and writing.
fn reopen(name: &str, file: &Descriptor) -> Result<Descriptor> {
    if file.is_ours() {
        let found = format!("/proc/self/fd/{}", file.number());
        match Descriptor::of(|| fs::open(&*found, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())) {
            Ok(own) if own.inode() == file.inode() => return Ok(own),
            // Without /proc, and if the number was reused in this instant, there is still the name.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(open_error(name, errno)),
        }
    }
    match open_by_name(name, file.inode(), OFlags::RDWR) {
        // The descriptor is there, and nothing leads to a second one.
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

/// Opens the file `inode`, of which there is no descriptor, by the segment's name.
fn open_by_name(name: &str, inode: Inode, access: OFlags) -> Result<Descriptor> {
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

fn anonymous_file() -> Result<Descriptor> {
    let create = |more| Descriptor::of(|| fs::memfd_create("seqcast", MemfdFlags::CLOEXEC | more));
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
        Err(Errno::NOENT) => Err(Error::from(Cause::NotFound { name: name.to_owned() })),
        Err(Errno::ACCESS | Errno::PERM) => Err(denied(name)),
        Err(Errno::ROFS) => Err(Error::from(Cause::ReadOnly { name: name.to_owned() })),
        Err(errno) => Err(Error::system(name, "unlink", errno)),
    }
}

/// Fills `bytes` from `at` on; returns how many there were.
fn read_at(name: &str, file: &Descriptor, bytes: &mut [u8], at: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(file, &mut *bytes, at)).map_err(|errno| Error::system(name, "pread", errno))
}

fn file_size(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Bytes that the file system of `file` has left.
fn free_space(file: &Descriptor) -> u64 {
    let memory = sys::available_memory().unwrap_or(u64::MAX);
    match fs::fstatvfs(file) {
        // The one that anonymous files are on has no limit of its own.
        Ok(of) if of.f_blocks == 0 => memory,
        Ok(of) => of.f_bavail.saturating_mul(of.f_frsize).min(memory),
        Err(_) => 0,
    }
}

/// Bytes that `file` has been given already.
fn allocated_bytes(name: &str, file: &Descriptor) -> Result<u64> {
    let stat = fs::fstat(file).map_err(|errno| Error::system(name, "fstat", errno))?;
    Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512))
}

/// How many names a file has.
#[allow(clippy::useless_conversion, reason = "the system's number has 32 bits on some processors")]
fn links(stat: &fs::Stat) -> u64 {
    u64::from(stat.st_nlink)
}

/// Refuses a file that has not all the memory of its first `end` bytes. A page that is missing is found or not found
/// when it is first touched, and not found is SIGBUS.
fn check_holes(name: &str, file: &Descriptor, end: u64) -> Result<()> {
    // Another file system may compress, and then the number of blocks says nothing. A tmpfs counts the pages it has given,
    // those that are swapped out included.
    const TMPFS_MAGIC: fs::FsWord = 0x0102_1994;
    if fs::fstatfs(file).is_ok_and(|of| of.f_type != TMPFS_MAGIC) {
        return Ok(());
    }
    let allocated = allocated_bytes(name, file)?;
    if allocated < end {
        Err(Error::from(Cause::Holes { name: name.to_owned(), size: end, allocated }))
    } else {
        Ok(())
    }
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
