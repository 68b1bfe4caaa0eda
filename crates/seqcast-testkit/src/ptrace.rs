//! Children that run step by step: by single instructions, from system call to system call, or from breakpoint to
//! breakpoint.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::process::{Child, stop_here, wait};

/// How far a traced process runs before it stops again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One instruction.
    Instruction,
    /// To the beginning or the end of its next system call.
    SystemCall,
    /// To a signal; a breakpoint is one.
    Signal,
}

/// Where a resumed process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// It has stopped with this signal.
    Stopped(libc::c_int),
    /// It has ended and was reaped.
    Ended(ExitStatus),
}

/// A child that this thread traces. Between any two calls it is stopped.
#[derive(Clone, Copy, Debug)]
pub struct Tracee(libc::pid_t);

impl Tracee {
    /// Traces and stops the child `pid` of this process, wherever it is. Returns `Err` if it has ended; then it was
    /// reaped.
    pub fn seize(pid: libc::pid_t) -> Result<Tracee, ExitStatus> {
        let tracee = Tracee(pid);
        // Both fail if it has just ended, which the wait then shows.
        tracee.request(libc::PTRACE_SEIZE, 0, 0);
        tracee.request(libc::PTRACE_INTERRUPT, 0, 0);
        match tracee.wait() {
            Went::Stopped(_) => Ok(tracee),
            Went::Ended(status) => Err(status),
        }
    }

    /// Resumes it, and waits until it has stopped again or ended.
    pub fn go_on(self, until: Until) -> Went {
        let request = match until {
            Until::Instruction => libc::PTRACE_SINGLESTEP,
            Until::SystemCall => libc::PTRACE_SYSCALL,
            Until::Signal => libc::PTRACE_CONT,
        };
        if self.request(request, 0, 0) != 0 {
            // If another process killed it, it has ended, which the wait then shows.
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "{error}");
        }
        self.wait()
    }

    /// Ends the tracing. The process continues, and first gets `signal` if that is not 0.
    pub fn detach(self, signal: libc::c_int) {
        if self.request(libc::PTRACE_DETACH, 0, signal.into()) != 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH), "{error}");
        }
    }

    fn wait(self) -> Went {
        let status = wait(self.0, 0);
        status.stopped_signal().map_or(Went::Ended(status), Went::Stopped)
    }

    fn request(self, request: libc::c_uint, at: u64, data: libc::c_long) -> libc::c_long {
        // SAFETY: the requests used here write only to the child's memory and registers.
        unsafe { libc::ptrace(request, self.0, at, data) }
    }
}

/// Reads and writes the state of a stopped process.
#[cfg(target_arch = "x86_64")]
impl Tracee {
    /// The index of the instruction pointer among the registers.
    const RIP: u64 = std::mem::offset_of!(libc::user_regs_struct, rip) as u64;

    /// Returns the address of the next instruction.
    pub fn instruction_pointer(self) -> u64 {
        self.request(libc::PTRACE_PEEKUSER, Self::RIP, 0) as u64
    }

    pub fn set_instruction_pointer(self, address: u64) {
        assert_eq!(self.request(libc::PTRACE_POKEUSER, Self::RIP, address as libc::c_long), 0);
    }

    /// Returns the eight bytes at `address`.
    pub fn peek(self, address: u64) -> [u8; 8] {
        self.request(libc::PTRACE_PEEKTEXT, address, 0).to_le_bytes()
    }

    pub fn poke(self, address: u64, bytes: [u8; 8]) {
        assert_eq!(self.request(libc::PTRACE_POKETEXT, address, libc::c_long::from_le_bytes(bytes)), 0);
    }
}

/// Places at which a traced process stops.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Default)]
pub struct Breakpoints {
    /// The addresses, and their original bytes.
    places: Vec<(u64, u8)>,
}

