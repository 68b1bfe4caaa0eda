//! A bridge that begins or ends beside a worker that reads a unique event.

use std::sync::{Arc, Mutex};

use crate::protocol::bridge::{BRIDGE_WORDS, BridgeWords};
use crate::protocol::bucket::{Ends, Token};
use crate::race::{Run, race};
use crate::sync::{Ordering, Words};

/// The seat of the worker. The bridge has another one, and so has the token that is none.
const WORKER: u16 = 2;

fn words(run: &Run) -> BridgeWords {
    BridgeWords::new(Words::new(BRIDGE_WORDS, |_| Some(run.mode)))
}

fn token(attempt: u64) -> Token {
    Token::new(attempt, 1, Ends::WithHolder)
}

/// Returns `true` if the worker leaves the event at `place` to the bridge, which lives.
fn leaves(words: &BridgeWords, place: u64) -> bool {
    words.leaves(place, WORKER, |_| false)
}

#[test]
fn a_bridge_ends_while_a_worker_reads_a_unique_event() {
    race("a bridge ends while a worker reads a unique event")
        .preemptions(None, None)
        .allowed(&["unread, untaken", "unread, taken", "left, taken", "claimed, untaken", "claimed, taken"])
        .run(|run| {
            let bridge = words(run);
            bridge.take_over(token(1), 1);
            // The cell of the event: 1 when it is published.
            let cell = Words::new(1, |_| Some(run.mode));
            let said = Arc::new(Mutex::new(["unread", "untaken"]));
            let mut cast = run.cast();
            let (reader, seen, answer) = (bridge.clone(), cell.clone(), said.clone());
            cast.actor(move || {
                if seen.at(0).load(Ordering::Acquire) == 1 {
                    answer.lock().unwrap()[0] = if leaves(&reader, 1) { "left" } else { "claimed" };
                }
            });
            let (poster, answer) = (cell.clone(), said.clone());
            cast.actor(move || {
                poster.at(0).store(1, Ordering::Release);
            });
            cast.actor(move || {
                bridge.give_back();
                if cell.at(0).load(Ordering::Acquire) == 1 {
                    answer.lock().unwrap()[1] = "taken";
                }
            });
            cast.play();
            let [worker, bridge] = *said.lock().unwrap();
            assert!(worker != "left" || bridge == "taken", "nobody runs the event");
            run.outcome(format!("{worker}, {bridge}"));
        });
}

#[test]
fn a_bridge_begins_while_a_worker_reads_what_was_there_before() {
    race("a bridge begins while a worker reads what was there before")
        .preemptions(None, None)
        .allowed(&["claimed", "left to the first", "left to the second"])
        .run(|run| {
            let (first, second) = (token(1), token(2));
            let bridge = words(run);
            bridge.take_over(first, 1);
            let mut cast = run.cast();
            let (reader, watch) = (bridge.clone(), run.clone());
            cast.actor(move || {
                let mut story = "claimed";
                for place in [2, 3] {
                    let is_over = |holder: Token| {
                        assert!(place == 3 || holder.0 == first.0, "this bridge will not read the event at {place}");
                        story = if holder.0 == first.0 { "left to the first" } else { "left to the second" };
                        false
                    };
                    reader.leaves(place, WORKER, is_over);
                }
                watch.outcome(story);
            });
            // The first bridge ends, and its successor reads from the place 3 on.
            cast.actor(move || {
                bridge.give_back();
                bridge.take_over(second, 3);
            });
            cast.play();
        });
}
