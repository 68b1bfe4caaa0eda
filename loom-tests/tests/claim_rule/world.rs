//! Everything that a step can change, and the steps.

use crate::protocol::bucket::{Ask, At, Bucket, Decision, Ends, Entry, Extended, Extension, Key, Ruling, Token};
use crate::setting::Setting;

/// The key of claims without an event.
const ALONE: u64 = 2;
const KEYS: usize = 3;

/// The winner of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Holder {
    token: u64,
    deadline: u64,
    for_life: bool,
}

/// The parts of a bucket that affect decisions, to distinguish it from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    floor: u64,
    entries: Vec<[u64; 5]>,
}

impl Known {
    fn of(bucket: &Bucket) -> Known {
        let entry = |e: &Entry| [e.key.0[0], e.deadline, e.first, e.last, e.token.0];
        Known { floor: bucket.floor(), entries: bucket.entries().iter().map(entry).collect() }
    }
}

/// A comparable bucket.
#[derive(Clone, Debug)]
pub(crate) struct Copied(Bucket);

impl PartialEq for Copied {
    fn eq(&self, other: &Copied) -> bool {
        Known::of(&self.0) == Known::of(&other.0)
    }
}

impl Eq for Copied {}

impl std::hash::Hash for Copied {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Known::of(&self.0).hash(state);
    }
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fate {
    Open,
    /// Still open, but a worker has counted and reported that it cannot decide it.
    Reported,
    /// Its winner runs it, or was killed before.
    Run,
    /// Its key was held.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    key: u64,
    fate: Fate,
}

/// The progress of a worker with the event that it has copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    NotJoined,
    Nothing,
    /// It has copied the event at `next`, or begun a claim without an event: its task.
    Copied,
    /// It has also copied the bucket. `stale`: the bucket has been exchanged since.
    Snapshot {
        bucket: Copied,
        stale: bool,
    },
    /// It has decided at the time `now`, and is about to exchange the bucket.
    Decided {
        bucket: Copied,
        verdict: Verdict,
        now: u64,
    },
    /// It is about to exchange the bucket, to extend its claim of `key`.
    Extending {
        bucket: Copied,
        key: u64,
        holder: Holder,
    },
    /// It has decided, and the exchange will fail.
    Overtaken,
    Dead,
}

/// A decision that changes the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Won(u64),
    Held,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    doing: Doing,
    /// Its task is a claim without an event.
    alone: bool,
    /// The place that it reads next, or of the event that it has copied.
    next: u64,
    /// It has read every event from here on.
    since: u64,
    /// The claim that it may release.
    holds: Option<(u64, u64)>,
}

fn is_same_win(one: u64, other: u64) -> bool {
    one & !1 == other & !1
}

/// The whole state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    clock: u64,
    /// The event at place `p` is `events[p - 1]`.
    events: Vec<Event>,
    bucket: Copied,
    /// The real holder of each key, and its deadline. The bucket is checked against it.
    holders: [Option<Holder>; KEYS],
    workers: Vec<Worker>,
    kills: u32,
    /// The number of claims begun without an event.
    alone: u64,
}

/// A step: its name, its answer, and the next state.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) answer: Option<&'static str>,
    pub(crate) to: Result<World, String>,
}

impl World {
    pub(crate) fn new(setting: &Setting) -> World {
        let worker = |index: usize| Worker {
            doing: if index < setting.workers - setting.joiners { Doing::Nothing } else { Doing::NotJoined },
            alone: false,
            next: 1,
            since: 1,
            holds: None,
        };
        World {
            clock: 1,
            events: vec![],
            bucket: Copied(Bucket::default()),
            holders: [None; KEYS],
            workers: (0..setting.workers).map(worker).collect(),
            kills: 0,
            alone: 0,
        }
    }

    fn newest(&self) -> u64 {
        self.events.len() as u64
    }

    /// Returns the first place that the ring still holds.
    fn oldest(&self, setting: &Setting) -> u64 {
        self.newest().saturating_sub(setting.capacity) + 1
    }

