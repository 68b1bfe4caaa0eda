//! ringfire: rings of fixed-size items that overwrite the oldest. Its ring of many producers does most of a bus's work
//! if all processes use the same one. It is measured like that, and with a ring for each direction. Its ring of one
//! producer does less and is faster.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;

use ringfire::{
    ConsumerStartMode, FutexWait, MpmcProducer, RecvStatus, RingConsumer, RingConsumerBuilder, RingProducer,
};

use crate::scratch;
use crate::support::channel::{Channel, End, Side, Sink};

/// The number of slots of the measured rings: some megabytes.
const fn slots(size: usize) -> u64 {
    let slots = (4 << 20) / (if size < 64 { 64 } else { size }) as u64;
    let slots = slots.next_power_of_two();
    if slots > 8192 { 8192 } else { slots }
}

fn path() -> PathBuf {
    PathBuf::from("/dev/shm").join(scratch::name())
}

fn consumer<T: Copy + 'static>(path: &PathBuf) -> RingConsumer<T> {
    RingConsumerBuilder::new().start_mode(ConsumerStartMode::Head).attach(path).expect("attached")
}

fn item<const N: usize>(payload: &[u8]) -> &[u8; N] {
    payload.try_into().expect("a payload of the ring's size")
}

/// Many producers.
pub struct Mpmc<const N: usize> {
    paths: [PathBuf; 2],
    _makers: [MpmcProducer<[u8; N]>; 2],
}

impl<const N: usize> Mpmc<N> {
    pub fn new() -> Mpmc<N> {
        Mpmc::with(slots(N))
    }

    /// Creates a ring so small that all its pages are touched within a few rounds.
    pub fn small() -> Mpmc<N> {
        Mpmc::with(16)
    }

    fn with(slots: u64) -> Mpmc<N> {
        let paths = [path(), path()];
        let make = |path| MpmcProducer::create(path, slots).expect("a ring");
        let makers = [make(&paths[0]), make(&paths[1])];
        Mpmc { paths, _makers: makers }
    }
}

pub struct MpmcEnd<const N: usize> {
    to: MpmcProducer<[u8; N]>,
    from: Receiver<N>,
}

impl<const N: usize> Channel for Mpmc<N> {
    type End = MpmcEnd<N>;

    fn open(&self, side: Side, sink: &'static Sink) -> MpmcEnd<N> {
        let near = usize::from(side != Side::Near);
        let mut to = MpmcProducer::attach(&self.paths[near]).expect("attached");
        to.set_cleanup_mode(ringfire::CleanupMode::Persistent);
        MpmcEnd { to, from: Receiver::new(&self.paths[1 - near], sink) }
    }
}

impl<const N: usize> End for MpmcEnd<N> {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.to.push(item(payload));
    }

    #[inline]
    fn poll(&mut self) {
        self.from.poll();
    }

    fn wait(&mut self) {
        self.from.wait();
    }

    fn missed(&self) -> u64 {
        self.from.missed
    }
}

/// Many producers, and one ring for both directions, as on a bus: each side skips its own items.
pub struct MpmcBus<const N: usize> {
    path: PathBuf,
    _maker: MpmcProducer<[u8; N]>,
}

impl<const N: usize> MpmcBus<N> {
    pub fn new() -> MpmcBus<N> {
        let path = path();
        let maker = MpmcProducer::create(&path, slots(N)).expect("a ring");
        MpmcBus { path, _maker: maker }
    }
}

pub struct MpmcBusEnd<const N: usize> {
    ring: MpmcProducer<[u8; N]>,
    from: RingConsumer<[u8; N]>,
    /// The numbers of own items that will still come around; bounded for processes that never read.
    own: VecDeque<u64>,
    missed: u64,
    sink: &'static Sink,
}

impl<const N: usize> Channel for MpmcBus<N> {
    type End = MpmcBusEnd<N>;

    fn open(&self, _side: Side, sink: &'static Sink) -> MpmcBusEnd<N> {
        let mut ring = MpmcProducer::attach(&self.path).expect("attached");
        ring.set_cleanup_mode(ringfire::CleanupMode::Persistent);
        MpmcBusEnd { ring, from: consumer(&self.path), own: VecDeque::new(), missed: 0, sink }
    }
}

impl<const N: usize> End for MpmcBusEnd<N> {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        let number = self.ring.push(item(payload));
        if self.own.len() < 64 {
            self.own.push_back(number);
        }
    }

    #[inline]
    fn poll(&mut self) {
        loop {
            let item = match self.from.recv_status() {
                RecvStatus::Ok(item) => item,
                RecvStatus::Lapped { skipped, item } => {
                    self.missed += skipped;
                    item
                }
                RecvStatus::Empty => return,
            };
            if self.own.front().is_some_and(|&own| own + 1 == self.from.cursor()) {
                self.own.pop_front();
            } else {
                self.sink.take(&item);
            }
        }
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}

/// One producer.
pub struct Spmc<const N: usize> {
    paths: [PathBuf; 2],
    /// Created before the fork; each process takes its own from its copy.
    producers: RefCell<[Option<RingProducer<[u8; N]>>; 2]>,
}

impl<const N: usize> Spmc<N> {
    pub fn new() -> Spmc<N> {
        let paths = [path(), path()];
        let make = |path| Some(RingProducer::create(path, slots(N)).expect("a ring"));
        let producers = RefCell::new([make(&paths[0]), make(&paths[1])]);
        Spmc { paths, producers }
    }
}

pub struct SpmcEnd<const N: usize> {
    /// Forgotten at the end: the parent removes the ring.
    to: std::mem::ManuallyDrop<RingProducer<[u8; N]>>,
    from: Receiver<N>,
}

impl<const N: usize> Channel for Spmc<N> {
    type End = SpmcEnd<N>;

    fn open(&self, side: Side, sink: &'static Sink) -> SpmcEnd<N> {
        let near = usize::from(side != Side::Near);
        let to = self.producers.borrow_mut()[near].take().expect("taken once in a process");
        SpmcEnd { to: std::mem::ManuallyDrop::new(to), from: Receiver::new(&self.paths[1 - near], sink) }
    }
}

impl<const N: usize> End for SpmcEnd<N> {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.to.push(item(payload));
    }

    #[inline]
    fn poll(&mut self) {
        self.from.poll();
    }

    fn wait(&mut self) {
        self.from.wait();
    }

    fn missed(&self) -> u64 {
        self.from.missed
    }
}

struct Receiver<const N: usize> {
    ring: RingConsumer<[u8; N]>,
    futex: FutexWait,
    missed: u64,
    sink: &'static Sink,
}

impl<const N: usize> Receiver<N> {
    fn new(path: &PathBuf, sink: &'static Sink) -> Receiver<N> {
        Receiver { ring: consumer(path), futex: FutexWait::default(), missed: 0, sink }
    }

    #[inline]
    fn poll(&mut self) {
        loop {
            match self.ring.recv_status() {
                RecvStatus::Ok(item) => self.sink.take(&item),
                RecvStatus::Lapped { skipped, item } => {
                    self.missed += skipped;
                    self.sink.take(&item);
                }
                RecvStatus::Empty => return,
            }
        }
    }

    fn wait(&mut self) {
        let item = self.ring.recv_blocking(&mut self.futex);
        self.sink.take(&item);
    }
}
