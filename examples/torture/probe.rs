//! What one process writes down of its actions and deliveries, for the oracle.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use seqcast::{Event, Report, Trouble};

use crate::content::{Kind, Typed, read_announcement};
use crate::copies;
use crate::log::{Entry, Odd, Op, Slot, boottime_ns};
use crate::rng::mix;
use crate::round::Round;

/// The largest number of live copies of one process.
const MOST_COPIES: u64 = 2;

/// What a child shares with its handlers and reporters.
pub struct Probe {
    pub slot: &'static Slot,
    pub number: usize,
    pub round: Round,
    /// The first incarnation of this process.
    first_incarnation: u64,
    /// The end of the last step.
    stepped: AtomicU64,
    /// The earliest time at which a claim for the current delivery can have been won.
    pub claims_since: AtomicU64,
    /// The time without a processor in `/proc/self/schedstat`, and the time of its reading.
    unserved: AtomicU64,
    unserved_at: AtomicU64,
    /// `true` if this process was forked in the middle of a handler.
    is_copy: AtomicBool,
    /// The number of copies of this process that it has not reaped yet.
    copies: AtomicU64,
}

impl Probe {
    pub fn new(slot: &'static Slot, number: usize, round: Round) -> Probe {
        let first_incarnation = slot.last_incarnation() + 1;
        let now = boottime_ns();
        Probe {
            slot,
            number,
            round,
            first_incarnation,
            stepped: AtomicU64::new(now),
            claims_since: AtomicU64::new(now),
            unserved: AtomicU64::new(unserved_ns()),
            unserved_at: AtomicU64::new(now),
            is_copy: AtomicBool::new(false),
            copies: AtomicU64::new(0),
        }
    }

    pub fn is_copy(&self) -> bool {
        self.is_copy.load(Ordering::Relaxed)
    }

    /// Adds an entry. Its duration does not count as a delay.
    pub fn push(&self, entry: Entry) {
        if self.is_copy() {
            copies::fail(self, &format!("a child that returned from a handler would say: {entry:?}"));
        }
        if self.slot.push(entry) {
            self.stepped.store(boottime_ns(), Ordering::Relaxed);
        }
    }

    /// Records an error that should not occur.
    pub fn fault(&self, op: Op, what: &str) {
        self.slot.say(what);
        self.push(Entry::Fault { op });
    }

    /// In the middle of a handler or a reporter: sometimes forks, and the child returns like its parent.
    fn fork_at(&self, id: u64) {
        let number = mix(id ^ self.round.seed ^ (self.number as u64) << 56);
        // Code that runs while a worker leaves is rare.
        let every = if self.slot.current_op().0 == Op::Leave { 4 } else { self.round.fork_every() };
        if !number.is_multiple_of(every) || self.copies.load(Ordering::Relaxed) >= MOST_COPIES {
            return;
        }
        match copies::fork() {
            Some(0) => self.is_copy.store(true, Ordering::Relaxed),
            Some(_) => {
                self.copies.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Reaps the copies that have ended.
    pub fn reap_copies(&self) {
        while self.copies.load(Ordering::Relaxed) > 0
            && let Some(status) = copies::reap()
        {
            self.copies.fetch_sub(1, Ordering::Relaxed);
            self.push(Entry::Copy { status });
        }
    }

    pub fn begin(&self, op: Op) -> u64 {
        if self.is_copy() {
            copies::fail(self, &format!("a child that returned from a handler continues with {op:?}"));
        }
        let now = boottime_ns();
        self.slot.begin(op, now);
        self.stepped.store(now, Ordering::Relaxed);
        if now - self.unserved_at.load(Ordering::Relaxed) > 20_000_000 {
            self.unserved_at.store(now, Ordering::Relaxed);
            self.unserved.store(unserved_ns(), Ordering::Relaxed);
        }
        now
    }

    /// Ends a step that is bounded by the guarantees.
    pub fn step(&self) -> u64 {
        let now = boottime_ns();
        let since = self.stepped.swap(now, Ordering::Relaxed);
        if now - since > self.round.bound_ns() {
            let unserved = unserved_ns().saturating_sub(self.unserved.load(Ordering::Relaxed));
            let (op, _) = self.slot.current_op();
            self.push(Entry::Slow { op, since, until: now, unserved });
        }
        now
    }

    pub fn on_event(&self, event: &Event<'_>) {
        let now = self.step();
        let Some(id) = event.id() else { return };
        if event.topic() == seqcast::library::DIED {
            // Posted by whichever process takes over a seat, which writes nothing of it down.
            if seqcast::Died::of(event).is_none() {
                self.push(Entry::Reported { id, what: Odd::Torn });
            }
            return;
        }
        let tag = if event.source() == seqcast::library::SOURCE {
            read_announcement(event.event(), event.bytes())
        } else if event.event() == Kind::Typed.event() {
            event.typed::<Typed>().ok().and_then(|value| value.read())
        } else {
            self.round.lengths().read(event.bytes())
        };
        let Some(tag) = tag else {
            return self.push(Entry::Reported { id, what: Odd::Torn });
        };
        let kind = tag.kind().unwrap_or(Kind::Oversized);
        let named_right = event.source() == seqcast::library::SOURCE || event.event() == kind.event();
        let ours = tag.slot() == self.number && tag.incarnation() >= self.first_incarnation;
        // Another process may have taken a sender's seat since. Then its event no longer counts as its own.
        let wrongly_ours = event.is_own() && !ours;
        if wrongly_ours || event.claim().is_some() != kind.is_unique() || !named_right {
            self.push(Entry::Reported { id, what: Odd::Misattributed });
        }
        let since = if kind.is_unique() { self.claims_since.load(Ordering::Relaxed) } else { 0 };
        self.push(Entry::Delivered { id, tag, since, until: now });
        self.fork_at(id);
    }

    pub fn on_lagged(&self, first: u64, missed: u64) {
        let at = self.step();
        self.push(Entry::Lagged { first, missed, at });
        self.fork_at(!first);
    }

    pub fn on_odd(&self, id: u64, what: Odd) {
        self.step();
        self.push(Entry::Reported { id, what });
    }

    pub fn on_report(&self, report: &Report<'_>) {
        let id = report.id.unwrap_or(u64::MAX);
        let what = match report.trouble {
            Trouble::Lagged { missed, .. } => return self.on_lagged(id, missed),
            Trouble::ClaimsFull => Odd::ClaimsFull,
            Trouble::ClaimLate => Odd::ClaimLate,
            Trouble::Unreadable => Odd::Unreadable,
            // Too many inotify instances of this user.
            Trouble::Unheard(_) => return,
            _ => Odd::HandlerTrouble,
        };
        if !matches!(what, Odd::ClaimsFull | Odd::ClaimLate) {
            self.slot.say(&report.to_string());
        }
        self.on_odd(id, what);
    }
}

/// Returns the time that this process was ready to run but did not run, since its start.
fn unserved_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
