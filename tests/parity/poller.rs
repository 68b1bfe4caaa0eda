//! The background poller: only on request, at once after a post, and gone when it is stopped.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use seqcast::{Cause, Event, Polled, Poller, Scope};

use seqcast_testkit::{
    Child, HOUR, Log, alone, assert_error, bus, counts, deliver_one_by_one, error, eventually, in_child, listener,
    poll, quiet, sleepers, small, threads,
};

alone! {
    fn no_thread_is_started_but_by_a_poller() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            assert_eq!(threads(), 1);
            let (worker, log) = listener(&bus, &quiet());
            worker.post(("s", "e"), b"").unwrap();
            worker.wait(HOUR).unwrap();
            poll(&worker);
            worker.reconfigure(|options| options.interval(Duration::from_millis(1))).unwrap();
            drop(worker.reserve().unwrap());
            drop(worker.publisher().unwrap());
            bus.stats().unwrap();
            assert_eq!(threads(), 1);
            let poller = worker.start_poller().unwrap();
            assert_eq!(threads(), 2);
            assert!(poller.is_running());
            poller.stop().unwrap();
            eventually("its thread is gone", || threads() == 1);
            drop(worker.start_poller().unwrap());
            eventually("its thread is gone", || threads() == 1);
            assert_eq!(log.len(), 1);
        });
    }

    fn a_poller_delivers_at_once_whatever_its_interval() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet().interval(HOUR));
        let poller = worker.start_poller().unwrap();
        for posted in 1..=20 {
            // From another process, so that only the segment can have woken it.
            in_child(|| {
                bus.join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
            });
            eventually("it is delivered", || log.len() == posted);
        }
        worker.post_local(("s", "local"), ()).unwrap();
        eventually("a local event is delivered", || log.len() == 21);
        poller.stop().unwrap();
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0), "another thread still polls");
    }

    fn a_sleeping_poller_is_woken_by_a_call() {
        let (_name, bus) = bus(&small());
        let (worker, _log) = listener(&bus, &quiet().interval(HOUR));
        let sender = bus.join_with(&quiet()).unwrap();
        let poller = worker.start_poller().unwrap();
        // It may be awake when we post; then it needs no wake call.
        eventually("a post woke it", || {
            std::thread::sleep(Duration::from_millis(2));
            sender.post(("s", "e"), b"").unwrap();
            counts(&bus, &sender).wakes > 0 && counts(&bus, &worker).wakeups > 0
        });
        poller.stop().unwrap();
    }

    fn a_poller_without_an_interval_is_refused() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(Duration::ZERO)).unwrap();
        let refusal = error(worker.start_poller());
        assert!(matches!(refusal.cause(), Cause::Option { option: "interval", .. }), "{refusal:?}");
        assert_eq!(poll(&worker), (0, 0));
    }

    fn a_poller_ends_when_the_interval_is_taken_away() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
        let poller = worker.start_poller().unwrap();
        worker.reconfigure(|options| options.interval(Duration::ZERO)).unwrap();
        eventually("it has ended", || !poller.is_running());
        poller.stop().unwrap();
        worker.reconfigure(|options| options.interval(HOUR)).unwrap();
        worker.start_poller().unwrap().stop().unwrap();
    }

    fn a_poller_dropped_by_a_handler_that_it_runs_itself_ends_after_it() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
            let slot: Arc<Mutex<Option<Poller>>> = Arc::default();
            let inside = Arc::clone(&slot);
            let log = Log::default();
            let noting = log.clone();
            worker.on(Scope::All, move |event: &Event<'_>| {
                drop(inside.lock().unwrap().take());
                noting.note(event);
            }).unwrap();
            *slot.lock().unwrap() = Some(worker.start_poller().unwrap());
            worker.post(("s", "e"), b"").unwrap();
            eventually("the handler has run", || log.len() == 1);
            eventually("its thread is gone", || threads() == 1);
            worker.post(("s", "e"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
        });
    }

    fn a_poller_ends_when_the_worker_leaves_and_says_so() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
        let poller = worker.start_poller().unwrap();
        worker.leave().unwrap();
        eventually("it has ended", || !poller.is_running());
        assert_error!(poller.stop(), Cause::Left);
    }

    fn a_poller_survives_handlers_that_panic() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(HOUR).on_report(|_| ())).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| -> () { panic!("again") }).unwrap();
        let log = Log::of(&worker, Scope::All);
        let poller = worker.start_poller().unwrap();
        deliver_one_by_one(&worker, &log, 3);
        assert!(poller.is_running());
        poller.stop().unwrap();
    }

    fn g11_a_poller_sleeps_while_another_thread_is_in_a_handler() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let (begin, begun) = mpsc::channel();
    worker
        .on(Scope::All, move |_: &Event<'_>| {
            begin.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        })
        .unwrap();
        worker.post(("s", "1"), b"").unwrap();
        std::thread::scope(|scope| {
            let polling = scope.spawn(|| poll(&worker));
            begun.recv().unwrap();
            assert_eq!(worker.poll().unwrap(), Polled::Busy);
            worker.post(("s", "2"), b"").unwrap();
            let poller = worker.start_poller().unwrap();
            // While it spins it never does.
            eventually("the poller sleeps", || sleepers("seqcast-poller") == 1);
            release.send(()).unwrap();
            release.send(()).unwrap();
            assert_eq!(polling.join().unwrap(), (2, 0));
            worker.post(("s", "3"), b"").unwrap();
            release.send(()).unwrap();
            eventually("the poller continues", || worker.cursor() == 3);
            poller.stop().unwrap();
        });
    }

    fn polling_by_hand_beside_a_poller_delivers_everything_once() {
        let (_name, bus) = bus(&small().capacity(4096));
        let (worker, log) = listener(&bus, &quiet().interval(HOUR));
        let poller = worker.start_poller().unwrap();
        for _ in 0..1000 {
            worker.post(("s", "e"), b"").unwrap();
            let _ = worker.poll().unwrap();
        }
        eventually("all are delivered", || log.len() >= 1000);
        poller.stop().unwrap();
        assert_eq!(log.ids(), (0..1000).collect::<Vec<_>>());
    }

    fn pollers_of_two_processes_answer_each_other() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
        let log = Log::of(&worker, Scope::events("s", ["pong"]));
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet().interval(HOUR)).unwrap();
            let (answering, done) = (worker.clone(), Arc::new(Mutex::new(0)));
            let counting = Arc::clone(&done);
            worker.on(Scope::events("s", ["ping"]), move |event: &Event<'_>| {
                *counting.lock().unwrap() += 1;
                answering.post(("s", "pong"), event.bytes()).map(drop)
            }).unwrap();
            let poller = worker.start_poller().unwrap();
            worker.post(("s", "pong"), b"ready").unwrap();
            eventually("fifty pings", || *done.lock().unwrap() == 50);
            poller.stop().unwrap();
        });
        let poller = worker.start_poller().unwrap();
        eventually("the other is ready", || log.len() == 1);
        for i in 0..50_usize {
            worker.post(("s", "ping"), i.to_string()).unwrap();
            eventually("it is answered", || log.len() == i + 2);
        }
        poller.stop().unwrap();
        assert!(child.ended_well());
        assert_eq!(log.texts()[1..], (0..50).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
