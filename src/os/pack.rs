//! Short pieces of text as numbers, without a call of `memcpy` for lengths known only at run time.

/// Reads at most 7 bytes as a little-endian number.
#[inline]
pub(crate) fn up_to_7_bytes(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two loads overlap in equal bytes.
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
    }
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Reads at most 16 bytes as a little-endian number. Bytes after the 16th are left out.
#[inline]
pub(crate) fn up_to_16_bytes(bytes: &[u8]) -> u128 {
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // The two loads overlap in equal bytes.
        (Some(first), Some(last)) => {
            let last_at = 8 * (bytes.len().min(16) - 8);
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << last_at
        }
        _ => u128::from(up_to_7_bytes(bytes)),
    }
}

/// Reads three pieces, one behind the other, as a little-endian number. Returns `None` if they have more than 16 bytes
/// together.
#[inline]
pub(crate) fn three_in_16_bytes([first, second, third]: [&[u8]; 3]) -> Option<u128> {
    let second_at = first.len();
    let third_at = second_at + second.len();
    if third_at + third.len() > 16 {
        return None;
    }
    // A piece without bytes is 0, wherever it is shifted to.
    let at = |bytes, at: usize| up_to_16_bytes(bytes).wrapping_shl(8 * at as u32);
    Some(up_to_16_bytes(first) | at(second, second_at) | at(third, third_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_put_behind_each_other() {
        let bytes: Vec<u8> = (1..=17).collect();
        for first in 0..=17 {
            for second in 0..=17 - first {
                for third in 0..=17 - first - second {
                    let (head, rest) = bytes.split_at(first);
                    let (middle, rest) = rest.split_at(second);
                    let packed = three_in_16_bytes([head, middle, &rest[..third]]);
                    let len = first + second + third;
                    let mut expected = [0; 16];
                    expected.iter_mut().zip(&bytes[..len]).for_each(|(slot, &byte)| *slot = byte);
                    let expected = (len <= 16).then(|| u128::from_le_bytes(expected));
                    assert_eq!(packed, expected, "{first}, {second} and {third} bytes");
                }
            }
        }
    }
}
