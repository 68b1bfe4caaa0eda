//! What arrived at the far end of a way, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Bytes of a message that are not filling: the time of its sending and its number.
pub const HEAD: usize = 16;

/// A message that does not arrive within this time never will.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// Nanoseconds since the program began.
pub fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Writes the head of a message.
pub fn stamp(message: &mut [u8], number: u64) {
    message[..8].copy_from_slice(&now().to_le_bytes());
    message[8..HEAD].copy_from_slice(&number.to_le_bytes());
}

/// When a message was sent, and when it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Trip {
    pub sent: u64,
    pub arrived: u64,
}

impl Trip {
    pub fn nanos(self) -> u64 {
        self.arrived.saturating_sub(self.sent)
    }
}

/// Receivers note messages here, and the thread that made it waits for them.
#[derive(Debug)]
pub struct Board {
    received: AtomicU64,
    /// The sender sleeps until so many have arrived.
    wanted: AtomicU64,
    sender: Thread,
    trips: Mutex<Vec<Trip>>,
    /// Why the figures would be worth nothing. A panic of a handler ends its event only.
    failed: OnceLock<String>,
}

impl Board {
    pub fn new() -> Arc<Board> {
        let (received, wanted) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Arc::new(Board {
            received,
            wanted,
            sender: thread::current(),
            trips: Mutex::default(),
            failed: OnceLock::new(),
        })
    }

    /// A message has arrived. They must arrive in order, once, and all.
    pub fn note(&self, message: &[u8]) {
        let word = |at: usize| u64::from_le_bytes(message[at..at + 8].try_into().expect("eight bytes"));
        let (sent, number) = (word(0), word(8));
        let received = self.received.load(Ordering::Relaxed);
        if number != received {
            self.fail(format!("message {number} arrived in place of {received}"));
        }
        self.trips.lock().expect("no thread panics with it").push(Trip { sent, arrived: now() });
        self.received.store(received + 1, Ordering::SeqCst);
        if received + 1 >= self.wanted.load(Ordering::SeqCst) {
            self.wanted.store(u64::MAX, Ordering::SeqCst);
            self.sender.unpark();
        }
    }

    pub fn fail(&self, why: String) {
        let _ = self.failed.set(why);
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Sleeps until `count` messages have arrived.
    pub fn wait_for(&self, count: u64) {
        let start = Instant::now();
        while self.received() < count {
            self.wanted.store(count, Ordering::SeqCst);
            if self.received() < count {
                thread::park_timeout(Duration::from_millis(20));
            }
            assert_eq!(self.failed.get(), None);
            let received = self.received();
            assert!(start.elapsed() < MOST_WAIT, "{received} of {count} messages have arrived after {MOST_WAIT:?}");
        }
    }

    /// The messages since the last call.
    pub fn take(&self) -> Vec<Trip> {
        std::mem::take(&mut self.trips.lock().expect("no thread panics with it"))
    }
}
