//! The bus against a reference model of plain vectors and maps. Several workers in one process do random operations,
//! and each result is compared with the model's prediction. `tests/model.rs` draws the operations with proptest, and
//! the fuzz target `model` from a fuzzer's bytes.
//!
//! The model knows ids, laps, fragments, reservations, claims, retained events, workers that must read and handlers,
//! but no cells, blocks, buckets, slots or routes. It takes one answer from the bus, because the guarantees leave it
//! open, and checks it as far as possible: whether a claim is too late to be decided.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::library;
use seqcast::{
    Bus, Cause, Claim, Claimed, Event, Handler, Polled, Registration, Reservation, Scope, SegmentOptions, Start,
    Trouble, Unique, Worker, WorkerOptions,
};

use crate::bus::{HOUR, of_seat};
use crate::hostile::draw::Draw;

pub const WORKERS: usize = 3;
/// The sources and events of topics in operations.
pub const SOURCES: [&str; 2] = ["cache", "health"];
pub const EVENTS: [&str; 2] = ["stale", "down"];
/// Stands for the library's own source in a topic.
const LIBRARY: usize = SOURCES.len();
pub const KEYS: [&str; 3] = ["key 0", "key 1", "key 2"];
/// The keys of retained events.
pub const RETAINED_KEYS: [&str; 2] = ["", "key"];
/// The number of keys for which there is room: fewer than the combinations of topics and keys.
const ROOM: usize = 4;
/// They stand for the library's local events.
const RESET: usize = usize::MAX;
const UP_TO_DATE: usize = usize::MAX - 1;
/// A ttl that has ended before any worker looks.
const INSTANT: Duration = Duration::from_nanos(1);
/// How long a post waits for a worker that must read.
const PATIENCE: Duration = Duration::from_micros(2);
/// Stands for the reporter in the order of calls. The number of such a call is [`lag_number`].
const REPORTER: usize = usize::MAX;

pub type Topic = (usize, usize);

/// A handler's scope: all, a source, or some events of a source by their bits.
#[derive(Clone, Copy, Debug)]
pub enum Scoped {
    All,
    Source(usize),
    Events(usize, u8),
}

/// The start of a worker.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Now,
    Oldest,
    At(u64),
    After(u64),
    Retained,
}

/// An operation of one of the workers.
#[derive(Clone, Debug)]
pub enum Op {
    Post { worker: usize, topic: Topic, len: usize },
    PostUnique { worker: usize, topic: Topic, len: usize, key: usize, lasting: bool },
    PostLocal { worker: usize, topic: Topic },
    Poll { worker: usize, most: u64 },
    Reserve { worker: usize },
    Commit { worker: usize, topic: Topic, len: usize },
    DropReservation { worker: usize },
    Claim { worker: usize, key: usize, lasting: bool },
    Release { worker: usize },
    ReleaseClaim { worker: usize, key: usize },
    Register { worker: usize, scope: Scoped, weak: bool },
    Unregister { worker: usize, nth: usize },
    DropOwner { worker: usize, nth: usize },
    Leave { worker: usize },
    Join { worker: usize, from: From, resync: bool, must: bool },
    TryPost { worker: usize, topic: Topic, len: usize },
    Retain { worker: usize, topic: Topic, key: usize, len: usize, lasting: bool },
    Clear { worker: usize, topic: Topic, key: usize },
    Get { worker: usize, topic: Topic, key: usize },
}

impl Op {
    /// Draws an operation on a bus that assigns `next_id` next, and on which no event is longer than `longest`.
    pub fn draw(draw: &mut impl Draw, next_id: u64, longest: usize) -> Op {
        let mut below = |bound: usize| draw.below(bound as u64) as usize;
        let kind = below(42);
        let worker = below(WORKERS);
        match kind {
            0..=6 => Op::Post { worker, topic: (below(2), below(2)), len: drawn_len(&mut below, longest) },
            7..=11 => {
                let (topic, len) = ((below(2), below(2)), drawn_len(&mut below, longest));
                Op::PostUnique { worker, topic, len, key: below(KEYS.len()), lasting: below(4) > 0 }
            }
            12 => Op::PostLocal { worker, topic: (below(2), below(2)) },
            13..=15 => Op::Poll { worker, most: 1 + below(4) as u64 },
            16..=18 => Op::Poll { worker, most: u64::MAX },
            19 | 20 => Op::Reserve { worker },
            21 | 22 => Op::Commit { worker, topic: (below(2), below(2)), len: below(80) },
            23 => Op::DropReservation { worker },
            24 => Op::Claim { worker, key: below(KEYS.len()), lasting: below(4) > 0 },
            25 => Op::ReleaseClaim { worker, key: below(KEYS.len()) },
            26 => Op::Release { worker },
            27 | 28 => {
                let scope = match below(4) {
                    0 | 1 => Scoped::All,
                    2 => Scoped::Source(below(SOURCES.len())),
                    _ => Scoped::Events(below(SOURCES.len()), 1 + below(3) as u8),
                };
                Op::Register { worker, scope, weak: below(2) > 0 }
            }
            29 => match below(2) {
                0 => Op::Unregister { worker, nth: below(8) },
                _ => Op::DropOwner { worker, nth: below(8) },
            },
            30 => Op::Leave { worker },
            31..=35 => {
                let (topic, len) = ((below(2), below(2)), drawn_len(&mut below, longest));
                Op::Retain { worker, topic, key: below(RETAINED_KEYS.len()), len, lasting: below(5) > 0 }
            }
            36 => Op::Clear { worker, topic: (below(2), below(2)), key: below(RETAINED_KEYS.len()) },
            37 | 38 => Op::Get { worker, topic: (below(2), below(2)), key: below(RETAINED_KEYS.len()) },
            39 | 40 => Op::TryPost { worker, topic: (below(2), below(2)), len: drawn_len(&mut below, longest) },
            _ => {
                let (resync, must) = (below(2) > 0, below(2) > 0);
                let from = match below(6) {
                    0 => From::Now,
                    1 => From::Oldest,
                    2 => From::After(draw.below(next_id + 3)),
                    3 => From::At(draw.below(next_id + 3)),
                    _ => From::Retained,
                };
                Op::Join { worker, from, resync, must }
            }
        }
    }
}

/// A lap, as a number.
fn lag_number(missed: u64, cut_off: bool) -> usize {
    2 * missed as usize + usize::from(cut_off)
}

