//! Makes the report: Markdown tables and SVG plots from the figures that the harnesses wrote and the estimates that
//! criterion keeps.
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

use figures::Figures;

fn main() {
    let mut values = std::collections::HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // What cargo bench adds.
            "--bench" => {}
            "--figures" | "--criterion" | "--out" | "--commit" | "--date" => {
                values.insert(word, words.next().unwrap_or_default());
            }
            _ => panic!("{word}: unknown; --figures, --criterion, --out, --commit and --date are known"),
        }
    }
    // `cargo bench` without arguments comes here too, with nothing to report on.
    let (Some(figures), Some(out)) = (values.get("--figures"), values.get("--out").map(PathBuf::from)) else {
        println!("nothing to do without --figures and --out; benches/run gives them");
        return;
    };
    let criterion = values.get("--criterion").map(PathBuf::from);
    let figures = Figures::read(figures.as_ref(), criterion.as_deref());
    fs::create_dir_all(&out).expect("the directory for the report");
    let about = |key: &str| values.get(key).map_or("?", String::as_str);
    plots::draw(&figures, &out);
    let report = tables::report(&figures, about("--commit"), about("--date"));
    fs::write(out.join("README.md"), report).expect("the report");
    println!("{}", out.join("README.md").display());
}
