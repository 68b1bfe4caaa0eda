//! The data of `top`: the last measurement, and what `top` has seen before.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use seqcast::inspect::{Inspector, RelayPresence, RelayState};
use seqcast::{Stats, WorkerStats};

use crate::args::Sort;
use crate::processes::State;
use crate::units::per_second;

/// The number of measurements in the history.
const MOST_HISTORY: usize = 120;

pub struct Model {
    stats: Option<Stats>,
    measured_at: Instant,
    rows: Vec<Row>,
    rate: f64,
    history: VecDeque<f64>,
    pub sort: Sort,
    reversed: bool,
    /// The text that a row must contain to be shown.
    pub filter: String,
    /// If set, only workers of this process are shown.
    pid: Option<u32>,
    relay: Option<RelayState>,
    /// `true` if the segment's name no longer leads to it.
    pub gone: bool,
}

/// A worker, with what this viewer has seen of it.
pub struct Row {
    pub worker: WorkerStats,
    pub state: State,
    /// Ids read per second, or events posted per second if the worker does not read.
    pub rate: f64,
    /// Events posted per second.
    pub post_rate: f64,
    /// The greatest lag since this viewer started.
    pub high_lag: u64,
    /// The latest values of `rate`.
    pub history: VecDeque<f64>,
    /// The latest values of `post_rate`.
    pub post_history: VecDeque<f64>,
}

/// Identifies a worker, even if its seat is taken again later.
pub type WorkerId = (u32, u64);

impl Row {
    pub fn age(&self) -> Duration {
        self.worker.joined_at.elapsed().unwrap_or_default()
    }

    pub fn id(&self) -> WorkerId {
        (self.worker.seat, self.worker.incarnation)
    }

    fn new(worker: &WorkerStats, state: State) -> Row {
        Row {
            worker: worker.clone(),
            state,
            rate: 0.0,
            post_rate: 0.0,
            high_lag: worker.lag,
            history: VecDeque::new(),
            post_history: VecDeque::new(),
        }
    }

    /// The same worker, measured again after `time`.
    fn then(mut self, worker: &WorkerStats, state: State, time: Duration) -> Row {
        self.rate = per_second(Row::work(worker).saturating_sub(Row::work(&self.worker)), time);
        self.post_rate = per_second(worker.posted.saturating_sub(self.worker.posted), time);
        push(&mut self.history, self.rate);
        push(&mut self.post_history, self.post_rate);
        Row { state, high_lag: self.high_lag.max(worker.lag), worker: worker.clone(), ..self }
    }

    /// Returns `true` if the pid, the label or the state contains `text`, which is in lower case.
    fn contains(&self, text: &str) -> bool {
        let worker = &self.worker;
        worker.pid.to_string().contains(text)
            || worker.label.to_lowercase().contains(text)
            || self.state.name().contains(text)
    }

    /// A number that grows as the worker works.
    fn work(worker: &WorkerStats) -> u64 {
        worker.cursor.unwrap_or(worker.posted)
    }
}

impl Model {
    pub fn new(sort: Sort, pid: Option<u32>) -> Model {
        Model {
            stats: None,
            measured_at: Instant::now(),
            rows: Vec::new(),
            rate: 0.0,
            history: VecDeque::new(),
            sort,
            reversed: false,
            filter: String::new(),
            pid,
            relay: None,
            gone: false,
        }
    }

    /// For another segment, with the same sort order and filter.
    pub fn restart(&mut self) {
        let filter = std::mem::take(&mut self.filter);
        *self = Model { reversed: self.reversed, filter, ..Model::new(self.sort, self.pid) };
    }

    pub fn measure(&mut self, inspector: &Inspector) -> seqcast::Result<()> {
        let stats = inspector.stats()?;
        let now = Instant::now();
        let time = now - self.measured_at;
        // If the seat has been taken again, it is another worker.
        let mut before: BTreeMap<WorkerId, Row> = self.rows.drain(..).map(|row| (row.id(), row)).collect();
        for worker in &stats.workers {
            let state = State::of(worker, stats.sizes.capacity);
            let row = match before.remove(&(worker.seat, worker.incarnation)) {
                Some(row) => row.then(worker, state, time),
                None => Row::new(worker, state),
            };
            self.rows.push(row);
        }
        if let Some(before) = &self.stats {
            self.rate = per_second(stats.next_id.saturating_sub(before.next_id), time);
            push(&mut self.history, self.rate);
        }
        self.stats = Some(stats);
        self.relay = Some(inspector.relay()?);
        self.measured_at = now;
        self.sort_rows();
        Ok(())
    }

    /// The rows that match the filter, sorted.
    pub fn rows(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let is_wanted = |row: &&Row| self.pid.is_none_or(|pid| row.worker.pid == pid) && row.contains(&filter);
        self.rows.iter().filter(is_wanted).collect()
    }

    /// The number of workers, shown or not.
    pub fn workers(&self) -> usize {
        self.rows.len()
    }

