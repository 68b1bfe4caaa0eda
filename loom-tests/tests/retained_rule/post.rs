//! Finding a place in the table, and posting.

use crate::protocol::retained::{PlaceSet, Plan, announcement};
use crate::search::NO;
use crate::setting::{Mutant, Op};
use crate::world::{At, Block, Cell, Event, Kind, NOW, Phase, Said, Turn, World, key_of};

impl World {
    /// Takes a step of finding a place.
    pub(crate) fn find_place(&mut self, turn: &mut Turn<'_>) -> Said {
        let bucket = turn.me.bucket;
        if turn.me.stale == 1 {
            // The exchange would fail.
            let actor = &mut self.actors[turn.a];
            actor.leave_index();
            actor.at = At::Index;
            turn.answer("index moved");
            return ("finds the index moved", NO);
        }
        match turn.me.at {
            At::Announce => self.announce(turn),
            At::Index => self.look_for_place(turn),
            At::Reopen | At::Insert => {
                let mut index = self.index(turn.setting, bucket);
                let place = usize::from(turn.me.i);
                if turn.me.at == At::Insert {
                    index.take(place, key_of(turn.key));
                } else {
                    turn.answer("reopened");
                    index.reopen(place);
                }
                self.exchange_index(turn.setting, turn.a, bucket, &index);
                self.has_place(turn, place);
                (if turn.me.at == At::Insert { "takes place" } else { "reopens place" }, turn.me.i)
            }
            At::SweepLook => self.look_for_dead(turn),
            At::Close => {
                let mut index = self.index(turn.setting, bucket);
                index.close(turn.me.dead());
                self.exchange_index(turn.setting, turn.a, bucket, &index);
                let actor = &mut self.actors[turn.a];
                actor.i = 0;
                if turn.is(Mutant::SweepAnnFirst) {
                    actor.at = At::SweepSlot;
                } else {
                    actor.leave_index();
                    actor.at = At::Index;
                }
                ("closes places", turn.me.dead)
            }
            At::SweepAnn => self.look_at_announcement(turn),
            At::SweepSlot => self.look_for_dead_again(turn),
            _ => {
                let mut index = self.index(turn.setting, bucket);
                let place = index.replace(turn.me.gone(), turn.me.floor.into(), key_of(turn.key));
                self.exchange_index(turn.setting, turn.a, bucket, &index);
                self.has_place(turn, place.expect("some place is gone"));
                turn.answer("swept");
                ("takes places away", turn.me.gone)
            }
        }
    }

    fn announce(&mut self, turn: &mut Turn<'_>) -> Said {
        if turn.is(Mutant::AnnounceNoFence) {
            self.buffered[turn.a] = turn.key + 1;
        } else {
            self.announced[turn.a] = turn.key;
        }
        self.actors[turn.a].at = if turn.is(Mutant::AnnounceLate) { At::Look } else { At::Index };
        ("announces key", turn.key)
    }

    /// Continues with `place` of the key's bucket.
    fn has_place(&mut self, turn: &Turn<'_>, place: usize) {
        let slot = World::slots_of(turn.setting, turn.setting.bucket_of(turn.key)).start + place;
        let actor = &mut self.actors[turn.a];
        actor.leave_index();
        actor.slot = slot as u8;
        actor.at = if turn.is(Mutant::AnnounceLate) { At::Announce } else { At::Look };
    }

    fn is_full(&mut self, turn: &mut Turn<'_>) {
        turn.answer("full");
        self.actors[turn.a].leave_index();
        self.actors[turn.a].at = At::Withdraw;
    }

