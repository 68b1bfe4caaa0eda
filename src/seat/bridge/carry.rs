//! Carries the events of one segment into the other.

use super::carried::Carried;
use super::side::Side;
use crate::error::{ErrorKind, Result};
use crate::event::missed::Gap;
use crate::event::wire::{Kept, Keyed, Travel};
use crate::event::{NoRoom, Topic, agree_on_format};
use crate::protocol::bridge::Sending;
use crate::seat::publish::Outgoing;
use crate::seat::publisher::Publisher;
use crate::seat::read::{Message, Step};
use crate::seat::retain::left_of_ttl;
use crate::seat::room::with_room;
use crate::seat::subscriber::Found;
use crate::sync::Ordering;

/// Carries what `from` has, but at most `most` events. `carried` returns the count of this direction. Returns `true` if
/// it has read anything.
pub(super) fn carry(
    from: &mut Side,
    to: &mut Side,
    most: u64,
    total: &mut Carried,
    carried: impl Fn(&mut Carried) -> &mut u64,
) -> Result<bool> {
    to.check()?;
    let (began, mut has_read) = (from.subscriber.cursor(), false);
    for _ in 0..most {
        let Some(found) = from.subscriber.step()? else { break };
        match found {
            Found::Undecided(..) => total.undecided += 1,
            Found::Step(Step::Event) => {
                let posted = post(from, to, total).inspect_err(|_| from.subscriber.put_off = Some(Step::Event))?;
                *carried(total) += u64::from(posted);
            }
            Found::Step(Step::Lagged { missed, .. }) => total.missed += missed,
            Found::Step(Step::Reset { .. }) => from.was_reset = true,
            Found::Step(Step::UpToDate { .. }) => {
                if std::mem::take(&mut from.was_reset) {
                    clear_what_is_gone(from, to)?;
                }
            }
            Found::Step(Step::Gap { id }) => {
                let gap = *from.subscriber.reader.gap_record();
                if !gap.bridged {
                    let told = with_room(to.publisher(), NoRoom::Wait, |publisher, posting| {
                        publisher.seat.writer.post_gap(&Gap { bridged: true, ..gap }, posting)
                    });
                    told.inspect_err(|_| from.subscriber.put_off = Some(Step::Gap { id }))?;
                }
            }
            Found::Step(Step::Unreadable { .. }) => total.unreadable += 1,
            // The next call looks again.
            Found::Step(Step::Pending(_) | Step::Empty) => break,
        }
        from.note_position();
        has_read = true;
    }
    from.note_position();
    Ok(has_read || from.subscriber.cursor() > began)
}

/// The result of a post in the other segment.
enum Posted {
    Plain,
    /// It is retained there, or clears.
    Retained(u64),
    /// There is nothing to clear.
    Nothing,
    /// The event cannot be posted there.
    Refused,
}

/// Posts the event that was read last. Returns `false` if it was not posted, and never will be.
fn post(from: &mut Side, to: &mut Side, total: &mut Carried) -> Result<bool> {
    let message = from.subscriber.reader.current();
    let (id, is_unique) = (message.id, message.head.is_unique());
    let kept = message.head.kept(&message.bytes);
    if kept.is_some_and(|kept| from.is_superseded(kept.key, id)) {
        total.superseded += 1;
        return Ok(false);
    }
    if !message.handed_over {
        from.words().set_sending(Sending { place: id.saturating_add(1), mark: to.newest() });
    }
    let posted = match kept {
        Some(kept) => post_kept(from, to, &kept, total)?,
        None => post_plain(from, to)?,
    };
    if let Some(claim) = message_of(from).claim {
        // The event stays decided here. Its key is held where it runs. If this fails, the key is held here, too.
        let _ = from.publisher().seat.claimer.release(&claim);
    }
    match posted {
        Posted::Plain => total.unique += u64::from(is_unique),
        Posted::Retained(posted) => {
            total.retained += 1;
            if let Some(kept) = kept {
                to.note_came(kept.key, posted);
            }
        }
        Posted::Nothing => total.superseded += 1,
        Posted::Refused => total.refused += 1,
    }
    Ok(matches!(posted, Posted::Plain | Posted::Retained(_)))
}

fn message_of(side: &Side) -> &Message {
    side.subscriber.reader.current()
}

