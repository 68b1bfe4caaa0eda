//! What the host refuses, forbids or lacks, and what a stranger sees meanwhile.

use super::*;

/// Another group than the one of whoever runs the tests.
const NOGROUP: u32 = 65_534;

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: it needs root");
    }
    root
}

/// The file under the name, if there is one.
fn metadata(name: &str) -> Option<std::fs::Metadata> {
    std::fs::symlink_metadata(path(name)).ok()
}

/// Steps a child that does `body` through all its system calls, and looks after and before each of them.
fn look_at_every_system_call(body: impl FnOnce() -> bool, mut look: impl FnMut(usize)) -> usize {
    let mut stepped = Stepped::spawn(body);
    for stop in 1.. {
        stepped = match stepped.advance(1) {
            Ok(stepped) => stepped,
            Err(good) => {
                assert!(good, "the child failed");
                return stop - 1;
            }
        };
        look(stop);
    }
    unreachable!()
}

#[test]
fn a_new_file_is_never_open_to_a_group_that_it_does_not_stay_with() {
    if !is_root() {
        return;
    }
    let name = Name::new("fchown");
    let given = small().mode(0o660).owner(NOBODY, NOGROUP);
    // Also one that a dead creator left, open to its own group.
    for left in [None, Some(FORMING.to_ne_bytes())] {
        name.clear();
        if let Some(bytes) = left {
            name.write(&bytes);
            std::fs::set_permissions(path(&name), Permissions::from_mode(0o660)).unwrap();
        }
        let (mut looks, mut begun) = (0, left.is_none());
        look_at_every_system_call(
            || Segment::open_or_create(&name, &given).is_ok(),
            |stop| {
                let Some(file) = metadata(&name) else { return };
                begun |= file.mode() & 0o777 != 0o660;
                if begun && file.gid() != NOGROUP {
                    looks += 1;
                    assert_eq!(file.mode() & 0o077, 0, "stop {stop}: mode {:o}, group {}", file.mode(), file.gid());
                }
            },
        );
        let file = metadata(&name).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (NOBODY, NOGROUP, 0o660));
        assert!(looks > 0, "nothing was seen on the way");
    }
}

#[test]
fn root_without_the_right_to_others_modes_gives_a_segment_away() {
    const CAP_FOWNER: u32 = 3;
    if !is_root() {
        return;
    }
    let name = Name::new("fowner");
    let child = Child::spawn(|| {
        let caps = |set| rustix::thread::CapabilitySet::from_bits_retain(set);
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective = caps(sets.effective.bits() & !(1 << CAP_FOWNER));
        rustix::thread::set_capabilities(None, sets).unwrap();
        drop(Segment::create(&name, &small().mode(0o660).owner(NOBODY, NOGROUP)).unwrap());
        true
    });
    assert!(child.ended_well());
    let file = metadata(&name).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (NOBODY, NOGROUP, 0o660));
}

#[test]
fn g7_a_umask_that_forbids_all_leaves_no_file_that_its_owner_cannot_open() {
    if !is_root() {
        return;
    }
    let name = Name::new("umask");
    for umask in [0o277, 0o777] {
        name.clear();
        let create = || {
            // Root may open what it likes.
            drop_privileges();
            // SAFETY: a system call without pointers.
            unsafe { libc::umask(umask) };
            Segment::create(&name, &small()).is_ok()
        };
        // Killed at any of these stops it would leave the file as it is then.
        look_at_every_system_call(create, |stop| {
            let mode = metadata(&name).map_or(0o600, |file| file.mode() & 0o7777);
            assert_eq!(mode, 0o600, "umask {umask:o}, stop {stop}");
        });
        assert_eq!(metadata(&name).unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn without_proc_a_segment_is_made_under_any_umask() {
    let name = Name::new("umask-no-proc");
    let child = Child::spawn(|| {
        if !mount_own(c"/proc", c"size=64k") {
            return true;
        }
        // SAFETY: a system call without pointers.
        unsafe { libc::umask(0o777) };
        sign(&Segment::create(&name, &small()).unwrap()) && metadata(&name).unwrap().mode() & 0o7777 == 0o600
    });
    assert!(child.ended_well());
}

/// Lets the calling process, a forked child, open no more than `free` descriptors.
fn leave_descriptors(free: usize) {
    let most = 256;
    let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let open = || fs::open("/dev/null", OFlags::RDONLY, Mode::empty());
    let mut opened: Vec<OwnedFd> = std::iter::from_fn(|| open().ok()).collect();
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
        let child = Child::spawn(|| {
            leave_descriptors(free);
            match Segment::create(&name, &small()) {
                Ok(segment) => sign(&segment) && sign(&is_made),
                Err(Error::System { source, call, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{call}");
                    assert!(!name.exists(), "{call} failed with {free} descriptors and left a file");
                    true
                }
                Err(error) => panic!("{error}"),
            }
        });
        assert!(child.ended_well(), "{free} descriptors");
        *if signatures(&is_made) == 0 { &mut failed } else { &mut made } += 1;
        name.clear();
    }
    assert!(failed >= 2 && made >= 2, "{failed} failed, {made} did not: the numbers miss the point");
}

#[test]
fn g7_a_file_that_another_creator_has_begun_with_is_not_given_up() {
    let name = Name::new("given-up");
    let gun = Segment::anonymous(&small()).unwrap();
    name.write(&[]);
    let other = lock_holder(&name, &gun, || true);
    // As if this call had made it, and cannot get the lock in time.
    let child = Child::spawn(|| {
        let options = impatient();
        let call = Call::new(&name, &options, Intent::Create).unwrap();
        call.give_up(&OwnedFd::from(name.file()));
        name.exists()
    });
    assert!(child.ended_well(), "removed under another creator's hands");
    sign(&gun);
    assert!(other.ended_well());
    let child = Child::spawn(|| {
        let options = impatient();
        let call = Call::new(&name, &options, Intent::Create).unwrap();
        call.give_up(&OwnedFd::from(name.file()));
        !name.exists()
    });
    assert!(child.ended_well(), "left behind");
    drop(Segment::create(&name, &small()).unwrap());
    let options = small();
    Call::new(&name, &options, Intent::Create).unwrap().give_up(&OwnedFd::from(name.file()));
    assert!(name.exists(), "a finished segment was removed");
}
