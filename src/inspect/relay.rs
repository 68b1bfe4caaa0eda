//! The relay of a segment, as an inspector sees it.

use std::time::Duration;

use crate::error::Result;
use crate::identity::Origin;
use crate::os::clock::HostClock;
use crate::seat::label_of;
use crate::seat::relay::poster::origins;
use crate::seat::relay::region::{RelayRegion, State};
use crate::seat::relay::travel::StreamPosition;
use crate::seat::words::SeatWords;
use crate::segment::Segment;
use crate::segment::layout::{relay_word, seat_word};

pub use crate::seat::relay::region::Health;

/// If a segment has a relay.
///
/// ```
/// assert_eq!(seqcast::inspect::RelayPresence::Dead.name(), "dead");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelayPresence {
    /// No relay has been started.
    Never,
    /// A process holds the place of the relay. It may be stopped.
    Here,
    /// The last relay was killed. Requests are kept for its successor, as long as the ring holds them.
    Dead,
    /// The last relay has left. Requests are refused.
    Left,
}

impl RelayPresence {
    /// Returns a short, stable name: the name of the variant in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            RelayPresence::Never => "never",
            RelayPresence::Here => "here",
            RelayPresence::Dead => "dead",
            RelayPresence::Left => "left",
        }
    }
}

/// The state of a segment's relay: see [`Inspector::relay`](super::Inspector::relay).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayState {
    /// If there is a relay.
    pub presence: RelayPresence,
    /// The identity of the segment among the hosts.
    pub origin: Origin,
    /// The process id of the relay in its own pid namespace, or of the last one if it was killed. Otherwise 0.
    pub pid: u32,
    /// The relay's seat.
    pub seat: Option<u32>,
    /// The label of that seat.
    pub label: String,
    /// What the relay said last of its connection to the engine.
    pub health: Health,
    /// The time since the last sign of life of its reading half. `None` if there was none.
    pub reader_beat: Option<Duration>,
    /// The same of its posting half.
    pub poster_beat: Option<Duration>,
    /// The next id that the engine has not acknowledged, if a relay has stored it.
    pub sent: Option<u64>,
    /// The number of ids from there to the end of the ring.
    pub backlog: Option<u64>,
    /// How far the stream was read.
    pub position: Option<StreamPosition>,
    /// The number of hosts for which there is room.
    pub hosts: u64,
    /// The hosts of which events were posted or passed over, with the last event of each.
    pub origins: Vec<(Origin, u64)>,
    /// Events that relays have posted on this segment.
    pub posted: u64,
    /// Events that relays have passed over.
    pub passed: u64,
    /// Reports of missed events that relays have posted.
    pub gaps: u64,
    /// Events that may have been posted twice, because a relay was killed and the ring was lapped before the next one.
    pub possible_duplicates: u64,
}

pub(super) fn of(segment: &Segment) -> Result<RelayState> {
    let (region, words, clock) = (RelayRegion::of(segment), segment.relay_words(), HostClock::of_this_process());
    let is_held = segment.is_relay_held()?;
    let presence = match region.state() {
        _ if is_held => RelayPresence::Here,
        State::Never => RelayPresence::Never,
        State::Left => RelayPresence::Left,
        State::Here | State::Preparing => RelayPresence::Dead,
    };
    let noted = region.seat().filter(|&(seat, _)| seat <= segment.geometry().last_seat());
    let seat = noted.and_then(|(seat, incarnation)| {
        let of_seat = SeatWords::of(&segment.seats(), seat);
        // The seat may have another holder since the relay was killed.
        (of_seat.get(seat_word!(identity.incarnation)) == incarnation).then_some((seat, of_seat))
    });
    let sent = region.get(relay_word!(up.sent)).checked_sub(1);
    let beat = |word: usize| match region.get(word) {
        0 => None,
        then => Some(Duration::from_nanos(clock.boottime_ns().saturating_sub(then))),
    };
    Ok(RelayState {
        presence,
        origin: Origin::of_bus(segment.id()),
        pid: seat.as_ref().map_or(0, |(_, words)| words.get(seat_word!(identity.pid)) as u32),
        label: seat.as_ref().map_or_else(String::new, |(_, words)| label_of(words)),
        seat: seat.map(|(seat, _)| u32::from(seat)),
        health: Health::of_code(region.get(relay_word!(down.health))),
        reader_beat: beat(relay_word!(up.beat)),
        poster_beat: beat(relay_word!(down.beat)),
        sent,
        backlog: sent.map(|sent| segment.ring().newest().saturating_sub(sent)),
        position: words.position().map(StreamPosition::of_words),
        hosts: segment.geometry().relay_hosts,
        origins: origins(&words),
        posted: region.get(relay_word!(down.posted)),
        passed: region.get(relay_word!(down.passed)),
        gaps: region.get(relay_word!(down.gaps)),
        possible_duplicates: region.get(relay_word!(down.possible_duplicates)),
    })
}
