//! Visits every state of a scene.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::time::{Duration, Instant};

use crate::file_system::{Content, FileSystem};
use crate::process::{Bug, End, Intent, Process};

/// The participants.
pub(crate) struct Scene {
    pub(crate) intents: Vec<Intent>,
    pub(crate) kills: u32,
    pub(crate) bug: Option<Bug>,
}

pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) ends: BTreeSet<Vec<End>>,
    pub(crate) time: Duration,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    fs: FileSystem,
    processes: Vec<Process>,
    kills: u32,
}

/// Returns all ends of `scene`, or the harm that was done on the way to one.
pub(crate) fn every_state(scene: &Scene) -> Result<Found, String> {
    let begin = Instant::now();
    let processes = scene.intents.iter().map(|&intent| Process::new(intent)).collect();
    let start = State { fs: FileSystem::default(), processes, kills: 0 };
    let mut seen = HashSet::from([start.clone()]);
    let mut left = vec![start];
    let mut ends = BTreeSet::new();
    while let Some(state) = left.pop() {
        let mut moved = false;
        for me in 0..state.processes.len() {
            let mut next = state.clone();
            if next.processes[me].step(&mut next.fs, me, scene.bug)? {
                still_good(&state, &next)?;
                moved = true;
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
            if state.kills < scene.kills && state.processes[me].end().is_none() {
                let mut next = state.clone();
                next.kills += 1;
                next.processes[me].kill();
                if scene.bug != Some(Bug::LockOutlivesTheDead) {
                    next.fs.release_locks_of(me);
                }
                if seen.insert(next.clone()) {
                    left.push(next);
                }
            }
        }
        if !moved {
            let all: Option<Vec<End>> = state.processes.iter().map(Process::end).collect();
            ends.insert(all.ok_or_else(|| format!("a process waits indefinitely: {:?}", state.processes))?);
        }
    }
    Ok(Found { states: seen.len(), ends, time: begin.elapsed() })
}

/// Checks that a finished segment stays as it is.
fn still_good(before: &State, after: &State) -> Result<(), String> {
    let spoiled = before.fs.files.iter().zip(&after.fs.files).position(|(before, after)| {
        let good = before.content == Content::Magic && before.formatted && before.nonce != 0;
        good && (after.content, after.formatted, after.nonce) != (before.content, before.formatted, before.nonce)
    });
    spoiled.map_or(Ok(()), |inode| Err(format!("inode {inode} was finished and is spoiled")))
}

/// The row of the table for one scene.
pub(crate) fn report(name: &str, found: &Found) {
    if name.is_empty() {
        return;
    }
    let row = format!("{name}\tall\t{}\t{}\t{:.1}\n", found.states, found.ends.len(), found.time.as_secs_f64());
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}
