//! Takes a seat on the bus: its lock, its words, and what its last holder left.

pub(crate) mod adopt;
pub(crate) mod ahead;
pub(crate) mod audit;
pub(crate) mod bell;
pub(crate) mod bridge;
pub(crate) mod catch_up;
pub(crate) mod claim;
pub(crate) mod claim_clock;
pub(crate) mod copy;
pub(crate) mod delivery;
mod draft;
pub(crate) mod filter;
pub(crate) mod fragmented;
pub(crate) mod fragments;
pub(crate) mod holder;
pub(crate) mod holding;
pub(crate) mod large;
pub(crate) mod must;
pub(crate) mod options;
mod pace;
mod placement;
pub(crate) mod post;
pub(crate) mod post_with;
pub(crate) mod publish;
pub(crate) mod publisher;
pub(crate) mod read;
pub(crate) mod relay;
pub(crate) mod report;
pub(crate) mod reservation;
pub(crate) mod retain;
pub(crate) mod retained;
pub(crate) mod room;
pub(crate) mod stats;
pub(crate) mod subscriber;
pub(crate) mod tenure;
pub(crate) mod visit;
mod visiting;
pub(crate) mod words;

use std::sync::Arc;

use crate::error::{Cause, Error, Result};
use crate::event::Died;
use crate::event::wire::Head;
use crate::os::clock::HostClock;
use crate::os::fork::ForkGuard;
use crate::os::sys;
use crate::protocol::Fault;
use crate::protocol::seat_words::{ATTEMPT, WORDS};
use crate::protocol::word::Stamp;
use crate::seat::adopt::{Adopted, adopt_all};
use crate::seat::claim::Claimer;
use crate::seat::holder::{holders, is_own_leftover, lives_without_lock, looks_free};
use crate::seat::holding::keys_of;
use crate::seat::options::WorkerOptions;
use crate::seat::publish::Writer;
use crate::seat::tenure::{Incarnation, Tenure};
use crate::seat::words::SeatWords;
use crate::segment::layout::{LABEL_BYTES, seat_word};
use crate::segment::pools::POOLS;
use crate::segment::{Segment, fork_guard};
use crate::sync::{Ordering, Words};

/// A seat that the calling process holds, with its posting and claiming halves.
pub(crate) struct Seat {
    pub(crate) segment: Arc<Segment>,
    pub(crate) guard: ForkGuard,
    pub(crate) tenure: Tenure,
    pub(crate) incarnation: Incarnation,
    pub(crate) number: u16,
    pub(crate) words: SeatWords,
    pub(crate) writer: Writer,
    pub(crate) claimer: Claimer,
    pub(crate) clock: HostClock,
    pub(crate) pid: u32,
    /// The last holder, if it has died and its death was not reported yet.
    died: Option<Died>,
}

/// The resource that an error names if every free seat has used up its publication attempts.
const USED_UP: &str = "the publication attempts of every seat that is not held";

/// Returns `true` if one of the seat's hands has used up its attempt numbers, which never repeat.
fn is_used_up(words: &SeatWords) -> bool {
    POOLS.iter().any(|pool| words.get(pool.hand + ATTEMPT) >= Stamp::LAST_ATTEMPT)
}

/// The cursor of a seat that only posts.
pub(crate) const NO_CURSOR: u64 = u64::MAX;

impl Seat {
    /// Takes a seat that no live process holds, even if the holder has lost its lock, and that can still publish. Tries
    /// the first few seats and those that [look free](looks_free) before all others.
    pub(crate) fn take(segment: &Arc<Segment>, label: &str) -> Result<Seat> {
        let guard = fork_guard(segment.name())?;
        let used_up = |seat| is_used_up(&SeatWords::of(&segment.seats(), seat));
        let is_free = |seat| !used_up(seat) && (!lives_without_lock(segment, seat) || is_own_leftover(segment, seat));
        let Some((seat, lock)) = segment.take_free_seat(guard, looks_free(segment), is_free)? else {
            if (0..=segment.geometry().last_seat()).any(used_up) {
                return Err(segment.fault(Fault::Exhausted(USED_UP)));
            }
            let seats = segment.geometry().seats as u32;
            return Err(Error::from(Cause::NoSeat {
                name: segment.name().to_owned(),
                seats,
                holders: holders(segment),
            }));
        };
        let words = SeatWords::of(&segment.seats(), seat);
        let died = Died::left_by(segment, seat);
        let Adopted { posting, claim_hand, had_reserved } = adopt_all(segment, seat)?;
        if had_reserved {
            segment.wake_for_decided();
        }
        let (pid, clock) = (sys::pid(), HostClock::of_this_process());
        identify(&words, pid, label);
        let tenure = Tenure::new(segment, guard, lock, words.clone(), seat);
        Ok(Seat {
            writer: Writer::new(Arc::clone(segment), posting, words.clone(), pid),
            claimer: Claimer::new(Arc::clone(segment), claim_hand, words.clone(), clock),
            clock,
            segment: Arc::clone(segment),
            guard,
            incarnation: tenure.incarnation(),
            tenure,
            number: seat,
            words,
            pid,
            died,
        })
    }

    /// If the last holder of the seat has died, posts an event that reports this.
    pub(crate) fn tell_death(&mut self, options: &WorkerOptions) -> Result<()> {
        match self.died.take().filter(|_| options.announce) {
            Some(died) => self.writer.post_death(&died),
            None => Ok(()),
        }
    }
}

