//! Event loops that wait for bells: level- and edge-triggered, nested, in several processes.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use seqcast::{Bus, Delivery};
use seqcast_testkit::{Child, HANGS, alone, bus, eventually, quiet, shared_words, small};

use crate::{counting, rung_only};

/// An epoll instance with one descriptor in it.
struct Epoll(OwnedFd);

impl Epoll {
    fn of(descriptor: impl AsFd, events: libc::c_int) -> Epoll {
        // SAFETY: a system call without pointers; the descriptor is new.
        let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | events) as u32, u64: 0 };
        let number = descriptor.as_fd().as_raw_fd();
        // SAFETY: both are open, and the event is read.
        let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, number, &raw mut event) };
        assert_eq!(added, 0);
        Epoll(epoll)
    }

    /// Sleeps until there is an event. Returns `false` if there is none for a very long time.
    fn wait(&self) -> bool {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the call fills one event.
        let ready =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, HANGS.as_millis() as libc::c_int / 3) };
        assert!(ready >= 0);
        ready == 1
    }
}

#[derive(Clone, Copy, Debug)]
enum Loop {
    Level,
    Edge,
    /// Edge-triggered, with a set inside a set.
    Nested,
    /// Edge-triggered, with a few events in each turn.
    Bounded,
}

const LOOPS: [Loop; 4] = [Loop::Level, Loop::Edge, Loop::Nested, Loop::Bounded];

/// Waits for `bell` in the way of `kind`, and calls `turn` each time the bell is readable, until `turn` returns that it
/// was the last one.
fn run(kind: Loop, bell: impl AsFd, mut turn: impl FnMut() -> bool) {
    let inner = Epoll::of(&bell, if matches!(kind, Loop::Level) { 0 } else { libc::EPOLLET });
    let outer = matches!(kind, Loop::Nested).then(|| Epoll::of(&inner.0, 0));
    loop {
        assert!(outer.as_ref().is_none_or(Epoll::wait) && inner.wait(), "{kind:?}: a loop sleeps over an event");
        if turn() {
            return;
        }
    }
}

fn run_worker(bus: &Bus, kind: Loop, events: u64) {
    let (worker, delivered) = counting(bus);
    let bell = worker.bell_with(&rung_only()).unwrap();
    worker.post(("s", "joined"), "").unwrap();
    run(kind, &bell, || {
        if matches!(kind, Loop::Bounded) {
            bell.poll_at_most(3).unwrap()
        } else {
            bell.poll().unwrap()
        };
        delivered.get() == events
    });
}

fn run_subscriber(bus: &Bus, kind: Loop, events: u64) {
    let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
    let bell = subscriber.bell_with(&rung_only()).unwrap();
    subscriber.publisher().post(("s", "joined"), "").unwrap();
    let mut delivered = 0;
    run(kind, &bell, || {
        loop {
            while let Some(delivery) = subscriber.try_next().unwrap() {
                assert!(matches!(delivery, Delivery::Event(_)), "{delivery:?}");
                delivered += 1;
            }
            if !bell.arm(&subscriber).unwrap() {
                return delivered == events;
            }
        }
    });
}

alone! {
    fn g19_no_loop_of_any_kind_sleeps_over_an_event() {
        const EACH: u64 = 400;
        const POSTERS: u64 = 2;
        let loops = 2 * LOOPS.len() as u64;
        let (_name, bus) = bus(&small().capacity(4096));
        let go = &shared_words(1)[0];
        let children: Vec<_> = LOOPS
            .into_iter()
            .enumerate()
            .flat_map(|(place, kind)| {
                // Each loop counts its own announcement and those of later loops.
                let events = |number: usize| POSTERS * EACH + loops - number as u64;
                let start = |number: usize, run: fn(&Bus, Loop, u64)| {
                    let child = Child::fork(|| run(&bus, kind, events(number)));
                    eventually("it has joined", || bus.next_id() == number as u64 + 1);
                    child
                };
                [start(2 * place, run_worker), start(2 * place + 1, run_subscriber)]
            })
            .collect();
        let posters: Vec<_> = (0..POSTERS)
            .map(|poster| {
                let bus = &bus;
                Child::fork(move || {
                    let mut publisher = bus.publisher().unwrap();
                    eventually("all are there", || go.load(std::sync::atomic::Ordering::Acquire) == 1);
                    for number in 0..EACH {
                        publisher.post(("s", "e"), "").unwrap();
                        // Lets all loops fall asleep from time to time.
                        if (number + poster) % 3 == 0 {
                            std::thread::sleep(Duration::from_micros(number % 7 * 100));
                        }
                    }
                })
            })
            .collect();
        go.store(1, std::sync::atomic::Ordering::Release);
        assert!(posters.into_iter().all(Child::ended_well));
        assert!(children.into_iter().all(Child::ended_well));
    }
}
