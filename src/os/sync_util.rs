//! Process-local locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. What it protects is left whole by every panic: no handler runs under it, and what we do ourselves
/// under it is either done or not.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
