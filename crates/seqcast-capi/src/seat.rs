//! Seats: places on the bus, to read and to post.

pub mod bell;
pub mod claim;
pub mod forward;
pub mod post;
pub mod read;
pub mod retained;

use std::collections::VecDeque;
use std::ffi::c_int;
use std::ptr::{self, NonNull};

use seqcast::{Bus, Cause, Delivery, Error, Event, Publisher, PullBell, Subscriber, WorkerOptions};

use self::forward::Forwarder;
use self::retained::Shown;
use crate::argument::place;
use crate::bus::{BUSES, seqcast_bus};
use crate::delivery::seqcast_delivery;
use crate::failure::seqcast_error::SEQCAST_E_NOT_A_READER;
use crate::failure::{Failure, Result, call};
use crate::handle::{Kind, Table};
use crate::options::{read, seqcast_seat_options};

/// A place on the bus, to read and to post. One thread at a time may use it. Threads that post at the same time take
/// one seat each.
pub struct seqcast_seat(());

pub(crate) static SEATS: Table<Seat> = Table::new(Kind::Seat);

pub(crate) struct Seat {
    role: Role,
    /// Ends before the bell.
    forwarder: Option<Forwarder>,
    bell: Option<PullBell>,
    /// In its own allocation: the caller reads it while the seat posts.
    delivery: NonNull<seqcast_delivery>,
    /// What was looked up last.
    found: Option<Shown>,
}

// SAFETY: this seat owns the delivery. The memory that it points to belongs to the role, which moves with it.
unsafe impl Send for Seat {}

enum Role {
    Subscriber(Box<Subscriber>),
    Publisher(Box<Publisher>),
    Left(Leftover),
}

/// Unique events that a seat had claimed when it left. If `delivered` is `true`, the first was delivered last.
#[derive(Default)]
struct Leftover {
    delivered: bool,
    events: VecDeque<Kept>,
}

/// A copy of an event.
struct Kept {
    delivery: seqcast_delivery,
    source: Box<str>,
    event: Box<str>,
    payload: Box<[u8]>,
    retained_key: Box<[u8]>,
}

impl Kept {
    fn of(event: &Event<'_>) -> Kept {
        Kept {
            delivery: seqcast_delivery::of_event(event),
            source: event.source().into(),
            event: event.event().into(),
            payload: event.bytes().into(),
            retained_key: event.retained_key().unwrap_or_default().into(),
        }
    }

    fn delivery(&self) -> seqcast_delivery {
        seqcast_delivery {
            source: self.source.as_ptr().cast(),
            event: self.event.as_ptr().cast(),
            payload: self.payload.as_ptr().cast(),
            retained_key: self.retained_key.as_ptr().cast(),
            ..self.delivery
        }
    }
}

impl Leftover {
    fn next(&mut self) -> Option<&Kept> {
        if std::mem::replace(&mut self.delivered, true) {
            self.events.pop_front();
        }
        self.events.front()
    }
}

fn left() -> Failure {
    Error::from(Cause::Left).into()
}

impl Seat {
    fn new(role: Role) -> Seat {
        Seat {
            role,
            forwarder: None,
            bell: None,
            delivery: NonNull::from(Box::leak(Box::new(seqcast_delivery::NOTHING))),
            found: None,
        }
    }

    #[inline]
    pub(crate) fn publisher(&mut self) -> Result<&mut Publisher> {
        match &mut self.role {
            Role::Subscriber(subscriber) => Ok(subscriber.publisher()),
            Role::Publisher(publisher) => Ok(publisher),
            Role::Left(_) => Err(left()),
        }
    }

    #[inline]
    fn subscriber(&mut self) -> Result<&mut Subscriber> {
        match &mut self.role {
            Role::Subscriber(subscriber) => Ok(subscriber),
            Role::Publisher(_) => Err(not_a_reader()),
            Role::Left(_) => Err(left()),
        }
    }

    /// Stores the result of `next` in the delivery.
    #[inline]
    fn deliver<'a>(
        &'a mut self,
        next: impl FnOnce(&'a mut Subscriber) -> seqcast::Result<Option<Delivery<'a>>>,
    ) -> Result<(c_int, *const seqcast_delivery)> {
        let place = self.delivery;
        let result = match &mut self.role {
            Role::Subscriber(subscriber) => next(subscriber),
            Role::Publisher(_) => return Err(not_a_reader()),
            Role::Left(leftover) => {
                let kept = leftover.next();
                // SAFETY: only this thread uses the seat, and the caller does not read the delivery during a call.
                unsafe { place.write(kept.map_or(seqcast_delivery::NOTHING, Kept::delivery)) };
                return Ok((c_int::from(kept.is_some()), place.as_ptr()));
            }
        };
        // By reference: moving a delivery costs more than an idle call.
        match &result {
            // SAFETY: as above.
            Ok(found) => Ok((unsafe { &mut *place.as_ptr() }.set(found.as_ref()), place.as_ptr())),
            Err(error) => Err(error.clone().into()),
        }
    }

