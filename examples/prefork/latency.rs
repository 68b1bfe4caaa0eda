//! Latencies of events, in nanoseconds.

use hdrhistogram::Histogram;

/// Longer latencies count as this one: a minute.
const MOST_NS: u64 = 60_000_000_000;
/// Significant decimal digits that are kept.
const DIGITS: u8 = 2;

/// Returns a histogram without a latency.
pub fn none() -> Histogram<u64> {
    Histogram::new_with_max(MOST_NS, DIGITS).expect("the number of digits is valid")
}

/// Takes out the recorded latencies, and how often each occurred.
pub fn take(histogram: &mut Histogram<u64>) -> Vec<(u64, u64)> {
    let taken = histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
    histogram.reset();
    taken
}

/// Adds latencies that were taken out elsewhere.
pub fn add(histogram: &mut Histogram<u64>, taken: &[(u64, u64)]) {
    for &(latency, count) in taken {
        histogram.saturating_record_n(latency, count);
    }
}

/// Describes the median and the 99th percentile.
pub fn describe(histogram: &Histogram<u64>) -> String {
    let us = |quantile| match histogram.len() {
        0 => "-".to_owned(),
        _ => format!("{:.0} us", histogram.value_at_quantile(quantile) as f64 / 1e3),
    };
    format!("post to handler p50 {}, p99 {}", us(0.5), us(0.99))
}
