//! A worker: one seat on the bus, with handlers.

mod default_report;
#[cfg(test)]
mod fork_tests;
pub(crate) mod handlers;
mod leaving;
pub(crate) mod panics;
pub(crate) mod poller;
mod polling;
#[cfg(test)]
mod tests;
mod waiting;
pub(crate) mod waker;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use rkyv::util::AlignedVec;

use self::default_report::{DefaultReports, Until};
pub use self::leaving::WeakWorker;
use self::panics::catch_panic;
use self::polling::{OWN, Reading, Wait};
use self::waker::{Bell, Waited};
use crate::claim::{Claim, Claimed, Unique};
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::event::wire::{PAYLOAD_ALIGN, UniqueKey};
use crate::event::{
    Buffer, Event, EventBuilder, LocalData, LocalEvent, Payload, Sender, Topic, Typed, TypedEvent, library,
};
use crate::identity::Position;
use crate::os::clock::HostClock;
use crate::os::fork::ForkGuard;
use crate::os::futex::{InterruptibleFutex, SharedFutex};
use crate::os::locks::{DroppedUnlessHeld, lock};
use crate::os::sys;
use crate::protocol::ring::Ring;
use crate::protocol::thread_lock::{Lock, Locked};
use crate::seat::claim::{Claimer, hash_unique};
use crate::seat::options::WorkerOptions;
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::publisher::Publisher;
use crate::seat::read::Reader;
use crate::seat::report::{Report, Trouble};
use crate::seat::tenure::Incarnation;
use crate::seat::words::SeatWords;
use crate::seat::{Seat, set_label};
use crate::segment::Segment;
use crate::segment::layout::seat_word;
use crate::sync::Words;
use crate::worker::handlers::{Handler, Outcome, Registration, Registry, Scope, address_of};

/// One seat on the bus: posts events, and hands those of all workers to its handlers, in the order of their ids.
///
/// Clones are the same worker. It may be used from several threads; one of them at a time can poll. It leaves the bus
/// when the last clone is dropped, or by [`leave`](Worker::leave).
///
/// A handler that uses its own worker holds a [`WeakWorker`]: one that owned a clone would keep the worker alive for as
/// long as the worker keeps the handler, until somebody calls `leave`.
///
/// ```
/// # let name = format!("doc-worker-{}", std::process::id());
/// let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// let worker = bus.join()?;
/// worker.on(seqcast::Scope::source("cache"), |event| {
///     println!("{}: {} bytes from {:?}", event.event(), event.bytes().len(), event.pid());
/// })?;
/// worker.post(("cache", "stale"), b"user:42")?;
/// worker.poll()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a worker leaves the bus when its last clone is dropped"]
pub struct Worker {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Arc<Segment>,
    guard: ForkGuard,
    ring: Ring,
    hot: CachePadded<Hot>,
    // What another thread of the parent was changing at a fork is left alone in the child.
    writer: DroppedUnlessHeld<Lock<Writer>>,
    claimer: DroppedUnlessHeld<Lock<Claimer>>,
    reading: DroppedUnlessHeld<Lock<Reading>>,
    local: DroppedUnlessHeld<Mutex<VecDeque<LocalEvent>>>,
    registry: DroppedUnlessHeld<Registry>,
    options: DroppedUnlessHeld<RwLock<Arc<WorkerOptions>>>,
    /// The options at the beginning.
    joined_with: Arc<WorkerOptions>,
    changing: Changing,
    tuning: Tuning,
    clock: HostClock,
    words: SeatWords,
    /// All workers' seats, to tell processes of the same pid apart.
    seats: Words,
    seat: u16,
    pid: u32,
    default_reports: DefaultReports,
    /// Reporters that panicked, and are not counted in the seat yet.
    reporters_failed: AtomicU64,
    bell: Arc<Bell>,
    left: AtomicBool,
    /// Whether the seat is still this worker's, and the handlers are still there: cleared once, by the one that gives
    /// them up. See [`leaving`].
    seated: AtomicBool,
}

/// What an idle poll looks at.
struct Hot {
    /// The [`Mark`] of the id that the last poll stopped at. It says nothing while that is not all there is to look at:
    /// while somebody polls, or events were copied out ahead. One word and no more: polls of several threads store to
    /// it.
    mark: AtomicU64,
    /// If the mark is one of a reserved id: since when it is waited for, or [`OWN`].
    reserved_since: AtomicU64,
    /// The id that reading goes on with.
    next: AtomicU64,
    /// The first id that is not handled: its handlers have not returned, or it was not even read.
    unhandled: AtomicU64,
    local: AtomicUsize,
    /// The thread that polls, 0 for none.
    polling: AtomicUsize,
    /// The first id that this worker has posted since the handlers of the last event began.
    first_own_post: AtomicU64,
    /// Whether the seat is still this worker's.
    incarnation: Incarnation,
}

