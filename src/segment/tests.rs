//! Creation, opening and locks, with real processes.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use seqcast_testkit::process::{Child, eventually};
use seqcast_testkit::ptrace::{Traced, at_every_system_call};

use super::creation::*;
use super::*;
use crate::protocol::seat_words;
use crate::segment::fingerprint::fingerprint;
use crate::segment::layout::{FORMING, HEADER_BYTES, magic};
use crate::segment::pools::POOLS;

/// Another user than the one who runs the tests.
const NOBODY: u32 = 65_534;

/// A name of this test's own; what it leads to is removed before and after, also when the test fails.
struct Name(String);

impl Name {
    fn new(test: &str) -> Name {
        let name = Name(format!("/seqcast-test-{test}-{}", sys::pid()));
        name.clear();
        name
    }

    fn clear(&self) {
        let path = path(self);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }

    fn exists(&self) -> bool {
        Inode::of_name(self).unwrap().is_some()
    }

    /// Puts a file of these bytes there, with a mode that would be accepted.
    fn write(&self, bytes: &[u8]) {
        std::fs::write(path(self), bytes).unwrap();
        std::fs::set_permissions(path(self), Permissions::from_mode(0o600)).unwrap();
    }

    fn file(&self) -> File {
        File::options().read(true).write(true).open(path(self)).unwrap()
    }

    fn set_word(&self, word: usize, value: u64) {
        self.file().write_all_at(&value.to_ne_bytes(), word as u64 * 8).unwrap();
    }
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.clear();
    }
}

fn small() -> SegmentOptions {
    SegmentOptions::new().capacity(8).block_size(64).seats(4).claims(4).creation_timeout(Duration::from_secs(10))
}

fn descriptor(file: File) -> Descriptor {
    Descriptor::of(|| Ok(file.try_clone().unwrap().into())).unwrap()
}

impl Segment {
    /// Takes the first seat that nobody has locked.
    fn take_any(&self) -> Result<Option<(u16, SeatLock)>> {
        self.take_free_seat(ForkGuard::new().unwrap(), |_| false, |_| true)
    }
}

fn impatient() -> SegmentOptions {
    small().creation_timeout(Duration::from_millis(20))
}

/// Marks that somebody has come to this segment. Returns whether it is good, and mapped from the file it is open on.
fn sign(segment: &Segment) -> bool {
    segment.tail().at(0).fetch_add(1, Ordering::Relaxed);
    let in_file = HeaderCopy::read(segment.name(), &segment.file).unwrap().pair(header_word!(nonce));
    segment.memory.has_nonce(in_file) && is_new_or_signed(segment)
}

fn signatures(segment: &Segment) -> u64 {
    segment.tail().at(0).load(Ordering::Relaxed)
}

/// Whether everything is as a creator leaves it, but for the tail.
fn is_new_or_signed(segment: &Segment) -> bool {
    let (capacity, seats) = (segment.geometry().capacity(), segment.geometry().seats);
    let all = Words::of(&segment.memory.mapping, 0, segment.size() / 8).unwrap();
    let word = |offset: usize| all.at(offset / 8).load(Ordering::Relaxed);
    let [ring, claims] = segment.memory.regions.pools;
    let blocks = ring.blocks..claims.cells;
    let hands: HashSet<u64> = (0..seats as u16)
        .map(|seat| segment.hand(PoolId::Ring, seat).at(seat_words::OWN).load(Ordering::Relaxed))
        .collect();
    blocks.step_by(8).all(|offset| word(offset) == 0) && hands == HashSet::from_iter(capacity..capacity + seats)
}

macro_rules! assert_error {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result.as_ref().map_err(|error| error.cause()) {
            Err($pattern) $(if $guard)? => {}
            other => panic!("{other:?} instead of {}", stringify!($pattern $(if $guard)?)),
        }
    };
}

