//! The events that a handler or a subscriber gets.

use crate::error::Result;
use crate::event::{Topic, check_topic};

/// The events that a handler or a [`Subscriber`](crate::Subscriber) gets.
///
/// A topic converts into the scope of that one event.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::Scope;
///
/// seqcast::event_list! { mod health = "health" { DOWN = "down", UP = "up" } }
///
/// worker.on(Scope::All, |_| ())?;
/// worker.on(Scope::source("cache"), |_| ())?;
/// worker.on(Scope::events("cache", ["stale", "full"]), |_| ())?;
/// worker.on(("cache", "stale"), |_| ())?;
/// worker.on(health::DOWN, |_| ())?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Every event.
    All,
    /// Every event of a source.
    Source(String),
    /// Some events of a source.
    Events(String, Vec<String>),
}

impl Scope {
    /// Returns the scope of every event of `source`.
    pub fn source(source: impl Into<String>) -> Scope {
        Scope::Source(source.into())
    }

    /// Returns the scope of the named `events` of `source`. With an empty list, the scope has no events.
    pub fn events<E: Into<String>>(source: impl Into<String>, events: impl IntoIterator<Item = E>) -> Scope {
        Scope::Events(source.into(), events.into_iter().map(Into::into).collect())
    }

    /// Returns the same scope with its names sorted and without duplicates, for comparisons.
    pub(crate) fn into_set(mut self) -> Scope {
        if let Scope::Events(_, events) = &mut self {
            events.sort_unstable();
            events.dedup();
        }
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Scope::All => Ok(()),
            Scope::Source(source) => check_topic(source, "-"),
            Scope::Events(source, events) if events.is_empty() => check_topic(source, ""),
            Scope::Events(source, events) => events.iter().try_for_each(|event| check_topic(source, event)),
        }
    }
}

impl From<Topic<'_>> for Scope {
    fn from(topic: Topic<'_>) -> Scope {
        Scope::events(topic.source(), [topic.event()])
    }
}

impl<S: AsRef<str> + ?Sized, E: AsRef<str> + ?Sized> From<(&S, &E)> for Scope {
    fn from((source, event): (&S, &E)) -> Scope {
        Scope::events(source.as_ref(), [event.as_ref()])
    }
}
