//! Which files are opened, and which are refused.

use super::*;

#[test]
fn create_then_open_is_the_same_segment() {
    let name = Name::new("create");
    assert_error!(Segment::open(&name, &small()), Cause::NotFound { .. });
    assert_error!(Segment::read_only(&name, &small()), Cause::NotFound { .. });
    assert_error!(unlink(&name), Cause::NotFound { .. });
    let made = Segment::create(&name, &small()).unwrap();
    assert_error!(Segment::create(&name, &small()), Cause::Exists { .. });
    // Without the slash, and with other sizes: an existing segment keeps its own.
    let opened = Segment::open(&name[1..], &SegmentOptions::new()).unwrap();
    let again = Segment::open_or_create(&name, &SegmentOptions::new()).unwrap();
    let inspected = Segment::read_only(&name, &SegmentOptions::new()).unwrap();
    assert!(made.was_created() && is_new_or_signed(&made));
    for other in [&opened, &again, &inspected] {
        assert!(!other.was_created());
        assert_eq!(other.name(), made.name());
        assert_eq!(other.geometry(), made.geometry());
        assert_eq!(other.unique_hash(), made.unique_hash());
        assert_eq!(other.inode(), made.inode());
        assert_eq!(signatures(other), 0);
    }
    assert!(sign(&made));
    assert!([&opened, &again, &inspected].into_iter().all(|other| signatures(other) == 1));
    assert_eq!(std::fs::metadata(path(&name)).unwrap().mode() & 0o7777, 0o600);
    let creator = made.header().at(header_word!(creator_pid)).load(Ordering::Relaxed);
    assert_eq!(creator, u64::from(sys::pid()));
}

#[test]
fn two_segments_have_different_keys() {
    let (one, two) = (Name::new("key-1"), Name::new("key-2"));
    let hash = |name: &str| *Segment::create(name, &small()).unwrap().unique_hash();
    assert_ne!(hash(&one), hash(&two));
    // All random words are set, and they differ.
    let segment = Segment::anonymous(&small()).unwrap();
    let random: HashSet<u64> = [header_word!(nonce), header_word!(boot_id), header_word!(hash_key)]
        .iter()
        .flat_map(|&word| [word, word + 1].map(|word| segment.header().at(word).load(Ordering::Relaxed)))
        .collect();
    assert!(random.len() == 6 && !random.contains(&0), "{random:x?}");
}

#[test]
fn all_of_the_memory_is_there_from_the_beginning() {
    let name = Name::new("allocated");
    let segment = Segment::create(&name, &SegmentOptions::new()).unwrap();
    let stat = std::fs::metadata(path(&name)).unwrap();
    assert!(stat.blocks() * 512 >= segment.size() as u64, "{} blocks", stat.blocks());
}

#[test]
fn what_seqcast_did_not_make_is_left_alone() {
    let name = Name::new("foreign");
    let refused = || {
        assert_error!(Segment::create(&name, &small()), Cause::Foreign { .. });
        assert_error!(Segment::open(&name, &small()), Cause::Foreign { .. });
        assert_error!(Segment::open_or_create(&name, &small()), Cause::Foreign { .. });
        assert_error!(Segment::read_only(&name, &small()), Cause::Foreign { .. });
        assert_error!(unlink(&name), Cause::Foreign { .. });
    };
    for bytes in [&b"x"[..], b"1234567", b"somebody's bytes", &[0; 8], &[0; 1 << 20]] {
        name.write(bytes);
        refused();
        assert_eq!(std::fs::read(path(&name)).unwrap(), bytes, "changed");
    }
    name.clear();
    std::fs::create_dir(path(&name)).unwrap();
    refused();
    name.clear();
    // A link, even to a good segment.
    let elsewhere = Name::new("foreign-target");
    drop(Segment::create(&elsewhere, &small()).unwrap());
    std::os::unix::fs::symlink(path(&elsewhere), path(&name)).unwrap();
    refused();
    name.clear();
    // A pipe, on which an open without O_NONBLOCK would wait.
    let path = std::ffi::CString::new(path(&name)).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    refused();
}

#[test]
fn a_segment_cut_off_is_refused_before_it_is_mapped() {
    let name = Name::new("truncated");
    let size = Segment::create(&name, &small()).unwrap().size() as u64;
    let header = HEADER_BYTES as u64;
    for (cut, least) in [(size - 1, size), (size / 2, size), (header, size), (header - 1, header), (8, header)] {
        name.file().set_len(cut).unwrap();
        let is_this = |size: u64, expected: u64| (size, expected) == (cut, least);
        for refused in [
            Segment::open(&name, &small()),
            Segment::open_or_create(&name, &small()),
            Segment::read_only(&name, &small()),
        ] {
            assert_error!(refused, Cause::Truncated { size, expected, .. } if is_this(*size, *expected), "{cut}");
        }
    }
    unlink(&name).unwrap();
}

