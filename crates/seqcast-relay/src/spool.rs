//! What was read from the ring and is not acknowledged by the engine.
//!
//! Items are in the order of their ids. Those in front are *under way*: sent, and without an answer. The spool forgets
//! an item when the engine has acknowledged its id. It is bounded by bytes: while it is full, the ring is not read, and
//! if the ring is overwritten meanwhile, the reader reports what is missing.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::batch::{self, BATCH_HEAD, Item, MOST_BYTES, MOST_EVENTS, Reason};
use crate::engine::{Claim, Outgoing, Retains};
use crate::retained::Retention;

/// What an item takes besides its bytes.
const OVERHEAD: usize = size_of::<Queued>() + 16;

/// An item in the form in which it travels.
#[derive(Debug)]
pub struct Queued {
    id: u64,
    record: Box<[u8]>,
    claim: Option<Claim>,
    retention: Option<Retention>,
    /// A unique event that was decided before: only its key is taken again.
    decided: bool,
    since: Instant,
}

impl Queued {
    /// Encodes an item. `claim` is the key of a unique event.
    pub fn new(item: &Item<'_>, claim: Option<Claim>) -> Queued {
        let mut record = Vec::new();
        batch::encode(item, &mut record);
        let (record, retention) = (record.into_boxed_slice(), Retention::of(item));
        Queued { id: item.id(), record, claim, retention, decided: false, since: Instant::now() }
    }

    /// The bytes that it takes in a batch.
    pub fn record_len(&self) -> usize {
        self.record.len()
    }

    fn bytes(&self) -> usize {
        self.record.len() + OVERHEAD
    }
}

/// A batch that was cut from the queue.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    from: u64,
    next: u64,
    count: u32,
    body: Vec<u8>,
    claim: Option<Claim>,
    retention: Option<Retention>,
    /// The batch in its place, if there is no room for what is to be retained.
    instead: Vec<u8>,
}

impl Cut {
    /// The batch as the engine takes it.
    pub fn outgoing(&self) -> Outgoing<'_> {
        let Cut { from, next, count, body, claim, retention, instead } = self;
        let retains = retention.map(|Retention { field, ttl, clears }| Retains { field, ttl, clears, instead });
        Outgoing { from: *from, next: *next, count: *count, body, claim: *claim, retains }
    }

    /// The first id after the batch.
    pub fn next(&self) -> u64 {
        self.next
    }
}

/// The queue on the way up.
#[derive(Debug)]
pub struct Spool {
    origin: u64,
    items: VecDeque<Queued>,
    bytes: usize,
    most_bytes: usize,
    /// The number of items under way.
    under_way: usize,
    /// The first id that the engine does not have, as far as it has told.
    confirmed: u64,
    /// The greatest id that the engine has ever acknowledged, plus one. Unique events below it were decided.
    acknowledged: Option<u64>,
    /// The first id that no batch under way has.
    sent: u64,
    /// The first id that was not read from the ring.
    read: u64,
}

impl Spool {
    /// An empty queue of the origin `origin`, whose ring is read from `next` on. `acknowledged`: what the engine had
    /// acknowledged to a process before this one.
    pub fn new(origin: u64, next: u64, acknowledged: Option<u64>, most_bytes: usize) -> Spool {
        Spool {
            origin,
            items: VecDeque::new(),
            bytes: 0,
            most_bytes,
            under_way: 0,
            confirmed: next,
            acknowledged,
            sent: next,
            read: next,
        }
    }

