//! Controls which threads take the signals of the process.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// A thread's own instructions raise these signals, and only that thread can take them. If they are blocked, they end
/// the process without calling the host's handlers.
const OF_THE_THREAD: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];

/// Keeps the calling thread from taking signals while this value lives. A thread that it starts meanwhile never takes
/// any.
pub(crate) struct NoSignals {
    before: libc::sigset_t,
    /// It must be dropped on the thread that created it.
    thread: PhantomData<*const ()>,
}

impl NoSignals {
    pub(crate) fn begin() -> NoSignals {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: `sigfillset` and `pthread_sigmask` write a whole set each, and none of these calls fails with valid
        // numbers.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in OF_THE_THREAD {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        NoSignals { before, thread: PhantomData }
    }
}

impl Drop for NoSignals {
    fn drop(&mut self) {
        // SAFETY: `pthread_sigmask` wrote this set, on the same thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, null_mut()) };
    }
}
