//! One operation, on the bus and in the model.

use std::sync::Arc;

use seqcast::{Cause, Claimed, Polled, Unique, WorkerOptions};

use crate::bus::HOUR;
use crate::model::op::Op;
use crate::model::real::{Noted, Noting, Real, number_of, payload};
use crate::model::reference::{Content, Message, Slot, Special};
use crate::model::{Both, Call, EVENTS, INSTANT, KEYS, RETAINED_KEYS, SOURCES, Topic};

impl Both {
    /// Does `op` on the bus, and compares the results with the model's. An impossible operation does nothing.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub fn run(&mut self, op: &Op) {
        let slot = match *op {
            Op::Join { worker, .. } if self.real[worker].is_some() => {
                if self.real.iter().all(Option::is_some) {
                    let joined = self.bus.join_with(&WorkerOptions::new());
                    assert!(joined.is_err_and(|error| matches!(error.cause(), Cause::NoSeat { .. })));
                }
                return;
            }
            Op::Join { worker, from, resync, must } => return self.join(worker, from, resync, must),
            Op::Post { worker, .. }
            | Op::TryPost { worker, .. }
            | Op::PostUnique { worker, .. }
            | Op::PostLocal { worker, .. }
            | Op::Poll { worker, .. }
            | Op::Reserve { worker }
            | Op::Commit { worker, .. }
            | Op::DropReservation { worker }
            | Op::Claim { worker, .. }
            | Op::Release { worker }
            | Op::ReleaseClaim { worker, .. }
            | Op::Register { worker, .. }
            | Op::Unregister { worker, .. }
            | Op::DropOwner { worker, .. }
            | Op::Retain { worker, .. }
            | Op::Clear { worker, .. }
            | Op::Get { worker, .. }
            | Op::Leave { worker } => worker,
        };
        let Some(mut real) = self.real[slot].take() else { return };
        let worker = real.worker.clone();
        let number = self.model.messages.len();
        let names = |(source, event): Topic| (SOURCES[source], EVENTS[event]);
        match *op {
            Op::Post { topic, len, .. } => {
                let (source, event) = names(topic);
                let posted = worker.post((source, event), payload(number, len));
                self.posted(slot, topic, len, Special::default(), posted, true);
            }
            Op::TryPost { topic, len, .. } => {
                let posted = worker.try_post(names(topic), payload(number, len));
                self.posted(slot, topic, len, Special::default(), posted, false);
            }
            Op::PostUnique { topic, len, key, lasting, .. } => {
                let (source, event) = names(topic);
                let unique = Unique::key(KEYS[key]).ttl(if lasting { HOUR } else { INSTANT });
                let posted = worker.event((source, event)).unique(unique).post(payload(number, len));
                let special = Special { unique: Some((key, lasting)), ..Special::default() };
                self.posted(slot, topic, len, special, posted, true);
            }
            Op::PostLocal { topic, .. } => {
                let (source, event) = names(topic);
                let local = self.model.locals;
                worker.post_local((source, event), local).unwrap();
                self.model.locals += 1;
                self.seat(slot).local.push_back((local, topic));
            }
            Op::Poll { most, .. } => {
                let polled = worker.poll_at_most(most).unwrap();
                assert!(matches!(polled, Polled::Done { .. } | Polled::Reserved { .. }), "{polled:?}");
                let (delivered, missed) = (polled.delivered(), polled.missed());
                self.model.late = std::mem::take(&mut *real.late.lock().unwrap());
                let expected = self.model.poll(slot, most);
                assert_eq!((self.take_calls(&mut real), delivered, missed), expected);
            }
            Op::Reserve { .. } => {
                let reserved = worker.reserve();
                let seat = worker.seat();
                if let Some(id) = self.model.reserved_by(seat) {
                    self.model.slots[id as usize] = Slot::Void;
                }
                if let Err(full) = self.model.make_room(slot, 1, true) {
                    Self::assert_full(&reserved.unwrap_err(), full);
                    self.real[slot] = Some(real);
                    return;
                }
                let reservation = reserved.unwrap();
                self.seat(slot).known = self.model.next_id() + 1;
                assert_eq!(reservation.id(), self.model.next_id());
                self.model.slots.push(Slot::Reserved(seat));
                self.seat(slot).counts.reservations += 1;
                // The older reservation, dropped here, has ended.
                (real.reservation, real.committed) = (Some(reservation), false);
            }
            Op::Commit { topic, len, .. } => {
                if let Some(reservation) = &mut real.reservation {
                    let (source, event) = names(topic);
                    let id = reservation.id();
                    let open = self.model.slot(id) == Some(Slot::Reserved(worker.seat()));
                    let is_large =
                        self.is_large(source.len() + event.len(), payload(number, len).len(), Special::default());
                    match reservation.commit((source, event), payload(number, len)) {
                        Ok(committed) => {
                            assert!(committed == id && open, "id {id} was decided before");
                            self.model.slots[id as usize] = Slot::Part(number);
                            real.committed = true;
                            let large = self.model.take_large(is_large);
                            let (first_id, last_id, sender) = (id, id, worker.seat());
                            self.model.messages.push(Message {
                                topic,
                                unique: None,
                                retained: None,
                                clears: false,
                                first_id,
                                last_id,
                                large,
                                sender,
                            });
                            let counts = &mut self.seat(slot).counts;
                            counts.large += u64::from(is_large);
                            (counts.posted, counts.committed) = (counts.posted + 1, counts.committed + 1);
                        }
                        Err(error) => match *error.cause() {
                            Cause::TooLate { id: late } => {
                                assert!(late == id && !open, "id {id} is still open");
                                // Its payload was published, and no event names it.
                                let is_published = is_large && !std::mem::replace(&mut real.committed, true);
                                self.model.take_large(is_published);
                            }
                            Cause::PayloadTooLarge { max, .. } => assert!(len + 64 > max, "{len} of {max}"),
                            _ => panic!("{error}"),
                        },
                    }
                }
            }
            Op::DropReservation { .. } => {
                if let Some(reservation) = real.reservation.take()
                    && self.model.slots[reservation.id() as usize] == Slot::Reserved(worker.seat())
                {
                    self.model.slots[reservation.id() as usize] = Slot::Void;
                }
            }
            Op::Claim { key, lasting, .. } => {
                let claimed = worker.claim(KEYS[key], if lasting { HOUR } else { INSTANT }).unwrap();
                let holder = self.model.claims[key];
                let counts = &mut self.seat(slot).counts;
                match (claimed, holder) {
                    (Claimed::Won(claim), None) => {
                        counts.won += 1;
                        if lasting {
                            assert!(worker.release(&claim).unwrap(), "a won claim is not held");
                            self.seat(slot).counts.released += 1;
                            let Claimed::Won(claim) = worker.claim(KEYS[key], HOUR).unwrap() else {
                                panic!("not free")
                            };
                            self.seat(slot).counts.won += 1;
                            self.model.claims[key] = Some((worker.seat(), claim));
                        }
                    }
                    (Claimed::Held { seat, left, .. }, Some((holder, _))) => {
                        assert!(seat == holder && left <= HOUR, "held by {seat} and not by {holder}");
                        counts.lost += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            Op::Release { .. } => {
                if let Some((claim, id)) = real.claims.pop() {
                    let released = worker.release(&claim).unwrap();
                    let again = worker.release(&claim).unwrap();
                    assert!(!again, "released twice");
                    let key = self.model.keys.iter_mut().find(|key| key.held == Some(id));
                    let expected = key.map(|key| key.held = None).is_some();
                    assert_eq!(released, expected, "the claim of id {id}");
                    self.seat(slot).counts.released += u64::from(released);
                }
            }
            Op::ReleaseClaim { key, .. } => {
                if let Some((_, claim)) = self.model.claims[key].take() {
                    assert!(worker.release(&claim).unwrap(), "a held claim was not released");
                    assert!(!worker.release(&claim).unwrap(), "released twice");
                    self.seat(slot).counts.released += 1;
                }
            }
            Op::Register { scope, weak, .. } => {
                let handler = self.model.handlers;
                self.model.handlers += 1;
                let noting = Arc::new(Noting { handler, calls: self.calls.clone() });
                let registered = if weak {
                    (worker.register_weak(scope.real(), &noting).unwrap(), Some(noting))
                } else {
                    (worker.register(scope.real(), &noting).unwrap(), None)
                };
                real.handlers.push(registered);
                self.seat(slot).handlers.push((handler, scope, true));
            }
            Op::Unregister { nth, .. } => {
                if let Some((registration, owner)) = real.handlers.get(nth) {
                    let removed = worker.unregister(*registration);
                    let seat = self.seat(slot);
                    let live = std::mem::replace(&mut seat.handlers[nth].2, false);
                    // It does not matter whether a registration without an owner was already cleared.
                    assert!(removed == live || owner.is_none() && !live, "{removed}, {live}");
                }
            }
            Op::DropOwner { nth, .. } => {
                if let Some((_, owner @ Some(_))) = real.handlers.get_mut(nth) {
                    *owner = None;
                    self.seat(slot).handlers[nth].2 = false;
                }
            }
            Op::Retain { topic, key, len, lasting, .. } => {
                let event = worker.event(names(topic)).retain_key(RETAINED_KEYS[key]);
                let event = if lasting { event } else { event.ttl(INSTANT) };
                let posted = event.post(payload(number, len));
                let special = Special { retained: Some(key), ..Special::default() };
                let name_len = SOURCES[topic.0].len() + EVENTS[topic.1].len();
                let ids = self.ids_of(name_len, payload(0, len).len(), special);
                let content = if lasting { Content::Value } else { Content::Expired };
                let Some(ids) = ids else {
                    self.in_room(slot, topic, len, special, posted);
                    self.real[slot] = Some(real);
                    return;
                };
                match self.model.make_room_for(slot, ids, true, Some((topic, key))) {
                    Err(full) => Self::assert_full(&posted.unwrap_err(), full),
                    Ok(false) => {
                        self.seat(slot).counts.retained_full += 1;
                        let full = posted.unwrap_err();
                        assert!(matches!(full.cause(), Cause::RetainedFull { .. }), "{full}");
                    }
                    Ok(true) => {
                        self.model.place((topic, key), number, content);
                        self.in_room(slot, topic, len, special, posted);
                    }
                }
            }
            Op::Clear { topic, key, .. } => {
                let cleared = worker.event(names(topic)).retain_key(RETAINED_KEYS[key]).clear();
                let is_there = self
                    .model
                    .content_of((topic, key))
                    .is_some_and(|place| matches!(place.content, Content::Value | Content::Expired));
                if is_there && let Err(full) = self.model.make_room_for(slot, 1, true, Some((topic, key))) {
                    Self::assert_full(&cleared.unwrap_err(), full);
                    self.real[slot] = Some(real);
                    return;
                }
                assert_eq!(cleared.unwrap(), is_there.then_some(self.model.next_id()));
                if is_there {
                    let special = Special { retained: Some(key), clears: true, unique: None };
                    self.model.place((topic, key), number, Content::Cleared);
                    self.model.post(slot, topic, special, self.model.next_id(), false);
                }
            }
            Op::Get { topic, key, .. } => {
                let found = worker.get_key(names(topic), RETAINED_KEYS[key]).unwrap();
                let expected = self.model.content_of((topic, key)).filter(|place| place.content == Content::Value);
                let expected = expected.map(|place| (place.number, self.model.messages[place.number].last_id));
                assert_eq!(found.map(|found| (number_of(found.bytes()).unwrap(), found.id())), expected);
            }
            Op::Leave { .. } => {
                drop(real.reservation.take());
                let label = self.label();
                let len = label.len();
                worker.reconfigure(|options| options.label(label)).unwrap();
                let seat = worker.seat();
                worker.leave().unwrap();
                self.model.late.clear();
                // Only others read what it posts.
                if let Some(id) = self.model.reserved_by(seat) {
                    self.model.slots[id as usize] = Slot::Void;
                }
                self.announced(slot, 1, len);
                let expected = self.model.leave(slot);
                assert_eq!(self.take_calls(&mut real), expected);
                return;
            }
            Op::Join { .. } => unreachable!("done above"),
        }
        self.real[slot] = Some(real);
    }

    /// Returns the calls since the last time, and keeps the claims that came with them.
    fn take_calls(&self, real: &mut Real) -> Vec<Call> {
        let Noted { calls, claims } = std::mem::take(&mut *self.calls.0.lock().unwrap());
        real.claims.extend(claims);
        calls
    }
}
