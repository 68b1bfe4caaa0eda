//! The feature `tracing`: reports reach a subscriber, without the payload.
#![cfg(feature = "tracing")]

#[macro_use]
mod common;

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use common::{bus, poll, small};
use seqcast::{Event, Scope, WorkerOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Keeps the level, target and text of every event.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(Level, String, String)>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{value:?}").unwrap();
    }
}

impl Subscriber for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let metadata = event.metadata();
        self.0.lock().unwrap().push((*metadata.level(), metadata.target().to_owned(), text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

alone! {
    fn a_failed_handler_and_a_lag_reach_the_subscriber_without_the_payload() {
        let kept = Kept::default();
        tracing::subscriber::set_global_default(kept.clone()).unwrap();
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(WorkerOptions::new().announce(false)).unwrap();
        worker.on(Scope::source("cache"), |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no route"))).unwrap();
        worker.post(("cache", "stale"), "a secret").unwrap();
        poll(&worker);
        for _ in 0..2 * bus.capacity() {
            worker.post(("other", "event"), "a secret").unwrap();
        }
        poll(&worker);
        let kept = kept.0.lock().unwrap();
        let [(failed, target, text), (lagged, _, gap)] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((*failed, target.as_str()), (Level::ERROR, "seqcast"));
        assert!(text.contains("cache/stale (id 0)") && text.contains("no route"), "{text}");
        assert_eq!(*lagged, Level::WARN);
        assert!(gap.contains("were overwritten"), "{gap}");
        assert!(!text.contains("secret") && !gap.contains("secret"));
    }
}
