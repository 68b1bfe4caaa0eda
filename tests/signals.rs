//! Signals: whose threads take them, and how a wait is ended by one.

#[macro_use]
mod common;

use std::fs;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use common::{HOUR, Log, bus, error, eventually, in_child, poll, quiet, small, threads};
use seqcast::{Error, Scope};

/// The thread that the last signal was taken by.
static TAKEN_BY: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_thread(_: libc::c_int) {
    // SAFETY: a system call without arguments.
    TAKEN_BY.store(unsafe { libc::gettid() }, Relaxed);
}

/// Has `signal` handled by `handler`, with `flags`.
fn handle(signal: libc::c_int, handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: `sigaction` is plain numbers, for which zeros are values; the handler is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

/// Changes this thread's mask by `signal`. Returns the mask of before.
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

/// The signals that a thread blocks, a bit for each from signal 1 on, as the system says them.
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

/// Has the kernel refuse new threads and processes to the calling process. `false` where there are no such filters.
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
    // SAFETY: plain numbers, and a program that outlives the call; it changes what this thread is told.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if !done {
        eprintln!("skipped: no system call filters here: {}", std::io::Error::last_os_error());
    }
    done
}

alone! {
    fn g6_a_signal_is_taken_by_a_thread_of_the_host_and_not_by_the_poller() {
        let (_name, bus) = bus(&small());
        // In a child, which has no other threads.
        in_child(|| {
            handle(libc::SIGUSR1, note_thread, 0);
            let worker = bus.join_with(quiet().interval(HOUR)).unwrap();
            let log = Log::of(&worker, Scope::All);
            let poller = worker.start_poller().unwrap();
            assert_eq!(threads(), 2);
            // As a master does that wants its signals in `ppoll` only.
            let in_ppoll = mask(libc::SIG_BLOCK, libc::SIGUSR1);
            // SAFETY: a signal to this process.
            assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
            // A thread that takes it does so before it runs on.
            worker.post(("s", "e"), b"").unwrap();
            eventually("the poller polls", || log.len() == 1);
            assert_eq!(TAKEN_BY.load(Relaxed), 0, "the poller took it");
            // SAFETY: a wait without descriptors and without an end but by a signal.
            assert_eq!(unsafe { libc::ppoll(null_mut(), 0, null(), &raw const in_ppoll) }, -1);
            assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
            // SAFETY: a system call without arguments.
            assert_eq!(TAKEN_BY.load(Relaxed), unsafe { libc::gettid() });
            poller.stop().unwrap();
        });
    }

    fn g6_a_pollers_thread_blocks_every_signal_but_its_own_faults() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(quiet().interval(HOUR)).unwrap();
        let log = Log::of(&worker, Scope::All);
        mask(libc::SIG_BLOCK, libc::SIGUSR2);
        let before = blocked("thread-self");
        let poller = worker.start_poller().unwrap();
        assert_eq!(blocked("thread-self"), before, "the caller's mask was not restored");
        // It gives itself its name, and later it polls.
        worker.post("s", "e", b"").unwrap();
        eventually("the poller polls", || log.len() == 1);
        let of_the_poller = blocked(&format!("self/task/{}", poller_task()));
        let own = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
        // Nobody can block the first two, and the next two are the C library's.
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
            let worker = bus.join_with(quiet()).unwrap();
            let before = mask(libc::SIG_BLOCK, libc::SIGUSR2);
            if !refuse_threads() {
                return;
            }
            assert!(matches!(error(worker.start_poller()), Error::System { .. }));
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
