//! Concurrent creators and openers that are killed or stopped.

use super::*;

#[test]
fn what_a_dead_creator_left_is_finished_by_the_next() {
    let name = Name::new("half-made");
    let forming = FORMING.to_ne_bytes();
    let mut with_rubbish = forming.to_vec();
    with_rubbish.resize(1 << 20, 0xa5);
    for left in [&[][..], &forming, &with_rubbish] {
        for make in [Segment::create, Segment::open_or_create] {
            name.clear();
            name.write(left);
            assert_error!(Segment::open(&name, &small()), Cause::Unfinished { .. });
            assert_error!(Segment::read_only(&name, &small()), Cause::Unfinished { .. });
            let made = make(&name, &small()).unwrap();
            assert!(made.was_created() && signatures(&made) == 0 && is_new_or_signed(&made));
            assert!(sign(&Segment::open(&name, &small()).unwrap()));
            assert_eq!(signatures(&made), 1);
        }
        name.clear();
        name.write(left);
        unlink(&name).unwrap();
        assert!(!name.exists());
    }
}

#[test]
fn g7_a_creator_killed_at_any_system_call_blocks_nobody() {
    let name = Name::new("killed");
    let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
    let kill = |stops, stepped: Traced| {
        drop(stepped);
        let next =
            Segment::open_or_create(&name, &impatient()).unwrap_or_else(|error| panic!("{error} after {stops} stops"));
        let signed = signatures(&next);
        assert!(signed <= 1 && is_new_or_signed(&next), "{stops} stops");
        assert!(signed == 0 || !next.was_created(), "{stops} stops");
    };
    let stops = at_every_system_call(create, kill, || name.clear());
    assert!(stops > 40, "only {stops} stops");
}

#[test]
fn g7_a_creator_killed_at_any_moment_blocks_nobody() {
    let name = Name::new("killed-anytime");
    let options = SegmentOptions::new().creation_timeout(Duration::from_secs(10));
    let (mut finished, mut unfinished) = (0, 0);
    for round in 0..150_u64 {
        name.clear();
        let child = Child::fork_amid_threads(|| Segment::open_or_create(&name, &options).is_ok());
        std::thread::sleep(Duration::from_micros(round * 97 % 6000));
        drop(child);
        let next = Segment::open_or_create(&name, &options).unwrap();
        assert!(is_new_or_signed(&next));
        *if next.was_created() { &mut unfinished } else { &mut finished } += 1;
    }
    assert!(finished > 0 && unfinished > 0, "{finished} finished, {unfinished} not: the delays miss the point");
}

#[test]
fn g8_a_creator_stopped_at_any_system_call_ends_on_the_same_segment() {
    let name = Name::new("stopped");
    let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
    let (mut busy, mut came) = (0, 0);
    let other_comes = |stops, stepped: Traced| {
        let other = match Segment::open_or_create(&name, &impatient()) {
            Ok(segment) => Some(segment),
            Err(error) if error.kind() == crate::error::ErrorKind::Busy => {
                assert!(matches!(error.cause(), Cause::Busy { waited, .. } if *waited >= Duration::from_millis(20)));
                assert_error!(Segment::open(&name, &impatient()), Cause::Busy { .. });
                None
            }
            Err(error) => panic!("{error} after {stops} stops"),
        };
        assert!(stepped.ended_well(), "{stops} stops");
        let after = Segment::open(&name, &small()).unwrap();
        assert!(signatures(&after) == 1 && is_new_or_signed(&after), "{stops} stops");
        match other {
            Some(other) => came += usize::from(other.inode() == after.inode()),
            None => busy += 1,
        }
    };
    let stops = at_every_system_call(create, other_comes, || name.clear());
    assert_eq!(came + busy, stops, "some ended on another segment");
    assert!(came > 10 && busy > 10, "{came} came, {busy} busy");
}

#[test]
fn a_creator_whose_name_is_given_away_ends_on_the_new_segment() {
    let name = Name::new("given-away");
    let create = || sign(&Segment::open_or_create(&name, &small()).unwrap());
    let replace = |stops, stepped: Traced| {
        let done = name.exists() && FileState::of(&name, &descriptor(name.file())).unwrap() == FileState::Finished;
        name.clear();
        let new = Segment::create(&name, &impatient()).unwrap();
        sign(&new);
        assert!(stepped.ended_well(), "{stops} stops");
        let signed = signatures(&new);
        assert!(signed == 2 || done && signed == 1, "{stops} stops: signed {signed} times");
        let key = [0, 1].map(|word| new.header().at(header_word!(hash_key) + word).load(Ordering::Relaxed));
        assert!(
            UniqueHash::new(key) == *new.unique_hash() && is_new_or_signed(&new),
            "{stops} stops: formatted what is not its own"
        );
    };
    at_every_system_call(create, replace, || name.clear());
}

