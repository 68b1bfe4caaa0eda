//! The table of upstreams: which are up and which are down.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use seqcast::{Event, Handler, HandlerError};

use crate::events::health;

/// The upstreams that all workers know. All are up at first.
const NAMES: [&str; 3] = ["app-1", "app-2", "app-3"];

/// A table that the events of [`health`] keep up to date: it is a handler of them.
///
/// The master keeps one too. A worker that it forks inherits it, and reads on from the master's position.
#[derive(Debug)]
pub struct Upstreams {
    is_up: Mutex<BTreeMap<&'static str, bool>>,
}

impl Upstreams {
    pub fn new() -> Upstreams {
        Upstreams { is_up: Mutex::new(NAMES.map(|name| (name, true)).into()) }
    }

    fn is_up(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.is_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if there is such an upstream.
    pub fn has(&self, name: &str) -> bool {
        self.is_up().contains_key(name)
    }

    /// Returns one that is up.
    pub fn any(&self) -> Option<&'static str> {
        self.is_up().iter().find(|(_, up)| **up).map(|(name, _)| *name)
    }
}

impl Handler for Upstreams {
    fn handle(&self, event: &Event<'_>) -> Result<(), HandlerError> {
        let name = str::from_utf8(event.bytes())?;
        match self.is_up().get_mut(name) {
            Some(up) => *up = event.topic() == health::UP,
            // An error that a handler returns is reported with source, event and id. The other handlers still run.
            None => return Err(HandlerError::msg("no such upstream")),
        }
        Ok(())
    }
}

impl fmt::Display for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, up) in &*self.is_up() {
            writeln!(f, "{name} {}", if *up { "up" } else { "down" })?;
        }
        Ok(())
    }
}
