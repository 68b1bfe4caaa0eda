//! What posts cost beside readers that must read. All cases run alternately in one process, so that the ratios hold on
//! a busy machine.
//!
//! ```sh
//! cargo bench --bench must_read
//! ```

use std::time::{Duration, Instant};

use seqcast::{Bus, Publisher, SegmentOptions, Subscriber, WorkerOptions};

/// Posts between two turns of the readers, which keep up.
const BURST: u64 = 256;
const BURSTS: u64 = 32;
const ROUNDS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(1);

/// A bus with a publisher and readers that keep up.
struct Case {
    name: &'static str,
    publisher: Publisher,
    readers: Vec<Subscriber>,
    /// Nanoseconds of a post, one for each round.
    rounds: Vec<f64>,
    /// The bus of a case lives as long as the case.
    _bus: Bus,
}

impl Case {
    fn new(name: &'static str, most_patience: Duration, readers: &[Option<Duration>]) -> Case {
        let bus = SegmentOptions::new().most_patience(most_patience).anonymous().expect("a segment");
        let quiet = WorkerOptions::new().announce(false);
        let reader = |patience: &Option<Duration>| {
            let options = quiet.clone();
            let options = if let Some(patience) = patience { options.must_read(*patience) } else { options };
            bus.subscribe_with(&options).expect("a seat")
        };
        let readers = readers.iter().map(reader).collect();
        let publisher = bus.publisher_with(&quiet).expect("a seat");
        Case { name, publisher, readers, rounds: Vec::new(), _bus: bus }
    }

    fn round(&mut self) {
        let mut spent = Duration::ZERO;
        for _ in 0..BURSTS {
            let begin = Instant::now();
            for _ in 0..BURST {
                self.publisher.post(("cache", "stale"), "user:42").expect("a post");
            }
            spent += begin.elapsed();
            for reader in &mut self.readers {
                while reader.try_next().expect("a read").is_some() {}
            }
        }
        self.rounds.push(spent.as_nanos() as f64 / (BURST * BURSTS) as f64);
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_unstable_by(f64::total_cmp);
        self.rounds[self.rounds.len() / 2]
    }
}

fn main() {
    // `cargo test` runs benches, too: one round shows that it works.
    let rounds = if std::env::args().any(|word| word == "--bench") { ROUNDS } else { 1 };
    let must = Some(PATIENCE);
    let mut cases = [
        Case::new("nobody may be waited for", Duration::ZERO, &[None]),
        Case::new("nobody must read", PATIENCE, &[None]),
        Case::new("one must read, and keeps up", PATIENCE, &[must]),
        Case::new("four read, and may lag", PATIENCE, &[None; 4]),
        Case::new("four must read, and keep up", PATIENCE, &[must; 4]),
    ];
    for _ in 0..rounds {
        cases.iter_mut().for_each(Case::round);
    }
    let base = cases[0].median();
    for case in &mut cases {
        let median = case.median();
        println!("{:<34} {median:>7.1} ns  {:>5.2}", case.name, median / base);
    }
}
