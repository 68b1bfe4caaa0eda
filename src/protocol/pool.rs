//! Cells and blocks, and the exchange that makes a private block public and a public block private.
//!
//! Every block is named by one cell (public, immutable) or held by one seat (private, its holder writes). One
//! compare-exchange is the only transfer: it puts the private block into the cell, and the displaced block becomes the
//! next private one. A cell's version only grows, so a late compare-exchange fails.
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
/// Words in a cache line.
const WORDS_PER_LINE: usize = 8;
/// The lines of the largest event that is prefetched whole: a little more than 1 KiB.
const MOST_PREFETCHED: usize = 20;
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

/// A mapped block.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a>(&'a [AtomicU64]);

impl<'a> Block<'a> {
    /// The word that describes the payload, for the layer above.
    #[inline]
    pub(crate) fn meta(self) -> &'a AtomicU64 {
        &self.0[META]
    }

    /// Prefetches the second line, which would otherwise be fetched only after the first has been read.
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

/// The result of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The block is public.
    Done,
    /// The cell has moved on; no reader has seen the block.
    Moved,
}

/// How many blocks apart the first blocks of neighbouring cells are, as a power of two.
const BLOCKS_APART: u32 = 3;

/// Returns the first block of cell `index`, one of `cells`. Neighbouring cells get blocks that are not neighbours:
/// processors fetch the lines behind a block ahead, and would take them from the writer of the next event.
fn first_block_of(index: usize, cells: usize) -> usize {
    let bits = cells.trailing_zeros();
    if !cells.is_power_of_two() || bits < 2 * BLOCKS_APART {
        return index;
    }
    index << BLOCKS_APART & (cells - 1) | index >> (bits - BLOCKS_APART)
}

impl Pool {
    /// Creates a pool over `cells` and `blocks`, which are `stride` words each.
    pub(crate) fn new(cells: Words, blocks: Words, stride: usize) -> Pool {
        let count = (blocks.as_slice().len() / stride) as u32;
        Pool { cells, blocks, stride, count }
    }

