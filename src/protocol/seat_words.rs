//! The layout of a worker's own words in its seat. The worker that holds the seat writes them, and any process may read
//! them.
//!
//! There are four parts of one or two times 128 bytes, so that no two writers, and no writer and idle reader, share a
//! line (or the pair of lines that processors fetch together): words that posting writes, words that reading writes,
//! words that claiming writes, and the identity. The fields that only the bus uses are in `layout`, which asserts that
//! the two agree.

/// Words in a seat.
pub(crate) const WORDS: usize = 80;

/// First of the ring's three words.
pub(crate) const RING_HAND: usize = 0;
/// The reserved id plus one, 0 for none.
pub(crate) const RESERVED: usize = 3;
/// First of the large ring's three words.
pub(crate) const LARGE_HAND: usize = 7;
/// The first id that a reader that is waited for has not copied out.
pub(crate) const NEED: usize = 33;
/// How long a post waits for it, in nanoseconds.
pub(crate) const PATIENCE: usize = 34;
/// First of the claims' three words.
pub(crate) const CLAIM_HAND: usize = 48;
/// The claims' attempts of all earlier holders: a claim of this attempt, or of an earlier one, was won before the
/// present holder took the seat.
pub(crate) const CLAIMS_BEFORE: usize = 51;

/// In a hand: the held block, when the last exchange is known to be over.
pub(crate) const OWN: usize = 0;
/// In a hand: the held block if the last exchange succeeded.
pub(crate) const PREV: usize = 1;
/// In a hand: the number of the last attempt.
pub(crate) const ATTEMPT: usize = 2;
/// Words in a hand.
pub(crate) const HAND_WORDS: usize = 3;
