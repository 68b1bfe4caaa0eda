//! Sources of arbitrary values: a fuzzer's bytes, or a seeded generator.

/// A source of arbitrary values.
pub trait Draw {
    /// Returns the next byte.
    fn byte(&mut self) -> u8;

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Returns a number below `bound`, which is not 0. Takes as few bytes as that needs.
    fn below(&mut self, bound: u64) -> u64 {
        match bound {
            0..=0x100 => u64::from(self.byte()) % bound,
            0x101..=0x1_0000 => u64::from(self.u16()) % bound,
            _ => self.u64() % bound,
        }
    }

    /// Returns `true` with a probability of one in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Returns at most `most` bytes.
    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// Returns at most `most` characters, some of them long.
    fn text(&mut self, most: u64) -> String {
        let mut text = String::new();
        for _ in 0..self.below(most + 1) {
            text.push(match self.byte() {
                byte @ 0..=0xef => char::from(byte),
                byte => char::from_u32(0x1_f600 + u32::from(byte & 0xf)).unwrap_or('?'),
            });
        }
        text
    }
}

/// A fuzzer's bytes; zeros after their end.
#[derive(Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all remaining bytes.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

impl Draw for Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
}

/// A seeded generator: the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }
}

impl Draw for Random {
    fn byte(&mut self) -> u8 {
        self.0.u8(..)
    }

    fn u16(&mut self) -> u16 {
        self.0.u16(..)
    }

    fn u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}
