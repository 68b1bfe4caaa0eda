//! Handles: numbers that look like pointers and are looked up in a table.
//!
//! ```text
//! handle   46 ..... 19 18 ... 3 2 .. 0
//!          [generation][ index ][kind]      at least 1, so never null; no generation is used twice
//!
//! slot     63 ......... 32 31 .. 2 1 .... 0
//!          [generation: 32][users ][status]
//! ```
//!
//! A call enters a slot by one compare-exchange that checks generation, status and users together. So a call with a
//! handle that another thread frees either comes first or gives an error. Nothing here waits or locks: a child that is
//! forked during another thread's call finds the slot taken, and gets an error for inherited handles.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::failure::seqcast_error::{SEQCAST_E_HANDLE, SEQCAST_E_IN_USE, SEQCAST_E_PANIC, SEQCAST_E_TOO_MANY_HANDLES};
use crate::failure::{Failure, Result};

const KIND_BITS: u32 = 3;
const INDEX_BITS: u32 = 16;
/// Handles are less than 2^47, as addresses are: some languages keep no more bits of a pointer.
const GENERATION_BITS: u32 = 28;

const CHUNK: usize = 64;
const CHUNKS: usize = (1 << INDEX_BITS) / CHUNK;

/// The kind of a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bus = 1,
    Seat = 2,
    Stats = 3,
    Inspector = 4,
    Tail = 5,
    RetainedList = 6,
    ClaimList = 7,
}

impl Kind {
    fn of(bits: u64) -> Option<Kind> {
        let all =
            [Kind::Bus, Kind::Seat, Kind::Stats, Kind::Inspector, Kind::Tail, Kind::RetainedList, Kind::ClaimList];
        all.into_iter().find(|&kind| kind as u64 == bits & ((1 << KIND_BITS) - 1))
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::Bus => "bus",
            Kind::Seat => "seat",
            Kind::Stats => "stats",
            Kind::Inspector => "inspector",
            Kind::Tail => "tail",
            Kind::RetainedList => "list of retained events",
            Kind::ClaimList => "list of claims",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// There is no value.
    Free = 0,
    Live = 1,
    /// A call panicked.
    Poisoned = 2,
    /// The value is being stored or removed. In a child that is forked in between, the slot stays in this state.
    Changing = 3,
}

/// The word of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    generation: u32,
    users: u32,
    status: Status,
}

impl State {
    const fn bits(self) -> u64 {
        (self.generation as u64) << 32 | (self.users as u64) << 2 | self.status as u64
    }

    fn from_bits(bits: u64) -> State {
        let status = match bits & 3 {
            0 => Status::Free,
            1 => Status::Live,
            2 => Status::Poisoned,
            _ => Status::Changing,
        };
        State { generation: (bits >> 32) as u32, users: (bits as u32) >> 2, status }
    }
}

// So that no two handles share a pair of cache lines.
#[repr(align(128))]
struct Slot<T> {
    state: AtomicU64,
    /// The process that stored the value.
    pid: AtomicU32,
    value: UnsafeCell<Option<Box<T>>>,
}

/// This process's handles of one kind.
pub(crate) struct Table<T> {
    kind: Kind,
    chunks: [AtomicPtr<[Slot<T>; CHUNK]>; CHUNKS],
}

// SAFETY: a value moves from thread to thread (`Send`). `with` lends it to one thread at a time, and `share`, which
// requires `Sync`, to several.
unsafe impl<T: Send> Sync for Table<T> {}

