//! When a bell is readable, and when it is not.

use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use seqcast::{Bell, BellKind, BellOptions, Delivery, ErrorKind, Event, Polled, Scope, WeakWorker};
use seqcast_testkit::{HANGS, HOUR, alone, bus, error, eventually, is_readable, quiet, sleepers, small, threads};

use crate::{NOW, SOON, buses, counting, hearing, rung_only, settle};

/// Tells silence for certain, in a process that has no more threads than at the beginning, except those of bells.
struct Silence {
    others: usize,
}

impl Silence {
    fn begin() -> Silence {
        Silence { others: threads() }
    }

    /// Returns `true` if the bell is not readable, and no thread is about to make it so: each of them sleeps again when
    /// it has rung for all that was posted.
    fn of(&self, bell: impl AsFd) -> bool {
        eventually("the threads of the bells sleep", || sleepers("seqcast-bell") == threads() - self.others);
        !is_readable(bell, SOON)
    }

    /// Polls until the bell is silent.
    fn settle(&self, bell: &Bell) {
        while !self.of(bell) {
            bell.poll().unwrap();
        }
    }
}

alone! {
    fn g19_a_bell_is_readable_when_there_is_something_to_poll_and_not_else() {
        let silence = Silence::begin();
        for options in hearing() {
            for (_name, bus) in buses() {
                let (worker, delivered) = counting(&bus);
                let mut publisher = bus.publisher().unwrap();
                let bell = worker.bell_with(&options).unwrap();
                let kind = if options.get_thread() { BellKind::Thread } else { BellKind::Inotify };
                assert_eq!(bell.kind(), kind);
                assert!(bell.unheard().is_none());
                assert!(is_readable(&bell, NOW), "it is born readable");
                assert_eq!(bell.poll().unwrap().delivered(), 0);
                for round in 1..=20 {
                    assert!(silence.of(&bell), "round {round}");
                    publisher.post(("s", "e"), "").unwrap();
                    publisher.post(("s", "e"), "").unwrap();
                    assert!(is_readable(&bell, HANGS), "round {round}");
                    assert_eq!(bell.poll().unwrap().delivered(), 2);
                    assert_eq!(delivered.get(), 2 * round);
                    // The thread may ring once more, for the second post.
                    silence.settle(&bell);
                }
            }
        }
    }

    fn g19_a_subscribers_bell_is_readable_when_there_is_something_to_read() {
        let silence = Silence::begin();
        for options in hearing() {
            for (_name, bus) in buses() {
                let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
                let mut publisher = bus.publisher().unwrap();
                let bell = subscriber.bell_with(&options).unwrap();
                assert!(bell.unheard().is_none());
                assert!(is_readable(&bell, NOW), "it is born readable");
                assert!(!bell.arm(&subscriber).unwrap());
                for round in 0..20 {
                    assert!(silence.of(&bell), "round {round}");
                    publisher.post(("s", "e"), "").unwrap();
                    assert!(is_readable(&bell, HANGS), "round {round}");
                    assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))));
                    publisher.post(("s", "e"), "").unwrap();
                    assert!(bell.arm(&subscriber).unwrap(), "no more events");
                    assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))));
                    while !silence.of(&bell) {
                        assert!(!bell.arm(&subscriber).unwrap());
                    }
                    assert!(!bell.arm(&subscriber).unwrap());
                }
            }
        }
    }

    fn g19_a_bell_is_readable_for_what_its_own_worker_does() {
        let silence = Silence::begin();
        for options in hearing() {
            let (_name, bus) = bus(&small());
            let (worker, _) = counting(&bus);
            let bell = worker.bell_with(&options).unwrap();
            silence.settle(&bell);
            worker.post_local(("s", "e"), 1_u8).unwrap();
            assert!(is_readable(&bell, NOW), "post_local");
            assert_eq!(bell.poll().unwrap().delivered(), 1);
            assert!(silence.of(&bell));
            worker.reconfigure(|options| options.label("other")).unwrap();
            silence.settle(&bell);
            worker.leave().unwrap();
            assert!(is_readable(&bell, NOW), "leave");
            assert_eq!(error(bell.poll()).kind(), ErrorKind::Left);
            while is_readable(&bell, SOON) {
                assert_eq!(error(bell.poll()).kind(), ErrorKind::Left);
            }
        }
    }

    fn g19_a_poll_that_stops_early_leaves_the_bell_readable() {
        let silence = Silence::begin();
        for options in hearing() {
            let (_name, bus) = bus(&small());
            let (worker, delivered) = counting(&bus);
            let bell = worker.bell_with(&options).unwrap();
            silence.settle(&bell);
            for _ in 0..4 {
                worker.post(("s", "e"), "").unwrap();
            }
            for done in 1..=4 {
                assert!(is_readable(&bell, HANGS));
                assert_eq!(bell.poll_at_most(1).unwrap().delivered(), 1);
                assert_eq!(delivered.get(), done);
            }
            silence.settle(&bell);
            assert_eq!(bell.poll_at_most(0).unwrap().delivered(), 0);
            assert!(silence.of(&bell));
            worker.post(("s", "e"), "").unwrap();
            assert_eq!(bell.poll_at_most(0).unwrap().delivered(), 0);
            assert!(is_readable(&bell, NOW), "there is an event");
        }
    }
}

