//! Limits, missing features and permissions of the host.

use super::*;

#[test]
fn a_full_dev_shm_is_an_error_that_leaves_nothing_behind() {
    let name = Name::new("full");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=20m") {
            return true;
        }
        // Larger than one allocation step.
        let large = SegmentOptions::new().capacity(1 << 16);
        let size = large.geometry().unwrap().check().unwrap().end as u64;
        let full = |result: Result<Segment>| {
            let error = result.unwrap_err();
            matches!(*error.cause(), Cause::NoSpace { size: needs, free, .. }
                if needs == size && free > 19 << 20 && free < size)
        };
        assert!(full(Segment::create(&name, &large)));
        assert!(!name.exists(), "left behind");
        // A file that another process has begun stays unfinished, and its memory is freed.
        name.write(&FORMING.to_ne_bytes());
        assert!(full(Segment::open_or_create(&name, &large)));
        assert_error!(Segment::open(&name, &large), Cause::Unfinished { .. });
        assert!(std::fs::metadata(path(&name)).unwrap().blocks() * 512 <= 64 << 10, "memory kept");
        sign(&Segment::open_or_create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn no_page_at_all_is_an_error_that_leaves_nothing_behind() {
    let name = Name::new("no-page");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=64k") {
            return true;
        }
        let filler = path("/filler");
        let _ = std::fs::write(&filler, vec![1; 1 << 20]);
        assert_error!(Segment::create(&name, &small()), Cause::NoSpace { .. });
        assert!(!name.exists(), "left behind");
        std::fs::remove_file(filler).unwrap();
        sign(&Segment::create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}

/// Lets the calling process open at most `free` more descriptors. For a forked child.
fn leave_descriptors(free: usize) {
    let most = 256;
    let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let open = || fs::open("/dev/null", OFlags::RDONLY, Mode::empty());
    let mut opened: Vec<std::os::fd::OwnedFd> = std::iter::from_fn(|| open().ok()).collect();
    assert!(opened.len() > free);
    opened.truncate(opened.len() - free);
    opened.into_iter().for_each(std::mem::forget);
}

#[test]
fn g7_the_last_descriptor_leaves_no_empty_file_behind() {
    let name = Name::new("descriptors");
    let (mut failed, mut made) = (0, 0);
    for free in 0..8 {
        let is_made = Segment::anonymous(&small()).unwrap();
        let child = Child::fork_amid_threads(|| {
            leave_descriptors(free);
            match Segment::create(&name, &small()) {
                Ok(segment) => sign(&segment) && sign(&is_made),
                Err(error) => {
                    let Cause::System { source, call, .. } = error.cause() else { panic!("{error}") };
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{call}");
                    assert!(!name.exists(), "{call} failed with {free} descriptors and left a file");
                    true
                }
            }
        });
        assert!(child.ended_well(), "{free} descriptors");
        *if signatures(&is_made) == 0 { &mut failed } else { &mut made } += 1;
        name.clear();
    }
    assert!(failed >= 2 && made >= 2, "{failed} failed, {made} did not: the numbers miss the point");
}

#[test]
fn a_limit_of_file_sizes_is_an_error_and_not_the_death_of_the_process() {
    let name = Name::new("fsize");
    let size = small().geometry().unwrap().check().unwrap().end as u64;
    for (limit, fits) in [(0, false), (8, false), (size - 1, false), (size, true)] {
        name.clear();
        let child = Child::fork_amid_threads(|| {
            let limits = rustix::process::Rlimit { current: Some(limit), maximum: Some(limit) };
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limits).unwrap();
            let refused = |made: Result<Segment>| match made {
                Ok(_) => fits,
                Err(error) => {
                    let &Cause::FileLimit { limit: found, size: wanted, .. } = error.cause() else { panic!("{error}") };
                    !fits && (found, wanted) == (limit, size) && says(&error, &["RLIMIT_FSIZE", "ulimit -f"])
                }
            };
            assert!(refused(Segment::anonymous(&small())) && refused(Segment::create(&name, &small())));
            name.exists() == fits
        });
        assert!(child.ended_well(), "limit {limit}");
    }
    // A finished segment is opened whatever the limit is. A file that another process has begun stays as it was.
    let begun = Name::new("fsize-begun");
    begun.write(&FORMING.to_ne_bytes());
    let child = Child::fork_amid_threads(|| {
        let limits = rustix::process::Rlimit { current: Some(8), maximum: Some(8) };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limits).unwrap();
        assert_error!(Segment::open_or_create(&begun, &small()), Cause::FileLimit { limit: 8, .. });
        begun.exists() && sign(&Segment::open_or_create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn a_limit_of_address_space_is_an_error_that_leaves_nothing_behind() {
    let name = Name::new("as");
    let child = Child::fork_amid_threads(|| {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        let most = (pages + 64) * 4096;
        let limits = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(rustix::process::Resource::As, limits).unwrap();
        let error = Segment::create(&name, &SegmentOptions::new()).unwrap_err();
        let refused = |source: &io::Error| source.raw_os_error() == Some(libc::ENOMEM);
        assert_error!(Err::<Segment, _>(error), Cause::System { call: "mmap", source, .. } if refused(source));
        !name.exists()
    });
    assert!(child.ended_well());
}

/// Makes every `fallocate` of more than `longest` bytes fail in the calling process as if a signal had interrupted it.
/// For a forked child. Current kernels react to fatal signals only; older kernels react to all signals. Returns `false`
/// if that is not permitted.
fn interrupt_allocations(longest: u32) -> bool {
    const NUMBER: u32 = 0;
    /// The lower half of the fourth argument, the length.
    const LEN: u32 = 16 + 3 * 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, libc::SYS_fallocate as u32),
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, LEN),
        step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, longest),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINTR as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: both calls read what they are given, which outlives them; they only affect this child.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    };
    if !done {
        eprintln!("skipped: no seccomp here: {}", io::Error::last_os_error());
    }
    done
}

