//! The identity of a bus, positions on it, and the same between hosts.

use std::fmt;
use std::str::FromStr;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::os::text::printable;

/// The identity of a bus: a random number chosen by its creator. No two segments have the same one, even under one
/// name.
///
/// Its text form is 32 hexadecimal digits.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let text = bus.id().to_string();
/// assert_eq!(text.len(), 32);
/// assert_eq!(text.parse::<seqcast::BusId>()?, bus.id());
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BusId([u64; 2]);

const DIGITS: usize = 32;
/// The number of characters of a bad text that an error repeats.
const SHOWN_CHARS: usize = 64;

impl BusId {
    pub(crate) const fn of_nonce(nonce: [u64; 2]) -> BusId {
        BusId(nonce)
    }

    pub(crate) const fn nonce(self) -> [u64; 2] {
        self.0
    }
}

impl fmt::Display for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

impl fmt::Debug for BusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusId({self})")
    }
}

impl FromStr for BusId {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the text is not 32 hexadecimal digits.
    fn from_str(text: &str) -> Result<BusId> {
        // The number's own parser would also accept a sign.
        let plausible = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(id) if plausible => Ok(BusId([(id >> 64) as u64, id as u64])),
            _ => Err(Error::option("bus id", shown(text), format!("it must be {DIGITS} hexadecimal digits"))),
        }
    }
}

/// A worker's position on a bus: all events before [`next`](Position::next) are handled. Store it, and let another
/// worker continue there: see [`Start::Resume`](crate::Start::Resume).
///
/// Its text form is that of the [`BusId`], a colon, and the next id.
///
/// ```
/// use seqcast::{Bus, SegmentOptions, Position, Start, WorkerOptions};
///
/// # let bus = SegmentOptions::new().anonymous()?;
/// let worker = bus.join()?;
/// worker.poll()?;
/// let kept = worker.position().to_string();
/// # drop(worker);
///
/// let position: Position = kept.parse()?;
/// let worker = bus.join_with(&WorkerOptions::new().start(Start::Resume(position)))?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    bus: BusId,
    next: u64,
}

impl Position {
    /// Returns the position after the event `id` of `bus`: that event and all earlier ones are handled.
    pub const fn after(bus: BusId, id: u64) -> Position {
        Position::before(bus, id.saturating_add(1))
    }

    /// Returns the position before the event `id` of `bus`: all earlier events are handled.
    pub const fn before(bus: BusId, id: u64) -> Position {
        Position { bus, next: id }
    }

    /// Returns the bus of the position.
    pub const fn bus(&self) -> BusId {
        self.bus
    }

    /// Returns the first id that is not handled.
    pub const fn next(&self) -> u64 {
        self.next
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bus, self.next)
    }
}

impl FromStr for Position {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the text is not the text form of a position.
    fn from_str(text: &str) -> Result<Position> {
        let parse = || {
            let (bus, next) = text.split_once(':')?;
            let all_digits = next.bytes().all(|byte| byte.is_ascii_digit());
            Some(Position { bus: bus.parse().ok()?, next: next.parse().ok().filter(|_| all_digits)? })
        };
        parse().ok_or_else(|| {
            let rule = format!("it must be {DIGITS} hexadecimal digits of a bus, a colon, and an event id");
            Error::option("position", shown(text), rule)
        })
    }
}

/// The identity of a segment among the hosts of a cluster: half of its [`BusId`]. A segment that is created again is
/// another origin, also under the same name on the same host.
///
/// Its text form is 16 hexadecimal digits.
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// let origin = bus.origin();
/// assert_eq!(origin.to_string().parse::<seqcast::Origin>()?, origin);
/// assert!(bus.id().to_string().starts_with(&origin.to_string()));
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(u64);

impl Origin {
    /// The number of hexadecimal digits of its text form.
    const DIGITS: usize = 16;

    /// Returns the origin of the segment with this identity.
    pub(crate) const fn of_bus(bus: BusId) -> Origin {
        Origin(bus.0[0])
    }

    /// Returns the origin for the number that [`bits`](Origin::bits) returned.
    pub const fn from_bits(bits: u64) -> Origin {
        Origin(bits)
    }

    /// Returns the origin as a number.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

impl FromStr for Origin {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the text is not 16 hexadecimal digits.
    fn from_str(text: &str) -> Result<Origin> {
        let plausible = text.len() == Origin::DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(bits) if plausible => Ok(Origin(bits)),
            _ => {
                let rule = format!("it must be {} hexadecimal digits", Origin::DIGITS);
                Err(Error::option("origin", shown(text), rule))
            }
        }
    }
}

