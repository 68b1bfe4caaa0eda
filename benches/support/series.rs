//! Turns batches into figures.
//!
//! The raw hand-over of one line is measured around every batch. A host may move a virtual core at any time, from
//! beside the other to another part of the chip, and then everything is slower by the same factor. Batches are
//! therefore sorted by the raw hand-over, and near and far ones are never combined in one figure.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::batch::{Batch, Length, Wake, one_way, wake, wake_one_way};
use super::board::Board;
use super::cpu;
use super::raw::{FlagAndPayload, Futex, OneLine};

/// The raw hand-over of a line takes less between neighbouring cores of today's processors.
const NEIGHBOURS_NS: f64 = 150.0;

/// A run that waits for near or far cores takes a hand-over of more than this as far. Measured: 58 ns near, and 130 to
/// 190 ns far.
const WANTED_BORDER_NS: f64 = 110.0;

/// The subject of a figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The scenario.
    pub scenario: &'static str,
    /// The channel.
    pub subject: String,
    /// Bytes of a payload.
    pub size: usize,
    /// Writers and readers.
    pub writers: usize,
    pub readers: usize,
}

impl Key {
    pub fn new(scenario: &'static str, subject: impl Into<String>, size: usize) -> Key {
        Key { scenario, subject: subject.into(), size, writers: 1, readers: 1 }
    }

    pub fn with(self, writers: usize, readers: usize) -> Key {
        Key { writers, readers, ..self }
    }
}

/// The limit with which a batch is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The hand-over of a flag and a payload of this size.
    Lines(usize),
    /// The wake-up of a sleeper by futex, there and back.
    Futex(Wake),
    /// The wake-up of a sleeper by futex, one way.
    FutexOneWay(Wake),
}

/// A batch and the measurements around it, in nanoseconds.
struct Measured {
    line: [f64; 2],
    limit: f64,
    batch: Batch,
}

struct Series {
    key: Key,
    measured: Vec<Measured>,
    failure: Option<String>,
}

/// The placement of the two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cores {
    Near,
    Far,
}

/// The cores that a run measures on.
#[derive(Clone, Copy, Debug)]
pub struct WantedCores {
    pub cores: Cores,
    /// How long the run may wait for them in total.
    pub patience: Duration,
}

/// All measurements of a run.
pub struct Lab {
    pub board: Board,
    raw: Length,
    wake_rounds: usize,
    wanted: Option<WantedCores>,
    series: Vec<Series>,
    /// The last raw hand-over, if nothing was measured since.
    last_line: Option<f64>,
}

impl Lab {
    /// If cores are wanted, each batch waits until they are placed so. With more than two cores, the run takes the
    /// first one and the one that fits best beside it.
    pub fn new(raw: Length, wake_rounds: usize, wanted: Option<WantedCores>) -> Lab {
        let lab = Lab { board: Board::new(), raw, wake_rounds, wanted, series: Vec::new(), last_line: None };
        if let Some(WantedCores { cores, .. }) = wanted {
            lab.choose_cores(cores);
        }
        lab
    }

    fn choose_cores(&self, wanted: Cores) {
        let [first, others @ ..] = &cpu::allowed()[..] else { return };
        if others.len() < 2 {
            return;
        }
        let line = |&second: &usize| {
            cpu::put_first([*first, second]);
            self.raw_line().unwrap_or(f64::NAN)
        };
        let lines: Vec<(usize, f64)> = others.iter().map(|core| (*core, line(core))).collect();
        let best = match wanted {
            Cores::Near => lines.iter().min_by(|a, b| a.1.total_cmp(&b.1)),
            Cores::Far => lines.iter().max_by(|a, b| a.1.total_cmp(&b.1)),
        };
        if let Some((second, _)) = best {
            cpu::put_first([*first, *second]);
        }
    }

