//! The table's row for one scene.

use std::io::Write;

/// Writes that the running test's scene was played `plays` times in `seconds`, with rings of `capacities`.
pub(crate) fn row(capacities: &[usize], plays: u64, seconds: f64) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a scene").replace('_', " ");
    let capacities: Vec<String> = capacities.iter().map(usize::to_string).collect();
    let row = format!("{name}\t{} cells\t{plays}\t-\t{seconds:.1}\n", capacities.join(", "));
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}
