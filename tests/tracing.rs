//! The feature `tracing`: reports reach a subscriber as fields, without the payload.
#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use seqcast::{Event, Scope};
use seqcast_testkit::{alone, bus, poll, quiet, small, stderr_of};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

/// Keeps the events that it receives.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Traced>>>);

#[derive(Clone, Debug)]
struct Traced {
    level: Level,
    target: String,
    fields: Fields,
}

#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), format!("str {value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), format!("u64 {value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Traced {
    /// A field's type and value.
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.0.get(name).map(String::as_str)
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target().to_owned());
        self.0.lock().unwrap().push(Traced { level, target, fields });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Kept {
    fn events(&self) -> Vec<Traced> {
        self.0.lock().unwrap().clone()
    }
}

/// A subscriber that panics.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("out of ink");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

alone! {
    fn a_failed_handler_and_a_lag_reach_the_subscriber_as_fields_without_the_payload() {
        let kept = Kept::default();
        tracing::subscriber::set_global_default(kept.clone()).unwrap();
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::source("cache"), |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no route"))).unwrap();
        worker.post(("cache", "stale"), "a secret").unwrap();
        poll(&worker);
        for _ in 0..2 * bus.capacity() {
            worker.post(("other", "event"), "a secret").unwrap();
        }
        let (_, missed) = poll(&worker);
        let events = kept.events();
        let [failed, lagged] = &events[..] else { panic!("{events:?}") };
        assert_eq!((failed.level, failed.target.as_str()), (Level::ERROR, "seqcast"));
        assert_eq!(failed.field("kind"), Some("str failed"));
        assert_eq!(failed.field("source"), Some("str cache"));
        assert_eq!(failed.field("event"), Some("str stale"));
        assert_eq!(failed.field("id"), Some("u64 0"));
        assert_eq!(failed.field("missed"), None);
        assert_eq!(failed.field("seat"), Some(format!("u64 {}", worker.seat()).as_str()));
        assert_eq!(failed.field("message"), Some("a handler failed: no route"));
        assert!(failed.field("backtrace").is_some(), "{failed:?}");
        assert_eq!((lagged.level, lagged.target.as_str()), (Level::WARN, "seqcast"));
        assert_eq!(lagged.field("kind"), Some("str lagged"));
        assert_eq!((lagged.field("source"), lagged.field("event")), (None, None));
        assert_eq!(lagged.field("id"), Some("u64 1"));
        assert_eq!(lagged.field("missed"), Some(format!("u64 {missed}").as_str()));
        let text = format!("{missed} events were overwritten");
        assert!(lagged.field("message").unwrap().starts_with(&text), "{lagged:?}");
        assert!(!format!("{events:?}").contains("secret"));
    }

    fn reports_that_were_left_out_reach_the_subscriber_as_a_number() {
        let kept = Kept::default();
        tracing::subscriber::set_global_default(kept.clone()).unwrap();
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no route"))).unwrap();
        for _ in 0..60 {
            worker.post(("cache", "st\nale"), b"").unwrap();
        }
        poll(&worker);
        drop(worker);
        let number = |field: Option<&str>| field.and_then(|field| field.strip_prefix("u64 ")?.parse::<u64>().ok());
        let events = kept.events();
        assert!(events.iter().all(|event| event.field("event") == Some("str st\\nale")), "{events:?}");
        let told: u64 = events.iter().map(|event| number(event.field("left_out")).unwrap_or(1)).sum();
        assert_eq!(told, 60, "{events:?}");
        assert!(events.len() < 60, "{events:?}");
    }

    fn a_subscriber_of_another_thread_swallows_no_report() {
        let (_name, bus) = bus(&small());
        let kept = Kept::default();
        let (ended_well, text) = stderr_of(|| {
            let _theirs = tracing::subscriber::set_default(kept.clone());
            std::thread::scope(|scope| {
                let polling = scope.spawn(|| {
                    let worker = bus.join_with(&quiet()).unwrap();
                    worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no route"))).unwrap();
                    worker.post(("cache", "stale"), b"").unwrap();
                    poll(&worker);
                });
                polling.join().unwrap();
            });
            assert!(kept.events().is_empty());
        });
        assert!(ended_well, "{text}");
        assert!(text.starts_with("seqcast: cache/stale (id 0): a handler failed: no route\n"), "{text}");
    }

    fn a_subscriber_that_panics_ends_no_poll_and_loses_no_report() {
        let (_name, bus) = bus(&small());
        let (ended_well, text) = stderr_of(|| {
            std::panic::set_hook(Box::new(|_| ()));
            tracing::subscriber::set_global_default(Broken).unwrap();
            let worker = bus.join_with(&quiet()).unwrap();
            worker.on(Scope::All, |_: &Event<'_>| Err::<(), _>(std::io::Error::other("no route"))).unwrap();
            worker.post(("cache", "stale"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
        });
        assert!(ended_well, "{text}");
        assert_eq!(text, "seqcast: cache/stale (id 0): failed, and reporting it panicked: out of ink\n");
    }
}
