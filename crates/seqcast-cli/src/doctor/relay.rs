//! Findings about the relay of a segment.

use std::time::Duration;

use seqcast::inspect::{Health, RelayPresence, RelayState};

use super::Finding;
use crate::output::printable;
use crate::units::{grouped, long_duration};

/// Both halves of a relay show a sign of life several times per second. With this age, one of them hangs.
const SILENT: Duration = Duration::from_secs(5);

/// A segment that never had a relay has no finding: each segment has room for one.
pub fn findings(name: &str, relay: &RelayState, capacity: u64) -> Vec<Finding> {
    let mut findings = match relay.presence {
        RelayPresence::Never => return Vec::new(),
        RelayPresence::Here => here(name, relay),
        RelayPresence::Dead => vec![dead(name, relay, capacity)],
        RelayPresence::Left => vec![Finding::note(
            "relay_left",
            name,
            "its relay has left: no event travels to or from other hosts, and cluster posts are refused",
            format!("start it again (seqcast relay {name} ..), or ignore this if the segment is to have none"),
        )],
        _ => Vec::new(),
    };
    findings.extend(behind(name, relay, capacity));
    findings.extend(full(name, relay));
    if relay.possible_duplicates > 0 {
        findings.push(Finding::note(
            "relay_duplicates",
            name,
            format!(
                "{} events of other hosts may have been delivered twice: a relay was killed while it posted, and the \
                 ring was overwritten before the next one looked",
                grouped(relay.possible_duplicates)
            ),
            "let a standby or systemd start the next relay at once, or create the segment with more .capacity()",
        ));
    }
    findings
}

fn dead(name: &str, relay: &RelayState, capacity: u64) -> Finding {
    let left = capacity.saturating_sub(relay.backlog.unwrap_or(0));
    Finding::trouble(
        "relay_dead",
        name,
        format!("its relay (pid {}) died, and no other has taken its place: no event travels", relay.pid),
        format!(
            "start it again (seqcast relay {name} ..): it continues without loss if fewer than {} events are posted \
             before. Run a standby (--standby) or systemd's unit, and find out why it died",
            grouped(left)
        ),
    )
}

fn here(name: &str, relay: &RelayState) -> Vec<Finding> {
    let who = format!("its relay (pid {} {:?})", relay.pid, printable(&relay.label).to_string());
    let silent = [("read", relay.reader_beat), ("posted", relay.poster_beat)];
    let worst = silent.into_iter().filter_map(|(what, age)| Some((what, age?))).max_by_key(|(_, age)| *age);
    if let Some((what, age)) = worst.filter(|(_, age)| *age > SILENT) {
        // What it said last of its connection means nothing then.
        return vec![Finding::trouble(
            "relay_silent",
            name,
            format!(
                "{who} has not {what} for {}: it is stopped by a signal or a debugger, or hangs",
                long_duration(age)
            ),
            format!(
                "continue it (kill -CONT {pid}) or end it (kill -KILL {pid}): no other relay can take its place before",
                pid = relay.pid
            ),
        )];
    }
    let (code, what) = match relay.health {
        Health::Down => ("relay_down", "has no connection to its server"),
        Health::Degraded => ("relay_degraded", "is connected, but its server refuses calls"),
        _ => return Vec::new(),
    };
    vec![Finding::trouble(
        code,
        name,
        format!("{who} {what}: events wait in its spool and in the ring, and are reported as missed after that"),
        format!("see its log for the reason, and the server; seqcast relay status {name} shows how far it is"),
    )]
}

/// Events that the server has not acknowledged. They are in the relay's spool, or still in the ring only.
fn behind(name: &str, relay: &RelayState, capacity: u64) -> Option<Finding> {
    let backlog = relay.backlog?;
    (backlog > capacity / 2).then(|| {
        Finding::trouble(
            "relay_behind",
            name,
            format!(
                "{} events are not acknowledged by the server, more than half of the {} that the ring holds",
                grouped(backlog),
                grouped(capacity)
            ),
            "see if the server is slow or away; create the segment with more .capacity(), or start the relay with more \
             --spool: what neither holds is reported to all hosts as missed",
        )
    })
}

