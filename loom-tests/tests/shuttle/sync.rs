//! Replaces `src/sync.rs` with shuttle's atomics. At every access another thread may run. All accesses are sequentially
//! consistent, so orderings are not tested here.

#[path = "../common/loops.rs"]
mod loops;

pub(crate) use self::loops::{PREFETCHES, copy_many, load_many, prefetch_to_read, prefetch_to_write, store_many};
pub(crate) use shuttle::sync::atomic::{Ordering, fence};
pub(crate) use shuttle::thread_local;

use std::ops::Range;
use std::sync::Arc;

use crate::life;

/// The models over loom have several modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
}

impl Mode {
    pub(crate) const OF_KERNEL: Mode = Mode::Plain;

    pub(crate) fn of_exchanged(self) -> Mode {
        self
    }
}

macro_rules! atomic {
    ($name:ident, $int:ty) => {
        #[derive(Debug)]
        pub(crate) struct $name(shuttle::sync::atomic::$name);

        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $int, _: Mode) -> $name {
                $name(shuttle::sync::atomic::$name::new(value))
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $int {
                self.0.load(ordering)
            }

            pub(crate) fn store(&self, value: $int, ordering: Ordering) {
                life::about_to_write();
                self.0.store(value, ordering);
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                life::about_to_write();
                self.0.compare_exchange(current, new, success, failure)
            }

            pub(crate) fn fetch_or(&self, bits: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                self.0.fetch_or(bits, ordering)
            }

            pub(crate) fn fetch_add(&self, value: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                self.0.fetch_add(value, ordering)
            }

            /// Reads the word after every thread has been joined.
            pub(crate) fn at_rest(&self) -> $int {
                self.0.load(Ordering::SeqCst)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

/// A run of words.
#[derive(Clone)]
pub(crate) struct Words {
    all: Arc<[AtomicU64]>,
    span: Range<usize>,
}

impl Words {
    /// Creates `len` words, all 0.
    pub(crate) fn new(len: usize, _: impl Fn(usize) -> Option<Mode>) -> Words {
        Words { all: (0..len).map(|_| AtomicU64::new(0, Mode::Plain)).collect(), span: 0..len }
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

pub(crate) fn pause(_: u32) {
    shuttle::thread::yield_now();
}
