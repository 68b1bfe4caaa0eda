//! Posts that find no room, because they would lap a reader that must read.
//!
//! An attempt to post runs under the lock of the writer, and never waits. If there is no room, the attempt ends, and
//! the wait is outside the lock: other threads of the worker post, settle and leave meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_utils::Backoff;

use crate::error::{Cause, Error, Holder, Result};
use crate::event::NoRoom;
use crate::event::wire::LargeName;
use crate::os::futex::SharedFutex;
use crate::protocol::ring::Stop;
use crate::protocol::room::{Blocked, Slowest};
use crate::protocol::wake;
use crate::protocol::word::MustWord;
use crate::seat::fragmented::Fragmented;
use crate::seat::holder::Hold;
use crate::seat::label_of;
use crate::seat::post::Posts;
use crate::seat::publish::{Outgoing, Writer};
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::{header_word, seat_word};

/// A post in progress: what its attempts leave to the next one.
#[derive(Default)]
pub struct Posting<'a> {
    /// The event in fragments, of which some are posted.
    pub(super) message: Option<Fragmented<'a>>,
    /// The payload of a retained event, if it is public in a large block already.
    pub(super) named: Option<LargeName>,
    /// Set if the last attempt has found no room.
    blocked: Option<Held>,
}

impl Posting<'_> {
    /// Returns `true` if the last attempt has found no room.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Ends the post with the error of the last attempt: it does not wait for room.
    pub(super) fn refuse(&mut self) {
        self.blocked = None;
    }
}

/// A reader that holds a post up.
#[derive(Clone, Copy)]
struct Held {
    slowest: Slowest,
    /// The id after the last one that the post wants.
    end: u64,
}

impl Held {
    fn is_over(&self, segment: &Segment) -> bool {
        !segment.musts().holds_up(&self.slowest, self.end, segment.geometry().capacity())
    }

    /// Returns `true` if the reader has died. If its lock cannot be checked, it counts as alive: the wait is bounded.
    fn is_dead(&self, segment: &Segment) -> bool {
        Hold::of(segment, self.slowest.seat).is_ok_and(|hold| !hold.is_alive())
    }
}

/// Returns how long a post waits for the reader of `seat`, in nanoseconds. The word may be hostile.
pub(crate) fn patience_ns(segment: &Segment, seat: u16) -> u64 {
    segment.musts().patience(seat).min(segment.geometry().most_patience)
}

/// Calls `attempt` until it posts or fails for another reason than a lack of room, or until `no_room` ends that.
#[inline]
pub(crate) fn with_room<'a, P: Posts, R>(
    handle: &mut P,
    no_room: NoRoom,
    mut attempt: impl FnMut(&mut P, &mut Posting<'a>) -> Result<R>,
) -> Result<R> {
    let mut posting = Posting::default();
    match attempt(handle, &mut posting) {
        Err(full) if posting.blocked.is_some() => wait_for_room(handle, no_room, posting, full, attempt),
        done => done,
    }
}

#[cold]
fn wait_for_room<'a, P: Posts, R>(
    handle: &mut P,
    no_room: NoRoom,
    mut posting: Posting<'a>,
    mut full: Error,
    mut attempt: impl FnMut(&mut P, &mut Posting<'a>) -> Result<R>,
) -> Result<R> {
    let (segment, seat) = handle.with_writer(|writer| Ok((Arc::clone(&writer.segment), writer.hand.seat())))?;
    // A reader that others wait for does not wait itself: it would not read meanwhile.
    let may_wait = no_room == NoRoom::Wait && segment.musts().of(seat).is_off();
    let wait =
        Wait { segment, may_wait, interval: handle.wait_interval(), began: Instant::now(), backoff: Backoff::new() };
    let posted = loop {
        let Some(held) = posting.blocked.take() else { break Err(full) };
        if !wait.is_worth_another(&held, || handle.check())? {
            break Err(full);
        }
        match attempt(handle, &mut posting) {
            Err(error) if posting.blocked.is_some() => full = error,
            done => break done,
        }
    };
    let waited = wait.may_wait.then(|| wait.began.elapsed());
    // The post has its result, whatever becomes of the seat.
    let _ = handle.with_writer(|writer| {
        match waited {
            Some(waited) => writer.count_wait(waited),
            None if posted.is_err() => writer.count_refused(),
            None => {}
        }
        Ok(())
    });
    posted
}

/// The wait of one post.
struct Wait {
    segment: Arc<Segment>,
    may_wait: bool,
    /// The longest nap.
    interval: Duration,
    /// When the post found that there was no room.
    began: Instant,
    backoff: Backoff,
}

