//! A process's handle on a segment.

use std::fmt;
use std::sync::Arc;

use crate::claim::{HeldKey, KeyHash};
use crate::error::Difference;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::identity::{BusId, Origin};
use crate::seat::audit::Audit;
use crate::seat::bridge::Bridge;
use crate::seat::holding::held;
use crate::seat::options::WorkerOptions;
use crate::seat::publisher::Publisher;
use crate::seat::relay::{Relay, RelayOptions};
use crate::seat::stats::Stats;
use crate::seat::subscriber::Subscriber;
use crate::segment::options::SegmentOptions;
use crate::segment::unique_hash::Domain;
use crate::segment::{self, Segment};
use crate::worker::Worker;

/// A process's handle on a segment. Workers, publishers and subscribers join through it.
///
/// Open it in a master process and join in each child, or open the segment by its name in each process. A `Bus` works
/// in a forked child; a worker does not. Dropping it leaves the segment as it is, unless
/// [`SegmentOptions::unlink_on_drop`] was set and this process created it.
///
/// Clones share one handle.
///
/// ```
/// # let name = format!("doc-bus-{}", std::process::id());
/// # let my_server = &*name;
/// use seqcast::Bus;
///
/// let bus = Bus::open_or_create(my_server)?;
/// let worker = bus.join()?;
/// worker.post(("cache", "stale"), "user:42")?;
/// # bus.unlink()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone)]
pub struct Bus {
    segment: Arc<Segment>,
}

impl Bus {
    /// Creates the segment `name` with the default options. A name has 1 to 200 of the characters `A-Z a-z 0-9 . _ -`,
    /// with or without a leading slash.
    ///
    /// ```
    /// # let name = format!("doc-bus-create-{}", std::process::id());
    /// # let my_server = &*name;
    /// use seqcast::{Bus, ErrorKind};
    ///
    /// let bus = Bus::create(my_server)?;
    /// assert_eq!(Bus::create(my_server).unwrap_err().kind(), ErrorKind::Exists);
    /// # bus.unlink()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`SegmentOptions::create`].
    pub fn create(name: &str) -> Result<Bus> {
        SegmentOptions::new().create(name)
    }

    /// Opens the segment `name` with the default options.
    ///
    /// ```
    /// use seqcast::{Bus, ErrorKind};
    ///
    /// assert_eq!(Bus::open("there-is-no-such-segment").unwrap_err().kind(), ErrorKind::NotFound);
    /// ```
    ///
    /// # Errors
    ///
    /// As [`SegmentOptions::open`].
    pub fn open(name: &str) -> Result<Bus> {
        SegmentOptions::new().open(name)
    }

    /// Opens the segment `name`, or creates it with the default options if there is none. Safe to call concurrently:
    /// all callers get the same segment.
    ///
    /// ```
    /// # let name = format!("doc-bus-open-or-create-{}", std::process::id());
    /// # let my_server = &*name;
    /// use seqcast::Bus;
    ///
    /// let (first, second) = (Bus::open_or_create(my_server)?, Bus::open_or_create(my_server)?);
    /// assert!(first.was_created() && !second.was_created() && first.id() == second.id());
    /// # first.unlink()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
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

    /// Joins the bus as a [`Worker`] with the default options.
    ///
    /// It does not wait if a seat is free, or if workers that live hold all seats. If another process has locked the
    /// only free seat to join, to leave, or to free it from a dead worker, this call tries again for at most 50 ms.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let worker = bus.join()?;
    /// worker.on(("cache", "stale"), |event| println!("{event:?}"))?;
    /// worker.poll()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoSeat`] if all seats are taken; [`ErrorKind::Corrupt`].
    pub fn join(&self) -> Result<Worker> {
        self.join_with(&WorkerOptions::new())
    }

    /// [`join`](Bus::join) with options. The worker reads from [`WorkerOptions::start`] on. Its own
    /// [`STARTED`](crate::library::STARTED) is among its events.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// let worker = bus.join_with(&WorkerOptions::new().label("web-1").start(Start::Oldest))?;
    /// assert_eq!(worker.options().get_label(), "web-1");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join), and [`ErrorKind::Option`], [`ErrorKind::NotYet`] or
    /// [`ErrorKind::OtherBus`].
    pub fn join_with(&self, options: &WorkerOptions) -> Result<Worker> {
        Worker::join(&self.segment, options.clone())
    }

    /// Joins the bus as a [`Publisher`], which only posts.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let mut publisher = bus.publisher()?;
    /// publisher.post(("cache", "stale"), "user:42")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join).
    pub fn publisher(&self) -> Result<Publisher> {
        self.publisher_with(&WorkerOptions::new())
    }

