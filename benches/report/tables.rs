//! The report's text.

use std::fmt::Write;

use serde_json::Value;

use crate::figures::{Figures, number, text};
use crate::plots::PLOTS;
use crate::targets::targets;

/// The whole report. Its tables are sorted by figure, so the faster stands above.
pub fn report(figures: &Figures, commit: &str, date: &str) -> String {
    let mut out = String::new();
    let machine = figures.runs.first().map_or("?", |run| text(run, "machine"));
    let _ = writeln!(out, "# Figures\n\n{machine}; {date}; commit `{commit}`.");
    for run in &figures.runs {
        let quick = if run["quick"] == true { ", quick mode: few batches" } else { "" };
        let load = number(run, "load").unwrap_or(f64::NAN);
        let _ = writeln!(out, "Load of the last minute after \"{}\": {load:.2}{quick}.", text(run, "run"));
    }
    let _ = writeln!(
        out,
        "\nMade by `benches/run`; [benches/README.md](../../README.md) describes the measurements. All times are \
         nanoseconds. \"to raw\" is the median over the batches of the figure divided by the raw hand-over of the same \
         number of cache lines (or by the raw futex), measured right beside it.\n"
    );
    let far = figures.batches("far");
    let near = figures.batches("near");
    if far > 0 && near > 0 {
        let _ = writeln!(
            out,
            "The host moved the two cores during the run: {near} batches ran with the cores near each other, {far} \
             with the cores far apart (in another cluster of caches), where all hand-overs cost several times as much. \
             The two are never mixed. The plots show the {} ones.\n",
            if figures.far { "far" } else { "near" }
        );
    }
    for (file, title) in PLOTS {
        let _ = writeln!(out, "![{title}]({file})\n");
    }
    for (batches, far, title) in [(near, false, "cores near each other"), (far, true, "cores far from each other")] {
        if batches > 0 {
            let figures = figures.with_cores(far);
            out += &targets_table(&figures, title);
            out += &peers_table(&figures, title);
        }
    }
    out += &failures(figures);
    for scenario in scenarios(figures) {
        out += &scenario_table(figures, scenario);
    }
    out += &criterion_table(figures);
    out
}

fn targets_table(figures: &Figures, title: &str) -> String {
    let mut out = format!("## Targets, {title}\n\n| | wanted | found | |\n|---|---|---|---|\n");
    for target in targets(figures) {
        let verdict = match target.reached {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "",
        };
        let _ = writeln!(out, "| {} | {} | {} | {verdict} |", target.what, target.wanted, target.found);
    }
    out + "\n"
}

