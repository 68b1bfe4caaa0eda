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
    /// Claims `key` among all workers for `ttl`: a lock that ends by itself. Keys of claims have nothing to do with
    /// keys of unique events.
    ///
    /// The ttl is counted by the host's boot-time clock, which goes on while the host sleeps, also where workers live
    /// in time namespaces of their own. A worker whose process has set up one more time namespace for its children, or
    /// has no `/proc`, cannot know how far its clock is from the host's, and takes it for that of the host.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let name = format!("doc-claim-{}", std::process::id());
    /// # let bus = seqcast::SegmentOptions::new().unlink_on_drop(true).create(&name)?;
    /// # let worker = bus.join()?;
    /// if let seqcast::Claimed::Won(_) = worker.claim("nightly-mail", Duration::from_secs(3600))? {
    ///     // send it
    /// }
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] for a ttl of nothing or an empty key; [`ErrorKind::Forked`], [`ErrorKind::Displaced`],
    /// [`ErrorKind::Left`], [`ErrorKind::Corrupt`], [`ErrorKind::Exhausted`].
    pub fn claim(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<Claimed> {
        // Users' code, which may do anything: before the check and the lock.
        let key = key.as_ref();
        self.inner.claimer()?.claim_alone(key, ttl)
    }

    /// Ends a claim before its ttl does. `false` if it had ended. A unique event's [claim](Event::claim) can be ended
    /// too: the event itself stays decided, the next one with its key runs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`],
    /// [`ErrorKind::Exhausted`].
    pub fn release(&self, claim: &Claim) -> Result<bool> {
        self.inner.claimer()?.release(claim.key, claim.token)
    }
}
