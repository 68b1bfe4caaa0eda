//! The processes of a batch.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};

use seqcast_testkit::process::{Child, first_to_end};

use super::board::Board;
use super::cpu;

/// The time in seconds after which a process of a batch is killed, because it waits for something that did not come.
const LIMIT_S: u32 = 40;

/// `true` if the processes of batches run before all others.
pub static REALTIME: AtomicBool = AtomicBool::new(false);

/// One process: its core, and its work.
pub struct Role<'a> {
    pub core: usize,
    pub run: Box<dyn Fn() + 'a>,
}

impl<'a> Role<'a> {
    pub fn new(core: usize, run: impl Fn() + 'a) -> Role<'a> {
        Role { core, run: Box::new(run) }
    }
}

/// Forks a process for each role and waits for all. An error names the one that failed; the others are then killed.
pub fn run(board: &Board, roles: &[Role<'_>]) -> Result<(), String> {
    board.reset();
    let mut children: Vec<Child> = roles.iter().map(|role| Child::fork(|| perform(role))).collect();
    while !children.is_empty() {
        let status = first_to_end(&mut children);
        if !status.success() {
            return Err(describe(status));
        }
    }
    Ok(())
}

fn perform(role: &Role<'_>) {
    // SAFETY: a system call without pointers.
    unsafe { libc::alarm(LIMIT_S) };
    cpu::pin(role.core).expect("pinned to a core that this process may use");
    if REALTIME.load(Ordering::Relaxed) {
        cpu::realtime();
    }
    (role.run)();
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        None => format!("a process of the batch panicked ({status})"),
        Some(libc::SIGALRM) => format!("a process of the batch was not done after {LIMIT_S} s"),
        Some(signal) => format!("a process of the batch was ended by signal {signal}"),
    }
}
