//! The physical limits, measured directly: the time that two cores need to hand over one cache line, a flag and its
//! payload, or a wake-up.
//!
//! They store nothing, order nothing and survive nothing, and cannot be used as channels. The figures of real channels
//! are divided by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::board::Board;
use super::channel::{Channel, End, STOP, Side, Sink};

/// One line that goes back and forth: the payload is its number.
pub struct OneLine(pub Board);

/// A payload in separate lines, and a flag in another line that announces it. Two lines for up to 64 bytes.
pub struct FlagAndPayload(pub Board, pub usize);

/// A word, and a futex on it.
pub struct Futex(pub Board);

/// One side uses even numbers, the other odd ones, so that a word tells which side wrote it.
#[inline]
fn tag(side: Side, number: u64) -> u64 {
    if number == STOP { STOP } else { number << 1 | u64::from(side != Side::Near) }
}

/// Returns the number in `word`, if the other side wrote it.
#[inline]
fn untag(side: Side, word: u64) -> Option<u64> {
    match word {
        STOP => Some(STOP),
        _ if (word & 1 == 1) == (side == Side::Near) => Some(word >> 1),
        _ => None,
    }
}

fn first_word(payload: &[u8]) -> u64 {
    payload.first_chunk::<8>().map_or(0, |word| u64::from_ne_bytes(*word))
}

pub struct OneLineEnd {
    word: &'static AtomicU64,
    side: Side,
    seen: u64,
    sink: &'static Sink,
}

impl Channel for OneLine {
    type End = OneLineEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> OneLineEnd {
        OneLineEnd { word: self.0.play_flag(0), side, seen: 0, sink }
    }
}

impl End for OneLineEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.word.store(tag(self.side, first_word(payload)), Ordering::Release);
    }

    #[inline]
    fn poll(&mut self) {
        let word = self.word.load(Ordering::Acquire);
        if word != self.seen
            && let Some(number) = untag(self.side, word)
        {
            self.seen = word;
            self.sink.take(&number.to_ne_bytes());
        }
    }
}

pub struct FlagAndPayloadEnd {
    flag: &'static AtomicU64,
    payload: &'static [AtomicU64],
    buffer: Vec<u8>,
    side: Side,
    seen: u64,
    sink: &'static Sink,
}

impl Channel for FlagAndPayload {
    type End = FlagAndPayloadEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> FlagAndPayloadEnd {
        FlagAndPayloadEnd {
            flag: self.0.play_flag(0),
            payload: &self.0.play_payload()[..self.1.div_ceil(8)],
            buffer: vec![0; self.1],
            side,
            seen: 0,
            sink,
        }
    }
}

impl End for FlagAndPayloadEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        for (word, chunk) in self.payload.iter().zip(payload.as_chunks::<8>().0) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        self.flag.store(tag(self.side, first_word(payload)), Ordering::Release);
    }

    #[inline]
    fn poll(&mut self) {
        let word = self.flag.load(Ordering::Acquire);
        if word != self.seen && untag(self.side, word).is_some() {
            self.seen = word;
            for (chunk, word) in self.buffer.as_chunks_mut::<8>().0.iter_mut().zip(self.payload) {
                *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            self.sink.take(&self.buffer);
        }
    }
}

pub struct FutexEnd {
    word: &'static AtomicU64,
    side: Side,
    sink: &'static Sink,
}

impl Channel for Futex {
    type End = FutexEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> FutexEnd {
        FutexEnd { word: self.0.play_flag(0), side, sink }
    }
}

impl FutexEnd {
    /// Returns the half of the word that counts up, on which a futex can sleep.
    fn low_half(&self) -> *mut u32 {
        self.word.as_ptr().cast::<u32>().wrapping_add(usize::from(cfg!(target_endian = "big")))
    }
}

impl End for FutexEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.word.store(tag(self.side, first_word(payload)), Ordering::SeqCst);
        // SAFETY: the word stays mapped; the call does not touch it.
        unsafe { libc::syscall(libc::SYS_futex, self.low_half(), libc::FUTEX_WAKE, i32::MAX) };
    }

    #[inline]
    fn poll(&mut self) {
        if let Some(number) = untag(self.side, self.word.load(Ordering::Acquire)) {
            self.sink.take(&number.to_ne_bytes());
        }
    }

    fn wait(&mut self) {
        let nap = libc::timespec { tv_sec: 0, tv_nsec: Duration::from_millis(100).as_nanos() as libc::c_long };
        let seen = self.word.load(Ordering::Acquire);
        if untag(self.side, seen).is_none_or(|number| number == self.sink.last()) {
            // SAFETY: the word stays mapped, and the timeout lives as long as the call.
            unsafe {
                libc::syscall(libc::SYS_futex, self.low_half(), libc::FUTEX_WAIT, seen as u32, &raw const nap);
            }
        }
    }
}
