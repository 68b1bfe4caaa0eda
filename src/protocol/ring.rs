//! The total order. Ids are dense; id `t` lives in cell `t % capacity` with version `t / capacity + 1`.
//!
//! ```text
//!   (never used, or the event `capacity` ids ago)
//!        |                    |
//!        | post               | reserve
//!        v                    v
//!   [published] <-commit- [reserved] --void--> [void]
//!        |                    |                   |
//!        +---- post or reserve of the next lap ---+
//! ```
//!
//! `post`, `reserve` and `commit` are made by the worker that sends; `void` by the reserver, or by any reader that has
//! waited long enough or found the reserver dead. Each transition is one compare-exchange, so that all agree on it.
//!
//! The tail, which is the global event id, is where the search for the next id begins. It goes forward by stretches:
//! whoever takes the first id of a stretch moves it there before. So every id below it is taken, it lags by one stretch at
//! most, and most posts neither load nor store it: a writer begins at the id after its last, if that is further.

use super::pool::{Block, Exchange, Hand, Pool, Tries};
use super::seat_words::{RESERVED, WORDS};
use super::word::{CellWord, Mark, Phase};
use super::{Fault, load_acquire};
use crate::sync::{self, AtomicU64, Ordering, Words};

/// Bits of a cell's index that tell the cells of one line apart.
const LINE_BITS: u32 = 3;
/// Most ids in a stretch.
pub(crate) const LONGEST_STRETCH: u64 = 8;
/// Stretches in a ring, at least: the sweep of claims goes by the tail alone and must not be far behind.
pub(crate) const FEWEST_STRETCHES: u64 = 16;

/// How many ids a ring of `capacity` cells has to a stretch.
pub(crate) fn stretch_for(capacity: u64) -> u64 {
    (capacity / FEWEST_STRETCHES).clamp(1, LONGEST_STRETCH)
}

/// How many events ahead of the one that is copied lines are asked for: about as long as they take to come.
const PREFETCH_DISTANCE: u64 = 4;

/// The ring and the words that belong to it.
#[derive(Clone)]
pub(crate) struct Ring {
    pool: Pool,
    tail: Words,
    seats: Words,
    shift: u32,
    mask: u64,
    line_bits: u32,
    /// The other bits of an index.
    lines_shift: u32,
    stretch: u64,
}

/// What a reader finds at an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not taken yet.
    Empty,
    /// An event, to be copied and then looked at again.
    Published(CellWord),
    /// Taken, its payload still to come.
    Reserved(CellWord),
    /// Never became an event.
    Void,
    /// Overwritten by a later lap.
    Lapped,
}

/// What a reader finds where it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtMark {
    /// Still nothing.
    Empty,
    /// It was reserved and still is.
    Reserved,
    /// Something else, or the mark says nothing.
    News,
}

/// What came of a commit or void of a reserved id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This call decided it.
    Decided,
    /// It was decided before, or lapped.
    TooLate,
}

