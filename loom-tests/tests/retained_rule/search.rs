//! Visits every reachable state: depth first, or breadth first to find the shortest way to a fault.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use crate::setting::Setting;
use crate::world::World;

/// The answers that occurred.
pub(crate) type Answers = BTreeSet<&'static str>;

/// The step has no number.
pub(crate) const NO: u8 = u8::MAX;

/// The actor that takes a step, and the step's text and number.
#[derive(Clone, Copy)]
pub(crate) struct Name(pub(crate) u8, pub(crate) &'static str, pub(crate) u8);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name(actor, what, number) = *self;
        match (actor, number) {
            (NO, number) => write!(f, "{what} {number}"),
            (actor, NO) => write!(f, "{actor} {what}"),
            (actor, number) => write!(f, "{actor} {what} {number}"),
        }
    }
}

/// A step, and the state after it or the guarantee that it breaks.
pub(crate) struct Step {
    pub(crate) name: Name,
    pub(crate) to: Result<World, String>,
}

/// The result of a search.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: u64,
    pub(crate) answers: Answers,
    pub(crate) time: Duration,
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Seen = HashSet<u128, BuildHasherDefault<AsItIs>>;

/// A hash of 128 bits, so that two different states do not collide.
fn fingerprint(bytes: &[u8]) -> u128 {
    let (mut a, mut b) = (0x9e37_79b9_7f4a_7c15_u64, 0xd1b5_4a32_d192_ed03_u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let word = u64::from_le_bytes(word);
        a = (a ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
        b = (b.rotate_left(23) ^ word).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        b ^= b >> 32;
    }
    a ^= a >> 33;
    u128::from(a) << 64 | u128::from(b ^ a.rotate_left(17))
}

/// One step on the way to the current state, and the steps from there that are still to be taken.
struct Frame {
    name: Name,
    left: std::vec::IntoIter<Step>,
}

/// Takes every step in every state.
///
/// # Panics
///
/// If a step breaks a guarantee. The message lists the steps that lead there.
pub(crate) fn every_state(setting: &Setting) -> Found {
    let begin = Instant::now();
    let start = World::begin(setting);
    let mut seen = Seen::default();
    seen.insert(fingerprint(start.bytes()));
    let mut found = Found { states: 1, steps: 0, answers: Answers::new(), time: Duration::ZERO };
    let left = start.steps(setting, &mut found.answers).into_iter();
    let mut way = vec![Frame { name: Name(0, "starts", NO), left }];
    while let Some(frame) = way.last_mut() {
        let Some(step) = frame.left.next() else {
            way.pop();
            continue;
        };
        found.steps += 1;
        match step.to {
            Ok(world) => {
                if seen.insert(fingerprint(world.bytes())) {
                    found.states += 1;
                    let left = world.steps(setting, &mut found.answers).into_iter();
                    way.push(Frame { name: step.name, left });
                }
            }
            Err(broken) => {
                let names: Vec<_> =
                    way.iter().map(|frame| &frame.name).chain([&step.name]).map(Name::to_string).collect();
                panic!("{broken}\n  {}", names.join("\n  "));
            }
        }
    }
    found.time = begin.elapsed();
    found
}

/// Returns the fault that the fewest steps lead to, if one is found within `most` states.
pub(crate) fn first_fault(setting: &Setting, most: usize) -> Option<String> {
    let start = World::begin(setting);
    let mut seen = Seen::default();
    seen.insert(fingerprint(start.bytes()));
    let (mut layer, mut answers) = (vec![start], Answers::new());
    while !layer.is_empty() && seen.len() <= most {
        let mut next = Vec::new();
        for world in layer {
            for step in world.steps(setting, &mut answers) {
                match step.to {
                    Ok(to) if seen.insert(fingerprint(to.bytes())) => next.push(to),
                    Ok(_) => {}
                    Err(broken) => return Some(broken),
                }
            }
        }
        layer = next;
    }
    None
}
