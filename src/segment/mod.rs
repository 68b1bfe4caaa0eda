//! Segments: creation, opening, checks, locks and removal.
//!
//! ```text
//!         O_TMPFILE, linkat       pwrite              store of the magic
//! no name ----------------> empty --------> forming --------------------> finished ----> no name
//!                            ^                 |                                  unlink
//!                            +--- the holder of the lock on CREATION_BYTE continues
//! ```
//!
//! Only the holder of that lock changes a file that is not finished. The kernel takes the lock from a dead holder. A
//! finished file needs no lock. A creator writes `FORMING` before it gives the file a size. A creator that is killed at
//! any step leaves a file that is empty or forming, and the next one starts again from there. A file is never made
//! smaller, because other processes may have mapped it. A new file gets its name when its owner can open it, whatever
//! the umask is; where that is impossible, it is made under its name (`O_CREAT|O_EXCL`).
//!
//! NOT promised: that a name always leads to the same segment. Any process with the right to may remove the name.
//! Processes that have the segment open continue with it, and no other process can find it.
//!
//! | file | what |
//! |---|---|
//! | [`layout`], [`pools`], [`geometry`], [`fingerprint`] | the layout and the sizes |
//! | [`options`], [`differences`] | a caller's options |
//! | [`creation`], [`draft`], [`header`] | finding, creating and checking a segment |
//! | [`names`], [`facts`], [`file`], [`storage`], [`remove`] | the file system |
//! | [`locks`] | holds on seats, the creation lock |
//! | [`memory`], [`unique_hash`], [`fault`], [`ringing`] | parts of an open segment |

mod creation;
mod differences;
mod draft;
mod facts;
pub(crate) mod fault;
mod file;
pub(crate) mod fingerprint;
pub(crate) mod geometry;
mod header;
pub(crate) mod layout;
mod locks;
mod memory;
mod names;
pub(crate) mod options;
pub(crate) mod pools;
mod remove;
mod ringing;
mod storage;
pub(crate) mod unique_hash;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::error::{Difference, Error, Result};
use crate::identity::BusId;
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::mapping::Mapping;
use crate::protocol::bridge::BridgeWords;
use crate::protocol::claims::Claims;
use crate::protocol::large::LargeRing;
use crate::protocol::pool::Pool;
use crate::protocol::relay::{RELAY_WORDS, RelayWords};
use crate::protocol::retained::Table;
use crate::protocol::ring::{Ring, stretch_for};
use crate::protocol::room::Musts;
use crate::segment::geometry::{Geometry, Regions};
use crate::segment::layout::{header_word, relay_word};
use crate::segment::options::SegmentOptions;
use crate::segment::pools::PoolId;
use crate::segment::unique_hash::UniqueHash;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Words};

use self::creation::{Call, Intent};
use self::draft::Draft;
pub(crate) use self::facts::{file_names, file_of, segment_names};
use self::file::{anonymous_file, open_by_name, reopen};
pub(crate) use self::locks::{SeatLock, seat_byte, seat_of_byte};
use self::memory::{Birth, Memory};
use self::names::ANONYMOUS;
use self::remove::{Unlinker, remove_if};
pub(crate) use self::remove::{unlink, unlink_if_last, unlink_unheld};

/// A segment, mapped and open.
#[derive(Debug)]
pub(crate) struct Segment {
    name: String,
    /// Never locked, because forked children share its description. Other code of this process may have closed or
    /// reused its number: see [`file`](Segment::file).
    file: Descriptor,
    id: BusId,
    memory: Memory,
    unique_hash: UniqueHash,
    created: bool,
    differences: Vec<Difference>,
    /// `true` if a worker of this process has reported the differences.
    differences_reported: AtomicBool,
    /// Unlinks the name when it is dropped.
    _unlinker: Option<Unlinker>,
}

