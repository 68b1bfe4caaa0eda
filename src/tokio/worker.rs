//! A worker that is polled by a task.

use std::fmt;
use std::future::poll_fn;

use ::tokio::task::coop;

use super::ready::Registered;
use crate::error::{ErrorKind, Result};
use crate::seat::bell::options::BellOptions;
use crate::worker::{Bell, Polled, Worker};

/// The events that one poll delivers before the task yields, if other tasks are waiting.
const TURN: u64 = 64;

/// Polls a [`Worker`] as a task of a tokio runtime: its handlers run on that task.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> seqcast::Result<()> {
/// # let name = format!("doc-async-worker-{}", std::process::id());
/// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// use seqcast::tokio::AsyncWorker;
///
/// let worker = bus.join()?;
/// worker.on(("cache", "stale"), |event| println!("{:?} is stale", event.bytes()))?;
/// let polling = tokio::spawn(AsyncWorker::new(&worker)?.run());
/// worker.post(("cache", "stale"), "user:42")?;
/// // .. the service ..
/// worker.leave()?;
/// polling.await.expect("no handler panics out of a poll")?;
/// # Ok(())
/// # }
/// ```
///
/// Handlers are ordinary functions, and must not block the thread for long. A handler that needs to await changes the
/// state itself, and sends only work that may lag to a task: see [Handlers](crate#handlers).
///
/// A worker may have several of these handles. One at a time polls, so the order of events is kept.
pub struct AsyncWorker {
    ready: Registered<Bell>,
    worker: Worker,
}

impl AsyncWorker {
    /// Registers a bell of `worker` with the runtime of the current task.
    ///
    /// # Errors
    ///
    /// As [`Worker::bell`]; [`ErrorKind::Option`] outside a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime was built without I/O ([`enable_io`](::tokio::runtime::Builder::enable_io)).
    pub fn new(worker: &Worker) -> Result<AsyncWorker> {
        AsyncWorker::with_bell(worker, &BellOptions::new())
    }

    /// [`new`](AsyncWorker::new) with options of the bell.
    ///
    /// # Errors
    ///
    /// As [`new`](AsyncWorker::new) and [`Worker::bell_with`].
    ///
    /// # Panics
    ///
    /// As [`new`](AsyncWorker::new).
    pub fn with_bell(worker: &Worker, options: &BellOptions) -> Result<AsyncWorker> {
        let ready = Registered::new(worker.segment_name(), || worker.bell_with(options))?;
        Ok(AsyncWorker { ready, worker: worker.clone() })
    }

    /// Waits until there is something to poll, and polls: the handlers run on this task. Returns after at most 64
    /// events, so that a task that polls in a loop yields to other tasks.
    ///
    /// At an id that another seat has reserved, it delivers the events before the id, and then waits until the id is
    /// decided or given up.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a poll runs to its end or does not begin. [`run`](AsyncWorker::run) and [`wait`](AsyncWorker::wait)
    /// are cancel safe, too.
    ///
    /// # Errors
    ///
    /// As [`Bell::poll`], among them [`ErrorKind::Left`] when the worker has left; [`ErrorKind::System`] if the runtime
    /// is shutting down.
    pub async fn poll(&self) -> Result<Polled> {
        loop {
            coop::consume_budget().await;
            let polled = self.ready.bell().poll_at_most(TURN)?;
            if polled.delivered() > 0 || polled.missed() > 0 {
                return Ok(polled);
            }
            self.wait().await?;
        }
    }

    /// Polls until the worker leaves ([`Worker::leave`]).
    ///
    /// # Errors
    ///
    /// As [`poll`](AsyncWorker::poll), except for [`ErrorKind::Left`].
    pub async fn run(self) -> Result<()> {
        loop {
            match self.poll().await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Left => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there may be something to poll, or a [`Waker`](crate::Waker) of the worker is used. Call
    /// [`poll_at_most`](AsyncWorker::poll_at_most) before the next wait: a second wait may miss events that were posted
    /// between the two.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the runtime is shutting down.
    pub async fn wait(&self) -> Result<()> {
        poll_fn(|cx| self.ready.poll_rung(cx, self.worker.segment_name())).await
    }

    /// Polls what is there, without waiting, and ends after it has delivered `events`.
    ///
    /// # Errors
    ///
    /// As [`Bell::poll_at_most`].
    pub fn poll_at_most(&self, events: u64) -> Result<Polled> {
        self.ready.bell().poll_at_most(events)
    }
}

impl fmt::Debug for AsyncWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncWorker").field("bell", self.ready.bell()).finish_non_exhaustive()
    }
}
