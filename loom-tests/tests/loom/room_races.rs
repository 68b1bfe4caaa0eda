//! Readers that are waited for, and the posts that wait for them.
//!
//! The ring has one or two cells. A post takes an id only if its limit allows it, as in the crate's `Writer`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::protocol::pool::Hand;
use crate::protocol::ring::{NoTable, Stop};
use crate::protocol::room::{Limit, Musts, Slowest};
use crate::protocol::seat_words::{self, NEED, PATIENCE};
use crate::protocol::wake;
use crate::race::{Run, race};
use crate::room::Kernel;
use crate::sync::{AtomicU32, Ordering, Words, fence};
use crate::world::{Poll, World, write};

const POSTER: u16 = 0;
const READER: u16 = 1;
const SEATS: u16 = 3;

/// A ring, and the words of its readers.
#[derive(Clone)]
struct Bus {
    world: World,
    musts: Musts,
}

impl Bus {
    fn new(run: &Run, capacity: usize) -> Bus {
        let of_reader = |word: usize| {
            let word = word % seat_words::WORDS;
            (word == NEED || word == PATIENCE).then_some(run.mode)
        };
        let seats = Words::new(usize::from(SEATS) * seat_words::WORDS, of_reader);
        let musts = Musts::new(Words::new(SEATS.into(), |_| Some(run.mode.of_exchanged())), seats);
        Bus { world: World::new(run.mode, capacity, SEATS), musts }
    }

    /// Returns a poster on `seat`.
    fn poster(&self, seat: u16) -> Poster {
        let mut hand = self.world.adopt(seat);
        hand.stop_at(0);
        Poster { bus: self.clone(), hand, limit: Limit::default() }
    }

    /// Joins as a reader. Returns the id from which on it is safe.
    fn join(&self) -> u64 {
        let (_, from) = self.musts.join(READER, &self.world.ring, None);
        self.musts.pass(READER, from);
        from
    }

    /// Reads from `next` on until nothing is new. Returns the next id, or the first one that was overwritten.
    fn read(&self, mut next: u64) -> Result<u64, u64> {
        loop {
            match self.world.poll(next) {
                Poll::Event(_) => {
                    next += 1;
                    self.musts.pass(READER, next);
                }
                Poll::Empty => return Ok(next),
                Poll::Lapped => return Err(next),
                other => panic!("{other:?}"),
            }
        }
    }
}

struct Poster {
    bus: Bus,
    hand: Hand,
    limit: Limit,
}

impl Poster {
    /// Posts, unless a reader would be lapped. Returns that reader.
    fn try_post(&mut self, content: u64) -> Result<u64, Slowest> {
        let Bus { world, musts } = &self.bus;
        loop {
            match world.ring.post(&mut self.hand, &mut NoTable, write(content)) {
                Ok(id) => {
                    world.log.lock().unwrap().posted(id, content);
                    return Ok(id);
                }
                Err(Stop::Fault(fault)) => panic!("{fault:?}"),
                Err(Stop::NoRoom { id }) => {
                    let scan = musts.scan(id);
                    if let Some(slowest) = self.limit.take_in(scan, world.ring.capacity(), id, 1) {
                        return Err(slowest);
                    }
                    self.hand.stop_at(self.limit.end());
                }
            }
        }
    }
}

#[test]
fn a_joiner_meets_a_scan() {
    race("a joiner meets a scan")
        .preemptions(Some(2), Some(3))
        .allowed(&["posted 2, safe from 1", "posted 2, safe from 2", "posted 3, safe from 2", "posted 3, safe from 3"])
        .run(|run| {
            let bus = Bus::new(run, 1);
            let mut poster = bus.poster(POSTER);
            // Its limit comes from an earlier scan.
            poster.try_post(9).unwrap();
            let told = Arc::new(Mutex::new((0, 0)));
            let mut cast = run.cast();
            let posted = told.clone();
            cast.actor(move || {
                let count = (10..12).take_while(|&content| poster.try_post(content).is_ok()).count();
                posted.lock().unwrap().0 = 1 + count as u64;
            });
            let (reader, safe) = (bus.clone(), told.clone());
            // It joins, and then does not read: no post may lap it from there on.
            cast.actor(move || safe.lock().unwrap().1 = reader.join());
            cast.play();
            let (posted, safe) = *told.lock().unwrap();
            assert!(posted <= safe + 1, "G16: the reader is safe from {safe}, and {posted} are posted");
            run.outcome(format!("posted {posted}, safe from {safe}"));
            bus.world.judge();
        });
}