/// Those options that polls look at, where a look costs nothing. In nanoseconds.
struct Tuning {
    wait_interval: AtomicU64,
    wait_max: AtomicU64,
}

impl Tuning {
    fn of(options: &WorkerOptions) -> Tuning {
        let tuning = Tuning { wait_interval: AtomicU64::new(0), wait_max: AtomicU64::new(0) };
        tuning.set(options);
        tuning
    }

    fn set(&self, options: &WorkerOptions) {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.wait_interval.store(ns(options.wait_interval), Ordering::Relaxed);
        self.wait_max.store(ns(options.wait_max), Ordering::Relaxed);
    }
}

/// Whose turn it is to change the options. Users' code runs in a turn, so that nothing else may need it.
#[derive(Default)]
struct Changing {
    turn: Mutex<()>,
    /// The thread whose turn it is, 0 for none.
    thread: AtomicUsize,
}

struct ChangeTurn<'a>(&'a Changing, #[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);

impl Changing {
    fn begin(&self) -> Result<ChangeTurn<'_>> {
        let here = sys::this_thread();
        // Relaxed: only this thread stores its own number.
        if self.thread.load(Ordering::Relaxed) == here {
            let rule = "a change of options cannot be made inside another: make both in one";
            return Err(Error::option("reconfigure", "a call from inside its own closure", rule));
        }
        let turn = lock(&self.turn);
        self.thread.store(here, Ordering::Relaxed);
        Ok(ChangeTurn(self, turn))
    }
}

impl Drop for ChangeTurn<'_> {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
    }
}

/// What a poll did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Polled {
    /// Everything there was has been handed to the handlers, or as much as was asked for.
    #[non_exhaustive]
    Done {
        /// Events that handlers of this worker were called with.
        delivered: u64,
        /// Ids that were overwritten before they were read.
        missed: u64,
    },
    /// Everything before a reserved id has been handed to the handlers. What follows comes with a later poll, after the
    /// commit or when the id was given up.
    #[non_exhaustive]
    Reserved {
        /// The reserved id.
        id: u64,
        /// How long this worker still waits for it, at the most: a poll after that gives the id up. `None` if the
        /// worker has reserved it itself, which it never gives up by waiting.
        left: Option<Duration>,
        /// As in [`Done`](Polled::Done).
        delivered: u64,
        /// As in [`Done`](Polled::Done).
        missed: u64,
    },
    /// The call came from inside a handler of this worker. Nothing was done.
    Recursive,
    /// Another thread polls this worker. Nothing was done; what there is to handle is that thread's.
    /// [`Worker::wait`] sleeps until its poll is over.
    Busy,
}

impl Polled {
    /// Events that handlers of this worker were called with.
    pub fn delivered(&self) -> u64 {
        match *self {
            Polled::Done { delivered, .. } | Polled::Reserved { delivered, .. } => delivered,
            Polled::Recursive | Polled::Busy => 0,
        }
    }

    /// Ids that were overwritten before they were read.
    pub fn missed(&self) -> u64 {
        match *self {
            Polled::Done { missed, .. } | Polled::Reserved { missed, .. } => missed,
            Polled::Recursive | Polled::Busy => 0,
        }
    }
}

