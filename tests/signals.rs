//! Signals: which threads take them, and how they end a wait.

use std::fs;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Cause, Waited, Waker};
use seqcast_testkit::{
    Child, HOUR, alone, assert_error, bus, eventually, in_child, listener, poll, quiet, small, threads,
};

/// The thread that took the last signal.
static TAKEN_BY: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_thread(_: libc::c_int) {
    // SAFETY: a system call without arguments.
    TAKEN_BY.store(unsafe { libc::gettid() }, Relaxed);
}

/// The child of [`fork_once`].
static FORKED: AtomicI32 = AtomicI32::new(0);

/// Forks the first time. In the parent it ends the wait; the child returns into it.
extern "C" fn fork_once(_: libc::c_int) {
    if FORKED.load(Relaxed) != 0 {
        return;
    }
    // SAFETY: the thread that this interrupts sleeps, and the child returns into the wait, which ends there.
    let pid = unsafe { libc::fork() };
    if pid > 0 {
        FORKED.store(pid, Relaxed);
        wake_waiter(0);
    } else {
        // SAFETY: the child ends with its parent, whatever happens to the test.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    }
}

/// Installs `handler` for `signal`, with `flags`.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: `sigaction` is plain numbers, for which zeros are values; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

/// Changes this thread's mask by `signal`. Returns the previous mask.
fn mask(how: libc::c_int, signal: libc::c_int) -> libc::sigset_t {
    let (mut set, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: `sigemptyset` and `pthread_sigmask` write a whole set each.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        assert_eq!(libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr()), 0);
        before.assume_init()
    }
}

/// Returns the signals that a thread blocks according to the system, a bit for each from signal 1 on.
fn blocked(thread: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// The poller's thread.
fn poller_task() -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().file_name().into_string().unwrap());
    let is_poller = |task: &String| {
        let name = fs::read_to_string(format!("/proc/self/task/{task}/comm"));
        name.is_ok_and(|name| name.trim() == "seqcast-poller")
    };
    let found: Vec<String> = tasks.filter(is_poller).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Makes the kernel refuse new threads and processes to the calling process. Returns `false` where there are no such
/// filters.
fn refuse_threads() -> bool {
    let load = libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 };
    let equals = |k, jt| libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt, jf: 0, k };
    let answer = |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
    let mut filter = [
        load,
        equals(libc::SYS_clone as u32, 2),
        equals(libc::SYS_clone3 as u32, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_ERRNO | libc::EAGAIN as u32),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: plain numbers, and a program that outlives the call; it changes only the results for this thread.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if !done {
        eprintln!("skipped: no system call filters here: {}", std::io::Error::last_os_error());
    }
    done
}

/// The worker that [`wake_waiter`] wakes.
static WAKER: OnceLock<Waker> = OnceLock::new();

extern "C" fn wake_waiter(_: libc::c_int) {
    if let Some(waker) = WAKER.get() {
        waker.wake();
    }
}

/// Repeatedly sends `signal` to the thread `tid` of this process, until `is_seen`.
fn signal_until(tid: libc::pid_t, signal: libc::c_int, is_seen: impl Fn() -> bool) {
    eventually("the signal is seen", || {
        // SAFETY: a system call; the thread is one of this process.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
        is_seen()
    });
}

/// Waits until `thread` of this process sleeps in the kernel.
fn until_asleep(tid: libc::pid_t) {
    eventually("it sleeps", || {
        let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.starts_with(" S")
    });
}

fn this_thread() -> libc::pid_t {
    // SAFETY: a system call without arguments.
    unsafe { libc::gettid() }
}

