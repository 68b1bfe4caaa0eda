//! The counterpart of the crate's `src/sync.rs`, over plain memory. The running actor may be interrupted before each
//! access: see `interrupt`.

#[path = "../common/loops.rs"]
mod loops;

pub(crate) use self::loops::{PREFETCHES, copy_many, load_many, prefetch_to_read, prefetch_to_write, store_many};
pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};
pub(crate) use std::thread_local;

use std::ops::Range;
use std::sync::Arc;

use crate::{interrupt, life};

/// The models over loom have several modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
}

impl Mode {
    pub(crate) fn of_exchanged(self) -> Mode {
        self
    }
}

#[derive(Debug, Default)]
pub(crate) struct AtomicU64(std::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        interrupt::about_to_access();
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        interrupt::about_to_access();
        life::about_to_write();
        self.0.store(value, ordering);
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        interrupt::about_to_access();
        life::about_to_write();
        self.0.compare_exchange(current, new, success, failure)
    }

    /// Returns the word after all actors have ended.
    pub(crate) fn at_rest(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A run of words.
#[derive(Clone)]
pub(crate) struct Words {
    all: Arc<[AtomicU64]>,
    span: Range<usize>,
}

impl Words {
    /// `len` words, all 0.
    pub(crate) fn new(len: usize, _: impl Fn(usize) -> Option<Mode>) -> Words {
        Words { all: (0..len).map(|_| AtomicU64::default()).collect(), span: 0..len }
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        &self.all[self.span.clone()]
    }

    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        &self.as_slice()[index]
    }

    pub(crate) fn sub(&self, from: usize, len: usize) -> Words {
        Words { all: Arc::clone(&self.all), span: self.span.start + from..self.span.start + from + len }
    }
}

pub(crate) fn pause(_: u32) {}
