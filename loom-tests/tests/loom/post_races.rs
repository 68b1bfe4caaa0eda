//! Posting: the exchange, its helpers, and concurrent readers.

use crate::race::{Run, race};
use crate::world::{Poll, World};

#[test]
fn two_posters_meet_in_one_cell() {
    race("two posters meet in one cell").preemptions(None, None).allowed(&["0 first", "1 first"]).run(|run| {
        let world = World::new(run.mode, 1, 2);
        let mut cast = run.cast();
        for seat in 0..2 {
            let (world, mut hand) = (world.clone(), world.adopt(seat));
            cast.actor(move || _ = world.post(&mut hand, u64::from(seat)));
        }
        cast.play();
        world.judge();
        let log = world.log.lock().unwrap();
        assert_eq!(log.posted.keys().copied().collect::<Vec<_>>(), [0, 1], "ids are dense");
        run.outcome(format!("{} first", log.posted[&0]));
    });
}

#[test]
fn two_posters_fill_two_cells() {
    race("two posters fill two cells").preemptions(Some(2), Some(4)).allowed(&["0 0", "0 1", "1 0", "1 1"]).run(
        |run| {
            let world = World::new(run.mode, 2, 2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (world, mut hand) = (world.clone(), world.adopt(seat));
                cast.actor(move || {
                    let first = world.post(&mut hand, u64::from(seat) * 10);
                    let second = world.post(&mut hand, u64::from(seat) * 10 + 1);
                    assert!(first < second, "a worker's own events are in its order");
                });
            }
            cast.play();
            world.judge();
            let log = world.log.lock().unwrap();
            assert_eq!(log.posted.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3], "ids are dense");
            run.outcome(format!("{} {}", log.posted[&0] / 10, log.posted[&3] / 10));
        },
    );
}

