//! Where a worker's own words are in its seat. Written by the worker that holds the seat, read by anyone.
//!
//! Four 128-byte parts, so that no two writers and no writer and idle reader meet in a line (or in the pair of lines that
//! processors fetch together): what posting writes, what reading writes, what claiming writes, and who it is. The fields
//! that only the bus knows of are in `layout`, which asserts that the two agree.

/// Words in a seat.
pub(crate) const WORDS: usize = 64;

/// First of the ring's three words.
pub(crate) const RING_HAND: usize = 0;
/// The reserved id plus one, 0 for none.
pub(crate) const RESERVED: usize = 3;
/// First of the claims' three words.
pub(crate) const CLAIM_HAND: usize = 32;

/// In a hand: the block held, when the last exchange is known to be over.
pub(crate) const OWN: usize = 0;
/// In a hand: the block held if the last exchange succeeded.
pub(crate) const PREV: usize = 1;
/// In a hand: the number of the last attempt.
pub(crate) const ATTEMPT: usize = 2;
/// Words in a hand.
pub(crate) const HAND_WORDS: usize = 3;