impl Worker {
    pub(crate) fn join(segment: &Arc<Segment>, options: WorkerOptions) -> Result<Worker> {
        options.check_to_join(segment)?;
        let seat = Seat::take(segment, &options.label)?;
        // Again, since `Now` means that of the seat. Ids only grow, so that what was posted before still is.
        let begin = options.start.begin(segment)?;
        let (ring, start) = (segment.ring(), begin.first);
        let Seat { segment, guard, tenure, incarnation, number: seat_number, words, writer, claimer, clock, pid } =
            seat;
        let reader = Reader::new(Arc::clone(&segment), words.clone(), seat_number, begin);
        let mark = ring.mark_empty(start);
        let options = Arc::new(options);
        let inner = Inner {
            seats: segment.seats(),
            bell: Arc::new(Bell::new(&segment, guard)),
            segment,
            guard,
            ring,
            hot: CachePadded::new(Hot {
                mark: AtomicU64::new(mark.bits()),
                reserved_since: AtomicU64::new(OWN),
                next: AtomicU64::new(start),
                unhandled: AtomicU64::new(start),
                local: AtomicUsize::new(0),
                polling: AtomicUsize::new(0),
                first_own_post: AtomicU64::new(u64::MAX),
                incarnation,
            }),
            writer: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), writer)),
            claimer: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), claimer)),
            reading: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), Reading::new(reader, tenure))),
            local: DroppedUnlessHeld::new(Mutex::default()),
            registry: DroppedUnlessHeld::new(Registry::new()),
            tuning: Tuning::of(&options),
            clock,
            options: DroppedUnlessHeld::new(RwLock::new(Arc::clone(&options))),
            joined_with: options,
            changing: Changing::default(),
            words,
            seat: seat_number,
            pid,
            default_reports: DefaultReports::new(),
            reporters_failed: AtomicU64::new(0),
            left: AtomicBool::new(false),
            seated: AtomicBool::new(true),
        };
        let worker = Worker { inner: Arc::new(inner) };
        let inner = &*worker.inner;
        inner.announce(&mut *inner.writer_for_next()?, &inner.joined_with, library::STARTED)?;
        if let Some(differences) = inner.segment.differences_to_report() {
            let trouble = Trouble::OptionsDiffer(differences);
            inner.report(&Report { source: "", event: "", id: None, trouble });
        }
        Ok(worker)
    }

    // ---- posting ----

    /// Posts an event to all workers, this one included. No handler runs in here. Returns the event's id.
    ///
    /// ```
    /// # let name = format!("doc-post-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// seqcast::event_list! { mod cache = "cache" { STALE = "stale" } }
    ///
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.post(cache::STALE, "user:43")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`], [`ErrorKind::LibrarySource`], [`ErrorKind::PayloadTooLarge`], [`ErrorKind::Forked`],
    /// [`ErrorKind::Displaced`], [`ErrorKind::Left`]; [`ErrorKind::TypedTopic`] and [`ErrorKind::Archive`] for a typed
    /// payload; [`ErrorKind::Corrupt`] and [`ErrorKind::Exhausted`] if the segment is. After an error nobody sees the
    /// event.
    #[inline]
    pub fn post<'a>(&self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), None, payload)
    }

    /// Posts a value under its type's topic. Returns the event's id.
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post), and [`ErrorKind::Archive`] if the value cannot be archived.
    #[inline]
    pub fn post_typed<T: TypedEvent>(&self, value: &T) -> Result<u64> {
        self.send(T::TOPIC, None, value)
    }

    /// Begins an event about which more is said than topic and payload: see [`EventBuilder`].
    pub fn event<'a>(&'a self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a Worker> {
        EventBuilder::new(self, topic.into())
    }

    /// Posts a value to this worker only. It never enters the segment, and the handlers get `value` as it is, by
    /// [`Event::local`].
    ///
    /// To post bytes or a typed value to this worker only, use [`EventBuilder::local`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`], [`ErrorKind::LibrarySource`], [`ErrorKind::Forked`], [`ErrorKind::Left`].
    pub fn post_local<'a, T: Any + Send + Sync>(&self, topic: impl Into<Topic<'a>>, value: T) -> Result<()> {
        self.inner.post_local(topic.into(), || Ok(LocalData::Value(Arc::new(value))))
    }

    /// Takes the next event id now, for an event whose payload comes later; until then, or until their `wait_max`, the
    /// readers wait at it. A reservation that this worker has not committed is given up first: it can hold one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    pub fn reserve(&self) -> Result<Reservation> {
        let id = self.inner.writer_for_next()?.reserve()?;
        Ok(Reservation { worker: self.clone(), id, open: true })
    }

    /// Returns a seat of its own for a thread that posts much, so that no lock is around its posts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoSeat`], [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`].
    pub fn publisher(&self) -> Result<Publisher> {
        self.inner.check()?;
        Publisher::join(&self.inner.segment, &self.options())
    }

    // ---- handlers ----

    /// Calls `handler` with every event in `scope`. Returns a number to [`unregister`](Worker::unregister) it by.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`] if the scope names what no event can have; [`ErrorKind::Forked`].
    pub fn on<F, R>(&self, scope: impl Into<Scope>, handler: F) -> Result<Registration>
    where
        F: Fn(&Event<'_>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.inner.register(scope.into(), Arc::new(handler))
    }

    /// Calls `handler` with every value posted as a `T`: checked, and in place. An event of that topic that is not a
    /// `T` of this version is reported and left out.
    ///
    /// ```
    /// # use rkyv::{Archive, Serialize};
    /// # let name = format!("doc-on-typed-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// use seqcast::{Topic, Typed, TypedEvent};
    ///
    /// #[derive(Archive, Serialize)]
    /// struct UpstreamDown {
    ///     port: u16,
    /// }
    ///
    /// impl TypedEvent for UpstreamDown {
    ///     const TOPIC: Topic<'static> = Topic::new("health", "down");
    /// }
    ///
    /// worker.on_typed(|down: Typed<'_, UpstreamDown>| assert_eq!(down.port, 8080))?;
    /// worker.post_typed(&UpstreamDown { port: 8080 })?;
    /// worker.poll()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn on_typed<T, F, R>(&self, handler: F) -> Result<Registration>
    where
        T: TypedEvent,
        F: Fn(Typed<'_, T>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.on(T::TOPIC, move |event: &Event<'_>| handler(Typed::of(event)?).into_result())
    }

    /// Like [`on`](Worker::on), with a handler that the caller keeps too, to
    /// [`unregister_same`](Worker::unregister_same) it.
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn register<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> Result<Registration> {
        let handler: Arc<dyn Handler> = Arc::clone(handler) as _;
        self.inner.register(scope.into(), handler)
    }

    /// Like [`register`](Worker::register), but the worker does not keep the handler alive: when its owners drop it, it
    /// is gone.
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn register_weak<H: Handler + 'static>(
        &self,
        scope: impl Into<Scope>,
        handler: &Arc<H>,
    ) -> Result<Registration> {
        let handler: Arc<dyn Handler> = Arc::clone(handler) as _;
        let scope = scope.into();
        self.inner.guard.check()?;
        self.inner.registry.register_weak(scope, Arc::downgrade(&handler))
    }

    /// Undoes one registration. Returns `false`, and does nothing, if it was undone before or is another worker's, and
    /// in a forked child.
    pub fn unregister(&self, registration: Registration) -> bool {
        !self.is_forked() && self.inner.registry.unregister(registration)
    }

    /// Undoes every registration of this very handler for the same scope, strong or weak. Returns `false` if there was
    /// none. Scopes are the same if they have the same events: the order of names does not matter, nor that one is
    /// named twice. In a forked child nothing is done.
    pub fn unregister_same<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> bool {
        let scope = scope.into();
        !self.is_forked() && self.inner.registry.unregister_same(scope, address_of(handler))
    }

    // ---- claims ----

    /// Claims `key` among all workers for `ttl`: a lock that ends by itself. Keys of claims have nothing to do with
    /// keys of unique events.
    ///
    /// The ttl is counted by the host's boot-time clock, which goes on while the host sleeps, also where workers live
    /// in time namespaces of their own. A worker whose process has set up one more time namespace for its children, or
    /// has no `/proc`, cannot know how far its clock is from the host's, and takes it for that of the host.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let name = format!("doc-claim-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// if let seqcast::Claimed::Won(_) = worker.claim("nightly-mail", Duration::from_secs(3600))? {
    ///     // send it
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] for a ttl of nothing or an empty key; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Left`], [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claimed> {
        // Users' code, which may do anything: before the check and the lock.
        let key = key.as_ref();
        self.inner.claimer()?.claim_alone(key, ttl)
    }

    /// Ends a claim before its ttl does. `false` if it had ended. A unique event's [claim](Event::claim) can be ended
    /// too: the event itself stays decided, the next one with its key runs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    pub fn release(&self, claim: &Claim) -> Result<bool> {
        self.inner.claimer()?.release(claim.key, claim.token)
    }

    // ---- reading ----

    /// Hands everything there is to the handlers: local events first, then the segment's, until nothing is new; what
    /// handlers post is delivered in the same poll, after what was there already. With nothing new it costs a few loads
    /// of lines that stay in this processor's cache, and no system call.
    ///
    /// Where others post without a pause it goes on without one; [`poll_at_most`](Worker::poll_at_most) bounds the
    /// events that it delivers.
    ///
    /// At an id that is reserved it waits until the payload is there. All such waiting of one poll together is bounded
    /// by `wait_max`, however many ids are reserved one after the other; then it returns [`Polled::Reserved`], and a
    /// later poll goes on. It never waits for an id of this worker's own. [`poll_now`](Worker::poll_now) does not wait
    /// at all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`]. What was delivered before stays delivered.
    #[inline]
    pub fn poll(&self) -> Result<Polled> {
        self.poll_at_most(u64::MAX)
    }

    /// [`poll`](Worker::poll) that stops after `events` were delivered.
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    #[inline]
    pub fn poll_at_most(&self, events: u64) -> Result<Polled> {
        let inner = &*self.inner;
        if inner.is_idle() {
            return Ok(Polled::Done { delivered: 0, missed: 0 });
        }
        inner.poll(events, Wait::Bounded)
    }

    /// [`poll`](Worker::poll) that never sleeps: at an id that is reserved it returns [`Polled::Reserved`]. For event
    /// loops, which have other things to do meanwhile.
    ///
    /// [`wait`](Worker::wait) then sleeps until the id is decided, or until it is due to be given up. A loop with its
    /// own sleep polls again when it is woken, and after `left` at the latest:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seqcast::Polled;
    /// # let name = format!("doc-poll-now-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// # let other = bus.join()?;
    /// # worker.poll()?;
    /// let mut reservation = other.reserve()?;
    /// let sleep_at_most = match worker.poll_now()? {
    ///     Polled::Reserved { left: Some(left), .. } => left,
    ///     _ => Duration::from_secs(1),
    /// };
    /// assert!(sleep_at_most <= Duration::from_millis(500), "longer than `wait_max`");
    /// reservation.commit(("s", "e"), b"")?;
    /// assert!(matches!(worker.poll_now()?, Polled::Done { .. }));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Worker::poll).
    #[inline]
    pub fn poll_now(&self) -> Result<Polled> {
        let inner = &*self.inner;
        if inner.is_idle() {
            return Ok(Polled::Done { delivered: 0, missed: 0 });
        }
        inner.poll(u64::MAX, Wait::Never)
    }

    /// [`poll`](Worker::poll) that ends early when `stop` is set and [`end_waits`](Worker::end_waits) was called.
    pub(crate) fn poll_until(&self, stop: &AtomicBool) -> Result<Polled> {
        self.inner.poll(u64::MAX, Wait::BoundedUntil(stop))
    }

    /// Sleeps until there is something to poll, for `timeout` at most. Returns whether there is. Spins for less than a
    /// microsecond first.
    ///
    /// A [`Waker`](crate::Waker) ends it early, from a signal handler or another thread. A signal alone does not: it
    /// goes on after the handler has run, unlike [`wait_interruptible`](Worker::wait_interruptible).
    ///
    /// While another thread polls, what is new is that thread's: this one sleeps until the poll is over, and then goes
    /// on to wait. Inside a handler there is nothing to wait for, as nothing can be polled there: it returns `false` at
    /// once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`].
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        let wakes = self.inner.bell.listen();
        let news = self.inner.wait(timeout, &SharedFutex, || wakes.any())?;
        wakes.answer();
        Ok(news)
    }

    /// [`wait`](Worker::wait) that is also ended by a signal for which the process has a handler, once the handler has
    /// run on this thread, and says why it returned. For runtimes that do their signals' work between calls, as Python
    /// and Ruby do:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use seqcast::Waited;
    /// # fn check_signals() {}
    /// # fn run(worker: &seqcast::Worker) -> seqcast::Result<()> {
    /// loop {
    ///     match worker.wait_interruptible(Duration::from_secs(1))? {
    ///         Waited::Interrupted => check_signals(),
    ///         _ => drop(worker.poll()?),
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// A handler that has run just before the sleep began, or that runs on another thread, does not end it: such a
    /// signal is seen after `timeout` at the latest. What must end the wait at once calls
    /// [`Waker::wake`](crate::Waker::wake) in the handler. Inside a handler of this worker there is nothing to wait
    /// for: it returns at once.
    ///
    /// If there are several reasons it tells the first of these: a signal, a waker, news. The others are told by the
    /// next call, but a signal by none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], also if a signal handler has forked and this is the child; [`ErrorKind::Left`], also if
    /// the worker leaves meanwhile.
    pub fn wait_interruptible(&self, timeout: Duration) -> Result<Waited> {
        let wakes = self.inner.bell.listen();
        let futex = InterruptibleFutex::default();
        let news = self.inner.wait(timeout, &futex, || futex.was_interrupted() || wakes.any())?;
        self.inner.check()?;
        Ok(if futex.was_interrupted() {
            Waited::Interrupted
        } else if wakes.answer() {
            Waited::Woken
        } else if news {
            Waited::News
        } else {
            Waited::TimedOut
        })
    }

    /// Whether the worker can be used at all.
    pub(crate) fn check(&self) -> Result<()> {
        self.inner.check()
    }

    pub(crate) fn wait_until(&self, timeout: Duration, stop: impl Fn() -> bool) -> Result<bool> {
        self.inner.wait(timeout, &SharedFutex, stop)
    }

    /// Has this process's threads that wait look again, in [`wait`](Worker::wait) and at a reserved id.
    pub(crate) fn end_waits(&self) {
        self.inner.end_waits();
    }

    // ---- the worker itself ----

    /// Leaves the bus: posts [`STOPPING`](library::STOPPING), after which every call on any clone gives
    /// [`ErrorKind::Left`]. Unique events that this worker has claimed already, while it waited for a reserved id, are
    /// handed to the handlers first: nobody else would run them. Then the handlers are dropped, with whatever they own,
    /// and the seat is free, however many clones there are. If a poll is running, in this thread or in another one, it
    /// delivers no further event but those, and all this happens at its end.
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post).
    pub fn leave(self) -> Result<()> {
        self.inner.check()?;
        self.inner.leave()
    }

    /// Changes options while the worker runs. All but `start` take effect at once, and together.
    ///
    /// Changes come one after the other: each `change` is given what the one before made, and another thread's call
    /// waits until it is done. Nothing else waits meanwhile, so `change` may use the worker, but for this call.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let name = format!("doc-reconfigure-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// worker.reconfigure(|options| options.wait_max(Duration::from_secs(2)))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`], also for a call from inside `change`; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Left`]. The options are then as before.
    pub fn reconfigure(&self, change: impl FnOnce(WorkerOptions) -> WorkerOptions) -> Result<()> {
        self.inner.check()?;
        let _turn = self.inner.changing.begin()?;
        let before = self.options();
        let after = change((*before).clone());
        // It may have forked, and returned in the child.
        self.inner.check()?;
        after.check()?;
        if after.start != before.start {
            let value = format!("{:?}", after.start);
            return Err(Error::option("start", value, "a worker that has joined cannot start anew: join again"));
        }
        // In `change` the process may have forked, and the worker may have left.
        self.inner.check()?;
        self.inner.set_options(after)?;
        self.end_waits();
        // The reporter of before may have been dropped.
        Ok(self.inner.guard.check()?)
    }

    /// The options in force. In a forked child: the parent's at the fork, or those that it joined with if another
    /// thread was just changing them.
    pub fn options(&self) -> Arc<WorkerOptions> {
        self.inner.options()
    }

    /// The number of this worker's seat.
    pub fn seat(&self) -> u32 {
        u32::from(self.inner.seat)
    }

    /// How far this worker has come: all before it is handled, as far as this worker handles it at all, or was reported
    /// as missed. Keep it to go on from there with [`Start::Resume`](crate::Start::Resume).
    ///
    /// While the handlers of an event run it is still before that event: if the process dies in them and resumes, they
    /// are called again. What a handler has done for good it may keep as [`Position::after`] of
    /// [`Event::id`](crate::Event::id) instead.
    pub fn position(&self) -> Position {
        // Acquire: with what the handlers did, whatever thread they ran on.
        Position::before(self.inner.segment.id(), self.inner.hot.unhandled.load(Ordering::Acquire))
    }

    /// The next id to be delivered.
    pub fn cursor(&self) -> u64 {
        // The seat may be another's when the worker has left.
        if self.has_left() {
            self.inner.hot.unhandled.load(Ordering::Acquire)
        } else {
            self.inner.words.get(seat_word!(reading.cursor))
        }
    }

    /// The name of the segment.
    pub fn segment_name(&self) -> &str {
        self.inner.segment.name()
    }

    pub(crate) fn report_poller_ended(&self, error: &Error) {
        self.inner.report(&Report { source: "", event: "", id: None, trouble: Trouble::PollerEnded(error) });
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.inner.guard.is_forked()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.inner.has_left()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("segment", &self.inner.segment.name())
            .field("seat", &self.inner.seat)
            .field("pid", &self.inner.pid)
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}

