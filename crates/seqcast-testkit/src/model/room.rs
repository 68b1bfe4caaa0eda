//! The model of posts that wait for workers that must read.

use crate::model::Topic;
use crate::model::reference::{Content, Model, Seat};

/// The reader for which there is no room, as an error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    pub(super) seat: u32,
    pub(super) own: bool,
    pub(super) lag: u64,
}

impl Model {
    /// Looks for room for the ids from `id` to `id + count - 1`, for a post of `slot`.
    fn look_for_room(&mut self, slot: usize, id: u64, count: u64) -> Result<(), NoRoom> {
        let mut readers: Vec<&Seat> =
            self.seats.iter().flatten().filter(|seat| seat.must.is_some_and(|must| !must.is_cut)).collect();
        readers.sort_by_key(|seat| (seat.need(), seat.number));
        let slowest = readers.first().filter(|seat| seat.need() < id).map(|seat| (seat.number, seat.need()));
        let least = slowest.map_or(id, |(_, need)| need);
        let capacity = self.capacity;
        let poster = self.seats[slot].as_mut().unwrap();
        poster.limit = poster.limit.max(least + capacity);
        if id + count <= poster.limit {
            poster.want(count);
            return Ok(());
        }
        let (seat, need) = slowest.expect("without a reader there is room for a whole ring");
        Err(NoRoom { seat, own: seat == poster.number, lag: id - need })
    }

    /// One attempt to find room for a post of `ids` ids, at the next id. `retained` is the key of a retained event,
    /// which takes a place. Returns `false` if there is none.
    fn attempt(&mut self, slot: usize, ids: u64, retained: Option<(Topic, usize)>) -> Result<bool, NoRoom> {
        let next_id = self.next_id();
        let poster = self.seats[slot].as_mut().unwrap();
        poster.known = poster.known.max(poster.next);
        if let Some(of) = retained {
            poster.want(1);
            let known = poster.known;
            if known >= poster.room_end {
                self.look_for_room(slot, known, 1)?;
            }
            if self.content_of(of).is_none() && !self.place(of, 0, Content::Nothing) {
                return Ok(false);
            }
        }
        let poster = self.seats[slot].as_mut().unwrap();
        if ids > 1 {
            poster.want(ids);
        }
        if next_id >= poster.room_end {
            self.look_for_room(slot, next_id, ids)?;
        }
        if ids > 1 {
            self.seats[slot].as_mut().unwrap().want(1);
        }
        Ok(true)
    }

    /// Makes room for a post of `ids` ids: if it `waits`, by cutting readers off, as no reader reads meanwhile. Returns
    /// `false` if a retained event has no place.
    pub(super) fn make_room_for(
        &mut self,
        slot: usize,
        ids: u64,
        waits: bool,
        retained: Option<(Topic, usize)>,
    ) -> Result<bool, NoRoom> {
        let waits = waits && self.seats[slot].as_ref().unwrap().must.is_none();
        let mut has_waited = false;
        let made = loop {
            let full = match self.attempt(slot, ids, retained) {
                Err(full) if waits => full,
                made => break made,
            };
            has_waited = true;
            let slowest = self.seats.iter_mut().flatten().find(|seat| seat.number == full.seat).unwrap();
            slowest.must.as_mut().unwrap().is_cut = true;
        };
        let counts = &mut self.seats[slot].as_mut().unwrap().counts;
        counts.room_waits += u64::from(has_waited);
        counts.room_refused += u64::from(made.is_err());
        made
    }

    pub(super) fn make_room(&mut self, slot: usize, ids: u64, waits: bool) -> Result<(), NoRoom> {
        self.make_room_for(slot, ids, waits, None).map(drop)
    }
}
