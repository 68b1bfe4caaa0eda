//! Latencies, counted in buckets that are at most 1/16 wide.

use std::time::Duration;

/// Buckets per power of two.
const STEPS: u64 = 16;

/// How often each latency occurred.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, ns: u64) {
        self.add(bucket_of(ns), 1);
    }

    fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
    }

    /// Takes out what was counted, as buckets and their counts.
    pub fn drain(&mut self) -> Vec<(u16, u32)> {
        let counts = std::mem::take(&mut self.counts);
        let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(bucket, count)| (bucket as u16, *count as u32)).collect()
    }

    /// Adds what was drained elsewhere.
    pub fn merge(&mut self, buckets: &[(u16, u32)]) {
        for (bucket, count) in buckets {
            self.add(usize::from(*bucket), u64::from(*count));
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency that `share` of all are not above. `None` if there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share).ceil() as u64;
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank.max(1)
        })?;
        Some(Duration::from_nanos(upper_end_of(bucket)))
    }
}

/// Up to `STEPS` one bucket for each nanosecond, beyond it `STEPS` buckets for each power of two.
fn bucket_of(ns: u64) -> usize {
    match ns / STEPS {
        0 => ns as usize,
        above => {
            let power = u64::from(above.ilog2());
            ((power + 1) * STEPS + (ns >> power) - STEPS) as usize
        }
    }
}

/// The greatest latency that [`bucket_of`] puts there.
fn upper_end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    match bucket / STEPS {
        0 => bucket,
        power => ((STEPS + bucket % STEPS + 1) << (power - 1)) - 1,
    }
}
