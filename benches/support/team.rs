//! The processes of a batch.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::board::Board;
use super::cpu;

/// Seconds after which a process of a batch is ended: something it waits for did not come.
const LIMIT_S: u32 = 40;

/// Whether the processes of batches run ahead of everything else.
pub static REALTIME: AtomicBool = AtomicBool::new(false);

/// One process: the core it is kept on, and what it does.
pub struct Role<'a> {
    pub core: usize,
    pub run: Box<dyn Fn() + 'a>,
}

impl<'a> Role<'a> {
    pub fn new(core: usize, run: impl Fn() + 'a) -> Role<'a> {
        Role { core, run: Box::new(run) }
    }
}

/// Forks a process for each role and waits for all. An error says which failed; the others are ended then.
pub fn run(board: &Board, roles: &[Role<'_>]) -> Result<(), String> {
    board.reset();
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    let mut children: Vec<libc::pid_t> = Vec::new();
    for role in roles {
        // SAFETY: this process has one thread, so that the child may do anything.
        match unsafe { libc::fork() } {
            -1 => {
                end(&children);
                return Err(format!("fork: {}", io::Error::last_os_error()));
            }
            0 => child(role),
            pid => children.push(pid),
        }
    }
    let mut failure = None;
    while !children.is_empty() {
        let mut status = 0;
        // Any child of this process group: peers' servers have groups of their own.
        // SAFETY: `status` is writable for the call.
        let pid = unsafe { libc::waitpid(0, &raw mut status, 0) };
        let Some(at) = children.iter().position(|&child| child == pid) else {
            if pid == -1 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return Err(format!("waitpid: {}", io::Error::last_os_error()));
            }
            continue;
        };
        children.swap_remove(at);
        if status != 0 && failure.is_none() {
            failure = Some(describe(status));
            end(&children);
        }
    }
    failure.map_or(Ok(()), Err)
}

fn child(role: &Role<'_>) -> ! {
    // SAFETY: plain system calls; `_exit` leaves what was inherited as it is.
    unsafe {
        libc::alarm(LIMIT_S);
        // Ended with the parent, not after it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    let ran = catch_unwind(AssertUnwindSafe(|| {
        cpu::pin(role.core).expect("pinned to a core that this process may use");
        if REALTIME.load(Ordering::Relaxed) {
            cpu::realtime();
        }
        (role.run)();
    }));
    // SAFETY: as above.
    unsafe { libc::_exit(i32::from(ran.is_err())) }
}

fn describe(status: i32) -> String {
    match status {
        _ if libc::WIFEXITED(status) => format!("a process of the batch panicked (exit code {})", status >> 8),
        _ if libc::WTERMSIG(status) == libc::SIGALRM => {
            format!("a process of the batch was not done after {LIMIT_S} s")
        }
        _ => format!("a process of the batch was ended by signal {}", libc::WTERMSIG(status)),
    }
}

fn end(children: &[libc::pid_t]) {
    for &child in children {
        // SAFETY: a child of ours that was not waited for yet, so that the pid is still its.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
}