impl Sender for &Worker {
    #[inline]
    fn send(self, topic: Topic<'_>, unique: Option<Unique<'_>>, payload: impl Payload) -> Result<u64> {
        let inner = &*self.inner;
        inner.check()?;
        topic.check_to_post()?;
        let unique = inner.unique_key(unique)?;
        with_encoded(topic, &payload, |type_tag, payload| inner.post(&Outgoing { topic, type_tag, unique, payload }))
    }
}

impl EventBuilder<'_, &Worker> {
    /// Posts the event to this worker only. It never enters the segment.
    ///
    /// # Errors
    ///
    /// As [`Worker::post_local`]; [`ErrorKind::TypedTopic`] and [`ErrorKind::Archive`] for a typed payload;
    /// [`ErrorKind::Option`] if the event was made unique, since a local event has one reader anyway.
    pub fn local(self, payload: impl Payload) -> Result<()> {
        if self.unique.is_some() || self.ttl.is_some() {
            return Err(Error::option(
                "unique",
                "set",
                "a local event has one reader anyway: leave out .unique and .ttl",
            ));
        }
        self.sender.inner.post_local(self.topic, || payload.into_local(self.topic))
    }
}

impl Inner {
    #[inline]
    fn check(&self) -> Result<()> {
        // Before any lock: another thread may have held it at the fork.
        self.guard.check()?;
        self.check_seat()
    }

