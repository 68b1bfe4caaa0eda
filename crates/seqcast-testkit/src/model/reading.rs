//! The model of reading: polls, and what is delivered when a worker leaves.

use crate::model::reference::{Ahead, Content, Handed, Message, Model, Must, Pending, Seat, Slot};
use crate::model::{Call, LIBRARY, REPORTER, RESET, Topic, UP_TO_DATE, lag_number};

/// The result of one reading step.
enum Step {
    Event(usize),
    Handed(Handed),
    /// As [`Ahead::Missed`].
    Missed(u64, u64, bool),
    PendingOwn(u64),
    Empty,
}

enum Resolved {
    Event(usize),
    Nothing,
    Headless,
    Forgotten,
}

impl Model {
    /// Returns the handlers of a topic in calling order.
    fn handlers_of(seat: &Seat, topic: Topic) -> Vec<usize> {
        let ranked = |rank| {
            seat.handlers
                .iter()
                .filter(move |(_, scope, live)| *live && scope.rank(topic) == Some(rank))
                .map(|(handler, ..)| *handler)
        };
        (0..3).flat_map(ranked).collect()
    }

    /// Returns what `id`, which holds a part of message `number`, means to the reader.
    fn resolve(&mut self, seat: &mut Seat, id: u64, number: usize) -> Resolved {
        let message = self.messages[number].clone();
        if message.last_id > message.first_id {
            let expected = seat.partial.remove(&message.sender);
            let continues = id == message.first_id || expected == Some((number, id));
            if continues && id < message.last_id {
                seat.partial.insert(message.sender, (number, id + 1));
                return Resolved::Nothing;
            }
            if !continues {
                if id == message.last_id
                    && let Some(key) = message.retained
                    && (seat.resync || seat.began_with_retained)
                {
                    return self.complete(seat, (message.topic, key), number);
                }
                if id == message.last_id && message.first_id >= seat.start {
                    self.gaps = true;
                    return Resolved::Headless;
                }
                return Resolved::Nothing;
            }
        }
        // No worker here handles clears.
        if message.clears || Self::handlers_of(seat, message.topic).is_empty() {
            seat.counts.skipped += 1;
            self.gaps |= message.unique.is_some();
            return Resolved::Nothing;
        }
        if self.is_overwritten(&message) {
            self.gaps = true;
            return Resolved::Headless;
        }
        match message.unique {
            Some((key, lasting)) if !self.decide(seat, id, key, lasting) => Resolved::Nothing,
            _ => Resolved::Event(number),
        }
    }

    /// Returns the outcome of a retained message that the reader has not read whole.
    fn complete(&self, seat: &Seat, of: (Topic, usize), number: usize) -> Resolved {
        match self.content_of(of) {
            Some(place) if place.number == number && place.content != Content::Cleared => {
                let is_wanted = !Self::handlers_of(seat, of.0).is_empty();
                if is_wanted { Resolved::Event(number) } else { Resolved::Nothing }
            }
            Some(place) if place.number > number => Resolved::Nothing,
            _ => Resolved::Forgotten,
        }
    }

    /// Notes that the reader may lack retained events.
    fn catch_up(seat: &mut Seat, from: u64, to: u64, reset: bool) {
        if seat.resync || reset {
            seat.due = Some((from, to, reset));
        }
    }

    /// Copies the events that the reader will be handed.
    fn gather(&self, seat: &mut Seat) {
        let Some((from, to, reset)) = seat.due.take() else { return };
        let reset = reset || self.floor > from;
        let mut events: Vec<usize> = (self.places.iter())
            .filter(|place| {
                let id = self.messages[place.number].last_id;
                let is_wanted = !Self::handlers_of(seat, place.of.0).is_empty();
                place.content == Content::Value && id < to && (reset || id >= from) && is_wanted
            })
            .map(|place| place.number)
            .collect();
        events.sort_unstable();
        seat.handed.extend((reset && from > 0).then_some(Handed::Reset));
        seat.handed.extend(events.into_iter().map(Handed::Event));
        seat.handed.push_back(Handed::UpToDate);
    }

    /// Returns `true` if the reader is the one that runs the unique event at `id`.
    fn decide(&mut self, seat: &mut Seat, id: u64, key: usize, lasting: bool) -> bool {
        let key = &mut self.keys[key];
        if self.late.contains(&id) {
            assert!(self.gaps, "too late at id {id}, although all workers have read everything");
            seat.counts.late += 1;
            return false;
        }
        if !key.decided.insert(id) || key.held.is_some() {
            seat.counts.lost += 1;
            return false;
        }
        key.held = lasting.then_some(id);
        seat.counts.won += 1;
        true
    }

