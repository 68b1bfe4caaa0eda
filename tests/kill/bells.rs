//! G19: no event loop sleeps over an event of a poster that was killed or stopped.

use std::time::Duration;

use seqcast::{Bell, BellKind, BellOptions, Bus, Delivery, PullBell, Subscriber, Worker};
use seqcast_testkit::{HANGS, HOUR, alone, is_readable, quiet};

use crate::posts::{commit, post, post_long};
use crate::scene::{Call, Scene};
use crate::steps::at_every_step_of;

/// A loop that is not woken within this time sleeps over an event.
const LONG: Duration = HANGS.checked_div(4).unwrap();

/// Event loops that no timer wakes. They wait for reserved ids as long as the reservers live.
pub(super) struct Bells {
    worker: Worker,
    pushed: Bell,
    subscriber: Subscriber,
    pulled: PullBell,
}

impl Bells {
    pub(super) fn new(bus: &Bus) -> Bells {
        let (patient, options) = (quiet().wait_max(HOUR), BellOptions::new().interval(HOUR));
        let (worker, subscriber) = (bus.join_with(&patient).unwrap(), bus.subscribe_with(&patient).unwrap());
        let (pushed, pulled) = (worker.bell_with(&options).unwrap(), subscriber.bell_with(&options).unwrap());
        assert_eq!([pushed.kind(), pulled.kind()], [BellKind::Inotify; 2]);
        Bells { worker, pushed, subscriber, pulled }
    }

    /// Runs both loops until neither is woken again.
    pub(super) fn run(&mut self) {
        while is_readable(&self.pushed, Duration::ZERO) || is_readable(&self.pulled, Duration::ZERO) {
            self.pushed.poll().unwrap();
            while let Some(delivery) = self.subscriber.try_next().unwrap() {
                if matches!(delivery, Delivery::Reserved { .. }) {
                    break;
                }
            }
            assert!(!self.pulled.arm(&self.subscriber).unwrap(), "an event came from nowhere");
        }
    }

    fn has_all(&self, bus: &Bus) -> bool {
        [self.worker.cursor(), self.subscriber.cursor()] == [bus.next_id(); 2]
    }

    /// Checks that both loops are woken, and then have all events.
    fn assert_rung(&mut self, bus: &Bus) {
        assert!(is_readable(&self.pushed, LONG) && is_readable(&self.pulled, LONG), "G19: a loop sleeps over an event");
        self.run();
        assert!(self.has_all(bus), "G19: a loop sleeps over an event");
    }
}

/// Kills `call` after each of its changes to the segment. Then, in other scenes, stops it there while another process
/// posts, and resumes it. No loop may sleep over an event. `least`: the smallest number of changes.
fn rung_at_every_step(call: Call, least: usize) {
    rung_at_every_step_of(Scene::with_bells, call, least);
}

fn rung_at_every_step_of(scene: fn() -> Scene, call: Call, least: usize) {
    fn bells(scene: &mut Scene) -> (&mut Bells, &Bus) {
        (scene.bells.as_mut().unwrap(), &scene.bus)
    }
    let mut first = scene();
    let places = first.stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it ring?", places.len());
    let (loops, bus) = bells(&mut first);
    loops.assert_rung(bus);
    at_every_step_of(scene, call, &places, |scene, stepped| {
        stepped.child.kill();
        let (loops, bus) = bells(scene);
        // Even if nothing was posted: the kernel rings for every death.
        loops.assert_rung(bus);
        scene.listeners[1].0.post(("s", "filler"), b"").unwrap();
        let (loops, bus) = bells(scene);
        loops.assert_rung(bus);
    });
    at_every_step_of(scene, call, &places, |scene, stepped| {
        scene.listeners[1].0.post(("s", "filler"), b"").unwrap();
        let (loops, bus) = bells(scene);
        assert!(
            is_readable(&loops.pushed, LONG) && is_readable(&loops.pulled, LONG),
            "G19: a loop sleeps over an event"
        );
        loops.run();
        stepped.let_go();
        if !loops.has_all(bus) {
            loops.assert_rung(bus);
        }
    });
}

alone! {
    fn g19_a_post_in_a_large_block_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step_of(Scene::with_large_and_bells, post_long, 20);
    }

    fn g19_a_post_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step(post, 12);
    }

    fn g19_a_post_of_fragments_rings_or_the_kernel_rings_for_its_dead_poster() {
        rung_at_every_step(post_long, 20);
    }

    fn g19_a_commit_rings_or_the_kernel_rings_for_its_dead_reserver() {
        rung_at_every_step(commit, 5);
    }
}
