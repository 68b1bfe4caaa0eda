//! Reserved ids.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;
use seqcast::{Bus, Cause, Polled, Scope, SegmentOptions, SizeLimit, Worker, WorkerOptions};
use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, assert_error, bus, counts, error, eventually, listener, of_seat, poll, quiet,
    shared_words, small, stop_here,
};

const MS: Duration = Duration::from_millis(1);
/// The number of rounds of a race between threads.
const ROUNDS: u64 = 20_000;
/// After this time a race ends earlier: where the threads share a processor with others, a round takes milliseconds.
const LONGEST_RACE: Duration = Duration::from_secs(20);

/// A reader that would wait for an hour.
fn patient() -> WorkerOptions {
    quiet().wait_interval(MS).wait_max(HOUR)
}

/// A reader that gives up soon.
fn hasty() -> WorkerOptions {
    quiet().wait_interval(MS).wait_max(MS * 3)
}

/// Waits until `worker`, which another thread or process polls, waits for `ids` reserved ids.
fn await_waiting(bus: &Bus, worker: &Worker, ids: u64) {
    await_waiting_seat(bus, worker.seat(), ids);
}

fn await_waiting_seat(bus: &Bus, seat: u32, ids: u64) {
    eventually("the reader waits", || {
        bus.stats().unwrap().workers.iter().any(|worker| worker.seat == seat && worker.waited == ids)
    });
}

/// A process that has reserved an id and is stopped.
fn stopped_reserver(bus: &Bus) -> Child {
    let child = Child::fork(|| {
        let reserver = bus.join_with(&quiet()).unwrap();
        let _reservation = reserver.reserve().unwrap();
        stop_here();
    });
    child.await_stop();
    child
}

/// Resumes a stopped reader with this seat until it sleeps at a reserved id.
fn let_sleep_at_a_reserved_id(bus: &Bus, reader: &Child, seat: u32) {
    reader.go_on();
    await_waiting_seat(bus, seat, 1);
    eventually("the reader sleeps", || reader.sleeps());
}