#[test]
fn g19_handlers_that_post_leave_nothing_behind() {
    let (_name, bus) = bus(&small());
    let worker = bus.join_with(&quiet()).unwrap();
    let weak = worker.downgrade();
    let delivered = crate::Count::default();
    let count = delivered.clone();
    let post_until_10 = move |weak: &WeakWorker| {
        let worker = weak.upgrade().unwrap();
        match count.add() {
            number if number >= 10 => Ok(()),
            number if number % 2 == 0 => worker.post_local(("s", "e"), 1_u8),
            _ => worker.post(("s", "e"), "").map(drop),
        }
    };
    worker.on(Scope::All, move |_: &Event<'_>| post_until_10(&weak)).unwrap();
    let bell = worker.bell_with(&rung_only()).unwrap();
    worker.post(("s", "e"), "").unwrap();
    assert_eq!(bell.poll().unwrap().delivered(), 10);
    settle(&bell);
    assert_eq!(delivered.get(), 10);
}

#[test]
fn g19_a_reserved_id_makes_bells_readable_when_it_is_decided() {
    for options in hearing() {
        let (_name, bus) = bus(&small());
        let patient = quiet().wait_max(HOUR);
        let (worker, mut subscriber) = (bus.join_with(&patient).unwrap(), bus.subscribe_with(&patient).unwrap());
        let other = bus.join_with(&quiet()).unwrap();
        let (bell, pulled) = (worker.bell_with(&options).unwrap(), subscriber.bell_with(&options).unwrap());
        settle(&bell);
        assert!(!pulled.arm(&subscriber).unwrap());
        for is_committed in [true, false] {
            let mut reservation = other.reserve().unwrap();
            let reserved = reservation.id();
            assert!(is_readable(&bell, HANGS) && is_readable(&pulled, HANGS));
            while is_readable(&bell, SOON) || is_readable(&pulled, SOON) {
                let polled = bell.poll().unwrap();
                assert!(matches!(polled, Polled::Reserved { id, left: Some(_), .. } if id == reserved), "{polled:?}");
                assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Reserved { own: false, .. })));
                assert!(!pulled.arm(&subscriber).unwrap());
            }
            if is_committed {
                reservation.commit(("s", "e"), "").unwrap();
            }
            drop(reservation);
            assert!(is_readable(&bell, HANGS) && is_readable(&pulled, HANGS));
            assert!(matches!(bell.poll().unwrap(), Polled::Done { .. }));
            assert_eq!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))), is_committed);
            settle(&bell);
            assert!(!pulled.arm(&subscriber).unwrap());
        }
    }
}

#[test]
fn g19_g6_a_reserved_id_makes_bells_readable_when_it_is_due_to_be_given_up() {
    let (_name, bus) = bus(&small());
    let hasty = quiet().wait_max(Duration::from_millis(30));
    let (worker, mut subscriber) = (bus.join_with(&hasty).unwrap(), bus.subscribe_with(&hasty).unwrap());
    let other = bus.join_with(&quiet()).unwrap();
    let (bell, pulled) = (worker.bell_with(&rung_only()).unwrap(), subscriber.bell_with(&rung_only()).unwrap());
    let _late = other.reserve().unwrap();
    let id = other.post(("s", "e"), "").unwrap();
    let mut polls = 0;
    while !matches!(bell.poll().unwrap(), Polled::Done { .. }) {
        assert!(is_readable(&bell, HANGS), "it is never due");
        polls += 1;
    }
    assert_eq!(worker.cursor(), id + 1);
    assert!(polls < 20, "it polls all the time");
    let _late = other.reserve().unwrap();
    let id = other.post(("s", "e"), "").unwrap();
    while subscriber.cursor() <= id {
        while !matches!(subscriber.try_next().unwrap(), None | Some(Delivery::Reserved { .. })) {}
        while pulled.arm(&subscriber).unwrap() && subscriber.try_next().unwrap().is_some() {}
        assert!(subscriber.cursor() > id || is_readable(&pulled, HANGS), "it is never due");
    }
}

