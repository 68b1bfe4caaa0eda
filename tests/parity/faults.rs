//! Faults that were seen in lua-resty-worker-events. It fails each of these tests.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::{Cause, Claimed, ErrorKind, Event, Scope, Trouble, Unique};

use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, bus, counts, error, eventually, listener, poll, quiet, shared_words, small,
    stop_here,
};

alone! {
    fn one_post_larger_than_the_ring_deafens_nobody_and_says_what_fits() {
        let (_name, bus) = bus(&small());
        let sender = bus.join_with(&quiet()).unwrap();
        let others = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let logs = [Log::of(&others[0], Scope::All), Log::of(&others[1], Scope::All)];
        let huge = vec![1; 64 * 1024 * 1024];
        let refusal = error(sender.post(("s", "huge"), &huge));
        let Cause::PayloadTooLarge { len, max, .. } = *refusal.cause() else { panic!("{refusal:?}") };
        assert!(len > huge.len() && max == bus.largest_event(), "{len} {max}");
        for i in 0..110_u32 {
            assert_eq!(sender.post(("s", "small"), i.to_string()).unwrap(), u64::from(i), "an id was lost");
            for (worker, log) in others.iter().zip(&logs) {
                assert_eq!(poll(worker), (1, 0));
                assert_eq!(log.drain()[0].bytes, i.to_string().as_bytes());
            }
        }
    }

    fn a_tight_poller_in_another_process_never_waits_for_a_payload() {
        const POSTS: u64 = 20_000;
        let (_name, bus) = bus(&small().capacity(32_768));
        let child = Child::fork(|| {
            let (worker, log) = listener(&bus, &quiet());
            stop_here();
            while log.len() < POSTS as usize {
                assert_eq!(poll(&worker).1, 0);
            }
            assert_eq!(log.ids(), (0..POSTS).collect::<Vec<_>>());
            let counts = counts(&bus, &worker);
            assert_eq!((counts.waited, counts.voided, counts.missed), (0, 0, 0));
        });
        child.await_stop();
        let mut posters = [bus.publisher().unwrap(), bus.publisher().unwrap()];
        child.go_on();
        std::thread::scope(|scope| {
            for poster in &mut posters {
                scope.spawn(|| {
                    for _ in 0..POSTS / 2 {
                        poster.post(("s", "e"), [7; 200]).unwrap();
                    }
                });
            }
        });
        assert!(child.ended_well());
    }

    fn a_failed_post_leaves_no_hole() {
        let (_name, bus) = bus(&small());
        // If there were a hole, this worker would wait for it for an hour.
        let (worker, log) = listener(&bus, &quiet().wait_interval(HOUR).wait_max(HOUR));
        worker.post(("s", "before"), b"").unwrap();
        let huge = vec![0; bus.largest_event() + 1];
        for failure in [
            error(worker.post(("s", "e"), &huge)),
            error(worker.post(("", "e"), b"")),
            error(worker.post(("s", &"e".repeat(256)), b"")),
            error(worker.event(("s", "e")).unique("k").ttl(Duration::ZERO).post(b"")),
            error(worker.reserve().map(drop).and_then(|()| worker.post(("s", ""), b""))),
        ] {
            let refusals = [ErrorKind::PayloadTooLarge, ErrorKind::Topic, ErrorKind::Option];
            assert!(refusals.contains(&failure.kind()), "{failure:?}");
        }
        let id = worker.post(("s", "after"), b"").unwrap();
        // The one id in between is the reservation that was given up.
        assert_eq!(id, 2);
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["before", "after"]);
        assert_eq!(counts(&bus, &worker).waited, 0);
    }

    fn g4_overflow_is_told_exactly_in_order_and_once_for_each_gap() {
        let (_name, bus) = bus(&small());
        let sender = bus.join_with(&quiet()).unwrap();
        let told: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let log = Log::default();
        let (noted, at) = (Arc::clone(&told), log.clone());
        let worker = bus.join_with(&quiet().on_report(move |report| {
            let Trouble::Lagged { missed, .. } = report.trouble else { panic!("{report}") };
            noted.lock().unwrap().push((at.len() as u64, missed));
        })).unwrap();
        worker.on(Scope::All, log.noting()).unwrap();
        let mut total = 0;
        for (i, posts) in [20_000, 10, 65, 64, 1000].into_iter().enumerate() {
            for _ in 0..posts {
                sender.post(("s", "e"), b"").unwrap();
            }
            total += posts;
            let before = log.len() as u64;
            let (delivered, missed) = poll(&worker);
            assert_eq!(delivered + missed, posts, "ids are unaccounted for in round {i}");
            let expected = if posts > 64 { vec![(before, missed)] } else { vec![] };
            assert_eq!(std::mem::take(&mut *told.lock().unwrap()), expected, "one report, before the next event");
            let ids: Vec<u64> = log.ids().split_off(before as usize);
            assert_eq!(ids, (total - delivered..total).collect::<Vec<_>>());
            assert!(delivered >= posts.min(64 - 64 / 8), "it resumes at most an eighth above the oldest");
        }
        let counts = counts(&bus, &worker);
        assert_eq!((counts.lagged, counts.missed), (3, total - log.len() as u64));
    }

    fn g9_a_worker_that_polls_later_than_the_ttl_runs_no_event_again() {
        let (_name, bus) = bus(&small().capacity(256).claims(1024));
        let workers = [(); 4].map(|()| bus.join_with(&quiet()).unwrap());
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        for i in 0..100 {
            let key = format!("key {i}");
            workers[0].event(("s", "e")).unique(&key).ttl(Duration::from_nanos(1)).post(&key).unwrap();
        }
        for worker in &workers {
            poll(worker);
            // The ttl was over long before; this makes it certain whatever the clock's step.
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(logs.map(|log| log.len()), [100, 0, 0, 0]);
    }

    fn g9_a_burst_of_keys_evicts_no_claim() {
        let (_name, bus) = bus(&small().claims(64));
        let reports = Reports::default();
        let workers = [(); 2].map(|()| bus.join_with(&reports.of(quiet())).unwrap());
        let log = Log::default();
        for worker in &workers {
            worker.on(Scope::source("s"), log.noting()).unwrap();
        }
        assert!(matches!(workers[0].claim("held", HOUR).unwrap(), Claimed::Won(_)));
        let held = Unique::key("held").ttl(HOUR);
        workers[0].event(("s", "held")).unique(held).post(b"").unwrap();
        poll(&workers[0]);
        poll(&workers[1]);
        assert_eq!(log.len(), 1);
        let mut full = 0;
        for i in 0..2000 {
            full += u64::from(workers[1].claim(format!("burst {i}"), HOUR).unwrap() == Claimed::Full);
            let key = format!("burst {i}");
            workers[1].event(("burst", "e")).unique(&key).ttl(HOUR).post(b"").unwrap();
            workers.iter().for_each(|worker| _ = poll(worker));
        }
        assert!(full > 1000, "the burst was none");
        assert!(matches!(workers[1].claim("held", HOUR).unwrap(), Claimed::Held { .. }));
        workers[0].event(("s", "held")).unique(held).post(b"").unwrap();
        workers.iter().for_each(|worker| _ = poll(worker));
        assert_eq!(log.len(), 1, "the unique event ran twice");
    }

    fn g6_a_worker_stopped_in_a_handler_holds_up_nobody() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let ran = shared_words(1);
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| {
                // The first time with a newly taken claim.
                ran[0].fetch_add(1, Relaxed);
                stop_here();
            }).unwrap();
            worker.event(("s", "unique")).unique("key").post(b"").unwrap();
            poll(&worker);
        });
        child.await_stop();
        assert_eq!(ran[0].load(Relaxed), 1);
        // All calls of workers, with the other worker stopped in the middle of its poll.
        assert_eq!(poll(&worker), (0, 0), "the unique event is the other's");
        for _ in 0..300 {
            worker.post(("s", "e"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
        }
        assert!(matches!(worker.claim("other key", HOUR).unwrap(), Claimed::Won(_)));
        assert!(!worker.wait(Duration::from_millis(1)).unwrap());
        let mut reservation = worker.reserve().unwrap();
        reservation.commit(("s", "e"), b"").unwrap();
        let newcomer = bus.join_with(&quiet()).unwrap();
        newcomer.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(bus.stats().unwrap().workers.len(), 3);
        assert_eq!(log.ids().len(), 302);
        child.kill();
    }

    fn g6_workers_stopped_anywhere_in_post_and_poll_hold_up_nobody() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source("mine"));
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet().on_report(|_| ())).unwrap();
            let _log = worker.on(Scope::All, |_: &Event<'_>| ()).unwrap();
            loop {
                worker.post(("theirs", "e"), [1; 100]).unwrap();
                let _ = worker.poll().unwrap();
                if let Claimed::Won(claim) = worker.claim("key", HOUR).unwrap() {
                    worker.release(&claim).unwrap();
                }
            }
        });
        for _ in 0..100 {
            eventually("it has posted again", || {
                let before = bus.next_id();
                std::thread::yield_now();
                bus.next_id() > before
            });
            child.stop();
            poll(&worker);
            log.drain();
            for _ in 0..80 {
                worker.post(("mine", "e"), b"").unwrap();
                poll(&worker);
            }
            assert_eq!(log.len(), 80, "with a worker stopped at an unknown place");
            let claimed = worker.claim("another key", HOUR).unwrap();
            if let Claimed::Won(claim) = claimed {
                assert!(worker.release(&claim).unwrap());
            }
            child.go_on();
        }
    }
}
