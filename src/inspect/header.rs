//! The header of a segment.

use crate::os::sys;
use crate::segment::Segment;
use crate::segment::layout::{self, header_word};
use crate::sync::Ordering;

/// The formats of a segment, and the boot id under which it was created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// The version of its layout.
    pub layout_version: u32,
    /// A hash of everything that determines the layout. A build with another one cannot open the segment.
    pub fingerprint: u64,
    /// The format of the typed values on the bus, which the features of rkyv determine. `None` if no program has used
    /// typed values yet.
    pub typed_format: Option<u64>,
    /// The boot id under which the segment was created, if it was known.
    pub boot_id: Option<u128>,
    /// `true` if this process has the same boot id. A container may have one of its own.
    pub same_boot_id: bool,
}

impl Header {
    pub(super) fn of(segment: &Segment) -> Header {
        let words = segment.header();
        // Relaxed: written once, before the magic that was read when the segment was opened.
        let word = |index: usize| words.at(index).load(Ordering::Relaxed);
        let boot = [word(header_word!(boot_id)), word(header_word!(boot_id) + 1)];
        Header {
            layout_version: layout::LAYOUT_VERSION,
            fingerprint: word(header_word!(fingerprint)),
            typed_format: Some(segment.typed_format().load(Ordering::Relaxed)).filter(|&format| format != 0),
            boot_id: (boot != [0; 2]).then(|| u128::from(boot[0]) << 64 | u128::from(boot[1])),
            same_boot_id: boot == sys::boot_id(),
        }
    }
}
