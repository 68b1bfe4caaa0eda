//! A segment, mapped read-only.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use super::claims::{self, ClaimEntry, ClaimKind};
use super::faults::Faults;
use super::header::Header;
use super::layout::{self, Region};
use super::must::{self, MustReader};
use super::processes::Processes;
use super::relay::{self, RelayState};
use super::tail::Tail;
use crate::claim::HeldKey;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Difference, Result};
use crate::identity::BusId;
use crate::os::clock::HostClock;
use crate::seat::holding::held;
use crate::seat::options::Start;
use crate::seat::retained::{Retained, TableLookup};
use crate::seat::stats::{Sizes, Stats};
use crate::segment::options::SegmentOptions;
use crate::segment::unique_hash::Domain;
use crate::segment::{Segment, file_of};

/// How long [`Inspector::open_any`] waits while another process creates the segment.
const CREATION_TIMEOUT: Duration = Duration::from_millis(200);

/// A segment, mapped read-only.
///
/// Clones share one mapping. Any content of the segment is safe to inspect. But a process with write access can
/// truncate the file, and then a read is SIGBUS, as with every mapped file.
#[derive(Clone)]
pub struct Inspector {
    segment: Arc<Segment>,
}

impl SegmentOptions {
    /// Opens the segment `name` read-only, to inspect it. Only `mode`, `owner` and `creation_timeout` are used.
    ///
    /// # Errors
    ///
    /// As [`open`](SegmentOptions::open).
    pub fn inspect(&self, name: &str) -> Result<Inspector> {
        Segment::read_only(name, self).map(|segment| Inspector { segment: Arc::new(segment) })
    }
}

impl Inspector {
    /// Opens the segment `name` with the default options. For other options, see [`SegmentOptions::inspect`].
    ///
    /// # Errors
    ///
    /// As [`Bus::open`](crate::Bus::open).
    pub fn open(name: &str) -> Result<Inspector> {
        SegmentOptions::new().inspect(name)
    }

    /// Opens the segment `name` with any owner and any mode. The checks of both protect workers, which write.
    ///
    /// # Errors
    ///
    /// As [`Bus::open`](crate::Bus::open), except for owner and mode.
    pub fn open_any(name: &str) -> Result<Inspector> {
        Inspector::open_within(name, CREATION_TIMEOUT)
    }

    /// [`open_any`](Inspector::open_any) with another timeout for the creation of the segment.
    pub(super) fn open_within(name: &str, creation_timeout: Duration) -> Result<Inspector> {
        let (name, file) = file_of(name)?;
        let options = SegmentOptions::new().mode(0o7777).owner(file.uid(), file.gid());
        options.creation_timeout(creation_timeout).inspect(&name)
    }

    /// Returns the options that are set in `options` and differ from the segment's, as
    /// [`Bus::differences`](crate::Bus::differences) does.
    ///
    /// ```
    /// # let name = format!("doc-inspect-differences-{}", std::process::id());
    /// # let _bus = seqcast::SegmentOptions::new().capacity(1024).unlink_on_drop(true).create(&name)?;
    /// use seqcast::SegmentOptions;
    /// use seqcast::inspect::Inspector;
    ///
    /// let differences = Inspector::open(&name)?.differences(&SegmentOptions::new().capacity(4096).seats(64))?;
    /// assert_eq!(differences.len(), 1);
    /// assert_eq!(differences[0].to_string(), "capacity is 1024, not 4096");
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`](crate::ErrorKind::System) if the system does not tell mode and owner.
    pub fn differences(&self, options: &SegmentOptions) -> Result<Vec<Difference>> {
        self.segment.differences_from(options)
    }

    /// Returns the segment's name, with its slash.
    pub fn name(&self) -> &str {
        self.segment.name()
    }

    /// Returns the bus's identity, as [`Bus::id`](crate::Bus::id) does.
    pub fn id(&self) -> BusId {
        self.segment.id()
    }

    /// Returns the formats of the segment, and the boot id under which it was created.
    pub fn header(&self) -> Header {
        Header::of(&self.segment)
    }

    /// Returns the sizes that were set when the segment was created.
    pub fn sizes(&self) -> Sizes {
        Sizes::of(&self.segment)
    }

    /// Returns the parts of the segment, in the order of their offsets.
    pub fn regions(&self) -> Vec<Region> {
        layout::regions(&self.segment)
    }

    /// Returns a snapshot of the segment's and its workers' figures.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell which workers live; [`ErrorKind::Corrupt`].
    pub fn stats(&self) -> Result<Stats> {
        Stats::of(&self.segment)
    }

    /// Returns the faults that were met and survived, summed over all seats.
    pub fn faults(&self) -> Faults {
        Faults::of(&self.segment)
    }

    /// Returns the next id to be posted.
    pub fn next_id(&self) -> u64 {
        self.segment.ring().newest()
    }

    /// Returns `true` if the name still leads to this segment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`].
    pub fn is_current(&self) -> Result<bool> {
        self.segment.is_current()
    }

    /// Returns every key that is held, and every key whose decision the segment remembers; see [`ClaimEntry`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`].
    pub fn claims(&self) -> Result<Vec<ClaimEntry>> {
        claims::all(&self.segment)
    }

    /// Returns the claim that holds the key, or `None` if the key is not held.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corrupt`]; [`ErrorKind::Option`] for an empty key.
    pub fn claim_on(&self, kind: ClaimKind, key: &[u8]) -> Result<Option<ClaimEntry>> {
        claims::on(&self.segment, kind, key)
    }

    /// Looks at a key that is claimed without an event, as [`Bus::held`](crate::Bus::held) does.
    ///
    /// # Errors
    ///
    /// As [`Bus::held`](crate::Bus::held).
    pub fn held(&self, key: impl AsRef<[u8]>) -> Result<Option<HeldKey>> {
        held(&self.segment, Domain::Alone, key.as_ref())
    }

    /// Returns the last retained event of every key, in the order of their ids.
    ///
    /// An inspector changes nothing. If the poster of an event has not brought it into the table yet, the event before
    /// it is returned, until the poster, a worker that joins or one that looks it up brings it there.
    /// [`Stats::retaining`] counts such posters.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the segment retains nothing; [`ErrorKind::Corrupt`].
    pub fn retained(&self) -> Result<Vec<Retained>> {
        let (table, clock) = (self.segment.table(), HostClock::of_this_process());
        TableLookup { segment: &self.segment, table: table.as_ref(), clock }.all(|_| Ok(()))
    }

    /// Returns the readers that [must read](crate::WorkerOptions::must_read), by seat: for which of them posts wait,
    /// and which of them have words that no reader stores.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell if a process holds a seat.
    pub fn must_readers(&self) -> Result<Vec<MustReader>> {
        must::of(&self.segment)
    }

    /// Returns the state of the segment's relay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::System`] if the system does not tell if a process is the relay.
    pub fn relay(&self) -> Result<RelayState> {
        relay::of(&self.segment)
    }

    /// Returns the processes that have the segment open, and the seats that they hold, as far as this process may see
    /// them.
    pub fn processes(&self) -> Processes {
        Processes::of(&self.segment)
    }

    /// Returns a reader of all events from `start` on. It takes no seat.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotYet`] for an id that was not posted yet; [`ErrorKind::OtherBus`] for a position on another bus.
    pub fn tail(&self, start: Start) -> Result<Tail> {
        Tail::new(&self.segment, start)
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("name", &self.name()).finish_non_exhaustive()
    }
}
