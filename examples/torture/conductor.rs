//! Starts the children of a round, kills, stops and replaces them, and passes their reports to the oracle.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seqcast::{Bus, Cause, Error};
use seqcast_testkit::process::{Child, exit};

use crate::aim;
use crate::child;
use crate::log::{Op, Phase, Shared, boottime_ns};
use crate::oracle::{Archive, Oracle, Seen, Violations};
use crate::rng::Rng;
use crate::round::Round;

/// The number of entries read from one child before the next one's turn.
const BATCH: usize = 4096;
/// Mean time between two kills, and between two stops.
const KILL_EVERY: Duration = Duration::from_millis(12);
const STOP_EVERY: Duration = Duration::from_millis(3);
/// The last part of a round is calm, to test effects that need calm.
const CALM: u32 = 10;
/// One in this many kills, and stops, is aimed; single-stepping is slow.
const AIMED_KILLS: u64 = 6;
const AIMED_STOPS: u64 = 32;
/// A turn of the conductor that takes this long was delayed by the host.
const STALL: Duration = Duration::from_millis(30);
/// A child that is in one step for this long hangs.
const HUNG: Duration = Duration::from_secs(120);

/// A dead worker's name may stay at its seat for this long although the seat is taken, by a process that is stopped
/// while it joins.
const STALE: Duration = Duration::from_millis(2500);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT and SIGTERM end the round in order, so that no segment is left behind.
pub fn take_interrupts() {
    let handler = interrupt as extern "C" fn(libc::c_int);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler stores to an atomic and does nothing else.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// From now on this process adopts children whose parents have ended.
pub fn take_orphans() {
    // SAFETY: a system call without pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert_eq!(result, 0, "prctl(PR_SET_CHILD_SUBREAPER)");
}

pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sums over all rounds.
#[derive(Debug, Default)]
pub struct Tally {
    pub events: u64,
    pub kills: u64,
    pub stops: u64,
    pub violations: Violations,
    pub seen: Seen,
}

/// The process of a slot.
struct Process {
    child: Child,
    /// The time since which it is stopped, and the time until which it stays stopped.
    stopped: Option<(u64, Instant)>,
}

/// A process that has ended.
struct Dead {
    slot: usize,
    pid: u32,
    since: Instant,
}

struct Conductor<'a> {
    round: &'a Round,
    bus: &'a Bus,
    shared: &'static Shared,
    oracle: Oracle<'a>,
    processes: Vec<Option<Process>>,
    /// The time at which to replace a dead one.
    respawn_at: Vec<Instant>,
    /// Processes that were not seen dead yet.
    dead: Vec<Dead>,
    lives: u64,
    kills: u64,
    stops: u64,
    rng: Rng,
    begin: Instant,
    /// The beginning of its last turn.
    turned: u64,
}

/// One tortured segment.
pub fn run(mut round: Round, length: Duration, archive: &mut Archive, tally: &mut Tally) {
    let bus = match round.options().create(&round.name) {
        Ok(bus) => bus,
        Err(error) => {
            eprintln!("torture: {error}");
            tally.violations.faults += 1;
            return;
        }
    };
    round.largest = bus.largest_event();
    round.block = bus.stats().map_or(0, |stats| stats.sizes.block_size as usize);
    let shared: &'static Shared = Box::leak(Box::new(Shared::new(round.workers)));
    let mut conductor = Conductor {
        round: &round,
        bus: &bus,
        shared,
        oracle: Oracle::new(&round, &bus, archive),
        processes: (0..round.workers).map(|_| None).collect(),
        respawn_at: vec![Instant::now(); round.workers],
        dead: Vec::new(),
        lives: 0,
        kills: 0,
        stops: 0,
        rng: Rng::of(&[round.seed, 0xc0]),
        begin: Instant::now(),
        turned: boottime_ns(),
    };
    conductor.torture(length);
    conductor.end();
    let Conductor { oracle, kills, stops, .. } = conductor;
    let (violations, seen) = (oracle.violations, oracle.seen);
    let events = bus.next_id();
    eprintln!(
        "torture: round {}: {} cells, {events} events, {kills} kills, {stops} stops, {} delivered, {} violations",
        round.number,
        round.capacity,
        seen.delivered,
        violations.total()
    );
    for number in 0..2 {
        let _ = seqcast::unlink(&round.other_name(number));
    }
    shared.unmap();
    tally.events += events;
    tally.kills += kills;
    tally.stops += stops;
    tally.violations.add(&violations);
    tally.seen.add(&seen);
}

