//! The decisions of a worker about the events that it reads: which its handlers want, and which it claims.

use crate::error::Result;
use crate::event::Words;
use crate::event::wire::{Head, UniqueKey};
use crate::protocol::bucket::{At, Decision, Token};
use crate::protocol::thread_lock::Lock;
use crate::seat::claim::Claimer;
use crate::seat::read::{Gate, Message};
use crate::seat::report::{Report, Trouble};
use crate::seat::visit::{Choice, VisitedBy, visited_event};
use crate::worker::handlers::{AllRoutes, Visited};
use crate::worker::inner::Inner;

/// The id of the event whose route is the latest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Routed(u64);

impl Routed {
    pub(super) const NONE: Routed = Routed(u64::MAX);

    /// Returns `true` if the latest route is that of `message`.
    #[inline]
    pub(super) fn is_of(self, message: &Message) -> bool {
        self == Routed(message.id) && self != Routed::NONE
    }
}

/// The gate of a worker's reader.
pub(crate) struct WorkerGate<'a> {
    pub(super) inner: &'a Inner,
    pub(super) routes: &'a mut AllRoutes,
    pub(super) claimer: &'a Lock<Claimer>,
    /// `true` if events without a handler are wanted, too.
    pub(super) wants_all: bool,
    /// The event whose route was found last.
    pub(super) routed: Routed,
    /// The result of the last visit in place.
    pub(super) visited: &'a mut Option<Visited>,
}

impl Gate for WorkerGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        let choice = self.choose(0, head, prefix);
        self.routed = Routed::NONE;
        choice != Choice::Pass
    }

    #[inline]
    fn choose(&mut self, id: u64, head: &Head, prefix: &[u8]) -> Choice {
        self.routed = Routed(id);
        let Some(route) = self.routes.find(&self.inner.handlers, head, prefix) else { return Choice::Pass };
        if self.wants_all {
            return Choice::Copy;
        }
        // A handler that another thread is removing is found out when the event is delivered, which is too late for an
        // event that was claimed.
        let is_wanted = if head.is_unique() { route.is_wanted() } else { route.may_be_wanted() };
        if is_wanted && route.visits() { Choice::Visit } else { Choice::copy_if(is_wanted) }
    }

    #[inline(never)]
    fn visit(&mut self, id: u64, head: &Head, prefix: &[u8], words: Words<'_>) -> Result<()> {
        let Inner { segment, guard, pid, seat, .. } = self.inner;
        let by = VisitedBy { segment, guard, pid: *pid, seat: *seat };
        // `choose` has just found it.
        if let Some(route) = self.routes.latest(head) {
            let event = visited_event(by, [route.source(), route.event()], id, head, prefix);
            *self.visited = Visited::of(route, &event, words);
        }
        // The visit may have forked and returned in the child.
        Ok(guard.check()?)
    }

    fn drop_visit(&mut self) -> Result<()> {
        *self.visited = None;
        Ok(self.inner.guard.check()?)
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
