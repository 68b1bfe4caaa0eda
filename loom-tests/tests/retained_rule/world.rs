//! The state: everything that a step can change. And the steps that can be taken in it.
//!
//! The exchange has its own models, and this one relies on what they show: the exchange of a cell is one step that
//! moves a block; an adopter learns which block its dead predecessor held; a copy that was made between two looks at an
//! unchanged cell is what was published. Therefore a cell of the ring contains its event here, and the index of a
//! bucket is read and exchanged whole. The private blocks of the table are modelled word by word, because other seats
//! copy them while their holders live.
//!
//! An id plus one is called a place of the order: 0 means "none".

use crate::protocol::bucket::Key;
use crate::protocol::retained::{Held, Index, NEVER, PlaceSet, TOMBSTONE};
use crate::search::{Answers, NO, Name, Step};
use crate::setting::{Mutant, Op, Setting};

pub(crate) const CELLS: usize = 4;
pub(crate) const EVENTS: usize = 12;
/// Keys are numbered from 1.
pub(crate) const KEYS: usize = 4;
/// The slots of all buckets.
pub(crate) const PLACES: usize = 2;
pub(crate) const BUCKETS: usize = 2;
pub(crate) const ACTORS: usize = 4;
const BLOCKS: usize = PLACES + ACTORS;
/// The time. An expired value's ttl ends exactly now.
pub(crate) const NOW: u64 = 1;
/// The greatest number of steps that an actor takes to end its operation if it runs alone.
const LONGEST_ALONE: u32 = 200;

/// The content of a cell.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Published,
    Keep,
    Reserved,
    Void,
}

/// The kind of an event.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// A fragment other than the last.
    Part,
    Value,
    Clear,
}

/// The next step of an actor.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Start,
    Done,
    Dead,
    // Finding a place.
    Announce,
    Index,
    Reopen,
    Insert,
    SweepLook,
    Close,
    SweepAnn,
    SweepSlot,
    Remove,
    // Posting.
    PrepareA,
    PrepareB,
    Look,
    Post,
    Withdraw,
    // Settling.
    S2,
    S3a,
    S3b,
    S4,
    S5,
    S6,
    // Adoption.
    AdoptScan,
    AdoptEnd,
    // Catching up, and reading.
    JoinTo,
    JoinAnn,
    Scan,
    WalkIndex,
    WalkSlot,
    WalkCheck,
    Hand,
    Live,
    HeadSettle,
    HeadIndex,
    HeadSlot,
    // Looking up.
    GetAnn,
    GetTo,
    GetIndex,
    GetSlot,
}

/// An event as it was posted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) key: u8,
    /// The actor that posted it, and its value.
    pub(crate) tag: u8,
    pub(crate) slot: u8,
    pub(crate) block: u8,
    /// The id of its first fragment.
    pub(crate) head: u8,
}

/// A block of the table. Its value has two halves; each half is the event's tag.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) key: u8,
    /// The id plus one.
    pub(crate) place: u8,
    pub(crate) a: u8,
    pub(crate) b: u8,
}

pub(crate) const EMPTY: Block = Block { key: 0, place: 0, a: 0, b: 0 };

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The id plus one.
    pub(crate) place: u8,
    pub(crate) phase: Phase,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) at: At,
    /// The step after settling or scanning.
    pub(crate) after_settle: At,
    pub(crate) after_scan: At,
    /// The number of its operation.
    pub(crate) op: u8,
    /// The block of the table that it holds.
    pub(crate) own: u8,
    /// The slot of its key.
    pub(crate) slot: u8,
    /// The number of fragments posted, and the id of the first.
    pub(crate) part: u8,
    pub(crate) head: u8,
    pub(crate) prepared: u8,
    /// The id that it tries to take, has taken, or looks at.
    pub(crate) id: u8,
    pub(crate) seen: Cell,
    /// Work on a bucket of the index: the bucket; 1 if it was exchanged since it was read; the progress; sets of
    /// places; a floor.
    pub(crate) bucket: u8,
    pub(crate) stale: u8,
    pub(crate) i: u8,
    pub(crate) dead: u8,
    pub(crate) gone: u8,
    pub(crate) floor: u8,
    /// Settling: the event; its slot; 1 if the slot was read; 1 if it was exchanged since.
    pub(crate) settling: u8,
    pub(crate) s_slot: u8,
    pub(crate) s_read: u8,
    pub(crate) s_stale: u8,
    /// Every id below it is settled.
    pub(crate) settled: u8,
    /// Reading.
    pub(crate) next: u8,
    pub(crate) since: u8,
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) reset: u8,
    /// 1 if the walk began with a reset.
    pub(crate) began_reset: u8,
    pub(crate) last: u8,
    pub(crate) view: [u8; KEYS],
    pub(crate) copies: [u8; KEYS],
    /// The keys of the bucket's places, as read for the walk.
    pub(crate) snapshot: [u8; PLACES],
    /// The lowest place that a look-up may return.
    pub(crate) least: u8,
}

