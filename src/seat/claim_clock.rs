//! The time with the precision of a tick, for a fifth of the cost of a clock read.

use crate::os::clock::HostClock;
use crate::os::sys;
use crate::protocol::claims::Clock;

/// The host's boot-time clock, read once in a tick of the coarse clock.
///
/// The kernel advances the coarse clock at every tick, and also when the host is suspended. While the coarse clock
/// shows the same value, less than a tick has passed. Suspended time is therefore noticed, although the coarse clock
/// does not count it.
#[derive(Debug)]
pub(crate) struct Tick {
    clock: HostClock,
    coarse_ns: u64,
    boottime_ns: u64,
}

/// A deadline further than this past the cached time has not been reached: two ticks of the slowest kernels.
const SLACK_NS: u64 = 20_000_000;

impl Tick {
    pub(crate) fn new(clock: HostClock) -> Tick {
        Tick { clock, coarse_ns: u64::MAX, boottime_ns: 0 }
    }
}

impl Clock for Tick {
    #[inline]
    fn now(&mut self) -> u64 {
        self.clock.boottime_ns()
    }

    /// `deadline` is far if it is more than [`SLACK_NS`] away. The time that is left may be up to a tick shorter than
    /// the result.
    #[inline]
    fn left_until_far(&mut self, deadline: u64) -> Option<u64> {
        let left = |now| deadline.checked_sub(now).filter(|&left| left > SLACK_NS);
        // Time only moves forward: a deadline that is near for the older cached time is nearer now.
        left(self.boottime_ns)?;
        let coarse_ns = sys::coarse_ns();
        if self.coarse_ns != coarse_ns {
            (self.coarse_ns, self.boottime_ns) = (coarse_ns, self.clock.boottime_ns());
        }
        left(self.boottime_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_what_is_left_is_never_too_little_and_less_than_the_slack_too_much() {
        const HOUR: u64 = 3_600_000_000_000;
        let mut tick = Tick::new(HostClock::default());
        let (mut ticks, mut last) = (0, 0);
        while ticks < 5 {
            let before = sys::boottime_ns();
            let deadline = before + HOUR;
            let left = tick.left_until_far(deadline).unwrap();
            let after = sys::boottime_ns();
            assert!(left >= deadline - after, "{left} of {}", deadline - after);
            // If this thread was preempted in between, the difference means nothing.
            if after - before < 1_000_000 {
                let too_much = left.saturating_sub(HOUR);
                assert!(too_much < SLACK_NS, "{too_much} ns too much");
            }
            ticks += u32::from(tick.boottime_ns != last);
            last = tick.boottime_ns;
        }
    }

    #[test]
    fn g9_what_is_near_or_over_is_left_to_the_clock() {
        let mut tick = Tick::new(HostClock::default());
        for _ in 0..2 {
            let now = sys::boottime_ns();
            assert_eq!([0, now - 1, now, now + 1].map(|deadline| tick.left_until_far(deadline)), [None; 4]);
            assert!(tick.left_until_far(u64::MAX).is_some());
        }
    }
}
