//! The packed words, as types with named parts.

use core::fmt;

/// The phase of an id, as its cell shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The block holds the event.
    Published = 0,
    /// The id is taken; its payload follows later.
    Reserved = 1,
    /// The id never became an event.
    Void = 2,
}

/// A word of the ring or of the claims: the public block of this cell, and its lap.
///
/// ```text
/// 63 ........... 22 21 20 19 ..... 0
/// [ version: 42   ][phase][ block: 20 ]      version 0: never used
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellWord(u64);

impl CellWord {
    const BLOCK_BITS: u32 = 20;
    const PHASE_BITS: u32 = 2;
    const VERSION_SHIFT: u32 = Self::BLOCK_BITS + Self::PHASE_BITS;
    /// The largest version.
    pub(crate) const LAST_VERSION: u64 = (1 << (64 - Self::VERSION_SHIFT)) - 1;
    /// The number of blocks that a cell can distinguish.
    pub(crate) const BLOCKS: u64 = 1 << Self::BLOCK_BITS;

    pub(crate) const fn new(version: u64, phase: Phase, block: u32) -> CellWord {
        debug_assert!(version <= Self::LAST_VERSION && (block as u64) < Self::BLOCKS);
        CellWord(version << Self::VERSION_SHIFT | (phase as u64) << Self::BLOCK_BITS | block as u64)
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> CellWord {
        CellWord(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn version(self) -> u64 {
        self.0 >> Self::VERSION_SHIFT
    }

    #[inline]
    pub(crate) const fn block(self) -> u32 {
        (self.0 & (Self::BLOCKS - 1)) as u32
    }

    /// Returns `None` for the one pattern that no writer stores.
    #[inline]
    pub(crate) const fn phase(self) -> Option<Phase> {
        match self.0 >> Self::BLOCK_BITS & ((1 << Self::PHASE_BITS) - 1) {
            0 => Some(Phase::Published),
            1 => Some(Phase::Reserved),
            2 => Some(Phase::Void),
            _ => None,
        }
    }
}

impl fmt::Debug for CellWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellWord")
            .field("version", &self.version())
            .field("phase", &self.phase())
            .field("block", &self.block())
            .finish()
    }
}

/// The place where a reader continues, for a look that costs next to nothing: a cell, and the version that it will
/// have. It is one word, so the cell of one id is never combined with the lap of another.
///
/// ```text
/// 63 ........... 22 21   20  19 .... 0
/// [ version: 42   ][0][RES][ cell: 20 ]      RES: reserved, otherwise not taken yet; 0: no information
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    const RESERVED: u64 = (Phase::Reserved as u64) << CellWord::BLOCK_BITS;
    /// No information: a reader has to look.
    pub(crate) const NONE: Mark = Mark(0);

    /// Creates a mark of an id that is not taken yet. Returns [`Mark::NONE`] if its version does not fit.
    #[inline]
    pub(crate) const fn empty(version: u64, cell: usize) -> Mark {
        debug_assert!((cell as u64) < CellWord::BLOCKS);
        if version > CellWord::LAST_VERSION {
            Mark::NONE
        } else {
            Mark(version << CellWord::VERSION_SHIFT | cell as u64)
        }
    }

    /// Creates a mark of a reserved id.
    pub(crate) const fn reserved(version: u64, cell: usize) -> Mark {
        Mark(Mark::empty(version, cell).0 | Mark::RESERVED)
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Mark {
        Mark(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn cell(self) -> usize {
        (self.0 & (CellWord::BLOCKS - 1)) as usize
    }

    #[inline]
    pub(crate) const fn version(self) -> u64 {
        self.0 >> CellWord::VERSION_SHIFT
    }

    /// Returns the smallest value of the cell once the id is taken; 0, the smallest of all, if there is no information.
    #[inline]
    pub(crate) const fn first_bits(self) -> u64 {
        self.0 >> CellWord::VERSION_SHIFT << CellWord::VERSION_SHIFT
    }

    pub(crate) const fn is_reserved(self) -> bool {
        self.0 & Mark::RESERVED != 0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark")
            .field("version", &self.version())
            .field("cell", &self.cell())
            .field("reserved", &self.is_reserved())
            .finish()
    }
}

/// A block's mark: the publication attempt that it was last written for, and whether a helper saw that attempt succeed.
///
/// ```text
/// 63 ............ 17 16 .. 1  0
/// [ attempt: 47  ][seat:16][C]             attempts of a seat never repeat
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    const ATTEMPT_SHIFT: u32 = 17;
    /// The largest attempt.
    pub(crate) const LAST_ATTEMPT: u64 = (1 << (64 - Self::ATTEMPT_SHIFT)) - 1;

    pub(crate) const fn new(attempt: u64, seat: u16) -> Stamp {
        debug_assert!(attempt <= Self::LAST_ATTEMPT);
        Stamp(attempt << Self::ATTEMPT_SHIFT | (seat as u64) << 1)
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Stamp {
        Stamp(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn attempt(self) -> u64 {
        self.0 >> Self::ATTEMPT_SHIFT
    }

    pub(crate) const fn seat(self) -> u16 {
        (self.0 >> 1) as u16
    }

    #[inline]
    pub(crate) const fn is_confirmed(self) -> bool {
        self.0 & 1 == 1
    }

    #[inline]
    pub(crate) const fn confirmed(self) -> Stamp {
        Stamp(self.0 | 1)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamp")
            .field("attempt", &self.attempt())
            .field("seat", &self.seat())
            .field("confirmed", &self.is_confirmed())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_word_keeps_its_parts_apart() {
        for version in [0, 1, CellWord::LAST_VERSION] {
            for block in [0, 1, (CellWord::BLOCKS - 1) as u32] {
                for phase in [Phase::Published, Phase::Reserved, Phase::Void] {
                    let word = CellWord::new(version, phase, block);
                    assert_eq!((word.version(), word.phase(), word.block()), (version, Some(phase), block));
                }
            }
        }
        assert_eq!(CellWord::from_bits(3 << 20).phase(), None);
    }

    #[test]
    fn a_mark_keeps_its_parts_apart() {
        for version in [1, CellWord::LAST_VERSION] {
            for cell in [0, 1, CellWord::BLOCKS as usize - 1] {
                for (mark, is_reserved) in [(Mark::empty(version, cell), false), (Mark::reserved(version, cell), true)]
                {
                    assert_eq!((mark.version(), mark.cell(), mark.is_reserved()), (version, cell, is_reserved));
                    assert_eq!(mark.first_bits(), CellWord::new(version, Phase::Published, 0).bits());
                    assert_eq!(Mark::from_bits(mark.bits()), mark);
                }
            }
        }
        assert_eq!(Mark::empty(CellWord::LAST_VERSION + 1, 3), Mark::NONE);
        assert_eq!(Mark::NONE.first_bits(), 0);
    }

    #[test]
    fn a_stamp_keeps_its_parts_apart() {
        for attempt in [0, 1, Stamp::LAST_ATTEMPT] {
            for seat in [0, 1, u16::MAX] {
                let stamp = Stamp::new(attempt, seat);
                assert_eq!((stamp.attempt(), stamp.seat(), stamp.is_confirmed()), (attempt, seat, false));
                let stamp = stamp.confirmed();
                assert_eq!((stamp.attempt(), stamp.seat(), stamp.is_confirmed()), (attempt, seat, true));
            }
        }
    }
}
