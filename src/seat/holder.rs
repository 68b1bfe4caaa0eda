//! Finds out if a seat's holder lives, also if its lock is lost.
//!
//! A lock that is held proves that its holder lives. A free lock usually proves that the holder is dead or has left.
//! But a lock can be lost while its holder lives. Processes in the same pid namespace see that by the process id and
//! the start time of the process. No process may take such a seat: its holder continues to use it.

use std::cell::LazyCell;

use crate::error::{Holder, Result};
use crate::os::sys;
use crate::seat::label_of;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::seat_word;

/// The state of a seat's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The lock is held.
    Locked,
    /// The lock is free, and the holder lives.
    Unlocked,
    /// The holder died without leaving.
    Dead,
    /// There is no holder.
    Free,
}

impl Hold {
    pub(crate) fn of(segment: &Segment, seat: u16) -> Result<Hold> {
        if segment.is_seat_held(seat)? {
            return Ok(Hold::Locked);
        }
        if SeatWords::of(&segment.seats(), seat).get(seat_word!(identity.pid)) == 0 {
            return Ok(Hold::Free);
        }
        if !lives_without_lock(segment, seat) {
            return Ok(Hold::Dead);
        }
        // Again: a process may have joined in the meantime.
        Ok(if segment.is_seat_held(seat)? { Hold::Locked } else { Hold::Unlocked })
    }

    /// Returns the state of all seats, in order. Each was true at some moment of the call.
    ///
    /// The kernel walks the list of a file's locks for each query. So a run of seats that name no holder is one query.
    pub(crate) fn of_all(segment: &Segment) -> Result<Vec<Hold>> {
        let seats = segment.seats();
        let is_blank = |seat: &u16| SeatWords::of(&seats, *seat).get(seat_word!(identity.pid)) == 0;
        let all: Vec<u16> = (0..=segment.geometry().last_seat()).collect();
        let mut holds = Vec::with_capacity(all.len());
        for row in all.chunk_by(|a, b| is_blank(a) && is_blank(b)) {
            let (first, last) = (row[0], row[row.len() - 1]);
            if row.iter().all(is_blank) && !segment.is_any_seat_held_of(first..=last)? {
                holds.extend(row.iter().map(|_| Hold::Free));
                continue;
            }
            // A process is just joining or leaving, or the run is a single seat.
            for &seat in row {
                holds.push(Hold::of(segment, seat)?);
            }
        }
        Ok(holds)
    }

    /// Returns `true` if the holder lives.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Hold::Locked | Hold::Unlocked)
    }
}

/// Returns `true` if the holder of `seat`, which is not locked, is a live process that has the segment mapped.
pub(crate) fn lives_without_lock(segment: &Segment, seat: u16) -> bool {
    let words = SeatWords::of(&segment.seats(), seat);
    let word = |index| words.get(index);
    let Ok(pid) = u32::try_from(word(seat_word!(identity.pid))) else { return false };
    let (start, namespace) = (word(seat_word!(identity.start_time)), word(seat_word!(identity.pid_namespace)));
    if pid == 0 || start == 0 || namespace == 0 || sys::pid_namespace() != Some(namespace) {
        return false;
    }
    // A process that may not be inspected counts as having it mapped: one free seat less is better than a displaced
    // worker.
    sys::is_running(pid, start) && sys::has_mapped(pid, segment.inode().1) != Some(false)
}

/// Returns a function that tells if a seat looks free by the identity of its holder, without a look at its lock: the
/// holder has left, or its process is gone. A holder in another pid namespace looks alive, and so does a zombie.
pub(crate) fn looks_free(segment: &Segment) -> impl FnMut(u16) -> bool {
    let (seats, own_namespace) = (segment.seats(), LazyCell::new(sys::pid_namespace));
    // A process may hold many consecutive seats.
    let mut last_asked = (0, true);
    move |seat| {
        let words = SeatWords::of(&seats, seat);
        let pid = words.get(seat_word!(identity.pid));
        // A seat of an earlier program of this process (before `exec`) has its pid and start time, but another program
        // number.
        let of_earlier_program = || words.get(seat_word!(identity.program)) != sys::program();
        if pid == 0 || pid == u64::from(sys::pid()) && of_earlier_program() {
            return true;
        }
        let namespace = words.get(seat_word!(identity.pid_namespace));
        if namespace == 0 || *own_namespace != Some(namespace) {
            return false;
        }
        if last_asked.0 != pid {
            last_asked = (pid, sys::is_gone(pid));
        }
        last_asked.1
    }
}

