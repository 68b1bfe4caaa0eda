//! Hashes of unique values.

use std::fmt;

use siphasher::sip128::SipHasher13;

use crate::error::{Error, Result};
use crate::os::pack::three_in_16_bytes;

/// The domain of a key. Keys of different domains never collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Unique events.
    Events,
    /// Claims without an event.
    Alone,
    /// Claims that the library makes itself.
    Library,
    /// Unique events that have come from the stream between the hosts, by their places in it.
    Places,
}

/// SipHash-1-3 with 128 bits (Aumasson and Bernstein). Each domain has its own key, which is a hash under the segment's
/// random key: a process without that key cannot construct values that collide, neither within a domain nor across
/// domains.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UniqueHash {
    events: [u64; 2],
    alone: [u64; 2],
    retained: [u64; 2],
    library: [u64; 2],
    segment_key: [u64; 2],
    places: [u64; 2],
}

impl UniqueHash {
    pub(crate) fn new(segment_key: [u64; 2]) -> UniqueHash {
        UniqueHash {
            events: sip_hash(segment_key, b"events"),
            alone: sip_hash(segment_key, b"alone"),
            retained: sip_hash(segment_key, b"retained"),
            library: sip_hash(segment_key, b"library"),
            segment_key,
            places: sip_hash(segment_key, b"places"),
        }
    }

    /// Returns the key that all domains' keys are made of.
    pub(crate) fn segment_key(&self) -> [u64; 2] {
        self.segment_key
    }

    /// Returns the hash that an event is retained under: of its source, name and key, of at most 255 bytes each.
    #[inline]
    pub(crate) fn hash_retained(&self, parts: [&[u8]; 3]) -> [u64; 2] {
        let Some(packed) = three_in_16_bytes(parts) else { return self.hash_long_retained(parts) };
        // As in `hash_in`, in registers. Whole words: the hash loads them right after they were stored.
        let [first, second, third] = parts.map(<[u8]>::len);
        let lens = u16::from_le_bytes([first as u8, second as u8]);
        let words = [packed << 16 | u128::from(lens), packed >> 112].map(u128::to_le_bytes);
        sip_hash(self.retained, &words.as_flattened()[..2 + first + second + third])
    }

    /// Of parts that may be long.
    #[inline(never)]
    fn hash_long_retained(&self, parts: [&[u8]; 3]) -> [u64; 2] {
        // To clear a buffer for the longest ones takes as long as the hash of short ones.
        const MOST: usize = 64;
        if parts.iter().map(|part| part.len()).sum::<usize>() <= MOST {
            self.hash_in([0; 2 + MOST], parts)
        } else {
            self.hash_in([0; 2 + 3 * u8::MAX as usize], parts)
        }
    }

    #[inline]
    fn hash_in<const N: usize>(&self, mut bytes: [u8; N], parts: [&[u8]; 3]) -> [u64; 2] {
        // The first two lengths are part of the hash, so that the parts cannot be confused.
        (bytes[0], bytes[1]) = (parts[0].len() as u8, parts[1].len() as u8);
        let mut len = 2;
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        sip_hash(self.retained, &bytes[..len])
    }

    /// Returns the hash of `value`, which must not be empty.
    #[inline]
    pub(crate) fn hash(&self, domain: Domain, value: &[u8]) -> Result<[u64; 2]> {
        check_unique(value)?;
        let key = match domain {
            Domain::Events => self.events,
            Domain::Alone => self.alone,
            Domain::Library => self.library,
            Domain::Places => self.places,
        };
        Ok(sip_hash(key, value))
    }
}

fn check_unique(value: &[u8]) -> Result<()> {
    if value.is_empty() {
        return Err(Error::option("key", "\"\"", "a unique key must have at least one byte"));
    }
    Ok(())
}

