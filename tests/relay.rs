//! The relay's seat: what it reads and posts, what its successor finds, and what workers see of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::inspect::{Inspector, RelayPresence, Seen, UniqueState};
use seqcast::relay::{
    Foreign, Health, Kept, Outgoing, OutgoingKind, Recovered, RelayOptions, RelayPoster, RelayReader, StreamPosition,
};
use seqcast::{
    Bus, Cause, ClusterId, Delivery, ErrorKind, Missed, MissedReason, Origin, Scope, Start, Tagged, Unique, Whence,
    Worker,
};
use seqcast_testkit::{
    Child, HOUR, Reports, alone, assert_error, bus, counts, eventually, exit, listener, poll, quiet, small, stop_here,
};

const THERE: Origin = Origin::from_bits(7);

fn relay(bus: &Bus) -> (RelayReader, RelayPoster) {
    bus.relay(&RelayOptions::new()).unwrap().split()
}

fn at(n: u64) -> ClusterId {
    ClusterId { timeline: 1, n }
}

fn foreign(id: u64, bytes: &[u8]) -> Foreign<'_> {
    Foreign::new(THERE, id, at(id), "s", "e", bytes)
}

/// What a relay has read, in comparable form.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Event(u64, OutgoingKind, String, Vec<u8>),
    Missed(u64, u64),
}

fn all(reader: &mut RelayReader) -> Vec<Read> {
    let mut all = Vec::new();
    while let Some(outgoing) = reader.try_next().unwrap() {
        all.push(match outgoing {
            Outgoing::Event(event) => {
                let topic = format!("{}/{}", event.source, event.event);
                Read::Event(event.id, event.kind, topic, event.bytes.to_vec())
            }
            Outgoing::Missed { last, count, .. } => Read::Missed(last, count),
            other => panic!("{other:?}"),
        });
    }
    all
}

fn ids(read: &[Read]) -> Vec<u64> {
    read.iter().filter_map(|read| if let Read::Event(id, ..) = read { Some(*id) } else { None }).collect()
}

/// What a worker has seen of events and of gaps, in order.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<String>>>);

impl Order {
    fn of(worker: &Worker) -> Order {
        let order = Order::default();
        let (events, gaps) = (order.clone(), order.clone());
        worker
            .on(Scope::All, move |event| {
                let from = event.origin().map_or_else(|| "here".to_owned(), |origin| origin.bits().to_string());
                let place = event.cluster_id().map_or_else(|| "-".to_owned(), |place| place.to_string());
                events.push(format!("{from} {place} {} {}", event.is_own(), String::from_utf8_lossy(event.bytes())));
            })
            .unwrap();
        worker.on_missed(move |missed: &Missed| gaps.push(format!("{:?}: {missed}", missed.whence))).unwrap();
        order
    }

    fn push(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn drain(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

alone! {
    fn r3_a_relay_reads_what_is_posted_in_order_and_nothing_of_its_own() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (mut reader, mut poster) = relay(&bus);
        assert_eq!((reader.origin(), poster.origin()), (bus.origin(), bus.origin()));
        assert!(!reader.wait(Duration::ZERO).unwrap() && all(&mut reader).is_empty());
        reader.select(|source| source == "cache");
        let large = vec![7; 2000];
        let first = worker.post(("cache", "stale"), "one").unwrap();
        worker.post(("other", "stale"), "not selected").unwrap();
        let second = worker.post(("cache", "blob"), &large).unwrap();
        assert!(poster.post(&foreign(3, b"from there")).unwrap());
        poster.missed(None, None, MissedReason::EngineLost).unwrap();
        let request = worker.post_cluster(("any", "thing"), "asked").unwrap();
        // The library's own events stay here.
        drop(bus.join().unwrap());
        assert!(reader.wait(HOUR).unwrap());
        let local = |id, topic: &str, bytes: &[u8]| {
            Read::Event(id, OutgoingKind::Local, topic.to_owned(), bytes.to_vec())
        };
        let expected = [
            local(first, "cache/stale", b"one"),
            local(second, "cache/blob", &large),
            Read::Event(request, OutgoingKind::Ordered, "any/thing".to_owned(), b"asked".to_vec()),
        ];
        assert_eq!(all(&mut reader), expected);
        assert_eq!(reader.position(), bus.next_id());
        reader.seek(second).unwrap();
        assert_eq!(all(&mut reader), expected[1..]);
        assert_error!(reader.seek(bus.next_id() + 1), Cause::NotYet { .. });
        assert!(all(&mut reader).is_empty(), "a seek that failed has moved it");
    }

    fn r1_a_fragmented_event_is_not_lost_when_a_relay_goes_on_in_the_middle_of_it() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (mut reader, _poster) = relay(&bus);
        let large = vec![7; 2000];
        let last = worker.post(("s", "large"), &large).unwrap();
        for next in 0..=last {
            reader.seek(next).unwrap();
            let read = all(&mut reader);
            assert_eq!(read, [Read::Event(last, OutgoingKind::Local, "s/large".to_owned(), large.clone())], "{next}");
        }
        reader.seek(last + 1).unwrap();
        assert!(all(&mut reader).is_empty());
    }

    fn r5_a_relay_is_told_of_laps_in_their_place() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (mut reader, _poster) = relay(&bus);
        for _ in 0..100 {
            worker.post(("s", "e"), "").unwrap();
        }
        let read = all(&mut reader);
        let Read::Missed(last, count) = read[0] else { panic!("{:?}", read[0]) };
        assert_eq!((count, ids(&read)), (last + 1, (last + 1..100).collect::<Vec<_>>()));
        reader.seek(90).unwrap();
        assert_eq!(ids(&all(&mut reader)), (90..100).collect::<Vec<_>>());
        assert_eq!(reader.sent(), None);
        reader.set_sent(0);
        assert_eq!(reader.sent(), Some(0));
        reader.set_sent(100);
        assert_eq!(reader.sent(), Some(100));
        reader.seek(reader.sent().unwrap()).unwrap();
        assert!(all(&mut reader).is_empty());
    }

