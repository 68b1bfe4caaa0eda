//! Finds out if a seat's readers run far from it, and chooses by that how large payloads are stored.
//!
//! An ordinary store takes its line out of the readers' caches. Where a reader shares a cache with the writer this is
//! cheap, and the reader finds the line in that cache. Where it does not, it is the larger part of a large post: of 64
//! KiB, 12 to 30 us, where stores past the cache take 2.5. A reader then fetches the lines from memory, which takes a
//! far one as long as from the writer's cache, and a near one longer. `benches/copy.rs` has figures.
//!
//! Where writers and readers run changes: the scheduler moves threads, and the host of a virtual machine moves its
//! processors. So a seat that posts large payloads looks now and then how long it takes to load a line that a reader
//! has just stored to. If that takes about as long as from memory, the reader is far, and a fetch from memory costs it
//! nothing more.

use crate::os::streaming::{ticks_of_load, ticks_of_memory};
use crate::protocol::bytes::Way;
use crate::protocol::seat_words::WORDS;
use crate::seat::NO_CURSOR;
use crate::segment::layout::seat_word;
use crate::sync::{AtomicU64, Ordering, Words};

/// One of this many large posts looks.
const PERIOD: u32 = 64;
/// Each of the first large posts looks.
const FIRST: u32 = 4;
/// The number of looks that count.
const LOOKS: usize = 3;

/// The number of seats that a look passes over to find a reader. The next look goes on behind them.
const MOST_PASSED: usize = 64;

/// A look at one reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// The ticks that it took to load a line of the reader.
    line: u64,
    /// The ticks that it took to load a line from memory, at the same time.
    memory: u64,
}

/// What a seat knows of its readers' distance.
pub(crate) struct Placement {
    seats: Words,
    own: u16,
    /// The number of large posts.
    turn: u32,
    /// The seat that was looked at last.
    last: usize,
    looks: [Look; LOOKS],
    way: Way,
}

impl Placement {
    pub(crate) fn new(seats: Words, own: u16) -> Placement {
        Placement { seats, own, turn: 0, last: 0, looks: [Look::default(); LOOKS], way: Way::Cached }
    }

    /// Returns the way in which the next large payload is stored. Readers that have not read up to `oldest` do not
    /// count.
    #[inline]
    pub(crate) fn next_way(&mut self, oldest: u64) -> Way {
        if self.looks_next() {
            self.look(oldest);
        }
        self.way
    }

    #[inline]
    fn looks_next(&mut self) -> bool {
        let turn = self.turn;
        self.turn = turn.wrapping_add(1);
        turn < FIRST || turn.is_multiple_of(PERIOD)
    }

    #[cold]
    fn look(&mut self, oldest: u64) {
        if let Some(line) = self.line_of_a_reader(oldest) {
            self.note(Look { line, memory: ticks_of_memory() });
        }
    }

    /// Returns the ticks that it takes to load a line of the next reader. A reader that has not read up to `oldest` is
    /// dead or stopped, and its line says nothing.
    fn line_of_a_reader(&mut self, oldest: u64) -> Option<u64> {
        let seats = self.seats.as_slice();
        let count = seats.len() / WORDS;
        for _ in 0..count.min(MOST_PASSED) {
            self.last = (self.last + 1) % count;
            if self.last == usize::from(self.own) {
                continue;
            }
            let word = |index: usize| -> Option<&AtomicU64> { seats.get(self.last * WORDS + index) };
            let (pid, cursor) = (word(seat_word!(identity.pid))?, word(seat_word!(reading.cursor))?);
            // Relaxed: a guess. The load of another line of the seat also finds the page.
            if pid.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let (cursor, ticks) = ticks_of_load(cursor);
            if cursor != NO_CURSOR && cursor >= oldest {
                return Some(ticks);
            }
        }
        None
    }

