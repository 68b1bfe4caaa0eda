//! `seqcast tail`

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use seqcast::inspect::{ClaimEntry, Inspector, Seen, SeenEvent, SeenRetained, SeenUnique, UniqueState, Winner};

use crate::args::{PayloadForm, TailArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, printable};
use crate::units::{long_duration, rfc3339};

/// The sleep between two reads if nothing is new. An inspector cannot write to the segment, so it cannot ask to be
/// woken.
const NAP: Duration = Duration::from_millis(10);
/// Reads between two checks that the name still leads to this segment.
const LOOKS_BETWEEN_CHECKS: u32 = 100;

pub fn run(args: &TailArgs, output: &mut Output) -> Result<Exit, Failure> {
    let inspector = Inspector::open_any(&args.name)?;
    let mut tail = inspector.tail(args.from)?.payloads(args.payload != PayloadForm::Len);
    // The post time of earlier events is not known.
    let new_from = inspector.next_id();
    let mut left = args.count.unwrap_or(u64::MAX);
    let (mut idle_looks, mut told) = (0_u32, false);
    while left > 0 {
        // Later events are not waited for, however fast they arrive.
        if args.no_follow && tail.next_id() >= new_from {
            break;
        }
        if let Some(seen) = tail.try_next()? {
            left -= u64::from(show(args, output, &seen, new_from)?);
            continue;
        }
        output.flush()?;
        if args.no_follow && tail.waiting_for().is_none() {
            // Fewer ids than the segment claims to hold.
            break;
        }
        idle_looks = idle_looks.wrapping_add(1);
        if !told && idle_looks.is_multiple_of(LOOKS_BETWEEN_CHECKS) && !inspector.is_current()? {
            told = true;
            output.note(format_args!(
                "{} was removed or created again; events of the old segment are still shown",
                inspector.name()
            ));
        }
        std::thread::sleep(NAP);
    }
    Ok(Exit::Fine)
}

/// Prints `seen` in the requested form. Returns `true` if it is an event.
fn show(args: &TailArgs, output: &mut Output, seen: &Seen, new_from: u64) -> Result<bool, Failure> {
    if let Seen::Event(event) = seen {
        let wanted = args.source.as_ref().is_none_or(|source| *source == event.source)
            && args.event.as_ref().is_none_or(|name| *name == event.event);
        if !wanted {
            return Ok(false);
        }
    }
    let time = (id_of(seen) >= new_from).then(|| rfc3339(SystemTime::now()));
    if output.is_json() {
        output.json(&to_json(seen, time, args.payload))?;
    } else {
        let line = to_text(output, seen, time, args.payload);
        output.line(line)?;
    }
    Ok(matches!(seen, Seen::Event(_)))
}

fn id_of(seen: &Seen) -> u64 {
    match seen {
        Seen::Event(event) => event.id,
        Seen::Gap { from, missed, .. } => from.saturating_add(*missed),
        Seen::Void { id, .. }
        | Seen::PassedOver { id, .. }
        | Seen::Headless { id, .. }
        | Seen::Unreadable { id, .. } => *id,
        Seen::Missed(missed) => missed.first_id,
        _ => 0,
    }
}

fn to_text(output: &Output, seen: &Seen, time: Option<String>, payload: PayloadForm) -> String {
    // The time of day with milliseconds, always in UTC.
    let time = time.as_deref().and_then(|time| time.get(11..23)).unwrap_or("      -     ").to_owned();
    let (id, tone, what) = match seen {
        Seen::Event(event) => (event.id, Tone::Plain, event_text(event, payload)),
        Seen::Gap { from, missed, .. } => {
            let last = from.saturating_add(*missed).saturating_sub(1);
            (*from, Tone::Bad, format!("-- gap: {missed} ids up to {last} were overwritten before tail read them --"))
        }
        Seen::Missed(missed) => (missed.first_id, Tone::Bad, format!("-- {missed} --")),
        Seen::Void { id, .. } => (*id, Tone::Faint, "-- void: was reserved and never became an event --".to_owned()),
        Seen::PassedOver { id, seat, .. } => {
            let by = reserver(*seat);
            (*id, Tone::Warning, format!("-- reserved by {by}, not committed yet: passed over --"))
        }
        Seen::Headless { id, .. } => {
            (*id, Tone::Faint, "-- end of an event whose beginning tail has not seen --".to_owned())
        }
        Seen::Unreadable { id, .. } => (*id, Tone::Bad, "-- malformed: not written by a worker --".to_owned()),
        _ => (0, Tone::Plain, String::new()),
    };
    format!("{} {id:>10}  {}", output.toned(Tone::Faint, time), output.toned(tone, what))
}

