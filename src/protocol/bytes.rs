//! Payload bytes in and out of shared words, as relaxed 64-bit accesses. A racing reader gets garbage and detects it;
//! there is never undefined behaviour.

use crate::sync::{AtomicU64, Ordering};

/// Returns how many words hold `len` bytes.
#[inline]
pub(crate) const fn words_for(len: usize) -> usize {
    len.div_ceil(8)
}

/// Stores `bytes` at the beginning of `words` and fills the last word with zeros. Returns how many words it wrote.
///
/// # Panics
///
/// If there are too few `words`. The caller has checked their number.
#[inline]
pub(crate) fn store(words: &[AtomicU64], bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let words = &words[..words_for(bytes.len())];
    // Relaxed: the exchange that publishes the block comes later.
    for (word, chunk) in words.iter().zip(chunks) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[chunks.len()].store(u64::from_ne_bytes(last), Ordering::Relaxed);
    }
    words.len()
}

/// Loads words into `into`, eight bytes each.
///
/// # Panics
///
/// If there are too few `words`. The caller has checked their number.
#[inline]
pub(crate) fn load_bytes(words: &[AtomicU64], into: &mut [u8]) {
    debug_assert!(into.len().is_multiple_of(8));
    let (slots, _) = into.as_chunks_mut::<8>();
    let words = &words[..slots.len()];
    // Relaxed: between the two looks of the seqlock.
    for (word, slot) in words.iter().zip(slots) {
        *slot = word.load(Ordering::Relaxed).to_ne_bytes();
    }
}
