//! Handlers: who wants which event, and in which order they are called.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use rustc_hash::FxHasher;
use siphasher::sip::SipHasher13;

use super::panics::catch_panic;
use crate::error::{Cause, Error, ErrorKind, Result};
use crate::event::wire::Head;
use crate::event::{Event, LocalEvent, Topic, check_topic};
use crate::os::fork::ForkGuard;
use crate::os::locks::{Held, lock};
use crate::seat::report::{HandlerError, Report, Trouble};

/// By names that this process has registered itself. Names from a segment are only looked up in it, which no choice of
/// names makes slow.
type OwnNames<V> = HashMap<Box<str>, V, BuildHasherDefault<FxHasher>>;

/// Something that is called with events. Every `Fn(&Event)` that returns nothing or a `Result` is one.
pub trait Handler: Send + Sync {
    /// Handles an event. An error is reported; the handlers after this one run all the same.
    ///
    /// # Errors
    ///
    /// Whatever went wrong.
    fn handle(&self, event: &Event<'_>) -> std::result::Result<(), HandlerError>;
}

impl<F, R> Handler for F
where
    F: Fn(&Event<'_>) -> R + Send + Sync,
    R: Outcome,
{
    fn handle(&self, event: &Event<'_>) -> std::result::Result<(), HandlerError> {
        self(event).into_result()
    }
}

/// What a handler may return: nothing, or a `Result` whose error converts into a [`HandlerError`]. The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "a handler returns `()` or `Result<(), E>`: end its last expression with `;`"
)]
pub trait Outcome: IntoOutcome {}

impl<R: IntoOutcome> Outcome for R {}

/// How an outcome becomes a result.
pub trait IntoOutcome {
    /// Returns the outcome as a result.
    #[doc(hidden)]
    fn into_result(self) -> std::result::Result<(), HandlerError>;
}

impl IntoOutcome for () {
    fn into_result(self) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<HandlerError>> IntoOutcome for std::result::Result<(), E> {
    fn into_result(self) -> std::result::Result<(), HandlerError> {
        self.map_err(Into::into)
    }
}

/// Which events a handler gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Every event.
    All,
    /// Every event of a source.
    Source(String),
    /// Some events of a source.
    Events(String, Vec<String>),
}

impl Scope {
    /// Every event of `source`.
    pub fn source(source: impl Into<String>) -> Scope {
        Scope::Source(source.into())
    }

    /// The `events` of `source`.
    pub fn events<E: Into<String>>(source: impl Into<String>, events: impl IntoIterator<Item = E>) -> Scope {
        Scope::Events(source.into(), events.into_iter().map(Into::into).collect())
    }

    /// The same scope with its names sorted, each once: which events it has does not depend on their order.
    pub(crate) fn into_set(mut self) -> Scope {
        if let Scope::Events(_, events) = &mut self {
            events.sort_unstable();
            events.dedup();
        }
        self
    }

    fn check(&self) -> Result<()> {
        match self {
            Scope::All => Ok(()),
            Scope::Source(source) => check_topic(source, "-"),
            Scope::Events(source, events) if events.is_empty() => check_topic(source, ""),
            Scope::Events(source, events) => events.iter().try_for_each(|event| check_topic(source, event)),
        }
    }
}

impl From<Topic<'_>> for Scope {
    fn from(topic: Topic<'_>) -> Scope {
        Scope::events(topic.source(), [topic.event()])
    }
}

impl<S: AsRef<str> + ?Sized, E: AsRef<str> + ?Sized> From<(&S, &E)> for Scope {
    fn from((source, event): (&S, &E)) -> Scope {
        Scope::events(source.as_ref(), [event.as_ref()])
    }
}

/// A handler's registration with one worker, to unregister it by. It means nothing to other workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Registration {
    /// The number of the worker's registry in this process.
    registry: u64,
    number: u64,
}

enum Callback {
    Strong(Arc<dyn Handler>),
    Weak(Weak<dyn Handler>),
    /// It is being dropped.
    Gone,
}

