//! Visits every state that can be reached.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::setting::Setting;
use crate::world::{Step, World};

/// What a search came upon.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: u64,
    pub(crate) answers: BTreeSet<&'static str>,
    pub(crate) time: Duration,
}

/// One step on the way to the state that is being looked at, and the steps from there that are still to be taken.
struct Frame {
    name: String,
    left: std::vec::IntoIter<Step>,
}

/// Takes every step in every state.
///
/// # Panics
///
/// If a step breaks a guarantee. The message tells the way there.
pub(crate) fn every_state(setting: &Setting) -> Found {
    let begin = Instant::now();
    let start = World::new(setting);
    let mut seen = HashSet::from([fingerprint(&start)]);
    let mut found = Found { states: 1, steps: 0, answers: BTreeSet::new(), time: Duration::ZERO };
    let mut way = vec![Frame { name: "start".to_owned(), left: start.steps(setting).into_iter() }];
    while let Some(frame) = way.last_mut() {
        let Some(step) = frame.left.next() else {
            way.pop();
            continue;
        };
        found.steps += 1;
        found.answers.extend(step.answer);
        match step.to {
            Ok(world) => {
                if seen.insert(fingerprint(&world)) {
                    found.states += 1;
                    way.push(Frame { name: step.name, left: world.steps(setting).into_iter() });
                }
            }
            Err(broken) => {
                let names: Vec<_> = way.iter().map(|frame| frame.name.as_str()).chain([step.name.as_str()]).collect();
                panic!("{broken}\n  {}", names.join("\n  "));
            }
        }
    }
    found.time = begin.elapsed();
    found
}

/// 128 bits, so that two states are never taken for one.
fn fingerprint(world: &World) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        world.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
