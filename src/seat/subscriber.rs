//! A seat that is read by pulling.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::wire::{Head, UniqueKey};
use crate::event::{Data, Event, Origin, Topic, library};
use crate::identity::Position;
use crate::os::futex::SharedFutex;
use crate::protocol::claims::{At, Decision, Token};
use crate::protocol::ring::Look;
use crate::protocol::wake;
use crate::protocol::word::Mark;
use crate::seat::claim::Claimer;
use crate::seat::is_of_process;
use crate::seat::options::WorkerOptions;
use crate::seat::publisher::Publisher;
use crate::seat::read::{Gate, Message, Pending, Reader, Step};
use crate::segment::Segment;
use crate::segment::layout::{header_word, seat_word};

/// A seat that is read by pulling: one event at a time, without handlers, threads or callbacks.
///
/// It is for one thread (`&mut self`). Event loops, other languages and async runtimes build on it; for handlers use a
/// [`Worker`](crate::Worker). It takes part in unique events: an event that [`try_next`](Subscriber::try_next) returns
/// with a [claim](Event::claim) is run by this seat and by no other.
///
/// ```
/// # let name = format!("doc-subscriber-{}", std::process::id());
/// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// use std::time::Duration;
/// use seqcast::Delivery;
///
/// let mut subscriber = bus.subscribe()?;
/// bus.publisher()?.post(("cache", "stale"), "user:42")?;
///
/// while let Some(delivery) = subscriber.next(Duration::ZERO)? {
///     match delivery {
///         Delivery::Event(event) => println!("{} {:?}", event.topic(), event.bytes()),
///         Delivery::Lagged { missed, .. } => println!("missed {missed} events: clear the cache"),
///         _ => {}
///     }
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "a subscriber that is dropped leaves the bus"]
pub struct Subscriber {
    publisher: Publisher,
    reader: Reader,
    announces: Option<String>,
    wait_interval: Duration,
    filter: Option<Vec<Wanted>>,
    /// Unique events whose fate this seat could not decide, in order.
    undecided: VecDeque<(u64, Undecided)>,
    /// A step that was taken and is told after what is undecided.
    put_off: Option<Step>,
    /// The reserved id that reading stopped at.
    reserved: Option<Pending>,
}

/// What a [`Subscriber`] gets, in order.
#[derive(Debug)]
#[must_use = "it is not delivered again"]
#[non_exhaustive]
pub enum Delivery<'a> {
    /// An event.
    Event(Event<'a>),
    /// Ids that were overwritten before this seat read them. State that was built from events must be refreshed.
    #[non_exhaustive]
    Lagged {
        /// The first of them.
        first: u64,
        /// How many there are. Some of them may never have been events.
        missed: u64,
    },
    /// The next id is reserved and its payload is not there yet. What follows it is delivered after it.
    ///
    /// The same answer comes again until the id is committed or given up; [`Subscriber::wait`] sleeps until then.
    #[non_exhaustive]
    Reserved {
        /// The id.
        id: u64,
        /// Whether this seat reserved it. Then only its own commit ends the wait.
        own: bool,
    },
    /// A unique event that this seat did not run, because nobody can know whether it was run before.
    #[non_exhaustive]
    Undecided {
        /// The event's id.
        id: u64,
        /// Why it is not known.
        reason: Undecided,
    },
    /// The seat at this id was not written by this crate. It was left out.
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

    /// Returns the id of the event, of what was not delivered, or of the first of several.
    pub fn id(&self) -> u64 {
        match self {
            // A subscriber has no local events.
            Delivery::Event(event) => event.id().unwrap_or_default(),
            Delivery::Lagged { first: id, .. }
            | Delivery::Reserved { id, .. }
            | Delivery::Undecided { id, .. }
            | Delivery::Unreadable { id, .. } => *id,
        }
    }

    /// Returns how many ids were overwritten before this seat read them: 0 unless this is
    /// [`Lagged`](Delivery::Lagged).
    pub fn missed(&self) -> u64 {
        match self {
            Delivery::Lagged { missed, .. } => *missed,
            _ => 0,
        }
    }
}

/// Why a unique event was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Undecided {
    /// The claims have no room for its key: raise [`SegmentOptions::claims`](crate::SegmentOptions::claims).
    ClaimsFull,
    /// This seat reached it too late to know whether another ran it: read more often, or raise the ttl.
    Late,
}

/// One source, or one event of it.
#[derive(Clone, Debug)]
struct Wanted {
    source: Box<str>,
    event: Option<Box<str>>,
}

