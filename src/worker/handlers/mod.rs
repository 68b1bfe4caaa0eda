//! Registration of handlers.

mod dispatch;
pub(crate) mod handler;
mod in_place;
pub(crate) mod registry;
mod routes;

use std::sync::Arc;

pub(super) use self::dispatch::{Dispatched, Visitor, dispatch_local, dispatch_missed};
use self::handler::{Handler, Outcome};
pub(super) use self::in_place::Visited;
use self::registry::{Registration, Registry};
pub(super) use self::routes::Route;
use self::routes::Routes;
use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::wire::Head;
use crate::event::{Event, Missed, Scope};
use crate::os::locks::IsHeld;

impl Worker {
    /// Registers `handler`. Each [`poll`](Worker::poll) calls it with every event in `scope`. The returned registration
    /// is for [`unregister`](Worker::unregister).
    ///
    /// For one event the handlers of [`Scope::All`] run first, then those of its source, then those of the event;
    /// within each, in the order of their registration. A handler can use the worker through a
    /// [`WeakWorker`](crate::WeakWorker).
    ///
    /// Change state in the handler. Send to a channel or another thread only what may lag: when [`poll`](Worker::poll)
    /// returns, the handlers have run, but data in a channel is still on its way. See [Handlers](crate#handlers).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    /// use seqcast::Scope;
    ///
    /// let cache = Arc::new(Mutex::new(HashMap::from([("user:42".to_owned(), "Ada")])));
    /// let stale = Arc::clone(&cache);
    /// worker.on(("cache", "stale"), move |event| {
    ///     stale.lock().unwrap().remove(&*String::from_utf8_lossy(event.bytes()));
    /// })?;
    /// worker.on(Scope::All, |event| println!("{event:?}"))?;
    ///
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.poll()?;
    /// assert!(cache.lock().unwrap().is_empty());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// Several threads may poll, so a closure that changes captured state without a lock is not a handler. Use
    /// [`poll_with`](Worker::poll_with) for such a closure.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`] if the scope has a name that no event can have; [`ErrorKind::Forked`], [`ErrorKind::Left`].
    pub fn on<F, R>(&self, scope: impl Into<Scope>, handler: F) -> Result<Registration>
    where
        F: Fn(&Event<'_>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.inner.register(scope.into(), Arc::new(handler))
    }

    /// Registers `handler`, which [polls](Worker::poll) call when what was [retained](crate::EventBuilder::retain) by
    /// an event in `scope` is cleared. Returns what [`unregister`](Worker::unregister) removes it by.
    ///
    /// The event [is cleared](Event::is_cleared), has the key that it was retained under, and no payload. Other
    /// handlers do not get it. A worker is told of an [`EventBuilder::clear`](crate::EventBuilder::clear) in its place
    /// in the order. That a ttl has ended is told to a worker that is brought up to date, and to no other.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # worker.poll()?;
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    ///
    /// let states = Arc::new(Mutex::new(HashMap::new()));
    /// let (changed, gone) = (Arc::clone(&states), Arc::clone(&states));
    /// worker.on(("upstream", "state"), move |event| {
    ///     changed.lock().unwrap().insert(event.retained_key().map(<[u8]>::to_vec), event.bytes().to_vec());
    /// })?;
    /// worker.on_cleared(("upstream", "state"), move |event| {
    ///     gone.lock().unwrap().remove(&event.retained_key().map(<[u8]>::to_vec));
    /// })?;
    ///
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// worker.poll()?;
    /// assert_eq!(states.lock().unwrap().len(), 1);
    /// worker.event(("upstream", "state")).retain_key("17").clear()?;
    /// worker.poll()?;
    /// assert!(states.lock().unwrap().is_empty());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn on_cleared<F, R>(&self, scope: impl Into<Scope>, handler: F) -> Result<Registration>
    where
        F: Fn(&Event<'_>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.inner.guard.check()?;
        self.inner.handlers.clears.register(scope.into(), Arc::new(handler))
    }

