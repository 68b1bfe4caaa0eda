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

/// Stores `from` to `words`, which are as many, by one instruction, or past the cache if they are `streamed`. Returns
/// `false` if the processor has no fast one; then nothing was stored.
///
/// It stands for a loop of relaxed stores, one for each word, in any order (docs/weak-memory.md, "Many words at once").
#[inline(never)]
pub(crate) fn store_many(words: &[AtomicU64], from: &[[u8; 8]], streamed: bool) -> bool {
    assert_eq!(words.len(), from.len());
    #[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
    if streamed {
        crate::os::streaming::store(words, from);
        return true;
    }
    let _ = streamed;
    // SAFETY: `from` is as long as `words`, and a shared reference to plain bytes, so it overlaps with no atomics. The
    // words of `words` are aligned, and no process accesses them in another size.
    unsafe { move_many(words.as_ptr().cast_mut().cast(), from.as_ptr().cast(), from.len()) }
}

/// Loads `words` into `into`, which is as long, by one instruction. Returns `false` if the processor has no fast one;
/// then nothing was loaded.
///
/// It stands for a loop of relaxed loads, as in [`store_many`].
#[inline(never)]
pub(crate) fn load_many(words: &[AtomicU64], into: &mut [[u8; 8]]) -> bool {
    assert_eq!(words.len(), into.len());
    // SAFETY: as in `store_many`. `into` is an exclusive reference.
    unsafe { move_many(into.as_mut_ptr().cast(), words.as_ptr().cast(), into.len()) }
}

/// Copies `from` to `to`, which are as many words, by one instruction. Returns `false` if the processor has no fast
/// one; then nothing was copied.
///
/// It stands for a loop of relaxed loads and stores, as in [`store_many`].
#[inline(never)]
pub(crate) fn copy_many(from: &[AtomicU64], to: &[AtomicU64]) -> bool {
    assert_eq!(from.len(), to.len());
    let (source, target) = (from.as_ptr_range(), to.as_ptr_range());
    if source.start < target.end && target.start < source.end {
        // Only where hostile words name one block twice.
        return false;
    }
    // SAFETY: as in `store_many`, on both sides. That they do not overlap was just checked.
    unsafe { move_many(to.as_ptr().cast_mut().cast(), from.as_ptr().cast(), to.len()) }
}

