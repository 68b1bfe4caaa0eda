//! Payloads in large blocks.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::inspect::{Inspector, Seen};
use seqcast::{Cause, Delivery, ErrorKind, Scope, SegmentOptions, SizeLimit, Start, WorkerOptions};
use seqcast_testkit::{
    Child, HOUR, Log, Name, alone, assert_error, bus, counts, error, eventually, listener, poll, quiet, shared_words,
    small,
};

/// Bytes that identify their message and their position in it.
fn payload(message: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ message.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// A segment with this many large blocks of a good 2000 bytes.
fn with_large(blocks: u64) -> SegmentOptions {
    small().large(blocks, 2000)
}

fn silent() -> WorkerOptions {
    quiet().on_report(|_| ())
}

alone! {
    fn g3_every_length_arrives_as_it_was_sent() {
        let (_name, bus) = bus(&with_large(4));
        let sizes = bus.stats().unwrap().sizes;
        assert!(sizes.large_blocks == 4 && (2000..2200).contains(&sizes.large_size), "{sizes:?}");
        let large = sizes.large_size as usize;
        let (worker, log) = listener(&bus, &quiet());
        let mut ways = Vec::new();
        for len in 0..large + 100 {
            let (before, bytes) = (counts(&bus, &worker), payload(len as u64, len));
            let id = worker.post(("s", "e"), &bytes).unwrap();
            assert_eq!(poll(&worker), (1, 0), "{len} bytes");
            let seen = log.drain().remove(0);
            assert!((seen.id, seen.bytes) == (Some(id), bytes), "{len} bytes");
            let after = counts(&bus, &worker);
            ways.push((after.large - before.large, after.fragments - before.fragments));
        }
        // First in blocks, then in large blocks, and only what is larger than these in fragments.
        let in_block = ways.iter().take_while(|way| **way == (0, 0)).count();
        assert!(in_block > 200 && ways[in_block..=large].iter().all(|way| *way == (1, 0)), "{ways:?}");
        assert!(ways[large + 1..].iter().all(|&(large, fragments)| large == 0 && fragments > 1), "{ways:?}");
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g5_a_payload_above_the_largest_posts_nothing_and_says_what_fits() {
        let (_name, bus) = bus(&small().capacity(8).large(2, 100_000));
        let (worker, log) = listener(&bus, &quiet());
        let large = bus.stats().unwrap().sizes.large_size as usize;
        assert_eq!(bus.largest_event(), large);
        for len in [large + 1, large * 2] {
            let refusal = error(worker.post(("s", "e"), payload(0, len)));
            let Cause::PayloadTooLarge { len: found, max, limit: SizeLimit::Ring } = *refusal.cause() else {
                panic!("{refusal:?}")
            };
            assert!(found - len == max - large && found - len < 128, "{found} {max}");
            assert!(refusal.to_string().contains("large"), "{refusal}");
        }
        // Names that fill a block leave no room for the name of a large block: fragments, and their limit.
        let long = "n".repeat(200);
        let refusal = error(worker.post((&*long, &*long), payload(0, large)));
        assert!(matches!(*refusal.cause(), Cause::PayloadTooLarge { max, .. } if max < 2000), "{refusal:?}");
        worker.post((&*long, &*long), payload(1, 20)).unwrap();
        assert_eq!((counts(&bus, &worker).large, counts(&bus, &worker).fragments), (0, 2));
        let id = worker.post(("s", "e"), payload(2, large)).unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.seen()[1].id, Some(id));
        assert!(log.seen()[1].bytes == payload(2, large));
    }

    fn g4_an_event_whose_payload_was_overwritten_is_missed_in_its_place() {
        let (_name, bus) = bus(&with_large(4));
        let poster = bus.join_with(&quiet()).unwrap();
        let mut reader = bus.subscribe_with(&quiet()).unwrap();
        let (worker, log) = listener(&bus, &silent());
        for i in 0..10 {
            poster.post(("s", "large"), payload(i, 1000)).unwrap();
            poster.post(("s", "small"), payload(i, 10)).unwrap();
        }
        for i in 0..10 {
            let id = 2 * i;
            match reader.try_next().unwrap().unwrap() {
                Delivery::Lagged { first, missed, .. } if i < 6 => assert_eq!((first, missed), (id, 1)),
                Delivery::Event(event) if i >= 6 => {
                    assert!((event.id(), event.bytes()) == (Some(id), &payload(i, 1000)), "event {id}")
                }
                other => panic!("large event {i}: {other:?}"),
            }
            let Delivery::Event(event) = reader.try_next().unwrap().unwrap() else { panic!("small event {i}") };
            assert_eq!((event.id(), event.bytes()), (Some(id + 1), &*payload(i, 10)));
        }
        assert!(reader.try_next().unwrap().is_none());
        assert_eq!(poll(&worker), (14, 6));
        assert_eq!(log.len(), 14);
        let counts = counts(&bus, &worker);
        assert_eq!((counts.missed, counts.lagged, counts.corrupt), (6, 6, 0));
    }

    fn g4_what_no_handler_wants_is_not_missed() {
        let (_name, bus) = bus(&with_large(2));
        let poster = bus.join_with(&quiet()).unwrap();
        let reader = bus.join_with(&silent()).unwrap();
        let log = Log::of(&reader, ("s", "wanted"));
        for i in 0..8 {
            poster.post(("s", "other"), payload(i, 1000)).unwrap();
        }
        poster.post(("s", "wanted"), payload(8, 1000)).unwrap();
        assert_eq!(poll(&reader), (1, 0));
        assert!(log.seen()[0].bytes == payload(8, 1000));
        assert_eq!(counts(&bus, &reader).skipped, 8);
    }

    fn g1_g2_large_and_small_events_of_several_processes_arrive_whole_in_one_order() {
        const SENDERS: u64 = 3;
        const EACH: u64 = 200;
        let (_name, bus) = bus(&with_large(1024).capacity(2048));
        let readers = [listener(&bus, &quiet()), listener(&bus, &quiet())];
        let ready = shared_words(1);
        let len = |sender: u64, i: u64| ((sender * 977 + i * 613) % 2000) as usize;
        let children: Vec<Child> = (0..SENDERS).map(|sender| {
            let bus = &bus;
            Child::fork(move || {
                let mut poster = bus.publisher_with(&quiet()).unwrap();
                ready[0].fetch_add(1, Relaxed);
                eventually("all are ready", || ready[0].load(Relaxed) == SENDERS);
                for i in 0..EACH {
                    let bytes = payload(sender * EACH + i, len(sender, i));
                    poster.post((&*sender.to_string(), &*i.to_string()), bytes).unwrap();
                }
            })
        }).collect();
        while bus.next_id() < 100 {
            poll(&readers[0].0);
        }
        assert!(children.into_iter().all(Child::ended_well));
        for (reader, log) in &readers {
            poll(reader);
            assert_eq!(counts(&bus, reader).missed, 0);
            let seen = log.seen();
            assert_eq!(seen.len() as u64, SENDERS * EACH);
            for sender in 0..SENDERS {
                let of_sender = seen.iter().filter(|seen| seen.source == sender.to_string());
                for (i, seen) in (0..).zip(of_sender) {
                    assert_eq!(seen.event, i.to_string(), "out of order");
                    assert!(seen.bytes == payload(sender * EACH + i, len(sender, i)), "torn: {sender} {i}");
                }
            }
        }
        assert!(readers[0].1.seen() == readers[1].1.seen());
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g3_g4_a_reader_that_races_with_laps_gets_each_event_whole_or_is_told_that_it_missed_it() {
        const EACH: u64 = 3000;
        let (_name, bus) = bus(&with_large(2).capacity(8192));
        let (reader, log) = listener(&bus, &silent());
        let children: Vec<Child> = (0..2).map(|sender| {
            let bus = &bus;
            Child::fork(move || {
                let mut poster = bus.publisher_with(&quiet()).unwrap();
                for i in 0..EACH {
                    poster.post(("s", &*sender.to_string()), payload(i, 1800)).unwrap();
                }
            })
        }).collect();
        let (mut delivered, mut missed) = (0, 0);
        while delivered + missed < 2 * EACH {
            let (more, gone) = poll(&reader);
            (delivered, missed) = (delivered + more, missed + gone);
            for seen in log.drain() {
                // The first bytes tell which one it is; it must be the event of this id, and whole.
                let is_whole = (0..EACH).any(|i| seen.bytes == payload(i, 1800));
                assert!(is_whole, "torn: {:?}", seen.id);
            }
        }
        assert_eq!(delivered + missed, 2 * EACH);
        assert_eq!(bus.next_id(), 2 * EACH);
        assert!(missed > 0, "two blocks were enough for {delivered} events: no lap was met");
        assert!(children.into_iter().all(Child::ended_well));
    }

    fn g5_a_large_payload_is_committed_at_a_reserved_id_or_too_late() {
        let (_name, bus) = bus(&with_large(4));
        let large = bus.stats().unwrap().sizes.large_size as usize;
        let (worker, log) = listener(&bus, &quiet().wait_max(HOUR));
        let mut reservation = worker.reserve().unwrap();
        assert_error!(
            reservation.commit(("s", "e"), payload(0, large + 1)),
            Cause::PayloadTooLarge { limit: SizeLimit::Block, max, .. } if *max > large
        );
        worker.post(("s", "later"), payload(1, 1500)).unwrap();
        let id = reservation.commit(("s", "e"), payload(0, large)).unwrap();
        assert_eq!(poll(&worker), (2, 0));
        let seen = log.drain();
        assert!(seen[0].id == Some(id) && seen[0].bytes == payload(0, large));
        assert!(seen[1].bytes == payload(1, 1500));
        assert_eq!((counts(&bus, &worker).large, counts(&bus, &worker).committed), (2, 1));
        // A reader that does not wait gives the next id up.
        let (wait_max, interval) = (Duration::from_millis(2), Duration::from_millis(1));
        let hasty = bus.join_with(&quiet().wait_max(wait_max).wait_interval(interval)).unwrap();
        let mut reservation = worker.reserve().unwrap();
        eventually("it is given up", || {
            poll(&hasty);
            counts(&bus, &hasty).voided == 1
        });
        assert_error!(reservation.commit(("s", "e"), payload(2, large)), Cause::TooLate { .. });
        assert_eq!(poll(&worker), (0, 0));
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g4_large_events_behind_a_reserved_id_are_read_before_they_are_overwritten() {
        let (_name, bus) = bus(&with_large(2));
        let poster = bus.join_with(&quiet()).unwrap();
        let mut reader = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        let mut reservation = publisher.reserve().unwrap();
        for i in 0..6 {
            poster.post(("s", "e"), payload(i, 1500)).unwrap();
            // Copies what is behind the reserved id.
            assert!(matches!(reader.try_next().unwrap(), Some(Delivery::Reserved { id: 0, .. })));
        }
        reservation.commit(("s", "first"), "").unwrap();
        assert_eq!(reader.try_next().unwrap().unwrap().id(), 0);
        for i in 0..6 {
            let Some(Delivery::Event(event)) = reader.try_next().unwrap() else { panic!("event {i} is missed") };
            assert!(event.bytes() == payload(i, 1500), "event {i}");
        }
    }

    fn g9_a_unique_event_in_a_large_block_runs_once() {
        let (_name, bus) = bus(&with_large(4));
        let readers = [listener(&bus, &quiet()), listener(&bus, &quiet())];
        let id = readers[0].0.event(("s", "e")).unique("key").ttl(HOUR).post(payload(3, 1500)).unwrap();
        readers[1].0.event(("s", "e")).unique("key").ttl(HOUR).post(payload(4, 1500)).unwrap();
        let delivered: Vec<u64> = readers.iter().map(|(reader, _)| poll(reader).0).collect();
        assert_eq!(delivered, [1, 0]);
        assert!(readers[0].1.seen()[0].id == Some(id) && readers[0].1.seen()[0].bytes == payload(3, 1500));
    }

    fn g13_g14_a_large_event_is_retained() {
        let options = with_large(2).retained(4).retained_size(2000);
        let (_name, bus) = bus(&options);
        let (worker, log) = listener(&bus, &silent().resync(true));
        let largest = bus.stats().unwrap().sizes.retained_size as usize;
        let id = worker.event(("s", "state")).retain_key("17").post(payload(1, 1500)).unwrap();
        assert_eq!(counts(&bus, &worker).large, 1);
        assert_eq!(poll(&worker), (1, 0));
        assert!(log.drain()[0].bytes == payload(1, 1500));
        let found = || worker.get_key(("s", "state"), "17").unwrap().map(|found| (found.id(), found.bytes().to_vec()));
        assert!(found() == Some((id, payload(1, 1500))));
        // Its payload leaves the large ring before a lapped worker reads it: that worker has it from the table.
        let id = worker.event(("s", "state")).retain_key("17").post(payload(2, 1900)).unwrap();
        for i in 0..4 {
            worker.post(("s", "other"), payload(i, 300)).unwrap();
        }
        poll(&worker);
        let seen = log.drain();
        let states: Vec<_> = seen.iter().filter(|seen| seen.event == "state").collect();
        assert!(states.len() == 1 && states[0].id == Some(id) && states[0].bytes == payload(2, 1900));
        let joiner = bus.join_with(&quiet().start(Start::Retained)).unwrap();
        let handed = Log::of(&joiner, Scope::All);
        poll(&joiner);
        assert!(handed.seen()[0].id == Some(id) && handed.seen()[0].bytes == payload(2, 1900));
        let cleared = worker.event(("s", "state")).retain_key("17").clear().unwrap();
        assert!(cleared.is_some() && found().is_none());
        let too_large = worker.event(("s", "state")).retain_key("17").post(payload(3, largest + 1));
        assert_error!(too_large, Cause::PayloadTooLarge { limit: SizeLimit::Retained, .. });
        assert!(bus.audit().unwrap().is_clean());
    }

    fn a_large_event_is_forwarded_to_a_bus_without_large_blocks() {
        let (_one, from) = bus(&with_large(4));
        let (_other, to) = bus(&small());
        let mut reader = from.subscribe_with(&quiet()).unwrap();
        let mut arrived = to.subscribe_with(&quiet()).unwrap();
        from.publisher_with(&quiet()).unwrap().post(("s", "e"), payload(5, 1500)).unwrap();
        let Delivery::Event(event) = reader.try_next().unwrap().unwrap() else { panic!("not an event") };
        to.publisher_with(&quiet()).unwrap().forward(&event).unwrap();
        let Delivery::Event(event) = arrived.try_next().unwrap().unwrap() else { panic!("not an event") };
        assert!(event.bytes() == payload(5, 1500));
    }

    fn a_tail_shows_large_events_and_what_it_missed_of_them() {
        let name = Name::new();
        let bus = with_large(2).create(&name).unwrap();
        let mut poster = bus.publisher_with(&quiet()).unwrap();
        for i in 0..3 {
            poster.post(("s", "e"), payload(i, 1500)).unwrap();
        }
        poster.post(("s", "small"), "x").unwrap();
        let inspector = Inspector::open(&name).unwrap();
        let mut tail = inspector.tail(Start::Oldest).unwrap().payloads(true);
        assert!(matches!(tail.try_next().unwrap(), Some(Seen::Gap { from: 0, missed: 1, .. })));
        let Some(Seen::Event(event)) = tail.try_next().unwrap() else { panic!("not an event") };
        assert!(event.large && !event.fragmented && event.len == 1500 && event.payload == Some(payload(1, 1500)));
        tail.try_next().unwrap();
        let Some(Seen::Event(event)) = tail.try_next().unwrap() else { panic!("not an event") };
        assert!(!event.large && event.payload == Some(b"x".to_vec()));
        // Without payloads, nothing of the large ring is read.
        let mut heads = inspector.tail(Start::Oldest).unwrap();
        let Some(Seen::Event(event)) = heads.try_next().unwrap() else { panic!("not an event") };
        assert_eq!((event.id, event.len, event.payload), (0, 1500, None));
    }

    fn sizes_are_checked_and_compared() {
        for (blocks, bytes) in [(0, 64), (1, 64), (3, 64), (1 << 20, 64), (2, 63), (2, (1 << 26) + 1)] {
            let refusal = error(small().large(blocks, bytes).anonymous());
            assert_eq!(refusal.kind(), ErrorKind::Option, "{blocks} of {bytes}");
            assert!(refusal.to_string().contains("large"), "{refusal}");
        }
        let name = Name::new();
        let bus = with_large(4).create(&name).unwrap();
        assert!(with_large(4).strict(true).open_or_create(&name).unwrap().differences().is_empty());
        assert!(small().strict(true).open_or_create(&name).unwrap().differences().is_empty());
        let other = small().large(8, 2000).open_or_create(&name).unwrap();
        let [difference] = other.differences() else { panic!("{:?}", other.differences()) };
        let large = bus.stats().unwrap().sizes.large_size;
        assert_eq!((difference.option, &*difference.wanted), ("large", "8 of 2000"));
        assert_eq!(difference.found, format!("4 of {large}"));
        let refusal = error(small().large(8, 2000).strict(true).open_or_create(&name));
        assert_eq!(refusal.kind(), ErrorKind::OptionsDiffer);
        let (_plain, without) = seqcast_testkit::bus(&small());
        assert_eq!(without.stats().unwrap().sizes.large_blocks, 0);
    }

    fn g7_blocks_of_large_pools_are_audited() {
        let (_name, bus) = bus(&with_large(4).seats(3));
        let audit = bus.audit().unwrap();
        let pool = audit.pools.iter().find(|pool| pool.pool == "large").expect("the pool is audited");
        assert_eq!((pool.blocks, pool.leaked, pool.shared), (7, 0, 0));
        let (_name, without) = seqcast_testkit::bus(&small());
        assert!(without.audit().unwrap().pools.iter().all(|pool| pool.pool != "large"));
    }
}

#[cfg(feature = "typed")]
mod typed {
    use rkyv::{Archive, Serialize};
    use seqcast::{Topic, TypedEvent, rkyv};

    use super::*;

    #[derive(Archive, Serialize)]
    #[rkyv(crate = rkyv)]
    struct Page {
        status: u16,
        body: Vec<u64>,
    }

    impl TypedEvent for Page {
        const TOPIC: Topic<'static> = Topic::new("page", "rendered");
    }

    alone! {
        fn a_typed_value_in_a_large_block_is_validated_in_place() {
            let (_name, bus) = bus(&with_large(4));
            let mut reader = bus.subscribe_with(&quiet()).unwrap();
            let mut poster = bus.publisher_with(&quiet()).unwrap();
            let page = Page { status: 200, body: (0..200).collect() };
            poster.post(Page::TOPIC, &page).unwrap();
            let Delivery::Event(event) = reader.try_next().unwrap().unwrap() else { panic!("not an event") };
            let seen = event.typed::<Page>().unwrap();
            assert!(seen.status == 200 && seen.body.iter().map(|word| word.to_native()).eq(0..200));
            assert_eq!(bus.stats().unwrap().workers.iter().map(|worker| worker.large).sum::<u64>(), 1);
        }
    }
}
