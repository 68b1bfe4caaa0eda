//! Typed events and their dispatch: by number of handlers, sources and events.

#[path = "criterion_support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rkyv::{Archive, Serialize};
use seqcast::{Event, Scope, SegmentOptions, Topic, Typed, TypedEvent, Worker};

use support::{keep, poll, quiet};

const BURST: u64 = 64;

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

const DOWN: UpstreamDown = UpstreamDown { ip: [10; 16], port: 8080, failures: 3 };

fn invalidated() -> Invalidated {
    Invalidated { cache: "users".to_owned(), keys: (0..4).map(|i| format!("user:{i}:profile")).collect() }
}

fn pair() -> (Worker, Worker) {
    let bus = SegmentOptions::new().anonymous().expect("a segment");
    (bus.join_with(&quiet()).expect("a seat"), bus.join_with(&quiet()).expect("a seat"))
}

fn post_typed(c: &mut Criterion) {
    let mut group = c.benchmark_group("post typed");
    let (worker, _) = pair();
    group.bench_function("plain fields", |b| b.iter(|| worker.post(UpstreamDown::TOPIC, black_box(&DOWN))));
    let value = invalidated();
    group.bench_function("strings", |b| b.iter(|| worker.post(Invalidated::TOPIC, black_box(&value))));
    group.finish();
}

/// The time of the reader's polls for `events` events, posted by `post` in bursts.
fn in_polls(reader: &Worker, events: u64, mut post: impl FnMut(u64)) -> Duration {
    let mut spent = Duration::ZERO;
    let mut done = 0;
    while done < events {
        let burst = BURST.min(events - done);
        for event in done..done + burst {
            post(event);
        }
        done += burst;
        let start = Instant::now();
        black_box(poll(reader));
        spent += start.elapsed();
    }
    spent
}

fn dispatch_typed(c: &mut Criterion) {
    let mut group = c.benchmark_group("dispatch typed");
    let (worker, reader) = pair();
    reader.on_typed(|down: Typed<'_, UpstreamDown>| keep(down.port.to_native())).expect("a handler");
    reader.on_typed(|value: Typed<'_, Invalidated>| keep(value.keys.len())).expect("a handler");
    group.bench_function("plain fields", |b| {
        b.iter_custom(|events| {
            in_polls(&reader, events, |_| keep(worker.post(UpstreamDown::TOPIC, &DOWN).expect("posted")))
        });
    });
    let value = invalidated();
    group.bench_function("strings", |b| {
        b.iter_custom(|events| {
            in_polls(&reader, events, |_| keep(worker.post(Invalidated::TOPIC, &value).expect("posted")))
        });
    });
    group.finish();
}

/// An event with many handlers: the cost of an event, and with it the cost of each call.
fn handlers_of_one_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("dispatch by handlers of the event");
    for handlers in [1, 10, 100, 1000, 10_000] {
        let (worker, reader) = pair();
        for _ in 0..handlers {
            reader.on(Scope::source("bench"), |event: &Event<'_>| keep(event.id())).expect("a handler");
        }
        group.throughput(Throughput::Elements(handlers));
        group.bench_function(BenchmarkId::from_parameter(handlers), |b| {
            b.iter_custom(|events| {
                in_polls(&reader, events, |_| keep(worker.post(("bench", "event"), b"12345678").expect("posted")))
            });
        });
    }
    group.finish();
}

/// Many sources, each with one handler, and events of all of them in turn: the cost of finding the handlers.
fn sources(c: &mut Criterion) {
    let mut group = c.benchmark_group("dispatch by sources");
    for sources in [1, 10, 100, 1000, 10_000] {
        let (worker, reader) = pair();
        let names: Vec<String> = (0..sources).map(|i| format!("source-{i}")).collect();
        for name in &names {
            reader.on(Scope::source(name), |event: &Event<'_>| keep(event.id())).expect("a handler");
        }
        group.bench_function(BenchmarkId::from_parameter(sources), |b| {
            b.iter_custom(|events| {
                in_polls(&reader, events, |event| {
                    let name = &names[event as usize % names.len()];
                    worker.post((name, "event"), b"12345678").expect("posted");
                })
            });
        });
    }
    group.finish();
}

/// Events that no handler here wants: their payloads are not copied.
fn unwanted(c: &mut Criterion) {
    let mut group = c.benchmark_group("skip what no handler wants");
    for size in [64, 4096] {
        let bus = support::bus_for(size);
        let (worker, reader) = (bus.join_with(&quiet()).expect("a seat"), bus.join_with(&quiet()).expect("a seat"));
        reader.on(Scope::source("another"), |_: &Event<'_>| ()).expect("a handler");
        let payload = support::payload_of(size);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|events| {
                in_polls(&reader, events, |_| keep(worker.post(("bench", "event"), &payload).expect("posted")))
            });
        });
    }
    group.finish();
}

fn local(c: &mut Criterion) {
    let (_, worker) = pair();
    worker.on(Scope::source("bench"), |event: &Event<'_>| keep(event.is_local())).expect("a handler");
    c.bench_function("local/post and poll", |b| {
        b.iter(|| {
            worker.post_local(("bench", "event"), 7_u64).expect("posted");
            poll(&worker)
        });
    });
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = post_typed, dispatch_typed, handlers_of_one_event, sources, unwanted, local
}
criterion_main!(benches);