impl Subscriber {
    pub(crate) fn join(segment: &Arc<Segment>, options: &WorkerOptions) -> Result<Subscriber> {
        let mut publisher = Publisher::join(segment, options)?;
        let begin = options.start.begin(segment)?;
        let seat = &publisher.seat;
        let mut reader = Reader::new(Arc::clone(&seat.segment), seat.words.clone(), seat.number, begin);
        reader.set_wait_max(u64::try_from(options.wait_max.as_nanos()).unwrap_or(u64::MAX));
        let announces = options.announce.then(|| options.label.clone());
        if let Some(label) = &announces {
            publisher.announce(library::STARTED, label)?;
        }
        Ok(Subscriber {
            publisher,
            reader,
            announces,
            wait_interval: options.wait_interval,
            filter: None,
            undecided: VecDeque::new(),
            put_off: None,
            reserved: None,
        })
    }

    /// Delivers only events of `topics` from now on: their payloads alone are copied, and only their unique events are
    /// claimed. An empty list delivers none. Events before [`Delivery::Reserved`] that were read ahead are not
    /// affected.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`] for names that no event can have; the filter is then as before.
    pub fn only<'t>(&mut self, topics: impl IntoIterator<Item = impl Into<Topic<'t>>>) -> Result<()> {
        let wanted = |topic: Topic<'_>| {
            topic.check()?;
            Ok(Wanted { source: topic.source().into(), event: Some(topic.event().into()) })
        };
        let filter = topics.into_iter().map(|topic| wanted(topic.into())).collect::<Result<_>>()?;
        self.filter = Some(filter);
        Ok(())
    }

    /// Delivers only events of `sources` from now on, like [`only`](Subscriber::only).
    ///
    /// # Errors
    ///
    /// As [`only`](Subscriber::only).
    pub fn only_sources<S: AsRef<str>>(&mut self, sources: impl IntoIterator<Item = S>) -> Result<()> {
        let wanted = |source: &str| {
            Topic::from((source, "-")).check()?;
            Ok(Wanted { source: source.into(), event: None })
        };
        let filter = sources.into_iter().map(|source| wanted(source.as_ref())).collect::<Result<_>>()?;
        self.filter = Some(filter);
        Ok(())
    }

    /// Changes [`WorkerOptions::wait_max`] of this seat. A wait that has begun ends by the new value.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// use std::time::Duration;
    ///
    /// subscriber.set_wait_max(Duration::from_millis(50));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn set_wait_max(&mut self, wait_max: Duration) {
        self.reader.set_wait_max(u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns what comes next, or `None` if there is nothing new. Never waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    #[inline]
    pub fn try_next(&mut self) -> Result<Option<Delivery<'_>>> {
        Ok(match self.step()? {
            Some(found) => self.delivery(found),
            None => None,
        })
    }

    /// Returns what comes next, and waits for it if there is nothing new: `None` when `timeout` is over. At a reserved
    /// id it waits for the payload; it returns [`Delivery::Reserved`] only if `timeout` ends there, or if the id is
    /// this seat's own.
    ///
    /// # Errors
    ///
    /// As [`try_next`](Subscriber::try_next).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Delivery<'_>>> {
        // A timeout that is longer than the clock can tell never ends.
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        loop {
            match self.step()? {
                Some(Found::Step(Step::Pending(Pending { since_ns: Some(_), .. }))) | None if !left.is_zero() => {}
                Some(found) => return Ok(self.delivery(found)),
                None => return Ok(None),
            }
            self.nap(left);
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Sleeps until [`try_next`](Subscriber::try_next) may return something else than before, for at most `timeout`.
    /// Returns whether there is something new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        self.publisher.check()?;
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        while !self.has_news() && !left.is_zero() {
            self.nap(left);
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if self.reserved.is_some() {
                // Its reserver may have died, or its time may be over: a look tells, and ends it if so.
                break;
            }
        }
        Ok(self.has_news())
    }

    /// Returns the publishing half of this seat, to post and to claim.
    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// Calls `run` with everything that is there now, and with the publishing half, until there is nothing new or the
    /// next id is reserved. Returns the number of deliveries.
    ///
    /// ```
    /// # let name = format!("doc-drain-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let mut subscriber = bus.subscribe()?;
    /// let mut pings = 0;
    /// bus.publisher()?.post(("service", "ping"), "")?;
    /// subscriber.drain(|delivery, publisher| {
    ///     if let seqcast::Delivery::Event(event) = delivery
    ///         && event.topic() == seqcast::Topic::new("service", "ping")
    ///     {
    ///         pings += 1;
    ///         publisher.post(("service", "pong"), event.bytes())?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!(pings, 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_next`](Subscriber::try_next), and what `run` returns; then the rest is left for the next call.
    pub fn drain(&mut self, mut run: impl FnMut(Delivery<'_>, &mut Publisher) -> Result<()>) -> Result<u64> {
        let mut count = 0;
        while let Some(found) = self.step()? {
            let is_reserved = matches!(found, Found::Step(Step::Pending(_)));
            let Subscriber { publisher, reader, .. } = self;
            if let Some(delivery) = delivery(found, reader, publisher) {
                count += 1;
                run(delivery, publisher)?;
            }
            if is_reserved {
                break;
            }
        }
        Ok(count)
    }

    /// Returns the next id to be delivered.
    pub fn cursor(&self) -> u64 {
        let read = match self.put_off {
            Some(Step::Event) => self.reader.current().id,
            Some(Step::Lagged { first: id, .. } | Step::Unreadable { id }) => id,
            Some(Step::Empty | Step::Pending(_)) | None => self.reader.cursor(),
        };
        // What is undecided may be ahead of a reserved id.
        self.undecided.front().map_or(read, |&(id, _)| id.min(read))
    }

    /// Returns where this subscriber is, to go on from there later with [`Start::Resume`](crate::Start::Resume).
    pub fn position(&self) -> Position {
        Position::before(self.publisher.seat.segment.id(), self.cursor())
    }

    /// Returns the number of this subscriber's seat.
    pub fn seat(&self) -> u32 {
        self.publisher.seat()
    }

    /// Leaves the bus: posts [`STOPPING`](library::STOPPING) and frees the seat. Dropping a subscriber does the same,
    /// and has nobody to tell of an error.
    ///
    /// Unique events that this seat has claimed already, while it waited for a reserved id, are handed to `run` first,
    /// since no other seat will run them.
    ///
    /// # Errors
    ///
    /// As [`Publisher::post`].
    pub fn leave(mut self, mut run: impl FnMut(Event<'_>)) -> Result<()> {
        self.publisher.check()?;
        if self.has_put_off_claimed()
            && let Some(event) = event(self.reader.current(), &self.publisher)
        {
            run(event);
        }
        // From here on no second time, whatever becomes of the rest.
        self.put_off = None;
        let claimed: Vec<Message> = self.reader.take_claimed().collect();
        for message in &claimed {
            // `run` may fork, and return in the child, to whom none of them belongs.
            self.publisher.check()?;
            if let Some(event) = event(message, &self.publisher) {
                run(event);
            }
        }
        self.publisher.check()?;
        match self.announces.take() {
            Some(label) => self.publisher.announce(library::STOPPING, &label),
            None => Ok(()),
        }
    }

    /// Takes the next step that is worth telling.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<Option<Found>> {
        self.publisher.check()?;
        self.reserved = None;
        let step = match self.put_off.take() {
            Some(step) => step,
            None => self.read()?,
        };
        if let Some((id, reason)) = self.undecided.pop_front() {
            // What may have changed by then is looked at again.
            self.put_off = (!matches!(step, Step::Empty | Step::Pending(_))).then_some(step);
            return Ok(Some(Found::Undecided(id, reason)));
        }
        match step {
            Step::Empty => return Ok(None),
            Step::Pending(pending) => self.reserved = Some(pending),
            Step::Event => self.publisher.seat.words.add(seat_word!(reading.delivered), 1),
            _ => {}
        }
        Ok(Some(Found::Step(step)))
    }

    #[inline]
    fn read(&mut self) -> Result<Step> {
        let Publisher { seat, .. } = &mut self.publisher;
        let mut gate =
            PullGate { filter: self.filter.as_deref(), claimer: &mut seat.claimer, undecided: &mut self.undecided };
        self.reader.read(&mut gate)
    }

    /// Whether the next step is an event that this seat has claimed, put off for what is undecided before it.
    fn has_put_off_claimed(&self) -> bool {
        matches!(self.put_off, Some(Step::Event)) && self.reader.current().claim.is_some()
    }

    fn delivery(&self, found: Found) -> Option<Delivery<'_>> {
        delivery(found, &self.reader, &self.publisher)
    }

    /// The place that reading stopped at; it says nothing if there is more to look at than that.
    pub(crate) fn mark(&self) -> Mark {
        let ring = self.segment().ring();
        match self.reserved {
            Some(pending) => ring.mark_reserved(pending.id),
            None if self.reader.has_ahead() => Mark::NONE,
            None => ring.mark_empty(self.reader.next()),
        }
    }

    /// Returns the delivery of the last [`step`](Subscriber::step).
    #[cfg(feature = "tokio")]
    pub(crate) fn tell(&self, found: Found) -> Delivery<'_> {
        self.delivery(found).unwrap_or_else(|| Delivery::Unreadable { id: self.reader.current().id })
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.publisher.seat.segment
    }

    /// Whether the seat is the calling process's.
    pub(crate) fn check(&self) -> Result<()> {
        self.publisher.check()
    }

    /// How long the reserved id that reading stopped at is still waited for: `None` if there is none, or if it is this
    /// seat's own.
    pub(crate) fn left_of_wait(&self) -> Option<Duration> {
        self.reserved.and_then(|pending| self.reader.left_of_wait(pending))
    }

    /// Whether the next step gives up the reserved id that reading stopped at.
    pub(crate) fn gives_up(&self) -> bool {
        self.reserved.is_some_and(|pending| self.reader.gives_up(pending))
    }

    /// Whether the next step may find something new.
    pub(crate) fn has_news(&self) -> bool {
        if !self.undecided.is_empty() || self.put_off.is_some() {
            return true;
        }
        match self.reserved {
            Some(pending) => self.is_settled(pending.id),
            None => self.reader.has_ahead() || !self.publisher.seat.segment.ring().is_empty_at(self.reader.next()),
        }
    }

    fn is_settled(&self, id: u64) -> bool {
        !matches!(self.publisher.seat.segment.ring().look(id), Ok(Look::Reserved(_)))
    }

    /// Sleeps once, for at most `most`.
    fn nap(&self, most: Duration) {
        let segment = &self.publisher.seat.segment;
        match self.reserved {
            Some(Pending { id, .. }) => {
                let word = segment.wake_word(header_word!(wake_reserved));
                wake::nap(word, &SharedFutex, most.min(self.wait_interval), || self.is_settled(id));
            }
            None => {
                wake::nap(segment.wake_word(header_word!(wake)), &SharedFutex, most, || self.has_news());
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if self.publisher.check().is_err() {
            return;
        }
        // Claimed ahead and never handed over. They stay decided, but later events with their keys need not wait.
        let mut unrun = Vec::new();
        if self.has_put_off_claimed() {
            unrun.push(self.reader.current().claim());
        }
        unrun.extend(self.reader.take_claimed().map(|message| message.claim()));
        for claim in unrun.into_iter().flatten() {
            let seat = &mut self.publisher.seat;
            let _ = seat.claimer.release(claim.key, claim.token);
            seat.words.add(seat_word!(reading.orphaned), 1);
        }
        if let Some(label) = self.announces.take() {
            let _ = self.publisher.announce(library::STOPPING, &label);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("segment", &self.publisher.seat.segment.name())
            .field("seat", &self.seat())
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}

/// What a step found.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Step(Step),
    Undecided(u64, Undecided),
}

impl Found {
    /// Returns `true` at an id that another seat has reserved.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_reserved_by_another(&self) -> bool {
        matches!(self, Found::Step(Step::Pending(pending)) if !pending.is_own())
    }
}

fn delivery<'a>(found: Found, reader: &'a Reader, publisher: &Publisher) -> Option<Delivery<'a>> {
    Some(match found {
        Found::Undecided(id, reason) => Delivery::Undecided { id, reason },
        Found::Step(Step::Event) => Delivery::Event(event(reader.current(), publisher)?),
        Found::Step(Step::Lagged { first, missed }) => Delivery::Lagged { first, missed },
        Found::Step(Step::Unreadable { id }) => Delivery::Unreadable { id },
        Found::Step(Step::Pending(pending)) => Delivery::Reserved { id: pending.id, own: pending.is_own() },
        Found::Step(Step::Empty) => return None,
    })
}

