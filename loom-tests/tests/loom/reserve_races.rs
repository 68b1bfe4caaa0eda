//! Reserved ids: commit, void and the lap decide by one exchange each, so every worker sees the same outcome.

use crate::protocol::pool::Hand;
use crate::protocol::ring::{Fate, NoTable};
use crate::protocol::thread_lock::{Lend, Lock};
use crate::race::race;
use crate::sync::AtomicU32;
use crate::world::{Poll, World};

/// The outcome of an id, as its reserver learned it.
fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Decided => "committed",
        Fate::TooLate => "too late",
    }
}

#[test]
fn a_reserve_and_a_post_want_the_same_id() {
    race("a reserve and a post want the same id")
        .preemptions(Some(4), None)
        .allowed(&["post 0, reserve 1", "reserve 0, post 1"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (reserver, watch, mut hand) = (world.clone(), run.clone(), world.adopt(0));
            cast.actor(move || {
                let id = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
                watch.outcome(if id == 0 { "reserve 0, post 1" } else { "post 0, reserve 1" });
            });
            let (poster, mut hand) = (world.clone(), world.adopt(1));
            cast.actor(move || _ = poster.post(&mut hand, 10));
            cast.play();
            world.judge();
        });
}

#[test]
fn a_commit_meets_a_void_by_a_reader() {
    race("a commit meets a void by a reader")
        .preemptions(None, None)
        .allowed(&[
            "committed, reader: 0",
            "committed, reader: nothing",
            "too late, reader: void",
            "committed, reader: too late to void",
        ])
        .run(|run| {
            let world = World::new(run.mode, 1, 1);
            let mut cast = run.cast();
            let told = tell();
            let (reserver, heard, mut hand) = (world.clone(), told.clone(), world.adopt(0));
            cast.actor(move || {
                let id = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
                let end = reserver.commit(&mut hand, id, 0);
                heard.lock().unwrap().0 = fate(end);
            });
            let (reader, heard) = (world.clone(), told.clone());
            cast.actor(move || {
                // A reader that has waited long enough.
                let story = match reader.poll(0) {
                    Poll::Empty => "nothing",
                    Poll::Event(_) => "0",
                    Poll::Reserved(_) => match reader.ring.void(0).unwrap() {
                        Fate::Decided => {
                            assert_eq!(reader.poll(0), Poll::Void, "the reader that voided an id sees it void");
                            "void"
                        }
                        Fate::TooLate => {
                            assert_eq!(reader.poll(0), Poll::Event(0), "a reader that did not void it sees the event");
                            "too late to void"
                        }
                    },
                    other => panic!("{other:?}"),
                };
                heard.lock().unwrap().1 = story;
            });
            cast.play();
            world.judge();
            let (commit, reader) = *told.lock().unwrap();
            run.outcome(format!("{commit}, reader: {reader}"));
        });
}

