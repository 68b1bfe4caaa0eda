//! Compares what the workers have handled with what the master saw on the bus.
//!
//! An id is either an ordinary event, which every worker handles and the master too, or a unique one, which one worker
//! runs and the master leaves alone. So the ids between those that the master saw are the unique ones.
//!
//! A total order makes the end exact: all events before the stop event were handled by every worker that handled it.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::fold::Fold;
use crate::report::Checkpoint;

/// Digests of the latest events that are kept at least, for workers that are behind.
const KEEP: usize = 1 << 20;

/// The master's own record of the events, and how far each worker agrees with it.
#[derive(Debug)]
pub struct Audit {
    /// Id of the first of `digests`.
    base: u64,
    /// The ordinary events' digests; `None` for other ids.
    digests: VecDeque<Option<u64>>,
    /// Id of the first event ever.
    first: u64,
    /// Ids that are no ordinary events.
    gaps: u64,
    /// Ids that the master itself did not get to see.
    missed: u64,
    workers: Vec<WorkerAudit>,
    /// Posted events that the driver was told of and the master has not come to yet.
    answered: Vec<(u64, bool)>,
    /// Of those, how many were unique events.
    answered_unique: u64,
    /// Of those, how many never appeared.
    vanished: u64,
    /// Unique posts of which nobody knows whether they took place.
    unanswered: u64,
    /// Whether the driver, which says what it asked for, is the only one who asks.
    driven: bool,
    keys: HashMap<String, Key>,
    ran_ids: HashMap<u64, u32>,
}

/// One worker process, past or present.
#[derive(Debug)]
pub struct WorkerAudit {
    first: u64,
    /// Everything before this id is compared.
    compared_to: u64,
    /// What the worker must have folded up to there.
    fold: Fold,
    last: Option<Checkpoint>,
    waiting: VecDeque<Checkpoint>,
    differs: bool,
    lost: u64,
    ran: u64,
    /// If it was killed: the next id at the time when it was surely dead.
    killed_before: Option<u64>,
}

/// What came of a unique key that was asked for.
#[derive(Debug, Default)]
struct Key {
    /// The events that asked, as far as the driver was told.
    asked_by: Vec<u64>,
    /// Whether it was not told of another that perhaps took place.
    unanswered: bool,
    runs: u32,
}

/// How often unique events ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unique {
    Once,
    Twice,
    Never,
}

/// What came of it all. Printed, it is the example's last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Workers that went on to the end.
    pub workers: usize,
    /// Events from the first to the stop event, unique ones included.
    pub events: u64,
    /// Events that somebody should have seen and did not.
    pub lost: u64,
    /// Whether all saw the same events in the same order.
    pub identical: bool,
    pub unique: Unique,
    /// Workers that were killed.
    pub killed: usize,
}

impl Verdict {
    /// Whether nothing went wrong.
    pub fn is_good(&self) -> bool {
        self.lost == 0 && self.identical && self.unique == Unique::Once
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { workers, events, lost, killed, .. } = self;
        let order = if self.identical { "identical" } else { "differs" };
        let unique = match self.unique {
            Unique::Once => "once",
            Unique::Twice => "twice",
            Unique::Never => "never",
        };
        write!(
            f,
            "prefork: workers={workers} events={events} lost={lost} order={order} unique={unique} killed={killed}"
        )
    }
}

impl Audit {
    /// An audit of the events from id `first` on. If it is `driven`, the driver tells what it asked for, and nobody else
    /// asks for anything.
    pub fn new(first: u64, driven: bool) -> Audit {
        Audit {
            base: first,
            digests: VecDeque::new(),
            first,
            gaps: 0,
            missed: 0,
            workers: Vec::new(),
            answered: Vec::new(),
            answered_unique: 0,
            vanished: 0,
            unanswered: 0,
            driven,
            keys: HashMap::new(),
            ran_ids: HashMap::new(),
        }
    }

    // ---- what the master saw ----

    /// The master saw an ordinary event.
    pub fn saw(&mut self, id: u64, digest: u64) {
        self.pad_to(id);
        self.digests.push_back(Some(digest));
    }

    /// The master has come to `next`, and missed so many ids in between.
    pub fn came_to(&mut self, next: u64, missed: u64) {
        self.pad_to(next);
        self.missed += missed;
        for index in 0..self.workers.len() {
            self.compare(index);
        }
        for (id, unique) in self.answered.extract_if(.., |(id, _)| *id < next).collect::<Vec<_>>() {
            let seen = self.digest_of(id).is_some();
            self.answered_unique += u64::from(unique && !seen);
            self.vanished += u64::from(unique == seen);
        }
        self.forget();
    }

    /// The id that the master comes to next.
    pub fn next(&self) -> u64 {
        self.base + self.digests.len() as u64
    }

    fn pad_to(&mut self, id: u64) {
        while self.next() < id {
            self.digests.push_back(None);
            self.gaps += 1;
        }
    }

    fn digest_of(&self, id: u64) -> Option<u64> {
        let index = id.checked_sub(self.base)?;
        *self.digests.get(index as usize)?
    }

    /// Lets go of what all workers that live have in common.
    fn forget(&mut self) {
        let live = self.workers.iter().filter(|worker| worker.killed_before.is_none());
        let agreed = live.map(|worker| worker.compared_to).min().unwrap_or(self.base);
        while self.digests.len() > KEEP && self.base < agreed {
            self.digests.pop_front();
            self.base += 1;
            self.ran_ids.remove(&(self.base - 1));
        }
    }

    // ---- what the workers reported ----

