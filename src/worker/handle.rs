//! The handle on a worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inner::Inner;
use crate::error::Result;
use crate::event::library;
use crate::identity::Position;
use crate::seat::options::WorkerOptions;
use crate::seat::report::{Report, Trouble};
use crate::segment::Segment;
use crate::segment::layout::seat_word;

/// One seat on the bus. It posts events, and delivers those of all workers to its handlers in the order of their ids.
///
/// Clones are handles on the same worker. Any thread may use it; one thread at a time can poll. It leaves the bus when
/// its last clone is dropped, or by [`leave`](Worker::leave).
///
/// A handler that uses its own worker should own a [`WeakWorker`](crate::WeakWorker). With a clone, worker and handler
/// keep each other alive until `leave` is called.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let worker = bus.join()?;
/// worker.on(seqcast::Scope::source("cache"), |event| {
///     println!("{}: {} bytes from {:?}", event.event(), event.bytes().len(), event.pid());
/// })?;
/// worker.post(("cache", "stale"), b"user:42")?;
/// worker.poll()?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a worker leaves the bus when its last clone is dropped"]
pub struct Worker {
    pub(super) inner: Arc<Inner>,
}

impl Worker {
    pub(crate) fn join(segment: &Arc<Segment>, options: WorkerOptions) -> Result<Worker> {
        let worker = Worker { inner: Arc::new(Inner::join(segment, options)?) };
        let inner = &*worker.inner;
        inner.announce(&mut *inner.writer_for_next()?, &inner.joined_with, library::STARTED)?;
        if let Some(differences) = inner.segment.differences_to_report() {
            let trouble = Trouble::OptionsDiffer(differences);
            inner.report(&Report { source: "", event: "", id: None, trouble });
        }
        Ok(worker)
    }

    /// Returns the number of this worker's seat.
    pub fn seat(&self) -> u32 {
        u32::from(self.inner.seat)
    }

    /// Returns the worker's position. Every event before it was handled, or was reported as missed. A worker that joins
    /// with [`Start::Resume`](crate::Start::Resume) continues there.
    ///
    /// While the handlers of an event run, the position is before that event. If the process dies in a handler and
    /// resumes, the handlers are called again. A handler that must not run twice stores [`Position::after`] the event's
    /// [`id`](crate::Event::id) together with its work.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use seqcast::{Start, WorkerOptions};
    ///
    /// let worker = bus.join()?;
    /// worker.poll()?;
    /// let position = worker.position(); // stored in a file, perhaps: it has a text form
    /// worker.leave()?;
    /// bus.publisher()?.post(("cache", "stale"), "user:42")?;
    ///
    /// let worker = bus.join_with(&WorkerOptions::new().start(Start::Resume(position)))?;
    /// worker.on(("cache", "stale"), |event| println!("not missed: {event:?}"))?;
    /// assert_eq!(worker.poll()?.delivered(), 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    pub fn position(&self) -> Position {
        // Acquire: with what the handlers did, on any thread.
        Position::before(self.inner.segment.id(), self.inner.hot.unhandled.load(Ordering::Acquire))
    }

    /// Returns the next id to be delivered.
    pub fn cursor(&self) -> u64 {
        // When the worker has left, the seat may belong to another.
        if self.has_left() {
            self.inner.hot.unhandled.load(Ordering::Acquire)
        } else {
            self.inner.words.get(seat_word!(reading.cursor))
        }
    }

    /// Returns the name of the segment.
    pub fn segment_name(&self) -> &str {
        self.inner.segment.name()
    }

    /// Rejects a worker that cannot be used any more.
    pub(crate) fn check(&self) -> Result<()> {
        self.inner.check()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.inner.guard.is_forked()
    }

    pub(crate) fn has_left(&self) -> bool {
        self.inner.has_left()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("segment", &self.inner.segment.name())
            .field("seat", &self.inner.seat)
            .field("pid", &self.inner.pid)
            .field("cursor", &self.cursor())
            .finish_non_exhaustive()
    }
}
