//! The reading half of a seat: it delivers every event in order, and reports each gap at its place.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::Claim;
use crate::error::Result;
use crate::event::missed::Gap;
use crate::event::wire::{FragmentHead, Head, Kind, UniqueKey, VIA_BYTES};
use crate::event::{Buffer, Home, Missed, MissedReason, PostedEvent, Words};
use crate::os::clock::HostClock;
use crate::os::sys;
use crate::protocol::bridge::BridgeWords;
use crate::protocol::bucket::{At, Key, Token};
use crate::protocol::large::LargeRing;
use crate::protocol::pool::Tries;
use crate::protocol::retained::{SlotLook, Span, TOMBSTONE, Table};
use crate::protocol::ring::{Fate, Look, Ring};
use crate::protocol::word::{CellWord, Mark};
use crate::seat::ahead::{Ahead, ReadAhead};
use crate::seat::catch_up::{CatchUp, copy_slot};
use crate::seat::copy::{Copied, CopyInto, Published, SMALL, Short};
use crate::seat::fragments::{Assembled, Fragments};
use crate::seat::holding::is_over;
use crate::seat::must::MustRead;
use crate::seat::options::Begin;
use crate::seat::pace::Pace;
use crate::seat::retain::no_table;
use crate::seat::visit::{ByGate, Choice};
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;

/// A reader at the end keeps a buffer of at most this many bytes.
const MOST_KEPT: usize = 256 << 10;

/// The decisions of the layer above while events are copied out.
pub(crate) trait Gate {
    /// Returns `true` if the event is to be delivered. Otherwise its payload is not copied.
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool;
    /// Returns what is to become of the event at `id`, which is in a block.
    fn choose(&mut self, _id: u64, head: &Head, prefix: &[u8]) -> Choice {
        Choice::copy_if(self.wants(head, prefix))
    }
    /// Visits the payload of the event at `id` in place, and keeps the result. The next step is this event, unless
    /// [`drop_visit`](Gate::drop_visit) follows.
    fn visit(&mut self, _id: u64, _head: &Head, _prefix: &[u8], _words: Words<'_>) -> Result<()> {
        Ok(())
    }
    /// Drops the result of a visit: the event was overwritten, or another worker runs it.
    fn drop_visit(&mut self) -> Result<()> {
        Ok(())
    }
    /// Returns the claim if this worker is the one that runs a unique event.
    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>>;
    /// Settles the unsettled retained events below `to`.
    fn settle_below(&mut self, to: u64) -> Result<()>;
}

/// One step of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next event is [`Reader::current`].
    Event,
    /// The `missed` ids from `first` on were overwritten before they were read. `cut_off` is `true` if posts had waited
    /// for the reader.
    Lagged { first: u64, missed: u64, cut_off: bool },
    /// Events were lost between hosts: see [`Reader::gap`].
    Gap { id: u64 },
    /// The content at an id is not what a writer of this crate stores.
    Unreadable { id: u64 },
    /// The next id is reserved, and its payload is not visible yet.
    Pending(Pending),
    /// Everything that the reader knows of retained events is void. It is handed all retained events. `to` is the id at
    /// which reading continues afterwards.
    Reset { to: u64 },
    /// The reader was handed all retained events that it lacked.
    UpToDate { to: u64 },
    /// Nothing new.
    Empty,
}

/// A reserved id that reading cannot go past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: u64,
    /// Start of the wait, by the boot-time clock. `None` if this worker itself has reserved the id: then only its own
    /// commit can end the wait.
    pub(crate) since_ns: Option<u64>,
}

impl Pending {
    /// Returns `true` if this worker itself has reserved the id.
    pub(crate) fn is_own(self) -> bool {
        self.since_ns.is_none()
    }
}

/// An event, copied out.
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) head: Head,
    /// The first `len` bytes are the whole event, with its head. The payload is aligned.
    pub(crate) bytes: Buffer,
    pub(crate) len: usize,
    /// This seat's claim on a unique event.
    pub(crate) claim: Option<Claim>,
    /// `true` if it is from the table of retained events.
    pub(crate) handed_over: bool,
    /// `true` if its payload was visited in place. Then there is no payload here, and the gate has the result.
    pub(crate) visited: bool,
}

impl Message {
    fn nothing() -> Message {
        Message::copied(0, Head::default(), Buffer::new(), 0)
    }