    /// A worker reads from `first` on. Returns the number by which it goes here.
    pub fn joined(&mut self, first: u64) -> usize {
        self.workers.push(WorkerAudit {
            first,
            compared_to: first,
            fold: Fold::default(),
            last: None,
            waiting: VecDeque::new(),
            differs: false,
            lost: 0,
            ran: 0,
            killed_before: None,
        });
        self.workers.len() - 1
    }

    /// A worker said what it had handled.
    pub fn checkpoint(&mut self, worker: usize, checkpoint: Checkpoint) {
        self.workers[worker].waiting.push_back(checkpoint);
        self.compare(worker);
    }

    /// A worker ran a unique event.
    pub fn ran(&mut self, worker: usize, id: u64, key: &str) {
        self.workers[worker].ran += 1;
        *self.ran_ids.entry(id).or_default() += 1;
        if self.driven {
            // Whether the driver's word that it asked for it came before or comes later.
            self.keys.entry(key.to_owned()).or_default().runs += 1;
        }
    }

    /// A worker was killed and is dead, and no event before `next` can be missing for another reason.
    pub fn killed(&mut self, worker: usize, next: u64) {
        self.workers[worker].killed_before = Some(next);
    }

    /// The worker as it stands.
    pub fn worker(&self, worker: usize) -> &WorkerAudit {
        &self.workers[worker]
    }

    /// All workers, in the order of joining.
    pub fn workers(&self) -> &[WorkerAudit] {
        &self.workers
    }

    /// Compares those checkpoints of a worker that the master has seen all events of.
    fn compare(&mut self, index: usize) {
        while let Some(&checkpoint) = self.workers[index].waiting.front()
            && checkpoint.last < self.next()
        {
            self.workers[index].waiting.pop_front();
            let WorkerAudit { first, compared_to, mut fold, .. } = self.workers[index];
            let mut first_event = None;
            for id in compared_to.min(checkpoint.last + 1)..=checkpoint.last {
                if let Some(digest) = self.digest_of(id) {
                    first_event.get_or_insert(id);
                    fold.add(digest);
                }
            }
            let worker = &mut self.workers[index];
            worker.differs |= fold != checkpoint.fold || checkpoint.last < compared_to;
            worker.differs |= compared_to == first && first_event != Some(checkpoint.first);
            worker.lost = worker.lost.max(fold.count.saturating_sub(checkpoint.fold.count));
            worker.compared_to = compared_to.max(checkpoint.last + 1);
            worker.fold = fold;
            worker.last = Some(checkpoint);
        }
    }

    // ---- what the driver reported ----

    /// The driver was told that its request was posted as event `id`.
    pub fn answered(&mut self, id: u64, unique: Option<String>) {
        self.answered.push((id, unique.is_some()));
        if let Some(key) = unique {
            self.keys.entry(key).or_default().asked_by.push(id);
        }
    }

    /// The driver got no answer to a request to post a unique event.
    pub fn unanswered(&mut self, unique: String) {
        self.unanswered += 1;
        self.keys.entry(unique).or_default().unanswered = true;
    }

    // ---- the end ----

    /// What came of it all, up to the stop event with id `stop`.
    pub fn verdict(&self, stop: u64) -> Verdict {
        let mut lost = self.missed + self.vanished + self.answered.len() as u64 + self.unexplained();
        for worker in &self.workers {
            lost += worker.lost;
            if worker.killed_before.is_none() {
                lost += (worker.compared_to..=stop).filter(|id| self.digest_of(*id).is_some()).count() as u64;
            }
        }
        Verdict {
            workers: self.workers.iter().filter(|worker| worker.has_come_to(stop)).count(),
            events: stop + 1 - self.first,
            lost,
            identical: self.workers.iter().all(|worker| !worker.differs && worker.waiting.is_empty()),
            unique: self.unique(),
            killed: self.workers.iter().filter(|worker| worker.killed_before.is_some()).count(),
        }
    }

    /// Ids that are neither an event that the master saw nor a unique one that the driver asked for.
    fn unexplained(&self) -> u64 {
        if !self.driven {
            // Nobody keeps account of what was asked for.
            return 0;
        }
        self.gaps.saturating_sub(self.answered_unique + self.unanswered)
    }

    fn unique(&self) -> Unique {
        let asked = || self.keys.values().filter(|key| !key.asked_by.is_empty());
        if self.ran_ids.values().any(|runs| *runs > 1) || asked().any(|key| key.runs > 1) {
            return Unique::Twice;
        }
        // A worker that is killed may have taken one unique event and not have come to run it.
        let never: Vec<&Key> = asked().filter(|key| key.runs == 0).collect();
        let killed: Vec<&WorkerAudit> = self.workers.iter().filter(|worker| worker.killed_before.is_some()).collect();
        let excused = |key: &&Key| killed.iter().any(|worker| worker.may_have_taken(key));
        if never.len() <= killed.len() && never.iter().all(excused) { Unique::Once } else { Unique::Never }
    }
}

impl WorkerAudit {
    fn has_come_to(&self, last: u64) -> bool {
        self.compared_to > last
    }

    /// Whether this worker, killed, may have died with the key in its hands: some event that asked for it is between
    /// what the worker last reported and what there was when it was dead.
    fn may_have_taken(&self, key: &Key) -> bool {
        let taken = |id: &u64| (self.compared_to..self.killed_before.unwrap_or(0)).contains(id);
        key.unanswered || key.asked_by.iter().any(taken)
    }

    /// The first id that it could handle.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// What it reported last, as far as it is compared.
    pub fn last(&self) -> Option<Checkpoint> {
        self.last
    }

    /// Whether it agrees with the master so far.
    pub fn agrees(&self) -> bool {
        !self.differs
    }

    /// Unique events that it ran.
    pub fn ran(&self) -> u64 {
        self.ran
    }
}
