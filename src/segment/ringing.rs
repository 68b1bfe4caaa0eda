//! Rings the bells of a segment: a read of its file, which inotify reports to every process that watches the file.
//!
//! The kernel reports each read to all watchers, also in other containers and of other users. It also reports when a
//! description that can write is closed. That is how a poster rings that was killed before it could ring: the page that
//! keeps its seat's lock keeps such a description open, which ends with the process.

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
    /// Returns a path by which this process can watch the file.
    pub(crate) fn watched_path(&self) -> Result<String> {
        let found = format!("/proc/self/fd/{}", self.file()?.number());
        let is_ours = rustix::fs::stat(&*found).is_ok_and(|stat| Inode::of(&stat) == self.file.inode());
        // Without /proc. The test of the bell shows if the name leads to this file.
        Ok(if is_ours { found } else { path(&self.name) })
    }

    /// Wakes the sleepers of all processes that wait on the wake word at `header_word`, after a publication. Returns
    /// `true` if there were any.
    #[inline]
    pub(crate) fn notify(&self, header_word: usize) -> bool {
        wake::notify(self.wake_word(header_word), &SharedFutex, self)
    }

    /// Wakes all sleepers that wait for a reserved id that was just decided: readers that have met the id, and other
    /// sleepers, for which the decision is new. Returns the number of wake words that had sleepers.
    pub(crate) fn wake_for_decided(&self) -> u64 {
        let words = [header_word!(wake_reserved), header_word!(wake)];
        words.into_iter().map(|word| u64::from(self.notify(word))).sum()
    }

    /// Reads the segment's nonce through its descriptor. Returns `false` if the descriptor's number leads to another
    /// file now.
    fn read_nonce(&self) -> bool {
        let mut bytes = [0; 16];
        let at = (header_word!(nonce) * 8) as u64;
        let read = retry_on_intr(|| rustix::io::pread(&self.file, &mut bytes, at));
        read == Ok(bytes.len()) && BusId::of_nonce(native_words(&bytes)) == self.id
    }
}

impl Bells for Segment {
    /// Makes one system call, however many bells there are. If the descriptor is lost and the segment cannot be opened
    /// again, no bell rings; bells then become readable at the end of their interval.
    fn ring_all(&self) {
        // Reading known bytes rings and also checks that it was this file, with one call. If it was another file, it is
        // read once and not changed.
        if !self.read_nonce() && self.file().is_ok() {
            self.read_nonce();
        }
    }
}
