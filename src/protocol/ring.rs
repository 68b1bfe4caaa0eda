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
//! A retained event is posted in the phase *keep*, which readers take for published. It becomes published when it is
//! settled (see [`super::retained`]), and before that its cell does not get the next id.
//!
//! The sending worker makes `post`, `reserve` and `commit`. The reserver makes `void`, and so does any reader that has
//! waited long enough or found the reserver dead. Each transition is one compare-exchange, so all processes agree on
//! it.
//!
//! The tail, which is the global event id, is where the search for the next id begins. It advances by stretches: the
//! writer that takes the first id of a stretch advances the tail first. Every id below the tail is therefore taken, the
//! tail lags by at most one stretch, and most posts neither load nor store it: a writer begins at the id after its
//! last, if that is further.

use super::pool::{Block, Exchange, Hand, Pool, Tries};
use super::seat_words::{RESERVED, WORDS};
use super::word::{CellWord, Mark, Phase};
use super::{Fault, load_acquire};
use crate::sync::{self, AtomicU64, Ordering, Words};

/// The cells of consecutive ids that are in one line.
pub(crate) const CELLS_PER_LINE: u64 = 8;
/// The largest number of ids in a stretch.
pub(crate) const LONGEST_STRETCH: u64 = 8;
/// The smallest number of stretches in a ring: the sweep of claims uses the tail alone, which must not be far behind.
pub(crate) const FEWEST_STRETCHES: u64 = 16;

/// Returns the number of ids in a stretch for a ring of `capacity` cells.
pub(crate) fn stretch_for(capacity: u64) -> u64 {
    (capacity / FEWEST_STRETCHES).clamp(1, LONGEST_STRETCH)
}

/// The number of events that are prefetched ahead of the copied one: about as many as arrive in time.
const PREFETCH_DISTANCE: u64 = 4;

/// The ring and its words.
#[derive(Clone)]
pub(crate) struct Ring {
    pool: Pool,
    tail: Words,
    seats: Words,
    shift: u32,
    mask: u64,
    stretch: u64,
}

/// The state of an id, as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not taken yet.
    Empty,
    /// An event, to be copied and then looked at again.
    Published(CellWord),
    /// Taken; the payload follows later.
    Reserved(CellWord),
    /// Never became an event.
    Void,
    /// Overwritten by a later lap.
    Lapped,
}

/// The state of the id at which a reader stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtMark {
    /// Still empty.
    Empty,
    /// It was reserved and still is.
    Reserved,
    /// Anything else, or the mark is [`Mark::NONE`].
    News,
}

/// Brings a retained event into the table before its cell gets the next id.
pub(crate) trait Settle {
    /// Settles event `id`, whose cell held `seen`. Afterwards the event or a later event of its key is in the table,
    /// and the cell no longer holds `seen`.
    fn settle(&mut self, id: u64, seen: CellWord) -> Result<(), Fault>;
}

/// For a segment without a table.
pub(crate) struct NoTable;

impl Settle for NoTable {
    fn settle(&mut self, _: u64, _: CellWord) -> Result<(), Fault> {
        Err(Fault::Corrupt("an event is to be kept, and the segment has no table of retained events"))
    }
}

/// The reason why an id was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Fault(Fault),
    /// The hand must not take `id`, the next one, before its limit is raised (see [`super::room`]).
    NoRoom {
        id: u64,
    },
}

impl From<Fault> for Stop {
    #[inline]
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// The result of a commit or void of a reserved id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This call decided the id.
    Decided,
    /// The id was decided before, or lapped.
    TooLate,
}

impl Ring {
    /// Creates a ring over `pool`, whose number of cells is a power of two, with the word that holds the global event
    /// id, and the seats. All users of the ring have the same `stretch`, a power of two that is at most the number of
    /// cells.
    pub(crate) fn new(pool: Pool, tail: Words, seats: Words, stretch: u64) -> Ring {
        let capacity = pool.cells() as u64;
        debug_assert!(capacity.is_power_of_two() && stretch.is_power_of_two() && stretch <= capacity);
        let shift = capacity.trailing_zeros();
        Ring { pool, tail, seats, shift, mask: capacity - 1, stretch }
    }

    #[inline]
    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// Returns the cell of `id`. Consecutive ids share a line, so a writer of several events in a row takes it once,
    /// unless a reader takes it back in between (see `seat::pace`).
    #[inline]
    pub(crate) fn cell_of(&self, id: u64) -> usize {
        (id & self.mask) as usize
    }

    #[inline]
    fn version_of(&self, id: u64) -> u64 {
        (id >> self.shift).wrapping_add(1)
    }