/// Returns `true` if an earlier program of this process has left `seat`: a process keeps its pid and start time across
/// `exec`. No other process uses such a seat.
pub(crate) fn is_own_leftover(segment: &Segment, seat: u16) -> bool {
    let words = SeatWords::of(&segment.seats(), seat);
    words.get(seat_word!(identity.pid)) == u64::from(sys::pid())
        && Some(words.get(seat_word!(identity.start_time))) == sys::own_start_time()
        && words.get(seat_word!(identity.program)) != sys::program()
}

/// Returns the holder of each seat, for an error.
pub(crate) fn holders(segment: &Segment) -> Vec<Holder> {
    let seats = segment.seats();
    // If the locks cannot be queried, the list is useful without `unlocked`.
    let holds = Hold::of_all(segment).unwrap_or_default();
    (0..=segment.geometry().last_seat())
        .map(|seat| {
            let words = SeatWords::of(&seats, seat);
            Holder {
                seat: u32::from(seat),
                pid: words.get(seat_word!(identity.pid)) as u32,
                label: label_of(&words),
                unlocked: holds.get(usize::from(seat)) == Some(&Hold::Unlocked),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::process::{Child, Command};
    use std::sync::Arc;

    use super::*;
    use crate::error::ErrorKind;
    use crate::seat::Seat;
    use crate::segment::options::SegmentOptions;
    use crate::segment::seat_byte;

    const SEATS: u16 = 160;

    macro_rules! states {
        ($($state:ident)+) => {
            #[derive(Clone, Copy, Debug, PartialEq)]
            enum State {
                $($state,)+
            }

            const STATES: &[State] = &[$(State::$state),+];
        };
    }

    states! {
        NeverUsed Left Live Gone Zombie OfUnknownStart OfOtherNamespace Unlocked OwnLeftover ReadLocked GoneReadLocked
    }

    use State::*;

    impl State {
        fn hold(self) -> Hold {
            match self {
                Live => Hold::Locked,
                Unlocked | OwnLeftover => Hold::Unlocked,
                Gone | Zombie | OfUnknownStart | OfOtherNamespace | GoneReadLocked => Hold::Dead,
                NeverUsed | Left | ReadLocked => Hold::Free,
            }
        }

        fn can_be_taken(self) -> bool {
            !matches!(self, Live | Unlocked | ReadLocked | GoneReadLocked)
        }
    }

    /// What the states need besides the segment, while they last.
    struct Scene {
        segment: Arc<Segment>,
        zombie: Child,
        gone: u32,
        seats: Vec<Seat>,
        read_locks: Vec<File>,
    }

    impl Scene {
        fn new(name: &str) -> Scene {
            let options = SegmentOptions::new().capacity(8).block_size(64).claims(8).seats(SEATS.into());
            let segment = Arc::new(Segment::create(name, &options.unlink_on_drop(true)).unwrap());
            let mut dead = Command::new("true").spawn().unwrap();
            dead.wait().unwrap();
            let zombie = Command::new("true").spawn().unwrap();
            let started = sys::process_start_time(zombie.id()).unwrap();
            while sys::is_running(zombie.id(), started) {
                std::thread::yield_now();
            }
            Scene { segment, zombie, gone: dead.id(), seats: vec![], read_locks: vec![] }
        }

        /// Puts `seat`, whose last holder has left, into `state`.
        fn set(&mut self, seat: u16, state: State) {
            let words = SeatWords::of(&self.segment.seats(), seat);
            let set = |word, value| words.set(word, value);
            if state == NeverUsed {
                (seat_word!(identity)..seat_word!(identity.label)).for_each(|word| set(word, 0));
                return;
            }
            let (own, start) = (u64::from(sys::pid()), sys::own_start_time().unwrap());
            let namespace = sys::pid_namespace().unwrap();
            let (pid, start, namespace, program) = match state {
                NeverUsed | Left | Live | ReadLocked => (0, start, namespace, sys::program()),
                Gone | GoneReadLocked => (u64::from(self.gone), start, namespace, 1),
                Zombie => {
                    let zombie = self.zombie.id();
                    (u64::from(zombie), sys::process_start_time(zombie).unwrap(), namespace, 1)
                }
                OfUnknownStart => (own, 0, namespace, sys::program()),
                OfOtherNamespace => (own, start, namespace + 1, sys::program()),
                Unlocked => (own, start, namespace, sys::program()),
                OwnLeftover => (own, start, namespace, sys::program() + 1),
            };
            set(seat_word!(identity.start_time), start);
            set(seat_word!(identity.pid_namespace), namespace);
            set(seat_word!(identity.program), program);
            set(seat_word!(identity.pid), pid);
            if matches!(state, ReadLocked | GoneReadLocked) {
                let file = File::open(format!("/dev/shm{}", self.segment.name())).unwrap();
                // SAFETY: `flock` is plain numbers, for which zero is a value.
                let mut lock: libc::flock = unsafe { std::mem::zeroed() };
                (lock.l_type, lock.l_start, lock.l_len) = (libc::F_RDLCK as _, seat_byte(seat) as _, 1);
                // SAFETY: the descriptor is open, and the call reads one `flock`.
                let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
                assert_eq!(done, 0);
                self.read_locks.push(file);
            }
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = self.zombie.wait();
        }
    }

    // In a process of its own: a child that another test forks while a seat is freed would keep its lock for a moment.
    seqcast_testkit::alone! {
        fn g9_what_is_free_among_many_is_what_a_look_at_each_seat_says() {
            for seed in 1..=4_u64 {
                let name = format!("seqcast-t-{}-holders-{seed}", sys::pid());
                let mut scene = Scene::new(&name);
                let mut random = fastrand::Rng::with_seed(seed);
                // Short and long runs of one state, also beyond the seats that are tried first.
                let mut states = vec![];
                while states.len() < usize::from(SEATS) {
                    let state = STATES[random.usize(..STATES.len())];
                    states.extend(vec![state; random.usize(1..10)]);
                }
                states.truncate(SEATS.into());
                // Takes all seats, and frees those that are not to be live.
                let segment = Arc::clone(&scene.segment);
                let all: Vec<_> = (0..SEATS).map(|_| Seat::take(&segment, "").unwrap()).collect();
                assert!(all.iter().map(|seat| seat.number).eq(0..SEATS));
                scene.seats.extend(all.into_iter().filter(|seat| states[usize::from(seat.number)] == Live));
                for (seat, &state) in (0..).zip(&states) {
                    if state != Live {
                        scene.set(seat, state);
                    }
                }
                let one_by_one: Vec<_> = (0..SEATS).map(|seat| Hold::of(&segment, seat).unwrap()).collect();
                let at_once = Hold::of_all(&segment).unwrap();
                for (seat, state) in states.iter().enumerate() {
                    assert_eq!(one_by_one[seat], state.hold(), "seat {seat}: {state:?}");
                    assert_eq!(at_once[seat], state.hold(), "seat {seat}: {state:?}, of all at once");
                }
                let free = || (0..SEATS).filter(|seat| states[usize::from(*seat)].can_be_taken());
                let mut taken = BTreeSet::new();
                let full = loop {
                    match Seat::take(&segment, "") {
                        Ok(seat) => {
                            assert!(taken.insert(seat.number), "seat {} was given twice", seat.number);
                            scene.seats.push(seat);
                        }
                        Err(error) => break error,
                    }
                };
                assert_eq!(full.kind(), ErrorKind::NoSeat, "{full}");
                assert!(
                    taken.iter().copied().eq(free()),
                    "seed {seed}: took {taken:?} of {:?}",
                    free().collect::<Vec<_>>()
                );
            }
        }
    }
}
