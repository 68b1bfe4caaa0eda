//! Ways to wake an event loop: the time from a post until the loop of another process is awake and has the event. All
//! loops sleep in `epoll_wait`, or in a tokio runtime on one thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use iceoryx2::prelude::FileDescriptorBased;
use orbit_core::ring::RingEventFd;
use orbit_core::ring::cursor::RingCursor;
use orbit_core::{Fleet, NodeId, OrbitTyped, RingSpec};
use seqcast::tokio::AsyncWorker;
use seqcast::{Bell, BellOptions, Event, Scope, SegmentOptions, Worker};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;

use crate::iceoryx::{Iceoryx, IceoryxEnd};
use crate::scratch;
use crate::sockets::{FdEnd, Unix};
use crate::support::board::Board;
use crate::support::bus::{OnBus, quiet};
use crate::support::channel::{Channel, End, Side, Sink};

/// The sources of the near side's events and of the far side's.
const SOURCES: [&str; 2] = ["ping", "pong"];

/// An epoll set with one descriptor.
struct Epoll(OwnedFd);

impl Epoll {
    fn of(descriptor: RawFd) -> Epoll {
        // SAFETY: system calls on numbers, and on one structure that is readable for the call.
        unsafe {
            let set = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            assert!(set >= 0, "{}", io::Error::last_os_error());
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            let added = libc::epoll_ctl(set, libc::EPOLL_CTL_ADD, descriptor, &raw mut event);
            assert_eq!(added, 0, "{}", io::Error::last_os_error());
            Epoll(OwnedFd::from_raw_fd(set))
        }
    }

    fn wait(&self) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: one structure, writable for the call.
        unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 1000) };
    }
}

/// A worker of a bus, its handler, and its bell in an epoll set.
pub struct OnBell {
    bus: OnBus,
    options: BellOptions,
    near_has_one: bool,
}

pub struct BellEnd {
    /// The near side of these scenarios only posts.
    bell: Option<(Epoll, Bell)>,
    worker: Worker,
    own: &'static str,
}

impl OnBell {
    pub fn new() -> OnBell {
        OnBell::with(BellOptions::new())
    }

    /// With bells that a thread of each process rings, as orbit-core's are.
    pub fn by_thread() -> OnBell {
        OnBell::with(BellOptions::new().thread(true))
    }

    fn with(options: BellOptions) -> OnBell {
        let bus = OnBus::with(&SegmentOptions::new().capacity(16).seats(72).claims(8));
        OnBell { bus, options, near_has_one: false }
    }

    /// With a bell for the poster as well, which its posts ring like all others.
    pub fn everywhere() -> OnBell {
        OnBell { near_has_one: true, ..OnBell::new() }
    }
}

