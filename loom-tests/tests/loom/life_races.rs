//! Claims that end with their holders: renewals, deaths, and seats that are taken again.

use std::sync::{Arc, Mutex};

use crate::protocol::bucket::{Bucket, Decision, Extended, Extension, Key, Token};
use crate::protocol::pool::Hand;
use crate::race::{Run, race};
use crate::region::Region;
use crate::sync::{Ordering, Words};

const KEY: Key = Key([0, 7]);
const OTHER: Key = Key([0, 8]);
/// A ttl that never ends in a model with a clock near 0.
const LONG: u64 = 1_000;

fn region(run: &Run, entries: usize, seats: u16) -> Region {
    let word = Words::new(1, |_| Some(run.mode));
    word.at(0).store(0, Ordering::Relaxed);
    Region::new(run.mode, entries, seats, 4, word)
}

/// The winners of a key, in the order in which they report.
#[derive(Clone, Default)]
struct Winners(Arc<Mutex<Vec<Token>>>);

impl Winners {
    /// Records an answer, and describes it.
    fn tell(&self, decision: Decision) -> &'static str {
        match decision {
            Decision::Won(token) => {
                self.0.lock().unwrap().push(token);
                "won"
            }
            Decision::Held { .. } => "held",
            other => panic!("{other:?}"),
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Returns the holder of a key at the end.
fn holder(region: &Region, key: Key) -> Option<Token> {
    let mut bucket = Bucket::default();
    region.claims.snapshot(0, &mut bucket).unwrap();
    bucket.find(key).map(|e| bucket.entries()[e].token)
}

fn won(decision: Decision) -> Token {
    let Decision::Won(token) = decision else { panic!("nothing else claims: {decision:?}") };
    token
}

#[test]
fn two_rescuers_meet_over_a_claim_of_the_dead() {
    race("two rescuers meet over a claim of the dead")
        .preemptions(Some(2), Some(3))
        .allowed(&["won, held", "held, won"])
        .run(|run| {
            let region = region(run, 2, 3);
            won(region.claim_for_life(&mut region.take(2), KEY, LONG, 1));
            region.bury(2);
            let (winners, answers) = (Winners::default(), Arc::new(Mutex::new(["?"; 2])));
            let mut cast = run.cast();
            for seat in 0..2 {
                let (region, winners, answers) = (region.clone(), winners.clone(), answers.clone());
                let mut hand = region.take(seat);
                cast.actor(move || {
                    let answer = winners.tell(region.claim_for_life(&mut hand, KEY, LONG, 2));
                    answers.lock().unwrap()[usize::from(seat)] = answer;
                });
            }
            cast.play();
            region.judge();
            assert_eq!(winners.count(), 1, "not one has taken the claim over");
            assert_eq!(holder(&region, KEY), Some(winners.0.lock().unwrap()[0]));
            let story = answers.lock().unwrap().join(", ");
            run.outcome(story);
        });
}

/// One worker is killed at any write of `life`, and another claims meanwhile. Afterwards the key is free for a third
/// worker, unless a living one has won it.
fn killed(
    name: &'static str,
    allowed: &'static [&'static str],
    life: fn(&Region, &mut Hand, Option<Token>),
    holds_before: bool,
) {
    race(name).deaths(1).preemptions(Some(2), Some(3)).allowed(allowed).run(move |run| {
        let region = region(run, 1, 3);
        let mut cast = run.cast();
        let mut hand = region.take(0);
        let token = holds_before.then(|| won(region.claim_for_life(&mut hand, KEY, LONG, 1)));
        let end = Arc::new(Mutex::new("dead"));
        let (victim, watch, told) = (region.clone(), run.clone(), end.clone());
        cast.actor(move || match watch.mortal(0, || life(&victim, &mut hand, token)) {
            Some(()) => *told.lock().unwrap() = "alive",
            None => victim.bury(0),
        });
        let (other, mut hand, winners) = (region.clone(), region.take(1), Winners::default());
        let (told, answer) = (winners.clone(), Arc::new(Mutex::new("?")));
        let said = answer.clone();
        cast.actor(move || *said.lock().unwrap() = told.tell(other.claim_for_life(&mut hand, KEY, LONG, 2)));
        cast.play();
        let is_held = *end.lock().unwrap() == "alive" || winners.count() == 1;
        let third = region.claim_for_life(&mut region.take(2), KEY, LONG, 3);
        assert_eq!(matches!(third, Decision::Held { .. }), is_held, "{third:?}");
        if *end.lock().unwrap() == "dead" {
            region.take(0);
        }
        region.judge();
        run.outcome(format!("{}: {}", end.lock().unwrap(), answer.lock().unwrap()));
    });
}

#[test]
fn a_holder_is_killed_and_another_takes_over() {
    killed(
        "a holder is killed and another takes over",
        &["alive: held", "alive: won", "dead: held", "dead: won"],
        |region, hand, _| match region.claim_for_life(hand, KEY, LONG, 1) {
            Decision::Won(_) => {}
            Decision::Held { by, .. } => assert_eq!(by.seat(), 1),
            other => panic!("{other:?}"),
        },
        false,
    );
}

#[test]
fn a_renewer_is_killed_and_another_takes_over() {
    killed(
        "a renewer is killed and another takes over",
        &["alive: held", "dead: held", "dead: won"],
        |region, hand, token| {
            let renewed = region.extend(hand, KEY, token.expect("it holds the key"), Extension::Renew(LONG), 1);
            assert_eq!(renewed, Extended::Done, "another has won while the holder lives");
        },
        true,
    );
}

#[test]
fn a_rescuer_meets_the_next_holder_of_the_seat() {
    race("a rescuer meets the next holder of the seat").preemptions(Some(2), Some(3)).allowed(&["held", "won"]).run(
        |run| {
            let region = region(run, 2, 3);
            won(region.claim_for_life(&mut region.take(0), KEY, LONG, 1));
            region.bury(0);
            let mut cast = run.cast();
            let newcomer = region.clone();
            cast.actor(move || {
                let mut hand = newcomer.take(0);
                won(newcomer.claim_for_life(&mut hand, OTHER, LONG, 2));
            });
            let (rescuer, watch, mut hand) = (region.clone(), run.clone(), region.take(1));
            cast.actor(move || {
                // Held, if the next holder has the lock and has not yet ended the tenure before.
                watch.outcome(Winners::default().tell(rescuer.claim_for_life(&mut hand, KEY, LONG, 2)));
            });
            cast.play();
            region.judge();
            // Once the tenure has ended, every claimer can win the claim, but not the claims that the next holder has
            // won.
            let mut hand = region.take(2);
            let third = region.claim_for_life(&mut hand, KEY, LONG, 3);
            let is_taken = holder(&region, KEY).is_some_and(|by| by.seat() != 0);
            assert!(is_taken, "the claim of the dead is held by the next holder of its seat: {third:?}");
            let of_next = region.claim_for_life(&mut hand, OTHER, LONG, 3);
            assert!(matches!(of_next, Decision::Held { by, .. } if by.seat() == 0), "it lives: {of_next:?}");
        },
    );
}

#[test]
fn a_renewal_meets_a_claim_at_the_end_of_the_ttl() {
    race("a renewal meets a claim at the end of the ttl")
        .preemptions(Some(3), None)
        .allowed(&["renewed, held", "lost, won"])
        .run(|run| {
            let region = region(run, 2, 2);
            let mut hand = region.take(0);
            let token = won(region.claim(&mut hand, KEY, 10, None, 0));
            let answers = Arc::new(Mutex::new(["?"; 2]));
            let mut cast = run.cast();
            let (holds, told) = (region.clone(), answers.clone());
            cast.actor(move || {
                // Its clock reads 9, and the other's 10, because clocks are read before the exchange.
                told.lock().unwrap()[0] = match holds.extend(&mut hand, KEY, token, Extension::Renew(LONG), 9) {
                    Extended::Done => "renewed",
                    Extended::Lost(by) => {
                        assert_eq!(by.map(Token::seat), Some(1), "it is lost to another seat");
                        assert_eq!(holds.left(KEY, token, 9), 0, "what is lost is not held");
                        "lost"
                    }
                };
            });
            let (other, told, mut hand) = (region.clone(), answers.clone(), region.take(1));
            cast.actor(move || {
                let answer = Winners::default().tell(other.claim(&mut hand, KEY, LONG, None, 10));
                told.lock().unwrap()[1] = answer;
            });
            cast.play();
            region.judge();
            let story = answers.lock().unwrap().join(", ");
            run.outcome(story);
        });
}

#[test]
fn a_renewal_meets_a_claim_of_another_key() {
    race("a renewal meets a claim of another key").preemptions(Some(3), None).allowed(&["renewed, won"]).run(|run| {
        let region = region(run, 2, 2);
        let mut hand = region.take(0);
        let token = won(region.claim(&mut hand, KEY, 10, None, 0));
        let mut cast = run.cast();
        let holds = region.clone();
        cast.actor(move || {
            assert_eq!(holds.extend(&mut hand, KEY, token, Extension::Renew(LONG), 1), Extended::Done);
        });
        let (other, mut hand) = (region.clone(), region.take(1));
        cast.actor(move || _ = won(other.claim(&mut hand, OTHER, LONG, None, 1)));
        cast.play();
        region.judge();
        assert_eq!(region.left(KEY, token, 1), LONG, "the renewal is lost");
        assert!(holder(&region, OTHER).is_some(), "the claim is lost");
        run.outcome("renewed, won");
    });
}

#[test]
fn a_completed_claim_meets_a_rescuer() {
    race("a completed claim meets a rescuer")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&["completed: held", "dead: held", "dead: won"])
        .run(|run| {
            let region = region(run, 2, 2);
            let mut hand = region.take(0);
            let token = won(region.claim_for_life(&mut hand, KEY, LONG, 1));
            let end = Arc::new(Mutex::new("dead"));
            let mut cast = run.cast();
            let (victim, watch, told) = (region.clone(), run.clone(), end.clone());
            cast.actor(move || {
                let life = || victim.extend(&mut hand, KEY, token, Extension::Complete(LONG), 2);
                if let Some(extended) = watch.mortal(0, life) {
                    assert_eq!(extended, Extended::Done, "another has won while the holder lives");
                    *told.lock().unwrap() = "completed";
                }
                // The holder dies or leaves.
                victim.bury(0);
            });
            let (other, mut hand, answer) = (region.clone(), region.take(1), Arc::new(Mutex::new("?")));
            let said = answer.clone();
            cast.actor(move || {
                let told = Winners::default().tell(other.claim_for_life(&mut hand, KEY, LONG, 3));
                *said.lock().unwrap() = told;
            });
            cast.play();
            region.take(0);
            region.judge();
            if *end.lock().unwrap() == "completed" {
                let is_own = holder(&region, KEY).is_some_and(|by| by.is_same_win(token));
                assert!(is_own && region.left(KEY, token, 3) > 0, "what is done is not held");
            }
            run.outcome(format!("{}: {}", end.lock().unwrap(), answer.lock().unwrap()));
        });
}
