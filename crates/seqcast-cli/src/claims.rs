//! `seqcast claims`

use serde_json::{Value, json};

use seqcast::inspect::{ClaimEntry, ClaimKind, Inspector, Winner};

use crate::args::ClaimsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Align, Output, Table, Tone, plain};
use crate::units::long_duration;

pub fn run(args: &ClaimsArgs, output: &mut Output) -> Result<Exit, Failure> {
    let inspector = Inspector::open_any(&args.name)?;
    let mut claims = match &args.key {
        None => inspector.claims()?,
        Some(key) => {
            let on = |kind| inspector.claim_on(kind, key.as_bytes()).transpose();
            [ClaimKind::Alone, ClaimKind::Event].into_iter().filter_map(on).collect::<seqcast::Result<_>>()?
        }
    };
    claims.retain(|claim| args.all || claim.left.is_some());
    // The exit code answers whether the key is held.
    let exit = if args.key.is_some() && claims.is_empty() { Exit::Trouble } else { Exit::Fine };
    claims.sort_by_key(|claim| (std::cmp::Reverse(claim.left), claim.key));
    if output.is_json() {
        let claims: Vec<Value> = claims.iter().map(to_json).collect();
        output.json(&json!({ "name": inspector.name(), "claims": claims }))?;
        return Ok(exit);
    }
    let mut table = Table::new(&[
        ("KEY HASH", Align::Left),
        ("KIND", Align::Left),
        ("SEAT", Align::Right),
        ("PID", Align::Right),
        ("HOLDER", Align::Left),
        ("SINCE", Align::Right),
        ("LEFT", Align::Right),
    ]);
    for claim in &claims {
        let holder = match claim.winner {
            Winner::Alive => plain(&claim.label),
            Winner::Dead => (Tone::Bad, format!("{} (dead)", claim.label).trim_start().to_owned()),
            _ => (Tone::Warning, "(gone)".to_owned()),
        };
        table.row([
            plain(claim.key.to_string()),
            plain(kind(claim)),
            plain(claim.seat.to_string()),
            plain(claim.pid.map_or("-".into(), |pid| pid.to_string())),
            holder,
            plain(long_duration(claim.since)),
            plain(claim.left.map_or("-".into(), long_duration)),
        ]);
    }
    if !table.is_empty() {
        output.table(&table)?;
    } else if let Some(key) = &args.key {
        output.note(format_args!("{key} is not held in {}", inspector.name()));
    } else {
        output.note(format_args!("no key is held in {}", inspector.name()));
    }
    Ok(exit)
}

fn kind(claim: &ClaimEntry) -> &'static str {
    match claim.kind {
        ClaimKind::Event => "event",
        _ => "claim",
    }
}

pub fn to_json(claim: &ClaimEntry) -> Value {
    let winner = match claim.winner {
        Winner::Alive => "alive",
        Winner::Dead => "dead",
        _ => "gone",
    };
    json!({
        "key": claim.key.to_string(),
        "kind": kind(claim),
        "seat": claim.seat,
        "pid": claim.pid,
        "label": claim.label,
        "holder": winner,
        "since_seconds": claim.since.as_secs_f64(),
        "left_seconds": claim.left.map(|left| left.as_secs_f64()),
        "ends_with_holder": claim.ends_with_holder,
        "decided_ids": claim.decided.map(|(first, last)| [first, last]),
    })
}
