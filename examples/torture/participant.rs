//! A worker that reads through handlers, or a subscriber.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use seqcast::{
    Bell, BellOptions, Bus, Cause, Claim, Claimed, Delivery, Error, Payload, Polled, Publisher, PullBell, Reservation,
    Subscriber, Topic, TypedEvent, Undecided, Unique, Worker,
};

use crate::content::SOURCE;
use crate::log::{Entry, Odd};
use crate::probe::Probe;

pub enum Participant {
    /// Handlers get the events.
    Pushed(Worker),
    /// The participant reads the events itself.
    Pulled(Box<Subscriber>),
}

/// The bell that an event loop of a participant sleeps on.
pub enum AnyBell {
    Pushed(Bell),
    Pulled(PullBell),
}

impl AsFd for AnyBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            AnyBell::Pushed(bell) => bell.as_fd(),
            AnyBell::Pulled(bell) => bell.as_fd(),
        }
    }
}

/// The way in which a participant reads.
#[derive(Clone, Copy)]
pub enum Reads<'a> {
    /// As an event loop reads when its bell is readable.
    Rung { bell: &'a AnyBell, most: u64 },
    /// Waits at reserved ids.
    Waiting { most: u64 },
    /// Never waits.
    Now { most: u64 },
}

/// An id that a participant has reserved.
pub enum Held {
    ByWorker(Reservation<Worker>),
    BySubscriber(u64),
}

impl Held {
    pub fn id(&self) -> u64 {
        match self {
            Held::ByWorker(reservation) => reservation.id(),
            Held::BySubscriber(id) => *id,
        }
    }
}

/// Returns the reservation of `id`, unless it was given up for another.
fn kept(subscriber: &mut Subscriber, id: u64) -> Result<Option<Reservation<&mut Publisher>>, Error> {
    let reservation = subscriber.publisher().reserved()?;
    match reservation {
        Some(other) if other.id() != id => {
            other.keep();
            Ok(None)
        }
        kept => Ok(kept),
    }
}

impl Participant {
    pub fn seat(&self) -> u32 {
        match self {
            Participant::Pushed(worker) => worker.seat(),
            Participant::Pulled(subscriber) => subscriber.seat(),
        }
    }

    pub fn cursor(&self) -> u64 {
        match self {
            Participant::Pushed(worker) => worker.cursor(),
            Participant::Pulled(subscriber) => subscriber.cursor(),
        }
    }

    pub fn post(&mut self, event: &str, payload: impl Payload) -> Result<u64, Error> {
        match self {
            Participant::Pushed(worker) => worker.post((SOURCE, event), payload),
            Participant::Pulled(subscriber) => subscriber.publisher().post((SOURCE, event), payload),
        }
    }

    pub fn post_typed<T: TypedEvent>(&mut self, value: &T) -> Result<u64, Error> {
        match self {
            Participant::Pushed(worker) => worker.post(T::TOPIC, value),
            Participant::Pulled(subscriber) => subscriber.publisher().post(T::TOPIC, value),
        }
    }

    pub fn post_unique(&mut self, topic: Topic<'_>, unique: Unique<'_>, payload: impl Payload) -> Result<u64, Error> {
        match self {
            Participant::Pushed(worker) => worker.event(topic).unique(unique).post(payload),
            Participant::Pulled(subscriber) => subscriber.publisher().event(topic).unique(unique).post(payload),
        }
    }

    pub fn claim(&mut self, key: [u8; 8], ttl: Duration) -> Result<Claimed, Error> {
        match self {
            Participant::Pushed(worker) => worker.claim(key, ttl),
            Participant::Pulled(subscriber) => subscriber.publisher().claim(key, ttl),
        }
    }

    pub fn release(&mut self, claim: &Claim) -> Result<bool, Error> {
        match self {
            Participant::Pushed(worker) => worker.release(claim),
            Participant::Pulled(subscriber) => subscriber.publisher().release(claim),
        }
    }

    /// Creates a publisher with a separate seat.
    pub fn publisher(&self, bus: &Bus) -> Result<Publisher, Error> {
        match self {
            Participant::Pushed(worker) => worker.publisher(),
            Participant::Pulled(_) => bus.publisher(),
        }
    }

    pub fn reserve(&mut self) -> Result<Held, Error> {
        match self {
            Participant::Pushed(worker) => worker.reserve().map(Held::ByWorker),
            Participant::Pulled(subscriber) => Ok(Held::BySubscriber(subscriber.publisher().reserve()?.keep())),
        }
    }

