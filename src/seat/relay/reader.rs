//! The half of a relay that reads what goes to other hosts.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::event::wire::{Head, UniqueKey};
use crate::event::{Data, library};
use crate::identity::{BusId, Origin};
use crate::os::clock::HostClock;
use crate::os::futex::SharedFutex;
use crate::protocol::bucket::{At, Token};
use crate::protocol::ring::{Look, Ring};
use crate::protocol::wake;
use crate::seat::options::Begin;
use crate::seat::read::{Gate, Message, Pending, Reader, Step};
use crate::seat::relay::travel::{Kept, Outgoing, OutgoingEvent, OutgoingKind, OutgoingUnique};
use crate::seat::relay::{RelayHold, beat};
use crate::seat::words::SeatWords;
use crate::segment::layout::{header_word, relay_word, seat_word};

/// The sleep between two looks at a reserved id whose reserver may be dead.
const RESERVED_NAP: Duration = Duration::from_millis(10);

type Wanted = Box<dyn Fn(&str) -> bool + Send>;

/// The half of a relay that reads what goes to other hosts: see [`Relay::split`](crate::relay::Relay::split).
///
/// It reads the events of this host in order, and the requests that [`post_cluster`](crate::Worker::post_cluster)
/// makes. It claims no unique events. It does not see what a relay has posted, or what the library posts.
///
/// ```
/// use std::time::Duration;
/// use seqcast::relay::{Outgoing, RelayOptions};
///
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let (mut reader, _poster) = bus.relay(&RelayOptions::new())?.split();
/// reader.select(|source| source == "cache");
/// bus.publisher()?.post(("cache", "stale"), "user:42")?;
/// while reader.wait(Duration::ZERO)? {
///     match reader.try_next()? {
///         Some(Outgoing::Event(event)) => println!("send {event:?}"),
///         Some(Outgoing::Missed { last, count, .. }) => println!("send that {count} events up to {last} are lost"),
///         _ => {}
///     }
/// }
/// reader.set_sent(bus.next_id());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "a relay whose halves are dropped leaves the segment"]
pub struct RelayReader {
    reader: Reader,
    wanted: Wanted,
    /// The reserved id that reading stopped at.
    reserved: Option<Pending>,
    ring: Ring,
    words: SeatWords,
    clock: HostClock,
    wait_max_ns: u64,
    /// Dropped last: it frees the seat.
    hold: Arc<RelayHold>,
}

impl RelayReader {
    pub(super) fn new(
        hold: Arc<RelayHold>,
        words: SeatWords,
        clock: HostClock,
        wait_max: Duration,
    ) -> Result<RelayReader> {
        let ring = hold.segment.ring();
        let wait_max_ns = u64::try_from(wait_max.as_nanos()).unwrap_or(u64::MAX);
        let begin = Begin { first: ring.newest(), gathers: false, with_retained: false };
        let reader = reader_at(&hold, &words, clock, wait_max_ns, begin);
        Ok(RelayReader { reader, wanted: Box::new(|_| true), reserved: None, ring, words, clock, wait_max_ns, hold })
    }

    /// Reads from the event id `next` on. Fragments before it are gathered for events that end at it or later, if the
    /// ring still holds them. Ids that it does not hold any more are missed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotYet`] if `next` is greater than the next id to be posted; [`ErrorKind::Forked`],
    /// [`ErrorKind::Displaced`].
    pub fn seek(&mut self, next: u64) -> Result<()> {
        self.hold.check()?;
        let newest = self.ring.newest();
        if next > newest {
            return Err(Error::from(Cause::NotYet { id: next, next: newest }));
        }
        let begin = Begin { first: next, gathers: true, with_retained: false };
        self.reader = reader_at(&self.hold, &self.words, self.clock, self.wait_max_ns, begin);
        self.reserved = None;
        Ok(())
    }

    /// Returns only events of sources for which `wanted` returns `true`, from now on. Requests are always returned. A
    /// new relay returns all.
    pub fn select(&mut self, wanted: impl Fn(&str) -> bool + Send + 'static) {
        self.wanted = Box::new(wanted);
    }

