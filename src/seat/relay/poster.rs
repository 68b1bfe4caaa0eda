//! The half of a relay that posts what comes from other hosts.

use std::fmt;
use std::sync::Arc;

use crate::claim::ttl_ns;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result, SizeLimit};
use crate::event::missed::Gap;
use crate::event::wire::{Keyed, Travel, UniqueKey, VIA_BYTES, Via};
use crate::event::{MissedReason, Topic, agree_on_format};
use crate::identity::{ClusterId, Origin};
use crate::os::clock::HostClock;
use crate::protocol::relay::{Admission, Entry, RelayWords};
use crate::seat::claim::Claimer;
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::relay::region::Health;
use crate::seat::relay::travel::{Foreign, Kept, Recovered, StreamPosition};
use crate::seat::relay::{RelayHold, beat, slowest_lag};
use crate::seat::retain::{kept, no_table};
use crate::seat::retained::TableLookup;
use crate::seat::room::Posting;
use crate::segment::layout::relay_word;
use crate::segment::unique_hash::Domain;

/// The half of a relay that posts what comes from other hosts: see [`Relay::split`](crate::relay::Relay::split).
///
/// It keeps in the segment how far it has read the stream, and which events of each host it has posted. So its
/// successor posts no event twice, wherever this relay is killed.
///
/// ```
/// use seqcast::ClusterId;
/// use seqcast::relay::{Foreign, RelayOptions};
///
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let other = seqcast::SegmentOptions::new().anonymous()?;
/// let (_reader, mut poster) = bus.relay(&RelayOptions::new())?.split();
/// let place = ClusterId { timeline: 1_764_500_000_000, n: 0 };
/// let event = Foreign::new(other.origin(), 7, place, "cache", "stale", b"user:42");
/// assert!(poster.post(&event)?);
/// assert!(!poster.post(&event)?, "it was there");
/// assert_eq!(poster.seen(other.origin()), Some(7));
/// # Ok::<(), seqcast::Error>(())
/// ```
#[must_use = "a relay whose halves are dropped leaves the segment"]
pub struct RelayPoster {
    words: RelayWords,
    writer: Writer,
    claimer: Claimer,
    clock: HostClock,
    recovered: Recovered,
    /// The place of the last event's origin in the table.
    last_place: usize,
    /// Dropped last: it frees the seat.
    hold: Arc<RelayHold>,
}

impl RelayPoster {
    pub(super) fn new(
        hold: Arc<RelayHold>,
        writer: Writer,
        claimer: Claimer,
        clock: HostClock,
        recovered: Recovered,
    ) -> RelayPoster {
        let words = hold.segment.relay_words();
        RelayPoster { words, writer, claimer, clock, recovered, last_place: 0, hold }
    }

    /// Returns what this relay found when it took the place of its predecessor.
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Returns how far this segment's relays have read the stream. `None` if none has read it, or if the position was
    /// [cleared](RelayPoster::clear_position).
    pub fn position(&self) -> Option<StreamPosition> {
        self.words.position().map(StreamPosition::of_words)
    }

    /// Stores how far the relay has read the stream. If it is killed, its successor finds this position or the one
    /// before.
    pub fn set_position(&mut self, position: &StreamPosition) {
        if self.hold.check().is_ok() {
            self.words.set_position(Some(position.words()));
        }
    }

    /// Removes the position.
    pub fn clear_position(&mut self) {
        if self.hold.check().is_ok() {
            self.words.set_position(None);
        }
    }

    /// Returns the last event of `origin` that was posted or passed over.
    pub fn seen(&self, origin: Origin) -> Option<u64> {
        let place = self.words.place_of(origin.bits(), self.last_place)?;
        self.words.entry(place).1.checked_sub(1)
    }

    /// Returns all hosts of which events were posted or passed over, with the last event of each.
    pub fn origins(&self) -> Vec<(Origin, u64)> {
        origins(&self.words)
    }

    /// Forgets what has come from `origin`, so that there is a place for another host. Returns `false` if nothing was
    /// known of it. If events of this host come again from the stream, they are posted again.
    pub fn forget(&mut self, origin: Origin) -> bool {
        self.hold.check().is_ok() && self.words.forget(origin.bits())
    }

