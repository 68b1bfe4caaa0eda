use proptest::prelude::*;

use super::*;
use crate::batch::{Batch, Event, Kept, Kind, Reason};

const TTL: Duration = Duration::from_secs(60);

fn event(id: u64, bytes: &[u8]) -> Item<'_> {
    let kept: Option<Kept<'_>> = None;
    let (kind, source, event) = (Kind::Ordered, "cache", "stale");
    Item::Event(Event { id, kind, source, event, type_tag: 0, format: 0, unique: None, kept, bytes })
}

fn plain(id: u64) -> Queued {
    Queued::new(&event(id, &[7; 40]), None)
}

fn unique(id: u64) -> Queued {
    let mut item = event(id, b"x");
    if let Item::Event(event) = &mut item {
        event.unique = Some(TTL);
    }
    Queued::new(&item, Some(Claim { key: [1, id], ttl: TTL }))
}

fn ids(cut: &Cut) -> Vec<u64> {
    if cut.body.is_empty() {
        return Vec::new();
    }
    Batch::parse(&cut.body).unwrap().items.iter().map(Item::id).collect()
}

fn spool(next: u64) -> Spool {
    Spool::new(9, next, Some(next), 1 << 20)
}

#[test]
fn r1_batches_follow_each_other_and_name_the_id_that_the_engine_waits_for() {
    let mut spool = spool(5);
    for id in [5, 7, 8] {
        spool.push(plain(id));
    }
    let first = spool.cut().unwrap();
    assert_eq!((first.from, first.next, ids(&first)), (5, 9, vec![5, 7, 8]));
    assert_eq!(spool.cut(), None, "all are under way");
    spool.push(plain(12));
    let second = spool.cut().unwrap();
    assert_eq!((second.from, second.next, ids(&second)), (9, 13, vec![12]));
    spool.confirm(9);
    assert_eq!((spool.len(), spool.confirmed()), (1, 9));
    // The connection is lost: what has no answer is sent again, from the same id.
    spool.recall();
    assert_eq!(spool.cut(), Some(second));
}

#[test]
fn a_unique_event_is_alone_in_its_batch() {
    let mut spool = spool(0);
    for item in [plain(0), unique(1), unique(2), plain(3), plain(4)] {
        spool.push(item);
    }
    let cuts: Vec<_> = std::iter::from_fn(|| spool.cut()).collect();
    assert_eq!(cuts.iter().map(ids).collect::<Vec<_>>(), [vec![0], vec![1], vec![2], vec![3, 4]]);
    assert_eq!(cuts.iter().map(|cut| cut.claim.is_some()).collect::<Vec<_>>(), [false, true, true, false]);
}

#[test]
fn batches_are_bounded_by_events_and_by_bytes_unless_one_event_is_larger() {
    let mut spool = Spool::new(9, 0, None, 16 << 20);
    for id in 0..300 {
        spool.push(plain(id));
    }
    let large = vec![1; 40 << 10];
    for id in 300..303 {
        spool.push(Queued::new(&event(id, &large), None));
    }
    spool.push(Queued::new(&event(303, &vec![2; 100 << 10]), None));
    let counts: Vec<_> = std::iter::from_fn(|| spool.cut()).map(|cut| (cut.count, cut.body.len())).collect();
    assert_eq!(counts.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [128, 128, 45, 1, 1, 1]);
    assert!(counts[..5].iter().all(|(_, bytes)| *bytes <= MOST_BYTES), "{counts:?}");
}

#[test]
fn r5_a_full_spool_says_so_and_has_room_after_an_answer() {
    let mut spool = Spool::new(9, 0, None, 1000);
    let mut id = 0;
    while !spool.is_full() {
        spool.push(plain(id));
        id += 1;
    }
    assert!(spool.bytes() < 1000 + plain(0).bytes() && id > 2, "{} bytes in {id}", spool.bytes());
    spool.confirm(id - 1);
    assert!(!spool.is_full() && spool.len() == 1);
    spool.confirm(id);
    assert_eq!((spool.bytes(), spool.is_empty()), (0, true));
}

#[test]
fn r5_what_the_engine_forgot_is_read_again_and_comes_first() {
    let mut spool = spool(10);
    for id in 10..14 {
        spool.push(plain(id));
    }
    assert_eq!(spool.cut().unwrap().next, 14);
    spool.confirm(12);
    // The engine was rolled back to 7.
    let again = spool.rewind(7).unwrap();
    assert_eq!(again, 7..12);
    spool.healed(&again, [6, 7, 9, 11, 12].map(plain).into());
    let cut = spool.cut().unwrap();
    assert_eq!((cut.from, ids(&cut)), (7, vec![7, 9, 11, 12, 13]));
    // It has more than was acknowledged: the answers were lost.
    assert_eq!(spool.rewind(12), None);
    assert_eq!(spool.cut().map(|cut| (cut.from, ids(&cut))), Some((12, vec![12, 13])));
    // Nothing to read again: the queue has all.
    let mut spool = Spool::new(9, 3, None, 1000);
    spool.push(plain(3));
    assert_eq!(spool.rewind(3), None);
    assert_eq!(spool.cut().unwrap().from, 3);
}

#[test]
fn r8_a_unique_event_that_was_decided_only_takes_its_key_again() {
    let mut spool = spool(0);
    for item in [unique(0), unique(1)] {
        spool.push(item);
    }
    while spool.cut().is_some() {}
    spool.confirm(1);
    let again = spool.rewind(0).unwrap();
    spool.healed(&again, vec![unique(0)]);
    let (decided, open) = (spool.cut().unwrap(), spool.cut().unwrap());
    assert!(decided.claim.is_some() && decided.body.is_empty(), "{decided:?}");
    assert_eq!(ids(&open), [1]);
    // A process that never had an acknowledgement does not know of any decision.
    let mut spool = Spool::new(9, 5, None, 1000);
    let again = spool.rewind(3).unwrap();
    spool.healed(&again, vec![unique(3)]);
    assert_eq!(ids(&spool.cut().unwrap()), [3]);
}

