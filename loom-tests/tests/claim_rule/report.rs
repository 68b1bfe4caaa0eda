//! The row of the table for one search.

use std::io::Write;

use crate::search::Found;
use crate::setting::Setting;

pub(crate) fn row(name: &str, setting: &Setting, found: &Found) {
    let Setting { workers, joiners, keys, capacity, entries, events, alone, ttl, clock, kills, releases, lives } =
        setting;
    let size = format!(
        "workers {workers} (join {joiners}) keys {keys} capacity {capacity} entries {entries} events {events} alone \
         {alone} ttl {ttl} clock {clock} kills {kills} release {releases} lives {lives}"
    );
    let row = format!("{name}\t{size}\t{}\t{}\t{:.1}\n", found.states, found.steps, found.time.as_secs_f64());
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}
