//! A tiny claims region and its users.

use crate::protocol::bucket::{
    At, BUCKET_HEAD_WORDS, Bucket, Decision, ENTRY_WORDS, Ends, Extended, Extension, Key, Term, Token,
};
use crate::protocol::claims::{Claims, Clock, SeatLocks};
use crate::protocol::pool::{HEAD_WORDS, Hand, Pool};
use crate::protocol::seat_words::{self, HAND_WORDS};
use crate::protocol::word::CellWord;
use crate::sync::{Mode, Ordering, Words};

/// The time of one call.
struct Time(u64);

/// Times further ahead than this can be told without the clock.
const FAR: u64 = 100;

impl Clock for Time {
    fn now(&mut self) -> u64 {
        self.0
    }

    fn left_until_far(&mut self, deadline: u64) -> Option<u64> {
        deadline.checked_sub(self.0).filter(|&left| left > FAR)
    }
}

/// The kernel's locks of the seats: one word for each, 0 if it is free. The kernel orders all operations on a lock and
/// always answers with the latest state, so loads are read-modify-writes.
#[derive(Clone)]
struct Kernel(Words);

impl SeatLocks for Kernel {
    fn is_free(&self, seat: u16) -> bool {
        self.0.at(seat.into()).load(Ordering::Acquire) == 0
    }
}

fn term(ttl: u64, ends: Ends) -> Term {
    Term { ttl, ends }
}

/// A claims region with one bucket, for the ring of `capacity` cells whose tail is given.
#[derive(Clone)]
pub(crate) struct Region {
    pub(crate) claims: Claims,
    pool: Pool,
    cells: Words,
    seats: Words,
    kernel: Kernel,
    count: u16,
}

impl Region {
    pub(crate) fn new(mode: Mode, entries: usize, seats: u16, capacity: u64, tail: Words) -> Region {
        let control = |_| Some(mode);
        let stride = HEAD_WORDS + BUCKET_HEAD_WORDS + entries * ENTRY_WORDS;
        let block_word =
            |word: usize| Some(if word.is_multiple_of(stride) { mode.of_exchanged() } else { Mode::Plain });
        let hand_word = |word: usize| {
            (seat_words::CLAIM_HAND..=seat_words::CLAIMS_BEFORE).contains(&(word % seat_words::WORDS)).then_some(mode)
        };
        let cells = Words::new(1, control);
        let pool = Pool::new(cells.clone(), Words::new((1 + usize::from(seats)) * stride, block_word), stride);
        let seat_words = Words::new(usize::from(seats) * seat_words::WORDS, hand_word);
        let region = Region {
            claims: Claims::new(pool.clone(), 1, seat_words.clone(), tail, capacity),
            pool,
            cells,
            seats: seat_words,
            kernel: Kernel(Words::new(seats.into(), |_| Some(Mode::OF_KERNEL))),
            count: seats,
        };
        let hands: Vec<Words> = (0..seats).map(|seat| region.hand_words(seat)).collect();
        region.pool.format(&hands);
        region
    }

    fn hand_words(&self, seat: u16) -> Words {
        self.seats.sub(usize::from(seat) * seat_words::WORDS + seat_words::CLAIM_HAND, HAND_WORDS)
    }

    /// Takes over `seat`, whose last holder is dead, has left or never existed.
    pub(crate) fn adopt(&self, seat: u16) -> Hand {
        self.claims.end_tenure(seat);
        Hand::adopt(&self.pool, self.hand_words(seat), seat).expect("a sound seat")
    }

    pub(crate) fn claim(&self, hand: &mut Hand, key: Key, ttl: u64, at: Option<At>, now: u64) -> Decision {
        if at.is_none() {
            // As in the crate's `Claimer`.
            let in_place = self.held_for_long(key, now).or_else(|| self.claim_in_place(hand, key, ttl, now));
            if let Some(decision) = in_place {
                return decision;
            }
        }
        self.claim_by_copy(hand, key, ttl, at, now)
    }

    pub(crate) fn held_for_long(&self, key: Key, now: u64) -> Option<Decision> {
        self.claims.held_for_long(self.claims.look_for(key), &mut Time(now))
    }

    pub(crate) fn claim_in_place(&self, hand: &mut Hand, key: Key, ttl: u64, now: u64) -> Option<Decision> {
        let term = term(ttl, Ends::AtDeadline);
        self.claims.claim_in_place(hand, self.claims.look_for(key), key, term, &mut Time(now)).expect("a sound region")
    }

    /// Like `claim`, without the shortcut in place.
    pub(crate) fn claim_by_copy(&self, hand: &mut Hand, key: Key, ttl: u64, at: Option<At>, now: u64) -> Decision {
        self.rule(hand, key, term(ttl, Ends::AtDeadline), at, now)
    }

    pub(crate) fn release(&self, hand: &mut Hand, key: Key, token: Token, now: u64) -> bool {
        let (bucket, clock) = (&mut Bucket::default(), &mut Time(now));
        self.claims.release(hand, bucket, key, token, clock, &self.kernel).expect("a sound region")
    }

    fn rule(&self, hand: &mut Hand, key: Key, term: Term, at: Option<At>, now: u64) -> Decision {
        let (bucket, clock) = (&mut Bucket::default(), &mut Time(now));
        self.claims.claim(hand, bucket, key, term, at, clock, &self.kernel).expect("a sound region")
    }

    /// Takes the lock of a free seat, and adopts it.
    pub(crate) fn take(&self, seat: u16) -> Hand {
        self.kernel.0.at(seat.into()).store(1, Ordering::Release);
        self.adopt(seat)
    }

    /// Frees the lock, as the kernel does when the holder of the seat has died.
    pub(crate) fn bury(&self, seat: u16) {
        self.kernel.0.at(seat.into()).store(0, Ordering::Release);
    }

    /// Claims a key until the holder ends, as the crate's `Claimer` does.
    pub(crate) fn claim_for_life(&self, hand: &mut Hand, key: Key, ttl: u64, now: u64) -> Decision {
        let (found, term) = (self.claims.look_for(key), term(ttl, Ends::WithHolder));
        let held = self.claims.held_for_long(found, &mut Time(now));
        let in_place = || self.claims.claim_in_place(hand, found, key, term, &mut Time(now)).expect("a sound region");
        held.or_else(in_place).unwrap_or_else(|| self.rule(hand, key, term, None, now))
    }

    pub(crate) fn extend(&self, hand: &mut Hand, key: Key, token: Token, extension: Extension, now: u64) -> Extended {
        let (bucket, clock) = (&mut Bucket::default(), &mut Time(now));
        self.claims.extend(hand, bucket, key, token, extension, clock, &self.kernel).expect("a sound region")
    }

    pub(crate) fn left(&self, key: Key, token: Token, now: u64) -> u64 {
        let bucket = &mut Bucket::default();
        self.claims.left(bucket, key, token, &mut Time(now), &self.kernel).expect("a sound region")
    }

    /// Checks that each block is in one place.
    pub(crate) fn judge(&self) {
        let mut places = vec![CellWord::from_bits(self.cells.at(0).at_rest()).block().into()];
        places.extend((0..self.count).map(|seat| self.hand_words(seat).at(seat_words::OWN).at_rest()));
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..=u64::from(self.count)), "blocks are in the places {places:?}");
    }
}
