//! Payload bytes in and out of shared words, as relaxed 64-bit accesses. A racing reader gets garbage and detects it;
//! there is never undefined behaviour.
//!
//! Each copy is a loop over the words. From [`MANY`] words on one instruction may stand for the loop. The models run
//! the loops.

use crate::sync::{self, AtomicU64, Ordering};

/// The number of words from which on one instruction is faster than a loop: 512 bytes. `benches/copy.rs` measures it.
const MANY: usize = 64;

/// The number of words from which on stores past the cache are worth their fences: 2 KiB. `benches/copy.rs` measures
/// it.
pub(crate) const LEAST_STREAMED: usize = 256;

/// How many words are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By ordinary stores.
    Cached,
    /// Past the cache, if the processor can do that and there are at least [`LEAST_STREAMED`] words.
    Streamed,
}

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
    store_by(Way::Cached, words, bytes)
}

/// The same in the given way.
#[inline]
pub(crate) fn store_by(way: Way, words: &[AtomicU64], bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let words = &words[..words_for(bytes.len())];
    let (whole, last) = words.split_at(chunks.len());
    if chunks.len() < MANY || !sync::store_many(whole, chunks, way == Way::Streamed && chunks.len() >= LEAST_STREAMED) {
        // Relaxed: the exchange that publishes the block comes later.
        for (word, chunk) in whole.iter().zip(chunks) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
    }
    if let Some(word) = last.first() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
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
    if slots.len() < MANY || !sync::load_many(words, slots) {
        // Relaxed: between the two looks of the seqlock.
        for (word, slot) in words.iter().zip(slots) {
            *slot = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }
}

/// Copies the words of `from` to `to`, which are as many.
///
/// # Panics
///
/// If they are not as many.
#[inline]
pub(crate) fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    assert_eq!(from.len(), to.len());
    if from.len() < MANY || !sync::copy_many(from, to) {
        // Relaxed: between the two looks of the seqlock, and before the exchange that publishes the block.
        for (from, to) in from.iter().zip(to) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}