fn join(bus: &OnBus, side: Side, sink: &'static Sink) -> (Worker, &'static str) {
    let worker = bus.bus().join_with(&quiet()).expect("a seat");
    let near = side == Side::Near;
    let (own, others) = (SOURCES[usize::from(!near)], SOURCES[usize::from(near)]);
    worker.on(Scope::source(others), |event: &Event<'_>| sink.take(event.bytes())).expect("a handler");
    (worker, own)
}

impl Channel for OnBell {
    type End = BellEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> BellEnd {
        let (worker, own) = join(&self.bus, side, sink);
        let bell = (side != Side::Near || self.near_has_one).then(|| {
            let bell = worker.bell_with(&self.options).expect("a bell");
            assert!(bell.unheard().is_none(), "{:?}", bell.unheard());
            bell.poll().expect("polled");
            (Epoll::of(bell.as_raw_fd()), bell)
        });
        BellEnd { bell, worker, own }
    }
}

impl End for BellEnd {
    fn send(&mut self, payload: &[u8]) {
        self.worker.post((self.own, "e"), payload).expect("posted");
    }

    fn poll(&mut self) {
        let (_, bell) = self.bell.as_ref().expect("a bell");
        bell.poll().expect("polled");
    }

    fn wait(&mut self) {
        let (set, _) = self.bell.as_ref().expect("a bell");
        set.wait();
    }
}

/// A worker of a bus that a task polls.
pub struct OnTask(OnBus);

pub struct TaskEnd {
    /// As with [`BellEnd`].
    polling: Option<AsyncWorker>,
    runtime: Runtime,
    worker: Worker,
    own: &'static str,
}

impl OnTask {
    pub fn new() -> OnTask {
        OnTask(OnBus::small())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime")
}

impl Channel for OnTask {
    type End = TaskEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> TaskEnd {
        let (worker, own) = join(&self.0, side, sink);
        let runtime = runtime();
        let register = || runtime.block_on(async { AsyncWorker::new(&worker).expect("registered") });
        let polling = (side != Side::Near).then(register);
        TaskEnd { polling, runtime, worker, own }
    }
}

impl End for TaskEnd {
    fn send(&mut self, payload: &[u8]) {
        self.worker.post((self.own, "e"), payload).expect("posted");
    }

    fn poll(&mut self) {
        self.polling.as_mut().expect("registered").poll_at_most(u64::MAX).expect("polled");
    }

    fn wait(&mut self) {
        // The handlers run inside this call.
        self.runtime.block_on(self.polling.as_mut().expect("registered").poll()).expect("polled");
    }
}

/// The physical limit for an event loop: an inherited eventfd for each process, and a word for each direction.
pub struct EventFds {
    board: Board,
    near: OwnedFd,
    far: Vec<OwnedFd>,
}

impl EventFds {
    /// Creates one with this many far processes.
    pub fn new(board: &Board, sleepers: usize) -> EventFds {
        let eventfd = || {
            // SAFETY: a system call on numbers that returns a new descriptor.
            unsafe {
                let descriptor = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
                assert!(descriptor >= 0, "{}", io::Error::last_os_error());
                OwnedFd::from_raw_fd(descriptor)
            }
        };
        EventFds { board: *board, near: eventfd(), far: (0..sleepers).map(|_| eventfd()).collect() }
    }
}

/// The words and descriptors with which a side receives and sends.
struct Words {
    to: Vec<RawFd>,
    from: RawFd,
    sent: &'static AtomicU64,
    received: &'static AtomicU64,
    sink: &'static Sink,
}

impl Words {
    fn of(channel: &EventFds, side: Side, sink: &'static Sink) -> Words {
        let (own, other) = if side == Side::Near { (0, 1) } else { (1, 0) };
        let (to, from) = match side {
            Side::Near => (channel.far.iter().map(OwnedFd::as_raw_fd).collect(), &channel.near),
            Side::Far(number) => (vec![channel.near.as_raw_fd()], &channel.far[number]),
        };
        let (sent, received) = (channel.board.play_flag(own), channel.board.play_flag(other));
        Words { to, from: from.as_raw_fd(), sent, received, sink }
    }

    fn send(&self, payload: &[u8]) {
        let number = payload.first_chunk::<8>().map_or(0, |word| u64::from_ne_bytes(*word));
        self.sent.store(number, Ordering::Release);
        for &descriptor in &self.to {
            // SAFETY: eight bytes, readable for the call.
            unsafe { libc::write(descriptor, (&raw const *b"\x01\0\0\0\0\0\0\0").cast(), 8) };
        }
    }

    fn drain(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes, writable for the call.
        unsafe { libc::read(self.from, (&raw mut count).cast(), 8) };
    }

    fn look(&self) {
        let number = self.received.load(Ordering::Acquire);
        if number != 0 && number != self.sink.last() {
            self.sink.take(&number.to_ne_bytes());
        }
    }
}

pub struct EventFdEnd {
    words: Words,
    set: Epoll,
}

impl Channel for EventFds {
    type End = EventFdEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> EventFdEnd {
        let words = Words::of(self, side, sink);
        EventFdEnd { set: Epoll::of(words.from), words }
    }
}

impl End for EventFdEnd {
    fn send(&mut self, payload: &[u8]) {
        self.words.send(payload);
    }

    fn poll(&mut self) {
        self.words.drain();
        self.words.look();
    }

    fn wait(&mut self) {
        self.set.wait();
    }
}

/// As above, for a task.
pub struct EventFdTasks(EventFds);

pub struct EventFdTaskEnd {
    words: Words,
    ready: AsyncFd<Number>,
    runtime: Runtime,
}

/// A descriptor with another owner.
struct Number(RawFd);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl EventFdTasks {
    pub fn new(board: &Board) -> EventFdTasks {
        EventFdTasks(EventFds::new(board, 1))
    }
}

impl Channel for EventFdTasks {
    type End = EventFdTaskEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> EventFdTaskEnd {
        let words = Words::of(&self.0, side, sink);
        let runtime = runtime();
        // SAFETY: the eventfd outlives the process's part in the batch.
        let register = || unsafe { AsyncFd::register_with_interest(Number(words.from), Interest::READABLE) };
        let ready =
            runtime.block_on(async { register().map_err(|refused| refused.into_parts().1).expect("registered") });
        EventFdTaskEnd { words, ready, runtime }
    }
}

impl End for EventFdTaskEnd {
    fn send(&mut self, payload: &[u8]) {
        self.words.send(payload);
    }

    fn poll(&mut self) {
        self.words.look();
    }

    fn wait(&mut self) {
        self.runtime.block_on(async { self.ready.readable().await.expect("ready").clear_ready() });
        self.words.drain();
    }
}

/// iceoryx2's listener in an epoll set.
pub struct IceoryxLoop(Iceoryx);

pub struct IceoryxLoopEnd {
    set: Epoll,
    end: IceoryxEnd,
}

impl IceoryxLoop {
    pub fn new() -> IceoryxLoop {
        IceoryxLoop(Iceoryx::small(8))
    }
}

impl Channel for IceoryxLoop {
    type End = IceoryxLoopEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> IceoryxLoopEnd {
        let end = self.0.open(side, sink);
        let listener = end.listener().expect("a listener");
        // SAFETY: the number is only passed to epoll, and the listener outlives it.
        let descriptor = unsafe { listener.file_descriptor().native_handle() };
        IceoryxLoopEnd { set: Epoll::of(descriptor), end }
    }
}

impl End for IceoryxLoopEnd {
    fn send(&mut self, payload: &[u8]) {
        self.end.send(payload);
    }

    fn poll(&mut self) {
        self.end.forget_wakes();
        self.end.poll();
    }

    fn wait(&mut self) {
        self.set.wait();
    }
}

/// A Unix datagram socket in an epoll set.
pub struct UnixLoop(Unix);

pub struct UnixLoopEnd {
    set: Epoll,
    end: FdEnd,
}

impl UnixLoop {
    pub fn new() -> UnixLoop {
        UnixLoop(Unix::new(8))
    }
}

impl Channel for UnixLoop {
    type End = UnixLoopEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> UnixLoopEnd {
        let end = self.0.open(side, sink);
        UnixLoopEnd { set: Epoll::of(end.source()), end }
    }
}

impl End for UnixLoopEnd {
    fn send(&mut self, payload: &[u8]) {
        self.end.send(payload);
    }

    fn poll(&mut self) {
        self.end.poll();
    }

    fn wait(&mut self) {
        self.set.wait();
    }
}

/// orbit-core's ring with its eventfd, which a thread in each process makes readable.
pub struct OrbitLoop {
    name: String,
    _fleet: Fleet,
}

#[derive(Clone)]
struct Ring<const TO_FAR: bool>;

impl<const TO_FAR: bool> OrbitTyped for Ring<TO_FAR> {
    const KIND: u8 = 90 + TO_FAR as u8;
    const RING_SPEC: RingSpec = RingSpec::shared_ordered(64, 8);
}

pub struct OrbitLoopEnd {
    set: Epoll,
    bell: RingEventFd,
    fleet: Arc<Fleet>,
    near: bool,
    cursor: RingCursor,
    sink: &'static Sink,
}

impl OrbitLoop {
    pub fn new() -> OrbitLoop {
        let name = scratch::name();
        let fleet = Fleet::join_shm_as(&name, 70, NodeId::new(0)).expect("a fleet");
        OrbitLoop { name, _fleet: fleet }
    }
}

impl Drop for OrbitLoop {
    fn drop(&mut self) {
        scratch::remove_shared_memory(&self.name);
    }
}

impl Channel for OrbitLoop {
    type End = OrbitLoopEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> OrbitLoopEnd {
        let near = side == Side::Near;
        let node = match side {
            Side::Near => 1,
            Side::Far(number) => 2 + number as u16,
        };
        let fleet = Arc::new(Fleet::join_shm_as(&self.name, 70, NodeId::new(node)).expect("a fleet"));
        let (cursor, bell) = if near {
            (fleet.cursor_at_head::<Ring<false>>(), fleet.ring_event_fd::<Ring<false>>())
        } else {
            (fleet.cursor_at_head::<Ring<true>>(), fleet.ring_event_fd::<Ring<true>>())
        };
        let bell = bell.expect("an eventfd");
        OrbitLoopEnd { set: Epoll::of(bell.as_raw_fd()), bell, fleet, near, cursor, sink }
    }
}

impl End for OrbitLoopEnd {
    fn send(&mut self, payload: &[u8]) {
        let bytes = Bytes::copy_from_slice(payload);
        if self.near {
            self.fleet.publish_notified::<Ring<true>>(1, 0, bytes).expect("published");
        } else {
            self.fleet.publish_notified::<Ring<false>>(1, 0, bytes).expect("published");
        }
    }

    fn poll(&mut self) {
        let _ = self.bell.drain();
        let polled = if self.near {
            self.fleet.poll_ring::<Ring<false>>(&mut self.cursor)
        } else {
            self.fleet.poll_ring::<Ring<true>>(&mut self.cursor)
        };
        for frame in polled.frames {
            self.sink.take(&frame.payload);
        }
    }

    fn wait(&mut self) {
        self.set.wait();
    }
}