    fn r9_a_relay_that_was_killed_before_it_reached_the_engine_has_a_successor_that_reads_what_it_accepted() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.post(("s", "e"), "before the first relay").unwrap();
        for _ in 0..2 {
            let child = Child::fork(|| {
                let _relay = bus.relay(&RelayOptions::new()).unwrap();
                stop_here();
                exit(0);
            });
            child.await_stop();
            child.kill();
        }
        let id = worker.post_cluster(("s", "e"), "accepted").unwrap();
        let (mut reader, _poster) = relay(&bus);
        let from = reader.resume_at();
        reader.seek(from).unwrap();
        assert_eq!(ids(&all(&mut reader)).last(), Some(&id), "read from {from} on");
        assert!(from > 0, "what was posted before the first relay does not travel");
        // Once the engine has acknowledged something, that counts.
        reader.set_sent(id);
        assert_eq!(reader.resume_at(), id);
        // A hostile word beyond the end.
        reader.set_sent(u64::MAX - 1);
        assert_eq!(reader.resume_at(), reader.newest());
    }

    fn r7_a_relay_waits_for_reserved_ids_like_a_worker_and_goes_on() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let options = RelayOptions::new().wait_max(Duration::from_millis(50));
        let (mut reader, _poster) = bus.relay(&options).unwrap().split();
        let mut reservation = worker.reserve().unwrap();
        let after = worker.post(("s", "e"), "after").unwrap();
        assert!(reader.try_next().unwrap().is_none(), "it is before that event");
        reservation.commit(("s", "e"), "before").unwrap();
        assert!(reader.wait(HOUR).unwrap());
        assert_eq!(ids(&all(&mut reader)), [after - 1, after]);
        let reservation = worker.reserve().unwrap();
        let after = worker.post(("s", "e"), "after").unwrap();
        eventually("the id is given up", || {
            reader.wait(Duration::from_millis(10)).unwrap();
            ids(&all(&mut reader)) == [after]
        });
        drop(reservation);
    }

    fn r4_an_event_is_posted_once_and_never_after_a_later_one() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let (reader, mut poster) = relay(&bus);
        assert_eq!((poster.recovered(), poster.seen(THERE)), (Recovered::Nothing, None));
        assert!(poster.post(&foreign(0, b"0")).unwrap(), "the first id of all is 0");
        assert!(!poster.post(&foreign(0, b"0")).unwrap());
        assert!(poster.post(&foreign(5, b"5")).unwrap());
        assert!(!poster.post(&foreign(4, b"4")).unwrap());
        poster.pass(THERE, 8).unwrap();
        poster.pass(THERE, 7).unwrap();
        assert_eq!(poster.seen(THERE), Some(8));
        assert!(!poster.post(&foreign(8, b"8")).unwrap());
        assert!(!poster.post_missed(THERE, 8, Some(1), MissedReason::OriginLapped).unwrap());
        assert!(poster.post_missed(THERE, 10, Some(2), MissedReason::OriginLapped).unwrap());
        assert!(!poster.post(&foreign(10, b"10")).unwrap());
        let other = Origin::from_bits(8);
        assert!(poster.post(&Foreign::new(other, 1, at(9), "s", "e", b"of another")).unwrap());
        drop((reader, poster));
        // The next one knows it all.
        let (_reader, mut poster) = relay(&bus);
        assert_eq!(poster.origins(), [(THERE, 10), (other, 1)]);
        assert!(!poster.post(&foreign(10, b"10")).unwrap() && poster.post(&foreign(11, b"11")).unwrap());
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(log.texts(), ["0", "5", "of another", "11"]);
    }

    fn r4_a_successor_that_comes_after_a_lap_says_that_it_does_not_know() {
        let (name, bus) = bus(&small());
        let child = Child::fork(|| {
            let (_reader, mut poster) = relay(&bus);
            poster.post(&foreign(1, b"")).unwrap();
            poster.set_position(&StreamPosition { timeline: 1, seq: 1, chain: 1, n: 1 });
            stop_here();
            exit(0);
        });
        child.await_stop();
        child.kill();
        // The state after it was killed in the post of the next event.
        let word = |field: &str| {
            let inspector = Inspector::open(&name).unwrap();
            let region = inspector.regions().into_iter().find(|region| region.name == "relay").unwrap();
            let once = seqcast::inspect::fields().into_iter().find(|row| (row.region, row.name) == ("relay", field));
            region.offset + once.unwrap().offset as u64
        };
        let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
        let intent = [1_u64, THERE.bits(), 2, bus.next_id()].map(u64::to_ne_bytes).concat();
        std::os::unix::fs::FileExt::write_all_at(&file, &intent, word("once") + 9 * 8).unwrap();
        let publisher = &mut bus.publisher_with(&quiet()).unwrap();
        for _ in 0..bus.capacity() + 1 {
            publisher.post(("s", "e"), "").unwrap();
        }
        let (_reader, mut poster) = relay(&bus);
        let Recovered::Unknown { origin, id, .. } = poster.recovered() else { panic!("{:?}", poster.recovered()) };
        assert_eq!((origin, id), (THERE, 2));
        assert_eq!(Inspector::open(&name).unwrap().relay().unwrap().possible_duplicates, 1);
        assert_eq!(poster.seen(THERE), Some(1));
        assert!(poster.post(&foreign(2, b"")).unwrap());
    }

    fn r4_a_table_that_is_full_refuses_further_hosts_and_loses_none() {
        let (_name, bus) = bus(&small().relay_hosts(2));
        let (_reader, mut poster) = relay(&bus);
        let of = |host: u64, id: u64| Foreign::new(Origin::from_bits(host), id, at(0), "s", "e", b"");
        assert!(poster.post(&of(1, 1)).unwrap());
        poster.pass(Origin::from_bits(2), 1).unwrap();
        let before = bus.next_id();
        assert_error!(poster.post(&of(3, 1)), Cause::RelayFull { hosts: 2, .. });
        assert_error!(poster.pass(Origin::from_bits(3), 1), Cause::RelayFull { .. });
        assert_eq!(bus.next_id(), before);
        assert!(!poster.post(&of(1, 1)).unwrap() && !poster.post(&of(2, 1)).unwrap());
        assert!(poster.forget(Origin::from_bits(1)) && !poster.forget(Origin::from_bits(1)));
        assert!(poster.post(&of(3, 1)).unwrap());
        assert_eq!(poster.origins(), [(Origin::from_bits(3), 1), (Origin::from_bits(2), 1)]);
        assert!(!poster.post(&of(3, 0)).unwrap(), "it has taken over what was known of another");
        let (_name, without) = seqcast_testkit::bus(&small().relay_hosts(0));
        assert_error!(without.relay(&RelayOptions::new()), Cause::Option { option: "relay_hosts", .. });
    }

    fn r4_an_error_leaves_nothing_behind() {
        let (_name, bus) = bus(&small().retained(0));
        let (_reader, mut poster) = relay(&bus);
        let (large, long) = (vec![0; bus.largest_event()], "x".repeat(256));
        let before = bus.next_id();
        let names = |source, event, bytes| Foreign::new(THERE, 1, at(1), source, event, bytes);
        assert_error!(poster.post(&names("s", "e", &large)), Cause::PayloadTooLarge { .. });
        assert_error!(poster.post(&names(&long, "e", b"")), Cause::Topic { .. });
        assert_error!(poster.post(&names("s", "", b"")), Cause::Topic { .. });
        assert_error!(poster.post(&names("seqcast", "e", b"")), Cause::LibrarySource);
        let kept = Kept { key: b"", ttl: None, clears: false };
        assert_error!(poster.post(&foreign(1, b"").retained(kept)), Cause::Option { option: "retained", .. });
        assert_error!(poster.post(&foreign(1, b"").unique(Duration::ZERO)), Cause::Option { option: "ttl", .. });
        assert_eq!((bus.next_id(), poster.seen(THERE), poster.origins()), (before, None, vec![]));
        // As it comes back, the event has 32 bytes more than the request.
        let fits = vec![0; bus.largest_event() - 48];
        let worker = bus.join_with(&quiet()).unwrap();
        assert_error!(worker.post_cluster(("s", "e"), &large), Cause::PayloadTooLarge { .. });
        assert_error!(worker.post_cluster(("s", "e"), vec![0; fits.len() - 15]), Cause::PayloadTooLarge { .. });
        worker.post_cluster(("s", "e"), &fits[16..]).unwrap();
        assert!(poster.post(&foreign(1, &fits[16..])).unwrap());
    }

    fn r2_a_worker_sees_where_events_come_from_and_what_is_missing_in_order() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let order = Order::of(&worker);
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        let (_reader, mut poster) = relay(&bus);
        worker.post(("s", "e"), "own").unwrap();
        poster.post(&foreign(1, b"theirs")).unwrap();
        let first = poster.missed(Some(3), Some(THERE), MissedReason::TooLarge).unwrap();
        poster.post(&foreign(5, &[b'x'; 700])).unwrap();
        poster.missed(None, None, MissedReason::EngineLost).unwrap();
        poster.post(&foreign(6, b"last")).unwrap();
        let polled = worker.poll().unwrap();
        assert_eq!((polled.delivered(), polled.missed(), polled.missed_elsewhere()), (4, 0, 4));
        let large = format!("7 1-5 false {}", "x".repeat(700));
        let expected = [
            "here - true own",
            "7 1-1 false theirs",
            "Cluster: 3 events of host 0000000000000007 did not reach this host: too_large",
            &large,
            "Cluster: an unknown number of events did not reach this host: engine_lost",
            "7 1-6 false last",
        ];
        assert_eq!(order.drain(), expected);
        let texts = reports.texts();
        assert!(texts.len() == 2 && texts[0].starts_with(&format!("event id {first}: 3 events of host")), "{texts:?}");
        // The same for those that pull.
        let mut seen = Vec::new();
        while let Some(delivery) = subscriber.try_next().unwrap() {
            seen.push(match (&delivery, delivery.gap()) {
                (Delivery::Missed(missed), Some(gap)) => {
                    assert_eq!((missed, delivery.id(), delivery.missed()), (&gap, missed.first_id, 0));
                    format!("{:?} {:?} {:?} {:?}", gap.whence, gap.count, gap.origin, gap.reason)
                }
                (Delivery::Event(event), None) => format!("{:?} {:?}", event.origin(), event.cluster_id()),
                other => panic!("{other:?}"),
            });
        }
        let from = |n| format!("{:?} {:?}", Some(THERE), Some(at(n)));
        let gaps = [
            format!("Cluster {:?} {:?} TooLarge", Some(3), Some(THERE)),
            "Cluster None None EngineLost".to_owned(),
        ];
        let [lost, unknown] = gaps;
        assert_eq!(seen, ["None None".to_owned(), from(1), lost, from(5), unknown, from(6)]);
    }

    fn r5_local_laps_and_gaps_between_hosts_reach_one_handler() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&Reports::default().of(quiet())).unwrap();
        let missed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&missed);
        let registration = worker.on_missed(move |missed| noted.lock().unwrap().push(*missed)).unwrap();
        let failing = worker.on_missed(|_| Err("no luck")).unwrap();
        let (_reader, mut poster) = relay(&bus);
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        for _ in 0..100 {
            worker.post(("s", "e"), "").unwrap();
        }
        poster.missed(Some(5), None, MissedReason::CatchUp).unwrap();
        let polled = worker.poll().unwrap();
        assert_eq!(polled.missed_elsewhere(), 5);
        let [lap, gap] = missed.lock().unwrap()[..] else { panic!("{missed:?}") };
        let parts = |missed: Missed| (missed.whence, missed.count, missed.first_id, missed.reason);
        assert_eq!(parts(lap), (Whence::Ring, Some(polled.missed()), 0, MissedReason::Lapped));
        assert_eq!(parts(gap), (Whence::Cluster, Some(5), 100, MissedReason::CatchUp));
        assert_eq!(counts(&bus, &worker).failed, 2);
        let Some(Delivery::Lagged { first, missed: count, .. }) = subscriber.try_next().unwrap() else { panic!() };
        let lagged = (first, count);
        let gap = subscriber.try_next().unwrap().map(|delivery| delivery.gap().is_some());
        assert_eq!((lagged, gap), ((0, polled.missed()), Some(false)));
        assert!(worker.unregister(registration) && worker.unregister(failing) && !worker.unregister(registration));
        poster.missed(Some(5), None, MissedReason::CatchUp).unwrap();
        worker.poll().unwrap();
        assert_eq!(missed.lock().unwrap().len(), 2);
    }

    fn r2_a_gap_that_was_read_ahead_of_a_reserved_id_is_told_in_its_place() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&Reports::default().of(quiet())).unwrap();
        let other = bus.join_with(&quiet()).unwrap();
        let order = Order::of(&worker);
        let (_reader, mut poster) = relay(&bus);
        let mut reservation = other.reserve().unwrap();
        poster.missed(Some(1), None, MissedReason::Trimmed).unwrap();
        other.post(("s", "e"), "after").unwrap();
        let mut subscriber = bus.subscribe_with(&quiet().start(Start::Oldest)).unwrap();
        assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Reserved { .. })));
        worker.poll_now().unwrap();
        reservation.commit(("s", "e"), "before").unwrap();
        worker.poll().unwrap();
        let gap = "Cluster: 1 event did not reach this host: trimmed";
        assert_eq!(order.drain(), ["here - true before", gap, "here - true after"]);
        let next = || subscriber.try_next().unwrap().map(|delivery| delivery.gap().is_some());
        let kinds: Vec<bool> = std::iter::from_fn(next).collect();
        assert_eq!(kinds, [false, true, false]);
    }

    fn r8_requests_are_seen_by_the_relay_alone_and_touch_no_claim() {
        let (name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        let (mut reader, mut poster) = bus.relay(&RelayOptions::new().cluster_key([3; 16])).unwrap().split();
        let key = Unique::key("mail").ttl(Duration::from_secs(60));
        let request = worker.post_cluster_unique(("mail", "nightly"), key, "once").unwrap();
        let plain = worker.post_cluster(("config", "changed"), vec![1; 1000]).unwrap();
        let retained = worker.event(("upstream", "state")).cluster().retain_key("17").ttl(HOUR).post("down").unwrap();
        let cleared = worker.event(("upstream", "state")).cluster().retain_key("17").clear().unwrap().unwrap();
        let large = worker.event(("upstream", "state")).cluster().retain().post(vec![2; 200]).unwrap();
        assert_eq!(poll(&worker), (0, 0));
        assert!(log.is_empty() && subscriber.try_next().unwrap().is_none());
        let seat = counts(&bus, &worker);
        assert_eq!((seat.skipped, seat.claims_won, seat.claims_lost), (0, 0, 0));
        assert_eq!((bus.stats().unwrap().claims_held, worker.retained().unwrap().len()), (0, 0));
        let mut read = Vec::new();
        while let Some(Outgoing::Event(event)) = reader.try_next().unwrap() {
            assert_eq!(event.kind, OutgoingKind::Ordered);
            let retained = event.retained.map(|kept| (kept.key.to_vec(), kept.ttl, kept.clears));
            read.push((event.id, event.bytes.to_vec(), event.unique, retained));
        }
        assert_eq!(read.iter().map(|read| read.0).collect::<Vec<_>>(), [request, plain, retained, cleared, large]);
        let unique = read[0].2.unwrap();
        assert_eq!((unique.ttl, read[0].1.as_slice(), read[1].2), (Duration::from_secs(60), &b"once"[..], None));
        assert_eq!(read[1].1, vec![1; 1000]);
        assert_eq!(read[2].3, Some((b"17".to_vec(), Some(HOUR), false)));
        assert_eq!((&read[3].3, read[3].1.len()), (&Some((b"17".to_vec(), None, true)), 0));
        assert_eq!((&read[4].3, &read[4].1), (&Some((vec![], None, false)), &vec![2; 200]));
        // An inspector sees all of them.
        let mut tail = Inspector::open(&name).unwrap().tail(Start::Oldest).unwrap();
        let mut requests = Vec::new();
        while let Some(seen) = tail.try_next().unwrap() {
            if let Seen::Event(event) = seen
                && event.request
            {
                requests.push((event.id, event.unique.map(|unique| matches!(unique.state, UniqueState::Open))));
            }
        }
        assert_eq!(requests, [(request, Some(true)), (plain, None), (retained, None), (cleared, None), (large, None)]);
        // The key is that of all hosts with this cluster key.
        let (_name, other) = seqcast_testkit::bus(&small());
        let same = |cluster_key: [u8; 16], text: &str| {
            let (mut reader, _poster) = other.relay(&RelayOptions::new().cluster_key(cluster_key)).unwrap().split();
            other.join_with(&quiet()).unwrap().event(("s", "e")).cluster().unique(text).post("").unwrap();
            let Some(Outgoing::Event(event)) = reader.try_next().unwrap() else { panic!() };
            event.unique.unwrap().key == unique.key
        };
        assert!(same([3; 16], "mail") && !same([4; 16], "mail") && !same([3; 16], "male"));
        // Won: it comes back, and one worker runs it.
        let other_worker = listener(&bus, &quiet());
        let won = |id, place| Foreign::new(bus.origin(), id, place, "mail", "nightly", b"x").unique(unique.ttl);
        assert!(poster.post(&won(request, at(0))).unwrap());
        assert_eq!(poll(&worker).0 + poll(&other_worker.0).0, 1);
        // The next with that key is another event, with a key of its own.
        assert!(poster.post(&won(plain, at(1))).unwrap());
        assert_eq!(poll(&worker).0 + poll(&other_worker.0).0, 1);
    }

    fn r7_without_a_relay_a_request_is_refused_and_after_a_kill_it_is_kept() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let refused = |worker: &Worker| {
            let before = bus.next_id();
            assert_error!(worker.post_cluster(("s", "e"), ""), Cause::NoRelay { .. });
            assert_error!(worker.post_cluster_unique(("s", "e"), "key", ""), Cause::NoRelay { .. });
            assert_error!(worker.event(("s", "e")).cluster().retain().post(""), Cause::NoRelay { .. });
            assert_error!(worker.event(("s", "e")).cluster().retain().clear(), Cause::NoRelay { .. });
            assert_error!(bus.publisher().unwrap().event(("s", "e")).cluster().post(""), Cause::NoRelay { .. });
            assert_eq!(bus.next_id(), before);
        };
        let state = || Inspector::open(&name).unwrap().relay().unwrap();
        refused(&worker);
        assert_eq!((state().presence, state().pid), (RelayPresence::Never, 0));
        let taken = bus.relay(&RelayOptions::new().label("first")).unwrap();
        worker.post_cluster(("s", "e"), "").unwrap();
        assert_error!(bus.relay(&RelayOptions::new()), Cause::RelayTaken { pid, .. } if *pid == std::process::id());
        let here = state();
        assert_eq!((here.presence, here.pid, &*here.label), (RelayPresence::Here, std::process::id(), "first"));
        // One half keeps the place.
        let (reader, poster) = taken.split();
        drop(reader);
        assert_error!(bus.relay(&RelayOptions::new()), Cause::RelayTaken { .. });
        drop(poster);
        refused(&worker);
        assert_eq!((state().presence, state().seat), (RelayPresence::Left, None));
        let child = Child::fork(|| {
            let (mut reader, mut poster) = relay(&bus);
            reader.set_sent(reader.newest());
            reader.try_next().unwrap();
            poster.set_health(Health::Up);
            poster.post(&foreign(1, b"")).unwrap();
            stop_here();
            exit(0);
        });
        child.await_stop();
        assert_error!(bus.relay(&RelayOptions::new()), Cause::RelayTaken { .. });
        let here = state();
        assert_eq!((here.presence, here.health, here.posted), (RelayPresence::Here, Health::Up, 1));
        assert_eq!((here.backlog, here.hosts, here.origins), (Some(1), 256, vec![(THERE, 1)]));
        assert!(here.reader_beat.is_some() && here.poster_beat.is_some());
        child.kill();
        assert_eq!(state().presence, RelayPresence::Dead);
        let kept = worker.post_cluster(("s", "e"), "kept").unwrap();
        let (mut reader, poster) = relay(&bus);
        assert_eq!(poster.recovered(), Recovered::Nothing);
        reader.seek(reader.sent().unwrap()).unwrap();
        assert_eq!(ids(&all(&mut reader)).last(), Some(&kept));
    }

    fn r7_what_cannot_be_asked_of_a_relay_is_refused() {
        let (_name, bus) = bus(&small().retained(0));
        let worker = bus.join_with(&quiet()).unwrap();
        let _relay = bus.relay(&RelayOptions::new()).unwrap();
        let before = bus.next_id();
        let event = || worker.event(("s", "e")).cluster();
        assert_error!(event().local(""), Cause::Option { option: "cluster", .. });
        assert_error!(event().retain().post(""), Cause::Option { option: "retained", .. });
        assert_error!(event().retain_key(&[0; 256]).post(""), Cause::Option { option: "key", .. });
        assert_error!(event().unique("").post(""), Cause::Option { option: "key", .. });
        assert_error!(event().unique("key").ttl(Duration::ZERO).post(""), Cause::Option { option: "ttl", .. });
        assert_error!(worker.post_cluster(("seqcast", "e"), ""), Cause::LibrarySource);
        let mut reservation = worker.reserve().unwrap();
        assert_error!(reservation.event(("s", "e")).cluster().post(""), Cause::Option { option: "cluster", .. });
        drop(reservation);
        assert_eq!(bus.next_id(), before + 1);
    }

    fn r2_retained_events_of_other_hosts_are_retained_here_with_their_places() {
        let (_name, bus) = bus(&small());
        let (_reader, mut poster) = relay(&bus);
        let kept = |clears| Kept { key: b"17", ttl: None, clears };
        let state = |id: u64, n: u64, text: &'static str| {
            Foreign::new(THERE, id, at(n), "upstream", "state", text.as_bytes()).retained(kept(text.is_empty()))
        };
        assert_eq!(poster.retained_place("upstream", "state", b"17").unwrap(), None);
        assert!(poster.post(&state(1, 10, "down")).unwrap());
        assert_eq!(poster.retained_place("upstream", "state", b"17").unwrap(), Some(at(10)));
        let worker = bus.join_with(&quiet().start(Start::Retained)).unwrap();
        let order = Order::of(&worker);
        worker.poll().unwrap();
        assert_eq!(order.drain()[..1], ["7 1-10 false down".to_owned()]);
        assert_error!(poster.restore(&foreign(1, b"")), Cause::Option { option: "retained", .. });
        // A local value has no place.
        worker.event(("upstream", "state")).retain_key("17").post("local").unwrap();
        assert_eq!(poster.retained_place("upstream", "state", b"17").unwrap(), None);
        assert!(poster.post(&state(2, 12, "")).unwrap(), "a clear");
        assert!(worker.get_key(("upstream", "state"), "17").unwrap().is_none());
        let before = bus.next_id();
        assert!(poster.post(&state(3, 13, "")).unwrap(), "a clear of nothing is noted");
        assert_eq!((bus.next_id(), poster.seen(THERE)), (before, Some(3)));
    }

    fn r2_a_copy_brings_up_to_date_what_the_stream_does_not_bring() {
        let (_name, bus) = bus(&small());
        let (_reader, mut poster) = relay(&bus);
        let worker = bus.join_with(&quiet()).unwrap();
        let value = || worker.get_key(("upstream", "state"), "17").unwrap().map(|state| state.bytes().to_vec());
        let state = |id: u64, n: u64, text: &'static str| {
            let kept = Kept { key: b"17", ttl: None, clears: text.is_empty() };
            Foreign::new(THERE, id, at(n), "upstream", "state", text.as_bytes()).retained(kept)
        };
        let read_to = |n: u64| StreamPosition { timeline: at(0).timeline, seq: n, chain: 0, n };
        assert!(!poster.restore(&state(1, 5, "down")).unwrap(), "before the end of the stream was read");
        poster.set_position(&read_to(10));
        assert!(!poster.restore(&state(1, 10, "down")).unwrap(), "it comes from the stream");
        assert!(!poster.restore(&state(1, 11, "")).unwrap());
        assert_eq!(value(), None);
        let before = bus.next_id();
        assert!(!poster.restore(&state(1, 5, "")).unwrap(), "a clear of nothing");
        assert_eq!(bus.next_id(), before);
        assert!(poster.restore(&state(1, 5, "down")).unwrap());
        assert!(!poster.restore(&state(1, 5, "down")).unwrap(), "it is here");
        assert_eq!((value(), bus.next_id()), (Some(b"down".to_vec()), before + 1));
        assert_eq!(poster.seen(THERE), None, "it says nothing of what the stream has brought");
        // The later one of a key, and a clear that this host has not read.
        assert!(poster.restore(&state(3, 7, "up")).unwrap());
        assert!(poster.restore(&state(4, 8, "")).unwrap());
        assert_eq!(value(), None);
        // What was sent again after the engine had lost it is the same event at another place.
        poster.set_position(&read_to(20));
        assert!(poster.post(&state(5, 19, "lost")).unwrap());
        poster.set_position(&read_to(16));
        assert!(!poster.restore(&state(5, 15, "lost")).unwrap());
        // One that the engine has lost, and that no host has sent again, gives way.
        assert!(poster.restore(&state(4, 14, "left")).unwrap());
        assert_eq!(value(), Some(b"left".to_vec()));
        // So does a value of this host alone.
        worker.event(("upstream", "state")).retain_key("17").post("local").unwrap();
        assert!(poster.restore(&state(4, 14, "left")).unwrap());
        assert_eq!((value(), poster.seen(THERE)), (Some(b"left".to_vec()), Some(5)));
    }

    fn r8_a_key_that_a_host_decides_alone_runs_once_there_and_has_no_place() {
        let (_name, bus) = bus(&small());
        let (mut reader, mut poster) = relay(&bus);
        let worker = bus.join_with(&quiet()).unwrap();
        let own = bus.origin();
        let mut seen = 0;
        let none = ClusterId { timeline: 0, n: 0 };
        let event = |id: u64| Foreign::new(own, id, none, "s", "mail", b"x").unique(Duration::from_secs(60));
        for (id, key, runs) in [(1, [7, 8], 1), (2, [7, 8], 1), (3, [7, 9], 2)] {
            poster.post_alone(&event(id), key).unwrap();
            worker
                .poll_with(|event| {
                    if event.event() == "mail" {
                        assert_eq!((event.origin(), event.cluster_id()), (Some(own), None));
                        seen += 1;
                    }
                })
                .unwrap();
            assert_eq!(seen, runs, "event {id}");
        }
        assert_eq!(poster.seen(own), None, "what comes from the stream is not passed over");
        assert!(all(&mut reader).is_empty(), "it does not travel");
        assert_error!(poster.post_alone(&foreign(1, b""), [7, 8]), Cause::Option { option: "place", .. });
        let placed = Foreign::new(own, 4, at(1), "s", "mail", b"x").unique(Duration::from_secs(60));
        assert_error!(poster.post_alone(&placed, [7, 8]), Cause::Option { option: "place", .. });
    }

    fn r10_typed_values_of_another_format_are_refused() {
        let (_name, bus) = bus(&small());
        let (mut reader, mut poster) = relay(&bus);
        assert!(poster.post(&foreign(1, b"").type_tag(9, 0)).unwrap());
        assert!(poster.post(&foreign(2, b"").type_tag(9, 77)).unwrap());
        let other = poster.post(&foreign(3, b"").type_tag(9, 78));
        assert_error!(other, Cause::TypedFormat { found: 77, expected: 78, .. });
        assert_eq!(poster.seen(THERE), Some(2));
        assert!(poster.post(&foreign(3, b"")).unwrap(), "bytes have no format");
        let tagged = Tagged { type_tag: 9, bytes: b"x" };
        bus.publisher_with(&quiet()).unwrap().post(("s", "e"), tagged).unwrap();
        let Some(Outgoing::Event(event)) = reader.try_next().unwrap() else { panic!() };
        assert_eq!((event.type_tag, event.format), (9, 77));
    }

    fn r4_a_position_is_kept_for_the_successor() {
        let (_name, bus) = bus(&small());
        let position = |n| StreamPosition { timeline: n, seq: n + 1, chain: n + 2, n: n + 3 };
        let (reader, mut poster) = relay(&bus);
        assert_eq!(poster.position(), None);
        for n in 0..5 {
            poster.set_position(&position(n));
            assert_eq!(poster.position(), Some(position(n)));
        }
        drop((reader, poster));
        let (reader, mut poster) = relay(&bus);
        assert_eq!(poster.position(), Some(position(4)));
        poster.clear_position();
        assert_eq!(poster.position(), None);
        poster.set_position(&position(9));
        poster.clear_position();
        drop((reader, poster));
        assert_eq!(relay(&bus).1.position(), None);
    }

    fn r7_the_slowest_live_reader_sets_the_pace() {
        let (_name, bus) = bus(&small());
        let (_reader, poster) = relay(&bus);
        assert_eq!(poster.slowest_lag().unwrap(), 0);
        let (worker, _log) = listener(&bus, &quiet());
        let publisher = bus.publisher_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let _slow = bus.join_with(&quiet().start(Start::Oldest)).unwrap();
            stop_here();
            exit(0);
        });
        child.await_stop();
        for _ in 0..10 {
            worker.post(("s", "e"), "").unwrap();
        }
        poll(&worker);
        worker.post(("s", "e"), "").unwrap();
        assert_eq!(poster.slowest_lag().unwrap(), 11);
        child.kill();
        assert_eq!(poster.slowest_lag().unwrap(), 1, "a dead reader is waited for");
        drop(publisher);
    }

    fn r10_a_forked_child_is_not_the_relay() {
        let (_name, bus) = bus(&small());
        let mut halves = Some(relay(&bus));
        let child = Child::fork(|| {
            let (mut reader, mut poster) = halves.take().unwrap();
            let forked = [
                reader.try_next().map(drop).unwrap_err().kind(),
                reader.wait(Duration::ZERO).map(drop).unwrap_err().kind(),
                poster.post(&foreign(1, b"")).map(drop).unwrap_err().kind(),
                poster.pass(THERE, 1).unwrap_err().kind(),
            ];
            reader.set_sent(7);
            poster.set_position(&StreamPosition { timeline: 1, seq: 1, chain: 1, n: 1 });
            poster.clear_position();
            drop((reader, poster));
            exit(i32::from(forked != [ErrorKind::Forked; 4]));
        });
        assert!(child.ended_well());
        let (reader, mut poster) = halves.unwrap();
        assert_eq!((reader.sent(), poster.position()), (None, None));
        assert_error!(bus.relay(&RelayOptions::new()), Cause::RelayTaken { .. });
        assert!(poster.post(&foreign(1, b"")).unwrap(), "a child has ended the parent's hold");
        bus.join_with(&quiet()).unwrap().post_cluster(("s", "e"), "").unwrap();
    }
}