    /// Gives each cell and then each of `hands` its first block. Only for a segment that no other process sees yet.
    pub(crate) fn format(&self, hands: &[Words]) {
        let cells = self.cells.as_slice();
        for (index, cell) in cells.iter().enumerate() {
            let block = first_block_of(index, cells.len()) as u32;
            cell.store(CellWord::new(0, Phase::Published, block).bits(), Ordering::Relaxed);
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

    /// The seqlock's second look. Returns `true` if cell `index` still names the block of `seen` in the same version:
    /// then the words that were copied from the block in between are those that were published. The mark of a settled
    /// event changes the phase and nothing else.
    #[inline]
    pub(crate) fn unchanged(&self, index: usize, seen: CellWord) -> bool {
        self.second_look(index).names_as(seen)
    }

    /// Returns `true` if cell `index` still holds `seen`, the phase included.
    #[inline]
    pub(crate) fn holds(&self, index: usize, seen: CellWord) -> bool {
        self.second_look(index) == seen
    }

    #[inline]
    fn second_look(&self, index: usize) -> CellWord {
        // Acquire fence: if a payload load had read a word of the block's next use, this look would see the exchange
        // that came before that use (release fence in `Hand::begin`).
        fence(Ordering::Acquire);
        CellWord::from_bits(self.cell(index).load(Ordering::Relaxed))
    }

    /// Replaces `seen` in cell `index` by `to`, with the same version and block.
    pub(crate) fn mark(&self, index: usize, seen: CellWord, to: CellWord) -> Exchange {
        // SeqCst: as in `Hand::exchange`, for the words that the caller stored before.
        let marked = self.cell(index).compare_exchange(seen.bits(), to.bits(), Ordering::SeqCst, Ordering::Relaxed);
        if marked.is_ok() { Exchange::Done } else { Exchange::Moved }
    }

    /// Prefetches the lines that an exchange of cell `index` will store to.
    #[inline]
    pub(crate) fn prefetch_to_write(&self, index: usize) {
        self.first_lines(index).for_each(sync::prefetch_to_write);
    }

    /// Prefetches the lines that a reader of cell `index` will copy.
    #[inline]
    pub(crate) fn prefetch_to_read(&self, index: usize) {
        self.first_lines(index).for_each(sync::prefetch_to_read);
    }

    /// Prefetches the lines behind these that a reader of cell `index` will copy, if its event has `len` bytes. Not
    /// those of a large event: they are a run of lines, which the processor itself fetches ahead.
    #[inline]
    pub(crate) fn prefetch_rest_to_read(&self, index: usize, len: usize) {
        // Relaxed: the caller does not read through it.
        let block = CellWord::from_bits(self.cell(index).load(Ordering::Relaxed)).block();
        let words = self.block(block).map_or(&[][..], |block| block.0);
        let lines = (HEAD_WORDS + len.div_ceil(8)).div_ceil(WORDS_PER_LINE);
        if lines <= MOST_PREFETCHED {
            let lines = words.chunks(WORDS_PER_LINE).take(lines).skip(2);
            lines.filter_map(|line| line.first()).for_each(sync::prefetch_to_read);
        }
    }

    /// Prefetches the line of cell `index`, for reading.
    #[inline]
    pub(crate) fn prefetch_cell(&self, index: usize) {
        sync::prefetch_to_read(self.cell(index));
    }

    /// Prefetches the lines of `block`, which the caller holds as its private one, that a small event is stored to.
    #[inline]
    pub(crate) fn prefetch_private(&self, block: u32) {
        self.first_lines_of(block).for_each(sync::prefetch_to_write);
    }

    /// Returns the first words of the two lines of a cell's block that small events use.
    #[inline]
    fn first_lines(&self, index: usize) -> impl Iterator<Item = &AtomicU64> {
        // Relaxed: the caller does not read through it.
        self.first_lines_of(CellWord::from_bits(self.cell(index).load(Ordering::Relaxed)).block())
    }

    /// Returns the first words of the two lines of a block that small events use.
    #[inline]
    fn first_lines_of(&self, block: u32) -> impl Iterator<Item = &AtomicU64> {
        let words = self.block(block).map_or(&[][..], |block| block.0);
        [words.first(), words.get(WORDS_PER_LINE)].into_iter().flatten()
    }

    /// Confirms the publication that `seen` names, before the cell is overwritten: its author may have died before it
    /// knew that the publication happened, and the process that adopts its seat must know. Returns `false` if the cell
    /// has moved on.
    ///
    /// The caller's own publications need no confirmation: of these only the last attempt is ever in question, and the
    /// caller has continued past it, so it knows the result.
    #[inline]
    fn confirm(&self, me: u16, index: usize, seen: CellWord) -> Result<bool, Fault> {
        let word = &self.block(seen.block())?.0[STAMP];
        // Acquire: pairs with the release of A3, which came before the publication of the block.
        let stamp = Stamp::from_bits(word.load(Ordering::Acquire)); // H1
        if stamp.is_confirmed() || stamp.seat() == me {
            return Ok(true);
        }
        // Only while the cell names the block does the stamp belong to this publication, and not to a later attempt.
        if !self.unchanged(index, seen) {
            return Ok(false);
        }
        // H2. Attempts never repeat, so this fails if the block has another stamp by now. Release: an adopter that
        // reads the confirmation must not see an older stamp afterwards. A failure needs no action.
        let _ = word.compare_exchange(stamp.bits(), stamp.confirmed().bits(), Ordering::AcqRel, Ordering::Relaxed);
        Ok(true)
    }
}

/// A seat's ownership of one block of a pool, with the right to exchange it.
pub(crate) struct Hand {
    shared: Words,
    seat: u16,
    own: u32,
    attempt: u64,
    /// Every id below it is taken, and this hand has seen that.
    known: u64,
    /// The id after the last one that this hand has taken. Nothing depends on it.
    after_last: u64,
    /// `true` if it has taken the last two ids in a row. Nothing depends on it.
    in_a_row: bool,
    /// The first id that this hand must not take without a look at the readers that are waited for.
    room_end: u64,
}

impl Hand {
    /// Takes over the hand of a seat and its block. The seat's last holder must be proven dead, or must have left.
    ///
    /// The adopter may itself be killed between any two steps: after each store the next adopter reads the same state.
    pub(crate) fn adopt(pool: &Pool, shared: Words, seat: u16) -> Result<Hand, Fault> {
        let HandBlocks { own, held } = Hand::find(pool, &shared, seat)?;
        // Release: the next adopter reads both after everything that we did.
        if held == own {
            shared.at(PREV).store(u64::from(held), Ordering::Release);
        } else {
            shared.at(OWN).store(u64::from(held), Ordering::Release);
        }
        let attempt = shared.at(ATTEMPT).load(Ordering::Acquire);
        let (known, after_last) = (0, u64::MAX);
        Ok(Hand { shared, seat, own: held, attempt, known, after_last, in_a_row: false, room_end: u64::MAX })
    }

    /// Returns the block that a seat's hand holds, without changing anything. The result is valid while no process uses
    /// the hand, and also during an adoption, which changes the words of the hand but not the block that it holds.
    pub(crate) fn held(pool: &Pool, shared: &Words, seat: u16) -> Result<u32, Fault> {
        Ok(Hand::find(pool, shared, seat)?.held)
    }

    /// Finds the block of a hand that no process uses: the one that it wrote (its last exchange did not happen) or the
    /// one that it was to get (the exchange happened).
    fn find(pool: &Pool, shared: &Words, seat: u16) -> Result<HandBlocks, Fault> {
        let own = held_block(pool, shared.at(OWN).load(Ordering::Acquire))?;
        let prev = held_block(pool, shared.at(PREV).load(Ordering::Acquire))?;
        let block = pool.block(own)?.0;
        let stamp = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));
        let held = if stamp.seat() == seat && !stamp.is_confirmed() {
            // An attempt began and was not confirmed. It happened if the cell says so now, or if it was confirmed while
            // we looked. Acquire on the cell: a helper that erased the name confirmed first.
            let index = block[CELL].load(Ordering::Acquire);
            let version = block[VERSION].load(Ordering::Acquire);
            let is_named = index < pool.cells() as u64 && version <= CellWord::LAST_VERSION && {
                // In any phase: the mark of a settled event changes nothing else.
                let named = CellWord::from_bits(pool.cell(index as usize).load(Ordering::Acquire));
                named.names_as(CellWord::new(version, Phase::Published, own))
            };
            let stamp_after = Stamp::from_bits(block[STAMP].load(Ordering::Acquire));
            if !is_named && stamp_after == stamp { own } else { prev }
        } else {
            // Confirmed, or stamped by a later holder, or adopted before.
            prev
        };
        Ok(HandBlocks { own, held })
    }

