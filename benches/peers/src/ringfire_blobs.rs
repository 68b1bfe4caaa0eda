//! ringfire's ring of byte strings in an arena: one producer, for payloads too large to pass by value.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use ringfire::{BlobConsumer, BlobProducer, BlobRecvStatus};

use crate::scratch;
use crate::support::channel::{Channel, End, Side, Sink};

/// A ring for each direction.
pub struct Blobs {
    paths: [PathBuf; 2],
    size: usize,
    /// Created before the fork; each process takes its own from its copy.
    producers: RefCell<[Option<BlobProducer<u64>>; 2]>,
}

impl Blobs {
    pub fn new(size: usize) -> Blobs {
        let paths = [scratch::name(), scratch::name()].map(|name| PathBuf::from("/dev/shm").join(name));
        let slots = ((4 << 20) / size.max(64) as u64).next_power_of_two().clamp(16, 8192);
        let arena = (slots as usize * size.max(64)).next_power_of_two();
        let make = |path| Some(BlobProducer::create(path, slots, arena).expect("a ring"));
        let producers = RefCell::new([make(&paths[0]), make(&paths[1])]);
        Blobs { paths, size, producers }
    }
}

pub struct BlobsEnd {
    /// Forgotten at the end: the parent removes the ring.
    to: ManuallyDrop<BlobProducer<u64>>,
    from: BlobConsumer<u64>,
    buffer: Vec<u8>,
    missed: u64,
    sink: &'static Sink,
}

impl Channel for Blobs {
    type End = BlobsEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> BlobsEnd {
        let near = usize::from(side != Side::Near);
        let to = self.producers.borrow_mut()[near].take().expect("taken once in a process");
        let from = BlobConsumer::attach(&self.paths[1 - near]).expect("attached");
        BlobsEnd { to: ManuallyDrop::new(to), from, buffer: vec![0; self.size], missed: 0, sink }
    }
}

impl End for BlobsEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.to.push(&0, payload).expect("pushed");
    }

    #[inline]
    fn poll(&mut self) {
        loop {
            let len = match self.from.recv_status(&mut 0, &mut self.buffer).expect("received") {
                BlobRecvStatus::Ok { payload_len } => payload_len,
                BlobRecvStatus::Lapped { skipped, payload_len } => {
                    self.missed += skipped;
                    payload_len
                }
                BlobRecvStatus::Empty => return,
            };
            self.sink.take(&self.buffer[..len]);
        }
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}