    /// Returns the first free id. Every event posted before this call has a lower id.
    pub(crate) fn newest(&self) -> u64 {
        // Acquire: the process that moved the tail past an id had seen that id's cell, and so do we.
        let tail = load_acquire(self.tail());
        // It lags by one stretch at most.
        let stretch = tail..tail.saturating_add(self.stretch);
        stretch.clone().find(|&id| matches!(self.look(id), Ok(Look::Empty) | Err(_))).unwrap_or(stretch.end)
    }

    /// Returns the oldest id that the ring still holds.
    pub(crate) fn oldest(&self) -> u64 {
        self.newest().saturating_sub(self.capacity())
    }

    /// Returns where a lapped reader that wanted `next` continues: an eighth of the ring above the oldest id. At the
    /// oldest id it would be lapped again at once.
    pub(crate) fn resume_after_lap(&self, next: u64) -> u64 {
        let above_oldest = self.oldest().saturating_add(self.capacity() / 8);
        above_oldest.max(next.saturating_add(1))
    }

    /// Returns `true` if a lap of `id`, as seen in its cell, is plausible: the writer of the id that laps it had seen
    /// the tail at the first id of that stretch, and through its cell so have we.
    pub(crate) fn confirms_lap(&self, id: u64) -> bool {
        let tail = load_acquire(self.tail());
        id.checked_add(self.capacity()).is_some_and(|lapping| self.first_of_stretch(lapping) <= tail)
    }

    /// Returns the first id of the stretch of `id`.
    #[inline]
    fn first_of_stretch(&self, id: u64) -> u64 {
        id & !(self.stretch - 1)
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        self.tail.at(0)
    }

    /// Returns `true` if `id` is not taken yet. This is the one load of an idle poll.
    #[inline]
    pub(crate) fn is_empty_at(&self, id: u64) -> bool {
        // Relaxed: before anything is read, `look` loads the cell again.
        let seen = CellWord::from_bits(self.pool.cell(self.cell_of(id)).load(Ordering::Relaxed));
        seen.version() < self.version_of(id)
    }

    /// Returns a mark of `id`, which is not taken yet.
    #[inline]
    pub(crate) fn mark_empty(&self, id: u64) -> Mark {
        Mark::empty(self.version_of(id), self.cell_of(id))
    }

    /// Returns a mark of `id`, which is reserved.
    pub(crate) fn mark_reserved(&self, id: u64) -> Mark {
        Mark::reserved(self.version_of(id), self.cell_of(id))
    }

    /// Returns `true` if the id of `mark` is not taken yet. This is the one shared load of an idle poll.
    #[inline]
    pub(crate) fn is_empty_by(&self, mark: Mark) -> bool {
        // Relaxed: before anything is read, `look` loads the cell again.
        self.pool.cell(mark.cell()).load(Ordering::Relaxed) < mark.first_bits()
    }

    /// Returns the state of the id of `mark`, as far as a reader that stopped there has to know it.
    #[inline]
    pub(crate) fn at_mark(&self, mark: Mark) -> AtMark {
        // Relaxed: as in `is_empty_by`.
        let seen = CellWord::from_bits(self.pool.cell(mark.cell()).load(Ordering::Relaxed));
        if seen.bits() < mark.first_bits() {
            return AtMark::Empty;
        }
        let is_still_reserved =
            mark.is_reserved() && seen.version() == mark.version() && seen.phase() == Phase::Reserved;
        if is_still_reserved { AtMark::Reserved } else { AtMark::News }
    }

    /// Returns the current state of `id`.
    #[inline]
    pub(crate) fn look(&self, id: u64) -> Result<Look, Fault> {
        let seen = self.cell_word(id);
        let version = self.version_of(id);
        if seen.version() < version {
            return Ok(Look::Empty);
        }
        if seen.version() > version {
            return Ok(Look::Lapped);
        }
        match seen.phase() {
            Phase::Published | Phase::Keep => Ok(Look::Published(seen)),
            Phase::Reserved => Ok(Look::Reserved(seen)),
            Phase::Void => Ok(Look::Void),
        }
    }

    /// Returns the word of `id`'s cell, if `id` is an event: what [`look`](Ring::look) finds in most cases.
    #[inline]
    pub(crate) fn published(&self, id: u64) -> Option<CellWord> {
        let seen = self.cell_word(id);
        (seen.version() == self.version_of(id) && matches!(seen.phase(), Phase::Published | Phase::Keep))
            .then_some(seen)
    }

