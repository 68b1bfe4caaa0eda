//! Bridges that end, and their successors.

use std::sync::atomic::Ordering::Relaxed;

use seqcast_testkit::{Child, alone, eventually, quiet, shared_words, small, stop_here};

use crate::{Pair, pump, texts};

alone! {
    fn g4_a_later_bridge_goes_on_where_the_last_one_ended() {
        let pair = Pair::new(&small());
        let mut subscribers = pair.subscribers();
        let mut posters = pair.buses().map(|bus| bus.publisher_with(&quiet()).unwrap());
        let mut post = |text: &str| posters.iter_mut().for_each(|poster| _ = poster.post(("s", "e"), text).unwrap());
        let mut bridge = pair.bridge();
        post("1");
        bridge.pump().unwrap();
        post("2");
        bridge.finish().unwrap();
        post("3");
        drop(pair.bridge());
        post("4");
        pump(&mut pair.bridge());
        let seen = subscribers.each_mut().map(texts);
        for seen in &seen {
            let mut sorted = seen.clone();
            sorted.sort();
            assert_eq!(sorted, ["1", "1", "2", "2", "3", "3", "4", "4"], "lost or doubled: {seen:?}");
        }
    }

    fn g7_a_killed_bridge_has_a_successor_that_loses_and_doubles_nothing() {
        let pair = Pair::new(&small().capacity(1024));
        let mut subscribers = pair.subscribers();
        // Without the news of the deaths.
        subscribers.iter_mut().for_each(|subscriber| subscriber.only([("s", "e")]).unwrap());
        let carried = shared_words(1);
        let mut posters = pair.buses().map(|bus| bus.publisher_with(&quiet()).unwrap());
        let mut number = 0;
        for round in 0..40_u64 {
            let child = Child::fork(|| {
                let mut bridge = pair.bridge();
                loop {
                    pump(&mut bridge);
                    carried[0].fetch_add(1, Relaxed);
                }
            });
            for _ in 0..3 {
                let before = carried[0].load(Relaxed);
                eventually("the bridge is there", || carried[0].load(Relaxed) > before);
                for poster in &mut posters {
                    (1..=3).for_each(|more| _ = poster.post(("s", "e"), (number + more).to_string()).unwrap());
                }
                number += 3;
            }
            // At any moment.
            (0..round * 100).for_each(|_| std::hint::spin_loop());
            child.kill();
        }
        pump(&mut pair.bridge());
        for subscriber in &mut subscribers {
            let mut counts = vec![0; number + 1];
            for text in texts(subscriber) {
                counts[text.parse::<usize>().unwrap()] += 1;
            }
            assert_eq!(counts[1..], vec![2; number], "lost or doubled");
        }
    }

    fn g8_a_stopped_bridge_keeps_its_place() {
        let pair = Pair::new(&small());
        let mut subscriber = pair.new.subscribe_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let mut bridge = pair.bridge();
            stop_here();
            pump(&mut bridge);
            bridge.finish().unwrap();
        });
        child.await_stop();
        pair.old.publisher().unwrap().post(("s", "e"), "1").unwrap();
        assert!(pair.old.bridge_to(&pair.new).unwrap().is_none());
        child.go_on();
        assert!(child.ended_well());
        assert_eq!(texts(&mut subscriber), ["1"]);
        pump(&mut pair.bridge());
        assert!(texts(&mut subscriber).is_empty());
    }

    fn a_segment_of_the_same_name_is_another_one() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        pair.old.publisher().unwrap().post(("s", "e"), "1").unwrap();
        pump(&mut bridge);
        bridge.finish().unwrap();
        // With another successor, a bridge begins from the start.
        let other = small().keys_of(&pair.old).anonymous().unwrap();
        let mut bridge = pair.old.bridge_to(&other).unwrap().unwrap();
        pump(&mut bridge);
        assert_eq!(other.next_id(), 0);
        pair.old.publisher().unwrap().post(("s", "e"), "2").unwrap();
        assert_eq!(bridge.pump().unwrap().to_new, 1);
    }
}
