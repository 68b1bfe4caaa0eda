//! The children's reports to the oracle, through memory that outlives them.
//!
//! Each child has one log: a ring of entries that only it writes and only the parent reads. An entry counts once `head`
//! is past it, so a child that is killed at any instruction leaves a log that is valid up to there.

use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::content::Tag;

const ENTRIES: usize = 1 << 15;
/// Words of a slot's text.
const TEXT: usize = 64;

/// One entry. Times are nanoseconds since boot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A worker joined and reads from `start`.
    Joined { incarnation: u64, start: u64 },
    /// A post or commit returned. `before`: the next id when a long one was begun.
    Posted { id: u64, tag: Tag, before: u64 },
    /// A handler got an event. For unique ones, the claim was won in `since..=until`.
    Delivered { id: u64, tag: Tag, since: u64, until: u64 },
    /// A poll begins, and nothing was copied out before it.
    Polls { at: u64 },
    /// The ids `first..first + missed` were reported as missed.
    Lagged { first: u64, missed: u64, at: u64 },
    /// The worker's cursor after a poll.
    Cursor { id: u64, at: u64 },
    /// The worker is about to leave; its cursor is at `id`.
    Leaving { id: u64, at: u64 },
    /// It has left; the next id was `newest` at that time.
    Left { newest: u64 },
    /// The reserver gave `id` up, or got an error that it was too late.
    Void { id: u64 },
    /// A report about `id`.
    Reported { id: u64, what: Odd },
    /// The claim on a shared key was won in `since..=until`.
    Won { key: u64, since: u64, until: u64 },
    /// Its release is about to be called.
    Releases { key: u64, at: u64 },
    /// A step took longer than the bound; the child was ready to run but had no processor for at most `unserved` of it.
    Slow { op: Op, since: u64, until: u64, unserved: u64 },
    /// An error that should not occur; the slot says which.
    Fault { op: Op },
    /// An action on descriptors.
    Descriptors { how: How },
    /// A child that a handler forked has ended with this wait status.
    Copy { status: i32 },
}

