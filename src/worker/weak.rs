//! A handle that does not keep its worker alive.

use std::fmt;
use std::sync::{Arc, Weak};

use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;

impl Worker {
    /// Returns a handle that does not keep this worker alive, for its own handlers: see [`WeakWorker`].
    pub fn downgrade(&self) -> WeakWorker {
        WeakWorker { inner: Arc::downgrade(&self.inner) }
    }
}

/// A handle on a [`Worker`] that does not keep it alive, made by [`Worker::downgrade`].
///
/// A worker owns its handlers. A handler that owned a clone of its worker would keep it and its seat until
/// [`Worker::leave`] is called. A handler that owns a `WeakWorker` does not.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let worker = bus.join()?;
/// let weak = worker.downgrade();
/// worker.on(("service", "ping"), move |event| match weak.upgrade() {
///     Some(worker) => worker.post(("service", "pong"), event.bytes()).map(drop),
///     None => Ok(()),
/// })?;
/// # let weak = worker.downgrade();
/// drop(worker);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone)]
pub struct WeakWorker {
    inner: Weak<Inner>,
}

impl WeakWorker {
    /// Returns the worker, or `None` if its last clone has been dropped. The calls of a worker that has left return
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