    pub fn commit(&mut self, held: &mut Held, topic: Topic<'_>, payload: impl Payload) -> Result<u64, Error> {
        match (self, held) {
            (_, Held::ByWorker(reservation)) => reservation.commit(topic, payload),
            (Participant::Pulled(subscriber), Held::BySubscriber(id)) => match kept(subscriber, *id)? {
                Some(mut reservation) => reservation.commit(topic, payload),
                None => Err(Error::from(Cause::TooLate { id: *id })),
            },
            (Participant::Pushed(_), Held::BySubscriber(_)) => unreachable!("a worker keeps no ids"),
        }
    }

    pub fn give_up(&mut self, held: Held) {
        if let (Participant::Pulled(subscriber), Held::BySubscriber(id)) = (self, held) {
            let _ = kept(subscriber, id);
        }
    }

    pub fn wait(&mut self, timeout: Duration) -> Result<bool, Error> {
        match self {
            Participant::Pushed(worker) => worker.wait(timeout),
            Participant::Pulled(subscriber) => subscriber.wait(timeout),
        }
    }

    pub fn bell(&self, options: &BellOptions) -> Result<AnyBell, Error> {
        match self {
            Participant::Pushed(worker) => worker.bell_with(options).map(AnyBell::Pushed),
            Participant::Pulled(subscriber) => subscriber.bell_with(options).map(AnyBell::Pulled),
        }
    }

    /// Reads. Returns `true` if everything was delivered.
    pub fn read(&mut self, probe: &Probe, reads: Reads<'_>) -> Result<bool, Error> {
        let subscriber = match self {
            Participant::Pulled(subscriber) => subscriber,
            Participant::Pushed(worker) => {
                return Ok(match reads {
                    Reads::Waiting { most } => {
                        matches!(worker.poll_at_most(most)?, Polled::Done { delivered, .. } if delivered < most)
                    }
                    Reads::Rung { bell: AnyBell::Pushed(bell), most } => {
                        matches!(bell.poll_at_most(most)?, Polled::Done { delivered, .. } if delivered < most)
                    }
                    Reads::Now { .. } | Reads::Rung { .. } => matches!(worker.poll_now()?, Polled::Done { .. }),
                });
            }
        };
        let (most, timeout) = match reads {
            Reads::Waiting { most: 1 } => (1, Duration::from_micros(200)),
            Reads::Waiting { most } | Reads::Now { most } | Reads::Rung { most, .. } => (most, Duration::ZERO),
        };
        for _ in 0..most {
            let delivery = if timeout.is_zero() { subscriber.try_next()? } else { subscriber.next(timeout)? };
            match delivery {
                None => {
                    return match reads {
                        Reads::Rung { bell: AnyBell::Pulled(bell), .. } => Ok(!bell.arm(subscriber)?),
                        _ => Ok(true),
                    };
                }
                Some(Delivery::Event(event)) => probe.on_event(&event),
                Some(Delivery::Lagged { first, missed, .. }) => probe.on_lagged(first, missed),
                Some(Delivery::Undecided { id, reason: Undecided::ClaimsFull, .. }) => {
                    probe.on_odd(id, Odd::ClaimsFull);
                }
                Some(Delivery::Undecided { id, .. }) => probe.on_odd(id, Odd::ClaimLate),
                Some(Delivery::Reserved { .. }) => return Ok(false),
                Some(Delivery::Unreadable { id, .. }) => probe.on_odd(id, Odd::Unreadable),
                Some(other) => {
                    probe.slot.say(&format!("{other:?}"));
                    probe.push(Entry::Fault { op: probe.slot.current_op().0 });
                }
            }
        }
        if probe.is_copy() {
            // Forked during the last delivery.
            subscriber.try_next()?;
        }
        Ok(false)
    }

    /// Leaves. With `plainly`, by being dropped.
    pub fn leave(self, probe: &Probe, plainly: bool) -> Result<(), Error> {
        match self {
            _ if plainly => Ok(()),
            Participant::Pushed(worker) => match worker.leave() {
                Err(error) if matches!(error.cause(), Cause::Left) => Ok(()),
                other => other,
            },
            Participant::Pulled(subscriber) => subscriber.leave(|event| probe.on_event(&event)),
        }
    }
}
