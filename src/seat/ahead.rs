//! What a reader has copied out beyond an id that it waits for.

use std::collections::VecDeque;

use crate::event::missed::Gap;
use crate::os::sys;
use crate::seat::read::Message;

/// The most entries.
const MOST: usize = 4096;
/// The most bytes of events.
const MOST_BYTES: usize = 256 << 10;

/// Horizons recorded per `wait_max`. The wait for an id may last longer by one of these parts.
const HORIZONS: u64 = 8;
/// The most horizons kept. With a constant `wait_max` there are only a few more than [`HORIZONS`].
const MOST_HORIZONS: usize = 32;

/// The result of reading an id ahead.
pub(crate) enum Ahead {
    Message(Message),
    Lagged {
        first: u64,
        missed: u64,
        cut_off: bool,
    },
    /// A retained message that is gone from the ring and from the table.
    Forgotten {
        id: u64,
    },
    Gap {
        id: u64,
        gap: Box<Gap>,
    },
    Unreadable {
        id: u64,
    },
    Waiting {
        id: u64,
        first_met_ns: u64,
    },
}

/// A moment at which there was no room to read on. Every id below `end` was taken by then. If the reader later meets
/// one of them reserved, the wait for it counts from this moment: many waits run at the same time.
#[derive(Clone, Copy)]
struct Horizon {
    end: u64,
    at_ns: u64,
}

/// The entries in order of their ids. The first entry, if any, is an id that is waited for, or that was waited for
/// until the reader's last step.
#[derive(Default)]
pub(crate) struct ReadAhead {
    entries: VecDeque<Ahead>,
    bytes: usize,
    /// The ids that are waited for, in order.
    waiting: VecDeque<u64>,
    /// In order of time and of `end`.
    horizons: VecDeque<Horizon>,
}

impl ReadAhead {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < MOST && self.bytes < MOST_BYTES
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<&Ahead> {
        self.entries.front()
    }

    /// Returns the id of the first entry.
    #[inline]
    pub(crate) fn first_id(&self) -> Option<u64> {
        Some(match self.entries.front()? {
            &Ahead::Waiting { id, .. }
            | &Ahead::Forgotten { id }
            | &Ahead::Gap { id, .. }
            | &Ahead::Unreadable { id }
            | &Ahead::Lagged { first: id, .. } => id,
            Ahead::Message(message) => message.id,
        })
    }

    /// Returns the last id that is waited for.
    pub(crate) fn last_waiting(&self) -> Option<u64> {
        self.waiting.back().copied()
    }

    /// Returns the first id that is waited for.
    #[inline]
    pub(crate) fn first_waiting(&self) -> Option<u64> {
        self.waiting.front().copied()
    }

    pub(crate) fn push(&mut self, entry: Ahead) {
        if let Ahead::Message(message) = &entry {
            self.bytes += message.bytes.len();
        }
        self.entries.push_back(entry);
    }

    pub(crate) fn pop(&mut self) -> Option<Ahead> {
        let entry = self.entries.pop_front()?;
        match &entry {
            Ahead::Message(message) => self.bytes -= message.bytes.len(),
            Ahead::Waiting { .. } => _ = self.waiting.pop_front(),
            Ahead::Lagged { .. } | Ahead::Forgotten { .. } | Ahead::Gap { .. } | Ahead::Unreadable { .. } => {}
        }
        Some(entry)
    }

    /// Adds an id to wait for.
    pub(crate) fn wait_for(&mut self, id: u64) {
        let known_since = self.horizons.iter().find(|horizon| id < horizon.end).map(|horizon| horizon.at_ns);
        let first_met_ns = known_since.unwrap_or_else(sys::boottime_ns);
        self.waiting.push_back(id);
        self.entries.push_back(Ahead::Waiting { id, first_met_ns });
    }

    /// Removes all entries and returns the unique events that were claimed, in order.
    pub(crate) fn take_claimed(&mut self) -> impl Iterator<Item = Message> + use<> {
        self.bytes = 0;
        self.waiting.clear();
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| match entry {
            Ahead::Message(message) if message.claim.is_some() => Some(message),
            _ => None,
        })
    }

    /// Records that the ids below `end` are taken, because there is no room to read from `next` up to there.
    pub(crate) fn note_horizon(&mut self, next: u64, end: u64, wait_max_ns: u64) {
        let now = sys::boottime_ns();
        while self.horizons.front().is_some_and(|horizon| horizon.end <= next) {
            self.horizons.pop_front();
        }
        // If several horizons are at least `wait_max` old, only the last of them is needed.
        while self.horizons.get(1).is_some_and(|horizon| now.saturating_sub(horizon.at_ns) >= wait_max_ns) {
            self.horizons.pop_front();
        }
        let is_new = self
            .horizons
            .back()
            .is_none_or(|last| end > last.end && now.saturating_sub(last.at_ns) >= wait_max_ns / HORIZONS);
        if is_new && end > next && self.horizons.len() < MOST_HORIZONS {
            self.horizons.push_back(Horizon { end, at_ns: now });
        }
    }
}
