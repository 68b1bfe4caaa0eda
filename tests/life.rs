//! G20: claims that end with their holder, renewals, and reports of deaths.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use seqcast::inspect::{ClaimKind, Inspector, adopt_dead};
use seqcast::{
    Bus, Cause, Claim, ClaimOptions, Claimed, Died, ErrorKind, SegmentOptions, Start, Winner, Worker, WorkerOptions,
    library,
};
use seqcast_testkit::{
    Child, HOUR, Log, alone, assert_error, bus, eventually, in_child, poll, quiet, shared_words, small, stop_here,
};

/// The options of a claim that ends with its holder.
fn for_life(worker: &Worker, key: &str, ttl: Duration) -> Claimed {
    worker.claim_with(key, &ClaimOptions::new(ttl).ends_with_holder(true)).unwrap()
}

fn won(claimed: Claimed) -> Claim {
    claimed.won().expect("the key is free")
}

fn worker(bus: &Bus) -> Worker {
    bus.join_with(&quiet()).unwrap()
}

/// Starts a process that runs `body` with its own worker and then stops.
fn stopped_after(bus: &Bus, body: impl FnOnce(&Worker)) -> Child {
    let child = Child::fork(|| {
        let own = worker(bus);
        body(&own);
        stop_here();
    });
    child.await_stop();
    child
}

