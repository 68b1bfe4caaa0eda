//! Bad input: each case gives a typed error with values and remedy, loses nothing, and leaves the bus usable.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use seqcast::inspect::{self, Inspector};
use seqcast::{Bus, Cause, Error, Publisher, SegmentOptions, Stats, Worker};
use seqcast_testkit::{
    Child, HOUR, Log, Name, Reports, alone, assert_error, bus, error, in_child, listener, poll, quiet, small, stop_here,
};

/// The first word of a segment in creation, as in `src/segment/layout.rs`.
const FORMING: u64 = 0x7365_7143_4153_7e7e;

/// A bus in use, to check that a refusal affects nothing.
struct Healthy {
    name: Name,
    bus: Bus,
    worker: Worker,
    log: Log,
}

impl Healthy {
    fn new() -> Healthy {
        let (name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        worker.post(("s", "before"), b"").unwrap();
        Healthy { name, bus, worker, log }
    }

    /// Checks that earlier posts are still there, and that everything works.
    fn check(self) {
        let id = self.worker.post(("s", "after"), b"").unwrap();
        assert_eq!(id, 1, "something else was posted");
        assert_eq!(poll(&self.worker), (2, 0));
        assert_eq!(self.log.events(), ["before", "after"]);
        assert_eq!(self.bus.stats().unwrap().workers.len(), 1, "a seat was taken");
        drop(small().open(&self.name).unwrap().join_with(&quiet()).unwrap());
    }
}

/// Checks that `name` is refused by every way of opening.
fn refusals(name: &str, options: &SegmentOptions) -> Vec<Error> {
    vec![
        error(options.open(name)),
        error(options.open_or_create(name)),
        error(options.inspect(name).and_then(|inspector| inspector.stats())),
    ]
}

fn open_rw(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// A finished segment without users.
fn finished() -> Name {
    let (name, bus) = bus(&small());
    bus.join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
    name
}

/// Changes one word of a finished segment's header.
fn change_word(name: &Name, field: &str, change: impl FnOnce(u64) -> u64) {
    let field = seqcast::inspect::fields().into_iter().find(|row| row.region == "header" && row.name == field).unwrap();
    let file = open_rw(&name.path());
    let mut word = [0; 8];
    file.read_exact_at(&mut word, field.offset as u64).unwrap();
    file.write_all_at(&change(u64::from_ne_bytes(word)).to_ne_bytes(), field.offset as u64).unwrap();
}

/// Unlinks the name. Then it must be usable as a new one.
fn assert_usable_after_removal(name: &Name) {
    fs::remove_file(name.path()).unwrap();
    let bus = small().create(name).unwrap();
    let (worker, log) = listener(&bus, &quiet());
    worker.post(("s", "e"), b"").unwrap();
    assert_eq!(poll(&worker), (1, 0));
    assert_eq!(log.len(), 1);
}

/// Inspects the segment.
fn look(name: &str) -> seqcast::Result<Stats> {
    small().inspect(name)?.stats()
}

fn made_by(name: &Name) -> (u32, u32) {
    let file = fs::metadata(name.path()).unwrap();
    (file.uid(), file.gid())
}

fn made_block_size(name: &str) -> u64 {
    Inspector::open_any(name).unwrap().sizes().block_size
}

alone! {
    fn names_that_cannot_be_are_refused_by_every_call_with_the_rule() {
        let long = "x".repeat(201);
        let longer = "x".repeat(300);
        let bad = ["", "/", "a/b", "//a", "/a/", "../x", "a b", "ä", "a\0b", ".", "..", "/..", "a\nb", &long, &longer];
        for name in bad {
            let refusals = [
                error(small().create(name)),
                error(small().open(name)),
                error(small().open_or_create(name)),
                error(small().inspect(name).and_then(|inspector| inspector.stats())),
                error(seqcast::unlink(name)),
                error(seqcast::process::configure(name, &small(), &quiet())),
            ];
            for refusal in refusals {
                let text = refusal.to_string();
                assert!(matches!(refusal.cause(), Cause::Name { .. }), "{name:?}: {refusal:?}");
                assert!(text.contains("A-Z a-z 0-9") && text.contains("200"), "{text}");
                assert!(text.len() < 400, "a long name is shortened: {text}");
            }
        }
        assert!(!seqcast::process::configured());
    }

    fn names_at_the_edge_of_the_rule_work_with_and_without_a_slash() {
        let prefix = Name::new();
        let long = format!("{}.{}", &*prefix, "x".repeat(199 - prefix.len()));
        for name in [long.as_str(), &format!("{}_A.z-9", &*prefix)] {
            let bus = small().unlink_on_drop(true).create(&format!("/{name}")).unwrap();
            assert_eq!(bus.name(), format!("/{name}"));
            assert!(small().open(name).is_ok());
        }
    }

    fn options_out_of_bounds_are_refused_with_option_value_and_rule() {
        let cases: [(SegmentOptions, &str, &str, &str); 17] = [
            (small().capacity(0), "capacity", "0", "power of two"),
            (small().capacity(4), "capacity", "4", "8"),
            (small().capacity(7), "capacity", "7", "power of two"),
            (small().capacity(1000), "capacity", "1000", "power of two"),
            (small().capacity(1 << 20), "capacity", "1048576", "524288"),
            (small().capacity(1 << 40), "capacity", "1099511627776", "524288"),
            (small().capacity(u64::MAX), "capacity", "18446744073709551615", "power of two"),
            (small().block_size(0), "block_size", "0", "64"),
            (small().block_size(8), "block_size", "8", "64"),
            (small().block_size(63), "block_size", "63", "64"),
            (small().block_size((1 << 20) + 1), "block_size", "1048577", "1048576"),
            (small().block_size(u64::MAX), "block_size", "18446744073709551615", "1048576"),
            (small().seats(0), "seats", "0", "1 to 65536"),
            (small().seats(65_537), "seats", "65537", "65536"),
            (small().claims(0), "claims", "0", "1 to"),
            (small().claims(1 << 40), "claims", "1099511627776", "1048576"),
            (small().mode(0o400), "mode", "0o400", "owner"),
        ];
        let healthy = Healthy::new();
        for (options, name, shown, part_of_rule) in cases {
            let fresh = Name::new();
            let refusals =
                [error(options.create(&fresh)), error(options.open_or_create(&fresh)),
                error(options.anonymous()), error(options.open_or_create(&healthy.name))];
            for refusal in refusals {
                let text = refusal.to_string();
                let Cause::Option { option, value, rule } = refusal.cause() else { panic!("{name}: {refusal:?}") };
                assert_eq!(*option, name, "{text}");
                assert!(value.contains(shown) && rule.contains(part_of_rule), "{text}");
                assert!(text.contains(name) && text.contains(shown) && text.contains(rule), "{text}");
            }
            assert!(!fresh.path().exists(), "{name}: something was left behind");
        }
        healthy.check();
    }

    fn modes_that_are_no_permissions_of_the_owner_are_refused() {
        for mode in [0, 0o200, 0o060, 0o4600, 0o1600, 0o10_600, u32::MAX] {
            let fresh = Name::new();
            let refusal = error(small().mode(mode).create(&fresh));
            assert!(matches!(refusal.cause(), Cause::Option { option: "mode", .. }), "{mode:o}: {refusal:?}");
            assert!(!fresh.path().exists());
        }
    }

    fn a_segment_larger_than_the_free_memory_is_refused_with_both_before_any_is_taken() {
        let fresh = Name::new();
        in_child(|| {
            // Creating or allocating a larger file is SIGXFSZ, before the host runs out of memory.
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: writes one `rlimit`.
            assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) }, 0);
            limit.rlim_cur = limit.rlim_max.min(1 << 30);
            // SAFETY: reads one `rlimit`; the limit is this child's.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
            // Half a terabyte.
            let options = small().capacity(1 << 19).block_size(1 << 20);
            for refusal in [
                error(options.create(&fresh)),
                error(options.open_or_create(&fresh)),
                error(options.anonymous()),
            ] {
                let text = refusal.to_string();
                let Cause::NoSpace { size, free, .. } = *refusal.cause() else { panic!("{refusal:?}") };
                assert!(size > 1 << 39 && free < size, "{text}");
                assert!(text.contains(&size.to_string()) && text.contains(&free.to_string()), "{text}");
                assert!(text.contains("capacity") && text.contains("/dev/shm"), "no remedy: {text}");
                assert!(!fresh.path().exists(), "it was left behind");
            }
        });
        drop(small().create(&fresh).unwrap().join_with(&quiet()).unwrap());
    }

    fn a_ttl_of_nothing_an_empty_key_and_an_empty_topic_cost_nothing() {
        let healthy = Healthy::new();
        let worker = &healthy.worker;
        let nothing = seqcast::Unique::key("key").ttl(Duration::ZERO);
        assert_error!(worker.event(("s", "e")).unique(nothing).post(b""), Cause::Option { option: "ttl", .. });
        assert_error!(worker.event(("s", "e")).unique("").post(b""), Cause::Option { option: "key", .. });
        assert_error!(worker.claim("key", Duration::ZERO), Cause::Option { option: "ttl", .. });
        let refusal = error(healthy.bus.join_with(&quiet().timeout(Duration::ZERO)));
        assert!(matches!(refusal.cause(), Cause::Option { option: "timeout", .. }));
        let long = "x".repeat(999);
        for (source, event, len) in [("", "e", 0), ("s", "", 0), (&long[..256], "e", 256), ("s", &long, 999)] {
            let refusal = error(worker.post((source, event), b""));
            let text = refusal.to_string();
            let Cause::Topic { len: found, max, .. } = *refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!((found, max), (len, 255));
            assert!(text.contains(&format!("{len} bytes")) && text.contains("255"), "{text}");
        }
        let max = healthy.bus.largest_event();
        let refusal = error(worker.post(("s", "e"), vec![0; max + 1]));
        assert!(matches!(*refusal.cause(), Cause::PayloadTooLarge { max: found, .. } if found == max));
        assert_eq!(healthy.bus.stats().unwrap().claims_held, 0);
        healthy.check();
    }

    fn what_the_builder_cannot_mean_is_refused_and_nothing_is_posted() {
        let healthy = Healthy::new();
        let worker = &healthy.worker;
        let next = healthy.bus.next_id();
        assert_error!(worker.event(("s", "e")).ttl(HOUR).post(b""), Cause::Option { option: "ttl", .. });
        let local = worker.event(("s", "e")).unique("key").local(b"");
        assert_error!(local, Cause::Option { option: "unique", .. });
        let text = error(worker.post((seqcast::library::SOURCE, "started"), b"")).to_string();
        assert!(text.contains("\"seqcast\" is the library's own"), "{text}");
        assert_error!(worker.post(seqcast::library::STOPPING, b""), Cause::LibrarySource);
        assert_error!(worker.post_local(seqcast::library::STARTED, 1), Cause::LibrarySource);
        let mut publisher = healthy.bus.publisher().unwrap();
        assert_error!(publisher.post(seqcast::library::STARTED, b""), Cause::LibrarySource);
        drop(publisher);
        assert_eq!(healthy.bus.next_id(), next);
        healthy.check();
    }

    fn a_commit_that_is_refused_leaves_the_reservation() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut reservation = worker.reserve().unwrap();
        assert_error!(reservation.commit(seqcast::library::STARTED, b""), Cause::LibrarySource);
        assert_eq!(reservation.commit(("s", "e"), b"").unwrap(), 0);
    }

    fn what_is_not_seqcasts_is_refused_and_left_as_it_is() {
        let script = b"#!/bin/sh\necho not a segment\n";
        for content in [&b"x"[..], b"1234567", script, &[0; 4096], &[0xff; 100_000], &noise()] {
            let name = Name::new();
            fs::write(name.path(), content).unwrap();
            fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
            let mut all = refusals(&name, &small());
            all.push(error(small().create(&name)));
            all.push(error(seqcast::unlink(&name)));
            for refusal in all {
                let text = refusal.to_string();
                let Cause::Foreign { name: shown, found } = refusal.cause() else { panic!("{refusal:?}") };
                assert_eq!(*shown, format!("/{}", &*name));
                assert!(text.contains(found) && text.contains("another name"), "{text}");
            }
            assert!(fs::read(name.path()).unwrap() == content, "it was changed");
            assert_usable_after_removal(&name);
        }
    }

    fn a_name_that_leads_to_no_file_is_refused() {
        let name = Name::new();
        fs::create_dir(name.path()).unwrap();
        let mut all = refusals(&name, &small());
        all.push(error(small().create(&name)));
        fs::remove_dir(name.path()).unwrap();
        for refusal in all {
            assert!(matches!(refusal.cause(), Cause::Foreign { .. }), "{refusal:?}");
        }
        let target = finished();
        std::os::unix::fs::symlink(target.path(), name.path()).unwrap();
        for refusal in refusals(&name, &small()) {
            assert!(matches!(refusal.cause(), Cause::Foreign { .. }), "a link was followed: {refusal:?}");
        }
        small().open(&target).unwrap();
    }

    fn a_missing_segment_is_not_found() {
        let name = Name::new();
        for refusal in [
            error(small().open(&name)),
            error(small().inspect(&name).and_then(|inspector| inspector.stats())),
            error(seqcast::unlink(&name)),
        ] {
            let text = refusal.to_string();
            assert!(matches!(refusal.cause(), Cause::NotFound { .. }), "{refusal:?}");
            assert!(text.contains(&*name) && text.contains("create"), "{text}");
        }
    }

    fn an_existing_segment_is_not_created_again() {
        let healthy = Healthy::new();
        let refusal = error(small().create(&healthy.name));
        let text = refusal.to_string();
        assert!(matches!(refusal.cause(), Cause::Exists { .. }), "{refusal:?}");
        assert!(text.contains("open") && text.contains("unlink"), "{text}");
        healthy.check();
    }

    fn a_segment_cut_off_is_refused_with_both_sizes() {
        for keep in [8_u64, 100, 1023, 1024, 4096, 50_000] {
            let name = finished();
            let whole = fs::metadata(name.path()).unwrap().len();
            open_rw(&name.path()).set_len(keep).unwrap();
            for refusal in refusals(&name, &small()) {
                let text = refusal.to_string();
                let Cause::Truncated { size, expected, .. } = *refusal.cause() else { panic!("{keep}: {refusal:?}") };
                assert!(size == keep && expected > keep && expected <= whole, "{text}");
                assert!(text.contains(&size.to_string()) && text.contains("unlink"), "{text}");
            }
            assert_usable_after_removal(&name);
        }
    }

    fn an_empty_file_is_unfinished_and_the_next_creator_finishes_it() {
        for content in [&[][..], &FORMING.to_ne_bytes(), &[&FORMING.to_ne_bytes()[..], &[0; 100_000]].concat()] {
            let name = Name::new();
            fs::write(name.path(), content).unwrap();
            fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
            for refusal in [error(small().open(&name)), error(look(&name))] {
                let text = refusal.to_string();
                assert!(matches!(refusal.cause(), Cause::Unfinished { .. }), "{refusal:?}");
                assert!(text.contains("open_or_create"), "{text}");
            }
            let bus = small().open_or_create(&name).unwrap();
            assert!(bus.was_created());
            let (worker, log) = listener(&bus, &quiet());
            small().open(&name).unwrap().join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
            assert_eq!(poll(&worker), (1, 0));
            assert_eq!(log.len(), 1);
        }
    }

    fn an_older_or_newer_layout_is_refused_with_both_versions() {
        for change in [|word| word - 1, |word| word + 1, |word| word | 0xffff] {
            let name = finished();
            let mut found_version = 0;
            change_word(&name, "magic", |word| {
                let changed: u64 = change(word);
                found_version = (changed & 0xffff) as u32;
                changed
            });
            let mut all = refusals(&name, &small());
            all.push(error(small().create(&name)));
            for refusal in all {
                let text = refusal.to_string();
                let Cause::Layout { found, expected, .. } = *refusal.cause() else { panic!("{refusal:?}") };
                assert!(found == found_version && expected != found, "{text}");
                assert!(text.contains("name of its own") && text.contains("unlink"), "{text}");
            }
            seqcast::unlink(&name).unwrap();
            assert!(!name.path().exists(), "an old segment could not be removed");
        }
    }

    fn another_builds_segment_is_refused_with_both_fingerprints() {
        let name = finished();
        let mut original = 0;
        change_word(&name, "fingerprint", |word| {
            original = word;
            word ^ 0xff00
        });
        for refusal in refusals(&name, &small()) {
            let text = refusal.to_string();
            let Cause::Fingerprint { found, expected, .. } = *refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!((found, expected), (original ^ 0xff00, original));
            assert!(text.contains(&format!("{found:#018x}")) && text.contains("build"), "{text}");
        }
        assert_usable_after_removal(&name);
    }

    fn a_segment_from_before_the_boot_is_refused() {
        let name = finished();
        change_word(&name, "boot_id", |word| word ^ 1);
        for refusal in refusals(&name, &small()) {
            assert!(matches!(refusal.cause(), Cause::OtherBoot { .. }), "{refusal:?}");
            assert!(refusal.to_string().contains("only if no process has it open"), "{refusal}");
        }
        assert_usable_after_removal(&name);
    }

    fn g2_a_segment_of_another_boot_id_is_opened_while_a_worker_of_this_kernel_has_a_seat() {
        let (name, bus) = bus(&small());
        // As seen by a container with a different boot id.
        change_word(&name, "boot_id", |word| word ^ 1);
        for refusal in refusals(&name, &small()) {
            let text = refusal.to_string();
            let Cause::OtherBoot { found, expected, .. } = refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!(found ^ expected, 1 << 64);
            let boot = format!("{found:032x}");
            assert!(text.contains(&boot) && text.contains("let a worker join there first"), "{text}");
            assert!(!text.contains(": unlink it"), "{text}");
        }
        assert!(!inspect::unlink_unheld(&name).unwrap(), "a bus that has it open was not enough");
        // Also if the last seat is held, and if another process holds the lock.
        let seats: Vec<Publisher> = (0..16).map(|_| bus.publisher().unwrap()).collect();
        let last = seats.into_iter().next_back().unwrap();
        let ours = [small().open(&name), small().open_or_create(&name)].map(Result::unwrap);
        in_child(|| {
            let theirs = small().open(&name).unwrap();
            assert_eq!((theirs.id(), theirs.stats().unwrap().workers.len()), (bus.id(), 1));
            theirs.publisher().unwrap().post(("s", "e"), b"").unwrap();
        });
        assert_eq!(ours.each_ref().map(Bus::next_id), [1, 1]);
        assert!(look(&name).is_ok() && Inspector::open_any(&name).is_ok());
        assert!(!Inspector::open_any(&name).unwrap().header().same_boot_id);
        assert_error!(small().create(&name), Cause::Exists { .. });
        drop(last);
        assert_error!(small().open(&name), Cause::OtherBoot { .. });
    }

    fn g4_options_that_an_existing_segment_does_not_have_are_told_and_refused_where_that_is_wanted() {
        let name = Name::new();
        let made = small().block_size(300).create(&name).unwrap();
        assert!(made.differences().is_empty());
        fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let (uid, gid) = made_by(&name);
        // The options, and the expected report.
        let cases: [(SegmentOptions, &[&str]); 10] = [
            (SegmentOptions::new(), &[]),
            (small(), &[]),
            // Sizes that are equal after rounding.
            (
                SegmentOptions::new().capacity(64).block_size(made_block_size(&name)).claims(61).seats(16).mode(0o600),
                &[],
            ),
            (SegmentOptions::new().capacity(128), &["capacity is 64, not 128"]),
            (SegmentOptions::new().capacity(8192), &["capacity is 64, not 8192"]),
            (SegmentOptions::new().block_size(1000), &["block_size is 416, not 1000"]),
            (SegmentOptions::new().claims(65), &["claims is 64, not 65"]),
            (SegmentOptions::new().seats(17), &["seats is 16, not 17"]),
            (SegmentOptions::new().mode(0o660), &["mode is 0600, not 0660"]),
            (
                SegmentOptions::new().capacity(32).seats(8).owner(uid, gid + 1),
                &[
                    "capacity is 64, not 32",
                    "seats is 16, not 8",
                    &format!("owner is {uid}:{gid}, not {uid}:{}", gid + 1),
                ],
            ),
        ];
        for (options, expected) in cases {
            let bus = options.open_or_create(&name).unwrap();
            let texts: Vec<String> = bus.differences().iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected, "{options:?}");
            // Reported by the first worker that joins, and by none after it.
            let reports = Reports::default();
            let _workers = [0; 2].map(|_| bus.join_with(&reports.of(quiet())).unwrap());
            let told = reports.texts();
            assert_eq!(told.len(), usize::from(!expected.is_empty()), "{told:?}");
            assert!(expected.iter().all(|text| told[0].contains(text)), "{told:?}");
            // A process that merely opens it accepts it as it is.
            assert!(options.clone().strict(true).open(&name).unwrap().differences().is_empty());
            match (options.strict(true).open_or_create(&name), expected) {
                (Ok(bus), []) => assert_eq!(bus.id(), made.id()),
                (Err(error), [_, ..]) => {
                    let Cause::OptionsDiffer { differences, .. } = error.cause() else { panic!("{error}") };
                    let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
                    assert_eq!(texts, expected);
                    let text = error.to_string();
                    assert!(expected.iter().all(|part| text.contains(part)) && text.contains(&*name), "{text}");
                }
                (opened, _) => panic!("{expected:?}: {opened:?}"),
            }
        }
        assert!(made.stats().unwrap().workers.is_empty());
        made.unlink().unwrap();
        let strict = small().capacity(128).strict(true).open_or_create(&name).unwrap();
        assert!(strict.was_created() && strict.differences().is_empty() && strict.capacity() == 128);
        let reports = Reports::default();
        drop(strict.join_with(&reports.of(quiet())).unwrap());
        assert!(reports.texts().is_empty());
    }

    fn impossible_sizes_in_a_header_are_corrupt() {
        for field in ["capacity", "block_stride", "seats", "buckets", "bucket_stride", "size"] {
            for value in [0, 1, 7, 63, 1 << 20, 1 << 40, u64::MAX] {
                let name = finished();
                change_word(&name, field, |_| value);
                for refusal in refusals(&name, &small()) {
                    let text = refusal.to_string();
                    // A size that is possible but not this file's is detected by the file's end.
                    let typed = matches!(refusal.cause(), Cause::Corrupt { .. } | Cause::Truncated { .. });
                    assert!(typed, "{field} = {value}: {refusal:?}");
                    assert!(text.contains(&*name) && text.contains("unlink"), "{text}");
                }
            }
        }
    }

    fn a_segment_of_another_user_is_refused_unless_named() {
        // SAFETY: only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let name = finished();
        std::os::unix::fs::chown(name.path(), Some(4711), Some(4711)).unwrap();
        for refusal in refusals(&name, &small()) {
            let text = refusal.to_string();
            let Cause::Owner { found, accepted, .. } = refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!((*found, accepted.as_slice()), (4711, &[0][..]));
            assert!(text.contains(".owner("), "{text}");
        }
        drop(small().owner(4711, 4711).open(&name).unwrap().join_with(&quiet()).unwrap());
    }

    fn a_user_without_the_right_is_denied_with_the_remedy() {
        // SAFETY: only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let healthy = Healthy::new();
        in_child(|| {
            // SAFETY: this single-threaded child permanently gives up its rights.
            assert_eq!(unsafe { libc::setgid(4711) | libc::setuid(4711) }, 0);
            for refusal in refusals(&healthy.name, &small()) {
                let text = refusal.to_string();
                assert!(matches!(refusal.cause(), Cause::Denied { uid: 4711, .. }), "{refusal:?}");
                assert!(text.contains("before dropping privileges") && text.contains(".owner("), "{text}");
            }
            // The inherited bus has it open, but a seat needs its own open file description.
            let refusal = error(healthy.bus.join_with(&quiet()));
            assert!(refusal.to_string().contains("privileges"), "{refusal}");
        });
        healthy.check();
    }

    fn a_master_that_drops_its_privileges_gives_the_segment_to_its_workers() {
        // SAFETY: only returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return;
        }
        let (_name, bus) = bus(&small().owner(4711, 4711));
        in_child(|| {
            // SAFETY: this single-threaded child permanently gives up its rights.
            assert_eq!(unsafe { libc::setgid(4711) | libc::setuid(4711) }, 0);
            bus.join_with(&quiet()).unwrap().post(("s", "e"), b"").unwrap();
        });
        assert_eq!(bus.next_id(), 1);
    }

    fn a_mode_wider_than_accepted_is_refused_with_both() {
        let (name, bus) = bus(&small().mode(0o660));
        assert_eq!(fs::metadata(name.path()).unwrap().permissions().mode() & 0o7777, 0o660);
        for refusal in refusals(&name, &small()) {
            let text = refusal.to_string();
            let Cause::Mode { found, accepted, .. } = *refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!((found, accepted), (0o660, 0o600));
            assert!(text.contains("0660") && text.contains("0600") && text.contains(".mode("), "{text}");
        }
        drop(small().mode(0o660).open(&name).unwrap().join_with(&quiet()).unwrap());
        drop(bus.join_with(&quiet()).unwrap());
    }

    fn a_poster_refuses_the_options_that_a_worker_refuses() {
        let (_name, bus) = bus(&small());
        let cases = [
            quiet().timeout(Duration::ZERO),
            quiet().wait_interval(Duration::ZERO),
            quiet().wait_interval(HOUR).wait_max(Duration::from_secs(1)),
            quiet().start(seqcast::Start::At(1)),
        ];
        for options in cases {
            let (of_poster, of_worker) = (error(bus.publisher_with(&options)), error(bus.join_with(&options.clone())));
            assert_eq!(of_poster.to_string(), of_worker.to_string(), "{options:?}");
        }
        assert!(bus.stats().unwrap().workers.is_empty(), "a seat was taken");
        // Options without effect on a publisher are not an error.
        let idle = quiet().interval(Duration::ZERO).start(seqcast::Start::Oldest).on_report(|_| ());
        let mut poster = bus.publisher_with(&idle).unwrap();
        assert_eq!(poster.post(("s", "e"), b"").unwrap(), 0);
    }

    fn no_free_seat_names_the_holders_and_the_option() {
        let (name, bus) = bus(&small().seats(3));
        let (worker, log) = listener(&bus, &quiet().label("web-1"));
        let child = Child::fork(|| {
            let _worker = bus.join_with(&quiet().label("child")).unwrap();
            stop_here();
        });
        child.await_stop();
        // After the fork: a live child keeps what it inherited.
        let poster = bus.publisher().unwrap();
        let refused = [
            error(bus.join_with(&quiet())),
            error(bus.publisher()),
            error(worker.publisher()),
            error(small().open(&name).unwrap().join_with(&quiet())),
        ];
        for refusal in refused {
            let text = refusal.to_string();
            let Cause::NoSeat { seats, holders, .. } = refusal.cause() else { panic!("{refusal:?}") };
            let shown: Vec<_> = holders.iter().map(|holder| (holder.seat, holder.pid, &*holder.label)).collect();
            let me = std::process::id();
            assert_eq!(*seats, 3);
            assert_eq!(shown, [(0, me, "web-1"), (1, child.pid(), "child"), (2, me, shown[2].2)]);
            assert!(text.contains("web-1") && text.contains(&child.pid().to_string()), "{text}");
            assert!(text.contains(".seats()"), "no remedy: {text}");
        }
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.len(), 1);
        drop(poster);
        drop(bus.join_with(&quiet()).unwrap());
        child.kill();
        let _two = [bus.join_with(&quiet()).unwrap(), bus.join_with(&quiet()).unwrap()];
    }

    fn a_start_that_is_yet_to_come_takes_no_seat() {
        let healthy = Healthy::new();
        let refusal = error(healthy.bus.join_with(&quiet().start(seqcast::Start::At(2))));
        let text = refusal.to_string();
        assert!(matches!(refusal.cause(), Cause::NotYet { id: 2, next: 1 }), "{refusal:?}");
        assert!(text.contains(" 2") && text.contains(" 1"), "{text}");
        healthy.check();
    }

    fn a_name_given_to_another_segment_is_not_unlinked_by_the_first() {
        let (name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        seqcast::unlink(&name).unwrap();
        assert_error!(bus.unlink(), Cause::NotFound { .. });
        let second = small().create(&name).unwrap();
        let refusal = error(bus.unlink());
        assert!(matches!(refusal.cause(), Cause::Replaced { .. }), "{refusal:?}");
        assert!(name.path().exists());
        // Processes that have it open continue, each on its own.
        worker.post(("s", "e"), b"").unwrap();
        assert_eq!((bus.next_id(), second.next_id()), (1, 0));
        second.unlink().unwrap();
    }

    fn a_claim_by_somebody_who_is_stopped_in_creation_makes_others_busy_and_no_longer() {
        let name = Name::new();
        // The lock of the creation byte, as in `src/segment/locks.rs`, held as an active creator would.
        let file = File::create(name.path()).unwrap();
        fs::set_permissions(name.path(), fs::Permissions::from_mode(0o600)).unwrap();
        // SAFETY: `flock` is plain numbers, for which zero is a value.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        (lock.l_type, lock.l_whence, lock.l_start, lock.l_len) =
            (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short, 1 << 62, 1);
        // SAFETY: the descriptor is open, and the command reads one `flock`.
        let locked = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(locked, 0);
        let impatient = small().creation_timeout(Duration::from_millis(5));
        for refusal in [
            error(impatient.create(&name)),
            error(impatient.open_or_create(&name)),
            error(impatient.open(&name)),
        ] {
            let text = refusal.to_string();
            assert!(matches!(*refusal.cause(), Cause::Busy { waited, .. } if waited < HOUR), "{refusal:?}");
            assert!(text.contains("try again"), "{text}");
        }
        drop(file);
        assert!(impatient.open_or_create(&name).unwrap().was_created());
    }
}

/// A page of random bytes.
fn noise() -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..512).flat_map(|_| next().to_ne_bytes()).collect()
}
