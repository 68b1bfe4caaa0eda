//! Distinguishes a process from its forked children, for two loads and a comparison.
//!
//! One page of the process holds its *generation*, a number that none of its ancestors has ever had. A child does not
//! find that number there, for two reasons, and either is enough:
//!
//! - the kernel gives it the page as zeros (`MADV_WIPEONFORK`, Linux 4.14), however the child was created;
//! - libc calls [`in_child`] in it (`pthread_atfork`), which stores the zero. Some kernels accept the advice and do
//!   nothing (gVisor, qemu's user mode, a seccomp filter that answers 0), and older ones do not know it.
//!
//! A child is therefore missed only if both fail: if it was created by a raw `clone` or by `_Fork`, which run no
//! handlers, on a kernel that does not wipe the page. The crate does not probe the kernel: a probe would cost a fork at
//! the first join, and change nothing.
//!
//! `getpid` would be a system call, and pids repeat across pid namespaces.

use std::fmt;
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::sys;

/// The word of the page, once it exists. The page stays for the rest of the process.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());
/// Generations used by this process and its ancestors. Ordinary memory, which a child inherits.
static GIVEN: AtomicU32 = AtomicU32::new(0);
/// The value of the word at the beginning of the latest fork.
static AT_FORK: AtomicU64 = AtomicU64::new(0);

/// Distinguishes the process that created it from forked children.
#[derive(Clone, Copy)]
pub(crate) struct ForkGuard {
    word: &'static AtomicU64,
    generation: u64,
}

impl fmt::Debug for ForkGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkGuard").field("forked", &self.is_forked()).finish_non_exhaustive()
    }
}

impl ForkGuard {
    /// Returns a guard of the calling process, or the system call that failed.
    pub(crate) fn new() -> Result<ForkGuard, Failed> {
        // Acquire: makes the page visible as it was at publication.
        let word = match word_at(WORD.load(Ordering::Acquire)) {
            Some(word) => word,
            None => make_word()?,
        };
        Ok(ForkGuard { word, generation: generation(word) })
    }

    /// Returns `true` in a forked child of the process that created the guard.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        // Relaxed: for an existing guard, only a fork changes the word, and the fork comes before everything that the
        // child does.
        self.word.load(Ordering::Relaxed) != self.generation
    }

    /// Returns [`Forked`] in a forked child. Call it before every lock, and after every call of users' code, which may
    /// fork and return in the child.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Forked> {
        if self.is_forked() { Err(Forked) } else { Ok(()) }
    }
}

/// The calling process is a forked child of the process that created the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forked;

/// A failed system call.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) call: &'static str,
    pub(crate) source: io::Error,
}

impl Failed {
    fn new(call: &'static str, source: impl Into<io::Error>) -> Failed {
        Failed { call, source: source.into() }
    }
}

/// Returns the calling process's generation. A process that has none yet, new or forked, gets one.
fn generation(word: &AtomicU64) -> u64 {
    // Relaxed throughout: the number protects no other memory.
    match word.load(Ordering::Relaxed) {
        0 => {}
        generation => return generation,
    }
    let count = GIVEN.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    // The count alone distinguishes it from the ancestors' generations. The pid is needed if one thread sets the first
    // generation while another forks: then the child has the guard but not the count.
    let fresh = u64::from(sys::pid()) << 32 | u64::from(count);
    match word.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(of_another_thread) => of_another_thread,
    }
}

fn word_at(pointer: *mut AtomicU64) -> Option<&'static AtomicU64> {
    // SAFETY: null, or the beginning of a page that `make_word` has mapped, which is never unmapped once it is stored
    // here. Any bit pattern is a valid `AtomicU64`.
    unsafe { pointer.as_ref() }
}

/// Maps the page, unless another thread is faster. It takes no lock, because a lock held at a fork stays locked in the
/// child.
#[cold]
fn make_word() -> Result<&'static AtomicU64, Failed> {
    // Registered before the page is visible to guards. Two threads may both register the handlers, which does no harm.
    // SAFETY: the handlers touch atomics only, and live as long as their code: libc removes them when the code is
    // unloaded.
    let errno = unsafe { libc::pthread_atfork(Some(before_fork), None, Some(in_child)) };
    if errno != 0 {
        return Err(Failed::new("pthread_atfork", io::Error::from_raw_os_error(errno)));
    }
    let len = rustix::param::page_size();
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory that exists.
    let page = unsafe { rustix::mm::mmap_anonymous(null_mut(), len, protection, MapFlags::PRIVATE) }
        .map_err(|errno| Failed::new("mmap", errno))?;
    let page: NonNull<AtomicU64> =
        NonNull::new(page.cast()).ok_or_else(|| Failed::new("mmap", io::ErrorKind::InvalidData))?;
    // A kernel that refuses is no worse than one that reports success and does nothing, which cannot be detected. The
    // handler is enough for every child that is created by `fork`.
    // SAFETY: the advice is for the page just mapped, which holds nothing yet.
    let _ = unsafe { rustix::mm::madvise(page.as_ptr().cast(), len, Advice::LinuxWipeOnFork) };
    // Release: publishes the page. Acquire: sees another thread's page.
    let published = WORD.compare_exchange(null_mut(), page.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
    if published.is_err() {
        // SAFETY: mapped above, and no other thread has seen it.
        let _ = unsafe { rustix::mm::munmap(page.as_ptr().cast(), len) };
    }
    Ok(word_at(published.map_or_else(|theirs| theirs, |_| page.as_ptr())).expect("one of the two was published"))
}

