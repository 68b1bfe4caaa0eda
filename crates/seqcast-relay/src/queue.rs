//! What the thread that reads the ring and the thread that sends share: the spool, and the wish to read again.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::spool::{Queued, Spool};

/// What the thread that reads the ring has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Read on.
    Read,
    /// Wait: the spool is full.
    Full,
    /// Read these ids again.
    Again(Range<u64>),
}

#[derive(Debug)]
struct State {
    spool: Spool,
    again: Option<Range<u64>>,
    oldest: u64,
    all_sent: bool,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something was added, or read again.
    to_send: Condvar,
    /// There is room, or something to be read again.
    to_read: Condvar,
}

impl Queue {
    pub fn new(spool: Spool) -> Queue {
        let state = State { spool, again: None, oldest: 0, all_sent: false };
        Queue { state: Mutex::new(state), to_send: Condvar::new(), to_read: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn with_spool<R>(&self, work: impl FnOnce(&mut Spool) -> R) -> R {
        let mut state = self.state();
        let was_full = state.spool.is_full();
        let result = work(&mut state.spool);
        if was_full && !state.spool.is_full() {
            self.to_read.notify_one();
        }
        result
    }

    pub fn job(&self) -> Job {
        let state = self.state();
        match &state.again {
            Some(again) => Job::Again(again.clone()),
            None if state.spool.is_full() => Job::Full,
            None => Job::Read,
        }
    }

    /// Waits for room, or for something to be read again.
    pub fn wait_for_room(&self, time: Duration) {
        let state = self.state();
        if state.again.is_none() && state.spool.is_full() {
            drop(self.to_read.wait_timeout(state, time));
        }
    }

    /// Adds what was read. All ids below `next` were read; the ring's oldest id is `oldest`.
    pub fn add(&self, items: &mut Vec<Queued>, next: u64, oldest: u64) {
        let mut state = self.state();
        let added = !items.is_empty();
        for item in items.drain(..) {
            state.spool.push(item);
        }
        state.spool.skip_to(next);
        state.oldest = oldest;
        if added {
            self.to_send.notify_one();
        }
    }

    /// Where an engine that does not know the origin has to begin. The first time, where the reading began. If it has
    /// lost the origin, with everything that the spool or the ring still has.
    pub fn begin(&self) -> u64 {
        let State { spool, oldest, .. } = &*self.state();
        match spool.acknowledged() {
            None => spool.confirmed(),
            // The spool may have ids that the ring has lost.
            Some(_) => spool.confirmed().min(*oldest),
        }
    }

    /// Waits for something to send.
    pub fn wait_for_items(&self, time: Duration) {
        let state = self.state();
        if !state.spool.has_waiting() {
            drop(self.to_send.wait_timeout(state, time));
        }
    }

    /// The engine waits for `next`. Returns the ids that are read again now.
    pub fn rewind(&self, next: u64) -> Option<Range<u64>> {
        let mut state = self.state();
        state.again = state.spool.rewind(next);
        self.to_read.notify_one();
        state.again.clone()
    }

    /// Waits until what has to be read again was read, for at most `time`. Returns `true` if it was.
    pub fn wait_for_healing(&self, time: Duration) -> bool {
        let waited = self.to_send.wait_timeout_while(self.state(), time, |state| state.again.is_some());
        waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0.again.is_none()
    }

    /// `items` were read again.
    pub fn healed(&self, again: &Range<u64>, items: Vec<Queued>) {
        let mut state = self.state();
        // The connection may have been lost meanwhile, and the engine may wait for another id now.
        if state.again.as_ref() == Some(again) {
            state.spool.healed(again, items);
            state.again = None;
            self.to_send.notify_one();
        }
    }

    /// Nothing is sent any more.
    pub fn end_sending(&self) {
        self.state().all_sent = true;
    }

    pub fn has_ended(&self) -> bool {
        self.state().all_sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Item, Reason};

    fn item(id: u64) -> Queued {
        Queued::new(&Item::Gap { id, count: None, reason: Reason::OriginLapped }, None)
    }

    #[test]
    fn r5_an_engine_that_lost_everything_gets_what_the_spool_has_and_the_ring_has_not() {
        let queue = Queue::new(Spool::new(9, 100, Some(100), 1 << 20));
        // The ring was overwritten up to 150 while the engine was away.
        queue.add(&mut (100..200).map(item).collect(), 200, 150);
        assert_eq!(queue.begin(), 100);
        assert_eq!(queue.rewind(queue.begin()), None);
        assert_eq!(queue.with_spool(|spool| spool.len()), 100);
        // The spool is empty: the ring has more.
        queue.with_spool(|spool| spool.confirm(200));
        assert_eq!(queue.begin(), 150);
        assert_eq!(queue.rewind(150), Some(150..200));
        assert_eq!(queue.job(), Job::Again(150..200));
        queue.healed(&(140..200), Vec::new());
        assert_eq!(queue.job(), Job::Again(150..200), "that was for another request");
        queue.healed(&(150..200), (150..200).map(item).collect());
        assert_eq!((queue.job(), queue.with_spool(|spool| spool.len())), (Job::Read, 50));
    }

    #[test]
    fn the_first_time_the_past_of_the_ring_does_not_travel() {
        let queue = Queue::new(Spool::new(9, 100, None, 1 << 20));
        queue.add(&mut vec![item(100)], 101, 20);
        assert_eq!(queue.begin(), 100);
    }
}
