//! Settling, and adoption.

use crate::search::NO;
use crate::setting::{Mutant, Op};
use crate::world::{At, Block, EMPTY, Kind, Phase, Said, Turn, World, actor_of, key_of};

impl World {
    /// Takes a step of settling.
    pub(crate) fn settling(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let id = turn.me.settling;
        let event = self.events[usize::from(id)];
        let own = usize::from(turn.me.own);
        match turn.me.at {
            At::S2 => self.read_slot(turn),
            At::S3a => {
                let actor = &mut self.actors[turn.a];
                if !turn.is(Mutant::NotPreparedAgain) {
                    actor.prepared = 0;
                }
                actor.at = At::S3b;
                let half = self.blocks[usize::from(event.block)].a;
                self.blocks[own] = Block { key: event.key, place: id + 1, a: half, b: 0 };
                Ok(("copies half of block", event.block))
            }
            At::S3b => {
                self.blocks[own].b = self.blocks[usize::from(event.block)].b;
                self.actors[turn.a].at = match turn.setting.mutant {
                    Mutant::NoRecheck | Mutant::RecheckBeforeCopy | Mutant::MarkFirst | Mutant::RecheckFirst => At::S5,
                    _ => At::S4,
                };
                Ok(("copies the rest", NO))
            }
            At::S4 => {
                if self.is_in(turn.setting, id, Phase::Keep) || turn.is(Mutant::NoRecheck) {
                    let copies = turn.is(Mutant::RecheckBeforeCopy) && event.block != turn.me.own;
                    self.actors[turn.a].at = if copies { At::S3a } else { At::S5 };
                } else {
                    turn.answer("not to be settled any more");
                    self.is_settled(turn.a);
                }
                Ok(("looks again at event", id))
            }
            At::S5 => self.exchange_slot(turn),
            _ => {
                if self.is_in(turn.setting, id, Phase::Keep) {
                    self.cells[World::cell_of(turn.setting, id)].phase = Phase::Published;
                }
                self.flush(turn.a);
                self.is_settled(turn.a);
                Ok(("marks event", id))
            }
        }
    }

    fn is_settled(&mut self, a: usize) {
        let actor = &mut self.actors[a];
        actor.at = actor.after_settle;
        (actor.after_settle, actor.settling) = (At::Start, 0);
        (actor.s_slot, actor.s_read, actor.s_stale) = (0, 0, 0);
    }

    /// S2.
    fn read_slot(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let id = turn.me.settling;
        let said = ("reads the slot for event", id);
        let event = self.events[usize::from(id)];
        let mut slot = usize::from(event.slot);
        if turn.is(Mutant::NoPlaceBefore) {
            let all = usize::from(turn.setting.places);
            let free = || self.keys[..all].iter().position(|&key| key == 0);
            match self.slot_of(event.key).or_else(free) {
                Some(found) => slot = found,
                None => return Err((said, "there is no place for an event that was posted".to_owned())),
            }
        }
        let held = self.held(slot);
        let is_own = event.block == turn.me.own;
        let actor = &mut self.actors[turn.a];
        (actor.s_slot, actor.s_read, actor.s_stale) = (slot as u8, 1, 0);
        if held.has(key_of(event.key), id.into()) {
            actor.at = At::S6;
            turn.answer(if held.place > u64::from(id) + 1 { "superseded" } else { "settled by another" });
            return Ok(said);
        }
        actor.at = match turn.setting.mutant {
            Mutant::RecheckFirst | Mutant::MarkFirst if is_own => At::S5,
            Mutant::RecheckBeforeCopy => At::S4,
            _ if is_own => At::S4,
            _ => At::S3a,
        };
        if turn.is(Mutant::MarkFirst) && self.is_in(turn.setting, id, Phase::Keep) {
            self.cells[World::cell_of(turn.setting, id)].phase = Phase::Published;
        }
        Ok(said)
    }

