//! What is measured: something that takes payloads from one process to another.

use std::sync::atomic::{AtomicU64, Ordering};

/// The first word of the last payload of a batch.
pub const STOP: u64 = u64::MAX;

/// Which end of a two-way channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends first, and keeps the time.
    Near,
    /// Answers, or only receives. Several may, each with its number.
    Far(usize),
}

/// A way from process to process, as it is before the processes are forked.
pub trait Channel {
    /// An end of it.
    type End: End;
    /// One end, in the process that is to use it; `sink` gets what arrives there.
    fn open(&self, side: Side, sink: &'static Sink) -> Self::End;
}

/// One process's end of a channel.
pub trait End {
    /// Whether what it received and what it missed must add up to what was sent.
    const TELLS_LOSSES: bool = false;
    /// Sends a payload, whole; waits if there is no room and the channel is one that waits.
    fn send(&mut self, payload: &[u8]);
    /// Hands what has arrived to the sink, by [`Sink::take`]. Does not wait, unless the channel can only wait.
    fn poll(&mut self);
    /// Sleeps until something has arrived, or for some time.
    fn wait(&mut self) {}
    /// Payloads lost so far, if the channel can tell.
    fn missed(&self) -> u64 {
        0
    }
}

/// Takes payloads, and reads every byte of each: a channel that lends out its memory and one that copies end at the same
/// point, with the payload's bytes in this process.
#[derive(Debug, Default)]
pub struct Sink {
    last: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
    stops: AtomicU64,
}

impl Sink {
    /// One that lives as long as the process, which has one for each batch at most.
    pub fn leaked() -> &'static Sink {
        Box::leak(Box::default())
    }

    /// Takes a payload. Its first word is its number.
    #[inline]
    pub fn take(&self, payload: &[u8]) {
        let (words, _) = payload.as_chunks::<8>();
        let sum = words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
        // Plain stores: only the process's own thread takes.
        self.sum.store(self.sum.load(Ordering::Relaxed).wrapping_add(sum), Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let number = words.first().map_or(0, |word| u64::from_ne_bytes(*word));
        self.last.store(number, Ordering::Relaxed);
        if number == STOP {
            self.stops.store(self.stops.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// The number of the last payload.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Payloads taken.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many of them were [`STOP`].
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }

    /// The sum of all words taken: what keeps the compiler from leaving the reading out.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// A payload of `size` bytes with something in each.
pub fn payload_of(size: usize) -> Vec<u8> {
    (0..size.max(8)).map(|i| i as u8).collect()
}

/// Gives a payload its number.
#[inline]
pub fn number(payload: &mut [u8], number: u64) {
    payload[..8].copy_from_slice(&number.to_ne_bytes());
}
