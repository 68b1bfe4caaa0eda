//! Readers that are waited for: whether the next ids may be taken without lapping one of them.
//!
//! ```text
//! must     63 ........ 2   1    0
//!          [ join: 62 ][CUT][ON]          one word for each seat, in a region of its own
//! need     the first id that the reader has not copied out, in the reading part of its seat
//! ```
//!
//! ```text
//! post, reserve, at id t          t + n <= limit: take it                  limit is private and never goes back
//!   S1  fence(SeqCst)
//!   S2  least = t;  for each seat with ON and not CUT: least = min(least, need)
//!   S3  limit = max(limit, least + capacity);  t + n <= limit: take it
//!   S4  the slowest is dead: clear ON by compare-exchange;  the post must not wait: Full
//!   S5  it has waited for the slowest one's patience: set CUT by compare-exchange
//!   S6  otherwise sleep on `wake_room`, and begin again
//!
//! reader   J1  need = newest();  must = (join + 1, ON)      joins, or goes on after it was cut off
//!          J2  fence(SeqCst)
//!          J3  safe from newest() on
//!          R1  need = the next id, after an event was copied and looked at a second time;  wake sleepers
//!          R2  at the end of a poll: fence(SeqCst);  wake sleepers
//!          L1  must = (join, neither)
//!          L2  fence(SeqCst);  wake sleepers
//! ```
//!
//! A limit stays right: needs only grow, and a reader that joins or goes on later is safe from an id that is at least
//! t. So no post depends on the limit of another one, and a post that stopped between S3 and its exchange does no harm.
//!
//! *A joiner meets a scan.* The scan has seen that all ids below t are taken. If S1 comes before J2, J3 finds t or a
//! later id. If J2 comes before S1, S2 finds the reader, and a need that is not above the id of J3.
//!
//! *Joins are counted*, so a compare-exchange of S4 or S5 that comes late changes nothing: neither for the next holder
//! of the seat nor for the same reader after it has gone on.

use super::load_acquire;
use super::ring::Ring;
use super::seat_words::{NEED, PATIENCE, WORDS};
use super::word::MustWord;
use crate::sync::{AtomicU64, Ordering, Words, fence};

/// The reader that a post is waiting for: the one that is furthest behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slowest {
    pub(crate) seat: u16,
    /// The word of the seat, as the scan found it.
    pub(crate) must: MustWord,
    /// The first id that the reader has not copied out.
    pub(crate) need: u64,
}

/// S2: a scan of the readers that are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) least: u64,
    pub(crate) slowest: Option<Slowest>,
}

impl Scan {
    /// Begins a scan for the id `free`, below which every id is taken.
    pub(crate) fn from(free: u64) -> Scan {
        Scan { least: free, slowest: None }
    }

    /// Takes in one seat.
    pub(crate) fn meet(&mut self, seat: u16, must: MustWord, need: u64) {
        if must.is_waited_for() && need < self.least {
            self.least = need;
            self.slowest = Some(Slowest { seat, must, need });
        }
    }
}

/// The id up to which a seat may post without a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit(pub(crate) u64);

impl Limit {
    /// Returns the first id that may not be taken.
    pub(crate) fn end(self) -> u64 {
        self.0
    }

    /// S3: takes in what a scan has found. Returns the reader to wait for if the ids from `id` to `id + count - 1` must
    /// not be taken.
    pub(crate) fn take_in(&mut self, scan: Scan, capacity: u64, id: u64, count: u64) -> Option<Slowest> {
        self.0 = self.0.max(scan.least.saturating_add(capacity));
        // Without a reader, the limit is a whole ring ahead of the id.
        if self.has(id, count) { None } else { scan.slowest }
    }

    /// Returns `true` if the ids from `id` to `id + count - 1` may be taken.
    pub(crate) fn has(self, id: u64, count: u64) -> bool {
        id.saturating_add(count) <= self.0
    }
}

/// What a post that has found no room does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// S4: the reader is dead, and no post waits for it.
    Bury,
    /// S4: the post answers that there is no room.
    Refuse,
    /// S5: the reader is cut off.
    CutOff,
    /// S6: the post sleeps, for at most this many nanoseconds.
    Sleep(u64),
}

