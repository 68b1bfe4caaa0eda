//! Handlers: who wants which event, and in which order they are called.

mod dispatch;
pub(crate) mod handler;
pub(crate) mod registry;
mod routes;
pub(crate) mod scope;

use std::sync::Arc;

pub(super) use self::dispatch::{Visitor, dispatch_local};
use self::handler::{Handler, Outcome};
use self::registry::Registration;
pub(super) use self::routes::Routes;
use self::scope::Scope;
use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::Event;

impl Worker {
    /// Calls `handler` with every event in `scope`. Returns a number to [`unregister`](Worker::unregister) it by.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`] if the scope names what no event can have; [`ErrorKind::Forked`].
    pub fn on<F, R>(&self, scope: impl Into<Scope>, handler: F) -> Result<Registration>
    where
        F: Fn(&Event<'_>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        self.inner.register(scope.into(), Arc::new(handler))
    }

    /// Like [`on`](Worker::on), with a handler that the caller keeps too, to
    /// [`unregister_same`](Worker::unregister_same) it.
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn register<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> Result<Registration> {
        let handler: Arc<dyn Handler> = Arc::clone(handler) as _;
        self.inner.register(scope.into(), handler)
    }

    /// Like [`register`](Worker::register), but the worker does not keep the handler alive: when its owners drop it, it
    /// is gone.
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
        self.inner.registry.register_weak(scope, Arc::downgrade(&handler))
    }

    /// Undoes one registration. Returns `false`, and does nothing, if it was undone before or is another worker's, and
    /// in a forked child.
    pub fn unregister(&self, registration: Registration) -> bool {
        !self.is_forked() && self.inner.registry.unregister(registration)
    }

    /// Undoes every registration of this very handler for the same scope, strong or weak. Returns `false` if there was
    /// none. Scopes are the same if they have the same events: the order of names does not matter, nor that one is
    /// named twice. In a forked child nothing is done.
    pub fn unregister_same<H: Handler + 'static>(&self, scope: impl Into<Scope>, handler: &Arc<H>) -> bool {
        let scope = scope.into();
        !self.is_forked() && self.inner.registry.unregister_same(scope, address_of(handler))
    }
}

impl Inner {
    fn register(&self, scope: Scope, handler: Arc<dyn Handler>) -> Result<Registration> {
        self.guard.check()?;
        self.registry.register(scope, handler)
    }
}

/// Where a handler is, to tell whether another is the same.
fn address_of<H: Handler + ?Sized>(handler: &Arc<H>) -> *const () {
    Arc::as_ptr(handler).cast()
}