#[test]
fn g19_an_own_reserved_id_sets_no_timer_and_its_commit_rings() {
    let (_name, bus) = bus(&small());
    let (worker, delivered) = counting(&bus);
    worker.reconfigure(|options| options.wait_max(Duration::from_millis(10))).unwrap();
    let bell = worker.bell_with(&rung_only()).unwrap();
    settle(&bell);
    let mut reservation = worker.reserve().unwrap();
    while is_readable(&bell, Duration::from_millis(30)) {
        assert!(matches!(bell.poll().unwrap(), Polled::Reserved { left: None, .. }));
    }
    reservation.commit(("s", "e"), "").unwrap();
    assert!(is_readable(&bell, NOW));
    bell.poll().unwrap();
    assert_eq!(delivered.get(), 1);
}

#[test]
fn g19_the_interval_makes_a_bell_readable_and_no_more_often() {
    let (_name, bus) = bus(&small());
    let (worker, _) = counting(&bus);
    let interval = Duration::from_millis(20);
    // From before the first interval: one may be over already when the bell is silent.
    let (began, mut woken) = (Instant::now(), 0);
    let bell = worker.bell_with(&BellOptions::new().interval(interval)).unwrap();
    settle(&bell);
    while woken < 10 {
        assert!(is_readable(&bell, HANGS));
        bell.poll().unwrap();
        woken += 1;
    }
    let most = began.elapsed().as_millis() / interval.as_millis() + 1;
    assert!(woken <= most, "woken {woken} times in {most} intervals");
}

#[test]
fn g19_a_waker_makes_a_bell_readable_and_no_wake_is_lost() {
    let (_name, bus) = bus(&small());
    let (worker, _) = counting(&bus);
    let bell = worker.bell_with(&rung_only()).unwrap();
    settle(&bell);
    let waker = worker.waker();
    thread::scope(|scope| scope.spawn(|| waker.wake()).join().unwrap());
    assert!(is_readable(&bell, NOW));
    settle(&bell);
    // An event that comes after a check of a flag, and before the poll that drains.
    waker.wake();
    bell.poll().unwrap();
    assert!(is_readable(&bell, NOW), "the loop would sleep and not look at its flag");
    settle(&bell);
    // During the poll.
    worker.on(Scope::source("wakes"), move |_: &Event<'_>| waker.wake()).unwrap();
    worker.post(("wakes", "e"), "").unwrap();
    bell.poll().unwrap();
    assert!(is_readable(&bell, NOW), "the loop would sleep and not look at its flag");
    settle(&bell);
}

#[test]
fn g19_g11_a_bell_beside_another_threads_handler_is_silent_until_that_poll_is_over() {
    let (_name, bus) = bus(&small());
    let worker = bus.join_with(&quiet()).unwrap();
    let ((begun, begins), (go, gone)) = (mpsc::channel(), mpsc::channel());
    let gone = std::sync::Mutex::new(gone);
    let block = move |_: &Event<'_>| {
        begun.send(()).unwrap();
        gone.lock().unwrap().recv().unwrap();
    };
    worker.on(Scope::source("blocks"), block).unwrap();
    let bell = worker.bell_with(&rung_only()).unwrap();
    settle(&bell);
    worker.post(("blocks", "e"), "").unwrap();
    let polling = worker.clone();
    let poller = thread::spawn(move || polling.poll_at_most(1).unwrap());
    begins.recv().unwrap();
    worker.post(("s", "e"), "").unwrap();
    let mut polls = 0;
    let began = Instant::now();
    while is_readable(&bell, Duration::from_millis(60)) {
        assert_eq!(bell.poll().unwrap(), Polled::Busy);
        polls += 1;
    }
    // The interval between two checks doubles each time, starting at a millisecond.
    let most = 10 + began.elapsed().as_millis().ilog2();
    assert!(polls <= most, "{polls} polls, of {most}");
    go.send(()).unwrap();
    poller.join().unwrap();
    assert!(is_readable(&bell, HANGS), "the poll is over, and has left an event");
    eventually("the event is delivered", || {
        bell.poll().unwrap();
        worker.cursor() == bus.next_id()
    });
    settle(&bell);
}

