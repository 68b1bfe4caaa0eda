//! What a poll did.

use std::time::Duration;

#[cfg(doc)]
use crate::worker::Worker;

/// What a poll did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// Everything there was has been handed to the handlers, or as much as was asked for.
    #[non_exhaustive]
    Done {
        /// Events that handlers of this worker were called with.
        delivered: u64,
        /// Ids that were overwritten before they were read.
        missed: u64,
    },
    /// Everything before a reserved id has been handed to the handlers. What follows comes with a later poll, after the
    /// commit or when the id was given up.
    #[non_exhaustive]
    Reserved {
        /// The reserved id.
        id: u64,
        /// How long this worker still waits for it, at the most: a poll after that gives the id up. `None` if the
        /// worker has reserved it itself, which it never gives up by waiting.
        left: Option<Duration>,
        /// As in [`Done`](Polled::Done).
        delivered: u64,
        /// As in [`Done`](Polled::Done).
        missed: u64,
    },
    /// The call came from inside a handler of this worker. Nothing was done.
    Recursive,
    /// Another thread polls this worker. Nothing was done; what there is to handle is that thread's.
    /// [`Worker::wait`] sleeps until its poll is over.
    Busy,
}

impl Polled {
    /// Events that handlers of this worker were called with.
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

    /// Ids that were overwritten before they were read.
    pub fn missed(&self) -> u64 {
        match *self {
            Polled::Done { missed, .. } | Polled::Reserved { missed, .. } => missed,
            Polled::Recursive | Polled::Busy => 0,
        }
    }
}