    fn leave(&mut self) -> Result<()> {
        self.end_bell();
        match std::mem::replace(&mut self.role, Role::Left(Leftover::default())) {
            Role::Subscriber(subscriber) => {
                let mut events = VecDeque::new();
                let left = subscriber.leave(|event| events.push_back(Kept::of(&event)));
                self.role = Role::Left(Leftover { delivered: false, events });
                Ok(left?)
            }
            Role::Publisher(_) => Ok(()),
            Role::Left(leftover) => {
                self.role = Role::Left(leftover);
                Err(left())
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // SAFETY: `new` leaked it from a box, and it is freed only here.
        drop(unsafe { Box::from_raw(self.delivery.as_ptr()) });
    }
}

#[cold]
fn not_a_reader() -> Failure {
    let text = "this seat only posts: take one with seqcast_bus_subscribe to read";
    Failure::new(SEQCAST_E_NOT_A_READER, text)
}

/// Takes a seat, and stores its handle.
///
/// # Safety
///
/// The pointers are as the header requires.
unsafe fn take(
    bus: *const seqcast_bus,
    options: *const seqcast_seat_options,
    out: *mut *mut seqcast_seat,
    take: impl FnOnce(&Bus, &WorkerOptions) -> seqcast::Result<Role>,
) -> Result<c_int> {
    // SAFETY: as the caller promises.
    let (out, options) = unsafe { (place(out, "out")?, read(options)?) };
    *out = ptr::null_mut();
    let options = match options {
        // SAFETY: as the caller promises.
        Some(options) => unsafe { options.to_worker_options() }?,
        None => WorkerOptions::new(),
    };
    let role = BUSES.share(bus, |bus| Ok(take(bus, &options)?))?;
    *out = SEATS.insert(Seat::new(role))?;
    Ok(0)
}

/// Takes a seat that reads and posts. `options` may be null. Returns 0. Take it after the fork: a child cannot use its
/// parent's seat.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_subscribe(
    bus: *const seqcast_bus,
    options: *const seqcast_seat_options,
    out: *mut *mut seqcast_seat,
) -> c_int {
    let join = |bus: &Bus, options: &WorkerOptions| Ok(Role::Subscriber(Box::new(bus.subscribe_with(options)?)));
    // SAFETY: as the caller promises.
    call(|| unsafe { take(bus, options, out, join) })
}

/// Takes a seat that only posts, claims and reserves. Only the options `label` and `timeout_ns` are used. Returns
/// 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn seqcast_bus_publisher(
    bus: *const seqcast_bus,
    options: *const seqcast_seat_options,
    out: *mut *mut seqcast_seat,
) -> c_int {
    let join = |bus: &Bus, options: &WorkerOptions| Ok(Role::Publisher(Box::new(bus.publisher_with(options)?)));
    // SAFETY: as the caller promises.
    call(|| unsafe { take(bus, options, out, join) })
}

/// Leaves the bus, if `seqcast_seat_leave` was not called, and frees the handle. In a forked child, only frees the
/// child's memory. Returns 0, also for null. Returns `SEQCAST_E_IN_USE` and frees nothing if another thread is inside a
/// call with the seat.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_free(seat: *mut seqcast_seat) -> c_int {
    call(|| SEATS.remove(seat))
}

/// Leaves the bus: posts `seqcast/stopping` and frees the place on the bus. Afterwards, `seqcast_seat_next` returns the
/// unique events that the seat has already claimed while it waited for a reserved id, because no other seat runs them.
/// Every other call returns `SEQCAST_E_LEFT`. The handle must still be freed. Returns 0.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_leave(seat: *mut seqcast_seat) -> c_int {
    call(|| {
        SEATS.with(seat, |seat| {
            seat.leave()?;
            Ok(0)
        })
    })
}

/// Returns the number of the seat.
#[unsafe(no_mangle)]
pub extern "C" fn seqcast_seat_number(seat: *mut seqcast_seat) -> c_int {
    call(|| {
        let number = SEATS.with(seat, |seat| match &seat.role {
            Role::Subscriber(subscriber) => Ok(subscriber.seat()),
            Role::Publisher(publisher) => Ok(publisher.seat()),
            Role::Left(_) => Err(left()),
        })?;
        Ok(c_int::try_from(number).unwrap_or(c_int::MAX))
    })
}
