//! An event id that was taken for a later event.

use std::fmt;

use crate::error::{Cause, Error, ErrorKind, Result};
use crate::event::{EventBuilder, NoRoom, Payload, Sender, Sink, Special, Topic};
use crate::seat::post::{Posts, send};
use crate::seat::post_with::send_buffered;
use crate::seat::publisher::Publisher;
use crate::seat::room::with_room;

/// An event id that was taken for a later event. Dropping the reservation gives the id up.
///
/// [`Worker::reserve`](crate::Worker::reserve) returns a `Reservation<Worker>`, which owns a clone of the worker.
/// [`Publisher::reserve`] returns a `Reservation<&mut Publisher>`, which borrows the publisher.
///
/// A reserved id fixes the event's place in the order before its payload is known. Readers that reach it wait for at
/// most their [`wait_max`](crate::WorkerOptions::wait_max), and deliver later events after it. A seat holds one
/// reservation at a time.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let worker = bus.join()?;
/// let mut reservation = worker.reserve()?;
/// let config = "workers = 4"; // takes a while to compute
/// let id = reservation.commit(("config", "changed"), config)?;
/// assert_eq!(id, reservation.id());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "a reservation that is dropped is given up"]
pub struct Reservation<S: Posts> {
    seat: S,
    id: u64,
    open: bool,
}

impl<S: Posts> Reservation<S> {
    /// Takes the next id. Gives up a reservation that the seat already holds.
    pub(crate) fn take(mut seat: S, no_room: NoRoom) -> Result<Reservation<S>> {
        let id = with_room(&mut seat, no_room, |seat, posting| seat.with_writer(|writer| writer.reserve(posting)))?;
        Ok(Reservation { seat, id, open: true })
    }

    /// Returns the id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Makes the event visible at the reserved id. Returns the id. After an error other than [`ErrorKind::TooLate`] the
    /// id stays reserved, and `commit` can be called again.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let mut reservation = worker.reserve()?;
    /// let too_long = vec![0; 1 << 20];
    /// assert!(reservation.commit(("job", "done"), too_long).is_err());
    /// reservation.commit(("job", "done"), "short")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLate`] if the id was given up, and then no worker has seen the event;
    /// [`ErrorKind::PayloadTooLarge`] if it fits neither one block nor one large block; otherwise as
    /// [`Worker::post`](crate::Worker::post).
    #[inline]
    pub fn commit<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Nothing, payload, NoRoom::Refuse)
    }

    /// Begins an event that has more than a topic and a payload, for the reserved id.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let mut reservation = worker.reserve()?;
    /// reservation.event(("report", "ready")).unique("nightly").ttl(Duration::from_secs(60)).post("")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn event<'a>(&'a mut self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a mut Reservation<S>> {
        EventBuilder::new(self, topic.into())
    }
}

impl<'p> Reservation<&'p mut Publisher> {
    /// Returns the reservation that `publisher` holds.
    pub(crate) fn held(publisher: &'p mut Publisher) -> Result<Option<Reservation<&'p mut Publisher>>> {
        publisher.check()?;
        let id = publisher.seat.writer.reserved();
        Ok(id.map(|id| Reservation { seat: publisher, id, open: true }))
    }

    /// Returns the publisher, to post and claim while the id is reserved. If it reserves another id, it gives this one
    /// up.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let mut publisher = bus.publisher()?;
    /// let mut reservation = publisher.reserve()?;
    /// let progress = reservation.publisher().post(("job", "progress"), "50 %")?;
    /// assert!(reservation.commit(("job", "began"), "")? < progress);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn publisher(&mut self) -> &mut Publisher {
        self.seat
    }

    /// Ends the borrow of the publisher and keeps the id reserved. Returns the id. [`Publisher::reserved`] returns the
    /// reservation again.
    ///
    /// The publisher gives the id up when it reserves another one or is dropped. Readers wait for at most their
    /// [`wait_max`](crate::WorkerOptions::wait_max).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// let id = publisher.reserve()?.keep();
    /// publisher.post(("job", "progress"), "50 %")?;
    /// let mut reservation = publisher.reserved()?.expect("it was kept");
    /// assert_eq!(reservation.commit(("job", "began"), "")?, id);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn keep(mut self) -> u64 {
        self.open = false;
        self.id
    }
}

impl<S: Posts> Sender for &mut Reservation<S> {
    // The id is taken, so there is room.
    fn send(self, topic: Topic<'_>, special: Special<'_>, payload: impl Payload, no_room: NoRoom) -> Result<u64> {
        let unique = match special {
            Special::Nothing => None,
            Special::Unique(unique) => Some(unique),
            Special::Retained { .. } => return Err(not_at_a_reserved_id("retain")),
            Special::Cluster(_) => {
                let rule = "a request to the relay cannot be committed at a reserved id: post it";
                return Err(Error::option("cluster", "set", rule));
            }
        };
        let Reservation { seat, id, open } = self;
        let committed = send(seat, topic, unique, &payload, no_room, |writer, event, _| {
            if *open { writer.commit(*id, event) } else { Err(Error::from(Cause::TooLate { id: *id })) }
        });
        if committed.as_ref().map_or_else(|error| error.kind() == ErrorKind::TooLate, |()| true) {
            *open = false;
        }
        committed.map(|()| *id)
    }

    fn send_with(
        self,
        topic: Topic<'_>,
        special: Special<'_>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        send_buffered(self, topic, special, len, fill)
    }

    fn clear(self, _: Topic<'_>, _: &[u8], _: NoRoom) -> Result<Option<u64>> {
        Err(not_at_a_reserved_id("clear"))
    }
}

/// The error for a retained event or a clear, which can be posted but not committed: a worker that joins would have to
/// wait for every reserved id below its own.
#[cold]
fn not_at_a_reserved_id(option: &'static str) -> Error {
    Error::option(option, "set", "what is retained cannot be committed at a reserved id: post it")
}

impl<S: Posts> Drop for Reservation<S> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let id = self.id;
        // If the segment is corrupt, no reader waits.
        let _ = self.seat.with_writer(|writer| if writer.reserved() == Some(id) { writer.abandon() } else { Ok(()) });
    }
}

impl<S: Posts> fmt::Debug for Reservation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("id", &self.id).field("open", &self.open).finish_non_exhaustive()
    }
}