    /// [`publisher`](Bus::publisher) with options. Only `label` is used, and `timeout` for unique keys without a ttl.
    /// The other options are checked as in [`join_with`](Bus::join_with), and have no effect: a publisher reads,
    /// announces and reports nothing.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::WorkerOptions;
    ///
    /// let publisher = bus.publisher_with(&WorkerOptions::new().label("importer"))?;
    /// assert_eq!(bus.stats()?.workers[0].label, "importer");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join_with`](Bus::join_with).
    pub fn publisher_with(&self, options: &WorkerOptions) -> Result<Publisher> {
        Publisher::join(&self.segment, options)
    }

    /// Joins the bus as a [`Subscriber`], which is read by pulling.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    ///
    /// let mut subscriber = bus.subscribe()?;
    /// bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// while let Some(delivery) = subscriber.next(Duration::ZERO)? {
    ///     println!("{delivery:?}");
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join`](Bus::join).
    pub fn subscribe(&self) -> Result<Subscriber> {
        self.subscribe_with(&WorkerOptions::new())
    }

    /// [`subscribe`](Bus::subscribe) with options. Only `label`, `start`, `wait_interval`, `wait_max`, `timeout` and
    /// `announce` are used.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// let mut subscriber = bus.subscribe_with(&WorkerOptions::new().start(Start::Oldest))?;
    /// assert_eq!(subscriber.try_next()?.map(|delivery| delivery.id()), Some(0));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`join_with`](Bus::join_with).
    pub fn subscribe_with(&self, options: &WorkerOptions) -> Result<Subscriber> {
        Subscriber::join(&self.segment, options)
    }

    /// Joins this bus and `new` with a [`Bridge`], which carries the events of each into the other. Returns `None` if
    /// another process bridges one of them: call again when that has ended.
    ///
    /// The first bridge between two segments begins with what this bus retains and with its next event, and with the
    /// oldest event of `new`. A later one goes on where the last one ended. It takes a seat and a claim on each.
    ///
    /// ```
    /// # let old = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::SegmentOptions;
    ///
    /// let new = SegmentOptions::new().capacity(16_384).keys_of(&old).anonymous()?;
    /// let bridge = old.bridge_to(&new)?;
    /// assert!(bridge.is_some() && old.bridge_to(&new)?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] if `new` is this bus, if it was not created with
    /// [`keys_of`](SegmentOptions::keys_of) this bus, or if there is no room for the claim; and as
    /// [`join`](Bus::join).
    pub fn bridge_to(&self, new: &Bus) -> Result<Option<Bridge>> {
        Bridge::between(&self.segment, &new.segment)
    }

