//! Typed events of a worker.

use super::Worker;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::{Event, Typed, TypedEvent, check_format};
use crate::worker::{Outcome, Registration};

impl Worker {
    /// Registers a handler for the values of type `T`. It gets each value checked, and in place. An event of this topic
    /// that is not a valid `T` of this version is reported as [`Trouble::Mistyped`](crate::Trouble::Mistyped), and
    /// `handler` is not called.
    ///
    /// ```
    /// # use rkyv::{Archive, Serialize};
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use seqcast::{Topic, Typed, TypedEvent};
    ///
    /// #[derive(Archive, Serialize)]
    /// struct UpstreamDown {
    ///     port: u16,
    /// }
    ///
    /// impl TypedEvent for UpstreamDown {
    ///     const TOPIC: Topic<'static> = Topic::new("health", "down");
    /// }
    ///
    /// worker.on_typed(|down: Typed<'_, UpstreamDown>| assert_eq!(down.port, 8080))?;
    /// worker.post(UpstreamDown::TOPIC, &UpstreamDown { port: 8080 })?;
    /// worker.poll()?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on); [`ErrorKind::TypedFormat`] if values on the bus have another format than those of this
    /// program.
    pub fn on_typed<T, F, R>(&self, handler: F) -> Result<Registration>
    where
        T: TypedEvent,
        F: Fn(Typed<'_, T>) -> R + Send + Sync + 'static,
        R: Outcome,
    {
        check_format::<T>(self.inner.segment.typed_format())?;
        self.on(T::TOPIC, move |event: &Event<'_>| handler(Typed::of(event)?).into_result())
    }
}
