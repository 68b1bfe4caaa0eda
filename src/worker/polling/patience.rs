//! The bound for a poll's waits at reserved ids.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::sys;

/// The bound for a poll's waits at reserved ids.
#[derive(Clone, Copy)]
pub(crate) enum Wait<'a> {
    /// The poll does not wait.
    Never,
    /// All waits of the poll together last at most `wait_max`.
    Bounded,
    /// The same, and the waits end when the flag is set.
    BoundedUntil(&'a AtomicBool),
}

impl Wait<'_> {
    pub(super) fn is_stopped(self) -> bool {
        match self {
            Wait::Never | Wait::Bounded => false,
            // Acquire: with what the thread that stops the poll stored before.
            Wait::BoundedUntil(stop) => stop.load(Ordering::Acquire),
        }
    }
}

/// The rest of a poll's `wait_max`.
pub(crate) struct Patience<'a> {
    pub(super) wait: Wait<'a>,
    left_ns: u64,
    /// The beginning of the present wait.
    waits_since: Option<u64>,
}

impl Patience<'_> {
    pub(super) fn of(wait: Wait<'_>, wait_max_ns: u64) -> Patience<'_> {
        let left_ns = if matches!(wait, Wait::Never) { 0 } else { wait_max_ns };
        Patience { wait, left_ns, waits_since: None }
    }

    /// Returns how long the poll may wait from `now` on, in nanoseconds.
    pub(super) fn waits(&mut self, now: u64) -> u64 {
        let since = *self.waits_since.get_or_insert(now);
        self.left_ns.saturating_sub(now.saturating_sub(since))
    }

    /// Ends the present wait.
    #[inline]
    pub(super) fn goes_on(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.left_ns = self.left_ns.saturating_sub(sys::boottime_ns().saturating_sub(since));
        }
    }
}
