//! The readers that posts wait for, as an inspector sees them.

use std::time::Duration;

use crate::error::Result;
use crate::seat::holder::Hold;
use crate::seat::label_of;
use crate::seat::room::patience_ns;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::seat_word;

/// A reader that [must read](crate::WorkerOptions::must_read): posts wait for it, or would, had it not been cut off.
/// See [`Inspector::must_readers`](super::Inspector::must_readers).
///
/// ```
/// # use std::time::Duration;
/// use seqcast::inspect::Inspector;
/// use seqcast::{SegmentOptions, WorkerOptions};
///
/// # let name = format!("doc-must-readers-{}", std::process::id());
/// let bus = SegmentOptions::new().unlink_on_drop(true).create(&name)?;
/// let ledger = bus.subscribe_with(&WorkerOptions::new().label("ledger").must_read(Duration::from_secs(1)))?;
/// let readers = Inspector::open(&name)?.must_readers()?;
/// assert_eq!((&readers[0].label[..], readers[0].holds_up, readers[0].fault), ("ledger", false, None));
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MustReader {
    /// Its seat.
    pub seat: u32,
    /// Its process id, in its own pid namespace. 0 if the seat has no holder.
    pub pid: u32,
    /// The label of the seat.
    pub label: String,
    /// `true` if the holder of the seat lives. No post waits for a dead one.
    pub alive: bool,
    /// How long a post waits for it.
    pub patience: Duration,
    /// How many ids it has not copied. Posts wait while it is a whole ring.
    pub unread: u64,
    /// `true` if the next post waits for it.
    pub holds_up: bool,
    /// `true` if a post has waited for all of its patience, and it has not read since: no post waits for it.
    pub is_cut_off: bool,
    /// What is wrong with its words, if no reader stores such words: something else writes to the segment. Posts wait
    /// for it all the same, for at most the segment's bound.
    pub fault: Option<&'static str>,
}

pub(super) fn of(segment: &Segment) -> Result<Vec<MustReader>> {
    let seats = 0..=segment.geometry().last_seat();
    seats.filter_map(|seat| reader_of(segment, seat).transpose()).collect()
}

/// Returns `None` if posts wait for no reader of `seat`, or if that changes at this moment.
fn reader_of(segment: &Segment, seat: u16) -> Result<Option<MustReader>> {
    let (musts, geometry) = (segment.musts(), segment.geometry());
    let must = musts.of(seat);
    if must.is_off() {
        return Ok(None);
    }
    let hold = Hold::of(segment, seat)?;
    let (stored, need) = (musts.patience(seat), musts.need(seat));
    // After its need, which is never greater.
    let newest = segment.ring().newest();
    if musts.of(seat) != must {
        return Ok(None);
    }
    let fault = if hold == Hold::Free {
        Some("its seat has no holder")
    } else if stored == 0 || stored > geometry.most_patience {
        Some("its patience is one that the segment does not allow")
    } else if need > newest {
        Some("it has copied ids that are not taken")
    } else {
        None
    };
    let words = SeatWords::of(&segment.seats(), seat);
    let (alive, is_cut_off, unread) = (hold.is_alive(), must.is_cut(), newest.saturating_sub(need));
    Ok(Some(MustReader {
        seat: u32::from(seat),
        pid: words.get(seat_word!(identity.pid)) as u32,
        label: label_of(&words),
        alive,
        patience: Duration::from_nanos(patience_ns(segment, seat)),
        unread,
        holds_up: alive && !is_cut_off && unread >= geometry.capacity(),
        is_cut_off,
        fault,
    }))
}
