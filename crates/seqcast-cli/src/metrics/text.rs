//! Metrics in the form of Prometheus: base units, `_total` for counters, one series for each segment or worker.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use seqcast::inspect::{Inspector, RelayPresence, RelayState};
use seqcast::{Stats, WorkerStats};

use crate::output::printable;
use crate::processes::State;

/// A metric with all its series.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    kind: MetricType,
    help: &'static str,
    series: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// Tells whether the segment can be read: the only metric if it cannot.
pub fn up(segment: &str, up: bool) -> Family {
    let series = vec![(vec![("segment", segment.to_owned())], f64::from(u8::from(up)))];
    Family { name: "seqcast_up", kind: MetricType::Gauge, help: "1 if the segment can be read, else 0.", series }
}

pub fn families(inspector: &Inspector) -> seqcast::Result<Vec<Family>> {
    let (stats, faults) = (inspector.stats()?, inspector.faults());
    let segment = &stats.name;
    let mut families = vec![up(segment, true)];
    let mut of_segment = |name, kind, help, value: f64| {
        families.push(Family { name, kind, help, series: vec![(vec![("segment", segment.clone())], value)] });
    };
    let created = stats.created_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    of_segment(
        "seqcast_created_timestamp_seconds",
        MetricType::Gauge,
        "When the segment was created.",
        created.as_secs_f64(),
    );
    of_segment("seqcast_size_bytes", MetricType::Gauge, "Size of the segment.", stats.sizes.size as f64);
    of_segment(
        "seqcast_ring_capacity_events",
        MetricType::Gauge,
        "Events that the ring holds.",
        stats.sizes.capacity as f64,
    );
    of_segment("seqcast_ids_total", MetricType::Counter, "Event ids taken.", stats.next_id as f64);
    of_segment("seqcast_seats", MetricType::Gauge, "Worker seats, taken and free.", f64::from(stats.sizes.seats));
    of_segment("seqcast_claims_held", MetricType::Gauge, "Held unique keys.", stats.claims_held as f64);
    let room = stats.sizes.buckets * stats.sizes.bucket_entries;
    of_segment("seqcast_claims_capacity_keys", MetricType::Gauge, "Number of unique keys that fit.", room as f64);
    let retained_keys = stats.sizes.retained_keys as f64;
    of_segment("seqcast_retained_keys", MetricType::Gauge, "Keys with a retained event.", stats.retained as f64);
    of_segment("seqcast_retained_capacity_keys", MetricType::Gauge, "Number of retained keys that fit.", retained_keys);
    of_segment(
        "seqcast_retaining_seats",
        MetricType::Gauge,
        "Seats that post a retained event, or died while posting one.",
        stats.retaining as f64,
    );
    of_segment(
        "seqcast_seats_reclaimed_total",
        MetricType::Counter,
        "Seats taken over from dead workers.",
        faults.reclaimed as f64,
    );
    families.push(workers_by_state(&stats));
    families.extend(worker_families(&stats));
    let relay = inspector.relay()?;
    // Each segment has room for a relay.
    if relay.presence != RelayPresence::Never {
        families.extend(relay_families(segment, &relay));
    }
    Ok(families)
}