    /// Skips overwritten ids.
    fn skip_lap(&mut self, seat: &mut Seat) -> (u64, bool) {
        let cut_off = seat.was_cut_off(seat.next);
        let to = (self.next_id() - self.capacity + self.capacity / 8).max(seat.next + 1);
        let missed = to - seat.next;
        seat.next = to;
        self.gaps = true;
        (missed, cut_off)
    }

    fn read(&mut self, seat: &mut Seat) -> Step {
        if let Some(must) = seat.must.as_mut().filter(|must| must.is_cut) {
            *must = Must { is_cut: false, cut_off_below: self.next_id() };
            seat.counts.cut_off += 1;
        }
        loop {
            self.gather(seat);
            if let Some(handed) = seat.handed.pop_front() {
                return Step::Handed(handed);
            }
            match seat.ahead.front().cloned() {
                Some(Ahead::Waiting(id)) => match self.slot(id) {
                    Some(Slot::Reserved(number)) if number == seat.number => {
                        self.copy_ahead(seat);
                        return Step::PendingOwn(id);
                    }
                    Some(Slot::Reserved(_)) => {
                        // No worker waits for long here.
                        self.slots[id as usize] = Slot::Void;
                        seat.counts.voided += 1;
                    }
                    Some(Slot::Void) => drop(seat.ahead.pop_front()),
                    Some(Slot::Part(number)) => {
                        seat.ahead.pop_front();
                        match self.resolve(seat, id, number) {
                            Resolved::Event(number) => return Step::Event(number),
                            Resolved::Forgotten => Self::catch_up(seat, id.max(1), id + 1, true),
                            Resolved::Nothing => {}
                            Resolved::Headless => return Step::Missed(id, 1, seat.was_cut_off(id)),
                        }
                    }
                    None => {
                        seat.ahead.pop_front();
                        self.gaps = true;
                        return Step::Missed(id, 1, seat.was_cut_off(id));
                    }
                },
                Some(Ahead::Event(number)) => {
                    seat.ahead.pop_front();
                    return Step::Event(number);
                }
                Some(Ahead::Missed(first, missed, cut_off)) => {
                    seat.ahead.pop_front();
                    return Step::Missed(first, missed, cut_off);
                }
                Some(Ahead::Forgotten(id)) => {
                    seat.ahead.pop_front();
                    Self::catch_up(seat, id.max(1), id + 1, true);
                }
                None => {
                    if seat.next == self.next_id() {
                        return Step::Empty;
                    }
                    match self.take_in(seat) {
                        Some(Ahead::Event(number)) => return Step::Event(number),
                        Some(Ahead::Missed(first, missed, cut_off)) => return Step::Missed(first, missed, cut_off),
                        Some(Ahead::Forgotten(id)) => Self::catch_up(seat, id.max(1), id + 1, true),
                        Some(waiting) => seat.ahead.push_back(waiting),
                        None => {}
                    }
                }
            }
        }
    }

    /// Reads the entry at the reader's next id.
    fn take_in(&mut self, seat: &mut Seat) -> Option<Ahead> {
        let id = seat.next;
        let Some(slot) = self.slot(id) else {
            let (missed, cut_off) = self.skip_lap(seat);
            return Some(Ahead::Missed(id, missed, cut_off));
        };
        seat.next += 1;
        match slot {
            Slot::Void => None,
            Slot::Reserved(_) => {
                seat.counts.waited += 1;
                Some(Ahead::Waiting(id))
            }
            Slot::Part(number) => match self.resolve(seat, id, number) {
                Resolved::Event(number) => Some(Ahead::Event(number)),
                Resolved::Nothing => None,
                Resolved::Headless => Some(Ahead::Missed(id, 1, seat.was_cut_off(id))),
                Resolved::Forgotten => Some(Ahead::Forgotten(id)),
            },
        }
    }

    fn copy_ahead(&mut self, seat: &mut Seat) {
        // Unique events that are claimed now, before the reserved ids in front of them are read.
        self.gaps |= seat.next < self.next_id();
        while seat.next < self.next_id() {
            let taken = self.take_in(seat);
            seat.ahead.extend(taken);
        }
    }

    fn has_news(&self, seat: &Seat) -> bool {
        !seat.local.is_empty()
            || seat.due.is_some()
            || !seat.handed.is_empty()
            || match seat.pending {
                Pending::Nothing => seat.next < self.next_id(),
                Pending::CopiedOut => true,
                Pending::Own(id) => !matches!(self.slot(id), Some(Slot::Reserved(_))),
            }
    }

