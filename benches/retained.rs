//! Retained events: posting, looking up, clearing, joining, and a plain post for comparison in the same run.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use seqcast::{Bus, SegmentOptions, Start, Topic};

use support::{payload_of, quiet};

const STATE: Topic<'_> = Topic::new("bench", "state");
/// Each fits in a block with its names and key.
const SIZES: [usize; 3] = [8, 64, 192];
/// Numbers of keys: in one bucket of the index, and in several.
const KEYS: [u64; 2] = [64, 1000];

fn bus_for(keys: u64) -> Bus {
    SegmentOptions::new().retained(keys).anonymous().expect("a segment")
}

/// A post that is not retained, in a segment without a table and in one with it.
fn plain(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained/plain post");
    for keys in [0, 64] {
        for size in SIZES {
            let bus = bus_for(keys);
            let mut publisher = bus.publisher_with(&quiet()).expect("a seat");
            let payload = payload_of(size);
            group.bench_function(BenchmarkId::new(format!("room for {keys}"), size), |b| {
                b.iter(|| publisher.post(STATE, black_box(&payload)).expect("posted"));
            });
        }
    }
    group.finish();
}

fn retain(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained/post");
    for keys in KEYS {
        for size in SIZES {
            let bus = bus_for(keys);
            let mut publisher = bus.publisher_with(&quiet()).expect("a seat");
            let payload = payload_of(size);
            let mut number = 0_u64;
            group.bench_function(BenchmarkId::new(format!("one of {keys} keys"), size), |b| {
                b.iter(|| {
                    number = (number + 1) % keys;
                    let event = publisher.event(STATE).retain_key(&number.to_le_bytes()).post(black_box(&payload));
                    event.expect("posted")
                });
            });
        }
    }
    let bus = bus_for(64);
    let worker = bus.join_with(&quiet()).expect("a seat");
    let payload = payload_of(64);
    group.bench_function("by a worker", |b| {
        b.iter(|| worker.event(STATE).retain().post(black_box(&payload)).expect("posted"));
    });
    group.finish();
}

fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained/get");
    for keys in KEYS {
        for size in SIZES {
            let bus = bus_for(keys);
            let worker = bus.join_with(&quiet()).expect("a seat");
            let payload = payload_of(size);
            for number in 0..keys {
                worker.event(STATE).retain_key(&number.to_le_bytes()).post(&payload).expect("posted");
            }
            let mut number = 0_u64;
            group.bench_function(BenchmarkId::new(format!("one of {keys} keys"), size), |b| {
                b.iter(|| {
                    number = (number + 1) % keys;
                    worker.get_key(STATE, black_box(number.to_le_bytes())).expect("a look").expect("it is retained")
                });
            });
        }
    }
    let bus = bus_for(64);
    let worker = bus.join_with(&quiet()).expect("a seat");
    group.bench_function("of nothing", |b| b.iter(|| worker.get(black_box(STATE)).expect("a look")));
    group.finish();
}

/// A key is cleared and retained again.
fn clear(c: &mut Criterion) {
    let bus = bus_for(64);
    let mut publisher = bus.publisher_with(&quiet()).expect("a seat");
    c.bench_function("retained/clear and retain", |b| {
        b.iter(|| {
            publisher.event(STATE).retain().post("12345678").expect("posted");
            publisher.event(STATE).clear().expect("cleared")
        });
    });
}

/// Each post has a new key, so a full bucket of cleared keys is swept once in 64 posts.
fn sweep(c: &mut Criterion) {
    let bus = bus_for(64);
    let mut publisher = bus.publisher_with(&quiet()).expect("a seat");
    let mut number = 0_u64;
    c.bench_function("retained/new key and clear", |b| {
        b.iter(|| {
            number += 1;
            let key = number.to_le_bytes();
            publisher.event(STATE).retain_key(&key).post("12345678").expect("posted");
            publisher.event(STATE).retain_key(&key).clear().expect("cleared")
        });
    });
}

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("retained/join and be brought up to date");
    for keys in KEYS {
        let bus = bus_for(keys);
        let worker = bus.join_with(&quiet()).expect("a seat");
        for number in 0..keys {
            worker.event(STATE).retain_key(&number.to_le_bytes()).post([7; 64]).expect("posted");
        }
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            let joined = || {
                let joined = bus.join_with(&quiet().start(Start::Retained)).expect("a seat");
                joined.on(STATE, |event| _ = black_box(event.bytes())).expect("a handler");
                joined
            };
            b.iter_batched(
                joined,
                |joined| assert_eq!(joined.poll().expect("a poll").delivered(), keys),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = plain, retain, get, clear, sweep, join
}
criterion_main!(benches);
