//! The cost of an event for its writer as more workers read it. The readers are on the other core, all in one process
//! that polls them in turn, so that the number of workers grows and the number of cores does not.

use std::time::Duration;

use crate::support::batch::flow;
use crate::support::board::Board;
use crate::support::bus::{OnBus, OnBusEnd};
use crate::support::channel::{Channel, End, Side, Sink};
use crate::support::series::{Key, Lab, Limit};

const READERS: [usize; 6] = [1, 2, 4, 8, 16, 64];

pub fn measure(lab: &mut Lab, time: Duration) {
    for readers in READERS {
        let key = Key::new("growth with readers", "seqcast", 64).with(1, readers);
        lab.measure(key, Limit::Lines(64), |board: &Board| {
            let channel = Crowd { bus: OnBus::with(&seqcast::SegmentOptions::new().seats(128)), readers };
            flow(board, &channel, 64, 1, 1, time)
        });
    }
}

/// Many workers in the far process.
struct Crowd {
    bus: OnBus,
    readers: usize,
}

struct CrowdEnd(Vec<OnBusEnd>);

impl Channel for Crowd {
    type End = CrowdEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> CrowdEnd {
        let workers = if side == Side::Near { 1 } else { self.readers };
        // The last one's events are counted; the others' are read as well.
        let sink_of = |worker| if worker + 1 == workers { sink } else { Sink::leaked() };
        CrowdEnd((0..workers).map(|worker| self.bus.open(side, sink_of(worker))).collect())
    }
}

impl End for CrowdEnd {
    const TELLS_LOSSES: bool = true;

    fn send(&mut self, payload: &[u8]) {
        self.0[0].send(payload);
    }

    fn poll(&mut self) {
        for end in &mut self.0 {
            // Some at a time: a poll ends when nothing is new, which may never happen with a writer at full speed.
            end.poll_some(64);
        }
    }

    fn missed(&self) -> u64 {
        self.0.last().map_or(0, End::missed)
    }
}
