//! The calls of workers, and where workers start to read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::library;
use seqcast::{Cause, Event, Polled, Scope, Start, WorkerOptions};

use seqcast_testkit::{
    Child, HOUR, Log, alone, assert_error, bus, error, eventually, in_child, listener, poll, quiet, shared_words, small,
};

alone! {
    fn post_reaches_every_worker_and_the_sender_too() {
        let (_name, bus) = bus(&small());
        let sender = bus.join_with(&quiet()).unwrap();
        let other = bus.join_with(&quiet()).unwrap();
        let logs = [Log::of(&sender, Scope::All), Log::of(&other, Scope::All)];
        let id = sender.post(("cache", "stale"), b"user:42").unwrap();
        for (worker, log) in [&sender, &other].into_iter().zip(logs) {
            assert_eq!(poll(worker), (1, 0));
            let seen = &log.seen()[0];
            assert_eq!((&*seen.source, &*seen.event, &*seen.bytes), ("cache", "stale", &b"user:42"[..]));
            assert_eq!((seen.id, seen.pid), (Some(id), Some(std::process::id())));
        }
    }

    fn post_is_asynchronous_no_handler_runs_inside_it() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        worker.post(("s", "posted"), b"").unwrap();
        worker.post_local(("s", "local"), ()).unwrap();
        assert_eq!(log.len(), 0);
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.len(), 2);
    }

    fn an_empty_source_or_event_is_an_error_everywhere() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut poster = bus.publisher().unwrap();
        for (source, event, part) in [("", "e", "source"), ("s", "", "event")] {
            let errors = [
                error(worker.post((source, event), b"x")),
                error(worker.post_local((source, event), 1)),
                error(worker.event((source, event)).unique("key").post(b"x")),
                error(poster.post((source, event), b"x")),
                error(worker.on(Scope::events(source, [event]), |_: &Event<'_>| ())),
            ];
            for error in errors {
                let right = matches!(*error.cause(), Cause::Topic { part: found, len: 0, max: 255 } if found == part);
                assert!(right, "{error:?}");
            }
        }
        assert_error!(worker.on(Scope::source(""), |_: &Event<'_>| ()), Cause::Topic { part: "source", .. });
        let none = Scope::events("s", [""; 0]);
        assert_error!(worker.on(none, |_: &Event<'_>| ()), Cause::Topic { part: "event", len: 0, .. });
        assert_eq!(bus.next_id(), 0);
        assert_eq!(poll(&worker), (0, 0));
    }

    fn events_of_another_process_carry_its_pid() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("s"));
        let senders = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&senders);
        worker.on(Scope::source("s"), move |event: &Event<'_>| {
            note.lock().unwrap().push((event.seat(), event.is_own()));
        }).unwrap();
        let child = Child::fork(|| {
            bus.join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
        });
        let pid = child.pid();
        assert!(child.ended_well());
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        let pids: Vec<_> = log.seen().iter().map(|seen| seen.pid.unwrap()).collect();
        assert_eq!(pids, [pid, std::process::id()]);
        assert_eq!(*senders.lock().unwrap(), [(Some(1), false), (Some(0), true)]);
    }

    fn post_local_stays_in_the_worker_with_its_data_as_it_is_and_no_pid() {
        struct Connection(#[expect(dead_code)] std::sync::Mutex<i32>);

        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (other, elsewhere) = listener(&bus, &quiet());
        let data = std::sync::Arc::new(Connection(7.into()));
        let (seen, expected) = (shared_words(1), data.clone());
        worker.on(Scope::All, move |event: &Event<'_>| {
            let got = event.local::<std::sync::Arc<Connection>>().unwrap();
            let is_it = std::sync::Arc::ptr_eq(got, &expected);
            let local = event.is_local() && event.pid().is_none() && event.id().is_none() && event.seat().is_none();
            seen[0].fetch_add(u64::from(is_it && local), std::sync::atomic::Ordering::Relaxed);
        }).unwrap();
        worker.post_local(("s", "e"), data).unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(seen[0].load(std::sync::atomic::Ordering::Relaxed), 1);
        assert_eq!(bus.next_id(), 0, "it entered the segment");
        assert_eq!(poll(&other), (0, 0));
        assert_eq!(elsewhere.len(), 0);
    }

    fn post_local_shows_the_bytes_of_texts_and_vectors() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        worker.post_local(("s", "e"), b"vector".to_vec()).unwrap();
        worker.post_local(("s", "e"), "string".to_owned()).unwrap();
        worker.post_local(("s", "e"), "static").unwrap();
        worker.post_local(("s", "e"), 42).unwrap();
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(log.texts(), ["vector", "string", "static", ""]);
    }

    fn poll_delivers_local_events_first_and_until_nothing_is_new() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        worker.post(("s", "posted 1"), b"").unwrap();
        worker.post_local(("s", "local 1"), ()).unwrap();
        worker.post(("s", "posted 2"), b"").unwrap();
        worker.post_local(("s", "local 2"), ()).unwrap();
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(log.events(), ["local 1", "local 2", "posted 1", "posted 2"]);
        assert_eq!(poll(&worker), (0, 0));
    }

    fn poll_at_most_stops_there_and_goes_on_from_there() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        for text in ["a", "b", "c"] {
            worker.post(("s", "e"), text).unwrap();
        }
        worker.post_local(("s", "e"), "local").unwrap();
        assert!(matches!(worker.poll_at_most(0).unwrap(), Polled::Done { delivered: 0, .. }));
        assert_eq!(log.len(), 0);
        assert!(matches!(worker.poll_at_most(2).unwrap(), Polled::Done { delivered: 2, .. }));
        assert_eq!(log.texts(), ["local", "a"]);
        assert_eq!(worker.cursor(), 1);
        assert!(matches!(worker.poll_at_most(9).unwrap(), Polled::Done { delivered: 2, .. }));
        assert_eq!(log.texts(), ["local", "a", "b", "c"]);
    }

    fn a_handler_registered_at_once_sees_the_workers_own_started() {
        let (_name, bus) = bus(&small());
        let elder = bus.join_with(&quiet()).unwrap();
        let (elder_log, label) = (Log::of(&elder, Scope::source(library::SOURCE)), "web-1");
        let worker = bus.join_with(&WorkerOptions::new().label(label)).unwrap();
        let log = Log::of(&worker, Scope::events(library::SOURCE, [library::STARTED.event()]));
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(poll(&elder), (1, 0));
        assert_eq!((log.texts(), elder_log.texts()), (vec![label.to_owned()], vec![label.to_owned()]));
        assert_eq!(log.seen()[0].pid, Some(std::process::id()));
    }

    fn stopping_is_posted_on_leave_and_on_the_last_drop_once() {
        let (_name, bus) = bus(&small());
        let watcher = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&watcher, Scope::events(library::SOURCE, [library::STOPPING.event()]));
        let left = bus.join_with(&WorkerOptions::new().label("left")).unwrap();
        let dropped = bus.join_with(&WorkerOptions::new().label("dropped")).unwrap();
        let clone = left.clone();
        left.leave().unwrap();
        drop(clone);
        let clone = dropped.clone();
        drop(dropped);
        poll(&watcher);
        assert_eq!(log.texts(), ["left"]);
        drop(clone);
        poll(&watcher);
        assert_eq!(log.texts(), ["left", "dropped"]);
    }

    fn a_killed_worker_posts_no_stopping() {
        let (_name, bus) = bus(&small());
        let watcher = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&watcher, Scope::source(library::SOURCE));
        let child = Child::fork(|| {
            let _worker = bus.join().unwrap();
            seqcast_testkit::stop_here();
        });
        child.await_stop();
        child.kill();
        poll(&watcher);
        assert_eq!(log.events(), [library::STARTED.event()]);
    }

    fn announce_no_posts_neither_started_nor_stopping() {
        let (_name, bus) = bus(&small());
        drop(bus.join_with(&quiet()).unwrap());
        bus.join_with(&quiet()).unwrap().leave().unwrap();
        assert_eq!(bus.next_id(), 0);
    }

    fn after_leave_every_call_says_so_and_the_seat_is_free_again() {
        let (_name, bus) = bus(&small().seats(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let clone = worker.clone();
        let Ok(seqcast::Claimed::Won(claim)) = worker.claim("key", HOUR) else { panic!("not won") };
        worker.leave().unwrap();
        let results = [
            clone.post(("s", "e"), b"").map(drop),
            clone.post_local(("s", "e"), ()),
            clone.event(("s", "e")).unique("key").post(b"").map(drop),
            clone.poll().map(drop),
            clone.wait(HOUR).map(drop),
            clone.reserve().map(drop),
            clone.publisher().map(drop),
            clone.start_poller().map(drop),
            clone.claim("other", HOUR).map(drop),
            clone.release(&claim).map(drop),
            clone.reconfigure(|options| options),
        ];
        for (i, result) in results.into_iter().enumerate() {
            assert_error!(result, Cause::Left, "call {i}");
        }
        assert_error!(clone.clone().leave(), Cause::Left);
        drop(clone);
        drop(bus.join_with(&quiet()).unwrap());
    }

    fn a_new_worker_starts_at_the_current_id_and_nothing_is_replayed() {
        let (_name, bus) = bus(&small());
        let elder = bus.join_with(&quiet()).unwrap();
        elder.post(("s", "before"), b"").unwrap();
        let (worker, log) = listener(&bus, &quiet());
        elder.post(("s", "after"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["after"]);
    }

    fn a_worker_can_start_at_the_oldest_event_or_at_an_id() {
        let (_name, bus) = bus(&small());
        let elder = bus.join_with(&quiet()).unwrap();
        for i in 0..100_u32 {
            elder.post(("s", "e"), i.to_string()).unwrap();
        }
        let (oldest, log) = listener(&bus, &quiet().start(Start::Oldest));
        assert_eq!(poll(&oldest), (64, 0));
        assert_eq!(log.ids(), (36..100).collect::<Vec<_>>());
        let (at, log) = listener(&bus, &quiet().start(Start::At(98)));
        assert_eq!(poll(&at), (2, 0));
        assert_eq!(log.texts(), ["98", "99"]);
        let next = bus.join_with(&quiet().start(Start::At(100))).unwrap();
        assert_eq!(poll(&next), (0, 0));
        assert_error!(bus.join_with(&quiet().start(Start::At(101))), Cause::NotYet { id: 101, next: 100 });
        let gone = bus.join_with(&quiet().start(Start::At(0))).unwrap();
        assert_eq!(poll(&gone).1, 44, "overwritten events are missed, up to an eighth above the oldest");
    }

    fn wait_ends_for_a_post_of_another_process_and_for_a_local_one() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        assert!(!worker.wait(Duration::from_millis(1)).unwrap(), "there is nothing to poll");
        assert!(!worker.wait(Duration::ZERO).unwrap());
        let child = Child::fork(|| {
            seqcast_testkit::stop_here();
            bus.join_with(&quiet()).unwrap().post(("s", "remote"), b"").unwrap();
        });
        child.await_stop();
        child.go_on();
        assert!(worker.wait(HOUR).unwrap());
        assert_eq!(poll(&worker), (1, 0));
        assert!(child.ended_well());
        worker.post_local(("s", "local"), ()).unwrap();
        assert!(worker.wait(HOUR).unwrap());
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["remote", "local"]);
    }

    fn wait_in_one_thread_ends_for_a_local_post_in_another() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| worker.wait(HOUR).unwrap());
            eventually("it sleeps", || {
                let asleep = |task: std::io::Result<std::fs::DirEntry>| {
                    let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                    stat.contains(") S ")
                };
                std::fs::read_dir("/proc/self/task").unwrap().any(asleep)
            });
            worker.post_local(("s", "local"), ()).unwrap();
            assert!(waiter.join().unwrap());
        });
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["local"]);
    }

    fn wait_ends_when_the_worker_leaves() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| worker.wait(HOUR));
            std::thread::sleep(Duration::from_millis(5));
            worker.clone().leave().unwrap();
            // It returns with nothing to poll, even if it does not sleep yet.
            let waited = waiter.join().unwrap();
            assert!(matches!(waited.as_ref().map_err(|error| error.cause()), Ok(false) | Err(Cause::Left)));
        });
    }

    fn threads_of_a_process_post_each_with_a_seat_of_its_own() {
        let (_name, bus) = bus(&small().capacity(4096));
        let (worker, log) = listener(&bus, &quiet());
        std::thread::scope(|scope| {
            for t in 0..4_u32 {
                let mut poster = worker.publisher().unwrap();
                scope.spawn(move || {
                    for i in 0..500_u32 {
                        poster.post(("s", "e"), format!("{t} {i}")).unwrap();
                    }
                });
            }
        });
        assert_eq!(poll(&worker), (2000, 0));
        assert_eq!(log.ids(), (0..2000).collect::<Vec<_>>());
        for t in 0..4 {
            let prefix = format!("{t} ");
            let of_thread: Vec<_> = log.texts().into_iter().filter(|text| text.starts_with(&prefix)).collect();
            assert_eq!(of_thread, (0..500).map(|i| format!("{t} {i}")).collect::<Vec<_>>());
        }
    }

    fn threads_of_a_process_share_one_worker() {
        let (_name, bus) = bus(&small().capacity(4096));
        let (worker, log) = listener(&bus, &quiet());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        worker.post(("s", "e"), b"").unwrap();
                    }
                });
            }
        });
        assert_eq!(poll(&worker), (2000, 0));
        assert_eq!(log.len(), 2000);
    }

    fn g11_an_idle_poll_and_a_post_to_nobody_asleep_make_no_system_call() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            let mut poster = worker.publisher().unwrap();
            worker.post(("s", "e"), [7; 100]).unwrap();
            poster.post(("s", "e"), [7; 100]).unwrap();
            poll(&worker);
            // SAFETY: from here on any system call except read, write and exit kills this process with SIGKILL.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) }, 0);
            let mut good = true;
            for _ in 0..100 {
                good &= matches!(worker.poll(), Ok(Polled::Done { delivered: 0, missed: 0, .. }));
            }
            // More than a lap, apart from fragmented posts.
            for _ in 0..100 {
                good &= worker.post(("s", "e"), [7; 100]).is_ok() && poster.post(("s", "e"), [7; 100]).is_ok();
            }
            // SAFETY: ends this thread, which is the only one. `_exit` is a different system call.
            unsafe { libc::syscall(libc::SYS_exit, i32::from(!good)) };
        });
    }
}
