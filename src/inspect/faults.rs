//! Faults that workers met and survived.

use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::seat_word;

/// Faults that were met and survived, summed over all seats. Each seat counts for its present or last holder, since
/// that holder joined; `reclaimed` counts since the segment was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Reserved ids that readers gave up for all workers.
    pub voided: u64,
    /// Ids that lapped readers missed.
    pub missed: u64,
    /// Times that readers were lapped.
    pub lagged: u64,
    /// Malformed events.
    pub corrupt: u64,
    /// Handlers that failed, and reporters that panicked.
    pub failed: u64,
    /// Claims for which there was no room.
    pub claims_full: u64,
    /// Unique events that were reached too late to be decided.
    pub claims_late: u64,
    /// Unique events that no worker ran: their handlers were removed between the claim and the delivery.
    pub orphaned: u64,
    /// Retained events that were not posted, because there was no place for their key.
    pub retained_full: u64,
    /// Retained events that another seat than the poster's has brought into the table.
    pub settled: u64,
    /// Times that everything a reader knew of retained events was void.
    pub resets: u64,
    /// Seats taken over from dead workers.
    pub reclaimed: u64,
}

impl Faults {
    pub(super) fn of(segment: &Segment) -> Faults {
        let seats = segment.seats();
        let mut faults = Faults::default();
        for seat in 0..=segment.geometry().last_seat() {
            let words = SeatWords::of(&seats, seat);
            for (sum, word) in [
                (&mut faults.voided, seat_word!(reading.voided)),
                (&mut faults.missed, seat_word!(reading.missed)),
                (&mut faults.lagged, seat_word!(reading.lagged)),
                (&mut faults.corrupt, seat_word!(reading.corrupt)),
                (&mut faults.failed, seat_word!(reading.failed)),
                (&mut faults.claims_full, seat_word!(claiming.full)),
                (&mut faults.claims_late, seat_word!(claiming.late)),
                (&mut faults.orphaned, seat_word!(reading.orphaned)),
                (&mut faults.retained_full, seat_word!(posting.retained_full)),
                (&mut faults.settled, seat_word!(posting.settled)),
                (&mut faults.resets, seat_word!(reading.resets)),
                (&mut faults.reclaimed, seat_word!(identity.adopted)),
            ] {
                // Hostile counts may have any value.
                *sum = sum.wrapping_add(words.get(word));
            }
        }
        faults
    }
}
