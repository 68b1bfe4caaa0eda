//! The bus against a reference model of plain vectors and maps. Several workers in one process do random operations,
//! and each result is compared with the model's prediction. `tests/model.rs` draws the operations with proptest, and
//! the fuzz target `model` from a fuzzer's bytes.
//!
//! The model knows ids, laps, fragments, reservations, claims, retained events, workers that must read and handlers,
//! but no cells, blocks, buckets, slots or routes. It takes one answer from the bus, because the guarantees leave it
//! open, and checks it as far as possible: whether a claim is too late to be decided.

mod check;
pub mod op;
mod posting;
mod reading;
mod real;
mod reference;
mod room;
mod run;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{Bus, Cause, SegmentOptions, Start, Trouble, WorkerOptions};

use crate::model::op::{From, Op};
use crate::model::real::{Calls, Real};
use crate::model::reference::{Counts, Model, Must, Pending, Seat};

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

/// A lap, as a number.
fn lag_number(missed: u64, cut_off: bool) -> usize {
    2 * missed as usize + usize::from(cut_off)
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
}