    /// Returns the word of `id`'s cell, which may be that of another id.
    #[inline]
    fn cell_word(&self, id: u64) -> CellWord {
        // Acquire: pairs with the release of the exchange that published, and makes the block's words visible.
        CellWord::from_bits(load_acquire(self.pool.cell(self.cell_of(id))))
    }

    /// Prefetches the lines of an event that will be read soon after the one at `id`. Returns `false` if that event
    /// does not exist yet: another request would then only take lines from the writers that are about to store to them.
    #[inline]
    pub(crate) fn prefetch_after(&self, id: u64) -> bool {
        let soon = id.wrapping_add(PREFETCH_DISTANCE);
        if !sync::PREFETCHES || self.is_empty_at(soon) {
            return false;
        }
        self.prefetch_known_after(id);
        true
    }

    /// Does the same if the caller knows that the event exists.
    #[inline]
    pub(crate) fn prefetch_known_after(&self, id: u64) {
        let soon = id.wrapping_add(PREFETCH_DISTANCE);
        if sync::PREFETCHES {
            self.pool.prefetch_to_read(self.cell_of(soon));
            self.pool.prefetch_cell(self.cell_of(soon.wrapping_add(PREFETCH_DISTANCE)));
        }
    }

    /// Prefetches the rest of the event of which [`prefetch_after`](Ring::prefetch_after) has prefetched the first
    /// lines. It is taken to be as long as the one at `id`, which has `len` bytes.
    #[inline]
    pub(crate) fn prefetch_rest_after(&self, id: u64, len: usize) {
        if sync::PREFETCHES {
            self.pool.prefetch_rest_to_read(self.cell_of(id.wrapping_add(PREFETCH_DISTANCE)), len);
        }
    }