#[test]
fn g10_only_what_begins_as_a_segment_does_is_listed_by_name() {
    let [segment, other_layout, foreign, short, forming, link] =
        ["named", "layout", "foreign", "short", "forming", "link"].map(Name::new);
    drop(Segment::create(&segment, &small()).unwrap());
    other_layout.write(&(magic() + 1).to_ne_bytes());
    foreign.write(&[0xa5; 4096]);
    short.write(&magic().to_ne_bytes()[..7]);
    forming.write(&FORMING.to_ne_bytes());
    std::os::unix::fs::symlink(path(&segment), path(&link)).unwrap();
    let names = segment_names().unwrap();
    let is_listed = [&segment, &other_layout, &foreign, &short, &forming, &link]
        .map(|name| names.iter().any(|listed| **listed == **name));
    link.clear();
    assert_eq!(is_listed, [true, true, false, false, false, false], "{names:?}");
}

#[test]
fn names_get_a_slash_and_bad_ones_are_refused() {
    let longest = "x".repeat(MOST_NAME_BYTES);
    for good in ["a", "/a", "...", ".a", "A-z_0.9", &longest, &format!("/{longest}")] {
        assert_eq!(checked_name(good).unwrap(), format!("/{}", good.trim_start_matches('/')));
    }
    let too_long = "x".repeat(MOST_NAME_BYTES + 1);
    for bad in ["", "/", "//a", ".", "..", "/..", "a/b", "../a", "a b", "a\0", "ä", "a\n", &too_long] {
        assert_error!(checked_name(bad), Cause::Name { name, .. } if name.chars().count() <= 64);
        assert_error!(Segment::open_or_create(bad, &small()), Cause::Name { .. });
        assert_error!(unlink(bad), Cause::Name { .. });
    }
}

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
    // All of the random words are drawn, and each has its place.
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
    // A pipe, which a careless open would wait on.
    let path = std::ffi::CString::new(path(&name)).unwrap();
    // SAFETY: the path is a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    refused();
}

#[test]
fn a_segment_cut_off_is_refused_before_it_is_mapped() {
    let name = Name::new("truncated");
    let size = Segment::create(&name, &small()).unwrap().size() as u64;
    for (cut, least) in [(size - 1, size), (size / 2, size), (HEADER_BYTES as u64, size), (1023, 1024), (8, 1024)] {
        name.file().set_len(cut).unwrap();
        let truncated = |error: &Error| matches!(error.cause(), Cause::Truncated { size, expected, .. } if (*size, *expected) == (cut, least));
        assert!(truncated(&Segment::open(&name, &small()).unwrap_err()), "{cut}");
        assert!(truncated(&Segment::open_or_create(&name, &small()).unwrap_err()), "{cut}");
        assert!(truncated(&Segment::read_only(&name, &small()).unwrap_err()), "{cut}");
    }
    unlink(&name).unwrap();
}

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
    // Whatever layout it has, it is ours to remove.
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
                // Who has it open already goes on by the sizes that it checked.
                assert_eq!(*made.geometry(), before);
                assert_eq!(made.ring().capacity(), before.capacity());
            }
        }
        name.set_word(word, good);
    }
    assert!(Segment::open(&name, &small()).is_ok());
}

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

