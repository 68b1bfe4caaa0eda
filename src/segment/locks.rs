//! The locks on a segment's file: the hold on a seat, and the right to finish a file.

use std::mem;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::io::retry_on_intr;

use super::Segment;
use super::geometry::MOST_SEATS;
use crate::error::{Error, Result};
use crate::os::descriptor::Descriptor;
use crate::os::fork::ForkGuard;
use crate::os::mapping::HoldingPage;
use crate::os::sys;
use crate::sync::{AtomicU64, Ordering};

/// The byte whose lock gives the right to finish a file. Locks may lie beyond the end of the file, as these do.
pub(super) const CREATION_BYTE: u64 = 1 << 62;
/// The byte whose lock is the hold on seat 0. The bytes of the other seats follow.
pub(super) const SEAT_BYTES: u64 = 1 << 61;
/// The byte whose lock is the hold on the place of the relay.
const RELAY_BYTE: u64 = CREATION_BYTE + 1;
/// The first of the bytes that are locked only to test how the kernel keeps locks.
const PROOF_BYTES: u64 = CREATION_BYTE + (1 << 61);

/// How many seats a join tries without checking if they look free: for so few seats, locking is faster than checking.
const TRIED_FIRST: u16 = 64;
/// How often a join retries seats that look free but are locked. It is bounded because the locker may be stopped.
pub(super) const RETRIES: u32 = 50;
/// The wait before each retry: several times as long as a locker needs.
const RETRY_AFTER: Duration = Duration::from_millis(1);

