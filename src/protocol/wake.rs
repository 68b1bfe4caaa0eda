//! Sleeping until an event is published, without a system call for the publisher when no process sleeps.
//!
//! ```text
//! 31 ........ 4      3         2      1      0
//! [ epoch: 28 ][BELL_NEW][BELL][NEW][WAIT]
//! ```
//!
//! | bit | meaning |
//! |---|---|
//! | WAIT | a thread sleeps on the word, or is about to |
//! | NEW | one arrived since the last wake |
//! | BELL | a bell is armed: an event loop sleeps on a descriptor, or is about to |
//! | BELL_NEW | one was armed since the last ring |
//!
//! WAIT and BELL are flags and not counts, so a sleeper that was killed costs one call, once. A flag is cleared only
//! after the call, and only if no sleeper of its kind arrived in the meantime, so a waker that is killed leaves the
//! work to the next. The two pairs are independent: neither kind of sleeper sets or clears the flag of the other.

use core::time::Duration;

use super::TRIES;
use crate::sync::{AtomicU32, Ordering, fence};

const WAIT: u32 = 1;
const NEW: u32 = 2;
const BELL: u32 = 4;
const BELL_NEW: u32 = 8;
const EPOCH: u32 = 16;

/// No sleep is longer than this: a publisher that is killed between its exchange and its wake call wakes no sleeper.
pub(crate) const LONGEST_NAP: Duration = Duration::from_millis(100);

/// The system's part: sleeping on a word, and waking its sleepers.
pub(crate) trait Futex {
    /// Sleeps until woken, at most `timeout`, unless `word` differs from `expected`. May return early.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration);
    /// Wakes all sleepers of `word`.
    fn wake_all(&self, word: &AtomicU32);
}

/// The bells that are armed on a word.
pub(crate) trait Bells {
    /// Makes the descriptors of all of them readable.
    fn ring_all(&self);
}

/// None: for a word that only threads sleep on.
impl Bells for () {
    fn ring_all(&self) {}
}

/// Wakes all threads that wait for what the caller has just published, and rings the bells. Returns `true` if there was
/// a sleeper or a bell.
#[inline]
pub(crate) fn notify(word: &AtomicU32, futex: &impl Futex, bells: &impl Bells) -> bool {
    // SeqCst: together with the SeqCst exchange that published, and the fence in `announce`. In the single order of all
    // three, either our look comes after the sleeper's flag, or its fence comes after our publication.
    let seen = word.load(Ordering::SeqCst);
    if seen & (WAIT | BELL) == 0 {
        return false;
    }
    wake(word, seen, futex, bells);
    true
}

/// Returns `true` if a thread sleeps on the word, as far as a plain look shows. A thread that has gone to sleep just
/// before may not be seen yet.
#[inline]
pub(crate) fn has_sleeper(word: &AtomicU32) -> bool {
    // Relaxed: `notify` looks again. The caller looks once more after a fence before it rests.
    word.load(Ordering::Relaxed) & WAIT != 0
}

#[cold]
fn wake(word: &AtomicU32, mut seen: u32, futex: &impl Futex, bells: &impl Bells) {
    for _ in 0..TRIES {
        if seen & (WAIT | BELL) == 0 {
            return;
        }
        // A new epoch, so that a thread that is about to sleep on the old word does not sleep.
        let calling = (seen & !NEW & !BELL_NEW).wrapping_add(EPOCH);
        // AcqRel: the epochs of wakers and sleepers form one order.
        if let Err(now) = word.compare_exchange(seen, calling, Ordering::AcqRel, Ordering::Acquire) {
            seen = now;
            continue;
        }
        if calling & WAIT != 0 {
            futex.wake_all(word);
        }
        if calling & BELL != 0 {
            bells.ring_all();
        }
        clear(word, calling);
        return;
    }
}

/// Clears the flags of `called`, for which the calls have been made, except those that a sleeper has set again since.
fn clear(word: &AtomicU32, called: u32) {
    let mut now = called;
    // Each kind of sleeper can change the word once in an epoch; further arrivals change nothing.
    for _ in 0..3 {
        let mut cleared = now;
        if now & NEW == 0 {
            cleared &= !WAIT;
        }
        if now & BELL_NEW == 0 {
            cleared &= !BELL;
        }
        // AcqRel: as in `wake`.
        match word.compare_exchange(now, cleared, Ordering::AcqRel, Ordering::Relaxed) {
            Err(other) if is_of_epoch(other, called) => now = other,
            // Done, or a later waker has taken over.
            _ => return,
        }
    }
}

fn is_of_epoch(word: u32, other: u32) -> bool {
    word / EPOCH == other / EPOCH
}

/// Wakes the threads that sleep on the word, and leaves armed bells as they are.
pub(crate) fn wake_sleepers(word: &AtomicU32, futex: &impl Futex) {
    // SeqCst: as in `notify`.
    if word.load(Ordering::SeqCst) & WAIT != 0 {
        // The flag stays: the next publisher makes one call in vain.
        // AcqRel: as in `wake`.
        word.fetch_add(EPOCH, Ordering::AcqRel);
        futex.wake_all(word);
    }
}

/// A sleeper's first half: announces that it is about to sleep. The caller must check its condition again afterwards.
/// Returns the word.
fn announce(word: &AtomicU32, flags: u32) -> u32 {
    // AcqRel: as in `wake`.
    let announced = word.fetch_or(flags, Ordering::AcqRel) | flags;
    // SeqCst fence: pairs with the load in `notify`.
    fence(Ordering::SeqCst);
    announced
}

/// Sleeps once on `word`, for at most `nap`, unless `ready`. Returns `true` if it was `ready` before sleeping. The
/// caller looks again, and repeats this until its own time is over.
pub(crate) fn nap(word: &AtomicU32, futex: &impl Futex, nap: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let announced = announce(word, WAIT | NEW);
    if ready() {
        return true;
    }
    futex.wait(word, announced, nap.min(LONGEST_NAP));
    false
}

/// Prepares an event loop's sleep on a descriptor: drains it, arms its bell on `words`, and looks. If the look finds
/// nothing, the descriptor becomes readable as soon as there is something.
///
/// The drain comes before the arming. A ring that clears the flag set here comes after the arming, so it stays in the
/// queue. If it were drained, the ring and the flag would both be gone, and the event that it was for may be one that
/// is delivered already: the next event would ring no bell.
pub(crate) fn settle<'w, T, E>(
    words: impl IntoIterator<Item = &'w AtomicU32>,
    drain: impl FnOnce() -> Result<(), E>,
    look: impl FnOnce() -> T,
) -> Result<T, E> {
    drain()?;
    for word in words {
        announce(word, BELL | BELL_NEW);
    }
    Ok(look())
}