fn reserver(seat: Option<u32>) -> String {
    seat.map_or("an unknown seat".to_owned(), |seat| format!("seat {seat}"))
}

fn event_text(event: &SeenEvent, payload: PayloadForm) -> String {
    let mut text =
        format!("{}/{}  pid {}  {} B", printable(&event.source), printable(&event.event), event.pid, event.len);
    if event.fragmented {
        text.push_str(" in fragments");
    }
    if event.large {
        text.push_str(" in a large block");
    }
    if event.request {
        text.push_str("  request to the relay");
    }
    if let Some(relayed) = &event.relayed {
        text.push_str(&format!("  from host {} (id {} there), place {}", relayed.origin, relayed.id, relayed.place));
    }
    if let Some(unique) = &event.unique {
        text.push_str(&format!("  unique {} {}", unique.key, unique_text(unique)));
    }
    if let Some(retained) = &event.retained {
        text.push_str(&format!("  {}", retained_text(retained)));
    }
    if let Some(shown) = payload_text(event, payload) {
        text.push_str("  ");
        text.push_str(&shown);
    }
    text
}

fn retained_text(retained: &SeenRetained) -> String {
    let mut text = if retained.clears { "cleared" } else { "retained" }.to_owned();
    if !retained.key.is_empty() {
        text.push_str(&format!(" {:?}", printable(&String::from_utf8_lossy(&retained.key))));
    }
    if let Some(ttl) = retained.ttl {
        text.push_str(&format!(" for {}", long_duration(ttl)));
    }
    text
}

fn unique_text(unique: &SeenUnique) -> String {
    match &unique.state {
        UniqueState::Open => "open".into(),
        UniqueState::Decided(entry) => match entry.left {
            Some(left) => format!("decided, {} for {}", holder_text(entry), long_duration(left)),
            None => "decided, ended".into(),
        },
        UniqueState::Forgotten => "forgotten".into(),
        _ => "unknown".into(),
    }
}

/// The holder of a claim, as text.
pub fn holder_text(entry: &ClaimEntry) -> String {
    let mut text = format!("held by seat {}", entry.seat);
    if let Some(pid) = entry.pid {
        text.push_str(&format!(" (pid {pid}"));
        if !entry.label.is_empty() {
            text.push_str(&format!(" {:?}", printable(&entry.label)));
        }
        text.push(')');
    }
    match entry.winner {
        Winner::Dead => text.push_str(", which is dead,"),
        Winner::Gone => text.push_str(", which has left,"),
        _ => {}
    }
    text
}

