//! Hosts that close a bell's descriptors, or put other files on their numbers.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use seqcast::{Bell, BellKind, BellOptions, ErrorKind};
use seqcast_testkit::{Child, HANGS, alone, bus, error, eventually, is_readable, quiet, shared_words, small};

use crate::{NOW, counting, rung_only, settle};

fn close(number: RawFd) {
    // SAFETY: a number that is not open is an error and nothing else; this process opens no others meanwhile.
    unsafe { libc::close(number) };
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: a system call without pointers.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

fn put(file: impl AsFd, number: RawFd) {
    // SAFETY: deliberately replaces the file on the number.
    assert_eq!(unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) }, number);
}

/// The open numbers of this process from 3 on.
fn numbers() -> Vec<RawFd> {
    (3..256).filter(|&number| is_open(number)).collect()
}

/// Runs `make`, and returns the numbers that it has opened as well.
fn opened<T>(make: impl FnOnce() -> T) -> (T, Vec<RawFd>) {
    let before = numbers();
    let made = make();
    (made, numbers().into_iter().filter(|number| !before.contains(number)).collect())
}

fn eventfd(count: u32) -> File {
    // SAFETY: a system call without pointers; the descriptor is new.
    let descriptor = unsafe { OwnedFd::from_raw_fd(libc::eventfd(count, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)) };
    File::from(descriptor)
}

