//! Processes of a test: forked children, tests that run in a separate process, and the files that such processes leave
//! behind.
//!
//! Nothing here mentions seqcast, so the unit tests of seqcast, which see another copy of that crate, can use it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, panic, process, ptr, slice, thread};

/// Tells a test binary which of its tests it was started for.
const ALONE: &str = "SEQCAST_TEST_ALONE";
/// Tells a test binary which role it has for the test that started it.
const ROLE: &str = "SEQCAST_TEST_ROLE";
/// A test that takes longer than this hangs. No result of a test depends on it otherwise. Long, because only a failure
/// waits to its end, and a host with other work may take minutes for tests that need seconds.
pub const HANGS: Duration = Duration::from_secs(600);

/// Declares tests that each run in a separate process: single-threaded, so that it can fork; killed with all of its
/// children if it hangs; and swept of the segments that it left behind.
#[macro_export]
macro_rules! alone {
    ($($(#[$attr:meta])* fn $name:ident() $body:block)+) => {
        $($(#[$attr])* #[test] fn $name() {
            $crate::process::alone(concat!(module_path!(), "::", stringify!($name)), || $body);
        })+
    };
}

/// Asserts that a call failed with an error whose cause matches. A further text, with its arguments, is
/// added to the message.
#[macro_export]
macro_rules! assert_error {
    ($result:expr, $cause:pat $(if $guard:expr)? $(, $($why:tt)+)?) => {
        match $result.as_ref().map_err(|error| error.cause()) {
            Err($cause) $(if $guard)? => {}
            other => panic!(
                "{other:?} instead of {}{}",
                stringify!($cause $(if $guard)?),
                String::new() $(+ ": " + &format!($($why)+))?
            ),
        }
    };
}

/// Runs `body` in a new process of this test binary, or here if this is that process.
pub fn alone(path: &str, body: impl FnOnce()) {
    // The harness names tests without the crate.
    let (_, test) = path.split_once("::").unwrap();
    if env::var_os(ALONE).is_some_and(|wanted| wanted == test) {
        die_with_parent();
        return body();
    }
    let (mut output, writer) = io::pipe().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(ALONE, test).env("RUST_BACKTRACE", "1");
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    // The command has the pipe's ends for writing. If they stay open, the output never ends.
    drop(command);
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > HANGS {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        thread::sleep(Duration::from_millis(1));
    };
    let left = sweep(child.id());
    let output = reader.join().unwrap();
    let seconds = started.elapsed().as_secs();
    assert!(status.success(), "{test}: {status} after {seconds} s\n{output}");
    assert!(output.contains("1 passed"), "{test} did not run:\n{output}");
    assert!(left.is_empty(), "{test} left {left:?} behind");
}

/// Removes the files that process `pid` left in /dev/shm.
fn sweep(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("seqcast-t-{pid}-");
    let entries = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().path());
    let left: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&prefix)).collect();
    left.iter().for_each(|path| drop(fs::remove_file(path)));
    left
}

/// A forked child. It is killed when this is dropped, and when the thread that forked it ends.
pub struct Child(pub(crate) libc::pid_t);

impl Child {
    /// Forks a child that runs `body`. A child that panics has not [ended well](Child::ended_well). The captures of
    /// `body` are dropped in the child only: here they stay alive, out of reach.
    pub fn fork(body: impl FnOnce()) -> Child {
        // `alone` ensures that this process has one thread, and glibc makes its allocator usable in a child of several
        // threads, too.
        let Some(child) = Child::fork_here() else {
            let done = panic::catch_unwind(panic::AssertUnwindSafe(body));
            let _ = io::stderr().flush();
            exit(if done.is_ok() { 0 } else { 101 });
        };
        std::mem::forget(body);
        child
    }

    /// Forks a child of a process that has other threads, as unit tests have. The child ends well if `body` returns
    /// `true`. It is killed if it hangs: a thread that panicked during the fork may have held a lock that it needs.
    pub fn fork_amid_threads(body: impl FnOnce() -> bool) -> Child {
        if let Some(child) = Child::fork_here() {
            return child;
        }
        // SAFETY: a system call without pointers.
        unsafe { libc::alarm(HANGS.as_secs() as u32 * 3) };
        let done = panic::catch_unwind(panic::AssertUnwindSafe(body));
        if let Err(panic) = &done {
            // Bypasses the harness's capture, which ends with the child. A panic hook cannot be used: setting one waits
            // for the panics of all threads, and those of the parent never end here.
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text");
            let stderr = File::options().append(true).open("/dev/stderr");
            let _ = stderr.and_then(|mut stderr| writeln!(stderr, "in a forked child: {text}"));
        }
        exit(done.map_or(101, |good| i32::from(!good)))
    }

