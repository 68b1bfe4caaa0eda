//! Drives the server with real HTTP requests, from a process of its own.
//!
//! It keeps one connection to each worker, a lane, so that it can tell one worker something and ask the others about it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Result;
use crate::report::{Driven, Report, Sender};
use crate::routes::{CACHE, EVENT_ID, PID, WORKER};

/// What the driver is told at birth.
pub struct Birth {
    pub address: SocketAddr,
    pub workers: usize,
    pub seconds: u64,
    /// Requests per second.
    pub rate: u64,
    pub reports: Sender,
}

/// Time between two checks that an invalidated page and a marked upstream show in all workers.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Time between two unique events; each is asked for at all workers at once.
const REFRESH_EVERY: Duration = Duration::from_millis(20);
/// Refreshes after which all caches are purged.
const PURGE_EVERY: u64 = 25;
/// How long it may take to get a connection to a certain worker.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Pages that the load is about.
const ITEMS: u64 = 200;

/// Runs the driver, in the process that was forked for it.
pub fn run(birth: Birth) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(birth))
}

async fn drive(birth: Birth) -> Result<()> {
    let driver = Arc::new(Driver {
        lanes: (0..birth.workers).map(|slot| Lane::new(birth.address, slot)).collect(),
        until: Instant::now() + Duration::from_secs(birth.seconds),
        reports: SyncMutex::new(birth.reports),
        counts: Counts::default(),
    });
    let mut tasks = JoinSet::new();
    for slot in 0..birth.workers {
        let (driver, rate) = (Arc::clone(&driver), birth.rate as f64 / birth.workers as f64);
        tasks.spawn(async move { driver.load(slot, rate).await });
    }
    let (checks, refreshes) = (Arc::clone(&driver), Arc::clone(&driver));
    tasks.spawn(async move { checks.check_all().await });
    tasks.spawn(async move { refreshes.refresh_all().await });
    let feed = Arc::clone(&driver);
    let feed = tokio::spawn(async move { feed.read_feed(birth.address).await });
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    feed.abort();
    driver.report(&Report::Driven(driver.counts.total()))
}

struct Driver {
    lanes: Vec<Lane>,
    until: Instant,
    reports: SyncMutex<Sender>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    unanswered: AtomicU64,
    checks: AtomicU64,
    stale: AtomicU64,
    feed_lines: AtomicU64,
}

impl Counts {
    fn total(&self) -> Driven {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Driven {
            requests: count(&self.requests),
            unanswered: count(&self.unanswered),
            checks: count(&self.checks),
            stale: count(&self.stale),
            feed_lines: count(&self.feed_lines),
        }
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Driver {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn report(&self, report: &Report) -> Result<()> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).send(report)
    }

    /// Sends a request to a worker and tells the master what it was told. `None` if the worker died over it.
    async fn send(&self, slot: usize, method: Method, path: &str) -> Result<Option<Answer>> {
        let Some(answer) = self.lanes[slot].send(method, path).await? else {
            add_one(&self.counts.unanswered);
            return Ok(None);
        };
        add_one(&self.counts.requests);
        if let Some(id) = answer.event_id {
            self.report(&Report::Answered { id, unique: unique_key(path) })?;
        }
        Ok(Some(answer))
    }

