//! Tests that need the inside of a worker.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::segment::layout::header_word;
use crate::sync::Ordering;
use crate::{Bus, Cause, Event, Polled, Scope, SegmentOptions, Worker, WorkerOptions};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn bus() -> Bus {
    SegmentOptions::new().capacity(64).claims(64).seats(8).anonymous().unwrap()
}

fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false).on_report(|_| ())
}

/// Returns the epoch of a wake word, which grows by one with every wake.
fn epoch(worker: &Worker, word: usize) -> u32 {
    worker.inner.segment.wake_word(word).load(Ordering::SeqCst) >> 2
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..300_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_micros(100));
    }
    panic!("never: {what}");
}

/// Makes a worker leave at the end of a test, so that its threads end even if the test fails.
struct Leaves<'a>(&'a Worker);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let _ = self.0.clone().leave();
    }
}

#[test]
fn g6_a_void_by_a_reader_wakes_the_reserver_that_sleeps() {
    let bus = bus();
    let reserver = bus.join_with(&quiet()).unwrap();
    let reader = bus.join_with(&quiet().wait_interval(MS).wait_max(MS)).unwrap();
    let _reservation = reserver.reserve().unwrap();
    assert!(reserver.poll().is_ok());
    thread::scope(|scope| {
        let _leaves = Leaves(&reserver);
        let waiting = scope.spawn(|| reserver.wait(HOUR).unwrap());
        eventually("it is about to sleep", || {
            reserver.inner.segment.wake_word(header_word!(wake)).load(Ordering::SeqCst) & 1 == 1
        });
        let before = epoch(&reserver, header_word!(wake));
        assert!(matches!(reader.poll().unwrap(), Polled::Done { delivered: 0, .. }));
        assert_eq!(reader.inner.words.get(crate::segment::layout::seat_word!(reading.voided)), 1);
        assert!(epoch(&reserver, header_word!(wake)) > before, "the void woke no sleeper");
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn changes_of_options_by_two_threads_are_all_made() {
    const EACH: u32 = 100;
    let bus = bus();
    let worker = bus.join_with(&quiet().timeout(HOUR)).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let one_more = |options: WorkerOptions| {
                        // Time for the other to do the same.
                        thread::sleep(Duration::from_micros(50));
                        let (timeout, wait_max) = (options.timeout + MS, options.wait_max + MS);
                        options.timeout(timeout).wait_max(wait_max).label(format!("{wait_max:?}"))
                    };
                    worker.reconfigure(one_more).unwrap();
                }
            });
        }
    });
    let options = worker.options();
    assert_eq!(options.timeout, HOUR + MS * 2 * EACH, "a change that was made is lost");
    // The label, which others see, and the options that polls read are of the same change.
    assert_eq!(crate::seat::label_of(&worker.inner.words), format!("{:?}", options.wait_max));
    let tuned = Duration::from_nanos(worker.inner.tuning.wait_max.load(Ordering::Relaxed));
    assert_eq!(tuned, options.wait_max);
}

#[test]
fn a_change_of_options_inside_another_is_an_error_and_the_outer_one_is_made() {
    let bus = bus();
    let worker = bus.join_with(&quiet()).unwrap();
    let mut inner = None;
    worker
        .reconfigure(|options| {
            inner = Some(worker.reconfigure(|options| options.label("inner")));
            // Calls that a handler or another thread may need meanwhile.
            assert_eq!(thread::scope(|scope| scope.spawn(|| worker.options().label.clone()).join().unwrap()), "");
            worker.post(("s", "e"), b"").unwrap();
            assert!(worker.poll().is_ok());
            options.label("outer")
        })
        .unwrap();
    let refusal = inner.unwrap().unwrap_err();
    assert!(matches!(refusal.cause(), Cause::Option { option: "reconfigure", .. }), "{refusal:?}");
    assert_eq!(worker.options().label, "outer");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        worker.reconfigure(|_| std::panic::resume_unwind(Box::new("in the change")))
    }));
    assert!(panicked.is_err());
    assert_eq!(worker.options().label, "outer");
    worker.reconfigure(|options| options.label("after it")).unwrap();
    assert_eq!(worker.options().label, "after it");
}

#[test]
fn g11_a_wait_beside_a_handler_of_another_thread_sleeps_and_is_woken_by_its_end() {
    let bus = bus();
    let worker = bus.join_with(&quiet()).unwrap();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let (begin, begun) = mpsc::channel();
    worker
        .on(Scope::All, move |_: &Event<'_>| {
            begin.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
        })
        .unwrap();
    worker.post(("s", "1"), b"").unwrap();
    let waits = AtomicU64::new(0);
    thread::scope(|scope| {
        let (_leaves, release) = (Leaves(&worker), release);
        let polling = scope.spawn(|| worker.poll().unwrap());
        begun.recv().unwrap();
        assert_eq!(worker.poll().unwrap(), Polled::Busy);
        // News for the other thread's poll.
        worker.post(("s", "2"), b"").unwrap();
        let waiting = scope.spawn(|| {
            loop {
                waits.fetch_add(1, Ordering::Relaxed);
                let news = worker.wait(HOUR).unwrap();
                match worker.poll().unwrap() {
                    Polled::Busy => {}
                    polled => break (news, polled),
                }
            }
        });
        let word = &worker.inner.own_wakes.poll_ended;
        // A thread that spins never announces its sleep.
        eventually("it sleeps", || word.load(Ordering::SeqCst) & 1 == 1);
        let before = word.load(Ordering::SeqCst) >> 2;
        assert_eq!(waits.load(Ordering::Relaxed), 1, "it does not wait, it spins");
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert!(matches!(polling.join().unwrap(), Polled::Done { delivered: 2, .. }));
        assert!(word.load(Ordering::SeqCst) >> 2 > before, "the end of the poll woke no sleeper");
        release.send(()).unwrap();
        worker.post(("s", "3"), b"").unwrap();
        let (news, polled) = waiting.join().unwrap();
        assert!(news && matches!(polled, Polled::Done { delivered: 1, .. }), "{polled:?}");
    });
}

#[test]
fn a_wait_inside_a_handler_returns_at_once_and_a_poll_there_is_recursive() {
    let bus = bus();
    let worker = bus.join_with(&quiet()).unwrap();
    let inside = worker.clone();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&answers);
    worker
        .on(Scope::All, move |_: &Event<'_>| {
            let waited = inside.wait(HOUR).unwrap();
            noted.lock().unwrap().push((waited, inside.poll().unwrap(), inside.poll_now().unwrap()));
        })
        .unwrap();
    worker.post(("s", "1"), b"").unwrap();
    worker.post(("s", "2"), b"").unwrap();
    assert!(matches!(worker.poll().unwrap(), Polled::Done { delivered: 2, .. }));
    assert_eq!(*answers.lock().unwrap(), [(false, Polled::Recursive, Polled::Recursive); 2]);
}
