//! The life of workers: creating, opening, joining, leaving, reading the counters.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use seqcast::{Bus, SegmentOptions};

use support::quiet;

fn lifecycle(c: &mut Criterion) {
    let mut group = c.benchmark_group("lifecycle");
    let name = format!("seqcast-bench-lifecycle-{}", std::process::id());
    let bus = SegmentOptions::new().unlink_on_drop(true).create(&name).expect("a segment");
    group.bench_function("create and unlink", |b| {
        let name = format!("{name}-new");
        let options = SegmentOptions::new().unlink_on_drop(true);
        b.iter(|| drop(options.create(&name).expect("a segment")));
    });
    group.bench_function("open", |b| {
        b.iter_batched(|| (), |()| Bus::open(&name).expect("the segment"), BatchSize::PerIteration);
    });
    group.bench_function("join", |b| {
        b.iter_batched(|| (), |()| bus.join_with(&quiet()).expect("a seat"), BatchSize::PerIteration);
    });
    group.bench_function("open, join and leave", |b| {
        b.iter(|| {
            let bus = Bus::open(&name).expect("the segment");
            bus.join().expect("a seat").leave().expect("left");
        });
    });
    let _workers: Vec<_> = (0..4).map(|_| bus.join_with(&quiet()).expect("a seat")).collect();
    group.bench_function("stats of 4 workers", |b| b.iter(|| black_box(bus.stats().expect("stats"))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = lifecycle
}
criterion_main!(benches);