#[test]
fn other_builds_and_boots_are_told_apart() {
    let name = Name::new("builds");
    let made = Segment::create(&name, &small()).unwrap();
    let open = || Segment::open(&name, &small());

    name.set_word(header_word!(magic), magic() - 1);
    assert_error!(open(), Cause::Layout { found, expected, .. } if *found == expected - 1);
    assert_error!(Segment::create(&name, &small()), Cause::Layout { .. });
    name.set_word(header_word!(magic), magic());

    name.set_word(header_word!(fingerprint), 7);
    assert_error!(open(), Cause::Fingerprint { found: 7, expected, .. } if *expected == fingerprint());
    name.set_word(header_word!(fingerprint), fingerprint());

    name.set_word(header_word!(boot_id), 7);
    assert_error!(open(), Cause::OtherBoot { .. });
    name.set_word(header_word!(boot_id), 0);
    name.set_word(header_word!(boot_id) + 1, 0);
    assert!(open().is_ok(), "an unknown boot id is no other boot");
    // A segment of any layout can be removed.
    name.set_word(header_word!(magic), magic() - 1);
    unlink(&name).unwrap();
    drop(made);
}

#[test]
fn g10_hostile_sizes_are_refused_and_never_read_again() {
    let name = Name::new("hostile");
    let made = Segment::create(&name, &small()).unwrap();
    let before = *made.geometry();
    let of_pools = POOLS.iter().flat_map(|pool| [pool.cells_word, pool.stride_word]);
    let words: Vec<usize> = [header_word!(size), header_word!(seats)].into_iter().chain(of_pools).collect();
    for word in words {
        let good = made.header().at(word).load(Ordering::Relaxed);
        for shift in 0..64 {
            for hostile in [1 << shift, (1 << shift) - 1, u64::MAX - (1 << shift), good ^ (1 << shift)] {
                if hostile == good {
                    continue;
                }
                name.set_word(word, hostile);
                assert_error!(Segment::open(&name, &small()), Cause::Corrupt { .. } | Cause::Truncated { .. });
                // A process that has it open already continues with the sizes that it checked.
                assert_eq!(*made.geometry(), before);
                assert_eq!(made.ring().capacity(), before.capacity());
            }
        }
        name.set_word(word, good);
    }
    assert!(Segment::open(&name, &small()).is_ok());
}

#[test]
fn g10_a_second_name_of_the_file_is_refused_and_can_be_looked_at() {
    let (name, second) = (Name::new("linked"), Name::new("linked-second"));
    for left in ["finished", "begun"] {
        name.clear();
        second.clear();
        if left == "finished" {
            drop(Segment::create(&name, &small()).unwrap())
        } else {
            name.write(&[])
        }
        std::fs::hard_link(path(&name), path(&second)).unwrap();
        for call in [Segment::open, Segment::open_or_create] {
            for either in [&name, &second] {
                assert_error!(call(either, &small()), Cause::Linked { links: 2, .. });
            }
        }
        assert!(name.exists() && second.exists(), "a file of another's was removed");
        assert!(left == "begun" || Segment::read_only(&name, &small()).is_ok());
        second.clear();
        assert!(Segment::open_or_create(&name, &small()).is_ok(), "with one name it is as good as any");
    }
}

#[test]
fn g10_a_file_with_holes_is_refused_before_anybody_touches_them() {
    let name = Name::new("holes");
    let size = Segment::create(&name, &small()).unwrap().size() as u64;
    let file = descriptor(name.file());
    let punch = fs::FallocateFlags::PUNCH_HOLE | fs::FallocateFlags::KEEP_SIZE;
    fs::fallocate(&file, punch, 8192, 4096).unwrap();
    let full = allocated_bytes(&name, &file).unwrap() + 4096;
    for call in [Segment::open, Segment::open_or_create, Segment::read_only] {
        let error = call(&name, &small()).unwrap_err();
        assert!(says(&error, &["SIGBUS", "unlink it"]));
        assert_error!(
            Err::<Segment, _>(error),
            Cause::Holes { size: of, allocated, .. } if *of == size && *allocated == full - 4096
        );
    }
    // As a sparse copy.
    let bytes = std::fs::read(path(&name)).unwrap();
    name.clear();
    name.write(&[]);
    name.file().set_len(bytes.len() as u64).unwrap();
    name.file().write_all_at(&bytes[..4096], 0).unwrap();
    assert_error!(Segment::open(&name, &small()), Cause::Holes { allocated: 4096, .. });
    name.file().write_all_at(&bytes, 0).unwrap();
    assert!(Segment::open(&name, &small()).is_ok(), "all of it is there");
}

