//! Claims and unique events: won, lost, contended, and by fill level of the region.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use seqcast::{Bus, ClaimOptions, Claimed, Event, Scope, SegmentOptions, Unique, Worker};

use support::{poll, quiet};

const HOUR: Duration = Duration::from_secs(3600);
/// After the first thousand wins, the region holds as many ended claims as at half load.
const BRIEF: Duration = Duration::from_nanos(1);

fn bus_with(claims: u64) -> Bus {
    SegmentOptions::new().claims(claims).anonymous().expect("a segment")
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("refresh:user:{i}")).collect()
}

fn won_and_lost(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim");
    let bus = bus_with(8192);
    let worker = bus.join_with(&quiet()).expect("a seat");
    let other = bus.join_with(&quiet()).expect("a seat");
    let keys = keys(1024);
    let mut next = keys.iter().cycle();
    // The ttl has ended by the time the key is used again.
    group.bench_function("won", |b| {
        b.iter(|| won(&worker, next.next().expect("a cycle"), BRIEF));
    });
    group.bench_function("won and released", |b| {
        b.iter(|| {
            let claim = won(&worker, next.next().expect("a cycle"), HOUR);
            assert!(worker.release(&claim).expect("released"));
        });
    });
    let held: Vec<_> = keys.iter().map(|key| won(&worker, key, HOUR)).collect();
    group.bench_function("lost", |b| {
        b.iter(|| {
            let answer = other.claim(black_box(next.next().expect("a cycle")), HOUR);
            assert!(matches!(answer, Ok(Claimed::Held { .. })));
        });
    });
    drop(held);
    group.finish();
}

/// Claims that end with their holder, and calls that extend or look up a claim.
fn for_life(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim for life");
    let bus = bus_with(8192);
    let (worker, other) = (bus.join_with(&quiet()).expect("a seat"), bus.join_with(&quiet()).expect("a seat"));
    let keys = keys(1024);
    let mut next = keys.iter().cycle();
    let [brief, long] = [BRIEF, HOUR].map(|ttl| ClaimOptions::new(ttl).ends_with_holder(true));
    group.bench_function("won", |b| {
        b.iter(|| {
            let claimed = worker.claim_with(black_box(next.next().expect("a cycle")), &brief);
            assert!(matches!(claimed, Ok(Claimed::Won(_))));
        });
    });
    let claim = worker.claim_with("held", &long).expect("no error").won().expect("it is free");
    // This asks the kernel if the holder lives.
    group.bench_function("lost", |b| {
        b.iter(|| assert!(matches!(other.claim_with(black_box("held"), &long), Ok(Claimed::Held { .. }))));
    });
    group.bench_function("renewed", |b| b.iter(|| worker.renew(black_box(&claim), HOUR).expect("it is held")));
    group.bench_function("left", |b| b.iter(|| assert!(!worker.left(black_box(&claim)).expect("no error").is_zero())));
    group.bench_function("looked at", |b| b.iter(|| assert!(bus.held(black_box("held")).expect("no error").is_some())));
    group.finish();
}

fn won(worker: &Worker, key: &str, ttl: Duration) -> seqcast::Claim {
    match worker.claim(black_box(key), ttl) {
        Ok(Claimed::Won(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

/// With this share of the region held by others.
fn by_load(c: &mut Criterion) {
    let mut group = c.benchmark_group("claim won by load");
    const KEYS: u64 = 8192;
    for percent in [0, 25, 50, 75, 100] {
        let bus = bus_with(KEYS);
        let (worker, holder) = (bus.join_with(&quiet()).expect("a seat"), bus.join_with(&quiet()).expect("a seat"));
        for i in 0..KEYS * percent / 100 {
            let _ = won(&holder, &format!("held:{i}"), HOUR);
        }
        let keys = keys(256);
        let mut next = keys.iter().cycle();
        group.bench_function(BenchmarkId::new("percent", percent), |b| {
            b.iter(|| won(&worker, next.next().expect("a cycle"), BRIEF));
        });
    }
    group.finish();
}

/// Against another thread that repeatedly claims and releases the same key.
fn contended(c: &mut Criterion) {
    let bus = bus_with(8192);
    let worker = bus.join_with(&quiet()).expect("a seat");
    let rival = bus.join_with(&quiet()).expect("a seat");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if let Ok(Claimed::Won(claim)) = rival.claim("the only one", HOUR) {
                    rival.release(&claim).expect("released");
                }
            }
        });
        c.bench_function("claim/contended", |b| {
            b.iter(|| {
                if let Ok(Claimed::Won(claim)) = worker.claim(black_box("the only one"), HOUR) {
                    worker.release(&claim).expect("released");
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}

/// A unique event: the worker that runs it, and the worker that reaches it second.
fn unique_events(c: &mut Criterion) {
    const BURST: u64 = 64;
    let mut group = c.benchmark_group("unique event");
    let bus = bus_with(16_384);
    let poster = bus.join_with(&quiet()).expect("a seat");
    let (first, second) = (support::reader(&bus), support::reader(&bus));
    first.on(Scope::source("other"), |_: &Event<'_>| ()).expect("a handler");
    let mut number = 0_u64;
    let mut keys = move || {
        number += 1;
        format!("job:{number}")
    };
    for (name, first_is_timed) in [("run", true), ("ignored", false)] {
        group.bench_function(name, |b| {
            b.iter_custom(|events| {
                let mut spent = Duration::ZERO;
                let mut left = events;
                while left > 0 {
                    let burst = left.min(BURST);
                    for _ in 0..burst {
                        let key = keys();
                        let unique = Unique::key(&key).ttl(Duration::from_micros(100));
                        poster.event(("bench", "event")).unique(unique).post(b"12345678").expect("posted");
                    }
                    let start = Instant::now();
                    assert_eq!(poll(&first).0, burst);
                    let between = Instant::now();
                    assert_eq!(poll(&second).0, 0);
                    spent += if first_is_timed { between - start } else { between.elapsed() };
                    left -= burst;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = won_and_lost, for_life, by_load, contended, unique_events
}
criterion_main!(benches);
