//! How a bell behaves.

use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// How a bell hears of posts.
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
    /// Not at all: the bell becomes readable at this interval. [`Bell::unheard`](crate::Bell::unheard) says why.
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

    /// Sets the longest time between two looks, whether the bell was rung or not. An idle event loop wakes that often.
    /// Default: 1 s.
    ///
    /// It bounds the delay of an event if its poster is stopped between its publication and its ring.
    pub fn interval(mut self, interval: Duration) -> BellOptions {
        self.interval = interval;
        self
    }

    /// Sets the time between two looks of a bell that cannot be rung: [`BellKind::Tick`]. It is never more than the
    /// interval. Default: 10 ms.
    pub fn tick(mut self, tick: Duration) -> BellOptions {
        self.tick = tick;
        self
    }

    /// Sets whether a thread waits for posts and rings the bell, for systems without inotify. It wakes ten times a
    /// second while idle, and takes twice the time of inotify to ring. Default: `false`.
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

    /// Returns the longest time between two looks.
    pub fn get_interval(&self) -> Duration {
        self.interval
    }

    /// Returns the time between two looks of a bell that cannot be rung.
    pub fn get_tick(&self) -> Duration {
        self.tick
    }

    /// Returns `true` if a thread waits for posts.
    pub fn get_thread(&self) -> bool {
        self.thread
    }

    /// [`ErrorKind::Option`] for times of nothing.
    pub(crate) fn check(&self) -> Result<()> {
        for (option, time) in [("interval", self.interval), ("tick", self.tick)] {
            if time.is_zero() {
                return Err(Error::option(option, "0", "a bell's time must be longer than nothing"));
            }
        }
        Ok(())
    }
}
