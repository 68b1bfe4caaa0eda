//! Parses arguments, prints tables.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use super::cpu;
use super::series::{Cores, Lab, WantedCores};
use super::team::REALTIME;

/// The options of a harness.
#[derive(Clone, Debug, Default, Parser)]
pub struct Arguments {
    /// Run few batches, for a first look
    #[arg(long)]
    quick: bool,
    /// Run only scenarios with this text in the name; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The number of batches of each scenario
    #[arg(long, value_name = "N")]
    batches: Option<usize>,
    /// Append the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    /// Measure only while the raw hand-over of a line shows that the two cores are placed so
    #[arg(long, value_name = "PLACEMENT")]
    cores: Option<Cores>,
    /// The longest total wait for such cores, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "cores")]
    wait: u64,
    /// Run with this niceness
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    nice: Option<i32>,
    /// Run before all ordinary processes
    #[arg(long)]
    realtime: bool,
    /// Added by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// Parses the command line. Exits on unknown arguments.
    pub fn from_command_line() -> Arguments {
        let arguments = Arguments::parse();
        if let Some(niceness) = arguments.nice {
            cpu::nice(niceness);
        }
        REALTIME.store(arguments.realtime, Ordering::Relaxed);
        // Before any fork.
        super::clock::granule_ns();
        arguments
    }

    /// Returns `true` if scenario `name` is to run.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    /// Returns the number of batches: as requested, or this default.
    pub fn batches(&self, full: usize, quick: usize) -> usize {
        self.batches.unwrap_or(if self.quick { quick } else { full })
    }

    /// Returns the placement of the cores to wait for, if one is wanted.
    pub fn wanted_cores(&self) -> Option<WantedCores> {
        Some(WantedCores { cores: self.cores?, patience: Duration::from_secs(self.wait) })
    }

    pub fn is_quick(&self) -> bool {
        self.quick
    }
}

/// Prints the figures, and appends them to the requested file.
pub fn finish(title: &str, lab: &Lab, arguments: &Arguments) {
    let figures = lab.figures();
    println!("## {title}\n\n{}; load {:.2}\n", cpu::machine(), cpu::load());
    print!("{}", markdown(&figures));
    if let Some(path) = &arguments.json {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file for the figures");
        let about = json!({ "run": title, "machine": cpu::machine(), "load": cpu::load(), "quick": arguments.quick });
        for line in std::iter::once(&about).chain(&figures) {
            writeln!(file, "{line}").expect("written");
        }
    }
}

/// Returns the figures as tables, one for each scenario.
pub fn markdown(figures: &[Value]) -> String {
    let mut out = String::new();
    let mut scenarios: Vec<&str> = figures.iter().map(|figure| text(figure, "scenario")).collect();
    scenarios.dedup();
    let mut seen: Vec<&str> = Vec::new();
    for scenario in scenarios {
        if seen.contains(&scenario) {
            continue;
        }
        seen.push(scenario);
        let rows: Vec<&Value> = figures.iter().filter(|figure| text(figure, "scenario") == scenario).collect();
        let flow = rows.iter().any(|row| row.get("ns_per_post").is_some());
        out += &format!("### {scenario}\n\n");
        out += if flow {
            "| | bytes | writers, readers | cores | ns a post | posted M/s | received M/s | missed | raw ns |\n\
             |---|---:|---|---|---:|---:|---:|---:|---:|\n"
        } else {
            "| | bytes | cores | min | p50 | p99 | p99.9 | max ns | raw ns | to raw |\n\
             |---|---:|---|---:|---:|---:|---:|---:|---:|---:|\n"
        };
        for row in rows {
            out += &line(row, flow);
        }
        out.push('\n');
    }
    out
}

fn line(row: &Value, flow: bool) -> String {
    let (subject, size) = (text(row, "subject"), row["size"].as_u64().unwrap_or(0));
    if let Some(why) = row.get("failed").and_then(Value::as_str) {
        return format!("| {subject} | {size} | did not run: {} |\n", why.replace(['|', '\n'], " "));
    }
    let placement = text(row, "placement");
    let number = |key: &str| row.get(key).and_then(Value::as_f64);
    let ns = |key: &str| number(key).map_or(String::new(), ns_text);
    if row.get("raw_line_ns").is_none() {
        return format!("| {subject} | {size} | {placement}: {} batches |\n", row["batches"]);
    }
    if flow {
        let mega = |key: &str| number(key).map_or(String::new(), |rate| format!("{:.2}", rate / 1e6));
        let missed = number("missed_share").unwrap_or(0.0) * 100.0;
        return format!(
            "| {subject} | {size} | {}, {} | {placement} | {} | {} | {} | {missed:.1} % | {} |\n",
            row["writers"],
            row["readers"],
            ns("ns_per_post"),
            mega("posted_per_s"),
            mega("received_per_s"),
            ns("raw_limit_ns"),
        );
    }
    format!(
        "| {subject} | {size} | {placement} | {} | {} | {} | {} | {} | {} | {:.2} |\n",
        ns("min_ns"),
        ns("p50_ns"),
        ns("p99_ns"),
        ns("p99_9_ns"),
        ns("max_ns"),
        ns("raw_limit_ns"),
        number("to_limit").unwrap_or(f64::NAN),
    )
}

/// Nanoseconds with as many digits as are significant.
pub fn ns_text(ns: f64) -> String {
    match ns {
        _ if ns < 100.0 => format!("{ns:.1}"),
        _ if ns < 100_000.0 => format!("{ns:.0}"),
        _ => format!("{:.0} k", ns / 1000.0),
    }
}

pub fn text<'a>(figure: &'a Value, key: &str) -> &'a str {
    figure.get(key).and_then(Value::as_str).unwrap_or("")
}
