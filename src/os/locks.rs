//! Process-local locks.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

/// Locks `mutex`. A panic never leaves its value half changed: no handler runs under the lock, and our own changes
/// under it are made completely or not at all.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lock that can tell whether it is held, without waiting.
pub(crate) trait IsHeld {
    /// Returns `true` if a thread holds it, to read or to write.
    fn is_held(&self) -> bool;
}

impl<T> IsHeld for Mutex<T> {
    fn is_held(&self) -> bool {
        matches!(self.try_lock(), Err(TryLockError::WouldBlock))
    }
}

impl<T> IsHeld for RwLock<T> {
    fn is_held(&self) -> bool {
        matches!(self.try_write(), Err(TryLockError::WouldBlock))
    }
}

/// A lock's value that is dropped only if no thread holds the lock; otherwise it is leaked.
///
/// When the owner is dropped, only a thread of the parent process that held the lock at the fork can still hold it.
/// That thread does not exist here. The value that it was changing stays half changed and must not be touched.
pub(crate) struct DroppedUnlessHeld<L: IsHeld>(ManuallyDrop<L>);

impl<L: IsHeld> DroppedUnlessHeld<L> {
    pub(crate) fn new(lock: L) -> DroppedUnlessHeld<L> {
        DroppedUnlessHeld(ManuallyDrop::new(lock))
    }
}

impl<L: IsHeld> Deref for DroppedUnlessHeld<L> {
    type Target = L;

    #[inline]
    fn deref(&self) -> &L {
        &self.0
    }
}

impl<L: IsHeld> Drop for DroppedUnlessHeld<L> {
    fn drop(&mut self) {
        if !self.0.is_held() {
            // SAFETY: it is dropped only here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::protocol::thread_lock::Lock;

    #[test]
    fn g12_what_a_lock_protects_is_dropped_unless_the_lock_is_held() {
        let value = Arc::new(());
        let locks = || {
            let lock = Lock::new(AtomicU32::new(0), Arc::clone(&value));
            (lock, Mutex::new(Arc::clone(&value)), RwLock::new(Arc::clone(&value)))
        };
        let (lock, mutex, rw_lock) = locks();
        drop((DroppedUnlessHeld::new(lock), DroppedUnlessHeld::new(mutex), DroppedUnlessHeld::new(rw_lock)));
        assert_eq!(Arc::strong_count(&value), 1);
        // Simulates a thread that no longer exists.
        let (lock, mutex, rw_lock) = locks();
        std::mem::forget((lock.try_lock().unwrap(), mutex.lock().unwrap(), rw_lock.read().unwrap()));
        drop((DroppedUnlessHeld::new(lock), DroppedUnlessHeld::new(mutex), DroppedUnlessHeld::new(rw_lock)));
        assert_eq!(Arc::strong_count(&value), 4, "what was being changed was dropped");
        let (_, mutex, rw_lock) = locks();
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _held = (mutex.lock().unwrap(), rw_lock.write().unwrap());
                std::panic::resume_unwind(Box::new("under the locks"));
            });
            assert!(panics.join().is_err());
        });
        drop((DroppedUnlessHeld::new(mutex), DroppedUnlessHeld::new(rw_lock)));
        assert_eq!(Arc::strong_count(&value), 4, "a panic is no holder");
    }
}