/// Called by libc in a process that is about to fork.
extern "C" fn before_fork() {
    if let Some(word) = word_at(WORD.load(Ordering::Acquire)) {
        // Relaxed: libc runs one fork's handlers at a time, and the child's handler runs on a copy of this thread.
        AT_FORK.store(word.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Called by libc in a forked child, on its only thread. It must be async-signal-safe, and is.
extern "C" fn in_child() {
    if let Some(word) = word_at(WORD.load(Ordering::Acquire)) {
        // The word already differs if the kernel has wiped the page and another library's handler has joined since.
        let _ = word.compare_exchange(AT_FORK.load(Ordering::Relaxed), 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::os::locks::lock;

    /// Held by tests that change the advice for the page, or depend on it.
    static ADVICE: Mutex<()> = Mutex::new(());

    fn advise(advice: libc::c_int) {
        let page = WORD.load(Ordering::Acquire).cast();
        // SAFETY: the page stays, and keeps its content.
        assert_eq!(unsafe { libc::madvise(page, rustix::param::page_size(), advice) }, 0);
    }

    /// Returns the result of `run` in a child made by `fork`. `run` must not allocate, because this process has other
    /// threads.
    fn in_a_child(fork: impl FnOnce() -> libc::c_int, run: impl FnOnce() -> bool) -> bool {
        match fork() {
            0 => {
                let said = run();
                // SAFETY: ends the child without the harness's exit handlers.
                unsafe { libc::_exit(i32::from(said)) }
            }
            child => {
                let mut status = 0;
                // SAFETY: `status` is writable for the call.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert!(libc::WIFEXITED(status), "status {status}");
                libc::WEXITSTATUS(status) == 1
            }
        }
    }

    fn fork() -> libc::c_int {
        // SAFETY: the children of these tests touch atomics, make system calls, and exit.
        unsafe { libc::fork() }
    }

    /// A fork that bypasses libc.
    fn clone() -> libc::c_int {
        // SAFETY: as above; without flags it does what fork does, and the child continues on a copy of this stack.
        unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as libc::c_int }
    }

    #[test]
    fn g12_the_guard_knows_a_forked_child_and_a_cloned_one() {
        let _advice = lock(&ADVICE);
        let guard = ForkGuard::new().unwrap();
        assert!(!guard.is_forked());
        assert!(in_a_child(fork, || guard.is_forked()));
        assert!(in_a_child(clone, || guard.is_forked()));
        assert!(!guard.is_forked());
    }

    /// Simulates a kernel that accepts the advice and does nothing.
    #[test]
    fn g12_the_guard_knows_a_forked_child_though_the_kernel_does_not_wipe_its_page() {
        let _advice = lock(&ADVICE);
        let guard = ForkGuard::new().unwrap();
        advise(libc::MADV_KEEPONFORK);
        let known = in_a_child(fork, || guard.is_forked());
        // A guard made in the child belongs to the child, and not to a grandchild.
        let own = in_a_child(fork, || {
            let own = ForkGuard::new().unwrap();
            guard.is_forked() && !own.is_forked() && in_a_child(fork, || own.is_forked() && guard.is_forked())
        });
        advise(libc::MADV_WIPEONFORK);
        assert!(known && own, "{known} {own}");
        assert!(!guard.is_forked());
    }

    #[test]
    fn g12_a_childs_guard_is_the_childs_and_not_its_parents_nor_its_childrens() {
        let _advice = lock(&ADVICE);
        let guard = ForkGuard::new().unwrap();
        assert!(in_a_child(clone, || {
            let own = ForkGuard::new().unwrap();
            let again = ForkGuard::new().unwrap();
            let parents = guard.is_forked();
            parents
                && !own.is_forked()
                && !again.is_forked()
                && in_a_child(clone, || own.is_forked() && guard.is_forked())
        }));
    }

    #[test]
    fn g12_a_handler_that_joined_before_ours_ran_keeps_its_guard() {
        let _advice = lock(&ADVICE);
        // libc runs the handlers in the order of their registration; this test simulates it.
        let guard = ForkGuard::new().unwrap();
        assert!(in_a_child(fork, || {
            let own = ForkGuard::new().unwrap();
            in_child();
            guard.is_forked() && !own.is_forked()
        }));
    }

    #[test]
    fn all_guards_share_one_page() {
        let first = ForkGuard::new().unwrap();
        let made: Vec<ForkGuard> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| ForkGuard::new().unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for guard in made {
            assert!(std::ptr::eq(guard.word, first.word));
            assert_eq!(guard.generation, first.generation);
        }
    }
}
