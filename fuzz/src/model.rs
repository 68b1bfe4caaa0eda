//! Sequences of calls on a valid segment, against the reference model (G1, G2, G4, G5, G9, G13 to G18).

use seqcast_testkit::hostile::draw::{Draw, Input};
use seqcast_testkit::model::Both;
use seqcast_testkit::model::op::Op;

const MOST_STEPS: usize = 400;

/// Posts, polls, reserves, commits, claims, releases, joins and leaves as the bytes say, and checks every result.
pub fn model(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (announce, must) = (!input.one_in(4), input.below(8) as u8);
    let mut both = if input.one_in(2) {
        // Events in fragments can be longer than a payload in a large block.
        Both::new(16 << input.below(2), 96, Some((2 << input.below(2), 160)), announce, must)
    } else {
        Both::new(8 << input.below(3), 64, None, announce, must)
    };
    for _ in 0..MOST_STEPS {
        if input.is_over() {
            break;
        }
        both.run(&Op::draw(&mut input, both.next_id(), both.longest()));
        both.check();
    }
    both.end();
}