fn drawn_len(below: &mut impl FnMut(usize) -> usize, longest: usize) -> usize {
    if below(4) == 0 { below(longest + 20) } else { below(40) }
}

impl Scoped {
    fn real(self) -> Scope {
        match self {
            Scoped::All => Scope::All,
            Scoped::Source(source) => Scope::source(SOURCES[source]),
            Scoped::Events(source, bits) => {
                let events = EVENTS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, event)| *event);
                Scope::events(SOURCES[source], events)
            }
        }
    }

    /// Returns the position of its handlers in the calling order, if it takes the topic at all.
    fn rank(self, (source, event): Topic) -> Option<u8> {
        match self {
            Scoped::All => Some(0),
            Scoped::Source(of) => (of == source).then_some(1),
            Scoped::Events(of, bits) => (of == source && bits >> event & 1 == 1).then_some(2),
        }
    }
}

/// A call of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    handler: usize,
    /// `None` for local events.
    id: Option<u64>,
    /// The number of the event, among the posted or among the local ones.
    number: usize,
}

// ---- the real bus ----

/// The calls of all real handlers, and what came with them.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    calls: Vec<Call>,
    /// The claims of unique events, with the events' ids.
    claims: Vec<(Claim, u64)>,
}

struct Noting {
    handler: usize,
    calls: Calls,
}

impl Handler for Noting {
    fn handle(&self, event: &Event<'_>) -> Result<(), seqcast::HandlerError> {
        let number = match event.local::<usize>() {
            Some(number) => *number,
            None if event.topic() == library::RESET => RESET,
            None if event.topic() == library::UP_TO_DATE => UP_TO_DATE,
            // The library's own events carry the label, which is the number here.
            None if event.source() == library::SOURCE => std::str::from_utf8(event.bytes())?.parse()?,
            None => number_of(event.bytes())?,
        };
        let Noted { calls, claims } = &mut *self.calls.0.lock().unwrap();
        calls.push(Call { handler: self.handler, id: event.id(), number });
        claims.extend(event.claim().zip(event.id()));
        Ok(())
    }
}

/// Bytes from which [`number_of`] reads the number back, and a check that they are complete.
fn payload(number: usize, len: usize) -> Vec<u8> {
    let head = [&number.to_le_bytes()[..4], &len.to_le_bytes()[..4]].concat();
    head.into_iter().chain((8..).map(|i: usize| ((i * 31) ^ (number * 7)) as u8)).take(len.max(8)).collect()
}

fn number_of(bytes: &[u8]) -> Result<usize, seqcast::HandlerError> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
    let (number, len) = (word(0), word(4));
    if bytes == payload(number, len) { Ok(number) } else { Err(seqcast::HandlerError::msg("torn")) }
}

struct Real {
    worker: Worker,
    reservation: Option<Reservation<Worker>>,
    handlers: Vec<(Registration, Option<Arc<Noting>>)>,
    /// The claims of the unique events that it ran, and the events' ids.
    claims: Vec<(Claim, u64)>,
    late: Arc<Mutex<Vec<u64>>>,
    /// Unexpected reports.
    wrong: Arc<Mutex<Vec<String>>>,
    /// `true` if a commit of the reservation has posted or came too late.
    committed: bool,
}

// ---- the model ----

#[derive(Clone, Debug)]
struct Message {
    topic: Topic,
    /// The key, and `true` if it is held for long.
    unique: Option<(usize, bool)>,
    /// The key that the message is retained under.
    retained: Option<usize>,
    /// `true` if the message is a clear.
    clears: bool,
    first_id: u64,
    last_id: u64,
    /// The large id of its payload, if that is in a large block.
    large: Option<u64>,
    sender: u32,
}

/// How a message is posted.
#[derive(Clone, Copy, Debug, Default)]
struct Special {
    unique: Option<(usize, bool)>,
    retained: Option<usize>,
    clears: bool,
}

/// The content of a place of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Nothing was posted: there was no room.
    Nothing,
    Value,
    Expired,
    Cleared,
}

/// A place of the table of retained events.
#[derive(Clone, Copy, Debug)]
struct Place {
    of: (Topic, usize),
    /// The last message of the key.
    number: usize,
    content: Content,
}

/// An event that a reader is handed in addition to those that it reads.
#[derive(Clone, Copy, Debug)]
enum Handed {
    Reset,
    Event(usize),
    UpToDate,
}

/// The ids for which a reader is to be brought up to date, and `true` if everything it knows is void.
type Due = (u64, u64, bool);

/// The state of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// A message, or one fragment of it.
    Part(usize),
    Reserved(u32),
    Void,
}

/// A message that a reader has read and not delivered yet.
#[derive(Clone, Debug)]
enum Ahead {
    Waiting(u64),
    Event(usize),
    /// The first of them, how many, and `true` if it is because the reader was cut off.
    Missed(u64, u64, bool),
    /// A retained message that is gone from the ring and from the table.
    Forgotten(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    Own(u64),
    CopiedOut,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    posted: u64,
    fragments: u64,
    large: u64,
    reservations: u64,
    committed: u64,
    delivered: u64,
    skipped: u64,
    missed: u64,
    lagged: u64,
    voided: u64,
    waited: u64,
    won: u64,
    lost: u64,
    late: u64,
    released: u64,
    orphaned: u64,
    retained: u64,
    retained_full: u64,
    resets: u64,
    room_waits: u64,
    room_refused: u64,
    cut_off: u64,
}

/// The part of a reader that posts wait for.
#[derive(Clone, Copy, Debug)]
struct Must {
    /// `true` from when a post has waited for all of its patience until it reads on.
    is_cut: bool,
    /// What it misses below this id is because it was cut off.
    cut_off_below: u64,
}

/// The reader for which there is no room, as an error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoRoom {
    seat: u32,
    own: bool,
    lag: u64,
}

#[derive(Clone, Debug)]
struct Seat {
    number: u32,
    /// Messages that began before it are not its own.
    start: u64,
    next: u64,
    ahead: VecDeque<Ahead>,
    /// For each sender: the message that the next fragment must belong to, and the id that it must have.
    partial: HashMap<u32, (usize, u64)>,
    pending: Pending,
    local: VecDeque<(usize, Topic)>,
    handlers: Vec<(usize, Scoped, bool)>,
    /// `true` if the reader is brought up to date after it has missed events.
    resync: bool,
    /// `true` if the reader began with the retained events.
    began_with_retained: bool,
    due: Option<Due>,
    handed: VecDeque<Handed>,
    must: Option<Must>,
    /// The id up to which it may post without a look at the readers.
    limit: u64,
    /// The first id at which a post looks at the limit.
    room_end: u64,
    /// Every id below it is taken, and the poster has seen that.
    known: u64,
    counts: Counts,
}

