//! Makes the report: Markdown tables and SVG plots from the harnesses' figures and criterion's estimates.
//!
//! ```text
//! cargo bench --bench report -- --figures FILE --criterion DIRECTORY --out DIRECTORY --commit COMMIT --date DATE
//! ```

#[path = "report/figures.rs"]
mod figures;
#[path = "report/plots.rs"]
mod plots;
#[path = "report/tables.rs"]
mod tables;
#[path = "report/targets.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use figures::Figures;

#[derive(Parser)]
struct Arguments {
    /// The harnesses' figures
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
    /// The directory of criterion's estimates
    #[arg(long, value_name = "DIRECTORY")]
    criterion: Option<PathBuf>,
    /// The directory for the report
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// The measured commit
    #[arg(long, default_value = "?")]
    commit: String,
    /// The time of the measurement
    #[arg(long, default_value = "?")]
    date: String,
    /// Added by cargo bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    // `cargo bench` without arguments also runs this, with nothing to report on.
    let (Some(figures), Some(out)) = (arguments.figures, arguments.out) else {
        println!("nothing to do without --figures and --out; benches/run gives them");
        return;
    };
    let figures = Figures::read(&figures, arguments.criterion.as_deref());
    fs::create_dir_all(&out).expect("the directory for the report");
    plots::draw(&figures, &out);
    let report = tables::report(&figures, &arguments.commit, &arguments.date);
    fs::write(out.join("README.md"), report).expect("the report");
    println!("{}", out.join("README.md").display());
}