#[test]
fn g19_a_poll_of_a_bell_in_a_handler_loses_nothing() {
    let (_name, bus) = bus(&small());
    let worker = bus.join_with(&quiet()).unwrap();
    let bell = std::sync::Arc::new(worker.bell_with(&rung_only()).unwrap());
    let weak = std::sync::Arc::downgrade(&bell);
    let inside = move |_: &Event<'_>| {
        let Some(bell) = weak.upgrade() else { return };
        assert_eq!(bell.poll().unwrap(), Polled::Recursive);
        assert_eq!(bell.poll_at_most(0).unwrap(), Polled::Recursive);
    };
    worker.on(Scope::source("s"), inside).unwrap();
    settle(&bell);
    for _ in 0..3 {
        worker.post(("s", "e"), "").unwrap();
    }
    // By the worker, which does not poll the remaining events.
    worker.poll_at_most(1).unwrap();
    assert!(is_readable(&*bell, HANGS), "two events are left");
    assert_eq!(bell.poll().unwrap().delivered(), 2);
    settle(&bell);
    assert_eq!(worker.cursor(), bus.next_id());
}

#[test]
fn g19_all_bells_of_a_worker_are_readable_and_there_are_eight_at_most() {
    let (_name, bus) = bus(&small());
    let (worker, _) = counting(&bus);
    let mut bells: Vec<_> = (0..8).map(|_| worker.bell_with(&rung_only().thread(true)).unwrap()).collect();
    assert_eq!(error(worker.bell()).kind(), ErrorKind::Option);
    bells.truncate(3);
    bells.push(worker.bell_with(&rung_only()).unwrap());
    let silent = |bells: &[seqcast::Bell]| bells.iter().all(|bell| !is_readable(bell, SOON));
    while !silent(&bells) {
        bells.iter().for_each(settle);
    }
    for number in 0..4 {
        worker.post(("s", "e"), "").unwrap();
        worker.post_local(("s", "e"), 1_u8).unwrap();
        assert!(bells.iter().all(|bell| is_readable(bell, HANGS)));
        assert_eq!(bells[number].poll().unwrap().delivered(), 2);
        while !silent(&bells) {
            bells.iter().for_each(settle);
        }
    }
}

#[test]
fn g19_a_bell_of_another_bus_is_refused() {
    let ((_a, one), (_b, other)) = (bus(&small()), bus(&small()));
    let (subscriber, wrong) = (one.subscribe().unwrap(), other.subscribe().unwrap());
    let bell = subscriber.bell().unwrap();
    assert_eq!(error(bell.arm(&wrong)).kind(), ErrorKind::Option);
    bell.arm(&subscriber).unwrap();
}

#[test]
fn times_of_nothing_are_refused() {
    let (_name, bus) = bus(&small());
    let (worker, subscriber) = (bus.join().unwrap(), bus.subscribe().unwrap());
    for options in [BellOptions::new().interval(NOW), BellOptions::new().tick(NOW)] {
        assert_eq!(error(worker.bell_with(&options)).kind(), ErrorKind::Option);
        assert_eq!(error(subscriber.bell_with(&options)).kind(), ErrorKind::Option);
    }
    let longest = BellOptions::new().interval(Duration::MAX).tick(Duration::MAX);
    let bell = worker.bell_with(&longest).unwrap();
    settle(&bell);
}

#[test]
fn g19_a_closure_polls_a_bell_and_its_panic_loses_nothing() {
    for options in hearing() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let bell = worker.bell_with(&options).unwrap();
        let mut seen = Vec::new();
        while is_readable(&bell, SOON) {
            bell.poll_with(|event| seen.push(event.id())).unwrap();
        }
        for number in 0..3 {
            worker.post(("s", "e"), [number]).unwrap();
        }
        assert!(is_readable(&bell, HANGS));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            bell.poll_with(|event| {
                seen.push(event.id());
                assert_ne!(event.bytes(), [1], "out of luck");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(seen, [Some(0), Some(1)]);
        assert!(is_readable(&bell, NOW), "an event is left");
        while is_readable(&bell, SOON) {
            bell.poll_with(|event| seen.push(event.id())).unwrap();
        }
        assert_eq!(seen, [Some(0), Some(1), Some(2)]);
        let recursive = |_: &Event<'_>| assert_eq!(bell.poll_with(|_| ()).unwrap(), Polled::Recursive);
        worker.post(("s", "e"), "").unwrap();
        bell.poll_with(recursive).unwrap();
        while is_readable(&bell, SOON) {
            assert_eq!(bell.poll_with(|_| ()).unwrap().delivered(), 0);
        }
    }
}