    /// S5. Asserts that the event put into a slot is whole, the right one, in its key's slot, and not older than the
    /// one it replaces.
    fn exchange_slot(&mut self, turn: &mut Turn<'_>) -> Result<Said, (Said, String)> {
        let id = turn.me.settling;
        let event = self.events[usize::from(id)];
        if turn.me.s_stale == 1 && !turn.is(Mutant::SlotStore) {
            turn.answer("slot moved");
            let actor = &mut self.actors[turn.a];
            (actor.at, actor.s_slot, actor.s_read, actor.s_stale) = (At::S2, 0, 0, 0);
            return Ok(("exchanges in vain", NO));
        }
        let said = ("EXCHANGES the slot for event", id);
        let broken = |text: String| Err((said, text));
        let (slot, own) = (usize::from(turn.me.s_slot), usize::from(turn.me.own));
        if turn.is(Mutant::NoPlaceBefore) && self.keys[slot] != event.key {
            if self.keys[slot] != 0 {
                return broken("two keys are in one place".to_owned());
            }
            self.keys[slot] = event.key;
        }
        self.blocks[own].place = id + 1;
        let (new, old) = (self.blocks[own], self.blocks[usize::from(self.slots[slot])]);
        if self.keys[slot] != event.key {
            return broken(format!("event {id} is put into a place that is key {}'s", self.keys[slot]));
        }
        if (new.key, new.a, new.b) != (event.key, event.tag, event.tag) {
            return broken(format!("event {id} is in the table as {new:?}: torn or not its value"));
        }
        if old.key == event.key && old.place > new.place {
            return broken(format!("event {id} takes the place of {}", old.place - 1));
        }
        if turn.is(Mutant::ClearForgets) && event.kind == Kind::Clear {
            self.blocks[own] = EMPTY;
            // The event is dead, so the floor may cover it.
            let floor = &mut self.floors[usize::from(turn.setting.bucket_of(event.key))];
            *floor = (*floor).max(id + 1);
        }
        let displaced = std::mem::replace(&mut self.slots[slot], turn.me.own);
        // Its new holder overwrites it at once.
        self.blocks[usize::from(displaced)] = EMPTY;
        for (a, actor) in self.actors.iter_mut().enumerate() {
            if a != turn.a && actor.s_read == 1 && actor.s_slot == turn.me.s_slot {
                actor.s_stale = 1;
            }
        }
        self.flush(turn.a);
        let actor = &mut self.actors[turn.a];
        (actor.own, actor.prepared, actor.at) = (displaced, 0, At::S6);
        Ok(said)
    }

    /// Takes a step of an adopter.
    pub(crate) fn adopt(&mut self, turn: &mut Turn<'_>) -> Said {
        if turn.me.at == At::AdoptEnd {
            self.announced[turn.a] = 0;
            self.actors[turn.a].end();
            return ("takes over", NO);
        }
        let said = ("looks for what the dead left in cell", turn.me.i);
        if turn.me.i >= turn.setting.capacity {
            (self.actors[turn.a].at, self.actors[turn.a].i) = (At::AdoptEnd, 0);
            return said;
        }
        self.actors[turn.a].i += 1;
        let cell = self.cells[usize::from(turn.me.i)];
        if cell.phase != Phase::Keep {
            return said;
        }
        let event = self.events[usize::from(cell.place - 1)];
        let is_its = match turn.setting.mutant {
            Mutant::AdoptOwnBlock => event.block == turn.me.own,
            Mutant::AdoptScratch => true,
            _ => actor_of(event.tag) == turn.a,
        };
        if is_its {
            turn.answer("adopter settles");
            self.settle(turn.a, cell.place - 1, At::AdoptScan);
        }
        said
    }

    /// Returns `true` if the reader `a` has something to read.
    pub(crate) fn has_news(&self, setting: &crate::setting::Setting, a: usize) -> bool {
        let next = self.actors[a].next;
        let is_reader = setting.programs[a].get(usize::from(self.actors[a].op)) == Some(&Op::Read);
        is_reader && self.cells[World::cell_of(setting, next)].place > next
    }
}
