//! What a hostile process does to a segment, and what must not come of it. Shared by `tests/hostile.rs`, the tests of the
//! command and the fuzz targets, so that a case which one of them finds can be kept by the others.

#[cfg(feature = "typed")]
pub mod attack;
pub mod draw;
#[cfg(feature = "typed")]
pub mod events;
#[cfg(feature = "typed")]
pub mod look;
pub mod map;
#[cfg(feature = "typed")]
pub mod scene;
