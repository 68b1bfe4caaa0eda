//! A tiny claims region and its users.

use crate::protocol::claims::{At, BUCKET_HEAD_WORDS, Bucket, Claims, Clock, Decision, ENTRY_WORDS, Key, Token};
use crate::protocol::pool::{HEAD_WORDS, Hand, Pool};
use crate::protocol::seat_words::{self, HAND_WORDS};
use crate::protocol::word::CellWord;
use crate::sync::{Mode, Words};

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

/// A claims region with one bucket, for the ring of `capacity` cells whose tail is given.
#[derive(Clone)]
pub(crate) struct Region {
    pub(crate) claims: Claims,
    pool: Pool,
    cells: Words,
    seats: Words,
    count: u16,
}

impl Region {
    pub(crate) fn new(mode: Mode, entries: usize, seats: u16, capacity: u64, tail: Words) -> Region {
        let control = |_| Some(mode);
        let stride = HEAD_WORDS + BUCKET_HEAD_WORDS + entries * ENTRY_WORDS;
        let block_word =
            |word: usize| Some(if word.is_multiple_of(stride) { mode.of_exchanged() } else { Mode::Plain });
        let hand_word = |word: usize| {
            (seat_words::CLAIM_HAND..seat_words::CLAIM_HAND + HAND_WORDS)
                .contains(&(word % seat_words::WORDS))
                .then_some(mode)
        };
        let cells = Words::new(1, control);
        let pool = Pool::new(cells.clone(), Words::new((1 + usize::from(seats)) * stride, block_word), stride);
        let seats_words = Words::new(usize::from(seats) * seat_words::WORDS, hand_word);
        let claims = Claims::new(pool.clone(), 1, tail, capacity);
        let region = Region { claims, pool, cells, seats: seats_words, count: seats };
        let hands: Vec<Words> = (0..seats).map(|seat| region.hand_words(seat)).collect();
        region.pool.format(&hands);
        region
    }

    fn hand_words(&self, seat: u16) -> Words {
        self.seats.sub(usize::from(seat) * seat_words::WORDS + seat_words::CLAIM_HAND, HAND_WORDS)
    }

    pub(crate) fn adopt(&self, seat: u16) -> Hand {
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
        self.claims.claim_in_place(hand, self.claims.look_for(key), key, ttl, &mut Time(now)).expect("a sound region")
    }

    /// Like `claim`, without the shortcut in place.
    pub(crate) fn claim_by_copy(&self, hand: &mut Hand, key: Key, ttl: u64, at: Option<At>, now: u64) -> Decision {
        self.claims.claim(hand, &mut Bucket::default(), key, ttl, at, &mut Time(now)).expect("a sound region")
    }

    pub(crate) fn release(&self, hand: &mut Hand, key: Key, token: Token, now: u64) -> bool {
        self.claims.release(hand, &mut Bucket::default(), key, token, &mut Time(now)).expect("a sound region")
    }

    /// Checks that each block is in one place.
    pub(crate) fn judge(&self) {
        let mut places = vec![CellWord::from_bits(self.cells.at(0).at_rest()).block().into()];
        places.extend((0..self.count).map(|seat| self.hand_words(seat).at(seat_words::OWN).at_rest()));
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..=u64::from(self.count)), "blocks are in the places {places:?}");
    }
}
