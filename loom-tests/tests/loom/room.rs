//! A wake word, a counter of published events, and the kernel's side of sleeping. The races of sleepers and of bells
//! share them.
//!
//! Here a sleep never ends by itself, although the bus bounds it: a lost wake-up is a deadlock, which loom reports.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32 as Count, Ordering as CountOrdering};
use std::time::Duration;

use loom::sync::{Condvar, Mutex as Lock};

use crate::life;
use crate::protocol::wake::{self, Bells, Futex};
use crate::race::Run;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The kernel's side: for wakers, the check of the word and going to sleep are one step.
pub(crate) struct Kernel {
    lock: Lock<u32>,
    wakes: Condvar,
    descriptors: Vec<Descriptor>,
    /// The number of calls. Not a part of the model.
    pub(crate) calls: Count,
    pub(crate) rings: Count,
}

/// The object on which an event loop sleeps. Equal events of a queue are merged, so a bit is enough.
#[derive(Default)]
struct Descriptor {
    readable: Lock<bool>,
    changes: Condvar,
}

impl Kernel {
    pub(crate) fn new(descriptors: usize) -> Kernel {
        Kernel {
            lock: Lock::new(0),
            wakes: Condvar::new(),
            descriptors: (0..descriptors).map(|_| Descriptor::default()).collect(),
            calls: Count::new(0),
            rings: Count::new(0),
        }
    }

    /// The kernel's action when a process that could write to the segment ends.
    pub(crate) fn bury(&self) {
        for descriptor in &self.descriptors {
            *descriptor.readable.lock().unwrap() = true;
            descriptor.changes.notify_all();
        }
    }
}

impl Futex for Kernel {
    fn wait(&self, word: &AtomicU32, expected: u32, _: Duration) {
        let mut calls = self.lock.lock().unwrap();
        if word.load(Ordering::SeqCst) != expected {
            return;
        }
        let before = *calls;
        while *calls == before {
            calls = self.wakes.wait(calls).unwrap();
        }
    }

    fn wake_all(&self, _: &AtomicU32) {
        // A process can be killed at a system call as at a write.
        life::about_to_write();
        self.calls.fetch_add(1, CountOrdering::Relaxed);
        *self.lock.lock().unwrap() += 1;
        self.wakes.notify_all();
    }
}

impl Bells for Kernel {
    fn ring_all(&self) {
        life::about_to_write();
        self.rings.fetch_add(1, CountOrdering::Relaxed);
        self.bury();
    }
}

pub(crate) struct Room {
    pub(crate) word: AtomicU32,
    /// Stands for the ring: how many events are published.
    events: AtomicU64,
    pub(crate) kernel: Kernel,
}

impl Room {
    pub(crate) fn new(run: &Run) -> Arc<Room> {
        Room::with_loops(run, 0)
    }

    /// Creates a room with this many event loops.
    pub(crate) fn with_loops(run: &Run, loops: usize) -> Arc<Room> {
        Arc::new(Room {
            word: AtomicU32::new(0, run.mode),
            events: AtomicU64::new(0, run.mode),
            kernel: Kernel::new(loops),
        })
    }

    /// An exchange, and then the call. Returns `true` if there was a sleeper to wake.
    pub(crate) fn publish(&self) -> bool {
        self.exchange();
        self.notify()
    }

    /// Like the exchange of a post.
    pub(crate) fn exchange(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn notify(&self) -> bool {
        wake::notify(&self.word, &self.kernel, &self.kernel)
    }

    pub(crate) fn has(&self, events: u64) -> bool {
        self.events.load(Ordering::Acquire) >= events
    }

    /// A thread waits until there are this many events. Returns how often it asked the kernel for a nap, which may be
    /// refused.
    pub(crate) fn wait_for(&self, events: u64) -> u32 {
        let mut naps = 0;
        while !self.has(events) && !wake::nap(&self.word, &self.kernel, wake::LONGEST_NAP, || self.has(events)) {
            naps += 1;
        }
        naps
    }

    /// An event loop delivers until it has delivered this many events. Returns how often it slept.
    pub(crate) fn run_loop(&self, number: usize, events: u64) -> u32 {
        self.run_loop_until(number, || self.has(events))
    }

    /// An event loop delivers until `deliver` reports the last one, and sleeps whenever its bell has settled. Returns
    /// how often it slept.
    pub(crate) fn run_loop_until(&self, number: usize, deliver: impl Fn() -> bool) -> u32 {
        let mut sleeps = 0;
        while !deliver() && !self.settle(number, &deliver) {
            self.sleep_on(number);
            sleeps += 1;
        }
        sleeps
    }

    /// The actions of a bell before its loop sleeps.
    pub(crate) fn settle(&self, number: usize, deliver: impl Fn() -> bool) -> bool {
        let drain = || {
            *self.kernel.descriptors[number].readable.lock().unwrap() = false;
            Ok::<(), Infallible>(())
        };
        wake::settle([&self.word], drain, deliver).unwrap()
    }

    pub(crate) fn is_readable(&self, number: usize) -> bool {
        *self.kernel.descriptors[number].readable.lock().unwrap()
    }

    /// Sleeps until the descriptor is readable.
    fn sleep_on(&self, number: usize) {
        let descriptor = &self.kernel.descriptors[number];
        let mut readable = descriptor.readable.lock().unwrap();
        while !*readable {
            readable = descriptor.changes.wait(readable).unwrap();
        }
    }
}
