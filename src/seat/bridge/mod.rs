//! Carries events between two segments, so that a ring can be replaced by a larger one under load.

mod carried;
mod carry;
mod establish;
mod side;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use self::carried::Carried;
use self::carry::carry;
use self::side::Side;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

/// Carries the events of each of two segments into the other, while two generations of processes run.
///
/// [`Bus::bridge_to`](crate::Bus::bridge_to) makes it. One process calls [`pump`](Bridge::pump), from its event loop or
/// after [`wait`](Bridge::wait). An event keeps its topic, payload and type tag; a retained one is retained in the
/// other segment, too, with what is left of its ttl; a clear clears there. An event that came over a bridge
/// [says so](crate::Event::is_bridged), and is never carried again. The library's own events are not carried.
///
/// ```
/// # let [old_name, new_name] = ["old", "new"].map(|name| format!("doc-bridge-{name}-{}", std::process::id()));
/// use std::time::Duration;
/// use seqcast::SegmentOptions;
///
/// let old = SegmentOptions::new().capacity(1024).unlink_on_drop(true).create(&old_name)?;
/// let new = SegmentOptions::new().capacity(8192).keys_of(&old).unlink_on_drop(true).create(&new_name)?;
/// let mut bridge = old.bridge_to(&new)?.expect("no other process bridges them");
///
/// let (mut before, mut after) = (old.subscribe()?, new.subscribe()?);
/// old.publisher()?.post(("cache", "stale"), "user:42")?;
/// new.publisher()?.post(("cache", "stale"), "user:43")?;
/// while bridge.wait(Duration::ZERO)? {
///     bridge.pump()?;
/// }
/// let texts = |subscriber: &mut seqcast::Subscriber| -> seqcast::Result<Vec<_>> {
///     subscriber.only([("cache", "stale")])?;
///     let mut texts = Vec::new();
///     while let Some(delivery) = subscriber.try_next()? {
///         texts.extend(delivery.event().map(|event| String::from_utf8_lossy(event.bytes()).into_owned()));
///     }
///     Ok(texts)
/// };
/// assert_eq!(texts(&mut before)?, ["user:42", "user:43"]);
/// assert_eq!(texts(&mut after)?, ["user:43", "user:42"]);
/// println!("{:?}", bridge.finish()?); // when the old processes have ended
/// # Ok::<(), seqcast::Error>(())
/// ```
///
/// **Order.** The workers of a segment see one order, as always (G1). The events of each segment keep their order in
/// the other. Two events of different segments may have another order in each, as in the example.
///
/// **Retained events.** When the first bridge begins, what the old segment retains is carried into the new one. If both
/// generations set a key at the same time, both segments end with the same value: the bridge drops the other one, and
/// counts it as [`superseded`](Carried::superseded).
///
/// **Unique events.** While the bridge lives, the workers of the old segment leave unique events to it. It carries them
/// into the new one, whose workers run them. Unique events of the new segment stay there. So a unique event runs at
/// most once in total, and for all events that are posted while the bridge lives, in either segment, one key runs at
/// most once within its ttl. Both segments must have the same [keys](crate::SegmentOptions::keys_of). What was posted
/// before the bridge began is decided in its own segment; the keys that are held in the old one at that moment are held
/// in the new one, too. An old worker that is stopped in the middle of its decision while the bridge begins can still
/// win its event: the event runs once, and its key is held in the old segment only.
///
/// **Claims without an event** are made in one segment. When the bridge begins and when it finishes, it copies those of
/// the old segment, except those that [end with their holder](crate::ClaimOptions::ends_with_holder). While both
/// generations claim the same keys, let both claim in one segment, the old one: `old.publisher()`.
///
/// **Lag.** The bridge is a reader: if it falls more than the capacity of a ring behind, [`missed`](Carried::missed)
/// says how many ids were overwritten. Retained events that were among them are carried all the same.
///
/// **Its end.** [`finish`](Bridge::finish) loses nothing and doubles nothing. A bridge that is dropped, or whose
/// process is killed, has a successor with the next call of [`Bus::bridge_to`](crate::Bus::bridge_to) by any process.
/// The successor goes on where it ended: nothing is lost and nothing is doubled, as long as neither ring was
/// overwritten in the meantime, with two exceptions. A unique event that the killed bridge had claimed and not yet
/// posted does not run, as with any worker that is killed; and if it was killed while it carried the retained events of
/// the beginning, they are carried once more. Until there is a successor, the old workers decide unique events again,
/// except those that they have left to the killed bridge.
#[must_use = "a bridge that is dropped carries nothing"]
pub struct Bridge {
    old: Side,
    new: Side,
    total: Carried,
}

