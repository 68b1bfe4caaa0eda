//! Options of workers, publishers and subscribers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::identity::Position;
use crate::seat::report::Report;
use crate::seat::retain::no_table;
use crate::segment::Segment;

/// Where a worker begins to read.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{Start, WorkerOptions};
///
/// bus.publisher()?.post(("cache", "stale"), "user:42")?;
/// let late = bus.join_with(&WorkerOptions::new().start(Start::Oldest))?;
/// late.on(("cache", "stale"), |event| println!("{event:?}"))?;
/// assert_eq!(late.poll()?.delivered(), 1);
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the event that is posted next. No older event is delivered.
    #[default]
    Now,
    /// At the oldest event that the ring still holds.
    Oldest,
    /// At an event id, as if there were nothing before it. To continue where a worker stopped, use `After` or `Resume`:
    /// an event of which a fragment is before this id is skipped without a report, even if its last fragment is after
    /// the id.
    ///
    /// An id is valid only on the bus that it came from. On a segment that was created again, it means another event.
    At(u64),
    /// After an event id, as if this worker had read up to it: every event with a greater id is delivered or reported
    /// as missed. Fragments up to the id are gathered for events that end after it, if the ring still holds them.
    ///
    /// An id is valid only on the bus that it came from. `Resume` checks that.
    After(u64),
    /// Like `Now`, but the worker first receives the last [retained](crate::EventBuilder::retain) event of every key,
    /// in the order of their ids, and then [`UP_TO_DATE`](crate::library::UP_TO_DATE).
    ///
    /// The first poll delivers them, so register handlers before it. On a segment without retained events, joining
    /// fails with [`ErrorKind::Option`].
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// let mut publisher = bus.publisher()?;
    /// for (upstream, state) in [("17", "down"), ("18", "up"), ("17", "up")] {
    ///     publisher.event(("upstream", "state")).retain_key(upstream).post(state)?;
    /// }
    /// let late = bus.join_with(&WorkerOptions::new().start(Start::Retained).announce(false))?;
    /// late.on(("upstream", "state"), |event| println!("{:?} is {:?}", event.retained_key(), event.bytes()))?;
    /// assert_eq!(late.poll()?.delivered(), 2);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    Retained,
    /// At the position that [`Worker::position`](crate::Worker::position) returned, otherwise like `After`. On another
    /// bus, joining fails with [`ErrorKind::OtherBus`].
    Resume(Position),
}

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// The first id to deliver.
    pub(crate) first: u64,
    /// `true` to deliver events that begin before `first` and end at or after it.
    pub(crate) gathers: bool,
    /// `true` if the retained events are delivered first.
    pub(crate) with_retained: bool,
}

impl Start {
    /// Returns where reading begins on `segment` now.
    pub(crate) fn begin(self, segment: &Segment) -> Result<Begin> {
        let ring = segment.ring();
        let newest = ring.newest();
        let (first, gathers) = match self {
            Start::Now | Start::Retained => (newest, false),
            // Not `ring.oldest()`: it may be read a lap later, and would then exceed `newest`.
            Start::Oldest => (newest.saturating_sub(segment.geometry().capacity()), false),
            Start::At(id) => (id, false),
            Start::After(id) => (id.saturating_add(1), true),
            Start::Resume(position) if position.bus() != segment.id() => {
                let name = segment.name().to_owned();
                return Err(Error::from(Cause::OtherBus { name, position: position.bus(), found: segment.id() }));
            }
            Start::Resume(position) => (position.next(), true),
        };
        if first > newest {
            return Err(Error::from(Cause::NotYet { id: first, next: newest }));
        }
        Ok(Begin { first, gathers, with_retained: self == Start::Retained })
    }
}

