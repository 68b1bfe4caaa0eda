//! The locks of a segment's file: the hold on a seat, and the right to finish a file.

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

/// The byte whose lock is the right to finish a file. Locks may lie beyond a file's end, and these do.
pub(super) const CREATION_BYTE: u64 = 1 << 62;
/// The byte whose lock is the hold on seat 0; the other seats' follow.
pub(super) const SEAT_BYTES: u64 = 1 << 61;
/// The first of the bytes that are locked to prove that a lock is kept, and for nothing else.
const PROOF_BYTES: u64 = CREATION_BYTE + (1 << 61);

/// How many seats joining tries whatever they look like: so few locks are asked for faster than what seats look like.
const TRIED_FIRST: u16 = 64;
/// How often joining tries again seats that look free and are locked, so that it ends though their locker is stopped.
pub(super) const RETRIES: u32 = 50;
/// How long it waits before each time: several times what a locker needs.
const RETRY_AFTER: Duration = Duration::from_millis(1);

impl Segment {
    /// Takes a seat that nobody holds and `is_free` says yes to, which is asked while the seat is locked.
    ///
    /// The kernel keeps the locks of a file in a list that it walks for each question, so that asking for every seat
    /// takes time that grows with the square of their number. Therefore the first [`TRIED_FIRST`] seats are tried,
    /// in order, and then those that `looks_free` says yes to, which need not be true. If none can be had, all
    /// others are tried as well: a free seat is found, whatever it looks like.
    ///
    /// A seat that looks free and is locked may be so for a moment only: another process joins or leaves with it, or
    /// frees it from its dead holder. Such seats are tried again, at most [`RETRIES`] times, [`RETRY_AFTER`] apart.
    /// If nothing looks free there is no waiting.
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
            // A child that another thread forks while this one sleeps would share the description.
            drop(file);
            thread::sleep(RETRY_AFTER);
            file = self.own_description()?;
            taken = self.take_one_of(&file, mem::take(&mut locked), &mut is_free, &mut locked)?;
        }
        let Some(seat) = taken else { return Ok(None) };
        let inode = file.inode().number;
        let page = keeps.then(|| HoldingPage::of(file.as_fd()).ok()).flatten();
        // With a page the descriptor is closed here.
        let keeper = page.map_or_else(|| Keeper::Descriptor(file), Keeper::Page);
        Ok(Some((seat, SeatLock { guard, inode, seat, keeper })))
    }

    /// Locks the first of `seats` that nobody has locked and `is_free` says yes to. Those that others have go to
    /// `locked`.
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

    /// Takes `seat` for the length of a call, unless somebody holds it.
    pub(crate) fn take_seat(&self, seat: u16) -> Result<Option<ByteLock>> {
        let file = self.own_description()?;
        let taken = self.try_lock(&file, seat)?;
        Ok(taken.then_some(ByteLock { file, byte: seat_byte(seat) }))
    }

    fn try_lock(&self, file: &Descriptor, seat: u16) -> Result<bool> {
        sys::try_lock_byte(file, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_SETLK)", error))
    }

    /// Whether a lock outlives the last descriptor of its description where a page of it is mapped. That is found out
    /// once, by the lock of a byte that nobody else uses.
    fn keeps_locks_of_pages(&self) -> Result<bool> {
        let device = self.file.inode().device;
        if let Some(keeps) = LockKeeping::known(device) {
            return Ok(keeps);
        }
        let (file, byte) = (self.own_description()?, proof_byte(&self.name)?);
        // False if a reader has locked all bytes there are, or there is no memory for a page: nothing is learned by it.
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

    /// Whether anybody, this process included, holds one of `seats`.
    pub(crate) fn is_any_seat_held_of(&self, seats: RangeInclusive<u16>) -> Result<bool> {
        let (first, count) = (seat_byte(*seats.start()), seats.len() as u64);
        sys::is_any_byte_locked(self.file()?, first, count).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }

    /// Whether anybody, this process included, holds `seat`.
    pub(crate) fn is_seat_held(&self, seat: u16) -> Result<bool> {
        // The segment's own description never has a lock, so that all of them are others'.
        sys::is_byte_locked(self.file()?, seat_byte(seat)).map_err(|error| self.system("fcntl(F_OFD_GETLK)", error))
    }
}

