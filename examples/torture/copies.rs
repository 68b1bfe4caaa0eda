//! Children that are forked in the middle of a handler and return from it.
//!
//! Such a copy has copies of its parent's worker, reservation and claims, and must get nothing through them. It does
//! not report to the oracle: its exit status reports to the process that reaps it.

use std::time::Duration;

use seqcast::{Cause, Error, Scope, Topic};
use seqcast_testkit::process::exit;

use crate::child::{FAILED, Session};
use crate::participant::{AnyBell, Participant, Reads};
use crate::probe::Probe;
use crate::rng::Rng;

/// The kernel kills a copy that hangs after this many seconds, which its status shows.
const LONGEST_S: libc::c_uint = 15;

/// Forks. Returns in both processes; `None` if there was no process to be had.
pub fn fork() -> Option<libc::pid_t> {
    // SAFETY: this process has one thread, so the child finds no lock held that its own thread does not know.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: a system call without pointers.
        unsafe { libc::alarm(LONGEST_S) };
    }
    (pid >= 0).then_some(pid)
}

/// Reaps one copy of this process that has ended. Returns its wait status.
pub fn reap() -> Option<i32> {
    let mut status = 0;
    // SAFETY: the call fills `status`. Copies are the only children of a worker.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some(status)
}

/// Handles a copy that returned from a call of the library with `outcome`.
pub fn check_outcome(probe: &Probe, outcome: Option<&Error>) {
    if !matches!(outcome.as_ref().map(|error| error.cause()), Some(Cause::Forked)) {
        fail(probe, &format!("a child that returned from a handler got {outcome:?}"));
    }
}

/// Tries every call that its parent could make.
pub fn try_everything(probe: &Probe, session: &mut Session) {
    let check = |call: &str, outcome: Option<Error>| {
        if !matches!(outcome.as_ref().map(|error| error.cause()), Some(Cause::Forked)) {
            fail(probe, &format!("{call} in a child that returned from a handler: {outcome:?}"));
        }
    };
    let seat = &mut session.participant;
    let hour = Duration::from_secs(3600);
    check("post", seat.post("copy", b"").err());
    check("claim", seat.claim([0; 8], hour).err());
    check("wait", seat.wait(hour).err());
    check("reserve", seat.reserve().err());
    check("read", seat.read(probe, Reads::Waiting { most: 8 }).err());
    check("read now", seat.read(probe, Reads::Now { most: 8 }).err());
    if let Participant::Pushed(worker) = seat {
        check("publisher", worker.publisher().err());
        check("on", worker.on(Scope::All, |_: &seqcast::Event<'_>| {}).err());
        check("post_local", worker.post_local(("a", "b"), 1).err());
        check("reconfigure", worker.reconfigure(|options| options).err());
        check("leave", worker.clone().leave().err());
    }
    match (&session.bell, &seat) {
        (Some(AnyBell::Pushed(bell)), _) => check("bell", bell.poll().err()),
        (Some(AnyBell::Pulled(bell)), Participant::Pulled(subscriber)) => check("bell", bell.arm(subscriber).err()),
        _ => {}
    }
    if let Some((reservation, _)) = &mut session.reservation {
        check("commit", seat.commit(reservation, Topic::new("a", "b"), b"").err());
    }
    if let Some(publisher) = &mut session.poster {
        check("publisher's post", publisher.post(("a", "b"), b"").err());
        check("publisher's claim", publisher.claim([0; 8], hour).err());
    }
}

/// Ends a copy that has done no harm. It may outlive its parent, and the parent's successor in its seat.
pub fn end(mut rng: Rng) -> ! {
    match rng.below(16) {
        0 => std::thread::sleep(Duration::from_micros(rng.below(500_000))),
        1..4 => std::thread::sleep(Duration::from_micros(rng.below(10_000))),
        _ => {}
    }
    exit(0)
}

/// Ends a copy that got something that it should not get.
pub fn fail(probe: &Probe, what: &str) -> ! {
    probe.slot.say(what);
    exit(FAILED)
}
