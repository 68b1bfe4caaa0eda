//! Whether every block is where it belongs.

use crate::error::{Error, Result};
use crate::protocol::Fault;
use crate::protocol::pool::{Hand, Pool};
use crate::protocol::seat_words::{HAND_WORDS, WORDS};
use crate::protocol::word::CellWord;
use crate::seat::holder::Hold;
use crate::segment::Segment;
use crate::segment::layout::seat_word;
use crate::sync::Ordering;

/// What an audit of a segment found: by rights every block is named by exactly one cell or held by exactly one worker
/// seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The blocks of events.
    pub events: BlockAudit,
    /// The blocks of claims.
    pub claims: BlockAudit,
    /// Seats that are held. What these workers hold is only known while they are quiet.
    pub held_seats: u32,
}

/// What an audit found of one kind of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockAudit {
    /// How many there are.
    pub blocks: u64,
    /// Blocks that nobody names or holds.
    pub leaked: u64,
    /// Blocks that are named or held more than once.
    pub shared: u64,
}

impl Audit {
    /// Whether every block is where it belongs.
    pub fn is_clean(&self) -> bool {
        [self.events, self.claims].iter().all(|blocks| blocks.leaked == 0 && blocks.shared == 0)
    }

    /// Only looks: it takes no lock, so that it disturbs nobody who joins meanwhile, and stores nothing.
    pub(crate) fn of(segment: &Segment) -> Result<Audit> {
        let (ring, claims) = (segment.ring(), segment.claims());
        let geometry = segment.geometry();
        let mut events = Count::new(ring.pool(), geometry.capacity + geometry.seats);
        let mut buckets = Count::new(claims.pool(), geometry.buckets + geometry.seats);
        let mut held_seats = 0;
        for (seat, hold) in (0..).zip(Hold::of_all(segment)?) {
            held_seats += u32::from(hold.is_alive());
            for (count, hand) in [(&mut events, seat_word!(posting.hand)), (&mut buckets, seat_word!(claiming.hand))] {
                let words = segment.seats().sub(usize::from(seat) * WORDS + hand, HAND_WORDS);
                let held = Hand::held(count.pool, &words, seat).map_err(|fault| of_fault(segment, fault))?;
                count.add(held);
            }
        }
        Ok(Audit { events: events.finish(segment)?, claims: buckets.finish(segment)?, held_seats })
    }
}

/// How often each block of a pool is named or held.
struct Count<'a> {
    pool: &'a Pool,
    times: Vec<u32>,
    unknown: bool,
}

impl<'a> Count<'a> {
    fn new(pool: &'a Pool, blocks: u64) -> Count<'a> {
        Count { pool, times: vec![0; blocks as usize], unknown: false }
    }

    fn add(&mut self, block: u32) {
        match self.times.get_mut(block as usize) {
            Some(times) => *times += 1,
            None => self.unknown = true,
        }
    }

    fn finish(mut self, segment: &Segment) -> Result<BlockAudit> {
        for index in 0..self.pool.cells() {
            // Acquire: with the words of whoever published it; nobody does while the workers are quiet.
            let word = CellWord::from_bits(self.pool.cell(index).load(Ordering::Acquire));
            self.add(word.block());
        }
        if self.unknown {
            let fault = Fault::Corrupt("a cell or seat names a block that does not exist");
            return Err(of_fault(segment, fault));
        }
        let count = |is: fn(u32) -> bool| self.times.iter().filter(|&&times| is(times)).count() as u64;
        Ok(BlockAudit {
            blocks: self.times.len() as u64,
            leaked: count(|times| times == 0),
            shared: count(|times| times > 1),
        })
    }
}

fn of_fault(segment: &Segment, fault: Fault) -> Error {
    Error::of_fault(segment.name(), fault)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Topic;
    use crate::protocol::seat_words::OWN;
    use crate::seat::Seat;
    use crate::seat::publish::Outgoing;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn g7_an_audit_needs_no_right_to_write_and_takes_no_seat() {
        let name = format!("seqcast-t-{}-audit", std::process::id());
        let options = SegmentOptions::new().capacity(8).claims(8).seats(2).unlink_on_drop(true);
        let segment = Arc::new(Segment::create(&name, &options).unwrap());
        // A store to these words would be SIGSEGV, and a lock on its description an error.
        let inspector = Segment::read_only(&name, &options).unwrap();
        let mut seat = Seat::take(&segment, "").unwrap();
        let audit = Audit::of(&inspector).unwrap();
        assert!(audit.is_clean() && audit.held_seats == 1, "{audit:?}");
        assert_eq!((audit.events.blocks, audit.claims.blocks), (10, segment.geometry().buckets + 2));
        // As a poster leaves it that is killed between the exchange and the last store.
        let own = seat.words.get(seat_word!(posting.hand) + OWN);
        seat.writer.post(&Outgoing { topic: Topic::new("s", "e"), type_tag: 0, unique: None, payload: b"" }).unwrap();
        assert_ne!(seat.words.get(seat_word!(posting.hand) + OWN), own);
        seat.words.set(seat_word!(posting.hand) + OWN, own);
        let audit = Audit::of(&inspector).unwrap();
        assert!(audit.is_clean(), "it did not find out which of the two blocks is held: {audit:?}");
    }
}
