//! Payloads that are visited where they lie in the segment.

#![cfg(feature = "typed")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{Claim, Delivery, Event, Scope, SegmentOptions, Start, Undecided, Words};
use seqcast_testkit::hostile::scene::Scene;
use seqcast_testkit::{HOUR, Log, Reports, alone, bus, counts, in_child, poll, quiet, small};

/// Bytes that identify their message and their position in it.
fn payload(message: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31) ^ message.wrapping_mul(7) ^ (i >> 8)) as u8).collect()
}

/// A ring of 8 ids with blocks of a good 9000 bytes.
fn tiny() -> SegmentOptions {
    small().capacity(8).block_size(9216)
}

/// Visits with every method, and returns the payload.
fn look(words: Words<'_>) -> Vec<u8> {
    let copy = words.to_vec();
    let found = (words.find(b"\x07\x07\x07"), words.find_byte(7), words.u64_at(3), words.starts_with(&copy));
    std::hint::black_box((found, words.fnv1a(), words.sum(), words.iter().count(), words.array_at::<9>(5)));
    copy
}

type Found = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

alone! {
    fn g3_every_length_is_visited_as_it_was_sent() {
        // In blocks, in large blocks and in fragments.
        let (_name, bus) = bus(&small().block_size(9000).large(4, 11_000));
        let (worker, mut subscriber) = (bus.join_with(&quiet()).unwrap(), bus.subscribe_with(&quiet()).unwrap());
        let found = Found::default();
        let note = Arc::clone(&found);
        let other = Mutex::new(SegmentOptions::new().anonymous().unwrap().publisher().unwrap());
        worker
            .on_in_place(
                ("s", "e"),
                |event, words| {
                    assert!(event.bytes().is_empty() && event.claim().is_none());
                    look(words)
                },
                move |bytes, event| {
                    assert!(event.bytes().is_empty() && event.topic() == seqcast::Topic::new("s", "e"));
                    let refusal = other.lock().unwrap().forward(event).unwrap_err();
                    assert_eq!(refusal.kind(), seqcast::ErrorKind::Option, "it would lose the payload");
                    note.lock().unwrap().push((event.id().unwrap(), bytes));
                },
            )
            .unwrap();
        for len in (0..12_500).step_by(97).chain(8180..8200).chain(8950..8980) {
            let bytes = payload(len as u64, len);
            let id = worker.post(("s", "e"), &bytes).unwrap();
            assert_eq!(poll(&worker), (1, 0), "{len} bytes");
            assert_eq!(found.lock().unwrap().pop(), Some((id, bytes.clone())), "{len} bytes");
            let visited = subscriber.visit(HOUR, |_, words| look(words)).unwrap();
            let Some((Delivery::Event(event), Some(copy))) = visited else { panic!("{len} bytes: {visited:?}") };
            assert!((event.id(), event.bytes(), copy) == (Some(id), &[][..], bytes), "{len} bytes");
        }
        assert!(subscriber.try_visit(|_, _| ()).unwrap().is_none());
        assert!(bus.audit().unwrap().is_clean());
    }

    /// The visit itself posts a lap: the words that it reads afterwards are another event's.
    fn g3_a_visit_of_what_was_overwritten_never_counts() {
        for large in [false, true] {
            let options = if large { tiny().block_size(96).large(2, 9000) } else { tiny() };
            let (_name, bus) = bus(&options);
            let reports = Reports::default();
            let worker = bus.join_with(&reports.of(quiet())).unwrap();
            let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
            let (laps, dropped) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
            let (found, publisher) = (Found::default(), Arc::new(Mutex::new(bus.publisher().unwrap())));
            let lap = {
                let (laps, publisher) = (Arc::clone(&laps), Arc::clone(&publisher));
                move || {
                    if laps.swap(false, Ordering::Relaxed) {
                        let mut publisher = publisher.lock().unwrap();
                        (0..8).for_each(|_| _ = publisher.post(("s", "e"), [9; 9000]).unwrap());
                    }
                }
            };
            let (in_visit, note, drops) = (lap.clone(), Arc::clone(&found), Arc::clone(&dropped));
            let visit = move |_: &Event<'_>, words: Words<'_>| {
                let first = words.byte_at(0).unwrap();
                in_visit();
                (Counted(Arc::clone(&drops)), vec![first, words.byte_at(8999).unwrap()])
            };
            let then = move |(_counted, bytes): (Counted, _), event: &Event<'_>| {
                note.lock().unwrap().push((event.id().unwrap(), bytes));
            };
            worker.on_in_place(("s", "e"), visit, then).unwrap();
            publisher.lock().unwrap().post(("s", "e"), [1; 9000]).unwrap();
            assert!(poll(&worker).1 > 0);
            assert!(dropped.load(Ordering::Relaxed) > 0);
            let count = counts(&bus, &worker);
            let found = std::mem::take(&mut *found.lock().unwrap());
            assert!(found.iter().all(|(_, bytes)| *bytes == [9, 9]), "{found:?}");
            assert_eq!(count.delivered + count.missed, bus.next_id(), "{count:?}");
            assert_eq!(count.delivered, found.len() as u64);
            assert!(reports.texts().iter().all(|text| text.contains("overwritten")), "{:?}", reports.texts());
            // The same for the subscriber.
            while subscriber.try_next().unwrap().is_some() {}
            publisher.lock().unwrap().post(("s", "e"), [1; 9000]).unwrap();
            laps.store(true, Ordering::Relaxed);
            let mut visits = 0;
            let visited = subscriber.try_visit(|_, words| {
                visits += 1;
                let first = words.byte_at(0);
                lap();
                (first, words.byte_at(8999))
            });
            assert!(matches!(visited.unwrap(), Some((Delivery::Lagged { .. }, None))), "{large}");
            assert_eq!(visits, 1);
        }
    }

    fn g3_torn_visits_never_count_beside_a_writer_at_full_speed() {
        const EVENTS: u64 = 60_000;
        let (_name, bus) = bus(&small().capacity(8).block_size(9216));
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        let is_done = AtomicBool::new(false);
        let (mut counted, mut missed, torn) = (0, 0, AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut publisher = bus.publisher_with(&quiet()).unwrap();
                for event in 1..=EVENTS {
                    publisher.post(("s", "e"), event.to_le_bytes().repeat(1100)).unwrap();
                    if event.is_multiple_of(64) {
                        std::thread::yield_now();
                    }
                }
                is_done.store(true, Ordering::Release);
            });
            loop {
                let ends = is_done.load(Ordering::Acquire);
                let visited = subscriber.try_visit(|event, words| {
                    let first = words.u64_at(0).unwrap();
                    let is_whole = words.iter().all(|word| word == first) && words.sum() == first.wrapping_mul(1100);
                    torn.fetch_add(u64::from(!is_whole), Ordering::Relaxed);
                    (is_whole, first, event.id())
                });
                match visited.unwrap() {
                    Some((Delivery::Event(event), Some((is_whole, first, id)))) => {
                        assert!(is_whole, "a torn visit counted");
                        assert_eq!((Some(first - 1), event.id()), (id, id));
                        counted += 1;
                    }
                    Some((Delivery::Lagged { missed: more, .. }, None)) => missed += more,
                    None if ends => break,
                    None => std::hint::spin_loop(),
                    other => panic!("{other:?}"),
                }
            }
        });
        assert_eq!(counted + missed, EVENTS);
        println!("counted={counted} missed={missed} torn={}", torn.into_inner());
    }

    fn g9_a_unique_event_is_visited_by_all_and_runs_once() {
        let (_name, bus) = bus(&tiny());
        let (ran, dropped) = (Arc::<Mutex<Vec<Option<Claim>>>>::default(), Arc::new(AtomicU64::new(0)));
        let visits = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..3).map(|_| bus.join_with(&quiet()).unwrap()).collect();
        for worker in &workers {
            let (ran, dropped, visits) = (Arc::clone(&ran), Arc::clone(&dropped), Arc::clone(&visits));
            let visit = move |event: &Event<'_>, words: Words<'_>| {
                assert!(event.claim().is_none(), "it is claimed after the verdict");
                visits.fetch_add(1, Ordering::Relaxed);
                (Counted(Arc::clone(&dropped)), words.sum())
            };
            let then = move |(_counted, sum), event: &Event<'_>| {
                assert_eq!(sum, Words::of(&payload(1, 8900)).sum());
                ran.lock().unwrap().push(event.claim());
            };
            worker.on_in_place(("s", "unique"), visit, then).unwrap();
        }
        bus.publisher().unwrap().event(("s", "unique")).unique("key").ttl(HOUR).post(payload(1, 8900)).unwrap();
        let delivered: u64 = workers.iter().map(|worker| poll(worker).0).sum();
        assert_eq!((delivered, visits.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed)), (1, 3, 3));
        assert!(matches!(&**ran.lock().unwrap(), [Some(_)]));
        // For a subscriber, too: visited, not won, and the next event.
        let mut subscriber = bus.subscribe_with(&quiet().start(Start::Oldest)).unwrap();
        bus.publisher().unwrap().post(("s", "e"), payload(2, 8900)).unwrap();
        let mut seen = Vec::new();
        let visited = subscriber.try_visit(|event, words| {
            seen.push(event.event().to_owned());
            words.sum()
        });
        let expected = Words::of(&payload(2, 8900)).sum();
        assert!(matches!(visited, Ok(Some((Delivery::Event(_), Some(sum)))) if sum == expected), "{visited:?}");
        assert_eq!(seen, ["unique", "e"]);
    }

    fn g11_a_panic_of_a_visit_is_reported_if_it_counts() {
        let (_name, bus) = bus(&tiny());
        let (reports, laps) = (Reports::default(), Arc::new(AtomicBool::new(false)));
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let mut publisher = bus.publisher().unwrap();
        let (lapping, in_visit) = (Arc::clone(&laps), Mutex::new(bus.publisher().unwrap()));
        let visit = move |_: &Event<'_>, words: Words<'_>| {
            if lapping.load(Ordering::Relaxed) {
                let mut publisher = in_visit.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                (0..8).for_each(|_| _ = publisher.post(("other", "e"), "").unwrap());
            }
            assert!(words.is_empty(), "in the visit");
        };
        worker.on_in_place(("s", "e"), visit, |(), _: &Event<'_>| -> () { panic!("after the verdict") }).unwrap();
        publisher.post(("s", "e"), payload(1, 8900)).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert!(matches!(&*reports.texts(), [only] if only.contains("in the visit")), "{:?}", reports.texts());
        // Overwritten: a panic over garbage is none of the handler.
        laps.store(true, Ordering::Relaxed);
        publisher.post(("s", "e"), payload(1, 8900)).unwrap();
        assert_eq!(poll(&worker).0, 0);
        assert!(matches!(&*reports.texts(), [_, second] if second.contains("overwritten")), "{:?}", reports.texts());
        // A small one is visited in a private copy.
        laps.store(false, Ordering::Relaxed);
        publisher.post(("s", "e"), "").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert!(reports.texts()[2].contains("after the verdict"), "{:?}", reports.texts());
        assert_eq!((counts(&bus, &worker).failed, counts(&bus, &worker).delivered), (2, 2));
        // A subscriber's panic goes on to its caller, and the event counts as delivered.
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        for len in [8900, 8] {
            publisher.post(("s", "e"), payload(1, len)).unwrap();
            let visit = |_: &Event<'_>, _: Words<'_>| -> u64 { panic!("in the visit") };
            let visited = std::panic::AssertUnwindSafe(|| subscriber.try_visit(visit).map(|_| ()));
            assert!(std::panic::catch_unwind(visited).is_err());
            assert!(subscriber.try_next().unwrap().is_none());
        }
    }

    fn g2_an_event_with_other_handlers_is_copied_for_all() {
        let (_name, bus) = bus(&tiny());
        let worker = bus.join_with(&quiet()).unwrap();
        let order = Arc::<Mutex<Vec<(&str, u64)>>>::default();
        let note = |who| {
            let order = Arc::clone(&order);
            move |sum| order.lock().unwrap().push((who, sum))
        };
        let (first, second, third) = (note("all"), note("in place"), note("last"));
        let bytes = payload(3, 8900);
        let sum = Words::of(&bytes).sum();
        let all = worker.on(Scope::All, move |event| first(Words::of(event.bytes()).sum())).unwrap();
        worker.on_in_place(("s", "e"), |_, words| words.sum(), move |sum, _| second(sum)).unwrap();
        let last = worker.on(("s", "e"), move |event| third(Words::of(event.bytes()).sum())).unwrap();
        let post = || worker.post(("s", "e"), &bytes).unwrap();
        post();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(std::mem::take(&mut *order.lock().unwrap()), [("all", sum), ("in place", sum), ("last", sum)]);
        assert!(worker.unregister(all) && worker.unregister(last));
        post();
        assert_eq!(poll(&worker), (1, 0));
        // A closure of the poll needs the payload, too.
        post();
        worker.poll_with(|event| note("poll")(Words::of(event.bytes()).sum())).unwrap();
        worker.event(("s", "e")).local(&bytes).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        let expected = ["in place", "in place", "poll", "in place"].map(|who| (who, sum));
        assert_eq!(*order.lock().unwrap(), expected);
    }

    fn g4_an_event_that_waits_for_others_is_copied() {
        let (_name, bus) = bus(&small().block_size(9216).claims(8));
        let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let (worker, mut publisher) = (bus.join_with(&quiet()).unwrap(), bus.publisher().unwrap());
        let mut reservation = worker.reserve().unwrap();
        publisher.post(("s", "e"), payload(1, 8900)).unwrap();
        let visited = subscriber.try_visit(|_, words| words.sum()).unwrap();
        assert!(matches!(visited, Some((Delivery::Reserved { .. }, None))), "{visited:?}");
        reservation.commit(("s", "e"), payload(0, 8900)).unwrap();
        for message in 0..2 {
            let visited = subscriber.try_visit(|_, words| words.sum()).unwrap();
            let sum = Words::of(&payload(message, 8900)).sum();
            assert!(matches!(visited, Some((Delivery::Event(_), Some(found))) if found == sum), "{visited:?}");
        }
        // An event that cannot be decided is told first, and the next one is visited afterwards.
        for key in 0..1000_u64 {
            let _ = publisher.claim(key.to_le_bytes(), HOUR).unwrap();
        }
        publisher.event(("s", "unique")).unique("one more").ttl(HOUR).post("").unwrap();
        publisher.post(("s", "e"), payload(5, 8900)).unwrap();
        let visited = subscriber.try_visit(|_, words| words.sum()).unwrap();
        let is_full = matches!(visited, Some((Delivery::Undecided { reason: Undecided::ClaimsFull, .. }, None)));
        assert!(is_full, "{visited:?}");
        let visited = subscriber.try_visit(|_, words| words.sum()).unwrap();
        let sum = Words::of(&payload(5, 8900)).sum();
        assert!(matches!(visited, Some((Delivery::Event(_), Some(found))) if found == sum), "{visited:?}");
        assert!(subscriber.next(Duration::ZERO).unwrap().is_none());
    }

    fn g12_a_child_that_returns_from_a_visit_delivers_nothing() {
        let (_name, bus) = bus(&tiny());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let then = log.noting();
        let parent = std::process::id();
        let visit = move |_: &Event<'_>, words: Words<'_>| {
            // SAFETY: the child only returns and exits.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            (child, words.sum())
        };
        worker.on_in_place(("s", "e"), visit, move |(child, _), event: &Event<'_>| {
            assert_ne!(child, 0);
            then(event);
            let mut status = 0;
            // SAFETY: the status is writable.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(libc::WEXITSTATUS(status), 7, "the child was refused");
        })
        .unwrap();
        worker.post(("s", "e"), payload(1, 8900)).unwrap();
        let polled = worker.poll();
        if std::process::id() != parent {
            let is_refused = polled.is_err_and(|error| error.kind() == seqcast::ErrorKind::Forked) && log.is_empty();
            // SAFETY: ends the process.
            unsafe { libc::_exit(if is_refused { 7 } else { 1 }) };
        }
        assert_eq!((polled.unwrap().delivered(), log.len()), (1, 1));
        // In a process of its own everything works.
        in_child(|| {
            let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
            bus.publisher().unwrap().post(("s", "e"), payload(1, 8900)).unwrap();
            assert!(matches!(subscriber.try_visit(|_, words| words.len()), Ok(Some((_, Some(8900))))));
        });
    }

    fn g10_random_stores_during_visits_do_no_harm() {
        let options = small().capacity(8).block_size(9216).large(2, 16_000);
        let (scene, bus) = Scene::new(&options);
        scene.unname();
        let is_done = AtomicBool::new(false);
        let sizes = bus.stats().unwrap().sizes;
        let region_words = scene.tap.words();
        let worker = bus.join_with(&quiet().on_report(|_| ())).unwrap();
        worker.on_in_place(Scope::All, |_, words| look(words), |_, _| ()).unwrap();
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = fastrand::Rng::with_seed(3);
                while !is_done.load(Ordering::Relaxed) {
                    let (at, value) = (random.u64(..), random.u64(..));
                    // Anything behind the cells: kinds, lengths, heads and payloads of the blocks.
                    let from = region_words / 8;
                    scene.set(from + at as usize % (region_words - from), value >> random.u32(0..64));
                }
            });
            for event in 0..5000_u64 {
                let _ = worker.post(("s", "e"), payload(event, (event * 37 % sizes.large_size) as usize));
                let _ = worker.poll();
                let _ = subscriber.try_visit(|_, words| look(words));
            }
            is_done.store(true, Ordering::Relaxed);
        });
    }
}

/// Counts its drop.
#[derive(Debug)]
struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
