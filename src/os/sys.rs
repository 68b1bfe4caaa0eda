//! System calls: clocks, futexes, byte locks, identity of processes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use rustix::time::ClockId;

use crate::os::clock::HostClock;

/// A number that distinguishes this thread from all other live threads of the process. Never 0.
#[inline]
pub(crate) fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    // It has no constructor and no destructor code, so it is also available in a thread's last destructors.
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Nanoseconds since boot, including suspended time: one clock for all processes of the host, never set back. Linux has
/// no coarse variant of it; this one is read without a system call (vDSO).
#[inline]
pub(crate) fn boottime_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds since boot, excluding suspended time, a few milliseconds late. It tells how long ago something was,
/// where the fine clock would cost more than the operation itself.
#[inline]
pub(crate) fn coarse_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Nanoseconds of the wall clock since 1970, for display only.
pub(crate) fn wall_ns() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64)
}

/// Returns the calling process's id, in its own pid namespace.
pub(crate) fn pid() -> u32 {
    std::process::id()
}

/// Returns a number that distinguishes this process's pid namespace from all others of the host. `None` without
/// `/proc`.
pub(crate) fn pid_namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").ok().map(|namespace| namespace.ino())
}

/// Returns when this process started, in clock ticks since boot, in the time of the host. `None` without `/proc`. It
/// does not use the pid, which may belong to another process in the namespace that `/proc` shows.
pub(crate) fn own_start_time() -> Option<u64> {
    host_start_time_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Returns when a process started, in clock ticks since boot, in the time of the host. `None` if there is no such
/// process, or without `/proc`.
pub(crate) fn process_start_time(pid: u32) -> Option<u64> {
    host_start_time_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// [`start_time_in`] in the time of the host.
fn host_start_time_in(stat: &str) -> Option<u64> {
    start_time_in(stat).map(|ticks| HostClock::of_this_process().host_ticks(ticks))
}

/// Parses field 22 of `/proc/PID/stat`, in the time of the process that reads it. The second field is a file name in
/// parentheses and may itself contain blanks and parentheses, so fields are counted from the last parenthesis.
fn start_time_in(stat: &str) -> Option<u64> {
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// Returns `true` if no process has this id in the caller's pid namespace, not even a zombie. Returns `false` if this
/// cannot be determined. Much cheaper than reading `/proc`.
pub(crate) fn is_gone(pid: u64) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // The call sends nothing. Numbers below 1 are not process ids and are never used.
    pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// Returns `true` if the process with this id and start time runs or is stopped, and is neither dead nor exiting.
/// Returns `false` without `/proc`.
pub(crate) fn is_running(pid: u32, start_time: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    if host_start_time_in(&stat) != Some(start_time) {
        return false;
    }
    // If the first thread of a process has ended, the process lives on in its other threads.
    is_live(&stat)
        || std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| {
            tasks
                .flatten()
                .any(|task| std::fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| is_live(&stat)))
        })
}

/// Returns `true` if the process with this id and start time is stopped by a signal or a debugger. Returns `false`
/// without `/proc`.
pub(crate) fn is_stopped(pid: u32, start_time: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    host_start_time_in(&stat) == Some(start_time) && matches!(state_in(&stat), Some("T" | "t"))
}

/// Parses the state of a process (field 3 of `/proc/PID/stat`).
fn state_in(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().next()
}

/// Returns `true` if a thread is neither dead nor exiting, by its state (field 3) and the kernel's flags (field 9).
fn is_live(stat: &str) -> bool {
    /// The thread is exiting: `PF_EXITING` of the kernel, the same in all releases.
    const EXITING: u64 = 4;
    let Some((_, from_third)) = stat.rsplit_once(')') else { return false };
    let mut fields = from_third.split_ascii_whitespace();
    let is_dead = fields.next().is_none_or(|state| matches!(state, "Z" | "X" | "x"));
    !is_dead && fields.nth(9 - 4).and_then(|flags| flags.parse().ok()).is_some_and(|flags: u64| flags & EXITING == 0)
}

/// Returns whether a process has mapped a file with this inode number. `None` if access is denied.
pub(crate) fn has_mapped(pid: u32, inode: u64) -> Option<bool> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).ok()?;
    Some(String::from_utf8_lossy(&maps).lines().any(|line| inode_of_mapping(line) == Some(inode)))
}

/// Returns the inode number of the file that this process has mapped at `address` without any access rights.
pub(crate) fn inode_mapped_at(address: usize) -> Option<u64> {
    let maps = std::fs::read("/proc/self/maps").ok()?;
    let beginning = format!("{address:x}-");
    String::from_utf8_lossy(&maps)
        .lines()
        .find(|line| line.starts_with(&beginning) && line.contains(" ---s "))
        .and_then(inode_of_mapping)
}

/// Parses the inode number in a line of `/proc/PID/maps`: `7f00-7f01 ---s 00000000 00:1a 77  /dev/shm/name`.
pub(crate) fn inode_of_mapping(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().nth(4)?.parse().ok()
}

