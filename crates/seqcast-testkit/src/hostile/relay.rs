//! A relay in the attacked process.

use std::time::Duration;

use seqcast::inspect::Health;
use seqcast::relay::{Foreign, Kept, Outgoing, Relay, RelayOptions, RelayPoster, RelayReader, StreamPosition};
use seqcast::{Bus, ClusterId, MissedReason, Origin};

use super::attack::plain;
use super::draw::Draw;
use super::events::touch;
use super::scene::PATIENCE;

/// Both halves of a relay.
pub type RelayHalves = (RelayReader, RelayPoster);

/// More calls than a small ring can need.
const MOST_READ: usize = 200;

/// Makes one call of a relay, which begins if there is none.
///
/// # Panics
///
/// If a property fails that must hold for any bytes of the segment.
pub fn step(relay: &mut Option<RelayHalves>, bus: &Bus, draw: &mut impl Draw) {
    let Some((reader, poster)) = relay else {
        let taken = bus.relay(&RelayOptions::new().wait_max(PATIENCE));
        *relay = plain(taken, &["no_seat", "option", "relay_taken"]).map(Relay::split);
        return;
    };
    let origin = Origin::from_bits(draw.below(6));
    match draw.below(14) {
        0 => *relay = None,
        1 => {
            let next = if draw.one_in(4) { draw.u64() } else { reader.position().wrapping_sub(draw.below(40)) };
            plain(reader.seek(next), &["not_yet"]);
        }
        2..=5 => read(reader, bus),
        6 => {
            plain(reader.wait(Duration::ZERO), &[]);
            let ids = [reader.resume_at(), reader.position(), reader.oldest(), reader.newest()];
            touch(&format!("{:?} {ids:?}", reader.sent()));
            reader.set_sent(draw.u64());
            reader.beat();
        }
        7..=9 => {
            let place = ClusterId { timeline: 1 + draw.below(3), n: draw.u64() >> 8 };
            let bytes = vec![draw.byte(); draw.below(300) as usize];
            let mut event = Foreign::new(origin, foreign_id(draw), place, "far", "event", &bytes);
            if draw.one_in(4) {
                event = event.unique(Duration::from_millis(1 + draw.below(10)));
            } else if draw.one_in(4) {
                let key = [draw.byte() % 4];
                event = event.retained(Kept { key: &key, ttl: None, clears: draw.one_in(3) });
                plain(poster.restore(&event), &ALSO);
                plain(poster.post(&event), &ALSO);
                return;
            }
            plain(poster.post(&event), &ALSO);
        }
        10 => {
            let count = draw.one_in(2).then(|| draw.u64());
            plain(poster.missed(count, draw.one_in(2).then_some(origin), MissedReason::Trimmed), &[]);
            plain(poster.post_missed(origin, foreign_id(draw), count, MissedReason::OriginLapped), &["relay_full"]);
        }
        11 => {
            plain(poster.pass(origin, foreign_id(draw)), &["relay_full"]);
            if draw.one_in(4) {
                poster.forget(origin);
            }
            touch(&format!("{:?} {:?} {:?}", poster.seen(origin), poster.origins(), poster.recovered()));
        }
        12 => {
            poster.set_position(&StreamPosition { timeline: draw.u64(), seq: 1, chain: 2, n: draw.u64() });
            touch(&format!("{:?}", poster.position()));
            if draw.one_in(4) {
                poster.clear_position();
            }
        }
        _ => {
            plain(poster.slowest_lag(), &[]);
            touch(&format!("{:?}", plain(poster.retained_place("far", "event", &[draw.byte() % 4]), &["option"])));
            poster.beat();
            poster.set_health(Health::Degraded);
        }
    }
}

const ALSO: [&str; 4] = ["relay_full", "payload_too_large", "retained_full", "option"];

fn foreign_id(draw: &mut impl Draw) -> u64 {
    if draw.one_in(8) { draw.u64() } else { draw.below(100) }
}

/// Reads what there is. Ids grow, and no event is larger than any can be.
fn read(reader: &mut RelayReader, bus: &Bus) {
    let largest = bus.largest_event();
    let mut before = None;
    for _ in 0..MOST_READ {
        let id = match plain(reader.try_next(), &[]) {
            None | Some(None) => return,
            Some(Some(Outgoing::Event(event))) => {
                assert!(event.bytes.len() <= largest && !event.source.is_empty() && !event.event.is_empty());
                touch(event.bytes);
                touch(&format!("{event:?}"));
                event.id
            }
            Some(Some(Outgoing::Missed { last, count, .. })) => {
                assert!(count > 0, "a report of nothing at {last}");
                last
            }
            Some(Some(_)) => return,
        };
        assert!(before.is_none_or(|before| before < id), "id {id} after {before:?}");
        before = Some(id);
    }
}
