//! Retained events: posting, settling for others, sweeps of places, readers that catch up, deaths.

use std::sync::{Arc, Mutex};

use crate::protocol::bucket::Key;
use crate::protocol::retained::Absent;
use crate::race::race;
use crate::table::{CLEAR, KEY, OTHER, Tabled};

/// Returns in words what is kept under `key` at the end.
fn kept_under(world: &Tabled, key: Key) -> String {
    world.at_end(key).map_or("nothing".to_owned(), |(id, content)| format!("{content} at {id}"))
}

fn kept(world: &Tabled) -> String {
    kept_under(world, KEY)
}

#[test]
fn two_posters_retain_under_one_key() {
    race("two posters retain under one key").preemptions(Some(2), Some(3)).allowed(&["0 last", "1 last"]).run(|run| {
        let world = Tabled::new(run.mode, 2, 1, 2);
        let mut cast = run.cast();
        let mut sitters: Vec<_> = (0..2).map(|seat| world.sit(seat)).collect();
        // The key has its place already.
        let slots: Vec<_> = sitters.iter_mut().map(|sitter| world.begin(sitter, KEY, Absent::Take).unwrap()).collect();
        for (content, (mut sitter, slot)) in (0..).zip(sitters.into_iter().zip(slots)) {
            let world = world.clone();
            cast.actor(move || _ = world.finish(&mut sitter, KEY, slot, content));
        }
        cast.play();
        world.judge();
        run.outcome(format!("{} last", world.at_end(KEY).expect("it was retained").1));
    });
}

#[test]
fn a_poster_that_is_lapped_meets_its_helper() {
    race("a poster that is lapped meets its helper").preemptions(Some(2), Some(3)).allowed(&["0 at 0", "0 at 1"]).run(
        |run| {
            let world = Tabled::new(run.mode, 1, 1, 2);
            let mut cast = run.cast();
            let (poster, mut sitter) = (world.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || _ = poster.finish(&mut sitter, KEY, slot, 0));
            let (lapper, mut sitter) = (world.clone(), world.sit(1));
            cast.actor(move || _ = lapper.post(&mut sitter, 10));
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        },
    );
}

#[test]
fn the_first_two_of_two_keys() {
    race("the first two of two keys").preemptions(Some(2), Some(3)).allowed(&["both"]).run(|run| {
        let world = Tabled::new(run.mode, 2, 2, 2);
        let mut cast = run.cast();
        for (seat, key) in [(0, KEY), (1, OTHER)] {
            let (world, mut sitter) = (world.clone(), world.sit(seat));
            cast.actor(move || {
                assert!(world.begin(&mut sitter, key, Absent::Take).is_some(), "there is room for both")
            });
        }
        cast.play();
        world.judge();
        run.outcome("both");
    });
}

#[test]
fn a_poster_is_killed_and_a_lap_settles() {
    race("a poster is killed and a lap settles")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["0 at 0", "0 at 1", "nothing"])
        .run(|run| {
            let world = Tabled::new(run.mode, 1, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut sitter) = (world.clone(), run.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                watch.mortal(0, || victim.finish(&mut sitter, KEY, slot, 0));
                victim.sit(0);
            });
            let (lapper, mut sitter) = (world.clone(), world.sit(1));
            cast.actor(move || _ = lapper.post(&mut sitter, 10));
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        });
}

#[test]
fn a_helper_that_stopped_is_late_for_its_slot() {
    race("a helper that stopped is late for its slot")
        .preemptions(Some(2), Some(3))
        .allowed(&["1 at 1", "1 at 2"])
        .run(|run| {
            let world = Tabled::new(run.mode, 1, 1, 2);
            let mut cast = run.cast();
            let (poster, mut sitter) = (world.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                // The helper may read the slot before the first post and exchange it after the second.
                poster.finish(&mut sitter, KEY, slot, 0);
                poster.retain(&mut sitter, KEY, 1);
            });
            let (helper, mut sitter) = (world.clone(), world.sit(1));
            cast.actor(move || _ = helper.post(&mut sitter, 10));
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        });
}

