//! Kernel primitives: a pair of Unix datagram sockets, and two pipes. Readers poll without sleeping, like all others
//! here except in the scenario of sleepers.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::support::channel::{Channel, End, Side, Sink};

/// A pair of connected datagram sockets.
pub struct Unix {
    ends: [OwnedFd; 2],
    size: usize,
}

/// A pipe for each direction.
pub struct Pipes {
    pipes: [[OwnedFd; 2]; 2],
    size: usize,
}

fn owned([a, b]: [RawFd; 2], made: i32) -> [OwnedFd; 2] {
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just created them for us.
    unsafe { [OwnedFd::from_raw_fd(a), OwnedFd::from_raw_fd(b)] }
}

impl Unix {
    pub fn new(size: usize) -> Unix {
        let mut fds = [0; 2];
        // SAFETY: the array is writable for the call.
        let made =
            unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, 0, fds.as_mut_ptr()) };
        Unix { ends: owned(fds, made), size: size.max(8) }
    }
}

impl Pipes {
    pub fn new(size: usize) -> Pipes {
        let pipe = || {
            let mut fds = [0; 2];
            // SAFETY: the array is writable for the call.
            let made = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK) };
            let pipe = owned(fds, made);
            // SAFETY: a system call on numbers. It requests the largest permitted size; otherwise the size stays as it
            // is.
            unsafe { libc::fcntl(pipe[0].as_raw_fd(), libc::F_SETPIPE_SZ, 1 << 20) };
            pipe
        };
        Pipes { pipes: [pipe(), pipe()], size: size.max(8) }
    }
}

/// Two descriptors, and the payload that is being received.
pub struct FdEnd {
    to: RawFd,
    from: RawFd,
    buffer: Vec<u8>,
    filled: usize,
    sink: &'static Sink,
}

impl Channel for Unix {
    type End = FdEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> FdEnd {
        let own = self.ends[usize::from(side != Side::Near)].as_raw_fd();
        FdEnd { to: own, from: own, buffer: vec![0; self.size], filled: 0, sink }
    }
}

impl Channel for Pipes {
    type End = FdEnd;

    fn open(&self, side: Side, sink: &'static Sink) -> FdEnd {
        let near = side == Side::Near;
        let (to, from) = (usize::from(!near), usize::from(near));
        let (to, from) = (self.pipes[to][1].as_raw_fd(), self.pipes[from][0].as_raw_fd());
        FdEnd { to, from, buffer: vec![0; self.size], filled: 0, sink }
    }
}

impl FdEnd {
    /// The descriptor that payloads come from.
    pub fn source(&self) -> RawFd {
        self.from
    }

    fn sleep_for(fd: RawFd, events: libc::c_short) {
        let mut poll = libc::pollfd { fd, events, revents: 0 };
        // SAFETY: one structure, writable for the call.
        unsafe { libc::poll(&raw mut poll, 1, 1000) };
    }
}

/// Returns the number of bytes that a system call moved; 0 if it would have had to wait.
fn moved(result: isize) -> usize {
    if result >= 0 {
        return result as usize;
    }
    let error = io::Error::last_os_error();
    let later = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::ENOBUFS);
    assert!(later, "{error}");
    0
}

impl End for FdEnd {
    fn send(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            // SAFETY: the pointer and length belong to the slice.
            let wrote = moved(unsafe { libc::write(self.to, payload.as_ptr().cast(), payload.len()) });
            payload = &payload[wrote..];
            if wrote == 0 {
                // Full: the reader has to read first, and it polls too.
                std::hint::spin_loop();
            }
        }
    }

    fn poll(&mut self) {
        loop {
            let rest = &mut self.buffer[self.filled..];
            // SAFETY: the pointer and length belong to the slice.
            let read = moved(unsafe { libc::read(self.from, rest.as_mut_ptr().cast(), rest.len()) });
            if read == 0 {
                return;
            }
            self.filled += read;
            if self.filled == self.buffer.len() {
                self.filled = 0;
                self.sink.take(&self.buffer);
            }
        }
    }

    fn wait(&mut self) {
        Self::sleep_for(self.from, libc::POLLIN);
    }
}
