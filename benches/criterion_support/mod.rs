//! Shared code of the criterion benches. They all run within one process; `two_process` measures between processes.

#![allow(dead_code)] // Several programs use parts of it.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use seqcast::{Bus, Event, Polled, Scope, SegmentOptions, Worker, WorkerOptions};

/// The measured payload sizes, in bytes.
pub const SIZES: [usize; 7] = [8, 64, 256, 1024, 4096, 16_384, 65_536];

/// Short times, because there are many benches; `SEQCAST_BENCH_MS` sets another time for each.
pub fn config() -> Criterion {
    let ms = std::env::var("SEQCAST_BENCH_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let time = Duration::from_millis(ms);
    Criterion::default()
        .measurement_time(time)
        .warm_up_time(time / 4)
        .sample_size(20)
        .nresamples(5000)
        .without_plots()
        .configure_from_args()
}

/// Options of measured workers: no events of their own, and no output to standard error when they are lapped.
pub fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false).on_report(|_| {})
}

/// Returns blocks that fit `size`, as a user would choose them for such events; about 4 MiB in all.
pub fn options_for(size: usize) -> SegmentOptions {
    let block = size as u64 + 32;
    if block <= 288 {
        return SegmentOptions::new();
    }
    SegmentOptions::new().block_size(block).capacity(((4 << 20) / block).next_power_of_two().max(64))
}

/// Returns an anonymous bus for events of `size`.
pub fn bus_for(size: usize) -> Bus {
    options_for(size).anonymous().expect("a segment")
}

/// Returns a worker that handles every event and reads its payload.
pub fn reader(bus: &Bus) -> Worker {
    let worker = bus.join_with(&quiet()).expect("a seat");
    worker.on(Scope::All, |event: &Event<'_>| keep(event.bytes().last().copied())).expect("a handler");
    worker
}

/// Polls. Returns the delivered events and the missed ids.
pub fn poll(worker: &Worker) -> (u64, u64) {
    match worker.poll() {
        Ok(Polled::Done { delivered, missed, .. }) => (delivered, missed),
        other => panic!("{other:?}"),
    }
}

/// Makes the compiler believe that `value` is used.
pub fn keep<T>(value: T) {
    black_box(value);
}

/// Returns a payload with all bytes set.
pub fn payload_of(size: usize) -> Vec<u8> {
    (0..size).map(|i| i as u8).collect()
}
