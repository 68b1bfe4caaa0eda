//! Replaces `src/sync.rs`: the atomics over which `protocol` is compiled. Here they are loom's.
//!
//! loom keeps only the last access to each word for its search. A writer's own load therefore hides a reader's earlier
//! one, and the case "reader later" is never tried. Each word is made in one of two modes: plain, or with loads that
//! are read-modify-writes, which loom never forgets. Payload is always plain: between two looks of a seqlock only a
//! plain relaxed load can be torn in all the ways that the memory model allows.
//!
//! Another limit: if a store and a read-modify-write are not ordered by happens-before, loom does not settle which
//! comes first, and then reports orders that the memory model forbids. If both occur on a word, stores are swaps.

#[path = "../common/loops.rs"]
mod loops;

pub(crate) use self::loops::{PREFETCHES, copy_many, load_many, prefetch_to_read, prefetch_to_write, store_many};
pub(crate) use loom::sync::atomic::{Ordering, fence};
pub(crate) use loom::thread_local;

use std::ops::Range;
use std::sync::Arc;

use crate::life;

/// The way in which a word is loaded and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As written.
    Plain,
    /// Loads as written, stores as swaps: for a word that some actors store to and others exchange. A store that loom
    /// has not ordered relative to an exchange could be read as if it came between the exchange's read and write.
    Swap,
    /// Loads as read-modify-writes that change nothing, and stores as swaps.
    Rmw,
}

impl Mode {
    /// The mode of a word that stands for the kernel's state: every access reads the latest value.
    pub(crate) const OF_KERNEL: Mode = Mode::Rmw;

    /// The mode of a word that some actors store to while others exchange it.
    pub(crate) fn of_exchanged(self) -> Mode {
        if self == Mode::Plain { Mode::Swap } else { self }
    }
}

macro_rules! atomic {
    ($name:ident, $int:ty) => {
        /// A word of shared memory. A word that the protocol never accesses has no loom object.
        #[derive(Debug)]
        pub(crate) struct $name {
            word: Option<loom::sync::atomic::$name>,
            mode: Mode,
        }

        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $int, mode: Mode) -> $name {
                $name { word: Some(loom::sync::atomic::$name::new(value)), mode }
            }

            fn untouched() -> $name {
                $name { word: None, mode: Mode::Plain }
            }

            fn word(&self) -> &loom::sync::atomic::$name {
                self.word.as_ref().expect("the protocol touches a word that the model does not have")
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $int {
                sequential::before_load(ordering);
                match self.mode {
                    Mode::Plain | Mode::Swap => self.word().load(ordering),
                    Mode::Rmw => self.word().fetch_or(0, ordering),
                }
            }

            pub(crate) fn store(&self, value: $int, ordering: Ordering) {
                life::about_to_write();
                match self.mode {
                    Mode::Plain => self.word().store(value, ordering),
                    Mode::Swap | Mode::Rmw => _ = self.word().swap(value, ordering),
                }
            }

            pub(crate) fn swap(&self, value: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                let before = self.word().swap(value, ordering);
                sequential::after_exchange(ordering);
                before
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                life::about_to_write();
                let result = self.word().compare_exchange(current, new, success, failure);
                if result.is_ok() {
                    sequential::after_exchange(success);
                }
                result
            }

            pub(crate) fn fetch_or(&self, bits: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                let before = self.word().fetch_or(bits, ordering);
                sequential::after_exchange(ordering);
                before
            }

            pub(crate) fn fetch_and(&self, bits: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                let before = self.word().fetch_and(bits, ordering);
                sequential::after_exchange(ordering);
                before
            }

            pub(crate) fn fetch_add(&self, value: $int, ordering: Ordering) -> $int {
                life::about_to_write();
                let before = self.word().fetch_add(value, ordering);
                sequential::after_exchange(ordering);
                before
            }

            /// Reads the word after every actor has been joined: not a step of the model.
            pub(crate) fn at_rest(&self) -> $int {
                // SAFETY: not a matter of memory: loom panics if an access to the word does not happen before this.
                unsafe { self.word().unsync_load() }
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
    /// Creates `len` words, all 0. `mode` tells for each how it is accessed; `None` means never by the protocol.
    pub(crate) fn new(len: usize, mode: impl Fn(usize) -> Option<Mode>) -> Words {
        let word = |index| match mode(index) {
            Some(mode) => AtomicU64::new(0, mode),
            None => AtomicU64::untouched(),
        };
        Words { all: (0..len).map(word).collect(), span: 0..len }
    }

    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        &self.all[self.span.clone()]
    }

    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        &self.as_slice()[index]
    }

    pub(crate) fn sub(&self, from: usize, len: usize) -> Words {
        assert!(from + len <= self.span.len());
        Words { all: Arc::clone(&self.all), span: self.span.start + from..self.span.start + from + len }
    }
}

/// Lets another thread run.
pub(crate) fn pause(_: u32) {
    loom::thread::yield_now();
}

/// Sequentially consistent accesses. loom treats them as acquire and release. The protocol only needs that a SeqCst
/// load after a SeqCst exchange of the same actor cannot be ordered before it. A SeqCst fence between the two ensures
/// the same, and loom supports fences. If either access is made weaker, the fence is omitted, as it should be.
mod sequential {
    use std::cell::Cell;

    use super::{Ordering, fence};

    loom::thread_local! {
        static EXCHANGED: Cell<bool> = Cell::new(false);
    }

    pub(super) fn after_exchange(ordering: Ordering) {
        if ordering == Ordering::SeqCst {
            EXCHANGED.with(|exchanged| exchanged.set(true));
        }
    }

    pub(super) fn before_load(ordering: Ordering) {
        if ordering == Ordering::SeqCst && EXCHANGED.with(|exchanged| exchanged.replace(false)) {
            fence(Ordering::SeqCst);
        }
    }
}
