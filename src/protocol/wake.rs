//! Sleeping until an event is published, without a system call for the publisher when no process sleeps.
//!
//! ```text
//! 31 ........ 2   1    0
//! [ epoch: 30 ][NEW][WAIT]     WAIT: a process sleeps or is about to; NEW: one arrived since the last wake
//! ```
//!
//! WAIT is a flag and not a count, so a sleeper that was killed costs one wake call, once. The flag is cleared only
//! after the wake, and only if no sleeper arrived in the meantime, so a waker that is killed leaves the work to the
//! next.

use core::time::Duration;

use super::TRIES;
use crate::sync::{AtomicU32, Ordering, fence};

const WAIT: u32 = 1;
const NEW: u32 = 2;
const EPOCH: u32 = 4;

/// No sleep is longer than this: a publisher that is killed between its exchange and its wake call wakes no sleeper.
pub(crate) const LONGEST_NAP: Duration = Duration::from_millis(100);

/// The system's part: sleeping on a word, and waking its sleepers.
pub(crate) trait Futex {
    /// Sleeps until woken, at most `timeout`, unless `word` differs from `expected`. May return early.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration);
    /// Wakes all sleepers of `word`.
    fn wake_all(&self, word: &AtomicU32);
}

/// Wakes all processes that wait for what the caller has just published. Returns `true` if there was a sleeper to wake.
#[inline]
pub(crate) fn notify(word: &AtomicU32, futex: &impl Futex) -> bool {
    // SeqCst: together with the SeqCst exchange that published, and the fence in `announce`. In the single order of all
    // three, either our look comes after the sleeper's flag, or its fence comes after our publication.
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
        // A new epoch, so that a process that is about to sleep on the old word does not sleep.
        let calling = (seen & !NEW).wrapping_add(EPOCH);
        // AcqRel: the epochs of wakers and sleepers form one order.
        if let Err(now) = word.compare_exchange(seen, calling, Ordering::AcqRel, Ordering::Acquire) {
            seen = now;
            continue;
        }
        futex.wake_all(word);
        // Fails if a sleeper arrived in the meantime: NEW is set.
        let _ = word.compare_exchange(calling, calling & !WAIT, Ordering::AcqRel, Ordering::Relaxed);
        return;
    }
}

/// A waiter's first half: announces that it is about to sleep. The caller must check its condition again afterwards.
/// Returns the word to sleep on.
fn announce(word: &AtomicU32) -> u32 {
    // AcqRel: as in `wake`.
    let announced = word.fetch_or(WAIT | NEW, Ordering::AcqRel) | WAIT | NEW;
    // SeqCst fence: pairs with the load in `notify`.
    fence(Ordering::SeqCst);
    announced
}

/// Sleeps once on `word`, for at most `nap`, unless `ready`. Returns `true` if it was `ready` before sleeping. The
/// caller looks again, and repeats this until its own time is over.
pub(crate) fn nap(word: &AtomicU32, futex: &impl Futex, nap: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let announced = announce(word);
    if ready() {
        return true;
    }
    futex.wait(word, announced, nap.min(LONGEST_NAP));
    false
}