/// The relay as the segment shows it, also if it hangs. What it counts itself is served by `seqcast-relay --metrics`.
fn relay_families(segment: &str, relay: &RelayState) -> Vec<Family> {
    let states = [RelayPresence::Here, RelayPresence::Dead, RelayPresence::Left];
    let of_state = |state: RelayPresence| {
        let labels = vec![("segment", segment.to_owned()), ("state", state.name().to_owned())];
        (labels, f64::from(u8::from(relay.presence == state)))
    };
    let mut families = vec![Family {
        name: "seqcast_relay_presence",
        kind: MetricType::Gauge,
        help: "1 for the state of the segment's relay, else 0.",
        series: states.map(of_state).into(),
    }];
    let age = |age: Option<Duration>| age.map(|age| age.as_secs_f64());
    let rows = [
        (
            "seqcast_relay_unacknowledged_events",
            MetricType::Gauge,
            "Ids that the server of the relay has not acknowledged.",
            relay.backlog.map(|backlog| backlog as f64),
        ),
        (
            "seqcast_relay_reader_age_seconds",
            MetricType::Gauge,
            "Time since the last sign of life of the half that reads the segment.",
            age(relay.reader_beat),
        ),
        (
            "seqcast_relay_poster_age_seconds",
            MetricType::Gauge,
            "Time since the last sign of life of the half that posts.",
            age(relay.poster_beat),
        ),
        (
            "seqcast_relay_known_hosts",
            MetricType::Gauge,
            "Hosts in the relay's table.",
            Some(relay.origins.len() as f64),
        ),
        ("seqcast_relay_hosts_capacity", MetricType::Gauge, "Number of hosts that fit.", Some(relay.hosts as f64)),
        (
            "seqcast_relay_segment_posted_total",
            MetricType::Counter,
            "Events that relays have posted on the segment.",
            Some(relay.posted as f64),
        ),
        (
            "seqcast_relay_segment_gaps_total",
            MetricType::Counter,
            "Reports of missed events that relays have posted.",
            Some(relay.gaps as f64),
        ),
        (
            "seqcast_relay_segment_possible_duplicates_total",
            MetricType::Counter,
            "Events that may have been posted twice.",
            Some(relay.possible_duplicates as f64),
        ),
    ];
    families.extend(rows.into_iter().filter_map(|(name, kind, help, value)| {
        Some(Family { name, kind, help, series: vec![(vec![("segment", segment.to_owned())], value?)] })
    }));
    families
}

fn workers_by_state(stats: &Stats) -> Family {
    let states: Vec<State> = stats.workers.iter().map(|worker| State::of(worker, stats.sizes.capacity)).collect();
    let series = State::ALL.map(|state| {
        let count = states.iter().filter(|found| **found == state).count();
        (vec![("segment", stats.name.clone()), ("state", state.name().to_owned())], count as f64)
    });
    Family {
        name: "seqcast_workers",
        kind: MetricType::Gauge,
        help: "Workers by state; a dead worker counts until its seat is taken again.",
        series: series.into(),
    }
}

