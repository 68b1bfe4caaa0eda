//! The deliveries of a subscriber.

use crate::event::{Event, Missed};
#[cfg(doc)]
use crate::seat::subscriber::Subscriber;

/// One delivery of a [`Subscriber`].
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let mut subscriber = bus.subscribe()?;
/// use seqcast::Delivery;
///
/// match subscriber.try_next()? {
///     Some(Delivery::Event(event)) => println!("{} {:?}", event.topic(), event.bytes()),
///     Some(Delivery::Lagged { first, missed, .. }) => println!("missed {missed} events from {first} on"),
///     Some(Delivery::Reserved { id, .. }) => println!("the payload of {id} is not there yet"),
///     Some(other) => println!("{other:?}"),
///     None => println!("nothing new"),
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it is not delivered again"]
#[non_exhaustive]
pub enum Delivery<'a> {
    /// An event.
    Event(Event<'a>),
    /// No event is [retained](crate::EventBuilder::retain) under this event's key any more: it was
    /// [cleared](crate::EventBuilder::clear), or its ttl has ended. Only a seat that is being brought up to date is
    /// told that a ttl has ended. This event has no payload.
    Cleared(Event<'a>),
    /// Everything that this seat knows of retained events is void. All retained events follow, and then
    /// [`UpToDate`](Delivery::UpToDate).
    #[non_exhaustive]
    Reset {
        /// The id at which live events continue.
        id: u64,
    },
    /// This seat has received every retained event that it lacked, after it joined with
    /// [`Start::Retained`](crate::Start::Retained), or after it was lapped with
    /// [`resync`](crate::WorkerOptions::resync).
    #[non_exhaustive]
    UpToDate {
        /// The id at which live events continue.
        id: u64,
    },
    /// Ids that were overwritten before this seat read them. State that is built from events must be rebuilt, unless
    /// the events are retained and this seat has [`resync`](crate::WorkerOptions::resync).
    #[non_exhaustive]
    Lagged {
        /// The first missed id.
        first: u64,
        /// How many ids were missed. Some of them may never have been events.
        missed: u64,
        /// `true` if posts have waited for this seat, which [must read](crate::WorkerOptions::must_read), for all of
        /// its patience.
        cut_off: bool,
    },
    /// Events of other hosts were lost on their way, or posts of this host that were to be delivered everywhere. See
    /// [`gap`](Delivery::gap).
    Missed(Missed),
    /// The next id is reserved, and its payload is not visible yet. Later events are delivered after it.
    ///
    /// The same delivery comes again until the id is committed or given up. [`Subscriber::wait`] sleeps until then.
    #[non_exhaustive]
    Reserved {
        /// The id.
        id: u64,
        /// `true` if this seat has reserved it. Then only this seat's commit ends the wait.
        own: bool,
    },
    /// A unique event that is not delivered to this seat, because it is unknown if another seat has run it.
    #[non_exhaustive]
    Undecided {
        /// The event's id.
        id: u64,
        /// Why it is unknown.
        reason: Undecided,
    },
    /// The content at this id was not written by this crate. It is skipped.
    #[non_exhaustive]
    Unreadable {
        /// The id.
        id: u64,
    },
}

impl<'a> Delivery<'a> {
    /// Returns the event, if this is one.
    pub fn event(&self) -> Option<&Event<'a>> {
        match self {
            Delivery::Event(event) => Some(event),
            _ => None,
        }
    }

    /// Returns the event's id, or the id that this delivery reports: the first one for [`Lagged`](Delivery::Lagged).
    pub fn id(&self) -> u64 {
        match self {
            // A subscriber has no local events.
            Delivery::Event(event) | Delivery::Cleared(event) => event.id().unwrap_or_default(),
            Delivery::Missed(Missed { first_id: id, .. })
            | Delivery::Lagged { first: id, .. }
            | Delivery::Reset { id }
            | Delivery::UpToDate { id }
            | Delivery::Reserved { id, .. }
            | Delivery::Undecided { id, .. }
            | Delivery::Unreadable { id, .. } => *id,
        }
    }

    /// Returns what this seat has missed, if this is a report of missed events: [`Lagged`](Delivery::Lagged) or
    /// [`Missed`](Delivery::Missed). State that is built from events is then out of date, whichever of the two it is.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use std::time::Duration;
    ///
    /// let mut subscriber = bus.subscribe()?;
    /// let mut publisher = bus.publisher()?;
    /// for number in 0..100 {
    ///     publisher.post(("cache", "stale"), number.to_string())?;
    /// }
    /// while let Some(delivery) = subscriber.next(Duration::ZERO)? {
    ///     if let Some(missed) = delivery.gap() {
    ///         println!("clear the cache: {missed}");
    ///     }
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn gap(&self) -> Option<Missed> {
        match *self {
            Delivery::Lagged { first, missed, .. } => Some(Missed::lapped(first, missed)),
            Delivery::Missed(missed) => Some(missed),
            _ => None,
        }
    }

    /// Returns how many ids were overwritten before this seat read them. Returns 0 unless this is
    /// [`Lagged`](Delivery::Lagged).
    pub fn missed(&self) -> u64 {
        match self {
            Delivery::Lagged { missed, .. } => *missed,
            _ => 0,
        }
    }
}

/// Why it is unknown if a unique event has run.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let mut subscriber = bus.subscribe()?;
/// use seqcast::{Delivery, Undecided};
///
/// if let Some(Delivery::Undecided { reason: Undecided::ClaimsFull, .. }) = subscriber.try_next()? {
///     println!("create the segment with more .claims()");
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecided {
    /// The claims have no room for its key. Raise [`SegmentOptions::claims`](crate::SegmentOptions::claims).
    ClaimsFull,
    /// This seat reached the event too late to know if another seat has run it. Read more often, or raise the ttl.
    Late,
}
