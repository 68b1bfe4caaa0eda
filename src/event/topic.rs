//! The names of events.

use std::fmt;

use super::wire::MOST_NAME;
use crate::error::{Cause, Error, Result};
use crate::os::text::printable;

/// The name of an event: a source (what it is about) and an event (what happened).
///
/// Calls that take a topic also accept a pair of strings. [`event_list!`](crate::event_list) creates constants of
/// topics.
///
/// ```
/// use seqcast::Topic;
///
/// let topic = Topic::from(("cache", "stale"));
/// assert_eq!((topic.source(), topic.event()), ("cache", "stale"));
/// assert_eq!(topic.to_string(), "cache/stale");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    source: &'a str,
    event: &'a str,
}

impl<'a> Topic<'a> {
    /// Returns the topic of these names. In a constant, invalid names do not compile.
    ///
    /// ```
    /// use seqcast::Topic;
    ///
    /// const STALE: Topic<'_> = Topic::new("cache", "stale");
    /// # assert_eq!(STALE.source(), "cache");
    /// ```
    ///
    /// # Panics
    ///
    /// If a name is empty or longer than 255 bytes.
    pub const fn new(source: &'a str, event: &'a str) -> Topic<'a> {
        assert!(!source.is_empty() && source.len() <= MOST_NAME, "a source has 1 to 255 bytes");
        assert!(!event.is_empty() && event.len() <= MOST_NAME, "an event has 1 to 255 bytes");
        Topic { source, event }
    }

    /// Returns the topic of an event from the segment. Its names are not checked.
    pub(crate) const fn of_event(source: &'a str, event: &'a str) -> Topic<'a> {
        Topic { source, event }
    }

    /// Returns the source: what the event is about.
    pub const fn source(&self) -> &'a str {
        self.source
    }

    /// Returns the event: what happened.
    pub const fn event(&self) -> &'a str {
        self.event
    }

    /// Rejects names that no event can have.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        check_topic(self.source, self.event)
    }

    /// Rejects names that no event of an application can have.
    #[inline]
    pub(crate) fn check_to_post(&self) -> Result<()> {
        if self.source == library::SOURCE {
            return Err(Error::from(Cause::LibrarySource));
        }
        self.check()
    }
}

impl<'a, S: AsRef<str> + ?Sized, E: AsRef<str> + ?Sized> From<(&'a S, &'a E)> for Topic<'a> {
    /// The call that gets the topic rejects names that no event can have.
    #[inline]
    fn from((source, event): (&'a S, &'a E)) -> Topic<'a> {
        Topic { source: source.as_ref(), event: event.as_ref() }
    }
}

impl fmt::Display for Topic<'_> {
    /// Writes `source/event`. Characters that could forge a line or move a terminal's cursor are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", printable(self.source), printable(self.event))
    }
}

/// Rejects names that no event can have.
#[inline]
pub(crate) fn check_topic(source: &str, event: &str) -> Result<()> {
    let is_valid = |name: &str| !name.is_empty() && name.len() <= MOST_NAME;
    if is_valid(source) && is_valid(event) { Ok(()) } else { Err(no_topic(source, event)) }
}

#[cold]
fn no_topic(source: &str, event: &str) -> Error {
    let (part, name) =
        if source.is_empty() || source.len() > MOST_NAME { ("source", source) } else { ("event", event) };
    Error::from(Cause::Topic { part, len: name.len(), max: MOST_NAME })
}

/// Declares a source and its events as constants, so that a misspelt event does not compile.
///
/// ```
/// seqcast::event_list! {
///     /// Events of the health checker.
///     pub mod health = "health" {
///         /// The upstream does not answer.
///         DOWN = "down",
///         UP = "up",
///     }
/// }
/// assert_eq!(health::DOWN, seqcast::Topic::new("health", "down"));
/// assert_eq!(health::SOURCE, "health");
/// assert_eq!(health::ALL.len(), 2);
/// ```
///
/// ```compile_fail
/// seqcast::event_list! { mod health = "health" { DOWN = "down" } }
/// let _ = health::DOWM;
/// ```
#[macro_export]
macro_rules! event_list {
    ($(#[$attr:meta])* $vis:vis mod $name:ident = $source:literal {
        $($(#[$event_attr:meta])* $event:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$attr])*
        #[allow(dead_code, missing_docs)]
        $vis mod $name {
            /// The source of these events.
            pub const SOURCE: &str = $source;
            $($(#[$event_attr])* pub const $event: $crate::Topic<'static> = $crate::Topic::new($source, $text);)+
            /// All events of the source.
            pub const ALL: &[$crate::Topic<'static>] = &[$($event),+];
        }
    };
}

crate::event_list! {
    /// The library's own events. Workers receive them; only the library can post them.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{WorkerOptions, library};
    ///
    /// let worker = bus.join()?;
    /// worker.on(library::STARTED, |event| println!("{:?} joins", String::from_utf8_lossy(event.bytes())))?;
    /// let web = bus.join_with(&WorkerOptions::new().label("web"))?;
    /// assert_eq!(worker.poll()?.delivered(), 2);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub mod library = "seqcast" {
        /// Posted by each worker that joins, unless [`announce`](crate::WorkerOptions::announce) is off. The payload is
        /// the worker's label.
        STARTED = "started",
        /// Posted by each worker that leaves properly, unless [`announce`](crate::WorkerOptions::announce) is off. The
        /// payload is the worker's label.
        STOPPING = "stopping",
        /// Posted by a worker, publisher or subscriber that joins by taking a seat over from a holder that has died,
        /// unless its [`announce`](crate::WorkerOptions::announce) is off; also by
        /// [`inspect::adopt_dead`](crate::inspect::adopt_dead). The payload says who has died and what it held: see
        /// [`Died`](crate::Died). A seat that no process takes over makes no news, and if the process that takes it
        /// over is killed before it posts, the news is lost.
        DIED = "died",
        /// A local event of a worker that is brought up to date: all that it knows of
        /// [retained](crate::EventBuilder::retain) events is void. All that is retained follows, and then
        /// [`UP_TO_DATE`].
        RESET = "reset",
        /// A local event of a worker that has been brought up to date: the last event of every key was delivered to it.
        /// See [`Start::Retained`](crate::Start::Retained) and [`resync`](crate::WorkerOptions::resync).
        UP_TO_DATE = "up-to-date",
    }
}
