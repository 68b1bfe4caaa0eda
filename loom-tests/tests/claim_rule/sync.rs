//! Replaces `src/sync.rs` over plain memory: nothing here runs in parallel.

#[path = "../common/loops.rs"]
mod loops;

pub(crate) use self::loops::{PREFETCHES, copy_many, load_many, prefetch_to_read, prefetch_to_write, store_many};
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use std::ops::Range;
use std::sync::Arc;

/// A run of words.
#[derive(Clone)]
pub(crate) struct Words {
    all: Arc<[AtomicU64]>,
    span: Range<usize>,
}

impl Words {
    /// `len` words, all 0.
    pub(crate) fn new(len: usize) -> Words {
        Words { all: (0..len).map(|_| AtomicU64::new(0)).collect(), span: 0..len }
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
