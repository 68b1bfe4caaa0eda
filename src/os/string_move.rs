//! `rep movsq`, the instruction that moves many words. It takes the lines of its destination without fetching what is
//! in them.

#![cfg(all(target_arch = "x86_64", not(miri), not(seqcast_loops)))]

use std::arch::asm;
use std::sync::atomic::{AtomicU8, Ordering};

/// The processor was not asked yet.
const UNKNOWN: u8 = 0;
const SLOW: u8 = 1;
const FAST: u8 = 2;

/// Returns `true` if the processor states that it moves strings fast.
#[inline]
pub(crate) fn is_fast() -> bool {
    static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);
    // Relaxed: the answer is always the same.
    match ANSWER.load(Ordering::Relaxed) {
        UNKNOWN => {
            let is_fast = ask();
            ANSWER.store(if is_fast { FAST } else { SLOW }, Ordering::Relaxed);
            is_fast
        }
        answer => answer == FAST,
    }
}

/// Asks the processor. In a virtual machine this takes microseconds.
#[cold]
fn ask() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const FEATURES: u32 = 7;
    /// Enhanced `rep movsb`, in `ebx`.
    const ERMS: u32 = 1 << 9;
    /// Fast short `rep movsb`, in `edx`.
    const FSRM: u32 = 1 << 4;
    #[allow(unused_unsafe, reason = "safe in later releases of Rust")]
    // SAFETY: every processor with 64-bit registers has the instruction.
    let features = unsafe { (__cpuid(0).eax >= FEATURES).then(|| __cpuid_count(FEATURES, 0)) };
    features.is_some_and(|features| features.ebx & ERMS != 0 || features.edx & FSRM != 0)
}

/// Moves `words` words of 64 bits, each by one load and one store, in any order. A word that lies at a multiple of 8 is
/// loaded or stored as a whole.
///
/// # Safety
///
/// The words at `from` must be readable and those at `to` writable, and the two must not overlap. Other threads may
/// access them at the same time only where both they and this move do so atomically: at words that are aligned.
#[inline]
pub(crate) unsafe fn move_words(to: *mut u64, from: *const u64, words: usize) {
    // SAFETY: as the caller states. The direction flag is clear at the beginning of every `asm!`.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}
