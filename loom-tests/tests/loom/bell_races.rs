//! Bells: no event loop sleeps over an event, whichever process is killed or arrives at the same time, and no process
//! rings for the dead twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::wake;
use crate::race::{Cast, Run, race};
use crate::room::Room;
use crate::world::{Poll, World};

/// This many processes publish one event each, and then end.
fn publishers(cast: &mut Cast, room: &Arc<Room>, count: usize) {
    for _ in 0..count {
        let publisher = room.clone();
        cast.actor(move || _ = publisher.publish());
    }
}

fn event_loop(cast: &mut Cast, room: &Arc<Room>, run: &Run, number: usize, events: u64) {
    let (room, watch) = (room.clone(), run.clone());
    cast.actor(move || watch.outcome(format!("sleeps {}", room.run_loop(number, events))));
}

#[test]
fn a_bell_is_armed_while_an_event_is_published() {
    race("a bell is armed while an event is published")
        .preemptions(None, None)
        .allowed(&["sleeps 0", "sleeps 1", "rings 0", "rings 1"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            publishers(&mut cast, &room, 1);
            event_loop(&mut cast, &room, run, 0, 1);
            cast.play();
            run.outcome(format!("rings {}", room.kernel.rings.load(Ordering::Relaxed)));
            room.settle(0, || true);
            assert!(!room.is_readable(0), "a loop never sleeps again");
        });
}

#[test]
fn a_bell_is_armed_again_while_it_is_rung() {
    race("a bell is armed again while it is rung")
        .preemptions(Some(3), Some(4))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            publishers(&mut cast, &room, 2);
            event_loop(&mut cast, &room, run, 0, 2);
            cast.play();
        });
}

#[test]
fn two_bells_are_armed_while_two_publish() {
    race("two bells are armed while two publish")
        .preemptions(Some(1), Some(2))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2"])
        .run(|run| {
            let room = Room::with_loops(run, 2);
            let mut cast = run.cast();
            publishers(&mut cast, &room, 2);
            for (number, events) in [(0, 1), (1, 2)] {
                event_loop(&mut cast, &room, run, number, events);
            }
            cast.play();
        });
}

#[test]
fn a_bell_and_a_sleeper_wait_for_two_events() {
    race("a bell and a sleeper wait for two events")
        .preemptions(Some(2), Some(3))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2", "naps 0", "naps 1", "naps 2", "naps 3 or more"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let publisher = room.clone();
            cast.actor(move || {
                publisher.publish();
                publisher.publish();
            });
            event_loop(&mut cast, &room, run, 0, 2);
            let (sleeper, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                let naps = sleeper.wait_for(2);
                // A bell that is armed meanwhile refuses a nap.
                watch.outcome(if naps < 3 { format!("naps {naps}") } else { "naps 3 or more".to_owned() });
            });
            cast.play();
        });
}

#[test]
fn a_ringer_is_killed_and_the_kernel_rings() {
    race("a ringer is killed and the kernel rings")
        .deaths(1)
        .preemptions(Some(3), None)
        .allowed(&["sleeps 0", "sleeps 1"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                victim.exchange();
                if watch.mortal(0, || victim.notify()).is_none() {
                    victim.kernel.bury();
                }
            });
            event_loop(&mut cast, &room, run, 0, 1);
            cast.play();
        });
}

#[test]
fn a_ringer_is_killed_while_another_one_rings() {
    race("a ringer is killed while another one rings")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2", "sleeps 3"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                victim.exchange();
                if watch.mortal(0, || victim.notify()).is_none() {
                    victim.kernel.bury();
                }
            });
            publishers(&mut cast, &room, 1);
            event_loop(&mut cast, &room, run, 0, 2);
            cast.play();
        });
}

/// As if the dead process's description lives on, in a child or with a stopped process.
#[test]
fn a_ringer_is_killed_unheard_and_the_next_one_rings() {
    race("a ringer is killed unheard and the next one rings")
        .deaths(1)
        .preemptions(Some(3), Some(4))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                watch.mortal(0, || victim.publish());
                // The next publisher leaves no loop asleep, wherever the dead one stopped.
                victim.publish();
                victim.publish();
            });
            event_loop(&mut cast, &room, run, 0, 2);
            cast.play();
        });
}

/// The flag that a ringer clears must be its own, and not that of the dead one, which has not rung.
#[test]
fn a_ringer_is_killed_between_the_steps_of_another() {
    race("a ringer is killed between the steps of another")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["sleeps 0", "sleeps 1", "sleeps 2", "sleeps 3"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            cast.actor(move || {
                victim.exchange();
                watch.mortal(0, || victim.notify());
                victim.publish();
            });
            publishers(&mut cast, &room, 1);
            event_loop(&mut cast, &room, run, 0, 3);
            cast.play();
        });
}

#[test]
fn a_loop_is_killed_and_costs_one_ring() {
    race("a loop is killed and costs one ring").deaths(1).preemptions(None, None).allowed(&["rings 0", "rings 1"]).run(
        |run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let (victim, watch) = (room.clone(), run.clone());
            // A loop writes only its announcement. To the others, a loop that is killed in its sleep looks like one
            // that has armed its bell and never comes back.
            cast.actor(move || _ = watch.mortal(0, || victim.settle(0, || false)));
            let publisher = room.clone();
            cast.actor(move || {
                for _ in 0..3 {
                    publisher.publish();
                }
            });
            cast.play();
            run.outcome(format!("rings {}", room.kernel.rings.load(Ordering::Relaxed)));
        },
    );
}

/// A sleeper that repeatedly comes back does not keep the flag of a dead loop set, and the reverse.
#[test]
fn each_kind_of_sleeper_is_called_for_itself() {
    race("each kind of sleeper is called for itself")
        .preemptions(Some(3), None)
        .allowed(&["calls 0, rings 0", "calls 0, rings 1", "calls 1, rings 0", "calls 1, rings 1"])
        .run(|run| {
            let room = Room::with_loops(run, 1);
            let mut cast = run.cast();
            let publisher = room.clone();
            cast.actor(move || {
                publisher.publish();
                publisher.publish();
            });
            let bell = room.clone();
            cast.actor(move || _ = bell.settle(0, || false));
            let sleeper = room.clone();
            cast.actor(move || _ = wake::nap(&sleeper.word, &sleeper.kernel, wake::LONGEST_NAP, || true));
            cast.play();
            let (calls, rings) = (&room.kernel.calls, &room.kernel.rings);
            let [calls, rings] = [calls, rings].map(|count| count.load(Ordering::Relaxed));
            run.outcome(format!("calls {calls}, rings {rings}"));
        });
}

#[test]
fn a_bell_waits_for_a_post() {
    race("a bell waits for a post").preemptions(Some(3), None).allowed(&["sleeps 0", "sleeps 1"]).run(|run| {
        let (world, room) = (World::new(run.mode, 1, 1), Room::with_loops(run, 1));
        let mut cast = run.cast();
        let (poster, caller, mut hand) = (world.clone(), room.clone(), world.adopt(0));
        cast.actor(move || {
            poster.post(&mut hand, 0);
            caller.notify();
        });
        let (reader, watch) = (world.clone(), run.clone());
        cast.actor(move || {
            let sleeps = room.run_loop_until(0, || !reader.ring.is_empty_at(0));
            assert_eq!(reader.poll(0), Poll::Event(0));
            watch.outcome(format!("sleeps {sleeps}"));
        });
        cast.play();
        world.judge();
    });
}
