//! Runs one race through loom, in every mode and order, and compares its outcomes with the allowed ones.
//!
//! A passing model can be empty: loom may never have tried the interleaving that the test is about. Each race therefore
//! names its allowed outcomes. It fails if another outcome occurs, and also if one of them never occurs.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::life;
use crate::sync::Mode;

/// A race, to be described and then [`run`](Race::run).
pub(crate) struct Race {
    name: &'static str,
    allowed: &'static [&'static str],
    bounds: [Option<usize>; 2],
    deaths: usize,
    deep_only: bool,
}

/// The order in which the actors are spawned, which is the order in which loom first runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    AsWritten,
    Reversed,
}

/// One way to run a race, common to all its executions.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) mode: Mode,
    order: Order,
    /// The shared write at which each mortal dies.
    deaths: Vec<u32>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<BTreeSet<String>>,
    died: [AtomicBool; 2],
    executions: AtomicU64,
}

/// The actors of one execution.
pub(crate) struct Cast {
    order: Order,
    actors: Vec<Box<dyn FnOnce()>>,
}

pub(crate) fn race(name: &'static str) -> Race {
    Race { name, allowed: &[], bounds: [Some(2), Some(3)], deaths: 0, deep_only: false }
}

fn deep() -> bool {
    std::env::var("SEQCAST_MODEL_DEPTH").is_ok_and(|depth| depth == "deep")
}

impl Race {
    /// Every outcome that the race may have, and has.
    pub(crate) fn allowed(self, allowed: &'static [&'static str]) -> Race {
        Race { allowed, ..self }
    }

    /// The number of preemptions that loom may make in an execution: in CI and in a deep run. `None`: any number.
    pub(crate) fn preemptions(self, ci: Option<usize>, deep: Option<usize>) -> Race {
        Race { bounds: [ci, deep], ..self }
    }

    /// The number of lives of the race that end at a chosen write. It runs for every choice.
    pub(crate) fn deaths(self, deaths: usize) -> Race {
        Race { deaths, ..self }
    }

    /// Not in CI, because it takes too long.
    pub(crate) fn deep_only(self) -> Race {
        Race { deep_only: true, ..self }
    }

    /// Runs `model` in every mode and order and with every choice of deaths.
    pub(crate) fn run(self, model: impl Fn(&Run) + Send + Sync + 'static) {
        if self.deep_only && !deep() {
            return;
        }
        let model = Arc::new(model);
        let shared = Arc::new(Shared::default());
        let bound = self.bounds[usize::from(deep())];
        let begin = Instant::now();
        for mode in [Mode::Plain, Mode::Rmw] {
            for order in [Order::AsWritten, Order::Reversed] {
                let run = Run { mode, order, deaths: vec![], shared: Arc::clone(&shared) };
                self.with_deaths(run, bound, &model);
            }
        }
        let seen = shared.seen.lock().unwrap();
        let allowed: BTreeSet<String> = self.allowed.iter().map(ToString::to_string).collect();
        self.report(bound, shared.executions.load(Ordering::Relaxed), begin.elapsed().as_secs_f64(), seen.len());
        assert_eq!(*seen, allowed, "{}: outcomes seen (left) are not those allowed (right)", self.name);
    }

    /// Tries every choice for the deaths that `run` has not chosen yet.
    fn with_deaths(&self, run: Run, bound: Option<usize>, model: &Arc<impl Fn(&Run) + Send + Sync + 'static>) {
        let mortal = run.deaths.len();
        if mortal == self.deaths {
            return self.search(run, bound, model);
        }
        for write in 0.. {
            let mut run = run.clone();
            run.deaths.push(write);
            run.shared.died[mortal].store(false, Ordering::Relaxed);
            let died = Arc::clone(&run.shared);
            self.with_deaths(run, bound, model);
            // No actor makes that many writes: every choice has been tried.
            if !died.died[mortal].load(Ordering::Relaxed) {
                break;
            }
        }
    }

    fn search(&self, run: Run, bound: Option<usize>, model: &Arc<impl Fn(&Run) + Send + Sync + 'static>) {
        let mut loom = loom::model::Builder::new();
        loom.preemption_bound = loom.preemption_bound.or(bound);
        loom.max_branches = 5_000;
        let model = Arc::clone(model);
        let _which = Which(format!("{}: {:?}, {:?}, deaths at {:?}", self.name, run.mode, run.order, run.deaths));
        loom.check(move || {
            run.shared.executions.fetch_add(1, Ordering::Relaxed);
            model(&run);
        });
    }

    /// A row of the table that the `models` program prints.
    fn report(&self, bound: Option<usize>, executions: u64, seconds: f64, outcomes: usize) {
        let bound = bound.map_or("none".to_owned(), |bound| bound.to_string());
        let row = format!("{}\t{bound}\t{executions}\t{outcomes}\t{seconds:.1}\n", self.name);
        print!("{row}");
        if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
            file.write_all(row.as_bytes()).expect("room for a row");
        }
    }
}

impl Run {
    pub(crate) fn cast(&self) -> Cast {
        Cast { order: self.order, actors: vec![] }
    }

    /// Records the outcome of one execution.
    pub(crate) fn outcome(&self, outcome: impl Into<String>) {
        self.shared.seen.lock().unwrap().insert(outcome.into());
    }

    /// A life that ends at the write chosen for mortal number `mortal`. Returns `None` if it ended there.
    pub(crate) fn mortal<T>(&self, mortal: usize, life: impl FnOnce() -> T) -> Option<T> {
        let end = life::killed_at(self.deaths[mortal], life);
        if end.is_none() {
            self.shared.died[mortal].store(true, Ordering::Relaxed);
        }
        end
    }
}

impl Cast {
    pub(crate) fn actor(&mut self, actor: impl FnOnce() + 'static) {
        self.actors.push(Box::new(actor));
    }

    /// Spawns all actors and waits for their end. The caller takes no part in the race, because loom would try too
    /// little.
    pub(crate) fn play(mut self) {
        if self.order == Order::Reversed {
            self.actors.reverse();
        }
        let actors: Vec<_> = self.actors.into_iter().map(|actor| loom::thread::spawn(actor)).collect();
        for actor in actors {
            actor.join().expect("an actor failed");
        }
    }
}

/// Describes the run that failed.
struct Which(String);

impl Drop for Which {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
