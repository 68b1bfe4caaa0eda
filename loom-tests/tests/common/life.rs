//! Death at a chosen shared write: SIGKILL as the other processes see it.
//!
//! A killed process has made all of its shared writes up to some point and none after it. So it is enough to die
//! *before* the n-th write, for every n. The successor of a dead worker runs in the same thread of the model: the proof
//! of death, a lock that the kernel releases, orders everything the dead worker did before everything the successor
//! does, and so does program order.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

crate::sync::thread_local! {
    /// The number of shared writes that the running actor may still make.
    static LEFT: Cell<Option<u32>> = Cell::new(None);
}

struct Killed;

/// Called before every store and every read-modify-write, regardless of whether it changes the word.
pub(crate) fn about_to_write() {
    LEFT.with(|left| match left.get() {
        None => {}
        Some(0) => {
            left.set(None);
            // This does not call the panic hook, so nothing is printed.
            resume_unwind(Box::new(Killed));
        }
        Some(n) => left.set(Some(n - 1)),
    });
}

/// Runs `life` and kills it before its write number `writes`, counted from 0. Returns `None` if it died.
pub(crate) fn killed_at<T>(writes: u32, life: impl FnOnce() -> T) -> Option<T> {
    LEFT.with(|left| left.set(Some(writes)));
    let end = catch_unwind(AssertUnwindSafe(life));
    LEFT.with(|left| left.set(None));
    match end {
        Ok(value) => Some(value),
        Err(cause) if cause.is::<Killed>() => None,
        Err(failure) => resume_unwind(failure),
    }
}