    /// Forks a child that continues here, as its parent does. In the child this returns `None`. The child must not
    /// return to the harness.
    pub fn fork_here() -> Option<Child> {
        // SAFETY: the caller ensures that the child does not return to the harness, and does only what a child of so
        // many threads may do.
        match unsafe { libc::fork() } {
            0 => {
                die_with_parent();
                None
            }
            pid => {
                assert!(pid > 0, "fork: {}", io::Error::last_os_error());
                Some(Child(pid))
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.0 as u32
    }

    pub fn signal(&self, signal: libc::c_int) {
        // SAFETY: our own child, not reaped yet.
        assert_eq!(unsafe { libc::kill(self.0, signal) }, 0);
    }

    /// Waits until any signal has stopped the child.
    pub fn await_stop(&self) {
        let status = wait(self.0, libc::WUNTRACED);
        assert!(status.stopped_signal().is_some(), "the child ended instead: {status}");
    }

    /// Stops the child, wherever it is.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        self.await_stop();
    }

    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Returns `true` if it sleeps in the kernel.
    pub fn sleeps(&self) -> bool {
        self.state() == 'S'
    }

    /// Waits until the child is dead, but leaves it a zombie.
    pub fn await_zombie(&self) {
        eventually("the child is a zombie", || self.state() == 'Z');
    }

    fn state(&self) -> char {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    }

    /// Waits for the child's end.
    pub fn end(self) -> ExitStatus {
        let status = wait(self.0, 0);
        assert!(status.stopped_signal().is_none(), "the child is traced, and stopped");
        self.buried();
        status
    }

    /// Waits for the child's end. Returns `true` if it ended well.
    #[must_use]
    pub fn ended_well(self) -> bool {
        self.end().success()
    }

    /// Returns how the child ended, or the child if it has not.
    pub fn try_end(self) -> Result<ExitStatus, Child> {
        let mut status = 0;
        // SAFETY: `status` is writable for the call.
        let found = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
        assert!(found >= 0, "waitpid: {}", io::Error::last_os_error());
        if found == 0 {
            return Err(self);
        }
        self.buried();
        Ok(ExitStatus::from_raw(status))
    }

    /// Kills the child. Returns how it ended, which may have been before.
    pub fn kill(self) -> ExitStatus {
        self.signal(libc::SIGKILL);
        loop {
            let status = wait(self.0, 0);
            // It may be traced, and may have stopped before the signal arrived.
            if status.stopped_signal().is_none() {
                self.buried();
                return status;
            }
        }
    }

    /// Gives up the handle on a child that was waited for elsewhere.
    pub fn buried(self) {
        std::mem::forget(self);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A failed test may have reaped it already, and nothing must fail here.
        let mut status = 0;
        // SAFETY: a signal to our own child, which no other code has reaped; `status` is writable for the calls.
        unsafe {
            let found = libc::waitpid(self.0, &raw mut status, libc::WNOHANG);
            if found < 0 || found == self.0 && !libc::WIFSTOPPED(status) {
                return;
            }
            libc::kill(self.0, libc::SIGKILL);
        }
        // It may be traced, and may have stopped before the signal arrived.
        while wait(self.0, 0).stopped_signal().is_some() {}
    }
}

/// Waits until one of `children` ends, and takes it out. Returns how it ended.
///
/// This also reaps other children of this process group that end meanwhile.
pub fn first_to_end(children: &mut Vec<Child>) -> ExitStatus {
    loop {
        let mut status = 0;
        // SAFETY: `status` is writable for the call.
        let found = unsafe { libc::waitpid(0, &raw mut status, 0) };
        if let Some(at) = children.iter().position(|child| child.0 == found) {
            children.swap_remove(at).buried();
            return ExitStatus::from_raw(status);
        }
        let error = io::Error::last_os_error();
        assert!(found > 0 || error.kind() == io::ErrorKind::Interrupted, "waitpid: {error}");
    }
}

/// Waits until a child of this process ends or, depending on `options` and if it is traced, stops.
pub(crate) fn wait(pid: libc::pid_t, options: libc::c_int) -> ExitStatus {
    let mut status = 0;
    loop {
        // SAFETY: `status` is writable for the call.
        let found = unsafe { libc::waitpid(pid, &raw mut status, options) };
        if found == pid {
            return ExitStatus::from_raw(status);
        }
        assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted);
    }
}

