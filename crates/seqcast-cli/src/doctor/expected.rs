//! Compares a segment with the options that its processes create it with.

use seqcast::SegmentOptions;
use seqcast::inspect::Listed;

use super::Finding;
use crate::args::Expected;
use crate::exit::Failure;

/// Returns one finding for each option in which the segment differs from those that are expected.
pub fn findings(listed: &Listed, expected: &Expected) -> Result<Vec<Finding>, Failure> {
    let Ok(inspector) = &listed.opened else { return Ok(Vec::new()) };
    let differences = inspector.differences(&options(expected))?;
    let remedy = "an existing segment keeps its sizes: create one with other sizes under another name, and bridge the \
                  two (see Reload in the documentation of seqcast), or remove it when all its processes have ended";
    let finding = |difference: &seqcast::Difference| {
        Finding::trouble("options_differ", &listed.name, difference.to_string(), remedy)
    };
    Ok(differences.iter().map(finding).collect())
}

fn options(expected: &Expected) -> SegmentOptions {
    let Expected { capacity, block_size, claims, retained, retained_size, large, large_size, seats } = *expected;
    let set = |options: SegmentOptions, value: Option<u64>, set: fn(SegmentOptions, u64) -> SegmentOptions| match value
    {
        Some(value) => set(options, value),
        None => options,
    };
    let options = set(SegmentOptions::new(), capacity, SegmentOptions::capacity);
    let options = set(options, block_size, SegmentOptions::block_size);
    let options = set(options, claims, SegmentOptions::claims);
    let options = set(options, retained, SegmentOptions::retained);
    let options = set(options, retained_size, SegmentOptions::retained_size);
    let options = set(options, seats, SegmentOptions::seats);
    match (large, large_size) {
        (Some(blocks), Some(bytes)) => options.large(blocks, bytes),
        // One requires the other.
        _ => options,
    }
}