impl Callback {
    /// Whether this is the very handler at `address`.
    fn is_at(&self, address: *const ()) -> bool {
        match self {
            Callback::Strong(handler) => Arc::as_ptr(handler).cast::<()>() == address,
            Callback::Weak(handler) => handler.as_ptr().cast::<()>() == address,
            Callback::Gone => false,
        }
    }
}

struct Entry {
    registration: Registration,
    /// As a [set](Scope::into_set).
    scope: Scope,
    callback: Callback,
    /// False once unregistered, so that an event on its way does not reach it any more.
    live: AtomicBool,
}

impl Entry {
    fn is_gone(&self) -> bool {
        !self.live.load(Ordering::Relaxed)
            || matches!(&self.callback, Callback::Weak(handler) if handler.strong_count() == 0)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What a handler owns is dropped with it, where the last reference to it is: in `unregister`, or in the middle of
        // a poll, which must not end there. The process's panic hook has printed a panic.
        let callback = mem::replace(&mut self.callback, Callback::Gone);
        let _ = catch_panic(|| drop(callback));
    }
}

/// The handlers of one worker.
pub(crate) struct Registry {
    /// Tells this registry from all others that the process has had, so that no worker takes another's registration for
    /// its own.
    number: u64,
    index: Mutex<Index>,
    /// Raised with every change, so that routes know that they are old.
    generation: AtomicU64,
}

#[derive(Default)]
struct Index {
    next: u64,
    /// Whether the worker has left for good: a handler that came now would stay as long as the worker's memory does.
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
    fn handlers_of(&self, source: &str, event: &str) -> Box<[Arc<Entry>]> {
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

/// The handlers of one event, resolved.
pub(crate) struct Route {
    /// Source and event without a gap.
    names: Box<str>,
    source_len: usize,
    handlers: Box<[Arc<Entry>]>,
}

impl Route {
    pub(crate) fn source(&self) -> &str {
        &self.names[..self.source_len]
    }

    pub(crate) fn event(&self) -> &str {
        &self.names[self.source_len..]
    }

    fn is_of(&self, names: &[u8], source_len: usize) -> bool {
        self.source_len == source_len && self.names.as_bytes() == names
    }

    /// Whether anybody handles the event.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // A weak handler may have gone since the route was found; nobody must claim an event for it.
        self.handlers.iter().any(|entry| !entry.is_gone())
    }

    /// Calls the handlers with `event`, whose names are the route's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`] in a child that one of them forked and that returned from it.
    #[inline]
    pub(crate) fn dispatch(
        &self,
        event: &Event<'_>,
        guard: &ForkGuard,
        report: &dyn Fn(&Report<'_>) -> Result<()>,
    ) -> Result<Dispatched> {
        dispatch(&self.handlers, event, guard, report)
    }
}

/// What came of handing an event over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dispatched {
    /// Handlers that were called.
    pub(crate) called: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
}

#[inline]
fn dispatch(
    handlers: &[Arc<Entry>],
    event: &Event<'_>,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<Dispatched> {
    let mut dispatched = Dispatched::default();
    for entry in handlers {
        // Relaxed: a handler that unregisters another does so on this thread; from others there is no "before".
        if !entry.live.load(Ordering::Relaxed) {
            continue;
        }
        let result = match &entry.callback {
            Callback::Strong(handler) => catch_panic(|| handler.handle(event)),
            Callback::Weak(handler) => match handler.upgrade() {
                // The closure owns it, so that it is also dropped in there if we are its last owner by now.
                Some(handler) => catch_panic(move || handler.handle(event)),
                None => continue,
            },
            Callback::Gone => continue,
        };
        dispatched.called += 1;
        // The event and the handlers after this one are the parent's.
        guard.check()?;
        if let Ok(Ok(())) = result {
            continue;
        }
        dispatched.failed += 1;
        let report = |trouble: Trouble<'_>| {
            report(&Report { source: event.source(), event: event.event(), id: event.id(), trouble })
        };
        match &result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => report(match error.error().downcast_ref::<crate::error::Error>() {
                Some(error) if error.kind() == ErrorKind::Payload => Trouble::Mistyped(error),
                _ => Trouble::Failed(error),
            })?,
            Err(panic) => report(Trouble::Panicked(panic))?,
        }
        // The error is the handler's own value.
        let dropped = catch_panic(|| drop(result));
        guard.check()?;
        if let Err(panic) = dropped {
            report(Trouble::Panicked(&panic))?;
        }
    }
    Ok(dispatched)
}