    /// Returns every step that any worker can take now.
    pub(crate) fn steps(&self, setting: &Setting) -> Vec<Step> {
        let mut steps = vec![];
        if self.newest() < setting.events {
            for key in 0..setting.keys {
                let mut to = self.clone();
                to.events.push(Event { key, fate: Fate::Open });
                steps.push(Step { name: format!("post of key {key}"), answer: None, to: Ok(to) });
            }
        }
        if self.clock < setting.clock {
            let mut to = self.clone();
            to.clock += 1;
            steps.push(Step { name: format!("clock {}", to.clock), answer: None, to: Ok(to) });
        }
        for index in 0..self.workers.len() {
            self.work(setting, index, &mut steps);
        }
        steps
    }

    /// Returns the steps of worker `index`.
    fn work(&self, setting: &Setting, index: usize, steps: &mut Vec<Step>) {
        let worker = &self.workers[index];
        let mut step = |what: &str, answer, to| steps.push(Step { name: format!("worker {index} {what}"), answer, to });
        match &worker.doing {
            Doing::NotJoined => {
                let mut to = self.clone();
                let joiner = &mut to.workers[index];
                (joiner.doing, joiner.next, joiner.since) = (Doing::Nothing, self.newest() + 1, self.newest() + 1);
                step("joins", None, Ok(to));
                return;
            }
            Doing::Dead => return,
            Doing::Nothing if worker.next < self.oldest(setting) => {
                let mut to = self.clone();
                (to.workers[index].next, to.workers[index].since) = (self.oldest(setting), self.oldest(setting));
                step("is lapped", Some("missed"), Ok(to));
            }
            Doing::Nothing if worker.next <= self.newest() => {
                let mut to = self.clone();
                to.workers[index].doing = Doing::Copied;
                step("copies an event", None, Ok(to));
            }
            Doing::Nothing => {}
            Doing::Copied => {
                let mut to = self.clone();
                to.workers[index].doing = Doing::Snapshot { bucket: self.bucket.clone(), stale: false };
                step("copies the bucket", None, Ok(to));
            }
            Doing::Snapshot { bucket, stale } => {
                let (answer, to) = self.decide(setting, index, bucket, *stale);
                step("decides", answer, to);
            }
            Doing::Decided { bucket, verdict, now } => {
                let (answer, to) = self.exchange(setting, index, bucket, *verdict, *now);
                step("exchanges", Some(answer), to);
            }
            Doing::Extending { bucket, key, holder } => {
                let mut to = self.clone();
                to.bucket = bucket.clone();
                to.exchanged();
                to.workers[index].doing = Doing::Nothing;
                // This may be late: it succeeds if no other worker has won the key since.
                let is_own = self.holders[*key as usize].is_some_and(|now| is_same_win(now.token, holder.token));
                to.holders[*key as usize] = Some(*holder);
                let to = if is_own { Ok(to) } else { Err("a claim that another has taken is extended".to_owned()) };
                step("extends its claim", Some(if holder.for_life { "renewed" } else { "completed" }), to);
            }
            Doing::Overtaken => {
                let mut to = self.clone();
                to.workers[index].doing = Doing::Copied;
                step("exchanges in vain", Some("moved"), Ok(to));
            }
        }
        if worker.doing == Doing::Nothing && worker.holds.is_none() && self.alone < setting.alone {
            let mut to = self.clone();
            to.alone += 1;
            (to.workers[index].doing, to.workers[index].alone) = (Doing::Copied, true);
            step("claims without an event", None, Ok(to));
        }
        if self.kills < setting.kills {
            let mut to = self.clone();
            to.kills += 1;
            for of_key in &mut to.holders {
                *of_key = of_key.filter(|holder| !holder.for_life || Token(holder.token).seat() != index as u16);
            }
            to.workers[index] = Worker { doing: Doing::Dead, alone: false, next: 0, since: 0, holds: None };
            step("is killed", None, Ok(to));
        }
        if setting.releases
            && let Some((key, token)) = worker.holds
        {
            let mut to = self.clone();
            to.workers[index].holds = None;
            let held = self.holder(key, self.clock).is_some_and(|holder| is_same_win(holder.token, token));
            let released = to.bucket.0.end(Key([key, 0]), Token(token), self.clock, |by| self.is_over(by));
            if released {
                to.holders[key as usize] = None;
                to.exchanged();
            }
            let to = if released == held { Ok(to) } else { Err(format!("held: {held}, released: {released}")) };
            step("releases", released.then_some("released"), to);
        }
        if setting.lives
            && worker.doing == Doing::Nothing
            && let Some((key, token)) = worker.holds
        {
            for extension in [Extension::Renew(setting.ttl), Extension::Complete(setting.ttl)] {
                let (answer, to) = self.extend(setting, index, key, token, extension);
                step("decides to extend its claim", answer, to);
            }
        }
    }

