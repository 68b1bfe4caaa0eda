//! The seat of a host's relay: it reads what goes to other hosts, and posts what comes from them.

pub(crate) mod poster;
pub(crate) mod reader;
mod recover;
pub(crate) mod region;
pub(crate) mod request;
pub(crate) mod travel;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::poster::RelayPoster;
use self::reader::RelayReader;
use self::recover::recover;
use self::region::{RelayRegion, State};
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Cause, Error, Result};
use crate::os::fork::ForkGuard;
use crate::seat::holder::{Hold, is_own_leftover};
use crate::seat::options::WorkerOptions;
use crate::seat::tenure::{Incarnation, Tenure};
use crate::seat::words::SeatWords;
use crate::seat::{NO_CURSOR, Seat};
use crate::segment::layout::{relay_word, seat_word};
use crate::segment::{SeatLock, Segment, fork_guard};

/// Options of a relay.
///
/// ```
/// use seqcast::relay::RelayOptions;
///
/// let options = RelayOptions::new().label("relay of rack 7").cluster_key([7; 16]);
/// # let _ = options;
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until a relay is taken with them"]
pub struct RelayOptions {
    label: String,
    cluster_key: [u64; 2],
    wait_max: Duration,
}

impl Default for RelayOptions {
    fn default() -> RelayOptions {
        RelayOptions { label: "relay".to_owned(), cluster_key: [0; 2], wait_max: Duration::from_millis(500) }
    }
}

impl RelayOptions {
    /// Returns the defaults.
    pub fn new() -> RelayOptions {
        RelayOptions::default()
    }

    /// Sets the label of the relay's seat, as [`WorkerOptions::label`] does. Default: `relay`.
    pub fn label(mut self, label: impl Into<String>) -> RelayOptions {
        self.label = label.into();
        self
    }

    /// Sets the key under which the keys of cluster-unique events are hashed. All relays of a cluster must have the
    /// same one. Default: zeros.
    pub fn cluster_key(mut self, key: [u8; 16]) -> RelayOptions {
        let words = key.as_chunks::<8>().0;
        self.cluster_key = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
        self
    }

    /// Sets how long the relay waits for the payload of a reserved id, as [`WorkerOptions::wait_max`] does. Default:
    /// 500 ms.
    pub fn wait_max(mut self, wait_max: Duration) -> RelayOptions {
        self.wait_max = wait_max;
        self
    }
}

/// Without the key.
impl fmt::Debug for RelayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayOptions")
            .field("label", &self.label)
            .field("wait_max", &self.wait_max)
            .finish_non_exhaustive()
    }
}

/// The one relay of a segment: see [`Bus::relay`](crate::Bus::relay).
///
/// Its hold on the segment is a lock that the kernel releases when the process ends, in whatever way. It ends when both
/// halves are dropped; then the relay has left.
#[must_use = "a relay that is dropped leaves the segment"]
pub struct Relay {
    reader: RelayReader,
    poster: RelayPoster,
}

impl Relay {
    /// Takes the place of the relay, and a seat.
    pub(crate) fn take(segment: &Arc<Segment>, options: &RelayOptions) -> Result<Relay> {
        if segment.geometry().relay_hosts == 0 {
            let rule = format!("segment {} has no room for a relay: create it with .relay_hosts(n)", segment.name());
            return Err(Error::option("relay_hosts", 0, rule));
        }
        let guard = fork_guard(segment.name())?;
        let region = RelayRegion::of(segment);
        let Some(lock) = segment.take_relay(guard)? else { return Err(taken(segment, &region)) };
        if lives_without_lock(segment, &region)? {
            return Err(taken(segment, &region));
        }
        let mut seat = Seat::take(segment, &options.label)?;
        seat.tell_death(&WorkerOptions::new())?;
        let own = region.get(relay_word!(holder.incarnation)).wrapping_add(1);
        region.set(relay_word!(holder.incarnation), own);
        region.set_seat(Some((seat.number, seat.words.get(seat_word!(identity.incarnation)))));
        let Seat { tenure, incarnation, number, words, writer, claimer, clock, .. } = seat;
        let hold = Arc::new(RelayHold {
            segment: Arc::clone(segment),
            guard,
            region,
            own,
            incarnation,
            number,
            tenure: Some(tenure),
            _lock: lock,
        });
        let recovered = recover(segment)?;
        if hold.region.get(relay_word!(up.first)) == 0 {
            // Before the state, from which on requests are accepted.
            hold.region.set(relay_word!(up.first), segment.ring().newest().saturating_add(1));
        }
        hold.region.begin(options.cluster_key);
        let reader = RelayReader::new(Arc::clone(&hold), words, clock, options.wait_max)?;
        Ok(Relay { reader, poster: RelayPoster::new(hold, writer, claimer, clock, recovered) })
    }

