//! The rule of readers that are waited for, checked by a search over states: every interleaving of posters with private
//! limits, readers that join, read, are cut off, go on, leave, die and are adopted.
//!
//! The crate's own code makes the decisions: `Scan::meet`, `Limit::take_in`, `Blocked::next`, and the changes of
//! `MustWord`. The order of the steps is the model's. The races over loom show that the crate takes the steps in this
//! order, and with which memory orderings (`tests/loom/room_races.rs`).

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code, unused_imports)]
mod protocol;
#[path = "../claim_rule/sync.rs"]
#[allow(dead_code)]
mod sync;

#[path = "../retained_rule/search.rs"]
mod search;
mod setting;
mod world;

use std::io::Write;

use search::Answers;
use setting::Op::{Leave, LossyPost, Must, MustPost, Post, Post2, Try};
use setting::{MUTANTS, Mutant, Op, REDUNDANT, Setting};

/// The greatest number of states that a search for a mutant's fault visits.
const MOST: usize = 2_000_000;

fn deep() -> bool {
    std::env::var("SEQCAST_MODEL_DEPTH").is_ok_and(|depth| depth == "deep")
}

/// A name, capacities, kills, ends of a patience, and programs.
type Row = (&'static str, &'static [u8], u8, u8, &'static [&'static [Op]]);

/// The settings of every run.
const SETTINGS: &[Row] = &[
    ("two posters, a joiner", &[1, 2, 4], 0, 0, &[&[Post, Post, Post], &[Post, Post], &[Must(2)]]),
    ("a poster, two joiners", &[1, 2], 0, 0, &[&[Post, Post, Post, Post], &[Must(2)], &[Must(1), Leave]]),
    ("cut off, and goes on", &[1, 2], 0, 2, &[&[Post, Post, Post, Post], &[Post], &[Must(3)]]),
    ("killed and adopted", &[1], 2, 0, &[&[Post, Post, Post], &[Post, Post], &[Must(2), Must(2)]]),
    ("killed, adopted, cut off", &[1], 1, 1, &[&[Post, Post, Post], &[Post], &[Must(2), Must(2)]]),
    ("a handler that posts", &[1, 2], 0, 1, &[&[Post, Post], &[MustPost(2)]]),
    ("two handlers that post", &[1, 2], 0, 1, &[&[Post], &[MustPost(2)], &[MustPost(1)]]),
    ("a handler of a lossy reader posts", &[1, 2], 0, 1, &[&[Post, Post, Post], &[LossyPost(2)], &[Must(2)]]),
    ("leaves and joins again", &[1, 2], 0, 1, &[&[Post, Post, Post], &[Must(1), Leave, Must(1)], &[Try, Try]]),
    ("fragments", &[2, 4], 0, 1, &[&[Post2, Post2], &[Post], &[Must(3)]]),
];

/// The settings that only a deep run adds.
const DEEP: &[Row] = &[
    ("killed and adopted", &[2], 2, 0, &[&[Post, Post, Post], &[Post, Post], &[Must(2), Must(2)]]),
    ("cut off twice, killed", &[1, 2], 1, 2, &[&[Post, Post, Post], &[Post, Post], &[Must(3), Must(1)]]),
    ("two handlers, a lossy one, a poster", &[1, 2], 0, 1, &[&[Post], &[MustPost(1)], &[MustPost(1)], &[LossyPost(1)]]),
    (
        "leaves, joins, is killed, is adopted",
        &[1, 2],
        1,
        1,
        &[&[Post, Post, Post], &[Must(1), Leave, Must(1)], &[Try, Post]],
    ),
    ("two posters, two joiners", &[1, 2], 0, 1, &[&[Post, Post, Post], &[Post], &[Must(2)], &[Must(1)]]),
    ("three posters, a joiner, a kill", &[1, 2, 4], 1, 1, &[&[Post, Post], &[Post], &[Try], &[Must(1), Must(1)]]),
];

fn settings(rows: &[Row]) -> Vec<(&'static str, Setting)> {
    let all = rows.iter().flat_map(|&(name, capacities, kills, patience, programs)| {
        capacities.iter().map(move |&capacity| (name, Setting::of(capacity, kills, patience, programs)))
    });
    all.collect()
}

fn row(name: &str, setting: &Setting, found: &search::Found) {
    let Setting { capacity, programs, kills, patience, .. } = setting;
    let programs: Vec<_> = programs.iter().map(|program| format!("{program:?}")).collect();
    let size = format!("c{capacity} K{kills} P{patience} {}", programs.join(" "));
    let row = format!("{name}\t{size}\t{}\t{}\t{:.1}\n", found.states, found.steps, found.time.as_secs_f64());
    print!("{row}");
    if let Ok(path) = std::env::var("SEQCAST_MODEL_ROWS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file for rows");
        file.write_all(row.as_bytes()).expect("room for a row");
    }
}

#[test]
fn readers_that_are_waited_for() {
    let mut answers = Answers::new();
    let deep: &[Row] = if deep() { DEEP } else { &[] };
    for (name, setting) in settings(SETTINGS).into_iter().chain(settings(deep)) {
        let found = search::every_state(&setting);
        row(name, &setting, &found);
        answers.extend(found.answers);
    }
    let expected: Answers = [
        "adopted",
        "dead",
        "full",
        "goes on",
        "lapped",
        "lapped, nobody waits",
        "post moved",
        "posted",
        "too late to cut",
        "waits",
        "was cut off",
    ]
    .into();
    assert_eq!(answers, expected, "answers seen (left) are not those allowed (right)");
}

#[test]
fn every_wrong_step_is_found() {
    let mut all = settings(SETTINGS);
    all.extend(settings(DEEP));
    let breaks = |mutant: Mutant| {
        all.iter().any(|(_, setting)| search::first_fault(&Setting { mutant, ..setting.clone() }, MOST).is_some())
    };
    let wrong = &MUTANTS[..MUTANTS.len() - REDUNDANT];
    let survivors: Vec<_> = wrong.iter().filter(|(mutant, _)| !breaks(*mutant)).collect();
    assert!(survivors.is_empty(), "nothing breaks with {survivors:?}");
}

#[test]
fn what_need_not_be_in_order_breaks_nothing() {
    for &(mutant, what) in &MUTANTS[MUTANTS.len() - REDUNDANT..] {
        for (name, setting) in settings(&SETTINGS[..3]) {
            let found = search::first_fault(&Setting { mutant, ..setting }, MOST);
            assert_eq!(found, None, "{what}: {name}");
        }
    }
}
