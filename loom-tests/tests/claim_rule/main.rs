//! The rule of unique events, checked as a rule: a search over states covers every interleaving of a few workers'
//! steps.
//!
//! It checks the crate's own `Bucket::known`, `decide` and `end`, which the lock-free part calls with a private copy.
//! Here copies and exchanges are single steps; the models of the exchange show that they are atomic. For claims without
//! an event, which are made in place, `in_place` shows that they follow the rule.

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code)]
mod protocol;
#[allow(dead_code)]
mod sync;

mod in_place;
mod report;
mod search;
mod setting;
mod world;

use std::collections::BTreeSet;

use protocol::bucket::{Ask, At, Bucket, Decision, Ends, Extended, Extension, Key, Ruling, Token};
use setting::Setting;

const SMALL: Setting = Setting {
    workers: 2,
    joiners: 0,
    keys: 1,
    capacity: 4,
    entries: 1,
    events: 3,
    alone: 0,
    ttl: 1,
    clock: 3,
    kills: 1,
    releases: true,
    lives: false,
};

fn deep() -> bool {
    std::env::var("SEQCAST_MODEL_DEPTH").is_ok_and(|depth| depth == "deep")
}

/// This many in CI, one more in a deep run.
fn more(some: u64) -> u64 {
    some + u64::from(deep())
}

/// Capacities, each with the number of joiners.
fn laps() -> &'static [(u64, usize)] {
    if deep() { &[(1, 0), (1, 1), (2, 0), (2, 1), (4, 0), (4, 1)] } else { &[(1, 0), (2, 1)] }
}

/// The holders of all claims live.
fn lives(_: Token) -> bool {
    false
}

/// Runs each of `settings` to its end. Together they give the answers `expected`, and no other.
fn check(name: &str, settings: impl IntoIterator<Item = Setting>, expected: &[&str]) {
    let mut answers = BTreeSet::new();
    for setting in settings {
        let found = search::every_state(&setting);
        report::row(name, &setting, &found);
        answers.extend(found.answers);
    }
    assert_eq!(
        answers,
        expected.iter().copied().collect(),
        "{name}: answers seen (left) are not those allowed (right)"
    );
}

#[test]
fn one_key_and_a_ring_that_holds_everything() {
    let settings = [0, 1].map(|joiners| Setting { joiners, events: 4, ..SMALL });
    // Nothing is forgotten, so no worker is late, and there is room.
    check("one key, no laps", settings, &["decided", "held", "moved", "released", "won"]);
}

#[test]
fn one_key_and_a_ring_that_laps() {
    let settings = laps().iter().map(|&(capacity, joiners)| Setting { capacity, joiners, events: more(4), ..SMALL });
    check("one key, laps", settings, &["decided", "held", "late", "missed", "moved", "released", "won"]);
}

#[test]
fn two_keys_and_a_ring_that_holds_everything() {
    let settings = [0, 1].map(|joiners| Setting { keys: 2, entries: 2, joiners, ..SMALL });
    check("two keys, no laps", settings, &["decided", "held", "moved", "released", "won"]);
}

#[test]
fn two_keys_and_room_for_both() {
    let settings = laps().iter().map(|&(capacity, joiners)| Setting {
        keys: 2,
        entries: 2,
        capacity,
        joiners,
        events: more(3),
        ..SMALL
    });
    check("two keys, room for both", settings, &["decided", "held", "late", "missed", "moved", "released", "won"]);
}

#[test]
fn two_keys_and_room_for_one() {
    let settings =
        laps().iter().map(|&(capacity, joiners)| Setting { keys: 2, capacity, joiners, events: more(3), ..SMALL });
    check(
        "two keys, room for one",
        settings,
        &["decided", "full", "held", "late", "missed", "moved", "released", "won"],
    );
}

#[test]
fn three_workers() {
    let settings =
        [1, 2].map(|capacity| Setting { workers: 3, capacity, kills: deep().into(), releases: deep(), ..SMALL });
    let more = if deep() { &["released"][..] } else { &[] };
    let expected: Vec<_> = ["decided", "held", "late", "missed", "moved", "won"].iter().chain(more).copied().collect();
    check("three workers", settings, &expected);
}

#[test]
fn three_workers_of_whom_one_joins_and_one_is_killed() {
    let settings = [1, 2].map(|capacity| Setting { workers: 3, joiners: 1, capacity, events: 2, ..SMALL });
    check("three workers, join, kill", settings, &["decided", "held", "missed", "moved", "released", "won"]);
}

#[test]
fn a_long_ttl() {
    let settings = [1, 2, 4].map(|capacity| Setting { capacity, ttl: 2, clock: 4, ..SMALL });
    check("a long ttl", settings, &["decided", "held", "late", "missed", "moved", "released", "won"]);
}

#[test]
fn claims_without_an_event_share_the_bucket() {
    let settings = [1, 2].map(|entries| Setting { entries, capacity: 1, alone: more(2), events: 2, ..SMALL });
    let expected = [
        "decided",
        "full",
        "full alone",
        "held",
        "held alone",
        "late",
        "missed",
        "moved",
        "released",
        "won",
        "won alone",
    ];
    check("claims without an event", settings, &expected);
}

#[test]
fn claims_without_an_event_make_nobody_late() {
    let setting = Setting { entries: 2, alone: 2, events: 2, ..SMALL };
    let expected = ["decided", "held", "held alone", "moved", "released", "won", "won alone"];
    check("claims without an event, no laps", [setting], &expected);
}

