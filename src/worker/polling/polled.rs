//! What a poll did.

use std::time::Duration;

#[cfg(doc)]
use crate::worker::Worker;

/// What a poll did.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::Polled;
///
/// match worker.poll()? {
///     Polled::Done { missed, .. } if missed > 0 => println!("missed {missed} events: build the state again"),
///     Polled::Done { .. } => {}
///     Polled::Reserved { id, .. } => println!("stopped at {id}, whose payload is not there yet"),
///     other => println!("nothing done: {other:?}"),
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// Everything there was is delivered, or as much as was asked for.
    #[non_exhaustive]
    Done {
        /// Events that handlers of this worker were called with, and local events.
        delivered: u64,
        /// Ids that were overwritten before they were read.
        missed: u64,
    },
    /// Everything before a reserved id is delivered. What follows comes with a later poll, when the id is committed or
    /// given up.
    #[non_exhaustive]
    Reserved {
        /// The reserved id.
        id: u64,
        /// How long this worker still waits for it at most. A poll after that gives the id up. `None` if this worker
        /// has reserved it: it never gives up its own.
        left: Option<Duration>,
        /// As in [`Done`](Polled::Done).
        delivered: u64,
        /// As in [`Done`](Polled::Done).
        missed: u64,
    },
    /// The call came from inside a handler of this worker. Nothing was done.
    Recursive,
    /// Another thread polls this worker and delivers what there is. Nothing was done. [`Worker::wait`] sleeps until
    /// that poll is over.
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

    /// Returns the reserved id that the poll stopped at, if it did.
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
}
