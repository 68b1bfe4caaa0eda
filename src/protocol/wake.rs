//! Sleeping until something is published, without a system call for the publisher when nobody sleeps.
//!
//! ```text
//! 31 ........ 2   1    0
//! [ epoch: 30 ][NEW][WAIT]     WAIT: somebody sleeps or is about to; NEW: somebody came since the last wake
//! ```
//!
//! A flag and not a count: a sleeper that was killed costs one wake call, once. The flag is taken away only after the
//! wake, and only if nobody came meanwhile, so that a killed waker leaves the work to the next.

use core::time::Duration;

use super::TRIES;
use crate::sync::{AtomicU32, Ordering, fence};

const WAIT: u32 = 1;
const NEW: u32 = 2;
const EPOCH: u32 = 4;

/// A sleep is never longer than this: a publisher that is killed between its exchange and its wake call wakes nobody.
pub(crate) const LONGEST_NAP: Duration = Duration::from_millis(100);

/// The system's part: sleeping on a word and waking its sleepers.
pub(crate) trait Futex {
    /// Sleeps until woken, at most `timeout`, unless `word` differs from `expected`. May return early.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration);
    /// Wakes all sleepers of `word`.
    fn wake_all(&self, word: &AtomicU32);
}

/// Wakes all who wait for what the caller has just published. `true` if there was somebody to wake.
#[inline]
pub(crate) fn notify(word: &AtomicU32, futex: &impl Futex) -> bool {
    // SeqCst: with the SeqCst exchange that published before, and with the fence in `announce`. In the one order of all
    // three, either our look comes after the sleeper's flag, or its fence comes after what we published.
    let seen = word.load(Ordering::SeqCst);
    if seen & WAIT == 0 {
        return false;
    }
    wake(word, seen, futex);
    true
}

#[cold]
fn wake(word: &AtomicU32, mut seen: u32, futex: &impl Futex) {
    for _ in 0..TRIES {
        if seen & WAIT == 0 {
            return;
        }
        // A new epoch, so that who is about to sleep on the old word does not.
        let calling = (seen & !NEW).wrapping_add(EPOCH);
        // AcqRel: the epochs of wakers and sleepers are one order.
        if let Err(now) = word.compare_exchange(seen, calling, Ordering::AcqRel, Ordering::Acquire) {
            seen = now;
            continue;
        }
        futex.wake_all(word);
        // Fails if somebody came meanwhile: NEW is set.
        let _ = word.compare_exchange(calling, calling & !WAIT, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
}

/// A waiter's first half: says that somebody is about to sleep. What `ready` looks at must be looked at again after it.
/// Returns the word to sleep on.
fn announce(word: &AtomicU32) -> u32 {
    // AcqRel: as in `wake`.
    let announced = word.fetch_or(WAIT | NEW, Ordering::AcqRel) | WAIT | NEW;
    // SeqCst fence: with the one in `notify`.
    fence(Ordering::SeqCst);
    announced
}

/// Sleeps once on `word`, at most `nap`, unless `ready`. Returns whether it was `ready` before sleeping; the caller looks
/// again, and again, until its own time is over.
pub(crate) fn nap(word: &AtomicU32, futex: &impl Futex, nap: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let announced = announce(word);
    if ready() {
        return true;
    }
    futex.wait(word, announced, nap.min(LONGEST_NAP));
    false
}
