//! Sleeping on a word of shared memory.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::Timespec;

/// A shared futex, because its sleepers and wakers are different processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedFutex;

impl SharedFutex {
    /// Sleeps until woken, for at most `timeout`, unless `word` differs from `expected`. May return early.
    pub(crate) fn wait(self, word: &AtomicU32, expected: u32, timeout: Duration) {
        // Woken, word changed (EAGAIN), interrupted and timed out are the same to the caller: it looks again.
        let _ = wait(word, expected, timeout);
    }

    /// Wakes all sleepers of `word`.
    pub(crate) fn wake_all(self, word: &AtomicU32) {
        // The kernel reads the number as an int.
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }
}

/// A shared futex that also records whether this thread ran a signal handler during the wait.
#[derive(Debug, Default)]
pub(crate) struct InterruptibleFutex(Cell<bool>);

impl InterruptibleFutex {
    pub(crate) fn was_interrupted(&self) -> bool {
        self.0.get()
    }

    /// Like [`SharedFutex::wait`].
    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        // With a timeout the kernel returns EINTR even if the handler asks for calls to be restarted.
        if wait(word, expected, timeout) == Err(Errno::INTR) {
            self.0.set(true);
        }
    }
}

fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Result<(), Errno> {
    // A timeout that cannot be represented counts as none.
    let timeout = Timespec::try_from(timeout).ok();
    futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::sys::boottime_ns;

    #[test]
    fn futex_wait_returns_at_once_on_another_value_and_after_its_timeout() {
        let word = AtomicU32::new(5);
        let start = boottime_ns();
        SharedFutex.wait(&word, 4, Duration::from_secs(3600));
        SharedFutex.wait(&word, 5, Duration::from_millis(5));
        let took = boottime_ns() - start;
        assert!((5_000_000..1_800_000_000_000).contains(&took), "{took} ns");
    }

    #[test]
    fn a_sleeper_on_a_futex_is_woken() {
        let word = AtomicU32::new(5);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| SharedFutex.wait(&word, 5, Duration::from_secs(3600)));
            for _ in 0..30_000 {
                if sleeper.is_finished() {
                    return;
                }
                SharedFutex.wake_all(&word);
                std::thread::sleep(Duration::from_millis(1));
            }
            // SAFETY: at worst it ends a process with a sleeper that would sleep for an hour.
            unsafe { libc::abort() }
        });
    }
}
