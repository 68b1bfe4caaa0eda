//! Builds a spoiled protocol and runs the tests that must find it spoiled.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::list::{Mutant, SUITES};
use crate::plant::Plant;

/// A mutant that makes a test run longer than this is found out: the protocol never ends.
const LONGEST: Duration = Duration::from_secs(120);

pub(crate) enum Verdict {
    /// By this test.
    Killed(String),
    Survived,
    /// The trial could not be made.
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

pub(crate) fn try_out(plant: &Plant, mutant: &Mutant, search: bool) -> Verdict {
    let verdict = plant.spoil(mutant).and_then(|()| judge(plant, mutant, search));
    plant.mend(mutant).expect("the copy is writable");
    verdict.unwrap_or_else(Verdict::Unfit)
}

fn judge(plant: &Plant, mutant: &Mutant, search: bool) -> Result<Verdict, String> {
    for suite in SUITES {
        let expected: Vec<&str> = mutant.killers.iter().filter_map(|killer| killer.strip_prefix(suite)).collect();
        if expected.is_empty() && !search {
            continue;
        }
        let program = build(plant, suite)?;
        let all = names(&program)?;
        if let Some(missing) = expected.iter().find(|test| !all.iter().any(|name| name == *test)) {
            return Err(format!("there is no test {suite}{missing}"));
        }
        for test in all.iter().filter(|name| search || expected.contains(&name.as_str())) {
            if let Some(how) = fails(&program, test)? {
                return Ok(Verdict::Killed(format!("{suite}{test}{how}")));
            }
        }
    }
    Ok(Verdict::Survived)
}

/// Builds the tests of `suite`. Returns their program.
fn build(plant: &Plant, suite: &str) -> Result<PathBuf, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(plant.tree())
        .env("CARGO_TARGET_DIR", plant.builds())
        .args(["test", "--release", "--quiet", "-p", "loom-tests", "--no-run", "--message-format=json-diagnostic-short", "--test"])
        .arg(suite.trim_end_matches("::"))
        .env("RUSTFLAGS", "--allow warnings")
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("does not build\n{}", String::from_utf8_lossy(&output.stdout)));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    // The last of the build's messages with a program is the tests'.
    let program = said.rsplit("\"executable\":\"").next().and_then(|rest| rest.split('"').next());
    program.map(PathBuf::from).filter(|path| path.exists()).ok_or_else(|| "cargo names no program".to_owned())
}

fn names(tests: &Path) -> Result<Vec<String>, String> {
    let output = Command::new(tests).args(["--list", "--format=terse"]).output().map_err(|error| error.to_string())?;
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Whether `test` fails, and how if not by an assertion.
fn fails(tests: &Path, test: &str) -> Result<Option<&'static str>, String> {
    let begin = Instant::now();
    let mut running = Command::new(tests)
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
            None if begin.elapsed() > LONGEST => {
                running.kill().and_then(|()| running.wait()).map_err(|error| error.to_string())?;
                return Ok(Some(", which did not end"));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
