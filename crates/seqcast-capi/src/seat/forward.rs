//! A bell for event loops that can only wait for their own sockets, such as Lua's in nginx.
//!
//! Other code of the process may close any descriptor number, or open another file under it. Each number is therefore
//! checked right before it is used or closed. A socket is identified by its inode. All epoll sets share one inode, but
//! changing a member fails unless the number leads to a set that has the same file under the member's number.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::bell::seqcast_bell_options;
use super::{SEATS, Seat, seqcast_seat};
use crate::failure::{Failure, Result, call};
use crate::options::read;

/// Makes the seat's bell, if it has none, and starts a thread that sends a byte to `socket` each time the bell becomes
/// readable. This is for event loops that can only wait for their own sockets, such as Lua's in nginx. `options` are
/// those of `seqcast_seat_bell`. Returns 0.
///
/// When a byte arrives, and once at the beginning, read until `seqcast_seat_next` returns 0, then call
/// `seqcast_seat_arm`. The thread sends without waiting: if the socket has no room, it has unread bytes already. The
/// library duplicates the descriptor `socket`. A second call makes the thread send to another socket instead. The
/// thread ends with the bell. If other code of the process closes one of the thread's descriptors, `seqcast_seat_arm`
/// returns `SEQCAST_E_BELL_CLOSED`, and a call of this function starts the thread again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_forward(
    seat: *mut seqcast_seat,
    options: *const seqcast_bell_options,
    socket: c_int,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let options = unsafe { read(options) }?;
        let options = options.map(|options| options.to_bell_options()).unwrap_or_default();
        SEATS.with(seat, |seat| {
            let bell = seat.bell_or_new(&options)?;
            // The old thread ends first: a loop that reads only the new socket would miss the wake-ups that the old
            // thread takes.
            seat.forwarder = None;
            seat.forwarder = Some(Forwarder::start(bell, socket)?);
            Ok(0)
        })
    })
}

/// The thread. It ends when this is dropped.
pub(super) struct Forwarder {
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
    /// The process that started the thread.
    pid: u32,
}

impl Forwarder {
    fn start(bell: RawFd, socket: RawFd) -> Result<Forwarder> {
        let line = Arc::new(Line::new(bell, socket)?);
        let waits = Arc::clone(&line);
        let run = move || while waits.wait_for_bell() && waits.send_byte() {};
        let thread = without_signals(|| thread::Builder::new().name("seqcast-forward".to_owned()).spawn(run));
        let thread = thread.map_err(|error| Failure::of_system("thread", &error))?;
        Ok(Forwarder { line, thread: Some(thread), pid: std::process::id() })
    }

