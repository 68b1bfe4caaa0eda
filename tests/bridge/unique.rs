//! Unique events and claims of two generations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use seqcast::{Bus, Event, Worker};
use seqcast_testkit::{Child, HOUR, alone, poll, quiet, shared_words, small, stop_here};

use crate::{Pair, pump};

/// A worker that counts the unique events that it runs, by their payload.
fn runner(bus: &Bus, runs: &Arc<Vec<AtomicU64>>) -> Worker {
    let worker = bus.join_with(&quiet()).unwrap();
    let runs = Arc::clone(runs);
    let run = move |event: &Event<'_>| {
        let number = usize::from(event.bytes()[0]);
        runs[number].fetch_add(1, Relaxed);
    };
    worker.on(("job", "tick"), run).unwrap();
    worker
}

fn counts(len: usize) -> Arc<Vec<AtomicU64>> {
    Arc::new((0..len).map(|_| AtomicU64::new(0)).collect())
}

fn post(worker: &Worker, key: &str, number: u8) {
    worker.event(("job", "tick")).unique(key).ttl(HOUR).post([number]).unwrap();
}

fn sum(counts: &[AtomicU64]) -> Vec<u64> {
    counts.iter().map(|count| count.load(Relaxed)).collect()
}

alone! {
    fn g9_all_workers_of_both_generations_post_a_key_and_one_runs_it() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let runs = counts(40);
        let workers = pair.buses().map(|bus| [0, 1].map(|_| runner(bus, &runs)));
        for tick in 0..40_u8 {
            // In another order in each round.
            let all: Vec<&Worker> = workers.iter().flatten().collect();
            for at in 0..4 {
                let worker = all[(at + usize::from(tick)) % 4];
                post(worker, &format!("tick {tick}"), tick);
                match (usize::from(tick) / 4 + at) % 3 {
                    0 => _ = bridge.pump().unwrap(),
                    1 => all.iter().for_each(|worker| _ = poll(worker)),
                    _ => {}
                }
            }
        }
        for _ in 0..3 {
            pump(&mut bridge);
            workers.iter().flatten().for_each(|worker| _ = poll(worker));
        }
        assert_eq!(sum(&runs), [1; 40]);
    }

    fn g9_each_unique_event_of_the_old_runs_once_and_in_the_new() {
        let pair = Pair::new(&small());
        let mut bridge = pair.bridge();
        let (of_old, of_new) = (counts(20), counts(20));
        let (old, new) = (runner(&pair.old, &of_old), runner(&pair.new, &of_new));
        for number in 0..20_u8 {
            post(&old, &format!("job {number}"), number);
        }
        poll(&old);
        pump(&mut bridge);
        poll(&new);
        assert_eq!((sum(&of_old), sum(&of_new)), (vec![0; 20], vec![1; 20]));
        assert_eq!(bridge.carried().unique, 20);
        // A key that was released in the new one is free for both.
        post(&old, "job 0", 0);
        pump(&mut bridge);
        poll(&new);
        assert_eq!(of_new[0].load(Relaxed), 1, "the key is held");
    }

    fn g9_without_a_bridge_the_old_decide_again() {
        let pair = Pair::new(&small());
        let runs = counts(3);
        let workers = [0, 1].map(|_| runner(&pair.old, &runs));
        let poll_all = || workers.iter().for_each(|worker| _ = poll(worker));
        let bridge = pair.bridge();
        drop(bridge);
        post(&workers[0], "dropped", 0);
        poll_all();
        assert_eq!(sum(&runs), [1, 0, 0]);
        pair.bridge().finish().unwrap();
        post(&workers[0], "finished", 1);
        poll_all();
        assert_eq!(sum(&runs), [1, 1, 0]);
        let child = Child::fork(|| {
            let _bridge = pair.bridge();
            stop_here();
        });
        child.await_stop();
        post(&workers[0], "alive", 2);
        poll_all();
        assert_eq!(sum(&runs), [1, 1, 0], "it is left to the bridge");
        child.kill();
        // The next bridge finds what was left to the killed one.
        let new = runner(&pair.new, &runs);
        pump(&mut pair.bridge());
        poll(&new);
        poll_all();
        assert_eq!(sum(&runs), [1; 3]);
        // No worker decides it for the second time, and later ones are decided where they are posted.
        post(&workers[1], "killed", 0);
        poll_all();
        assert_eq!(sum(&runs), [2, 1, 1]);
    }

    fn g9_a_seat_that_was_a_dead_bridges_is_an_ordinary_one() {
        let pair = Pair::new(&small());
        Child::fork(|| {
            let _bridge = pair.bridge();
            stop_here();
        })
        .kill_when_stopped();
        let runs = counts(1);
        // Takes the seat of the dead bridge.
        let workers = [0, 1].map(|_| runner(&pair.old, &runs));
        assert_eq!(workers[0].seat(), 0);
        post(&workers[1], "key", 0);
        poll(&workers[1]);
        assert_eq!(sum(&runs), [1], "it waits for a bridge that is dead");
    }

    fn g9_keys_that_are_held_in_the_old_are_held_in_the_new() {
        let pair = Pair::new(&small());
        let runs = counts(2);
        let (old, new) = (runner(&pair.old, &runs), runner(&pair.new, &runs));
        post(&old, "event", 0);
        poll(&old);
        let done = old.claim("done", HOUR).unwrap().won().unwrap();
        let released = old.claim("released", HOUR).unwrap().won().unwrap();
        old.release(&released).unwrap();
        let options = seqcast::ClaimOptions::new(HOUR).ends_with_holder(true);
        let _lives = old.claim_with("for life", &options).unwrap().won().unwrap();
        let mut bridge = pair.bridge();
        assert_eq!(bridge.carried().claims, 2);
        assert!(new.claim("done", HOUR).unwrap().won().is_none(), "the job of this tick is done again");
        assert!(old.left(&done).unwrap() > Duration::from_secs(1800));
        let held = new.held("done").unwrap().unwrap();
        assert!(held.left <= HOUR && held.left > Duration::from_secs(1800) && !held.ends_with_holder);
        assert!(new.claim("released", HOUR).unwrap().won().is_some());
        assert!(new.claim("for life", HOUR).unwrap().won().is_some());
        post(&new, "event", 0);
        pump(&mut bridge);
        poll(&new);
        assert_eq!(sum(&runs), [1, 0], "G9: the key is held in the old segment");
        let _ = old.claim("later", HOUR).unwrap();
        assert_eq!(bridge.finish().unwrap().claims, 3, "those of the end too");
        assert!(new.claim("later", HOUR).unwrap().won().is_none());
    }

    /// Processes of both generations, a bridge, and all at once.
    fn g9_under_load_each_key_runs_once() {
        const TICKS: u64 = 200;
        // Room for the claims of all keys, however they hash.
        let pair = Pair::new(&small().capacity(1024).claims(2048));
        let (runs, said) = (shared_words(TICKS as usize), shared_words(2));
        let mut bridge = pair.bridge();
        let work = |bus: &Bus| {
            let worker = bus.join_with(&quiet()).unwrap();
            let run = |event: &Event<'_>| {
                let number = u64::from_le_bytes(event.bytes().try_into().unwrap());
                runs[number as usize].fetch_add(1, Relaxed);
            };
            worker.on(("job", "tick"), run).unwrap();
            for tick in 0..TICKS {
                let key = format!("tick {tick}");
                worker.event(("job", "tick")).unique(&key).ttl(HOUR).post(tick.to_le_bytes()).unwrap();
                poll(&worker);
            }
            said[0].fetch_add(1, Relaxed);
            while said[1].load(Relaxed) == 0 {
                worker.wait(Duration::from_millis(10)).unwrap();
                poll(&worker);
            }
            poll(&worker);
        };
        let children: Vec<_> = pair.buses().into_iter().cycle().take(4).map(|bus| Child::fork(|| work(bus))).collect();
        while said[0].load(Relaxed) < 4 {
            bridge.wait(Duration::from_millis(10)).unwrap();
            bridge.pump().unwrap();
        }
        pump(&mut bridge);
        said[1].store(1, Relaxed);
        assert!(children.into_iter().all(Child::ended_well));
        assert_eq!(sum(runs), [1; TICKS as usize]);
        assert_eq!(bridge.carried().missed, 0);
    }
}

trait KillWhenStopped {
    fn kill_when_stopped(self);
}

impl KillWhenStopped for Child {
    fn kill_when_stopped(self) {
        self.await_stop();
        self.kill();
    }
}