macro_rules! numbered {
    ($(#[$attr:meta])* $name:ident: $($variant:ident)+) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }
        impl $name {
            const ALL: &[$name] = &[$($name::$variant),+];
            pub fn from_number(number: u64) -> $name {
                $name::ALL[number as usize % $name::ALL.len()]
            }
        }
    };
}

numbered! {
    /// The report about an event.
    Odd: ClaimsFull ClaimLate Unreadable HandlerTrouble Torn Misattributed LostClaim FalseHolder GivenUpEarly NoSeat
}
numbered! {
    /// The action on descriptors: some of 0 to 2 were closed before joining; all from 3 on were closed after it; or
    /// they were replaced.
    How: Standard Closed Replaced
}
numbered! {
    /// The action of a child.
    Op: Idle Join Post Long Reserve Commit Abandon Poll Claim Release Wait Segments Leave Drain
        Descriptors
}

impl Entry {
    fn words(self) -> [u64; 4] {
        let first = |kind: u64, more: u64| kind << 56 | more;
        match self {
            Entry::Joined { incarnation, start } => [first(1, 0), incarnation, start, 0],
            Entry::Posted { id, tag, before } => [first(2, 0), id, tag.0, before],
            Entry::Delivered { id, tag, since, until } => [first(3, since), id, tag.0, until],
            Entry::Lagged { first: id, missed, at } => [first(4, 0), id, missed, at],
            Entry::Cursor { id, at } => [first(5, 0), id, at, 0],
            Entry::Leaving { id, at } => [first(6, 0), id, at, 0],
            Entry::Polls { at } => [first(14, 0), at, 0, 0],
            Entry::Left { newest } => [first(13, 0), newest, 0, 0],
            Entry::Void { id } => [first(7, 0), id, 0, 0],
            Entry::Reported { id, what } => [first(8, what as u64), id, 0, 0],
            Entry::Won { key, since, until } => [first(9, 0), key, since, until],
            Entry::Releases { key, at } => [first(10, 0), key, at, 0],
            Entry::Slow { op, since, until, unserved } => [first(11, op as u64), since, until, unserved],
            Entry::Fault { op } => [first(12, op as u64), 0, 0, 0],
            Entry::Descriptors { how } => [first(15, how as u64), 0, 0, 0],
            Entry::Copy { status } => [first(16, 0), u64::from(status.cast_unsigned()), 0, 0],
        }
    }

    fn from_words([first, a, b, c]: [u64; 4]) -> Entry {
        let more = first & ((1 << 56) - 1);
        match first >> 56 {
            1 => Entry::Joined { incarnation: a, start: b },
            2 => Entry::Posted { id: a, tag: Tag(b), before: c },
            3 => Entry::Delivered { id: a, tag: Tag(b), since: more, until: c },
            4 => Entry::Lagged { first: a, missed: b, at: c },
            5 => Entry::Cursor { id: a, at: b },
            6 => Entry::Leaving { id: a, at: b },
            7 => Entry::Void { id: a },
            8 => Entry::Reported { id: a, what: Odd::from_number(more) },
            9 => Entry::Won { key: a, since: b, until: c },
            10 => Entry::Releases { key: a, at: b },
            11 => Entry::Slow { op: Op::from_number(more), since: a, until: b, unserved: c },
            13 => Entry::Left { newest: a },
            14 => Entry::Polls { at: a },
            15 => Entry::Descriptors { how: How::from_number(more) },
            16 => Entry::Copy { status: (a as u32).cast_signed() },
            _ => Entry::Fault { op: Op::from_number(more) },
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Entry::Joined { incarnation, start } => write!(f, "joined as {incarnation}, reads from {start}"),
            Entry::Posted { id, tag, before } => write!(f, "posted {id} = {tag:?} (begun at {before})"),
            Entry::Delivered { id, tag, since, until } => write!(f, "delivered {id} = {tag:?} ({since}..{until})"),
            Entry::Polls { at } => write!(f, "polls at {at}"),
            Entry::Lagged { first, missed, at } => write!(f, "lagged {first}..{} at {at}", first + missed),
            Entry::Cursor { id, at } => write!(f, "cursor {id} at {at}"),
            Entry::Leaving { id, at } => write!(f, "leaving at {at}, cursor {id}"),
            Entry::Left { newest } => write!(f, "left, the next id being {newest}"),
            Entry::Void { id } => write!(f, "void {id}"),
            Entry::Reported { id, what } => write!(f, "reported {id}: {what:?}"),
            Entry::Won { key, since, until } => write!(f, "won key {key} in {since}..{until}"),
            Entry::Releases { key, at } => write!(f, "releases key {key} at {at}"),
            Entry::Slow { op, since, until, unserved } => {
                write!(f, "slow {op:?} {since}..{until}, {unserved} without a processor")
            }
            Entry::Fault { op } => write!(f, "fault in {op:?}"),
            Entry::Descriptors { how } => write!(f, "descriptors: {how:?}"),
            Entry::Copy { status } => write!(f, "a forked child ended with wait status {status:#x}"),
        }
    }
}

/// One child's part of the shared memory.
#[repr(C, align(128))]
pub struct Slot {
    head: AtomicU64,
    /// The number of workers of this slot so far, which is the number of the next.
    incarnations: AtomicU64,
    /// The current action of the child, and its start.
    op: AtomicU64,
    op_since: AtomicU64,
    quiet: AtomicU64,
    /// The worker that is on the bus: its incarnation, and its seat plus one; 0 if there is none.
    seat: AtomicU64,
    text: [AtomicU64; TEXT],
    tail: Aligned,
    entries: [[AtomicU64; 4]; ENTRIES],
}

#[repr(align(128))]
struct Aligned(AtomicU64);

impl Slot {
    /// Adds an entry, after waiting for room if there is none. Returns `true` if it had to wait.
    pub fn push(&self, entry: Entry) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        let mut waited = false;
        while head - self.tail.0.load(Ordering::Acquire) >= ENTRIES as u64 {
            std::thread::sleep(std::time::Duration::from_micros(200));
            waited = true;
        }
        for (word, value) in self.entries[head as usize % ENTRIES].iter().zip(entry.words()) {
            word.store(value, Ordering::Relaxed);
        }
        // Release: publishes the entry.
        self.head.store(head + 1, Ordering::Release);
        waited
    }

    /// Takes the next entry.
    pub fn pop(&self) -> Option<Entry> {
        let tail = self.tail.0.load(Ordering::Relaxed);
        // Acquire: sees the entry.
        if tail == self.head.load(Ordering::Acquire) {
            return None;
        }
        let words = self.entries[tail as usize % ENTRIES].each_ref().map(|word| word.load(Ordering::Relaxed));
        self.tail.0.store(tail + 1, Ordering::Release);
        Some(Entry::from_words(words))
    }

    pub fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn last_incarnation(&self) -> u64 {
        self.incarnations.load(Ordering::Relaxed)
    }

    pub fn begin(&self, op: Op, now: u64) {
        self.op_since.store(now, Ordering::Relaxed);
        self.op.store(op as u64, Ordering::Relaxed);
    }

    pub fn current_op(&self) -> (Op, u64) {
        (Op::from_number(self.op.load(Ordering::Relaxed)), self.op_since.load(Ordering::Relaxed))
    }

    /// Records which worker's seat this child has from now on. Never changes while it has one.
    pub fn set_seat(&self, seat: Option<(u64, u32)>) {
        let word = seat.map_or(0, |(incarnation, seat)| incarnation << 16 | (u64::from(seat) + 1));
        // Release: publishes what was done before, for a parent that compares.
        self.seat.store(word, Ordering::Release);
    }

    /// The worker's incarnation and its seat.
    pub fn seat(&self) -> Option<(u64, u32)> {
        let word = self.seat.load(Ordering::Acquire);
        (word != 0).then(|| (word >> 16, (word & 0xffff) as u32 - 1))
    }

    /// The error; usually there is only one. A child may have no standard error.
    pub fn say(&self, what: &str) {
        let mut bytes = what.bytes();
        for word in &self.text {
            let chunk = std::array::from_fn(|_| bytes.next().unwrap_or(0));
            word.store(u64::from_le_bytes(chunk), Ordering::Relaxed);
        }
    }

    pub fn text(&self) -> String {
        let bytes: Vec<_> = self.text.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    pub fn set_quiet(&self, quiet: bool) {
        self.quiet.store(u64::from(quiet), Ordering::Release);
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) == 1
    }
}

