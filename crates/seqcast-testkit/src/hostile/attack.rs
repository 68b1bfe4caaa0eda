//! Attacks: stores of arbitrary values to selected words, between and during the calls of an honest process; and the
//! properties that must hold in that process for any values (G10).

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use seqcast::{Bus, Claim, ClaimOptions, Error, Event, Reservation, Scope, Start, TypedEvent, Unique, Worker};

use super::draw::{Draw, Input, Random};
use super::events::{Chain, Plain, Rich, handle_typed};
use super::look::look;
use super::map::{HEAD_WORDS, META, Map, block_of, cell_word, version_of};
use super::relay::RelayHalves;
use super::scene::{PATIENCE, Scene, Tap, fresh_image, options, used_image, worker_options};
use crate::bus::HOUR;

/// Words of the header that the creator writes.
const HEADER_WORDS: u64 = 18;
/// The word in the payload of a retained event that states where it is kept.
const WHERE: usize = 5;
/// The largest number of calls in one attack.
const MOST_STEPS: usize = 200;

/// Runs the attack that `bytes` describe. With `meanwhile`, another thread also stores while the calls run.
///
/// # Panics
///
/// If a property fails that must hold for any bytes of the segment.
pub fn run(bytes: &[u8], meanwhile: bool) {
    let mut input = Input::new(bytes);
    let image = if input.one_in(4) { fresh_image() } else { used_image() };
    let scene = Scene::of_bytes(image);
    for _ in 0..input.below(8) {
        // Includes the header, which counts only before the segment is opened.
        strike(&mut input, &scene.tap, &scene.map, true);
    }
    // A bound of up to an hour is valid, and then posts may wait that long for a word that says so.
    let patience = Map::header("most_patience");
    if (PATIENCE..=HOUR).contains(&Duration::from_nanos(scene.get(patience))) {
        scene.set(patience, PATIENCE.as_nanos() as u64);
    }
    let opened = scene.open();
    look_from_outside(&scene);
    scene.unname();
    let bus = match opened {
        Ok(bus) => bus,
        Err(error) => return assert_plain(&error),
    };
    let _vandal = meanwhile.then(|| Vandal::start(&scene, input.u64()));
    let mut cast = Cast::new(bus);
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        cast.step(&mut input, &scene);
    }
    cast.curtain();
}

fn look_from_outside(scene: &Scene) {
    look(&scene.name);
    for result in [
        options().inspect(&scene.name).and_then(|inspector| inspector.stats()).map(drop),
        options().open_or_create(&scene.name).map(drop),
    ] {
        if let Err(error) = result {
            assert_plain(&error);
        }
    }
}

/// Checks an error of a hostile segment: it must be one of the expected kinds, and its text must be printable.
pub fn assert_plain(error: &Error) {
    let known = [
        "corrupt",
        "exhausted",
        "truncated",
        "foreign",
        "layout",
        "fingerprint",
        "other_boot",
        "unfinished",
        "replaced",
    ];
    assert!(known.contains(&error.code()), "{error}: {error:?}");
}

/// Checks an error that an honest caller gets for an honest call on an open segment.
pub(super) fn plain<T>(result: seqcast::Result<T>, also: &[&str]) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            // Full: posts may be told to wait for any reader, also for the one that posts.
            let known = ["corrupt", "exhausted", "displaced", "full"];
            assert!(known.contains(&error.code()) || also.contains(&error.code()), "{error}: {error:?}");
            None
        }
    }
}

