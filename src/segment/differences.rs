//! What a caller asked of a segment and an existing one is not.

use std::fmt;

use rustix::fs::Stat;

use super::geometry::{Geometry, KEYS_PER_BUCKET, buckets_for, stride_for};
use super::options::SegmentOptions;

/// An option that was set when an existing segment was opened, and that the segment does not have: it keeps what it was
/// created with. See [`Bus::differences`](crate::Bus::differences).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The option, as [`SegmentOptions`] calls it.
    pub option: &'static str,
    /// What was set.
    pub wanted: String,
    /// What the segment has.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, not {}", self.option, self.found, self.wanted)
    }
}

/// A list of them, to be printed.
pub(crate) struct Listed<'a>(pub(crate) &'a [Difference]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, difference) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{difference}")?;
        }
        Ok(())
    }
}

/// What was set in `options` and is otherwise in a segment with this geometry and file.
pub(super) fn differences(options: &SegmentOptions, geometry: &Geometry, stat: &Stat) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |option, wanted: String, found: String| all.push(Difference { option, wanted, found });
    let asked = options.asked;
    if asked.capacity && options.capacity != geometry.capacity {
        differ("capacity", options.capacity.to_string(), geometry.capacity.to_string());
    }
    // By what becomes of them: sizes that are rounded to the same are the same.
    if asked.block_size && stride_for(options.block_size) != geometry.block_stride {
        differ("block_size", options.block_size.to_string(), geometry.block_bytes().to_string());
    }
    if asked.claims && buckets_for(options.claims) != geometry.buckets {
        differ("claims", options.claims.to_string(), (geometry.buckets * KEYS_PER_BUCKET).to_string());
    }
    if asked.records && options.records != geometry.records {
        differ("records", options.records.to_string(), geometry.records.to_string());
    }
    let mode = stat.st_mode & 0o7777;
    if asked.mode && options.mode != mode {
        differ("mode", format!("{:04o}", options.mode), format!("{mode:04o}"));
    }
    if let Some((uid, gid)) = options.owner.filter(|&owner| owner != (stat.st_uid, stat.st_gid)) {
        differ("owner", format!("{uid}:{gid}"), format!("{}:{}", stat.st_uid, stat.st_gid));
    }
    all
}
