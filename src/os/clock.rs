//! The host's clocks, from inside any time namespace.
//!
//! A time namespace (`time_namespaces(7)`) shifts the boot-time and monotonic clocks of its processes by an offset. A
//! time that one process stores and another compares with its clock, such as the deadline of a claim, is therefore
//! stored in the time of the host: the clock as read, minus the offset.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::os::sys;

/// The inode of the host's own time namespace, a constant of the kernel.
const HOST_NAMESPACE: u64 = 0xefff_fffa;
const SECOND_NS: i64 = 1_000_000_000;

/// Returns the time by the processor's clock, in its own unit. It costs a few nanoseconds. Other processors than x86-64
/// return 0.
#[inline]
pub(crate) fn ticks() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[allow(unused_unsafe, reason = "safe in later releases of Rust")]
    // SAFETY: every x86-64 processor has the instruction.
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    0
}

/// The offset of a process's clocks from the host's, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostClock {
    boottime_ahead: i64,
    monotonic_ahead: i64,
}

impl HostClock {
    /// Returns the clock of the calling process, valid for as long as the process stays in its time namespace. A forked
    /// child may be in another one.
    ///
    /// Assumes no offset where it cannot be determined: without `/proc`, and in a process outside the host's namespace
    /// that has set up another namespace for its children, because the kernel then shows the offsets of that namespace.
    pub(crate) fn of_this_process() -> HostClock {
        let namespace = |name: &str| fs::metadata(format!("/proc/self/ns/{name}")).ok().map(|of| of.ino());
        let own = namespace("time");
        if own.is_none() || own == Some(HOST_NAMESPACE) || own != namespace("time_for_children") {
            return HostClock::default();
        }
        fs::read_to_string("/proc/self/timens_offsets").map_or_else(|_| HostClock::default(), |text| offsets_in(&text))
    }

    /// Returns [`sys::boottime_ns`] of the host: one clock for all its processes. (Offsets may be negative; sums wrap.)
    #[inline]
    pub(crate) fn boottime_ns(self) -> u64 {
        sys::boottime_ns().wrapping_sub(self.boottime_ahead as u64)
    }

    /// Returns [`sys::coarse_ns`] of the host.
    #[inline]
    pub(crate) fn coarse_ns(self) -> u64 {
        sys::coarse_ns().wrapping_sub(self.monotonic_ahead as u64)
    }

    /// Converts a number of clock ticks since boot, as `/proc` shows it to this process, to the time of the host. The
    /// result is exact if the offset is a whole number of ticks, as it is unless it was set in nanoseconds; otherwise
    /// it may be one too low.
    pub(crate) fn host_ticks(self, ticks: u64) -> u64 {
        let tick_ns = SECOND_NS / rustix::param::clock_ticks_per_second().max(1) as i64;
        ticks.wrapping_sub(self.boottime_ahead.div_euclid(tick_ns.max(1)) as u64)
    }
}

/// Parses `/proc/self/timens_offsets`: lines with a clock, seconds and nanoseconds. The first kernels with this file
/// named the clocks by numbers.
fn offsets_in(text: &str) -> HostClock {
    let mut clock = HostClock::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(name), Some(seconds), Some(ns)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (Ok(seconds), Ok(ns)) = (seconds.parse::<i64>(), ns.parse::<i64>()) else { continue };
        let ahead = seconds.saturating_mul(SECOND_NS).saturating_add(ns);
        match name {
            "boottime" | "7" => clock.boottime_ahead = ahead,
            "monotonic" | "1" => clock.monotonic_ahead = ahead,
            _ => {}
        }
    }
    clock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_the_kernel_shows_them() {
        let both = |monotonic_ahead, boottime_ahead| HostClock { boottime_ahead, monotonic_ahead };
        for (text, clock) in [
            ("monotonic           0         0\nboottime            0         0\n", both(0, 0)),
            ("monotonic  2592000  5\nboottime  -7  250000000\n", both(2_592_000_000_000_005, -6_750_000_000)),
            ("1 2 3\n7 4 5\n", both(2_000_000_003, 4_000_000_005)),
            ("boottime 9999999999999999999 0\nboottime x 0\nboottime 1\n\nrealtime 1 1\n", both(0, 0)),
            ("boottime 9223372036854775807 0", both(0, i64::MAX)),
        ] {
            assert_eq!(offsets_in(text), clock, "{text}");
        }
    }

    #[test]
    fn g9_the_hosts_time_is_the_own_less_the_offset() {
        for boottime_ahead in [0, 1, -1, 30 * 86_400 * SECOND_NS, -1_000_000_000] {
            let clock = HostClock { boottime_ahead, monotonic_ahead: -boottime_ahead };
            let (before, coarse) = (sys::boottime_ns(), sys::coarse_ns());
            let (host, host_coarse) = (clock.boottime_ns(), clock.coarse_ns());
            let (after, coarse_after) = (sys::boottime_ns(), sys::coarse_ns());
            assert!((before..=after).contains(&host.wrapping_add_signed(boottime_ahead)));
            assert!((coarse..=coarse_after).contains(&host_coarse.wrapping_sub(boottime_ahead as u64)));
        }
    }

    #[test]
    fn ticks_of_a_start_are_those_that_the_host_says() {
        let ticks = |boottime_ahead, ticks| HostClock { boottime_ahead, monotonic_ahead: 0 }.host_ticks(ticks);
        assert_eq!(ticks(0, 77), 77);
        assert_eq!(ticks(30 * SECOND_NS, 3077), 77);
        assert_eq!(ticks(-30 * SECOND_NS, 77), 3077);
    }
}
