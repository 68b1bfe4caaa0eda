//! The mark that a worker's polls leave for idle looks. Threads of one process share it.

use std::sync::{Arc, Mutex};

use crate::protocol::word::Mark;
use crate::race::race;
use crate::sync::{AtomicU64, Ordering};
use crate::world::{Poll, World};

#[test]
fn an_idle_look_beside_a_poll_that_comes_to_the_next_lap() {
    race("an idle look beside a poll that comes to the next lap")
        .preemptions(None, None)
        .allowed(&["idle, 3 read", "look, 1 read", "look, 2 read", "look, 3 read"])
        .run(|run| {
            let world = World::new(run.mode, 2, 1);
            let mut hand = world.adopt(0);
            world.post(&mut hand, 10);
            let mark = Arc::new(AtomicU64::new(world.ring.mark_empty(1).bits(), run.mode));
            // The progress of the polling thread: not a part of the protocol.
            let read = Arc::new(Mutex::new(1));
            let mut cast = run.cast();
            let (poller, left, progress) = (world.clone(), mark.clone(), read.clone());
            cast.actor(move || {
                left.store(Mark::NONE.bits(), Ordering::Relaxed);
                let mut next = 1;
                while let Poll::Event(_) = poller.poll(next) {
                    next += 1;
                }
                *progress.lock().unwrap() = next;
                left.store(poller.ring.mark_empty(next).bits(), Ordering::Release);
            });
            let (sender, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                sender.post(&mut hand, 11);
                sender.post(&mut hand, 12);
                let seen = Mark::from_bits(mark.load(Ordering::Relaxed));
                let idle = sender.ring.is_empty_by(seen);
                let read = *read.lock().unwrap();
                assert!(!idle || read == 3, "an idle look finds nothing after the thread's own posts, at {seen:?}");
                watch.outcome(format!("{}, {read} read", if idle { "idle" } else { "look" }));
            });
            cast.play();
            world.judge();
        });
}