/// Routes found so far. Belongs to the thread that polls.
pub(crate) struct Routes {
    generation: u64,
    hash: NamesHash,
    by_hash: HashMap<u64, Arc<Route>, BuildHasherDefault<AsItIs>>,
    /// One of them, or of those that are out of date.
    last: Option<Arc<Route>>,
    /// Routes that are out of date. They may be the last to own a handler that was unregistered, which may do anything
    /// when it is dropped; see [`Routes::drop_stale`].
    stale: Vec<Arc<Route>>,
}

/// The most routes that are remembered. When there would be more, all are forgotten and found again. Bounds the memory
/// that ever-new event names can take.
const MOST_ROUTES: usize = 16_384;

impl Routes {
    pub(crate) fn new() -> Routes {
        Routes { generation: 0, hash: NamesHash::new(), by_hash: HashMap::default(), last: None, stale: Vec::new() }
    }

    /// The route of the event whose head is `head`, read from `bytes`. `None` if its names are not UTF-8.
    #[inline]
    pub(crate) fn find(&mut self, registry: &Registry, head: &Head, bytes: &[u8]) -> Option<&Arc<Route>> {
        // Acquire: with the index that this generation stands for.
        let generation = registry.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            self.retire();
        }
        let names = head.names(bytes);
        let source_len = head.source(bytes).len();
        if !self.last.as_ref().is_some_and(|last| last.is_of(names, source_len)) {
            self.last = Some(self.look_up(registry, names, source_len)?);
        }
        self.last.as_ref()
    }

    fn retire(&mut self) {
        self.last = None;
        self.stale.extend(self.by_hash.drain().map(|(_, route)| route));
    }

    /// Drops what is out of date, and with it perhaps handlers. For moments at which users' code may run. Returns
    /// whether there was anything.
    #[inline]
    pub(crate) fn drop_stale(&mut self) -> bool {
        !self.stale.is_empty() && {
            // One after the other: one that panics takes no other with it.
            while let Some(route) = self.stale.pop() {
                drop(route);
            }
            true
        }
    }

    fn look_up(&mut self, registry: &Registry, names: &[u8], source_len: usize) -> Option<Arc<Route>> {
        let hash = self.hash.of(names, source_len);
        if let Some(route) = self.by_hash.get(&hash)
            && route.is_of(names, source_len)
        {
            return Some(Arc::clone(route));
        }
        let names_text = str::from_utf8(names).ok()?;
        let (source, event) = names_text.split_at_checked(source_len)?;
        let handlers = registry.handlers_of(source, event);
        let route = Arc::new(Route { names: names_text.into(), source_len, handlers });
        if self.by_hash.len() >= MOST_ROUTES {
            self.retire();
        }
        // If another route has this hash, it is replaced, and found again when it is needed.
        self.stale.extend(self.by_hash.insert(hash, Arc::clone(&route)));
        Some(route)
    }
}

/// SipHash-1-3 of an event's names under a random key of this worker. Names come from a segment, and nobody can choose
/// names whose hashes collide.
struct NamesHash(SipHasher13);

impl NamesHash {
    fn new() -> NamesHash {
        // The standard library's keys are random for each process.
        let random = || RandomState::new().build_hasher().finish();
        NamesHash(SipHasher13::new_with_keys(random(), random()))
    }

    /// Equal names that differ in where the source ends never have the same hash.
    #[inline]
    fn of(&self, names: &[u8], source_len: usize) -> u64 {
        self.0.hash(names).wrapping_add(source_len as u64)
    }
}

