//! Options of a segment.

use std::time::Duration;

use super::geometry::{
    BUCKET_STRIDE, Geometry, LEAST_BLOCK, LEAST_CAPACITY, LEAST_LARGE_BLOCKS, MOST_BLOCK, MOST_BLOCKS,
    MOST_LARGE_BLOCK, MOST_PATIENCE, MOST_RELAY_HOSTS, MOST_RETAINED, MOST_SEATS, PoolSize, buckets_for,
    slot_stride_for, slots_for, stride_for,
};
use super::unique_hash::UniqueHash;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// Options to create a segment, or to open an existing one.
///
/// The defaults suit four workers with small events and make a segment of about 5 MiB. Sizes are used when a segment is
/// created; an existing segment keeps its own. A difference is reported, or refused with
/// [`strict`](SegmentOptions::strict).
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
    pub(super) retained: u64,
    /// `None`: as large as a block.
    retained_size: Option<u64>,
    /// The number of public large blocks, and their bytes.
    pub(super) large: Option<(u64, u64)>,
    pub(super) seats: u64,
    pub(super) most_patience: Duration,
    pub(super) relay_hosts: u64,
    pub(crate) mode: u32,
    pub(crate) owner: Option<(u32, u32)>,
    pub(super) asked: Asked,
    pub(super) strict: bool,
    pub(crate) unlink_on_drop: bool,
    pub(crate) creation_timeout: Duration,
    pub(crate) dump: bool,
    pub(crate) keys_of: Option<UniqueHash>,
}

/// Which options the caller has set. Options at their default are not compared with an existing segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) capacity: bool,
    pub(super) block_size: bool,
    pub(super) claims: bool,
    pub(super) retained: bool,
    pub(super) retained_size: bool,
    pub(super) large: bool,
    pub(super) seats: bool,
    pub(super) most_patience: bool,
    pub(super) relay_hosts: bool,
    pub(super) mode: bool,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions {
            capacity: 8192,
            block_size: 288,
            claims: 8192,
            retained: 64,
            retained_size: None,
            large: None,
            seats: 64,
            most_patience: Duration::from_secs(1),
            relay_hosts: 256,
            mode: 0o600,
            owner: None,
            asked: Asked::default(),
            strict: false,
            unlink_on_drop: false,
            creation_timeout: Duration::from_secs(5),
            dump: false,
            keys_of: None,
        }
    }
}

impl SegmentOptions {
    /// Returns the defaults.
    pub fn new() -> SegmentOptions {
        SegmentOptions::default()
    }

    /// Sets how many events the ring holds: a power of two from 8 to 524,288. Default: 8192.
    ///
    /// A worker that falls further behind misses events, and is told how many.
    pub fn capacity(mut self, events: u64) -> SegmentOptions {
        self.capacity = events;
        self.asked.capacity = true;
        self
    }

    /// Sets the bytes of a block: the size of the largest event that is not fragmented, including its source, its name
    /// and 16 bytes more. From 64 to 1,048,576, rounded up to an odd number of cache lines minus 32 bytes. Default:
    /// 288. Larger events are posted as several fragments.
    pub fn block_size(mut self, bytes: u64) -> SegmentOptions {
        self.block_size = bytes;
        self.asked.block_size = true;
        self
    }

    /// Sets how many unique keys can be held at once: keys per ttl, and unique events in the ring. At most 1,048,576.
    /// Default: 8192.
    pub fn claims(mut self, keys: u64) -> SegmentOptions {
        self.claims = keys;
        self.asked.claims = true;
        self
    }

    /// Sets how many keys can have a [retained](crate::EventBuilder::retain) event at the same time: 0 to 262,144. With
    /// 0, no event can be retained. Default: 64.
    ///
    /// Up to 64 keys, there is room for exactly this number. For more, the segment has twice as many places, so that
    /// there is room for any keys. A key that was cleared, or that has expired, gives its place to another key.
    pub fn retained(mut self, keys: u64) -> SegmentOptions {
        self.retained = keys;
        self.asked.retained = true;
        self
    }

    /// Sets the bytes of the largest retained event, with its source, its name, its key and 48 bytes more; 64 to
    /// 1,048,576, rounded up to an odd number of cache lines less 64. Default: the block size.
    pub fn retained_size(mut self, bytes: u64) -> SegmentOptions {
        self.retained_size = Some(bytes);
        self.asked.retained_size = true;
        self
    }

