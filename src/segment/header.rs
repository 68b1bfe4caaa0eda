//! A segment's header, read from its file and checked before anything is mapped.

use super::fingerprint::fingerprint;
use super::geometry::{Geometry, PoolSize};
use super::layout::{HEADER_BYTES, header_word, magic};
use super::locks::is_any_seat_held;
use super::pools::{POOLS, PoolSpec};
use super::storage::{file_size, native_words, read_at};
use crate::error::{Cause, Error, Result};
use crate::os::descriptor::Descriptor;
use crate::os::sys;

/// A copy of the header, read once, so that the checked values are the ones that are used.
pub(super) struct HeaderCopy([u64; HEADER_BYTES / 8]);

impl HeaderCopy {
    pub(super) fn read(name: &str, file: &Descriptor) -> Result<HeaderCopy> {
        let mut bytes = [0; HEADER_BYTES];
        let len = read_at(name, file, &mut bytes, 0)?;
        if len < HEADER_BYTES {
            return Err(Error::from(Cause::Truncated {
                name: name.to_owned(),
                size: file_size(name, file)?,
                expected: HEADER_BYTES as u64,
            }));
        }
        Ok(HeaderCopy(native_words(&bytes)))
    }

    pub(super) fn word(&self, word: usize) -> u64 {
        self.0[word]
    }

    pub(super) fn pair(&self, word: usize) -> [u64; 2] {
        [self.0[word], self.0[word + 1]]
    }

    /// Returns the sizes of the segment, or an error if this build cannot use it.
    pub(super) fn check(&self, name: &str, file: &Descriptor) -> Result<Geometry> {
        let name = || name.to_owned();
        if self.word(header_word!(magic)) != magic() {
            return Err(Error::from(Cause::Corrupt { name: name(), what: "its first word changes while it is read" }));
        }
        let (found, expected) = (self.word(header_word!(fingerprint)), fingerprint());
        if found != expected {
            return Err(Error::from(Cause::Fingerprint { name: name(), found, expected }));
        }
        // Either may be unknown, for example in a container without /proc.
        let (then, now) = (self.pair(header_word!(boot_id)), sys::boot_id());
        let may_be_stale = then != now && then != [0; 2] && now != [0; 2];
        // A container may see another boot id. Locks belong to the kernel: a process that holds one lives in this boot.
        if may_be_stale && !is_any_seat_held(&name(), file)? {
            let number = |[high, low]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
            return Err(Error::from(Cause::OtherBoot { name: name(), found: number(then), expected: number(now) }));
        }
        let size =
            |spec: &PoolSpec| PoolSize { cells: self.word(spec.cells_word), stride: self.word(spec.stride_word) };
        Ok(Geometry {
            seats: self.word(header_word!(seats)),
            most_patience: self.word(header_word!(most_patience)),
            relay_hosts: self.word(header_word!(relay_hosts)),
            pools: POOLS.each_ref().map(size),
        })
    }
}
