//! Cells and blocks, and the one exchange that moves a block from a worker to the public and back.
//!
//! Every block is named by one cell (public, immutable) or held by one seat (private, its holder writes). One
//! compare-exchange is the only transfer: it puts the private block into the cell, and the displaced block becomes the
//! next private one. A cell's version only grows, so that a late compare-exchange fails.
//!
//! ```text
//! block    [stamp][cell][version][meta] [payload ...]
//! ```

use super::seat_words::{ATTEMPT, OWN, PREV};
use super::word::{CellWord, Phase, Stamp};
use super::{Fault, TRIES};
use crate::sync::{self, AtomicU64, Ordering, Words, fence};

const STAMP: usize = 0;
const CELL: usize = 1;
const VERSION: usize = 2;
const META: usize = 3;
/// Words of a line of the processor's cache.
const WORDS_PER_LINE: usize = 8;
/// Words before a block's payload.
pub(crate) const HEAD_WORDS: usize = 4;

/// The cells and blocks of one region.
#[derive(Clone)]
pub(crate) struct Pool {
    cells: Words,
    blocks: Words,
    stride: usize,
    count: u32,
}

/// A block in place.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a>(&'a [AtomicU64]);

impl<'a> Block<'a> {
    /// The word that says what the payload is, for the layer above.
    #[inline]
    pub(crate) fn meta(self) -> &'a AtomicU64 {
        &self.0[META]
    }

    /// Asks for the second line, which would otherwise be fetched only after the first has been looked at.
    #[inline]
    pub(crate) fn prefetch_second_line(self) {
        if let Some(word) = self.0.get(WORDS_PER_LINE) {
            sync::prefetch_to_read(word);
        }
    }

    #[inline]
    pub(crate) fn payload(self) -> &'a [AtomicU64] {
        &self.0[HEAD_WORDS..]
    }
}

/// What came of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The block is public.
    Done,
    /// The cell has moved on; nobody saw the block.
    Moved,
}

impl Pool {
    /// A pool over `cells` and over `blocks`, which are `stride` words each.
    pub(crate) fn new(cells: Words, blocks: Words, stride: usize) -> Pool {
        let count = (blocks.as_slice().len() / stride) as u32;
        Pool { cells, blocks, stride, count }
    }