    /// Whether the seat is still this worker's. That it has not left stands for as long as the caller holds the lock of
    /// what it is about to use: [`leave`](Inner::leave) takes them too.
    #[inline]
    fn check_seat(&self) -> Result<()> {
        // Relaxed: a lock that `leave` held orders it; without one there is no "before".
        if self.has_left() {
            return Err(Error::from(Cause::Left));
        }
        self.hot.incarnation.check(&self.segment)
    }

    /// [`ErrorKind::Displaced`] if another process has taken the seat, which is no wonder once the worker has left.
    #[inline]
    fn check_displaced(&self) -> Result<()> {
        if self.hot.incarnation.is_over() && !self.has_left() {
            self.hot.incarnation.check(&self.segment)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    fn register(&self, scope: Scope, handler: Arc<dyn Handler>) -> Result<Registration> {
        self.guard.check()?;
        self.registry.register(scope, handler)
    }

    fn options(&self) -> Arc<WorkerOptions> {
        if self.guard.is_forked() {
            return match self.options.try_read() {
                Ok(options) => Arc::clone(&options),
                Err(TryLockError::Poisoned(poisoned)) => Arc::clone(&poisoned.into_inner()),
                // By a thread that is not in this process.
                Err(TryLockError::WouldBlock) => Arc::clone(&self.joined_with),
            };
        }
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the one that changes them.
    fn set_options(&self, after: WorkerOptions) -> Result<()> {
        let after = Arc::new(after);
        // The lock: the seat may be another's, and nobody is to come back with a reporter, when the worker has left.
        let writer = self.writer()?;
        set_label(&self.words, &after.label);
        self.tuning.set(&after);
        let before = self.replace_options(after);
        drop(writer);
        // Without the locks: the reporter is the user's, and may do anything when it is dropped.
        drop(before);
        Ok(())
    }

    fn replace_options(&self, after: Arc<WorkerOptions>) -> Arc<WorkerOptions> {
        mem::replace(&mut *self.options.write().unwrap_or_else(PoisonError::into_inner), after)
    }

    /// Reports. Never panics, whatever the user's reporter does.
    fn report(&self, report: &Report<'_>) {
        let reported = catch_panic(|| {
            // The options are dropped in here, too: the reporter may be gone with them.
            let options = self.options();
            options.reporter.as_ref().map(|reporter| reporter(report)).is_some()
        });
        if self.guard.is_forked() {
            // A child that it has forked, and that left it by a panic perhaps: the report is the parent's.
            return;
        }
        match reported {
            Ok(true) => {}
            Ok(false) => self.report_by_default(report),
            Err(panic) => {
                self.reporters_failed.fetch_add(1, Ordering::Relaxed);
                self.report_by_default(report);
                self.report_by_default(&Report { trouble: Trouble::ReporterPanicked(&panic), ..*report });
            }
        }
    }

    fn report_by_default(&self, report: &Report<'_>) {
        let panics = self.default_reports.report(report, self.seat, self.clock.coarse_ns());
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }

    /// Tells how many reports were left out, if it is time to.
    #[inline]
    fn tell_left_out_reports(&self) -> Result<()> {
        if self.default_reports.is_due(|| self.clock.coarse_ns()) {
            self.tell_left_out_reports_until(Until::Now);
            // A subscriber of `tracing` is users' code.
            self.guard.check()?;
        }
        Ok(())
    }

    #[cold]
    fn tell_left_out_reports_until(&self, until: Until) {
        let panics = self.default_reports.tell_left_out(self.seat, self.clock.coarse_ns(), until);
        self.reporters_failed.fetch_add(panics, Ordering::Relaxed);
    }

    /// The writer. Until it is given back the worker does not leave.
    #[inline]
    fn writer(&self) -> Result<Locked<'_, Writer>> {
        // Before the lock: another thread may have held it at the fork.
        self.guard.check()?;
        let writer = self.writer.lock();
        self.check_seat()?;
        Ok(writer)
    }

    /// The writer, to take the next id. It looks for it behind what this worker has read.
    #[inline]
    fn writer_for_next(&self) -> Result<Locked<'_, Writer>> {
        let mut writer = self.writer()?;
        // Acquire: with the cells that the reading half has seen.
        writer.know(self.hot.next.load(Ordering::Acquire));
        Ok(writer)
    }

    /// The claimer. Until it is given back the worker does not leave.
    #[inline]
    fn claimer(&self) -> Result<Locked<'_, Claimer>> {
        // Before the lock: another thread may have held it at the fork.
        self.guard.check()?;
        let claimer = self.claimer.lock();
        self.check_seat()?;
        Ok(claimer)
    }