    /// Posts an event that has come from the stream. Returns `false`, and posts nothing, if this event or a later one
    /// of the same host was posted or passed over before.
    ///
    /// Whenever the relay is killed, the event exists once or not at all, and its successor's
    /// [`post`](RelayPoster::post) of the same event posts it in the latter case only. There is one exception: if the
    /// ring is lapped between the kill and the next relay, that relay cannot know, and [says so](Recovered::Unknown).
    ///
    /// A unique event gets a key of its own, and one worker of this host runs it. A clear of what is not retained here
    /// posts nothing, and returns `true`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if a worker that [must read](crate::WorkerOptions::must_read) is too far behind: post it
    /// again later; [`ErrorKind::RelayFull`] if there is no place for a further host; [`ErrorKind::TypedFormat`] if the
    /// typed values of this bus have another format; [`ErrorKind::Topic`], [`ErrorKind::LibrarySource`],
    /// [`ErrorKind::PayloadTooLarge`], [`ErrorKind::RetainedFull`], [`ErrorKind::Option`], as a
    /// [`Publisher::post`](crate::Publisher::post); [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`]. After an error nothing was posted or noted.
    pub fn post(&mut self, event: &Foreign<'_>) -> Result<bool> {
        self.hold.check()?;
        self.beat();
        let Some(entry) = self.admit(event.origin, event.id)? else { return Ok(false) };
        let via = event.via().bytes();
        let posting = self.posting(event, &via)?;
        let end = self.writer.segment().ring().newest();
        let RelayPoster { words, writer, claimer, .. } = self;
        self.last_place = words.once(entry, end, || posting.post(writer, claimer))?;
        self.hold.region.add(relay_word!(down.posted), 1);
        Ok(true)
    }

    /// Notes an event that is not posted: [`post`](RelayPoster::post) then posts neither this event nor an earlier one
    /// of the same host. If a later one was posted or passed over before, it does nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RelayFull`] if there is no place for a further host; [`ErrorKind::Forked`],
    /// [`ErrorKind::Displaced`].
    pub fn pass(&mut self, origin: Origin, id: u64) -> Result<()> {
        self.hold.check()?;
        self.beat();
        if let Some(entry) = self.admit(origin, id)? {
            self.last_place = self.words.pass(entry);
            self.hold.region.add(relay_word!(down.passed), 1);
        }
        Ok(())
    }

