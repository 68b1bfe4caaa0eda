//! A process's handle on a segment.

use std::fmt;
use std::sync::Arc;

use crate::error::Difference;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::identity::BusId;
use crate::seat::audit::Audit;
use crate::seat::options::WorkerOptions;
use crate::seat::publisher::Publisher;
use crate::seat::stats::Stats;
use crate::seat::subscriber::Subscriber;
use crate::segment::options::SegmentOptions;
use crate::segment::{self, Segment};
use crate::worker::Worker;

/// A process's handle on a segment: from it workers join.
///
/// Make it before forking and join in each child, or open the segment by its name in each process. A `Bus` may be used
/// in a forked child; what has joined may not. Dropping it leaves the segment as it is, unless
/// [`SegmentOptions::unlink_on_drop`] was set and this process created it.
///
/// Clones are the same handle.
#[derive(Clone)]
pub struct Bus {
    segment: Arc<Segment>,
}

impl Bus {
    /// Creates the segment `name` with the default options. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`;
    /// a leading slash is added.
    ///
    /// # Errors
    ///
    /// As [`SegmentOptions::create`].
    pub fn create(name: &str) -> Result<Bus> {
        SegmentOptions::new().create(name)
    }

    /// Opens the segment `name` with the default options.
    ///
    /// # Errors
    ///
    /// As [`SegmentOptions::open`].
    pub fn open(name: &str) -> Result<Bus> {
        SegmentOptions::new().open(name)
    }

    /// Opens the segment `name`, or creates it with the default options if there is none.
    ///
    /// # Errors
    ///
    /// As [`SegmentOptions::open_or_create`].
    pub fn open_or_create(name: &str) -> Result<Bus> {
        SegmentOptions::new().open_or_create(name)
    }

    fn of(segment: Segment) -> Bus {
        Bus { segment: Arc::new(segment) }
    }

    /// Takes a seat with the default options.
    ///
    /// Waits for nobody if a seat is free or all are held by workers that live. If the only seat to be had is one that another
    /// process has locked as it joins, leaves, or frees it from a dead worker, this tries again for 50 ms at most.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoSeat`] if all are taken; [`ErrorKind::Corrupt`].
    pub fn join(&self) -> Result<Worker> {
        self.join_with(&WorkerOptions::new())
    }

    /// Takes a seat. It reads from where [`WorkerOptions::start`] says, and its own
    /// [`STARTED`](crate::library::STARTED) is the first of its events.
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join), and [`ErrorKind::Option`], [`ErrorKind::NotYet`] or
    /// [`ErrorKind::OtherBus`].
    pub fn join_with(&self, options: &WorkerOptions) -> Result<Worker> {
        Worker::join(&self.segment, options.clone())
    }

    /// Takes a seat that only posts.
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join).
    pub fn publisher(&self) -> Result<Publisher> {
        self.publisher_with(&WorkerOptions::new())
    }

    /// [`publisher`](Bus::publisher) with a label, and with a timeout for unique keys that say no ttl of their own. The
    /// other options are checked as [`join_with`](Bus::join_with) checks them, and have no effect: a poster reads
    /// nothing, announces nothing and has nothing to report.
    ///
    /// # Errors
    ///
    /// As [`join_with`](Bus::join_with).
    pub fn publisher_with(&self, options: &WorkerOptions) -> Result<Publisher> {
        Publisher::join(&self.segment, options)
    }

    /// Joins the bus as a [`Subscriber`], which is read by pulling.
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join).
    pub fn subscribe(&self) -> Result<Subscriber> {
        self.subscribe_with(&WorkerOptions::new())
    }

    /// [`subscribe`](Bus::subscribe) with options. `label`, `start`, `wait_interval`, `wait_max`, `timeout` and
    /// `announce` are used.
    ///
    /// # Errors
    ///
    /// As [`join_with`](Bus::join_with).
    pub fn subscribe_with(&self, options: &WorkerOptions) -> Result<Subscriber> {
        Subscriber::join(&self.segment, options)
    }

    /// What all workers have counted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell which workers live.
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(&self.segment)
    }

    /// Whether every block of the segment is named or held exactly once, as it must be whatever was killed when. It
    /// only reads: it takes no seat and no lock, adopts nothing, and disturbs nobody. What it finds is only true while
    /// no worker posts or claims: one that does is between two places. Workers may be dead, stopped, or join and leave
    /// without announcing it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if a word names a block that does not exist;
    /// [`ErrorKind::System`].
    pub fn audit(&self) -> Result<Audit> {
        Audit::of(&self.segment)
    }

    /// The segment's name, with its slash.
    pub fn name(&self) -> &str {
        self.segment.name()
    }

    /// The bus's identity. It is another one when a segment of the same name is created again, and with it all event
    /// ids begin again: a bare id means nothing without it. See [`Position`](crate::Position).
    pub fn id(&self) -> BusId {
        self.segment.id()
    }

    /// Returns whether the name still leads to this bus. If it does not, the segment was unlinked, and perhaps created
    /// again: its workers continue among themselves, and processes that open the name now are on another bus. An
    /// anonymous bus is always current.
    ///
    /// ```
    /// # let name = format!("doc-current-{}", std::process::id());
    /// use seqcast::{Bus, SegmentOptions};
    ///
    /// let old = Bus::create(&name)?;
    /// assert!(old.is_current()?);
    /// seqcast::unlink(&name)?;
    /// let new = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// assert!(!old.is_current()? && new.is_current()? && old.id() != new.id());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell.
    pub fn is_current(&self) -> Result<bool> {
        self.segment.is_current()
    }

    /// Returns the options that were set in [`SegmentOptions::open_or_create`] and that the existing segment does not
    /// have. Options left at their defaults do not count, nor do sizes that are rounded to the same. Empty if this call
    /// created the segment, or if it was opened with `open`.
    ///
    /// The first worker of the process that joins by this handle [reports](crate::Trouble::OptionsDiffer) it.
    ///
    /// ```
    /// # let name = format!("doc-differences-{}", std::process::id());
    /// use seqcast::SegmentOptions;
    ///
    /// let first = SegmentOptions::new().capacity(1024).unlink_on_drop(true).create(&name)?;
    /// let second = SegmentOptions::new().capacity(4096).seats(64).open_or_create(&name)?;
    /// assert_eq!(second.differences().len(), 1);
    /// assert_eq!(second.differences()[0].to_string(), "capacity is 1024, not 4096");
    /// assert!(SegmentOptions::new().capacity(4096).strict(true).open_or_create(&name).is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn differences(&self) -> &[Difference] {
        self.segment.differences()
    }

    /// Returns `true` if this call created the segment, `false` if it opened an existing one.
    pub fn was_created(&self) -> bool {
        self.segment.was_created()
    }

    /// Events that the ring holds.
    pub fn capacity(&self) -> u64 {
        self.segment.geometry().capacity()
    }

    /// Bytes of the largest event, with its names and up to 63 bytes more.
    pub fn largest_event(&self) -> usize {
        self.segment.geometry().largest_message()
    }

    /// The next id to be posted.
    pub fn next_id(&self) -> u64 {
        self.segment.ring().newest()
    }

    /// Removes the segment's name. Workers that have it open go on; nobody can open it any more.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Replaced`] or [`ErrorKind::NotFound`] if the name does not
    /// lead to this segment.
    pub fn unlink(&self) -> Result<()> {
        self.segment.unlink()
    }
}

