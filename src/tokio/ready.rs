//! A bell that is registered with the runtime.

use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::os::fork::ForkGuard;
use crate::segment::fork_guard;

/// A bell of type `B` in the runtime's own epoll set.
pub(super) struct Registered<B: AsRawFd> {
    bell: ManuallyDrop<AsyncFd<B>>,
    guard: ForkGuard,
}

impl<B: AsRawFd> Registered<B> {
    /// Registers the bell that `make` makes. `segment` is the name of its segment.
    pub(super) fn new(segment: &str, make: impl FnOnce() -> Result<B>) -> Result<Registered<B>> {
        Handle::try_current().map_err(|_| {
            let rule = "call it in a task of a runtime, or between Runtime::enter and the drop of its guard";
            Error::option("tokio runtime", "none", rule)
        })?;
        let guard = fork_guard(segment)?;
        // SAFETY: a bell owns its descriptor and never changes it. The bell lives in the `AsyncFd`, and `drop` forgets
        // both in a forked child.
        let bell = unsafe { AsyncFd::register_with_interest(make()?, Interest::READABLE) };
        let bell = bell.map_err(|refused| Error::system(segment, "epoll_ctl", refused.into_parts().1))?;
        Ok(Registered { bell: ManuallyDrop::new(bell), guard })
    }

    pub(super) fn bell(&self) -> &B {
        self.bell.get_ref()
    }

    /// Waits until the bell is rung, and clears the runtime's readiness. A later ring is then noticed again, so the
    /// caller looks for events after this call, not before it.
    pub(super) fn poll_rung(&self, cx: &mut Context<'_>, segment: &str) -> Poll<Result<()>> {
        let ready = ready!(self.bell.poll_read_ready(cx));
        Poll::Ready(match ready {
            Ok(mut ready) => {
                ready.clear_ready();
                Ok(())
            }
            // The runtime is shutting down.
            Err(error) => Err(Error::system(segment, "epoll_wait", error)),
        })
    }
}

impl<B: AsRawFd> Drop for Registered<B> {
    fn drop(&mut self) {
        // A forked child shares the parent's epoll set: deregistering there would end the parent's registration.
        if !self.guard.is_forked() {
            // SAFETY: not used after.
            unsafe { ManuallyDrop::drop(&mut self.bell) };
        }
    }
}
