//! Standard error for use by a library.

use std::ptr;

/// Writes `text` to standard error, as far as possible.
///
/// It differs from the standard library's way in three respects. It takes no lock, which another thread may have held
/// at a fork. It writes the whole text at once, so that output of other processes to the same pipe or file comes before
/// or after it (for a pipe, up to `PIPE_BUF`, 4096 bytes). And if the pipe has no reader, the resulting SIGPIPE does
/// not reach the process: only programs with a Rust `main` ignore that signal, and it ends others.
///
/// Errors are ignored, because there is no place to report them.
pub(crate) fn write(text: &[u8]) {
    // SAFETY: all pointers are to values that live through the calls; zeros are a signal set, which is then made empty.
    unsafe {
        let mut sigpipe: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut sigpipe);
        libc::sigaddset(&raw mut sigpipe, libc::SIGPIPE);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const sigpipe, &raw mut before) != 0 {
            return;
        }
        libc::sigemptyset(&raw mut pending);
        libc::sigpending(&raw mut pending);
        let was_pending = libc::sigismember(&raw const pending, libc::SIGPIPE) == 1;
        if write_all(text) == Err(libc::EPIPE) && !was_pending {
            // Our own write made it pending for this thread: take it back.
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const sigpipe, ptr::null_mut(), &raw const now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
    }
}

fn write_all(mut text: &[u8]) -> Result<(), libc::c_int> {
    while !text.is_empty() {
        // SAFETY: `text` is readable for its length.
        let written = unsafe { libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len()) };
        match usize::try_from(written) {
            Ok(0) => return Ok(()),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(_) => match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                error => return Err(error.unwrap_or_default()),
            },
        }
    }
    Ok(())
}
