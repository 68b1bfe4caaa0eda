//! The posting half of a worker.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::handle::Worker;
use super::inner::Inner;
use crate::claim::Unique;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::event::wire::{Kept, UniqueKey};
use crate::event::{
    Event, EventBuilder, LocalData, LocalEvent, NoRoom, Payload, Requested, Sender, Sink, Special, Topic,
};
use crate::os::locks::lock;
use crate::seat::claim::{Claimer, hash_unique};
use crate::seat::options::WorkerOptions;
use crate::seat::post::{Posts, clear, forward, send_special};
use crate::seat::post_with::{send_buffered, send_filled};
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::publisher::Publisher;
use crate::seat::reservation::Reservation;
use crate::seat::retain::kept;

/// The size from which on a payload is produced in the private block: a smaller one is copied faster than the lock of
/// the writer is taken for each of its pieces.
const LEAST_IN_PLACE: usize = 4 << 10;

impl Worker {
    /// Posts an event to all workers, this one included. Returns its id.
    ///
    /// The event is visible when this returns. This calls no handlers: those of this worker run in its next
    /// [`poll`](Worker::poll). It waits only for workers that [must read](WorkerOptions::must_read), and only if it
    /// would overwrite what one of them has not read: for at most the greatest patience of these workers. A worker
    /// that must read does not wait itself, in a handler or elsewhere: it gets [`ErrorKind::Full`] at once, and has
    /// to poll first. [`try_post`](Worker::try_post) never waits.
    ///
    /// [`Publisher::post`] and [`Reservation::commit`] take the same arguments.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// seqcast::event_list! { mod cache = "cache" { STALE = "stale" } }
    ///
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.post(cache::STALE, "user:43")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`], [`ErrorKind::LibrarySource`], [`ErrorKind::PayloadTooLarge`], [`ErrorKind::Forked`],
    /// [`ErrorKind::Displaced`], [`ErrorKind::Left`]; [`ErrorKind::TypedTopic`], [`ErrorKind::TypedFormat`] and
    /// [`ErrorKind::Archive`] for a typed payload; [`ErrorKind::Full`] if this worker must read;
    /// [`ErrorKind::Corrupt`] and [`ErrorKind::Exhausted`] if the segment is. After an error no worker sees the event.
    #[inline]
    pub fn post<'a>(&self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Nothing, payload, NoRoom::Wait)
    }

    /// [`post`](Worker::post) that does not wait for workers that [must read](WorkerOptions::must_read).
    ///
    /// A thread that polls for one worker that must read and posts through another seat uses `try_post`: while `post`
    /// waits, that worker would not be polled.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::{Cause, WorkerOptions};
    ///
    /// let options = WorkerOptions::new().label("ledger").announce(false);
    /// let ledger = bus.join_with(&options.must_read(Duration::from_millis(600)))?;
    /// let worker = bus.join_with(&WorkerOptions::new().announce(false))?;
    /// for job in 0..8 {
    ///     worker.try_post(("job", "done"), job.to_string())?;
    /// }
    /// let full = worker.try_post(("job", "done"), "8").unwrap_err();
    /// let Cause::Full { reader, lag, .. } = full.cause() else { panic!("{full}") };
    /// assert_eq!((&*reader.label, *lag), ("ledger", 8));
    /// ledger.poll()?;
    /// worker.try_post(("job", "done"), "8")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post); and [`ErrorKind::Full`] instead of a wait.
    #[inline]
    pub fn try_post<'a>(&self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Nothing, payload, NoRoom::Refuse)
    }

    /// Posts an event whose payload, of `len` bytes, `fill` writes. Returns its id.
    ///
    /// A payload of 4 KiB or more is written to its place in the segment, as by
    /// [`Publisher::post_with`](crate::Publisher::post_with). `fill` may use this worker, and so may other threads: if
    /// one of them posts meanwhile, what was written is moved to a private buffer.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.post_with(("job", "done"), 8, |sink| {
    ///     sink.put(&7_u32.to_le_bytes())?;
    ///     sink.put(&[0; 4])
    /// })?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post); [`ErrorKind::Option`] if `fill` writes fewer bytes than `len`, or more,
    /// or ignores the error of a put; and the errors that `fill` returns. [`ErrorKind::Full`] without a wait, if a
    /// worker that must read joins during the post, and the payload is overwritten in its
    /// [large block](crate::SegmentOptions::large) before there is room for the event. After an error nothing was
    /// posted.
    pub fn post_with<'a>(
        &self,
        topic: impl Into<Topic<'a>>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.send_with(topic.into(), Special::Nothing, len, fill)
    }

    /// Has an event delivered on all hosts of the cluster, this one included, at one place in one order that all of
    /// them share. Returns the id of the request, which is posted here for this host's [relay](crate::relay).
    ///
    /// When this returns, no worker has the event. It comes back through the relay, and then has another id, an
    /// [`origin`](Event::origin) and a [`cluster_id`](Event::cluster_id). Until the engine between the hosts can be
    /// reached, it waits in the ring. If it is lost, every host is told: see [`on_missed`](Worker::on_missed).
    ///
    /// Use it for state, for which all hosts must see the same last value. A [`post`](Worker::post), which may also be
    /// sent to other hosts, reaches the workers of this host at once, but other hosts in another order.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use seqcast::ErrorKind;
    ///
    /// // No relay has been started.
    /// let refused = worker.post_cluster(("config", "changed"), "workers = 8").unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::NoRelay);
    /// # let relay = bus.relay(&seqcast::relay::RelayOptions::new())?;
    /// // Now one runs.
    /// worker.post_cluster(("config", "changed"), "workers = 8")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post); [`ErrorKind::NoRelay`] if no relay has been started on this host, or the last one has
    /// left. One that was killed counts as there: its successor sends the event.
    pub fn post_cluster<'a>(&self, topic: impl Into<Topic<'a>>, payload: impl Payload) -> Result<u64> {
        self.send(topic.into(), Special::Cluster(Requested::Plain), payload, NoRoom::Wait)
    }

    /// [`post_cluster`](Worker::post_cluster) of a unique event: at most one worker of all hosts runs it, and none runs
    /// a later one with the same key until the ttl ends. It is a worker of this host, unless another host has won the
    /// key.
    ///
    /// This holds as long as the engine between the hosts loses no data. Use it so that work is not done twice. To
    /// protect something that must not be done twice, pass [`Event::cluster_id`] to it as a fencing token.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # let relay = bus.relay(&seqcast::relay::RelayOptions::new())?;
    /// use std::time::Duration;
    /// use seqcast::Unique;
    ///
    /// let key = Unique::key("mail").ttl(Duration::from_secs(3600));
    /// worker.post_cluster_unique(("mail", "nightly"), key, "")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post_cluster`](Worker::post_cluster); [`ErrorKind::Option`] for an empty key or a ttl of zero.
    pub fn post_cluster_unique<'a>(
        &self,
        topic: impl Into<Topic<'a>>,
        unique: impl Into<Unique<'a>>,
        payload: impl Payload,
    ) -> Result<u64> {
        self.send(topic.into(), Special::Cluster(Requested::Unique(unique.into())), payload, NoRoom::Wait)
    }

    /// Posts an event that was read on another bus, with its topic, payload and type tag. Returns its id on this bus.
    ///
    /// A unique event, which comes with a [claim](Event::claim), is forwarded as a unique one. Events of one key on the
    /// other bus have one key on this bus, which is not the key of events that are posted here with the same text. The
    /// key is held for this worker's [`timeout`](WorkerOptions::timeout).
    ///
    /// A [retained](EventBuilder::retain) event is retained on this bus, too, under the same key and for what is left
    /// of its ttl.
    ///
    /// Nothing prevents loops: forward in one direction only, or different topics in the two directions. A
    /// [`Bridge`](crate::Bridge) carries everything in both.
    ///
    /// ```
    /// # let (old, new) = (seqcast::SegmentOptions::new().anonymous()?, seqcast::SegmentOptions::new().anonymous()?);
    /// let (from, to) = (old.join()?, new.join()?);
    /// let posted = new.next_id();
    /// from.on(("cache", "stale"), move |event| to.forward(event).map(drop))?;
    /// old.publisher()?.post(("cache", "stale"), "user:42")?;
    /// from.poll()?;
    /// assert_eq!(new.next_id(), posted + 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](Worker::post): [`ErrorKind::LibrarySource`] for an event of the library,
    /// [`ErrorKind::TypedFormat`] if the typed values of the two buses have different formats; and
    /// [`ErrorKind::Option`] for a local event whose value has no bytes, for one that clears what is retained, and for
    /// a retained one if this bus retains nothing; [`ErrorKind::RetainedFull`] as
    /// [`EventBuilder::post`](crate::EventBuilder::post). Post what cannot be forwarded as it is with
    /// [`post`](Worker::post).
    pub fn forward(&self, event: &Event<'_>) -> Result<u64> {
        forward(self, event)
    }

    /// Returns a builder for an event that is unique, or local: see [`EventBuilder`].
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("refresh", "users")).unique("users").post("")?;
    /// worker.event(("cache", "stale")).local("user:42")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn event<'a>(&'a self, topic: impl Into<Topic<'a>>) -> EventBuilder<'a, &'a Worker> {
        EventBuilder::new(self, topic.into())
    }

    /// Posts a value to this worker only. The value does not enter the segment. Handlers get the value itself, with
    /// [`Event::local`].
    ///
    /// A poll delivers local events before those of the segment. To post bytes or a typed value to this worker only,
    /// use [`EventBuilder::local`].
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::net::SocketAddr;
    ///
    /// worker.on(("upstream", "found"), |event| {
    ///     let upstream: Option<&SocketAddr> = event.local();
    ///     println!("{upstream:?}");
    /// })?;
    /// worker.post_local(("upstream", "found"), SocketAddr::from(([10, 0, 0, 7], 8080)))?;
    /// worker.poll()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`], [`ErrorKind::LibrarySource`], [`ErrorKind::Forked`], [`ErrorKind::Left`].
    pub fn post_local<'a, T: Any + Send + Sync>(&self, topic: impl Into<Topic<'a>>, value: T) -> Result<()> {
        self.inner.post_local(topic.into(), || Ok(LocalData::Value(Arc::new(value))))
    }

    /// Takes the next event id for an event whose payload is not known yet. See [`Reservation`].
    ///
    /// Readers that reach the id wait for the payload, for at most their [`wait_max`](WorkerOptions::wait_max). A
    /// worker holds at most one reservation: an earlier one is given up first.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let mut reservation = worker.reserve()?;
    /// let after = worker.post(("cache", "stale"), "user:42")?;
    /// let before = reservation.commit(("config", "changed"), "workers = 4")?;
    /// assert!(before < after, "the id was taken first");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`]; [`ErrorKind::Full`] if this worker must read, as for [`post`](Worker::post).
    pub fn reserve(&self) -> Result<Reservation<Worker>> {
        Reservation::take(self.clone(), NoRoom::Wait)
    }

    /// [`reserve`](Worker::reserve) that does not wait for workers that [must read](WorkerOptions::must_read).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.try_reserve()?.commit(("config", "changed"), "workers = 4")?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`reserve`](Worker::reserve); and [`ErrorKind::Full`] instead of a wait.
    pub fn try_reserve(&self) -> Result<Reservation<Worker>> {
        Reservation::take(self.clone(), NoRoom::Refuse)
    }

    /// Takes a further seat, for a thread that posts much: its posts take no lock. The seat has this worker's label and
    /// timeout.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// let mut publisher = worker.publisher()?;
    /// std::thread::spawn(move || publisher.post(("job", "done"), "7").map(drop)).join().unwrap()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoSeat`], [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`].
    pub fn publisher(&self) -> Result<Publisher> {
        self.inner.check()?;
        Publisher::join(&self.inner.segment, &self.options())
    }
}

