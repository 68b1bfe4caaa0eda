//! The rule of retained events, checked by a search over states: every interleaving of posters, seats that settle the
//! events of others, readers that join or are lapped, look-ups, deaths and adoptions.
//!
//! The crate's own code makes the decisions: `Index::plan`, `close`, `unannounced` and `replace`, `Held::has`,
//! `is_dead` and `floor_without`, `Span::meet` and `takes`. The order of the steps is the model's. The races over loom
//! show that the crate takes the steps in this order, and with which memory orderings (`tests/loom/retained_races.rs`).

#[path = "../../../src/protocol/mod.rs"]
#[allow(dead_code, unused_imports)]
mod protocol;
#[path = "../claim_rule/sync.rs"]
#[allow(dead_code)]
mod sync;

mod judge;
mod post;
mod read;
mod report;
mod search;
mod setting;
mod settle;
mod world;

use search::Answers;
use setting::Op::{Big, Clear, Get, Plain, Read, Reserve, Retain};
use setting::{MUTANTS, Mutant, Setting};

// Answers that occur together.
const SETTLING: &[&str] = &["not to be settled any more", "settled by another", "slot moved"];
const READING: &[&str] = &["handed from the table", "left to come live", "reader settles", "walk again"];
const LAPS: &[&str] = &["helped", "lapped", "post moved"];
const ADOPTING: &[&str] = &["adopted", "adopter settles"];
const SWEEPING: &[&str] = &["alive again", "announced by another", "full", "index moved", "reopened", "swept"];

/// The greatest number of states that a search for a mutant's fault visits.
const MOST: usize = 3_000_000;

fn deep() -> bool {
    std::env::var("SEQCAST_MODEL_DEPTH").is_ok_and(|depth| depth == "deep")
}

/// Searches `setting` completely, with each of the capacities `ci`, and in a deep run also with each of `more`. Asserts
/// that the searches together give exactly the `expected` answers.
fn check(name: &str, setting: &Setting, [ci, more]: [&[u8]; 2], expected: &[&[&'static str]]) {
    let mut answers = Answers::new();
    for &capacity in ci.iter().chain(if deep() { more } else { &[] }) {
        let setting = setting.clone().capacity(capacity);
        let found = search::every_state(&setting);
        report::row(name, &setting, &found);
        answers.extend(found.answers);
    }
    let expected: Answers = expected.concat().into_iter().collect();
    assert_eq!(answers, expected, "{name}: answers seen (left) are not those allowed (right)");
}

/// Does the same as [`check`], in a deep run only.
fn check_deep(name: &str, setting: &Setting, capacities: &[u8], expected: &[&[&'static str]]) {
    if deep() {
        check(name, setting, [capacities, &[]], expected);
    }
}

fn two_writers() -> Setting {
    Setting::of(&[&[Retain(1), Plain], &[Retain(1)], &[Plain]]).kills(1).alone()
}

fn two_writers_and_a_joiner() -> Setting {
    Setting::of(&[&[Retain(1)], &[Retain(1)], &[Read]])
}

fn a_writer_a_displacer_and_a_joiner() -> Setting {
    Setting::of(&[&[Retain(1)], &[Plain, Plain], &[Read]]).kills(1)
}

fn a_clear_and_a_lapped_reader() -> Setting {
    Setting::of(&[&[Retain(1), Clear(1)], &[Plain], &[Read]])
}

fn a_sweep() -> Setting {
    Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2)], &[Retain(1)]])
}

fn a_sweep_and_a_lapped_reader() -> Setting {
    Setting::of(&[&[Retain(1), Clear(1), Retain(2)], &[Read]])
}

fn a_sweep_in_the_middle_of_a_walk() -> Setting {
    Setting::of(&[&[Retain(1), Clear(1), Retain(2)], &[Plain, Plain], &[Read]])
}

fn an_expiry_a_sweep_and_a_lapped_reader() -> Setting {
    Setting::of(&[&[Retain(1), Retain(1), Retain(2)], &[Read]]).expiries(2)
}

fn look_ups() -> Setting {
    Setting::of(&[&[Retain(1), Clear(1)], &[Get(1), Get(1)], &[Read]]).kills(1)
}

fn fragments() -> Setting {
    Setting::of(&[&[Big(1)], &[Plain], &[Read]]).kills(1)
}

