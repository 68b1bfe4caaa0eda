//! Runs every model and prints a table of what was searched.
//!
//! ```text
//! cargo run -p loom-tests --release --bin models              as `cargo test` does, in minutes
//! cargo run -p loom-tests --release --bin models -- --deep    with the larger bounds, up to an hour
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The test programs, and the contents of their third and fourth columns.
const SUITES: [(&str, [&str; 2]); 7] = [
    ("loom", ["executions", "outcomes"]),
    ("claim_rule", ["states", "steps"]),
    ("retained_rule", ["states", "steps"]),
    ("room_rule", ["states", "steps"]),
    ("interrupted", ["plays", ""]),
    ("creation", ["states", "ends"]),
    ("shuttle", ["schedules", ""]),
];

fn main() -> ExitCode {
    let deep = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--deep") => true,
        Some(other) => {
            eprintln!("models: unknown option {other:?}; the only option is --deep");
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let mut failed = 0;
    for (suite, counts) in SUITES {
        let rows = std::env::temp_dir().join(format!("seqcast-models-{}-{suite}", std::process::id()));
        let passed = run(suite, deep, &rows);
        print(suite, counts, &rows);
        let _ = std::fs::remove_file(&rows);
        failed += u32::from(!passed);
    }
    let depth = if deep { "deep" } else { "ci" };
    println!(
        "models: depth={depth} suites={} failed={failed} seconds={:.0}",
        SUITES.len(),
        begin.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one suite, which appends its rows to the file `rows`. Returns `true` if all of it passed.
fn run(suite: &str, deep: bool, rows: &Path) -> bool {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO"))
        .current_dir(root)
        .env("SEQCAST_MODEL_ROWS", rows)
        .env("SEQCAST_MODEL_DEPTH", if deep { "deep" } else { "ci" })
        .args(["test", "--release", "--quiet", "-p", "loom-tests", "--test", suite])
        .status()
        .is_ok_and(|status| status.success())
}

fn print(suite: &str, counts: [&str; 2], rows: &Path) {
    let text = std::fs::read_to_string(rows).unwrap_or_default();
    println!("\n| {suite} | bound | {} | {} | s |\n|---|---|---:|---:|---:|", counts[0], counts[1]);
    let mut rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    rows.sort();
    for row in rows {
        println!("| {} |", row.join(" | "));
    }
    println!();
}