impl<T: Send> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Table<T> {
        Table { kind, chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS] }
    }

    /// Stores `value`. Returns its handle.
    pub(crate) fn insert<H>(&self, value: T) -> Result<*mut H> {
        for index in 0..CHUNK * CHUNKS {
            let slot = self.slot_or_new(index);
            // Relaxed: the exchange checks again.
            let seen = State::from_bits(slot.state.load(Ordering::Relaxed));
            let generation = seen.generation + 1;
            if seen.status != Status::Free || generation >> GENERATION_BITS != 0 {
                continue;
            }
            let taken = State { generation, users: 0, status: Status::Changing };
            // Acquire: with the release of the removal, which comes before the store of the new value.
            let exchanged =
                slot.state.compare_exchange(seen.bits(), taken.bits(), Ordering::Acquire, Ordering::Relaxed);
            if exchanged.is_err() {
                continue;
            }
            slot.pid.store(std::process::id(), Ordering::Relaxed);
            // SAFETY: this thread has set the slot to `Changing`, so no other thread accesses the value.
            unsafe { *slot.value.get() = Some(Box::new(value)) };
            // Release: a thread that enters sees the value.
            slot.state.store(State { status: Status::Live, ..taken }.bits(), Ordering::Release);
            return Ok(self.handle(index, generation));
        }
        let (noun, most) = (self.kind.noun(), CHUNK * CHUNKS);
        let text = format!("this process has {most} handles of the kind {noun}: free those that are not needed");
        Err(Failure::new(SEQCAST_E_TOO_MANY_HANDLES, text))
    }

    /// Lends the value exclusively to the calling thread. A panic poisons the handle.
    #[inline]
    pub(crate) fn with<H, R>(&self, handle: *const H, run: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let (slot, generation) = self.find(handle)?;
        let free = State { generation, users: 0, status: Status::Live };
        let used = State { users: 1, ..free };
        // Acquire: with the release at the end of the previous call, perhaps of another thread.
        if let Err(seen) = slot.state.compare_exchange(free.bits(), used.bits(), Ordering::Acquire, Ordering::Relaxed) {
            return Err(self.refuse(slot, generation, seen));
        }
        let entered = Entered { slot, after: State { users: 0, status: Status::Poisoned, ..free } };
        // SAFETY: this thread is the only user, and the value of a `Live` slot is not removed while it has users.
        let value = unsafe { (*slot.value.get()).as_deref_mut() };
        let result = value.map(run);
        entered.leave(free);
        result.unwrap_or_else(|| Err(self.stale()))
    }

    /// Lends the value to any number of threads.
    pub(crate) fn share<H, R>(&self, handle: *const H, run: impl FnOnce(&T) -> Result<R>) -> Result<R>
    where
        T: Sync,
    {
        let (slot, generation) = self.find(handle)?;
        let enter = |bits| {
            let seen = State::from_bits(bits);
            let is_there = seen.generation == generation && seen.status == Status::Live;
            is_there.then(|| State { users: seen.users + 1, ..seen }.bits())
        };
        // Acquire: with the release of the insertion.
        if let Err(seen) = slot.state.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter) {
            return Err(self.refuse(slot, generation, seen));
        }
        let user = User(slot);
        // SAFETY: the value of a `Live` slot is not removed while it has users, and shared users do not change it.
        let value = unsafe { (*slot.value.get()).as_deref() };
        let result = value.map(run);
        drop(user);
        result.unwrap_or_else(|| Err(self.stale()))
    }

    /// Removes a handle and drops its value. Does nothing for null.
    pub(crate) fn remove<H>(&self, handle: *const H) -> Result<c_int> {
        if handle.is_null() {
            return Ok(0);
        }
        drop(self.take(handle)?);
        Ok(0)
    }

    /// Ends a handle and returns its value, or `None` in a forked child if a thread of the parent was inside a call at
    /// the fork: then the value is leaked, because that thread was changing it.
    pub(crate) fn take<H>(&self, handle: *const H) -> Result<Option<Box<T>>> {
        let (slot, generation) = self.find(handle)?;
        let seen = State::from_bits(slot.state.load(Ordering::Relaxed));
        let changing = State { generation, users: 0, status: Status::Changing };
        if seen.generation != generation || !matches!(seen.status, Status::Live | Status::Poisoned) {
            return Err(self.stale());
        }
        if seen.users > 0 && !slot.is_inherited() {
            return Err(self.in_use());
        }
        // Acquire: with the release at the end of the last call.
        if slot.state.compare_exchange(seen.bits(), changing.bits(), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(self.in_use());
        }
        if seen.users > 0 {
            return Ok(None);
        }
        // SAFETY: this thread has set the slot to `Changing`, so no other thread accesses the value.
        let value = unsafe { (*slot.value.get()).take() };
        // Release: the next thread that uses the slot sees it empty.
        slot.state.store(State { status: Status::Free, ..changing }.bits(), Ordering::Release);
        Ok(value)
    }

    fn handle<H>(&self, index: usize, generation: u32) -> *mut H {
        let bits = (u64::from(generation) << INDEX_BITS | index as u64) << KIND_BITS | self.kind as u64;
        ptr::without_provenance_mut(bits as usize)
    }

    /// Returns the slot and the generation of a handle.
    #[inline]
    fn find<H>(&self, handle: *const H) -> Result<(&Slot<T>, u32)> {
        let bits = handle.addr() as u64;
        let index = (bits >> KIND_BITS) as usize & ((1 << INDEX_BITS) - 1);
        let generation = bits >> (KIND_BITS + INDEX_BITS);
        let is_ours = bits & ((1 << KIND_BITS) - 1) == self.kind as u64 && generation >> GENERATION_BITS == 0;
        match self.slot(index) {
            Some(slot) if is_ours => Ok((slot, generation as u32)),
            _ => Err(self.not_one(bits)),
        }
    }

    #[inline]
    fn slot(&self, index: usize) -> Option<&Slot<T>> {
        // Acquire: with the release of `slot_or_new`.
        let chunk = self.chunks.get(index / CHUNK)?.load(Ordering::Acquire);
        // SAFETY: null, or a chunk that is never freed.
        unsafe { chunk.as_ref() }.map(|chunk| &chunk[index % CHUNK])
    }

    fn slot_or_new(&self, index: usize) -> &Slot<T> {
        if let Some(slot) = self.slot(index) {
            return slot;
        }
        let free = State { generation: 0, users: 0, status: Status::Free };
        let slot = || Slot { state: AtomicU64::new(free.bits()), pid: AtomicU32::new(0), value: UnsafeCell::new(None) };
        let new = Box::into_raw(Box::new(std::array::from_fn(|_| slot())));
        let place = &self.chunks[index / CHUNK];
        // Release: with the slots' contents. Acquire: another thread's slots, if it was faster.
        let chunk = match place.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(theirs) => {
                // SAFETY: `Box::into_raw` returned it above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(new) });
                theirs
            }
        };
        // SAFETY: a chunk that is never freed.
        let chunk = unsafe { &*chunk };
        &chunk[index % CHUNK]
    }

    #[cold]
    fn refuse(&self, slot: &Slot<T>, generation: u32, seen: u64) -> Failure {
        let seen = State::from_bits(seen);
        if seen.generation != generation || matches!(seen.status, Status::Free | Status::Changing) {
            return self.stale();
        }
        if seen.status == Status::Poisoned {
            let noun = self.kind.noun();
            let text = format!("the library panicked in an earlier call with this {noun}: free it and make another");
            return Failure::new(SEQCAST_E_PANIC, text);
        }
        if slot.is_inherited() { Failure::forked() } else { self.in_use() }
    }

    #[cold]
    fn in_use(&self) -> Failure {
        let noun = self.kind.noun();
        let text = format!("another thread is inside a call with this {noun}: use one for each thread");
        Failure::new(SEQCAST_E_IN_USE, text)
    }

    #[cold]
    fn stale(&self) -> Failure {
        Failure::new(SEQCAST_E_HANDLE, format!("this {} was freed before: do not use it any more", self.kind.noun()))
    }

    #[cold]
    fn not_one(&self, bits: u64) -> Failure {
        let noun = self.kind.noun();
        if bits == 0 {
            return crate::argument::null(noun);
        }
        let text = match Kind::of(bits).filter(|&other| other != self.kind) {
            Some(other) => {
                format!("{bits:#x} is no handle of the kind {noun}; it may be a handle of the kind {}", other.noun())
            }
            None => format!("{bits:#x} is not a handle of the kind {noun}: pass one that the library returned"),
        };
        Failure::new(SEQCAST_E_HANDLE, text)
    }
}

