//! The hash chain of the stream.
//!
//! Each entry holds a hash of the entry before it and of what it adds. A reader at one entry that is handed the next
//! one can therefore tell that the stream's past is still what the reader has read, or that it was rewritten.

use std::fmt;

use sha1_smol::Sha1;

/// The hash of an entry and of everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Chain(pub u64);

/// What an entry adds to the stream, apart from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The origin of the entry's events.
    pub origin: u64,
    /// The id after the last event of the entry.
    pub next: u64,
    /// The number of events.
    pub count: u32,
}

impl Chain {
    /// The chain before the first entry of a timeline.
    pub fn begin(timeline: u64) -> Chain {
        first_half(&Sha1::from(timeline.to_string()))
    }

    /// The chain of the entry that follows.
    #[must_use]
    pub fn with(self, added: Added) -> Chain {
        first_half(&Sha1::from(format!("{self}{added}")))
    }
}

/// The first 64 bits of the 160.
fn first_half(sha1: &Sha1) -> Chain {
    let bytes = sha1.digest().bytes();
    Chain(bytes[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

/// Also the text of an entry's field `k`.
impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{}", self.origin, self.next, self.count)
    }
}

impl Added {
    /// Reads the text form. Returns `None` if the text is not one.
    pub fn parse(text: &[u8]) -> Option<Added> {
        let text = std::str::from_utf8(text).ok()?;
        let count = text.get(32..)?;
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Added { origin: hex16(text.get(..16)?)?, next: hex16(text.get(16..32)?)?, count: count.parse().ok()? })
    }
}

/// Reads exactly 16 hexadecimal digits.
pub(crate) fn hex16(text: &str) -> Option<u64> {
    let plausible = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| plausible)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r6_every_part_of_an_entry_changes_its_chain() {
        let added = Added { origin: 1, next: 2, count: 3 };
        let chain = Chain::begin(1_700_000_000_000);
        let others = [
            Chain::begin(1_700_000_000_001).with(added),
            chain.with(Added { origin: 2, ..added }),
            chain.with(Added { next: 3, ..added }),
            chain.with(Added { count: 4, ..added }),
            chain.with(added).with(added),
        ];
        for other in others {
            assert_ne!(other, chain.with(added));
        }
        // sha1("1700000000000") begins so; the script computes the same.
        assert_eq!(Chain::begin(1_700_000_000_000), first_half(&Sha1::from("1700000000000")));
    }

    proptest! {
        #[test]
        fn r10_a_text_is_read_as_it_was_written_or_not_at_all(
            origin: u64, next: u64, count: u32, cut in 0usize..32, junk: Vec<u8>,
        ) {
            let added = Added { origin, next, count };
            let text = added.to_string();
            prop_assert_eq!(Added::parse(text.as_bytes()), Some(added));
            prop_assert_eq!(Added::parse(&text.as_bytes()[..cut]), None);
            if let Some(read) = Added::parse(&junk) {
                prop_assert_eq!(Added::parse(read.to_string().as_bytes()), Some(read));
            }
        }
    }
}
