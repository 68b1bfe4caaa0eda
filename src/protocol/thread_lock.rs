//! A lock between the threads of one process, for operations that take nanoseconds: a post, a claim.
//!
//! Unlocking is a plain store. A `std::sync::Mutex` needs a second exchange there, to learn whether a thread sleeps.
//! Here no thread sleeps until it is woken: if a thread finds the lock taken for longer, because the holder was
//! preempted, it looks again every few microseconds. Where users' code may run under the lock, in a poll, no thread
//! waits: others only try. A panic under the lock leaves nothing half done.
//!
//! A holder may lend a part of the value to itself and release the lock: for users' code that writes a payload, piece
//! by piece. It comes back for each piece. A thread that takes the lock in the meantime takes the part back first, and
//! waits for nobody.
//!
//! ```text
//!          lock                  lend
//! FREE ------------> HELD ----------------> LENT
//!      <------------      <----------------
//!        drop               resume; or lock, which takes back
//! ```

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::{self, AtomicU32, Ordering};

const FREE: u32 = 0;
const HELD: u32 = 1;
/// No thread holds the lock, and a part of the value is lent.
const LENT: u32 = 2;

/// A value of which a part may be lent.
pub(crate) trait Lend {
    /// Takes back what is lent: the next holder needs it.
    fn take_back(&mut self) {}
}

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

    /// Returns `None` if any thread holds the lock, including this one, or if a part of the value is lent.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Locked<'_, T>> {
        // Acquire: pairs with the release of the previous holder.
        let taken = self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Locked(self, PhantomData))
    }

    /// Takes the lock if the value is as its holder left it when it lent a part: nobody has taken that back.
    #[inline]
    pub(crate) fn resume(&self) -> Option<Locked<'_, T>> {
        // Acquire: pairs with the release of `lend`.
        let taken = self.state.compare_exchange(LENT, HELD, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then(|| Locked(self, PhantomData))
    }
}

impl<T: Lend> Lock<T> {
    /// Waits for as long as the lock is held. Nothing is lent afterwards.
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
            if let Some(mut locked) = self.resume() {
                locked.take_back();
                return locked;
            }
            sync::pause(looks);
            looks = looks.saturating_add(1);
            if let Some(locked) = self.try_lock() {
                return locked;
            }
        }
    }
}

impl<T> Locked<'_, T> {
    /// Releases the lock, and keeps a part of the value, which the value knows of.
    #[inline]
    pub(crate) fn lend(self) {
        let lock = ManuallyDrop::new(self).0;
        // Release: the next holder sees everything that was done to the value.
        lock.state.store(LENT, Ordering::Release);
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
