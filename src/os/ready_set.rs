//! A descriptor that becomes readable after a file was read or closed, at a given time, or on request: an epoll set of
//! an inotify instance, a timer and an event counter.
//!
//! The host program may close any number, or put another file on it (see [`descriptor`](super::descriptor)). All files
//! of these kinds share one inode, so `fstat` does not distinguish them. `EPOLL_CTL_MOD` does: it succeeds only if the
//! set is a set, and the number leads to the very file that was added to it under that number. It comes before each
//! use, and changes nothing of a foreign file. An [`Owner`] detects a later set that has got the same numbers.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::descriptor::{Fillers, LAST_STANDARD};
use super::sys;

/// A member of the set, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    /// The inotify instance.
    Watch(RawFd),
    /// The timer.
    Timer(RawFd),
    /// The event counter. It is never read, so it is always readable. The set reports it once for each time
    /// that it is added or modified.
    Counter(RawFd),
}

impl Member {
    fn number(self) -> RawFd {
        let (Member::Watch(number) | Member::Timer(number) | Member::Counter(number)) = self;
        number
    }

    fn flags(self) -> EventFlags {
        match self {
            Member::Watch(_) | Member::Timer(_) => EventFlags::IN,
            Member::Counter(_) => EventFlags::IN | EventFlags::ET,
        }
    }

    fn data(self) -> EventData {
        EventData::new_u64(match self {
            Member::Watch(_) => 0,
            Member::Timer(_) => TIMER,
            Member::Counter(_) => 2,
        })
    }

    /// Joins the set of number `set`.
    fn enter(self, set: RawFd) -> Result<(), Errno> {
        epoll::add(borrow(set), borrow(self.number()), self.data(), self.flags())
    }

    /// Succeeds only if `set` leads to a set, and the number to the file that has joined it. Makes the set readable if
    /// this is the counter.
    fn touch(self, set: RawFd) -> Result<(), Lost> {
        epoll::modify(borrow(set), borrow(self.number()), self.data(), self.flags()).map_err(|_| Lost)
    }
}

const TIMER: u64 = 1;

/// One of the numbers was closed, or leads to another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// A failed system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedCall {
    pub(crate) call: &'static str,
    pub(crate) errno: Errno,
}

