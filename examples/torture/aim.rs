//! Kills and stops at the critical places: next to an atomic instruction.
//!
//! A signal sent at a random time finds a process where it spends its time, and hardly ever between two stores of which
//! the second states that the first is done. So some of the signals are aimed: the process runs instruction by
//! instruction (ptrace) up to a compare-exchange and a few instructions beyond.

use std::process::ExitStatus;

use seqcast_testkit::process::Child;
use seqcast_testkit::ptrace::{Tracee, Until, Went};

use crate::rng::Rng;

/// The number of instructions after which the aim is given up, and the process left where it is.
const MOST_STEPS: u64 = 400;
/// The largest number of instructions after the compare-exchange.
const BEYOND: u64 = 8;

/// Holds `child` next to an atomic instruction, or at its current place if there is none near. Returns `Err` if it has
/// ended; then it was reaped.
pub fn hold(child: &Child, rng: &mut Rng) -> Result<Tracee, ExitStatus> {
    let tracee = Tracee::seize(child.pid().cast_signed())?;
    let mut skip = rng.below(3);
    for _ in 0..MOST_STEPS {
        let found = is_at_exchange(tracee, child);
        step(tracee)?;
        if found && skip == 0 {
            for _ in 0..rng.below(BEYOND) {
                step(tracee)?;
            }
            break;
        }
        skip -= u64::from(found);
    }
    Ok(tracee)
}

fn step(tracee: Tracee) -> Result<(), ExitStatus> {
    match tracee.go_on(Until::Instruction) {
        Went::Stopped(_) => Ok(()),
        Went::Ended(status) => Err(status),
    }
}

/// Returns `true` if the next instruction is `lock cmpxchg`.
#[cfg(target_arch = "x86_64")]
fn is_at_exchange(tracee: Tracee, _: &Child) -> bool {
    matches!(tracee.peek(tracee.instruction_pointer()), [0xf0, 0x40..=0x4f, 0x0f, 0xb1, ..] | [0xf0, 0x0f, 0xb1, ..])
}

/// On architectures without a decoder, one instruction in a few hundred counts as an exchange.
#[cfg(not(target_arch = "x86_64"))]
fn is_at_exchange(_: Tracee, child: &Child) -> bool {
    crate::rng::mix(crate::log::boottime_ns() ^ u64::from(child.pid())) % 300 == 0
}