    /// I1.
    fn look_for_place(&mut self, turn: &mut Turn<'_>) -> Said {
        let what = ("looks for the place", NO);
        let actor = &mut self.actors[turn.a];
        if turn.is(Mutant::NoPlaceBefore) {
            actor.at = At::Look;
            return what;
        }
        let bucket = turn.setting.bucket_of(turn.key);
        actor.bucket = bucket;
        let all = PlaceSet::first(turn.setting.places.into());
        match self.index(turn.setting, bucket).plan(key_of(turn.key), all, 0) {
            Plan::Stays(place) => self.has_place(turn, place),
            Plan::Reopen(place) => (self.actors[turn.a].at, self.actors[turn.a].i) = (At::Reopen, place as u8),
            Plan::Take(_) | Plan::Crowded if matches!(turn.op, Some(Op::Clear(_))) => {
                turn.answer("nothing to clear");
                self.actors[turn.a].leave_index();
                self.actors[turn.a].at = At::Withdraw;
            }
            Plan::Take(place) => (self.actors[turn.a].at, self.actors[turn.a].i) = (At::Insert, place as u8),
            Plan::Crowded => self.actors[turn.a].at = At::SweepLook,
        }
        what
    }

    /// I2, slot by slot.
    fn look_for_dead(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("looks whether anything is in slot", turn.me.i);
        let bucket = turn.me.bucket;
        let mut index = self.index(turn.setting, bucket);
        let place = usize::from(turn.me.i);
        let slot = World::slots_of(turn.setting, bucket).start + place;
        let mut dead = turn.me.dead();
        if self.held(slot).is_dead(index.key(place), NOW) {
            dead.insert(place);
        }
        let actor = &mut self.actors[turn.a];
        (actor.i, actor.dead) = (turn.me.i + 1, dead.bits() as u8);
        if actor.i < turn.setting.places {
            return said;
        }
        (actor.i, actor.gone) = (0, actor.dead);
        if dead.is_empty() {
            self.is_full(turn);
            return said;
        }
        let closes = index.close(dead);
        actor.at = match turn.setting.mutant {
            Mutant::SweepAnnFirst | Mutant::SweepOneStep => At::SweepAnn,
            _ if closes => At::Close,
            Mutant::SweepSlotFirst => At::SweepSlot,
            _ => At::SweepAnn,
        };
        said
    }

    /// I3, seat by seat.
    fn look_at_announcement(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("looks at the announcement of", turn.me.i);
        let index = self.index(turn.setting, turn.me.bucket);
        let word = match self.announced[usize::from(turn.me.i)] {
            0 => 0,
            key => announcement(key_of(key)),
        };
        let gone = index.unannounced(turn.me.gone(), std::iter::once(word));
        if gone != turn.me.gone() {
            turn.answer("announced by another");
        }
        let actor = &mut self.actors[turn.a];
        (actor.i, actor.gone) = (turn.me.i + 1, gone.bits() as u8);
        if usize::from(actor.i) < turn.setting.programs.len() {
            return said;
        }
        actor.i = 0;
        if gone.is_empty() {
            self.is_full(turn);
            return said;
        }
        let closes = index.clone().close(turn.me.dead());
        actor.at = match turn.setting.mutant {
            Mutant::SweepAnnFirst if closes => At::Close,
            Mutant::SweepSlotFirst => At::Remove,
            _ => At::SweepSlot,
        };
        said
    }

    /// I4, slot by slot.
    fn look_for_dead_again(&mut self, turn: &mut Turn<'_>) -> Said {
        let said = ("looks again whether anything is in slot", turn.me.i);
        let bucket = turn.me.bucket;
        let place = usize::from(turn.me.i);
        let slot = World::slots_of(turn.setting, bucket).start + place;
        let (mut gone, mut floor) = (turn.me.gone(), turn.me.floor);
        if gone.contains(place) {
            let (key, held) = (self.index(turn.setting, bucket).key(place), self.held(slot));
            if held.is_dead(key, NOW) {
                floor = floor.max(held.floor_without(key) as u8);
            } else {
                turn.answer("alive again");
                gone.remove(place);
            }
        }
        let actor = &mut self.actors[turn.a];
        (actor.i, actor.gone, actor.floor) = (turn.me.i + 1, gone.bits() as u8, floor);
        if actor.i < turn.setting.places {
            return said;
        }
        actor.i = 0;
        if gone.is_empty() {
            self.is_full(turn);
        } else {
            actor.at = if turn.is(Mutant::SweepSlotFirst) { At::SweepAnn } else { At::Remove };
        }
        said
    }

