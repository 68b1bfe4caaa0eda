//! What a relay's seat costs those that do not use it, and what its own posts cost. All cases run alternately in one
//! process, so that the ratios hold on a busy machine.
//!
//! ```sh
//! cargo bench --bench relay
//! ```

use std::time::Instant;

use seqcast::relay::{Foreign, RelayOptions, RelayPoster, RelayReader};
use seqcast::{Bus, ClusterId, Event, Origin, Scope, SegmentOptions, Worker, WorkerOptions};

/// Posts of one case in a round. Fewer than the ring holds, so that no reader is lapped.
const POSTS: u64 = 4096;
const ROUNDS: usize = 200;

/// A bus with a worker that posts and reads, and perhaps a relay.
struct Case {
    name: &'static str,
    worker: Worker,
    relay: Option<(RelayReader, RelayPoster)>,
    run: fn(&mut Case, u64),
    /// Nanoseconds of a post and its delivery, one for each round.
    rounds: Vec<f64>,
    /// The bus of a case lives as long as the case.
    _bus: Bus,
}

impl Case {
    fn new(name: &'static str, with_relay: bool, run: fn(&mut Case, u64)) -> Case {
        let bus = SegmentOptions::new().anonymous().expect("a segment");
        let worker = bus.join_with(&WorkerOptions::new().announce(false)).expect("a seat");
        let handler = |event: &Event<'_>| {
            std::hint::black_box(event.bytes().len());
        };
        worker.on(Scope::All, handler).expect("a handler");
        let relay = with_relay.then(|| bus.relay(&RelayOptions::new()).expect("the place of the relay").split());
        Case { name, worker, relay, run, rounds: Vec::new(), _bus: bus }
    }

    fn poll(&self) {
        assert_eq!(self.worker.poll().expect("a poll").missed(), 0);
    }

    /// The poster of a case that has one.
    fn poster(&mut self) -> &mut RelayPoster {
        &mut self.relay.as_mut().expect("the case has a relay").1
    }

    /// Reads what the relay would send, outside the time that counts.
    fn read_along(&mut self) {
        if let Some((reader, _)) = &mut self.relay {
            while reader.try_next().expect("a read").is_some() {}
        }
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_unstable_by(f64::total_cmp);
        self.rounds[self.rounds.len() / 2]
    }
}

fn post(case: &mut Case, _: u64) {
    for _ in 0..POSTS {
        case.worker.post(("cache", "stale"), "user:42").expect("a post");
    }
    case.poll();
}

fn post_cluster(case: &mut Case, _: u64) {
    for _ in 0..POSTS {
        case.worker.post_cluster(("cache", "stale"), "user:42").expect("a request");
    }
    case.poll();
}

fn relayed(case: &mut Case, round: u64) {
    let origin = Origin::from_bits(7);
    for number in 0..POSTS {
        let n = round * POSTS + number;
        let place = ClusterId { timeline: 1, n };
        let event = Foreign::new(origin, n, place, "cache", "stale", b"user:42");
        assert!(case.poster().post(&event).expect("a post"));
    }
    case.poll();
}

fn main() {
    // `cargo test` runs benches, too: one round shows that it works.
    let rounds = if std::env::args().any(|word| word == "--bench") { ROUNDS } else { 1 };
    let mut cases = [
        Case::new("post and deliver, no relay", false, post),
        Case::new("post and deliver, with a relay", true, post),
        Case::new("request, skipped by the worker", true, post_cluster),
        Case::new("event of another host, once", true, relayed),
    ];
    for round in 0..rounds as u64 {
        for case in &mut cases {
            let begin = Instant::now();
            (case.run)(case, round);
            case.rounds.push(begin.elapsed().as_nanos() as f64 / POSTS as f64);
            case.read_along();
        }
    }
    let base = cases[0].median();
    for case in &mut cases {
        let median = case.median();
        println!("{:<34} {median:>7.1} ns  {:>5.2}", case.name, median / base);
    }
}
