//! Unique keys: the first worker that reaches an event decides it for all.

use std::sync::{Arc, Mutex};

use crate::protocol::bucket::{At, Bucket, Decision, Key, Token};
use crate::protocol::pool::Hand;
use crate::race::{Run, race};
use crate::region::Region;
use crate::sync::{Ordering, Words};

const KEY: Key = Key([0, 7]);
const OTHER: Key = Key([0, 8]);
/// A ttl that never ends in a model with a clock near 0.
const LONG: u64 = 1_000;

/// A region beside a ring of four cells with its tail at `tail`.
fn region(run: &Run, entries: usize, seats: u16, tail: u64) -> Region {
    let word = Words::new(1, |_| Some(run.mode));
    word.at(0).store(tail, Ordering::Relaxed);
    Region::new(run.mode, entries, seats, 4, word)
}

/// The event with id `id`, for a worker that has read everything.
fn at(id: u64) -> Option<At> {
    Some(At { place: id + 1, since: 1 })
}

/// The results of the actors of an execution, in the order of their seats.
#[derive(Clone)]
struct Answers(Arc<Mutex<Vec<Option<Decision>>>>);

impl Answers {
    fn new(actors: u16) -> Answers {
        Answers(Arc::new(Mutex::new(vec![None; actors.into()])))
    }

    fn set(&self, seat: u16, decision: Decision) {
        self.0.lock().unwrap()[usize::from(seat)] = Some(decision);
    }