/// The hold on a seat, by a lock that the kernel takes from the dead.
///
/// The lock belongs to an open file description that nobody else has, and ends when that does: at exit, at SIGKILL, at
/// exec. What keeps the description is not a descriptor, which any code of the process may close, but a page mapped
/// from it (see [`HoldingPage`]). Children do not have that page, so that none keeps a dead parent's seat.
///
/// Two exceptions. A child forked by another thread in the microseconds in which the lock is taken has the descriptor
/// or the page as well, and keeps the seat until it ends. And where the kernel does not keep a description for a
/// mapping, or there is no room for one, the descriptor stays: then closing it frees the seat, and children that live
/// on keep it. Such a holder is still told when another has taken its seat (`Error::from(Cause::Displaced)`).
#[derive(Debug)]
pub(crate) struct SeatLock {
    guard: ForkGuard,
    inode: u64,
    seat: u16,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Page(HoldingPage),
    Descriptor(Descriptor),
    Over,
}

impl SeatLock {
    /// Gives the seat back, as the last thing that its holder does with it. In a child forked off the holder this
    /// does nothing: there it is not the child's to give.
    pub(crate) fn release(&mut self) {
        let keeper = std::mem::replace(&mut self.keeper, Keeper::Over);
        if self.guard.is_forked() {
            return;
        }
        match keeper {
            Keeper::Page(page) => page.unmap(),
            Keeper::Descriptor(file) if file.is_ours() => {
                // If it fails, closing does the same as soon as no child shares the description.
                let _ = sys::unlock_byte(&file, seat_byte(self.seat));
            }
            Keeper::Descriptor(_) | Keeper::Over => {}
        }
    }

    /// For a holder whose seat another has taken: its lock is lost, and where its page was there may be somebody
    /// else's.
    pub(crate) fn abandon(&mut self) {
        if let Keeper::Page(page) = std::mem::replace(&mut self.keeper, Keeper::Over)
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

/// A lock on one byte, for the length of a call.
#[derive(Debug)]
pub(crate) struct ByteLock {
    pub(super) file: Descriptor,
    pub(super) byte: u64,
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        // Unlike a holder's, this lock is unlocked: a child forked off meanwhile would keep it, and no child ever uses
        // it, since the one call that has it goes on in the parent only. Not on a file that was put on its
        // number meanwhile.
        if self.file.is_ours() {
            let _ = sys::unlock_byte(&self.file, self.byte);
        }
    }
}

/// Whether the locks of an open file description outlive its last descriptor where a page of it is mapped, as it was
/// found out for one device: the device's number plus one, and the answer in the lowest bit. 0 if nothing is known.
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
        // Relaxed: a fact about the kernel, found out again where it is not seen.
        let known = LockKeeping::word().load(Ordering::Relaxed);
        (known & !LockKeeping::KEEPS == LockKeeping::of(device)).then_some(known & LockKeeping::KEEPS != 0)
    }

    fn learn(device: u64, keeps: bool) {
        LockKeeping::word().store(LockKeeping::of(device) | u64::from(keeps), Ordering::Relaxed);
    }
}

/// A byte far from all others, at random: two processes meet in one less often than once in the life of a universe.
fn proof_byte(name: &str) -> Result<u64> {
    let mut bytes = [0; 8];
    retry_on_intr(|| rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()))
        .map_err(|errno| Error::system(name, "getrandom", errno))?;
    Ok(PROOF_BYTES + (u64::from_ne_bytes(bytes) >> 4))
}

/// Whether anybody, this process included, holds a seat, be it one that `file` has or not.
pub(super) fn is_any_seat_held(name: &str, file: &Descriptor) -> Result<bool> {
    sys::is_any_byte_locked(file, SEAT_BYTES, MOST_SEATS)
        .map_err(|error| Error::system(name, "fcntl(F_OFD_GETLK)", error))
}

/// The byte whose lock is the hold on the seat.
pub(crate) fn seat_byte(seat: impl Into<u64>) -> u64 {
    SEAT_BYTES + seat.into()
}

/// The seat, there be it or not, whose lock is on the byte.
pub(crate) fn seat_of_byte(byte: u64) -> Option<u64> {
    byte.checked_sub(SEAT_BYTES).filter(|_| byte < CREATION_BYTE)
}
