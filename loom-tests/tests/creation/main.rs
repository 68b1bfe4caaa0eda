//! The creation of a segment, as a program over an abstract file system: every interleaving of creators, an opener, a
//! process that unlinks, and a death at any step.
//!
//! The steps are those of `src/segment/creation.rs`, in the same order. This is a model of that file and not its
//! source, which consists of system calls. Its deliberate bugs are here, too: each omitted clause must break something.

mod file_system;
mod process;
mod search;

use process::{Bug, End, Intent};
use search::{Scene, every_state};

use Intent::{Create, Open, OpenOrCreate, Unlink};

const NO_BUG: Option<Bug> = None;

/// All ways in which the processes of a scene can end, each as the list of their ends.
fn ends(name: &str, intents: &[Intent], kills: u32, bug: Option<Bug>) -> Result<Vec<Vec<End>>, String> {
    let found = every_state(&Scene { intents: intents.to_vec(), kills, bug })?;
    search::report(name, &found);
    Ok(found.ends.into_iter().collect())
}

fn sound(name: &str, intents: &[Intent], kills: u32) -> Vec<Vec<End>> {
    ends(name, intents, kills, NO_BUG).unwrap_or_else(|broken| panic!("{name}: {broken}"))
}

#[test]
fn two_creators_and_an_opener_end_on_one_segment() {
    let ends = sound("two creators and an opener", &[OpenOrCreate, OpenOrCreate, Open], 0);
    for end in &ends {
        assert!(matches!(end[..2], [End::Has(a), End::Has(b)] if a == b), "{end:?}");
        let sees = matches!(end[2], End::NotFound | End::Unfinished) || end[2] == end[0];
        assert!(sees, "{end:?}");
    }
    for last in [End::NotFound, End::Unfinished, ends[0][0]] {
        assert!(ends.iter().any(|end| end[2] == last), "an opener that ends with {last:?} was never seen");
    }
}

#[test]
fn three_creators_end_on_one_segment() {
    for end in sound("three creators", &[OpenOrCreate; 3], 0) {
        assert!(matches!(end[0], End::Has(_)) && end.iter().all(|other| *other == end[0]), "{end:?}");
    }
}

#[test]
fn of_two_who_insist_on_creating_one_does() {
    let ends = sound("two creators that must create", &[Create, Create], 0);
    for end in &ends {
        let made = end.iter().filter(|end| matches!(end, End::Has(_))).count();
        assert!(made == 1 && end.contains(&End::Exists), "{end:?}");
    }
    assert_eq!(ends.len(), 2, "either may be the one: {ends:?}");
}

#[test]
fn a_creator_is_killed_anywhere_and_the_next_one_creates() {
    let ends = sound("a creator is killed", &[OpenOrCreate, OpenOrCreate, Open], 1);
    for end in &ends {
        let living: Vec<_> = end[..2].iter().filter(|end| **end != End::Dead).collect();
        assert!(living.iter().all(|end| matches!(end, End::Has(_)) && *end == living[0]), "{end:?}");
    }
    assert!(ends.iter().any(|end| end[0] == End::Dead));
}

#[test]
fn two_are_killed_and_the_third_creates() {
    for end in sound("two are killed", &[OpenOrCreate; 3], 2) {
        let living: Vec<_> = end.iter().filter(|end| **end != End::Dead).collect();
        assert!(living.iter().all(|end| matches!(end, End::Has(_)) && *end == living[0]), "{end:?}");
    }
}

#[test]
fn a_name_is_removed_meanwhile() {
    let ends = sound("a name is removed", &[OpenOrCreate, OpenOrCreate, Unlink], 1);
    for end in &ends {
        // Each has a valid segment, although not always the same one, because one of them may have lost its name. Or it
        // was killed.
        assert!(end[..2].iter().all(|end| matches!(end, End::Has(_) | End::Dead)), "{end:?}");
    }
    assert!(ends.iter().any(|end| end[0] != end[1] && !end.contains(&End::Dead)), "the name was never created again");
}

#[test]
fn an_opener_never_gets_a_segment_that_is_not_finished() {
    let ends = sound("an opener and a removal", &[OpenOrCreate, Open, Unlink], 1);
    let seen = |wanted: fn(&End) -> bool| ends.iter().any(|end| wanted(&end[1]));
    assert!(seen(|end| matches!(end, End::Has(_))) && seen(|end| *end == End::NotFound));
}

/// The scenes on which the deliberate bugs are tried.
const SCENES: [(&[Intent], u32); 5] = [
    (&[OpenOrCreate, OpenOrCreate, Open], 0),
    (&[OpenOrCreate, OpenOrCreate, Open], 1),
    (&[OpenOrCreate, OpenOrCreate, Unlink], 0),
    (&[OpenOrCreate, Open, Unlink], 0),
    (&[OpenOrCreate, OpenOrCreate, OpenOrCreate], 0),
];

/// Returns what `bug` breaks, if anything.
fn broken_by(bug: Bug) -> Option<String> {
    SCENES.iter().find_map(|(intents, kills)| match ends("", intents, *kills, Some(bug)) {
        Err(harm) => Some(harm),
        Ok(ends) => ends.iter().find(|end| !is_good(end, intents)).map(|end| format!("they end as {end:?}")),
    })
}

/// Checks that every living creator has a segment (the same for all if the name was not removed), and that an opener
/// that came after a finished one found it.
fn is_good(ends: &[End], intents: &[Intent]) -> bool {
    let living = |(end, intent): &(&End, &Intent)| **intent == OpenOrCreate && **end != End::Dead;
    let creators: Vec<_> = ends.iter().zip(intents).filter(living).map(|(end, _)| *end).collect();
    creators.iter().all(|end| matches!(end, End::Has(_)))
        && (intents.contains(&Unlink) || creators.iter().all(|end| *end == creators[0]))
}

#[test]
fn every_clause_is_needed() {
    for bug in Bug::ALL {
        let broken = broken_by(bug).unwrap_or_else(|| panic!("{bug:?} breaks nothing"));
        println!("{bug:?}: {broken}");
    }
}

/// Mapping by name and comparing the nonce shows that the name led to the file while it was formed. An earlier check
/// saves the work and the memory. A later check unites processes that a removal would otherwise separate, but one right
/// after the call does that too.
#[test]
fn comparing_the_name_is_courtesy() {
    assert_eq!(broken_by(Bug::NameNotComparedBeforeForming), None);
    assert_eq!(broken_by(Bug::NameNotComparedAfterForming), None);
}

/// An opener that does not wait for an active creator reports an unfinished segment. That is true but useless: it waits
/// so that the caller does not have to try again.
#[test]
fn an_opener_waits_out_of_kindness() {
    assert_eq!(broken_by(Bug::OpenerDoesNotWait), None);
}