    /// Adds a second ring of `blocks` large blocks, each for a payload of up to `bytes` bytes. Default: none.
    ///
    /// An event whose payload does not fit in a block is then posted in one large block, instead of in a fragment for
    /// each block: this takes two publications, whatever the size, and readers without a handler for the event do not
    /// touch its payload. A payload of more than `bytes` bytes is posted in fragments, and so is an event whose names
    /// do not fit in a block with up to 79 bytes more.
    ///
    /// `blocks` is a power of two from 2 to 524,288. A worker that falls further than `blocks` large events behind
    /// misses the oldest of them, and is told so, even if the ring still holds their ids. `bytes` is 64 to 67,108,864,
    /// rounded up to an odd number of cache lines less 32 bytes. Each worker has a large block of its own, so the
    /// segment grows by `(blocks + seats) * bytes`.
    ///
    /// ```
    /// let bus = seqcast::SegmentOptions::new().large(64, 64 << 10).seats(8).anonymous()?;
    /// let mut publisher = bus.publisher()?;
    /// publisher.post(("page", "rendered"), vec![7; 64 << 10])?;
    /// assert_eq!(bus.stats()?.workers[0].large, 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn large(mut self, blocks: u64, bytes: u64) -> SegmentOptions {
        self.large = Some((blocks, bytes));
        self.asked.large = true;
        self
    }

    /// Sets how many workers can be on the bus at once: 1 to 65,536. Choose at least twice the expected number, because
    /// old and new workers are on the bus together during a reload. Default: 64.
    pub fn seats(mut self, workers: u64) -> SegmentOptions {
        self.seats = workers;
        self.asked.seats = true;
        self
    }

    /// Sets the longest time for which a worker may have posts wait for it: see
    /// [`WorkerOptions::must_read`](crate::WorkerOptions::must_read). At most an hour. With zero, posts wait for no
    /// worker. Default: 1 s.
    pub fn most_patience(mut self, patience: Duration) -> SegmentOptions {
        self.most_patience = patience;
        self.asked.most_patience = true;
        self
    }

    /// Sets of how many hosts a [relay](crate::relay) can remember what has come from them: 0 to 65,536. With 0, there
    /// can be no relay. Default: 256.
    ///
    /// A segment that is created again counts as another host until the relay forgets the old one. Each takes 16 bytes:
    /// the default is one page, a thousandth of a segment of the default size, so that a relay can be started on a
    /// segment whose creator did not think of one.
    pub fn relay_hosts(mut self, hosts: u64) -> SegmentOptions {
        self.relay_hosts = hosts;
        self.asked.relay_hosts = true;
        self
    }

    /// Sets the permission bits of a new segment, and the widest that an existing one may have. Default: `0o600`.
    ///
    /// A process with write access can corrupt the segment for all workers. A process with only read access sees all
    /// payloads, and can keep workers from joining by read locks on the bytes whose locks are the seats; workers that
    /// have joined continue. `seqcast doctor` names a process that does so. Do not give access to users that you do not
    /// trust with that.
    pub fn mode(mut self, mode: u32) -> SegmentOptions {
        self.mode = mode;
        self.asked.mode = true;
        self
    }

    /// Sets the user and group of a new segment, for workers that drop their privileges. An existing segment may belong
    /// to this user or to the caller's own. Default: the caller's own user and group.
    pub fn owner(mut self, uid: u32, gid: u32) -> SegmentOptions {
        self.owner = Some((uid, gid));
        self
    }

    /// Sets whether [`Bus::open_or_create`](crate::Bus::open_or_create) fails with [`ErrorKind::OptionsDiffer`] if an
    /// existing segment differs in an option that was set here: `capacity`, `block_size`, `claims`, `retained`,
    /// `retained_size`, `large`, `seats`, `most_patience`, `relay_hosts`, `mode` or `owner`. Default: `false`: the
    /// segment is opened as it is, and the difference is reported. See [`Bus::differences`](crate::Bus::differences).
    pub fn strict(mut self, yes: bool) -> SegmentOptions {
        self.strict = yes;
        self
    }

    /// Sets whether the name is unlinked when the [`Bus`](crate::Bus) that created the segment is dropped in the
    /// process that created it. Default: `false`.
    pub fn unlink_on_drop(mut self, yes: bool) -> SegmentOptions {
        self.unlink_on_drop = yes;
        self
    }

    /// Sets whether this process's core dumps contain the segment, as far as `/proc/PID/coredump_filter` allows.
    /// Default: `false`, because the segment holds the events of all workers, which may not belong in a crash report,
    /// and adds its size to the dump of each worker. A copy of the file under `/dev/shm` has the same content.
    pub fn dump(mut self, yes: bool) -> SegmentOptions {
        self.dump = yes;
        self
    }

    /// Sets how long to wait for another process that is just creating the segment. Zero does not wait. It also bounds
    /// how long signals can interrupt the creation. Default: 5 s.
    pub fn creation_timeout(mut self, timeout: Duration) -> SegmentOptions {
        self.creation_timeout = timeout;
        self
    }

    /// Returns how many events the ring holds.
    pub fn get_capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the bytes of a block, before rounding.
    pub fn get_block_size(&self) -> u64 {
        self.block_size
    }

    /// Returns how many unique keys can be held at once.
    pub fn get_claims(&self) -> u64 {
        self.claims
    }

    /// Returns how many keys can have a retained event at the same time.
    pub fn get_retained(&self) -> u64 {
        self.retained
    }

    /// Returns the bytes of the largest retained event, as set.
    pub fn get_retained_size(&self) -> u64 {
        self.retained_size.unwrap_or(self.block_size)
    }

    /// Returns the number of large blocks and their bytes, before rounding. `None` if there are none.
    pub fn get_large(&self) -> Option<(u64, u64)> {
        self.large
    }

    /// Returns how many workers can be on the bus at once.
    pub fn get_seats(&self) -> u64 {
        self.seats
    }

    /// Returns the longest time for which a worker may have posts wait for it.
    pub fn get_most_patience(&self) -> Duration {
        self.most_patience
    }

    /// Returns how many hosts a relay can remember.
    pub fn get_relay_hosts(&self) -> u64 {
        self.relay_hosts
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

    /// Returns `true` if an existing segment with other options is refused.
    pub fn get_strict(&self) -> bool {
        self.strict
    }

    /// Returns `true` if the name is unlinked when the bus is dropped.
    pub fn get_unlink_on_drop(&self) -> bool {
        self.unlink_on_drop
    }

    /// Returns `true` if the segment is part of core dumps.
    pub fn get_dump(&self) -> bool {
        self.dump
    }

    /// Returns the sizes of a segment created with these options.
    pub(crate) fn geometry(&self) -> Result<Geometry> {
        let SegmentOptions { capacity, block_size, claims, retained, seats, relay_hosts, mode, .. } = *self;
        let retained_size = self.get_retained_size();
        let most_capacity = MOST_BLOCKS / 2;
        if !capacity.is_power_of_two() || !(LEAST_CAPACITY..=most_capacity).contains(&capacity) {
            let rule = format!("it must be a power of two from {LEAST_CAPACITY} to {most_capacity}");
            return Err(Error::option("capacity", capacity, rule));
        }
        if !(1..=MOST_SEATS).contains(&seats) {
            return Err(Error::option("seats", seats, format!("it must be 1 to {MOST_SEATS}")));
        }
        if relay_hosts > MOST_RELAY_HOSTS {
            return Err(Error::option("relay_hosts", relay_hosts, format!("it must be 0 to {MOST_RELAY_HOSTS}")));
        }
        if !(LEAST_BLOCK..=MOST_BLOCK).contains(&block_size) {
            let rule = format!("it must be {LEAST_BLOCK} to {MOST_BLOCK} bytes");
            return Err(Error::option("block_size", block_size, rule));
        }
        let most_claims = MOST_BLOCKS;
        if !(1..=most_claims).contains(&claims) {
            return Err(Error::option("claims", claims, format!("it must be 1 to {most_claims}")));
        }
        if retained > MOST_RETAINED {
            return Err(Error::option("retained", retained, format!("it must be 0 to {MOST_RETAINED}")));
        }
        if !(LEAST_BLOCK..=MOST_BLOCK).contains(&retained_size) {
            let rule = format!("it must be {LEAST_BLOCK} to {MOST_BLOCK} bytes");
            return Err(Error::option("retained_size", retained_size, rule));
        }
        let large = match self.large {
            None => PoolSize { cells: 0, stride: 0 },
            Some((blocks, bytes)) => {
                let most_blocks = MOST_BLOCKS / 2;
                if !blocks.is_power_of_two() || !(LEAST_LARGE_BLOCKS..=most_blocks).contains(&blocks) {
                    let rule = format!("the blocks must be a power of two from {LEAST_LARGE_BLOCKS} to {most_blocks}");
                    return Err(Error::option("large", blocks, rule));
                }
                if !(LEAST_BLOCK..=MOST_LARGE_BLOCK).contains(&bytes) {
                    let rule = format!("a large block must have {LEAST_BLOCK} to {MOST_LARGE_BLOCK} bytes");
                    return Err(Error::option("large", bytes, rule));
                }
                PoolSize { cells: blocks, stride: stride_for(bytes) }
            }
        };
        if self.most_patience > MOST_PATIENCE {
            let (value, rule) = (format!("{:?}", self.most_patience), format!("it must be at most {MOST_PATIENCE:?}"));
            return Err(Error::option("most_patience", value, rule));
        }
        if mode & !0o777 != 0 || mode & 0o600 != 0o600 {
            let rule = "it must be permission bits with read and write for the owner, such as 0o600 or 0o660";
            return Err(Error::option("mode", format_args!("{mode:#o}"), rule));
        }
        let ring = PoolSize { cells: capacity, stride: stride_for(block_size) };
        let buckets = PoolSize { cells: buckets_for(claims), stride: BUCKET_STRIDE };
        let slots = match slots_for(retained) {
            0 => PoolSize { cells: 0, stride: 0 },
            cells => PoolSize { cells, stride: slot_stride_for(retained_size) },
        };
        // The largest patience fits.
        let most_patience = self.most_patience.as_nanos() as u64;
        let geometry = Geometry { seats, most_patience, relay_hosts, pools: [ring, buckets, slots, large] };
        match geometry.check() {
            Ok(_) => Ok(geometry),
            Err(what) => {
                let value = format!("{capacity} with seats = {seats}, claims = {claims} and retained = {retained}");
                Err(Error::option("capacity", value, what))
            }
        }
    }
}
