//! A poll with a closure as its handler, which borrows.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use seqcast::{Event, Polled, Scope, Worker};
use seqcast_testkit::{HOUR, Log, Reports, alone, bus, counts, listener, poll, quiet, small};

/// Returns the names of the events that a poll passes to the closure.
fn names(worker: &Worker) -> Vec<String> {
    let mut names = Vec::new();
    worker.poll_with(|event| names.push(event.event().to_owned())).unwrap();
    names
}

/// Returns the text of the panic of `call` that reaches its caller.
fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(call)).err().expect("a panic");
    payload.downcast_ref::<&str>().expect("a text").to_string()
}

/// A closure that must not be called.
fn must_not(event: &Event<'_>) {
    panic!("{event:?}");
}

alone! {
    fn g1_every_event_is_visited_after_its_handlers_local_ones_first() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("a"));
        worker.post(("a", "1"), b"").unwrap();
        worker.post(("b", "2"), b"").unwrap();
        worker.post_local(("c", "local"), 7).unwrap();
        let mut visited = Vec::new();
        let polled = worker.poll_with(|event| visited.push((event.event().to_owned(), event.id(), log.len()))).unwrap();
        assert_eq!(
            visited,
            [("local".to_owned(), None, 0), ("1".to_owned(), Some(0), 1), ("2".to_owned(), Some(1), 1)]
        );
        assert_eq!((polled.delivered(), polled.missed()), (3, 0));
        let counts = counts(&bus, &worker);
        assert_eq!((counts.delivered, counts.skipped, counts.failed), (3, 0, 0));
        assert_eq!(worker.position().next(), 2);
        assert!(matches!(worker.poll_with(must_not), Ok(Polled::Done { delivered: 0, .. })));
    }

    fn g9_a_unique_event_is_visited_in_one_worker() {
        let (_name, bus) = bus(&small());
        let workers = [(); 3].map(|()| bus.join_with(&quiet()).unwrap());
        for key in ["a", "b"] {
            workers[0].event(("s", key)).unique(key).ttl(HOUR).post(b"").unwrap();
        }
        let mut claims = Vec::new();
        workers[1].poll_with(|event| claims.push(event.claim().is_some())).unwrap();
        assert_eq!(claims, [true, true]);
        assert!(names(&workers[0]).is_empty() && names(&workers[2]).is_empty());
    }

    fn g4_missed_events_are_counted_and_reported() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        for number in 0..1000 {
            worker.publisher().unwrap().post(("s", "e"), number.to_string()).unwrap();
        }
        let mut visited = 0;
        let polled = worker.poll_with(|_| visited += 1).unwrap();
        assert_eq!((polled.delivered(), polled.delivered() + polled.missed()), (visited, 1000));
        assert_eq!(reports.texts().len(), 1, "{:?}", reports.texts());
    }

    fn errors_are_reported_and_the_next_event_follows() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        worker.post(("s", "1"), b"").unwrap();
        worker.post(("s", "2"), b"").unwrap();
        let mut visited = 0;
        let polled = worker.poll_with(|event| {
            visited += 1;
            if event.event() == "1" { Err("no luck") } else { Ok(()) }
        });
        assert!(matches!(polled, Ok(Polled::Done { delivered: 2, .. })), "{polled:?}");
        assert_eq!((visited, counts(&bus, &worker).failed), (2, 1));
        let texts = reports.texts();
        assert!(texts.len() == 1 && texts[0].starts_with("s/1 (id 0): a handler failed: no luck"), "{texts:?}");
    }

    fn a_panic_goes_on_to_the_caller_and_the_next_poll_goes_on_after_its_event() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let (worker, log) = listener(&bus, &reports.of(quiet()));
        worker.post_local(("s", "local"), ()).unwrap();
        worker.post(("s", "1"), b"").unwrap();
        worker.event(("s", "2")).unique("2").ttl(HOUR).post(b"").unwrap();
        worker.post(("s", "3"), b"").unwrap();
        let mut visited = Vec::new();
        for expected in ["local", "1", "2", "3"] {
            let panic = panic_of(|| {
                worker.poll_with(|event| {
                    visited.push(event.event().to_owned());
                    if true {
                        resume_unwind(Box::new("out of luck"));
                    }
                })
            });
            assert_eq!((panic.as_str(), visited.last().unwrap().as_str()), ("out of luck", expected));
            assert_eq!(log.events(), visited, "it was called on after its panic, or not after the handlers");
        }
        assert_eq!(worker.position().next(), 3, "the event of the last panic would be delivered again");
        assert_eq!(names(&worker), <[&str; 0]>::default());
        assert!(reports.texts().is_empty(), "{:?}", reports.texts());
        let counts = counts(&bus, &worker);
        assert_eq!((counts.delivered, counts.failed, counts.cursor), (4, 4, Some(3)));
        // The worker is as before.
        worker.post(("s", "4"), b"").unwrap();
        assert_eq!(names(&worker), ["4"]);
    }

    fn a_poll_inside_is_recursive_and_one_of_another_thread_is_busy() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.post(("s", "1"), b"").unwrap();
        let mut answers = Vec::new();
        worker.poll_with(|_| {
            answers.push(worker.poll_with(must_not).unwrap());
            answers.push(worker.poll().unwrap());
            let busy = || worker.poll_with(must_not).unwrap();
            answers.push(thread::scope(|scope| scope.spawn(busy).join().unwrap()));
            assert!(!worker.wait(HOUR).unwrap());
            // Events posted inside come in the same poll.
            if worker.cursor() == 1 {
                worker.post(("s", "2"), b"").unwrap();
            }
        })
        .unwrap();
        assert_eq!(answers, [Polled::Recursive, Polled::Recursive, Polled::Busy].repeat(2));
    }

    fn g6_what_is_behind_a_reserved_id_waits_for_a_later_poll() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.post(("s", "before"), b"").unwrap();
        let mut reservation = worker.reserve().unwrap();
        worker.event(("s", "after")).unique("key").ttl(HOUR).post(b"").unwrap();
        let mut visited = Vec::new();
        let polled = worker.poll_with(|event| visited.push(event.event().to_owned())).unwrap();
        assert!(matches!(polled, Polled::Reserved { id: 1, left: None, delivered: 1, .. }), "{polled:?}");
        assert_eq!((visited.as_slice(), worker.position().next()), (&["before".to_owned()][..], 1));
        reservation.commit(("s", "reserved"), b"").unwrap();
        assert_eq!(names(&worker), ["reserved", "after"]);
    }

    fn g9_what_was_claimed_ahead_is_visited_if_the_worker_leaves_inside() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let reservation = worker.reserve().unwrap();
        worker.event(("s", "claimed")).unique("key").ttl(HOUR).post(b"").unwrap();
        worker.post(("s", "left out"), b"").unwrap();
        assert!(names(&worker).is_empty());
        worker.post_local(("s", "local"), ()).unwrap();
        let mut visited = Vec::new();
        worker.poll_with(|event| {
            visited.push(event.event().to_owned());
            if event.is_local() {
                worker.clone().leave().unwrap();
            }
        })
        .unwrap();
        assert_eq!(visited, ["local", "claimed"]);
        assert!(reports.texts().is_empty(), "{:?}", reports.texts());
        drop(reservation);
    }

    fn g9_what_was_claimed_for_a_visit_and_is_polled_without_one_is_reported() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let reservation = worker.reserve().unwrap();
        worker.event(("s", "claimed")).unique("key").ttl(HOUR).post(b"").unwrap();
        assert!(names(&worker).is_empty());
        drop(reservation);
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!((counts(&bus, &worker).orphaned, reports.texts().len()), (1, 1));
        // Its key is free again.
        worker.event(("s", "next")).unique("key").ttl(HOUR).post(b"").unwrap();
        assert_eq!(names(&worker), ["next"]);
    }
}
