//! The time for which a worker has its seat.
//!
//! A lock says whose the seat is, and the kernel keeps that for as long as the holder lives. Should it be lost
//! nevertheless, and another process take the seat, the one that was displaced must not touch it any more: the
//! incarnation tells it, for a load of a line that nobody else stores to.

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::os::fork::ForkGuard;
use crate::seat::words::SeatWords;
use crate::segment::layout::seat_word;
use crate::segment::{SeatLock, Segment};
use crate::sync::{Ordering, Words};

/// The hold on a seat. It ends when it is dropped, as the last thing that its holder does with the seat.
pub(crate) struct Tenure {
    guard: ForkGuard,
    lock: SeatLock,
    words: SeatWords,
    incarnation: Incarnation,
}

impl Tenure {
    /// The one that begins now that the seat says who holds it.
    pub(crate) fn new(guard: ForkGuard, lock: SeatLock, words: SeatWords, seat: u16) -> Tenure {
        Tenure { guard, lock, incarnation: Incarnation::of(&words, seat), words }
    }

    /// What tells the holder whether it is over.
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
            // It is another's by now, and there is no lock to give back.
            self.lock.abandon();
            return;
        }
        // What takes the seat next need not count its holder among the dead.
        self.words.set(seat_word!(identity.pid), 0);
        self.lock.release();
    }
}

/// How often a seat had been taken when its holder took it.
#[derive(Clone)]
pub(crate) struct Incarnation {
    seat: u16,
    /// That word of the seat alone.
    word: Words,
    number: u64,
}

impl Incarnation {
    fn of(words: &SeatWords, seat: u16) -> Incarnation {
        let word = words.words().sub(seat_word!(identity.incarnation), 1);
        Incarnation { seat, number: words.get(seat_word!(identity.incarnation)), word }
    }

    /// Whether another process has taken the seat since.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        // Relaxed: one word, which says all there is to know. What is done meanwhile cannot be helped.
        self.word.at(0).load(Ordering::Relaxed) != self.number
    }

    /// [`ErrorKind::Displaced`] if another process has taken the seat since.
    #[inline]
    pub(crate) fn check(&self, segment: &Segment) -> Result<()> {
        if self.is_over() { Err(self.displaced(segment)) } else { Ok(()) }
    }

    #[cold]
    fn displaced(&self, segment: &Segment) -> Error {
        Error::from(Cause::Displaced { name: segment.name().to_owned(), seat: u32::from(self.seat) })
    }
}