    /// An event in the first `len` bytes of `bytes`.
    #[inline]
    pub(crate) fn copied(id: u64, head: Head, bytes: Buffer, len: usize) -> Message {
        Message { id, head, bytes, len, claim: None, handed_over: false, visited: false }
    }

    /// Frees a buffer that a large event has made larger than most events need.
    #[inline]
    fn release(&mut self) {
        if self.bytes.capacity() > MOST_KEPT {
            *self = Message::nothing();
        }
    }

    /// Returns the content of the event. It is this process's `own`, if its seat says so.
    #[inline]
    pub(crate) fn posted<'a>(&'a self, home: Home<'a>, own: bool) -> PostedEvent<'a> {
        let Message { id, ref head, ref bytes, len, ref claim, handed_over, visited } = *self;
        PostedEvent { id, head, wire: &bytes[..len], claim: claim.as_ref(), home, own, handed_over, visited }
    }

    /// Returns the words of a relayed event.
    #[inline]
    pub(crate) fn via(&self) -> Option<&[u8; VIA_BYTES]> {
        self.head.via(&self.bytes)
    }

    /// Returns the tag of the payload's type.
    #[inline]
    pub(crate) fn type_tag(&self) -> u64 {
        self.head.type_tag(&self.bytes)
    }

    #[inline]
    pub(crate) fn payload(&self) -> &[u8] {
        self.head.payload(&self.bytes[..self.len])
    }
}

/// The result of reading one id.
enum Taken {
    /// An event; it is in `current`.
    Event,
    /// No event for this worker: not wanted, run by another worker, or a fragment that is not the last.
    Nothing,
    /// A record of events that were lost between hosts.
    Gap(Box<Gap>),
    /// It was overwritten while it was copied.
    Lapped,
    /// A part of it is gone: the fragments before this last one, or the payload in its large block.
    Missed,
    /// The fragments of a retained message are gone, and so is the message in the table.
    Forgotten,
    Unreadable,
}

pub(crate) struct Reader {
    segment: Arc<Segment>,
    ring: Ring,
    /// The bridge that unique events may be left to.
    bridge: BridgeWords,
    seat: SeatWords,
    seat_number: u16,
    /// The next id to copy out.
    next: u64,
    /// Every event from this place on was read (see `protocol::claims`).
    since: u64,
    /// If it is not empty, its first entry is an id that is waited for.
    ahead: ReadAhead,
    fragments: Fragments,
    current: Message,
    /// Of the last [`Step::Gap`].
    gap: Gap,
    gap_id: u64,
    wait_max_ns: u64,
    pace: Pace,
    /// The table of retained events, if the segment has one.
    table: Option<Table>,
    /// The ring of large blocks, if the segment has one.
    large: Option<LargeRing>,
    clock: HostClock,
    /// `true` if the reader is brought up to date after it has missed events.
    resync: bool,
    /// `true` if it began with the retained events.
    began_with_retained: bool,
    catch_up: CatchUp,
    /// Set if posts wait for this reader.
    must: Option<MustRead>,
    /// `true` if it is the relay's: it sees requests, and claims nothing.
    relays: bool,
}

impl Reader {
    pub(crate) fn new(
        segment: Arc<Segment>,
        seat: SeatWords,
        seat_number: u16,
        clock: HostClock,
        begin: Begin,
        must: Option<MustRead>,
    ) -> Reader {
        let ring = segment.ring();
        let start = begin.first;
        let span = Span { from: 0, to: start, reset: false };
        let reader = Reader {
            fragments: Fragments::beginning(segment.geometry(), &ring, begin),
            table: segment.table(),
            large: segment.large(),
            clock,
            resync: false,
            began_with_retained: begin.with_retained,
            catch_up: if begin.with_retained { CatchUp::Due(span) } else { CatchUp::Idle },
            bridge: segment.bridge(),
            relays: false,
            segment,
            ring,
            seat,
            seat_number,
            next: start,
            since: place_of(start),
            ahead: ReadAhead::default(),
            current: Message::nothing(),
            gap: Gap::new(None, None, None, MissedReason::EngineLost),
            gap_id: 0,
            wait_max_ns: 0,
            pace: Pace::default(),
            must,
        };
        reader.begun()
    }

    /// Shows how far the reader has read: where it begins.
    fn begun(mut self) -> Reader {
        self.store_cursor();
        self
    }

