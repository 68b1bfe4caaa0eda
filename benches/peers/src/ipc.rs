//! ipc-channel: bytes, a channel for each direction.

use std::cell::RefCell;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use crate::support::channel::{Channel, End, Side, Sink};

type Pair = (IpcBytesSender, IpcBytesReceiver);

/// Created before the fork; each process takes its ends from its copy.
pub struct Ipc {
    pairs: RefCell<Option<[Pair; 2]>>,
}

impl Ipc {
    pub fn new() -> Ipc {
        let pair = || bytes_channel().expect("a channel");
        Ipc { pairs: RefCell::new(Some([pair(), pair()])) }
    }
}

pub struct IpcEnd {
    to: IpcBytesSender,
    from: IpcBytesReceiver,
    sink: &'static Sink,
}

impl Channel for Ipc {
    type End = IpcEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> IpcEnd {
        let [first, second] = self.pairs.take().expect("taken once in a process");
        let (to, from) = if side == Side::Near { (first.0, second.1) } else { (second.0, first.1) };
        IpcEnd { to, from, sink }
    }
}

impl End for IpcEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.to.send(payload).expect("sent");
    }

    #[inline]
    fn poll(&mut self) {
        while let Ok(bytes) = self.from.try_recv() {
            self.sink.take(&bytes);
        }
    }

    fn wait(&mut self) {
        self.sink.take(&self.from.recv().expect("received"));
    }
}
