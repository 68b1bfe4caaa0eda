//! Handlers: their order, registering and unregistering, and what they may do.

use std::sync::{Arc, Mutex};

use seqcast::{Cause, Event, Polled, Registration, Scope, Worker};

use seqcast_testkit::{Log, Reports, alone, assert_error, bus, listener, poll, quiet, small};

/// A handler that records its own name.
fn naming(name: &str, called: &Arc<Mutex<Vec<String>>>) -> impl Fn(&Event<'_>) + Send + Sync + use<> {
    let (name, called) = (name.to_owned(), Arc::clone(called));
    move |_| called.lock().unwrap().push(name.clone())
}

fn drain(called: &Arc<Mutex<Vec<String>>>) -> Vec<String> {
    std::mem::take(&mut called.lock().unwrap())
}

seqcast::event_list! {
    mod health = "health" {
        DOWN = "down",
        UP = "up",
    }
}

alone! {
    fn handlers_of_all_come_first_then_of_the_source_then_of_the_event() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let called = Arc::default();
        worker.on(Scope::events("s", ["e"]), naming("event 1", &called)).unwrap();
        worker.on(Scope::source("s"), naming("source 1", &called)).unwrap();
        worker.on(Scope::All, naming("all 1", &called)).unwrap();
        worker.on(Scope::events("s", ["other", "e"]), naming("event 2", &called)).unwrap();
        worker.on(Scope::All, naming("all 2", &called)).unwrap();
        worker.on(Scope::source("s"), naming("source 2", &called)).unwrap();
        worker.on(Scope::source("other"), naming("other source", &called)).unwrap();
        worker.on(Scope::events("other", ["e"]), naming("event of another source", &called)).unwrap();
        let expected = ["all 1", "all 2", "source 1", "source 2", "event 1", "event 2"];
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert_eq!(drain(&called), expected);
        worker.post_local(("s", "e"), ()).unwrap();
        poll(&worker);
        assert_eq!(drain(&called), expected);
    }

    fn a_handler_gets_only_what_is_in_its_scope() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let called = Arc::default();
        worker.on(Scope::events("ab", ["c"]), naming("ab/c", &called)).unwrap();
        worker.on(Scope::events("a", ["bc"]), naming("a/bc", &called)).unwrap();
        worker.on(Scope::source("a"), naming("a", &called)).unwrap();
        for (source, event, expected) in
            [("ab", "c", &["ab/c"][..]), ("a", "bc", &["a", "a/bc"]), ("a", "c", &["a"]), ("abc", "x", &[])]
        {
            worker.post((source, event), b"").unwrap();
            worker.post_local((source, event), ()).unwrap();
            poll(&worker);
            assert_eq!(drain(&called), [expected, expected].concat(), "{source}/{event}");
        }
    }

    fn an_event_named_twice_in_a_scope_calls_once() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::events("s", ["e", "e"]));
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert_eq!(log.len(), 1);
    }

    fn registration_order_is_kept_after_unregistering() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        for scope in [Scope::All, Scope::source("s"), Scope::events("s", ["e"])] {
            let called = Arc::default();
            let registered: Vec<Registration> = ["1", "2", "3", "4", "5"]
                .map(|name| worker.on(scope.clone(), naming(name, &called)).unwrap())
                .to_vec();
            assert!(worker.unregister(registered[1]));
            worker.on(scope.clone(), naming("6", &called)).unwrap();
            worker.post(("s", "e"), b"").unwrap();
            poll(&worker);
            assert_eq!(drain(&called), ["1", "3", "4", "5", "6"], "{scope:?}");
        }
    }

    fn unregister_by_its_registration_is_true_once() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let registration = worker.on(Scope::All, log.noting()).unwrap();
        let other = worker.on(Scope::All, log.noting()).unwrap();
        assert_ne!(registration, other);
        assert!(worker.unregister(registration));
        assert!(!worker.unregister(registration));
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert_eq!(log.len(), 1);
    }

    fn unregister_by_the_same_arguments() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let handler = Arc::new(log.noting());
        let twin = Arc::new(log.noting());
        let scope = || Scope::events("s", ["e"]);
        worker.register(scope(), &handler).unwrap();
        worker.register(scope(), &handler).unwrap();
        worker.register_weak(scope(), &handler).unwrap();
        worker.register(Scope::source("s"), &handler).unwrap();
        worker.register(scope(), &twin).unwrap();
        assert!(!worker.unregister_same(Scope::All, &handler), "it was never registered for all");
        assert!(worker.unregister_same(scope(), &handler));
        assert!(!worker.unregister_same(scope(), &handler));
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert_eq!(log.len(), 2, "the source's and the twin's are left");
    }

    fn g5_a_registration_of_another_worker_removes_no_handler() {
        let (_name, bus) = bus(&small());
        let (mine, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let log = Log::default();
        let kept = mine.on(Scope::All, log.noting()).unwrap();
        let theirs = other.on(Scope::All, |_: &Event<'_>| ()).unwrap();
        assert_ne!(kept, theirs, "both are the first of their worker");
        assert!(!mine.unregister(theirs), "it is another worker's");
        mine.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&mine), (1, 0));
        assert_eq!(log.len(), 1, "a stranger's registration removed the handler");
        drop(other);
        // Nor does it belong to a worker that takes the same seat later.
        let successor = bus.join_with(&quiet()).unwrap();
        successor.on(Scope::All, |_: &Event<'_>| ()).unwrap();
        assert!(!successor.unregister(theirs));
        assert!(mine.unregister(kept));
    }

    fn a_scope_is_the_same_in_whatever_order_and_however_often_its_events_are_named() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let handler = Arc::new(log.noting());
        let spellings = [&["a", "b"][..], &["b", "a"], &["b", "a", "b"]];
        for registered in spellings {
            for asked in spellings {
                worker.register(Scope::events("s", registered.iter().copied()), &handler).unwrap();
                for other in [&["a"][..], &["a", "b", "c"]] {
                    assert!(!worker.unregister_same(Scope::events("s", other.iter().copied()), &handler), "{other:?}");
                }
                let asked_for = Scope::events("s", asked.iter().copied());
                assert!(worker.unregister_same(asked_for, &handler), "{registered:?} by {asked:?}");
                worker.post(("s", "a"), b"").unwrap();
                poll(&worker);
                assert_eq!(log.len(), 0, "{registered:?} by {asked:?}");
            }
        }
    }

    fn a_weak_handler_is_gone_with_its_owner() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let owned = Arc::new(log.noting());
        worker.register_weak(Scope::source("s"), &owned).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.len(), 1);
        assert_eq!(Arc::strong_count(&owned), 1, "the worker keeps it alive");
        drop(owned);
        worker.post(("s", "e"), b"").unwrap();
        worker.post_local(("s", "e"), ()).unwrap();
        poll(&worker);
        assert_eq!(log.len(), 1);
    }

    fn a_strong_handler_is_dropped_when_it_is_unregistered() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let handler = Arc::new(|_: &Event<'_>| ());
        let registration = worker.register(Scope::All, &handler).unwrap();
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert!(worker.unregister(registration));
        // State of the poll that refers to it disappears with the next event.
        worker.post(("s", "e"), b"").unwrap();
        poll(&worker);
        assert_eq!(Arc::strong_count(&handler), 1);
    }

    fn a_handler_that_fails_or_panics_does_not_keep_the_others_from_running() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let called = Arc::default();
        worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>("no luck")).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| -> () { panic!("all is lost") }).unwrap();
        worker.on(Scope::source("s"), naming("after", &called)).unwrap();
        worker.post(("s", "e 1"), b"").unwrap();
        worker.post_local(("s", "e 2"), ()).unwrap();
        worker.post(("s", "e 3"), b"").unwrap();
        assert_eq!(poll(&worker), (3, 0));
        assert_eq!(drain(&called), ["after"; 3]);
        assert_eq!(reports.texts().len(), 6);
    }

    fn what_a_handler_posts_comes_in_the_same_poll_after_what_is_there_local_first() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let poster = worker.clone();
        worker.on(Scope::events("s", ["first"]), move |_: &Event<'_>| {
            poster.post(("s", "posted by it"), b"").unwrap();
            poster.post_local(("s", "local by it"), ()).unwrap();
        }).unwrap();
        worker.post(("s", "first"), b"").unwrap();
        worker.post(("s", "second"), b"").unwrap();
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(log.events(), ["first", "second", "local by it", "posted by it"]);
    }

    fn a_handler_of_a_local_event_may_post_too() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let poster = worker.clone();
        worker.on(Scope::events("s", ["local"]), move |_: &Event<'_>| {
            poster.post(("s", "posted"), b"").map(drop)
        }).unwrap();
        worker.post_local(("s", "local"), ()).unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["local", "posted"]);
    }

    fn poll_inside_a_handler_is_recursive_and_does_nothing() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let (inside, answers) = (worker.clone(), Arc::new(Mutex::new(Vec::new())));
        let (seen, noted) = (log.clone(), Arc::clone(&answers));
        worker.on(Scope::All, move |_: &Event<'_>| {
            let before = seen.len();
            let answer = inside.poll().unwrap();
            noted.lock().unwrap().push((answer, seen.len() - before));
        }).unwrap();
        worker.post(("s", "1"), b"").unwrap();
        worker.post(("s", "2"), b"").unwrap();
        worker.post_local(("s", "3"), ()).unwrap();
        assert_eq!(poll(&worker), (3, 0));
        assert_eq!(*answers.lock().unwrap(), [(Polled::Recursive, 0); 3]);
        assert_eq!(log.events(), ["3", "1", "2"]);
    }

    fn poll_while_another_thread_polls_is_busy_and_does_nothing() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let (elsewhere, answers) = (worker.clone(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&answers);
        worker.on(Scope::All, move |_: &Event<'_>| {
            let answer = std::thread::scope(|scope| scope.spawn(|| elsewhere.poll().unwrap()).join().unwrap());
            noted.lock().unwrap().push(answer);
        }).unwrap();
        worker.post(("s", "1"), b"").unwrap();
        worker.post(("s", "2"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(*answers.lock().unwrap(), [Polled::Busy; 2]);
        assert_eq!(log.events(), ["1", "2"]);
    }

    fn polling_goes_on_after_a_report_that_panics() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().on_report(|_| panic!("in the reporter"))).unwrap();
        let failing = worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>("no")).unwrap();
        let log = Log::of(&worker, Scope::events("s", ["2"]));
        worker.post(("s", "1"), b"").unwrap();
        worker.post(("s", "2"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["2"]);
        assert!(worker.unregister(failing));
        worker.post(("s", "2"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0), "neither recursive nor the same event again");
    }

    fn a_handler_may_unregister_itself_and_others() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let called: Arc<Mutex<Vec<String>>> = Arc::default();
        let registrations: Arc<Mutex<Vec<Registration>>> = Arc::default();
        let (inside, theirs, itself) = (worker.clone(), Arc::clone(&registrations), Arc::clone(&called));
        let first = worker.on(Scope::All, move |_: &Event<'_>| {
            itself.lock().unwrap().push("first".to_owned());
            assert!(theirs.lock().unwrap().drain(..).all(|registration| inside.unregister(registration)));
        }).unwrap();
        let second = worker.on(Scope::All, naming("second", &called)).unwrap();
        worker.on(Scope::All, naming("third", &called)).unwrap();
        registrations.lock().unwrap().extend([first, second]);
        worker.post(("s", "e"), b"").unwrap();
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(drain(&called), ["first", "third", "third"], "the second was unregistered before its turn");
    }

    fn a_handler_may_register_others_for_the_events_after() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::default();
        let (inside, noting) = (worker.clone(), log.clone());
        worker.on(Scope::events("s", ["1"]), move |_: &Event<'_>| {
            inside.on(Scope::All, noting.noting()).unwrap();
        }).unwrap();
        for event in ["1", "2", "3"] {
            worker.post(("s", event), b"").unwrap();
        }
        poll(&worker);
        assert_eq!(log.events(), ["2", "3"]);
    }

    fn a_handler_may_leave_the_bus() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let leaving = worker.clone();
        worker.on(Scope::events("s", ["stop"]), move |_: &Event<'_>| leaving.clone().leave()).unwrap();
        worker.post(("s", "stop"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_error!(worker.poll(), Cause::Left);
    }

    fn a_handler_may_own_the_last_of_its_worker() {
        let (_name, bus) = bus(&small().seats(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let slot: Arc<Mutex<Option<Worker>>> = Arc::default();
        let inside = Arc::clone(&slot);
        worker.on(Scope::All, move |_: &Event<'_>| drop(inside.lock().unwrap().take())).unwrap();
        let polling = worker.clone();
        *slot.lock().unwrap() = Some(worker);
        polling.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&polling), (1, 0));
        drop(polling);
        drop(bus.join_with(&quiet()).unwrap());
    }

    fn an_event_list_names_events_that_are_posted_and_handled() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, health::DOWN);
        worker.post(health::UP, b"").unwrap();
        worker.post(health::DOWN, b"10.0.0.1").unwrap();
        poll(&worker);
        assert_eq!(log.texts(), ["10.0.0.1"]);
        assert_eq!((log.seen()[0].source.as_str(), log.seen()[0].event.as_str()), (health::SOURCE, "down"));
        assert_eq!(health::ALL, [health::DOWN, health::UP]);
    }

    fn handlers_may_be_registered_while_another_thread_polls() {
        let (_name, bus) = bus(&small().capacity(4096));
        let (worker, log) = listener(&bus, &quiet());
        std::thread::scope(|scope| {
            let changing = scope.spawn(|| {
                for _ in 0..300 {
                    let registration = worker.on(Scope::source("s"), |_: &Event<'_>| ()).unwrap();
                    worker.post(("s", "e"), b"").unwrap();
                    assert!(worker.unregister(registration));
                }
            });
            while !changing.is_finished() {
                poll(&worker);
            }
        });
        poll(&worker);
        assert_eq!(log.ids(), (0..300).collect::<Vec<_>>());
    }
}
