//! The report's plots.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

use crate::figures::{Figures, number, text};

/// The file and title of each plot.
pub const PLOTS: [(&str, &str); 3] = [
    ("latency.svg", "One way, 64 bytes: distribution"),
    ("throughput.svg", "One writer, one reader: received by payload size"),
    ("readers.svg", "One writer, more readers: time of a post"),
];

const SIZE: (u32, u32) = (980, 520);
/// The first eight can also be distinguished with colour-vision deficiency (Okabe and Ito).
const COLOURS: [RGBColor; 13] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
    RGBColor(150, 75, 0),
    RGBColor(110, 40, 160),
    RGBColor(130, 150, 0),
    RGBColor(0, 60, 70),
    RGBColor(200, 0, 60),
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Line = (String, Vec<(f64, f64)>);

/// Draws the plots for which there are figures.
pub fn draw(figures: &Figures, out: &Path) {
    let path = |index: usize| out.join(PLOTS[index].0);
    let drawn = [
        chart(&path(0), PLOTS[0].1, "share of events, from the slowest on", "ns, one way", latency(figures), true),
        chart(&path(1), PLOTS[1].1, "bytes of a payload", "million received a second", throughput(figures), false),
        chart(&path(2), PLOTS[2].1, "readers", "ns a post", readers(figures), false),
    ];
    for (result, (file, _)) in drawn.into_iter().zip(PLOTS) {
        if let Err(error) = result {
            eprintln!("{file}: {error}");
        }
    }
}

/// Quantiles against "one in this many": the further right, the rarer.
fn latency(figures: &Figures) -> Vec<Line> {
    let rows = figures.of("one way").filter(|row| row["size"] == 64 && row.get("curve").is_some());
    let curve = |row: &Value| -> Vec<(f64, f64)> {
        let points = row["curve"].as_array().into_iter().flatten();
        let points = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
        points.map(|(quantile, ns)| (1.0 / (1.0 - quantile), ns)).collect()
    };
    by_subject(rows.map(|row| (text(row, "subject"), curve(row))))
}

fn throughput(figures: &Figures) -> Vec<Line> {
    let point = |row: &Value| Some((row["size"].as_f64()?, number(row, "received_per_s")? / 1e6));
    by_subject(figures.of("throughput").map(|row| (text(row, "subject"), point(row).into_iter().collect())))
}

fn readers(figures: &Figures) -> Vec<Line> {
    let point = |row: &Value| Some((row["readers"].as_f64()?, number(row, "ns_per_post")?));
    let peers =
        figures.of("one writer, more readers").map(|row| (text(row, "subject"), point(row).into_iter().collect()));
    let crowd = figures
        .of("growth with readers")
        .map(|row| ("seqcast, all readers in one process", point(row).into_iter().collect()));
    by_subject(peers.chain(crowd))
}

/// One line for each subject. If a subject occurs twice, from two harnesses of a run, the first counts.
fn by_subject<'a>(points: impl Iterator<Item = (&'a str, Vec<(f64, f64)>)>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (subject, points) in points {
        let at = lines.iter().position(|(name, _)| name == subject).unwrap_or_else(|| {
            lines.push((subject.to_owned(), Vec::new()));
            lines.len() - 1
        });
        for point in points {
            if !lines[at].1.iter().any(|known| known.0 == point.0) {
                lines[at].1.push(point);
            }
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines.retain(|(_, points)| !points.is_empty());
    lines
}

/// Lines over logarithmic axes, a legend at the right.
fn chart(path: &Path, title: &str, x_label: &str, y_label: &str, lines: Vec<Line>, one_in: bool) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points).filter(|point| point.1 > 0.0);
    let (Some(left), Some(right)) = (least(points().map(|p| p.0)), most(points().map(|p| p.0))) else {
        return Err("no figures for it".into());
    };
    let (low, high) = (least(points().map(|p| p.1)).unwrap_or(1.0), most(points().map(|p| p.1)).unwrap_or(1.0));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(660);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(66)
        .build_cartesian_2d((left..right * 1.05).log_scale(), (low * 0.8..high * 1.25).log_scale())?;
    let x_text = |x: &f64| if one_in { one_in_text(*x) } else { short(*x) };
    chart
        .configure_mesh()
        .x_desc(x_label)
        .y_desc(y_label)
        .x_label_formatter(&x_text)
        .y_label_formatter(&|y| short(*y))
        .label_style(("sans-serif", 14))
        .light_line_style(RGBColor(235, 235, 235))
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let (colour, width) = style_of(index, name);
        let points: Vec<(f64, f64)> = points.iter().copied().filter(|point| point.1 > 0.0).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(width)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, width + 1, colour.filled())))?;
    }
    draw_legend(&legend, &lines)?;
    root.present()?;
    Ok(())
}

fn draw_legend(area: &DrawingArea<SVGBackend<'_>, Shift>, lines: &[Line]) -> Result<()> {
    for (index, (name, _)) in lines.iter().enumerate() {
        let (colour, width) = style_of(index, name);
        let y = 60 + 24 * index as i32;
        area.draw(&PathElement::new([(4, y), (28, y)], colour.stroke_width(width)))?;
        area.draw(&Text::new(name.clone(), (34, y - 7), ("sans-serif", 14)))?;
    }
    Ok(())
}

fn style_of(index: usize, name: &str) -> (RGBColor, u32) {
    (COLOURS[index % COLOURS.len()], if name.starts_with("seqcast") { 3 } else { 1 })
}

fn least(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.min_by(f64::total_cmp)
}

fn most(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.max_by(f64::total_cmp)
}

fn one_in_text(x: f64) -> String {
    if x < 1.5 { "all".to_owned() } else { format!("1 in {}", short(x)) }
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.0} M", value / 1e6),
        _ if value >= 10_000.0 => format!("{:.0} k", value / 1e3),
        _ if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
