//! Converts faults of the protocol to errors of a segment.

use super::Segment;
use crate::error::{Error, Result};
use crate::protocol::Fault;

/// Adds the segment's name to the fault of a protocol step.
pub(crate) trait InSegment<T> {
    fn in_segment(self, segment: &Segment) -> Result<T>;
}

impl<T> InSegment<T> for std::result::Result<T, Fault> {
    #[inline]
    fn in_segment(self, segment: &Segment) -> Result<T> {
        self.map_err(|fault| segment.fault(fault))
    }
}

impl Segment {
    #[cold]
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        Error::of_fault(self.name(), fault)
    }

    /// Returns the error for words that no process stores if it follows the protocol.
    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        self.fault(Fault::Corrupt(what))
    }
}
