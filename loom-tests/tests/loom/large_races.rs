//! Large payloads: two rings, each with its own laps, and deaths between them.
//!
//! The victim has seat 1, because the blocks of a fresh segment have a stamp that reads as seat 0's.

use crate::doubled::{Doubled, Found};
use crate::protocol::ring::{Fate, NoTable};
use crate::race::{Run, race};

const VICTIM: u16 = 1;
const LAPPER: u16 = 0;

#[test]
fn a_reader_copies_a_payload_while_a_lap_overwrites() {
    race("a reader copies a payload while a lap overwrites")
        .preemptions(Some(2), Some(3))
        .allowed(&[
            "",
            "0",
            "0 1",
            "0 1 2",
            "0 missed",
            "0 missed 2",
            "missed",
            "missed 1",
            "missed 1 2",
            "missed missed",
            "missed missed 2",
        ])
        .run(|run| {
            // A payload is overwritten before its event. The third post writes to the block of the first payload.
            one_posts_and_one_follows(run, 4, 3);
        });
}

/// One seat posts, with one large cell, and another actor follows. The outcome is what it found.
fn one_posts_and_one_follows(run: &Run, cells: usize, posts: u64) {
    let world = Doubled::new(run.mode, cells, 1, 1);
    let mut cast = run.cast();
    let (poster, mut seat) = (world.clone(), world.sit(0));
    cast.actor(move || {
        for content in 0..posts {
            poster.post(&mut seat, content);
        }
    });
    let (reader, watch) = (world.clone(), run.clone());
    cast.actor(move || watch.outcome(reader.follow(posts)));
    cast.play();
    world.judge();
}

#[test]
fn a_poster_takes_its_payload_back_while_a_lap_overwrites() {
    race("a poster takes its payload back while a lap overwrites")
        .preemptions(Some(2), Some(3))
        .allowed(&["taken back", "overwritten"])
        .run(|run| {
            let world = Doubled::new(run.mode, 2, 1, 2);
            let mut cast = run.cast();
            let (owner, watch, mut seat) = (world.clone(), run.clone(), world.sit(1));
            cast.actor(move || {
                watch.outcome(if owner.recall(&mut seat, 10) { "taken back" } else { "overwritten" });
            });
            let (lapper, mut seat) = (world.clone(), world.sit(LAPPER));
            cast.actor(move || {
                // The second one writes to the block that the first one has displaced.
                for content in 0..2 {
                    lapper.post(&mut seat, content);
                }
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_reader_copies_a_payload_while_both_rings_lap() {
    race("a reader copies a payload while both rings lap")
        .preemptions(Some(2), Some(3))
        .allowed(&["", "0", "0 1", "lapped 1", "missed", "missed 1"])
        .run(|run| one_posts_and_one_follows(run, 1, 2));
}

#[test]
fn two_large_posters_are_ordered_apart_in_each_ring() {
    race("two large posters are ordered apart in each ring")
        .preemptions(Some(2), Some(3))
        .allowed(&["", "0", "1", "0 1", "1 0", "missed", "missed 0", "missed 1", "0 missed", "1 missed"])
        .run(|run| {
            let world = Doubled::new(run.mode, 2, 1, 2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (world, mut poster) = (world.clone(), world.sit(seat));
                cast.actor(move || _ = world.post(&mut poster, seat.into()));
            }
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || watch.outcome(reader.follow(2)));
            cast.play();
            world.judge();
        });
}

#[test]
fn a_large_poster_is_killed_and_a_lap_confirms() {
    race("a large poster is killed and a lap confirms")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = Doubled::new(run.mode, 4, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut seat) = (world.clone(), run.clone(), world.sit(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut seat, 0));
                let mut seat = victim.sit(VICTIM);
                victim.post(&mut seat, 1);
            });
            let (lapper, mut seat) = (world.clone(), world.sit(LAPPER));
            cast.actor(move || _ = lapper.post(&mut seat, 10));
            cast.play();
            world.judge();
            for id in 0..3 {
                world.poll(id);
            }
            run.outcome(if world.is_known(0) || has_event(&world, 3) { "happened" } else { "did not happen" });
        });
}

/// Returns `true` if the ring has `count` events: that of the victim too, whose payload may be gone.
fn has_event(world: &Doubled, count: u64) -> bool {
    world.poll(count - 1) != Found::Empty
}

#[test]
fn an_adopter_of_a_large_hand_is_killed_too() {
    race("an adopter of a large hand is killed too")
        .deaths(2)
        .preemptions(Some(0), Some(1))
        .allowed(&["happened", "did not happen"])
        .run(|run| {
            let world = Doubled::new(run.mode, 4, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut seat) = (world.clone(), run.clone(), world.sit(VICTIM));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut seat, 0));
                watch.mortal(1, || victim.sit(VICTIM));
                victim.sit(VICTIM);
            });
            let (lapper, mut seat) = (world.clone(), world.sit(LAPPER));
            cast.actor(move || _ = lapper.post(&mut seat, 10));
            cast.play();
            world.judge();
            run.outcome(if has_event(&world, 2) { "happened" } else { "did not happen" });
        });
}

#[test]
fn a_large_commit_meets_a_void_by_a_reader() {
    race("a large commit meets a void by a reader")
        .preemptions(Some(3), None)
        .allowed(&["event", "void", "reserved and then an event"])
        .run(|run| {
            let world = Doubled::new(run.mode, 2, 1, 1);
            let mut seat = world.sit(0);
            let id = world.ring.reserve(&mut seat.hand, &mut NoTable).unwrap();
            let mut cast = run.cast();
            let committer = world.clone();
            cast.actor(move || _ = committer.commit(&mut seat, id, 0));
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                watch.outcome(match reader.poll(id) {
                    Found::Event(0) => "event",
                    Found::Reserved => match reader.ring.void(id).unwrap() {
                        Fate::Decided => {
                            assert_eq!(reader.poll(id), Found::Void);
                            "void"
                        }
                        Fate::TooLate => {
                            assert_eq!(reader.poll(id), Found::Event(0), "decided, and the payload is not there");
                            "reserved and then an event"
                        }
                    },
                    other => panic!("{other:?}"),
                });
            });
            cast.play();
            world.judge();
        });
}
