//! The segment: made, found, checked, locked and removed.
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
//! | [`layout`], [`pools`], [`geometry`], [`fingerprint`] | what is where in a segment |
//! | [`options`], [`differences`] | what a caller asks for |
//! | [`creation`], [`draft`], [`header`] | find or make, fill in, check |
//! | [`names`], [`facts`], [`file`](self::file), [`storage`], [`remove`] | the file system |
//! | [`locks`] | holds on seats, the creation lock |
//! | [`memory`], [`unique_hash`], [`fault`] | what an open segment is made of |

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
use std::time::Instant;

use rustix::fs::OFlags;

use crate::error::{Difference, Error, Result};
use crate::identity::BusId;
use crate::os::descriptor::{Descriptor, Inode};
use crate::os::fork::ForkGuard;
use crate::os::mapping::Mapping;
use crate::protocol::claims::Claims;
use crate::protocol::pool::Pool;
use crate::protocol::ring::{Ring, stretch_for};
use crate::segment::geometry::{Geometry, Regions};
use crate::segment::layout::header_word;
use crate::segment::options::SegmentOptions;
use crate::segment::pools::PoolId;
use crate::segment::unique_hash::UniqueHash;
use crate::sync::{AtomicU32, AtomicU64, Ordering, Words};

use self::creation::{Call, Intent};
use self::draft::Draft;
pub use self::facts::FileFacts;
pub(crate) use self::facts::{file_names, segment_names};
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
    /// Its drop unlinks the name.
    _unlinker: Option<Unlinker>,
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
        let draft = Draft::new(ANONYMOUS, options, Instant::now())?;
        let file = anonymous_file()?;
        let (memory, birth) = draft.form_anonymous(&file)?;
        // Reads by the description that the system has made raise no event. Without /proc there is no other.
        let file = reopen(ANONYMOUS, &file).unwrap_or(file);
        Ok(Segment::made(ANONYMOUS, file, memory, &birth))
    }

    /// A segment that this call has made.
    fn made(name: &str, file: Descriptor, memory: Memory, birth: &Birth) -> Segment {
        Segment { created: true, ..Segment::found(name, file, memory, birth) }
    }

    /// A segment that was there.
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

    /// The word with the format of the bus's typed values. It is 0 until the first program that uses typed values
    /// stores its own, and never changes after that.
    #[inline]
    pub(crate) fn typed_format(&self) -> &AtomicU64 {
        self.memory.mapping.word64(header_word!(typed_format) * 8).expect("the header lies inside the mapping")
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

    /// Removes the name, if it still leads to this segment.
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