#[test]
fn r8_a_unique_event_that_waits_longer_than_its_ttl_becomes_a_report() {
    let start = Instant::now();
    let mut spool = spool(0);
    for item in [unique(0), unique(1), plain(2)] {
        spool.push(item);
    }
    let under_way = spool.cut().unwrap();
    assert_eq!(ids(&under_way), [0]);
    let gap = |id| Item::Gap { id, count: Some(1), reason: Reason::Undecided };
    assert_eq!(spool.expire(start, gap), 0);
    assert_eq!(spool.expire(Instant::now() + TTL * 2, gap), 1, "the one under way may be decided already");
    let cut = spool.cut().unwrap();
    assert_eq!((cut.claim, Batch::parse(&cut.body).unwrap().items[0]), (None, gap(1)));
    spool.confirm(3);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn ids_that_do_not_travel_move_the_next_id_once_there_are_enough() {
    let mut spool = spool(0);
    spool.skip_to(99);
    assert_eq!(spool.advance(100), None);
    spool.skip_to(100);
    let cut = spool.advance(100).unwrap();
    assert_eq!((cut.from, cut.next, cut.count, cut.body.len()), (0, 100, 0, 0));
    assert_eq!(spool.advance(100), None, "it is under way");
    spool.push(plain(100));
    assert_eq!(spool.cut().unwrap().from, 100);
    spool.skip_to(1000);
    assert_eq!(spool.advance(100), None, "an event is under way");
}

proptest! {
    /// An engine that answers, loses answers, forgets, and refuses, at random: it gets every id once and in order, or
    /// has to be told that the ring has lost it.
    #[test]
    fn r1_r5_every_id_reaches_a_forgetful_engine_in_order(steps in prop::collection::vec((0u8..6, 0u64..40), 1..200)) {
        let mut spool = Spool::new(9, 0, None, 1 << 20);
        let (mut ring, mut stored, mut flight) = (0, Vec::new(), VecDeque::<Cut>::new());
        let settle = |spool: &mut Spool, stored: &Vec<u64>, flight: &mut VecDeque<Cut>| {
            flight.clear();
            if let Some(again) = spool.rewind(stored.len() as u64) {
                let items = again.clone().map(plain).collect();
                spool.healed(&again, items);
            }
        };
        for (step, amount) in steps {
            match step {
                0 | 1 => for _ in 0..amount {
                    spool.push(plain(ring));
                    ring += 1;
                },
                2 => flight.extend(spool.cut()),
                3 => if let Some(cut) = flight.pop_front() {
                    prop_assert_eq!(cut.from, stored.len() as u64);
                    stored.extend(ids(&cut));
                    spool.confirm(cut.next);
                },
                4 => {
                    // Appended, but the answer is lost.
                    if let Some(cut) = flight.pop_front() {
                        stored.extend(ids(&cut));
                    }
                    settle(&mut spool, &stored, &mut flight);
                }
                _ => {
                    stored.truncate(stored.len().saturating_sub(amount as usize));
                    settle(&mut spool, &stored, &mut flight);
                }
            }
        }
        settle(&mut spool, &stored, &mut flight);
        while let Some(cut) = spool.cut() {
            prop_assert_eq!(cut.from, stored.len() as u64);
            stored.extend(ids(&cut));
            spool.confirm(cut.next);
        }
        prop_assert_eq!(stored, (0..ring).collect::<Vec<_>>());
        prop_assert_eq!(spool.bytes(), 0);
    }
}

#[test]
fn r8_a_host_decides_alone_what_waits_too_long_and_is_not_under_way() {
    // Before each of them is read, however long that takes.
    let start = Instant::now();
    let mut spool = spool(0);
    for item in [unique(0), unique(1), plain(2), unique(3)] {
        spool.push(item);
    }
    let first = spool.cut().unwrap();
    assert_eq!(ids(&first), [0]);
    let patience = Duration::from_secs(2);
    let mut posted = Vec::new();
    let mut decide = |spool: &mut Spool, hours: u32, answer: Result<bool, ()>| {
        spool.decide_alone(start + Duration::from_secs(3600) * hours, patience, |body, claim| {
            posted.push((Batch::parse(body).unwrap().last(), claim.key[1]));
            answer
        })
    };
    assert_eq!(decide(&mut spool, 0, Ok(true)), Ok(()));
    // The first one is perhaps decided by the server already.
    assert_eq!(decide(&mut spool, 3, Err(())), Err(()));
    assert_eq!(decide(&mut spool, 3, Ok(false)), Ok(()), "one that is refused does not hold up the next one");
    assert_eq!(decide(&mut spool, 3, Ok(true)), Ok(()));
    assert_eq!(decide(&mut spool, 9, Ok(true)), Ok(()), "each is decided once");
    assert_eq!(posted, [(1, 1), (1, 1), (3, 3), (1, 1), (3, 3)]);
    // The connection is there again: only the keys are taken.
    assert_eq!(spool.rewind(1), None);
    let cuts: Vec<_> = std::iter::from_fn(|| spool.cut()).collect();
    assert_eq!(cuts.iter().map(ids).collect::<Vec<_>>(), [vec![], vec![2], vec![]]);
    assert!(cuts[0].claim.is_some() && cuts[2].claim.is_some());
    assert_eq!(spool.expire(Instant::now() + TTL * 2, |id| event(id, b"")), 0);
}