impl Blocked {
    /// Returns what a post does that has waited for `waited_ns` in all, for a reader with this patience. `may_wait` is
    /// `false` if the post must not wait, or comes from a reader that is waited for itself.
    pub(crate) fn next(is_dead: bool, may_wait: bool, waited_ns: u64, patience_ns: u64) -> Blocked {
        if is_dead {
            Blocked::Bury
        } else if !may_wait {
            Blocked::Refuse
        } else if waited_ns >= patience_ns {
            Blocked::CutOff
        } else {
            Blocked::Sleep(patience_ns - waited_ns)
        }
    }
}

/// The words of the readers that are waited for.
#[derive(Clone)]
pub(crate) struct Musts {
    /// One word for each seat.
    words: Words,
    seats: Words,
}

impl Musts {
    /// `words` has one word for each of the `seats`.
    pub(crate) fn new(words: Words, seats: Words) -> Musts {
        Musts { words, seats }
    }

    /// Returns the word of a seat.
    pub(crate) fn of(&self, seat: u16) -> MustWord {
        // Acquire: with the need that was stored before it.
        MustWord::from_bits(load_acquire(self.word(seat)))
    }

    /// Returns the word of a seat whose reader has found its next id overwritten: the cut that was the reason is in it.
    pub(crate) fn after_lap(&self, seat: u16) -> MustWord {
        // Acquire fence: the second look, which may have found the lap, is relaxed. The post that lapped the reader had
        // cut it off, or had seen the cut, before its exchange.
        fence(Ordering::Acquire);
        self.of(seat)
    }

    /// Returns the first id that the reader of a seat has not copied out.
    pub(crate) fn need(&self, seat: u16) -> u64 {
        // Acquire: the reader has copied all ids below it before they are overwritten.
        load_acquire(self.seat_word(seat, NEED))
    }

    /// Returns how long a post waits for the reader of a seat, in nanoseconds.
    pub(crate) fn patience(&self, seat: u16) -> u64 {
        // Relaxed: the number counts by itself.
        self.seat_word(seat, PATIENCE).load(Ordering::Relaxed)
    }

    /// S1, S2: looks for the reader that is furthest behind. Every id below `free` is taken, and the caller has seen
    /// that.
    pub(crate) fn scan(&self, free: u64) -> Scan {
        // SeqCst fence: with the one in `join`.
        fence(Ordering::SeqCst); // S1
        let mut scan = Scan::from(free);
        for seat in 0..self.words.as_slice().len() {
            let seat = seat as u16;
            let must = self.of(seat); // S2
            if must.is_waited_for() {
                scan.meet(seat, must, self.need(seat));
            }
        }
        scan
    }

