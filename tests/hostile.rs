//! G10: any content of a segment, even if it changes while it is read, leads to an error or to a wrong payload that
//! fails validation. It never leads to undefined behaviour, a panic or an endless loop.
//!
//! Cases found by fuzzing are kept here by name. The last two tests run the fuzz targets' attacks from fixed seeds. The
//! targets themselves are in `fuzz`.

#![cfg(feature = "typed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use seqcast::{Bus, Claim, Event, Polled, Scope, SegmentOptions, Start, TypedEvent, Worker};
use seqcast_testkit::HANGS;
use seqcast_testkit::hostile::attack;
use seqcast_testkit::hostile::draw::{Draw, Random};
use seqcast_testkit::hostile::events::{Chain, handle_typed};
use seqcast_testkit::hostile::map::{Map, cell_word};
use seqcast_testkit::hostile::scene::{Scene, options, worker_options};

fn random_attacks(seed: u64, attacks: usize, meanwhile: bool) {
    let mut random = Random::new(seed);
    for _ in 0..attacks {
        let bytes = random.bytes(600);
        attack::run(&bytes, meanwhile);
    }
}

#[test]
fn g10_random_stores_between_calls_do_no_harm() {
    random_attacks(1, 1500, false);
}

#[test]
fn g10_random_stores_during_calls_do_no_harm() {
    random_attacks(2, 300, true);
}

/// A recursive type is validated by recursion, and the bytes decide its depth: a link takes eight of them.
#[test]
fn g10_a_value_of_endless_depth_is_refused_and_not_recursed_into() {
    let bus = SegmentOptions::new().anonymous().unwrap();
    let worker = bus.join_with(&worker_options()).unwrap();
    handle_typed(&worker).unwrap();
    let delivered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&delivered);
    worker.on(Scope::source("typed"), move |_: &Event<'_>| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    let sender = worker.clone();
    // Archiving recurses too, but in the sender, which has the stack for it.
    let deep = std::thread::Builder::new()
        .stack_size(1 << 30)
        .spawn(move || sender.post(Chain::TOPIC, &Chain::of_len(30_000)));
    deep.unwrap().join().unwrap().unwrap();
    worker.post(Chain::TOPIC, &Chain::of_len(128)).unwrap();
    let _ = worker.poll().unwrap();
    assert_eq!(delivered.load(Ordering::Relaxed), 2);
    let stats = bus.stats().unwrap();
    assert_eq!(stats.workers[0].failed, 1, "the deep one alone is refused");
}

/// A bus with workers that record what they run.
struct Stage {
    bus: Bus,
    ran: Arc<Mutex<Vec<(&'static str, u64)>>>,
    claims: Arc<Mutex<Vec<Claim>>>,
}

impl Stage {
    fn new() -> Stage {
        let bus = options().capacity(64).anonymous().unwrap();
        Stage { bus, ran: Arc::default(), claims: Arc::default() }
    }

    fn join(&self, name: &'static str, start: Start) -> Worker {
        let options = worker_options().announce(false).timeout(Duration::from_secs(3600)).start(start);
        let worker = self.bus.join_with(&options).unwrap();
        let (ran, claims) = (Arc::clone(&self.ran), Arc::clone(&self.claims));
        let note = move |event: &Event<'_>| {
            ran.lock().unwrap().push((name, event.id().unwrap()));
            claims.lock().unwrap().extend(event.claim());
        };
        worker.on(Scope::All, note).unwrap();
        worker
    }

    fn last_claim(&self) -> Claim {
        self.claims.lock().unwrap().pop().unwrap()
    }

    fn ran(&self) -> Vec<(&'static str, u64)> {
        self.ran.lock().unwrap().clone()
    }
}

/// Found while writing the model of the fuzz target `model`: two decided events of a key say nothing about those
/// between them, if different workers decided the two.
#[test]
fn g9_an_undecided_event_between_two_decided_ones_is_run() {
    let stage = Stage::new();
    let early = stage.join("early", Start::Now);
    early.event(("job", "run")).unique("key").post(b"0").unwrap();
    early.post(("plain", "event"), b"1").unwrap();
    early.event(("job", "run")).unique("key").post(b"2").unwrap();
    let late = stage.join("late", Start::Now);
    late.event(("job", "run")).unique("key").post(b"3").unwrap();
    // Wins 3.
    let _ = late.poll().unwrap();
    // 0 is ignored, because the key is held; 1 is delivered.
    let _ = early.poll_at_most(1).unwrap();
    assert!(late.release(&stage.last_claim()).unwrap());
    // The first worker that reaches 2, and the key is free.
    let _ = early.poll().unwrap();
    assert_eq!(stage.ran(), [("late", 3), ("early", 1), ("early", 2)]);
}

