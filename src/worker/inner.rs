//! The state that all clones of a worker share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, RwLock};

use crossbeam_utils::CachePadded;

use super::default_report::DefaultReports;
use super::handlers::Handlers;
use super::options::{Changing, Tuning};
use super::polling::turn::{OWN, PollState};
use super::waker::OwnWakes;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::event::LocalEvent;
use crate::os::clock::HostClock;
use crate::os::fork::ForkGuard;
use crate::os::locks::DroppedUnlessHeld;
use crate::protocol::retained::Table;
use crate::protocol::ring::Ring;
use crate::protocol::thread_lock::{Lock, Locked};
use crate::protocol::word::Mark;
use crate::seat::Seat;
use crate::seat::claim::Claimer;
use crate::seat::must::MustRead;
use crate::seat::options::WorkerOptions;
use crate::seat::publish::Writer;
use crate::seat::read::Reader;
use crate::seat::tenure::Incarnation;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::sync::Words;

pub(crate) struct Inner {
    pub(super) segment: Arc<Segment>,
    pub(super) guard: ForkGuard,
    pub(super) ring: Ring,
    /// The table of retained events, if the segment has one.
    pub(super) table: Option<Table>,
    pub(super) hot: CachePadded<Hot>,
    // In a forked child, data that another thread of the parent was changing at the fork is not dropped.
    pub(super) writer: DroppedUnlessHeld<Lock<Writer>>,
    pub(super) claimer: DroppedUnlessHeld<Lock<Claimer>>,
    pub(super) poll_state: DroppedUnlessHeld<Lock<PollState>>,
    pub(super) local: DroppedUnlessHeld<Mutex<VecDeque<LocalEvent>>>,
    pub(super) handlers: DroppedUnlessHeld<Handlers>,
    pub(super) options: DroppedUnlessHeld<RwLock<Arc<WorkerOptions>>>,
    /// The options with which the worker joined.
    pub(super) joined_with: Arc<WorkerOptions>,
    pub(super) changing: Changing,
    pub(super) tuning: Tuning,
    pub(super) clock: HostClock,
    pub(super) words: SeatWords,
    /// The seats of all workers, to distinguish processes with the same pid.
    pub(super) seats: Words,
    pub(super) seat: u16,
    pub(super) pid: u32,
    pub(super) default_reports: DefaultReports,
    /// Panics of reporters that are not counted in the seat yet.
    pub(super) reporters_failed: AtomicU64,
    pub(super) own_wakes: Arc<OwnWakes>,
    pub(super) left: AtomicBool,
    /// `true` while this worker has its seat and its handlers. The thread that gives them up clears it, once. See
    /// [`leaving`](super::leaving).
    pub(super) seated: AtomicBool,
}

/// The words that an idle poll reads.
pub(crate) struct Hot {
    /// The [`Mark`] of the id at which the last poll stopped. It is [`Mark::NONE`] while a thread polls, and if
    /// that poll left events that were copied out ahead. It is a single word, because polls of several threads store
    /// to it.
    pub(super) mark: AtomicU64,
    /// If the mark is one of a reserved id: the beginning of the wait for it, or [`OWN`].
    pub(super) reserved_since: AtomicU64,
    /// The next id to be read.
    pub(super) next: AtomicU64,
    /// The first id whose handlers have not returned, or that was not read.
    pub(super) unhandled: AtomicU64,
    pub(super) local: AtomicUsize,
    /// The thread that polls, 0 for none.
    pub(super) polling: AtomicUsize,
    /// The first id that this worker has posted since the handlers of the last event began.
    pub(super) first_own_post: AtomicU64,
    /// Ends when another process takes the seat.
    pub(super) incarnation: Incarnation,
}

