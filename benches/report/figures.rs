//! The figures of a run.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Everything that was measured.
#[derive(Clone)]
pub struct Figures {
    /// `true` if [`Figures::of`] returns figures of cores far from each other.
    pub far: bool,
    /// Facts about the run: machine, load, length.
    pub runs: Vec<Value>,
    /// A row for each scenario, subject, size and placement of the cores.
    pub rows: Vec<Value>,
    /// Name and median in nanoseconds of each criterion bench.
    pub criterion: Vec<(String, f64)>,
}

impl Figures {
    /// Reads them.
    ///
    /// # Panics
    ///
    /// If there is no such file, or its format is not the harnesses'.
    pub fn read(path: &Path, criterion: Option<&Path>) -> Figures {
        let text = fs::read_to_string(path).expect("the file with the figures");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON object on each line"));
        let (runs, all): (Vec<Value>, Vec<Value>) = lines.partition(|value| value.get("run").is_some());
        // If two programs of the run measured the same, the later one counts, which had the peers beside it.
        let mut rows: Vec<Value> = Vec::new();
        for row in all {
            match rows.iter_mut().find(|known| is_same(known, &row)) {
                Some(known) => *known = row,
                None => rows.push(row),
            }
        }
        let mut estimates = Vec::new();
        if let Some(root) = criterion {
            collect(root, root, &mut estimates);
            estimates.sort_by_key(|(name, _)| natural(name));
        }
        let figures = Figures { far: false, runs, rows, criterion: estimates };
        let far = figures.batches("far") > figures.batches("near");
        Figures { far, ..figures }
    }

    /// The same figures, with the cores near or far.
    pub fn with_cores(&self, far: bool) -> Figures {
        Figures { far, ..self.clone() }
    }

    /// Returns how many batches ran with the cores in this placement.
    pub fn batches(&self, placement: &str) -> u64 {
        let rows = self.rows.iter().filter(|row| text(row, "placement") == placement);
        rows.filter_map(|row| row["batches"].as_u64()).sum()
    }

    /// Returns the rows of a scenario that ran, with the cores as [`Figures::far`] says.
    pub fn of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all_of(scenario).filter(|row| (text(row, "placement") == "far") == self.far)
    }

    /// Returns the rows of a scenario that ran, wherever the cores were.
    pub fn all_of<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Value> {
        self.rows.iter().filter(move |row| text(row, "scenario") == scenario && row.get("raw_line_ns").is_some())
    }

    /// Returns the row of one subject.
    pub fn one<'a>(&'a self, scenario: &'a str, subject: &str, size: u64) -> Option<&'a Value> {
        self.of(scenario).find(|row| text(row, "subject") == subject && row["size"].as_u64() == Some(size))
    }

    /// Returns the median of a criterion bench.
    pub fn median_of(&self, name: &str) -> Option<f64> {
        self.criterion.iter().find(|(bench, _)| bench == name).map(|&(_, ns)| ns)
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    ["scenario", "subject", "size", "writers", "readers", "placement"].iter().all(|key| a.get(key) == b.get(key))
}

/// criterion keeps `GROUP/FUNCTION/PARAMETER/new/estimates.json`.
fn collect(root: &Path, at: &Path, into: &mut Vec<(String, f64)>) {
    let Ok(entries) = fs::read_dir(at) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        let estimates = path.join("estimates.json");
        if !(path.ends_with("new") && estimates.exists()) {
            collect(root, &path, into);
            continue;
        }
        let Ok(text) = fs::read_to_string(estimates) else { continue };
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        if let (Ok(name), Some(median)) = (at.strip_prefix(root), value["median"]["point_estimate"].as_f64()) {
            into.push((name.display().to_string(), median));
        }
    }
}

/// Sorts `x/16` after `x/8`.
fn natural(name: &str) -> Vec<(String, u64)> {
    name.split('/').map(|part| (part.trim_matches(|c: char| c.is_ascii_digit()).to_owned(), number_in(part))).collect()
}

fn number_in(part: &str) -> u64 {
    let digits: String = part.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

pub fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap_or("")
}

pub fn number(row: &Value, key: &str) -> Option<f64> {
    row.get(key).and_then(Value::as_f64)
}
