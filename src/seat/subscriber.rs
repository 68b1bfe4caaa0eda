//! A seat that is read by calls, without handlers.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::{Content, Event, Home, Scope, Topic, library};
use crate::identity::Position;
use crate::os::futex::SharedFutex;
use crate::protocol::ring::Look;
use crate::protocol::wake;
use crate::protocol::word::Mark;
use crate::seat::delivery::{Delivery, Undecided};
use crate::seat::filter::{Filter, PullGate, Visitor};
use crate::seat::must::MustRead;
use crate::seat::options::{Begin, WorkerOptions};
use crate::seat::publisher::Publisher;
use crate::seat::read::{Message, Pending, Reader, Step};
use crate::seat::visit::VisitedBy;
use crate::seat::{Seat, is_of_process};
use crate::segment::Segment;
use crate::segment::layout::{header_word, seat_word};
use crate::sync::Words;

/// A seat that the caller reads one event at a time, without handlers, threads or callbacks.
///
/// A subscriber is used by one thread at a time (`&mut self`). Event loops, async runtimes and bindings for other
/// languages build on it. For handlers, use a [`Worker`](crate::Worker). A subscriber takes part in unique events: if
/// an event has a [claim](Event::claim), this seat runs it and no other seat does.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
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
    pub(super) publisher: Publisher,
    pub(super) reader: Reader,
    announces: Option<String>,
    wait_interval: Duration,
    pub(super) filter: Filter,
    /// Unique events that this seat could not decide, in order.
    undecided: VecDeque<(u64, Undecided)>,
    /// A step that was taken and is returned after the undecided events.
    pub(super) put_off: Option<Step>,
    /// The reserved id that reading stopped at.
    reserved: Option<Pending>,
    /// The mark of the id at which a step found nothing last, or [`Mark::NONE`]. Once the id is taken, it is no longer
    /// empty by this mark.
    empty_at: Mark,
    /// The result of an [`Advance::Other`].
    other: Option<Found>,
    /// The seats of all workers, to distinguish processes with the same pid.
    seats: Words,
}

impl Subscriber {
    pub(crate) fn join(segment: &Arc<Segment>, options: &WorkerOptions) -> Result<Subscriber> {
        let publisher = Publisher::join(segment, options)?;
        // Before the look at the ring: from the next id on, posts wait for this seat.
        let must = options.must_read_ns().map(|ns| MustRead::join(segment, publisher.seat.number, ns, None));
        let begin = options.start.begin(segment)?;
        let mut subscriber = Subscriber::of(publisher, options, begin, must);
        subscriber.announces = options.announce.then(|| options.label.clone());
        if let Some(label) = &subscriber.announces {
            subscriber.publisher.announce(library::STARTED, label)?;
        }
        Ok(subscriber)
    }

    /// Returns a subscriber on the seat of `publisher` that begins to read at `begin`, and announces nothing.
    pub(super) fn of(
        publisher: Publisher,
        options: &WorkerOptions,
        begin: Begin,
        must: Option<MustRead>,
    ) -> Subscriber {
        let seat = &publisher.seat;
        let mut reader =
            Reader::new(Arc::clone(&seat.segment), seat.words.clone(), seat.number, seat.clock, begin, must);
        reader.set_wait_max(u64::try_from(options.wait_max.as_nanos()).unwrap_or(u64::MAX));
        reader.set_resync(options.resync);
        let seats = seat.segment.seats();
        Subscriber {
            publisher,
            reader,
            announces: None,
            wait_interval: options.wait_interval,
            filter: Filter::all(),
            undecided: VecDeque::new(),
            put_off: None,
            reserved: None,
            empty_at: Mark::NONE,
            other: None,
            seats,
        }
    }

