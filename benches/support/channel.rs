//! The measured subjects: channels that carry payloads from one process to another.

use std::sync::atomic::{AtomicU64, Ordering};

use super::clock::ticks;

/// The first word of the last payload of a batch.
pub const STOP: u64 = u64::MAX;

/// An end of a two-way channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Sends first, and measures the time.
    Near,
    /// Answers, or only receives. There may be several, each with a number.
    Far(usize),
}

/// A channel between processes, before the processes are forked.
pub trait Channel {
    /// The type of its ends.
    type End: End;
    /// Returns one end, in the process that uses it; arriving payloads go to `sink`.
    fn open(&self, side: Side, sink: &'static Sink) -> Self::End;
}

/// One process's end of a channel.
pub trait End {
    /// `true` if received and missed payloads must add up to the sent ones.
    const TELLS_LOSSES: bool = false;
    /// Sends a whole payload. Waits for room if the channel is one that waits.
    fn send(&mut self, payload: &[u8]);
    /// Passes arrived payloads to the sink, by [`Sink::take`]. Does not wait, unless the channel can only wait.
    fn poll(&mut self);
    /// Sleeps until a payload has arrived, or for some time.
    fn wait(&mut self) {}
    /// Returns the number of lost payloads, if the channel can count them.
    fn missed(&self) -> u64 {
        0
    }
}

/// Takes payloads, and reads every byte of each. Thus a channel that lends its memory and one that copies end at the
/// same point, with the payload's bytes in this process.
#[derive(Debug, Default)]
pub struct Sink {
    last: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
    stops: AtomicU64,
    /// When the last payload was taken, if this is a sink with a clock.
    taken: AtomicU64,
    has_clock: bool,
}

impl Sink {
    /// Returns a sink that lives as long as the process, which has at most one for each batch.
    pub fn leaked() -> &'static Sink {
        Box::leak(Box::default())
    }

    /// Returns a sink that also takes the time of each payload.
    pub fn leaked_with_clock() -> &'static Sink {
        Box::leak(Box::new(Sink { has_clock: true, ..Sink::default() }))
    }

    /// Takes a payload. The payload's first word is its number.
    #[inline]
    pub fn take(&self, payload: &[u8]) {
        let (words, _) = payload.as_chunks::<8>();
        let sum = words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
        self.take_summed(words.first().map_or(0, |word| u64::from_ne_bytes(*word)), sum);
    }

    /// Takes a payload that was read elsewhere, by its number and the sum of its words.
    #[inline]
    pub fn take_summed(&self, number: u64, sum: u64) {
        // Plain stores: only the process's own thread takes payloads.
        self.sum.store(self.sum.load(Ordering::Relaxed).wrapping_add(sum), Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.last.store(number, Ordering::Relaxed);
        if self.has_clock {
            self.taken.store(ticks(), Ordering::Relaxed);
        }
        if number == STOP {
            self.stops.store(self.stops.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Returns the number of the last payload.
    #[inline]
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Returns when the last payload was taken. The sink must have a clock.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Returns the number of payloads.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns how many of them were [`STOP`].
    pub fn stops(&self) -> u64 {
        self.stops.load(Ordering::Relaxed)
    }

    /// Returns the sum of all words, which prevents the compiler from omitting the reads.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Returns a payload of `size` bytes, all set.
pub fn payload_of(size: usize) -> Vec<u8> {
    (0..size.max(8)).map(|i| i as u8).collect()
}

/// Sets the number of a payload.
#[inline]
pub fn number(payload: &mut [u8], number: u64) {
    payload[..8].copy_from_slice(&number.to_ne_bytes());
}
