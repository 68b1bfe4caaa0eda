//! The bell of a subscriber.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::BellCore;
use super::options::{BellKind, BellOptions};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::identity::BusId;
use crate::seat::subscriber::Subscriber;

/// A descriptor that is readable as long as a [`Subscriber`] may have something to read, for event loops.
///
/// [`Subscriber::bell`] makes it. It works as a [`Bell`](crate::Bell), but the event loop reads: when the descriptor is
/// readable, read until [`try_next`](Subscriber::try_next) returns `None`, then call [`arm`](PullBell::arm).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// use seqcast::{Delivery, PullBell, Subscriber};
///
/// /// To be called when `bell` is readable.
/// fn on_readable(bell: &PullBell, subscriber: &mut Subscriber) -> seqcast::Result<()> {
///     loop {
///         while let Some(delivery) = subscriber.try_next()? {
///             match delivery {
///                 Delivery::Event(event) => println!("{} {:?}", event.topic(), event.bytes()),
///                 // Later events come when the id is decided. The bell rings then.
///                 Delivery::Reserved { .. } => break,
///                 _ => {}
///             }
///         }
///         if !bell.arm(subscriber)? {
///             return Ok(());
///         }
///     }
/// }
///
/// let mut subscriber = bus.subscribe()?;
/// let bell = subscriber.bell()?;
/// on_readable(&bell, &mut subscriber)?;
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// It is a separate handle: a runtime's thread can have it while the subscriber is used elsewhere. It is no longer rung
/// when the subscriber is dropped.
pub struct PullBell {
    core: BellCore,
    bus: BusId,
}

impl Subscriber {
    /// Makes a descriptor that is readable as long as there may be something to read: see [`PullBell`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if there are no descriptors left; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Descriptor`].
    pub fn bell(&self) -> Result<PullBell> {
        self.bell_with(&BellOptions::new())
    }

    /// As [`bell`](Subscriber::bell), with options.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// use std::time::Duration;
    /// use seqcast::BellOptions;
    ///
    /// let subscriber = bus.subscribe()?;
    /// let bell = subscriber.bell_with(&BellOptions::new().interval(Duration::from_secs(5)))?;
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`bell`](Subscriber::bell), and [`ErrorKind::Option`].
    pub fn bell_with(&self, options: &BellOptions) -> Result<PullBell> {
        self.check()?;
        Ok(PullBell { core: BellCore::new(self.segment(), options)?, bus: self.segment().id() })
    }
}

impl PullBell {
    /// Prepares the event loop's sleep. Returns `true` if there is something to read: read on and call `arm` again.
    /// After `false`, the descriptor becomes readable as soon as there is something to read.
    ///
    /// At a reserved id, the descriptor becomes readable when the id is decided or must be given up.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// let mut subscriber = bus.subscribe()?;
    /// let bell = subscriber.bell()?;
    /// assert!(bell.arm(&subscriber)?, "its own announcement is there");
    /// while let Some(_) = subscriber.try_next()? {}
    /// assert!(!bell.arm(&subscriber)?);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BellClosed`] if other code of the process has closed a descriptor of the bell: make a new bell.
    /// [`ErrorKind::Option`] if the subscriber belongs to another bus; [`ErrorKind::Forked`], [`ErrorKind::Displaced`].
    pub fn arm(&self, subscriber: &Subscriber) -> Result<bool> {
        self.core.check()?;
        subscriber.check()?;
        let segment = subscriber.segment();
        if segment.id() != self.bus {
            let rule = format!("a bell of bus {} cannot be armed for it", self.bus);
            return Err(Error::option("subscriber", format!("one of bus {}", segment.id()), rule));
        }
        let look = || subscriber.has_news() || subscriber.gives_up();
        let has_news = self.core.settle(&[], Some(segment), subscriber.mark(), look)?;
        if !has_news && let Some(left) = subscriber.left_of_wait() {
            self.core.ring_in(left)?;
        }
        Ok(has_news)
    }

    /// Returns how the bell is notified of posts.
    pub fn kind(&self) -> BellKind {
        self.core.kind()
    }

    /// Returns why posts do not ring the bell, if its kind is [`BellKind::Tick`].
    pub fn unheard(&self) -> Option<&Error> {
        self.core.unheard()
    }
}

impl AsFd for PullBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }
}

impl AsRawFd for PullBell {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for PullBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullBell").field("fd", &self.as_raw_fd()).field("kind", &self.kind()).finish_non_exhaustive()
    }
}
