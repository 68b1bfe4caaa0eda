//! The locks of seats.

use super::*;

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
                // The query does not lock.
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
    // It is locked at the first try, and freed before the second.
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
    // The first seats are tried even if they look taken, as a zombie's seat does.
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
fn the_bytes_that_are_locked_are_told_apart() {
    assert_eq!([0, 1, u16::MAX].map(|seat| seat_of_byte(seat_byte(seat))), [Some(0), Some(1), Some(0xffff)]);
    assert_eq!([0, SEAT_BYTES - 1, CREATION_BYTE, u64::MAX].map(seat_of_byte), [None; 4]);
}

/// Takes a read lock on `len` bytes with a read-only descriptor. It lasts while the file is open.
fn read_lock(name: &str, at: u64, len: u64) -> File {
    let file = File::open(path(name)).unwrap();
    // SAFETY: `flock` is plain numbers, for which zero is a value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_RDLCK as libc::c_short, at as i64, len as i64);
    // SAFETY: the descriptor is open, and the call reads one `flock`.
    assert_eq!(unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_OFD_SETLK, &raw const lock) }, 0);
    file
}

#[test]
fn g7_a_read_lock_makes_nobody_look_alive() {
    let name = Name::new("read-locks");
    let segment = Segment::create(&name, &small()).unwrap();
    let any = || is_any_seat_held(&name, &segment.file).unwrap();
    assert!(!any());
    let (seat, holder) = segment.take_any().unwrap().unwrap();
    assert!(seat == 0 && any());
    // Beside the held byte: several small locks, and one on all the rest.
    let small_ones = [read_lock(&name, seat_byte(1_u16), 1), read_lock(&name, seat_byte(3_u16), 1)];
    let rest = read_lock(&name, seat_byte(1_u16), 0);
    assert!(any() && segment.is_seat_held(0).unwrap());
    assert!((1..4).all(|seat| !segment.is_seat_held(seat).unwrap()), "a reader is no worker");
    // A reader can only keep workers from joining.
    assert!(segment.take_any().unwrap().is_none());
    drop((seat, holder));
    assert!(!any() && !segment.is_seat_held(0).unwrap());
    drop((small_ones, rest));
    assert!(segment.take_seat(1).unwrap().is_some());
    // A lock on the whole file.
    let _all = read_lock(&name, 0, 0);
    assert!(!any() && segment.take_seat(1).unwrap().is_none());
}
