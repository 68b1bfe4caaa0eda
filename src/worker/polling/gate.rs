//! What a worker's handlers want of what is read, and which unique events are its own.

use crate::error::Result;
use crate::event::wire::{Head, UniqueKey};
use crate::protocol::claims::{At, Decision, Token};
use crate::protocol::thread_lock::Lock;
use crate::seat::claim::Claimer;
use crate::seat::read::Gate;
use crate::seat::report::{Report, Trouble};
use crate::worker::handlers::Routes;
use crate::worker::handlers::registry::Registry;
use crate::worker::inner::Inner;

pub(crate) struct WorkerGate<'a> {
    pub(super) inner: &'a Inner,
    pub(super) registry: &'a Registry,
    pub(super) routes: &'a mut Routes,
    pub(super) claimer: &'a Lock<Claimer>,
    /// `true` if every event is wanted, also those without a handler.
    pub(super) wants_all: bool,
}

impl Gate for WorkerGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        self.routes.find(self.registry, head, prefix).is_some_and(|route| self.wants_all || route.is_wanted())
    }

    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>> {
        let decision = self.claimer.lock().claim(unique.key, unique.ttl_ns, Some(at))?;
        let trouble = match decision {
            Decision::Won(token) => return Ok(Some(token)),
            Decision::Held { .. } | Decision::Decided => return Ok(None),
            Decision::Full => Trouble::ClaimsFull,
            Decision::Late => Trouble::ClaimLate,
        };
        // Before the reader goes on to store what it has read.
        self.inner.report_here(&Report { source: "", event: "", id: Some(at.place - 1), trouble })?;
        Ok(None)
    }
}