#[test]
fn a_need_meets_a_limit() {
    race("a need meets a limit")
        .preemptions(Some(2), Some(3))
        .allowed(&["read 1, posted 1", "read 1, posted 2", "read 2, posted 2"])
        .run(|run| {
            let bus = Bus::new(run, 1);
            let mut poster = bus.poster(POSTER);
            let start = bus.join();
            poster.try_post(10).unwrap();
            let told = Arc::new(Mutex::new((0, 0)));
            let mut cast = run.cast();
            let posted = told.clone();
            cast.actor(move || posted.lock().unwrap().1 = 1 + u64::from(poster.try_post(11).is_ok()));
            let (reader, read) = (bus.clone(), told.clone());
            cast.actor(move || {
                let next = reader.read(start).unwrap_or_else(|id| panic!("G16: lapped at {id}"));
                read.lock().unwrap().0 = next;
            });
            cast.play();
            let (read, posted) = *told.lock().unwrap();
            run.outcome(format!("read {read}, posted {posted}"));
            bus.world.judge();
        });
}

#[test]
fn a_cut_meets_a_reader_that_goes_on() {
    race("a cut meets a reader that goes on")
        .preemptions(Some(2), Some(3))
        .allowed(&["cut and lapped", "cut and read", "cut too late"])
        .run(|run| {
            let bus = Bus::new(run, 1);
            let mut poster = bus.poster(POSTER);
            let start = bus.join();
            poster.try_post(10).unwrap();
            let told = Arc::new(Mutex::new((false, Ok(0))));
            let mut cast = run.cast();
            let cut = told.clone();
            cast.actor(move || {
                let mut is_cut = false;
                if let Err(slowest) = poster.try_post(11) {
                    // It has waited for long enough.
                    is_cut = poster.bus.musts.cut_off(&slowest);
                    let _ = poster.try_post(11);
                }
                cut.lock().unwrap().0 = is_cut;
            });
            let (reader, read) = (bus.clone(), told.clone());
            cast.actor(move || {
                let result = reader.read(start);
                if result.is_err() {
                    // The post that lapped it had cut it off, and that is visible now.
                    assert!(reader.musts.after_lap(READER).is_cut(), "G16: lapped, and not told that it was cut off");
                }
                read.lock().unwrap().1 = result;
            });
            cast.play();
            let (cut, read) = *told.lock().unwrap();
            assert!(cut || read.is_ok(), "G16: lapped and not cut off");
            run.outcome(match (cut, read) {
                (true, Err(_)) => "cut and lapped".to_owned(),
                (true, Ok(_)) => "cut and read".to_owned(),
                (false, _) => "cut too late".to_owned(),
            });
            bus.world.judge();
        });
}

#[test]
fn a_late_cut_meets_the_next_join() {
    race("a late cut meets the next join").preemptions(None, None).allowed(&["hits the first join", "too late"]).run(
        |run| {
            let bus = Bus::new(run, 1);
            let mut poster = bus.poster(POSTER);
            bus.join();
            poster.try_post(10).unwrap();
            let slowest = poster.try_post(11).unwrap_err();
            let mut cast = run.cast();
            let (musts, watch) = (bus.musts.clone(), run.clone());
            cast.actor(move || {
                let hit = musts.cut_off(&slowest);
                watch.outcome(if hit { "hits the first join" } else { "too late" }.to_owned());
            });
            let reader = bus.clone();
            cast.actor(move || {
                reader.musts.leave(READER);
                reader.join();
                assert!(reader.musts.of(READER).is_waited_for(), "the cut has hit the next join");
            });
            cast.play();
            assert!(bus.musts.of(READER).is_waited_for(), "the cut has hit the next join");
        },
    );
}