/// Returns the event of `message` as it is posted in the segment of `to`.
fn outgoing<'a>(message: &'a Message, keyed: Keyed<'a>) -> Outgoing<'a> {
    let text = |bytes| str::from_utf8(bytes).unwrap_or_default();
    let topic = Topic::of_event(text(message.head.source(&message.bytes)), text(message.head.event(&message.bytes)));
    // What came from another host stays so.
    let travel = message.via().map_or(Travel::Local, Travel::Relayed);
    Outgoing { topic, type_tag: message.type_tag(), keyed, travel, payload: message.payload(), bridged: true }
}

fn post_plain(from: &Side, to: &mut Side) -> Result<Posted> {
    let message = message_of(from);
    if !has_format(from, to, message) {
        return Ok(Posted::Refused);
    }
    let keyed = message.head.unique(&message.bytes).map_or(Keyed::Nothing, Keyed::Unique);
    refused_if_too_large(post_when_room(to.publisher(), &outgoing(message, keyed)))
}

fn post_kept(from: &Side, to: &mut Side, kept: &Kept, total: &mut Carried) -> Result<Posted> {
    let message = message_of(from);
    if !has_format(from, to, message) {
        return Ok(Posted::Refused);
    }
    let left = left_of_ttl(from.subscriber.segment(), message.id, kept)?;
    let keyed = Keyed::Kept { kept: Kept { ttl_ns: left, ..*kept }, text: message.head.key(&message.bytes) };
    let event = outgoing(message, keyed);
    let publisher = to.publisher();
    if publisher.seat.writer.table().is_some() {
        let posted = if kept.clears {
            clear_when_room(publisher, &event).map(|id| id.map_or(Posted::Nothing, Posted::Retained))
        } else {
            let retained = with_room(publisher, NoRoom::Wait, |publisher, posting| {
                publisher.seat.writer.retain(&mut publisher.seat.claimer, &event, posting)
            });
            retained.map(Posted::Retained)
        };
        match posted {
            Err(error) if matches!(error.kind(), ErrorKind::RetainedFull | ErrorKind::PayloadTooLarge) => {}
            posted => return posted,
        }
    }
    if kept.clears {
        return Ok(Posted::Nothing);
    }
    let posted = refused_if_too_large(post_when_room(publisher, &Outgoing { keyed: Keyed::Nothing, ..event }))?;
    total.unretained += u64::from(matches!(posted, Posted::Plain));
    Ok(posted)
}

/// Posts `event`. Waits for workers that must read.
fn post_when_room(publisher: &mut Publisher, event: &Outgoing<'_>) -> Result<u64> {
    with_room(publisher, NoRoom::Wait, |publisher, posting| publisher.seat.writer.post(event, posting))
}

/// Clears what `event` clears. Waits for workers that must read.
fn clear_when_room(publisher: &mut Publisher, event: &Outgoing<'_>) -> Result<Option<u64>> {
    with_room(publisher, NoRoom::Wait, |publisher, posting| {
        publisher.seat.writer.clear(&mut publisher.seat.claimer, event, posting)
    })
}

/// Returns `false` if the event is a typed value, and the typed values of the other bus have another format.
fn has_format(from: &Side, to: &Side, message: &Message) -> bool {
    // Relaxed: as in `Data::posted`.
    let format = from.subscriber.segment().typed_format().load(Ordering::Relaxed);
    let is_typed = message.type_tag() != 0 && format != 0;
    !is_typed || agree_on_format(to.subscriber.segment().typed_format(), format).is_ok()
}

fn refused_if_too_large(posted: Result<u64>) -> Result<Posted> {
    match posted {
        Ok(_) => Ok(Posted::Plain),
        Err(error) if error.kind() == ErrorKind::PayloadTooLarge => Ok(Posted::Refused),
        Err(error) => Err(error),
    }
}

/// Clears what came from the segment of `from` and is not retained there any more.
fn clear_what_is_gone(from: &mut Side, to: &mut Side) -> Result<()> {
    for retained in to.publisher().retained()? {
        if !retained.is_bridged() || from.publisher().get_key(retained.topic(), retained.key())?.is_some() {
            continue;
        }
        let Some(kept) = retained.posted() else { continue };
        let kept = Kept { ttl_ns: 0, clears: true, ..kept };
        let keyed = Keyed::Kept { kept, text: retained.key() };
        let (topic, travel) = (retained.topic(), Travel::Local);
        let event = Outgoing { topic, type_tag: 0, keyed, travel, payload: &[], bridged: true };
        if let Some(id) = clear_when_room(to.publisher(), &event)? {
            to.note_came(kept.key, id);
        }
    }
    Ok(())
}
