//! G10: any content of a segment, also one changing while it is read, gives an error or a wrong payload that fails
//! validation: no undefined behaviour, no panic, no endless loop.
//!
//! The cases that fuzzing found are kept here by name; the last two tests run the fuzz targets' attacks from fixed seeds.
//! The targets themselves are in `fuzz`.

#[path = "hostile/mod.rs"]
mod hostile;

use hostile::attack;
use hostile::draw::{Draw, Random};

fn random_attacks(seed: u64, attacks: usize, meanwhile: bool) {
    let mut random = Random(seed);
    for _ in 0..attacks {
        let bytes = random.bytes(600);
        attack::run(&bytes, meanwhile);
    }
}

#[test]
fn g10_random_stores_between_calls_do_no_harm() {
    random_attacks(1, 1500, false);
}

#[test]
fn g10_random_stores_during_calls_do_no_harm() {
    random_attacks(2, 300, true);
}
