//! The result of a poll.

use std::time::Duration;

#[cfg(doc)]
use crate::worker::Worker;

/// The result of a poll.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::Polled;
///
/// match worker.poll()? {
///     Polled::Done { missed, .. } if missed > 0 => println!("missed {missed} events: build the state again"),
///     Polled::Done { .. } => {}
///     Polled::Reserved { id, .. } => println!("stopped at {id}, which has no payload yet"),
///     other => println!("nothing done: {other:?}"),
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// Everything was delivered, or the limit of [`poll_at_most`](Worker::poll_at_most) was reached.
    #[non_exhaustive]
    Done {
        /// Events that handlers of this worker were called with, and local events.
        delivered: u64,
        /// Ids that were overwritten before they were read.
        missed: u64,
        /// Events that were lost between hosts, as far as the reports say: an unknown number counts as one.
        missed_elsewhere: u64,
    },
    /// Everything before a reserved id was delivered. A later poll continues when the id is committed or given up.
    #[non_exhaustive]
    Reserved {
        /// The reserved id.
        id: u64,
        /// The time after which a poll gives the id up. `None` if this worker has reserved the id itself: it never
        /// gives up its own.
        left: Option<Duration>,
        /// As in [`Done`](Polled::Done).
        delivered: u64,
        /// As in [`Done`](Polled::Done).
        missed: u64,
        /// As in [`Done`](Polled::Done).
        missed_elsewhere: u64,
    },
    /// The call came from inside a handler of this worker. Nothing was done.
    Recursive,
    /// Another thread polls this worker. Nothing was done. [`Worker::wait`] sleeps until that poll is over.
    Busy,
}

impl Polled {
    /// Returns the number of events that handlers of this worker were called with, and of local events.
    pub fn delivered(&self) -> u64 {
        match *self {
            Polled::Done { delivered, .. } | Polled::Reserved { delivered, .. } => delivered,
            Polled::Recursive | Polled::Busy => 0,
        }
    }

    /// Returns the reserved id at which the poll stopped.
    pub fn reserved(&self) -> Option<u64> {
        match *self {
            Polled::Reserved { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Returns the number of ids that were overwritten before they were read.
    pub fn missed(&self) -> u64 {
        match *self {
            Polled::Done { missed, .. } | Polled::Reserved { missed, .. } => missed,
            Polled::Recursive | Polled::Busy => 0,
        }
    }

    /// Returns the number of events that were lost between hosts, as far as the reports say. An unknown number counts
    /// as one.
    pub fn missed_elsewhere(&self) -> u64 {
        match *self {
            Polled::Done { missed_elsewhere, .. } | Polled::Reserved { missed_elsewhere, .. } => missed_elsewhere,
            Polled::Recursive | Polled::Busy => 0,
        }
    }
}