impl Seat {
    /// Returns the first id that is not copied out. A reserved id that is waited for is not.
    fn need(&self) -> u64 {
        let waiting = self.ahead.iter().find_map(|ahead| if let Ahead::Waiting(id) = ahead { Some(*id) } else { None });
        waiting.unwrap_or(self.next)
    }

    /// Returns `true` if what it misses at `id` is because it was cut off.
    fn was_cut_off(&self, id: u64) -> bool {
        self.must.is_some_and(|must| id < must.cut_off_below)
    }

    /// Lets its posts take ids as far as there is room for `count` of them.
    fn want(&mut self, count: u64) {
        self.room_end = self.limit.saturating_sub(count - 1);
    }
}

/// The model's knowledge of a unique key.
#[derive(Clone, Debug, Default)]
struct Key {
    decided: HashSet<u64>,
    /// The event that holds it for long.
    held: Option<u64>,
}

#[derive(Default)]
struct Model {
    slots: Vec<Slot>,
    messages: Vec<Message>,
    locals: usize,
    handlers: usize,
    seats: Vec<Option<Seat>>,
    keys: [Key; KEYS.len()],
    claims: [Option<(u32, Claim)>; KEYS.len()],
    places: Vec<Place>,
    /// The id after the last message that the table has forgotten.
    floor: u64,
    capacity: u64,
    /// The number of public large blocks.
    large_blocks: u64,
    /// The next large id.
    next_large: u64,
    /// `true` if some worker has not read everything from the first id on. Only then may a claim come too late.
    gaps: bool,
    /// The ids for which the bus said in this operation that it is too late to decide them.
    late: Vec<u64>,
}

/// The result of one reading step.
enum Step {
    Event(usize),
    Handed(Handed),
    /// As [`Ahead::Missed`].
    Missed(u64, u64, bool),
    PendingOwn(u64),
    Empty,
}

enum Resolved {
    Event(usize),
    Nothing,
    Headless,
    Forgotten,
}

