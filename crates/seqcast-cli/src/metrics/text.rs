//! Figures as Prometheus wants them: base units, `_total` for what only grows, one series for each segment or worker.

use std::fmt::Write;
use std::time::SystemTime;

use serde_json::{Value, json};

use seqcast::inspect::Inspector;
use seqcast::{Stats, WorkerStats};

use crate::output::printable;
use crate::processes::State;

/// A metric with all its series.
pub struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    series: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Whether the segment can be read: the one figure that is there if it cannot.
pub fn up(segment: &str, up: bool) -> Family {
    let series = vec![(vec![("segment", segment.to_owned())], f64::from(u8::from(up)))];
    Family { name: "seqcast_up", kind: "gauge", help: "Whether the segment can be read.", series }
}

pub fn families(inspector: &Inspector) -> seqcast::Result<Vec<Family>> {
    let (stats, faults, header) = (inspector.stats()?, inspector.faults(), inspector.header());
    let segment = &stats.name;
    let mut families = vec![up(segment, true)];
    let mut of_segment = |name, kind, help, value: f64| {
        families.push(Family { name, kind, help, series: vec![(vec![("segment", segment.clone())], value)] });
    };
    let created = header.created_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    of_segment("seqcast_created_timestamp_seconds", "gauge", "When the segment was created.", created.as_secs_f64());
    of_segment("seqcast_size_bytes", "gauge", "Size of the segment.", stats.size as f64);
    of_segment("seqcast_ring_capacity_events", "gauge", "Events that the ring holds.", stats.capacity as f64);
    of_segment("seqcast_ids_total", "counter", "Event ids taken.", stats.next_id as f64);
    of_segment("seqcast_records", "gauge", "Worker records, taken or not.", f64::from(stats.records));
    of_segment("seqcast_claims_held", "gauge", "Unique keys that are held.", stats.claims_held as f64);
    let room = stats.buckets * stats.bucket_entries;
    of_segment("seqcast_claims_capacity_keys", "gauge", "Unique keys that there is room for.", room as f64);
    of_segment(
        "seqcast_records_reclaimed_total",
        "counter",
        "Worker records taken over from the dead.",
        faults.reclaimed as f64,
    );
    families.push(workers_by_state(&stats));
    families.extend(worker_families(&stats));
    Ok(families)
}

fn workers_by_state(stats: &Stats) -> Family {
    let states: Vec<State> = stats.workers.iter().map(|worker| State::of(worker, stats.capacity)).collect();
    let series = [State::Ok, State::Slow, State::Stopped, State::Dead].map(|state| {
        let count = states.iter().filter(|found| **found == state).count();
        (vec![("segment", stats.name.clone()), ("state", state.name().to_owned())], count as f64)
    });
    Family {
        name: "seqcast_workers",
        kind: "gauge",
        help: "Workers by state; dead ones until their record is taken again.",
        series: series.into(),
    }
}

/// One series for each live worker, told apart by record and label.
fn worker_families(stats: &Stats) -> Vec<Family> {
    type Value = fn(&WorkerStats) -> Option<f64>;
    let rows: [(&str, &str, &str, Value); 19] = [
        ("seqcast_worker_lag_events", "gauge", "Ids that the worker is behind.", |w| w.cursor.map(|_| w.lag as f64)),
        ("seqcast_worker_last_poll_age_seconds", "gauge", "Time since the worker last read something.", |w| {
            w.last_poll.map(|ago| ago.as_secs_f64())
        }),
        ("seqcast_worker_joined_timestamp_seconds", "gauge", "When the worker joined.", |w| {
            w.joined_at.duration_since(SystemTime::UNIX_EPOCH).ok().map(|at| at.as_secs_f64())
        }),
        ("seqcast_worker_posted_total", "counter", "Events posted.", |w| Some(w.posted as f64)),
        ("seqcast_worker_fragments_total", "counter", "Fragments posted.", |w| Some(w.fragments as f64)),
        ("seqcast_worker_reservations_total", "counter", "Ids reserved.", |w| Some(w.reservations as f64)),
        ("seqcast_worker_committed_total", "counter", "Reserved ids committed.", |w| Some(w.committed as f64)),
        ("seqcast_worker_wakes_total", "counter", "Posts that had somebody to wake.", |w| Some(w.wakes as f64)),
        ("seqcast_worker_delivered_total", "counter", "Events delivered to handlers.", |w| Some(w.delivered as f64)),
        ("seqcast_worker_skipped_total", "counter", "Events that no handler wanted.", |w| Some(w.skipped as f64)),
        ("seqcast_worker_missed_total", "counter", "Ids missed by being lapped.", |w| Some(w.missed as f64)),
        ("seqcast_worker_lagged_total", "counter", "Times of being lapped.", |w| Some(w.lagged as f64)),
        ("seqcast_worker_voided_total", "counter", "Reserved ids given up for all.", |w| Some(w.voided as f64)),
        ("seqcast_worker_corrupt_total", "counter", "Malformed records met.", |w| Some(w.corrupt as f64)),
        ("seqcast_worker_failed_total", "counter", "Handlers that failed.", |w| Some(w.failed as f64)),
        ("seqcast_worker_claims_won_total", "counter", "Claims won.", |w| Some(w.claims_won as f64)),
        ("seqcast_worker_claims_lost_total", "counter", "Claims that others had.", |w| Some(w.claims_lost as f64)),
        ("seqcast_worker_claims_full_total", "counter", "Claims for which there was no room.", |w| {
            Some(w.claims_full as f64)
        }),
        ("seqcast_worker_claims_late_total", "counter", "Unique events reached too late.", |w| {
            Some(w.claims_late as f64)
        }),
    ];
    rows.iter()
        .map(|&(name, kind, help, value)| {
            let series = stats.workers.iter().filter(|worker| worker.alive).filter_map(|worker| {
                let labels = vec![
                    ("segment", stats.name.clone()),
                    ("record", worker.record.to_string()),
                    ("label", worker.label.clone()),
                ];
                Some((labels, value(worker)?))
            });
            Family { name, kind, help, series: series.collect() }
        })
        .collect()
}

/// The text format, version 0.0.4.
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, kind, help, series } in families.iter().filter(|family| !family.series.is_empty()) {
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in series {
            text.push_str(name);
            for (i, (label, value)) in labels.iter().enumerate() {
                let _ = write!(text, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escaped(value));
            }
            let _ = writeln!(text, "}} {value}");
        }
    }
    text
}

/// A label's value, safe to print, and with what the format asks to be escaped.
fn escaped(value: &str) -> String {
    printable(value).to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub fn to_json(families: &[Family]) -> Vec<Value> {
    let mut metrics = Vec::new();
    for family in families {
        for (labels, value) in &family.series {
            let labels: serde_json::Map<String, Value> =
                labels.iter().map(|(label, value)| ((*label).to_owned(), json!(value))).collect();
            metrics.push(json!({ "name": family.name, "type": family.kind, "labels": labels, "value": value }));
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g10_a_label_cannot_steer_a_terminal_nor_break_out_of_its_quotes() {
        let family = Family {
            name: "x_total",
            kind: "counter",
            help: "X.",
            series: vec![(vec![("a", "1".into()), ("label", "a\"b\\c\nd\x1b[2J\u{202e}".into())], 1e15)],
        };
        let text = render(&[family]);
        assert_eq!(
            text,
            concat!(
                "# HELP x_total X.\n# TYPE x_total counter\n",
                r#"x_total{a="1",label="a\"b\\c\\nd\\u{1b}[2J\\u{202e}"} 1000000000000000"#,
                "\n"
            )
        );
    }
}
