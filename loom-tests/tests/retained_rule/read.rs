//! Catching up, reading, and looking up.

use crate::protocol::retained::{Span, announcement};
use crate::search::NO;
use crate::setting::Mutant;
use crate::world::{Actor, At, KEYS, Kind, NOW, PLACES, Phase, Said, Turn, World, key_of};

impl World {
    /// Takes a step of a reader.
    pub(crate) fn read(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        match turn.me.at {
            At::JoinTo => Ok(self.take_start(turn)),
            At::JoinAnn => Ok(self.look_for_announcement(turn)),
            At::Scan => Ok(self.scan(turn)),
            At::WalkIndex => Ok(self.walk_index(turn)),
            At::WalkSlot => Ok(self.walk_slot(turn)),
            At::WalkCheck => Ok(self.walk_check(turn)),
            At::Hand => self.hand(turn),
            At::Live => self.read_live(turn),
            At::HeadSettle => {
                if self.is_in(turn.setting, turn.me.next, Phase::Keep) {
                    self.settle(turn.a, turn.me.next, At::HeadIndex);
                } else {
                    self.actors[turn.a].at = At::HeadIndex;
                }
                Ok(("has missed the head of", turn.me.next))
            }
            At::HeadIndex => Ok(self.look_for_headless(turn)),
            _ => self.take_headless(turn),
        }
    }

    /// J1.
    fn take_start(&mut self, turn: &mut Turn<'_>) -> Said {
        let actor = &mut self.actors[turn.a];
        (actor.to, actor.since, actor.i) = (self.taken, self.taken, 0);
        actor.at = if turn.is(Mutant::JoinScanFirst) { At::WalkIndex } else { At::JoinAnn };
        ("takes its start", self.taken)
    }

    /// J2, seat by seat.
    fn look_for_announcement(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("looks at the announcement of", turn.me.i);
        let is_before_start = turn.is(Mutant::JoinScanFirst) && turn.me.from == 0;
        let after = if is_before_start { At::JoinTo } else { At::WalkIndex };
        let actor = &mut self.actors[turn.a];
        if turn.is(Mutant::JoinNoScan) {
            (actor.i, actor.at) = (0, after);
        } else if self.announced[usize::from(turn.me.i)] != 0 {
            (actor.i, actor.at, actor.after_scan) = (0, At::Scan, after);
            if is_before_start {
                actor.to = self.taken;
            }
            actor.id = turn.me.settled.max(actor.to.saturating_sub(turn.setting.capacity));
        } else {
            actor.i += 1;
            if usize::from(actor.i) == turn.setting.programs.len() {
                (actor.i, actor.at) = (0, after);
            }
        }
        said
    }

    /// J2 and G1: settles the unsettled events below `to`.
    fn scan(&mut self, turn: &mut Turn<'_>) -> Said {
        let (id, actor) = (turn.me.id, &mut self.actors[turn.a]);
        if id >= turn.me.to {
            actor.settled = turn.me.settled.max(turn.me.to);
            (actor.id, actor.at, actor.after_scan) = (0, turn.me.after_scan, At::Start);
            if actor.at == At::GetIndex {
                actor.to = 0;
            }
            return ("has seen the ring below", turn.me.to);
        }
        actor.id += 1;
        if self.is_in(turn.setting, id, Phase::Keep) {
            turn.answer("reader settles");
            self.settle(turn.a, id, At::Scan);
        }
        ("looks at event", id)
    }

    fn span(me: &Actor) -> Span {
        Span { from: me.from.into(), to: me.to.into(), reset: me.reset == 1 }
    }

    /// J3: reads a bucket.
    fn walk_index(&mut self, turn: &mut Turn<'_>) -> Said {
        let bucket = turn.me.bucket;
        let floor = self.floors[usize::from(bucket)];
        let actor = &mut self.actors[turn.a];
        if bucket == 0 {
            actor.began_reset = turn.me.reset;
        }
        for key in 1..KEYS {
            if turn.setting.bucket_of(key as u8) == bucket {
                actor.copies[key] = 0;
            }
        }
        let slots = World::slots_of(turn.setting, bucket);
        actor.snapshot[..slots.len()].copy_from_slice(&self.keys[slots]);
        let mut span = World::span(&turn.me);
        span.meet(floor.into());
        (actor.reset, actor.stale, actor.i, actor.at) = (span.reset.into(), 0, 0, At::WalkSlot);
        ("reads bucket", bucket)
    }

