//! What a worker did not get, and its form in a block.
//!
//! ```text
//! gap    w0  [ seat:16 ][ pid: 24 ][ 0: 8 ][ reason: 8 ][ 0: 4 ][B][ED][OF][N]
//!        w1  [ number of events                           ]   only with N
//!        w2  [ origin                                     ]   only with OF
//!        w3  [ id of the last of them on their host       ]   only with ED, which OF comes with
//! ```
//!
//! B: a bridge has carried it.

use std::fmt;

use super::wire::PID_MASK;
use crate::identity::Origin;

/// Something that a worker did not get, at its place in the order: see [`Worker::on_missed`](crate::Worker::on_missed).
///
/// ```
/// # let bus = seqcast::SegmentOptions::new().anonymous()?;
/// # let worker = bus.join()?;
/// worker.on_missed(|missed| {
///     println!("{missed}");
///     // State that is built from events is out of date: build it again from its source.
/// })?;
/// # Ok::<(), seqcast::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// Where the events were lost.
    pub whence: Whence,
    /// How many events were lost at most. `None` if it is not known; then events before this may have had another order
    /// on other hosts.
    pub count: Option<u64>,
    /// The first missed id on this bus or, if the events were lost between hosts, the id of the report.
    pub first_id: u64,
    /// The host whose events were lost, if they are those of one host.
    pub origin: Option<Origin>,
    /// Why they were lost.
    pub reason: MissedReason,
}

/// Where events were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Whence {
    /// In this host's ring: this worker was lapped.
    Ring,
    /// Between hosts. No worker of this host has got the events.
    Cluster,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $reason:ident = $number:literal, $name:literal;)+) => {
        /// Why events were lost. See [`Missed`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum MissedReason {
            $($(#[$doc])+ $reason = $number,)+
        }

        impl MissedReason {
            /// All reasons.
            pub const ALL: &'static [MissedReason] = &[$(MissedReason::$reason,)+];

            /// Returns a short, stable name for logs and metrics: the name of the variant in snake case.
            ///
            /// ```
            /// assert_eq!(seqcast::MissedReason::OriginLapped.name(), "origin_lapped");
            /// ```
            pub const fn name(self) -> &'static str {
                match self {
                    $(MissedReason::$reason => $name,)+
                }
            }

            fn of_code(code: u8) -> Option<MissedReason> {
                match code {
                    $($number => Some(MissedReason::$reason),)+
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// The events were overwritten in this host's ring before this worker read them.
    Lapped = 1, "lapped";
    /// The stream between the hosts was trimmed before this host's relay read it.
    Trimmed = 2, "trimmed";
    /// The events were overwritten in the ring of their own host before its relay read them.
    OriginLapped = 3, "origin_lapped";
    /// This host's relay had been away for so long that it went to the end of the stream.
    CatchUp = 4, "catch_up";
    /// The engine between the hosts has lost data.
    EngineLost = 5, "engine_lost";
    /// A unique request waited for longer than its ttl, and no host ran it.
    Undecided = 6, "undecided";
    /// An event was larger than what a relay sends or a segment takes.
    TooLarge = 7, "too_large";
    /// An event had a format that this host does not read.
    Format = 8, "format";
}

impl fmt::Display for Missed {
    /// Writes what was missed and why, without an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(1) => f.write_str("1 event ")?,
            Some(count) => write!(f, "{count} events ")?,
            None => f.write_str("an unknown number of events ")?,
        }
        if let Some(origin) = self.origin {
            write!(f, "of host {origin} ")?;
        }
        match self.whence {
            Whence::Ring => f.write_str("were overwritten before they were read"),
            Whence::Cluster => write!(f, "did not reach this host: {}", self.reason.name()),
        }
    }
}

/// A record of events that were lost between hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) seat: u16,
    pub(crate) pid: u32,
    pub(crate) count: Option<u64>,
    /// The host whose events were lost.
    pub(crate) origin: Option<Origin>,
    /// With an origin, the id of the last of them there.
    pub(crate) last: Option<u64>,
    pub(crate) reason: MissedReason,
    /// `true` if a bridge has carried it.
    pub(crate) bridged: bool,
}

const COUNTED: u64 = 1;
const OF_ONE: u64 = 2;
const ENDED: u64 = 4;
const BRIDGED: u64 = 8;

impl Gap {
    /// Bytes of a record.
    pub(crate) const BYTES: usize = 32;

    /// Returns a record. Its poster adds seat and process.
    pub(crate) fn new(count: Option<u64>, origin: Option<Origin>, last: Option<u64>, reason: MissedReason) -> Gap {
        Gap { seat: 0, pid: 0, count, origin, last, reason, bridged: false }
    }

