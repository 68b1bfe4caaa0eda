//! The use of handles across threads, and reading options.

use std::time::Duration;

use seqcast::inspect::{Inspector, Tail};
use seqcast::{
    Bus, Claim, Error, Poller, Position, Publisher, Registration, Reservation, SegmentOptions, Start, Stats,
    Subscriber, Waker, WeakWorker, Worker, WorkerOptions,
};

fn is_send_and_sync<T: Send + Sync>() {}
fn is_send<T: Send>() {}

#[test]
fn every_handle_can_be_sent_to_another_thread_and_shared() {
    is_send_and_sync::<Bus>();
    is_send_and_sync::<Worker>();
    is_send_and_sync::<WeakWorker>();
    is_send_and_sync::<Waker>();
    is_send_and_sync::<Reservation<Worker>>();
    is_send_and_sync::<Reservation<&mut Publisher>>();
    is_send_and_sync::<Poller>();
    is_send_and_sync::<Registration>();
    is_send_and_sync::<Claim>();
    is_send_and_sync::<Position>();
    is_send_and_sync::<Error>();
    is_send_and_sync::<Stats>();
    is_send_and_sync::<SegmentOptions>();
    is_send_and_sync::<WorkerOptions>();
    is_send_and_sync::<Inspector>();
    is_send::<Publisher>();
    is_send::<Subscriber>();
    is_send::<Tail>();
}

#[test]
fn options_say_what_they_were_set_to() {
    let segment = SegmentOptions::new()
        .capacity(16)
        .block_size(128)
        .claims(32)
        .seats(3)
        .mode(0o640)
        .owner(7, 8)
        .creation_timeout(Duration::from_secs(9));
    assert_eq!((segment.get_capacity(), segment.get_block_size(), segment.get_claims()), (16, 128, 32));
    assert_eq!((segment.get_seats(), segment.get_mode(), segment.get_owner()), (3, 0o640, Some((7, 8))));
    assert_eq!(segment.get_creation_timeout(), Duration::from_secs(9));
    let flags = |of: &SegmentOptions| (of.get_strict(), of.get_unlink_on_drop(), of.get_dump());
    assert_eq!(flags(&segment), (false, false, false));
    assert_eq!(flags(&segment.clone().strict(true)), (true, false, false));
    assert_eq!(flags(&segment.clone().unlink_on_drop(true)), (false, true, false));
    assert_eq!(flags(&segment.dump(true)), (false, false, true));
    let [a, b, c, d] = [1, 2, 3, 4].map(Duration::from_secs);
    let worker = WorkerOptions::new()
        .label("web")
        .start(Start::Oldest)
        .interval(a)
        .wait_interval(b)
        .wait_max(c)
        .timeout(d)
        .announce(false);
    assert_eq!((worker.get_label(), worker.get_start(), worker.get_announce()), ("web", Start::Oldest, false));
    assert_eq!((worker.get_interval(), worker.get_wait_interval()), (a, b));
    assert_eq!((worker.get_wait_max(), worker.get_timeout()), (c, d));
}