/// Makes the calling process, a forked child, an ordinary user.
fn drop_privileges() {
    // SAFETY: system calls without pointers, in a child with one thread.
    let dropped =
        unsafe { libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(NOBODY) == 0 && libc::setuid(NOBODY) == 0 };
    assert!(dropped);
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
fn unlink_leaves_what_took_the_name_since() {
    let name = Name::new("unlink");
    let first = Segment::create(&name, &small()).unwrap();
    unlink(&name).unwrap();
    assert_error!(first.unlink(), Cause::NotFound { .. });
    let second = Segment::create(&name, &small()).unwrap();
    assert_error!(first.unlink(), Cause::Replaced { .. });
    assert!(name.exists());
    second.unlink().unwrap();
    assert!(!name.exists());
}

#[test]
fn g12_only_the_maker_unlinks_on_drop() {
    let name = Name::new("unlink-on-drop");
    let unlinking = small().unlink_on_drop(true);
    let made = Segment::create(&name, &unlinking).unwrap();
    drop(Segment::open(&name, &unlinking).unwrap());
    assert!(name.exists(), "removed by one that only opened it");
    let mut made = Some(made);
    let child = Child::fork_amid_threads(|| {
        drop(made.take());
        true
    });
    assert!(child.ended_well());
    assert!(name.exists(), "removed by a forked child");
    drop(made);
    assert!(!name.exists());
    drop(Segment::create(&name, &small()).unwrap());
    assert!(name.exists(), "removed without being asked to");
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
        let done = name.exists() && State::of(&name, &descriptor(name.file())).unwrap() == State::Finished;
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
    // The same with rubbish in its place: an error, not a wrong segment.
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

/// A child that holds the creation lock of the file that `name` leads to until `gun` is signed, then does `last`.
fn lock_holder(name: &str, gun: &Segment, last: impl FnOnce() -> bool) -> Child {
    let ready = Segment::anonymous(&small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        let options = small();
        let call = Call::new(name, &options, Intent::Create).unwrap();
        let found = call.open_or_make().unwrap().unwrap();
        let _lock = call.lock_creation(&found.file).unwrap();
        sign(&ready);
        eventually("the gun is fired", || signatures(gun) > 0);
        last()
    });
    eventually("the creation lock is held", || signatures(&ready) > 0);
    child
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
        // An opener that comes before the new file, or between its making and its lock, is told so.
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
            let geometry = options.geometry().unwrap();
            let regions = geometry.check().unwrap();
            Draft { name: &name, options: &options, started: Instant::now(), geometry, regions }
                .form(&file)
                .unwrap()
                .is_some()
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

/// Makes the calling process, a forked child, see an empty file system of its own at `at`. `false` if that is not
/// permitted.
fn mount_own(at: &std::ffi::CStr, options: &std::ffi::CStr) -> bool {
    let (none, tmpfs) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: system calls on C strings; they change what this child sees and nothing else.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()) == 0
            && libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, options.as_ptr().cast()) == 0
    };
    if !done {
        eprintln!("skipped: no mount namespace here: {}", io::Error::last_os_error());
    }
    done
}

#[test]
fn a_full_dev_shm_is_an_error_that_leaves_nothing_behind() {
    let name = Name::new("full");
    let child = Child::fork_amid_threads(|| {
        if !mount_own(c"/dev/shm", c"size=20m") {
            return true;
        }
        // More than is allocated at once.
        let large = SegmentOptions::new().capacity(1 << 16);
        let size = large.geometry().unwrap().check().unwrap().end as u64;
        let full = |result: Result<Segment>| {
            let error = result.unwrap_err();
            matches!(*error.cause(), Cause::NoSpace { size: needs, free, .. }
                if needs == size && free > 19 << 20 && free < size)
        };
        assert!(full(Segment::create(&name, &large)));
        assert!(!name.exists(), "left behind");
        // Begun by somebody else, it stays as unfinished as it was, without the memory.
        name.write(&FORMING.to_ne_bytes());
        assert!(full(Segment::open_or_create(&name, &large)));
        assert_error!(Segment::open(&name, &large), Cause::Unfinished { .. });
        assert!(std::fs::metadata(path(&name)).unwrap().blocks() * 512 <= 64 << 10, "memory kept");
        sign(&Segment::open_or_create(&name, &small()).unwrap())
    });
    assert!(child.ended_well());
}

