//! The processor time of other processes.

use std::time::Duration;

/// The processor time that all threads of a process have had. `utime` and `stime` of `/proc/PID/stat` say the same in
/// steps of 10 ms; this clock counts nanoseconds.
pub fn of(pid: u32) -> Duration {
    let mut clock = 0;
    // SAFETY: it writes to `clock`.
    let found = unsafe { libc::clock_getcpuclockid(pid as i32, &raw mut clock) };
    assert_eq!(found, 0, "process {pid} has no clock");
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to `time`.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(read, 0, "the clock of process {pid} cannot be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The sum over processes.
pub fn of_all(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| of(*pid)).sum()
}

/// A thousand connections need more descriptors than a shell allows by default. Children inherit the limit.
pub fn allow_many_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write `limit`.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(65536);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
