//! The relay's figures, for Prometheus.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use seqcast::relay::Health;

type Label = [(&'static str, &'static str); 1];

/// All figures. Each is told at its registration.
pub struct Metrics {
    registry: Registry,
    up: Gauge,
    state: Family<Label, Gauge>,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) posted: Counter,
    skipped: Family<Label, Counter>,
    not_relayed: Family<Label, Counter>,
    missed: Family<Label, Counter>,
    pub(crate) restored: Counter,
    pub(crate) breaks: Counter,
    pub(crate) heals: Counter,
    pub(crate) possible_duplicates: Counter,
    refused: Family<Label, Counter>,
    claims: Family<Label, Counter>,
    pub(crate) spool_events: Gauge,
    pub(crate) spool_bytes: Gauge,
    pub(crate) ring_lag: Gauge,
    pub(crate) stream_lag: Gauge,
    pub(crate) append_seconds: Histogram,
    pub(crate) reconnects: Counter,
    pub(crate) hosts: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("seqcast_relay");
        macro_rules! add {
            ($metric:expr, $name:literal, $help:literal) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        let metrics = Metrics {
            up: add!(Gauge::default(), "up", "1 if the relay is connected both ways and nothing is refused, else 0"),
            state: add!(Family::default(), "state", "1 for the present state"),
            sent: add!(Counter::default(), "sent_events", "Events and reports that the engine has acknowledged"),
            received: add!(Counter::default(), "received_events", "Events and reports read from the stream"),
            posted: add!(Counter::default(), "posted_events", "Events posted into the segment"),
            skipped: add!(Family::default(), "skipped_events", "Events of the stream that were not posted"),
            not_relayed: add!(Family::default(), "not_relayed_events", "Events of chosen sources that do not travel"),
            missed: add!(Family::default(), "missed_reports", "Reports of missed events posted into the segment"),
            restored: add!(
                Counter::default(),
                "restored_values",
                "Retained values that were brought up to date from the engine's copy"
            ),
            breaks: add!(Counter::default(), "breaks", "Times that the engine had forgotten what it had handed out"),
            heals: add!(Counter::default(), "heals", "Times that events were sent again from the ring"),
            possible_duplicates: add!(
                Counter::default(),
                "possible_duplicates",
                "Events that a killed predecessor may have posted already"
            ),
            refused: add!(Family::default(), "refused_batches", "Entries of the stream that are no batch"),
            claims: add!(Family::default(), "claims", "Unique events that were decided"),
            spool_events: add!(Gauge::default(), "spool_events", "Events read from the ring and not acknowledged"),
            spool_bytes: add!(Gauge::default(), "spool_bytes", "Memory of these events"),
            ring_lag: add!(Gauge::default(), "ring_lag_events", "Events in the ring that were not read"),
            stream_lag: add!(Gauge::default(), "stream_lag_events", "Events in the stream that were not read"),
            append_seconds: add!(
                Histogram::new(exponential_buckets(0.000_1, 2.0, 15)),
                "append_seconds",
                "Time from sending a batch to its answer"
            ),
            reconnects: add!(Counter::default(), "reconnects", "Connections to the engine that were lost"),
            hosts: add!(Gauge::default(), "hosts", "Hosts that the engine knows"),
            registry,
        };
        metrics.begin();
        metrics
    }
}

/// The values of the label `reason` or `result`.
const SKIPPED: [&str; 3] = ["own", "seen", "unique"];
const NOT_RELAYED: [&str; 4] = ["retained", "retained_full", "too_large", "unique"];
const MISSED: [&str; 7] = ["catch_up", "engine_lost", "format", "origin_lapped", "too_large", "trimmed", "undecided"];
const REFUSED: [&str; 8] = ["chain", "entry", "field", "length", "name", "order", "retained", "version"];
const CLAIMS: [&str; 5] = ["alone", "held", "undecided", "unreplicated", "won"];

impl Metrics {
    /// Every series is there from the start, so that the first increase of one is an increase.
    fn begin(&self) {
        SKIPPED.into_iter().for_each(|reason| self.skipped(reason, 0));
        CLAIMS.into_iter().for_each(|result| self.claims(result, 0));
        for (family, reasons) in
            [(&self.not_relayed, &NOT_RELAYED[..]), (&self.missed, &MISSED), (&self.refused, &REFUSED)]
        {
            reasons.iter().for_each(|reason| drop(family.get_or_create(&[("reason", *reason)])));
        }
    }

    pub(crate) fn skipped(&self, reason: &'static str, events: u64) {
        self.skipped.get_or_create(&[("reason", reason)]).inc_by(events);
    }

    pub(crate) fn not_relayed(&self, reason: &'static str) {
        self.not_relayed.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn missed(&self, reason: &'static str) {
        self.missed.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn claims(&self, result: &'static str, events: u64) {
        self.claims.get_or_create(&[("result", result)]).inc_by(events);
    }

    pub(crate) fn health(&self, health: Health) {
        self.up.set((health == Health::Up).into());
        for (state, of) in
            [("starting", Health::Starting), ("up", Health::Up), ("degraded", Health::Degraded), ("down", Health::Down)]
        {
            self.state.get_or_create(&[("state", state)]).set((health == of).into());
        }
    }

    /// The page that Prometheus reads.
    pub fn page(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut page, &self.registry);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_figure_with_its_prefix() {
        let metrics = Metrics::default();
        metrics.health(Health::Degraded);
        metrics.sent.inc_by(3);
        metrics.skipped("own", 2);
        let page = metrics.page();
        for line in [
            "seqcast_relay_up 0",
            "seqcast_relay_state{state=\"degraded\"} 1",
            "seqcast_relay_state{state=\"up\"} 0",
            "seqcast_relay_sent_events_total 3",
            "seqcast_relay_skipped_events_total{reason=\"own\"} 2",
            "seqcast_relay_append_seconds_count 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|printed| printed == line), "{line} in\n{page}");
        }
    }
}
