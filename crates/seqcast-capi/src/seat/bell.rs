//! Bells: descriptors for event loops.

use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;
use std::time::Duration;

use seqcast::{BellKind, BellOptions, ErrorKind, PullBell};

use super::{Role, SEATS, Seat, seqcast_seat};
use crate::argument::{copy_text, place};
use crate::failure::seqcast_error::{SEQCAST_E_BELL_CLOSED, SEQCAST_E_NO_BELL};
use crate::failure::{Failure, Result, call};
use crate::options::{Options, duration, read, set};

/// Options of a bell. Set all bytes to zero, then set `size` and the options that you need.
#[repr(C)]
pub struct seqcast_bell_options {
    /// `sizeof(seqcast_bell_options)`.
    pub size: usize,
    /// The longest time after which the bell becomes readable, whether it was rung or not, in nanoseconds. 0 means 1
    /// second.
    pub interval_ns: u64,
    /// The interval of a bell that cannot be rung, in nanoseconds. 0 means 10 milliseconds.
    pub tick_ns: u64,
    /// If not 0, a thread waits for posts and rings the bell, for systems without inotify.
    pub thread: i32,
    /// Must be 0.
    pub reserved: i32,
}

// SAFETY: numbers after the size, and no padding: the 4-byte fields come last and in pairs.
unsafe impl Options for seqcast_bell_options {
    const NAME: &'static str = "seqcast_bell_options";
}

/// How a bell is notified of posts.
#[repr(C)]
pub enum seqcast_bell_kind {
    /// By inotify: each post that finds a bell armed rings it at once.
    SEQCAST_BELL_INOTIFY = 0,
    /// Not at all: it becomes readable at an interval. `seqcast_seat_bell_unheard` copies the reason.
    SEQCAST_BELL_TICK = 1,
    /// By a thread that waits for posts.
    SEQCAST_BELL_THREAD = 2,
    /// In a way that this interface does not know.
    SEQCAST_BELL_OTHER = 3,
}

/// Makes a descriptor that is readable as long as the seat may have something to read, for epoll, poll, libuv and other
/// event loops, and stores it. A second call stores the same descriptor and ignores its options. `options` may be null.
/// Returns 0.
///
/// When the descriptor is readable, and once at the beginning, read until `seqcast_seat_next` returns 0, then call
/// `seqcast_seat_arm`. Wait for readability only, level-triggered or edge-triggered. The descriptor belongs to the
/// seat: do not read from it, and do not close it. `seqcast_seat_leave` and `_free` close it: remove it from the event
/// loop first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_bell(
    seat: *mut seqcast_seat,
    options: *const seqcast_bell_options,
    fd: *mut c_int,
) -> c_int {
    call(|| {
        // SAFETY: as the caller promises.
        let (fd, options) = unsafe { (place(fd, "fd")?, read(options)?) };
        let options = options.map_or_else(BellOptions::new, |options| options.to_bell_options());
        *fd = SEATS.with(seat, |seat| seat.bell_or_new(&options))?;
        Ok(0)
    })
}

/// Prepares the event loop's sleep. Returns 1 if there is something to read: read on and call it again. Returns 0 if
/// the loop may sleep: the bell becomes readable as soon as there is something to read. After `SEQCAST_E_BELL_CLOSED`,
/// the seat has no bell any more, and `seqcast_seat_bell` makes another.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_arm(seat: *mut seqcast_seat) -> c_int {
    call(|| SEATS.with(seat, |seat| Ok(c_int::from(seat.arm()?))))
}

/// Returns how the seat's bell is notified of posts: a `seqcast_bell_kind`.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_bell_kind(seat: *mut seqcast_seat) -> c_int {
    call(|| {
        let kind = SEATS.with(seat, |seat| Ok(seat.bell()?.kind()))?;
        let kind = match kind {
            BellKind::Inotify => seqcast_bell_kind::SEQCAST_BELL_INOTIFY,
            BellKind::Tick(_) => seqcast_bell_kind::SEQCAST_BELL_TICK,
            BellKind::Thread => seqcast_bell_kind::SEQCAST_BELL_THREAD,
            _ => seqcast_bell_kind::SEQCAST_BELL_OTHER,
        };
        Ok(kind as c_int)
    })
}

/// Copies the reason why posts do not ring the seat's bell. Returns 0 if they do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_seat_bell_unheard(
    seat: *mut seqcast_seat,
    buffer: *mut c_char,
    capacity: usize,
) -> c_int {
    call(|| {
        let reason = SEATS.with(seat, |seat| Ok(seat.bell()?.unheard().map(ToString::to_string)))?;
        // SAFETY: as the caller promises.
        unsafe { copy_text(&reason.unwrap_or_default(), buffer, capacity) }
    })
}

impl seqcast_bell_options {
    pub(super) fn to_bell_options(&self) -> BellOptions {
        let options = BellOptions::new().thread(self.thread != 0);
        let options = set(options, duration(self.interval_ns), BellOptions::interval);
        set(options, duration(self.tick_ns), BellOptions::tick)
    }
}

impl Seat {
    pub(super) fn bell_or_new(&mut self, options: &BellOptions) -> Result<c_int> {
        // Returns an error if the seat was inherited by a fork or is displaced.
        self.subscriber()?.wait(Duration::ZERO)?;
        if self.bell.is_none() {
            self.bell = Some(self.subscriber()?.bell_with(options)?);
        }
        Ok(self.bell()?.as_raw_fd())
    }

    fn bell(&mut self) -> Result<&PullBell> {
        self.subscriber()?;
        self.bell.as_ref().ok_or_else(no_bell)
    }

    fn arm(&mut self) -> Result<bool> {
        self.subscriber()?;
        let (Role::Subscriber(subscriber), Some(bell)) = (&self.role, &self.bell) else { return Err(no_bell()) };
        // After both errors the next call of `seqcast_seat_bell` or `_forward` makes another bell.
        match bell.arm(subscriber) {
            Ok(_) if self.forwarder.as_ref().is_some_and(|forwarder| !forwarder.is_intact()) => {
                self.end_bell();
                Err(thread_closed())
            }
            Err(error) if error.kind() == ErrorKind::BellClosed => {
                self.end_bell();
                Err(error.into())
            }
            armed => Ok(armed?),
        }
    }
}

#[cold]
fn thread_closed() -> Failure {
    let text = "other code of this process has closed a descriptor of the thread that seqcast_seat_forward started: \
                call it again";
    Failure::new(SEQCAST_E_BELL_CLOSED, text)
}

#[cold]
fn no_bell() -> Failure {
    Failure::new(SEQCAST_E_NO_BELL, "this seat has no bell: make one with seqcast_seat_bell first")
}
