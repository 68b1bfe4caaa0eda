//! Checks that every block is where it belongs.

use crate::error::Result;
use crate::protocol::Fault;
use crate::protocol::pool::Hand;
use crate::protocol::word::CellWord;
use crate::seat::holder::Hold;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::pools::PoolSpec;
use crate::sync::Ordering;

/// The result of [`Bus::audit`](crate::Bus::audit): each block must be named by exactly one cell, or held by exactly
/// one seat.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let audit = bus.audit()?;
/// assert!(audit.is_clean(), "{audit:?}");
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The blocks of each pool.
    pub pools: Vec<PoolAudit>,
    /// Seats that are held. Their blocks are counted correctly only while these workers do not publish.
    pub held_seats: u32,
}

/// The result of an audit for the blocks of one pool.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// for pool in bus.audit()?.pools {
///     println!("{}: {} blocks, {} leaked, {} shared", pool.pool, pool.blocks, pool.leaked, pool.shared);
/// }
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolAudit {
    /// `"ring"` (the events), `"claims"`, `"slots"` (the retained events) or `"large"` (the large blocks).
    pub pool: &'static str,
    /// How many blocks there are.
    pub blocks: u64,
    /// Blocks that no cell names and no seat holds.
    pub leaked: u64,
    /// Blocks that are named or held more than once.
    pub shared: u64,
}

impl Audit {
    /// Returns `true` if every block is where it belongs.
    pub fn is_clean(&self) -> bool {
        self.pools.iter().all(|pool| pool.leaked == 0 && pool.shared == 0)
    }

    /// Audits the segment. It only reads and takes no lock, so it does not disturb a process that joins at the same
    /// time.
    pub(crate) fn of(segment: &Segment) -> Result<Audit> {
        let holds = Hold::of_all(segment)?;
        let held_seats = holds.iter().filter(|hold| hold.is_alive()).count() as u32;
        let pools = segment.geometry().pools().map(|spec| PoolAudit::of(segment, spec));
        Ok(Audit { pools: pools.collect::<std::result::Result<_, _>>().in_segment(segment)?, held_seats })
    }
}

impl PoolAudit {
    fn of(segment: &Segment, spec: &PoolSpec) -> std::result::Result<PoolAudit, Fault> {
        let pool = segment.pool(spec.id);
        let mut named = Named { times: vec![0; segment.geometry().blocks(spec.id) as usize] };
        for seat in 0..=segment.geometry().last_seat() {
            named.add(Hand::held(&pool, &segment.hand(spec.id, seat), seat)?)?;
        }
        for index in 0..pool.cells() {
            // Acquire: with the stores of the publisher. No worker publishes while the workers are quiet.
            let word = CellWord::from_bits(pool.cell(index).load(Ordering::Acquire));
            named.add(word.block())?;
        }
        Ok(PoolAudit {
            pool: spec.name,
            blocks: named.times.len() as u64,
            leaked: named.count(|times| times == 0),
            shared: named.count(|times| times > 1),
        })
    }
}

/// How often each block of a pool is named or held.
struct Named {
    times: Vec<u32>,
}

impl Named {
    fn add(&mut self, block: u32) -> std::result::Result<(), Fault> {
        match self.times.get_mut(block as usize) {
            Some(times) => *times += 1,
            None => return Err(Fault::Corrupt("a cell or seat names a block that does not exist")),
        }
        Ok(())
    }

    fn count(&self, is: fn(u32) -> bool) -> u64 {
        self.times.iter().filter(|&&times| is(times)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Topic;
    use crate::protocol::seat_words::OWN;
    use crate::seat::Seat;
    use crate::seat::publish::Outgoing;
    use crate::seat::room::Posting;
    use crate::segment::layout::seat_word;
    use crate::segment::options::SegmentOptions;
    use crate::segment::pools::{POOLS, PoolId};

    #[test]
    fn g7_an_audit_needs_no_right_to_write_and_takes_no_seat() {
        let name = format!("seqcast-t-{}-audit", std::process::id());
        let options = SegmentOptions::new().capacity(8).claims(8).large(2, 64).seats(2).unlink_on_drop(true);
        let segment = Arc::new(Segment::create(&name, &options).unwrap());
        // A store to these words would raise SIGSEGV, and a lock on its description would be an error.
        let inspector = Segment::read_only(&name, &options).unwrap();
        let mut seat = Seat::take(&segment, "").unwrap();
        let audit = Audit::of(&inspector).unwrap();
        assert!(audit.is_clean() && audit.held_seats == 1, "{audit:?}");
        let blocks: Vec<u64> = audit.pools.iter().map(|pool| pool.blocks).collect();
        assert_eq!(blocks, POOLS.map(|spec| segment.geometry().blocks(spec.id)));
        assert_eq!(blocks[PoolId::Ring as usize], 10);
        // The state after a poster was killed between the exchange and the last store.
        let own = seat.words.get(seat_word!(posting.hand) + OWN);
        seat.writer.post(&Outgoing::plain(Topic::new("s", "e"), b""), &mut Posting::default()).unwrap();
        assert_ne!(seat.words.get(seat_word!(posting.hand) + OWN), own);
        seat.words.set(seat_word!(posting.hand) + OWN, own);
        let audit = Audit::of(&inspector).unwrap();
        assert!(audit.is_clean(), "it did not find out which of the two blocks is held: {audit:?}");
    }
}