    /// Tells all workers of this host that events were lost between hosts, at this place in their order. Returns the id
    /// of the report. If the relay is killed during the call, its successor may tell it again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    pub fn missed(&mut self, count: Option<u64>, origin: Option<Origin>, reason: MissedReason) -> Result<u64> {
        self.hold.check()?;
        self.beat();
        let id = self.writer.post_gap(&Gap::new(count, origin, None, reason), &mut Posting::default())?;
        self.hold.region.add(relay_word!(down.gaps), 1);
        Ok(id)
    }

    /// Tells all workers that events of `origin` were lost, of which the last has the id `last` there: once, as
    /// [`post`](RelayPoster::post) does. Returns `false`, and tells nothing, if this event or a later one of the same
    /// host was posted or passed over before.
    ///
    /// # Errors
    ///
    /// As [`pass`](RelayPoster::pass) and [`missed`](RelayPoster::missed).
    pub fn post_missed(&mut self, origin: Origin, last: u64, count: Option<u64>, reason: MissedReason) -> Result<bool> {
        self.hold.check()?;
        self.beat();
        let Some(entry) = self.admit(origin, last)? else { return Ok(false) };
        let end = self.writer.segment().ring().newest();
        let gap = Gap::new(count, Some(origin), Some(last), reason);
        let writer = &mut self.writer;
        self.last_place = self.words.once(entry, end, || writer.post_gap(&gap, &mut Posting::default()).map(drop))?;
        self.hold.region.add(relay_word!(down.gaps), 1);
        Ok(true)
    }

    /// Posts a unique event of this host without the engine: the relay decides alone, because it cannot ask. `key` is
    /// that of the [request](crate::relay::OutgoingUnique::key). One worker of this host runs it. Until its ttl ends,
    /// no other event that is posted by this call with this key runs here. Its place must be 0-0, and its
    /// [`cluster_id`](crate::Event::cluster_id) is `None`. Returns its id.
    ///
    /// Other hosts know nothing of it. The call does not look at what was posted before, and notes nothing: the
    /// successor of a relay that is killed may decide again and, if the engine is there, not alone.
    ///
    /// # Errors
    ///
    /// As [`post`](RelayPoster::post); [`ErrorKind::Option`] if the event is not unique, or has a place.
    pub fn post_alone(&mut self, event: &Foreign<'_>, key: [u64; 2]) -> Result<u64> {
        self.hold.check()?;
        self.beat();
        let (Some(ttl), ClusterId { timeline: 0, n: 0 }) = (event.unique, event.place) else {
            let rule = "an event that one host decides alone is unique and has no place";
            return Err(Error::option("place", event.place, rule));
        };
        let via = event.via().bytes();
        let mut posting = self.posting(event, &via)?;
        let bytes = [*b"alone...", key[0].to_le_bytes(), key[1].to_le_bytes()].concat();
        let key = self.hold.segment.unique_hash().hash(Domain::Places, &bytes)?;
        posting.0.keyed = Keyed::Unique(UniqueKey { key, ttl_ns: ttl_ns(ttl)? });
        let id = self.writer.post(&posting.0, &mut Posting::default())?;
        self.hold.region.add(relay_word!(down.posted), 1);
        Ok(id)
    }

    /// Brings what is retained here under a key up to date, from a copy of what is retained between the hosts instead
    /// of from the stream. The copy must be read after the [position](RelayPoster::position) was stored. Returns
    /// `false`, and posts nothing, if
    ///
    /// - there is no position, or the event's place is not before it: the event still comes from the stream;
    /// - this event is what is retained here, or it is a clear, and nothing is.
    ///
    /// Below the position, the copy has the last event of each key. So if the event that is retained here has another
    /// place, the engine has since lost that event, or this host has not read the later one. An event without a place
    /// is one of this host alone, and is replaced. The call does not look at what was posted of the event's host, and
    /// notes nothing: a relay that is killed before it has restored all events has a successor that restores them.
    ///
    /// ```
    /// use seqcast::ClusterId;
    /// use seqcast::relay::{Foreign, Kept, RelayOptions, StreamPosition};
    ///
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let other = seqcast::SegmentOptions::new().anonymous()?;
    /// let (_reader, mut poster) = bus.relay(&RelayOptions::new())?.split();
    /// let place = |n| ClusterId { timeline: 1_764_500_000_000, n };
    /// poster.set_position(&StreamPosition { timeline: 1_764_500_000_000, seq: 3, chain: 0, n: 8 });
    /// let kept = Kept { key: b"17", ttl: None, clears: false };
    /// let event = |n| Foreign::new(other.origin(), n, place(n), "upstream", "state", b"down").retained(kept);
    /// assert!(poster.restore(&event(7))?);
    /// assert!(!poster.restore(&event(7))?, "it is retained here");
    /// assert!(!poster.restore(&event(8))?, "it comes from the stream");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`post`](RelayPoster::post); [`ErrorKind::Option`] if the event is not retained.
    pub fn restore(&mut self, event: &Foreign<'_>) -> Result<bool> {
        self.hold.check()?;
        self.beat();
        let Some(Kept { key, clears, .. }) = event.retained else {
            let rule = "only what is retained can be restored: post it";
            return Err(Error::option("retained", "not set", rule));
        };
        let via = event.via().bytes();
        let posting = self.posting(event, &via)?;
        let is_before = |position: StreamPosition| {
            let StreamPosition { timeline, n, .. } = position;
            event.place < ClusterId { timeline, n }
        };
        if !self.position().is_some_and(is_before) {
            return Ok(false);
        }
        let is_here = match self.retained(event.source, event.event, key)? {
            Some(Some(via)) => via.place == event.place || (via.origin, via.id) == (event.origin, event.id),
            Some(None) => false,
            None => clears,
        };
        if !is_here {
            posting.post(&mut self.writer, &mut self.claimer)?;
            self.hold.region.add(relay_word!(down.posted), 1);
        }
        Ok(!is_here)
    }

    /// Returns the place of the event that is retained here under a key, if a relay has posted it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`]; [`ErrorKind::Option`] for a key of more than 255 bytes, and on a segment that retains
    /// nothing; [`ErrorKind::Corrupt`].
    pub fn retained_place(&mut self, source: &str, event: &str, key: &[u8]) -> Result<Option<ClusterId>> {
        Ok(self.retained(source, event, key)?.flatten().map(|via| via.place))
    }

    /// Returns where the event that is retained under a key comes from: `None` if there is none, `Some(None)` if it is
    /// one of this host alone.
    fn retained(&mut self, source: &str, event: &str, key: &[u8]) -> Result<Option<Option<Via>>> {
        let segment = &self.hold.segment;
        let (table, writer) = (segment.table(), &mut self.writer);
        let lookup = TableLookup { segment, table: table.as_ref(), clock: self.clock };
        let found = lookup.get(Topic::from((source, event)), key, || writer.settle_all())?;
        Ok(found.map(|retained| retained.via()))
    }

    /// Returns how many events the slowest reader of this host that lives is behind. 0 if nothing reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell which readers live.
    pub fn slowest_lag(&self) -> Result<u64> {
        slowest_lag(&self.hold.segment, self.hold.number)
    }

    /// Returns the number of events that the ring holds.
    pub fn capacity(&self) -> u64 {
        self.hold.segment.geometry().capacity()
    }

    /// Returns the size of the largest event in bytes, as [`Bus::largest_event`](crate::Bus::largest_event). The names
    /// and up to 95 more bytes count towards it.
    pub fn largest_event(&self) -> usize {
        self.hold.segment.geometry().largest_message()
    }

    /// Returns the identity of this segment among the hosts.
    pub fn origin(&self) -> Origin {
        Origin::of_bus(self.hold.segment.id())
    }

    /// Stores that this half lives. All calls that post or pass do so, too.
    pub fn beat(&self) {
        beat(&self.hold.region, relay_word!(down.beat), self.clock.boottime_ns());
    }

    /// Stores what the relay says of its connection to the engine, for inspectors.
    pub fn set_health(&self, health: Health) {
        if self.hold.check().is_ok() {
            self.hold.region.set(relay_word!(down.health), health as u64);
        }
    }

    /// E1 and E2. Returns `None` for what was seen before.
    fn admit(&self, origin: Origin, id: u64) -> Result<Option<Entry>> {
        match self.words.admit(origin.bits(), id, self.last_place) {
            Admission::New(entry) => Ok(Some(entry)),
            Admission::Seen => Ok(None),
            Admission::Full => {
                let (name, hosts) = (self.hold.segment.name().to_owned(), self.words.places() as u64);
                Err(Error::from(Cause::RelayFull { name, hosts }))
            }
        }
    }

    /// Checks an event, so that little is left that can fail after its intent is stored.
    fn posting<'a>(&self, event: &Foreign<'a>, via: &'a [u8; VIA_BYTES]) -> Result<Checked<'a>> {
        let segment = &self.hold.segment;
        let topic = Topic::from((event.source, event.event));
        topic.check()?;
        topic.check_to_post()?;
        if event.type_tag != 0 && event.format != 0 {
            let expected = u64::from(event.format);
            agree_on_format(segment.typed_format(), expected).map_err(|found| {
                let type_name = "(of an event from another host)";
                Error::from(Cause::TypedFormat { type_name, found, expected })
            })?;
        }
        let (keyed, limit) = match (event.retained, event.unique) {
            (Some(_), _) if !segment.geometry().has_table() => return Err(no_table(segment)),
            (Some(Kept { key, ttl, clears }), _) => {
                let ttl_ns = ttl.map(ttl_ns).transpose()?.unwrap_or(0);
                let kept = kept(segment, topic, key, if clears { 0 } else { ttl_ns }, clears)?;
                (Keyed::Kept { kept, text: key }, SizeLimit::Retained)
            }
            (None, Some(ttl)) => {
                let ClusterId { timeline, n } = event.place;
                let place = [timeline.to_le_bytes(), n.to_le_bytes()].concat();
                let key = segment.unique_hash().hash(Domain::Places, &place)?;
                (Keyed::Unique(UniqueKey { key, ttl_ns: ttl_ns(ttl)? }), SizeLimit::Ring)
            }
            (None, None) => (Keyed::Nothing, SizeLimit::Ring),
        };
        let payload = if matches!(event.retained, Some(Kept { clears: true, .. })) { &[] } else { event.bytes };
        let (type_tag, travel) = (event.type_tag, Travel::Relayed(via));
        let outgoing = Outgoing { topic, type_tag, keyed, travel, payload, bridged: false };
        self.writer.check(&outgoing, limit)?;
        Ok(Checked(outgoing))
    }
}

