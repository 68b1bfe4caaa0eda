//! Four writers, three readers, four cells.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::life::killed_at;
use crate::protocol::bucket::{At, Decision, Key};
use crate::protocol::pool::Hand;
use crate::protocol::ring::{Fate, NoTable};
use crate::region::Region;
use crate::sync::{Mode, Words};
use crate::world::{Poll, World};

const WRITERS: u16 = 4;
const READERS: u16 = 3;
const CAPACITY: usize = 4;
/// The number of ids in a stretch.
const STRETCH: u64 = 2;
/// More writes than a life makes.
const LONG_LIFE: u32 = 150;

/// Cases that occurred in any of the schedules. All of them must occur, because a case that never happens is not
/// tested.
static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

fn saw(what: &'static str) {
    SEEN.lock().unwrap().insert(what);
}

#[test]
fn a_crowd_of_writers_and_readers() {
    crate::explore("4 writers, 3 readers, 4 cells", crowd);
    let expected = [
        "claimer killed",
        "committed",
        "decided",
        "event",
        "full",
        "held",
        "lapped",
        "late",
        "nothing",
        "reserved",
        "too late",
        "void",
        "voided",
        "won",
        "writer killed",
    ];
    assert_eq!(*SEEN.lock().unwrap(), BTreeSet::from(expected));
}

fn crowd() {
    let seats = WRITERS + READERS;
    let tail = Words::new(1, |_| Some(Mode::Plain));
    let world = World::over(Mode::Plain, CAPACITY, STRETCH, seats, tail.clone());
    let region = Region::new(Mode::Plain, 1, seats, CAPACITY as u64, tail);
    let unique = Arc::new(Mutex::new(Unique::default()));
    let mut actors = vec![];
    for seat in 0..WRITERS {
        let (world, hand) = (world.clone(), world.adopt(seat));
        actors.push(thread::spawn(move || write(&world, hand)));
    }
    for seat in WRITERS..seats {
        let (world, region, unique) = (world.clone(), region.clone(), unique.clone());
        actors.push(thread::spawn(move || read(&world, &region, seat, &unique)));
    }
    for actor in actors {
        actor.join().expect("an actor failed");
    }
    world.judge();
    region.judge();
}

/// A worker that posts and dies somewhere, and one that adopts its seat and continues to post.
fn write(world: &World, mut hand: Hand) {
    let seat = hand.seat();
    if killed_at(thread_rng().gen_range(0..LONG_LIFE), || send(world, &mut hand, 0)).is_none() {
        saw("writer killed");
    }
    send(world, &mut world.adopt(seat), 1);
}

fn send(world: &World, hand: &mut Hand, life: u64) {
    for number in 0..3 {
        // Never the same twice.
        let content = u64::from(hand.seat()) * 100 + life * 10 + number;
        match thread_rng().gen_range(0..6) {
            0..3 => _ = world.post(hand, content),
            3..5 => {
                let id = world.ring.reserve(hand, &mut NoTable).expect("a reservation");
                saw(if world.commit(hand, id, content) == Fate::Decided { "committed" } else { "too late" });
            }
            _ => _ = world.ring.reserve(hand, &mut NoTable).expect("a reservation"),
        }
    }
}

/// A worker that reads from the beginning, whatever it finds, and claims what it reads as unique events of two keys.
fn read(world: &World, region: &Region, seat: u16, unique: &Mutex<Unique>) {
    let mut hand = region.adopt(seat);
    let (mut next, mut since) = (0, 0);
    for _ in 0..16 {
        match world.poll(next) {
            Poll::Empty => {
                saw("nothing");
                thread::yield_now();
            }
            Poll::Event(content) => {
                saw("event");
                let at = At { place: next + 1, since: since + 1 };
                let patience = thread_rng().gen_range(0..LONG_LIFE);
                let decision = killed_at(patience, || {
                    let now = unique.lock().unwrap().tick();
                    region.claim(&mut hand, Key([content % 2, 0]), 3, Some(at), now)
                });
                match decision {
                    Some(decision) => unique.lock().unwrap().judge(next, decision),
                    // Its successor begins at the current end of the ring.
                    None => {
                        saw("claimer killed");
                        hand = region.adopt(seat);
                        next = world.ring.newest();
                        since = next;
                        continue;
                    }
                }
                next += 1;
            }
            Poll::Void => {
                saw("void");
                next += 1;
            }
            Poll::Reserved(_) => {
                saw("reserved");
                let named = (0..WRITERS).any(|seat| world.ring.reserved_by(seat) == Some(next));
                if (!named || thread_rng().gen_range(0..4) == 0) && world.ring.void(next) == Ok(Fate::Decided) {
                    saw("voided");
                    world.log.lock().unwrap().void(next);
                } else {
                    thread::yield_now();
                }
            }
            Poll::Lapped => {
                saw("lapped");
                let to = world.ring.resume_after_lap(next);
                assert!(to > next, "a lapped reader gets on");
                assert!(to <= world.ring.newest(), "a gap includes ids that are not taken yet");
                (next, since) = (to, to);
            }
        }
    }
}

/// The oracle of unique events, and their clock.
#[derive(Debug, Default)]
struct Unique {
    clock: u64,
    run: BTreeSet<u64>,
    ignored: BTreeSet<u64>,
}

impl Unique {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// G9.
    fn judge(&mut self, id: u64, decision: Decision) {
        match decision {
            Decision::Won(_) => {
                saw("won");
                assert!(!self.ignored.contains(&id), "event {id} is ignored by one and run by another");
                assert!(self.run.insert(id), "event {id} is run twice");
            }
            Decision::Held { .. } => {
                saw("held");
                assert!(!self.run.contains(&id), "event {id} is run by one and ignored by another");
                self.ignored.insert(id);
            }
            // Counted and reported.
            Decision::Late => saw("late"),
            Decision::Full => saw("full"),
            // The worker that decided it may not have reported yet, or may have been killed.
            Decision::Decided => saw("decided"),
        }
    }
}