fn payload_text(event: &SeenEvent, payload: PayloadForm) -> Option<String> {
    let bytes = event.payload.as_ref()?;
    match payload {
        PayloadForm::Len => None,
        PayloadForm::Hex => Some(hex(bytes)),
        PayloadForm::Utf8 => Some(printable(&String::from_utf8_lossy(bytes)).to_string()),
    }
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn to_json(seen: &Seen, time: Option<String>, payload: PayloadForm) -> Value {
    match seen {
        Seen::Event(event) => {
            let mut value = json!({
                "kind": "event",
                "seen_at": time,
                "id": event.id,
                "source": event.source,
                "event": event.event,
                "seat": event.seat,
                "pid": event.pid,
                "len_bytes": event.len,
                "fragmented": event.fragmented,
                "large": event.large,
                "typed": event.typed,
                "unique": event.unique.as_ref().map(unique_json),
                "retained": event.retained.as_ref().map(retained_json),
                "request": event.request,
                "relayed": event.relayed.map(|relayed| {
                    json!({
                        "origin": relayed.origin.to_string(),
                        "id": relayed.id,
                        "place": relayed.place.to_string(),
                    })
                }),
            });
            match (payload, &event.payload) {
                (PayloadForm::Hex, Some(bytes)) => value["payload_hex"] = hex(bytes).into(),
                (PayloadForm::Utf8, Some(bytes)) => value["payload_utf8"] = String::from_utf8_lossy(bytes).into(),
                _ => {}
            }
            value
        }
        Seen::Gap { from, missed, .. } => json!({ "kind": "gap", "seen_at": time, "id": from, "missed": missed }),
        Seen::Missed(missed) => json!({
            "kind": "missed",
            "seen_at": time,
            "id": missed.first_id,
            "count": missed.count,
            "origin": missed.origin.map(|origin| origin.to_string()),
            "reason": missed.reason.name(),
        }),
        Seen::Void { id, .. } => json!({ "kind": "void", "seen_at": time, "id": id }),
        Seen::PassedOver { id, seat, .. } => {
            json!({ "kind": "passed_over", "seen_at": time, "id": id, "seat": seat })
        }
        Seen::Headless { id, .. } => json!({ "kind": "headless", "seen_at": time, "id": id }),
        Seen::Unreadable { id, .. } => json!({ "kind": "unreadable", "seen_at": time, "id": id }),
        _ => json!({ "kind": "unknown", "seen_at": time }),
    }
}

fn retained_json(retained: &SeenRetained) -> Value {
    json!({
        "key": String::from_utf8_lossy(&retained.key),
        "key_hex": hex(&retained.key),
        "ttl_seconds": retained.ttl.map(|ttl| ttl.as_secs_f64()),
        "clears": retained.clears,
    })
}

fn unique_json(unique: &SeenUnique) -> Value {
    let (state, entry) = match &unique.state {
        UniqueState::Open => ("open", None),
        UniqueState::Decided(entry) if entry.left.is_some() => ("held", Some(entry)),
        UniqueState::Decided(entry) => ("ended", Some(entry)),
        UniqueState::Forgotten => ("forgotten", None),
        _ => ("unknown", None),
    };
    json!({
        "key": unique.key.to_string(),
        "ttl_seconds": unique.ttl.as_secs_f64(),
        "state": state,
        "holder": entry.map(|entry| crate::claims::to_json(entry)),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use seqcast::inspect::ClaimKind;
    use seqcast::{Bus, Start, Worker};

    use super::*;
    use crate::args::Format;
    use crate::fixture;

    const TTL: Duration = Duration::from_secs(600);

    /// A unique event that no worker has reached, as `tail` sees it.
    fn event(what: &str) -> SeenEvent {
        let bus = fixture::bus(what);
        fixture::worker(&bus, "web").event(("jobs", "run")).unique("nightly").ttl(TTL).post("a\nb").unwrap();
        let mut tail = fixture::inspector(&bus).tail(Start::Oldest).unwrap().payloads(true);
        match tail.try_next().unwrap() {
            Some(Seen::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// A claim that seat 0 holds.
    fn entry(what: &str) -> ClaimEntry {
        let bus = fixture::bus(what);
        let worker = fixture::worker(&bus, "web");
        let _claim = worker.claim("nightly", TTL).unwrap();
        fixture::inspector(&bus).claim_on(ClaimKind::Alone, b"nightly").unwrap().unwrap()
    }

    /// The first thing at or after `id` that a tail sees.
    fn first_at(bus: &Bus, id: u64) -> Seen {
        fixture::inspector(bus).tail(Start::At(id)).unwrap().patience(Duration::ZERO).try_next().unwrap().unwrap()
    }

    /// Posts an event and overwrites its head.
    fn post_malformed(bus: &Bus, worker: &Worker) -> u64 {
        let mark = b"a payload that is found again";
        let id = worker.post(("s", "malformed"), mark).unwrap();
        let path = format!("/dev/shm{}", bus.name());
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(mark.len()).position(|window| window == mark).unwrap();
        // Blocks begin at multiples of 64 bytes, with 32 bytes that say where they belong.
        let head = (at - 33) / 64 * 64 + 32;
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&vec![0xff; at - head], head as u64).unwrap();
        id
    }

    #[test]
    fn what_is_no_event_is_told_by_kind_with_its_ids() {
        let bus = fixture::bus("kinds");
        let worker = fixture::worker(&bus, "web");
        for _ in 0..100 {
            worker.post(("s", "e"), "").unwrap();
        }
        let gap = first_at(&bus, 0);
        let Seen::Gap { from: 0, missed, .. } = gap else { panic!("{gap:?}") };
        let gap_again = gap.clone();
        let void = worker.reserve().unwrap().id();
        let malformed = post_malformed(&bus, &worker);
        // Its last fragment.
        let headless = worker.post(("s", "long"), vec![0; 1000]).unwrap();
        let reservation = worker.reserve().unwrap();
        let reserved = reservation.id();
        let gap_words = format!("gap: {missed} ids up to {} were", missed - 1);
        let output = Output::new(Format::Text);
        let now = || Some("2026-11-23T06:52:48.123Z".to_owned());
        for (seen, kind, id, words, counts_from) in [
            (gap, "gap", 0, gap_words.as_str(), missed),
            (first_at(&bus, void), "void", void, "void: was reserved", void),
            (first_at(&bus, reserved), "passed_over", reserved, "reserved by seat 0, not committed", reserved),
            (
                first_at(&bus, headless),
                "headless",
                headless,
                "end of an event whose beginning tail has not seen",
                headless,
            ),
            (first_at(&bus, malformed), "unreadable", malformed, "malformed: not written", malformed),
        ] {
            assert_eq!(id_of(&seen), counts_from, "{seen:?}");
            let text = to_text(&output, &seen, now(), PayloadForm::Len);
            assert!(text.contains(&format!(" {id:>10}  ")) && text.contains(words), "{seen:?}: {text}");
            assert!(text.contains("06:52:48.123") && !text.contains("2026"), "{text}");
            assert!(to_text(&output, &seen, None, PayloadForm::Len).contains("      -     "));
            let json = to_json(&seen, now(), PayloadForm::Len);
            assert_eq!((&json["kind"], &json["id"], &json["seen_at"]), (&json!(kind), &json!(id), &json!(now())));
        }
        assert_eq!(to_json(&gap_again, None, PayloadForm::Len)["missed"], missed);
        assert_eq!(to_json(&first_at(&bus, reserved), None, PayloadForm::Len)["seat"], 0);
        assert_eq!(reserver(None), "an unknown seat");
        let mut event = event("id");
        event.id = 4;
        assert_eq!(id_of(&Seen::Event(event)), 4);
    }

    #[test]
    fn a_payload_is_shown_as_it_was_asked_for() {
        let mut event = event("payload");
        for (payload, text, hex, utf8) in [
            (PayloadForm::Len, None, Value::Null, Value::Null),
            (PayloadForm::Hex, Some("610a62"), json!("610a62"), Value::Null),
            (PayloadForm::Utf8, Some("a\\nb"), Value::Null, json!("a\nb")),
        ] {
            let json = to_json(&Seen::Event(event.clone()), None, payload);
            assert_eq!((&json["payload_hex"], &json["payload_utf8"]), (&hex, &utf8), "{payload:?}");
            let line = event_text(&event, payload);
            assert!(line.starts_with(&format!("jobs/run  pid {}  3 B  unique ", std::process::id())), "{line}");
            assert_eq!(line.split_once(" open").unwrap().1.trim_start(), text.unwrap_or_default(), "{payload:?}");
        }
        event.fragmented = true;
        assert!(event_text(&event, PayloadForm::Len).contains("  3 B in fragments  unique "));
        (event.fragmented, event.large) = (false, true);
        assert!(event_text(&event, PayloadForm::Len).contains("  3 B in a large block  unique "));
        assert_eq!(to_json(&Seen::Event(event), None, PayloadForm::Len)["large"], true);
    }

    #[test]
    fn what_is_decided_about_a_unique_event_is_told() {
        let mut unique = event("unique").unique.unwrap();
        let mut held = entry("unique-held");
        held.left = Some(Duration::from_secs(65));
        let mut ended = held.clone();
        ended.left = None;
        let holder = crate::claims::to_json(&held);
        let decided = |entry: &ClaimEntry| UniqueState::Decided(Box::new(entry.clone()));
        for (state, text, name, json) in [
            (UniqueState::Open, "open".to_owned(), "open", Value::Null),
            (decided(&held), format!("decided, {} for 1m05s", holder_text(&held)), "held", holder),
            (decided(&ended), "decided, ended".to_owned(), "ended", crate::claims::to_json(&ended)),
            (UniqueState::Forgotten, "forgotten".to_owned(), "forgotten", Value::Null),
        ] {
            unique.state = state;
            assert_eq!(unique_text(&unique), text);
            let shown = unique_json(&unique);
            assert_eq!(
                (&shown["state"], &shown["holder"], &shown["ttl_seconds"]),
                (&json!(name), &json, &json!(600.0))
            );
        }
    }

    #[test]
    fn a_holder_is_told_with_what_became_of_it() {
        let mut entry = entry("holder");
        let held = format!("held by seat 0 (pid {} \"web\")", std::process::id());
        assert_eq!(holder_text(&entry), held);
        entry.winner = Winner::Dead;
        assert_eq!(holder_text(&entry), format!("{held}, which is dead,"));
        entry.label.clear();
        assert_eq!(holder_text(&entry), format!("held by seat 0 (pid {}), which is dead,", std::process::id()));
        (entry.winner, entry.pid) = (Winner::Gone, None);
        assert_eq!(holder_text(&entry), "held by seat 0, which has left,");
    }
}
