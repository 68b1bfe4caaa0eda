//! The handlers of one worker, by what they want.

use std::collections::HashMap;
use std::fmt;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustc_hash::FxHasher;

use super::handler::Handler;
use super::scope::Scope;
use crate::error::{Cause, Error, Result};
use crate::os::locks::{Held, lock};
use crate::worker::panics::catch_panic;

/// By names that this process has registered itself. Names from a segment are only looked up in it, which no choice of
/// names makes slow.
type OwnNames<V> = HashMap<Box<str>, V, BuildHasherDefault<FxHasher>>;

/// A handler's registration with one worker, for [`Worker::unregister`](crate::Worker::unregister). Other workers do
/// not know it.
///
/// It can be copied and kept anywhere; the handler stays registered without it.
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
    /// It is being dropped.
    Gone,
}

impl Callback {
    /// Returns `true` if this is the very handler at `address`.
    fn is_at(&self, address: *const ()) -> bool {
        match self {
            Callback::Strong(handler) => Arc::as_ptr(handler).cast::<()>() == address,
            Callback::Weak(handler) => handler.as_ptr().cast::<()>() == address,
            Callback::Gone => false,
        }
    }
}

pub(super) struct Entry {
    registration: Registration,
    /// As a [set](Scope::into_set).
    scope: Scope,
    pub(super) callback: Callback,
    /// False once unregistered, so that an event on its way does not reach it any more.
    pub(super) live: AtomicBool,
}

impl Entry {
    pub(super) fn is_gone(&self) -> bool {
        !self.live.load(Ordering::Relaxed)
            || matches!(&self.callback, Callback::Weak(handler) if handler.strong_count() == 0)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What a handler owns is dropped with it, where the last reference to it is: in `unregister`, or in the middle
        // of a poll, which must not end there. The process's panic hook has printed a panic.
        let callback = mem::replace(&mut self.callback, Callback::Gone);
        let _ = catch_panic(|| drop(callback));
    }
}

/// The handlers of one worker.
pub(crate) struct Registry {
    /// Tells this registry from all others that the process has had, so that no worker takes another's registration
    /// for its own.
    number: u64,
    index: Mutex<Index>,
    /// Raised with every change, so that routes know that they are old.
    pub(super) generation: AtomicU64,
}

#[derive(Default)]
struct Index {
    next: u64,
    /// `true` once the worker has left: a handler that came then would stay as long as the worker's memory does.
    closed: bool,
    all: Vec<Arc<Entry>>,
    sources: OwnNames<OfSource>,
}

#[derive(Default)]
struct OfSource {
    all: Vec<Arc<Entry>>,
    events: OwnNames<Vec<Arc<Entry>>>,
}

impl Index {
    /// The lists that an entry of `scope`, a set, stands in.
    fn lists(&mut self, scope: &Scope) -> Vec<&mut Vec<Arc<Entry>>> {
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

    fn every_list(&mut self) -> impl Iterator<Item = &mut Vec<Arc<Entry>>> {
        let of_sources = self.sources.values_mut();
        let lists = of_sources.flat_map(|of| std::iter::once(&mut of.all).chain(of.events.values_mut()));
        std::iter::once(&mut self.all).chain(lists)
    }

    /// Takes out the entries that `is_out` picks. They are to be dropped when the index is unlocked again: what a
    /// handler owns may do anything when it is dropped.
    #[must_use]
    fn remove(&mut self, is_out: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
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
        // Relaxed: only that no number comes twice matters.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Registry { number, index: Mutex::default(), generation: AtomicU64::new(0) }
    }

    pub(crate) fn register(&self, scope: Scope, handler: Arc<dyn Handler>) -> Result<Registration> {
        self.insert(scope, Callback::Strong(handler))
    }

    pub(crate) fn register_weak(&self, scope: Scope, handler: Weak<dyn Handler>) -> Result<Registration> {
        self.insert(scope, Callback::Weak(handler))
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
        let entry = Arc::new(Entry { registration, scope: scope.clone(), callback, live: AtomicBool::new(true) });
        for list in index.lists(&scope) {
            // Owners that were dropped leave their entries behind; this is where they are cleared away.
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

    fn remove(&self, is_out: impl Fn(&Entry) -> bool) -> bool {
        let removed = lock(&self.index).remove(is_out);
        self.changed();
        !removed.is_empty()
    }

    /// Takes all handlers out and lets none in any more. They are to be dropped where users' code may run.
    #[must_use = "a handler may do anything when it is dropped"]
    pub(crate) fn close(&self) -> impl Sized + use<> {
        let mut index = lock(&self.index);
        index.closed = true;
        let removed = index.remove(|_| true);
        drop(index);
        self.changed();
        removed
    }

    fn changed(&self) {
        // Release: with the new index, for routes that see the new generation.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The handlers of one event, in the order of calling: of everything, of the source, of the event; within each in
    /// order of registration.
    pub(super) fn handlers_of(&self, source: &str, event: &str) -> Box<[Arc<Entry>]> {
        let index = lock(&self.index);
        let of_source = index.sources.get(source);
        let lists = [Some(&index.all), of_source.map(|of| &of.all), of_source.and_then(|of| of.events.get(event))];
        lists.into_iter().flatten().flatten().filter(|entry| !entry.is_gone()).cloned().collect()
    }
}

#[cfg(test)]
impl Registry {
    /// Holds the lock as a thread does that registers.
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        lock(&self.index)
    }
}

impl Held for Registry {
    fn is_held(&self) -> bool {
        self.index.is_held()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("generation", &self.generation).finish_non_exhaustive()
    }
}
