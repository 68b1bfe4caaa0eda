//! The state of a worker's process.

use seqcast::WorkerStats;

/// The state of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Dead,
    Unlocked,
    Stopped,
    Slow,
    Ok,
}

impl State {
    /// All states, best first.
    pub const ALL: [State; 5] = [State::Ok, State::Slow, State::Stopped, State::Unlocked, State::Dead];

    pub fn name(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Unlocked => "unlocked",
            State::Stopped => "stopped",
            State::Slow => "slow",
            State::Ok => "ok",
        }
    }
}

/// A worker that has read nothing for this long, although there are events to read, is slow.
const LONG_SILENCE: std::time::Duration = std::time::Duration::from_secs(5);

impl State {
    /// Dead: no process holds the seat's lock. Unlocked: no process holds it, but the worker lives. Stopped: a signal
    /// or a debugger has stopped the process, as far as this pid namespace can see. Slow: more than a quarter of the
    /// ring behind, or behind and silent for long.
    pub fn of(worker: &WorkerStats, capacity: u64) -> State {
        if !worker.alive {
            return State::Dead;
        }
        if worker.unlocked {
            return State::Unlocked;
        }
        if worker.is_stopped() {
            return State::Stopped;
        }
        // A worker that never read may have just joined.
        let age = worker.joined_at.elapsed().unwrap_or_default();
        let silent = worker.last_poll.map_or(age, |ago| ago.min(age)) > LONG_SILENCE;
        if worker.lag > capacity / 4 || worker.lag > 0 && silent { State::Slow } else { State::Ok }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::fixture;

    #[test]
    fn who_is_behind_by_much_or_for_long_is_slow() {
        let bus = fixture::bus("slow");
        let of = |lag: u64, last_poll: Option<u64>, age: u64| {
            let mut worker = fixture::worker_stats(&bus);
            worker.lag = lag;
            worker.last_poll = last_poll.map(Duration::from_secs);
            worker.joined_at = SystemTime::now() - Duration::from_secs(age);
            State::of(&worker, 400)
        };
        let hour = 3600;
        // More than a quarter of the ring.
        assert_eq!(of(100, Some(0), hour), State::Ok);
        assert_eq!(of(101, Some(0), hour), State::Slow);
        // More than five seconds of silence while there are events to read.
        assert_eq!(of(1, Some(5), hour), State::Ok);
        assert_eq!(of(1, Some(6), hour), State::Slow);
        assert_eq!(of(0, Some(6), hour), State::Ok);
        // A worker that never read has been silent since it joined.
        assert_eq!(of(1, None, hour), State::Slow);
        assert_eq!(of(1, None, 0), State::Ok);
        assert_eq!(of(1, Some(6), 0), State::Ok);
    }

    #[test]
    fn the_dead_are_dead_however_they_read() {
        let bus = fixture::bus("dead");
        let mut worker = fixture::worker_stats(&bus);
        worker.alive = false;
        assert_eq!(State::of(&worker, 64), State::Dead);
    }
}
