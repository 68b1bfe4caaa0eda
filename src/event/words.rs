//! The payload of an event where it lies in the segment, as words that may change.

use std::fmt;
use std::iter::FusedIterator;

use crate::os::fnv::Fnv;
use crate::protocol::bytes;
use crate::sync::{AtomicU64, Ordering};

/// The payload of an event, read where it lies in the segment.
///
/// A later event may take the payload's place while it is read. Then every read returns arbitrary values, and two reads
/// of one place may differ. So what is computed from words counts only after the verdict:
/// [`Worker::on_in_place`](crate::Worker::on_in_place) and [`Subscriber::try_visit`](crate::Subscriber::try_visit) drop
/// it if the event was overwritten. Nothing here can read outside the payload, and every method ends, whatever the
/// values are: lengths are those that were checked, not those that the payload states.
///
/// Offsets and lengths are in bytes. Numbers are little-endian.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().block_size(4096).anonymous()?;
/// let mut subscriber = bus.subscribe()?;
/// subscriber.only([("frame", "new")])?;
/// let mut frame = 7_u32.to_le_bytes().to_vec();
/// frame.resize(1000, 1);
/// bus.publisher()?.post(("frame", "new"), &frame)?;
///
/// let visited = subscriber.try_visit(|_, words| (words.u32_at(0), words.sum(), words.find(b"\0\x01")))?;
/// let Some((delivery, Some((number, sum, at)))) = visited else { panic!("it was posted") };
/// assert_eq!((delivery.id(), number, at), (delivery.event().unwrap().id().unwrap(), Some(7), Some(3)));
/// assert_eq!(sum, seqcast::Words::of(&frame).sum());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Words<'a> {
    source: Source<'a>,
    /// At most as many bytes as the source has.
    len: usize,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Of a block, which another process may write.
    Shared(&'a [AtomicU64]),
    Private(&'a [u8]),
}

impl<'a> Words<'a> {
    /// Returns bytes of this process as words: for tests, and to compare with a payload.
    ///
    /// ```
    /// let words = seqcast::Words::of(b"0123456789");
    /// assert_eq!((words.len(), words.byte_at(9), words.byte_at(10)), (10, Some(b'9'), None));
    /// ```
    pub fn of(bytes: &'a [u8]) -> Words<'a> {
        Words { source: Source::Private(bytes), len: bytes.len() }
    }

    /// Returns the first `len` bytes of `words`, or all of them if they are fewer.
    pub(crate) fn shared(words: &'a [AtomicU64], len: usize) -> Words<'a> {
        Words { len: len.min(words.len() * 8), source: Source::Shared(words) }
    }

    /// Returns the number of bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the word of eight bytes at `index * 8`. The last one is filled with zeros.
    #[inline]
    fn word(&self, index: usize) -> Option<u64> {
        let left = self.len.checked_sub(index.checked_mul(8)?).filter(|&left| left > 0)?;
        let word = match self.source {
            // Relaxed: between the two looks of the seqlock.
            Source::Shared(words) => u64::from_le(words.get(index)?.load(Ordering::Relaxed)),
            Source::Private(bytes) => match bytes[index * 8..].first_chunk() {
                Some(chunk) => u64::from_le_bytes(*chunk),
                None => {
                    let mut last = [0; 8];
                    last[..left].copy_from_slice(&bytes[index * 8..]);
                    u64::from_le_bytes(last)
                }
            },
        };
        Some(if left < 8 { word & ((1 << (8 * left)) - 1) } else { word })
    }

    /// Returns the payload as numbers of eight bytes. The last one is filled with zeros.
    ///
    /// ```
    /// let words = seqcast::Words::of(&[1, 0, 0, 0, 0, 0, 0, 0, 2]);
    /// assert_eq!(words.iter().collect::<Vec<_>>(), [1, 2]);
    /// ```
    #[inline]
    pub fn iter(&self) -> WordIter<'a> {
        WordIter { words: *self, next: 0 }
    }

    /// Returns the sum of the [words](Words::iter), modulo 2<sup>64</sup>. It is fast, and does not depend on the order
    /// of the words.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(&[1, 0, 0, 0, 0, 0, 0, 0, 2]).sum(), 3);
    /// ```
    #[inline]
    pub fn sum(&self) -> u64 {
        self.iter().fold(0, u64::wrapping_add)
    }

    /// Returns the hash FNV-1a of the bytes, in its 64-bit version. It takes about a nanosecond for each byte.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(b"a").fnv1a(), 0xaf63_dc4c_8601_ec8c);
    /// ```
    pub fn fnv1a(&self) -> u64 {
        let mut hash = Fnv::new();
        for (index, word) in self.iter().enumerate() {
            hash.bytes(&word.to_le_bytes()[..(self.len - index * 8).min(8)]);
        }
        hash.finish()
    }

    /// Returns the byte at `at`, or `None` behind the end.
    #[inline]
    pub fn byte_at(&self, at: usize) -> Option<u8> {
        self.array_at(at).map(|[byte]| byte)
    }

    /// Returns the number of four bytes at `at`, or `None` if they are not all inside.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(&[9, 1, 2, 0, 0, 9]).u32_at(1), Some(0x201));
    /// ```
    #[inline]
    pub fn u32_at(&self, at: usize) -> Option<u32> {
        self.array_at(at).map(u32::from_le_bytes)
    }

    /// Returns the number of eight bytes at `at`, or `None` if they are not all inside.
    #[inline]
    pub fn u64_at(&self, at: usize) -> Option<u64> {
        self.array_at(at).map(u64::from_le_bytes)
    }

    /// Returns `N` bytes from `at` on, or `None` if they are not all inside.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(b"v1,abc").array_at(3), Some(*b"abc"));
    /// assert_eq!(seqcast::Words::of(b"v1,abc").array_at::<4>(3), None);
    /// ```
    #[inline]
    pub fn array_at<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        at.checked_add(N).filter(|&end| end <= self.len)?;
        let mut array = [0; N];
        self.read(at, &mut array);
        Some(array)
    }

    /// Copies bytes from `at` on. The caller has checked that they are all inside.
    fn read(&self, at: usize, into: &mut [u8]) {
        let (mut at, mut into) = (at, into);
        while !into.is_empty() {
            let from = at % 8;
            let (now, later) = into.split_at_mut((8 - from).min(into.len()));
            let word = self.word(at / 8).unwrap_or_default().to_le_bytes();
            now.copy_from_slice(&word[from..from + now.len()]);
            at += now.len();
            into = later;
        }
    }

    /// Returns `true` if the payload is exactly `bytes`.
    ///
    /// ```
    /// assert!(seqcast::Words::of(b"0123456789").equals(b"0123456789"));
    /// ```
    pub fn equals(&self, bytes: &[u8]) -> bool {
        self.len == bytes.len() && self.starts_with(bytes)
    }

    /// Returns `true` if the payload begins with `bytes`.
    pub fn starts_with(&self, bytes: &[u8]) -> bool {
        let (whole, rest) = bytes.as_chunks::<8>();
        bytes.len() <= self.len
            && self.iter().zip(whole).all(|(word, chunk)| word.to_le_bytes() == *chunk)
            && (rest.is_empty() || self.word(whole.len()).is_some_and(|word| word.to_le_bytes()[..rest.len()] == *rest))
    }

    /// Returns where `byte` occurs first.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(b"key=value").find_byte(b'='), Some(3));
    /// ```
    pub fn find_byte(&self, byte: u8) -> Option<usize> {
        self.find_byte_from(byte, 0)
    }

    /// Returns where `byte` occurs first at `from` or later.
    fn find_byte_from(&self, byte: u8, from: usize) -> Option<usize> {
        const ONES: u64 = u64::MAX / 255;
        const TOPS: u64 = ONES << 7;
        let mut iter = WordIter { words: *self, next: from / 8 };
        // The bytes before `from` count as different.
        let mut before = (1_u64 << (8 * (from % 8))) - 1;
        let pattern = ONES * u64::from(byte);
        loop {
            let at = iter.next * 8;
            let differences = iter.next()? ^ pattern | before;
            before = 0;
            // The lowest byte with its top bit set is the lowest zero byte of `differences`.
            let zeros = differences.wrapping_sub(ONES) & !differences & TOPS;
            if zeros != 0 {
                let found = at + zeros.trailing_zeros() as usize / 8;
                // A zero may be the filling of the last word.
                return (found < self.len).then_some(found);
            }
        }
    }

    /// Returns where `needle` occurs first. An empty needle occurs at 0. Each byte of the payload is read once, so the
    /// time depends on the lengths and not on the values.
    ///
    /// ```
    /// assert_eq!(seqcast::Words::of(b"GET / HTTP/1.1\r\n\r\n").find(b"\r\n\r\n"), Some(14));
    /// ```
    pub fn find(&self, needle: &[u8]) -> Option<usize> {
        let Some(&first) = needle.first() else { return Some(0) };
        if needle.len() > self.len {
            return None;
        }
        // Knuth, Morris, Pratt: `borders[i]` is the length of the longest proper prefix of the needle that ends at `i`.
        let mut borders = vec![0_usize; needle.len()];
        for i in 1..needle.len() {
            let mut border = borders[i - 1];
            while border > 0 && needle[border] != needle[i] {
                border = borders[border - 1];
            }
            borders[i] = border + usize::from(needle[border] == needle[i]);
        }
        let (mut at, mut matched) = (0, 0);
        while at < self.len {
            if matched == 0 {
                at = self.find_byte_from(first, at)? + 1;
                matched = 1;
            } else {
                let byte = self.byte_at(at)?;
                while matched > 0 && needle[matched] != byte {
                    matched = borders[matched - 1];
                }
                if matched == 0 && needle[0] != byte {
                    at += 1;
                    continue;
                }
                matched += 1;
                at += 1;
            }
            if matched == needle.len() {
                return Some(at - needle.len());
            }
        }
        None
    }

    /// Copies the first bytes of the payload, as many as fit into `into`. Returns their number.
    ///
    /// ```
    /// let mut into = [0; 4];
    /// assert_eq!(seqcast::Words::of(b"0123456789").copy_to(&mut into), 4);
    /// assert_eq!(into, *b"0123");
    /// ```
    pub fn copy_to(&self, into: &mut [u8]) -> usize {
        let len = self.len.min(into.len());
        let (whole, rest) = into[..len].split_at_mut(len / 8 * 8);
        match self.source {
            Source::Shared(words) => bytes::load_bytes(words, whole),
            Source::Private(bytes) => whole.copy_from_slice(&bytes[..whole.len()]),
        }
        self.read(whole.len(), rest);
        len
    }

    /// Returns a copy of the payload.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut copy = vec![0; self.len];
        self.copy_to(&mut copy);
        copy
    }
}

