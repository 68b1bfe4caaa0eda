//! The counters of a segment and its workers.

use std::time::{Duration, SystemTime};

use crate::error::Result;
use crate::os::clock::HostClock;
use crate::os::sys;
use crate::protocol::bucket::Bucket;
use crate::protocol::retained::{SlotCopy, SlotLook, Span};
use crate::seat::holder::Hold;
use crate::seat::holding::left_of;
use crate::seat::room::patience_ns;
use crate::seat::words::SeatWords;
use crate::seat::{NO_CURSOR, label_of};
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::{header_word, seat_word};
use crate::segment::pools::PoolId;
use crate::sync::Ordering;

/// A snapshot of a segment, from [`Bus::stats`](crate::Bus::stats). Each figure was true at some moment of the call.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let stats = bus.stats()?;
/// println!("{} holds events {} to {}", stats.name, stats.oldest_id, stats.next_id);
/// assert!(stats.workers.is_empty());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The segment's name.
    pub name: String,
    /// The sizes that were set when it was created.
    pub sizes: Sizes,
    /// Process id of the creator, in its own pid namespace.
    pub creator_pid: u32,
    /// When the segment was created.
    pub created_at: SystemTime,
    /// Keys that are held, by unique events and by other claims.
    pub claims_held: u64,
    /// Keys that have a retained event.
    pub retained: u64,
    /// Seats that are posting a retained event now, or have died while posting one.
    pub retaining: u64,
    /// The longest time for which a worker may have posts wait for it. Zero if posts wait for none.
    pub most_patience: Duration,
    /// The next id to be posted.
    pub next_id: u64,
    /// The oldest id that the ring still holds.
    pub oldest_id: u64,
    /// Live workers, and dead workers whose seats were not taken again.
    pub workers: Vec<WorkerStats>,
}

/// The sizes of a segment, fixed since its creation.
///
/// ```
/// let bus = seqcast::SegmentOptions::new().capacity(1024).seats(8).anonymous()?;
/// let sizes = bus.stats()?.sizes;
/// assert_eq!((sizes.capacity, sizes.seats), (1024, 8));
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Bytes of the segment.
    pub size: u64,
    /// Events that the ring holds.
    pub capacity: u64,
    /// Bytes that a block holds: an event with its source, its name and 16 bytes more, or a fragment.
    pub block_size: u64,
    /// Bytes of the largest event, in fragments or in a large block.
    pub largest_event: u64,
    /// Keys that can have a retained event at the same time. 0 if the segment has no table.
    pub retained_keys: u64,
    /// Bytes of the largest retained event.
    pub retained_size: u64,
    /// Public large blocks. 0 if the segment has none.
    pub large_blocks: u64,
    /// Bytes of the largest payload of a large block.
    pub large_size: u64,
    /// Seats, taken or free.
    pub seats: u32,
    /// Buckets of claims.
    pub buckets: u64,
    /// Keys that a bucket holds.
    pub bucket_entries: u64,
}

impl Sizes {
    pub(crate) fn of(segment: &Segment) -> Sizes {
        let geometry = segment.geometry();
        Sizes {
            size: segment.size() as u64,
            capacity: geometry.capacity(),
            block_size: geometry.block_bytes() as u64,
            largest_event: geometry.largest_message() as u64,
            retained_keys: geometry.retained_keys(),
            retained_size: geometry.largest_retained() as u64,
            large_blocks: geometry.large_blocks(),
            large_size: geometry.large_bytes() as u64,
            seats: geometry.seats as u32,
            buckets: geometry.pool(PoolId::Claims).cells,
            bucket_entries: segment.claims().entries_per_bucket() as u64,
        }
    }
}