/// Moves `words` words, if the processor has a fast instruction. Returns `false` if it has none.
///
/// # Safety
///
/// As for `os::string_move::move_words`.
#[inline(always)]
unsafe fn move_many(to: *mut u64, from: *const u64, words: usize) -> bool {
    #[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
    if crate::os::string_move::is_fast() {
        // SAFETY: as the caller states.
        unsafe { crate::os::string_move::move_words(to, from, words) };
        return true;
    }
    let _ = (to, from, words);
    false
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
        // While a part is lent, no thread changes the value. The borrower may be unable to end the loan: it was
        // displaced, or is a thread of the parent of this process.
        self.try_lock().or_else(|| self.resume()).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::thread_lock::Lend;

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

    /// Lengths in words: none, a few, and around the multiples of a line and of the length from which on one
    /// instruction is used.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=17).chain([64, 128, 256, 512, 1024].into_iter().flat_map(|about| about - 2..=about + 2))
    }

    fn number(index: usize) -> u64 {
        (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn words_of(len: usize) -> Vec<AtomicU64> {
        (0..len).map(|_| AtomicU64::new(7)).collect()
    }

    fn values(words: &[AtomicU64]) -> Vec<u64> {
        words.iter().map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// The bytes of `numbers`, at `offset` of a buffer that begins at a multiple of 8.
    fn at_offset(offset: usize, numbers: &[u64]) -> Vec<u64> {
        let mut buffer = vec![0_u64; numbers.len() + 1];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        bytes_of(&mut buffer)[offset..offset + bytes.len()].copy_from_slice(&bytes);
        buffer
    }

    fn bytes_of(buffer: &mut [u64]) -> &mut [u8] {
        // SAFETY: plain numbers, as their bytes.
        unsafe { core::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), buffer.len() * 8) }
    }

    /// Every copy in every length and alignment: what `copy` makes of words and of private bytes at `offset`.
    fn g3_check_copies(
        store: impl Fn(&[AtomicU64], &[u8]),
        load: impl Fn(&[AtomicU64], &mut [u8]),
        copy: impl Fn(&[AtomicU64], &[AtomicU64]),
    ) {
        for len in lengths() {
            let numbers: Vec<u64> = (0..len).map(number).collect();
            let expected: Vec<u64> = [7].iter().chain(&numbers).chain(&[7]).copied().collect();
            for offset in 0..8 {
                // One word of the neighbours on either side, which must stay as it is.
                let words = words_of(len + 2);
                let mut private = at_offset(offset, &numbers);
                store(&words[1..=len], &bytes_of(&mut private)[offset..offset + len * 8]);
                assert_eq!(values(&words), expected, "{len} words from {offset}");
                let mut private = vec![u64::MAX; len + 2];
                load(&words[1..=len], &mut bytes_of(&mut private)[offset..offset + len * 8]);
                let bytes = bytes_of(&mut private);
                let (before, rest) = bytes.split_at(offset);
                let (loaded, after) = rest.split_at(len * 8);
                assert!(before.iter().chain(after).all(|&byte| byte == u8::MAX), "{len} words to {offset}");
                assert!(loaded.as_chunks().0.iter().copied().map(u64::from_ne_bytes).eq(numbers.iter().copied()));
            }
            let (from, to) = (words_of(len + 2), words_of(len + 2));
            from[1..=len].iter().zip(&numbers).for_each(|(word, &number)| word.store(number, Ordering::Relaxed));
            copy(&from[1..=len], &to[1..=len]);
            assert_eq!((values(&to), values(&from)), (expected.clone(), expected), "{len} words");
        }
    }

    #[test]
    fn g3_a_copy_is_exact_in_every_length_and_alignment() {
        use crate::protocol::bytes;
        let store = |words: &[AtomicU64], from: &[u8]| assert_eq!(bytes::store(words, from), words.len());
        g3_check_copies(store, bytes::load_bytes, bytes::copy);
        // The last word is filled with zeros.
        for len in lengths() {
            for rest in 1..8 {
                let words = words_of(len + 2);
                let private: Vec<u8> = (0..len * 8 + rest).map(|byte| byte as u8 | 1).collect();
                assert_eq!(bytes::store(&words, &private), len + 1);
                let mut last = [0; 8];
                last[..rest].copy_from_slice(&private[len * 8..]);
                assert_eq!(words[len].load(Ordering::Relaxed), u64::from_ne_bytes(last), "{len} words and {rest}");
                assert_eq!(words[len + 1].load(Ordering::Relaxed), 7, "{len} words and {rest}");
                let mut back = vec![0; len * 8 + 8];
                bytes::load_bytes(&words[..=len], &mut back);
                assert_eq!(back[..private.len()], private, "{len} words and {rest}");
            }
        }
    }

    /// On any processor: the instruction exists everywhere, it is only not fast everywhere.
    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
    fn g3_one_instruction_copies_what_the_loop_does() {
        use crate::os::string_move::move_words;
        g3_check_copies(
            // SAFETY: as many words on both sides, which do not overlap; only this thread uses them.
            |words, from| unsafe { move_words(words.as_ptr().cast_mut().cast(), from.as_ptr().cast(), words.len()) },
            // SAFETY: as above.
            |words, into| unsafe { move_words(into.as_mut_ptr().cast(), words.as_ptr().cast(), words.len()) },
            // SAFETY: as above.
            |from, to| unsafe { move_words(to.as_ptr().cast_mut().cast(), from.as_ptr().cast(), from.len()) },
        );
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
    fn g3_stores_past_the_cache_store_what_the_loop_does() {
        use crate::os::streaming;
        use crate::protocol::bytes;
        let store = |words: &[AtomicU64], from: &[u8]| streaming::store(words, from.as_chunks().0);
        g3_check_copies(store, bytes::load_bytes, bytes::copy);
        // From any word of a line to any other.
        for (from, len) in (0..8).flat_map(|from| (0..40).map(move |len| (from, len))) {
            let words = words_of(64);
            let numbers: Vec<_> = (0..len).map(number).collect();
            streaming::store(
                &words[from..from + len],
                &numbers.iter().map(|number| number.to_ne_bytes()).collect::<Vec<_>>(),
            );
            let expected = [vec![7; from], numbers, vec![7; 64 - from - len]].concat();
            assert_eq!(values(&words), expected, "{len} words from word {from}");
        }
    }

    #[test]
    fn g3_every_word_is_whole_beside_a_copy() {
        g3_check_words_beside(|words, bytes| assert_eq!(crate::protocol::bytes::store(words, bytes), words.len()));
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
    fn g3_every_word_is_whole_beside_a_store_past_the_cache() {
        g3_check_words_beside(|words, bytes| crate::os::streaming::store(words, bytes.as_chunks().0));
    }

    /// Readers of words that `store` stores to see each word as it was or as it is.
    fn g3_check_words_beside(store: impl Fn(&[AtomicU64], &[u8]) + Sync) {
        use std::sync::atomic::AtomicBool;

        use crate::protocol::bytes;
        const LEN: usize = 512;
        const ROUNDS: usize = 2000;
        let (words, copied, is_done) = (words_of(LEN), words_of(LEN), AtomicBool::new(false));
        // Each word is all zeros or all ones, in memory at an odd address.
        let patterns = [0, u64::MAX].map(|pattern| at_offset(3, &vec![pattern; LEN]));
        store(&words, &[0; LEN * 8]);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for mut pattern in (0..ROUNDS).map(|round| patterns[round % 2].clone()) {
                    store(&words, &bytes_of(&mut pattern)[3..3 + LEN * 8]);
                }
                is_done.store(true, Ordering::Release);
            });
            let mut private = vec![0_u64; LEN + 1];
            while !is_done.load(Ordering::Acquire) {
                let loaded = &mut bytes_of(&mut private)[5..5 + LEN * 8];
                bytes::load_bytes(&words, loaded);
                bytes::copy(&words, &copied);
                let loaded = loaded.as_chunks().0.iter().copied().map(u64::from_ne_bytes);
                assert!(loaded.chain(values(&copied)).all(|word| word == 0 || word == u64::MAX), "a torn word");
            }
        });
    }

    impl Lend for (u64, u64) {}

    impl Lend for i32 {}

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
