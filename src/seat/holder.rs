//! What became of a record's holder, where the lock that is its hold does not say it.
//!
//! A lock that is held proves that its holder lives. A free one proves as a rule that the holder is dead or has left.
//! But a lock can be lost while its holder lives, and then the process id and the start of the process say so, to those
//! in the same pid namespace. Such a record is nobody's to take: its holder goes on with it.

use crate::error::{Holder, Result};
use crate::os::sys;
use crate::seat::label_of;
use crate::seat::words::RecordWords;
use crate::segment::Segment;
use crate::segment::layout::record_word;

/// What the system says of a record's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The lock is held.
    Locked,
    /// The lock is free, and the holder lives.
    Unlocked,
    /// The holder is dead: it has not left.
    Dead,
    /// There is none.
    Free,
}

impl Hold {
    pub(crate) fn of(segment: &Segment, record: u16) -> Result<Hold> {
        if segment.is_record_held(record)? {
            return Ok(Hold::Locked);
        }
        if RecordWords::of(&segment.records(), record).get(record_word!(identity.pid)) == 0 {
            return Ok(Hold::Free);
        }
        if !lives_without_lock(segment, record) {
            return Ok(Hold::Dead);
        }
        // Again: it may have joined since.
        Ok(if segment.is_record_held(record)? { Hold::Locked } else { Hold::Unlocked })
    }

    /// Whether the holder lives.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Hold::Locked | Hold::Unlocked)
    }
}

/// Whether the holder of `record`, of which nobody has the lock, is a process that lives and has the segment mapped.
pub(crate) fn lives_without_lock(segment: &Segment, record: u16) -> bool {
    let words = RecordWords::of(&segment.records(), record);
    let word = |index| words.get(index);
    let Ok(pid) = u32::try_from(word(record_word!(identity.pid))) else { return false };
    let (start, namespace) = (word(record_word!(identity.start_time)), word(record_word!(identity.pid_namespace)));
    if pid == 0 || start == 0 || namespace == 0 || sys::pid_namespace() != Some(namespace) {
        return false;
    }
    // One that may not be looked at counts as having it: a seat less is better than a worker displaced.
    sys::is_running(pid, start) && sys::has_mapped(pid, segment.inode().1) != Some(false)
}

/// Whether `record` is what an earlier program of this very process has left: a process that executes itself anew keeps
/// its id and its start. Nobody else can use such a record any more.
pub(crate) fn is_own_leftover(segment: &Segment, record: u16) -> bool {
    let words = RecordWords::of(&segment.records(), record);
    words.get(record_word!(identity.pid)) == u64::from(sys::pid())
        && Some(words.get(record_word!(identity.start_time))) == sys::own_start_time()
        && words.get(record_word!(identity.program)) != sys::program()
}

/// Who holds which record, for an error.
pub(crate) fn holders(segment: &Segment) -> Vec<Holder> {
    let records = segment.records();
    (0..=segment.geometry().last_record())
        .map(|record| {
            let words = RecordWords::of(&records, record);
            Holder {
                record: u32::from(record),
                pid: words.get(record_word!(identity.pid)) as u32,
                label: label_of(&words),
                // If it cannot be told, the list is worth having without it.
                unlocked: matches!(Hold::of(segment, record), Ok(Hold::Unlocked)),
            }
        })
        .collect()
}
