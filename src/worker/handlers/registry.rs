//! The handlers of one worker, by scope.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustc_hash::FxHasher;

use super::handler::Handler;
use super::in_place::InPlace;
use crate::error::{Cause, Error, Result};
use crate::event::Scope;
use crate::os::locks::{IsHeld, lock};
use crate::worker::panics::catch_panic;

/// A map by names that this process has registered itself. Names from a segment are only looked up, so no choice of
/// such names can make the map slow.
type OwnNames<V> = HashMap<Box<str>, V, BuildHasherDefault<FxHasher>>;

/// A handler's registration with one worker, for [`Worker::unregister`](crate::Worker::unregister).
///
/// It can be copied. Dropping it does not remove the handler.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// let registration = worker.on(("job", "done"), |_| ())?;
/// worker.unregister(registration);
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The number of the worker's registry in this process.
    registry: u64,
    number: u64,
}

pub(super) enum Callback {
    Strong(Arc<dyn Handler>),
    Weak(Weak<dyn Handler>),
    /// Visits payloads in place.
    InPlace(Arc<dyn InPlace>),
    /// It is being dropped.
    Gone,
}

impl Callback {
    /// Returns `true` if this is the handler at `address`.
    fn is_at(&self, address: *const ()) -> bool {
        match self {
            Callback::Strong(handler) => Arc::as_ptr(handler).cast::<()>() == address,
            Callback::Weak(handler) => handler.as_ptr().cast::<()>() == address,
            Callback::InPlace(handler) => Arc::as_ptr(handler).cast::<()>() == address,
            Callback::Gone => false,
        }
    }
}

/// A registered handler.
pub(super) struct HandlerEntry {
    registration: Registration,
    /// As a [set](Scope::into_set).
    scope: Scope,
    pub(super) callback: Callback,
    /// `false` once it was unregistered, so that an event that is being delivered does not reach it.
    pub(super) live: AtomicBool,
}

impl HandlerEntry {
    pub(super) fn is_gone(&self) -> bool {
        !self.live.load(Ordering::Relaxed)
            || matches!(&self.callback, Callback::Weak(handler) if handler.strong_count() == 0)
    }

    pub(super) fn is_weak(&self) -> bool {
        matches!(&self.callback, Callback::Weak(_))
    }
}

impl Drop for HandlerEntry {
    fn drop(&mut self) {
        // The drop of a handler is users' code. It may happen in the middle of a poll, which a panic must not end. The
        // process's panic hook has printed the panic.
        let callback = mem::replace(&mut self.callback, Callback::Gone);
        let _ = catch_panic(|| drop(callback));
    }
}

/// The handlers of one worker.
pub(crate) struct Registry {
    /// Unique in the process, so that no worker accepts another worker's registration.
    number: u64,
    index: Mutex<ScopeIndex>,
    /// Incremented by every change, so that routes become stale.
    pub(super) generation: AtomicU64,
}

#[derive(Default)]
struct ScopeIndex {
    next: u64,
    /// `true` once the worker has left: a handler that is registered later would live for as long as the worker's
    /// memory.
    closed: bool,
    all: Vec<Arc<HandlerEntry>>,
    sources: OwnNames<OfSource>,
}

#[derive(Default)]
struct OfSource {
    all: Vec<Arc<HandlerEntry>>,
    events: OwnNames<Vec<Arc<HandlerEntry>>>,
}

impl ScopeIndex {
    /// Returns the lists of handlers for `scope`, which is a [set](Scope::into_set).
    fn lists(&mut self, scope: &Scope) -> Vec<&mut Vec<Arc<HandlerEntry>>> {
        match scope {
            Scope::All => vec![&mut self.all],
            Scope::Source(source) => vec![&mut self.sources.entry(source.as_str().into()).or_default().all],
            Scope::Events(source, events) => {
                let of_source = self.sources.entry(source.as_str().into()).or_default();
                for name in events {
                    of_source.events.entry(name.as_str().into()).or_default();
                }
                let wanted = |name: &str| events.binary_search_by(|have| have.as_str().cmp(name)).is_ok();
                of_source.events.iter_mut().filter(|(name, _)| wanted(name)).map(|(_, list)| list).collect()
            }
        }
    }