/// The wait of a post for a reader, and what ends it.
struct PostWait<'a> {
    bus: &'a Bus,
    slowest: &'a Slowest,
    /// Where the reader has begun.
    start: u64,
    word: &'a AtomicU32,
    kernel: &'a Kernel,
}

impl PostWait<'_> {
    fn wake(&self) {
        wake::notify(self.word, self.kernel, &());
    }
}

/// A post sleeps until `end` has ended its wait for the reader.
fn sleeps_until(name: &'static str, end: fn(&PostWait<'_>)) {
    race(name).preemptions(Some(3), Some(4)).allowed(&["naps 0", "naps 1"]).run(move |run| {
        let bus = Bus::new(run, 1);
        let mut poster = bus.poster(POSTER);
        let start = bus.join();
        poster.try_post(10).unwrap();
        let slowest = poster.try_post(11).unwrap_err();
        let word = Arc::new(AtomicU32::new(0, run.mode));
        let kernel = Arc::new(Kernel::new(0));
        let mut cast = run.cast();
        let (sleeper, called, watch) = (word.clone(), kernel.clone(), run.clone());
        cast.actor(move || {
            let mut naps = 0;
            // A lost wake-up would be a deadlock: no sleep ends by itself here.
            let musts = &poster.bus.musts;
            while musts.holds_up(&slowest, 2, 1) {
                let ready = wake::nap(&sleeper, &*called, Duration::ZERO, || !musts.holds_up(&slowest, 2, 1));
                naps += u32::from(!ready);
            }
            poster.try_post(11).unwrap();
            watch.outcome(format!("naps {naps}"));
        });
        let other = bus.clone();
        cast.actor(move || {
            end(&PostWait { bus: &other, slowest: &slowest, start, word: &word, kernel: &kernel });
        });
        cast.play();
        bus.world.judge();
    });
}

#[test]
fn a_post_sleeps_until_a_reader_rests() {
    sleeps_until("a post sleeps until a reader rests", |wait| {
        // As `MustRead::pass` and `rest`.
        let look = || {
            if wake::has_sleeper(wait.word) {
                wait.wake();
            }
        };
        let Poll::Event(_) = wait.bus.world.poll(wait.start) else { panic!("it is there") };
        wait.bus.musts.pass(READER, wait.start + 1);
        look();
        fence(Ordering::SeqCst);
        look();
    });
}

#[test]
fn a_post_sleeps_until_a_reader_leaves() {
    sleeps_until("a post sleeps until a reader leaves", |wait| {
        assert!(wait.bus.musts.leave(READER));
        wait.wake();
    });
}

#[test]
fn a_post_sleeps_until_another_cuts_off() {
    sleeps_until("a post sleeps until another cuts off", |wait| {
        assert!(wait.bus.musts.cut_off(wait.slowest));
        wait.wake();
    });
}

#[test]
fn a_large_post_meets_a_joiner() {
    race("a large post meets a joiner")
        .preemptions(Some(2), Some(3))
        .allowed(&[
            "0 large, safe from 0",
            "1 large, safe from 0",
            "1 large, safe from 1",
            "2 large, safe from 1",
            "2 large, safe from 2",
        ])
        .run(|run| {
            let bus = Bus::new(run, 2);
            let mut poster = bus.poster(POSTER);
            let told = Arc::new(Mutex::new((0, 0)));
            let mut cast = run.cast();
            let large = told.clone();
            cast.actor(move || {
                // As `Writer::fits_large`: without a reader that must read, the payload goes to the large ring.
                let is_large =
                    |&content: &u64| poster.bus.musts.joined().next().is_none() && poster.try_post(content).is_ok();
                large.lock().unwrap().0 = (10..12).take_while(is_large).count() as u64;
            });
            let (reader, safe) = (bus.clone(), told.clone());
            cast.actor(move || safe.lock().unwrap().1 = reader.join());
            cast.play();
            let (large, safe) = *told.lock().unwrap();
            // One post may have looked before the reader joined.
            assert!(large <= safe + 1, "G16: the reader is safe from {safe}, and {large} large payloads were posted");
            run.outcome(format!("{large} large, safe from {safe}"));
            bus.world.judge();
        });
}
