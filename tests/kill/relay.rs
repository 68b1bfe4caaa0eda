//! R4: the posts of a relay.

use seqcast::inspect::{Inspector, Seen};
use seqcast::relay::{Foreign, Kept, Recovered, RelayOptions, RelayPoster};
use seqcast::{Bus, ClusterId, ErrorKind, MissedReason, Origin, Start};
use seqcast_testkit::{HOUR, alone};

use crate::payload;
use crate::scene::{Call, Scene};
use crate::steps::at_every_step_of;

/// The host that the relay of this host posts for, and what it posts.
const THERE: Origin = Origin::from_bits(7);
/// The id there of the event under test. An earlier one was posted.
const ID_THERE: u64 = 5;

/// Posts what a relay is killed at. Returns `false` if it was there.
type Relayed = fn(&mut RelayPoster) -> bool;

fn relayed_event(bytes: &[u8]) -> Foreign<'_> {
    Foreign::new(THERE, ID_THERE, ClusterId { timeline: 1, n: 9 }, "s", "post", bytes)
}

fn relay_short(poster: &mut RelayPoster) -> bool {
    poster.post(&relayed_event(&payload(40))).unwrap()
}

fn relay_long(poster: &mut RelayPoster) -> bool {
    poster.post(&relayed_event(&payload(150))).unwrap()
}

fn relay_unique(poster: &mut RelayPoster) -> bool {
    // One of the listeners runs it.
    let event = Foreign::new(THERE, ID_THERE, ClusterId { timeline: 1, n: 9 }, "s", "unique", b"");
    poster.post(&event.unique(HOUR)).unwrap()
}

fn relay_retained(poster: &mut RelayPoster) -> bool {
    let kept = Kept { key: b"1", ttl: None, clears: false };
    poster.post(&relayed_event(&payload(40)).retained(kept)).unwrap()
}

fn relay_missed(poster: &mut RelayPoster) -> bool {
    poster.post_missed(THERE, ID_THERE, Some(3), MissedReason::OriginLapped).unwrap()
}

/// A relay whose host was heard of before, and one whose host was not.
fn relaying<const KNOWN: bool>(bus: &Bus, relayed: Relayed) -> Box<dyn FnOnce() -> u64> {
    let (reader, mut poster) = bus.relay(&RelayOptions::new()).unwrap().split();
    if KNOWN {
        poster.pass(THERE, 2).unwrap();
    }
    Box::new(move || {
        let posted = relayed(&mut poster);
        drop(reader);
        // The hold ends with the process.
        std::mem::forget(poster);
        u64::from(posted)
    })
}

/// The events under test and the reports of missed ones that the ring holds.
fn relayed_in_ring(scene: &Scene) -> usize {
    let mut tail = Inspector::open(&scene.name).unwrap().tail(Start::Oldest).unwrap();
    let mut found = 0;
    while let Some(seen) = tail.try_next().unwrap() {
        found += usize::from(match seen {
            Seen::Event(event) => {
                event.relayed.is_some_and(|relayed| (relayed.origin, relayed.id) == (THERE, ID_THERE))
            }
            Seen::Missed(missed) => missed.origin == Some(THERE),
            _ => false,
        });
    }
    found
}

/// Kills a relay after each of its changes to the segment. Its successor gets the same again: it is there once. Then,
/// in other scenes, stops the relay there, while no other can take its place, and resumes it.
fn relays_once_at_every_step(call: Call, relayed: Relayed, least: usize) {
    let places = Scene::new().stepped(call, &[]).learn();
    assert!(places.len() >= least, "the call changes only {} words: does it do anything?", places.len());
    let take = |scene: &Scene| scene.bus.relay(&RelayOptions::new()).map(|relay| relay.split());
    at_every_step_of(Scene::new, call, &places, |scene, stepped| {
        stepped.child.kill();
        let before = relayed_in_ring(scene);
        assert!(before <= 1, "R4: {before} times");
        let (_reader, mut poster) = take(scene).unwrap();
        match poster.recovered() {
            Recovered::Nothing => {}
            Recovered::Posted { origin, id, .. } => assert_eq!((before, origin, id), (1, THERE, ID_THERE)),
            Recovered::NotPosted { origin, id, .. } => assert_eq!((before, origin, id), (0, THERE, ID_THERE)),
            other => panic!("{other:?}"),
        }
        assert_eq!(relayed(&mut poster), before == 0, "R4: doubled or lost");
        assert_eq!((relayed_in_ring(scene), poster.seen(THERE)), (1, Some(ID_THERE)));
        assert!(!relayed(&mut poster));
        drop((_reader, poster));
        scene.assert_sound();
    });
    at_every_step_of(Scene::new, call, &places, |scene, stepped| {
        assert_eq!(take(scene).map(drop).unwrap_err().kind(), ErrorKind::RelayTaken);
        stepped.let_go();
        assert_eq!(relayed_in_ring(scene), 1);
        let (_reader, mut poster) = take(scene).unwrap();
        assert!(!relayed(&mut poster));
    });
}

alone! {
    fn r4_a_relayed_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_short), relay_short, 15);
    }

    fn r4_the_first_event_of_a_host_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<false>(bus, relay_short), relay_short, 15);
    }

    fn r4_a_relayed_event_of_fragments_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_long), relay_long, 20);
    }

    fn r4_a_relayed_unique_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_unique), relay_unique, 15);
    }

    fn r4_a_relayed_retained_event_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_retained), relay_retained, 20);
    }

    fn r4_a_report_of_missed_events_is_there_once() {
        relays_once_at_every_step(|bus, _| relaying::<true>(bus, relay_missed), relay_missed, 15);
    }
}