    /// Returns `true` if the worker that won is dead.
    fn is_over(&self, by: Token) -> bool {
        self.workers[usize::from(by.seat())].doing == Doing::Dead
    }

    fn extend(
        &self,
        setting: &Setting,
        index: usize,
        key: u64,
        token: u64,
        extension: Extension,
    ) -> (Option<&'static str>, Result<World, String>) {
        let mut bucket = self.bucket.clone();
        let mut to = self.clone();
        let holder = self.holder(key, self.clock);
        match bucket.0.extend(Key([key, 0]), Token(token), extension, self.clock, |by| self.is_over(by)) {
            Extended::Done => {
                if !holder.is_some_and(|holder| is_same_win(holder.token, token)) {
                    return (None, Err("a claim that has ended is extended".to_owned()));
                }
                let for_life = matches!(extension, Extension::Renew(_)) && holder.is_some_and(|holder| holder.for_life);
                let holder = Holder { token, deadline: self.clock + setting.ttl, for_life };
                to.workers[index].doing = Doing::Extending { bucket, key, holder };
                (None, Ok(to))
            }
            Extended::Lost(by) => {
                to.workers[index].holds = None;
                let is_told = match (by, holder) {
                    (None, None) => true,
                    (Some(by), Some(now)) => is_same_win(by.0, now.token) && !is_same_win(by.0, token),
                    _ => false,
                };
                let to = if is_told { Ok(to) } else { Err(format!("lost to {by:?}, and {holder:?} holds it")) };
                (Some(if by.is_some() { "lost to another" } else { "lost" }), to)
            }
        }
    }

    fn decide(
        &self,
        setting: &Setting,
        index: usize,
        copy: &Copied,
        stale: bool,
    ) -> (Option<&'static str>, Result<World, String>) {
        let worker = &self.workers[index];
        let key = self.key(index);
        let at = (!worker.alone).then_some(At { place: worker.next, since: worker.since });
        if let Some(decision) = at.and_then(|at| copy.0.known(Key([key, 0]), at)) {
            return self.stands(index, decision);
        }
        let mut bucket = copy.clone();
        // Never the same twice: a worker wins an event once, and each claim without one has a number of its own.
        let attempt = if worker.alone { 100 + self.alone } else { worker.next };
        let ends = if worker.alone && setting.lives { Ends::WithHolder } else { Ends::AtDeadline };
        let token = Token::new(attempt, index as u16, ends);
        let ask = Ask { key: Key([key, 0]), ttl: setting.ttl, at, token };
        match bucket.0.decide(setting.entries, ask, self.clock, self.oldest(setting), |by| self.is_over(by)) {
            Ruling::Stands(decision) => self.stands(index, decision),
            Ruling::IfExchanged(decision) => {
                let verdict = match decision {
                    Decision::Won(token) => Verdict::Won(token.0),
                    Decision::Held { .. } => Verdict::Held,
                    other => return (None, Err(format!("{other:?} needs no exchange"))),
                };
                let mut to = self.clone();
                to.workers[index].doing =
                    if stale { Doing::Overtaken } else { Doing::Decided { bucket, verdict, now: self.clock } };
                (None, Ok(to))
            }
        }
    }

