//! Posts, in a block, in fragments and in a large block, and commits.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use seqcast::{Bus, Cause, Sink};
use seqcast_testkit::{Noted, alone, poll, quiet, shared_words};

use crate::payload;
use crate::scene::Scene;
use crate::steps::{at_every_step_of, killed_and_stopped_at_every_step, killed_and_stopped_with_large};

pub(super) fn post(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.post(("s", "post"), payload(40)).unwrap())
}

/// Written to the block in pieces of odd lengths.
fn post_filled(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let fill = |sink: &mut Sink<'_>| payload(40).chunks(7).try_for_each(|piece| sink.put(piece));
    Box::new(move || publisher.post_with(("s", "post"), 40, fill).unwrap())
}

/// Of two fragments, or in a large block.
pub(super) fn post_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    assert_eq!(bus.stats().unwrap().sizes.block_size, 160);
    Box::new(move || worker.post(("s", "long"), payload(180)).unwrap())
}

fn post_long_unique(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(("s", "unique")).unique("key").post(payload(180)).unwrap())
}

fn post_unique(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.event(("s", "unique")).unique("key").post(payload(24)).unwrap())
}

const TOO_LATE: u64 = 1 << 40;

/// The id, or [`TOO_LATE`].
fn reserve_and_commit(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || match worker.reserve().unwrap().commit(("s", "commit"), payload(40)) {
        Ok(id) => id,
        Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => TOO_LATE,
        Err(error) => panic!("{error}"),
    })
}

/// The same, in a large block.
fn reserve_and_commit_long(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || match worker.reserve().unwrap().commit(("s", "commit"), payload(180)) {
        Ok(id) => id,
        Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => TOO_LATE,
        Err(error) => panic!("{error}"),
    })
}

/// With a reserved id from the preparation.
pub(super) fn commit(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    let mut reservation = worker.reserve().unwrap();
    Box::new(move || reservation.commit(("s", "commit"), payload(40)).unwrap())
}

fn reserve_and_drop(bus: &Bus, _: &'static [AtomicU64]) -> Box<dyn FnOnce() -> u64> {
    let worker = bus.join_with(&quiet()).unwrap();
    Box::new(move || worker.reserve().unwrap().id())
}

/// An event of `len` bytes exists completely or not at all; and it exists if the call said so.
fn whole_or_nothing(said: Option<u64>, heard: &[Noted], event: &str, len: usize) {
    for seen in heard {
        assert_eq!((&*seen.event, &*seen.bytes), (event, &*payload(len)), "G3: torn");
    }
    assert!(heard.len() <= 1, "G5: posted once, heard {} times", heard.len());
    if let Some(id) = said {
        assert_eq!(heard.first().and_then(|seen| seen.id), Some(id), "G5: not where the post said");
    }
}

pub(super) fn post_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "post", 40);
}

fn long_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "long", 180);
}

fn long_unique_runs_once(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "unique", 180);
}

fn unique_runs_once(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    whole_or_nothing(said, heard, "unique", 24);
}

fn commit_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    commit_of_len_is_whole(said, heard, 40);
}

fn long_commit_is_whole(_: &Scene, said: Option<u64>, heard: &[Noted]) {
    commit_of_len_is_whole(said, heard, 180);
}

fn commit_of_len_is_whole(said: Option<u64>, heard: &[Noted], len: usize) {
    whole_or_nothing(said.filter(|&said| said != TOO_LATE), heard, "commit", len);
    if said == Some(TOO_LATE) {
        assert_eq!(heard.len(), 0, "G5: too late, and heard");
    }
}

pub(super) fn nothing_is_heard(_: &Scene, _: Option<u64>, heard: &[Noted]) {
    assert_eq!(heard.len(), 0);
}

alone! {
    fn g7_g8_a_post_in_a_large_block_happens_once_or_not_at_all() {
        killed_and_stopped_with_large(post_long, 20, long_is_whole);
    }

    fn g7_g8_a_unique_post_in_a_large_block_runs_once_or_not_at_all() {
        killed_and_stopped_with_large(post_long_unique, 20, long_unique_runs_once);
    }

    fn g7_g8_a_commit_in_a_large_block_happens_once_or_says_that_it_is_too_late() {
        killed_and_stopped_with_large(reserve_and_commit_long, 25, long_commit_is_whole);
    }

    fn g4_g8_a_payload_that_is_overwritten_before_its_event_is_posted_is_missed() {
        let places = Scene::with_large().stepped(post_long, &[]).learn();
        let (whole, missed) = (shared_words(1), shared_words(1));
        at_every_step_of(Scene::with_large, post_long, &places, |scene, stepped| {
            let before = scene.heard();
            // More than a lap of the large ring, and less than one of the ring.
            scene.post_and_hear_large(3);
            stepped.let_go();
            let id = scene.said().expect("it was posted");
            for (worker, log) in &scene.listeners {
                let told = poll(worker);
                let heard: Vec<_> = log.seen().into_iter().filter(|seen| seen.event == "long").collect();
                if heard.is_empty() {
                    assert_eq!((told, before.len()), ((0, 1), 0), "G4: not told exactly that one is missed");
                    assert_eq!(worker.cursor(), id + 1, "G4: missed in another place");
                    missed[0].fetch_add(1, Relaxed);
                } else {
                    whole_or_nothing(Some(id), &heard, "long", 180);
                    whole[0].fetch_add(1, Relaxed);
                }
            }
            assert!(scene.bus.audit().unwrap().is_clean());
        });
        assert!([whole, missed].iter().all(|count| count[0].load(Relaxed) > 0), "only one of the two was met");
    }

    fn g7_g8_a_post_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post, 10, post_is_whole);
    }

    fn g7_g8_a_post_that_fills_its_block_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_filled, 10, post_is_whole);
    }

    fn g7_g8_a_post_of_fragments_happens_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_long, 20, long_is_whole);
    }

    fn g7_g8_a_unique_post_runs_once_or_not_at_all() {
        killed_and_stopped_at_every_step(post_unique, 10, unique_runs_once);
    }

    fn g7_g8_a_commit_happens_once_or_says_that_it_is_too_late() {
        killed_and_stopped_at_every_step(reserve_and_commit, 15, commit_is_whole);
    }

    fn g7_g8_a_reservation_that_is_given_up_delays_nobody() {
        killed_and_stopped_at_every_step(reserve_and_drop, 5, nothing_is_heard);
    }
}
