//! `seqcast inspect`

mod layout;

use std::time::Instant;

use serde_json::{Value, json};

use seqcast::inspect::{Inspector, MustReader};

use crate::args::InspectArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, printable};
use crate::units::{bytes, grouped, long_duration, per_second, rfc3339, short_rate};

pub fn run(args: &InspectArgs, output: &mut Output) -> Result<Exit, Failure> {
    let inspector = Inspector::open_any(&args.name)?;
    if args.layout {
        return layout::run(&inspector, output);
    }
    let (before, started) = (inspector.next_id(), Instant::now());
    std::thread::sleep(args.sample);
    let stats = inspector.stats()?;
    let rate = per_second(stats.next_id.saturating_sub(before), started.elapsed());
    let holds = (rate > 0.0).then(|| stats.sizes.capacity as f64 / rate);
    let (header, sizes, faults) = (inspector.header(), stats.sizes, inspector.faults());
    let must_readers = inspector.must_readers()?;
    let live = stats.workers.iter().filter(|worker| worker.alive).count();
    let dead = stats.workers.len() - live;

    if output.is_json() {
        let faults = json!({
            "voided": faults.voided,
            "missed": faults.missed,
            "lagged": faults.lagged,
            "reclaimed": faults.reclaimed,
            "corrupt": faults.corrupt,
            "failed": faults.failed,
            "claims_full": faults.claims_full,
            "claims_late": faults.claims_late,
            "orphaned": faults.orphaned,
            "retained_full": faults.retained_full,
            "settled": faults.settled,
            "resets": faults.resets,
        });
        output.json(&json!({
            "name": stats.name,
            "current": inspector.is_current()?,
            "bus_id": inspector.id().to_string(),
            "layout_version": header.layout_version,
            "fingerprint": format!("{:#018x}", header.fingerprint),
            "typed_format": header.typed_format.map(|format| format!("{format:#018x}")),
            "boot_id": header.boot_id.map(|id| format!("{id:032x}")),
            "creator_pid": stats.creator_pid,
            "created_at": rfc3339(stats.created_at),
            "size_bytes": sizes.size,
            "capacity": sizes.capacity,
            "block_size_bytes": sizes.block_size,
            "largest_event_bytes": sizes.largest_event,
            "seats": sizes.seats,
            "buckets": sizes.buckets,
            "bucket_entries": sizes.bucket_entries,
            "retained_keys": sizes.retained_keys,
            "retained_size_bytes": sizes.retained_size,
            "large_blocks": sizes.large_blocks,
            "large_size_bytes": sizes.large_size,
            "next_id": stats.next_id,
            "oldest_id": stats.oldest_id,
            "events_per_second": rate,
            "holds_seconds": holds,
            "live_workers": live,
            "dead_seats": dead,
            "must_readers": must_readers.iter().map(must_reader).collect::<Vec<_>>(),
            "claims_held": stats.claims_held,
            "retained": stats.retained,
            "retaining": stats.retaining,
            "faults": faults,
        }))?;
        return Ok(Exit::Fine);
    }

    let age = stats.created_at.elapsed().unwrap_or_default();
    let gone = if inspector.is_current()? { "" } else { " (the name was removed or now leads elsewhere)" };
    let heading = output.toned(Tone::Heading, format_args!("{}{gone}", stats.name));
    output.line(heading)?;
    let mut row = |name: &str, text: String| output.line(format_args!("  {name:<13}{text}"));
    row("created", format!("{} ({} ago) by pid {}", rfc3339(stats.created_at), long_duration(age), stats.creator_pid))?;
    row("bus", inspector.id().to_string())?;
    row("layout", format!("version {}, fingerprint {:#018x}", header.layout_version, header.fingerprint))?;
    let format = header.typed_format.map_or("none used yet".into(), |format| format!("rkyv format {format:#018x}"));
    row("typed values", format)?;
    let which = if header.same_boot_id { "this one" } else { "not the one of this process" };
    row("boot", header.boot_id.map_or("unknown".into(), |id| format!("{id:032x}, {which}")))?;
    row("size", bytes(sizes.size))?;
    row(
        "ring",
        format!(
            "{} events of {} B in one block, up to {} otherwise",
            grouped(sizes.capacity),
            sizes.block_size,
            bytes(sizes.largest_event)
        ),
    )?;
    row(
        "large blocks",
        match sizes.large_blocks {
            0 => "none".to_owned(),
            blocks => format!("{} of {}", grouped(blocks), bytes(sizes.large_size)),
        },
    )?;
    let most = sizes.buckets * sizes.bucket_entries;
    row("ids", format!("next {}, oldest {}", stats.next_id, stats.oldest_id))?;
    row(
        "holds",
        match holds {
            Some(seconds) => format!(
                "{} at the current {} events/s",
                long_duration(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default()),
                short_rate(rate)
            ),
            None => format!("for as long as nothing is posted (no event in {})", long_duration(args.sample)),
        },
    )?;
    row("workers", format!("{live} of {} seats; {dead} with a dead holder", sizes.seats))?;
    for (i, reader) in must_readers.iter().enumerate() {
        row(if i == 0 { "must read" } else { "" }, told_of(reader))?;
    }
    row("claims", format!("{} held, room for {} keys", grouped(stats.claims_held), grouped(most)))?;
    row(
        "retained",
        match stats.sizes.retained_keys {
            0 => "nothing: the segment has no room for it".to_owned(),
            keys => format!(
                "{} events, room for {} keys of up to {}; {} on their way",
                grouped(stats.retained),
                grouped(keys),
                bytes(stats.sizes.retained_size),
                stats.retaining
            ),
        },
    )?;
    row(
        "faults",
        format!(
            "{} voided, {} missed, {} reclaimed, {} corrupt",
            faults.voided, faults.missed, faults.reclaimed, faults.corrupt
        ),
    )?;
    row(
        "",
        format!(
            "{} handlers failed, {} claims full, {} late, {} orphaned",
            faults.failed, faults.claims_full, faults.claims_late, faults.orphaned
        ),
    )?;
    row(
        "",
        format!(
            "{} not retained for lack of room, {} retained for others, {} resets",
            faults.retained_full, faults.settled, faults.resets
        ),
    )?;
    Ok(Exit::Fine)
}

/// A reader that posts wait for.
fn must_reader(reader: &MustReader) -> Value {
    json!({
        "seat": reader.seat,
        "pid": reader.pid,
        "label": reader.label,
        "alive": reader.alive,
        "patience_seconds": reader.patience.as_secs_f64(),
        "unread": reader.unread,
        "holds_up": reader.holds_up,
        "is_cut_off": reader.is_cut_off,
        "fault": reader.fault,
    })
}

fn told_of(reader: &MustReader) -> String {
    let state = match reader {
        MustReader { fault: Some(fault), .. } => fault,
        MustReader { alive: false, .. } => "dead: no post waits",
        MustReader { is_cut_off: true, .. } => "cut off: no post waits until it reads on",
        MustReader { holds_up: true, .. } => "posts wait for it now",
        _ => "it keeps up",
    };
    format!(
        "seat {} (pid {} {:?}), {} unread, posts wait for up to {:?}: {state}",
        reader.seat,
        reader.pid,
        printable(&reader.label),
        grouped(reader.unread),
        reader.patience
    )
}
