//! The row of the table for one exploration.

use std::io::Write;
use std::time::Instant;

pub(crate) fn row(name: &str, schedules: usize, explore: impl FnOnce()) {
    let begin = Instant::now();
    explore();
    let row = format!("{name}\trandom\t{schedules}\t-\t{:.1}\n", begin.elapsed().as_secs_f64());
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}
