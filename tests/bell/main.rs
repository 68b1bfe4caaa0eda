//! Bells: descriptors that are readable as long as there may be something to poll.

mod descriptors;
mod hosts;
mod loops;
mod processes;
mod ready;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seqcast::{Bell, BellOptions, Bus, Event, Scope, Worker};
use seqcast_testkit::{HOUR, Name, bus, is_readable, quiet, small};

const NOW: Duration = Duration::ZERO;
/// Longer than a ring usually takes. A thread that rings may be later, so silence for this long proves nothing of it.
const SOON: Duration = Duration::from_millis(2);

/// Options of bells that no timer makes readable.
fn rung_only() -> BellOptions {
    BellOptions::new().interval(HOUR)
}

/// Both kinds of bells that react to posts.
fn hearing() -> [BellOptions; 2] {
    [rung_only(), rung_only().thread(true)]
}

/// A named bus, and an anonymous one.
fn buses() -> [(Option<Name>, Bus); 2] {
    let (name, named) = bus(&small());
    [(Some(name), named), (None, small().anonymous().unwrap())]
}

/// The number of calls of a handler.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    /// Counts a call, and returns the number of calls.
    fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker that counts delivered events.
fn counting(bus: &Bus) -> (Worker, Count) {
    let (worker, count) = (bus.join_with(&quiet()).unwrap(), Count::default());
    let counted = count.clone();
    worker.on(Scope::All, move |_: &Event<'_>| _ = counted.add()).unwrap();
    (worker, count)
}

/// Polls until the bell is silent.
fn settle(bell: &Bell) {
    while is_readable(bell, SOON) {
        bell.poll().unwrap();
    }
}