fn full(name: &str, relay: &RelayState) -> Option<Finding> {
    let known = relay.origins.len() as u64;
    (relay.hosts > 0 && known >= relay.hosts).then(|| {
        Finding::trouble(
            "relay_hosts_full",
            name,
            format!("its table of hosts is full: all {} places are taken", grouped(relay.hosts)),
            "create the segment with more .relay_hosts(): events of another host are reported as missed. Places of \
             hosts that the server has forgotten are used again",
        )
    })
}

#[cfg(test)]
mod tests {
    use seqcast::relay::{Foreign, RelayOptions};
    use seqcast::{ClusterId, Origin, SegmentOptions};

    use super::*;
    use crate::fixture;

    fn codes(findings: &[Finding]) -> Vec<&'static str> {
        assert!(findings.iter().all(|finding| !finding.what.is_empty() && !finding.remedy.is_empty()));
        findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn each_state_of_a_relay_has_its_findings() {
        let bus = fixture::bus("doctor-relay");
        let inspector = fixture::inspector(&bus);
        let look = || inspector.relay().unwrap();
        let found = |relay: &RelayState| codes(&findings("/x", relay, 64));
        assert_eq!(found(&look()), [""; 0], "a segment without a relay");
        let (reader, poster) = bus.relay(&RelayOptions::new()).unwrap().split();
        reader.beat();
        poster.beat();
        assert_eq!(found(&look()), [""; 0], "a relay that starts");
        for (health, code) in
            [(Health::Up, None), (Health::Degraded, Some("relay_degraded")), (Health::Down, Some("relay_down"))]
        {
            poster.set_health(health);
            assert_eq!(found(&look()), code.into_iter().collect::<Vec<_>>());
        }
        let mut silent = look();
        silent.poster_beat = Some(SILENT + Duration::from_secs(1));
        assert_eq!(found(&silent), ["relay_silent"]);
        silent.reader_beat = Some(SILENT * 2);
        assert!(findings("/x", &silent, 64)[0].what.contains("not read for 10"));
        poster.set_health(Health::Up);
        reader.set_sent(0);
        let worker = fixture::worker(&bus, "web");
        for _ in 0..33 {
            worker.post(("a", "b"), "").unwrap();
        }
        assert_eq!(found(&look()), ["relay_behind"]);
        reader.set_sent(reader.newest());
        let mut doubled = look();
        doubled.possible_duplicates = 2;
        assert_eq!(found(&doubled), ["relay_duplicates"]);
        let mut dead = look();
        dead.presence = RelayPresence::Dead;
        assert_eq!(found(&dead), ["relay_dead"]);
        drop((reader, poster));
        assert_eq!(found(&look()), ["relay_left"]);
    }

    #[test]
    fn a_full_table_of_hosts_is_found() {
        let name = format!("/seqcast-bin-{}-doctor-hosts", std::process::id());
        let options = SegmentOptions::new().capacity(64).relay_hosts(1).unlink_on_drop(true);
        let bus = options.create(&name).unwrap();
        let (reader, mut poster) = bus.relay(&RelayOptions::new()).unwrap().split();
        let places = fixture::inspector(&bus).relay().unwrap().hosts;
        for host in 0..places {
            assert_eq!(codes(&findings(&name, &fixture::inspector(&bus).relay().unwrap(), 64)), [""; 0], "{host}");
            let place = ClusterId { timeline: 1, n: host };
            assert!(poster.post(&Foreign::new(Origin::from_bits(host + 1), 0, place, "a", "b", b"")).unwrap());
            reader.set_sent(reader.newest());
        }
        assert_eq!(codes(&findings(&name, &fixture::inspector(&bus).relay().unwrap(), 64)), ["relay_hosts_full"]);
    }
}
