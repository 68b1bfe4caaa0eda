//! Interrupts an actor before a chosen access, and runs other actors meanwhile.
//!
//! This tries a single preemption, for operations that are too long for a model checker. It tries every access of an
//! operation, and runs the whole lives of other actors there, including their deaths. Memory is sequentially consistent
//! here.

use std::cell::{Cell, RefCell};

type Interruption = Box<dyn FnOnce()>;

thread_local! {
    /// Accesses until the interruption.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    static INTERRUPTION: RefCell<Option<Interruption>> = const { RefCell::new(None) };
}

/// Called before every access to a shared word.
pub(crate) fn about_to_access() {
    match LEFT.get() {
        None => {}
        Some(0) => {
            LEFT.set(None);
            let interruption = INTERRUPTION.take().expect("an interruption is set with its time");
            interruption();
        }
        Some(left) => LEFT.set(Some(left - 1)),
    }
}

/// Runs `operation` and interrupts it before its access number `access`, counted from 0. If the operation makes fewer
/// accesses, runs `interruption` after it and returns `Err`.
pub(crate) fn interrupted_at<T>(
    access: u32,
    interruption: impl FnOnce() + 'static,
    operation: impl FnOnce() -> T,
) -> Result<T, T> {
    INTERRUPTION.set(Some(Box::new(interruption)));
    LEFT.set(Some(access));
    let result = operation();
    LEFT.set(None);
    match INTERRUPTION.take() {
        None => Ok(result),
        Some(late) => {
            late();
            Err(result)
        }
    }
}
