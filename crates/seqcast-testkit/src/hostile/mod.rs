//! What a hostile process can do to a segment, and the checks of the effects. Shared by `tests/hostile.rs`, the tests
//! of the command and the fuzz targets, so that a case found by one of them can be kept by the others.

#[cfg(feature = "typed")]
pub mod attack;
pub mod draw;
#[cfg(feature = "typed")]
pub mod events;
#[cfg(feature = "typed")]
pub mod look;
pub mod map;
#[cfg(feature = "typed")]
pub mod relay;
#[cfg(feature = "typed")]
pub mod scene;
