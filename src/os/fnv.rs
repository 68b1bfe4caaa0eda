//! FNV-1a (Fowler, Noll, Vo), 64 bits: a hash that is const and frozen.

/// An unfinished hash. For fingerprints and type tags, where a collision benefits no attacker.
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) const fn bytes(&mut self, bytes: &[u8]) {
        let mut i = 0;
        while i < bytes.len() {
            self.0 = (self.0 ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
            i += 1;
        }
    }

    pub(crate) const fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    pub(crate) const fn finish(&self) -> u64 {
        self.0
    }
}
