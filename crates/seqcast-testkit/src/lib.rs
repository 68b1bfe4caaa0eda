//! Code shared by the tests, fuzz targets, benchmarks and examples of seqcast. Not published.
//!
//! - [`process`]: forked children, and tests that run in a separate process ([`alone!`]).
//! - [`ptrace`]: children that are run step by step.
//! - [`mod@name`]: names of segments that are removed.
//! - [`mod@bus`]: small segments, quiet workers, handlers that record events.
//! - [`mod@example`]: examples, built and found.
//! - [`hostile`]: what a hostile process can do to a segment.
//! - [`model`]: the reference model.
//!
//! Unit tests inside seqcast see another copy of that crate than this one does. They can only use modules that do not
//! mention its types: [`process`], [`ptrace`] and [`name`].

pub mod bus;
pub mod example;
pub mod hostile;
pub mod model;
pub mod name;
pub mod process;
pub mod ptrace;
#[cfg(target_arch = "x86_64")]
pub mod stepped;

pub use bus::*;
pub use example::example;
pub use name::Name;
pub use process::*;