fn count_of(mut eventfd: File) -> u64 {
    let mut bytes = [0; 8];
    eventfd.read_exact(&mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

alone! {
    fn g19_a_bell_whose_descriptors_were_closed_says_so_and_a_new_one_is_rung() {
        let (_name, bus) = bus(&small());
        let (worker, delivered) = counting(&bus);
        let mut subscriber = bus.subscribe_with(&quiet()).unwrap();
        let (old, pulled) = (worker.bell().unwrap(), subscriber.bell().unwrap());
        settle(&old);
        numbers().into_iter().for_each(close);
        worker.post(("s", "e"), "").unwrap();
        assert_eq!(error(old.poll()).kind(), ErrorKind::BellClosed);
        assert_eq!(delivered.get(), 1, "what is there is delivered all the same");
        assert_eq!(error(pulled.arm(&subscriber)).kind(), ErrorKind::BellClosed);
        assert!(subscriber.try_next().unwrap().is_some());
        // The new one has the numbers of the old one.
        let new = worker.bell_with(&rung_only()).unwrap();
        assert_eq!(new.as_raw_fd(), old.as_raw_fd());
        settle(&new);
        worker.post(("s", "e"), "").unwrap();
        assert_eq!(error(old.poll()).kind(), ErrorKind::BellClosed);
        assert!(is_readable(&new, NOW), "the old one has read what the new one was rung for");
        drop((old, pulled));
        settle(&new);
        worker.post(("s", "e"), "").unwrap();
        assert!(is_readable(&new, NOW), "the old one has closed what is the new one's");
        new.poll().unwrap();
        worker.post_local(("s", "e"), 1_u8).unwrap();
        assert!(is_readable(&new, NOW));
    }

    fn g19_each_descriptor_of_a_bell_that_is_closed_is_told_within_seconds() {
        let (_name, bus) = bus(&small());
        let (worker, _) = counting(&bus);
        let ((), beside) = opened(|| ());
        assert!(beside.is_empty());
        for place in 0..4 {
            let (bell, its) = opened(|| worker.bell_with(&rung_only()).unwrap());
            assert_eq!(its.len(), 4, "set, timer, hand and watch");
            bell.poll().unwrap();
            close(its[place]);
            eventually("the loss is told", || {
                worker.post(("s", "e"), "").unwrap();
                bell.poll().is_err_and(|error| error.kind() == ErrorKind::BellClosed)
            });
            let (file, number) = opened(|| eventfd(7));
            assert_eq!(number, [its[place]]);
            let _ = bell.poll();
            drop(bell);
            assert!(is_open(number[0]), "what was put on its number is not its own to close");
            assert_eq!(count_of(file), 7);
            its.iter().for_each(|&number| close(number));
        }
    }

    fn g12_other_files_on_the_numbers_of_a_bell_are_left_alone() {
        let (_name, bus) = bus(&small());
        let (worker, _) = counting(&bus);
        let mut publisher = bus.publisher().unwrap();
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"the host's").unwrap();
        let counter = eventfd(7);
        // SAFETY: a system call without pointers; the descriptor is new.
        let set = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 1 };
        // SAFETY: both are open, and the event is read.
        let added = unsafe {
            libc::epoll_ctl(set.as_raw_fd(), libc::EPOLL_CTL_ADD, reader.as_raw_fd(), &raw mut event)
        };
        assert_eq!(added, 0);
        let timer = |file: &OwnedFd| {
            let mut left = libc::itimerspec { it_interval: TIME, it_value: TIME };
            // SAFETY: the call fills `left`.
            assert_eq!(unsafe { libc::timerfd_gettime(file.as_raw_fd(), &raw mut left) }, 0);
            left.it_interval.tv_sec
        };
        const TIME: libc::timespec = libc::timespec { tv_sec: 1000, tv_nsec: 0 };
        // SAFETY: a system call without pointers; the descriptor is new.
        let clock = unsafe { OwnedFd::from_raw_fd(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0)) };
        let times = libc::itimerspec { it_interval: TIME, it_value: TIME };
        // SAFETY: the call reads `times`.
        assert_eq!(unsafe { libc::timerfd_settime(clock.as_raw_fd(), 0, &raw const times, std::ptr::null_mut()) }, 0);
        let hosts: [&dyn AsFdDyn; 4] = [&reader, &counter, &set, &clock];
        for host in hosts {
            let (bell, its) = opened(|| worker.bell_with(&rung_only()).unwrap());
            settle(&bell);
            its.iter().for_each(|&number| put(host.as_fd_dyn(), number));
            publisher.post(("s", "e"), "").unwrap();
            assert_eq!(error(bell.poll()).kind(), ErrorKind::BellClosed);
            worker.post_local(("s", "e"), 1_u8).unwrap();
            assert_eq!(error(bell.poll()).kind(), ErrorKind::BellClosed);
            let reserved = worker.publisher().unwrap();
            drop((bell, reserved));
            assert!(its.iter().all(|&number| is_open(number)));
            its.into_iter().for_each(close);
        }
        // SAFETY: the call fills one event.
        let waiting = unsafe { libc::epoll_wait(set.as_raw_fd(), &raw mut event, 1, 0) };
        assert_eq!(waiting, 1, "the event was taken from the host");
        assert_eq!(timer(&clock), 1000);
        assert_eq!(count_of(counter), 7);
        let mut text = [0; 10];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"the host's");
    }

    fn g19_posts_of_a_process_that_has_closed_every_descriptor_ring() {
        for is_replaced in [false, true] {
            let (_name, bus) = bus(&small());
            let (worker, _) = counting(&bus);
            let go = shared_words(1);
            let child = Child::fork(|| {
                let mut publisher = bus.publisher().unwrap();
                let mut other = tempfile();
                for number in numbers().into_iter().filter(|&number| number != other.as_raw_fd()) {
                    if is_replaced { put(&other, number) } else { close(number) }
                }
                eventually("told to go", || go[0].load(std::sync::atomic::Ordering::Acquire) == 1);
                publisher.post(("s", "e"), "").unwrap();
                publisher.post(("s", "e"), "").unwrap();
                assert_eq!(other.stream_position().unwrap(), 0);
                assert_eq!(other.metadata().unwrap().len(), 64);
            });
            let bell = worker.bell_with(&rung_only()).unwrap();
            settle(&bell);
            go[0].store(1, std::sync::atomic::Ordering::Release);
            assert!(is_readable(&bell, HANGS));
            settle(&bell);
            assert!(child.ended_well());
            settle(&bell);
            assert_eq!(worker.cursor(), bus.next_id());
        }
    }

    fn g19_posts_that_nothing_can_ring_for_are_found_at_the_interval() {
        let bus = small().anonymous().unwrap();
        let (worker, _) = counting(&bus);
        let words = shared_words(1);
        let said = &words[0];
        let _child = Child::fork(|| {
            let mut publisher = bus.publisher().unwrap();
            numbers().into_iter().for_each(close);
            publisher.post(("s", "e"), "").unwrap();
            said.store(1, std::sync::atomic::Ordering::Release);
            // Its death would ring.
            std::thread::sleep(HANGS);
        });
        let bell = worker.bell_with(&BellOptions::new().interval(Duration::from_millis(20))).unwrap();
        eventually("it has posted", || said.load(std::sync::atomic::Ordering::Acquire) == 1);
        while worker.cursor() < bus.next_id() {
            assert!(is_readable(&bell, HANGS));
            bell.poll().unwrap();
        }
        drop(bell);
    }

    fn g3_a_bell_never_lives_on_a_standard_descriptor() {
        for closed in 1..8_u32 {
            let child = Child::fork(|| {
                let standard = || (0..3).filter(|number| closed & 1 << number != 0);
                standard().for_each(close);
                let (_name, bus) = bus(&small());
                let (worker, _) = counting(&bus);
                let bell = worker.bell_with(&rung_only()).unwrap();
                assert_eq!(bell.kind(), BellKind::Inotify);
                settle(&bell);
                worker.post(("s", "e"), "").unwrap();
                assert!(is_readable(&bell, NOW));
                let ticking = worker.bell_with(&rung_only().thread(true)).unwrap();
                assert!(!standard().any(is_open));
                drop((bell, ticking));
                assert!(!standard().any(is_open));
            });
            assert!(child.ended_well(), "with {closed:#05b} closed");
        }
    }

    fn g19_without_descriptors_a_bell_is_refused_and_leaves_none() {
        let (_name, bus) = bus(&small());
        let (worker, delivered) = counting(&bus);
        let used = numbers();
        let lowest_free = (3..).find(|number| !used.contains(number)).unwrap();
        let limit_to = |most: RawFd| {
            let limit = libc::rlimit { rlim_cur: most as libc::rlim_t, rlim_max: 4096 };
            // SAFETY: reads one `rlimit`; it is this process's.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        };
        for free in 0..3 {
            limit_to(lowest_free + free);
            let refused = error(worker.bell());
            assert_eq!(refused.kind(), ErrorKind::System, "{refused}");
            assert!(refused.to_string().contains("RLIMIT_NOFILE"), "{refused}");
            assert_eq!(numbers(), used);
        }
        limit_to(lowest_free + 3);
        let bell: Bell = worker.bell_with(&BellOptions::new().tick(Duration::from_millis(3))).unwrap();
        assert_eq!(bell.kind(), BellKind::Tick(Duration::from_millis(3)));
        let why = bell.unheard().unwrap();
        assert_eq!(why.kind(), ErrorKind::Unheard);
        assert!(why.to_string().contains("RLIMIT_NOFILE") && !why.to_string().contains("max_user"), "{why}");
        limit_to(1024);
        settle_ticking(&bell, || delivered.get() == 0);
        worker.post(("s", "e"), "").unwrap();
        settle_ticking(&bell, || delivered.get() == 1);
        drop(bell);
        assert_eq!(numbers(), used);
    }

    fn g12_programs_that_are_executed_inherit_no_descriptor_of_a_bell() {
        let (_name, bus) = bus(&small());
        let worker = bus.join().unwrap();
        let _bells = [worker.bell().unwrap(), worker.bell_with(&rung_only().thread(true)).unwrap()];
        let listed = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains("anon_inode"), "{listed}");
        let own = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        assert_eq!(own.filter(|link| link.to_string_lossy().contains("anon_inode")).count(), 7);
    }
}

/// Polls, each time that the bell is readable, until the condition holds.
fn settle_ticking(bell: &Bell, is_so: impl Fn() -> bool) {
    loop {
        assert!(is_readable(bell, HANGS));
        bell.poll().unwrap();
        if is_so() {
            return;
        }
    }
}

/// A file of 64 bytes without a name.
fn tempfile() -> File {
    // SAFETY: the name is a C string; the descriptor is new.
    let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"host".as_ptr(), libc::MFD_CLOEXEC)) };
    file.write_all(&[7; 64]).unwrap();
    file.rewind().unwrap();
    file
}

/// Files of several types.
trait AsFdDyn {
    fn as_fd_dyn(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdDyn for T {
    fn as_fd_dyn(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}
