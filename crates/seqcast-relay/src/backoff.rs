//! How long to wait before the next attempt.

use std::time::Duration;

/// Doubles from `first` to `most`, and takes a random part of it, so that hosts which lost the server in the same
/// moment do not come back in the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// A wait that begins at `first` and never exceeds `most`.
    pub fn new(first: Duration, most: Duration) -> Backoff {
        Backoff { first, most, next: first }
    }

    /// The next wait: between half of the present bound and the bound.
    pub fn wait(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(self.most);
        bound.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Begins at the first wait again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_are_not_all_the_same() {
        let (first, most) = (Duration::from_millis(20), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, most);
        let mut bound = first;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let wait = backoff.wait();
            assert!(bound / 2 <= wait && wait <= bound, "{wait:?} of {bound:?}");
            bound = (bound * 2).min(most);
            seen.insert(wait);
        }
        assert!(bound == most && seen.len() > 10, "{seen:?}");
        backoff.reset();
        assert!(backoff.wait() <= first);
    }
}
