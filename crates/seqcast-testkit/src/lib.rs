//! What the tests, fuzz targets, benchmarks and examples of seqcast share. Not published.
//!
//! - [`process`]: forked children, and tests that run in a process of their own ([`alone!`]).
//! - [`ptrace`]: children that are run step by step.
//! - [`mod@name`]: names of segments that vanish.
//! - [`mod@bus`]: small segments, quiet workers, handlers that take notes.
//! - [`hostile`]: what a hostile process does to a segment.
//! - [`model`]: the reference model.
//!
//! Unit tests inside seqcast see another copy of that crate than this one does. They can use what does not mention its
//! types: [`process`], [`ptrace`] and [`name`].

pub mod bus;
pub mod hostile;
pub mod model;
pub mod name;
pub mod process;
pub mod ptrace;

pub use bus::*;
pub use name::Name;
pub use process::*;