type Reporter = Arc<dyn Fn(&Report<'_>) + Send + Sync>;

/// Options of a worker, publisher or subscriber. [`Worker::reconfigure`](crate::Worker::reconfigure) changes all
/// options except [`start`](WorkerOptions::start) while a worker runs.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use std::time::Duration;
/// use seqcast::{Start, WorkerOptions};
///
/// let options = WorkerOptions::new()
///     .label("web-1")
///     .start(Start::Oldest)
///     .wait_max(Duration::from_secs(1))
///     .on_report(|report| eprintln!("{report}"));
/// let worker = bus.join_with(&options)?;
/// assert_eq!(worker.options().get_label(), "web-1");
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// The option `shm_retries` of lua-resty-worker-events has no counterpart: a post never has to evict events and retry.
#[derive(Clone)]
#[must_use = "options do nothing until something is joined or configured with them"]
pub struct WorkerOptions {
    pub(crate) label: String,
    pub(crate) start: Start,
    pub(crate) interval: Duration,
    pub(crate) wait_interval: Duration,
    pub(crate) wait_max: Duration,
    pub(crate) must_read: Duration,
    pub(crate) timeout: Duration,
    pub(crate) announce: bool,
    pub(crate) resync: bool,
    pub(crate) reporter: Option<Reporter>,
}

impl Default for WorkerOptions {
    fn default() -> WorkerOptions {
        WorkerOptions {
            label: String::new(),
            start: Start::Now,
            interval: Duration::from_secs(1),
            wait_interval: Duration::from_millis(10),
            wait_max: Duration::from_millis(500),
            must_read: Duration::ZERO,
            timeout: Duration::from_secs(2),
            announce: true,
            resync: false,
            reporter: None,
        }
    }
}

impl WorkerOptions {
    /// Returns the defaults.
    pub fn new() -> WorkerOptions {
        WorkerOptions::default()
    }

    /// Sets a name that `seqcast top` and [`Stats`](crate::Stats) show. It is truncated to 48 bytes. Default: empty.
    pub fn label(mut self, label: impl Into<String>) -> WorkerOptions {
        self.label = label.into();
        self
    }

    /// Sets where reading begins. Default: [`Start::Now`].
    pub fn start(mut self, start: Start) -> WorkerOptions {
        self.start = start;
        self
    }

    /// Sets the longest time between two polls of a [`Poller`](crate::Poller), which also polls at once when something
    /// is posted. Zero forbids pollers: none can be started, and a running one ends. Default: 1 s.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::WorkerOptions;
    ///
    /// let worker = bus.join_with(&WorkerOptions::new().interval(Duration::ZERO))?;
    /// assert!(worker.start_poller().is_err(), "it is polled by hand");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn interval(mut self, interval: Duration) -> WorkerOptions {
        self.interval = interval;
        self
    }

    /// Sets the sleep between two checks of a reserved id without a payload. A commit ends the sleep at once; a check
    /// finds out if the reserver has died. Must be greater than zero and at most `wait_max`. Default: 10 ms.
    pub fn wait_interval(mut self, wait_interval: Duration) -> WorkerOptions {
        self.wait_interval = wait_interval;
        self
    }

    /// Sets how long to wait for the payload of a reserved id. After that, this worker gives the id up for all workers.
    /// It is also the longest time that one [`poll`](crate::Worker::poll) waits. Default: 500 ms.
    ///
    /// The time counts from when this worker met the id. That may be before its turn, because the worker reads ahead
    /// while it waits for another id. If it cannot read further ahead, an id counts as met at most an eighth of
    /// `wait_max` after it was reserved. Reserved ids, however many and however far apart, therefore delay an event for
    /// at most nine eighths of `wait_max` after the last of them was reserved.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::WorkerOptions;
    ///
    /// let ms = Duration::from_millis(1);
    /// let worker = bus.join_with(&WorkerOptions::new().wait_interval(ms).wait_max(20 * ms))?;
    /// let other = bus.join()?;
    /// let mut reservation = other.reserve()?;
    /// worker.poll()?; // waits for 20 ms, then gives the id up
    /// assert!(reservation.commit(("job", "done"), "too late").is_err());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn wait_max(mut self, wait_max: Duration) -> WorkerOptions {
        self.wait_max = wait_max;
        self
    }

    /// Makes posts wait for this worker, each for at most `patience`: no event is overwritten before this worker has
    /// copied it. Zero, the default: a worker that falls a whole ring behind misses events. `patience` is at most the
    /// segment's [`most_patience`](crate::SegmentOptions::most_patience), and longer than `wait_max`, because a worker
    /// does not read while it waits for a reserved id and has read ahead as far as it can.
    ///
    /// A post that would overwrite an event that this worker lacks waits until the worker has read it.
    /// [`try_post`](crate::Worker::try_post) returns [`ErrorKind::Full`](crate::ErrorKind::Full) instead. A post that
    /// has waited for `patience` cuts the worker off: no post waits for it any more, and it may miss events. Then it
    /// is told so, in [`Trouble::Lagged`](crate::Trouble::Lagged) or [`Delivery::Lagged`](crate::Delivery::Lagged).
    /// From its next read on, posts wait for it again. So a stopped worker delays the others once. A dead one delays no
    /// post, whatever its patience.
    ///
    /// A worker that others wait for must not wait for others, or two of them could wait for each other. So a post of
    /// this worker never waits: it returns [`ErrorKind::Full`](crate::ErrorKind::Full) at once, in a handler and
    /// elsewhere. The events [`STARTED`](crate::library::STARTED) and [`STOPPING`](crate::library::STOPPING) are left
    /// out if there is no room for them.
    ///
    /// While such a worker is on the bus, no payload goes into a [large block](crate::SegmentOptions::large): larger
    /// events are posted in fragments, and those that do not fit in a quarter of the ring are refused. A post that
    /// began before this worker joined may still use one. If that is overwritten, the worker is told that it missed the
    /// event.
    ///
    /// What this worker has copied counts as read, before its handlers run. An id that is reserved counts as unread
    /// until it is decided. With [`Start::Oldest`](crate::Start::Oldest) and the like, events that are older than the
    /// join may be missed. A [`Publisher`](crate::Publisher) reads nothing, so no post waits for it. A worker that runs
    /// applies a change with its next poll.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::WorkerOptions;
    ///
    /// let ledger = bus.join_with(&WorkerOptions::new().must_read(Duration::from_secs(1)).announce(false))?;
    /// let posting = std::thread::spawn({
    ///     let mut publisher = bus.publisher()?;
    ///     move || (0..100).try_for_each(|job| publisher.post(("job", "done"), job.to_string()).map(drop))
    /// });
    /// let mut read = 0;
    /// ledger.on(("job", "done"), |_| ())?;
    /// while read < 100 {
    ///     ledger.wait(Duration::from_millis(10))?;
    ///     let polled = ledger.poll()?;
    ///     // It misses events only if it does not poll for a second.
    ///     read += polled.delivered() + polled.missed();
    /// }
    /// posting.join().unwrap()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn must_read(mut self, patience: Duration) -> WorkerOptions {
        self.must_read = patience;
        self
    }

    /// Sets how long the key of a unique event is held if the post sets no ttl. Must be greater than zero. Default: 2
    /// s.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::WorkerOptions;
    ///
    /// let worker = bus.join_with(&WorkerOptions::new().timeout(Duration::from_secs(60)))?;
    /// worker.event(("mail", "nightly")).unique("mail").post("")?; // its key is held for a minute
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> WorkerOptions {
        self.timeout = timeout;
        self
    }

    /// Sets whether joining posts [`STARTED`](crate::library::STARTED) and leaving posts
    /// [`STOPPING`](crate::library::STOPPING). Default: `true`.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::WorkerOptions;
    ///
    /// let quiet = bus.join_with(&WorkerOptions::new().announce(false))?;
    /// assert_eq!(bus.next_id(), 0);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn announce(mut self, yes: bool) -> WorkerOptions {
        self.announce = yes;
        self
    }

    /// Sets if a worker that has missed events is brought up to date with the [retained](crate::EventBuilder::retain)
    /// events. Default: `false`.
    ///
    /// After [`Trouble::Lagged`](crate::Trouble::Lagged) it receives, in the order of their ids, the last event of each
    /// key for which it has missed that event, and the clears that it has missed; then
    /// [`UP_TO_DATE`](crate::library::UP_TO_DATE), and then live events. If the segment does not remember all clears
    /// any more, the worker receives [`RESET`](crate::library::RESET) and then the last event of every key. Events that
    /// are not retained stay missed.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use seqcast::{WorkerOptions, library};
    ///
    /// # let options = WorkerOptions::new().on_report(|_| ());
    /// # /*
    /// let options = WorkerOptions::new();
    /// # */
    /// let worker = bus.join_with(&options.resync(true))?;
    /// worker.poll()?;
    /// worker.on(("upstream", "state"), |event| println!("{:?} is {:?}", event.retained_key(), event.bytes()))?;
    /// worker.on(library::UP_TO_DATE, |_| println!("nothing is missing"))?;
    /// let mut publisher = bus.publisher()?;
    /// publisher.event(("upstream", "state")).retain_key("17").post("down")?;
    /// for _ in 0..100 {
    ///     publisher.post(("job", "done"), "")?;
    /// }
    /// let polled = worker.poll()?;
    /// assert!(polled.missed() > 0);
    /// assert_eq!(polled.delivered(), 2);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn resync(mut self, yes: bool) -> WorkerOptions {
        self.resync = yes;
        self
    }

    /// Sets the function that gets every [`Report`], for example of failed handlers and missed events. It is called
    /// inside `poll`, and in `join` if the segment [differs](crate::Bus::differences) from the requested options. If it
    /// panics, the report and the panic are reported in the default way, and the poll continues.
    ///
    /// Default: a line on standard error or, with the feature `tracing`, an event for the reporting thread's
    /// subscriber. At most five reports of one kind about one event are written in ten seconds. Further reports are
    /// counted. The next `poll` or `wait` after that time writes the count, and so does the worker when it is dropped.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use seqcast::WorkerOptions;
    ///
    /// let missed = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&missed);
    /// let worker = bus.join_with(&WorkerOptions::new().on_report(move |report| {
    ///     counted.fetch_add(report.trouble.missed().unwrap_or(0), Ordering::Relaxed);
    ///     eprintln!("{}: {report}", report.trouble.name());
    /// }))?;
    /// let mut publisher = bus.publisher()?;
    /// for _ in 0..2 * bus.capacity() {
    ///     publisher.post(("cache", "stale"), "user:42")?;
    /// }
    /// let polled = worker.poll()?;
    /// assert_eq!(polled.missed(), missed.load(Ordering::Relaxed));
    /// assert!(polled.missed() > 0);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn on_report(mut self, reporter: impl Fn(&Report<'_>) + Send + Sync + 'static) -> WorkerOptions {
        self.reporter = Some(Arc::new(reporter));
        self
    }

    /// Returns how long posts wait for this worker, in nanoseconds, if they do.
    pub(crate) fn must_read_ns(&self) -> Option<u64> {
        let ns = u64::try_from(self.must_read.as_nanos()).unwrap_or(u64::MAX);
        (ns > 0).then_some(ns)
    }

    /// Returns an error for options that a worker, publisher or subscriber cannot join with.
    pub(crate) fn check_to_join(&self, segment: &Segment) -> Result<()> {
        self.check_for(segment)?;
        if self.start == Start::Retained && !segment.geometry().has_table() {
            return Err(no_table(segment));
        }
        self.start.begin(segment).map(drop)
    }

    /// Returns an error for options that no worker on `segment` can have.
    pub(crate) fn check_for(&self, segment: &Segment) -> Result<()> {
        if self.resync && !segment.geometry().has_table() {
            return Err(no_table(segment));
        }
        check_patience(self.must_read, self.wait_max, segment)?;
        self.check()
    }

    /// Returns the label.
    pub fn get_label(&self) -> &str {
        &self.label
    }

    /// Returns where reading begins.
    pub fn get_start(&self) -> Start {
        self.start
    }

    /// Returns the longest time between two polls of a [`Poller`](crate::Poller).
    pub fn get_interval(&self) -> Duration {
        self.interval
    }

    /// Returns the sleep between two checks of a reserved id.
    pub fn get_wait_interval(&self) -> Duration {
        self.wait_interval
    }

    /// Returns the longest wait for a reserved id.
    pub fn get_wait_max(&self) -> Duration {
        self.wait_max
    }

    /// Returns how long posts wait for this worker. Zero: they do not wait.
    pub fn get_must_read(&self) -> Duration {
        self.must_read
    }

    /// Returns how long a unique key is held if the post sets no ttl.
    pub fn get_timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns `true` if joining and leaving are announced.
    pub fn get_announce(&self) -> bool {
        self.announce
    }

    /// Returns `true` if a worker that has missed events is brought up to date.
    pub fn get_resync(&self) -> bool {
        self.resync
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.wait_interval.is_zero() {
            return Err(Error::option("wait_interval", "0", "it must be greater than 0"));
        }
        if self.wait_interval > self.wait_max {
            let value = format!("{:?} with wait_max = {:?}", self.wait_interval, self.wait_max);
            return Err(Error::option("wait_interval", value, "it must not be longer than wait_max"));
        }
        if self.timeout.is_zero() {
            return Err(Error::option("timeout", "0", "the ttl of unique keys must be greater than 0"));
        }
        Ok(())
    }
}

/// Returns an error for a patience that no reader on `segment` can have.
pub(crate) fn check_patience(patience: Duration, wait_max: Duration, segment: &Segment) -> Result<()> {
    if patience.is_zero() {
        return Ok(());
    }
    let most = segment.most_patience();
    if patience > most {
        let rule = if most.is_zero() {
            format!("posts on segment {} wait for no worker: create it with .most_patience(duration)", segment.name())
        } else {
            format!(
                "posts on segment {} wait for at most {most:?}: create it with more .most_patience()",
                segment.name()
            )
        };
        return Err(Error::option("must_read", format!("{patience:?}"), rule));
    }
    if wait_max >= patience {
        let value = format!("{patience:?} with wait_max = {wait_max:?}");
        let rule = "it must be longer than wait_max, for which this worker may not read on";
        return Err(Error::option("must_read", value, rule));
    }
    Ok(())
}

impl fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("label", &self.label)
            .field("start", &self.start)
            .field("interval", &self.interval)
            .field("wait_interval", &self.wait_interval)
            .field("wait_max", &self.wait_max)
            .field("must_read", &self.must_read)
            .field("timeout", &self.timeout)
            .field("announce", &self.announce)
            .field("resync", &self.resync)
            .finish_non_exhaustive()
    }
}
