//! A record of what a worker has handled, for the master to compare.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use seqcast::{Event, Handler, HandlerError};

use crate::args::Fault;
use crate::events::{Render, now_ns, server};
use crate::fold::{Fold, digest};
use crate::latency;
use crate::report::{Checkpoint, Report, Sender};

/// A checkpoint is sent after this many events at the latest.
const CHECKPOINT_EVERY: u64 = 64;
/// The number of latencies that fit a report.
const MOST_LATENCIES: usize = 200;

/// A handler of every event that runs before all others. It belongs to the demonstration, not to the server.
#[derive(Debug)]
pub struct Ledger {
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    reports: Sender,
    checkpoint: Option<Checkpoint>,
    /// `count` of the last checkpoint sent.
    sent: u64,
    latency: Histogram<u64>,
    /// Set by the stop event. Events after it do not count, in any worker.
    closed: bool,
    fault: Option<Fault>,
    /// With [`Fault::Swap`], the event that is held back.
    held: Option<u64>,
}

/// The event that a [`Fault`] affects.
const FAULTY_EVENT: u64 = 10;

impl Ledger {
    pub fn new(reports: Sender, fault: Option<Fault>) -> Ledger {
        let latency = latency::none();
        let entries = Entries { reports, checkpoint: None, sent: 0, latency, closed: false, fault, held: None };
        Ledger { entries: Mutex::new(entries) }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the time between an event's post and its handler. A worker's own events are left out: they never wait for
    /// another process to wake up.
    pub fn delivered(&self, posted_ns: u64, event: &Event<'_>) {
        if !event.is_own() {
            self.entries().latency.saturating_record(now_ns().saturating_sub(posted_ns));
        }
    }

    /// Reports where this worker begins to read.
    pub fn joined(&self, first: u64) -> crate::Result<()> {
        self.entries().reports.send(&Report::Joined { first })
    }

    /// Sends new data.
    pub fn send(&self) -> crate::Result<()> {
        let mut entries = self.entries();
        entries.send_checkpoint()?;
        for latencies in latency::take(&mut entries.latency).chunks(MOST_LATENCIES) {
            entries.reports.send(&Report::Latency(latencies.to_vec()))?;
        }
        Ok(())
    }

    /// Returns the number of events that this worker has handled, without unique ones.
    pub fn handled(&self) -> u64 {
        self.entries().checkpoint.map_or(0, |checkpoint| checkpoint.fold.count)
    }
}

impl Handler for Ledger {
    fn handle(&self, event: &Event<'_>) -> Result<(), HandlerError> {
        // Local events have no id and stay in this worker.
        let Some(id) = event.id() else { return Ok(()) };
        let mut entries = self.entries();
        if entries.closed {
            return Ok(());
        }
        if event.claim().is_some() {
            return entries.ran(id, event);
        }
        entries.fold(id, digest(id, event))?;
        entries.closed = event.topic() == server::STOP;
        Ok(())
    }
}

impl Entries {
    fn fold(&mut self, id: u64, digest: u64) -> Result<(), HandlerError> {
        let checkpoint = self.checkpoint.get_or_insert(Checkpoint { first: id, last: id, fold: Fold::default() });
        checkpoint.last = id;
        match self.fault {
            Some(Fault::Lose) if checkpoint.fold.count == FAULTY_EVENT => self.fault = None,
            Some(Fault::Swap) if checkpoint.fold.count == FAULTY_EVENT && self.held.is_none() => {
                self.held = Some(digest);
            }
            _ => {
                checkpoint.fold.add(digest);
                if let Some(held) = self.held.take() {
                    checkpoint.fold.add(held);
                    self.fault = None;
                }
            }
        }
        if checkpoint.fold.count >= self.sent + CHECKPOINT_EVERY {
            self.send_checkpoint()?;
        }
        Ok(())
    }

    fn send_checkpoint(&mut self) -> crate::Result<()> {
        if let Some(checkpoint) = self.checkpoint
            && checkpoint.fold.count > self.sent
        {
            self.reports.send(&Report::Checkpoint(checkpoint))?;
            self.sent = checkpoint.fold.count;
        }
        Ok(())
    }

    fn ran(&mut self, id: u64, event: &Event<'_>) -> Result<(), HandlerError> {
        let key = event.typed::<Render>()?.key.as_str().to_owned();
        let report = Report::Ran { id, key };
        match self.fault.take_if(|fault| matches!(fault, Fault::Twice | Fault::Never)) {
            Some(Fault::Never) => {}
            Some(_) => {
                self.reports.send(&report)?;
                self.reports.send(&report)?;
            }
            None => self.reports.send(&report)?,
        }
        Ok(())
    }
}