#[test]
fn g6_a_creation_that_is_interrupted_again_and_again_ends_with_its_timeout() {
    let name = Name::new("interrupted");
    let child = Child::fork_amid_threads(|| {
        if !interrupt_allocations(0) {
            return true;
        }
        for timeout in [Duration::ZERO, Duration::from_millis(300)] {
            let options = small().creation_timeout(timeout);
            for error in [Segment::create(&name, &options).unwrap_err(), Segment::anonymous(&options).unwrap_err()] {
                assert!(says(&error, &["signals interrupted", "times within"]));
                assert_error!(
                    Err::<Segment, _>(error),
                    Cause::Interrupted { times, waited, .. } if *times > 1 && *waited >= timeout
                );
                assert!(!name.exists(), "left behind");
            }
        }
        true
    });
    assert!(child.ended_well());
}

#[test]
fn g6_a_segment_is_made_although_signals_come_faster_than_its_memory() {
    let name = Name::new("signals");
    let child = Child::fork_amid_threads(|| {
        // Larger than one allocation step.
        let large = SegmentOptions::new().capacity(1 << 16).creation_timeout(HOUR);
        !interrupt_allocations(LEAST_ALLOCATION_STEP as u32) || sign(&Segment::create(&name, &large).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn without_a_directory_of_shared_memory_the_error_says_so() {
    let name = Name::new("no-shm");
    let child = Child::fork_amid_threads(|| {
        // An empty /dev, as in a minimal root file system.
        if !mount_own(c"/dev", c"size=64k") {
            return true;
        }
        let missing = |error: Error| {
            matches!(error.cause(), Cause::NoSharedMemory { .. })
                && says(&error, &["there is no /dev/shm", "mount -t tmpfs"])
        };
        let all_missing = || {
            [Segment::create, Segment::open_or_create, Segment::open, Segment::read_only]
                .into_iter()
                .all(|call| missing(call(&name, &small()).unwrap_err()))
                && missing(unlink(&name).unwrap_err())
                && missing(file_of(&name).unwrap_err())
        };
        assert!(all_missing());
        std::fs::write("/dev/shm", []).unwrap();
        let is_a_file = |error: Error| says(&error, &["/dev/shm is not a directory"]);
        assert!(is_a_file(Segment::create(&name, &small()).unwrap_err()));
        assert!(is_a_file(Segment::open(&name, &small()).unwrap_err()));
        // An anonymous segment does not need the directory.
        sign(&Segment::anonymous(&small()).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn after_chroot_the_error_says_what_is_missing() {
    if !is_root() {
        return;
    }
    let name = Name::new("chroot");
    let segment = Segment::create(&name, &small()).unwrap();
    let root = std::env::temp_dir().join(format!("seqcast-test-chroot-{}", sys::pid()));
    std::fs::create_dir_all(&root).unwrap();
    let child = Child::fork_amid_threads(|| {
        let lock = segment.take_any().unwrap();
        std::os::unix::fs::chroot(&root).unwrap();
        std::env::set_current_dir("/").unwrap();
        for error in [
            Segment::open(&name, &small()).unwrap_err(),
            Segment::create(&name, &small()).unwrap_err(),
            segment.own_description().unwrap_err(),
        ] {
            assert!(says(&error, &["chroot"]));
            assert_error!(Err::<Segment, _>(error), Cause::NoSharedMemory { .. });
        }
        // A worker that has joined before continues.
        lock.is_some() && sign(&segment)
    });
    let good = child.ended_well();
    std::fs::remove_dir(&root).unwrap();
    assert!(good);
    assert_eq!(signatures(&segment), 1);
}

#[test]
fn a_ramfs_is_refused_since_it_cannot_set_memory_aside() {
    let name = Name::new("ramfs");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=64k") {
            return true;
        }
        // SAFETY: a system call on C strings.
        let mounted = unsafe {
            libc::mount(c"ramfs".as_ptr(), c"/dev/shm".as_ptr(), c"ramfs".as_ptr(), 0, std::ptr::null()) == 0
        };
        if !mounted {
            eprintln!("skipped: no ramfs here: {}", io::Error::last_os_error());
            return true;
        }
        let refused = |error: Error| {
            matches!(error.cause(), Cause::NoSharedMemory { .. })
                && says(&error, &["cannot allocate memory in advance", "ramfs"])
        };
        assert!(refused(Segment::create(&name, &small()).unwrap_err()));
        assert!(!name.exists(), "left behind");
        let mut begun = FORMING.to_ne_bytes().to_vec();
        begun.resize(1 << 16, 1);
        name.write(&begun);
        refused(Segment::open_or_create(&name, &small()).unwrap_err())
    });
    assert!(child.ended_well());
}

#[test]
fn without_inodes_the_error_says_so_and_not_that_there_is_no_space() {
    let name = Name::new("inodes");
    let child = Child::fork_amid_threads(|| {
        // One inode is that of the directory.
        if !mount_own(c"/dev/shm", c"size=64m,nr_inodes=3") {
            return true;
        }
        for filler in ["/filler-1", "/filler-2"] {
            std::fs::write(path(filler), []).unwrap();
        }
        let error = Segment::create(&name, &small()).unwrap_err();
        assert!(says(&error, &["room for 3 files", "nr_inodes"]));
        assert_error!(Err::<Segment, _>(error), Cause::NoInodes { inodes: 3, .. });
        std::fs::remove_file(path("/filler-1")).unwrap();
        sign(&Segment::create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn a_read_only_dev_shm_can_be_looked_at_and_the_error_says_why_no_more() {
    let name = Name::new("rofs");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=64m") {
            return true;
        }
        let made = Segment::create(&name, &small()).unwrap();
        sign(&made);
        drop(made);
        let (none, flags) = (std::ptr::null(), libc::MS_REMOUNT | libc::MS_RDONLY);
        // SAFETY: a system call on C strings.
        let remounted = unsafe { libc::mount(none, c"/dev/shm".as_ptr(), none, flags, none.cast()) };
        assert_eq!(remounted, 0, "{}", io::Error::last_os_error());
        let other = Name("/seqcast-test-rofs-other".to_owned());
        for error in [
            Segment::create(&other, &small()).unwrap_err(),
            Segment::open(&name, &small()).unwrap_err(),
            Segment::open_or_create(&name, &small()).unwrap_err(),
            unlink(&name).unwrap_err(),
        ] {
            assert!(says(&error, &["remount,rw"]));
            assert_error!(Err::<Segment, _>(error), Cause::ReadOnly { .. });
        }
        signatures(&Segment::read_only(&name, &small()).unwrap()) == 1
    });
    assert!(child.ended_well());
}

#[test]
fn a_directory_that_this_user_may_not_write_to_is_told_with_its_mode() {
    if !is_root() {
        return;
    }
    let name = Name::new("directory");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=1m,mode=0755") {
            return true;
        }
        drop_privileges();
        let error = Segment::create(&name, &small()).unwrap_err();
        assert!(says(&error, &["user 65534 may not make files in /dev/shm, which has mode 0755", "mode=1777"]));
        matches!(error.cause(), Cause::NoSharedMemory { .. }) && !name.exists()
    });
    assert!(child.ended_well());
}

#[test]
fn a_control_group_that_has_less_left_is_an_error_and_not_the_oom_killer() {
    let name = Name::new("cgroup");
    let size = small().geometry().unwrap().check().unwrap().end as u64;
    let child = Child::fork_amid_threads(|| {
        // A /proc with only a group of this test, so that the host's groups are not changed.
        if !mount_own(c"/proc", c"size=1m") {
            return true;
        }
        let set = |limit: &str| std::fs::write("/proc/groups/all/memory.max", limit).unwrap();
        for directory in ["/proc/self", "/proc/groups/all/one"] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write("/proc/self/cgroup", "0::/all/one\n").unwrap();
        std::fs::write("/proc/self/mountinfo", "9 1 0:9 / /proc/groups rw - cgroup2 cgroup2 rw\n").unwrap();
        std::fs::write("/proc/groups/all/memory.current", "4096\n").unwrap();
        set(&size.to_string());
        for error in [Segment::create(&name, &small()).unwrap_err(), Segment::anonymous(&small()).unwrap_err()] {
            assert!(says(&error, &["in /proc/groups/all/memory.max", "MemoryMax="]));
            assert_error!(
                Err::<Segment, _>(error),
                Cause::MemoryLimit { size: needs, left, limit, .. }
                    if (*needs, *left, *limit) == (size, size - 4096, size)
            );
            assert!(!name.exists(), "left behind");
        }
        set(&(size + 4096).to_string());
        assert!(sign(&Segment::create(&name, &small()).unwrap()));
        name.clear();
        set("max");
        sign(&Segment::create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}
