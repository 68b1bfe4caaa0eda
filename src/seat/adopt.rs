//! Takes over what the last holder of a seat has left.

use crate::error::Result;
use crate::protocol::large::LargeHand;
use crate::protocol::pool::Hand;
use crate::protocol::retained::Keeper;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::pools::PoolId;

/// The hands of a seat with which it posts.
pub(crate) struct PostingHands {
    pub(crate) ring: Hand,
    /// The seat's part in the table of retained events, if the segment has one.
    pub(crate) keeper: Option<Keeper>,
    /// The seat's part in the large ring, if the segment has one.
    pub(crate) large: Option<LargeHand>,
}

/// What the last holder of a seat has left.
pub(crate) struct Adopted {
    pub(crate) posting: PostingHands,
    pub(crate) claim_hand: Hand,
    /// `true` if it had reserved an id. The reservation is removed: readers void the id, and the caller wakes them (see
    /// [`Segment::wake_for_decided`]).
    pub(crate) had_reserved: bool,
}

/// Ends the tenure of the last holder of `seat`, for which no post waits any more. Adopts the seat's hand in every
/// pool, settles the retained event that this holder left unsettled, and gives up the id that it had reserved.
///
/// The caller holds the seat's lock, which proves that the last holder is dead or has left. The caller may be killed
/// between any two steps: the next adopter finds the same state.
pub(crate) fn adopt_all(segment: &Segment, seat: u16) -> Result<Adopted> {
    segment.leave_must(seat);
    segment.claims().end_tenure(seat);
    let hand = |pool| Hand::adopt(&segment.pool(pool), segment.hand(pool, seat), seat).in_segment(segment);
    let (ring_hand, claim_hand) = (hand(PoolId::Ring)?, hand(PoolId::Claims)?);
    let keeper = segment.table().map(|table| Keeper::adopt(table, segment.hand(PoolId::Slots, seat), seat));
    let keeper = keeper.transpose().in_segment(segment)?;
    let large = segment.large().map(|ring| LargeHand::adopt(ring, segment.hand(PoolId::Large, seat), seat));
    let large = large.transpose().in_segment(segment)?;
    let ring = segment.ring();
    let had_reserved = ring.reserved_by(seat).is_some();
    if had_reserved {
        ring.forget_reservation(seat);
    }
    Ok(Adopted { posting: PostingHands { ring: ring_hand, keeper, large }, claim_hand, had_reserved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::pool::Exchange;
    use crate::protocol::ring::NoTable;
    use crate::protocol::seat_words::{OWN, PREV};
    use crate::protocol::word::{CellWord, Phase};
    use crate::segment::options::SegmentOptions;
    use crate::segment::pools::POOLS;
    use crate::sync::Ordering;

    #[test]
    fn g7_the_block_of_a_holder_that_was_killed_is_found_in_every_pool() {
        for spec in &POOLS {
            let options = SegmentOptions::new().capacity(8).claims(8).large(2, 64).seats(2);
            let segment = Segment::anonymous(&options).unwrap();
            let (pool, words) = (segment.pool(spec.id), segment.hand(spec.id, 0));
            assert!(!adopt_all(&segment, 0).unwrap().had_reserved);
            let mut hand = Hand::adopt(&pool, words.clone(), 0).unwrap();
            let word = |at: usize| words.at(at).load(Ordering::Relaxed);
            let own = word(OWN);
            let seen = CellWord::from_bits(pool.cell(0).load(Ordering::Relaxed));
            assert_eq!(hand.exchange(&pool, 0, seen, seen.version() + 1, Phase::Published), Ok(Exchange::Done));
            // The state after a holder was killed between the exchange and the last store.
            words.at(OWN).store(own, Ordering::Relaxed);
            adopt_all(&segment, 0).unwrap();
            assert_eq!(
                [word(OWN), word(PREV)],
                [u64::from(seen.block()); 2],
                "{}: the block was not adopted",
                spec.name
            );
        }
    }

    #[test]
    fn g7_an_id_that_the_dead_had_reserved_is_given_up() {
        let segment = Segment::anonymous(&SegmentOptions::new().capacity(8).claims(8).seats(2)).unwrap();
        let mut hand = adopt_all(&segment, 1).unwrap().posting.ring;
        segment.ring().reserve(&mut hand, &mut NoTable).unwrap();
        assert_eq!(segment.ring().reserved_by(1), Some(0));
        assert!(adopt_all(&segment, 1).unwrap().had_reserved);
        assert_eq!(segment.ring().reserved_by(1), None);
        assert!(!adopt_all(&segment, 1).unwrap().had_reserved);
    }
}
