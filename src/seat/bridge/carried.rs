//! The counts of a bridge.

/// What a [`Bridge`](crate::Bridge) has carried.
///
/// Every event that it has read, except those that came over a bridge and those of the library, counts in exactly one
/// of `to_new`, `to_old`, `superseded` and `refused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carried {
    /// Events of the old segment that were posted in the new one.
    pub to_new: u64,
    /// Events of the new segment that were posted in the old one.
    pub to_old: u64,
    /// Of these, unique events.
    pub unique: u64,
    /// Of these, events that are retained in the other segment, and clears.
    pub retained: u64,
    /// Of these, events that are retained in their own segment only: the other one retains nothing, or has no place
    /// for their key, or they are larger than its `retained_size`.
    pub unretained: u64,
    /// Retained events that were not carried, because a later event of their key had come from the other segment; and
    /// clears of what the other segment does not retain.
    pub superseded: u64,
    /// Events that the other segment cannot take: they are larger than its largest event, or their typed values have
    /// another format.
    pub refused: u64,
    /// Ids that were overwritten before the bridge read them.
    pub missed: u64,
    /// Unique events that nobody runs, because it is unknown if they have run.
    pub undecided: u64,
    /// Ids with contents that were not written by this crate.
    pub unreadable: u64,
    /// Claims of the old segment that were copied into the new one.
    pub claims: u64,
}

impl Carried {
    /// Returns the counts since `before`.
    pub(super) fn since(&self, before: &Carried) -> Carried {
        Carried {
            to_new: self.to_new - before.to_new,
            to_old: self.to_old - before.to_old,
            unique: self.unique - before.unique,
            retained: self.retained - before.retained,
            unretained: self.unretained - before.unretained,
            superseded: self.superseded - before.superseded,
            refused: self.refused - before.refused,
            missed: self.missed - before.missed,
            undecided: self.undecided - before.undecided,
            unreadable: self.unreadable - before.unreadable,
            claims: self.claims - before.claims,
        }
    }
}