impl Ring {
    /// A ring over `pool`, whose number of cells is a power of two, with the word that holds the global event id and the
    /// seats. All that use it have the same `stretch`, a power of two and no more than there are cells.
    pub(crate) fn new(pool: Pool, tail: Words, seats: Words, stretch: u64) -> Ring {
        let capacity = pool.cells() as u64;
        debug_assert!(capacity.is_power_of_two() && stretch.is_power_of_two() && stretch <= capacity);
        let shift = capacity.trailing_zeros();
        // In a ring of less than eight lines there is nothing to spread over.
        let line_bits = if shift >= 2 * LINE_BITS { LINE_BITS } else { 0 };
        Ring { pool, tail, seats, shift, mask: capacity - 1, line_bits, lines_shift: shift - line_bits, stretch }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// The cell of `id`. Ids that follow each other are in different lines, so that who writes the next one does not take
    /// the line from who reads this one: the lowest bits of the index are the highest of the id's.
    #[inline]
    pub(crate) fn cell_of(&self, id: u64) -> usize {
        (id << self.line_bits & self.mask | (id & self.mask) >> self.lines_shift) as usize
    }

    #[inline]
    fn version_of(&self, id: u64) -> u64 {
        (id >> self.shift).wrapping_add(1)
    }

    /// The first id that is not taken yet. Nothing posted before this call is at or after it.
    pub(crate) fn newest(&self) -> u64 {
        // Acquire: whoever moved the tail past an id had seen that id's cell, and so do we.
        let tail = load_acquire(self.tail());
        // It lags by one stretch at most.
        let stretch = tail..tail.saturating_add(self.stretch);
        stretch.clone().find(|&id| matches!(self.look(id), Ok(Look::Empty) | Err(_))).unwrap_or(stretch.end)
    }

    /// The oldest id that the ring still holds.
    pub(crate) fn oldest(&self) -> u64 {
        self.newest().saturating_sub(self.capacity())
    }

    /// Where a lapped reader goes on that wanted `next`: an eighth of the ring above the oldest, since at the oldest
    /// itself it would be lapped again at once.
    pub(crate) fn resume_after_lap(&self, next: u64) -> u64 {
        let above_oldest = self.oldest().saturating_add(self.capacity() / 8);
        above_oldest.max(next.saturating_add(1))
    }

    /// Whether `id`, which was seen to be lapped, can be: whoever took the id that laps it had seen the tail at the first
    /// id of that stretch, and with its cell so have we.
    pub(crate) fn confirms_lap(&self, id: u64) -> bool {
        let tail = load_acquire(self.tail());
        id.checked_add(self.capacity()).is_some_and(|lapping| self.first_of_stretch(lapping) <= tail)
    }

    /// The first id of the stretch that `id` is in.
    #[inline]
    fn first_of_stretch(&self, id: u64) -> u64 {
        id & !(self.stretch - 1)
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        self.tail.at(0)
    }

    /// Whether nothing has happened at `id` yet: the one load of an idle poll.
    #[inline]
    pub(crate) fn is_empty_at(&self, id: u64) -> bool {
        // Relaxed: an answer that leads to reading is looked up again with `look`.
        let seen = CellWord::from_bits(self.pool.cell(self.cell_of(id)).load(Ordering::Relaxed));
        seen.version() < self.version_of(id)
    }

    /// A mark of `id`, at which nothing has happened yet.
    #[inline]
    pub(crate) fn mark_empty(&self, id: u64) -> Mark {
        Mark::empty(self.version_of(id), self.cell_of(id))
    }

    /// A mark of `id`, which is reserved.
    pub(crate) fn mark_reserved(&self, id: u64) -> Mark {
        Mark::reserved(self.version_of(id), self.cell_of(id))
    }

    /// Whether nothing has happened yet at the id of `mark`: the one shared load of an idle poll.
    #[inline]
    pub(crate) fn is_empty_by(&self, mark: Mark) -> bool {
        // Relaxed: an answer that leads to reading is looked up again with `look`.
        self.pool.cell(mark.cell()).load(Ordering::Relaxed) < mark.first_bits()
    }

    /// What is at the id of `mark`, as far as a reader has to know that has left it there.
    #[inline]
    pub(crate) fn at_mark(&self, mark: Mark) -> AtMark {
        // Relaxed: as in `is_empty_by`.
        let seen = CellWord::from_bits(self.pool.cell(mark.cell()).load(Ordering::Relaxed));
        if seen.bits() < mark.first_bits() {
            return AtMark::Empty;
        }
        let is_still_reserved =
            mark.is_reserved() && seen.version() == mark.version() && seen.phase() == Some(Phase::Reserved);
        if is_still_reserved { AtMark::Reserved } else { AtMark::News }
    }

    /// What is at `id` now.
    #[inline]
    pub(crate) fn look(&self, id: u64) -> Result<Look, Fault> {
        // Acquire: pairs with the release of the exchange that published, so that the block's words are there.
        let seen = CellWord::from_bits(load_acquire(self.pool.cell(self.cell_of(id))));
        let version = self.version_of(id);
        if seen.version() < version {
            return Ok(Look::Empty);
        }
        if seen.version() > version {
            return Ok(Look::Lapped);
        }
        match seen.phase() {
            Some(Phase::Published) => Ok(Look::Published(seen)),
            Some(Phase::Reserved) => Ok(Look::Reserved(seen)),
            Some(Phase::Void) => Ok(Look::Void),
            None => Err(Fault::Corrupt("a cell is in a phase that does not exist")),
        }
    }

    /// Asks for the lines of an event that will be read soon after the one at `id`. `false` if there is none yet: then
    /// asking again would only take lines from those who are about to write to them.
    #[inline]
    pub(crate) fn prefetch_after(&self, id: u64) -> bool {
        let soon = id.wrapping_add(PREFETCH_DISTANCE);
        if !sync::PREFETCHES || self.is_empty_at(soon) {
            return false;
        }
        self.pool.prefetch_to_read(self.cell_of(soon));
        self.pool.prefetch_cell(self.cell_of(soon.wrapping_add(PREFETCH_DISTANCE)));
        true
    }

    /// The block that `seen` names. What is read from it counts only if [`Ring::unchanged`] says so afterwards.
    #[inline]
    pub(crate) fn block(&self, seen: CellWord) -> Result<Block<'_>, Fault> {
        self.pool.block(seen.block())
    }

