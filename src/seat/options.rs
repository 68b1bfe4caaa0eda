//! How a worker behaves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::identity::Position;
use crate::seat::report::Report;
use crate::segment::Segment;

/// Where a worker begins to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At what is posted next: nothing is replayed.
    #[default]
    Now,
    /// At the oldest event that the ring still holds.
    Oldest,
    /// At an event id, as if there was nothing before it: right for "from there on". It is not for going on where a
    /// worker was: an event in fragments is delivered at its last one, and one that began before this id is left out
    /// without a report, though it was not delivered before. Use `After` or `Resume` for that.
    ///
    /// An id is only valid on the bus that it came from. On a segment that was created again it says another place.
    At(u64),
    /// After an event id: what is at greater ids is delivered, all of it or with a report of what was missed, as if
    /// this worker had read on from there. The fragments of events that began before are gathered, as far as the ring
    /// still has them; nothing else of what is before is read, claimed or counted.
    ///
    /// An id is only valid on the bus that it came from. `Resume` checks that.
    After(u64),
    /// Where a worker was, as [`Worker::position`](crate::Worker::position) said: like `After`, on the bus that the
    /// position is of. On another one it is [`ErrorKind::OtherBus`].
    Resume(Position),
}

/// Where reading begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// The first id to be delivered.
    pub(crate) first: u64,
    /// Whether events that began before it and end behind are to be delivered.
    pub(crate) gathers: bool,
}

impl Start {
    /// The first id on `segment`, as things are now.
    pub(crate) fn begin(self, segment: &Segment) -> Result<Begin> {
        let ring = segment.ring();
        let newest = ring.newest();
        let (first, gathers) = match self {
            Start::Now => (newest, false),
            // Not what the ring says now, which may be a lap later, and then ahead of the id above.
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
        Ok(Begin { first, gathers })
    }
}

type Reporter = Arc<dyn Fn(&Report<'_>) + Send + Sync>;

/// How a worker behaves. All but [`start`](WorkerOptions::start) can be changed while it runs, with
/// [`Worker::reconfigure`](crate::Worker::reconfigure).
///
/// The option `shm_retries` of lua-resty-worker-events has no counterpart: blocks are of one size, nothing fragments,
/// and a post never has to evict and try again.
#[derive(Clone)]
#[must_use = "options do nothing until something is joined or configured with them"]
pub struct WorkerOptions {
    pub(crate) label: String,
    pub(crate) start: Start,
    pub(crate) interval: Duration,
    pub(crate) wait_interval: Duration,
    pub(crate) wait_max: Duration,
    pub(crate) timeout: Duration,
    pub(crate) announce: bool,
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
            timeout: Duration::from_secs(2),
            announce: true,
            reporter: None,
        }
    }
}

impl WorkerOptions {
    /// The defaults.
    pub fn new() -> WorkerOptions {
        WorkerOptions::default()
    }

    /// A name for those who look at the segment; what is beyond 48 bytes is cut off. Default: none.
    pub fn label(mut self, label: impl Into<String>) -> WorkerOptions {
        self.label = label.into();
        self
    }

    /// Where to begin to read. Default: at what is posted next.
    pub fn start(mut self, start: Start) -> WorkerOptions {
        self.start = start;
        self
    }

    /// The longest time between two polls of a [`Poller`](crate::Poller); it polls at once when something is posted.
    /// Zero means that there is to be none. Default 1 s.
    pub fn interval(mut self, interval: Duration) -> WorkerOptions {
        self.interval = interval;
        self
    }

    /// How long to sleep between two looks at a reserved id whose payload is not visible yet; a commit ends the sleep
    /// at once. Default 10 ms.
    pub fn wait_interval(mut self, wait_interval: Duration) -> WorkerOptions {
        self.wait_interval = wait_interval;
        self
    }

    /// How long to wait for a reserved id's payload before the id is given up, for all workers. Default 500 ms.
    ///
    /// It counts from when this worker first met the id. That may be before it can be read: while the worker waits for
    /// one id it goes on to what follows, and where that is more than it can copy out, an id counts as met within an
    /// eighth of `wait_max` after it was reserved. So however many ids are reserved, and however far apart, no event is
    /// held up by them for longer than nine eighths of `wait_max` from when the last of them was reserved.
    ///
    /// It is also the longest time that one [`poll`](crate::Worker::poll) waits at all.
    pub fn wait_max(mut self, wait_max: Duration) -> WorkerOptions {
        self.wait_max = wait_max;
        self
    }

    /// How long a unique key is held when the post does not say. Default 2 s.
    pub fn timeout(mut self, timeout: Duration) -> WorkerOptions {
        self.timeout = timeout;
        self
    }

    /// Whether to post [`STARTED`](crate::library::STARTED) and [`STOPPING`](crate::library::STOPPING). Default: yes.
    pub fn announce(mut self, yes: bool) -> WorkerOptions {
        self.announce = yes;
        self
    }

    /// What to do with reports of failed handlers, unreadable events and the like. Called inside `poll`, and in
    /// `join` if the segment [differs](crate::Bus::differences) from what was asked for; with every report. If it
    /// panics, the report goes the default way, and so does the panic; the poll goes on.
    ///
    /// Default: a line on standard error, or a `tracing` event with that feature and a subscriber in the polling
    /// thread. Of one kind of trouble with one event five are reported in ten seconds. Others are counted, and the
    /// number is reported after that time by the next `poll` or `wait`, and when the worker is dropped.
    pub fn on_report(mut self, reporter: impl Fn(&Report<'_>) + Send + Sync + 'static) -> WorkerOptions {
        self.reporter = Some(Arc::new(reporter));
        self
    }

    /// Refuses options that nobody can join with, be it as a worker or as a poster.
    pub(crate) fn check_to_join(&self, segment: &Segment) -> Result<()> {
        self.check()?;
        self.start.begin(segment).map(drop)
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

    /// Returns the sleep between two looks at a reserved id.
    pub fn get_wait_interval(&self) -> Duration {
        self.wait_interval
    }

    /// Returns the longest wait for a reserved id.
    pub fn get_wait_max(&self) -> Duration {
        self.wait_max
    }

    /// Returns how long a unique key is held when the post does not say.
    pub fn get_timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns whether joining and leaving are announced.
    pub fn get_announce(&self) -> bool {
        self.announce
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.wait_interval.is_zero() {
            return Err(Error::option("wait_interval", "0", "it must be longer than nothing"));
        }
        if self.wait_interval > self.wait_max {
            let value = format!("{:?} with wait_max = {:?}", self.wait_interval, self.wait_max);
            return Err(Error::option("wait_interval", value, "it must not be longer than wait_max"));
        }
        if self.timeout.is_zero() {
            return Err(Error::option("timeout", "0", "a unique key's ttl must be longer than nothing"));
        }
        Ok(())
    }
}

impl fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("label", &self.label)
            .field("start", &self.start)
            .field("interval", &self.interval)
            .field("wait_interval", &self.wait_interval)
            .field("wait_max", &self.wait_max)
            .field("timeout", &self.timeout)
            .field("announce", &self.announce)
            .finish_non_exhaustive()
    }
}