    fn call(seat: &mut Seat, topic: Topic, id: Option<u64>, number: usize, calls: &mut Vec<Call>) {
        seat.counts.delivered += 1;
        calls.extend(Self::handlers_of(seat, topic).into_iter().map(|handler| Call { handler, id, number }));
    }

    /// Delivers one of the library's own local events.
    fn call_of_library(seat: &mut Seat, number: usize, calls: &mut Vec<Call>) {
        let topic = (LIBRARY, 0);
        if !Self::handlers_of(seat, topic).is_empty() {
            Self::call(seat, topic, None, number, calls);
        }
    }

    /// Delivers a message, unless the handlers for which it was copied are gone by now.
    fn deliver(&mut self, seat: &mut Seat, number: usize, calls: &mut Vec<Call>) {
        let Message { topic, unique, last_id, .. } = self.messages[number];
        if !Self::handlers_of(seat, topic).is_empty() {
            return Self::call(seat, topic, Some(last_id), number, calls);
        }
        let Some((key, _)) = unique else {
            seat.counts.skipped += 1;
            return;
        };
        seat.counts.orphaned += 1;
        if self.keys[key].held.take_if(|held| *held == last_id).is_some() {
            seat.counts.released += 1;
        }
    }

    /// Polls. Returns the calls of handlers, and the numbers of delivered events and missed ids.
    pub(super) fn poll(&mut self, slot: usize, most: u64) -> (Vec<Call>, u64, u64) {
        let mut seat = self.seats[slot].take().unwrap();
        let before = seat.counts.clone();
        let mut calls = Vec::new();
        // Behind its own reserved id it reads on, but delivers nothing.
        if self.has_news(&seat) || matches!(seat.pending, Pending::Own(_)) {
            let left = |seat: &Seat| seat.counts.delivered - before.delivered < most;
            while left(&seat)
                && let Some((number, topic)) = seat.local.pop_front()
            {
                Self::call(&mut seat, topic, None, number, &mut calls);
            }
            let mut own = None;
            while left(&seat) {
                own = None;
                match self.read(&mut seat) {
                    Step::Event(number) => {
                        self.deliver(&mut seat, number, &mut calls);
                    }
                    Step::Handed(Handed::Event(number)) => self.deliver(&mut seat, number, &mut calls),
                    Step::Handed(Handed::Reset) => {
                        seat.counts.resets += 1;
                        Self::call_of_library(&mut seat, RESET, &mut calls);
                    }
                    Step::Handed(Handed::UpToDate) => Self::call_of_library(&mut seat, UP_TO_DATE, &mut calls),
                    Step::Missed(first, missed, cut_off) => {
                        calls.push(Call { handler: REPORTER, id: None, number: lag_number(missed, cut_off) });
                        seat.counts.missed += missed;
                        seat.counts.lagged += 1;
                        Self::catch_up(&mut seat, first, first + missed, false);
                    }
                    Step::PendingOwn(id) => {
                        own = Some(id);
                        break;
                    }
                    Step::Empty => break,
                }
            }
            seat.pending = match own {
                Some(id) => Pending::Own(id),
                None if !seat.ahead.is_empty() || seat.due.is_some() || !seat.handed.is_empty() => Pending::CopiedOut,
                None => Pending::Nothing,
            };
        }
        let polled = (calls, seat.counts.delivered - before.delivered, seat.counts.missed - before.missed);
        self.seats[slot] = Some(seat);
        polled
    }

    /// Leaves. Events that are already claimed still run.
    pub(super) fn leave(&mut self, slot: usize) -> Vec<Call> {
        let mut seat = self.seats[slot].take().unwrap();
        if let Some(id) = self.reserved_by(seat.number) {
            self.slots[id as usize] = Slot::Void;
        }
        let mut calls = Vec::new();
        for ahead in std::mem::take(&mut seat.ahead) {
            if let Ahead::Event(number) = ahead
                && self.messages[number].unique.is_some()
            {
                self.deliver(&mut seat, number, &mut calls);
            }
        }
        calls
    }

    pub(super) fn cursor(&self, seat: &Seat) -> u64 {
        match seat.ahead.front() {
            Some(Ahead::Waiting(id)) => *id,
            Some(Ahead::Event(number)) => self.messages[*number].last_id,
            Some(Ahead::Missed(id, ..) | Ahead::Forgotten(id)) => *id,
            None => seat.next,
        }
    }
}