    /// Registers `handler`, which [polls](Worker::poll) call when this worker has missed events, at their place in the
    /// order: when it was lapped in this host's ring, and when events were lost between hosts. State that is built from
    /// events is then out of date. Returns what [`unregister`](Worker::unregister) removes it by.
    ///
    /// The same is reported as [`Trouble::Lagged`](crate::Trouble::Lagged) or
    /// [`Trouble::Missed`](crate::Trouble::Missed) before the handler is called.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().capacity(8).anonymous()?;
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    /// # use seqcast::WorkerOptions;
    ///
    /// # let worker = bus.join_with(&WorkerOptions::new().on_report(|_| ()))?;
    /// # /*
    /// let worker = bus.join()?;
    /// # */
    /// let cache = Arc::new(Mutex::new(HashMap::from([("user:42", "Ada")])));
    /// let stale = Arc::clone(&cache);
    /// worker.on_missed(move |_| stale.lock().unwrap().clear())?;
    /// let mut publisher = bus.publisher()?;
    /// for number in 0..100 {
    ///     publisher.post(("cache", "stale"), number.to_string())?;
    /// }
    /// worker.poll()?;
    /// assert!(cache.lock().unwrap().is_empty());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Left`].
    pub fn on_missed<F, R>(&self, handler: F) -> Result<Registration>
    where
        F: Fn(&Missed) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.inner.guard.check()?;
        let handler = move |event: &Event<'_>| match event.local::<Missed>() {
            Some(missed) => handler(missed).into_result(),
            None => Ok(()),
        };
        self.inner.handlers.missed.register(Scope::All, Arc::new(handler))
    }

    /// Registers a handler that the caller shares. [`unregister_same`](Worker::unregister_same) removes it.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use seqcast::{Event, Handler, HandlerError, Scope};
    ///
    /// #[derive(Default)]
    /// struct Count(AtomicU64);
    ///
    /// impl Handler for Count {
    ///     fn handle(&self, _: &Event<'_>) -> Result<(), HandlerError> {
    ///         self.0.fetch_add(1, Ordering::Relaxed);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let count = Arc::new(Count::default());
    /// worker.register(Scope::source("cache"), &count)?;
    /// worker.post(("cache", "stale"), "user:42")?;
    /// worker.poll()?;
    /// assert_eq!(count.0.load(Ordering::Relaxed), 1);
    /// assert!(worker.unregister_same(Scope::source("cache"), &count));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn register<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> Result<Registration> {
        let handler: Arc<dyn Handler> = Arc::clone(handler) as _;
        self.inner.register(scope.into(), handler)
    }

    /// Registers a handler without keeping it alive. The registration ends when the last owner drops the handler.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # use std::sync::Arc;
    /// # use seqcast::{Event, Handler, HandlerError, Scope};
    /// # struct Session;
    /// # impl Handler for Session {
    /// #     fn handle(&self, _: &Event<'_>) -> Result<(), HandlerError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let session = Arc::new(Session); // a type that implements `Handler`
    /// worker.register_weak(Scope::All, &session)?;
    /// worker.post(("s", "e"), "")?;
    /// assert_eq!(worker.poll()?.delivered(), 2, "the event that announces the worker, and this one");
    ///
    /// drop(session);
    /// worker.post(("s", "e"), "")?;
    /// assert_eq!(worker.poll()?.delivered(), 0);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn register_weak<H: Handler + 'static>(
        &self,
        scope: impl Into<Scope>,
        handler: &Arc<H>,
    ) -> Result<Registration> {
        let handler: Arc<dyn Handler> = Arc::clone(handler) as _;
        let scope = scope.into();
        self.inner.guard.check()?;
        self.inner.handlers.events.register_weak(scope, Arc::downgrade(&handler))
    }

    /// Removes the handler of one registration. Returns `false`, and does nothing, if it was removed before, if the
    /// registration is another worker's, or in a forked child.
    ///
    /// If a handler removes a later handler of the same event, the later one is not called any more.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use seqcast::Scope;
    ///
    /// let other = bus.join()?;
    /// let registration = worker.on(Scope::All, |_| ())?;
    /// assert!(!other.unregister(registration));
    /// assert!(worker.unregister(registration));
    /// assert!(!worker.unregister(registration));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn unregister(&self, registration: Registration) -> bool {
        !self.is_forked() && self.inner.handlers.unregister(registration)
    }

    /// Removes every registration of the handler at this address for the same scope, strong or weak. Returns `false` if
    /// there is none, and in a forked child. The order of the names in a scope does not matter, and neither do
    /// duplicates.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # use std::sync::Arc;
    /// # use seqcast::{Event, Handler, HandlerError, Scope};
    /// # struct Session;
    /// # impl Handler for Session {
    /// #     fn handle(&self, _: &Event<'_>) -> Result<(), HandlerError> {
    /// #         Ok(())
    /// #     }
    /// # }
    /// let session = Arc::new(Session); // a type that implements `Handler`
    /// worker.register(Scope::events("cache", ["stale", "full"]), &session)?;
    /// assert!(!worker.unregister_same(Scope::source("cache"), &session));
    /// assert!(worker.unregister_same(Scope::events("cache", ["full", "stale"]), &session));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn unregister_same<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> bool {
        let scope = scope.into();
        !self.is_forked() && self.inner.handlers.events.unregister_same(scope, address_of(handler))
    }
}

