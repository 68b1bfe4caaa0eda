//! Reports of the workers and the driver to the master, through a pipe each: rkyv values with their length in front.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};

use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::fold::Fold;

/// The kinds of reports.
#[derive(Archive, Serialize, Deserialize, Debug)]
pub enum Report {
    /// A worker is on the bus and reads from this id on.
    Joined { first: u64 },
    /// Everything that a worker has handled so far.
    Checkpoint(Checkpoint),
    /// A worker runs a unique event.
    Ran { id: u64, key: String },
    /// Nanoseconds from post to handler since the last such report, and how often each occurred.
    Latency(Vec<(u64, u64)>),
    /// The driver's request was posted as this event; with its key if it was a unique one.
    Answered { id: u64, unique: Option<String> },
    /// The driver got no answer to a request for a unique event, because its worker was killed. It may have been
    /// posted.
    Unanswered { unique: String },
    /// The driver is finished.
    Driven(Driven),
}

/// Everything that a worker has handled, except unique events, which reach one worker only.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Id of the first event.
    pub first: u64,
    /// Id of the last.
    pub last: u64,
    /// The digest of those two and all events in between.
    pub fold: Fold,
}

/// The driver's results.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub struct Driven {
    /// Answered requests.
    pub requests: u64,
    /// Requests without an answer, because their worker was killed.
    pub unanswered: u64,
    /// Answers that had to show a change in another worker.
    pub checks: u64,
    /// Those that did not.
    pub stale: u64,
    /// Lines read from the live feed.
    pub feed_lines: u64,
}

/// A report up to this length enters the pipe whole or not at all, even if its sender is killed (`PIPE_BUF`).
const MOST_BYTES: usize = 4096;

/// The writing end, in a child.
#[derive(Debug)]
pub struct Sender {
    pipe: PipeWriter,
}

/// The reading end, in the master. It never blocks.
#[derive(Debug)]
pub struct Receiver {
    pipe: PipeReader,
    unread: Vec<u8>,
    ended: bool,
}

/// Creates a pipe.
pub fn channel() -> io::Result<(Sender, Receiver)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((Sender { pipe: writer }, Receiver { pipe: reader, unread: Vec::new(), ended: false }))
}

impl Sender {
    /// Sends a report. Blocks if the master has much unread data.
    pub fn send(&mut self, report: &Report) -> crate::Result<()> {
        let value = rkyv::to_bytes::<rancor::Error>(report)?;
        let mut frame = Vec::with_capacity(4 + value.len());
        frame.extend_from_slice(&(value.len() as u32).to_le_bytes());
        frame.extend_from_slice(&value);
        assert!(frame.len() <= MOST_BYTES, "a report of {} bytes would not enter the pipe in one piece", frame.len());
        Ok(self.pipe.write_all(&frame)?)
    }
}

impl Receiver {
    /// Returns all available reports.
    pub fn drain(&mut self) -> crate::Result<Vec<Report>> {
        let mut chunk = [0; 16 << 10];
        while !self.ended {
            match self.pipe.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(len) => self.unread.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut reports = Vec::new();
        let mut rest = &self.unread[..];
        while let Some((len, after)) = rest.split_first_chunk::<4>()
            && let Some((value, after)) = after.split_at_checked(u32::from_le_bytes(*len) as usize)
        {
            // Archived values must be aligned to be read.
            let mut aligned: AlignedVec = AlignedVec::with_capacity(value.len());
            aligned.extend_from_slice(value);
            reports.push(rkyv::from_bytes::<Report, rancor::Error>(&aligned)?);
            rest = after;
        }
        let read = self.unread.len() - rest.len();
        self.unread.drain(..read);
        Ok(reports)
    }
}
