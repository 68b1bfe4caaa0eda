//! Looking into a segment without taking part in it.
//!
//! Everything here but the two repairs maps the segment for reading only and takes no seat, so that it can
//! change nothing, hold up nobody and be noticed by nobody. It reads the same layout by the same code as the workers
//! do; the command `seqcast` (package `seqcast-cli`) is made of it.
//!
//! ```
//! use seqcast::inspect::{Inspector, Seen};
//! use seqcast::{SegmentOptions, Start};
//!
//! # let name = format!("doc-inspect-{}", std::process::id());
//! # let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
//! # let worker = bus.join()?;
//! worker.post(("cache", "stale"), "user:42")?;
//! let inspector = Inspector::open(&name)?;
//! assert_eq!(inspector.stats()?.workers.len(), 1);
//! let mut tail = inspector.tail(Start::Oldest)?;
//! while let Some(seen) = tail.next()? {
//!     if let Seen::Event(event) = seen {
//!         println!("{} {}/{}: {} bytes", event.id, event.source, event.event, event.len);
//!     }
//! }
//! # Ok::<(), seqcast::Error>(())
//! ```
//!
//! An inspector may miss events: writers never wait for it. It reports what it missed as [`Seen::Gap`].

mod claims;
mod processes;
mod repair;
mod tail;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::claims::{ClaimEntry, ClaimKind, KeyHash, Winner};
pub use self::processes::{Namespaces, OpenBy, Processes};
pub use self::repair::{adopt_dead, unlink_unheld};
pub use self::tail::{Seen, SeenEvent, SeenUnique, Tail, UniqueState};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::identity::BusId;
use crate::os::sys;
pub use crate::os::text::{Printable, is_printable, printable};
use crate::protocol::claims::{BUCKET_HEAD_WORDS, ENTRY_WORDS};
use crate::protocol::{pool, seat_words};
pub use crate::seat::audit::{Audit, PoolAudit};
use crate::seat::options::Start;
use crate::seat::stats::Stats;
use crate::seat::words::SeatWords;
pub use crate::segment::FileFacts;
pub use crate::segment::layout::Field;
use crate::segment::layout::{self, HEADER_BYTES, header_word, seat_word};
use crate::segment::options::SegmentOptions;
use crate::segment::pools::{POOLS, PoolId};
use crate::segment::{self, Segment};
use crate::sync::Ordering;

/// How long [`Inspector::open_any`] waits for a creator that is at work.
const PATIENCE_WITH_CREATORS: Duration = Duration::from_millis(200);

/// A segment, mapped for reading only.
///
/// Clones are the same mapping. It is safe on any content; but whoever may write to a segment may also cut it off, and
/// then a look at it is SIGBUS, as with every mapped file.
#[derive(Clone)]
pub struct Inspector {
    segment: Arc<Segment>,
}

impl SegmentOptions {
    /// Opens the segment `name` for looking at it: it is mapped read-only. Only `mode`, `owner` and `creation_timeout`
    /// are used.
    ///
    /// # Errors
    ///
    /// As [`open`](SegmentOptions::open).
    pub fn inspect(&self, name: &str) -> Result<Inspector> {
        Segment::read_only(name, self).map(|segment| Inspector { segment: Arc::new(segment) })
    }
}

impl Inspector {
    /// Opens the segment `name` with the default options; for others, see [`SegmentOptions::inspect`].
    ///
    /// # Errors
    ///
    /// As [`Bus::open`](crate::Bus::open).
    pub fn open(name: &str) -> Result<Inspector> {
        SegmentOptions::new().inspect(name)
    }

    /// Opens the segment `name`, whoever owns it and whatever its mode: those protect the ones who take part.
    ///
    /// # Errors
    ///
    /// As [`Bus::open`](crate::Bus::open), except for owner and mode.
    pub fn open_any(name: &str) -> Result<Inspector> {
        Inspector::open_waiting(name, PATIENCE_WITH_CREATORS)
    }

    /// As [`open_any`](Inspector::open_any), but does not wait for a creator that is at work: for looking at many
    /// segments.
    ///
    /// # Errors
    ///
    /// As `open_any`; [`ErrorKind::Busy`] at once if the segment is just being created.
    pub fn open_any_now(name: &str) -> Result<Inspector> {
        Inspector::open_waiting(name, Duration::ZERO)
    }

