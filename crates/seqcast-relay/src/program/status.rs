//! `seqcast-relay status NAME`

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seqcast::inspect::{Inspector, RelayPresence, RelayState};
use seqcast_relay::engine::Engine;

use super::args::StatusArgs;
use super::{Failure, server};

pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let inspector = Inspector::open_any(&args.name).map_err(Failure::Segment)?;
    let state = inspector.relay().map_err(Failure::Segment)?;
    let mut page = text(&state);
    let stream = inspector.name().trim_start_matches('/').to_owned();
    if let Some(redis) = server::find(&args.server, &stream, 1).map_err(Failure::Usage)? {
        match redis.down().and_then(|mut down| down.tip(true)) {
            Ok(tip) => {
                let _ = writeln!(page, "{:16} {:>12} {:>10}  HOST", "ORIGIN", "NEXT", "SEEN");
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                for seen in tip.origins {
                    let age = now.saturating_sub(Duration::from_millis(seen.seen_ms));
                    let host: String = seen.host.chars().filter(|c| !c.is_control()).collect();
                    let _ = writeln!(page, "{:016x} {:>12} {:>9}s  {host}", seen.origin, seen.next, age.as_secs());
                }
                let read = state.position.filter(|at| at.timeline == tip.position.timeline);
                let lag = read.map(|at| tip.position.n.saturating_sub(at.n));
                if let Some(lag) = lag {
                    let _ = writeln!(page, "events in the stream that this host has not read: {lag}");
                }
            }
            Err(error) => {
                let _ = writeln!(page, "server      {error}");
            }
        }
    }
    print!("{page}");
    match (state.presence, state.health) {
        (RelayPresence::Here, seqcast::relay::Health::Up) => Ok(()),
        _ => Err(Failure::NotUp),
    }
}

fn text(state: &RelayState) -> String {
    let mut page = String::new();
    let RelayState { presence, origin, pid, health, .. } = state;
    let _ = writeln!(page, "relay       {} pid {pid} {}", presence.name(), health.name());
    let _ = writeln!(page, "origin      {origin}");
    let age = |beat: Option<Duration>| beat.map_or("never".into(), |beat| format!("{:.1}s ago", beat.as_secs_f64()));
    let (reads, posts) = (age(state.reader_beat), age(state.poster_beat));
    let _ = writeln!(page, "alive       reads {reads}, posts {posts}");
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let (sent, backlog) = (number(state.sent), number(state.backlog));
    let _ = writeln!(page, "sent        up to id {sent}, {backlog} ids are not acknowledged");
    match state.position {
        Some(at) => {
            let _ = writeln!(page, "read        up to {}-{}, event {}", at.timeline, at.seq, at.n);
        }
        None => {
            let _ = writeln!(page, "read        nothing yet");
        }
    }
    let RelayState { posted, passed, gaps, possible_duplicates, hosts, origins, .. } = state;
    let _ = writeln!(page, "posted      {posted}, passed over {passed}, reports of missed events {gaps}");
    let _ = writeln!(page, "duplicates  {possible_duplicates} possible");
    let _ = writeln!(page, "hosts       {} of {hosts}", origins.len());
    page
}
