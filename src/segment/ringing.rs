//! Ringing the bells of a segment: a read of its file, which every process hears that watches the file.
//!
//! The kernel tells the watchers of each read, wherever they are: in other containers, and whoever they are. It tells
//! them as well when a description that can write is closed. That is the ring of a poster that was killed before it
//! could ring: the page that keeps its seat's lock keeps such a description, which ends with the process.

use rustix::io::retry_on_intr;

use super::Segment;
use super::names::path;
use super::storage::native_words;
use crate::error::Result;
use crate::identity::BusId;
use crate::os::descriptor::Inode;
use crate::os::futex::SharedFutex;
use crate::protocol::wake::{self, Bells};
use crate::segment::layout::header_word;

impl Segment {
    /// The file, by a name under which this process can watch it.
    pub(crate) fn watched_path(&self) -> Result<String> {
        let found = format!("/proc/self/fd/{}", self.file()?.number());
        let is_ours = rustix::fs::stat(&*found).is_ok_and(|stat| Inode::of(&stat) == self.file.inode());
        // Without /proc. Whether the name leads to this file shows when the bell is tried.
        Ok(if is_ours { found } else { path(&self.name) })
    }

    /// Wakes all who wait for what was just published at `header_word`, in this process and in others. Returns `true`
    /// if there was anyone.
    #[inline]
    pub(crate) fn notify(&self, header_word: usize) -> bool {
        wake::notify(self.wake_word(header_word), &SharedFutex, self)
    }

    /// Wakes all who wait for a reserved id that was just decided: the readers that have met it, and the sleepers to
    /// whom its fate is news. Returns on how many words somebody slept.
    pub(crate) fn wake_for_decided(&self) -> u64 {
        let words = [header_word!(wake_reserved), header_word!(wake)];
        words.into_iter().map(|word| u64::from(self.notify(word))).sum()
    }

    /// Reads the segment's own nonce by its descriptor. Returns `false` if the number leads to another file by now.
    fn read_nonce(&self) -> bool {
        let mut bytes = [0; 16];
        let at = (header_word!(nonce) * 8) as u64;
        let read = retry_on_intr(|| rustix::io::pread(&self.file, &mut bytes, at));
        read == Ok(bytes.len()) && BusId::of_nonce(native_words(&bytes)) == self.id
    }
}

impl Bells for Segment {
    /// One system call, however many listen. If the descriptor is lost and the segment cannot be opened again, nobody
    /// hears it: then bells look at the end of their interval.
    fn ring_all(&self) {
        // A read of what is known: it rings, and tells whether it was this file, for the price of one call. A foreign
        // file is read and not changed, once.
        if !self.read_nonce() && self.file().is_ok() {
            self.read_nonce();
        }
    }
}
