//! G9: at most one worker runs a unique event, regardless of the clock, the ring and the other workers.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use seqcast::{Cause, Claim, Claimed, Event, Polled, Scope, Start, Unique, Worker};
use seqcast_testkit::{
    Child, HOUR, Log, Reports, alone, bus, counts, error, eventually, exec, in_child, in_time_namespace, listener,
    poll, quiet, role, shared_words, small, stop_here,
};

/// A ttl that has ended before any worker looks.
const INSTANT: Duration = Duration::from_nanos(1);

fn held(key: &str) -> Unique<'_> {
    Unique::key(key).ttl(HOUR)
}

fn ended(key: &str) -> Unique<'_> {
    Unique::key(key).ttl(INSTANT)
}

/// A claim that must be won.
fn won(worker: &Worker, key: &str, ttl: Duration) -> Claim {
    match worker.claim(key, ttl).unwrap() {
        Claimed::Won(claim) => claim,
        other => panic!("{key}: {other:?}"),
    }
}

/// A region of one bucket, so that its bounds can be reached: 21 entries.
fn one_bucket() -> seqcast::SegmentOptions {
    small().claims(1)
}

/// A worker of [`g9_processes_that_poll_at_random_times_run_every_event_once`], started by exec. Not a test.
#[test]
#[ignore = "a role that another test starts"]
fn role_of_a_worker_that_polls_at_random_times() {
    let Some(name) = role() else { return };
    let bus = small().open(&name).unwrap();
    let worker = bus.join_with(&quiet().start(Start::At(0))).unwrap();
    let (answering, done) = (worker.clone(), Arc::new(Mutex::new(false)));
    worker
        .on(Scope::source("jobs"), move |event: &Event<'_>| {
            assert!(event.claim().is_some());
            answering.post(("done", event.event()), event.id().unwrap().to_string()).map(drop)
        })
        .unwrap();
    let noted = Arc::clone(&done);
    worker.on(Scope::events("control", ["end"]), move |_: &Event<'_>| *noted.lock().unwrap() = true).unwrap();
    worker.post(("control", "ready"), b"").unwrap();
    let mut random = fastrand::Rng::with_seed(std::process::id().into());
    while !*done.lock().unwrap() {
        thread::sleep(Duration::from_micros(random.u64(..2048)));
        assert_eq!(poll(&worker).1, 0);
    }
}

