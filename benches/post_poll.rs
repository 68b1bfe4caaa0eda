//! Posting and polling within one process: by payload size, with readers attached, idle, lapped, in fragments, and
//! waiting when no wait is needed.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use seqcast::{Event, Polled, Scope, SegmentOptions, Sink, Words};

use support::{SIZES, bus_for, keep, options_for, payload_of, poll, quiet, reader};

/// The largest number of events posted before the timed reads; less than the smallest ring here holds.
const BURST: u64 = 32;

/// Single operations, which the report compares the figures with.
fn single(c: &mut Criterion) {
    let mut group = c.benchmark_group("single");
    group.bench_function("clock read", |b| b.iter(Instant::now));
    let word = AtomicU64::new(0);
    group.bench_function("compare-exchange", |b| {
        b.iter(|| black_box(&word).compare_exchange(0, 0, Ordering::SeqCst, Ordering::SeqCst));
    });
    let (from, mut to) = (payload_of(64 << 10), payload_of(64 << 10));
    group.bench_function("copy of 64 KiB", |b| b.iter(|| black_box(&mut to).copy_from_slice(black_box(&from))));
    group.finish();
}

fn post(c: &mut Criterion) {
    let mut group = c.benchmark_group("post");
    for readers in [0, 1, 4, 16] {
        for size in SIZES {
            let bus = bus_for(size);
            let worker = bus.join_with(&quiet()).expect("a seat");
            // They exist and have a cursor. The cost of their reading for the writer needs another core; `two_process`
            // measures it.
            let _readers: Vec<_> = (0..readers).map(|_| reader(&bus)).collect();
            let payload = payload_of(size);
            group.bench_function(BenchmarkId::new(format!("{readers} readers"), size), |b| {
                b.iter(|| worker.post(("bench", "event"), black_box(&payload)).expect("posted"));
            });
        }
    }
    group.finish();
}

fn poster(c: &mut Criterion) {
    let mut group = c.benchmark_group("post by a poster");
    for size in [8, 64, 256] {
        let bus = bus_for(size);
        let mut poster = bus.publisher().expect("a seat");
        let payload = payload_of(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| poster.post(("bench", "event"), black_box(&payload)).expect("posted"));
        });
    }
    group.finish();
}

/// The cost of one event for one of several readers, each of which reads all.
fn poll_events(c: &mut Criterion) {
    let mut group = c.benchmark_group("poll");
    for readers in [1, 4, 16] {
        for size in SIZES {
            let bus = bus_for(size);
            let worker = bus.join_with(&quiet()).expect("a seat");
            let readers_of: Vec<_> = (0..readers).map(|_| reader(&bus)).collect();
            let payload = payload_of(size);
            group.bench_function(BenchmarkId::new(format!("{readers} readers"), size), |b| {
                b.iter_custom(|events| {
                    let mut spent = Duration::ZERO;
                    let mut left = events;
                    while left > 0 {
                        let burst = left.min(BURST);
                        for _ in 0..burst {
                            worker.post(("bench", "event"), &payload).expect("posted");
                        }
                        let start = Instant::now();
                        for reader in &readers_of {
                            assert_eq!(poll(reader), (burst, 0));
                        }
                        spent += start.elapsed();
                        left -= burst;
                    }
                    spent / readers as u32
                });
            });
        }
    }
    group.finish();
}

fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle");
    let bus = bus_for(64);
    let worker = reader(&bus);
    poll(&worker);
    // Used as users do: passing the whole result by reference would cost more than the poll.
    group.bench_function("poll", |b| b.iter(|| matches!(worker.poll(), Ok(Polled::Done { .. }))));
    group.bench_function("wait of zero", |b| b.iter(|| worker.wait(Duration::ZERO)));
    let poster = bus.join_with(&quiet()).expect("a seat");
    poster.post(("bench", "event"), b"news").expect("posted");
    group.bench_function("wait with news", |b| b.iter(|| worker.wait(Duration::from_secs(1))));
    group.finish();
}