#[test]
fn claims_that_end_with_their_holders() {
    let settings = [(2, 1), (2, 2), (3, 1), (3, 2)].map(|(workers, kills)| Setting {
        workers,
        kills,
        alone: more(3),
        events: 0,
        keys: 0,
        lives: true,
        ..SMALL
    });
    check(
        "claims that end with their holders",
        settings,
        &["completed", "held alone", "lost", "lost to another", "moved", "released", "renewed", "won alone"],
    );
}

#[test]
fn claims_that_end_with_their_holders_share_the_bucket() {
    let setting = Setting { alone: 2, events: 2, capacity: 1, clock: 2 + u64::from(deep()), lives: true, ..SMALL };
    let expected = [
        "completed",
        "decided",
        "full",
        "full alone",
        "held",
        "held alone",
        "late",
        "lost",
        "lost to another",
        "missed",
        "moved",
        "released",
        "renewed",
        "won",
        "won alone",
    ];
    check("claims that end with their holders, and events", [setting], &expected);
}

#[test]
fn a_claim_that_ended_with_its_holder_is_lost() {
    let (key, token) = (Key([1, 0]), Token::new(1, 3, Ends::WithHolder));
    let mut bucket = Bucket::default();
    let ask = Ask { key, ttl: 10, at: None, token };
    assert!(matches!(bucket.decide(2, ask, 1, 1, lives), Ruling::IfExchanged(Decision::Won(_))));
    let dies = |by: Token| by.seat() == 3;
    // By another seat, which takes the holder of the claim for dead.
    for extension in [Extension::Renew(10), Extension::Complete(10)] {
        assert_eq!(bucket.clone().extend(key, token, extension, 2, dies), Extended::Lost(None));
        assert_eq!(bucket.clone().extend(key, token, extension, 2, lives), Extended::Done);
        assert_eq!(bucket.clone().extend(key, token, extension, 11, lives), Extended::Lost(None), "the ttl is over");
    }
    assert_eq!((bucket.left(key, token, 2, dies), bucket.left(key, token, 2, lives)), (0, 9));
    assert!(!bucket.clone().end(key, token, 2, dies) && bucket.clone().end(key, token, 2, lives));
    // A completed claim is the same win, also for a worker that kept the earlier claim. The clock does not wrap.
    assert_eq!(bucket.extend(key, token, Extension::Complete(u64::MAX), 2, lives), Extended::Done);
    assert_eq!(bucket.left(key, token, 3, dies), u64::MAX - 3);
    assert!(bucket.end(key, token, 3, dies));
}

/// If all claims of a bucket are held, a claim of a dead holder makes room.
#[test]
fn a_claim_of_the_dead_makes_room() {
    let ask = |key, ends| Ask { key: Key([key, 0]), ttl: 10, at: None, token: Token::new(key, key as u16, ends) };
    let mut bucket = Bucket::default();
    for (key, ends) in [(1, Ends::AtDeadline), (2, Ends::WithHolder), (3, Ends::WithHolder)] {
        let won = bucket.decide(3, ask(key, ends), 1, 1, |_| panic!("there is room"));
        assert!(matches!(won, Ruling::IfExchanged(Decision::Won(_))));
    }
    let full = bucket.clone().decide(3, ask(4, Ends::AtDeadline), 1, 1, |_| false);
    assert_eq!(full, Ruling::Stands(Decision::Full));
    let won = bucket.decide(3, ask(4, Ends::AtDeadline), 1, 1, |by| by.seat() != 2);
    assert!(matches!(won, Ruling::IfExchanged(Decision::Won(_))));
    let mut keys: Vec<_> = bucket.entries().iter().map(|entry| entry.key.0[0]).collect();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2, 4], "a claim that outlives its holder, or one of a holder that lives, made room");
}

/// If there is no room, the ended key with the oldest events is dropped: the bucket forgets as little as possible.
#[test]
fn the_oldest_ended_key_makes_room() {
    let mut bucket = Bucket::default();
    for key in [1, 2, 3] {
        let at = At { place: 10 * key, since: 1 };
        let ask = Ask { key: Key([key, 0]), ttl: 1, at: Some(at), token: Token(key) };
        assert_eq!(bucket.decide(2, ask, 10 * key, 1, lives), Ruling::IfExchanged(Decision::Won(Token(key))));
    }
    let keys: Vec<_> = bucket.entries().iter().map(|entry| entry.key.0[0]).collect();
    assert_eq!((keys, bucket.floor()), (vec![2, 3], 10));
}

/// The next claim drops entries that have ended and left the ring, so buckets stay short.
#[test]
fn what_left_the_ring_is_forgotten() {
    let mut bucket = Bucket::default();
    for (key, oldest) in [(1, 1), (2, 1), (3, 15)] {
        let at = At { place: 10 * key, since: 1 };
        let ask = Ask { key: Key([key, 0]), ttl: 1, at: Some(at), token: Token(key) };
        assert_eq!(bucket.decide(3, ask, 10 * key, oldest, lives), Ruling::IfExchanged(Decision::Won(Token(key))));
    }
    let keys: Vec<_> = bucket.entries().iter().map(|entry| entry.key.0[0]).collect();
    assert_eq!((keys, bucket.floor()), (vec![2, 3], 10));
}

/// A claim without an event is forgotten without a trace.
#[test]
fn forgetting_a_claim_without_an_event_makes_nobody_late() {
    let mut bucket = Bucket::default();
    for (key, place) in [(1, None), (2, Some(10))] {
        let at = place.map(|place| At { place, since: 1 });
        let ask = Ask { key: Key([key, 0]), ttl: 1, at, token: Token(key) };
        assert_eq!(bucket.decide(2, ask, 10 * key, 9, lives), Ruling::IfExchanged(Decision::Won(Token(key))));
    }
    assert_eq!((bucket.entries().len(), bucket.floor()), (1, 0));
}
