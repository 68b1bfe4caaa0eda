//! The fuzz targets. Each is a function of bytes, so that the fuzzer, a replay and a regression test run the same code.

#![deny(missing_docs, missing_debug_implementations, unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod model;
mod open;
mod options;
mod records;

pub use model::model;
pub use open::open;
pub use options::options;
pub use records::records;
use seqcast_testkit::hostile::attack;

/// A target.
pub type Target = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("open", open),
    ("segment", segment),
    ("segment_meanwhile", segment_meanwhile),
    ("records", records),
    ("options", options),
    ("model", model),
];

/// Arbitrary stores to a segment, between the calls of honest workers that post, poll, reserve, commit, claim, release,
/// wait, join, leave and read the counters.
pub fn segment(bytes: &[u8]) {
    attack::run(bytes, false);
}

/// Like [`segment`], and another thread stores all the time. Findings depend on luck: run them repeatedly.
pub fn segment_meanwhile(bytes: &[u8]) {
    attack::run(bytes, true);
}