impl Conductor<'_> {
    fn torture(&mut self, length: Duration) {
        let end = self.begin + length;
        let calm = end - length / CALM;
        let mut next_kill = self.begin + Duration::from_millis(50);
        let mut next_stop = self.begin + Duration::from_millis(20);
        let mut next_watch = self.begin;
        loop {
            let now = Instant::now();
            self.turn();
            if now >= end || self.oracle.violations.total() > 0 || is_interrupted() {
                return;
            }
            let heard = self.hear();
            self.reap();
            self.reap_copies();
            for slot in 0..self.processes.len() {
                if self.processes[slot].is_none() && now >= self.respawn_at[slot] {
                    self.spawn(slot);
                }
            }
            self.resume(|until| now >= until);
            if now < calm && now >= next_kill {
                next_kill = now + self.about(KILL_EVERY);
                self.kill();
            }
            if now < calm && now >= next_stop {
                next_stop = now + self.about(STOP_EVERY);
                self.stop();
            }
            if now >= next_watch {
                next_watch = now + Duration::from_millis(200);
                self.watch();
            }
            if heard == 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// Begins a turn.
    fn turn(&mut self) {
        let before = std::mem::replace(&mut self.turned, boottime_ns());
        if self.turned - before > STALL.as_nanos() as u64 {
            self.oracle.stalled(before, self.turned);
        }
        self.oracle.judge_slow();
    }

    /// Returns a random time with this mean.
    fn about(&mut self, mean: Duration) -> Duration {
        mean * self.rng.below(200) as u32 / 100
    }

    fn hear(&mut self) -> usize {
        (0..self.processes.len()).map(|slot| self.hear_slot(slot, BATCH)).sum()
    }

    fn hear_slot(&mut self, slot: usize, most: usize) -> usize {
        let log = self.shared.slot(slot);
        for heard in 0..most {
            let Some(entry) = log.pop() else { return heard };
            let faults = self.oracle.violations.faults;
            self.oracle.hear(slot, entry);
            if self.oracle.violations.faults > faults {
                eprintln!("torture: slot {slot}: {}", log.text());
            }
        }
        most
    }

    fn spawn(&mut self, slot: usize) {
        self.lives += 1;
        self.shared.slot(slot).set_quiet(false);
        self.shared.slot(slot).begin(Op::Idle, boottime_ns());
        self.shared.slot(slot).set_seat(None);
        let (round, bus, shared, life) = (self.round, self.bus, self.shared, self.lives);
        // This process has one thread, so the child finds no lock held and may do anything.
        let child = Child::fork(|| {
            // SAFETY: plain system calls. A terminal interrupts them all; the parent ends the children in order.
            unsafe {
                libc::signal(libc::SIGINT, libc::SIG_IGN);
                libc::signal(libc::SIGTERM, libc::SIG_DFL);
            }
            exit(child::run(round, bus, shared, slot, life));
        });
        self.processes[slot] = Some(Process { child, stopped: None });
    }

    /// Kills a random process, whatever it does.
    fn kill(&mut self) {
        let slot = self.rng.below(self.processes.len() as u64) as usize;
        let Some(Process { child, stopped }) = self.processes[slot].take() else { return };
        let pid = child.pid();
        let aimed = stopped.is_none() && self.rng.one_in(AIMED_KILLS);
        self.note(slot, pid, if aimed { "SIGKILL, aimed," } else { "SIGKILL" });
        let status = match aimed.then(|| aim::hold(&child, &mut self.rng)) {
            Some(Err(status)) => {
                child.buried();
                status
            }
            Some(Ok(_)) | None => child.kill(),
        };
        self.kills += 1;
        if status.signal().is_none() {
            self.check_exit(slot, status);
        }
        self.bury(slot, pid);
    }

    fn stop(&mut self) {
        let slot = self.rng.below(self.processes.len() as u64) as usize;
        let length = match self.rng.below(40) {
            0 => Duration::from_millis(1000),
            1..6 => Duration::from_micros(self.rng.below(150_000)),
            _ => Duration::from_micros(self.rng.below(8_000)),
        };
        let running = self.processes[slot].take_if(|process| process.stopped.is_none());
        let Some(Process { child, .. }) = running else { return };
        let pid = child.pid();
        let since = boottime_ns();
        let aimed = self.rng.one_in(AIMED_STOPS);
        self.stops += 1;
        self.note(slot, pid, if aimed { "SIGSTOP, aimed," } else { "SIGSTOP" });
        if aimed {
            match aim::hold(&child, &mut self.rng) {
                // It stops at once when it is released.
                Ok(held) => held.detach(libc::SIGSTOP),
                Err(status) => {
                    child.buried();
                    self.check_exit(slot, status);
                    return self.bury(slot, pid);
                }
            }
        } else {
            child.signal(libc::SIGSTOP);
        }
        self.processes[slot] = Some(Process { child, stopped: Some((since, Instant::now() + length)) });
    }

    /// Continues the processes for which `is_over`.
    fn resume(&mut self, is_over: impl Fn(Instant) -> bool) {
        for slot in 0..self.processes.len() {
            let Some(process) = &mut self.processes[slot] else { continue };
            let Some((since, until)) = process.stopped else { continue };
            if is_over(until) {
                process.stopped = None;
                let pid = process.child.pid();
                // Before the signal: the child's report about this time must find it.
                self.oracle.stopped(slot, since, boottime_ns() + 1_000_000);
                process.child.go_on();
                self.note(slot, pid, "SIGCONT");
            }
        }
    }

    /// Records children that have ended by themselves.
    fn reap(&mut self) {
        for slot in 0..self.processes.len() {
            let Some(Process { child, stopped }) = self.processes[slot].take() else { continue };
            let pid = child.pid();
            match child.try_end() {
                Ok(status) => {
                    self.check_exit(slot, status);
                    self.bury(slot, pid);
                }
                Err(child) => self.processes[slot] = Some(Process { child, stopped }),
            }
        }
    }

    /// Records children that handlers forked and that have outlived their parents. Returns `true` if there are more.
    fn reap_copies(&mut self) -> bool {
        loop {
            // SAFETY: zeros are a `siginfo_t`.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            // SAFETY: the call fills `info`.
            let found =
                unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) };
            // SAFETY: the call has filled it, with zeros if no child has ended yet.
            let pid = unsafe { info.si_pid() };
            if found != 0 || pid == 0 {
                return found == 0;
            }
            if self.processes.iter().flatten().any(|process| process.child.pid() == pid.cast_unsigned()) {
                // A child of our own, for `reap`.
                return true;
            }
            let status = bury_orphan(pid);
            self.oracle.copy_ended(usize::MAX, status);
            if status != 0 {
                for slot in 0..self.processes.len() {
                    eprintln!("torture: slot {slot} said: {}", self.shared.slot(slot).text());
                }
            }
        }
    }

    fn check_exit(&mut self, slot: usize, status: ExitStatus) {
        if status.code() != Some(child::DONE) {
            let said = self.shared.slot(slot).text();
            let what = format!("its process ended ({status}) and said: {said}");
            self.oracle.accuse(slot, |v| &mut v.faults, what);
        }
    }

    /// Handles the end of the process of `slot`; its log remains.
    fn bury(&mut self, slot: usize, pid: u32) {
        self.dead.push(Dead { slot, pid, since: Instant::now() });
        while self.hear_slot(slot, BATCH) > 0 {}
        self.oracle.died(slot);
        self.respawn_at[slot] = Instant::now() + Duration::from_micros(self.rng.below(2000));
    }

    /// Checks that other processes see correctly which workers live, whatever was done to descriptors.
    fn check_seats(&mut self) {
        let seats = |conductor: &Self| -> Vec<_> {
            (0..conductor.processes.len()).map(|slot| conductor.shared.slot(slot).seat()).collect()
        };
        let before = seats(self);
        let stats = match self.bus.stats() {
            Ok(stats) => stats,
            Err(error) => return self.oracle.accuse(usize::MAX, |v| &mut v.faults, format!("stats: {error}")),
        };
        let after = seats(self);
        for slot in 0..self.processes.len() {
            let Some(pid) = self.processes[slot].as_ref().map(|process| process.child.pid()) else { continue };
            let Some((_, seat)) = before[slot].filter(|_| before[slot] == after[slot]) else { continue };
            let seen = stats.workers.iter().find(|worker| worker.seat == seat);
            if !seen.is_some_and(|seen| seen.alive && !seen.unlocked && seen.pid == pid) {
                let what = format!("process {pid} has seat {seat} and lives, but others see {seen:?}");
                self.oracle.accuse(slot, |v| &mut v.leaked, what);
            }
        }
        for Dead { slot, pid, since } in std::mem::take(&mut self.dead) {
            let Some(seen) = stats.workers.iter().find(|seen| seen.alive && seen.pid == pid) else {
                continue;
            };
            if since.elapsed() < STALE {
                self.dead.push(Dead { slot, pid, since });
            } else {
                self.oracle.accuse(slot, |v| &mut v.leaked, format!("process {pid} is dead, but others see {seen:?}"));
            }
        }
    }

    /// Looks for children that do not finish a step.
    fn watch(&mut self) {
        self.check_seats();
        let now = boottime_ns();
        for slot in 0..self.processes.len() {
            let Some(Process { child, stopped: None }) = &self.processes[slot] else { continue };
            let pid = child.pid();
            let (op, since) = self.shared.slot(slot).current_op();
            let stopped = self.oracle.stopped_since(slot, since);
            if now.saturating_sub(since).saturating_sub(stopped) > HUNG.as_nanos() as u64 {
                let what = format!("process {pid} hangs in {op:?}, {}", state_of(pid));
                self.oracle.accuse(slot, |v| &mut v.delayed, what);
            }
        }
    }

    /// The orderly end: all are continued, read the remaining events, and leave; then every block and seat must be
    /// free.
    fn end(&mut self) {
        self.resume(|_| true);
        self.shared.set_phase(Phase::Still);
        let all_quiet = |conductor: &Self| {
            let quiet = |slot: usize| conductor.processes[slot].is_none() || conductor.shared.slot(slot).is_quiet();
            (0..conductor.processes.len()).all(quiet)
        };
        self.wait_until(all_quiet, "to be quiet");
        // No process posts any more. A child is not quiet before it has read that in an entry.
        self.hear_all();
        self.shared.set_phase(Phase::Drain);
        let all_gone = |conductor: &Self| conductor.processes.iter().all(Option::is_none);
        self.wait_until(all_gone, "to leave");
        self.hear_all();
        for slot in 0..self.processes.len() {
            if let Some(process) = self.processes[slot].take() {
                process.child.kill();
            }
        }
        self.wait_for_copies();
        self.turn();
        self.oracle.close_all();
        self.audit("after the last worker left");
        self.take_every_seat();
        self.audit("after every seat was taken once more");
    }

    /// Every child that a handler forked ends by itself. The kernel kills those that hang.
    fn wait_for_copies(&mut self) {
        let deadline = Instant::now() + HUNG;
        while self.reap_copies() {
            if Instant::now() > deadline {
                let what = "a child that returned from a handler does not end".to_owned();
                return self.oracle.accuse(usize::MAX, |v| &mut v.delayed, what);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn hear_all(&mut self) {
        while self.hear() > 0 {}
    }

    fn wait_until(&mut self, done: impl Fn(&Self) -> bool, what: &str) {
        let deadline = Instant::now() + HUNG;
        while !done(self) {
            self.turn();
            if self.hear() == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            self.reap();
            if Instant::now() > deadline {
                for slot in 0..self.processes.len() {
                    let op = self.shared.slot(slot).current_op().0;
                    if let Some(pid) = self.processes[slot].as_ref().map(|process| process.child.pid()) {
                        let what = format!("in {op:?}, it does not come {what}; {}", state_of(pid));
                        self.oracle.accuse(slot, |v| &mut v.delayed, what);
                    }
                }
                return;
            }
        }
    }

    fn audit(&mut self, when: &str) {
        match self.bus.audit() {
            Ok(audit) if audit.is_clean() && audit.held_seats == 0 => {}
            Ok(audit) => self.oracle.accuse(usize::MAX, |v| &mut v.leaked, format!("{when}: {audit:?}")),
            Err(error) => self.oracle.accuse(usize::MAX, |v| &mut v.leaked, format!("{when}: {error}")),
        }
    }

    /// Checks that as many workers as there are seats can join at once, and not one more.
    fn take_every_seat(&mut self) {
        let bus = self.bus;
        let child = Child::fork(|| {
            let seats: Result<Vec<_>, Error> = (0..self.round.seats).map(|_| bus.publisher()).collect();
            let good = seats.is_ok()
                && matches!(bus.publisher().as_ref().map_err(|error| error.cause()), Err(Cause::NoSeat { .. }));
            // The seats are not released: their holder ends.
            exit(i32::from(!good));
        });
        if !child.ended_well() {
            self.oracle.accuse(usize::MAX, |v| &mut v.leaked, "not every seat can be taken".to_owned());
        }
    }

    fn note(&mut self, slot: usize, pid: u32, what: &str) {
        self.oracle.note_signal(format!("{} {what} to slot {slot}, process {pid}", boottime_ns()));
    }
}

/// Describes whether a process runs, sleeps or is stopped, and in which system call.
fn state_of(pid: u32) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find(|line| line.starts_with("State")).unwrap_or("gone");
    format!("{state}, system call {}", read("syscall").trim_end())
}

/// Waits for a child that this process has inherited. Returns its wait status.
fn bury_orphan(pid: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the call fills `status`.
    let found = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if found == pid { status } else { -1 }
}