    /// Counts a check of an answer. The first that fails is printed.
    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        add_one(&self.counts.checks);
        if !holds && self.counts.stale.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!("driver: stale: {}", what());
        }
    }

    // ---- load ----

    /// Sends requests of all kinds to one worker, so many per second.
    async fn load(&self, slot: usize, rate: f64) -> Result<()> {
        let mut random = Random(slot as u64 + 1);
        let (start, mut sent) = (Instant::now(), 0.0);
        while !self.is_over() {
            while sent < start.elapsed().as_secs_f64() * rate && !self.is_over() {
                let item = random.below(ITEMS);
                match random.below(100) {
                    0..60 => self.send(slot, Method::DELETE, &format!("/items/item-{item}")).await?,
                    60..80 => self.send(slot, Method::GET, &format!("/items/item-{item}")).await?,
                    80..90 => self.send(slot, Method::PUT, "/upstreams/app-1/down").await?,
                    _ => self.send(slot, Method::PUT, "/upstreams/app-1/up").await?,
                };
                sent += 1.0;
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    // ---- what one worker is told shows in all ----

    async fn check_all(&self) -> Result<()> {
        for round in 0.. {
            if self.is_over() {
                break;
            }
            let slot = round % self.lanes.len();
            self.check_invalidation(slot, &format!("probe-{round}")).await?;
            self.check_upstream(slot, if round % 2 == 0 { "down" } else { "up" }).await?;
            sleep(CHECK_EVERY).await;
        }
        Ok(())
    }

    /// Has all workers cache a page, tells one that it is stale, and asks all.
    async fn check_invalidation(&self, slot: usize, key: &str) -> Result<()> {
        let path = format!("/items/{key}");
        let mut cached = Vec::new();
        for other in 0..self.lanes.len() {
            self.send(other, Method::GET, &path).await?;
            let again = self.send(other, Method::GET, &path).await?;
            cached.push(again.filter(|answer| answer.is_hit()).map(|answer| answer.pid));
        }
        let Some(told) = self.send(slot, Method::DELETE, &path).await? else { return Ok(()) };
        for (other, cached) in cached.iter().enumerate() {
            // Without an answer, or from a worker that is new, there is nothing to be compared.
            if let Some(answer) = self.send(other, Method::GET, &path).await?
                && *cached == Some(answer.pid)
            {
                self.check(!answer.is_hit(), || {
                    format!("worker {other} has {key} cached after event {:?} from worker {slot}", told.event_id)
                });
            }
        }
        Ok(())
    }

    /// Tells one worker that an upstream is up or down, and asks all.
    async fn check_upstream(&self, slot: usize, state: &str) -> Result<()> {
        let told = self.send(slot, Method::PUT, &format!("/upstreams/app-3/{state}")).await?;
        let Some(Answer { event_id, .. }) = told else { return Ok(()) };
        for other in 0..self.lanes.len() {
            let pid_before = self.lanes[other].joined_before(event_id);
            if let Some(answer) = self.send(other, Method::GET, "/upstreams").await?
                && pid_before.await == Some(answer.pid)
            {
                let line = format!("app-3 {state}");
                self.check(answer.body.lines().any(|have| have == line), || {
                    format!("worker {other} does not have {line:?} after event {event_id:?} from worker {slot}")
                });
            }
        }
        Ok(())
    }

    // ---- one worker does it ----

    async fn refresh_all(self: &Arc<Self>) -> Result<()> {
        for round in 0.. {
            if self.is_over() {
                break;
            }
            self.refresh(&format!("report-{round}")).await?;
            if round % PURGE_EVERY == PURGE_EVERY - 1 {
                self.send(round as usize % self.lanes.len(), Method::DELETE, "/items").await?;
            }
            sleep(REFRESH_EVERY).await;
        }
        Ok(())
    }

    /// Asks all workers at once to have one page rendered; one of them does it. Once one has the page, all have it.
    async fn refresh(self: &Arc<Self>, key: &str) -> Result<()> {
        let mut asking = JoinSet::new();
        for slot in 0..self.lanes.len() {
            let (driver, path) = (Arc::clone(self), format!("/items/{key}/refresh"));
            asking.spawn(async move {
                let answer = driver.send(slot, Method::POST, &path).await?;
                if answer.is_none() {
                    driver.report(&Report::Unanswered)?;
                }
                Result::Ok(answer.map(|answer| (slot, answer.pid)))
            });
        }
        while let Some(asked) = asking.join_next().await {
            asked??;
        }
        Ok(())
    }

    // ---- the live feed ----

    /// Counts the lines of a live feed, of whichever worker it comes from.
    async fn read_feed(&self, address: SocketAddr) {
        while let Ok(mut sender) = connect(address).await
            && let Ok(answer) = sender.send_request(request(Method::GET, "/events")).await
        {
            let mut body = answer.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
                self.counts.feed_lines.fetch_add(lines as u64, Ordering::Relaxed);
            }
        }
    }
}
