//! A seat that only posts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claim::{Claim, ClaimOptions, Claimed, HeldKey, Unique};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::wire::{Kept, UniqueKey};
use crate::event::{Event, EventBuilder, NoRoom, Payload, Sender, Sink, Special, Topic};
use crate::protocol::retained::Table;
use crate::seat::Seat;
use crate::seat::claim::{Claimer, hash_unique};
use crate::seat::holding::held;
use crate::seat::options::WorkerOptions;
use crate::seat::post::{Posts, clear, forward, send_special};
use crate::seat::post_with::send_filled;
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::reservation::Reservation;
use crate::seat::retain::kept;
use crate::segment::Segment;
use crate::segment::unique_hash::Domain;

/// A seat that only posts, for one thread (`&mut self`): there is no lock around its posts. Dropping the publisher
/// frees the seat.
///
/// It posts as a [`Worker`](crate::Worker) does, and reads nothing. A [`Subscriber`](crate::Subscriber) has one as its
/// publishing half.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use std::time::Duration;
///
/// let mut publisher = bus.publisher()?;
/// publisher.post(("cache", "stale"), "user:42")?;
/// publisher.event(("refresh", "users")).unique("users").ttl(Duration::from_secs(10)).post("")?;
/// publisher.reserve()?.commit(("config", "changed"), "workers = 4")?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "a publisher frees its seat when it is dropped"]
pub struct Publisher {
    pub(super) seat: Seat,
    /// The table of retained events, if the segment has one.
    pub(super) table: Option<Table>,
    timeout: Duration,
    wait_interval: Duration,
}

impl Publisher {
    pub(crate) fn join(segment: &Arc<Segment>, options: &WorkerOptions) -> Result<Publisher> {
        options.check_to_join(segment)?;
        let mut seat = Seat::take(segment, &options.label)?;
        seat.tell_death(options)?;
        Ok(Publisher { seat, table: segment.table(), timeout: options.timeout, wait_interval: options.wait_interval })
    }

