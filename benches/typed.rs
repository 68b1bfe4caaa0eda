//! What a post of a typed value costs beside a post of as many bytes. All cases run alternately in one process, so that
//! the ratios hold on a busy machine.
//!
//! ```sh
//! cargo bench --bench typed
//! ```

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use rkyv::util::AlignedVec;
use rkyv::{Archive, Serialize, rancor};
use seqcast::{SegmentOptions, Tagged, Topic, TypedEvent, Worker, WorkerOptions};

const POSTS: u32 = 64;
const ROUNDS: usize = 300;

#[derive(Archive, Serialize)]
struct UpstreamDown {
    ip: [u8; 16],
    port: u16,
    failures: u32,
}

impl TypedEvent for UpstreamDown {
    const TOPIC: Topic<'static> = Topic::new("health", "down");
}

#[derive(Archive, Serialize)]
struct Invalidated {
    cache: String,
    keys: Vec<String>,
}

impl TypedEvent for Invalidated {
    const TOPIC: Topic<'static> = Topic::new("cache", "invalidated");
}

#[derive(Archive, Serialize)]
struct Page {
    url: String,
    body: Vec<u8>,
}

impl TypedEvent for Page {
    const TOPIC: Topic<'static> = Topic::new("page", "changed");
}

fn invalidated(keys: usize) -> Invalidated {
    Invalidated { cache: "users".to_owned(), keys: (0..keys).map(|i| format!("user:{i}:profile")).collect() }
}

fn page(len: usize) -> Page {
    Page { url: "https://example.org/".to_owned(), body: vec![7; len] }
}

/// One way to post one value.
struct Case {
    post: Box<dyn FnMut()>,
    /// Nanoseconds of a post, one for each round.
    rounds: Vec<f64>,
}

impl Case {
    fn new(post: impl FnMut() + 'static) -> Case {
        Case { post: Box::new(post), rounds: Vec::new() }
    }

    fn round(&mut self) {
        let begin = Instant::now();
        (0..POSTS).for_each(|_| (self.post)());
        self.rounds.push(begin.elapsed().as_nanos() as f64 / f64::from(POSTS));
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_unstable_by(f64::total_cmp);
        self.rounds[self.rounds.len() / 2]
    }
}

/// Returns a worker on a bus whose blocks fit `size`, about 4 MiB of them.
fn worker_for(size: usize) -> Worker {
    let block = (size as u64 + 64).max(288);
    let capacity = ((4 << 20) / block).next_power_of_two().max(64);
    let bus = SegmentOptions::new().block_size(block).capacity(capacity).anonymous().expect("a segment");
    bus.join_with(&WorkerOptions::new().announce(false)).expect("a seat")
}

/// Measures a post of the bytes of a value as they are, of the value archived to a buffer of its own first, and of the
/// value itself.
fn measure<T: TypedEvent + 'static>(name: &str, rounds: usize, value: T, archive: fn(&T) -> AlignedVec) {
    let value = Rc::new(value);
    let archived = archive(&value);
    let size = archived.len();
    let workers = [0; 3].map(|_| worker_for(size));
    let [bare, buffered, typed] = workers;
    let (one, other) = (Rc::clone(&value), value);
    let mut cases = [
        Case::new(move || {
            black_box(bare.post(T::TOPIC, Tagged { type_tag: 1, bytes: black_box(&archived) }).expect("posted"));
        }),
        Case::new(move || {
            let archived = archive(black_box(&one));
            black_box(buffered.post(T::TOPIC, Tagged { type_tag: 1, bytes: &archived }).expect("posted"));
        }),
        Case::new(move || {
            black_box(typed.post(T::TOPIC, black_box(&*other)).expect("posted"));
        }),
    ];
    for _ in 0..rounds {
        cases.iter_mut().for_each(Case::round);
    }
    let [bare, buffered, typed] = cases.each_mut().map(Case::median);
    println!(
        "| {name} | {size} | {bare:.0} | {buffered:.0} ({:.2}) | {typed:.0} ({:.2}) | {:.2} |",
        buffered / bare,
        typed / bare,
        typed / buffered
    );
}

fn main() {
    // `cargo test` runs benches, too: one round shows that it works.
    let rounds = if std::env::args().any(|word| word == "--bench") { ROUNDS } else { 1 };
    println!("Nanoseconds of a post through a worker, and relative to the bytes alone.\n");
    println!("| value | bytes | bytes alone | archived to a buffer | typed | typed to buffer |");
    println!("|---|---:|---:|---:|---:|---:|");
    let down = UpstreamDown { ip: [10; 16], port: 8080, failures: 3 };
    measure("plain fields", rounds, down, |value| rkyv::to_bytes::<rancor::Error>(value).expect("archived"));
    for keys in [4, 32, 128, 1024, 8192] {
        measure("strings", rounds, invalidated(keys), |value| {
            rkyv::to_bytes::<rancor::Error>(value).expect("archived")
        });
    }
    for len in [256, 1024, 4096, 8192, 12_288, 16_384, 32_768, 65_536, 262_144] {
        measure("page", rounds, page(len), |value| rkyv::to_bytes::<rancor::Error>(value).expect("archived"));
    }
}
