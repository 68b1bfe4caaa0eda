//! Subscribers and workers that wait as tasks of tokio. G19 is the guarantee of bells: readable when there is
//! something.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_core::Stream;
use seqcast::tokio::{AsyncSubscriber, AsyncWorker};
use seqcast::{BellOptions, Bus, Delivery, ErrorKind, WorkerOptions};
use seqcast_testkit::{Child, HOUR, alone, bus, exit, quiet, shared_words, small, threads};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, yield_now};
use tokio::time::timeout;

/// Options of bells that no timer makes readable: only a ring wakes the reader.
fn rung_only() -> BellOptions {
    BellOptions::new().interval(HOUR)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn subscribe(bus: &Bus) -> AsyncSubscriber {
    let subscriber = bus.subscribe_with(&quiet()).unwrap();
    AsyncSubscriber::with_bell(subscriber, &rung_only()).unwrap()
}

/// Returns the number in an event.
fn number(delivery: Delivery<'_>) -> u64 {
    match delivery {
        Delivery::Event(event) => u64::from_le_bytes(event.bytes().try_into().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn post_numbers(bus: &Bus, numbers: std::ops::Range<u64>) {
    let mut publisher = bus.publisher().unwrap();
    for number in numbers {
        publisher.post(("s", "e"), number.to_le_bytes()).unwrap();
    }
}

#[test]
fn g19_a_task_receives_what_other_threads_post_in_order() {
    let (_name, bus) = bus(&small());
    let (ask, asked) = std::sync::mpsc::channel();
    let poster = bus.clone();
    let posting = std::thread::spawn(move || {
        // One at a time: each is posted after the task has taken the previous one, so that each must wake it.
        for next in asked {
            post_numbers(&poster, next..next + 1);
        }
    });
    runtime().block_on(async {
        let mut subscriber = subscribe(&bus);
        for expected in 0..500 {
            ask.send(expected).unwrap();
            assert_eq!(number(subscriber.recv().await.unwrap()), expected);
        }
    });
    drop(ask);
    posting.join().unwrap();
}

#[test]
fn g19_a_task_on_many_threads_receives_what_another_process_posts() {
    let (_name, bus) = bus(&small());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut subscriber = runtime.block_on(async { subscribe(&bus) });
    let receiving = runtime.spawn(async move {
        for expected in 0..3000 {
            match subscriber.recv().await.unwrap() {
                // A machine under load may not read before 64 more were posted.
                Delivery::Lagged { .. } => return,
                delivery => assert_eq!(number(delivery), expected),
            }
        }
    });
    post_numbers(&bus, 0..3000);
    runtime.block_on(receiving).unwrap();
}

#[test]
fn g2_a_task_that_falls_behind_is_told_how_many_it_missed() {
    let (_name, bus) = bus(&small());
    runtime().block_on(async {
        let mut subscriber = subscribe(&bus);
        post_numbers(&bus, 0..200);
        let Delivery::Lagged { first: 0, missed, .. } = subscriber.recv().await.unwrap() else { panic!("no lag") };
        for expected in missed..200 {
            assert_eq!(number(subscriber.recv().await.unwrap()), expected);
        }
    });
}

#[test]
fn g2_a_receive_that_is_cancelled_takes_nothing() {
    let (_name, bus) = bus(&small());
    runtime().block_on(async {
        let mut subscriber = subscribe(&bus);
        let (mut expected, mut cancelled) = (0, 0);
        let poster = bus.clone();
        let posting = tokio::spawn(async move {
            for number in 0..300 {
                post_numbers(&poster, number..number + 1);
                yield_now().await;
                yield_now().await;
            }
        });
        while expected < 300 {
            // The other branch is ready at the second poll, whatever the first branch has found.
            let mut polls = 0;
            tokio::select! {
                biased;
                delivery = subscriber.recv() => {
                    assert_eq!(number(delivery.unwrap()), expected);
                    expected += 1;
                }
                () = poll_fn(|cx| {
                    polls += 1;
                    if polls > 1 {
                        return std::task::Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }) => cancelled += 1,
            }
        }
        posting.await.unwrap();
        assert!(cancelled > 0, "no receive was cancelled");
        assert!(timeout(Duration::from_millis(1), subscriber.recv()).await.is_err(), "one event too many");
    });
}

#[test]
fn a_task_that_receives_in_a_loop_lets_others_run() {
    let (_name, bus) = bus(&small());
    runtime().block_on(LocalSet::new().run_until(async {
        let mut subscriber = subscribe(&bus);
        let mut publisher = bus.publisher().unwrap();
        let turns = Rc::new(Cell::new(0_u64));
        let count = Rc::clone(&turns);
        let other = tokio::task::spawn_local(async move {
            loop {
                count.set(count.get() + 1);
                yield_now().await;
            }
        });
        for number in 0..10_000_u64 {
            publisher.post(("s", "e"), number.to_le_bytes()).unwrap();
            // The events are posted already, so only the budget makes the task yield.
            assert_eq!(self::number(subscriber.recv().await.unwrap()), number);
        }
        assert!(turns.get() >= 10_000 / 200, "the other task had {} turns", turns.get());
        other.abort();
    }));
}

#[test]
fn g8_a_reserved_id_holds_up_the_reader_and_not_the_runtime() {
    let (_name, bus) = bus(&small());
    runtime().block_on(LocalSet::new().run_until(async {
        let subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let mut subscriber = AsyncSubscriber::with_bell(subscriber, &rung_only()).unwrap();
        let mut reserver = bus.publisher().unwrap();
        let mut reservation = reserver.reserve().unwrap();
        post_numbers(&bus, 1..2);
        let receiving = tokio::task::spawn_local(async move {
            [number(subscriber.recv().await.unwrap()), number(subscriber.recv().await.unwrap())]
        });
        for _ in 0..100 {
            yield_now().await;
        }
        assert!(!receiving.is_finished(), "what is behind a reserved id was received before it");
        reservation.commit(("s", "e"), 0_u64.to_le_bytes()).unwrap();
        assert_eq!(receiving.await.unwrap(), [0, 1]);
    }));
}

#[test]
fn g8_a_reserved_id_that_is_not_committed_is_given_up_without_another_post() {
    let (_name, bus) = bus(&small());
    runtime().block_on(async {
        let patient = quiet().wait_max(Duration::from_millis(30));
        let subscriber = bus.subscribe_with(&patient).unwrap();
        let mut subscriber = AsyncSubscriber::with_bell(subscriber, &rung_only()).unwrap();
        let mut reserver = bus.publisher().unwrap();
        let reservation = reserver.reserve().unwrap();
        post_numbers(&bus, 1..2);
        assert_eq!(number(subscriber.recv().await.unwrap()), 1);
        drop(reservation);
    });
}

// In a process of its own: the threads of other tests come and go.
seqcast_testkit::alone! {
    fn g19_waiting_takes_no_thread() {
        let (_name, bus) = bus(&small());
        runtime().block_on(async {
            let mut subscriber = subscribe(&bus);
            let before = threads();
            assert!(timeout(Duration::from_millis(1), subscriber.recv()).await.is_err());
            assert_eq!(threads(), before);
        });
    }
}

#[test]
fn g19_a_stream_gives_what_a_closure_makes_of_each_delivery_and_ends_after_an_error() {
    let (_name, bus) = bus(&small());
    runtime().block_on(async {
        let mut numbers = subscribe(&bus).into_stream(number);
        post_numbers(&bus, 0..10);
        for expected in 0..10 {
            let next = poll_fn(|cx| Pin::new(&mut numbers).poll_next(cx)).await;
            assert_eq!(next.unwrap().unwrap(), expected);
        }
        let mut pending = 0;
        poll_fn(|cx| {
            pending += u32::from(Pin::new(&mut numbers).poll_next(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(pending, 1);
        assert!(numbers.into_inner().try_recv().unwrap().is_none());
    });
}

#[test]
fn g19_handlers_run_on_the_task_that_polls_and_it_ends_when_the_worker_leaves() {
    let (_name, bus) = bus(&small());
    runtime().block_on(async {
        let worker = bus.join_with(&quiet()).unwrap();
        let seen = Arc::new(AtomicU64::new(0));
        let (count, here) = (Arc::clone(&seen), std::thread::current().id());
        worker
            .on(("s", "e"), move |_| {
                assert_eq!(std::thread::current().id(), here);
                count.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
        let polling = AsyncWorker::with_bell(&worker, &rung_only()).unwrap();
        let polling = tokio::spawn(polling.run());
        for posted in 1..=100 {
            match posted % 3 {
                0 => worker.post_local(("s", "e"), 1_u8).unwrap(),
                1 => _ = worker.post(("s", "e"), "").unwrap(),
                _ => {
                    let bus = bus.clone();
                    std::thread::spawn(move || post_numbers(&bus, 0..1)).join().unwrap();
                }
            }
            while seen.load(Ordering::Relaxed) < posted {
                yield_now().await;
            }
        }
        worker.leave().unwrap();
        polling.await.unwrap().unwrap();
        assert_eq!(seen.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn bad_input_without_a_runtime_there_is_an_error_and_the_subscriber_was_not_lost_to_a_panic() {
    let (_name, bus) = bus(&small());
    let error = AsyncSubscriber::new(bus.subscribe().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Option, "{error}");
    let worker = bus.join().unwrap();
    assert_eq!(AsyncWorker::new(&worker).unwrap_err().kind(), ErrorKind::Option);
}

alone! {
    fn g12_a_forked_child_that_drops_what_it_inherited_does_not_silence_the_parent() {
        let ((_name, bus), words) = (bus(&small()), shared_words(1));
        let runtime = runtime();
        let mut subscriber = runtime.block_on(async { subscribe(&bus) });
        match Child::fork_here() {
            None => {
                let refused = subscriber.try_recv().is_err_and(|error| error.kind() == ErrorKind::Forked);
                drop(subscriber);
                words[0].store(u64::from(refused), Ordering::Relaxed);
                exit(0);
            }
            Some(child) => assert!(child.ended_well()),
        }
        assert_eq!(words[0].load(Ordering::Relaxed), 1);
        let poster = bus.clone();
        let posting = std::thread::spawn(move || {
            for number in 0..50 {
                post_numbers(&poster, number..number + 1);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        runtime.block_on(async {
            for expected in 0..50 {
                assert_eq!(number(subscriber.recv().await.unwrap()), expected);
            }
        });
        posting.join().unwrap();
    }
}

/// How many events the ring of the next tests has.
const RING: u64 = 8;

/// A bus whose posts may wait for a reader for as long as it lives, and options of such a reader.
fn patient() -> (seqcast::SegmentOptions, WorkerOptions) {
    (small().capacity(RING).most_patience(HOUR), quiet().must_read(HOUR))
}

#[test]
fn g16_posts_wait_for_a_task_that_must_read() {
    const EVENTS: u64 = 2_000;
    let (segment, reader) = patient();
    let (_name, bus) = bus(&segment);
    runtime().block_on(async {
        let subscriber = bus.subscribe_with(&reader).unwrap();
        let mut subscriber = AsyncSubscriber::with_bell(subscriber, &rung_only()).unwrap();
        let poster = bus.clone();
        let posting = std::thread::spawn(move || {
            post_numbers(&poster, 0..EVENTS);
            poster.publisher_with(&quiet()).unwrap().try_post(("s", "e"), "").unwrap_err().kind()
        });
        // Until the ring is full, and the next post waits.
        while bus.next_id() < RING {
            yield_now().await;
        }
        for expected in 0..EVENTS - RING {
            assert_eq!(number(subscriber.recv().await.unwrap()), expected);
        }
        // The rest fills the ring again: the last post has its place, and no other has.
        let refused = tokio::task::spawn_blocking(move || posting.join().unwrap()).await.unwrap();
        assert_eq!(refused, ErrorKind::Full);
        for expected in EVENTS - RING..EVENTS {
            assert_eq!(number(subscriber.recv().await.unwrap()), expected);
        }
        assert_eq!(subscriber.publisher().try_post(("s", "e"), 0_u64.to_le_bytes()).unwrap(), EVENTS);
    });
}

#[test]
fn g16_posts_wait_for_a_worker_that_must_read_in_a_task() {
    const EVENTS: u64 = 2_000;
    let (segment, reader) = patient();
    let (_name, bus) = bus(&segment);
    runtime().block_on(async {
        let worker = bus.join_with(&reader).unwrap();
        let next = Arc::new(AtomicU64::new(0));
        let expected = Arc::clone(&next);
        worker
            .on(("s", "e"), move |event| {
                let number = u64::from_le_bytes(event.bytes().try_into().unwrap());
                assert_eq!(number, expected.fetch_add(1, Ordering::Relaxed));
            })
            .unwrap();
        let polling = AsyncWorker::with_bell(&worker, &rung_only()).unwrap();
        let poster = bus.clone();
        let posting = std::thread::spawn(move || post_numbers(&poster, 0..EVENTS));
        while bus.next_id() < RING {
            yield_now().await;
        }
        while next.load(Ordering::Relaxed) < EVENTS {
            assert_eq!(polling.poll().await.unwrap().missed(), 0, "it was lapped");
        }
        posting.join().unwrap();
        // The task does not poll any more: it holds the next lap up.
        let mut publisher = bus.publisher_with(&quiet()).unwrap();
        for _ in 0..RING {
            publisher.try_post(("s", "other"), "").unwrap();
        }
        assert_eq!(publisher.try_post(("s", "other"), "").unwrap_err().kind(), ErrorKind::Full);
        worker.leave().unwrap();
        publisher.try_post(("s", "other"), "").unwrap();
    });
}