    /// Returns `true` if the thread still has its descriptors.
    pub(super) fn is_intact(&self) -> bool {
        self.line.is_intact()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.pid != std::process::id() {
            // The thread is the parent's.
            std::mem::forget(thread);
            self.line.close();
            return;
        }
        // If a descriptor was closed, the thread cannot be woken. It ends by itself, at the latest at its next check.
        if self.line.stop() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// The descriptors of a thread.
struct Line {
    is_stopped: AtomicBool,
    /// An epoll set of the bell and of `stopped`.
    set: RawFd,
    socket: Socket,
    stopped: Socket,
    /// The other end of `stopped`.
    stopper: Socket,
}

const BELL: u64 = 0;
const STOP: u64 = 1;
/// The interval at which the thread checks that it still has its descriptors, in milliseconds.
const LOOK_MS: c_int = 60_000;

impl Line {
    fn new(bell: RawFd, socket: RawFd) -> Result<Line> {
        let (stopped, stopper) = UnixDatagram::pair().map_err(|error| Failure::of_system("socketpair", &error))?;
        let sockets = [duplicate(socket)?, above_standard(stopped.into())?, above_standard(stopper.into())?];
        // SAFETY: the call takes a number and makes a descriptor.
        let set = above_standard(owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "epoll_create1")?)?;
        control(set.as_raw_fd(), libc::EPOLL_CTL_ADD, sockets[1].as_raw_fd(), libc::EPOLLIN, STOP)?;
        // Edge-triggered, because the bell stays readable until the loop has read.
        control(set.as_raw_fd(), libc::EPOLL_CTL_ADD, bell, libc::EPOLLIN | libc::EPOLLET, BELL)?;
        let [socket, stopped, stopper] = sockets.map(Socket::of);
        Ok(Line { is_stopped: AtomicBool::new(false), set: set.into_raw_fd(), socket, stopped, stopper })
    }

    /// Waits until the bell begins to be readable. Returns `false` if the thread is to end.
    fn wait_for_bell(&self) -> bool {
        // Relaxed: the flag protects no other memory.
        while !self.is_stopped.load(Ordering::Relaxed) && self.has_set() {
            let mut event = libc::epoll_event { events: 0, u64: STOP };
            // SAFETY: the buffer has room for one event.
            let count = unsafe { libc::epoll_wait(self.set, &raw mut event, 1, LOOK_MS) };
            if count > 0 {
                return event.u64 == BELL;
            }
            // Interrupted, for example by a debugger, or time for a check.
        }
        false
    }

    /// Sends a byte. Returns `false` if the number leads to another file.
    fn send_byte(&self) -> bool {
        self.socket.is_ours() && {
            self.socket.send_byte();
            true
        }
    }

    /// Ends the thread. Returns `false` if the thread cannot be woken.
    fn stop(&self) -> bool {
        let is_heard = self.is_intact() && self.stopper.is_ours();
        // Relaxed: as above.
        self.is_stopped.store(true, Ordering::Relaxed);
        if is_heard {
            self.stopper.send_byte();
        }
        is_heard
    }

    fn is_intact(&self) -> bool {
        self.socket.is_ours() && self.has_set()
    }

    /// Returns `true` if the number of the set leads to the set, and the number of `stopped` to its member.
    fn has_set(&self) -> bool {
        let is_member = || control(self.set, libc::EPOLL_CTL_MOD, self.stopped.number, libc::EPOLLIN, STOP).is_ok();
        self.stopped.is_ours() && is_member()
    }

    /// Closes the numbers that still lead to the same files. Called once.
    fn close(&self) {
        if self.has_set() {
            close(self.set);
        }
        for socket in [&self.socket, &self.stopped, &self.stopper] {
            if socket.is_ours() {
                close(socket.number);
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.close();
    }
}

/// A socket by its number, which may lead to another file now.
struct Socket {
    number: RawFd,
    /// The identity of the socket. An open descriptor has one.
    inode: Option<Inode>,
}

type Inode = (libc::dev_t, libc::ino_t);

impl Socket {
    fn of(opened: OwnedFd) -> Socket {
        let inode = inode_of(opened.as_raw_fd());
        Socket { number: opened.into_raw_fd(), inode }
    }

    fn is_ours(&self) -> bool {
        self.inode.is_some() && inode_of(self.number) == self.inode
    }

    /// Sends a byte without waiting. If there is no room for it, unread bytes are there already.
    fn send_byte(&self) {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: one byte of a constant.
        unsafe { libc::send(self.number, [0_u8].as_ptr().cast(), 1, flags) };
    }
}

fn inode_of(number: RawFd) -> Option<Inode> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the buffer has the type that the call writes.
    if unsafe { libc::fstat(number, stat.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: the call has succeeded and written it.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino))
}

fn control(set: RawFd, what: c_int, fd: RawFd, flags: c_int, data: u64) -> Result<()> {
    let mut event = libc::epoll_event { events: flags as u32, u64: data };
    // SAFETY: the event is a local variable, and the other arguments are numbers.
    let result = unsafe { libc::epoll_ctl(set, what, fd, &raw mut event) };
    if result < 0 { Err(last_failure("epoll_ctl")) } else { Ok(()) }
}

#[cold]
fn last_failure(call: &str) -> Failure {
    Failure::of_system(call, &io::Error::last_os_error())
}

fn owned(fd: c_int, call: &str) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(last_failure(call));
    }
    // SAFETY: the descriptor was just made, and no other code knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor, with a number above the three standard ones.
fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: the call takes numbers and makes a descriptor.
    owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) }, "fcntl(F_DUPFD_CLOEXEC)")
}

fn above_standard(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { duplicate(fd.as_raw_fd()) }
}

fn close(number: RawFd) {
    // SAFETY: the caller has just checked that the number leads to a file that this module opened.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

/// Calls `run` with all signals blocked, so that a thread that it starts gets none: signals are for the program's own
/// threads.
fn without_signals<T>(run: impl FnOnce() -> T) -> T {
    // A thread's own instructions raise these signals. If they are blocked, they end the process without running its
    // handlers.
    let of_the_thread = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are local variables and are filled before they are read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in of_the_thread {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = run();
    // SAFETY: filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

impl Seat {
    /// Ends the thread and then the bell.
    pub(super) fn end_bell(&mut self) {
        self.forwarder = None;
        self.bell = None;
    }
}
