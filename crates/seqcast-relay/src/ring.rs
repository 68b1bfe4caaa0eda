//! The thread that reads the segment: what is to travel goes into the spool.
//!
//! It never waits for the engine. What it may have to wait for is room in the spool: then the ring is the backlog, and
//! if that is overwritten, the reader reports how many ids are missing.

use std::ops::Range;
use std::time::Duration;

use seqcast::Result;
use seqcast::relay::{Outgoing, OutgoingEvent, OutgoingKind, RelayReader};

use crate::batch::{Event, Item, Kept, Kind, Reason};
use crate::context::{Context, Way};
use crate::engine::Claim;
use crate::queue::{Job, Queue};
use crate::retained;
use crate::spool::Queued;

/// Events and bytes that are read before they are handed over.
const BURST_EVENTS: usize = 256;
const BURST_BYTES: usize = 1 << 20;
/// Sleeps are bounded, so that the loop turns.
const NAP: Duration = Duration::from_millis(50);

pub(crate) struct Ring<'a> {
    reader: RelayReader,
    queue: &'a Queue,
    context: &'a Context,
    items: Vec<Queued>,
    acknowledged: Option<u64>,
}

impl<'a> Ring<'a> {
    pub fn new(mut reader: RelayReader, queue: &'a Queue, context: &'a Context) -> Ring<'a> {
        let sources = context.options.sources.clone();
        reader.select(move |source| sources.iter().any(|pattern| pattern.matches(source)));
        let acknowledged = reader.sent();
        Ring { reader, queue, context, items: Vec::new(), acknowledged }
    }

    pub fn run(mut self) -> Result<()> {
        while !self.queue.has_ended() {
            self.context.turned(Way::Ring);
            self.keep_acknowledged();
            if self.context.is_stopping() {
                // What was read is still sent, and its acknowledgement kept.
                self.reader.beat();
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            match self.queue.job() {
                Job::Read => self.read()?,
                Job::Full => {
                    self.reader.beat();
                    self.queue.wait_for_room(NAP);
                }
                Job::Again(ids) => self.read_again(ids)?,
            }
        }
        self.keep_acknowledged();
        Ok(())
    }

    /// Keeps in the segment what the engine has acknowledged: a successor knows by it that the engine has forgotten
    /// something, and which unique events were decided.
    fn keep_acknowledged(&mut self) {
        let acknowledged = self.queue.with_spool(|spool| spool.acknowledged());
        if acknowledged.is_some() && acknowledged != self.acknowledged {
            self.acknowledged = acknowledged;
            self.reader.set_sent(acknowledged.unwrap_or(0));
        }
    }

    fn read(&mut self) -> Result<()> {
        let mut bytes = 0;
        while self.items.len() < BURST_EVENTS && bytes < BURST_BYTES {
            let Some(outgoing) = self.reader.try_next()? else { break };
            if let Some(item) = queued(&outgoing, self.context) {
                bytes += item.record_len();
                self.items.push(item);
            }
        }
        let is_idle = self.items.is_empty();
        let (next, oldest) = (self.reader.position(), self.reader.oldest());
        self.queue.add(&mut self.items, next, oldest);
        let lag = self.reader.newest().saturating_sub(next);
        self.context.metrics.ring_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        if is_idle {
            self.reader.wait(NAP)?;
        }
        Ok(())
    }

    /// Reads ids again that the engine has forgotten, as far as the ring has them. Then the reader stands where it was.
    fn read_again(&mut self, ids: Range<u64>) -> Result<()> {
        let before = self.reader.position();
        let mut items = Vec::new();
        if !ids.is_empty() {
            self.reader.seek(ids.start)?;
            while self.reader.position() < ids.end && !self.context.is_stopping() {
                self.context.turned(Way::Ring);
                match self.reader.try_next()? {
                    None => {
                        self.reader.wait(Duration::from_millis(1))?;
                    }
                    // The rest is in the spool.
                    Some(Outgoing::Missed { last, count, .. }) if last >= ids.end => {
                        let count = count.saturating_sub(last - (ids.end - 1));
                        let gap = Item::Gap { id: ids.end - 1, count: Some(count), reason: Reason::OriginLapped };
                        items.push(Queued::new(&gap, None));
                        break;
                    }
                    Some(Outgoing::Event(event)) if event.id >= ids.end => break,
                    Some(outgoing) => items.extend(queued(&outgoing, self.context)),
                }
            }
            self.reader.seek(before)?;
            self.context.metrics.heals.inc();
            self.context.log.line(format_args!(
                "the engine had forgotten events: {} of the ids {} to {} are sent again",
                items.len(),
                ids.start,
                ids.end - 1
            ));
        }
        self.queue.healed(&ids, items);
        Ok(())
    }
}

/// An item in the form in which it travels, if it does.
fn queued(outgoing: &Outgoing<'_>, context: &Context) -> Option<Queued> {
    let event = match outgoing {
        Outgoing::Event(event) => event,
        Outgoing::Missed { last, count, .. } => {
            let gap = Item::Gap { id: *last, count: Some(*count), reason: Reason::OriginLapped };
            return Some(Queued::new(&gap, None));
        }
        // A variant of a later release of the library.
        _ => return None,
    };
    let is_local = event.kind == OutgoingKind::Local;
    if is_local && event.unique.is_some() {
        // Its key is hashed under a key of this segment, and one worker of this host runs it.
        context.metrics.not_relayed("unique");
        return None;
    }
    if is_local && event.retained.is_some() {
        // Two hosts that set one key at a time would end with each other's value.
        context.metrics.not_relayed("retained");
        return None;
    }
    let most = if event.retained.is_some() { retained::MOST_BYTES } else { usize::MAX }.min(context.options.largest);
    if event.bytes.len() > most {
        context.metrics.not_relayed("too_large");
        context.log.trouble(
            "too_large",
            format_args!(
                "event {} of source {} has {} bytes, and at most {} travel: it is reported as missed",
                event.id,
                event.source,
                event.bytes.len(),
                most
            ),
        );
        let gap = Item::Gap { id: event.id, count: Some(1), reason: Reason::TooLarge };
        return Some(Queued::new(&gap, None));
    }
    let claim = event.unique.map(|unique| Claim { key: unique.key, ttl: unique.ttl.max(Duration::from_millis(1)) });
    Some(Queued::new(&Item::Event(travelling(event, claim)), claim))
}

fn travelling<'a>(event: &OutgoingEvent<'a>, claim: Option<Claim>) -> Event<'a> {
    let kind = match event.kind {
        OutgoingKind::Local => Kind::Spread,
        _ => Kind::Ordered,
    };
    let kept = event.retained.map(|kept| Kept { key: kept.key, ttl: kept.ttl, clears: kept.clears });
    Event {
        id: event.id,
        kind,
        source: event.source,
        event: event.event,
        type_tag: event.type_tag,
        format: event.format,
        unique: claim.map(|claim| claim.ttl),
        kept: kept.filter(|_| claim.is_none()),
        bytes: event.bytes,
    }
}