    fn every_list(&mut self) -> impl Iterator<Item = &mut Vec<Arc<HandlerEntry>>> {
        let of_sources = self.sources.values_mut();
        let lists = of_sources.flat_map(|of| std::iter::once(&mut of.all).chain(of.events.values_mut()));
        std::iter::once(&mut self.all).chain(lists)
    }

    /// Removes the entries for which `is_out` returns `true`. Drop them after the index is unlocked, because the drop
    /// of a handler is users' code.
    #[must_use]
    fn remove(&mut self, is_out: impl Fn(&HandlerEntry) -> bool) -> Vec<Arc<HandlerEntry>> {
        let mut removed = Vec::new();
        for list in self.every_list() {
            removed.extend(list.extract_if(.., |entry| is_out(entry)));
        }
        for entry in &removed {
            entry.live.store(false, Ordering::Relaxed);
        }
        self.sources.retain(|_, of| {
            of.events.retain(|_, list| !list.is_empty());
            !of.all.is_empty() || !of.events.is_empty()
        });
        removed
    }
}

impl Registry {
    pub(crate) fn new() -> Registry {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: numbers need only be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Registry { number, index: Mutex::default(), generation: AtomicU64::new(0) }
    }

    pub(crate) fn register(&self, scope: Scope, handler: Arc<dyn Handler>) -> Result<Registration> {
        self.insert(scope, Callback::Strong(handler))
    }

    pub(crate) fn register_weak(&self, scope: Scope, handler: Weak<dyn Handler>) -> Result<Registration> {
        self.insert(scope, Callback::Weak(handler))
    }

    pub(super) fn register_in_place(&self, scope: Scope, handler: Arc<dyn InPlace>) -> Result<Registration> {
        self.insert(scope, Callback::InPlace(handler))
    }

    fn insert(&self, scope: Scope, callback: Callback) -> Result<Registration> {
        scope.check()?;
        let scope = scope.into_set();
        let mut index = lock(&self.index);
        if index.closed {
            return Err(Error::from(Cause::Left));
        }
        let registration = Registration { registry: self.number, number: index.next };
        index.next += 1;
        let entry =
            Arc::new(HandlerEntry { registration, scope: scope.clone(), callback, live: AtomicBool::new(true) });
        for list in index.lists(&scope) {
            // Weak handlers that were dropped have left their entries behind.
            list.retain(|entry| !entry.is_gone());
            list.push(Arc::clone(&entry));
        }
        self.changed();
        Ok(registration)
    }

    pub(crate) fn unregister(&self, registration: Registration) -> bool {
        self.remove(|entry| entry.registration == registration)
    }

    pub(crate) fn unregister_same(&self, scope: Scope, handler: *const ()) -> bool {
        let scope = scope.into_set();
        self.remove(|entry| entry.scope == scope && entry.callback.is_at(handler))
    }

    fn remove(&self, is_out: impl Fn(&HandlerEntry) -> bool) -> bool {
        let removed = lock(&self.index).remove(is_out);
        self.changed();
        !removed.is_empty()
    }

    /// Removes all handlers, and refuses new ones. Drop the result where users' code may run.
    #[must_use = "the drop of a handler is users' code"]
    pub(crate) fn close(&self) -> impl Sized + use<> {
        let mut index = lock(&self.index);
        index.closed = true;
        let removed = index.remove(|_| true);
        drop(index);
        self.changed();
        removed
    }

    fn changed(&self) {
        // Release: with the new index, for threads that see the new generation.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Returns the handlers of one event in the order of their calls: those of [`Scope::All`], of the source, of the
    /// event; within each in the order of registration.
    pub(super) fn handlers_of(&self, source: &str, event: &str) -> Box<[Arc<HandlerEntry>]> {
        let index = lock(&self.index);
        let of_source = index.sources.get(source);
        let lists = [Some(&index.all), of_source.map(|of| &of.all), of_source.and_then(|of| of.events.get(event))];
        lists.into_iter().flatten().flatten().filter(|entry| !entry.is_gone()).cloned().collect()
    }
}

#[cfg(test)]
impl Registry {
    /// Holds the lock, as a thread that registers does.
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        lock(&self.index)
    }
}

impl IsHeld for Registry {
    fn is_held(&self) -> bool {
        self.index.is_held()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("generation", &self.generation).finish_non_exhaustive()
    }
}