alone! {
    fn g20_a_killed_holder_keeps_nothing_that_ends_with_it() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        let child = stopped_after(&bus, |own| {
            let _ = won(for_life(own, "for life", HOUR));
            let _ = own.claim("plain", HOUR).unwrap();
        });
        // A late holder is not dead.
        let held = bus.held("for life").unwrap().expect("it is held");
        assert_eq!((held.winner, held.pid, held.ends_with_holder), (Winner::Alive, Some(child.pid()), true));
        assert!(held.left > HOUR / 2);
        assert!(matches!(for_life(&own, "for life", HOUR), Claimed::Held { seat, .. } if seat == held.seat));
        child.kill();
        assert_eq!(bus.held("for life").unwrap(), None);
        let plain = bus.held("plain").unwrap().expect("it outlives its holder");
        assert_eq!((plain.winner, plain.ends_with_holder), (Winner::Dead, false));
        let claim = won(for_life(&own, "for life", HOUR));
        assert!(own.left(&claim).unwrap() > HOUR / 2);
        assert!(matches!(own.claim("plain", HOUR).unwrap(), Claimed::Held { .. }));
    }

    fn g20_a_zombie_is_dead() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        let child = stopped_after(&bus, |own| _ = won(for_life(own, "key", HOUR)));
        child.signal(libc::SIGKILL);
        child.await_zombie();
        let _ = won(for_life(&own, "key", HOUR));
    }

    fn g20_a_stopped_holder_keeps_its_claim_and_learns_that_it_has_lost_it() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        let lost_to = shared_words(1);
        let child = Child::fork(|| {
            let holder = worker(&bus);
            let claim = won(for_life(&holder, "key", Duration::from_millis(300)));
            stop_here();
            match holder.renew(&claim, HOUR).unwrap_err().cause() {
                Cause::ClaimLost { holder: Some(now), .. } => lost_to[0].store(u64::from(now.seat) + 1, Relaxed),
                cause => panic!("{cause:?}"),
            }
            assert_eq!(holder.left(&claim).unwrap(), Duration::ZERO);
            assert!(!holder.release(&claim).unwrap(), "it released the claim of another");
        });
        child.await_stop();
        eventually("the ttl ends", || for_life(&own, "key", HOUR).won().is_some());
        child.go_on();
        assert!(child.ended_well());
        assert_eq!(lost_to[0].load(Relaxed), u64::from(own.seat()) + 1);
        assert!(bus.held("key").unwrap().is_some_and(|held| held.seat == own.seat()));
    }

    fn g20_a_worker_that_leaves_gives_up_what_ends_with_it() {
        let (_name, bus) = bus(&small());
        let (leaves, own) = (worker(&bus), worker(&bus));
        let _ = won(for_life(&leaves, "for life", HOUR));
        let done = won(for_life(&leaves, "done", HOUR));
        leaves.complete(&done, HOUR).unwrap();
        let _ = leaves.claim("plain", HOUR).unwrap();
        leaves.leave().unwrap();
        let _ = won(for_life(&own, "for life", HOUR));
        for key in ["done", "plain"] {
            let held = bus.held(key).unwrap().expect("it outlives its holder");
            assert_eq!((held.winner, held.pid, held.ends_with_holder), (Winner::Gone, None, false), "{key}");
            assert!(matches!(for_life(&own, key, HOUR), Claimed::Held { .. }), "{key}");
        }
    }

    fn g20_the_next_holder_of_a_seat_has_none_of_its_claims() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        for way in ["killed", "left"] {
            let child = stopped_after(&bus, |own| {
                let _ = won(for_life(own, "key", HOUR));
                if way == "left" {
                    own.clone().leave().unwrap();
                }
            });
            let seat = bus.stats().unwrap().workers.iter().map(|worker| worker.seat).max();
            child.kill();
            // The same seat; its lock is held from now on.
            let next = worker(&bus);
            if way == "killed" {
                assert_eq!(Some(next.seat()), seat);
            }
            let _ = won(for_life(&next, "own", HOUR));
            let claim = won(for_life(&own, "key", HOUR));
            assert!(matches!(for_life(&own, "own", HOUR), Claimed::Held { .. }), "the next holder lives");
            assert!(own.release(&claim).unwrap());
            next.leave().unwrap();
        }
    }

    fn g20_children_of_a_dead_holder_keep_nothing() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        let orphan = shared_words(1);
        let child = stopped_after(&bus, |own| {
            let _ = won(for_life(own, "key", HOUR));
            // Not `Child`, because this process outlives its parent. SAFETY: this process has one thread, and the child
            // only sleeps.
            match unsafe { libc::fork() } {
                0 => loop {
                    thread::sleep(HOUR);
                },
                pid => orphan[0].store(pid as u64, Relaxed),
            }
        });
        child.kill();
        let _ = won(for_life(&own, "key", HOUR));
        // SAFETY: a signal to the grandchild, which no other code ends.
        unsafe { libc::kill(orphan[0].load(Relaxed) as libc::pid_t, libc::SIGKILL) };
    }

    fn g20_a_claim_may_be_kept_elsewhere_and_still_ends_with_its_winner() {
        let (_name, bus) = bus(&small());
        let own = worker(&bus);
        let words = shared_words(3);
        let child = stopped_after(&bus, |own| {
            let bytes = won(for_life(own, "key", HOUR)).to_bytes();
            for (word, chunk) in words.iter().zip(bytes.as_chunks::<8>().0) {
                word.store(u64::from_le_bytes(*chunk), Relaxed);
            }
        });
        let mut bytes = [0; 24];
        for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *chunk = word.load(Relaxed).to_le_bytes();
        }
        let claim = Claim::from_bytes(bytes);
        own.renew(&claim, HOUR).unwrap();
        child.kill();
        assert_error!(own.renew(&claim, HOUR), Cause::ClaimLost { holder: None, .. });
        assert_error!(own.complete(&claim, HOUR), Cause::ClaimLost { holder: None, .. });
        assert!(!own.release(&claim).unwrap());
        let _ = won(for_life(&own, "key", HOUR));
    }

    fn g20_of_many_rescuers_one_wins() {
        let (_name, bus) = bus(&small().seats(16));
        for _ in 0..20 {
            let child = stopped_after(&bus, |own| _ = won(for_life(own, "key", HOUR)));
            let winners = shared_words(2);
            let rescuers: Vec<_> = (0..4)
                .map(|_| {
                    Child::fork(|| {
                        let own = worker(&bus);
                        winners[1].fetch_add(1, Relaxed);
                        while for_life(&own, "key", HOUR).won().is_none() {
                            if winners[0].load(Relaxed) > 0 {
                                stop_here();
                            }
                        }
                        winners[0].fetch_add(1, Relaxed);
                        stop_here();
                    })
                })
                .collect();
            eventually("they try", || winners[1].load(Relaxed) == 4);
            child.kill();
            rescuers.iter().for_each(Child::await_stop);
            assert_eq!(winners[0].load(Relaxed), 1, "one claim was taken over by several");
            rescuers.into_iter().for_each(|rescuer| _ = rescuer.kill());
        }
    }

    fn g20_claims_of_the_dead_do_not_fill_a_bucket() {
        let (_name, bus) = bus(&small().claims(1));
        let own = worker(&bus);
        let child = stopped_after(&bus, |own| {
            let keys = (0..).take_while(|key| for_life(own, &format!("dead {key}"), HOUR).won().is_some());
            assert!(keys.count() > 4);
        });
        assert!(matches!(own.claim("another", HOUR).unwrap(), Claimed::Full));
        child.kill();
        for key in 0..5 {
            let _ = won(own.claim(format!("another {key}"), HOUR).unwrap());
        }
    }

    fn g20_a_renewal_holds_the_key_for_the_new_ttl() {
        let (_name, bus) = bus(&small());
        let (own, other) = (worker(&bus), worker(&bus));
        let claim = won(own.claim("key", HOUR).unwrap());
        own.renew(&claim, 3 * HOUR).unwrap();
        assert!(own.left(&claim).unwrap() > 2 * HOUR);
        assert!(matches!(other.claim("key", HOUR).unwrap(), Claimed::Held { left, .. } if left > 2 * HOUR));
        own.renew(&claim, Duration::MAX).unwrap();
        assert!(own.left(&claim).unwrap() > Duration::from_secs(1 << 33), "the ttl has no end");
        // The ttl may also become shorter, and any worker may renew.
        other.renew(&claim, Duration::from_nanos(1)).unwrap();
        assert_error!(own.renew(&claim, HOUR), Cause::ClaimLost { holder: None, .. });
        assert_eq!(own.left(&claim).unwrap(), Duration::ZERO);
        let taken = won(other.claim("key", HOUR).unwrap());
        let lost = own.renew(&claim, HOUR).unwrap_err();
        assert_eq!((lost.kind(), lost.code()), (ErrorKind::ClaimLost, "claim_lost"));
        let text = lost.to_string();
        assert!(text.contains(&format!("seat {} (pid {}", other.seat(), std::process::id())), "{text}");
        assert!(other.left(&taken).unwrap() > HOUR / 2, "a failed renewal changed the claim of another");
        assert_error!(own.renew(&claim, Duration::ZERO), Cause::Option { option: "ttl", .. });
        assert_error!(
            own.claim_with("", &ClaimOptions::new(HOUR).ends_with_holder(true)),
            Cause::Option { option: "key", .. }
        );
        assert_error!(bus.held(""), Cause::Option { option: "key", .. });
        // The claim of a unique event: the next events with its key are ignored for longer.
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        own.event(("s", "e")).unique("event").ttl(Duration::from_nanos(1)).post(b"").unwrap();
        let delivery = subscriber.try_next().unwrap().expect("the event");
        let claim = delivery.event().and_then(|event| event.claim()).expect("its claim");
        assert_error!(own.renew(&claim, HOUR), Cause::ClaimLost { holder: None, .. });
    }

    fn g20_looks_take_nothing() {
        let (name, bus) = bus(&small());
        let own = worker(&bus);
        let inspector = Inspector::open(&name).unwrap();
        let looks = || [bus.held("key").unwrap(), own.held("key").unwrap(), inspector.held("key").unwrap()];
        assert_eq!(looks(), [None, None, None]);
        let claim = won(for_life(&own, "key", HOUR));
        for held in looks() {
            let held = held.expect("it is held");
            assert_eq!((held.seat, held.winner, held.ends_with_holder), (own.seat(), Winner::Alive, true));
        }
        let entry = inspector.claim_on(ClaimKind::Alone, b"key").unwrap().unwrap();
        assert!(entry.ends_with_holder && entry.claim() == claim);
        assert!(own.release(&entry.claim()).unwrap());
        assert_eq!(looks(), [None, None, None]);
        let events = bus.next_id();
        own.leave().unwrap();
        assert_eq!(bus.next_id(), events);
    }

    fn g20_the_dead_are_told_with_what_they_held() {
        let (_name, bus) = bus(&small());
        let (own, log) = seqcast_testkit::listener(&bus, &quiet());
        let reserved = shared_words(1);
        let child = Child::fork(|| {
            let own = bus.join_with(&quiet().label("label web-1\n")).unwrap();
            let _ = won(for_life(&own, "for life", HOUR));
            let _ = own.claim("plain", HOUR).unwrap();
            let gone = won(own.claim("released", HOUR).unwrap());
            own.release(&gone).unwrap();
            let reservation = own.reserve().unwrap();
            reserved[0].store(reservation.id(), Relaxed);
            stop_here();
            drop(reservation);
        });
        child.await_stop();
        let pid = child.pid();
        child.kill();
        // A worker that does not announce reports nothing.
        let mut next = bus.join_with(&WorkerOptions::new().label("next")).unwrap();
        poll(&own);
        let seen = log.drain();
        let events: Vec<_> = seen.iter().map(|seen| (&*seen.source, &*seen.event)).collect();
        assert_eq!(events, [(library::SOURCE, "died"), (library::SOURCE, "started")]);
        let died = Died::parse(&seen[0].bytes).unwrap();
        assert_eq!((died.seat, died.pid, &*died.label), (next.seat(), pid, "label web-1\n"));
        assert_eq!((died.reserved, died.claims), (Some(reserved[0].load(Relaxed)), 2));
        let mut keys = died.keys.clone();
        keys.sort_unstable();
        let mut held = ["for life", "plain"].map(|key| bus.key_hash(key).unwrap());
        held.sort_unstable();
        assert_eq!(keys, held);
        // The worker that took over the seat also gets the event. There is no event about a worker that left.
        assert_eq!(poll(&next).1, 0);
        next.leave().unwrap();
        next = bus.join_with(&WorkerOptions::new().start(Start::Oldest)).unwrap();
        poll(&own);
        assert_eq!(log.drain().iter().map(|seen| &*seen.event).collect::<Vec<_>>(), ["stopping", "started"]);
        drop(next);
    }

    fn g20_a_publisher_and_a_repair_tell_of_the_dead_too() {
        let (name, bus) = bus(&small());
        let (own, log) = seqcast_testkit::listener(&bus, &quiet());
        let dies = || {
            stopped_after(&bus, |own| _ = won(for_life(own, "key", HOUR))).kill();
        };
        let told = || {
            poll(&own);
            log.drain().iter().filter(|seen| seen.event == "died").count()
        };
        dies();
        drop(bus.publisher_with(&quiet()).unwrap());
        assert_eq!(told(), 0, "it does not announce");
        dies();
        drop(bus.publisher().unwrap());
        assert_eq!(told(), 1);
        dies();
        assert_eq!(adopt_dead(&name, &SegmentOptions::new()).unwrap().len(), 1);
        assert_eq!(told(), 1);
        dies();
        drop(bus.subscribe().unwrap());
        assert_eq!(told(), 1);
        let log = Log::of(&own, library::DIED);
        in_child(|| drop(bus.publisher().unwrap()));
        assert_eq!((told(), log.len()), (0, 0));
    }
}

/// Returns the numbers in the last line of the example.
fn figures_of(line: &str) -> std::collections::HashMap<&str, f64> {
    let pairs = line.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name, value.parse().unwrap())).collect()
}

#[test]
fn g20_jobs_of_killed_runners_are_taken_over_and_never_done_by_two_at_once() {
    let output = std::process::Command::new(seqcast_testkit::example("jobs", &[])).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    let figures = figures_of(stdout.lines().last().unwrap());
    assert_eq!((figures["ticks"], figures["done"], figures["two_at_once"]), (40.0, 40.0, 0.0), "{stdout}");
    assert!(figures["kills"] > 0.0 && figures["taken_over"] > 0.0, "the example shows nothing: {stdout}");
    assert!(figures["died"] >= 1.0, "no death was told: {stdout}");
}
