//! How a bell behaves.

use std::time::Duration;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};

/// How a bell hears of posts.
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
/// # let name = format!("doc-bell-options-{}", std::process::id());
/// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
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
    /// The defaults.
    pub fn new() -> BellOptions {
        BellOptions::default()
    }

    /// The longest time between two looks, whether the bell was rung or not. Default 1 s.
    ///
    /// It bounds the delay of an event whose poster was stopped between its publication and its ring. So often does the
    /// bell wake an idle event loop.
    pub fn interval(mut self, interval: Duration) -> BellOptions {
        self.interval = interval;
        self
    }

    /// The time between two looks of a bell that cannot be rung: [`BellKind::Tick`]. Default 10 ms; never more than the
    /// interval.
    pub fn tick(mut self, tick: Duration) -> BellOptions {
        self.tick = tick;
        self
    }

    /// Has a thread wait for posts and ring the bell, for systems without inotify. It wakes ten times a second while idle,
    /// and takes twice the time of inotify to ring. Default: no.
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
