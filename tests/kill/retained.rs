//! Retained posts, clears and look-ups, and the events of dead posters that others bring into the table.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use seqcast::{Bus, Start, Topic};
use seqcast_testkit::{Log, Noted, alone, poll, quiet};

use crate::payload;
use crate::scene::{Call, Scene, hasty};
use crate::steps::killed_and_stopped_at_every_step_of;

const STATE: Topic<'_> = Topic::new("s", "state");
const KEY: &str = "17";

impl Scene {
    /// A scene in which a call finds a retained event that its dead poster has not brought into the table.
    fn with_an_unsettled_event() -> Scene {
        static PLACES: OnceLock<Vec<u64>> = OnceLock::new();
        let places = PLACES.get_or_init(|| Scene::new().stepped(retain, &[]).learn());
        let mut scene = Scene::new();
        let mut stepped = scene.stepped(retain, places);
        while scene.heard().is_empty() {
            stepped = stepped.next_change().expect("it is posted at some step");
        }
        scene.dying = Some(stepped.child);
        scene
    }
}

fn retain(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

fn retain_another(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.event(STATE).retain_key(KEY).post(payload(20)).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

/// Of two fragments, or in a large block.
fn retain_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(120)).unwrap())
}

/// In a table whose places are all used, by keys that were cleared.
fn retain_in_a_place_of_another(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    for key in ["18", "19"] {
        worker.event(("s", "filler")).retain_key(key).post("").unwrap();
        worker.event(("s", "filler")).retain_key(key).clear().unwrap();
    }
    Box::new(move || worker.event(STATE).retain_key(KEY).post(payload(40)).unwrap())
}

fn clear(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    worker.event(STATE).retain_key(KEY).post(payload(20)).unwrap();
    Box::new(move || worker.event(STATE).retain_key(KEY).clear().unwrap().unwrap())
}

/// Finds an event that it has to bring into the table first.
fn get(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.get_key(STATE, KEY).unwrap().unwrap().id())
}

/// Is handed an event that it has to bring into the table first.
fn be_brought_up_to_date(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet().start(Start::Retained)).unwrap();
    let log = Log::of(&worker, STATE);
    Box::new(move || {
        poll(&worker);
        log.ids()[0]
    })
}

/// Takes the cell of an event that it has to bring into the table first.
fn post_over_it(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let kept = bus.next_id() - 1;
    for _ in 1..bus.capacity() {
        worker.post(("s", "filler"), "").unwrap();
    }
    Box::new(move || {
        worker.post(("s", "filler"), "").unwrap();
        kept
    })
}

/// The same with a retained event of another key.
fn retain_over_it(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let kept = bus.next_id() - 1;
    for _ in 1..bus.capacity() {
        worker.post(("s", "filler"), "").unwrap();
    }
    Box::new(move || {
        worker.event(("s", "filler")).retain_key("18").post("18").unwrap();
        kept
    })
}

/// Takes the dead holder's seat, which is the first free one.
fn adopt(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let (bus, kept) = (bus.clone(), bus.next_id() - 1);
    let others: Vec<_> = (0..2).map(|_| bus.publisher_with(&quiet()).unwrap()).collect();
    Box::new(move || {
        std::mem::forget((bus.join_with(&quiet()).unwrap(), others));
        kept
    })
}

/// Asserts that every look-up and every joiner gets the last event of the key that was received.
fn last_is_kept(scene: &Scene, said: Option<u64>, heard: &[Noted]) {
    let last = heard.iter().rfind(|seen| seen.event == STATE.event());
    let whole = [0, 20, 40, 120].map(payload);
    assert!(heard.iter().all(|seen| whole.contains(&seen.bytes)), "G3: torn");
    if said.is_some() {
        assert_eq!(last.and_then(|seen| seen.id), said, "G5: not where the call said");
    }
    let last = last.filter(|seen| !seen.bytes.is_empty()).map(|seen| (seen.id, seen.bytes.clone()));
    for (worker, _) in &scene.listeners {
        let found = worker.get_key(STATE, KEY).unwrap().map(|found| (Some(found.id()), found.bytes().to_owned()));
        assert_eq!(found, last, "G13: a look-up does not find what was heard last");
    }
    let joiner = scene.bus.join_with(&hasty().start(Start::Retained)).unwrap();
    let log = Log::of(&joiner, STATE);
    poll(&joiner);
    let handed = log.seen().pop().map(|seen| (seen.id, seen.bytes));
    assert_eq!(handed, last, "G14: a joiner is not handed what was heard last");
}

fn last_is_kept_now(scene: &Scene, heard: &[Noted]) {
    last_is_kept(scene, None, heard);
}

/// Kills and stops a call for retained events at every step, each time in a new scene.
fn retains_at_every_step(call: Call, least: usize) {
    killed_and_stopped_at_every_step_of(Scene::new, call, least, last_is_kept, last_is_kept_now);
}

/// Does the same in scenes with a retained event of a killed poster.
fn settles_at_every_step(call: Call, least: usize) {
    let scene = Scene::with_an_unsettled_event;
    killed_and_stopped_at_every_step_of(scene, call, least, last_is_kept, last_is_kept_now);
}

alone! {
    fn g7_g8_g13_an_event_in_a_large_block_is_retained_or_was_not_posted() {
        killed_and_stopped_at_every_step_of(Scene::with_large, retain_long, 25, last_is_kept, last_is_kept_now);
    }

    fn g7_g8_g13_an_event_is_retained_or_was_not_posted() {
        retains_at_every_step(retain, 15);
    }

    fn g7_g8_g13_an_event_takes_the_place_of_the_one_before() {
        retains_at_every_step(retain_another, 15);
    }

    fn g7_g8_g13_an_event_of_fragments_is_retained_or_was_not_posted() {
        retains_at_every_step(retain_long, 25);
    }

    fn g7_g8_g15_a_place_is_taken_from_a_key_that_was_cleared() {
        retains_at_every_step(retain_in_a_place_of_another, 25);
    }

    fn g7_g8_g13_what_is_cleared_stays_so() {
        retains_at_every_step(clear, 15);
    }

    fn g7_g8_g13_a_look_up_brings_the_event_of_a_dead_poster_into_the_table() {
        settles_at_every_step(get, 5);
    }

    fn g7_g8_g14_a_joiner_brings_the_event_of_a_dead_poster_into_the_table() {
        settles_at_every_step(be_brought_up_to_date, 5);
    }

    fn g7_g8_g13_a_post_brings_the_event_that_it_laps_into_the_table() {
        settles_at_every_step(post_over_it, 15);
    }

    fn g7_g8_g13_a_retained_post_brings_the_event_that_it_laps_into_the_table() {
        settles_at_every_step(retain_over_it, 25);
    }

    fn g7_g8_g13_an_adopter_brings_the_event_of_the_dead_into_the_table() {
        settles_at_every_step(adopt, 15);
    }
}
