//! Leaving: a worker releases everything, regardless of the owners of its clones.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use seqcast::{Bus, Cause, Event, Scope, Worker};
use seqcast_testkit::{Log, alone, assert_error, bus, counts, poll, quiet, small};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A worker owned by everything that it owns.
fn entangled(bus: &Bus) -> Worker {
    let worker = bus.join_with(&quiet()).unwrap();
    let (handler, value, reporter) = (worker.clone(), worker.clone(), worker.clone());
    worker.on(Scope::All, move |_: &Event<'_>| drop(handler.clone())).unwrap();
    worker.post(("s", "e"), b"").unwrap();
    assert_eq!(poll(&worker), (1, 0), "the test needs a route to the handler");
    worker.reconfigure(move |options| options.on_report(move |_| drop(reporter.clone()))).unwrap();
    worker.post_local(("s", "e"), Mutex::new(value)).unwrap();
    worker
}

/// Calls something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

alone! {
    fn g7_a_worker_that_leaves_keeps_no_seat_and_no_descriptor_whatever_owns_a_clone_of_it() {
        let (_name, bus) = bus(&small().seats(2));
        let before = descriptors();
        for round in 0..8 {
            let worker = entangled(&bus);
            worker.leave().unwrap();
            assert!(bus.stats().unwrap().workers.is_empty(), "round {round}");
            assert_eq!(descriptors(), before, "round {round}: the memory of the worker is still there");
        }
        let kept = entangled(&bus);
        kept.clone().leave().unwrap();
        let (first, second) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        assert_eq!((first.seat(), second.seat()), (0, 1), "a clone that is kept keeps the seat");
        assert!(bus.audit().unwrap().is_clean());
    }

    fn g7_a_worker_that_leaves_in_a_handler_gives_up_all_at_the_end_of_the_poll() {
        let (_name, bus) = bus(&small().seats(1));
        let kept = entangled(&bus);
        let log = Log::of(&kept, Scope::All);
        let leaving = kept.clone();
        kept.on(Scope::events("s", ["leave"]), move |_: &Event<'_>| leaving.clone().leave()).unwrap();
        poll(&kept);
        assert_eq!(log.drain().len(), 1);
        kept.post(("s", "leave"), b"").unwrap();
        kept.post(("s", "after"), b"").unwrap();
        assert_eq!(poll(&kept), (1, 0));
        assert_eq!(log.events(), ["leave"], "a worker that has left delivers nothing more");
        assert_error!(kept.poll(), Cause::Left);
        assert_eq!(bus.join_with(&quiet()).unwrap().seat(), 0);
    }

    fn g7_a_worker_that_leaves_while_another_thread_polls_keeps_its_seat_until_the_poll_is_over() {
        let (_name, bus) = bus(&small().seats(1));
        let worker = entangled(&bus);
        poll(&worker);
        let (entered, entries) = mpsc::channel();
        let (go_on, stay) = mpsc::channel::<()>();
        let stay = Mutex::new(stay);
        worker
            .on(Scope::events("s", ["slow"]), move |_: &Event<'_>| {
                entered.send(()).unwrap();
                stay.lock().unwrap().recv().unwrap();
            })
            .unwrap();
        worker.post(("s", "slow"), b"").unwrap();
        let polling = worker.clone();
        let poller = thread::spawn(move || poll(&polling));
        entries.recv().unwrap();
        worker.clone().leave().unwrap();
        assert_error!(worker.post(("s", "e"), b""), Cause::Left);
        assert_error!(bus.join_with(&quiet()), Cause::NoSeat { .. }, "a call is still running");
        go_on.send(()).unwrap();
        assert_eq!(poller.join().unwrap(), (1, 0));
        assert_eq!(bus.join_with(&quiet()).unwrap().seat(), 0);
        drop(worker);
    }

    fn g7_a_worker_that_has_left_changes_nothing_of_its_successor() {
        let (_name, bus) = bus(&small().seats(1));
        let left = bus.join_with(&quiet().label("left")).unwrap();
        let mut reservation = left.reserve().unwrap();
        left.clone().leave().unwrap();
        let successor = bus.join_with(&quiet().label("successor")).unwrap();
        assert_eq!(left.seat(), successor.seat());
        let cursor = left.cursor();
        for _ in 0..3 {
            successor.post(("s", "e"), b"").unwrap();
            poll(&successor);
        }
        let before = counts(&bus, &successor);
        assert_error!(left.post(("s", "e"), b""), Cause::Left);
        assert_error!(left.reserve(), Cause::Left);
        assert_error!(reservation.commit(("s", "e"), b""), Cause::Left);
        assert_error!(left.claim("key", Duration::from_secs(1)), Cause::Left);
        assert_error!(left.post_local(("s", "e"), ()), Cause::Left);
        assert_error!(left.reconfigure(|options| options.label("again")), Cause::Left);
        assert_error!(left.on(Scope::All, |_: &Event<'_>| ()), Cause::Left);
        assert_error!(left.poll(), Cause::Left);
        assert_error!(left.wait(Duration::from_secs(60)), Cause::Left);
        assert_error!(left.clone().leave(), Cause::Left);
        assert_eq!(left.cursor(), cursor, "the successor's");
        drop((reservation, left));
        let mut after = counts(&bus, &successor);
        // The age of its last poll grows by itself.
        after.last_poll = before.last_poll;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
        assert!(bus.join_with(&quiet()).is_err(), "the successor's lock is gone");
    }

    fn g7_what_handlers_own_may_do_anything_when_their_worker_leaves() {
        let (_name, bus) = bus(&small().seats(2));
        let dropped = Arc::new(AtomicU64::new(0));
        let worker = bus.join_with(&quiet()).unwrap();
        let registered = worker.on(Scope::All, |_: &Event<'_>| ()).unwrap();
        for _ in 0..3 {
            let (inside, bus, dropped) = (worker.clone(), bus.clone(), Arc::clone(&dropped));
            let busy = OnDrop(move || {
                assert_error!(inside.post(("s", "e"), b""), Cause::Left);
                assert_error!(inside.poll(), Cause::Left);
                assert_error!(inside.clone().leave(), Cause::Left);
                assert_error!(inside.on(Scope::All, |_: &Event<'_>| ()), Cause::Left);
                assert!(!inside.unregister(registered));
                let next = bus.join_with(&quiet()).unwrap();
                next.post(("s", "e"), b"").unwrap();
                dropped.fetch_add(1, Relaxed);
            });
            worker
                .on(Scope::source("s"), move |_: &Event<'_>| {
                    let _ = &busy;
                })
                .unwrap();
        }
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        worker.leave().unwrap();
        assert_eq!(dropped.load(Relaxed), 3);
        assert!(bus.stats().unwrap().workers.is_empty());
    }

    fn g7_many_threads_inside_calls_while_their_worker_leaves_use_no_seat_of_anothers() {
        for round in 0..50 {
            let (_name, bus) = bus(&small().seats(2));
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| ()).unwrap();
            let threads: Vec<_> = (0..3)
                .map(|kind| {
                    let worker = worker.clone();
                    thread::spawn(move || loop {
                        let ended = match kind {
                            0 => worker.post(("s", "e"), b"").map(drop),
                            1 => worker.claim("key", Duration::from_nanos(1)).map(drop),
                            _ => worker.poll().map(drop),
                        };
                        match ended {
                            Ok(()) => {}
                            Err(error) if matches!(error.cause(), Cause::Left) => return,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            worker.clone().leave().unwrap();
            // Another worker has the seat while the threads find out.
            let mut successor = None;
            while successor.is_none() {
                successor = bus.join_with(&quiet()).ok();
            }
            for _ in 0..100 {
                successor.as_ref().unwrap().post(("s", "next"), b"").unwrap();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(bus.audit().unwrap().is_clean(), "round {round}");
            drop(successor);
            assert!(bus.stats().unwrap().workers.is_empty(), "round {round}: the seat was never given up");
        }
    }

    fn a_weak_handle_keeps_no_worker() {
        let (_name, bus) = bus(&small().seats(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let (weak, log) = (worker.downgrade(), Log::default());
        let (inside, noted) = (weak.clone(), log.clone());
        worker
            .on(Scope::events("s", ["ping"]), move |event: &Event<'_>| {
                noted.note(event);
                inside.upgrade().map_or(Ok(0), |worker| worker.post(("s", "pong"), b"")).map(drop)
            })
            .unwrap();
        worker.on(Scope::events("s", ["pong"]), log.noting()).unwrap();
        worker.post(("s", "ping"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["ping", "pong"]);
        assert_eq!(weak.upgrade().unwrap().seat(), worker.seat());
        assert_eq!(format!("{weak:?}"), "WeakWorker { alive: true }");
        drop(worker);
        assert!(weak.upgrade().is_none());
        assert_eq!(format!("{weak:?}"), "WeakWorker { alive: false }");
        let again = bus.join_with(&quiet()).unwrap();
        let weak = again.downgrade();
        again.clone().leave().unwrap();
        assert_error!(weak.upgrade().unwrap().post(("s", "e"), b""), Cause::Left);
    }
}
