//! Ending a wait from outside: from a signal handler or another thread.

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

/// Ends a worker's wait, from a signal handler or from any thread: [`Worker::wait`] and
/// [`Worker::wait_interruptible`] return, whatever there is to poll.
///
/// [`wake`](Waker::wake) ends every wait that another thread is in. If there is none it ends the next one, which then
/// returns at once: no wake is lost between a look at a flag and the wait that follows. Several wakes before a wait
/// count as one.
///
/// Clones are the same waker. It keeps the segment mapped and nothing else: no seat, no name, no worker. After the
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
/// A signal handler may call `wake`: it is async-signal-safe. Keep the waker where the handler finds it, as a `static`:
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
    /// sees what the caller stored before. A [`Poller`](crate::Poller) waits on.
    ///
    /// It is async-signal-safe: it does not block, allocate or lock, and leaves `errno` as it is. To clone or to drop a
    /// waker is not.
    pub fn wake(&self) {
        // No thread of a forked child waits; the futex would wake sleepers of other processes in vain.
        if !self.own_wakes.guard.is_forked() {
            // Release: with what the caller has stored before.
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

/// Most bells that a worker has at a time.
pub(super) const MOST_BELLS: usize = 8;

/// What the threads of this process that wait, and its bells, are woken by, other than by what is posted.
pub(super) struct OwnWakes {
    guard: ForkGuard,
    /// Of the segment, and not the segment itself: a waker that is kept must not keep its name.
    mapping: Arc<Mapping>,
    /// Threads of this process that sleep in a wait.
    pub(super) sleepers: AtomicUsize,
    /// A wake word of this process alone: what threads sleep on in a wait while another one polls.
    pub(super) poll_ended: CachePadded<AtomicU32>,
    /// Calls of [`Waker::wake`].
    wakes: AtomicU64,
    /// Those of them that have ended a wait.
    answered: AtomicU64,
    /// A wake word of this process alone, on which bells are armed.
    pub(super) bells_armed: CachePadded<AtomicU32>,
    /// What makes each bell readable, as bits; 0 for none.
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

    /// Has the sleepers and the event loops of this process look again at what they wait for. Async-signal-safe: a few
    /// atomics, and system calls that are made without the C library.
    pub(super) fn rouse(&self) {
        // SeqCst: with the one in `Inner::wait`. Either we see the sleeper, or it sees what it is to be woken for.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            wake::wake_sleepers(&self.poll_ended, &SharedFutex);
            if let Some(word) = self.mapping.word32(header_word!(wake) * 8) {
                wake::wake_sleepers(word, &SharedFutex);
            }
        }
        wake::notify(&self.bells_armed, &SharedFutex, self);
    }

    /// Says that a poll is over.
    #[inline]
    pub(super) fn end_poll(&self) {
        // No fence, which every poll would pay for: a thread or a loop that was about to sleep meanwhile looks again
        // soon (`Inner::wait`, `Bell::poll`).
        wake::notify(&self.poll_ended, &SharedFutex, self);
    }

    /// Adds a bell. Returns its place, or `None` if there is no room.
    pub(super) fn add_bell(&self, knocker: Knocker) -> Option<usize> {
        // Relaxed: arming the bell orders it.
        self.bells.iter().position(|place| {
            place.compare_exchange(0, knocker.to_bits(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Removes the bell at `place`. A thread that is just making it readable does no harm (see [`Knocker`]).
    pub(super) fn remove_bell(&self, place: usize) {
        self.bells[place].store(0, Ordering::Relaxed);
    }

    /// Calls of [`Waker::wake`] so far.
    pub(super) fn wakes(&self) -> u64 {
        // Acquire: with what the caller of `wake` has stored before.
        self.wakes.load(Ordering::Acquire)
    }

    /// Begins to look for wakes: for those that have not ended a wait yet, and those to come.
    pub(super) fn listen(&self) -> Wakes<'_> {
        // Relaxed: a number.
        Wakes { own_wakes: self, before: self.answered.load(Ordering::Relaxed) }
    }
}

impl Bells for OwnWakes {
    fn ring_all(&self) {
        // In a forked child the bells are the parent's.
        if !self.guard.is_forked() {
            // Relaxed: a thread that has armed a bell has added it before.
            let knockers = self.bells.iter().map(|place| place.load(Ordering::Relaxed));
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

    /// Ends the wait: what there was ends no other that begins now. Returns `true` if there was any.
    pub(super) fn answer(self) -> bool {
        let wakes = self.own_wakes.wakes();
        if wakes == self.before {
            return false;
        }
        // Relaxed: a number. The greatest, since another thread may have answered later wakes already.
        self.own_wakes.answered.fetch_max(wakes, Ordering::Relaxed);
        true
    }
}