/// Returns a number for the program that this process runs. It changes with `exec`, unlike the pid and the start time.
pub(crate) fn program() -> u64 {
    static PROGRAM: AtomicU64 = AtomicU64::new(0);
    // Relaxed throughout: the number protects no other memory.
    match PROGRAM.load(Ordering::Relaxed) {
        0 => {}
        program => return program,
    }
    let mut bytes = [0; 8];
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    // Without random numbers, use the time.
    let fresh = (u64::from_ne_bytes(bytes) ^ boottime_ns()).max(1);
    match PROGRAM.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(of_another_thread) => of_another_thread,
    }
}

/// Returns the memory in bytes that is available without killing a process, by the kernel's estimate. `None` if it
/// cannot be read.
pub(crate) fn available_memory() -> Option<u64> {
    available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let total = kib_in(meminfo, "MemAvailable")?.saturating_add(kib_in(meminfo, "SwapFree").unwrap_or(0));
    Some(total.saturating_mul(1024))
}

/// Parses a row of `/proc/meminfo`, in KiB.
pub(super) fn kib_in(meminfo: &str, row: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Returns the host's boot id, or zeros if it cannot be read.
pub(crate) fn boot_id() -> [u64; 2] {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok())
        .map_or([0; 2], |id| [(id >> 64) as u64, id as u64])
}

