//! The claiming half of a worker.

use std::time::Duration;

use super::handle::Worker;
use crate::claim::{Claim, Claimed};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
#[cfg(doc)]
use crate::event::Event;

impl Worker {
    /// Claims `key` among all workers for `ttl`: a lock that ends by itself. A claim and a unique event of the same key
    /// do not affect each other.
    ///
    /// The death of the holder does not end a claim. The ttl counts in the host's boot-time clock, which includes the
    /// time in which the host sleeps, and is the same in all time namespaces. A process without `/proc`, or one
    /// that has made a time namespace for its children, cannot read the offset of its clock and assumes that there
    /// is none.
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
        // The application's code: before the check and the lock.
        let key = key.as_ref();
        self.inner.claimer()?.claim_alone(key, ttl)
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
        self.inner.claimer()?.release(claim.key, claim.token)
    }
}
