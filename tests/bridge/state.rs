//! Retained events: what one segment retains, the other does too.

use std::collections::BTreeMap;
use std::time::Duration;

use seqcast::{Bus, Delivery, ErrorKind, SegmentOptions, Start, Tagged, Topic};
use seqcast_testkit::{HOUR, Log, alone, error, poll, quiet, small};

use crate::{Pair, pump};

const STATE: Topic<'static> = Topic::new("upstream", "state");

/// What a bus retains, by key.
fn table(bus: &Bus) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let retained = bus.publisher_with(&quiet()).unwrap().retained().unwrap();
    retained.iter().map(|event| (event.key().to_owned(), event.bytes().to_owned())).collect()
}

alone! {
    fn g13_the_new_segment_begins_with_what_the_old_one_retains() {
        let pair = Pair::new(&small());
        let mut poster = pair.old.publisher().unwrap();
        poster.event(STATE).retain_key("a").post(Tagged { type_tag: 77, bytes: b"up" }).unwrap();
        poster.event(STATE).retain_key("b").ttl(HOUR).post("down").unwrap();
        poster.event(STATE).retain_key("c").post("gone").unwrap();
        poster.event(STATE).retain_key("c").clear().unwrap();
        let mut bridge = pair.bridge();
        pump(&mut bridge);
        assert_eq!(table(&pair.new), table(&pair.old));
        let mut looks = pair.new.publisher().unwrap();
        let (a, b) = (looks.get_key(STATE, "a").unwrap().unwrap(), looks.get_key(STATE, "b").unwrap().unwrap());
        assert_eq!((a.type_tag(), a.left()), (77, None));
        let of_old = poster.get_key(STATE, "b").unwrap().unwrap().left().unwrap();
        let left = b.left().unwrap();
        assert!(left < HOUR && left + Duration::from_secs(60) > of_old, "{left:?} of {of_old:?}");
        // A worker that joins the new segment is handed the table.
        let late = pair.new.join_with(&quiet().start(Start::Retained)).unwrap();
        let log = Log::of(&late, STATE);
        poll(&late);
        assert_eq!(log.texts(), ["up", "down"]);
        let carried = bridge.finish().unwrap();
        assert_eq!((carried.to_new, carried.retained), (2, 2));
    }

    fn g13_what_is_left_of_a_ttl_is_carried_and_not_the_whole() {
        let pair = Pair::new(&small());
        let mut poster = pair.old.publisher().unwrap();
        poster.event(STATE).retain_key("a").ttl(Duration::from_millis(30)).post("up").unwrap();
        std::thread::sleep(Duration::from_millis(40));
        poster.event(STATE).retain_key("b").ttl(Duration::from_millis(30)).post("up").unwrap();
        let mut bridge = pair.bridge();
        poster.event(STATE).retain_key("c").ttl(Duration::from_millis(1)).post("up").unwrap();
        std::thread::sleep(Duration::from_millis(40));
        pump(&mut bridge);
        assert!(table(&pair.new).is_empty(), "a ttl began again");
    }

    fn g13_values_and_clears_of_either_generation_are_the_last_in_both() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let [mut old, mut new] = pair.buses().map(|bus| bus.publisher().unwrap());
        old.event(STATE).retain_key("a").post("1").unwrap();
        new.event(STATE).retain_key("b").post("2").unwrap();
        pump(&mut bridge);
        assert_eq!(table(&pair.old), table(&pair.new));
        assert_eq!(table(&pair.old).len(), 2);
        new.event(STATE).retain_key("a").clear().unwrap().unwrap();
        old.event(STATE).retain_key("b").post("3").unwrap();
        pump(&mut bridge);
        assert_eq!(table(&pair.old), BTreeMap::from([(b"b".to_vec(), b"3".to_vec())]));
        assert_eq!(table(&pair.old), table(&pair.new));
    }

    fn g13_two_that_set_a_key_at_once_end_with_one_value() {
        // Each row: what is posted before the bridge moves, and what then.
        for (first, then) in [(0, 1), (1, 0)] {
            let pair = Pair::new(&small());
            let mut bridge = pair.bridge();
            let mut posters = pair.buses().map(|bus| bus.publisher().unwrap());
            posters[first].event(STATE).retain_key("a").post("first").unwrap();
            posters[then].event(STATE).retain_key("a").post("then").unwrap();
            pump(&mut bridge);
            assert_eq!(table(&pair.old), table(&pair.new));
            assert_eq!(bridge.carried().superseded, 1);
        }
    }

    /// Random posts and clears of three keys, at random moments of the bridge, which is also replaced. When all is
    /// carried, both tables are equal.
    fn g13_both_tables_agree_after_any_run() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |end: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % end
        };
        for run in 0..60 {
            let pair = Pair::new(&small());
            let mut bridge = pair.bridge();
            let mut posters = pair.buses().map(|bus| bus.publisher().unwrap());
            for step in 0..200 {
                let (side, key) = (below(2) as usize, [below(3) as u8]);
                match below(12) {
                    0..5 => _ = posters[side].event(STATE).retain_key(&key).post(format!("{run}.{step}")).unwrap(),
                    5..7 => _ = posters[side].event(STATE).retain_key(&key).clear().unwrap(),
                    7..11 => _ = bridge.pump().unwrap(),
                    _ if below(2) == 0 => {
                        drop(bridge);
                        bridge = pair.bridge();
                    }
                    _ => {}
                }
            }
            pump(&mut bridge);
            assert_eq!(table(&pair.old), table(&pair.new), "run {run}");
        }
    }

    fn g14_after_a_lap_the_table_is_carried_all_the_same() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let mut poster = pair.old.publisher().unwrap();
        for key in ["a", "b"] {
            poster.event(STATE).retain_key(key).post("1").unwrap();
        }
        pump(&mut bridge);
        poster.event(STATE).retain_key("a").post("2").unwrap();
        poster.event(STATE).retain_key("b").clear().unwrap();
        for _ in 0..2 * pair.old.capacity() {
            poster.post(("s", "e"), "").unwrap();
        }
        pump(&mut bridge);
        assert!(bridge.carried().missed > 0);
        assert_eq!(table(&pair.new), BTreeMap::from([(b"a".to_vec(), b"2".to_vec())]));
    }

    /// The old segment has forgotten a clear, so everything that came from it is compared.
    fn g14_what_is_gone_after_a_reset_is_cleared_in_the_other() {
        let (_name, old) = seqcast_testkit::bus(&small().retained(2));
        let new = small().capacity(256).retained(64).keys_of(&old).anonymous().unwrap();
        let mut bridge = old.bridge_to(&new).unwrap().unwrap();
        let [mut poster, mut of_new] = [&old, &new].map(|bus| bus.publisher().unwrap());
        let keys: Vec<_> = (0_u8..16).map(|key| [key]).collect();
        poster.event(STATE).retain_key(&keys[0]).post("1").unwrap();
        pump(&mut bridge);
        poster.event(STATE).retain_key(&keys[0]).clear().unwrap();
        // Other keys take the place of the clear, until it is forgotten.
        for _ in 0..4 {
            for key in &keys[1..] {
                if poster.event(STATE).retain_key(key).post("2").is_ok() {
                    poster.event(STATE).retain_key(key).clear().unwrap();
                }
            }
        }
        for _ in 0..2 * old.capacity() {
            poster.post(("s", "e"), "").unwrap();
        }
        of_new.event(STATE).retain_key("own").post("3").unwrap();
        let mut handed = old.subscribe_with(&quiet().start(Start::Oldest).resync(true)).unwrap();
        assert!(handed.try_next().unwrap().is_some());
        pump(&mut bridge);
        assert!(of_new.get_key(STATE, keys[0]).unwrap().is_none(), "the clear was lost");
        assert_eq!(of_new.get_key(STATE, "own").unwrap().unwrap().bytes(), b"3");
    }

    fn g15_what_finds_no_place_is_carried_and_counted() {
        let (_name, old) = seqcast_testkit::bus(&small());
        let none = small().retained(0).keys_of(&old).anonymous().unwrap();
        let mut bridge = old.bridge_to(&none).unwrap().unwrap();
        let mut subscriber = none.subscribe_with(&quiet()).unwrap();
        let mut poster = old.publisher().unwrap();
        poster.event(STATE).retain_key("a").post("1").unwrap();
        poster.event(STATE).retain_key("a").clear().unwrap();
        pump(&mut bridge);
        let delivery = subscriber.try_next().unwrap();
        assert!(matches!(&delivery, Some(Delivery::Event(event)) if event.retained_key().is_none()), "{delivery:?}");
        let carried = bridge.finish().unwrap();
        assert_eq!([carried.to_new, carried.unretained, carried.retained, carried.superseded], [1, 1, 0, 1]);
        // The values of one are larger than the other keeps.
        let (_name, old) = seqcast_testkit::bus(&small().retained_size(1024));
        let little = small().retained_size(64).keys_of(&old).anonymous().unwrap();
        let mut bridge = old.bridge_to(&little).unwrap().unwrap();
        old.publisher().unwrap().event(STATE).retain_key("a").post(vec![0; 900]).unwrap();
        assert_eq!(bridge.pump().unwrap().unretained, 1);
    }

    fn a_forwarded_event_is_retained_for_what_is_left_of_its_ttl() {
        let (old, new) = (small().anonymous().unwrap(), small().anonymous().unwrap());
        let mut from = old.subscribe_with(&quiet()).unwrap();
        let (worker, mut to) = (old.join_with(&quiet()).unwrap(), new.publisher().unwrap());
        let by_worker = new.join_with(&quiet()).unwrap();
        let mut poster = old.publisher().unwrap();
        poster.event(STATE).retain().post("1").unwrap();
        poster.event(STATE).retain_key("a").ttl(HOUR).post(Tagged { type_tag: 77, bytes: b"2" }).unwrap();
        poster.event(STATE).retain_key("b").ttl(Duration::from_millis(20)).post("3").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        while let Some(delivery) = from.try_next().unwrap() {
            to.forward(delivery.event().unwrap()).unwrap();
        }
        assert_eq!(to.get(STATE).unwrap().unwrap().bytes(), b"1");
        let found = to.get_key(STATE, "a").unwrap().unwrap();
        assert_eq!((found.bytes(), found.type_tag()), (&b"2"[..], 77));
        assert!(found.left().unwrap() < HOUR);
        assert!(to.get_key(STATE, "b").unwrap().is_none(), "its ttl began again");
        // The same through workers; a clear says what to do.
        poster.event(STATE).retain_key("a").clear().unwrap();
        let next = new.next_id();
        let mut refused = Vec::new();
        worker.poll_with(|event| refused.extend(by_worker.forward(event).err().map(|error| error.kind()))).unwrap();
        assert_eq!((refused, new.next_id()), (vec![ErrorKind::Option], next + 3));
        let none = SegmentOptions::new().retained(0).anonymous().unwrap();
        let mut to = none.publisher().unwrap();
        poster.event(STATE).retain().post("4").unwrap();
        let delivery = from.next(HOUR).unwrap().unwrap();
        assert!(matches!(delivery, Delivery::Cleared(_)));
        let delivery = from.next(HOUR).unwrap().unwrap();
        assert_eq!(error(to.forward(delivery.event().unwrap())).kind(), ErrorKind::Option);
        assert_eq!(none.next_id(), 0);
    }
}
