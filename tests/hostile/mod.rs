//! What a hostile process does to a segment, and what must not come of it. Shared by `tests/hostile.rs` and the fuzz
//! targets in `fuzz`, so that a case which one of them finds can be kept by the other.

// Each of the two uses a part.
#![allow(dead_code)]

pub mod attack;
pub mod draw;
pub mod events;
pub mod look;
pub mod map;
pub mod scene;