alone! {
    fn g6_a_waker_ends_a_wait_from_another_thread_and_what_was_stored_before_is_seen() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let waker = worker.waker();
        let flag = AtomicI32::new(0);
        std::thread::scope(|scope| {
            for round in 1..=200 {
                let wakes = scope.spawn({
                    let (waker, flag) = (waker.clone(), &flag);
                    move || {
                        flag.store(round, Relaxed);
                        waker.wake();
                    }
                });
                if round % 2 == 0 {
                    assert!(!worker.wait(HOUR).unwrap(), "there is nothing to poll");
                } else {
                    assert_eq!(worker.wait_interruptible(HOUR).unwrap(), Waited::Woken);
                }
                assert_eq!(flag.load(Relaxed), round);
                wakes.join().unwrap();
            }
        });
        // If there is something to poll, the wake is reported first, and then the events.
        worker.post(("s", "e"), b"").unwrap();
        waker.wake();
        assert_eq!(worker.wait_interruptible(HOUR).unwrap(), Waited::Woken);
        assert_eq!(worker.wait_interruptible(HOUR).unwrap(), Waited::News);
        poll(&worker);
        assert_eq!(worker.wait_interruptible(Duration::from_millis(1)).unwrap(), Waited::TimedOut);
    }

    fn g6_wakes_before_a_wait_end_it_at_once_and_no_other() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let waker = worker.waker();
        for _ in 0..3 {
            waker.wake();
        }
        assert_eq!(worker.wait_interruptible(HOUR).unwrap(), Waited::Woken);
        assert_eq!(worker.wait_interruptible(Duration::ZERO).unwrap(), Waited::TimedOut);
        waker.wake();
        assert!(!worker.wait(HOUR).unwrap());
        assert!(!worker.wait(Duration::ZERO).unwrap());
        assert_eq!(worker.wait_interruptible(Duration::ZERO).unwrap(), Waited::TimedOut);
    }

    fn g6_a_waker_ends_the_waits_of_all_threads() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let waker = worker.waker();
        let tids = [const { AtomicI32::new(0) }; 3];
        std::thread::scope(|scope| {
            let waits: Vec<_> = tids.iter().map(|tid| {
                let worker = &worker;
                scope.spawn(move || {
                    tid.store(this_thread(), Relaxed);
                    worker.wait_interruptible(HOUR).unwrap()
                })
            }).collect();
            for tid in &tids {
                eventually("it has begun", || tid.load(Relaxed) != 0);
                until_asleep(tid.load(Relaxed));
            }
            // A thread may sleep elsewhere on its way into the wait; a superfluous wake does no harm.
            eventually("all are woken", || {
                waker.wake();
                waits.iter().all(std::thread::ScopedJoinHandle::is_finished)
            });
            for wait in waits {
                assert_eq!(wait.join().unwrap(), Waited::Woken);
            }
        });
    }

    fn g6_a_signal_handler_ends_a_wait_by_a_waker() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        assert!(WAKER.set(worker.waker()).is_ok());
        handle(libc::SIGUSR1, wake_waiter, libc::SA_RESTART);
        let (rounds, tid) = (AtomicI32::new(0), AtomicI32::new(0));
        std::thread::scope(|scope| {
            let (worker, rounds, tid) = (&worker, &rounds, &tid);
            let waits = scope.spawn(move || {
                tid.store(this_thread(), Relaxed);
                for round in 1..=200 {
                    assert!(!worker.wait(HOUR).unwrap(), "there is nothing to poll");
                    rounds.store(round, Relaxed);
                }
            });
            eventually("it has begun", || tid.load(Relaxed) != 0);
            for round in 1..=200 {
                // One signal is enough, at whatever point of the wait it comes.
                // SAFETY: a system call; the thread waits for this one.
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid.load(Relaxed), libc::SIGUSR1) };
                eventually("the wait ends", || rounds.load(Relaxed) == round);
            }
            waits.join().unwrap();
        });
    }

    fn g6_a_signal_ends_an_interruptible_wait_and_no_other() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let waker = worker.waker();
        for flags in [0, libc::SA_RESTART] {
            handle(libc::SIGUSR1, note_thread, flags);
            let tid = &AtomicI32::new(0);
            std::thread::scope(|scope| {
                let worker = &worker;
                let waits = scope.spawn(move || {
                    tid.store(this_thread(), Relaxed);
                    worker.wait_interruptible(HOUR).unwrap()
                });
                eventually("it has begun", || tid.load(Relaxed) != 0);
                signal_until(tid.load(Relaxed), libc::SIGUSR1, || waits.is_finished());
                assert_eq!(waits.join().unwrap(), Waited::Interrupted, "flags {flags}");
            });
            let tid = &AtomicI32::new(0);
            std::thread::scope(|scope| {
                let worker = &worker;
                let waits = scope.spawn(move || {
                    tid.store(this_thread(), Relaxed);
                    worker.wait(HOUR).unwrap()
                });
                eventually("it has begun", || tid.load(Relaxed) != 0);
                until_asleep(tid.load(Relaxed));
                TAKEN_BY.store(0, Relaxed);
                signal_until(tid.load(Relaxed), libc::SIGUSR1, || TAKEN_BY.load(Relaxed) != 0);
                until_asleep(tid.load(Relaxed));
                assert!(!waits.is_finished(), "a signal ended it");
                waker.wake();
                assert!(!waits.join().unwrap());
            });
        }
    }

    fn g6_a_stop_and_going_on_are_no_signal_that_a_wait_ends_by() {
        let (_name, bus) = bus(&small());
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            assert_eq!(worker.wait_interruptible(HOUR).unwrap(), Waited::News);
        });
        let worker = bus.join_with(&quiet()).unwrap();
        eventually("it has joined", || bus.stats().unwrap().workers.len() == 2);
        for _ in 0..20 {
            eventually("it sleeps", || child.sleeps());
            child.stop();
            child.go_on();
        }
        worker.post(("s", "e"), b"").unwrap();
        assert!(child.ended_well());
    }

    fn g12_a_waker_does_no_harm_after_leaving_and_in_a_forked_child() {
        let (name, bus) = bus(&small().unlink_on_drop(true));
        let worker = bus.join_with(&quiet()).unwrap();
        let waker = worker.waker();
        in_child(|| {
            waker.wake();
            drop(waker.clone());
            let own = bus.join_with(&quiet()).unwrap();
            assert_eq!(own.wait_interruptible(Duration::ZERO).unwrap(), Waited::TimedOut);
            own.waker().wake();
            assert_eq!(own.wait_interruptible(HOUR).unwrap(), Waited::Woken);
        });
        assert_eq!(worker.wait_interruptible(Duration::ZERO).unwrap(), Waited::TimedOut, "a child woke its parent");
        worker.clone().leave().unwrap();
        waker.wake();
        assert_error!(worker.wait_interruptible(HOUR), Cause::Left);
        drop((worker, bus));
        assert!(!name.path().exists(), "a waker kept the name");
        waker.wake();
        assert!(format!("{waker:?}").starts_with("Waker"));
    }

    fn g12_a_child_that_returns_from_a_signal_handler_into_a_poll_that_waits_ends_it() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let (worker, log) = listener(&bus, &quiet().wait_max(HOUR).wait_interval(HOUR));
        let mut reservation = reserver.reserve().unwrap();
        handle(libc::SIGUSR1, fork_once, 0);
        let tid = this_thread();
        let parent = std::process::id();
        let polled = std::thread::scope(|scope| {
            scope.spawn(|| {
                until_asleep(tid);
                signal_until(tid, libc::SIGUSR1, || FORKED.load(Relaxed) != 0);
                let mut status = 0;
                // SAFETY: `status` is writable for the call.
                assert_eq!(unsafe { libc::waitpid(FORKED.load(Relaxed), &raw mut status, 0) }, FORKED.load(Relaxed));
                assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
                reservation.commit(("s", "e"), b"").unwrap();
            });
            let polled = worker.poll();
            if std::process::id() != parent {
                // The thread is the parent's, and so is its result.
                let well = matches!(polled.as_ref().map_err(|error| error.cause()), Err(Cause::Forked));
                // SAFETY: ends the child, which must not return to the harness.
                unsafe { libc::_exit(if well { 0 } else { 101 }) }
            }
            polled
        });
        assert_eq!(polled.unwrap().delivered(), 1);
        assert_eq!(log.len(), 1);
    }

    fn g12_a_child_that_returns_from_a_signal_handler_into_a_wait_ends_it() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        assert!(WAKER.set(worker.waker()).is_ok());
        handle(libc::SIGUSR1, fork_once, 0);
        let tid = this_thread();
        let parent = std::process::id();
        let sender = std::thread::spawn(move || {
            until_asleep(tid);
            signal_until(tid, libc::SIGUSR1, || FORKED.load(Relaxed) != 0);
        });
        let waited = worker.wait(HOUR);
        if std::process::id() != parent {
            let well = matches!(waited.as_ref().map_err(|error| error.cause()), Err(Cause::Forked));
            // SAFETY: ends the child, which must not return to the harness.
            unsafe { libc::_exit(if well { 0 } else { 101 }) }
        }
        assert!(!waited.unwrap(), "there is nothing to poll");
        sender.join().unwrap();
        let mut status = 0;
        // SAFETY: `status` is writable for the call.
        assert_eq!(unsafe { libc::waitpid(FORKED.load(Relaxed), &raw mut status, 0) }, FORKED.load(Relaxed));
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    }

    fn g6_a_signal_is_taken_by_a_thread_of_the_host_and_not_by_the_poller() {
        let (_name, bus) = bus(&small());
        // In a child, which has no other threads.
        in_child(|| {
            handle(libc::SIGUSR1, note_thread, 0);
            let (worker, log) = listener(&bus, &quiet().interval(HOUR));
            let poller = worker.start_poller().unwrap();
            assert_eq!(threads(), 2);
            // As in a master that takes its signals only in `ppoll`.
            let in_ppoll = mask(libc::SIG_BLOCK, libc::SIGUSR1);
            // SAFETY: a signal to this process.
            assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
            // A thread that takes it does so before it continues.
            worker.post(("s", "e"), b"").unwrap();
            eventually("the poller polls", || log.len() == 1);
            assert_eq!(TAKEN_BY.load(Relaxed), 0, "the poller took it");
            // SAFETY: a wait without descriptors, which only a signal ends.
            assert_eq!(unsafe { libc::ppoll(null_mut(), 0, null(), &raw const in_ppoll) }, -1);
            assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
            // SAFETY: a system call without arguments.
            assert_eq!(TAKEN_BY.load(Relaxed), unsafe { libc::gettid() });
            poller.stop().unwrap();
        });
    }

    fn g6_a_pollers_thread_blocks_every_signal_but_its_own_faults() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet().interval(HOUR));
        mask(libc::SIG_BLOCK, libc::SIGUSR2);
        let before = blocked("thread-self");
        let poller = worker.start_poller().unwrap();
        assert_eq!(blocked("thread-self"), before, "the caller's mask was not restored");
        // It sets its own name, and polls later.
        worker.post(("s", "e"), b"").unwrap();
        eventually("the poller polls", || log.len() == 1);
        let of_the_poller = blocked(&format!("self/task/{}", poller_task()));
        let own = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
        // The first two cannot be blocked, and the next two belong to the C library.
        let never = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
        for signal in (1..=64).filter(|signal| !never.contains(signal)) {
            let expected = !own.contains(&signal);
            assert_eq!(of_the_poller & bit(signal) != 0, expected, "signal {signal} in {of_the_poller:#018x}");
        }
        poller.stop().unwrap();
    }

    fn g6_the_mask_is_restored_when_no_thread_can_be_had() {
        let (_name, bus) = bus(&small());
        in_child(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            let before = mask(libc::SIG_BLOCK, libc::SIGUSR2);
            if !refuse_threads() {
                return;
            }
            assert_error!(worker.start_poller(), Cause::System { .. });
            let after = mask(libc::SIG_UNBLOCK, libc::SIGUSR2);
            for signal in 1..=64 {
                // SAFETY: both are sets that `pthread_sigmask` wrote.
                let is_in = |set: &libc::sigset_t| unsafe { libc::sigismember(set, signal) } == 1;
                assert_eq!(is_in(&after), is_in(&before) || signal == libc::SIGUSR2, "signal {signal}");
            }
            worker.post(("s", "e"), b"").unwrap();
            assert_eq!(poll(&worker), (0, 0));
        });
    }
}
