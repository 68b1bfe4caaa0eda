//! Kills and stops that hit where it hurts: next to an atomic instruction.
//!
//! A signal sent at a random time finds a process where it spends its time, and hardly ever between two stores of which
//! the second says that the first is done. So a part of the signals is aimed: the process is run instruction by
//! instruction (ptrace) up to a compare-exchange and a few instructions beyond.

use crate::rng::Rng;

/// Instructions after which the aim is given up, and the process left where it is.
const MOST_STEPS: u64 = 400;
/// Instructions to go on after the compare-exchange, at most.
const BEYOND: u64 = 8;

/// A process that is held by its parent.
pub struct Held {
    pid: libc::pid_t,
}

/// Holds `pid` next to an atomic instruction, or where it was if there was none near. `Err` with the wait status if it
/// has ended.
pub fn hold(pid: libc::pid_t, rng: &mut Rng) -> Result<Held, i32> {
    request(libc::PTRACE_SEIZE, pid, 0);
    request(libc::PTRACE_INTERRUPT, pid, 0);
    await_stop(pid)?;
    let mut skip = rng.below(3);
    for _ in 0..MOST_STEPS {
        let found = is_at_exchange(pid);
        step(pid)?;
        if found && skip == 0 {
            for _ in 0..rng.below(BEYOND) {
                step(pid)?;
            }
            break;
        }
        skip -= u64::from(found);
    }
    Ok(Held { pid })
}

impl Held {
    /// Lets it go, and it stops at once by SIGSTOP.
    pub fn stop(self) {
        request(libc::PTRACE_DETACH, self.pid, libc::SIGSTOP as usize);
    }

    pub fn kill(self) {
        // SAFETY: a system call on our own child, not waited for yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }
}

fn step(pid: libc::pid_t) -> Result<(), i32> {
    request(libc::PTRACE_SINGLESTEP, pid, 0);
    await_stop(pid)
}

fn await_stop(pid: libc::pid_t) -> Result<(), i32> {
    let mut status = 0;
    // SAFETY: the call fills `status`.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if libc::WIFSTOPPED(status) { Ok(()) } else { Err(status) }
}

fn request(request: libc::c_uint, pid: libc::pid_t, data: usize) {
    // SAFETY: requests that write to no memory of ours. One that fails, as when the process has just ended, shows in the
    // wait that follows.
    unsafe { libc::ptrace(request, pid, 0, data) };
}

/// Whether the next instruction is `lock cmpxchg`.
#[cfg(target_arch = "x86_64")]
fn is_at_exchange(pid: libc::pid_t) -> bool {
    let at = std::mem::offset_of!(libc::user_regs_struct, rip);
    // SAFETY: both read a word of the stopped child.
    let word = unsafe {
        let rip = libc::ptrace(libc::PTRACE_PEEKUSER, pid, at, 0);
        libc::ptrace(libc::PTRACE_PEEKTEXT, pid, rip, 0)
    };
    matches!(word.to_le_bytes(), [0xf0, 0x40..=0x4f, 0x0f, 0xb1, ..] | [0xf0, 0x0f, 0xb1, ..])
}

/// Where instructions are not known, every one in a few hundred is as good as an exchange.
#[cfg(not(target_arch = "x86_64"))]
fn is_at_exchange(pid: libc::pid_t) -> bool {
    crate::rng::mix(crate::log::boottime_ns() ^ pid as u64) % 300 == 0
}
