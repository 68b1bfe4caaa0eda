//! A worker: the handle that the application has.

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

/// One seat on the bus: posts events, and hands those of all workers to its handlers, in the order of their ids.
///
/// Clones are the same worker. It may be used from several threads; one of them at a time can poll. It leaves the bus
/// when the last clone is dropped, or by [`leave`](Worker::leave).
///
/// A handler that uses its own worker holds a [`WeakWorker`](crate::WeakWorker): one that owned a clone would keep
/// the worker alive for as long as the worker keeps the handler, until somebody calls `leave`.
///
/// ```
/// # let name = format!("doc-worker-{}", std::process::id());
/// let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
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

    /// The number of this worker's seat.
    pub fn seat(&self) -> u32 {
        u32::from(self.inner.seat)
    }

    /// How far this worker has come: all before it is handled, as far as this worker handles it at all, or was reported
    /// as missed. Keep it to go on from there with [`Start::Resume`](crate::Start::Resume).
    ///
    /// While the handlers of an event run it is still before that event: if the process dies in them and resumes, they
    /// are called again. What a handler has done for good it may keep as [`Position::after`] of
    /// [`Event::id`](crate::Event::id) instead.
    pub fn position(&self) -> Position {
        // Acquire: with what the handlers did, whatever thread they ran on.
        Position::before(self.inner.segment.id(), self.inner.hot.unhandled.load(Ordering::Acquire))
    }

    /// The next id to be delivered.
    pub fn cursor(&self) -> u64 {
        // The seat may be another's when the worker has left.
        if self.has_left() {
            self.inner.hot.unhandled.load(Ordering::Acquire)
        } else {
            self.inner.words.get(seat_word!(reading.cursor))
        }
    }

    /// The name of the segment.
    pub fn segment_name(&self) -> &str {
        self.inner.segment.name()
    }
    /// Whether the worker can be used at all.
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