    /// Takes the place of this segment's relay, which carries events between hosts. Only one process can have it. See
    /// [`relay`](crate::relay).
    ///
    /// The relay takes a seat. The place is held by a lock that the kernel releases when the process ends. A process
    /// that stands by calls this again and again: while the place is taken, the call costs one system call.
    ///
    /// ```
    /// use seqcast::ErrorKind;
    /// use seqcast::relay::RelayOptions;
    ///
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let relay = bus.relay(&RelayOptions::new())?;
    /// assert_eq!(bus.relay(&RelayOptions::new()).unwrap_err().kind(), ErrorKind::RelayTaken);
    /// let (reader, poster) = relay.split();
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RelayTaken`] while another process, or another handle of this one, is the relay;
    /// [`ErrorKind::Option`] on a segment without room for one; otherwise as [`join`](Bus::join).
    pub fn relay(&self, options: &RelayOptions) -> Result<Relay> {
        Relay::take(&self.segment, options)
    }

    /// Returns a snapshot of the segment's and its workers' figures.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// for worker in bus.stats()?.workers {
    ///     println!("{}: {} delivered, {} missed", worker.label, worker.delivered, worker.missed);
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell which workers live.
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(&self.segment)
    }

    /// Checks that every block of the segment is named or held exactly once, for tests. This holds even after processes
    /// were killed.
    ///
    /// It only reads, and takes no seat and no lock. The result is valid only if no worker posts or claims during the
    /// call. Workers may be dead or stopped, and may join and leave if they do not
    /// [announce](WorkerOptions::announce) it.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// assert!(bus.audit()?.is_clean());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`] if a word names a block that does not exist;
    /// [`ErrorKind::System`].
    pub fn audit(&self) -> Result<Audit> {
        Audit::of(&self.segment)
    }

    /// Looks up a key without claiming it. Returns `None` if no claim holds it.
    ///
    /// The result was true at one moment during the call. Another process may claim a free key at any time.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    ///
    /// assert!(bus.held("nightly-mail")?.is_none());
    /// let claim = worker.claim("nightly-mail", Duration::from_secs(3600))?.won().expect("it is free");
    /// let held = bus.held("nightly-mail")?.expect("it is held");
    /// assert_eq!(held.seat, worker.seat());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] for an empty key; [`ErrorKind::Corrupt`]; [`ErrorKind::System`] if the system does not
    /// tell if the holder lives.
    pub fn held(&self, key: impl AsRef<[u8]>) -> Result<Option<HeldKey>> {
        held(&self.segment, Domain::Alone, key.as_ref())
    }

    /// Returns the hash of a key that is claimed without an event. [`Died`](crate::Died) and
    /// [`inspect`](crate::inspect) name keys by it.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// assert_ne!(bus.key_hash("nightly-mail")?, bus.key_hash("hourly-mail")?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] for an empty key.
    pub fn key_hash(&self, key: impl AsRef<[u8]>) -> Result<KeyHash> {
        self.segment.unique_hash().hash(Domain::Alone, key.as_ref()).map(KeyHash)
    }

    /// Returns the segment's name, with its slash.
    pub fn name(&self) -> &str {
        self.segment.name()
    }

    /// Returns the identity of the bus. If a segment of the same name is created again, it has another identity, and
    /// its event ids begin at 0. So store an event id together with the identity: see [`Position`](crate::Position).
    ///
    /// ```
    /// # let name = format!("doc-bus-id-{}", std::process::id());
    /// use seqcast::Bus;
    ///
    /// let old = Bus::create(&name)?;
    /// old.unlink()?;
    /// let new = Bus::create(&name)?;
    /// assert_ne!(old.id(), new.id());
    /// # new.unlink()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn id(&self) -> BusId {
        self.segment.id()
    }

    /// Returns the identity of this segment among the hosts of a cluster. Events that other hosts get from here have it
    /// as their [`Event::origin`](crate::Event::origin).
    pub fn origin(&self) -> Origin {
        Origin::of_bus(self.segment.id())
    }

    /// Returns `true` if the name still leads to this bus. If it does not, the segment was unlinked, and perhaps
    /// created again: its workers still exchange events with each other, and processes that open the name now are on
    /// another bus. An anonymous bus is always current.
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

    /// Returns the options that were set for [`SegmentOptions::open_or_create`] and differ from the existing segment's.
    /// Options at their defaults do not count, nor do sizes that are rounded to the segment's. The list is empty if the
    /// call created the segment, and after `open`.
    ///
    /// The first worker that joins through this handle [reports](crate::Trouble::OptionsDiffer) them.
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

    /// Returns the number of events that the ring holds.
    pub fn capacity(&self) -> u64 {
        self.segment.geometry().capacity()
    }

    /// Returns the size of the largest event in bytes, a quarter of the ring. The names of the event and up to 63 more
    /// bytes count towards it.
    ///
    /// ```
    /// let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// assert_eq!(bus.largest_event(), 512 << 10);
    /// let mut publisher = bus.publisher()?;
    /// publisher.post(("blob", "new"), vec![0; 500 << 10])?;
    /// assert!(publisher.post(("blob", "new"), vec![0; 512 << 10]).is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn largest_event(&self) -> usize {
        self.segment.geometry().largest_message()
    }

    /// Returns the next id to be posted.
    pub fn next_id(&self) -> u64 {
        self.segment.ring().newest()
    }

    /// Removes the segment's name. Its workers still exchange events with each other; no process can open it any more.
    ///
    /// ```
    /// # let name = format!("doc-bus-unlink-{}", std::process::id());
    /// use seqcast::Bus;
    ///
    /// let bus = Bus::create(&name)?;
    /// let worker = bus.join()?;
    /// bus.unlink()?;
    /// worker.post(("cache", "stale"), "user:42")?; // still works
    /// assert!(Bus::open(&name).is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Replaced`] or [`ErrorKind::NotFound`] if the name does not lead to this segment.
    pub fn unlink(&self) -> Result<()> {
        self.segment.unlink()
    }

    /// Drops this handle, and removes the segment's name if no handle on it is left, in this process or any other.
    /// Returns `true` if this call removed the name.
    ///
    /// Everything that keeps the segment mapped for writing is a handle: clones of the bus, workers, publishers,
    /// subscribers, reservations, wakers and bells, including those that a forked child has inherited. Drop them first.
    /// Inspectors do not count, and neither do processes that were killed. If independent processes each call this at
    /// their end, the last one removes the name, and the bus is never split: see [Reload](crate#reload).
    ///
    /// ```
    /// # let name = format!("doc-unlink-if-last-{}", std::process::id());
    /// use seqcast::Bus;
    ///
    /// let (first, second) = (Bus::open_or_create(&name)?, Bus::open_or_create(&name)?);
    /// let worker = first.join()?;
    /// assert!(!first.unlink_if_last()?);
    /// worker.leave()?;
    /// assert!(second.unlink_if_last()?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// The proof is a lease of the kernel on the file, so only the segment's owner and root can call this. If this
    /// process is stopped in the call for longer than the kernel keeps a lease (`fs.lease-break-time`, 45 s), a process
    /// that opens the name at that time can lose it; [`is_current`](Bus::is_current) tells it so.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the kernel gives this user no lease; [`ErrorKind::Denied`].
    pub fn unlink_if_last(self) -> Result<bool> {
        segment::unlink_if_last(self.segment)
    }
}

