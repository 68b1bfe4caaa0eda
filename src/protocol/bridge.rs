//! What a segment knows of the bridge that reads it: which unique events are left to the bridge, and how far it is.
//!
//! ```text
//! holder    the token of the bridge's claim on this segment, or 0
//! from      the place from which on unique events are left to the holder, while it lives
//! next      the first place that the bridge has not handled, or 0: there was none
//! sending   the place of the event that it is about to post in the other segment
//! mark      the other segment's next id before that post
//! other     two words: the nonce of the other segment
//! ```
//!
//! ```text
//! worker    Y1  fence                                  after it has read a unique event
//!           Y2  holder; if it lives: leave the event   otherwise claim it
//! bridge    Y3  holder = 0; fence
//!           Y4  claim all unique events that are there
//! ```
//!
//! The claims of the segment decide in any case, so no event runs twice. Y1 and Y3 concern events that nobody would
//! run: if the worker sees the holder at Y2, its fence comes before the one of Y3, and Y4 finds the worker's event.

use super::bucket::Token;
use crate::sync::{Ordering, Words, fence};

const HOLDER: usize = 0;
const FROM: usize = 1;
const NEXT: usize = 2;
const SENDING: usize = 3;
const MARK: usize = 4;
const OTHER: usize = 5;
/// The number of these words.
pub(crate) const BRIDGE_WORDS: usize = 7;

/// The words about the bridge that reads a segment.
#[derive(Clone)]
pub(crate) struct BridgeWords(Words);

/// An event that a bridge may have posted in the other segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    /// Its place in the segment that it was read in.
    pub(crate) place: u64,
    /// The other segment's next id before the post.
    pub(crate) mark: u64,
}

impl BridgeWords {
    pub(crate) fn new(words: Words) -> BridgeWords {
        debug_assert!(words.as_slice().len() >= BRIDGE_WORDS);
        BridgeWords(words)
    }

    /// Returns `true` if the caller, which has read the unique event at `place` through seat `own`, leaves it to the
    /// bridge. `is_over` returns `true` if the tenure in which a claim was won is over.
    #[inline]
    pub(crate) fn leaves(&self, place: u64, own: u16, is_over: impl FnOnce(Token) -> bool) -> bool {
        // Relaxed: if there is a bridge, the look is repeated behind the fence. If this look misses it, the worker
        // claims the event, which is always safe.
        self.0.at(HOLDER).load(Ordering::Relaxed) != 0 && self.leaves_to_holder(place, own, is_over)
    }

    #[cold]
    fn leaves_to_holder(&self, place: u64, own: u16, is_over: impl FnOnce(Token) -> bool) -> bool {
        fence(Ordering::SeqCst); // Y1
        // Acquire: with the `from` of this holder.
        let holder = Token(self.0.at(HOLDER).load(Ordering::Acquire)); // Y2
        // Relaxed: stored before the holder.
        let from = self.0.at(FROM).load(Ordering::Relaxed);
        holder.0 != 0 && place >= from && holder.seat() != own && !is_over(holder)
    }

    /// From now on, unique events from the place `from` on are left to the bridge with this token.
    pub(crate) fn take_over(&self, holder: Token, from: u64) {
        // Relaxed: the holder is stored after it.
        self.0.at(FROM).store(from, Ordering::Relaxed);
        // Release: a worker that sees the holder sees `from`.
        self.0.at(HOLDER).store(holder.0, Ordering::Release);
    }

    /// From now on, no event is left to the bridge. It claims those that are there already.
    pub(crate) fn give_back(&self) {
        self.0.at(HOLDER).store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst); // Y3
    }

    /// Returns the first id that the last bridge to the segment with nonce `other` has not handled, if there was one.
    /// No bridge reads this segment now.
    pub(crate) fn next(&self, other: [u64; 2]) -> Option<u64> {
        // Relaxed, as all accesses that follow: the claim of the bridge orders one bridge after the other.
        let word = |at: usize| self.0.at(at).load(Ordering::Relaxed);
        let is_same = [word(OTHER), word(OTHER + 1)] == other;
        word(NEXT).checked_sub(1).filter(|_| is_same)
    }

    /// Forgets the bridges that were, and begins with one to the segment with nonce `other`.
    pub(crate) fn begin(&self, other: [u64; 2]) {
        self.0.at(NEXT).store(0, Ordering::Relaxed);
        self.0.at(SENDING).store(0, Ordering::Relaxed);
        // Release, as the stores that follow: a process that is killed has made them in this order.
        self.0.at(OTHER).store(other[0], Ordering::Release);
        self.0.at(OTHER + 1).store(other[1], Ordering::Release);
    }

    /// Stores the first id that the bridge has not handled.
    #[inline]
    pub(crate) fn set_next(&self, id: u64) {
        self.0.at(NEXT).store(id.saturating_add(1), Ordering::Release);
    }

    /// Notes an event before it is posted in the other segment.
    #[inline]
    pub(crate) fn set_sending(&self, sending: Sending) {
        self.0.at(MARK).store(sending.mark, Ordering::Release);
        self.0.at(SENDING).store(sending.place, Ordering::Release);
    }

    /// Returns the event that the last bridge may have posted, if that is not before the id `next`.
    pub(crate) fn sending(&self, next: u64) -> Option<Sending> {
        let word = |at: usize| self.0.at(at).load(Ordering::Acquire);
        let sending = Sending { place: word(SENDING), mark: word(MARK) };
        (sending.place > next).then_some(sending)
    }
}
