//! Sequences of calls on a sound segment, against a model that has no concurrency, no blocks and no overwriting: a list of
//! ids, and for each worker what it must see of it (G1, G2, G4, G5, G9).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::library;
use seqcast::{
    Bus, Cause, Claim, Claimed, Event, Polled, Reservation, Scope, SegmentOptions, Start, Trouble, Worker,
    WorkerOptions,
};
use seqcast_testkit::hostile::draw::{Draw, Input};

const MOST_STEPS: usize = 400;
const RECORDS: u64 = 4;
/// No claim ends by itself.
const HOUR: Duration = Duration::from_secs(3600);

/// Posts, polls, reserves, commits, claims, releases, joins and leaves as the bytes say, and checks every answer.
pub fn model(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let capacity = 8 << input.below(3);
    let options = SegmentOptions::new().capacity(capacity).block_size(64).records(RECORDS).claims(64);
    let bus = options.anonymous().expect("possible options");
    let stats = bus.stats().expect("a sound segment");
    let mut play = Play {
        model: Model {
            capacity,
            block: stats.block_size as usize,
            chunk: stats.block_size as usize - 32,
            ids: Vec::new(),
            messages: 0,
            decided: HashSet::new(),
            held: HashSet::new(),
            claims: HashMap::new(),
        },
        bus,
        actors: Vec::new(),
    };
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        play.step(&mut input);
    }
    while !play.actors.is_empty() {
        play.poll(0, u64::MAX);
        play.leave(0);
    }
    let stats = play.bus.stats().expect("a sound segment");
    assert_eq!(stats.next_id, play.model.tail());
    assert!(stats.workers.is_empty(), "all have left");
}

/// What an id is.
#[derive(Clone, Debug)]
enum Slot {
    Event(Content),
    Fragment { sender: u32, message: u64, number: usize, first_id: u64, last: Option<Content> },
    Reserved,
    Void,
}

#[derive(Clone, PartialEq, Eq)]
struct Content {
    source: String,
    event: String,
    payload: Vec<u8>,
    unique: Option<u8>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Content { source, event, payload, unique } = self;
        write!(f, "{source}/{event} of {} times {:?}, unique: {unique:?}", payload.len(), payload.last())
    }
}

impl Content {
    fn len(&self) -> usize {
        let head = if self.unique.is_some() { 48 } else { 16 };
        (head + self.source.len() + self.event.len()).next_multiple_of(16) + self.payload.len()
    }
}

/// What a worker sees, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Event { id: u64, content: Content },
    Lagged { missed: u64 },
    Late { id: u64 },
}

struct Model {
    capacity: u64,
    block: usize,
    chunk: usize,
    ids: Vec<Slot>,
    messages: u64,
    /// Unique events whose fate is decided.
    decided: HashSet<u64>,
    /// Keys of unique events that are held.
    held: HashSet<u8>,
    /// Keys of stand-alone claims that are held.
    claims: HashMap<u8, (u32, Claim)>,
}

impl Model {
    /// Of each sender, the message and the number of the fragment that come next to who goes on at `id`.
    fn begun_before(&self, id: u64) -> BTreeMap<u32, (u64, usize)> {
        let mut begun = BTreeMap::new();
        for slot in &self.ids[self.tail().saturating_sub(self.capacity).min(id) as usize..id as usize] {
            if let Slot::Fragment { sender, message, number, last, .. } = slot {
                let expected = begun.remove(sender);
                if last.is_none() && (*number == 0 || expected == Some((*message, *number))) {
                    begun.insert(*sender, (*message, number + 1));
                }
            }
        }
        begun
    }

    fn tail(&self) -> u64 {
        self.ids.len() as u64
    }

    fn is_lapped(&self, id: u64) -> bool {
        id + self.capacity < self.tail()
    }

    fn slot(&mut self, id: u64) -> &mut Slot {
        &mut self.ids[id as usize]
    }

    /// Returns the id of the event.
    fn post(&mut self, sender: u32, content: Content) -> u64 {
        if content.len() <= self.block {
            self.ids.push(Slot::Event(content));
        } else {
            self.messages += 1;
            let (message, first_id) = (self.messages, self.tail());
            let count = content.len().div_ceil(self.chunk);
            for number in 0..count {
                let last = (number + 1 == count).then(|| content.clone());
                self.ids.push(Slot::Fragment { sender, message, number, first_id, last });
            }
        }
        self.tail() - 1
    }