impl SegmentOptions {
    /// Sets that a segment that is created has the unique keys of `bus`: the same text is the same key in both
    /// segments. A [`Bridge`] needs that. Default: each segment has keys of its own. An existing segment keeps its own.
    ///
    /// ```
    /// # let old = seqcast::SegmentOptions::new().anonymous()?;
    /// let new = seqcast::SegmentOptions::new().keys_of(&old).anonymous()?;
    /// assert_eq!(new.key_hash("nightly-mail")?, old.key_hash("nightly-mail")?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn keys_of(mut self, bus: &Bus) -> SegmentOptions {
        self.keys_of = Some(*bus.segment.unique_hash());
        self
    }

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
    /// [`ErrorKind::Exists`] if the segment exists; errors of the kinds that describe a bad name, a bad option, missing
    /// permission or missing space.
    pub fn create(&self, name: &str) -> Result<Bus> {
        Segment::create(name, self).map(Bus::of)
    }

    /// Opens the segment `name`. Only `mode`, `owner`, `creation_timeout` and `dump` are used. The sizes are those of
    /// the segment.
    ///
    /// ```
    /// # let name = format!("doc-open-{}", std::process::id());
    /// use seqcast::SegmentOptions;
    ///
    /// let created = SegmentOptions::new().capacity(1024).mode(0o660).unlink_on_drop(true).create(&name)?;
    /// assert!(SegmentOptions::new().open(&name).is_err(), "its mode is wider than accepted");
    /// let bus = SegmentOptions::new().mode(0o660).open(&name)?;
    /// assert_eq!(bus.capacity(), 1024);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], or the reason why the segment cannot be used.
    pub fn open(&self, name: &str) -> Result<Bus> {
        Segment::open(name, self).map(Bus::of)
    }

    /// Opens the segment `name`, or creates it if there is none. Safe to call concurrently: all callers get the same
    /// segment.
    ///
    /// An existing segment keeps its sizes, mode and owner, even if other values are set here, for example after a
    /// reload with a changed configuration. The differences are reported, and returned by [`Bus::differences`]. With
    /// [`strict`](SegmentOptions::strict) they are an error. See [Reload](crate#reload).
    ///
    /// ```
    /// # let name = format!("doc-open-or-create-{}", std::process::id());
    /// use seqcast::SegmentOptions;
    ///
    /// let options = SegmentOptions::new().capacity(1024).unlink_on_drop(true);
    /// let bus = options.open_or_create(&name)?;
    /// assert!(bus.was_created());
    /// assert!(!options.open_or_create(&name)?.was_created());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`create`](SegmentOptions::create) and [`open`](SegmentOptions::open), and
    /// [`ErrorKind::OptionsDiffer`].
    pub fn open_or_create(&self, name: &str) -> Result<Bus> {
        Segment::open_or_create(name, self).map(Bus::of)
    }

    /// Creates a segment without a name, for this process and the processes that it forks. The segment ends with the
    /// last of them.
    ///
    /// ```
    /// let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// // ... fork ...
    /// let worker = bus.join()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
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

/// Removes the segment `name`. Its workers still exchange events with each other; no process can open it any more.
///
/// Another process may have created the segment again under this name. [`Bus::unlink`] removes only its own segment.
///
/// ```
/// # let name = format!("doc-unlink-{}", std::process::id());
/// seqcast::Bus::create(&name)?;
/// seqcast::unlink(&name)?;
/// assert!(seqcast::unlink(&name).is_err());
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::NotFound`]; [`ErrorKind::Foreign`] if it is not a segment.
pub fn unlink(name: &str) -> Result<()> {
    segment::unlink(name)
}