/// The counters of one worker since it joined.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// for worker in bus.stats()?.workers {
///     println!("{}: posted {}, missed {}, failed {}", worker.label, worker.posted, worker.missed, worker.failed);
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Its seat's number.
    pub seat: u32,
    /// `true` if its process lives, running or stopped. Its lock proves that. If the lock is lost, see
    /// [`unlocked`](WorkerStats::unlocked).
    pub alive: bool,
    /// `true` if the lock of its seat is lost but its process lives, as its pid and start time show within one pid
    /// namespace. The worker continues, and its seat is not given to another worker.
    pub unlocked: bool,
    /// Its process id, in its own pid namespace.
    pub pid: u32,
    /// When its process was started, in clock ticks since boot.
    pub start_time: u64,
    /// Its label.
    pub label: String,
    /// When it joined.
    pub joined_at: SystemTime,
    /// How often its seat was taken, including by this worker.
    pub incarnation: u64,
    /// How often its seat was taken over from a worker that had died.
    pub adopted: u64,
    /// The next id to be delivered to it. `None` if it only posts.
    pub cursor: Option<u64>,
    /// How many ids it is behind. 0 if it only posts.
    pub lag: u64,
    /// How long ago its last poll that read something began. `None` if there was none, and for subscribers.
    pub last_poll: Option<Duration>,
    /// The id that it has reserved.
    pub reserved: Option<u64>,
    /// How long each post waits for this worker, which [must read](crate::WorkerOptions::must_read). `None` if posts
    /// do not wait for it.
    pub must_read: Option<Duration>,
    /// If it must read: how many ids it has not copied yet. Posts wait while it is a whole ring.
    pub unread: u64,
    /// `true` if a post gave up waiting for this worker, and it has not read on since.
    pub is_cut_off: bool,
    /// How often it was cut off. Counted when it reads on.
    pub cut_off: u64,
    /// Its posts that waited for a worker that must read.
    pub room_waits: u64,
    /// How long these posts waited in all.
    pub room_waited: Duration,
    /// Its posts that were refused instead.
    pub room_refused: u64,
    /// Events posted.
    pub posted: u64,
    /// Fragments posted, for events that do not fit into a block.
    pub fragments: u64,
    /// Events posted with their payload in a large block.
    pub large: u64,
    /// Ids reserved.
    pub reservations: u64,
    /// Reserved ids committed.
    pub committed: u64,
    /// Posts that found sleepers to wake.
    pub wakes: u64,
    /// Retained events and clears that it has posted.
    pub retained: u64,
    /// Retained events of other seats that it has brought into the table.
    pub settled: u64,
    /// Retained events that it could not post because there was no place for their key.
    pub retained_full: u64,
    /// Events delivered to handlers.
    pub delivered: u64,
    /// Events that no handler wanted.
    pub skipped: u64,
    /// Ids missed because the worker was lapped.
    pub missed: u64,
    /// How often it was lapped.
    pub lagged: u64,
    /// Reserved ids of other workers that it gave up for all.
    pub voided: u64,
    /// Reserved ids that it had to wait for.
    pub waited: u64,
    /// How often it was woken from sleep.
    pub wakeups: u64,
    /// Malformed events that it met.
    pub corrupt: u64,
    /// Handlers that failed, and reporters that panicked.
    pub failed: u64,
    /// Unique events that it had claimed and that no worker ran, because their handlers were gone at delivery.
    pub orphaned: u64,
    /// Times that it was reset: everything that it knew of retained events was void.
    pub resets: u64,
    /// Claims won, on unique events and other keys.
    pub claims_won: u64,
    /// Claims lost because another worker held the key.
    pub claims_lost: u64,
    /// Claims refused because there was no room.
    pub claims_full: u64,
    /// Unique events reached too late to know if another worker ran them.
    pub claims_late: u64,
    /// Claims released before their ttl ended.
    pub claims_released: u64,
}

impl Stats {
    pub(crate) fn of(segment: &Segment) -> Result<Stats> {
        let ring = segment.ring();
        let next_id = ring.newest();
        let header = segment.header();
        let word = |index| header.at(index).load(Ordering::Relaxed);
        let (mut workers, clock) = (Vec::new(), HostClock::of_this_process());
        for (seat, hold) in (0..).zip(Hold::of_all(segment)?) {
            workers.extend(WorkerStats::of(segment, seat, hold, next_id, clock));
        }
        Ok(Stats {
            name: segment.name().to_owned(),
            sizes: Sizes::of(segment),
            creator_pid: word(header_word!(creator_pid)) as u32,
            created_at: at_wall_ns(word(header_word!(created_at))),
            claims_held: Stats::claims_held(segment, clock)?,
            retained: Stats::retained(segment, clock)?,
            most_patience: segment.most_patience(),
            retaining: segment.table().map_or(0, |table| table.count_announced() as u64),
            next_id,
            oldest_id: ring.oldest(),
            workers,
        })
    }

