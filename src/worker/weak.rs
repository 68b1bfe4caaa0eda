//! A handle that does not keep its worker alive.

use std::fmt;
use std::sync::{Arc, Weak};

use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;

impl Worker {
    /// A handle that does not keep this worker alive, for its own handlers.
    ///
    /// ```
    /// # let name = format!("doc-weak-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// let worker = bus.join()?;
    /// let weak = worker.downgrade();
    /// worker.on(seqcast::Scope::source("ping"), move |event: &seqcast::Event<'_>| {
    ///     match weak.upgrade() {
    ///         Some(worker) => worker.post(("pong", event.event()), event.bytes()).map(drop),
    ///         None => Ok(()),
    ///     }
    /// })?;
    /// # let weak = worker.downgrade();
    /// # drop(worker);
    /// # assert!(weak.upgrade().is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn downgrade(&self) -> WeakWorker {
        WeakWorker { inner: Arc::downgrade(&self.inner) }
    }
}

/// A handle on a [`Worker`] that does not keep it alive; made by [`Worker::downgrade`].
///
/// A handler is owned by its worker. One that owns a clone of the worker in turn keeps it, and its seat, until
/// [`Worker::leave`] is called; one that owns this keeps nothing.
#[derive(Clone)]
pub struct WeakWorker {
    inner: Weak<Inner>,
}

impl WeakWorker {
    /// The worker, unless its last clone has been dropped. A worker that has left is still given: its calls then return
    /// [`ErrorKind::Left`].
    pub fn upgrade(&self) -> Option<Worker> {
        self.inner.upgrade().map(|inner| Worker { inner })
    }
}

impl fmt::Debug for WeakWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakWorker").field("alive", &(self.inner.strong_count() > 0)).finish()
    }
}