#[test]
fn an_announcer_meets_a_sweeper() {
    race("an announcer meets a sweeper").preemptions(Some(2), Some(3)).allowed(&["posted, full", "full, posted"]).run(
        |run| {
            let world = Tabled::new(run.mode, 2, 1, 2);
            let mut sitter = world.sit(0);
            world.retain(&mut sitter, KEY, 0);
            world.clear(&mut sitter, KEY);
            let mut cast = run.cast();
            let answers = Arc::new(Mutex::new(["full"; 2]));
            for (seat, key) in [(0, KEY), (1, OTHER)] {
                let (world, answers, mut sitter) = (world.clone(), answers.clone(), world.sit(seat));
                cast.actor(move || {
                    if world.retain(&mut sitter, key, 1).is_some() {
                        answers.lock().unwrap()[usize::from(seat)] = "posted";
                    }
                });
            }
            cast.play();
            world.judge();
            run.outcome(answers.lock().unwrap().join(", "));
        },
    );
}

#[test]
fn a_joiner_meets_a_poster() {
    race("a joiner meets a poster").preemptions(Some(2), Some(3)).allowed(&["live", "handed"]).run(|run| {
        let world = Tabled::new(run.mode, 2, 1, 2);
        let mut cast = run.cast();
        let (poster, mut sitter) = (world.clone(), world.sit(0));
        cast.actor(move || _ = poster.retain(&mut sitter, KEY, 0));
        let (joiner, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
        cast.actor(move || {
            let to = joiner.ring.newest();
            let (reset, handed) = joiner.catch_up(&mut sitter, 0, to);
            assert!(!reset, "a joiner knows nothing that could be void");
            // G14: exactly the events below the reader's start are handed over.
            watch.outcome(match to {
                0 => {
                    assert_eq!(handed, []);
                    "live"
                }
                _ => {
                    assert_eq!(handed, [(KEY, (0, 0))]);
                    "handed"
                }
            });
        });
        cast.play();
        world.judge();
    });
}

#[test]
fn a_walk_meets_a_sweep() {
    race("a walk meets a sweep").preemptions(Some(2), Some(3)).allowed(&["cleared", "reset"]).run(|run| {
        let world = Tabled::new(run.mode, 4, 1, 2);
        let mut sitter = world.sit(0);
        world.retain(&mut sitter, KEY, 0);
        world.clear(&mut sitter, KEY);
        let mut cast = run.cast();
        let (sweeper, mut sitter) = (world.clone(), world.sit(0));
        cast.actor(move || {
            let slot = sweeper.begin(&mut sitter, OTHER, Absent::Take);
            assert!(slot.is_some(), "no seat announces the dead key");
        });
        let (reader, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
        cast.actor(move || {
            // The reader has read the value and not the clear.
            let (reset, handed) = reader.catch_up(&mut sitter, 1, 2);
            watch.outcome(match (reset, &handed[..]) {
                (false, [(KEY, (1, CLEAR))]) => "cleared",
                (true, []) => "reset",
                other => panic!("the reader still takes the value for kept: {other:?}"),
            });
        });
        cast.play();
        world.judge();
    });
}

#[test]
fn a_look_up_meets_a_poster_that_stopped() {
    race("a look-up meets a poster that stopped")
        .preemptions(Some(2), Some(3))
        .allowed(&["not there", "not yet", "seen and found"])
        .run(|run| {
            let world = Tabled::new(run.mode, 2, 1, 2);
            let mut cast = run.cast();
            let (poster, mut sitter) = (world.clone(), world.sit(0));
            cast.actor(move || _ = poster.retain(&mut sitter, KEY, 0));
            let (reader, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
            cast.actor(move || {
                let live = reader.poll(&mut sitter, 0);
                let found = reader.get(&mut sitter, KEY);
                watch.outcome(match (live, found) {
                    (Err(_), None) => "not there",
                    (Err(_), Some((0, 0))) => "not yet",
                    (Ok(0), Some((0, 0))) => "seen and found",
                    other => panic!("{other:?}"),
                });
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_mark_meets_a_readers_second_look() {
    race("a mark meets a reader's second look").preemptions(Some(3), None).allowed(&["empty", "0"]).run(|run| {
        let world = Tabled::new(run.mode, 2, 1, 2);
        let mut cast = run.cast();
        let (poster, mut sitter) = (world.clone(), world.sit(0));
        let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
        cast.actor(move || _ = poster.finish(&mut sitter, KEY, slot, 0));
        let (reader, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
        // The mark in the cell does not make the reader miss the event.
        cast.actor(move || {
            watch.outcome(reader.poll(&mut sitter, 0).map_or_else(str::to_owned, |content| content.to_string()))
        });
        cast.play();
        world.judge();
    });
}

#[test]
fn an_adopter_meets_a_joiner_that_marks() {
    race("an adopter meets a joiner that marks")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["0 at 0, handed", "1 at 1, handed", "1 at 1, left to come live"])
        .run(|run| {
            let world = Tabled::new(run.mode, 2, 1, 2);
            let mut sitter = world.sit(1);
            world.retain(&mut sitter, KEY, 0);
            let mut cast = run.cast();
            let (victim, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                watch.mortal(0, || victim.retain(&mut sitter, KEY, 1));
                victim.sit(1);
            });
            let (joiner, answer, mut sitter) = (world.clone(), Arc::new(Mutex::new("")), world.sit(0));
            let told = answer.clone();
            cast.actor(move || {
                let to = joiner.ring.newest();
                let (_, handed) = joiner.catch_up(&mut sitter, 0, to);
                *told.lock().unwrap() = match handed[..] {
                    [(KEY, (id, content))] if id + 1 == to && content == id => "handed",
                    [] if to == 1 => "left to come live",
                    _ => panic!("not the last below {to}: {handed:?}"),
                };
            });
            cast.play();
            world.judge();
            run.outcome(format!("{}, {}", kept(&world), answer.lock().unwrap()));
        });
}

#[test]
fn an_adopter_of_a_keeper_is_killed_too() {
    race("an adopter of a keeper is killed too")
        .deaths(2)
        .preemptions(Some(0), Some(1))
        .allowed(&["0 at 0", "nothing"])
        .run(|run| {
            let world = Tabled::new(run.mode, 2, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                watch.mortal(0, || victim.finish(&mut sitter, KEY, slot, 0));
                watch.mortal(1, || victim.sit(1));
                victim.sit(1);
            });
            let (joiner, mut sitter) = (world.clone(), world.sit(0));
            cast.actor(move || {
                let to = joiner.ring.newest();
                let (_, handed) = joiner.catch_up(&mut sitter, 0, to);
                assert_eq!(handed.len() as u64, to, "not the last below {to}");
            });
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        });
}

#[test]
fn a_retained_post_laps_an_unsettled_one() {
    race("a retained post laps an unsettled one")
        .preemptions(Some(2), Some(3))
        .allowed(&["0 at 0, 1 at 1", "0 at 1, 1 at 0"])
        .run(|run| {
            let world = Tabled::new(run.mode, 1, 2, 2);
            let mut cast = run.cast();
            for (seat, key) in [(0, KEY), (1, OTHER)] {
                let (world, mut sitter) = (world.clone(), world.sit(seat));
                let slot = world.begin(&mut sitter, key, Absent::Take).unwrap();
                cast.actor(move || _ = world.finish(&mut sitter, key, slot, seat.into()));
            }
            cast.play();
            world.judge();
            run.outcome(format!("{}, {}", kept(&world), kept_under(&world, OTHER)));
        });
}

#[test]
fn a_reservation_laps_an_unsettled_one() {
    race("a reservation laps an unsettled one").preemptions(Some(2), Some(3)).allowed(&["0 at 0", "0 at 1"]).run(
        |run| {
            let world = Tabled::new(run.mode, 1, 1, 2);
            let mut cast = run.cast();
            let (poster, mut sitter) = (world.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || _ = poster.finish(&mut sitter, KEY, slot, 0));
            let (reserver, mut sitter) = (world.clone(), world.sit(1));
            cast.actor(move || {
                let id = reserver.reserve(&mut sitter);
                // Fails if the poster comes later: it does not wait, and laps the reserved id.
                let _ = reserver.ring.void(id);
            });
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        },
    );
}

#[test]
fn a_helper_that_stopped_is_late_for_another_keys_slot() {
    race("a helper that stopped is late for another key's slot")
        .preemptions(Some(2), Some(2))
        .allowed(&["in time", "late"])
        .run(|run| {
            let world = Tabled::new(run.mode, 4, 1, 2);
            let mut cast = run.cast();
            let (poster, mut sitter) = (world.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                poster.finish(&mut sitter, KEY, slot, 0);
                poster.clear(&mut sitter, KEY);
                // Then the slot is free for another key's event, and holds what the clear left.
                poster.begin(&mut sitter, OTHER, Absent::Take);
            });
            let (joiner, watch, mut sitter) = (world.clone(), run.clone(), world.sit(1));
            cast.actor(move || {
                let to = joiner.ring.newest();
                if to > 0 {
                    sitter.keeper().settle_below(to).expect("a sound table");
                }
                watch.outcome(if to == 1 { "in time" } else { "late" });
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_retained_poster_is_killed_and_another_laps() {
    race("a retained poster is killed and another laps")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["0 at 0, 1 at 1", "0 at 1, 1 at 0", "nothing, 1 at 0"])
        .run(|run| {
            let world = Tabled::new(run.mode, 1, 2, 2);
            let mut cast = run.cast();
            let (victim, watch, mut sitter) = (world.clone(), run.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                watch.mortal(0, || victim.finish(&mut sitter, KEY, slot, 0));
                victim.sit(0);
            });
            let (lapper, mut sitter) = (world.clone(), world.sit(1));
            let slot = world.begin(&mut sitter, OTHER, Absent::Take).unwrap();
            cast.actor(move || _ = lapper.finish(&mut sitter, OTHER, slot, 1));
            cast.play();
            world.judge();
            run.outcome(format!("{}, {}", kept(&world), kept_under(&world, OTHER)));
        });
}

#[test]
fn a_poster_is_killed_and_a_reservation_laps() {
    race("a poster is killed and a reservation laps")
        .deaths(1)
        .preemptions(Some(1), Some(2))
        .allowed(&["0 at 0", "0 at 1", "nothing"])
        .run(|run| {
            let world = Tabled::new(run.mode, 1, 1, 2);
            let mut cast = run.cast();
            let (victim, watch, mut sitter) = (world.clone(), run.clone(), world.sit(0));
            let slot = world.begin(&mut sitter, KEY, Absent::Take).unwrap();
            cast.actor(move || {
                watch.mortal(0, || victim.finish(&mut sitter, KEY, slot, 0));
                victim.sit(0);
            });
            let (reserver, mut sitter) = (world.clone(), world.sit(1));
            cast.actor(move || _ = reserver.reserve(&mut sitter));
            cast.play();
            world.judge();
            run.outcome(kept(&world));
        });
}

#[test]
fn two_posters_are_killed_one_after_the_other() {
    race("two posters are killed one after the other")
        .deaths(2)
        .preemptions(None, None)
        .allowed(&["0 at 0, 1 at 1", "0 at 0, nothing", "nothing, 1 at 0", "nothing, nothing"])
        .run(|run| {
            let world = Tabled::new(run.mode, 2, 2, 2);
            let mut cast = run.cast();
            let (victims, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                for (mortal, key) in [KEY, OTHER].into_iter().enumerate() {
                    let mut sitter = victims.sit(mortal as u16);
                    watch.mortal(mortal, || victims.retain(&mut sitter, key, mortal as u64));
                }
                // The later one is adopted first: its block may hold its event's value and must not be used for the
                // other event.
                victims.sit(1);
                victims.sit(0);
            });
            cast.play();
            world.judge();
            assert!(world.is_quiet(), "a key stays announced");
            run.outcome(format!("{}, {}", kept(&world), kept_under(&world, OTHER)));
        });
}