alone! {
    fn a_commit_comes_in_the_order_of_its_id() {
        let (_name, bus) = bus(&small());
        let (reserver, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let (reader, log) = listener(&bus, &patient());
        sender.post(("s", "0"), b"").unwrap();
        let mut reservation = reserver.reserve().unwrap();
        assert_eq!(reservation.id(), 1);
        sender.post(("s", "2"), b"").unwrap();
        reserver.post(("s", "3"), b"").unwrap();
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            await_waiting(&bus, &reader, 1);
            assert_eq!(log.events(), ["0"], "events behind a reserved id were delivered before it");
            assert_eq!(reader.cursor(), 1);
            assert_eq!(reservation.commit(("s", "1"), b"late").unwrap(), 1);
            assert_eq!(polling.join().unwrap(), (4, 0));
        });
        assert_eq!(log.events(), ["0", "1", "2", "3"]);
        assert_eq!(log.ids(), [0, 1, 2, 3]);
    }

    fn a_commit_before_anybody_reads_makes_nobody_wait() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, log) = listener(&bus, &patient());
        let mut reservation = reserver.reserve().unwrap();
        reserver.post(("s", "after"), b"").unwrap();
        reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(poll(&reader), (2, 0));
        assert_eq!(log.events(), ["reserved", "after"]);
        assert_eq!(counts(&bus, &reader).waited, 0);
    }

    fn g6_a_commit_wakes_the_reader_and_a_post_does_not() {
        let (_name, bus) = bus(&small());
        let (reserver, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let child = Child::fork(|| {
            let (reader, log) = listener(&bus, &patient().wait_interval(HOUR));
            stop_here();
            assert_eq!(poll(&reader), (4, 0));
            assert_eq!(log.events(), ["reserved", "1", "2", "3"]);
        });
        child.await_stop();
        let mut reservation = reserver.reserve().unwrap();
        sender.post(("s", "1"), b"").unwrap();
        let_sleep_at_a_reserved_id(&bus, &child, 2);
        sender.post(("s", "2"), b"").unwrap();
        sender.post(("s", "3"), b"").unwrap();
        assert_eq!(counts(&bus, &sender).wakes, 0, "a post woke a reader that waits for a commit");
        reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(counts(&bus, &reserver).wakes, 1, "the commit woke no process");
        assert!(child.ended_well());
    }

    fn a_dropped_reservation_is_void_and_wakes_the_reader() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let (reader, log) = listener(&bus, &patient().wait_interval(HOUR));
            stop_here();
            assert_eq!(poll(&reader), (1, 0));
            assert_eq!(log.ids(), [1]);
            assert_eq!(counts(&bus, &reader).voided, 0, "the reader gave it up, not the reserver");
        });
        child.await_stop();
        let reservation = reserver.reserve().unwrap();
        reserver.post(("s", "e"), b"").unwrap();
        let_sleep_at_a_reserved_id(&bus, &child, 1);
        drop(reservation);
        assert_eq!(counts(&bus, &reserver).wakes, 1);
        assert_eq!(counts(&bus, &reserver).reserved, None);
        assert!(child.ended_well());
    }

    fn g6_nobody_waits_for_a_reserver_that_was_killed() {
        let (_name, bus) = bus(&small());
        let (reader, log) = listener(&bus, &patient());
        let child = Child::fork(|| {
            let reserver = bus.join_with(&quiet()).unwrap();
            let _reservation = reserver.reserve().unwrap();
            reserver.post(("s", "after"), b"").unwrap();
            stop_here();
        });
        child.await_stop();
        child.kill();
        // If it waited, it would wait for an hour.
        assert_eq!(poll(&reader), (1, 0));
        assert_eq!(log.events(), ["after"]);
        assert_eq!(counts(&bus, &reader).voided, 1);
        let (other, log) = listener(&bus, &patient().start(seqcast::Start::Oldest));
        assert_eq!(poll(&other), (1, 0));
        assert_eq!((log.ids(), counts(&bus, &other).waited), (vec![1], 0), "it is void for all from then on");
    }

    fn g6_a_reader_that_waits_already_notices_the_reservers_death() {
        let (_name, bus) = bus(&small());
        let reader = bus.join_with(&patient()).unwrap();
        let child = stopped_reserver(&bus);
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            await_waiting(&bus, &reader, 1);
            child.kill();
            assert_eq!(polling.join().unwrap(), (0, 0));
        });
        assert_eq!(counts(&bus, &reader).voided, 1);
    }

    fn a_successor_in_a_dead_reservers_seat_is_not_taken_for_it() {
        let (_name, bus) = bus(&small());
        let (reader, log) = listener(&bus, &patient());
        let child = stopped_reserver(&bus);
        child.kill();
        let successor = bus.join_with(&quiet()).unwrap();
        assert_eq!(counts(&bus, &successor).adopted, 1);
        let mut reservation = successor.reserve().unwrap();
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            // Id 0 is void at once, id 1 is waited for.
            eventually("the first is given up", || reader.cursor() == 1);
            reservation.commit(("s", "successor"), b"").unwrap();
            assert_eq!(polling.join().unwrap(), (1, 0));
        });
        assert_eq!(log.ids(), [1]);
        assert_eq!(counts(&bus, &reader).voided, 1);
    }

    fn g2_a_slow_reserver_is_given_up_for_all_and_told_that_it_is_too_late() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, other) = (bus.join_with(&hasty()).unwrap(), bus.join_with(&patient()).unwrap());
        let logs = [Log::of(&reader, Scope::All), Log::of(&other, Scope::All)];
        let mut reservation = reserver.reserve().unwrap();
        reserver.post(("s", "after"), b"").unwrap();
        assert_eq!(poll(&reader), (1, 0));
        assert_eq!((counts(&bus, &reader).waited, counts(&bus, &reader).voided), (1, 1));
        // The other worker no longer has to wait.
        assert_eq!(poll(&other), (1, 0));
        assert_eq!((counts(&bus, &other).waited, counts(&bus, &other).voided), (0, 0));
        for _ in 0..2 {
            let refusal = error(reservation.commit(("s", "late"), b""));
            let text = refusal.to_string();
            assert!(matches!(refusal.cause(), Cause::TooLate { id: 0 }), "{refusal:?}");
            assert!(text.contains("wait_max") && text.contains(" 0 "), "{text}");
        }
        assert_eq!((poll(&reader), poll(&other)), ((0, 0), (0, 0)));
        assert_eq!(logs.map(|log| log.events()), [["after"], ["after"]]);
        // The seat is as usable as before.
        let mut next = reserver.reserve().unwrap();
        next.commit(("s", "next"), b"").unwrap();
        assert_eq!(poll(&reader), (1, 0));
    }

    fn g8_a_stopped_reserver_is_late_and_not_dead() {
        let (_name, bus) = bus(&small());
        let (reader, log) = listener(&bus, &patient());
        let child = Child::fork(|| {
            let reserver = bus.join_with(&quiet()).unwrap();
            let mut first = reserver.reserve().unwrap();
            stop_here();
            first.commit(("s", "in time"), b"").unwrap();
            stop_here();
            let mut second = reserver.reserve().unwrap();
            stop_here();
            assert_error!(second.commit(("s", "too late"), b""), Cause::TooLate { id: 1 });
            reserver.post(("s", "after"), b"").unwrap();
        });
        child.await_stop();
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            await_waiting(&bus, &reader, 1);
            // Long enough to be taken for dead, if stopped processes counted as dead.
            thread::sleep(MS * 20);
            assert!(!polling.is_finished(), "a stopped reserver was taken for dead");
            child.go_on();
            assert_eq!(polling.join().unwrap(), (1, 0));
        });
        child.await_stop();
        child.go_on();
        child.await_stop();
        reader.reconfigure(|options| options.wait_max(MS * 2)).unwrap();
        assert_eq!(poll(&reader), (0, 0));
        child.go_on();
        assert!(child.ended_well());
        assert_eq!(poll(&reader), (1, 0));
        assert_eq!(log.events(), ["in time", "after"]);
    }

    fn the_shortest_wait_max_among_the_readers_decides_for_all() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, other) = (bus.join_with(&patient()).unwrap(), bus.join_with(&hasty()).unwrap());
        let _reservation = reserver.reserve().unwrap();
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            await_waiting(&bus, &reader, 1);
            assert_eq!(poll(&other), (0, 0));
            assert_eq!(polling.join().unwrap(), (0, 0));
        });
        assert_eq!((counts(&bus, &reader).voided, counts(&bus, &other).voided), (0, 1));
    }

    fn ones_own_reservation_is_pending_at_once_and_never_given_up_by_oneself() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &hasty());
        worker.post(("s", "0"), b"").unwrap();
        let mut reservation = worker.reserve().unwrap();
        worker.post(("s", "2"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        thread::sleep(MS * 5);
        assert_eq!(poll(&worker), (0, 0));
        assert!(!worker.wait(MS).unwrap(), "there is nothing to poll until the commit");
        worker.post_local(("s", "local"), ()).unwrap();
        assert_eq!(poll(&worker), (1, 0), "local events do not wait");
        assert_eq!(counts(&bus, &worker).voided, 0);
        reservation.commit(("s", "1"), b"").unwrap();
        assert!(worker.wait(HOUR).unwrap());
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["0", "local", "1", "2"]);
    }

    fn ones_own_reservation_dropped_lets_the_rest_through() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &patient());
        let reservation = worker.reserve().unwrap();
        worker.post(("s", "1"), b"").unwrap();
        assert_eq!(poll(&worker), (0, 0));
        drop(reservation);
        assert!(worker.wait(HOUR).unwrap());
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.ids(), [1]);
    }

    fn a_reservation_inside_a_handler_is_ones_own_too() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &patient());
        let (inside, slot) = (worker.clone(), std::sync::Arc::new(std::sync::Mutex::new(None)));
        let kept = slot.clone();
        worker.on(Scope::events("s", ["0"]), move |_: &seqcast::Event<'_>| {
            *kept.lock().unwrap() = Some(inside.reserve().unwrap());
            inside.post(("s", "2"), b"").unwrap();
        }).unwrap();
        worker.post(("s", "0"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0), "the poll that the handler runs in does not wait for the handler's own");
        slot.lock().unwrap().take().unwrap().commit(("s", "1"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["0", "1", "2"]);
    }

    fn a_worker_holds_one_reservation_and_a_second_gives_the_first_up() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&patient()).unwrap();
        let (reader, log) = listener(&bus, &patient());
        let mut first = worker.reserve().unwrap();
        let mut second = worker.reserve().unwrap();
        assert_eq!((first.id(), second.id()), (0, 1));
        assert_eq!(counts(&bus, &worker).reserved, Some(1));
        assert_error!(first.commit(("s", "first"), b""), Cause::TooLate { id: 0 });
        drop(first);
        assert_eq!(counts(&bus, &worker).reserved, Some(1), "the first's drop took the second");
        second.commit(("s", "second"), b"").unwrap();
        assert_error!(second.commit(("s", "again"), b""), Cause::TooLate { id: 1 }, "it is used up");
        assert_eq!(poll(&reader), (1, 0));
        assert_eq!(log.events(), ["second"]);
    }

    fn g1_a_publisher_commits_in_the_order_of_its_id() {
        let (_name, bus) = bus(&small());
        let (reader, log) = listener(&bus, &patient());
        let mut publisher = bus.publisher().unwrap();
        let mut reservation = publisher.reserve().unwrap();
        assert_eq!(reservation.publisher().post(("s", "behind"), b"").unwrap(), reservation.id() + 1);
        let too_long = vec![0; bus.largest_event()];
        assert_error!(reservation.commit(("s", "long"), too_long), Cause::PayloadTooLarge { .. });
        assert_eq!(reservation.event(("s", "reserved")).unique("key").ttl(HOUR).post(b"").unwrap(), 0);
        assert_error!(reservation.commit(("s", "again"), b""), Cause::TooLate { id: 0 });
        drop(reservation);
        // Its key is held for an hour.
        publisher.event(("s", "later")).unique("key").post(b"").unwrap();
        assert_eq!(poll(&reader), (2, 0));
        assert_eq!(log.events(), ["reserved", "behind"]);
        let commits = of_seat(&bus.stats().unwrap(), publisher.seat());
        assert_eq!((commits.reservations, commits.committed, commits.reserved), (1, 1, None));
    }

    fn a_kept_reservation_is_picked_up_again_and_a_second_gives_it_up() {
        let (_name, bus) = bus(&small());
        let (reader, log) = listener(&bus, &patient());
        let mut publisher = bus.publisher().unwrap();
        assert!(publisher.reserved().unwrap().is_none());
        let first = publisher.reserve().unwrap().keep();
        assert!(matches!(reader.poll_now().unwrap(), Polled::Reserved { id, .. } if id == first));
        assert_eq!(publisher.reserved().unwrap().unwrap().keep(), first);
        let second = publisher.reserve().unwrap().keep();
        assert_eq!(publisher.reserved().unwrap().unwrap().commit(("s", "second"), b"").unwrap(), second);
        assert!(publisher.reserved().unwrap().is_none(), "it is used up");
        publisher.reserve().unwrap().keep();
        drop(publisher.reserved().unwrap());
        assert!(publisher.reserved().unwrap().is_none(), "dropped, it is given up");
        publisher.post(("s", "last"), b"").unwrap();
        assert_eq!(poll(&reader), (2, 0));
        assert_eq!(log.events(), ["second", "last"]);
        assert_eq!(counts(&bus, &reader).voided, 0, "the reader gave one up, not the publisher");
    }

    fn g6_a_publisher_that_is_dropped_wakes_the_reader_of_what_it_has_kept() {
        let (_name, bus) = bus(&small());
        let mut publisher = bus.publisher().unwrap();
        let child = Child::fork(|| {
            let reader = bus.join_with(&patient().wait_interval(HOUR)).unwrap();
            stop_here();
            assert_eq!(poll(&reader), (0, 0));
            assert_eq!(counts(&bus, &reader).voided, 0, "the reader gave it up, not the publisher");
        });
        child.await_stop();
        publisher.reserve().unwrap().keep();
        let_sleep_at_a_reserved_id(&bus, &child, 1);
        drop(publisher);
        assert!(child.ended_well());
    }

    fn a_forgotten_reservation_ends_with_the_next_or_with_its_worker() {
        let (_name, bus) = bus(&small());
        let reader = bus.join_with(&patient()).unwrap();
        let worker = bus.join_with(&quiet()).unwrap();
        std::mem::forget(worker.reserve().unwrap());
        std::mem::forget(worker.reserve().unwrap());
        worker.leave().unwrap();
        assert_eq!(poll(&reader), (0, 0));
        assert_eq!((counts(&bus, &reader).waited, counts(&bus, &reader).voided), (0, 0));
    }

    fn g6_a_reservation_that_gives_another_up_wakes_the_reader() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let child = Child::fork(|| {
            let (reader, log) = listener(&bus, &patient().wait_interval(HOUR));
            stop_here();
            // It may be awake before the second is reserved.
            while log.len() < 2 {
                assert_eq!(poll(&reader).1, 0);
                reader.wait(MS).unwrap();
            }
            assert_eq!(log.ids(), [1, 2]);
        });
        child.await_stop();
        std::mem::forget(reserver.reserve().unwrap());
        reserver.post(("s", "1"), b"").unwrap();
        let_sleep_at_a_reserved_id(&bus, &child, 1);
        let mut second = reserver.reserve().unwrap();
        // More than one if the reader sleeps again in between.
        assert_ne!(counts(&bus, &reserver).wakes, 0, "the void woke no process");
        second.commit(("s", "2"), b"").unwrap();
        assert!(child.ended_well());
    }

    fn g2_threads_of_a_worker_lose_no_reservation_to_each_others_commits() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        // The current round, and the one that the other thread has finished.
        let (begun, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let is_over = AtomicBool::new(false);
        let (rounds, late) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                for number in 1.. {
                    let backoff = Backoff::new();
                    while begun.load(Relaxed) < number {
                        if is_over.load(Relaxed) {
                            return;
                        }
                        backoff.snooze();
                    }
                    // Whatever happens to the first, nothing is reserved after this.
                    let mut second = worker.reserve().unwrap();
                    let committed = second.commit(("s", "second"), b"");
                    assert!(committed.is_ok(), "round {number}: {committed:?}");
                    done.store(number, Relaxed);
                }
            });
            let (mut rounds, mut late) = (0, 0);
            let racing = Instant::now();
            while rounds < ROUNDS && racing.elapsed() < LONGEST_RACE && !other.is_finished() {
                rounds += 1;
                let number = rounds;
                let mut first = worker.reserve().unwrap();
                begun.store(number, Relaxed);
                late += u64::from(first.commit(("s", "first"), b"").is_err());
                let backoff = Backoff::new();
                while done.load(Relaxed) < number && !other.is_finished() {
                    backoff.snooze();
                }
            }
            is_over.store(true, Relaxed);
            other.join().unwrap();
            (rounds, late)
        });
        assert!(late < rounds);
        assert_eq!(counts(&bus, &worker).committed, 2 * rounds - late);
    }

    fn g6_a_reservation_beside_a_leave_is_refused_or_given_up() {
        for _ in 0..20 {
            let (_name, bus) = bus(&small());
            let worker = bus.join_with(&quiet()).unwrap();
            let reader = bus.join_with(&patient().on_report(|_| ())).unwrap();
            let leaver = worker.clone();
            thread::scope(|scope| {
                let reserving = scope.spawn(|| {
                    let refusal = loop {
                        match worker.reserve() {
                            Ok(reservation) => std::mem::forget(reservation),
                            Err(refusal) => break refusal,
                        }
                    };
                    assert!(matches!(refusal.cause(), Cause::Left), "{refusal:?}");
                });
                eventually("it reserves", || bus.next_id() > 0);
                leaver.leave().unwrap();
                reserving.join().unwrap();
            });
            // The seat is still held: if it has a reservation, this waits for an hour.
            while let (_, 1..) = poll(&reader) {}
            assert_eq!(reader.cursor(), bus.next_id());
        }
    }

    fn g6_reservations_one_after_the_other_keep_nobody_in_a_poll() {
        let (_name, bus) = bus(&small());
        let reservers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let reader = bus.join_with(&quiet().wait_interval(MS).wait_max(MS * 200).on_report(|_| ())).unwrap();
        let _log = Log::of(&reader, Scope::source("wanted"));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // One of the two has always reserved the last id, and both commit soon: the reader reaches no end, and
            // nothing is given up.
            scope.spawn(|| {
                let mut before = reservers[0].reserve().unwrap();
                for reserver in reservers.iter().cycle().skip(1) {
                    let next = reserver.reserve().unwrap();
                    thread::sleep(MS);
                    let _ = before.commit(("unwanted", "e"), b"");
                    before = next;
                    if stop.load(Relaxed) {
                        break;
                    }
                }
            });
            eventually("there is a reservation", || bus.next_id() > 1);
            // They return; otherwise this hangs.
            for polled in [reader.poll().unwrap(), reader.poll_at_most(1).unwrap()] {
                assert!(matches!(polled, Polled::Reserved { .. } | Polled::Done { .. }), "{polled:?}");
            }
            stop.store(true, Relaxed);
        });
        poll(&reader);
        assert_eq!(reader.cursor(), bus.next_id());
    }

    fn g6_a_poller_that_waits_for_a_reserved_id_can_be_stopped() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, log) = listener(&bus, &patient().wait_interval(HOUR));
        let mut reservation = reserver.reserve().unwrap();
        let poller = reader.start_poller().unwrap();
        await_waiting(&bus, &reader, 1);
        poller.stop().unwrap();
        reservation.commit(("s", "e"), b"").unwrap();
        assert_eq!(poll(&reader), (1, 0));
        assert_eq!(log.ids(), [0]);
    }

    fn g6_a_poll_that_never_waits_says_at_which_id_it_stopped() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let reader = bus.join_with(&patient().wait_interval(HOUR)).unwrap();
        let log = Log::of(&reader, Scope::source("s"));
        reserver.post(("s", "0"), b"").unwrap();
        let mut reservation = reserver.reserve().unwrap();
        reserver.post(("s", "2"), b"").unwrap();
        // A nap, or a wait for the payload, would hang here.
        for delivered_before in [0, 1] {
            let polled = reader.poll_now().unwrap();
            let Polled::Reserved { id: 1, left: Some(left), delivered, missed: 0, .. } = polled else {
                panic!("{polled:?}")
            };
            assert_eq!(delivered, 1 - delivered_before);
            assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        }
        assert_eq!(reader.cursor(), 1);
        assert!(!reader.wait(Duration::ZERO).unwrap(), "later events cannot be polled yet");
        reader.post_local(("s", "local"), ()).unwrap();
        assert!(reader.wait(HOUR).unwrap());
        assert!(matches!(reader.poll_now().unwrap(), Polled::Reserved { id: 1, delivered: 1, .. }));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| reader.wait(HOUR).unwrap());
            reservation.commit(("s", "1"), b"").unwrap();
            assert!(waiting.join().unwrap());
        });
        assert!(matches!(reader.poll_now().unwrap(), Polled::Done { delivered: 2, missed: 0, .. }));
        assert!(matches!(reader.poll_now().unwrap(), Polled::Done { delivered: 0, missed: 0, .. }));
        assert_eq!(log.events(), ["0", "local", "1", "2"]);
    }

    fn g6_an_id_is_given_up_in_time_by_polls_that_never_wait() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, log) = listener(&bus, &quiet().wait_interval(MS).wait_max(MS * 30));
        let mut reservation = reserver.reserve().unwrap();
        reserver.post(("s", "1"), b"").unwrap();
        if let Polled::Reserved { id: 0, left: Some(left), .. } = reader.poll_now().unwrap() {
            assert!(left <= MS * 30);
            // Only the end of that time wakes it.
            assert!(reader.wait(HOUR).unwrap());
        }
        assert!(matches!(reader.poll_now().unwrap(), Polled::Done { .. }));
        assert_eq!((log.ids(), counts(&bus, &reader).voided), (vec![1], 1));
        assert_error!(reservation.commit(("s", "late"), b""), Cause::TooLate { id: 0 });
    }

    fn g6_a_poll_that_never_waits_gives_a_dead_reservers_id_up_at_once() {
        let (_name, bus) = bus(&small());
        let reader = bus.join_with(&patient()).unwrap();
        let child = stopped_reserver(&bus);
        assert!(matches!(reader.poll_now().unwrap(), Polled::Reserved { id: 0, left: Some(_), .. }));
        child.kill();
        assert!(matches!(reader.poll_now().unwrap(), Polled::Done { .. }));
        assert_eq!(counts(&bus, &reader).voided, 1);
    }

    fn ones_own_reservation_is_said_by_every_poll() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&hasty()).unwrap();
        let mut reservation = worker.reserve().unwrap();
        let own = |polled: Polled| {
            matches!(polled, Polled::Reserved { id: 0, left: None, delivered: 0, missed: 0, .. })
        };
        for _ in 0..2 {
            assert!(own(worker.poll_now().unwrap()));
            assert!(own(worker.poll().unwrap()));
            assert!(own(worker.poll_at_most(1).unwrap()));
        }
        reservation.commit(("s", "e"), b"").unwrap();
        assert!(matches!(worker.poll_now().unwrap(), Polled::Done { .. }));
    }

    fn g6_ids_beyond_a_full_read_ahead_are_waited_for_at_the_same_time() {
        const FAR: usize = 5000;
        let (_name, bus) = bus(&SegmentOptions::new().capacity(16_384));
        let sender = bus.join_with(&quiet()).unwrap();
        let reservers: Vec<Worker> = (0..3).map(|_| bus.join_with(&quiet()).unwrap()).collect();
        let wait_max = MS * 1000;
        let (reader, log) = listener(&bus, &patient());
        let reservations: Vec<_> = reservers.iter().map(|reserver| {
            let reservation = reserver.reserve().unwrap();
            for _ in 0..FAR {
                sender.post(("s", "e"), b"").unwrap();
            }
            reservation
        }).collect();
        assert!(matches!(reader.poll_now().unwrap(), Polled::Reserved { id: 0, .. }));
        assert_eq!(counts(&bus, &reader).waited, 1, "the second is not beyond the read-ahead");
        thread::sleep(wait_max);
        // All three have had their full time.
        reader.reconfigure(|options| options.wait_max(wait_max)).unwrap();
        let polled = reader.poll_now().unwrap();
        assert!(matches!(polled, Polled::Done { .. }), "{polled:?}");
        assert_eq!((counts(&bus, &reader).voided, log.len()), (3, 3 * FAR));
        drop(reservations);
    }

    fn g6_an_id_reserved_after_the_read_ahead_was_full_still_has_its_time() {
        let (_name, bus) = bus(&SegmentOptions::new().capacity(16_384));
        let sender = bus.join_with(&quiet()).unwrap();
        let (first, second) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let (reader, _log) = listener(&bus, &patient());
        let early = first.reserve().unwrap();
        for _ in 0..5000 {
            sender.post(("s", "e"), b"").unwrap();
        }
        assert!(matches!(reader.poll_now().unwrap(), Polled::Reserved { id: 0, .. }));
        thread::sleep(MS * 20);
        let reserving = Instant::now();
        let late = second.reserve().unwrap();
        drop(early);
        // The wait is over: the second had nearly an hour left, and the first nothing.
        let before = reader.poll_now().unwrap();
        let Polled::Reserved { id, left: Some(left), .. } = before else { panic!("{before:?}") };
        assert_eq!(id, late.id());
        assert!(HOUR - left <= reserving.elapsed(), "{left:?}: it is given up too early");
    }

    fn a_commit_that_is_refused_leaves_the_reservation_as_it_was() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let block = bus.stats().unwrap().sizes.block_size as usize;
        let mut reservation = worker.reserve().unwrap();
        let refusal = error(reservation.commit(("s", "e"), vec![1; block]));
        let Cause::PayloadTooLarge { len, max, limit: SizeLimit::Block } = *refusal.cause() else {
            panic!("{refusal:?}")
        };
        assert!(len > block && max == block, "{refusal:?}");
        let text = format!(
            "the event has {len} bytes, but a reserved event must fit one block or one large block, of at most {max}: \
             raise block_size"
        );
        assert!(refusal.to_string().starts_with(&text), "{refusal}");
        let larger_than_any = reservation.commit(("s", "e"), vec![1; bus.largest_event() + 1]);
        assert_error!(larger_than_any, Cause::PayloadTooLarge { max, limit: SizeLimit::Block, .. } if *max == block);
        let posted = error(worker.post(("s", "e"), vec![1; bus.largest_event() + 1]));
        assert!(matches!(posted.cause(), Cause::PayloadTooLarge { limit: SizeLimit::Ring, .. }), "{posted:?}");
        assert_error!(reservation.commit(("", "e"), b""), Cause::Topic { part: "source", .. });
        assert_eq!(counts(&bus, &worker).reserved, Some(0));
        reservation.commit(("s", "e"), vec![1; block - 64]).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.seen()[0].bytes, vec![1; block - 64]);
    }

    fn a_reservation_does_not_block_posts_of_its_worker_nor_its_seat() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (reader, log) = listener(&bus, &patient());
        let mut reservation = worker.reserve().unwrap();
        let large = vec![7; bus.largest_event() / 2];
        let last = worker.post(("s", "large"), &large).unwrap();
        let _ = worker.claim("key", HOUR).unwrap();
        reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(poll(&reader), (2, 0));
        assert_eq!(log.ids(), [0, last]);
        assert_eq!(log.seen()[1].bytes, large);
    }

    fn g4_a_slow_reserver_costs_no_event_of_others_though_the_ring_laps() {
        let (_name, bus) = bus(&small());
        let (reserver, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let reports = Reports::default();
        let reader = bus.join_with(&reports.of(patient())).unwrap();
        let log = Log::of(&reader, Scope::source("s"));
        let mut reservation = reserver.reserve().unwrap();
        let mut expected = Vec::new();
        thread::scope(|scope| {
            let polling = scope.spawn(|| {
                let mut total = (0, 0);
                // The last posted event is not for the log.
                while log.len() < 640 || counts(&bus, &reader).skipped < 40 {
                    let (delivered, missed) = poll(&reader);
                    total = (total.0 + delivered, total.1 + missed);
                }
                total
            });
            await_waiting(&bus, &reader, 1);
            // Ten laps of the ring. After each quarter of a lap the test checks that the reader has copied it.
            for quarter in 1..=40 {
                for i in 0..16 {
                    expected.push(sender.post(("s", "e"), format!("{quarter} {i}")).unwrap());
                }
                sender.post(("unwanted", "e"), b"").unwrap();
                eventually("it is copied out", || counts(&bus, &reader).skipped == quarter);
                if quarter == 3 {
                    assert_eq!((log.len(), reader.cursor()), (0, 0), "it did not wait");
                }
            }
            assert_error!(reservation.commit(("s", "late"), b""), Cause::TooLate { id: 0 }, "it was lapped");
            assert_eq!(polling.join().unwrap(), (640, 1));
        });
        assert_eq!(log.ids(), expected);
        assert_eq!(reports.texts().len(), 1, "the lapped reservation itself is all that is missed");
        assert_eq!((counts(&bus, &reader).missed, counts(&bus, &reader).lagged), (1, 1));
    }

    fn what_can_be_posted_in_one_piece_can_be_committed_and_no_more() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        for len in 0.. {
            let payload = vec![7; len];
            let id = bus.next_id();
            worker.post(("s", "e"), &payload).unwrap();
            let in_one_piece = bus.next_id() == id + 1;
            let committed = worker.reserve().unwrap().commit(("s", "e"), &payload);
            assert_eq!(committed.is_ok(), in_one_piece, "{len} bytes: {committed:?}");
            if !in_one_piece {
                assert_error!(committed, Cause::PayloadTooLarge { len: sum, max, .. } if *sum == max + 1);
                break;
            }
        }
    }

    fn what_is_copied_out_is_bounded_in_events_and_in_bytes_however_often() {
        const MOST_EVENTS: u64 = 4096;
        const MOST_BYTES: u64 = 256 << 10;
        let (_name, bus) = bus(&SegmentOptions::new());
        let (worker, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let log = Log::of(&worker, Scope::source("s"));
        let large = [0; 200];
        let bytes_of_large = 32 + large.len() as u64;
        let mut skipped = 0;
        // Behind its own reservation a worker copies the available events, and returns. Each round is within the
        // bounds, all of them together are not; the last events of each are one too many.
        for _ in 0..3 {
            for (wanted, payload) in [(MOST_EVENTS - 1, &b""[..]), (MOST_BYTES.div_ceil(bytes_of_large), &large[..])] {
                let mut reservation = worker.reserve().unwrap();
                for _ in 1..wanted {
                    sender.post(("s", "e"), payload).unwrap();
                }
                sender.post(("unwanted", "within"), b"").unwrap();
                sender.post(("s", "last"), payload).unwrap();
                sender.post(("unwanted", "beyond"), b"").unwrap();
                assert_eq!(poll(&worker), (0, 0));
                skipped += 1;
                assert_eq!(counts(&bus, &worker).skipped, skipped, "{wanted} of {} bytes", payload.len());
                let before = log.len();
                reservation.commit(("s", "reserved"), b"").unwrap();
                assert_eq!(poll(&worker), (wanted + 1, 0));
                assert_eq!(log.len() - before, wanted as usize + 1);
                skipped += 1;
                assert_eq!(counts(&bus, &worker).skipped, skipped);
            }
        }
        assert!(log.ids().is_sorted());
    }

    fn what_was_copied_out_waits_for_a_later_poll() {
        let (_name, bus) = bus(&small());
        let (reserver, sender) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let reader = bus.join_with(&patient()).unwrap();
        let log = Log::of(&reader, Scope::source("s"));
        let mut reservation = reserver.reserve().unwrap();
        for event in ["1", "2", "3"] {
            sender.post(("s", event), b"").unwrap();
        }
        sender.post(("unwanted", "e"), b"").unwrap();
        thread::scope(|scope| {
            let polling = scope.spawn(|| reader.poll_at_most(1).unwrap());
            eventually("all is copied out", || counts(&bus, &reader).skipped == 1);
            reservation.commit(("s", "0"), b"").unwrap();
            assert!(matches!(polling.join().unwrap(), Polled::Done { delivered: 1, missed: 0, .. }));
        });
        // The ring contains no event that this worker has not read.
        assert!(reader.wait(Duration::ZERO).unwrap(), "it does not report the events that it has copied");
        assert_eq!(poll(&reader), (3, 0));
        assert_eq!(log.ids(), [0, 1, 2, 3]);
        assert!(!reader.wait(Duration::ZERO).unwrap());
    }

    fn a_commit_after_read_ahead_is_delivered_before_what_was_read_ahead() {
        let (_name, bus) = bus(&small());
        let reservers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let sender = bus.join_with(&quiet()).unwrap();
        let reader = bus.join_with(&patient()).unwrap();
        let log = Log::of(&reader, Scope::source("s"));
        let mut first = reservers[0].reserve().unwrap();
        sender.post(("s", "1"), b"").unwrap();
        let mut second = reservers[1].reserve().unwrap();
        sender.post(("s", "3"), b"").unwrap();
        sender.post(("unwanted", "e"), b"").unwrap();
        thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&reader));
            eventually("all is copied out", || counts(&bus, &reader).skipped == 1);
            assert_eq!(counts(&bus, &reader).waited, 2);
            second.commit(("s", "2"), b"").unwrap();
            thread::sleep(MS * 5);
            assert_eq!((log.len(), reader.cursor()), (0, 0), "the first is still to come");
            first.commit(("s", "0"), b"").unwrap();
            assert_eq!(polling.join().unwrap(), (4, 0));
        });
        assert_eq!(log.events(), ["0", "1", "2", "3"]);
    }

    fn g9_unique_events_behind_a_reserved_id_run_once() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (reader, other) = (bus.join_with(&patient()).unwrap(), bus.join_with(&patient()).unwrap());
        let logs = [Log::of(&reader, Scope::source("s")), Log::of(&other, Scope::source("s"))];
        let mut reservation = reserver.reserve().unwrap();
        let keys: Vec<String> = (0..20).map(|i| format!("key {i}")).collect();
        for key in &keys {
            reserver.event(("s", "e")).unique(&**key).post(key).unwrap();
        }
        thread::scope(|scope| {
            let pollings = [scope.spawn(|| poll(&reader)), scope.spawn(|| poll(&other))];
            await_waiting(&bus, &reader, 1);
            await_waiting(&bus, &other, 1);
            reservation.commit(("s", "reserved"), b"").unwrap();
            let delivered: u64 = pollings.map(|polling| polling.join().unwrap().0).iter().sum();
            assert_eq!(delivered, 2 + 20);
        });
        let mut ran: Vec<u64> = logs.iter().flat_map(|log| log.ids()).filter(|id| *id > 0).collect();
        ran.sort_unstable();
        assert_eq!(ran, (1..=20).collect::<Vec<_>>());
    }

    fn g2_commits_and_voids_that_race_have_one_fate_for_all() {
        const RESERVATIONS: u64 = 200;
        const READERS: usize = 3;
        let (_name, bus) = bus(&small().capacity(1024));
        let seen = shared_words(READERS * RESERVATIONS as usize * 2);
        let ready = shared_words(1);
        let reserver = bus.join_with(&quiet()).unwrap();
        let children: Vec<Child> = (0..READERS).map(|reader| {
            let bus = &bus;
            Child::fork(move || {
                let options = quiet().wait_interval(Duration::from_micros(100)).wait_max(Duration::from_micros(300));
                let worker = bus.join_with(&options).unwrap();
                let log = Log::of(&worker, Scope::source("s"));
                ready[0].fetch_add(1, Relaxed);
                while !log.events().iter().any(|event| event == "end") {
                    worker.wait(MS * 50).unwrap();
                    assert_eq!(poll(&worker).1, 0);
                }
                for id in log.ids() {
                    seen[reader * RESERVATIONS as usize * 2 + id as usize].fetch_add(1, Relaxed);
                }
            })
        }).collect();
        eventually("all read", || ready[0].load(Relaxed) == READERS as u64);
        let mut committed = Vec::new();
        let mut random = fastrand::Rng::with_seed(12345);
        let voided = || bus.stats().unwrap().workers.iter().map(|worker| worker.voided).sum::<u64>();
        for round in 0..RESERVATIONS {
            let before = voided();
            let mut reservation = reserver.reserve().unwrap();
            match round % 4 {
                0 => {}
                1 => eventually("a reader gives it up", || voided() > before),
                _ => thread::sleep(Duration::from_micros(random.u64(..256))),
            }
            match reservation.commit(("s", "e"), b"") {
                Ok(id) => committed.push(id),
                Err(error) if matches!(error.cause(), Cause::TooLate { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let end = reserver.post(("s", "end"), b"").unwrap();
        assert_eq!(end, RESERVATIONS);
        assert!(children.into_iter().all(Child::ended_well));
        for reader in 0..READERS {
            let of_reader = &seen[reader * RESERVATIONS as usize * 2..][..RESERVATIONS as usize];
            let delivered: Vec<u64> = (0..).zip(of_reader).filter(|(_, times)| times.load(Relaxed) > 0)
                .map(|(id, _)| id).collect();
            assert_eq!(delivered, committed, "reader {reader} saw another history than the reserver");
        }
        assert!(!committed.is_empty() && committed.len() < RESERVATIONS as usize, "{} committed", committed.len());
    }
}
