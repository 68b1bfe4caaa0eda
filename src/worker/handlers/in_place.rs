//! Handlers that visit payloads where they lie in the segment.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::dispatch::{Dispatched, Returned, report_failure};
use super::handler::{Handler, Outcome};
use super::registry::{Callback, HandlerEntry, Registration};
use super::routes::Route;
use crate::error::Result;
use crate::event::{Event, Scope, Words};
use crate::os::fork::ForkGuard;
use crate::seat::report::{HandlerError, HandlerPanic, Report};
use crate::worker::handle::Worker;
use crate::worker::panics::catch_panic;

/// What a visit has returned.
type Found = Box<dyn Any>;

/// A handler that visits payloads in place. As a [`Handler`] it visits the private copy of a payload.
pub(super) trait InPlace: Handler {
    /// Visits a payload.
    fn visit(&self, event: &Event<'_>, words: Words<'_>) -> Found;
    /// After the verdict: takes what [`visit`](InPlace::visit) has returned.
    fn then(&self, found: Found, event: &Event<'_>) -> Returned;
}

/// The two functions of [`Worker::on_in_place`].
struct VisitThen<V, T, R, O> {
    visit: V,
    then: T,
    results: PhantomData<fn() -> (R, O)>,
}

impl<V, T, R, O> Handler for VisitThen<V, T, R, O>
where
    V: Fn(&Event<'_>, Words<'_>) -> R + Send + Sync,
    T: Fn(R, &Event<'_>) -> O + Send + Sync,
    O: Outcome,
{
    fn handle(&self, event: &Event<'_>) -> std::result::Result<(), HandlerError> {
        let words = Words::of(event.bytes());
        let event = event.without_payload();
        (self.then)((self.visit)(&event, words), &event).into_result()
    }
}

impl<V, T, R, O> InPlace for VisitThen<V, T, R, O>
where
    V: Fn(&Event<'_>, Words<'_>) -> R + Send + Sync + 'static,
    T: Fn(R, &Event<'_>) -> O + Send + Sync + 'static,
    R: 'static,
    O: Outcome + 'static,
{
    fn visit(&self, event: &Event<'_>, words: Words<'_>) -> Found {
        Box::new((self.visit)(event, words))
    }

    fn then(&self, found: Found, event: &Event<'_>) -> Returned {
        let result = found.downcast::<R>().map_err(|_| "the result is of another handler's visit")?;
        (self.then)(*result, event).into_result()
    }
}

/// The result of a visit, until the verdict.
pub(crate) struct Visited {
    entry: Arc<HandlerEntry>,
    /// `None` while it is being dropped.
    outcome: Option<std::result::Result<Found, HandlerPanic>>,
}

impl Visited {
    /// Visits a payload in place, if the event has no other handler. The caller then checks for a fork.
    pub(crate) fn of(route: &Route, event: &Event<'_>, words: Words<'_>) -> Option<Visited> {
        let entry = route.in_place()?;
        let Callback::InPlace(handler) = &entry.callback else { return None };
        let outcome = catch_panic(|| handler.visit(event, words));
        Some(Visited { entry: Arc::clone(entry), outcome: Some(outcome) })
    }

    /// After the verdict: calls the second function with `event`, as [`Route::dispatch`] calls handlers.
    ///
    /// # Errors
    ///
    /// As [`Route::dispatch`].
    pub(crate) fn dispatch(
        mut self,
        event: &Event<'_>,
        guard: &ForkGuard,
        report: &dyn Fn(&Report<'_>) -> Result<()>,
    ) -> Result<Dispatched> {
        let mut dispatched = Dispatched::default();
        // Relaxed: as in `dispatch`.
        if !self.entry.live.load(Ordering::Relaxed) {
            return Ok(dispatched);
        }
        let (Some(outcome), Callback::InPlace(handler)) = (self.outcome.take(), &self.entry.callback) else {
            return Ok(dispatched);
        };
        let result = outcome.and_then(|found| catch_panic(|| handler.then(found, event)));
        dispatched.called = 1;
        guard.check()?;
        if !matches!(result, Ok(Ok(()))) {
            dispatched.failed = 1;
            report_failure(result, event, guard, report)?;
        }
        Ok(dispatched)
    }
}

impl Drop for Visited {
    fn drop(&mut self) {
        // The drop of a result is users' code, which must not end a poll. The panic hook has printed the panic.
        if let Some(outcome) = self.outcome.take() {
            let _ = catch_panic(|| drop(outcome));
        }
    }
}

impl Worker {
    /// Registers a handler that looks at payloads in place, without a copy: `visit` looks at the payload's [`Words`],
    /// and `then` is called with what it returned.
    ///
    /// For large payloads that are only summed up, searched or copied to their destination. Both functions get the
    /// event without a payload: [`Event::bytes`] is empty.
    ///
    /// - **A later event may overwrite the payload during the visit.** Then `visit` meets arbitrary values. So it must
    ///   have no effects: it returns what it found. After the visit the payload's place is checked. If it was
    ///   overwritten, the result is dropped, `then` is not called, and the worker has lagged: it reports the event as
    ///   missed, as if it had been overwritten before. Otherwise `then` is called, and may do what a handler may do.
    /// - **Unique events** are visited before the worker claims them: if another worker runs the event, the result is
    ///   dropped. [`Event::claim`] is `None` in `visit`, and `then` gets the claim.
    /// - **A panic** in `visit` is reported as one of the handler, if the payload was not overwritten. Otherwise it is
    ///   dropped with the visit; the process's panic hook has printed it.
    /// - **Some payloads are visited in a private copy**: those of less than 8 KiB in a block of the ring, of events
    ///   in fragments, of retained events from before the worker joined, of local events, of events that were read
    ///   while the worker waited for a reserved id, and of events that also have other handlers, or a closure of
    ///   [`poll_with`](Worker::poll_with). Then both functions are called at the handler's place in the order.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().block_size(4096).anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::sync::{Arc, Mutex};
    ///
    /// let sums = Arc::new(Mutex::new(Vec::new()));
    /// let found = Arc::clone(&sums);
    /// worker.on_in_place(
    ///     ("frame", "new"),
    ///     |_, words| (words.u32_at(0), words.sum()),
    ///     move |(number, sum), event| found.lock().unwrap().push((event.id(), number, sum)),
    /// )?;
    /// let frame = vec![1; 4000];
    /// let id = worker.post(("frame", "new"), &frame)?;
    /// worker.poll()?;
    /// assert_eq!(*sums.lock().unwrap(), [(Some(id), Some(0x0101_0101), seqcast::Words::of(&frame).sum())]);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`on`](Worker::on).
    pub fn on_in_place<V, T, R, O>(&self, scope: impl Into<Scope>, visit: V, then: T) -> Result<Registration>
    where
        V: Fn(&Event<'_>, Words<'_>) -> R + Send + Sync + 'static,
        T: Fn(R, &Event<'_>) -> O + Send + Sync + 'static,
        R: 'static,
        O: Outcome + 'static,
    {
        self.inner.guard.check()?;
        let handler = VisitThen { visit, then, results: PhantomData };
        self.inner.handlers.events.register_in_place(scope.into(), Arc::new(handler))
    }
}
