//! The reading half of a seat: it delivers every event in order, and reports each gap at its place.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::Claim;
use crate::error::Result;
use crate::event::Buffer;
use crate::event::wire::{Head, UniqueKey};
use crate::os::sys;
use crate::protocol::bucket::{At, Token};
use crate::protocol::pool::Tries;
use crate::protocol::ring::{Fate, Look, Ring};
use crate::protocol::word::CellWord;
use crate::seat::ahead::{Ahead, ReadAhead};
use crate::seat::copy::{Copied, Published};
use crate::seat::fragments::{Assembled, Fragments};
use crate::seat::options::Begin;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::seat_word;

/// A reader that reads this many events in a row counts as behind, and prefetches the next ones.
const BEHIND: u32 = 8;

/// The decisions of the layer above while events are copied out.
pub(crate) trait Gate {
    /// Returns `true` if the event is to be delivered. Otherwise its payload is not copied.
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool;
    /// Returns the claim if this worker is the one that runs a unique event.
    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>>;
}

/// One step of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next event is [`Reader::current`].
    Event,
    /// The `missed` ids from `first` on were overwritten before they were read.
    Lagged { first: u64, missed: u64 },
    /// The content at an id is not what a writer of this crate stores.
    Unreadable { id: u64 },
    /// The next id is reserved, and its payload is not visible yet.
    Pending(Pending),
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
    pub(crate) claim: Option<Token>,
}

impl Message {
    fn nothing() -> Message {
        Message { id: 0, head: Head::default(), bytes: Buffer::new(), len: 0, claim: None }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.head.payload_at()..self.len]
    }

    /// Returns this seat's claim, if this is a unique event.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let (token, unique) = (self.claim?, self.head.unique.as_ref()?);
        Some(Claim { key: unique.key, token })
    }
}

/// The result of reading one id.
enum Taken {
    /// An event; it is in `current`.
    Event,
    /// No event for this worker: not wanted, run by another worker, or a fragment that is not the last.
    Nothing,
    /// It was overwritten while it was copied.
    Lapped,
    /// The last fragment of a message whose beginning was missed.
    Headless,
    Unreadable,
}

pub(crate) struct Reader {
    segment: Arc<Segment>,
    ring: Ring,
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
    wait_max_ns: u64,
    /// Events read since the reader was last at the end, up to [`BEHIND`].
    streak: u32,
}

impl Reader {
    pub(crate) fn new(segment: Arc<Segment>, seat: SeatWords, seat_number: u16, begin: Begin) -> Reader {
        let ring = segment.ring();
        let start = begin.first;
        seat.set(seat_word!(reading.cursor), start);
        Reader {
            fragments: Fragments::beginning(segment.geometry(), &ring, begin),
            segment,
            ring,
            seat,
            seat_number,
            next: start,
            since: place_of(start),
            ahead: ReadAhead::default(),
            current: Message::nothing(),
            wait_max_ns: 0,
            streak: 0,
        }
    }

    /// Sets the longest wait for a reserved id's payload, in nanoseconds.
    pub(crate) fn set_wait_max(&mut self, ns: u64) {
        self.wait_max_ns = ns;
    }

    pub(crate) fn seat(&self) -> &SeatWords {
        &self.seat
    }

    /// Returns the id that is read next.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns `true` if something was copied out that is not delivered yet.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Returns `true` if there is nothing to read now. Cheaper than a [`read`](Reader::read) that returns
    /// [`Step::Empty`].
    #[inline]
    pub(crate) fn is_at_end(&mut self) -> bool {
        let at_end = self.streak < BEHIND && self.ahead.is_empty() && self.ring.is_empty_at(self.next);
        if at_end {
            self.streak = 0;
        }
        at_end
    }

    /// Returns the event of the last [`Step::Event`].
    #[inline]
    pub(crate) fn current(&self) -> &Message {
        &self.current
    }

    /// Returns the unique events that were copied out and claimed, in order. Drops everything else that was copied out.
    pub(crate) fn take_claimed(&mut self) -> impl Iterator<Item = Message> {
        self.ahead.take_claimed()
    }

