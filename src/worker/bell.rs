//! A worker's bell.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::handle::Worker;
use super::handlers::handler::Outcome;
use super::inner::Inner;
use super::polling::patience::Wait;
use super::polling::polled::Polled;
use super::waker::MOST_BELLS;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::protocol::word::Mark;
use crate::seat::bell::BellCore;
use crate::seat::bell::options::{BellKind, BellOptions};
use crate::seat::report::{Report, Trouble};

/// The time after which a bell is first rung again while another thread polls; each further time is twice as long. See
/// `FIRST_NAP` of the waits.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// The result of a poll that did nothing.
const NOTHING: Polled = Polled::Done { delivered: 0, missed: 0, missed_elsewhere: 0 };

/// A descriptor that is readable as long as a [`Worker`] may have something to poll, for event loops.
///
/// When it is readable, call [`poll`](Bell::poll). It becomes readable again when there is more to do: a process posts,
/// this worker calls [`post_local`](Worker::post_local), a reserved id is decided or due to be given up, a
/// [`Waker`](crate::Waker) is used, or the worker leaves. It may also become readable when there is nothing to poll; a
/// poll is then harmless. [`Worker::poll`] and other handles of the worker can be used as well.
///
/// Every loop that waits for descriptors can wait for it, level-triggered or edge-triggered: poll, select, epoll,
/// io_uring, and libraries on top of them. Wait for readability only, and not exclusively (`EPOLLEXCLUSIVE`). Do not
/// read from it or write to it.
///
/// A new bell is readable: the first poll arms it.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # fn wait_until_readable(_: std::os::fd::BorrowedFd<'_>) {}
/// use std::os::fd::AsFd;
///
/// let worker = bus.join()?;
/// worker.on(seqcast::Scope::source("cache"), |event| println!("{} is stale", event.event()))?;
/// let bell = worker.bell()?;
/// # for _ in 0..1 {
/// # /*
/// loop {
/// # */
///     wait_until_readable(bell.as_fd()); // by epoll, or by your event loop
///     bell.poll()?;
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// # Cost
///
/// A post makes no system call if no bell is armed. Otherwise it makes one, for any number of bells, and rings the
/// bells of all processes: a process that is awake finds its bell readable once with nothing to poll. An idle bell
/// wakes its loop at the end of each [`interval`](BellOptions::interval), once a second by default. It also wakes its
/// loop when a process joins or leaves, or reads the segment's file. A bell takes four descriptors.
///
/// Dropping a bell takes up to some milliseconds, in which the kernel ends its watch. Make one when the loop starts,
/// and keep it. Remove it from the loop before it is dropped.
///
/// # How it is rung
///
/// A post reads one byte of the segment's file, and inotify reports that to the bells ([`BellKind::Inotify`]). If a
/// poster is killed before that, the kernel rings for it. If a poster is stopped there, the bell is readable with the
/// next post, or at the end of the interval.
///
/// Without inotify, the bell is readable every 10 ms ([`BellKind::Tick`]), and that is [reported](Trouble::Unheard). A
/// user has at most 128 inotify instances by default (`fs.inotify.max_user_instances`), shared by all containers
/// without a user namespace of their own, and some sandboxes have none. In a sandbox such as gVisor, inotify may work
/// for events inside only. The library cannot detect this: set a short interval there.
///
/// # Forks
///
/// A forked child inherits the descriptors, but must not wait for them: [`poll`](Bell::poll) returns
/// [`ErrorKind::Forked`] in the child. Let it join and make a bell of its own. Executed programs inherit none of the
/// descriptors.
pub struct Bell {
    core: BellCore,
    worker: Worker,
    /// Its index among the worker's bells.
    slot: usize,
    /// The calls of [`Waker::wake`](crate::Waker::wake) for which the bell was made readable.
    answered: AtomicU64,
    /// The time to the next ring while another thread polls, in nanoseconds; 0 if none does.
    look_in: AtomicU64,
}

impl Worker {
    /// Makes a descriptor that is readable as long as there may be something to poll: see [`Bell`]. Like a clone, it
    /// keeps the worker alive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if there are no descriptors left; [`ErrorKind::Option`] if this worker has 8 bells
    /// already; [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Descriptor`].
    pub fn bell(&self) -> Result<Bell> {
        self.bell_with(&BellOptions::new())
    }