    /// Returns all figures by the names of their fields, for bindings and exporters. Times are in nanoseconds, and
    /// their names end in `_ns`.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let stats = bus.stats()?;
    /// assert!(stats.figures().any(|(name, value)| name == "next_id" && value == stats.next_id));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // Names all fields, so that a new one cannot be forgotten.
        let &Stats {
            name: _,
            sizes,
            creator_pid,
            created_at,
            claims_held,
            retained,
            retaining,
            most_patience,
            next_id,
            oldest_id,
            workers: _,
        } = self;
        let Sizes {
            size,
            capacity,
            block_size,
            largest_event,
            retained_keys,
            retained_size,
            large_blocks,
            large_size,
            seats,
            buckets,
            bucket_entries,
        } = sizes;
        [
            ("size", size),
            ("capacity", capacity),
            ("block_size", block_size),
            ("largest_event", largest_event),
            ("seats", u64::from(seats)),
            ("buckets", buckets),
            ("bucket_entries", bucket_entries),
            ("retained_keys", retained_keys),
            ("retained_size", retained_size),
            ("large_blocks", large_blocks),
            ("large_size", large_size),
            ("creator_pid", u64::from(creator_pid)),
            ("created_at_ns", wall_ns_of(created_at)),
            ("claims_held", claims_held),
            ("retained", retained),
            ("retaining", retaining),
            ("most_patience_ns", ns_of(most_patience)),
            ("next_id", next_id),
            ("oldest_id", oldest_id),
        ]
        .into_iter()
    }

    fn claims_held(segment: &Segment, clock: HostClock) -> Result<u64> {
        let claims = segment.claims();
        let mut bucket = Bucket::default();
        let mut held = 0;
        for index in 0..claims.buckets() {
            claims.snapshot(index, &mut bucket).in_segment(segment)?;
            let now = clock.boottime_ns();
            held += bucket.entries().iter().filter_map(|entry| left_of(segment, &claims, entry, now)).count() as u64;
        }
        Ok(held)
    }

    fn retained(segment: &Segment, clock: HostClock) -> Result<u64> {
        let Some(table) = segment.table() else { return Ok(0) };
        let mut all = Span { from: 0, to: u64::MAX, reset: false };
        let look = |slot: &SlotLook<'_>| if slot.unchanged() { SlotCopy::Taken(()) } else { SlotCopy::Changed };
        let held = table.walk(&mut all, look).in_segment(segment)?;
        let now = clock.boottime_ns();
        Ok(held.iter().filter(|(held, ())| held.deadline > now).count() as u64)
    }
}