    /// Returns `true` if the ring must not be read for now.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.most_bytes
    }

    /// The bytes that the queue takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns `true` if there is no item.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The first id that the engine has not acknowledged.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// The first id that the engine has never acknowledged, also to processes before this one. `None`: it has never
    /// acknowledged anything.
    pub fn acknowledged(&self) -> Option<u64> {
        self.acknowledged
    }

    /// Returns `true` if an item is not under way.
    pub fn has_waiting(&self) -> bool {
        self.items.len() > self.under_way
    }

    /// The first id that was not read from the ring.
    pub fn read_to(&self) -> u64 {
        self.read
    }

    /// Adds an item that was read from the ring. One that was acknowledged or added before is left out.
    pub fn push(&mut self, item: Queued) {
        if item.id < self.read {
            return;
        }
        self.read = item.id + 1;
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    /// The ids below `next` were read, and those that were not added need not travel.
    pub fn skip_to(&mut self, next: u64) {
        self.read = self.read.max(next);
    }

    /// Cuts the next batch: events that are not under way, as many as fit. A unique or retained event is alone.
    pub fn cut(&mut self) -> Option<Cut> {
        let mut body = vec![0; BATCH_HEAD];
        let mut count = 0;
        let (mut claim, mut retention, mut decided, mut next) = (None, None, false, 0);
        for item in self.items.range(self.under_way..) {
            let alone = item.claim.is_some() || item.retention.is_some();
            let fits = count < MOST_EVENTS && body.len() + item.record.len() <= MOST_BYTES;
            if count > 0 && (alone || !fits) {
                break;
            }
            body.extend_from_slice(&item.record);
            (count, next, decided) = (count + 1, item.id + 1, item.decided);
            (claim, retention) = (item.claim, item.retention);
            if alone {
                break;
            }
        }
        if count == 0 {
            return None;
        }
        body[..BATCH_HEAD].copy_from_slice(&batch::head(self.origin, count));
        if decided {
            body.clear();
        }
        self.under_way += count;
        let from = std::mem::replace(&mut self.sent, next);
        let instead = retention.map_or(Vec::new(), |_| {
            let gap = Item::Gap { id: next - 1, count: Some(1), reason: Reason::TooLarge };
            let mut instead = batch::head(self.origin, 1).to_vec();
            batch::encode(&gap, &mut instead);
            instead
        });
        // At most 128.
        Some(Cut { from, next, count: count as u32, body, claim, retention, instead })
    }

    /// Moves the engine's next id over ids that do not travel, if there is nothing to send and they are at least
    /// `most`. Otherwise a successor would read them again, and report those that the ring has lost.
    pub fn advance(&mut self, most: u64) -> Option<Cut> {
        if !self.items.is_empty() || self.read.saturating_sub(self.sent) < most.max(1) {
            return None;
        }
        let from = std::mem::replace(&mut self.sent, self.read);
        let (next, body, instead) = (self.read, Vec::new(), Vec::new());
        Some(Cut { from, next, count: 0, body, claim: None, retention: None, instead })
    }

    /// The engine has everything below `next`.
    pub fn confirm(&mut self, next: u64) {
        while let Some(item) = self.items.front().filter(|item| item.id < next) {
            self.bytes -= item.bytes();
            self.items.pop_front();
            self.under_way = self.under_way.saturating_sub(1);
        }
        self.confirmed = self.confirmed.max(next);
        self.acknowledged = self.acknowledged.max(Some(next));
        self.sent = self.sent.max(next);
        self.read = self.read.max(next);
    }

    /// Nothing is under way any more: the connection is lost, or a batch was refused.
    pub fn recall(&mut self) {
        self.under_way = 0;
        self.sent = self.confirmed;
    }

    /// The engine waits for `next`. Returns the ids that have to be read from the ring again, if it has forgotten some.
    /// Then [`healed`](Spool::healed) must be called before the next batch is cut.
    pub fn rewind(&mut self, next: u64) -> Option<Range<u64>> {
        self.recall();
        if next >= self.confirmed {
            self.confirm(next);
            return None;
        }
        let first = self.items.front().map_or(self.read, |item| item.id);
        Some(next..first)
    }

    /// Puts what was read from the ring again in front, in place of `again`. A unique event that was decided before is
    /// not decided again: plain resending would let an event win that has lost.
    pub fn healed(&mut self, again: &Range<u64>, items: Vec<Queued>) {
        for mut item in items.into_iter().rev().filter(|item| again.contains(&item.id)) {
            item.decided = item.claim.is_some() && Some(item.id) < self.acknowledged;
            self.bytes += item.bytes();
            self.items.push_front(item);
        }
        self.confirmed = again.start;
        self.sent = again.start;
    }

    /// Replaces unique events that wait longer than their ttl, and are not under way, by `gap`. Returns how many.
    pub fn expire(&mut self, now: Instant, gap: impl Fn(u64) -> Item<'static>) -> u64 {
        let mut expired = 0;
        for item in self.items.range_mut(self.under_way..) {
            let Some(claim) = item.claim else { continue };
            let age = now.saturating_duration_since(item.since);
            if age <= claim.ttl || item.decided {
                continue;
            }
            let mut record = Vec::new();
            batch::encode(&gap(item.id), &mut record);
            self.bytes = self.bytes + record.len() - item.record.len();
            (item.record, item.claim) = (record.into_boxed_slice(), None);
            expired += 1;
        }
        expired
    }

    /// Lets this host decide about unique events that wait for longer than `patience` or their ttl, and are not under
    /// way: `post` posts a batch of one of them here, and returns `false` if it was refused. After that only its key is
    /// taken.
    ///
    /// # Errors
    ///
    /// That of `post`. The event is then not decided.
    pub fn decide_alone<E>(
        &mut self,
        now: Instant,
        patience: Duration,
        mut post: impl FnMut(&[u8], Claim) -> Result<bool, E>,
    ) -> Result<(), E> {
        for item in self.items.range_mut(self.under_way..).filter(|item| !item.decided) {
            let Some(claim) = item.claim else { continue };
            if now.saturating_duration_since(item.since) < patience.min(claim.ttl) {
                continue;
            }
            item.decided = post(&[&batch::head(self.origin, 1), &*item.record].concat(), claim)?;
        }
        Ok(())
    }

    /// How long the oldest item has waited.
    pub fn age(&self) -> Duration {
        self.items.front().map_or(Duration::ZERO, |item| item.since.elapsed())
    }
}

#[cfg(test)]
mod tests;