    #[inline]
    fn post(&self, event: &Outgoing<'_>) -> Result<u64> {
        let mut writer = self.writer_for_next()?;
        self.post_by(&mut writer, event)
    }

    #[inline]
    fn post_by(&self, writer: &mut Writer, event: &Outgoing<'_>) -> Result<u64> {
        let id = writer.post(event)?;
        if self.hot.polling.load(Ordering::Relaxed) != 0 {
            self.hot.first_own_post.fetch_min(id, Ordering::Relaxed);
        }
        Ok(id)
    }

    fn post_local(&self, topic: Topic<'_>, data: impl FnOnce() -> Result<LocalData>) -> Result<()> {
        topic.check_to_post()?;
        let data = data()?;
        // After archiving, which is users' code: it may have forked, and returned in the child.
        self.check()?;
        let mut local = lock(&self.local);
        // Under the lock: one that leaves empties the queue once.
        self.check_seat()?;
        local.push_back(LocalEvent { source: topic.source().into(), event: topic.event().into(), data });
        // Release: a sleeper that sees the number finds the event.
        self.hot.local.store(local.len(), Ordering::Release);
        drop(local);
        self.wake_own();
        Ok(())
    }

    fn unique_key(&self, unique: Option<Unique<'_>>) -> Result<Option<UniqueKey>> {
        let Some(unique) = unique else { return Ok(None) };
        hash_unique(self.segment.unique_hash(), unique, self.options().timeout).map(Some)
    }

