//! The descriptor that a seat's thread sleeps at: for posts of all processes and for calls of this one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;
use seqcast::{BellOptions, Cause, Error, PullBell, Result, Subscriber};

/// A bell, and an eventfd through which this process rings it, in one epoll set.
pub(crate) struct Doorbell {
    // In this order: the set is closed before its members.
    set: OwnedFd,
    own: OwnedFd,
    bell: PullBell,
}

fn system(call: &'static str, errno: Errno) -> Error {
    Cause::System { name: "the bell".to_owned(), call, source: errno.into() }.into()
}

impl Doorbell {
    pub(crate) fn new(subscriber: &Subscriber, options: &BellOptions) -> Result<Doorbell> {
        let bell = subscriber.bell_with(options)?;
        let own =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| system("eventfd", errno))?;
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|errno| system("epoll_create1", errno))?;
        for fd in [bell.as_fd(), own.as_fd()] {
            epoll::add(&set, fd, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
                .map_err(|errno| system("epoll_ctl", errno))?;
        }
        Ok(Doorbell { set, own, bell })
    }

    /// Prepares a sleep: see [`PullBell::arm`]. Later calls of this process ring again.
    pub(crate) fn arm(&self, subscriber: &Subscriber) -> Result<bool> {
        let mut count = [0; 8];
        match rustix::io::read(&self.own, &mut count) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(system("read", errno)),
        }
        self.bell.arm(subscriber)
    }

    /// Makes the descriptor readable.
    pub(crate) fn ring(&self) {
        // This fails if the counter is full, and then the descriptor is readable already.
        let _ = rustix::io::write(&self.own, &1_u64.to_ne_bytes());
    }

    /// Sleeps until the descriptor is readable or a signal comes, for at most `left`, or without a limit.
    pub(crate) fn sleep(&self, left: Option<Duration>) -> Result<()> {
        // A time that is too long for the system counts as no limit.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut [PollFd::new(&self.set, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(system("poll", errno)),
        }
    }

    /// If posts do not ring it, returns the reason.
    pub(crate) fn unheard(&self) -> Option<String> {
        self.bell.unheard().map(ToString::to_string)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.set.as_raw_fd()
    }
}
