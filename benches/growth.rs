//! The cost of an event as its surroundings grow: seats, the segment, handlers of other events, readers. The cost
//! should stay the same, except for effects of the processor's caches.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use seqcast::{Bus, Event, Scope, SegmentOptions};

use support::{keep, poll, quiet, reader};

const PAYLOAD: [u8; 64] = [7; 64];
const BURST: u64 = 64;

/// Posts and polls on one bus, each timed separately.
fn post_and_poll(group: &mut BenchmarkGroup<'_, WallTime>, parameter: impl ToString, bus: &Bus, readers: usize) {
    let worker = bus.join_with(&quiet()).expect("a seat");
    let readers: Vec<_> = (0..readers).map(|_| reader(bus)).collect();
    // Once around the ring, so that every page and block has been used.
    for _ in 0..bus.capacity() {
        worker.post(("bench", "event"), PAYLOAD).expect("posted");
    }
    for reader in &readers {
        poll(reader);
    }
    for timed_post in [true, false] {
        let what = if timed_post { "post" } else { "poll" };
        group.bench_function(BenchmarkId::new(what, parameter.to_string()), |b| {
            b.iter_custom(|events| {
                let (mut posting, mut polling) = (Duration::ZERO, Duration::ZERO);
                let mut left = events;
                while left > 0 {
                    let burst = left.min(BURST);
                    let start = Instant::now();
                    for _ in 0..burst {
                        worker.post(("bench", "event"), black_box(PAYLOAD)).expect("posted");
                    }
                    let between = Instant::now();
                    for reader in &readers {
                        poll(reader);
                    }
                    posting += between - start;
                    polling += between.elapsed();
                    left -= burst;
                }
                if timed_post { posting } else { polling / readers.len() as u32 }
            });
        });
    }
}

fn readers(c: &mut Criterion) {
    let mut group = c.benchmark_group("growth with readers");
    for readers in [1, 4, 16, 64] {
        let bus = SegmentOptions::new().seats(128).anonymous().expect("a segment");
        post_and_poll(&mut group, readers, &bus, readers);
    }
    group.finish();
}

fn seats(c: &mut Criterion) {
    let mut group = c.benchmark_group("growth with seats");
    for seats in [8, 64, 1024] {
        let bus = SegmentOptions::new().seats(seats).anonymous().expect("a segment");
        post_and_poll(&mut group, seats, &bus, 1);
    }
    group.finish();
}

/// Rings of more and more events, of 320 bytes each with their block, from sizes that fit a cache to sizes that do not.
fn segment(c: &mut Criterion) {
    let mut group = c.benchmark_group("growth with the segment");
    for (mebibytes, capacity, block_size) in
        [(1, 1 << 11, 288), (4, 1 << 13, 288), (32, 1 << 16, 288), (128, 1 << 18, 288), (1024, 1 << 18, 3800)]
    {
        let options = SegmentOptions::new().capacity(capacity).block_size(block_size).claims(64);
        match options.anonymous() {
            Ok(bus) => post_and_poll(&mut group, format!("{mebibytes} MiB"), &bus, 1),
            Err(error) => eprintln!("{mebibytes} MiB: left out: {error}"),
        }
    }
    group.finish();
}

/// Handlers of events that are not posted.
fn other_handlers(c: &mut Criterion) {
    let mut group = c.benchmark_group("growth with handlers of other events");
    for handlers in [1, 100, 10_000] {
        let bus = SegmentOptions::new().anonymous().expect("a segment");
        let (worker, reader) = (bus.join_with(&quiet()).expect("a seat"), reader(&bus));
        for i in 0..handlers {
            let scope = Scope::events(format!("other-{}", i % 100), [format!("event-{i}")]);
            reader.on(scope, |event: &Event<'_>| keep(event.id())).expect("a handler");
        }
        group.bench_function(BenchmarkId::new("poll", handlers), |b| {
            b.iter_custom(|events| {
                let mut spent = Duration::ZERO;
                let mut left = events;
                while left > 0 {
                    let burst = left.min(BURST);
                    for _ in 0..burst {
                        worker.post(("bench", "event"), PAYLOAD).expect("posted");
                    }
                    let start = Instant::now();
                    poll(&reader);
                    spent += start.elapsed();
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
    targets = readers, seats, segment, other_handlers
}
criterion_main!(benches);