    fn open_waiting(name: &str, patience: Duration) -> Result<Inspector> {
        let (name, FileFacts { uid, gid, .. }) = FileFacts::of(name)?;
        let anyone = SegmentOptions::new().mode(0o7777).owner(uid, gid).creation_timeout(patience);
        anyone.inspect(&name)
    }

    /// The segment's name, with its slash.
    pub fn name(&self) -> &str {
        self.segment.name()
    }

    /// The bus's identity, as [`Bus::id`](crate::Bus::id).
    pub fn id(&self) -> BusId {
        self.segment.id()
    }

    /// Who made the segment, when and how.
    pub fn header(&self) -> Header {
        let words = self.segment.header();
        // Relaxed: written once, before the magic that was read when the segment was opened.
        let word = |index: usize| words.at(index).load(Ordering::Relaxed);
        let boot = [word(header_word!(boot_id)), word(header_word!(boot_id) + 1)];
        Header {
            layout_version: layout::LAYOUT_VERSION,
            fingerprint: word(header_word!(fingerprint)),
            typed_format: Some(self.segment.typed_format().load(Ordering::Relaxed)).filter(|&format| format != 0),
            boot_id: (boot != [0; 2]).then(|| u128::from(boot[0]) << 64 | u128::from(boot[1])),
            same_boot_id: boot == sys::boot_id(),
            creator_pid: word(header_word!(creator_pid)) as u32,
            created_at: SystemTime::UNIX_EPOCH + Duration::from_nanos(word(header_word!(created_at))),
        }
    }

    /// The sizes that decide the layout.
    pub fn geometry(&self) -> Sizes {
        let geometry = self.segment.geometry();
        let (ring, claims) = (geometry.pool(PoolId::Ring), geometry.pool(PoolId::Claims));
        Sizes {
            size: self.segment.size() as u64,
            capacity: ring.cells,
            block_stride: ring.stride,
            block_size: geometry.block_bytes() as u64,
            largest_event: geometry.largest_message() as u64,
            seats: geometry.seats as u32,
            buckets: claims.cells,
            bucket_stride: claims.stride,
            bucket_entries: self.segment.claims().entries_per_bucket() as u64,
        }
    }

    /// What is where, in order.
    pub fn regions(&self) -> Vec<Region> {
        let (geometry, at) = (self.segment.geometry(), self.segment.regions());
        let mut regions = vec![
            Region::of("header", 0, 1, HEADER_BYTES as u64, &["header"]),
            Region::of("seats", at.seats, geometry.seats, seat_words::WORDS as u64 * 8, &["seat"]),
        ];
        for (spec, at) in POOLS.iter().zip(&at.pools) {
            let (size, blocks) = (geometry.pool(spec.id), geometry.blocks(spec.id));
            regions.push(Region::of(spec.cells_region, at.cells, size.cells, 8, &[]));
            regions.push(Region::of(spec.blocks_region, at.blocks, blocks, size.stride, spec.block_parts));
        }
        regions
    }

