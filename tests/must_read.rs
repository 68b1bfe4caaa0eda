//! Readers that are waited for (G16 to G18).

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use seqcast::{
    Bus, Cause, Delivery, ErrorKind, Publisher, Scope, SegmentOptions, Start, Subscriber, Worker, WorkerOptions,
    WorkerStats, library,
};
use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, assert_error, bus, counts, error, eventually, listener, of_seat, poll, quiet,
    small, stop_here,
};

const RING: u64 = 8;
/// So short that a test may wait for its end.
const SHORT: Duration = Duration::from_millis(20);

fn tiny() -> SegmentOptions {
    small().capacity(RING).most_patience(HOUR)
}

/// A worker that posts wait for as long as it lives.
fn patient() -> WorkerOptions {
    must_read(HOUR)
}

fn must_read(patience: Duration) -> WorkerOptions {
    quiet().wait_interval(Duration::from_millis(1)).wait_max(Duration::from_millis(2)).must_read(patience)
}

fn stats(bus: &Bus, publisher: &Publisher) -> WorkerStats {
    of_seat(&bus.stats().unwrap(), publisher.seat())
}

fn post(publisher: &mut Publisher, count: u64) {
    for number in 0..count {
        publisher.post(("s", "e"), number.to_le_bytes()).unwrap();
    }
}

fn try_post(publisher: &mut Publisher) -> seqcast::Result<u64> {
    publisher.try_post(("s", "e"), b"")
}

/// The deliveries of a subscriber: ids of events, and laps as first id, number, and cut off or not.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Event(u64),
    Lagged(u64, u64, bool),
}

fn read(subscriber: &mut Subscriber) -> Vec<Got> {
    let mut got = Vec::new();
    while let Some(delivery) = subscriber.try_next().unwrap() {
        got.push(match delivery {
            Delivery::Event(event) => Got::Event(event.id().unwrap()),
            Delivery::Lagged { first, missed, cut_off, .. } => Got::Lagged(first, missed, cut_off),
            Delivery::Reserved { .. } => break,
            other => panic!("{other:?}"),
        });
    }
    got
}

fn events(ids: std::ops::Range<u64>) -> Vec<Got> {
    ids.map(Got::Event).collect()
}

#[test]
fn g16_a_worker_that_must_read_is_not_lapped_by_fast_posters() {
    const EACH: u64 = 2_000;
    let (_name, bus) = bus(&tiny());
    let (worker, log) = listener(&bus, &patient());
    let mut subscriber = bus.subscribe_with(&patient()).unwrap();
    // One that may be lapped delays no post.
    let _lossy = bus.subscribe_with(&quiet()).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut publisher = bus.publisher_with(&quiet()).unwrap();
            scope.spawn(move || post(&mut publisher, EACH));
        }
        scope.spawn(|| {
            let mut next = 0;
            while next < 2 * EACH {
                let _ = subscriber.wait(HOUR).unwrap();
                for got in read(&mut subscriber) {
                    assert_eq!(got, Got::Event(next));
                    next += 1;
                }
            }
        });
        while log.len() < 2 * EACH as usize {
            worker.wait(HOUR).unwrap();
            assert_eq!(poll(&worker).1, 0, "it was lapped");
        }
    });
    assert!(log.ids().into_iter().eq(0..2 * EACH));
    let lags = counts(&bus, &worker);
    assert_eq!((lags.lagged, lags.cut_off), (0, 0));
}

