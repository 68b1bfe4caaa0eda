//! Sleeping and waking: no wake-up is lost while no process is killed, and a killed waker or sleeper costs only time.

use std::sync::{Arc, Mutex};

use crate::protocol::ring::{Fate, NoTable};
use crate::protocol::wake;
use crate::race::race;
use crate::room::Room;
use crate::sync::{AtomicU32, Ordering};
use crate::world::{Poll, World};

#[test]
fn a_sleeper_announces_while_an_event_is_published() {
    race("a sleeper announces while an event is published")
        .preemptions(None, None)
        .allowed(&["naps 0, no call", "naps 0, call", "naps 1, call"])
        .run(|run| {
            let room = Room::new(run);
            let called = Arc::new(Mutex::new((false, 0)));
            let mut cast = run.cast();
            let (publisher, told) = (room.clone(), called.clone());
            cast.actor(move || {
                let call = publisher.publish();
                told.lock().unwrap().0 = call;
            });
            let (sleeper, told) = (room.clone(), called.clone());
            cast.actor(move || {
                let naps = sleeper.wait_for(1);
                told.lock().unwrap().1 = naps;
            });
            cast.play();
            let (call, naps) = *called.lock().unwrap();
            run.outcome(format!("naps {naps}, {}", if call { "call" } else { "no call" }));
        });
}

#[test]
fn a_sleeper_comes_back_while_it_is_being_woken() {
    race("a sleeper comes back while it is being woken")
        .preemptions(Some(3), Some(4))
        .allowed(&["naps 0", "naps 1", "naps 2", "naps 3"])
        .run(|run| {
            let room = Room::new(run);
            let mut cast = run.cast();
            for _ in 0..2 {
                let publisher = room.clone();
                cast.actor(move || _ = publisher.publish());
            }
            let (sleeper, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                let naps = sleeper.wait_for(1) + sleeper.wait_for(2);
                watch.outcome(format!("naps {naps}"));
            });
            cast.play();
        });
}

#[test]
fn two_sleepers_wait_for_two_publishers() {
    race("two sleepers wait for two publishers")
        .preemptions(Some(2), Some(3))
        .allowed(&["naps 0", "naps 1", "naps 2", "naps 3"])
        .run(|run| {
            let room = Room::new(run);
            let mut cast = run.cast();
            for _ in 0..2 {
                let publisher = room.clone();
                cast.actor(move || _ = publisher.publish());
            }
            for events in 1..3 {
                let (sleeper, watch) = (room.clone(), run.clone());
                cast.actor(move || watch.outcome(format!("naps {}", sleeper.wait_for(events))));
            }
            cast.play();
        });
}

#[test]
fn a_waker_is_killed_and_the_next_one_wakes() {
    race("a waker is killed and the next one wakes")
        .deaths(1)
        .preemptions(Some(3), Some(4))
        .allowed(&["naps 0", "naps 1", "naps 2", "naps 3"])
        .run(|run| {
            let room = Room::new(run);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                watch.mortal(0, || victim.publish());
                // The next publisher leaves no process asleep, wherever the dead one stopped.
                victim.publish();
                victim.publish();
            });
            let (sleeper, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                let naps = sleeper.wait_for(1) + sleeper.wait_for(2);
                watch.outcome(format!("naps {naps}"));
            });
            cast.play();
        });
}

#[test]
fn a_waker_is_killed_while_another_one_calls() {
    race("a waker is killed while another one calls")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["naps 0", "naps 1"])
        .run(|run| {
            let room = Room::new(run);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || _ = watch.mortal(0, || victim.publish()));
            let publisher = room.clone();
            cast.actor(move || _ = publisher.publish());
            let (sleeper, watch) = (room.clone(), run.clone());
            cast.actor(move || watch.outcome(format!("naps {}", sleeper.wait_for(1))));
            cast.play();
        });
}

#[test]
fn a_sleeper_is_killed_and_costs_one_call() {
    race("a sleeper is killed and costs one call")
        .deaths(1)
        .preemptions(None, None)
        .allowed(&["calls 0", "calls 1"])
        .run(|run| {
            let room = Room::new(run);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                // A sleeper writes only its announcement. To the others, a sleeper that is killed in its sleep looks
                // like one that has announced itself and never comes back.
                watch.mortal(0, || wake::nap(&victim.word, &victim.kernel, wake::LONGEST_NAP, || true));
            });
            let (publisher, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                let calls: u32 = (0..3).map(|_| u32::from(publisher.publish())).sum();
                watch.outcome(format!("calls {calls}"));
            });
            cast.play();
        });
}

#[test]
fn a_sleeper_is_roused_from_within_its_process() {
    race("a sleeper is roused from within its process").preemptions(None, None).allowed(&["naps 0", "naps 1"]).run(
        |run| {
            let room = Room::new(run);
            let stop = Arc::new(AtomicU32::new(0, run.mode));
            let mut cast = run.cast();
            let (rouser, stopped) = (room.clone(), stop.clone());
            cast.actor(move || {
                stopped.fetch_add(1, Ordering::SeqCst);
                wake::wake_sleepers(&rouser.word, &rouser.kernel);
            });
            let watch = run.clone();
            cast.actor(move || {
                let ready = || stop.load(Ordering::Acquire) > 0;
                let mut naps = 0;
                while !ready() && !wake::nap(&room.word, &room.kernel, wake::LONGEST_NAP, ready) {
                    naps += 1;
                }
                watch.outcome(format!("naps {naps}"));
            });
            cast.play();
        },
    );
}

#[test]
fn a_sleeper_waits_for_a_post() {
    race("a sleeper waits for a post").preemptions(Some(3), None).allowed(&["naps 0", "naps 1"]).run(|run| {
        let (world, room) = (World::new(run.mode, 1, 1), Room::new(run));
        let mut cast = run.cast();
        let (poster, caller, mut hand) = (world.clone(), room.clone(), world.adopt(0));
        cast.actor(move || {
            poster.post(&mut hand, 0);
            caller.notify();
        });
        let (reader, watch) = (world.clone(), run.clone());
        cast.actor(move || {
            let ready = || !reader.ring.is_empty_at(0);
            let mut naps = 0;
            while !wake::nap(&room.word, &room.kernel, wake::LONGEST_NAP, ready) {
                naps += 1;
            }
            assert_eq!(reader.poll(0), Poll::Event(0));
            watch.outcome(format!("naps {naps}"));
        });
        cast.play();
        world.judge();
    });
}

#[test]
fn a_sleeper_waits_for_a_void() {
    race("a sleeper waits for a void").preemptions(Some(3), None).allowed(&["naps 0", "naps 1"]).run(|run| {
        let (world, room) = (World::new(run.mode, 1, 1), Room::new(run));
        let mut hand = world.adopt(0);
        assert_eq!(world.ring.reserve(&mut hand, &mut NoTable), Ok(0));
        let mut cast = run.cast();
        let (reserver, caller) = (world.clone(), room.clone());
        cast.actor(move || {
            assert_eq!(reserver.ring.abandon(0), Ok(Some(Fate::Decided)));
            caller.notify();
        });
        let (reader, watch) = (world.clone(), run.clone());
        cast.actor(move || {
            let ready = || !matches!(reader.poll(0), Poll::Reserved(_));
            let mut naps = 0;
            while !wake::nap(&room.word, &room.kernel, wake::LONGEST_NAP, ready) {
                naps += 1;
            }
            assert_eq!(reader.poll(0), Poll::Void);
            watch.outcome(format!("naps {naps}"));
        });
        cast.play();
        world.judge();
    });
}