    /// What the workers have counted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell which workers live; [`ErrorKind::Corrupt`].
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(&self.segment)
    }

    /// Troubles that were met and survived, over all seats: by each seat's present or last holder since it joined,
    /// except for `reclaimed`, which is since the segment was created.
    pub fn faults(&self) -> Faults {
        let seats = self.segment.seats();
        let mut faults = Faults::default();
        for seat in 0..=self.segment.geometry().last_seat() {
            let words = SeatWords::of(&seats, seat);
            for (sum, word) in [
                (&mut faults.voided, seat_word!(reading.voided)),
                (&mut faults.missed, seat_word!(reading.missed)),
                (&mut faults.lagged, seat_word!(reading.lagged)),
                (&mut faults.corrupt, seat_word!(reading.corrupt)),
                (&mut faults.failed, seat_word!(reading.failed)),
                (&mut faults.claims_full, seat_word!(claiming.full)),
                (&mut faults.claims_late, seat_word!(claiming.late)),
                (&mut faults.orphaned, seat_word!(reading.orphaned)),
                (&mut faults.reclaimed, seat_word!(identity.adopted)),
            ] {
                // Hostile counts may be anything.
                *sum = sum.wrapping_add(words.get(word));
            }
        }
        faults
    }

    /// The next id to be posted.
    pub fn next_id(&self) -> u64 {
        self.segment.ring().newest()
    }

    /// The oldest id that the ring still holds.
    pub fn oldest_id(&self) -> u64 {
        self.segment.ring().oldest()
    }

    /// Whether the name still leads to this segment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`].
    pub fn is_current(&self) -> Result<bool> {
        self.segment.is_current()
    }

    /// Whether a process that runs or is stopped holds `seat`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`].
    pub fn is_seat_held(&self, seat: u32) -> Result<bool> {
        match u16::try_from(seat) {
            Ok(seat) if seat <= self.segment.geometry().last_seat() => self.segment.is_seat_held(seat),
            _ => Ok(false),
        }
    }

    /// Every key that is held, and every key of which the segment remembers the decision; see [`ClaimEntry`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`].
    pub fn claims(&self) -> Result<Vec<ClaimEntry>> {
        claims::all(&self.segment)
    }

    /// The claim that holds the key, if one does: of unique events or of claims that stand alone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`]; [`ErrorKind::Option`] for an empty key.
    pub fn claim_on(&self, kind: ClaimKind, key: &[u8]) -> Result<Option<ClaimEntry>> {
        claims::on(&self.segment, kind, key)
    }

    /// Which processes, as far as the system lets this one see, have the segment open, and the seats that they hold.
    pub fn processes(&self) -> Processes {
        Processes::of(&self.segment)
    }

    /// A reader of all events from `start` on. It takes no seat: workers neither wait for it nor know of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotYet`] for an id that was not posted yet; [`ErrorKind::OtherBus`] for a position on another bus.
    pub fn tail(&self, start: Start) -> Result<Tail> {
        Tail::new(&self.segment, start)
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Who made a segment, when and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// The version of its layout.
    pub layout_version: u32,
    /// A hash of everything that decides how its makers read and write it.
    pub fingerprint: u64,
    /// The format of the typed values on the bus, as rkyv's features decide it; `None` if no program has used any yet.
    pub typed_format: Option<u64>,
    /// The boot id under which it was made, if that was known.
    pub boot_id: Option<u128>,
    /// Whether this process is shown the same one. Containers may be shown boot ids of their own.
    pub same_boot_id: bool,
    /// Process id of the creator, in its own pid namespace.
    pub creator_pid: u32,
    /// When it was created.
    pub created_at: SystemTime,
}

/// The sizes that decide a segment's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Bytes of the segment.
    pub size: u64,
    /// Events that the ring holds.
    pub capacity: u64,
    /// Bytes from block to block.
    pub block_stride: u64,
    /// Bytes that a block holds.
    pub block_size: u64,
    /// Bytes of the largest event, in several fragments.
    pub largest_event: u64,
    /// Worker seats.
    pub seats: u32,
    /// Buckets of claims.
    pub buckets: u64,
    /// Bytes from bucket block to bucket block.
    pub bucket_stride: u64,
    /// Keys that a bucket holds.
    pub bucket_entries: u64,
}

/// A part of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Region {
    /// `"header"`, `"seats"`, `"ring"`, `"blocks"`, `"claims"` or `"buckets"`.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How many things of a kind it holds.
    pub count: u64,
    /// Bytes from one of them to the next.
    pub stride: u64,
    /// What each of them is made of, by the regions of [`fields`]; empty if it is one word.
    pub parts: &'static [&'static str],
}

impl Region {
    fn of(name: &'static str, offset: usize, count: u64, stride: u64, parts: &'static [&'static str]) -> Region {
        Region { name, offset: offset as u64, count, stride, parts }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.count * self.stride
    }

    /// Whether there is nothing in it. There never is.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Troubles that were met and survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Reserved ids that readers gave up for all.
    pub voided: u64,
    /// Ids that readers missed by being lapped.
    pub missed: u64,
    /// Times that readers were lapped.
    pub lagged: u64,
    /// Malformed events met.
    pub corrupt: u64,
    /// Handlers that failed, and reporters that panicked.
    pub failed: u64,
    /// Claims for which there was no room.
    pub claims_full: u64,
    /// Unique events reached too late to know their fate.
    pub claims_late: u64,
    /// Unique events that nobody ran, as their handlers were gone when the worker that had claimed them came to them.
    pub orphaned: u64,
    /// Worker seats taken over from the dead.
    pub reclaimed: u64,
}

/// The words of `protocol::pool` and `protocol::claims`; as many as they have, or this does not compile.
const BLOCK_HEAD: [&str; pool::HEAD_WORDS] = ["stamp", "cell", "version", "meta"];
const BUCKET_HEAD: [&str; BUCKET_HEAD_WORDS] = ["floor"];
const ENTRY: [&str; ENTRY_WORDS] = ["key0", "key1", "deadline", "first", "last", "token", "since"];

/// The layout table with all that repeats: the fields of the header, of a seat, and of what blocks and buckets hold.
/// Offsets are from the beginning of the header, the seat, the block, the bucket's payload or the entry.
pub fn fields() -> Vec<Field> {
    let mut rows = layout::fields();
    let mut words = |region, names: &[&'static str], writer| {
        rows.extend(names.iter().enumerate().map(|(i, &name)| Field { region, name, offset: i * 8, len: 8, writer }));
    };
    words("block", &BLOCK_HEAD, "poster");
    words("bucket", &BUCKET_HEAD, "claimer");
    words("entry", &ENTRY, "claimer");
    rows
}

/// A segment of this host.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Its name, with its slash.
    pub name: String,
    /// Its file.
    pub file: FileFacts,
    /// The segment, or why it cannot be looked into.
    pub opened: Result<Inspector>,
}