    /// Gives each cell and then each of `hands` the block it begins with. Only for a segment that nobody else sees yet.
    pub(crate) fn format(&self, hands: &[Words]) {
        let cells = self.cells.as_slice();
        for (block, cell) in cells.iter().enumerate() {
            cell.store(CellWord::new(0, Phase::Published, block as u32).bits(), Ordering::Relaxed);
        }
        for (block, hand) in (cells.len()..).zip(hands) {
            hand.at(OWN).store(block as u64, Ordering::Relaxed);
            hand.at(PREV).store(block as u64, Ordering::Relaxed);
            hand.at(ATTEMPT).store(0, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn cell(&self, index: usize) -> &AtomicU64 {
        self.cells.at(index)
    }

    pub(crate) fn cells(&self) -> usize {
        self.cells.as_slice().len()
    }

    #[inline]
    pub(crate) fn payload_words(&self) -> usize {
        self.stride - HEAD_WORDS
    }

    #[inline]
    pub(crate) fn block(&self, block: u32) -> Result<Block<'_>, Fault> {
        let at = block as usize * self.stride;
        match self.blocks.as_slice().get(at..at + self.stride) {
            Some(words) => Ok(Block(words)),
            None => Err(Fault::Corrupt("a cell or seat names a block that does not exist")),
        }
    }

    /// The seqlock's second look: whether cell `index` still holds `seen`, so that what was copied out of its block
    /// since is what was published.
    #[inline]
    pub(crate) fn unchanged(&self, index: usize, seen: CellWord) -> bool {
        // Acquire fence: had a payload load met a word of the block's next use, this look would see the exchange that
        // came before that use (release fence in `Hand::begin`).
        fence(Ordering::Acquire);
        self.cell(index).load(Ordering::Relaxed) == seen.bits()
    }

    /// Replaces cell `index`, which holds `seen`, by `to`, of the same version and block.
    pub(crate) fn mark(&self, index: usize, seen: CellWord, to: CellWord) -> Exchange {
        // SeqCst: as in `Hand::exchange`, for the words that the marker stored before.
        let marked = self.cell(index).compare_exchange(seen.bits(), to.bits(), Ordering::SeqCst, Ordering::Relaxed);
        if marked.is_ok() { Exchange::Done } else { Exchange::Moved }
    }

    /// Asks for the lines that an exchange of cell `index` will store to.
    #[inline]
    pub(crate) fn prefetch_to_write(&self, index: usize) {
        self.first_lines(index).for_each(sync::prefetch_to_write);
    }

    /// Asks for the lines that a reader of cell `index` will copy.
    #[inline]
    pub(crate) fn prefetch_to_read(&self, index: usize) {
        self.first_lines(index).for_each(sync::prefetch_to_read);
    }

    /// Asks for the line of cell `index`, to be looked at.
    #[inline]
    pub(crate) fn prefetch_cell(&self, index: usize) {
        sync::prefetch_to_read(self.cell(index));
    }

    /// The first words of the two lines of a cell's block that small events use.
    #[inline]
    fn first_lines(&self, index: usize) -> impl Iterator<Item = &AtomicU64> {
        // Relaxed: nothing is read through it.
        let seen = CellWord::from_bits(self.cell(index).load(Ordering::Relaxed));
        let words = self.block(seen.block()).map_or(&[][..], |block| block.0);
        [words.first(), words.get(WORDS_PER_LINE)].into_iter().flatten()
    }

    /// Says of the publication that `seen` names that it happened, before the cell forgets it: its author may have died
    /// in the middle, and whoever adopts the author's seat must know. `false` if the cell has moved on.
    ///
    /// The caller's own publications need no confirmation: of them only the last attempt is ever in question, and the
    /// caller, who has got on to the next, knows how it ended.
    #[inline]
    fn confirm(&self, me: u16, index: usize, seen: CellWord) -> Result<bool, Fault> {
        let stamp_word = &self.block(seen.block())?.0[STAMP];
        // Acquire: pairs with the release of A3, as the block was published by then.
        let stamp = Stamp::from_bits(stamp_word.load(Ordering::Acquire)); // H1
        if stamp.is_confirmed() || stamp.seat() == me {
            return Ok(true);
        }
        // Only while the cell names the block is this the stamp of the publication and not of a later attempt.
        if !self.unchanged(index, seen) {
            return Ok(false);
        }
        // Attempts never repeat, so that this fails if the block has got another stamp meanwhile. Release: an adopter
        // that reads the confirmation must see no older stamp afterwards. A failure needs nothing.
        let _ =
            stamp_word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::AcqRel, Ordering::Relaxed); // H2
        Ok(true)
    }
}

/// A seat's hold on one block of a pool, and the right to exchange it.
pub(crate) struct Hand {
    shared: Words,
    seat: u16,
    own: u32,
    attempt: u64,
    /// Every id below it is taken, and has been seen to be.
    known: u64,
    /// The id after the last that was taken by this hand. Nothing is decided by it.
    after_last: u64,
}

impl Hand {
    /// Takes over the hand of a seat whose last holder is proven dead or has left, with the block that it holds.
    ///
    /// May itself be killed between any two steps: each store leaves a state that the next adopter reads alike.
    pub(crate) fn adopt(pool: &Pool, shared: Words, seat: u16) -> Result<Hand, Fault> {
        let Found { own, held } = Hand::find(pool, &shared, seat)?;
        // Release: whoever adopts next reads both after everything we did.
        if held == own {
            shared.at(PREV).store(u64::from(held), Ordering::Release);
        } else {
            shared.at(OWN).store(u64::from(held), Ordering::Release);
        }
        let attempt = shared.at(ATTEMPT).load(Ordering::Acquire);
        Ok(Hand { shared, seat, own: held, attempt, known: 0, after_last: u64::MAX })
    }

    /// The block that a seat's hand holds, for one who only looks. True while the hand is quiet, and stays so while it
    /// is adopted: an adopter changes what the hand says and not what is so.
    pub(crate) fn held(pool: &Pool, shared: &Words, seat: u16) -> Result<u32, Fault> {
        Ok(Hand::find(pool, shared, seat)?.held)
    }