/// Stores one arbitrary value to one word. With `anywhere`, also to words that are not read after opening.
pub fn strike(draw: &mut impl Draw, tap: &Tap, map: &Map, anywhere: bool) {
    let kinds = if anywhere { 27 } else { 24 };
    match draw.below(kinds) {
        // Events, and the words that locate them.
        0 | 1 => {
            let cell = draw.below(map.capacity);
            let word = map.cell(cell);
            let value = arbitrary_cell(draw, tap.get(word), map.capacity + map.seats, tap);
            tap.set(word, value);
        }
        2 => {
            let word = Map::header("tail");
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        3 => {
            let block = map.block(draw.below(map.capacity + map.seats));
            let word = block.start + draw.below(HEAD_WORDS as u64) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        4 => {
            let block = map.block(draw.below(map.capacity + map.seats));
            let len = draw.below(2 * 8 * map.block_words);
            tap.set(block.start + META, (1 + draw.below(5)) << 32 | len);
        }
        5 | 6 => {
            let block = map.block(draw.below(map.capacity + map.seats));
            let word = block.start + HEAD_WORDS + draw.below(block.len() as u64 - HEAD_WORDS as u64) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        7 => whole_payload(draw, tap, map),
        // Seats.
        8 => {
            let seat = draw.below(map.seats);
            let word = match draw.below(4) {
                0 => map.ring_hand(seat) + draw.below(3) as usize,
                1 => map.claim_hand(seat) + draw.below(3) as usize,
                2 => map.seat(seat, "reserved"),
                _ => map.seat(seat, "hand") + draw.below(64) as usize,
            };
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        9 => {
            // An id that a seat has reserved and names.
            let tail = tap.get(Map::header("tail"));
            let id = tail.wrapping_sub(draw.below(4));
            let word = map.cell(id);
            let version = (id / map.capacity).wrapping_add(1);
            tap.set(map.seat(draw.below(map.seats), "reserved"), id.wrapping_add(1));
            tap.set(word, cell_word(version, 1 + draw.below(3), block_of(tap.get(word))));
        }
        // Claims.
        10 => {
            let word = map.claim_cell(draw.below(map.buckets));
            let value = arbitrary_cell(draw, tap.get(word), map.buckets + map.seats, tap);
            tap.set(word, value);
        }
        11 => {
            let bucket = map.bucket(draw.below(map.buckets + map.seats));
            let word = bucket.start + draw.below(HEAD_WORDS as u64 + 14) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        12 => {
            let word = Map::header(["wake", "wake_reserved", "wake_room"][draw.below(3) as usize]);
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        // Retained events: the slots, their content, and the announcements. The index is among the claims.
        13..=16 if map.slots == 0 => {}
        13 => {
            let word = map.slot_cell(draw.below(map.slots));
            let value = arbitrary_cell(draw, tap.get(word), map.slots + map.seats, tap);
            tap.set(word, value);
        }
        14 => {
            let block = map.value(draw.below(map.slots + map.seats));
            let word = block.start + draw.below(block.len() as u64) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        15 => {
            let word = map.announced(draw.below(map.seats));
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        16 => {
            // A seat's hand, or the word of an event in the ring that states where it is kept.
            let word = if draw.one_in(2) {
                map.slot_hand(draw.below(map.seats)) + draw.below(3) as usize
            } else {
                map.block(draw.below(map.capacity + map.seats)).start + HEAD_WORDS + WHERE
            };
            let value = if draw.one_in(2) { draw.below(1 << 40) } else { arbitrary(draw, tap.get(word), tap) };
            tap.set(word, value);
        }
        // Large blocks, what names them, and the words that locate them.
        17..=19 if map.large == 0 => {}
        17 => {
            let word = match draw.below(3) {
                0 => Map::header("large_tail"),
                1 => map.large_hand(draw.below(map.seats)) + draw.below(3) as usize,
                _ => map.large_block(draw.below(map.large + map.seats)).start + draw.below(HEAD_WORDS as u64) as usize,
            };
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        18 => {
            let word = map.large_cell(draw.below(map.large));
            let value = arbitrary_cell(draw, tap.get(word), map.large + map.seats, tap);
            tap.set(word, value);
        }
        19 => {
            // A block of the ring that names a large id, near one that exists.
            let block = map.block(draw.below(map.capacity + map.seats));
            let len = 8 * (4 + draw.below(6));
            tap.set(block.start + META, 4 << 32 | len);
            tap.set(block.start + HEAD_WORDS, 0x1_0100 | draw.below(4));
            let name = block.start + HEAD_WORDS + len as usize / 8 - 2;
            let large_id = tap.get(Map::header("large_tail")).wrapping_sub(draw.below(4));
            tap.set(name, if draw.one_in(4) { draw.u64() } else { large_id });
            tap.set(name + 1, if draw.one_in(4) { draw.u64() } else { draw.below(8 * map.large_words) });
        }
        // Readers that posts wait for.
        20 => {
            let word = map.must(draw.below(map.seats));
            // Of a small number of joins, a few of which a post may believe in.
            let value = if draw.one_in(2) { draw.below(16) } else { arbitrary(draw, tap.get(word), tap) };
            tap.set(word, value);
        }
        21 => {
            let seat = draw.below(map.seats);
            let (name, near) = match draw.below(3) {
                0 => ("need", tap.get(Map::header("tail"))),
                1 => ("patience", draw.below(1 << 20)),
                _ => ("need", tap.get(map.seat(seat, "need"))),
            };
            let value = arbitrary(draw, near, tap);
            tap.set(map.seat(seat, name), value);
        }
        // What a relay keeps.
        22 => {
            let relay = map.relay();
            let word = relay.start + draw.below(relay.len() as u64) as usize;
            let near = if draw.one_in(2) { tap.get(word) } else { tap.get(Map::header("tail")) };
            let value = arbitrary(draw, near, tap);
            tap.set(word, value);
        }
        23 if map.origins == 0 => {}
        23 => {
            // Of few hosts, so that some are those of the cast.
            let origin = map.origin(draw.below(map.origins.min(6)));
            let word = origin.start + draw.below(origin.len() as u64) as usize;
            let value = if draw.one_in(2) { draw.below(6) } else { arbitrary(draw, tap.get(word), tap) };
            tap.set(word, value);
        }
        24 | 25 => {
            // The file's size stays. The target for opening covers a segment that claims to be larger.
            let word = draw.below(HEADER_WORDS) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
        _ => {
            let word = draw.below(tap.words() as u64) as usize;
            let value = arbitrary(draw, tap.get(word), tap);
            tap.set(word, value);
        }
    }
}

/// Stores a whole seat of arbitrary bytes behind a head that may be valid.
fn whole_payload(draw: &mut impl Draw, tap: &Tap, map: &Map) {
    let block = map.block(draw.below(map.capacity + map.seats));
    let room = block.len() - HEAD_WORDS;
    let len = draw.below(8 * room as u64 + 1);
    tap.set(block.start + META, (1 + draw.below(4)) << 32 | len);
    for word in 0..(len as usize).div_ceil(8) {
        let value = match word {
            0 => draw.u64() & 0xffff_ffff_ff07_0707 | 0x1_0100,
            // If it is retained, a key that fits.
            WHERE => draw.u64() & 0x0000_0fff_ffff_ffff,
            _ => draw.u64(),
        };
        tap.set(block.start + HEAD_WORDS + word, value);
    }
}

/// Returns a word that is near `old`, or a typical edge case, or any value.
fn arbitrary(draw: &mut impl Draw, old: u64, tap: &Tap) -> u64 {
    match draw.below(10) {
        0 => old ^ 1 << draw.below(64),
        1 => old.wrapping_add(1),
        2 => old.wrapping_sub(1),
        3 => u64::from(draw.byte()),
        4 => u64::MAX - u64::from(draw.byte() & 15),
        5 => (1 << draw.below(64)) - draw.below(2),
        6 => old.wrapping_add(u64::from(draw.u16())),
        7 => tap.get(draw.below(tap.words() as u64) as usize),
        8 => old ^ u64::from(draw.byte()) << (8 * draw.below(8)),
        _ => draw.u64(),
    }
}

fn arbitrary_cell(draw: &mut impl Draw, old: u64, blocks: u64, tap: &Tap) -> u64 {
    let version = match draw.below(6) {
        0 => version_of(old),
        1 => version_of(old) + 1,
        2 => version_of(old).wrapping_sub(1),
        3 => draw.below(4),
        4 => (1 << 42) - 1 - draw.below(3),
        _ => return arbitrary(draw, old, tap),
    };
    let block = if draw.one_in(8) { blocks + draw.below(2) } else { draw.below(blocks) };
    cell_word(version, draw.below(4), block)
}

/// A thread that continues to attack.
struct Vandal {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Vandal {
    fn start(scene: &Scene, seed: u64) -> Vandal {
        let stop = Arc::new(AtomicBool::new(false));
        let (tap, map, stopped) = (Arc::clone(&scene.tap), scene.map, Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut random = Random::new(seed);
            while !stopped.load(Ordering::Relaxed) {
                strike(&mut random, &tap, &map, false);
            }
        });
        Vandal { stop, thread: Some(thread) }
    }
}

impl Drop for Vandal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the vandal stumbled");
        }
    }
}

/// The honest workers in the attacked process.
struct Cast {
    bus: Bus,
    workers: Vec<Worker>,
    reservations: Vec<Reservation<Worker>>,
    /// The claim that a handler got with its last unique event.
    last_claim: Option<Claim>,
    relay: Option<RelayHalves>,
}

thread_local! {
    static CLAIM: Cell<Option<Claim>> = const { Cell::new(None) };
}

impl Cast {
    fn new(bus: Bus) -> Cast {
        let mut cast = Cast { bus, workers: Vec::new(), reservations: Vec::new(), last_claim: None, relay: None };
        cast.join(Start::Oldest, false);
        cast
    }

    fn join(&mut self, start: Start, must_read: bool) {
        let resyncs = start == Start::Retained;
        let options = worker_options().start(start).resync(resyncs).label("cast");
        let joined = self.bus.join_with(&if must_read { options.must_read(PATIENCE) } else { options });
        let Some(worker) = plain(joined, &["no_seat", "not_yet", "option"]) else { return };
        let largest = self.bus.largest_event();
        let last = AtomicU64::new(0);
        let all = move |event: &Event<'_>| {
            let Some(id) = event.id() else {
                // The worker is up to date, or everything that it knows is void. In both cases ids may start again.
                assert_eq!(event.source(), seqcast::library::SOURCE);
                if event.topic() == seqcast::library::RESET {
                    last.store(0, Ordering::Relaxed);
                }
                return;
            };
            let place = id + 1;
            let before = last.swap(place, Ordering::Relaxed);
            assert!(before < place, "G1: id {} after {}", place - 1, before - 1);
            for name in [event.source(), event.event()] {
                assert!((1..=255).contains(&name.len()));
            }
            assert!(event.bytes().len() <= largest);
            super::events::touch(event.bytes());
            if let Some(claim) = event.claim() {
                CLAIM.set(Some(claim));
            }
        };
        plain(worker.on(Scope::All, all), &[]);
        let clears = |event: &Event<'_>| {
            assert!(event.is_cleared() && event.bytes().is_empty());
            super::events::touch(event.retained_key().expect("a clear has a key"));
        };
        plain(worker.on_cleared(Scope::All, clears), &[]);
        plain(handle_typed(&worker), &[]);
        self.workers.push(worker);
    }

    fn step(&mut self, draw: &mut impl Draw, scene: &Scene) {
        let kind = draw.below(27);
        if kind < 8 {
            return strike(draw, &scene.tap, &scene.map, false);
        }
        if kind >= 24 {
            return super::relay::step(&mut self.relay, &self.bus, draw);
        }
        if kind == 8 || self.workers.is_empty() {
            let start = match draw.below(9) {
                7 | 8 => Start::Retained,
                0 => Start::Now,
                1 | 2 => Start::Oldest,
                3 => Start::After(draw.u64()),
                4 | 5 => Start::After(draw.below(64)),
                _ => Start::At(draw.u64()),
            };
            return self.join(start, draw.one_in(3));
        }
        let which = draw.below(self.workers.len() as u64) as usize;
        let worker = &self.workers[which];
        match kind {
            9 => {
                let worker = self.workers.swap_remove(which);
                if draw.one_in(2) {
                    plain(worker.leave(), &[]);
                }
            }
            10 => {
                let payload = draw.bytes(120);
                if draw.one_in(2) {
                    plain(worker.post(("s", "event"), payload), &[]);
                } else {
                    plain(worker.try_post(("s", "event"), payload), &[]);
                }
            }
            11 => {
                let len = draw.below(600) as usize;
                plain(worker.post(("s", "large"), vec![draw.byte(); len]), &["payload_too_large"]);
            }
            12 => {
                let posted = match draw.below(3) {
                    0 => worker.post(Plain::TOPIC, &Plain { number: draw.u64(), bytes: [draw.byte(); 12] }),
                    1 => worker.post(Rich::TOPIC, &Rich::example()),
                    _ => worker.post(Chain::TOPIC, &Chain::of_len(1 + draw.below(20) as u32)),
                };
                plain(posted, &["payload_too_large"]);
            }
            13 => {
                let key = [draw.byte() % 4];
                let unique = Unique::key(&key).ttl(Duration::from_nanos(1 + draw.u64() % (1 << 40)));
                plain(worker.event(("s", "unique")).unique(unique).post(draw.bytes(8)), &[]);
            }
            14 => {
                let ttl = Duration::from_nanos(1 + u64::from(draw.u16()));
                let options = ClaimOptions::new(ttl).ends_with_holder(draw.one_in(2));
                let claimed = worker.claim_with([draw.byte() % 32], &options);
                match plain(claimed, &[]) {
                    Some(seqcast::Claimed::Won(claim)) => self.last_claim = Some(claim),
                    other => super::events::touch(&format!("{other:?}")),
                }
            }
            15 => {
                let claim = if draw.one_in(2) { self.last_claim } else { CLAIM.take() };
                let Some(claim) = claim else { return };
                let ttl = Duration::from_nanos(1 + draw.u64() % (1 << 40));
                match draw.below(5) {
                    0 => _ = plain(worker.renew(&claim, ttl), &["claim_lost"]),
                    1 => _ = plain(worker.complete(&claim, ttl), &["claim_lost"]),
                    2 => super::events::touch(&format!("{:?}", plain(worker.left(&claim), &[]))),
                    3 => {
                        let key = [draw.byte() % 32];
                        let held = [plain(worker.held(key), &[]), plain(self.bus.held(key), &[])];
                        super::events::touch(&format!("{held:?}"));
                    }
                    _ => _ = plain(worker.release(&claim), &[]),
                }
            }
            16 => {
                if let Some(reservation) = plain(worker.reserve(), &[]) {
                    self.reservations.push(reservation);
                }
            }
            17 => {
                if let Some(mut reservation) = self.reservations.pop()
                    && draw.one_in(2)
                {
                    let payload = vec![draw.byte(); draw.below(300) as usize];
                    plain(reservation.commit(("s", "late"), payload), &["too_late", "left", "payload_too_large"]);
                }
            }
            18 => {
                plain(worker.poll_at_most(1 + draw.below(4)), &[]);
            }
            20 | 21 => {
                let key = [draw.byte() % 4];
                let event = worker.event(("s", "state")).retain_key(&key);
                let event = if draw.one_in(4) { event.ttl(Duration::from_nanos(1 + draw.u64() % 1000)) } else { event };
                let posted = event.post(vec![draw.byte(); draw.below(400) as usize]);
                plain(posted, &["payload_too_large", "retained_full", "option"]);
            }
            22 => {
                plain(worker.event(("s", "state")).retain_key(&[draw.byte() % 4]).clear(), &["option"]);
            }
            23 => {
                let found = plain(worker.get_key(("s", "state"), [draw.byte() % 4]), &["option"]);
                super::events::touch(&format!("{found:?} {:?}", plain(worker.retained(), &["option"])));
                plain(worker.reconfigure(|options| options.resync(draw.one_in(2))), &["option"]);
            }
            _ => {
                plain(worker.poll(), &[]);
                plain(worker.wait(Duration::ZERO), &[]);
                super::events::touch(&format!("{:?}", plain(self.bus.stats(), &[])));
            }
        }
    }

    /// Carries what is there into a sound segment, and back.
    fn bridge(&self) {
        let other = options().keys_of(&self.bus).anonymous().expect("a new segment");
        for _ in 0..2 {
            let Some(Some(mut bridge)) = plain(self.bus.bridge_to(&other), &["no_seat", "option"]) else { return };
            super::events::touch(&format!("{:?}", plain(bridge.pump(), &["option"])));
        }
        assert!(other.audit().expect("a sound segment").is_clean());
    }

    /// Runs every read path once more, and leaves, in any state.
    fn curtain(mut self) {
        for _ in 0..2 {
            for worker in &self.workers {
                plain(worker.poll(), &[]);
                plain(worker.wait(Duration::from_micros(50)), &[]);
                super::events::touch(&format!("{worker:?}"));
            }
            self.join(Start::Retained, false);
        }
        super::events::touch(&format!("{:?}", plain(self.bus.stats(), &[])));
        self.bridge();
        self.reservations.clear();
        CLAIM.set(None);
    }
}