impl Wait {
    /// S4 to S6: waits until there may be room. Returns `false` if the post is refused. `check` fails if the handle
    /// cannot post any more.
    fn is_worth_another(&self, held: &Held, check: impl Fn() -> Result<()>) -> Result<bool> {
        let segment = &*self.segment;
        while !held.is_over(segment) {
            if self.may_wait && !self.backoff.is_completed() {
                self.backoff.snooze();
                continue;
            }
            let waited_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            match Blocked::next(
                held.is_dead(segment),
                self.may_wait,
                waited_ns,
                patience_ns(segment, held.slowest.seat),
            ) {
                Blocked::Bury => segment.musts().bury(&held.slowest),
                Blocked::Refuse => return Ok(false),
                Blocked::CutOff => {
                    if segment.musts().cut_off(&held.slowest) {
                        // Other posts that wait for this reader go on, too.
                        segment.notify(header_word!(wake_room));
                    }
                }
                Blocked::Sleep(ns) => {
                    let nap = self.interval.min(Duration::from_nanos(ns));
                    wake::nap(segment.wake_word(header_word!(wake_room)), &SharedFutex, nap, || held.is_over(segment));
                    // During the sleep a signal handler may have forked and returned in the child.
                    check()?;
                }
            }
        }
        Ok(true)
    }
}

impl Writer {
    /// Raises the limit for a post that wants `count` ids and has stopped. If there is no room, says so in `posting`,
    /// and returns the error for it.
    #[cold]
    pub(super) fn make_room(&mut self, stop: Stop, count: u64, posting: &mut Posting<'_>) -> Result<()> {
        let id = match stop {
            Stop::Fault(fault) => return Err(self.segment.fault(fault)),
            Stop::NoRoom { id } => id,
        };
        let scan = self.musts.scan(id);
        match self.limit.take_in(scan, self.ring.capacity(), id, count) {
            None => {
                self.want(count);
                Ok(())
            }
            Some(slowest) => {
                posting.blocked = Some(Held { slowest, end: id.saturating_add(count) });
                Err(self.full(&slowest, id))
            }
        }
    }

    /// Makes room for the next id, before a post that does much before it takes an id.
    pub(super) fn make_room_for_next(&mut self, posting: &mut Posting<'_>) -> Result<()> {
        self.want(1);
        match self.hand.known() {
            id if self.hand.has_room(id) => Ok(()),
            id => self.make_room(Stop::NoRoom { id }, 1, posting),
        }
    }

    /// If the reader of `seat`, whose word is `must`, has died, ends the wait of all posts for it. Returns `true` if it
    /// has died.
    pub(super) fn bury_dead(&self, seat: u16, must: MustWord) -> bool {
        let held = Held { slowest: Slowest { seat, must, need: 0 }, end: 0 };
        let is_dead = held.is_dead(&self.segment);
        if is_dead {
            self.musts.bury(&held.slowest);
        }
        is_dead
    }

    /// Lets the hand take ids as far as there is room for `count` of them.
    pub(super) fn want(&mut self, count: u64) {
        self.hand.stop_at(self.limit.end().saturating_sub(count - 1));
    }

    fn full(&self, slowest: &Slowest, id: u64) -> Error {
        let words = SeatWords::of(&self.segment.seats(), slowest.seat);
        Error::from(Cause::Full {
            name: self.segment.name().to_owned(),
            reader: Holder {
                seat: slowest.seat.into(),
                pid: words.get(seat_word!(identity.pid)) as u32,
                label: label_of(&words),
                unlocked: false,
            },
            own: slowest.seat == self.hand.seat(),
            lag: id.saturating_sub(slowest.need),
            patience: Duration::from_nanos(patience_ns(&self.segment, slowest.seat)),
        })
    }

    /// Posts an event of the library's own, which waits for no reader. Returns `None` if there is no room for it.
    pub(crate) fn post_if_room(&mut self, event: &Outgoing<'_>) -> Result<Option<u64>> {
        loop {
            let mut posting = Posting::default();
            let posted = self.post(event, &mut posting);
            let Some(held) = posting.blocked else { return posted.map(Some) };
            if !held.is_dead(&self.segment) {
                self.count_refused();
                return Ok(None);
            }
            self.musts.bury(&held.slowest);
        }
    }

    fn count_wait(&self, waited: Duration) {
        self.seat.add(seat_word!(posting.waits), 1);
        self.seat.add(seat_word!(posting.waited_ns), u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn count_refused(&self) {
        self.seat.add(seat_word!(posting.refused), 1);
    }
}