#[test]
fn a_reader_copies_while_a_lap_overwrites() {
    race("a reader copies while a lap overwrites")
        .preemptions(None, None)
        .allowed(&["", "0", "0 1", "0 lapped", "lapped", "0 1 2"])
        .run(|run| {
            let world = World::new(run.mode, 1, 1);
            let mut cast = run.cast();
            let (poster, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || {
                for content in 0..3 {
                    poster.post(&mut hand, content);
                }
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || watch.outcome(reader.follow(0, 3).join(" ")));
            cast.play();
            world.judge();
        });
}

#[test]
fn two_readers_of_two_posters_agree() {
    race("two readers of two posters agree")
        .preemptions(Some(2), Some(3))
        .allowed(&["both nothing", "both the same", "one nothing"])
        .run(|run| {
            let world = World::new(run.mode, 2, 2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (world, mut hand) = (world.clone(), world.adopt(seat));
                cast.actor(move || _ = world.post(&mut hand, u64::from(seat)));
            }
            let stories = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
            for _ in 0..2 {
                let (reader, stories) = (world.clone(), stories.clone());
                cast.actor(move || {
                    let story = reader.follow(0, 2);
                    stories.lock().unwrap().push(story);
                });
            }
            cast.play();
            world.judge();
            let stories = stories.lock().unwrap();
            let same = stories[0].iter().zip(&stories[1]).all(|(a, b)| a == b);
            assert!(same, "one order for all: {stories:?}");
            let nothing = stories.iter().filter(|story| story.is_empty()).count();
            run.outcome(["both the same", "one nothing", "both nothing"][nothing]);
        });
}

#[test]
fn a_stalled_poster_is_lapped() {
    race("a stalled poster is lapped")
        .preemptions(Some(3), Some(5))
        .allowed(&["0", "1", "2"])
        .run(|run| place_of_the_last(run, &[2, 1]));
}

#[test]
fn a_poster_that_stopped_moves_the_tail_late() {
    race("a poster that stopped moves the tail late")
        .preemptions(Some(2), Some(3))
        .allowed(&["0", "1", "2", "3"])
        .run(|run| place_of_the_last(run, &[3, 1]));
}

#[test]
fn a_poster_goes_by_a_tail_that_a_third_has_moved() {
    // The second moves the tail based on what it saw of the first; the third sees the tail first.
    race("a poster goes by a tail that a third has moved")
        .preemptions(Some(1), Some(2))
        .allowed(&["0", "1", "2", "3"])
        .run(|run| place_of_the_last(run, &[2, 1, 1]));
}

/// Posters on one cell, each with this many events, the last with one. The outcome is the place of that event.
fn place_of_the_last(run: &Run, posts: &[u64]) {
    let world = World::new(run.mode, 1, posts.len() as u16);
    let mut cast = run.cast();
    for (seat, &posts) in (0..).zip(posts) {
        let (world, mut hand) = (world.clone(), world.adopt(seat));
        cast.actor(move || {
            for post in 0..posts {
                world.post(&mut hand, u64::from(seat) * 10 + post);
            }
        });
    }
    cast.play();
    world.judge();
    let log = world.log.lock().unwrap();
    let last = (posts.len() as u64 - 1) * 10;
    let place = log.posted.values().position(|&content| content == last).expect("the last one posts too");
    run.outcome(place.to_string());
}

#[test]
fn a_reader_that_was_lapped_goes_on() {
    race("a reader that was lapped goes on")
        .preemptions(Some(4), Some(6))
        .allowed(&["not lapped", "missed 1", "missed 2", "missed 3"])
        .run(|run| {
            let world = World::new(run.mode, 2, 1);
            let mut cast = run.cast();
            let (poster, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || {
                for content in 0..5 {
                    poster.post(&mut hand, content);
                }
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                if reader.poll(0) != Poll::Lapped {
                    return watch.outcome("not lapped");
                }
                let next = reader.ring.resume_after_lap(0);
                watch.outcome(format!("missed {next}"));
                // Everything below was taken, so here is an event, nothing yet, or another lap.
                match reader.poll(next) {
                    Poll::Event(content) => assert_eq!(content, next, "the count of missed ids is not exact"),
                    Poll::Empty | Poll::Lapped => {}
                    other => panic!("{other:?}"),
                }
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_poster_is_killed_before_it_moves_the_tail() {
    race("a poster is killed before it moves the tail")
        .deaths(1)
        .preemptions(Some(2), Some(4))
        .allowed(&["the dead one's is missing", "the dead one's is there"])
        .run(|run| {
            let world = World::new(run.mode, 2, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(0));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                // Its hand continues, adopted; its successor posts nothing.
                victim.adopt(0);
            });
            let (poster, mut hand) = (world.clone(), world.adopt(1));
            cast.actor(move || {
                poster.post(&mut hand, 10);
                poster.post(&mut hand, 11);
            });
            cast.play();
            world.judge();
            let last = *world.log.lock().unwrap().posted.keys().next_back().unwrap();
            run.outcome(if last == 2 { "the dead one's is there" } else { "the dead one's is missing" });
        });
}

#[test]
fn a_joiner_starts_after_what_it_has_heard_of() {
    race("a joiner starts after what it has heard of")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["0", "1", "2"])
        .run(|run| {
            let world = World::new(run.mode, 2, 2);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (world.clone(), run.clone(), world.adopt(0));
            cast.actor(move || {
                watch.mortal(0, || victim.post(&mut hand, 0));
                victim.adopt(0);
            });
            let (poster, mut hand) = (world.clone(), world.adopt(1));
            cast.actor(move || _ = poster.post(&mut hand, 10));
            let (joiner, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                // Events that a worker has read or posted before it tells another one to join are not new to that one.
                let heard = joiner.follow(0, 2).len() as u64;
                let newest = joiner.ring.newest();
                assert!(newest >= heard, "joined at {newest}, having heard of {heard} events");
                assert!(joiner.ring.oldest() <= newest);
                watch.outcome(newest.to_string());
            });
            cast.play();
            world.judge();
        });
}
