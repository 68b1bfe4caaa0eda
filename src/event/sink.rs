//! What a payload is written to that is produced where it is posted from.

use std::fmt;
use std::io;

use super::payload::put_long;
use super::{Buffer, Put};
use crate::error::{Error, Result};
use crate::os::fork::ForkGuard;

/// Small pieces are put together until there are so many bytes: a put takes tens of nanoseconds.
const STAGE: usize = 4 << 10;

/// The place of a payload that is being written, from its beginning to its end: see
/// [`Publisher::post_with`](crate::Publisher::post_with).
///
/// It also implements [`io::Write`], for `write!` and for writers of formats.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let mut publisher = bus.publisher()?;
/// let parts = [&b"HTTP/1.1 "[..], b"204", b" No Content"];
/// let len = parts.iter().map(|part| part.len()).sum();
/// publisher.post_with(("http", "answer"), len, |sink| parts.iter().try_for_each(|part| sink.put(part)))?;
/// # Ok::<(), seqcast::Error>(())
/// ```
pub struct Sink<'a> {
    to: To<'a>,
    len: usize,
    written: usize,
    /// `true` once more was written than there is room for.
    is_overfull: bool,
    /// `true` once a put has failed, of which a part may be written.
    is_broken: bool,
}

enum To<'a> {
    Place {
        to: &'a mut dyn Put,
        /// The last bytes that were written, which are not put yet.
        stage: Buffer,
        guard: ForkGuard,
    },
    Buffer(&'a mut Buffer),
}

impl<'a> Sink<'a> {
    /// Writes `len` bytes to `to`, which has room for them, in the process of `guard`.
    pub(crate) fn to_place(to: &'a mut dyn Put, len: usize, guard: ForkGuard) -> Sink<'a> {
        let stage = Buffer::with_capacity(len.min(STAGE) + 8);
        Sink { to: To::Place { to, stage, guard }, len, written: 0, is_overfull: false, is_broken: false }
    }

    /// Writes `len` bytes to `buffer`, which is empty.
    pub(crate) fn to_buffer(buffer: &'a mut Buffer, len: usize) -> Sink<'a> {
        Sink { to: To::Buffer(buffer), len, written: 0, is_overfull: false, is_broken: false }
    }

    /// Returns the number of bytes that were written.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Returns the number of bytes that are still to be written.
    pub fn left(&self) -> usize {
        self.len - self.written
    }

    /// Writes `bytes` behind those that were written before.
    ///
    /// ```
    /// # let bus = seqcast::SegmentOptions::new().anonymous()?;
    /// # let mut publisher = bus.publisher()?;
    /// use seqcast::ErrorKind;
    ///
    /// let next = bus.next_id();
    /// let error = publisher.post_with(("s", "e"), 4, |sink| sink.put(b"12345")).unwrap_err();
    /// assert_eq!((error.kind(), bus.next_id()), (ErrorKind::Option, next));
    /// # Ok::<(), seqcast::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Option`](crate::ErrorKind::Option) if there is no room for all of them; then none were written, and
    /// nothing is posted. [`ErrorKind::Forked`](crate::ErrorKind::Forked) in a child that was forked since the
    /// beginning. After any other error nothing is posted, even if the closure ignores it.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.left() {
            self.is_overfull = true;
            return Err(self.overfull());
        }
        match &mut self.to {
            To::Buffer(buffer) => buffer.extend_from_slice(bytes),
            To::Place { to, stage, guard } => {
                // A child has the parent's private block in its memory, too.
                guard.check()?;
                if self.is_broken {
                    return Err(broken(self.len, self.written));
                }
                if stage.len() + bytes.len() <= STAGE {
                    stage.extend_from_slice(bytes);
                } else {
                    put_long(*to, stage, bytes).inspect_err(|_| self.is_broken = true)?;
                }
            }
        }
        self.written += bytes.len();
        Ok(())
    }

    /// Ends the payload. Returns an error if it is not exactly as long as it was said to be.
    pub(crate) fn finish(self) -> Result<()> {
        if self.is_overfull {
            return Err(self.overfull());
        }
        if self.is_broken {
            return Err(broken(self.len, self.written));
        }
        if self.left() > 0 {
            let rule = format!("{} bytes were written: write as many as were announced", self.written);
            return Err(Error::option("len", self.len, rule));
        }
        match self.to {
            To::Place { to, stage, .. } => to.put(&stage, 0),
            To::Buffer(_) => Ok(()),
        }
    }

    #[cold]
    fn overfull(&self) -> Error {
        let rule = format!("more was written behind {} bytes: announce the length of the payload", self.written);
        Error::option("len", self.len, rule)
    }
}

/// The error of a payload whose producer goes on after a put has failed.
#[cold]
fn broken(len: usize, written: usize) -> Error {
    let rule = format!("a put behind {written} bytes has failed: return its error");
    Error::option("len", len, rule)
}

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload.
        f.debug_struct("Sink").field("len", &self.len).field("written", &self.written).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place that takes what is put, except for one put.
    struct Place {
        puts: usize,
        fails: usize,
        taken: Vec<u8>,
    }

    impl Put for Place {
        fn put(&mut self, piece: &[u8], _: usize) -> Result<()> {
            self.puts += 1;
            if self.puts == self.fails {
                return Err(Error::option("place", 0, "this put fails"));
            }
            self.taken.extend_from_slice(piece);
            Ok(())
        }
    }

    #[test]
    fn g5_a_payload_of_which_a_put_has_failed_is_not_finished() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i ^ i >> 8) as u8).collect();
        let mut failures = 0;
        for fails in 0..8 {
            let mut place = Place { puts: 0, fails, taken: Vec::new() };
            let mut sink = Sink::to_place(&mut place, bytes.len(), ForkGuard::new().unwrap());
            // The producer ignores errors, and writes what the sink still wants.
            for piece in [3_001, 5_000, 12_000].into_iter().cycle().take(12) {
                let at = sink.written();
                let _ = sink.put(&bytes[at..bytes.len().min(at + piece)]);
            }
            let finished = sink.finish();
            let has_failed = fails > 0 && place.puts >= fails;
            failures += usize::from(has_failed);
            assert_eq!(finished.is_err(), has_failed, "put number {fails}");
            assert!(has_failed || place.taken == bytes);
        }
        assert!(failures > 2);
    }
}