/// One state. It is bytes without padding, so two states are equal if their bytes are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct World {
    /// Ids taken.
    pub(crate) taken: u8,
    pub(crate) events: [Event; EVENTS],
    pub(crate) cells: [Cell; CELLS],
    pub(crate) slots: [u8; PLACES],
    pub(crate) blocks: [Block; BLOCKS],
    /// The key of each place of the index, 0 for none.
    pub(crate) keys: [u8; PLACES],
    pub(crate) closing: [u8; PLACES],
    pub(crate) floors: [u8; BUCKETS],
    pub(crate) announced: [u8; ACTORS],
    /// The key that an actor has announced and others do not see yet, plus one.
    pub(crate) buffered: [u8; ACTORS],
    pub(crate) expired: [u8; EVENTS],
    expiries: u8,
    kills: u8,
    /// The last place of each key that any actor knows of.
    pub(crate) observed: [u8; KEYS],
    pub(crate) actors: [Actor; ACTORS],
}

/// Returns a key as the crate represents it. Each key has a different announcement.
pub(crate) fn key_of(key: u8) -> Key {
    Key([u64::from(key) << 1, u64::from(key)])
}

impl Actor {
    fn begin(a: usize) -> Actor {
        Actor {
            at: At::Start,
            after_settle: At::Start,
            after_scan: At::Start,
            op: 0,
            own: (PLACES + a) as u8,
            slot: 0,
            part: 0,
            head: 0,
            prepared: 0,
            id: 0,
            seen: Cell { place: 0, phase: Phase::Published },
            bucket: 0,
            stale: 0,
            i: 0,
            dead: 0,
            gone: 0,
            floor: 0,
            settling: 0,
            s_slot: 0,
            s_read: 0,
            s_stale: 0,
            settled: 0,
            next: 0,
            since: 0,
            from: 0,
            to: 0,
            reset: 0,
            began_reset: 0,
            last: 0,
            view: [0; KEYS],
            copies: [0; KEYS],
            snapshot: [0; PLACES],
            least: 0,
        }
    }

    /// Resets the locals of the work on the index.
    pub(crate) fn leave_index(&mut self) {
        (self.bucket, self.stale, self.i, self.dead, self.gone, self.floor) = (0, 0, 0, 0, 0, 0);
    }

    /// Ends the operation and resets every local that the next one does not need.
    pub(crate) fn end(&mut self) {
        self.leave_index();
        let nothing = Actor::begin(0);
        (self.slot, self.part, self.head, self.prepared, self.id, self.least) = (0, 0, 0, 0, 0, 0);
        self.seen = nothing.seen;
        self.op += 1;
        self.at = At::Start;
    }

    pub(crate) fn dead(&self) -> PlaceSet {
        PlaceSet::from_bits(self.dead.into())
    }

    pub(crate) fn gone(&self) -> PlaceSet {
        PlaceSet::from_bits(self.gone.into())
    }
}

/// A step as reports show it: a text, and a number.
pub(crate) type Said = (&'static str, u8);

/// A turn of actor `a`.
pub(crate) struct Turn<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) a: usize,
    /// The actor before the step.
    pub(crate) me: Actor,
    pub(crate) op: Option<Op>,
    /// The key of `op`, 0 for none.
    pub(crate) key: u8,
    pub(crate) answers: &'a mut Answers,
}