    /// Describes them in words. G9: at most one has won.
    fn story(&self) -> String {
        let answers = self.0.lock().unwrap();
        let winners = answers.iter().flatten().filter(|answer| matches!(answer, Decision::Won(_))).count();
        assert!(winners <= 1, "more than one has won: {answers:?}");
        let words = answers.iter().map(|answer| match answer {
            None => "dead",
            Some(Decision::Won(_)) => "won",
            Some(Decision::Held { .. }) => "held",
            Some(Decision::Decided) => "decided",
            Some(Decision::Late) => "late",
            Some(Decision::Full) => "full",
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn two_claim_one_key() {
    race("two claim one key").preemptions(Some(3), None).allowed(&["won, held", "held, won"]).run(|run| {
        let region = region(run, 2, 2, 0);
        let answers = Answers::new(2);
        let mut cast = run.cast();
        for seat in 0..2 {
            let (region, answers, mut hand) = (region.clone(), answers.clone(), region.adopt(seat));
            cast.actor(move || answers.set(seat, region.claim(&mut hand, KEY, LONG, None, 1)));
        }
        cast.play();
        region.judge();
        run.outcome(answers.story());
    });
}

#[test]
fn two_reach_one_unique_event() {
    race("two reach one unique event").preemptions(Some(3), None).allowed(&["won, decided", "decided, won"]).run(
        |run| {
            let region = region(run, 2, 2, 1);
            let answers = Answers::new(2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (region, answers, mut hand) = (region.clone(), answers.clone(), region.adopt(seat));
                cast.actor(move || answers.set(seat, region.claim(&mut hand, KEY, 0, at(0), 1)));
            }
            cast.play();
            region.judge();
            run.outcome(answers.story());
        },
    );
}

#[test]
fn two_claim_two_keys_of_one_bucket() {
    race("two claim two keys of one bucket").preemptions(Some(3), None).allowed(&["won, won"]).run(|run| {
        let region = region(run, 2, 2, 0);
        let mut cast = run.cast();
        let won = Arc::new(Mutex::new(0));
        for (seat, key) in [(0, KEY), (1, OTHER)] {
            let (region, won, mut hand) = (region.clone(), won.clone(), region.adopt(seat));
            cast.actor(move || {
                assert!(matches!(region.claim(&mut hand, key, LONG, None, 1), Decision::Won(_)));
                *won.lock().unwrap() += 1;
            });
        }
        cast.play();
        region.judge();
        let mut bucket = Bucket::default();
        region.claims.snapshot(0, &mut bucket).unwrap();
        assert_eq!(bucket.entries().len(), 2, "a claim was overwritten");
        assert_eq!(*won.lock().unwrap(), 2);
        run.outcome("won, won");
    });
}

#[test]
fn a_claim_meets_a_release() {
    race("a claim meets a release").preemptions(Some(3), None).allowed(&["held", "won"]).run(|run| {
        let region = region(run, 2, 2, 0);
        let mut cast = run.cast();
        let (holder, mut hand) = (region.clone(), region.adopt(0));
        let Decision::Won(token) = holder.claim(&mut hand, KEY, LONG, None, 1) else { panic!("nothing else claims") };
        cast.actor(move || {
            assert!(holder.release(&mut hand, KEY, token, 2), "it was held");
            assert!(!holder.release(&mut hand, KEY, token, 2), "it is released once");
        });
        let (other, watch, mut hand) = (region.clone(), run.clone(), region.adopt(1));
        cast.actor(move || {
            watch.outcome(match other.claim(&mut hand, KEY, LONG, None, 2) {
                Decision::Won(_) => "won",
                Decision::Held { by, .. } => {
                    assert_eq!(by, token);
                    "held"
                }
                other => panic!("{other:?}"),
            });
        });
        cast.play();
        region.judge();
    });
}

#[test]
fn a_release_meets_a_claim_of_another_key() {
    race("a release meets a claim of another key").preemptions(Some(3), None).allowed(&["released, won"]).run(|run| {
        let region = region(run, 2, 2, 0);
        let mut cast = run.cast();
        let (holder, mut hand) = (region.clone(), region.adopt(0));
        let Decision::Won(token) = holder.claim(&mut hand, KEY, LONG, None, 1) else { panic!("nothing else claims") };
        cast.actor(move || assert!(holder.release(&mut hand, KEY, token, 2), "it was held"));
        let (other, mut hand) = (region.clone(), region.adopt(1));
        cast.actor(move || assert!(matches!(other.claim(&mut hand, OTHER, LONG, None, 2), Decision::Won(_))));
        cast.play();
        region.judge();
        let mut bucket = Bucket::default();
        region.claims.snapshot(0, &mut bucket).unwrap();
        let held: Vec<_> = bucket.entries().iter().map(|entry| entry.key).collect();
        assert_eq!(held, [OTHER], "a release was lost, or a claim");
        run.outcome("released, won");
    });
}

#[test]
fn a_claimer_copies_a_bucket_that_is_written_again() {
    race("a claimer copies a bucket that is written again")
        .preemptions(Some(1), Some(2))
        .allowed(&["held by the first", "won before", "won between"])
        .run(|run| {
            let region = region(run, 2, 2, 0);
            let mut cast = run.cast();
            let winners = Arc::new(Mutex::new(vec![]));
            let (first, told, mut hand) = (region.clone(), winners.clone(), region.adopt(0));
            cast.actor(move || {
                // The block that was public after the first step is the one that the third writes.
                let Decision::Won(other) = first.claim_by_copy(&mut hand, OTHER, LONG, None, 1) else {
                    panic!("no worker holds it")
                };
                match first.claim_by_copy(&mut hand, KEY, LONG, None, 1) {
                    Decision::Won(token) => told.lock().unwrap().push(token),
                    Decision::Held { by, .. } => assert_eq!(by.seat(), 1, "held by another seat"),
                    other => panic!("{other:?}"),
                }
                assert!(first.release(&mut hand, OTHER, other, 1));
            });
            let (second, told, watch, mut hand) = (region.clone(), winners.clone(), run.clone(), region.adopt(1));
            cast.actor(move || match second.claim_by_copy(&mut hand, KEY, LONG, None, 1) {
                Decision::Won(token) => {
                    let mut bucket = Bucket::default();
                    second.claims.snapshot(0, &mut bucket).unwrap();
                    watch.outcome(if bucket.entries().len() == 1 { "won before" } else { "won between" });
                    told.lock().unwrap().push(token);
                }
                Decision::Held { by, .. } => {
                    assert_eq!(by, Token(crate::protocol::word::Stamp::new(2, 0).bits()), "held by another seat");
                    watch.outcome("held by the first");
                }
                other => panic!("{other:?}"),
            });
            cast.play();
            region.judge();
            let mut bucket = Bucket::default();
            region.claims.snapshot(0, &mut bucket).unwrap();
            let held: Vec<_> = bucket.entries().iter().map(|entry| (entry.key, entry.token)).collect();
            assert_eq!(held, [(KEY, winners.lock().unwrap()[0])], "one has it, and the other key is free");
            assert_eq!(winners.lock().unwrap().len(), 1);
        });
}

#[test]
fn a_claimer_looks_at_a_bucket_that_is_written_again() {
    claimed_again(
        "a claimer looks at a bucket that is written again",
        &["held", "held again", "cannot tell"],
        |region, _| region.held_for_long(KEY, 5),
    );
}

#[test]
fn a_claimer_in_place_meets_a_bucket_that_is_written_again() {
    claimed_again(
        "a claimer in place meets a bucket that is written again",
        &["held", "held again", "won", "cannot tell"],
        |region, hand| region.claim_in_place(hand, KEY, LONG, 5),
    );
}

/// One worker claims, releases and claims again, so that the block that was public at first is written again. Meanwhile
/// the other does `look`.
fn claimed_again(
    name: &'static str,
    allowed: &'static [&'static str],
    look: fn(&Region, &mut Hand) -> Option<Decision>,
) {
    race(name).preemptions(Some(1), Some(1)).allowed(allowed).run(move |run| {
        let region = region(run, 1, 2, 0);
        let (holder, mut hand) = (region.clone(), region.adopt(0));
        let Decision::Won(token) = holder.claim(&mut hand, KEY, LONG, None, 1) else { panic!("nothing else claims") };
        let mut cast = run.cast();
        cast.actor(move || {
            assert!(holder.release(&mut hand, KEY, token, 2));
            match holder.claim_in_place(&mut hand, KEY, 2 * LONG, 5) {
                Some(Decision::Won(_)) | None => {}
                Some(Decision::Held { by, .. }) => assert_eq!(by.seat(), 1, "held by another seat"),
                other => panic!("{other:?}"),
            }
        });
        let (other, watch, mut hand) = (region.clone(), run.clone(), region.adopt(1));
        cast.actor(move || {
            watch.outcome(match look(&other, &mut hand) {
                None => "cannot tell",
                Some(Decision::Won(_)) => "won",
                Some(Decision::Held { by, left }) if by == token => {
                    assert_eq!(left, LONG + 1 - 5, "the remaining time belongs to another claim");
                    "held"
                }
                Some(Decision::Held { by, left }) => {
                    assert_eq!((by.seat(), left), (0, 2 * LONG), "the remaining time belongs to another claim");
                    "held again"
                }
                other => panic!("{other:?}"),
            });
        });
        cast.play();
        region.judge();
    });
}

#[test]
fn a_late_release_meets_the_next_holder() {
    race("a late release meets the next holder")
        .preemptions(Some(3), None)
        .allowed(&["released in time", "too late to release"])
        .run(|run| {
            let region = region(run, 2, 2, 0);
            let mut cast = run.cast();
            let (holder, watch, mut hand) = (region.clone(), run.clone(), region.adopt(0));
            let Decision::Won(token) = holder.claim(&mut hand, KEY, 10, None, 0) else { panic!("nothing else claims") };
            cast.actor(move || {
                // Its clock still says 9, the other one's says 10: clocks are read before the exchange.
                let released = holder.release(&mut hand, KEY, token, 9);
                watch.outcome(if released { "released in time" } else { "too late to release" });
            });
            let (other, mut hand) = (region.clone(), region.adopt(1));
            let won = Arc::new(Mutex::new(None));
            let told = won.clone();
            cast.actor(move || {
                let Decision::Won(token) = other.claim(&mut hand, KEY, LONG, None, 10) else {
                    panic!("the ttl is over")
                };
                *told.lock().unwrap() = Some(token);
            });
            cast.play();
            region.judge();
            let mut bucket = Bucket::default();
            region.claims.snapshot(0, &mut bucket).unwrap();
            let holds: Vec<_> = bucket.entries().iter().map(|entry| entry.token).collect();
            assert_eq!(holds, [won.lock().unwrap().unwrap()], "the next holder's claim was released by the one before");
        });
}

#[test]
fn two_claim_a_key_whose_ttl_has_ended() {
    race("two claim a key whose ttl has ended").preemptions(Some(3), None).allowed(&["won, held", "held, won"]).run(
        |run| {
            let region = region(run, 2, 2, 0);
            let answers = Answers::new(2);
            let mut hands = [region.adopt(0), region.adopt(1)];
            assert!(matches!(region.claim(&mut hands[0], KEY, 10, None, 0), Decision::Won(_)));
            let mut cast = run.cast();
            for (seat, mut hand) in (0..).zip(hands) {
                let (region, answers) = (region.clone(), answers.clone());
                cast.actor(move || answers.set(seat, region.claim(&mut hand, KEY, LONG, None, 10)));
            }
            cast.play();
            region.judge();
            run.outcome(answers.story());
        },
    );
}

#[test]
fn a_late_reader_meets_a_bucket_that_forgets() {
    race("a late reader meets a bucket that forgets")
        .preemptions(Some(3), None)
        .allowed(&["won, decided", "won, late"])
        .run(|run| {
            // One entry, for KEY's event 0. Its ttl has ended, and the event has left the ring.
            let region = region(run, 1, 2, 8);
            let answers = Answers::new(2);
            let mut hands = [region.adopt(0), region.adopt(1)];
            assert!(matches!(region.claim(&mut hands[0], KEY, 10, at(0), 0), Decision::Won(_)));
            let mut cast = run.cast();
            for ((seat, mut hand), (key, event)) in (0..).zip(hands).zip([(OTHER, at(7)), (KEY, at(0))]) {
                let (region, answers) = (region.clone(), answers.clone());
                cast.actor(move || answers.set(seat, region.claim(&mut hand, key, LONG, event, 20)));
            }
            cast.play();
            region.judge();
            run.outcome(answers.story());
        });
}

#[test]
fn a_releaser_is_killed_and_another_claims() {
    race("a releaser is killed and another claims")
        .deaths(1)
        .preemptions(Some(2), Some(4))
        .allowed(&["dead: held", "dead: won", "lived: held", "lived: won"])
        .run(|run| {
            let region = region(run, 2, 2, 0);
            let mut cast = run.cast();
            let (victim, watch, mut hand) = (region.clone(), run.clone(), region.adopt(0));
            let Decision::Won(token) = victim.claim(&mut hand, KEY, LONG, None, 1) else {
                panic!("nothing else claims")
            };
            let end = Arc::new(Mutex::new("dead"));
            let told = end.clone();
            cast.actor(move || {
                if watch.mortal(0, || victim.release(&mut hand, KEY, token, 2)).is_some() {
                    *told.lock().unwrap() = "lived";
                }
                victim.adopt(0);
            });
            let (other, answers, mut hand) = (region.clone(), Answers::new(1), region.adopt(1));
            let told = answers.clone();
            cast.actor(move || told.set(0, other.claim(&mut hand, KEY, LONG, None, 2)));
            cast.play();
            region.judge();
            run.outcome(format!("{}: {}", end.lock().unwrap(), answers.story()));
        });
}

#[test]
fn a_second_event_comes_while_the_first_is_decided() {
    race("a second event comes while the first is decided")
        .preemptions(Some(2), Some(4))
        .allowed(&["won, held", "won, decided", "decided, held", "decided, decided"])
        .run(|run| {
            let region = region(run, 2, 2, 2);
            let answers = Answers::new(2);
            let mut cast = run.cast();
            for seat in 0..2 {
                let (region, answers, mut hand) = (region.clone(), answers.clone(), region.adopt(seat));
                cast.actor(move || {
                    let first = region.claim(&mut hand, KEY, LONG, at(0), 1);
                    if seat == 0 {
                        answers.set(0, first);
                    }
                    let second = region.claim(&mut hand, KEY, LONG, at(1), 1);
                    if seat == 1 {
                        answers.set(1, second);
                    }
                    assert!(!matches!(second, Decision::Won(_)), "the key is held");
                });
            }
            cast.play();
            region.judge();
            let story = answers.story();
            run.outcome(story);
        });
}

#[test]
fn a_claimer_is_killed_and_another_decides() {
    race("a claimer is killed and another decides")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["dead, won", "dead, decided", "won, decided", "decided, won"])
        .run(|run| {
            let region = region(run, 2, 2, 1);
            let answers = Answers::new(2);
            let mut cast = run.cast();
            let (victim, watch, told, mut hand) = (region.clone(), run.clone(), answers.clone(), region.adopt(0));
            cast.actor(move || {
                if let Some(answer) = watch.mortal(0, || victim.claim(&mut hand, KEY, LONG, at(0), 1)) {
                    told.set(0, answer);
                }
                let mut hand = victim.adopt(0);
                let again = victim.claim(&mut hand, KEY, LONG, at(0), 1);
                assert!(matches!(again, Decision::Decided | Decision::Won(_)));
                // Its attempts continue where the dead worker's ended, so that no token is used twice.
                let Decision::Won(token) = victim.claim(&mut hand, OTHER, LONG, None, 1) else {
                    panic!("no worker holds it")
                };
                let mut bucket = Bucket::default();
                victim.claims.snapshot(0, &mut bucket).unwrap();
                let holders = bucket.entries().iter().filter(|entry| entry.token == token).count();
                assert_eq!(holders, 1, "a token was given twice");
            });
            let (other, told, mut hand) = (region.clone(), answers.clone(), region.adopt(1));
            cast.actor(move || told.set(1, other.claim(&mut hand, KEY, LONG, at(0), 1)));
            cast.play();
            region.judge();
            run.outcome(answers.story());
        });
}

#[test]
fn a_claimer_in_place_is_killed_and_another_claims() {
    race("a claimer in place is killed and another claims")
        .deaths(1)
        .preemptions(Some(2), Some(2))
        .allowed(&["dead, won", "dead, held", "won, held", "held, won"])
        .run(|run| {
            let region = region(run, 1, 2, 0);
            let answers = Answers::new(2);
            let mut cast = run.cast();
            let (victim, watch, told, mut hand) = (region.clone(), run.clone(), answers.clone(), region.adopt(0));
            cast.actor(move || {
                if let Some(answer) = watch.mortal(0, || victim.claim(&mut hand, KEY, LONG, None, 1)) {
                    told.set(0, answer);
                }
                victim.adopt(0);
            });
            let (other, told, mut hand) = (region.clone(), answers.clone(), region.adopt(1));
            cast.actor(move || told.set(1, other.claim(&mut hand, KEY, LONG, None, 1)));
            cast.play();
            region.judge();
            run.outcome(answers.story());
        });
}