#[test]
fn two_creators_and_an_opener_at_once_end_on_one_segment() {
    let name = Name::new("at-once");
    for round in 0..200 {
        name.clear();
        let gun = Segment::anonymous(&small()).unwrap();
        let meet = || {
            sign(&gun);
            while signatures(&gun) < 3 {
                std::hint::spin_loop();
            }
        };
        let creator = || {
            meet();
            sign(&Segment::open_or_create(&name, &small()).unwrap())
        };
        let opener = || {
            meet();
            loop {
                match Segment::open(&name, &small()) {
                    Ok(segment) => return sign(&segment),
                    Err(error) if matches!(error.cause(), Cause::NotFound { .. } | Cause::Unfinished { .. }) => {
                        std::thread::yield_now()
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let children =
            [Child::fork_amid_threads(creator), Child::fork_amid_threads(opener), Child::fork_amid_threads(creator)];
        assert!(children.into_iter().all(Child::ended_well), "round {round}");
        assert_eq!(signatures(&Segment::open(&name, &small()).unwrap()), 3, "round {round}");
    }
}

#[test]
fn of_two_creators_one_is_told_that_it_exists() {
    let name = Name::new("create-twice");
    for round in 0..100 {
        name.clear();
        let ledger = Segment::anonymous(&small()).unwrap();
        let create = || match Segment::create(&name, &small()) {
            Ok(_) => sign(&ledger),
            Err(error) if matches!(error.cause(), Cause::Exists { .. }) => true,
            Err(error) => panic!("{error}"),
        };
        let children = [Child::fork_amid_threads(create), Child::fork_amid_threads(create)];
        assert!(children.into_iter().all(Child::ended_well), "round {round}");
        assert_eq!(signatures(&ledger), 1, "round {round}");
    }
}

#[test]
fn a_name_removed_again_and_again_fails_nobody() {
    let name = Name::new("removed");
    let come = || (0..300).all(|_| sign(&Segment::open_or_create(&name, &small()).unwrap()));
    let remover = Child::fork_amid_threads(|| {
        loop {
            name.clear();
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    let children = [Child::fork_amid_threads(come), Child::fork_amid_threads(come)];
    assert!(children.into_iter().all(Child::ended_well));
    drop(remover);
}

#[test]
fn g6_a_stopped_creator_costs_the_timeout_and_a_dead_one_nothing() {
    let name = Name::new("busy");
    name.write(&[]);
    let gun = Segment::anonymous(&small()).unwrap();
    let creator = lock_holder(&name, &gun, || true);
    creator.signal(libc::SIGSTOP);
    let start = Instant::now();
    for call in [Segment::create, Segment::open_or_create, Segment::open, Segment::read_only] {
        assert_error!(call(&name, &impatient()), Cause::Busy { .. });
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(5), "{took:?}");
    creator.signal(libc::SIGKILL);
    creator.await_zombie();
    assert!(Segment::create(&name, &impatient()).unwrap().was_created());
}

#[test]
fn an_opener_that_waits_ends_on_what_took_the_name_meanwhile() {
    let name = Name::new("waits");
    name.write(&[]);
    let gun = Segment::anonymous(&small()).unwrap();
    let holder = lock_holder(&name, &gun, || {
        name.clear();
        Segment::create(&name, &small()).is_ok()
    });
    let opener = Child::fork_amid_threads(|| {
        sign(&gun);
        // An opener gets one of these errors if it comes before the new file, or between its creation and its lock.
        let open = || match Segment::open(&name, &small()) {
            Err(error) if matches!(error.cause(), Cause::Unfinished { .. } | Cause::NotFound { .. }) => None,
            opened => Some(opened.unwrap()),
        };
        sign(&std::iter::repeat_with(open).find_map(|opened| opened).unwrap())
    });
    assert!(opener.ended_well() && holder.ended_well());
}

#[test]
fn an_opener_that_waits_sees_the_end_of_the_creation() {
    let name = Name::new("sees");
    for stops in 1..60 {
        name.clear();
        name.write(&[]);
        let gun = Segment::anonymous(&small()).unwrap();
        let holder = lock_holder(&name, &gun, || {
            let file = descriptor(name.file());
            let options = small();
            Draft::new(&name, &options, Instant::now()).unwrap().form(&file).unwrap().is_some()
        });
        let opener =
            Traced::fork_amid_threads(|| sign(&Segment::open(&name, &small()).unwrap())).system_calls(stops).unwrap();
        sign(&gun);
        assert!(holder.ended_well());
        assert!(opener.ended_well(), "{stops} stops");
    }
}

#[test]
fn g6_a_stopped_opener_holds_up_no_creator() {
    let name = Name::new("stopped-opener");
    let open = || {
        matches!(
            Segment::open(&name, &small()).as_ref().map_err(|error| error.cause()),
            Ok(_) | Err(Cause::Unfinished { .. })
        )
    };
    let create = |stops, stepped: Traced| {
        assert!(Segment::create(&name, &impatient()).is_ok(), "{stops} stops");
        assert!(stepped.ended_well(), "{stops} stops");
    };
    let before = || {
        name.clear();
        name.write(&[]);
    };
    at_every_system_call(open, create, before);
}

#[test]
fn a_child_forked_off_during_creation_does_not_keep_the_lock() {
    let name = Name::new("forked-creation");
    name.write(&[]);
    let options = small();
    let call = Call::new(&name, &options, Intent::Create).unwrap();
    let found = call.open_or_make().unwrap().unwrap();
    let lock = call.lock_creation(&found.file).unwrap();
    let idler = Child::fork_amid_threads(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    drop(lock);
    assert!(Segment::create(&name, &impatient()).is_ok());
    drop(idler);
}

#[test]
fn g7_a_file_that_another_creator_has_begun_with_is_not_given_up() {
    let name = Name::new("given-up");
    let gun = Segment::anonymous(&small()).unwrap();
    name.write(&[]);
    let other = lock_holder(&name, &gun, || true);
    // As if this call had created the file and cannot get the lock in time.
    let child = Child::fork_amid_threads(|| {
        let options = impatient();
        let call = Call::new(&name, &options, Intent::Create).unwrap();
        call.give_up(&descriptor(name.file()));
        name.exists()
    });
    assert!(child.ended_well(), "removed under another creator's hands");
    sign(&gun);
    assert!(other.ended_well());
    let child = Child::fork_amid_threads(|| {
        let options = impatient();
        let call = Call::new(&name, &options, Intent::Create).unwrap();
        call.give_up(&descriptor(name.file()));
        !name.exists()
    });
    assert!(child.ended_well(), "left behind");
    drop(Segment::create(&name, &small()).unwrap());
    let options = small();
    Call::new(&name, &options, Intent::Create).unwrap().give_up(&descriptor(name.file()));
    assert!(name.exists(), "a finished segment was removed");
}

#[test]
fn allocating_gives_a_file_all_of_its_memory_and_never_shrinks_it() {
    // Larger than one allocation step.
    let options = SegmentOptions::new().capacity(65_536);
    let draft = Draft::new(ANONYMOUS, &options, Instant::now()).unwrap();
    let end = draft.regions.end as u64;
    for size_before in [0, 8, end, end + 4096] {
        let file = anonymous_file().unwrap();
        fs::ftruncate(&file, size_before).unwrap();
        draft.allocate(&file).unwrap();
        assert_eq!(file_size(ANONYMOUS, &file).unwrap(), end.max(size_before));
        let given = allocated_bytes(ANONYMOUS, &file).unwrap();
        assert!((end..end + 8192).contains(&given), "{given} bytes of {end}, from {size_before}");
    }
}

#[test]
fn wiping_leaves_the_first_word_and_the_size() {
    let options = small();
    let draft = Draft::new(ANONYMOUS, &options, Instant::now()).unwrap();
    for size in [4, 8, 9, 3 * 4096 + 5] {
        let file = File::from(anonymous_file().unwrap().as_fd().try_clone_to_owned().unwrap());
        file.write_all_at(&vec![7; size], 0).unwrap();
        let file = descriptor(file);
        draft.wipe(&file).unwrap();
        let mut bytes = vec![1; size];
        File::from(file.as_fd().try_clone_to_owned().unwrap()).read_exact_at(&mut bytes, 0).unwrap();
        let kept = size.min(8);
        assert!(bytes[..kept].iter().all(|&byte| byte == 7) && bytes[kept..].iter().all(|&byte| byte == 0), "{size}");
        assert_eq!(file_size(ANONYMOUS, &file).unwrap(), size as u64);
    }
}