impl Turn<'_> {
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.setting.mutant == mutant
    }

    pub(crate) fn answer(&mut self, answer: &'static str) {
        self.answers.insert(answer);
    }

    /// Returns the tag of this operation's value: no other operation has it.
    pub(crate) fn tag(&self) -> u8 {
        self.a as u8 * 16 + self.me.op + 1
    }

    pub(crate) fn retains(&self) -> bool {
        matches!(self.op, Some(Op::Retain(_) | Op::Big(_) | Op::Clear(_)))
    }
}

/// Returns the actor that posted the event with `tag`.
pub(crate) fn actor_of(tag: u8) -> usize {
    usize::from((tag - 1) / 16)
}

impl World {
    pub(crate) fn begin(setting: &Setting) -> World {
        let actor = |a: usize| {
            let at = if a < setting.programs.len() { At::Start } else { At::Done };
            Actor { at, ..Actor::begin(a) }
        };
        World {
            taken: 0,
            events: [Event { kind: Kind::Plain, key: 0, tag: 0, slot: 0, block: 0, head: 0 }; EVENTS],
            cells: [Cell { place: 0, phase: Phase::Published }; CELLS],
            slots: std::array::from_fn(|slot| slot as u8),
            blocks: [EMPTY; BLOCKS],
            keys: [0; PLACES],
            closing: [0; PLACES],
            floors: [0; BUCKETS],
            announced: [0; ACTORS],
            buffered: [0; ACTORS],
            expired: [0; EVENTS],
            expiries: 0,
            kills: 0,
            observed: [0; KEYS],
            actors: std::array::from_fn(actor),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        const { assert!(align_of::<World>() == 1) };
        // SAFETY: the type and all its fields have alignment 1. Therefore there is no padding, and every byte belongs
        // to an integer or to an enum without fields.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<World>()) }
    }

    // ---- the index and the slots, in the types that the crate's decisions take ----

    /// The slots of a bucket's places.
    pub(crate) fn slots_of(setting: &Setting, bucket: u8) -> std::ops::Range<usize> {
        let places = usize::from(setting.places);
        let first = usize::from(bucket) * places;
        first..first + places
    }

    /// Returns a copy of the bucket.
    pub(crate) fn index(&self, setting: &Setting, bucket: u8) -> Index {
        let mut index = Index::default();
        index.floor = self.floors[usize::from(bucket)].into();
        for (place, slot) in World::slots_of(setting, bucket).enumerate() {
            if self.keys[slot] != 0 {
                index.take(place, key_of(self.keys[slot]));
                if self.closing[slot] != 0 {
                    index.closing.insert(place);
                }
            }
        }
        index
    }

    /// Exchanges a bucket. From then on all actors see what actor `by` has announced.
    pub(crate) fn exchange_index(&mut self, setting: &Setting, by: usize, bucket: u8, index: &Index) {
        for (place, slot) in World::slots_of(setting, bucket).enumerate() {
            let used = index.used.contains(place);
            self.keys[slot] = if used { index.key(place).0[1] as u8 } else { 0 };
            self.closing[slot] = index.closing.contains(place).into();
        }
        self.floors[usize::from(bucket)] = index.floor as u8;
        self.flush(by);
        for (a, actor) in self.actors.iter_mut().enumerate() {
            let reads = matches!(
                actor.at,
                At::Reopen
                    | At::Insert
                    | At::SweepLook
                    | At::Close
                    | At::SweepAnn
                    | At::SweepSlot
                    | At::Remove
                    | At::WalkSlot
                    | At::WalkCheck
                    | At::HeadSlot
            );
            if a != by && reads && actor.bucket == bucket {
                actor.stale = 1;
            }
        }
    }

    /// Returns the content of a slot.
    pub(crate) fn held(&self, slot: usize) -> Held {
        let block = self.blocks[usize::from(self.slots[slot])];
        let deadline = match block.place.checked_sub(1).map(usize::from) {
            Some(id) if self.events[id].kind == Kind::Clear => TOMBSTONE,
            Some(id) if self.expired[id] != 0 => NOW,
            _ => NEVER,
        };
        Held { key: key_of(block.key), place: block.place.into(), deadline }
    }

    /// The slot of the place of `key`.
    pub(crate) fn slot_of(&self, key: u8) -> Option<usize> {
        self.keys.iter().position(|&other| other == key)
    }

    /// Returns `true` if event `id` is a clear or has expired.
    pub(crate) fn is_over(&self, id: u8) -> bool {
        let id = usize::from(id);
        self.events[id].kind == Kind::Clear || self.expired[id] != 0
    }

    pub(crate) fn cell_of(setting: &Setting, id: u8) -> usize {
        usize::from(id % setting.capacity)
    }

    /// Returns `true` if event `id` is still in its cell, in `phase`.
    pub(crate) fn is_in(&self, setting: &Setting, id: u8, phase: Phase) -> bool {
        self.cells[World::cell_of(setting, id)] == Cell { place: id + 1, phase }
    }

    /// Makes the stores of actor `a` visible to all actors.
    pub(crate) fn flush(&mut self, a: usize) {
        if self.buffered[a] != 0 {
            self.announced[a] = self.buffered[a] - 1;
            self.buffered[a] = 0;
        }
    }

    pub(crate) fn observe(&mut self, key: u8, place: u8) {
        let seen = &mut self.observed[usize::from(key)];
        *seen = (*seen).max(place);
    }

    /// Has actor `a` settle event `id` and then continue with `after`.
    pub(crate) fn settle(&mut self, a: usize, id: u8, after: At) {
        let actor = &mut self.actors[a];
        (actor.at, actor.after_settle, actor.settling) = (At::S2, after, id);
    }

    // ---- steps ----

    /// Returns the next step of actor `a`, if there is one.
    fn step(&self, setting: &Setting, a: usize, answers: &mut Answers) -> Option<(Said, Result<World, String>)> {
        let me = self.actors[a];
        let op = setting.programs[a].get(usize::from(me.op)).copied();
        let key = match op {
            Some(Op::Retain(key) | Op::Big(key) | Op::Clear(key) | Op::Get(key)) => key,
            Some(Op::Plain | Op::Read | Op::Reserve) | None => 0,
        };
        let mut turn = Turn { setting, a, me, op, key, answers };
        let mut to = *self;
        let said = match me.at {
            At::Done | At::Dead => return None,
            At::Start => Ok(to.start(&mut turn)),
            At::Announce
            | At::Index
            | At::Reopen
            | At::Insert
            | At::SweepLook
            | At::Close
            | At::SweepAnn
            | At::SweepSlot
            | At::Remove => Ok(to.find_place(&mut turn)),
            At::PrepareA | At::PrepareB | At::Look | At::Post | At::Withdraw => to.post(&mut turn),
            At::S2 | At::S3a | At::S3b | At::S4 | At::S5 | At::S6 => to.settling(&mut turn),
            At::AdoptScan | At::AdoptEnd => Ok(to.adopt(&mut turn)),
            At::Live if !self.has_news(setting, a) => return None,
            At::JoinTo
            | At::JoinAnn
            | At::Scan
            | At::WalkIndex
            | At::WalkSlot
            | At::WalkCheck
            | At::Hand
            | At::Live
            | At::HeadSettle
            | At::HeadIndex
            | At::HeadSlot => to.read(&mut turn),
            At::GetAnn | At::GetTo | At::GetIndex | At::GetSlot => to.look_up(&mut turn),
        };
        Some(match said {
            Ok(said) => (said, to.judge(setting).map(|()| to)),
            Err((said, broken)) => (said, Err(broken)),
        })
    }

    fn start(&mut self, turn: &mut Turn<'_>) -> Said {
        let least = self.observed[usize::from(turn.key)];
        let actor = &mut self.actors[turn.a];
        actor.at = match turn.op {
            None => At::Done,
            Some(Op::Plain | Op::Reserve) => At::Look,
            Some(Op::Retain(_) | Op::Big(_) | Op::Clear(_)) if turn.is(Mutant::AnnounceLate) => At::Index,
            Some(Op::Retain(_) | Op::Big(_) | Op::Clear(_)) => At::Announce,
            Some(Op::Get(_)) => {
                actor.least = least;
                if turn.is(Mutant::GetUnsettled) { At::GetIndex } else { At::GetAnn }
            }
            Some(Op::Read) if turn.is(Mutant::JoinTableFirst) => At::WalkIndex,
            Some(Op::Read) if turn.is(Mutant::JoinScanFirst) => At::JoinAnn,
            Some(Op::Read) => At::JoinTo,
        };
        ("begins", turn.me.op)
    }

    /// Returns every step that is possible now. Adds the answers of these steps to `answers`.
    pub(crate) fn steps(&self, setting: &Setting, answers: &mut Answers) -> Vec<Step> {
        let mut steps = vec![];
        for a in 0..setting.programs.len() {
            if let Some(((what, number), to)) = self.step(setting, a, answers) {
                steps.push(Step { name: Name(a as u8, what, number), to });
            }
            self.others(setting, a, answers, &mut steps);
        }
        if self.expiries < setting.expiries {
            let values = (0..self.taken).filter(|&id| self.events[usize::from(id)].kind == Kind::Value);
            for id in values.filter(|&id| self.expired[usize::from(id)] == 0) {
                let mut to = *self;
                to.expired[usize::from(id)] = 1;
                to.expiries += 1;
                steps.push(Step { name: Name(NO, "over is the ttl of event", id), to: Ok(to) });
            }
        }
        steps
    }

    /// Adds the steps that happen to actor `a` without being its own.
    fn others(&self, setting: &Setting, a: usize, answers: &mut Answers, steps: &mut Vec<Step>) {
        let me = &self.actors[a];
        if self.buffered[a] != 0 {
            let mut to = *self;
            to.flush(a);
            steps.push(Step { name: Name(a as u8, "is seen to have announced", NO), to: Ok(to) });
        }
        let only_reads = matches!(setting.programs[a].get(usize::from(me.op)), Some(Op::Read | Op::Get(_)));
        let settles = matches!(me.at, At::S2 | At::S3a | At::S3b | At::S4 | At::S5 | At::S6);
        let lives = !matches!(me.at, At::Start | At::Done | At::Dead);
        if self.kills < setting.kills && lives && (!only_reads || settles) {
            let mut to = *self;
            to.kills += 1;
            to.flush(a);
            to.actors[a] = Actor { at: At::Dead, own: me.own, op: me.op, ..Actor::begin(a) };
            steps.push(Step { name: Name(a as u8, "IS KILLED", NO), to: Ok(to) });
        }
        if me.at == At::Dead {
            answers.insert("adopted");
            let mut to = *self;
            let settles_nothing = self.announced[a] == 0 || setting.mutant == Mutant::AdoptClears;
            to.actors[a].at = if settles_nothing { At::AdoptEnd } else { At::AdoptScan };
            if setting.mutant == Mutant::AdoptClearsFirst {
                to.announced[a] = 0;
            }
            steps.push(Step { name: Name(a as u8, "is adopted", NO), to: Ok(to) });
        }
        if setting.alone && !self.ends_alone(setting, a, answers) {
            let broken = Err(format!("left alone, {a} does not come to an end"));
            steps.push(Step { name: Name(a as u8, "runs alone", NO), to: broken });
        }
    }

    /// Returns `true` if actor `a` ends its operation when no other actor takes a step.
    fn ends_alone(&self, setting: &Setting, a: usize, answers: &mut Answers) -> bool {
        let (mut world, op) = (*self, self.actors[a].op);
        for _ in 0..LONGEST_ALONE {
            let actor = &world.actors[a];
            if actor.op != op || matches!(actor.at, At::Done | At::Dead | At::Start) {
                return true;
            }
            let Some((_, Ok(to))) = world.step(setting, a, answers) else { return true };
            world = to;
        }
        false
    }
}
