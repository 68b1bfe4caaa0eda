//! Plants one deliberate bug at a time in a copy of `src/protocol` and runs the tests that must find it.
//!
//! ```text
//! cargo run -p loom-tests --release --bin mutants -- --ci           the subset for every change
//! cargo run -p loom-tests --release --bin mutants -- --all          every mutant
//! cargo run -p loom-tests --release --bin mutants -- NAME...        mutants with names that begin like this
//! cargo run -p loom-tests --release --bin mutants -- --redundant [NAME...]    edits that must break nothing
//! cargo run -p loom-tests --release --bin mutants -- --list         print all of them, as the tables of README.md
//!     --search     run all tests against each, not only those expected to find it
//!     --jobs N     run N at a time; the default is 2
//! ```
//!
//! The exit code is 1 if a mutant survives, or if its text is no longer in the source.

mod large;
mod list;
mod plant;
mod relay;
mod retained;
mod room;
mod trial;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use list::{Mutant, every_mutant, every_redundant_edit};
use plant::Plant;
use trial::{Terms, Verdict};

struct Order {
    mutants: Vec<&'static Mutant>,
    /// The mutants are edits that break nothing.
    redundant: bool,
    search: bool,
    jobs: usize,
}

impl Order {
    fn terms(&self) -> Terms {
        // Edits that break nothing run whole modules to their end.
        let minutes = if self.redundant { 60 } else { 4 };
        Terms { search: self.search, longest: Duration::from_secs(60 * minutes) }
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|word| word == "--list") {
        list();
        return ExitCode::SUCCESS;
    }
    let order = match order(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(complaint) => {
            eprintln!("mutants: {complaint}");
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let plant = match Plant::new() {
        Ok(plant) => plant,
        Err(error) => {
            eprintln!("mutants: {error}");
            return ExitCode::from(2);
        }
    };
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for job in 0..order.jobs.min(order.mutants.len()) {
            let (plant, order, next, wrong) = (&plant, &order, &next, &wrong);
            scope.spawn(move || {
                while let Some(mutant) = order.mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begin = Instant::now();
                    let verdict = trial::try_out(plant, mutant, order.terms(), job);
                    println!("{:<52} {:>4.0} s  {verdict}", mutant.name, begin.elapsed().as_secs_f64());
                    let as_it_should = match verdict {
                        Verdict::Killed(_) => !order.redundant,
                        Verdict::Survived => order.redundant,
                        Verdict::Unfit(_) => false,
                    };
                    if !as_it_should {
                        wrong.lock().unwrap().push(mutant.name);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let (tried, seconds) = (order.mutants.len(), begin.elapsed().as_secs_f64());
    let (as_wanted, others) = if order.redundant { ("redundant", "killed") } else { ("killed", "survived") };
    println!(
        "mutants: tried={tried} {as_wanted}={} {others}={} seconds={seconds:.0}",
        tried - wrong.len(),
        wrong.len()
    );
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    println!("| mutant | what it breaks | found by | CI |\n|---|---|---|---|");
    for Mutant { name, breaks, killers, ci, .. } in every_mutant() {
        println!("| {name} | {breaks} | {} | {} |", killers.join(", "), if *ci { "yes" } else { "" });
    }
    println!("\n| edit | what it breaks | looked for by |\n|---|---|---|");
    for Mutant { name, breaks, killers, .. } in every_redundant_edit() {
        println!("| {name} | {breaks} | {} |", killers.join(", "));
    }
}

fn order(words: impl Iterator<Item = String>) -> Result<Order, String> {
    let words: Vec<String> = words.collect();
    let redundant = words.iter().any(|word| word == "--redundant");
    let known: Vec<_> = if redundant { every_redundant_edit().collect() } else { every_mutant().collect() };
    let mut order = Order { mutants: vec![], redundant, search: false, jobs: 2 };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--redundant" => {}
            "--all" => order.mutants.extend(&known),
            "--ci" => order.mutants.extend(known.iter().copied().filter(|mutant| mutant.ci)),
            "--search" => order.search = true,
            "--jobs" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
                order.jobs = number.ok_or("--jobs wants a number of 1 or more")?;
            }
            name => {
                let before = order.mutants.len();
                order.mutants.extend(known.iter().copied().filter(|mutant| mutant.name.starts_with(name)));
                if order.mutants.len() == before {
                    return Err(format!("unknown mutant {name:?}"));
                }
            }
        }
    }
    if order.mutants.is_empty() && redundant {
        order.mutants.extend(known);
    }
    if order.mutants.is_empty() {
        return Err("say --ci, --all, --redundant or the names of mutants".to_owned());
    }
    Ok(order)
}
