//! What is asked of a segment.

use std::time::Duration;

use super::geometry::{
    BUCKET_STRIDE, Geometry, LEAST_BLOCK, LEAST_CAPACITY, MOST_BLOCK, MOST_BLOCKS, MOST_SEATS, PoolSize, buckets_for,
    stride_for,
};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// What a new segment is to be like, and what an existing one must be like to be opened.
///
/// The defaults suit four workers with small events and make a segment of about 5 MiB. Sizes count when a segment is
/// created; an existing one keeps its own. That it differs is told, or refused: see [`strict`](SegmentOptions::strict).
///
/// ```
/// let options = seqcast::SegmentOptions::new().capacity(1024).seats(32).mode(0o660);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a segment is made or opened with them"]
pub struct SegmentOptions {
    pub(super) capacity: u64,
    pub(super) block_size: u64,
    pub(super) claims: u64,
    pub(super) seats: u64,
    pub(crate) mode: u32,
    pub(crate) owner: Option<(u32, u32)>,
    pub(super) asked: Asked,
    pub(super) strict: bool,
    pub(crate) unlink_on_drop: bool,
    pub(crate) creation_timeout: Duration,
    pub(crate) dump: bool,
}

/// Which options the caller has set. One that was left at its default is no wish.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) capacity: bool,
    pub(super) block_size: bool,
    pub(super) claims: bool,
    pub(super) seats: bool,
    pub(super) mode: bool,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions {
            capacity: 8192,
            block_size: 288,
            claims: 8192,
            seats: 64,
            mode: 0o600,
            owner: None,
            asked: Asked::default(),
            strict: false,
            unlink_on_drop: false,
            creation_timeout: Duration::from_secs(5),
            dump: false,
        }
    }
}

impl SegmentOptions {
    /// The defaults.
    pub fn new() -> SegmentOptions {
        SegmentOptions::default()
    }

    /// How many events the ring holds: a power of two from 8 to 524,288. Default 8192.
    ///
    /// A worker that falls behind by more misses events, and is told how many.
    pub fn capacity(mut self, events: u64) -> SegmentOptions {
        self.capacity = events;
        self.asked.capacity = true;
        self
    }

    /// Bytes of a block: the largest event that travels in one piece, with its source, its name and 16 bytes more; 64
    /// to 1,048,576, rounded up to an odd number of cache lines less 32. Default 288. Larger events travel as several.
    pub fn block_size(mut self, bytes: u64) -> SegmentOptions {
        self.block_size = bytes;
        self.asked.block_size = true;
        self
    }

    /// How many unique keys are held at once: keys per ttl, and unique events in the ring. At most 1,048,576.
    /// Default 8192.
    pub fn claims(mut self, keys: u64) -> SegmentOptions {
        self.claims = keys;
        self.asked.claims = true;
        self
    }

    /// How many workers can be on the bus at once: 1 to 65,536; at least twice what is expected, since a reload has old
    /// and new side by side. Default 64.
    pub fn seats(mut self, workers: u64) -> SegmentOptions {
        self.seats = workers;
        self.asked.seats = true;
        self
    }

    /// Permission bits of a new segment, and the widest that an existing one may have. Default `0o600`.
    ///
    /// Whoever may write to a segment can spoil it for all. Whoever may only read it sees all payloads, and can keep
    /// workers from joining, by read locks on the bytes whose locks are the workers' seats; those who have joined go
    /// on. `seqcast doctor` names the process that does so. Give no right to users who are not to be trusted with that.
    pub fn mode(mut self, mode: u32) -> SegmentOptions {
        self.mode = mode;
        self.asked.mode = true;
        self
    }

    /// User and group that a new segment is given to, for workers that drop their privileges; and the user that, beside
    /// the caller's own, an existing one may belong to. Default: the caller's own.
    pub fn owner(mut self, uid: u32, gid: u32) -> SegmentOptions {
        self.owner = Some((uid, gid));
        self
    }