    fn announce(&self, writer: &mut Writer, options: &WorkerOptions, topic: Topic<'static>) -> Result<()> {
        if options.announce {
            let payload = options.label.as_bytes();
            self.post_by(writer, &Outgoing { topic, type_tag: 0, unique: None, payload })?;
        }
        Ok(())
    }

    fn leave(&self) -> Result<()> {
        self.deliver_claimed()?;
        // Dropped after the locks: it may be the last owner of a reporter, which may do anything then.
        let options = self.options();
        // What uses one of the two has ended, or finds that the worker has left: nothing is posted, reserved or claimed after
        // the last reservation is given up.
        let (mut writer, claimer) = (self.writer.lock(), self.claimer.lock());
        if self.left.load(Ordering::Relaxed) {
            // By one of their handlers, or by another thread.
            drop((writer, claimer));
            return self.retire();
        }
        // They may take their time.
        self.check_displaced()?;
        // Acquire: with the cells that the reading half has seen.
        writer.know(self.hot.next.load(Ordering::Acquire));
        let announced = self.announce(&mut writer, &options, library::STOPPING);
        let abandoned = writer.abandon();
        self.left.store(true, Ordering::Relaxed);
        drop((writer, claimer));
        self.end_waits();
        let retired = self.retire();
        announced.and(abandoned).and(retired)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In a forked child all this belongs to the parent; only our copies of memory and descriptors go.
        match self.check() {
            // Nobody is there to be told of an error.
            Ok(()) => drop(self.leave()),
            // As a rule it is done; see `retire`.
            Err(error) if error.kind() == ErrorKind::Left => drop(self.retire()),
            Err(_) => {}
        }
        if !self.guard.is_forked() {
            self.tell_left_out_reports_until(Until::End);
        }
    }
}

