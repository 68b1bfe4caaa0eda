//! The data of a worker, and the events that keep it up to date.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seqcast::{Event, Polled, Report, Scope, Topic, Trouble, Worker};

use crate::Result;
use crate::database::Database;

/// The key of the configuration in the database.
pub const CONFIG: &str = "config";
/// Posted after an item has changed in the database. The payload is its key.
const CHANGED: Topic<'_> = Topic::new("items", "changed");

pub struct Site {
    pub worker: Worker,
    database: Database,
    cache: Mutex<Cache>,
    careless: bool,
}

#[derive(Default)]
struct Cache {
    items: HashMap<String, Option<String>>,
    /// Increases with each event: an item that was read from the database before may be outdated.
    generation: u64,
}

/// An item, and its origin.
pub struct Found {
    pub value: Option<String>,
    pub is_hit: bool,
}

impl Site {
    pub fn new(worker: Worker, database: Database, careless: bool) -> Result<Arc<Site>> {
        let site = Arc::new(Site { worker, database, cache: Mutex::default(), careless });
        let weak = Arc::downgrade(&site);
        // The handler changes the state itself. If it sent the key to a task, a request could overtake that task.
        site.worker.on(Scope::from(CHANGED), move |event: &Event<'_>| {
            if let Some(site) = weak.upgrade() {
                let mut cache = site.cache();
                cache.generation += 1;
                cache.items.remove(&*String::from_utf8_lossy(event.bytes()));
            }
        })?;
        Ok(site)
    }

    /// Returns the current value of an item.
    ///
    /// A request that begins after a change was acknowledged must see it. The change's event was posted before the
    /// acknowledgement, so it is enough to poll first. That costs nanoseconds if nothing is new.
    pub fn get(&self, key: &str) -> Result<Found> {
        let is_current = self.catch_up()?;
        let generation = {
            let cache = self.cache();
            if is_current && let Some(value) = cache.items.get(key) {
                return Ok(Found { value: value.clone(), is_hit: true });
            }
            cache.generation
        };
        let value = self.database.get(key)?;
        // An event that was posted in the meantime may be about this item: then the cache does not keep it.
        if self.catch_up()? {
            let mut cache = self.cache();
            if cache.generation == generation {
                cache.items.insert(key.to_owned(), value.clone());
            }
        }
        Ok(Found { value, is_hit: false })
    }

    /// Changes an item. When this returns, its event is posted to all workers.
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.database.put(key, value)?;
        self.worker.post(CHANGED, key)?;
        Ok(())
    }

    /// Deletes an item. When this returns, its event is posted to all workers.
    pub fn delete(&self, key: &str) -> Result<()> {
        self.database.delete(key)?;
        self.worker.post(CHANGED, key)?;
        Ok(())
    }

    /// Handles all events that were posted before this call. Returns `false` if one of them is behind an id that
    /// another process has reserved. Until that id is decided, the cache may be outdated, and requests read the
    /// database.
    fn catch_up(&self) -> Result<bool> {
        if self.careless {
            return Ok(true);
        }
        let polled = self.worker.poll_now()?;
        if polled.missed() > 0 {
            // The missed events may be about any item.
            let mut cache = self.cache();
            cache.generation += 1;
            cache.items.clear();
        }
        Ok(matches!(polled, Polled::Done { .. }))
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints the reports of a worker, and counts the events that it missed.
pub fn report(report: &Report<'_>) {
    if let Trouble::Lagged { missed, .. } = report.trouble {
        println!("missed {missed}");
    }
    eprintln!("{report}");
}
