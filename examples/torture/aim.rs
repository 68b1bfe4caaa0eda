//! Kills and stops that hit where it hurts: next to an atomic instruction.
//!
//! A signal sent at a random time finds a process where it spends its time, and hardly ever between two stores of which
//! the second says that the first is done. So a part of the signals is aimed: the process is run instruction by
//! instruction (ptrace) up to a compare-exchange and a few instructions beyond.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use seqcast_testkit::ptrace::{Tracee, Until, Went};

use crate::rng::Rng;

/// Instructions after which the aim is given up, and the process left where it is.
const MOST_STEPS: u64 = 400;
/// Instructions to go on after the compare-exchange, at most.
const BEYOND: u64 = 8;

/// A process that is held by its parent.
pub struct Held {
    pid: libc::pid_t,
    tracee: Tracee,
}

/// Holds `pid` next to an atomic instruction, or where it was if there was none near. `Err` with the wait status if it
/// has ended.
pub fn hold(pid: libc::pid_t, rng: &mut Rng) -> Result<Held, i32> {
    let tracee = Tracee::seize(pid).map_err(ExitStatus::into_raw)?;
    let mut skip = rng.below(3);
    for _ in 0..MOST_STEPS {
        let found = is_at_exchange(tracee, pid);
        step(tracee)?;
        if found && skip == 0 {
            for _ in 0..rng.below(BEYOND) {
                step(tracee)?;
            }
            break;
        }
        skip -= u64::from(found);
    }
    Ok(Held { pid, tracee })
}

impl Held {
    /// Lets it go, and it stops at once by SIGSTOP.
    pub fn stop(self) {
        self.tracee.detach(libc::SIGSTOP);
    }

    pub fn kill(self) {
        // SAFETY: a system call on our own child, not waited for yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }
}

fn step(tracee: Tracee) -> Result<(), i32> {
    match tracee.go_on(Until::Instruction) {
        Went::Stopped(_) => Ok(()),
        Went::Ended(status) => Err(status.into_raw()),
    }
}

/// Whether the next instruction is `lock cmpxchg`.
#[cfg(target_arch = "x86_64")]
fn is_at_exchange(tracee: Tracee, _: libc::pid_t) -> bool {
    matches!(tracee.peek(tracee.instruction_pointer()), [0xf0, 0x40..=0x4f, 0x0f, 0xb1, ..] | [0xf0, 0x0f, 0xb1, ..])
}

/// Where instructions are not known, every one in a few hundred is as good as an exchange.
#[cfg(not(target_arch = "x86_64"))]
fn is_at_exchange(_: Tracee, pid: libc::pid_t) -> bool {
    crate::rng::mix(crate::log::boottime_ns() ^ pid as u64) % 300 == 0
}
