//! What only the inside of a worker shows.

use std::thread;
use std::time::Duration;

use crate::layout::header_word;
use crate::sync::Ordering;
use crate::{Bus, Options, Polled, Worker, WorkerOptions};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

fn bus() -> Bus {
    Bus::anonymous(&Options::new().capacity(64).claims(64).records(8)).unwrap()
}

fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false).on_report(|_| ())
}

/// How often the sleepers of a wake word were woken, in steps of one epoch.
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

#[test]
fn g6_a_void_by_a_reader_wakes_the_reserver_that_sleeps() {
    let bus = bus();
    let reserver = bus.join_with(quiet()).unwrap();
    let reader = bus.join_with(quiet().wait_interval(MS).wait_max(MS)).unwrap();
    let _reservation = reserver.reserve().unwrap();
    assert!(reserver.poll().is_ok());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| reserver.wait(HOUR).unwrap());
        eventually("it is about to sleep", || {
            reserver.inner.segment.wake_word(header_word!(wake)).load(Ordering::SeqCst) & 1 == 1
        });
        let before = epoch(&reserver, header_word!(wake));
        assert!(matches!(reader.poll().unwrap(), Polled::Done { delivered: 0, .. }));
        assert_eq!(reader.inner.words.get(crate::layout::record_word!(reading.voided)), 1);
        assert!(epoch(&reserver, header_word!(wake)) > before, "the void woke nobody");
        assert!(waiting.join().unwrap());
    });
}