/// The place of an event in the order that all hosts of a cluster share. Within a timeline, places grow. A new timeline
/// begins if the engine between the hosts loses its data, and has a greater number than the one before it.
///
/// Its text form is the timeline, a hyphen, and the number of the event in it.
///
/// ```
/// use seqcast::ClusterId;
///
/// let place: ClusterId = "1764500000000-7".parse()?;
/// assert_eq!((place.timeline, place.n), (1_764_500_000_000, 7));
/// assert!(place < ClusterId { timeline: place.timeline, n: 8 });
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId {
    /// The number of the timeline.
    pub timeline: u64,
    /// The number of the event in its timeline, from 0.
    pub n: u64,
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.timeline, self.n)
    }
}

impl FromStr for ClusterId {
    type Err = Error;

    /// # Errors
    ///
    /// [`ErrorKind::Option`] if the text is not two numbers with a hyphen between them.
    fn from_str(text: &str) -> Result<ClusterId> {
        let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let parse = || {
            let (timeline, n) = text.split_once('-')?;
            Some(ClusterId { timeline: number(timeline)?, n: number(n)? })
        };
        let rule = "it must be two numbers with a hyphen between them";
        parse().ok_or_else(|| Error::option("cluster id", shown(text), rule))
    }
}

/// The beginning of a bad text for an error, quoted.
fn shown(text: &str) -> String {
    let beginning: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{:?}", printable(&beginning))
}

#[cfg(test)]
mod tests {
    use seqcast_testkit::assert_error;

    use super::*;
    use crate::error::Cause;

    #[test]
    fn what_is_printed_is_read_as_it_was_and_nothing_else_is() {
        for nonce in [[0, 0], [1, 2], [u64::MAX, 0], [u64::MAX; 2], [0x0123_4567_89ab_cdef, 7]] {
            let bus = BusId::of_nonce(nonce);
            assert_eq!(bus.to_string().parse::<BusId>().unwrap(), bus);
            for next in [0, 1, u64::MAX] {
                let position = Position::before(bus, next);
                assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
            }
        }
        let id = BusId::of_nonce([3, 4]).to_string();
        for bad in ["", "7", &id[1..], &format!("{id}0"), &format!("+{}", &id[1..]), &format!("g{}", &id[1..])] {
            assert_error!(bad.parse::<BusId>(), Cause::Option { option: "bus id", .. }, "{bad}");
            assert!(format!("{bad}:7").parse::<Position>().is_err(), "{bad}");
        }
        for bad in ["", ":", "+7", "-7", "7 ", "18446744073709551616", "7:7"] {
            let refusal = format!("{id}:{bad}").parse::<Position>().unwrap_err();
            assert!(refusal.to_string().contains(&id), "{refusal}");
        }
        let long = "\u{202e}".repeat(10_000);
        let text = long.parse::<Position>().unwrap_err().to_string();
        assert!(text.len() < 1000 && !text.contains('\u{202e}'), "{} bytes", text.len());
    }

    #[test]
    fn what_hosts_exchange_is_read_as_it_was_printed() {
        for bits in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let origin = Origin::from_bits(bits);
            assert_eq!((origin.to_string().parse::<Origin>().unwrap(), origin.bits()), (origin, bits));
        }
        for bad in ["", "7", "+123456789abcdef", "0123456789abcdefg", "x123456789abcdef"] {
            assert_error!(bad.parse::<Origin>(), Cause::Option { option: "origin", .. }, "{bad}");
        }
        for place in [ClusterId { timeline: 0, n: u64::MAX }, ClusterId { timeline: u64::MAX, n: 0 }] {
            assert_eq!(place.to_string().parse::<ClusterId>().unwrap(), place);
        }
        for bad in ["", "-", "7", "7-", "-7", "+7-7", "7-+7", "7-7-7", "7- 7", "18446744073709551616-0"] {
            assert_error!(bad.parse::<ClusterId>(), Cause::Option { option: "cluster id", .. }, "{bad}");
        }
    }

    #[test]
    fn after_an_id_is_before_the_next() {
        let bus = BusId::of_nonce([3, 4]);
        assert_eq!(Position::after(bus, 6), Position::before(bus, 7));
        assert_eq!(Position::after(bus, u64::MAX).next(), u64::MAX);
        assert_eq!(Position::after(bus, 6).bus(), bus);
    }
}
