//! How an event changes what the hosts retain.

use std::time::Duration;

use sha1_smol::Sha1;

use crate::batch::{Event, Item, Kept};

/// The largest payload that is retained between hosts, in bytes.
pub const MOST_BYTES: usize = 64 << 10;

/// What a retained event, or a clear, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The hash of source, event and key: the same on all hosts.
    pub field: [u64; 2],
    /// How long the value is kept. `None`: until it is cleared.
    pub ttl: Option<Duration>,
    /// `true` if nothing is kept any more.
    pub clears: bool,
}

impl Retention {
    /// What this item does. `None` if it is not a retained event.
    pub fn of(item: &Item<'_>) -> Option<Retention> {
        let Item::Event(Event { source, event, kept: Some(Kept { key, ttl, clears }), .. }) = item else {
            return None;
        };
        let field = field([source.as_bytes(), event.as_bytes(), key]);
        Some(Retention { field, ttl: *ttl, clears: *clears })
    }
}

/// The first 128 bits of a hash of the names and the key, each with its length.
fn field(parts: [&[u8]; 3]) -> [u64; 2] {
    let mut sha1 = Sha1::new();
    for part in parts {
        sha1.update(&(part.len() as u64).to_le_bytes());
        sha1.update(part);
    }
    let bytes = sha1.digest().bytes();
    let word = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    [word(&bytes[..8]), word(&bytes[8..16])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_names_and_keys_that_differ_have_fields_that_differ() {
        let parts: [[&[u8]; 3]; 5] =
            [[b"a", b"b", b"c"], [b"ab", b"", b"c"], [b"a", b"bc", b""], [b"a", b"", b"bc"], [b"", b"ab", b"c"]];
        for (index, one) in parts.iter().enumerate() {
            for other in &parts[index + 1..] {
                assert_ne!(field(*one), field(*other));
            }
        }
        assert_eq!(field(parts[0]), field(parts[0]));
    }
}