/// A reader that lost its place: detecting it, continuing, and the first event after it.
fn lapped(c: &mut Criterion) {
    let options = SegmentOptions::new().capacity(64);
    let bus = options.anonymous().expect("a segment");
    let worker = bus.join_with(&quiet()).expect("a seat");
    let slow = reader(&bus);
    c.bench_function("lapped/poll to the first event", |b| {
        b.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                for _ in 0..100 {
                    worker.post(("bench", "event"), b"12345678").expect("posted");
                }
                let start = Instant::now();
                let polled = black_box(slow.poll_at_most(1));
                spent += start.elapsed();
                assert!(matches!(polled, Ok(Polled::Done { delivered: 1, missed: 36.., .. })), "{polled:?}");
                poll(&slow);
            }
            spent
        });
    });
}

/// Events larger than a block, in as many ids as needed, compared with the same event in one block.
fn fragments(c: &mut Criterion) {
    let mut group = c.benchmark_group("fragments");
    for size in [1024, 4096, 65_536] {
        let payload = payload_of(size);
        let default = SegmentOptions::new();
        fragments_with(&mut group, "in fragments", size, &default, &payload);
        fragments_with(&mut group, "in one block", size, &options_for(size), &payload);
    }
    group.finish();
}

fn fragments_with(
    group: &mut BenchmarkGroup<'_, WallTime>,
    how: &str,
    size: usize,
    options: &SegmentOptions,
    payload: &[u8],
) {
    let bus = options.anonymous().expect("a segment");
    let worker = bus.join_with(&quiet()).expect("a seat");
    let reader = bus.join_with(&quiet()).expect("a seat");
    reader.on(Scope::All, |event: &Event<'_>| keep(event.bytes().len())).expect("a handler");
    group.bench_function(BenchmarkId::new(how, size), |b| {
        b.iter(|| {
            worker.post(("bench", "event"), payload).expect("posted");
            poll(&reader)
        });
    });
}

/// Reading the sum of a payload: of a private copy, and of the words in the block.
fn in_place(c: &mut Criterion) {
    let mut group = c.benchmark_group("read the sum");
    for size in [256, 1024, 4096, 16_384, 65_536] {
        let bus = bus_for(size);
        let mut publisher = bus.publisher().expect("a seat");
        let payload = payload_of(size);
        for how in ["copied", "in place"] {
            let mut subscriber = bus.subscribe_with(&quiet()).expect("a seat");
            group.bench_function(BenchmarkId::new(how, size), |b| {
                b.iter_custom(|events| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..events {
                        publisher.post(("bench", "event"), &payload).expect("posted");
                        let start = Instant::now();
                        if how == "copied" {
                            let delivery = subscriber.try_next().expect("read").expect("an event");
                            keep(Words::of(delivery.event().expect("an event").bytes()).sum());
                        } else {
                            let visited = subscriber.try_visit(|_, words| words.sum()).expect("read");
                            keep(visited.expect("an event").1.expect("a visit"));
                        }
                        spent += start.elapsed();
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

/// Posting a payload that is computed: in a buffer first, and in the block.
fn post_with(c: &mut Criterion) {
    let mut group = c.benchmark_group("post what is computed");
    for size in [256, 1024, 4096, 16_384, 65_536] {
        let bus = bus_for(size);
        let mut publisher = bus.publisher().expect("a seat");
        let line = payload_of(256);
        let mut buffer = Vec::new();
        group.bench_function(BenchmarkId::new("copied", size), |b| {
            b.iter(|| {
                buffer.clear();
                (0..size / 256).for_each(|_| buffer.extend_from_slice(black_box(&line)));
                publisher.post(("bench", "event"), &buffer).expect("posted")
            });
        });
        group.bench_function(BenchmarkId::new("in place", size), |b| {
            b.iter(|| {
                let fill = |sink: &mut Sink<'_>| (0..size / 256).try_for_each(|_| sink.put(black_box(&line)));
                publisher.post_with(("bench", "event"), size, fill).expect("posted")
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = single, post, poster, poll_events, idle, lapped, fragments, in_place, post_with
}
criterion_main!(benches);
