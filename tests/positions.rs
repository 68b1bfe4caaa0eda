//! Saved positions: a worker continues where another stopped, on the same bus and nowhere else.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use seqcast::inspect::Seen;
use seqcast::{Bus, Cause, Event, Polled, Position, Scope, Start, Unique, Worker};
use seqcast_testkit::{
    HOUR, Log, Name, Reports, alone, assert_error, bus, counts, error, in_child, listener, poll, quiet, small,
};

/// A ttl that has ended before any worker looks.
const INSTANT: Duration = Duration::from_nanos(1);

fn after(bus: &Bus, id: u64) -> Worker {
    bus.join_with(&quiet().start(Start::After(id))).unwrap()
}

fn resumed(bus: &Bus, position: Position) -> Worker {
    bus.join_with(&quiet().start(Start::Resume(position))).unwrap()
}

fn post_until(worker: &Worker, next_id: u64) {
    while worker.post(("s", "e"), b"").unwrap() + 1 < next_id {}
}

alone! {
    fn g4_a_worker_that_resumes_loses_nothing_and_repeats_nothing() {
        let (_name, bus) = bus(&small());
        let poster = bus.join_with(&quiet()).unwrap();
        let first = bus.join_with(&quiet()).unwrap();
        assert_eq!(first.position(), Position::before(bus.id(), 0));
        let log = Log::of(&first, Scope::All);
        post_until(&poster, 10);
        assert!(matches!(first.poll_at_most(4).unwrap(), Polled::Done { delivered: 4, missed: 0, .. }));
        // As text, through a new process and a separate handle on the segment.
        let kept = first.position().to_string();
        drop(first);
        in_child(|| {
            let bus = small().open(bus.name()).unwrap();
            let position: Position = kept.parse().unwrap();
            assert_eq!(position, Position::after(bus.id(), 3));
            let second = resumed(&bus, position);
            assert_eq!((second.position(), second.cursor()), (position, 4), "before the first poll");
            let rest = Log::of(&second, Scope::All);
            assert_eq!(poll(&second), (6, 0));
            assert_eq!(rest.ids(), [4, 5, 6, 7, 8, 9]);
            assert_eq!(second.position(), Position::before(bus.id(), 10));
            // Nothing is new to a worker that joins now.
            let third = resumed(&bus, second.position());
            assert!(!third.wait(Duration::ZERO).unwrap());
            assert_eq!(poll(&third), (0, 0));
        });
        assert_eq!(log.ids(), [0, 1, 2, 3]);
    }

    fn g4_an_event_is_behind_the_position_only_when_its_handlers_have_returned() {
        let (_name, bus) = bus(&small());
        let worker = bus.join_with(&quiet()).unwrap();
        let (seen, watched) = (Arc::new(Mutex::new(Vec::new())), worker.clone());
        let positions = Arc::clone(&seen);
        let noting = move |event: &Event<'_>| {
            positions.lock().unwrap().push((event.id().unwrap(), watched.position().next()));
        };
        let registration = worker.on(Scope::source("s"), noting).unwrap();
        for source in ["s", "nobody's", "s", "s"] {
            worker.post((source, "e"), b"").unwrap();
        }
        poll(&worker);
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 2, 3]);
        for (id, next) in seen {
            assert!(next <= id, "event {id} counted as handled while its handler ran: next is {next}");
        }
        assert_eq!(worker.position().next(), 4);
        assert!(worker.unregister(registration));
    }

    fn g4_what_was_copied_ahead_of_a_reserved_id_is_not_behind_the_position() {
        let (_name, bus) = bus(&small());
        let (worker, log) = listener(&bus, &quiet());
        let mut reservation = worker.reserve().unwrap();
        post_until(&worker, 5);
        assert_eq!(poll(&worker), (0, 0));
        assert_eq!(worker.position().next(), reservation.id());
        let position = worker.position();
        reservation.commit(("s", "late"), b"").unwrap();
        let other = resumed(&bus, position);
        let others = Log::of(&other, Scope::All);
        assert_eq!((poll(&other), poll(&worker)), ((5, 0), (5, 0)));
        assert_eq!(others.ids(), log.ids());
    }

    fn g4_what_is_overwritten_behind_a_kept_position_is_told_exactly() {
        let options = small();
        let (_name, bus) = bus(&options);
        let poster = bus.join_with(&quiet()).unwrap();
        for posted in [1, 63, 64, 65, 66, 100, 1000] {
            post_until(&poster, posted);
            for id in [0, posted / 2, posted.saturating_sub(2), posted - 1] {
                let reports = Reports::default();
                let (worker, log) = listener(&bus, &reports.of(quiet().start(Start::After(id))));
                let lapped = id + 1 + bus.capacity() < posted;
                let resumed = if lapped { posted - bus.capacity() + bus.capacity() / 8 } else { id + 1 };
                let missed = resumed - (id + 1);
                assert_eq!(poll(&worker), (posted - resumed, missed), "{posted} posted, after {id}");
                assert_eq!(log.ids(), (resumed..posted).collect::<Vec<_>>(), "{posted} posted, after {id}");
                let texts = reports.texts();
                assert_eq!(texts.len(), usize::from(lapped), "{posted} posted, after {id}: {texts:?}");
                let expected = format!("event id {}: {missed} ", id + 1);
                assert!(texts.iter().all(|text| text.starts_with(&expected)), "{texts:?}");
                let counts = counts(&bus, &worker);
                assert_eq!((counts.delivered, counts.skipped, counts.missed), (posted - resumed, 0, missed));
            }
        }
    }

    fn what_was_not_posted_yet_is_no_place_to_go_on_after() {
        let (_name, bus) = bus(&small());
        let poster = bus.join_with(&quiet()).unwrap();
        assert_error!(bus.join_with(&quiet().start(Start::After(0))), Cause::NotYet { id: 1, next: 0 });
        post_until(&poster, 3);
        assert_eq!(poll(&after(&bus, 2)), (0, 0));
        for (start, id) in [
            (Start::After(3), 4),
            (Start::After(u64::MAX), u64::MAX),
            (Start::Resume(Position::before(bus.id(), 4)), 4),
            (Start::Resume(Position::after(bus.id(), u64::MAX)), u64::MAX),
        ] {
            let refusal = error(bus.join_with(&quiet().start(start)));
            let Cause::NotYet { id: found, next } = *refusal.cause() else { panic!("{start:?}: {refusal:?}") };
            assert_eq!((found, next), (id, 3), "{start:?}");
        }
        assert_eq!(bus.stats().unwrap().workers.len(), 1, "a refused join left a seat behind");
    }

    fn g4_a_position_of_a_segment_that_was_created_again_is_refused() {
        let name = Name::new();
        let old = small().create(&name).unwrap();
        let worker = old.join_with(&quiet()).unwrap();
        post_until(&worker, 7);
        poll(&worker);
        let position = worker.position();
        assert!(old.is_current().unwrap());
        assert_eq!(small().open(&name).unwrap().id(), old.id());
        old.unlink().unwrap();
        assert!(!old.is_current().unwrap());
        let new = small().create(&name).unwrap();
        assert!(new.is_current().unwrap() && !old.is_current().unwrap() && new.id() != old.id());
        // Also where the new one has advanced further than the old one.
        for next_id in [0, 3, 20] {
            if next_id > 0 {
                post_until(&new.join_with(&quiet()).unwrap(), next_id);
            }
            let refusal = error(new.join_with(&quiet().start(Start::Resume(position))));
            let text = refusal.to_string();
            let Cause::OtherBus { position: of, found, .. } = *refusal.cause() else { panic!("{refusal:?}") };
            assert_eq!((of, found), (old.id(), new.id()));
            assert!(text.contains(&of.to_string()) && text.contains(&found.to_string()), "{text}");
            assert!(text.contains(&*name) && text.contains("created again"), "{text}");
            let inspector = small().inspect(&name).unwrap();
            assert_error!(inspector.tail(Start::Resume(position)), Cause::OtherBus { .. });
        }
        assert!(new.stats().unwrap().workers.is_empty(), "a refused join left a seat behind");
        // Processes that have the old one open can still use it.
        assert_eq!(poll(&resumed(&old, position)), (0, 0));
    }

    fn a_bus_without_a_name_has_an_identity_too() {
        let (a, b) = (small().anonymous().unwrap(), small().anonymous().unwrap());
        assert!(a.is_current().unwrap() && a.id() != b.id());
        let worker = a.join_with(&quiet()).unwrap();
        assert_eq!(worker.position().bus(), a.id());
        assert_error!(b.join_with(&quiet().start(Start::Resume(worker.position()))), Cause::OtherBus { .. });
        in_child(|| assert_eq!(a.clone().id(), worker.position().bus()));
    }

    fn g6_an_id_reserved_before_a_kept_position_is_not_waited_for() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        let reservation = reserver.reserve().unwrap();
        post_until(&reserver, 5);
        let options = quiet().wait_max(HOUR).start(Start::After(reservation.id()));
        let (worker, _log) = listener(&bus, &options);
        assert_eq!(poll(&worker), (4, 0));
        assert_eq!(counts(&bus, &worker).waited, 0);
    }

    fn g2_an_id_reserved_after_a_kept_position_is_waited_for() {
        let (_name, bus) = bus(&small());
        let reserver = bus.join_with(&quiet()).unwrap();
        reserver.post(("s", "e"), b"").unwrap();
        let mut reservation = reserver.reserve().unwrap();
        post_until(&reserver, 5);
        let options = quiet().wait_interval(INSTANT).wait_max(INSTANT).start(Start::After(0));
        let (worker, _log) = listener(&bus, &options);
        assert_eq!(poll(&worker), (3, 0));
        let refusal = error(reservation.commit(("s", "e"), b""));
        assert!(matches!(refusal.cause(), Cause::TooLate { id: 1 }), "{refusal}");
    }

    fn g9_claims_do_not_speak_for_what_a_kept_position_passes_over() {
        let (_name, bus) = bus(&small());
        let poster = bus.join_with(&quiet()).unwrap();
        let unique = || Unique::key("key").ttl(INSTANT);
        poster.event(("s", "passed over")).unique(unique()).post(b"").unwrap();
        poster.post(("s", "e"), b"").unwrap();
        poster.event(("s", "new")).unique(unique()).post(b"").unwrap();
        let worker = after(&bus, 1);
        let log = Log::of(&worker, Scope::All);
        assert_eq!(poll(&worker), (1, 0));
        assert_eq!(log.events(), ["new"]);
        // A worker that reads the first one later runs it: it was not decided.
        let reports = Reports::default();
        let (late, lates) = listener(&bus, &reports.of(quiet().start(Start::Oldest)));
        poll(&late);
        assert_eq!(lates.events(), ["passed over", "e"], "{:?}", reports.texts());
        assert_eq!(counts(&bus, &worker).claims_won, 1);
    }

    fn g9_a_unique_event_that_ran_before_does_not_run_again_after_a_kept_position() {
        let (_name, bus) = bus(&small());
        let poster = bus.join_with(&quiet()).unwrap();
        for i in 0..5 {
            poster.event(("s", "e")).unique(&format!("key {i}")).ttl(HOUR).post(b"").unwrap();
        }
        let (first, log) = listener(&bus, &quiet().start(Start::Oldest));
        assert!(matches!(first.poll_at_most(3).unwrap(), Polled::Done { delivered: 3, missed: 0, .. }));
        // Saved too early, as by a process that dies before it saves the newest.
        let second = after(&bus, 0);
        let seconds = Log::of(&second, Scope::All);
        assert_eq!(poll(&second), (2, 0));
        assert_eq!((log.ids(), seconds.ids()), (vec![0, 1, 2], vec![3, 4]));
    }

    fn a_tail_starts_after_an_id_too() {
        let (name, bus) = bus(&small());
        let poster = bus.join_with(&quiet()).unwrap();
        post_until(&poster, 5);
        let inspector = small().inspect(&name).unwrap();
        for start in [Start::After(2), Start::Resume(Position::before(bus.id(), 3))] {
            let mut tail = inspector.tail(start).unwrap();
            let mut ids = Vec::new();
            while let Some(Seen::Event(event)) = tail.try_next().unwrap() {
                ids.push(event.id);
            }
            assert_eq!(ids, [3, 4]);
        }
    }
}