impl Posts for &Worker {
    #[inline]
    fn check(&self) -> Result<()> {
        self.inner.check()
    }

    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
        hash_unique(self.inner.segment.unique_hash(), unique, || self.inner.options().timeout)
    }

    #[inline]
    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        run(&mut *self.inner.writer_for_next()?)
    }

    fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        self.inner.with_lender(run)
    }

    #[inline]
    fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R> {
        // In the order of `leave`.
        let mut writer = self.inner.writer_for_next()?;
        let mut claimer = self.inner.claimer.lock();
        run(&mut writer, &mut claimer)
    }

    fn wait_interval(&self) -> Duration {
        Duration::from_nanos(self.inner.tuning.wait_interval.load(Ordering::Relaxed))
    }

    fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
        kept(&self.inner.segment, topic, key, ttl_ns, clears)
    }

    fn timeout(&self) -> Duration {
        self.inner.options().timeout
    }
}

impl Posts for Worker {
    fn check(&self) -> Result<()> {
        Posts::check(&self)
    }

    fn unique_key(&self, unique: Unique<'_>) -> Result<UniqueKey> {
        (&self).unique_key(unique)
    }

    fn with_writer<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        (&mut &*self).with_writer(run)
    }

    fn with_lender<R>(&mut self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        self.inner.with_lender(run)
    }

    fn with_halves<R>(&mut self, run: impl FnOnce(&mut Writer, &mut Claimer) -> Result<R>) -> Result<R> {
        (&mut &*self).with_halves(run)
    }

    fn wait_interval(&self) -> Duration {
        (&self).wait_interval()
    }

    fn kept(&self, topic: Topic<'_>, key: &[u8], ttl_ns: u64, clears: bool) -> Result<Kept> {
        kept(&self.inner.segment, topic, key, ttl_ns, clears)
    }

    fn timeout(&self) -> Duration {
        self.inner.options().timeout
    }
}