    /// Asks for the lines of the event at `id`, if it is there, ahead of its being read.
    #[inline]
    pub(crate) fn prefetch_event(&self, id: u64) {
        self.pool.prefetch_to_read(self.cell_of(id));
    }

    /// Whether `id`'s cell still holds `seen`.
    #[inline]
    pub(crate) fn unchanged(&self, id: u64, seen: CellWord) -> bool {
        self.pool.unchanged(self.cell_of(id), seen)
    }

    /// Publishes what `write` puts into the private block, as one event. Returns its id.
    // Every id below `hand.known()` is taken, and the caller has seen it: so no cell looks older to it than it is.
    #[inline]
    pub(crate) fn post(&self, hand: &mut Hand, write: impl FnOnce(Block<'_>)) -> Result<u64, Fault> {
        write(hand.begin(&self.pool)?);
        let mut places = Places::new(self, hand.known());
        loop {
            let (id, seen) = places.next()?;
            let version = self.version_of(id);
            if hand.exchange(&self.pool, self.cell_of(id), seen, version)? == Exchange::Done {
                self.prefetch_places_after(id, hand.has_taken(id));
                return Ok(id);
            }
        }
    }

    /// Takes an id whose payload is to come. A reservation that this seat forgot is voided first.
    pub(crate) fn reserve(&self, hand: &mut Hand) -> Result<u64, Fault> {
        self.abandon(hand.seat())?;
        let reserved = self.reserved(hand.seat());
        let mut places = Places::new(self, hand.known());
        loop {
            let (id, seen) = places.next()?;
            // Before the cell says so: a reader that meets a reserved id looks for a seat that names it. The release
            // of the exchange makes it visible.
            reserved.store(id + 1, Ordering::Release);
            let to = CellWord::new(self.version_of(id), Phase::Reserved, seen.block());
            if hand.mark(&self.pool, self.cell_of(id), seen, to)? == Exchange::Done {
                hand.has_taken(id);
                return Ok(id);
            }
        }
    }

    /// Makes the payload of the reserved `id` visible, unless it is too late. It also is if this seat has given `id` up
    /// to reserve another: the check is in here, so that one hold of the hand covers it, the exchange and the forgetting.
    pub(crate) fn commit(&self, hand: &mut Hand, id: u64, write: impl FnOnce(Block<'_>)) -> Result<Fate, Fault> {
        if self.reserved_by(hand.seat()) != Some(id) {
            return Ok(Fate::TooLate);
        }
        write(hand.begin(&self.pool)?);
        let fate = match self.look(id)? {
            Look::Reserved(seen) => match hand.exchange(&self.pool, self.cell_of(id), seen, seen.version())? {
                Exchange::Done => Fate::Decided,
                Exchange::Moved => Fate::TooLate,
            },
            _ => Fate::TooLate,
        };
        self.forget_reservation(hand.seat());
        Ok(fate)
    }

    /// Gives up the reserved `id`.
    pub(crate) fn void(&self, id: u64) -> Result<Fate, Fault> {
        let Look::Reserved(seen) = self.look(id)? else { return Ok(Fate::TooLate) };
        let to = CellWord::new(seen.version(), Phase::Void, seen.block());
        Ok(match self.pool.mark(self.cell_of(id), seen, to) {
            Exchange::Done => Fate::Decided,
            Exchange::Moved => Fate::TooLate,
        })
    }

    /// Voids what `seat` has reserved, if anything. For its holder.
    pub(crate) fn abandon(&self, seat: u16) -> Result<Option<Fate>, Fault> {
        let Some(id) = self.reserved_by(seat) else { return Ok(None) };
        let fate = self.void(id)?;
        self.forget_reservation(seat);
        Ok(Some(fate))
    }

    /// Says that `seat` has nothing reserved: after its reservation was decided, or for a dead holder, whereupon the
    /// readers void what it had reserved.
    pub(crate) fn forget_reservation(&self, seat: u16) {
        // Release: after the exchange that decided.
        self.reserved(seat).store(0, Ordering::Release);
    }

    /// The id that `seat` says it has reserved.
    pub(crate) fn reserved_by(&self, seat: u16) -> Option<u64> {
        // Acquire: pairs with `forget_reservation`, so that a reader that finds no name sees the decision.
        load_acquire(self.reserved(seat)).checked_sub(1)
    }

    fn reserved(&self, seat: u16) -> &AtomicU64 {
        self.seats.at(usize::from(seat) * WORDS + RESERVED)
    }

    /// Asks for what the next posts will store to: the cells, and the block that the first of them displaces, last
    /// touched one lap ago. Takes them from others only if the last two ids were the caller's: then the next is likely to
    /// be its too, and otherwise another writer, or a reader at the end, would lose them to no purpose.
    #[inline]
    fn prefetch_places_after(&self, id: u64, in_a_row: bool) {
        if sync::PREFETCHES {
            let (next, after) = (self.cell_of(id.wrapping_add(1)), self.cell_of(id.wrapping_add(2)));
            if in_a_row {
                self.pool.prefetch_to_write(next);
                sync::prefetch_to_write(self.pool.cell(after));
            } else {
                self.pool.prefetch_to_read(next);
                self.pool.prefetch_cell(after);
            }
        }
    }

    /// Moves the tail to `id`, the first of a stretch below which all are taken, unless somebody has.
    #[inline]
    fn help_tail(&self, id: u64) {
        // It is at the stretch before, or was moved: whoever took that one's first id saw to it. Release: whoever reads the
        // new tail sees the cells below `id`, which we have read or written.
        if let Some(before) = id.checked_sub(self.stretch) {
            let _ = self.tail().compare_exchange(before, id, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// The search for the next id to take.
struct Places<'a> {
    ring: &'a Ring,
    /// The id to look at next; every one below is taken.
    id: u64,
    /// Whether the search has been at the tail.
    from_tail: bool,
    tries: Tries,
}

impl<'a> Places<'a> {
    /// Begins at `known`, below which every id is taken.
    #[inline]
    fn new(ring: &'a Ring, known: u64) -> Places<'a> {
        Places { ring, id: known, from_tail: false, tries: Tries::new() }
    }

    /// An id that looked free, and the word its cell held then.
    #[inline]
    fn next(&mut self) -> Result<(u64, CellWord), Fault> {
        loop {
            self.tries.another()?;
            let (ring, id) = (self.ring, self.id);
            let version = ring.version_of(id);
            if version > CellWord::LAST_VERSION {
                return Err(Fault::Exhausted("the event ids"));
            }
            // Acquire: what we write later comes after what this word's writer wrote.
            let seen = CellWord::from_bits(ring.pool.cell(ring.cell_of(id)).load(Ordering::Acquire));
            if seen.version() + 1 == version {
                if ring.first_of_stretch(id) == id {
                    ring.help_tail(id);
                }
                return Ok((id, seen));
            }
            self.go_on(seen.version(), version)?;
        }
    }

    /// Goes on from an id whose cell is not at the `version` before its own.
    fn go_on(&mut self, seen: u64, version: u64) -> Result<(), Fault> {
        if seen < version {
            return Err(Fault::Corrupt("the event id is ahead of its cell by more than one lap"));
        }
        let next = self.id.saturating_add(1);
        if seen == version && self.from_tail && self.ring.first_of_stretch(next) != next {
            self.id = next;
            return Ok(());
        }
        // Acquire: with it come the cells of all ids below, so that none of them looks older than it is.
        let tail = self.ring.tail().load(Ordering::Acquire);
        if seen > version && tail <= self.id {
            // Who took the id that laps this one had seen a newer tail, and with its cell so have we.
            return Err(Fault::Corrupt("the event id lags behind its cell by more than one lap"));
        }
        self.from_tail = true;
        self.id = tail.max(next);
        Ok(())
    }
}