/// Encodes `payload`, and lends this thread's archiving buffer for that if it is needed.
#[inline]
fn with_encoded<P: Payload, R>(topic: Topic<'_>, payload: &P, run: impl FnOnce(u64, &[u8]) -> Result<R>) -> Result<R> {
    if !P::BUFFERED {
        // It allocates nothing before it is written to.
        let mut buffer = Buffer::new();
        let (type_tag, bytes) = payload.encode(topic, &mut buffer)?;
        return run(type_tag, bytes);
    }
    with_buffer(|buffer| {
        let (type_tag, bytes) = payload.encode(topic, buffer)?;
        run(type_tag, bytes)
    })
}

/// Lends this thread's archiving buffer; a new one if a value is archived while another is, or while the thread's
/// locals are destroyed.
fn with_buffer<R>(run: impl FnOnce(&mut AlignedVec<PAYLOAD_ALIGN>) -> R) -> R {
    use std::cell::Cell;
    /// A buffer that has grown beyond this is not kept.
    const MOST_KEPT: usize = 64 << 10;
    thread_local! {
        static BUFFER: Cell<AlignedVec<PAYLOAD_ALIGN>> = Cell::default();
    }
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let result = run(&mut buffer);
    if buffer.capacity() <= MOST_KEPT {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

/// An event id taken for an event that is still to come. Dropped, it is given up.
#[must_use = "a reservation that is dropped is given up"]
pub struct Reservation {
    worker: Worker,
    id: u64,
    open: bool,
}

impl Reservation {
    /// The id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Makes the event visible at the reserved id. After an error other than [`ErrorKind::TooLate`] the reservation
    /// stands and can be committed again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLate`] if the readers have given the id up, and then nobody has seen the event;
    /// [`ErrorKind::PayloadTooLarge`] if it does not fit one block; otherwise as [`Worker::post`].
    #[inline]
    pub fn commit<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), None, payload)
    }

    /// Begins an event about which more is said than topic and payload, to be committed at the reserved id.
    pub fn event<'a>(&'a mut self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a mut Reservation> {
        EventBuilder::new(self, topic.into())
    }
}

impl Sender for &mut Reservation {
    fn send(self, topic: Topic<'_>, unique: Option<Unique<'_>>, payload: impl Payload) -> Result<u64> {
        let inner = &*self.worker.inner;
        inner.check()?;
        topic.check_to_post()?;
        let unique = inner.unique_key(unique)?;
        let committed = with_encoded(topic, &payload, |type_tag, payload| {
            // One lock around the check and the commit: another thread of this worker may reserve at any time.
            let mut writer = inner.writer()?;
            if self.open {
                writer.commit(self.id, &Outgoing { topic, type_tag, unique, payload })
            } else {
                Err(Error::from(Cause::TooLate { id: self.id }))
            }
        });
        if committed.as_ref().map_or_else(|error| error.kind() == ErrorKind::TooLate, |()| true) {
            self.open = false;
        }
        committed.map(|()| self.id)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.open
            && let Ok(mut writer) = self.worker.inner.writer()
            && writer.reserved() == Some(self.id)
        {
            // If the segment is corrupt there is nobody to give it up for.
            let _ = writer.abandon();
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("id", &self.id).field("open", &self.open).finish_non_exhaustive()
    }
}