#[test]
fn g16_every_kind_of_post_asks_for_room() {
    const EACH: u64 = 300;
    let (_name, bus) = bus(&tiny().capacity(16).block_size(64).retained(4).retained_size(500));
    let (worker, log) = listener(&bus, &patient());
    worker.on_cleared(Scope::All, log.noting()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (bus, done) = (&bus, &done);
        let posters: Vec<_> = (0..3)
            .map(|number: u8| {
                scope.spawn(move || {
                    let mut publisher = bus.publisher_with(&quiet()).unwrap();
                    let large = [number; 300];
                    for _ in 0..EACH {
                        publisher.post(("s", "small"), b"1").unwrap();
                        publisher.post(("s", "large"), large).unwrap();
                        publisher.event(("s", "kept")).retain_key(&[number]).post(b"2").unwrap();
                        publisher.event(("s", "kept")).retain_key(&[number]).post(large).unwrap();
                        publisher.event(("s", "kept")).retain_key(&[number]).clear().unwrap().unwrap();
                        publisher.event(("s", "unique")).unique(&large[..9]).post(b"3").unwrap();
                        // The reader may have given it up.
                        let committed = publisher.reserve().unwrap().commit(("s", "late"), b"4");
                        match committed {
                            Err(late) => assert_eq!(late.kind(), ErrorKind::TooLate),
                            Ok(_) => _ = publisher.post(("s", "committed"), b"").unwrap(),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            for poster in posters {
                poster.join().unwrap();
            }
            done.store(true, Relaxed);
        });
        loop {
            let over = done.load(Relaxed);
            worker.wait(Duration::from_millis(1)).unwrap();
            assert_eq!(poll(&worker).1, 0, "it was lapped");
            if over {
                break;
            }
        }
    });
    let count = |event: &str| log.events().iter().filter(|seen| *seen == event).count() as u64;
    assert_eq!((count("small"), count("large"), count("kept")), (3 * EACH, 3 * EACH, 9 * EACH));
    assert_eq!(count("late"), count("committed"));
    assert!(log.seen().iter().filter(|seen| seen.event == "large").all(|seen| seen.bytes.len() == 300));
}

#[test]
fn g16_what_joins_with_old_events_is_safe_from_its_join_on() {
    let (_name, bus) = bus(&tiny());
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    post(&mut publisher, 5);
    let mut subscriber = bus.subscribe_with(&patient().start(Start::Oldest)).unwrap();
    post(&mut publisher, 3);
    // The publisher knew of no reader that must read when it looked: it may take what is a ring ahead of that.
    while try_post(&mut publisher).is_ok() {}
    let next = bus.next_id();
    assert!((8..=13).contains(&next));
    let got = read(&mut subscriber);
    let missed = match got[0] {
        Got::Lagged(0, missed, false) => missed,
        Got::Event(0) => 0,
        ref other => panic!("{other:?}"),
    };
    assert!(missed <= 5, "it was lapped at an id after its join: {got:?}");
    assert_eq!(got[got.len() - (next - missed) as usize..], events(missed..next));
    post(&mut publisher, RING);
    assert_error!(try_post(&mut publisher), Cause::Full { lag: RING, own: false, .. });
    assert_eq!(read(&mut subscriber), events(next..next + RING));
}

#[test]
fn g16_a_reserved_id_is_unread_until_it_is_decided() {
    let (_name, bus) = bus(&tiny());
    let options = patient().wait_max(HOUR / 2);
    let mut subscriber = bus.subscribe_with(&options).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let mut reserver = bus.publisher_with(&quiet()).unwrap();
    let mut reservation = reserver.reserve().unwrap();
    for _ in 1..RING {
        try_post(&mut publisher).unwrap();
    }
    assert_eq!(read(&mut subscriber), []);
    assert_error!(try_post(&mut publisher), Cause::Full { lag: RING, .. }, "the reserved id is lapped");
    // A commit takes no further id.
    reservation.commit(("s", "e"), b"").unwrap();
    assert_error!(try_post(&mut publisher), Cause::Full { .. });
    assert_eq!(read(&mut subscriber), events(0..RING));
    try_post(&mut publisher).unwrap();
}

#[test]
fn g17_a_reader_that_does_not_read_delays_one_post_and_is_told() {
    let (_name, bus) = bus(&tiny());
    let mut slow = bus.subscribe_with(&must_read(SHORT)).unwrap();
    let reports = Reports::default();
    let worker = bus.join_with(&reports.of(must_read(SHORT))).unwrap();
    let log = Log::of(&worker, Scope::All);
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let waited = |publisher: &Publisher| {
        let of = stats(&bus, publisher);
        assert_eq!(of.room_waits == 0, of.room_waited.is_zero());
        of.room_waits
    };
    for round in 1..=3 {
        post(&mut publisher, RING);
        assert_eq!(waited(&publisher), round - 1);
        // This one waits for both, and the others for none.
        post(&mut publisher, 3 * RING);
        assert_eq!(waited(&publisher), round);
        let next = bus.next_id();
        let lost = next - 4 * RING;
        let got = read(&mut slow);
        let Got::Lagged(first, missed, true) = got[0] else { panic!("{got:?}") };
        assert_eq!(first, lost);
        assert_eq!(got[1..], events(first + missed..next));
        assert_eq!(poll(&worker).1, missed);
        assert!(log.ids().into_iter().eq(first + missed..next));
        log.drain();
        assert_eq!(counts(&bus, &worker).cut_off, round);
        // They are waited for again.
        post(&mut publisher, RING);
        assert_error!(try_post(&mut publisher), Cause::Full { lag: RING, .. });
        assert_eq!(read(&mut slow), events(next..next + RING));
        assert_eq!(poll(&worker), (RING, 0));
        log.drain();
    }
    assert!(reports.debugs().iter().all(|report| report.contains("cut_off: true")), "{:?}", reports.debugs());
    assert_eq!(reports.debugs().len(), 3);
    assert_eq!(stats(&bus, &publisher).room_refused, 3);
}

#[test]
fn g17_a_lap_without_must_read_is_not_a_cut() {
    let (_name, bus) = bus(&tiny());
    let mut lossy = bus.subscribe_with(&quiet()).unwrap();
    post(&mut bus.publisher_with(&quiet()).unwrap(), 2 * RING);
    let got = read(&mut lossy);
    assert!(matches!(got[0], Got::Lagged(0, _, false)), "{got:?}");
}

alone! {
    fn g17_a_dead_reader_delays_no_post() {
        let (_name, bus) = bus(&tiny());
        let child = Child::fork(|| {
            let _own = bus.join_with(&patient()).unwrap();
            stop_here();
        });
        child.await_stop();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        post(&mut publisher, RING);
        let full = error(try_post(&mut publisher));
        let Cause::Full { reader, lag: RING, own: false, patience: HOUR, .. } = full.cause() else { panic!("{full}") };
        assert_eq!(reader.pid, child.pid());
        child.kill();
        // It would wait for an hour.
        post(&mut publisher, 3 * RING);
        // So would the next holder of its seat, if it were waited for.
        let _next = bus.join_with(&quiet()).unwrap();
        post(&mut publisher, 3 * RING);
    }

    fn g17_a_post_that_waits_goes_on_when_the_reader_is_killed() {
        let (_name, bus) = bus(&tiny());
        let child = Child::fork(|| {
            let _own = bus.join_with(&patient()).unwrap();
            stop_here();
        });
        child.await_stop();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        post(&mut publisher, RING);
        thread::scope(|scope| {
            let poster = scope.spawn(|| publisher.post(("s", "e"), b"").unwrap());
            thread::sleep(Duration::from_millis(5));
            assert!(!poster.is_finished(), "it has not waited");
            child.kill();
            assert_eq!(poster.join().unwrap(), RING);
        });
    }

    fn g17_a_stopped_process_delays_one_post_and_goes_on_in_order() {
        let (_name, bus) = bus(&tiny());
        let child = Child::fork(|| {
            let mut own = bus.subscribe_with(&must_read(SHORT)).unwrap();
            stop_here();
            let mut next = 0;
            let mut laps = 0;
            while next < 5 * RING {
                let _ = own.wait(HOUR).unwrap();
                for got in read(&mut own) {
                    match got {
                        Got::Event(id) => assert_eq!(id, next),
                        Got::Lagged(first, missed, cut_off) => {
                            assert!(cut_off && first == next);
                            laps += 1;
                            next += missed - 1;
                        }
                    }
                    next += 1;
                }
            }
            assert_eq!(laps, 1);
        });
        child.await_stop();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        post(&mut publisher, 4 * RING);
        assert_eq!(stats(&bus, &publisher).room_waits, 1);
        child.go_on();
        eventually("it has read all", || bus.stats().unwrap().workers.iter().all(|of| of.lag == 0));
        // While it reads it is not lapped.
        post(&mut publisher, RING);
        assert!(child.ended_well());
    }

    fn g17_a_forked_child_neither_reads_nor_leaves_for_its_parent() {
        let (_name, bus) = bus(&tiny());
        let mut subscriber = bus.subscribe_with(&patient()).unwrap();
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        post(&mut publisher, RING);
        let child = Child::fork(|| {
            assert_error!(subscriber.try_next(), Cause::Forked);
            assert_error!(publisher.post(("s", "e"), b""), Cause::Forked);
            // SAFETY: it is used no more: this process ends here.
            unsafe { std::ptr::drop_in_place(&raw mut subscriber) };
            seqcast_testkit::exit(0);
        });
        assert!(child.ended_well());
        assert_error!(try_post(&mut publisher), Cause::Full { .. }, "the child has left for its parent");
        assert_eq!(read(&mut subscriber), events(0..RING));
        post(&mut publisher, RING);
    }
}

#[test]
fn g17_a_reader_that_leaves_or_need_not_read_any_more_delays_no_post() {
    let (_name, bus) = bus(&tiny());
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let blocked_until = |publisher: &mut Publisher, end: &mut dyn FnMut()| {
        while try_post(publisher).is_ok() {}
        let full = bus.next_id();
        thread::scope(|scope| {
            let poster = scope.spawn(|| publisher.post(("s", "e"), b"").unwrap());
            thread::sleep(Duration::from_millis(2));
            assert!(!poster.is_finished(), "it has not waited");
            end();
            assert_eq!(poster.join().unwrap(), full);
        });
        post(publisher, 2 * RING);
    };
    let worker = bus.join_with(&patient()).unwrap();
    blocked_until(&mut publisher, &mut || {
        worker.reconfigure(|options| options.must_read(Duration::ZERO)).unwrap();
        poll(&worker);
    });
    poll(&worker);
    worker.reconfigure(|options| options.must_read(HOUR)).unwrap();
    poll(&worker);
    let mut worker = Some(worker);
    blocked_until(&mut publisher, &mut || worker.take().unwrap().leave().unwrap());
    let mut worker = Some(bus.join_with(&patient()).unwrap());
    blocked_until(&mut publisher, &mut || drop(worker.take()));
    let mut subscriber = Some(bus.subscribe_with(&patient()).unwrap());
    blocked_until(&mut publisher, &mut || drop(subscriber.take()));
    let mut subscriber = Some(bus.subscribe_with(&patient()).unwrap());
    blocked_until(&mut publisher, &mut || subscriber.take().unwrap().leave(|_| ()).unwrap());
}

#[test]
fn g17_a_change_of_options_takes_effect_with_a_poll_that_has_nothing_to_read() {
    let (_name, bus) = bus(&tiny());
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    let worker = bus.join_with(&must_read(Duration::ZERO)).unwrap();
    let patience = || counts(&bus, &worker).must_read;
    assert_eq!((poll(&worker), patience()), ((0, 0), None));
    worker.reconfigure(|options| options.must_read(HOUR)).unwrap();
    assert_eq!((poll(&worker), patience()), ((0, 0), Some(HOUR)));
    post(&mut publisher, RING);
    assert_error!(try_post(&mut publisher), Cause::Full { patience: HOUR, .. });
    worker.reconfigure(|options| options.must_read(HOUR / 2)).unwrap();
    poll(&worker);
    assert_eq!(patience(), Some(HOUR / 2));
    post(&mut publisher, RING);
    assert_error!(try_post(&mut publisher), Cause::Full { .. });
    worker.reconfigure(|options| options.must_read(Duration::ZERO)).unwrap();
    poll(&worker);
    assert_eq!(patience(), None);
    post(&mut publisher, 2 * RING);
    assert_eq!(counts(&bus, &worker).cut_off, 0);
}

#[test]
fn g17_a_worker_that_leaves_ends_its_own_wait() {
    let (_name, bus) = bus(&tiny());
    let _slow = bus.subscribe_with(&patient()).unwrap();
    let worker = bus.join_with(&quiet()).unwrap();
    while worker.try_post(("s", "e"), b"").is_ok() {}
    thread::scope(|scope| {
        let poster = worker.clone();
        let poster = scope.spawn(move || poster.post(("s", "e"), b""));
        thread::sleep(Duration::from_millis(2));
        // Other threads post, claim and poll meanwhile: the wait is outside the lock.
        assert_error!(worker.try_post(("s", "e"), b""), Cause::Full { .. });
        let _ = worker.claim("key", HOUR).unwrap();
        poll(&worker);
        worker.leave().unwrap();
        assert_error!(poster.join().unwrap(), Cause::Left);
    });
}

#[test]
fn g18_a_worker_that_must_read_never_waits() {
    let (_name, bus) = bus(&tiny());
    let worker = bus.join_with(&patient().label("self")).unwrap();
    let other = bus.subscribe_with(&patient().label("other")).unwrap();
    for number in 0..RING {
        worker.post(("s", "e"), number.to_le_bytes()).unwrap();
    }
    let refused = [
        error(worker.post(("s", "e"), b"")),
        error(worker.event(("s", "e")).retain().post(b"")),
        error(worker.reserve().map(drop)),
        error(worker.post(("s", "e"), vec![0; 400])),
    ];
    for full in refused {
        let text = full.to_string();
        let Cause::Full { own: true, reader, lag: RING, .. } = full.cause() else { panic!("{text}") };
        assert_eq!(reader.label, "self");
        assert!(text.contains("this worker must read, and is 8 ids behind; poll"), "{text}");
    }
    assert_eq!(poll(&worker).1, 0);
    let full = error(worker.post(("s", "e"), b""));
    let Cause::Full { own: false, reader, .. } = full.cause() else { panic!("{full}") };
    assert_eq!((reader.seat, &*reader.label), (other.seat(), "other"));
    assert_eq!(counts(&bus, &worker).room_refused, 5);
    assert_eq!(bus.next_id(), RING, "what was refused was posted");
}

/// Makes `worker` post one event for each that it reads, if there is room.
fn answer_each(worker: &Worker) -> Log {
    let log = Log::default();
    let (own, noting) = (worker.clone(), log.noting());
    worker
        .on(("ask", "question"), move |event| {
            noting(event);
            match own.post(("ask", "answer"), event.bytes()) {
                Err(full) => assert_eq!(full.kind(), ErrorKind::Full),
                Ok(id) => assert!(event.id() < Some(id)),
            }
        })
        .unwrap();
    log
}

#[test]
fn g18_two_workers_that_must_read_and_post_in_their_handlers_do_not_wait_for_each_other() {
    const QUESTIONS: u64 = 500;
    let (_name, bus) = bus(&tiny());
    let workers = [bus.join_with(&patient()).unwrap(), bus.join_with(&patient()).unwrap()];
    let logs = workers.each_ref().map(answer_each);
    thread::scope(|scope| {
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        let poster = scope.spawn(move || {
            for question in 0..QUESTIONS {
                publisher.post(("ask", "question"), question.to_le_bytes()).unwrap();
            }
        });
        let is_over = || poster.is_finished();
        while !is_over() || workers.iter().any(|worker| worker.cursor() < bus.next_id()) {
            for worker in &workers {
                assert_eq!(poll(worker).1, 0);
            }
        }
    });
    assert!(logs.iter().all(|log| log.len() as u64 == QUESTIONS));
}

#[test]
fn g5_a_post_that_was_refused_is_seen_by_no_one() {
    let (_name, bus) = bus(&tiny().block_size(64).retained(2).retained_size(400));
    let mut slow = bus.subscribe_with(&patient().label("slow")).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    publisher.event(("s", "kept")).retain().post(b"old").unwrap();
    post(&mut publisher, RING - 1);
    let full = [
        error(publisher.try_post(("s", "e"), b"")),
        error(publisher.event(("s", "kept")).retain().try_post(b"new")),
        error(publisher.event(("s", "kept")).retain_key("other").try_post([0; 100])),
        error(publisher.event(("s", "kept")).try_clear()),
        error(publisher.event(("s", "e")).unique("key").try_post(b"")),
        error(publisher.try_reserve().map(drop)),
    ];
    for full in full {
        let text = full.to_string();
        assert!(matches!(full.cause(), Cause::Full { lag: RING, patience: HOUR, own: false, .. }), "{text}");
        assert!(text.contains("\"slow\") must read and is 8 ids behind; post again later"), "{text}");
        assert_eq!(full.code(), "full");
    }
    assert_eq!(stats(&bus, &publisher).room_refused, 6);
    assert_eq!(bus.next_id(), RING);
    assert_eq!(publisher.get(("s", "kept")).unwrap().unwrap().bytes(), b"old");
    assert!(publisher.get_key(("s", "kept"), "other").unwrap().is_none());
    assert!(publisher.reserved().unwrap().is_none());
    assert_eq!(read(&mut slow), events(0..RING));
    // The place that the refused key had taken is free.
    publisher.event(("s", "kept")).retain_key("third").try_post(b"").unwrap();
    publisher.event(("s", "kept")).try_clear().unwrap().unwrap();
    publisher.try_reserve().unwrap().commit(("s", "e"), b"").unwrap();
}

#[test]
fn g5_a_message_needs_room_for_all_of_its_fragments() {
    let (_name, bus) = bus(&tiny().capacity(16).block_size(64));
    let mut slow = bus.subscribe_with(&patient()).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    post(&mut publisher, 13);
    // Four fragments.
    assert_error!(publisher.try_post(("s", "e"), [0; 450]), Cause::Full { .. });
    assert_eq!(bus.next_id(), 13, "a part of it was posted");
    post(&mut publisher, 3);
    assert_eq!(read(&mut slow), events(0..16));
    let id = publisher.try_post(("s", "e"), [0; 450]).unwrap();
    assert_eq!(id, 19);
    assert_eq!(read(&mut slow), [Got::Event(id)]);
}

#[test]
fn g16_the_librarys_own_events_wait_for_no_reader() {
    let (_name, bus) = bus(&tiny());
    let mut slow = bus.subscribe_with(&patient()).unwrap();
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    post(&mut publisher, RING);
    let worker = bus.join().unwrap();
    assert_eq!(counts(&bus, &worker).room_refused, 1);
    worker.leave().unwrap();
    bus.subscribe().unwrap().leave(|_| ()).unwrap();
    assert_eq!(bus.next_id(), RING);
    assert_eq!(read(&mut slow), events(0..RING));
    let worker = bus.join().unwrap();
    worker.leave().unwrap();
    let topics: Vec<_> =
        std::iter::from_fn(|| slow.try_next().unwrap().map(|got| got.event().unwrap().event().to_owned())).collect();
    assert_eq!(topics, [library::STARTED.event(), library::STOPPING.event()]);
}

#[test]
fn g16_a_worker_that_was_cut_off_is_brought_up_to_date() {
    let (_name, bus) = bus(&tiny());
    let reports = Reports::default();
    let worker = bus.join_with(&reports.of(must_read(SHORT).resync(true))).unwrap();
    let log = Log::of(&worker, Scope::All);
    let mut publisher = bus.publisher_with(&quiet()).unwrap();
    publisher.event(("s", "kept")).retain().post(b"value").unwrap();
    post(&mut publisher, 2 * RING);
    poll(&worker);
    assert_eq!(log.events()[..2], ["kept", library::UP_TO_DATE.event()]);
    assert_eq!(reports.debugs().len(), 1);
}

#[test]
fn g16_a_publisher_with_such_options_is_not_waited_for() {
    let (_name, bus) = bus(&tiny());
    let _idle = bus.publisher_with(&patient()).unwrap();
    let worker = bus.join_with(&patient()).unwrap();
    let mut further = worker.publisher().unwrap();
    post(&mut further, RING);
    // Its worker is waited for, and it is another seat: it would wait.
    assert_error!(try_post(&mut further), Cause::Full { own: false, .. });
    poll(&worker);
    post(&mut further, RING);
    assert_eq!(counts(&bus, &worker).must_read, Some(HOUR));
    assert_eq!(stats(&bus, &further).must_read, None);
}

#[test]
fn bad_patience_is_an_error_with_both_values() {
    let (_name, bus) = bus(&small().most_patience(Duration::from_millis(100)));
    let ms = Duration::from_millis;
    let options = |patience, wait_max| quiet().wait_interval(ms(1)).wait_max(ms(wait_max)).must_read(ms(patience));
    for (bad, value, rule) in [
        (options(101, 10), "101ms", "wait for at most 100ms"),
        (options(50, 50), "50ms with wait_max = 50ms", "longer than wait_max"),
        (options(100, 500), "100ms with wait_max = 500ms", "longer than wait_max"),
    ] {
        for refused in [
            error(bus.join_with(&bad).map(drop)),
            error(bus.subscribe_with(&bad).map(drop)),
            error(bus.publisher_with(&bad).map(drop)),
        ] {
            let Cause::Option { option: "must_read", value: found, rule: why } = refused.cause() else {
                panic!("{refused}")
            };
            assert_eq!(found, value);
            assert!(why.contains(rule), "{why}");
        }
    }
    let worker = bus.join_with(&options(100, 99)).unwrap();
    let refused = error(worker.reconfigure(|options| options.must_read(ms(200))));
    assert_eq!(refused.kind(), ErrorKind::Option);
    assert_eq!(worker.options().get_must_read(), ms(100));
    assert_error!(worker.reconfigure(|options| options.wait_max(ms(100))), Cause::Option { option: "must_read", .. });

    let (_name, none) = seqcast_testkit::bus(&small().most_patience(Duration::ZERO));
    let refused = error(none.join_with(&options(1, 0).wait_interval(Duration::from_nanos(1))).map(drop));
    assert!(refused.to_string().contains("wait for no worker: create it with .most_patience"), "{refused}");

    let refused = error(SegmentOptions::new().most_patience(HOUR + ms(1)).anonymous());
    assert_error!(Err::<(), _>(refused), Cause::Option { option: "most_patience", .. });
}

#[test]
fn another_bound_of_patience_is_a_difference() {
    let (name, bus) = bus(&small().most_patience(SHORT));
    let other = small().most_patience(HOUR);
    let found = other.open_or_create(&name).unwrap();
    let [difference] = found.differences() else { panic!("{:?}", found.differences()) };
    assert_eq!(difference.to_string(), "most_patience is 20ms, not 3600s");
    assert_error!(other.strict(true).open_or_create(&name), Cause::OptionsDiffer { .. });
    assert!(small().open_or_create(&name).unwrap().differences().is_empty());
    assert_eq!(bus.stats().unwrap().most_patience, SHORT);
}

#[test]
fn a_report_says_that_posts_have_waited() {
    let (_name, bus) = bus(&tiny());
    let reports = Reports::default();
    let worker = bus.join_with(&reports.of(must_read(SHORT))).unwrap();
    post(&mut bus.publisher_with(&quiet()).unwrap(), 2 * RING);
    poll(&worker);
    let [text] = &*reports.texts() else { panic!("{:?}", reports.texts()) };
    assert!(text.contains("although posts have waited: poll more often, or raise must_read or capacity"), "{text}");
}

alone! {
    fn g16_large_blocks_are_not_used_while_a_worker_must_read() {
        let (_name, bus) = bus(&tiny().capacity(16).block_size(64).large(2, 4096));
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        let large = |publisher: &mut Publisher, len: usize| publisher.post(("s", "large"), vec![7; len]);
        large(&mut publisher, 4096).unwrap();
        assert_eq!(stats(&bus, &publisher).large, 1);
        let mut reader = bus.subscribe_with(&patient()).unwrap();
        assert_error!(large(&mut publisher, 4096), Cause::PayloadTooLarge { max: 512, .. });
        for _ in 0..4 {
            large(&mut publisher, 400).unwrap();
        }
        let got = read(&mut reader);
        assert_eq!(got.iter().filter(|got| matches!(got, Got::Event(_))).count(), got.len());
        assert_eq!((got.len(), stats(&bus, &publisher).large), (4, 1));
        drop(reader);
        let child = Child::fork(|| {
            let _own = bus.join_with(&patient()).unwrap();
            stop_here();
        });
        child.await_stop();
        assert_error!(large(&mut publisher, 4096), Cause::PayloadTooLarge { .. });
        child.kill();
        large(&mut publisher, 4096).unwrap();
        assert_eq!(stats(&bus, &publisher).large, 2);
    }
}
