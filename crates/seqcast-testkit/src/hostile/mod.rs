//! What a hostile process does to a segment, and what must not come of it. Shared by `tests/hostile.rs`, the tests of the
//! command and the fuzz targets, so that a case which one of them finds can be kept by the others.

pub mod attack;
pub mod draw;
pub mod events;
pub mod look;
pub mod map;
pub mod scene;