    /// Returns the words of the record.
    pub(crate) fn words(&self) -> [u64; Gap::BYTES / 8] {
        let flag = |is: bool, flag: u64| if is { flag } else { 0 };
        let flags = flag(self.count.is_some(), COUNTED)
            | flag(self.origin.is_some(), OF_ONE)
            | flag(self.last.is_some(), ENDED)
            | flag(self.bridged, BRIDGED);
        let first =
            u64::from(self.seat) << 48 | u64::from(self.pid & PID_MASK) << 24 | (self.reason as u64) << 8 | flags;
        [first, self.count.unwrap_or(0), self.origin.map_or(0, Origin::bits), self.last.unwrap_or(0)]
    }

    /// Returns `None` for bytes that no writer of this layout stores.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Gap> {
        let words: &[[u8; 8]; 4] = bytes.as_chunks::<8>().0.try_into().ok()?;
        let [first, count, origin, last] = words.map(u64::from_ne_bytes);
        let has = |flag: u64| first & flag != 0;
        if first & 0xff & !(COUNTED | OF_ONE | ENDED | BRIDGED) != 0 || has(ENDED) && !has(OF_ONE) {
            return None;
        }
        Some(Gap {
            seat: (first >> 48) as u16,
            pid: (first >> 24) as u32 & PID_MASK,
            count: has(COUNTED).then_some(count),
            origin: has(OF_ONE).then_some(Origin::from_bits(origin)),
            last: has(ENDED).then_some(last),
            reason: MissedReason::of_code((first >> 8) as u8)?,
            bridged: has(BRIDGED),
        })
    }

    /// Returns the report of this record, which was read at `id`.
    pub(crate) fn missed(&self, id: u64) -> Missed {
        let Gap { count, origin, reason, .. } = *self;
        Missed { whence: Whence::Cluster, count, first_id: id, origin, reason }
    }
}

impl Missed {
    /// Returns the report of ids that were overwritten before they were read.
    pub(crate) fn lapped(first: u64, missed: u64) -> Missed {
        let reason = MissedReason::Lapped;
        Missed { whence: Whence::Ring, count: Some(missed), first_id: first, origin: None, reason }
    }

    /// Returns how many events were missed, for sums: an unknown number counts as one.
    pub(crate) fn at_least_one(&self) -> u64 {
        self.count.unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_read_as_written_and_nothing_else_is() {
        for &reason in MissedReason::ALL {
            for count in [None, Some(0), Some(u64::MAX)] {
                for (origin, last) in
                    [(None, None), (Some(7), None), (Some(u64::MAX), Some(u64::MAX)), (Some(0), Some(0))]
                {
                    let origin = origin.map(Origin::from_bits);
                    let bridged = count.is_none();
                    let gap = Gap { seat: u16::MAX, pid: PID_MASK, count, origin, last, reason, bridged };
                    let bytes: Vec<u8> = gap.words().into_iter().flat_map(u64::to_ne_bytes).collect();
                    assert_eq!(Gap::parse(&bytes), Some(gap));
                    assert_eq!(Gap::parse(&bytes[8..]), None);
                    assert_eq!(Gap::parse(&[&bytes[..], &[0; 8]].concat()), None);
                }
            }
        }
        let gap = |first: u64| Gap::parse(&[first.to_ne_bytes(), [0; 8], [0; 8], [0; 8]].concat());
        assert!(gap(1 << 8 | 7).is_some());
        assert!(gap(0).is_none() && gap(9 << 8).is_none(), "no reason");
        assert!(gap(1 << 8 | 16).is_none(), "an unknown flag");
        assert!(gap(1 << 8 | 4).is_none(), "an id of no host");
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let names: Vec<&str> = MissedReason::ALL.iter().map(|reason| reason.name()).collect();
        let all = "lapped trimmed origin_lapped catch_up engine_lost undecided too_large format";
        assert_eq!(names.join(" "), all);
    }

    #[test]
    fn a_report_says_what_was_missed() {
        let text = |missed: Missed| missed.to_string();
        assert_eq!(text(Missed::lapped(7, 3)), "3 events were overwritten before they were read");
        let gap = |count, origin: Option<u64>, reason| {
            let origin = origin.map(Origin::from_bits);
            text(Gap::new(count, origin, None, reason).missed(0))
        };
        let one = gap(Some(1), Some(7), MissedReason::TooLarge);
        assert_eq!(one, "1 event of host 0000000000000007 did not reach this host: too_large");
        let unknown = gap(None, None, MissedReason::EngineLost);
        assert_eq!(unknown, "an unknown number of events did not reach this host: engine_lost");
    }
}