    /// Finds out which block a quiet hand holds: the one it wrote (its last exchange did not happen) or the one it was to
    /// get (it did).
    fn find(pool: &Pool, shared: &Words, seat: u16) -> Result<Found, Fault> {
        let own = held_block(pool, shared.at(OWN).load(Ordering::Acquire))?;
        let prev = held_block(pool, shared.at(PREV).load(Ordering::Acquire))?;
        let block = pool.block(own)?.0;
        let stamp = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));
        let held = if stamp.seat() == seat && !stamp.is_confirmed() {
            // An attempt was begun and nobody has confirmed it: it happened if the cell says so now, or if it was
            // confirmed while we looked. Acquire on the cell: a helper that erased the name confirmed first.
            let index = block[CELL].load(Ordering::Acquire);
            let version = block[VERSION].load(Ordering::Acquire);
            let named = index < pool.cells() as u64
                && version <= CellWord::LAST_VERSION
                && pool.cell(index as usize).load(Ordering::Acquire)
                    == CellWord::new(version, Phase::Published, own).bits();
            let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));
            if !named && stamp_after == stamp { own } else { prev }
        } else {
            // Confirmed, or stamped by a later holder, or adopted before.
            prev
        };
        Ok(Found { own, held })
    }

    pub(crate) fn seat(&self) -> u16 {
        self.seat
    }

    /// The id below which every one is known to be taken.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Says that every id below `id` is taken, of which the caller has seen the cells.
    #[inline]
    pub(crate) fn know(&mut self, id: u64) {
        self.known = self.known.max(id);
    }

    /// Says that this hand has taken `id`. Returns whether it took the one before, too.
    #[inline]
    pub(crate) fn has_taken(&mut self, id: u64) -> bool {
        let in_a_row = self.after_last == id;
        self.after_last = id.wrapping_add(1);
        self.known = self.after_last;
        in_a_row
    }

    /// The private block, to be written. Comes before any store to it.
    #[inline]
    pub(crate) fn begin<'a>(&self, pool: &'a Pool) -> Result<Block<'a>, Fault> {
        let block = pool.block(self.own)?;
        // A reader may still be copying this block's last event. Release fence: if it meets a word that we store from
        // here on, its second look sees that the cell has moved on (fence in `Pool::unchanged`).
        fence(Ordering::Release);
        Ok(block)
    }

    /// The number that the next exchange will have: never used before by this seat, nor ever again.
    pub(crate) fn next_attempt(&self) -> Result<u64, Fault> {
        if self.attempt >= Stamp::LAST_ATTEMPT {
            return Err(Fault::Exhausted("the publication attempts of a seat"));
        }
        Ok(self.attempt + 1)
    }

    /// Puts the private block into cell `index` as `version`, if the cell still holds `seen`. On success the displaced
    /// block is the private one.
    // Always: as for `Claims::claim`.
    #[inline(always)]
    pub(crate) fn exchange(
        &mut self,
        pool: &Pool,
        index: usize,
        seen: CellWord,
        version: u64,
    ) -> Result<Exchange, Fault> {
        let old = seen.block();
        let block = pool.block(self.own)?.0;
        self.attempt = self.next_attempt()?;
        // Relaxed: before A3 in program order, which is what a successor sees of the dead.
        self.shared.at(ATTEMPT).store(self.attempt, Ordering::Relaxed); // A1
        // Release: an adopter that reads the stamp of this attempt reads its cell and version too. Stored before the
        // stamp; with the stamp of an earlier attempt they only say that a failed exchange failed.
        block[CELL].store(index as u64, Ordering::Release); // A2
        block[VERSION].store(version, Ordering::Release);
        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3
        self.shared.at(PREV).store(u64::from(old), Ordering::Release); // A4
        if !pool.confirm(self.seat, index, seen)? {
            return Ok(Exchange::Moved);
        }
        let published = CellWord::new(version, Phase::Published, self.own);
        // Release: the payload and A1 to A4 are visible to whoever reads the cell. Acquire: what we will write into the
        // displaced block comes after everything its readers could have seen of it. SeqCst: for `wake::notify`.
        let exchanged =
            pool.cell(index).compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, Ordering::Relaxed); // P
        if exchanged.is_err() {
            return Ok(Exchange::Moved);
        }
        self.own = old;
        self.shared.at(OWN).store(u64::from(old), Ordering::Release);
        Ok(Exchange::Done)
    }

    /// Replaces cell `index`, which holds `seen`, by `to`, of a new version but without moving a block.
    pub(crate) fn mark(&self, pool: &Pool, index: usize, seen: CellWord, to: CellWord) -> Result<Exchange, Fault> {
        // It ends the publication before it, which must be confirmed first like by any exchange.
        if !pool.confirm(self.seat, index, seen)? {
            return Ok(Exchange::Moved);
        }
        Ok(pool.mark(index, seen, to))
    }
}

/// The block that a hand says it holds, and the one that it does.
struct Found {
    own: u32,
    held: u32,
}

fn held_block(pool: &Pool, word: u64) -> Result<u32, Fault> {
    if word < u64::from(pool.count) {
        Ok(word as u32)
    } else {
        Err(Fault::Corrupt("a seat holds a block that does not exist"))
    }
}

/// Counts down [`TRIES`].
pub(crate) struct Tries(u32);

impl Tries {
    pub(crate) fn new() -> Tries {
        Tries(TRIES)
    }

    #[inline]
    pub(crate) fn another(&mut self) -> Result<(), Fault> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(Fault::Corrupt("a step never came to an end, though every word was tried again")),
        }
    }
}