    /// Returns the words of the readers that ask to be waited for, also of those that were cut off. A reader that is
    /// not among them joins later than whatever the caller has seen before.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (u16, MustWord)> {
        // SeqCst fence: with the one in `join`.
        fence(Ordering::SeqCst);
        let seats = 0..self.words.as_slice().len();
        seats.map(|seat| (seat as u16, self.of(seat as u16))).filter(|(_, must)| !must.is_off())
    }

    /// Returns `true` if a post still waits for `slowest`, with which the ids up to `end - 1` lap no reader once it has
    /// copied the ids up to `end - capacity - 1`.
    pub(crate) fn holds_up(&self, slowest: &Slowest, end: u64, capacity: u64) -> bool {
        self.of(slowest.seat) == slowest.must && self.need(slowest.seat).saturating_add(capacity) < end
    }

    /// S4: stops waiting for a reader that is dead.
    pub(crate) fn bury(&self, slowest: &Slowest) {
        // A failure shows that another post did it, or that the seat has been taken over.
        let _ = self.exchange(slowest, slowest.must.left());
    }

    /// S5: cuts a reader off. Returns `false` if it has left or gone on, or another post has cut it off.
    pub(crate) fn cut_off(&self, slowest: &Slowest) -> bool {
        self.exchange(slowest, slowest.must.cut())
    }

    fn exchange(&self, slowest: &Slowest, to: MustWord) -> bool {
        // Release: the reader that is lapped because of it finds it through the cell that the caller exchanges next.
        // SeqCst: for `wake::notify`, as the exchange that publishes.
        let word = self.word(slowest.seat);
        word.compare_exchange(slowest.must.bits(), to.bits(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// J1 to J3, for the reader of `seat`, which has read up to `need`: from now on it is waited for. Returns its word,
    /// and the id from which on it is not lapped.
    pub(crate) fn join(&self, seat: u16, ring: &Ring, need: Option<u64>) -> (MustWord, u64) {
        self.pass(seat, need.unwrap_or_else(|| ring.newest()));
        let must = self.of(seat).joined();
        // Release: a scan that finds the flag finds the need that belongs to it, or a later one.
        self.word(seat).store(must.bits(), Ordering::Release); // J1
        // SeqCst fence: with the one in `scan`.
        fence(Ordering::SeqCst); // J2
        (must, ring.newest()) // J3
    }

    /// R1: the reader of `seat` has copied out every id below `need`.
    #[inline]
    pub(crate) fn pass(&self, seat: u16, need: u64) {
        // Release: the copies come before the exchanges that overwrite their originals.
        self.seat_word(seat, NEED).store(need, Ordering::Release);
    }

    /// L1, L2: the reader of `seat` is not waited for any more. For its holder, also if the last holder is dead.
    /// Returns `false` if it was not waited for before. Otherwise the caller wakes sleepers.
    pub(crate) fn leave(&self, seat: u16) -> bool {
        let must = self.of(seat);
        if must.is_off() {
            return false;
        }
        // Release: nothing of the reader comes after it.
        self.word(seat).store(must.left().bits(), Ordering::Release); // L1
        // SeqCst fence: for `wake::notify`. Either a post that is about to sleep sees that the reader has left, or the
        // caller sees the sleeper.
        fence(Ordering::SeqCst); // L2
        true
    }

    #[inline]
    fn word(&self, seat: u16) -> &AtomicU64 {
        self.words.at(seat.into())
    }

    #[inline]
    fn seat_word(&self, seat: u16, word: usize) -> &AtomicU64 {
        self.seats.at(usize::from(seat) * WORDS + word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(join: u64) -> MustWord {
        (0..join).fold(MustWord::from_bits(0), |must, _| must.joined())
    }

    #[test]
    fn g16_a_limit_is_a_ring_ahead_of_the_slowest_and_never_goes_back() {
        let mut limit = Limit::default();
        assert!(!limit.has(0, 1));
        assert_eq!(limit.take_in(Scan::from(100), 8, 100, 8), None);
        assert_eq!(limit.end(), 108);
        let mut scan = Scan::from(108);
        scan.meet(3, on(1), 104);
        scan.meet(4, on(2), 90);
        scan.meet(5, on(1).cut(), 10);
        scan.meet(6, on(1).left(), 20);
        let slowest = limit.take_in(scan, 8, 108, 1).unwrap();
        assert_eq!(slowest, Slowest { seat: 4, must: on(2), need: 90 });
        assert_eq!(limit.end(), 108, "the limit went back");
        let mut scan = Scan::from(110);
        scan.meet(3, on(1), 104);
        assert_eq!(limit.take_in(scan, 8, 110, 2), None);
        assert_eq!(limit.take_in(scan, 8, 110, 3).map(|slowest| slowest.seat), Some(3));
        assert!(limit.has(111, 1) && !limit.has(112, 1) && !limit.has(u64::MAX, 1));
    }

    #[test]
    fn g17_a_post_waits_no_longer_than_the_patience() {
        assert_eq!(Blocked::next(false, true, 0, 10), Blocked::Sleep(10));
        assert_eq!(Blocked::next(false, true, 9, 10), Blocked::Sleep(1));
        assert_eq!(Blocked::next(false, true, 10, 10), Blocked::CutOff);
        assert_eq!(Blocked::next(false, true, 0, 0), Blocked::CutOff);
        assert_eq!(Blocked::next(false, false, 99, 10), Blocked::Refuse);
        for may_wait in [false, true] {
            assert_eq!(Blocked::next(true, may_wait, 99, 10), Blocked::Bury);
        }
    }
}