/// Found by the fuzz target `model`: a worker that skips a message because it began before the worker joined has not
/// decided it.
#[test]
fn g9_a_unique_event_that_began_before_a_worker_is_left_to_the_others() {
    let stage = Stage::new();
    let early = stage.join("early", Start::Now);
    let long = early.event(("job", "run")).unique("key").post([7; 400]).unwrap();
    assert!(long > 0, "it is to be of several fragments");
    let late = stage.join("late", Start::At(long));
    let short = late.event(("job", "run")).unique("key").post(b"short").unwrap();
    let _ = late.poll().unwrap();
    assert!(late.release(&stage.last_claim()).unwrap());
    let _ = early.poll().unwrap();
    assert_eq!(stage.ran(), [("late", short), ("early", long)]);
}

/// Repeatedly stores the values of `next` into `word`, until the returned guard is dropped.
fn keep_storing(scene: &Scene, word: usize, next: impl Fn(u64) -> u64 + Send + 'static) -> impl Drop {
    struct Storing(Arc<AtomicBool>, Option<JoinHandle<()>>);
    impl Drop for Storing {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
            let _ = self.1.take().unwrap().join();
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (tap, stopped) = (Arc::clone(&scene.tap), Arc::clone(&stop));
    let thread = thread::spawn(move || {
        for round in 0.. {
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            tap.set(word, next(round));
        }
    });
    Storing(stop, Some(thread))
}

/// Panics if `call` does not end, as all calls must, with or without interference. The limit is far beyond what any of
/// them needs on a busy host; it only distinguishes long from endless.
fn ends<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = mpsc::channel();
    let began = Instant::now();
    thread::spawn(move || tell.send(call()));
    let answer = told.recv_timeout(HANGS).expect("the call does not end");
    println!("took {:?}", began.elapsed());
    answer
}

fn assert_ok_or_corrupt<T>(result: &seqcast::Result<T>) {
    let code = result.as_ref().err().map(seqcast::Error::code);
    assert!(matches!(code, None | Some("corrupt")), "{code:?}");
}

#[test]
fn g10_a_poll_ends_where_an_id_is_reserved_again_as_often_as_it_is_given_up() {
    let (scene, bus) = Scene::new(&options());
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    scene.set(Map::header("tail"), 1);
    let _storing = keep_storing(&scene, scene.map.cell(0), |_| cell_word(1, 1, 0));
    assert_ok_or_corrupt(&ends(move || worker.poll()));
}

#[test]
fn g10_a_lap_that_the_event_id_denies_is_an_error_and_not_a_gap() {
    let (scene, bus) = Scene::new(&options());
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    // Two laps ahead, where the event id shows that there was none.
    scene.set(scene.map.cell(0), cell_word(3, 0, 0));
    assert_eq!(worker.poll().unwrap_err().code(), "corrupt");
    // With a matching event id it is a lap like any other.
    scene.set(Map::header("tail"), 2 * scene.map.capacity + 1);
    assert!(matches!(worker.poll().unwrap(), Polled::Done { delivered: 0, missed, .. } if missed > 0));
}

#[test]
fn g10_a_post_ends_where_the_event_id_never_stands_still() {
    let (scene, bus) = Scene::new(&options());
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    let _storing = keep_storing(&scene, Map::header("tail"), |round| round % 16);
    let results = ends(move || [0; 64].map(|_| worker.post(("s", "e"), b"x")));
    results.iter().for_each(assert_ok_or_corrupt);
}

#[test]
fn g10_a_claim_ends_where_its_bucket_never_stands_still() {
    // One bucket, so that every key is in it.
    let (scene, bus) = Scene::new(&options().claims(4));
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    let _storing = keep_storing(&scene, scene.map.claim_cell(0), |round| cell_word(1 + (round >> 4), 0, round % 5));
    let stats = bus.clone();
    let results = ends(move || [0; 8].map(|_| worker.claim("key", Duration::from_secs(1)).map(drop)));
    results.iter().for_each(assert_ok_or_corrupt);
    assert_ok_or_corrupt(&ends(move || stats.stats().map(drop)));
}