    /// Takes one step. Never waits.
    pub(crate) fn read(&mut self, gate: &mut impl Gate) -> Result<Step> {
        let step = loop {
            if let Some(step) = self.read_ahead(gate)? {
                break step;
            }
            let id = self.next;
            match self.look(id)? {
                Look::Empty => {
                    self.streak = 0;
                    return Ok(Step::Empty);
                }
                Look::Published(seen) => {
                    self.next = next_id(id);
                    match self.copy(id, seen, self.since, gate)? {
                        Taken::Event => break Step::Event,
                        Taken::Nothing => {}
                        Taken::Lapped => {
                            self.next = id;
                            break self.lapped();
                        }
                        Taken::Headless => break self.missed_one(id),
                        Taken::Unreadable => break self.unreadable(id),
                    }
                }
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
        Ok(step)
    }

    /// Takes one step from what was copied out ahead, if there is anything.
    fn read_ahead(&mut self, gate: &mut impl Gate) -> Result<Option<Step>> {
        let mut tries = Tries::new();
        while let Some(front) = self.ahead.front() {
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
                Some(Ahead::Lagged { first, missed }) => Some(self.count_missed(first, missed)),
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
                let taken = self.copy(id, seen, self.since_before(id), gate)?;
                self.ahead.pop();
                Ok(match taken {
                    Taken::Event => Some(Step::Event),
                    Taken::Nothing => None,
                    Taken::Lapped | Taken::Headless => Some(self.missed_one(id)),
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
                    match self.copy(id, seen, self.since_with_waiting(), gate)? {
                        Taken::Event => {
                            let message = std::mem::replace(&mut self.current, Message::nothing());
                            self.ahead.push(Ahead::Message(message));
                        }
                        Taken::Nothing => {}
                        Taken::Lapped => {
                            self.next = id;
                            let missed = self.skip_lap();
                            self.ahead.push(Ahead::Lagged { first: id, missed });
                        }
                        Taken::Headless => {
                            self.read_from_after(id);
                            self.ahead.push(Ahead::Lagged { first: id, missed: 1 });
                        }
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
                    let missed = self.skip_lap();
                    self.ahead.push(Ahead::Lagged { first: id, missed });
                }
            }
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

    /// Copies out the event at `id`, if this seat is to deliver it.
    fn copy(&mut self, id: u64, seen: CellWord, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        let published = Published::of(&self.ring, id, seen).in_segment(&self.segment)?;
        self.streak =
            if self.streak < BEHIND { self.streak + 1 } else { BEHIND * u32::from(self.ring.prefetch_after(id)) };
        let wants = |head: &Head, prefix: &[u8]| gate.wants(head, prefix);
        match published.copy_out(&mut self.current.bytes, &mut self.fragments, wants) {
            Copied::Event { head, len } => {
                self.current.id = id;
                self.current.len = len;
                self.current.head = head;
                self.decide(id, since, gate)
            }
            Copied::NotWanted { head, .. } => {
                self.not_wanted(id, &head);
                Ok(Taken::Nothing)
            }
            Copied::Fragment { len } => self.assemble(id, len, since, gate),
            Copied::Lapped => Ok(Taken::Lapped),
            Copied::Unreadable => Ok(Taken::Unreadable),
        }
    }

    /// Adds the fragment in the fragments' buffer to its message.
    fn assemble(&mut self, id: u64, len: usize, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        match self.fragments.add(len, |head, prefix| gate.wants(head, prefix)) {
            Assembled::Whole { head, bytes } => {
                self.current = Message { id, head, len: bytes.len(), bytes, claim: None };
                self.decide(id, since, gate)
            }
            Assembled::NotWanted { head } => {
                self.not_wanted(id, &head);
                Ok(Taken::Nothing)
            }
            Assembled::More => Ok(Taken::Nothing),
            Assembled::BeforeOurTime => {
                // It may be a unique event. A worker that has all its fragments decides it, and this seat's later
                // claims must not cover it.
                self.read_from_after(id);
                Ok(Taken::Nothing)
            }
            Assembled::Headless => Ok(Taken::Headless),
            Assembled::Malformed => Ok(Taken::Unreadable),
        }
    }

    fn not_wanted(&mut self, id: u64, head: &Head) {
        self.seat.add(seat_word!(reading.skipped), 1);
        if head.unique.is_some() {
            // Workers that handle it decide it, and this seat's later claims must not cover it.
            self.read_from_after(id);
        }
    }

    /// If `current` is a unique event, tries to claim it.
    #[inline]
    fn decide(&mut self, id: u64, since: u64, gate: &mut impl Gate) -> Result<Taken> {
        self.current.claim = None;
        if let Some(unique) = &self.current.head.unique {
            self.current.claim = gate.claim(unique, At { place: place_of(id), since })?;
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

    /// Skips the ids that were overwritten. Returns their number.
    fn skip_lap(&mut self) -> u64 {
        let to = self.ring.resume_after_lap(self.next);
        let missed = to - self.next;
        self.next = to;
        self.since = self.since.max(place_of(to));
        missed
    }

    fn lapped(&mut self) -> Step {
        let first = self.next;
        let missed = self.skip_lap();
        self.count_missed(first, missed)
    }

    /// Records that not every event up to `id` was read.
    fn read_from_after(&mut self, id: u64) {
        self.since = self.since.max(place_after(id));
    }

    fn missed_one(&mut self, id: u64) -> Step {
        self.read_from_after(id);
        self.count_missed(id, 1)
    }

    fn unreadable(&mut self, id: u64) -> Step {
        self.read_from_after(id);
        self.seat.add(seat_word!(reading.corrupt), 1);
        Step::Unreadable { id }
    }

    fn count_missed(&self, first: u64, missed: u64) -> Step {
        self.seat.add(seat_word!(reading.missed), missed);
        self.seat.add(seat_word!(reading.lagged), 1);
        Step::Lagged { first, missed }
    }

    /// Returns the first id that is not delivered.
    #[inline]
    pub(crate) fn cursor(&self) -> u64 {
        self.ahead.first_id().unwrap_or(self.next)
    }

    /// Shows inspectors how far this seat has read.
    #[inline]
    fn store_cursor(&self) {
        self.seat.set(seat_word!(reading.cursor), self.cursor());
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
