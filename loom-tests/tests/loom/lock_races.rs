//! The lock between threads of one process: each holder sees what the previous one did, and two never hold it.

use std::sync::Arc;

use crate::protocol::thread_lock::Lock;
use crate::race::race;
use crate::sync::{AtomicU32, AtomicU64, Mode, Ordering};

#[test]
fn two_threads_take_the_lock() {
    race("two threads take the lock").preemptions(None, None).allowed(&["waits 0", "waits 1"]).run(|run| {
        // Plain relaxed words: a thread that enters too early, or sees too little, counts wrong.
        let words = || [0, 1].map(|_| AtomicU64::new(0, Mode::Plain));
        let lock = Arc::new(Lock::new(AtomicU32::new(0, run.mode.of_exchanged()), words()));
        let mut cast = run.cast();
        for actor in 0..2 {
            let (lock, watch) = (lock.clone(), run.clone());
            cast.actor(move || {
                let (held, waits) = match lock.try_lock() {
                    Some(held) => (held, 0),
                    None => (lock.lock(), 1),
                };
                let [one, two] = [0, 1].map(|word| held[word].load(Ordering::Relaxed));
                assert_eq!(one, two, "actor {actor} is inside together with the other, or sees half of its work");
                held[0].store(one + 1, Ordering::Relaxed);
                held[1].store(two + 1, Ordering::Relaxed);
                drop(held);
                watch.outcome(format!("waits {waits}"));
            });
        }
        cast.play();
        let held = lock.try_lock().expect("both have given it back");
        assert_eq!([held[0].at_rest(), held[1].at_rest()], [2, 2], "a holder did not see the other's");
    });
}