    /// Returns the block that `seen` names. The words read from it count only if [`Ring::unchanged`] returns `true`
    /// afterwards.
    #[inline]
    pub(crate) fn block(&self, seen: CellWord) -> Result<Block<'_>, Fault> {
        self.pool.block(seen.block())
    }

    /// Prefetches the lines of the event at `id`, if it exists, before it is read.
    #[inline]
    pub(crate) fn prefetch_event(&self, id: u64) {
        self.pool.prefetch_to_read(self.cell_of(id));
    }

    /// Returns `true` if `id`'s cell still holds `seen`.
    #[inline]
    pub(crate) fn unchanged(&self, id: u64, seen: CellWord) -> bool {
        self.pool.unchanged(self.cell_of(id), seen)
    }

    /// Returns the private block, to be written before [`post`](Ring::post) publishes it.
    pub(crate) fn begin(&self, hand: &Hand) -> Result<Block<'_>, Fault> {
        hand.begin(&self.pool)
    }

    /// Publishes what `write` puts into the private block, as one event. Returns its id. If there is no room, nothing
    /// is published.
    // Every id below `hand.known()` is taken, and the caller has seen it, so no cell looks older to it than it is.
    #[inline]
    pub(crate) fn post(
        &self,
        hand: &mut Hand,
        settler: &mut impl Settle,
        write: impl FnOnce(Block<'_>),
    ) -> Result<u64, Stop> {
        write(hand.begin(&self.pool)?);
        let mut search = IdSearch::new(self, hand.known());
        loop {
            let (id, seen) = search.next_in_room(hand)?;
            if seen.phase() == Phase::Keep {
                self.settle_displaced(id, seen, settler)?;
            } else if self.take(hand, id, seen, Phase::Published)? == Exchange::Done {
                return Ok(id);
            }
        }
    }

    /// Publishes a retained event. `write` puts it into the given block. It is called again if `settler` has settled
    /// another event meanwhile, which overwrites what was prepared for this one. Returns the id, and the new word of
    /// its cell.
    #[inline]
    pub(crate) fn post_retained<S: Settle>(
        &self,
        hand: &mut Hand,
        settler: &mut S,
        write: impl Fn(Block<'_>, &mut S) -> Result<(), Fault>,
    ) -> Result<(u64, CellWord), Stop> {
        let mut search = IdSearch::new(self, hand.known());
        let mut prepared = false;
        loop {
            let (id, seen) = search.next_in_room(hand)?;
            if seen.phase() == Phase::Keep {
                self.settle_displaced(id, seen, settler)?;
                prepared = false;
                continue;
            }
            if !prepared {
                write(hand.begin(&self.pool)?, settler)?;
                prepared = true;
            }
            let posted = CellWord::new(self.version_of(id), Phase::Keep, hand.own());
            if self.take(hand, id, seen, Phase::Keep)? == Exchange::Done {
                return Ok((id, posted));
            }
        }
    }

    /// Puts the private block into the cell of `id`, which held `seen`.
    #[inline(always)]
    fn take(&self, hand: &mut Hand, id: u64, seen: CellWord, phase: Phase) -> Result<Exchange, Fault> {
        let exchange = hand.exchange(&self.pool, self.cell_of(id), seen, self.version_of(id), phase)?;
        if exchange == Exchange::Done {
            hand.has_taken(id);
            self.prefetch_places_after(id, hand.is_in_a_row());
        }
        Ok(exchange)
    }

    /// Rule D: settles the event that the cell of `id` holds as `seen`, before the cell gets `id`.
    #[cold]
    fn settle_displaced(&self, id: u64, seen: CellWord, settler: &mut impl Settle) -> Result<(), Fault> {
        match id.checked_sub(self.capacity()) {
            Some(displaced) => settler.settle(displaced, seen),
            None => Err(Fault::Corrupt("a cell that was never used is to be kept")),
        }
    }

    /// Returns the word of `id`'s cell, if `id` is an unsettled event.
    #[inline]
    pub(crate) fn unsettled(&self, id: u64) -> Option<CellWord> {
        // Acquire: as in `look`.
        let seen = CellWord::from_bits(load_acquire(self.pool.cell(self.cell_of(id))));
        (seen.phase() == Phase::Keep && seen.version() == self.version_of(id)).then_some(seen)
    }

    /// Returns `true` if `id`'s cell still holds `seen`, the phase included.
    #[inline]
    pub(crate) fn holds(&self, id: u64, seen: CellWord) -> bool {
        self.pool.holds(self.cell_of(id), seen)
    }

    /// Marks event `id`, whose cell held `seen`, as settled. If the cell has changed, another seat has marked the
    /// event.
    #[inline]
    pub(crate) fn mark_settled(&self, id: u64, seen: CellWord) {
        let _ = self.pool.mark(self.cell_of(id), seen, seen.in_phase(Phase::Published));
    }

    /// Takes an id whose payload is to come. A reservation that this seat forgot is voided first.
    pub(crate) fn reserve(&self, hand: &mut Hand, settler: &mut impl Settle) -> Result<u64, Stop> {
        self.abandon(hand.seat())?;
        let reserved = self.reserved(hand.seat());
        let mut search = IdSearch::new(self, hand.known());
        loop {
            // An id that another seat got is not named any more.
            let (id, seen) = search.next_in_room(hand).inspect_err(|_| self.forget_reservation(hand.seat()))?;
            if seen.phase() == Phase::Keep {
                self.settle_displaced(id, seen, settler)?;
                continue;
            }
            // Stored before the cell says so: a reader that meets a reserved id looks for a seat that names it. The
            // release of the exchange makes it visible.
            reserved.store(id + 1, Ordering::Release);
            let to = CellWord::new(self.version_of(id), Phase::Reserved, seen.block());
            if hand.mark(&self.pool, self.cell_of(id), seen, to)? == Exchange::Done {
                hand.has_taken(id);
                return Ok(id);
            }
        }
    }

    /// Makes the payload of the reserved `id` visible, unless it is too late. It is also too late if this seat has
    /// given `id` up to reserve another id. The check is made here so that one lock of the hand covers the check, the
    /// exchange and the forgetting.
    pub(crate) fn commit(&self, hand: &mut Hand, id: u64, write: impl FnOnce(Block<'_>)) -> Result<Fate, Fault> {
        if self.reserved_by(hand.seat()) != Some(id) {
            return Ok(Fate::TooLate);
        }
        write(hand.begin(&self.pool)?);
        let fate = match self.look(id)? {
            Look::Reserved(seen) => {
                match hand.exchange(&self.pool, self.cell_of(id), seen, seen.version(), Phase::Published)? {
                    Exchange::Done => Fate::Decided,
                    Exchange::Moved => Fate::TooLate,
                }
            }
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

    /// Voids the reservation of `seat`, if there is one. For the seat's holder.
    pub(crate) fn abandon(&self, seat: u16) -> Result<Option<Fate>, Fault> {
        let Some(id) = self.reserved_by(seat) else { return Ok(None) };
        let fate = self.void(id)?;
        self.forget_reservation(seat);
        Ok(Some(fate))
    }

    /// Clears the reservation of `seat`: after it was decided, or for a dead holder; then readers void the reserved id.
    pub(crate) fn forget_reservation(&self, seat: u16) {
        // Release: after the exchange that decided.
        self.reserved(seat).store(0, Ordering::Release);
    }

    /// Returns the id that `seat` has reserved according to its words.
    pub(crate) fn reserved_by(&self, seat: u16) -> Option<u64> {
        // Acquire: pairs with `forget_reservation`, so that a reader that finds no name sees the decision.
        load_acquire(self.reserved(seat)).checked_sub(1)
    }

    fn reserved(&self, seat: u16) -> &AtomicU64 {
        self.seats.at(usize::from(seat) * WORDS + RESERVED)
    }

    /// Prefetches the private block's lines for an event that is at most as large as a small one, for writing, because
    /// no other process needs them. Without this they may be in another core's cache or in memory when the next post
    /// stores to them. The exchange of that post waits for these stores, so an event would reach its readers later by
    /// one transfer of a line. For larger events the processor itself does better: it sees a run of lines.
    #[inline]
    pub(crate) fn prefetch_private(&self, hand: &Hand) {
        // In a row the lines were prefetched before the post that made the block private.
        if sync::PREFETCHES && !hand.is_in_a_row() {
            self.pool.prefetch_private(hand.own());
        }
    }

    /// Prefetches what the next posts will store to: the cells, and the block that the first of them displaces, which
    /// was last touched one lap ago. Takes the cells' lines from others only if the caller took the last two ids,
    /// because it then probably takes the next id, too. Otherwise another writer, or a reader at the end, would lose
    /// the lines for nothing.
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

    /// Moves the tail to `id`, the first id of a stretch below which all ids are taken, unless another process has.
    #[inline]
    fn help_tail(&self, id: u64) {
        // The tail is at the previous stretch or further, because the writer of that stretch's first id moved it there.
        // Release: a process that reads the new tail sees the cells below `id`, which we have read or written.
        if let Some(before) = id.checked_sub(self.stretch) {
            let _ = self.tail().compare_exchange(before, id, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// The search for the next id to take.
#[derive(Clone, Copy)]
struct IdSearch<'a> {
    ring: &'a Ring,
    /// The next id to look at; every id below it is taken.
    id: u64,
    /// `true` once the search has used the tail.
    from_tail: bool,
    tries: Tries,
}

impl<'a> IdSearch<'a> {
    /// Begins at `known`, below which every id is taken.
    #[inline]
    fn new(ring: &'a Ring, known: u64) -> IdSearch<'a> {
        IdSearch { ring, id: known, from_tail: false, tries: Tries::new() }
    }

    /// Returns an id that looked free, and the word that its cell held then.
    #[inline]
    fn next(&mut self) -> Result<(u64, CellWord), Fault> {
        loop {
            self.tries.another()?;
            let (ring, id) = (self.ring, self.id);
            let version = ring.version_of(id);
            if version > CellWord::LAST_VERSION {
                return Err(Fault::Exhausted("the event ids"));
            }
            // Acquire: our later stores come after the stores of this word's writer.
            let seen = CellWord::from_bits(ring.pool.cell(ring.cell_of(id)).load(Ordering::Acquire));
            if seen.version() + 1 == version {
                if ring.first_of_stretch(id) == id {
                    ring.help_tail(id);
                }
                return Ok((id, seen));
            }
            *self = self.go_on(seen.version(), version)?;
        }
    }

    /// As [`next`](IdSearch::next), but stops at an id that `hand` must not take yet.
    #[inline]
    fn next_in_room(&mut self, hand: &Hand) -> Result<(u64, CellWord), Stop> {
        let (id, seen) = self.next()?;
        if hand.has_room(id) { Ok((id, seen)) } else { Err(Stop::NoRoom { id }) }
    }

    /// Continues from an id whose cell does not have the version before its own. By value, so that a search whose first
    /// id is free stays in registers.
    #[inline(never)]
    fn go_on(mut self, seen: u64, version: u64) -> Result<IdSearch<'a>, Fault> {
        if seen < version {
            return Err(Fault::Corrupt("the event id is ahead of its cell by more than one lap"));
        }
        let next = self.id.saturating_add(1);
        if seen == version && self.from_tail && self.ring.first_of_stretch(next) != next {
            self.id = next;
            return Ok(self);
        }
        // Acquire: makes the cells of all ids below visible, so that none of them looks older than it is.
        let tail = self.ring.tail().load(Ordering::Acquire);
        if seen > version && tail <= self.id {
            // The writer of the id that laps this one had seen a newer tail, and through its cell so have we.
            return Err(Fault::Corrupt("the event id lags behind its cell by more than one lap"));
        }
        self.from_tail = true;
        self.id = tail.max(next);
        Ok(self)
    }
}