impl Segment {
    /// Creates the segment `name`, or finishes one that a dead creator left.
    pub(crate) fn create(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Create)?.run()
    }

    /// Opens the segment `name`.
    pub(crate) fn open(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Open)?.run()
    }

    /// Opens the segment `name`, or creates or finishes it.
    pub(crate) fn open_or_create(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::OpenOrCreate)?.run()
    }

    /// Opens the segment `name` read-only. A store to its words raises SIGSEGV.
    pub(crate) fn read_only(name: &str, options: &SegmentOptions) -> Result<Segment> {
        Call::new(name, options, Intent::Inspect)?.run()
    }

    /// Creates a segment without a name, for this process and its forked children.
    pub(crate) fn anonymous(options: &SegmentOptions) -> Result<Segment> {
        let draft = Draft::new(ANONYMOUS, options, Instant::now())?;
        let file = anonymous_file()?;
        let (memory, birth) = draft.form_anonymous(&file)?;
        // Reads through the description that `memfd_create` returns do not notify inotify. Without /proc there is no
        // other description.
        let file = reopen(ANONYMOUS, &file).unwrap_or(file);
        Ok(Segment::made(ANONYMOUS, file, memory, &birth))
    }

    /// Returns a segment that this call has created.
    fn made(name: &str, file: Descriptor, memory: Memory, birth: &Birth) -> Segment {
        Segment { created: true, ..Segment::found(name, file, memory, birth) }
    }

    /// Returns a segment that existed already.
    fn found(name: &str, file: Descriptor, memory: Memory, birth: &Birth) -> Segment {
        Segment {
            name: name.to_owned(),
            file,
            id: BusId::of_nonce(birth.nonce),
            memory,
            unique_hash: UniqueHash::new(birth.hash_key),
            created: false,
            differences: Vec::new(),
            differences_reported: AtomicBool::new(false),
            _unlinker: None,
        }
    }

    /// Returns the name with its slash, or `"(anonymous)"`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns what distinguishes this segment from all others, as read when it was opened.
    pub(crate) fn id(&self) -> BusId {
        self.id
    }

    /// Returns the sizes, as read when the segment was opened.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.memory.geometry
    }

    /// Returns the size of the segment in bytes.
    pub(crate) fn size(&self) -> usize {
        self.memory.regions.end
    }

    /// Returns the hash function for unique values of this segment.
    pub(crate) fn unique_hash(&self) -> &UniqueHash {
        &self.unique_hash
    }

    /// Returns `true` if the call that returned this handle created the segment.
    pub(crate) fn was_created(&self) -> bool {
        self.created
    }

    /// Returns the options in which the segment differs from those of the call that returned this handle.
    pub(crate) fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// As [`differences`](Segment::differences), for the worker that reports them. Returns them only once.
    pub(crate) fn differences_to_report(&self) -> Option<&[Difference]> {
        // Relaxed: nothing else depends on it.
        let any = !self.differences.is_empty() && !self.differences_reported.swap(true, Ordering::Relaxed);
        any.then_some(&self.differences)
    }

    /// Returns the words of the header before the event id. See [`header_word`].
    pub(crate) fn header(&self) -> Words {
        self.memory.header()
    }

    /// Returns the word with the format of the bus's typed values. It is 0 until the first program that uses typed
    /// values stores its own format, and never changes after that.
    #[inline]
    pub(crate) fn typed_format(&self) -> &AtomicU64 {
        self.memory.mapping.word64(header_word!(typed_format) * 8).expect("the header lies inside the mapping")
    }

    /// Returns the word of the global event id.
    pub(crate) fn tail(&self) -> Words {
        self.memory.tail()
    }

    /// Returns the words of all seats.
    pub(crate) fn seats(&self) -> Words {
        self.memory.seats()
    }

    pub(crate) fn ring(&self) -> Ring {
        Ring::new(self.pool(PoolId::Ring), self.tail(), self.seats(), stretch_for(self.geometry().capacity()))
    }

    pub(crate) fn claims(&self) -> Claims {
        Claims::new(
            self.pool(PoolId::Claims),
            self.geometry().pool(PoolId::Claims).cells as usize,
            self.seats(),
            self.tail(),
            self.geometry().capacity(),
        )
    }

    /// The table of retained events, if the segment has one.
    pub(crate) fn table(&self) -> Option<Table> {
        let first = self.geometry().pool(PoolId::Claims).cells as usize;
        self.geometry().has_table().then(|| {
            Table::new(self.ring(), self.pool(PoolId::Slots), self.pool(PoolId::Claims), first, self.memory.announced())
        })
    }

    /// Returns the words about the bridge that reads the segment.
    pub(crate) fn bridge(&self) -> BridgeWords {
        BridgeWords::new(self.memory.bridge())
    }

    /// The ring of large blocks, if the segment has one.
    pub(crate) fn large(&self) -> Option<LargeRing> {
        let blocks = self.geometry().large_blocks();
        (blocks > 0).then(|| {
            let tail = self.memory.large_tail();
            LargeRing::new(self.pool(PoolId::Large), tail, self.seats(), stretch_for(blocks))
        })
    }

    /// Returns the words that tell which readers are waited for.
    pub(crate) fn musts(&self) -> Musts {
        self.memory.musts()
    }

    /// Returns the longest patience of a post with a reader.
    pub(crate) fn most_patience(&self) -> Duration {
        Duration::from_nanos(self.geometry().most_patience)
    }

    /// Returns the words of the relay's region. See [`relay_word`].
    pub(crate) fn relay(&self) -> Words {
        self.memory.relay()
    }

    /// Returns the words in which a relay keeps what its successor must know.
    pub(crate) fn relay_words(&self) -> RelayWords {
        RelayWords::new(self.relay().sub(relay_word!(down.once), RELAY_WORDS), self.memory.origins())
    }

    /// Returns the cells and blocks of a pool.
    pub(crate) fn pool(&self, pool: PoolId) -> Pool {
        self.memory.pool(pool)
    }

    /// Returns the words of the hand that `seat` has in a pool.
    pub(crate) fn hand(&self, pool: PoolId, seat: u16) -> Words {
        self.memory.hand(pool, seat)
    }

    /// Returns the mapping. It stays mapped while the `Arc` lives.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.memory.mapping
    }

    /// Returns the wake word at a word of the header: `header_word!(wake)`, `wake_reserved` or
    /// `wake_room`.
    #[inline]
    pub(crate) fn wake_word(&self, header_word: usize) -> &AtomicU32 {
        self.memory.mapping.word32(header_word * 8).expect("the header lies inside the mapping")
    }

    /// Returns the segment's own descriptor. If its number was closed or reused, opens the file again by the segment's
    /// name.
    fn file(&self) -> Result<&Descriptor> {
        let number = self.file.number();
        if !self.file.is_ours() {
            self.file.replace(number, open_by_name(&self.name, self.file.inode(), OFlags::RDONLY)?);
        }
        Ok(&self.file)
    }

    /// Opens a new description of the same file, which is not shared, also in a forked child.
    pub(crate) fn own_description(&self) -> Result<Descriptor> {
        reopen(&self.name, &self.file)
    }

    /// Returns `true` if the name still leads to this segment. Always `true` for a segment without a name.
    pub(crate) fn is_current(&self) -> Result<bool> {
        if self.name == ANONYMOUS {
            return Ok(true);
        }
        Ok(Inode::of_name(&self.name)? == Some(self.file.inode()))
    }

    /// Returns the device and inode number of the segment's file.
    pub(crate) fn inode(&self) -> (u64, u64) {
        (self.file.inode().device, self.file.inode().number)
    }

    /// Returns the offsets of the regions.
    pub(crate) fn regions(&self) -> &Regions {
        &self.memory.regions
    }

    /// Returns the options that are set in `options` and differ from the segment's.
    pub(crate) fn differences_from(&self, options: &SegmentOptions) -> Result<Vec<Difference>> {
        let stat = rustix::fs::fstat(self.file()?).map_err(|errno| self.system("fstat", errno.into()))?;
        Ok(differences::differences(options, self.geometry(), &stat))
    }

    /// Removes the name if it still leads to this segment.
    pub(crate) fn unlink(&self) -> Result<()> {
        remove_if(&self.name, self.file.inode())
    }

    fn system(&self, call: &'static str, error: io::Error) -> Error {
        Error::system(&self.name, call, error)
    }
}

/// Returns a guard of the calling process, for a handle on the segment `name`.
pub(crate) fn fork_guard(name: &str) -> Result<ForkGuard> {
    ForkGuard::new().map_err(|failed| Error::system(name, failed.call, failed.source))
}

#[cfg(test)]
mod tests;
