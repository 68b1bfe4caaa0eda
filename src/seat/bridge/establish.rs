//! The beginning of a bridge: its claims on both segments, and where it begins to read.

use std::sync::Arc;

use super::Bridge;
use super::carried::Carried;
use super::side::Side;
use crate::claim::{Claim, Claimed};
use crate::error::{Error, Result};
use crate::event::wire::{Head, UniqueKey};
use crate::protocol::bucket::{At, Token};
use crate::protocol::retained::{SlotLook, Span, TOMBSTONE};
use crate::seat::catch_up::copy_slot;
use crate::seat::filter::Filter;
use crate::seat::options::{Begin, WorkerOptions};
use crate::seat::publisher::Publisher;
use crate::seat::read::{Gate, Reader, Step};
use crate::seat::subscriber::Subscriber;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::unique_hash::Domain;

/// The text of the key that a bridge claims, in the domain of the library.
const KEY: &[u8] = b"bridge";

impl Bridge {
    /// Joins both segments. Returns `None` if a living process bridges one of them.
    pub(crate) fn between(old: &Arc<Segment>, new: &Arc<Segment>) -> Result<Option<Bridge>> {
        if old.id() == new.id() {
            return Err(Error::option("new", new.name(), "it is the same segment: a bridge joins two"));
        }
        if old.unique_hash() != new.unique_hash() {
            let rule = format!("its unique keys are not those of {}: create it with .keys_of(&old)", old.name());
            return Err(Error::option("new", new.name(), rule));
        }
        let options = WorkerOptions::new().label("bridge");
        let [mut before, mut after] = [Publisher::join(old, &options)?, Publisher::join(new, &options)?];
        let (Some(claim), Some(_)) = (claim(&mut before)?, claim(&mut after)?) else { return Ok(None) };
        // From here on, no other process changes what the segments know of bridges.
        let with_retained = old.geometry().has_table() && new.geometry().has_table();
        let options = options.resync(with_retained);
        let begins =
            [Start::of(&before, &after, Fresh::Now { with_retained })?, Start::of(&after, &before, Fresh::Oldest)?];
        let [mut old_side, mut new_side] = [(before, begins[0].begin), (after, begins[1].begin)]
            .map(|(publisher, begin)| Side::new(Subscriber::of(publisher, &options, begin, None)));
        old_side.subscriber.filter = Filter::to_carry(true);
        new_side.subscriber.filter = Filter::to_carry(false);
        for (side, start) in [&mut old_side, &mut new_side].into_iter().zip(&begins) {
            if start.resumed && with_retained {
                recall(side, start.begin.first)?;
            }
        }
        old_side.words().take_over(claim.token, begins[0].begin.first.saturating_add(1));
        let claims = old_side.copy_claims_to(&mut new_side)?;
        Ok(Some(Bridge { old: old_side, new: new_side, total: Carried { claims, ..Carried::default() } }))
    }
}

/// Claims the segment for this bridge, for as long as its seat lives. Returns `None` if it is claimed.
fn claim(publisher: &mut Publisher) -> Result<Option<Claim>> {
    let segment = Arc::clone(&publisher.seat.segment);
    let key = segment.unique_hash().hash(Domain::Library, KEY)?;
    match publisher.seat.claimer.claim_for_life(key)? {
        Claimed::Won(claim) => Ok(Some(claim)),
        Claimed::Held { .. } => Ok(None),
        Claimed::Full => {
            let rule = format!("segment {} has no room for the claim of the bridge: raise .claims", segment.name());
            Err(Error::option("claims", "full", rule))
        }
    }
}

/// Where a bridge that is the first between two segments begins to read.
#[derive(Clone, Copy)]
enum Fresh {
    /// At the newest event, and with what is retained.
    Now { with_retained: bool },
    /// At the oldest event in the ring: the segment is new.
    Oldest,
}

/// Where a side begins to read.
struct Start {
    begin: Begin,
    /// `true` if there was a bridge before this one.
    resumed: bool,
}

impl Start {
    fn of(from: &Publisher, to: &Publisher, fresh: Fresh) -> Result<Start> {
        let segment = &from.seat.segment;
        let (words, other) = (segment.bridge(), to.seat.segment.id().nonce());
        let newest = segment.ring().newest();
        let Some(next) = words.next(other).filter(|&next| next <= newest) else {
            words.begin(other);
            let (first, with_retained) = match fresh {
                Fresh::Now { with_retained } => (newest, with_retained),
                Fresh::Oldest => (newest.saturating_sub(segment.geometry().capacity()), false),
            };
            return Ok(Start { begin: Begin { first, gathers: false, with_retained }, resumed: false });
        };
        let sent = words.sending(next).filter(|sending| sending.place <= newest);
        let first = match sent {
            Some(sending) if has_come(to, sending.mark)? => sending.place,
            _ => next,
        };
        words.set_next(first);
        Ok(Start { begin: Begin { first, gathers: true, with_retained: false }, resumed: true })
    }
}

/// Returns `true` if an event came into the segment over a bridge from the id `mark` on. Returns `false` if that is not
/// known because the ids were overwritten.
fn has_come(to: &Publisher, mark: u64) -> Result<bool> {
    let seat = &to.seat;
    let newest = seat.segment.ring().newest();
    if mark > newest {
        return Ok(false);
    }
    let begin = Begin { first: mark, gathers: false, with_retained: false };
    let mut reader = Reader::new(Arc::clone(&seat.segment), seat.words.clone(), seat.number, seat.clock, begin, None);
    let mut search = Search { found_unique: false };
    loop {
        let step = reader.read(&mut search)?;
        if search.found_unique || step == Step::Event {
            return Ok(true);
        }
        if matches!(step, Step::Empty | Step::Pending(_) | Step::Lagged { .. }) || reader.next() >= newest {
            return Ok(false);
        }
    }
}

/// Looks for events that came over a bridge.
struct Search {
    found_unique: bool,
}

impl Gate for Search {
    fn wants(&mut self, head: &Head, _prefix: &[u8]) -> bool {
        head.is_bridged()
    }

    fn claim(&mut self, _unique: &UniqueKey, _at: At) -> Result<Option<Token>> {
        self.found_unique = true;
        Ok(None)
    }

    fn settle_below(&mut self, _to: u64) -> Result<()> {
        Ok(())
    }
}

/// Notes the retained events that came over an earlier bridge and are at or after the id `first`.
fn recall(side: &mut Side, first: u64) -> Result<()> {
    let segment = Arc::clone(side.subscriber.segment());
    let Some(table) = segment.table() else { return Ok(()) };
    let mut span = Span { from: first, to: segment.ring().newest(), reset: false };
    if table.is_any_announced() {
        side.publisher().seat.writer.settle_below(span.to)?;
    }
    let copy = |slot: &SlotLook<'_>| copy_slot(slot, TOMBSTONE, |head, _| head.is_bridged());
    for (held, event) in table.walk(&mut span, copy).in_segment(&segment)? {
        let message = event.at(&held);
        side.note_came(held.key.0, message.id);
    }
    Ok(())
}
