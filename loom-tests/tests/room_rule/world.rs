//! The state of a world, and its steps.
//!
//! Of the ring all that matters is how many ids are taken: the event at `id` is there while `id < n <= id + capacity`.
//! Stores of readers are seen late, by way of a store buffer for each actor.

use crate::protocol::room::{Blocked, Limit, Scan, Slowest};
use crate::protocol::word::MustWord;
use crate::search::{Answers, NO, Name, Step};
use crate::setting::{Mutant, Op, Setting};

/// The most actors.
pub(crate) const ACTORS: usize = 4;
/// Stores that a buffer holds.
const QUEUE: usize = 4;

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pc {
    Start,
    Done,
    Dead,
    Look,
    Tail,
    Scan,
    Need,
    Held,
    FoundDead,
    Cut,
    P,
    Help,
    Join1,
    Join2,
    Join3,
    Join4,
    Join5,
    Join6,
    Read1,
    Read2,
    Read3,
    Rearm,
    RearmFence,
    RearmEnd,
    Leave,
}
use Pc::*;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Store {
    /// 0: none, 1: `must`, 2: `need`.
    what: u8,
    value: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Actor {
    pc: Pc,
    op: u8,
    // posting
    t: u8,
    limit: u8,
    least: u8,
    i: u8,
    slowest: u8,
    slowest_must: u8,
    need_seen: u8,
    part: u8,
    in_handler: u8,
    waited: u8,
    // reading
    next: u8,
    left: u8,
    start: u8,
    /// From here on it must not be lapped.
    safe_from: u8,
    /// The join that it believes in.
    join: u8,
    buffer: [Store; QUEUE],
}

/// A need that holds no post up.
const FAR: u8 = 200;

/// A reader's word, in a byte.
fn word(must: u8) -> MustWord {
    MustWord::from_bits(must.into())
}

fn byte(must: MustWord) -> u8 {
    must.bits() as u8
}

fn join_of(must: u8) -> u8 {
    word(must).join() as u8
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// The ring, the words of all readers, and all actors.
pub(crate) struct World {
    /// Ids that are taken.
    n: u8,
    tail: u8,
    must: [u8; ACTORS],
    need: [u8; ACTORS],
    alive: [u8; ACTORS],
    /// In truth: the join whose patience is over.
    over: [u8; ACTORS],
    kills: u8,
    patience: u8,
    actors: [Actor; ACTORS],
}

impl Actor {
    /// Returns the scan of which the actor has kept the parts.
    fn scan(&self) -> Scan {
        let slowest = (self.slowest != NO).then(|| Slowest {
            seat: self.slowest.into(),
            must: word(self.slowest_must),
            need: self.least.into(),
        });
        Scan { least: self.least.into(), slowest }
    }

    fn keep(&mut self, scan: Scan) {
        self.least = scan.least as u8;
        if let Some(Slowest { seat, must, .. }) = scan.slowest {
            (self.slowest, self.slowest_must) = (seat as u8, byte(must));
        }
    }
}

impl World {
    fn drain_one(&mut self, a: usize) {
        let Store { what, value } = self.actors[a].buffer[0];
        match what {
            1 => self.must[a] = value,
            2 => self.need[a] = value,
            _ => return,
        }
        self.actors[a].buffer.copy_within(1.., 0);
        self.actors[a].buffer[QUEUE - 1] = Store { what: 0, value: 0 };
    }

    fn fence(&mut self, a: usize) {
        while self.actors[a].buffer[0].what != 0 {
            self.drain_one(a);
        }
    }

    fn store(&mut self, a: usize, what: u8, value: u8) {
        if self.actors[a].buffer[QUEUE - 1].what != 0 {
            self.drain_one(a);
        }
        let free = self.actors[a].buffer.iter().position(|store| store.what == 0).expect("room");
        self.actors[a].buffer[free] = Store { what, value };
    }

    /// What actor `a` itself sees of its flag.
    fn own_must(&self, a: usize) -> u8 {
        let mut must = self.must[a];
        for store in self.actors[a].buffer {
            if store.what == 1 {
                must = store.value;
            }
        }
        must
    }

    fn end_op(&mut self, a: usize, op: Op) {
        let actor = &mut self.actors[a];
        (actor.t, actor.i, actor.part, actor.least, actor.slowest, actor.slowest_must, actor.need_seen) =
            (0, 0, 0, 0, 0, 0, 0);
        actor.waited = 0;
        if actor.in_handler == 1 && matches!(op, Op::MustPost(_) | Op::LossyPost(_)) {
            // The handler returns.
            actor.in_handler = 0;
            actor.pc = Read1;
        } else {
            actor.op += 1;
            actor.pc = Start;
        }
    }

    fn step(
        &self,
        setting: &Setting,
        a: usize,
        answers: &mut Answers,
    ) -> Option<(&'static str, u8, Result<World, String>)> {
        let mut to = *self;
        let m = setting.mutant;
        let me = self.actors[a];
        let op = setting.programs[a].get(usize::from(me.op)).copied();
        let cap = setting.capacity;
        let here = &mut to.actors[a];
        let lossy = matches!(op, Some(Op::LossyPost(_)));
        let step = match me.pc {
            Done | Dead => return None,
            Start => {
                let Some(op) = op else {
                    here.pc = Done;
                    // What it has stored will be seen.
                    return Some(("is done", NO, Ok(to)));
                };
                match op {
                    Op::Post | Op::Try | Op::Post2 => here.pc = Look,
                    Op::Must(left) | Op::MustPost(left) => {
                        here.left = left;
                        here.pc = Join1;
                    }
                    Op::LossyPost(left) => {
                        here.left = left;
                        here.next = self.n;
                        here.pc = Read1;
                    }
                    Op::Leave => here.pc = Leave,
                }
                ("begins", me.op)
            }

            // ---- posting ----
            Look => {
                here.t = self.n;
                let more = if matches!(op, Some(Op::Post2)) && me.part == 0 { 1 } else { 0 };
                here.pc = if self.n + more < me.limit { P } else { Tail };
                ("finds free id", self.n)
            }
            Tail => {
                here.least = match m {
                    Mutant::TailLate => FAR,
                    Mutant::TailHint => self.tail,
                    _ => me.t,
                };
                here.i = 0;
                here.slowest = NO;
                here.pc = if m == Mutant::NeedFirst { Need } else { Scan };
                ("begins to scan for id", me.t)
            }
            Scan | Need => {
                let r = usize::from(me.i);
                let first = if m == Mutant::NeedFirst { Need } else { Scan };
                let must = if me.pc == Scan { self.must[r] } else { me.slowest_must };
                if me.pc == first && m != Mutant::NeedFirst {
                    // The flag, then the cursor of those that have one.
                    if word(must).is_waited_for() {
                        here.need_seen = must;
                        here.pc = Need;
                        return Some(("reads the flag of", me.i, Ok(to)));
                    }
                } else if me.pc == first {
                    here.need_seen = self.need[r];
                    here.pc = Scan;
                    return Some(("reads the cursor of", me.i, Ok(to)));
                } else {
                    let (must, need) = if m == Mutant::NeedFirst {
                        (self.must[r], me.need_seen)
                    } else {
                        (me.need_seen, self.need[r])
                    };
                    let mut scan = me.scan();
                    scan.meet(me.i.into(), word(must), need.into());
                    here.keep(scan);
                    here.need_seen = 0;
                }
                here.i += 1;
                if usize::from(here.i) < setting.programs.len() {
                    here.pc = first;
                } else {
                    here.i = 0;
                    if m == Mutant::TailLate && here.slowest == NO {
                        here.least = here.least.min(self.tail);
                    }
                    let count = 1 + u64::from(matches!(op, Some(Op::Post2)) && me.part == 0);
                    let mut limit = Limit(here.limit.into());
                    let held_up = limit.take_in(here.scan(), cap.into(), here.t.into(), count);
                    here.limit = limit.end() as u8;
                    here.least = 0;
                    match held_up {
                        Some(_) => here.pc = Held,
                        None => {
                            (here.slowest, here.slowest_must) = (0, 0);
                            // If the event id lags, it is helped forward.
                            here.pc = if limit.has(here.t.into(), count) { P } else { Help };
                        }
                    }
                }
                ("has looked at", me.i)
            }
            Held => {
                let r = usize::from(me.slowest);
                let dead = self.alive[r] == 0;
                let may_wait =
                    !matches!(op, Some(Op::Try)) && (me.in_handler == 0 || lossy || m == Mutant::HandlerWaits);
                match Blocked::next(dead && m != Mutant::DeadNotAsked, may_wait, 0, 1) {
                    Blocked::Bury => {
                        here.pc = FoundDead;
                        answers.insert("dead");
                        return Some(("finds dead", me.slowest, Ok(to)));
                    }
                    Blocked::Refuse => {
                        answers.insert("full");
                        to.end_op(a, op.expect("an operation"));
                        return Some(("is refused", me.slowest, Ok(to)));
                    }
                    Blocked::Sleep(_) => {}
                    Blocked::CutOff => {
                        return Some(("cuts off", me.slowest, Err("it has not waited long enough".to_owned())));
                    }
                }
                answers.insert("waits");
                // Whom it waits for can go on without it.
                let other = &self.actors[r];
                let waits = other.pc == Held
                    && other.in_handler == 1
                    && !matches!(setting.programs[r][usize::from(other.op)], Op::LossyPost(_));
                if self.must[r] == me.slowest_must && (waits && m == Mutant::HandlerWaits || r == a) {
                    return Some((
                        "waits",
                        me.slowest,
                        Err(format!("{a} waits for {r}, which waits too: until the patience of one is over")),
                    ));
                }
                let stands = self.must[r] == me.slowest_must && self.need[r] + cap <= me.t;
                if stands && dead {
                    return Some(("waits", me.slowest, Err(format!("{a} waits for {r}, which is dead"))));
                }
                if stands && self.over[r] == join_of(self.must[r]) {
                    return Some((
                        "waits",
                        me.slowest,
                        Err(format!("{a} waits for {r}, for which a post has waited long enough before")),
                    ));
                }
                let reads = matches!(
                    other.pc,
                    Join2
                        | Join3
                        | Join4
                        | Join5
                        | Join6
                        | Read1
                        | Read2
                        | Read3
                        | Rearm
                        | RearmFence
                        | RearmEnd
                        | Leave
                ) || other.in_handler == 1
                    || other.pc == Start && matches!(setting.programs[r].get(usize::from(other.op)), Some(Op::Leave))
                    || other.buffer[0].what != 0;
                if stands && !reads {
                    return Some(("waits", me.slowest, Err(format!("{a} waits for {r}, which does not read"))));
                }
                if stands && me.waited == 1 {
                    // Nothing has changed: nothing to do but to go on waiting.
                    return None;
                }
                here.waited = u8::from(stands);
                if !stands && m == Mutant::SlowestOnly {
                    here.limit = me.t + 1;
                }
                if !stands {
                    (here.slowest, here.slowest_must) = (0, 0);
                    here.pc = Look;
                }
                ("waits for", me.slowest)
            }
            FoundDead | Cut => {
                let r = usize::from(me.slowest);
                let stands = self.must[r] == me.slowest_must;
                let cut = me.pc == Cut;
                if cut && stands && m != Mutant::CutPrivate {
                    to.over[r] = join_of(self.must[r]);
                }
                if cut && m == Mutant::CutPrivate {
                    // Goes by its own judgement.
                    to.over[r] = join_of(self.must[r]);
                    to.actors[a].limit = me.t + 1;
                } else if stands || matches!((m, cut), (Mutant::CutStore, true) | (Mutant::DeadStore, false)) {
                    let must = word(me.slowest_must);
                    to.must[r] = byte(if cut { must.cut() } else { must.left() });
                } else {
                    answers.insert("too late to cut");
                }
                to.fence(a);
                let here = &mut to.actors[a];
                (here.slowest, here.slowest_must, here.waited) = (0, 0, 0);
                here.pc = Look;
                (if cut { "cuts off" } else { "clears the flag of" }, me.slowest)
            }
            P => {
                if self.n != me.t {
                    here.pc = if m == Mutant::LimitOnce { P } else { Look };
                    if m == Mutant::LimitOnce {
                        here.t = self.n;
                    }
                    answers.insert("post moved");
                    return Some(("posts in vain", me.t, Ok(to)));
                }
                to.n += 1;
                to.fence(a);
                to.actors[a].pc = Help;
                ("posts", me.t)
            }
            Help => {
                // After a post, or before another scan.
                let posted = self.n > me.t;
                if self.tail < self.n {
                    to.tail = self.n.min(self.tail + 1);
                }
                to.fence(a);
                let here = &mut to.actors[a];
                if to.tail < to.n {
                    // Another helps too; look again.
                    here.pc = Help;
                } else if !posted {
                    here.pc = Tail;
                } else if matches!(op, Some(Op::Post2)) && me.part == 0 {
                    here.part = 1;
                    here.pc = Look;
                } else {
                    answers.insert("posted");
                    to.end_op(a, op.expect("an operation"));
                }
                ("helps the event id", NO)
            }

            // ---- joining ----
            Join1 => {
                here.next = self.n;
                here.start = self.n;
                here.pc = match m {
                    Mutant::JoinFlagFirst | Mutant::JoinNoCursor => Join3,
                    _ => Join2,
                };
                ("takes its first cursor", self.n)
            }
            Join2 => {
                to.store(a, 2, me.next);
                to.actors[a].pc = if m == Mutant::JoinFlagFirst { Join4 } else { Join3 };
                ("stores its cursor", me.next)
            }
            Join3 => {
                let mut must = word(self.own_must(a));
                if m == Mutant::AdoptSameJoin {
                    must = MustWord::from_bits(must.left().bits().wrapping_sub(word(0).joined().left().bits()));
                }
                let must = byte(must.joined());
                let join = join_of(must);
                to.store(a, 1, must);
                let here = &mut to.actors[a];
                here.join = join;
                here.pc = if m == Mutant::JoinFlagFirst { Join2 } else { Join4 };
                ("stores its flag, join", join)
            }
            Join4 => {
                if m != Mutant::JoinNoFence {
                    to.fence(a);
                }
                to.actors[a].pc = Join5;
                ("fence", NO)
            }
            Join5 => {
                here.next =
                    if matches!(m, Mutant::JoinStartFirst | Mutant::JoinStartAnnounced) { me.start } else { self.n };
                here.safe_from = here.next;
                here.start = 0;
                here.pc = Join6;
                ("starts at", self.n)
            }
            Join6 => {
                to.store(a, 2, me.next);
                to.actors[a].pc = Read1;
                ("stores its cursor", me.next)
            }

            // ---- reading ----
            Read1 => {
                let must = self.own_must(a);
                if !lossy && word(must).is_cut() && join_of(must) == me.join {
                    here.pc = Rearm;
                    answers.insert("was cut off");
                    return Some(("finds itself cut off", NO, Ok(to)));
                }
                if me.left == 0 {
                    to.fence(a);
                    // Reads no more, but stays: its next operation.
                    let here = &mut to.actors[a];
                    (here.next, here.safe_from) = (0, 0);
                    let leaves = matches!(setting.programs[a].get(usize::from(me.op) + 1), Some(Op::Leave));
                    if leaves || lossy {
                        here.op += 1;
                        here.pc = Start;
                    } else {
                        // One that must read and does not: as if it were stopped. It is cut off or waits to be.
                        here.next = me.next;
                        here.safe_from = me.safe_from;
                        here.pc = Leave;
                    }
                    return Some(("has read enough", NO, Ok(to)));
                }
                if me.next >= self.n {
                    return None;
                }
                if self.n > me.next + cap {
                    return Some(self.lapped(setting, a, lossy, answers));
                }
                here.pc = if m == Mutant::CursorEarly { Read3 } else { Read2 };
                ("copies event", me.next)
            }
            Read2 => {
                if self.n > me.next + cap {
                    return Some(self.lapped(setting, a, lossy, answers));
                }
                here.next += 1;
                here.left -= 1;
                here.pc = Read3;
                if m == Mutant::CursorEarly {
                    here.in_handler = u8::from(matches!(op, Some(Op::MustPost(_) | Op::LossyPost(_))));
                    here.pc = if here.in_handler == 1 { Look } else { Read1 };
                }
                ("looks again at event", me.next)
            }
            Read3 => {
                if m == Mutant::CursorEarly {
                    to.store(a, 2, me.next + 1);
                    to.actors[a].pc = Read2;
                    return Some(("stores its cursor", me.next + 1, Ok(to)));
                }
                if !lossy {
                    to.store(a, 2, me.next);
                }
                let here = &mut to.actors[a];
                here.in_handler = u8::from(matches!(op, Some(Op::MustPost(_) | Op::LossyPost(_))));
                here.pc = if here.in_handler == 1 { Look } else { Read1 };
                ("stores its cursor", me.next)
            }
            Rearm => {
                let must = byte(word(self.own_must(a)).joined());
                let join = join_of(must);
                to.store(a, 1, must);
                let here = &mut to.actors[a];
                here.join = join;
                here.pc = RearmFence;
                ("stores its flag again, join", join)
            }
            RearmFence => {
                if m != Mutant::RearmNoFence {
                    to.fence(a);
                }
                to.actors[a].pc = RearmEnd;
                ("fence", NO)
            }
            RearmEnd => {
                here.safe_from = if m == Mutant::RearmNext { me.next } else { self.n };
                here.pc = Read1;
                answers.insert("goes on");
                ("is safe from", here.safe_from)
            }
            Leave => {
                if m != Mutant::LeaveKeeps {
                    to.store(a, 1, byte(word(self.own_must(a)).left()));
                }
                to.fence(a);
                let here = &mut to.actors[a];
                (here.next, here.safe_from, here.join) = (0, 0, 0);
                if m == Mutant::LeaveKeeps {
                    here.pc = Done;
                } else {
                    here.op += 1;
                    here.pc = Start;
                }
                ("leaves", NO)
            }
        };
        let (what, arg) = step;
        Some((what, arg, Ok(to)))
    }

    fn lapped(
        &self,
        setting: &Setting,
        a: usize,
        lossy: bool,
        answers: &mut Answers,
    ) -> (&'static str, u8, Result<World, String>) {
        let mut to = *self;
        let me = self.actors[a];
        let lost = self.n - setting.capacity;
        let what = "is lapped at";
        if !lossy && lost > me.safe_from && me.next.max(me.safe_from) < lost && self.over[a] != me.join {
            let text = format!(
                "reader {a}, safe from {}, is lapped at {} of {}, and nobody's patience was over",
                me.safe_from, me.next, self.n
            );
            return (what, me.next, Err(text));
        }
        answers.insert(if lossy { "lapped, nobody waits" } else { "lapped" });
        let here = &mut to.actors[a];
        here.next = lost.max(me.next + 1);
        here.left = here.left.saturating_sub(1);
        here.pc = if lossy { Read1 } else { Read3 };
        if setting.mutant == Mutant::CursorEarly {
            here.pc = Read1;
        }
        if here.pc == Read3 && matches!(setting.programs[a][usize::from(me.op)], Op::MustPost(_)) {
            // No handler for this one: the cursor only.
            here.pc = Read1;
            to.store(a, 2, to.actors[a].next);
        }
        (what, me.next, Ok(to))
    }
}

impl World {
    pub(crate) fn begin(setting: &Setting) -> World {
        let actor = |a: usize| Actor {
            pc: if a < setting.programs.len() { Start } else { Done },
            op: 0,
            t: 0,
            limit: 0,
            least: 0,
            i: 0,
            slowest: 0,
            slowest_must: 0,
            need_seen: 0,
            part: 0,
            in_handler: 0,
            waited: 0,
            next: 0,
            left: 0,
            start: 0,
            safe_from: 0,
            join: 0,
            buffer: [Store { what: 0, value: 0 }; QUEUE],
        };
        World {
            n: 0,
            tail: 0,
            must: [0; ACTORS],
            need: [FAR; ACTORS],
            alive: [1; ACTORS],
            over: [NO; ACTORS],
            kills: 0,
            patience: 0,
            actors: std::array::from_fn(actor),
        }
    }

    pub(crate) fn steps(&self, setting: &Setting, answers: &mut Answers) -> Vec<Step> {
        let mut steps = Vec::new();
        for a in 0..setting.programs.len() {
            let me = self.actors[a];
            if let Some((what, arg, to)) = self.step(setting, a, answers) {
                steps.push(Step { name: Name(a as u8, what, arg), to });
            }
            if me.buffer[0].what != 0 {
                let mut to = *self;
                to.drain_one(a);
                steps.push(Step { name: Name(a as u8, "is seen to have stored", to.must[a]), to: Ok(to) });
            }
            let op = setting.programs[a].get(usize::from(me.op)).copied();
            let may_wait = !matches!(op, Some(Op::Try))
                && (me.in_handler == 0
                    || matches!(op, Some(Op::LossyPost(_)))
                    || setting.mutant == Mutant::HandlerWaits);
            if me.pc == Held && me.waited == 1 && may_wait && self.patience < setting.patience {
                let mut to = *self;
                assert_eq!(Blocked::next(false, true, 1, 1), Blocked::CutOff);
                to.patience += 1;
                to.actors[a].pc = Cut;
                steps.push(Step { name: Name(a as u8, "has waited long enough for", me.slowest), to: Ok(to) });
            }
            if self.kills < setting.kills && !matches!(me.pc, Start | Done | Dead) {
                let mut to = *self;
                to.kills += 1;
                to.fence(a);
                to.alive[a] = 0;
                let fresh = World::begin(setting).actors[a];
                to.actors[a] = Actor { pc: Dead, op: me.op, ..fresh };
                steps.push(Step { name: Name(a as u8, "is killed", NO), to: Ok(to) });
            }
            if me.pc == Dead {
                let mut to = *self;
                to.alive[a] = 1;
                answers.insert("adopted");
                if setting.mutant != Mutant::AdoptKeeps {
                    to.must[a] = byte(word(to.must[a]).left());
                    to.need[a] = FAR;
                }
                let here = &mut to.actors[a];
                here.op += 1;
                here.pc = Start;
                steps.push(Step { name: Name(a as u8, "is adopted", NO), to: Ok(to) });
            }
        }
        // An actor that is waited for can go on, or the waiting one has patience left that can end.
        if steps.is_empty() && self.patience == setting.patience {
            for (a, actor) in self.actors.iter().enumerate() {
                if actor.pc == Held {
                    let text = format!("{a} waits for {}, and nobody can go on", actor.slowest);
                    steps.push(Step { name: Name(a as u8, "is stuck", NO), to: Err(text) });
                }
            }
        }
        steps
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        const { assert!(align_of::<World>() == 1) };
        // SAFETY: every field is of one byte: alignment 1, `repr(C)`, no padding.
        unsafe { std::slice::from_raw_parts((self as *const World).cast(), size_of::<World>()) }
    }
}
