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
    /// The block holds a retained event that is not known to be in the table of retained events.
    Keep = 3,
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
    const PHASE_MASK: u64 = ((1 << Self::PHASE_BITS) - 1) << Self::BLOCK_BITS;
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

    #[inline]
    pub(crate) const fn phase(self) -> Phase {
        match (self.0 & Self::PHASE_MASK) >> Self::BLOCK_BITS {
            0 => Phase::Published,
            1 => Phase::Reserved,
            2 => Phase::Void,
            _ => Phase::Keep,
        }
    }

    /// Returns the word with the same version and block in `phase`.
    #[inline]
    pub(crate) const fn in_phase(self, phase: Phase) -> CellWord {
        CellWord(self.0 & !Self::PHASE_MASK | (phase as u64) << Self::BLOCK_BITS)
    }

    /// Returns `true` if both words name the same block in the same version.
    #[inline]
    pub(crate) const fn names_as(self, other: CellWord) -> bool {
        (self.0 ^ other.0) & !Self::PHASE_MASK == 0
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

/// The id at which a reader continues, in a form that is cheap to check: a cell, and the version that it will have. It
/// is one word, so the cell of one id is never combined with the lap of another.
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

/// A seat's word that says if posts wait for its reader.
///
/// ```text
/// 63 ........ 2   1    0
/// [ join: 62 ][CUT][ON]      join: how often a reader of the seat has joined or gone on; it never repeats
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MustWord(u64);

impl MustWord {
    const ON: u64 = 1;
    const CUT: u64 = 2;
    const JOIN: u64 = 4;

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> MustWord {
        MustWord(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn join(self) -> u64 {
        self.0 / Self::JOIN
    }

    /// Returns `true` if no reader of the seat asks to be waited for.
    #[inline]
    pub(crate) const fn is_off(self) -> bool {
        self.0 & Self::ON == 0
    }

    /// Returns `true` if a post was tired of waiting for this reader.
    pub(crate) const fn is_cut(self) -> bool {
        self.0 & Self::CUT != 0
    }

    /// Returns `true` if posts wait for this reader.
    #[inline]
    pub(crate) const fn is_waited_for(self) -> bool {
        self.0 & (Self::ON | Self::CUT) == Self::ON
    }

    /// Returns the word of a reader that joins, or goes on after it was cut off.
    pub(crate) const fn joined(self) -> MustWord {
        MustWord(self.left().0.wrapping_add(Self::JOIN) | Self::ON)
    }

    /// Returns the word after this reader was cut off.
    pub(crate) const fn cut(self) -> MustWord {
        MustWord(self.0 | Self::CUT)
    }

    /// Returns the word after this reader has left.
    pub(crate) const fn left(self) -> MustWord {
        MustWord(self.0 & !(Self::ON | Self::CUT))
    }
}

impl fmt::Debug for MustWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MustWord")
            .field("join", &self.join())
            .field("on", &!self.is_off())
            .field("cut", &self.is_cut())
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

/// The word of a retained event that says where it is kept.
///
/// ```text
/// 63 .. 48 47 ..... 40 39 .... 20 19 ..... 0
/// [ 0: 16 ][ key: 8  ][ slot: 20 ][ block: 20 ]     key: bytes of the user's key, for the layer above
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Where(u64);

impl Where {
    const SLOT_SHIFT: u32 = CellWord::BLOCK_BITS;
    const KEY_SHIFT: u32 = 2 * CellWord::BLOCK_BITS;

    /// For an event that is not retained.
    pub(crate) const NONE: Where = Where::new(0, 0);

    /// Creates the word of an event of slot `slot`. The event's value was written to the slot block `block`.
    pub(crate) const fn new(slot: u32, block: u32) -> Where {
        debug_assert!((slot as u64) < CellWord::BLOCKS && (block as u64) < CellWord::BLOCKS);
        Where((slot as u64) << Self::SLOT_SHIFT | block as u64)
    }

    pub(crate) const fn with_key_len(self, len: u8) -> Where {
        Where(self.0 | (len as u64) << Self::KEY_SHIFT)
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Where {
        Where(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn key_len(self) -> u8 {
        (self.0 >> Self::KEY_SHIFT) as u8
    }

    pub(crate) const fn slot(self) -> u32 {
        (self.0 >> Self::SLOT_SHIFT & (CellWord::BLOCKS - 1)) as u32
    }

    pub(crate) const fn block(self) -> u32 {
        (self.0 & (CellWord::BLOCKS - 1)) as u32
    }
}

impl fmt::Debug for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Where")
            .field("slot", &self.slot())
            .field("block", &self.block())
            .field("key_len", &self.key_len())
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
                for phase in [Phase::Published, Phase::Reserved, Phase::Void, Phase::Keep] {
                    let word = CellWord::new(version, phase, block);
                    assert_eq!((word.version(), word.phase(), word.block()), (version, phase, block));
                    for other in [Phase::Published, Phase::Keep] {
                        let other = word.in_phase(other);
                        assert_eq!(other, CellWord::new(version, other.phase(), block));
                        assert!(word.names_as(other));
                    }
                    let block = u64::from(block ^ 1);
                    assert!(!word.names_as(CellWord::new(version, phase, block as u32)));
                    assert!(!word.names_as(CellWord::new(version ^ 1, phase, word.block())));
                }
            }
        }
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
    fn g16_a_reader_that_joins_again_has_another_word() {
        let mut must = MustWord::from_bits(0);
        let mut seen = vec![must];
        for join in 1..4 {
            assert!(must.is_off() || must.is_cut());
            must = must.joined();
            assert_eq!((must.join(), must.is_off(), must.is_cut(), must.is_waited_for()), (join, false, false, true));
            assert!(!seen.contains(&must));
            let (cut, left) = (must.cut(), must.left());
            assert_eq!((cut.join(), cut.is_off(), cut.is_cut(), cut.is_waited_for()), (join, false, true, false));
            assert_eq!((left.join(), left.is_off(), left.is_cut(), left.is_waited_for()), (join, true, false, false));
            assert_eq!((cut.left(), left.joined(), cut.joined()), (left, must.joined(), must.joined()));
            seen.extend([must, cut, left]);
            must = cut;
        }
        assert!(MustWord::from_bits(u64::MAX).joined().is_waited_for());
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

    #[test]
    fn where_keeps_its_parts_apart() {
        for slot in [0, 1, (CellWord::BLOCKS - 1) as u32] {
            for block in [0, 1, (CellWord::BLOCKS - 1) as u32] {
                for len in [0, 1, u8::MAX] {
                    let place = Where::from_bits(Where::new(slot, block).with_key_len(len).bits());
                    assert_eq!((place.slot(), place.block(), place.key_len()), (slot, block, len));
                }
            }
        }
    }
}