    /// Posts an event to all workers. Returns its id.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// let first = publisher.post(("cache", "stale"), "user:42")?;
    /// assert_eq!(publisher.post(("cache", "stale"), "user:43")?, first + 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::post`](crate::Worker::post).
    #[inline]
    pub fn post<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Nothing, payload, NoRoom::Wait)
    }

    /// [`post`](Publisher::post) that does not wait for workers that [must read](WorkerOptions::must_read), as
    /// [`Worker::try_post`](crate::Worker::try_post) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// use seqcast::ErrorKind;
    ///
    /// match publisher.try_post(("load", "is"), "17") {
    ///     Err(full) if full.kind() == ErrorKind::Full => println!("{full}: the next one will do"),
    ///     posted => println!("posted as {}", posted?),
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::try_post`](crate::Worker::try_post).
    #[inline]
    pub fn try_post<'a>(&mut self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Nothing, payload, NoRoom::Refuse)
    }

    /// Posts an event whose payload, of `len` bytes, `fill` writes to its place in the segment, without a copy. Returns
    /// its id.
    ///
    /// The place is this seat's private block, which no reader sees before `fill` has returned. A payload that does not
    /// fit in a block or a [large block](crate::SegmentOptions::large) is written to a private buffer, and posted in
    /// fragments. If `fill` fails, panics or is killed, nothing is posted, and the next event takes the block. In
    /// `fill` this publisher is borrowed; other handles can post.
    ///
    /// It saves the copy of a payload that is in large pieces, or is large. Many small pieces take longer to put than
    /// one copy of them.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().block_size(4096).anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// let pixels = (0..3000_u32).map(|i| i as u8);
    /// publisher.post_with(("frame", "new"), 3004, |sink| {
    ///     sink.put(&7_u32.to_le_bytes())?;
    ///     pixels.into_iter().try_for_each(|pixel| sink.put(&[pixel]))
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Publisher::post); [`ErrorKind::Option`] if `fill` writes fewer bytes than `len`, or more,
    /// or ignores the error of a put; and the errors that `fill` returns. [`ErrorKind::Full`] without a wait, if a
    /// worker that must read joins during the post, and the payload is overwritten in its
    /// [large block](crate::SegmentOptions::large) before there is room for the event. After an error nothing was
    /// posted.
    pub fn post_with<'a>(
        &mut self,
        topic: impl Into<Topic<'a>>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.send_with(topic.into(), Special::Nothing, len, fill)
    }

    /// Posts an event that was read on another bus, as [`Worker::forward`](crate::Worker::forward) does.
    ///
    /// ```
    /// # let (old, new) = (seqcast::SegmentOptions::new().anonymous()?, seqcast::SegmentOptions::new().anonymous()?);
    /// use seqcast::Delivery;
    ///
    /// let (mut from, mut to) = (old.subscribe()?, new.publisher()?);
    /// from.only([("cache", "stale")])?;
    /// old.publisher()?.post(("cache", "stale"), "user:42")?;
    /// while let Some(delivery) = from.try_next()? {
    ///     if let Delivery::Event(event) = delivery {
    ///         to.forward(&event)?;
    ///     }
    /// }
    /// assert_eq!(new.next_id(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::forward`](crate::Worker::forward).
    pub fn forward(&mut self, event: &Event<'_>) -> Result<u64> {
        forward(self, event)
    }

    /// Begins an event that has more than a topic and a payload: see [`EventBuilder`].
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// publisher.event(("refresh", "users")).unique("users").post("")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn event<'a>(&'a mut self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a mut Publisher> {
        EventBuilder::new(self, topic.into())
    }

    /// Takes the next event id for an event whose payload is not known yet, as
    /// [`Worker::reserve`](crate::Worker::reserve) does.
    ///
    /// The reservation borrows the publisher, and [`Reservation::publisher`] lends it. [`Reservation::keep`] ends the
    /// borrow and leaves the id reserved.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// let mut reservation = publisher.reserve()?;
    /// reservation.commit(("config", "changed"), "workers = 4")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::reserve`](crate::Worker::reserve).
    pub fn reserve(&mut self) -> Result<Reservation<&mut Publisher>> {
        Reservation::take(self, NoRoom::Wait)
    }

    /// [`reserve`](Publisher::reserve) that does not wait for workers that [must read](WorkerOptions::must_read).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// publisher.try_reserve()?.commit(("config", "changed"), "workers = 4")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`reserve`](Publisher::reserve); and [`ErrorKind::Full`] instead of a wait.
    pub fn try_reserve(&mut self) -> Result<Reservation<&mut Publisher>> {
        Reservation::take(self, NoRoom::Refuse)
    }

    /// Returns the reservation that this seat has [kept](Reservation::keep), or `None`. Dropping the returned
    /// reservation gives the id up.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    ///
    /// let mut subscriber = bus.subscribe()?;
    /// subscriber.publisher().reserve()?.keep();
    /// // ... read what comes meanwhile ...
    /// subscriber.next(Duration::ZERO)?;
    /// if let Some(mut reservation) = subscriber.publisher().reserved()? {
    ///     reservation.commit(("config", "changed"), "workers = 4")?;
    /// }
    /// assert!(subscriber.publisher().reserved()?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`].
    pub fn reserved(&mut self) -> Result<Option<Reservation<&mut Publisher>>> {
        Reservation::held(self)
    }

    /// Claims `key` among all workers for `ttl`, as [`Worker::claim`](crate::Worker::claim) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// if publisher.claim("nightly-mail", Duration::from_secs(3600))?.won().is_some() {
    ///     println!("send it");
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::claim`](crate::Worker::claim).
    pub fn claim(&mut self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claimed> {
        self.claim_with(key, &ClaimOptions::new(ttl))
    }

    /// [`claim`](Publisher::claim) with options, as [`Worker::claim_with`](crate::Worker::claim_with).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// use seqcast::ClaimOptions;
    ///
    /// let options = ClaimOptions::new(Duration::from_secs(60)).ends_with_holder(true);
    /// let claim = publisher.claim_with("nightly-mail", &options)?.won().expect("no other process is here");
    /// drop(publisher); // and with it the claim ends
    /// assert!(bus.held("nightly-mail")?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::claim_with`](crate::Worker::claim_with).
    pub fn claim_with(&mut self, key: impl AsRef<[u8]>, options: &ClaimOptions) -> Result<Claimed> {
        let key = key.as_ref();
        self.check()?;
        self.seat.claimer.claim_alone(key, options)
    }

    /// Holds the key of a claim for `ttl` from now on, as [`Worker::renew`](crate::Worker::renew) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// let claim = publisher.claim("nightly-mail", Duration::from_secs(60))?.won().expect("no other process is here");
    /// publisher.renew(&claim, Duration::from_secs(60))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::renew`](crate::Worker::renew).
    pub fn renew(&mut self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.check()?;
        self.seat.claimer.renew(claim, ttl)
    }

    /// Completes a claim: its key stays held for `ttl`, as with [`Worker::complete`](crate::Worker::complete).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// # use seqcast::ClaimOptions;
    /// let options = ClaimOptions::new(Duration::from_secs(60)).ends_with_holder(true);
    /// let claim = publisher.claim_with("nightly-mail", &options)?.won().expect("no other process is here");
    /// publisher.complete(&claim, Duration::from_secs(3600))?;
    /// drop(publisher);
    /// assert!(bus.held("nightly-mail")?.is_some());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::complete`](crate::Worker::complete).
    pub fn complete(&mut self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.check()?;
        self.seat.claimer.complete(claim, ttl)
    }

    /// Returns how long a claim is still held, as [`Worker::left`](crate::Worker::left) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// let claim = publisher.claim("nightly-mail", Duration::from_secs(60))?.won().expect("no other process is here");
    /// assert!(publisher.left(&claim)? > Duration::ZERO);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::left`](crate::Worker::left).
    pub fn left(&mut self, claim: &Claim) -> Result<Duration> {
        self.check()?;
        self.seat.claimer.left(claim)
    }

    /// Looks up a key without claiming it, as [`Bus::held`](crate::Bus::held) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let publisher = bus.publisher()?;
    /// assert!(publisher.held("nightly-mail")?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::held`](crate::Worker::held).
    pub fn held(&self, key: impl AsRef<[u8]>) -> Result<Option<HeldKey>> {
        let key = key.as_ref();
        self.check()?;
        held(&self.seat.segment, Domain::Alone, key)
    }

    /// Ends a claim before its ttl does. Returns `false` if it had already ended.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// # use std::time::Duration;
    /// let claim = publisher.claim("nightly-mail", Duration::from_secs(3600))?.won().expect("it is free");
    /// assert!(publisher.release(&claim)?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::release`](crate::Worker::release).
    pub fn release(&mut self, claim: &Claim) -> Result<bool> {
        self.check()?;
        self.seat.claimer.release(claim)
    }

    /// Returns the number of this publisher's seat.
    pub fn seat(&self) -> u32 {
        u32::from(self.seat.number)
    }

    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        self.seat.check()
    }

    /// Posts an event of the library itself, if there is room.
    pub(super) fn announce(&mut self, topic: Topic<'static>, label: &str) -> Result<()> {
        self.seat.writer.post_if_room(&Outgoing::plain(topic, label.as_bytes())).map(drop)
    }
}