    /// Sets for how long each post waits for this reader, in nanoseconds. 0: not at all.
    #[inline]
    pub(crate) fn set_must_read(&mut self, patience_ns: u64) {
        if patience_ns != 0 || self.must.is_some() {
            self.change_must_read(patience_ns);
        }
    }

    #[cold]
    fn change_must_read(&mut self, patience_ns: u64) {
        match (&mut self.must, patience_ns) {
            (must, 0) => must.take().into_iter().for_each(MustRead::leave),
            (Some(must), _) => must.set_patience(patience_ns),
            (None, _) => {
                self.must = Some(MustRead::join(&self.segment, self.seat_number, patience_ns, Some(self.need())));
            }
        }
    }

    /// Returns how long each post waits for this reader, in nanoseconds.
    #[inline]
    pub(crate) fn must_read_ns(&self) -> u64 {
        self.must.as_ref().map_or(0, MustRead::patience_ns)
    }

    /// Called at the end of a poll. A [`read`](Reader::read) that returns [`Step::Empty`] or [`Step::Pending`] has done
    /// it already.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if let Some(must) = &mut self.must {
            must.rest();
        }
    }

    /// Makes it a relay's reader: it sees requests, and claims nothing.
    pub(crate) fn for_relay(mut self) -> Reader {
        self.relays = true;
        self
    }

    /// Sets the longest wait for a reserved id's payload, in nanoseconds.
    pub(crate) fn set_wait_max(&mut self, ns: u64) {
        self.wait_max_ns = ns;
    }

    /// Sets if the reader is brought up to date after it has missed events.
    pub(crate) fn set_resync(&mut self, resync: bool) {
        self.resync = resync;
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(crate) fn seat(&self) -> &SeatWords {
        &self.seat
    }

    /// Returns the id that is read next.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns `true` if undelivered events are copied, or must be copied from the table.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty() || !self.catch_up.is_idle()
    }

    /// Returns `true` if the reader is being handed retained events.
    pub(crate) fn is_catching_up(&self) -> bool {
        !self.catch_up.is_idle()
    }

    /// Returns `true` if there is nothing to read now. Cheaper than a [`read`](Reader::read) that returns
    /// [`Step::Empty`].
    #[inline]
    pub(crate) fn is_at_end(&mut self) -> bool {
        let at_end = !self.pace.is_behind() && !self.has_ahead() && self.ring.is_empty_at(self.next);
        if at_end {
            self.pace.end();
        }
        at_end
    }

    /// Returns the mark of the next id, after a [`Step::Empty`].
    #[inline]
    pub(crate) fn mark_empty(&self) -> Mark {
        self.ring.mark_empty(self.next)
    }

    /// Returns `true` if the id of `mark` is not taken yet.
    #[inline]
    pub(crate) fn is_empty_by(&self, mark: Mark) -> bool {
        self.ring.is_empty_by(mark)
    }

    /// Returns the event of the last [`Step::Event`].
    #[inline]
    pub(crate) fn current(&self) -> &Message {
        &self.current
    }

    /// Returns what the last [`Step::Gap`] reports.
    pub(crate) fn gap(&self) -> Missed {
        self.gap.missed(self.gap_id)
    }

    /// Returns the record of the last [`Step::Gap`].
    pub(crate) fn gap_record(&self) -> &Gap {
        &self.gap
    }

    /// Returns the unique events that were copied out and claimed, in order. Drops everything else that was copied out.
    pub(crate) fn take_claimed(&mut self) -> impl Iterator<Item = Message> {
        self.ahead.take_claimed()
    }

    /// Takes one step. Never sleeps. A reader of many events in a row may wait for some microseconds (`seat::pace`).
    pub(crate) fn read(&mut self, gate: &mut impl Gate) -> Result<Step> {
        if let Some(must) = &mut self.must {
            must.go_on(&self.ring);
        }
        let step = loop {
            if !self.catch_up.is_idle() {
                break self.catch_up(gate)?;
            }
            if !self.ahead.is_empty() {
                if let Some(step) = self.read_ahead(gate)? {
                    break step;
                }
                // The events that were copied ahead may end with a message that is gone from the table.
                continue;
            }
            let id = self.next;
            self.pace.before(&self.ring, id);
            if let Some(seen) = self.ring.published(id) {
                self.next = next_id(id);
                match self.copy(id, seen, self.since, true, gate)? {
                    Taken::Event => {
                        // Not by way of `step`: a step of another kind is larger, and would be copied whole.
                        self.store_next();
                        return Ok(Step::Event);
                    }
                    Taken::Nothing => {}
                    Taken::Gap(gap) => break self.told_of(id, &gap),
                    Taken::Lapped => {
                        self.next = id;
                        break self.lapped();
                    }
                    Taken::Missed => break self.missed_one(id),
                    Taken::Forgotten => self.forgotten(id),
                    Taken::Unreadable => break self.unreadable(id),
                }
                self.store_cursor();
                continue;
            }
            match self.look(id)? {
                Look::Empty => {
                    self.pace.end();
                    self.current.release();
                    self.rest();
                    return Ok(Step::Empty);
                }
                // Published since: the next look finds it.
                Look::Published(_) => {}
                Look::Reserved(_) => {
                    self.next = next_id(id);
                    self.wait_for(id);
                }
                Look::Void => self.next = next_id(id),
                Look::Lapped => {
                    self.check_lapped(id)?;
                    break self.lapped();
                }
            }
            self.store_cursor();
        };
        self.store_cursor();
        if matches!(step, Step::Pending(_)) {
            self.rest();
        }
        Ok(step)
    }

    /// Takes one step from what was copied out ahead, if there is anything.
    fn read_ahead(&mut self, gate: &mut impl Gate) -> Result<Option<Step>> {
        let mut tries = Tries::new();
        while self.catch_up.is_idle()
            && let Some(front) = self.ahead.front()
        {
            if let &Ahead::Waiting { id, first_met_ns } = front {
                if let Some(step) = self.read_waiting(id, first_met_ns, &mut tries, gate)? {
                    return Ok(Some(step));
                }
                // It was not an event for this seat, and there may be nothing after it.
                self.store_cursor();
                continue;
            }
            return Ok(match self.ahead.pop() {
                Some(Ahead::Message(message)) => {
                    self.current = message;
                    Some(Step::Event)
                }
                Some(Ahead::Lagged { first, missed, cut_off }) => Some(self.missed(first, missed, cut_off)),
                Some(Ahead::Forgotten { id }) => {
                    self.forgotten(id);
                    None
                }
                Some(Ahead::Gap { id, gap }) => Some(self.told_of(id, &gap)),
                Some(Ahead::Unreadable { id }) => Some(self.unreadable(id)),
                Some(Ahead::Waiting { .. }) | None => continue,
            });
        }
        Ok(None)
    }

    /// Takes one step at the id that is waited for, which is the first entry ahead. Returns `None` if there is nothing
    /// to deliver: then the caller continues with the entry that is first now.
    fn read_waiting(
        &mut self,
        id: u64,
        first_met_ns: u64,
        tries: &mut Tries,
        gate: &mut impl Gate,
    ) -> Result<Option<Step>> {
        match self.look(id)? {
            Look::Published(seen) => {
                let taken = self.copy(id, seen, self.since_before(id), true, gate)?;
                self.ahead.pop();
                Ok(match taken {
                    Taken::Event => Some(Step::Event),
                    Taken::Nothing => None,
                    Taken::Gap(gap) => Some(self.told_of(id, &gap)),
                    Taken::Lapped | Taken::Missed => Some(self.missed_one(id)),
                    Taken::Forgotten => {
                        self.forgotten(id);
                        None
                    }
                    Taken::Unreadable => Some(self.unreadable(id)),
                })
            }
            Look::Void => {
                self.ahead.pop();
                Ok(None)
            }
            Look::Lapped => {
                self.ahead.pop();
                Ok(Some(self.missed_one(id)))
            }
            Look::Reserved(_) if self.give_up(id, first_met_ns)? => {
                // Decided, by this seat or by another one: look again. The number of tries is bounded, because hostile
                // words could make the id look reserved each time.
                tries.another().in_segment(&self.segment)?;
                Ok(None)
            }
            Look::Reserved(_) => {
                self.copy_ahead(gate)?;
                let own = self.ring.reserved_by(self.seat_number) == Some(id);
                let since_ns = if own { None } else { Some(first_met_ns) };
                Ok(Some(Step::Pending(Pending { id, since_ns })))
            }
            Look::Empty => Err(self.segment.corrupt("an id that was reserved is not taken any more")),
        }
    }

    /// Copies out what is readable after an id that is waited for, so that a slow reserver does not cost the events of
    /// other workers.
    fn copy_ahead(&mut self, gate: &mut impl Gate) -> Result<()> {
        while self.ahead.has_room() {
            let id = self.next;
            match self.look(id)? {
                Look::Empty => return Ok(()),
                Look::Published(seen) => {
                    self.next = next_id(id);
                    match self.copy(id, seen, self.since_with_waiting(), false, gate)? {
                        Taken::Event => {
                            let message = std::mem::replace(&mut self.current, Message::nothing());
                            self.ahead.push(Ahead::Message(message));
                        }
                        Taken::Nothing => {}
                        Taken::Gap(gap) => self.ahead.push(Ahead::Gap { id, gap }),
                        Taken::Lapped => {
                            self.next = id;
                            let (missed, cut_off) = self.skip_lap();
                            self.ahead.push(Ahead::Lagged { first: id, missed, cut_off });
                        }
                        Taken::Missed => {
                            self.read_from_after(id);
                            let cut_off = self.was_cut_off(id);
                            self.ahead.push(Ahead::Lagged { first: id, missed: 1, cut_off });
                        }
                        Taken::Forgotten => self.ahead.push(Ahead::Forgotten { id }),
                        Taken::Unreadable => {
                            self.read_from_after(id);
                            self.ahead.push(Ahead::Unreadable { id });
                        }
                    }
                }
                Look::Reserved(_) => {
                    self.next = next_id(id);
                    self.wait_for(id);
                }
                Look::Void => self.next = next_id(id),
                Look::Lapped => {
                    self.check_lapped(id)?;
                    let (missed, cut_off) = self.skip_lap();
                    self.ahead.push(Ahead::Lagged { first: id, missed, cut_off });
                }
            }
            self.show_need();
        }
        self.ahead.note_horizon(self.next, self.ring.newest(), self.wait_max_ns);
        Ok(())
    }

    fn wait_for(&mut self, id: u64) {
        self.seat.add(seat_word!(reading.waited), 1);
        self.ahead.wait_for(id);
    }

    /// Gives up the reserved `id` if its reserver is dead or too slow. Returns `false` if the wait goes on.
    fn give_up(&mut self, id: u64, first_met_ns: u64) -> Result<bool> {
        if self.ring.reserved_by(self.seat_number) == Some(id) {
            // Only this worker itself can end that wait.
            return Ok(false);
        }
        if !self.gives_up(Pending { id, since_ns: Some(first_met_ns) }) {
            return Ok(false);
        }
        let fate = self.ring.void(id).in_segment(&self.segment)?;
        if fate == Fate::Decided {
            self.seat.add(seat_word!(reading.voided), 1);
            self.segment.wake_for_decided();
        }
        Ok(true)
    }

    /// Returns `true` if the next step gives up the reserved id that this seat waits for.
    pub(crate) fn gives_up(&self, pending: Pending) -> bool {
        self.left_of_wait(pending).is_some_and(|left| left.is_zero() || !self.reserver_lives(pending.id))
    }

    /// Returns how much of the wait is left, or `None` if this seat has reserved the id itself.
    pub(crate) fn left_of_wait(&self, pending: Pending) -> Option<Duration> {
        let waited = sys::boottime_ns().saturating_sub(pending.since_ns?);
        Some(Duration::from_nanos(self.wait_max_ns.saturating_sub(waited)))
    }

    /// Returns `true` if the seat that has reserved `id` is held. If that cannot be checked because the segment's
    /// descriptor is lost, the reserver counts as alive: the wait is bounded anyway.
    fn reserver_lives(&self, id: u64) -> bool {
        (0..=self.segment.geometry().last_seat())
            .any(|seat| self.ring.reserved_by(seat) == Some(id) && self.segment.is_seat_held(seat).unwrap_or(true))
    }

    /// Copies out the event at `id`, if this seat is to deliver it. If it `is_next`, it may be visited instead.
    #[inline(always)]
    fn copy(&mut self, id: u64, seen: CellWord, since: u64, is_next: bool, gate: &mut impl Gate) -> Result<Taken> {
        let published = Published::of(&self.ring, id, seen).in_segment(&self.segment)?;
        self.pace.read(&self.ring, id);
        let Some(len) = published.short_len() else { return self.copy_other(id, seen, since, is_next, gate) };
        if len > SMALL && self.pace.has_prefetched() {
            self.ring.prefetch_rest_after(id, len);
        }
        let Message { head, bytes: buffer, .. } = &mut self.current;
        let into = CopyInto { head, buffer };
        let mut choose = ByGate { gate, id, is_next, relays: self.relays, visit: None };
        match published.copy_short(len, into, &mut choose) {
            Short::Event => {
                self.set_current(id, len, false);
                self.decide(id, since, gate)
            }
            Short::NotWanted => {
                self.not_wanted(id, self.current.head);
                Ok(Taken::Nothing)
            }
            Short::Lapped => Ok(Taken::Lapped),
            Short::Unreadable => Ok(Taken::Unreadable),
            Short::LongHead => self.copy_other(id, seen, since, is_next, gate),
        }
    }

    /// The same for what is not a short event, or has a long head.
    #[inline(never)]
    fn copy_other(
        &mut self,
        id: u64,
        seen: CellWord,
        since: u64,
        is_next: bool,
        gate: &mut impl Gate,
    ) -> Result<Taken> {
        let published = Published::of(&self.ring, id, seen).in_segment(&self.segment)?;
        if self.pace.has_prefetched() {
            self.ring.prefetch_rest_after(id, published.stated_len());
        }
        let mut choose = ByGate { gate, id, is_next, relays: self.relays, visit: None };
        let Message { head, bytes: buffer, .. } = &mut self.current;
        let into = CopyInto { head, buffer };
        let copied = published.copy_out(into, &mut self.fragments, self.large.as_ref(), &mut choose);
        let ByGate { gate, visit, .. } = choose;
        if let Some(visited) = visit {
            return self.visited(id, since, copied, visited, gate);
        }
        match copied {
            Copied::Event { len } => {
                self.set_current(id, len, false);
                self.decide(id, since, gate)
            }
            Copied::NotWanted { .. } => {
                self.not_wanted(id, self.current.head);
                Ok(Taken::Nothing)
            }
            Copied::Fragment { kind, len } => self.assemble(id, kind, len, since, gate),
            Copied::Gap(gap) => Ok(Taken::Gap(gap)),
            Copied::Lapped => Ok(Taken::Lapped),
            Copied::Overwritten => Ok(Taken::Missed),
            Copied::Unreadable | Copied::Visited { .. } => Ok(Taken::Unreadable),
        }
    }

    #[inline]
    fn set_current(&mut self, id: u64, len: usize, visited: bool) {
        self.current.id = id;
        self.current.len = len;
        self.current.handed_over = false;
        self.current.visited = visited;
    }

    /// The verdict on a visit of the event at `id`: what the second look has found is in `copied`.
    #[inline(never)]
    fn visited(
        &mut self,
        id: u64,
        since: u64,
        copied: Copied,
        visited: Result<()>,
        gate: &mut impl Gate,
    ) -> Result<Taken> {
        visited?;
        let taken = match copied {
            Copied::Visited { len } => {
                self.set_current(id, len, true);
                // Claimed after the verdict: what is claimed is delivered.
                self.decide(id, since, gate)?
            }
            Copied::Overwritten => Taken::Missed,
            Copied::Unreadable => Taken::Unreadable,
            _ => Taken::Lapped,
        };
        if !matches!(taken, Taken::Event) {
            gate.drop_visit()?;
        }
        Ok(taken)
    }

    /// Adds the fragment in the fragments' buffer to its message.
    fn assemble(&mut self, id: u64, kind: Kind, len: usize, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        let relays = self.relays;
        let wants = |head: &Head, prefix: &[u8]| (relays || !head.is_request()) && gate.wants(head, prefix);
        match self.fragments.add(kind, len, wants) {
            Assembled::Whole { head, bytes } => {
                let len = bytes.len();
                self.current = Message::copied(id, head, bytes, len);
                self.decide(id, since, gate)
            }
            Assembled::NotWanted { head } => {
                self.not_wanted(id, head);
                Ok(Taken::Nothing)
            }
            Assembled::More => Ok(Taken::Nothing),
            Assembled::Headless | Assembled::BeforeOurTime
                if kind == Kind::RetainedFragment && (self.resync || self.began_with_retained) =>
            {
                self.complete(id, len, gate)
            }
            Assembled::BeforeOurTime => {
                // It may be a unique event. A worker that has all its fragments decides it, and this seat's later
                // claims must not cover it.
                self.read_from_after(id);
                Ok(Taken::Nothing)
            }
            Assembled::Headless => Ok(Taken::Missed),
            Assembled::Malformed => Ok(Taken::Unreadable),
        }
    }

    /// Takes a retained event from the table of which only the last fragment was read, at `id`. That fragment is in the
    /// fragments' buffer.
    fn complete(&mut self, id: u64, len: usize, gate: &mut impl Gate) -> Result<Taken> {
        let (Some(table), Some(key)) =
            (&self.table, self.fragments.buffered(len).and_then(FragmentHead::retained_key).map(Key))
        else {
            return Ok(Taken::Unreadable);
        };
        if table.is_any_announced() {
            gate.settle_below(next_id(id))?;
        }
        // This includes an event that has expired meanwhile: it is delivered as if it had been read whole.
        let now = TOMBSTONE;
        let copy = |slot: &SlotLook<'_>| copy_slot(slot, now, |head, prefix| gate.wants(head, prefix));
        let found = table.get(key, || now, copy).in_segment(&self.segment)?;
        if let Some((held, event)) = found.filter(|(held, _)| held.place == place_of(id)) {
            self.current = event.at(&held);
            return Ok(Taken::Event);
        }
        let held = table.held_of(key).in_segment(&self.segment)?;
        // The event is not wanted, or a later event of the key follows.
        let is_known = held.is_some_and(|held| held.place >= place_of(id));
        Ok(if is_known { Taken::Nothing } else { Taken::Forgotten })
    }

    /// Returns the next step that brings the reader up to date.
    #[cold]
    fn catch_up(&mut self, gate: &mut impl Gate) -> Result<Step> {
        loop {
            if let Some(step) = self.catch_up.step(&mut self.current) {
                if matches!(step, Step::Reset { .. }) {
                    self.seat.add(seat_word!(reading.resets), 1);
                }
                return Ok(step);
            }
            let Some(table) = &self.table else { return Err(no_table(&self.segment)) };
            self.catch_up.gather(table, &self.segment, self.clock.boottime_ns(), gate)?;
        }
    }

    /// Notes that the reader may lack retained events with ids from `from` to below `to`.
    fn catch_up_with(&mut self, from: u64, to: u64, reset: bool) {
        if self.table.is_some() && (self.resync || reset) {
            self.catch_up = CatchUp::Due(Span { from, to, reset });
        }
    }

    /// Has all retained events handed over, because the event at `id` is gone and its key's last event is unknown.
    fn forgotten(&mut self, id: u64) {
        self.catch_up_with(id.max(1), next_id(id), true);
    }

    fn not_wanted(&mut self, id: u64, head: Head) {
        if head.is_request() {
            // No event of this host: no worker counts it, and no claim is about it.
            return;
        }
        self.seat.add(seat_word!(reading.skipped), 1);
        if head.is_unique() {
            // Workers that handle it decide it, or the bridge does, and this seat's later claims must not cover it.
            self.read_from_after(id);
        }
    }

    /// If `current` is a unique event, tries to claim it.
    #[inline(always)]
    fn decide(&mut self, id: u64, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        self.current.claim = None;
        if self.relays || !self.current.head.is_unique() {
            return Ok(Taken::Event);
        }
        self.decide_unique(id, since, gate)
    }

    #[inline(never)]
    fn decide_unique(&mut self, id: u64, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        if let Some(unique) = self.current.head.unique(&self.current.bytes) {
            let is_over = |holder| is_over(&self.segment, holder, self.seat_number);
            if self.bridge.leaves(place_of(id), self.seat_number, is_over) {
                self.not_wanted(id, self.current.head);
                return Ok(Taken::Nothing);
            }
            let token = gate.claim(&unique, At { place: place_of(id), since })?;
            self.current.claim = token.map(|token| Claim { key: unique.key, token });
            if self.current.claim.is_none() {
                return Ok(Taken::Nothing);
            }
        }
        Ok(Taken::Event)
    }

    /// Returns where the range that a claim covers may begin, for an id that was waited for. It is read before the ids
    /// that follow it.
    fn since_before(&self, id: u64) -> u64 {
        self.since.min(place_of(id))
    }

    /// As [`since_before`](Reader::since_before), for an id that is read while earlier ids are waited for and so are
    /// not read yet.
    fn since_with_waiting(&self) -> u64 {
        self.ahead.last_waiting().map_or(self.since, |id| self.since.max(place_after(id)))
    }

    /// Rejects a lap that the event id does not confirm. It would otherwise repeat without end.
    fn check_lapped(&self, id: u64) -> Result<()> {
        if self.ring.confirms_lap(id) {
            Ok(())
        } else {
            Err(self.segment.corrupt("a cell is ahead of the event id by more than a lap"))
        }
    }

    /// Skips the ids that were overwritten. Returns their number, and `true` if it is because the reader was cut off.
    fn skip_lap(&mut self) -> (u64, bool) {
        let cut_off = self.was_cut_off(self.next);
        let to = self.ring.resume_after_lap(self.next);
        let missed = to - self.next;
        self.next = to;
        self.since = self.since.max(place_of(to));
        (missed, cut_off)
    }

    fn was_cut_off(&mut self, id: u64) -> bool {
        self.must.as_mut().is_some_and(|must| must.was_cut_off(id, &self.ring))
    }

    fn lapped(&mut self) -> Step {
        let first = self.next;
        let (missed, cut_off) = self.skip_lap();
        self.missed(first, missed, cut_off)
    }

    /// Records that not every event up to `id` was read.
    fn read_from_after(&mut self, id: u64) {
        self.since = self.since.max(place_after(id));
    }

    fn missed_one(&mut self, id: u64) -> Step {
        self.read_from_after(id);
        let cut_off = self.was_cut_off(id);
        self.missed(id, 1, cut_off)
    }

    fn unreadable(&mut self, id: u64) -> Step {
        self.read_from_after(id);
        self.seat.add(seat_word!(reading.corrupt), 1);
        Step::Unreadable { id }
    }

    fn told_of(&mut self, id: u64, gap: &Gap) -> Step {
        (self.gap, self.gap_id) = (*gap, id);
        Step::Gap { id }
    }

    fn missed(&mut self, first: u64, missed: u64, cut_off: bool) -> Step {
        self.catch_up_with(first, first.saturating_add(missed), false);
        self.seat.add(seat_word!(reading.missed), missed);
        self.seat.add(seat_word!(reading.lagged), 1);
        Step::Lagged { first, missed, cut_off }
    }

    /// Returns the first id that is not delivered.
    #[inline]
    pub(crate) fn cursor(&self) -> u64 {
        self.ahead.first_id().unwrap_or(self.next)
    }

    /// Returns the first id that is not delivered, or from which on the reader may lack retained events.
    #[inline]
    pub(crate) fn handled_below(&self) -> u64 {
        self.catch_up.from().map_or(self.cursor(), |from| from.min(self.cursor()))
    }

    /// Shows inspectors how far this seat has read, and posts how far it has copied.
    #[inline]
    fn store_cursor(&mut self) {
        self.seat.set(seat_word!(reading.cursor), self.cursor());
        self.show_need();
    }

    /// The same if nothing was copied out ahead.
    #[inline(always)]
    fn store_next(&mut self) {
        self.seat.set(seat_word!(reading.cursor), self.next);
        if self.must.is_some() {
            self.show_need();
        }
    }

    /// R1: shows posts that wait for this reader how far it has copied.
    #[inline]
    fn show_need(&mut self) {
        let need = self.need();
        if let Some(must) = &mut self.must {
            must.pass(need);
        }
    }

    /// Returns the first id that is not copied out. A reserved id that is waited for is not.
    #[inline]
    fn need(&self) -> u64 {
        self.ahead.first_waiting().unwrap_or(self.next)
    }

    #[inline]
    fn look(&self, id: u64) -> Result<Look> {
        self.ring.look(id).in_segment(&self.segment)
    }
}

/// Returns an event's place, as claims count it (see `protocol::claims`).
const fn place_of(id: u64) -> u64 {
    id.saturating_add(1)
}

/// Returns the place of the event after `id`.
const fn place_after(id: u64) -> u64 {
    id.saturating_add(2)
}

/// Returns the id after `id`. Only hostile ids reach the end of the range.
const fn next_id(id: u64) -> u64 {
    id.saturating_add(1)
}