impl Listed {
    /// The segment `name` alone, whoever owns it and whatever is wrong with it. Waits for nobody.
    ///
    /// # Errors
    ///
    /// If there is no segment, none that may be read, or something that is none: [`ErrorKind::Name`],
    /// [`ErrorKind::NotFound`], [`ErrorKind::Foreign`], [`ErrorKind::Denied`], [`ErrorKind::System`].
    pub fn named(name: &str) -> Result<Listed> {
        let (name, file) = FileFacts::of(name)?;
        match Inspector::open_any_now(&name) {
            Err(error) if is_unreadable(error.kind()) => Err(error),
            opened => Ok(Listed { name, file, opened }),
        }
    }
}

/// Whether there is no segment, or none that may be read.
fn is_unreadable(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Foreign | ErrorKind::Denied | ErrorKind::System)
}

/// The names, with their slash and sorted, of all finished segments that this user may read, of this layout or another.
///
/// Unlike [`list`] this maps nothing and waits for nobody.
///
/// # Errors
///
/// [`ErrorKind::System`] if shared memory cannot be listed.
///
/// ```
/// # use seqcast::SegmentOptions;
/// # let name = format!("/doc-names-{}", std::process::id());
/// let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// assert!(seqcast::inspect::names()?.contains(&name));
/// # Ok::<(), seqcast::Error>(())
/// ```
pub fn names() -> Result<Vec<String>> {
    segment::segment_names().map_err(|error| Error::system("/dev/shm", "readdir", error))
}

/// The segments of this host, by name, those included that this build cannot read or nobody uses. What belongs to
/// others, may not be read, or is an empty file, is left out: nothing says that it is ours. Waits for nobody: a segment
/// that is just being created is [`ErrorKind::Busy`].
///
/// # Errors
///
/// [`ErrorKind::System`] if shared memory cannot be listed.
pub fn list() -> Result<Vec<Listed>> {
    let names = segment::file_names().map_err(|error| Error::system("/dev/shm", "readdir", error))?;
    let mut listed = Vec::new();
    for name in names {
        let Ok((name, file)) = FileFacts::of(&name) else { continue };
        let opened = Inspector::open_any_now(&name);
        let ours = match &opened {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::Unfinished => file.size > 0,
            Err(error) => matches!(
                error.cause(),
                Cause::Busy { .. }
                    | Cause::Layout { .. }
                    | Cause::Fingerprint { .. }
                    | Cause::OtherBoot { .. }
                    | Cause::Truncated { .. }
                    | Cause::Holes { .. }
                    | Cause::Corrupt { .. }
            ),
        };
        if ours {
            listed.push(Listed { name, file, opened });
        }
    }
    Ok(listed)
}

/// The file of the segment `name`, be it readable or not.
///
/// # Errors
///
/// [`ErrorKind::Name`], [`ErrorKind::NotFound`], [`ErrorKind::Foreign`] if it is no regular file.
pub fn file_facts(name: &str) -> Result<(String, FileFacts)> {
    FileFacts::of(name)
}

/// When a process started, in clock ticks since boot, as [`WorkerStats::start_time`](crate::WorkerStats::start_time)
/// says it: to tell a process from a later one with its id. `None` if there is no such process here.
pub fn process_start_time(pid: u32) -> Option<u64> {
    sys::process_start_time(pid)
}
