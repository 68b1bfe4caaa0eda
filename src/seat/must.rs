//! The part of a reader that posts wait for.

use std::sync::Arc;

use crate::protocol::ring::Ring;
use crate::protocol::room::Musts;
use crate::protocol::wake;
use crate::protocol::word::MustWord;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::{header_word, seat_word};
use crate::sync::{Ordering, fence};

/// What makes posts wait for a reader: see `protocol::room`.
pub(crate) struct MustRead {
    segment: Arc<Segment>,
    musts: Musts,
    words: SeatWords,
    seat: u16,
    patience_ns: u64,
    /// The word of the present join.
    must: MustWord,
    /// The need that was stored last.
    need: u64,
    /// The id from which on the reader is safe since it was cut off the last time. 0 if it never was.
    cut_off_below: u64,
    /// `true` if a need was stored since the last fence: a sleeper may have missed it.
    unseen: bool,
}

impl MustRead {
    /// J1 to J3: posts wait for the reader of `seat`, for `patience_ns` each. A reader that has begun already gives its
    /// `need`; the next event of any other reader is taken from the ring after this call.
    pub(crate) fn join(segment: &Arc<Segment>, seat: u16, patience_ns: u64, need: Option<u64>) -> MustRead {
        let words = SeatWords::of(&segment.seats(), seat);
        words.set(seat_word!(reading.patience), patience_ns);
        let musts = segment.musts();
        let (must, _) = musts.join(seat, &segment.ring(), need);
        let need = musts.need(seat);
        MustRead {
            segment: Arc::clone(segment),
            musts,
            words,
            seat,
            patience_ns,
            must,
            need,
            cut_off_below: 0,
            unseen: true,
        }
    }

    /// Changes how long a post waits.
    pub(crate) fn set_patience(&mut self, patience_ns: u64) {
        if self.patience_ns != patience_ns {
            self.patience_ns = patience_ns;
            self.words.set(seat_word!(reading.patience), patience_ns);
        }
    }

    /// Returns how long a post waits, in nanoseconds.
    pub(crate) fn patience_ns(&self) -> u64 {
        self.patience_ns
    }

    /// R1: every id below `need` is copied out.
    #[inline]
    pub(crate) fn pass(&mut self, need: u64) {
        if self.need != need {
            self.need = need;
            self.musts.pass(self.seat, need);
            self.unseen = true;
            self.wake_sleepers();
        }
    }

    /// R2: the reader may sleep now. A post that has gone to sleep just before a need was stored is woken.
    #[inline]
    pub(crate) fn rest(&mut self) {
        if self.unseen {
            self.unseen = false;
            // SeqCst fence: with the one in `wake::nap`. Either the sleeper sees the need, or we see the sleeper.
            fence(Ordering::SeqCst);
            self.wake_sleepers();
        }
    }

    #[inline]
    fn wake_sleepers(&self) {
        if wake::has_sleeper(self.segment.wake_word(header_word!(wake_room))) {
            self.segment.notify(header_word!(wake_room));
        }
    }

    /// If the reader was cut off, makes posts wait for it again.
    #[inline]
    pub(crate) fn go_on(&mut self, ring: &Ring) {
        let now = self.musts.of(self.seat);
        if now != self.must {
            self.join_again(now, ring);
        }
    }

    #[cold]
    fn join_again(&mut self, found: MustWord, ring: &Ring) {
        if found.is_cut() {
            self.words.add(seat_word!(reading.cut_off), 1);
        }
        let (must, safe_from) = self.musts.join(self.seat, ring, Some(self.need));
        (self.must, self.cut_off_below) = (must, safe_from);
        // Posts that wait for it as it was look again.
        self.segment.notify(header_word!(wake_room));
    }

    /// Returns `true` if a lap at `id` is because the reader was cut off.
    pub(crate) fn was_cut_off(&mut self, id: u64, ring: &Ring) -> bool {
        let now = self.musts.after_lap(self.seat);
        if now != self.must {
            self.join_again(now, ring);
        }
        id < self.cut_off_below
    }

    /// L1: posts do not wait for the reader any more.
    pub(crate) fn leave(self) {
        self.segment.leave_must(self.seat);
    }
}

impl Segment {
    /// L1: posts do not wait for the reader of `seat` any more. For its holder, and for the process that adopts it.
    pub(crate) fn leave_must(&self, seat: u16) {
        if self.musts().leave(seat) {
            self.notify(header_word!(wake_room));
        }
    }
}