    /// The number of failed handlers of all workers, shown or not.
    pub fn failed(&self) -> u64 {
        // Hostile counts may have any value.
        self.rows.iter().fold(0, |sum, row| row.worker.failed.saturating_add(sum))
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
        self.stats.as_ref().map_or(0, |stats| stats.sizes.capacity)
    }

    pub fn seats(&self) -> u32 {
        self.stats.as_ref().map_or(0, |stats| stats.sizes.seats)
    }

    pub fn claims_held(&self) -> u64 {
        self.stats.as_ref().map_or(0, |stats| stats.claims_held)
    }

    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    /// The segment's relay, if it has had one.
    pub fn relay(&self) -> Option<&RelayState> {
        self.relay.as_ref().filter(|relay| relay.presence != RelayPresence::Never)
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

    /// Conspicuous workers come first: great lags, bad states, long silences. Equal rows stay in the order of their
    /// seats.
    fn sort_rows(&mut self) {
        let silence = |row: &Row| row.worker.last_poll.unwrap_or(Duration::MAX);
        let order = |a: &Row, b: &Row| match self.sort {
            Sort::Seat => Ordering::Equal,
            Sort::Pid => a.worker.pid.cmp(&b.worker.pid),
            Sort::Label => a.worker.label.cmp(&b.worker.label),
            Sort::Age => b.worker.joined_at.cmp(&a.worker.joined_at).reverse(),
            Sort::Lag => b.worker.lag.cmp(&a.worker.lag),
            Sort::High => b.high_lag.cmp(&a.high_lag),
            Sort::Missed => b.worker.missed.cmp(&a.worker.missed),
            Sort::Poll => silence(b).cmp(&silence(a)),
            Sort::State => a.state.cmp(&b.state),
            Sort::Rate => b.rate.total_cmp(&a.rate),
            Sort::Posts => b.post_rate.total_cmp(&a.post_rate),
            Sort::Failed => b.worker.failed.cmp(&a.worker.failed),
        };
        self.rows.sort_by(|a, b| order(a, b).then(a.worker.seat.cmp(&b.worker.seat)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_measurement_is_told_from_the_one_before() {
        let bus = fixture::bus("model");
        let inspector = fixture::inspector(&bus);
        let worker = fixture::worker(&bus, "web");
        let mut model = Model::new(Sort::Seat, None);
        assert_eq!((model.name(), model.next_id(), model.capacity(), model.seats()), ("", 0, 0, 0));
        model.measure(&inspector).unwrap();
        assert_eq!((model.name(), model.next_id(), model.capacity(), model.seats()), (bus.name(), 0, 64, 32));
        assert_eq!((model.rate(), model.history().len(), model.rows().len()), (0.0, 0, 1));
        for _ in 0..6 {
            worker.post(("a", "b"), "").unwrap();
        }
        let _claim = worker.claim("key", Duration::from_secs(600)).unwrap();
        model.measure(&inspector).unwrap();
        assert_eq!((model.next_id(), model.claims_held()), (6, 1));
        assert!(model.rate() > 0.0, "six events were posted");
        assert_eq!(model.history(), &[model.rate()]);
        let row = model.rows()[0];
        assert_eq!((row.worker.lag, row.high_lag, row.rate, row.history.len()), (6, 6, 0.0, 1));
        worker.poll().unwrap();
        model.measure(&inspector).unwrap();
        assert_eq!((model.rate(), model.history().len()), (0.0, 2));
        let row = model.rows()[0];
        assert_eq!((row.worker.lag, row.high_lag, row.history.len()), (0, 6, 2));
        assert!(row.rate > 0.0 && row.history == [0.0, row.rate], "six events were read");
        assert_eq!(State::ALL.map(|state| model.count(state)), [1, 0, 0, 0, 0]);
        // The next holder of the seat starts from zero.
        drop(worker);
        let _next = fixture::worker(&bus, "next");
        model.measure(&inspector).unwrap();
        let row = model.rows()[0];
        assert_eq!((row.worker.seat, row.high_lag, row.history.len()), (0, 0, 0));
    }

    #[test]
    fn a_worker_that_only_posts_is_measured_by_that() {
        let bus = fixture::bus("model-poster");
        let inspector = fixture::inspector(&bus);
        let mut poster = bus.publisher().unwrap();
        let mut model = Model::new(Sort::Seat, None);
        model.measure(&inspector).unwrap();
        poster.post(("a", "b"), "").unwrap();
        model.measure(&inspector).unwrap();
        assert!(model.rows()[0].rate > 0.0);
    }

    #[test]
    fn only_the_rows_asked_for_are_shown() {
        let bus = fixture::bus("model-filter");
        let _workers = ["Web-1", "web-2", "mailer"].map(|label| fixture::worker(&bus, label));
        let shown = |pid: Option<u32>, filter: &str| -> Vec<String> {
            let mut model = Model::new(Sort::Seat, pid);
            model.measure(&fixture::inspector(&bus)).unwrap();
            model.filter = filter.to_owned();
            assert_eq!((model.workers(), model.count(State::Ok)), (3, 3), "the others are counted");
            model.rows().iter().map(|row| row.worker.label.clone()).collect()
        };
        let pid = std::process::id();
        for (filter, labels) in [
            ("", &["Web-1", "web-2", "mailer"][..]),
            ("WEB", &["Web-1", "web-2"]),
            ("-2", &["web-2"]),
            ("ok", &["Web-1", "web-2", "mailer"]),
            (&pid.to_string(), &["Web-1", "web-2", "mailer"]),
            ("nobody", &[]),
        ] {
            assert_eq!(shown(None, filter), labels, "{filter:?}");
            assert_eq!(shown(Some(pid), filter), labels, "{filter:?}");
            assert_eq!(shown(Some(pid + 1), filter), [""; 0], "{filter:?}");
        }
    }

    #[test]
    fn another_segment_is_shown_in_the_same_way() {
        let bus = fixture::bus("model-restart");
        let _worker = fixture::worker(&bus, "web");
        let mut model = Model::new(Sort::Lag, Some(1));
        model.measure(&fixture::inspector(&bus)).unwrap();
        model.reverse();
        (model.filter, model.gone) = ("web".to_owned(), true);
        model.restart();
        assert_eq!((model.sort, model.is_reversed(), model.pid, &*model.filter), (Sort::Lag, true, Some(1), "web"));
        assert_eq!((model.workers(), model.next_id(), model.gone), (0, 0, false));
    }

    #[test]
    fn posts_are_measured_beside_what_is_read() {
        let bus = fixture::bus("model-posts");
        let (inspector, worker) = (fixture::inspector(&bus), fixture::worker(&bus, "web"));
        let mut model = Model::new(Sort::Seat, None);
        model.measure(&inspector).unwrap();
        worker.post(("a", "b"), "").unwrap();
        model.measure(&inspector).unwrap();
        let row = model.rows()[0];
        assert!(row.rate == 0.0 && row.post_rate > 0.0 && row.post_history == [row.post_rate]);
        worker.poll().unwrap();
        model.measure(&inspector).unwrap();
        let row = model.rows()[0];
        assert!(row.rate > 0.0 && row.post_rate == 0.0 && row.post_history.len() == 2);
    }

    #[test]
    fn a_history_keeps_what_is_newest() {
        let mut history = VecDeque::new();
        for value in 0..=MOST_HISTORY {
            push(&mut history, value as f64);
        }
        assert_eq!((history.len(), history[0], history[MOST_HISTORY - 1]), (MOST_HISTORY, 1.0, MOST_HISTORY as f64));
    }

    /// Makes a row different from the others.
    type Change<'a> = &'a dyn Fn(&mut Row);

    #[test]
    fn what_is_worth_a_look_comes_first() {
        let bus = fixture::bus("model-sort");
        let template = fixture::worker_stats(&bus);
        let row = |seat: u32, change: Change<'_>| {
            let mut row = Row::new(&template, State::Ok);
            (row.worker.seat, row.worker.last_poll) = (seat, Some(Duration::ZERO));
            change(&mut row);
            row
        };
        let sorted = |sort: Sort, reversed: bool, rows: Vec<Row>| -> Vec<u32> {
            let mut model = Model::new(sort, None);
            model.rows = rows;
            model.sort_rows();
            if reversed {
                model.reverse();
            }
            assert_eq!(model.is_reversed(), reversed);
            model.rows().iter().map(|row| row.worker.seat).collect()
        };
        let old = template.joined_at - Duration::from_secs(60);
        // In each column 2 comes first, and among equal rows the lower seat.
        let firsts: [(Sort, Change<'_>); 11] = [
            (Sort::Pid, &|row| row.worker.pid = 0),
            (Sort::Label, &|row| row.worker.label = "a".to_owned()),
            (Sort::Age, &|row| row.worker.joined_at = old),
            (Sort::Lag, &|row| row.worker.lag = 1),
            (Sort::High, &|row| row.high_lag = 1),
            (Sort::Missed, &|row| row.worker.missed = 1),
            (Sort::Poll, &|row| row.worker.last_poll = None),
            (Sort::State, &|row| row.state = State::Dead),
            (Sort::Rate, &|row| row.rate = 1.0),
            (Sort::Posts, &|row| row.post_rate = 1.0),
            (Sort::Failed, &|row| row.worker.failed = 1),
        ];
        for (sort, change) in firsts {
            let rows = || vec![row(3, &|_| ()), row(2, change), row(1, &|_| ())];
            assert_eq!(sorted(sort, false, rows()), [2, 1, 3], "{sort:?}");
            assert_eq!(sorted(sort, true, rows()), [3, 1, 2], "{sort:?}, reversed");
            assert_eq!(sorted(Sort::Seat, false, rows()), [1, 2, 3], "by seat, whatever its {sort:?}");
        }
    }

    #[test]
    fn the_columns_to_sort_by_go_round() {
        let columns = Sort::value_variants();
        let mut model = Model::new(columns[0], None);
        for step in [1, -1] {
            let mut seen = vec![model.sort];
            for _ in columns {
                model.sort_by_next(step);
                seen.push(model.sort);
            }
            let mut expected = [columns, &columns[..1]].concat();
            if step < 0 {
                expected.reverse();
            }
            assert_eq!(seen, expected);
        }
    }
}
