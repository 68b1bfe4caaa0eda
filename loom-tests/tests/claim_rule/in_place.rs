//! Claims without an event are made in place, if possible, and not by the rule. This checks that both have the same
//! result.

use std::collections::BTreeSet;

use crate::protocol::bucket::{
    Ask, At, BUCKET_HEAD_WORDS, Bucket, Decision, ENTRY_WORDS, Ends, Entry, Key, Ruling, Term, Token,
};
use crate::protocol::claims::{Claims, Clock, SeatLocks};
use crate::protocol::pool::{HEAD_WORDS, Hand, Pool};
use crate::protocol::seat_words::{CLAIM_HAND, HAND_WORDS, WORDS};
use crate::protocol::word::Stamp;
use crate::sync::{Ordering, Words};

/// Entries of the one bucket.
const ENTRIES: usize = 2;
const KEYS: u64 = 3;
/// Cells of the ring.
const CAPACITY: u64 = 2;
/// The number of calls in a sequence. Every possible sequence of this length is tried.
const CALLS: u32 = 6;

/// A call of a worker, at a time after the previous one.
#[derive(Clone, Copy, Debug)]
enum Call {
    /// A claim for the next event of this key.
    Claim(u64),
    ClaimAlone(u64),
    /// A release of the last claim that was won.
    Release,
}

struct Now(u64);

impl Clock for Now {
    fn now(&mut self) -> u64 {
        self.0
    }

    fn left_until_far(&mut self, deadline: u64) -> Option<u64> {
        deadline.checked_sub(self.0).filter(|&left| left > 0)
    }
}

/// The holders of all seats live.
struct Locked;

impl SeatLocks for Locked {
    fn is_free(&self, _: u16) -> bool {
        false
    }
}

struct Region {
    claims: Claims,
    hand: Hand,
    tail: Words,
}

impl Region {
    fn new() -> Region {
        let stride = HEAD_WORDS + BUCKET_HEAD_WORDS + ENTRIES * ENTRY_WORDS;
        let (tail, seats) = (Words::new(1), Words::new(WORDS));
        let hand = seats.sub(CLAIM_HAND, HAND_WORDS);
        let pool = Pool::new(Words::new(1), Words::new(2 * stride), stride);
        pool.format(std::slice::from_ref(&hand));
        let hand = Hand::adopt(&pool, hand, 0).unwrap();
        Region { claims: Claims::new(pool, 1, seats, tail.clone(), CAPACITY), hand, tail }
    }

    fn bucket(&self) -> Bucket {
        let mut bucket = Bucket::default();
        self.claims.snapshot(0, &mut bucket).unwrap();
        bucket
    }
}

/// The contents of a bucket, regardless of the order of its entries.
fn said_by(bucket: &Bucket) -> (u64, BTreeSet<[u64; 6]>) {
    let words = |entry: &Entry| {
        let Entry { key, deadline, first, last, token, since } = *entry;
        [key.0[0], deadline, first, last, token.0, since]
    };
    (bucket.floor(), bucket.entries().iter().map(words).collect())
}

#[test]
fn a_claim_in_place_does_what_the_rule_does() {
    let mut calls = vec![Call::Release];
    calls.extend((1..=KEYS).flat_map(|key| [Call::Claim(key), Call::ClaimAlone(key)]));
    let mut answers = BTreeSet::new();
    for ttl in [1, 3, 100] {
        for row in 0..calls.len().pow(CALLS) {
            let row: Vec<Call> = (0..CALLS).map(|at| calls[row / calls.len().pow(at) % calls.len()]).collect();
            play(&row, ttl, &mut answers);
        }
    }
    assert_eq!(answers, BTreeSet::from(["held", "left to the rule: events", "left to the rule: full", "won"]));
}

/// Plays a sequence of calls. `answers` collects the results of the claims without an event.
fn play(row: &[Call], ttl: u64, answers: &mut BTreeSet<&'static str>) {
    let mut region = Region::new();
    let (mut events, mut last_won) = (0, None);
    for (now, call) in (1..).zip(row) {
        let mut clock = Now(now);
        match *call {
            Call::Claim(key) => {
                region.tail.at(0).store(events + 1, Ordering::Relaxed);
                events += 1;
                let (key, at) = (Key([key, 0]), Some(At { place: events, since: 1 }));
                let Region { claims, hand, .. } = &mut region;
                let term = Term { ttl, ends: Ends::AtDeadline };
                let decision = claims.claim(hand, &mut Bucket::default(), key, term, at, &mut clock, &Locked).unwrap();
                if let Decision::Won(token) = decision {
                    last_won = Some((key, token));
                }
            }
            Call::ClaimAlone(key) => {
                if let Some(won) = claim_alone(&mut region, Key([key, 0]), ttl, &mut clock, answers) {
                    last_won = Some(won);
                }
            }
            Call::Release => {
                if let Some((key, token)) = last_won.take() {
                    let Region { claims, hand, .. } = &mut region;
                    claims.release(hand, &mut Bucket::default(), key, token, &mut clock, &Locked).unwrap();
                }
            }
        }
    }
}

/// Claims in place, and compares with the rule.
fn claim_alone(
    region: &mut Region,
    key: Key,
    ttl: u64,
    clock: &mut Now,
    answers: &mut BTreeSet<&'static str>,
) -> Option<(Key, Token)> {
    let mut ruled = region.bucket();
    let had_events = ruled.entries().iter().any(|entry| entry.last != 0 && entry.deadline <= clock.0);
    let token = Token(Stamp::new(region.hand.next_attempt().unwrap(), 0).bits());
    let oldest = region.tail.at(0).load(Ordering::Relaxed).saturating_sub(CAPACITY) + 1;
    let ruling =
        ruled.decide(ENTRIES, Ask { key, ttl, at: None, token }, clock.0, oldest, |by| Locked.is_free(by.seat()));
    let Region { claims, hand, .. } = region;
    let place = claims.look_for(key);
    if let Some(held) = claims.held_for_long(place, clock) {
        assert_eq!(ruling, Ruling::Stands(held), "another holder, or another remaining time");
    }
    match claims.claim_in_place(hand, place, key, Term { ttl, ends: Ends::AtDeadline }, clock).unwrap() {
        Some(decision @ Decision::Won(token)) => {
            answers.insert("won");
            assert_eq!(ruling, Ruling::IfExchanged(decision));
            assert_eq!(said_by(&region.bucket()), said_by(&ruled), "the bucket differs from the rule's");
            Some((key, token))
        }
        Some(decision) => {
            answers.insert("held");
            assert_eq!(ruling, Ruling::Stands(decision));
            None
        }
        None => {
            assert!(had_events || ruling == Ruling::Stands(Decision::Full), "left to the rule for nothing");
            answers.insert(if had_events { "left to the rule: events" } else { "left to the rule: full" });
            None
        }
    }
}