alone! {
    fn g9_processes_that_poll_at_random_times_run_every_event_once() {
        const WORKERS: usize = 4;
        let (name, bus) = bus(&small().capacity(4096).claims(4096));
        let worker = bus.join_with(&quiet()).unwrap();
        let ready = Log::of(&worker, Scope::events("control", ["ready"]));
        let done = Log::of(&worker, Scope::source("done"));
        let mut processes: Vec<_> =
            (0..WORKERS).map(|_| exec("role_of_a_worker_that_polls_at_random_times", &name)).collect();
        eventually("all have joined", || {
            poll(&worker);
            ready.len() == WORKERS
        });
        let mut posted = Vec::new();
        for i in 0..400 {
            // Some ttls are over before most workers have polled, others are not.
            let ttl = [INSTANT, Duration::from_micros(500), HOUR][i % 3];
            let id = worker.event(("jobs", "run")).unique(&format!("key {i}")).ttl(ttl).post(b"").unwrap();
            posted.push(id.to_string());
            if i % 20 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        worker.post(("control", "end"), b"").unwrap();
        assert!(processes.iter_mut().all(|process| process.wait().unwrap().success()));
        poll(&worker);
        let mut ran = done.texts();
        ran.sort_unstable_by_key(|id| id.parse::<u64>().unwrap());
        assert_eq!(ran, posted, "an event ran twice, or not at all");
    }

    fn g9_of_processes_that_claim_the_same_key_one_wins() {
        const CLAIMERS: usize = 4;
        const KEYS: usize = 200;
        let (_name, bus) = bus(&small().claims(1024));
        let wins = shared_words(KEYS);
        let ready = shared_words(1);
        let children: Vec<Child> = (0..CLAIMERS).map(|_| {
            let bus = &bus;
            Child::fork(move || {
                let worker = bus.join_with(&quiet()).unwrap();
                ready[0].fetch_add(1, Relaxed);
                while ready[0].load(Relaxed) < CLAIMERS as u64 {
                    thread::yield_now();
                }
                for (key, wins) in wins.iter().enumerate() {
                    if let Claimed::Won(_) = worker.claim(key.to_le_bytes(), HOUR).unwrap() {
                        wins.fetch_add(1, Relaxed);
                    }
                }
            })
        }).collect();
        assert!(children.into_iter().all(Child::ended_well));
        let wins: Vec<u64> = wins.iter().map(|wins| wins.load(Relaxed)).collect();
        assert_eq!(wins, [1; KEYS]);
    }

    fn a_key_that_is_held_makes_the_next_events_ignored_until_the_ttl_is_over() {
        let (_name, bus) = bus(&small());
        let workers = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        for i in 0..3 {
            workers[0].event(("s", "held")).unique(held("a")).post(i.to_string()).unwrap();
            workers[0].event(("s", "ended")).unique(ended("b")).post(i.to_string()).unwrap();
        }
        assert_eq!(poll(&workers[1]), (4, 0));
        assert_eq!(poll(&workers[0]), (0, 0));
        assert_eq!(logs[1].events(), ["held", "ended", "ended", "ended"]);
        assert_eq!(logs[1].texts(), ["0", "0", "1", "2"]);
    }

    fn the_ttl_ends_by_itself() {
        let (_name, bus) = bus(&small());
        let (worker, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let ttl = Duration::from_millis(20);
        let _ = won(&worker, "key", ttl);
        eventually("it has ended", || matches!(other.claim("key", HOUR).unwrap(), Claimed::Won(_)));
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { .. }));
    }

    fn the_first_worker_that_reaches_an_event_decides_for_all() {
        let (_name, bus) = bus(&small());
        let (early, late) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let logs = [Log::of(&early, Scope::All), Log::of(&late, Scope::All)];
        let claim: Arc<Mutex<Option<Claim>>> = Arc::default();
        let noted = Arc::clone(&claim);
        early.on(Scope::All, move |event: &Event<'_>| *noted.lock().unwrap() = event.claim()).unwrap();
        early.event(("s", "first")).unique(held("key")).post(b"").unwrap();
        early.event(("s", "second")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&early), (1, 0));
        // The early one ignored the second, whose key was held; it is no longer held when the late one reaches it.
        let claim = claim.lock().unwrap().unwrap();
        assert!(early.release(&claim).unwrap());
        assert_eq!(poll(&late), (0, 0), "an event that was ignored ran later");
        late.event(("s", "third")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&late), (1, 0));
        assert_eq!(logs.map(|log| log.events()), [vec!["first"], vec!["third"]]);
    }

    fn held_says_by_whom_and_how_long() {
        let (_name, bus) = bus(&small());
        let (worker, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let _ = won(&worker, "key", HOUR);
        let Claimed::Held { seat, left, .. } = other.claim("key", HOUR).unwrap() else { panic!("not held") };
        assert_eq!(seat, worker.seat());
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { .. }), "not even for its holder");
    }

    fn release_ends_a_claim_once_and_only_ones_own() {
        let (_name, bus) = bus(&small());
        let (worker, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let claim = won(&worker, "key", HOUR);
        assert!(worker.release(&claim).unwrap());
        assert!(!worker.release(&claim).unwrap());
        let newer = won(&other, "key", HOUR);
        assert!(!worker.release(&claim).unwrap(), "an old claim ended a new one");
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { .. }));
        assert!(other.release(&newer).unwrap());
        let over = won(&worker, "key", INSTANT);
        assert!(!worker.release(&over).unwrap(), "its ttl was over");
        // A claim may be passed to another worker to release.
        let given = won(&worker, "key", HOUR);
        assert!(other.release(&given).unwrap());
    }

    fn a_poster_claims_and_releases_among_the_workers() {
        let (_name, bus) = bus(&small());
        let (worker, _other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let mut poster = bus.publisher().unwrap();
        assert_eq!((worker.seat(), poster.seat()), (0, 2));
        let Claimed::Won(claim) = poster.claim("key", HOUR).unwrap() else { panic!("the key is held") };
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { seat: 2, .. }));
        assert!(poster.release(&claim).unwrap());
        assert!(!poster.release(&claim).unwrap());
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Won(_)));
    }

    fn g9_a_released_unique_event_stays_decided_and_the_next_one_runs() {
        let (_name, bus) = bus(&small());
        let (worker, other) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let logs = [Log::of(&worker, Scope::All), Log::of(&other, Scope::All)];
        let claims: Arc<Mutex<Vec<Claim>>> = Arc::default();
        let noted = Arc::clone(&claims);
        worker.on(Scope::All, move |event: &Event<'_>| noted.lock().unwrap().extend(event.claim())).unwrap();
        worker.event(("s", "1")).unique(held("key")).post(b"").unwrap();
        worker.event(("s", "2")).unique(held("key")).post(b"").unwrap();
        poll(&worker);
        assert_eq!(logs[0].events(), ["1"]);
        let claim = claims.lock().unwrap().remove(0);
        assert!(worker.release(&claim).unwrap());
        assert_eq!(poll(&other), (0, 0), "an event that was decided ran after the release");
        worker.event(("s", "3")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&other), (1, 0));
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!(logs[1].events(), ["3"]);
    }

    fn a_handler_may_release_its_claim_so_that_the_next_event_runs_in_the_same_poll() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let inside = worker.clone();
        worker.on(Scope::All, move |event: &Event<'_>| {
            assert!(inside.release(&event.claim().unwrap()).unwrap());
        }).unwrap();
        worker.event(("s", "1")).unique(held("key")).post(b"").unwrap();
        worker.event(("s", "2")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!(log.events(), ["1", "2"]);
    }

    fn a_claim_outlives_its_worker() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        in_child(|| {
            let own = bus.join_with(&quiet()).unwrap();
            let _ = won(&own, "left in order", HOUR);
            own.leave().unwrap();
        });
        let child = Child::fork(|| {
            let _ = won(&bus.join_with(&quiet()).unwrap(), "killed", HOUR);
            stop_here();
        });
        child.await_stop();
        child.kill();
        for key in ["left in order", "killed"] {
            assert!(matches!(worker.claim(key, HOUR).unwrap(), Claimed::Held { .. }), "{key}");
        }
    }

    fn g9_nobody_runs_again_what_a_killed_worker_was_running() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet()).unwrap();
            own.on(Scope::All, |_: &Event<'_>| stop_here()).unwrap();
            own.event(("s", "run")).unique(ended("key")).post(b"").unwrap();
            poll(&own);
        });
        child.await_stop();
        child.kill();
        assert_eq!(poll(&worker), (0, 0));
        worker.event(("s", "next")).unique(ended("key")).post(b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["next"]);
    }

    fn a_worker_without_a_handler_leaves_the_event_to_others() {
        let (_name, bus) = bus(&small());
        let (deaf, worker) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let other_source = Log::of(&deaf, Scope::source("other"));
        let log = Log::of(&worker, Scope::source("s"));
        for key in ["a", "b"] {
            deaf.event(("s", "e")).unique(key).post(key).unwrap();
            deaf.event(("other", "e")).unique(format!("other {key}").as_str()).post(key).unwrap();
        }
        assert_eq!(poll(&deaf), (2, 0));
        assert_eq!(poll(&worker), (2, 0));
        assert_eq!((other_source.texts(), log.texts()), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
    }

    fn g9_a_worker_whose_weak_handler_is_gone_leaves_the_event_to_others() {
        let (_name, bus) = bus(&small());
        let (forgetful, worker) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let (lost, log) = (Log::default(), Log::of(&worker, Scope::All));
        let owned = Arc::new(lost.noting());
        forgetful.register_weak(Scope::All, &owned).unwrap();
        forgetful.event(("s", "e")).unique(held("key 1")).post(b"1").unwrap();
        assert_eq!(poll(&forgetful), (1, 0));
        drop(owned);
        forgetful.event(("s", "e")).unique(held("key 2")).post(b"2").unwrap();
        assert_eq!(poll(&forgetful), (0, 0), "it took an event for which it has no handler");
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!((lost.texts(), log.texts()), (vec!["1".into()], vec!["2".into()]));
    }

    fn g9_a_worker_without_a_handler_does_not_speak_for_events_it_left() {
        let (_name, bus) = bus(&small());
        let (picky, worker) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap());
        let logs = [Log::of(&picky, Scope::events("s", ["b"])), Log::of(&worker, Scope::events("s", ["a", "b"]))];
        // The same key; the picky one reads both and handles only the second.
        worker.event(("s", "a")).unique(ended("key")).post(b"").unwrap();
        worker.event(("s", "b")).unique(ended("key")).post(b"").unwrap();
        assert_eq!(poll(&picky), (1, 0));
        assert_eq!(poll(&worker), (1, 0), "the first was already decided");
        assert_eq!(logs.map(|log| log.events()), [["b"], ["a"]]);
    }

    fn g9_a_newcomer_that_is_faster_does_not_speak_for_events_before_its_time() {
        let (_name, bus) = bus(&small());
        let (slow, log) = listener(&bus, &quiet());
        for event in ["0", "1", "2"] {
            slow.event(("s", event)).unique(ended("key")).post(b"").unwrap();
        }
        let (newcomer, newcomers) = listener(&bus, &quiet());
        slow.event(("s", "3")).unique(ended("key")).post(b"").unwrap();
        assert_eq!(poll(&newcomer), (1, 0));
        poll(&slow);
        assert_eq!((log.events(), newcomers.events()), (vec!["0".into(), "1".into(), "2".into()], vec!["3".into()]));
    }

    fn g9_a_newcomer_that_waits_for_an_id_does_not_speak_for_events_before_its_time() {
        let (_name, bus) = bus(&small());
        let (slow, log) = listener(&bus, &quiet());
        slow.event(("s", "before")).unique(ended("key")).post(b"").unwrap();
        let (newcomer, ahead) = listener(&bus, &quiet());
        let mut reservation = newcomer.reserve().unwrap();
        slow.event(("s", "after")).unique(ended("key")).post(b"").unwrap();
        // Behind its own reservation it claims the events that it copies.
        assert_eq!(poll(&newcomer), (0, 0));
        let one = slow.poll_at_most(1).unwrap();
        let is_delivered = matches!(one, Polled::Done { delivered: 1, .. });
        assert!(is_delivered, "the newcomer suppressed an unseen event");
        assert_eq!(log.ids(), [0]);
        reservation.commit(("s", "between"), b"").unwrap();
        assert_eq!(poll(&newcomer), (2, 0));
        assert_eq!(ahead.ids(), [1, 2]);
        assert_eq!(poll(&slow), (1, 0));
        assert_eq!(log.ids(), [0, 1]);
    }

    fn g9_a_newcomer_that_replays_the_ring_runs_nothing_again() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        for i in 0..20 {
            worker.event(("s", "e")).unique(ended(&format!("key {}", i % 4))).post(b"").unwrap();
        }
        assert_eq!(poll(&worker), (20, 0));
        for start in [Start::Oldest, Start::At(7)] {
            let (newcomer, again) = listener(&bus, &quiet().start(start));
            assert_eq!(poll(&newcomer), (0, 0));
            assert_eq!(again.len(), 0);
        }
        assert_eq!(log.len(), 20);
    }

    fn g9_a_lapped_worker_runs_nothing_again() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let (worker, lapped) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&reports.of(quiet())).unwrap());
        let logs = [Log::of(&worker, Scope::All), Log::of(&lapped, Scope::All)];
        for i in 0..300 {
            worker.event(("s", "e")).unique(ended(&format!("key {}", i % 7))).post(b"").unwrap();
            poll(&worker);
        }
        let (delivered, missed) = poll(&lapped);
        assert!(missed > 0);
        assert_eq!((delivered, logs[1].len()), (0, 0));
        assert_eq!(logs[0].ids(), (0..300).collect::<Vec<_>>());
    }

    fn g9_does_not_depend_on_the_clock() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        for i in 0..20 {
            worker.event(("s", "decided")).unique(held(&format!("key {i}"))).post(b"").unwrap();
        }
        poll(&worker);
        // A process with a clock that is months ahead, and that cannot know by how much, because it has set up another
        // namespace: for it every ttl was over long ago.
        let ran = shared_words(1);
        let done = in_time_namespace(10_000_000, || {
            // SAFETY: affects only this process's children, and takes no memory.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWTIME) }, 0);
            let (late, again) = listener(&bus, &quiet().start(Start::Oldest));
            assert_eq!(poll(&late), (0, 0), "it ran a decided event");
            late.event(("s", "by the late")).unique(held("key 0")).post(b"").unwrap();
            assert_eq!(poll(&late), (1, 0), "to its clock the ttl is over");
            ran[0].store(again.len() as u64, Relaxed);
        });
        if done {
            assert_eq!(ran[0].load(Relaxed), 1);
            assert_eq!(poll(&worker), (0, 0), "the late one's event also ran here");
            assert_eq!(log.len(), 20);
        }
    }

    fn g9_workers_of_several_time_namespaces_hold_a_key_for_as_long_as_it_was_claimed() {
        let (name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        // Up to half of the host's uptime: no clock may show a time before the boot.
        let uptime: f64 = fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        for (i, ahead) in [30 * 86_400, -(uptime / 2.0) as i64].into_iter().enumerate() {
            let claim = won(&worker, &format!("ours {i}"), HOUR);
            worker.event(("s", "ours")).unique(held(&format!("event {i}"))).post(b"").unwrap();
            poll(&worker);
            let words = shared_words(2);
            let done = in_time_namespace(ahead, || {
                let (other, others) = listener(&bus, &quiet().start(Start::Now));
                let Claimed::Held { left, .. } = other.claim(format!("ours {i}"), HOUR).unwrap() else {
                    panic!("{ahead} s ahead: a held key was won")
                };
                assert!(left <= HOUR && left > HOUR / 2, "{ahead} s ahead: held for {left:?}");
                other.event(("s", "theirs")).unique(held(&format!("event {i}"))).post(b"").unwrap();
                assert_eq!(poll(&other), (0, 0), "{ahead} s ahead: its key is held");
                let _ = won(&other, &format!("theirs {i}"), HOUR);
                let _ = won(&other, &format!("over {i}"), INSTANT);
                other.post(("s", "e"), b"").unwrap();
                assert_eq!(poll(&other), (1, 0));
                // The displayed times are equal.
                let inspector = small().inspect(&name).unwrap();
                for claim in inspector.claims().unwrap() {
                    assert!(claim.since < HOUR / 2 && claim.left.is_none_or(|left| left <= HOUR), "{claim:?}");
                }
                let ours = counts(&bus, &worker);
                assert!(ours.last_poll.unwrap() < HOUR / 2, "{:?}", ours.last_poll);
                let theirs = counts(&bus, &other);
                words[0].store(theirs.start_time, Relaxed);
                words[1].store(others.len() as u64, Relaxed);
            });
            if !done {
                return;
            }
            assert_eq!(words[1].load(Relaxed), 1);
            let (ours, theirs) = (counts(&bus, &worker).start_time, words[0].load(Relaxed));
            let soon = ours..ours + 100 * 300;
            assert!(soon.contains(&theirs), "{ahead} s ahead: started at {theirs}, and we at {ours}");
            let Claimed::Held { left, .. } = worker.claim(format!("theirs {i}"), HOUR).unwrap() else {
                panic!("{ahead} s ahead: a key that it holds was won by another")
            };
            assert!(left <= HOUR && left > HOUR / 2, "{ahead} s ahead: held for {left:?}");
            let _ = won(&worker, &format!("over {i}"), HOUR);
            for claim in small().inspect(&name).unwrap().claims().unwrap() {
                assert!(claim.since < HOUR / 2 && claim.left.is_none_or(|left| left <= HOUR), "{claim:?}");
            }
            assert!(worker.release(&claim).unwrap());
        }
        assert_eq!(log.events().iter().filter(|event| *event == "theirs").count(), 0);
    }

    fn g9_full_is_counted_and_reported_and_nobody_runs_the_event() {
        let (_name, bus) = bus(&one_bucket());
        let entries = bus.stats().unwrap().sizes.bucket_entries;
        let reports = [Reports::default(), Reports::default()];
        let workers = reports.each_ref().map(|reports| bus.join_with(&reports.of(quiet())).unwrap());
        let logs = workers.each_ref().map(|worker| Log::of(worker, Scope::All));
        for i in 0..entries + 2 {
            workers[0].event(("s", "e")).unique(held(&format!("key {i}"))).post(i.to_string()).unwrap();
        }
        workers[0].post(("s", "e"), b"after").unwrap();
        assert_eq!(poll(&workers[0]), (entries + 1, 0));
        assert_eq!(poll(&workers[1]), (1, 0));
        for (i, worker) in workers.iter().enumerate() {
            assert_eq!(logs[i].texts().last().unwrap(), "after");
            assert_eq!(counts(&bus, worker).claims_full, 2);
            let texts = reports[i].texts();
            assert_eq!(texts.len(), 2);
            for (text, id) in texts.iter().zip(entries..) {
                assert!(text.contains(&format!("id {id}")) && text.contains("claims are full"), "{text}");
            }
        }
        assert!(matches!(workers[1].claim("one more", HOUR).unwrap(), Claimed::Full));
        assert!(matches!(workers[1].claim("key", HOUR).unwrap(), Claimed::Full), "another domain, no more room");
        let stats = bus.stats().unwrap();
        assert_eq!(stats.claims_held, entries);
    }

    fn a_full_region_has_room_again_when_a_claim_ends() {
        let (_name, bus) = bus(&one_bucket());
        let worker = bus.join_with(&quiet()).unwrap();
        let entries = bus.stats().unwrap().sizes.bucket_entries;
        let claims: Vec<Claim> = (0..entries).map(|i| won(&worker, &format!("key {i}"), HOUR)).collect();
        assert!(matches!(worker.claim("one more", HOUR).unwrap(), Claimed::Full));
        assert!(worker.release(&claims[3]).unwrap());
        let _ = won(&worker, "one more", INSTANT);
        let _ = won(&worker, "and one more", INSTANT);
        assert_eq!(counts(&bus, &worker).claims_full, 1);
    }

    fn g9_late_is_counted_and_reported_and_the_event_is_not_run() {
        let (_name, bus) = bus(&one_bucket());
        let entries = bus.stats().unwrap().sizes.bucket_entries;
        let reports = Reports::default();
        let (worker, late) = (bus.join_with(&quiet()).unwrap(), bus.join_with(&reports.of(quiet())).unwrap());
        let logs = [Log::of(&worker, Scope::All), Log::of(&late, Scope::All)];
        // More keys than the bucket remembers: it forgets that the first two ran.
        for i in 0..entries + 2 {
            worker.event(("s", "e")).unique(ended(&format!("key {i}"))).post(b"").unwrap();
        }
        assert_eq!(poll(&worker), (entries + 2, 0));
        assert_eq!(poll(&late), (0, 0));
        assert_eq!((logs[0].len() as u64, logs[1].len()), (entries + 2, 0));
        let counts = counts(&bus, &late);
        assert_eq!((counts.claims_late, counts.claims_lost), (2, entries));
        let texts = reports.texts();
        assert_eq!(texts.len(), 2);
        for (id, text) in texts.iter().enumerate() {
            assert!(text.contains(&format!("id {id}")) && text.contains("too late"), "{text}");
        }
    }

    fn keys_of_events_and_of_claims_have_nothing_to_do_with_each_other() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let _ = won(&worker, "key", HOUR);
        worker.event(("s", "e")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { .. }));
        worker.event(("s", "e")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!(log.len(), 1);
    }

    fn keys_are_told_apart_whatever_their_bytes() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let keys: [&[u8]; 6] = [b"a", b"b", b"ab", b"\0", b"\0\0", &[255; 1000]];
        for key in keys {
            assert!(matches!(worker.claim(key, HOUR).unwrap(), Claimed::Won(_)));
        }
        for key in keys {
            assert!(matches!(worker.claim(key, HOUR).unwrap(), Claimed::Held { .. }));
        }
    }

    fn g9_a_unique_event_whose_handlers_go_after_it_was_claimed_is_reported_and_not_delivered() {
        for way in ["unregister", "unregister_same", "drop", "leave"] {
            let (_name, bus) = bus(&small());
            let other = bus.join_with(&quiet()).unwrap();
            let others = Log::of(&other, Scope::source("s"));
            let reports = Reports::default();
            let worker = bus.join_with(&reports.of(quiet())).unwrap();
            let log = Log::default();
            let handler = Arc::new(log.noting());
            let registration = match way {
                "drop" => worker.register_weak(Scope::source("s"), &handler),
                _ => worker.register(Scope::source("s"), &handler),
            };
            let reservation = worker.reserve().unwrap();
            let id = worker.event(("s", "unique")).unique(held("key")).post(b"").unwrap();
            worker.post(("s", "plain"), b"").unwrap();
            assert_eq!(poll(&worker), (0, 0));
            assert_eq!(counts(&bus, &worker).claims_won, 1, "the test needs it to be claimed");
            match way {
                "unregister_same" => assert!(worker.unregister_same(Scope::source("s"), &handler)),
                "drop" => drop(handler),
                _ => assert!(worker.unregister(registration.unwrap())),
            }
            if way == "leave" {
                worker.clone().leave().unwrap();
                drop(reservation);
            } else {
                drop(reservation);
                assert_eq!(poll(&worker), (0, 0), "{way}: delivered although there is no handler");
                let counts = counts(&bus, &worker);
                assert_eq!((counts.orphaned, counts.delivered, counts.skipped), (1, 0, 1), "{way}");
            }
            assert_eq!(log.len(), 0, "{way}");
            let texts = reports.texts();
            assert_eq!(texts.len(), 1, "{way}: {texts:?}");
            assert!(texts[0].starts_with(&format!("s/unique (id {id}): no worker ran this unique event")), "{texts:?}");
            // The event stays decided; the key does not stay held for it.
            assert_eq!(poll(&other), (1, 0), "{way}");
            other.event(("s", "next")).unique(held("key")).post(b"").unwrap();
            assert_eq!(poll(&other), (1, 0), "{way}");
            assert_eq!(others.events(), ["plain", "next"], "{way}");
        }
    }

    fn g9_a_unique_event_whose_handler_is_replaced_after_it_was_claimed_goes_to_the_new_one() {
        let (_name, bus) = bus(&small());
        let reports = Reports::default();
        let worker = bus.join_with(&reports.of(quiet())).unwrap();
        let gone = Log::default();
        let before = worker.on(Scope::source("s"), gone.noting()).unwrap();
        let reservation = worker.reserve().unwrap();
        worker.event(("s", "unique")).unique(held("key")).post(b"").unwrap();
        assert_eq!(poll(&worker), (0, 0));
        assert!(worker.unregister(before));
        let log = Log::of(&worker, Scope::events("s", ["unique"]));
        drop(reservation);
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!((gone.len(), log.events()), (0, vec!["unique".to_owned()]));
        assert!(reports.texts().is_empty());
        assert_eq!(counts(&bus, &worker).orphaned, 0);
    }

    fn an_empty_key_or_a_ttl_of_nothing_is_an_error() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut poster = bus.publisher().unwrap();
        let nothing = Unique::key("key").ttl(Duration::ZERO);
        for (refusal, expected) in [
            (error(worker.claim("", HOUR)), "key"),
            (error(worker.claim("key", Duration::ZERO)), "ttl"),
            (error(worker.event(("s", "e")).unique("").post(b"")), "key"),
            (error(worker.event(("s", "e")).unique(nothing).post(b"")), "ttl"),
            (error(poster.event(("s", "e")).unique("").post(b"")), "key"),
            (error(poster.event(("s", "e")).unique(nothing).post(b"")), "ttl"),
        ] {
            let Cause::Option { option, .. } = refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!(*option, expected);
        }
        assert_eq!((bus.next_id(), bus.stats().unwrap().claims_held), (0, 0));
    }

    fn a_ttl_too_long_to_state_never_ends() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let _ = won(&worker, "key", Duration::MAX);
        assert!(matches!(worker.claim("key", HOUR).unwrap(), Claimed::Held { left, .. } if left > HOUR));
    }
}
