//! The fingerprint by which a segment of another build is rejected.
//!
//! It covers only the layout: a process that inspects a segment or exchanges bytes needs no more. The format of typed
//! values is a separate number in the header, and only processes that use typed values check it.

use std::sync::atomic::AtomicU64;

use crossbeam_utils::CachePadded;

use super::geometry::{LARGE_NAME_BYTES, RETAINED_FRAGMENT_HEAD_BYTES};
use super::layout::{HEADER_BYTES, REGION_ALIGN, fields};
use crate::os::fnv::Fnv;
use crate::protocol::word::CellWord;
use crate::protocol::{bucket, pool, relay, retained, ring};

/// Returns a hash of everything that determines how this build reads and writes a segment: the spans of all fields, the
/// padding of this target, the byte order, and the formats of blocks, cells and claims.
pub(crate) fn fingerprint() -> u64 {
    let mut hash = Fnv::new();
    for field in fields() {
        hash.bytes(field.name.as_bytes());
        hash.number(field.offset as u64);
        hash.number(field.len as u64);
    }
    for number in [
        size_of::<CachePadded<AtomicU64>>(),
        HEADER_BYTES,
        REGION_ALIGN,
        pool::HEAD_WORDS,
        bucket::ENTRY_WORDS,
        bucket::BUCKET_HEAD_WORDS,
        ring::LONGEST_STRETCH as usize,
        ring::FEWEST_STRETCHES as usize,
        CellWord::BLOCKS as usize,
        retained::SLOT_HEAD_WORDS,
        retained::NOTE_AT,
        retained::NOTE_WORDS,
        retained::PLACES,
        retained::INDEX_WORDS,
        RETAINED_FRAGMENT_HEAD_BYTES,
        LARGE_NAME_BYTES,
        relay::RELAY_WORDS,
        relay::ORIGIN_WORDS,
    ] {
        hash.number(number as u64);
    }
    hash.bytes(&0x0102_0304_0506_0708_u64.to_ne_bytes());
    hash.finish()
}

#[cfg(test)]
mod tests {
    use crate::segment::layout::{FORMING, LAYOUT_VERSION, layout_version, magic};

    /// A change of the layout fails this test. Once there are releases, it must raise [`LAYOUT_VERSION`].
    #[cfg(all(target_arch = "x86_64", target_endian = "little"))]
    #[test]
    fn g11_the_layout_is_the_one_of_its_version() {
        assert_eq!(super::fingerprint(), 0x7f8e_8462_40b5_83c6);
        assert_eq!(LAYOUT_VERSION, 6);
        assert_eq!(layout_version(magic()), Some(6));
        assert_eq!([layout_version(0), layout_version(FORMING)], [None; 2]);
    }
}