    /// Whether [`Bus::open_or_create`](crate::Bus::open_or_create) refuses an existing segment in which an option that
    /// was set here is otherwise, with [`ErrorKind::OptionsDiffer`]: of `capacity`, `block_size`, `claims`, `seats`,
    /// `mode` and `owner`. Default: no; it is opened as it is, and the difference is reported. See
    /// [`Bus::differences`](crate::Bus::differences).
    pub fn strict(mut self, yes: bool) -> SegmentOptions {
        self.strict = yes;
        self
    }

    /// Whether the name is unlinked when the [`Bus`](crate::Bus) that created it is dropped, in the process that
    /// created it. Default: no.
    pub fn unlink_on_drop(mut self, yes: bool) -> SegmentOptions {
        self.unlink_on_drop = yes;
        self
    }

    /// Whether the segment is a part of this process's core dumps, as far as `/proc/PID/coredump_filter` admits it.
    /// Default: no. It holds the events of all workers, also such as a crash report should not carry away, and makes
    /// the dump of each worker larger by its size. A copy of the file under `/dev/shm` shows the same.
    pub fn dump(mut self, yes: bool) -> SegmentOptions {
        self.dump = yes;
        self
    }

    /// How long to wait for another process that is just creating the segment; zero does not wait. It also bounds how
    /// long signals can interrupt the creation. Default 5 s.
    pub fn creation_timeout(mut self, timeout: Duration) -> SegmentOptions {
        self.creation_timeout = timeout;
        self
    }

    /// Returns the events that the ring holds.
    pub fn get_capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the bytes of a block, as they were asked for.
    pub fn get_block_size(&self) -> u64 {
        self.block_size
    }

    /// Returns the unique keys held at once.
    pub fn get_claims(&self) -> u64 {
        self.claims
    }

    /// Returns the workers that can be on the bus at once.
    pub fn get_seats(&self) -> u64 {
        self.seats
    }

    /// Returns the permission bits.
    pub fn get_mode(&self) -> u32 {
        self.mode
    }

    /// Returns the user and group, if they were set.
    pub fn get_owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// Returns how long a call waits for another creator.
    pub fn get_creation_timeout(&self) -> Duration {
        self.creation_timeout
    }

    /// The sizes of a segment made with these options.
    pub(crate) fn geometry(&self) -> Result<Geometry> {
        let SegmentOptions { capacity, block_size, claims, seats, mode, .. } = *self;
        let most_capacity = MOST_BLOCKS / 2;
        if !capacity.is_power_of_two() || !(LEAST_CAPACITY..=most_capacity).contains(&capacity) {
            let rule = format!("it must be a power of two from {LEAST_CAPACITY} to {most_capacity}");
            return Err(Error::option("capacity", capacity, rule));
        }
        if !(1..=MOST_SEATS).contains(&seats) {
            return Err(Error::option("seats", seats, format!("it must be 1 to {MOST_SEATS}")));
        }
        if !(LEAST_BLOCK..=MOST_BLOCK).contains(&block_size) {
            let rule = format!("it must be {LEAST_BLOCK} to {MOST_BLOCK} bytes");
            return Err(Error::option("block_size", block_size, rule));
        }
        let most_claims = MOST_BLOCKS;
        if !(1..=most_claims).contains(&claims) {
            return Err(Error::option("claims", claims, format!("it must be 1 to {most_claims}")));
        }
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 {
            let rule = "it must be permission bits with read and write for the owner, as 0o600 or 0o660";
            return Err(Error::option("mode", format_args!("{mode:#o}"), rule));
        }
        let ring = PoolSize { cells: capacity, stride: stride_for(block_size) };
        let buckets = PoolSize { cells: buckets_for(claims), stride: BUCKET_STRIDE };
        let geometry = Geometry { seats, pools: [ring, buckets] };
        match geometry.check() {
            Ok(_) => Ok(geometry),
            Err(what) => {
                let value = format!("{capacity} with seats = {seats} and claims = {claims}");
                Err(Error::option("capacity", value, what))
            }
        }
    }
}
