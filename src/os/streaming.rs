//! Stores that go past the cache, and what a line costs: for the choice between these and ordinary stores.
//!
//! An ordinary store first takes its line out of all other caches. Stores past the cache (`movnti`) send whole lines to
//! memory.

#[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
pub(crate) use on_x86_64::{store, ticks_of_load, ticks_of_memory};

#[cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]
mod on_x86_64 {
    use std::arch::asm;
    use std::arch::x86_64::{_mm_clflush, _mm_lfence, _mm_mfence, _rdtsc};
    use std::sync::atomic::{AtomicU64, Ordering};

    const WORDS_PER_LINE: usize = 8;

    /// Stores `from` to `words`, which are as many, each word by one store, in any order: whole lines past the cache,
    /// and the words before and after them through it, because other words are in their lines. The stores become
    /// visible after all earlier stores of this thread, and before all later ones.
    ///
    /// # Panics
    ///
    /// If they are not as many.
    pub(crate) fn store(words: &[AtomicU64], from: &[[u8; 8]]) {
        assert_eq!(words.len(), from.len());
        let before = (words.as_ptr().addr().wrapping_neg() / 8 % WORDS_PER_LINE).min(words.len());
        let (head, words) = words.split_at(before);
        let (head_from, from) = from.split_at(before);
        let (lines, tail) = words.as_chunks::<WORDS_PER_LINE>();
        let (lines_from, tail_from) = from.as_chunks::<WORDS_PER_LINE>();
        for (word, bytes) in head.iter().chain(tail).zip(head_from.iter().chain(tail_from)) {
            // Relaxed: x86-64 keeps the order of ordinary stores, and the compiler moves none across the assembly.
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        // SAFETY: `from` is as long as `words`, and a shared reference to plain bytes, so it overlaps with no atomics.
        // The words of `words` are aligned, and no process accesses them in another size.
        unsafe { stream_lines(lines.as_ptr().cast_mut().cast(), lines_from.as_ptr().cast(), lines.len()) }
    }

    /// Moves `lines` lines of 64 bytes past the cache, word by word. A word that lies at a multiple of 8 is loaded or
    /// stored as a whole. The stores become visible after all earlier stores of this thread, and before all later ones.
    ///
    /// # Safety
    ///
    /// The lines at `from` must be readable and those at `to` writable, and the two must not overlap. Other threads may
    /// access them at the same time only where both they and this move do so atomically: at words that are aligned.
    unsafe fn stream_lines(to: *mut u64, from: *const u64, lines: usize) {
        if lines == 0 {
            return;
        }
        // SAFETY: as the caller states.
        unsafe {
            asm!(
                // Only this fence orders stores past the cache with others.
                "sfence",
                "2:",
                "mov {a}, [{from}]",
                "mov {b}, [{from} + 8]",
                "mov {c}, [{from} + 16]",
                "mov {d}, [{from} + 24]",
                "movnti [{to}], {a}",
                "movnti [{to} + 8], {b}",
                "movnti [{to} + 16], {c}",
                "movnti [{to} + 24], {d}",
                "mov {a}, [{from} + 32]",
                "mov {b}, [{from} + 40]",
                "mov {c}, [{from} + 48]",
                "mov {d}, [{from} + 56]",
                "movnti [{to} + 32], {a}",
                "movnti [{to} + 40], {b}",
                "movnti [{to} + 48], {c}",
                "movnti [{to} + 56], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {lines}",
                "jnz 2b",
                "sfence",
                a = out(reg) _,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                lines = inout(reg) lines => _,
                options(nostack)
            );
        }
    }

    /// Loads `word`. Returns its value, and the ticks of the processor's clock that the load took.
    pub(crate) fn ticks_of_load(word: &AtomicU64) -> (u64, u64) {
        #[allow(unused_unsafe, reason = "safe in later releases of Rust")]
        // SAFETY: every x86-64 processor has these instructions. The fences keep the load between the two readings.
        unsafe {
            _mm_mfence();
            _mm_lfence();
            let before = _rdtsc();
            _mm_lfence();
            let value = word.load(Ordering::Acquire);
            _mm_lfence();
            (value, _rdtsc().wrapping_sub(before))
        }
    }

    /// Returns the ticks of a load from memory.
    pub(crate) fn ticks_of_memory() -> u64 {
        #[repr(align(64))]
        struct Line(AtomicU64);
        let line = Line(AtomicU64::new(1));
        // SAFETY: every x86-64 processor has the instruction, and the line is on this stack.
        unsafe { _mm_clflush((&raw const line).cast()) }
        ticks_of_load(&line.0).1
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri), not(seqcast_loops))))]
pub(crate) use elsewhere::{ticks_of_load, ticks_of_memory};

/// Other processors use ordinary stores.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(seqcast_loops))))]
mod elsewhere {
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Loads `word`. Returns its value, and no time.
    pub(crate) fn ticks_of_load(word: &AtomicU64) -> (u64, u64) {
        (word.load(Ordering::Acquire), 0)
    }

    pub(crate) fn ticks_of_memory() -> u64 {
        0
    }
}