/// Returns the hash of the key of a cluster-unique event: the same on all hosts with one cluster key. It is of a domain
/// of its own, also if the cluster key is a segment's key.
pub(crate) fn hash_for_cluster(cluster_key: [u64; 2], value: &[u8]) -> Result<[u64; 2]> {
    check_unique(value)?;
    Ok(sip_hash(sip_hash(cluster_key, b"cluster"), value))
}

#[inline]
fn sip_hash(key: [u64; 2], value: &[u8]) -> [u64; 2] {
    let hash = SipHasher13::new_with_keys(key[0], key[1]).hash(value);
    [hash.h1, hash.h2]
}

/// Shows no keys. They are a secret of the workers: a process that knows them can construct values that collide.
impl fmt::Debug for UniqueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UniqueHash").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_values_segments_and_domains_are_told_apart() {
        let one = UniqueHash::new([1, 2]);
        let hash = |hash: &UniqueHash, domain, value: &[u8]| hash.hash(domain, value).unwrap();
        let own = hash(&one, Domain::Events, b"value");
        assert_eq!(own, hash(&UniqueHash::new([1, 2]), Domain::Events, b"value"));
        let others = [
            hash(&one, Domain::Alone, b"value"),
            hash(&one, Domain::Library, b"value"),
            hash(&one, Domain::Events, b"valuf"),
            hash(&one, Domain::Events, b"value\0"),
            hash(&UniqueHash::new([1, 3]), Domain::Events, b"value"),
            hash(&UniqueHash::new([2, 1]), Domain::Alone, b"value"),
        ];
        assert!(others.iter().all(|other| other[0] != own[0] && other[1] != own[1]), "{own:?} {others:?}");
        assert!(one.hash(Domain::Alone, b"").is_err());
        let retained = |source: &[u8], event: &[u8], key: &[u8]| one.hash_retained([source, event, key]);
        let own = retained(b"ab", b"cd", b"ef");
        let others = [
            retained(b"a", b"bcd", b"ef"),
            retained(b"ab", b"c", b"def"),
            retained(b"abc", b"d", b"ef"),
            retained(b"ab", b"cd", b"ef\0"),
            retained(b"ab", b"cd", b""),
            hash(&one, Domain::Alone, b"\x02\x02abcdef"),
            hash(&one, Domain::Events, b"\x02\x02abcdef"),
            UniqueHash::new([1, 3]).hash_retained([b"ab", b"cd", b"ef"]),
        ];
        assert!(others.iter().all(|other| other[0] != own[0] && other[1] != own[1]), "{own:?} {others:?}");
        assert_eq!(retained(&[b'a'; 255], &[b'b'; 255], &[b'c'; 255]).len(), 2);
        assert_eq!(format!("{one:?}"), "UniqueHash { .. }");
    }

    /// Workers of different builds share a segment, so a change of the hash is a change of the layout.
    #[test]
    fn g11_the_hash_is_part_of_the_layout() {
        let hash = UniqueHash::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let of = |domain| hash.hash(domain, b"user:42").unwrap();
        assert_eq!(of(Domain::Events), [548_156_696_811_508_951, 16_485_315_901_119_496_180]);
        assert_eq!(of(Domain::Alone), [1_259_397_910_026_488_885, 12_750_406_514_946_106_222]);
        let retained = hash.hash_retained([b"upstream", b"state", b"17"]);
        assert_eq!(retained, [1_572_232_438_297_110_117, 6_026_003_033_130_390_938]);
    }

    #[test]
    fn g11_a_short_key_is_hashed_as_a_long_one_is() {
        let hash = UniqueHash::new([1, 2]);
        let bytes: Vec<u8> = (0..=16).collect();
        for first in 0..=17 {
            for second in 0..=17 - first {
                let parts = [&bytes[..first], &bytes[first..first + second], &bytes[first + second..]];
                assert_eq!(hash.hash_retained(parts), hash.hash_long_retained(parts), "{parts:?}");
                let parts = [parts[0], parts[1], &[]];
                assert_eq!(hash.hash_retained(parts), hash.hash_long_retained(parts), "{parts:?}");
            }
        }
    }
}
