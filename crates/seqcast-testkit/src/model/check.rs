//! What is visible from outside, compared with the model.

use crate::bus::of_seat;
use crate::model::reference::{Content, Counts};
use crate::model::{Both, PATIENCE};

impl Both {
    /// Compares everything that is visible from outside, and every counter, with the model's.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub fn check(&self) {
        let stats = self.bus.stats().unwrap();
        assert_eq!(stats.next_id, self.model.next_id());
        assert_eq!(stats.oldest_id, self.model.next_id().saturating_sub(self.model.capacity));
        let held = self.model.keys.iter().filter(|key| key.held.is_some()).count()
            + self.model.claims.iter().filter(|holder| holder.is_some()).count();
        assert_eq!(stats.claims_held, held as u64);
        let retained = self.model.places.iter().filter(|place| place.content == Content::Value).count();
        assert_eq!((stats.retained, stats.retaining), (retained as u64, 0));
        for (real, seat) in self.real.iter().zip(&self.model.seats) {
            let (Some(real), Some(seat)) = (real, seat) else {
                assert!(real.is_none() && seat.is_none());
                continue;
            };
            assert!(real.wrong.lock().unwrap().is_empty(), "{:?}", real.wrong.lock().unwrap());
            assert_eq!(real.worker.cursor(), self.model.cursor(seat));
            let counts = of_seat(&stats, seat.number);
            let shown = Counts {
                posted: counts.posted,
                fragments: counts.fragments,
                large: counts.large,
                reservations: counts.reservations,
                committed: counts.committed,
                delivered: counts.delivered,
                skipped: counts.skipped,
                missed: counts.missed,
                lagged: counts.lagged,
                voided: counts.voided,
                waited: counts.waited,
                won: counts.claims_won,
                lost: counts.claims_lost,
                late: counts.claims_late,
                released: counts.claims_released,
                orphaned: counts.orphaned,
                retained: counts.retained,
                retained_full: counts.retained_full,
                resets: counts.resets,
                room_waits: counts.room_waits,
                room_refused: counts.room_refused,
                cut_off: counts.cut_off,
            };
            assert_eq!(shown, seat.counts);
            assert_eq!((counts.corrupt, counts.failed, counts.claims_full, counts.settled), (0, 0, 0, 0));
            assert_eq!(counts.lag, self.model.next_id() - self.model.cursor(seat));
            assert_eq!(counts.must_read, seat.must.map(|_| PATIENCE));
            assert_eq!(counts.is_cut_off, seat.must.is_some_and(|must| must.is_cut));
            let unread = seat.must.map_or(0, |_| self.model.next_id() - seat.need());
            assert_eq!(counts.unread, unread);
        }
    }
}