/// One series for each live worker, distinguished by seat and label.
fn worker_families(stats: &Stats) -> Vec<Family> {
    type Value = fn(&WorkerStats) -> Option<f64>;
    let rows: [(&str, MetricType, &str, Value); 32] = [
        ("seqcast_worker_lag_events", MetricType::Gauge, "Ids that the worker is behind.", |w| {
            w.cursor.map(|_| w.lag as f64)
        }),
        ("seqcast_worker_last_poll_age_seconds", MetricType::Gauge, "Time since the worker's last read.", |w| {
            w.last_poll.map(|ago| ago.as_secs_f64())
        }),
        ("seqcast_worker_joined_timestamp_seconds", MetricType::Gauge, "When the worker joined.", |w| {
            w.joined_at.duration_since(SystemTime::UNIX_EPOCH).ok().map(|at| at.as_secs_f64())
        }),
        ("seqcast_worker_must_read_seconds", MetricType::Gauge, "How long posts wait for the worker.", |w| {
            w.must_read.map(|patience| patience.as_secs_f64())
        }),
        ("seqcast_worker_unread_events", MetricType::Gauge, "Ids that a worker that must read has not copied.", |w| {
            w.must_read.map(|_| w.unread as f64)
        }),
        ("seqcast_worker_cut_off", MetricType::Gauge, "1 if a post gave up waiting for the worker.", |w| {
            w.must_read.map(|_| f64::from(u8::from(w.is_cut_off)))
        }),
        ("seqcast_worker_cut_off_total", MetricType::Counter, "How often posts gave up waiting for the worker.", |w| {
            Some(w.cut_off as f64)
        }),
        ("seqcast_worker_room_waits_total", MetricType::Counter, "Posts that waited for a reader.", |w| {
            Some(w.room_waits as f64)
        }),
        ("seqcast_worker_room_waited_seconds_total", MetricType::Counter, "How long posts waited for readers.", |w| {
            Some(w.room_waited.as_secs_f64())
        }),
        ("seqcast_worker_room_refused_total", MetricType::Counter, "Posts refused because of a reader.", |w| {
            Some(w.room_refused as f64)
        }),
        ("seqcast_worker_posted_total", MetricType::Counter, "Events posted.", |w| Some(w.posted as f64)),
        ("seqcast_worker_fragments_total", MetricType::Counter, "Fragments posted.", |w| Some(w.fragments as f64)),
        (
            "seqcast_worker_large_total",
            MetricType::Counter,
            "Events posted with their payload in a large block.",
            |w| Some(w.large as f64),
        ),
        ("seqcast_worker_reservations_total", MetricType::Counter, "Ids reserved.", |w| Some(w.reservations as f64)),
        ("seqcast_worker_committed_total", MetricType::Counter, "Reserved ids committed.", |w| {
            Some(w.committed as f64)
        }),
        ("seqcast_worker_wakes_total", MetricType::Counter, "Posts that woke sleepers.", |w| Some(w.wakes as f64)),
        ("seqcast_worker_retained_total", MetricType::Counter, "Retained events and clears posted.", |w| {
            Some(w.retained as f64)
        }),
        (
            "seqcast_worker_settled_total",
            MetricType::Counter,
            "Retained events of others brought into the table.",
            |w| Some(w.settled as f64),
        ),
        ("seqcast_worker_retained_full_total", MetricType::Counter, "Retained events refused for lack of room.", |w| {
            Some(w.retained_full as f64)
        }),
        (
            "seqcast_worker_resets_total",
            MetricType::Counter,
            "Times that what was known of retained events was void.",
            |w| Some(w.resets as f64),
        ),
        ("seqcast_worker_delivered_total", MetricType::Counter, "Events delivered to handlers.", |w| {
            Some(w.delivered as f64)
        }),
        ("seqcast_worker_skipped_total", MetricType::Counter, "Events that no handler wanted.", |w| {
            Some(w.skipped as f64)
        }),
        ("seqcast_worker_missed_total", MetricType::Counter, "Ids missed because the worker was lapped.", |w| {
            Some(w.missed as f64)
        }),
        ("seqcast_worker_lagged_total", MetricType::Counter, "Number of times the worker was lapped.", |w| {
            Some(w.lagged as f64)
        }),
        ("seqcast_worker_voided_total", MetricType::Counter, "Reserved ids that the worker voided.", |w| {
            Some(w.voided as f64)
        }),
        ("seqcast_worker_corrupt_total", MetricType::Counter, "Malformed events read.", |w| Some(w.corrupt as f64)),
        ("seqcast_worker_failed_total", MetricType::Counter, "Handlers that failed.", |w| Some(w.failed as f64)),
        ("seqcast_worker_claims_won_total", MetricType::Counter, "Claims won.", |w| Some(w.claims_won as f64)),
        ("seqcast_worker_claims_lost_total", MetricType::Counter, "Claims lost to other workers.", |w| {
            Some(w.claims_lost as f64)
        }),
        ("seqcast_worker_claims_full_total", MetricType::Counter, "Claims refused for lack of room.", |w| {
            Some(w.claims_full as f64)
        }),
        (
            "seqcast_worker_orphaned_total",
            MetricType::Counter,
            "Claimed unique events whose handlers were gone.",
            |w| Some(w.orphaned as f64),
        ),
        ("seqcast_worker_claims_late_total", MetricType::Counter, "Unique events reached too late.", |w| {
            Some(w.claims_late as f64)
        }),
    ];
    rows.iter()
        .map(|&(name, kind, help, value)| {
            let series = stats.workers.iter().filter(|worker| worker.alive).filter_map(|worker| {
                let labels = vec![
                    ("segment", stats.name.clone()),
                    ("seat", worker.seat.to_string()),
                    ("label", worker.label.clone()),
                ];
                Some((labels, value(worker)?))
            });
            Family { name, kind, help, series: series.collect() }
        })
        .collect()
}