    /// Whether what is reserved at `id` can still be decided.
    fn is_open(&mut self, id: u64) -> bool {
        !self.is_lapped(id) && matches!(self.slot(id), Slot::Reserved)
    }
}

/// What is in a worker's read-ahead.
enum Ahead {
    Waiting(u64),
    Seen(Seen),
}

/// A worker, and what the model knows of it.
struct Actor {
    worker: Worker,
    record: u32,
    label: String,
    log: Arc<Mutex<Vec<Seen>>>,
    tokens: Arc<Mutex<Vec<(u8, Claim)>>>,
    reservation: Option<Reservation>,
    start: u64,
    next: u64,
    ahead: VecDeque<Ahead>,
    /// Of each sender: the message in the making and its next fragment.
    partial: BTreeMap<u32, (u64, usize)>,
}

struct Play {
    bus: Bus,
    model: Model,
    actors: Vec<Actor>,
}

impl Play {
    fn step(&mut self, input: &mut Input<'_>) {
        let kind = input.below(20);
        if self.actors.is_empty() || kind == 0 {
            return self.join(input);
        }
        let which = input.below(self.actors.len() as u64) as usize;
        match kind {
            1 => self.leave(which),
            2..=4 => self.post(which, input, None),
            5..=7 => {
                let key = input.byte() % 3;
                self.post(which, input, Some(key));
            }
            8 => self.reserve(which),
            9 => self.commit(which, input),
            10 => self.give_up(which),
            11 => self.claim(which, input.byte() % 6),
            12 | 13 => self.release(which, input),
            14..=16 => self.poll(which, 1 + input.below(4)),
            _ => self.poll(which, u64::MAX),
        }
    }

