//! Subscribers: what a seat without handlers gets, in order, and when it sleeps.

use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use seqcast::{Bus, Cause, Claimed, Delivery, Scope, Start, Subscriber, Undecided, Unique, WorkerOptions, library};
use seqcast_testkit::{
    Child, HOUR, Log, Noted, alone, assert_error, bus, counts, eventually, in_child, listener, of_seat, poll, quiet,
    shared_words, small,
};

/// A delivery in comparable form.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Event(u64, String, Vec<u8>),
    Lagged(u64, u64),
    Reserved(u64, bool),
    Undecided(u64, Undecided),
}

fn got(delivery: Delivery<'_>) -> Got {
    match delivery {
        Delivery::Event(event) => Got::Event(event.id().unwrap(), event.topic().to_string(), event.bytes().to_vec()),
        Delivery::Lagged { first, missed, .. } => Got::Lagged(first, missed),
        Delivery::Reserved { id, own, .. } => Got::Reserved(id, own),
        Delivery::Undecided { id, reason, .. } => Got::Undecided(id, reason),
        other => panic!("{other:?}"),
    }
}

/// Returns all current deliveries.
fn all(subscriber: &mut Subscriber) -> Vec<Got> {
    let mut all = Vec::new();
    while let Some(delivery) = subscriber.try_next().unwrap() {
        let got = got(delivery);
        let is_reserved = matches!(got, Got::Reserved(..));
        all.push(got);
        if is_reserved {
            break;
        }
    }
    all
}

fn ids(got: &[Got]) -> Vec<u64> {
    got.iter().filter_map(|got| if let Got::Event(id, ..) = got { Some(*id) } else { None }).collect()
}

fn subscribe(bus: &Bus) -> Subscriber {
    bus.subscribe_with(&quiet()).unwrap()
}