impl<T> Slot<T> {
    /// Returns `true` if the value was stored before this process was forked.
    fn is_inherited(&self) -> bool {
        self.pid.load(Ordering::Relaxed) != std::process::id()
    }
}

/// A call with exclusive use. If it unwinds, the handle is poisoned.
struct Entered<'a, T> {
    slot: &'a Slot<T>,
    after: State,
}

impl<T> Entered<'_, T> {
    #[inline]
    fn leave(self, after: State) {
        let this = ManuallyDrop::new(self);
        // Release: the next user sees this call's changes.
        this.slot.state.store(after.bits(), Ordering::Release);
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        // Release: the thread that drops the value sees this call's changes.
        self.slot.state.store(self.after.bits(), Ordering::Release);
    }
}

/// A call with shared use.
struct User<'a, T>(&'a Slot<T>);

impl<T> Drop for User<'_, T> {
    fn drop(&mut self) {
        let one = State { generation: 0, users: 1, status: Status::Free };
        // Release: the removal of the handle happens after this call.
        self.0.state.fetch_sub(one.bits(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    struct handle;

    fn number(failure: Failure) -> c_int {
        crate::failure::call(|| Err(failure))
    }

    fn add(table: &Table<u64>, of: *mut handle, value: u64) -> Result<u64> {
        table.with(of, |sum| {
            *sum += value;
            Ok(*sum)
        })
    }

    #[test]
    fn a_freed_handle_is_an_error_also_when_its_slot_is_used_again() {
        let table = Table::new(Kind::Seat);
        let first: *mut handle = table.insert(1).unwrap();
        assert_eq!(add(&table, first, 2).unwrap(), 3);
        table.remove(first).unwrap();
        let second: *mut handle = table.insert(10).unwrap();
        assert_ne!(first, second);
        assert_eq!(number(add(&table, first, 1).unwrap_err()), SEQCAST_E_HANDLE as c_int);
        assert_eq!(number(table.remove(first).unwrap_err()), SEQCAST_E_HANDLE as c_int);
        assert_eq!(add(&table, second, 1).unwrap(), 11);
    }

    #[test]
    fn what_never_was_a_handle_is_an_error() {
        let table: Table<u64> = Table::new(Kind::Seat);
        let live: *mut handle = table.insert(1).unwrap();
        for wrong in [1, 2, 3, 7, 8, usize::MAX, 1 << 47, live.addr() ^ 1, live.addr() + 8, live.addr() | 1 << 60] {
            let wrong: *mut handle = ptr::without_provenance_mut(wrong);
            assert_eq!(number(add(&table, wrong, 1).unwrap_err()), SEQCAST_E_HANDLE as c_int, "{wrong:p}");
            assert_eq!(number(table.remove(wrong).unwrap_err()), SEQCAST_E_HANDLE as c_int, "{wrong:p}");
        }
        assert_eq!(table.remove(ptr::null::<handle>()).unwrap(), 0);
        assert_eq!(add(&table, live, 1).unwrap(), 2);
        assert!(live.addr() < 1 << 47);
    }

    #[test]
    fn a_second_thread_inside_a_call_is_an_error_and_the_value_stays() {
        let table: Table<u64> = Table::new(Kind::Seat);
        let address = table.insert::<handle>(1).unwrap().addr();
        let of = move || ptr::without_provenance_mut::<handle>(address);
        let (inside, may_end) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                table
                    .with(of(), |value| {
                        inside.wait();
                        may_end.wait();
                        *value += 1;
                        Ok(())
                    })
                    .unwrap();
            });
            inside.wait();
            assert_eq!(number(add(&table, of(), 1).unwrap_err()), SEQCAST_E_IN_USE as c_int);
            assert_eq!(number(table.remove(of()).unwrap_err()), SEQCAST_E_IN_USE as c_int);
            may_end.wait();
        });
        assert_eq!(add(&table, of(), 0).unwrap(), 2);
    }

    #[test]
    fn shared_values_have_any_number_of_users_and_are_freed_after_the_last() {
        let table: Table<u64> = Table::new(Kind::Bus);
        let shared: *mut handle = table.insert(5).unwrap();
        let nested = table.share(shared, |outer| {
            assert_eq!(number(table.remove(shared).unwrap_err()), SEQCAST_E_IN_USE as c_int);
            table.share(shared, |inner| Ok(outer + inner))
        });
        assert_eq!(nested.unwrap(), 10);
        table.remove(shared).unwrap();
        assert_eq!(number(table.share(shared, |_| Ok(())).unwrap_err()), SEQCAST_E_HANDLE as c_int);
    }

    #[test]
    fn a_panic_poisons_its_handle_which_can_still_be_freed() {
        let table: Table<u64> = Table::new(Kind::Seat);
        let poisoned: *mut handle = table.insert(1).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| table.with(poisoned, |_| -> Result<()> { panic!("no luck") })));
        assert!(caught.is_err());
        assert_eq!(number(add(&table, poisoned, 1).unwrap_err()), SEQCAST_E_PANIC as c_int);
        assert_eq!(table.remove(poisoned).unwrap(), 0);
        assert_eq!(number(add(&table, poisoned, 1).unwrap_err()), SEQCAST_E_HANDLE as c_int);
    }

    #[test]
    fn more_handles_than_a_chunk_has_are_all_different() {
        let table: Table<u64> = Table::new(Kind::Stats);
        let handles: Vec<*mut handle> = (0..200).map(|value| table.insert(value).unwrap()).collect();
        for (value, &each) in (0..).zip(&handles) {
            assert_eq!(add(&table, each, 0).unwrap(), value);
            table.remove(each).unwrap();
        }
    }

    #[test]
    fn threads_that_make_use_and_free_handles_do_not_meet() {
        let table: Table<u64> = Table::new(Kind::Seat);
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..2000 {
                        let own: *mut handle = table.insert(thread * 10_000 + round).unwrap();
                        assert_eq!(add(table, own, 0).unwrap(), thread * 10_000 + round);
                        table.remove(own).unwrap();
                        assert!(add(table, own, 0).is_err());
                    }
                });
            }
        });
    }
}