#[test]
fn what_was_begun_is_listed_and_an_empty_file_is_not() {
    let name = Name::new("listed");
    let is_listed = || crate::inspect::list().unwrap().iter().any(|listed| listed.name == *name);
    name.write(&[]);
    assert!(!is_listed(), "nothing says that it is ours");
    name.write(&FORMING.to_ne_bytes());
    assert!(is_listed());
    name.clear();
    drop(Segment::create(&name, &small()).unwrap());
    assert!(is_listed());
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

#[test]
fn a_seat_is_held_through_a_stop_and_freed_by_death() {
    let name = Name::new("seat");
    let segment = Segment::create(&name, &small()).unwrap();
    let inspector = Segment::read_only(&name, &small()).unwrap();
    let holder = Child::fork_amid_threads(|| {
        let (seat, _lock) = segment.take_any().unwrap().unwrap();
        assert_eq!(seat, 0);
        sign(&segment);
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    eventually("the holder has its seat", || signatures(&segment) == 1);
    let probe = |expected: u64| {
        let held = |of: &Segment| of.is_seat_held(0).unwrap();
        assert!(held(&segment) && held(&inspector));
        let child = Child::fork_amid_threads(|| {
            let (seat, _lock) = segment.take_any().unwrap().unwrap();
            u64::from(seat) == expected
                && segment.is_seat_held(0).unwrap()
                && segment.is_seat_held(seat).unwrap()
                // Asking does not take.
                && !segment.is_seat_held(3).unwrap()
        });
        assert!(child.ended_well());
    };
    probe(1);
    holder.signal(libc::SIGSTOP);
    probe(1);
    holder.signal(libc::SIGKILL);
    holder.await_zombie();
    assert!(!segment.is_seat_held(0).unwrap() && !inspector.is_seat_held(0).unwrap());
    let heir = Child::fork_amid_threads(|| segment.take_any().unwrap().is_some_and(|(seat, _)| seat == 0));
    assert!(heir.ended_well());
}

#[test]
fn seats_run_out() {
    let name = Name::new("seats");
    let segment = Segment::create(&name, &small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        let taken: Vec<_> = (0..4).map(|_| segment.take_any().unwrap().unwrap()).collect();
        taken.iter().map(|(seat, _)| *seat).eq(0..4) && segment.take_any().unwrap().is_none()
    });
    assert!(child.ended_well());
}

#[test]
fn g7_a_seat_that_is_locked_for_a_moment_is_waited_for_and_not_refused() {
    let segment = Segment::anonymous(&small()).unwrap();
    let guard = ForkGuard::new().unwrap();
    let lock = |seat| segment.take_seat(seat).unwrap().unwrap();
    let _held = [0, 1, 3].map(lock);
    // It is locked at the first try, and is asked about before the second.
    let mut for_a_moment = Some(lock(2));
    let looks_free = |seat| seat == 2 && for_a_moment.take().is_some_and(|_| true);
    let taken = segment.take_free_seat(guard, looks_free, |_| true).unwrap();
    assert_eq!(taken.map(|(seat, _)| seat), Some(2), "refused because of a lock that lasts a moment");
}

#[test]
fn g6_a_locker_that_is_stopped_holds_up_nobody_for_long() {
    let segment = Segment::anonymous(&small()).unwrap();
    let guard = ForkGuard::new().unwrap();
    let _held = [0, 1, 2, 3].map(|seat| segment.take_seat(seat).unwrap().unwrap());
    let mut asked = 0;
    let mut take = |looks_free: fn(u16) -> bool| {
        let looks_free = |seat| {
            asked += 1;
            looks_free(seat)
        };
        assert!(segment.take_free_seat(guard, looks_free, |_| true).unwrap().is_none());
        std::mem::take(&mut asked)
    };
    assert_eq!(take(|_| false), 4, "it waited for workers that live");
    assert_eq!(take(|seat| seat == 1), 4 + RETRIES - 1);
}

#[test]
fn g9_a_join_among_many_asks_for_the_locks_of_few_and_finds_every_free_seat() {
    let segment = Segment::anonymous(&small().seats(200)).unwrap();
    let guard = ForkGuard::new().unwrap();
    let free = [150, 199];
    let lock = |seat: &u16| segment.take_seat(*seat).unwrap().unwrap();
    let mut held: Vec<_> = (0..200).filter(|seat| !free.contains(seat)).collect::<Vec<_>>().iter().map(lock).collect();
    let take = |looks_free: fn(u16) -> bool| segment.take_free_seat(guard, looks_free, |_| true).unwrap();
    let number = |taken: &Option<(u16, SeatLock)>| taken.as_ref().map(|(seat, _)| *seat);
    let first = take(|seat| seat == 199);
    assert_eq!(number(&first), Some(199), "it asked for the locks of those that look taken first");
    let second = take(|_| false);
    assert_eq!(number(&second), Some(150), "it was free, and not found");
    assert_eq!(number(&take(|_| false)), None);
    // One of the first is tried whatever it looks like, as one of a zombie.
    held.remove(7);
    let third = take(|seat| seat == 199);
    assert_eq!(number(&third), Some(7));
}

#[test]
fn g12_a_child_that_drops_what_it_inherited_frees_no_seat() {
    let name = Name::new("inherited");
    let segment = Segment::create(&name, &small()).unwrap();
    let child = Child::fork_amid_threads(|| {
        let mut taken = segment.take_any().unwrap();
        let grandchild = Child::fork_amid_threads(|| {
            drop(taken.take());
            true
        });
        grandchild.ended_well() && segment.is_seat_held(0).unwrap()
    });
    assert!(child.ended_well());
}

#[test]
fn g12_a_forked_child_opens_a_description_of_its_own() {
    let name = Name::new("description");
    let segment = Segment::create(&name, &small()).unwrap();
    segment.unlink().unwrap();
    let child = Child::fork_amid_threads(|| {
        let (seat, _lock) = segment.take_any().unwrap().unwrap();
        let sibling =
            Child::fork_amid_threads(|| segment.take_any().unwrap().is_some_and(|(next, _)| next == seat + 1));
        sibling.ended_well()
    });
    assert!(child.ended_well());
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
fn nobody_can_cut_an_anonymous_segment_off() {
    let segment = Segment::anonymous(&small().mode(0o760)).unwrap();
    for size in [0, segment.size() as u64 + 4096] {
        assert_eq!(fs::ftruncate(&segment.file, size).unwrap_err(), Errno::PERM, "to {size} bytes");
    }
    assert_eq!(fs::fcntl_add_seals(&segment.file, SealFlags::FUTURE_WRITE).unwrap_err(), Errno::PERM);
    assert_eq!(fs::fstat(&segment.file).unwrap().st_mode & 0o7777, 0o660);
}

#[test]
fn a_segment_is_current_while_its_name_leads_to_it() {
    let name = Name::new("current");
    let segment = Segment::create(&name, &small()).unwrap();
    assert!(segment.is_current().unwrap());
    unlink(&name).unwrap();
    assert!(!segment.is_current().unwrap(), "without a name");
    let other = Segment::create(&name, &small()).unwrap();
    assert!(!segment.is_current().unwrap() && other.is_current().unwrap(), "the name is another's");
}

#[test]
fn the_bytes_that_are_locked_are_told_apart() {
    assert_eq!([0, 1, u16::MAX].map(|seat| seat_of_byte(seat_byte(seat))), [Some(0), Some(1), Some(0xffff)]);
    assert_eq!([0, SEAT_BYTES - 1, CREATION_BYTE, u64::MAX].map(seat_of_byte), [None; 4]);
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

#[test]
fn allocating_gives_a_file_all_of_its_memory_and_never_shrinks_it() {
    // More than is asked for at once.
    let options = SegmentOptions::new().capacity(65_536);
    let geometry = options.geometry().unwrap();
    let regions = regions(ANONYMOUS, &geometry).unwrap();
    let draft = Draft { name: ANONYMOUS, options: &options, started: Instant::now(), geometry, regions };
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
    let geometry = options.geometry().unwrap();
    let regions = regions(ANONYMOUS, &geometry).unwrap();
    let draft = Draft { name: ANONYMOUS, options: &options, started: Instant::now(), geometry, regions };
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

/// Limits and oddities of the host.
mod host;
