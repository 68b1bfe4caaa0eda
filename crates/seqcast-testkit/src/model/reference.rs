//! The state of the reference model: ids, messages, seats, keys and the places of retained events.

use std::collections::{HashMap, HashSet, VecDeque};

use seqcast::Claim;

use crate::model::op::Scoped;
use crate::model::{KEYS, ROOM, Topic};

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) topic: Topic,
    /// The key, and `true` if it is held for long.
    pub(super) unique: Option<(usize, bool)>,
    /// The key that the message is retained under.
    pub(super) retained: Option<usize>,
    /// `true` if the message is a clear.
    pub(super) clears: bool,
    pub(super) first_id: u64,
    pub(super) last_id: u64,
    /// The large id of its payload, if that is in a large block.
    pub(super) large: Option<u64>,
    pub(super) sender: u32,
}

/// How a message is posted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Special {
    pub(super) unique: Option<(usize, bool)>,
    pub(super) retained: Option<usize>,
    pub(super) clears: bool,
}

/// The content of a place of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing was posted: there was no room.
    Nothing,
    Value,
    Expired,
    Cleared,
}

/// A place of the table of retained events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) of: (Topic, usize),
    /// The last message of the key.
    pub(super) number: usize,
    pub(super) content: Content,
}

/// An event that a reader is handed in addition to those that it reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handed {
    Reset,
    Event(usize),
    UpToDate,
}

/// The ids for which a reader is to be brought up to date, and `true` if everything it knows is void.
pub(super) type Due = (u64, u64, bool);

/// The state of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A message, or one fragment of it.
    Part(usize),
    Reserved(u32),
    Void,
}

/// A message that a reader has read and not delivered yet.
#[derive(Clone, Debug)]
pub(super) enum Ahead {
    Waiting(u64),
    Event(usize),
    /// The first of them, how many, and `true` if it is because the reader was cut off.
    Missed(u64, u64, bool),
    /// A retained message that is gone from the ring and from the table.
    Forgotten(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Nothing,
    Own(u64),
    CopiedOut,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) posted: u64,
    pub(super) fragments: u64,
    pub(super) large: u64,
    pub(super) reservations: u64,
    pub(super) committed: u64,
    pub(super) delivered: u64,
    pub(super) skipped: u64,
    pub(super) missed: u64,
    pub(super) lagged: u64,
    pub(super) voided: u64,
    pub(super) waited: u64,
    pub(super) won: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) released: u64,
    pub(super) orphaned: u64,
    pub(super) retained: u64,
    pub(super) retained_full: u64,
    pub(super) resets: u64,
    pub(super) room_waits: u64,
    pub(super) room_refused: u64,
    pub(super) cut_off: u64,
}

/// The part of a reader that posts wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Must {
    /// `true` from when a post has waited for all of its patience until it reads on.
    pub(super) is_cut: bool,
    /// What it misses below this id is because it was cut off.
    pub(super) cut_off_below: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) number: u32,
    /// Messages that began before it are not its own.
    pub(super) start: u64,
    pub(super) next: u64,
    pub(super) ahead: VecDeque<Ahead>,
    /// For each sender: the message that the next fragment must belong to, and the id that it must have.
    pub(super) partial: HashMap<u32, (usize, u64)>,
    pub(super) pending: Pending,
    pub(super) local: VecDeque<(usize, Topic)>,
    pub(super) handlers: Vec<(usize, Scoped, bool)>,
    /// `true` if the reader is brought up to date after it has missed events.
    pub(super) resync: bool,
    /// `true` if the reader began with the retained events.
    pub(super) began_with_retained: bool,
    pub(super) due: Option<Due>,
    pub(super) handed: VecDeque<Handed>,
    pub(super) must: Option<Must>,
    /// The id up to which it may post without a look at the readers.
    pub(super) limit: u64,
    /// The first id at which a post looks at the limit.
    pub(super) room_end: u64,
    /// Every id below it is taken, and the poster has seen that.
    pub(super) known: u64,
    pub(super) counts: Counts,
}

impl Seat {
    /// Returns the first id that is not copied out. A reserved id that is waited for is not.
    pub(super) fn need(&self) -> u64 {
        let waiting = self.ahead.iter().find_map(|ahead| if let Ahead::Waiting(id) = ahead { Some(*id) } else { None });
        waiting.unwrap_or(self.next)
    }

    /// Returns `true` if what it misses at `id` is because it was cut off.
    pub(super) fn was_cut_off(&self, id: u64) -> bool {
        self.must.is_some_and(|must| id < must.cut_off_below)
    }

