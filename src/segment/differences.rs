//! Compares a caller's options with an existing segment.

use std::time::Duration;

use rustix::fs::Stat;

use super::geometry::{Geometry, KEYS_PER_BUCKET, buckets_for, keys_of_slots, slot_stride_for, slots_for, stride_for};
use super::options::SegmentOptions;
use super::pools::PoolId;
use crate::error::Difference;

/// Returns the options that were set in `options` and differ in a segment with this geometry and file.
pub(super) fn differences(options: &SegmentOptions, geometry: &Geometry, stat: &Stat) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut differ = |option, wanted: String, found: String| all.push(Difference { option, wanted, found });
    let asked = options.asked;
    if asked.capacity && options.capacity != geometry.capacity() {
        differ("capacity", options.capacity.to_string(), geometry.capacity().to_string());
    }
    // Compares the rounded sizes.
    if asked.block_size && stride_for(options.block_size) != geometry.pool(PoolId::Ring).stride {
        differ("block_size", options.block_size.to_string(), geometry.block_bytes().to_string());
    }
    let buckets = geometry.pool(PoolId::Claims).cells;
    if asked.claims && buckets_for(options.claims) != buckets {
        differ("claims", options.claims.to_string(), (buckets * KEYS_PER_BUCKET).to_string());
    }
    let slots = geometry.pool(PoolId::Slots);
    if asked.retained && slots_for(options.retained) != slots.cells {
        differ("retained", options.retained.to_string(), keys_of_slots(slots.cells).to_string());
    }
    let retained_size = options.get_retained_size();
    if asked.retained_size && options.retained > 0 && slot_stride_for(retained_size) != slots.stride {
        differ("retained_size", retained_size.to_string(), geometry.retained_bytes().to_string());
    }
    let large = geometry.pool(PoolId::Large);
    if asked.large
        && options.large.map_or((0, 0), |(blocks, bytes)| (blocks, stride_for(bytes))) != (large.cells, large.stride)
    {
        let text =
            |blocks: u64, bytes: u64| if blocks == 0 { "none".to_owned() } else { format!("{blocks} of {bytes}") };
        let (blocks, bytes) = options.large.unwrap_or_default();
        differ("large", text(blocks, bytes), text(large.cells, geometry.large_bytes() as u64));
    }
    if asked.seats && options.seats != geometry.seats {
        differ("seats", options.seats.to_string(), geometry.seats.to_string());
    }
    let most_patience = Duration::from_nanos(geometry.most_patience);
    if asked.most_patience && options.most_patience != most_patience {
        differ("most_patience", format!("{:?}", options.most_patience), format!("{most_patience:?}"));
    }
    if asked.relay_hosts && options.relay_hosts != geometry.relay_hosts {
        differ("relay_hosts", options.relay_hosts.to_string(), geometry.relay_hosts.to_string());
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