fn a_reset() -> Setting {
    Setting::of(&[&[Retain(1), Retain(2), Clear(1), Retain(3)], &[Read]]).places(2)
}

fn a_reset_by_a_later_bucket() -> Setting {
    Setting::of(&[&[Retain(1), Retain(2), Clear(2), Retain(3)], &[Read]]).buckets(2)
}

#[test]
fn two_writers_of_one_key() {
    check(
        "two writers of one key, laps, a kill",
        &two_writers(),
        [&[1, 2], &[]],
        &[SETTLING, ADOPTING, &["helped", "index moved", "post moved", "superseded"]],
    );
}

#[test]
fn two_writers_of_one_key_and_a_joiner() {
    check(
        "two writers of one key, a joiner",
        &two_writers_and_a_joiner(),
        [&[1, 2, 4], &[]],
        &[SETTLING, READING, LAPS, &["index moved", "superseded"]],
    );
}

#[test]
fn a_joiner_meets_what_a_dead_one_left() {
    let setting = a_writer_a_displacer_and_a_joiner();
    check("a writer, a displacer, a joiner, a kill", &setting, [&[1, 2, 4], &[]], &[SETTLING, READING, LAPS, ADOPTING]);
}

#[test]
fn a_value_and_a_clear() {
    check(
        "a value and a clear, a lapped reader",
        &a_clear_and_a_lapped_reader(),
        [&[1, 2], &[]],
        &[SETTLING, READING, LAPS, &["superseded"]],
    );
}

#[test]
fn two_keys_contend_for_a_place() {
    check(
        "two keys, one place, a sweep",
        &a_sweep().alone(),
        [&[1, 2], &[]],
        &[SETTLING, SWEEPING, &["helped", "nothing to clear", "post moved", "superseded"]],
    );
    check(
        "two keys, one place, a sweep, a kill",
        &a_sweep().kills(1),
        [&[1, 2], &[]],
        &[SETTLING, SWEEPING, ADOPTING, &["helped", "nothing to clear", "post moved", "superseded"]],
    );
}

#[test]
fn a_reader_is_lapped_by_a_sweep() {
    check(
        "a sweep and a lapped reader",
        &a_sweep_and_a_lapped_reader(),
        [&[1, 2], &[]],
        &[SETTLING, READING, &["lapped", "reset", "superseded", "swept"]],
    );
}

#[test]
fn a_walk_meets_a_sweep() {
    check(
        "a sweep in the middle of a walk",
        &a_sweep_in_the_middle_of_a_walk(),
        [&[2], &[1]],
        &[SETTLING, READING, LAPS, &["reset", "superseded", "swept"]],
    );
}

#[test]
fn a_ttl_ends() {
    let setting = an_expiry_a_sweep_and_a_lapped_reader();
    check(
        "an expiry, a sweep and a lapped reader",
        &setting,
        [&[1, 2], &[]],
        &[SETTLING, READING, &["full", "lapped", "reset", "superseded", "swept"]],
    );
}

#[test]
fn two_places() {
    let setting = Setting::of(&[&[Retain(1)], &[Retain(2)], &[Read]]).places(2).kills(1);
    check(
        "two places, two keys, a joiner, a kill",
        &setting,
        [&[1, 2], &[]],
        &[SETTLING, READING, LAPS, ADOPTING, &["index moved"]],
    );
}

#[test]
fn a_look_up_is_strict() {
    check(
        "look-ups",
        &look_ups(),
        [&[1, 2], &[]],
        &[
            SETTLING,
            READING,
            ADOPTING,
            &["found", "lapped", "look-up meets a post", "not found", "nothing to clear", "superseded"],
        ],
    );
}

#[test]
fn a_value_in_two_fragments() {
    check("fragments", &fragments(), [&[1, 2, 4], &[]], &[SETTLING, READING, LAPS, ADOPTING, &["headless"]]);
}

#[test]
fn a_value_in_two_fragments_expires() {
    let setting = Setting::of(&[&[Big(1)], &[Retain(2)], &[Read]]).expiries(1);
    check(
        "fragments that expire and are swept",
        &setting,
        [&[2, 4], &[]],
        &[
            SETTLING,
            READING,
            &[
                "alive again",
                "announced by another",
                "full",
                "headless",
                "headless and gone",
                "index moved",
                "lapped",
                "reset",
                "swept",
            ],
        ],
    );
}