/// The phase of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything runs.
    Run,
    /// No process begins anything new.
    Still,
    /// All processes read the remaining events, and leave.
    Drain,
}

/// The memory that children and parent share: anonymous, mapped before the first fork.
pub struct Shared {
    slots: NonNull<Slot>,
    count: usize,
    phase: NonNull<AtomicU64>,
}

impl Shared {
    pub fn new(count: usize) -> Shared {
        let slots = map_shared(size_of::<Slot>() * count).cast();
        let phase = map_shared(size_of::<AtomicU64>()).cast();
        Shared { slots, count, phase }
    }

    pub fn slot(&self, slot: usize) -> &'static Slot {
        assert!(slot < self.count);
        // SAFETY: inside the mapping, which is never unmapped; zeros are a `Slot`, all of whose fields are atomics.
        unsafe { self.slots.add(slot).as_ref() }
    }

    /// Unmaps the memory, once every child is gone and no process reads it any more.
    pub fn unmap(&self) {
        // SAFETY: these are the mappings that `new` made, and the caller is the last user.
        unsafe {
            libc::munmap(self.slots.as_ptr().cast(), size_of::<Slot>() * self.count);
            libc::munmap(self.phase.as_ptr().cast(), size_of::<AtomicU64>());
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase_word().load(Ordering::Acquire) {
            0 => Phase::Run,
            1 => Phase::Still,
            _ => Phase::Drain,
        }
    }

    pub fn set_phase(&self, phase: Phase) {
        self.phase_word().store(phase as u64, Ordering::Release);
    }

    fn phase_word(&self) -> &AtomicU64 {
        // SAFETY: as for `slot`.
        unsafe { self.phase.as_ref() }
    }
}

/// Zeroed memory that forked children share with their parent.
pub fn map_shared(len: usize) -> NonNull<u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let at = unsafe { libc::mmap(null_mut(), len, protection, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0) };
    assert!(at != libc::MAP_FAILED, "mmap of {len} bytes: {}", std::io::Error::last_os_error());
    NonNull::new(at.cast()).expect("mmap gives no null")
}

/// The clock of seqcast's ttls.
pub fn boottime_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills `now`.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