/// An event that was checked.
struct Checked<'a>(Outgoing<'a>);

impl Checked<'_> {
    /// Does not wait for workers that must read.
    fn post(&self, writer: &mut Writer, claimer: &mut Claimer) -> Result<()> {
        let posting = &mut Posting::default();
        match self.0.keyed {
            Keyed::Kept { kept, .. } if kept.clears => writer.clear(claimer, &self.0, posting).map(drop),
            Keyed::Kept { .. } => writer.retain(claimer, &self.0, posting).map(drop),
            Keyed::Unique(_) | Keyed::Nothing => writer.post(&self.0, posting).map(drop),
        }
    }
}

/// Returns the origins of a table, with the last event of each.
pub(crate) fn origins(words: &RelayWords) -> Vec<(Origin, u64)> {
    let entry = |place: usize| {
        let (origin, next) = words.entry(place);
        Some((Origin::from_bits(origin), next.checked_sub(1)?))
    };
    (0..words.places()).filter_map(entry).collect()
}

impl fmt::Debug for RelayPoster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayPoster")
            .field("segment", &self.hold.segment.name())
            .field("position", &self.position())
            .field("recovered", &self.recovered)
            .finish_non_exhaustive()
    }
}

/// A place that stands for none, to measure an event before the stream has given it one.
pub(super) static NOWHERE: [u8; VIA_BYTES] = [0; VIA_BYTES];