impl<'a> IntoIterator for Words<'a> {
    type Item = u64;
    type IntoIter = WordIter<'a>;

    fn into_iter(self) -> WordIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Words<'a> {
    type Item = u64;
    type IntoIter = WordIter<'a>;

    fn into_iter(self) -> WordIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the payload.
        f.debug_struct("Words").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The words of a payload: see [`Words::iter`].
#[derive(Clone)]
pub struct WordIter<'a> {
    words: Words<'a>,
    next: usize,
}

impl WordIter<'_> {
    fn left(&self) -> usize {
        bytes::words_for(self.words.len).saturating_sub(self.next)
    }
}

impl Iterator for WordIter<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let word = self.words.word(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }

    #[inline]
    fn fold<B, F: FnMut(B, u64) -> B>(self, init: B, mut f: F) -> B {
        let (Words { source, len }, whole) = (self.words, self.words.len / 8);
        let mut folded = init;
        // The kind of source is looked at once, and not for each word.
        match source {
            Source::Shared(words) => {
                for word in words.get(self.next..whole).unwrap_or_default() {
                    // Relaxed: between the two looks of the seqlock.
                    folded = f(folded, u64::from_le(word.load(Ordering::Relaxed)));
                }
            }
            Source::Private(bytes) => {
                for chunk in bytes.as_chunks::<8>().0.get(self.next..whole).unwrap_or_default() {
                    folded = f(folded, u64::from_le_bytes(*chunk));
                }
            }
        }
        if len.is_multiple_of(8) || self.next > whole {
            return folded;
        }
        self.words.word(whole).into_iter().fold(folded, f)
    }
}

