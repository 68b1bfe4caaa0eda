//! One worker's memory, and the handlers that keep it in step with the other workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seqcast::{Claimed, Event, HandlerError, Scope, Typed, TypedEvent, Worker};
use tokio::sync::watch;

use crate::events::{Invalidate, Render, Rendered, cache, health, now_ns, server};
use crate::ledger::Ledger;
use crate::server::FRONT_PAGE_EVERY;
use crate::upstreams::Upstreams;

/// The largest number of pages in a worker's cache.
const MOST_PAGES: usize = 10_000;

/// The state of one worker. Handlers change it, on the thread that polls; requests read it.
#[derive(Debug)]
pub struct Site {
    pub slot: usize,
    pub worker: &'static Worker,
    pub ledger: Arc<Ledger>,
    pub upstreams: Arc<Upstreams>,
    pages: Mutex<HashMap<String, Arc<str>>>,
    /// True once the master has posted the stop event.
    stop: watch::Sender<bool>,
}

/// A page that a request asked for.
pub enum Page {
    Cached(Arc<str>),
    Fresh(Arc<str>),
    /// All upstreams are down.
    Unavailable,
}

impl Site {
    pub fn new(slot: usize, worker: &'static Worker, ledger: Arc<Ledger>, upstreams: Arc<Upstreams>) -> Arc<Site> {
        let (stop, _) = watch::channel(false);
        Arc::new(Site { slot, worker, ledger, upstreams, pages: Mutex::default(), stop })
    }

    /// Registers the handlers. For one event, the handlers of all events run first, then those of its source, then
    /// those of its name.
    pub fn subscribe(self: &Arc<Self>) -> seqcast::Result<()> {
        let worker = self.worker;
        worker.register(Scope::All, &self.ledger)?;

        // Typed events: the handler gets the archived value, validated, in the buffer into which it was read.
        let site = Arc::clone(self);
        worker.on_typed(move |stale: Typed<'_, Invalidate>| {
            site.ledger.delivered(stale.posted_ns.into(), stale.event());
            lock(&site.pages).remove(stale.key.as_str());
        })?;
        let site = Arc::clone(self);
        worker.on_typed(move |rendered: Typed<'_, Rendered>| {
            site.ledger.delivered(rendered.posted_ns.into(), rendered.event());
            keep(&mut lock(&site.pages), &rendered.key, rendered.page.as_str().into());
        })?;

        // A unique event: this runs in the one worker that reaches it first. Events that a handler posts go to all
        // workers, including this one.
        let site = Arc::clone(self);
        worker.on_typed(move |wanted: Typed<'_, Render>| site.publish(&wanted.key))?;

        // Bytes: one event of a source by its name, and a source with all its events.
        let site = Arc::clone(self);
        worker.on(cache::PURGE, move |_: &Event<'_>| lock(&site.pages).clear())?;
        worker.register(Scope::source(health::SOURCE), &self.upstreams)?;

        let site = Arc::clone(self);
        worker.on(server::STOP, move |_: &Event<'_>| site.stop.send_modify(|stop| *stop = true))?;
        Ok(())
    }

    // ---- called by handlers ----

    /// Renders a page for all workers.
    fn publish(&self, key: &str) -> Result<(), HandlerError> {
        let Some(page) = self.render(key) else { return Err(HandlerError::msg("all upstreams are down")) };
        self.worker.post(Rendered::TOPIC, &Rendered { key: key.to_owned(), page, posted_ns: now_ns() })?;
        Ok(())
    }

    // ---- called by requests ----

    /// Returns the page `key`, from this worker's cache or rendered for it.
    pub fn page(&self, key: &str) -> Page {
        // The lock is held while the page is rendered. An event that makes the page stale in between is handled after
        // the page is stored, and drops it. (If rendering is slow, keep a count of invalidations instead, and store the
        // page only if the count has not changed.)
        let mut pages = lock(&self.pages);
        if let Some(page) = pages.get(key) {
            return Page::Cached(Arc::clone(page));
        }
        let Some(page) = self.render(key) else { return Page::Unavailable };
        let page: Arc<str> = page.into();
        keep(&mut pages, key, Arc::clone(&page));
        Page::Fresh(page)
    }

    fn render(&self, key: &str) -> Option<String> {
        let upstream = self.upstreams.any()?;
        Some(format!("{key}, rendered by worker {} from {upstream} at {}\n", self.slot, now_ns()))
    }

    /// Returns facts about this worker.
    pub fn status(&self) -> String {
        let (handled, next) = (self.ledger.handled(), self.worker.cursor());
        let (pid, pages) = (std::process::id(), lock(&self.pages).len());
        format!("worker {}, pid {pid}: {handled} events handled, next id {next}, {pages} pages cached\n", self.slot)
    }

    // ---- called by time ----

    /// Renders the front page, if this worker is the first to reach it in this period. All workers call this.
    pub fn render_front_page(&self) -> crate::Result<()> {
        // The claim is not released: it ends when the next rendering is due.
        if let Claimed::Won(_) = self.worker.claim("front page", FRONT_PAGE_EVERY)? {
            self.publish("front").map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Returns when the master has posted the stop event.
    pub async fn stopped(&self) {
        // The sender cannot be gone: it is in `self`.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

fn keep(pages: &mut HashMap<String, Arc<str>>, key: &str, page: Arc<str>) {
    if pages.len() >= MOST_PAGES {
        pages.clear();
    }
    pages.insert(key.to_owned(), page);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
