//! Random numbers from a seed.

#[derive(Clone, Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(fastrand::Rng::with_seed(seed))
    }

    /// Returns a separate generator for each of `numbers`.
    pub fn of(numbers: &[u64]) -> Rng {
        Rng::new(numbers.iter().fold(0, |hash, &number| mix(hash ^ mix(number))))
    }

    pub fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Returns a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.u64(..bound)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }
}

/// Always the same for a number, and far from the values of neighbouring numbers.
pub fn mix(number: u64) -> u64 {
    Rng::new(number).next()
}
