//! Ending a wait from a signal handler or another thread.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crossbeam_utils::CachePadded;

use crate::os::fork::ForkGuard;
use crate::os::futex::SharedFutex;
use crate::os::mapping::Mapping;
use crate::os::ready_set::Knocker;
use crate::protocol::wake::{self, Bells};
use crate::segment::Segment;
use crate::segment::layout::header_word;
use crate::worker::Worker;

/// A handle that ends a worker's waits, from a signal handler or from any thread: [`Worker::wait`] and
/// [`Worker::wait_interruptible`] return, even if there is nothing to poll.
///
/// [`wake`](Waker::wake) ends all present waits of other threads. If there are none, the next wait returns at once: so
/// no wake is lost between the check of a flag and the wait that follows. Several wakes before a wait count as one.
///
/// Clones are the same waker. A waker keeps the segment mapped, but not the seat, the name or the worker. After the
/// worker has left, and in a forked child, a wake does nothing.
///
/// ```
/// # use std::time::Duration;
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// # worker.poll()?;
/// let waker = worker.waker();
/// let other = std::thread::spawn(move || waker.wake());
/// assert!(!worker.wait(Duration::from_secs(3600))?, "there is nothing to poll");
/// # other.join().unwrap();
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// A signal handler may call `wake`, which is async-signal-safe. Keep the waker in a `static`, where the handler finds
/// it:
///
/// ```
/// use std::sync::OnceLock;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// static WAKER: OnceLock<seqcast::Waker> = OnceLock::new();
/// static STOP: AtomicBool = AtomicBool::new(false);
///
/// extern "C" fn on_sigterm(_: i32) {
///     STOP.store(true, Ordering::Relaxed);
///     if let Some(waker) = WAKER.get() {
///         waker.wake();
///     }
/// }
///
/// # fn run(worker: &seqcast::Worker) -> seqcast::Result<()> {
/// WAKER.get_or_init(|| worker.waker());
/// // ... sigaction(SIGTERM, on_sigterm) ...
/// while !STOP.load(Ordering::Relaxed) {
///     worker.wait(std::time::Duration::from_secs(60))?;
///     worker.poll()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Waker {
    own_wakes: Arc<OwnWakes>,
}

impl Waker {
    /// Ends the waits of the worker's threads or, if there are none, the next wait. A thread that returns from the wait
    /// sees what the caller stored before. It does not end the wait of a [`Poller`](crate::Poller).
    ///
    /// It is async-signal-safe: it does not block, allocate or lock, and does not change `errno`. Cloning and dropping
    /// a waker are not.
    pub fn wake(&self) {
        // In a forked child no thread waits, and the futex would wake threads of other processes for nothing.
        if !self.own_wakes.guard.is_forked() {
            // Release: with what the caller stored before.
            self.own_wakes.wakes.fetch_add(1, Ordering::Release);
            self.own_wakes.rouse();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Returns a handle that ends this worker's waits, from a signal handler or from any thread: see [`Waker`].
    pub fn waker(&self) -> Waker {
        Waker { own_wakes: Arc::clone(&self.inner.own_wakes) }
    }
}

/// The most bells that a worker has at a time.
pub(super) const MOST_BELLS: usize = 8;

/// Wakes the waiting threads and the bells of this process, for reasons other than posts.
pub(super) struct OwnWakes {
    guard: ForkGuard,
    /// The mapping instead of the segment, so that a waker does not keep the segment's name.
    mapping: Arc<Mapping>,
    /// Threads of this process that sleep in a wait.
    pub(super) sleepers: AtomicUsize,
    /// A wake word of this process only. Threads sleep on it in a wait while another thread polls.
    pub(super) poll_ended: CachePadded<AtomicU32>,
    /// Calls of [`Waker::wake`].
    wakes: AtomicU64,
    /// The number of these calls that have ended a wait.
    answered: AtomicU64,
    /// A wake word of this process only, on which bells are armed.
    pub(super) bells_armed: CachePadded<AtomicU32>,
    /// The [`Knocker`] of each bell, as bits; 0 for none.
    bells: [AtomicU64; MOST_BELLS],
}

impl OwnWakes {
    pub(super) fn new(segment: &Segment, guard: ForkGuard) -> OwnWakes {
        OwnWakes {
            guard,
            mapping: Arc::clone(segment.mapping()),
            sleepers: AtomicUsize::new(0),
            poll_ended: CachePadded::new(AtomicU32::new(0)),
            wakes: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            bells_armed: CachePadded::new(AtomicU32::new(0)),
            bells: Default::default(),
        }
    }

    /// Makes the waiting threads and event loops of this process check again. Async-signal-safe: a few atomics, and
    /// system calls without the C library.
    pub(super) fn rouse(&self) {
        // SeqCst: with the one in `Inner::wait`. Either we see the sleeper, or it sees the reason for the wake.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            wake::wake_sleepers(&self.poll_ended, &SharedFutex);
            if let Some(word) = self.mapping.word32(header_word!(wake) * 8) {
                wake::wake_sleepers(word, &SharedFutex);
            }
        }
        wake::notify(&self.bells_armed, &SharedFutex, self);
    }

    /// Wakes the threads that wait for the end of a poll.
    #[inline]
    pub(super) fn end_poll(&self) {
        // Without a fence, whose cost every poll would pay. A thread or loop that was about to sleep checks again soon
        // (`Inner::wait`, `Bell::poll`).
        wake::notify(&self.poll_ended, &SharedFutex, self);
    }

    /// Adds a bell. Returns its slot, or `None` if there is no room.
    pub(super) fn add_bell(&self, knocker: Knocker) -> Option<usize> {
        // Relaxed: arming the bell orders it.
        self.bells
            .iter()
            .position(|slot| slot.compare_exchange(0, knocker.to_bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok())
    }

    /// Removes the bell in `slot`. A thread that is making it readable at this moment does no harm (see [`Knocker`]).
    pub(super) fn remove_bell(&self, slot: usize) {
        self.bells[slot].store(0, Ordering::Relaxed);
    }

    /// Returns the number of calls of [`Waker::wake`] so far.
    pub(super) fn wakes(&self) -> u64 {
        // Acquire: with what the caller of `wake` stored before.
        self.wakes.load(Ordering::Acquire)
    }

    /// Returns the wakes that have not ended a wait yet, and those to come.
    pub(super) fn listen(&self) -> Wakes<'_> {
        // Relaxed: a counter.
        Wakes { own_wakes: self, before: self.answered.load(Ordering::Relaxed) }
    }
}

impl Bells for OwnWakes {
    fn ring_all(&self) {
        // In a forked child the bells are the parent's.
        if !self.guard.is_forked() {
            // Relaxed: a thread that has armed a bell has added it before.
            let knockers = self.bells.iter().map(|slot| slot.load(Ordering::Relaxed));
            knockers.filter(|&bits| bits != 0).for_each(|bits| Knocker::from_bits(bits).knock());
        }
    }
}

/// The wakes during one wait.
pub(super) struct Wakes<'a> {
    own_wakes: &'a OwnWakes,
    before: u64,
}

impl Wakes<'_> {
    /// Returns `true` if there was one.
    pub(super) fn any(&self) -> bool {
        self.own_wakes.wakes() != self.before
    }

    /// Ends the wait: wakes up to now end no further wait. Returns `true` if there was one.
    pub(super) fn answer(self) -> bool {
        let wakes = self.own_wakes.wakes();
        if wakes == self.before {
            return false;
        }
        // Relaxed: a counter. The maximum, because another thread may have answered later wakes already.
        self.own_wakes.answered.fetch_max(wakes, Ordering::Relaxed);
        true
    }
}