fn failed(call: &'static str) -> impl Fn(Errno) -> FailedCall {
    move |errno| FailedCall { call, errno }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct ReadySet {
    set: RawFd,
    owner: Owner,
    timer: Member,
    counter: Member,
    watch: Option<Member>,
    interval: Duration,
    /// The time of the last check of all members, by the coarse clock.
    checked: AtomicU64,
}

impl ReadySet {
    /// Creates a set that is readable now, and at the end of each `interval`.
    pub(crate) fn new(interval: Duration) -> Result<ReadySet, FailedCall> {
        let _fillers = Fillers::hold().map_err(failed("open"))?;
        let set = above_standard("epoll_create1", || epoll::create(CreateFlags::CLOEXEC))?;
        let timer = above_standard("timerfd_create", || {
            timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
        })?;
        let counter = above_standard("eventfd", || eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC))?;
        let made = ReadySet {
            timer: Member::Timer(timer.as_raw_fd()),
            counter: Member::Counter(counter.as_raw_fd()),
            set: set.as_raw_fd(),
            owner: Owner::of(set.as_raw_fd()),
            watch: None,
            interval,
            checked: AtomicU64::new(sys::coarse_ns()),
        };
        let joined = made.timer.enter(made.set).and_then(|()| made.counter.enter(made.set));
        if let Err(errno) = joined {
            // The three are closed with the right kind.
            std::mem::forget(made);
            return Err(FailedCall { call: "epoll_ctl", errno });
        }
        for owned in [set, timer, counter] {
            let _ = owned.into_raw_fd();
        }
        made.start_timer(interval)?;
        Ok(made)
    }

    /// Changes the interval.
    pub(crate) fn set_interval(&mut self, interval: Duration) -> Result<(), FailedCall> {
        self.interval = interval;
        self.start_timer(interval)
    }

    /// Makes the set readable after the file `path` is read, or closed by a process that could write to it.
    pub(crate) fn watch(&mut self, path: &str) -> Result<(), FailedCall> {
        let _fillers = Fillers::hold().map_err(failed("open"))?;
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let instance = above_standard("inotify_init1", || inotify::init(flags))?;
        let events = WatchFlags::ACCESS | WatchFlags::CLOSE_WRITE;
        retry_on_intr(|| inotify::add_watch(&instance, path, events)).map_err(failed("inotify_add_watch"))?;
        let watch = Member::Watch(instance.as_raw_fd());
        watch.enter(self.set).map_err(failed("epoll_ctl"))?;
        let _ = instance.into_raw_fd();
        self.watch = Some(watch);
        Ok(())
    }

    /// Ends the watch.
    pub(crate) fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            let _ = self.close(watch);
        }
    }

    /// Returns `true` if the watched file was read or closed since the last call, or the last
    /// [`drain`](ReadySet::drain).
    pub(crate) fn hears(&self) -> bool {
        self.watch.is_some_and(|watch| self.read_all(watch) == Ok(true))
    }

    /// Returns `true` if the process can open one more descriptor.
    pub(crate) fn is_room_for_one_more(&self) -> bool {
        fcntl_dupfd_cloexec(borrow(self.set), 0).is_ok()
    }

    /// Makes the set unreadable, except for events that come in the meantime.
    pub(crate) fn drain(&self) -> Result<(), Lost> {
        match self.watch {
            Some(watch) => _ = self.read_all(watch)?,
            None => self.touch(self.timer)?,
        }
        self.check_now_and_then()?;
        // It is enough that the counter was reported.
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 3];
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = retry_on_intr(|| epoll::wait(borrow(self.set), &mut events, Some(&none))).map_err(|_| Lost)?;
        if events[..ready].iter().any(|event| { event.data }.u64() == TIMER) {
            // A periodic timer that is not read never becomes readable again for an edge-triggered loop.
            self.read_all(self.timer)?;
        }
        Ok(())
    }

    /// Makes the set readable.
    pub(crate) fn knock(&self) -> Result<(), Lost> {
        self.touch(self.counter)
    }

    /// Returns a handle that makes the set readable from elsewhere.
    pub(crate) fn knocker(&self) -> Knocker {
        Knocker { set: self.set, counter: self.counter.number() }
    }

    /// Makes the set readable after `time`, if the interval does not do so earlier.
    pub(crate) fn wake_in(&self, time: Duration) -> Result<(), Lost> {
        if time >= self.interval {
            return Ok(());
        }
        self.touch(self.timer)?;
        self.start_timer(time).map_err(|_| Lost)
    }

    fn start_timer(&self, first: Duration) -> Result<(), FailedCall> {
        let times = Itimerspec { it_value: timespec(first), it_interval: timespec(self.interval) };
        timerfd_settime(borrow(self.timer.number()), TimerfdTimerFlags::empty(), &times)
            .map(drop)
            .map_err(failed("timerfd_settime"))
    }

    /// Checks the members that a drain does not read, at most once a second.
    fn check_now_and_then(&self) -> Result<(), Lost> {
        const EVERY_NS: u64 = 1_000_000_000;
        let now = sys::coarse_ns();
        // Relaxed: only a time; it does not matter which of two threads checks.
        if now.saturating_sub(self.checked.load(Ordering::Relaxed)) < EVERY_NS {
            return Ok(());
        }
        self.checked.store(now, Ordering::Relaxed);
        self.touch(self.timer)?;
        self.touch(self.counter)
    }

    /// Succeeds only if the set's number and the member's lead to their original files. Makes the set readable if
    /// `member` is the counter.
    fn touch(&self, member: Member) -> Result<(), Lost> {
        if self.owner.is_over() {
            return Err(Lost);
        }
        member.touch(self.set)
    }

    /// Closes the number of `member`, if it still leads to it.
    fn close(&self, member: Member) -> Result<(), Lost> {
        self.touch(member)?;
        close(member.number());
        Ok(())
    }

    /// Reads all data of `member`. Returns `false` if there is none.
    fn read_all(&self, member: Member) -> Result<bool, Lost> {
        /// Room for so many events that a second read is rare.
        const ROOM: usize = 4096;
        /// The largest event of a watched file that is not a directory.
        const EVENT: usize = 16;
        self.touch(member)?;
        let mut any = false;
        loop {
            match retry_on_intr(|| rustix::io::read(borrow(member.number()), &mut [0_u8; ROOM])) {
                Ok(len) if len > ROOM - EVENT => any = true,
                Ok(len) => return Ok(any || len > 0),
                Err(Errno::AGAIN) => return Ok(any),
                Err(_) => return Err(Lost),
            }
        }
    }
}

