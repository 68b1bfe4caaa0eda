//! What would otherwise end this program without a word.

/// Says what it means when a segment is cut off while it is looked at: whoever may write to it can do that, and a touch
/// beyond its new end is SIGBUS.
pub fn explain_sigbus() {
    extern "C" fn explain(_: libc::c_int) {
        const TEXT: &[u8] = b"seqcast: the segment was cut off while it was looked at: somebody truncated its file\n";
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
        // It cannot fail for a signal that exists, and without it the default is only less kind.
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}