/// Takes the lock on one byte of a file for its open file description. Returns `false` if another description has it.
///
/// The lock belongs to the description. The kernel releases it when the last descriptor is closed, however the process
/// ends.
pub(crate) fn try_lock_byte(file: impl AsFd, at: u64) -> io::Result<bool> {
    match lock_request(&file, libc::F_OFD_SETLK, libc::F_WRLCK, at, 1) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Releases the lock on one byte, for all that share the description.
pub(crate) fn unlock_byte(file: impl AsFd, at: u64) -> io::Result<()> {
    lock_request(&file, libc::F_OFD_SETLK, libc::F_UNLCK, at, 1).map(drop)
}

/// Returns `true` if a description other than `file`'s has the lock on one byte. Works on a file that is open
/// read-only, too.
///
/// Read locks do not count: they keep others from locking the byte, but any process that may read the file can take
/// one.
pub(crate) fn is_byte_locked(file: impl AsFd, at: u64) -> io::Result<bool> {
    is_any_byte_locked(file, at, 1)
}

/// The same for any of `len` bytes.
pub(crate) fn is_any_byte_locked(file: impl AsFd, at: u64, len: u64) -> io::Result<bool> {
    let mut spans = vec![(at, at.saturating_add(len))];
    while let Some((from, to)) = spans.pop() {
        // If the span contains several locks, this finds one of them.
        let found = lock_request(&file, libc::F_OFD_GETLK, libc::F_WRLCK, from, to - from)?;
        match libc::c_int::from(found.l_type) {
            libc::F_UNLCK => {}
            libc::F_RDLCK => {
                // A byte that is locked for writing has no other lock, so only the rest of the span remains.
                let start = (found.l_start as u64).clamp(from, to);
                let end = if found.l_len == 0 { to } else { (found.l_start + found.l_len) as u64 };
                spans.extend([(from, start), (end.clamp(start, to), to)].into_iter().filter(|(from, to)| from < to));
            }
            _ => return Ok(true),
        }
    }
    Ok(false)
}

/// Takes a read lease on `file`, which must be open read-only, until it is closed: meanwhile no process can open it for
/// writing. Returns `false` if a process has it open for writing.
///
/// If a process tries to open it for writing, the kernel asks for the lease back by a signal. This uses a signal that
/// is ignored by default, and not SIGIO, which ends a process.
pub(crate) fn try_lease(file: impl AsFd) -> io::Result<bool> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and both commands take a number.
    let leased = unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0 && libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) == 0
    };
    match io::Error::last_os_error() {
        _ if leased => Ok(true),
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// The `libc` crate does not have it for Linux.
const F_SETSIG: libc::c_int = 10;

/// `fcntl` with an open-file-description lock of `len` bytes. Returns the request as the kernel left it.
fn lock_request(
    file: &impl AsFd,
    command: libc::c_int,
    kind: libc::c_int,
    at: u64,
    len: u64,
) -> io::Result<libc::flock> {
    // SAFETY: `flock` is plain numbers, for which zero is a value; `l_pid` must be zero.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at as libc::off_t;
    lock.l_len = len as libc::off_t;
    // SAFETY: the descriptor is open, and both commands read and write one `flock`, which outlives the call.
    let done = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw mut lock) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(lock) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use seqcast_testkit::process::{Child, eventually, in_time_namespace};

    use super::*;

    #[test]
    fn start_time_survives_a_name_with_parentheses_and_blanks() {
        let stat = "77 (a) b (c)) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 8 9";
        assert_eq!(start_time_in(stat), Some(4711));
        assert_eq!(start_time_in("77 (cut off"), None);
        assert_eq!(start_time_in("77 (a) S 1"), None);
    }

    #[test]
    fn own_start_time_is_read_and_a_dead_process_has_none() {
        assert!(process_start_time(pid()).is_some());
        assert_eq!(process_start_time(u32::MAX), None);
    }

    #[test]
    fn g7_the_dead_the_ending_and_those_of_another_start_do_not_run() {
        let line = |state: &str, flags: u64| format!("77 (a) b) {state} 1 77 77 0 -1 {flags} 1 0");
        assert!(is_live(&line("S", 4_194_304)) && is_live(&line("T", 0)));
        assert!(!is_live(&line("Z", 4_194_304)) && !is_live(&line("X", 0)) && !is_live(&line("R", 4_194_304 | 4)));
        assert!(!is_live("77 (cut off") && !is_live("77 (a) S 1"));
        let start = own_start_time().unwrap();
        assert!(is_running(pid(), start) && !is_running(pid(), start + 1) && !is_running(u32::MAX, start));
    }

    seqcast_testkit::alone! {
        fn g7_a_process_is_known_by_its_start_in_any_time_namespace() {
            let (own, start) = (pid(), own_start_time().unwrap());
            in_time_namespace(30 * 86_400, || {
                assert_eq!(process_start_time(own), Some(start));
                assert!(is_running(own, start), "its start is in the time of the host");
            });
        }
    }

    #[test]
    fn a_stopped_process_is_told_by_its_id_and_start() {
        let child = Child::fork_amid_threads(|| {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        });
        let start = process_start_time(child.pid()).unwrap();
        assert!(!is_stopped(child.pid(), start));
        child.stop();
        assert!(is_stopped(child.pid(), start) && !is_stopped(child.pid(), start + 1));
        assert!(is_running(child.pid(), start), "a stopped process lives");
        child.go_on();
        eventually("it continues", || !is_stopped(child.pid(), start));
        child.kill();
    }

    #[test]
    fn g7_a_process_whose_first_thread_has_ended_runs() {
        // SAFETY: the child allocates nothing before its first thread ends, and its second one only sleeps.
        let child = unsafe { libc::fork() };
        if child == 0 {
            extern "C" fn sleep(_: *mut libc::c_void) -> *mut libc::c_void {
                loop {
                    // SAFETY: a system call without pointers.
                    unsafe { libc::pause() };
                }
            }
            let mut thread = 0;
            // SAFETY: glibc allows this in a child; only the first thread ends.
            unsafe {
                libc::pthread_create(&raw mut thread, std::ptr::null(), sleep, std::ptr::null_mut());
                libc::syscall(libc::SYS_exit, 0);
            }
        }
        let child = child as u32;
        let zombie = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap().contains(") Z ");
        while !zombie() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let start = process_start_time(child).unwrap();
        let ran = is_running(child, start);
        // SAFETY: our own child, which has not been reaped yet.
        unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
        while is_running(child, start) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(process_start_time(child), Some(start), "it is not buried");
        // SAFETY: no status is requested.
        unsafe { libc::waitpid(child as libc::pid_t, std::ptr::null_mut(), 0) };
        assert!(ran);
    }

    #[test]
    fn what_a_process_has_mapped_is_told_by_the_inode() {
        let line = "7f00-7f01 ---s 00000000 00:1a 77                         /dev/shm/a name";
        assert_eq!(inode_of_mapping(line), Some(77));
        assert_eq!(inode_of_mapping("7f00-7f01 rw-p 00000000 00:00 0"), Some(0));
        assert_eq!(inode_of_mapping("7f00"), None);
        let program = std::fs::metadata("/proc/self/exe").unwrap();
        assert_eq!(has_mapped(pid(), std::os::unix::fs::MetadataExt::ino(&program)), Some(true));
        assert_eq!((has_mapped(pid(), u64::MAX), has_mapped(u32::MAX, 1)), (Some(false), None));
    }

    #[test]
    fn available_memory_is_what_is_free_with_swap() {
        let meminfo = "MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:     5 kB\nSwapTotal: 8 kB\nSwapFree:  2 kB\n";
        assert_eq!(available_in(meminfo), Some(7 * 1024));
        assert_eq!(available_in("MemAvailable: 5 kB\n"), Some(5 * 1024));
        assert_eq!(available_in("MemFree: 5 kB\n"), None);
        assert!(available_memory().unwrap() > 1 << 20);
    }

    #[test]
    fn boot_id_is_read() {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let number = u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap();
        assert_eq!(boot_id(), [(number >> 64) as u64, number as u64]);
    }

    #[test]
    fn boottime_never_goes_back_and_moves() {
        let first = boottime_ns();
        std::thread::sleep(Duration::from_millis(2));
        let second = boottime_ns();
        assert!(second - first >= 2_000_000, "{first} to {second}");
    }
}