    /// Returns what is next to be sent to other hosts, or `None` if nothing is new or if the next id is reserved. Never
    /// waits.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Corrupt`].
    pub fn try_next(&mut self) -> Result<Option<Outgoing<'_>>> {
        self.hold.check()?;
        self.beat();
        self.reserved = None;
        loop {
            let step = self.reader.read(&mut RelayGate { wanted: &self.wanted })?;
            match step {
                Step::Event => break,
                Step::Lagged { first, missed, .. } => {
                    let last = first.saturating_add(missed).saturating_sub(1);
                    return Ok(Some(Outgoing::Missed { last, count: missed }));
                }
                Step::Unreadable { id } => return Ok(Some(Outgoing::Missed { last: id, count: 1 })),
                Step::Pending(pending) => {
                    self.reserved = Some(pending);
                    return Ok(None);
                }
                Step::Empty => return Ok(None),
                // What a relay has posted; and a relay's reader is not brought up to date.
                Step::Gap { .. } | Step::Reset { .. } | Step::UpToDate { .. } => {}
            }
        }
        self.words.add(seat_word!(reading.delivered), 1);
        Ok(self.outgoing(self.reader.current()).map(Outgoing::Event))
    }

    fn outgoing<'a>(&self, message: &'a Message) -> Option<OutgoingEvent<'a>> {
        let head = &message.head;
        let Data::Bytes { type_tag, format, bytes } =
            Data::posted(&self.hold.segment, message.type_tag(), message.payload())
        else {
            return None;
        };
        // The gate lets only UTF-8 names through.
        let [source, event] = head.texts(&message.bytes)?;
        let ttl = |ns: u64| Duration::from_nanos(ns);
        Some(OutgoingEvent {
            id: message.id,
            kind: if head.is_request() { OutgoingKind::Ordered } else { OutgoingKind::Local },
            source,
            event,
            type_tag,
            format: format as u32,
            bytes,
            unique: head
                .unique(&message.bytes)
                .map(|unique| OutgoingUnique { key: unique.key, ttl: ttl(unique.ttl_ns) }),
            retained: head.kept(&message.bytes).map(|kept| Kept {
                key: head.key(&message.bytes),
                ttl: (kept.ttl_ns > 0).then(|| ttl(kept.ttl_ns)),
                clears: kept.clears,
            }),
        })
    }

    /// Sleeps until [`try_next`](RelayReader::try_next) may return something, for at most `timeout`. Returns `true` if
    /// it may.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`].
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        self.hold.check()?;
        // A timeout beyond the range of the clock never ends.
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        while !self.has_news() && !left.is_zero() {
            self.beat();
            self.nap(left);
            if self.reserved.is_some() {
                // The reserver may be dead or too slow. The next read checks that and gives the id up.
                return Ok(true);
            }
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
        Ok(self.has_news())
    }

    fn has_news(&self) -> bool {
        match self.reserved {
            Some(pending) => self.is_settled(pending.id),
            None => self.reader.has_ahead() || !self.ring.is_empty_at(self.reader.next()),
        }
    }

    fn is_settled(&self, id: u64) -> bool {
        !matches!(self.ring.look(id), Ok(Look::Reserved(_)))
    }

    /// Sleeps once, for at most `most`.
    fn nap(&self, most: Duration) {
        let segment = &self.hold.segment;
        match self.reserved {
            Some(Pending { id, .. }) => {
                let word = segment.wake_word(header_word!(wake_reserved));
                wake::nap(word, &SharedFutex, most.min(RESERVED_NAP), || self.is_settled(id));
            }
            None => {
                wake::nap(segment.wake_word(header_word!(wake)), &SharedFutex, most, || self.has_news());
            }
        }
    }

    /// Returns the id that is read next.
    pub fn position(&self) -> u64 {
        self.reader.cursor()
    }

    /// Returns the oldest id that the ring still holds.
    pub fn oldest(&self) -> u64 {
        self.ring.oldest()
    }

    /// Returns the next id to be posted.
    pub fn newest(&self) -> u64 {
        self.ring.newest()
    }

    /// Returns the next id that the engine has not acknowledged, as [`set_sent`](RelayReader::set_sent) stored it in
    /// the segment. `None` if no relay of this segment has stored one.
    pub fn sent(&self) -> Option<u64> {
        self.hold.region.get(relay_word!(up.sent)).checked_sub(1)
    }

    /// Returns the id from which a relay reads: the next one that the engine has not acknowledged. If it has never
    /// acknowledged anything, the id at which the first relay of this segment began, although that relay may have been
    /// killed before it reached the engine.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # bus.publisher()?.post(("cache", "stale"), "before the first relay")?;
    /// use seqcast::relay::RelayOptions;
    ///
    /// let relay = bus.relay(&RelayOptions::new())?;
    /// let id = bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// drop(relay);
    /// let (mut reader, _poster) = bus.relay(&RelayOptions::new())?.split();
    /// assert_eq!(reader.resume_at(), id);
    /// reader.seek(reader.resume_at())?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn resume_at(&self) -> u64 {
        let first = || self.hold.region.get(relay_word!(up.first)).checked_sub(1);
        let newest = self.newest();
        self.sent().or_else(first).map_or(newest, |id| id.min(newest))
    }

    /// Stores in the segment that the engine has acknowledged everything below `next`. It does nothing if another
    /// process has taken the relay's place.
    pub fn set_sent(&self, next: u64) {
        if self.hold.check().is_ok() {
            self.hold.region.set(relay_word!(up.sent), next.saturating_add(1));
        }
    }

    /// Stores that this half lives. [`try_next`](RelayReader::try_next) and [`wait`](RelayReader::wait) do so, too.
    pub fn beat(&self) {
        beat(&self.hold.region, relay_word!(up.beat), self.clock.boottime_ns());
    }

    /// Returns the identity of this segment among the hosts.
    pub fn origin(&self) -> Origin {
        Origin::of_bus(self.bus_id())
    }

    /// Returns the identity of the bus.
    pub fn bus_id(&self) -> BusId {
        self.hold.segment.id()
    }
}

impl fmt::Debug for RelayReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayReader")
            .field("segment", &self.hold.segment.name())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

fn reader_at(hold: &RelayHold, words: &SeatWords, clock: HostClock, wait_max_ns: u64, begin: Begin) -> Reader {
    let mut reader = Reader::new(Arc::clone(&hold.segment), words.clone(), hold.number, clock, begin, None).for_relay();
    reader.set_wait_max(wait_max_ns);
    reader
}

/// What a relay sends to other hosts.
struct RelayGate<'a> {
    wanted: &'a Wanted,
}

impl Gate for RelayGate<'_> {
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool {
        if head.is_relayed() {
            return false;
        }
        let Some([source, _]) = head.texts(prefix) else { return false };
        head.is_request() || source != library::SOURCE && (self.wanted)(source)
    }

    fn claim(&mut self, _: &UniqueKey, _: At) -> Result<Option<Token>> {
        Ok(None)
    }

    fn settle_below(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
}