    /// Returns the half that reads what goes to other hosts, and the half that posts what comes from them. Each can be
    /// used by a thread of its own.
    pub fn split(self) -> (RelayReader, RelayPoster) {
        (self.reader, self.poster)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// Returns `true` if the relay that is noted in the region lives, although its lock is free: then the lock was lost.
/// The caller holds the lock now.
fn lives_without_lock(segment: &Segment, region: &RelayRegion) -> Result<bool> {
    let Some((seat, incarnation)) = region.seat().filter(|&(seat, _)| seat <= segment.geometry().last_seat()) else {
        return Ok(false);
    };
    let words = SeatWords::of(&segment.seats(), seat);
    if words.get(seat_word!(identity.incarnation)) != incarnation {
        return Ok(false);
    }
    Ok(Hold::of(segment, seat)?.is_alive() && !is_own_leftover(segment, seat))
}

#[cold]
fn taken(segment: &Segment, region: &RelayRegion) -> Error {
    let pid = region.seat().filter(|&(seat, _)| seat <= segment.geometry().last_seat()).map(|(seat, _)| {
        let words = SeatWords::of(&segment.seats(), seat);
        words.get(seat_word!(identity.pid)) as u32
    });
    Error::from(Cause::RelayTaken { name: segment.name().to_owned(), pid: pid.unwrap_or(0) })
}

/// The hold on the place of the relay. Both halves share it.
pub(crate) struct RelayHold {
    segment: Arc<Segment>,
    guard: ForkGuard,
    region: RelayRegion,
    /// How often the relay's place had been taken when this one took it.
    own: u64,
    incarnation: Incarnation,
    number: u16,
    /// Until it is dropped.
    tenure: Option<Tenure>,
    /// Released last.
    _lock: SeatLock,
}

impl RelayHold {
    /// Returns an error if the place is no longer the calling process's.
    #[inline]
    fn check(&self) -> Result<()> {
        self.guard.check()?;
        self.incarnation.check(&self.segment)?;
        if self.region.get(relay_word!(holder.incarnation)) == self.own { Ok(()) } else { Err(self.displaced()) }
    }

    #[cold]
    fn displaced(&self) -> Error {
        Error::from(Cause::Displaced { name: self.segment.name().to_owned(), seat: u32::from(self.number) })
    }
}

impl Drop for RelayHold {
    fn drop(&mut self) {
        if self.check().is_err() {
            return;
        }
        self.region.set_state(State::Left);
        self.region.set_seat(None);
        // Before the lock of the relay: its successor may need a seat.
        self.tenure = None;
    }
}

/// Returns how far the slowest reader of the host that lives is behind, without the seat `own`.
fn slowest_lag(segment: &Segment, own: u16) -> Result<u64> {
    let (seats, newest) = (segment.seats(), segment.ring().newest());
    let mut lags: Vec<(u64, u16)> = (0..=segment.geometry().last_seat())
        .filter(|&seat| seat != own)
        .filter_map(|seat| {
            let words = SeatWords::of(&seats, seat);
            let cursor = words.get(seat_word!(reading.cursor));
            let reads = cursor != NO_CURSOR && words.get(seat_word!(identity.pid)) != 0;
            reads.then(|| (newest.saturating_sub(cursor), seat))
        })
        .collect();
    lags.sort_unstable();
    // From the slowest on, so that usually one lock is looked at.
    for (lag, seat) in lags.into_iter().rev() {
        if lag == 0 || Hold::of(segment, seat)?.is_alive() {
            return Ok(lag);
        }
    }
    Ok(0)
}

/// Stores that a half of the relay lives.
#[inline]
fn beat(region: &RelayRegion, word: usize, now: u64) {
    region.set(word, now);
}
