//! The one module that chooses the atomics: here the real ones, over mapped memory.
//!
//! `protocol` names atomics only through this module, so that the package `loom-tests` can compile the same source
//! against a model checker's atomics.

pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use core::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use crate::os::futex::{InterruptibleFutex, SharedFutex};
use crate::os::locks::IsHeld;
use crate::os::mapping::Mapping;
use crate::protocol::thread_lock::Lock;
use crate::protocol::wake::Futex;

/// A run of 64-bit words of a mapped segment, which it keeps mapped.
#[derive(Clone)]
pub(crate) struct Words {
    base: NonNull<AtomicU64>,
    len: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: a `Words` gives out only `&AtomicU64`, which any thread may use, and the mapping it points into is kept alive
// by the `Arc`.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Returns the `len` words that begin `offset` bytes into `mapping`, or `None` if they are not all inside the
    /// mapping.
    pub(crate) fn of(mapping: &Arc<Mapping>, offset: usize, len: usize) -> Option<Words> {
        let bytes = len.checked_mul(8)?;
        let fits = offset.is_multiple_of(8) && offset.checked_add(bytes)? <= mapping.len();
        fits.then(|| Words {
            // SAFETY: the span was just checked to lie inside the mapping.
            base: unsafe { mapping.base().add(offset) }.cast(),
            len,
            mapping: Arc::clone(mapping),
        })
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[AtomicU64] {
        // SAFETY: `of` and `sub` keep the span inside the mapping, which lives as long as `self`. The mapping is
        // page-aligned and offsets are multiples of 8. Any bit pattern is a valid `AtomicU64`, and this process
        // accesses these bytes only as atomics.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        &self.as_slice()[index]
    }

    /// Returns the words `from..from + len` of these.
    pub(crate) fn sub(&self, from: usize, len: usize) -> Words {
        let inside = &self.as_slice()[from..from + len];
        Words { base: NonNull::from(inside).cast(), len, mapping: Arc::clone(&self.mapping) }
    }
}

/// Waits before attempt number `look` to see what another thread of this process is about to finish.
pub(crate) fn pause(look: u32) {
    /// Looks before this thread yields its processor, and before it sleeps: they take less than a microsecond.
    const SPINS: u32 = 16;
    const YIELDS: u32 = 8;
    /// The other thread was preempted. A sleep lets it run, whatever the priorities.
    const NAP: Duration = Duration::from_micros(20);
    if look < SPINS {
        core::hint::spin_loop();
    } else if look < SPINS + YIELDS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(NAP);
    }
}

/// `true` if prefetching has an effect on this target.
pub(crate) const PREFETCHES: bool = cfg!(target_arch = "x86_64");

/// Prefetches the line of `word`, which will be written soon.
#[inline]
pub(crate) fn prefetch_to_write(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on memory or registers, whatever the address. It is written as assembly because
    // the intrinsic becomes a prefetch for reading, unless the build targets newer processors only; older processors
    // ignore this one.
    unsafe {
        core::arch::asm!(
            "prefetchw [{}]",
            in(reg) core::ptr::from_ref(word),
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

/// Prefetches the line of `word`, which will be read soon.
#[inline]
pub(crate) fn prefetch_to_read(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::from_ref(word).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = word;
}

impl Futex for SharedFutex {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        SharedFutex::wait(*self, word, expected, timeout);
    }

    fn wake_all(&self, word: &AtomicU32) {
        SharedFutex::wake_all(*self, word);
    }
}

impl Futex for InterruptibleFutex {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        InterruptibleFutex::wait(self, word, expected, timeout);
    }

    fn wake_all(&self, word: &AtomicU32) {
        SharedFutex.wake_all(word);
    }
}

impl<T> IsHeld for Lock<T> {
    fn is_held(&self) -> bool {
        self.try_lock().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_words_lie_inside_their_mapping_and_are_aligned() {
        let file = rustix::fs::memfd_create("seqcast-sync", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 4096).unwrap();
        let mapping = Arc::new(Mapping::anonymous(std::os::fd::AsFd::as_fd(&file), 4096).unwrap());
        for (offset, len, fits) in [(0, 512, true), (4088, 1, true), (4096, 0, true), (4088, 2, false), (8, 512, false)]
        {
            assert_eq!(Words::of(&mapping, offset, len).is_some(), fits, "{len} words at {offset}");
        }
        for (offset, len) in [(4, 1), (4100, 0), (usize::MAX - 7, 1), (0, usize::MAX)] {
            assert!(Words::of(&mapping, offset, len).is_none(), "{len} words at {offset}");
        }
        let words = Words::of(&mapping, 0, 512).unwrap();
        words.sub(3, 5).at(2).store(7, Ordering::Relaxed);
        assert_eq!((words.at(5).load(Ordering::Relaxed), words.sub(3, 5).as_slice().len()), (7, 5));
    }

    #[test]
    fn the_lock_is_one_threads_at_a_time_and_each_sees_the_last() {
        const EACH: u64 = 20_000;
        let lock = Lock::new(AtomicU32::new(0), (0_u64, 0_u64));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let mut pair = lock.lock();
                        pair.0 += 1;
                        assert_eq!(pair.0, pair.1 + 1, "another thread was inside");
                        pair.1 += 1;
                    }
                });
            }
        });
        assert_eq!(*lock.lock(), (3 * EACH, 3 * EACH));
    }

    #[test]
    fn a_waiting_thread_gets_the_lock_from_a_holder_that_takes_long_or_panics() {
        let lock = Lock::new(AtomicU32::new(0), 1);
        std::thread::scope(|scope| {
            let held = lock.lock();
            assert!(lock.try_lock().is_none(), "taken twice");
            let waiter = scope.spawn(|| *lock.lock());
            std::thread::sleep(Duration::from_millis(5));
            drop(held);
            assert_eq!(waiter.join().unwrap(), 1);
            let panicked = scope.spawn(|| {
                let _held = lock.lock();
                std::panic::resume_unwind(Box::new("under the lock"));
            });
            assert!(panicked.join().is_err());
        });
        assert!(lock.try_lock().is_some(), "a panic kept it");
    }
}