alone! {
    fn g1_subscribers_and_workers_get_the_same_events_in_the_same_order() {
        let (_name, bus) = bus(&small());
        let (mut one, mut other) = (subscribe(&bus), subscribe(&bus));
        let (worker, log) = listener(&bus, &quiet());
        one.publisher().post(("cache", "stale"), "user:1").unwrap();
        worker.post(("cache", "stale"), vec![7; 1000]).unwrap();
        other.publisher().event(("jobs", "run")).post([1, 2]).unwrap();
        poll(&worker);
        let got = |seen: Noted| Got::Event(seen.id.unwrap(), format!("{}/{}", seen.source, seen.event), seen.bytes);
        let seen: Vec<Got> = log.seen().into_iter().map(got).collect();
        assert_eq!(seen.len(), 3);
        assert_eq!(all(&mut one), seen);
        assert_eq!(all(&mut other), seen);
        assert_eq!(all(&mut one), [], "nothing twice");
        assert_eq!(counts(&bus, &worker).delivered, 3);
        assert_eq!(of_seat(&bus.stats().unwrap(), one.seat()).delivered, 3);
    }

    fn g4_a_lapped_subscriber_is_told_exactly_what_it_missed_before_its_next_event() {
        let (_name, bus) = bus(&small());
        let mut subscriber = subscribe(&bus);
        let mut publisher = bus.publisher().unwrap();
        for number in 0..1000_u64 {
            publisher.post(("s", "e"), number.to_le_bytes()).unwrap();
        }
        let got = all(&mut subscriber);
        let Got::Lagged(first, missed) = got[0] else { panic!("{got:?}") };
        assert_eq!(first, 0);
        assert_eq!(ids(&got[1..]), (missed..1000).collect::<Vec<_>>());
    }

    fn g9_a_unique_event_reaches_one_seat_of_all_kinds() {
        let (_name, bus) = bus(&small());
        let mut subscribers = [subscribe(&bus), subscribe(&bus)];
        let (worker, log) = listener(&bus, &quiet());
        for round in 0..30_u64 {
            let key = round.to_le_bytes();
            let id = worker.event(("s", "unique")).unique(Unique::key(&key).ttl(HOUR)).post("").unwrap();
            let order = round % 3;
            let mut ran = 0;
            for turn in 0..3 {
                match (turn + order) % 3 {
                    2 => ran += poll(&worker).0,
                    which => {
                        let subscriber = &mut subscribers[which as usize];
                        while let Some(delivery) = subscriber.try_next().unwrap() {
                            let Delivery::Event(event) = delivery else { panic!("{delivery:?}") };
                            assert_eq!(event.id(), Some(id));
                            assert!(event.claim().is_some());
                            ran += 1;
                        }
                    }
                }
            }
            assert_eq!(ran, 1, "round {round}");
        }
        assert_eq!(log.len(), 10);
    }

    fn g9_a_filter_leaves_other_unique_events_to_others() {
        let (_name, bus) = bus(&small());
        let (mut filtered, mut other) = (subscribe(&bus), subscribe(&bus));
        filtered.only([("s", "wanted")]).unwrap();
        assert_error!(filtered.only([("s", "")]), Cause::Topic { .. });
        let mut publisher = bus.publisher().unwrap();
        let unwanted = publisher.event(("s", "unwanted")).unique("a").post("").unwrap();
        let wanted = publisher.event(("s", "wanted")).unique("b").post("").unwrap();
        assert_eq!(ids(&all(&mut filtered)), [wanted]);
        assert_eq!(ids(&all(&mut other)), [unwanted]);
        filtered.only_sources(["t"]).unwrap();
        publisher.post(("s", "wanted"), "").unwrap();
        let of_source = publisher.post(("t", "anything"), "").unwrap();
        assert_eq!(ids(&all(&mut filtered)), [of_source]);
        filtered.only(<[(&str, &str); 0]>::default()).unwrap();
        publisher.post(("t", "anything"), "").unwrap();
        assert_eq!(all(&mut filtered), []);
    }

    fn g9_a_filter_of_scopes_leaves_unique_events_outside_of_them_to_others() {
        let (_name, bus) = bus(&small());
        let (mut filtered, mut other) = (subscribe(&bus), subscribe(&bus));
        filtered.only_scopes([Scope::source("t"), Scope::events("s", ["one", "two"])]).unwrap();
        assert_error!(filtered.only_scopes([Scope::source("")]), Cause::Topic { .. });
        let mut publisher = bus.publisher().unwrap();
        let mut post = |source: &str, event: &str| {
            publisher.event((source, event)).unique(&[source, event].concat()).post("").unwrap()
        };
        let wanted = [post("t", "any"), post("s", "one"), post("s", "two")];
        let unwanted = [post("s", "three"), post("u", "one")];
        assert_eq!(ids(&all(&mut filtered)), wanted);
        assert_eq!(ids(&all(&mut other)), unwanted);
        filtered.only_scopes([Scope::source("t"), Scope::All]).unwrap();
        let anything = post("u", "any");
        assert_eq!(ids(&all(&mut filtered)), [anything]);
        assert_error!(filtered.only_scopes([Scope::events("s", <[&str; 0]>::default())]), Cause::Topic { .. });
        let still_anything = post("s", "four");
        assert_eq!(ids(&all(&mut filtered)), [still_anything]);
    }

    fn g6_a_reserved_id_is_told_and_what_follows_comes_after_it() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        // The id is not given up before an hour.
        let options = quiet().wait_max(HOUR);
        let mut subscriber = bus.subscribe_with(&options).unwrap();
        let mut reservation = worker.reserve().unwrap();
        let reserved = reservation.id();
        let after = worker.post(("s", "after"), "").unwrap();
        for _ in 0..3 {
            assert_eq!(all(&mut subscriber), [Got::Reserved(reserved, false)]);
        }
        assert_eq!(subscriber.next(Duration::from_millis(1)).unwrap().map(got), Some(Got::Reserved(reserved, false)));
        reservation.commit(("s", "reserved"), "").unwrap();
        assert!(subscriber.wait(HOUR).unwrap());
        assert_eq!(ids(&all(&mut subscriber)), [reserved, after]);
        // Given up: later events come at once.
        let reservation = worker.reserve().unwrap();
        let last = worker.post(("s", "last"), "").unwrap();
        assert_eq!(all(&mut subscriber), [Got::Reserved(reservation.id(), false)]);
        drop(reservation);
        assert_eq!(ids(&all(&mut subscriber)), [last]);
    }

    fn g6_wait_max_is_changed_while_a_subscriber_waits() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let reservation = worker.reserve().unwrap();
        let after = worker.post(("s", "after"), "").unwrap();
        assert_eq!(all(&mut subscriber), [Got::Reserved(reservation.id(), false)]);
        subscriber.set_wait_max(Duration::from_millis(1));
        // Without the change it would wait for an hour.
        assert_eq!(subscriber.next(HOUR).unwrap().map(got), Some(Got::Event(after, "s/after".into(), vec![])));
    }

    fn g1_a_subscriber_commits_an_id_that_it_reserved_before_it_read_on() {
        let (_name, bus) = bus(&small());
        let mut other = subscribe(&bus);
        let mut subscriber = subscribe(&bus);
        let reserved = subscriber.publisher().reserve().unwrap().keep();
        let after = bus.publisher().unwrap().post(("s", "after"), "").unwrap();
        for _ in 0..2 {
            assert_eq!(all(&mut subscriber), [Got::Reserved(reserved, true)]);
        }
        let mut reservation = subscriber.publisher().reserved().unwrap().unwrap();
        reservation.event(("s", "reserved")).unique("key").post("").unwrap();
        drop(reservation);
        assert_eq!(ids(&all(&mut subscriber)), [reserved, after]);
        assert_eq!(ids(&all(&mut other)), [after], "the unique event ran in one seat");
        // Its reservation is given up when it leaves.
        subscriber.publisher().reserve().unwrap().keep();
        subscriber.leave(|_| ()).unwrap();
        assert_eq!(all(&mut other), []);
    }

    fn g10_an_event_with_a_name_that_is_no_text_is_left_out() {
        let (name, bus) = bus(&small());
        let [mut all_sources, mut of_source] = [subscribe(&bus), subscribe(&bus)];
        of_source.only_sources(["s"]).unwrap();
        let mut publisher = bus.publisher().unwrap();
        let text = b"a-name-that-is-found-again";
        publisher.post(("s", std::str::from_utf8(text).unwrap()), "").unwrap();
        let after = publisher.post(("s", "after"), "").unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
        let bytes = std::fs::read(name.path()).unwrap();
        let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
        file.write_all_at(&[0xff; 4], at as u64).unwrap();
        assert_eq!(ids(&all(&mut all_sources)), [after]);
        assert_eq!(ids(&all(&mut of_source)), [after], "what cannot be told was told as nothing new");
    }

    fn g6_a_dead_reserver_makes_nobody_wait() {
        let (_name, bus) = bus(&small());
        let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let child = Child::fork(|| {
            let worker = bus.join_with(&quiet()).unwrap();
            std::mem::forget(worker.reserve().unwrap());
            worker.post(("s", "after"), "").unwrap();
            seqcast_testkit::stop_here();
        });
        child.await_stop();
        assert_eq!(all(&mut subscriber), [Got::Reserved(0, false)]);
        child.kill();
        eventually("the id is void", || ids(&all(&mut subscriber)) == [1]);
    }

    fn next_sleeps_until_something_is_posted() {
        let (_name, bus) = bus(&small());
        let ready = shared_words(1);
        let child = Child::fork(|| {
            let mut subscriber = subscribe(&bus);
            ready[0].store(1, Relaxed);
            let event = subscriber.next(HOUR).unwrap().map(got);
            assert_eq!(event, Some(Got::Event(0, "s/e".to_owned(), b"x".to_vec())));
        });
        eventually("it sleeps", || ready[0].load(Relaxed) == 1 && child.sleeps());
        bus.publisher().unwrap().post(("s", "e"), "x").unwrap();
        assert!(child.ended_well());
        let mut late = subscribe(&bus);
        assert!(late.next(Duration::from_millis(1)).unwrap().is_none());
        assert!(!late.wait(Duration::from_millis(1)).unwrap());
    }

    fn drain_posts_with_the_same_seat_while_it_reads() {
        let (_name, bus) = bus(&small());
        let mut subscriber = subscribe(&bus);
        subscriber.publisher().post(("s", "ping"), "1").unwrap();
        let mut topics = Vec::new();
        let count = subscriber.drain(|delivery, publisher| {
            let Delivery::Event(event) = delivery else { panic!("{delivery:?}") };
            topics.push(event.topic().to_string());
            if event.event() == "ping" {
                publisher.post(("s", "pong"), event.bytes())?;
            }
            Ok(())
        }).unwrap();
        assert_eq!((count, topics.join(" ")), (2, "s/ping s/pong".to_owned()));
        assert_eq!(bus.stats().unwrap().workers.len(), 1, "it took a second seat");
        // An error of the closure leaves the remaining events.
        subscriber.publisher().post(("s", "a"), "").unwrap();
        subscriber.publisher().post(("s", "b"), "").unwrap();
        assert_error!(subscriber.drain(|_, _| Err(Cause::Left.into())), Cause::Left);
        assert_eq!(ids(&all(&mut subscriber)).len(), 1);
    }

    fn g9_what_cannot_be_decided_is_told_in_order() {
        let (_name, bus) = bus(&small().claims(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let mut subscriber = subscribe(&bus);
        let keys = 0_u64..;
        let fills = |key: u64| matches!(worker.claim(key.to_le_bytes(), HOUR).unwrap(), Claimed::Full);
        assert!(keys.into_iter().any(fills), "the room is unlimited");
        let before = worker.post(("s", "before"), "").unwrap();
        let full = worker.event(("s", "unique")).unique("one too many").post("").unwrap();
        let after = worker.post(("s", "after"), "").unwrap();
        let got = all(&mut subscriber);
        assert_eq!(got[1], Got::Undecided(full, Undecided::ClaimsFull), "{got:?}");
        assert_eq!((ids(&got), got.len()), (vec![before, after], 3));
    }

    fn g4_a_position_taken_before_what_is_put_off_passes_over_nothing() {
        let (_name, bus) = bus(&small().claims(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let mut subscriber = subscribe(&bus);
        let fills = |key: u64| matches!(worker.claim(key.to_le_bytes(), HOUR).unwrap(), Claimed::Full);
        assert!((0..).any(fills), "the room is unlimited");
        let full = ["one", "two"].map(|key| worker.event(("s", "unique")).unique(key).post("").unwrap());
        let after = worker.post(("s", "after"), "").unwrap();
        for (id, next) in [(full[0], full[1]), (full[1], after)] {
            let told = subscriber.try_next().unwrap().map(got);
            assert_eq!(told, Some(Got::Undecided(id, Undecided::ClaimsFull)));
            assert_eq!(subscriber.cursor(), next);
        }
        let position = subscriber.position();
        drop(subscriber);
        let mut next = bus.subscribe_with(&quiet().start(Start::Resume(position))).unwrap();
        assert_eq!(ids(&all(&mut next)), [after]);
    }

    fn g2_what_is_posted_after_something_undecided_is_there_at_once() {
        let (_name, bus) = bus(&small().claims(1));
        let worker = bus.join_with(&quiet()).unwrap();
        let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
        let fills = |key: u64| matches!(worker.claim(key.to_le_bytes(), HOUR).unwrap(), Claimed::Full);
        assert!((0..).any(fills), "the room is unlimited");
        let post_full = || worker.event(("s", "unique")).unique("one too many").post("").unwrap();
        let full = post_full();
        assert_eq!(subscriber.try_next().unwrap().map(got), Some(Got::Undecided(full, Undecided::ClaimsFull)));
        let reserved = worker.reserve().unwrap();
        let id = reserved.id();
        let full = [post_full(), post_full()];
        // They are reported ahead of the reserved id, at which the position still is.
        for id_told in full {
            let told = subscriber.try_next().unwrap().map(got);
            assert_eq!(told, Some(Got::Undecided(id_told, Undecided::ClaimsFull)));
            assert_eq!(subscriber.cursor(), id);
        }
        drop(reserved);
        let after = worker.post(("s", "after"), "").unwrap();
        assert_eq!(ids(&all(&mut subscriber)), [after], "a given up id was reported again");
    }

    fn g9_what_was_claimed_and_put_off_is_run_when_a_subscriber_leaves() {
        for leaves in [true, false] {
            let (_name, bus) = bus(&small().claims(64));
            let worker = bus.join_with(&quiet()).unwrap();
            let mut subscriber = subscribe(&bus);
            let seat = subscriber.seat();
            let won = || of_seat(&bus.stats().unwrap(), seat).claims_won;
            let post = |key: u64| {
                let key = key.to_le_bytes();
                worker.event(("s", "unique")).unique(Unique::key(&key).ttl(HOUR)).post("").unwrap()
            };
            let mut keys = 0_u64..;
            let full = keys.find(|&key| {
                post(key);
                matches!(subscriber.try_next().unwrap(), Some(Delivery::Undecided { .. }))
            });
            let full = full.unwrap();
            // A key with room in its bucket.
            let (key, unique) = loop {
                let key = keys.next().unwrap();
                let (before, undecided, unique) = (won(), post(full), post(key));
                let told = subscriber.try_next().unwrap().map(got);
                assert_eq!(told, Some(Got::Undecided(undecided, Undecided::ClaimsFull)));
                if won() > before {
                    break (key, unique);
                }
                all(&mut subscriber);
            };
            if leaves {
                let mut handed = Vec::new();
                subscriber.leave(|event| handed.extend(event.id())).unwrap();
                assert_eq!(handed, [unique]);
            } else {
                drop(subscriber);
                let mut next = subscribe(&bus);
                let again = post(key);
                assert_eq!(ids(&all(&mut next)), [again], "no worker runs it, and its key is not free");
            }
        }
    }

    fn a_subscriber_announces_itself_and_its_leaving_and_frees_its_seat() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let log = Log::of(&worker, Scope::source(library::SOURCE));
        let subscriber = bus.subscribe_with(&WorkerOptions::new().label("puller")).unwrap();
        assert_eq!(bus.stats().unwrap().workers.len(), 2);
        subscriber.leave(|event| panic!("{event:?}")).unwrap();
        drop(bus.subscribe_with(&WorkerOptions::new().label("puller")).unwrap());
        poll(&worker);
        let (started, stopping) = (library::STARTED.event(), library::STOPPING.event());
        assert_eq!(log.events(), [started, stopping, started, stopping]);
        assert_eq!(log.texts(), ["puller"; 4]);
        assert_eq!(bus.stats().unwrap().workers.len(), 1);
    }

    fn g9_what_was_claimed_ahead_is_handed_over_by_leave_and_reported_by_a_drop() {
        for leaves in [true, false] {
            let (_name, bus) = bus(&small());
            let worker = bus.join_with(&quiet()).unwrap();
            let mut subscriber = bus.subscribe_with(&quiet().wait_max(HOUR)).unwrap();
            let seat = subscriber.seat();
            let _reservation = worker.reserve().unwrap();
            let unique = worker.event(("s", "unique")).unique(Unique::key("key").ttl(HOUR)).post("").unwrap();
            assert_eq!(all(&mut subscriber), [Got::Reserved(0, false)]);
            let mut handed = Vec::new();
            if leaves {
                subscriber.leave(|event| handed.extend(event.id())).unwrap();
                assert_eq!(handed, [unique]);
            } else {
                // Read while the seat is still held: afterwards it has no owner.
                let stats = || bus.stats().unwrap();
                assert_eq!(of_seat(&stats(), seat).orphaned, 0);
                drop(subscriber);
                let mut next = subscribe(&bus);
                let again = worker.event(("s", "unique")).unique("key").post("").unwrap();
                assert_eq!(next.next(HOUR).unwrap().map(got), Some(Got::Event(again, "s/unique".to_owned(), vec![])),
                    "the key is still held");
            }
        }
    }

    fn g12_a_subscriber_in_a_forked_child_gives_an_error_and_disturbs_nothing() {
        let (_name, bus) = bus(&small());
        let mut subscriber = bus.subscribe_with(&WorkerOptions::new()).unwrap();
        let id = bus.publisher().unwrap().post(("s", "e"), "").unwrap();
        in_child(|| {
            assert_error!(subscriber.try_next().map(drop), Cause::Forked);
            assert_error!(subscriber.wait(HOUR), Cause::Forked);
            assert_error!(subscriber.publisher().reserve().map(drop), Cause::Forked);
            assert_error!(subscriber.publisher().reserved().map(drop), Cause::Forked);
            assert_error!(subscriber.publisher().post(("s", "e"), ""), Cause::Forked);
            // SAFETY: the child ends without another use of it.
            drop(unsafe { std::ptr::read(&raw const subscriber) });
        });
        assert_eq!(ids(&all(&mut subscriber)), [0, id], "its own announcement and the event");
        assert_eq!(bus.next_id(), id + 1);
    }

    fn g4_a_position_resumes_without_a_gap() {
        let (_name, bus) = bus(&small());
        let mut subscriber = subscribe(&bus);
        let mut publisher = bus.publisher().unwrap();
        for _ in 0..10 {
            publisher.post(("s", "e"), "").unwrap();
        }
        for _ in 0..4 {
            assert!(matches!(subscriber.try_next().unwrap(), Some(Delivery::Event(_))));
        }
        let position = subscriber.position();
        drop(subscriber);
        let mut next = bus.subscribe_with(&quiet().start(Start::Resume(position))).unwrap();
        assert_eq!(ids(&all(&mut next)), (4..10).collect::<Vec<_>>());
    }
}
