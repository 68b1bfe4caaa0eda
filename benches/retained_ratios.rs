//! What retained events cost beside plain posts: a plain post in a segment without a table and in one with it, a
//! retained post, and a look-up. All cases run alternately in one process, so that the ratios hold on a busy machine.
//! `benches/retained.rs` has more cases, one after the other.
//!
//! ```sh
//! cargo bench --bench retained_ratios
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use seqcast::{Bus, Publisher, SegmentOptions, Topic, Worker, WorkerOptions};

const CALLS: u32 = 8192;
const ROUNDS: usize = 200;
const STATE: Topic<'_> = Topic::new("upstream", "state");
/// With two topics they fill half of the table.
const KEYS: usize = 16;
/// A topic of which nothing is retained.
const NOTHING: Topic<'_> = Topic::new("upstream", "weight");
const PAYLOAD: &[u8] = b"user:42";

struct Case<'a> {
    name: &'static str,
    run: Box<dyn FnMut(usize) + 'a>,
    /// Nanoseconds of a call, one for each round.
    rounds: Vec<f64>,
}

impl<'a> Case<'a> {
    fn new(name: &'static str, run: impl FnMut(usize) + 'a) -> Case<'a> {
        Case { name, run: Box::new(run), rounds: Vec::new() }
    }

    fn round(&mut self) {
        let begin = Instant::now();
        for number in 0..CALLS as usize {
            (self.run)(number);
        }
        self.rounds.push(begin.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_unstable_by(f64::total_cmp);
        self.rounds[self.rounds.len() / 2]
    }
}

fn bus_for(keys: u64) -> Bus {
    SegmentOptions::new().retained(keys).anonymous().expect("a segment")
}

fn publisher(bus: &Bus) -> Publisher {
    bus.publisher_with(&WorkerOptions::new().announce(false)).expect("a seat")
}

fn get(worker: &Worker, topic: Topic<'_>, key: &str) -> bool {
    black_box(worker.get_key(black_box(topic), key).expect("a look")).is_some()
}

fn main() {
    // `cargo test` runs benches, too: one round shows that it works.
    let rounds = if std::env::args().any(|word| word == "--bench") { ROUNDS } else { 1 };
    let keys: Vec<String> = (0..KEYS).map(|key| key.to_string()).collect();
    let key = |number: usize| &keys[number % KEYS];
    let (without, with) = (bus_for(0), bus_for(64));
    let worker = with.join_with(&WorkerOptions::new().announce(false)).expect("a seat");
    for key in &keys {
        worker.event(STATE).retain_key(key).post(PAYLOAD).expect("a post");
        worker.event(("upstream", "ttl")).retain_key(key).ttl(Duration::from_secs(3600)).post(PAYLOAD).expect("a post");
    }
    let [mut in_plain, mut in_table, mut retains] = [&without, &with, &with].map(publisher);
    let mut cases = [
        Case::new("a plain post, no table", move |_| {
            in_plain.post(STATE, black_box(PAYLOAD)).expect("a post");
        }),
        Case::new("a plain post beside a table", move |_| {
            in_table.post(STATE, black_box(PAYLOAD)).expect("a post");
        }),
        Case::new("a retained post", |number| {
            retains.event(STATE).retain_key(key(number)).post(black_box(PAYLOAD)).expect("a post");
        }),
        Case::new("a retained post by a worker", |number| {
            worker.event(STATE).retain_key(key(number)).post(black_box(PAYLOAD)).expect("a post");
        }),
        Case::new("get", |number| assert!(get(&worker, STATE, key(number)))),
        Case::new("get, with a ttl", |number| assert!(get(&worker, Topic::new("upstream", "ttl"), key(number)))),
        Case::new("get, and there is nothing", |number| assert!(!get(&worker, NOTHING, key(number)))),
    ];
    for _ in 0..rounds {
        cases.iter_mut().for_each(Case::round);
    }
    let base = cases[0].median();
    for case in &mut cases {
        let median = case.median();
        println!("{:<30} {median:>7.1} ns  {:>6.2}", case.name, median / base);
    }
}