impl Segment {
    /// Takes a seat that is not held and for which `is_free` returns `true`. `is_free` is called while the seat is
    /// locked.
    ///
    /// The kernel walks the list of a file's locks for each query, so the time to query every seat grows with the
    /// square of their number. Therefore this tries the first [`TRIED_FIRST`] seats in order, and then the seats for
    /// which `looks_free` returns `true`. `looks_free` may be wrong: if none of these is free, all other seats are
    /// tried, too.
    ///
    /// A seat that looks free may be locked for a moment: another process joins or leaves with it, or frees it from a
    /// dead holder. Such seats are retried at most [`RETRIES`] times, [`RETRY_AFTER`] apart. If no seat looks free,
    /// this does not wait.
    pub(crate) fn take_free_seat(
        &self,
        guard: ForkGuard,
        mut looks_free: impl FnMut(u16) -> bool,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Result<Option<(u16, SeatLock)>> {
        let keeps = self.keeps_locks_of_pages()?;
        let mut file = self.own_description()?;
        let (mut others, mut locked) = (Vec::new(), Vec::new());
        let first = (0..=self.geometry().last_seat()).filter(|&seat| {
            let is_first = seat < TRIED_FIRST || looks_free(seat);
            if !is_first {
                others.push(seat);
            }
            is_first
        });
        let mut taken = self.take_one_of(&file, first, &mut is_free, &mut locked)?;
        if taken.is_none() {
            taken = self.take_one_of(&file, others, &mut is_free, &mut locked)?;
        }
        for _ in 0..RETRIES {
            if taken.is_some() {
                break;
            }
            locked.retain(|&seat| looks_free(seat));
            if locked.is_empty() {
                break;
            }
            // A child that another thread forks during the sleep would share the description.
            drop(file);
            thread::sleep(RETRY_AFTER);
            file = self.own_description()?;
            taken = self.take_one_of(&file, mem::take(&mut locked), &mut is_free, &mut locked)?;
        }
        let Some(seat) = taken else { return Ok(None) };
        Ok(Some((seat, SeatLock::of(guard, file, seat_byte(seat), keeps))))
    }

    /// Takes the place of the relay. Returns `None` if a process, this one included, has it.
    pub(crate) fn take_relay(&self, guard: ForkGuard) -> Result<Option<SeatLock>> {
        let keeps = self.keeps_locks_of_pages()?;
        let file = self.own_description()?;
        let taken = sys::try_lock_byte(&file, RELAY_BYTE).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))?;
        Ok(taken.then(|| SeatLock::of(guard, file, RELAY_BYTE, keeps)))
    }

    /// Returns `true` if a process, this one included, holds the place of the relay.
    pub(crate) fn is_relay_held(&self) -> Result<bool> {
        sys::is_byte_locked(self.file()?, RELAY_BYTE).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Locks the first of `seats` that is not locked and for which `is_free` returns `true`. Adds seats that others
    /// have locked to `locked`.
    fn take_one_of(
        &self,
        file: &Descriptor,
        seats: impl IntoIterator<Item = u16>,
        is_free: &mut impl FnMut(u16) -> bool,
        locked: &mut Vec<u16>,
    ) -> Result<Option<u16>> {
        for seat in seats {
            if !self.try_lock(file, seat)? {
                locked.push(seat);
            } else if is_free(seat) {
                return Ok(Some(seat));
            } else {
                let _ = sys::unlock_byte(file, seat_byte(seat));
            }
        }
        Ok(None)
    }

    /// Locks `seat` until the result is dropped. Returns `None` if it is held.
    pub(crate) fn take_seat(&self, seat: u16) -> Result<Option<ByteLock>> {
        let file = self.own_description()?;
        let taken = self.try_lock(&file, seat)?;
        Ok(taken.then_some(ByteLock { file, byte: seat_byte(seat) }))
    }

    fn try_lock(&self, file: &Descriptor, seat: u16) -> Result<bool> {
        sys::try_lock_byte(file, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))
    }

    /// Returns `true` if a lock outlives the last descriptor of its description while a page of that description is
    /// mapped. This is tested once, with a lock on a byte that no other process uses.
    fn keeps_locks_of_pages(&self) -> Result<bool> {
        let device = self.file.inode().device;
        if let Some(keeps) = LockKeeping::known(device) {
            return Ok(keeps);
        }
        let (file, byte) = (self.own_description()?, proof_byte(&self.name)?);
        // If a reader has locked all bytes, or if there is no memory for a page, the test says nothing.
        if !sys::try_lock_byte(&file, byte).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))? {
            return Ok(false);
        }
        let Ok(page) = HoldingPage::of(file.as_fd()) else { return Ok(false) };
        drop(file);
        let keeps = self.file().map(|own| sys::is_byte_locked(own, byte));
        page.unmap();
        let keeps = keeps?.map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))?;
        LockKeeping::learn(device, keeps);
        Ok(keeps)
    }

    /// Returns `true` if a process, this one included, holds one of `seats`.
    pub(crate) fn is_any_seat_held_of(&self, seats: RangeInclusive<u16>) -> Result<bool> {
        let (first, count) = (seat_byte(*seats.start()), seats.len() as u64);
        sys::is_any_byte_locked(self.file()?, first, count).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Returns `true` if a process, this one included, holds `seat`.
    pub(crate) fn is_seat_held(&self, seat: u16) -> Result<bool> {
        // The segment's own description never holds a lock, so any lock belongs to another description.
        sys::is_byte_locked(self.file()?, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }
}

/// The hold on a seat, or on the place of the relay: a lock that the kernel releases when the holder dies.
///
/// The lock belongs to an open file description that is not shared, and ends with it: at exit, SIGKILL or exec. The
/// description is kept open by a page mapped from it (see [`HoldingPage`]), not by a descriptor, which any code of the
/// process may close. Children do not inherit the page, so no child keeps the seat of a dead parent.
///
/// There are two exceptions. A child that another thread forks in the microseconds in which the lock is taken inherits
/// the descriptor or the page, and keeps the seat until it ends. If the kernel does not keep a description open for a
/// mapping, or if there is no memory for the page, the descriptor stays open: then closing it frees the seat, and
/// children that outlive the holder keep the seat. Such a holder still gets an error when another process has taken its
/// seat (`Cause::Displaced`).
#[derive(Debug)]
pub(crate) struct SeatLock {
    guard: ForkGuard,
    inode: u64,
    byte: u64,
    anchor: Anchor,
}

/// Keeps the open file description of the lock alive.
#[derive(Debug)]
enum Anchor {
    Page(HoldingPage),
    Descriptor(Descriptor),
    /// The lock was released or abandoned.
    Over,
}

impl SeatLock {
    /// Keeps the lock that the description of `file` has on `byte`. `keeps`: a page can keep it.
    fn of(guard: ForkGuard, file: Descriptor, byte: u64, keeps: bool) -> SeatLock {
        let inode = file.inode().number;
        let page = keeps.then(|| HoldingPage::of(file.as_fd()).ok()).flatten();
        // If there is a page, the descriptor is closed here.
        let anchor = page.map_or_else(|| Anchor::Descriptor(file), Anchor::Page);
        SeatLock { guard, inode, byte, anchor }
    }

    /// Frees the seat. This is the holder's last use of it. In a forked child it does nothing, because the seat is the
    /// parent's.
    pub(crate) fn release(&mut self) {
        let anchor = std::mem::replace(&mut self.anchor, Anchor::Over);
        if self.guard.is_forked() {
            return;
        }
        match anchor {
            Anchor::Page(page) => page.unmap(),
            Anchor::Descriptor(file) if file.is_ours() => {
                // If this fails, closing the descriptor frees the lock as soon as no child shares the description.
                let _ = sys::unlock_byte(&file, self.byte);
            }
            Anchor::Descriptor(_) | Anchor::Over => {}
        }
    }

    /// Forgets the lock of a displaced holder. The lock is lost, and other code may have mapped something else where
    /// the page was.
    pub(crate) fn abandon(&mut self) {
        if let Anchor::Page(page) = std::mem::replace(&mut self.anchor, Anchor::Over)
            && !self.guard.is_forked()
            && sys::inode_mapped_at(page.address()) == Some(self.inode)
        {
            page.unmap();
        }
    }
}

impl Drop for SeatLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// A lock on one byte, for the duration of a call.
#[derive(Debug)]
pub(crate) struct ByteLock {
    pub(super) file: Descriptor,
    pub(super) byte: u64,
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        // Unlocked explicitly, unlike a holder's lock: a child forked in the meantime would keep the lock, and no child
        // ever uses it, because the call continues only in the parent. Not unlocked if another file has taken the
        // descriptor's number in the meantime.
        if self.file.is_ours() {
            let _ = sys::unlock_byte(&self.file, self.byte);
        }
    }
}

