//! The reading half of a seat: every event in order, gaps named where they are.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::Claim;
use crate::error::Result;
use crate::event::Buffer;
use crate::event::wire::{Head, UniqueKey};
use crate::os::sys;
use crate::protocol::claims::{At, Token};
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

/// Events read one after the other from which on a reader counts as behind, and asks for lines ahead.
const BEHIND: u32 = 8;

/// What the layer above decides while events are copied out.
pub(crate) trait Gate {
    /// Whether somebody here handles the event; if not, its payload is not even copied.
    fn wants(&mut self, head: &Head, prefix: &[u8]) -> bool;
    /// Whether this worker is the one to run a unique event, and with which claim.
    fn claim(&mut self, unique: &UniqueKey, at: At) -> Result<Option<Token>>;
}

/// One step of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next event is [`Reader::current`].
    Event,
    /// The `missed` ids from `first` on were overwritten before they were read.
    Lagged { first: u64, missed: u64 },
    /// An id's seat cannot be what a writer of this crate stores.
    Unreadable { id: u64 },
    /// The next id is reserved and its payload not visible yet.
    Pending(Pending),
    /// Nothing new.
    Empty,
}

/// A reserved id that reading cannot go past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: u64,
    /// Since when it is waited for, by the clock since boot; `None` if this very worker has reserved it: nobody but it
    /// can end that wait, so that waiting would never end it.
    pub(crate) since_ns: Option<u64>,
}

impl Pending {
    /// Whether this very worker has reserved it.
    pub(crate) fn is_own(self) -> bool {
        self.since_ns.is_none()
    }
}

/// An event, copied out.
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) head: Head,
    /// In its first `len` bytes the whole event from its head on; payloads are aligned in it.
    pub(crate) bytes: Buffer,
    pub(crate) len: usize,
    /// The claim by which a unique event is ours.
    pub(crate) claim: Option<Token>,
}

impl Message {
    fn nothing() -> Message {
        Message { id: 0, head: Head::default(), bytes: Buffer::new(), len: 0, claim: None }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[self.head.payload_at()..self.len]
    }

    /// Returns the claim by which a unique event is this seat's.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let (token, unique) = (self.claim?, self.head.unique.as_ref()?);
        Some(Claim { key: unique.key, token })
    }
}

/// What came of reading one id.
enum Taken {
    /// An event, which is `current`.
    Event,
    /// No event for this worker: not wanted, run by another worker, or a fragment that is not the last.
    Nothing,
    /// Overwritten while it was copied.
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
    /// The place from which on every event was read (see `protocol::claims`).
    since: u64,
    /// Not empty while ids are waited for: then it begins with one of them.
    ahead: ReadAhead,
    fragments: Fragments,
    current: Message,
    wait_max_ns: u64,
    /// Events read since the last look that found none, up to [`BEHIND`].
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

    /// The longest wait for a reserved id's payload, in nanoseconds.
    pub(crate) fn set_wait_max(&mut self, ns: u64) {
        self.wait_max_ns = ns;
    }

    pub(crate) fn seat(&self) -> &SeatWords {
        &self.seat
    }

    /// The id that reading goes on with.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether something was copied out that is not delivered yet.
    pub(crate) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether there is nothing to read now. As [`Step::Empty`] says, for less.
    #[inline]
    pub(crate) fn is_at_end(&mut self) -> bool {
        let at_end = self.streak < BEHIND && self.ahead.is_empty() && self.ring.is_empty_at(self.next);
        if at_end {
            self.streak = 0;
        }
        at_end
    }

    /// The event of the last [`Step::Event`].
    #[inline]
    pub(crate) fn current(&self) -> &Message {
        &self.current
    }

    /// The unique events that were copied out and claimed, in order. The rest of what was copied out is left.
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