/// A hasher for keys that are hashes.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        unreachable!("{} bytes instead of a hash", bytes.len());
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Calls the handlers of a local event.
///
/// # Errors
///
/// As [`Route::dispatch`].
pub(crate) fn dispatch_local(
    registry: &Registry,
    event: LocalEvent,
    guard: &ForkGuard,
    report: &dyn Fn(&Report<'_>) -> Result<()>,
) -> Result<Dispatched> {
    let mut dispatched =
        dispatch(&registry.handlers_of(&event.source, &event.event), &event.as_event(), guard, report)?;
    let LocalEvent { source, event, data } = event;
    // The value is the poster's own.
    let dropped = catch_panic(|| drop(data));
    guard.check()?;
    let Err(panic) = dropped else { return Ok(dispatched) };
    report(&Report { source: &source, event: &event, id: None, trouble: Trouble::Panicked(&panic) })?;
    dispatched.failed += 1;
    Ok(dispatched)
}

/// Where a handler is, to tell whether another is the same.
pub(crate) fn address_of<H: Handler + ?Sized>(handler: &Arc<H>) -> *const () {
    Arc::as_ptr(handler).cast()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::wire::Prefix;

    /// An event's head, and the bytes that it was read from.
    fn event(source: &str, event: &str) -> (Head, Vec<u8>) {
        let mut bytes = Vec::new();
        let prefix = Prefix { seat: 0, pid: 1, topic: Topic::new(source, event), type_tag: 0, unique: None };
        prefix.for_each_word(|word| bytes.extend(word.to_ne_bytes()));
        (Head::parse(&bytes).unwrap(), bytes)
    }

    #[test]
    fn g10_hashes_of_names_cannot_be_known_in_advance() {
        let (one, other) = (NamesHash::new(), NamesHash::new());
        assert_ne!(one.of(b"cachestale", 5), other.of(b"cachestale", 5));
        assert_eq!(one.of(b"cachestale", 5), one.of(b"cachestale", 5));
        assert_ne!(one.of(b"cachestale", 5), one.of(b"cachestale", 4));
    }

    #[test]
    fn names_that_differ_only_in_where_the_source_ends_have_routes_of_their_own() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        let names = "abcdefgh".repeat(32);
        let handler: Arc<dyn Handler> = Arc::new(|_: &Event<'_>| {});
        registry.register(Scope::source(&names[..7]), handler).unwrap();
        // Twice: found, and remembered.
        for source_len in (1..names.len()).chain(1..names.len()) {
            let (head, bytes) = event(&names[..source_len], &names[source_len..]);
            let route = routes.find(&registry, &head, &bytes).unwrap();
            assert_eq!((route.source(), route.event()), names.split_at(source_len));
            assert_eq!(route.is_wanted(), source_len == 7);
        }
        assert_eq!(routes.by_hash.len(), names.len() - 1);
    }

    #[test]
    fn g10_ever_new_names_take_a_bounded_amount_of_memory() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        for i in 0..MOST_ROUTES + 100 {
            // Each with a sibling that differs only in where the source ends.
            for (source, name) in [(format!("a{i}"), "bc"), (format!("a{i}b"), "c")] {
                let (head, bytes) = event(&source, name);
                assert_eq!(routes.find(&registry, &head, &bytes).unwrap().source(), source);
            }
            assert!(routes.by_hash.len() <= MOST_ROUTES);
        }
    }

    #[test]
    fn a_route_that_was_replaced_is_found_again() {
        let (registry, mut routes) = (Registry::new(), Routes::new());
        let (head, bytes) = event("cache", "stale");
        let (other, other_bytes) = event("other", "event");
        let route = Arc::clone(routes.find(&registry, &other, &other_bytes).unwrap());
        // As if both had one hash.
        routes.by_hash.insert(routes.hash.of(b"cachestale", 5), route);
        assert_eq!(routes.find(&registry, &head, &bytes).unwrap().source(), "cache");
        assert_eq!(routes.find(&registry, &head, &bytes).unwrap().event(), "stale");
    }
}