/// The result of the test in `keeps_locks_of_pages`, for one device: the device number plus one, with the result in the
/// lowest bit. 0 if it is unknown.
struct LockKeeping;

impl LockKeeping {
    const KEEPS: u64 = 1;

    fn word() -> &'static AtomicU64 {
        static KNOWN: AtomicU64 = AtomicU64::new(0);
        &KNOWN
    }

    fn of(device: u64) -> u64 {
        device.wrapping_add(1) << 1
    }

    fn known(device: u64) -> Option<bool> {
        // Relaxed: it is a property of the kernel. A thread that does not see the value repeats the test.
        let known = LockKeeping::word().load(Ordering::Relaxed);
        (known & !LockKeeping::KEEPS == LockKeeping::of(device)).then_some(known & LockKeeping::KEEPS != 0)
    }

    fn learn(device: u64, keeps: bool) {
        LockKeeping::word().store(LockKeeping::of(device) | u64::from(keeps), Ordering::Relaxed);
    }
}

/// Returns a random byte far from all others. The chance that two processes choose the same one is negligible (2^-60).
fn proof_byte(name: &str) -> Result<u64> {
    let mut bytes = [0; 8];
    retry_on_intr(|| rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()))
        .map_err(|errno| Error::system(name, "getrandom", errno))?;
    Ok(PROOF_BYTES + (u64::from_ne_bytes(bytes) >> 4))
}

/// Returns `true` if a process, this one included, holds any seat, also one beyond the number of seats of `file`.
pub(super) fn is_any_seat_held(name: &str, file: &Descriptor) -> Result<bool> {
    sys::is_any_byte_locked(file, SEAT_BYTES, MOST_SEATS)
        .map_err(|error| Error::system(name, "fcntl(F_OFD_GETLK)", error))
}

/// Returns the byte whose lock is the hold on the seat.
pub(crate) fn seat_byte(seat: impl Into<u64>) -> u64 {
    SEAT_BYTES + seat.into()
}

/// Returns the seat whose lock is on the byte. The segment may have fewer seats.
pub(crate) fn seat_of_byte(byte: u64) -> Option<u64> {
    byte.checked_sub(SEAT_BYTES).filter(|_| byte < CREATION_BYTE)
}
