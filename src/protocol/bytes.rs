//! Payload bytes in and out of shared words, as relaxed 64-bit accesses: a racing reader gets garbage and finds out,
//! never undefined behaviour.

use crate::sync::{AtomicU64, Ordering};

/// Words that hold `len` bytes.
#[inline]
pub(crate) const fn words_for(len: usize) -> usize {
    len.div_ceil(8)
}

/// Stores `bytes` from the first of `words` on; the last word is filled up with zeros. Returns how many words that took.
///
/// # Panics
///
/// If `words` are too few, which the caller has checked.
#[inline]
pub(crate) fn store(words: &[AtomicU64], bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let words = &words[..words_for(bytes.len())];
    // Relaxed: the exchange that publishes the block comes after.
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
/// If `words` are too few for it, which the caller has checked.
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
