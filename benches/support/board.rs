//! Memory that the processes of a batch share.

use std::ptr::{null_mut, slice_from_raw_parts};
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of two cache lines: processors fetch lines in pairs.
const APART: usize = 16;
/// The largest number of roles in a batch.
pub const MOST_ROLES: usize = 80;
/// The number of words that a role reports.
pub const FIGURES: usize = 16;
/// The largest number of round trips in a batch.
pub const MOST_SAMPLES: usize = 1 << 20;
/// Words for the raw hand-over: the flags, and the largest payload.
const PLAY: usize = 4 * APART + (1 << 20) / 8;

const READY: usize = 0;
const GO: usize = APART;
const COUNT: usize = 2 * APART;
const DONE: usize = 3 * APART;
const FIGURES_AT: usize = 4 * APART;
const PLAY_AT: usize = FIGURES_AT + MOST_ROLES * FIGURES;
const SAMPLES_AT: usize = PLAY_AT + PLAY;
const WORDS: usize = SAMPLES_AT + MOST_SAMPLES;

/// A mapping that forked children share. It lives as long as the process: there is one.
#[derive(Clone, Copy)]
pub struct Board {
    words: &'static [AtomicU64],
}

impl Board {
    /// Maps it.
    pub fn new() -> Board {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe { libc::mmap(null_mut(), WORDS * 8, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        // SAFETY: the mapping has that many words, is never unmapped, and is accessed only as atomics.
        Board { words: unsafe { &*slice_from_raw_parts(base.cast(), WORDS) } }
    }

    /// Resets everything before a batch.
    pub fn reset(&self) {
        for word in &self.words[..SAMPLES_AT] {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Waits until `roles` processes have reached this point. Yields, because several may share a core.
    pub fn meet(&self, roles: u64) {
        let arrived = self.words[READY].fetch_add(1, Ordering::AcqRel) + 1;
        if arrived.is_multiple_of(roles) {
            self.words[GO].fetch_add(1, Ordering::Release);
        }
        let round = arrived.div_ceil(roles);
        while self.words[GO].load(Ordering::Acquire) < round {
            std::thread::yield_now();
        }
    }

    /// Waits until `writers` processes are done.
    pub fn all_done(&self, writers: u64) {
        self.words[DONE].fetch_add(1, Ordering::AcqRel);
        while self.words[DONE].load(Ordering::Acquire) < writers {
            std::thread::yield_now();
        }
    }

    /// Returns the words for the results of role `role`.
    pub fn figures(&self, role: usize) -> &'static [AtomicU64] {
        &self.words[FIGURES_AT + role * FIGURES..][..FIGURES]
    }

    /// Returns a figure, once its role has exited.
    pub fn figure(&self, role: usize, index: usize) -> u64 {
        self.figures(role)[index].load(Ordering::Relaxed)
    }

    /// Reports a figure.
    pub fn report(&self, role: usize, index: usize, value: u64) {
        self.figures(role)[index].store(value, Ordering::Relaxed);
    }

    /// Records a round trip.
    #[inline]
    pub fn sample(&self, index: usize, ticks: u64) {
        self.words[SAMPLES_AT + index % MOST_SAMPLES].store(ticks, Ordering::Relaxed);
    }

    /// Sets the number of samples. The process that took them calls this.
    pub fn set_samples(&self, count: usize) {
        self.words[COUNT].store(count.min(MOST_SAMPLES) as u64, Ordering::Release);
    }

    /// Returns the samples of the last batch.
    pub fn samples(&self) -> impl Iterator<Item = u64> {
        let count = self.words[COUNT].load(Ordering::Acquire) as usize;
        self.words[SAMPLES_AT..][..count].iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// Returns word 0 of play line `line`; lines are two cache lines apart.
    pub fn play_flag(&self, line: usize) -> &'static AtomicU64 {
        &self.words[PLAY_AT + line * APART]
    }

    /// Returns the words for a payload of the raw hand-over.
    pub fn play_payload(&self) -> &'static [AtomicU64] {
        &self.words[PLAY_AT + 4 * APART..SAMPLES_AT]
    }
}
