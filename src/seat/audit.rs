//! Whether every block is where it belongs.

use crate::error::{Error, Result};
use crate::layout::record_word;
use crate::protocol::Fault;
use crate::protocol::pool::{Hand, Pool};
use crate::protocol::record::{HAND_WORDS, OWN, WORDS};
use crate::protocol::word::CellWord;
use crate::segment::Segment;
use crate::sync::Ordering;

/// What an audit of a segment found: by rights every block is named by exactly one cell or held by exactly one worker
/// record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The blocks of events.
    pub events: BlockAudit,
    /// The blocks of claims.
    pub claims: BlockAudit,
    /// Records that were held. What these workers hold is only known while they are quiet.
    pub held_records: u32,
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

    /// Takes the record of every worker that has died for a moment, so that what it held is known.
    pub(crate) fn of(segment: &Segment) -> Result<Audit> {
        let (ring, claims) = (segment.ring(), segment.claims());
        let geometry = segment.geometry();
        let mut events = Count::new(ring.pool(), geometry.capacity + geometry.records);
        let mut buckets = Count::new(claims.pool(), geometry.buckets + geometry.records);
        let mut held_records = 0;
        for record in 0..=geometry.last_record() {
            let free = segment.take_record(record)?;
            held_records += u32::from(free.is_none());
            for (count, hand) in
                [(&mut events, record_word!(posting.hand)), (&mut buckets, record_word!(claiming.hand))]
            {
                let words = segment.records().sub(usize::from(record) * WORDS + hand, HAND_WORDS);
                if free.is_some() {
                    // The lock is the proof that nobody else uses the hand.
                    Hand::adopt(count.pool, words.clone(), record).map_err(|fault| of_fault(segment, fault))?;
                }
                count.add(words.at(OWN).load(Ordering::Acquire));
            }
        }
        Ok(Audit { events: events.finish(segment)?, claims: buckets.finish(segment)?, held_records })
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

    fn add(&mut self, block: u64) {
        match usize::try_from(block).ok().and_then(|block| self.times.get_mut(block)) {
            Some(times) => *times += 1,
            None => self.unknown = true,
        }
    }

    fn finish(mut self, segment: &Segment) -> Result<BlockAudit> {
        for index in 0..self.pool.cells() {
            // Acquire: with the words of whoever published it; nobody does while the workers are quiet.
            let word = CellWord::from_bits(self.pool.cell(index).load(Ordering::Acquire));
            self.add(u64::from(word.block()));
        }
        if self.unknown {
            let fault = Fault::Corrupt("a cell or worker record names a block that does not exist");
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
