//! A lock between the threads of one process, for what takes nanoseconds: a post, a claim.
//!
//! Giving it back is a plain store. A `std::sync::Mutex` pays a second exchange there, to learn whether anybody sleeps;
//! here nobody sleeps until woken: who finds it taken for longer, because its holder was put aside in the middle, looks
//! again every few microseconds. Where users' code may run under it, which is in a poll, nobody waits: others only try. No
//! panic under it leaves anything half done.

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

// SAFETY: `value` is reached only through a `Locked`, of which there is one at a time: the next is given out after the
// release store of the one before. So a `Lock` moves the value between threads, and no more.
unsafe impl<T: Send> Sync for Lock<T> {}

// A panic under the lock leaves the value whole.
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

/// The right to use the value: to other threads it is what a `&mut T` is.
pub(crate) struct Locked<'a, T>(&'a Lock<T>, PhantomData<&'a mut T>);

impl<T> Lock<T> {
    /// `state` is 0.
    pub(crate) fn new(state: AtomicU32, value: T) -> Lock<T> {
        Lock { state, value: UnsafeCell::new(value) }
    }

    /// `None` if it is held, be it by this thread.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Locked<'_, T>> {
        // Acquire: pairs with the release of the holder before.
        let taken = self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Locked(self, PhantomData))
    }

    /// Waits for as long as it is held.
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
        // SAFETY: as in `deref`; and it is borrowed mutably itself.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: what was done to the value is done for the next holder.
        self.0.state.store(FREE, Ordering::Release);
    }
}
