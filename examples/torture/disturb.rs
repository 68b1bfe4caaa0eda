//! Kills and stops processes at random, some of them next to an atomic instruction.

use std::time::{Duration, Instant};

use seqcast_testkit::process::Child;

use crate::aim;
use crate::rng::Rng;

/// What was done to the processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disturbed {
    pub kills: u64,
    pub stops: u64,
}

/// The processes, and how they are disturbed.
pub struct Victims<'a> {
    /// For messages.
    pub name: &'a str,
    pub count: usize,
    /// Starts a process, from its number and a seed, also in place of one that was killed.
    pub start: &'a dyn Fn(usize, u64) -> Child,
    /// Returns the bound on the length of a stop, in microseconds.
    pub longest_stop: fn(&mut Rng) -> u64,
}

impl Victims<'_> {
    /// Disturbs them for `length`, while `goes_on` returns `true`. Returns those that live then. If one has ended by
    /// itself, it is missing.
    pub fn disturb(&self, rng: &mut Rng, length: Duration, goes_on: impl Fn() -> bool) -> (Vec<Child>, Disturbed) {
        let mut disturbed = Disturbed::default();
        let mut processes: Vec<(usize, Child)> =
            (0..self.count).map(|number| (number, (self.start)(number, rng.next()))).collect();
        let end = Instant::now() + length;
        while Instant::now() < end && goes_on() && !crate::conductor::is_interrupted() {
            std::thread::sleep(Duration::from_micros(rng.below(3000)));
            let (number, child) = processes.swap_remove(rng.below(self.count as u64) as usize);
            let held = rng.one_in(2).then(|| aim::hold(&child, rng));
            if let Some(Err(status)) = held {
                child.buried();
                eprintln!("torture: {}: a process has ended: {status}", self.name);
                break;
            }
            if rng.one_in(2) {
                child.kill();
                disturbed.kills += 1;
                processes.push((number, (self.start)(number, rng.next())));
                continue;
            }
            match held {
                // When it is released, it stops at once.
                Some(Ok(held)) => held.detach(libc::SIGSTOP),
                _ => child.signal(libc::SIGSTOP),
            }
            disturbed.stops += 1;
            let most = (self.longest_stop)(rng);
            std::thread::sleep(Duration::from_micros(rng.below(most)));
            child.go_on();
            processes.push((number, child));
        }
        (processes.into_iter().map(|(_, child)| child).collect(), disturbed)
    }
}