impl AsFd for ReadySet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(self.set)
    }
}

impl Drop for ReadySet {
    fn drop(&mut self) {
        // Each number separately: some may have been closed or reused. In a forked child the set is also the parent's,
        // and becomes readable there once.
        let members = [self.watch, Some(self.counter), Some(self.timer)].into_iter().flatten();
        let closed = members.filter(|&member| self.close(member).is_ok()).count();
        if closed > 0 {
            close(self.set);
        }
    }
}

/// The right to a set's number. It ends when a later set has got the same number, because other code closed the earlier
/// one.
#[derive(Debug)]
struct Owner {
    entry: &'static OwnedNumber,
    ticket: u64,
}

/// A number that has belonged to a set. Such entries are never removed: there is one for each number.
#[derive(Debug)]
struct OwnedNumber {
    number: RawFd,
    /// The ticket of the latest set.
    ticket: AtomicU64,
    next: Option<&'static OwnedNumber>,
}

impl Owner {
    /// Takes the right to `number`, which has just been opened. It takes no lock, because a lock held at a fork stays
    /// locked in the child.
    fn of(number: RawFd) -> Owner {
        static TICKETS: AtomicU64 = AtomicU64::new(0);
        static ENTRIES: AtomicPtr<OwnedNumber> = AtomicPtr::new(null_mut());
        // Relaxed: the number protects no other memory.
        let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
        // Acquire: sees the stored entries.
        let mut first = ENTRIES.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or an entry that was leaked below and is changed only through its atomic.
            let next = unsafe { first.as_ref() };
            let found = std::iter::successors(next, |entry| entry.next).find(|entry| entry.number == number);
            if let Some(entry) = found {
                // Relaxed: a thread that still finds the earlier set valid uses it a moment before it is lost.
                entry.ticket.store(ticket, Ordering::Relaxed);
                return Owner { entry, ticket };
            }
            let entry = Box::into_raw(Box::new(OwnedNumber { number, ticket: AtomicU64::new(ticket), next }));
            // Release: publishes the entry. Acquire: sees another thread's entry.
            match ENTRIES.compare_exchange(first, entry, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: the entry is leaked.
                Ok(_) => return Owner { entry: unsafe { &*entry }, ticket },
                Err(now) => {
                    // SAFETY: made above, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(entry) });
                    first = now;
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        // Relaxed: as above.
        self.entry.ticket.load(Ordering::Relaxed) != self.ticket
    }
}

/// Makes a set readable from anywhere in its process. Once the set is closed, it does nothing, or makes a later set
/// with the same numbers readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knocker {
    set: RawFd,
    counter: RawFd,
}

impl Knocker {
    /// Async-signal-safe: a system call without the C library.
    pub(crate) fn knock(self) {
        let _ = Member::Counter(self.counter).touch(self.set);
    }

    /// Returns it as a number that is not 0.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.set as u32) << 32 | u64::from(self.counter as u32)
    }

    /// Returns the value for a result of [`to_bits`](Knocker::to_bits).
    pub(crate) fn from_bits(bits: u64) -> Knocker {
        Knocker { set: (bits >> 32) as RawFd, counter: bits as RawFd }
    }
}

/// Returns the file that `open` opens, above the standard descriptors.
fn above_standard(call: &'static str, open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, FailedCall> {
    let opened = open().map_err(failed(call))?;
    if opened.as_raw_fd() > LAST_STANDARD {
        return Ok(opened);
    }
    // Another thread has closed the standard ones meanwhile.
    fcntl_dupfd_cloexec(&opened, LAST_STANDARD + 1).map_err(failed("fcntl"))
}

