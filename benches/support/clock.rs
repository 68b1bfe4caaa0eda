//! Time stamps that cost a few nanoseconds.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Returns the ticks since some time in the past.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: only reads a counter. It does not serialise: its own jitter is a few nanoseconds, the same for every
    // channel.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Returns the nanoseconds of a tick. Measured on the first call, which should be before any fork.
pub fn ns_per_tick() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| {
        let (start, first) = (Instant::now(), ticks());
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        start.elapsed().as_nanos() as f64 / (ticks() - first) as f64
    })
}

/// Returns the step of the counter in nanoseconds. On some machines it is 10 ns and more, so that medians of single
/// times need care.
pub fn granule_ns() -> f64 {
    static GRANULE: OnceLock<f64> = OnceLock::new();
    *GRANULE.get_or_init(|| {
        let mut steps: Vec<u64> = Vec::new();
        for _ in 0..10_000 {
            let before = ticks();
            let mut after = ticks();
            while after == before {
                after = ticks();
            }
            steps.push(after - before);
        }
        steps.sort_unstable();
        steps[steps.len() / 2] as f64 * ns_per_tick()
    })
}

/// Returns the ticks of a duration.
pub fn ticks_in(duration: Duration) -> u64 {
    (duration.as_nanos() as f64 / ns_per_tick()) as u64
}

/// Spins for `duration`.
pub fn spin_for(duration: Duration) {
    let end = ticks() + ticks_in(duration);
    while ticks() < end {
        std::hint::spin_loop();
    }
}