/// The position of seqcast for each scenario and size, in one line each.
fn peers_table(figures: &Figures, title: &str) -> String {
    let mut out = format!("## Against its peers, {title}\n\n");
    let better_first = |scenario: &'static str, key: &'static str, size: u64, high: bool| {
        let rows = figures.of(scenario).filter(|row| row["size"].as_u64() == Some(size));
        let mut rows: Vec<(&str, f64)> =
            rows.filter_map(|row| Some((text(row, "subject"), number(row, key)?))).collect();
        rows.sort_by(|a, b| if high { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
        rows
    };
    for (scenario, key, high, unit) in
        [("one way", "p50_ns", false, "p50 in ns"), ("throughput", "received_per_s", true, "million received a second")]
    {
        let _ = writeln!(out, "### {scenario}: {unit}, best first\n\n| bytes | |\n|---:|---|");
        for size in [8, 64, 256, 1024, 4096, 16_384, 65_536, 1 << 20] {
            let rows = better_first(scenario, key, size, high);
            let cells =
                rows.iter().filter(|(subject, _)| *subject != "seqcast, in fragments").map(|&(subject, value)| {
                    let value = if high { format!("{:.2}", value / 1e6) } else { format!("{value:.0}") };
                    if subject.starts_with("seqcast") {
                        format!("**{subject} {value}**")
                    } else {
                        format!("{subject} {value}")
                    }
                });
            let _ = writeln!(out, "| {size} | {} |", cells.collect::<Vec<_>>().join(", "));
        }
        out.push('\n');
    }
    out
}

/// The subjects that did not run, and why.
fn failures(figures: &Figures) -> String {
    let mut out = String::new();
    let failed: Vec<String> = figures
        .rows
        .iter()
        .filter_map(|row| {
            let why = row.get("failed")?.as_str()?.replace(['|', '\n'], " ");
            Some(format!("- {}, {}, {} B: {why}", text(row, "scenario"), text(row, "subject"), row["size"]))
        })
        .collect();
    if !failed.is_empty() {
        let _ = writeln!(out, "Did not run:\n\n{}\n", failed.join("\n"));
    }
    out
}

fn scenarios(figures: &Figures) -> Vec<&str> {
    let mut seen: Vec<&str> = Vec::new();
    for row in &figures.rows {
        let scenario = text(row, "scenario");
        if !seen.contains(&scenario) {
            seen.push(scenario);
        }
    }
    seen
}

fn scenario_table(figures: &Figures, scenario: &str) -> String {
    let mut rows: Vec<&Value> = figures.all_of(scenario).collect();
    if rows.is_empty() {
        return String::new();
    }
    let is_flow = rows[0].get("ns_per_post").is_some();
    let order = if is_flow { "received_per_s" } else { "p50_ns" };
    let rank = |row: &Value| number(row, order).unwrap_or(0.0) * if is_flow { -1.0 } else { 1.0 };
    rows.sort_by(|a, b| {
        let numbers = |row: &Value| ["size", "writers", "readers"].map(|key| row[key].as_u64());
        let group = |row| (text(row, "placement") == "far", numbers(row));
        group(a).cmp(&group(b)).then(rank(a).total_cmp(&rank(b)))
    });
    let mut out = format!("## {scenario}\n\n");
    out += if is_flow {
        "| | cores | bytes | writers, readers | ns a post | posted M/s | received M/s | missed | batches |\n\
         |---|---|---:|---|---:|---:|---:|---:|---:|\n"
    } else {
        "| | cores | bytes | min | p50 | p99 | p99.9 | max | raw | to raw | batches |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    };
    for row in rows {
        let (subject, size, batches) = (text(row, "subject"), &row["size"], &row["batches"]);
        let cores = text(row, "placement");
        let ns = |key: &str| number(row, key).map_or(String::new(), ns_text);
        let _ = if is_flow {
            let mega = |key: &str| number(row, key).map_or(String::new(), |rate| format!("{:.2}", rate / 1e6));
            let missed = number(row, "missed_share").unwrap_or(0.0) * 100.0;
            writeln!(
                out,
                "| {subject} | {cores} | {size} | {}, {} | {} | {} | {} | {missed:.1} % | {batches} |",
                row["writers"],
                row["readers"],
                ns("ns_per_post"),
                mega("posted_per_s"),
                mega("received_per_s"),
            )
        } else {
            let ratio = number(row, "to_limit").map_or(String::new(), |ratio| format!("{ratio:.2}"));
            writeln!(
                out,
                "| {subject} | {cores} | {size} | {} | {} | {} | {} | {} | {} | {ratio} | {batches} |",
                ns("min_ns"),
                ns("p50_ns"),
                ns("p99_ns"),
                ns("p99_9_ns"),
                ns("max_ns"),
                ns("raw_limit_ns"),
            )
        };
    }
    out + "\n"
}

fn criterion_table(figures: &Figures) -> String {
    if figures.criterion.is_empty() {
        return String::new();
    }
    let mut out = String::from("## Within one process (criterion, medians)\n\n| bench | ns |\n|---|---:|\n");
    for (name, ns) in &figures.criterion {
        let _ = writeln!(out, "| {name} | {} |", ns_text(*ns));
    }
    out
}

/// Nanoseconds with as many digits as are significant.
pub fn ns_text(ns: f64) -> String {
    match ns {
        _ if ns < 10.0 => format!("{ns:.2}"),
        _ if ns < 100.0 => format!("{ns:.1}"),
        _ => format!("{ns:.0}"),
    }
}
