//! iceoryx2: publish-subscribe of byte slices, a service for each direction, and its event service to wake sleepers.

use std::time::Duration;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;

use crate::scratch;
use crate::support::channel::{Channel, End, Side, Sink};

/// The two services. With `wakes`, each send also notifies, and a waiting reader waits at its listener.
pub struct Iceoryx {
    name: String,
    config: Config,
    size: usize,
    wakes: bool,
}

impl Iceoryx {
    pub fn new(size: usize) -> Iceoryx {
        Iceoryx::with(size, false)
    }

    /// With few samples, so that all their pages are touched within a few rounds, and with events that wake sleepers.
    pub fn small(size: usize) -> Iceoryx {
        Iceoryx::with(size, true)
    }

    fn with(size: usize, wakes: bool) -> Iceoryx {
        set_log_level(LogLevel::Fatal);
        let name = scratch::name();
        let mut config = Config::default();
        config.global.prefix = name.as_str().try_into().expect("a file name");
        config.global.set_root_path(&directory(&name).as_str().try_into().expect("a path"));
        Iceoryx { name, config, size, wakes }
    }

    /// The number of samples in a subscriber's queue: some megabytes, like the rings here, but never fewer than 16.
    fn buffer(&self) -> usize {
        if self.wakes { 16 } else { ((4 << 20) / self.size.max(64)).clamp(16, 8192) }
    }
}

pub struct IceoryxEnd {
    // In this order: ports are dropped before the node.
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    wakes: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
    sink: &'static Sink,
}

impl Channel for Iceoryx {
    type End = IceoryxEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> IceoryxEnd {
        let node = NodeBuilder::new().config(&self.config).create::<ipc::Service>().expect("a node");
        let near = side == Side::Near;
        let (own, others) = if near { ("ping", "pong") } else { ("pong", "ping") };
        let topic = |direction: &str| {
            let name = format!("{}/{direction}", self.name);
            node.service_builder(&name.as_str().try_into().expect("a name"))
                .publish_subscribe::<[u8]>()
                .max_publishers(if self.wakes { 72 } else { 8 })
                .max_subscribers(if self.wakes { 72 } else { 8 })
                .max_nodes(72)
                .subscriber_max_buffer_size(self.buffer())
                .history_size(0)
                .open_or_create()
                .expect("a service")
        };
        let publisher = topic(own).publisher_builder().initial_max_slice_len(self.size).create().expect("a publisher");
        let subscriber = topic(others).subscriber_builder().create().expect("a subscriber");
        let wakes = self.wakes.then(|| {
            let events = |direction: &str| {
                let name = format!("{}/{direction}/wake", self.name);
                let name = name.as_str().try_into().expect("a name");
                node.service_builder(&name)
                    .event()
                    .max_notifiers(72)
                    .max_listeners(72)
                    .max_nodes(72)
                    .open_or_create()
                    .expect("an event service")
            };
            let notifier = events(own).notifier_builder().create().expect("a notifier");
            (notifier, events(others).listener_builder().create().expect("a listener"))
        });
        IceoryxEnd { publisher, subscriber, wakes, _node: node, sink }
    }
}

impl IceoryxEnd {
    /// The listener, if it wakes.
    pub fn listener(&self) -> Option<&Listener<ipc::Service>> {
        self.wakes.as_ref().map(|(_, listener)| listener)
    }

    /// Takes the notifications that are there.
    pub fn forget_wakes(&self) {
        if let Some((_, listener)) = &self.wakes {
            listener.try_wait(|_| ()).expect("looked");
        }
    }
}

impl End for IceoryxEnd {
    #[inline]
    fn send(&mut self, payload: &[u8]) {
        let sample = self.publisher.loan_slice_uninit(payload.len()).expect("a sample");
        sample.write_from_slice(payload).send().expect("sent");
        if let Some((notifier, _)) = &self.wakes {
            notifier.notify().expect("notified");
        }
    }

    #[inline]
    fn poll(&mut self) {
        while let Some(sample) = self.subscriber.receive().expect("received") {
            self.sink.take(sample.payload());
        }
    }

    fn wait(&mut self) {
        if let Some((_, listener)) = &self.wakes {
            listener.timed_wait(|_| (), Duration::from_secs(1)).expect("waited");
        }
    }
}

fn directory(name: &str) -> String {
    std::env::temp_dir().join(name).display().to_string()
}

impl Drop for Iceoryx {
    fn drop(&mut self) {
        // Some of its files remain after the last node, and so do all files of a killed process.
        let _ = std::fs::remove_dir_all(directory(&self.name));
        scratch::remove_shared_memory(&self.name);
    }
}