#[test]
fn an_opener_never_maps_another_file_than_it_checked() {
    let name = Name::new("swapped");
    let open = || sign(&Segment::open(&name, &small()).unwrap());
    let renew = || {
        name.clear();
        drop(Segment::create(&name, &small()).unwrap());
    };
    let replace = |stops, stepped: Traced| {
        renew();
        assert!(stepped.ended_well(), "{stops} stops");
    };
    at_every_system_call(open, replace, renew);
    // The same with garbage in its place: an error, not a wrong segment.
    let open = || match Segment::open(&name, &impatient()) {
        Ok(segment) => sign(&segment),
        Err(error) if matches!(error.cause(), Cause::Foreign { .. }) => true,
        Err(error) => panic!("{error}"),
    };
    let rubbish = |stops, stepped: Traced| {
        name.clear();
        name.write(&[0xa5; 1 << 20]);
        assert!(stepped.ended_well(), "{stops} stops");
    };
    at_every_system_call(open, rubbish, renew);
}

#[test]
fn an_anonymous_segment_is_shared_by_fork_alone() {
    let segment = Segment::anonymous(&small()).unwrap();
    assert!(segment.was_created() && is_new_or_signed(&segment));
    let child = Child::fork_amid_threads(|| sign(&segment) && segment.take_any().unwrap().is_some());
    assert!(child.ended_well());
    assert_eq!(signatures(&segment), 1);
    assert_error!(segment.unlink(), Cause::NotFound { .. });
    assert!(fs::ftruncate(&segment.file, 0).is_err(), "it can be cut off");
}

#[test]
fn nobody_can_cut_an_anonymous_segment_off() {
    let segment = Segment::anonymous(&small().mode(0o760)).unwrap();
    for size in [0, segment.size() as u64 + 4096] {
        assert_eq!(fs::ftruncate(&segment.file, size).unwrap_err(), Errno::PERM, "to {size} bytes");
    }
    assert_eq!(fs::fcntl_add_seals(&segment.file, SealFlags::FUTURE_WRITE).unwrap_err(), Errno::PERM);
    assert_eq!(fs::fstat(&segment.file).unwrap().st_mode & 0o7777, 0o660);
}

#[test]
fn no_descriptor_survives_exec() {
    let name = Name::new("cloexec");
    let segment = Segment::create(&name, &small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        let _taken = segment.take_any().unwrap();
        let listed = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        listed.contains("->") && !listed.contains(&*name)
    });
    assert!(child.ended_well());
}

#[test]
fn a_store_through_an_inspector_is_stopped_by_the_processor() {
    let name = Name::new("read-only");
    drop(Segment::create(&name, &small()).unwrap());
    let inspector = Segment::read_only(&name, &small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        inspector.tail().at(0).store(1, Ordering::Relaxed);
        true
    });
    assert_eq!(child.end().signal(), Some(libc::SIGSEGV));
}

#[test]
fn the_wake_words_are_where_the_layout_has_them() {
    let segment = Segment::anonymous(&small()).unwrap();
    let all = Words::of(&segment.memory.mapping, 0, HEADER_BYTES / 8).unwrap();
    for word in [header_word!(wake), header_word!(wake_reserved)] {
        segment.wake_word(word).store(7, Ordering::Relaxed);
        assert_eq!(all.at(word).load(Ordering::Relaxed), 7);
    }
}

/// Returns `true` if this process's mapping of the segment is excluded from core dumps.
fn is_kept_out_of_dumps(segment: &Segment) -> bool {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("{:x}-", segment.memory.mapping.base().as_ptr() as usize);
    let mut lines = maps.lines().skip_while(|line| !line.starts_with(&start));
    assert!(lines.next().is_some(), "it is not mapped");
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
    flags.split_ascii_whitespace().any(|flag| flag == "dd")
}

#[test]
fn a_segment_is_no_part_of_core_dumps_unless_it_is_asked_for() {
    let name = Name::new("dump");
    for (options, kept_out) in [(small(), true), (small().dump(true), false), (small().dump(false), true)] {
        name.clear();
        let made = Segment::create(&name, &options).unwrap();
        let others =
            [Segment::open(&name, &options), Segment::read_only(&name, &options), Segment::anonymous(&options)];
        assert_eq!(is_kept_out_of_dumps(&made), kept_out, "{options:?}");
        for other in others {
            assert_eq!(is_kept_out_of_dumps(&other.unwrap()), kept_out, "{options:?}");
        }
        let child = Child::fork_amid_threads(|| is_kept_out_of_dumps(&made) == kept_out);
        assert!(child.ended_well());
    }
}

#[test]
fn without_proc_a_description_is_opened_by_name() {
    let name = Name::new("no-proc");
    let segment = Segment::create(&name, &small()).unwrap();
    let without_proc = |expected: fn(Result<Descriptor>) -> bool| {
        let child =
            Child::fork_amid_threads(|| !mount_own(c"/proc", c"size=64k") || expected(segment.own_description()));
        assert!(child.ended_well());
    };
    without_proc(|own| own.is_ok());
    name.clear();
    without_proc(|own| matches!(own.as_ref().map_err(|error| error.cause()), Err(Cause::Replaced { .. })));
    drop(Segment::create(&name, &small()).unwrap());
    without_proc(|own| matches!(own.as_ref().map_err(|error| error.cause()), Err(Cause::Replaced { .. })));
}
