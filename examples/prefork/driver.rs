//! Drives the server with real HTTP requests, from a separate process.
//!
//! It keeps one connection to each worker, a lane, so that it can send a request to one worker and then check the
//! others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Result;
use crate::lane::{Answer, Lane, connect, request};
use crate::report::{Driven, Report, Sender};

/// The parameters of the driver.
pub struct Birth {
    pub address: SocketAddr,
    pub workers: usize,
    pub seconds: u64,
    /// Requests per second.
    pub rate: u64,
}

/// Time between two checks that an invalidated page and a marked upstream appear in all workers.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Time between two unique events; each is requested from all workers at once.
const REFRESH_EVERY: Duration = Duration::from_millis(20);
/// The number of refreshes between two purges of all caches.
const PURGE_EVERY: u64 = 25;
/// The number of pages in the load.
const ITEMS: u64 = 200;
/// The fewest requests, for a host that has no time for more.
const LEAST_REQUESTS: u64 = 200;

/// Runs the driver, in its forked process.
pub fn run(birth: Birth, reports: Sender) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(drive(birth, reports))
}

async fn drive(birth: Birth, reports: Sender) -> Result<()> {
    let driver = Arc::new(Driver {
        lanes: (0..birth.workers).map(|slot| Lane::new(birth.address, slot)).collect(),
        until: Instant::now() + Duration::from_secs(birth.seconds),
        reports: SyncMutex::new(reports),
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
        Instant::now() >= self.until && self.counts.requests.load(Ordering::Relaxed) >= LEAST_REQUESTS
    }

    fn report(&self, report: &Report) -> Result<()> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).send(report)
    }

    /// Sends a request to a worker and reports the result to the master. Returns `None` if the worker died before it
    /// answered.
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

    /// Counts a check of an answer. Prints the first that fails.
    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        add_one(&self.counts.checks);
        if !holds && self.counts.stale.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!("driver: stale: {}", what());
        }
    }

    // ---- load ----

    /// Sends requests of all kinds to one worker, at the given rate.
    async fn load(&self, slot: usize, rate: f64) -> Result<()> {
        let mut random = fastrand::Rng::with_seed(slot as u64);
        let (start, mut sent) = (Instant::now(), 0.0);
        while !self.is_over() {
            while sent < start.elapsed().as_secs_f64() * rate && !self.is_over() {
                let item = random.u64(..ITEMS);
                match random.u32(..100) {
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

    // ---- a change in one worker appears in all ----

    async fn check_all(&self) -> Result<()> {
        for round in 0.. {
            if round > 0 && self.is_over() {
                break;
            }
            let slot = round % self.lanes.len();
            self.check_invalidation(slot, &format!("probe-{round}")).await?;
            self.check_upstream(slot, if round % 2 == 0 { "down" } else { "up" }).await?;
            sleep(CHECK_EVERY).await;
        }
        Ok(())
    }

    /// Makes all workers cache a page, tells one that it is stale, and asks all.
    async fn check_invalidation(&self, slot: usize, key: &str) -> Result<()> {
        let path = format!("/items/{key}");
        let mut cached = Vec::new();
        for other in 0..self.lanes.len() {
            self.send(other, Method::GET, &path).await?;
            let again = self.send(other, Method::GET, &path).await?;
            cached.push(again.filter(|answer| answer.hit).map(|answer| answer.pid));
        }
        let Some(Answer { event_id, .. }) = self.send(slot, Method::DELETE, &path).await? else { return Ok(()) };
        for (other, cached) in cached.iter().enumerate() {
            // A worker that did not have the page proves nothing.
            if let Some(answer) = self.send(other, Method::GET, &path).await?
                && *cached == Some(answer.pid)
            {
                self.check(!answer.hit, || {
                    format!("worker {other} has {key} after event {event_id:?} by worker {slot}")
                });
            }
        }
        Ok(())
    }

    /// Tells one worker that an upstream is up or down, and asks all.
    async fn check_upstream(&self, slot: usize, state: &str) -> Result<()> {
        let told = self.send(slot, Method::PUT, &format!("/upstreams/app-3/{state}")).await?;
        let Some(Answer { event_id, .. }) = told else { return Ok(()) };
        let line = format!("app-3 {state}");
        for other in 0..self.lanes.len() {
            if let Some(answer) = self.send(other, Method::GET, "/upstreams").await? {
                self.check(answer.body.lines().any(|have| have == line), || {
                    format!("worker {other} has not {line:?} after event {event_id:?} by worker {slot}")
                });
            }
        }
        Ok(())
    }

    // ---- one worker does the work ----

    async fn refresh_all(self: &Arc<Self>) -> Result<()> {
        for round in 0.. {
            if round > 0 && self.is_over() {
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

    /// Asks all workers at once to render one page again. One of them does it, and then all have the same page.
    async fn refresh(self: &Arc<Self>, key: &str) -> Result<()> {
        let path = format!("/items/{key}");
        let there_before = self.send_to_all(Method::GET, "/").await?;
        let asked = self.send_to_all(Method::POST, &format!("{path}/refresh")).await?;
        // Every worker handles the posted events before it answers. So after one round of requests, the worker that
        // took the event has rendered the page and posted it, and after another round all have it.
        let decided = self.send_to_all(Method::GET, "/").await?;
        let pages = self.send_to_all(Method::GET, &path).await?;
        for _ in asked.iter().filter(|answer| answer.is_none()) {
            self.report(&Report::Unanswered { unique: key.to_owned() })?;
        }
        // Only if the workers have not changed meanwhile: a killed worker may be the one that took the event, and its
        // replacement may have joined too late for the page.
        let pids = |answers: &[Option<Answer>]| -> Option<Vec<u32>> {
            answers.iter().map(|answer| answer.as_ref().map(|answer| answer.pid)).collect()
        };
        let [before, during @ ..] = [&there_before, &asked, &decided, &pages].map(|answers| pids(answers));
        if before.is_some() && during.iter().all(|pids| *pids == before) {
            let pages: Vec<&Answer> = pages.iter().flatten().collect();
            let all_have_it = pages.iter().all(|page| page.hit && page.body == pages[0].body);
            self.check(all_have_it, || format!("not all workers have the same page {key}"));
        }
        Ok(())
    }

    /// Sends the same request to all workers at the same time.
    async fn send_to_all(self: &Arc<Self>, method: Method, path: &str) -> Result<Vec<Option<Answer>>> {
        let sending: Vec<_> = (0..self.lanes.len())
            .map(|slot| {
                let (driver, method, path) = (Arc::clone(self), method.clone(), path.to_owned());
                tokio::spawn(async move { driver.send(slot, method, &path).await })
            })
            .collect();
        let mut answers = Vec::new();
        for answer in sending {
            answers.push(answer.await??);
        }
        Ok(answers)
    }

    // ---- the live feed ----

    /// Counts the lines of a live feed from any worker.
    async fn read_feed(&self, address: SocketAddr) {
        while let Ok(mut sender) = connect(address).await
            && let Ok(request) = request(Method::GET, "/events")
            && let Ok(answer) = sender.send_request(request).await
        {
            let mut body = answer.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                let lines = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
                self.counts.feed_lines.fetch_add(lines as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the key of the unique event that a request to `path` posts, if it posts one.
fn unique_key(path: &str) -> Option<String> {
    Some(path.strip_prefix("/items/")?.strip_suffix("/refresh")?.to_owned())
}
