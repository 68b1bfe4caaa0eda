//! What `top` knows: the last measurement, and what it has seen before it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use seqcast::inspect::Inspector;
use seqcast::{Stats, WorkerStats};

use crate::args::Sort;
use crate::processes::State;

/// Measurements that are kept for the history.
const MOST_HISTORY: usize = 120;

pub struct Model {
    stats: Option<Stats>,
    measured_at: Instant,
    rows: Vec<Row>,
    rate: f64,
    history: VecDeque<f64>,
    pub sort: Sort,
    reversed: bool,
    /// Whether the segment's name does not lead to it any more.
    pub gone: bool,
}

/// A worker, with what this viewer has seen of it.
pub struct Row {
    pub worker: WorkerStats,
    pub state: State,
    /// Ids read a second; posted, of a worker that does not read.
    pub rate: f64,
    /// The greatest lag since this viewer was started.
    pub high_lag: u64,
    pub history: VecDeque<f64>,
}

impl Row {
    pub fn age(&self) -> Duration {
        self.worker.joined_at.elapsed().unwrap_or_default()
    }

    /// Something that grows with the worker's work.
    fn work(worker: &WorkerStats) -> u64 {
        worker.cursor.unwrap_or(worker.posted)
    }
}

impl Model {
    pub fn new(sort: Sort) -> Model {
        Model {
            stats: None,
            measured_at: Instant::now(),
            rows: Vec::new(),
            rate: 0.0,
            history: VecDeque::new(),
            sort,
            reversed: false,
            gone: false,
        }
    }

    pub fn measure(&mut self, inspector: &Inspector) -> seqcast::Result<()> {
        let stats = inspector.stats()?;
        let now = Instant::now();
        let seconds = (now - self.measured_at).as_secs_f64().max(1e-3);
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        // A record that was taken anew is another worker.
        let mut before: BTreeMap<(u32, u64), Row> =
            self.rows.drain(..).map(|row| ((row.worker.record, row.worker.incarnation), row)).collect();
        for worker in &stats.workers {
            let state = State::of(worker, stats.capacity);
            let row = match before.remove(&(worker.record, worker.incarnation)) {
                Some(mut row) => {
                    row.rate = per_second(Row::work(worker), Row::work(&row.worker));
                    push(&mut row.history, row.rate);
                    Row { state, high_lag: row.high_lag.max(worker.lag), worker: worker.clone(), ..row }
                }
                None => {
                    Row { worker: worker.clone(), state, rate: 0.0, high_lag: worker.lag, history: VecDeque::new() }
                }
            };
            self.rows.push(row);
        }
        if let Some(before) = &self.stats {
            self.rate = per_second(stats.next_id, before.next_id);
            push(&mut self.history, self.rate);
        }
        self.stats = Some(stats);
        self.measured_at = now;
        self.sort_rows();
        Ok(())
    }

    /// In the order asked for.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    pub fn rate(&self) -> f64 {
        self.rate
    }

    pub fn history(&self) -> &VecDeque<f64> {
        &self.history
    }

    pub fn name(&self) -> &str {
        self.stats.as_ref().map_or("", |stats| &stats.name)
    }

    pub fn next_id(&self) -> u64 {
        self.stats.as_ref().map_or(0, |stats| stats.next_id)
    }

    pub fn capacity(&self) -> u64 {
        self.stats.as_ref().map_or(0, |stats| stats.capacity)
    }

    pub fn records(&self) -> u32 {
        self.stats.as_ref().map_or(0, |stats| stats.records)
    }

    pub fn claims_held(&self) -> u64 {
        self.stats.as_ref().map_or(0, |stats| stats.claims_held)
    }

    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    pub fn is_reversed(&self) -> bool {
        self.reversed
    }

    pub fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.sort_rows();
    }

    pub fn sort_by_next(&mut self, step: isize) {
        let columns = Sort::value_variants();
        let at = columns.iter().position(|column| *column == self.sort).unwrap_or(0);
        self.sort = columns[at.wrapping_add_signed(step + columns.len() as isize) % columns.len()];
        self.sort_rows();
    }

    /// What is worth a look comes first: great lags, bad states, long silences. Equal rows stay in order of their record.
    fn sort_rows(&mut self) {
        let silence = |row: &Row| row.worker.last_poll.unwrap_or(Duration::MAX);
        let order = |a: &Row, b: &Row| match self.sort {
            Sort::Record => Ordering::Equal,
            Sort::Pid => a.worker.pid.cmp(&b.worker.pid),
            Sort::Label => a.worker.label.cmp(&b.worker.label),
            Sort::Age => b.worker.joined_at.cmp(&a.worker.joined_at).reverse(),
            Sort::Lag => b.worker.lag.cmp(&a.worker.lag),
            Sort::High => b.high_lag.cmp(&a.high_lag),
            Sort::Missed => b.worker.missed.cmp(&a.worker.missed),
            Sort::Poll => silence(b).cmp(&silence(a)),
            Sort::State => a.state.cmp(&b.state),
            Sort::Rate => b.rate.total_cmp(&a.rate),
        };
        self.rows.sort_by(|a, b| order(a, b).then(a.worker.record.cmp(&b.worker.record)));
        if self.reversed {
            self.rows.reverse();
        }
    }
}

fn push(history: &mut VecDeque<f64>, value: f64) {
    if history.len() == MOST_HISTORY {
        history.pop_front();
    }
    history.push_back(value);
}
