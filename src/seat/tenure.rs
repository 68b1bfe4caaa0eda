//! A worker's hold on its seat.
//!
//! A lock shows who holds the seat, and the kernel keeps it while the holder lives. If the lock is lost anyway and
//! another process takes the seat, the displaced holder must no longer use it. The incarnation tells the holder. The
//! check is one load from a cache line that no other process stores to while the holder has the seat.

use std::sync::Arc;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::os::fork::ForkGuard;
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;
use crate::segment::{SeatLock, Segment};
use crate::sync::{Ordering, Words};

/// The hold on a seat. It ends when it is dropped, which is the last use of the seat by its holder.
pub(crate) struct Tenure {
    segment: Arc<Segment>,
    guard: ForkGuard,
    lock: SeatLock,
    words: SeatWords,
    incarnation: Incarnation,
}

impl Tenure {
    /// Begins the hold. The seat already names its holder.
    pub(crate) fn new(segment: &Arc<Segment>, guard: ForkGuard, lock: SeatLock, words: SeatWords, seat: u16) -> Tenure {
        let incarnation = Incarnation::of(&words, seat);
        Tenure { segment: Arc::clone(segment), guard, lock, words, incarnation }
    }

    /// Returns what the holder checks to see if the hold is over.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation.clone()
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        if self.guard.is_forked() {
            // The seat is the parent's.
            return;
        }
        if self.incarnation.is_over() {
            // The seat belongs to another process now, and there is no lock to release.
            self.lock.abandon();
            return;
        }
        self.segment.leave_must(self.incarnation.seat);
        // The process that takes the seat next must not count this holder as dead.
        self.words.set(seat_word!(identity.pid), 0);
        self.lock.release();
    }
}

/// The number of times that a seat had been taken when its holder took it.
#[derive(Clone)]
pub(crate) struct Incarnation {
    seat: u16,
    /// The seat's incarnation word.
    word: Words,
    number: u64,
}

impl Incarnation {
    fn of(words: &SeatWords, seat: u16) -> Incarnation {
        let word = words.words().sub(seat_word!(identity.incarnation), 1);
        Incarnation { seat, number: words.get(seat_word!(identity.incarnation)), word }
    }

    /// Returns `true` if another process has taken the seat in the meantime.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        // Relaxed: the check needs this word only. A displacement right after the check cannot be prevented.
        self.word.at(0).load(Ordering::Relaxed) != self.number
    }

    /// Returns [`ErrorKind::Displaced`] if another process has taken the seat in the meantime.
    #[inline]
    pub(crate) fn check(&self, segment: &Segment) -> Result<()> {
        if self.is_over() { Err(self.displaced(segment)) } else { Ok(()) }
    }

    #[cold]
    fn displaced(&self, segment: &Segment) -> Error {
        Error::from(Cause::Displaced { name: segment.name().to_owned(), seat: u32::from(self.seat) })
    }
}
