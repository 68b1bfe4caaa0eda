//! Brings a reader up to date with the retained events.
//!
//! ```text
//! idle ----> due ----> handing over ----> idle
//!       |         |                   |
//!       |         |                   +- nothing is left: up to date
//!       |         +- the events are copied out of the table
//!       +- the reader has joined, or was lapped
//! ```

use std::vec;

use crate::error::Result;
use crate::event::Buffer;
use crate::event::wire::Head;
use crate::protocol::retained::{Held, SlotCopy, SlotLook, Span, Table};
use crate::seat::copy::{Copied, CopyInto, copy_retained};
use crate::seat::read::{Gate, Message, Step};
use crate::segment::Segment;
use crate::segment::fault::InSegment;

/// The events that a reader is handed before it continues.
#[derive(Default)]
pub(crate) enum CatchUp {
    #[default]
    Idle,
    /// The reader lacks the events of `span`, and none is copied yet.
    Due(Span),
    HandingOver {
        span: Span,
        /// `true` until the reader is told that everything it knows is void.
        resets: bool,
        events: vec::IntoIter<Message>,
    },
}

impl CatchUp {
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, CatchUp::Idle)
    }

    /// Returns the id from which on the reader may lack events that it will be handed.
    #[inline]
    pub(crate) fn from(&self) -> Option<u64> {
        match self {
            CatchUp::Idle => None,
            CatchUp::Due(span) | CatchUp::HandingOver { span, .. } => Some(span.from),
        }
    }

    /// Returns the next step of a reader that is not idle, or `None` if events must be copied first.
    pub(crate) fn step(&mut self, current: &mut Message) -> Option<Step> {
        let CatchUp::HandingOver { span, resets, events } = self else { return None };
        let to = span.to;
        if std::mem::take(resets) {
            return Some(Step::Reset { to });
        }
        if let Some(event) = events.next() {
            *current = event;
            return Some(Step::Event);
        }
        *self = CatchUp::Idle;
        Some(Step::UpToDate { to })
    }

    /// Copies the events that are due.
    pub(crate) fn gather(&mut self, table: &Table, segment: &Segment, now: u64, gate: &mut impl Gate) -> Result<()> {
        let CatchUp::Due(mut span) = *self else { return Ok(()) };
        // J2. If no seat announces a key, every event is settled.
        if table.is_any_announced() {
            gate.settle_below(span.to)?;
        }
        let from = span.from;
        // A joiner knows no event that could be cleared.
        let copy = |slot: &SlotLook<'_>| {
            copy_slot(slot, now, |head, prefix| !(from == 0 && head.clears()) && gate.wants(head, prefix))
        };
        let copied = table.walk(&mut span, copy).in_segment(segment)?; // J3
        let is_told = |message: &Message| !(span.reset && message.head.clears());
        let events: Vec<Message> = copied.into_iter().map(|(held, event)| event.at(&held)).filter(is_told).collect();
        *self = CatchUp::HandingOver { span, resets: span.reset && from > 0, events: events.into_iter() };
        Ok(())
    }
}

/// An event copied from a slot.
pub(crate) struct FromTable {
    head: Head,
    bytes: Buffer,
    len: usize,
}

impl FromTable {
    /// Returns the event, with `held` from its slot.
    // Always: as `Retained::of`.
    #[inline(always)]
    pub(crate) fn at(self, held: &Held) -> Message {
        let FromTable { head, bytes, len } = self;
        Message { handed_over: true, ..Message::copied(held.place.saturating_sub(1), head, bytes, len) }
    }
}

/// Copies the event in a slot, if it is wanted. If the ttl of a value has ended at `now`, the event becomes a clear.
#[inline]
pub(crate) fn copy_slot(
    slot: &SlotLook<'_>,
    now: u64,
    mut wants: impl FnMut(&Head, &[u8]) -> bool,
) -> SlotCopy<FromTable> {
    // Read in the same look as the event: it is valid if the copy is.
    let is_over = slot.held().deadline <= now;
    let (mut head, mut bytes) = (Head::default(), Buffer::new());
    // A request is never in a slot.
    let is_kept = |head: &Head| head.is_kept() && !head.is_request();
    let wants = |head: &Head, prefix: &[u8]| is_kept(head) && wants(&head.cleared_if(is_over), prefix);
    match copy_retained(slot, CopyInto { head: &mut head, buffer: &mut bytes }, wants) {
        Copied::Event { len } => {
            let head = head.cleared_if(is_over);
            let len = if head.clears() { head.payload_at() } else { len };
            SlotCopy::Taken(FromTable { head, bytes, len })
        }
        Copied::Lapped => SlotCopy::Changed,
        // No writer of this crate stores anything else in a slot.
        Copied::NotWanted { .. }
        | Copied::Visited { .. }
        | Copied::Unreadable
        | Copied::Fragment { .. }
        | Copied::Gap(_)
        | Copied::Overwritten => SlotCopy::Passed,
    }
}
