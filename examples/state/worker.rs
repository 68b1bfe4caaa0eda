//! A worker: its table, the handlers that change it, and its posts.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use seqcast::{Bus, ErrorKind, Event, Start, Topic, Trouble, Worker, WorkerOptions, library};

use crate::Result;
use crate::board::{Board, Entry};
use crate::random::Random;

/// The state of an upstream changed.
pub const STATE: Topic<'_> = Topic::new("upstream", "state");
/// Another event, which fills the ring.
const OTHER: Topic<'_> = Topic::new("job", "done");
/// How long a post waits for the worker that must read.
const PATIENCE: Duration = Duration::from_millis(50);

/// The number of the worker that must read.
const MUST_READ: usize = 0;

/// By upstream: the state, and the id of the event that has set it.
type Entries = BTreeMap<u64, (u64, u64)>;

#[derive(Clone, Default)]
struct Table(Arc<Mutex<Entries>>);

impl Table {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the handlers that keep the table.
    fn kept_by(worker: &Worker) -> Result<Table> {
        let table = Table::default();
        let (set, gone, void) = (table.clone(), table.clone(), table.clone());
        worker.on(STATE, move |event| {
            let (Some(upstream), Some(id)) = (upstream_of(event), event.id()) else { return Err("not an upstream") };
            let state = number(event.bytes()).ok_or("not a state")?;
            set.lock().insert(upstream, (id, state));
            Ok(())
        })?;
        worker.on_cleared(STATE, move |event| {
            if let Some(upstream) = upstream_of(event) {
                gone.lock().remove(&upstream);
            }
        })?;
        worker.on(library::RESET, move |_| void.lock().clear())?;
        Ok(table)
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn upstream_of(event: &Event<'_>) -> Option<u64> {
    event.retained_key().and_then(number)
}

/// Runs worker `number` until the end. `name` distinguishes it from all others.
pub fn run(bus: &Bus, board: &'static Board, number: usize, name: u64, upstreams: u64) -> Result<()> {
    let options = WorkerOptions::new().label(format!("worker-{name}")).start(Start::Retained).resync(true);
    let mut options = options.on_report(move |report| match report.trouble {
        Trouble::Lagged { cut_off, .. } => {
            board.laps.fetch_add(1, Ordering::Relaxed);
            if number == MUST_READ {
                let count = if cut_off { &board.cut_off } else { &board.overrun };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        _ => eprintln!("{report}"),
    });
    if number == MUST_READ {
        options = options.must_read(PATIENCE).wait_max(PATIENCE / 2);
    }
    let worker = bus.join_with(&options)?;
    let table = Table::kept_by(&worker)?;
    let mut worker = Keeper { worker, table, board, upstreams, random: Random(name) };
    let mut answered = 0;
    while board.over.load(Ordering::Acquire) == 0 {
        match board.still.load(Ordering::Acquire) {
            0 => worker.work()?,
            // Other workers may still be posting.
            request if request == answered => worker.wait()?,
            request => {
                worker.worker.poll()?;
                board.workers[number].answer(request, &worker.entries());
                answered = request;
            }
        }
    }
    worker.worker.leave()?;
    Ok(())
}

struct Keeper {
    worker: Worker,
    table: Table,
    board: &'static Board,
    upstreams: u64,
    random: Random,
}

impl Keeper {
    fn entries(&self) -> Vec<Entry> {
        self.table.lock().iter().map(|(&upstream, &(id, state))| [upstream, id, state]).collect()
    }

    fn wait(&mut self) -> Result<()> {
        self.worker.wait(Duration::from_millis(1))?;
        Ok(())
    }

    /// Changes an upstream or posts another event, and checks the entry of another upstream.
    fn work(&mut self) -> Result<()> {
        let upstream = self.random.below(self.upstreams);
        let key = upstream.to_le_bytes();
        let begun = Instant::now();
        let posted = match self.random.below(8) {
            0..4 => self.worker.post(OTHER, "").map(|_| None),
            4 => self.worker.event(STATE).retain_key(&key).clear(),
            _ => self.worker.event(STATE).retain_key(&key).post(self.random.next().to_le_bytes()).map(Some),
        };
        self.board.longest_post.fetch_max(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        let posted = match posted {
            // Worker 0 itself lacks a ring of events. It reads first.
            Err(error) if error.kind() == ErrorKind::Full => None,
            posted => posted?,
        };
        if let Some(id) = posted {
            // Release: a worker that sees the id also sees the posted event.
            self.board.posted[upstream as usize].fetch_max(id + 1, Ordering::Release);
        }
        self.check()?;
        if self.random.one_in(64) {
            self.wait()?;
        }
        Ok(())
    }

    /// Checks that a look-up, and the table after a poll, are not older than any post that has returned.
    fn check(&mut self) -> Result<()> {
        let upstream = self.random.below(self.upstreams);
        let posted = &self.board.posted[upstream as usize];
        let before = posted.load(Ordering::Acquire);
        let found = self.worker.get_key(STATE, upstream.to_le_bytes())?;
        self.judge(found.map(|found| found.id()), before);
        let before = posted.load(Ordering::Acquire);
        self.worker.poll()?;
        let has = self.table.lock().get(&upstream).map(|&(id, _)| id);
        self.judge(has, before);
        Ok(())
    }

    /// Counts an event that is older than `before`.
    fn judge(&self, id: Option<u64>, before: u64) {
        if id.is_some_and(|id| id + 1 < before) {
            self.board.stale.fetch_add(1, Ordering::Relaxed);
        }
    }
}
