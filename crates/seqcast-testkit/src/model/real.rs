//! What the model is compared with: a worker of the bus, and handlers that record their calls.

use std::sync::{Arc, Mutex};

use seqcast::{Claim, Event, Handler, Registration, Reservation, Worker, library};

use crate::model::{Call, RESET, UP_TO_DATE};

/// The calls of all real handlers, and what came with them.
#[derive(Clone, Default)]
pub(super) struct Calls(pub(super) Arc<Mutex<Noted>>);

#[derive(Default)]
pub(super) struct Noted {
    pub(super) calls: Vec<Call>,
    /// The claims of unique events, with the events' ids.
    pub(super) claims: Vec<(Claim, u64)>,
}

pub(super) struct Noting {
    pub(super) handler: usize,
    pub(super) calls: Calls,
}

impl Handler for Noting {
    fn handle(&self, event: &Event<'_>) -> Result<(), seqcast::HandlerError> {
        let number = match event.local::<usize>() {
            Some(number) => *number,
            None if event.topic() == library::RESET => RESET,
            None if event.topic() == library::UP_TO_DATE => UP_TO_DATE,
            // The library's own events carry the label, which is the number here.
            None if event.source() == library::SOURCE => std::str::from_utf8(event.bytes())?.parse()?,
            None => number_of(event.bytes())?,
        };
        let Noted { calls, claims } = &mut *self.calls.0.lock().unwrap();
        calls.push(Call { handler: self.handler, id: event.id(), number });
        claims.extend(event.claim().zip(event.id()));
        Ok(())
    }
}

/// Bytes from which [`number_of`] reads the number back, and a check that they are complete.
pub(super) fn payload(number: usize, len: usize) -> Vec<u8> {
    let head = [&number.to_le_bytes()[..4], &len.to_le_bytes()[..4]].concat();
    head.into_iter().chain((8..).map(|i: usize| ((i * 31) ^ (number * 7)) as u8)).take(len.max(8)).collect()
}

pub(super) fn number_of(bytes: &[u8]) -> Result<usize, seqcast::HandlerError> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
    let (number, len) = (word(0), word(4));
    if bytes == payload(number, len) { Ok(number) } else { Err(seqcast::HandlerError::msg("torn")) }
}

pub(super) struct Real {
    pub(super) worker: Worker,
    pub(super) reservation: Option<Reservation<Worker>>,
    pub(super) handlers: Vec<(Registration, Option<Arc<Noting>>)>,
    /// The claims of the unique events that it ran, and the events' ids.
    pub(super) claims: Vec<(Claim, u64)>,
    pub(super) late: Arc<Mutex<Vec<u64>>>,
    /// Unexpected reports.
    pub(super) wrong: Arc<Mutex<Vec<String>>>,
    /// `true` if a commit of the reservation has posted or came too late.
    pub(super) committed: bool,
}