    /// Takes a step of the post itself.
    pub(crate) fn post(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let own = usize::from(turn.me.own);
        Ok(match turn.me.at {
            At::PrepareA => {
                self.blocks[own] = Block { key: turn.key, place: 0, a: turn.tag(), b: 0 };
                self.actors[turn.a].at = At::PrepareB;
                ("writes half of its value into block", turn.me.own)
            }
            At::PrepareB => {
                self.blocks[own].b = turn.tag();
                (self.actors[turn.a].at, self.actors[turn.a].prepared) = (At::Look, 1);
                ("writes the rest", NO)
            }
            At::Look => self.look_for_id(turn),
            At::Post => self.exchange_cell(turn),
            _ => {
                if self.events[usize::from(turn.me.id)].tag == turn.tag() {
                    self.observe(turn.key, turn.me.id + 1);
                }
                (self.announced[turn.a], self.buffered[turn.a]) = (0, 0);
                self.actors[turn.a].end();
                ("takes the announcement back", NO)
            }
        })
    }

    fn look_for_id(&mut self, turn: &mut Turn<'_>) -> Said {
        let id = self.taken;
        let seen = self.cells[World::cell_of(turn.setting, id)];
        let is_last = !matches!(turn.op, Some(Op::Big(_))) || turn.me.part == 1;
        if seen.phase == Phase::Keep && !turn.is(Mutant::DisplaceUnsettled) {
            // Rule D.
            turn.answer("helped");
            self.settle(turn.a, seen.place - 1, At::Look);
        } else if turn.retains() && is_last && turn.me.prepared == 0 {
            self.actors[turn.a].at = At::PrepareA;
        } else {
            let actor = &mut self.actors[turn.a];
            (actor.at, actor.id, actor.seen) = (At::Post, id, seen);
        }
        ("finds free id", id)
    }

    /// P.
    fn exchange_cell(&mut self, turn: &mut Turn<'_>) -> Said {
        let (id, cell) = (turn.me.id, World::cell_of(turn.setting, turn.me.id));
        let actor = &mut self.actors[turn.a];
        (actor.id, actor.seen) = (0, Cell { place: 0, phase: Phase::Published });
        if self.cells[cell] != turn.me.seen {
            actor.at = At::Look;
            turn.answer("post moved");
            return ("posts in vain", id);
        }
        let is_part = matches!(turn.op, Some(Op::Big(_))) && turn.me.part == 0;
        let kind = match turn.op {
            Some(Op::Clear(_)) => Kind::Clear,
            Some(Op::Big(_)) if is_part => Kind::Part,
            Some(Op::Retain(_) | Op::Big(_)) => Kind::Value,
            _ => Kind::Plain,
        };
        let is_kept = matches!(kind, Kind::Value | Kind::Clear);
        let phase = match turn.op {
            Some(Op::Reserve) => Phase::Reserved,
            _ if is_kept => Phase::Keep,
            _ => Phase::Published,
        };
        let mut event = Event { kind, key: 0, tag: 0, slot: 0, block: 0, head: id };
        if is_kept {
            (event.key, event.tag, event.slot, event.block) = (turn.key, turn.tag(), turn.me.slot, turn.me.own);
        }
        if matches!(turn.op, Some(Op::Big(_))) && !is_part {
            event.head = turn.me.head;
        }
        self.events[usize::from(id)] = event;
        self.cells[cell] = Cell { place: id + 1, phase };
        self.taken += 1;
        self.flush(turn.a);
        let actor = &mut self.actors[turn.a];
        if is_part {
            (actor.part, actor.head, actor.at) = (1, id, At::Look);
        } else if is_kept {
            actor.id = id;
            if turn.is(Mutant::UnannounceEarly) {
                self.announced[turn.a] = 0;
            }
            self.settle(turn.a, id, At::Withdraw);
        } else {
            actor.end();
        }
        ("POSTS event", id)
    }
}