impl Model {
    fn next_id(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Returns the entry at `id`; `None` if it was overwritten.
    fn slot(&self, id: u64) -> Option<Slot> {
        (id + self.capacity >= self.next_id()).then(|| self.slots[id as usize])
    }

    /// For a reader that continues at `id`: returns the message that began before `id` and ends behind it, if the ring
    /// has all of it.
    fn begun_before(&self, id: u64) -> HashMap<u32, (usize, u64)> {
        let begun = self.messages.iter().enumerate().filter(|(_, message)| {
            message.first_id < id && id <= message.last_id && message.first_id + self.capacity >= self.next_id()
        });
        begun.map(|(number, message)| (message.sender, (number, id))).collect()
    }

    /// Gives a key its place. Returns `false` if there is none.
    fn place(&mut self, of: (Topic, usize), number: usize, content: Content) -> bool {
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

    fn content_of(&self, of: (Topic, usize)) -> Option<Place> {
        self.places.iter().find(|place| place.of == of).copied()
    }

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
    fn make_room_for(
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

    fn make_room(&mut self, slot: usize, ids: u64, waits: bool) -> Result<(), NoRoom> {
        self.make_room_for(slot, ids, waits, None).map(drop)
    }

    /// Takes a large id for a payload in a large block.
    fn take_large(&mut self, is_large: bool) -> Option<u64> {
        self.next_large += u64::from(is_large);
        is_large.then(|| self.next_large - 1)
    }

    /// Returns `true` if the message's payload was in a large block that has another one now.
    fn is_overwritten(&self, message: &Message) -> bool {
        message.large.is_some_and(|id| id + self.large_blocks < self.next_large)
    }

    fn post(&mut self, seat: usize, topic: Topic, special: Special, last_id: u64, is_large: bool) {
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

    /// Returns the handlers of a topic in calling order.
    fn handlers_of(seat: &Seat, topic: Topic) -> Vec<usize> {
        let ranked = |rank| {
            seat.handlers
                .iter()
                .filter(move |(_, scope, live)| *live && scope.rank(topic) == Some(rank))
                .map(|(handler, ..)| *handler)
        };
        (0..3).flat_map(ranked).collect()
    }

    /// Returns what `id`, which holds a part of message `number`, means to the reader.
    fn resolve(&mut self, seat: &mut Seat, id: u64, number: usize) -> Resolved {
        let message = self.messages[number].clone();
        if message.last_id > message.first_id {
            let expected = seat.partial.remove(&message.sender);
            let continues = id == message.first_id || expected == Some((number, id));
            if continues && id < message.last_id {
                seat.partial.insert(message.sender, (number, id + 1));
                return Resolved::Nothing;
            }
            if !continues {
                if id == message.last_id
                    && let Some(key) = message.retained
                    && (seat.resync || seat.began_with_retained)
                {
                    return self.complete(seat, (message.topic, key), number);
                }
                if id == message.last_id && message.first_id >= seat.start {
                    self.gaps = true;
                    return Resolved::Headless;
                }
                return Resolved::Nothing;
            }
        }
        // No worker here handles clears.
        if message.clears || Self::handlers_of(seat, message.topic).is_empty() {
            seat.counts.skipped += 1;
            self.gaps |= message.unique.is_some();
            return Resolved::Nothing;
        }
        if self.is_overwritten(&message) {
            self.gaps = true;
            return Resolved::Headless;
        }
        match message.unique {
            Some((key, lasting)) if !self.decide(seat, id, key, lasting) => Resolved::Nothing,
            _ => Resolved::Event(number),
        }
    }

    /// Returns the outcome of a retained message that the reader has not read whole.
    fn complete(&self, seat: &Seat, of: (Topic, usize), number: usize) -> Resolved {
        match self.content_of(of) {
            Some(place) if place.number == number && place.content != Content::Cleared => {
                let is_wanted = !Self::handlers_of(seat, of.0).is_empty();
                if is_wanted { Resolved::Event(number) } else { Resolved::Nothing }
            }
            Some(place) if place.number > number => Resolved::Nothing,
            _ => Resolved::Forgotten,
        }
    }

    /// Notes that the reader may lack retained events.
    fn catch_up(seat: &mut Seat, from: u64, to: u64, reset: bool) {
        if seat.resync || reset {
            seat.due = Some((from, to, reset));
        }
    }

    /// Copies the events that the reader will be handed.
    fn gather(&self, seat: &mut Seat) {
        let Some((from, to, reset)) = seat.due.take() else { return };
        let reset = reset || self.floor > from;
        let mut events: Vec<usize> = (self.places.iter())
            .filter(|place| {
                let id = self.messages[place.number].last_id;
                let is_wanted = !Self::handlers_of(seat, place.of.0).is_empty();
                place.content == Content::Value && id < to && (reset || id >= from) && is_wanted
            })
            .map(|place| place.number)
            .collect();
        events.sort_unstable();
        seat.handed.extend((reset && from > 0).then_some(Handed::Reset));
        seat.handed.extend(events.into_iter().map(Handed::Event));
        seat.handed.push_back(Handed::UpToDate);
    }

    /// Returns `true` if the reader is the one that runs the unique event at `id`.
    fn decide(&mut self, seat: &mut Seat, id: u64, key: usize, lasting: bool) -> bool {
        let key = &mut self.keys[key];
        if self.late.contains(&id) {
            assert!(self.gaps, "too late at id {id}, although all workers have read everything");
            seat.counts.late += 1;
            return false;
        }
        if !key.decided.insert(id) || key.held.is_some() {
            seat.counts.lost += 1;
            return false;
        }
        key.held = lasting.then_some(id);
        seat.counts.won += 1;
        true
    }

    /// Skips overwritten ids.
    fn skip_lap(&mut self, seat: &mut Seat) -> (u64, bool) {
        let cut_off = seat.was_cut_off(seat.next);
        let to = (self.next_id() - self.capacity + self.capacity / 8).max(seat.next + 1);
        let missed = to - seat.next;
        seat.next = to;
        self.gaps = true;
        (missed, cut_off)
    }

    fn read(&mut self, seat: &mut Seat) -> Step {
        if let Some(must) = seat.must.as_mut().filter(|must| must.is_cut) {
            *must = Must { is_cut: false, cut_off_below: self.next_id() };
            seat.counts.cut_off += 1;
        }
        loop {
            self.gather(seat);
            if let Some(handed) = seat.handed.pop_front() {
                return Step::Handed(handed);
            }
            match seat.ahead.front().cloned() {
                Some(Ahead::Waiting(id)) => match self.slot(id) {
                    Some(Slot::Reserved(number)) if number == seat.number => {
                        self.copy_ahead(seat);
                        return Step::PendingOwn(id);
                    }
                    Some(Slot::Reserved(_)) => {
                        // No worker waits for long here.
                        self.slots[id as usize] = Slot::Void;
                        seat.counts.voided += 1;
                    }
                    Some(Slot::Void) => drop(seat.ahead.pop_front()),
                    Some(Slot::Part(number)) => {
                        seat.ahead.pop_front();
                        match self.resolve(seat, id, number) {
                            Resolved::Event(number) => return Step::Event(number),
                            Resolved::Forgotten => Self::catch_up(seat, id.max(1), id + 1, true),
                            Resolved::Nothing => {}
                            Resolved::Headless => return Step::Missed(id, 1, seat.was_cut_off(id)),
                        }
                    }
                    None => {
                        seat.ahead.pop_front();
                        self.gaps = true;
                        return Step::Missed(id, 1, seat.was_cut_off(id));
                    }
                },
                Some(Ahead::Event(number)) => {
                    seat.ahead.pop_front();
                    return Step::Event(number);
                }
                Some(Ahead::Missed(first, missed, cut_off)) => {
                    seat.ahead.pop_front();
                    return Step::Missed(first, missed, cut_off);
                }
                Some(Ahead::Forgotten(id)) => {
                    seat.ahead.pop_front();
                    Self::catch_up(seat, id.max(1), id + 1, true);
                }
                None => {
                    if seat.next == self.next_id() {
                        return Step::Empty;
                    }
                    match self.take_in(seat) {
                        Some(Ahead::Event(number)) => return Step::Event(number),
                        Some(Ahead::Missed(first, missed, cut_off)) => return Step::Missed(first, missed, cut_off),
                        Some(Ahead::Forgotten(id)) => Self::catch_up(seat, id.max(1), id + 1, true),
                        Some(waiting) => seat.ahead.push_back(waiting),
                        None => {}
                    }
                }
            }
        }
    }

    /// Reads the entry at the reader's next id.
    fn take_in(&mut self, seat: &mut Seat) -> Option<Ahead> {
        let id = seat.next;
        let Some(slot) = self.slot(id) else {
            let (missed, cut_off) = self.skip_lap(seat);
            return Some(Ahead::Missed(id, missed, cut_off));
        };
        seat.next += 1;
        match slot {
            Slot::Void => None,
            Slot::Reserved(_) => {
                seat.counts.waited += 1;
                Some(Ahead::Waiting(id))
            }
            Slot::Part(number) => match self.resolve(seat, id, number) {
                Resolved::Event(number) => Some(Ahead::Event(number)),
                Resolved::Nothing => None,
                Resolved::Headless => Some(Ahead::Missed(id, 1, seat.was_cut_off(id))),
                Resolved::Forgotten => Some(Ahead::Forgotten(id)),
            },
        }
    }

    fn copy_ahead(&mut self, seat: &mut Seat) {
        // Unique events that are claimed now, before the reserved ids in front of them are read.
        self.gaps |= seat.next < self.next_id();
        while seat.next < self.next_id() {
            let taken = self.take_in(seat);
            seat.ahead.extend(taken);
        }
    }

    fn has_news(&self, seat: &Seat) -> bool {
        !seat.local.is_empty()
            || seat.due.is_some()
            || !seat.handed.is_empty()
            || match seat.pending {
                Pending::Nothing => seat.next < self.next_id(),
                Pending::CopiedOut => true,
                Pending::Own(id) => !matches!(self.slot(id), Some(Slot::Reserved(_))),
            }
    }

    fn call(seat: &mut Seat, topic: Topic, id: Option<u64>, number: usize, calls: &mut Vec<Call>) {
        seat.counts.delivered += 1;
        calls.extend(Self::handlers_of(seat, topic).into_iter().map(|handler| Call { handler, id, number }));
    }

    /// Delivers one of the library's own local events.
    fn call_of_library(seat: &mut Seat, number: usize, calls: &mut Vec<Call>) {
        let topic = (LIBRARY, 0);
        if !Self::handlers_of(seat, topic).is_empty() {
            Self::call(seat, topic, None, number, calls);
        }
    }

    /// Delivers a message, unless the handlers for which it was copied are gone by now.
    fn deliver(&mut self, seat: &mut Seat, number: usize, calls: &mut Vec<Call>) {
        let Message { topic, unique, last_id, .. } = self.messages[number];
        if !Self::handlers_of(seat, topic).is_empty() {
            return Self::call(seat, topic, Some(last_id), number, calls);
        }
        let Some((key, _)) = unique else {
            seat.counts.skipped += 1;
            return;
        };
        seat.counts.orphaned += 1;
        if self.keys[key].held.take_if(|held| *held == last_id).is_some() {
            seat.counts.released += 1;
        }
    }

    /// Polls. Returns the calls of handlers, and the numbers of delivered events and missed ids.
    fn poll(&mut self, slot: usize, most: u64) -> (Vec<Call>, u64, u64) {
        let mut seat = self.seats[slot].take().unwrap();
        let before = seat.counts.clone();
        let mut calls = Vec::new();
        // Behind its own reserved id it reads on, but delivers nothing.
        if self.has_news(&seat) || matches!(seat.pending, Pending::Own(_)) {
            let left = |seat: &Seat| seat.counts.delivered - before.delivered < most;
            while left(&seat)
                && let Some((number, topic)) = seat.local.pop_front()
            {
                Self::call(&mut seat, topic, None, number, &mut calls);
            }
            let mut own = None;
            while left(&seat) {
                own = None;
                match self.read(&mut seat) {
                    Step::Event(number) => {
                        self.deliver(&mut seat, number, &mut calls);
                    }
                    Step::Handed(Handed::Event(number)) => self.deliver(&mut seat, number, &mut calls),
                    Step::Handed(Handed::Reset) => {
                        seat.counts.resets += 1;
                        Self::call_of_library(&mut seat, RESET, &mut calls);
                    }
                    Step::Handed(Handed::UpToDate) => Self::call_of_library(&mut seat, UP_TO_DATE, &mut calls),
                    Step::Missed(first, missed, cut_off) => {
                        calls.push(Call { handler: REPORTER, id: None, number: lag_number(missed, cut_off) });
                        seat.counts.missed += missed;
                        seat.counts.lagged += 1;
                        Self::catch_up(&mut seat, first, first + missed, false);
                    }
                    Step::PendingOwn(id) => {
                        own = Some(id);
                        break;
                    }
                    Step::Empty => break,
                }
            }
            seat.pending = match own {
                Some(id) => Pending::Own(id),
                None if !seat.ahead.is_empty() || seat.due.is_some() || !seat.handed.is_empty() => Pending::CopiedOut,
                None => Pending::Nothing,
            };
        }
        let polled = (calls, seat.counts.delivered - before.delivered, seat.counts.missed - before.missed);
        self.seats[slot] = Some(seat);
        polled
    }

    /// Returns the undecided id that `seat` has reserved.
    fn reserved_by(&self, seat: u32) -> Option<u64> {
        (0..self.next_id()).rev().find(|id| self.slots[*id as usize] == Slot::Reserved(seat))
    }

    /// Leaves. Events that are already claimed still run.
    fn leave(&mut self, slot: usize) -> Vec<Call> {
        let mut seat = self.seats[slot].take().unwrap();
        if let Some(id) = self.reserved_by(seat.number) {
            self.slots[id as usize] = Slot::Void;
        }
        let mut calls = Vec::new();
        for ahead in std::mem::take(&mut seat.ahead) {
            if let Ahead::Event(number) = ahead
                && self.messages[number].unique.is_some()
            {
                self.deliver(&mut seat, number, &mut calls);
            }
        }
        calls
    }

    fn cursor(&self, seat: &Seat) -> u64 {
        match seat.ahead.front() {
            Some(Ahead::Waiting(id)) => *id,
            Some(Ahead::Event(number)) => self.messages[*number].last_id,
            Some(Ahead::Missed(id, ..) | Ahead::Forgotten(id)) => *id,
            None => seat.next,
        }
    }
}

// ---- bus and model together ----

/// The bus and its model.
pub struct Both {
    bus: Bus,
    real: Vec<Option<Real>>,
    calls: Calls,
    model: Model,
    longest: usize,
    longest_retained: usize,
    block_size: usize,
    large_size: usize,
    announce: bool,
}

impl Both {
    /// Creates a ring of `capacity` cells, with all workers on it. With `large`, it has so many large blocks, for
    /// payloads of so many bytes; events in fragments must be able to be longer. With `announce`, the workers post
    /// events when they join and leave. The bits of `must` say which of them must read: with large blocks, none,
    /// because whether these are used then depends on who has joined.
    pub fn new(capacity: u64, block_size: u64, large: Option<(u64, u64)>, announce: bool, must: u8) -> Both {
        let options = SegmentOptions::new().capacity(capacity).block_size(block_size).claims(64).seats(WORKERS as u64);
        let options = if let Some((blocks, bytes)) = large { options.large(blocks, bytes) } else { options };
        let options = options.most_patience(PATIENCE);
        let bus = options.retained(ROOM as u64).retained_size(2 * block_size).anonymous().unwrap();
        let longest = bus.largest_event();
        let sizes = bus.stats().unwrap().sizes;
        let (block_size, longest_retained) = (sizes.block_size as usize, sizes.retained_size as usize);
        let large_size = sizes.large_size as usize;
        let model = Model { capacity, large_blocks: sizes.large_blocks, ..Model::default() };
        let calls = Calls::default();
        let real = vec![];
        let mut both = Both { bus, real, calls, model, longest, longest_retained, block_size, large_size, announce };
        for slot in 0..WORKERS {
            both.real.push(None);
            both.model.seats.push(None);
            both.join(slot, From::Now, false, must >> slot & 1 == 1);
        }
        both
    }

    /// Returns the id of the next post.
    pub fn next_id(&self) -> u64 {
        self.model.next_id()
    }

    /// Returns the length of the longest event in bytes, including its names.
    pub fn longest(&self) -> usize {
        self.longest
    }

    fn join(&mut self, slot: usize, from: From, resync: bool, must: bool) {
        let must = must && self.large_size == 0;
        let next_id = self.model.next_id();
        let (start, at) = match from {
            From::Now => (Start::Now, next_id),
            From::Oldest => (Start::Oldest, next_id.saturating_sub(self.model.capacity)),
            From::At(id) => (Start::At(id), id),
            From::After(id) => (Start::After(id), id + 1),
            From::Retained => (Start::Retained, next_id),
        };
        let late: Arc<Mutex<Vec<u64>>> = Arc::default();
        let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, refused, told) = (Arc::clone(&late), Arc::clone(&wrong), self.calls.clone());
        let options = WorkerOptions::new()
            .announce(self.announce)
            .label(self.label())
            .start(start)
            .resync(resync)
            .wait_interval(INSTANT)
            .wait_max(INSTANT)
            .on_report(move |report| match &report.trouble {
                Trouble::ClaimLate => noted.lock().unwrap().extend(report.id),
                Trouble::Lagged { missed, cut_off, .. } => {
                    let number = lag_number(*missed, *cut_off);
                    told.0.lock().unwrap().calls.push(Call { handler: REPORTER, id: None, number });
                }
                Trouble::Orphaned => {}
                _ => refused.lock().unwrap().push(report.to_string()),
            });
        let options = if must { options.must_read(PATIENCE) } else { options };
        let joined = self.bus.join_with(&options);
        if at > next_id {
            assert!(
                matches!(
                    joined.as_ref().map_err(|error| error.cause()),
                    Err(Cause::NotYet { id, next }) if (*id, *next) == (at, next_id)
                ),
                "{joined:?}"
            );
            return;
        }
        let worker = joined.unwrap();
        self.model.gaps |= at > 0;
        self.model.seats[slot] = Some(Seat {
            number: worker.seat(),
            start: if matches!(from, From::After(_)) { 0 } else { at },
            next: at,
            ahead: VecDeque::new(),
            partial: if matches!(from, From::After(_)) { self.model.begun_before(at) } else { HashMap::new() },
            pending: Pending::Nothing,
            local: VecDeque::new(),
            handlers: Vec::new(),
            resync,
            began_with_retained: matches!(from, From::Retained),
            due: matches!(from, From::Retained).then_some((0, at, false)),
            handed: VecDeque::new(),
            must: must.then_some(Must { is_cut: false, cut_off_below: 0 }),
            limit: 0,
            room_end: 0,
            known: 0,
            counts: Counts::default(),
        });
        let len = self.label().len();
        self.announced(slot, 0, len);
        let (handlers, claims) = (vec![], vec![]);
        self.real[slot] = Some(Real { worker, reservation: None, handlers, claims, late, wrong, committed: false });
    }

    fn seat(&mut self, slot: usize) -> &mut Seat {
        self.model.seats[slot].as_mut().unwrap()
    }

    /// The number of the next message, as text.
    fn label(&self) -> String {
        self.model.messages.len().to_string()
    }

    /// Returns the event that the library posts for a worker that joins or leaves.
    fn announced(&mut self, slot: usize, event: usize, len: usize) {
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
    fn is_large(&self, names: usize, payload: usize, special: Special) -> bool {
        let prefix_len = Self::prefix_len(names, special);
        prefix_len + payload > self.block_size && payload <= self.large_size && prefix_len + 16 <= self.block_size
    }

    /// Returns the number of ids of an event with names and payload of these lengths. `None` if it is too long.
    fn ids_of(&self, names: usize, payload: usize, special: Special) -> Option<u64> {
        let is_retained = special.retained.is_some();
        let len = Self::prefix_len(names, special) + payload;
        let (longest, fragment_head) = if is_retained { (self.longest_retained, 64) } else { (self.longest, 32) };
        let is_one = len <= self.block_size || self.is_large(names, payload, special);
        let ids = if is_one { 1 } else { len.div_ceil(self.block_size - fragment_head) };
        (len <= longest).then_some(ids as u64)
    }

    /// Compares an error for a lack of room.
    fn assert_full(error: &seqcast::Error, full: NoRoom) {
        let Cause::Full { reader, own, lag, patience, .. } = error.cause() else { panic!("{error}") };
        assert_eq!(NoRoom { seat: reader.seat, own: *own, lag: *lag }, full);
        assert_eq!(*patience, PATIENCE);
    }

    /// Records the result of a post, which waits for room or not.
    fn posted(
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
    fn in_room(&mut self, slot: usize, topic: Topic, len: usize, special: Special, result: seqcast::Result<u64>) {
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

    /// Does `op` on the bus, and compares the results with the model's. An impossible operation does nothing.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub fn run(&mut self, op: &Op) {
        let slot = match *op {
            Op::Join { worker, .. } if self.real[worker].is_some() => {
                if self.real.iter().all(Option::is_some) {
                    let joined = self.bus.join_with(&WorkerOptions::new());
                    assert!(joined.is_err_and(|error| matches!(error.cause(), Cause::NoSeat { .. })));
                }
                return;
            }
            Op::Join { worker, from, resync, must } => return self.join(worker, from, resync, must),
            Op::Post { worker, .. }
            | Op::TryPost { worker, .. }
            | Op::PostUnique { worker, .. }
            | Op::PostLocal { worker, .. }
            | Op::Poll { worker, .. }
            | Op::Reserve { worker }
            | Op::Commit { worker, .. }
            | Op::DropReservation { worker }
            | Op::Claim { worker, .. }
            | Op::Release { worker }
            | Op::ReleaseClaim { worker, .. }
            | Op::Register { worker, .. }
            | Op::Unregister { worker, .. }
            | Op::DropOwner { worker, .. }
            | Op::Retain { worker, .. }
            | Op::Clear { worker, .. }
            | Op::Get { worker, .. }
            | Op::Leave { worker } => worker,
        };
        let Some(mut real) = self.real[slot].take() else { return };
        let worker = real.worker.clone();
        let number = self.model.messages.len();
        let names = |(source, event): Topic| (SOURCES[source], EVENTS[event]);
        match *op {
            Op::Post { topic, len, .. } => {
                let (source, event) = names(topic);
                let posted = worker.post((source, event), payload(number, len));
                self.posted(slot, topic, len, Special::default(), posted, true);
            }
            Op::TryPost { topic, len, .. } => {
                let posted = worker.try_post(names(topic), payload(number, len));
                self.posted(slot, topic, len, Special::default(), posted, false);
            }
            Op::PostUnique { topic, len, key, lasting, .. } => {
                let (source, event) = names(topic);
                let unique = Unique::key(KEYS[key]).ttl(if lasting { HOUR } else { INSTANT });
                let posted = worker.event((source, event)).unique(unique).post(payload(number, len));
                let special = Special { unique: Some((key, lasting)), ..Special::default() };
                self.posted(slot, topic, len, special, posted, true);
            }
            Op::PostLocal { topic, .. } => {
                let (source, event) = names(topic);
                let local = self.model.locals;
                worker.post_local((source, event), local).unwrap();
                self.model.locals += 1;
                self.seat(slot).local.push_back((local, topic));
            }
            Op::Poll { most, .. } => {
                let polled = worker.poll_at_most(most).unwrap();
                assert!(matches!(polled, Polled::Done { .. } | Polled::Reserved { .. }), "{polled:?}");
                let (delivered, missed) = (polled.delivered(), polled.missed());
                self.model.late = std::mem::take(&mut *real.late.lock().unwrap());
                let expected = self.model.poll(slot, most);
                assert_eq!((self.take_calls(&mut real), delivered, missed), expected);
            }
            Op::Reserve { .. } => {
                let reserved = worker.reserve();
                let seat = worker.seat();
                if let Some(id) = self.model.reserved_by(seat) {
                    self.model.slots[id as usize] = Slot::Void;
                }
                if let Err(full) = self.model.make_room(slot, 1, true) {
                    Self::assert_full(&reserved.unwrap_err(), full);
                    self.real[slot] = Some(real);
                    return;
                }
                let reservation = reserved.unwrap();
                self.seat(slot).known = self.model.next_id() + 1;
                assert_eq!(reservation.id(), self.model.next_id());
                self.model.slots.push(Slot::Reserved(seat));
                self.seat(slot).counts.reservations += 1;
                // The older reservation, dropped here, has ended.
                (real.reservation, real.committed) = (Some(reservation), false);
            }
            Op::Commit { topic, len, .. } => {
                if let Some(reservation) = &mut real.reservation {
                    let (source, event) = names(topic);
                    let id = reservation.id();
                    let open = self.model.slot(id) == Some(Slot::Reserved(worker.seat()));
                    let is_large =
                        self.is_large(source.len() + event.len(), payload(number, len).len(), Special::default());
                    match reservation.commit((source, event), payload(number, len)) {
                        Ok(committed) => {
                            assert!(committed == id && open, "id {id} was decided before");
                            self.model.slots[id as usize] = Slot::Part(number);
                            real.committed = true;
                            let large = self.model.take_large(is_large);
                            let (first_id, last_id, sender) = (id, id, worker.seat());
                            self.model.messages.push(Message {
                                topic,
                                unique: None,
                                retained: None,
                                clears: false,
                                first_id,
                                last_id,
                                large,
                                sender,
                            });
                            let counts = &mut self.seat(slot).counts;
                            counts.large += u64::from(is_large);
                            (counts.posted, counts.committed) = (counts.posted + 1, counts.committed + 1);
                        }
                        Err(error) => match *error.cause() {
                            Cause::TooLate { id: late } => {
                                assert!(late == id && !open, "id {id} is still open");
                                // Its payload was published, and no event names it.
                                let is_published = is_large && !std::mem::replace(&mut real.committed, true);
                                self.model.take_large(is_published);
                            }
                            Cause::PayloadTooLarge { max, .. } => assert!(len + 64 > max, "{len} of {max}"),
                            _ => panic!("{error}"),
                        },
                    }
                }
            }
            Op::DropReservation { .. } => {
                if let Some(reservation) = real.reservation.take()
                    && self.model.slots[reservation.id() as usize] == Slot::Reserved(worker.seat())
                {
                    self.model.slots[reservation.id() as usize] = Slot::Void;
                }
            }
            Op::Claim { key, lasting, .. } => {
                let claimed = worker.claim(KEYS[key], if lasting { HOUR } else { INSTANT }).unwrap();
                let holder = self.model.claims[key];
                let counts = &mut self.seat(slot).counts;
                match (claimed, holder) {
                    (Claimed::Won(claim), None) => {
                        counts.won += 1;
                        if lasting {
                            assert!(worker.release(&claim).unwrap(), "a won claim is not held");
                            self.seat(slot).counts.released += 1;
                            let Claimed::Won(claim) = worker.claim(KEYS[key], HOUR).unwrap() else {
                                panic!("not free")
                            };
                            self.seat(slot).counts.won += 1;
                            self.model.claims[key] = Some((worker.seat(), claim));
                        }
                    }
                    (Claimed::Held { seat, left, .. }, Some((holder, _))) => {
                        assert!(seat == holder && left <= HOUR, "held by {seat} and not by {holder}");
                        counts.lost += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            Op::Release { .. } => {
                if let Some((claim, id)) = real.claims.pop() {
                    let released = worker.release(&claim).unwrap();
                    let again = worker.release(&claim).unwrap();
                    assert!(!again, "released twice");
                    let key = self.model.keys.iter_mut().find(|key| key.held == Some(id));
                    let expected = key.map(|key| key.held = None).is_some();
                    assert_eq!(released, expected, "the claim of id {id}");
                    self.seat(slot).counts.released += u64::from(released);
                }
            }
            Op::ReleaseClaim { key, .. } => {
                if let Some((_, claim)) = self.model.claims[key].take() {
                    assert!(worker.release(&claim).unwrap(), "a held claim was not released");
                    assert!(!worker.release(&claim).unwrap(), "released twice");
                    self.seat(slot).counts.released += 1;
                }
            }
            Op::Register { scope, weak, .. } => {
                let handler = self.model.handlers;
                self.model.handlers += 1;
                let noting = Arc::new(Noting { handler, calls: self.calls.clone() });
                let registered = if weak {
                    (worker.register_weak(scope.real(), &noting).unwrap(), Some(noting))
                } else {
                    (worker.register(scope.real(), &noting).unwrap(), None)
                };
                real.handlers.push(registered);
                self.seat(slot).handlers.push((handler, scope, true));
            }
            Op::Unregister { nth, .. } => {
                if let Some((registration, owner)) = real.handlers.get(nth) {
                    let removed = worker.unregister(*registration);
                    let seat = self.seat(slot);
                    let live = std::mem::replace(&mut seat.handlers[nth].2, false);
                    // It does not matter whether a registration without an owner was already cleared.
                    assert!(removed == live || owner.is_none() && !live, "{removed}, {live}");
                }
            }
            Op::DropOwner { nth, .. } => {
                if let Some((_, owner @ Some(_))) = real.handlers.get_mut(nth) {
                    *owner = None;
                    self.seat(slot).handlers[nth].2 = false;
                }
            }
            Op::Retain { topic, key, len, lasting, .. } => {
                let event = worker.event(names(topic)).retain_key(RETAINED_KEYS[key]);
                let event = if lasting { event } else { event.ttl(INSTANT) };
                let posted = event.post(payload(number, len));
                let special = Special { retained: Some(key), ..Special::default() };
                let name_len = SOURCES[topic.0].len() + EVENTS[topic.1].len();
                let ids = self.ids_of(name_len, payload(0, len).len(), special);
                let content = if lasting { Content::Value } else { Content::Expired };
                let Some(ids) = ids else {
                    self.in_room(slot, topic, len, special, posted);
                    self.real[slot] = Some(real);
                    return;
                };
                match self.model.make_room_for(slot, ids, true, Some((topic, key))) {
                    Err(full) => Self::assert_full(&posted.unwrap_err(), full),
                    Ok(false) => {
                        self.seat(slot).counts.retained_full += 1;
                        let full = posted.unwrap_err();
                        assert!(matches!(full.cause(), Cause::RetainedFull { .. }), "{full}");
                    }
                    Ok(true) => {
                        self.model.place((topic, key), number, content);
                        self.in_room(slot, topic, len, special, posted);
                    }
                }
            }
            Op::Clear { topic, key, .. } => {
                let cleared = worker.event(names(topic)).retain_key(RETAINED_KEYS[key]).clear();
                let is_there = self
                    .model
                    .content_of((topic, key))
                    .is_some_and(|place| matches!(place.content, Content::Value | Content::Expired));
                if is_there && let Err(full) = self.model.make_room_for(slot, 1, true, Some((topic, key))) {
                    Self::assert_full(&cleared.unwrap_err(), full);
                    self.real[slot] = Some(real);
                    return;
                }
                assert_eq!(cleared.unwrap(), is_there.then_some(self.model.next_id()));
                if is_there {
                    let special = Special { retained: Some(key), clears: true, unique: None };
                    self.model.place((topic, key), number, Content::Cleared);
                    self.model.post(slot, topic, special, self.model.next_id(), false);
                }
            }
            Op::Get { topic, key, .. } => {
                let found = worker.get_key(names(topic), RETAINED_KEYS[key]).unwrap();
                let expected = self.model.content_of((topic, key)).filter(|place| place.content == Content::Value);
                let expected = expected.map(|place| (place.number, self.model.messages[place.number].last_id));
                assert_eq!(found.map(|found| (number_of(found.bytes()).unwrap(), found.id())), expected);
            }
            Op::Leave { .. } => {
                drop(real.reservation.take());
                let label = self.label();
                let len = label.len();
                worker.reconfigure(|options| options.label(label)).unwrap();
                let seat = worker.seat();
                worker.leave().unwrap();
                self.model.late.clear();
                // Only others read what it posts.
                if let Some(id) = self.model.reserved_by(seat) {
                    self.model.slots[id as usize] = Slot::Void;
                }
                self.announced(slot, 1, len);
                let expected = self.model.leave(slot);
                assert_eq!(self.take_calls(&mut real), expected);
                return;
            }
            Op::Join { .. } => unreachable!("done above"),
        }
        self.real[slot] = Some(real);
    }

    /// Returns the calls since the last time, and keeps the claims that came with them.
    fn take_calls(&self, real: &mut Real) -> Vec<Call> {
        let Noted { calls, claims } = std::mem::take(&mut *self.calls.0.lock().unwrap());
        real.claims.extend(claims);
        calls
    }

    /// All workers leave.
    pub fn end(mut self) {
        for worker in 0..WORKERS {
            self.run(&Op::Poll { worker, most: u64::MAX });
            self.check();
            self.run(&Op::Leave { worker });
        }
        self.check();
        assert!(self.bus.stats().unwrap().workers.is_empty(), "all have left");
    }

    /// Compares everything that is visible from outside, and every counter, with the model's.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub fn check(&self) {
        let stats = self.bus.stats().unwrap();
        assert_eq!(stats.next_id, self.model.next_id());
        assert_eq!(stats.oldest_id, self.model.next_id().saturating_sub(self.model.capacity));
        let held = self.model.keys.iter().filter(|key| key.held.is_some()).count()
            + self.model.claims.iter().filter(|holder| holder.is_some()).count();
        assert_eq!(stats.claims_held, held as u64);
        let retained = self.model.places.iter().filter(|place| place.content == Content::Value).count();
        assert_eq!((stats.retained, stats.retaining), (retained as u64, 0));
        for (real, seat) in self.real.iter().zip(&self.model.seats) {
            let (Some(real), Some(seat)) = (real, seat) else {
                assert!(real.is_none() && seat.is_none());
                continue;
            };
            assert!(real.wrong.lock().unwrap().is_empty(), "{:?}", real.wrong.lock().unwrap());
            assert_eq!(real.worker.cursor(), self.model.cursor(seat));
            let counts = of_seat(&stats, seat.number);
            let shown = Counts {
                posted: counts.posted,
                fragments: counts.fragments,
                large: counts.large,
                reservations: counts.reservations,
                committed: counts.committed,
                delivered: counts.delivered,
                skipped: counts.skipped,
                missed: counts.missed,
                lagged: counts.lagged,
                voided: counts.voided,
                waited: counts.waited,
                won: counts.claims_won,
                lost: counts.claims_lost,
                late: counts.claims_late,
                released: counts.claims_released,
                orphaned: counts.orphaned,
                retained: counts.retained,
                retained_full: counts.retained_full,
                resets: counts.resets,
                room_waits: counts.room_waits,
                room_refused: counts.room_refused,
                cut_off: counts.cut_off,
            };
            assert_eq!(shown, seat.counts);
            assert_eq!((counts.corrupt, counts.failed, counts.claims_full, counts.settled), (0, 0, 0, 0));
            assert_eq!(counts.lag, self.model.next_id() - self.model.cursor(seat));
            assert_eq!(counts.must_read, seat.must.map(|_| PATIENCE));
            assert_eq!(counts.is_cut_off, seat.must.is_some_and(|must| must.is_cut));
            let unread = seat.must.map_or(0, |_| self.model.next_id() - seat.need());
            assert_eq!(counts.unread, unread);
        }
    }
}
