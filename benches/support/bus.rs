//! seqcast as a channel: workers of one bus, through the public calls.

use std::time::Duration;

use seqcast::{Bus, Delivery, Event, Polled, Scope, SegmentOptions, Subscriber, Words, Worker, WorkerOptions};

use super::channel::{Channel, End, Side, Sink};

/// The sources of the near side's events and of the far side's.
const SOURCES: [&str; 2] = ["ping", "pong"];
const EVENT: &str = "e";
/// The bytes before a payload in a block with these names.
const PREFIX: u64 = 32;
/// The approximate size of the measured rings in bytes.
const RING_BYTES: u64 = 4 << 20;
/// The fewest blocks of a measured large ring.
const FEWEST_LARGE: u64 = 4;

/// An anonymous bus, created before the processes are forked; each joins it.
pub struct OnBus {
    bus: Bus,
}

impl OnBus {
    /// Creates one with the default options: payloads above 224 bytes are sent as fragments.
    pub fn by_default() -> OnBus {
        OnBus::with(&SegmentOptions::new())
    }

    /// Creates one with blocks that fit `size`, as a user would choose them for such events.
    pub fn for_size(size: usize) -> OnBus {
        OnBus::with(&OnBus::options_for_size(size))
    }

    pub fn options_for_size(size: usize) -> SegmentOptions {
        let block = size as u64 + PREFIX;
        let options = SegmentOptions::new();
        if block <= 288 {
            return options;
        }
        options.block_size(block).capacity((RING_BYTES / block).next_power_of_two().max(64))
    }

    /// Creates one with blocks for small events, and large blocks that fit `size`.
    pub fn with_large(size: usize) -> OnBus {
        let blocks = (RING_BYTES / size as u64).next_power_of_two().max(FEWEST_LARGE);
        OnBus::with(&SegmentOptions::new().seats(8).large(blocks, size as u64))
    }

    /// Creates a ring so small that all its pages are touched within a few rounds.
    pub fn small() -> OnBus {
        OnBus::with(&SegmentOptions::new().capacity(16).seats(8).claims(8))
    }

    pub fn with(options: &SegmentOptions) -> OnBus {
        OnBus { bus: options.anonymous().expect("a segment") }
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }
}

pub struct OnBusEnd {
    worker: Worker,
    source: &'static str,
    missed: u64,
}

impl Channel for OnBus {
    type End = OnBusEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> OnBusEnd {
        let worker = self.bus.join_with(&quiet()).expect("a seat");
        let near = side == Side::Near;
        let (own, others) = (SOURCES[usize::from(!near)], SOURCES[usize::from(near)]);
        worker.on(Scope::source(others), |event: &Event<'_>| sink.take(event.bytes())).expect("a handler");
        OnBusEnd { worker, source: own, missed: 0 }
    }
}

/// Options of measured workers: no output to standard error when they are lapped.
pub fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false).on_report(|_| {})
}

impl OnBusEnd {
    /// Polls, but stops after `events`.
    #[inline]
    pub fn poll_some(&mut self, events: u64) {
        if let Polled::Done { missed, .. } = self.worker.poll_at_most(events).expect("polled") {
            self.missed += missed;
        }
    }
}

impl End for OnBusEnd {
    const TELLS_LOSSES: bool = true;

    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.worker.post((self.source, EVENT), payload).expect("posted");
    }

    #[inline]
    fn poll(&mut self) {
        self.poll_some(u64::MAX);
    }

    fn wait(&mut self) {
        self.worker.wait(Duration::from_secs(1)).expect("waited");
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}

/// The same, read by [`Subscriber::try_next`], as one reads a channel.
pub struct Pulled(pub OnBus);

/// The same, read by [`Subscriber::try_visit`]: payloads are summed up where they lie.
pub struct Visited(pub OnBus);

/// A subscriber of the other side's events.
pub struct PulledEnd {
    subscriber: Subscriber,
    source: &'static str,
    missed: u64,
    sink: &'static Sink,
}

pub struct VisitedEnd(PulledEnd);

impl PulledEnd {
    fn open(bus: &Bus, side: Side, sink: &'static Sink) -> PulledEnd {
        let near = side == Side::Near;
        let (own, others) = (SOURCES[usize::from(!near)], SOURCES[usize::from(near)]);
        let mut subscriber = bus.subscribe_with(&quiet()).expect("a seat");
        subscriber.only_sources([others]).expect("a filter");
        PulledEnd { subscriber, source: own, missed: 0, sink }
    }
}

impl Channel for Pulled {
    type End = PulledEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> PulledEnd {
        PulledEnd::open(&self.0.bus, side, sink)
    }
}

impl Channel for Visited {
    type End = VisitedEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> VisitedEnd {
        VisitedEnd(PulledEnd::open(&self.0.bus, side, sink))
    }
}

impl End for PulledEnd {
    const TELLS_LOSSES: bool = true;

    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.subscriber.publisher().post((self.source, EVENT), payload).expect("posted");
    }

    #[inline]
    fn poll(&mut self) {
        match self.subscriber.try_next().expect("read") {
            Some(Delivery::Event(event)) => self.sink.take(event.bytes()),
            Some(Delivery::Lagged { missed, .. }) => self.missed += missed,
            _ => {}
        }
    }

    fn wait(&mut self) {
        self.subscriber.wait(Duration::from_secs(1)).expect("waited");
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}

impl End for VisitedEnd {
    const TELLS_LOSSES: bool = true;

    #[inline]
    fn send(&mut self, payload: &[u8]) {
        self.0.send(payload);
    }

    #[inline]
    fn poll(&mut self) {
        let PulledEnd { subscriber, missed, sink, .. } = &mut self.0;
        let visit = |words: Words<'_>| (words.u64_at(0).unwrap_or_default(), words.sum());
        match subscriber.try_visit(|_, words| visit(words)).expect("read") {
            Some((Delivery::Event(_), Some((number, sum)))) => sink.take_summed(number, sum),
            Some((Delivery::Lagged { missed: more, .. }, _)) => *missed += more,
            _ => {}
        }
    }

    fn wait(&mut self) {
        self.0.wait();
    }

    fn missed(&self) -> u64 {
        self.0.missed
    }
}
