//! G10: any content of a segment, also one changing while it is read, gives an error or a wrong payload that fails
//! validation: no undefined behaviour, no panic, no endless loop.
//!
//! The cases that fuzzing found are kept here by name; the last two tests run the fuzz targets' attacks from fixed seeds.
//! The targets themselves are in `fuzz`.

#[path = "hostile/mod.rs"]
mod hostile;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostile::attack;
use hostile::draw::{Draw, Random};
use hostile::events::{Chain, handle_typed};
use hostile::scene::worker_options;
use seqcast::{Bus, Event, Options, Scope};

fn random_attacks(seed: u64, attacks: usize, meanwhile: bool) {
    let mut random = Random(seed);
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

/// A recursive type is validated by recursion, whose depth the bytes decide: a link takes eight of them.
#[test]
fn g10_a_value_of_endless_depth_is_refused_and_not_recursed_into() {
    let bus = Bus::anonymous(&Options::new()).unwrap();
    let worker = bus.join_with(worker_options()).unwrap();
    handle_typed(&worker).unwrap();
    let delivered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&delivered);
    worker.on(Scope::source("typed"), move |_: &Event<'_>| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    let sender = worker.clone();
    // Archiving recurses too, which is the sender's affair: it has the stack for it.
    let deep = std::thread::Builder::new().stack_size(1 << 30).spawn(move || sender.post_typed(&Chain::of_len(30_000)));
    deep.unwrap().join().unwrap().unwrap();
    worker.post_typed(&Chain::of_len(128)).unwrap();
    let _ = worker.poll().unwrap();
    assert_eq!(delivered.load(Ordering::Relaxed), 2);
    let stats = bus.stats().unwrap();
    assert_eq!(stats.workers[0].failed, 1, "the deep one alone is refused");
}

/// Found by writing the model of the fuzz target `model`: two decided events of a key say nothing of those between them,
/// if the worker that decided the earlier one is not the one that decided the later.
#[test]
fn g9_an_undecided_event_between_two_decided_ones_is_run() {
    let bus = Bus::anonymous(&Options::new().capacity(64)).unwrap();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let claims = Arc::new(Mutex::new(Vec::new()));
    let join = |name: &'static str| {
        let options = worker_options().announce(false).timeout(Duration::from_secs(3600));
        let worker = bus.join_with(options).unwrap();
        let (ran, claims) = (Arc::clone(&ran), Arc::clone(&claims));
        worker
            .on(Scope::All, move |event: &Event<'_>| {
                ran.lock().unwrap().push((name, event.id().unwrap()));
                claims.lock().unwrap().extend(event.claim());
            })
            .unwrap();
        worker
    };
    let early = join("early");
    early.post_unique("job", "run", b"0", "key").unwrap();
    early.post("plain", "event", b"1").unwrap();
    early.post_unique("job", "run", b"2", "key").unwrap();
    let late = join("late");
    late.post_unique("job", "run", b"3", "key").unwrap();
    let _ = late.poll().unwrap(); // wins 3
    let _ = early.poll_at_most(1).unwrap(); // 0 is ignored, as the key is held; 1 is delivered
    let claim = claims.lock().unwrap().pop().unwrap();
    assert!(late.release(&claim).unwrap());
    let _ = early.poll().unwrap(); // the first to reach 2, and the key is free
    assert_eq!(*ran.lock().unwrap(), [("late", 3), ("early", 1), ("early", 2)]);
}