    pub(crate) fn seat(&self) -> u16 {
        self.seat
    }

    /// Returns the number of the private block.
    #[inline]
    pub(crate) fn own(&self) -> u32 {
        self.own
    }

    /// Returns an id below which every id is known to be taken.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    /// Records that every id below `id` is taken. The caller has seen their cells.
    #[inline]
    pub(crate) fn know(&mut self, id: u64) {
        self.known = self.known.max(id);
    }

    /// Records that this hand has taken `id`.
    #[inline]
    pub(crate) fn has_taken(&mut self, id: u64) {
        self.in_a_row = self.after_last == id;
        self.after_last = id.wrapping_add(1);
        self.known = self.after_last;
    }

    /// Returns `true` if this hand has taken the last two ids in a row.
    #[inline]
    pub(crate) fn is_in_a_row(&self) -> bool {
        self.in_a_row
    }

    /// Makes the hand stop before it takes `end` or a later id. At first it takes any id, as if no reader were waited
    /// for.
    #[inline]
    pub(crate) fn stop_at(&mut self, end: u64) {
        self.room_end = end;
    }

    /// Returns `true` if the hand may take `id`.
    #[inline]
    pub(crate) fn has_room(&self, id: u64) -> bool {
        id < self.room_end
    }

    /// Returns the private block for writing. Must be called before any store to it.
    #[inline]
    pub(crate) fn begin<'a>(&self, pool: &'a Pool) -> Result<Block<'a>, Fault> {
        let block = pool.block(self.own)?;
        // A reader may still be copying this block's last event. Release fence: if the reader loads a word that we
        // store from here on, its second look sees that the cell has moved on (fence in `Pool::unchanged`).
        fence(Ordering::Release);
        Ok(block)
    }

    /// Returns the number of the next exchange: this seat has never used it before and never will again.
    pub(crate) fn next_attempt(&self) -> Result<u64, Fault> {
        if self.attempt >= Stamp::LAST_ATTEMPT {
            return Err(Fault::Exhausted("the publication attempts of a seat"));
        }
        Ok(self.attempt + 1)
    }

    /// Puts the private block into cell `index` with `version` and `phase`, if the cell still holds `seen`. On success
    /// the displaced block becomes the private one.
    // Always inlined, for the same reason as `Claims::claim`.
    #[inline(always)]
    pub(crate) fn exchange(
        &mut self,
        pool: &Pool,
        index: usize,
        seen: CellWord,
        version: u64,
        phase: Phase,
    ) -> Result<Exchange, Fault> {
        let old = seen.block();
        let block = pool.block(self.own)?.0;
        self.attempt = self.next_attempt()?;
        // Relaxed: before A3 in program order, which is the order that a successor sees.
        self.shared.at(ATTEMPT).store(self.attempt, Ordering::Relaxed); // A1
        // Release: an adopter that reads the stamp of this attempt also reads its cell and version. They are stored
        // before the stamp; with the stamp of an earlier attempt they only show that a failed exchange failed.
        block[CELL].store(index as u64, Ordering::Release); // A2
        block[VERSION].store(version, Ordering::Release);
        block[STAMP].store(Stamp::new(self.attempt, self.seat).bits(), Ordering::Release); // A3
        self.shared.at(PREV).store(u64::from(old), Ordering::Release); // A4
        if !pool.confirm(self.seat, index, seen)? {
            return Ok(Exchange::Moved);
        }
        let published = CellWord::new(version, phase, self.own);
        // Release: a reader of the cell sees the payload and A1 to A4. Acquire: our later stores to the displaced block
        // come after everything that its readers could have seen of it. SeqCst: for `wake::notify`.
        let exchanged =
            pool.cell(index).compare_exchange(seen.bits(), published.bits(), Ordering::SeqCst, Ordering::Relaxed); // P
        if exchanged.is_err() {
            return Ok(Exchange::Moved);
        }
        self.own = old;
        self.shared.at(OWN).store(u64::from(old), Ordering::Release);
        Ok(Exchange::Done)
    }

    /// Replaces `seen` in cell `index` by `to`, with a new version but the same block.
    pub(crate) fn mark(&self, pool: &Pool, index: usize, seen: CellWord, to: CellWord) -> Result<Exchange, Fault> {
        // It ends the previous publication, which must be confirmed first, as for any exchange.
        if !pool.confirm(self.seat, index, seen)? {
            return Ok(Exchange::Moved);
        }
        Ok(pool.mark(index, seen, to))
    }
}

/// The block that a hand names, and the block that it holds.
struct HandBlocks {
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
#[derive(Clone, Copy)]
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
            None => Err(Fault::Corrupt("a step did not end, although it was retried many times")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_each_cell_gets_a_first_block_of_its_own() {
        for cells in [2, 8, 32, 48, 64, 128, 1024, 8192] {
            let mut blocks: Vec<usize> = (0..cells).map(|index| first_block_of(index, cells)).collect();
            let are_neighbours = blocks.windows(2).any(|pair| pair[0].abs_diff(pair[1]) == 1);
            assert_eq!(are_neighbours, cells < 64, "{cells} cells");
            blocks.sort_unstable();
            assert!(blocks.into_iter().eq(0..cells), "{cells} cells");
        }
    }
}