    /// One step from what was copied out ahead, if there is any.
    fn read_ahead(&mut self, gate: &mut impl Gate) -> Result<Option<Step>> {
        let mut tries = Tries::new();
        while let Some(front) = self.ahead.front() {
            if let &Ahead::Waiting { id, first_met_ns } = front {
                if let Some(step) = self.read_waiting(id, first_met_ns, &mut tries, gate)? {
                    return Ok(Some(step));
                }
                // It was no event for us, and there may be nothing behind it.
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

    /// One step at the id that is waited for, which is the first of those ahead. `None` if it led to nothing: then the
    /// caller goes on with what is first now.
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
                // Decided, by us or by another: look again. Who reserves it anew each time is no worker.
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

    /// Copies out what is readable behind an id that is waited for, so that its reserver's slowness costs nobody else's
    /// events.
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

    /// Gives the reserved `id` up if its reserver is proven dead, or alive but too slow. `false` if it is to be waited
    /// for.
    fn give_up(&mut self, id: u64, first_met_ns: u64) -> Result<bool> {
        if self.ring.reserved_by(self.seat_number) == Some(id) {
            // Nobody but we can end that wait, so that waiting would never end it.
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

    /// Whether the next step gives up a reserved id that this seat has met.
    pub(crate) fn gives_up(&self, pending: Pending) -> bool {
        self.left_of_wait(pending).is_some_and(|left| left.is_zero() || !self.reserver_lives(pending.id))
    }

    /// How long it is still waited for; `None` if it is this seat's own.
    pub(crate) fn left_of_wait(&self, pending: Pending) -> Option<Duration> {
        let waited = sys::boottime_ns().saturating_sub(pending.since_ns?);
        Some(Duration::from_nanos(self.wait_max_ns.saturating_sub(waited)))
    }

    /// Whether a live process says that it has reserved `id`. If that cannot be told, as the segment's descriptor is
    /// lost, it counts as alive: the wait for it has an end.
    fn reserver_lives(&self, id: u64) -> bool {
        (0..=self.segment.geometry().last_seat())
            .any(|seat| self.ring.reserved_by(seat) == Some(id) && self.segment.is_seat_held(seat).unwrap_or(true))
    }

    /// Copies the event at `id` out, if it is one for us.
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
                // It may be a unique event. Who has all of it decides, and our later claims must not speak for it.
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
            // We leave its fate to those who handle it, so that our later claims must not speak for it.
            self.read_from_after(id);
        }
    }

    /// Asks for a unique event in `current` whether it is ours.
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

    /// Where our claims may begin to speak, for an id that was waited for: it is read before what follows it.
    fn since_before(&self, id: u64) -> u64 {
        self.since.min(place_of(id))
    }

    /// The same for an id that was read while others before it are waited for: those are not read yet.
    fn since_with_waiting(&self) -> u64 {
        self.ahead.last_waiting().map_or(self.since, |id| self.since.max(place_after(id)))
    }

    /// Refuses a lap that the event id denies, which would otherwise be followed by another and another.
    fn check_lapped(&self, id: u64) -> Result<()> {
        if self.ring.confirms_lap(id) {
            Ok(())
        } else {
            Err(self.segment.corrupt("a cell is ahead of the event id by more than a lap"))
        }
    }

    /// Leaves out what was overwritten. Returns how many ids that are.
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

    /// Says that not every event up to `id` was read.
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

    /// The first id that is not delivered.
    #[inline]
    pub(crate) fn cursor(&self) -> u64 {
        self.ahead.first_id().unwrap_or(self.next)
    }

    /// Says to those who look how far we are.
    #[inline]
    fn store_cursor(&self) {
        self.seat.set(seat_word!(reading.cursor), self.cursor());
    }

    #[inline]
    fn look(&self, id: u64) -> Result<Look> {
        self.ring.look(id).in_segment(&self.segment)
    }
}

/// An event's place, as claims count (see `protocol::claims`).
const fn place_of(id: u64) -> u64 {
    id.saturating_add(1)
}

/// The place of the event after `id`.
const fn place_after(id: u64) -> u64 {
    id.saturating_add(2)
}

/// The id after `id`. Honest ids never come near the end.
const fn next_id(id: u64) -> u64 {
    id.saturating_add(1)
}