#[test]
fn a_lapped_reader_begins_again() {
    check(
        "three keys, two places, a reset",
        &a_reset(),
        [&[1, 2], &[]],
        &[SETTLING, READING, &["lapped", "reset", "superseded", "swept"]],
    );
    check(
        "two buckets, the later one asks for a reset",
        &a_reset_by_a_later_bucket(),
        [&[1, 2], &[]],
        &[SETTLING, READING, &["lapped", "reset", "reset by a later bucket", "superseded", "swept"]],
    );
}

#[test]
fn a_reservation_displaces() {
    let setting = Setting::of(&[&[Reserve, Plain], &[Retain(1)], &[Read]]).kills(1);
    check("reservations, a kill", &setting, [&[1, 2], &[]], &[SETTLING, READING, LAPS, ADOPTING, &["gave up"]]);
}

#[test]
fn deep_two_kills() {
    let programs: &[&[setting::Op]] = &[&[Retain(1), Retain(1)], &[Plain, Plain], &[Retain(1)]];
    check_deep(
        "two kills",
        &Setting::of(programs).kills(2),
        &[1, 2],
        &[SETTLING, ADOPTING, &["helped", "index moved", "post moved", "superseded"]],
    );
    check_deep(
        "a sweep, two kills",
        &a_sweep().kills(2),
        &[1, 2],
        &[SETTLING, ADOPTING, SWEEPING, &["helped", "nothing to clear", "post moved", "superseded"]],
    );
}

#[test]
fn deep_laps() {
    let setting = Setting::of(&[&[Retain(1), Clear(1), Plain], &[Retain(1), Plain], &[Read]]).kills(1);
    check_deep(
        "a value, a clear, two laps, a kill",
        &setting,
        &[1, 2],
        &[SETTLING, READING, LAPS, ADOPTING, &["index moved", "nothing to clear", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1)], &[Retain(1)], &[Retain(1)], &[Plain]]).kills(1);
    check_deep(
        "three writers of one key, laps, a kill",
        &setting,
        &[1, 2],
        &[SETTLING, ADOPTING, &["helped", "index moved", "post moved", "superseded"]],
    );
    let setting = Setting::of(&[&[Big(1)], &[Big(1), Plain], &[Read]]).kills(1);
    check_deep(
        "two fragmented values, a kill",
        &setting,
        &[1, 2, 4],
        &[SETTLING, READING, LAPS, ADOPTING, &["headless", "index moved", "superseded"]],
    );
}

#[test]
fn deep_sweeps() {
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2)], &[Retain(1), Plain]]).kills(1).alone();
    check_deep(
        "a sweep, a kill, left alone from every state",
        &setting,
        &[1, 2],
        &[SETTLING, ADOPTING, SWEEPING, &["helped", "nothing to clear", "post moved", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2)], &[Retain(3)]]).places(2).kills(1);
    check_deep(
        "three keys, two places, three writers, a kill",
        &setting,
        &[1, 2],
        &[SETTLING, ADOPTING, SWEEPING, &["helped", "nothing to clear", "post moved", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2), Retain(1)], &[Read]]).places(2).kills(1);
    check_deep(
        "two keys, two places, a sweep, a joiner, a kill",
        &setting,
        &[1, 2],
        &[SETTLING, READING, LAPS, ADOPTING, &["index moved", "nothing to clear", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2)], &[Get(1), Get(2)]]).kills(1);
    check_deep(
        "look-ups and a sweep, a kill",
        &setting,
        &[1, 2],
        &[
            SETTLING,
            ADOPTING,
            SWEEPING,
            &["found", "look-up meets a post", "not found", "nothing to clear", "reader settles", "superseded"],
        ],
    );
}

