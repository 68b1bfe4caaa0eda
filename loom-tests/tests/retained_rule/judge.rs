//! The assertions: for every state, and for a reader each time it is up to date.

use crate::setting::{Mutant, Setting};
use crate::world::{Cell, KEYS, Kind, Phase, World, key_of};

impl World {
    /// Returns the place of the last event of `key` before id `end`.
    fn last_before(&self, key: u8, end: u8) -> u8 {
        let is_of_key = |id: &u8| {
            let event = &self.events[usize::from(*id)];
            event.key == key && matches!(event.kind, Kind::Value | Kind::Clear)
        };
        (0..end.min(self.taken)).rev().find(is_of_key).map_or(0, |id| id + 1)
    }

    /// G13 and G15: the last event of each key is in the table, or is still to be settled, or is at or below the floor.
    /// If the event of a key is still to be settled, the key has a place.
    pub(crate) fn judge(&self, setting: &Setting) -> Result<(), String> {
        for key in 1..KEYS as u8 {
            let last = self.last_before(key, self.taken);
            let Some(id) = last.checked_sub(1) else { continue };
            let is_kept = self.slot_of(key).is_some_and(|slot| self.held(slot).has(key_of(key), id.into()));
            let floor = self.floors[usize::from(setting.bucket_of(key))];
            if !self.is_in(setting, id, Phase::Keep) && !is_kept && floor < last {
                return Err(format!("event {id} of key {key} is neither in the table nor to be settled: lost"));
            }
        }
        for &Cell { place, phase } in &self.cells[..usize::from(setting.capacity)] {
            let Some(id) = place.checked_sub(1) else { continue };
            let event = &self.events[usize::from(id)];
            let has_place = self.keys[usize::from(event.slot)] == event.key;
            if phase == Phase::Keep && !has_place && setting.mutant != Mutant::NoPlaceBefore {
                return Err(format!("event {id} is to be settled and its key has lost its place"));
            }
        }
        Ok(())
    }

    /// G14, for a reader that knows everything before its next id.
    pub(crate) fn judge_view(&self, a: usize) -> Result<(), String> {
        let (next, view) = (self.actors[a].next, self.actors[a].view);
        for key in 1..KEYS as u8 {
            let truth = self.last_before(key, next);
            let seen = view[usize::from(key)];
            if seen > truth {
                return Err(format!(
                    "reader {a} before {next} knows of event {} of key {key}, which is beyond",
                    seen - 1
                ));
            }
            // It will read a newer one live, or receive it when it catches up again.
            if seen == truth || self.last_before(key, self.taken) > truth {
                continue;
            }
            let event = truth - 1;
            if !(self.is_over(event) && seen == 0) {
                let text =
                    format!("reader {a} before {next} has missed event {event} of key {key}: it knows of {seen}");
                return Err(text + " (plus one)");
            }
        }
        Ok(())
    }

    /// Hands event `id` to reader `a`.
    pub(crate) fn hand_over(&mut self, a: usize, id: u8) -> Result<(), String> {
        let key = self.events[usize::from(id)].key;
        let actor = &mut self.actors[a];
        if id < actor.last {
            return Err(format!("reader {a} is handed event {id} after {}", actor.last - 1));
        }
        actor.last = id + 1;
        actor.view[usize::from(key)] = id + 1;
        self.observe(key, id + 1);
        Ok(())
    }
}
