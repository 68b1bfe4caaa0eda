//! Death in the middle of an exchange, and the successor that determines which block its seat holds.
//!
//! The victim has seat 1, because the blocks of a fresh segment have a stamp that reads as seat 0's.

use crate::protocol::ring::{Fate, NoTable};
use crate::race::race;
use crate::world::{Poll, World};

const VICTIM: u16 = 1;
const LAPPER: u16 = 0;

/// The end of a victim's post, as the others see it.
fn fate_of(world: &World, content: u64) -> &'static str {
    let log = world.log.lock().unwrap();
    let seen = log.posted.values().chain(log.read.values()).any(|&other| other == content);
    if seen { "happened" } else { "did not happen" }
}

#[test]
fn a_poster_is_killed_and_a_lap_confirms() {
    race("a poster is killed and a lap confirms")
        .deaths(1)
        .preemptions(Some(2), Some(4))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                let mut hand = victim.adopt(VICTIM);
                victim.post(&mut hand, 1);
            });
            let (lapper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || {
                lapper.poll(0);
                lapper.post(&mut hand, 10);
            });
            cast.play();
            world.judge();
            run.outcome(fate_of(&world, 0));
        });
}

#[test]
fn a_poster_is_killed_over_its_own_event() {
    race("a poster is killed over its own event")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                victim.post(&mut hand, 0);
                watch.mortal(0, || victim.post(&mut hand, 1));
                victim.adopt(VICTIM);
            });
            let (lapper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || {
                lapper.post(&mut hand, 10);
                lapper.poll(1);
            });
            cast.play();
            world.judge();
            run.outcome(fate_of(&world, 1));
        });
}

#[test]
fn a_helper_that_stopped_confirms_late() {
    race("a helper that stopped confirms late")
        .deaths(1)
        .preemptions(Some(3), Some(3))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                // The block of the first event, which the helper is about to confirm, comes back with the second, and
                // is stamped again in the third post.
                victim.post(&mut hand, 0);
                victim.post(&mut hand, 1);
                let mut hand = victim.adopt(VICTIM);
                watch.mortal(0, || victim.post(&mut hand, 2));
                victim.adopt(VICTIM);
            });
            let (helper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || _ = helper.post(&mut hand, 10));
            cast.play();
            world.judge();
            run.outcome(fate_of(&world, 2));
        });
}

#[test]
fn a_poster_is_killed_and_a_reserve_laps() {
    race("a poster is killed and a reserve laps")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["committed", "too late"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                let mut hand = victim.adopt(VICTIM);
                victim.post(&mut hand, 1);
            });
            let (lapper, watch, mut hand) = (world.clone(), run.clone(), world.adopt(LAPPER));
            cast.actor(move || {
                let id = lapper.ring.reserve(&mut hand, &mut NoTable).unwrap();
                watch.outcome(match lapper.commit(&mut hand, id, 10) {
                    Fate::Decided => "committed",
                    Fate::TooLate => "too late",
                });
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_reserver_is_killed_over_its_own_event_and_a_post_laps() {
    race("a reserver is killed over its own event and a post laps")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["reserved", "not reserved"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            victim.post(&mut hand, 0);
            cast.actor(move || {
                let reserved = watch.mortal(0, || {
                    let id = victim.ring.reserve(&mut hand, &mut NoTable).unwrap();
                    victim.commit(&mut hand, id, 1);
                });
                watch.outcome(if reserved.is_some() { "reserved" } else { "not reserved" });
                victim.adopt(VICTIM);
            });
            let (lapper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || _ = lapper.post(&mut hand, 10));
            cast.play();
            world.judge();
        });
}

#[test]
fn a_committer_is_killed_and_a_reader_voids() {
    race("a committer is killed and a reader voids")
        .deaths(1)
        .preemptions(Some(4), None)
        .allowed(&["void", "too late to void", "nothing to void"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || {
                    let id = victim.ring.reserve(&mut hand, &mut NoTable).unwrap();
                    victim.commit(&mut hand, id, 0);
                });
                let mut hand = victim.adopt(VICTIM);
                victim.post(&mut hand, 1);
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                watch.outcome(match reader.poll(0) {
                    Poll::Reserved(_) => match reader.ring.void(0).unwrap() {
                        Fate::Decided => {
                            reader.log.lock().unwrap().void(0);
                            "void"
                        }
                        Fate::TooLate => "too late to void",
                    },
                    _ => "nothing to void",
                });
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn an_adopter_is_killed_too() {
    race("an adopter is killed too")
        .deaths(2)
        .preemptions(Some(1), Some(3))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                watch.mortal(1, || victim.adopt(VICTIM));
                victim.adopt(VICTIM);
            });
            let (lapper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || {
                lapper.poll(0);
                lapper.post(&mut hand, 10);
            });
            cast.play();
            world.judge();
            run.outcome(fate_of(&world, 0));
        });
}

#[test]
fn an_adopter_is_killed_in_its_first_post() {
    race("an adopter is killed in its first post")
        .deaths(2)
        .deep_only()
        .preemptions(None, Some(1))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                watch.mortal(1, || {
                    let mut hand = victim.adopt(VICTIM);
                    victim.post(&mut hand, 1);
                });
                let mut hand = victim.adopt(VICTIM);
                victim.post(&mut hand, 2);
            });
            let (lapper, mut hand) = (world.clone(), world.adopt(LAPPER));
            cast.actor(move || _ = lapper.post(&mut hand, 10));
            cast.play();
            world.judge();
            run.outcome(fate_of(&world, 1));
        });
}

#[test]
fn two_posters_are_killed_on_one_cell() {
    race("two posters are killed on one cell")
        .deaths(2)
        .preemptions(Some(1), Some(2))
        .allowed(&[
            "0 happened, 10 happened",
            "0 happened, 10 did not happen",
            "0 did not happen, 10 happened",
            "0 did not happen, 10 did not happen",
        ])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(seat));
                cast.actor(move || {
                    watch.mortal(seat.into(), || victim.post(&mut hand, u64::from(seat) * 10));
                    victim.adopt(seat);
                });
            }
            cast.play();
            world.judge();
            run.outcome(format!("0 {}, 10 {}", fate_of(&world, 0), fate_of(&world, 10)));
        });
}
