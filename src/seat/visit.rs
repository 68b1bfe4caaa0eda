//! What becomes of an event whose head was read: passed over, copied, or visited in place.
//!
//! ```text
//! first look    the cell names the block        Ring::look
//! head          copied and looked at again      Choose::choose
//! visit         relaxed loads in the block      Choose::visit: the user's code, which may meet garbage
//! second look   the cell is as it was           Copied::Visited, or Copied::Lapped and the result is dropped
//! ```

use crate::error::Result;
use crate::event::wire::Head;
use crate::event::{Content, Event, Home, PostedEvent, Words};
use crate::os::fork::ForkGuard;
use crate::seat::is_of_process;
use crate::seat::read::Gate;
use crate::segment::Segment;

/// The size from which on a payload in a block of the ring is visited. A smaller one is copied faster: a visit takes
/// the head apart from the payload, keeps a result and looks a second time (docs/rejected.md).
pub(crate) const LEAST_VISITED: usize = 8192;

/// What is to become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It is not wanted.
    Pass,
    Copy,
    /// Its payload is to be visited where it lies. One of less than [`LEAST_VISITED`] bytes is copied if it is
    /// in a block of the ring.
    Visit,
}

impl Choice {
    #[inline]
    pub(crate) fn copy_if(is_wanted: bool) -> Choice {
        if is_wanted { Choice::Copy } else { Choice::Pass }
    }
}

/// The decisions during a copy. A closure that says if an event is wanted never visits.
pub(crate) trait Choose {
    /// Decides on an event by its head and all bytes before its payload, which were looked at again.
    fn choose(&mut self, head: &Head, prefix: &[u8]) -> Choice;

    /// Visits a payload. What this keeps counts only if the second look finds the event unchanged.
    fn visit(&mut self, _head: &Head, _prefix: &[u8], _words: Words<'_>) {}
}

impl<F: FnMut(&Head, &[u8]) -> bool> Choose for F {
    #[inline]
    fn choose(&mut self, head: &Head, prefix: &[u8]) -> Choice {
        Choice::copy_if(self(head, prefix))
    }
}

/// The decisions of a gate on the event at `id`.
pub(crate) struct ByGate<'a, G> {
    pub(crate) gate: &'a mut G,
    pub(crate) id: u64,
    /// `true` if the event is delivered next, so that its visit need not be kept.
    pub(crate) is_next: bool,
    /// `true` for the seat of a relay, which also reads requests.
    pub(crate) relays: bool,
    /// The result of the visit, if there was one.
    pub(crate) visit: Option<Result<()>>,
}

impl<G: Gate> Choose for ByGate<'_, G> {
    #[inline]
    fn choose(&mut self, head: &Head, prefix: &[u8]) -> Choice {
        if !self.relays && head.is_request() {
            return Choice::Pass;
        }
        match self.gate.choose(self.id, head, prefix) {
            Choice::Visit if !self.is_next => Choice::Copy,
            choice => choice,
        }
    }

    fn visit(&mut self, head: &Head, prefix: &[u8], words: Words<'_>) {
        self.visit = Some(self.gate.visit(self.id, head, prefix, words));
    }
}

/// The seat that visits.
#[derive(Clone, Copy)]
pub(crate) struct VisitedBy<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) guard: &'a ForkGuard,
    pub(crate) pid: u32,
    pub(crate) seat: u16,
}

/// Returns the event at `id` with these names, without its payload and claim, from all bytes before its payload.
pub(crate) fn visited_event<'a>(
    by: VisitedBy<'a>,
    names: [&'a str; 2],
    id: u64,
    head: &'a Head,
    prefix: &'a [u8],
) -> Event<'a> {
    let own = is_of_process(&by.segment.seats(), head, by.pid, by.seat);
    let [source, event] = names;
    Event {
        source,
        event,
        content: Content::Posted(PostedEvent {
            id,
            head,
            wire: prefix,
            claim: None,
            home: Home::Segment(by.segment),
            own,
            handed_over: false,
            visited: true,
        }),
    }
}
