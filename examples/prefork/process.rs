//! Processes: forking, dying with the master, and stopping.

use std::io::{self, Write};
use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop_signal(_: c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Signals that ask the master to stop: Ctrl-C, `kill`, and a terminal that is closed.
const STOP_SIGNALS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Records stop signals from now on, instead of dying from them.
pub fn watch_for_stop() {
    for signal in STOP_SIGNALS {
        // SAFETY: the handler stores to an atomic, which a handler may do.
        unsafe { libc::signal(signal, on_stop_signal as *const () as libc::sighandler_t) };
    }
}

/// Returns `true` if a stop signal came.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Forks. The child runs `run` and exits with code 0, or with 1 after printing the error. It does not outlive this
/// process, however this process ends.
pub fn fork(name: &str, run: impl FnOnce() -> crate::Result<()>) -> io::Result<Pid> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        // A lock that another thread holds would stay locked in the child.
        return Err(io::Error::other(format!("will not fork a process of {threads} threads")));
    }
    let parent = rustix::process::getpid();
    io::stdout().flush()?;
    // SAFETY: there is no other thread, so the child's memory is as consistent as ours.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let result = catch_unwind(AssertUnwindSafe(|| {
                die_with(parent)?;
                leave_signals_to_the_master();
                run()
            }));
            // Do not return up the stack: the values there are the master's to drop.
            std::process::exit(match result {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    eprintln!("{name}: {error}");
                    1
                }
                Err(_panic) => 101,
            })
        }
        pid => Ok(Pid::from_raw(pid).expect("fork returns a pid above 0 to the parent")),
    }
}

/// Makes the kernel kill this process when `parent` dies.
fn die_with(parent: Pid) -> crate::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        return Err("the master died while it forked".into());
    }
    Ok(())
}

/// Ctrl-C in a terminal goes to all processes, but the master stops the others. A deliberate kill of a worker still
/// works.
fn leave_signals_to_the_master() {
    for (signal, action) in
        [(libc::SIGINT, libc::SIG_IGN), (libc::SIGHUP, libc::SIG_IGN), (libc::SIGTERM, libc::SIG_DFL)]
    {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, action) };
    }
}

/// Sends a signal. A dead child that was not waited for yet gets it too, without effect.
pub fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Returns how the child ended, if it has.
pub fn ended(pid: Pid) -> io::Result<Option<WaitStatus>> {
    Ok(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG)?.map(|(_, status)| status))
}

/// Waits for the child's end.
pub fn reap(pid: Pid) {
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
}