    /// Delivers only events of `topics` from now on. Payloads of other events are not copied, and other unique events
    /// are left to other seats. An empty list delivers no events. Events that were already read ahead, beyond a
    /// reserved id, are not affected.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// # let mut publisher = bus.publisher()?;
    /// use std::time::Duration;
    ///
    /// subscriber.only([("cache", "stale"), ("cache", "full")])?;
    /// publisher.post(("job", "done"), "7")?;
    /// let id = publisher.post(("cache", "full"), "")?;
    /// let delivery = subscriber.next(Duration::ZERO)?.expect("an event");
    /// assert_eq!(delivery.id(), id);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`] if a name is not valid. The filter is then unchanged.
    pub fn only<'t>(&mut self, topics: impl IntoIterator<Item = impl Into<Topic<'t>>>) -> Result<()> {
        self.filter = Filter::topics(topics)?;
        Ok(())
    }

    /// Delivers only events of `sources` from now on, like [`only`](Subscriber::only).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// subscriber.only_sources(["cache", "health"])?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`only`](Subscriber::only).
    pub fn only_sources<S: AsRef<str>>(&mut self, sources: impl IntoIterator<Item = S>) -> Result<()> {
        self.filter = Filter::sources(sources)?;
        Ok(())
    }

    /// Delivers only events of `scopes` from now on, like [`only`](Subscriber::only): of whole sources and single
    /// events, mixed. With [`Scope::All`] it delivers everything, as a new subscriber does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// use seqcast::Scope;
    ///
    /// subscriber.only_scopes([Scope::source("health"), Scope::events("cache", ["stale", "full"])])?;
    /// subscriber.only_scopes([Scope::All])?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`only`](Subscriber::only).
    pub fn only_scopes(&mut self, scopes: impl IntoIterator<Item = impl Into<Scope>>) -> Result<()> {
        self.filter = Filter::scopes(scopes)?;
        Ok(())
    }

    /// Changes [`WorkerOptions::wait_max`] of this seat. The new value also applies to a wait that has begun.
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

    /// Returns the next delivery, or `None` if there is nothing new. Never sleeps. After many events in a row, it may
    /// wait for some microseconds for the next ones.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// # bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// use seqcast::Delivery;
    ///
    /// while let Some(delivery) = subscriber.try_next()? {
    ///     match delivery {
    ///         Delivery::Event(event) => println!("{event:?}"),
    ///         Delivery::Lagged { missed, .. } => println!("missed {missed}"),
    ///         Delivery::Reserved { .. } => break, // it would come again and again: wait, or do something else
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    // Always: the event is made where it is used. Moving one right after it was written stalls the processor, and it
    // would be moved four times.
    #[inline(always)]
    pub fn try_next(&mut self) -> Result<Option<Delivery<'_>>> {
        let advance = self.advance(None)?;
        Ok(self.delivery_after(&advance))
    }

    /// Returns the next delivery. If there is nothing new, waits for at most `timeout` and then returns `None`. At a
    /// reserved id, waits for the payload. Returns [`Delivery::Reserved`] only if `timeout` ends during that wait, or
    /// if this seat has reserved the id itself.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// # bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// # let second = Duration::ZERO;
    /// while let Some(delivery) = subscriber.next(second)? {
    ///     println!("{delivery:?}");
    /// }
    /// println!("nothing for a second");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_next`](Subscriber::try_next).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Delivery<'_>>> {
        let advance = self.advance_or_wait(timeout, &mut |subscriber| subscriber.advance(None))?;
        Ok(self.delivery_after(&advance))
    }

    /// Takes steps with `step` until there is one to return, for at most `timeout`.
    #[inline]
    pub(super) fn advance_or_wait(&mut self, timeout: Duration, step: &mut TakeStep<'_>) -> Result<Advance> {
        let advance = step(self)?;
        if timeout.is_zero() || !self.may_wait_after(&advance) {
            return Ok(advance);
        }
        self.wait_and_advance(timeout, step)
    }

    fn wait_and_advance(&mut self, timeout: Duration, step: &mut TakeStep<'_>) -> Result<Advance> {
        // A timeout beyond the range of the clock never ends.
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        loop {
            self.other = None;
            self.nap(left);
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            let advance = step(self)?;
            if left.is_zero() || !self.may_wait_after(&advance) {
                return Ok(advance);
            }
        }
    }

    /// Returns `true` if there is nothing to return yet: nothing new, or an id that another seat has reserved.
    #[inline]
    fn may_wait_after(&self, advance: &Advance) -> bool {
        match advance {
            Advance::Nothing => true,
            Advance::Event => false,
            Advance::Other => {
                matches!(self.other, Some(Found::Step(Step::Pending(Pending { since_ns: Some(_), .. }))))
            }
        }
    }

    /// Sleeps until [`try_next`](Subscriber::try_next) may return something else than before, for at most `timeout`.
    /// Returns `true` if there is something new.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// # while let Some(_) = subscriber.try_next()? {}
    /// use std::time::Duration;
    ///
    /// assert!(!subscriber.wait(Duration::from_millis(1))?);
    /// bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// assert!(subscriber.wait(Duration::from_secs(60))?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`].
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        self.publisher.check()?;
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        while !self.has_news() && !left.is_zero() {
            self.nap(left);
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            if self.reserved.is_some() {
                // The reserver may be dead or too slow. The next read checks that and gives the id up.
                break;
            }
        }
        Ok(self.has_news())
    }

    /// Returns the publishing half of this seat, to post, to reserve and to claim.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// let id = subscriber.publisher().post(("cache", "stale"), "user:42")?;
    /// assert_eq!(bus.next_id(), id + 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn publisher(&mut self) -> &mut Publisher {
        &mut self.publisher
    }

    /// Calls `run` with each available delivery and with the publishing half, until there is nothing new or the next id
    /// is reserved. Returns the number of deliveries.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
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
    /// As [`try_next`](Subscriber::try_next), and the errors that `run` returns. The remaining deliveries come with the
    /// next call.
    pub fn drain(&mut self, mut run: impl FnMut(Delivery<'_>, &mut Publisher) -> Result<()>) -> Result<u64> {
        let mut count = 0;
        while let Some(found) = self.step()? {
            let is_reserved = matches!(found, Found::Step(Step::Pending(_)));
            let Subscriber { publisher, reader, seats, .. } = self;
            if let Some(delivery) = delivery(found, reader, publisher, seats) {
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
            Some(Step::Event) if !self.reader.current().handed_over => self.reader.current().id,
            Some(Step::Lagged { first: id, .. } | Step::Gap { id } | Step::Unreadable { id }) => id,
            Some(_) | None => self.reader.cursor(),
        };
        // An undecided event may have been read ahead of a reserved id.
        self.undecided.front().map_or(read, |&(id, _)| id.min(read))
    }

    /// Returns the position that this subscriber has reached. A subscriber that joins with
    /// [`Start::Resume`](crate::Start::Resume) continues there.
    ///
    /// The position is after the last delivery: store it when that delivery is handled. While this subscriber is being
    /// [brought up to date](WorkerOptions::resync), the position is the one at the beginning.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// let options = WorkerOptions::new().announce(false);
    /// let position = bus.subscribe_with(&options)?.position();
    /// let id = bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// let mut subscriber = bus.subscribe_with(&options.start(Start::Resume(position)))?;
    /// assert_eq!(subscriber.next(Duration::ZERO)?.map(|delivery| delivery.id()), Some(id));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn position(&self) -> Position {
        let handled_below = self.cursor().min(self.reader.handled_below());
        Position::before(self.publisher.seat.segment.id(), handled_below)
    }

    /// Returns the number of this subscriber's seat.
    pub fn seat(&self) -> u32 {
        self.publisher.seat()
    }

    /// Leaves the bus: posts [`STOPPING`](library::STOPPING) and frees the seat.
    ///
    /// `run` gets the unique events that this seat has already claimed while it waited for a reserved id: no other seat
    /// will run them. If a subscriber is dropped instead, they do not run, and their keys are released.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// subscriber.leave(|event| println!("{event:?}"))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Publisher::post`].
    pub fn leave(mut self, mut run: impl FnMut(Event<'_>)) -> Result<()> {
        self.publisher.check()?;
        if self.has_put_off_claimed()
            && let Some(event) = event(&self.reader, self.reader.current(), &self.publisher, &self.seats)
        {
            run(event);
        }
        // Do not deliver it again if a later step fails.
        self.put_off = None;
        let claimed: Vec<Message> = self.reader.take_claimed().collect();
        for message in &claimed {
            // `run` may fork and return in the child, which does not own these events.
            self.publisher.check()?;
            if let Some(event) = event(&self.reader, message, &self.publisher, &self.seats) {
                run(event);
            }
        }
        self.publisher.check()?;
        match self.announces.take() {
            Some(label) => self.publisher.announce(library::STOPPING, &label),
            None => Ok(()),
        }
    }

    /// Takes the next step that is to be returned.
    #[inline]
    pub(crate) fn step(&mut self) -> Result<Option<Found>> {
        let advance = self.advance(None)?;
        Ok(self.found(&advance))
    }

    /// Returns what a step has found.
    pub(super) fn found(&mut self, advance: &Advance) -> Option<Found> {
        match advance {
            Advance::Nothing => None,
            Advance::Event => Some(Found::Step(Step::Event)),
            Advance::Other => self.other.take(),
        }
    }

    /// Takes a step. `visitor` visits the payload of the event in place, if that is possible.
    ///
    /// What it returns fits into registers: moving a step right after it was written stalls the processor.
    #[inline]
    pub(super) fn advance(&mut self, visitor: Option<&mut Visitor<'_>>) -> Result<Advance> {
        if self.is_idle()? { Ok(Advance::Nothing) } else { self.advance_to_news(visitor) }
    }

    /// Returns `true` if a step would find nothing. It costs only a few loads, and most steps do nothing else.
    #[inline]
    fn is_idle(&self) -> Result<bool> {
        self.publisher.check()?;
        Ok(self.reader.is_empty_by(self.empty_at))
    }

    #[inline(never)]
    fn advance_to_news(&mut self, visitor: Option<&mut Visitor<'_>>) -> Result<Advance> {
        self.reserved = None;
        if self.put_off.is_some() {
            return self.advance_to_put_off();
        }
        let step = self.read(visitor);
        if matches!(step, Ok(Step::Event)) && self.undecided.is_empty() && !self.reader.current().head.clears() {
            self.publisher.seat.words.add(seat_word!(reading.delivered), 1);
            return Ok(Advance::Event);
        }
        self.advance_by(step?)
    }

    #[cold]
    fn advance_to_put_off(&mut self) -> Result<Advance> {
        self.put_off.take().map_or(Ok(Advance::Nothing), |step| self.advance_by(step))
    }

    /// Advances by `step`, or to an undecided event before it.
    #[inline(never)]
    fn advance_by(&mut self, step: Step) -> Result<Advance> {
        if let Some((id, reason)) = self.undecided.pop_front() {
            // A step that may change in the meantime is taken again.
            self.put_off = (!matches!(step, Step::Empty | Step::Pending(_))).then_some(step);
            self.other = Some(Found::Undecided(id, reason));
            return Ok(Advance::Other);
        }
        match step {
            Step::Empty => {
                self.empty_at = self.reader.mark_empty();
                return Ok(Advance::Nothing);
            }
            Step::Event => self.publisher.seat.words.add(seat_word!(reading.delivered), 1),
            Step::Pending(pending) => self.reserved = Some(pending),
            _ => {}
        }
        self.other = Some(Found::Step(step));
        Ok(Advance::Other)
    }

    #[inline]
    fn read(&mut self, visitor: Option<&mut Visitor<'_>>) -> Result<Step> {
        let Publisher { seat, .. } = &mut self.publisher;
        let Seat { segment, guard, pid, number, claimer, writer, .. } = seat;
        let reader = VisitedBy { segment, guard, pid: *pid, seat: *number };
        let Subscriber { filter, undecided, .. } = self;
        let mut gate = PullGate { filter, claimer, writer, undecided, reader, visitor };
        let step = self.reader.read(&mut gate);
        // Also after an error. A post begins its search for an id there.
        self.publisher.seat.writer.know(self.reader.next());
        step
    }

    /// Returns `true` if the step that was put off is an event that this seat has claimed.
    fn has_put_off_claimed(&self) -> bool {
        matches!(self.put_off, Some(Step::Event)) && self.reader.current().claim.is_some()
    }

    pub(super) fn delivery(&self, found: Found) -> Option<Delivery<'_>> {
        delivery(found, &self.reader, &self.publisher, &self.seats)
    }

    /// Returns the delivery of what a step has found.
    // Always: see `try_next`.
    #[inline(always)]
    fn delivery_after(&mut self, advance: &Advance) -> Option<Delivery<'_>> {
        match advance {
            Advance::Nothing => None,
            Advance::Event => {
                event(&self.reader, self.reader.current(), &self.publisher, &self.seats).map(Delivery::Event)
            }
            Advance::Other => self.other_delivery(),
        }
    }

    #[cold]
    fn other_delivery(&mut self) -> Option<Delivery<'_>> {
        let found = self.other.take()?;
        self.delivery(found)
    }

    /// Returns the place at which reading stopped, or [`Mark::NONE`] if there is more to read.
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

    /// Returns an error if the seat is no longer the calling process's.
    pub(crate) fn check(&self) -> Result<()> {
        self.publisher.check()
    }

    /// Returns how much of the wait for a reserved id is left. Returns `None` if there is no such wait, or if this seat
    /// has reserved the id itself.
    pub(crate) fn left_of_wait(&self) -> Option<Duration> {
        self.reserved.and_then(|pending| self.reader.left_of_wait(pending))
    }

    /// Returns `true` if the next step gives up the reserved id that reading stopped at.
    pub(crate) fn gives_up(&self) -> bool {
        self.reserved.is_some_and(|pending| self.reader.gives_up(pending))
    }

    /// Returns `true` if the next step may find something new.
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
        // Events that were claimed ahead and never delivered stay decided. Their keys are free for later events.
        let mut unrun = Vec::new();
        if self.has_put_off_claimed() {
            unrun.push(self.reader.current().claim);
        }
        unrun.extend(self.reader.take_claimed().map(|message| message.claim));
        for claim in unrun.into_iter().flatten() {
            let seat = &mut self.publisher.seat;
            let _ = seat.claimer.release(&claim);
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

/// What a step has found.
pub(super) enum Advance {
    Nothing,
    /// The event that the reader has, which clears nothing.
    Event,
    /// [`Subscriber::other`].
    Other,
}

/// Takes a step.
pub(super) type TakeStep<'a> = dyn FnMut(&mut Subscriber) -> Result<Advance> + 'a;

/// The result of a step.
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

fn delivery<'a>(found: Found, reader: &'a Reader, publisher: &Publisher, seats: &Words) -> Option<Delivery<'a>> {
    Some(match found {
        Found::Undecided(id, reason) => Delivery::Undecided { id, reason },
        Found::Step(Step::Event) if reader.current().head.clears() => {
            Delivery::Cleared(event(reader, reader.current(), publisher, seats)?)
        }
        Found::Step(Step::Event) => Delivery::Event(event(reader, reader.current(), publisher, seats)?),
        Found::Step(Step::Reset { to }) => Delivery::Reset { id: to },
        Found::Step(Step::UpToDate { to }) => Delivery::UpToDate { id: to },
        Found::Step(Step::Lagged { first, missed, cut_off }) => Delivery::Lagged { first, missed, cut_off },
        Found::Step(Step::Gap { .. }) => Delivery::Missed(reader.gap()),
        Found::Step(Step::Unreadable { id }) => Delivery::Unreadable { id },
        Found::Step(Step::Pending(pending)) => Delivery::Reserved { id: pending.id, own: pending.is_own() },
        Found::Step(Step::Empty) => return None,
    })
}

/// Returns the event of `message`. The gate lets only UTF-8 names through.
#[inline(always)]
fn event<'a>(reader: &'a Reader, message: &'a Message, publisher: &Publisher, seats: &Words) -> Option<Event<'a>> {
    let head = &message.head;
    let [source, event] = head.texts(&message.bytes)?;
    let seat = &publisher.seat;
    let own = is_of_process(seats, head, seat.pid, seat.number);
    Some(Event { source, event, content: Content::Posted(message.posted(Home::Segment(reader.segment()), own)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn a_post_begins_its_search_where_the_seat_has_read_to() {
        let segment = Arc::new(Segment::anonymous(&SegmentOptions::new().capacity(64).seats(4)).unwrap());
        let options = WorkerOptions::new().announce(false);
        let mut subscriber = Subscriber::join(&segment, &options).unwrap();
        let mut other = Publisher::join(&segment, &options).unwrap();
        for posted in 1..=20 {
            other.post(("s", "e"), "").unwrap();
            let is_event = matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_)));
            let known = subscriber.publisher.seat.writer.hand.known();
            assert_eq!((is_event, known), (true, posted), "the next post looks at {known} first");
        }
    }
}
