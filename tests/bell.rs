//! Bells: descriptors that are readable as long as there may be something to poll.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seqcast::{BellKind, BellOptions, Bus, Delivery, ErrorKind, Polled, Scope, SegmentOptions, Worker, WorkerOptions};

/// Longer than any test takes: the descriptor is readable by a ring, or not at all.
const NEVER: Duration = Duration::from_secs(3600);

fn options() -> SegmentOptions {
    SegmentOptions::new().capacity(64).claims(16).seats(16).unlink_on_drop(true)
}

/// A segment that no other test, and no earlier run, rings.
fn bus(test: &str) -> Bus {
    options().create(&format!("seqcast-t-{}-bell-{test}", std::process::id())).unwrap()
}

/// Waits until the descriptor is readable, for `milliseconds` at most.
fn is_readable(descriptor: impl AsFd, milliseconds: i32) -> bool {
    let mut polled = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd` is read and written.
    let ready = unsafe { libc::poll(&raw mut polled, 1, milliseconds) };
    assert!(ready >= 0 && polled.revents & !libc::POLLIN == 0, "{ready}, {:#x}", polled.revents);
    ready == 1
}

fn joined(bus: &Bus) -> (Worker, Arc<AtomicU64>) {
    let worker = bus.join_with(&WorkerOptions::new().announce(false)).unwrap();
    let delivered = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&delivered);
    worker.on(Scope::source("s"), move |_| _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    (worker, delivered)
}

#[test]
fn g13_a_bell_is_readable_when_there_is_something_to_poll_and_not_else() {
    for bus in [bus("readable"), options().anonymous().unwrap()] {
        let (worker, delivered) = joined(&bus);
        let mut publisher = bus.publisher().unwrap();
        let bell = worker.bell_with(&BellOptions::new().interval(NEVER)).unwrap();
        assert_eq!(bell.kind(), BellKind::Inotify);
        assert!(bell.unheard().is_none());
        assert!(is_readable(&bell, 0), "it is born readable");
        assert_eq!(bell.poll().unwrap().delivered(), 0);
        for events in 1..=3 {
            assert!(!is_readable(&bell, 1));
            publisher.post(("s", "e"), "").unwrap();
            publisher.post(("s", "e"), "").unwrap();
            assert!(is_readable(&bell, 0));
            assert_eq!(bell.poll().unwrap().delivered(), 2);
            assert_eq!(delivered.load(Ordering::Relaxed), 2 * events);
        }
        assert!(!is_readable(&bell, 1));
    }
}

#[test]
fn g13_a_bell_is_readable_for_what_the_process_does_itself() {
    let bus = bus("own");
    let (worker, _) = joined(&bus);
    let bell = worker.bell_with(&BellOptions::new().interval(NEVER)).unwrap();
    bell.poll().unwrap();
    worker.post_local(("s", "e"), 1_u8).unwrap();
    assert!(is_readable(&bell, 0));
    assert_eq!(bell.poll().unwrap().delivered(), 1);
    assert!(!is_readable(&bell, 1));
    for _ in 0..3 {
        worker.post(("s", "e"), "").unwrap();
    }
    for left in (0..3).rev() {
        assert!(is_readable(&bell, 0));
        assert_eq!(bell.poll_at_most(1).unwrap().delivered(), 1);
        assert_eq!(is_readable(&bell, 1), left > 0, "{left} left");
    }
    worker.leave().unwrap();
    assert!(is_readable(&bell, 0));
    assert_eq!(bell.poll().unwrap_err().kind(), ErrorKind::Left);
    assert!(!is_readable(&bell, 1));
}

#[test]
fn g13_a_reserved_id_makes_a_bell_readable_when_it_is_decided_or_due() {
    let bus = bus("reserved");
    let worker = bus.join_with(&WorkerOptions::new().announce(false).wait_max(Duration::from_millis(200))).unwrap();
    worker.on(Scope::source("s"), |_| ()).unwrap();
    let other = bus.join_with(&WorkerOptions::new().announce(false)).unwrap();
    let bell = worker.bell_with(&BellOptions::new().interval(NEVER)).unwrap();
    bell.poll().unwrap();
    let mut reservation = other.reserve().unwrap();
    assert!(is_readable(&bell, 0));
    assert!(matches!(bell.poll().unwrap(), Polled::Reserved { delivered: 0, left: Some(_), .. }));
    reservation.commit(("s", "e"), "").unwrap();
    assert!(is_readable(&bell, 0));
    assert_eq!(bell.poll().unwrap().delivered(), 1);
    let _late = other.reserve().unwrap();
    other.post(("s", "e"), "").unwrap();
    while !matches!(bell.poll().unwrap(), Polled::Done { .. }) {
        assert!(is_readable(&bell, 60_000), "it is never due");
    }
}

#[test]
fn g13_a_subscribers_bell_is_readable_when_there_is_something_to_read() {
    for bus in [bus("pull"), options().anonymous().unwrap()] {
        let mut subscriber = bus.subscribe_with(&WorkerOptions::new().announce(false)).unwrap();
        let mut publisher = bus.publisher().unwrap();
        let bell = subscriber.bell_with(&BellOptions::new().interval(NEVER)).unwrap();
        assert_eq!(bell.kind(), BellKind::Inotify);
        assert!(is_readable(&bell, 0), "it is born readable");
        assert!(!bell.arm(&subscriber).unwrap());
        assert!(!is_readable(&bell, 1));
        for _ in 0..3 {
            publisher.post(("s", "e"), "").unwrap();
            assert!(is_readable(&bell, 0));
            assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))));
            publisher.post(("s", "e"), "").unwrap();
            assert!(bell.arm(&subscriber).unwrap());
            assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))));
            assert!(!bell.arm(&subscriber).unwrap());
            assert!(!is_readable(&bell, 1));
        }
    }
}