#[test]
fn a_reader_takes_an_id_while_it_is_reserved_and_lapped() {
    race("a reader takes an id while it is reserved and lapped")
        .preemptions(None, None)
        .allowed(&[
            "nothing, nothing",
            "nothing, event",
            "event, nothing",
            "event, event",
            "lapped, nothing",
            "lapped, event",
        ])
        .run(|run| {
            let world = World::new(run.mode, 1, 1);
            let mut cast = run.cast();
            let (reserver, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || {
                reserver.post(&mut hand, 10);
                let id = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
                assert_eq!(reserver.commit(&mut hand, id, 11), Fate::Decided);
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                let story = [0, 1].map(|id| match reader.take(id) {
                    None => "nothing",
                    Some(Poll::Event(content)) => {
                        assert_eq!(content, 10 + id);
                        "event"
                    }
                    Some(Poll::Lapped) => "lapped",
                    Some(other) => panic!("{other:?}"),
                });
                watch.outcome(story.join(", "));
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn two_readers_void_and_the_reserver_gives_up() {
    race("two readers void and the reserver gives up").preemptions(Some(2), Some(3)).allowed(&["0", "1"]).run(|run| {
        let world = World::new(run.mode, 1, 1);
        let mut cast = run.cast();
        let decided = std::sync::Arc::new(std::sync::Mutex::new(0));
        let (reserver, count, mut hand) = (world.clone(), decided.clone(), world.adopt(0));
        cast.actor(move || {
            reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
            if reserver.ring.abandon(0).unwrap() == Some(Fate::Decided) {
                *count.lock().unwrap() += 1;
            }
        });
        for _ in 0..2 {
            let (reader, count) = (world.clone(), decided.clone());
            cast.actor(move || {
                if let Poll::Reserved(_) = reader.poll(0)
                    && reader.ring.void(0).unwrap() == Fate::Decided
                {
                    *count.lock().unwrap() += 10;
                }
            });
        }
        cast.play();
        world.judge();
        match *decided.lock().unwrap() {
            1 => run.outcome("0"),
            10 => run.outcome("1"),
            other => panic!("decided {other} times"),
        }
    });
}

#[test]
fn a_commit_meets_a_lap() {
    race("a commit meets a lap").preemptions(Some(3), Some(5)).allowed(&["committed", "too late"]).run(|run| {
        let world = World::new(run.mode, 1, 2);
        let mut cast = run.cast();
        let (reserver, watch, mut hand) = (world.clone(), run.clone(), world.adopt(0));
        cast.actor(move || {
            let id = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
            watch.outcome(fate(reserver.commit(&mut hand, id, 0)));
        });
        let (poster, mut hand) = (world.clone(), world.adopt(1));
        cast.actor(move || {
            poster.post(&mut hand, 10);
            poster.post(&mut hand, 11);
        });
        cast.play();
        world.judge();
    });
}

#[test]
fn a_void_meets_a_lap() {
    race("a void meets a lap")
        .preemptions(Some(2), Some(3))
        .allowed(&["nothing to void", "too late to void", "void"])
        .run(|run| {
            let world = World::new(run.mode, 1, 2);
            let mut cast = run.cast();
            let (reserver, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || _ = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap());
            let (poster, mut hand) = (world.clone(), world.adopt(1));
            cast.actor(move || {
                poster.post(&mut hand, 10);
                poster.post(&mut hand, 11);
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                watch.outcome(match reader.poll(0) {
                    Poll::Reserved(_) => match reader.ring.void(0).unwrap() {
                        Fate::Decided => {
                            reader.log.lock().unwrap().void(0);
                            "void"
                        }
                        Fate::TooLate => "too late to void",
                    },
                    _ => "nothing to void",
                });
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_reader_asks_for_the_reserver() {
    race("a reader asks for the reserver")
        .preemptions(None, None)
        .allowed(&["not reserved", "named", "decided meanwhile"])
        .run(|run| {
            let world = World::new(run.mode, 2, 1);
            let mut cast = run.cast();
            let (reserver, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || {
                for content in 0..2 {
                    let id = reserver.ring.reserve(&mut hand, &mut NoTable).unwrap();
                    let end = reserver.commit(&mut hand, id, content);
                    assert_eq!(end, Fate::Decided, "a living reserver's id was voided");
                }
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                for id in 0..2 {
                    let Poll::Reserved(_) = reader.poll(id) else {
                        watch.outcome("not reserved");
                        continue;
                    };
                    if reader.ring.reserved_by(0) == Some(id) {
                        watch.outcome("named");
                        continue;
                    }
                    // No seat names it, so it will not be committed: if it is still reserved, it may be voided at once.
                    assert_eq!(reader.ring.void(id).unwrap(), Fate::TooLate);
                    watch.outcome("decided meanwhile");
                }
            });
            cast.play();
            world.judge();
        });
}

#[test]
fn a_forgotten_reservation_is_voided_by_the_next() {
    race("a forgotten reservation is voided by the next")
        .preemptions(None, None)
        .allowed(&["0 forgotten by all", "0 void", "0 voided by the reader"])
        .run(|run| {
            let world = World::new(run.mode, 2, 1);
            let mut cast = run.cast();
            let (reserver, mut hand) = (world.clone(), world.adopt(0));
            cast.actor(move || {
                assert_eq!(reserver.ring.reserve(&mut hand, &mut NoTable), Ok(0));
                assert_eq!(reserver.ring.reserve(&mut hand, &mut NoTable), Ok(1));
                assert_eq!(reserver.poll(0), Poll::Void, "the forgotten one is void before the next is taken");
                assert_eq!(reserver.commit(&mut hand, 1, 1), Fate::Decided);
            });
            let (reader, watch) = (world.clone(), run.clone());
            cast.actor(move || {
                watch.outcome(match reader.poll(0) {
                    Poll::Reserved(_) => match reader.ring.void(0).unwrap() {
                        Fate::Decided => "0 voided by the reader",
                        Fate::TooLate => "0 void",
                    },
                    Poll::Void => "0 void",
                    Poll::Empty => "0 forgotten by all",
                    other => panic!("{other:?}"),
                });
            });
            cast.play();
            world.judge();
            assert_eq!(world.log.lock().unwrap().posted.get(&1), Some(&1));
        });
}

/// A worker's hand, and its known reservation.
impl Lend for (Hand, Option<u64>) {}

#[test]
fn two_threads_of_a_worker_reserve_and_commit() {
    race("two threads of a worker reserve and commit")
        .preemptions(None, None)
        .allowed(&["0 committed", "0 too late", "1 committed"])
        .run(|run| {
            let world = World::new(run.mode, 2, 1);
            // The worker's hand, and its known reservation.
            let state = AtomicU32::new(0, run.mode.of_exchanged());
            let writer = std::sync::Arc::new(Lock::new(state, (world.adopt(0), None)));
            let mut cast = run.cast();
            for _ in 0..2 {
                let (world, writer, watch) = (world.clone(), writer.clone(), run.clone());
                cast.actor(move || {
                    let mut locked = writer.lock();
                    let (hand, reserved) = &mut *locked;
                    let id = world.ring.reserve(hand, &mut NoTable).unwrap();
                    *reserved = Some(id);
                    drop(locked);
                    let mut locked = writer.lock();
                    let (hand, reserved) = &mut *locked;
                    let in_time = *reserved == Some(id);
                    let end = world.commit(hand, id, id);
                    assert_eq!(end == Fate::Decided, in_time, "{id} was given up, or committed, without a reason");
                    if in_time {
                        *reserved = None;
                    }
                    assert_eq!(world.ring.reserved_by(0), *reserved, "the commit of {id} took the other's name");
                    watch.outcome(format!("{id} {}", fate(end)));
                });
            }
            cast.play();
            world.judge();
        });
}

/// The lock of seat 0, as the kernel keeps it: held until its holder is dead.
fn lock() -> std::sync::Arc<loom::sync::atomic::AtomicBool> {
    std::sync::Arc::new(loom::sync::atomic::AtomicBool::new(true))
}

#[test]
fn a_reserver_is_killed_and_readers_void() {
    race("a reserver is killed and readers void")
        .deaths(1)
        .preemptions(Some(2), Some(3))
        .allowed(&[
            "alive, lived",
            "void, dead",
            "event, dead",
            "event, lived",
            "nothing, dead",
            "nothing, lived",
            "alive, dead",
        ])
        .run(|run| {
            let world = World::new(run.mode, 2, 2);
            let mut cast = run.cast();
            let told = tell();
            let lock = lock();
            let (victim, watch, heard, held, mut hand) =
                (world.clone(), run.clone(), told.clone(), lock.clone(), world.adopt(0));
            cast.actor(move || {
                let end = watch.mortal(0, || {
                    let id = victim.ring.reserve(&mut hand, &mut NoTable).unwrap();
                    assert_eq!(victim.commit(&mut hand, id, 0), Fate::Decided, "voided while its reserver lived");
                });
                heard.lock().unwrap().0 = if end.is_some() { "lived" } else { "dead" };
                held.store(false, crate::sync::Ordering::Release);
                let mut hand = victim.adopt(0);
                victim.post(&mut hand, 1);
            });
            let (reader, heard) = (world.clone(), told.clone());
            cast.actor(move || {
                heard.lock().unwrap().1 = match reader.poll(0) {
                    Poll::Reserved(_) => {
                        let named = reader.ring.reserved_by(0) == Some(0);
                        if named && lock.load(crate::sync::Ordering::Acquire) {
                            "alive"
                        } else {
                            match reader.ring.void(0).unwrap() {
                                Fate::Decided => "void",
                                Fate::TooLate => "event",
                            }
                        }
                    }
                    Poll::Empty => "nothing",
                    Poll::Event(_) => "event",
                    other => panic!("{other:?}"),
                };
            });
            cast.play();
            world.judge();
            let (reserver, reader) = *told.lock().unwrap();
            run.outcome(format!("{reader}, {reserver}"));
        });
}

fn tell() -> std::sync::Arc<std::sync::Mutex<(&'static str, &'static str)>> {
    std::sync::Arc::default()
}