#[test]
fn g10_a_poll_ends_where_a_cell_never_stands_still() {
    let (scene, bus) = Scene::new(&options());
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    scene.set(Map::header("tail"), 1);
    let _storing = keep_storing(&scene, scene.map.cell(0), |round| cell_word(1 + (round & 1), round >> 1, 0));
    assert_ok_or_corrupt(&ends(move || worker.poll()));
}

#[test]
fn g10_a_wait_ends_where_the_wake_word_never_stands_still() {
    let (scene, bus) = Scene::new(&options());
    let worker = bus.join_with(&worker_options().announce(false)).unwrap();
    let _storing = keep_storing(&scene, Map::header("wake"), |round| round);
    assert!(!ends(move || {
        for _ in 0..100 {
            worker.post(("s", "e"), b"x").unwrap();
            let _ = worker.poll().unwrap();
        }
        worker.wait(Duration::from_millis(5)).unwrap()
    }));
}

/// Only what a relay keeps is attacked. Local events do not depend on it. Of another host's events, exactly those are
/// delivered of which the relay says that they were posted, as they were posted.
#[test]
fn g10_whatever_a_relay_finds_of_itself_no_event_is_wrong_or_untold() {
    use seqcast::relay::{Foreign, RelayOptions};
    use seqcast::{ClusterId, Origin};
    type Delivered = (Option<Origin>, Option<ClusterId>, Vec<u8>);

    let (mut random, mut relays, mut posted) = (Random::new(3), 0, 0);
    for round in 0..200 {
        let (scene, bus) = Scene::new(&options().capacity(64).relay_hosts(8));
        let worker = bus.join_with(&worker_options().announce(false)).unwrap();
        let got: Arc<Mutex<Vec<Delivered>>> = Arc::default();
        let all = Arc::clone(&got);
        let note = move |event: &Event<'_>| {
            all.lock().unwrap().push((event.origin(), event.cluster_id(), event.bytes().to_vec()));
        };
        worker.on(Scope::All, note).unwrap();
        let mut strike = || {
            for word in scene.map.relay().chain(scene.map.origin(0).start..scene.map.origin(7).end) {
                match random.below(4) {
                    0 => scene.set(word, random.below(8)),
                    1 => scene.set(word, random.u64()),
                    2 => scene.set(word, u64::MAX - random.below(2)),
                    _ => {}
                }
            }
        };
        let mut expected: Vec<Delivered> = Vec::new();
        for turn in 0..3_u64 {
            strike();
            std::hint::black_box(format!("{:?}", seqcast::inspect::Inspector::open(&scene.name).unwrap().relay()));
            // A segment that says that it has a relay takes requests, which no worker gets.
            if let Err(error) = worker.post_cluster(("s", "request"), "") {
                assert_eq!(error.code(), "no_relay");
            }
            worker.post(("s", "local"), [turn as u8]).unwrap();
            expected.push((None, None, vec![turn as u8]));
            let (mut reader, mut poster) = match bus.relay(&RelayOptions::new()) {
                Ok(relay) => relay.split(),
                // The words name the seat of a worker that lives.
                Err(error) => {
                    assert!(["relay_taken", "no_seat"].contains(&error.code()), "{error}");
                    continue;
                }
            };
            relays += 1;
            for id in 0..6 {
                if id % 3 == 2 {
                    strike();
                }
                let (origin, place) = (Origin::from_bits(1 + id % 2), ClusterId { timeline: 1, n: turn * 6 + id });
                let bytes = [turn as u8, id as u8, 7];
                match poster.post(&Foreign::new(origin, turn * 6 + id, place, "far", "event", &bytes)) {
                    Ok(true) => {
                        posted += 1;
                        expected.push((Some(origin), Some(place), bytes.to_vec()));
                    }
                    // The table says that it was seen.
                    Ok(false) => {}
                    // Displaced: the words say that another process is the relay.
                    Err(error) => assert!(["relay_full", "displaced"].contains(&error.code()), "{error}"),
                }
            }
            let mut read = || -> seqcast::Result<()> {
                while reader.try_next()?.is_some() {}
                Ok(())
            };
            assert!(read().map_or_else(|error| error.code() == "displaced", |()| true));
        }
        assert_eq!(worker.poll().unwrap().missed(), 0);
        assert_eq!(*got.lock().unwrap(), expected, "round {round}");
    }
    assert!(relays > 300 && posted > 300, "{relays} relays of 600 posted {posted} events");
}
