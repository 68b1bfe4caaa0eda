//! What is carried, in which order, and how often.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Delivery, Event, Scope, SegmentOptions, Tagged};
use seqcast_testkit::{Child, HOUR, Log, alone, error, is_readable, poll, quiet, shared_words, small, stop_here};

use crate::{Pair, pump, texts};

alone! {
    fn g1_each_generation_gets_all_events_once_in_an_order_of_its_own() {
        let pair = Pair::new(&small().capacity(256));
        let mut bridge = pair.bridge();
        let mut subscribers = pair.subscribers();
        let workers = pair.buses().map(|bus| [0, 1].map(|_| bus.join_with(&quiet()).unwrap()));
        let logs = workers.each_ref().map(|workers| workers.each_ref().map(|worker| Log::of(worker, Scope::All)));
        let mut posters = pair.buses().map(|bus| bus.publisher_with(&quiet()).unwrap());
        for round in 0..40 {
            posters[0].post(("s", "old"), format!("o{round}")).unwrap();
            posters[1].post(("s", "new"), format!("n{round}")).unwrap();
            if round % 3 == 0 {
                bridge.pump().unwrap();
                workers.iter().flatten().for_each(|worker| assert_eq!(poll(worker).1, 0));
            }
        }
        pump(&mut bridge);
        workers.iter().flatten().for_each(|worker| assert_eq!(poll(worker).1, 0));
        let seen = logs.map(|logs| logs.map(|log| log.texts()));
        for (generation, seen) in seen.iter().enumerate() {
            assert_eq!(seen[0], seen[1], "G1: the workers of generation {generation} have one order");
            for origin in ["o", "n"] {
                let of_origin: Vec<_> = seen[0].iter().filter(|text| text.starts_with(origin)).collect();
                let all: Vec<_> = (0..40).map(|round| format!("{origin}{round}")).collect();
                assert_eq!(of_origin, all.iter().collect::<Vec<_>>());
            }
        }
        for subscriber in &mut subscribers {
            assert_eq!(texts(subscriber).len(), 80);
        }
        let carried = bridge.finish().unwrap();
        assert_eq!([carried.to_new, carried.to_old, carried.missed, carried.refused], [40, 40, 0, 0]);
    }

    fn g2_what_came_over_the_bridge_says_so_and_is_not_carried_again() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let [old, new] = pair.buses().map(|bus| bus.join_with(&quiet()).unwrap());
        let bridged = shared_words(2);
        let note = |event: &Event<'_>| _ = bridged[usize::from(event.is_bridged())].fetch_add(1, Relaxed);
        [&old, &new].into_iter().for_each(|worker| _ = worker.on(Scope::All, note).unwrap());
        // Own events of the library are of one segment.
        drop(pair.old.join().unwrap());
        old.post(("s", "e"), "1").unwrap();
        pump(&mut bridge);
        let next = [pair.old.next_id(), pair.new.next_id()];
        for _ in 0..3 {
            assert_eq!(bridge.pump().unwrap(), Default::default());
        }
        assert_eq!([pair.old.next_id(), pair.new.next_id()], next, "it came back");
        assert_eq!((poll(&old).0, poll(&new).0), (3, 1));
        assert_eq!([0, 1].map(|which| bridged[which].load(Relaxed)), [3, 1]);
        // A third segment gets nothing of it.
        let third = SegmentOptions::new().keys_of(&pair.new).anonymous().unwrap();
        let finished = bridge.finish().unwrap();
        assert_eq!((finished.to_new, finished.to_old), (1, 0));
        let mut onward = pair.new.bridge_to(&third).unwrap().unwrap();
        pump(&mut onward);
        assert_eq!(third.next_id(), 0);
    }

    fn g3_large_typed_and_empty_events_come_as_they_are() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let mut subscriber = pair.new.subscribe_with(&quiet()).unwrap();
        let mut poster = pair.old.publisher().unwrap();
        let large: Vec<u8> = (0..3000_u32).map(|i| i as u8).collect();
        poster.post(("s", "large"), Tagged { type_tag: 77, bytes: &large }).unwrap();
        poster.post(("source", "empty"), "").unwrap();
        pump(&mut bridge);
        let mut seen = Vec::new();
        while let Some(delivery) = subscriber.try_next().unwrap() {
            let event = delivery.event().unwrap();
            seen.push((event.topic().to_string(), event.type_tag(), event.bytes().to_owned()));
        }
        assert_eq!(seen, [("s/large".to_owned(), 77, large), ("source/empty".to_owned(), 0, vec![])]);
    }

    fn g4_a_lag_is_told_and_what_the_other_cannot_take_is_counted() {
        let (_old_name, old) = seqcast_testkit::bus(&small());
        let new = SegmentOptions::new().capacity(8).block_size(64).seats(8).keys_of(&old).anonymous().unwrap();
        let mut bridge = old.bridge_to(&new).unwrap().unwrap();
        let mut poster = old.publisher().unwrap();
        poster.post(("s", "large"), vec![0; new.largest_event() + 1]).unwrap();
        poster.post(("s", "small"), "1").unwrap();
        let carried = bridge.pump().unwrap();
        assert_eq!((carried.to_new, carried.refused), (1, 1), "{carried:?}");
        for number in 0..200 {
            poster.post(("s", "e"), number.to_string()).unwrap();
        }
        let carried = bridge.pump().unwrap();
        assert_eq!(carried.missed + carried.to_new, 200, "{carried:?}");
        assert!(carried.missed > 0);
        assert_eq!(bridge.carried().to_new, 1 + carried.to_new);
        let of_bridge = old.stats().unwrap().workers.into_iter().find(|worker| worker.label == "bridge").unwrap();
        assert_eq!(of_bridge.missed, carried.missed, "the inspectors are told too");
    }

    fn g19_a_bridge_sleeps_until_either_segment_has_something() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        // What is retained, which is nothing.
        assert!(bridge.wait(Duration::ZERO).unwrap());
        pump(&mut bridge);
        assert!(!bridge.wait(Duration::ZERO).unwrap());
        for bus in pair.buses() {
            let child = Child::fork(|| {
                let mut poster = bus.publisher_with(&quiet()).unwrap();
                stop_here();
                poster.post(("s", "e"), "").unwrap();
            });
            child.await_stop();
            assert!(!bridge.wait(Duration::from_millis(1)).unwrap());
            child.go_on();
            assert!(bridge.wait(HOUR).unwrap());
            assert!(bridge.descriptors().unwrap().iter().any(|number| is_readable(number, HOUR)));
            assert!(child.ended_well());
            pump(&mut bridge);
            assert!(!bridge.wait(Duration::ZERO).unwrap());
        }
        assert_eq!((bridge.carried().to_new, bridge.carried().to_old), (1, 1));
    }

    fn g6_a_reserved_id_is_waited_for_in_order() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let mut subscriber = pair.new.subscribe_with(&quiet()).unwrap();
        let (reserver, other) = (pair.old.join_with(&quiet()).unwrap(), pair.old.join_with(&quiet()).unwrap());
        let mut reserved = reserver.reserve().unwrap();
        other.post(("s", "e"), "second").unwrap();
        assert_eq!(bridge.pump().unwrap().to_new, 0);
        reserved.commit(("s", "e"), "first").unwrap();
        drop(reserved);
        pump(&mut bridge);
        assert_eq!(texts(&mut subscriber), ["first", "second"]);
    }

    fn g12_a_bridge_is_of_the_process_that_made_it() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        pair.old.publisher().unwrap().post(("s", "e"), "").unwrap();
        let mut inherited = Some(pair.bridge_of_child(&mut bridge));
        assert!(inherited.take().unwrap().ended_well());
        assert_eq!(bridge.pump().unwrap().to_new, 1);
    }

    fn a_bridge_needs_two_segments_with_the_same_keys() {
        let pair = Pair::new(&small());
        let same = error(pair.old.bridge_to(&pair.old.clone()));
        assert!(same.to_string().contains("it is the same segment"), "{same}");
        let other = small().anonymous().unwrap();
        let refused = error(pair.old.bridge_to(&other));
        assert!(refused.to_string().contains(".keys_of(&old)"), "{refused}");
        assert_eq!(pair.old.stats().unwrap().workers.len(), 0, "a refused bridge holds a seat");
    }

    fn one_bridge_at_a_time_and_each_seat_is_given_back() {
        let pair = Pair::new(&small());
        let bridge = pair.bridge();
        assert!(pair.old.bridge_to(&pair.new).unwrap().is_none());
        let third = small().keys_of(&pair.old).anonymous().unwrap();
        assert!(pair.new.bridge_to(&third).unwrap().is_none() && third.bridge_to(&pair.old).unwrap().is_none());
        let alive = |bus: &seqcast::Bus| bus.stats().unwrap().workers.iter().filter(|worker| worker.alive).count();
        let seats = || pair.buses().map(alive);
        assert_eq!(seats(), [1, 1]);
        assert!(format!("{bridge:?}").contains("carried"));
        drop(bridge);
        assert_eq!(seats(), [0, 0]);
        pair.bridge().finish().unwrap();
        assert_eq!(seats(), [0, 0]);
    }
}

impl Pair {
    /// A child that inherits `bridge`, which must refuse.
    fn bridge_of_child(&self, bridge: &mut seqcast::Bridge) -> Child {
        Child::fork(|| {
            let forked = seqcast::ErrorKind::Forked;
            assert_eq!(bridge.pump().unwrap_err().kind(), forked);
            assert_eq!(bridge.arm().unwrap_err().kind(), forked);
            assert_eq!(self.new.next_id(), 0);
        })
    }
}

#[test]
fn a_delivery_of_a_bridge_is_an_event_like_any_other() {
    let old = small().anonymous().unwrap();
    let new = small().keys_of(&old).anonymous().unwrap();
    let mut bridge = old.bridge_to(&new).unwrap().unwrap();
    let mut subscriber = new.subscribe_with(&quiet()).unwrap();
    let mut poster = old.publisher().unwrap();
    poster.post(("s", "e"), "1").unwrap();
    pump(&mut bridge);
    let delivery = subscriber.try_next().unwrap().unwrap();
    assert!(matches!(&delivery, Delivery::Event(event) if event.is_bridged() && event.claim().is_none()));
}
