//! Bells: descriptors that are readable as long as there may be something to read, for event loops.
//!
//! A bell is an epoll set ([`ReadySet`]) of three descriptors: a watch on the segment's file, which is notified of the
//! posts of all processes; a timer, for posters that were stopped before they rang; and a descriptor by which the
//! process itself makes the bell readable.

mod listener;
pub(crate) mod options;
pub(crate) mod pull;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use self::listener::Listener;
use self::options::{BellKind, BellOptions};
use crate::error::{Cause, Error, Result};
use crate::os::fork::ForkGuard;
use crate::os::ready_set::{FailedCall, Knocker, ReadySet};
use crate::protocol::wake::{self, Bells};
use crate::protocol::word::Mark;
use crate::segment::layout::header_word;
use crate::segment::{Segment, fork_guard};
use crate::sync::AtomicU32;

/// The common part of the bells of workers and subscribers.
pub(crate) struct BellCore {
    name: String,
    guard: ForkGuard,
    kind: BellKind,
    unheard: Option<Error>,
    /// Declared before `ready`: the thread ends before the set is closed.
    listener: Option<Listener>,
    ready: ReadySet,
}

impl BellCore {
    /// Makes a bell of `segment`. It is readable at first. If it cannot be notified of posts, it becomes readable every
    /// [`tick`](BellOptions::tick).
    pub(crate) fn new(segment: &Arc<Segment>, options: &BellOptions) -> Result<BellCore> {
        options.check()?;
        let name = segment.name().to_owned();
        let failed = |FailedCall { call, errno }| Error::system(segment.name(), call, errno);
        let guard = fork_guard(segment.name())?;
        let mut ready = ReadySet::new(options.interval).map_err(failed)?;
        if options.thread {
            let listener = Some(Listener::start(segment, guard, ready.knocker())?);
            return Ok(BellCore { name, guard, kind: BellKind::Thread, unheard: None, listener, ready });
        }
        let Some(why) = listen(&mut ready, segment)? else {
            return Ok(BellCore { name, guard, kind: BellKind::Inotify, unheard: None, listener: None, ready });
        };
        ready.unwatch();
        let tick = options.tick.min(options.interval);
        ready.set_interval(tick).map_err(failed)?;
        let unheard = Some(Cause::Unheard { name: name.clone(), why }.into());
        Ok(BellCore { name, guard, kind: BellKind::Tick(tick), unheard, listener: None, ready })
    }

    /// Returns an error in a forked child: the descriptors are shared with the parent, and a read in the child would
    /// take the parent's notifications.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        Ok(self.guard.check()?)
    }

    /// Returns how the bell is notified of posts.
    pub(crate) fn kind(&self) -> BellKind {
        self.kind
    }

    /// Returns why the bell is not notified of posts, if its kind is [`BellKind::Tick`].
    pub(crate) fn unheard(&self) -> Option<&Error> {
        self.unheard.as_ref()
    }

    /// Returns a handle that makes the bell readable from elsewhere in the process.
    pub(crate) fn knocker(&self) -> Knocker {
        self.ready.knocker()
    }

    /// Prepares the event loop's sleep after reading up to `mark`: see [`wake::settle`]. Arms the bell on the words
    /// `own` and, if `segment` is given, for posts to it.
    pub(crate) fn settle<T>(
        &self,
        own: &[&AtomicU32],
        segment: Option<&Segment>,
        mark: Mark,
        look: impl FnOnce() -> T,
    ) -> Result<T> {
        let drain = || -> Result<()> {
            self.drain()?;
            if let Some(listener) = &self.listener {
                listener.listen_at(segment.map_or(Mark::NONE, |_| mark));
            }
            Ok(())
        };
        // Other kinds of bells cannot be rung.
        let rung = segment.filter(|_| self.kind == BellKind::Inotify);
        let posts = rung.map(|segment| segment.wake_word(header_word!(wake)));
        let seen = wake::settle(own.iter().copied().chain(posts), drain, look)?;
        if self.listener.is_some() && segment.is_some() && mark == Mark::NONE {
            // There is no place to listen at.
            self.ring()?;
        }
        Ok(seen)
    }

    /// Clears the rings so far.
    pub(crate) fn drain(&self) -> Result<()> {
        self.ready.drain().or_else(|_| self.closed())
    }

    /// Makes the bell readable.
    pub(crate) fn ring(&self) -> Result<()> {
        self.ready.knock().or_else(|_| self.closed())
    }

    /// Makes the bell readable after at most `time`.
    pub(crate) fn ring_in(&self, time: Duration) -> Result<()> {
        self.ready.wake_in(time).or_else(|_| self.closed())
    }

    #[cold]
    fn closed(&self) -> Result<()> {
        Err(Cause::BellClosed { name: self.name.clone() }.into())
    }
}

impl AsFd for BellCore {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// Makes `ready` watch the segment's file, and tests that it is notified. Returns the reason if it is not.
fn listen(ready: &mut ReadySet, segment: &Segment) -> Result<Option<String>> {
    if let Err(FailedCall { call, errno }) = ready.watch(&segment.watched_path()?) {
        return Ok(Some(why_not(ready, call, errno)));
    }
    // A ring of this process reaches the watches of all processes, its own included.
    segment.ring_all();
    let why = "inotify did not report a read of the file: its file system or a sandbox does not support that";
    Ok((!ready.hears()).then(|| why.to_owned()))
}

fn why_not(ready: &ReadySet, call: &str, errno: Errno) -> String {
    let cause = match errno {
        Errno::MFILE if call == "inotify_init1" && ready.is_room_for_one_more() => limit("max_user_instances"),
        Errno::NOSPC if call == "inotify_add_watch" => limit("max_user_watches"),
        Errno::MFILE => "the process has reached its descriptor limit, RLIMIT_NOFILE; raise it (ulimit -n)".to_owned(),
        Errno::ACCESS | Errno::PERM | Errno::NOSYS => "the system forbids it (seccomp, SELinux)".to_owned(),
        _ => String::new(),
    };
    let colon = if cause.is_empty() { "" } else { ": " };
    format!("{call} failed, {}{colon}{cause}", std::io::Error::from(errno))
}

/// Returns what to do about a limit of inotify that is reached.
fn limit(file: &str) -> String {
    let now = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{file}")).unwrap_or_default();
    let (equals, now) = if now.is_empty() { ("", "") } else { (" = ", now.trim()) };
    format!("this user has reached sysctl fs.inotify.{file}{equals}{now}; raise it")
}