    /// J3: copies a slot.
    fn walk_slot(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("copies slot", turn.me.i);
        let key = turn.me.snapshot[usize::from(turn.me.i)];
        let slot = World::slots_of(turn.setting, turn.me.bucket).start + usize::from(turn.me.i);
        let held = self.held(slot);
        let mut span = World::span(&turn.me);
        if turn.is(Mutant::JoinTableFirst) && turn.me.from == 0 {
            span.to = u64::MAX;
        }
        let actor = &mut self.actors[turn.a];
        if key != 0 && span.takes(&held, key_of(key)) {
            let is_clear = self.events[held.place as usize - 1].kind == Kind::Clear;
            if !(is_clear && turn.is(Mutant::TombstonesNotHanded)) {
                actor.copies[usize::from(key)] = held.place as u8;
            }
        } else if key != 0 && held.key == key_of(key) && held.place > span.to {
            turn.answer("left to come live");
        }
        actor.i += 1;
        if actor.i == turn.setting.places {
            (actor.i, actor.at) = (0, At::WalkCheck);
        }
        said
    }

    /// J3: looks at the bucket again.
    fn walk_check(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("looks at the bucket again", turn.me.bucket);
        let actor = &mut self.actors[turn.a];
        actor.stale = 0;
        actor.snapshot = [0; PLACES];
        if turn.me.stale == 1 && !turn.is(Mutant::WalkUnchecked) {
            turn.answer("walk again");
            actor.at = At::WalkIndex;
            return said;
        }
        actor.bucket += 1;
        if actor.bucket < turn.setting.buckets {
            actor.at = At::WalkIndex;
            return said;
        }
        actor.bucket = 0;
        let is_new = turn.me.reset != turn.me.began_reset && turn.setting.buckets > 1 && turn.me.from > 0;
        if is_new && !turn.is(Mutant::WalkNotAgain) {
            turn.answer("reset by a later bucket");
            actor.at = At::WalkIndex;
            return said;
        }
        (actor.at, actor.began_reset) = (At::Hand, 0);
        if turn.is(Mutant::JoinTableFirst) && turn.me.next == 0 && turn.me.from == 0 {
            (actor.to, actor.since) = (self.taken, self.taken);
        }
        if turn.me.reset == 1 {
            // An event that is not handed over now is gone, and ids start again.
            if turn.me.from > 0 {
                turn.answers.insert("reset");
            }
            actor.view = [0; KEYS];
            if !turn.is(Mutant::ResetKeepsOrder) {
                actor.last = 0;
            }
        }
        said
    }

    /// J4.
    fn hand(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let least = (1..KEYS).filter(|&key| turn.me.copies[key] > 0).min_by_key(|&key| turn.me.copies[key]);
        let Some(key) = least else {
            let actor = &mut self.actors[turn.a];
            (actor.next, actor.at) = (turn.me.to, At::Live);
            (actor.from, actor.to, actor.reset) = (0, 0, 0);
            let said = ("is up to date and goes on at", turn.me.to);
            return self.judge_view(turn.a).map(|()| said).map_err(|broken| (said, broken));
        };
        let id = turn.me.copies[key] - 1;
        let said = ("is handed retained event", id);
        self.actors[turn.a].copies[key] = 0;
        self.hand_over(turn.a, id).map_err(|broken| (said, broken))?;
        if self.expired[usize::from(id)] != 0 {
            self.actors[turn.a].view[key] = 0;
        }
        turn.answer("handed from the table");
        Ok(said)
    }

    fn read_live(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let id = turn.me.next;
        let cell = self.cells[World::cell_of(turn.setting, id)];
        let actor = &mut self.actors[turn.a];
        if cell.place > id + 1 {
            turn.answer("lapped");
            actor.from = id;
            actor.to = self.taken.saturating_sub(turn.setting.capacity).max(id + 1);
            (actor.since, actor.i, actor.at) = (actor.to, 0, At::JoinAnn);
            return Ok(("is lapped, to go on at", actor.to));
        }
        let said = ("reads event", id);
        let event = self.events[usize::from(id)];
        let is_kept = matches!(event.kind, Kind::Value | Kind::Clear);
        match cell.phase {
            Phase::Reserved => {
                turn.answer("gave up");
                self.cells[World::cell_of(turn.setting, id)].phase = Phase::Void;
                return Ok(("gives up", id));
            }
            Phase::Published | Phase::Keep if is_kept && event.head < turn.me.since => {
                turn.answer("headless");
                if turn.is(Mutant::HeadlessSkipped) {
                    actor.next += 1;
                } else {
                    actor.at = At::HeadSettle;
                    return Ok(said);
                }
            }
            Phase::Published | Phase::Keep if is_kept => {
                actor.next += 1;
                self.hand_over(turn.a, id).map_err(|broken| (said, broken))?;
            }
            Phase::Published | Phase::Keep | Phase::Void => actor.next += 1,
        }
        self.judge_view(turn.a).map(|()| said).map_err(|broken| (said, broken))
    }