#[cfg(target_arch = "x86_64")]
impl Breakpoints {
    /// The instruction that stops a process. It is one byte long.
    const INT3: u8 = 0xcc;

    /// Creates breakpoints at these addresses of `tracee`, without [putting](Breakpoints::put) them yet.
    pub fn at(tracee: Tracee, addresses: &[u64]) -> Breakpoints {
        Breakpoints { places: addresses.iter().map(|&address| (address, tracee.peek(address)[0])).collect() }
    }

    pub fn put(&self, tracee: Tracee) {
        self.write(tracee, |_| Self::INT3);
    }

    pub fn take_away(&self, tracee: Tracee) {
        self.write(tracee, |byte| byte);
    }

    fn write(&self, tracee: Tracee, first: impl Fn(u8) -> u8) {
        // One after the other: they may lie within one word.
        for &(address, byte) in &self.places {
            let mut bytes = tracee.peek(address);
            bytes[0] = first(byte);
            tracee.poke(address, bytes);
        }
    }

    /// Continues after a breakpoint has stopped `tracee`: sets it back to the instruction that the breakpoint hides.
    pub fn step_back(tracee: Tracee) {
        tracee.set_instruction_pointer(tracee.instruction_pointer() - 1);
    }
}

/// Lets its parent trace the calling process, a forked child, and stops it. From here on the parent controls it, and
/// has to make a [`Traced`] of it.
pub fn trace_me() {
    // SAFETY: a system call about this process only.
    let asked = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    assert_eq!(asked, 0, "ptrace is not permitted here");
    stop_here();
}

/// A traced child. Dropping this kills it.
pub struct Traced(Child);

impl Traced {
    /// Forks a child that calls [`trace_me`]. Waits until it has done so.
    pub fn of(child: Child) -> Traced {
        child.await_stop();
        Traced(child)
    }

    /// Forks a child of a process with threads. The child runs `body` under control from its first instruction on.
    pub fn fork_amid_threads(body: impl FnOnce() -> bool) -> Traced {
        Traced::of(Child::fork_amid_threads(|| {
            trace_me();
            body()
        }))
    }

    pub fn tracee(&self) -> Tracee {
        Tracee(self.0.0)
    }

    /// Resumes the child until it has stopped again, and returns the signal. Returns `Err` if it has ended.
    pub fn go_on(self, until: Until) -> Result<(Traced, libc::c_int), ExitStatus> {
        match self.tracee().go_on(until) {
            Went::Stopped(signal) => Ok((self, signal)),
            Went::Ended(status) => {
                self.0.buried();
                Err(status)
            }
        }
    }

    /// Resumes the child to the beginning or end of a system call, the `stops`th from here. Returns `Err` if it ends
    /// before.
    pub fn system_calls(mut self, stops: usize) -> Result<Traced, ExitStatus> {
        for _ in 0..stops {
            (self, _) = self.go_on(Until::SystemCall)?;
        }
        Ok(self)
    }

    /// Lets the child run by itself, to its end. Returns `true` if it ended well.
    #[must_use]
    pub fn ended_well(self) -> bool {
        self.tracee().detach(0);
        self.0.ended_well()
    }

    /// Kills the child and waits until it is gone.
    pub fn kill(self) {
        self.0.kill();
    }
}

/// Calls `at_stop` with the child of `body` stopped before and after each of its system calls in turn, with a new child
/// for each stop. Returns the number of these stops.
///
/// # Panics
///
/// If the child does not end well without any interference.
pub fn at_every_system_call(
    body: impl Fn() -> bool,
    mut at_stop: impl FnMut(usize, Traced),
    before: impl Fn(),
) -> usize {
    for stops in 1.. {
        before();
        match Traced::fork_amid_threads(&body).system_calls(stops) {
            Ok(traced) => at_stop(stops, traced),
            Err(status) => {
                assert!(status.success(), "the child failed without interference: {status}");
                return stops - 1;
            }
        }
    }
    unreachable!()
}