    /// [`bell`](Worker::bell) with options.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    /// use seqcast::BellOptions;
    ///
    /// let bell = worker.bell_with(&BellOptions::new().interval(Duration::from_secs(5)))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bell`](Worker::bell), and [`ErrorKind::Option`].
    pub fn bell_with(&self, options: &BellOptions) -> Result<Bell> {
        self.check()?;
        let inner = &*self.inner;
        let core = BellCore::new(&inner.segment, options)?;
        let Some(slot) = inner.own_wakes.add_bell(core.knocker()) else {
            let rule = format!("a worker has at most {MOST_BELLS} bells at a time: drop one first");
            return Err(Error::option("bell", "one more", rule));
        };
        let answered = AtomicU64::new(inner.own_wakes.wakes());
        let bell = Bell { core, worker: self.clone(), slot, answered, look_in: AtomicU64::new(0) };
        if let Some(error) = bell.unheard() {
            inner.report(&Report { source: "", event: "", id: None, trouble: Trouble::Unheard(error) });
            // The reporter may have forked, and returned in the child.
            bell.core.check()?;
        }
        Ok(bell)
    }
}

impl Bell {
    /// Polls the worker until nothing is new, and arms the bell: the descriptor becomes readable when there is more.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let bell = worker.bell()?;
    /// assert_eq!(bell.poll()?.missed(), 0);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// It never sleeps: at a reserved id it returns [`Polled::Reserved`] as [`Worker::poll_now`] does, and the
    /// descriptor becomes readable when the id is decided, or due to be given up. While another thread polls the worker
    /// it returns [`Polled::Busy`], and the descriptor becomes readable when that poll is over.
    ///
    /// # Errors
    ///
    /// As [`Worker::poll`]; [`ErrorKind::BellClosed`] if other code of the process has closed a descriptor of the bell:
    /// make a new one.
    pub fn poll(&self) -> Result<Polled> {
        self.poll_at_most(u64::MAX)
    }

    /// [`poll`](Bell::poll) that ends after it has delivered `events`. The descriptor is readable again if there are
    /// more, so that the loop's other descriptors get their turn.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.on(("job", "done"), |event| println!("{event:?}"))?;
    /// let bell = worker.bell()?;
    /// for job in 0..3 {
    ///     worker.post(("job", "done"), job.to_string())?;
    /// }
    /// assert_eq!(bell.poll_at_most(2)?.delivered(), 2);
    /// assert_eq!(bell.poll_at_most(2)?.delivered(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Bell::poll).
    pub fn poll_at_most(&self, events: u64) -> Result<Polled> {
        self.core.check()?;
        let first = self.deliver(events).or_else(|error| self.give_up(error))?;
        let left = events - first.delivered();
        let look = || if left > 0 { self.deliver(left) } else { Ok(first) };
        let second = self.settle(first, look)?.or_else(|error| self.give_up(error))?;
        let polled = if left > 0 { sum(first, second) } else { first };
        self.come_back(polled.delivered() >= events, first, second)?;
        Ok(polled)
    }

    /// [`poll`](Bell::poll) that calls `visit` with every event, as [`Worker::poll_with`] does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let mut stale = Vec::new();
    /// let bell = worker.bell()?;
    /// worker.post(("cache", "stale"), "user:42")?;
    /// bell.poll_with(|event| stale.push(event.bytes().to_vec()))?;
    /// assert_eq!(stale.last().unwrap(), b"user:42");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Bell::poll).
    ///
    /// # Panics
    ///
    /// If `visit` does. The descriptor is then readable.
    pub fn poll_with<F, R>(&self, visit: F) -> Result<Polled>
    where
        F: FnMut(&Event<'_>) -> R,
        R: Outcome,
    {
        /// Rings the bell after a poll that a panic ended.
        struct RingUnlessDone<'a>(&'a BellCore);

        impl Drop for RingUnlessDone<'_> {
            fn drop(&mut self) {
                // The next poll says what is wrong.
                let _ = self.0.ring();
            }
        }