impl Inner {
    /// Takes a seat for a worker.
    pub(super) fn join(segment: &Arc<Segment>, options: WorkerOptions) -> Result<Inner> {
        options.check_to_join(segment)?;
        let mut seat = Seat::take(segment, &options.label)?;
        // Before the look at the ring: from the next id on, posts wait for this worker.
        let must = options.must_read_ns().map(|ns| MustRead::join(segment, seat.number, ns, None));
        // Again: `Now` is the time at which the seat was taken.
        let begin = options.start.begin(segment)?;
        // After that, so that this worker gets it, too.
        seat.tell_death(&options)?;
        let (ring, start) = (segment.ring(), begin.first);
        let Seat {
            segment, guard, tenure, incarnation, number: seat_number, words, writer, claimer, clock, pid, ..
        } = seat;
        let reader = Reader::new(Arc::clone(&segment), words.clone(), seat_number, clock, begin, must);
        let mark = if reader.has_ahead() { Mark::NONE } else { ring.mark_empty(start) };
        let unhandled = reader.handled_below();
        let options = Arc::new(options);
        Ok(Inner {
            seats: segment.seats(),
            own_wakes: Arc::new(OwnWakes::new(&segment, guard)),
            table: segment.table(),
            segment,
            guard,
            ring,
            hot: CachePadded::new(Hot {
                mark: AtomicU64::new(mark.bits()),
                reserved_since: AtomicU64::new(OWN),
                next: AtomicU64::new(start),
                unhandled: AtomicU64::new(unhandled),
                local: AtomicUsize::new(0),
                polling: AtomicUsize::new(0),
                first_own_post: AtomicU64::new(u64::MAX),
                incarnation,
            }),
            writer: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), writer)),
            claimer: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), claimer)),
            poll_state: DroppedUnlessHeld::new(Lock::new(AtomicU32::new(0), PollState::new(reader, tenure))),
            local: DroppedUnlessHeld::new(Mutex::default()),
            handlers: DroppedUnlessHeld::new(Handlers::new()),
            tuning: Tuning::of(&options),
            clock,
            options: DroppedUnlessHeld::new(RwLock::new(Arc::clone(&options))),
            joined_with: options,
            changing: Changing::default(),
            words,
            seat: seat_number,
            pid,
            default_reports: DefaultReports::new(),
            reporters_failed: AtomicU64::new(0),
            left: AtomicBool::new(false),
            seated: AtomicBool::new(true),
        })
    }

    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        // Before any lock: another thread may have held it at the fork.
        self.guard.check()?;
        self.check_seat()
    }

    /// Returns an error if the worker has left or was displaced. It does not leave while the caller holds the lock of
    /// the writer or of the claimer: [`leave`](Inner::leave) takes both.
    #[inline]
    pub(super) fn check_seat(&self) -> Result<()> {
        // Relaxed: a lock that `leave` held orders it; without one there is no order to keep.
        if self.has_left() {
            return Err(Error::from(Cause::Left));
        }
        if self.hot.incarnation.is_over() { Err(self.lost_seat()) } else { Ok(()) }
    }

    /// [`ErrorKind::Displaced`] if another process has taken the seat before the worker has left.
    #[inline]
    pub(super) fn check_displaced(&self) -> Result<()> {
        if self.hot.incarnation.is_over() {
            let error = self.lost_seat();
            if error.kind() == ErrorKind::Displaced {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns the reason why another process has the seat.
    #[cold]
    fn lost_seat(&self) -> Error {
        // Acquire: with the incarnation that was seen. A worker stores that it has left before it releases the lock of
        // the seat.
        fence(Ordering::Acquire);
        match self.hot.incarnation.check(&self.segment) {
            Err(displaced) if !self.has_left() => displaced,
            _ => Error::from(Cause::Left),
        }
    }

    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns the writer. The worker does not leave until it is released.
    #[inline]
    pub(super) fn writer(&self) -> Result<Locked<'_, Writer>> {
        // Before the lock: another thread may have held it at the fork.
        self.guard.check()?;
        let writer = self.writer.lock();
        self.check_seat()?;
        Ok(writer)
    }

    /// Returns the writer for the next id, which it looks for behind what this worker has read.
    #[inline]
    pub(super) fn writer_for_next(&self) -> Result<Locked<'_, Writer>> {
        let mut writer = self.writer()?;
        // Acquire: with the cells that the reader has seen.
        writer.know(self.hot.next.load(Ordering::Acquire));
        Ok(writer)
    }

    /// Calls `run` with the writer, for a draft. What the draft has borrowed stays lent, unless another post has needed
    /// it.
    pub(super) fn with_lender<R>(&self, run: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        // As in `writer`.
        self.guard.check()?;
        let mut writer = match self.writer.resume() {
            Some(writer) => writer,
            None => self.writer.lock(),
        };
        let done = self.check_seat().and_then(|()| {
            writer.know(self.hot.next.load(Ordering::Acquire));
            run(&mut writer)
        });
        if writer.is_lent() {
            writer.lend();
        }
        done
    }

    /// Returns the claimer. The worker does not leave until it is released.
    #[inline]
    pub(super) fn claimer(&self) -> Result<Locked<'_, Claimer>> {
        // Before the lock: another thread may have held it at the fork.
        self.guard.check()?;
        let claimer = self.claimer.lock();
        self.check_seat()?;
        Ok(claimer)
    }
}
