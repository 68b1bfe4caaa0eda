//! A second ring, of large blocks: for payloads that do not fit in a block of the ring of events.
//!
//! ```text
//! post     L1   write the payload into the private large block, and publish it in the large ring: it has a large id
//!          L2   write an event that names the large id into the private block of the ring, and publish it
//!          L5   if the event finds no room: copy the payload back before a wait, and look at the cell of the large id
//!               again. If it has changed, the payload was overwritten, and the post fails
//!
//! read     copy the event, and look at its cell again: the large id is the one that the poster wrote
//!          L3   look at the cell of the large id. If its version is newer, the payload was overwritten
//!          L4   copy the payload, and look at the cell again. If it has changed, the payload was overwritten
//! ```
//!
//! An event never names a payload that is not there yet. A poster that is killed between L1 and L2 leaves a large id
//! that no event names. Its block is public like any other, and the next lap displaces it. The two rings lap at
//! different speeds: of an event that is still in its ring, the payload may be overwritten. Then the event is missed.
//!
//! Both rings are the same code. Each seat has a hand of its own in each.

use super::Fault;
use super::pool::{Block, Hand, Pool};
use super::ring::{Look, NoTable, Ring, Stop};
use crate::sync::Words;

/// The large ring.
#[derive(Clone)]
pub(crate) struct LargeRing {
    ring: Ring,
    pool: Pool,
}

/// The result of reading a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LargeRead<R> {
    /// It was copied, and is what was published under the large id.
    Whole(R),
    /// It was overwritten by a later payload.
    Overwritten,
    /// The large id was never published. No event of this crate names it.
    Absent,
}

impl LargeRing {
    /// Creates the large ring over `pool`. The arguments are those of [`Ring::new`], with a tail of its own. No large
    /// id is ever reserved.
    pub(crate) fn new(pool: Pool, tail: Words, seats: Words, stretch: u64) -> LargeRing {
        LargeRing { ring: Ring::new(pool.clone(), tail, seats, stretch), pool }
    }

    /// Returns the bytes of the largest payload.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.pool.payload_words() * 8
    }

    /// L3, L4: copies the payload of large id `id` by `copy`. What it returns counts only if the result is
    /// [`LargeRead::Whole`]. The words may be overwritten while they are copied.
    pub(crate) fn read<R>(&self, id: u64, copy: impl FnOnce(Block<'_>) -> R) -> Result<LargeRead<R>, Fault> {
        Ok(match self.ring.look(id)? {
            Look::Published(seen) => {
                let copied = copy(self.ring.block(seen)?);
                if self.ring.unchanged(id, seen) { LargeRead::Whole(copied) } else { LargeRead::Overwritten }
            }
            Look::Lapped => LargeRead::Overwritten,
            Look::Empty | Look::Reserved(_) | Look::Void => LargeRead::Absent,
        })
    }
}

/// A seat's part in the large ring: the ring, and the seat's hand in it.
pub(crate) struct LargeHand {
    ring: LargeRing,
    hand: Hand,
}

impl LargeHand {
    /// Takes over the part of a seat whose last holder is proven dead or has left.
    pub(crate) fn adopt(ring: LargeRing, hand: Words, seat: u16) -> Result<LargeHand, Fault> {
        let hand = Hand::adopt(&ring.pool, hand, seat)?;
        Ok(LargeHand { ring, hand })
    }

    /// Returns the private large block for writing, before L1.
    pub(crate) fn begin(&self) -> Result<Block<'_>, Fault> {
        self.ring.ring.begin(&self.hand)
    }

    /// L1, L2: publishes the payload that `write` puts into the private large block, and then, by `post`, the event
    /// that names its large id. Returns what `post` returns.
    pub(crate) fn post<R>(
        &mut self,
        write: impl FnOnce(Block<'_>),
        post: impl FnOnce(u64) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let id = self.ring.ring.post(&mut self.hand, &mut NoTable, write)?;
        post(id)
    }

    /// L5: copies a payload back that was published under `id`, by `copy`, as [`LargeRing::read`] does.
    pub(crate) fn recall<R>(&self, id: u64, copy: impl FnOnce(Block<'_>) -> R) -> Result<LargeRead<R>, Fault> {
        self.ring.read(id, copy)
    }
}
