//! How far a reader looks ahead, and how far it stays behind the writers.
//!
//! A reader that reads each event as soon as it exists takes the line of cells from the writer, which needs that line
//! again for the next event. Both then wait for a transfer of the line for each event. Where many events follow each
//! other, a reader that stays two lines behind reads whole lines, and the writer keeps its own.
//!
//! Only a reader that has read many events in a row keeps this distance. It waits for it at most twice as long as the
//! last line took, and more rarely after it has waited in vain. After many waits in a row it goes to the end once, so
//! that a poll can return.

use crate::os::clock::ticks;
use crate::protocol::ring::{CELLS_PER_LINE, Ring};
use crate::sync;

/// A reader that reads this many events in a row counts as behind, and prefetches the next ones.
const BEHIND: u32 = 8;
/// A reader that reads this many events in a row keeps its distance. Each wait in vain doubles the number.
const STEADY: u32 = 64;
/// How often it is doubled at most.
const MOST_DOUBLED: u32 = 6;
/// After this many lines in a row that the reader had to wait for, it goes to the end.
const MOST_WAITED: u32 = 64;
/// The distance, in ids: the cells of the line that is read, and of the one after it.
const DISTANCE: u64 = 2 * CELLS_PER_LINE;
/// How long the reader waits for its distance, as a multiple of the time that the last line took.
const MOST_LINES: u64 = 2;
/// The longest time of a line after which the reader waits, by the processor's clock: some microseconds. A reader that
/// takes longer is held up by its handlers, or was preempted, and has no use for a distance.
const SLOWEST_LINE: u64 = 16_384;
/// The most looks of one wait: a bound for a clock that stands.
const MOST_LOOKS: u32 = 2048;
/// After an event that does not exist yet was to be prefetched, the reader reads this many without prefetching.
const SKIPPED: u32 = 8;

/// The pace of a reader.
#[derive(Default)]
pub(crate) struct Pace {
    /// Events read since the reader was last at the end or gave up its distance, up to the largest number that counts.
    streak: u32,
    /// Waits in vain since the last other one, up to [`MOST_DOUBLED`].
    vain: u32,
    /// Lines in a row that the reader had to wait for.
    waited: u32,
    /// `true` if the last [`read`](Pace::read) has prefetched.
    has_prefetched: bool,
    /// Events that are still read without prefetching.
    skip: u32,
    /// What is prefetched while an event below this id is read exists.
    known_below: u64,
    /// When the reader came to the last line, by the processor's clock.
    line_at: u64,
}

