//! A bell for event loops that wait for sockets of their own and for no other descriptor, as Lua's in nginx.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::thread::{self, JoinHandle};

use super::bell::seqcast_bell_options;
use super::{SEATS, Seat, seqcast_seat};
use crate::failure::{Failure, Result, call};
use crate::options::read;

/// Makes the seat's bell, if it has none, and starts a thread that sends a byte to `socket` each time the bell begins to be
/// readable: for event loops that wait for sockets of their own and for no other descriptor, as Lua's in nginx does.
/// `options` are those of `seqcast_seat_bell`. Returns 0.
///
/// When a byte comes, and once at the beginning, read until `seqcast_seat_next` returns 0, then call `seqcast_seat_arm`.
/// The byte is sent without waiting; if the socket has no room for it, others are there to be read. The library has a
/// descriptor of its own for the socket. A second call sends to another one instead. The thread ends with the bell.
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
            // The old one ends first: a loop that reads the new socket alone would miss what that one took.
            seat.forwarder = None;
            seat.forwarder = Some(Forwarder::start(bell, socket)?);
            Ok(0)
        })
    })
}

/// The thread. It ends when this is dropped.
pub(super) struct Forwarder {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
    /// The process that has it.
    pid: u32,
}

const BELL: u64 = 0;
const STOP: u64 = 1;

impl Forwarder {
    fn start(bell: RawFd, socket: RawFd) -> Result<Forwarder> {
        // SAFETY: both take numbers, as all calls here that make a descriptor.
        let socket = owned(unsafe { libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 3) }, "fcntl(F_DUPFD_CLOEXEC)")?;
        // SAFETY: as above.
        let stop = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }, "eventfd")?;
        // SAFETY: as above.
        let set = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "epoll_create1")?;
        watch(&set, stop.as_raw_fd(), libc::EPOLLIN, STOP)?;
        // By edges: it stays readable until the loop has read.
        watch(&set, bell, libc::EPOLLIN | libc::EPOLLET, BELL)?;
        let run = move || forward(&set, &socket);
        let thread = without_signals(|| thread::Builder::new().name("seqcast-forward".to_owned()).spawn(run));
        let thread = thread.map_err(|error| Failure::of_system("thread", &error))?;
        Ok(Forwarder { stop, thread: Some(thread), pid: std::process::id() })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.pid != std::process::id() {
            // The thread is the parent's.
            std::mem::forget(thread);
            return;
        }
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes of this frame, to a descriptor that is ours.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // It does not panic.
        let _ = thread.join();
    }
}

/// Sends a byte at each edge of the bell, until it is to stop.
fn forward(set: &OwnedFd, socket: &OwnedFd) {
    loop {
        let mut event = libc::epoll_event { events: 0, u64: STOP };
        // SAFETY: the place is for one event.
        let count = unsafe { libc::epoll_wait(set.as_raw_fd(), &raw mut event, 1, -1) };
        match (count, event.u64) {
            // Interrupted, as by a debugger.
            (..=0, _) => {}
            (_, BELL) => {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                // SAFETY: one byte of a constant. That it is not sent does not matter: see `seqcast_seat_forward`.
                unsafe { libc::send(socket.as_raw_fd(), [0_u8].as_ptr().cast(), 1, flags) };
            }
            _ => return,
        }
    }
}

fn watch(set: &OwnedFd, fd: RawFd, events: c_int, what: u64) -> Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: what };
    // SAFETY: the event is one of this frame, and the rest are numbers.
    let result = unsafe { libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
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
    // SAFETY: it was just made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls `run` with all signals blocked: a thread that it starts gets none. They are for the program's own threads.
fn without_signals<T>(run: impl FnOnce() -> T) -> T {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are places of this frame, and filled before they are read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = run();
    // SAFETY: filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

impl Seat {
    /// Ends the bell, and the thread before it.
    pub(super) fn end_bell(&mut self) {
        self.forwarder = None;
        self.bell = None;
    }
}