    /// Waits until the cores are placed as wanted. Returns `false` if the patience for that is used up.
    fn wait_for_cores(&mut self) -> Result<bool, String> {
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            let line = match self.last_line.take() {
                Some(line) => line,
                None => self.raw_line()?,
            };
            let Some(WantedCores { cores, patience }) = &mut self.wanted else {
                self.last_line = Some(line);
                return Ok(true);
            };
            if (line > WANTED_BORDER_NS) == (*cores == Cores::Far) {
                self.last_line = Some(line);
                return Ok(true);
            }
            if patience.is_zero() {
                return Ok(false);
            }
            *patience = patience.saturating_sub(PAUSE);
            std::thread::sleep(PAUSE);
        }
    }

    /// Measures one batch of `key` between two measurements of the raw hand-over. A subject that failed once is not
    /// tried again.
    pub fn measure(&mut self, key: Key, limit: Limit, run: impl FnOnce(&Board) -> Result<Batch, String>) {
        let at = self.series.iter().position(|series| series.key == key).unwrap_or_else(|| {
            self.series.push(Series { key, measured: Vec::new(), failure: None });
            self.series.len() - 1
        });
        if self.series[at].failure.is_some() {
            return;
        }
        let result = match self.wait_for_cores() {
            Ok(true) => self.measure_between(limit, run),
            // What was measured before counts.
            Ok(false) if !self.series[at].measured.is_empty() => return,
            Ok(false) => Err("the cores were not placed as wanted during the whole wait".to_owned()),
            Err(why) => Err(why),
        };
        match result {
            Ok(measured) => self.series[at].measured.push(measured),
            Err(why) => self.series[at].failure = Some(why),
        }
    }

    /// Records that `key` cannot be measured here, and why.
    pub fn cannot(&mut self, key: Key, why: impl Into<String>) {
        if !self.series.iter().any(|series| series.key == key) {
            self.series.push(Series { key, measured: Vec::new(), failure: Some(why.into()) });
        }
    }

    fn measure_between(
        &mut self,
        limit: Limit,
        run: impl FnOnce(&Board) -> Result<Batch, String>,
    ) -> Result<Measured, String> {
        let before = match self.last_line.take() {
            Some(line) => line,
            None => self.raw_line()?,
        };
        let limit = match limit {
            Limit::Lines(size) => median_of(&one_way(&self.board, &FlagAndPayload(self.board, size), size, self.raw)?),
            Limit::Futex(place) => median_of(&wake(&self.board, &Futex(self.board), place, self.wake_rounds)?),
            Limit::FutexOneWay(place) => {
                median_of(&wake_one_way(&self.board, &Futex(self.board), place, self.wake_rounds)?)
            }
        };
        let batch = run(&self.board)?;
        if matches!(&batch, Batch::Times(times, _) if times.is_empty()) {
            return Err("not one event was timed".to_owned());
        }
        let after = self.raw_line()?;
        self.last_line = Some(after);
        Ok(Measured { line: [before, after], limit, batch })
    }

    fn raw_line(&self) -> Result<f64, String> {
        Ok(median_of(&one_way(&self.board, &OneLine(self.board), 8, self.raw)?))
    }

    /// Returns the figures, one JSON object for each key and placement.
    pub fn figures(&self) -> Vec<Value> {
        let border = self.border();
        let mut figures = Vec::new();
        for series in &self.series {
            let Series { key, measured, failure } = series;
            let base = json!({
                "scenario": key.scenario, "subject": key.subject, "size": key.size,
                "writers": key.writers, "readers": key.readers,
            });
            if let Some(why) = failure {
                figures.push(merged(&base, json!({ "failed": why })));
                continue;
            }
            let place = |measured: &Measured| place_of(measured.line, border);
            for (placement, name) in [(Some(false), "near"), (Some(true), "far")] {
                let alike: Vec<&Measured> = measured.iter().filter(|&batch| place(batch) == placement).collect();
                if !alike.is_empty() {
                    let placement = json!({ "placement": name });
                    figures.push(merged(&merged(&base, placement), summary(&alike)));
                }
            }
            let moved = measured.iter().filter(|&batch| place(batch).is_none()).count();
            if moved > 0 {
                figures.push(merged(&base, json!({ "placement": "changed meanwhile, left out", "batches": moved })));
            }
        }
        figures
    }

    /// Returns the raw hand-over time that separates near from far. If this run saw both: the widest gap between two
    /// values, if it is a factor of more than 1.6 and both sides have a tenth of the values. Otherwise a limit that
    /// neighbouring cores of today's processors stay below.
    fn border(&self) -> f64 {
        if self.wanted.is_some() {
            return WANTED_BORDER_NS;
        }
        let mut lines: Vec<f64> = self.series.iter().flat_map(|s| s.measured.iter().flat_map(|m| m.line)).collect();
        lines.sort_by(f64::total_cmp);
        let margin = lines.len().div_ceil(10).max(1);
        let inner = lines.get(margin - 1..lines.len().saturating_sub(margin - 1)).unwrap_or(&[]);
        let gap = inner.windows(2).max_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
        match gap {
            Some(gap) if gap[1] / gap[0] > 1.6 => (gap[0] * gap[1]).sqrt(),
            _ => NEIGHBOURS_NS,
        }
    }
}

