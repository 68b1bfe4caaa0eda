//! Options of bells.

use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// How a bell is notified of posts.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::BellKind;
///
/// let bell = worker.bell()?;
/// if let BellKind::Tick(interval) = bell.kind() {
///     println!("the bell looks every {interval:?}: {:?}", bell.unheard());
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BellKind {
    /// By inotify: each post that finds a bell armed rings it at once.
    Inotify,
    /// Not at all: the bell becomes readable at this interval. [`Bell::unheard`](crate::Bell::unheard) returns the
    /// reason.
    Tick(Duration),
    /// By a thread that waits for posts.
    Thread,
}

/// Options of a [`Bell`](crate::Bell) or [`PullBell`](crate::PullBell).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use std::time::Duration;
/// use seqcast::BellOptions;
///
/// let worker = bus.join()?;
/// let bell = worker.bell_with(&BellOptions::new().interval(Duration::from_secs(5)))?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a bell is made with them"]
pub struct BellOptions {
    pub(crate) interval: Duration,
    pub(crate) tick: Duration,
    pub(crate) thread: bool,
}

impl Default for BellOptions {
    fn default() -> BellOptions {
        BellOptions { interval: Duration::from_secs(1), tick: Duration::from_millis(10), thread: false }
    }
}

impl BellOptions {
    /// Returns the defaults.
    pub fn new() -> BellOptions {
        BellOptions::default()
    }

    /// Sets the longest time after which the bell becomes readable, whether it was rung or not. An idle event loop
    /// wakes this often. Default: 1 s.
    ///
    /// It bounds the delay of an event if its poster is stopped between the publication and the ring.
    pub fn interval(mut self, interval: Duration) -> BellOptions {
        self.interval = interval;
        self
    }

    /// Sets the interval of a bell that cannot be rung ([`BellKind::Tick`]). It is at most
    /// [`interval`](BellOptions::interval). Default: 10 ms.
    pub fn tick(mut self, tick: Duration) -> BellOptions {
        self.tick = tick;
        self
    }

    /// Sets whether a thread waits for posts and rings the bell, for systems without inotify. The thread wakes ten
    /// times a second while idle, and takes twice as long as inotify to ring. Default: `false`.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use seqcast::{BellKind, BellOptions};
    ///
    /// let bell = worker.bell_with(&BellOptions::new().thread(true))?;
    /// assert_eq!(bell.kind(), BellKind::Thread);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn thread(mut self, yes: bool) -> BellOptions {
        self.thread = yes;
        self
    }

    /// Returns the longest time after which the bell becomes readable.
    pub fn get_interval(&self) -> Duration {
        self.interval
    }

    /// Returns the interval of a bell that cannot be rung.
    pub fn get_tick(&self) -> Duration {
        self.tick
    }

    /// Returns `true` if a thread waits for posts.
    pub fn get_thread(&self) -> bool {
        self.thread
    }

    /// Returns [`ErrorKind::Option`] if a time is zero.
    pub(crate) fn check(&self) -> Result<()> {
        for (option, time) in [("interval", self.interval), ("tick", self.tick)] {
            if time.is_zero() {
                return Err(Error::option(option, "0", "a bell's time must be greater than 0"));
            }
        }
        Ok(())
    }
}
