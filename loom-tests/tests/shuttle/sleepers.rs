//! Four publishers, three sleepers, two event loops, one wake word.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use crate::life;
use crate::protocol::wake::{self, Bells, Futex};
use crate::sync::{AtomicU32, AtomicU64, Mode, Ordering};

/// The kernel's side. A sleep never ends by itself: shuttle reports the deadlock of a lost wake-up.
struct Kernel {
    calls: Mutex<u32>,
    wakes: Condvar,
    readable: Mutex<[bool; LOOPS]>,
    rings: Condvar,
}

const LOOPS: usize = 2;

impl Futex for Kernel {
    fn wait(&self, word: &AtomicU32, expected: u32, _: Duration) {
        let mut calls = self.calls.lock().unwrap();
        if word.load(Ordering::SeqCst) != expected {
            return;
        }
        let before = *calls;
        while *calls == before {
            calls = self.wakes.wait(calls).unwrap();
        }
    }

    fn wake_all(&self, _: &AtomicU32) {
        life::about_to_write();
        *self.calls.lock().unwrap() += 1;
        self.wakes.notify_all();
    }
}

impl Bells for Kernel {
    fn ring_all(&self) {
        life::about_to_write();
        *self.readable.lock().unwrap() = [true; LOOPS];
        self.rings.notify_all();
    }
}

impl Kernel {
    fn drain(&self, number: usize) -> Result<(), Infallible> {
        self.readable.lock().unwrap()[number] = false;
        Ok(())
    }

    fn sleep_on(&self, number: usize) {
        let mut readable = self.readable.lock().unwrap();
        while !readable[number] {
            readable = self.rings.wait(readable).unwrap();
        }
    }
}

#[test]
fn publishers_wake_sleepers() {
    crate::explore("4 publishers, 3 sleepers, 2 loops", || {
        let word = Arc::new(AtomicU32::new(0, Mode::Plain));
        let events = Arc::new(AtomicU64::new(0, Mode::Plain));
        let kernel = Arc::new(Kernel {
            calls: Mutex::new(0),
            wakes: Condvar::new(),
            readable: Mutex::new([false; LOOPS]),
            rings: Condvar::new(),
        });
        let mut actors = vec![];
        for _ in 0..4 {
            let (word, events, kernel) = (word.clone(), events.clone(), kernel.clone());
            actors.push(thread::spawn(move || {
                for _ in 0..2 {
                    events.fetch_add(1, Ordering::SeqCst);
                    wake::notify(&word, &*kernel, &*kernel);
                }
            }));
        }
        for first in 1..4 {
            let (word, events, kernel) = (word.clone(), events.clone(), kernel.clone());
            actors.push(thread::spawn(move || {
                for wanted in [first, first + 4, 8] {
                    let ready = || events.load(Ordering::Acquire) >= wanted;
                    while !ready() && !wake::nap(&word, &*kernel, wake::LONGEST_NAP, ready) {}
                }
            }));
        }
        for number in 0..LOOPS {
            let (word, events, kernel) = (word.clone(), events.clone(), kernel.clone());
            actors.push(thread::spawn(move || {
                let deliver = || events.load(Ordering::Acquire) >= 8;
                while !deliver() && !wake::settle([&*word], || kernel.drain(number), deliver).unwrap() {
                    kernel.sleep_on(number);
                }
            }));
        }
        for actor in actors {
            actor.join().expect("an actor failed");
        }
    });
}
