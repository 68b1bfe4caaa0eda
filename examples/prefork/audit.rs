//! Compares the events that the workers have handled with those that the master saw on the bus.
//!
//! An id is either an ordinary event, which every worker and the master handle, or a unique one, which one worker runs
//! and the master does not. So the ids between those that the master saw are the unique ones.
//!
//! A total order makes the end exact: every worker that handled the stop event has handled all events before it.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use crate::fold::Fold;
use crate::report::Checkpoint;

/// The smallest number of digests of the latest events that are kept, for workers that are behind.
const KEEP: usize = 1 << 20;

/// The master's own record of the events, and how far each worker agrees with it.
#[derive(Debug)]
pub struct Audit {
    /// Id of the first of `digests`.
    base: u64,
    /// The ordinary events' digests; `None` for other ids.
    digests: VecDeque<Option<u64>>,
    /// The id of the first event.
    first: u64,
    /// The number of ids that are not ordinary events.
    gaps: u64,
    /// The number of ids that the master itself missed.
    missed: u64,
    workers: Vec<WorkerAudit>,
    /// Posted events that the driver reported and the master has not reached yet.
    answered: Vec<(u64, bool)>,
    /// The number of unique events among them.
    answered_unique: u64,
    /// The number of events among them that never appeared.
    vanished: u64,
    /// Unique posts with an unknown result.
    unanswered: u64,
    /// `true` if the driver, which reports its requests, is the only client.
    driven: bool,
    keys: HashMap<String, Key>,
    ran_ids: HashMap<u64, u32>,
}

/// One worker process, past or present.
#[derive(Debug)]
pub struct WorkerAudit {
    first: u64,
    /// Every event before this id has been compared.
    compared_to: u64,
    /// The digest that the worker must have up to there.
    fold: Fold,
    last: Option<Checkpoint>,
    waiting: VecDeque<Checkpoint>,
    differs: bool,
    lost: u64,
    ran: u64,
    /// If it was killed: the next id when it was certainly dead.
    killed_before: Option<u64>,
}

/// The results for a unique key that was requested.
#[derive(Debug, Default)]
struct Key {
    /// The events that requested it, as far as the driver knows.
    asked_by: Vec<u64>,
    /// `true` if another request may have been posted without an answer.
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

/// The result of the audit. Its text is the example's last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Workers that ran to the end.
    pub workers: usize,
    /// Events from the first to the stop event, including unique ones.
    pub events: u64,
    /// Events that a worker should have seen and did not.
    pub lost: u64,
    /// `true` if all workers saw the same events in the same order.
    pub identical: bool,
    pub unique: Unique,
    /// Workers that were killed.
    pub killed: usize,
}

impl Verdict {
    /// Returns `true` if there was no error.
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
    /// Creates an audit of the events from id `first` on. With `driven`, the driver reports its requests, and there are
    /// no other clients.
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

    /// Records an ordinary event that the master saw.
    pub fn saw(&mut self, id: u64, digest: u64) {
        self.pad_to(id);
        self.digests.push_back(Some(digest));
    }

    /// Records that the master has reached `next`, and missed this many ids in between.
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

    /// Returns the next id of the master.
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

    /// Drops the digests that all live workers agree on.
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

    /// Adds a worker that reads from `first` on. Returns its number here.
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

    /// Records a worker's report of the events that it has handled.
    pub fn checkpoint(&mut self, worker: usize, checkpoint: Checkpoint) {
        self.workers[worker].waiting.push_back(checkpoint);
        self.compare(worker);
    }

    /// Records that a worker ran a unique event.
    pub fn ran(&mut self, worker: usize, id: u64, key: &str) {
        self.workers[worker].ran += 1;
        *self.ran_ids.entry(id).or_default() += 1;
        if self.driven {
            // The driver's report of the request may have come before, or may come later.
            self.keys.entry(key.to_owned()).or_default().runs += 1;
        }
    }

    /// Records that a worker was killed and is dead. No event before `next` can be missing for another reason.
    pub fn killed(&mut self, worker: usize, next: u64) {
        self.workers[worker].killed_before = Some(next);
    }

    /// Returns the state of a worker.
    pub fn worker(&self, worker: usize) -> &WorkerAudit {
        &self.workers[worker]
    }

    /// Returns all workers, in the order of joining.
    pub fn workers(&self) -> &[WorkerAudit] {
        &self.workers
    }

    /// Compares the checkpoints of a worker for which the master has seen all events.
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

    /// Records that the driver's request was posted as event `id`.
    pub fn answered(&mut self, id: u64, unique: Option<String>) {
        self.answered.push((id, unique.is_some()));
        if let Some(key) = unique {
            self.keys.entry(key).or_default().asked_by.push(id);
        }
    }

    /// Records that the driver got no answer to a request that posts a unique event.
    pub fn unanswered(&mut self, unique: String) {
        self.unanswered += 1;
        self.keys.entry(unique).or_default().unanswered = true;
    }

    // ---- the end ----

    /// Returns the result up to the stop event with id `stop`.
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

    /// Counts the ids that are neither an event that the master saw nor a unique event that the driver requested.
    fn unexplained(&self) -> u64 {
        if !self.driven {
            // There is no record of the requests.
            return 0;
        }
        self.gaps.saturating_sub(self.answered_unique + self.unanswered)
    }

    fn unique(&self) -> Unique {
        let asked = || self.keys.values().filter(|key| !key.asked_by.is_empty());
        if self.ran_ids.values().any(|runs| *runs > 1) || asked().any(|key| key.runs > 1) {
            return Unique::Twice;
        }
        // A killed worker may have claimed a unique event without running it.
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

    /// Returns `true` if this worker, which was killed, may have died while it held the key: an event that requested it
    /// lies between the worker's last report and its death.
    fn may_have_taken(&self, key: &Key) -> bool {
        let taken = |id: &u64| (self.compared_to..self.killed_before.unwrap_or(0)).contains(id);
        key.unanswered || key.asked_by.iter().any(taken)
    }

    /// Returns the first id that it could handle.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns its last report, as far as it is compared.
    pub fn last(&self) -> Option<Checkpoint> {
        self.last
    }

    /// Returns `true` if it agrees with the master so far.
    pub fn agrees(&self) -> bool {
        !self.differs
    }

    /// Returns the number of unique events that it ran.
    pub fn ran(&self) -> u64 {
        self.ran
    }
}