impl Died {
    /// Returns what the last holder of `seat` has left, if it has died. The caller holds the lock of the seat and has
    /// not adopted it yet.
    pub(crate) fn left_by(segment: &Segment, seat: u16) -> Option<Died> {
        let words = SeatWords::of(&segment.seats(), seat);
        let pid = words.get(seat_word!(identity.pid)) as u32;
        if pid == 0 {
            return None;
        }
        // If the claims region cannot be read, a later claim reports it.
        let keys = keys_of(segment, seat, HostClock::of_this_process().boottime_ns()).unwrap_or_default();
        Some(Died {
            seat: u32::from(seat),
            pid,
            label: label_of(&words),
            reserved: segment.ring().reserved_by(seat),
            claims: keys.len() as u64,
            keys,
        })
    }
}

impl Seat {
    /// Returns an error if the seat is not the calling process's.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        self.guard.check()?;
        self.incarnation.check(&self.segment)
    }
}

/// Returns `true` if the process that holds `seat` and has the id `pid` posted the event. The pid alone is not enough:
/// workers in different containers may have the same one.
#[inline(always)]
pub(crate) fn is_of_process(seats: &Words, head: &Head, pid: u32, seat: u16) -> bool {
    head.pid() == pid && (head.seat() == seat || are_of_one_process(seats, head.seat(), seat))
}

/// Returns `true` if the same process holds both seats, or held them last. If the poster's seat was taken again in the
/// meantime, its event counts as another process's. That does no harm.
#[inline(never)]
fn are_of_one_process(seats: &Words, one: u16, other: u16) -> bool {
    process_of(seats, one) == process_of(seats, other)
}

/// Returns the pid namespace and the start time of the process that holds `seat`, or held it last.
fn process_of(seats: &Words, seat: u16) -> Option<[u64; 2]> {
    let words = seats.as_slice().get(usize::from(seat) * WORDS..)?;
    // Relaxed: stored before the worker's first post, whose cell the caller has read.
    let word = |index: usize| words.get(index).map(|word| word.load(Ordering::Relaxed));
    Some([word(seat_word!(identity.pid_namespace))?, word(seat_word!(identity.start_time))?])
}

/// Stores the identity of the new holder, and resets the seat's counters.
fn identify(words: &SeatWords, pid: u32, label: &str) {
    let died = words.get(seat_word!(identity.pid)) != 0;
    for word in (seat_word!(posting.posted)..seat_word!(reading))
        .chain(seat_word!(reading)..seat_word!(claiming))
        .chain(seat_word!(claiming.won)..seat_word!(identity))
    {
        words.set(word, 0);
    }
    words.set(seat_word!(reading.cursor), NO_CURSOR);
    words.add(seat_word!(identity.incarnation), 1);
    if died {
        words.add(seat_word!(identity.adopted), 1);
    }
    set_label(words, label);
    words.set(seat_word!(identity.start_time), sys::own_start_time().unwrap_or(0));
    words.set(seat_word!(identity.pid_namespace), sys::pid_namespace().unwrap_or(0));
    words.set(seat_word!(identity.program), sys::program());
    words.set(seat_word!(identity.joined_at), sys::wall_ns());
    words.set(seat_word!(identity.pid), u64::from(pid));
}

/// Stores as much of `label` as fits, in whole characters.
pub(crate) fn set_label(words: &SeatWords, label: &str) {
    let mut bytes = [0; LABEL_BYTES];
    let end = (0..=LABEL_BYTES.min(label.len())).rev().find(|&end| label.is_char_boundary(end)).unwrap_or(0);
    bytes[..end].copy_from_slice(&label.as_bytes()[..end]);
    for (i, chunk) in bytes.as_chunks::<8>().0.iter().enumerate() {
        words.set(seat_word!(identity.label) + i, u64::from_ne_bytes(*chunk));
    }
}

/// Returns a seat's label. Bytes that are not UTF-8 become replacement characters.
pub(crate) fn label_of(words: &SeatWords) -> String {
    let mut bytes = [0; LABEL_BYTES];
    for (i, chunk) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *chunk = words.get(seat_word!(identity.label) + i).to_ne_bytes();
    }
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(LABEL_BYTES);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::SegmentOptions;

    // In a process of its own: a child that another test forks while a seat is freed would keep its lock for a moment.
    seqcast_testkit::alone! {
        fn g7_a_seat_whose_attempts_are_used_up_is_given_to_nobody() {
            let count = POOLS.len();
            let options = SegmentOptions::new().capacity(8).claims(8).large(2, 64).seats(count as u64 + 1);
            let segment = Arc::new(Segment::anonymous(&options).unwrap());
            // Each seat but the last has used up its hand of one pool.
            for (seat, pool) in (0..).zip(&POOLS) {
                segment.hand(pool.id, seat).at(ATTEMPT).store(Stamp::LAST_ATTEMPT, Ordering::Relaxed);
            }
            let seat = Seat::take(&segment, "").unwrap();
            assert_eq!(usize::from(seat.number), count, "a worker was given a seat with which it cannot post or claim");
            let error = Seat::take(&segment, "").map(|seat| seat.number).unwrap_err();
            assert!(matches!(error.cause(), Cause::Exhausted { what: USED_UP, .. }), "{error}");
            drop(seat);
            assert_eq!(usize::from(Seat::take(&segment, "").unwrap().number), count);
        }
    }
}
