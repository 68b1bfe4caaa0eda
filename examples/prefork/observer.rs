//! The master's own seat on the bus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seqcast::{Bus, Event, Scope, Topic, Worker, WorkerOptions};

use crate::Result;
use crate::audit::Audit;
use crate::events::{cache, health, server};
use crate::fold::digest;
use crate::upstreams::Upstreams;

/// A worker that handles all events except unique ones, so it never takes one of those from the others.
#[derive(Debug)]
pub struct Observer {
    worker: Worker,
    upstreams: Arc<Upstreams>,
    /// Ids and digests of events, on their way from the handlers to the audit.
    seen: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Observer {
    pub fn join(bus: &Bus) -> Result<Observer> {
        let worker = bus.join_with(&WorkerOptions::new().label("master"))?;
        let (upstreams, seen) = (Arc::new(Upstreams::new()), Arc::new(Mutex::new(Vec::new())));
        for source in [seqcast::library::SOURCE, cache::SOURCE, health::SOURCE, server::SOURCE] {
            let seen = Arc::clone(&seen);
            worker.on(Scope::source(source), move |event: &Event<'_>| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend(event.id().map(|id| (id, digest(id, event))));
            })?;
        }
        worker.register(Scope::source(health::SOURCE), &upstreams)?;
        Ok(Observer { worker, upstreams, seen })
    }

    /// Returns its next event. The table of upstreams is as it was just before that event.
    pub fn next(&self) -> u64 {
        self.worker.cursor()
    }

    /// Returns the table of upstreams, for a forked worker to start with.
    pub fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(&self.upstreams)
    }

    /// Posts an event without payload.
    pub fn post(&self, topic: Topic) -> Result<u64> {
        Ok(self.worker.post(topic, b"")?)
    }

    /// Sleeps until there is an event, for at most `nap`.
    pub fn wait(&self, nap: Duration) -> Result<()> {
        self.worker.wait(nap)?;
        Ok(())
    }

    /// Handles new events, and reports them to `audit`.
    pub fn poll(&self, audit: &mut Audit) -> Result<()> {
        let polled = self.worker.poll()?;
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, digest) in seen {
            audit.saw(id, digest);
        }
        audit.came_to(self.next(), polled.missed());
        Ok(())
    }
}