impl Bridge {
    /// Carries what is there, in both directions. Returns the counts of this call. Never waits.
    ///
    /// ```
    /// # let (old, mut options) = (seqcast::SegmentOptions::new().anonymous()?, seqcast::SegmentOptions::new());
    /// # let new = options.keys_of(&old).anonymous()?;
    /// let mut bridge = old.bridge_to(&new)?.expect("no other process bridges them");
    /// old.publisher()?.post(("cache", "stale"), "user:42")?;
    /// assert_eq!(bridge.pump()?.to_new, 1);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Corrupt`] or [`ErrorKind::Exhausted`], if either
    /// segment is. The event that was to be carried is carried by the next call. An event that the other segment cannot
    /// take is not an error: see [`Carried::refused`].
    pub fn pump(&mut self) -> Result<Carried> {
        let before = self.total;
        let Bridge { old, new, total } = self;
        let ends = [old.newest(), new.newest()];
        // In turns, so that what is posted in a segment does not lap the bridge itself there.
        let most = old.capacity().min(new.capacity()) / 8;
        loop {
            let went_on = carry(old, new, most, total, |total| &mut total.to_new)?;
            let came_back = carry(new, old, most, total, |total| &mut total.to_old)?;
            if old.is_past(ends[0]) && new.is_past(ends[1]) || !(went_on || came_back) {
                break;
            }
        }
        Ok(total.since(&before))
    }

    /// Sleeps until there is something to carry, for at most `timeout`. Returns `true` if there is.
    ///
    /// A signal may end the sleep earlier.
    ///
    /// # Errors
    ///
    /// As [`arm`](Bridge::arm).
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        // A timeout beyond the range of the clock never ends.
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        loop {
            if self.arm()? {
                return Ok(true);
            }
            if left.is_zero() || !self.sleep(left)? {
                return Ok(false);
            }
            left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Sleeps until one of the descriptors is readable. Returns `false` after a signal.
    fn sleep(&mut self, most: Duration) -> Result<bool> {
        let name = self.old.name().to_owned();
        let most =
            Timespec { tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX), tv_nsec: most.subsec_nanos().into() };
        let [one, other] = self.descriptors()?;
        let mut polled = [PollFd::from_borrowed_fd(one, PollFlags::IN), PollFd::from_borrowed_fd(other, PollFlags::IN)];
        match poll(&mut polled, Some(&most)) {
            Ok(_) => Ok(true),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(crate::error::Error::system(&name, "poll", errno)),
        }
    }

    /// Returns two descriptors for an event loop. If [`arm`](Bridge::arm) has returned `false`, one of them becomes
    /// readable when there is something to carry.
    ///
    /// ```
    /// # let old = seqcast::SegmentOptions::new().anonymous()?;
    /// # let new = seqcast::SegmentOptions::new().keys_of(&old).anonymous()?;
    /// let mut bridge = old.bridge_to(&new)?.expect("no other process bridges them");
    /// let _to_watch = bridge.descriptors()?;
    /// // When either is readable, and once before the loop begins:
    /// while bridge.arm()? {
    ///     bridge.pump()?;
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Subscriber::bell`](crate::Subscriber::bell).
    pub fn descriptors(&mut self) -> Result<[BorrowedFd<'_>; 2]> {
        Ok([self.old.bell()?.as_fd(), self.new.bell()?.as_fd()])
    }

    /// Prepares the event loop's sleep. Returns `true` if there is something to carry: [`pump`](Bridge::pump), and call
    /// `arm` again.
    ///
    /// # Errors
    ///
    /// As [`PullBell::arm`](crate::PullBell::arm) and [`Subscriber::bell`](crate::Subscriber::bell).
    pub fn arm(&mut self) -> Result<bool> {
        // Both, so that each drains its descriptor.
        Ok(self.old.arm()? | self.new.arm()?)
    }

    /// Returns the counts since this bridge began.
    pub fn carried(&self) -> Carried {
        self.total
    }

    /// Ends the bridge: carries everything that was posted before this call, in both directions, gives the decision on
    /// unique events back to the workers of the old segment, and frees both seats. Returns the counts since this bridge
    /// began.
    ///
    /// It waits at reserved ids, for at most 500 ms each, and for nothing else. A later bridge between the same
    /// segments carries what was posted in between.
    ///
    /// # Errors
    ///
    /// As [`pump`](Bridge::pump).
    pub fn finish(mut self) -> Result<Carried> {
        self.old.check()?;
        self.old.words().give_back();
        let (old_end, new_end) = (self.old.newest(), self.new.newest());
        loop {
            self.pump()?;
            if self.old.is_past(old_end) && self.new.is_past(new_end) {
                break;
            }
            self.wait(Duration::from_millis(10))?;
        }
        self.total.claims += self.old.copy_claims_to(&mut self.new)?;
        Ok(self.total)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The events that workers have left to this bridge wait for the next one.
        if self.old.check().is_ok() {
            self.old.words().give_back();
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("old", &self.old.name())
            .field("new", &self.new.name())
            .field("carried", &self.total)
            .finish_non_exhaustive()
    }
}
