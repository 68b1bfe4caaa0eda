//! The table's row for one search.

use std::io::Write;

use crate::search::Found;
use crate::setting::Setting;

pub(crate) fn row(name: &str, setting: &Setting, found: &Found) {
    let Setting { capacity, places, buckets, programs, kills, expiries, .. } = setting;
    let programs: Vec<_> = programs.iter().map(|program| format!("{program:?}")).collect();
    let size = format!("c{capacity} p{places} b{buckets} K{kills} x{expiries} {}", programs.join(" "));
    let row = format!("{name}\t{size}\t{}\t{}\t{:.1}\n", found.states, found.steps, found.time.as_secs_f64());
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}