/// Returns `true` if a batch ran far; `None` if that changed between its beginning and its end.
fn place_of([before, after]: [f64; 2], border: f64) -> Option<bool> {
    ((before > border) == (after > border)).then_some(before > border)
}

fn summary(alike: &[&Measured]) -> Value {
    let line = median(alike.iter().flat_map(|batch| batch.line));
    let limit = median(alike.iter().map(|batch| batch.limit));
    let base = json!({ "batches": alike.len(), "raw_line_ns": round(line), "raw_limit_ns": round(limit) });
    let of_batch: Vec<f64> = alike.iter().map(|batch| median_of(&batch.batch)).collect();
    let times: Vec<&Vec<f64>> = alike
        .iter()
        .filter_map(|batch| match &batch.batch {
            Batch::Times(times, _) => Some(times),
            Batch::Flow(_) => None,
        })
        .collect();
    if times.is_empty() {
        return merged(&base, flow_summary(alike));
    }
    // Tenths of a nanosecond, up to a minute.
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, 600_000_000_000, 3).expect("bounds that hdrhistogram takes");
    for ns in times.into_iter().flatten() {
        histogram.saturating_record((ns * 10.0) as u64);
    }
    let at = |quantile: f64| round(histogram.value_at_quantile(quantile) as f64 / 10.0);
    let steps = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999];
    let curve: Vec<Value> = steps.iter().map(|&quantile| json!([quantile, at(quantile)])).collect();
    let ratio =
        |raw: fn(&Measured) -> f64| round(median(alike.iter().zip(&of_batch).map(|(batch, p50)| p50 / raw(batch))));
    merged(
        &base,
        json!({
            "samples": histogram.len(),
            "min_ns": round(histogram.min() as f64 / 10.0),
            // The median of the batches' medians, so that one disturbed batch has one vote.
            "p50_ns": round(median(of_batch.iter().copied())),
            "p99_ns": at(0.99), "p99_9_ns": at(0.999), "max_ns": round(histogram.max() as f64 / 10.0),
            "to_limit": ratio(|batch| batch.limit),
            "to_line": ratio(|batch| (batch.line[0] + batch.line[1]) / 2.0),
            "curve": curve,
        }),
    )
}

fn flow_summary(alike: &[&Measured]) -> Value {
    let flows: Vec<_> = alike
        .iter()
        .filter_map(|batch| match &batch.batch {
            Batch::Flow(flow) => Some(flow),
            Batch::Times(..) => None,
        })
        .collect();
    let rate = |count: u64, ns: f64| count as f64 / ns * 1e9;
    let posted = flows.iter().map(|flow| flow.posted.iter().map(|&(count, ns)| rate(count, ns)).sum());
    let per_post = flows.iter().map(|flow| median(flow.posted.iter().map(|&(count, ns)| ns / count as f64)));
    // Of the reader that received least.
    let least = |flow: &super::batch::Flow| {
        flow.received.iter().map(|&(count, _, ns)| rate(count, ns)).min_by(f64::total_cmp).unwrap_or(0.0)
    };
    let all: u64 = flows.iter().flat_map(|flow| &flow.received).map(|&(count, missed, _)| count + missed).sum();
    let missed: u64 = flows.iter().flat_map(|flow| &flow.received).map(|&(_, missed, _)| missed).sum();
    json!({
        "posted_per_s": median(posted).round(),
        "ns_per_post": round(median(per_post)),
        "received_per_s": median(flows.iter().map(|flow| least(flow))).round(),
        "missed_share": if all == 0 { 0.0 } else { missed as f64 / all as f64 },
    })
}

fn median_of(batch: &Batch) -> f64 {
    match batch {
        Batch::Times(times, granule) => grouped_median(times, *granule),
        Batch::Flow(flow) => median(flow.posted.iter().map(|&(count, ns)| ns / count as f64)),
    }
}

/// Returns the middle value, or 0 if there is none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Returns the median of times with a resolution of `granule`: the position of the middle one within its step, by the
/// numbers below the step and within it.
fn grouped_median(times: &[f64], granule: f64) -> f64 {
    let middle = median(times.iter().copied());
    let low = middle - granule / 2.0;
    let below = times.iter().filter(|&&time| time < low).count() as f64;
    let within = times.iter().filter(|&&time| (low..low + granule).contains(&time)).count() as f64;
    if within == 0.0 { middle } else { low + granule * (times.len() as f64 / 2.0 - below) / within }
}

fn round(ns: f64) -> f64 {
    (ns * 100.0).round() / 100.0
}

fn merged(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}
