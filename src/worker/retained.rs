//! What is retained, looked up by a worker.

use super::handle::Worker;
use super::inner::Inner;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::event::Topic;
use crate::seat::retained::{Retained, TableLookup};

impl Worker {
    /// Looks up the last [retained](crate::EventBuilder::retain) event of `topic`. Returns `None` if there is none, if
    /// it was [cleared](crate::EventBuilder::clear), or if its ttl has ended.
    ///
    /// What is found is at least as new as everything that this worker, or any worker that it has heard of it by, has
    /// got. It calls no handler, and needs no poll.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// assert!(worker.get(("config", "changed"))?.is_none());
    /// worker.event(("config", "changed")).retain().post("workers = 4")?;
    /// assert_eq!(worker.get(("config", "changed"))?.expect("it is retained").bytes(), b"workers = 4");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Topic`]; [`ErrorKind::Option`] for a key of more than 255 bytes, and on a segment that retains
    /// nothing; [`ErrorKind::Forked`], [`ErrorKind::Displaced`], [`ErrorKind::Left`], [`ErrorKind::Corrupt`].
    pub fn get<'a>(&self, topic: impl Into<Topic<'a>>) -> Result<Option<Retained>> {
        self.get_key(topic, "")
    }

    /// Looks up the last retained event of `topic` and `key`, as [`get`](Worker::get) does. An empty key is none.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// worker.event(("upstream", "state")).retain_key("17").post("down")?;
    /// assert_eq!(worker.get_key(("upstream", "state"), "17")?.expect("it is retained").bytes(), b"down");
    /// assert!(worker.get_key(("upstream", "state"), "18")?.is_none());
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Worker::get).
    pub fn get_key<'a>(&self, topic: impl Into<Topic<'a>>, key: impl AsRef<[u8]>) -> Result<Option<Retained>> {
        // The application's code, which may do anything: before the check.
        let (topic, key) = (topic.into(), key.as_ref());
        self.inner.check()?;
        self.inner.lookup().get(topic, key, || self.inner.writer()?.settle_all())
    }

    /// Returns the last retained event of every key, in the order of their ids.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let worker = bus.join()?;
    /// for (upstream, state) in [("17", "down"), ("18", "up"), ("17", "up")] {
    ///     worker.event(("upstream", "state")).retain_key(upstream).post(state)?;
    /// }
    /// let states = worker.retained()?;
    /// assert_eq!(states.iter().map(|state| state.key()).collect::<Vec<_>>(), [b"18", b"17"]);
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get`](Worker::get).
    pub fn retained(&self) -> Result<Vec<Retained>> {
        self.inner.check()?;
        self.inner.lookup().all(|to| self.inner.writer()?.settle_below(to))
    }
}

impl Inner {
    #[inline]
    fn lookup(&self) -> TableLookup<'_> {
        TableLookup { segment: &self.segment, table: self.table.as_ref(), clock: self.clock }
    }
}