#[test]
fn deep_lapped_readers() {
    let setting = Setting::of(&[&[Retain(1), Retain(1)], &[Retain(2)], &[Read]]).expiries(2).kills(1);
    check_deep(
        "an expiry, a sweep, a kill, a lapped reader",
        &setting,
        &[1, 2],
        &[SETTLING, READING, ADOPTING, SWEEPING, &["lapped", "reset", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Retain(2), Plain], &[Read]]).expiries(1).kills(1);
    check_deep(
        "a clear, an expiry, a sweep, a kill, a lapped reader",
        &setting,
        &[1, 2],
        &[SETTLING, READING, LAPS, ADOPTING, SWEEPING, &["nothing to clear", "reset", "superseded"]],
    );
    let setting = Setting::of(&[&[Retain(1), Retain(2), Clear(1), Retain(3)], &[Plain], &[Read]]).places(2);
    check_deep(
        "three keys, two places, a reset, a displacer",
        &setting,
        &[1, 2],
        &[SETTLING, READING, LAPS, &["reset", "superseded", "swept"]],
    );
    let setting = Setting::of(&[&[Retain(1), Retain(2), Clear(2), Retain(3)], &[Plain], &[Read]]).buckets(2);
    check_deep(
        "two buckets, the later one asks for a reset, a displacer",
        &setting,
        &[1, 2],
        &[SETTLING, READING, LAPS, &["reset", "reset by a later bucket", "superseded", "swept"]],
    );
    let setting = Setting::of(&[&[Big(1)], &[Retain(2), Plain], &[Read]]).expiries(1).kills(1);
    check_deep(
        "fragments that expire and are swept, a kill",
        &setting,
        &[1, 2, 4],
        &[
            SETTLING,
            READING,
            LAPS,
            ADOPTING,
            &[
                "alive again",
                "announced by another",
                "full",
                "headless",
                "headless and gone",
                "index moved",
                "reset",
                "swept",
            ],
        ],
    );
    let setting = Setting::of(&[&[Retain(1), Clear(1)], &[Plain], &[Read], &[Read]]);
    check_deep("two readers", &setting, &[1, 2], &[SETTLING, READING, LAPS, &["superseded"]]);
}

/// Returns the setting in which a mutant's fault shows.
fn setting_of(mutant: Mutant) -> Setting {
    match mutant {
        Mutant::DisplaceUnsettled | Mutant::MarkFirst | Mutant::SlotStore | Mutant::NotPreparedAgain => two_writers(),
        Mutant::AdoptClears | Mutant::AdoptScratch | Mutant::UnannounceEarly => two_writers().capacity(2),
        Mutant::JoinTableFirst | Mutant::JoinNoScan | Mutant::JoinScanFirst => two_writers_and_a_joiner(),
        Mutant::AdoptClearsFirst => a_writer_a_displacer_and_a_joiner(),
        Mutant::ClearForgets | Mutant::TombstonesNotHanded => a_clear_and_a_lapped_reader(),
        Mutant::AdoptOwnBlock => a_sweep().kills(1),
        Mutant::AnnounceLate
        | Mutant::AnnounceNoFence
        | Mutant::SweepOneStep
        | Mutant::SweepAnnFirst
        | Mutant::SweepSlotFirst
        | Mutant::NoPlaceBefore => a_sweep(),
        Mutant::NoRecheck | Mutant::RecheckFirst => a_sweep_and_a_lapped_reader(),
        Mutant::WalkUnchecked => a_sweep_in_the_middle_of_a_walk(),
        Mutant::WalkNotAgain => a_reset_by_a_later_bucket(),
        Mutant::ResetKeepsOrder => a_reset(),
        Mutant::GetUnsettled => look_ups(),
        Mutant::HeadlessSkipped => fragments(),
        Mutant::None | Mutant::RecheckBeforeCopy => Setting::small(),
    }
}

#[test]
fn every_wrong_order_of_steps_is_found() {
    let survivors: Vec<_> = MUTANTS
        .iter()
        // It breaks nothing: if the copy is not whole, the slot has changed.
        .filter(|(mutant, _)| *mutant != Mutant::RecheckBeforeCopy)
        .filter(|(mutant, _)| search::first_fault(&Setting { mutant: *mutant, ..setting_of(*mutant) }, MOST).is_none())
        .collect();
    assert!(survivors.is_empty(), "nothing breaks with {survivors:?}");
}

#[test]
fn a_second_look_before_the_copy_breaks_nothing() {
    for setting in [two_writers(), two_writers().capacity(2), a_sweep(), a_sweep_and_a_lapped_reader(), fragments()] {
        search::every_state(&Setting { mutant: Mutant::RecheckBeforeCopy, ..setting });
    }
}
