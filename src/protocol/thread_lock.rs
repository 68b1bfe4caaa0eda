//! A lock between the threads of one process, for operations that take nanoseconds: a post, a claim.
//!
//! Unlocking is a plain store. A `std::sync::Mutex` needs a second exchange there, to learn whether a thread sleeps.
//! Here no thread sleeps until it is woken: if a thread finds the lock taken for longer, because the holder was
//! preempted, it looks again every few microseconds. Where users' code may run under the lock, in a poll, no thread
//! waits: others only try. A panic under the lock leaves nothing half done.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::{self, AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;

/// A value for one thread at a time.
pub(crate) struct Lock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: `value` is reached only through a `Locked`, and there is only one at a time: the next is created after the
// release store of the previous one. So a `Lock` only moves the value between threads.
unsafe impl<T: Send> Sync for Lock<T> {}

// A panic under the lock leaves the value valid.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

/// The right to use the value; other threads see it like a `&mut T`.
pub(crate) struct Locked<'a, T>(&'a Lock<T>, PhantomData<&'a mut T>);

impl<T> Lock<T> {
    /// `state` is 0.
    pub(crate) fn new(state: AtomicU32, value: T) -> Lock<T> {
        Lock { state, value: UnsafeCell::new(value) }
    }

    /// Returns `None` if any thread holds the lock, including this one.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Locked<'_, T>> {
        // Acquire: pairs with the release of the previous holder.
        let taken = self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Locked(self, PhantomData))
    }

    /// Waits for as long as the lock is held.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        match self.try_lock() {
            Some(locked) => locked,
            None => self.lock_later(),
        }
    }

    #[cold]
    fn lock_later(&self) -> Locked<'_, T> {
        let mut looks = 0;
        loop {
            sync::pause(looks);
            looks = looks.saturating_add(1);
            if let Some(locked) = self.try_lock() {
                return locked;
            }
        }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this is the only `Locked` of the lock, and the value is borrowed for no longer than it.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; and `self` is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: the next holder sees everything that was done to the value.
        self.0.state.store(FREE, Ordering::Release);
    }
}
