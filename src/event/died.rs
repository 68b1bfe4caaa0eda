//! The news that a seat was taken over from the dead.

use std::fmt::Write;

use super::{Event, library};
use crate::claim::KeyHash;

/// Most claims that the event lists.
const MOST_LISTED: usize = 64;
/// Bytes of a line with a claim, and of everything else.
const CLAIM_LINE_BYTES: usize = "claim \n".len() + 32;
const OTHER_BYTES: usize = 256;

/// The payload of [`library::DIED`]: whose seat was taken over, and what it held.
///
/// The payload is text, for programs in any language: a line for each value, which is a name, a blank and the value.
/// The label comes last, and may contain anything.
///
/// ```text
/// seat 3
/// pid 4711
/// reserved 17
/// claims 1
/// claim 1f6a3f1c0b8f4d2ea1b2c3d4e5f60718
/// label web-1
/// ```
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// use seqcast::{Died, library};
///
/// let mail = bus.key_hash("nightly-mail")?;
/// worker.on(library::DIED, move |event| {
///     if let Some(died) = Died::of(event) {
///         println!("{} (process {}) has died", died.label, died.pid);
///         if died.keys.contains(&mail) {
///             println!("it was sending the mail");
///         }
///     }
/// })?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Died {
    /// The seat.
    pub seat: u32,
    /// The process id of its holder, in its own pid namespace.
    pub pid: u32,
    /// The label of the holder.
    pub label: String,
    /// The id that it had reserved and that was given up.
    pub reserved: Option<u64>,
    /// How many keys it had claimed without an event, and held.
    pub claims: u64,
    /// These keys, or the first 64 of them. See [`Bus::key_hash`](crate::Bus::key_hash).
    pub keys: Vec<KeyHash>,
}

impl Died {
    /// Returns the payload of the event, if it is one of [`library::DIED`].
    pub fn of(event: &Event<'_>) -> Option<Died> {
        if event.topic() != library::DIED {
            return None;
        }
        Died::parse(event.bytes())
    }

    /// Returns the payload of an event of [`library::DIED`] that was read in another way. Lines with other names are
    /// passed over.
    ///
    /// ```
    /// let died = seqcast::Died::parse(b"seat 3\npid 4711\nclaims 0\nlabel web-1").expect("a payload");
    /// assert_eq!((died.seat, died.pid, died.label.as_str()), (3, 4711, "web-1"));
    /// ```
    pub fn parse(payload: &[u8]) -> Option<Died> {
        let text = str::from_utf8(payload).ok()?;
        // A label may contain line breaks.
        let (lines, label) = text.split_once("label ")?;
        let (mut seat, mut pid, mut reserved, mut claims, mut keys) = (None, None, None, 0, Vec::new());
        for line in lines.lines() {
            let (name, value) = line.split_once(' ')?;
            match name {
                "seat" => seat = Some(value.parse().ok()?),
                "pid" => pid = Some(value.parse().ok()?),
                "reserved" => reserved = Some(value.parse().ok()?),
                "claims" => claims = value.parse().ok()?,
                "claim" => keys.push(value.parse().ok()?),
                _ => {}
            }
        }
        Some(Died { seat: seat?, pid: pid?, label: label.to_owned(), reserved, claims, keys })
    }

    /// Returns the payload, with as many keys as an event of `largest` bytes has room for.
    pub(crate) fn to_text(&self, largest: usize) -> String {
        let mut text = format!("seat {}\npid {}\n", self.seat, self.pid);
        if let Some(id) = self.reserved {
            let _ = writeln!(text, "reserved {id}");
        }
        let _ = writeln!(text, "claims {}", self.claims);
        let room = largest.saturating_sub(OTHER_BYTES) / CLAIM_LINE_BYTES;
        for key in self.keys.iter().take(room.min(MOST_LISTED)) {
            let _ = writeln!(text, "claim {key}");
        }
        text + "label " + &self.label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let keys: Vec<_> = (0..100).map(|key| KeyHash([key, u64::MAX])).collect();
        for label in ["", "web-1", "label label x\nseat 7\n"] {
            for (reserved, claims) in [(None, 0), (Some(u64::MAX), 2), (Some(0), 100)] {
                let keys = keys[..claims].to_vec();
                let died = Died {
                    seat: 65_535,
                    pid: 4_194_304,
                    label: label.to_owned(),
                    reserved,
                    claims: claims as u64,
                    keys,
                };
                let mut read = Died::parse(died.to_text(1 << 20).as_bytes()).unwrap();
                assert_eq!(read.keys, died.keys[..claims.min(MOST_LISTED)]);
                read.keys.clone_from(&died.keys);
                assert_eq!(read, died);
            }
        }
    }

    #[test]
    fn a_small_ring_leaves_keys_out() {
        let died = Died {
            seat: 65_535,
            pid: 4_194_304,
            label: "x".repeat(48),
            reserved: Some(u64::MAX),
            claims: u64::MAX,
            keys: vec![KeyHash([0, 0]); 64],
        };
        for largest in 256..4096 {
            let text = died.to_text(largest);
            assert!(text.len() + 48 <= largest, "{} of {largest} bytes", text.len());
            assert_eq!(Died::parse(text.as_bytes()).unwrap().claims, u64::MAX);
        }
    }

    #[test]
    fn g10_other_bytes_are_no_news() {
        for bad in ["", "label x", "seat 1\npid 2\n", "seat 1\nlabel x", "seat x\npid 2\nlabel x", "seat\nlabel x"] {
            assert_eq!(Died::parse(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Died::parse(b"seat 1\npid 2\nclaim 7\nlabel x"), None, "a hash is 32 digits");
        assert_eq!(Died::parse(b"seat 1\npid 2\nlabel \xff"), None);
        assert!(Died::parse(b"seat 1\npid 2\nnewer 7\nlabel x").is_some(), "a later version may say more");
    }
}