/// The event of `message`. The gate has let through only names that are text.
fn event<'a>(message: &'a Message, publisher: &Publisher) -> Option<Event<'a>> {
    let head = &message.head;
    let source = str::from_utf8(head.source(&message.bytes)).ok()?;
    let event = str::from_utf8(head.event(&message.bytes)).ok()?;
    let seat = &publisher.seat;
    let origin = Origin::Posted {
        id: message.id,
        pid: head.pid,
        seat: head.seat,
        own: is_of_process(&seat.segment.seats(), head, seat.pid, seat.number),
        claim: message.claim(),
    };
    let data = Data::Bytes { type_tag: head.type_tag, bytes: message.payload() };
    Some(Event { source, event, origin, data })
}

struct PullGate<'a> {
    filter: Option<&'a [Wanted]>,
    claimer: &'a mut Claimer,
    undecided: &'a mut VecDeque<(u64, Undecided)>,
}

impl Gate for PullGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        let (source, event) = (head.source(prefix), head.event(prefix));
        let of = |wanted: &Wanted| {
            wanted.source.as_bytes() == source && wanted.event.as_ref().is_none_or(|name| name.as_bytes() == event)
        };
        match self.filter {
            Some(filter) => filter.iter().any(of),
            None => str::from_utf8(source).is_ok() && str::from_utf8(event).is_ok(),
        }
    }

    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>> {
        let reason = match self.claimer.claim(unique.key, unique.ttl_ns, Some(at))? {
            Decision::Won(token) => return Ok(Some(token)),
            Decision::Held { .. } | Decision::Decided => return Ok(None),
            Decision::Full => Undecided::ClaimsFull,
            Decision::Late => Undecided::Late,
        };
        self.undecided.push_back((at.place - 1, reason));
        Ok(None)
    }
}
