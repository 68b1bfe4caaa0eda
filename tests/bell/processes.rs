//! Bells and other processes: system calls of posters, forks, stops and deaths.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seqcast::{BellOptions, Bus, Delivery, ErrorKind, Event, Polled, Scope};
use seqcast_testkit::ptrace::{Traced, Until, trace_me};
use seqcast_testkit::{
    Child, HANGS, HOUR, alone, bus, error, eventually, exit, in_child, is_readable, quiet, shared_words, small,
};

use crate::{NOW, SOON, buses, counting, rung_only, settle};

/// A child that posts `events` events, stopped before the first one.
fn poster(bus: &Bus, events: u64) -> Traced {
    let bus = bus.clone();
    Traced::of(Child::fork(move || {
        let mut publisher = bus.publisher().unwrap();
        trace_me();
        for _ in 0..events {
            publisher.post(("s", "e"), "").unwrap();
        }
        exit(0);
    }))
}

/// Returns how often the child enters or leaves a system call until it ends.
fn stops(mut child: Traced) -> u64 {
    let mut stops = 0;
    loop {
        match child.go_on(Until::SystemCall) {
            Ok((stopped, _)) => (child, stops) = (stopped, stops + 1),
            Err(status) => {
                assert!(status.success());
                return stops;
            }
        }
    }
}

fn wait_for(word: &AtomicU64) {
    eventually("the other process has come so far", || word.load(Ordering::Acquire) == 1);
}

fn say(word: &AtomicU64) {
    word.store(1, Ordering::Release);
}