        self.core.check()?;
        // Armed before it delivers: after a panic there must be no second poll.
        let look = || {
            let unless_done = RingUnlessDone(&self.core);
            let polled = self.worker.poll_visiting(Wait::Never, visit);
            std::mem::forget(unless_done);
            polled
        };
        let polled = self.settle(NOTHING, look)?.or_else(|error| self.give_up(error))?;
        if is_refused(polled) && self.settle(polled, || self.worker.inner.is_polled())? {
            self.come_back(false, polled, polled)?;
        } else {
            self.come_back(false, NOTHING, polled)?;
        }
        Ok(polled)
    }

    /// Returns how the bell is rung.
    pub fn kind(&self) -> BellKind {
        self.core.kind()
    }

    /// Returns the reason why posts do not ring the bell, if its kind is [`BellKind::Tick`].
    pub fn unheard(&self) -> Option<&Error> {
        self.core.unheard()
    }

    fn deliver(&self, events: u64) -> Result<Polled> {
        self.worker.inner.poll_unless_idle(events, Wait::Never, None)
    }

    /// Makes the descriptor unreadable after an error, so that a loop which ignores errors does not spin.
    #[cold]
    fn give_up(&self, error: Error) -> Result<Polled> {
        self.core.check()?;
        let _ = self.core.drain();
        Err(error)
    }

    /// Arms the bell after a poll with the result `polled`, then calls `look`.
    fn settle<T>(&self, polled: Polled, look: impl FnOnce() -> T) -> Result<T> {
        let Inner { own_wakes, segment, hot, .. } = &*self.worker.inner;
        if is_refused(polled) {
            // Armed for the end of the other poll, which delivers what is posted until then.
            return self.core.settle(&[&own_wakes.bells_armed, &own_wakes.poll_ended], None, Mark::NONE, look);
        }
        // Acquire: with what that poll has read.
        let mark = Mark::from_bits(hot.mark.load(Ordering::Acquire));
        self.core.settle(&[&own_wakes.bells_armed], Some(segment), mark, look)
    }

    /// Rings for what the armed words do not report.
    fn come_back(&self, stopped_early: bool, first: Polled, second: Polled) -> Result<()> {
        let own_wakes = &self.worker.inner.own_wakes;
        let wakes = own_wakes.wakes();
        // Relaxed: a counter. A wake before the bell was armed did not ring; a later one is answered twice.
        let is_woken = self.answered.swap(wakes, Ordering::Relaxed) != wakes;
        let has_more = stopped_early && self.worker.inner.has_news();
        if is_woken || has_more || is_refused(first) != is_refused(second) {
            return self.core.ring();
        }
        if is_refused(second) {
            return self.look_later();
        }
        self.look_in.store(0, Ordering::Relaxed);
        match second {
            Polled::Reserved { left: Some(left), .. } => self.core.ring_in(left),
            _ => Ok(()),
        }
    }

    /// The end of a poll has no fence, so it may miss a bell that is being armed: the bell is rung again after a while.
    fn look_later(&self) -> Result<()> {
        let first = FIRST_LOOK.as_nanos() as u64;
        let look_in = self.look_in.load(Ordering::Relaxed).max(first);
        self.look_in.store(look_in.saturating_mul(2), Ordering::Relaxed);
        self.core.ring_in(Duration::from_nanos(look_in))
    }
}

fn is_refused(polled: Polled) -> bool {
    matches!(polled, Polled::Busy | Polled::Recursive)
}

/// Returns the result of two polls, one after the other.
fn sum(first: Polled, second: Polled) -> Polled {
    let (delivered, missed) = (first.delivered() + second.delivered(), first.missed() + second.missed());
    let missed_elsewhere = first.missed_elsewhere() + second.missed_elsewhere();
    match second {
        Polled::Reserved { id, left, .. } => Polled::Reserved { id, left, delivered, missed, missed_elsewhere },
        Polled::Busy | Polled::Recursive if is_refused(first) => second,
        _ => Polled::Done { delivered, missed, missed_elsewhere },
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if self.core.check().is_ok() {
            self.worker.inner.own_wakes.remove_bell(self.slot);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell")
            .field("fd", &self.as_raw_fd())
            .field("kind", &self.kind())
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
