//! ringfire: rings of fixed-size items that overwrite the oldest, a ring for each direction. Its multi-producer ring is
//! what does the most of a bus's work; its single-producer ring does less and is faster.

use std::cell::RefCell;
use std::path::PathBuf;

use ringfire::{
    ConsumerStartMode, FutexWait, MpmcProducer, RecvStatus, RingConsumer, RingConsumerBuilder, RingProducer,
};

use crate::scratch;
use crate::support::channel::{Channel, End, Side, Sink};

/// Slots of the rings that are measured: some megabytes.
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

    /// A ring so small that a few rounds have touched every page of it.
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

/// One producer.
pub struct Spmc<const N: usize> {
    paths: [PathBuf; 2],
    /// Made before the fork; each process takes its own from its copy.
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
    /// Forgotten at the end: the ring is the parent's to remove.
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