/// The OpenMetrics text format, which Prometheus and compatible systems read.
pub fn render(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, kind, help, series } in self.0.iter().filter(|family| !family.series.is_empty()) {
            // The encoder appends the counters' suffix to each series.
            let family = name.strip_suffix("_total").unwrap_or(name);
            let mut metric = encoder.encode_descriptor(family, help, None, *kind)?;
            for (labels, value) in series {
                // The encoder escapes characters that would end a label. `printable` escapes those that would control a
                // reader's terminal.
                let labels: Vec<(&str, String)> =
                    labels.iter().map(|(name, value)| (*name, printable(value).to_string())).collect();
                let mut series = metric.encode_family(&labels)?;
                match kind {
                    MetricType::Counter => series.encode_counter::<NoLabelSet, f64, f64>(value, None)?,
                    _ => series.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

pub fn to_json(families: &[Family]) -> Vec<Value> {
    let mut metrics = Vec::new();
    for family in families {
        for (labels, value) in &family.series {
            let labels: serde_json::Map<String, Value> =
                labels.iter().map(|(label, value)| ((*label).to_owned(), json!(value))).collect();
            metrics
                .push(json!({ "name": family.name, "type": family.kind.as_str(), "labels": labels, "value": value }));
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use seqcast::relay::RelayOptions;

    use super::*;
    use crate::fixture;

    #[test]
    fn a_relay_has_metrics_from_its_first_start_on() {
        let bus = fixture::bus("metrics-relay");
        let inspector = fixture::inspector(&bus);
        let text = || render(families(&inspector).unwrap()).unwrap();
        assert!(!text().contains("seqcast_relay"), "{}", text());
        let (reader, poster) = bus.relay(&RelayOptions::new()).unwrap().split();
        reader.set_sent(0);
        reader.beat();
        poster.beat();
        fixture::worker(&bus, "web").post(("a", "b"), "").unwrap();
        let has = |name: &str, more: &str, value: &str| {
            let line = format!("{name}{{segment=\"{}\"{more}}} {value}", bus.name());
            assert!(text().lines().any(|found| found == line), "{line}\n{}", text());
        };
        has("seqcast_relay_presence", ",state=\"here\"", "1.0");
        has("seqcast_relay_presence", ",state=\"left\"", "0.0");
        has("seqcast_relay_unacknowledged_events", "", "1.0");
        has("seqcast_relay_hosts_capacity", "", "256.0");
        has("seqcast_relay_segment_gaps_total", "", "0.0");
        assert!(text().contains("seqcast_relay_reader_age_seconds"));
        drop((reader, poster));
        has("seqcast_relay_presence", ",state=\"left\"", "1.0");
    }

    #[test]
    fn g10_a_label_cannot_steer_a_terminal_nor_break_out_of_its_quotes() {
        let family = Family {
            name: "x_total",
            kind: MetricType::Counter,
            help: "X.",
            series: vec![(vec![("a", "1".into()), ("label", "a\"b\\c\n\x1b[2Jd\u{202e}".into())], 1.5)],
        };
        let text = render(vec![family]).unwrap();
        assert_eq!(
            text,
            concat!(
                "# HELP x X.\n# TYPE x counter\n",
                r#"x_total{a="1",label="a\"b\\c\\n\\u{1b}[2Jd\\u{202e}"} 1.5"#,
                "\n# EOF\n"
            )
        );
    }
}
