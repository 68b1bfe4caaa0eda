//! Names, and what they lead to.

use super::*;

#[test]
fn g10_only_what_begins_as_a_segment_does_is_listed_by_name() {
    let [segment, other_layout, foreign, short, forming, link] =
        ["named", "layout", "foreign", "short", "forming", "link"].map(Name::new);
    drop(Segment::create(&segment, &small()).unwrap());
    other_layout.write(&(magic() + 1).to_ne_bytes());
    foreign.write(&[0xa5; 4096]);
    short.write(&magic().to_ne_bytes()[..7]);
    forming.write(&FORMING.to_ne_bytes());
    std::os::unix::fs::symlink(path(&segment), path(&link)).unwrap();
    let names = segment_names().unwrap();
    let is_listed = [&segment, &other_layout, &foreign, &short, &forming, &link]
        .map(|name| names.iter().any(|listed| **listed == **name));
    link.clear();
    assert_eq!(is_listed, [true, true, false, false, false, false], "{names:?}");
}

#[test]
fn names_get_a_slash_and_bad_ones_are_refused() {
    let longest = "x".repeat(MOST_NAME_BYTES);
    for good in ["a", "/a", "...", ".a", "A-z_0.9", &longest, &format!("/{longest}")] {
        assert_eq!(checked_name(good).unwrap(), format!("/{}", good.trim_start_matches('/')));
    }
    let too_long = "x".repeat(MOST_NAME_BYTES + 1);
    for bad in ["", "/", "//a", ".", "..", "/..", "a/b", "../a", "a b", "a\0", "ä", "a\n", &too_long] {
        assert_error!(checked_name(bad), Cause::Name { name, .. } if name.chars().count() <= 64);
        assert_error!(Segment::open_or_create(bad, &small()), Cause::Name { .. });
        assert_error!(unlink(bad), Cause::Name { .. });
    }
}

#[test]
fn what_was_begun_is_listed_and_an_empty_file_is_not() {
    let name = Name::new("listed");
    let is_listed = || crate::inspect::list().unwrap().iter().any(|listed| listed.name == *name);
    name.write(&[]);
    assert!(!is_listed(), "nothing says that it is ours");
    name.write(&FORMING.to_ne_bytes());
    assert!(is_listed());
    name.clear();
    drop(Segment::create(&name, &small()).unwrap());
    assert!(is_listed());
}

#[test]
fn g6_a_list_waits_for_no_creator() {
    let name = Name::new("list");
    name.write(&FORMING.to_ne_bytes());
    let gun = Segment::anonymous(&small()).unwrap();
    let creator = lock_holder(&name, &gun, || true);
    // The error shows that it did not wait.
    let at_once = |opened: Result<_>| assert_error!(opened, Cause::Busy { waited: Duration::ZERO, .. });
    let listed = crate::inspect::list().unwrap().into_iter().find(|listed| listed.name == *name);
    at_once(listed.unwrap().opened);
    at_once(crate::inspect::Listed::named(&name).unwrap().opened);
    at_once(small().creation_timeout(Duration::ZERO).inspect(&name));
    sign(&gun);
    assert!(creator.ended_well());
    assert_error!(crate::inspect::Listed::named(&name).unwrap().opened, Cause::Unfinished { .. });
}

#[test]
fn unlink_leaves_what_took_the_name_since() {
    let name = Name::new("unlink");
    let first = Segment::create(&name, &small()).unwrap();
    unlink(&name).unwrap();
    assert_error!(first.unlink(), Cause::NotFound { .. });
    let second = Segment::create(&name, &small()).unwrap();
    assert_error!(first.unlink(), Cause::Replaced { .. });
    assert!(name.exists());
    second.unlink().unwrap();
    assert!(!name.exists());
}

#[test]
fn g12_only_the_maker_unlinks_on_drop() {
    let name = Name::new("unlink-on-drop");
    let unlinking = small().unlink_on_drop(true);
    let made = Segment::create(&name, &unlinking).unwrap();
    drop(Segment::open(&name, &unlinking).unwrap());
    assert!(name.exists(), "removed by one that only opened it");
    let mut made = Some(made);
    let child = Child::fork_amid_threads(|| {
        drop(made.take());
        true
    });
    assert!(child.ended_well());
    assert!(name.exists(), "removed by a forked child");
    drop(made);
    assert!(!name.exists());
    drop(Segment::create(&name, &small()).unwrap());
    assert!(name.exists(), "removed without being asked to");
}

#[test]
fn a_segment_is_current_while_its_name_leads_to_it() {
    let name = Name::new("current");
    let segment = Segment::create(&name, &small()).unwrap();
    assert!(segment.is_current().unwrap());
    unlink(&name).unwrap();
    assert!(!segment.is_current().unwrap(), "without a name");
    let other = Segment::create(&name, &small()).unwrap();
    assert!(!segment.is_current().unwrap() && other.is_current().unwrap(), "the name is another's");
}
