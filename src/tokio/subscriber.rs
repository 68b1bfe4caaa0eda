//! A subscriber that is awaited.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::task::coop;
use futures_core::Stream;

use super::ready::Registered;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::seat::bell::options::BellOptions;
use crate::seat::bell::pull::PullBell;
use crate::seat::delivery::Delivery;
use crate::seat::publisher::Publisher;
use crate::seat::subscriber::{Found, Subscriber};

/// A [`Subscriber`] that is awaited on a tokio runtime.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> seqcast::Result<()> {
/// # let name = format!("doc-async-subscriber-{}", std::process::id());
/// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// use seqcast::Delivery;
/// use seqcast::tokio::AsyncSubscriber;
///
/// let mut events = AsyncSubscriber::new(bus.subscribe()?)?;
/// # bus.publisher()?.post(("cache", "stale"), "user:42")?;
/// # for _ in 0..1 {
/// # /*
/// loop {
/// # */
///     match events.recv().await? {
///         Delivery::Event(event) => println!("{} {:?}", event.topic(), event.bytes()),
///         Delivery::Lagged { missed, .. } => println!("missed {missed} events: clear the cache"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Apply an event in the task that receives it, and let requests read the same state. Otherwise a request can see the
/// old state after another worker has acknowledged the change. The example `axum` shows this under load.
#[must_use = "a subscriber that is dropped leaves the bus"]
pub struct AsyncSubscriber {
    // Dropped first: the bell before the seat.
    ready: Registered<PullBell>,
    subscriber: Subscriber,
}

impl AsyncSubscriber {
    /// Registers `subscriber` with the runtime of the current task.
    ///
    /// # Errors
    ///
    /// As [`Subscriber::bell`]; [`ErrorKind::Option`] outside a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime was built without I/O ([`enable_io`](::tokio::runtime::Builder::enable_io)).
    pub fn new(subscriber: Subscriber) -> Result<AsyncSubscriber> {
        AsyncSubscriber::with_bell(subscriber, &BellOptions::new())
    }

    /// [`new`](AsyncSubscriber::new) with options of the bell.
    ///
    /// # Errors
    ///
    /// As [`new`](AsyncSubscriber::new) and [`Subscriber::bell_with`].
    ///
    /// # Panics
    ///
    /// As [`new`](AsyncSubscriber::new).
    pub fn with_bell(subscriber: Subscriber, options: &BellOptions) -> Result<AsyncSubscriber> {
        let ready = Registered::new(subscriber.segment().name(), || subscriber.bell_with(options))?;
        Ok(AsyncSubscriber { ready, subscriber })
    }

    /// Waits for the next delivery and returns it. A subscriber that fell behind gets [`Delivery::Lagged`] in place of
    /// the missed events, with their number, and continues.
    ///
    /// At an id that another seat has reserved, it waits until the id is decided or given up. It returns
    /// [`Delivery::Reserved`] only for an id that this subscriber has reserved itself.
    ///
    /// A task that receives in a loop regularly yields to the other tasks of its thread, by tokio's [cooperative
    /// budget](::tokio::task::coop).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: if the future is dropped before it is complete, as in a branch of `tokio::select!`, no delivery is
    /// lost.
    ///
    /// # Errors
    ///
    /// As [`Subscriber::try_next`] and [`PullBell::arm`]; [`ErrorKind::System`] if the runtime is shutting down.
    pub async fn recv(&mut self) -> Result<Delivery<'_>> {
        let found = poll_fn(|cx| self.poll_found(cx)).await?;
        Ok(self.subscriber.tell(found))
    }

    /// Returns the next delivery, or `None` if there is nothing new. Does not wait.
    ///
    /// # Errors
    ///
    /// As [`Subscriber::try_next`].
    pub fn try_recv(&mut self) -> Result<Option<Delivery<'_>>> {
        self.subscriber.try_next()
    }

    /// Returns a [`Stream`] of the results of `map`, which it calls with each delivery. After an error the stream ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> seqcast::Result<()> {
    /// # let name = format!("doc-async-stream-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// use std::pin::{Pin, pin};
    ///
    /// use futures_core::Stream;
    /// use seqcast::Delivery;
    /// use seqcast::tokio::AsyncSubscriber;
    ///
    /// let mut subscriber = bus.subscribe()?;
    /// subscriber.only([("cache", "stale")])?;
    /// let events = AsyncSubscriber::new(subscriber)?;
    /// let mut keys = events.into_stream(|delivery| match delivery {
    ///     Delivery::Event(event) => event.bytes().to_vec(),
    ///     _ => Vec::new(),
    /// });
    /// bus.publisher()?.post(("cache", "stale"), "user:42")?;
    /// let first = std::future::poll_fn(|cx| Pin::new(&mut keys).poll_next(cx)).await;
    /// assert_eq!(first.transpose()?, Some(b"user:42".to_vec()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream<T, F>(self, map: F) -> Deliveries<F>
    where
        F: FnMut(Delivery<'_>) -> T,
    {
        Deliveries { subscriber: self, map, is_over: false }
    }

    /// Returns the publishing half of the seat, to post, claim and reserve.
    pub fn publisher(&mut self) -> &mut Publisher {
        self.subscriber.publisher()
    }

    /// Returns the subscriber.
    pub fn get_ref(&self) -> &Subscriber {
        &self.subscriber
    }

    /// Returns the subscriber. It may be read directly: this handle then continues after what was read.
    pub fn get_mut(&mut self) -> &mut Subscriber {
        &mut self.subscriber
    }

    /// Deregisters the subscriber from the runtime and returns it.
    pub fn into_inner(self) -> Subscriber {
        self.subscriber
    }

    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found>> {
        let turn = ready!(coop::poll_proceed(cx));
        loop {
            let found = self.subscriber.step()?;
            if let Some(found) = found.filter(|found| !found.is_reserved_by_another()) {
                turn.made_progress();
                return Poll::Ready(Ok(found));
            }
            if !self.ready.bell().arm(&self.subscriber)? {
                ready!(self.ready.poll_rung(cx, self.subscriber.segment().name()))?;
            }
        }
    }
}

impl fmt::Debug for AsyncSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSubscriber")
            .field("subscriber", &self.subscriber)
            .field("bell", self.ready.bell())
            .finish_non_exhaustive()
    }
}

/// A [`Stream`] of the results of a closure: see [`AsyncSubscriber::into_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct Deliveries<F> {
    subscriber: AsyncSubscriber,
    map: F,
    is_over: bool,
}

impl<F> Deliveries<F> {
    /// Returns the subscriber that the stream reads.
    pub fn into_inner(self) -> AsyncSubscriber {
        self.subscriber
    }
}

// Nothing in it is pinned.
impl<F> Unpin for Deliveries<F> {}

impl<T, F> Stream for Deliveries<F>
where
    F: FnMut(Delivery<'_>) -> T,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let found = ready!(this.subscriber.poll_found(cx));
        this.is_over = found.is_err();
        Poll::Ready(Some(found.map(|found| (this.map)(this.subscriber.subscriber.tell(found)))))
    }
}

impl<F> fmt::Debug for Deliveries<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("subscriber", &self.subscriber).finish_non_exhaustive()
    }
}
