//! The decisions of a worker about the events that it reads: which its handlers want, and which it claims.

use crate::error::Result;
use crate::event::wire::{Head, UniqueKey};
use crate::protocol::bucket::{At, Decision, Token};
use crate::protocol::thread_lock::Lock;
use crate::seat::claim::Claimer;
use crate::seat::read::Gate;
use crate::seat::report::{Report, Trouble};
use crate::worker::handlers::AllRoutes;
use crate::worker::inner::Inner;

/// The gate of a worker's reader.
pub(crate) struct WorkerGate<'a> {
    pub(super) inner: &'a Inner,
    pub(super) routes: &'a mut AllRoutes,
    pub(super) claimer: &'a Lock<Claimer>,
    /// `true` if events without a handler are wanted, too.
    pub(super) wants_all: bool,
}

impl Gate for WorkerGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        let route = self.routes.find(&self.inner.handlers, head, prefix);
        route.is_some_and(|route| self.wants_all || route.is_wanted())
    }

    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>> {
        let decision = self.claimer.lock().claim_event(unique.key, unique.ttl_ns, at)?;
        let trouble = match decision {
            Decision::Won(token) => return Ok(Some(token)),
            Decision::Held { .. } | Decision::Decided => return Ok(None),
            Decision::Full => Trouble::ClaimsFull,
            Decision::Late => Trouble::ClaimLate,
        };
        // Now: the reader stores that it has read the event when this returns.
        self.inner.report_here(&Report { source: "", event: "", id: Some(at.place - 1), trouble })?;
        Ok(None)
    }

    fn settle_below(&mut self, to: u64) -> Result<()> {
        self.inner.writer.lock().settle_below(to)
    }
}