impl Sender for &Worker {
    #[inline]
    fn send(self, topic: Topic<'_>, special: Special<'_>, payload: impl Payload, no_room: NoRoom) -> Result<u64> {
        send_special(self, topic, special, &payload, no_room, |id| self.inner.note_posted(id))
    }

    fn send_with(
        self,
        topic: Topic<'_>,
        special: Special<'_>,
        len: usize,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<()>,
    ) -> Result<u64> {
        self.inner.check()?;
        if len < LEAST_IN_PLACE {
            return send_buffered(self, topic, special, len, fill);
        }
        send_filled(self, self.inner.guard, topic, special, len, fill, |id| self.inner.note_posted(id))
    }

    fn clear(self, topic: Topic<'_>, key: &[u8], no_room: NoRoom) -> Result<Option<u64>> {
        clear(self, topic, key, no_room, |id| self.inner.note_posted(id))
    }
}

impl EventBuilder<'_, &Worker> {
    /// Posts the event to this worker only. It does not enter the segment.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// worker.on(("cache", "stale"), |event| assert!(event.is_local()))?;
    /// worker.event(("cache", "stale")).local("user:42")?;
    /// assert_eq!(worker.poll()?.delivered(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Worker::post_local`]; [`ErrorKind::TypedTopic`] and [`ErrorKind::Archive`] for a typed payload;
    /// [`ErrorKind::Option`] if `unique`, `ttl`, `retain` or `cluster` was called: a local event has only one reader,
    /// and never enters the segment.
    pub fn local(self, payload: impl Payload) -> Result<()> {
        if self.cluster {
            let rule = "a local event does not leave this worker: leave out .cluster";
            return Err(Error::option("cluster", "set", rule));
        }
        if self.retain.is_some() {
            let rule = "a local event never enters the segment, which retains it: leave out .retain";
            return Err(Error::option("retain", "set", rule));
        }
        if self.unique.is_some() || self.ttl.is_some() {
            return Err(Error::option(
                "unique",
                "set",
                "a local event has only one reader: leave out .unique and .ttl",
            ));
        }
        self.sender.inner.post_local(self.topic, || payload.into_local(self.topic))
    }
}

impl Inner {
    #[inline]
    fn note_posted(&self, id: u64) {
        if self.hot.polling.load(Ordering::Relaxed) != 0 {
            self.hot.first_own_post.fetch_min(id, Ordering::Relaxed);
        }
    }

    fn post_local(&self, topic: Topic<'_>, data: impl FnOnce() -> Result<LocalData>) -> Result<()> {
        topic.check_to_post()?;
        let data = data()?;
        // After `data`, which may run the application's code: it may have forked and returned in the child.
        self.check()?;
        let mut local = lock(&self.local);
        // Under the lock: a worker that leaves empties the queue once.
        self.check_seat()?;
        local.push_back(LocalEvent { source: topic.source().into(), event: topic.event().into(), data });
        // Release: a thread that sees the number finds the event.
        self.hot.local.store(local.len(), Ordering::Release);
        drop(local);
        self.wake_own();
        Ok(())
    }

    pub(super) fn announce(&self, writer: &mut Writer, options: &WorkerOptions, topic: Topic<'static>) -> Result<()> {
        if options.announce
            && let Some(id) = writer.post_if_room(&Outgoing::plain(topic, options.label.as_bytes()))?
        {
            self.note_posted(id);
        }
        Ok(())
    }
}
