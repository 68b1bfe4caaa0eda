//! The lock between threads of one process: each holder sees what the previous one did, and two never hold it.

use std::sync::Arc;

use crate::protocol::thread_lock::{Lend, Lock};
use crate::race::race;
use crate::sync::{AtomicU32, AtomicU64, Mode, Ordering};

impl Lend for [AtomicU64; 2] {}

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

/// A block of two words that one thread fills in two steps, and what it has lent of it.
struct Block {
    words: [AtomicU64; 2],
    /// How many words are written, if the block is lent.
    lent: Option<usize>,
    /// What was written when it was taken back.
    saved: Option<Vec<u64>>,
    /// What was published, each as two words.
    published: Vec<[u64; 2]>,
}

impl Block {
    fn publish(&mut self) {
        self.published.push([0, 1].map(|word| self.words[word].load(Ordering::Relaxed)));
    }
}

impl Lend for Block {
    fn take_back(&mut self) {
        if let Some(words) = self.lent.take() {
            self.saved = Some(self.words[..words].iter().map(|word| word.load(Ordering::Relaxed)).collect());
        }
    }
}

#[test]
fn a_thread_posts_while_another_fills_the_block_that_it_was_lent() {
    race("a thread posts while another fills the block that it was lent")
        .preemptions(None, None)
        .allowed(&[
            "in place",
            "from what was saved, after 0",
            "from what was saved, after 1",
            "from what was saved, after 2",
        ])
        .run(|run| {
            let words = [0, 1].map(|_| AtomicU64::new(0, Mode::Plain));
            let block = Block { words, lent: None, saved: None, published: Vec::new() };
            let lock = Arc::new(Lock::new(AtomicU32::new(0, run.mode.of_exchanged()), block));
            let mut cast = run.cast();
            let (filler, watch) = (lock.clone(), run.clone());
            cast.actor(move || {
                let mut held = filler.lock();
                held.lent = Some(0);
                held.lend();
                for word in 0..3 {
                    let mut held = filler.resume().unwrap_or_else(|| filler.lock());
                    if let Some(saved) = held.saved.take() {
                        assert_eq!(saved, vec![1; word], "not what was written");
                        held.words.iter().for_each(|word| word.store(1, Ordering::Relaxed));
                        held.publish();
                        watch.outcome(format!("from what was saved, after {word}"));
                        return;
                    }
                    if word == 2 {
                        held.lent = None;
                        held.publish();
                        watch.outcome("in place");
                        return;
                    }
                    held.words[word].store(1, Ordering::Relaxed);
                    held.lent = Some(word + 1);
                    held.lend();
                }
            });
            let poster = lock.clone();
            cast.actor(move || {
                let mut held = poster.lock();
                assert_eq!(held.lent, None, "the block is used while it is lent");
                held.words.iter().for_each(|word| word.store(2, Ordering::Relaxed));
                held.publish();
            });
            cast.play();
            let mut published = lock.try_lock().expect("both have given it back").published.clone();
            published.sort_unstable();
            assert_eq!(published, [[1, 1], [2, 2]], "torn, lost or doubled");
        });
}
