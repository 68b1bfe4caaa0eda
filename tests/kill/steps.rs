//! Kills and stops a call at every step.

use seqcast_testkit::Noted;
use seqcast_testkit::stepped::Stepped;

use crate::scene::{Call, Scene, hasty};

/// A check of the listeners' events, and of the result of the call if it returned.
pub(super) type Check = fn(&Scene, said: Option<u64>, heard: &[Noted]);

/// Kills `call` after each of its changes to the segment. Then, in other scenes, stops it there for more than two laps
/// and resumes it. `least`: the smallest number of changes.
pub(super) fn killed_and_stopped_at_every_step(call: Call, least: usize, check: Check) {
    killed_and_stopped_at_every_step_of(Scene::new, call, least, check, |_, _| {});
}

/// Does the same in scenes of another kind. `look` also checks while the call is stopped.
pub(super) fn killed_and_stopped_at_every_step_of(
    scene: fn() -> Scene,
    call: Call,
    least: usize,
    check: Check,
    look: fn(&Scene, &[Noted]),
) {
    let places = scene().stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it do anything?", places.len());
    at_every_step_of(scene, call, &places, |scene, stepped| {
        stepped.child.kill();
        let heard = scene.heard();
        check(scene, scene.said(), &heard);
        scene.assert_sound();
        assert_eq!(scene.heard(), heard, "G5: something came later");
    });
    at_every_step_of(scene, call, &places, |scene, stepped| {
        let before = scene.heard();
        look(scene, &before);
        // G6: no process waits for it. G8: late does not mean dead, and its seat is not given away.
        scene.post_and_hear(20);
        look(scene, &before);
        let newcomer = scene.bus.join_with(&hasty()).unwrap();
        newcomer.post(("s", "filler"), b"from the newcomer").unwrap();
        drop(newcomer);
        stepped.let_go();
        let heard = scene.heard();
        assert!(heard.starts_with(&before), "G1: earlier events have changed");
        assert!(scene.said().is_some());
        check(scene, scene.said(), &heard);
        scene.assert_sound();
    });
}

/// Kills and stops a call at every step, each time in a new scene with large blocks.
pub(super) fn killed_and_stopped_with_large(call: Call, least: usize, check: Check) {
    killed_and_stopped_at_every_step_of(Scene::with_large, call, least, check, |_, _| {});
}

pub(super) fn at_every_step_of(scene: fn() -> Scene, call: Call, places: &[u64], act: impl Fn(&mut Scene, Stepped)) {
    for steps in 0.. {
        let mut scene = scene();
        let mut stepped = Some(scene.stepped(call, places));
        for _ in 0..steps {
            stepped = stepped.and_then(Stepped::next_change);
        }
        match stepped {
            Some(stepped) => act(&mut scene, stepped),
            None => {
                assert!(steps > places.len() / 2, "of {} changes only {} were met", places.len(), steps - 1);
                return;
            }
        }
    }
}