    fn note(&mut self, look: Look) {
        self.looks.rotate_left(1);
        self.looks[LOOKS - 1] = look;
        // Between processors that share a cache a line takes a third of a load from memory, and between others nearly
        // all of it. An interruption only adds time, and seldom to most of the looks.
        let is_far = |look: &&Look| look.line / 3 > look.memory / 4;
        let far = self.looks.iter().filter(is_far).count();
        self.way = if far * 2 > LOOKS { Way::Streamed } else { Way::Cached };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Topic;
    use crate::seat::delivery::Delivery;
    use crate::seat::options::WorkerOptions;
    use crate::seat::publisher::Publisher;
    use crate::seat::subscriber::Subscriber;
    use crate::segment::Segment;
    use crate::segment::options::SegmentOptions;

    fn placement_of(seats: &Words) -> Placement {
        Placement::new(seats.clone(), 0)
    }

    fn segment() -> Arc<Segment> {
        Arc::new(Segment::anonymous(&SegmentOptions::new().capacity(64).seats(4).large(4, 100_000)).unwrap())
    }

    #[test]
    fn most_of_the_last_looks_decide() {
        const NEAR: Look = Look { line: 130, memory: 400 };
        const FAR: Look = Look { line: 370, memory: 400 };
        const INTERRUPTED: Look = Look { line: 90_000, memory: 400 };
        let mut placement = placement_of(&segment().seats());
        let mut ways = |looks: &[Look]| -> Vec<Way> {
            let way_after = |&look: &Look| {
                placement.note(look);
                placement.way
            };
            looks.iter().map(way_after).collect()
        };
        assert_eq!(ways(&[NEAR, INTERRUPTED, NEAR, NEAR]), [Way::Cached; 4]);
        assert_eq!(ways(&[FAR, FAR, FAR]), [Way::Cached, Way::Streamed, Way::Streamed]);
        assert_eq!(ways(&[NEAR, FAR, NEAR, NEAR]), [Way::Streamed, Way::Streamed, Way::Cached, Way::Cached]);
        // Where nothing can be measured.
        assert_eq!(ways(&[Look::default(); 3]), [Way::Cached; 3]);
    }

    #[test]
    fn only_readers_that_take_part_are_looked_at() {
        const OLDEST: u64 = 10;
        let segment = segment();
        let seats = segment.seats();
        let mut placement = placement_of(&seats);
        let set = |seat: usize, pid: u64, cursor: u64| {
            seats.at(seat * WORDS + seat_word!(identity.pid)).store(pid, Ordering::Relaxed);
            seats.at(seat * WORDS + seat_word!(reading.cursor)).store(cursor, Ordering::Relaxed);
        };
        // Its own seat, one that nobody ever had, one that only posts, and one that has read nothing for a lap.
        set(0, 1, OLDEST);
        set(1, 0, OLDEST);
        set(2, 1, NO_CURSOR);
        set(3, 1, OLDEST - 1);
        assert_eq!(placement.line_of_a_reader(OLDEST), None);
        set(1, 1, OLDEST);
        set(3, 1, OLDEST + 1);
        let mut looked_at = || {
            assert!(placement.line_of_a_reader(OLDEST).is_some());
            placement.last
        };
        assert_eq!([looked_at(), looked_at(), looked_at()], [1, 3, 1], "in turn");
    }

    #[test]
    fn a_look_passes_over_few_seats_and_the_next_one_goes_on() {
        let options = SegmentOptions::new().capacity(64).seats(3 * MOST_PASSED as u64);
        let segment = Segment::anonymous(&options).unwrap();
        let (seats, reader) = (segment.seats(), 2 * MOST_PASSED + 1);
        seats.at(reader * WORDS + seat_word!(identity.pid)).store(1, Ordering::Relaxed);
        seats.at(reader * WORDS + seat_word!(reading.cursor)).store(0, Ordering::Relaxed);
        let mut placement = placement_of(&seats);
        let found: Vec<_> = (0..3).map(|_| placement.line_of_a_reader(0).map(|_| placement.last)).collect();
        assert_eq!(found, [None, None, Some(reader)]);
    }

    #[test]
    fn a_writer_looks_at_its_first_large_posts_and_now_and_then_later() {
        let mut placement = placement_of(&segment().seats());
        let mut has_looked = |posts: u32| (0..posts).filter(|_| placement.looks_next()).count();
        assert_eq!(has_looked(FIRST), FIRST as usize);
        assert_eq!(has_looked(PERIOD * 4 - FIRST), 3);
    }

    #[test]
    fn g3_what_was_stored_past_the_cache_is_received() {
        // In blocks of the ring, in large ones, and around every bound between.
        let block = SegmentOptions::new().capacity(64).seats(4).block_size(8 << 10).large(4, 100_000);
        let segment = Arc::new(Segment::anonymous(&block).unwrap());
        let options = WorkerOptions::new().announce(false);
        let mut publisher = Publisher::join(&segment, &options).unwrap();
        let mut subscriber = Subscriber::join(&segment, &options).unwrap();
        let bounds = [0, 512, 2048, 4096, 8 << 10, 65_536, 100_000];
        let lens =
            bounds.into_iter().flat_map(|bound| (0..5).map(move |less| 100_000.min(bound + 3) - less.min(bound)));
        for (len, topic) in
            lens.zip([Topic::new("s", "e"), Topic::new("a longer source", "and a longer event")].iter().cycle())
        {
            let payload: Vec<u8> = (0..len).map(|at| (at ^ at >> 8) as u8).collect();
            let placement = &mut publisher.seat.writer.placement;
            // Far from the next look.
            (placement.way, placement.turn) = (Way::Streamed, FIRST + 1);
            publisher.post(*topic, &payload[..]).unwrap();
            match subscriber.try_next().unwrap() {
                Some(Delivery::Event(event)) => assert!(event.bytes() == payload, "{len} bytes"),
                other => panic!("{len} bytes: {other:?}"),
            }
        }
    }
}
