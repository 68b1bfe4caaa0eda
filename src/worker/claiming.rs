//! The claiming half of a worker.

use std::time::Duration;

use super::handle::Worker;
use crate::claim::{Claim, ClaimOptions, Claimed, HeldKey};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
#[cfg(doc)]
use crate::event::Event;
use crate::seat::holding::held;
use crate::segment::unique_hash::Domain;

impl Worker {
    /// Claims `key` among all workers for `ttl`: a lock that ends by itself. A claim and a unique event of the same key
    /// do not affect each other.
    ///
    /// The death of the holder does not end the claim; [`claim_with`](Worker::claim_with) makes one that it ends. The
    /// ttl counts in the host's boot-time clock, which includes the time in which the host sleeps, and is the same in
    /// all time namespaces. A process without `/proc`, or one that has made a time namespace for its children, cannot
    /// read the offset of its clock and assumes that there is none.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    /// use seqcast::Claimed;
    ///
    /// match worker.claim("nightly-mail", Duration::from_secs(3600))? {
    ///     Claimed::Won(_) => println!("send it"),
    ///     Claimed::Held { seat, left, .. } => println!("seat {seat} sends it; again in {left:?}"),
    ///     _ => println!("there are too many claims"),
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] for a ttl of zero or an empty key; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Left`], [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claimed> {
        self.claim_with(key, &ClaimOptions::new(ttl))
    }

    /// [`claim`](Worker::claim) with options: the claim can [end with its holder](ClaimOptions::ends_with_holder).
    ///
    /// This is a lock for work that must be done at least once, and never twice at a time. If the holder is killed, the
    /// next claim of any other process wins at once. While the work goes on, the holder [renews](Worker::renew) the
    /// claim; a ttl bounds the damage if it hangs. At the end it [completes](Worker::complete) the claim, so that no
    /// other process does the same work again, or [releases](Worker::release) it. See [Jobs](crate#jobs).
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    /// use seqcast::{ClaimOptions, Claimed};
    ///
    /// let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    /// let options = ClaimOptions::new(minute).ends_with_holder(true);
    /// if let Claimed::Won(claim) = worker.claim_with("hourly-report", &options)? {
    ///     for _part in 0..10 {
    ///         // ... write this part of the report, within a minute ...
    ///         worker.renew(&claim, minute)?;
    ///     }
    ///     worker.complete(&claim, hour)?;
    /// }
    /// assert!(worker.claim_with("hourly-report", &options)?.won().is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`claim`](Worker::claim).
    pub fn claim_with(&self, key: impl AsRef<[u8]>, options: &ClaimOptions) -> Result<Claimed> {
        // The application's code, which may do anything: before the check and the lock.
        let key = key.as_ref();
        self.inner.claimer()?.claim_alone(key, options)
    }

    /// Holds the key of a claim for `ttl` from now on, which may be longer or shorter than before. The claim is the
    /// same afterwards.
    ///
    /// A claim that has ended is not renewed, even if no other worker has claimed the key since. After an error, the
    /// caller must stop what the claim stands for: another process may do it now. To learn of a late renewal before it
    /// is too late, look at [`left`](Worker::left).
    ///
    /// Any worker of the bus can renew a claim. If the claim ends with its holder, that is still the seat that has won
    /// it.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    /// use seqcast::{Cause, ErrorKind};
    ///
    /// let hour = Duration::from_secs(3600);
    /// let claim = worker.claim("nightly-mail", Duration::from_secs(60))?.won().expect("no other process is here");
    /// worker.renew(&claim, hour)?;
    ///
    /// worker.release(&claim)?;
    /// let other = bus.join()?;
    /// let _claim = other.claim("nightly-mail", hour)?;
    /// let lost = worker.renew(&claim, hour).unwrap_err();
    /// assert_eq!(lost.kind(), ErrorKind::ClaimLost);
    /// assert!(matches!(lost.cause(), Cause::ClaimLost { holder: Some(now), .. } if now.seat == other.seat()));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ClaimLost`] if the claim has ended, with the seat and the process that hold the key now;
    /// [`ErrorKind::Option`] for a ttl of zero; [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`],
    /// [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    pub fn renew(&self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.inner.claimer()?.renew(claim, ttl)
    }

    /// Marks what a claim stands for as done: the key stays held for `ttl` from now on, also if the claim would end
    /// with its holder. It can still be renewed or released.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    /// use seqcast::ClaimOptions;
    ///
    /// let options = ClaimOptions::new(Duration::from_secs(60)).ends_with_holder(true);
    /// let claim = worker.claim_with("nightly-mail", &options)?.won().expect("no other process is here");
    /// // ... send the mail ...
    /// worker.complete(&claim, Duration::from_secs(3600))?;
    /// worker.leave()?;
    /// assert!(bus.join()?.claim_with("nightly-mail", &options)?.won().is_none(), "it is not sent twice");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`renew`](Worker::renew).
    pub fn complete(&self, claim: &Claim, ttl: Duration) -> Result<()> {
        self.inner.claimer()?.complete(claim, ttl)
    }

    /// Returns for how long a claim is still held. Zero if it has ended.
    ///
    /// This is what the bus knows, after all renewals and completions.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    ///
    /// let claim = worker.claim("nightly-mail", Duration::from_secs(3600))?.won().expect("no other process is here");
    /// assert!(worker.left(&claim)? > Duration::from_secs(3000));
    /// worker.release(&claim)?;
    /// assert_eq!(worker.left(&claim)?, Duration::ZERO);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`].
    pub fn left(&self, claim: &Claim) -> Result<Duration> {
        self.inner.claimer()?.left(claim)
    }

    /// Looks at a key without taking anything, as [`Bus::held`](crate::Bus::held) does.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// use std::time::Duration;
    ///
    /// let _claim = worker.claim("nightly-mail", Duration::from_secs(3600))?;
    /// assert_eq!(worker.held("nightly-mail")?.map(|held| held.seat), Some(worker.seat()));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Bus::held`](crate::Bus::held), and [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`].
    pub fn held(&self, key: impl AsRef<[u8]>) -> Result<Option<HeldKey>> {
        let key = key.as_ref();
        self.inner.check()?;
        held(&self.inner.segment, Domain::Alone, key)
    }

    /// Releases a claim before its ttl ends. Returns `false` if it had ended already.
    ///
    /// The [claim](Event::claim) of a unique event can be released, too. The event itself stays decided; the next event
    /// with its key runs.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// # use std::time::Duration;
    /// let hour = Duration::from_secs(3600);
    /// let claim = worker.claim("nightly-mail", hour)?.won().expect("no other worker claims");
    /// assert!(worker.claim("nightly-mail", hour)?.won().is_none());
    /// assert!(worker.release(&claim)?);
    /// assert!(worker.claim("nightly-mail", hour)?.won().is_some());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    pub fn release(&self, claim: &Claim) -> Result<bool> {
        self.inner.claimer()?.release(claim)
    }
}