    fn look_for_headless(&mut self, turn: &mut Turn<'_>) -> Said {
        let id = turn.me.next;
        let place = self.cells[World::cell_of(turn.setting, id)].place;
        let key = self.events[usize::from(id)].key;
        let slot = self.slot_of(key);
        let actor = &mut self.actors[turn.a];
        if place > id + 1 {
            actor.at = At::Live;
            return ("finds it lapped", id);
        }
        actor.leave_index();
        (actor.bucket, actor.at) = (turn.setting.bucket_of(key), At::HeadSlot);
        actor.slot = slot.map_or(NO, |slot| slot as u8);
        ("looks for its place", NO)
    }

    fn take_headless(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        if turn.me.stale == 1 {
            (self.actors[turn.a].at, self.actors[turn.a].stale) = (At::HeadIndex, 0);
            return Ok(("finds the index moved", NO));
        }
        let id = turn.me.next;
        let key = key_of(self.events[usize::from(id)].key);
        let held = (turn.me.slot != NO).then(|| self.held(turn.me.slot.into())).filter(|held| held.has(key, id.into()));
        let actor = &mut self.actors[turn.a];
        actor.leave_index();
        actor.slot = 0;
        let Some(held) = held else {
            // It is dead and gone from the table. The reader catches up again.
            turn.answer("headless and gone");
            (actor.from, actor.to, actor.reset, actor.at) = (id, id + 1, 1, At::JoinAnn);
            return Ok(("does not find it", id));
        };
        let said = ("takes it from the table", id);
        (actor.next, actor.at) = (id + 1, At::Live);
        let handed = if held.place == u64::from(id) + 1 { self.hand_over(turn.a, id) } else { Ok(()) };
        handed.and_then(|()| self.judge_view(turn.a)).map(|()| said).map_err(|broken| (said, broken))
    }

    /// Takes a step of a look-up.
    pub(crate) fn look_up(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let slot = self.slot_of(turn.key);
        let actor = &mut self.actors[turn.a];
        match turn.me.at {
            At::GetAnn => {
                let other = self.announced[usize::from(turn.me.i)];
                actor.i += 1;
                if other != 0 && announcement(key_of(other)) == announcement(key_of(turn.key)) {
                    turn.answer("look-up meets a post");
                    (actor.i, actor.at) = (0, At::GetTo);
                } else if usize::from(actor.i) == turn.setting.programs.len() {
                    (actor.i, actor.at) = (0, At::GetIndex);
                }
                Ok(("looks at the announcement of", turn.me.i))
            }
            At::GetTo => {
                (actor.to, actor.at, actor.after_scan) = (self.taken, At::Scan, At::GetIndex);
                actor.id = turn.me.settled.max(self.taken.saturating_sub(turn.setting.capacity));
                Ok(("settles what is below", self.taken))
            }
            At::GetIndex => {
                (actor.slot, actor.at) = (slot.map_or(NO, |slot| slot as u8), At::GetSlot);
                Ok(("looks for the place", NO))
            }
            _ => self.answer(turn),
        }
    }

    /// G3.
    fn answer(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let said = ("looks up", turn.key);
        let held = (turn.me.slot != NO).then(|| self.held(turn.me.slot.into()));
        let found = held.filter(|held| !held.is_dead(key_of(turn.key), NOW)).map_or(0, |held| held.place as u8);
        let least = turn.me.least;
        let may_be_gone = least == 0
            || (least..=self.taken).any(|place| {
                let id = place - 1;
                self.events[usize::from(id)].key == turn.key && self.is_over(id)
            });
        if found < least && !(found == 0 && may_be_gone) {
            let text = format!("a look-up of key {} answers {found} (plus one) where {least} was known", turn.key);
            return Err((said, text));
        }
        if let Some(id) = found.checked_sub(1)
            && (self.is_over(id) || self.events[usize::from(id)].key != turn.key)
        {
            return Err((
                said,
                format!("a look-up of key {} finds event {id}, which is over or another key's", turn.key),
            ));
        }
        turn.answer(if found > 0 { "found" } else { "not found" });
        self.actors[turn.a].end();
        Ok(said)
    }
}
