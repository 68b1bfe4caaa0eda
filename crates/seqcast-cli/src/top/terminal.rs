//! The terminal: taken over, and restored.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::{DefaultTerminal, Frame};

use crate::exit::Failure;

/// A terminal in raw mode on its alternate screen, until it is dropped. A panic restores it, too.
pub struct Terminal(DefaultTerminal);

static TAKEN: AtomicBool = AtomicBool::new(false);
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

impl Terminal {
    pub fn new() -> Result<Terminal, Failure> {
        if let Some(before) = settings() {
            // Set once: a later terminal of this process is the same one.
            let _ = BEFORE.set(before);
        }
        let terminal = ratatui::try_init().map_err(Failure::io("taking over the terminal"))?;
        TAKEN.store(true, Ordering::Release);
        Ok(Terminal(terminal))
    }

    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.0.draw(render).map(drop).map_err(|error: io::Error| Failure::output(error))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
        ratatui::restore();
    }
}

fn settings() -> Option<libc::termios> {
    // SAFETY: `termios` is plain numbers, and the call writes one of them.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) == 0).then_some(settings)
    }
}

/// Restores the terminal from a signal handler that does not return.
pub fn restore_terminal_in_signal() {
    // Leave the alternate screen, show the cursor.
    const LEAVE: &[u8] = b"\x1b[?1049l\x1b[?25h";
    if !TAKEN.load(Ordering::Acquire) {
        return;
    }
    // SAFETY: both calls are async-signal-safe; the settings were stored before `TAKEN`, and are never changed.
    unsafe {
        libc::write(libc::STDOUT_FILENO, LEAVE.as_ptr().cast(), LEAVE.len());
        if let Some(before) = BEFORE.get() {
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
        }
    }
}
