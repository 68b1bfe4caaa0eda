//! The words of a seat. Each is written by only one half of the worker.

use crate::protocol::seat_words::WORDS;
use crate::sync::{Ordering, Words};

/// The words of one seat, for the half of the worker that may write some of them.
#[derive(Clone)]
pub(crate) struct SeatWords(Words);

impl SeatWords {
    pub(crate) fn of(seats: &Words, seat: u16) -> SeatWords {
        SeatWords(seats.sub(usize::from(seat) * WORDS, WORDS))
    }

    pub(crate) fn words(&self) -> &Words {
        &self.0
    }

    /// Relaxed, as all accesses here: a word has one writer, and readers do not relate words to each other.
    #[inline]
    pub(crate) fn set(&self, word: usize, value: u64) {
        self.0.at(word).store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self, word: usize) -> u64 {
        self.0.at(word).load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn add(&self, word: usize, more: u64) {
        self.set(word, self.get(word).wrapping_add(more));
    }
}