/// Ends a forked child without the harness's exit handlers.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process, and leaves inherited values untouched.
    unsafe { libc::_exit(code) }
}

/// Runs `body` in a forked child and waits for it to end well.
pub fn in_child(body: impl FnOnce()) {
    assert!(Child::fork(body).ended_well(), "the forked child failed; its panic is above");
}

/// Runs `body` in a process with clocks (boot time and monotonic) that are `ahead` seconds ahead of the host's, and
/// waits for it to end well. Returns `false`, and prints the reason, if that is not permitted.
pub fn in_time_namespace(ahead: i64, body: impl FnOnce()) -> bool {
    let refused = &shared_words(1)[0];
    in_child(|| {
        // SAFETY: both only return a number.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        // SAFETY: affects only this process's children, and takes no memory.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWTIME) } != 0 {
            eprintln!("skipped: no time namespaces here: {}", io::Error::last_os_error());
            refused.store(1, Ordering::Relaxed);
            return;
        }
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).unwrap();
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).unwrap();
        let offsets = format!("boottime {ahead} 0\nmonotonic {ahead} 0\n");
        fs::write("/proc/self/timens_offsets", offsets).unwrap();
        in_child(body);
    });
    refused.load(Ordering::Relaxed) == 0
}

/// Runs `body` in a forked child. Returns `true` if it ended well, and its output to standard error.
pub fn stderr_of(body: impl FnOnce()) -> (bool, String) {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = Child::fork(|| {
        // SAFETY: both descriptors are open; the child's standard error is its own.
        assert_eq!(unsafe { libc::dup2(writer.as_raw_fd(), 2) }, 2);
        body();
    });
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (child.ended_well(), text)
}

/// Stops the calling process until it gets SIGCONT.
pub fn stop_here() {
    // SAFETY: a signal to this process only.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Starts this test binary again, by exec, in `role`: it runs the test of that name, which asks for [`role`].
pub fn exec(role: &str, segment: &str) -> process::Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([role, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, segment)
        .env_remove(ALONE);
    command.spawn().unwrap()
}

/// Returns the segment for which [`exec`] started this process, if it did.
pub fn role() -> Option<String> {
    env::var(ROLE).ok().inspect(|_| die_with_parent())
}

/// Words that forked children share with their parent. They live as long as the process.
pub fn shared_words(len: usize) -> &'static [AtomicU64] {
    let bytes = len * size_of::<AtomicU64>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: page-aligned zeros of that length, never unmapped, and accessed only as atomics.
    unsafe { slice::from_raw_parts(at.cast(), len) }
}

/// Kills this process when the thread that started it ends, so that nothing outlives a test.
fn die_with_parent() {
    // SAFETY: plain numbers; the signal is for this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < HANGS / 2, "never: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until a descriptor is readable, for at most `timeout`. Returns `true` if it is.
pub fn is_readable(descriptor: impl AsFd, timeout: Duration) -> bool {
    let mut polled = libc::pollfd { fd: descriptor.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the call reads and writes one `pollfd`.
    let ready = unsafe { libc::poll(&raw mut polled, 1, timeout.as_millis() as libc::c_int) };
    assert!(ready >= 0, "poll: {}", io::Error::last_os_error());
    assert_eq!(polled.revents & !libc::POLLIN, 0, "the descriptor is not valid");
    ready == 1
}

/// Returns the number of threads of this process.
pub fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Returns the number of threads of this process that have that name and sleep in the kernel.
///
/// A thread that sleeps under the name that it gave itself is past its start, during which it holds a lock of the
/// standard library. In a child forked at that moment the lock is never released, and no thread can start.
pub fn sleepers(name: &str) -> usize {
    let sleeps = |task: &PathBuf| {
        // It may have ended meanwhile.
        let text = |file| fs::read_to_string(task.join(file)).unwrap_or_default();
        text("comm").trim() == name && text("stat").rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
    };
    fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path()).filter(sleeps).count()
}
