//! What the system says of a worker's process.

use seqcast::WorkerStats;
use seqcast::inspect::process_start_time;

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Dead,
    Stopped,
    Slow,
    Ok,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Stopped => "stopped",
            State::Slow => "slow",
            State::Ok => "ok",
        }
    }
}

/// A worker that has not read for so long, though there was something to read, is slow.
const LONG_SILENCE: std::time::Duration = std::time::Duration::from_secs(5);

impl State {
    /// Dead: nobody has the record's lock. Stopped: the process is stopped by a signal or a debugger, as far as it can be
    /// seen from this pid namespace. Slow: more than a quarter of the ring behind, or behind and silent for long.
    pub fn of(worker: &WorkerStats, capacity: u64) -> State {
        if !worker.alive {
            return State::Dead;
        }
        if is_stopped(worker) {
            return State::Stopped;
        }
        // A worker that never read may have joined just now.
        let age = worker.joined_at.elapsed().unwrap_or_default();
        let silent = worker.last_poll.map_or(age, |ago| ago.min(age)) > LONG_SILENCE;
        if worker.lag > capacity / 4 || worker.lag > 0 && silent { State::Slow } else { State::Ok }
    }
}

fn is_stopped(worker: &WorkerStats) -> bool {
    // Another process may have this id here, if the worker's pid namespace is another.
    process_start_time(worker.pid) == Some(worker.start_time) && matches!(state_letter(worker.pid), Some('T' | 't'))
}

fn state_letter(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold blanks and parentheses.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}