    /// Lets its posts take ids as far as there is room for `count` of them.
    pub(super) fn want(&mut self, count: u64) {
        self.room_end = self.limit.saturating_sub(count - 1);
    }
}

/// The model's knowledge of a unique key.
#[derive(Clone, Debug, Default)]
pub(super) struct Key {
    pub(super) decided: HashSet<u64>,
    /// The event that holds it for long.
    pub(super) held: Option<u64>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) slots: Vec<Slot>,
    pub(super) messages: Vec<Message>,
    pub(super) locals: usize,
    pub(super) handlers: usize,
    pub(super) seats: Vec<Option<Seat>>,
    pub(super) keys: [Key; KEYS.len()],
    pub(super) claims: [Option<(u32, Claim)>; KEYS.len()],
    pub(super) places: Vec<Place>,
    /// The id after the last message that the table has forgotten.
    pub(super) floor: u64,
    pub(super) capacity: u64,
    /// The number of public large blocks.
    pub(super) large_blocks: u64,
    /// The next large id.
    pub(super) next_large: u64,
    /// `true` if some worker has not read everything from the first id on. Only then may a claim come too late.
    pub(super) gaps: bool,
    /// The ids for which the bus said in this operation that it is too late to decide them.
    pub(super) late: Vec<u64>,
}

impl Model {
    pub(super) fn next_id(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Returns the entry at `id`; `None` if it was overwritten.
    pub(super) fn slot(&self, id: u64) -> Option<Slot> {
        (id + self.capacity >= self.next_id()).then(|| self.slots[id as usize])
    }

    /// For a reader that continues at `id`: returns the message that began before `id` and ends behind it, if the ring
    /// has all of it.
    pub(super) fn begun_before(&self, id: u64) -> HashMap<u32, (usize, u64)> {
        let begun = self.messages.iter().enumerate().filter(|(_, message)| {
            message.first_id < id && id <= message.last_id && message.first_id + self.capacity >= self.next_id()
        });
        begun.map(|(number, message)| (message.sender, (number, id))).collect()
    }

    /// Gives a key its place. Returns `false` if there is none.
    pub(super) fn place(&mut self, of: (Topic, usize), number: usize, content: Content) -> bool {
        if let Some(place) = self.places.iter_mut().find(|place| place.of == of) {
            (place.number, place.content) = (number, content);
            return true;
        }
        if self.places.len() == ROOM {
            let (live, dead) = self.places.iter().partition::<Vec<Place>, _>(|place| place.content == Content::Value);
            let held = dead.iter().filter(|place| place.content != Content::Nothing);
            let forgotten = held.map(|place| self.messages[place.number].last_id + 1).max();
            self.floor = self.floor.max(forgotten.unwrap_or(0));
            self.places = live;
        }
        let has_room = self.places.len() < ROOM;
        if has_room {
            self.places.push(Place { of, number, content });
        }
        has_room
    }

    pub(super) fn content_of(&self, of: (Topic, usize)) -> Option<Place> {
        self.places.iter().find(|place| place.of == of).copied()
    }

    /// Takes a large id for a payload in a large block.
    pub(super) fn take_large(&mut self, is_large: bool) -> Option<u64> {
        self.next_large += u64::from(is_large);
        is_large.then(|| self.next_large - 1)
    }

    /// Returns `true` if the message's payload was in a large block that has another one now.
    pub(super) fn is_overwritten(&self, message: &Message) -> bool {
        message.large.is_some_and(|id| id + self.large_blocks < self.next_large)
    }

    pub(super) fn post(&mut self, seat: usize, topic: Topic, special: Special, last_id: u64, is_large: bool) {
        let Special { unique, retained, clears } = special;
        let number = self.messages.len();
        let first_id = self.next_id();
        let large = self.take_large(is_large);
        let seat = self.seats[seat].as_mut().unwrap();
        seat.counts.posted += 1;
        seat.known = last_id + 1;
        seat.counts.large += u64::from(is_large);
        if last_id > first_id {
            seat.counts.fragments += last_id + 1 - first_id;
        }
        seat.counts.retained += u64::from(retained.is_some());
        self.messages.push(Message { topic, unique, retained, clears, first_id, last_id, large, sender: seat.number });
        self.slots.resize(last_id as usize + 1, Slot::Part(number));
    }

    /// Returns the undecided id that `seat` has reserved.
    pub(super) fn reserved_by(&self, seat: u32) -> Option<u64> {
        (0..self.next_id()).rev().find(|id| self.slots[*id as usize] == Slot::Reserved(seat))
    }
}
