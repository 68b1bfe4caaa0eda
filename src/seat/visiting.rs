//! A subscriber that looks at payloads in place.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

use crate::error::Result;
use crate::event::{Event, Words};
use crate::seat::delivery::Delivery;
use crate::seat::read::Step;
use crate::seat::subscriber::{Advance, Found, Subscriber, TakeStep};

impl Subscriber {
    /// [`try_next`](Subscriber::try_next) that does not copy the payload of the event: `visit` looks at it in place.
    /// Returns the delivery, and what `visit` returned if it is an event.
    ///
    /// For large payloads that are only summed up, searched or copied to their destination. `visit` gets the event
    /// without a payload ([`Event::bytes`] is empty), and the payload as [`Words`].
    ///
    /// - **A later event may overwrite the payload during the visit.** Then `visit` meets arbitrary values. So it must
    ///   have no effects: it returns what it found. After the visit the payload's place is checked. If it was
    ///   overwritten, the result is dropped, and the delivery is a [`Delivery::Lagged`].
    /// - **`visit` may be called several times**, for events that then turn out to be overwritten, or to be unique
    ///   events that another seat runs. Only the last call counts. [`Event::claim`] is `None` in the visit; the
    ///   delivery has the claim.
    /// - **Some payloads are visited in a private copy**: those of less than 8 KiB in a block of the ring, of events
    ///   in fragments, of retained events from before this seat joined, and of events that were read while this seat
    ///   waited for a reserved id.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().block_size(4096).anonymous()?;
    /// use seqcast::Delivery;
    ///
    /// let mut subscriber = bus.subscribe()?;
    /// bus.publisher()?.post(("frame", "new"), vec![1; 4000])?;
    /// while let Some((delivery, sum)) = subscriber.try_visit(|_, words| words.sum())? {
    ///     match (delivery, sum) {
    ///         (Delivery::Event(event), Some(sum)) => println!("{}: {sum:x}", event.topic()),
    ///         (other, _) => println!("{other:?}"),
    ///     }
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// A result cannot keep the words, because they change:
    ///
    /// ```compile_fail
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// let kept = subscriber.try_visit(|_, words| words)?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_next`](Subscriber::try_next).
    ///
    /// # Panics
    ///
    /// If `visit` does, and the payload was not overwritten: then the event counts as delivered. A panic of a visit
    /// that does not count is dropped; the process's panic hook has printed it.
    pub fn try_visit<R>(
        &mut self,
        visit: impl FnMut(&Event<'_>, Words<'_>) -> R,
    ) -> Result<Option<(Delivery<'_>, Option<R>)>> {
        self.visit_step(visit, |subscriber, step| step(subscriber))
    }

    /// [`next`](Subscriber::next) that visits the payload of the event in place, as
    /// [`try_visit`](Subscriber::try_visit) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().block_size(4096).anonymous()?;
    /// # let mut subscriber = bus.subscribe()?;
    /// use std::time::Duration;
    ///
    /// subscriber.only([("frame", "new")])?;
    /// bus.publisher()?.post(("frame", "new"), vec![1; 4000])?;
    /// let visited = subscriber.visit(Duration::from_secs(1), |_, words| words.find_byte(b'\n'))?;
    /// assert!(matches!(visited, Some((_, Some(None)))), "there is no such byte");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`try_next`](Subscriber::try_next).
    ///
    /// # Panics
    ///
    /// As [`try_visit`](Subscriber::try_visit).
    pub fn visit<R>(
        &mut self,
        timeout: Duration,
        visit: impl FnMut(&Event<'_>, Words<'_>) -> R,
    ) -> Result<Option<(Delivery<'_>, Option<R>)>> {
        self.visit_step(visit, |subscriber, step| subscriber.advance_or_wait(timeout, step))
    }

    /// Takes the step that `take` takes.
    fn visit_step<R>(
        &mut self,
        mut visit: impl FnMut(&Event<'_>, Words<'_>) -> R,
        take: impl FnOnce(&mut Subscriber, &mut TakeStep<'_>) -> Result<Advance>,
    ) -> Result<Option<(Delivery<'_>, Option<R>)>> {
        let mut outcome = Outcome(None);
        let mut visitor = |visited: Option<(&Event<'_>, Words<'_>)>| {
            outcome.drop_it();
            // The panic is resumed after the verdict.
            outcome.0 = visited.map(|(event, words)| catch_unwind(AssertUnwindSafe(|| visit(event, words))));
        };
        let advance = take(self, &mut |subscriber| subscriber.advance(Some(&mut visitor)))?;
        let Some(found) = self.found(&advance) else { return Ok(None) };
        let is_event = matches!(found, Found::Step(Step::Event)) && !self.reader.current().head.clears();
        let is_visited = is_event && self.reader.current().visited;
        let outcome = if is_visited { outcome.0.take() } else { None };
        let Some(delivery) = self.delivery(found) else { return Ok(None) };
        let result = match (&delivery, outcome) {
            (_, Some(Ok(result))) => Some(result),
            (_, Some(Err(panic))) => resume_unwind(panic),
            (Delivery::Event(event), None) => {
                let result = visit(&event.without_payload(), Words::of(event.bytes()));
                // `visit` may have forked and returned in the child.
                self.publisher.check()?;
                Some(result)
            }
            _ => None,
        };
        let delivery = match delivery {
            Delivery::Event(event) => Delivery::Event(event.without_payload()),
            other => other,
        };
        Ok(Some((delivery, result)))
    }
}

/// The result of the last visit. Its drop is users' code.
struct Outcome<R>(Option<thread::Result<R>>);

impl<R> Outcome<R> {
    fn drop_it(&mut self) {
        let outcome = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(outcome))) {
            // Its drop could panic again.
            mem::forget(panic);
        }
    }
}

impl<R> Drop for Outcome<R> {
    fn drop(&mut self) {
        self.drop_it();
    }
}
