//! Claims and their ends, and deliveries of unique events.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use seqcast::{Bus, ClaimOptions, Claimed, Event, Scope, Worker};
use seqcast_testkit::{HOUR, Log, Noted, alone, poll, quiet};

use crate::payload;
use crate::scene::Scene;
use crate::steps::killed_and_stopped_at_every_step;

/// Returns 1 if the claim was won.
fn claim(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Won(_))))
}

/// Returns 1 if the claim was released.
fn release(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
    Box::new(move || u64::from(worker.release(&claim).unwrap()))
}

fn for_life() -> ClaimOptions {
    ClaimOptions::new(HOUR).ends_with_holder(true)
}

/// Returns 1 if the claim was won.
fn claim_for_life(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || u64::from(worker.claim_with("key", &for_life()).unwrap().won().is_some()))
}

/// Returns 1 if the claim of a worker that has left was taken over.
fn take_over(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let mut left = bus.publisher().unwrap();
    assert!(left.claim_with("key", &for_life()).unwrap().won().is_some());
    drop(left);
    Box::new(move || u64::from(worker.claim_with("key", &for_life()).unwrap().won().is_some()))
}

/// A claim that outlives its holder.
fn renew(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() else { panic!("not won") };
    Box::new(move || {
        worker.renew(&claim, 3 * HOUR).unwrap();
        0
    })
}

/// A claim that ends with its holder.
fn complete(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let Claimed::Won(claim) = worker.claim_with("key", &for_life()).unwrap() else { panic!("not won") };
    Box::new(move || {
        worker.complete(&claim, 3 * HOUR).unwrap();
        0
    })
}

/// Polls three events, of which the second is unique; counts the runs of that one.
fn deliver(bus: &Bus, said: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let ran = Scope::events("s", ["unique"]);
    let count = |_: &Event<'_>| {
        said[1].fetch_add(1, Relaxed);
    };
    worker.on(ran, count).unwrap();
    worker.post(("s", "first"), b"1").unwrap();
    worker.event(("s", "unique")).unique("key").ttl(HOUR).post(payload(24)).unwrap();
    worker.post(("s", "last"), b"3").unwrap();
    Box::new(move || poll(&worker).0)
}

/// Either the caller or a listener has the key.
fn claim_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let [(first, _), (second, _)] = &scene.listeners;
    let won = |worker: &Worker| matches!(worker.claim("key", HOUR).unwrap(), Claimed::Won(_));
    let (first_won, second_won) = (won(first), won(second));
    assert!(!second_won, "G9: held, and won by another");
    assert!(!(first_won && said == Some(1)), "G9: held by two");
}

fn release_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let won = matches!(scene.listeners[0].0.claim("key", HOUR).unwrap(), Claimed::Won(_));
    assert!(won || said.is_none(), "released, and held still");
    assert_ne!(said, Some(0), "no other process had it");
}

/// The caller is dead or has ended: the first listener wins the key, and the second one does not.
fn claim_has_ended(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    assert_ne!(said, Some(0), "no other process had it");
    let won = |(worker, _): &(Worker, Log)| worker.claim_with("key", &for_life()).unwrap().won().is_some();
    assert_eq!(scene.listeners.each_ref().map(won), [true, false], "G20: not free for one, and for one alone");
}

fn renewal_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let held = scene.bus.held("key").unwrap().expect("G20: a renewal gave the key up");
    assert!(held.left > HOUR / 2 && (held.left > 2 * HOUR || said.is_none()), "G20: not renewed");
}

fn completion_is_whole(scene: &Scene, said: Option<u64>, _: &[Noted]) {
    let held = scene.bus.held("key").unwrap();
    assert!(held.is_some() || said.is_none(), "G20: what is done is free");
    assert!(held.as_ref().is_none_or(|held| !held.ends_with_holder && held.left > 2 * HOUR), "{held:?}");
    let won = scene.listeners[0].0.claim_with("key", &for_life()).unwrap().won();
    assert_eq!(won.is_some(), held.is_none(), "G20: a look and a claim do not agree");
}

fn unique_runs_at_most_once(scene: &Scene, said: Option<u64>, heard: &[Noted]) {
    let events = |wanted: &str| heard.iter().filter(|seen| seen.event == wanted).count() as u64;
    assert_eq!((events("first"), events("last")), (1, 1));
    let ran = events("unique") + scene.said[1].load(Relaxed);
    assert!(ran <= 1, "G9: it ran twice");
    if said.is_some() {
        assert_eq!(ran, 1, "G9: without a kill, it never ran");
    }
}

alone! {
    fn g7_g8_a_claim_is_held_by_one() {
        killed_and_stopped_at_every_step(claim, 5, claim_is_whole);
    }

    fn g7_g8_a_release_happens_or_does_not() {
        killed_and_stopped_at_every_step(release, 5, release_is_whole);
    }

    fn g20_a_claim_ends_with_its_killed_holder() {
        killed_and_stopped_at_every_step(claim_for_life, 5, claim_has_ended);
    }

    fn g20_a_rescuer_is_killed_too() {
        killed_and_stopped_at_every_step(take_over, 5, claim_has_ended);
    }

    fn g20_a_renewal_happens_or_does_not() {
        killed_and_stopped_at_every_step(renew, 5, renewal_is_whole);
    }

    fn g20_a_completion_happens_or_does_not() {
        killed_and_stopped_at_every_step(complete, 5, completion_is_whole);
    }

    fn g7_g8_g9_a_poll_runs_a_unique_event_once_at_most() {
        killed_and_stopped_at_every_step(deliver, 10, unique_runs_at_most_once);
    }
}