impl Posts for Publisher {
    #[inline]
    fn check(&self) -> Result<()> {
        self.seat.check()
    }

    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
        hash_unique(self.seat.segment.unique_hash(), unique, || self.timeout)
    }

    #[inline]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        self.seat.check()?;
        run(&mut self.seat.writer)
    }

    fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        self.with_writer(run)
    }

    #[inline]
    fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R> {
        self.seat.check()?;
        run(&mut self.seat.writer, &mut self.seat.claimer)
    }

    fn wait_interval(&self) -> Duration {
        self.wait_interval
    }

    fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
        kept(&self.seat.segment, topic, key, ttl_ns, clears)
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl Sender for &mut Publisher {
    #[inline]
    fn send(self, topic: Topic<'_>, special: Special<'_>, payload: impl Payload, no_room: NoRoom) -> Result<u64> {
        send_special(self, topic, special, &payload, no_room, |_| {})
    }

    fn send_with(
        self,
        topic: Topic<'_>,
        special: Special<'_>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        let guard = self.seat.guard;
        send_filled(self, guard, topic, special, len, fill, |_| {})
    }

    fn clear(self, topic: Topic<'_>, key: &[u8], no_room: NoRoom) -> Result<Option<u64>> {
        clear(self, topic, key, no_room, |_| {})
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Gives up a reservation that was kept. Otherwise readers would notice only after a sleep that the seat is
        // free.
        if self.seat.check().is_ok() {
            let _ = self.seat.writer.abandon();
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("segment", &self.seat.segment.name())
            .field("seat", &self.seat.number)
            .finish_non_exhaustive()
    }
}
