//! Signals that would otherwise end this program without a message.

/// Prints an explanation if a segment is truncated while it is read. Any process with write access can do that, and an
/// access beyond the new end is SIGBUS.
pub fn explain_sigbus() {
    extern "C" fn explain(_: libc::c_int) {
        const TEXT: &[u8] = b"seqcast: a process truncated the segment's file while it was being read\n";
        crate::top::restore_terminal_in_signal();
        // SAFETY: both are async-signal-safe, and the text is static.
        unsafe {
            libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len());
            libc::_exit(i32::from(crate::exit::Exit::CannotOpen.code()));
        }
    }
    // SAFETY: the handler makes only async-signal-safe calls and does not return; a zeroed `sigaction` is a valid one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = explain as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // It cannot fail for an existing signal, and without the handler only the message is missing.
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}