impl ExactSizeIterator for WordIter<'_> {}

impl FusedIterator for WordIter<'_> {}

impl fmt::Debug for WordIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordIter").field("left", &self.left()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The words of a block that hold `bytes`, and two more with other values.
    fn block_of(bytes: &[u8]) -> Vec<AtomicU64> {
        let words: Vec<_> = (0..bytes.len() / 8 + 3).map(|_| AtomicU64::new(u64::MAX)).collect();
        bytes::store(&words, bytes);
        if !bytes.len().is_multiple_of(8) {
            // A hostile process does not fill the last word with zeros.
            let filling = (u64::MAX << (8 * (bytes.len() % 8))).to_le();
            words[bytes.len() / 8].fetch_or(filling, Ordering::Relaxed);
        }
        words
    }

    fn every_method(words: Words<'_>, bytes: &[u8], needle: &[u8], at: usize) {
        let chunks = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let expected: Vec<u64> = chunks.collect();
        assert_eq!((words.len(), words.is_empty()), (bytes.len(), bytes.is_empty()));
        assert_eq!(words.iter().len(), expected.len());
        let mut one_by_one = Vec::new();
        let mut iter = words.iter();
        while let Some(word) = iter.next() {
            one_by_one.push(word);
            // From here to the end at once.
            let rest = iter.clone().fold(Vec::new(), |mut rest, word| {
                rest.push(word);
                rest
            });
            assert_eq!(rest, expected[one_by_one.len()..]);
        }
        assert_eq!((one_by_one, iter.next()), (expected.clone(), None));
        assert_eq!(words.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(words.sum(), expected.iter().fold(0, |sum: u64, &word| sum.wrapping_add(word)));
        let mut hash = Fnv::new();
        hash.bytes(bytes);
        assert_eq!(words.fnv1a(), hash.finish());
        assert_eq!(words.byte_at(at), bytes.get(at).copied());
        assert_eq!(words.array_at(at), bytes.get(at..).and_then(|from| from.first_chunk::<11>()).copied());
        let (four, eight) = (bytes.get(at..at + 4), bytes.get(at..at + 8));
        assert_eq!(words.u32_at(at), four.map(|four| u32::from_le_bytes(four.try_into().unwrap())));
        assert_eq!(words.u64_at(at), eight.map(|eight| u64::from_le_bytes(eight.try_into().unwrap())));
        assert_eq!(words.u64_at(usize::MAX - at), None);
        assert!(words.equals(bytes) && words.starts_with(bytes));
        assert_eq!(words.equals(needle), needle == bytes);
        assert_eq!(words.starts_with(needle), bytes.starts_with(needle));
        assert!(!words.starts_with(&[bytes, &[0]].concat()));
        let found = bytes.windows(needle.len().max(1)).position(|window| window == needle);
        assert_eq!(words.find(needle), if needle.is_empty() { Some(0) } else { found });
        for byte in [0, 1, 255, needle.first().copied().unwrap_or(7)] {
            assert_eq!(words.find_byte(byte), bytes.iter().position(|&other| other == byte));
        }
        assert_eq!(words.to_vec(), bytes);
        let mut into = vec![9; at];
        let copied = words.copy_to(&mut into);
        assert_eq!((copied, &into[..copied]), (at.min(bytes.len()), &bytes[..copied]));
        assert!(into[copied..].iter().all(|&byte| byte == 9));
    }

    proptest! {
        #[test]
        fn g10_words_are_those_of_the_payload(
            bytes in prop::collection::vec(prop::sample::select(&[0, 1, 2, 128, 255][..]), 0..70),
            from in 0..70_usize,
            len in 0..70_usize,
            other in prop::collection::vec(0..3_u8, 0..4),
            at in 0..90_usize,
        ) {
            let from = from.min(bytes.len());
            let part = &bytes[from..(from + len).min(bytes.len())];
            for needle in [part, &other] {
                every_method(Words::of(&bytes), &bytes, needle, at);
                every_method(Words::shared(&block_of(&bytes), bytes.len()), &bytes, needle, at);
            }
        }
    }

    #[test]
    fn g10_words_end_where_their_block_does() {
        let block = block_of(&[1; 16]);
        let words = Words::shared(&block[..2], usize::MAX);
        assert_eq!((words.len(), words.iter().count(), words.u64_at(9)), (16, 2, None));
        assert_eq!(format!("{words:?} {:?}", words.iter()), "Words { len: 16, .. } WordIter { left: 2, .. }");
    }
}
