//! Modes, owners and privileges.

use super::*;

#[test]
fn a_wider_mode_or_another_owner_is_refused() {
    let name = Name::new("mode");
    let group = small().mode(0o660);
    drop(Segment::create(&name, &group).unwrap());
    assert_eq!(std::fs::metadata(path(&name)).unwrap().mode() & 0o7777, 0o660, "whatever the umask is");
    assert_error!(Segment::open(&name, &small()), Cause::Mode { found: 0o660, accepted: 0o600, .. });
    assert!(Segment::open(&name, &group).is_ok());
    if rustix::process::geteuid().as_raw() != 0 {
        return println!("skipped the rest: giving files away needs root");
    }
    std::os::unix::fs::chown(path(&name), Some(NOBODY), None).unwrap();
    assert_error!(Segment::open(&name, &group), Cause::Owner { found: NOBODY, accepted, .. } if *accepted == [0]);
    assert_error!(Segment::open_or_create(&name, &group), Cause::Owner { .. });
    assert!(Segment::open_or_create(&name, &group.clone().owner(NOBODY, NOBODY)).is_ok());
}

#[test]
fn workers_that_drop_their_privileges_need_the_owner_option() {
    if rustix::process::geteuid().as_raw() != 0 {
        return println!("skipped: dropping privileges needs root");
    }
    let name = Name::new("privileges");
    let roots = Segment::create(&name, &small()).unwrap();
    let refused = Child::fork_amid_threads(|| {
        drop_privileges();
        let denied = |error: Option<Error>| {
            matches!(error.as_ref().map(|error| error.cause()), Some(Cause::Denied { uid: NOBODY, .. }))
        };
        denied(Segment::open_or_create(&name, &small()).err())
            && denied(roots.own_description().err())
            && denied(roots.unlink().err())
    });
    assert!(refused.ended_well());
    unlink(&name).unwrap();

    let given = small().owner(NOBODY, NOBODY);
    let roots = Segment::create(&name, &given).unwrap();
    let accepted = Child::fork_amid_threads(|| {
        drop_privileges();
        sign(&Segment::open_or_create(&name, &given).unwrap()) && roots.take_any().unwrap().is_some()
    });
    assert!(accepted.ended_well());
    assert_eq!(signatures(&roots), 1);
}

#[test]
fn giving_a_segment_away_without_the_right_to_leaves_nothing_behind() {
    if rustix::process::geteuid().as_raw() != 0 {
        return println!("skipped: dropping privileges needs root");
    }
    let name = Name::new("give-away");
    let refused = Child::fork_amid_threads(|| {
        drop_privileges();
        let error = Segment::create(&name, &small().owner(0, 0)).unwrap_err();
        matches!(error.cause(), Cause::System { call: "fchown", .. })
            && error.to_string().contains(".owner()")
            && !name.exists()
    });
    assert!(refused.ended_well());
}

#[test]
fn a_new_file_is_never_open_to_a_group_that_it_does_not_stay_with() {
    if !is_root() {
        return;
    }
    let name = Name::new("fchown");
    let given = small().mode(0o660).owner(NOBODY, NOGROUP);
    // Also a file that a dead creator left with access for its own group.
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
    let child = Child::fork_amid_threads(|| {
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
            // Root may open every file.
            drop_privileges();
            // SAFETY: a system call without pointers.
            unsafe { libc::umask(umask) };
            Segment::create(&name, &small()).is_ok()
        };
        // A creator that is killed at one of these stops leaves the file in this state.
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
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/proc", c"size=64k") {
            return true;
        }
        // SAFETY: a system call without pointers.
        unsafe { libc::umask(0o777) };
        sign(&Segment::create(&name, &small()).unwrap()) && metadata(&name).unwrap().mode() & 0o7777 == 0o600
    });
    assert!(child.ended_well());
}
