//! Runs the tests that must find a changed protocol.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::list::{Mutant, SUITES};
use crate::plant::Plant;

/// The options of a trial.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    /// Run all tests, not only those expected to find the mutant.
    pub(crate) search: bool,
    /// A mutant that makes a test run longer than this counts as found: the protocol does not end.
    pub(crate) longest: Duration,
}

pub(crate) enum Verdict {
    /// The test that found it.
    Killed(String),
    Survived,
    /// The trial could not be run.
    Unfit(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Killed(by) => write!(f, "killed by {by}"),
            Verdict::Survived => f.write_str("SURVIVED"),
            Verdict::Unfit(why) => write!(f, "UNFIT: {why}"),
        }
    }
}

/// Tries `mutant` as worker number `job`.
pub(crate) fn try_out(plant: &Plant, mutant: &Mutant, terms: Terms, job: usize) -> Verdict {
    judge(plant, mutant, terms, job).unwrap_or_else(Verdict::Unfit)
}

fn judge(plant: &Plant, mutant: &Mutant, terms: Terms, job: usize) -> Result<Verdict, String> {
    for suite in SUITES {
        let prefix = format!("{suite}::");
        let expected: Vec<&str> = mutant.killers.iter().filter_map(|killer| killer.strip_prefix(&prefix)).collect();
        if expected.is_empty() && !terms.search {
            continue;
        }
        let program = plant.build(mutant, suite, job)?;
        let all = names(&program)?;
        if let Some(missing) = expected.iter().find(|expected| !all.iter().any(|test| is_meant(expected, test))) {
            return Err(format!("unknown test {prefix}{missing}"));
        }
        for test in all.iter().filter(|test| terms.search || expected.iter().any(|expected| is_meant(expected, test))) {
            if let Some(how) = fails(&program, test, terms.longest)? {
                return Ok(Verdict::Killed(format!("{prefix}{test}{how}")));
            }
        }
    }
    Ok(Verdict::Survived)
}

/// Returns `true` if `expected` is `test`, or the module that contains it.
fn is_meant(expected: &str, test: &str) -> bool {
    test == expected || (expected.is_empty() || expected.ends_with("::")) && test.starts_with(expected)
}

fn names(program: &Path) -> Result<Vec<String>, String> {
    let output =
        Command::new(program).args(["--list", "--format=terse"]).output().map_err(|error| error.to_string())?;
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs `test`. Returns how it failed, if it did: an empty text means by an assertion.
fn fails(program: &Path, test: &str, longest: Duration) -> Result<Option<&'static str>, String> {
    let begin = Instant::now();
    let mut running = Command::new(program)
        .args(["--exact", test])
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    loop {
        match running.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(None),
            Some(status) if status.code() == Some(101) => return Ok(Some("")),
            Some(_) => return Ok(Some(", which crashed")),
            None if begin.elapsed() > longest => {
                running.kill().and_then(|()| running.wait()).map_err(|error| error.to_string())?;
                return Ok(Some(", which did not end"));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
