//! How long a poll waits at reserved ids.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::sys;

/// How long a poll waits at reserved ids.
#[derive(Clone, Copy)]
pub(crate) enum Wait<'a> {
    /// Not at all.
    Never,
    /// For `wait_max`, all waits of the poll together.
    Bounded,
    /// The same, until it is set.
    BoundedUntil(&'a AtomicBool),
}

impl Wait<'_> {
    pub(super) fn is_stopped(self) -> bool {
        match self {
            Wait::Never | Wait::Bounded => false,
            // Acquire: as elsewhere for the word, which is not ours.
            Wait::BoundedUntil(stop) => stop.load(Ordering::Acquire),
        }
    }
}

/// What a poll has left of its `wait_max`.
pub(crate) struct Patience<'a> {
    pub(super) wait: Wait<'a>,
    left_ns: u64,
    /// Since when it waits, if it does.
    waits_since: Option<u64>,
}

impl Patience<'_> {
    pub(super) fn of(wait: Wait<'_>, wait_max_ns: u64) -> Patience<'_> {
        let left_ns = if matches!(wait, Wait::Never) { 0 } else { wait_max_ns };
        Patience { wait, left_ns, waits_since: None }
    }

    /// How long it may wait from `now` on.
    pub(super) fn waits(&mut self, now: u64) -> u64 {
        let since = *self.waits_since.get_or_insert(now);
        self.left_ns.saturating_sub(now.saturating_sub(since))
    }

    /// Says that it does not wait any more.
    #[inline]
    pub(super) fn goes_on(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.left_ns = self.left_ns.saturating_sub(sys::boottime_ns().saturating_sub(since));
        }
    }
}
