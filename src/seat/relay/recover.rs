//! Finds out if a relay that was killed had posted its last event.

use crate::error::Result;
use crate::event::Buffer;
use crate::event::wire::{Head, Via};
use crate::identity::Origin;
use crate::protocol::relay::{Intent, Witness};
use crate::protocol::ring::Look;
use crate::seat::copy::{Copied, CopyInto, Published};
use crate::seat::fragments::{Assembled, Fragments};
use crate::seat::options::Begin;
use crate::seat::relay::region::RelayRegion;
use crate::seat::relay::travel::Recovered;
use crate::segment::Segment;
use crate::segment::fault::InSegment;
use crate::segment::layout::relay_word;

/// F1 to F4. The caller holds the relay's lock.
pub(super) fn recover(segment: &Segment) -> Result<Recovered> {
    let found = segment.relay_words().recover(|intent| witness(segment, intent))?;
    let Some((Intent { origin, id, .. }, witness)) = found else { return Ok(Recovered::Nothing) };
    let origin = Origin::from_bits(origin);
    Ok(match witness {
        Witness::Posted => Recovered::Posted { origin, id },
        Witness::NotPosted => Recovered::NotPosted { origin, id },
        Witness::Lapped => {
            RelayRegion::of(segment).add(relay_word!(down.possible_duplicates), 1);
            Recovered::Unknown { origin, id }
        }
    })
}

/// F2: looks for the event, or the record of missed events, among what was posted since the intent. An event in
/// fragments is there if all of them are.
fn witness(segment: &Segment, intent: Intent) -> Result<Witness> {
    let (ring, large) = (segment.ring(), segment.large());
    let is_it = |origin: Origin, id: u64| (origin.bits(), id) == (intent.origin, intent.id);
    let begin = Begin { first: intent.end, gathers: false, with_retained: false };
    let mut fragments = Fragments::beginning(segment.geometry(), &ring, begin);
    let (mut head, mut buffer, mut complete) = (Head::default(), Buffer::new(), true);
    // One look at the event id, so that it is a lap at most, also if the event id is hostile.
    let end = ring.newest();
    let mut next = end.saturating_sub(ring.capacity()).max(intent.end);
    complete &= next == intent.end;
    while next < end {
        let id = next;
        next += 1;
        let mut wants = |head: &Head, prefix: &[u8]| {
            head.via(prefix).map(Via::of_bytes).is_some_and(|via| is_it(via.origin, via.id))
        };
        let found = match ring.look(id).in_segment(segment)? {
            Look::Published(seen) => {
                let published = Published::of(&ring, id, seen).in_segment(segment)?;
                let into = CopyInto { head: &mut head, buffer: &mut buffer };
                match published.copy_out(into, &mut fragments, large.as_ref(), &mut wants) {
                    // A payload that is overwritten belongs to the event that was looked for.
                    Copied::Event { .. } | Copied::Overwritten => true,
                    Copied::Gap(gap) => matches!((gap.origin, gap.last), (Some(of), Some(last)) if is_it(of, last)),
                    Copied::Fragment { kind, len } => {
                        matches!(fragments.add(kind, len, wants), Assembled::Whole { .. })
                    }
                    Copied::Lapped => {
                        complete = false;
                        false
                    }
                    Copied::NotWanted { .. } | Copied::Visited { .. } | Copied::Unreadable => false,
                }
            }
            Look::Lapped => {
                complete = false;
                false
            }
            Look::Reserved(_) | Look::Void | Look::Empty => false,
        };
        if found {
            return Ok(Witness::Posted);
        }
    }
    Ok(if complete { Witness::NotPosted } else { Witness::Lapped })
}