    /// A decision that needs no exchange.
    fn stands(&self, index: usize, decision: Decision) -> (Option<&'static str>, Result<World, String>) {
        if self.workers[index].alone {
            let answer = match decision {
                Decision::Held { .. } => "held alone",
                Decision::Full => "full alone",
                other => return (None, Err(format!("a claim without an event is {other:?}"))),
            };
            let mut to = self.clone();
            to.go_on(index);
            return (Some(answer), Ok(to));
        }
        let place = self.workers[index].next;
        let fate = self.event(place).fate;
        let (answer, sound) = match decision {
            // Another worker decided it, or reported it. Otherwise it is lost silently.
            Decision::Decided => ("decided", fate != Fate::Open),
            Decision::Late => ("late", true),
            Decision::Full => ("full", true),
            Decision::Won(_) => ("won", false),
            Decision::Held { .. } => ("held", false),
        };
        if !sound {
            return (Some(answer), Err(format!("event {place} is {fate:?}, and {answer}")));
        }
        let mut to = self.clone();
        if fate == Fate::Open {
            to.events[place as usize - 1].fate = Fate::Reported;
        }
        to.go_on(index);
        (Some(answer), Ok(to))
    }

    /// An exchange that succeeds.
    fn exchange(
        &self,
        setting: &Setting,
        index: usize,
        bucket: &Copied,
        verdict: Verdict,
        now: u64,
    ) -> (&'static str, Result<World, String>) {
        let key = self.key(index);
        let held = self.holder(key, now).is_some();
        let mut to = self.clone();
        to.bucket = bucket.clone();
        to.exchanged();
        to.go_on(index);
        if let Verdict::Won(token) = verdict {
            let for_life = Token(token).ends_with_holder();
            to.holders[key as usize] = Some(Holder { token, deadline: now + setting.ttl, for_life });
            to.workers[index].holds = Some((key, token));
        }
        if self.workers[index].alone {
            return match verdict {
                Verdict::Won(_) if !held => ("won alone", Ok(to)),
                _ => ("won alone", Err("a claim without an event is won while it is held".to_owned())),
            };
        }
        let place = self.workers[index].next;
        let fate = self.event(place).fate;
        let (answer, next, sound) = match verdict {
            Verdict::Won(_) => ("won", Fate::Run, matches!(fate, Fate::Open | Fate::Reported) && !held),
            // Two workers may ignore one event.
            Verdict::Held => ("held", Fate::Ignored, fate != Fate::Run && held),
        };
        if !sound {
            let holds = if held { "held" } else { "free" };
            return (answer, Err(format!("event {place} was {fate:?} and its key {holds}, and it is {answer}")));
        }
        to.events[place as usize - 1].fate = next;
        (answer, Ok(to))
    }

    /// Every worker that has copied the bucket now has an old one.
    fn exchanged(&mut self) {
        for worker in &mut self.workers {
            match &mut worker.doing {
                Doing::Snapshot { stale, .. } => *stale = true,
                doing @ Doing::Decided { .. } => *doing = Doing::Overtaken,
                // It may decide again.
                doing @ Doing::Extending { .. } => *doing = Doing::Nothing,
                _ => {}
            }
        }
    }

    fn holder(&self, key: u64, now: u64) -> Option<Holder> {
        self.holders[key as usize].filter(|holder| holder.deadline > now)
    }

    fn go_on(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        worker.doing = Doing::Nothing;
        worker.next += u64::from(!worker.alone);
        worker.alone = false;
    }

    /// Returns the key of worker `index`'s current task.
    fn key(&self, index: usize) -> u64 {
        let worker = &self.workers[index];
        if worker.alone { ALONE } else { self.event(worker.next).key }
    }

    fn event(&self, place: u64) -> &Event {
        &self.events[place as usize - 1]
    }
}