    fn join(&mut self, input: &mut Input<'_>) {
        let tail = self.model.tail();
        let (start, at) = match input.below(4) {
            0 => (Start::Now, tail),
            1 => (Start::Oldest, tail.saturating_sub(self.model.capacity)),
            2 => {
                let id = input.below(tail + 3);
                (Start::After(id), id + 1)
            }
            _ => {
                let id = input.below(tail + 3);
                (Start::At(id), id)
            }
        };
        let goes_on = matches!(start, Start::After(_));
        let log = Arc::new(Mutex::new(Vec::new()));
        let reports = Arc::clone(&log);
        let label = format!("actor {}", input.byte());
        let options = WorkerOptions::new()
            .start(start)
            .label(&label)
            // Others' reserved ids are given up at once: how much is read ahead in a longer wait depends on the clock.
            .wait_interval(Duration::from_nanos(1))
            .wait_max(Duration::from_nanos(1))
            .timeout(HOUR)
            .on_report(move |report| {
                reports.lock().expect("no handler panics").push(match &report.trouble {
                    Trouble::Lagged { missed } => Seen::Lagged { missed: *missed },
                    Trouble::ClaimLate => Seen::Late { id: report.id.expect("of an event") },
                    trouble => panic!("{trouble:?} on a sound segment"),
                });
            });
        let worker = match self.bus.join_with(&options) {
            Ok(worker) => worker,
            Err(error) if matches!(error.cause(), Cause::NotYet { .. }) => return assert!(at > tail),
            Err(error) if matches!(error.cause(), Cause::NoRecord { .. }) => {
                return assert_eq!(self.actors.len() as u64, RECORDS);
            }
            Err(error) => panic!("{error}"),
        };
        assert!(at <= tail && (self.actors.len() as u64) < RECORDS);
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let (events, claims) = (Arc::clone(&log), Arc::clone(&tokens));
        let handler = move |event: &Event<'_>| {
            let claim = event.claim();
            let unique = claim.map(|_| event.bytes().first().copied().expect("unique events carry their key"));
            if let (Some(key), Some(claim)) = (unique, claim) {
                claims.lock().expect("no handler panics").push((key, claim));
            }
            let content = Content {
                source: event.source().to_owned(),
                event: event.event().to_owned(),
                payload: event.bytes().to_vec(),
                unique,
            };
            events.lock().expect("no handler panics").push(Seen::Event { id: event.id().expect("posted"), content });
        };
        worker.on(Scope::All, handler).expect("a good scope");
        let record = worker.record();
        let partial = if goes_on { self.model.begun_before(at) } else { BTreeMap::new() };
        self.model.post(record, own(library::STARTED.event(), &label));
        self.actors.push(Actor {
            worker,
            record,
            label,
            log,
            tokens,
            reservation: None,
            start: if goes_on { 0 } else { at },
            next: at,
            ahead: VecDeque::new(),
            partial,
        });
    }

    fn leave(&mut self, which: usize) {
        let Actor { worker, record, label, reservation, .. } = self.actors.swap_remove(which);
        if let Some(reservation) = reservation
            && self.model.is_open(reservation.id())
        {
            *self.model.slot(reservation.id()) = Slot::Void;
        }
        self.model.post(record, own(library::STOPPING.event(), &label));
        worker.leave().expect("a sound segment");
    }

    fn post(&mut self, which: usize, input: &mut Input<'_>, unique: Option<u8>) {
        let len = match input.below(4) {
            0 => input.below(self.bus.largest_event() as u64 + 20) as usize,
            _ => input.below(40) as usize,
        };
        let mut payload = vec![input.byte(); len];
        if let Some(key) = unique {
            payload.insert(0, key);
        }
        let content =
            Content { source: "s".to_owned(), event: ["a", "bc"][input.below(2) as usize].to_owned(), payload, unique };
        let actor = &self.actors[which];
        let posted = match unique {
            Some(key) => actor.worker.event(("s", &content.event)).unique(&[key]).post(&content.payload),
            None => actor.worker.post(("s", &content.event), &content.payload),
        };
        let fits = content.len() <= self.bus.largest_event();
        match posted {
            Ok(id) => {
                assert!(fits);
                assert_eq!(id, self.model.post(actor.record, content), "G5");
            }
            Err(error) if matches!(error.cause(), Cause::PayloadTooLarge { .. }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(self.bus.next_id(), self.model.tail());
    }

    fn reserve(&mut self, which: usize) {
        let actor = &mut self.actors[which];
        let reservation = actor.worker.reserve().expect("a sound segment");
        if let Some(before) = actor.reservation.take()
            && self.model.is_open(before.id())
        {
            *self.model.slot(before.id()) = Slot::Void;
        }
        assert_eq!(reservation.id(), self.model.tail());
        self.model.ids.push(Slot::Reserved);
        actor.reservation = Some(reservation);
    }

    fn commit(&mut self, which: usize, input: &mut Input<'_>) {
        let Some(mut reservation) = self.actors[which].reservation.take() else { return };
        let payload = input.bytes(60);
        let open = self.model.is_open(reservation.id());
        match reservation.commit(("s", "late"), &payload) {
            Ok(id) => {
                assert!(open && id == reservation.id());
                let content = Content { source: "s".to_owned(), event: "late".to_owned(), payload, unique: None };
                *self.model.slot(id) = Slot::Event(content);
            }
            Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => assert!(!open),
            Err(error) => panic!("{error}"),
        }
    }

    /// Drops what is reserved.
    fn give_up(&mut self, which: usize) {
        let Some(reservation) = self.actors[which].reservation.take() else { return };
        if self.model.is_open(reservation.id()) {
            *self.model.slot(reservation.id()) = Slot::Void;
        }
    }

    fn claim(&mut self, which: usize, key: u8) {
        let actor = &self.actors[which];
        match (actor.worker.claim([key], HOUR).expect("a sound segment"), self.model.claims.get(&key)) {
            (Claimed::Won(claim), None) => _ = self.model.claims.insert(key, (actor.record, claim)),
            (Claimed::Held { record, .. }, Some(&(holder, _))) => assert_eq!(record, holder),
            (answer, holder) => panic!("G9: {answer:?} where the holder is {holder:?}"),
        }
    }

    /// Releases a stand-alone claim or one of a unique event, the right one or one that was released before.
    fn release(&mut self, which: usize, input: &mut Input<'_>) {
        let actor = &self.actors[which];
        if input.one_in(4) {
            let key = input.byte() % 6;
            if let Some((_, claim)) = self.model.claims.remove(&key) {
                assert!(actor.worker.release(&claim).expect("a sound segment"));
                assert!(!actor.worker.release(&claim).expect("a sound segment"), "released twice");
            }
        } else if let Some((key, claim)) = actor.tokens.lock().expect("no handler panics").pop() {
            // The key may have been released and won anew since: then this claim is an old one.
            let released = actor.worker.release(&claim).expect("a sound segment");
            assert!(released, "a claim of an hour that nobody released had ended");
            self.model.held.remove(&key);
        }
    }

    fn poll(&mut self, which: usize, most: u64) {
        let actor = &mut self.actors[which];
        let polled = actor.worker.poll_at_most(most).expect("a sound segment");
        let log = std::mem::take(&mut *actor.log.lock().expect("no handler panics"));
        let mut late: VecDeque<u64> =
            log.iter().filter_map(|seen| if let Seen::Late { id } = seen { Some(*id) } else { None }).collect();
        let expected = actor.expect(&mut self.model, most, &mut late);
        let log: Vec<Seen> = log.into_iter().filter(|seen| !matches!(seen, Seen::Late { .. })).collect();
        assert_eq!(log, expected);
        let delivered = log.iter().filter(|seen| matches!(seen, Seen::Event { .. })).count() as u64;
        let missed = log.iter().map(|seen| if let Seen::Lagged { missed } = seen { *missed } else { 0 }).sum::<u64>();
        assert!(matches!(polled, Polled::Done { .. } | Polled::Reserved { .. }), "{polled:?}");
        assert_eq!((polled.delivered(), polled.missed()), (delivered, missed));
    }
}

impl Actor {
    /// What a poll of this worker must see. `late`: the events that it says it came to too late to know their fate.
    fn expect(&mut self, model: &mut Model, most: u64, late: &mut VecDeque<u64>) -> Vec<Seen> {
        let mut seen = Vec::new();
        let own = self.reservation.as_ref().map(Reservation::id);
        let mut delivered = 0;
        while delivered < most {
            let step = match self.ahead.pop_front() {
                Some(Ahead::Seen(step)) => Some(step),
                Some(Ahead::Waiting(id)) => {
                    if model.is_lapped(id) {
                        Some(Seen::Lagged { missed: 1 })
                    } else if matches!(model.slot(id), Slot::Reserved) {
                        if own == Some(id) {
                            // What follows is read meanwhile.
                            self.read_all_ahead(model, late);
                            self.ahead.push_front(Ahead::Waiting(id));
                            return seen;
                        }
                        *model.slot(id) = Slot::Void;
                        None
                    } else {
                        self.read(model, id, late)
                    }
                }
                None if self.next >= model.tail() => return seen,
                None => self.advance(model, late),
            };
            delivered += u64::from(matches!(step, Some(Seen::Event { .. })));
            seen.extend(step);
        }
        seen
    }

    /// Reads the next id, or goes on after a lap.
    fn advance(&mut self, model: &mut Model, late: &mut VecDeque<u64>) -> Option<Seen> {
        let id = self.next;
        if model.is_lapped(id) {
            let to = (model.tail().saturating_sub(model.capacity) + model.capacity / 8).max(id + 1);
            self.next = to;
            return Some(Seen::Lagged { missed: to - id });
        }
        self.next = id + 1;
        if matches!(model.slot(id), Slot::Reserved) {
            self.ahead.push_back(Ahead::Waiting(id));
            return None;
        }
        self.read(model, id, late)
    }

    fn read_all_ahead(&mut self, model: &mut Model, late: &mut VecDeque<u64>) {
        while self.next < model.tail() {
            if let Some(step) = self.advance(model, late) {
                self.ahead.push_back(Ahead::Seen(step));
            }
        }
    }

    /// What id `id`, which is not reserved, is to this worker.
    fn read(&mut self, model: &mut Model, id: u64, late: &mut VecDeque<u64>) -> Option<Seen> {
        let content = match model.slot(id).clone() {
            Slot::Reserved => unreachable!("the caller waits for it"),
            Slot::Void => return None,
            Slot::Event(content) => content,
            Slot::Fragment { sender, message, number, first_id, last } => {
                let expected = self.partial.remove(&sender);
                if number != 0 && expected != Some((message, number)) {
                    return (last.is_some() && first_id >= self.start).then_some(Seen::Lagged { missed: 1 });
                }
                match last {
                    None => {
                        self.partial.insert(sender, (message, number + 1));
                        return None;
                    }
                    Some(content) => content,
                }
            }
        };
        if let Some(key) = content.unique {
            if late.front() == Some(&id) {
                late.pop_front();
                model.decided.insert(id);
                return None;
            }
            // The first to reach it decides: it runs it, unless its key is held.
            if !model.decided.insert(id) || !model.held.insert(key) {
                return None;
            }
        }
        Some(Seen::Event { id, content })
    }
}

fn own(event: &str, label: &str) -> Content {
    Content { source: library::SOURCE.to_owned(), event: event.to_owned(), payload: label.into(), unique: None }
}
