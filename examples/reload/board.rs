//! Memory that master and workers share, apart from the bus, to check what the bus does.

use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;

/// The most workers of both generations.
pub const MOST: usize = 32;
/// The most ids of a segment that are compared.
const IDS: usize = 1 << 20;
/// The most ticks.
pub const TICKS: usize = 1 << 16;

/// What the workers do. The master goes from one to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The old workers work.
    Old = 0,
    /// Both generations work.
    Both,
    /// The old workers receive what is on its way, and leave.
    Drain,
    /// The new workers work.
    New,
    /// The new workers receive what is on its way, and leave.
    End,
}

/// The board. All words are 0 at the beginning.
#[repr(C)]
pub struct Board {
    phase: AtomicU64,
    /// Workers that are on their bus.
    pub joined: AtomicU64,
    /// Workers that post nothing more.
    pub stopped: AtomicU64,
    /// 1 when `due` is set for all workers.
    pub is_due: AtomicU64,
    /// The current tick.
    pub tick: AtomicU64,
    /// The first tick that the new workers post.
    pub first_tick_of_new: AtomicU64,
    pub requests: AtomicU64,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    pub disordered: AtomicU64,
    /// By segment: the id up to which the bridge has carried everything.
    pub carried_below: [AtomicU64; 2],
    pub workers: [OfWorker; MOST],
    /// 1 for each tick that a worker has posted.
    pub posted_ticks: [AtomicU64; TICKS],
    /// How often each tick ran.
    pub ran: [AtomicU64; TICKS],
    /// By segment and id: the event that the first worker received there.
    at: [[AtomicU64; IDS]; 2],
}

/// The words of a worker.
#[repr(C, align(128))]
pub struct OfWorker {
    /// The number of its last post.
    pub posted: AtomicU64,
    /// The number of its last post that the old workers must receive.
    pub due: AtomicU64,
    /// The id up to which it has received everything.
    pub received_below: AtomicU64,
    /// 1 from its join to its end.
    pub works: AtomicU64,
}

impl Board {
    /// Creates a board that this process shares with the children that it forks.
    pub fn shared() -> Result<&'static Board> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: the call makes a new mapping at an address that the kernel chooses.
        let memory = unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<Board>(), access, flags)? };
        // SAFETY: the mapping is aligned to a page, large enough, and never unmapped; zeros are a board.
        Ok(unsafe { &*memory.cast::<Board>() })
    }

    pub fn phase(&self) -> Phase {
        // Acquire: with what the master stored before.
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Old,
            1 => Phase::Both,
            2 => Phase::Drain,
            3 => Phase::New,
            _ => Phase::End,
        }
    }

    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u64, Ordering::Release);
    }

    /// Notes that a worker of a segment received `event` at `id`. All workers must receive the same one there.
    pub fn note(&self, segment: usize, id: u64, event: u64) {
        let Some(at) = self.at[segment].get(id as usize) else { return };
        // Relaxed: only this word says it.
        let first = at.compare_exchange(0, event, Ordering::Relaxed, Ordering::Relaxed);
        if first.is_err_and(|first| first != event) {
            self.disordered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the id up to which the workers `range` of a segment, and the bridge, have received everything.
    pub fn received_below(&self, segment: usize, range: std::ops::Range<usize>) -> u64 {
        let working = self.workers[range].iter().filter(|worker| worker.works.load(Ordering::Relaxed) == 1);
        let of_workers = working.map(|worker| worker.received_below.load(Ordering::Relaxed)).min();
        let of_bridge = match self.phase() {
            Phase::Old | Phase::New | Phase::End => u64::MAX,
            Phase::Both | Phase::Drain => self.carried_below[segment].load(Ordering::Relaxed),
        };
        of_workers.unwrap_or(u64::MAX).min(of_bridge)
    }
}