fn timespec(duration: Duration) -> Timespec {
    // Zero would stop the timer. A time that the clock cannot represent never ends.
    let duration = duration.max(Duration::from_nanos(1));
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the number was opened by a `ReadySet`, and is never -1. If the host, or the set's drop, has closed or
    // reused it since, the system calls of this file fail on it or change nothing.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn close(number: RawFd) {
    // SAFETY: it was just found to lead to the file that a `ReadySet` has opened, which no longer borrows it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn is_readable(set: &ReadySet, timeout: Duration) -> bool {
        let mut polled = [rustix::event::PollFd::new(set, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&timespec(timeout))).unwrap() == 1
    }

    /// A file that can be watched, and its path.
    fn watched_file() -> (File, String) {
        let memory = rustix::fs::memfd_create("seqcast-watched", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        // Reads by the description that the system has made are not told.
        let mut file = File::options().read(true).write(true).open(&path).unwrap();
        file.write_all(b"bytes").unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        (file, path)
    }

    fn read(file: &mut File) {
        file.rewind().unwrap();
        file.read_exact(&mut [0]).unwrap();
    }

    // In a process of its own: a child that another test forks would close the files later.
    seqcast_testkit::alone! {
        fn a_set_is_readable_once_for_a_read_a_closing_a_knock_and_a_time() {
            let (mut file, path) = watched_file();
            let mut set = ReadySet::new(HOUR).unwrap();
            assert!(is_readable(&set, Duration::ZERO), "it is born readable");
            set.drain().unwrap();
            set.watch(&path).unwrap();
            let quiet_after = |what: &str, act: &mut dyn FnMut(&ReadySet)| {
                assert!(!is_readable(&set, Duration::ZERO), "before {what}");
                act(&set);
                assert!(is_readable(&set, HOUR), "{what}");
                set.drain().unwrap();
            };
            quiet_after("a read", &mut |_| read(&mut file));
            quiet_after("many reads", &mut |_| (0..1000).for_each(|_| read(&mut file)));
            quiet_after("a closing", &mut |_| drop(File::options().append(true).open(&path).unwrap()));
            quiet_after("a knock", &mut |set| set.knock().unwrap());
            let knock = |set: &ReadySet| Knocker::from_bits(set.knocker().to_bits()).knock();
            quiet_after("two knocks", &mut |set| (0..2).for_each(|_| knock(set)));
            quiet_after("a time", &mut |set| set.wake_in(Duration::from_millis(1)).unwrap());
            quiet_after("all at once", &mut |set| {
                set.wake_in(Duration::from_nanos(1)).unwrap();
                read(&mut file);
                set.knock().unwrap();
            });
            set.wake_in(2 * HOUR).unwrap();
            assert!(!is_readable(&set, Duration::ZERO));
            set.unwatch();
            read(&mut file);
            assert!(!set.hears() && !is_readable(&set, Duration::ZERO), "it does not watch any more");
        }
    }

    // In a process of its own: a child that another test forks would close the files later.
    seqcast_testkit::alone! {
        fn deaths_and_reads_in_turn_are_all_drained_at_once() {
            let (mut file, path) = watched_file();
            let mut set = ReadySet::new(HOUR).unwrap();
            set.watch(&path).unwrap();
            // Only equal neighbours are merged: these take more room than one read of the queue has.
            for _ in 0..1000 {
                read(&mut file);
                drop(File::options().append(true).open(&path).unwrap());
            }
            set.drain().unwrap();
            assert!(!is_readable(&set, Duration::ZERO));
        }
    }

    #[test]
    fn an_interval_goes_on_for_as_long_as_it_is_drained() {
        let mut set = ReadySet::new(HOUR).unwrap();
        set.drain().unwrap();
        set.set_interval(Duration::from_millis(1)).unwrap();
        for _ in 0..5 {
            assert!(is_readable(&set, HOUR));
            set.drain().unwrap();
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_watched() {
        let mut set = ReadySet::new(HOUR).unwrap();
        let failed = set.watch("/nonexistent").unwrap_err();
        assert_eq!((failed.call, failed.errno), ("inotify_add_watch", Errno::NOENT));
        assert!(!set.hears());
        set.drain().unwrap();
    }

    #[test]
    fn a_later_set_of_the_same_number_ends_the_right_of_the_earlier() {
        // No descriptor has this number.
        let number = RawFd::MAX;
        let (earlier, beside) = (Owner::of(number), Owner::of(number - 1));
        assert!(!earlier.is_over());
        let later = Owner::of(number);
        assert!(earlier.is_over() && !later.is_over() && !beside.is_over());
        let found: Vec<Owner> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Owner::of(number - 2))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().filter(|owner| !owner.is_over()).count() >= 1);
    }
}