impl WorkerStats {
    /// Returns `true` if the worker's process is stopped now, by a signal or a debugger.
    ///
    /// Returns `false` if this cannot be determined: the process ended, is in another pid namespace, or `/proc` is not
    /// mounted.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// assert!(!bus.stats()?.workers[0].is_stopped());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn is_stopped(&self) -> bool {
        sys::is_stopped(self.pid, self.start_time)
    }

    /// Returns all figures by name, as [`Stats::figures`] does. Fields that are `None` are left out; `alive` and
    /// `unlocked` are 0 or 1.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// for (name, value) in bus.stats()?.workers[0].figures() {
    ///     println!("{name} {value}");
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // Names all fields, so that a new one cannot be forgotten.
        let &WorkerStats {
            seat,
            alive,
            unlocked,
            pid,
            start_time,
            label: _,
            joined_at,
            incarnation,
            adopted,
            cursor,
            lag,
            last_poll,
            reserved,
            must_read,
            unread,
            is_cut_off,
            cut_off,
            room_waits,
            room_waited,
            room_refused,
            posted,
            fragments,
            large,
            reservations,
            committed,
            wakes,
            retained,
            settled,
            retained_full,
            delivered,
            skipped,
            missed,
            lagged,
            voided,
            waited,
            wakeups,
            corrupt,
            failed,
            orphaned,
            resets,
            claims_won,
            claims_lost,
            claims_full,
            claims_late,
            claims_released,
        } = self;
        let last_poll_ns = last_poll.map(ns_of);
        [
            ("seat", Some(u64::from(seat))),
            ("alive", Some(u64::from(alive))),
            ("unlocked", Some(u64::from(unlocked))),
            ("pid", Some(u64::from(pid))),
            ("start_time", Some(start_time)),
            ("joined_at_ns", Some(wall_ns_of(joined_at))),
            ("incarnation", Some(incarnation)),
            ("adopted", Some(adopted)),
            ("cursor", cursor),
            ("lag", Some(lag)),
            ("last_poll_ns", last_poll_ns),
            ("reserved", reserved),
            ("must_read_ns", must_read.map(ns_of)),
            ("unread", must_read.map(|_| unread)),
            ("is_cut_off", must_read.map(|_| u64::from(is_cut_off))),
            ("cut_off", Some(cut_off)),
            ("room_waits", Some(room_waits)),
            ("room_waited_ns", Some(ns_of(room_waited))),
            ("room_refused", Some(room_refused)),
            ("posted", Some(posted)),
            ("fragments", Some(fragments)),
            ("large", Some(large)),
            ("reservations", Some(reservations)),
            ("committed", Some(committed)),
            ("wakes", Some(wakes)),
            ("retained", Some(retained)),
            ("settled", Some(settled)),
            ("retained_full", Some(retained_full)),
            ("delivered", Some(delivered)),
            ("skipped", Some(skipped)),
            ("missed", Some(missed)),
            ("lagged", Some(lagged)),
            ("voided", Some(voided)),
            ("waited", Some(waited)),
            ("wakeups", Some(wakeups)),
            ("corrupt", Some(corrupt)),
            ("failed", Some(failed)),
            ("orphaned", Some(orphaned)),
            ("resets", Some(resets)),
            ("claims_won", Some(claims_won)),
            ("claims_lost", Some(claims_lost)),
            ("claims_full", Some(claims_full)),
            ("claims_late", Some(claims_late)),
            ("claims_released", Some(claims_released)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns `None` for a seat without a holder, live or dead.
    fn of(segment: &Segment, seat: u16, hold: Hold, next_id: u64, clock: HostClock) -> Option<WorkerStats> {
        if hold == Hold::Free {
            return None;
        }
        let words = SeatWords::of(&segment.seats(), seat);
        let cursor = match words.get(seat_word!(reading.cursor)) {
            NO_CURSOR => None,
            cursor => Some(cursor),
        };
        let last_poll = match words.get(seat_word!(reading.last_poll)) {
            0 => None,
            then => Some(Duration::from_nanos(clock.coarse_ns().saturating_sub(then))),
        };
        let must = segment.musts().of(seat);
        macro_rules! count {
            ($($path:ident).+) => {
                words.get(seat_word!($($path).+))
            };
        }
        Some(WorkerStats {
            seat: u32::from(seat),
            alive: hold.is_alive(),
            unlocked: hold == Hold::Unlocked,
            pid: count!(identity.pid) as u32,
            start_time: count!(identity.start_time),
            label: label_of(&words),
            joined_at: at_wall_ns(count!(identity.joined_at)),
            incarnation: count!(identity.incarnation),
            adopted: count!(identity.adopted),
            cursor,
            lag: cursor.map_or(0, |cursor| next_id.saturating_sub(cursor)),
            last_poll,
            reserved: segment.ring().reserved_by(seat),
            must_read: (!must.is_off()).then(|| Duration::from_nanos(patience_ns(segment, seat))),
            unread: if must.is_off() { 0 } else { next_id.saturating_sub(count!(reading.need)) },
            is_cut_off: must.is_cut(),
            cut_off: count!(reading.cut_off),
            room_waits: count!(posting.waits),
            room_waited: Duration::from_nanos(count!(posting.waited_ns)),
            room_refused: count!(posting.refused),
            posted: count!(posting.posted),
            fragments: count!(posting.fragments),
            large: count!(posting.large),
            reservations: count!(posting.reservations),
            committed: count!(posting.committed),
            wakes: count!(posting.wakes),
            retained: count!(posting.retained),
            settled: count!(posting.settled),
            retained_full: count!(posting.retained_full),
            delivered: count!(reading.delivered),
            skipped: count!(reading.skipped),
            missed: count!(reading.missed),
            lagged: count!(reading.lagged),
            voided: count!(reading.voided),
            waited: count!(reading.waited),
            wakeups: count!(reading.wakeups),
            corrupt: count!(reading.corrupt),
            failed: count!(reading.failed),
            orphaned: count!(reading.orphaned),
            resets: count!(reading.resets),
            claims_won: count!(claiming.won),
            claims_lost: count!(claiming.lost),
            claims_full: count!(claiming.full),
            claims_late: count!(claiming.late),
            claims_released: count!(claiming.released),
        })
    }
}

fn ns_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn at_wall_ns(ns: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)
}

fn wall_ns_of(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