alone! {
    fn g19_g11_a_post_makes_one_system_call_for_any_number_of_bells_and_none_for_none() {
        let (_name, bus) = bus(&small());
        let workers: Vec<_> = (0..3).map(|_| counting(&bus).0).collect();
        let bells: Vec<_> = workers.iter().map(|worker| worker.bell_with(&rung_only()).unwrap()).collect();
        let with_armed_bells = |armed: bool, events| {
            let child = poster(&bus, events);
            for bell in bells.iter().filter(|_| armed) {
                settle(bell);
            }
            let stops = stops(child);
            if armed {
                assert!(bells.iter().all(|bell| is_readable(bell, NOW)));
            } else {
                // The flag that the last round left is cleared.
                assert_eq!(workers[0].cursor(), workers[1].cursor());
            }
            stops
        };
        let ending = with_armed_bells(false, 0);
        for events in [1, 5] {
            // The flag from the arming of the bells is set until the first post.
            assert_eq!(with_armed_bells(true, events), ending + 2, "one call for {events} events");
            assert_eq!(with_armed_bells(false, events), ending, "no call for {events} events");
        }
    }

    fn g19_a_poster_that_is_killed_at_its_ring_is_rung_for_though_its_children_live() {
        for (_name, bus) in buses() {
            let (worker, delivered) = counting(&bus);
            let bell = worker.bell_with(&rung_only()).unwrap();
            for has_child in [false, true] {
                let inherited = bus.clone();
                let grandchild = shared_words(1);
                let child = Traced::of(Child::fork(move || {
                    let mut publisher = inherited.publisher().unwrap();
                    if has_child {
                        let child = Child::fork(|| std::thread::sleep(HANGS));
                        grandchild[0].store(child.pid().into(), Ordering::Release);
                        std::mem::forget(child);
                    }
                    trace_me();
                    publisher.post(("s", "e"), "").unwrap();
                    exit(0);
                }));
                settle(&bell);
                let before = delivered.get();
                let newest = bus.next_id();
                // Before its first system call: the event is posted and has not rung.
                let Ok(child) = child.system_calls(1) else { panic!("it has ended") };
                assert_eq!(bus.next_id(), newest + 1);
                assert!(!is_readable(&bell, SOON), "rung too early");
                child.kill();
                assert!(is_readable(&bell, HANGS), "the kernel did not ring");
                settle(&bell);
                assert_eq!(delivered.get(), before + 1);
                let grandchild = grandchild[0].load(Ordering::Acquire) as libc::pid_t;
                if grandchild != 0 {
                    // SAFETY: a process of this test, which no other code waits for.
                    unsafe { libc::kill(grandchild, libc::SIGKILL) };
                }
            }
        }
    }

    fn g19_a_poster_that_is_stopped_at_its_ring_delays_events_until_the_next_post_or_the_interval() {
        let (_name, bus) = bus(&small());
        let (worker, delivered) = counting(&bus);
        let (patient, timed) = (
            worker.bell_with(&rung_only()).unwrap(),
            worker.bell_with(&BellOptions::new().interval(Duration::from_millis(50))).unwrap(),
        );
        let mut other = bus.publisher().unwrap();
        let stopped = || {
            let child = poster(&bus, 1);
            settle(&patient);
            let Ok(child) = child.system_calls(1) else { panic!("it has ended") };
            assert!(!is_readable(&patient, SOON), "rung too early");
            child
        };
        let child = stopped();
        let before = delivered.get();
        other.post(("s", "e"), "").unwrap();
        assert!(is_readable(&patient, NOW), "the next post rings");
        assert_eq!(patient.poll().unwrap().delivered(), 2);
        assert!(child.ended_well());

        let child = stopped();
        while delivered.get() == before + 2 {
            assert!(is_readable(&timed, HANGS));
            timed.poll().unwrap();
        }
        // It continues, and rings.
        settle(&patient);
        assert!(child.ended_well());
        assert!(is_readable(&patient, HANGS));

        // It is killed while it is stopped.
        settle(&patient);
        let child = stopped();
        child.kill();
        assert!(is_readable(&patient, HANGS), "the kernel did not ring");
        settle(&patient);
        assert_eq!(worker.cursor(), bus.next_id());
    }

    fn g19_g6_a_reserver_that_is_killed_makes_bells_readable() {
        let (_name, bus) = bus(&small());
        let patient = quiet().wait_max(HOUR);
        let (worker, mut subscriber) = (bus.join_with(&patient).unwrap(), bus.subscribe_with(&patient).unwrap());
        let child = Child::fork(|| {
            let reserver = bus.join_with(&quiet()).unwrap();
            std::mem::forget(reserver.reserve().unwrap());
            std::thread::sleep(HANGS);
        });
        eventually("the id is reserved", || bus.next_id() == 1);
        let (bell, pulled) = (worker.bell_with(&rung_only()).unwrap(), subscriber.bell_with(&rung_only()).unwrap());
        while is_readable(&bell, SOON) || is_readable(&pulled, SOON) {
            assert!(matches!(bell.poll().unwrap(), Polled::Reserved { .. }));
            assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Reserved { .. })));
            assert!(!pulled.arm(&subscriber).unwrap());
        }
        child.kill();
        assert!(is_readable(&bell, HANGS) && is_readable(&pulled, HANGS), "the kernel did not ring");
        assert!(matches!(bell.poll().unwrap(), Polled::Done { .. }));
        assert!(subscriber.try_next().unwrap().is_none());
        assert!(!pulled.arm(&subscriber).unwrap());
    }

    fn g19_a_subscriber_arms_after_its_reserver_has_died_and_reads_on() {
        let (_name, bus) = bus(&small());
        let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let child = Child::fork(|| {
            let reserver = bus.join_with(&quiet()).unwrap();
            std::mem::forget(reserver.reserve().unwrap());
            std::thread::sleep(HANGS);
        });
        eventually("the id is reserved", || bus.next_id() == 1);
        let bell = subscriber.bell_with(&rung_only()).unwrap();
        assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Reserved { .. })));
        // After the check of the id, and before the descriptor is drained.
        child.kill();
        eventually("the seat is free", || bus.stats().unwrap().workers.iter().filter(|seat| seat.alive).count() == 1);
        assert!(bell.arm(&subscriber).unwrap(), "the ring of its death is drained, and no process will ring again");
        assert!(subscriber.try_next().unwrap().is_none());
    }

    fn g12_a_forked_child_does_nothing_to_the_bells_of_its_parent() {
        let (_name, bus) = bus(&small());
        let (worker, _) = counting(&bus);
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        let mut publisher = bus.publisher().unwrap();
        for options in [rung_only(), rung_only().thread(true), BellOptions::new()] {
            let (bell, pulled) = (worker.bell_with(&options).unwrap(), subscriber.bell_with(&options).unwrap());
            let read_all = |subscriber: &mut seqcast::Subscriber| while subscriber.try_next().unwrap().is_some() {};
            settle(&bell);
            while is_readable(&pulled, SOON) {
                read_all(&mut subscriber);
                pulled.arm(&subscriber).unwrap();
            }
            publisher.post(("s", "e"), "").unwrap();
            assert!(is_readable(&bell, HANGS) && is_readable(&pulled, HANGS));
            in_child(|| {
                assert_eq!(error(bell.poll()).kind(), ErrorKind::Forked);
                assert_eq!(error(bell.poll_at_most(1)).kind(), ErrorKind::Forked);
                assert_eq!(error(pulled.arm(&subscriber)).kind(), ErrorKind::Forked);
                assert_eq!(error(worker.bell()).kind(), ErrorKind::Forked);
                assert_eq!(error(subscriber.bell()).kind(), ErrorKind::Forked);
                // SAFETY: the child ends without using its copies again.
                unsafe { drop((ptr::read(&raw const bell), ptr::read(&raw const pulled))) };
            });
            assert!(is_readable(&bell, NOW) && is_readable(&pulled, NOW), "the child has read what was rung");
            for _ in 0..2 {
                assert_eq!(bell.poll().unwrap().delivered(), 1);
                assert!(subscriber.try_next().unwrap().is_some());
                assert!(!pulled.arm(&subscriber).unwrap());
                publisher.post(("s", "e"), "").unwrap();
                assert!(is_readable(&bell, HANGS) && is_readable(&pulled, HANGS));
            }
            settle(&bell);
            read_all(&mut subscriber);
        }
    }

    fn g12_g19_parent_and_child_have_bells_of_their_own() {
        for (_name, bus) in buses() {
            let (worker, delivered) = counting(&bus);
            let bell = worker.bell_with(&rung_only()).unwrap();
            settle(&bell);
            publish(&bus);
            assert!(is_readable(&bell, NOW));
            let words = shared_words(2);
            let child = Child::fork(|| {
                assert_eq!(error(bell.poll()).kind(), ErrorKind::Forked);
                let (own, own_delivered) = counting(&bus);
                let own_bell = own.bell_with(&rung_only()).unwrap();
                settle(&own_bell);
                say(&words[0]);
                while own_delivered.get() == 0 {
                    assert!(is_readable(&own_bell, HANGS));
                    own_bell.poll().unwrap();
                }
                say(&words[1]);
                own.post(("s", "e"), "").unwrap();
                // Dropped: the inherited bell.
                drop(bell);
            });
            wait_for(&words[0]);
            let bell = worker.bell_with(&rung_only()).unwrap();
            settle(&bell);
            let before = delivered.get();
            publish(&bus);
            wait_for(&words[1]);
            assert!(child.ended_well());
            while delivered.get() < before + 2 {
                assert!(is_readable(&bell, HANGS));
                bell.poll().unwrap();
            }
        }
    }

    fn g12_a_child_that_returns_from_a_handler_into_a_poll_of_a_bell_ends_it() {
        let (_name, bus) = bus(&small());
        let (worker, _) = counting(&bus);
        let fork = |_: &Event<'_>| {
            if let Some(child) = Child::fork_here() {
                assert!(child.ended_well());
            }
        };
        worker.on(Scope::source("forks"), fork).unwrap();
        let bell = worker.bell_with(&rung_only()).unwrap();
        settle(&bell);
        let own_pid = std::process::id();
        worker.post(("forks", "e"), "").unwrap();
        worker.post(("s", "e"), "").unwrap();
        let polled = bell.poll();
        if std::process::id() != own_pid {
            let kind = error(polled).kind();
            drop((bell, worker));
            exit(i32::from(kind != ErrorKind::Forked));
        }
        assert_eq!(polled.unwrap().delivered(), 2);
        settle(&bell);
        worker.post(("s", "e"), "").unwrap();
        assert!(is_readable(&bell, NOW));
    }

    fn g19_a_bell_goes_with_the_file_and_not_with_its_name() {
        let (name, old) = bus(&small());
        let (worker, _) = counting(&old);
        seqcast::unlink(&name).unwrap();
        let bell = worker.bell_with(&rung_only()).unwrap();
        let new = small().create(&name).unwrap();
        let (other, _) = counting(&new);
        let others_bell = other.bell_with(&rung_only()).unwrap();
        settle(&bell);
        settle(&others_bell);
        publish(&new);
        assert!(is_readable(&others_bell, NOW));
        assert!(!is_readable(&bell, SOON));
        settle(&others_bell);
        publish(&old);
        assert!(is_readable(&bell, NOW));
        assert!(!is_readable(&others_bell, SOON));
    }
}

fn publish(bus: &Bus) {
    bus.publisher().unwrap().post(("s", "e"), "").unwrap();
}
