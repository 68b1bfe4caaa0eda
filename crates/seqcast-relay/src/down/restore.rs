//! Compares what is retained here with the engine's copy.
//!
//! The stream brings every change of a retained value that comes after this host's position. What was before it is in
//! the copy only: for a host that is new to the stream, that was away for longer than the stream reaches, or to which
//! the server has handed out what it has forgotten since. So the position is taken first, and the copy is read then. A
//! value that changes meanwhile has a place at or behind the position, and comes from the stream.

use std::time::{Duration, Instant};

use seqcast::relay::MissedReason;
use seqcast::{ClusterId, ErrorKind, Origin};

use super::{Receiver, Stop, foreign, refusal};
use crate::batch::{Batch, Event, Item, Kept};
use crate::engine::{Down, Position, RetainedValue};
use crate::follow::{Standing, standing};

/// So near to the end of the stream the copy is read, and in a stream without an end after so long a time.
const NEAR: u64 = 256;
const LATEST: Duration = Duration::from_secs(5);

impl Receiver<'_> {
    /// The copy has to be read.
    pub(super) fn compare_later(&mut self) {
        self.compare.get_or_insert_with(Instant::now);
    }

    /// Reads the copy, if that is due and the stream was read up to its end.
    pub(super) fn compare_if_due(&mut self, position: &Position, down: &mut dyn Down) -> Result<(), Stop> {
        let Some(since) = self.compare.filter(|_| *position != Position::START) else { return Ok(()) };
        let tip = down.tip(false)?;
        let is_due = match standing(position, &tip.position) {
            Standing::AtEnd => true,
            Standing::Behind(events) => events <= NEAR || since.elapsed() >= LATEST,
            // The next read tells.
            Standing::Break => false,
        };
        if is_due {
            self.compare_all(down)?;
            self.compare = None;
        }
        Ok(())
    }

    /// Reads the whole copy.
    pub(super) fn compare_all(&mut self, down: &mut dyn Down) -> Result<(), Stop> {
        let (mut from, mut restored, mut refused) = (0, 0, None);
        loop {
            let part = down.retained(from)?;
            for value in &part.values {
                if self.context.is_stopping() {
                    return Err(Stop::Asked);
                }
                self.turn();
                match self.compare_one(value.as_ref(), part.now_ms, down) {
                    Ok(done) => restored += u64::from(done),
                    // A segment that retains nothing, which is told for each event of the stream.
                    Err(Stop::Segment(error)) if error.kind() == ErrorKind::Option => {}
                    Err(Stop::Segment(error)) => {
                        let Some(reason) = refusal(&error) else { return Err(Stop::Segment(error)) };
                        self.context.log.trouble(
                            "cannot retain",
                            format_args!("a value that other hosts retain is told as missed: {error}"),
                        );
                        refused = Some((refused.map_or(0, |(count, _): (u64, MissedReason)| count) + 1, reason));
                    }
                    Err(stop) => return Err(stop),
                }
            }
            if part.next == 0 {
                break;
            }
            from = part.next;
        }
        if let Some((count, reason)) = refused {
            self.missed(Some(count), None, reason)?;
        }
        if restored > 0 {
            self.context.metrics.restored.inc_by(restored);
            self.context.log.line(format_args!("{restored} retained values were brought up to date"));
        }
        Ok(())
    }

    /// Returns `true` if the value was posted.
    fn compare_one(&mut self, value: Option<&RetainedValue>, now_ms: u64, down: &mut dyn Down) -> Result<bool, Stop> {
        let Some((value, (origin, event))) = value.and_then(|value| Some((value, read(value, now_ms)?))) else {
            self.context.metrics.refused("retained");
            return Ok(false);
        };
        // Without an event, its ttl has ended.
        let Some(event) = event else { return Ok(false) };
        let place = ClusterId { timeline: value.timeline, n: value.n };
        self.pace()?;
        self.patiently(down, |poster| poster.restore(&foreign(origin, place, &event)))
    }
}

/// The origin of a value and its event, with what is left of its ttl at the time `now_ms` of the engine. Without the
/// event if nothing is left. `None`: it cannot be read.
fn read(value: &RetainedValue, now_ms: u64) -> Option<(Origin, Option<Event<'_>>)> {
    let batch = Batch::parse(&value.body).ok()?;
    let [Item::Event(event)] = batch.items[..] else { return None };
    let kept = event.kept?;
    let age = Duration::from_millis(now_ms.saturating_sub(value.since_ms));
    let left = match kept.ttl {
        Some(ttl) if ttl <= age => None,
        ttl => Some(Event { kept: Some(Kept { ttl: ttl.map(|ttl| ttl - age), ..kept }), ..event }),
    };
    Some((Origin::from_bits(batch.origin), left))
}
