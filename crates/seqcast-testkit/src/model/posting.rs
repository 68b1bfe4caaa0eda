//! The results of posts, compared with the model's.

use seqcast::{Cause, library};

use crate::model::real::payload;
use crate::model::reference::Special;
use crate::model::room::NoRoom;
use crate::model::{Both, EVENTS, LIBRARY, PATIENCE, RETAINED_KEYS, SOURCES, Topic};

impl Both {
    /// Returns the event that the library posts for a worker that joins or leaves.
    pub(super) fn announced(&mut self, slot: usize, event: usize, len: usize) {
        if self.announce {
            let name = [library::STARTED, library::STOPPING][event].event();
            let ids = self.ids_of(library::SOURCE.len() + name.len(), len, Special::default()).unwrap();
            let last_id = self.model.next_id() + ids - 1;
            // It waits for no reader.
            if self.model.make_room(slot, ids, false).is_ok() {
                self.model.post(slot, (LIBRARY, event), Special::default(), last_id, false);
            }
        }
    }

    /// Returns the bytes before the payload of an event with names of this length.
    fn prefix_len(names: usize, special: Special) -> usize {
        let key = special.retained.map(|key| RETAINED_KEYS[key].len());
        let head = if special.unique.is_some() || key.is_some() { 48 } else { 16 };
        (head + names + key.unwrap_or(0)).next_multiple_of(16)
    }

    /// Returns `true` if the payload of such an event goes into a large block.
    pub(super) fn is_large(&self, names: usize, payload: usize, special: Special) -> bool {
        let prefix_len = Self::prefix_len(names, special);
        prefix_len + payload > self.block_size && payload <= self.large_size && prefix_len + 16 <= self.block_size
    }

    /// Returns the number of ids of an event with names and payload of these lengths. `None` if it is too long.
    pub(super) fn ids_of(&self, names: usize, payload: usize, special: Special) -> Option<u64> {
        let is_retained = special.retained.is_some();
        let len = Self::prefix_len(names, special) + payload;
        let (longest, fragment_head) = if is_retained { (self.longest_retained, 64) } else { (self.longest, 32) };
        let is_one = len <= self.block_size || self.is_large(names, payload, special);
        let ids = if is_one { 1 } else { len.div_ceil(self.block_size - fragment_head) };
        (len <= longest).then_some(ids as u64)
    }

    /// Compares an error for a lack of room.
    pub(super) fn assert_full(error: &seqcast::Error, full: NoRoom) {
        let Cause::Full { reader, own, lag, patience, .. } = error.cause() else { panic!("{error}") };
        assert_eq!(NoRoom { seat: reader.seat, own: *own, lag: *lag }, full);
        assert_eq!(*patience, PATIENCE);
    }

    /// Records the result of a post, which waits for room or not.
    pub(super) fn posted(
        &mut self,
        slot: usize,
        topic: Topic,
        len: usize,
        special: Special,
        result: seqcast::Result<u64>,
        waits: bool,
    ) {
        let names = SOURCES[topic.0].len() + EVENTS[topic.1].len();
        let ids = self.ids_of(names, payload(0, len).len(), special);
        if let Some(ids) = ids
            && let Err(full) = self.model.make_room(slot, ids, waits)
        {
            return Self::assert_full(&result.unwrap_err(), full);
        }
        self.in_room(slot, topic, len, special, result);
    }

    /// Records the result of a post for which there was room.
    pub(super) fn in_room(
        &mut self,
        slot: usize,
        topic: Topic,
        len: usize,
        special: Special,
        result: seqcast::Result<u64>,
    ) {
        let names = SOURCES[topic.0].len() + EVENTS[topic.1].len();
        let ids = self.ids_of(names, payload(0, len).len(), special);
        let longest = if special.retained.is_some() { self.longest_retained } else { self.longest };
        match (result, ids) {
            (Ok(last_id), Some(ids)) => {
                assert_eq!(last_id + 1 - self.model.next_id(), ids, "{len} bytes");
                assert!(ids <= self.model.capacity / 4);
                let is_large = self.is_large(names, payload(0, len).len(), special);
                self.model.post(slot, topic, special, last_id, is_large);
            }
            (Err(error), None) => match error.cause() {
                Cause::PayloadTooLarge { max, .. } => assert_eq!(*max, longest),
                _ => panic!("{error}"),
            },
            (result, ids) => panic!("{result:?} of {len} bytes, which take {ids:?} ids"),
        }
    }
}
