//! The words of the relay's region that are not part of its protocol.
//!
//! ```text
//! state    63 ....... 2 1     0
//!          [ number: 62 ][state]      0: there has been no relay   1: there is one, or it has died
//!                                     2: it has left               3: one begins with another cluster key
//! ```

use crate::protocol::load_acquire;
use crate::segment::Segment;
use crate::segment::layout::relay_word;
use crate::sync::{AtomicU64, Ordering, Words, fence};

/// How often a reader of the cluster key tries again if it changes meanwhile.
const LOOKS: usize = 64;

/// What the state of the relay's region says. It does not say if a relay lives: its lock does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Never = 0,
    Here = 1,
    Left = 2,
    Preparing = 3,
}

/// What a relay says of its connection to the engine.
///
/// ```
/// assert_eq!(seqcast::relay::Health::Degraded.name(), "degraded");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// It has not reached the engine yet.
    #[default]
    Starting = 0,
    /// Events travel.
    Up = 1,
    /// The engine refuses some calls. Events are kept and sent later.
    Degraded = 2,
    /// The engine is away, or refuses the relay.
    Down = 3,
}

impl Health {
    /// Returns a short, stable name: the name of the variant in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Health::Starting => "starting",
            Health::Up => "up",
            Health::Degraded => "degraded",
            Health::Down => "down",
        }
    }

    pub(crate) fn of_code(code: u64) -> Health {
        match code {
            1 => Health::Up,
            2 => Health::Degraded,
            3 => Health::Down,
            _ => Health::Starting,
        }
    }
}

/// The words of the relay's region.
#[derive(Clone)]
pub(crate) struct RelayRegion(Words);

impl RelayRegion {
    pub(crate) fn of(segment: &Segment) -> RelayRegion {
        RelayRegion(segment.relay())
    }

    #[inline]
    fn at(&self, word: usize) -> &AtomicU64 {
        self.0.at(word)
    }

    /// Relaxed, as the accesses to a seat's words: a word has one writer, and readers do not relate words to each
    /// other.
    #[inline]
    pub(crate) fn get(&self, word: usize) -> u64 {
        self.at(word).load(Ordering::Relaxed)
    }

    /// Relaxed: as [`get`](RelayRegion::get).
    #[inline]
    pub(crate) fn set(&self, word: usize, value: u64) {
        self.at(word).store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn add(&self, word: usize, more: u64) {
        self.set(word, self.get(word).wrapping_add(more));
    }

    /// Returns the state, and its number.
    fn numbered_state(&self) -> (u64, State) {
        // Acquire: pairs with the release of `set_state`, with the cluster key.
        let word = load_acquire(self.at(relay_word!(holder.state)));
        let state = match word & 3 {
            0 => State::Never,
            1 => State::Here,
            2 => State::Left,
            _ => State::Preparing,
        };
        (word, state)
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        self.numbered_state().1
    }

    /// For the holder of the relay's lock.
    pub(crate) fn set_state(&self, state: State) {
        let next = (self.get(relay_word!(holder.state)) >> 2).wrapping_add(1) << 2 | state as u64;
        // Release: with the cluster key.
        self.at(relay_word!(holder.state)).store(next, Ordering::Release);
    }

    /// Returns the cluster key. `None` if there is no relay.
    pub(crate) fn cluster_key(&self) -> Option<[u64; 2]> {
        for _ in 0..LOOKS {
            let (before, state) = self.numbered_state();
            if state != State::Here {
                return None;
            }
            // Relaxed: between the two looks at the state.
            let key = self.stored_key();
            // Acquire fence: the key is read before the second look.
            fence(Ordering::Acquire);
            if self.get(relay_word!(holder.state)) == before {
                return Some(key);
            }
        }
        None
    }

    fn stored_key(&self) -> [u64; 2] {
        [self.get(relay_word!(holder.cluster_key)), self.get(relay_word!(holder.cluster_key) + 1)]
    }

    /// Stores the cluster key and that there is a relay. For the holder of the relay's lock.
    pub(crate) fn begin(&self, key: [u64; 2]) {
        if self.state() == State::Never || self.stored_key() != key {
            // A process that reads a part of this key must not take it for one.
            self.set_state(State::Preparing);
            // Release fence: a process that reads a word stored below sees that state.
            fence(Ordering::Release);
            self.set(relay_word!(holder.cluster_key), key[0]);
            self.set(relay_word!(holder.cluster_key) + 1, key[1]);
        }
        self.set_state(State::Here);
    }

    /// Returns the seat of the relay and its incarnation, if a relay is noted that has not left.
    pub(crate) fn seat(&self) -> Option<(u16, u64)> {
        let seat = self.get(relay_word!(holder.seat)).checked_sub(1)?;
        Some((u16::try_from(seat).ok()?, self.get(relay_word!(holder.seat_incarnation))))
    }

    /// Notes the seat of the relay, or that it has none.
    pub(crate) fn set_seat(&self, seat: Option<(u16, u64)>) {
        // First: a seat with the incarnation of another relay is taken for no relay's.
        self.set(relay_word!(holder.seat_incarnation), seat.map_or(0, |(_, incarnation)| incarnation));
        self.set(relay_word!(holder.seat), seat.map_or(0, |(seat, _)| u64::from(seat) + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::options::SegmentOptions;

    #[test]
    fn a_cluster_key_is_read_whole_or_not_at_all() {
        let segment = Segment::anonymous(&SegmentOptions::new().capacity(8).claims(8).seats(2)).unwrap();
        let region = RelayRegion::of(&segment);
        assert_eq!((region.state(), region.cluster_key()), (State::Never, None));
        region.begin([1, 2]);
        assert_eq!((region.state(), region.cluster_key()), (State::Here, Some([1, 2])));
        // The state after a relay with another key was killed between the two words.
        region.set_state(State::Preparing);
        region.set(relay_word!(holder.cluster_key), 3);
        assert_eq!(region.cluster_key(), None);
        region.begin([3, 4]);
        assert_eq!(region.cluster_key(), Some([3, 4]));
        region.set_state(State::Left);
        assert_eq!((region.state(), region.cluster_key()), (State::Left, None));
        region.begin([3, 4]);
        assert_eq!(region.cluster_key(), Some([3, 4]));
    }
}
