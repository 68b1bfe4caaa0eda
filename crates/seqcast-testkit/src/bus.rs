//! Small segments, quiet workers, and handlers that record events.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use seqcast::{Bus, Event, Polled, Report, Scope, SegmentOptions, Stats, Worker, WorkerOptions, WorkerStats};

use crate::name::Name;
use crate::process::eventually;

/// An hour, for waits that must not end by their timeout.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Options of a small segment that is created quickly.
pub fn small() -> SegmentOptions {
    SegmentOptions::new().capacity(64).claims(64).seats(16)
}

/// Creates a bus on a new segment with `options`.
pub fn bus(options: &SegmentOptions) -> (Name, Bus) {
    let name = Name::new();
    let bus = options.create(&name).unwrap();
    (name, bus)
}

/// Options of a worker that posts no events itself, so that all ids belong to the test's posts.
pub fn quiet() -> WorkerOptions {
    WorkerOptions::new().announce(false)
}

/// An event as a handler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub id: Option<u64>,
    pub pid: Option<u32>,
    pub source: String,
    pub event: String,
    pub bytes: Vec<u8>,
}

/// The events that handlers have seen, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Noted>>>);

impl Log {
    /// Returns a log of all events in `scope` that `worker` delivers.
    pub fn of(worker: &Worker, scope: impl Into<Scope>) -> Log {
        let log = Log::default();
        worker.on(scope, log.noting()).unwrap();
        log
    }

    /// Returns a handler that records events here.
    pub fn noting(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let log = self.clone();
        move |event| log.note(event)
    }

    /// Locks without waiting in the standard library, whose slow paths ThreadSanitizer does not see: it would take the
    /// next access for a race.
    fn lock(&self) -> MutexGuard<'_, Vec<Noted>> {
        loop {
            match self.0.try_lock() {
                Err(TryLockError::WouldBlock) => thread::yield_now(),
                locked => return locked.unwrap(),
            }
        }
    }

    pub fn note(&self, event: &Event<'_>) {
        self.lock().push(Noted {
            id: event.id(),
            pid: event.pid(),
            source: event.source().to_owned(),
            event: event.event().to_owned(),
            bytes: event.bytes().to_owned(),
        });
    }

    pub fn seen(&self) -> Vec<Noted> {
        self.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn ids(&self) -> Vec<u64> {
        self.lock().iter().filter_map(|seen| seen.id).collect()
    }

    pub fn events(&self) -> Vec<String> {
        self.lock().iter().map(|seen| seen.event.clone()).collect()
    }

    /// Returns the payloads as text.
    pub fn texts(&self) -> Vec<String> {
        self.lock().iter().map(|seen| String::from_utf8(seen.bytes.clone()).unwrap()).collect()
    }

    /// Takes out the recorded events.
    pub fn drain(&self) -> Vec<Noted> {
        std::mem::take(&mut *self.lock())
    }
}

/// Joins a worker that records all events that it delivers.
pub fn listener(bus: &Bus, options: &WorkerOptions) -> (Worker, Log) {
    let worker = bus.join_with(options).unwrap();
    let log = Log::of(&worker, Scope::All);
    (worker, log)
}

/// Posts `count` events for `worker`, which a poller polls and which records events in `log`. Posts each event after
/// the previous one was delivered.
pub fn deliver_one_by_one(worker: &Worker, log: &Log, count: usize) {
    for delivered in log.len() + 1..=log.len() + count {
        worker.post(("s", "e"), b"").unwrap();
        eventually("it is delivered", || log.len() == delivered);
    }
}

/// The reports of a worker, as text and as `Debug`.
#[derive(Clone, Default)]
pub struct Reports(Arc<Mutex<Vec<(String, String)>>>);

impl Reports {
    /// Returns `options` with reports recorded here.
    pub fn of(&self, options: WorkerOptions) -> WorkerOptions {
        let reports = self.clone();
        options.on_report(move |report: &Report<'_>| {
            reports.0.lock().unwrap().push((report.to_string(), format!("{report:?}")));
        })
    }

    pub fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(text, _)| text.clone()).collect()
    }

    pub fn debugs(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|(_, debug)| debug.clone()).collect()
    }
}

/// Polls once, to the end or to a reserved id. Returns the numbers of delivered and missed events.
pub fn poll(worker: &Worker) -> (u64, u64) {
    match worker.poll().unwrap() {
        polled @ (Polled::Done { .. } | Polled::Reserved { .. }) => (polled.delivered(), polled.missed()),
        other => panic!("{other:?}"),
    }
}

/// Returns the current counters of `worker`.
pub fn counts(bus: &Bus, worker: &Worker) -> WorkerStats {
    of_seat(&bus.stats().unwrap(), worker.seat())
}

/// Returns the counters of the worker of `seat`.
pub fn of_seat(stats: &Stats, seat: u32) -> WorkerStats {
    stats.workers.iter().find(|worker| worker.seat == seat).cloned().unwrap()
}

/// Returns the error of a result that must be one.
pub fn error<T: Debug>(result: seqcast::Result<T>) -> seqcast::Error {
    result.expect_err("an error")
}