impl SegmentOptions {
    /// Creates the segment `name` and opens it.
    ///
    /// ```
    /// # let name = format!("doc-create-{}", std::process::id());
    /// use seqcast::SegmentOptions;
    ///
    /// let bus = SegmentOptions::new().capacity(1024).unlink_on_drop(true).create(&name)?;
    /// assert_eq!(bus.capacity(), 1024);
    /// assert!(SegmentOptions::new().create(&name).is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exists`] if there is one; for bad names, options, rights and lack of space the error
    /// that says so.
    pub fn create(&self, name: &str) -> Result<Bus> {
        Segment::create(name, self).map(Bus::of)
    }

    /// Opens the segment `name`. Only `mode`, `owner`, `creation_timeout` and `dump` are used; sizes come from the
    /// segment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], and the error that says why what is there cannot be used.
    pub fn open(&self, name: &str) -> Result<Bus> {
        Segment::open(name, self).map(Bus::of)
    }

    /// Opens the segment `name`, or creates it if there is none. Safe to call concurrently: all callers get the same
    /// segment.
    ///
    /// An existing segment keeps its sizes, mode and owner, even if other ones are set here, as after a reload with a
    /// changed configuration. That is reported, and in [`Bus::differences`]; [`strict`](SegmentOptions::strict) makes
    /// it an error.
    ///
    /// # Errors
    ///
    /// As [`create`](SegmentOptions::create) and [`open`](SegmentOptions::open), and
    /// [`ErrorKind::OptionsDiffer`].
    pub fn open_or_create(&self, name: &str) -> Result<Bus> {
        Segment::open_or_create(name, self).map(Bus::of)
    }

    /// Creates a segment without a name, for this process and the processes that it forks. It is gone when the last of
    /// them ends.
    ///
    /// # Errors
    ///
    /// As [`create`](SegmentOptions::create).
    pub fn anonymous(&self) -> Result<Bus> {
        Segment::anonymous(self).map(Bus::of)
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("name", &self.name()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// Removes the segment `name`. Workers that have it open go on; nobody can open it any more.
///
/// # Errors
///
/// [`ErrorKind::NotFound`]; [`ErrorKind::Foreign`] if it is not a segment of
/// seqcast's.
pub fn unlink(name: &str) -> Result<()> {
    segment::unlink(name)
}
