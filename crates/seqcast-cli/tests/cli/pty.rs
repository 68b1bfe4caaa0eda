//! A pseudo-terminal with a screen.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use crate::support::eventually;

/// A program in a terminal of its own.
pub struct Pty {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// The output, including escape sequences.
    raw: Arc<Mutex<Vec<u8>>>,
    slave: OwnedFd,
}

impl Pty {
    pub fn run(mut command: Command, rows: u16, columns: u16) -> Pty {
        let on = |size| NonZero::new(size).unwrap();
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: the two numbers and the size outlive the call; no name and no settings are requested.
        let opened = unsafe {
            libc::openpty(&raw mut master, &raw mut slave, std::ptr::null_mut(), std::ptr::null(), &raw const size)
        };
        assert_eq!(opened, 0);
        // SAFETY: both were just opened and have no other owner.
        let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        let terminal = slave.as_raw_fd();
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap());
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env_remove("LC_ALL");
        // SAFETY: the closure makes system calls on numbers only.
        unsafe {
            command.pre_exec(move || {
                // A new session with this terminal: signals and sizes go to the program.
                if libc::setsid() == -1 || libc::ioctl(terminal, libc::TIOCSCTTY, 0) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(on(rows), on(columns), 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut output = File::from(master.try_clone().unwrap());
        let (to_screen, to_raw) = (Arc::clone(&screen), Arc::clone(&raw));
        // Ends when the last slave is closed.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                to_raw.lock().unwrap().extend_from_slice(&bytes[..len]);
                to_screen.lock().unwrap().process(&bytes[..len]);
            }
        });
        Pty { child, keyboard: File::from(master), screen, raw, slave }
    }

    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw.lock().unwrap()).into_owned()
    }

    pub fn is_alternate(&self) -> bool {
        self.screen.lock().unwrap().screen().alternate_screen()
    }

    pub fn hides_cursor(&self) -> bool {
        self.screen.lock().unwrap().screen().hide_cursor()
    }

    /// Waits until the screen is as `wanted`.
    #[track_caller]
    pub fn shows(&self, what: &str, mut wanted: impl FnMut(&str) -> bool) {
        let start = std::time::Instant::now();
        while !wanted(&self.text()) {
            assert!(start.elapsed() < crate::support::PATIENCE, "never on the screen: {what}\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Returns `true` if the terminal echoes keys and collects lines, as before a program takes it over.
    pub fn is_cooked(&self) -> bool {
        // SAFETY: `termios` is plain numbers, and the call writes one of them.
        let settings = unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            assert_eq!(libc::tcgetattr(self.slave.as_raw_fd(), &raw mut settings), 0);
            settings
        };
        settings.c_lflag & (libc::ICANON | libc::ECHO) == libc::ICANON | libc::ECHO
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a system call without pointers, to a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits for the program's end.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