impl Pace {
    /// Returns `true` if the reader is behind.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.streak >= BEHIND
    }

    /// Returns `true` if lines of a later event were prefetched when the reader came to this one.
    #[inline]
    pub(crate) fn has_prefetched(&self) -> bool {
        self.has_prefetched
    }

    /// The reader is at the end, or gives up its distance.
    #[inline]
    pub(crate) fn end(&mut self) {
        self.streak = 0;
    }

    /// Called before the reader looks at `id`, the next one. If it has read many events in a row, waits for a moment
    /// until it is far enough behind.
    #[inline]
    pub(crate) fn before(&mut self, ring: &Ring, id: u64) {
        if sync::PREFETCHES && self.is_behind() && id.is_multiple_of(CELLS_PER_LINE) {
            self.begin_line(ring, id, ticks());
        }
    }

    /// The reader comes to the line that begins with `id`, at the time `now`.
    #[inline(never)]
    fn begin_line(&mut self, ring: &Ring, id: u64, now: u64) {
        let took = now.wrapping_sub(std::mem::replace(&mut self.line_at, now));
        // In a small ring, the cell of a later id may still hold the last lap's event for long, or be that of `id`.
        let keeps_distance =
            self.streak >= STEADY << self.vain && took <= SLOWEST_LINE && ring.capacity() >= 4 * DISTANCE;
        if !keeps_distance || ring.is_empty_at(id) {
            return;
        }
        let most = took * MOST_LINES;
        let mut looks = 0;
        while ring.is_empty_at(id.saturating_add(DISTANCE)) {
            looks += 1;
            if looks > MOST_LOOKS || ticks().wrapping_sub(now) > most {
                self.vain = MOST_DOUBLED.min(self.vain + 1);
                self.end();
                return;
            }
            core::hint::spin_loop();
        }
        self.keep(id, looks);
    }

    /// The reader has its distance at the line of `id`, after so many looks in vain.
    fn keep(&mut self, id: u64, looks: u32) {
        self.vain = 0;
        self.known_below = id.saturating_add(CELLS_PER_LINE);
        self.waited = if looks == 0 { 0 } else { self.waited + 1 };
        if self.waited == MOST_WAITED {
            self.waited = 0;
            self.end();
        }
    }

    /// Called when the reader reads the event at `id`. Prefetches later ones if the reader is behind.
    #[inline]
    pub(crate) fn read(&mut self, ring: &Ring, id: u64) {
        self.has_prefetched = false;
        if self.streak < BEHIND {
            self.streak += 1;
            return;
        }
        self.streak = (STEADY << MOST_DOUBLED).min(self.streak + 1);
        if id < self.known_below {
            ring.prefetch_known_after(id);
            self.has_prefetched = true;
        } else if self.skip > 0 {
            self.skip -= 1;
        } else if ring.prefetch_after(id) {
            self.has_prefetched = true;
        } else {
            self.skip = SKIPPED;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::seat::delivery::Delivery;
    use crate::seat::options::WorkerOptions;
    use crate::seat::publisher::Publisher;
    use crate::seat::subscriber::Subscriber;
    use crate::segment::Segment;
    use crate::segment::options::SegmentOptions;

    fn bus(capacity: u64) -> (Arc<Segment>, Subscriber, Publisher) {
        let segment = Arc::new(Segment::anonymous(&SegmentOptions::new().capacity(capacity).seats(4)).unwrap());
        let options = WorkerOptions::new().announce(false);
        let (subscriber, publisher) =
            (Subscriber::join(&segment, &options).unwrap(), Publisher::join(&segment, &options).unwrap());
        (segment, subscriber, publisher)
    }

    fn post(publisher: &mut Publisher, count: u64) {
        for _ in 0..count {
            publisher.post(("s", "e"), "").unwrap();
        }
    }

    #[test]
    fn g1_a_reader_that_keeps_its_distance_reads_the_last_events_too() {
        // Bursts of all lengths, and every position of a first id in its line occurs.
        let (_segment, mut subscriber, mut publisher) = bus(1024);
        let mut posted = 0;
        for burst in 0..400 {
            let count = 1 + burst;
            post(&mut publisher, count);
            posted += count;
            for id in posted - count..posted {
                match subscriber.try_next().unwrap() {
                    Some(Delivery::Event(event)) => assert_eq!(event.id(), Some(id)),
                    other => panic!("event {id} of {posted}: {other:?}"),
                }
            }
            assert!(subscriber.try_next().unwrap().is_none());
        }
    }

    /// Comes to the line of `id` after a line that took `took`.
    fn begin_line(pace: &mut Pace, ring: &Ring, id: u64, took: u64) {
        let now = ticks();
        pace.line_at = now.wrapping_sub(took);
        pace.begin_line(ring, id, now);
    }

    #[test]
    fn a_reader_waits_for_its_distance_after_many_events_and_not_for_long() {
        if !sync::PREFETCHES {
            return;
        }
        let (segment, _subscriber, mut publisher) = bus(1024);
        let ring = segment.ring();
        post(&mut publisher, 200);
        let mut pace = Pace::default();
        for id in 0..184 {
            assert_eq!((pace.streak, pace.is_behind()), (id as u32, id >= 8));
            if pace.is_behind() && id % CELLS_PER_LINE == 0 {
                begin_line(&mut pace, &ring, id, 100);
                let known_below = if id < 64 { 0 } else { id + CELLS_PER_LINE };
                assert_eq!(pace.known_below, known_below, "at {id}");
            }
            pace.read(&ring, id);
            assert_eq!(pace.has_prefetched(), id >= 8);
        }
        begin_line(&mut pace, &ring, 184, SLOWEST_LINE + 1);
        assert_eq!((pace.streak, pace.known_below), (184, 184), "no wait after a slow line");
        begin_line(&mut pace, &ring, 200, SLOWEST_LINE);
        assert_eq!((pace.streak, pace.known_below), (184, 184), "no wait where there is nothing to read");
        begin_line(&mut pace, &ring, 184, SLOWEST_LINE);
        assert_eq!(pace.streak, 0, "there is no event 200, and the wait has an end");
        for (vain, streak) in [(1, 127), (1, 128), (2, 255), (2, 256), (6, 4095), (6, 4096)] {
            pace = Pace { vain, streak, ..Pace::default() };
            begin_line(&mut pace, &ring, 184, 100);
            let waits = streak.is_power_of_two();
            assert_eq!((pace.vain, pace.streak == 0), (MOST_DOUBLED.min(vain + u32::from(waits)), waits));
        }
        pace = Pace { vain: 3, streak: 512, ..Pace::default() };
        begin_line(&mut pace, &ring, 0, 100);
        assert_eq!((pace.vain, pace.known_below), (0, CELLS_PER_LINE));
    }

    #[test]
    fn a_reader_of_a_small_ring_does_not_wait() {
        for (capacity, known_below) in [(32, 0), (64, 104)] {
            let (segment, _subscriber, mut publisher) = bus(capacity);
            post(&mut publisher, 120);
            let mut pace = Pace { streak: STEADY, ..Pace::default() };
            begin_line(&mut pace, &segment.ring(), 96, 100);
            assert_eq!((pace.streak, pace.known_below), (STEADY, known_below));
        }
    }

    #[test]
    fn a_reader_that_waits_for_each_line_goes_to_the_end_at_times() {
        let mut pace = Pace { streak: STEADY, ..Pace::default() };
        for line in 1..2 * MOST_WAITED {
            // One line that it did not have to wait for begins the count again.
            pace.keep(8, u32::from(line != MOST_WAITED));
            assert_eq!(pace.streak, STEADY, "line {line}");
        }
        pace.keep(8, 1);
        assert_eq!((pace.streak, pace.waited), (0, 0));
    }
}
