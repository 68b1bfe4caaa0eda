//! Memory that master and workers share, apart from the bus, to check what the bus does.

use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;

/// The most workers, and upstreams.
pub const MOST: usize = 64;
/// The most words of a worker's answer.
const ENTRY_WORDS: usize = 3;

/// The board. All words are 0 at the beginning.
#[repr(C)]
pub struct Board {
    /// The number of the request to pause, or 0 while the workers work.
    pub still: AtomicU64,
    /// 1 when the workers must end.
    pub over: AtomicU64,
    pub laps: AtomicU64,
    /// Laps of the worker that must read, without a post that had waited for all of its patience.
    pub overrun: AtomicU64,
    /// How often it was cut off.
    pub cut_off: AtomicU64,
    /// The longest time that a post took, in nanoseconds.
    pub longest_post: AtomicU64,
    pub stale: AtomicU64,
    /// For each upstream: the greatest id of a post that has returned, plus one.
    pub posted: [AtomicU64; MOST],
    pub workers: [OfWorker; MOST],
}

/// A worker's answer while it pauses.
#[repr(C)]
pub struct OfWorker {
    /// The number of the request.
    answered: AtomicU64,
    count: AtomicU64,
    /// Upstream, id and state of each entry, by upstream.
    entries: [[AtomicU64; ENTRY_WORDS]; MOST],
}

/// An entry of a table: upstream, id of the event that has set it, state.
pub type Entry = [u64; ENTRY_WORDS];

impl Board {
    /// Creates a board that this process shares with the children that it forks.
    pub fn shared() -> Result<&'static Board> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the call makes a new mapping at an address that the kernel chooses.
        let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<Board>(), access, flags)? };
        // SAFETY: the mapping is aligned to a page, large enough, and never unmapped; zeros are a board.
        Ok(unsafe { &*memory.cast::<Board>() })
    }
}

impl OfWorker {
    /// Answers request `number`.
    pub fn answer(&self, number: u64, entries: &[Entry]) {
        for (words, entry) in self.entries.iter().zip(entries) {
            for (word, value) in words.iter().zip(entry) {
                word.store(*value, Ordering::Relaxed);
            }
        }
        self.count.store(entries.len() as u64, Ordering::Relaxed);
        // Release: with the entries.
        self.answered.store(number, Ordering::Release);
    }

    /// Returns the answer to request `number`, if it is there.
    pub fn answer_to(&self, number: u64) -> Option<Vec<Entry>> {
        // Acquire: with the entries.
        (self.answered.load(Ordering::Acquire) == number).then(|| {
            let count = self.count.load(Ordering::Relaxed) as usize;
            let entry = |words: &[AtomicU64; ENTRY_WORDS]| words.each_ref().map(|word| word.load(Ordering::Relaxed));
            self.entries.iter().take(count).map(entry).collect()
        })
    }
}
