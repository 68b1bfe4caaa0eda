//! Visits every reachable state.

use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use crate::setting::Setting;
use crate::world::{Step, World};

/// The results of a search.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: u64,
    pub(crate) answers: BTreeSet<&'static str>,
    pub(crate) time: Duration,
}

/// A step on the way to the current state, and the steps from there that remain.
struct Frame {
    name: String,
    left: std::vec::IntoIter<Step>,
}

/// Takes every step in every state.
///
/// # Panics
///
/// If a step breaks a guarantee. The message contains the way there.
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

/// 128 bits, so that two states are never confused.
fn fingerprint(world: &World) -> u128 {
    let mut lanes = Lanes(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03);
    world.hash(&mut lanes);
    u128::from(lanes.0) << 64 | u128::from(lanes.1)
}

/// Two multiplying hashes side by side: fast, and no attacker chooses the states.
struct Lanes(u64, u64);

impl Hasher for Lanes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.1 ^= self.1 >> 32;
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