impl Inner {
    fn register(&self, scope: Scope, handler: Arc<dyn Handler>) -> Result<Registration> {
        self.guard.check()?;
        self.handlers.events.register(scope, handler)
    }
}

/// The handlers of a worker.
pub(crate) struct Handlers {
    pub(crate) events: Registry,
    /// Of clears of retained events.
    clears: Registry,
    /// Of missed events.
    pub(crate) missed: Registry,
}

impl Handlers {
    pub(super) fn new() -> Handlers {
        Handlers { events: Registry::new(), clears: Registry::new(), missed: Registry::new() }
    }

    fn all(&self) -> [&Registry; 3] {
        [&self.events, &self.clears, &self.missed]
    }

    fn unregister(&self, registration: Registration) -> bool {
        self.all().into_iter().any(|registry| registry.unregister(registration))
    }

    /// Takes all handlers out and lets none in any more. They are to be dropped where users' code may run.
    #[must_use = "a handler may do anything when it is dropped"]
    pub(super) fn close(&self) -> impl Sized + use<> {
        self.all().map(Registry::close)
    }
}

impl IsHeld for Handlers {
    fn is_held(&self) -> bool {
        self.all().into_iter().any(Registry::is_held)
    }
}

/// The routes of a worker's events and clears. Belongs to the thread that polls.
pub(crate) struct AllRoutes {
    events: Routes,
    clears: Routes,
}

impl AllRoutes {
    pub(super) fn new() -> AllRoutes {
        AllRoutes { events: Routes::new(), clears: Routes::new() }
    }

    /// The route of the event whose head is `head`, read from `bytes`. `None` if its names are not UTF-8.
    #[inline]
    pub(super) fn find(&mut self, handlers: &Handlers, head: &Head, bytes: &[u8]) -> Option<&Arc<Route>> {
        if head.clears() {
            return self.clears.find(&handlers.clears, head, bytes);
        }
        self.events.find(&handlers.events, head, bytes)
    }

    /// Returns the route that was found last, for an event with this head.
    #[inline]
    pub(super) fn latest(&self, head: &Head) -> Option<&Arc<Route>> {
        if head.clears() { self.clears.latest() } else { self.events.latest() }
    }

    /// Returns `true` if there is something for [`drop_stale`](AllRoutes::drop_stale).
    #[inline]
    pub(super) fn has_stale(&self) -> bool {
        self.events.has_stale() || self.clears.has_stale()
    }

    /// Drops what is out of date, and with it perhaps handlers. Call it only when users' code may run.
    #[cold]
    pub(super) fn drop_stale(&mut self) {
        self.events.drop_stale();
        self.clears.drop_stale();
    }
}

/// Returns the address of a handler, for comparisons.
fn address_of<H: Handler + ?Sized>(handler: &Arc<H>) -> *const () {
    Arc::as_ptr(handler).cast()
}
